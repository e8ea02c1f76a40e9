"""SQL that stays within one kind of database: what is let through, and what is not."""

from __future__ import annotations

import re
import string
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.expressions import Field, Relation, Untranslatable, translator
from tableferry.expressions.postgresql_builtins import FUNCTIONS, TYPES
from tableferry.model import Kind, TableName

POSTGRESQL = translator("postgresql", "postgresql", frozenset({"mood", "shop.colour"}))
SQLITE = translator("sqlite", "sqlite")

FIELDS = (
    Field("id", kinds.INT),
    Field("name", kinds.TEXT),
    Field("ctid_", kinds.INT, original="place"),
)
T = Relation(TableName("new", "Tab le"), FIELDS, "t", "public")
U = Relation(TableName("new", "u"), FIELDS[:2], "u", "public")
KNOWN = {"t": T, "u": U}


def test_there_is_a_translator_for_every_direction() -> None:
    for source in ("sqlite", "postgresql"):
        for target in ("sqlite", "postgresql"):
            made = translator(source, target)
            assert made.default("NULL", kinds.INT) == "NULL"
            assert made.check("(id IS NULL)", U) in ('("id" IS NULL)', "(id IS NULL)")
    with pytest.raises(KeyError):
        translator("sqlite", "oracle")


# ---- PostgreSQL ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "((name)::text ~ '^a'::text)",
        "(id = ANY (ARRAY[1, 2]))",
        "(name IS DISTINCT FROM 'x'::text)",
        "CASE WHEN (id > 0) THEN lower(name) ELSE NULL::text END",
        "((name)::mood = 'ok'::mood)",
        "(name = ANY ('{a,b}'::shop.colour[]))",
        "SUBSTRING(name FROM 1 FOR 2)",
        "EXTRACT(year FROM CURRENT_DATE)",
        '"left"(name, 2)',
        "pg_catalog.\"position\"(name, 'a'::text)",
        "(id)::numeric(10,2)",
        "(name)::character varying(10)[]",
        '(name COLLATE "C")',
        '(name COLLATE pg_catalog."default")',
        "(id OPERATOR(pg_catalog.+) 1)",
        "to_tsvector('english'::regconfig, name)",
        "(now() AT TIME ZONE 'utc'::text)",
        "(1)::timestamp(3) without time zone",
        "(t.id > 1)",
        "B'101'::\"bit\"",
        "'a;b -- c'::text",
    ],
)
def test_what_postgresql_has_goes_over_as_it_is(text: str) -> None:
    assert POSTGRESQL.check(text, U) == text
    assert POSTGRESQL.default(text, kinds.TEXT) == text
    assert POSTGRESQL.generated(text, U, kinds.TEXT) == text
    assert POSTGRESQL.index_term(text, U) == f"({text})"
    assert POSTGRESQL.index_term(text, U, "C") == f'(({text}) COLLATE "C")'


