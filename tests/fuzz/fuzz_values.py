"""Any values of a SQLite column, read as everything that such a column may be read as.

An input is lines, so that a corpus can be read and written by people:

    DECIMAL(10,2)        the declared type, whatever it says
    numeric using x      a rule as after --cast 't.v to', or nothing
    i1                   then the values, one a line: an integer,
    r0.5                 a real,
    t2024-01-01          text, in which a byte 01 stands for a line break,
    b                    a blob,
    n                    NULL

What a candidate accepts must convert back to the same value and storage class; batches may be cut
anywhere; the fast reading of a column must accept what the typed one accepts, as the same values.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from tableferry import casts, kinds, temporal
from tableferry.dialects.base import Decoded
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.postgresql.types import type_for
from tableferry.dialects.postgresql.values import from_text, misfits, storing
from tableferry.dialects.sqlite.types import affinity, candidates
from tableferry.dialects.sqlite.values import TypedValues, reading, typed_values
from tableferry.errors import UsageError
from tableferry.model import Candidate, Column, Kind, ReadColumn
from tableferry.rejects import RawText, Stored

TARGET = PostgresDialect()
EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
# What the driver puts before the first row of a batch; the decoders see the rest as a slice.
HEADER: Stored = 7


def check(data: bytes) -> None:
    """Raises AssertionError for a value changed, and whatever a conversion wrongly raises."""
    declared, rule, *lines = [*data.split(b"\n"), b"", b""][: max(2, data.count(b"\n") + 1)]
    column = Column("v", declared.decode("utf-8", "replace"))
    values = [stored(line) for line in lines]
    whole = _typed(values)
    halves = _typed(values[: len(values) // 2]), _typed(values[len(values) // 2 :])
    _check_kept(whole, values)
    offers = candidates(column)
    for candidate in (*offers, *_ruled(rule.decode("utf-8", "replace"))):
        accepted = _check_typed(whole, values, candidate)
        _check_cuts(halves, candidate, accepted)
        _check_fast(column, values, candidate, accepted)
    assert not any(_bad(whole.decode(offers[-1]))), "the last candidate takes every value"


def _ruled(rule: str) -> Sequence[Candidate]:
    try:
        return [casts.parse(f"t.v to {rule}", TARGET).candidate]
    except UsageError:
        return []


def stored(line: bytes) -> Stored:
    """The value that a line of an input stands for."""
    body = line[1:]
    match line[:1]:
        case b"i":
            return _integer(body)
        case b"r":
            real = _real(body)
            # SQLite stores NaN as NULL.
            return None if real != real else real
        case b"t":
            raw = body.replace(b"\1", b"\n")
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return RawText(raw)
        case b"b":
            return body
    return None


def _integer(body: bytes) -> int:
    if re.fullmatch(rb"-?[0-9]{1,19}", body) and -(1 << 63) <= int(body) < 1 << 63:
        return int(body)
    return int(struct.unpack("<q", body[:8].ljust(8, b"\0"))[0])


def _real(body: bytes) -> float:
    if re.fullmatch(rb"-?([0-9]+(\.[0-9]*)?(e[+-]?[0-9]{1,3})?|inf)", body):
        return float(body)
    return float(struct.unpack("<d", body[:8].ljust(8, b"\0"))[0])


# ---- the typed reading -------------------------------------------------------------------------


def _typed(values: Sequence[Stored]) -> TypedValues:
    batch = typed_values([HEADER, *values])
    arrays = (batch._class, batch._integer, batch._real, batch._text, batch._blob)
    return TypedValues([array.slice(1) for array in arrays])


def _check_kept(typed: TypedValues, values: Sequence[Stored]) -> None:
    """Values that are set aside, or shown, are what they were."""
    for at, value in enumerate(values):
        assert _same(typed.stored(at), value), f"stored as {typed.stored(at)!r}, not {value!r}"
        typed.show(at)


def _bad(decoded: Decoded) -> list[bool]:
    if decoded.misfits is None:
        return [False] * len(decoded.array)
    assert decoded.misfits.dtype == np.bool_
    assert decoded.misfits.any(), "a mask without a misfit"
    return [bool(flag) for flag in decoded.misfits]


def _check_typed(typed: TypedValues, values: list[Stored], candidate: Candidate) -> list[Any]:
    """Returns what each value became, and ``_MISFIT`` for one that does not fit."""
    decoded = typed.decode(candidate)
    kind = candidate.kind
    # Text may yet be no UTF-8, 24:00:00 is no time to Arrow, and NaN no decimal.
    named = kind.name == "decimal" and candidate.merges
    decoded.array.validate(full=not named and kind.name not in ("text", "json", "time"))
    assert decoded.array.type == kinds.arrow_type(kind)
    assert len(decoded.array) == len(values)
    bad, raw = _bad(decoded), _raw(decoded.array)
    fits = _judge(candidate)
    respelled = 0
    for value, misfit, became in zip(values, bad, raw, strict=True):
        if value is None:
            assert not misfit, f"NULL is a misfit of {candidate}"
            assert became is None, f"NULL became {became!r} as {candidate}"
        elif not misfit:
            assert became is not None, f"{value!r} became NULL as {candidate}"
            assert fits(value, became), f"{value!r} became {became!r} as {candidate}"
            respelled += bool(candidate.using) or _is_respelled(value, kind, became)
        else:
            assert not _would_fit(value, candidate), f"{value!r} is a misfit of {candidate}"
    if candidate.using not in ("strip_nul", "replace_invalid", "meaning"):
        assert decoded.respelled == respelled, f"{decoded.respelled} respelled, not {respelled}"
    _check_target(decoded, bad, candidate)
    return [_MISFIT if misfit else became for misfit, became in zip(bad, raw, strict=True)]


_MISFIT = object()


def _same(one: Stored, other: Stored) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other


def _raw(array: pa.Array) -> list[Any]:
    """Values as Python's, without its limits: text as bytes, and moments as integers."""
    if pa.types.is_string(array.type):
        return list(array.cast(pa.binary()).to_pylist())
    if pa.types.is_date32(array.type):
        return list(array.cast(pa.int32()).to_pylist())
    if pa.types.is_temporal(array.type):
        return list(array.cast(pa.int64()).to_pylist())
    return list(array.to_pylist())


