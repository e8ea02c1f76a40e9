"""Every operator and function of PostgreSQL that is translated gives in SQLite what it gives there.

An expression is written down in PostgreSQL, printed by its catalog, evaluated there over rows of
boundary values, and evaluated as it is translated over the same rows in SQLite: by the library in
the driver, and by Python's, which is an older one.
"""

from __future__ import annotations

import datetime
import itertools
import math
import random
import re
import sqlite3
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import adbc_driver_sqlite.dbapi
import psycopg
import pytest
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.numeric import FloatLoader
from psycopg.types.string import TextLoader
from tests.servers import Server, fresh_database

from tableferry import kinds
from tableferry.dialects.postgresql.types import kind_of
from tableferry.expressions import Field, Relation, Untranslatable, translator
from tableferry.expressions.postgresql_parser import parse_expression
from tableferry.expressions.postgresql_to_sqlite import Columns, Translator
from tableferry.model import Kind, TableName
from tableferry.sql import quote

TO_SQLITE = translator("postgresql", "sqlite")

LABELS = ("sad", "ok", "it's", "1")
# name: type, collation of the column, and the values that are tried, as PostgreSQL reads them.
COLUMNS: dict[str, tuple[str, str, list[str]]] = {
    "i": ("integer", "", ["0", "1", "-1", "7", "2147483647", "-2147483648"]),
    "k": ("integer", "", ["0", "1", "-1", "2", "-3", "5", "1000"]),
    "l": ("smallint", "", ["0", "1", "-1", "2", "-3", "10", "32767", "-32768"]),
    "b": (
        "bigint",
        "",
        ["0", "1", "9007199254740993", "9223372036854775807", "-9223372036854775808"],
    ),
    "q": ("bigint", "", ["0", "1", "-1", "123456789", "12345"]),
    "m": ("numeric(10,2)", "", ["0", "1", "0.10", "0.30", "19.99", "-5.25", "99999999.99"]),
    "p": ("numeric(15,4)", "", ["0", "0.1", "0.3", "-0.0001", "99999999999.9999", "1.5"]),
    "o": ("numeric(5,0)", "", ["0", "1", "-99999", "42"]),
    "n": ("numeric", "", ["0", "1.10", "12345678901234567890.5", "NaN"]),
    "f": (
        "double precision",
        "",
        ["0", "-0", "0.1", "1.5", "NaN", "Infinity", "-Infinity", "1e300"],
    ),
    "g": ("double precision", "", ["0", "1", "-1", "0.2", "0.3", "100.25", "1e10", "-2.5"]),
    "r": ("real", "", ["0", "0.1", "1.5", "-3.25", "16777216"]),
    "x": ("text", "", ["", "a", "A", "b", "abc", " a ", "ä", "Ä", "a%b", "a\\b", "it's", "5", "*"]),
    "z": (
        "text",
        "",
        ["", "a", "ABC", "B", "x@y.org", "a  ", "Straße", "日本", "[", "a_b", "a\nb"],
    ),
    "v": ("character varying(10)", "", ["", "a", "abc", "new", "A", "ab?", "[x]", "K"]),
    "h": ("text", "C", ["", "a", "A", "b", "ä", "Ä", "B", "Zz", "ab", "K"]),
    "c": ("character(4)", "", ["", "a", "ab", "abcd", " a", "ä"]),
    "t": ("boolean", "", ["true", "false"]),
    "w": ("boolean", "", ["false", "true", "true"]),
    "d": ("date", "", ["2020-01-01", "1999-12-31", "2020-02-29", "0001-01-01", "9999-12-31"]),
    "e": ("date", "", ["2020-01-01", "2020-01-02", "1969-07-20"]),
    "ts": (
        "timestamp without time zone",
        "",
        ["2020-01-01 00:00:00", "1999-12-31 23:59:59.999999", "2020-02-29 12:30:15.25"],
    ),
    "tt": (
        "timestamp without time zone",
        "",
        ["2020-01-01 00:00:00", "2020-01-01 00:00:00.5", "2020-01-01 00:00:00.05"],
    ),
    "tz": (
        "timestamp with time zone",
        "",
        ["2020-01-01 00:00:00+00", "2020-01-01 03:00:00.5+05:30", "1999-12-31 23:59:59+00"],
    ),
    "ti": ("time without time zone", "", ["00:00:00", "12:30:00", "23:59:59.5"]),
    "u": ("uuid", "", ["00000000-0000-0000-0000-000000000000", str(uuid.UUID(int=2**127 + 9))]),
    "mo": ("mood", "", list(LABELS)),
    "js": ("json", "", ['{"a": 1}', "[]", "null"]),
    "jb": ("jsonb", "", ['{"a": 1}', "[]", "null"]),
    "y": ("bytea", "", ["\\x", "\\x00", "\\x616263", "\\xff00"]),
}
DECLARED = {
    "int": "INTEGER",
    "bool": "BOOLEAN",
    "float": "REAL",
    "numeric": "TEXT",
    "text": "TEXT",
    "bytes": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "uuid": "UUID",
    "json": "TEXT",
    "native": "TEXT",
}
ROWS = 40


