"""What is translated, to the letter; what is left behind, and with which reason; hostile text."""

from __future__ import annotations

import pickle
import re
import sqlite3
import string
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.expressions import (
    Field,
    Relation,
    Untranslatable,
    View,
    asking,
    translate_check,
    translate_default,
    translate_generated,
    translate_index_term,
    translate_predicate,
    translate_view,
)
from tableferry.expressions.stored import TIME, TIMESTAMP, TIMESTAMPTZ
from tableferry.model import Kind, TableName
from tableferry.sql import fold, quote

T = Relation(
    TableName("public", "t"),
    (
        Field("id", kinds.INT),
        Field("k", Kind("int", bits=32)),
        Field("Name", kinds.TEXT),
        Field("nick", kinds.TEXT, "NOCASE"),
        Field("code", kinds.TEXT, "RTRIM"),
        Field("real", kinds.FLOAT),
        Field("price", kinds.decimal(10, 2)),
        Field("any", kinds.NUMERIC),
        Field("active", kinds.BOOL),
        Field("day", kinds.DATE),
        Field("at", kinds.TIMESTAMP),
        Field("zoned", kinds.TIMESTAMPTZ),
        Field("raw", kinds.BYTES),
        Field("doc", kinds.JSON),
        Field("key", kinds.UUID),
        Field("ctid_", kinds.INT, original="ctid"),
        Field("merged", kinds.TEXT, mixed=True),
        Field("untyped", kinds.TEXT, affinity="BLOB"),
    ),
    original="Tab le",
)


NOW = 'to_char((now() AT TIME ZONE \'UTC\'), \'YYYY"-"MM"-"DD" "HH24":"MI":"SS\')'
RANDOM = "randomblob() of other than 1 to 256 bytes is not translated"


# ---- to the letter -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("id > 0", '("id" > 0)'),
        (
            "[real]>=(0) AND [real]<=(1)",
            "((\"real\" >= '0.0'::double precision) AND (\"real\" <= '1.0'::double precision))",
        ),
        ("NAME <> ''", "(\"Name\" <> '')"),
        ('"name" = "nobody"', "(\"Name\" = 'nobody')"),
        ("`name` = 'it''s'", "(\"Name\" = 'it''s')"),
        ('"Tab le".id = 1', '("id" = 1)'),
        ("ctid = 1", '("ctid_" = 1)'),
        ("name < 'b'", '(("Name" COLLATE "C") < \'b\')'),
        ("nick = 'ABC'", '(lower("nick" COLLATE "C") = \'abc\')'),
        ("name = nick COLLATE NOCASE", '(lower("Name" COLLATE "C") = lower("nick" COLLATE "C"))'),
        ("code = 'a '", "(rtrim(\"code\", ' ') = 'a')"),
        ("name = 5", "(\"Name\" = '5')"),
        ("id = '5'", '("id" = 5)'),
        ("price >= 0.1", '("price" >= 0.1)'),
        ("price = '0.10'", '("price" = 0.1)'),
        ("active = 1", '("active" = true)'),
        ("active IN (0, 1)", '("active" IN (false, true))'),
        ("active", '"active"'),
        ("NOT active", '(NOT "active")'),
        ("length(name)", '(length("Name") <> 0)'),
        ("id & 1", '(("id" & 1) <> 0)'),
        ("k + 1 > 0", '((("k")::bigint + 1) > 0)'),
        ("id / k > 1", '(("id" / nullif("k", 0)) > 1)'),
        ("id IS NOT NULL", '("id" IS NOT NULL)'),
        ("id IS k", '("id" IS NOT DISTINCT FROM "k")'),
        ("active IS TRUE", '("active" IS true)'),
        ("id BETWEEN 1 AND 5", '("id" BETWEEN 1 AND 5)'),
        ("day >= '2020-01-01'", "(\"day\" >= (DATE '2020-01-01'))"),
        ("at >= '2020-01-01'", "(\"at\" >= (TIMESTAMP '2020-01-01 00:00:00'))"),
        ("at < DATETIME('1997-01-01')", "(\"at\" < (TIMESTAMP '1997-01-01 00:00:00'))"),
        ("name LIKE 'A\\%'", "(lower(\"Name\" COLLATE \"C\") LIKE 'a\\%' ESCAPE '')"),
        ("name NOT GLOB '*[^0-9]*'", '(NOT ("Name" COLLATE "C" ~ \'^.*[^0-9].*$\'))'),
        ("name GLOB 'a.b*'", '("Name" COLLATE "C" ~ \'^a\\u002eb.*$\')'),
        (
            "typeof(id) = 'integer'",
            "((CASE WHEN \"id\" IS NULL THEN 'null' ELSE 'integer' END) = 'integer')",
        ),
        ("json_valid(doc)", '(CASE WHEN "doc" IS NOT NULL THEN true END)'),
        (
            "max(id, k) > 0",
            '((CASE WHEN "id" IS NULL OR "k" IS NULL THEN NULL ELSE greatest("id", "k") END) > 0)',
        ),
        ("id > 1 -- a comment; DROP TABLE x", '("id" > 1)'),
        ("id /* ' */ > 1", '("id" > 1)'),
    ],
)
def test_checks(text: str, sql: str) -> None:
    assert translate_check(text, T) == sql
    assert translate_predicate(text, T) == sql