def _check_cuts(
    halves: tuple[TypedValues, TypedValues], candidate: Candidate, accepted: list[Any]
) -> None:
    """However batches are cut, the same values fit and become the same."""
    decoded = [half.decode(candidate) for half in halves]
    bad = [flag for half in decoded for flag in _bad(half)]
    raw = [value for half in decoded for value in _raw(half.array)]
    for value, misfit, became in zip(raw, bad, accepted, strict=True):
        assert misfit == (became is _MISFIT)
        assert misfit or _equal(value, became), f"{became!r} in one batch, {value!r} in another"


def _check_target(decoded: Decoded, bad: list[bool], candidate: Candidate) -> None:
    """What was accepted goes into the target's type, and its text is read as the same again."""
    good = decoded.array.filter(pa.array([not flag for flag in bad], pa.bool_()))
    kind = candidate.kind
    column = ReadColumn(Column("v", type_for(kind)), kind, candidate.merges)
    assert misfits(good, column) is None
    way = storing(column)
    assert way.encode(good).type == way.arrow_type
    if kind.name in ("decimal", "numeric"):
        texts = way.encode(good) if way.staged else good.cast(pa.string())
        assert from_text(texts, kind).equals(good)
    if kind.name in temporal.KINDS:
        again, bad_again, respelled = temporal.parse(temporal.spell(good, kind), kind)
        assert again.equals(good)
        assert bad_again is None
        assert respelled == 0


# ---- what a value may become -------------------------------------------------------------------

Judge = Callable[[Any, Any], bool]


def _judge(candidate: Candidate) -> Judge:
    kind = candidate.kind
    if candidate.using:
        return _by_meaning(kind, candidate.using)
    if candidate.merges:
        return _merged(kind)
    match kind.name:
        case "int":
            limit = 1 << (kind.bits - 1)
            return lambda value, got: type(value) is int and value == got and -limit <= got < limit
        case "bool":
            return lambda value, got: type(value) is int and value == int(got)
        case "float":
            return _same
        case "decimal":
            return lambda value, got: _is_number(value, got, kind.scale)
        case "numeric":
            return lambda value, got: _is_number(value, Decimal(got.decode()))
        case "text":
            return lambda value, got: _is_text(value, got, kind.length)
        case "bytes":
            return lambda value, got: isinstance(value, bytes) and value == got
        case "uuid":
            return lambda value, got: isinstance(value, str) and str(uuid.UUID(bytes=got)) == value
        case "json":
            return lambda value, got: _is_text(value, got) and _is_json(got)
    return lambda value, got: isinstance(value, str) and moment(value, kind.name) == got


