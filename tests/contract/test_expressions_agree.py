"""Every operator and function that is translated gives in PostgreSQL what it gives in SQLite.

The same expression is evaluated over the same rows of boundary values: as it is written by SQLite,
and as it is translated by every PostgreSQL there is. A pair of results has to be equal, numbers by
their value.
"""

from __future__ import annotations

import datetime
import itertools
import random
import re
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.types.string import TextLoader
from tests.boundary import translated_pairs
from tests.servers import Server
from tests.system.support import SHARED, needs_shared

from tableferry import kinds
from tableferry.dialects.postgresql.types import type_for
from tableferry.dialects.sqlite.types import affinity, candidates
from tableferry.expressions import (
    Field,
    Relation,
    Untranslatable,
    translate_check,
    translate_default,
    translate_generated,
    translate_index_term,
    translate_predicate,
    translate_view,
)
from tableferry.expressions import syntax as tree
from tableferry.expressions.parser import parse_expression
from tableferry.expressions.sqlite_to_postgresql import Columns, Translator
from tableferry.model import Column, Kind, TableName
from tableferry.sql import quote

# name: declared type, collation, and the values that are tried.
COLUMNS: dict[str, tuple[str, str, list[Any]]] = {
    "i": ("INTEGER", "", [0, 1, -1, 7, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "k": ("INTEGER", "", [0, 1, -1, 2, -3, 5, 1_000_000_007, -1_000_000_007]),
    "l": ("SMALLINT", "", [0, 1, -1, 2, -3, 10, 32_767, -32_768]),
    "s": ("TEXT", "", ["", "a", "A", "b", "abc", " a ", "ä", "Ä", "5", "1", "0", "a%b", "a\\b"]),
    "z": ("TEXT", "", ["", "a", "ABC", "B", "x@y.org", "a  ", "Straße", "日本", "İ", "-7", "a_b"]),
    "p": ("TEXT", "NOCASE", ["", "a", "A", "ab", "AB", "ä", "Ä", "[", "b"]),
    "q": ("TEXT", "RTRIM", ["", "a", "a ", "a  ", " a", "a\t", "b"]),
    "f": ("REAL", "", [0.0, -0.0, 1.0, 0.5, -0.5, 1.5, 2.5, 0.1, 2.0**53, 9e15, -1e10, 1e-7]),
    "g": ("DOUBLE", "", [0.0, 1.0, -1.0, 0.2, 0.3, 100.25, 1e10, 0.49999999999999994, 2.0**52]),
    "h": ("REAL", "", [0.0, 1e308, -1e308, 5e-324, 9.3e18, 2.0**63, -(2.0**63), 2.0**60, 1e15]),
    "n": ("NUMERIC", "", [0, 1, -1, 0.1, 0.30000000000000004, 1.5, 2**50, 10, -2.25, 1e-5]),
    "m": ("DECIMAL(10,2)", "", [0, 1, 0.1, 0.3, 19.99, -5.25, 100, 99999.99]),
    "t": ("BOOLEAN", "", [0, 1]),
    "w": ("BOOLEAN", "", [1, 0]),
    "d": ("DATE", "", ["2020-01-01", "1999-12-31", "2020-02-29", "0001-01-01", "9999-12-31"]),
    "e": ("DATE", "", ["2020-01-01", "2020-01-02", "1969-07-20"]),
    "ts": (
        "DATETIME",
        "",
        ["2020-01-01 00:00:00", "1999-12-31 23:59:59", "2020-02-29 12:30:15.25"],
    ),
    "tz": (
        "TIMESTAMPTZ",
        "",
        ["2020-01-01 00:00:00+00:00", "2020-01-01 03:00:00+05:30", "1999-12-31T23:59:59Z"],
    ),
    "ti": ("TIME", "", ["00:00:00", "12:30:00", "23:59:59.5"]),
    "u": ("UUID", "", ["00000000-0000-0000-0000-000000000000", str(uuid.UUID(int=2**127 + 9))]),
    "js": ("JSON", "", ['{"a": 1}', "[]", "null", '"x"']),
    "x": ("BLOB", "", [b"", b"\0", b"abc", b"\xff\x00", b"ABC"]),
}
FIELDS = tuple(
    Field(
        name,
        candidates(Column(name, declared))[0].kind,
        collation,
        affinity=affinity(declared),
    )
    for name, (declared, collation, _) in COLUMNS.items()
)
RELATION = Relation(TableName("public", "t"), FIELDS)
ROWS = 40

LITERALS = [
    *("NULL", "0", "1", "2", "-1", "5", "9223372036854775807", "-9223372036854775808", "0x10"),
    *("0.0", "0.5", "1.0", "0.1", "1e10", "-2.25"),
    *("''", "'a'", "'A'", "'b'", "'5'", "' 5 '", "'0.5'", "'ä'", "'a\\b'", "'it''s'"),
    *("'2020-01-01'", "'2020-01-01 00:00:00'", "x''", "x'616263'", "TRUE", "FALSE"),
]


def rows() -> list[tuple[Any, ...]]:
    """Boundary values of all columns, each met with many others; some rows with NULLs."""
    chance = random.Random(1)
    result = []
    for number in range(ROWS):
        row = [values[number % len(values)] for _, _, values in COLUMNS.values()]
        if number >= 15:
            row = [chance.choice(values) for _, _, values in COLUMNS.values()]
        if number % 5 == 4:
            row = [None if chance.random() < 0.4 else value for value in row]
        result.append(tuple(row))
    return [*result, tuple(None for _ in COLUMNS)]


def stored(value: Any, kind: Kind) -> Any:
    """A value as it is ferried over, for psycopg."""
    if value is None:
        return None
    match kind.name:
        case "bool":
            return bool(value)
        case "numeric" | "decimal":
            return Decimal(repr(value))
    return value


def fill(lite: sqlite3.Connection, server: psycopg.Connection[Any]) -> None:
    definitions = [
        f"{name} {declared}{f' COLLATE {collation}' if collation else ''}"
        for name, (declared, collation, _) in COLUMNS.items()
    ]
    lite.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(definitions)})")
    marks = ", ".join("?" for _ in COLUMNS)
    lite.executemany(f"INSERT INTO t VALUES (NULL, {marks})", rows())
    types = ", ".join(f"{quote(f.name)} {type_for(f.kind)}" for f in FIELDS)
    server.execute(f"CREATE TABLE t (id serial PRIMARY KEY, {types})".encode())
    names = ", ".join(quote(f.name) for f in FIELDS)
    values = ", ".join(f"%s::{type_for(f.kind)}" for f in FIELDS)
    with server.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO t ({names}) VALUES ({values})".encode(),
            [[stored(v, f.kind) for v, f in zip(row, FIELDS, strict=True)] for row in rows()],
        )


