"""The table of cases that the benchmarks measure."""

import pytest
from perf.cases import CASES, RATE, RATES, Case, against, chosen, in_turn
from perf.rivals import RIVALS
from perf.shapes import SHAPES
from perf.verdicts import PRODUCT, Targets

TARGETS = {
    ("tpch-1", "duckdb_same_work"): Targets(1.0, 0.8),
    ("tpch-1", "pgloader"): Targets(0.33, 0.25),
    ("tpch-1", "bare_loop"): Targets(1.05, 0.95),
    ("tpch-1-verify", "duckdb_hashes"): Targets(1.1, 0.7),
    ("tpch-1-verify", "bare_read"): Targets(1.15),
    ("tpch-1-verify", "bare_read_plain"): Targets(1.15),
    ("tpch-1-back", "duckdb_to_sqlite"): Targets(0.9, 0.6),
    ("narrow", "duckdb_same_work"): Targets(1.2, 0.8),
    ("chinook", "pgloader"): Targets(0.9, 0.5),
    ("many-tables", "bare_tables"): Targets(2.0),
}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def test_no_name_stands_for_two_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_what_is_compared_takes_part(case: Case) -> None:
    names = [contender.name for contender in case.contenders]
    assert len(set(names)) == len(names)
    for comparison in case.comparisons:
        assert {comparison.ours, comparison.rival} <= set(names)


def test_each_program_is_known(case: Case) -> None:
    known = set(RATES) if case.direction == RATE else {PRODUCT, *RIVALS}
    assert {contender.program for contender in case.contenders} <= known


def test_each_case_has_its_data(case: Case) -> None:
    others = {"tpch-0.1", "tpch-1", "tpch-5", "narrow", "chinook"}
    assert case.data in others | set(SHAPES)


def test_the_targets_stand_where_they_belong() -> None:
    found = {
        (case.name, comparison.rival): comparison.targets
        for case in CASES
        for comparison in case.comparisons
        if comparison.targets
    }
    assert found == TARGETS
    assert {case.name: case.memory for case in CASES if case.memory} == {
        name: Targets(800, 500) for name in ("tpch-5", "tpch-5-back", "tpch-5-verify")
    }


def test_the_quick_run_is_a_part_of_the_full_one() -> None:
    quick, full = chosen([], full=False), chosen([], full=True)
    assert full == CASES
    assert set(quick) < set(full)
    assert not [case.name for case in quick if case.data in ("tpch-1", "tpch-5")]


def test_cases_are_chosen_by_name_and_keep_their_order() -> None:
    assert [case.name for case in chosen(["chinook", "tpch-5"], full=False)] == [
        "tpch-5",
        "chinook",
    ]
    with pytest.raises(KeyError):
        chosen(["tpch-7"], full=True)


def test_another_one_is_first_in_each_round(case: Case) -> None:
    contenders = case.contenders
    rounds = [in_turn(contenders, number) for number in range(1, len(contenders) + 1)]
    assert all(set(order) == set(contenders) for order in rounds)
    assert {order[0] for order in rounds} == set(contenders)


def test_rivals_can_be_left_out() -> None:
    (case,) = chosen(["tpch-1"], full=False)
    left = against(case, ["pgloader"])
    assert [contender.name for contender in left.contenders] == [PRODUCT, "pgloader"]
    assert [comparison.rival for comparison in left.comparisons] == ["pgloader"]