def _is_number(value: Stored, got: Decimal, scale: int | None = None) -> bool:
    """Exactly, where a real is what its shortest decimal says."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    exact = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return got == exact and (scale is None or got.as_tuple().exponent == -scale)


def _is_text(value: Stored, got: bytes, length: int | None = None) -> bool:
    return (
        isinstance(value, str)
        and value.encode() == got
        and "\0" not in value
        and (length is None or len(value) <= length)
    )


def _is_json(text: bytes) -> bool:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str)
    return text[:3] != b"\xef\xbb\xbf"


# Decimals that are no numbers, by the texts that stand for them in SQLite.
_NAMED = ("NaN", "Infinity", "-Infinity")


def _would_fit(value: Stored, candidate: Candidate) -> bool:
    """Whether a value fits, in plain words; said to be so of no value by a rule's method."""
    kind = candidate.kind
    if candidate.using:
        return False
    match value:
        case int() if kind.name == "int":
            return -(1 << (kind.bits - 1)) <= value < 1 << (kind.bits - 1)
        case int() if kind.name == "bool":
            return value in (0, 1)
        case int() if kind.name == "float":
            return candidate.merges and abs(value) <= 1 << 53 and _has_bits(float(value), kind)
        case float() if kind.name in ("decimal", "numeric") and repr(value) == "-0.0":
            return False
        case int() | float() if kind.name == "decimal":
            return _is_decimal(value, kind)
        case int() | float() if kind.name == "numeric":
            return True
        case float() if kind.name == "float":
            return _has_bits(value, kind)
        case bytes() if kind.name == "bytes":
            return True
        case str() if candidate.merges and kind.name == "float":
            return value == "NaN"
        case str() if candidate.merges and kind.name == "decimal":
            return value in _NAMED
        case str() if kind.name == "text":
            return "\0" not in value and (kind.length is None or len(value) <= kind.length)
        case str() if kind.name == "uuid":
            return "{" not in value and value.count("-") == 4 and _is_our_uuid(value)
        case str() if kind.name in temporal.KINDS:
            return moment(value, kind.name) is not None
    if not candidate.merges or kind.name in ("float", "decimal"):
        return False
    # Any value by its text; a number's is short, but the text may have to be shorter yet.
    return kind.name == "bytes" or (isinstance(value, int | float) and kind.length is None)


def _has_bits(value: float, kind: Kind) -> bool:
    """Whether four bytes, where these are all, are known by the shortest decimal that is this."""
    if kind.bits == 64 or math.isnan(value):
        return True
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) == value


def _is_decimal(value: int | float, kind: Kind) -> bool:
    if isinstance(value, float) and not abs(value) < 1 << 53:
        return False
    units = Fraction(repr(value)) * Fraction(10**kind.scale)
    return units.denominator == 1 and abs(units.numerator) < int(10**kind.precision)


def _is_our_uuid(text: str) -> bool:
    return UUID.fullmatch(text) is not None and str(uuid.UUID(text)) == text


def _merged(kind: Kind) -> Judge:
    if kind.name == "float":
        return lambda value, got: (
            (value == "NaN" and math.isnan(got))
            if isinstance(value, str)
            else type(value) in (int, float)
            and (_same(value, got) if type(value) is float else Fraction(got) == value)
        )
    if kind.name == "decimal":
        return lambda value, got: (
            # Past every number of its digits, each in a place of its own.
            got == Decimal(10**kind.precision + _NAMED.index(value)).scaleb(-kind.scale)
            if isinstance(value, str)
            else _is_number(value, got, kind.scale)
        )

    def judge(value: Stored, got: bytes) -> bool:
        match value:
            case int():
                return got == str(value).encode()
            case float():
                return _same(float(got), value) and not got.isdigit()
            case str():
                return got == value.encode() and (kind.name == "bytes" or _is_text(value, got))
            case RawText():
                return kind.name == "bytes" and got == value.data
            case bytes():
                return kind.name == "bytes" and got == value
        return False

    return judge


# PostgreSQL's own words and spellings: "Boolean Type" and "UUID Type" (8.6, 8.12).
TRUE, FALSE = ("1", "t", "true", "y", "yes", "on"), ("0", "f", "false", "n", "no", "off")
UUID = re.compile(r"(\{)?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{4}){7}(?(1)\})")


