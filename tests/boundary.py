"""One table of boundary values in PostgreSQL and in SQLite, as it is ferried over to the latter."""

from __future__ import annotations

import datetime
import math
import random
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from typing import Any

import adbc_driver_sqlite.dbapi
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader
from tests.servers import Server, fresh_database

from tableferry import kinds
from tableferry.dialects.postgresql.types import kind_of
from tableferry.expressions import Field, Relation, Untranslatable
from tableferry.expressions.postgresql_parser import parse_expression
from tableferry.expressions.postgresql_to_sqlite import Columns, Translator
from tableferry.model import Kind, TableName
from tableferry.sql import quote

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
    "nu": (
        "numeric",
        "",
        ["0", "0.1", "1", "-1", "0.30000000000000004", "123456789012345", "1.5", "42", "1000000"],
    ),
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
    "h": ("text", "C", ["", "a", "A", "b", "ä", "Ä", "5", "Zz", "ab", "K"]),
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
    "number": "NUMERIC",
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
    if declared == "real":
        # A float of four bytes is known by its shortest decimal.
        return Kind("float", bits=32)
    return kind_of(declared) or kinds.native(declared)


# A numeric whose every value SQLite keeps as a number.
KEPT = {"nu": Kind("number")}
FIELDS = tuple(
    Field(
        name,
        KEPT.get(name) or kind_named(declared),
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


@contextmanager
def filled(server: Server) -> Iterator[Both]:
    """The table in a database of its own, and in SQLite."""
    with (
        fresh_database(server) as database,
        psycopg.connect(database.url, autocommit=True) as connection,
        adbc_driver_sqlite.dbapi.connect(":memory:", autocommit=True) as driver,
        closing(sqlite3.connect(":memory:")) as older,
    ):
        connection.prepare_threshold = None
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
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


def translated_pairs(
    wanted: int, draw: Callable[[], str], translated: Callable[[str], str | None]
) -> list[tuple[str, str]]:
    """That many expressions which are translated, of those drawn, each with its translation."""
    pairs: list[tuple[str, str]] = []
    while len(pairs) < wanted:
        text = draw()
        sql = translated(text)
        if sql is not None:
            pairs.append((text, sql))
    return pairs
