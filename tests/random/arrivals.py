"""What PostgreSQL holds after a migration, read with psycopg, and changes made to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, localcontext
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader
from tests.random.values import FAR
from tests.servers import Server

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
ORDER BY c.relname, a.attnum
"""
_KEYS = """
SELECT c.relname, k.contype::text, k.convalidated, array_agg(a.attname::text ORDER BY position)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS u (attnum, position)
JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
WHERE c.relnamespace = 'public'::regnamespace AND k.contype IN ('p', 'u', 'f')
GROUP BY k.oid, c.relname
"""
_WORDS = {"p": "primary key", "u": "unique constraint"}


@dataclass(frozen=True, slots=True)
class Arrivals:
    """types: by table and column. rows: by table. keys: whether it is the primary key or just
    unique, and its columns, by table. references: whether PostgreSQL vouches for each foreign key,
    by table and column."""

    types: dict[tuple[str, str], str]
    rows: dict[str, list[tuple[Any, ...]]]
    keys: dict[str, tuple[str, tuple[str, ...]]]
    references: dict[tuple[str, str], bool]


def arrivals(database: Server) -> Arrivals:
    with _connected(database) as connection:
        types = {(t, c): name for t, c, name in connection.execute(_COLUMNS)}
        keys = connection.execute(_KEYS).fetchall()
        names = dict.fromkeys(table for table, _ in types)
        return Arrivals(
            types=types,
            rows={name: _rows(connection, name) for name in names},
            keys={t: (_WORDS[kind], tuple(c)) for t, kind, _, c in keys if kind in _WORDS},
            references={(table, c[0]): valid for table, kind, valid, c in keys if kind == "f"},
        )


@contextmanager
def _connected(database: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with database.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.adapters.register_loader("json", TextLoader)
        connection.adapters.register_loader("uuid", TextLoader)
        yield connection


def _rows(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> list[tuple[Any, ...]]:
    """With reals by their repr, to tell -0.0 from 0.0."""
    rows = connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(name)))
    return [tuple(repr(v) if isinstance(v, float) else v for v in row) for row in rows]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change to one row of a table; ``row`` counts the rows that the server has, and a change of
    a cell (``column``) is to NULL where ``to_null`` is set and there is a value."""

    action: str
    table: str
    row: int
    column: str = ""
    type: str = ""
    to_null: bool = False


@contextmanager
def mutated(database: Server, mutation: Mutation) -> Iterator[tuple[Any, ...]]:
    """The table changed, and as it was afterwards. Gives the row as it was before."""
    table = sql.Identifier("public", mutation.table)
    with _connected(database) as connection:
        # Foreign keys would object, as they should.
        connection.execute("SET session_replication_role = replica")
        connection.execute("CREATE SCHEMA kept")
        connection.execute(sql.SQL("CREATE TABLE kept.t AS TABLE {}").format(table))
        query = sql.SQL("SELECT ctid::text, * FROM {} OFFSET {} LIMIT 1")
        found = connection.execute(query.format(table, sql.Literal(mutation.row))).fetchone()
        assert found is not None
        at, row = sql.Literal(found[0]), found[1:]
        _drop_uniques(connection, mutation.table)
        connection.execute(_statement(connection, mutation, at))
        yield row
        connection.execute(sql.SQL("DELETE FROM {}").format(table))
        connection.execute(sql.SQL("INSERT INTO {} TABLE kept.t").format(table))
        connection.execute("DROP SCHEMA kept CASCADE")


def _drop_uniques(connection: psycopg.Connection[tuple[Any, ...]], table: str) -> None:
    """What a primary key with NULLs became, and would refuse a value that is there already."""
    found = connection.execute(
        "SELECT conname FROM pg_constraint WHERE contype = 'u' AND conrelid = %s::regclass",
        (sql.Identifier("public", table).as_string(connection),),
    )
    for (name,) in found.fetchall():
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {} CASCADE")
        connection.execute(drop.format(sql.Identifier("public", table), sql.Identifier(name)))


def _statement(
    connection: psycopg.Connection[tuple[Any, ...]], mutation: Mutation, at: sql.Literal
) -> sql.Composed:
    table = sql.Identifier("public", mutation.table)
    if mutation.action == "delete":
        return sql.SQL("DELETE FROM {} WHERE ctid = {}").format(table, at)
    if mutation.action == "double":
        double = sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE ctid = {}")
        return double.format(table, table, at)
    column = sql.Identifier(mutation.column)
    cell = sql.SQL("SELECT {} FROM {} WHERE ctid = {}").format(column, table, at)
    ((value,),) = connection.execute(cell).fetchall()
    if value is None:
        changed = _SAMPLES[mutation.type.partition("(")[0]]
    else:
        changed = None if mutation.to_null else other(value, mutation.type)
    return sql.SQL("UPDATE {} SET {} = {} WHERE ctid = {}").format(
        table, column, sql.Literal(changed), at
    )


# What takes the place of NULL.
_SAMPLES: dict[str, object] = {
    "boolean": False,
    "smallint": 0,
    "integer": 0,
    "bigint": 0,
    "numeric": 0,
    "double precision": 0.0,
    "text": "",
    "character varying": "",
    "bytea": b"",
    "date": date(2000, 1, 1),
    "time without time zone": time(),
    "timestamp without time zone": datetime(2000, 1, 1),
    "timestamp with time zone": datetime(2000, 1, 1),
    "json": "null",
    "uuid": "00000000-0000-0000-0000-000000000000",
}


def other(value: Any, name: str) -> object:
    """Another value that the type ``name`` can hold, and as near as it gets."""
    match value:
        case bool():
            return not value
        case int():
            return value - 1 if value > 0 else value + 1
        case float():
            return math.nextafter(value, 0.0) if value else 5e-324
        case Decimal():
            return _other_number(value, name)
        case bytes():
            return value + b"x"
        case datetime() | time():
            return value.replace(microsecond=value.microsecond ^ 1)
        case date():
            return date.fromordinal(value.toordinal() + (1 if value.year < 9999 else -1))
        case str() if name in FAR:
            return _SAMPLES[name]
        case str() if name == "uuid":
            return value[:-1] + ("1" if value.endswith("0") else "0")
        case str() if name == "json":
            return value + " "
        case str() if "(" in name and len(value) == int(name.rstrip(")").partition("(")[2]):
            return value[:-1] + ("y" if value.endswith("x") else "x")
    return f"{value}x"


def _other_number(value: Decimal, name: str) -> Decimal:
    if not value.is_finite():
        return Decimal(1)
    scale = int(name.rstrip(")").partition(",")[2] or 0)
    step = Decimal(1).scaleb(-scale)
    with localcontext(prec=1000):
        return value - step if value > 0 else value + step
