"""Conversions that either keep a value or call it a misfit, held against plain Python."""

from __future__ import annotations

import math
import sqlite3
import uuid
from contextlib import closing
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.kinds import Mask
from tableferry.model import Kind


def flags(bad: Mask | None, length: int) -> list[bool]:
    """The mask as a list; None stands for no misfit."""
    if bad is None:
        return [False] * length
    assert bad.dtype == np.bool_
    assert bad.any(), "a mask without a misfit should have been None"
    return [bool(flag) for flag in bad]


def sliced(array: pa.Array, offset: int) -> pa.Array:
    """The same values as a slice of a longer array."""
    before, after = array[:1].take(pa.array([None] * offset, pa.int64())), array
    return pa.concat_arrays([before, after, before]).slice(offset, len(array))


# ---- decimals from doubles --------------------------------------------------------------------


def fits_decimal(value: float, precision: int, scale: int) -> bool:
    """The rule in plain words: below 2^53, not -0.0, and the shortest decimal has no more
    digits."""
    if not abs(value) < 2**53 or (value == 0 and math.copysign(1, value) < 0):
        return False
    units = Decimal(repr(value)).scaleb(scale)
    return units == units.to_integral_value() and abs(units) < 10**precision


PRECISION_AND_SCALE = st.integers(1, kinds.DECIMAL_DIGITS).flatmap(
    lambda precision: st.tuples(st.just(precision), st.integers(0, precision))
)
NEAR_DECIMALS = st.builds(
    lambda units, scale, steps: (
        float(np.nextafter(units / 10**scale, math.inf * steps)) if steps else units / 10**scale
    ),
    st.integers(-(10**18), 10**18),
    st.integers(0, 18),
    st.sampled_from([-1, 0, 0, 0, 1]),
)
DOUBLES = st.floats() | st.floats(-1e6, 1e6) | NEAR_DECIMALS | st.integers(-99, 99).map(float)


@given(st.lists(st.none() | DOUBLES, max_size=20), PRECISION_AND_SCALE, st.integers(0, 9))
@example([1.239, 1.24, 1.235, 0.0, -0.0, 0.1 + 0.2], (15, 2), 0)
@example([2.0**53, 2.0**53 - 1, -(2.0**53), 1e15, 999999999999999.0], (18, 0), 3)
@example([math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308], (18, 18), 1)
def test_doubles_to_decimal_follow_the_shortest_decimal(
    values: list[float | None], shape: tuple[int, int], offset: int
) -> None:
    array = sliced(pa.array(values, pa.float64()), offset)
    decimals, bad = kinds.doubles_to_decimal(array, *shape)
    assert decimals.type == pa.decimal128(*shape)
    decimals.validate(full=True)
    expected = [v is not None and not fits_decimal(v, *shape) for v in values]
    assert flags(bad, len(values)) == expected
    for value, misfit, got in zip(values, expected, decimals.to_pylist(), strict=True):
        if value is None or misfit:
            assert got is None
        else:
            assert got == Decimal(repr(value))
            assert float(got) == value


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15))
def test_every_decimal_of_fifteen_digits_survives_its_double(units: int, scale: int) -> None:
    value = Decimal(units).scaleb(-scale)
    array = pa.array([float(value)], pa.float64())
    decimals, bad = kinds.doubles_to_decimal(array, 15, scale)
    assert bad is None
    assert decimals.to_pylist() == [value]


@pytest.mark.parametrize("value", [1.239, 0.001, -1.005, 1e-300, 100000000000000.125])
def test_a_third_decimal_never_becomes_two(value: float) -> None:
    _, bad = kinds.doubles_to_decimal(pa.array([1.24, value]), 15, 2)
    assert flags(bad, 2) == [False, True]


def test_pyarrow_itself_would_round() -> None:
    # Why the conversion above exists; when this fails, pyarrow may be trusted again.
    assert pa.array([1.239]).cast(pa.decimal128(15, 2)).to_pylist() == [Decimal("1.24")]


