"""The engine of the simulation: who gets which share of what, and when things end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.simulation_engine import Await, Compute, Delay, Engine, Event, Step, Steps, pipeline


def engine(cores: float, log: float = math.inf) -> Engine:
    return Engine({"client": "one", "server": "one"}, {"one": cores}, log)


def steps(*wanted: Step) -> Steps:
    yield from wanted


def ended(made: Engine, *processes: Steps) -> float:
    for process in processes:
        made.start(process)
    return made.run()


def test_two_share_one_core() -> None:
    made = engine(1)
    assert ended(made, steps(Compute("client", 1)), steps(Compute("server", 2))) == 3
    assert made.used == {"client": pytest.approx(1), "server": pytest.approx(2)}


def test_one_thread_gets_one_core_of_many() -> None:
    assert ended(engine(16), steps(Compute("client", 3))) == 3


def test_several_threads_are_as_wide_as_they_say() -> None:
    assert ended(engine(16), steps(Compute("server", 3, width=3))) == pytest.approx(1)
    assert ended(engine(2), steps(Compute("server", 3, width=3))) == pytest.approx(1.5)


def test_shares_are_of_threads() -> None:
    # Four threads on two cores: half a core each, so the wide one has 1.5.
    made = engine(2)
    made.start(steps(Compute("server", 3, width=3)))
    made.start(steps(Compute("client", 1)))
    assert made.run() == pytest.approx(2)


def test_machines_are_apart() -> None:
    made = Engine({"client": "a", "server": "b"}, {"a": 1, "b": 1})
    assert ended(made, steps(Compute("client", 1)), steps(Compute("server", 2))) == 2


def test_the_log_holds_back_those_who_write_it_and_nobody_else() -> None:
    made = engine(2, log=50)
    writer = made.start(steps(Compute("server", 1, log_bytes=100)))
    others = [made.start(steps(Compute("client", 1))) for _ in range(2)]
    seen: list[float] = []

    def watch(event: Event) -> Steps:
        yield Await(event)
        seen.append(made.now)

    for event in (writer, *others):
        made.start(watch(event))
    made.run()
    # Both others have 1.5 cores until they end after 4/3 seconds; the log takes two seconds.
    assert seen == [pytest.approx(4 / 3), pytest.approx(4 / 3), pytest.approx(2)]


def test_delays_take_no_core() -> None:
    assert ended(engine(1), steps(Delay(2)), steps(Compute("client", 1), Delay(0.5))) == 2


def test_who_waits_for_nothing_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="never"):
        ended(engine(1), steps(Await(Event())))


@pytest.mark.parametrize(
    ("overlap", "cores", "seconds"),
    [
        (0.0, 2, 5.0),
        # Only what the last batch is taken in has nothing beside it.
        (1.0, 2, 4.1),
        (1.0, 1, 5.0),
    ],
)
def test_a_pipeline_with_and_without_overlap(overlap: float, cores: int, seconds: float) -> None:
    made = engine(cores)
    made.start(pipeline(made, Compute("client", 4), Compute("server", 1), 10, overlap))
    assert made.run() == pytest.approx(seconds)


def test_pipelines_of_different_phases_use_both_places_at_once() -> None:
    def seconds(*phases: float) -> float:
        made = Engine({"client": "a", "server": "b"}, {"a": 1, "b": 1})
        for phase in phases:
            first, second = Compute("client", 5), Compute("server", 5)
            made.start(pipeline(made, first, second, 10, 0.0, phase))
        return made.run()

    assert seconds(1.0, 1.0) == pytest.approx(20)
    assert seconds(1.0, 0.5) < 17
    assert seconds(0.3) == pytest.approx(10)


@given(
    st.lists(st.tuples(st.floats(0.01, 10), st.integers(1, 3)), min_size=1, max_size=8),
    st.integers(1, 8),
)
def test_no_time_is_lost_or_won(work: list[tuple[float, int]], cores: int) -> None:
    made = engine(cores)
    for seconds, width in work:
        made.start(steps(Compute("client", seconds, width)))
    total = sum(seconds for seconds, _ in work)
    longest = max(seconds / min(width, cores) for seconds, width in work)
    end = made.run()
    assert made.used["client"] == pytest.approx(total)
    assert max(longest, total / cores) <= end + 1e-6
    assert end <= longest + total / cores + 1e-6
