"""Every operator and function of PostgreSQL that is translated gives in SQLite what it gives there.

An expression is written down in PostgreSQL, printed by its catalog, evaluated there over rows of
boundary values, and evaluated as it is translated over the same rows in SQLite: by the library in
the driver, and by Python's, which is an older one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from tests.boundary import (
    COLUMNS,
    FIELDS,
    RELATION,
    Both,
    declared_in_sqlite,
    filled,
    kind_named,
    translated_pairs,
)
from tests.servers import Server

from tableferry.expressions import Untranslatable, translator
from tableferry.sql import quote

TO_SQLITE = translator("postgresql", "sqlite")


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    with filled(server) as opened:
        yield opened


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
    pairs = translated_pairs(600, lambda: _random_expression(chance, 3), both.translated)
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
    *(
        "nu = 0.1",
        "nu > 0.3",
        "nu < m",
        "nu = p",
        "nu >= k",
        "nu = 1.5",
        "nu IN (0.1, 42)",
        "nu < o",
    ),
    *("nu <= b", "greatest(nu, m)", "coalesce(nu, 0)", "nu > 12345678901.5", "nu = nu"),
    *(
        "r > 0.5",
        "r IN (0, 1.5)",
        "r = '0.1'::real",
        "r < '-3.25'::real",
        "r = 0.1::real",
        "-r",
        "abs(r)",
    ),
    *(
        "coalesce(r, 0)",
        "greatest(r, 1.5::real)",
        "r IS DISTINCT FROM 1.5",
        "r <> '16777216'::float8",
    ),
    *("u::text < h", "u::text <> x", "h > u::text", "mo::text >= h", "k::text < h", "t::text > h"),
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
        "r >= 1.5",
        "r = 0",
        "g - 0.5 > 0",
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
    *(
        "r = 0.1",
        "r + g",
        "r * 2::float8",
        "r::float8",
        "r = g",
        "nu + 1",
        "nu * 2 > 1",
    ),
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
