"""Rows that break a rule which nobody enforced in SQLite: counted, shown, and never changed."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.servers import Server
from tests.system.support import ferried, ferry, independent_differences, keys, sqlite_file

LEFT_OUT = "it was left out"
UNPROVEN = "it holds for new rows only (NOT VALID)"

ORPHANS = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, UNIQUE (a, b));
CREATE TABLE children (
    id INTEGER PRIMARY KEY,
    parent INTEGER CONSTRAINT has_parent REFERENCES parents ON DELETE CASCADE,
    a INTEGER,
    b TEXT,
    FOREIGN KEY (a, b) REFERENCES parents (a, b)
);
INSERT INTO parents VALUES (1, 1, 'x'), (2, 1, 'y');
INSERT INTO children VALUES (1, 1, 1, 'x'), (2, 99, 1, 'y'), (3, 98, 1, 'z'), (4, NULL, 1, NULL);
"""


def test_orphans(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", ORPHANS)

    run = ferried(source, database)

    assert independent_differences(source, database.url) == {}
    assert run.report["left_behind"] == []
    assert run.report["violations"] == [
        {
            "what": "foreign key",
            "name": name,
            "table": "children",
            "rows": len(orphans),
            "examples": [{"id": each} for each in orphans],
            "consequence": UNPROVEN,
        }
        for name, orphans in (("(parent) to parents", ["2", "3"]), ("(a, b) to parents", ["3"]))
    ]
    assert "2 rows break the foreign key (parent) to parents" in run.err
    assert database.rows(
        "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    ) == [("children_a_b_fkey", False), ("has_parent", False)]
    # New rows are held to it, and it acts.
    for refused in ("(parent) VALUES (97)", "(a, b) VALUES (1, 'z')"):
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            database.run(f"INSERT INTO children {refused}")
    database.run("UPDATE children SET a = NULL", "DELETE FROM parents WHERE id = 1")
    assert database.rows("SELECT id FROM children ORDER BY id") == [(2,), (3,), (4,)]
    # Once the rows are right, the target can prove it.
    database.run(
        "UPDATE children SET parent = 2 WHERE parent IS NOT NULL",
        "ALTER TABLE children VALIDATE CONSTRAINT has_parent",
    )


CHECKED = """
PRAGMA ignore_check_constraints = ON;
CREATE TABLE t (
    id INTEGER PRIMARY KEY,
    n INTEGER CONSTRAINT "not negative" CHECK (n >= 0),
    word TEXT CHECK (length(word) < 4)
);
CREATE TABLE keyless (low INTEGER, high INTEGER, CHECK (low <= high));
INSERT INTO t VALUES (1, 5, 'abc'), (2, -1, 'abc'), (3, NULL, NULL), (4, -2, 'abc');
INSERT INTO keyless VALUES (1, 2), (2, 1), (NULL, 1);
"""


def test_rows_that_break_a_check(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", CHECKED)

    run = ferried(source, any_database)

    assert independent_differences(source, any_database.url) == {}
    assert run.report["left_behind"] == []
    shown = {v["table"]: v for v in run.report["violations"]}
    assert shown == {
        "keyless": {
            "what": "check",
            "name": "keyless_check1",
            "table": "keyless",
            "rows": 1,
            "examples": [{"low": "2", "high": "1"}],
            "consequence": LEFT_OUT,
        },
        "t": {
            "what": "check",
            "name": "not negative",
            "table": "t",
            "rows": 2,
            "examples": [{"id": "2"}, {"id": "4"}],
            "consequence": LEFT_OUT,
        },
    }
    checks = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 't'::regclass"
    assert any_database.rows(checks) == [("t_check2",)]
    assert ferry(source, any_database, "--verify").code == 0


MERGED = """
CREATE TABLE keyed (k BLOB PRIMARY KEY, n INTEGER);
CREATE TABLE once (id INTEGER PRIMARY KEY, v BLOB, w TEXT, UNIQUE (v, w));
CREATE TABLE indexed (id INTEGER PRIMARY KEY, v BLOB);
CREATE UNIQUE INDEX only_v ON indexed (v);
INSERT INTO keyed VALUES (1, 1), ('1', 2), (2, 3);
INSERT INTO once VALUES (1, 1, 'a'), (2, '1', 'a'), (3, 1, 'b'), (4, NULL, 'a'), (5, NULL, 'a');
INSERT INTO indexed VALUES (1, 1.5), (2, '1.5'), (3, 'x');
"""


def test_keys_that_merge(any_database: Server, tmp_path: Path) -> None:
    """1 and '1' are two keys in SQLite and one text in PostgreSQL."""
    source = sqlite_file(tmp_path / "source.db", MERGED)

    run = ferried(source, any_database)

    violations = {v["table"]: v for v in run.report["violations"]}
    assert {table: (v["what"], v["name"], v["rows"]) for table, v in violations.items()} == {
        "keyed": ("primary key", "k", 2),
        "once": ("unique constraint", "v, w", 2),
        "indexed": ("index", "only_v", 2),
    }
    assert {v["consequence"] for v in violations.values()} == {LEFT_OUT}
    assert violations["keyed"]["examples"] == [{"k": "1"}, {"k": "1"}]
    assert violations["once"]["examples"] == [{"id": "1"}, {"id": "2"}]
    assert keys(any_database, "p") == {("once", ("id",)), ("indexed", ("id",))}
    assert keys(any_database, "u") == set()
    assert any_database.rows("SELECT k FROM keyed ORDER BY n") == [("1",), ("1",), ("2",)]
    assert ferry(source, any_database, "--verify").code == 0


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "CREATE TABLE p (id INTEGER PRIMARY KEY);"
            "CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);"
            "INSERT INTO c VALUES (1, NULL), (2, 98), (3, 99);",
            ("c", "2 rows break the foreign key (p) to p", "id = 2", "id = 3"),
        ),
        (
            "PRAGMA ignore_check_constraints = ON;"
            "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER CONSTRAINT few CHECK (n < 9));"
            "INSERT INTO t VALUES (1, 5), (2, 10);",
            ("t", "1 rows break the check few", "id = 2"),
        ),
        (
            "PRAGMA ignore_check_constraints = ON;"
            "CREATE TABLE t (low INTEGER, high INTEGER, CHECK (low <= high));"
            "INSERT INTO t VALUES (2, 1);",
            ("t", "1 rows break the check t_check1", "low = 2, high = 1"),
        ),
        (
            "CREATE TABLE keyed (k BLOB PRIMARY KEY); INSERT INTO keyed VALUES (1), ('1');",
            ("keyed", "2 rows break the primary key k", "k = 1"),
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB UNIQUE);"
            "INSERT INTO t VALUES (1, 1), (2, '1');",
            ("t", "2 rows break the unique constraint v", "id = 1", "id = 2"),
        ),
    ],
    ids=["foreign key", "check", "check without key", "primary key", "unique constraint"],
)
def test_stop(any_database: Server, tmp_path: Path, script: str, said: tuple[str, ...]) -> None:
    """Table, rule and key are named; without the flag the same source arrives."""
    source = sqlite_file(tmp_path / "source.db", script)

    run = ferry(source, any_database, "--violations", "stop")

    assert run.code == 4
    table, *rest = said
    assert f"Table {table}: " in run.err
    assert all(text in run.err for text in rest)
    assert run.report["status"] == "failed"
    assert run.report["error"]["exit_code"] == 4
    assert "--violations report" in run.err

    again = ferry(source, any_database, "--drop-all")
    assert again.code == 0
    assert again.report["violations"]


