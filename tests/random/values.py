"""What the cells of random tables are drawn from: edges of every type, and what just misses it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Text:
    """Text of SQLite by its bytes, which need not be UTF-8."""

    data: bytes

    @property
    def valid(self) -> bool:
        """Whether PostgreSQL can hold it as text."""
        return b"\0" not in self.data and self.data.decode(errors="replace").encode() == self.data


Value: TypeAlias = int | float | bytes | Text | None
Values: TypeAlias = st.SearchStrategy[Value]


def class_of(value: Value) -> str:
    """The storage class, in SQLite's words."""
    names = {int: "integer", float: "real", bytes: "blob", Text: "text"}
    return names.get(type(value), "null")


def literal(value: Value) -> str:
    """The value in SQLite's SQL. It has no literal for an infinity or for odd text."""
    match value:
        case None:
            return "NULL"
        case float() if value in (float("inf"), -float("inf")):
            return "9e999" if value > 0 else "-9e999"
        case bytes():
            return f"x'{value.hex()}'"
        case Text(data) if not (value.valid and data.decode().isprintable()):
            return f"CAST(x'{data.hex()}' AS TEXT)"
        case Text(data):
            return "'" + data.decode().replace("'", "''") + "'"
    return repr(value)


def _texts(values: Iterable[str]) -> Values:
    return st.sampled_from([Text(value.encode()) for value in values])


def _bits(bits: int) -> Values:
    end = 2 ** (bits - 1)
    return st.one_of(
        st.sampled_from([0, 1, -1, end - 1, -end]),
        st.integers(-end, end - 1),
        # What just misses the type, but for 64 bits, past which SQLite has no integers.
        st.sampled_from([end, -end - 1] if bits < 64 else [2**53, 2**53 + 1]),
    )


def _decimals(precision: int, scale: int) -> Values:
    units, whole = 10**precision, 10 ** (precision - scale)
    return st.one_of(
        st.integers(-units + 1, units - 1).map(lambda value: value / 10**scale),
        st.sampled_from([7, 0.07, 1.005, (units - 1) / 10**scale, 1 - whole, whole, whole / 3]),
    )


