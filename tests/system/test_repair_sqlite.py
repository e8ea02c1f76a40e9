"""``--verify --repair`` where a SQLite file is the target, which is written where it stands; and a
repair that is killed."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import every_type, servers
from tests.servers import Server
from tests.system.sqlite_files import asked, between, carried, require_ordinary, stored, tables
from tests.system.support import (
    command,
    copy_of,
    end,
    ends,
    environment,
    ferried,
    ferry,
    fingerprint,
    is_alive,
    password,
    sqlite_file,
    sqlite_url,
    start,
    wait_until,
    with_report,
)
from tests.system.test_options import on_a_terminal
from tests.system.test_verify_sqlite import CHANGES, POSTGRESQL

from tableferry import repair, repairing
from tableferry.outcomes import Repair

_SCRIPT = """
CREATE TABLE keyed (id INTEGER PRIMARY KEY, word TEXT, n NUMERIC, v, r REAL, i INT, b BLOB,
    code TEXT NOT NULL UNIQUE, twice AS (word || word) STORED);
CREATE TABLE keyless (a INT, word);
CREATE TABLE pairs (a TEXT COLLATE NOCASE, b INT, note TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE loose (k PRIMARY KEY, note TEXT) WITHOUT ROWID;
CREATE TABLE strict (id INTEGER PRIMARY KEY, r REAL, a ANY) STRICT;
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent INTEGER REFERENCES parent ON DELETE CASCADE);
CREATE TABLE log (what);
CREATE TRIGGER logged AFTER UPDATE ON Keyed BEGIN INSERT INTO log VALUES (new.id); END;
CREATE TRIGGER again AFTER INSERT ON keyed BEGIN INSERT INTO log VALUES (new.id); END;
CREATE TRIGGER gone AFTER DELETE ON keyed BEGIN INSERT INTO log VALUES (old.id); END;
WITH RECURSIVE i(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM i WHERE i < 300)
    INSERT INTO keyed (id, word, n, v, r, i, b, code)
    SELECT i, 'word ' || i, CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i + 0.5 WHEN 2 THEN 'x' || i END,
    CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i + 0.0 WHEN 2 THEN 'x' || i ELSE CAST(i AS BLOB) END,
    i, i, CAST(i AS BLOB), 'c' || i FROM i;
DELETE FROM log;
INSERT INTO keyless SELECT id % 10, v FROM keyed;
INSERT INTO keyless SELECT 5, NULL FROM keyed WHERE id < 10;
INSERT INTO pairs SELECT 'a' || (id % 7), id, word FROM keyed;
INSERT INTO loose SELECT CASE id % 3 WHEN 0 THEN id WHEN 1 THEN 'k' || id ELSE CAST(id AS BLOB) END,
    word FROM keyed;
