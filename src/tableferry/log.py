"""What a run does, for whoever has to find out later: a file with one JSON object a line.

Each has ``time`` (UTC, to the millisecond), ``level``, ``event`` and ``run``, and where they apply
``table``, ``side``, ``range``, ``worker``, ``seconds``, ``rows`` and more: docs/log.md.
"""

from __future__ import annotations

import datetime
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tableferry.errors import UsageError
from tableferry.events import (
    Event,
    Note,
    Observer,
    Phase,
    PhaseBegins,
    PhaseEnds,
    Progress,
    Retried,
    SpanEnds,
    StepBegins,
)
from tableferry.model import TableName
from tableferry.outcomes import Activity, Span
from tableferry.redaction import redact
from tableferry.spelling import escaped

# What the fields of an entry are apart from its time and the run.
Entry = dict[str, Any]

_DONE: dict[Activity, str] = {
    "copy": "copied",
    "gather": "gathered",
    "verify": "digested",
    "survey": "surveyed",
    "search": "searched",
    "count": "counted",
    "index": "built",
    "other": "done",
}
# Where others' words stand, in which a password might.
_WORDS = ("text", "error", "hint")


@dataclass
class _Under:
    """A table in a phase that has begun."""

    began: float
    rows: int = 0


@dataclass
class Entries:
    """What each event of a run says, as the fields of a line; None where it says too little for
    one. Remembers since when each table has been in its phase, and how far it has come."""

    _under: dict[tuple[Phase, TableName], _Under] = field(default_factory=dict)

    def of(self, event: Event, now: float) -> Entry | None:
        """``now``: of a monotonic clock, in seconds."""
        match event:
            case PhaseBegins(phase, table, rows):
                self._under[phase, table] = _Under(now)
                expected = {"rows": rows} if rows else {}
                return _entry("info", "table_begins", phase=phase, table=str(table), **expected)
            case Progress(phase, table, rows):
                self._under.setdefault((phase, table), _Under(now)).rows += rows
                return None
            case PhaseEnds(phase, table):
                under = self._under.pop((phase, table), _Under(now))
                done = {"rows": under.rows} if phase != "index" else {}
                seconds = round(now - under.began, 3)
                return _entry(
                    "info", "table_ends", phase=phase, table=str(table), seconds=seconds, **done
                )
            case Note(text):
                return _entry("warning", "note", text=text)
            case Retried(about, reason, pause):
                named = {"table": about} if about else {}
                return _entry("warning", "retried", **named, error=reason, pause=pause)
            case StepBegins(name):
                return _entry("info", "step_begins", step=name)
            case SpanEnds(span, error):
                return _of_span(span, error)


def _of_span(span: Span, error: str) -> Entry:
    seconds = round(span.seconds, 3)
    if span.what == "run":
        failed = {"error": error} if error else {}
        level = "warning" if error else "info"
        return _entry(level, "step_ends", step=span.name, seconds=seconds, **failed)
    known = {
        "table": span.table,
        "side": span.side,
        "range": span.range,
        "worker": span.worker,
        "seconds": seconds,
        "rows": span.rows,
        "bytes": span.bytes,
        "object": span.name,
    }
    told = {name: value for name, value in known.items() if value not in (None, "")}
    if span.failed:
        return _entry("warning", "failed", what=span.what, **told, error=error)
    return _entry("debug", _DONE.get(span.what, span.what), **told)


def _entry(level: str, event: str, **told: Any) -> Entry:
    return {"level": level, "event": event, **told}


def line_of(entry: Entry, moment: datetime.datetime, run: str, secrets: Sequence[str]) -> str:
    """The line, without its end; ``moment`` in UTC. A password in the words of a driver or a server
    is masked."""
    stamp = moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    first = {"time": stamp, "level": entry["level"], "event": entry["event"], "run": run}
    rest = {
        name: redact(value, secrets) if name in _WORDS else value
        for name, value in entry.items()
        if name not in first
    }
    return escaped(json.dumps(first | rest, ensure_ascii=False))


class Log:
    """Lines of the run of that name at the end of a file; none where there is no file.

    Raises UsageError where the file cannot be opened. One that cannot be written any more, as on a
    full disk, stops nobody: ``trouble`` then says what is missing.
    """

    def __init__(self, path: Path | None, run: str, secrets: Sequence[str] = ()) -> None:
        """``secrets`` may grow meanwhile."""
        self.trouble = ""
        self.run = run
        self._path = path
        self._secrets = secrets
        self._lock = threading.Lock()
        self._descriptor = _opened(path) if path is not None else None

    def write(self, level: str, event: str, **told: Any) -> None:
        self._write(_entry(level, event, **told))

    def watching(self, shown: Observer) -> Observer:
        """An observer of one run that writes what it is told, and tells the other one."""
        if self._descriptor is None:
            return shown
        entries = Entries()

        def observe(event: Event) -> None:
            # Workers' events come by a thread each.
            with self._lock:
                entry = entries.of(event, time.monotonic())
                if entry is not None:
                    self._write(entry)
            shown(event)

        return observe

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, entry: Entry) -> None:
        if self._descriptor is None or self.trouble:
            return
        line = line_of(entry, datetime.datetime.now(datetime.UTC), self.run, self._secrets)
        try:
            # Whole lines at once, so that two runs may share a file.
            data = f"{line}\n".encode(errors="backslashreplace")
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self.trouble = f"The log {self._path} is not complete: {error.strerror}."


def _opened(path: Path) -> int:
    try:
        _require_log(path)
        # Appended to, as logs are. O_NONBLOCK: a pipe that no one reads is an error, not a wait.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
        os.set_blocking(descriptor, True)
        return descriptor
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"The log cannot be written to {path}: {why}.",
            hint="Name a file in a folder that exists and can be written.",
        ) from error


def _require_log(path: Path) -> None:
    """A slip of the hand must not append to a database, say."""
    if path.is_file():
        with path.open("rb") as file:
            begins = file.read(1)
        if begins not in (b"", b"{"):
            raise UsageError(
                f"{path} is no log: nothing is appended to it.", hint="Name another file."
            )


def facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they may stand in a line: those that were given, paths and tuples as JSON has
    them."""
    return {
        name: list(value)
        if isinstance(value, tuple)
        else value
        if isinstance(value, bool | int | float | str)
        else str(value)
        for name, value in options.items()
        if value not in (None, "", (), False)
    }