def kind_named(declared: str) -> Kind:
    return kind_of(declared) or kinds.native(declared)


FIELDS = tuple(
    Field(
        name,
        kind_named(declared),
        collation,
        declared=declared,
        labels=LABELS if declared == "mood" else (),
    )
    for name, (declared, collation, _) in COLUMNS.items()
)
# PostgreSQL's table is called "t"; in SQLite it has another name.
RELATION = Relation(TableName("main", "T 1"), FIELDS, "t", "public")


def declared_in_sqlite(kind: Kind) -> str:
    if kind.name == "decimal":
        return f"DECIMAL({kind.precision},{kind.scale})" if kind.precision <= 15 else "TEXT"
    return DECLARED[kind.name]


def rows() -> list[list[str | None]]:
    """Boundary values of all columns, each met with many others; some rows with NULLs."""
    chance = random.Random(1)
    result = []
    for number in range(ROWS):
        row: list[str | None] = [v[number % len(v)] for _, _, v in COLUMNS.values()]
        if number >= 15:
            row = [chance.choice(values) for _, _, values in COLUMNS.values()]
        if number % 5 == 4:
            row = [None if chance.random() < 0.4 else value for value in row]
        result.append(row)
    return [*result, [None for _ in COLUMNS]]


def stored(value: Any, kind: Kind | None = None) -> Any:
    """A value of PostgreSQL as it is kept in SQLite."""
    match value:
        case bool():
            return int(value)
        case float() if math.isnan(value):
            return "NaN"
        case Decimal():
            if kind is not None and declared_in_sqlite(kind) == "TEXT":
                return kinds.canonical_numeric(value)
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime.datetime():
            return _spelled(value)
        case datetime.time():
            return _trimmed(value.isoformat())
        case datetime.date() | uuid.UUID():
            return str(value)
    return value


def _spelled(value: datetime.datetime) -> str:
    if value.tzinfo is None:
        return _trimmed(value.isoformat(" "))
    return _trimmed(value.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(" ")) + "+00:00"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def same(server: Any, lite: Any) -> bool:
    """Whether a result of SQLite is the value as it would be kept there."""
    kept = stored(server)
    if isinstance(server, Decimal) and isinstance(lite, str):
        # One of more than 15 digits.
        return kinds.canonical_numeric(server) == lite
    if isinstance(kept, int | float) and not isinstance(lite, str | bytes | None):
        return bool(kept == lite)
    return type(kept) is type(lite) and bool(kept == lite)


Ask = Callable[[str], list[tuple[Any, ...]]]


def read(quoted: str) -> Any:
    """The value that SQLite's quote() has written down."""
    if quoted == "NULL":
        return None
    if quoted.startswith("'"):
        return quoted[1:-1].replace("''", "'")
    if quoted.startswith("X'"):
        return bytes.fromhex(quoted[2:-1])
    return int(quoted) if re.fullmatch(r"-?\d+", quoted) else float(quoted)


class RealLoader(FloatLoader):
    """A real as the double that it is, and not as the one that its digits name."""

    def load(self, data: Buffer) -> float:
        (value,) = struct.unpack("f", struct.pack("f", super().load(data)))
        return float(value)


class PaddedLoader(Loader):
    """A character(n) without the blanks at its end, which do not count."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode().rstrip(" ")


class Both:
    """One table in both databases; ``lites`` are the libraries of SQLite."""

    def __init__(self, server: psycopg.Connection[Any], lites: dict[str, Ask]) -> None:
        self.server = server
        self.lites = lites

    def printed(self, text: str) -> str | None:
        """An expression as PostgreSQL's catalog prints it, None where it takes no such one."""
        try:
            self.server.execute(
                f"ALTER TABLE e ADD CONSTRAINT one CHECK (num_nonnulls({text}) = 1)".encode()
            )
        except psycopg.Error:
            return None
        ((found,),) = self.server.execute(
            "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = 'one'"
        ).fetchall()
        self.server.execute("ALTER TABLE e DROP CONSTRAINT one")
        return str(found).removeprefix("(num_nonnulls(").removesuffix(") = 1)")

    def translated(self, text: str) -> str | None:
        """An expression for SQLite, None where it is left behind."""
        printed = self.printed(text)
        if printed is None:
            return None
        try:
            return Translator(Columns(RELATION)).value(parse_expression(printed)).sql
        except Untranslatable:
            return None

    def checked(self, text: str) -> tuple[str, str]:
        """An expression that has to be translated, with its translation."""
        printed = self.printed(text)
        assert printed is not None, text
        return text, Translator(Columns(RELATION)).value(parse_expression(printed)).sql

    def differences(self, pairs: list[tuple[str, str]]) -> list[str]:
        found = []
        for start in range(0, len(pairs), 100):
            some = pairs[start : start + 100]
            query = f"SELECT {', '.join(f'({text})' for text, _ in some)} FROM t ORDER BY row"
            answered = self.server.execute(query.encode()).fetchall()
            for library, ask in self.lites.items():
                listed = ", ".join(f"quote({sql})" for _, sql in some)
                asked = ask(f'SELECT {listed} FROM "T 1" ORDER BY row')
                for number, (theirs, ours) in enumerate(zip(answered, asked, strict=True), 1):
                    for (text, sql), a, b in zip(some, theirs, ours, strict=True):
                        if not same(a, read(b)):
                            found.append(f"{text} in row {number}: {a!r}; {library} {sql}: {b}")
        return found


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    with (
        fresh_database(server) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
        adbc_driver_sqlite.dbapi.connect(":memory:", autocommit=True) as driver,
        closing(sqlite3.connect(":memory:")) as older,
    ):
        connection.prepare_threshold = None
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
        connection.adapters.register_loader("float4", RealLoader)
        connection.adapters.register_loader("bpchar", PaddedLoader)
        connection.execute("SET timezone TO 'UTC'")

        def by_driver(query: str) -> list[tuple[Any, ...]]:
            with driver.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()

        def by_older(query: str) -> list[tuple[Any, ...]]:
            return older.execute(query).fetchall()

        fill(connection, [by_driver, by_older])
        yield Both(connection, {"3.53": by_driver, sqlite3.sqlite_version: by_older})