INSERT INTO strict SELECT id, r, v FROM keyed;
INSERT INTO parent SELECT id FROM keyed WHERE id < 20;
INSERT INTO child SELECT id, id FROM parent;
"""

_WORSE = (
    "UPDATE keyed SET n = 7, v = x'00', r = 'text', i = 'text', b = '' WHERE id BETWEEN 5 AND 8",
    "UPDATE keyed SET word = CAST(word AS BLOB) WHERE id BETWEEN 8 AND 12",
    "UPDATE keyed SET code = 'c0' WHERE id = 20",
    "UPDATE keyed SET code = 'c20' WHERE id = 21",
    "UPDATE keyed SET code = 'c21' WHERE id = 20",
    "DELETE FROM keyed WHERE id IN (30, 31)",
    "INSERT INTO keyed (id, code) VALUES (999, 'c30')",
    "UPDATE keyless SET word = 1 WHERE rowid IN (3, 4)",
    "DELETE FROM keyless WHERE word IS NULL",
    "INSERT INTO keyless SELECT 6, NULL FROM pairs WHERE b < 4",
    "UPDATE pairs SET note = 'x' WHERE b IN (7, 8)",
    "UPDATE pairs SET a = upper(a) WHERE b = 9",
    "DELETE FROM pairs WHERE b = 10",
    "UPDATE loose SET note = NULL WHERE k IN (3, 'k4', CAST(5 AS BLOB))",
    "DELETE FROM loose WHERE k IN (6, 'k7', CAST(8 AS BLOB))",
    "INSERT INTO loose VALUES (1.5, 'x'), ('6', 'x'), (x'', 'x')",
    "UPDATE strict SET a = CAST(a AS TEXT), r = r + 1 WHERE id BETWEEN 40 AND 47",
    "DELETE FROM parent WHERE id = 3",
    "INSERT INTO parent VALUES (77)",
    "INSERT INTO child (id, parent) VALUES (78, 77)",
    "DELETE FROM log",
)


def contents(path: Path) -> dict[str, Counter[Any]]:
    return {name: stored(path, name) for name in tables(path)}


def definitions(path: Path) -> list[tuple[Any, ...]]:
    return sorted(asked(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema"), key=repr)


@pytest.mark.parametrize("rows", [50_000, 3])
def test_between_two_sqlite_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(repairing, "_ROWS", rows)
    source, target = sqlite_file(tmp_path / "source.db", _SCRIPT), tmp_path / "target.db"
    carried(source, target)
    if rows == 3:
        # The two would have to meet in one transaction.
        worse = [statement for statement in _WORSE if "code" not in statement]
    else:
        worse = list(_WORSE)
    expected, shape = contents(target), definitions(target)
    before = fingerprint(source)
    asked(target, *worse)
    untouched = "SELECT rowid, * FROM keyless WHERE word IS NOT NULL AND rowid NOT IN (3, 4)"
    kept = asked(target, untouched)
    status = target.stat()

    outcome = repair(sqlite_url(source), sqlite_url(target))

    assert outcome.verified, outcome
    assert contents(target) == expected
    assert definitions(target) == shape
    assert set(kept) <= set(asked(target, untouched))
    assert target.stat().st_ino == status.st_ino
    require_ordinary(target)
    assert fingerprint(source) == before
    done = {table.source: table.repair for table in outcome.tables}
    assert done["loose"] == Repair(changed=3, inserted=3, deleted=3)
    # A key of another case is the same to NOCASE, but not the same value.
    assert done["pairs"] in (Repair(changed=2, inserted=2, deleted=1), Repair(3, 1))
    assert done["child"] == Repair(deleted=1)
    assert between(source, target, "--verify").code == 0


def test_a_file_in_wal_mode_stays_one(tmp_path: Path) -> None:
    source, target = sqlite_file(tmp_path / "source.db", _SCRIPT), tmp_path / "target.db"
    carried(source, target)
    asked(target, "PRAGMA journal_mode = WAL")
    asked(target, *_WORSE)

    run = between(source, target, "--verify", "--repair")

    assert run.code == 0, run.err
    assert asked(target, "PRAGMA journal_mode") == [("wal",)]
    assert asked(target, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("way", ["to SQLite", "to PostgreSQL"])
def test_values_of_every_type(started: Callable[[str], Server], tmp_path: Path, way: str) -> None:
    with servers.fresh_database(started(servers.EMBEDDED)) as source:
        with psycopg.connect(source.url, autocommit=True) as connection:
            columns = every_type.create(connection)
        target = tmp_path / "target.db"
        env = password(source)
        there = ("--from", source.url_without_password, "--to", sqlite_url(target))
        run = with_report(*there, env=env)
        assert run.code == 0, run.err
        if way == "to SQLite":
            expected = contents(target)
            names = [row[1] for row in asked(target, "PRAGMA table_xinfo(every_type)")][1:]
            changes = ", ".join(f'"{name}" = NULL' for name in names)
            asked(
                target,
                f"UPDATE every_type SET {changes} WHERE id % 3 = 0",
                "DELETE FROM every_type WHERE id % 3 = 1",
            )
            run = with_report(*there, "--verify", "--repair", env=env)
            assert run.code == 0, run.err
            assert contents(target) == expected
            return
        with copy_of(source) as other:
            rows = "SELECT t::text FROM every_type t ORDER BY 1"
            expected_rows = other.rows(rows)
            changes = ", ".join(f"{column.name} = NULL" for column in columns)
            other.run(
                f"UPDATE every_type SET {changes} WHERE id % 3 = 0",
                "DELETE FROM every_type WHERE id % 3 = 1",
            )
            run = with_report(
                *("--from", source.url_without_password, "--to", other.url_without_password),
                *("--verify", "--repair"),
                env=env,
            )
            assert run.code == 0, run.err
            assert other.rows(rows) == expected_rows


@pytest.fixture(scope="module")
def brought(started: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that was made of a database, which every test makes anew from the same statements."""
    target = tmp_path_factory.mktemp("brought") / "target.db"
    with servers.fresh_database(started(servers.EMBEDDED)) as database:
        database.run(POSTGRESQL)
        urls = ("--from", database.url_without_password, "--to", sqlite_url(target))
        run = command("database", *urls, env=password(database))
    assert run.code == 0, run.err
    return target


