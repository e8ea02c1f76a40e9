"""SQL that stays within one kind of database gives in the target what it gives in the source."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.boundary import FIELDS, Both, filled
from tests.contract.test_postgresql_expressions_agree import EXPRESSIONS
from tests.contract.test_postgresql_views_agree import LEFT, VIEWS
from tests.servers import Server
from tests.system.support import SHARED, needs_shared

from tableferry import kinds
from tableferry.expressions import Field, Relation, Untranslatable, translator
from tableferry.model import TableName
from tableferry.sql import quote

POSTGRESQL = translator("postgresql", "postgresql", frozenset({"mood"}))
SQLITE = translator("sqlite", "sqlite")
# In the target the table is called otherwise, and lies in another schema.
ROW = Field("row", kinds.INT)
MOVED = Relation(TableName("other place", "T 1"), (ROW, *FIELDS), "t", "public")


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    with filled(server) as opened:
        opened.server.execute('CREATE SCHEMA "other place"')
        opened.server.execute('CREATE TABLE "other place"."T 1" AS TABLE t')
        yield opened


def test_expressions_stay_the_same(both: Both) -> None:
    """What is let through means the same, and is taken wherever it was."""
    relation = Relation(TableName("public", "t"), FIELDS)
    for text in EXPRESSIONS:
        printed = both.printed(text)
        assert printed is not None
        sql = POSTGRESQL.check(printed, relation)
        assert "".join(sql.split()) == "".join(printed.split())
        assert both.printed(sql) is not None


MORE_VIEWS = [
    "SELECT k, row_number() OVER (PARTITION BY t ORDER BY k, row) AS n FROM t",
    "SELECT k, sum(m) OVER w AS s FROM t "
    "WINDOW w AS (ORDER BY row ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "SELECT k, sum(m) AS s FROM t GROUP BY GROUPING SETS ((k), ())",
    "SELECT s.n FROM t, LATERAL (SELECT t.k + 1 AS n) s",
    "SELECT g.i, g.ordinality FROM generate_series(1, 3) WITH ORDINALITY g(i)",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY g) AS p FROM t WHERE g IS NOT NULL",
    "SELECT x FROM t WHERE x ~ '^a' OR x SIMILAR TO '%b' ORDER BY x COLLATE \"C\", row",
    "SELECT t.* FROM t JOIN t b ON t.row = b.row",
    "SELECT t.k, (SELECT count(*) FROM t b WHERE b.k IS NOT DISTINCT FROM t.k) AS n FROM t",
    "SELECT js ->> 'a' AS a, jb -> 'a' AS b, jb @> '{}' AS c FROM t",
    "SELECT ARRAY[k, l] AS a, (ARRAY[1, 2])[1] AS b, k = ANY (ARRAY[1, 2]) AS c FROM t",
    "SELECT to_char(ts, 'YYYY') AS y, ts + interval '1 day' AS z, age(ts, tt) AS a FROM t",
    "SELECT d FROM (VALUES (1), (2)) v(d)",
    "SELECT string_agg(x, ',' ORDER BY x COLLATE \"C\", row) AS s FROM t",
    "SELECT to_tsvector('english', x) AS v FROM t",
]


# What changes from one moment to the next, and what is no table of ours.
NOT_COMPARED = ("random()", "now()", "pg_class")


@pytest.mark.parametrize(
    "text",
    [text for text in (*VIEWS, *LEFT, *MORE_VIEWS) if not any(n in text for n in NOT_COMPARED)],
)
@pytest.mark.parametrize("path", ["public", "pg_catalog"])
def test_views_of_postgresql(both: Both, text: str, path: str) -> None:
    """Printed for a session that finds the table by itself, and for one that does not."""
    server = both.server
    server.execute("DROP VIEW IF EXISTS v")
    server.execute(f"CREATE VIEW v AS {text}".encode())
    server.execute(f"SET search_path TO {path}".encode())
    ((printed, names),) = server.execute(
        "SELECT pg_get_viewdef('public.v'::regclass), array_agg(attname ORDER BY attnum)::text[] "
        "FROM pg_attribute WHERE attrelid = 'public.v'::regclass"
    ).fetchall()
    server.execute("SET search_path TO public")
    known = tuple(kinds.INT for _ in names)
    view = POSTGRESQL.view(printed, {"t": MOVED}, tuple(names), known)
    assert [field.name for field in view.fields] == names
    assert ('"other place"."T 1"' in view.sql) == (" t" in text.partition("FROM")[2])
    assert ('AS "view"' in view.sql) == text.startswith("VALUES")
    server.execute("DROP VIEW IF EXISTS w")
    server.execute(f"CREATE VIEW w AS {view.sql}".encode())
    listed = ", ".join(f"{quote(name)}::text" for name in names)
    rows = [
        server.execute(f"SELECT {listed} FROM {name} ORDER BY {listed}".encode()).fetchall()
        for name in ("v", "w")
    ]
    assert rows[0] == rows[1]


def test_a_view_of_postgresql_with_other_names(both: Both) -> None:
    view = POSTGRESQL.view(" SELECT k, x AS y FROM t;", {"t": MOVED}, ("One", "y"), ())
    assert view.fields == ()
    cursor = both.server.execute(view.sql.encode())
    assert [column.name for column in cursor.description or ()] == ["One", "y"]


# ---- SQLite -------------------------------------------------------------------------------------

NORTHWIND = SHARED / "northwind.sqlite"


@needs_shared
def test_views_of_sqlite_stay_the_same() -> None:
    with closing(sqlite3.connect(f"file:{NORTHWIND}?mode=ro", uri=True)) as source:
        tables = {
            name: Relation(
                TableName("main", name),
                tuple(
                    Field(column, kinds.TEXT)
                    for _, column, *_ in source.execute(f"PRAGMA table_info({quote(name)})")
                ),
            )
            for (name,) in source.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        }
        views = source.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'").fetchall()
        waiting, compared = dict(views), 0
        while waiting:
            ready = {}
            for name, text in waiting.items():
                select = re.split(r"\sAS\s", text, maxsplit=1, flags=re.IGNORECASE)[1]
                with contextlib.suppress(Untranslatable):
                    ready[name] = (select, SQLITE.view(select, tables))
            assert ready, waiting
            for name, (select, view) in ready.items():
                rows = [source.execute(sql).fetchall() for sql in (select, view.sql)]
                assert rows[0] == rows[1]
                tables[name] = Relation(TableName("main", name), view.fields)
                compared += 1
                del waiting[name]
        assert compared == len(views) > 5
