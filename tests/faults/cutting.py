"""A proxy between a client and a PostgreSQL server, which cuts connections at a chosen moment."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.servers import Server


@dataclass
class Cutting:
    """Cuts the connection that sends one of the ``numbers``-th messages with ``words`` in it (from
    1, over all connections): after the server has done what it says, and before it can tell."""

    words: bytes
    numbers: tuple[int, ...]
    seen: int = 0
    cut: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wants(self, data: bytes) -> bool:
        with self.lock:
            before = self.seen
            self.seen += data.count(self.words)
            return any(before < number <= self.seen for number in self.numbers)


@contextlib.contextmanager
def cutting(server: Server, how: Cutting) -> Iterator[Server]:
    """The server as it is reached through the proxy."""
    listening = socket.create_server(("127.0.0.1", 0))
    path = f"{server.host}/.s.PGSQL.{server.port}"
    threading.Thread(target=_accept, args=(listening, path, how), daemon=True).start()
    try:
        yield replace(server, host="127.0.0.1", port=listening.getsockname()[1])
    finally:
        listening.close()


def _accept(listening: socket.socket, path: str, how: Cutting) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, path, how), daemon=True).start()


def _serve(client: socket.socket, path: str, how: Cutting) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.connect(path)
    back = threading.Thread(target=_forward, args=(server, client), daemon=True)
    back.start()
    with client, server, contextlib.suppress(OSError):
        while data := client.recv(1 << 16):
            if how.wants(data):
                _do_unheard(client, server, data)
                how.cut += 1
                return
            server.sendall(data)


def _do_unheard(client: socket.socket, server: socket.socket, data: bytes) -> None:
    """The client hears no more; the server does what it was told, and then ends the session."""
    client.shutdown(socket.SHUT_RDWR)
    server.sendall(data)
    # The end of what it is sent: it answers first, and closes then.
    server.shutdown(socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while server.recv(1 << 16):
            pass


def _forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
