"""Packed values come apart as they were, and what cannot be told apart says so."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import packing
from tableferry.packing import MARK, MOST_COLUMNS, SEPARATOR, Fields, groups, split, unpack

TEXTS = st.text(st.characters(exclude_characters=SEPARATOR, codec="utf-8"), max_size=12)


def packed(*columns: list[str], before: int = 0) -> pa.Array:
    """As a database packs them; the array may be a slice that begins later."""
    rows = [SEPARATOR.join((*row, "")) for row in zip(*columns, strict=True)]
    return pa.array(["x" * before] * before + rows, pa.string()).slice(before)


def fields(*columns: list[str], before: int = 0) -> Fields:
    found = split(packed(*columns, before=before), len(columns))
    assert found is not None
    return found


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS)), st.integers(0, 3))
def test_texts_come_apart(rows: list[tuple[str, str, str]], before: int) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    found = fields(*columns, before=before)
    for number, column in enumerate(columns):
        array = found.texts(number)
        array.validate(full=True)
        assert array.to_pylist() == column


@given(st.lists(st.none() | TEXTS))
def test_marked_texts_keep_null_and_empty_apart(values: list[str | None]) -> None:
    found = fields(["" if value is None else MARK + value for value in values])
    array = found.texts(0, marked=True)
    array.validate(full=True)
    assert array.to_pylist() == values


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1), st.data())
def test_a_separator_in_a_value_is_noticed(
    rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(rows) - 1))
    first, second = (list(column) for column in zip(*rows, strict=True))
    first[place] += SEPARATOR
    array = packed(first, second)
    assert split(array, 2) is None
    (found,), kept = unpack([array], [2])
    assert kept is not None
    assert kept.to_pylist() == [row != place for row in range(len(rows))]
    assert found.texts(0).to_pylist() == first[:place] + first[place + 1 :]
    assert found.texts(1).to_pylist() == second[:place] + second[place + 1 :]


def test_a_row_left_out_of_one_array_is_left_out_of_all() -> None:
    one = packed(["a", "b\x1f", "c"], ["d", "e", "f"])
    two = packed(["1", "2", "3"], ["4", "5", "6"])
    found, kept = unpack([one, two], [2, 2])
    assert kept is not None
    assert kept.to_pylist() == [True, False, True]
    assert [fields.texts(1).to_pylist() for fields in found] == [["d", "f"], ["4", "6"]]


@pytest.mark.parametrize("count", [0, 1, 2, MOST_COLUMNS, MOST_COLUMNS + 1, 3 * MOST_COLUMNS + 1])
def test_groups(count: int) -> None:
    found = groups(range(count))
    assert sorted(place for group in found for place in group) == list(
        range(count if count > 1 else 0)
    )
    assert all(1 < len(group) <= MOST_COLUMNS for group in found)


@given(st.lists(st.none() | st.integers(-(10**16) + 1, 10**16 - 1)), st.integers(0, 2))
def test_integers(values: list[int | None], before: int) -> None:
    texts = ["" if value is None else str(value) for value in values]
    array = fields(["x"] * len(texts), texts, before=before).integers(1)
    assert array is not None
    assert array.type == pa.int64()
    assert array.to_pylist() == values


@pytest.mark.parametrize(
    "text", ["1.5", "-", "--1", "1-", "12345678901234567", "1a", "NaN", " 1", "1e3", "٣", ":", "/"]
)
def test_what_is_no_short_integer(text: str) -> None:
    for other in ("1", "-22"):
        assert fields([other, text]).integers(0) is None
        assert fields([text, other]).integers(0) is None


@given(st.integers(0, 7), st.data())
def test_decimals(scale: int, data: st.DataObject) -> None:
    units = st.integers(-(10**15) + 1, 10**15 - 1) | st.integers(-20, 20)
    drawn = data.draw(st.lists(st.none() | units))
    values = [None if n is None else Decimal(n).scaleb(-scale) for n in drawn]
    texts = ["" if value is None else f"{value:.{scale}f}" for value in values]
    array = fields(texts).decimals(0, 15, scale)
    assert array is not None
    array.validate(full=True)
    assert array.type == pa.decimal128(15, scale)
    assert array.to_pylist() == values


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1", "1.5", "1.505", ".50", "1,50", "1.5a", "-.50", "1..50", "a.50"]
)
def test_what_is_no_decimal_of_two_digits(text: str) -> None:
    for other in ("1.00", "-22.25"):
        assert fields([other, text]).decimals(0, 15, 2) is None
        assert fields([text, other]).decimals(0, 15, 2) is None


@given(st.lists(st.none() | st.dates()))
def test_dates(values: list[date | None]) -> None:
    texts = ["" if value is None else f"{MARK}{value.isoformat()}" for value in values]
    array = fields(texts).dates(0, marked=True)
    assert array is not None
    assert array.type == pa.date32()
    assert array.to_pylist() == values


@pytest.mark.parametrize(
    "text",
    [
        "0000-01-01",
        "2023-02-29",
        "2024-00-10",
        "2024-13-01",
        "2024-01-00",
        "2024-01-32",
        "2024/01/01",
        "2024-1-001",
        "infinity",
        "2024-01-0a",
        "a024-01-01",
        "2024-01-011",
        "0044-03-15 BC",
        "\u0662024-01-1",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert fields(["2024-01-01", text]).dates(0) is None
    assert fields([text, "2024-01-01"]).dates(0) is None


def test_an_empty_text_is_no_date_unless_it_stands_for_null() -> None:
    assert fields(["2024-01-01", ""]).dates(0) is None
    marked = fields([MARK + "2024-01-01", ""]).dates(0, marked=True)
    assert marked is not None
    assert marked.to_pylist() == [date(2024, 1, 1), None]
    assert fields([MARK + "2024-01-01", MARK]).dates(0, marked=True) is None


@pytest.mark.parametrize("width", [0, 3, 7, 8, 9, 10, 20, 33, 34, 35, 60])
@pytest.mark.parametrize("odd", [0, 1, 500])
def test_separators_are_found_however_far_apart_they_are(width: int, odd: int) -> None:
    """Some more of them than expected, too: those that stand in values."""
    data = np.frombuffer((b"x" * width + b"\x1f") * 1_000 + b"\x1f" * odd + b"x" * 8, np.uint8)
    found = packing._separators(data, 1_000)
    assert found.tolist() == [i for i, byte in enumerate(data.tolist()) if byte == 0x1F]
