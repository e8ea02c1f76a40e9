"""What inspecting a PostgreSQL source tells of its tables, and of whole databases."""

from __future__ import annotations

import re
import time
from contextlib import closing
from dataclasses import replace

import pytest
from tests.contract.inspecting import inspected, left, names, opened, rows_read, table
from tests.servers import Server
from tests.system.applications import chinook
from tests.system.support import SHARED, needs_shared

from tableferry.dialects.postgresql import session as postgres_session
from tableferry.model import Check, Column, Identity, Index, IndexColumn, Key, Range, TableName

# ---- which tables there are ---------------------------------------------------------------------


def test_every_schema_is_covered_unless_the_address_names_one(database: Server) -> None:
    everything = inspected(
        database,
        "CREATE TABLE a (x int)",
        "CREATE SCHEMA more",
        "CREATE TABLE more.b (x int)",
        'CREATE SCHEMA "Odd ""one"',
        'CREATE TABLE "Odd ""one"."c d" (x int)',
        "CREATE VIEW more.v AS SELECT x FROM more.b",
        "CREATE TYPE more.e AS ENUM ('a')",
        "CREATE TEMPORARY TABLE gone (x int)",
    )
    assert names(everything) == ['Odd "one.c d', "more.b", "a"]
    assert [view.name for view in everything.views] == [TableName("more", "v")]
    more = inspected(database, schema="more")
    assert names(more) == ["more.b"]
    assert [str(view.name) for view in more.views] == ["more.v"]
    assert [str(each.name) for each in more.types] == ["more.e"]
    here = inspected(database, schema="public")
    assert (names(here), here.views, here.types) == (["a"], (), ())
    assert inspected(database, schema="none").tables == ()
    with closing(opened(database)) as session:
        assert names(session.inspect_target()) == ["a"]


def test_what_belongs_to_an_extension_goes_with_it(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE mine (x int)",
        "CREATE TABLE theirs (x int, UNIQUE (x))",
        "CREATE VIEW theirs_seen AS SELECT x FROM theirs",
        "CREATE SEQUENCE their_numbers",
        "CREATE TYPE their_type AS ENUM ('a')",
        "CREATE FUNCTION their_function() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA their_schema",
        "CREATE TABLE their_schema.t (x int)",
        "CREATE TABLE uses (x their_type)",
        *(
            f"ALTER EXTENSION plpgsql ADD {what}"
            for what in (
                "TABLE theirs",
                "VIEW theirs_seen",
                "SEQUENCE their_numbers",
                "TYPE their_type",
                "FUNCTION their_function()",
                "SCHEMA their_schema",
            )
        ),
    )
    assert names(schema) == ["mine", "uses"]
    assert (schema.views, schema.types, schema.left_behind) == ((), (), ())
    assert table(schema, "uses").columns[0].user_type is None
    with closing(opened(database)) as session:
        assert names(session.inspect_target()) == ["mine", "uses"]


def test_an_extension_is_named(database: Server) -> None:
    extension = "vector" if database.version == 18 else "citext"
    schema = inspected(database, f"CREATE EXTENSION {extension}", "CREATE TABLE t (x int)")
    assert left(schema) == {("extension", extension, "")}


PARTITIONED = (
    "CREATE TABLE p (a int, b text DEFAULT 'x', CHECK (a > 0), PRIMARY KEY (a)) "
    "PARTITION BY RANGE (a)",
    "CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (MINVALUE) TO (10)",
    "CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (MAXVALUE) PARTITION BY LIST (a)",
    "CREATE TABLE p_ten PARTITION OF p_high FOR VALUES IN (10)",
    "CREATE TABLE p_rest PARTITION OF p_high DEFAULT",
    "CREATE INDEX p_b ON p (b)",
    "INSERT INTO p SELECT g FROM generate_series(1, 30) g",
    "ANALYZE p, p_low, p_ten, p_rest",
)