INTS = _bits(64)
BOOLS: Values = st.sampled_from([0, 1])
_FLOATS = [0.0, -0.0, 1.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e20, 2.0**53, 2.0**63]
REALS: Values = st.one_of(
    st.sampled_from([*_FLOATS, float("inf"), -float("inf")]), st.floats(allow_nan=False)
)
DECIMALS = _decimals(10, 2)
BAD_TEXTS: Values = st.sampled_from(
    [Text(b) for b in (b"a\0b", b"1\0", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\xf4\x90")]
)
SHORT_TEXTS = _texts(
    ["", "a", "ab  ", "漢字漢字漢", "🦆🦆🦆🦆🦆", "e\u0301e\u0301", "\\N", "a\n\tb", "'\""]
)
TEXTS: Values = st.one_of(
    SHORT_TEXTS,
    _texts(["1", " 1.50 ", "1e3", "0x10", "inf", "NaN", "x" * 300, "🦆" * 6, "\ufeffa", "abcde "]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map(
        lambda text: Text(text.encode())
    ),
)
BLOBS: Values = st.one_of(st.sampled_from([b"", b"\0", b"abc", b"\xff\xfe"]), st.binary(max_size=8))

_DAYS = ("2024-02-29", "0001-01-01", "9999-12-31", "1970-01-01", "1582-10-10")
_CLOCKS = ("00:00:00", "23:59:59", "12:34", "01:02:03.5", "01:02:03.500000", "23:59:59.999999")
_ZONES = ("Z", "+00:00", "+0230", "-05")
DATES = _texts(_DAYS)
OUR_MOMENTS = _texts(["2024-02-29 23:59:59", "0001-01-01 00:00:00", "1999-12-31 01:02:03.25"])
MOMENTS = _texts(
    [*_DAYS, *(f"{day}{t}{clock}" for day in _DAYS for t in " T" for clock in _CLOCKS)]
)
ZONED = _texts(f"2024-02-29{t}{clock}{zone}" for t in " T" for clock in _CLOCKS for zone in _ZONES)
NO_DATES = _texts(
    [
        *("2023-02-29", "0000-01-01", "1.2.2003", "24-01-01", "2024-01-01 24:00:00", "2024-1-1"),
        *("2024-01-01 12:60", "2024-01-01 00:00:00.1234567", "2024-01-01\n", "2024-01-01  00:00"),
        *("0001-01-01 00:00:00+02:00", "2024-01-01t00:00", "2024-13-01", "0000-00-00"),
    ]
)
# Beyond the years that Python has, by the type that holds them.
FAR = {
    "date": ("infinity", "-infinity", "4714-11-24 BC", "0001-12-31 BC", "5874897-12-31"),
    "timestamp without time zone": (
        *("infinity", "-infinity", "4714-11-24 00:00:00 BC", "0044-03-15 12:30:00.5 BC"),
        *("10000-01-01 00:00:00", "294276-12-31 23:59:59.999999"),
    ),
    "timestamp with time zone": (
        *("infinity", "-infinity", "4714-11-24 00:00:00+00:00 BC"),
        *("10000-01-01 00:00:00+00:00", "294276-12-31 23:59:59.999999+00:00"),
    ),
    "time without time zone": ("24:00:00",),
}
FAR_DATES, FAR_MOMENTS, FAR_ZONED, FAR_TIMES = map(_texts, FAR.values())
TIMES = _texts(_CLOCKS) | FAR_TIMES
NO_TIMES = _texts(
    ["24:00", "24:00:01", "12:60", "1:02", "12", "12:34Z", "12:34+01:00", "12:34:60", "12:34:56."]
)
JSONS = _texts(
    ["{}", " [1, 1.0]", '{"a": 1, "a": 2}', '"\\u0000"', '"\\ud800"', "null", "1e999", '""', "3"]
)
NO_JSONS = _texts(["{'a': 1}", "NaN", "[1,]", "", "\ufeff{}", '"a\nb"'])
UUIDS: Values = st.uuids().map(lambda u: Text(str(u).encode()))
NO_UUIDS: Values = st.uuids().map(lambda u: Text(str(u).upper().encode()))
ANYTHING: Values = st.one_of(
    *(INTS, BOOLS, REALS, DECIMALS, TEXTS, BAD_TEXTS, BLOBS, DATES, MOMENTS, ZONED, NO_DATES),
    *(TIMES, NO_TIMES, JSONS, NO_JSONS, UUIDS, NO_UUIDS),
)

_MOMENTS = (MOMENTS, OUR_MOMENTS, ZONED, NO_DATES, OUR_MOMENTS | FAR_MOMENTS)

# Declared types as they are written, with values that suit them more or less.
DECLARED: dict[str, tuple[Values, ...]] = {
    "": (INTS, REALS, TEXTS, BLOBS, BAD_TEXTS),
    "ANY": (INTS, REALS, TEXTS, BLOBS, BAD_TEXTS),
    "BOOLEAN": (BOOLS,),
    "INTEGER": (INTS,),
    "INT": (INTS,),
    "BIGINT": (INTS,),
    "UNSIGNED\n  BIG INT": (INTS,),
    "TINYINT": (_bits(16),),
    "SMALLINT": (_bits(16),),
    "MEDIUMINT": (_bits(32),),
    "INT4": (_bits(32),),
    "DECIMAL(10,2)": (DECIMALS,),
    "DECIMAL(18,\n4)": (_decimals(18, 4), _decimals(12, 4), DECIMALS),
    "DECIMAL(30,4)": (DECIMALS, INTS),
    "NUMERIC(5)": (_decimals(5, 0), st.integers(-99_999, 99_999)),
    "NUMERIC": (REALS, INTS, DECIMALS),
    "MONEY": (REALS, INTS, DECIMALS),
    "REAL": (REALS,),
    "FLOAT": (REALS,),
    "DOUBLE": (REALS,),
    "DOUBLE\nPRECISION": (REALS,),
    "CHAR(3)": (_texts(["", "a", "漢字漢", "a  "]), SHORT_TEXTS),
    "VARCHAR(5)": (SHORT_TEXTS, TEXTS),
    "NVARCHAR(5)": (SHORT_TEXTS, TEXTS),
    "TEXT": (TEXTS, TEXTS, TEXTS | BAD_TEXTS),
    "CLOB": (TEXTS, TEXTS, TEXTS | BAD_TEXTS),
    '"STRING"': (TEXTS, INTS, BAD_TEXTS),
    "BLOB": (BLOBS, BAD_TEXTS),
    "DATE": (DATES, DATES | FAR_DATES, *_MOMENTS),
    "DATETIME": _MOMENTS,
    "TIMESTAMP": _MOMENTS,
    "TIMESTAMPTZ": (ZONED, ZONED, ZONED | FAR_ZONED, *_MOMENTS),
    "TIME": (TIMES, TIMES, NO_TIMES, MOMENTS),
    "JSON": (JSONS, NO_JSONS),
    "UUID": (UUIDS, NO_UUIDS),
}

# STRICT tables refuse what does not suit.
STRICT: dict[str, tuple[Values, ...]] = {
    "INT": (INTS,),
    "INTEGER": (INTS,),
    "REAL": (REALS, REALS | BOOLS),
    "TEXT": (TEXTS, TEXTS, TEXTS | BAD_TEXTS),
    "BLOB": (BLOBS,),
    "ANY": (INTS, REALS, TEXTS, BLOBS, ANYTHING),
}
