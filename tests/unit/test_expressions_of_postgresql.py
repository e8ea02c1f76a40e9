"""What is translated from PostgreSQL for SQLite, to the letter; what is left behind, and with which
reason; hostile text."""

from __future__ import annotations

import re
import sqlite3
import string
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.expressions import Field, Relation, Untranslatable, View, translator
from tableferry.expressions.nesting import refuse_deep
from tableferry.model import Kind, TableName
from tableferry.sql import quote

SQLITE = translator("postgresql", "sqlite")
MOOD = kinds.native("mood")
FIELDS = (
    Field("id", kinds.INT),
    Field("k", Kind("int", bits=32)),
    Field("Name", kinds.TEXT),
    Field("code", Kind("text", length=10), declared="character varying(10)"),
    Field("ascii", kinds.TEXT, "C"),
    Field("loose", kinds.TEXT, "case_insensitive"),
    Field("real", Kind("float", bits=32), declared="real"),
    Field("double", kinds.FLOAT, declared="double precision"),
    Field("widened", kinds.FLOAT, declared="real"),
    Field("number", Kind("number")),
    Field("price", kinds.decimal(10, 2)),
    Field("big", kinds.decimal(18, 2)),
    Field("much", kinds.NUMERIC),
    Field("active", kinds.BOOL),
    Field("day", kinds.DATE),
    Field("at", kinds.TIMESTAMP),
    Field("zoned", kinds.TIMESTAMPTZ),
    Field("raw", kinds.BYTES),
    Field("doc", kinds.JSON),
    Field("docb", kinds.native("jsonb")),
    Field("key", kinds.UUID),
    Field("mood", MOOD, labels=("sad", "ok")),
    Field("other", kinds.native("colour")),
    Field("flag", kinds.native("character(1)")),
    Field("row id", kinds.INT, original="rowid"),
    Field("merged", kinds.TEXT, mixed=True),
    Field("shown", kinds.native("numeric(30,4)")),
    Field("far", kinds.native("date"), declared="date"),
    Field("was_int", kinds.TEXT, declared="integer"),
)
T = Relation(TableName("main", "t"), FIELDS, original="Tab le", schema="public")
U = Relation(
    TableName("main", "u2"), (Field("id", kinds.INT), Field("t_id", kinds.INT)), "u", "public"
)
KNOWN = {"tab le": T, "u": U}