@pytest.mark.parametrize(
    ("text", "collation", "sql"),
    [
        ("lower(name)", "", '(lower("Name" COLLATE "C"))'),
        ("name", "NOCASE", '(lower("Name" COLLATE "C"))'),
        ("name", "nocase", '(lower("Name" COLLATE "C"))'),
        ("name", "RTRIM", "(rtrim(\"Name\", ' '))"),
        ("name", "", '("Name")'),
        ("nick", "", '(lower("nick" COLLATE "C"))'),
        ("nick", "BINARY", '("nick")'),
        ("name COLLATE NOCASE", "", '(lower("Name" COLLATE "C"))'),
        ("id", "NOCASE", '("id")'),
        ("id % 10", "", '(("id" % 10))'),
    ],
)
def test_index_terms(text: str, collation: str, sql: str) -> None:
    assert translate_index_term(text, T, collation) == sql


@pytest.mark.parametrize(
    ("text", "kind", "sql"),
    [
        ("id + k", kinds.INT, '("id" + "k")'),
        ("id > 0", kinds.INT, '(("id" > 0))::integer'),
        ("id > 0", kinds.BOOL, '("id" > 0)'),
        ("name || '!'", kinds.TEXT, "(\"Name\" || '!')"),
        ("id", kinds.TEXT, '("id")::text'),
        ("any", kinds.NUMERIC, '"any"'),
        ("real", kinds.NUMERIC, '(("real")::text)::numeric'),
        ("id", kinds.FLOAT, '("id")::double precision'),
        ("NULL", kinds.INT, "NULL"),
    ],
)
def test_generated_columns(text: str, kind: Kind, sql: str) -> None:
    assert translate_generated(text, T, kind) == sql


@pytest.mark.parametrize(
    ("text", "kind", "sql"),
    [
        ("0", kinds.INT, "0"),
        ("'0'", kinds.INT, "0"),
        ("-5", kinds.INT, "-5"),
        ("0x1f", kinds.INT, "31"),
        ("0", kinds.BOOL, "false"),
        ("TRUE", kinds.BOOL, "true"),
        ("TRUE", kinds.INT, "1"),
        ("NULL", kinds.DATE, "NULL"),
        ("0", kinds.TEXT, "'0'"),
        ("'it''s'", kinds.TEXT, "'it''s'"),
        ('"quo""ted"', kinds.TEXT, "'quo\"ted'"),
        ("word", kinds.TEXT, "'word'"),
        ("'\\'", kinds.TEXT, "'\\'"),
        ("1.50", kinds.decimal(10, 2), "1.5"),
        ("3", kinds.FLOAT, "3"),
        ("x'00ff'", kinds.BYTES, "'\\x00ff'::bytea"),
        ("'2020-01-01'", kinds.DATE, "DATE '2020-01-01'"),
        ("'2020-01-01'", kinds.TIMESTAMP, "TIMESTAMP '2020-01-01 00:00:00'"),
        ("'{}'", kinds.JSON, "'{}'"),
        ("CURRENT_TIMESTAMP", kinds.TIMESTAMP, "date_trunc('second', (now() AT TIME ZONE 'UTC'))"),
        ("CURRENT_TIMESTAMP", kinds.TIMESTAMPTZ, "date_trunc('second', now())"),
        ("datetime('now')", kinds.TEXT, NOW),
        ("CURRENT_TIMESTAMP", kinds.TEXT, NOW),
        ("CURRENT_DATE", kinds.DATE, "(now() AT TIME ZONE 'UTC')::date"),
        (
            "strftime('%s', 'now')",
            kinds.INT,
            "((floor(extract(epoch FROM now()))::bigint)::text)::bigint",
        ),
        (
            "hex(randomblob(3))",
            kinds.TEXT,
            "upper(encode(substr(uuid_send(gen_random_uuid()), 10, 3), 'hex'))",
        ),
    ],
)
def test_defaults(text: str, kind: Kind, sql: str) -> None:
    assert translate_default(text, kind) == sql