@given(
    st.decimals(allow_nan=True, allow_infinity=True, places=None) | st.integers().map(Decimal),
    PRECISION_AND_SCALE,
)
@example(Decimal("1E+400"), (18, 2))
@example(Decimal("1E-400"), (18, 2))
@example(Decimal("12.50"), (3, 1))
@example(Decimal("99.95"), (3, 1))
def test_exact_units(value: Decimal, shape: tuple[int, int]) -> None:
    precision, scale = shape
    units = kinds.exact_units(value, precision, scale)
    if units is not None:
        assert abs(units) < 10**precision
        assert Decimal(units).scaleb(-scale) == value
    elif value.is_finite() and abs(value.adjusted()) < 100:
        scaled = value.scaleb(scale)
        assert scaled != scaled.to_integral_value() or abs(scaled) >= 10**precision


@given(st.lists(st.none() | st.integers(-(10**18) + 1, 10**18 - 1)), st.integers(0, 9))
def test_decimals_from_units(values: list[int | None], offset: int) -> None:
    array = sliced(pa.array(values, pa.int64()), offset)
    units = array.fill_null(0).to_numpy(zero_copy_only=False)
    made = kinds.decimals_from_units(units, array, 18, 3)
    made.validate(full=True)
    assert made.to_pylist() == [None if v is None else Decimal(v).scaleb(-3) for v in values]


# ---- integers ---------------------------------------------------------------------------------

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.none() | st.integers(-1, 2) | INT64), st.integers(0, 9))
def test_only_zero_and_one_are_bools(values: list[int | None], offset: int) -> None:
    bools, bad = kinds.ints_to_bool(sliced(pa.array(values, pa.int64()), offset))
    assert bools.type == pa.bool_()
    assert flags(bad, len(values)) == [v not in (None, 0, 1) for v in values]
    assert bools.to_pylist() == [bool(v) if v in (0, 1) else None for v in values]


@given(
    st.lists(st.none() | INT64 | st.integers(-(2**31) - 2, 2**31 + 2)), st.sampled_from((16, 32))
)
@example([2**31 - 1, 2**31, -(2**31), -(2**31) - 1], 32)
@example([2**15 - 1, 2**15, -(2**15), -(2**15) - 1], 16)
def test_bits_limit_an_int(values: list[int | None], bits: int) -> None:
    bad = kinds.misfits(pa.array(values, pa.int64()), Kind("int", bits=bits))
    limit = 2 ** (bits - 1)
    expected = [v is not None and not -limit <= v < limit for v in values]
    assert flags(bad, len(values)) == expected


@given(st.lists(st.none() | INT64))
def test_every_int64_is_an_int(values: list[int | None]) -> None:
    assert kinds.misfits(pa.array(values, pa.int64()), kinds.INT) is None


# ---- text -------------------------------------------------------------------------------------


def strings_of(values: list[bytes | None]) -> pa.Array:
    """A string array of these very bytes, valid UTF-8 or not, as a driver may hand one over."""
    binary = pa.array(values, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())


def is_text(value: bytes) -> bool:
    return b"\0" not in value and value.decode("utf-8", "replace").encode() == value


BYTES = st.binary(max_size=8) | st.text(max_size=8).map(lambda text: text.encode())


@given(
    st.lists(st.none() | BYTES, max_size=12),
    st.none() | st.integers(0, 6),
    st.integers(0, 9),
)
@example([b"a\0b", b"ab"], None, 0)
@example([b"\xff", b"ab", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"], None, 0)
@example(["äöü€😀".encode(), b"abcdef"], 5, 0)
@example([b"\xff\xff\xff", b"ab"], 1, 2)
def test_text_misfits(values: list[bytes | None], length: int | None, offset: int) -> None:
    array = strings_of([b"\0"] * offset + values + [b"\xff"]).slice(offset, len(values))
    bad = kinds.misfits(array, Kind("text", length=length))
    expected = [
        v is not None and (not is_text(v) or (length is not None and len(v.decode()) > length))
        for v in values
    ]
    assert flags(bad, len(values)) == expected


@given(BYTES)
def test_is_text(value: bytes) -> None:
    assert kinds.is_text(value) == is_text(value)


def test_empty_and_null_arrays_have_no_misfits() -> None:
    for values in ([], [None], [None, None]):
        for kind in (kinds.TEXT, Kind("text", length=1), kinds.NUMERIC):
            assert kinds.misfits(pa.array(values, pa.string()), kind) is None


# ---- UUIDs and JSON ----------------------------------------------------------------------------

NEARLY_UUIDS = st.sampled_from(
    [
        "",
        "00000000-0000-0000-0000-00000000000",
        "00000000-0000-0000-0000-0000000000000",
        "00000000-0000-0000-0000-00000000000G",
        "0000000-00000-0000-0000-000000000000",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "AAAAAAAA-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000000\n",
        "０0000000-0000-0000-0000-000000000000",
    ]
)


@given(st.lists(st.none() | st.uuids().map(str) | NEARLY_UUIDS, max_size=12), st.integers(0, 9))
@example([str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))], 3)
def test_only_the_spelling_that_comes_back_is_a_uuid(values: list[str | None], offset: int) -> None:
    array, bad = kinds.text_to_uuid(sliced(pa.array(values, pa.string()), offset))
    array.validate(full=True)
    assert array.type == kinds.arrow_type(kinds.UUID)
    wanted = [as_uuid(value) for value in values]
    assert array.to_pylist() == wanted
    expected = [v is not None and w is None for v, w in zip(values, wanted, strict=True)]
    assert flags(bad, len(values)) == expected


