"""Values that the other side cannot have: they are named, and all other rows are compared."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.support import Run, ferried, ferry, password, sqlite_file, sqlite_url, with_report

from tableferry import verify

_SCRIPT = """
CREATE TABLE things (id INTEGER PRIMARY KEY, n INTEGER, price DECIMAL(10,2), word TEXT);
CREATE TABLE keyless (n INTEGER, word TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO things SELECT i, i * 2, i / 4.0, 'word ' || i FROM n;
INSERT INTO keyless SELECT n, word FROM things;
"""
_CHANGES = (
    "UPDATE things SET n = 'abc' WHERE id = 5",
    "UPDATE things SET n = x'00', price = 'dear' WHERE id = 6",
    "UPDATE things SET n = n + 1 WHERE id = 7",
    "DELETE FROM things WHERE id = 8",
    "INSERT INTO things VALUES (1000, 'new', 1, 'x')",
    "UPDATE keyless SET n = 'abc' WHERE n = 10",
    "UPDATE keyless SET word = 'other' WHERE n = 20",
)


def change(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in _CHANGES:
            connection.execute(statement)
        connection.commit()


def found(run: Run, table: str) -> set[tuple[str, str, str, str, str]]:
    return {
        (d["what"], d["key"].get("id") or d["key"]["n"], d["column"], d["source"], d["target"])
        for d in run.differences(table)
    }


def test_values_of_the_source(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", _SCRIPT)
    ferried(source, any_database)
    change(source)

    run = ferry(source, any_database, "--verify")

    assert run.code == 1, run.err
    assert found(run, "things") == {
        ("changed", "5", "n", "'abc'", "10"),
        ("changed", "6", "n", "x'00'", "12"),
        ("changed", "6", "price", "'dear'", "1.50"),
        ("changed", "7", "n", "15", "14"),
        ("extra", "8", "", "", ""),
        ("missing", "1000", "", "", ""),
    }
    differences = run.table("things")["differences"]
    assert differences["rows"] == {"changed": 3, "missing": 1, "extra": 1}
    assert differences["more_rows"] == 0
    assert not differences["search_cut_short"]
    assert run.table("things")["rows"] == {"source": 500, "target": 500}
    assert found(run, "keyless") == {
        ("missing", "'abc'", "", "", ""),
        ("missing", "20", "", "", ""),
        ("extra", "10", "", "", ""),
        ("extra", "20", "", "", ""),
    }


def test_values_of_the_target(any_database: Server, tmp_path: Path) -> None:
    ferried(sqlite_file(tmp_path / "source.db", _SCRIPT), any_database)
    target = tmp_path / "target.db"
    url = any_database.url_without_password
    back = ("--from", url, "--to", sqlite_url(target))
    assert with_report(*back, env=password(any_database)).code == 0
    change(target)

    run = with_report(*back, "--verify", env=password(any_database))

    assert run.code == 1, run.err
    assert found(run, "things") == {
        ("changed", "5", "n", "10", "'abc'"),
        ("changed", "6", "n", "12", "x'00'"),
        ("changed", "6", "price", "1.50", "'dear'"),
        ("changed", "7", "n", "14", "15"),
        ("missing", "8", "", "", ""),
        ("extra", "1000", "", "", ""),
    }
    assert run.table("things")["differences"]["rows"] == {"changed": 3, "missing": 1, "extra": 1}


@pytest.mark.parametrize("listed", [0, 1, 3])
def test_at_most_so_many_are_listed(any_database: Server, tmp_path: Path, listed: int) -> None:
    source = sqlite_file(tmp_path / "source.db", _SCRIPT)
    ferried(source, any_database)
    change(source)

    run = ferry(source, any_database, "--verify", "--max-differences", str(listed))

    differences = run.table("things")["differences"]
    assert len(differences["listed"]) == listed
    assert differences["rows"] == {"changed": 3, "missing": 1, "extra": 1}


def test_what_of_the_source_is_not_compared_is_named(tmp_path: Path) -> None:
    ends = [
        sqlite_url(
            sqlite_file(
                tmp_path / f"{word}.db",
                "CREATE TABLE t (a); CREATE VIRTUAL TABLE words USING fts5(word);"
                f"INSERT INTO words VALUES ('{word}')",
            )
        )
        for word in ("one", "other")
    ]
    outcome = verify(*ends, workers=1)

    assert outcome.verified
    assert any("words (virtual table)" in warning for warning in outcome.warnings)


def test_rows_with_nan_among_decimals_are_named(any_database: Server, tmp_path: Path) -> None:
    any_database.run(
        "CREATE TABLE t (price numeric(10,2), word text)",
        "INSERT INTO t VALUES ('NaN', 'a'), ('NaN', 'b'), (1, 'c')",
    )
    target = tmp_path / "target.db"
    back = ("--from", any_database.url_without_password, "--to", sqlite_url(target))
    assert with_report(*back, env=password(any_database)).code == 0
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("UPDATE t SET word = 'other' WHERE word = 'a'")
        connection.commit()

    run = with_report(*back, "--verify", env=password(any_database))

    named = {(d["what"], d["key"]["word"]) for d in run.differences("t")}
    assert named == {("missing", "'a'"), ("extra", "'other'")}
