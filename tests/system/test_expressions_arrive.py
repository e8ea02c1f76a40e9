"""Defaults, checks, generated columns, indexes and views, put to the test in the target itself."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.servers import Server
from tests.system.support import ferried, ferry, independent_differences, sqlite_file, sqlite_rows

# ---- defaults ---------------------------------------------------------------------------------

# Declared type and default, where both databases must come to one value.
SETTLED = [
    ("TEXT", "'it''s \"here\"'"),
    ("TEXT", "'back\\slash, 100% é🦆'"),
    ("TEXT", "'; DROP TABLE d; --'"),
    ("TEXT", '"in double quotes"'),
    ("TEXT", "''"),
    ("TEXT", "5"),
    ("TEXT", "NULL"),
    ("TEXT", "(upper('abc') || '-' || 7)"),
    ("VARCHAR(8)", "'eight...'"),
    ("INTEGER", "-7"),
    ("INTEGER", "0x10"),
    ("INTEGER", "(2 + 3 * 4)"),
    ("INTEGER", "(-7 / 2)"),
    ("INTEGER", "9223372036854775807"),
    ("INTEGER", "'12'"),
    ("REAL", "-1.5"),
    ("REAL", "1e3"),
    ("REAL", "3"),
    ("BOOLEAN", "TRUE"),
    ("BOOLEAN", "false"),
    ("BOOLEAN", "1"),
    ("DATE", "'2020-02-29'"),
    ("DATETIME", "'2020-02-29 12:30:00'"),
    ("NUMERIC(10,2)", "12.5"),
    ("DECIMAL", "'-7.25'"),
    ("BLOB", "x'00ff'"),
]
# What the clock says: the format in which the target is asked for it, and how far apart they are.
CLOCKS = {
    ("TEXT", "CURRENT_TIMESTAMP"): "%Y-%m-%d %H:%M:%S",
    ("TEXT", "(datetime('now'))"): "%Y-%m-%d %H:%M:%S",
    ("TEXT", "(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"): "%Y-%m-%dT%H:%M:%S.%fZ",
    ("TIMESTAMP", "CURRENT_TIMESTAMP"): "%Y-%m-%d %H:%M:%S",
    ("DATETIME", "(datetime('now'))"): "%Y-%m-%d %H:%M:%S",
    ("DATE", "CURRENT_DATE"): "%Y-%m-%d",
    ("DATE", "(date('now'))"): "%Y-%m-%d",
    ("TEXT", "(strftime('%Y', 'now'))"): "%Y",
    ("INTEGER", "(strftime('%s', 'now'))"): "",
}


def _columns(defaults: list[tuple[str, str]]) -> str:
    return ", ".join(f"c{i} {declared} DEFAULT {d}" for i, (declared, d) in enumerate(defaults))


def test_defaults_are_sqlites(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        f"CREATE TABLE d (id INTEGER PRIMARY KEY, {_columns(SETTLED)}); INSERT INTO d DEFAULT "
        "VALUES",
    )

    run = ferried(source, database)
    database.run("INSERT INTO d DEFAULT VALUES")

    assert run.report["left_behind"] == []
    with closing(sqlite3.connect(shutil.copyfile(source, tmp_path / "copy.db"))) as connection:
        connection.execute("INSERT INTO d DEFAULT VALUES")
        rows = connection.execute("SELECT * FROM d").fetchall()
    for mine, theirs in zip(rows, database.rows("SELECT * FROM d ORDER BY id"), strict=True):
        assert [_plain(value) for value in theirs] == list(mine)


def _plain(value: Any) -> Any:
    """Dates as SQLite writes them; numbers and truth values are equal as they are."""
    return str(value) if hasattr(value, "isoformat") else value


def test_defaults_that_ask_the_clock(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", f"CREATE TABLE d ({_columns(list(CLOCKS))})")
    ferried(source, any_database)
    # Whatever zone a session is in, SQLite's clock is in UTC.
    with any_database.connect() as connection:
        connection.execute("SET timezone = 'Pacific/Kiritimati'")
        connection.execute("INSERT INTO d DEFAULT VALUES")

    (row,) = any_database.rows("SELECT * FROM d")

    now = datetime.now(UTC).replace(tzinfo=None)
    for ((declared, default), written), value in zip(CLOCKS.items(), row, strict=True):
        shown = f"{declared} DEFAULT {default}: {value}"
        if not written:
            assert abs(value - datetime.now(UTC).timestamp()) < 60, shown
            continue
        moment = datetime.strptime(str(value), written)
        resolution = {"%Y": 366, "%Y-%m-%d": 1}.get(written, 0)
        assert now - timedelta(days=resolution, minutes=1) < moment <= now, shown


def test_defaults_that_are_random(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE d (h TEXT DEFAULT (lower(hex(randomblob(4)))), n INTEGER DEFAULT (random()),"
        "b BLOB DEFAULT (randomblob(16)))",
    )
    ferried(source, any_database)

    any_database.run(*["INSERT INTO d DEFAULT VALUES"] * 5)

    rows = any_database.rows("SELECT h, n, b FROM d")
    assert all(len({row[i] for row in rows}) == 5 for i in range(3))
    assert any_database.rows(
        "SELECT count(*) FROM d WHERE h ~ '^[0-9a-f]{8}$' AND length(b) = 16"
    ) == [(5,)]


def test_defaults_that_cannot_cross_are_named(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE d (
            id INTEGER PRIMARY KEY,
            later TEXT DEFAULT (date('now', '+1 day')),
            listed TEXT DEFAULT (json_array(1, 2)),
            n INTEGER DEFAULT 'many',
            at DATE DEFAULT 'some day',
            kept TEXT DEFAULT 'kept'
        );
        INSERT INTO d (id, later, listed, n, at) VALUES (1, 'x', 'y', 5, '2020-01-01');
        """,
    )

    run = ferried(source, any_database)

    assert run.left_behind("default") == [(("d"), name) for name in ("later", "listed", "n", "at")]
    assert all(item["reason"] for item in run.report["left_behind"])
    assert any_database.rows("INSERT INTO d DEFAULT VALUES RETURNING *") == [
        (2, None, None, None, None, "kept")
    ]