def test_a_view() -> None:
    tables = {
        "tab le": (Field("k", kinds.INT), Field("Name", kinds.TEXT)),
        "o": (Field("id", kinds.INT), Field("total", kinds.FLOAT)),
    }
    view = translate_view(
        "SELECT t.*, o.Total AS [the total] FROM [tab le] t LEFT JOIN o ON o.id = t.k "
        "WHERE o.total > 1 ORDER BY name DESC LIMIT 5",
        {name: Relation(TableName("s", name[0]), fields) for name, fields in tables.items()},
    )
    assert view == View(
        'SELECT "t"."k" AS "k", "t"."Name" AS "Name", "o"."total" AS "the total" '
        'FROM "s"."t" AS "t" LEFT JOIN "s"."o" AS "o" ON ("o"."id" = "t"."k") '
        'WHERE ("o"."total" > \'1.0\'::double precision) '
        'ORDER BY ("t"."Name" COLLATE "C") DESC NULLS LAST LIMIT 5',
        (
            Field("k", kinds.INT, "BINARY", affinity="INTEGER"),
            Field("Name", kinds.TEXT, "BINARY", affinity="TEXT"),
            Field("the total", kinds.FLOAT, "BINARY", affinity="REAL"),
        ),
    )


def test_a_view_names_its_columns_as_sqlite_does() -> None:
    select = 'SELECT id, k + 1, ID AS "x y", count(*)  FROM u GROUP BY id, k'
    relations = {
        "u": Relation(TableName("public", "u"), (Field("Id", kinds.INT), Field("k", kinds.INT)))
    }
    with closing(sqlite3.connect(":memory:")) as lite:
        lite.execute("CREATE TABLE u (Id INTEGER, k INTEGER)")
        lite.execute(f"CREATE VIEW v AS {select}")
        names = [column[0] for column in lite.execute("SELECT * FROM v").description]
    assert [field.name for field in translate_view(select, relations).fields] == names
    given_names = translate_view(select, relations, ("a", "b", "c", "d"))
    assert [field.name for field in given_names.fields] == ["a", "b", "c", "d"]


def test_sums_of_doubles_are_marked_as_approximate() -> None:
    view = translate_view("SELECT sum(real) AS s, sum(id) AS i FROM t", {"t": T})
    assert [field.approximate for field in view.fields] == [True, False]
    outer = translate_view(
        "SELECT s + 1 AS more FROM v", {"v": Relation(TableName("public", "v"), view.fields)}
    )
    assert outer.fields[0].approximate


# ---- what is left behind -------------------------------------------------------------------------