class Both:
    """One table in both databases."""

    def __init__(self, lite: sqlite3.Connection, server: psycopg.Connection[Any]) -> None:
        self.lite = lite
        self.server = server

    def differences(self, pairs: list[tuple[str, str]]) -> list[str]:
        """Where expressions give different results: what SQLite is asked and what PostgreSQL."""
        found = []
        for start in range(0, len(pairs), 100):
            some = pairs[start : start + 100]
            asked = self.lite.execute(
                f"SELECT {', '.join(f'({text})' for text, _ in some)} FROM t ORDER BY id"
            ).fetchall()
            query = f"SELECT {', '.join(f'({sql})' for _, sql in some)} FROM t ORDER BY id"
            answered = self.server.execute(query.encode()).fetchall()
            for number, (ours, theirs) in enumerate(zip(asked, answered, strict=True), 1):
                for (text, sql), a, b in zip(some, ours, theirs, strict=True):
                    if not same(a, b):
                        found.append(f"{text} in row {number}: {a!r}; {sql}: {b!r}")
        return found


def same(lite: Any, server: Any) -> bool:
    """Whether two results are the same value, as it is ferried over."""
    if lite is None or server is None:
        return lite is server
    match server:
        case bool() | int():
            return isinstance(lite, int | float) and lite == server
        case float():
            return isinstance(lite, int | float) and lite == server
        case Decimal():
            return isinstance(lite, int | float) and Decimal(repr(lite)) == server
        case bytes():
            return bool(lite == server)
        case datetime.datetime():
            return bool(datetime.datetime.fromisoformat(lite) == server)
        case datetime.time():
            return bool(datetime.time.fromisoformat(lite) == server)
        case datetime.date() | uuid.UUID():
            return bool(lite == str(server))
    return bool(lite == server)


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    name = f"agree_{random.SystemRandom().randrange(10**9)}"
    server.run(f"CREATE DATABASE {name} TEMPLATE template0")
    url = re.sub(r"/postgres\?", f"/{name}?", server.url)
    try:
        with (
            closing(sqlite3.connect(":memory:")) as lite,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            # The tests ask the same of tables that change.
            connection.prepare_threshold = None
            connection.adapters.register_loader("json", TextLoader)
            fill(lite, connection)
            yield Both(lite, connection)
    finally:
        server.run(f"DROP DATABASE {name} WITH (FORCE)")


def translated(text: str) -> str | None:
    """An expression in PostgreSQL, None where it is left behind."""
    try:
        return Translator(Columns(RELATION)).term(parse_expression(text)).sql
    except Untranslatable:
        return None


def checked(text: str) -> str:
    """An expression that has to be translated."""
    return Translator(Columns(RELATION)).term(parse_expression(text)).sql


# ---- every operator between values of every kind ------------------------------------------------

OPERATORS = [
    *("=", "<>", "<", "<=", ">", ">=", "IS", "IS NOT", "AND", "OR"),
    *("&", "|", "+", "-", "*", "/", "%", "||", "LIKE", "NOT LIKE"),
]
# Sums and products of these do not leave 64 bits or a double's range, where PostgreSQL raises.
WIDE = frozenset({"i", "h", "9223372036854775807", "-9223372036854775808"})


def test_operators_agree_for_all_kinds(both: Both) -> None:
    atoms = [*COLUMNS, *LITERALS]
    pairs = []
    for operator in OPERATORS:
        for left, right in itertools.product(atoms, atoms):
            if left not in COLUMNS and right not in COLUMNS:
                continue
            if operator in ("+", "-", "*", "/") and {left, right} & WIDE:
                continue
            text = f"{left} {operator} {right}"
            sql = translated(text)
            if sql is not None:
                pairs.append((text, sql))
    # What is left behind is less than what is translated only where kinds differ.
    assert len(pairs) > 3000
    assert both.differences(pairs) == []


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM", "BINARY"])
def test_collations_agree(both: Both, collation: str) -> None:
    texts = ["s", "z", "p", "q", "'A'", "'a '", "'ä'"]
    pairs = [
        (text, checked(text))
        for left, right in itertools.product(texts, texts)
        for operator in ("=", "<>", "<", ">=", "IS", "IS NOT")
        for text in (
            f"{left} COLLATE {collation} {operator} {right}",
            f"{left} {operator} {right} COLLATE {collation}",
        )
    ]
    pairs += [
        (text, checked(text))
        for text in (
            f"s COLLATE {collation} BETWEEN p AND z",
            f"s COLLATE {collation} IN (p, 'A', 'b ')",
            f"CASE s COLLATE {collation} WHEN p THEN 1 WHEN q THEN 2 ELSE 3 END",
        )
    ]
    assert both.differences(pairs) == []


def test_random_expressions_agree(both: Both) -> None:
    """Deeper ones: operators, conditions and functions in one another."""
    chance = random.Random(7)
    pairs = translated_pairs(1000, lambda: _random_expression(chance, 3), translated)
    assert both.differences(pairs) == []


def _random_expression(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.15:
        names = [name for name in COLUMNS if name not in WIDE and name not in ("f", "g")]
        return chance.choice([*names, *names, *(lit for lit in LITERALS if lit not in WIDE)])
    a, b, c = (_random_expression(chance, depth - 1) for _ in range(3))
    return chance.choice(
        [
            f"{a} {chance.choice(OPERATORS[:10])} {b}",
            f"{a} {chance.choice(OPERATORS[:10])} {b}",
            f"({a} {chance.choice(['=', '<', 'AND', '+', '-', '||'])} {b})",
            f"NOT {a}",
            f"({a}) IS NULL",
            f"coalesce({a}, {b})",
            f"CASE WHEN {a} THEN {b} ELSE {c} END",
            f"CASE {a} WHEN {b} THEN {c} END",
            f"({a}) BETWEEN ({b}) AND ({c})",
            f"({a}) IN ({b}, {c})",
            f"nullif({a}, {b})",
            f"max({a}, {b})",
            f"iif({a}, {b}, {c})",
            f"length({a})",
            f"upper({a})",
            f"substr({a}, {b}, {c})",
            f"typeof({a})",
            f"CAST({a} AS {chance.choice(['TEXT', 'INTEGER', 'REAL', 'NUMERIC'])})",
        ]
    )


# ---- single constructs --------------------------------------------------------------------------

EXPRESSIONS = [
    *("NOT i", "-k", "-f", "-n", "-t", "~k", "~t", "+s", "NOT t", "NOT f", "NOT n", "- - k"),
    *("k << 3", "k >> 1", "i >> 63", "t << 1", "k << 0"),
    *("i ISNULL", "i NOTNULL", "s NOT NULL", "js IS NULL", "NULL IS i", "NULL IS NOT s"),
    *("t IS TRUE", "t IS NOT TRUE", "k IS FALSE", "f IS NOT FALSE", "n IS TRUE"),
    *("t IS 1", "t = TRUE", "k = TRUE", "t + w", "t AND w", "t < w", "t = w", "t - 1 = 0"),
    *("i IN (0, 1, NULL)", "s IN ('a', 'b')", "s NOT IN ('a', NULL)", "t IN (0, 1)", "t IN (1)"),
    *("d IN ('2020-01-01', '1999-12-31')", "n IN (0.1, 1, 2)", "k IN (l, 2)", "p IN ('A', s)"),
    *("x IN (x'616263', x'')", "u IN ('00000000-0000-0000-0000-000000000000')"),
    *("k BETWEEN -1 AND 5", "k NOT BETWEEN l AND 7", "s BETWEEN 'a' AND 'b'", "f BETWEEN 0 AND 1"),
    *("n BETWEEN 0 AND 0.3", "d BETWEEN '2020-01-01' AND '2020-12-31'", "i BETWEEN 0 AND '7'"),
    *("CASE WHEN k > 0 THEN 'p' WHEN k = 0 THEN 'z' END", "CASE k WHEN 1 THEN s ELSE z END"),
    *("CASE WHEN t THEN k ELSE f END", "CASE WHEN t THEN n ELSE k END", "CASE t WHEN 1 THEN 2 END"),
    *("CASE s WHEN 'a' THEN d ELSE e END", "CASE WHEN t THEN d ELSE '2020-01-01' END"),
    *(
        "CASE WHEN t THEN d ELSE s END",
        "CASE WHEN t THEN u ELSE s END",
        "CASE WHEN s = 'a' THEN t ELSE 0 END",
    ),
    *("CASE WHEN t THEN i ELSE 0.5 END", "CASE WHEN t THEN js ELSE s END"),
    *("coalesce(k, l, 0)", "coalesce(s, z, 'none')", "coalesce(t, 0)", "coalesce(f, 0)"),
    *("coalesce(n, 0)", "coalesce(d, e)", "ifnull(k, f)", "ifnull(s, '')", "coalesce(i, f)"),
    *("CASE WHEN k THEN NULL END = 1", "coalesce(NULL, NULL) = 1", "nullif(NULL, 1) IS NULL"),
    *("nullif(k, 0)", "nullif(s, '')", "nullif(p, 'A')", "nullif(f, 0.5)", "nullif(d, e)"),
    *("nullif(n, 1)", "nullif(t, 0)", "nullif(k, l)", "nullif(f, k)"),
    *("iif(k > 0, s, z)", "iif(t, k, l)", "iif(n, 1, 0)"),
    *("min(k, l)", "max(k, l, 3)", "max(s, z)", "min(s, 'b')", "max(k, f)", "min(n, f)"),
    *("max(i, f)", "max(d, e)", "min(m, n, k)", "max(k, NULL)", "min(d, '2020-01-01')"),
    *("abs(k)", "abs(f)", "abs(n)", "abs(m)", "abs(t)", "abs(NULL)"),
    *("round(f)", "round(g)", "round(h)", "round(f, 0)", "round(k)", "round(k, 2)"),
    *("length(s)", "length(z)", "length(x)", "length(k)", "length(d)", "length(u)", "length(js)"),
    *("length(t)", "length(NULL)"),
    *("lower(s)", "upper(s)", "lower(z)", "upper(z)", "upper(u)", "lower(d)", "upper(k)"),
    *(
        "trim(s)",
        "ltrim(s)",
        "rtrim(s)",
        "trim(z, 'aB')",
        "ltrim(z, 'a-')",
        "rtrim(q)",
        "trim(q, '')",
    ),
    *("rtrim(z, ' ')", "trim(s, z)"),
    *("substr(s, 1, 1)", "substr(s, 2)", "substr(z, 2, 3)", "substr(z, 1, 0)", "substring(z, 3)"),
    *("substr(z, -2)", "substr(z, l)", "substr(s, 1, k)", "substr(z, 1, instr(z, '@') - 1)"),
    *("substr(z, instr(z, '@') + 1)", "substr(d, 1, 4)"),
    *("substr(z, 0)", "substr(z, length(s) + 1, 2)", "substr(z, abs(l) % 4 + 1, 1)"),
    *("substr(s, NULL)", "substr(s, 1, NULL)"),
    *("replace(s, 'a', 'xy')", "replace(s, '', 'x')", "replace(z, s, 'q')", "replace(s, 'a', k)"),
    *("instr(s, 'b')", "instr(s, '')", "instr(z, s)", "instr('', '')", "instr(s, '\\')"),
    *("hex(x)", "hex(s)", "hex(z)", "hex(k)", "hex(NULL)"),
    *("typeof(i)", "typeof(s)", "typeof(f)", "typeof(t)", "typeof(x)", "typeof(d)", "typeof(NULL)"),
    *("typeof(k + 1) = 'integer'", "typeof(f * 2)", "typeof(i) IN ('integer', 'null')"),
    *("coalesce(json_valid(js), 0)", "likely(k > 0)", "unlikely(s)"),
    *("CAST(k AS INTEGER)", "CAST(t AS INT)", "CAST(f AS INTEGER)", "CAST(h AS INTEGER)"),
    *("CAST(n AS INTEGER)", "CAST(g AS BIGINT)", "CAST(k AS TEXT)", "CAST(t AS TEXT)"),
    *("CAST(s AS TEXT) = 'a'", "CAST(p AS TEXT) = 'AB'", "CAST(d AS TEXT)", "CAST(u AS TEXT)"),
    *("CAST(k AS REAL)", "CAST(n AS REAL)", "CAST(m AS DOUBLE PRECISION)", "CAST(t AS REAL)"),
    *("CAST(f AS NUMERIC)", "CAST(k AS NUMERIC)", "CAST(m AS DECIMAL(10, 2))", "CAST(s AS BLOB)"),
    *("CAST(x AS BLOB)", "CAST(NULL AS TEXT)", "CAST(k AS TEXT) = 5", "CAST(i AS REAL)"),
    *("CAST(strftime('%Y', d) AS INTEGER) - 1", "CAST(k AS TEXT) || s"),
    *("s || z", "s || k", "k || l", "s || NULL", "d || 'x'", "t || s", "u || ''", "s || z || p"),
    *(
        "date(d)",
        "date(ts)",
        "datetime(d)",
        "datetime(ts)",
        "date('2020-05-06')",
        "datetime(ts) || ''",
    ),
    *("datetime('1997-01-01')", "datetime('1997-01-01 12:30:00')", "date('1997-01-01 12:30:00')"),
    *("datetime(d) = '2020-01-01 00:00:00'", "date(ts) = d", "date(ts) < '2020-01-01'"),
    *("strftime('%Y', d)", "strftime('%m', d)", "strftime('%d', ts)", "strftime('%H:%M:%S', ts)"),
    *("strftime('%Y-%m', ts)", "strftime('%j', d)", "strftime('%w', d)", "strftime('%s', d)"),
    *("strftime('%s', ts)", "strftime('%Y-W''%%x', d)", "strftime('%H', d)"),
    *("strftime('%Y', '2020-05-06')", "strftime('%Y', ts) = '2020'", "strftime('%S', d)"),
    *(
        "strftime('%Y-%m-%d %H', tz)",
        "date(tz)",
        "datetime(tz)",
        "strftime('%s', tz)",
        "tz IS NULL",
    ),
    *("tz = '2020-01-01 00:00:00+00:00'", "ti >= '12:30:00'", "ti = '23:59:59.5'", "ti IS ti"),
    *("julianday(d)", "julianday(d) - julianday(e)", "julianday('2020-05-06')"),
    *("d < e", "d = e", "d < '2020-01-01'", "d >= '1999-12-31'", "'2020-01-01' <= d", "d = s"),
    *("ts >= '2020-01-01'", "ts < '2020-01-01'", "ts > '2020-01-01 00:00:00'", "'2020-01-01' > ts"),
    *("ts = '2020-02-29 12:30:15.25'", "u = '00000000-0000-0000-0000-000000000000'", "u = s"),
    *("js = '[]'", "js <> s", "js <> z", "x = x'616263'", "x < x'61'", "s = 5", "s <> 0", "s = 1"),
    *("i = '5'", "i > '0.5'", "n = '0.1'", "f = ' 1.0 '", "i = 0.5", "i < 0.5", "i > f", "i = h"),
    *("i < h", "i = f", "h > i", "n = f", "n < f", "m > f", "n = m", "m >= 0.1", "n = 0.1"),
    *("n + 1 = 2", "n + m > 0", "n * f", "m * k > 10", "m - 0.1 = 0", "f / n", "n / f", "k / f"),
    *("k / l", "k % l", "k / 0", "k % 0", "f / 0", "7 / k", "-7 / 2", "-7 % 3", "7 / -2", "5 / 2"),
    *("1 + 2 * 3", "2147483647 + 1", "l * 2", "l + l", "i = -9223372036854775808", "i > 0x7f"),
    *("0.1 + 0.2 = 0.3", "f + g", "f * g", "f - g", "f / g", "l * f", "-9223372036854775808"),
    *("1e3", "1.", ".5", "0xff", "TRUE", "FALSE", "NULL", "x'00ff'"),
    *('"s" = "a"', "[s] = `z`", "t.s = 'a'", '"t"."s"', "T.S", "s = 'a' -- comment\n"),
    *("s /* a comment */ = 'a'", "NOT s = 'a' AND k > 0 OR t", "k = l = t", "k < l < 2"),
    *(
        "k = 1 IN (0, 1)",
        "k & 1 = 1",
        "k | l & 3",
        "(k + 1) || s",
        "-k || s",
        "NOT k BETWEEN 0 AND 3",
    ),
]


def test_expressions_agree(both: Both) -> None:
    assert both.differences([(text, checked(text)) for text in EXPRESSIONS]) == []


# ---- patterns -----------------------------------------------------------------------------------

LIKES = [
    "",
    "a",
    "A%",
    "%b",
    "_",
    "__",
    "%",
    "a%b",
    "a\\b",
    "ä",
    "Ä%",
    "%@%.%",
    "a_b",
    "[",
    "%%",
    "İ",
]
GLOBS = [
    *("", "*", "a*", "A*", "?", "??", "*b", "[a-c]*", "[^a-c]*", "*[^0-9]*", "[A-Z]*", "*[@.]*"),
    *("a[%]b", "a\\b", "[]]", "[^]]*", "[]-a]*", "[a-]*", "[-a]*", "*$", "^*", "(a|b)", "a+", "ä"),
    *(
        "[ä-ü]*",
        "日?",
        "[日]*",
        "*.org",
        "[\\]*",
        "a\\*",
        "[^ -~]*",
        "*[^ -~]*",
        "{a}",
        "[a-c-e]*",
        "[[]",
    ),
    *("[^^]*", "a.c", "'", "[*]", "[?]*", "*[ ]*", "*😀*", "[😀]"),
]


def test_like_agrees(both: Both) -> None:
    pairs = []
    for column, pattern in itertools.product(("s", "z", "p", "q", "k", "d", "u"), LIKES):
        for operator in ("LIKE", "NOT LIKE"):
            text = f"{column} {operator} '{pattern}'"
            pairs.append((text, checked(text)))
    for text in (
        *("s LIKE z", "z LIKE s", "p LIKE '%' || s", "s LIKE 'a!%b' ESCAPE '!'", "s LIKE NULL"),
        *("s LIKE 'a\\%b' ESCAPE '\\'", "s LIKE '%!!%' ESCAPE '!'", "s LIKE 'A!_%' ESCAPE '!'"),
    ):
        pairs.append((text, checked(text)))
    assert both.differences(pairs) == []


def test_glob_agrees(both: Both) -> None:
    pairs = []
    for column, pattern in itertools.product(("s", "z", "p", "k", "d"), GLOBS):
        text = f"{column} GLOB '{pattern.replace(chr(39), chr(39) * 2)}'"
        pairs.append((text, checked(text)))
    # Every pattern over many subjects, newlines among them.
    subjects = [
        "",
        "a",
        "b",
        "ab",
        "]",
        "[",
        "-",
        "^",
        "\\",
        "*",
        "a\nb",
        "\n",
        "é",
        "😀",
        "a.c",
        "abc",
    ]
    for subject, pattern in itertools.product(subjects, GLOBS):
        written = pattern.replace("'", "''")
        text = f"coalesce(s, '') || '{subject}' GLOB '{written}'"
        pairs.append((text, checked(text)))
        text = f"substr('{subject}', 1) GLOB '{written}'"
        pairs.append((text, checked(text)))
    assert both.differences(pairs) == []


# ---- what PostgreSQL takes where ----------------------------------------------------------------


def test_terms_can_be_indexed_checked_and_generated(both: Both) -> None:
    both.server.execute("CREATE TABLE e (LIKE t)")
    count = 0
    for text in EXPRESSIONS:
        try:
            both.server.execute(f"CREATE INDEX ON e ({translate_index_term(text, E)})".encode())
            count += 1
        except Untranslatable:
            pass
        try:
            predicate = translate_predicate(text, E)
            both.server.execute(f"CREATE INDEX ON e (i) WHERE {predicate}".encode())
            check = translate_check(text, E)
            both.server.execute(f"ALTER TABLE e ADD CHECK ({check})".encode())
        except Untranslatable:
            pass
    assert count > 250


E = Relation(TableName("public", "e"), FIELDS, "t")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("INTEGER", "k + l"),
        ("INTEGER", "t"),
        ("INTEGER", "length(z)"),
        ("INTEGER", "strftime('%Y', d)"),
        ("TEXT", "s || ' ' || z"),
        ("TEXT", "k"),
        ("TEXT", "lower(p)"),
        ("TEXT", "d"),
        ("TEXT", "datetime(ts)"),
        ("BOOLEAN", "k > 0"),
        ("REAL", "f * 2"),
        ("REAL", "k"),
        ("REAL", "n * f"),
        ("NUMERIC", "n"),
        ("NUMERIC", "m * l"),
        ("NUMERIC", "f"),
        ("DECIMAL(12,2)", "m"),
        ("DATE", "date(ts)"),
        ("DATETIME", "datetime(ts)"),
        ("BLOB", "x"),
        ("UUID", "u"),
    ],
)
def test_generated_columns_agree(both: Both, declared: str, text: str) -> None:
    kind = candidates(Column("a", declared))[0].kind
    sql = translate_generated(text, RELATION, kind)
    both.server.execute(
        f"ALTER TABLE t ADD COLUMN a {type_for(kind)} GENERATED ALWAYS AS ({sql}) STORED".encode()
    )
    both.lite.execute(f"ALTER TABLE t ADD COLUMN a {declared} AS ({text})")
    try:
        assert both.differences([("a", '"a"')]) == []
    finally:
        both.server.execute("ALTER TABLE t DROP COLUMN a")
        both.lite.execute("ALTER TABLE t DROP COLUMN a")