# ---- to the letter -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("(id > 0)", '("id" > 0)'),
        ("((id > 0) AND (k < '-5'::integer))", '(("id" > 0) AND ("k" < (-5)))'),
        ("(\"Name\" <> ''::text)", "(\"Name\" <> '')"),
        ('("Tab le".id = 1)', '("id" = 1)'),
        ("(rowid = 1)", '("row id" = 1)'),
        ("((code)::text = 'it''s'::text)", "(\"code\" = 'it''s')"),
        (
            "((code)::text = ANY ((ARRAY['a'::character varying, "
            "'b'::character varying])::text[]))",
            "(\"code\" IN ('a', 'b'))",
        ),
        ("(k <> ALL (ARRAY[1, 2, NULL::integer]))", '(NOT ("k" IN (1, 2, NULL)))'),
        ("(k = ANY ('{1,-2}'::integer[]))", '("k" IN (1, (-2)))'),
        ("(mood = 'ok'::mood)", "(\"mood\" = 'ok')"),
        ("(flag = 'y'::bpchar)", "(rtrim(\"flag\", ' ') = rtrim('y', ' '))"),
        ("(price >= 0.50)", '("price" >= 0.5)'),
        ("(price > (0)::numeric)", '("price" > 0)'),
        ("(price > (k)::numeric)", '("price" > "k")'),
        (
            "((price * (k)::numeric) > 0.3)",
            '(((CAST(round("price" * 100.0) AS INTEGER) * "k") / 100.0) > 0.3)',
        ),
        ("(double > (0.1)::double precision)", '("double" > 0.1)'),
        ("(real >= (1.5)::double precision)", '("real" >= 1.5)'),
        ("(real = '0.1'::real)", '("real" = 0.1)'),
        ("(number >= 0.5)", '("number" >= 0.5)'),
        ("(active AND (NOT active))", '("active" AND (NOT "active"))'),
        ("(active = true)", '("active" = 1)'),
        ("(active IS TRUE)", '("active" IS 1)'),
        ("(much IS NULL)", '("much" IS NULL)'),
        ("(docb IS NOT NULL)", '("docb" IS NOT NULL)'),
        ("(id IS DISTINCT FROM k)", '("id" IS NOT "k")'),
        ("(\"Name\" ~~ 'A*\\_%'::text)", "(\"Name\" GLOB 'A[*]_*')"),
        ("(\"Name\" !~~ '%[x]_'::text)", "(NOT (\"Name\" GLOB '*[[]x]?'))"),
        ("(ascii ~~* 'a%'::text)", "(\"ascii\" LIKE 'a%' ESCAPE '\\')"),
        ("(ascii < 'b'::text)", "(\"ascii\" < 'b')"),
        ("(lower(ascii) = 'x'::text)", "(lower(\"ascii\") = 'x')"),
        ("(length((code)::text) > 2)", '(length("code") > 2)'),
        ("(day >= '2020-01-01'::date)", "(\"day\" >= '2020-01-01')"),
        ("(at >= '2020-01-01'::date)", "(\"at\" >= '2020-01-01 00:00:00')"),
        (
            "(zoned < '2020-01-01 03:00:00.50+03'::timestamp with time zone)",
            "(\"zoned\" < '2020-01-01 00:00:00.5+00:00')",
        ),
        (
            "(EXTRACT(year FROM day) > (2000)::numeric)",
            '(CAST(substr("day", 1, 4) AS INTEGER) > 2000)',
        ),
        ("((k / 2) = 1)", '(("k" / 2) = 1)'),
        ("(raw = '\\x00ff'::bytea)", "(\"raw\" = x'00ff')"),
        ("(COALESCE(k, 0) > 1)", '(coalesce("k", 0) > 1)'),
        (
            "(GREATEST(k, (id)::integer) > 1)",
            '(coalesce(max("k", "id"), "k", "id") > 1)',
        ),
        (
            "\nCASE\n    WHEN (k > 0) THEN 'a'::text\n    ELSE NULL::text\nEND IS NULL",
            "((CASE WHEN (\"k\" > 0) THEN 'a' ELSE NULL END) IS NULL)",
        ),
        ("(k = '-9223372036854775808'::bigint)", '("k" = (-9223372036854775807 - 1))'),
    ],
)
def test_checks(text: str, sql: str) -> None:
    assert SQLITE.check(text, T) == sql
    assert SQLITE.predicate(text, T) == sql
    assert is_taken(f"SELECT {sql} FROM t")


@pytest.mark.parametrize(
    ("text", "collation", "sql"),
    [
        ("(k + 1)", "", '("k" + 1)'),
        ('"Name"', "", '("Name")'),
        ('"Name"', "en_US.utf8", '("Name")'),
        ("lower(ascii)", "", '(lower("ascii"))'),
        ('lower("Name")', "C", None),
        ("COALESCE(code, ''::character varying)", "", "(coalesce(\"code\", ''))"),
        ("flag", "", "(rtrim(\"flag\", ' '))"),
        ('"Name"', "case_insensitive", None),
        ("much", "", None),
        ("docb", "", None),
        ("1", "", None),
        ("NULL::text", "", None),
    ],
)
def test_index_terms(text: str, collation: str, sql: str | None) -> None:
    if sql is None:
        with pytest.raises(Untranslatable):
            SQLITE.index_term(text, T, collation)
    else:
        assert SQLITE.index_term(text, T, collation) == sql


