"""What of a PostgreSQL source does not arrive is named, each thing once, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.contract.inspecting import inspected, left, names, opened
from tests.servers import Server

from tableferry.model import LeftBehind

# Each with what it is named by; a table t(a int, b text) is there.
ON_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, str, str]]] = {
    "trigger": (
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "ALTER EXTENSION plpgsql ADD FUNCTION f()",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        ),
        ("trigger", "g", "t"),
    ),
    "rule": (("CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING",), ("rule", "r", "t")),
    "policy": (
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY mine ON t USING (a > 0)"),
        ("policy", "mine", "t"),
    ),
    "row-level security": (
        ("ALTER TABLE t ENABLE ROW LEVEL SECURITY",),
        ("row-level security", "t", "t"),
    ),
    "grant": (("GRANT SELECT ON t TO PUBLIC",), ("grants", "t", "t")),
    "grant on a column": (("GRANT SELECT (a) ON t TO PUBLIC",), ("grants", "t", "t")),
    "statistics": (("CREATE STATISTICS s ON a, b FROM t",), ("statistics", "s", "t")),
}
OF_SCHEMAS: dict[str, tuple[tuple[str, ...], tuple[str, str, str]]] = {
    "function": (
        ("CREATE FUNCTION f(int, x text) RETURNS int LANGUAGE sql AS 'SELECT 1'",),
        ("function", "f(integer, x text)", ""),
    ),
    "procedure": (
        ("CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'",),
        ("procedure", "p()", ""),
    ),
    "aggregate": (
        ("CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",),
        ("aggregate", "total(integer)", ""),
    ),
    "operator": (
        ("CREATE OPERATOR === (LEFTARG = text, RIGHTARG = int, FUNCTION = pg_catalog.repeat)",),
        ("operator", "=== (text, integer)", ""),
    ),
    "operator class": (
        ("CREATE OPERATOR CLASS c FOR TYPE int USING hash AS OPERATOR 1 =",),
        ("operator class", "c", ""),
    ),
    "collation": (('CREATE COLLATION c FROM "C"',), ("collation", "c", "")),
    "conversion": (
        ("CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1",),
        ("conversion", "c", ""),
    ),
    "sequence": (("CREATE SEQUENCE s",), ("sequence", "s", "")),
    "text search configuration": (
        ("CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)",),
        ("text search configuration", "c", ""),
    ),
    "text search dictionary": (
        ("CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple)",),
        ("text search dictionary", "d", ""),
    ),
}
OF_DATABASES: dict[str, tuple[tuple[str, ...], tuple[str, str, str]]] = {
    "cast": (("CREATE CAST (int AS date) WITH INOUT",), ("cast", "integer AS date", "")),
    "event trigger": (
        (
            "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "ALTER EXTENSION plpgsql ADD FUNCTION f()",
            "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        ),
        ("event trigger", "e", ""),
    ),
    "publication": (("CREATE PUBLICATION p FOR TABLE t",), ("publication", "p", "")),
    "subscription": (
        (
            "CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p "
            "WITH (connect = false, slot_name = NONE)",
        ),
        ("subscription", "s", ""),
    ),
    "foreign server": (
        ("CREATE FOREIGN DATA WRAPPER w", "CREATE SERVER far FOREIGN DATA WRAPPER w"),
        ("foreign server", "far", ""),
    ),
    "large objects": (("SELECT lo_create(0)", "SELECT lo_create(0)"), ("large objects", "2", "")),
}
ALL = ON_TABLES | OF_SCHEMAS | OF_DATABASES


@pytest.fixture
def source(database: Server) -> Iterator[Server]:
    yield database
    # A database with a subscription cannot be dropped.
    if database.rows("SELECT FROM pg_subscription WHERE subname = 's'"):
        database.run("DROP SUBSCRIPTION s")


@pytest.mark.parametrize(("statements", "expected"), ALL.values(), ids=ALL)
def test_an_object_is_named(
    source: Server, statements: tuple[str, ...], expected: tuple[str, str, str]
) -> None:
    schema = inspected(source, "CREATE TABLE t (a int, b text)", *statements)
    assert left(schema) == {expected}
    assert len(schema.left_behind) == 1
    assert schema.left_behind[0].reason
    with closing(opened(source)) as session:
        assert session.inspect_target().left_behind == ()


def test_a_schema_that_the_address_names_answers_for_itself_alone(source: Server) -> None:
    # Those that call a function of one name would be in each other's way.
    groups = [group for group, _ in ALL.values() if not any(" f()" in each for each in group)]
    schema = inspected(
        source,
        "CREATE TABLE t (a int, b text)",
        *dict.fromkeys(statement for group in groups for statement in group),
        "CREATE SCHEMA other",
        "CREATE TABLE other.t (x int)",
        "CREATE SEQUENCE other.s",
        "CREATE FUNCTION other.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER g BEFORE INSERT ON other.t FOR EACH ROW EXECUTE FUNCTION other.f()",
        schema="other",
    )
    assert names(schema) == ["other.t"]
    assert left(schema) == {
        ("function", "other.f()", ""),
        ("sequence", "other.s", ""),
        ("trigger", "g", "other.t"),
    }


def test_what_arrives_or_means_nothing_elsewhere_is_not_named(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TYPE spread AS RANGE (subtype = float8)",
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
        "CREATE UNLOGGED TABLE t (a int PRIMARY KEY, b spread, c mood) WITH (fillfactor = 50)",
        "ALTER TABLE t ALTER b SET STORAGE EXTERNAL, REPLICA IDENTITY FULL",
        "CREATE TABLE owned (id serial)",
        "COMMENT ON TYPE mood IS 'of a person'",
        "GRANT ALL ON t TO postgres",
        "CREATE VIEW v AS SELECT a FROM t",
    )
    assert schema.left_behind == ()


def test_what_only_partitions_have(database: Server) -> None:
    schema = inspected(
        database,
        "CREATE TABLE parent (a int PRIMARY KEY)",
        "CREATE TABLE p (a int, b text, UNIQUE (a)) PARTITION BY RANGE (a)",
        "CREATE INDEX ON p (b)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER EXTENSION plpgsql ADD FUNCTION f()",
        "CREATE TRIGGER whole AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f()",
        *(
            statement
            for i in (1, 2)
            for statement in (
                f"CREATE TABLE p{i} PARTITION OF p FOR VALUES FROM ({i}) TO ({i + 1})",
                f"ALTER TABLE p{i} ADD FOREIGN KEY (a) REFERENCES parent, ADD CHECK (b <> '')",
                f"CREATE INDEX p{i}_own ON p{i} (b DESC, a) WHERE a > 0",
            )
        ),
        "ALTER TABLE p2 ADD PRIMARY KEY (b)",
        "CREATE TRIGGER part AFTER INSERT ON p2 FOR EACH ROW EXECUTE FUNCTION f()",
    )
    both = "only partitions have it: p1, p2"
    found = {item for item in schema.left_behind if item.what not in ("partitioning", "trigger")}
    assert found == {
        LeftBehind("foreign key", "FOREIGN KEY (a) REFERENCES public.parent(a)", "p", both),
        LeftBehind("check", "CHECK ((b <> ''::text))", "p", both),
        LeftBehind("index", "btree (b, a) WHERE (a > 0)", "p", both),
        LeftBehind("primary key", "PRIMARY KEY (b)", "p", "only partitions have it: p2"),
    }
    assert {item for item in left(schema) if item[0] == "trigger"} == {
        ("trigger", "whole", "p"),
        ("trigger", "part", "p"),
    }