@pytest.mark.parametrize(
    ("text", "collation"),
    [("s", "NOCASE"), ("p", ""), ("z", "RTRIM"), ("q", ""), ("s || z", "NOCASE"), ("lower(s)", "")],
)
def test_unique_terms_agree(both: Both, text: str, collation: str) -> None:
    """As many values differ under a term as under the collation in SQLite."""
    term = translate_index_term(text, RELATION, collation)
    written = f"{text} COLLATE {collation}" if collation else text
    counted = both.lite.execute(f"SELECT count(DISTINCT {written}) FROM t").fetchall()
    assert (
        both.server.execute(f"SELECT count(DISTINCT {term}) FROM t".encode()).fetchall() == counted
    )


# ---- defaults -----------------------------------------------------------------------------------

DEFAULTS = [
    *[
        ("INTEGER", text)
        for text in ("0", "-1", "+5", "'7'", "(1 + 2 * 3)", "0x1F", "NULL", "TRUE")
    ],
    *[("INTEGER", text) for text in ("5.0", "(60 * 60)", "- 3", "9223372036854775807", "(7 / 2)")],
    ("INTEGER", "-9223372036854775808"),
    *[("BOOLEAN", text) for text in ("0", "1", "TRUE", "false", "'1'", "NULL", "(1 = 1)")],
    *[("REAL", text) for text in ("0", "1.5", "'2.5'", "-0.1", "1e300", "(1 / 2.0)", "3", ".5")],
    *[("NUMERIC", text) for text in ("0", "0.1", "'1.50'", "1e3", "-2.25", "1e-7")],
    *[("DECIMAL(10,2)", text) for text in ("0", "9.99", "'1.50'", "-0.25")],
    *[("TEXT", text) for text in ("''", "'it''s'", '"double"', "'a\\b'", "0", "-5", "1.5", "word")],
    *[("TEXT", text) for text in ("'äöü😀'", "('a' || 'b')", "NULL", "TRUE", "(lower('ABC'))")],
    *[("TEXT", text) for text in ("'{}'", "'%s'", "'a\nb'", "(3 + 4)", "'$1'", "(hex('ab'))")],
    *[("BLOB", text) for text in ("x''", "X'00FF'", "NULL")],
    *[("DATE", text) for text in ("'2020-01-01'", "NULL", "(date('2020-02-29'))")],
    *[("DATETIME", text) for text in ("'2020-01-01 12:30:00'", "(datetime('1997-01-01'))")],
    *[("TIME", text) for text in ("'12:30:00'",)],
    *[("JSON", text) for text in ("'{}'", "'[1, 2]'")],
    *[("UUID", text) for text in ("'00000000-0000-0000-0000-000000000000'",)],
    *[("VARCHAR(3)", text) for text in ("'abc'",)],
]


