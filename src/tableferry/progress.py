"""Showing people how far a run is: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from tableferry.events import (
    Event,
    Note,
    Observer,
    Phase,
    PhaseBegins,
    PhaseEnds,
    Progress,
    Retried,
)
from tableferry.interrupts import undone
from tableferry.log import Entries, Entry
from tableferry.model import TableName
from tableferry.spelling import visible

_LINE_EVERY = 5.0  # seconds between plain lines
_RATE_OVER = 10.0  # seconds over which a rate is taken
_MOST_BARS = 12
# Of so many tables on, bars are not drawn for every event: a look at them takes all tables.
_MANY = 100
_DRAW_EVERY = 0.1  # seconds
_WORDS: dict[Phase, str] = {
    "copy": "copying",
    "survey": "surveying",
    "index": "indexing",
    "verify": "verifying",
    "repair": "repairing",
}


@dataclass
class Count:
    """One table in one phase, in rows."""

    rows: int
    done: int = 0
    began: float = 0.0
    ended: bool = False


@dataclass
class Tally:
    """What has been done of what is known to be to do. Times are of a monotonic clock."""

    counts: dict[tuple[Phase, TableName], Count] = field(default_factory=dict)
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def take(self, event: Event, now: float) -> None:
        if isinstance(event, PhaseBegins):
            self.counts[event.phase, event.table] = Count(event.rows)
        elif isinstance(event, PhaseEnds):
            self.counts[event.phase, event.table].ended = True
        elif isinstance(event, Progress):
            count = self.counts.setdefault((event.phase, event.table), Count(0))
            count.began = count.began or now
            count.done += event.rows
            self._recent.append((now, event.rows))
        while self._recent and self._recent[0][0] < now - _RATE_OVER:
            self._recent.popleft()

    @property
    def done(self) -> int:
        return sum(count.done for count in self.counts.values())

    @property
    def total(self) -> int:
        """Rows to get through in all: those copied are read back as well."""
        copied = sum(c.rows for (phase, _), c in self.counts.items() if phase == "copy")
        known = {table for phase, table in self.counts if phase == "verify"}
        awaited = sum(
            c.rows for (phase, t), c in self.counts.items() if phase == "copy" and t not in known
        )
        others = sum(c.rows for (phase, _), c in self.counts.items() if phase != "copy")
        return copied + awaited + others

    def rate(self, now: float) -> float:
        """Rows a second, lately."""
        if not self._recent:
            return 0.0
        return sum(rows for _, rows in self._recent) / max(now - self._recent[0][0], 1.0)

    def seconds_left(self, now: float) -> float | None:
        rate = self.rate(now)
        return max(0, self.total - self.done) / rate if rate else None

    def running(self) -> list[tuple[Phase, TableName, Count]]:
        return [
            (phase, table, count)
            for (phase, table), count in self.counts.items()
            if not count.ended and (count.done or phase == "index")
        ]


@contextmanager
def showing(
    console: Console, *, wanted: bool, notes: bool, ends: bool = False
) -> Iterator[Observer]:
    """An observer for a run: bars or lines where ``wanted``, sentences where ``notes``, and what
    each step and table has taken where ``ends``."""
    with _shown(console, wanted=wanted, notes=notes) as shown:
        yield _Endings(console, shown).take if ends else shown


@contextmanager
def _shown(console: Console, *, wanted: bool, notes: bool) -> Iterator[Observer]:
    if not wanted:
        yield lambda event: _print_note(console, event) if notes else None
    elif console.is_terminal:
        with _Display(console) as display, undone(display.stop):
            yield display.take
    else:
        yield _Lines(console).take


class _Endings:
    """A line for each step and table that has ended, in the words of the log."""

    def __init__(self, console: Console, then: Observer) -> None:
        self._console = console
        self._then = then
        self._entries = Entries()
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        with self._lock:
            entry = self._entries.of(event, time.monotonic())
        line = _ending(entry) if entry is not None else ""
        if line:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._then(event)


def _ending(entry: Entry) -> str:
    match entry:
        case {"event": "table_ends", "phase": phase, "table": table, "seconds": seconds}:
            rows = f", {entry['rows']:,} rows" if "rows" in entry else ""
            return f"{table}: {phase} ended after {seconds:.1f} s{rows}"
        case {"event": "step_ends", "step": step, "seconds": seconds, "level": "info"}:
            return f"{step} ended after {seconds:.1f} s"
    return ""


def _print_note(console: Console, event: Event) -> None:
    if isinstance(event, Note | Retried):
        console.print(event.text, style="yellow", markup=False, highlight=False, soft_wrap=True)


class _Lines:
    """Without a terminal: one plain line every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._lock = threading.Lock()
        self._printed = time.monotonic()

    def take(self, event: Event) -> None:
        now = time.monotonic()
        with self._lock:
            self._tally.take(event, now)
            _print_note(self._console, event)
            if now - self._printed < _LINE_EVERY:
                return
            self._printed = now
            doing = ", ".join(
                f"{_WORDS[phase]} {table} {_share(count)}".strip()
                for phase, table, count in self._tally.running()[:4]
            )
            self._console.print(
                f"{_overall(self._tally, now)}; {doing}" if doing else _overall(self._tally, now),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


class _Display:
    """On a terminal: a bar for each running table, and one for all."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[numbers]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=5,
        )
        self._console = console
        self._tally = Tally()
        self._lock = threading.Lock()
        self._shown: dict[tuple[Phase, TableName], TaskID] = {}
        self._drawn = 0.0

    def __enter__(self) -> _Display:
        self._bars.start()
        self._overall = self._bars.add_task("all tables", total=None, numbers="")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._bars.stop()

    def take(self, event: Event) -> None:
        now = time.monotonic()
        with self._lock:
            self._tally.take(event, now)
            _print_note(self._console, event)
            if len(self._tally.counts) > _MANY and now - self._drawn < _DRAW_EVERY:
                return
            self._drawn = now
            running = {(phase, table): c for phase, table, c in self._tally.running()}
            for key in [key for key in self._shown if key not in running]:
                self._bars.remove_task(self._shown.pop(key))
            for key, count in running.items():
                self._show(key, count, now)
            self._bars.update(
                self._overall,
                total=self._tally.total or None,
                completed=self._tally.done,
                numbers=_overall(self._tally, now),
            )

    def _show(self, key: tuple[Phase, TableName], count: Count, now: float) -> None:
        if key not in self._shown:
            if len(self._shown) >= _MOST_BARS:
                return
            phase, table = key
            self._shown[key] = self._bars.add_task(
                f"{_WORDS[phase]} {visible(str(table))}", numbers=""
            )
        self._bars.update(
            self._shown[key],
            total=count.rows or None,
            completed=count.done,
            numbers=_numbers(count, now),
        )


def _numbers(count: Count, now: float) -> str:
    if not count.rows:
        return ""
    rate = count.done / max(now - count.began, 1.0)
    left = _duration((count.rows - count.done) / rate) if rate else "?"
    return f"{count.done:,} of {count.rows:,} rows, {rate:,.0f} rows/s, {left} left"


def _overall(tally: Tally, now: float) -> str:
    left = tally.seconds_left(now)
    remaining = f", {_duration(left)} left" if left is not None else ""
    share = f"{100 * tally.done / tally.total:.0f} %, " if tally.total else ""
    return f"{share}{tally.rate(now):,.0f} rows/s{remaining}"


def _share(count: Count) -> str:
    return f"{100 * count.done / count.rows:.0f} %" if count.rows else ""


def _duration(seconds: float) -> str:
    """'40 s', '3:05' or '2:00:10'."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