def fill(server: psycopg.Connection[Any], lites: list[Ask]) -> None:
    labels = ", ".join(f"'{label.replace(chr(39), chr(39) * 2)}'" for label in LABELS)
    server.execute(f"CREATE TYPE mood AS ENUM ({labels})".encode())
    definitions = [
        f'{name} {declared}{f""" COLLATE "{collation}" """ if collation else ""}'
        for name, (declared, collation, _) in COLUMNS.items()
    ]
    server.execute(f"CREATE TABLE t (row serial, {', '.join(definitions)})".encode())
    server.execute("CREATE TABLE e (LIKE t)")
    marks = ", ".join(f"%s::{declared}" for declared, _, _ in COLUMNS.values())
    with server.cursor() as cursor:
        cursor.executemany(f"INSERT INTO t VALUES (DEFAULT, {marks})".encode(), rows())
    listed = ", ".join(f"{f.name}::text" if f.kind.name == "native" else f.name for f in FIELDS)
    values = server.execute(f"SELECT row, {listed} FROM t".encode()).fetchall()
    declared = ", ".join(f"{quote(f.name)} {declared_in_sqlite(f.kind)}" for f in FIELDS)
    for ask in lites:
        ask(f'CREATE TABLE "T 1" (row INTEGER PRIMARY KEY, {declared})')
        for row, *value in values:
            kept = [stored(v, f.kind) for v, f in zip(value, FIELDS, strict=True)]
            ask(f'INSERT INTO "T 1" VALUES ({row}, {", ".join(map(literal, kept))})')


def literal(value: Any) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case bytes():
            return f"x'{value.hex()}'"
        case float() if math.isinf(value):
            return "9e999" if value > 0 else "-9e999"
    return repr(value)


# ---- every operator between values of every kind ------------------------------------------------

LITERALS = [
    *("NULL", "0", "1", "-1", "5", "2147483648", "9223372036854775807"),
    *("0.0", "0.5", "0.1", "0.30", "-2.25", "12345678901234567890", "1e400"),
    *("'a'", "''", "'A'", "'5'", "'it''s'", "'ab'::bpchar", "'ab'::varchar", "true", "false"),
    *("'2020-01-01'::date", "'2020-01-01 00:00:00.50'::timestamp", "'12:30'::time"),
    *("'2020-01-01 03:00+03'::timestamptz", "'00000000-0000-0000-0000-000000000000'::uuid"),
    *("'\\x616263'::bytea", "'ok'::mood", "'0.1'::real", "'NaN'::float8", "'-Infinity'::float8"),
]
OPERATORS = [
    *("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"),
    *("AND", "OR", "+", "-", "*", "||", "&", "|", "#"),
]
# Sums and products of these leave their type's range, where PostgreSQL raises.
WIDE = frozenset(
    [
        *("i", "b", "l", "f", "p", "m", "2147483648", "9223372036854775807", "1e400", "d"),
        *("'NaN'::float8", "'-Infinity'::float8", "12345678901234567890"),
    ]
)


def test_operators_agree_for_all_kinds(both: Both) -> None:
    atoms = [*COLUMNS, *LITERALS]
    pairs = []
    for operator in OPERATORS:
        for left, right in itertools.product(atoms, atoms):
            if left not in COLUMNS and right not in COLUMNS:
                continue
            if operator in ("+", "-", "*") and {left, right} & WIDE:
                continue
            text = f"{left} {operator} {right}"
            sql = both.translated(text)
            if sql is not None:
                pairs.append((text, sql))
    assert len(pairs) > 2500
    assert both.differences(pairs) == []


def test_random_expressions_agree(both: Both) -> None:
    """Deeper ones: operators, conditions and functions in one another."""
    chance = random.Random(11)
    pairs: list[tuple[str, str]] = []
    while len(pairs) < 600:
        text = _random_expression(chance, 3)
        sql = both.translated(text)
        if sql is not None:
            pairs.append((text, sql))
    assert both.differences(pairs) == []