STRANGE = {
    "text where a number belongs": (
        "UPDATE keyed SET n = 'x', word = NULL WHERE id = 77",
        "keyed",
        {("changed", "n", 1)},
    ),
    "text where there was NULL": (
        "UPDATE keyed SET f = 'x' WHERE id = 4999",
        "keyed",
        {("changed", "f", 1)},
    ),
    "a row of nothing that belongs there": (
        "INSERT INTO keyed VALUES (6000, x'00', 'x', 'x', 1, 1, 1)",
        "keyed",
        {("extra", "", 1)},
    ),
    "text among numbers, without a key": (
        "UPDATE keyless SET a = 'x' WHERE rowid IN (1, 2, 11)",
        "keyless",
        {("missing", "", 2)},
    ),
}


@pytest.mark.parametrize("name", [*CHANGES, *STRANGE])
def test_from_postgresql(any_database: Server, brought: Path, tmp_path: Path, name: str) -> None:
    any_database.run(POSTGRESQL, "UPDATE keyed SET f = NULL WHERE id = 4999")
    target = Path(shutil.copyfile(brought, tmp_path / "target.db"))
    asked(target, "UPDATE keyed SET f = NULL WHERE id = 4999")
    expected = contents(target)
    statement, table, _ = (CHANGES | STRANGE)[name]
    asked(target, statement)
    urls = ("--from", any_database.url_without_password, "--to", sqlite_url(target))

    run = with_report(*urls, "--verify", "--repair", env=password(any_database))

    assert run.code == 0, run.err
    assert contents(target) == expected
    done = run.table(table)["repair"]
    assert 1 <= done["changed"] + done["inserted"] + done["deleted"] <= 6
    require_ordinary(target)


def test_values_of_the_source_that_the_target_cannot_hold(
    any_database: Server, tmp_path: Path
) -> None:
    """Such a row is left as it stands in the target, and all others are repaired."""
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);"
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
    )
    ferried(source, any_database)
    asked(source, "UPDATE t SET n = 'x' WHERE id = 2", "UPDATE t SET n = 4 WHERE id = 3")
    any_database.run("DELETE FROM t WHERE id = 1")

    run = ferry(source, any_database, "--verify", "--repair")

    assert run.code == 1, run.err
    assert any_database.rows("SELECT * FROM t ORDER BY 1") == [(1, 1), (2, 2), (3, 4)]
    assert run.table("t")["repair"] == {
        "changed": 1,
        "inserted": 1,
        "deleted": 0,
        "left": 1,
        "reasons": ["the target's columns cannot hold their values"],
    }


def test_a_file_that_another_program_writes_to(tmp_path: Path) -> None:
    source, target = sqlite_file(tmp_path / "source.db", _SCRIPT), tmp_path / "target.db"
    carried(source, target)
    asked(target, *_WORSE)
    before = contents(target)
    other = sqlite3.connect(target)
    try:
        run = between(source, target, "--verify", "--repair")
    finally:
        other.close()
    assert run.code == 3
    assert "is in use by" in run.err
    assert contents(target) == before