# ---- checks -----------------------------------------------------------------------------------

CHECKS = """
CREATE TABLE t (
    id INTEGER PRIMARY KEY,
    n INTEGER CHECK (n BETWEEN 1 AND 10),
    word TEXT CONSTRAINT short CHECK (length(word) <= 3 AND word <> ''),
    kind TEXT CHECK (kind IN ('a', 'b''c')),
    flag BOOLEAN CHECK (flag IN (0, 1)),
    mail TEXT CHECK (mail LIKE '%@%'),
    low INTEGER, high INTEGER,
    CONSTRAINT ordered CHECK (low <= high),
    CHECK (coalesce(low, high, 0) < 100 OR NOT flag)
);
INSERT INTO t VALUES (1, 1, 'abc', 'a', 1, 'a@b', 1, 2);
"""


def test_checks_hold(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", CHECKS)

    run = ferried(source, database)

    assert run.report["left_behind"] == []
    named = (
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND convalidated "
        "AND conrelid = 't'::regclass ORDER BY 1"
    )
    assert [name for (name,) in database.rows(named)] == [
        *("ordered", "short", "t_check1", "t_check3", "t_check4", "t_check5", "t_check7")
    ]
    for refused, constraint in (
        ("n) VALUES (0)", "t_check1"),
        ("n) VALUES (11)", "t_check1"),
        ("word) VALUES ('long')", "short"),
        ("word) VALUES ('')", "short"),
        ("kind) VALUES ('A')", "t_check3"),
        ("mail) VALUES ('nobody')", "t_check5"),
        ("low, high) VALUES (3, 2)", "ordered"),
        ("low, flag) VALUES (100, true)", "t_check7"),
    ):
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            database.run(f"INSERT INTO t ({refused}")
        assert caught.value.diag.constraint_name == constraint
        with closing(sqlite3.connect(source)) as own, pytest.raises(sqlite3.IntegrityError):
            own.execute(f"INSERT INTO t ({refused}")
    database.run(
        "INSERT INTO t VALUES (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO t (kind, mail, low) VALUES ('b''c', '@', 100)",
        "INSERT INTO t (word) VALUES ('ééé')",
    )


# ---- generated columns ------------------------------------------------------------------------


def test_generated_columns_go_on_computing(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE t (
            id INTEGER PRIMARY KEY,
            a INTEGER,
            w TEXT,
            twice INTEGER AS (a * 2) STORED,
            half INTEGER GENERATED ALWAYS AS (a / 2) VIRTUAL,
            rest INTEGER AS (a % 3),
            loud TEXT AS (upper(w) || '!') STORED,
            tail TEXT AS (substr(w, 2)) UNIQUE,
            size INTEGER NOT NULL AS (coalesce(length(w), 0)),
            "is big" BOOLEAN AS (a > 100)
        );
        CREATE INDEX by_size ON t (size, twice DESC);
        INSERT INTO t (a, w) VALUES (7, 'éab'), (-7, 'xyz'), (NULL, NULL), (101, '');
        """,
    )

    run = ferried(source, database)

    assert run.report["left_behind"] == run.report["violations"] == []
    generated = "SELECT count(*) FROM pg_attribute WHERE attgenerated <> ''"
    assert database.rows(generated) == [(7,)]
    insert = "INSERT INTO t (a, w) VALUES (-9, 'ünd') RETURNING "
    with closing(sqlite3.connect(shutil.copyfile(source, tmp_path / "copy.db"))) as connection:
        expected = connection.execute(f"{insert} *").fetchall()
    assert database.rows(f"{insert} *") == expected
    assert expected == [(5, -9, "ünd", -18, -4, 0, "üND!", "nd", 3, 0)]
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.run("INSERT INTO t (w) VALUES ('ond')")
    with pytest.raises(psycopg.ProgrammingError):
        database.run("UPDATE t SET twice = 1")
    database.run("UPDATE t SET a = 1 WHERE id = 5")
    assert database.rows("SELECT twice FROM t WHERE id = 5") == [(2,)]


# As instants these come before noon; as texts, T comes after every blank.
NOON = "at > '2024-01-01 12:00:00'"
DISAGREEING = f"""
CREATE TABLE t (
    id INTEGER PRIMARY KEY,
    at DATETIME CONSTRAINT late CHECK ({NOON}),
    is_late INTEGER AS ({NOON}) STORED,
    was_late INTEGER AS ({NOON}) VIRTUAL,
    shown TEXT AS (printf('%d', id)),
    next INTEGER AS (id + 1)
);
CREATE INDEX by_late ON t (id) WHERE {NOON};
CREATE VIEW all_late AS SELECT id FROM t WHERE {NOON};
INSERT INTO t (id, at) VALUES (1, '2024-01-01T10:00:00'), (2, '2025-01-01 10:00:00');
"""


def test_what_would_not_mean_the_same_is_named(database: Server, tmp_path: Path) -> None:
    """The expressions translate, and come to something else over the values that are there."""
    source = sqlite_file(tmp_path / "source.db", DISAGREEING)

    run = ferried(source, database)

    assert run.report["violations"] == []
    left = {(i["what"], i["name"]): i["reason"] for i in run.report["left_behind"]}
    assert set(left) == {
        ("generated column", "is_late"),
        ("generated column", "was_late"),
        ("generated column", "shown"),
        ("check", "late"),
        ("index", "by_late"),
        ("view", "all_late"),
    }
    assert "printf" in left["generated column", "shown"]
    assert "1 rows" in left["check", "late"]
    assert "2 rows" in left["index", "by_late"]
    assert database.rows("SELECT is_late, was_late, shown, next FROM t ORDER BY id") == (
        sqlite_rows(source, "SELECT is_late, was_late, shown, next FROM t ORDER BY id")
    )
    plain = "INSERT INTO t VALUES (3, NULL, 5, 6, 'x') RETURNING is_late, was_late, shown, next"
    assert database.rows(plain) == [(5, 6, "x", 4)]
    database.run("DELETE FROM t WHERE id = 3")
    assert ferry(source, database, "--verify").code == 0


# ---- indexes ----------------------------------------------------------------------------------

INDEXED = """
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, n INTEGER, done BOOLEAN);
CREATE INDEX open ON t (n) WHERE done = 0 AND n > 10;
CREATE INDEX given ON t (name) WHERE name IS NOT NULL;
CREATE INDEX down ON t (n DESC, name);
CREATE UNIQUE INDEX low ON t (lower(name));
CREATE INDEX total ON t (n + id DESC);
CREATE UNIQUE INDEX one_done ON t (n) WHERE done;
INSERT INTO t VALUES (1, 'Abc', 20, 0), (2, 'def', 5, 1), (3, NULL, NULL, NULL), (4, 'x', 5, 0);
"""


def test_indexes_serve(database: Server, tmp_path: Path) -> None:
    """EXPLAIN names the index, where reading the whole table is the last resort."""
    run = ferried(sqlite_file(tmp_path / "source.db", INDEXED), database)

    assert run.report["left_behind"] == []
    for query, index in (
        ("SELECT n FROM t WHERE NOT done AND n > 10", "open"),
        ("SELECT name FROM t WHERE name IS NOT NULL ORDER BY name", "given"),
        ("SELECT n FROM t ORDER BY n DESC NULLS LAST, name NULLS FIRST", "down"),
        ("""SELECT n FROM t WHERE lower(name COLLATE "C") = 'abc'""", "low"),
        ("SELECT n + id FROM t ORDER BY n + id DESC NULLS LAST", "total"),
        ("SELECT n FROM t WHERE done AND n = 5", "one_done"),
    ):
        assert f" {index} " in _explained(database, query), query
    for refused in ("t (name) VALUES ('ABC')", "t (n, done) VALUES (5, true)"):
        with pytest.raises(psycopg.errors.UniqueViolation):
            database.run(f"INSERT INTO {refused}")
    database.run("INSERT INTO t (n, done) VALUES (5, false), (5, NULL)")


def _explained(target: Server, query: str) -> str:
    with target.connect() as connection:
        for way in ("seqscan", "bitmapscan", "sort"):
            connection.execute(f"SET enable_{way} = off".encode())
        lines = connection.execute(f"EXPLAIN {query}".encode()).fetchall()
    return "\n".join(line for (line,) in lines)


# ---- views ------------------------------------------------------------------------------------

VIEWS = """
CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, s TEXT, b BOOLEAN, price NUMERIC(10,2));
CREATE TABLE u (t INTEGER REFERENCES t, label TEXT COLLATE NOCASE);
INSERT INTO t VALUES
    (1, 5, 'abc', 1, 1.5), (2, NULL, 'Abd', 0, 2.25), (3, 7, NULL, NULL, NULL), (4, 7, '', 0, -1);
