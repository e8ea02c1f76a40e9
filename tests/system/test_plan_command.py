"""migrate plan: what would be done, in full, touching nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.servers import Server
from tests.system.applications import definitions
from tests.system.support import (
    Run,
    catalog,
    command,
    ends,
    ferried,
    password,
    sqlite_file,
    sqlite_url,
)

SCRIPT = """
CREATE TABLE makers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(10) NOT NULL DEFAULT 'nobody' UNIQUE -- as printed on the box
);
CREATE TABLE things (
    id INTEGER PRIMARY KEY,
    maker INTEGER REFERENCES makers ON DELETE CASCADE,
    price DECIMAL(8,2) CHECK (price >= 0),
    amount INT,
    total REAL AS (price * 2.0) STORED,
    made DATE,
    ctid TEXT
);
CREATE INDEX dear ON things (price DESC) WHERE price > 100;
CREATE VIEW cheap AS SELECT id, price FROM things WHERE price < 1;
CREATE TRIGGER busy AFTER INSERT ON makers BEGIN SELECT 1; END;
INSERT INTO makers (name) VALUES ('ann'), ('bob');
INSERT INTO things (id, maker, price, amount, made) VALUES
    (1, 1, 0.5, 3, '2024-02-29'), (2, 2, 120.25, 'many', NULL), (3, NULL, NULL, 2.5, 'soon');
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "source.db", SCRIPT)


def planned(source: Path, target: Server, *flags: str) -> Run:
    run = command("plan", *ends(source, target), *flags, env=password(target))
    assert run.code == 0, run.err
    return run


def report_of(run: Run) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(run.out)
    return read


def test_it_says_what_the_run_then_does(any_database: Server, source: Path) -> None:
    plan = report_of(planned(source, any_database, "--report", "-"))
    run = ferried(source, any_database)

    assert plan["status"] == "planned"
    assert plan["risks"] == []
    assert plan["left_behind"] == run.report["left_behind"]
    assert plan["views"] == [{"source": "cheap", "target": "cheap", "compared": False}]
    assert run.report["views"] == [{"source": "cheap", "target": "cheap", "compared": True}]
    of_plan = {table["source"]: table["plan"] | {"generation": 0} for table in plan["tables"]}
    of_run = {t["source"]: t["plan"] | {"generation": 0} for t in run.report["tables"]}
    assert of_plan == of_run
    assert {w["column"] for w in of_plan["things"]["misfits"]} == {"amount", "made"}
    assert {table["source"]: table["rows"] for table in plan["tables"]} == {
        "makers": 2,
        "things": 3,
    }
    assert plan["estimate"]["disk_bytes"] > 0


def test_the_script_makes_the_same_schema(database: Server, source: Path) -> None:
    script = planned(source, database, "--sql", "--quiet").out
    ferried(source, database)
    migrated = definitions(database)
    database.run("DROP TABLE makers, things CASCADE")

    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(script.encode())

    assert definitions(database) == migrated
    database.run("INSERT INTO makers (name) VALUES ('cy')")
    assert database.rows("SELECT id FROM makers") == [(3,)]


def test_the_script_gives_to_the_roles(any_database: Server, source: Path) -> None:
    script = planned(source, any_database, "--sql", "--quiet", "--owner", 'a"b', "--grant", "c").out

    assert 'ALTER TABLE "public"."makers" OWNER TO "a""b";' in script
    assert 'GRANT SELECT ON "public"."cheap" TO "c";' in script


def test_nothing_is_touched(any_database: Server, source: Path) -> None:
    before = hashlib.sha256(source.read_bytes()).digest(), catalog(any_database)

    run = planned(source, any_database)

    assert (hashlib.sha256(source.read_bytes()).digest(), catalog(any_database)) == before
    assert [path.name for path in source.parent.iterdir()] == ["source.db"]
    assert run.out == ""
    for words in (
        "things",
        "the column became text",
        "Left behind: trigger",
        "Nothing was touched",
    ):
        assert words in run.err


def test_a_server_that_is_not_there(source: Path, tmp_path: Path) -> None:
    """Neither one that cannot be reached nor a private one that was never started."""
    for target in ("postgresql://nobody@127.0.0.1:1/none", f"embedded:{tmp_path}/private"):
        run = command("plan", "--from", sqlite_url(source), "--to", target)
        assert run.code == 0, run.err
        assert "A plan for 2 tables, 5 rows and 1 view" in run.err
        assert ("was not looked at" in run.err) == target.startswith("postgresql")
    assert not (tmp_path / "private").exists()


def test_what_stands_in_the_way_is_a_risk(any_database: Server, source: Path) -> None:
    ferried(source, any_database)
    any_database.run("CREATE TABLE outside (maker bigint REFERENCES makers)")

    risks = report_of(planned(source, any_database, "--report", "-"))["risks"]

    assert any("--drop-all is needed" in risk and "makers" in risk for risk in risks)
    assert any("outside" in risk for risk in risks)


def test_an_existing_table_keeps_its_definition(any_database: Server, source: Path) -> None:
    any_database.run(
        "CREATE TABLE things (id int PRIMARY KEY, maker int, price numeric, amount int, "
        "total float8, made date)"
    )
    refused = command("plan", *ends(source, any_database), env=password(any_database))
    assert refused.code == 3
    assert "things of the target has no column ctid" in refused.err

    plan = report_of(planned(source, any_database, "--report", "-", "--tables", "makers"))
    assert [table["existing"] for table in plan["tables"]] == [False]


def test_values_that_an_existing_column_cannot_take(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db", "CREATE TABLE t (n); INSERT INTO t VALUES (1), ('many');"
    )
    any_database.run("CREATE TABLE t (n int, note text DEFAULT 'x')")

    plan = report_of(planned(source, any_database, "--report", "-"))

    assert plan["tables"][0]["existing"]
    assert plan["risks"] == ["t.n: values do not fit the existing column"]