def test_an_unfinished_run_is_in_the_way(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", _SCRIPT)
    any_database.run("CREATE TABLE tableferry_run (name text, value text)")
    run = ferry(source, any_database, "--verify", "--repair")
    assert run.code == 3
    assert "unfinished run" in run.err


@pytest.mark.parametrize(
    ("answer", "flags", "code"), [("n", (), 1), ("y", (), 0), (None, ("--yes",), 0)]
)
def test_a_terminal_is_asked(
    any_database: Server,
    tmp_path: Path,
    answer: str | None,
    flags: tuple[str, ...],
    code: int,
) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    ferried(source, any_database)
    any_database.run("UPDATE t SET v = 'x' WHERE id = 1", "INSERT INTO t VALUES (3, 'c')")
    before = any_database.rows("SELECT xmin::text, * FROM t")

    arguments = ("database", *ends(source, any_database), "--verify", "--repair", *flags)
    ended, shown = on_a_terminal(arguments, any_database, "" if answer is None else f"{answer}\n")

    assert ended == code, shown
    asks = "This writes rows in the target (t: changes 1, deletes 1)."
    assert (asks in shown) == (answer is not None)
    assert (any_database.rows("SELECT xmin::text, * FROM t") == before) == (code == 1)
    assert ("Nothing was repaired" in shown) == (code == 1)


def test_killed_in_the_middle(any_database: Server, large: Path) -> None:
    """What is there then are whole transactions, and the next repair brings the rest."""
    ferried(large, any_database)
    any_database.run(
        "UPDATE children SET pad = 'x'",
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER no BEFORE UPDATE ON children FOR EACH ROW EXECUTE FUNCTION no()",
    )

    def put_right() -> int:
        return int(any_database.rows("SELECT count(*) FROM children WHERE pad <> 'x'")[0][0])

    process = start(
        *("database", *ends(large, any_database), "--verify", "--repair", "--workers", "1"),
        env=password(any_database),
    )
    try:
        wait_until(lambda: put_right() > 0, 120, "a transaction")
    finally:
        process.kill()
        end(process)
    wait_until(lambda: not is_alive(process.pid), 10, "gone")
    sessions = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tableferry%' "
        "AND datname = current_database()"
    )
    wait_until(lambda: any_database.rows(sessions) == [(0,)], 60, "no session is left")
    assert 0 < put_right() < 150_000
    assert any_database.rows("SELECT tgenabled FROM pg_trigger WHERE tgname = 'no'") == [("O",)]

    run = ferry(large, any_database, "--verify", "--repair")

    assert run.code == 0, run.err
    assert put_right() == 150_000
    assert run.table("children")["repair"]["changed"] < 150_000
    ferried(large, any_database, "--verify")


def test_killed_in_the_middle_of_a_file(large: Path, tmp_path: Path) -> None:
    target = Path(shutil.copyfile(large, tmp_path / "target.db"))
    asked(
        target,
        "UPDATE children SET pad = 'x'",
        "CREATE TRIGGER no BEFORE UPDATE ON children BEGIN SELECT RAISE(IGNORE); END",
    )

    def put_right() -> int:
        return int(asked(target, "SELECT count(*) FROM children WHERE pad <> 'x'")[0][0])

    arguments = ("database", "--from", sqlite_url(large), "--to", sqlite_url(target))
    # Who looks at the file so often is one who uses it.
    process = start(*arguments, "--verify", "--repair", "--force", env=environment())
    try:
        wait_until(lambda: put_right() > 0, 120, "a transaction")
    finally:
        process.kill()
        end(process)
    assert 0 < put_right() < 150_000
    assert len(asked(target, "SELECT 1 FROM sqlite_schema WHERE type = 'trigger'")) == 1

    run = command(*arguments, "--verify", "--repair")

    assert run.code == 0, run.err
    assert contents(target) == contents(large)
    require_ordinary(target)