@pytest.mark.parametrize(
    ("text", "kind", "sql"),
    [
        ("0", kinds.INT, "0"),
        ("'-1'::integer", kinds.INT, "(-1)"),
        ("0.00", kinds.decimal(10, 2), "0"),
        ("1.005", kinds.decimal(10, 2), "1.01"),
        ("0.10", kinds.decimal(18, 2), "'0.1'"),
        ("0.10", kinds.NUMERIC, "'0.1'"),
        ("1", kinds.NUMERIC, "'1'"),
        (f"{10**40}.123456", kinds.native("numeric(60,2)"), f"'{10**40}.12'"),
        (f"'-{10**40}.5'::numeric", kinds.NUMERIC, f"'-{10**40}.5'"),
        ("0.10", Kind("number"), "0.1"),
        ("0.1", Kind("float", bits=32), "0.1"),
        ("true", kinds.BOOL, "1"),
        ("'x'::text", kinds.TEXT, "'x'"),
        ("'abc'::character varying", Kind("text", length=3), "'abc'"),
        ("5", kinds.TEXT, "'5'"),
        ("NULL::character varying", kinds.TEXT, "NULL"),
        ("'{}'::jsonb", kinds.native("jsonb"), "'{}'"),
        ("'{}'::text[]", kinds.native("text[]"), "'{}'"),
        ("ARRAY[]::integer[]", kinds.native("integer[]"), "'{}'"),
        ("'ok'::mood", MOOD, "'ok'"),
        ("'y'::bpchar", kinds.native("character(1)"), "rtrim('y', ' ')"),
        ("'2020-01-01'::date", kinds.DATE, "'2020-01-01'"),
        ("'NaN'::double precision", kinds.FLOAT, "'NaN'"),
        ("CURRENT_DATE", kinds.DATE, "date('now')"),
        (
            "CURRENT_TIMESTAMP",
            kinds.TIMESTAMPTZ,
            "(rtrim(rtrim(strftime('%Y-%m-%d %H:%M:%f', 'now'), '0'), '.') || '+00:00')",
        ),
        (
            "now()",
            kinds.TIMESTAMP,
            "rtrim(rtrim(strftime('%Y-%m-%d %H:%M:%f', 'now'), '0'), '.')",
        ),
    ],
)
def test_defaults(text: str, kind: Kind, sql: str) -> None:
    assert SQLITE.default(text, kind) == sql
    assert is_taken(f"CREATE TABLE d (a DEFAULT ({sql}))")


def is_taken(statement: str) -> bool:
    with closing(sqlite3.connect(":memory:")) as connection:
        columns = ", ".join(quote(field.name) for field in FIELDS)
        connection.execute(f"CREATE TABLE t ({columns})")
        connection.execute('CREATE TABLE u2 ("id", "t_id")')
        connection.execute(statement)
    return True


def test_a_view() -> None:
    text = """ SELECT a.id,
    a."Name" AS "n a m e",
    sum((a.price * (2)::numeric)) AS total
   FROM (public."Tab le" a
     LEFT JOIN u ON ((u.t_id = a.id)))
  WHERE (u.id IS NULL)
  GROUP BY a.id, a."Name"
  ORDER BY (sum((a.price * (2)::numeric))) DESC
 LIMIT 3;"""
    units = 'sum((CAST(round("a"."price" * 100.0) AS INTEGER) * 2))'
    view = SQLITE.view(text, KNOWN)
    assert view == View(
        f'SELECT "a"."id" AS "id", "a"."Name" AS "n a m e", ({units} / 100.0) AS "total" '
        'FROM "t" AS "a" LEFT JOIN "u2" AS "u" ON ("u"."t_id" = "a"."id") '
        'WHERE ("u"."id" IS NULL) GROUP BY "a"."id", "a"."Name" '
        f"ORDER BY ({units} / 100.0) DESC NULLS FIRST LIMIT 3",
        (
            Field("id", kinds.INT, declared="bigint"),
            Field("n a m e", kinds.TEXT, declared="text"),
            Field("total", kinds.decimal(15, 2), declared="numeric"),
        ),
    )
    assert is_taken(f"CREATE VIEW v AS {view.sql}")
    named = SQLITE.view(text, KNOWN, ("one", "two", "three"))
    assert [field.name for field in named.fields] == ["one", "two", "three"]