def _random_expression(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.1:
        atoms = [*COLUMNS, *COLUMNS, *LITERALS]
        return chance.choice([atom for atom in atoms if atom not in WIDE])
    a, b, c = (_random_expression(chance, depth - 1) for _ in range(3))
    return chance.choice(
        [
            f"({a} {chance.choice(OPERATORS[:10])} {b})",
            f"({a} {chance.choice(OPERATORS[:10])} {b})",
            f"({a} {chance.choice(['=', '<', 'AND', '||'])} {b})",
            f"(NOT {a})",
            f"(({a}) IS {chance.choice(['NULL', 'NOT NULL', 'TRUE', 'NOT FALSE', 'UNKNOWN'])})",
            f"coalesce({a}, {b})",
            f"CASE WHEN {a} THEN {b} ELSE {c} END",
            f"CASE {a} WHEN {b} THEN {c} END",
            f"(({a}) BETWEEN ({b}) AND ({c}))",
            f"(({a}) {chance.choice(['IN', 'NOT IN'])} ({b}, {c}))",
            f"nullif({a}, {b})",
            f"greatest({a}, {b}, {c})",
            f"least({a}, {b})",
            f"length({a})",
            f"({a})::{chance.choice(['text', 'integer', 'bigint', 'numeric', 'float8', 'date'])}",
        ]
    )


# ---- single constructs --------------------------------------------------------------------------

EXPRESSIONS = [
    *("-k", "-g", "-m", "-p", "-o", "+k", "~k", "- (- k)", "NOT t", "-q = 1", "-g > 1"),
    *("k IN (0, 1, NULL)", "x IN ('a', 'b')", "v IN ('a', 'new')", "v NOT IN ('a', 'new')"),
    *("x NOT IN ('a', NULL)", "m IN (0.1, 0.30, 19.99)", "c IN ('a', 'ab')", "mo IN ('ok', 'sad')"),
    *("mo <> 'sad'", "d IN ('2020-01-01', '1999-12-31')", "k = ANY (ARRAY[1, 2])", "t IN (true)"),
    *("k = ANY ('{1,2}')", "k <> ALL ('{1,-3,NULL}'::int[])", "g IN (0.2, 1)", "b IN (0, 1)"),
    *("k BETWEEN -1 AND 5", "k NOT BETWEEN l AND 7", "h BETWEEN 'a' AND 'b'", "g BETWEEN 0 AND 1"),
    *("m BETWEEN 0 AND 0.3", "d BETWEEN '2020-01-01' AND '2020-12-31'", "ts BETWEEN d AND e"),
    *("k BETWEEN SYMMETRIC 5 AND 0", 'x COLLATE "C" < z', 'x < z COLLATE "POSIX"'),
    *("CASE WHEN k > 0 THEN 'p' WHEN k = 0 THEN 'z' END", "CASE k WHEN 1 THEN x ELSE z END"),
    *(
        "CASE WHEN t THEN k ELSE g END",
        "CASE WHEN t THEN m ELSE k END",
        "CASE t WHEN true THEN 2 END",
    ),
    *(
        "CASE WHEN t THEN d ELSE e END",
        "CASE WHEN t THEN NULL ELSE x END",
        "CASE WHEN t THEN n END",
    ),
    *("CASE WHEN w THEN ts ELSE d END", "CASE WHEN t THEN js END IS NULL", "jb IS NOT NULL"),
    *("coalesce(k, l, 0)", "coalesce(x, v, 'none')", "coalesce(t, false)", "coalesce(m, 0)"),
    *("coalesce(g, 0)", "coalesce(n, n)", "coalesce(c, 'x') = 'x'", "coalesce(mo, 'ok')"),
    *("nullif(k, 0)", "nullif(x, '')", "nullif(g, 0.2)", "nullif(d, e)", "nullif(v, 'a')"),
    *("greatest(k, l)", "greatest(k, l, 3)", "least(m, 0)", "greatest(h, 'b')", "least(d, e)"),
    *("greatest(g, f)", "least(NULL, k)", "greatest(ts, tt)", "greatest(t, w)", "least(k, q, b)"),
    *(
        "m + 0.05",
        "m - k",
        "m * 3",
        "m * k",
        "m * 0.5",
        "m + m",
        "m - p",
        "p + 1",
        "o * k",
        "o + 0.1",
    ),
    *("m + p > 0", "m * k <= 10", "(m + 0.1) * 2 = 0.4", "abs(m)", "abs(p)", "abs(k)", "abs(g)"),
    *("m / 2 > 1", "k / 2", "k / -2", "k % 3", "-7 / 2", "-7 % 3", "mod(k, 3)", "k / nullif(l, 0)"),
    *(
        "g / 2",
        "g / nullif(g, 0)",
        "g * 2",
        "r * 2::float8",
        "r + g",
        "g - f > 0",
        "q * k",
        "l * 2",
    ),
    *(
        "k % nullif(q, 0)",
        "b / 2",
        "b % 7",
        "b & 255",
        "k & 1 = 1",
        "k | 6",
        "k # 5",
        "k >> 1",
        "i >> 31",
    ),
    *("q << 3", "b >> 63", "~b", "b # 1", "k << 2", "l >> 1"),
    *("length(x)", "length(z)", "length(v)", "length(c)", "length(y)", "char_length(z)"),
    *("octet_length(z)", "octet_length(y)", "lower(h)", "upper(h)", 'lower(x COLLATE "C")'),
    *(
        "lower(x)",
        "upper(v)",
        "lower(h) = 'k'",
        "substr(x, 1, 1)",
        "substr(z, 2)",
        "substr(z, 2, 3)",
    ),
    *("substring(z from 2 for 2)", "substring(z from 3)", "substring(z for 2)", "substr(z, 0, 2)"),
    *(
        "substring(v, 1, 2)",
        "left(z, 2)",
        "right(z, 2)",
        "left(z, 0)",
        "right(x, 100)",
        "left(z, -1)",
    ),
    *("trim(x)", "trim(both 'a' from x)", "ltrim(x)", "rtrim(z)", "btrim(z, 'aB')", "rtrim(v, '')"),
    *("trim(leading ' ' from x)", "trim(trailing from z)", "ltrim(z, x)"),
    *(
        "position('b' in x)",
        "strpos(z, x)",
        "strpos(x, '')",
        "replace(x, 'a', 'xy')",
        "replace(z, x, 'q')",
    ),
    *(
        "replace(x, '', 'y')",
        "starts_with(z, x)",
        "starts_with(x, 'a')",
        "concat(x, v, k)",
        "concat(x)",
    ),
    *("x || v", "x || k", "k || x", "x || NULL", "c || x", "x || t", "x || mo", "x || u", "x || d"),
    *("k::text", "b::text", "t::text", "mo::text", "u::text", "c::text", "v::text = x", "y::text"),
    *("x::varchar", "x::varchar(2)", "'abc'::varchar(2) = x", "x::char(2)", "m::text", "g::text"),
    *(
        "k::bigint",
        "q::integer",
        "o::integer",
        "m::integer",
        "t::integer",
        "k::boolean",
    ),
    *(
        "k::numeric",
        "m::numeric(12,3)",
        "m::numeric(5,1)",
        "m::float8",
        "k::float8",
        "b::float8",
        "g::real",
    ),
    *("n IS NULL", "n IS NOT NULL", "n = 1.10", "n + 1", "12345678901234567890 > m", "n::text"),
    *(
        "f = 'NaN'",
        "f > 1e300",
        "f < '-Infinity'",
        "f IS DISTINCT FROM g",
        "r = 0.1",
    ),
    *(
        "p = 0.3",
        "p > m",
        "p >= 0.1",
        "o = 42",
        "m = 0.1 + 0.2",
        "0.1 + 0.2 = 0.3",
        "b::numeric > 1e15",
    ),
    *("b::numeric = m", "b::numeric >= 9223372036854775806.5", "i::numeric < 0.5"),
    *(
        "d < e",
        "e + 1",
        "e - 400",
        "d - e",
        "e - k",
        "k + e > d",
        "e + 1 = '2020-01-02'",
        "d = ts",
        "ts > d",
    ),
    *(
        "d::timestamp",
        "ts::date",
        "ts::time",
        "ts::date = d",
        "tt > '2020-01-01'",
        "tt = '2020-01-01 00:00:00.05'",
    ),
    *(
        "tz > '2020-01-01'",
        "tz = '2020-01-01 03:00+03'",
        "tz AT TIME ZONE 'UTC'",
        "ts AT TIME ZONE 'utc'",
    ),
    *("tz AT TIME ZONE 'Europe/Berlin'", "tz::date", "tz::timestamp", "d = tz", "date(ts)"),
    *(
        "extract(year from d)",
        "extract(month from ts)",
        "extract(day from d)",
        "extract(hour from ts)",
    ),
    *(
        "extract(minute from ti)",
        "extract(hour from ti)",
        "extract(dow from d)",
        "extract(doy from ts)",
    ),
    *("extract(year from d) = 2020", "date_part('year', d)", "date_part('minute', tt) + 0.5"),
    *(
        "extract(second from ts)",
        "extract(epoch from ts)",
        "extract(year from tz)",
        "extract(week from d)",
    ),
    *(f"date_trunc('{part}', ts)" for part in ("year", "month", "day", "hour", "minute", "second")),
    *(
        "date_trunc('week', ts)",
        "date_trunc('day', d)",
        "date_trunc('day', tz)",
        "ts - tt",
        "ts + '1 day'",
    ),
    *("ti > '12:00'", "ti = '23:59:59.5'", "u > '00000000-0000-0000-0000-000000000001'"),
    *("y = '\\x616263'", "y < '\\x61'", "y || '\\x00'", "js ->> 'a'", "jb = '{}'", "jb ? 'a'"),
    *("x ~ 'a'", "x SIMILAR TO 'a%'", "md5(x)", "random() > 2", "now() > tz", "current_date > d"),
    *(
        "t = true",
        "t <> false",
        "t < w",
        "t IS NOT TRUE",
        "t IS UNKNOWN",
        "t IS NOT UNKNOWN",
        "t AND w OR k > 0",
    ),
    *(
        "(k, l) = (1, 2)",
        "row(k, l) IS NULL",
        "round(m, 1)",
        "round(g)",
        "floor(g)",
        "sqrt(g)",
        "g ^ 2",
    ),
]
# What is left behind, since SQLite has no such thing or it differs.
LEFT = [
    *("lower(x)", "upper(v)", "substr(z, 0, 2)", "left(z, -1)", "x::varchar(2)", "x::char(2)"),
    *("m::text", "g::text", "y::text", "m / 2 > 1", "m::integer", "k << 2", "l >> 1", "x || d"),
    *(
        "CASE WHEN t THEN k ELSE g END = 'a'",
        "m::numeric(5,1)",
        "g::real",
        "n = 1.10",
        "n + 1",
        "n::text",
    ),
    *("12345678901234567890 > m", "b::numeric >= 9223372036854775806.5"),
    *("tz AT TIME ZONE 'Europe/Berlin'", "tz::date", "tz::timestamp", "d = tz"),
    *(
        "extract(second from ts)",
        "extract(epoch from ts)",
        "extract(year from tz)",
        "extract(week from d)",
    ),
    *(
        "date_trunc('week', ts)",
        "date_trunc('day', d)",
        "date_trunc('day', tz)",
        "ts - tt",
        "ts + '1 day'",
    ),
    *(
        "y || '\\x00'",
        "js ->> 'a'",
        "jb = '{}'",
        "jb ? 'a'",
        "x ~ 'a'",
        "x SIMILAR TO 'a%'",
        "md5(x)",
    ),
    *(
        "random() > 2",
        "now() > tz",
        "current_date > d",
        "row(k, l) IS NULL",
        "round(m, 1)",
        "round(g)",
    ),
    *(
        "floor(g)",
        "sqrt(g)",
        "g ^ 2",
        "r * r",
        "x < z",
        "greatest(x, z)",
        "mo < 'ok'",
        "x ILIKE 'a'",
    ),
]


def test_expressions_agree(both: Both) -> None:
    pairs = [both.checked(text) for text in EXPRESSIONS if text not in LEFT]
    assert both.differences(pairs) == []


def test_what_is_left_behind(both: Both) -> None:
    assert [text for text in LEFT if both.translated(text) is not None] == []


PATTERNS = [
    *(
        "",
        "a",
        "A%",
        "%b",
        "_",
        "__",
        "%",
        "a%b",
        "a\\\\b",
        "ä",
        "Ä%",
        "%@%.%",
        "a_b",
        "a\\_b",
        "[",
        "%%",
    ),
    *("[x]", "ab?", "*", "a\\%b", "_b%", "日_", "%\n%", "]", "^a", "%[%", "%?"),
]


def test_like_agrees(both: Both) -> None:
    pairs = []
    for column, pattern in itertools.product(("x", "z", "v", "h"), PATTERNS):
        written = pattern.replace("\\n", "\n").replace("\\\\", "\\")
        for operator in ("LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE"):
            if operator.endswith("ILIKE") and column != "h":
                continue
            pairs.append(both.checked(f"{column} {operator} '{written}'"))
    for text in (
        *("x LIKE 'a!%b' ESCAPE '!'", "z LIKE '%!!%' ESCAPE '!'", "x LIKE 'a\\_b' ESCAPE ''"),
        *("z LIKE 'A!_%' ESCAPE '!'", "h ILIKE 'A!_%' ESCAPE '!'", "x ~~ 'a%'"),
    ):
        pairs.append(both.checked(text))
    assert both.differences(pairs) == []


# ---- what SQLite takes where --------------------------------------------------------------------


def test_terms_can_be_indexed_checked_and_generated(both: Both) -> None:
    """SQLite refuses functions whose result may change in all of these."""
    indexed = checked = 0
    for text in EXPRESSIONS:
        printed = both.printed(text)
        assert printed is not None, text
        for ask in both.lites.values():
            try:
                term = TO_SQLITE.index_term(printed, RELATION)
            except Untranslatable:
                pass
            else:
                indexed += 1
                ask(f'CREATE INDEX one ON "T 1" ({term})')
                ask("DROP INDEX one")
            try:
                condition = TO_SQLITE.predicate(printed, RELATION)
            except Untranslatable:
                continue
            checked += 1
            ask(f'CREATE INDEX one ON "T 1" ("i") WHERE {condition}')
            ask("DROP INDEX one")
            columns = ", ".join(quote(field.name) for field in FIELDS)
            assert TO_SQLITE.check(printed, RELATION) == condition
            ask(f'CREATE TABLE "checked" ({columns}, CHECK ({condition}))')
            ask("DROP TABLE checked")
    assert indexed > 400
    assert checked > 150


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        *(("integer", "k + l"), ("integer", "length(z)"), ("bigint", "k"), ("bigint", "q * 2")),
        *(("boolean", "k > 0"), ("double precision", "g * 2"), ("double precision", "k")),
        *(
            ("text", "x || ' ' || v"),
            ("text", "k::text"),
            ("text", "lower(h)"),
            ("text", "c::text"),
        ),
        *(
            ("numeric(10,2)", "m"),
            ("numeric(12,2)", "m * 2"),
            ("numeric(12,3)", "m"),
            ("date", "e + 1"),
        ),
        *(("numeric", "k"), ("numeric", "n"), ("numeric(15,2)", "k * 1.25"), ("text", "v")),
        *(
            ("timestamp", "date_trunc('hour', ts)"),
            ("bytea", "y"),
            ("uuid", "u"),
            ("date", "ts::date"),
        ),
        *(("mood", "mo"), ("integer", "CASE WHEN t THEN 1 ELSE 0 END"), ("time", "ts::time")),
    ],
)
def test_generated_columns_agree(both: Both, declared: str, text: str) -> None:
    both.server.execute(
        f"ALTER TABLE t ADD COLUMN a {declared} GENERATED ALWAYS AS ({text}) STORED".encode()
    )
    try:
        ((printed, named),) = both.server.execute(
            "SELECT pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod) "
            "FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid "
            "AND a.attnum = d.adnum WHERE d.adrelid = 't'::regclass AND a.attname = 'a'"
        ).fetchall()
        kind = kind_named(named)
        sql = TO_SQLITE.generated(printed, RELATION, kind)
        for ask in both.lites.values():
            ask(f'ALTER TABLE "T 1" ADD COLUMN a {declared_in_sqlite(kind)} AS ({sql})')
        assert both.differences([("a", '"a"')]) == []
    finally:
        both.server.execute("ALTER TABLE t DROP COLUMN a")
        for ask in both.lites.values():
            ask('ALTER TABLE "T 1" DROP COLUMN a')


