"""How arrays of a kind become what SQLite stores."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import kinds, temporal
from tableferry.dialects.sqlite.storing import batch_of, insertion, is_plain, stored
from tableferry.dialects.sqlite.types import type_for
from tableferry.dialects.sqlite.values import any_parts, typed_values
from tableferry.kinds import ANY, FLOAT, FLOAT4, NUMBER, TEXT, UUID, arrow_type, decimal
from tableferry.model import Candidate, Column, Kind, ReadColumn


def column(kind: Kind, name: str = "c") -> ReadColumn:
    return ReadColumn(Column(name, type_for(kind) if kind != ANY else ""), kind)


def kept(array: pa.Array, kind: Kind) -> list[Any]:
    """The values as Python's SQLite gives them back from a column of the kind's type."""
    parts = stored(array, column(kind))
    batch = batch_of([parts])
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        connection.execute(f"CREATE TABLE t (c {column(kind).column.declared})")
        statement = insertion("t", ["c"], [parts])
        rows = zip(*(_python(array) for array in batch.columns), strict=True)
        connection.executemany(statement, rows)
        return [value for (value,) in connection.execute("SELECT c FROM t ORDER BY rowid")]


def _python(array: pa.Array) -> list[Any]:
    if array.type == pa.string():
        raws = array.cast(pa.binary()).to_pylist()
        return [None if raw is None else raw.decode("utf-8", "surrogateescape") for raw in raws]
    values: list[Any] = array.to_pylist()
    return values


def arrays(values: list[Any], kind: Kind) -> list[pa.Array]:
    """The values, and once more as a slice of a longer array."""
    array = pa.array(values, arrow_type(kind))
    return [array, pa.concat_arrays([array, array]).slice(len(array), len(array))]


@pytest.mark.parametrize("kind", [FLOAT, FLOAT4])
def test_nan_stands_by_its_name(kind: Kind) -> None:
    for array in arrays([0.5, float("nan"), None, float("inf"), float("-inf")], kind):
        assert kept(array, kind) == [0.5, "NaN", None, float("inf"), float("-inf")]


def test_floats_without_nan_are_one_array() -> None:
    for array in arrays([0.5, None], FLOAT):
        assert stored(array, column(FLOAT)).arrays == (array,)


@pytest.mark.parametrize(("precision", "scale"), [(4, 2), (15, 0), (15, 15), (10, 2), (1, 1)])
def test_decimals_that_are_no_numbers_stand_by_their_names(precision: int, scale: int) -> None:
    kind = decimal(precision, scale)
    largest = Decimal(10**precision - 1).scaleb(-scale)
    texts = [str(largest), "NaN", None, "Infinity", "-Infinity", str(-largest), "0"]
    array = kinds.texts_to_decimals(pa.array(texts), kind)
    number = float(largest) if scale else int(largest)
    for each in (array, pa.concat_arrays([array, array]).slice(len(array), len(array))):
        assert kept(each, kind) == [number, "NaN", None, "Infinity", "-Infinity", -number, 0]


def test_a_decimal_without_a_fraction_is_an_integer() -> None:
    array = kinds.texts_to_decimals(pa.array(["999999999999999", "-1"]), decimal(15, 0))
    values = kept(array, decimal(15, 0))
    assert values == [999999999999999, -1]
    assert all(isinstance(value, int) for value in values)


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.none()))
def test_numbers_are_integers_and_reals(values: list[Decimal | None]) -> None:
    texts = [None if v is None else kinds.canonical_numeric(v) for v in values]
    fits = [
        text
        for text, bad in zip(
            texts,
            _mask(kinds.number_misfits(pa.array(texts, pa.string())), len(texts)),
            strict=True,
        )
        if not bad
    ]
    found = kept(pa.array(fits, pa.string()), NUMBER)
    for text, value in zip(fits, found, strict=True):
        if text is None:
            assert value is None
        elif "." in text:
            assert isinstance(value, float)
            assert kinds.canonical_numeric(Decimal(repr(value))) == text
        else:
            assert value == int(text)
            assert isinstance(value, int)


def _mask(bad: kinds.Mask | None, length: int) -> list[bool]:
    return [False] * length if bad is None else bad.tolist()


@pytest.mark.parametrize(
    ("texts", "count"),
    [(["1", None], 1), (["1.5", None], 1), (["1", "1.5"], 2), ([None], 1), ([], 1)],
)
def test_numbers_take_a_second_array_only_where_it_is_needed(
    texts: list[str | None], count: int
) -> None:
    parts = stored(pa.array(texts, pa.string()), column(NUMBER))
    assert len(parts.arrays) == count
    assert is_plain([parts]) == (count == 1)


def test_uuids() -> None:
    values = [uuid.UUID(int=0), None, uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")]
    for array in arrays([None if v is None else v.bytes for v in values], UUID):
        assert kept(array, UUID) == [None if v is None else str(v) for v in values]


ANYTHING: list[Any] = [
    *(1, -(2**63), 2**63 - 1, 0.5, float("inf"), 5e-324, "", "a\0b", "7", b"", b"\0", b"t", None),
]


@given(
    st.lists(
        st.none()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False)
        | st.binary()
        | st.text(st.characters(codec="utf-8"))
    )
)
def test_any_keeps_each_storage_class(values: list[Any]) -> None:
    array = typed_values(values).decode(Candidate(ANY)).array
    for each in (array, pa.concat_arrays([array, array]).slice(len(array), len(array))):
        parts = any_parts(each)
        assert [part.type for part in parts] == [
            pa.int64(),
            pa.float64(),
            pa.string(),
            pa.binary(),
        ]
        assert [repr(value) for value in kept(each, ANY)] == [repr(value) for value in values]


def test_any_by_example() -> None:
    array = typed_values(ANYTHING).decode(Candidate(ANY)).array
    assert kept(array, ANY) == ANYTHING


def test_text_of_any_bytes_is_kept_as_any() -> None:
    array = pa.array([b"t\xff\xfe", b"t\0", b"b\xff"])
    integers, reals, texts, blobs = any_parts(array)
    assert integers.null_count == reals.null_count == 3
    assert texts.cast(pa.binary()).to_pylist() == [b"\xff\xfe", b"\0", None]
    assert blobs.to_pylist() == [None, None, b"\xff"]


@pytest.mark.parametrize("kind", [kinds.DATE, kinds.TIME, kinds.TIMESTAMP, kinds.TIMESTAMPTZ])
def test_dates_and_times_are_spelled(kind: Kind) -> None:
    array = pa.array([0, None, 86399], pa.int32() if kind == kinds.DATE else pa.int64())
    for each in (array.cast(arrow_type(kind)), array.cast(arrow_type(kind)).slice(1)):
        assert kept(each, kind) == temporal.spell(each, kind).to_pylist()


def test_the_statement_takes_one_parameter_an_array() -> None:
    one = stored(pa.array(["x"]), column(TEXT))
    two = stored(pa.array([float("nan")]), column(FLOAT))
    four = stored(pa.array([b"i" + bytes(8)]), column(ANY))
    assert insertion('"t"', ['"a"', '"b"', '"c"'], [one, two, four]) == (
        'INSERT INTO "t" ("a", "b", "c") VALUES (?1, coalesce(?2, ?3), coalesce(?4, ?5, ?6, ?7))'
    )
    batch = batch_of([one, two, four])
    assert (batch.num_columns, batch.num_rows) == (7, 1)
    assert not is_plain([one, two])
    assert is_plain([one])
