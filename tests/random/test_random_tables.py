"""Random SQLite tables are migrated, and what arrived is held against what sqlite3 and psycopg say.

Whether a value fits its declared type, and how it must look in PostgreSQL, is decided here anew,
from the documented rules and with the standard library alone. TABLEFERRY_RANDOM_TABLES sets how
many tables are tried.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.types.string import TextLoader
from tests import servers
from tests.servers import Server

import tableferry
from tableferry.model import TableOutcome

_TABLES_A_FILE = 10
_FILES = max(1, int(os.environ.get("TABLEFERRY_RANDOM_TABLES", "100")) // _TABLES_A_FILE)


@dataclass(frozen=True, slots=True)
class Text:
    """Text of SQLite by its bytes, which need not be UTF-8."""

    data: bytes

    @property
    def valid(self) -> bool:
        return b"\0" not in self.data and self.data.decode(errors="replace").encode() == self.data


Value: TypeAlias = int | float | bytes | Text | None
Values: TypeAlias = st.SearchStrategy[Value]


@dataclass(frozen=True, slots=True)
class RandomTable:
    """``columns`` are declared types, the first one with PRIMARY KEY where there is one."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def _texts(*values: str) -> Values:
    return st.sampled_from([Text(value.encode()) for value in values])


INTS: Values = st.one_of(
    st.sampled_from([0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
)
BOOLS: Values = st.sampled_from([0, 1])
_FLOATS = [0.0, -0.0, 1.0, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1e20, 2.0**53, 2.0**63]
REALS: Values = st.one_of(
    st.sampled_from([*_FLOATS, float("inf"), -float("inf")]), st.floats(allow_nan=False)
)
DECIMALS: Values = st.one_of(
    st.integers(-(10**10) + 1, 10**10 - 1).map(lambda units: units / 100),
    st.sampled_from([7, 0.07, 99999999.99, -99999999, 1.005, 100000000]),
)
BAD_TEXTS: Values = st.sampled_from(
    [Text(b) for b in (b"a\0b", b"1\0", b"\0", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"a\xf4\x90")]
)
SHORT_TEXTS: Values = _texts(
    "", "a", "ab  ", "漢字漢字漢", "🦆🦆🦆🦆🦆", "e\u0301e\u0301", "\\N", "a\n\tb"
)
TEXTS: Values = st.one_of(
    SHORT_TEXTS,
    _texts(
        "1", " 1.50 ", "1e3", "0x10", "inf", "NaN", "x" * 300, "🦆🦆🦆🦆🦆🦆", "\ufeffa", "abcde "
    ),
    st.text(max_size=8).map(lambda text: Text(text.encode())),
)
BLOBS: Values = st.one_of(st.sampled_from([b"", b"\0", b"abc", b"\xff\xfe"]), st.binary(max_size=8))
_DAYS = ("2024-02-29", "0001-01-01", "9999-12-31", "1970-01-01", "1582-10-10")
DATES: Values = _texts(*_DAYS)
_CLOCKS = ("00:00:00", "23:59:59", "12:34", "01:02:03.5", "01:02:03.500000", "23:59:59.999999")
OUR_MOMENTS: Values = _texts("2024-02-29 23:59:59", "0001-01-01 00:00:00", "1999-12-31 01:02:03.25")
MOMENTS: Values = _texts(*(f"{d}{t}{c}" for d in _DAYS for t in " T" for c in _CLOCKS), *_DAYS)
ZONED: Values = _texts(
    *(
        f"2024-02-29{t}{c}{z}"
        for t in " T"
        for c in _CLOCKS
        for z in ("Z", "+00:00", "+0230", "-05")
    )
)
NO_DATES: Values = _texts(
    *("2023-02-29", "0000-01-01", "1.2.2003", "24-01-01", "2024-01-01 24:00:00", "2024-1-1"),
    *("2024-01-01 12:60", "2024-01-01 00:00:00.1234567", "2024-01-01\n", "2024-01-01  00:00"),
    *("0001-01-01 00:00:00+02:00", "12:34:56", "2024-01-01t00:00", "2024-13-01", "0000-00-00"),
)
JSONS: Values = _texts(
    *("{}", " [1, 1.0]", '{"a": 1, "a": 2}', '"\\u0000"', '"\\ud800"', "null", "1e999", '""', "3"),
)
NO_JSONS: Values = _texts("{'a': 1}", "NaN", "[1,]", "", "\ufeff{}", '"a\nb"')
UUIDS: Values = st.uuids().map(lambda u: Text(str(u).encode()))
NO_UUIDS: Values = st.uuids().map(lambda u: Text(str(u).upper().encode()))
ANYTHING: Values = st.one_of(
    *(INTS, BOOLS, REALS, DECIMALS, TEXTS, BAD_TEXTS, BLOBS, DATES, MOMENTS, ZONED, NO_DATES),
    *(JSONS, NO_JSONS, UUIDS, NO_UUIDS),
)

# Declared types with values that suit them more or less.
DECLARED: dict[str, tuple[Values, ...]] = {
    "": (INTS, REALS, TEXTS, BLOBS, BAD_TEXTS),
    "BOOLEAN": (BOOLS,),
    "DECIMAL(10,2)": (DECIMALS,),
    "DATE": (DATES, DATES, MOMENTS, ZONED, NO_DATES),
    "DATETIME": (MOMENTS, OUR_MOMENTS, ZONED, NO_DATES),
    "VARCHAR(5)": (SHORT_TEXTS, TEXTS),
    "TEXT": (TEXTS, BAD_TEXTS),
    "BLOB": (BLOBS, BAD_TEXTS),
    "JSON": (JSONS, NO_JSONS),
    "UUID": (UUIDS, NO_UUIDS),
    "INTEGER": (INTS,),
    "REAL": (REALS,),
    "NUMERIC": (REALS, INTS, DECIMALS),
}
KEYS: dict[str, Values] = {
    "INTEGER PRIMARY KEY": INTS,
    "TEXT PRIMARY KEY NOT NULL": st.one_of(TEXTS, TEXTS, BAD_TEXTS),
}


@st.composite
def random_tables(draw: st.DrawFn) -> RandomTable:
    rows = draw(st.sampled_from([*range(13), 8, 10, 12]))
    key = draw(st.sampled_from(["", *KEYS]))
    declared = draw(st.lists(st.sampled_from(list(DECLARED)), min_size=1, max_size=4))
    columns = [draw(_column(name, rows)) for name in declared]
    if key:
        columns.insert(0, draw(st.lists(KEYS[key], min_size=rows, max_size=rows, unique=True)))
        declared.insert(0, key)
    return RandomTable(tuple(declared), tuple(zip(*columns, strict=True)))


@st.composite
def _column(draw: st.DrawFn, declared: str, rows: int) -> list[Value]:
    own = draw(st.sampled_from(DECLARED[declared]))
    nothing = st.none()
    values = draw(
        st.sampled_from(
            [own, own | nothing, nothing | nothing | own, own | own | ANYTHING, ANYTHING | nothing]
        )
    )
    return draw(st.lists(values, min_size=rows, max_size=rows))


def write(path: Path, tables: Sequence[RandomTable]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, table in enumerate(tables):
            columns = ", ".join(f"c{i} {name}" for i, name in enumerate(table.columns))
            connection.execute(f"CREATE TABLE t{number} ({columns})")
            for row in table.rows:
                places = ", ".join("CAST(? AS TEXT)" if isinstance(v, Text) else "?" for v in row)
                bound = [value.data if isinstance(value, Text) else value for value in row]
                connection.execute(f"INSERT INTO t{number} VALUES ({places})", bound)


def stored(path: Path, number: int, columns: int) -> list[tuple[Value, ...]]:
    """The rows as SQLite keeps them: affinities have had their say."""
    cells = ", ".join(f"typeof(c{i}), c{i}" for i in range(columns))
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        rows = connection.execute(f"SELECT {cells} FROM t{number}").fetchall()
    return [
        tuple(
            Text(value) if name == b"text" else value
            for name, value in zip(row[::2], row[1::2], strict=True)
        )
        for row in rows
    ]


def class_of(value: Value) -> str:
    names = {int: "integer", float: "real", bytes: "blob", Text: "text"}
    return names.get(type(value), "null")


_MOMENT = r"\d{4}-\d\d-\d\d(?:[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?)?"


def moment(value: str) -> datetime:
    """ValueError for anything but a date, or a date and time, without a zone."""
    if not re.fullmatch(_MOMENT, value, re.ASCII):
        raise ValueError(value)
    return datetime.fromisoformat(value)


def _is(check: Callable[[str], object]) -> Callable[[Value], bool]:
    def fits(value: Value) -> bool:
        if not isinstance(value, Text) or not value.valid:
            return False
        try:
            check(value.data.decode())
        except (ValueError, AssertionError):
            return False
        return True

    return fits


def _day(value: str) -> None:
    assert len(value) == 10
    moment(value)


def _json(value: str) -> None:
    assert "NaN" not in value
    json.loads(value, parse_int=str)


def _decimal_10_2(value: Value) -> bool:
    if not isinstance(value, int | float) or abs(value) >= 10**8:
        return False
    return Decimal(repr(value)) % Decimal("0.01") == 0


def _uuid(value: str) -> None:
    assert str(uuid.UUID(value)) == value


# Whether one value is what the declared type says, so that no wider type is needed.
SUITS: dict[str, Callable[[Value], bool]] = {
    "BOOLEAN": lambda value: isinstance(value, int) and value in (0, 1),
    "DECIMAL(10,2)": _decimal_10_2,
    "DATE": _is(_day),
    "DATETIME": _is(moment),
    "VARCHAR(5)": lambda value: isinstance(value, Text) and value.valid and _length(value) <= 5,
    "TEXT": lambda value: isinstance(value, Text) and value.valid,
    "BLOB": lambda value: isinstance(value, bytes),
    "JSON": _is(_json),
    "UUID": _is(_uuid),
    "INTEGER": lambda value: isinstance(value, int),
    "REAL": lambda value: isinstance(value, float),
    "NUMERIC": lambda value: isinstance(value, int | float),
}


def _length(value: Text) -> int:
    return len(value.data.decode())


# The storage classes that a type of PostgreSQL keeps as they are; for all others it is text.
OWN_CLASSES = {
    "int8": {"integer"},
    "bool": {"integer"},
    "float8": {"real"},
    "numeric": {"integer", "real"},
    "bytea": {"blob"},
}


def expected(value: Value, name: str) -> object:
    """What psycopg must read where SQLite holds ``value`` and the column is of type ``name``."""
    match value, name:
        case None, _:
            return None
        case ((int() | float()), "numeric"):
            return Decimal(repr(value))
        case ((int() | float()), ("text" | "bytea")):
            return repr(value) if name == "text" else repr(value).encode()
        case float(), _:
            return repr(value)
        case Text(data), "bytea":
            return data
        case Text(data), "date":
            return date.fromisoformat(data.decode())
        case Text(data), ("timestamp" | "timestamptz"):
            return datetime.fromisoformat(data.decode())
        case Text(data), _:
            return data.decode()
    return value


def arrived(database: Server, number: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The types of a table's columns, and its rows; reals by their repr, to tell -0.0 from 0.0."""
    with database.connect() as connection:
        connection.adapters.register_loader("json", TextLoader)
        connection.adapters.register_loader("uuid", TextLoader)
        cursor = connection.execute(f"SELECT * FROM t{number}".encode())
        rows = cursor.fetchall()
        names = [
            psycopg.postgres.types[column.type_code].name for column in cursor.description or ()
        ]
    return names, [tuple(repr(v) if isinstance(v, float) else v for v in row) for row in rows]


def _ours(value: Value, name: str) -> bool:
    zone = r"\+00:00" if name == "timestamptz" else ""
    pattern = rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{{0,5}}[1-9])?{zone}"
    return not isinstance(value, Text) or bool(re.fullmatch(pattern, value.data.decode()))


def check_naming(
    declared: str, column: str, name: str, values: list[Value], of: TableOutcome
) -> None:
    """A column is named where it must be, and nowhere else."""
    assert of.plan is not None
    widening = next((w for w in of.plan.widened if w.column == column), None)
    classes = {class_of(value) for value in values} - {"null"}
    suits = SUITS.get(declared.removesuffix(" NOT NULL").removesuffix(" PRIMARY KEY"))
    foreign = bool(classes - OWN_CLASSES.get(name, {"text"}))
    if suits is None:
        assert (widening is not None) == foreign
    else:
        assert (widening is not None) == any(not suits(v) for v in values if v is not None)
    if foreign:
        assert widening is not None
        assert widening.merged_classes == (tuple(sorted(classes)) if len(classes) > 1 else ())
        texts = [value for value in values if isinstance(value, Text)]
        bytes_needed = "blob" in classes or not all(text.valid for text in texts)
        assert name == ("bytea" if bytes_needed else "text")
    elif widening is not None:
        assert widening.merged_classes == ()
    respelled = 0
    if name.startswith("timestamp"):
        respelled = sum(not _ours(value, name) for value in values)
    assert dict(of.normalised).get(column, 0) == respelled


# Not shrunk, since every attempt is a migration: a failure shows the column or table alone.
@settings(
    max_examples=_FILES,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(random_tables(), min_size=_TABLES_A_FILE, max_size=_TABLES_A_FILE))
def test_whatever_sqlite_holds_arrives_and_is_named(
    started: Callable[[str], Server],
    tmp_path_factory: pytest.TempPathFactory,
    tables: list[RandomTable],
) -> None:
    path = tmp_path_factory.mktemp("random") / "source.db"
    write(path, tables)
    truth = [stored(path, number, len(table.columns)) for number, table in enumerate(tables)]
    with servers.fresh_database(started(servers.EMBEDDED)) as database:
        outcome = tableferry.migrate(f"sqlite:{path}", database.url, recreate=True)
        assert outcome.verified
        by_name = {table.source: table for table in outcome.tables}
        for number, (table, rows) in enumerate(zip(tables, truth, strict=True)):
            names, got = arrived(database, number)
            for i, name in enumerate(names):
                values = [row[i] for row in rows]
                check_naming(table.columns[i], f"c{i}", name, values, by_name[f"t{number}"])
            wanted = [tuple(map(expected, row, names)) for row in rows]
            assert Counter(got) == Counter(wanted)
        assert tableferry.verify(f"sqlite:{path}", database.url).verified