@pytest.mark.parametrize(
    ("declared", "text"),
    [("integer", "m + 0.5"), ("numeric(10,1)", "m"), ("text", "m::text"), ("date", "tz::date")],
)
def test_generated_columns_that_would_differ(both: Both, declared: str, text: str) -> None:
    printed = both.printed(text)
    assert printed is not None
    with pytest.raises(Untranslatable):
        TO_SQLITE.generated(printed, RELATION, kind_named(declared))


# ---- defaults -----------------------------------------------------------------------------------

DEFAULTS = [
    *[("integer", text) for text in ("0", "-1", "+5", "'7'", "1 + 2 * 3", "NULL", "7 / 2", "2.5")],
    *[("smallint", text) for text in ("3", "-32768")],
    *[
        ("bigint", text)
        for text in ("-1", "9223372036854775807", "'-9223372036854775808'", "5 * 2")
    ],
    *[("boolean", text) for text in ("true", "'f'", "NULL", "(NOT true)", "1 = 1")],
    *[("double precision", text) for text in ("0", "1.5", "'2.5'", "-0.1", "1e300", "'NaN'", "3")],
    *[("double precision", text) for text in ("'Infinity'", "'-Infinity'", "1e22", "0.1 + 0.2")],
    *[
        ("numeric(10,2)", text)
        for text in ("0", "0.00", "9.99", "'1.50'", "-0.25", "1.005", "NULL")
    ],
    *[("numeric(18,2)", text) for text in ("0.00", "1234567890123456.78", "-1")],
    *[
        ("numeric", text)
        for text in ("0", "1.10", "-1", "'12345678901234567890.50'", "'NaN'", "1e30")
    ],
    *[("text", text) for text in ("''", "'it''s'", "'a\\b'", "'äöü😀'", "'a' || 'b'", "NULL", "5")],
    *[
        ("text", text)
        for text in ("'{}'", "'%s'", "'a\nb'", "'ab'::char(4)", "(3 + 4)::text", "true")
    ],
    *[("character varying(5)", text) for text in ("'abc'", "''", "'abcde'")],
    *[("character(4)", text) for text in ("'ab'", "'abcd'", "''")],
    *[("bytea", text) for text in ("'\\x'", "'\\x00FF'", "NULL")],
    *[("date", text) for text in ("'2020-01-01'", "NULL", "'2020-01-01'::date + 1")],
    *[
        ("timestamp", text)
        for text in ("'2020-01-01 12:30:00.50'", "'2020-01-01'", "'2020-01-01'::date")
    ],
    *[
        ("timestamptz", text)
        for text in ("'2020-01-01 12:30:00.50+02'", "'2019-12-31 23:00-05:30'")
    ],
    *[("time", text) for text in ("'12:30:00'", "'23:59:59.250'")],
    *[("uuid", text) for text in ("'00000000-0000-0000-0000-00000000ABCD'",)],
    *[("json", text) for text in ("'{}'", """'{"a":  1}'""")],
    *[("jsonb", text) for text in ("'{}'", """'{"b":  1, "a": 2}'""")],
    *[("mood", text) for text in ("'ok'", "'it''s'", "'sad'::mood")],
    *[("text[]", text) for text in ("'{}'", "'{a,b}'", "ARRAY[]::text[]")],
    *[("inet", text) for text in ("'10.0.0.1/8'",)],
    *[("interval", text) for text in ("'1 day 02:00'",)],
    *[("integer[]", text) for text in ("'{1,2}'", "ARRAY[]::integer[]")],
]