def test_strict_counts_violations(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", ORPHANS)

    run = ferry(source, any_database, "--strict")

    assert (run.code, run.report["status"]) == (1, "verified")
    assert len(run.report["violations"]) == 2
    right = sqlite_file(tmp_path / "right.db", ORPHANS.partition("INSERT INTO children")[0])
    ferried(right, any_database, "--strict", "--drop-all")


def test_the_schema_alone_has_no_violations(any_database: Server, tmp_path: Path) -> None:
    """Without rows every rule holds; those that the rows break give way when they come."""
    source = sqlite_file(tmp_path / "source.db", CHECKED + ORPHANS)
    named = "SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f') AND convalidated"
    ours = f"{named} AND connamespace = 'public'::regnamespace ORDER BY 1"
    created = ferry(source, any_database, "--schema-only", "--violations", "stop", "--strict")
    assert created.code == 0
    assert [name for (name,) in any_database.rows(ours)] == [
        *("children_a_b_fkey", "has_parent", "keyless_check1", "not negative", "t_check2")
    ]

    run = ferried(source, any_database)

    assert len(run.report["violations"]) == 4
    assert any_database.rows(ours) == [("t_check2",)]


def test_a_rule_that_means_something_else_there_is_no_violation(
    any_database: Server, tmp_path: Path
) -> None:
    """Its rows are right in the source; it is left behind, also where violations end a run."""
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME CHECK (at > '2024-01-01 12:00:00'));
        CREATE TABLE sums (a INTEGER, b INTEGER, CHECK (a + b > 0));
        INSERT INTO t VALUES (1, '2024-01-01T10:00:00'), (2, '2025-01-01 10:00:00');
        INSERT INTO sums VALUES (9223372036854775807, 1);
        """,
    )

    run = ferried(source, any_database, "--violations", "stop")

    assert run.report["violations"] == []
    left = {i["name"]: i["reason"] for i in run.report["left_behind"]}
    assert left["t_check1"] == "1 rows break it in the target, and 0 in the source"
    assert "out of range" in left["sums_check1"]


def test_a_parent_that_ignores_case_has_no_orphans(any_database: Server, tmp_path: Path) -> None:
    """SQLite compares by the parent's collation, PostgreSQL by its own: that is no violation, but
    no foreign key either, since it would refuse rows that are right."""
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE par (name TEXT COLLATE NOCASE PRIMARY KEY);"
        "CREATE TABLE chi (name TEXT REFERENCES par);"
        "INSERT INTO par VALUES ('abc'); INSERT INTO chi VALUES ('ABC');",
    )

    for how in ("stop", "reject"):
        run = ferried(source, any_database, "--violations", how, "--drop-all")
        assert run.report["violations"] == []
        assert run.left_behind("foreign key") == [("chi", "(name) to par")]
        assert any_database.rows("SELECT 1 FROM pg_constraint WHERE contype = 'f'") == []
        assert any_database.rows("SELECT name FROM chi") == [("ABC",)]
