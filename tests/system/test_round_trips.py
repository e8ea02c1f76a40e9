"""There and back again: what comes back is what went, but for what docs/types.md and the reports
name. Real databases, and one with a column of every type."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests import every_type, servers
from tests.servers import Server
from tests.system import postgresql_schemas, sqlite_schemas, trips
from tests.system.support import (
    SHARED,
    Run,
    needs_shared,
    password,
    sqlite_file,
    sqlite_url,
    with_report,
)

import tableferry

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def other_database(server: Server) -> Iterator[Server]:
    with servers.fresh_database(server) as fresh:
        yield fresh


def carried(database: Server, source: str, target: str) -> Run:
    run = with_report("--from", source, "--to", target, env=password(database))
    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    return run


def require_no_drift(source: str, target: str) -> None:
    """A verification alone finds what a migration has made to be what it would make."""
    outcome = tableferry.verify(source, target)
    assert outcome.verified
    assert outcome.drift == ()


def through_postgresql(source: Path, database: Server) -> tuple[Path, Run, Run]:
    back = source.with_name("back.db")
    return (
        back,
        carried(database, sqlite_url(source), database.url_without_password),
        carried(database, database.url_without_password, sqlite_url(back)),
    )


def through_sqlite(source: Server, target: Server, folder: Path) -> tuple[Run, Run]:
    middle = sqlite_url(folder / "middle.db")
    return (
        carried(source, source.url_without_password, middle),
        carried(target, middle, target.url_without_password),
    )


def loaded(database: Server, script: str) -> None:
    """A script as pg_dump writes it, with rows between COPY … FROM stdin and a backslash."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        pieces = re.split(r"(?ms)^(COPY [^;]*FROM stdin;)\n(.*?)^\\\.$", script)
        connection.execute(pieces[0].encode())
        for command, rows, rest in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            with connection.cursor().copy(command.encode()) as copy:
                copy.write(rows)
            if rest.strip():
                connection.execute(rest.encode())


def pagila(database: Server) -> None:
    loaded(database, (SHARED / "pagila.sql").read_text())
    # It comes without its rows.
    database.run("REFRESH MATERIALIZED VIEW public.rental_by_category")


def chinook(database: Server) -> None:
    script = (SHARED / "chinook_postgresql.sql").read_text()
    loaded(database, re.sub(r"^(DROP DATABASE|CREATE DATABASE|\\c) .*$", "", script, flags=re.M))


def every(database: Server) -> None:
    with database.connect() as connection:
        every_type.create(connection)


@needs_shared
@pytest.mark.parametrize("name", ["chinook", "northwind", "elements"])
def test_sqlite_comes_back(database: Server, name: str, tmp_path: Path) -> None:
    source = Path(shutil.copyfile(SHARED / f"{name}.sqlite", tmp_path / f"{name}.db"))

    back, there, again = through_postgresql(source, database)

    reports = there.report, again.report
    assert trips.sqlite_differences(source, back, *reports) == {}
    assert sqlite_schemas.schema_differences(source, back, *reports) == {}
    require_no_drift(sqlite_url(source), database.url)
    require_no_drift(database.url, sqlite_url(back))


@pytest.mark.parametrize(
    "fill",
    [every, pytest.param(pagila, marks=needs_shared), pytest.param(chinook, marks=needs_shared)],
)
def test_postgresql_comes_back(
    database: Server, other_database: Server, fill: Callable[[Server], None], tmp_path: Path
) -> None:
    fill(database)

    there, again = through_sqlite(database, other_database, tmp_path)

    reports = there.report, again.report
    urls = database.url, other_database.url
    assert trips.postgres_differences(*urls, *reports) == {}
    assert postgresql_schemas.schema_differences(*urls, *reports) == {}
    require_no_drift(database.url, sqlite_url(tmp_path / "middle.db"))
    require_no_drift(sqlite_url(tmp_path / "middle.db"), other_database.url)