def defaulted(both: Both, declared: str, text: str) -> tuple[str, Kind]:
    """A DEFAULT as the catalog prints it, and the kind of the column."""
    both.server.execute("DROP TABLE IF EXISTS d")
    both.server.execute(f"CREATE TABLE d (one int, a {declared} DEFAULT {text})".encode())
    ((printed, named),) = both.server.execute(
        "SELECT pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod) "
        "FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid "
        "AND a.attnum = d.adnum WHERE a.attrelid = 'd'::regclass AND a.attname = 'a'"
    ).fetchall()
    return printed or "NULL", kind_named(named)


@pytest.mark.parametrize(("declared", "text"), DEFAULTS)
def test_defaults_agree(both: Both, declared: str, text: str) -> None:
    printed, kind = defaulted(both, declared, text)
    both.server.execute("INSERT INTO d (one) VALUES (1)")
    column = "a::text" if kind.name == "native" else "a"
    ((server,),) = both.server.execute(f"SELECT {column} FROM d".encode()).fetchall()
    sql = TO_SQLITE.default(printed, kind)
    for ask in both.lites.values():
        ask(f"CREATE TABLE d (one, a {declared_in_sqlite(kind)} DEFAULT ({sql}))")
        try:
            ask("INSERT INTO d (one) VALUES (1)")
            ((quoted,),) = ask("SELECT quote(a) FROM d")
        finally:
            ask("DROP TABLE d")
        assert read(quoted) == stored(server, kind), sql
        if kind.name in ("numeric", "text"):
            assert server is None or quoted.startswith("'")


