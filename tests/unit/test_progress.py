"""How far a run is, in numbers, lines and bars."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tableferry import progress
from tableferry.events import Event, Note, Phase, PhaseBegins, PhaseEnds, Progress
from tableferry.model import TableName
from tableferry.progress import Count, Tally, showing

T, U = TableName("main", "t"), TableName("main", "[red]u")

RUN: tuple[Event, ...] = (
    PhaseBegins("copy", T, 100),
    Progress("copy", T, 40),
    Note("t is loaded again with [wider] types"),
    PhaseBegins("copy", T, 100),
    Progress("copy", T, 100),
    PhaseEnds("copy", T),
    PhaseBegins("copy", U, 50),
    Progress("copy", U, 10),
    PhaseBegins("index", T, 0),
    PhaseEnds("index", T),
    PhaseBegins("verify", T, 100),
    Progress("verify", T, 30),
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def tally(*events: Event, now: float = 100.0) -> Tally:
    made = Tally()
    for event in events:
        made.take(event, now)
    return made


# ---- the tally --------------------------------------------------------------------------------


def test_rows_are_counted_twice_since_they_are_read_back() -> None:
    assert tally(PhaseBegins("copy", T, 100)).total == 200
    assert tally(PhaseBegins("copy", T, 100), PhaseBegins("verify", T, 100)).total == 200
    assert tally(PhaseBegins("copy", T, 100), PhaseBegins("survey", T, 100)).total == 300


def test_a_phase_that_begins_again_is_counted_anew() -> None:
    after = tally(*RUN)
    assert after.done == 100 + 10 + 30
    assert after.total == 100 + 100 + 50 + 50


def test_what_is_running() -> None:
    running = [(phase, table) for phase, table, _ in tally(*RUN).running()]
    assert running == [("copy", U), ("verify", T)]
    assert tally(PhaseBegins("copy", T, 5)).running() == []
    assert len(tally(PhaseBegins("index", T, 0)).running()) == 1


def test_the_rate_is_that_of_late() -> None:
    made = tally(PhaseBegins("copy", T, 10_000))
    assert (made.rate(0.0), made.seconds_left(0.0)) == (0.0, None)
    for second in range(1, 31):
        made.take(Progress("copy", T, 100 if second <= 20 else 200), float(second))
    assert made.rate(30.0) == pytest.approx(200, rel=0.1)
    assert made.done == 4000
    assert made.seconds_left(30.0) == pytest.approx(16_000 / made.rate(30.0))


def test_the_rate_is_never_that_of_an_instant() -> None:
    made = tally(PhaseBegins("copy", T, 100), Progress("copy", T, 50))
    assert made.rate(100.0) == 50.0


def test_more_rows_than_expected_leave_no_time() -> None:
    made = tally(PhaseBegins("copy", T, 10), Progress("copy", T, 500))
    assert made.seconds_left(100.0) == 0


def test_progress_without_a_beginning_is_counted() -> None:
    assert tally(Progress("verify", T, 7)).done == 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59, "59 s"), (59.6, "1:00"), (185, "3:05"), (7210, "2:00:10")],
)
def test_durations(seconds: float, text: str) -> None:
    assert progress._duration(seconds) == text


# ---- showing ----------------------------------------------------------------------------------


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None)


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def test_lines_come_every_few_seconds(clock: Clock) -> None:
    to = console(terminal=False)
    with showing(to, wanted=True, notes=True) as observe:
        for event in RUN:
            clock.now += 1.0
            observe(event)
    assert written(to).splitlines() == [
        "t is loaded again with [wider] types",
        "50 %, 47 rows/s, 2 s left; copying t 100 %",
        "37 %, 19 rows/s, 10 s left; copying [red]u 20 %",
    ]


def test_without_progress_only_notes_are_said() -> None:
    to = console(terminal=False)
    with showing(to, wanted=False, notes=True) as observe:
        for event in RUN:
            observe(event)
    assert written(to) == "t is loaded again with [wider] types\n"


def test_quiet_says_nothing() -> None:
    to = console(terminal=True)
    with showing(to, wanted=False, notes=False) as observe:
        for event in RUN:
            observe(event)
    assert written(to) == ""


def test_bars_on_a_terminal() -> None:
    to = console(terminal=True)
    with showing(to, wanted=True, notes=True) as observe:
        for event in RUN:
            observe(event)
    shown = written(to)
    assert "all tables" in shown
    assert "copying [red]u" in shown
    assert "10 of 50 rows" in shown
    assert "t is loaded again with [wider] types" in shown


def test_many_tables_do_not_flood_the_terminal() -> None:
    to = console(terminal=True)
    with showing(to, wanted=True, notes=True) as observe:
        for number in range(40):
            table = TableName("main", f"table{number:02}")
            observe(PhaseBegins("copy", table, 10))
            observe(Progress("copy", table, 1))
    assert "table11" in written(to)
    assert "table12" not in written(to)


def test_with_many_tables_bars_are_drawn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time takes a look at all tables: at every event it would be quadratic."""
    looks = []
    running = Tally.running

    def looked(tally: Tally) -> list[tuple[Phase, TableName, Count]]:
        looks.append(tally)
        return running(tally)

    monkeypatch.setattr(Tally, "running", looked)
    with showing(console(terminal=True), wanted=True, notes=True) as observe:
        for number in range(1_000):
            observe(PhaseBegins("copy", TableName("main", f"table{number:04}"), 10))
    assert 1 <= len(looks) < 500