def test_a_view_keeps_what_is_known_of_its_columns() -> None:
    text = (
        ' SELECT mood, ascii, was_int, much, flag, sum(double) AS s FROM public."Tab le" GROUP BY 1'
    )
    view = SQLITE.view(text.replace(" GROUP BY 1", "").replace(", sum(double) AS s", ""), KNOWN)
    assert view.fields == (
        Field("mood", MOOD, declared="mood", labels=("sad", "ok")),
        Field("ascii", kinds.TEXT, "C", declared="text"),
        Field("was_int", kinds.TEXT),
        Field("much", kinds.NUMERIC, declared="numeric"),
        Field("flag", kinds.native("character"), declared="bpchar"),
    )
    (total,) = SQLITE.view(' SELECT sum(double) AS s FROM "Tab le"', KNOWN).fields
    assert total.approximate


def test_tables_are_found_by_their_schema() -> None:
    def first(name: str, relations: Iterable[tuple[str, Relation]]) -> str:
        return SQLITE.view(f" SELECT id FROM {name}", dict(relations)).sql.rsplit(" ", 1)[1]

    elsewhere = Relation(TableName("main", "v2"), U.fields, "u", "elsewhere")
    unknown = Relation(TableName("main", "w2"), U.fields, "u")
    assert first("public.u", [("u", U), ("x", elsewhere)]) == '"u"'
    assert SQLITE.view(" SELECT id FROM elsewhere.u", {"u": U, "x": elsewhere}).sql == (
        'SELECT "u"."id" AS "id" FROM "v2" AS "u"'
    )
    assert SQLITE.view(" SELECT id FROM other.u", {"other.u": unknown}).sql == (
        'SELECT "u"."id" AS "id" FROM "w2" AS "u"'
    )
    for name in ("other.u", '"U"', "pg_class"):
        with pytest.raises(Untranslatable, match="is not known here"):
            first(name, [("u", U), ("x", elsewhere)])
    with pytest.raises(Untranslatable, match="is not known here"):
        first("u", [("u", U), ("x", elsewhere)])


# ---- what is left behind -------------------------------------------------------------------------

