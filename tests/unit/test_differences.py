"""Differing rows named to the cell, or counted where no key tells them apart."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import differences
from tableferry.differences import SHOWN_CHARACTERS, rows_among, show
from tableferry.digest import HashedRows, key_hashes, row_hashes
from tableferry.kinds import DATE, FLOAT, INT, TEXT, TIME, TIMESTAMPTZ, arrow_type
from tableferry.model import Column, Kind, ReadColumn, Scan, TableName
from tableferry.outcomes import Difference, DifferingRows

T = TableName("main", "t")


def scan(*kinds: Kind, key: tuple[int, ...] = (0,)) -> Scan:
    columns = tuple(ReadColumn(Column("abcdef"[i], ""), kind) for i, kind in enumerate(kinds))
    return Scan(T, columns, key)


def rows(shape: Scan, *values: tuple[Any, ...]) -> pa.Table:
    arrays = [
        pa.array([row[i] for row in values], arrow_type(column.kind))
        for i, column in enumerate(shape.columns)
    ]
    return pa.table(arrays, names=[str(i) for i in range(len(arrays))])


def between(source: pa.Table, target: pa.Table, shape: Scan) -> list[Difference]:
    return first_of(source, target, shape, 1_000)


def first_of(source: pa.Table, target: pa.Table, shape: Scan, most: int) -> list[Difference]:
    mine, theirs = (differences.Rows.of(table, shape) for table in (source, target))
    return differences.between(mine, theirs, shape, most)


def hashed(table: pa.Table, key: tuple[int, ...]) -> HashedRows:
    columns = [column.combine_chunks() for column in table.columns]
    low, _ = row_hashes(columns)
    return HashedRows(key_hashes(columns, key, low), low)


def changed(key: str, column: str, source: str, target: str) -> Difference:
    return Difference("t", "changed", (("a", key),), column, source, target)


def test_equal_rows_have_no_differences() -> None:
    shape = scan(INT, TEXT)
    table = rows(shape, (1, "x"), (2, None), (3, "x"))
    assert between(table, table, shape) == []
    assert between(table, rows(shape, (3, "x"), (1, "x"), (2, None)), shape) == []
    assert between(rows(shape), rows(shape), shape) == []


def test_with_a_key_the_cell_is_named() -> None:
    shape = scan(INT, TEXT, FLOAT)
    source = rows(shape, (1, "x", 1.5), (2, "y", None), (3, "same", 0.0), (4, "gone", 1.0))
    target = rows(shape, (5, "new", 1.0), (3, "same", 0.0), (1, "z", 1.25), (2, None, 2.0))
    assert between(source, target, shape) == [
        changed("1", "b", "'x'", "'z'"),
        changed("1", "c", "1.5", "1.25"),
        changed("2", "b", "'y'", "NULL"),
        changed("2", "c", "NULL", "2.0"),
        Difference("t", "missing", (("a", "4"),), in_source=1),
        Difference("t", "extra", (("a", "5"),), in_target=1),
    ]


def test_swapped_values_are_two_changes() -> None:
    shape = scan(INT, TEXT)
    found = between(rows(shape, (1, "x"), (2, "y")), rows(shape, (1, "y"), (2, "x")), shape)
    assert found == [changed("1", "b", "'x'", "'y'"), changed("2", "b", "'y'", "'x'")]


def test_a_key_of_two_columns() -> None:
    shape = scan(INT, TEXT, INT, key=(1, 0))
    found = between(rows(shape, (1, "k", 7)), rows(shape, (1, "k", 8)), shape)
    assert found == [Difference("t", "changed", (("b", "'k'"), ("a", "1")), "c", "7", "8")]


def test_without_a_key_rows_are_counted() -> None:
    shape = scan(INT, TEXT, key=())
    source = rows(shape, (1, "x"), (1, "x"), (1, "x"), (2, None))
    target = rows(shape, (1, "x"), (3, "z"))
    assert between(source, target, shape) == [
        Difference("t", "missing", (("a", "1"), ("b", "'x'")), times=2, in_source=3, in_target=1),
        Difference("t", "missing", (("a", "2"), ("b", "NULL")), in_source=1),
        Difference("t", "extra", (("a", "3"), ("b", "'z'")), in_target=1),
    ]


def test_a_key_that_stands_twice_on_a_side_is_counted() -> None:
    shape = scan(INT, TEXT)
    key = (("a", "1"),)
    found = between(rows(shape, (1, "x"), (1, "y")), rows(shape, (1, "z")), shape)
    assert found == [
        Difference("t", "missing", key, times=2, in_source=2, in_target=1),
        Difference("t", "extra", key, times=1, in_source=2, in_target=1),
    ]
    found = between(rows(shape, (1, "x")), rows(shape, (1, "x"), (1, "x")), shape)
    assert found == [Difference("t", "extra", key, times=1, in_source=1, in_target=2)]


def test_the_first_of_many_are_named_in_the_order_of_their_keys() -> None:
    shape = scan(INT, TEXT)
    source = rows(shape, *((i, "x") for i in range(1_000, 0, -1)))
    target = rows(shape, *((i, "y") for i in range(1, 1_001)))
    found = first_of(source, target, shape, 3)
    assert [d.key for d in found] == [(("a", "1"),), (("a", "2"),), (("a", "3"),)]


def test_nan_is_itself() -> None:
    shape = scan(INT, FLOAT, TEXT)
    nan = float("nan")
    found = between(rows(shape, (1, nan, "x")), rows(shape, (1, nan, "y")), shape)
    assert found == [changed("1", "c", "'x'", "'y'")]


def test_dates_that_python_has_not_are_shown_too() -> None:
    shape = scan(INT, DATE, TIMESTAMPTZ, TIME)
    source = rows(shape, (1, dt.date(2024, 1, 1), None, dt.time(0)))
    infinities = [
        pa.array([-(2**31) - 1 + 10_957], pa.int32()).cast(pa.date32()),
        pa.array([-(2**63) + 946_684_800_000_000]).cast(pa.timestamp("us", "UTC")),
        # Python makes 00:00 of it.
        pa.array([86_400_000_000]).cast(pa.time64("us")),
    ]
    target = pa.table([pa.array([1], pa.int64()), *infinities], names=list("0123"))
    found = [(d.column, d.source, d.target) for d in between(source, target, shape)]
    assert found == [
        ("b", "2024-01-01", "infinity"),
        ("c", "NULL", "-infinity"),
        ("d", "00:00:00", "24:00:00"),
    ]


def test_a_far_date_does_not_make_others_differ() -> None:
    shape = scan(INT, DATE, TEXT)
    source = rows(shape, (1, dt.date(2024, 1, 1), "x"), (2, dt.date(2024, 1, 2), "x"))
    days = [19_723, 2_932_897]
    target = pa.table(
        [pa.array([1, 2]), pa.array(days, pa.int32()).cast(pa.date32()), pa.array(["y", "x"])],
        names=list("012"),
    )
    assert between(source, target, shape) == [
        changed("1", "c", "'x'", "'y'"),
        changed("2", "b", "2024-01-02", "10000-01-01"),
    ]


ROWS = st.lists(st.tuples(st.integers(0, 3), st.none() | st.sampled_from("xy")), max_size=8)


@given(ROWS, ROWS)
def test_without_a_key_the_differences_make_up_for_the_surplus(
    source: list[tuple[int, str | None]], target: list[tuple[int, str | None]]
) -> None:
    shape = scan(INT, TEXT, key=())
    found = between(rows(shape, *source), rows(shape, *target), shape)

    def told(what: str) -> Counter[tuple[str, ...]]:
        counts: Counter[tuple[str, ...]] = Counter()
        for d in found:
            if d.what == what:
                counts[tuple(value for _, value in d.key)] += d.times
        return counts

    def shown(surplus: Counter[tuple[int, str | None]]) -> Counter[tuple[str, ...]]:
        return Counter({tuple(map(show, row)): times for row, times in surplus.items()})

    assert told("missing") == shown(Counter(source) - Counter(target))
    assert told("extra") == shown(Counter(target) - Counter(source))


KEYED = st.dictionaries(st.integers(0, 5), st.none() | st.sampled_from("xyz"))


@given(KEYED, KEYED)
def test_with_a_key_every_difference_is_named_once(
    source: dict[int, str | None], target: dict[int, str | None]
) -> None:
    shape = scan(INT, TEXT)
    found = between(rows(shape, *source.items()), rows(shape, *target.items()), shape)
    assert {(d.what, d.key[0][1]) for d in found} == {
        (
            "missing" if k not in target else "extra" if k not in source else "changed",
            str(k),
        )
        for k in source.keys() | target.keys()
        if k not in source or k not in target or source[k] != target[k]
    }
    assert len(found) == len({d.key for d in found})
    assert rows_among(found) == len(found)
    told = Counter(d.what for d in found)
    mine, theirs = (hashed(rows(shape, *each.items()), (0,)) for each in (source, target))
    counted = differences.differing(mine, theirs, keyed=True).rows
    assert counted == DifferingRows(told["changed"], told["missing"], told["extra"])


PLENTY = st.lists(st.integers(0, 3), max_size=20)


@given(PLENTY, PLENTY)
def test_rows_without_a_key_are_counted_by_their_surplus(
    source: list[int], target: list[int]
) -> None:
    shape = scan(INT, key=())
    mine, theirs = (hashed(rows(shape, *((i,) for i in each)), ()) for each in (source, target))
    counted = differences.differing(mine, theirs, keyed=False).rows
    assert counted.changed == 0
    assert counted.missing == (Counter(source) - Counter(target)).total()
    assert counted.extra == (Counter(target) - Counter(source)).total()


# ---- showing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        ("NULL", "'NULL'"),
        ("", "''"),
        ("a\0b\n\x1b[31m", r"'a\x00b\n\x1b[31m'"),
        (b"\x00\xff", "x'00ff'"),
        (True, "True"),
        (-(2**63), "-9223372036854775808"),
        (Decimal("1.50"), "1.50"),
        (0.1, "0.1"),
        (dt.date(2024, 1, 1), "2024-01-01"),
        (dt.datetime(2024, 1, 1, 12, 30), "2024-01-01 12:30:00"),
    ],
)
def test_show(value: Any, shown: str) -> None:
    assert show(value) == shown


def test_long_values_are_cut() -> None:
    assert show("x" * 58) == "'" + "x" * 58 + "'"
    cut = show("x" * 1000)
    assert len(cut) == SHOWN_CHARACTERS
    assert cut.endswith("…")


def test_long_values_show_their_first_difference() -> None:
    shape = scan(INT, TEXT)
    stem = "x" * 500
    (found,) = between(
        rows(shape, (1, stem + "A" + stem)), rows(shape, (1, stem + "B" + stem)), shape
    )
    assert "A" in found.source
    assert "B" in found.target
    assert found.source.startswith("…")
    assert found.source.endswith("…")
    assert max(len(found.source), len(found.target)) <= SHOWN_CHARACTERS + 2


def test_a_long_value_with_something_appended() -> None:
    shape = scan(INT, TEXT)
    (found,) = between(rows(shape, (1, "x" * 500)), rows(shape, (1, "x" * 500 + "!")), shape)
    assert found.source != found.target
    assert "!" in found.target