def as_uuid(value: str | None) -> bytes | None:
    try:
        made = uuid.UUID(value) if value is not None else None
    except ValueError:
        return None
    return made.bytes if made is not None and str(made) == value else None


JSON_TEXTS = {
    '{"a": [1, -2.5e3, true, false, null, "\\u00e9"]}': True,
    " 1\n": True,
    '"x"': True,
    "0": True,
    "1" * 5000: True,
    '{"a": 1, "a": 2}': True,
    "": False,
    " ": False,
    "NaN": False,
    "-Infinity": False,
    "[Infinity]": False,
    "01": False,
    "1.": False,
    ".5": False,
    "+1": False,
    "[1,]": False,
    "{'a': 1}": False,
    "{a: 1}": False,
    '"a\nb"': False,
    "1 2": False,
    "tru": False,
    "\ufeff1": False,
    "\u00a01": False,
}


@pytest.mark.parametrize(("text", "valid"), JSON_TEXTS.items())
def test_json(text: str, valid: bool) -> None:
    assert flags(kinds.json_misfits(pa.array([text, None])), 2) == [not valid, False]


def test_bytes_that_are_no_text_are_no_json() -> None:
    # UTF-16, which a parser of bytes would guess, is none of it either.
    array = strings_of([b'"\xff"', b"1", b"1\0", b'"\0"', None])
    assert flags(kinds.json_misfits(array), 5) == [True, False, True, True, False]


# ---- numerics as text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "canonical"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0E+3", "0"),
        ("1.10", "1.1"),
        ("-12.340", "-12.34"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("1e-7", "0.0000001"),
        ("000123.4500", "123.45"),
        ("NaN", "NaN"),
        ("nan", "NaN"),
        ("Infinity", "Infinity"),
        ("-inf", "-Infinity"),
    ],
)
def test_canonical_numeric(spelled: str, canonical: str) -> None:
    assert kinds.canonical_numeric(Decimal(spelled)) == canonical


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_a_number_has_one_canonical_spelling(value: Decimal, zeros: int) -> None:
    text = kinds.canonical_numeric(value)
    assert Decimal(text) == value
    assert "E" not in text
    padded = text + ("" if "." in text else ".") + "0" * zeros
    assert kinds.canonical_numeric(Decimal(padded)) == text


@given(st.integers(-(10**200), 10**200), st.integers(0, 200))
def test_long_numbers_lose_no_digit(units: int, scale: int) -> None:
    # Far beyond the 28 digits of Python's default context.
    digits = str(abs(units)).zfill(scale + 1)
    whole, fraction = digits[: len(digits) - scale], digits[len(digits) - scale :]
    spelled = f"{'-' if units < 0 else ''}{whole}.{fraction or '0'}"
    text = kinds.canonical_numeric(Decimal(spelled))
    assert Decimal(text) == Decimal(spelled)
    assert len(text.lstrip("-").replace(".", "").lstrip("0")) <= len(digits)


def test_canonical_numerics_of_an_array() -> None:
    array = pa.array(["9", "1.50", None, "-0.0", "nan"]).slice(1)
    assert kinds.canonical_numerics(array).to_pylist() == ["1.5", None, "0", "NaN"]