def default_values(both: Both, declared: str, text: str) -> tuple[Any, Any]:
    """What a column of this default holds in a new row of both."""
    kind = candidates(Column("a", declared))[0].kind
    both.lite.execute("DROP TABLE IF EXISTS o")
    both.lite.execute(f"CREATE TABLE o (id INTEGER, a {declared} DEFAULT {text})")
    ((given,),) = both.lite.execute(
        "SELECT dflt_value FROM pragma_table_xinfo('o') WHERE name = 'a'"
    ).fetchall()
    sql = translate_default(given, kind)
    both.server.execute("DROP TABLE IF EXISTS o")
    both.server.execute(f"CREATE TABLE o (id integer, a {type_for(kind)} DEFAULT {sql})".encode())
    for connection in (both.lite, both.server):
        connection.execute("INSERT INTO o (id) VALUES (1)")
    lite = both.lite.execute("SELECT a FROM o").fetchall()[0][0]
    server = both.server.execute("SELECT a FROM o").fetchall()[0][0]
    return lite, server


@pytest.mark.parametrize(("declared", "text"), DEFAULTS)
def test_defaults_agree(both: Both, declared: str, text: str) -> None:
    lite, server = default_values(both, declared, text)
    if declared == "JSON":
        server = both.server.execute("SELECT a::text FROM o").fetchall()[0][0]
    assert same(lite, server), (lite, server)


