"""A server some way off: a proxy that holds back what passes, and counts round trips.

    python -m perf.simulation_proxy /tmp/…/.s.PGSQL.5432 --latency 0.02 --turns turns.jsonl

Listens on a free port of 127.0.0.1, which it prints, until its standard input ends; then it prints
what it did as one JSON line. ``--latency`` is the time of a round trip in seconds: half of it is
added each way, in the order things were sent and with at most WINDOW bytes under way, so that a
stream is slowed no more than a real connection with that window would be. A round trip is counted
where a client speaks again after it was answered.
"""

from __future__ import annotations

import argparse
import json
import queue
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

WINDOW = 4 << 20
_PIECE = 1 << 18


@dataclass
class Turns:
    """When a client of which connection spoke again, by time.perf_counter."""

    told: list[tuple[float, int]] = field(default_factory=list)
    bytes: int = 0


class _Connection:
    def __init__(self, number: int, client: socket.socket, server: str, latency: float) -> None:
        self._number, self._latency = number, latency
        self._client = client
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(server)
        self._answered = True

    def serve(self, turns: Turns) -> None:
        self._carry(self._client, self._server, turns)
        self._carry(self._server, self._client, turns)

    def _carry(self, source: socket.socket, sink: socket.socket, turns: Turns) -> None:
        under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(WINDOW // _PIECE)

        def receive() -> None:
            while data := _received(source):
                now = time.perf_counter()
                if source is self._server:
                    self._answered = True
                elif self._answered:
                    self._answered = False
                    turns.told.append((now, self._number))
                turns.bytes += len(data)
                under_way.put((now + self._latency / 2, data))
            under_way.put((time.perf_counter() + self._latency / 2, b""))

        def send() -> None:
            while True:
                due, data = under_way.get()
                if (wait := due - time.perf_counter()) > 0:
                    time.sleep(wait)
                try:
                    if not data:
                        sink.shutdown(socket.SHUT_WR)
                        return
                    sink.sendall(data)
                except OSError:
                    source.close()
                    return

        for task in (receive, send):
            threading.Thread(target=task, daemon=True).start()


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(_PIECE)
    except OSError:
        return b""


def main() -> None:
    parser = argparse.ArgumentParser(description="Put a server some way off.")
    parser.add_argument("server", help="the path of its Unix socket")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds of a round trip")
    parser.add_argument("--turns", type=Path, help="where each round trip is written")
    options = parser.parse_args()
    turns = Turns()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)

        def accept() -> None:
            number = 0
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Connection(number, client, options.server, options.latency).serve(turns)
                number += 1

        threading.Thread(target=accept, daemon=True).start()
        sys.stdin.read()
    done = {"round_trips": len(turns.told), "bytes": turns.bytes, "cpu": time.process_time()}
    print(json.dumps(done), flush=True)
    if options.turns:
        options.turns.write_text("".join(json.dumps(turn) + "\n" for turn in turns.told))


if __name__ == "__main__":
    main()
