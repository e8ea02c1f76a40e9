"""--verify where SQLite is the target, or on both sides: what was changed after a run is found, and
nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.sqlite_files import asked, between, carried
from tests.system.support import (
    Run,
    command,
    ends,
    fingerprint,
    password,
    sqlite_file,
    sqlite_url,
    with_report,
)

POSTGRESQL = """
CREATE TABLE keyed (id integer PRIMARY KEY, word text, n numeric(10,2), f double precision,
    d date, b bytea, u uuid);
CREATE TABLE keyless (a integer, word text);
INSERT INTO keyed SELECT i, 'word ' || i, i / 4.0, i / 8.0, '2024-01-01'::date + i,
    int4send(i), lpad(i::text, 32, '0')::uuid FROM generate_series(1, 5000) i;
INSERT INTO keyless SELECT i % 10, 'word' FROM generate_series(1, 1000) i;
"""
SQLITE = """
CREATE TABLE keyed (id INTEGER PRIMARY KEY, word TEXT, n DECIMAL(10,2), f DOUBLE, d DATE, b BLOB,
    u UUID);
CREATE TABLE keyless (a INT, word);
WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 5000)
    INSERT INTO keyed SELECT i, 'word ' || i, i / 4.0, i / 8.0, date('2024-01-01', i || ' days'),
    CAST(i AS BLOB), i FROM i;
WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 1000)
    INSERT INTO keyless SELECT i % 10, 'word' FROM i;
"""

# What is done to the file, the table, and what is said of it: kind, column, times.
CHANGES: dict[str, tuple[str, str, set[tuple[str, str, int]]]] = {
    "a changed word": (
        "UPDATE keyed SET word = 'Word 77' WHERE id = 77",
        "keyed",
        {("changed", "word", 1)},
    ),
    "a changed digit": (
        "UPDATE keyed SET n = n + 0.01 WHERE id = 77",
        "keyed",
        {("changed", "n", 1)},
    ),
    "the last bit of a double": (
        "UPDATE keyed SET f = 0.12500000000000003 WHERE id = 1",
        "keyed",
        {("changed", "f", 1)},
    ),
    "a value gone": ("UPDATE keyed SET b = NULL WHERE id = 77", "keyed", {("changed", "b", 1)}),
    "a row lost": ("DELETE FROM keyed WHERE id = 77", "keyed", {("missing", "", 1)}),
    "a row more": (
        "INSERT INTO keyed SELECT 9999, word, n, f, d, b, u FROM keyed WHERE id = 77",
        "keyed",
        {("extra", "", 1)},
    ),
    "a row of many lost": (
        "DELETE FROM keyless WHERE rowid = 33",
        "keyless",
        {("missing", "", 1)},
    ),
    "a row doubled": (
        "INSERT INTO keyless SELECT * FROM keyless WHERE rowid = 33",
        "keyless",
        {("extra", "", 1)},
    ),
    "a row thrice instead of another": (
        "UPDATE keyless SET a = 4 WHERE rowid IN (33, 43)",
        "keyless",
        {("missing", "", 2), ("extra", "", 2)},
    ),
    "text that became a blob": (
        "UPDATE keyed SET word = CAST(word AS BLOB) WHERE id = 77",
        "keyed",
        {("changed", "word", 1)},
    ),
    "a number that became text": (
        "UPDATE keyed SET f = '9.625 ' || x'00' WHERE id = 77",
        "keyed",
        {("changed", "f", 1)},
    ),
    "a blob that became text": (
        "UPDATE keyed SET b = CAST(b AS TEXT) WHERE id = 77",
        "keyed",
        {("changed", "b", 1)},
    ),
}


# To PostgreSQL, which has no storage classes, text among blobs would go by its bytes.
MERGED = "a blob that became text"


@pytest.fixture(scope="module")
def brought(started: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that was made of a database, which every test makes anew from the same statements."""
    target = tmp_path_factory.mktemp("brought") / "target.db"
    with servers.fresh_database(started(servers.EMBEDDED)) as database:
        database.run(POSTGRESQL)
        run = command(
            *("database", "--from", database.url_without_password, "--to", sqlite_url(target)),
            env=password(database),
        )
    assert run.code == 0, run.err
    return target


def facts(run: Run, table: str) -> set[tuple[str, str, int]]:
    return {(d["what"], d["column"], d["times"]) for d in run.differences(table)}