REFUSED = {
    "(\"Name\" < 'b'::text)": "it orders text, by a collation that SQLite does not have",
    "(loose = 'a'::text)": "the collation case_insensitive may call different texts equal",
    "(much > (0)::numeric)": "it compares a number of more than 15 digits, which is kept as text",
    "(big > (0)::numeric)": "it compares a number of more than 15 digits, which is kept as text",
    "((big + (1)::numeric) IS NULL)": "it reckons with a number of more than 15 digits",
    "(docb = '{}'::jsonb)": "it compares values of type jsonb",
    "(doc IS DISTINCT FROM doc)": "it compares values of type json",
    "(other = 'red'::colour)": "it compares values of type colour",
    "(mood < 'ok'::mood)": "it compares values of type mood",
    "(was_int = 1)": "it compares integer kept as text with integer, whose spellings differ",
    "(shown > (0)::numeric)": "it compares a number of more than 15 digits, which is kept as text",
    "(far < '2020-01-01'::date)": "it compares date kept as date with date, whose spellings differ",
    "(merged = 'x'::text)": "the column merged holds values of several storage classes",
    "(lower(\"Name\") = 'x'::text)": "lower() knows letters outside ASCII, as SQLite does not",
    "(\"Name\" ~~* 'x'::text)": "ILIKE knows letters outside ASCII, as SQLite does not",
    '("Name" ~~ code)': "LIKE with a computed pattern is not translated",
    "(\"Name\" ~ '^a'::text)": "~ is not translated where it stands",
    "((id / k) > 1)": "a division by what may be 0 is an error there, and NULL in SQLite",
    "((real + real) > (0)::double precision)": "the operator + of real and real is not translated",
    "((real * double) IS NULL)": "the operator * of real and double precision is not translated",
    "(real > (0.1)::double precision)": "it compares real with double precision",
    "((real)::double precision > double)": "the cast of real to double precision",
    "(widened > (0)::double precision)": "it compares real kept as float with double precision",
    "((number + (1)::numeric) > (0)::numeric)": "it reckons with a numeric of any number of digits",
    "((price / 2.0) > 1.0)": "the operator / of numerics is not translated",
    "((price)::integer = 1)": "the cast of numeric to integer is not translated",
    "((zoned)::date = day)": "the cast of timestamp with time zone to date is not translated",
    "(at > now())": "the function now() is not translated",
    "(day < CURRENT_DATE)": "CURRENT_DATE is translated in a DEFAULT only",
    "(public.check_it(id))": "the function public.check_it() is not translated",
    "((docb ->> 'a'::text) = 'b'::text)": "->> is not translated where it stands",
    "(ctid IS NULL)": "the name ctid is no column that is known",
    "(ID = 1) -- x": "comments are not translated",
    '("ID" = 1)': "the name ID is no column that is known",
    "(id = $1)": "the sign $ is not translated",
    "id": "bigint stands where a condition is needed",
    "(EXISTS ( SELECT 1))": "a subquery is translated in a view only",
    "(ROW(id, k) IS NOT NULL)": "ROW is not translated",
    "(num_nonnulls(id, k) = 1)": "the function num_nonnulls() is not translated",
    "(count(*) > 1)": "the aggregate count() does not stand in a view",
    "(day = '0044-03-15 BC'::date)": "the literal '0044-03-15 BC' of type date is not translated",
    "(day = 'infinity'::date)": "the literal 'infinity' of type date is not translated",
    "(1e999999999 > (0)::numeric)": "the literal '1e999999999' of type numeric is not translated",
    "(k = 1": "the text ends too early",
    "(k = 1) (k = 2)": "( is not translated where it stands",
    "(k = 1); DROP TABLE t": "the sign ; is not translated",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_name_their_reason(text: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        SQLITE.check(text, T)
    assert refusal.value.reason.startswith(REFUSED[text])


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("nextval('s'::regclass)", kinds.INT, "a sequence has no counterpart"),
        ("(now() + '1 day'::interval)", kinds.TIMESTAMPTZ, "the operator +"),
        ("CURRENT_USER", kinds.TEXT, "current_user is not translated where it stands"),
        ("'abcd'::character varying", Kind("text", length=3), "text stands where text of at most"),
        ("100000000.00", kinds.decimal(10, 2), "numeric stands where decimal(10,2) is needed"),
        ("40000", Kind("int", bits=16), "integer stands where int of 16 bits is needed"),
        ("'red'::colour", MOOD, "colour stands where mood is needed"),
        ("CURRENT_TIME", kinds.TIME, "CURRENT_TIME has a time zone"),
        ("now()", kinds.TEXT, "timestamp with time zone stands where text is needed"),
        ("id", kinds.INT, "the name id is no column that is known"),
    ],
)
def test_refused_defaults_name_their_reason(text: str, kind: Kind, reason: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        SQLITE.default(text, kind)
    assert refusal.value.reason.lower().startswith(reason.lower())


VIEWS = {
    ' SELECT "Name" FROM "Tab le" ORDER BY "Name"': "ORDER BY: it orders text",
    ' SELECT id FROM "Tab le" LIMIT 3': "LIMIT without ORDER BY gives any rows",
    ' SELECT avg(k) AS a FROM "Tab le"': "avg() of integer is not translated",
    ' SELECT string_agg("Name", \',\'::text) AS a FROM "Tab le"': "string_agg() puts values",
    ' SELECT sum(much) AS a FROM "Tab le"': "it reckons with a number of more than 15 digits",
    ' SELECT DISTINCT much FROM "Tab le"': "DISTINCT: it compares a number",
    ' SELECT count(DISTINCT loose) AS a FROM "Tab le"': "count(DISTINCT …): the collation",
    ' SELECT k, id AS "K" FROM "Tab le"': "two columns have the name k in SQLite",
    ' SELECT a.id FROM (u a JOIN u "A" ON ((a.id = "A".id)))': "the names a and A are the same",
    " SELECT id FROM nowhere": "the table nowhere is not known here",
    " SELECT id FROM generate_series(1, 3) id(id)": "the function generate_series() in a FROM",
    " WITH u2 AS (SELECT 1 AS a) SELECT u.id FROM u, u2": "the name u2 stands for two things",
    " SELECT row_number() OVER () AS n FROM u": "row_number() with OVER is not translated",
    " SELECT CURRENT_TIMESTAMP AS now": "CURRENT_TIMESTAMP gives another result at every time",
    " SELECT u.id FROM (u FULL JOIN u v ON (true))": "FULL in a FROM clause is not translated",
    " SELECT lo_import('/etc/passwd'::text) AS x": "the function lo_import() is not translated",
    " SELECT id FROM u UNION SELECT 'a'::text": "UNION gives bigint and text",
}


@pytest.mark.parametrize("select", VIEWS)
def test_refused_views_name_their_reason(select: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        SQLITE.view(select, KNOWN)
    assert refusal.value.reason.startswith(VIEWS[select])


def test_deep_nesting_is_refused_before_sqlite_refuses_it() -> None:
    """Whatever an old version cannot read, in each of the ways in which SQL nests."""
    ways = [
        *("(a || {})", "({} || a)", "coalesce(a, {})", "(CASE WHEN a THEN {} END)", "(NOT {})"),
        *("(SELECT {} FROM t)", "(SELECT a FROM t ORDER BY a, {})", "(a IN (1, {}))"),
        *("(SELECT a FROM t b LEFT JOIN t c ON {})", "(a IN (SELECT x.a FROM ({}) AS x))"),
    ]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (a)")
        for way in ways:
            inner, refused = "SELECT a FROM t" if "FROM ({" in way else "a", False
            for _ in range(90):
                inner = way.replace("{}", inner)
                statement = (
                    f"SELECT {inner} AS y FROM t"
                    if "FROM ({" not in way
                    else (f"SELECT {inner} FROM t")
                )
                if "FROM ({" in way:
                    inner = statement
                with suppress(Untranslatable):
                    refuse_deep(statement)
                    connection.execute(f"CREATE VIEW v AS {statement}")
                    connection.execute("DROP VIEW v")
                    continue
                refused = True
                break
            assert refused, way


# ---- hostile text --------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12
    ),
    st.sampled_from(
        [
            *('"', "'", 'a"b', "x' OR '1'='1", '"; DROP TABLE t; --', "select", "user", "ä", "😀"),
            *("--", "/*", "$$", "\\", "E'\\''", "a\nb", " ", "current_user", "%s", "{}", "𝒳", "ﬁ"),
        ]
    ),
)