CLOCKS = [
    *[
        ("TEXT", text)
        for text in (
            *("CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME", "(datetime('now'))"),
            *("(date('now'))", "(time('now'))", "(strftime('%Y-%m-%d %H:%M:%S', 'now'))"),
            *("(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", "(strftime('%s', 'now'))"),
            *("(strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))", "(strftime('%d.%m.%Y', 'now'))"),
            *(
                "(strftime('Y\"x\\y %j', 'now'))",
                "(date())",
            ),
        )
    ],
    ("DATETIME", "CURRENT_TIMESTAMP"),
    ("DATETIME", "(datetime('now'))"),
    ("DATETIME", "(strftime('%Y-%m-%d %H:%M:%f', 'now'))"),
    ("DATE", "CURRENT_DATE"),
    ("DATE", "(date('now'))"),
    ("TIME", "CURRENT_TIME"),
    ("INTEGER", "(strftime('%s', 'now'))"),
    ("INTEGER", "(unixepoch())"),
    ("INTEGER", "(unixepoch('now'))"),
    ("REAL", "(julianday('now'))"),
    ("TIMESTAMPTZ", "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"),
]


@pytest.mark.parametrize(("declared", "text"), CLOCKS)
def test_defaults_of_this_moment_agree(both: Both, declared: str, text: str) -> None:
    # The time zone of a session must not matter.
    both.server.execute("SET timezone = 'Asia/Kolkata'")
    for _ in range(3):
        lite, server = default_values(both, declared, text)
        if _moments_apart(lite, server) <= 2:
            return
        time.sleep(0.1)
    pytest.fail(f"{lite!r} and {server!r}")