def other_way(found: set[tuple[str, str, int]]) -> set[tuple[str, str, int]]:
    turned = {"missing": "extra", "extra": "missing"}
    return {(turned.get(what, what), column, times) for what, column, times in found}


@pytest.mark.parametrize("name", CHANGES)
def test_between_postgresql_and_sqlite(
    any_database: Server, brought: Path, tmp_path: Path, name: str
) -> None:
    """In both orders, and with nothing changed first."""
    any_database.run(POSTGRESQL)
    target = Path(shutil.copyfile(brought, tmp_path / "target.db"))
    statement, table, expected = CHANGES[name]
    there = "--from", any_database.url_without_password, "--to", sqlite_url(target)
    back = ends(target, any_database)
    env = password(any_database)
    if name == next(iter(CHANGES)):
        assert with_report(*there, "--verify", env=env).code == 0
        assert with_report(*back, "--verify", env=env).code == 0
    asked(target, statement)
    before = fingerprint(target)

    forward = with_report(*there, "--verify", env=env)
    backward = with_report(*back, "--verify", env=env)

    assert forward.code == 1, forward.err
    assert facts(forward, table) == expected
    runs = [forward]
    if name != MERGED:
        runs.append(backward)
        assert facts(backward, table) == other_way(expected)
    assert backward.code == (0 if name == MERGED else 1), backward.err
    for run in runs:
        verdicts = {t["source"]: t["verdict"] for t in run.report["tables"]}
        assert verdicts == {"keyed": "verified", "keyless": "verified"} | {table: "differs"}
    assert fingerprint(target) == before


SAME = {
    "a storage class": (
        "UPDATE keyless SET word = x'776f7264' WHERE rowid = 33",
        "keyless",
        {("missing", "", 1), ("extra", "", 1)},
    ),
    "a number that became text of its digits": (
        "UPDATE keyed SET b = CAST(77 AS TEXT) WHERE id = 77",
        "keyed",
        {("changed", "b", 1)},
    ),
    "an integer that became a real": (
        "UPDATE keyed SET b = 77.0 WHERE id = 77",
        "keyed",
        {("changed", "b", 1)},
    ),
}


@pytest.mark.parametrize("name", [*CHANGES, *SAME])
def test_between_two_sqlite_files(tmp_path: Path, name: str) -> None:
    source, target = sqlite_file(tmp_path / "source.db", SQLITE), tmp_path / "target.db"
    if name in SAME:
        asked(source, "UPDATE keyed SET b = 77 WHERE id = 77")
    carried(source, target)
    statement, table, expected = (CHANGES | SAME)[name]
    assert between(source, target, "--verify").code == 0
    asked(target, statement)
    before = fingerprint(source), fingerprint(target)

    forward = between(source, target, "--verify")
    backward = between(target, source, "--verify")

    assert (forward.code, backward.code) == (1, 1), forward.err + backward.err
    assert facts(forward, table) == expected
    assert facts(backward, table) == other_way(expected)
    assert (fingerprint(source), fingerprint(target)) == before
    assert {path.name for path in tmp_path.iterdir()} == {"source.db", "target.db"}


def test_what_differs_is_shown_with_its_storage_class(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v); "
        "INSERT INTO t VALUES (1, 1), (2, 'x'), (3, x'00'), (4, 1.5), (5, NULL)",
    )
    target = tmp_path / "target.db"
    carried(source, target)
    asked(
        target,
        "UPDATE t SET v = CASE id WHEN 1 THEN '1' WHEN 2 THEN x'78' WHEN 3 THEN 0 "
        "WHEN 4 THEN NULL ELSE 2.0 END",
    )
    run = between(source, target, "--verify")
    shown = {d["key"]["id"]: (d["source"], d["target"]) for d in run.differences("t")}
    assert shown == {
        "1": ("1", "'1'"),
        "2": ("'x'", "x'78'"),
        "3": ("x'00'", "0"),
        "4": ("1.5", "NULL"),
        "5": ("NULL", "2.0"),
    }


def test_files_that_are_not_there(tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SQLITE)
    run = between(source, tmp_path / "missing.db", "--verify")
    assert run.code == 3, run.err
    assert "missing.db" in run.err
    assert {path.name for path in tmp_path.iterdir()} == {"source.db"}


def test_the_same_file_twice(tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SQLITE)
    (tmp_path / "link.db").symlink_to(source)
    run = between(source, tmp_path / "link.db", "--verify")
    assert (run.code, "same" in run.err) == (3, True), run.err