@needs_shared
def test_no_drift_between_two_of_a_kind(any_database: Server, tmp_path: Path) -> None:
    pagila(any_database)
    source = Path(shutil.copyfile(SHARED / "northwind.sqlite", tmp_path / "northwind.db"))
    with servers.fresh_database(any_database) as target:
        for ends in (
            (any_database.url, target.url),
            (sqlite_url(source), sqlite_url(tmp_path / "copy.db")),
        ):
            assert tableferry.migrate(*ends).verified
            require_no_drift(*ends)


SCRIPT = """
CREATE TABLE parents (
    id INTEGER PRIMARY KEY,
    mixed TEXT UNIQUE,
    at DATETIME DEFAULT CURRENT_TIMESTAMP,
    n NUMERIC DEFAULT 1.5,
    x REAL CHECK (x > 0)
);
INSERT INTO parents VALUES (1, 'a', '2024-02-29T12:00', 1e300, 0.1), (2, x'00', NULL, 3, 2.0);
CREATE TABLE children (
    p INT REFERENCES parents (id) ON DELETE CASCADE, u UUID, d DATE, v ANY, PRIMARY KEY (p, u)
) WITHOUT ROWID;
INSERT INTO children VALUES (1, 'b', '2024-01-01', 1), (2, 'c', 'infinity', 'one');
CREATE INDEX few ON children (d DESC) WHERE d IS NOT NULL;
CREATE VIEW all_of_them AS SELECT id FROM parents;
CREATE TRIGGER t AFTER INSERT ON parents BEGIN SELECT 1; END;
"""


@pytest.fixture
def small(any_database: Server, tmp_path: Path) -> tuple[Path, Path, Run, Run]:
    source = sqlite_file(tmp_path / "source.db", SCRIPT)
    return source, *through_postgresql(source, any_database)


def test_what_differs_is_what_the_reports_name(small: tuple[Path, Path, Run, Run]) -> None:
    source, back, there, again = small
    reports = there.report, again.report
    assert trips.sqlite_differences(source, back, *reports) == {}
    assert sqlite_schemas.schema_differences(source, back, *reports) == {}
    found = trips.table_trips(*reports)
    named = {
        (table.name, column.name, column.merged, column.spelled, column.numbers_as_text)
        for table in found.values()
        for column in table.columns
        if column.merged or column.spelled or column.numbers_as_text
    }
    assert named == {
        ("parents", "mixed", True, False, False),
        ("parents", "at", False, True, False),
        ("parents", "n", False, False, True),
        ("children", "v", True, False, False),
    }


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE parents SET x = 0.1000001 WHERE id = 1", "parents: x"),
        ("UPDATE parents SET x = CAST(x AS TEXT) || 'x' WHERE id = 2", "parents: x"),
        ("UPDATE parents SET at = '2024-02-29 12:00:01' WHERE id = 1", "parents: rows"),
        ("UPDATE parents SET mixed = x'01' WHERE id = 2", "parents: rows"),
        ("UPDATE parents SET n = '4' WHERE id = 2", "parents: rows"),
        ("DELETE FROM children WHERE p = 2", "children: rows"),
        ("INSERT INTO children VALUES (3, 'e', NULL, NULL)", "children: rows"),
        ("UPDATE parents SET at = '2024-02-29T12:00' WHERE id = 1", "parents: at"),
    ],
)
def test_the_comparison_of_rows_sees(
    small: tuple[Path, Path, Run, Run], change: str, where: str
) -> None:
    source, back, there, again = small
    sqlite_file(back, f"PRAGMA ignore_check_constraints = ON; {change}")
    assert where in trips.sqlite_differences(source, back, there.report, again.report)