def _moments_apart(lite: Any, server: Any) -> float:
    """Seconds between two values of a clock, infinite where they are spelled differently."""
    if isinstance(server, str):
        shape = re.sub(r"[0-9]", "9", lite)
        if shape != re.sub(r"[0-9]", "9", server):
            return float("inf")
        return 0 if re.sub(r"[^0-9]", "", lite)[:8] == re.sub(r"[^0-9]", "", server)[:8] else 9
    if isinstance(server, int | float):
        seconds = 86400 if isinstance(server, float) else 1
        return abs(float(lite) - server) * seconds
    if isinstance(server, datetime.datetime):
        written = datetime.datetime.fromisoformat(lite)
        return abs((written - server).total_seconds())
    return 0 if lite[:5] == str(server)[:5] else 9


RANDOMS = [
    ("(lower(hex(randomblob(4))))", r"[0-9a-f]{8}"),
    ("(hex(randomblob(16)))", r"[0-9A-F]{32}"),
    ("(lower(hex(randomblob(7))))", r"[0-9a-f]{14}"),
    ("(lower(hex(randomblob(1))) || 'x')", r"[0-9a-f]{2}x"),
    (
        "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || "
        "substr(lower(hex(randomblob(2))), 2) || '-' || "
        "substr('89ab', abs(random()) % 4 + 1, 1) || "
        "substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))",
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    ),
]


@pytest.mark.parametrize(("text", "shape"), RANDOMS)
def test_random_defaults_have_the_same_shape(both: Both, text: str, shape: str) -> None:
    lite, server = default_values(both, "TEXT", text)
    assert re.fullmatch(shape, lite)
    assert re.fullmatch(shape, server)


def test_random_bytes_are_random_in_every_bit(both: Both) -> None:
    sql = translate_default("hex(randomblob(16))", kinds.TEXT)
    both.server.execute(f"CREATE TABLE r (id integer, a text DEFAULT {sql})".encode())
    both.server.execute("INSERT INTO r (id) SELECT generate_series(1, 400)")
    values = [bytes.fromhex(a) for (a,) in both.server.execute("SELECT a FROM r").fetchall()]
    assert len(set(values)) == 400
    assert all(len(value) == 16 for value in values)
    for bit in range(128):
        ones = sum(int.from_bytes(value) >> bit & 1 for value in values)
        # Ten standard deviations of a fair coin.
        assert 100 < ones < 300


def test_random_integers_take_all_64_bits(both: Both) -> None:
    sql = translate_default("random()", kinds.INT)
    query = f"SELECT {sql} FROM generate_series(1, 400)"
    values = [value for (value,) in both.server.execute(query.encode()).fetchall()]
    assert len(set(values)) == 400
    for bit in range(64):
        assert 100 < sum(value >> bit & 1 for value in values) < 300


# ---- views --------------------------------------------------------------------------------------