INSERT INTO u VALUES (1, 'X'), (1, 'x'), (3, 'y'), (NULL, NULL);
CREATE VIEW above AS SELECT * FROM base WHERE n > 5;
CREATE VIEW base AS SELECT id, n, upper(s) AS "S p" FROM t WHERE n > 1;
CREATE VIEW counted (word, times) AS SELECT "S p", count(*) FROM above GROUP BY "S p";
CREATE VIEW joined AS SELECT t.id, u.label FROM t LEFT JOIN u ON u.t = t.id ORDER BY t.id DESC;
CREATE VIEW both AS SELECT id FROM t UNION SELECT n FROM t;
CREATE VIEW alike AS SELECT s FROM t WHERE s LIKE 'ab%';
CREATE VIEW words AS SELECT CASE WHEN b THEN 'yes' ELSE 'no' END AS w, coalesce(n, 0) FROM t;
CREATE VIEW largest AS SELECT id FROM t WHERE n = (SELECT max(n) FROM t);
CREATE VIEW named AS WITH q AS (SELECT id, -n AS m FROM t) SELECT * FROM q WHERE m IS NOT NULL;
CREATE VIEW folded AS SELECT t FROM u WHERE label = 'X';
CREATE VIEW sums AS SELECT b, sum(n) AS total, min(s) AS least, count(DISTINCT n) FROM t GROUP BY b;
CREATE VIEW divided AS SELECT id, n / 2 AS half, n % 3 AS rest, n || s AS text FROM t;
"""
LOST = {
    "CREATE VIEW formatted AS SELECT printf('%d', n) AS p FROM t;": "printf",
    "CREATE VIEW upon AS SELECT p FROM formatted;": "formatted",
    "CREATE VIEW far AS SELECT count(*) FROM upon;": "upon",
    "CREATE VIEW ghost AS SELECT * FROM nowhere;": "nowhere",
    "CREATE VIEW numbers AS SELECT rowid FROM u;": "rowid",
}


def test_views_show_the_same_rows(database: Server, tmp_path: Path) -> None:
    """They stand in whatever order, as SQLite looks at what they name only when they are used."""
    source = sqlite_file(tmp_path / "source.db", VIEWS + "".join(LOST))
    names = {name for (name,) in sqlite_rows(source, _VIEW_NAMES)}

    run = ferried(source, database)

    left = {name: item["reason"] for item in run.report["left_behind"] if (name := item["name"])}
    lost = {sql.split()[2]: word for sql, word in LOST.items()}
    assert {i["what"] for i in run.report["left_behind"]} <= {"view", "collation"}
    assert {name: lost[name] in left[name] for name in lost} == dict.fromkeys(lost, True)
    arrived = names - set(lost)
    assert {view["source"] for view in run.report["views"]} == arrived
    there = "SELECT viewname FROM pg_views WHERE schemaname = 'public'"
    assert {name for (name,) in database.rows(there)} == arrived
    for name in sorted(arrived):
        theirs = Counter(database.rows(f'SELECT * FROM "{name}"'))
        assert theirs == Counter(sqlite_rows(source, f'SELECT * FROM "{name}"')), name
    ferried(source, database, "--drop-all")
    assert {name for (name,) in database.rows(there)} == arrived


_VIEW_NAMES = "SELECT name FROM sqlite_schema WHERE type = 'view'"


# ---- collations -------------------------------------------------------------------------------


def test_collations_stay_in_unique_keys(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE folded (w TEXT CONSTRAINT one_w UNIQUE COLLATE NOCASE);
        CREATE TABLE trimmed (w TEXT COLLATE RTRIM UNIQUE);
        CREATE TABLE keyed (w TEXT COLLATE NOCASE PRIMARY KEY, v TEXT);
        CREATE TABLE pairs (a TEXT COLLATE NOCASE, b TEXT, UNIQUE (a, b));
        CREATE TABLE indexed (w TEXT);
        CREATE UNIQUE INDEX indexed_once ON indexed (w COLLATE NOCASE);
        INSERT INTO folded VALUES ('abc'), ('é'), (NULL), (NULL);
        INSERT INTO trimmed VALUES ('abc');
        INSERT INTO keyed VALUES ('abc', NULL);
        INSERT INTO pairs VALUES ('abc', 'x');
        INSERT INTO indexed VALUES ('abc');
        """,
    )

    run = ferried(source, any_database)

    assert run.left_behind("collation") == [
        ("folded", "w"),
        ("keyed", "w"),
        ("pairs", "a"),
        ("trimmed", "w"),
    ]
    assert len(run.report["left_behind"]) == 4
    assert any_database.rows("SELECT indexdef FROM pg_indexes WHERE indexname = 'one_w'") == [
        (
            "CREATE UNIQUE INDEX one_w ON public.folded USING btree "
            """(lower((w COLLATE "C")) NULLS FIRST)""",
        )
    ]
    for twice in (
        "folded VALUES ('ABC')",
        "trimmed VALUES ('abc  ')",
        "keyed VALUES ('Abc')",
        "pairs VALUES ('ABC', 'x')",
        "indexed VALUES ('aBc')",
    ):
        with pytest.raises(psycopg.errors.UniqueViolation):
            any_database.run(f"INSERT INTO {twice}")
    # SQLite folds the letters of ASCII alone, and strips blanks alone.
    any_database.run(
        "INSERT INTO folded VALUES ('É'), ('abc ')",
        "INSERT INTO trimmed VALUES ('ABC'), (E'abc\\t')",
        "INSERT INTO pairs VALUES ('abc', 'X')",
    )