def test_every_name_has_an_arrow_type() -> None:
    for name in kinds.NAMES:
        assert kinds.arrow_type(Kind(name, precision=5, scale=2)) is not None
    assert kinds.arrow_type(kinds.decimal(5, 2)) == pa.decimal128(5, 2)


# ---- numbers of SQLite's ------------------------------------------------------------------------

DIGITS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,18})?\Z")


def is_number(text: str) -> bool:
    """The rule in plain words: a 64-bit integer, or the shortest decimal of a double as it is
    written without an exponent, and no digit that carries nothing."""
    if "." not in text:
        return text != "-0" and -(2**63) <= int(text) < 2**63
    return format(Decimal(repr(float(text))), "f") == text and not text.endswith("0")


@given(st.lists(DIGITS | st.none()), st.integers(0, 3))
@example(["0", "-0", "0.0", "-0.0", "-0.5", "1.10", "1.1", "100", "1e5"[:1], None], 0)
@example(["9223372036854775807", "9223372036854775808", "-9223372036854775808"], 0)
@example(["-9223372036854775809", "0.1234567890123456", "123456789012345.6", "1.5"], 1)
@example(["9007199254740993.5", "0.30000000000000004", "12345678901234567.25"], 0)
def test_numbers_are_those_that_come_back_digit_by_digit(
    texts: list[str | None], offset: int
) -> None:
    array = sliced(pa.array(texts, pa.string()), offset) if texts else pa.array([], pa.string())
    bad = flags(kinds.number_misfits(array), len(texts))
    assert bad == [text is not None and not is_number(text) for text in texts]


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e5", "+1", " 1", "", ".5", "1."]
)
def test_other_spellings_are_no_numbers(text: str) -> None:
    assert flags(kinds.number_misfits(pa.array([text])), 1) == [True]


def floats_of_four_bytes() -> np.ndarray[Any, np.dtype[np.float32]]:
    """Every exponent, with mantissas at both ends and at random; subnormal, infinite and NaN."""
    random = np.random.default_rng(4)
    mantissas = np.concatenate([[0, 1, 2, 0x7FFFFE, 0x7FFFFF], random.integers(0, 1 << 23, 1000)])
    exponents = np.arange(256, dtype=np.uint32)[:, None] << 23
    bits = (exponents | mantissas.astype(np.uint32)).ravel()
    return np.concatenate([bits, bits | np.uint32(1 << 31)]).view(np.float32)


def test_floats_of_four_bytes_come_back_from_the_double_of_their_shortest_decimal() -> None:
    floats = floats_of_four_bytes()
    doubles = kinds.shortest_doubles(pa.array(floats))
    assert doubles.type == pa.float64()
    back = doubles.to_numpy().astype(np.float32)
    nan = np.isnan(floats)
    assert (np.isnan(back) == nan).all()
    assert (back.view(np.uint32) == floats.view(np.uint32))[~nan].all()
    assert kinds.misfits(doubles, kinds.FLOAT4) is None
    # A column of SQLite keeps every one but for the sign of a zero, and NaN that stands as text.
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (v FLOAT4)")
        some = doubles.to_numpy()[~nan][::50]
        connection.executemany("INSERT INTO t VALUES (?)", [(v,) for v in some.tolist()])
        found = connection.execute("SELECT v FROM t ORDER BY rowid").fetchall()
        assert [v for (v,) in found] == some.tolist()
        assert connection.execute("SELECT DISTINCT typeof(v) FROM t").fetchall() == [("real",)]


@given(st.floats(width=32, allow_nan=False))
@example(0.10000000149011612)
@example(1e-45)
@example(3.4028234663852886e38)
@example(16777216.0)
def test_a_float_of_four_bytes_is_its_shortest_decimal(value: float) -> None:
    (double,) = kinds.shortest_doubles(pa.array([value], pa.float32())).to_pylist()
    # numpy's repr is the shortest that tells the float from all others.
    assert double == float(str(np.float32(value)))


