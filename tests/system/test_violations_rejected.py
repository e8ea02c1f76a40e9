"""--violations reject: rows that break a rule are set aside, and those that this leaves alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import ferried, ferry, sqlite_file

SCRIPT = """
CREATE TABLE people (id INTEGER PRIMARY KEY, chief INTEGER REFERENCES people,
                     age INTEGER CHECK (age > 0));
CREATE TABLE tasks (id INTEGER PRIMARY KEY, who INTEGER REFERENCES people, what TEXT);
CREATE TABLE hours (day TEXT, task INTEGER REFERENCES tasks);
CREATE TABLE sound (id INTEGER PRIMARY KEY, who INTEGER REFERENCES people);
PRAGMA ignore_check_constraints = ON;
INSERT INTO people VALUES (1, NULL, 30), (2, 1, 31), (3, 99, 32), (4, 3, 33), (5, 1, -5);
INSERT INTO tasks VALUES (1, 1, 'a'), (2, 3, 'b'), (3, 4, 'c'), (4, 77, 'd'), (5, 5, 'e'),
                         (6, NULL, 'f');
INSERT INTO hours VALUES ('x', 1), ('x', 1), ('y', 2), ('y', 2), ('z', NULL);
INSERT INTO sound VALUES (1, 2);
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "source.db", SCRIPT)


def set_aside(table: str) -> list[dict[str, Any]]:
    lines = Path("tableferry-rejects", f"{table}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_what_breaks_a_rule_is_set_aside_and_its_children_too(
    database: Server, source: Path
) -> None:
    run = ferry(source, database, "--violations", "reject")

    assert run.code == 1, run.err
    assert run.report["status"] == "rejected"
    assert run.report["violations"] == run.report["left_behind"] == []
    assert {t["source"]: t["rejected"]["rows"] for t in run.report["tables"]} == {
        "people": 3,
        "tasks": 4,
        "hours": 2,
        "sound": 0,
    }
    assert {(r["row"]["id"], r["column"], r["reason"]) for r in set_aside("people")} == {
        (3, "chief", "breaks the foreign key (chief) to people"),
        (4, "chief", "breaks the foreign key (chief) to people"),
        (5, "id", "breaks the check people_check1"),
    }
    assert [r["row"]["id"] for r in set_aside("tasks")] == [2, 3, 4, 5]
    assert [r["row"] for r in set_aside("hours")] == [{"day": "y", "task": 2}] * 2
    assert database.rows("SELECT id FROM people ORDER BY 1") == [(1,), (2,)]
    assert database.rows("SELECT id FROM tasks ORDER BY 1") == [(1,), (6,)]
    assert database.rows("SELECT * FROM hours ORDER BY 1") == [("x", 1), ("x", 1), ("z", None)]
    unproven = "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f') AND NOT convalidated"
    assert database.rows(unproven) == []
    ours = "SELECT count(*) FROM pg_constraint WHERE contype IN ('c', 'f') AND conname ~ '_'"
    assert database.rows(f"{ours} AND connamespace = 'public'::regnamespace") == [(5,)]


def test_rows_put_right_are_loaded(any_database: Server, source: Path) -> None:
    ferry(source, any_database, "--violations", "reject")
    file = Path("tableferry-rejects", "people.jsonl")
    file.write_text(file.read_text().replace('"chief": 99', '"chief": 1').replace("-5", "5"))

    run = ferry(source, any_database, "--tables", "people", "--rejects", str(file))

    assert run.code == 0, run.err
    assert any_database.rows("SELECT id, chief FROM people WHERE id > 2 ORDER BY 1") == [
        (3, 1),
        (4, 3),
        (5, 1),
    ]


def test_keys_that_meet_only_once_they_are_text(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE t (k BLOB PRIMARY KEY, v);"
        "INSERT INTO t VALUES (1, 'a'), ('1', 'b'), (2, 'c')",
    )

    run = ferry(source, any_database, "--violations", "reject")

    assert run.code == 1, run.err
    assert any_database.rows("SELECT k, v FROM t") == [("2", "c")]
    assert [r["row"] for r in set_aside("t")] == [{"k": 1, "v": "a"}, {"k": "1", "v": "b"}]
    assert any_database.rows("SELECT count(*) FROM pg_constraint WHERE contype = 'p'")[0][0] > 0


def test_nothing_to_reject(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p INTEGER REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1), (NULL)",
    )

    ferried(source, any_database, "--violations", "reject")

    assert not Path("tableferry-rejects").exists()