REFUSED = {
    "lo_export(1, 'x'::text)": "the function lo_export() is on no list of ours",
    "pg_catalog.pg_sleep((1)::double precision)": "the function pg_catalog.pg_sleep()",
    "public.lower(name)": "the function public.lower()",
    "lower(pg_read_file(name))": "the function pg_read_file()",
    '"lo_export"(1)': "the function lo_export()",
    "nextval('s'::regclass)": "the function nextval()",
    "current_setting('x'::text)": "the function current_setting()",
    "query_to_xml(name, true, true, ''::text)": "the function query_to_xml()",
    "zone(id)": "the function zone()",
    "(now() AT TIME ZONE zone(id))": "the function zone()",
    "over(id)": "the function over()",
    "first(id)": "the function first()",
    "set(id)": "the function set()",
    '"row"(id)': "the function row()",
    "(id)::regclass": "the type regclass need not be in the target",
    "(id)::colour": "the type colour need not be in the target",
    "(id)::regclass[]": "the type regclass[] need not be in the target",
    "regclass 'x'": "'x' is not translated where it stands",
    "cast(id AS regclass)": "cast is not translated where it stands",
    '(name COLLATE "de_DE")': "the collation de_DE need not be in the target",
    '(name COLLATE public."C")': "the collation",
    "(id OPERATOR(public.+) 1)": "an operator of one's own need not be in the target",
    "(EXISTS ( SELECT 1))": "a query in an expression is not translated",
    "ARRAY( SELECT 1)": "a query in an expression is not translated",
    "id) OR (id": ") is not translated where it stands",
    "((id)": "the text ends too early",
    "id; DROP TABLE t": "the sign ; is not translated",
    "id -- x": "comments are not translated",
    "id /* x */": "comments are not translated",
    "$1": "the sign $ is not translated",
    "$$x$$": "the sign $ is not translated",
    "U&'x'": "text with Unicode escapes",
    "create": "create is not translated where it stands",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_else_is_refused(text: str) -> None:
    for translate in (
        partial(POSTGRESQL.check, text, U),
        partial(POSTGRESQL.default, text, kinds.INT),
        partial(POSTGRESQL.index_term, text, U),
    ):
        with pytest.raises(Untranslatable) as refusal:
            translate()
        assert refusal.value.reason.startswith(REFUSED[text])


def test_the_lists_hold_nothing_that_does_anything() -> None:
    for name in FUNCTIONS:
        assert not name.startswith(("lo_", "pg_", "db", "query_", "cursor_", "txid", "set_conf"))
    assert not FUNCTIONS & {"nextval", "currval", "setval", "set_config", "current_setting"}
    assert not FUNCTIONS & {"table_to_xml", "schema_to_xml", "ts_stat", "ts_rewrite", "setseed"}
    assert not any(name.startswith("reg") for name in TYPES - {"regconfig"})


def test_names_that_changed_are_refused() -> None:
    with pytest.raises(Untranslatable, match="place has another name in the target"):
        POSTGRESQL.check("(place > 0)", T)
    with pytest.raises(Untranslatable, match="t has another name in the target"):
        POSTGRESQL.check("(t.id > 0)", T)
    assert POSTGRESQL.check("(id > 0)", T) == "(id > 0)"
    with pytest.raises(Untranslatable, match="place has another name in the target"):
        POSTGRESQL.view(" SELECT place FROM t", KNOWN)
    with pytest.raises(Untranslatable, match="the collation de_DE need not be in the target"):
        POSTGRESQL.index_term("name", T, "de_DE")


@pytest.mark.parametrize(
    ("select", "sql"),
    [
        (" SELECT t.id\n   FROM t;", 'SELECT t.id FROM "new"."Tab le" AS "t"'),
        (" SELECT id FROM public.u", 'SELECT id FROM "new"."u"'),
        (" SELECT x.id FROM public.t x", 'SELECT x.id FROM "new"."Tab le" x'),
        (
            " SELECT u.id FROM (u JOIN t USING (id)) WHERE (u.id IS DISTINCT FROM 3)",
            'SELECT u.id FROM ("new"."u" JOIN "new"."Tab le" AS "t" USING (id)) '
            "WHERE (u.id IS DISTINCT FROM 3)",
        ),
        (
            " WITH u(a) AS (SELECT u_1.id FROM u u_1) SELECT u.a FROM u, "
            "LATERAL unnest(ARRAY[1]) n(i)",
            'WITH u(a) AS (SELECT u_1.id FROM "new"."u" u_1) SELECT u.a FROM u, '
            "LATERAL unnest(ARRAY[1]) n(i)",
        ),
        (
            " WITH RECURSIVE r(n) AS ( VALUES (1) UNION ALL SELECT (r_1.n + 1) FROM r r_1) "
            "SELECT n FROM r",
            "WITH RECURSIVE r(n) AS ( VALUES (1) UNION ALL SELECT (r_1.n + 1) FROM r r_1) "
            "SELECT n FROM r",
        ),
        (
            " SELECT EXTRACT(year FROM now()) AS y, ( SELECT count(*) AS count FROM u) AS n",
            'SELECT EXTRACT(year FROM now()) AS y, ( SELECT count(*) AS count FROM "new"."u") AS n',
        ),
    ],
)
def test_views_name_the_tables_of_the_target(select: str, sql: str) -> None:
    assert POSTGRESQL.view(select, KNOWN).sql == sql


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        (" SELECT id FROM nowhere", "the table nowhere is not known here"),
        (" SELECT id FROM other.u", "the table other.u is not known here"),
        (" SELECT usename FROM pg_shadow", "the table pg_shadow is not known here"),
        (" SELECT id FROM u, pg_catalog.pg_authid", "the table pg_catalog.pg_authid"),
        (" SELECT id FROM u WHERE (id IN ( SELECT x.id FROM x))", "the table x is not known here"),
        (" WITH u AS (SELECT id FROM w) SELECT id FROM u", "the table w is not known here"),
        (" SELECT ( WITH w AS (SELECT 1) SELECT 1) FROM w", "the table w is not known here"),
        (" SELECT lo_import('/etc/passwd'::text) AS x", "the function lo_import()"),
        (" SELECT x FROM lo_import('/etc/passwd'::text) x(x)", "the function lo_import()"),
        (" SELECT x FROM dblink('x'::text) x(a integer)", "the function dblink()"),
        (" SELECT id FROM u FOR UPDATE", "FOR is not translated where it stands"),
        (" SELECT id INTO x FROM u", "INTO is not translated where it stands"),
        ("DELETE FROM u", "DELETE is not translated where it stands"),
        (" SELECT id FROM u; DELETE FROM u", "the sign ; is not translated"),
        (" SELECT id FROM u TABLESAMPLE system (1)", "TABLESAMPLE is not translated"),
    ],
)
def test_refused_views_name_their_reason(select: str, reason: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        POSTGRESQL.view(select, KNOWN)
    assert refusal.value.reason.startswith(reason)


def test_the_fields_of_a_view_are_what_the_catalog_says() -> None:
    text = ' SELECT id AS "A", name FROM u'
    view = POSTGRESQL.view(text, KNOWN, ("A", "name"), (kinds.INT, kinds.TEXT))
    assert view.fields == (Field("A", kinds.INT), Field("name", kinds.TEXT))
    assert view.sql == 'SELECT id AS "A", name FROM "new"."u"'
    assert POSTGRESQL.view(text, KNOWN).fields == ()
    renamed = POSTGRESQL.view(text, KNOWN, ("a", "name"), (kinds.INT, kinds.TEXT))
    assert renamed.sql == f'SELECT * FROM ({view.sql}) AS "view"("a", "name")'


# ---- SQLite -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("id > 0 AND lower(name) LIKE 'a%'", "id > 0 AND lower(name) LIKE 'a%'"),
        ("id > 0 -- why", "id > 0"),
        ("id /* a ; b */ > 0", "id > 0"),
        ('"ID" >= [id]', '"ID" >= [id]'),
        ("json_extract(name, '$.a') ->> 'b'", "json_extract(name, '$.a') ->> 'b'"),
        ("CAST(id AS VARCHAR(10)) COLLATE NOCASE", "CAST(id AS VARCHAR(10)) COLLATE NOCASE"),
        ("my_function(id)", "my_function(id)"),
    ],
)
def test_expressions_of_sqlite_go_over_as_they_are(text: str, sql: str) -> None:
    assert SQLITE.check(text, U) == sql
    assert SQLITE.predicate(text, U) == sql
    assert SQLITE.generated(text, U, kinds.TEXT) == sql
    assert SQLITE.index_term(text, U) == f"({sql})"
    assert SQLITE.index_term(text, U, "NOCASE") == f'({sql}) COLLATE "NOCASE"'


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        *(("0", "0"), ("-1", "-1"), ("'x'", "'x'"), ('"it\'s"', "'it''s'"), ("word", "'word'")),
        *(("NULL", "NULL"), ("true", "true"), ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP")),
        *(
            ("x'00'", "x'00'"),
            ("(1) + (2)", "((1) + (2))"),
            ("datetime('now')", "(datetime('now'))"),
        ),
    ],
)
def test_defaults_of_sqlite(text: str, sql: str) -> None:
    assert SQLITE.default(text, kinds.TEXT) == sql


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("place > 0", "place has another name in the target"),
        ('"PLACE" > 0', "PLACE has another name in the target"),
        ("t.id > 0", "t has another name in the target"),
        ("id) OR (id", ") is not translated where it stands"),
        ("(id", "the text ends too early"),
        ("id; DROP TABLE t", "the sign ; is not translated"),
        ("id = ?", "the sign ? is not translated"),
        ("id IN (SELECT 1)", "a query in an expression is not translated"),
    ],
)
def test_refused_expressions_of_sqlite(text: str, reason: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        SQLITE.check(text, T)
    assert refusal.value.reason == reason


def test_names_that_differ_in_case_alone_are_the_same_in_sqlite() -> None:
    lower = Relation(TableName("main", "t"), (Field("name", kinds.TEXT, original="Name"),), "T")
    assert SQLITE.check("T.Name <> ''", lower) == "T.Name <> ''"
    assert SQLITE.view("SELECT Name FROM T", {"t": lower}).sql == 'SELECT Name FROM "t"'


@pytest.mark.parametrize(
    ("select", "sql"),
    [
        ("SELECT id FROM main.U WHERE id > 1", 'SELECT id FROM "u" WHERE id > 1'),
        ("SELECT t.id FROM t, u USING (id)", 'SELECT t.id FROM "Tab le" AS "t", "u" USING (id)'),
        (
            "SELECT x.id FROM t x LEFT JOIN u y ON x.id = y.id -- c\n LIMIT 3",
            'SELECT x.id FROM "Tab le" x LEFT JOIN "u" y ON x.id = y.id LIMIT 3',
        ),
        ("WITH c AS (SELECT 1 AS a) SELECT a FROM c, json_each('[1]')",) * 2,
        (
            "SELECT rank() OVER (ORDER BY id) FROM (SELECT * FROM u)",
            'SELECT rank() OVER (ORDER BY id) FROM (SELECT * FROM "u")',
        ),
    ],
)
def test_views_of_sqlite(select: str, sql: str) -> None:
    assert SQLITE.view(select, KNOWN).sql == sql


@pytest.mark.parametrize(
    ("select", "names", "approximate"),
    [
        ("SELECT id + 1 AS n, ID FROM u", ["n", "id"], []),
        ("SELECT id+1, count(*), 'x' FROM u", ["id+1", "count(*)", "'x'"], []),
        ('SELECT *, t."ID" AS p FROM u, t', ["id", "name", "id", "name", "ctid_", "p"], []),
        ("SELECT t.* FROM u JOIN t ON 1", ["id", "name", "ctid_"], []),
        ("SELECT sum(id) AS s, max(id) AS m FROM u", ["s", "m"], ["s"]),
        ("SELECT x.s, 1 AS o FROM (SELECT sum(id) AS s FROM u) x", ["s", "o"], ["s"]),
        ("WITH c(a, b) AS (SELECT id, avg(id) FROM u) SELECT * FROM c", ["a", "b"], ["b"]),
        ("SELECT id FROM u UNION SELECT total(id) FROM u", ["id"], ["id"]),
        ("SELECT 1 + (SELECT sum(id) FROM u) AS s", ["s"], ["s"]),
        # What its columns are called is not known.
        ("SELECT rank() OVER (ORDER BY id) FROM u", [], []),
        ("SELECT * FROM json_each('[1]')", [], []),
        ("SELECT * FROM u JOIN t USING (id)", [], []),
    ],
)
def test_the_fields_of_a_view_of_sqlite(
    select: str, names: list[str], approximate: list[str]
) -> None:
    fields = SQLITE.view(select, KNOWN).fields
    assert [field.name for field in fields] == names
    assert [field.name for field in fields if field.approximate] == approximate
    assert {field.kind for field in fields} <= {Kind("any")}


def test_a_view_of_sqlite_that_names_its_columns() -> None:
    named = SQLITE.view("SELECT id, name FROM u", KNOWN, ("a", "b"))
    assert named.sql == ('WITH "view"("a", "b") AS (SELECT id, name FROM "u") SELECT * FROM "view"')
    assert [field.name for field in named.fields] == ["a", "b"]
    unknown = SQLITE.view("SELECT rank() OVER (ORDER BY id) FROM u", KNOWN, ("a",))
    assert [field.name for field in unknown.fields] == ["a"]


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("SELECT id FROM nowhere", "the table nowhere is not known here"),
        ("SELECT id FROM temp.u", "the schema temp is not that of this database"),
        ("SELECT id FROM u UNION SELECT id FROM w", "the table w is not known here"),
        ("SELECT place FROM t", "place has another name in the target"),
        ("DELETE FROM u", "DELETE is not translated where it stands"),
        ("SELECT id FROM u; SELECT 1", "the sign ; is not translated"),
        ("SELECT id FROM u INDEXED BY i", "INDEXED BY is not translated"),
    ],
)
def test_refused_views_of_sqlite(select: str, reason: str) -> None:
    with pytest.raises(Untranslatable) as refusal:
        SQLITE.view(select, KNOWN)
    assert refusal.value.reason == reason


