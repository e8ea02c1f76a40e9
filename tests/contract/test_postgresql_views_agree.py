"""The rows of a view of PostgreSQL are those of its translation in SQLite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from tests.boundary import RELATION, Both, filled, read, stored
from tests.servers import Server

from tableferry import kinds
from tableferry.expressions import Field, Relation, Untranslatable, View, translator
from tableferry.model import Kind, TableName
from tableferry.sql import quote

TO_SQLITE = translator("postgresql", "sqlite")
NUMBERED = Field("row", Kind("int", bits=32), declared="integer")
KNOWN = {"t": Relation(RELATION.name, (NUMBERED, *RELATION.fields), "t", "public")}


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    with filled(server) as opened:
        yield opened


def created(both: Both, text: str, known: dict[str, Relation]) -> View:
    """A view of PostgreSQL, made there; its translation."""
    both.server.execute("DROP VIEW IF EXISTS v CASCADE")
    both.server.execute(f"CREATE VIEW v AS {text}".encode())
    ((printed,),) = both.server.execute("SELECT pg_get_viewdef('v'::regclass)").fetchall()
    return TO_SQLITE.view(printed, known)


VIEWS = [
    "SELECT k, x FROM t",
    "SELECT k AS \"A\", x || 'y' AS b FROM t WHERE k > 0 AND x <> 'a'",
    "SELECT DISTINCT k, t, m, g, d, u, mo, y FROM t",
    (
        "SELECT k, count(*), count(x) AS a, count(DISTINCT x) AS b, sum(k), sum(m) AS d, "
        "sum(o) AS e FROM t GROUP BY k"
    ),
    "SELECT sum(q) AS q, min(k) AS a, max(m) AS b, min(d) AS c, max(ts) AS e, min(h) AS f FROM t",
    "SELECT bool_and(t) AS a, bool_or(w) AS b, every(k > 0) AS c FROM t WHERE k <> 0",
    "SELECT t, sum(m * 2) AS s FROM t GROUP BY t HAVING sum(m) > 1 ORDER BY sum(m) DESC",
    "SELECT count(*) FILTER (WHERE t) AS a, sum(k) FILTER (WHERE k > 0) AS b FROM t",
    "SELECT a.k, b.x FROM t a JOIN t b ON a.k = b.k AND a.t",
    "SELECT a.k, b.x FROM t a LEFT JOIN t b ON a.k = b.l + 1 WHERE a.k IS NOT NULL",
    "SELECT a.k, b.k AS other FROM t a CROSS JOIN t b WHERE a.k < b.k",
    "SELECT a.k, b.l FROM t a, t b LEFT JOIN t c ON b.k = c.k WHERE a.k = b.k",
    "SELECT k, a.x AS left, b.z AS right FROM t a JOIN t b USING (k)",
    "SELECT k, l FROM t a JOIN t b USING (k, l)",
    "SELECT k FROM t UNION SELECT l FROM t",
    "SELECT k, x FROM t UNION ALL SELECT NULL, 'z'",
    "SELECT k FROM t EXCEPT SELECT l FROM t WHERE l > 0",
    "SELECT k FROM t INTERSECT SELECT l FROM t ORDER BY 1 DESC",
    "SELECT k FROM t WHERE EXISTS (SELECT 1 FROM t b WHERE b.l = t.k)",
    "SELECT k FROM t WHERE NOT EXISTS (SELECT 1 FROM t b WHERE b.l = t.k AND b.t)",
    (
        "SELECT k FROM t WHERE k IN (SELECT l FROM t) AND x NOT IN (SELECT z FROM t WHERE z "
        "IS NOT NULL)"
    ),
    "SELECT k FROM t WHERE c IN (SELECT c FROM t WHERE t)",
    "SELECT d FROM t WHERE ts IN (SELECT d FROM t)",
    "SELECT k, (SELECT max(b.m) FROM t b WHERE b.k = a.k) AS most FROM t a",
    "SELECT s.n, s.k FROM (SELECT k, count(*) AS n FROM t GROUP BY k) s WHERE s.n > 1",
    (
        "WITH c AS (SELECT k, sum(m) AS s FROM t GROUP BY k) SELECT c.k, c.s * 2 AS d FROM c "
        "JOIN t USING (k)"
    ),
    (
        "WITH a(x1, x2) AS (SELECT k, l FROM t), b AS (SELECT x1 FROM a) SELECT a.*, b.x1 AS y "
        "FROM b, a WHERE a.x1 = b.x1"
    ),
    "SELECT k, m, ts FROM t ORDER BY m DESC NULLS LAST, ts, k, g, l LIMIT 5",
    "SELECT k, l, g, ts, m FROM t ORDER BY k, l, g, ts, m DESC OFFSET 3",
    "SELECT k, l, g, ts, m FROM t ORDER BY k, l, g, ts, m DESC LIMIT 3 OFFSET 2",
    (
        "SELECT CASE WHEN k > 0 THEN 'more' WHEN k = 0 THEN 'none' END AS how, coalesce(m, 0) "
        "AS m FROM t"
    ),
    "SELECT extract(year FROM d) AS year, count(*) AS n FROM t GROUP BY extract(year FROM d)",
    "SELECT date_trunc('month', ts) AS month, sum(m) AS total FROM t GROUP BY 1 ORDER BY 1",
    "SELECT * FROM t",
    "SELECT t.*, b.k AS bk FROM t JOIN t b ON t.k = b.l",
    "SELECT DISTINCT a.mo, b.t FROM t a LEFT JOIN t b ON a.mo = b.mo ORDER BY b.t",
    'SELECT k AS "Über ""x", l AS "select" FROM t',
    (
        "SELECT sum(m + 0.05) AS a, sum(p) AS b, sum(CASE WHEN t THEN m ELSE 0 END) AS c FROM "
        "t WHERE p < 100"
    ),
    "SELECT 1 AS one, 'x' AS x, NULL AS nothing, true AS yes, 1.50 AS price",
    "SELECT h, count(*) FROM t GROUP BY h ORDER BY h DESC",
    "SELECT i, b, n, f, r, x, v, c, tz, ti, js, jb FROM t WHERE n IS NOT NULL",
    "SELECT k, max(d) - min(d) AS days FROM t WHERE d > '1900-01-01' GROUP BY k",
]


def normal(value: Any, kind: Kind) -> Any:
    """A number of any number of digits by its digits, however it is kept."""
    if kind.name == "numeric" and isinstance(value, int):
        return kinds.canonical_numeric(Decimal(value))
    return value


def agrees(both: Both, name: str, view: View, ordered: bool) -> None:
    """Hold the rows of a view of PostgreSQL against those of its translation."""
    columns = [quote(field.name) for field in view.fields]
    listed = ", ".join(
        f"{column}::text" if field.kind.name == "native" else column
        for column, field in zip(columns, view.fields, strict=True)
    )
    theirs = both.server.execute(f"SELECT {listed} FROM {name}".encode()).fetchall()
    expected = [
        tuple(stored(value, field.kind) for value, field in zip(row, view.fields, strict=True))
        for row in theirs
    ]
    for ask in both.lites.values():
        quoted = ", ".join(f"quote({column})" for column in columns)
        ours = [
            tuple(normal(read(v), f.kind) for v, f in zip(row, view.fields, strict=True))
            for row in ask(f"SELECT {quoted} FROM {name}")
        ]
        if ordered:
            assert ours == expected
        assert Counter(ours) == Counter(expected), view.sql


@pytest.mark.parametrize("text", VIEWS)
def test_views_agree(both: Both, text: str) -> None:
    view = created(both, text, KNOWN)
    ((names,),) = both.server.execute(
        "SELECT array_agg(attname ORDER BY attnum)::text[] FROM pg_attribute "
        "WHERE attrelid = 'v'::regclass"
    ).fetchall()
    assert [field.name for field in view.fields] == names
    for ask in both.lites.values():
        ask(f"CREATE VIEW v AS {view.sql}")
    try:
        agrees(both, "v", view, "ORDER BY" in text)
    finally:
        for ask in both.lites.values():
            ask("DROP VIEW v")


def test_a_view_over_a_view(both: Both) -> None:
    text = 'SELECT k AS "Key", sum(m) AS s, max(x COLLATE "C") AS x FROM t GROUP BY k'
    first = created(both, text, KNOWN)
    both.server.execute(
        'CREATE VIEW w AS SELECT v."Key" + 1 AS a, v.s * 2 AS b, x FROM v WHERE s > 0.5'
    )
    ((printed,),) = both.server.execute("SELECT pg_get_viewdef('w'::regclass)").fetchall()
    known = KNOWN | {"v": Relation(TableName("main", "first view"), first.fields, "v", "public")}
    second = TO_SQLITE.view(printed, known, ("one", "two", "three"))
    assert [field.name for field in second.fields] == ["one", "two", "three"]
    for ask in both.lites.values():
        ask(f'CREATE VIEW "first view" AS {first.sql}')
        ask(f"CREATE VIEW w AS {second.sql}")
    both.server.execute("ALTER VIEW w RENAME a TO one")
    both.server.execute("ALTER VIEW w RENAME b TO two")
    both.server.execute("ALTER VIEW w RENAME x TO three")
    agrees(both, "w", second, False)


LEFT = [
    "SELECT x FROM t ORDER BY x",
    "SELECT k FROM t LIMIT 3",
    "SELECT max(x) AS m FROM t",
    "SELECT avg(k) AS a FROM t",
    "SELECT avg(m) AS a FROM t",
    "SELECT sum(n) AS a FROM t",
    "SELECT sum(r) AS a FROM t",
    "SELECT string_agg(x, ',') AS a FROM t",
    "SELECT array_agg(k ORDER BY k) AS a FROM t",
    "SELECT k, row_number() OVER (ORDER BY k) AS n FROM t",
    "SELECT DISTINCT ON (k) k, x FROM t ORDER BY k",
    "SELECT DISTINCT n FROM t",
    "SELECT DISTINCT c FROM t",
    "SELECT n, count(*) FROM t GROUP BY n",
    "SELECT jb, count(*) FROM t GROUP BY jb",
    'SELECT k AS a, l AS "A" FROM t',
    "SELECT now() AS n",
    "SELECT current_date AS n",
    "SELECT random() AS r",
    "SELECT a.k FROM t a FULL JOIN t b ON a.k = b.l",
    "SELECT a.k FROM t a RIGHT JOIN t b ON a.k = b.l",
    "SELECT a.k FROM t a JOIN LATERAL (SELECT b.k FROM t b WHERE b.k = a.k) s ON true",
    "SELECT g FROM generate_series(1, 3) g",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT n FROM r",
    "SELECT k FROM t UNION SELECT g FROM t",
    "(SELECT k FROM t ORDER BY k LIMIT 1) UNION ALL SELECT l FROM t",
    "SELECT k FROM t WHERE k > ALL (SELECT l FROM t)",
    "SELECT k, sum(m) FROM t GROUP BY ROLLUP (k)",
    "VALUES (1), (2)",
    'SELECT "T".k FROM t AS "T" JOIN t ON true',
    "SELECT relname FROM pg_class",
]


@pytest.mark.parametrize("text", LEFT)
def test_views_that_are_left_behind(both: Both, text: str) -> None:
    with pytest.raises(Untranslatable):
        created(both, text, KNOWN)