VIEWS = [
    "SELECT * FROM t",
    'SELECT id, s AS "the s", z z2, i + 0.5 FROM t',
    "SELECT t.*, 1 AS one FROM t WHERE k > 0",
    "SELECT a.id, b.id AS other FROM t a JOIN t b ON a.k = b.l",
    "SELECT a.id, b.id AS other FROM t a LEFT JOIN t b ON a.l = b.k AND b.t WHERE a.id < 20",
    "SELECT a.id, b.id AS other FROM t AS a, t AS b WHERE a.s = b.z",
    "SELECT a.id, b.s FROM t a CROSS JOIN t b WHERE a.id = b.id",
    "SELECT id, a.s, b.z FROM t a JOIN t b USING (id)",
    "SELECT * FROM (SELECT id, s FROM t) a JOIN (SELECT id, z FROM t) b USING (id)",
    "SELECT * FROM (SELECT id, s FROM t) a LEFT JOIN (SELECT id, z FROM t WHERE t) b USING (id)",
    "SELECT a.id FROM t a, t b JOIN t c ON c.id = a.id WHERE b.id = a.id",
    "SELECT DISTINCT s, t FROM t",
    "SELECT DISTINCT s FROM t ORDER BY s",
    "SELECT s, count(*) AS n, count(k) AS c, sum(k) AS total FROM t GROUP BY s",
    "SELECT s, count(*) FROM t GROUP BY 1 HAVING count(*) > 2",
    "SELECT upper(s) AS big, max(k), min(z), max(d), min(f), max(n) FROM t GROUP BY upper(s)",
    "SELECT upper(s) AS big, count(DISTINCT k), sum(DISTINCT k) FROM t GROUP BY big",
    "SELECT avg(k) AS a, avg(l) AS b, total(k) AS c, sum(l) AS d, sum(t) AS e, avg(t) FROM t",
    "SELECT avg(DISTINCT k) AS a, count(DISTINCT s) AS b, min(t), max(t) FROM t",
    "SELECT sum(k) AS s, total(k) AS t, avg(k) AS a, count(*), max(s) FROM t WHERE id < 0",
    "SELECT count(*) + 1 AS n, max(k) - min(k) AS span FROM t",
    "SELECT k, CASE WHEN count(*) > 1 THEN 'many' ELSE 'one' END AS many FROM t GROUP BY k",
    "SELECT k + 1 AS next, count(*) AS n FROM t GROUP BY k + 1 ORDER BY next",
    "SELECT id, s FROM t ORDER BY s, id",
    "SELECT id, s FROM t ORDER BY s DESC, id DESC LIMIT 10",
    "SELECT id, k FROM t ORDER BY k NULLS LAST, id LIMIT 7 OFFSET 3",
    "SELECT id, p FROM t ORDER BY p, id",
    "SELECT id, q FROM t ORDER BY 2, 1 DESC",
    "SELECT id, f AS v FROM t ORDER BY v, id LIMIT 5, 20",
    "SELECT id, s FROM t ORDER BY length(s) DESC, t, d, id",
    "SELECT s FROM t UNION SELECT z FROM t ORDER BY s",
    "SELECT s, k FROM t UNION ALL SELECT z, l FROM t ORDER BY 1, 2",
    "SELECT p FROM t UNION ALL SELECT p FROM t ORDER BY p LIMIT 3",
    "SELECT s FROM t EXCEPT SELECT z FROM t",
    "SELECT k FROM t UNION SELECT l FROM t INTERSECT SELECT i FROM t",
    "SELECT k FROM t UNION ALL SELECT f FROM t WHERE k > 0",
    "SELECT k AS a, 'x' AS b FROM t UNION SELECT 5, s FROM t ORDER BY a, b",
    "SELECT d FROM t UNION SELECT '2020-01-01'",
    "SELECT DISTINCT NULL AS a, NULL AS b FROM t UNION ALL SELECT k, d FROM t",
    "SELECT NULL AS a UNION ALL SELECT k FROM t",
    "WITH c AS (SELECT id, k FROM t WHERE k > 0) SELECT * FROM c WHERE id > 3",
    "WITH c(x, y) AS (SELECT id, k FROM t), d AS (SELECT x FROM c) SELECT y FROM c JOIN d USING(x)",
    "SELECT id FROM t WHERE k IN (SELECT l FROM t WHERE t)",
    "SELECT id FROM t WHERE s NOT IN (SELECT z FROM t WHERE z IS NOT NULL)",
    "SELECT id FROM t AS a WHERE EXISTS (SELECT 1 FROM t AS b WHERE b.s = a.z AND b.id <> a.id)",
    "SELECT id FROM t AS a WHERE NOT EXISTS (SELECT 1 FROM t AS b WHERE b.s = a.z)",
    "SELECT id, (SELECT max(k) FROM t) AS top FROM t WHERE k = (SELECT min(k) FROM t)",
    "SELECT id, (SELECT count(*) FROM t AS b WHERE b.k = a.k) AS same FROM t AS a",
    "SELECT id, (SELECT s FROM t b WHERE b.id < a.id ORDER BY b.id DESC LIMIT 1) AS last FROM t a",
    "SELECT x.* FROM (SELECT id AS number, k * 2 AS twice FROM t) AS x WHERE twice > 2",
    "SELECT twice FROM (SELECT k * 2 AS twice FROM t)",
    "SELECT 1 AS one, 'a' AS a, NULL AS missing, 0.5 AS half, x'00' AS zero",
    "SELECT id FROM t WHERE p = 'ab' OR q = 'a'",
    "SELECT a.id, b.id AS b FROM t a JOIN t b ON a.p = b.s",
    "SELECT k AS s, s AS k FROM t ORDER BY s, k",
    "SELECT id, k * 2 AS double FROM t WHERE double > 4",
    "SELECT t.id FROM main.t",
    'SELECT id, "no such column" FROM t',
    "SELECT js, u, ts, t, n, m, x FROM t WHERE ts >= '2000-01-01'",
    "SELECT count(*) FROM t HAVING count(*) > 3",
    "SELECT t, count(*) FROM t WHERE k IS NOT NULL GROUP BY t ORDER BY count(*), t",
]
VIEW_FIELDS = (Field("id", kinds.INT), *FIELDS)
TABLES = {"t": Relation(TableName("public", "t"), VIEW_FIELDS)}


@pytest.mark.parametrize("select", VIEWS)
def test_views_agree(both: Both, select: str) -> None:
    view = translate_view(select, TABLES)
    both.server.execute("DROP VIEW IF EXISTS v")
    both.server.execute(f"CREATE VIEW v AS {view.sql}".encode())
    both.lite.execute("DROP VIEW IF EXISTS v")
    both.lite.execute(f"CREATE VIEW v AS {select}")
    ordered = "ORDER BY" in select.rpartition(")")[2] or select.endswith("count(*), t")
    assert view_differences(both.lite, both.server, "v", ordered=ordered) == []
    types = both.server.execute(
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute "
        "WHERE attrelid = 'v'::regclass AND attnum > 0 ORDER BY attnum"
    ).fetchall()
    assert [name for name, _ in types] == [field.name for field in view.fields]
    for (name, declared), field in zip(types, view.fields, strict=True):
        wanted = "numeric" if field.kind.name == "decimal" else type_for(field.kind)
        if field.kind.name == "int":
            assert declared in ("smallint", "integer", "bigint"), name
        else:
            assert declared == re.sub(r"\(.*", "", wanted), name