# ---- any text -----------------------------------------------------------------------------------

SOUP = st.lists(
    st.sampled_from(
        [
            *("id", "u.id", '"a"', "1", "'x'", "::text", "::numeric(1,2)", "=", "<", "(", ")", ","),
            *("SELECT", "FROM u", "FROM", "JOIN t", "ON", "WHERE", "WITH c AS (", "AS x", "lower("),
            *("CASE", "WHEN", "END", "[1]", ".", "*", "COLLATE", '"C"', "OPERATOR(", "pg_catalog."),
            *(
                "USING (id)",
                "LATERAL",
                "VALUES (1)",
                "UNION",
                "x(a, b)",
                "ARRAY[",
                "]",
                "FOR",
                "OVER (",
            ),
        ]
    ),
    max_size=14,
).map(" ".join)


@settings(max_examples=500)
@given(SOUP | st.text(string.printable, max_size=40))
@example("ARRAY[ ( ] )")
def test_any_text_goes_over_or_is_refused(text: str) -> None:
    for made in (POSTGRESQL, SQLITE):
        for translate in (
            partial(made.check, text, U),
            partial(made.default, text, kinds.TEXT),
            partial(made.index_term, text, U),
        ):
            with suppress(Untranslatable):
                assert_whole(translate())
        with suppress(Untranslatable):
            assert_whole(made.view(f"SELECT {text}", KNOWN).sql)


def assert_whole(sql: str) -> None:
    """One expression or query, with nothing after it."""
    bare = re.sub(r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^]]*\]""", "", sql)
    assert bare.count("(") == bare.count(")")
    assert not re.search(r";|--|/\*", bare)
