"""What the benchmarks make of measured times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf.verdicts import (
    Comparison,
    Ratio,
    Targets,
    compared,
    ratio,
    verdict,
    verdicts,
    within,
)

SECONDS = st.floats(0.001, 1e4)


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_pairs() -> None:
    assert ratio([2.0, 3.0, 10.0], [1.0, 6.0, 5.0]) == Ratio(3.0 / 5.0, 0.5, 2.0, 3)


def test_runs_without_a_partner_are_no_pair() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9))
def test_the_ratio_lies_within_its_spread(pairs: list[tuple[float, float]]) -> None:
    found = ratio([a for a, _ in pairs], [b for _, b in pairs])
    assert found.least * (1 - 1e-9) <= found.of_medians <= found.greatest * (1 + 1e-9)


@pytest.mark.parametrize(
    ("least", "greatest", "expected"),
    [
        (0.7, 0.79, "met"),
        (0.7, 0.8, "met"),
        (0.7, 0.81, "undecided"),
        (0.8, 0.9, "undecided"),
        (0.81, 0.9, "not met"),
    ],
)
def test_a_verdict_needs_all_pairs(least: float, greatest: float, expected: str) -> None:
    assert verdict(Ratio((least + greatest) / 2, least, greatest, 5), 0.8) == expected


def test_one_pair_decides_nothing() -> None:
    assert verdict(Ratio(0.1, 0.1, 0.1, 1), 0.8) == "undecided"


def test_each_target_has_its_verdict() -> None:
    found = Ratio(0.9, 0.85, 0.95, 5)
    assert verdicts(found, Targets(1.0, 0.8)) == {
        "first": {"target": 1.0, "verdict": "met"},
        "aim": {"target": 0.8, "verdict": "not met"},
    }
    assert verdicts(found, Targets(0.9)) == {"first": {"target": 0.9, "verdict": "undecided"}}
    assert verdicts(found, None) == {}


def test_a_figure_without_a_spread_is_met_or_not() -> None:
    assert within(600.0, Targets(800, 500)) == {
        "first": {"target": 800, "verdict": "met"},
        "aim": {"target": 500, "verdict": "not met"},
    }


def test_phases_are_compared_and_whole_jobs_by_their_processor_seconds_too() -> None:
    seconds = {
        "product": [{"total": 4.0, "copy": 2.0, "cpu": 6.0}, {"total": 6.0, "copy": 3.0, "cpu": 8}],
        "duckdb": [{"total": 8.0, "copy": 4.0, "cpu": 7.0}, {"total": 8.0, "copy": 4.0, "cpu": 7}],
    }
    copy = compared(Comparison("copy", "copy", "duckdb", "total", Targets(0.5)), seconds)
    assert copy["ratio_of_medians"] == 2.5 / 8
    assert copy["ratios_of_pairs"] == [0.25, 0.375]
    assert copy["product_seconds"] == {"median": 2.5, "min": 2.0, "max": 3.0}
    assert copy["verdicts"] == {"first": {"target": 0.5, "verdict": "met"}}
    assert "cpu_ratio_of_medians" not in copy
    whole = compared(Comparison("whole", "total", "duckdb", "total"), seconds)
    assert whole["cpu_ratio_of_medians"] == 1.0
    assert whole["cpu_ratios_of_pairs"] == [6 / 7, 8 / 7]