def view_differences(
    lite: sqlite3.Connection,
    server: psycopg.Connection[Any],
    name: str,
    *,
    ordered: bool = False,
    digits: int = 0,
) -> list[str]:
    """Where a view gives something else; ``digits`` of a sum of doubles have to agree."""
    ours = lite.execute(f"SELECT * FROM {quote(name)}")
    theirs = server.execute(f"SELECT * FROM {quote(name)}".encode())
    assert theirs.description is not None
    assert [c[0] for c in ours.description] == [c.name for c in theirs.description]
    a = [tuple(map(plain, row)) for row in ours.fetchall()]
    b = [tuple(map(plain, row)) for row in theirs.fetchall()]
    if not ordered:
        a, b = sorted(a, key=repr), sorted(b, key=repr)
    if digits:
        a, b = ([tuple(rounded(v, digits) for v in row) for row in side] for side in (a, b))
        a, b = sorted(a, key=repr), sorted(b, key=repr)
    if len(a) != len(b):
        return [f"{len(a)} rows and {len(b)} rows"]
    return [f"{x} and {y}" for x, y in zip(a, b, strict=True) if x != y]


def plain(value: Any) -> Any:
    """A value in one spelling, whichever database it came from."""
    match value:
        case bool():
            return int(value)
        case float() | Decimal():
            exact = Decimal(repr(value)) if isinstance(value, float) else value
            return int(exact) if exact == exact.to_integral_value() else exact.normalize()
        case datetime.datetime():
            return value.replace(tzinfo=value.tzinfo or datetime.UTC).timestamp()
        case datetime.date():
            return plain(datetime.datetime(value.year, value.month, value.day))
        case datetime.time():
            return plain(str(value))
        case uuid.UUID():
            return str(value)
        case str() if re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2}([ T][0-9:.+]+Z?)?", value):
            # A moment is ferried by its instant, however it is spelled.
            return plain(datetime.datetime.fromisoformat(value))
        case str() if re.fullmatch(r"[0-9]{2}(:[0-9]{2}){2}(\.[0-9]+)?", value):
            return value.rstrip("0")
    return value


def rounded(value: Any, digits: int) -> Any:
    return Decimal(f"{value:.{digits}g}") if isinstance(value, Decimal) else value


# ---- a real database ----------------------------------------------------------------------------


@needs_shared
def test_the_views_of_northwind_agree(database: Server) -> None:
    left_behind = {}
    url = f"file:{SHARED / 'northwind.sqlite'}?immutable=1"
    with closing(sqlite3.connect(url, uri=True)) as lite, database.connect() as server:
        relations = _copied(lite, server)
        for name, definition in lite.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'view'"
        ).fetchall():
            select = re.split(r"(?i)\bas\b", definition, maxsplit=1)[1]
            try:
                view = translate_view(select, relations)
            except Untranslatable as refusal:
                left_behind[name] = refusal.reason
                continue
            server.execute(f"CREATE VIEW {quote(name)} AS {view.sql}".encode())
            relations[name.lower()] = Relation(TableName("public", name), view.fields)
            digits = 12 if any(field.approximate for field in view.fields) else 0
            assert view_differences(lite, server, name, digits=digits) == [], name
    assert left_behind == {"Invoices": "the operator + over text is arithmetic in SQLite"}
    assert len(relations) == 13 + 16


def _copied(
    lite: sqlite3.Connection, server: psycopg.Connection[tuple[Any, ...]]
) -> dict[str, Relation]:
    """The tables of a SQLite file, in PostgreSQL."""
    relations = {}
    names = lite.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence'"
    ).fetchall()
    for (name,) in names:
        columns = lite.execute("SELECT name, type FROM pragma_table_xinfo(?)", (name,)).fetchall()
        fields = tuple(
            Field(c, candidates(Column(c, declared))[0].kind, affinity=affinity(declared))
            for c, declared in columns
        )
        relations[name.lower()] = Relation(TableName("public", name), fields)
        types = ", ".join(f"{quote(f.name)} {type_for(f.kind)}" for f in fields)
        server.execute(f"CREATE TABLE {quote(name)} ({types})".encode())
        marks = ", ".join(f"%s::{type_for(f.kind)}" for f in fields)
        with server.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {quote(name)} VALUES ({marks})".encode(),
                [
                    [stored(v, f.kind) for v, f in zip(row, fields, strict=True)]
                    for row in lite.execute(f"SELECT * FROM {quote(name)}").fetchall()
                ],
            )
    return relations


# ---- the parser ---------------------------------------------------------------------------------


def test_expressions_are_read_as_sqlite_reads_them() -> None:
    """An expression with all the parentheses that the parser sees in it has the same value."""
    wrong = []
    with closing(sqlite3.connect(":memory:")) as lite:
        for text in _puzzles():
            try:
                (wanted,) = lite.execute(f"SELECT {text}").fetchone()
            except sqlite3.OperationalError:
                continue
            spelled = _spelled(parse_expression(text))
            if lite.execute(f"SELECT {spelled}").fetchone() != (wanted,):
                wrong.append((text, spelled))
    assert wrong == []


def _puzzles() -> Iterator[str]:
    patterns = [
        *("{a} {o} {b} {p} {c}", "NOT {a} {o} {b} {p} {c}", "-{a} {o} {b} {p} {c}"),
        *("{a} {o} {b} IN (0, 1)", "{a} {o} {b} NOTNULL", "{a} {o} {b} BETWEEN {c} AND {a}"),
        *("{a} BETWEEN {b} AND {c} {p} {b}", "~{a} {o} {b} {p} {c}", "{a} {o} -{b} {p} {c}"),
    ]
    operators = [
        *("=", "<>", "<", ">=", "IS", "IS NOT", "AND", "OR", "+", "-", "*", "/", "%", "||"),
        *("&", "|", "<<", "LIKE", "NOT LIKE"),
    ]
    values = ["0", "2", "NULL"]
    chance = random.Random(3)
    for pattern, o, p in itertools.product(patterns, operators, operators):
        for _ in range(3):
            a, b, c = (chance.choice(values) for _ in range(3))
            yield pattern.format(a=a, b=b, c=c, o=o, p=p)


def _spelled(node: tree.Node) -> str:
    match node:
        case tree.Null():
            return "NULL"
        case tree.Integer(value):
            return str(value)
        case tree.Unary(operator, operand):
            return f"({operator} {_spelled(operand)})"
        case tree.Binary(operator, left, right) | tree.Match(operator, left, right, _):
            return f"({_spelled(left)} {operator} {_spelled(right)})"
        case tree.Between(operand, low, high):
            return f"({_spelled(operand)} BETWEEN {_spelled(low)} AND {_spelled(high)})"
        case tree.InList(operand, items):
            return f"({_spelled(operand)} IN ({', '.join(map(_spelled, items))}))"
    raise AssertionError(node)
