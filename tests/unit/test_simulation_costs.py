"""What the simulation makes of the probe's records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from perf.simulation_costs import (
    MOST_SORTING,
    SOURCE_RANGE_BYTES,
    TARGET_RANGE_PAGES,
    WORKERS_A_HELPER,
    Flow,
    Statement,
    TableCosts,
    flow_of,
    helpers_of,
    least_marks,
    median_records,
    statement_of,
    trips_of,
    warm_up,
    with_helpers,
    with_straight,
)

from tableferry import loading
from tableferry.dialects.postgresql import session as postgres
from tableferry.dialects.sqlite import session as sqlite


def record(job: str = "copy_range", **known: Any) -> dict[str, Any]:
    usual = {
        "table": "main.a",
        "what": "",
        "makes": "",
        "side": "",
        "rows": 10,
        "bytes": 0,
        "client": 0.0,
        "sessions": 0.0,
        "helpers": 0.0,
        "own": 0.0,
        "queued": 0.0,
        "log": 0,
        "began": 0.0,
        "ended": 1.0,
    }
    return {"job": job} | usual | known


def test_ranges_are_cut_as_the_product_cuts_them() -> None:
    assert sqlite._RANGE_BYTES == SOURCE_RANGE_BYTES
    assert postgres._RANGE_PAGES == TARGET_RANGE_PAGES
    assert loading._WORKERS_A_HELPER == WORKERS_A_HELPER


@pytest.mark.parametrize(("pages", "ranges"), [(100, 1), (6_144, 1), (6_145, 2), (110_367, 27)])
def test_pages_of_the_target_are_cut_as_the_product_cuts_them(pages: float, ranges: int) -> None:
    assert made(pages).ranges_of_postgresql == ranges


def test_what_two_did_at_once_is_what_their_seconds_have_too_many() -> None:
    turns = flow_of([record(client=0.7, sessions=0.3)])
    assert (turns.client, turns.server, turns.overlap) == (0.7, 0.3, 0.0)
    # Three batches: two thirds of the server's time can be beside the client's.
    beside = flow_of([record(client=0.9, sessions=0.3)])
    assert beside.overlap == pytest.approx(1.0)


def test_time_in_the_queue_for_a_core_is_nobodys_work() -> None:
    found = flow_of([record(client=0.9, sessions=0.3, ended=1.5, queued=0.5)])
    assert found.overlap == pytest.approx(1.0)


def test_what_two_did_at_once_is_told_by_the_jobs_that_waited_least() -> None:
    turns = [record(client=0.7, sessions=0.3, ended=1.0)] * 2
    # Both waited at once, which is taken off twice.
    waited = [record(client=0.7, sessions=0.3, ended=1.4, queued=0.8)] * 2
    assert flow_of([*waited, *turns]).overlap == pytest.approx(0.0)
    assert flow_of(waited).overlap == pytest.approx(1.0)


def test_a_statement_that_several_processes_shared() -> None:
    # The statement's own process had the share of one helper, too.
    assert statement_of(record(sessions=3.0, helpers=1.0), 1) == Statement(1.0, 2.0)
    assert statement_of(record(sessions=3.0, helpers=1.0), 2) == Statement(1.5, 1.5)
    assert statement_of(record(sessions=1.0, helpers=0.9), 1) == Statement(0.0, 1.0)
    # A session that ended by chance helped no one.
    assert statement_of(record(sessions=3.0, helpers=1.0)) == Statement(3.0)


@pytest.mark.parametrize(
    ("pages", "helpers"),
    [(1_023, 0), (1_024, 1), (3_071, 1), (3_072, 2), (110_367, 5), (1_103_670, 7)],
)
def test_larger_tables_have_more_helpers(pages: int, helpers: int) -> None:
    assert helpers_of(pages, MOST_SORTING) == helpers
    assert helpers_of(pages, 1) == min(1, helpers)


def made(pages: float = 0.0, **known: Any) -> TableCosts:
    flow, nothing = Flow(0, 0), Statement(0)
    return TableCosts("a", 0, 0, flow, 0, (), flow, nothing, nothing, pages=pages, **known)


def test_keys_cost_otherwise_with_helpers_where_the_table_gets_some() -> None:
    jobs = [
        record("run_statements", makes="primary key x", sessions=4.0, helpers=1.5),
        record("run_statements", makes="index y", sessions=2.0, helpers=0.5),
        record("run_statements", makes="statistics", sessions=9.0),
    ]
    plain = [
        replace(made(pages), keys=(Statement(3.0),), indexes=(Statement(1.5),))
        for pages in (10_000, 10)
    ]
    large, small = with_helpers(plain, jobs, 1)
    assert large.keys == (Statement(1.0, 3.0, by_one=3.0),)
    assert large.indexes == (Statement(1.0, 1.0, by_one=1.5),)
    assert small == plain[1]


def test_what_is_written_where_it_belongs_is_freed_of_the_warm_up() -> None:
    jobs = [record(client=1.0), *[record(client=0.8, log=5)] * 2]
    (found,) = with_straight([made()], jobs)
    assert found.straight is not None
    assert found.straight.client == pytest.approx(3 * 0.8)
    assert found.straight.log_bytes == 0


def test_the_first_copy_warms_the_worker_up() -> None:
    jobs = [record(client=1.0, sessions=0.2), *[record(client=0.8, sessions=0.1)] * 2]
    found = warm_up(jobs)
    assert found.client == pytest.approx(0.2)
    assert found.server == pytest.approx(0.1)


def test_round_trips_are_told_apart_by_when_they_were_made() -> None:
    marks = [
        {"mark": "start workers", "at": 1.0},
        {"mark": "run", "at": 2.0},
        {"mark": "ran", "at": 9.0},
    ]
    jobs = [
        record("copy_range", began=2.0, ended=3.0),
        record("copy_range", began=4.0, ended=5.0),
        record("copy_range", began=5.0, ended=5.5),
        record("digest_range", began=6.0, ended=7.0),
        record("digest_range", began=7.5, ended=8.0),
        record("run_statements", makes="statistics", began=8.2, ended=8.4),
        record("run_statements", makes="primary key x", began=8.4, ended=8.8),
    ]
    turns = [(at, 0) for at in (0.5, 1.5, 1.6)]  # two once the workers are started
    turns += [(2.1, 1)] * 5 + [(4.1, 1)] * 2 + [(5.1, 1)] * 2
    turns += [(5.8, 0)]  # between two jobs
    turns += [(6.1, 1)] * 6 + [(7.6, 1)] * 4
    turns += [(8.3, 1)] * 2 + [(8.5, 1)] * 4
    turns += [(9.5, 0)]
    found = trips_of(jobs, marks, turns)
    assert (found.begin, found.prepare, found.finish) == (1, 2, 1)
    assert (found.copy, found.open_loading) == (2, 3)
    assert (found.verify, found.open_reading) == (5, 1)
    assert found.read_back == 1
    assert (found.statistics, found.statement) == (2, 4)


def test_rounds_come_down_to_medians_and_marks_to_the_least() -> None:
    rounds = [[record(client=c, began=10.0 * c, ended=10.0 * c + c)] for c in (1.0, 5.0, 2.0)]
    (found,) = median_records(rounds)
    assert found["client"] == 2.0
    assert found["ended"] - found["began"] == pytest.approx(2.0)
    with pytest.raises(ValueError, match="zip"):
        median_records([rounds[0], []])
    marks = [[{"mark": "a", "at": 5.0 * n}, {"mark": "b", "at": 5.0 * n + n}] for n in (1, 2, 9)]
    assert [mark["at"] for mark in least_marks(marks)] == [0.0, 1.0]