NOW = {
    "timestamptz": ["now()", "CURRENT_TIMESTAMP", "clock_timestamp()", "statement_timestamp()"],
    "timestamp": [
        *("now()", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "(now() AT TIME ZONE 'utc')"),
        *("timezone('UTC', now())", "now()::timestamp", "CURRENT_DATE"),
    ],
    "date": ["CURRENT_DATE", "now()", "now()::date", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP"],
    "time": ["LOCALTIME", "now()", "LOCALTIMESTAMP"],
}


@pytest.mark.parametrize(
    ("declared", "text"), [(declared, text) for declared, texts in NOW.items() for text in texts]
)
def test_the_current_moment_agrees(both: Both, declared: str, text: str) -> None:
    printed, kind = defaulted(both, declared, text)
    sql = TO_SQLITE.default(printed, kind)
    ours = re.compile(
        {
            "date": r"\d{4}-\d\d-\d\d",
            "time": r"\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?",
            "timestamp": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,5}[1-9])?",
            "timestamptz": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,5}[1-9])?\+00:00",
        }[kind.name]
    )
    for ask in both.lites.values():
        ask(f"CREATE TABLE d (one, a {declared_in_sqlite(kind)} DEFAULT ({sql}))")
        ask("INSERT INTO d (one) VALUES (1)")
        ((lite,),) = ask("SELECT a FROM d")
        ask("DROP TABLE d")
        assert ours.fullmatch(lite)
        both.server.execute("INSERT INTO d (one) VALUES (1)")
        ((server,),) = both.server.execute("SELECT a FROM d").fetchall()
        both.server.execute("DELETE FROM d")
        if declared == "time":
            continue
        first = datetime.datetime.fromisoformat(lite)
        second = datetime.datetime.fromisoformat(str(server))
        # A day may begin between the two.
        between = (
            datetime.timedelta(days=1)
            if kind.name == "date" or "DATE" in text
            else (datetime.timedelta(seconds=20))
        )
        assert abs(second - first) <= between


