"""SQLite files whose sqlite_schema says what it never should: damaged, or written to do harm. A run
brings what Python's own sqlite3 reads of them, or is refused; it never ends in a traceback."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.faults import damaged_files
from tests.faults.judging import judge_migration, shown
from tests.servers import Server
from tests.system.support import ferry, sqlite_file

_SOUND = """
CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT UNIQUE);
CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a (id), w REAL);
CREATE TABLE c (k TEXT PRIMARY KEY, x BLOB) WITHOUT ROWID;
CREATE INDEX b_by_a ON b (a, w);
CREATE VIEW both AS SELECT a.v, b.w FROM a JOIN b ON b.a = a.id;
INSERT INTO a VALUES (1, 'one'), (2, 'two');
INSERT INTO b VALUES (1, 1, 0.5), (2, 2, 1.5), (3, 1, 2.5);
INSERT INTO c VALUES ('k', x'00ff');
"""
_SET = "UPDATE sqlite_schema SET"
_NEW = "INSERT INTO sqlite_schema VALUES"
_SPOILED = {
    "root page beyond the end": f"{_SET} rootpage = 99999 WHERE name = 'b'",
    "root page 0": f"{_SET} rootpage = 0 WHERE name = 'b'",
    "root page of the schema": f"{_SET} rootpage = 1 WHERE name = 'b'",
    "negative root page": f"{_SET} rootpage = -3 WHERE name = 'b'",
    "root page that is text": f"{_SET} rootpage = 'x' WHERE name = 'b'",
    "root page of another table": f"{_SET} rootpage = "
    "(SELECT rootpage FROM sqlite_schema WHERE name = 'a') WHERE name = 'b'",
    "root page of an index": f"{_SET} rootpage = "
    "(SELECT rootpage FROM sqlite_schema WHERE name = 'b_by_a') WHERE name = 'b'",
    "an index without a root page": f"{_SET} rootpage = 0 WHERE name = 'b_by_a'",
    "an index at a table's page": f"{_SET} rootpage = "
    "(SELECT rootpage FROM sqlite_schema WHERE name = 'b') WHERE name = 'b_by_a'",
    "the same name twice": f"{_NEW} ('table', 'b', 'b', 3, 'CREATE TABLE b (z)')",
    "the same name in another case": f"{_NEW} ('table', 'B', 'B', 3, 'CREATE TABLE B (z)')",
    "a name that its text does not say": f"{_SET} name = 'z', tbl_name = 'z' WHERE name = 'b'",
    "a text that says another name": f"{_SET} sql = 'CREATE TABLE z (id, a, w)' WHERE name = 'b'",
    "a text that says a name there is": f"{_SET} sql = 'CREATE TABLE a (id, a, w)' "
    "WHERE name = 'b'",
    "no text": f"{_SET} sql = NULL WHERE name = 'b'",
    "an empty text": f"{_SET} sql = '' WHERE name = 'b'",
    "a query": f"{_SET} sql = 'SELECT 1' WHERE name = 'b'",
    "a view for a table": f"{_SET} sql = 'CREATE VIEW b AS SELECT 1 AS id' WHERE name = 'b'",
    "a view by type alone": f"{_SET} type = 'view' WHERE name = 'b'",
    "a statement that destroys": f"{_SET} sql = 'DROP TABLE a' WHERE name = 'b'",
    "two statements": f"{_SET} sql = 'CREATE TABLE b (id, a, w); DROP TABLE a' WHERE name = 'b'",
    "noise": f"{_SET} sql = 'CREATE TABLE b (id, ((((' WHERE name = 'b'",
    "a NUL in it": f"{_SET} sql = 'CREATE TABLE b (id, a' || char(0) || ', w)' WHERE name = 'b'",
    "no UTF-8": f"{_SET} sql = CAST(x'435245415445205441424c45206220286964ff2c20612c207729' AS "
    "TEXT) WHERE name = 'b'",
    "a name that is no UTF-8": f"{_SET} name = CAST(x'ff62' AS TEXT), tbl_name = CAST(x'ff62' AS "
    "TEXT), sql = CAST(x'435245415445205441424c452022ff62222028696429' AS TEXT) WHERE name = 'b'; "
    "DELETE FROM sqlite_schema WHERE name IN ('b_by_a', 'both')",
    "a blob for a text": f"{_SET} sql = CAST(sql AS BLOB) WHERE name = 'b'",
    "an unknown type": f"{_SET} type = 'tabel' WHERE name = 'b'",
    "no type": f"{_SET} type = NULL WHERE name = 'b'",
    "no name": f"{_SET} name = NULL WHERE name = 'b'",
    "a reserved name": f"{_SET} name = 'sqlite_b', tbl_name = 'sqlite_b', "
    "sql = 'CREATE TABLE sqlite_b (id, a, w)' WHERE name = 'b'",
    "an index of no table": f"{_SET} tbl_name = 'z', sql = 'CREATE INDEX b_by_a ON z (a)' "
    "WHERE name = 'b_by_a'",
    "an index of no column": f"{_SET} sql = 'CREATE INDEX b_by_a ON b (nothing)' "
    "WHERE name = 'b_by_a'",
    "an index without text": f"{_SET} sql = NULL WHERE name = 'b_by_a'",
    "a key's index gone": "DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_a_1'",
    "a key's index of another table": f"{_SET} tbl_name = 'b' WHERE name = 'sqlite_autoindex_a_1'",
    "an unknown module": f"{_NEW} ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING nobody(x)')",
    "a module's storage": f"{_NEW} ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING fts5(x)')",
    "views in a circle": f"{_NEW} ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT * FROM both'); "
    f"{_SET} sql = 'CREATE VIEW both AS SELECT * FROM v' WHERE name = 'both'",
    "a view of nothing": f"{_SET} sql = 'CREATE VIEW both AS SELECT * FROM nowhere' "
    "WHERE name = 'both'",
    "a trigger of no table": f"{_NEW} ('trigger', 't', 'nowhere', 0, "
    "'CREATE TRIGGER t AFTER INSERT ON nowhere BEGIN SELECT 1; END')",
    "more columns than rows have": f"{_SET} sql = 'CREATE TABLE b (id INTEGER PRIMARY KEY, a, w, "
    "x NOT NULL, y TEXT DEFAULT ''d'')' WHERE name = 'b'",
    "fewer columns than rows have": f"{_SET} sql = 'CREATE TABLE b (id INTEGER PRIMARY KEY)' "
    "WHERE name = 'b'",
    "columns of one name": f"{_SET} sql = 'CREATE TABLE b (id, ID, w)' WHERE name = 'b'",
    "rowids that are none": f"{_SET} sql = 'CREATE TABLE c (k TEXT PRIMARY KEY, x BLOB)' "
    "WHERE name = 'c'",
    "no rowids where they are": f"{_SET} sql = sql || ' WITHOUT ROWID' WHERE name = 'b'",
    "columns that need each other": f"{_SET} sql = 'CREATE TABLE b (id INTEGER PRIMARY KEY, "
    "a AS (w), w AS (a))' WHERE name = 'b'",
    "a function with side effects": f"{_SET} sql = 'CREATE TABLE b (id INTEGER PRIMARY KEY, a, "
    "w AS (load_extension(''/tmp/evil'')))' WHERE name = 'b'",
    "a very long list": f"{_SET} sql = 'CREATE TABLE b (id' || "
    "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2100) "
    "SELECT group_concat(', c' || i, '') FROM n) || ')' WHERE name = 'b'",
    "deep brackets": f"{_SET} sql = 'CREATE TABLE b (id, a, w CHECK (' || "
    "replace(hex(zeroblob(40)), '00', '(') || '1' || replace(hex(zeroblob(40)), '00', ')') || "
    "'))' WHERE name = 'b'",
}


@pytest.mark.parametrize("spoiling", _SPOILED.values(), ids=_SPOILED.keys())
def test_a_spoiled_schema(any_database: Server, tmp_path: Path, spoiling: str) -> None:
    path = sqlite_file(tmp_path / "source.db", _SOUND)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.executescript(spoiling)
        connection.commit()
    reading = damaged_files.read(path)

    run = ferry(path, any_database)

    try:
        judge_migration(run, reading, any_database)
        assert run.code in (0, 3, 4), run
        assert "Traceback" not in run.err
        assert "Error:" not in run.err
        if run.code:
            message = run.report["error"]["message"]
            assert "source.db" in message or "table b: null value" in message
    except AssertionError as error:
        error.add_note(f"{run.code}: {run.err}\n{shown(reading)}")
        raise
