"""The lines of a log: what each event says, what is masked, and where they may not go."""

from __future__ import annotations

import datetime
import errno
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tableferry.errors import UsageError
from tableferry.events import Event, Note, PhaseBegins, PhaseEnds, Progress, SpanEnds, StepBegins
from tableferry.log import Entries, Log, facts, line_of
from tableferry.model import TableName
from tableferry.outcomes import Span

T = TableName("main", "people")
MOMENT = datetime.datetime(2026, 11, 26, 21, 5, 7, 42_999, tzinfo=datetime.UTC)


def entries(*events: Event, seconds: float = 2.5) -> list[dict[str, Any] | None]:
    """What the events say, so many seconds apart."""
    made = Entries()
    return [made.of(event, 100 + seconds * i) for i, event in enumerate(events)]


@contextmanager
def log_to(path: Path, secrets: list[str] | None = None) -> Iterator[Log]:
    log = Log(path, "3f9a1c", secrets or [])
    with closing(log):
        yield log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_table_tells_when_it_ends_what_it_took() -> None:
    begins, progress, more, ends = entries(
        PhaseBegins("copy", T, 100),
        Progress("copy", T, 60),
        Progress("copy", T, 40),
        PhaseEnds("copy", T),
    )
    assert (progress, more) == (None, None)
    assert begins == {
        "level": "info",
        "event": "table_begins",
        "phase": "copy",
        "table": "people",
        "rows": 100,
    }
    assert ends == {
        "level": "info",
        "event": "table_ends",
        "phase": "copy",
        "table": "people",
        "seconds": 7.5,
        "rows": 100,
    }


def test_a_table_that_begins_anew_counts_anew() -> None:
    *_, ends = entries(
        PhaseBegins("copy", T, 100),
        Progress("copy", T, 60),
        PhaseBegins("copy", T, 100),
        Progress("copy", T, 100),
        PhaseEnds("copy", T),
    )
    assert ends is not None
    assert (ends["rows"], ends["seconds"]) == (100, 5.0)


def test_a_range_says_who_took_how_long_for_it() -> None:
    span = Span(2, "copy", 1.0, 0.5009, "people", range=7, rows=1000, bytes=16)
    (copied,) = entries(SpanEnds(span))
    assert copied == {
        "level": "debug",
        "event": "copied",
        "table": "people",
        "range": 7,
        "worker": 2,
        "seconds": 0.501,
        "rows": 1000,
        "bytes": 16,
    }


@pytest.mark.parametrize(
    ("what", "event"),
    [
        ("gather", "gathered"),
        ("verify", "digested"),
        ("survey", "surveyed"),
        ("search", "searched"),
        ("count", "counted"),
        ("index", "built"),
        ("other", "done"),
    ],
)
def test_every_job_has_a_word(what: Any, event: str) -> None:
    (entry,) = entries(SpanEnds(Span(1, what, 0, 0, side="target", name="x")))
    assert entry is not None
    assert (entry["event"], entry["side"], entry["object"]) == (event, "target", "x")


def test_a_job_that_failed_is_not_called_done() -> None:
    (entry,) = entries(SpanEnds(Span(1, "copy", 0, 1, "people", failed=True), "no room"))
    assert entry == {
        "level": "warning",
        "event": "failed",
        "what": "copy",
        "table": "people",
        "worker": 1,
        "seconds": 1,
        "error": "no room",
    }


def test_steps_of_the_run_and_sentences() -> None:
    begins, ends, failed, note = entries(
        StepBegins("prepare"),
        SpanEnds(Span(0, "run", 0, 1.25, name="prepare")),
        SpanEnds(Span(0, "run", 0, 1.25, name="prepare"), "no"),
        Note("again"),
    )
    assert begins == {"level": "info", "event": "step_begins", "step": "prepare"}
    assert ends == {"level": "info", "event": "step_ends", "step": "prepare", "seconds": 1.25}
    assert failed is not None
    assert (failed["level"], failed["error"]) == ("warning", "no")
    assert note == {"level": "warning", "event": "note", "text": "again"}


def test_a_line_begins_with_time_level_event_and_run() -> None:
    line = line_of({"level": "info", "event": "x", "table": "ä\n"}, MOMENT, "3f9a1c", [])
    assert line == (
        '{"time": "2026-11-26T21:05:07.042Z", "level": "info", "event": "x", "run": "3f9a1c", '
        '"table": "ä\\n"}'
    )


@pytest.mark.parametrize("password", ["a", "geh@eim", "it's 100%", "pass wörd", '"'])
def test_words_are_masked_and_the_rest_stays_as_it_is(password: str) -> None:
    said = {"error": f"no: {password}", "text": f"{password}!", "hint": f"try {password}"}
    entry = {"level": "error", "event": "run_ends", "table": "a table", **said}
    read = json.loads(line_of(entry, MOMENT, "3f9a1c", [password]))
    assert all(password not in read[name] or password in "no: try !" for name in said)
    assert all("***" in read[name] for name in said)
    assert (read["event"], read["table"]) == ("run_ends", "a table")


def test_a_url_in_an_error_loses_its_password() -> None:
    entry = {"level": "error", "event": "x", "error": "postgresql://u:secret@h/d refused"}
    assert "secret" not in line_of(entry, MOMENT, "3f9a1c", [])


def test_lines_are_appended_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    before = os.umask(0)
    try:
        for number in range(2):
            with log_to(path) as log:
                log.write("info", "run_begins", number=number)
    finally:
        os.umask(before)
    assert [each["number"] for each in lines(path)] == [0, 1]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.touch(0o640)
    with log_to(path) as log:
        log.write("info", "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    with log_to(tmp_path / "run.log") as log:
        log.write("info", "x")
        assert len(lines(tmp_path / "run.log")) == 1


def test_events_are_written_and_shown(tmp_path: Path) -> None:
    seen: list[Event] = []
    with log_to(tmp_path / "run.log") as log:
        observe = log.watching(seen.append)
        threads = [
            threading.Thread(target=lambda: [observe(Note("n" * 5000)) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen) == len(lines(tmp_path / "run.log")) == 200


def test_without_a_file_nothing_is_in_the_way() -> None:
    log = Log(None, "3f9a1c")
    log.write("info", "x")
    assert log.watching(print) is print
    log.close()


def test_what_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "no" / "run.log", tmp_path, pipe, Path("a\0b")):
        with pytest.raises(UsageError, match="cannot be written"):
            Log(path, "3f9a1c")


def test_nothing_is_appended_to_a_file_that_is_no_log(tmp_path: Path) -> None:
    database = tmp_path / "app.db"
    database.write_bytes(b"SQLite format 3\0")
    with pytest.raises(UsageError, match="is no log"):
        Log(database, "3f9a1c")
    assert database.read_bytes() == b"SQLite format 3\0"


def test_a_full_disk_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with log_to(tmp_path / "run.log") as log:
        monkeypatch.setattr(os, "write", full)
        log.write("info", "x")
        monkeypatch.undo()
        log.write("info", "y")
        assert "No space left" in log.trouble
    # What comes after a hole would look as if nothing was missing.
    assert lines(tmp_path / "run.log") == []


def test_options_are_those_that_were_given() -> None:
    given = {"tables": ("a*",), "exclude": (), "config": Path("x.gcfg"), "yes": False, "n": 0}
    assert facts(given | {"report": ""}) == {"tables": ["a*"], "config": "x.gcfg"}
