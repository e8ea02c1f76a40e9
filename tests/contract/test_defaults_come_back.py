"""Defaults that go to the other database and back are what they were."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from tests.boundary import kind_named
from tests.servers import Server

from tableferry import kinds
from tableferry.expressions import translator
from tableferry.model import Kind

TO_SQLITE = translator("postgresql", "sqlite")
TO_POSTGRESQL = translator("sqlite", "postgresql")
UTC = "(now() AT TIME ZONE 'UTC'::text)"


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with server.connect() as opened:
        yield opened


def printed(connection: psycopg.Connection[tuple[object, ...]], declared: str, text: str) -> str:
    """A DEFAULT as the catalog prints it."""
    connection.execute(f"CREATE TEMP TABLE d (a {declared} DEFAULT {text})".encode())
    query = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'd'::regclass"
    ((found,),) = connection.execute(query.encode()).fetchall()
    connection.execute("DROP TABLE d")
    assert isinstance(found, str)
    return found


def as_told(text: str) -> str:
    """A default as SQLite tells it of a column that was made with it."""
    with closing(sqlite3.connect(":memory:")) as lite:
        lite.execute(f"CREATE TABLE d (a DEFAULT ({text}))")
        ((told,),) = lite.execute("SELECT dflt_value FROM pragma_table_xinfo('d')").fetchall()
    assert isinstance(told, str)
    return told


@pytest.mark.parametrize(
    ("declared", "text", "back"),
    [
        ("timestamptz", "now()", "now()"),
        ("timestamptz", "CURRENT_TIMESTAMP", "now()"),
        (
            *("timestamptz", "date_trunc('second', now())"),
            "date_trunc('second'::text, now())",
        ),
        ("timestamp", "LOCALTIMESTAMP", UTC),
        ("timestamp", "(now() AT TIME ZONE 'UTC')", UTC),
        ("date", "CURRENT_DATE", f"({UTC})::date"),
        ("time", "LOCALTIME", f"({UTC})::time without time zone"),
        ("uuid", "gen_random_uuid()", "gen_random_uuid()"),
        ("text", "gen_random_uuid()::text", "(gen_random_uuid())::text"),
        ("text", "'it''s'", "'it''s'::text"),
        ("integer", "-7", "'-7'::integer"),
        ("numeric(10,2)", "1.5", "1.5"),
        ("numeric(30,4)", "1.5", "1.5000::numeric(30,4)"),
        ("boolean", "true", "true"),
        ("date", "'2024-02-29'", "'2024-02-29'::date"),
        ("jsonb", "'{}'", "'{}'::jsonb"),
        ("text[]", "'{}'", "'{}'::text[]"),
        ("inet", "'10.0.0.1/8'", "'10.0.0.1/8'::inet"),
        ("interval", "'1 day'", "'1 day'::interval"),
    ],
)
def test_postgresqls(
    connection: psycopg.Connection[tuple[object, ...]], declared: str, text: str, back: str
) -> None:
    # One of more digits than SQLite keeps as a number is kept by its text.
    wide = declared == "numeric(30,4)"
    kind = kinds.native(declared) if wide else kind_named(_named(connection, declared))
    there = TO_SQLITE.default(printed(connection, declared, text), kind)
    again = printed(connection, declared, TO_POSTGRESQL.default(as_told(there), kind))
    assert again == back
    # The second time around nothing changes any more.
    assert TO_SQLITE.default(again, kind) == there


def _named(connection: psycopg.Connection[tuple[object, ...]], declared: str) -> str:
    connection.execute(f"CREATE TEMP TABLE d (a {declared})".encode())
    query = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'a'"
    query += " AND attrelid = 'd'::regclass"
    ((name,),) = connection.execute(query.encode()).fetchall()
    connection.execute("DROP TABLE d")
    return str(name)


@pytest.mark.parametrize(
    ("kind", "declared", "text"),
    [
        (kinds.TIMESTAMP, "timestamp", "CURRENT_TIMESTAMP"),
        (kinds.TIMESTAMP, "timestamp", "datetime('now')"),
        (kinds.TIMESTAMPTZ, "timestamptz", "CURRENT_TIMESTAMP"),
        (kinds.DATE, "date", "CURRENT_DATE"),
        (kinds.TIME, "time", "CURRENT_TIME"),
        (kinds.TEXT, "text", "CURRENT_TIMESTAMP"),
        (kinds.TEXT, "text", "CURRENT_DATE"),
        (kinds.TEXT, "text", "strftime('%H:%M on %d.%m.%Y', 'now')"),
        (kinds.TEXT, "text", "strftime('\"%Y\\%j\"', 'now')"),
        (kinds.TEXT, "text", "lower(hex(randomblob(16)))"),
        (kinds.BYTES, "bytea", "randomblob(9)"),
        (kinds.INT, "bigint", "7"),
        (kinds.TEXT, "text", "'a'"),
        (kinds.NUMERIC, "numeric", "1.5"),
    ],
)
def test_sqlites(
    connection: psycopg.Connection[tuple[object, ...]], kind: Kind, declared: str, text: str
) -> None:
    there = printed(connection, declared, TO_POSTGRESQL.default(text, kind))
    back = TO_SQLITE.default(there, kinds.NUMBER if kind == kinds.NUMERIC else kind)
    with closing(sqlite3.connect(":memory:")) as lite:
        first, second = (
            lite.execute(f"SELECT typeof(v), v FROM (SELECT {sql} AS v)").fetchone()
            for sql in (text, back)
        )
    if kind.name == "timestamptz":
        first = (first[0], f"{first[1]}+00:00")
    assert _shape(second) == _shape(first)


def _shape(value: tuple[str, object]) -> tuple[str, str]:
    """Of what is another each time, how it is written."""
    name, shown = value
    if isinstance(shown, bytes):
        return name, "x" * len(shown)
    digits = r"[0-9]" if isinstance(shown, str) and not re.fullmatch("[0-9a-f]{32}", shown) else "."
    return name, re.sub(digits, "0", str(shown))
