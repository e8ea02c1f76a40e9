"""Conversions that a rule asks for, held against plain Python; none rounds, none guesses."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import conversions
from tableferry.dialects.sqlite.values import typed_values
from tableferry.kinds import BOOL, DATE, TEXT, TIMESTAMP, TIMESTAMPTZ, UUID, arrow_type
from tableferry.model import Candidate, Kind
from tableferry.rejects import RawText, Stored

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# How many units make a second.
SECONDS = {"epoch": 1, "epoch_ms": 1_000}


def decoded(stored: list[Stored], kind: Kind, using: str) -> tuple[list[Any], list[int], int]:
    """The values, the positions of those that do not fit, and how many were converted."""
    values = typed_values(stored)
    candidate = Candidate(kind, using=using)
    found = values.decode(candidate)
    assert found.array.type == arrow_type(kind)
    return found.array.to_pylist(), values.misfits(candidate), found.respelled


def from_integers(values: list[int | None], kind: Kind, method: str) -> list[Any]:
    array = conversions.integers_to_moments(pa.array(values, pa.int64()), kind, method)
    assert array.type == arrow_type(kind)
    return list(array.to_pylist())


def from_reals(values: list[float | None], kind: Kind, method: str) -> list[Any]:
    array = conversions.reals_to_moments(pa.array(values, pa.float64()), kind, method)
    assert array.type == arrow_type(kind)
    return list(array.to_pylist())


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=5), st.sampled_from([1, 1000])
)
def test_integers_are_moments_or_nothing(values: list[int | None], milliseconds: bool) -> None:
    method = "epoch_ms" if milliseconds else "epoch"
    unit = SECONDS[method]

    def plain(value: int | None) -> dt.datetime | None:
        try:
            return None if value is None else EPOCH + _delta(value, unit)
        except OverflowError:
            return None

    assert from_integers(values, TIMESTAMPTZ, method) == [plain(value) for value in values]


def _delta(value: int, unit: int) -> dt.timedelta:
    return dt.timedelta(microseconds=value * 1_000_000 // unit)


@pytest.mark.parametrize("method", ["epoch", "epoch_ms"])
def test_both_ends_of_the_calendar(method: str) -> None:
    unit = SECONDS[method]
    first = int((dt.datetime.min.replace(tzinfo=dt.UTC) - EPOCH).total_seconds()) * unit
    end = 253_402_300_800 * unit

    assert from_integers([first - 1, first, end - 1, end], TIMESTAMP, method) == [
        None,
        dt.datetime.min,
        dt.datetime(9999, 12, 31, 23, 59, 59) + dt.timedelta(seconds=1 - 1 / unit),
        None,
    ]
    assert from_reals([first - 1.0, float(first), float(end)], TIMESTAMP, method) == [
        None,
        dt.datetime.min,
        None,
    ]


@given(st.datetimes(dt.datetime(1903, 1, 1), dt.datetime(2036, 1, 1), timezones=st.just(dt.UTC)))
def test_reals_bring_back_every_microsecond(moment: dt.datetime) -> None:
    """Within 2^51 microseconds of 1970 each of them has a double of its own, in both units."""
    microseconds = (moment - EPOCH) // dt.timedelta(microseconds=1)
    assert from_reals([microseconds / 1e6, None], TIMESTAMPTZ, "epoch") == [moment, None]
    assert from_reals([microseconds / 1e3], TIMESTAMPTZ, "epoch_ms") == [moment]


@pytest.mark.parametrize(
    "value", [0.1234567, 5e-324, 1e300, float("inf"), -float("inf"), float("nan")]
)
@pytest.mark.parametrize("method", ["epoch", "epoch_ms"])
def test_reals_that_are_no_whole_microseconds(value: float, method: str) -> None:
    assert from_reals([value, 1.5], TIMESTAMP, method)[0] is None


@given(st.integers(-719_162, 2_932_896), st.integers(1, 86_399))
def test_a_date_is_a_whole_day(day: int, second: int) -> None:
    expected = dt.date(1970, 1, 1) + dt.timedelta(days=day)
    seconds = [day * 86_400, day * 86_400 + second]
    assert from_integers(list(seconds), DATE, "epoch") == [expected, None]
    assert from_reals([float(s) for s in seconds], DATE, "epoch") == [expected, None]
    assert from_integers([s * 1_000 for s in seconds], DATE, "epoch_ms") == [expected, None]
    assert from_reals([day + 2_440_587.5], DATE, "julian") == [expected]


@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)))
def test_julian_days_are_those_of_sqlite(moment: dt.datetime) -> None:
    milliseconds = moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
    with closing(sqlite3.connect(":memory:")) as connection:
        text = milliseconds.isoformat(" ", "milliseconds")
        ((day,),) = connection.execute("SELECT julianday(?)", (text,))
    assert from_reals([day, None], TIMESTAMP, "julian") == [milliseconds, None]


def test_julian_days_that_are_none() -> None:
    assert from_integers([2_440_588, None, 10**9, 0], TIMESTAMP, "julian") == [
        dt.datetime(1970, 1, 1, 12),
        None,
        None,
        None,
    ]
    # Finer than a millisecond, where the double shows it.
    assert from_reals([2_440_587.5 + 2**-31], TIMESTAMP, "julian") == [None]


def test_text_is_no_epoch() -> None:
    values, misfits, converted = decoded([0, 0.5, "0", b"0", None], TIMESTAMP, "epoch")
    assert values[:2] == [dt.datetime(1970, 1, 1), dt.datetime(1970, 1, 1, 0, 0, 0, 500_000)]
    assert (misfits, converted) == ([2, 3], 2)


def test_words_for_true_and_false() -> None:
    yes: list[Stored] = ["1", "t", "TRUE", " y ", "Yes", "on\n", 1]
    no: list[Stored] = ["0", "F", "false", "n", "NO", "off", 0]
    neither: list[Stored] = ["", "ja", "tru", "01", "o", 2, 1.0, b"t"]
    values, misfits, converted = decoded([*yes, *no, None, *neither], BOOL, "meaning")
    assert values == [True] * 7 + [False] * 7 + [None] * 9
    assert misfits == list(range(15, 23))
    assert converted == 12


@given(st.uuids(), st.sampled_from(["str", "upper", "hex", "braces", "blanks", "blob"]))
def test_every_spelling_of_a_uuid(value: uuid.UUID, spelling: str) -> None:
    spelled: dict[str, Stored] = {
        "str": str(value),
        "upper": str(value).upper(),
        "hex": value.hex,
        "braces": f"{{{value}}}",
        "blanks": f" {value}\n",
        "blob": value.bytes,
    }
    assert decoded([spelled[spelling]], UUID, "meaning") == ([value.bytes], [], 1)


def test_what_is_no_uuid() -> None:
    strangers: list[Stored] = ["", "0" * 31, "g" * 32, b"\0" * 15, b"\0" * 17, 1, 0.5]
    _, misfits, converted = decoded([*strangers, None], UUID, "meaning")
    assert (misfits, converted) == (list(range(7)), 0)


@given(
    st.lists(st.none() | st.binary(max_size=12), max_size=6),
    st.sampled_from(["strip_nul", "replace_invalid"]),
)
def test_mended_text(raw: list[bytes | None], method: str) -> None:
    array = pa.array(raw, pa.binary()).cast(pa.string(), safe=False)
    mended, changed = conversions.mended_texts(array, method)

    found = mended.cast(pa.binary()).to_pylist()

    for before, after in zip(raw, found, strict=True):
        if before is None:
            assert after is None
        elif method == "strip_nul":
            assert after == bytes(byte for byte in before if byte)
        else:
            assert after.decode() == before.decode(errors="replace")
    assert changed == sum(a != b for a, b in zip(raw, found, strict=True))


def test_mending_one_thing_does_not_hide_another() -> None:
    stored: list[Stored] = ["a\0b", RawText(b"\xffa"), RawText(b"\xff\0"), "é", 1, b"x", None]
    values, misfits, changed = decoded(stored, TEXT, "replace_invalid")
    assert (values[1], values[3], misfits, changed) == ("\ufffda", "é", [0, 2, 4, 5], 2)
    candidate = Candidate(TEXT, using="strip_nul")
    found = typed_values(stored).decode(candidate)
    assert typed_values(stored).misfits(candidate) == [1, 2, 4, 5]
    assert (found.array[0].as_py(), found.array[3].as_py(), found.respelled) == ("ab", "é", 2)


def test_a_length_is_counted_after_mending() -> None:
    values, misfits, _ = decoded(["a\0b", "abc\0"], Kind("text", length=2), "strip_nul")
    assert (values, misfits) == (["ab", "abc"], [1])


@pytest.mark.parametrize("method", ["epoch", "epoch_ms", "julian"])
@pytest.mark.parametrize("kind", [DATE, TIMESTAMP, TIMESTAMPTZ])
def test_no_values(method: str, kind: Kind) -> None:
    assert from_integers([], kind, method) == from_reals([], kind, method) == []
    assert from_integers([None], kind, method) == from_reals([None], kind, method) == [None]