@given(st.lists(st.floats() | st.floats(width=32) | st.none()))
@example([0.1, 0.10000000149011612, 1e300, 5e-324, 1e-45, 16777217.0, -0.0])
def test_doubles_that_are_no_shortest_decimal_of_four_bytes(values: list[float | None]) -> None:
    def fits(value: float | None) -> bool:
        if value is None or math.isnan(value):
            return True
        with np.errstate(over="ignore"):
            return float(str(np.float32(value))) == value

    bad = flags(kinds.misfits(pa.array(values, pa.float64()), kinds.FLOAT4), len(values))
    assert bad == [not fits(value) for value in values]


# ---- back to text -----------------------------------------------------------------------------


@given(st.lists(st.uuids() | st.none()), st.integers(0, 9))
def test_uuids_as_text(values: list[uuid.UUID | None], offset: int) -> None:
    array = pa.array([None if v is None else v.bytes for v in values], pa.binary(16))
    for each in (array, sliced(array, offset) if values else array):
        text = kinds.uuids_to_text(each)
        text.validate(full=True)
        assert text.to_pylist() == [None if v is None else str(v) for v in values]
        back, bad = kinds.text_to_uuid(text)
        assert bad is None
        assert back.to_pylist() == array.to_pylist()


UNITS = st.integers(1, kinds.EXACT_DIGITS).flatmap(
    lambda precision: st.tuples(
        st.just(precision),
        st.integers(0, precision),
        st.lists(
            st.integers(-(10**precision) + 1, 10**precision - 1)
            | st.sampled_from(["NaN", "Infinity", "-Infinity"])
            | st.none()
        ),
    )
)


@given(UNITS, st.integers(0, 3))
@example((15, 15, [10**15 - 1, -1, 0]), 0)
@example((15, 2, [123456789012345, "NaN", None, "Infinity", "-Infinity"]), 2)
@example((1, 0, [9, "NaN", -9]), 1)
def test_decimals_as_doubles(drawn: tuple[int, int, list[Any]], offset: int) -> None:
    precision, scale, units = drawn
    kind = kinds.decimal(precision, scale)
    exact = [Decimal(unit).scaleb(-scale) if isinstance(unit, int) else unit for unit in units]
    texts = [None if v is None else format(v, "f") if isinstance(v, Decimal) else v for v in exact]
    array = kinds.texts_to_decimals(pa.array(texts, pa.string()), kind)
    if texts:
        array = sliced(array, offset)
    doubles, names = kinds.decimals_to_doubles(array, kind)
    assert doubles.to_pylist() == [float(v) if isinstance(v, Decimal) else None for v in exact]
    named = [v if isinstance(v, str) else None for v in exact]
    assert (names is None) == (not any(named))
    if names is not None:
        assert names.to_pylist() == named
    assert kinds.holds_named(array, kind) == any(named)
    assert flags(kinds.named_decimals(array, kind), len(texts)) == [bool(name) for name in named]
    # And back from what SQLite holds.
    back, bad = kinds.doubles_to_decimal(doubles, precision, scale)
    assert bad is None
    if names is not None:
        back = pc.coalesce(back, kinds.names_to_decimals(names, kind))
    assert back.equals(array)
    written = kinds.decimals_to_texts(array, kind)
    assert kinds.texts_to_decimals(written, kind).equals(array)
    assert [w for w, name in zip(written.to_pylist(), named, strict=True) if name] == [
        name for name in named if name
    ]


def test_only_nan_is_named_among_floats() -> None:
    assert kinds.holds_named(pa.array([0.5, float("nan")]), kinds.FLOAT)
    assert not kinds.holds_named(pa.array([0.5, float("inf"), None]), kinds.FLOAT)
    assert not kinds.holds_named(pa.array(["NaN"]), kinds.TEXT)


def test_text_that_is_no_utf8_is_no_number_by_its_name() -> None:
    texts = pa.array([b"NaN", b"\xed\xa0\x80", None], pa.binary()).cast(pa.string(), safe=False)
    found = kinds.names_to_decimals(texts, kinds.decimal(5, 2))
    assert [value is not None for value in found.to_pylist()] == [True, False, False]


def test_other_words_are_no_names_of_decimals() -> None:
    words = pa.array(["nan", "Inf", "", "1", None, "NaN"])
    names = kinds.names_to_decimals(words, kinds.decimal(5, 2))
    assert names.is_valid().to_pylist() == [False] * 5 + [True]