def test_random_uuids(both: Both) -> None:
    printed, kind = defaulted(both, "uuid", "gen_random_uuid()")
    sql = TO_SQLITE.default(printed, kind)
    for ask in both.lites.values():
        made = [row[0] for row in ask(f'SELECT {sql} FROM "T 1", "T 1" AS other')]
        assert len(set(made)) == len(made) > 1000
        assert all(str(uuid.UUID(one)) == one for one in made)
        assert {uuid.UUID(one).version for one in made} == {4}
        assert {one[19] for one in made} == set("89ab")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        *(
            ("timestamptz", "now() + interval '1 day'"),
            ("text", "current_user"),
            ("text", "md5('a')"),
        ),
        *(("integer", "(random() * 10)::int"), ("timetz", "CURRENT_TIME"), ("money", "0")),
        *(("timestamptz", "CURRENT_TIMESTAMP(0)"), ("text", "to_char(now(), 'YYYY')")),
        *(("date", "'infinity'"), ("date", "'0044-03-15 BC'"), ("integer", "nextval('s')")),
        *(("timestamptz", "date_trunc('day', now())"), ("bigint", "extract(epoch from now())")),
        *(("text", "now()::text"), ("text[]", "ARRAY['a']"), ("text", "CURRENT_DATE")),
    ],
)
def test_defaults_that_are_left_behind(both: Both, declared: str, text: str) -> None:
    both.server.execute("CREATE SEQUENCE IF NOT EXISTS s")
    with pytest.raises(Untranslatable):
        TO_SQLITE.default(*defaulted(both, declared, text))
