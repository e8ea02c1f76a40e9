"""What the benchmarks' records are made into, for pictures and for people."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.series import against_rows, against_workers, bars, cores, ratios, shares
from perf.summary import table
from perf.verdicts import Spread

Record = dict[str, Any]


def _span(worker: int, what: str, began: float, seconds: float, name: str = "") -> Record:
    return {"worker": worker, "what": what, "began": began, "seconds": seconds, "name": name}


def _setup(case: str, data: str, rows: int, direction: str = "to-postgresql") -> Record:
    facts = {"data": data, "rows": rows, "direction": direction, "machine": {"cores": 2}}
    return {"kind": "setup", "case": case} | facts


def _run(
    case: str, contender: str, seconds: dict[str, float], detail: Record | None = None
) -> Record:
    facts = {"contender": contender, "seconds": seconds, "detail": detail or {}}
    return {"kind": "run", "case": case} | facts


def _ratio(case: str, rival: str, **verdicts: Record) -> Record:
    found = {"ratio_of_medians": 0.5, "ratios_of_pairs": [0.4, 0.6], "verdicts": verdicts}
    return {
        "kind": "ratio",
        "case": case,
        "name": f"whole job / {rival}",
        "by": f"{rival}: total",
    } | found


def _measured(case: str, data: str, rows: int, seconds: float) -> list[Record]:
    own = {"total": seconds + 1.0, "own_total": seconds, "copy": seconds, "cpu": 9.0}
    detail = {"rows": rows, "workers": 2, "shares": {"copy": seconds}}
    theirs = {"total": 4.0, "copy": 1.0, "keys": 1.0, "hash": 2.0, "cpu": 9.0}
    return [
        _setup(case, data, rows),
        _run(case, "product", own, detail),
        _run(case, "duckdb", theirs),
        _run(case, "duckdb", theirs | {"total": 6.0, "hash": 4.0}),
        _ratio(case, "duckdb"),
    ]


def test_the_seconds_of_a_run_are_shared_among_what_is_done_in_them() -> None:
    timeline = [
        _span(0, "run", 0, 1, "inspect"),
        # The run's own phase lasts as long as its workers are busy, who count instead.
        _span(0, "run", 2, 6, "load"),
        _span(1, "copy", 2, 4),
        _span(2, "copy", 2, 1),
        _span(2, "index", 3, 3),
        _span(1, "verify", 6, 1.5),
        _span(1, "index", 7.5, 0.5, "statistics"),
        _span(0, "run", 9, 1, "publish"),
    ]
    assert shares(timeline, 10.0) == {
        "prepare": 1.0,
        "copy": 2.5,
        "keys": 1.5,
        "statistics": 0.5,
        "verify": 1.5,
        "finish": 1.0,
        "rest": 2.0,
    }


@given(
    st.lists(
        st.builds(
            _span,
            st.integers(0, 3),
            st.sampled_from(["copy", "index", "verify", "count"]),
            st.floats(0, 5),
            st.floats(0, 5),
        ),
        max_size=8,
    )
)
def test_shares_sum_up_to_the_whole(timeline: list[Record]) -> None:
    assert sum(shares(timeline, 10.0).values()) == pytest.approx(10.0)


def test_ratios_keep_their_targets_and_verdicts() -> None:
    (row,) = ratios([_ratio("a", "duckdb", aim={"target": 0.45, "verdict": "undecided"})])
    assert (row.ratio, row.least, row.greatest) == (0.5, 0.4, 0.6)
    assert (row.targets, row.verdicts) == ({"aim": 0.45}, {"aim": "undecided"})


def test_time_is_drawn_against_rows_by_direction() -> None:
    records = [
        *_measured("tpch-1", "tpch-1", 80, 7.0),
        *_measured("tpch-0.1", "tpch-0.1", 8, 1.0),
        *_measured("wide", "wide", 5, 1.0),
        # Rates and the like are no whole runs.
        _setup("rates", "tpch-1", 80, "rate"),
    ]
    panels = against_rows(records, "tpch")
    assert list(panels) == ["to-postgresql"]
    product, duckdb = panels["to-postgresql"]
    assert (product.label, product.x) == ("product", (8, 80))
    assert [point.median for point in product.y] == [2.0, 8.0]
    assert duckdb.y[0] == Spread(5.0, 4.0, 6.0)


def test_rows_a_second_are_drawn_against_workers() -> None:
    records = [_setup("workers-1", "tpch-1", 80)]
    for workers, total in ((2, 4.0), (1, 8.0)):
        detail = {"rows": 80, "workers": workers}
        records.append(_run("workers-1", f"product-{workers}", {"total": total}, detail))
    (line,) = against_workers([*records, *_measured("tpch-1", "tpch-1", 80, 1.0)])
    assert (line.label, line.x) == ("tpch-1", (1, 2))
    assert [point.median for point in line.y] == [10.0, 20.0]
    assert cores(records) == 2


def test_a_bar_is_as_long_as_the_median_and_divided_by_phases() -> None:
    ((product, duckdb),) = bars(_measured("tpch-1", "tpch-1", 80, 3.0))
    assert product.seconds == {"copy": 3.0, "start": 1.0}
    assert duckdb.total == pytest.approx(5.0)
    assert duckdb.seconds == pytest.approx({"copy": 1.0, "keys": 1.0, "verify": 3.0})


def test_a_rival_that_tells_no_phases_is_one_piece() -> None:
    records = _measured("a", "a", 1, 1.0)
    records[2:4] = [_run("a", "duckdb", {"total": 4.0, "cpu": 1.0})]
    ((_, rival),) = bars(records)
    assert rival.seconds == {"not told apart": 4.0}


def test_people_get_a_table() -> None:
    memory = {"kind": "memory", "case": "a", "contender": "product", "total": 412.4}
    limit = {"aim": {"target": 500, "verdict": "met"}}
    failed = {"kind": "failure", "case": "a", "contender": "pgloader", "why": "exit 1: x\nheap\n"}
    rate = {"median": 2.5e6, "min": 2e6, "max": 3e6}
    lines = table(
        [
            _setup("a", "a", 1),
            memory | {"missing_rows": 3, "verdicts": limit},
            {"kind": "rate", "case": "a", "contender": "digest", "rows_per_second": rate},
            _ratio("a", "duckdb", first={"target": 0.5, "verdict": "undecided"}),
            failed,
        ]
    ).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "Case Figure Value Spread Verdicts",
        "a peak memory of product 412 MB aim 500: met",
        "a rows that product left behind 3",
        "a digest 2.500 M rows/s 2.000 to 3.000",
        "a whole job / duckdb 0.50 0.40 to 0.60 first 0.5: undecided",
        "a pgloader failure heap",
    ]