@pytest.mark.parametrize(
    ("change", "what", "fact"),
    [
        ("DROP INDEX few", "gone and not named", "index"),
        ("DROP VIEW all_of_them", "gone and not named", "view"),
        ("ALTER TABLE parents DROP COLUMN n", "types", "n"),
        ("CREATE UNIQUE INDEX more ON children (d)", "new", "index"),
        ("ALTER TABLE children RENAME COLUMN v TO w", "types", "w"),
        ("CREATE TRIGGER t AFTER INSERT ON parents BEGIN SELECT 1; END", "named and not gone", "t"),
    ],
)
def test_the_comparison_of_schemas_sees(
    small: tuple[Path, Path, Run, Run], change: str, what: str, fact: str
) -> None:
    source, back, there, again = small
    sqlite_file(back, change)
    found = sqlite_schemas.schema_differences(source, back, there.report, again.report)
    assert fact in str(found.pop(what))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE t SET a = a + 10 WHERE a = 1", "rows"),
        ("DELETE FROM t WHERE a = 2", "rows"),
        ("ALTER TABLE t ALTER b TYPE varchar(9)", "types"),
        ("ALTER TABLE t ALTER b DROP NOT NULL", "gone and not named"),
        ("ALTER TABLE t ALTER a DROP DEFAULT", "gone and not named"),
        ("ALTER TABLE t DROP CONSTRAINT t_a_key", "gone and not named"),
        ("CREATE INDEX ON t (b)", "new"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "named and not gone"),
    ],
)
def test_the_comparison_of_postgresql_sees(
    any_database: Server, started: Callable[[str], Server], tmp_path: Path, change: str, what: str
) -> None:
    any_database.run(
        "CREATE TABLE t (a int DEFAULT 7 UNIQUE, b text NOT NULL)",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    )
    with servers.fresh_database(started(servers.EMBEDDED)) as target:
        there, again = through_sqlite(any_database, target, tmp_path)
        ends = any_database.url, target.url, there.report, again.report
        assert trips.postgres_differences(*ends) == {}
        assert postgresql_schemas.schema_differences(*ends) == {}
        target.run(change)
        found = trips.postgres_differences(*ends) | postgresql_schemas.schema_differences(*ends)
    assert any(what in where for where in found)


CORNERS = """
CREATE SCHEMA other;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN other.small AS positive NOT NULL DEFAULT 5 CONSTRAINT below CHECK (VALUE < 100);
CREATE TYPE mood AS ENUM ('ok', 'it''s');
CREATE TABLE t (
    id int GENERATED ALWAYS AS IDENTITY (START WITH 7 INCREMENT BY 3) PRIMARY KEY,
    price numeric(10,2) NOT NULL DEFAULT 0,
    vat numeric(10,2) GENERATED ALWAYS AS (price * 2) STORED,
    n int NOT NULL, twice int GENERATED ALWAYS AS (n * 2) STORED,
    name varchar(5) CHECK (name <> ''), "Name" char(3), at timestamptz DEFAULT now(),
    key uuid DEFAULT gen_random_uuid(), tags text[] DEFAULT '{}', how mood DEFAULT 'ok'
);
COMMENT ON TABLE t IS 'two\nlines -- of a comment';
COMMENT ON COLUMN t.name IS 'a name';
INSERT INTO t (price, n, name, "Name", how)
    VALUES (1.5, 3, 'a', 'x', 'it''s'), (2, -4, NULL, '', NULL);
CREATE TABLE other.t (a other.small, b int REFERENCES t (id) ON DELETE SET NULL, c text, d numeric);
INSERT INTO other.t VALUES (5, 7, 'x', 1.10), (5, 7, 'x', 1.10), (99, NULL, '', 'NaN');
CREATE UNIQUE INDEX lowered ON t (lower(name), n DESC) WHERE n > 0;
CREATE INDEX spread ON t USING brin (n);
CREATE VIEW cheap AS SELECT id, price FROM t WHERE price < 2;
CREATE VIEW other.cheap AS SELECT b FROM other.t WHERE a = 5;
CREATE VIEW odd AS SELECT pg_typeof(n) AS type FROM t;
CREATE TABLE parent (a int, b text);
CREATE TABLE heir (c int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'of parent');
INSERT INTO heir VALUES (2, 'of heir', 3);
CREATE TABLE parts (a int, b text, PRIMARY KEY (a, b)) PARTITION BY LIST (b);
CREATE TABLE parts_x PARTITION OF parts FOR VALUES IN ('x');
CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
INSERT INTO parts VALUES (1, 'x'), (2, 'y');
CREATE SEQUENCE free;
CREATE TABLE "select" ("from" int, "FROM" int, "a b" int, UNIQUE ("from", "FROM"));
INSERT INTO "select" VALUES (1, 2, 3), (NULL, NULL, NULL), (NULL, NULL, NULL);
"""