def _by_meaning(kind: Kind, method: str) -> Judge:
    match method:
        case "meaning" if kind.name == "bool":
            return lambda value, got: (
                got == bool(value)
                if type(value) is int
                else isinstance(value, str) and _word(value) in (TRUE if got else FALSE)
            )
        case "meaning":
            return lambda value, got: (
                got == value
                if isinstance(value, bytes)
                else isinstance(value, str)
                and UUID.fullmatch(value.strip()) is not None
                and uuid.UUID(value.strip()).bytes == got
            )
        case "strip_nul":
            return lambda value, got: _text_bytes(value).replace(b"\0", b"") == got
        case "replace_invalid":
            return lambda value, got: (
                _text_bytes(value).decode("utf-8", "replace") == got.decode("utf-8")
            )
    unit = 86_400_000_000 if kind.name == "date" else 1
    if method == "julian":
        return lambda value, got: _is_julian(value, got * unit)
    per_second = {"epoch": 1_000_000, "epoch_ms": 1_000}[method]
    return lambda value, got: (
        type(value) in (int, float)
        and type(value)(Fraction(got * unit, per_second)) == value
        and (type(value) is float or value * per_second == got * unit)
    )


def _word(text: str) -> str:
    return text.strip(" \t\n\r\f\v").lower()


def _text_bytes(value: Stored) -> bytes:
    assert isinstance(value, str | RawText), f"{value!r} is no text"
    return value.data if isinstance(value, RawText) else value.encode()


def _is_julian(value: Stored, microseconds: int) -> bool:
    """To the millisecond, and no further from it than a double of that size can say."""
    if not isinstance(value, int | float) or microseconds % 1_000:
        return False
    exact = Fraction(microseconds, 86_400_000_000) + Fraction("2440587.5")
    return abs(exact - Fraction(value)) <= Fraction(math.ulp(float(exact)))


# ---- dates and times, by Python's own calendar -------------------------------------------------

_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?"
_MOMENTS = {
    "date": re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII),
    "time": re.compile(_CLOCK, re.ASCII),
    "timestamp": re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)(?:[ T]{_CLOCK})?", re.ASCII),
    "timestamptz": re.compile(
        rf"(\d{{4}})-(\d\d)-(\d\d)[ T]{_CLOCK}(?:Z|([+-])(\d\d)(?::?(\d\d))?)", re.ASCII
    ),
}
_FIRST = -62_135_596_800_000_000


def moment(text: str, name: str) -> int | None:
    """Days of a date, microseconds of a time of day or since 1970; None where it says none."""
    far = _far_moment(text, name)
    match = _MOMENTS[name].fullmatch(text)
    if far is not None or match is None:
        return far
    parts = list(match.groups())
    try:
        if name == "date":
            return (_midnight(parts) - EPOCH).days
        if name == "time":
            parts = ["1970", "01", "01", *parts]
        hour, minute, second = (int(part or 0) for part in parts[3:6])
        clock = dt.time(hour, minute, second)
        local = dt.datetime.combine(_midnight(parts), clock)
        local = local.replace(microsecond=int((parts[6] or "").ljust(6, "0")))
    except ValueError:
        return None
    microseconds = (local - EPOCH) // MICROSECOND
    if name == "timestamptz" and parts[7]:
        hours, minutes = int(parts[8]), int(parts[9] or 0)
        if hours > 23 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * 60_000_000
        microseconds -= offset if parts[7] == "+" else -offset
    return microseconds if microseconds >= _FIRST else None


def _midnight(parts: Sequence[str]) -> dt.datetime:
    year, month, day = map(int, parts[:3])
    return dt.datetime(year, month, day)