def test_a_collation_of_an_application_is_named(any_database: Server, tmp_path: Path) -> None:
    """Only the program that defines it knows its order; the rows are the same without it."""
    path = tmp_path / "source.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("German", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            """
            CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT CHECK (w COLLATE german > ''));
            CREATE INDEX by_w ON t (w COLLATE German DESC);
            CREATE INDEX partial ON t (w) WHERE w COLLATE german > 'b';
            CREATE INDEX plain ON t (w);
            CREATE VIEW sorted AS SELECT w FROM t ORDER BY w COLLATE german;
            INSERT INTO t VALUES (1, 'b'), (2, 'ä');
            """
        )

    run = ferried(path, any_database)

    left = {(i["what"], i["name"]): i["reason"] for i in run.report["left_behind"]}
    assert set(left) == {
        *(("check", "number 1"), ("index", "by_w"), ("index", "partial"), ("view", "sorted"))
    }
    assert all("GERMAN" in reason.upper() for reason in left.values())
    assert any_database.rows("SELECT indexname FROM pg_indexes WHERE tablename = 't'") == [
        ("t_pkey",),
        ("plain",),
    ]
    assert any_database.rows("SELECT * FROM t ORDER BY id") == [(1, "b"), (2, "ä")]


# ---- all of it --------------------------------------------------------------------------------


def test_the_schema_alone_and_then_the_rows(any_database: Server, tmp_path: Path) -> None:
    script = CHECKS.replace("TABLE t", "TABLE c").replace("INTO t", "INTO c") + INDEXED
    source = sqlite_file(
        tmp_path / "source.db",
        f"{script} CREATE TABLE d (id INTEGER PRIMARY KEY, {_columns(SETTLED)},"
        "g INTEGER AS (c9 * 2), word TEXT COLLATE NOCASE UNIQUE,"
        "t INTEGER REFERENCES t DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO d (id, word, t) VALUES (5, 'abc', 4);",
    )

    run = ferry(source, any_database, "--schema-only")

    assert (run.code, run.report["status"]) == (0, "created")
    created = _objects(any_database)
    assert any_database.rows("SELECT count(*) FROM c, d, t") == [(0,)]
    with pytest.raises(psycopg.errors.CheckViolation):
        any_database.run("INSERT INTO c (n) VALUES (0)")

    # Empty tables are in nobody's way.
    ferried(source, any_database)
    assert _objects(any_database) == created
    assert independent_differences(source, any_database.url) == {}
    assert any_database.rows("INSERT INTO d (t) VALUES (1) RETURNING id, g") == [(6, -14)]

    assert ferry(source, any_database, "--schema-only").code == 3
    ferried(source, any_database, "--drop-all")
    assert _objects(any_database) == created
    assert independent_differences(source, any_database.url) == {}


def _objects(target: Server) -> list[tuple[str, str, bool]]:
    """Constraints, indexes, columns and views by their definitions."""
    return target.rows(
        "SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace UNION ALL "
        "SELECT indexname, indexdef, true FROM pg_indexes WHERE schemaname = 'public' UNION ALL "
        "SELECT table_name || '.' || column_name, concat_ws(' ', data_type, column_default, "
        "is_nullable, is_identity, generation_expression), true FROM information_schema.columns "
        "WHERE table_schema = 'public' UNION ALL "
        "SELECT viewname, definition, true FROM pg_views WHERE schemaname = 'public' ORDER BY 1, 2"
    )


def test_a_column_of_a_collation_of_an_application(any_database: Server, tmp_path: Path) -> None:
    path = tmp_path / "source.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.create_collation("German", lambda a, b: (a > b) - (a < b))
        connection.executescript(
            """
            CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT COLLATE german, x TEXT);
            CREATE INDEX by_w ON t (w);
            CREATE INDEX plain ON t (w COLLATE BINARY);
            INSERT INTO t VALUES (1, 'b', 'y'), (2, 'ä', 'x');
            """
        )

    run = ferried(path, any_database)

    assert {(item["what"], item["name"]) for item in run.report["left_behind"]} == {
        ("collation", "w"),
        ("index", "by_w"),
    }
    assert any_database.rows("SELECT * FROM t ORDER BY id") == [(1, "b", "y"), (2, "ä", "x")]


def test_a_view_after_the_schema_alone(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, Name TEXT); INSERT INTO t VALUES (1, 'a');"
        "CREATE VIEW known AS SELECT id, Name AS WhoIs FROM t;",
    )
    assert ferry(source, any_database, "--schema-only").code == 0
    ferried(source, any_database)
    assert any_database.rows('SELECT "WhoIs" FROM known') == [("a",)]

    ferried(source, any_database, "--recreate", "--names", "lower")
    assert any_database.rows("SELECT whois FROM known") == [("a",)]
