"""What passes is tried again, a bounded number of times; what does not, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tableferry import retrying
from tableferry.dialects.postgresql.connection import passes
from tableferry.dialects.sqlite.connection import translated
from tableferry.errors import DatabaseError
from tableferry.events import Event, Note, Retried
from tableferry.executors import InlineExecutor
from tableferry.retrying import Counting, ridden_out


class Fails:
    """A task that fails so many times."""

    def __init__(self, times: int, *, transient: bool = True) -> None:
        self.left = times
        self.transient = transient

    def __call__(self, argument: str) -> str:
        if self.left:
            self.left -= 1
            raise DatabaseError("lost", transient=self.transient)
        return argument


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "PAUSES", (0.0, 0.0, 0.0))


def tried(task: Fails) -> tuple[str, list[Event]]:
    """What came of it in an executor, and what was told meanwhile."""
    told: list[Event] = []
    future = InlineExecutor(told.append).submit(ridden_out, task, "done", about="t")
    error = future.exception()
    return str(error) if error else future.result(), told


@pytest.mark.parametrize("times", [0, 1, 3])
def test_until_it_works(times: int) -> None:
    assert tried(Fails(times)) == ("done", [Retried("t", "lost", 0.0)] * times)


def test_not_for_ever() -> None:
    assert tried(Fails(4)) == ("lost", [Retried("t", "lost", 0.0)] * 3)


def test_what_has_not_passed_does_not() -> None:
    """Whoever would begin all over again sees that it is of no use."""
    future = InlineExecutor().submit(ridden_out, Fails(4), "done")
    error = future.exception()
    assert isinstance(error, DatabaseError)
    assert not error.transient


def test_what_does_not_pass() -> None:
    assert tried(Fails(1, transient=False)) == ("lost", [])


def test_how_often_is_counted() -> None:
    told: list[Event] = []
    counting = Counting(told.append)
    retried = Retried("t", "lost", 2.0)
    events: list[Event] = [Note("x"), retried, Retried("", "lost", 0.25)]
    for event in events:
        counting(event)
    assert counting.retries == 2
    assert told == events
    assert retried.text == "t: lost Trying again in 2 s."


@pytest.mark.parametrize(
    ("state", "text", "expected"),
    [
        ("08006", "", True),
        ("57P01", "terminating connection due to administrator command", True),
        ("57P03", "the database system is starting up", True),
        ("40001", "could not serialize access", True),
        ("40P01", "deadlock detected", True),
        ("53300", "sorry, too many clients already", True),
        ("55P03", "canceling statement due to lock timeout", True),
        ("", "server closed the connection unexpectedly", True),
        ("", "connection to server at x failed: Connection refused", True),
        ("", "IO: [libpq] Failed to begin transaction: no connection to the server", True),
        ("57014", "canceling statement due to user request", False),
        ("53100", "could not extend file: No space left on device", False),
        ("23505", "duplicate key value violates unique constraint", False),
        ("42P01", "relation does not exist", False),
        ("XX001", "invalid page in block 0", False),
        ("", "expected int64, got string", False),
    ],
)
def test_what_passes_in_postgresql(state: str, text: str, *, expected: bool) -> None:
    assert passes(state, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("database is locked", True), ("disk I/O error", False), ("UNIQUE constraint failed", False)],
)
def test_what_passes_in_sqlite(text: str, *, expected: bool) -> None:
    assert translated(RuntimeError(text), Path("x.db")).transient == expected