def _is_respelled(value: Stored, kind: Kind, got: Any) -> bool:
    if kind.name not in ("time", "timestamp", "timestamptz"):
        return False
    if isinstance(value, str) and _far_moment(value, kind.name) is not None:
        # These have one spelling.
        return False
    seconds, fraction = divmod(got, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    ours = clock + (f".{fraction:06}".rstrip("0") if fraction else "")
    if kind.name != "time":
        day = EPOCH.date() + dt.timedelta(days) if days < 2_932_897 else "10000-01-01"
        ours = f"{day} {ours}"
    return value != ours + ("+00:00" if kind.name == "timestamptz" else "")


# ---- the fast reading --------------------------------------------------------------------------


def _check_fast(
    column: Column, values: list[Stored], candidate: Candidate, accepted: list[Any]
) -> None:
    way = reading(ReadColumn(column, candidate.kind, candidate.merges, candidate.using))
    if len(way.headers) != 1:
        return
    group = affinity(column.declared)
    rows = [
        (arrived, became)
        for value, became in zip(values, accepted, strict=True)
        if not _converted_on_store(value, group) and not _kept_out(value, way.guard)
        for arrived in [_ARRIVES[way.headers[0]](value)]
    ]
    if any(arrived is _RAISES for arrived, _ in rows):
        # The driver raises, which is a misfit of the whole range: the typed reading has one too.
        assert _MISFIT in accepted
        return
    array = _fast_array(way.headers[0], [arrived for arrived, _ in rows])
    decoded = way.decode([array])
    pairs = zip(_raw(decoded.array), _bad(decoded), rows, strict=True)
    for got, misfit, (arrived, became) in pairs:
        expected = became is _MISFIT
        assert misfit == expected, f"{arrived!r} fits one reading only of {candidate}"
        assert misfit or _equal(got, became), f"{became!r} is {got!r} in the fast reading"


_RAISES = object()


def _converted_on_store(value: Stored, group: str) -> bool:
    """Whether a column of this affinity never holds such a value ("Datatypes In SQLite", 3)."""
    if group == "TEXT":
        return isinstance(value, int | float)
    if group == "REAL":
        return isinstance(value, int)
    return group in ("INTEGER", "NUMERIC") and isinstance(value, float) and value == 0.0


def _kept_out(value: Stored, guard: str) -> bool:
    if value is None or not guard:
        return False
    return isinstance(value, bytes) == (">=" in guard)


def _as_int(value: Stored) -> object:
    return value if value is None or type(value) is int else _RAISES


def _as_double(value: Stored) -> object:
    if value is None or isinstance(value, int | float):
        return None if value is None else float(value)
    return _RAISES


def _as_string(value: Stored) -> object:
    match value:
        case float():
            return f"{value:e}".encode()
        case int():
            return str(value).encode()
        case None:
            return None
    return _text_bytes(value)


_ARRIVES: dict[str, Callable[[Stored], Any]] = {
    "0": _as_int,
    "0.0": _as_double,
    "''": _as_string,
    "x''": lambda value: value,
}


def _fast_array(header: str, arrived: Sequence[Any]) -> pa.Array:
    first: Any = {"0": 0, "0.0": 0.0}.get(header, b"")
    types = {"0": pa.int64(), "0.0": pa.float64()}
    array = pa.array([first, *arrived], types.get(header, pa.binary())).slice(1)
    return array.cast(pa.string(), safe=False) if header == "''" else array


def _equal(one: Any, other: Any) -> bool:
    return _same(one, other) if isinstance(one, float) else one == other


_FAR = re.compile(
    r"(\d{4}|[1-9]\d{4,6})-(\d\d)-(\d\d)(?: (\d\d:\d\d:\d\d(?:\.\d{0,5}[1-9])?))?(\+00:00)?( BC)?",
    re.ASCII,
)


def _far_moment(text: str, name: str) -> int | None:
    """What PostgreSQL holds beyond the years 1 to 9999, as it counts modulo 2^32 or 2^64."""
    if name == "time":
        return 86_400_000_000 if text == "24:00:00" else None
    day, bits, end = 86_400_000_000, 64, 294_277
    if name == "date":
        day, bits, end = 1, 32, 5_874_898
    if text in ("infinity", "-infinity"):
        own = (1 << (bits - 1)) - 1 if text == "infinity" else -(1 << (bits - 1))
        return _wrapped(own + 10_957 * day, bits)
    match = _FAR.fullmatch(text)
    shape = {"date": (False, False), "timestamp": (True, False), "timestamptz": (True, True)}
    if match is None or (bool(match[4]), bool(match[5])) != shape[name]:
        return None
    year = int(match[1])
    if bool(match[6]) == (year > 9_999) or year == 0:
        return None
    if match[6]:
        year = 1 - year
    days = _days(year, int(match[2]), int(match[3]))
    # From 4714-11-24 BC, the first Julian day, to before 1 January of the year at the end.
    if days is None or days < -2_440_588 or year >= end:
        return None
    if name == "date":
        return _wrapped(days, bits)
    try:
        clock = dt.datetime.fromisoformat(f"1970-01-01 {match[4]}")
    except ValueError:
        return None
    if match[4].startswith("24"):
        return None
    return _wrapped(days * day + (clock - EPOCH) // MICROSECOND, bits)


def _days(year: int, month: int, day: int) -> int | None:
    """Days from 1970-01-01 in the Gregorian calendar, where year 0 is 1 BC."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if not (1 <= month <= 12 and 1 <= day <= lengths[month - 1]):
        return None
    before = year - 1
    return (
        before * 365
        + before // 4
        - before // 100
        + before // 400
        - 719_162
        + sum(lengths[: month - 1])
        + day
        - 1
    )


def _wrapped(value: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (value + half) % (2 * half) - half