@settings(max_examples=150)
@given(HOSTILE, HOSTILE, HOSTILE)
@example("a\\", "'", "\\'")
def test_hostile_names_stay_quoted(name: str, table: str, value: str) -> None:
    """SQLite reads the translation as one expression over just those columns."""
    relation = Relation(TableName("main", table), (Field(name, kinds.TEXT),), table, "public")
    written = "'" + value.replace("'", "''") + "'"
    columns, given_name = quote(name), quote(value)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {quote(table)} ({columns} TEXT)")
        connection.execute(f"INSERT INTO {quote(table)} VALUES ({written})")
        condition = SQLITE.check(f"({columns} = {written}::text)", relation)
        query = f"SELECT {condition} FROM {quote(table)}"
        assert connection.execute(query).fetchall() == [(1,)]
        text = f" SELECT {columns} AS {given_name} FROM public.{quote(table)}"
        cursor = connection.execute(SQLITE.view(text, {"any": relation}).sql)
        assert cursor.fetchall() == [(value,)]
        assert [column[0] for column in cursor.description] == [value]
        default = SQLITE.default(f"{written}::text", kinds.TEXT)
        assert connection.execute(f"SELECT {default}").fetchall() == [(value,)]


@settings(max_examples=150)
@given(st.text("ab%_\\*?[]^-", max_size=6), st.text("ab%_\\*?[]^-\nB", max_size=6))
def test_patterns_match_as_in_postgresql(pattern: str, subject: str) -> None:
    """Against a matcher written after "LIKE", section 9.7.1."""

    def matches(parts: str, rest: str) -> bool:
        if not parts:
            return not rest
        if parts[0] == "%":
            return any(matches(parts[1:], rest[i:]) for i in range(len(rest) + 1))
        if parts[0] == "\\":
            return rest[:1] == parts[1:2] and matches(parts[2:], rest[1:])
        return bool(rest) and parts[0] in ("_", rest[0]) and matches(parts[1:], rest[1:])

    relation = Relation(TableName("main", "t"), (Field("a", kinds.TEXT),))
    written = pattern.replace("'", "''")
    text = f"(a ~~ '{written}'::text)"
    if re.search(r"(?<!\\)(?:\\\\)*\\$", pattern):
        with pytest.raises(Untranslatable, match="ends in its escape"):
            SQLITE.check(text, relation)
        return
    sql = SQLITE.check(text, relation)
    with closing(sqlite3.connect(":memory:")) as connection:
        ((found,),) = connection.execute(f'SELECT {sql} FROM (SELECT ? AS "a")', (subject,))
    assert bool(found) == matches(pattern, subject)


