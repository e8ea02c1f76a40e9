"""CPU seconds of processes over time, from /proc, and of a server's processes by statement.

A thread reads, every few milliseconds, user and system time of every process of a command's tree
and of every process of a server, and beside them pg_stat_activity. The kernel counts a process's
time exactly and tells it in hundredths of a second, so sums over many readings stay exact.
"""

from __future__ import annotations

import bisect
import os
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from perf.stacks import statement_step

_TICK = os.sysconf("SC_CLK_TCK")
_ACTIVITY = (
    "SELECT pid, coalesce(query, ''), backend_type, coalesce(leader_pid, 0) "
    "FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
)
_CLIENT = "client backend"
STARTS_AND_ENDS = "starts and ends of sessions"


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds that a process has used by a moment of time.monotonic."""

    moment: float
    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


@dataclass
class Curve:
    """What one process has used by when; ``command`` is its command line."""

    command: str
    readings: list[Reading] = field(default_factory=list)

    @property
    def total(self) -> float:
        return self.readings[-1].total

    def used_by(self, moment: float) -> float:
        """CPU seconds from the process's start on, between readings as if used evenly."""
        at = bisect.bisect_right(self.readings, moment, key=lambda reading: reading.moment)
        if at == 0:
            return 0.0
        before = self.readings[at - 1]
        if at == len(self.readings):
            return before.total
        after = self.readings[at]
        share = (moment - before.moment) / (after.moment - before.moment)
        return before.total + share * (after.total - before.total)

    def between(self, began: float, ended: float) -> float:
        return self.used_by(ended) - self.used_by(began)


@dataclass
class Sampler:
    """Reads until it is stopped; ``interval`` in seconds."""

    root: int
    postmaster: int
    url: str
    interval: float
    curves: dict[int, Curve] = field(default_factory=dict)
    # CPU seconds of the server's processes by what they were at.
    server: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    activity: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._last: dict[int, float] = defaultdict(float)
        self._connection = psycopg.connect(self.url, autocommit=True)
        self.own = self._connection.info.backend_pid
        # What was used before the run is not the run's.
        for pid in children(self.postmaster):
            self._last[pid] = _used(pid)
        self._postmaster = _used_with_ended(self.postmaster)
        self._own_before = self._last[self.own]
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> float:
        """Ends the readings; the CPU seconds that its own session took of the server."""
        self._ended.set()
        self._thread.join()
        used = _used(self.own) - self._own_before
        self._connection.close()
        return used

    def _run(self) -> None:
        while not self._ended.is_set():
            self.read_server()
            self._read_tree()
            self._ended.wait(self.interval)

    def _read_tree(self) -> None:
        waiting = [self.root]
        while waiting:
            pid = waiting.pop()
            moment = time.monotonic()
            times = cpu_times(pid)
            if times is None:
                continue
            curve = self.curves.get(pid)
            if curve is None:
                curve = self.curves[pid] = Curve(_command(pid))
            elif "python" not in curve.command:
                curve.command = _command(pid)  # It was a copy of its parent until now.
            curve.readings.append(Reading(moment, *times))
            waiting += children(pid)

    def read_server(self) -> None:
        rows = self._connection.execute(_ACTIVITY).fetchall()
        now = {pid: _what(query, kind, leader, rows) for pid, query, kind, leader in rows}
        there = children(self.postmaster)
        self._read_ends(there)
        for pid in there:
            if pid == self.own:
                continue
            used = _used(pid)
            spent = used - self._last[pid]
            if spent <= 0:
                continue
            self._last[pid] = used
            after = now.get(pid) or self._before(pid) or STARTS_AND_ENDS
            before = self._before(pid) or STARTS_AND_ENDS
            # A statement that began between two readings shares what was used meanwhile.
            self.server[before] += spent / 2
            self.server[after] += spent / 2
        for pid, what in now.items():
            self.activity[pid] = what

    def _read_ends(self, there: list[int]) -> None:
        """What processes used after they were last read, and those that were never read: the
        postmaster's own time holds that of its ended children."""
        used = _used_with_ended(self.postmaster)
        gone = set(self._last) - set(there)
        known = sum(self._last.pop(pid) for pid in gone)
        self.server[STARTS_AND_ENDS] += used - self._postmaster - known
        self._postmaster = used

    def _before(self, pid: int) -> str:
        return self.activity.get(pid, "")


def _what(query: str, kind: str, leader: int, rows: list[tuple[Any, ...]]) -> str:
    if leader:
        query = next((other for pid, other, _, _ in rows if pid == leader), query)
    if kind != _CLIENT and not leader:
        return kind
    return statement_step(query) if query else STARTS_AND_ENDS


def cpu_times(pid: int) -> tuple[float, float] | None:
    """User and system seconds; None for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[11]) / _TICK, int(fields[12]) / _TICK


def _used(pid: int) -> float:
    return sum(cpu_times(pid) or (0.0,))


def _used_with_ended(pid: int) -> float:
    """Of a process, and of those of its children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK


def children(pid: int) -> list[int]:
    """Of its main thread and of all others."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
