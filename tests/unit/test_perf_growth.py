"""The pure parts of perf.growth: the line through points, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from perf.lines import Point, compared, fit, judged, spread, verdict
from perf.ranged import bounds

POINT = Point(
    rows=1,
    cpu=1.0,
    client_cpu=0.5,
    server_cpu=0.5,
    elapsed=1.0,
    peak_mb=100.0,
    peak_anon_mb=80.0,
    load_before=0.0,
)


def at(rows: int, seconds: float, mb: float = 100.0) -> Point:
    return replace(POINT, rows=rows, cpu=seconds, elapsed=seconds, peak_mb=mb)


def test_points_on_a_line_leave_no_residual() -> None:
    line = fit([1, 2, 10], [5.0, 7.0, 23.0])
    assert line.start == pytest.approx(3.0)
    assert line.slope == pytest.approx(2.0)
    assert line.worst == pytest.approx(0.0, abs=1e-12)


def test_a_small_run_weighs_as_much_as_a_large_one() -> None:
    # By seconds alone the line would begin near 5 and miss the first point by its fourfold.
    line = fit([1, 50, 100], [1.0, 60.0, 100.0])
    assert abs(line.residuals[0]) < 0.01
    assert line.residuals[1] > 0.05
    assert line.residuals[2] < -0.05


def test_quadratic_growth_is_no_line() -> None:
    rows = [1, 2, 5, 10, 20, 50]
    points = [at(count, 1.0 + count + 0.05 * count**2) for count in rows]
    records = {record["what"]: record for record in judged(points)}
    assert records["cpu"]["verdict"] == "not met"
    assert records["cpu"]["worst_residual"] > 0.1


def test_memory_that_grows_is_not_flat() -> None:
    flat = {r["what"]: r for r in judged([at(1, 1.0, 100.0), at(10, 10.0, 109.0)])}
    grown = {r["what"]: r for r in judged([at(1, 1.0, 100.0), at(10, 10.0, 112.0)])}
    assert flat["peak_mb"]["verdict"] == "met"
    assert grown["peak_mb"]["verdict"] == "not met"


def test_a_line_takes_two_points() -> None:
    with pytest.raises(ValueError, match="two points"):
        fit([3, 3], [1.0, 2.0])


def test_many_ranges_are_held_against_the_fewest() -> None:
    steady = {10: [at(1, 10.0), at(1, 10.02)], 1_000: [at(1, 11.0), at(1, 11.01)]}
    cpu = compared(steady)[0]
    assert cpu["added"] == pytest.approx(0.0994, abs=1e-3)
    assert cpu["milliseconds_per_range"] == pytest.approx(1.005, abs=0.01)
    assert cpu["verdict"] == "not met"


def test_runs_that_differ_among_each_other_decide_nothing() -> None:
    noisy = {10: [at(1, 10.0), at(1, 12.0)], 1_000: [at(1, 10.5), at(1, 11.8)]}
    assert compared(noisy)[0]["verdict"] == "undecided"
    assert verdict(0.01, 0.02) == "met"
    assert verdict(0.03, 0.02) == "not met"


def test_spread_is_over_the_smallest() -> None:
    assert spread([110.0, 100.0, 105.0]) == pytest.approx(0.1)


def test_pages_are_cut_into_so_many_ranges_or_one_each() -> None:
    assert bounds(100, 4) == [25, 50, 75]
    assert bounds(3, 10) == [1, 2]
    assert bounds(0, 10) == []
    assert len(bounds(117_000, 1_000)) == 999