def test_a_partitioned_table_is_one_table(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = inspected(database, *PARTITIONED)
    assert names(schema) == ["p"]
    p = table(schema, "p")
    assert (p.rows, p.primary_key) == (30, Key(("a",), "p_pkey"))
    assert p.size >= 3 * 8192
    assert p.checks == (Check("(a > 0)", "p_a_check"),)
    assert p.indexes == (Index("p_b", (IndexColumn("b"),)),)
    assert left(schema) == {("partitioning", "RANGE (a)", "p")}
    (lost,) = schema.left_behind
    assert lost.reason.endswith(": p_high, p_low")
    with closing(opened(database)) as session:
        assert session.count(p.name) == 30
        assert session.find(p.name, "t.a > 20", ("a",), 1)[0] == 10
        assert session.ranges(p) == (Range(0),)
        assert rows_read(session, p, session.ranges(p)) == list(range(1, 31))
        assert session.inspect_target().tables[0].indexes == p.indexes
    # As many ranges as the largest of the partitions has, each over all of them.
    monkeypatch.setattr(postgres_session, "_RANGE_PAGES", 2)
    database.run("INSERT INTO p SELECT g, repeat('x', 1000) FROM generate_series(100, 199) g")
    with closing(opened(database)) as session:
        parts = session.ranges(p)
        assert 5 <= len(parts) <= 8
        assert rows_read(session, p, parts) == [*range(1, 31), *range(100, 200)]


def test_a_partition_of_a_table_that_is_not_covered_is_a_table(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE SCHEMA elsewhere",
        "CREATE TABLE p (a int PRIMARY KEY, CHECK (a > 0)) PARTITION BY LIST (a)",
        "CREATE TABLE elsewhere.part PARTITION OF p FOR VALUES IN (1)",
        "INSERT INTO p VALUES (1)",
        schema="elsewhere",
    )
    (part,) = schema.tables
    assert str(part.name) == "elsewhere.part"
    assert part.primary_key == Key(("a",), "part_pkey")
    assert [check.expression for check in part.checks] == ["(a > 0)"]
    with closing(opened(database, "elsewhere")) as session:
        assert session.count(part.name) == 1
        assert rows_read(session, part, session.ranges(part)) == [1]


def test_foreign_partitions_are_read_without_pages(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "CREATE TABLE p (a int) PARTITION BY LIST (a)",
        "CREATE FOREIGN TABLE p1 PARTITION OF p FOR VALUES IN (1) SERVER far",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        "INSERT INTO p2 SELECT 2 FROM generate_series(1, 99)",
    )
    assert ("foreign table", "p1", "p") not in left(schema)
    with closing(opened(database)) as session:
        assert session.ranges(table(schema, "p")) == (Range(0),)


def test_heirs_are_tables_of_their_own(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE parent (a int NOT NULL DEFAULT 7, CHECK (a > 0))",
        "CREATE TABLE child (b int) INHERITS (parent)",
        "INSERT INTO parent VALUES (1), (2)",
        "INSERT INTO child VALUES (3)",
    )
    assert names(schema) == ["child", "parent"]
    child = table(schema, "child")
    assert child.columns == (
        Column("a", "integer", nullable=False, default="7"),
        Column("b", "integer"),
    )
    assert [check.name for check in child.checks] == ["parent_a_check"]
    assert left(schema) == {("inheritance", "parent", "child")}
    with closing(opened(database)) as session:
        for found, values in ((child, [3]), (table(schema, "parent"), [1, 2])):
            assert session.count(found.name) == len(values)
            assert rows_read(session, found, session.ranges(found)) == values
            assert session.find(found.name, "true", ("a",), 5)[0] == len(values)


def test_a_materialised_view_is_a_table_with_its_rows(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE MATERIALIZED VIEW seen AS SELECT a FROM t",
        "CREATE UNIQUE INDEX seen_a ON seen (a)",
        "CREATE MATERIALIZED VIEW unseen AS SELECT a FROM t WITH NO DATA",
        "INSERT INTO t VALUES (3)",
    )
    assert names(schema) == ["seen", "t"]
    seen = table(schema, "seen")
    assert seen.indexes == (Index("seen_a", (IndexColumn("a"),), unique=True),)
    assert {(item.name, item.reason) for item in schema.left_behind} == {
        ("seen", "its rows arrive as a table"),
        ("unseen", "it holds no rows until it is refreshed"),
    }
    with closing(opened(database)) as session:
        assert session.count(seen.name) == 2
        assert rows_read(session, seen, session.ranges(seen)) == [1, 2]
        # Nothing can be loaded into one.
        assert names(session.inspect_target()) == ["t"]


def test_other_tables(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE nothing ()",
        "CREATE UNLOGGED TABLE unlogged (a int)",
        "CREATE TYPE pair AS (a int, b text)",
        "CREATE TABLE typed OF pair (PRIMARY KEY (a))",
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER far FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE distant (a int) SERVER far",
    )
    assert names(schema) == ["typed", "unlogged"]
    assert left(schema) == {
        ("table", "nothing", "nothing"),
        ("foreign server", "far", ""),
        ("foreign table", "distant", "distant"),
    }
    typed = table(schema, "typed")
    assert [(c.name, c.declared, c.nullable) for c in typed.columns] == [
        ("a", "integer", False),
        ("b", "text", True),
    ]


# ---- the inspection itself ----------------------------------------------------------------------


def test_the_search_path_stays_as_it_was(database: Server) -> None:
    query = "SELECT current_setting('search_path') AS p, current_setting('jit') AS j"
    with closing(opened(database)) as session:
        before = session.rows(query)
        session.inspect()
        session.inspect_target()
        assert session.rows(query) == before
    with closing(opened(database, "public")) as session:
        session.inspect()
        assert session.rows(query) == [before[0] | {"p": '"public"'}]


def test_an_inspection_is_quick(database: Server) -> None:
    for number in range(50):
        database.run(
            f"CREATE TABLE t{number} (id serial PRIMARY KEY, a text NOT NULL DEFAULT 'x', b int "
            f"REFERENCES t{number} CHECK (b > 0), c timestamptz DEFAULT now(), UNIQUE (a, c))",
            f"CREATE INDEX ON t{number} (c DESC)",
            f"CREATE VIEW v{number} AS SELECT a, b FROM t{number}",
        )
    with closing(opened(database)) as session:
        session.inspect()
        took = []
        for _ in range(5):
            began = time.perf_counter()
            assert len(session.inspect().tables) == 50
            took.append(time.perf_counter() - began)
    # Measured: 0.05 s on two cores. A query for each table would take a second.
    assert min(took) < 0.3


# ---- real databases -----------------------------------------------------------------------------


@needs_shared
def test_chinook(database: Server) -> None:
    schema = inspected(database, *chinook())
    with closing(opened(database)) as session:
        counts = {each.name.name: session.count(each.name) for each in schema.tables}
    assert counts == {
        "album": 347,
        "artist": 275,
        "customer": 59,
        "employee": 8,
        "genre": 25,
        "invoice": 412,
        "invoice_line": 2240,
        "media_type": 5,
        "playlist": 18,
        "playlist_track": 8715,
        "track": 3503,
    }
    assert sum(len(each.foreign_keys) for each in schema.tables) == 11
    assert sum(len(each.indexes) for each in schema.tables) == 11
    assert all(each.primary_key for each in schema.tables)
    assert not schema.left_behind


def pagila(database: Server) -> None:
    """Loads a dump as psql does: rows by COPY."""
    script = (SHARED / "pagila.sql").read_text()
    with database.connect() as connection, connection.cursor() as cursor:
        for piece in re.split(r"(?m)^(?=COPY )", script):
            if piece.startswith("COPY "):
                copy, _, rest = piece.partition(";\n")
                rows, _, piece = rest.partition("\\.\n")
                with cursor.copy(copy.encode()) as target:
                    target.write(rows)
            cursor.execute(piece.encode())


@needs_shared
def test_pagila(database: Server) -> None:
    pagila(database)
    schema = inspected(database)
    with closing(opened(database)) as session:
        counts = {each.name.name: session.count(each.name) for each in schema.tables}
        payment = replace(table(schema, "payment"), columns=table(schema, "payment").columns[:1])
        assert len(rows_read(session, payment, session.ranges(payment))) == 16_049
    assert counts == {
        "actor": 200,
        "address": 603,
        "category": 16,
        "city": 600,
        "country": 109,
        "customer": 599,
        "film": 1000,
        "film_actor": 5462,
        "film_category": 1000,
        "inventory": 4581,
        "language": 6,
        "payment": 16_049,
        "rental": 16_044,
        "staff": 2,
        "store": 2,
    }
    film = table(schema, "film")
    assert film.identity == Identity("film_id", 1001)
    assert film.column("rating").labels == ("G", "PG", "PG-13", "R", "NC-17")
    assert [check.expression for check in film.checks] == [
        '(("release_year" >= 1901) AND ("release_year" <= 2155))'
    ]
    assert len(schema.views) == 7
    assert {item.what for item in schema.left_behind} == {
        "aggregate",
        "foreign key",
        "function",
        "index",
        "materialised view",
        "partitioning",
        "trigger",
    }
    named = left(schema)
    assert sum(what == "trigger" for what, _, _ in named) == 15
    assert sum(what == "foreign key" for what, _, _ in named) == 3
    assert len(named) == len(schema.left_behind)