def test_corners_of_postgresql_come_back(
    database: Server, other_database: Server, tmp_path: Path
) -> None:
    loaded(database, CORNERS)

    there, again = through_sqlite(database, other_database, tmp_path)

    ends = database.url, other_database.url, there.report, again.report
    assert trips.postgres_differences(*ends) == {}
    assert postgresql_schemas.schema_differences(*ends) == {}
    # What was there before goes on after the end of the trip.
    insert = "INSERT INTO t (n) VALUES (1) RETURNING id, price, twice, tags, how::text"
    assert other_database.rows(insert) == database.rows(insert)


def test_names_of_what_the_target_lacks_become_text(
    any_database: Server, started: Callable[[str], Server], tmp_path: Path
) -> None:
    any_database.run(
        "CREATE SEQUENCE s",
        "CREATE TABLE t (known regclass, unknown regclass)",
        "INSERT INTO t VALUES ('pg_class', 's')",
    )
    with servers.fresh_database(started(servers.EMBEDDED)) as target:
        there, again = through_sqlite(any_database, target, tmp_path)
        ends = any_database.url, target.url, there.report, again.report
        assert trips.postgres_differences(*ends) == {}
        assert postgresql_schemas.schema_differences(*ends) == {}
        assert list(again.widened()) == ["t.unknown"]


def test_rows_that_break_a_rule_are_shown_whatever_their_texts_are(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE parents (id TEXT PRIMARY KEY);"
        "CREATE TABLE children (id TEXT PRIMARY KEY, p TEXT REFERENCES parents);"
        "INSERT INTO children VALUES (CAST(x'61f4' AS TEXT), 'nobody');",
    )

    run = with_report("--from", sqlite_url(source), "--to", sqlite_url(tmp_path / "copy.db"))

    assert run.code == 0, run.err
    ((table, _, count),) = run.violations("foreign key")
    assert (table, count) == ("children", 1)
    (broken,) = run.report["violations"]
    assert broken["examples"] == [{"id": "'a\ufffd'"}]


# ---- the document --------------------------------------------------------------------------------


def rows_of(heading: str) -> list[tuple[list[str], str]]:
    """The types that stand in the first cells of a table, and the second cell."""
    text = (DOCS / "types.md").read_text(encoding="utf-8")
    table = text.split(heading)[1].split("\n\n")[0]
    cells = (row.strip("|").split(" | ") for row in table.splitlines()[2:])
    return [(re.findall(r"`([^`]+)`", first), second.strip(" `")) for first, second in cells]


def test_the_document_says_what_comes_back_to_sqlite() -> None:
    rows = rows_of("| in PostgreSQL | in SQLite |")
    said = {type_: there for types, there in rows for type_ in types if "`" not in there}
    assert said.items() >= {**sqlite_schemas.TYPES}.items()
    for type_ in ("numeric(10,2)", "numeric(30,4)", "character varying(20)"):
        assert said[type_] == sqlite_schemas.type_at_the_end(type_, key=False)
    assert "INTEGER" in [there for types, there in rows if not types]
    assert [there for types, there in rows if types == ["numeric"]]


def test_the_document_says_what_comes_back_to_postgresql() -> None:
    rows = rows_of("| was | comes back as |")
    said = {type_: back for types, back in rows for type_ in types if len(types) == 1}
    rule = postgresql_schemas.type_at_the_end
    for was, back in said.items():
        if was not in ("numeric(10,2)", "regclass"):
            assert rule(was) == back, was
    assert said["numeric(10,2)"] == rule("numeric(10,2)")
    ((keys, big),) = [(types, back) for types, back in rows if "smallint" in types]
    assert {rule(key, key=True) for key in keys} == {big}
    assert set(postgresql_schemas.OTHERWISE) <= set(said)
    assert rule("x.y", users=True) in [back for types, back in rows if not types]