SOUP = st.lists(
    st.sampled_from(
        [
            *("id", "k", '"Name"', "code", "price", "much", "active", "day", "at", "raw", "docb"),
            *("1", "0.5", "'a'::text", "'2020-01-01'::date", "NULL", "true", "::text", "::numeric"),
            *("=", "<>", "<", "IS", "NOT", "AND", "OR", "IN", "~~", "BETWEEN", "IS NULL", "ANY ("),
            *(
                "+",
                "-",
                "/",
                "%",
                "||",
                "&",
                "<<",
                "~",
                "(",
                ")",
                ",",
                "CASE",
                "WHEN",
                "THEN",
                "END",
            ),
            *("coalesce(", "max(", "substr(", "length(", "EXTRACT(", "FROM", "ARRAY[", "]", "[1]"),
            *("SELECT", 'FROM "Tab le"', "WHERE", "GROUP BY", "ORDER BY", "UNION", "LIMIT 1", "*"),
            *("now()", "CURRENT_DATE", "count(*)", "sum(", "AT TIME ZONE", "'UTC'::text", "::"),
        ]
    ),
    max_size=14,
).map(" ".join)


@settings(max_examples=500)
@given(SOUP | st.text(string.printable, max_size=40))
def test_any_text_is_translated_or_refused(text: str) -> None:
    """And SQLite takes what is translated."""
    for translate, statement in (
        (partial(SQLITE.check, text, T), "SELECT {} FROM t"),
        (partial(SQLITE.index_term, text, T), "SELECT {} FROM t"),
        (partial(SQLITE.generated, text, T, kinds.TEXT), "SELECT {} FROM t"),
        (partial(SQLITE.default, text, kinds.TEXT), "SELECT {}"),
    ):
        with suppress(Untranslatable):
            assert is_taken(statement.format(translate()))


@settings(max_examples=300)
@given(SOUP)
def test_any_query_is_translated_or_refused(text: str) -> None:
    with suppress(Untranslatable):
        assert is_taken(f"CREATE VIEW v AS {SQLITE.view(f'SELECT {text}', KNOWN).sql}")