REFUSED = {
    "printf('%d', id) = '1'": "the function printf() is not translated",
    "lo_export(1, '/x')": "the function lo_export() is not translated",
    "pg_sleep(1)": "the function pg_sleep() is not translated",
    '"pg_sleep"(1)': "the function pg_sleep() is not translated",
    "name + 1": "the operator + over text is arithmetic in SQLite",
    "name MATCH 'a'": "MATCH is not translated where it stands",
    "name REGEXP 'a'": "REGEXP is not translated where it stands",
    "rowid > 1": "the row number rowid has no counterpart",
    "_rowid_ > 1": "the row number _rowid_ has no counterpart",
    "missing = 1": "the name missing is no column that is known",
    "[missing] = 1": "the name missing is no column that is known",
    "other.id = 1": "the name other.id is no column that is known",
    "merged = 'a'": "the column merged holds values of several storage classes",
    "id = ?": "the sign ? is not translated",
    "id = ?1": "the sign ? is not translated",
    "id = :a": "the sign : is not translated",
    "id = @a": "the sign @ is not translated",
    "id = $a": "the sign $ is not translated",
    "id IN (SELECT 1)": "a subquery is translated in a view only",
    "EXISTS (SELECT 1)": "a subquery is translated in a view only",
    "(SELECT 1) = 1": "a subquery is translated in a view only",
    "count(*) > 1": "the aggregate count() does not stand in a view",
    "max(id) > 1": "max() with 1 arguments is not translated",
    "id > 1; DROP TABLE t": "the sign ; is not translated",
    "id > 1) OR (1": ") is not translated where it stands",
    "RAISE(ABORT, 'x')": "the name ABORT is no column that is known",
    "(id, k) = (1, 2)": "row values are not translated",
    "sum(id) OVER ()": "sum() with OVER is not translated",
    "count(id) FILTER (WHERE id > 1) > 1": "count() with FILTER is not translated",
    "id = 'abc'": (
        "it compares an integer with text, which SQLite orders by their storage classes"
    ),
    "day >= '2020'": (
        "it compares a date with an integer, which SQLite orders by their storage classes"
    ),
    "at = '2020-01-01'": "it compares a timestamp with text, whose spelling in SQLite decides",
    "untyped = 5": (
        "it compares text with an integer, which SQLite orders by their storage classes"
    ),
    "any / 2 > 1": (
        "the operator / over numbers that may be INTEGER or REAL divides by their classes"
    ),
    "typeof(any) = 'real'": ("typeof() of a number that may be INTEGER or REAL is not translated"),
    "name": "text stands where a condition is needed",
    "name COLLATE de_DE = 'a'": "the collation DE_DE is not SQLite's own",
    "CURRENT_TIMESTAMP > at": "CURRENT_TIMESTAMP is translated in a DEFAULT only",
    "date('now') > day": "date() of the text 'now' is not translated",
    "CAST(name AS INTEGER)": "CAST of text to INTEGER reads the digits it begins with",
    "CAST(name AS regclass)": "CAST to REGCLASS is not translated",
    "substr(name, id, 2) = 'a'": ("substr() from a position that may be below 1 is not translated"),
    "name GLOB nick": "GLOB with a computed pattern is not translated",
    "round(real, 2) = real": (
        "round() of a real number to a number of digits depends on its binary digits"
    ),
    "id > 99999999999999999999": "the number 99999999999999999999 is too large for an integer",
    "id > 1e999": "the number 1e999 is too large",
    "doc ->> '$.a' = 1": ">> is not translated where it stands",
    "id = 1_000": "the number at '1' is not translated",
    "": "the text ends too early",
    "'open": "the sign ' is not translated",
    "id = 1 \0": "the text holds a NUL character",
    "name = x'0'": "x'0' is no blob",
    "(" * 100 + "1" + ")" * 100: "it nests deeper than 60 levels",
    "-" * 5: "the text ends too early",
    "NOT " * 100 + "1": "it nests deeper than 60 levels",
    " + ".join(["id"] * 20_000): "it is too long a chain of operators",
    "1" * 200_000: "the text is longer than 100000 characters",
    "round(" * 15 + "real" + ")" * 15: "its translation grows too long",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_refusals_name_their_reason(text: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate_check(text, T)
    assert caught.value.reason == REFUSED[text]
    assert str(caught.value) == caught.value.reason


REFUSED_VIEWS = {
    "SELECT sum(name) AS s FROM t": "sum() of text is arithmetic in SQLite",
    "SELECT name, count(*) AS n FROM t": ("the column name is neither grouped nor in an aggregate"),
    "SELECT group_concat(name) AS g FROM t": (
        "group_concat() puts values together in no certain order"
    ),
    "SELECT count() AS n FROM t": "count() with other than one argument is not translated",
    "SELECT id FROM missing": "the table missing is not known here",
    "SELECT id FROM other.t": "the schema other is not that of this database",
    "SELECT id FROM pg_authid": "the table pg_authid is not known here",
    "SELECT * FROM json_each('[1]')": "the table-valued function json_each() is not translated",
    "SELECT a.id FROM t a JOIN t a ON 1": "the name a stands twice in a FROM clause",
    "SELECT id FROM t a, t b": "the name id is ambiguous",
    "SELECT id, id FROM t": "two columns have the name id",
    "SELECT id FROM t NATURAL JOIN u": "NATURAL in a FROM clause is not translated",
    "SELECT a.id FROM t a FULL JOIN u ON 1": "FULL in a FROM clause is not translated",
    "SELECT id FROM t INDEXED BY i": "INDEXED in a FROM clause is not translated",
    "WITH RECURSIVE c AS (SELECT 1) SELECT * FROM c": "WITH RECURSIVE is not translated",
    "VALUES (1)": "VALUES is not translated where it stands",
    "SELECT id FROM t; DROP TABLE t": "the sign ; is not translated",
    "DELETE FROM t": "DELETE is not translated where it stands",
    "SELECT id FROM t LIMIT -1": ("a LIMIT or OFFSET that is no plain number is not translated"),
    "SELECT (SELECT id FROM t) AS a": (
        "a subquery that may give several rows stands for one value"
    ),
    "SELECT nick FROM t GROUP BY nick": "GROUP BY by the collation NOCASE is not translated",
    "SELECT DISTINCT nick FROM t": "DISTINCT by the collation NOCASE is not translated",
    "SELECT name FROM t UNION ALL SELECT nick FROM t": (
        "UNION ALL of different collations is not translated"
    ),
    "SELECT DISTINCT NULL AS a FROM t UNION ALL SELECT doc FROM t": (
        "UNION ALL of JSON is not translated"
    ),
    "SELECT DISTINCT nick AS a FROM t UNION ALL SELECT nick FROM t": (
        "UNION ALL by the collation NOCASE is not translated"
    ),
    "SELECT DISTINCT doc FROM t": "DISTINCT of JSON is not translated",
    "SELECT id FROM t UNION SELECT name FROM t": "UNION gives an integer and text",
    "SELECT id FROM t UNION SELECT id, k FROM t": (
        "the parts of UNION have different numbers of columns"
    ),
    "SELECT random() AS r": "the function random() is not translated",
    "SELECT row_number() OVER (ORDER BY id) AS n FROM t": (
        "row_number() with OVER is not translated"
    ),
    "SELECT a.id FROM t a JOIN t b ON c.id = 1 JOIN t c ON 1": "ON names c, which is joined later",
    'SELECT a.id FROM t a JOIN t b ON "v" = 1 JOIN u c ON 1': "ON names c, which is joined later",
    "SELECT id FROM t ORDER BY 'a'": "ORDER BY text is not translated",
    "SELECT (SELECT max(a.id) FROM u) AS m FROM t a": (
        "max() goes over columns of the query around it"
    ),
    "SELECT count(*) AS n FROM t a WHERE EXISTS (SELECT 1 FROM u AS a WHERE k = 1)": (
        "the column k is hidden by a name of a subquery"
    ),
    "SELECT count(*) + (SELECT max(v) FROM u WHERE v = a.id) AS n FROM t a": (
        "a subquery takes columns from a query with groups"
    ),
    f"SELECT id AS {'x' * 64} FROM t": f"the name {'x' * 64!r} is not of 1 to 63 bytes",
}
RELATIONS = {"t": T, "u": Relation(TableName("public", "u"), (Field("v", kinds.INT),))}


@pytest.mark.parametrize("select", REFUSED_VIEWS, ids=lambda select: select[:50])
def test_refused_views_name_their_reason(select: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate_view(select, RELATIONS)
    assert caught.value.reason == REFUSED_VIEWS[select]


@pytest.mark.parametrize(
    ("text", "kind", "sql"),
    [
        (asking.NOW[TIMESTAMPTZ], kinds.TIMESTAMPTZ, "now()"),
        (asking.NOW[TIMESTAMP], kinds.TIMESTAMP, "(now() AT TIME ZONE 'UTC')"),
        (asking.NOW[TIME], kinds.TIME, "(now() AT TIME ZONE 'UTC')::time"),
        (asking.NOW["date"], kinds.DATE, "(now() AT TIME ZONE 'UTC')::date"),
        (asking.RANDOM_UUID, kinds.UUID, "gen_random_uuid()"),
        ("'{1,2}'", kinds.native("integer[]"), "'{1,2}'::integer[]"),
        ("1.50", kinds.native("numeric(30,2)"), "'1.5'::numeric(30,2)"),
        ("'it''s'", kinds.native("tsvector"), "'it''s'::tsvector"),
    ],
)
def test_defaults_of_postgresql_are_known_again(text: str, kind: Kind, sql: str) -> None:
    assert translate_default(text, kind) == sql
    assert translate_default(f"({text})", kind) == sql


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("'abc'", kinds.INT, "the value 'abc' is not int"),
        ("2", kinds.BOOL, "the value 2 is not bool"),
        ("70000", Kind("int", bits=16), "the value 70000 is not int of 16 bits"),
        ("1.239", kinds.decimal(10, 2), "the value 1.239 is not decimal(10,2)"),
        ("'2020-02-30'", kinds.DATE, "the value '2020-02-30' is not date"),
        ("'x'", kinds.UUID, "the value 'x' is not uuid"),
        ("'NaN'", kinds.JSON, "the value 'NaN' is not json"),
        ("'abcd'", Kind("text", length=3), "the value 'abcd' is not text of at most 3 characters"),
        ("x'00'", kinds.TEXT, "the value x'00' is not text"),
        ("'a'", kinds.BYTES, "the value 'a' is not bytes"),
        ("randomblob(0)", kinds.BYTES, RANDOM),
        ("randomblob(1000)", kinds.BYTES, RANDOM),
        (
            "datetime('now', 'localtime')",
            kinds.TEXT,
            "datetime() with the modifier 'localtime' is not translated",
        ),
        ("strftime('%W', 'now')", kinds.TEXT, "strftime() with %W is not translated"),
        ("CURRENT_TIMESTAMP", kinds.INT, "a timestamp stands where int is needed"),
        ("nextval('s')", kinds.INT, "the function nextval() is not translated"),
        ("(SELECT 1)", kinds.INT, "a subquery is translated in a view only"),
        ("1e20", kinds.TEXT, "the text that SQLite makes of 1e+20 is not translated"),
    ],
)
def test_refused_defaults_name_their_reason(text: str, kind: Kind, reason: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate_default(text, kind)
    assert caught.value.reason == reason


def test_a_type_that_is_kept_as_its_text_is_refused_by_its_name() -> None:
    there = Relation(TableName("public", "t"), (Field("r", kinds.native("xid")),))
    with pytest.raises(Untranslatable) as caught:
        translate_check("trim(r) <> ''", there)
    assert caught.value.reason == "xid stands where text is needed"


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("price * 2", kinds.decimal(10, 2), "a real number stands where decimal(10,2) is needed"),
        ("name", kinds.INT, "text stands where int is needed"),
        ("id & 1", kinds.BOOL, "an integer stands where bool is needed"),
        ("real", kinds.TEXT, "a real number stands where text is needed"),
        ("at", kinds.TEXT, "a timestamp stands where text is needed"),
    ],
)
def test_refused_generated_columns_name_their_reason(text: str, kind: Kind, reason: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate_generated(text, T, kind)
    assert caught.value.reason == reason


def test_constants_are_not_indexed() -> None:
    with pytest.raises(Untranslatable):
        translate_index_term("'a'", T)
    with pytest.raises(Untranslatable):
        translate_index_term("doc", T)


def test_a_refusal_can_be_pickled() -> None:
    refusal = pickle.loads(pickle.dumps(Untranslatable("why")))
    assert refusal.reason == "why"


# ---- hostile text --------------------------------------------------------------------------------

# All that may stand in PostgreSQL's text outside of quotes.
WORDS = frozenset(
    """
    ALL AND AS ASC AT BETWEEN BY CASE COLLATE CROSS DATE DESC DISTINCT ELSE END ESCAPE EXCEPT
    EXISTS FIRST FROM GROUP HAVING IN INNER INTERSECT IS JOIN LAST LEFT LIKE LIMIT NOT NULL NULLS
    OFFSET ON OR ORDER SELECT THEN TIME TIMESTAMP TIMESTAMPTZ UNION UUID WHEN WHERE WITH ZONE
    abs avg bigint bit boolean btrim bytea coalesce count date date_trunc day decode double dow
    doy encode epoch extract false floor gen_random_uuid greatest hour integer least length lower
    lpad ltrim max min minute month now nullif numeric precision replace right rtrim second strpos
    substr sum text time timestamp to_char true trunc upper uuid_send year
    """.split()  # noqa: SIM905 - a list of 100 strings is no easier to read
)
# Literals and names whole, then words and numbers.
TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[^\W\d]\w*|\d[\w.+-]*|\s+|[^\w\s'\"]")


def assert_well_formed(sql: str, names: frozenset[str]) -> None:
    """Only known words stand outside of quotes, and only known names inside of them."""
    tokens = TOKEN.findall(sql)
    assert "".join(tokens) == sql
    depth = 0
    for token in tokens:
        if token[0] == '"':
            assert token[1:-1].replace('""', '"') in names | {"C"}, token
        elif token[0].isalpha():
            assert token in WORDS, token
        elif token in "()":
            depth += 1 if token == "(" else -1
        assert depth >= 0
        assert token not in (";", "--", "/*", "$", "\\")
    assert depth == 0
    assert "--" not in "".join(t for t in tokens if t[0] not in "'\"")


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


def reason_against(translate: Callable[[], str], names: frozenset[str]) -> str:
    """Why something is left behind, or "" where its translation is fit to be sent."""
    try:
        sql = translate()
    except Untranslatable as refusal:
        return refusal.reason
    assert_well_formed(sql, names)
    return ""


@settings(max_examples=150)
@given(HOSTILE, HOSTILE, HOSTILE)
@example("a\\", "'", "\\'")
def test_hostile_names_stay_quoted(name: str, table: str, value: str) -> None:
    fields = (Field(name, kinds.TEXT), Field("1st", kinds.INT))
    relation = Relation(TableName(table, table), fields, table)
    written, literal = quote(name), "'" + value.replace("'", "''") + "'"
    names = frozenset({name, table, "1st", value})
    for text in (
        f"{written} = {literal}",
        f"{quote(table)}.{written} LIKE {literal}",
        f"coalesce({written}, {quote(value)}) || {literal} <> upper({written})",
        f"{written} GLOB {literal}",
        f'"1st" > 1 /* {value} */'.replace("*/", "", value.count("*/")),
    ):
        check = partial(translate_check, text, relation)
        term = partial(translate_index_term, text, relation, "NOCASE")
        reasons = reason_against(check, names), reason_against(term, names)
        assert reasons == ("", "") or "GLOB" in reasons[0]
    assert reason_against(partial(translate_default, literal, kinds.TEXT), names) == ""
    view = f"SELECT {written} AS {quote(value)} FROM {quote(table)} WHERE {written} < {literal}"
    reason = reason_against(lambda: translate_view(view, {fold(table): relation}).sql, names)
    assert reason == "" or "63 bytes" in reason


SOUP = st.lists(
    st.sampled_from(
        [
            *(
                "id",
                "k",
                "name",
                "nick",
                "price",
                "any",
                "active",
                "day",
                "at",
                "raw",
                "doc",
                "key",
            ),
            *("1", "0.5", "'a'", "'2020-01-01'", "x'00'", "NULL", "TRUE", '"q"', "[id]", "t.", "*"),
            *(
                "=",
                "<",
                "IS",
                "NOT",
                "AND",
                "OR",
                "IN",
                "LIKE",
                "GLOB",
                "BETWEEN",
                "COLLATE NOCASE",
            ),
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
            *("coalesce(", "max(", "substr(", "length(", "strftime(", "CAST(", "AS TEXT)", "abs("),
            *("SELECT", "FROM t", "WHERE", "GROUP BY", "ORDER BY", "UNION", "LIMIT 1", "count(*)"),
            *("randomblob(4)", "hex(", "random()", "CURRENT_TIMESTAMP", "datetime('now')", "sum("),
        ]
    ),
    max_size=14,
).map(" ".join)


@settings(max_examples=600)
@given(SOUP | st.text(string.printable, max_size=40))
def test_any_text_is_translated_or_refused(text: str) -> None:
    names = frozenset(field.name for field in T.fields)
    reason_against(partial(translate_check, text, T), names)
    reason_against(partial(translate_index_term, text, T, "RTRIM"), names)
    reason_against(partial(translate_generated, text, T, kinds.TEXT), names)
    reason_against(partial(translate_default, text, kinds.TEXT), names)


@settings(max_examples=300)
@given(SOUP)
def test_any_query_is_translated_or_refused(text: str) -> None:
    # What a view's column is called is free, so names are not compared.
    with suppress(Untranslatable):
        translate_view(f"SELECT {text}", RELATIONS)
