"""A simulated run: in which order jobs go, what it takes, and what is said to bind it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from perf.simulation_costs import (
    TARGET_RANGE_PAGES,
    Costs,
    Fixed,
    Flow,
    Overlaps,
    Statement,
    TableCosts,
    Trips,
)
from perf.simulation_figures import validate
from perf.simulation_limits import CHANGES, bindings, changes
from perf.simulation_model import Setting, predict

NO_START = Fixed(0, 0, 0, 0, 0, Flow(0, 0), 0, 0)
_RANGE = 24 << 20


def table(name: str, ranges: int = 8, seconds: float = 8.0, key: float = 0.5) -> TableCosts:
    """As much work for the server as for the client."""
    half = seconds / 2
    size = float(ranges * _RANGE)
    return TableCosts(
        name,
        1e6,
        size,
        Flow(half, half, 0.0, size, 1e6),
        0.1,
        (Statement(key),),
        Flow(half / 2, half / 2, 0.0, size),
        Statement(0.1),
        Statement(0.1),
        pages=ranges * TARGET_RANGE_PAGES,
    )


def costs(*tables: TableCosts, fixed: Fixed = NO_START, trips: Trips | None = None) -> Costs:
    return Costs(tables, fixed, trips or Trips())


BOTH = costs(table("small", 2, 2.0), table("large"))
# Copy, count, key, read back, count, statistics.
WORK = (8 + 0.1 + 0.5 + 4 + 0.1 + 0.1) + (2 + 0.1 + 0.5 + 1 + 0.1 + 0.1)


def test_one_worker_on_one_core_does_all_the_work_one_after_the_other() -> None:
    found = predict(BOTH, Setting(1, 1))
    assert found.seconds == pytest.approx(WORK)
    assert sum(found.used.values()) == pytest.approx(WORK)


def test_more_cores_than_there_is_use_for_leave_the_longest_chain() -> None:
    found = predict(BOTH, Setting(64, 64))
    # One range of the larger table, its rows counted, its key, and one range read back, beside
    # which statistics are taken.
    assert found.seconds == pytest.approx(1 + 0.1 + 0.5 + 0.5)


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 16])
def test_twice_the_cores_are_faster_and_never_more_than_twice(cores: int) -> None:
    once, twice = (predict(BOTH, Setting(n, n)).seconds for n in (cores, 2 * cores))
    assert once / 2 - 1e-6 <= twice <= once + 1e-6


def test_keys_wait_for_all_copies_that_are_queued() -> None:
    found = predict(BOTH, Setting(1, 1)).phases
    assert found["copied"] == pytest.approx(10)
    # The larger table's goes first; the last key is the smaller one's.
    assert found["keys"] == pytest.approx(10 + 2 * (0.1 + 0.5))


def test_a_worker_and_its_session_take_turns_unless_they_are_connected_by_tcp() -> None:
    made = replace(costs(table("one", 1)), by_tcp=Overlaps(1.0, 1.0))
    turns = predict(made, Setting(4, 1))
    at_once = predict(made, Setting(4, 1, tcp=True))
    assert turns.seconds == pytest.approx(8 + 4 + 0.8)
    # All but a part of a batch, of which there are three.
    assert 4 + 2 + 0.8 < at_once.seconds < 4 + 4 / 3 + 2 + 2 / 3 + 0.8


def test_each_round_trip_counts() -> None:
    trips = Trips(25, 18, 13, 5, 8, 9, 21, 230, 5, 49, 2)
    made = costs(table("one", 3), trips=trips)
    near, far = (predict(made, Setting(1, 1, latency)).seconds for latency in (0.0, 0.01))
    jobs = 3 * trips.copy + trips.statement + trips.statistics + 3 * trips.verify + trips.count
    run = trips.begin + trips.prepare + trips.read_back + trips.finish
    assert far - near == pytest.approx((jobs + run + 25 + 18) * 0.01)


def test_each_worker_is_started_warmed_up_and_ended() -> None:
    fixed = Fixed(1, 0.1, 0.4, 0.2, 0.0, Flow(0.3, 0.1), 0.3, 0.05)
    found = predict(costs(table("one"), fixed=fixed), Setting(1, 2))
    plain = predict(costs(table("one")), Setting(1, 2))
    own = 1 + 0.2 + 0.3 + 2 * (0.1 + 0.4 + 0.4 + 0.05)
    assert found.seconds - plain.seconds == pytest.approx(own)


def test_workers_end_together() -> None:
    made = costs(table("one"), fixed=replace(NO_START, retire=0.3))
    ended = predict(made, Setting(4, 4)).phases
    assert ended["ended"] - ended["finished"] == pytest.approx(0.3)


@pytest.mark.parametrize(("workers", "processes"), [(3, None), (4, 2), (8, 3), (16, 5), (64, 5)])
def test_an_index_has_a_helper_for_every_four_workers(workers: int, processes: int | None) -> None:
    # A table of so many pages has four helpers at most.
    large = replace(table("one", key=0), keys=(Statement(1.0, 6.0, by_one=5.0),), pages=30_000)
    found = predict(costs(large), Setting(64, workers)).phases
    key = found["keys"] - found["copied"] - large.count
    assert key == pytest.approx(5.0 if processes is None else 1.0 + 6.0 / processes)


def test_statistics_wait_for_the_indexes_and_for_everything_else() -> None:
    made = replace(table("one"), indexes=(Statement(2.0), Statement(1.0)))
    found = predict(costs(made), Setting(1, 1))
    assert found.seconds == pytest.approx(found.phases["read back"] + 0.1 + 0.1)
    # Both indexes, and statistics: all ranges are read back by others meanwhile.
    wide = predict(costs(made), Setting(64, 64))
    assert wide.phases["ended"] - wide.phases["keys"] == pytest.approx(2.0 + 0.1)


def test_two_machines_have_twice_the_cores() -> None:
    one, two = (predict(BOTH, Setting(1, 2, apart=apart)).seconds for apart in (False, True))
    # The server has 8.9 s of work, which is all that keeps the two from being twice as fast.
    assert 8.9 < two < 0.75 * one


@pytest.mark.parametrize(
    ("made", "setting", "first"),
    [
        (BOTH, Setting(1, 1), "cores"),
        (BOTH, Setting(1, 2, apart=True), "cores"),
        (costs(table("one", key=20)), Setting(16, 16), "one process a key"),
        (replace(BOTH, log_bandwidth=1e5), Setting(16, 16), "server log"),
        (costs(table("one"), trips=Trips(prepare=300)), Setting(8, 8, 0.02), "round trips"),
        (
            costs(table("one"), fixed=replace(NO_START, between=0.5)),
            Setting(8, 8),
            "coordinator",
        ),
        (
            costs(table("one"), fixed=replace(NO_START, spawn=0.1)),
            Setting(64, 64),
            "start and end of processes",
        ),
        (costs(table("one", ranges=1)), Setting(4, 4), "few ranges"),
    ],
)
def test_what_binds_is_named_first(made: Costs, setting: Setting, first: str) -> None:
    assert next(iter(bindings(made, setting))) == first


def test_reading_back_beside_the_key_hides_the_shorter_of_the_two() -> None:
    made = costs(table("one", key=3))
    found = changes(made, Setting(64, 64))
    assert set(found) == {"", *CHANGES}
    gain = found[""] - found["rows are read back while the key is built"]
    # Statistics, which wait for the key, have nothing beside them any more.
    assert gain == pytest.approx(0.5 - 0.1)


def test_changes_of_round_trips_and_of_helpers() -> None:
    large = replace(table("one", key=0), keys=(Statement(1.0, 6.0, by_one=5.0),), pages=30_000)
    made = costs(large, trips=Trips(begin=20, prepare=80, verify=6))
    found = changes(made, Setting(64, 8, 0.01))
    gains = {name: found[""] - seconds for name, seconds in found.items()}
    assert gains["half the round trips before the first job"] == pytest.approx(0.5)
    # Eight workers and as many ranges.
    assert gains["half the round trips to read a range back"] == pytest.approx(0.03)
    # Two helpers; four is what the server gives a table of so many pages.
    assert gains["no helpers for indexes"] == pytest.approx(1 + 6 / 3 - 5)
    most = gains["as many helpers for indexes as the server gives"]
    assert most == pytest.approx(6 / 3 - 6 / 5)


def back(gather: float) -> Costs:
    return replace(costs(replace(table("one", seconds=8), gather=gather)), to_sqlite=True)


def test_into_a_file_everything_is_gathered_one_after_the_other() -> None:
    made = back(4)
    assert predict(made, Setting(1, 1)).seconds == pytest.approx(8 + 4 + 0.1 + 0.5 + 4 + 0.1 + 0.1)
    # The first range is there after a second, then the gathering of all takes four.
    assert predict(made, Setting(64, 64)).phases["copied"] == pytest.approx(1 + 4)
    # Side by side they would take half a second, and statistics would not keep others from reading.
    whole = predict(made, Setting(64, 64)).seconds
    gain = bindings(made, Setting(64, 64))["one writer of the file"]
    assert gain == pytest.approx((3.5 + 0.1) / whole, abs=0.01)


def test_a_file_is_read_back_when_nobody_writes_it() -> None:
    two = (replace(table(name, key=3), gather=0.1) for name in ("one", "other"))
    made = replace(costs(*two), to_sqlite=True)
    found = predict(made, Setting(64, 64)).phases
    # Both keys, one after the other, then the statistics of both, and only then all ranges at once:
    # who writes the file goes first.
    assert found["keys"] == pytest.approx(found["copied"] + 0.1 + 3 + 3, abs=0.2)
    assert found["read back"] == pytest.approx(found["keys"] + 2 * 0.1 + 0.5, abs=0.1)


def test_who_writes_a_file_alone_writes_nothing_apart() -> None:
    made = replace(table("one", seconds=8), gather=4.0, straight=Flow(5.0, 4.0, 0.0))
    found = predict(replace(costs(made), to_sqlite=True), Setting(4, 1))
    assert found.phases["copied"] == pytest.approx(9)


def test_the_server_only_reads_for_a_file() -> None:
    used = predict(back(1), Setting(2, 2)).used
    assert used["server"] == pytest.approx(4 + 2 + 0.1)


def test_an_error_is_against_the_median_on_the_cores_that_others_left() -> None:
    def run(seconds: float, foreign: float) -> dict[str, object]:
        return {
            "source": "a",
            "workers": 1,
            "seconds": seconds,
            "foreign_cpu": foreign * seconds,
            "stolen": 0.0,
            "client_cpu": 5.0,
            "server_cpu": 4.0 + seconds,
        }

    one = costs(table("one"))
    alone = predict(one, Setting(1, 1)).seconds
    runs = [run(alone * part, 0.0) for part in (0.9, 1.25, 2.0)]
    (found,) = validate(one, runs, 1)
    assert found.error == pytest.approx(1 / 1.25 - 1)
    assert found.measured_cpu == pytest.approx(9.0 + 1.25 * alone)
    assert found.predicted_cpu == pytest.approx(8 + 4 + 0.1 + 0.5 + 0.1 + 0.1)
    (halved,) = validate(one, [run(2 * alone, 0.5)], 1)
    assert halved.error == pytest.approx(0)
