"""A SQLite file that was made to run something when it is merely read.

Its schema calls functions with side effects from triggers, views, rules, generated columns and
indexes, and what it says of itself in sqlite_schema is nothing that SQLite would have written.
"""

from __future__ import annotations

import ast
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.support import (
    Run,
    command,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    with_report,
)

import tableferry
from tableferry.errors import TableferryError

SOURCES = Path(__file__).parents[2] / "src" / "tableferry"
ROWS = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y');"

# SQLite's own functions that a schema may call only where it is trusted ("The Use Of SQLite With
# Untrusted Files"), and virtual tables likewise. Of each: what stands in sqlite_schema.
UNSAFE_RULES = {
    "a generated column": "CREATE TABLE e (a, b AS (load_extension('/tmp/x.so')))",
    "a stored column": "CREATE TABLE e (a, b AS (fts3_tokenizer('x', a)) STORED)",
}
HARMLESS = {
    "a check": "CREATE TABLE e (a CHECK (load_extension('/tmp/x.so') IS NULL))",
    "a default": "CREATE TABLE e (a DEFAULT (load_extension('/tmp/x.so')))",
    "a view": "CREATE VIEW e AS SELECT load_extension('/tmp/x.so') AS x FROM t",
    "a view of files": "CREATE VIEW e AS SELECT * FROM dbstat",
    "a view that recurses": "CREATE VIEW e AS WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL "
    "SELECT i + 1 FROM r) SELECT i FROM r",
    "a view of itself": "CREATE VIEW e AS SELECT * FROM e",
    "a trigger": "CREATE TRIGGER e AFTER INSERT ON t BEGIN SELECT load_extension('/tmp/x.so'); END",
    "a view with a trigger": "CREATE VIEW e AS SELECT load_extension('x') AS x",
}


def with_schema(path: Path, sql: str) -> Path:
    """A file with one more object, whatever SQLite would have said to its definition."""
    sqlite_file(path, ROWS)
    kind, name = sql.split()[1].lower(), "e"
    table = "t" if kind == "trigger" else name
    with closing(sqlite3.connect(path)) as connection:
        root = 0
        if kind == "table":
            connection.execute("CREATE TABLE e (a)")
            (root,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'e'"
            ).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'e'")
        connection.execute(
            "INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", (kind, name, table, root, sql)
        )
        connection.commit()
    return path


def read(path: Path, target: Server) -> Run:
    ends = ("--from", sqlite_url(path), "--to", target.url_without_password)
    return with_report(*ends, env=password(target))


@pytest.mark.parametrize("what", UNSAFE_RULES)
def test_a_rule_that_calls_what_may_do_anything(
    any_database: Server, tmp_path: Path, what: str
) -> None:
    path = with_schema(tmp_path / "a.db", UNSAFE_RULES[what])
    before = path.read_bytes()
    run = read(path, any_database)
    assert run.code in (3, 4)
    assert "not to be trusted" in run.err
    assert "Traceback" not in run.err
    assert path.read_bytes() == before
    assert any_database.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_merely_there_is_left_behind(
    any_database: Server, tmp_path: Path, what: str
) -> None:
    path = with_schema(tmp_path / "a.db", HARMLESS[what])
    run = read(path, any_database)
    assert run.code == 0, run.err
    assert any_database.rows("SELECT id, a FROM t ORDER BY id") == [(1, "x"), (2, "y")]
    assert [item["name"] for item in run.report["left_behind"]] in (["e"], ["a"], ["number 1"])
    assert any_database.rows("SELECT 1 FROM pg_views WHERE schemaname = 'public'") == []


def refusal(path: Path, target: Server) -> TableferryError | None:
    try:
        tableferry.migrate(sqlite_url(path), target.url)
    except TableferryError as error:
        return error
    return None


# Whatever stands there: it is read, or refused in a sentence; and it ends.
NONSENSE = [
    "CREATE TABLE e (a); DROP TABLE t",
    "CREATE TABLE t (id, a)",
    "CREATE TABLE e (a, a)",
    "CREATE TABLE e (" + "(" * 5000 + ")" * 5000,
    "CREATE TABLE e (a CHECK (" + "(" * 900 + "1" + ")" * 900 + "))",
    "CREATE TABLE e (a CHECK (" + "NOT " * 900 + "1))",
    "CREATE TABLE e (a 'x" + " " * 5000 + ")')",
    "CREATE TABLE e (a DEFAULT ('" + "x" * 500_000 + "'))",
    "CREATE TABLE e AS SELECT * FROM t",
    "CREATE TABLE e (a /*" + "*" * 20_000 + ")",
    "CREATE TABLE e (a) -- " + "\t" * 20_000,
    'CREATE TABLE e (a "' + '"' * 10_000 + ")",
    "CREATE VIEW e AS SELECT " + "(" * 3000 + "1" + ")" * 3000,
    "CREATE VIEW e AS " + " UNION ALL ".join(["SELECT 1"] * 400),
    "CREATE VIRTUAL TABLE e USING nothing(a)",
    "CREATE VIRTUAL TABLE e USING csv(filename='/etc/passwd')",
    "SELECT load_extension('/tmp/x.so')",
]


@pytest.mark.parametrize("number", range(len(NONSENSE)))
def test_nonsense_in_the_schema(any_database: Server, tmp_path: Path, number: int) -> None:
    sql = NONSENSE[number]
    path = sqlite_file(tmp_path / "a.db", ROWS + "CREATE TABLE e (a);")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = ?, type = ? WHERE name = 'e'",
            (sql, "view" if " VIEW " in sql else "table"),
        )
        if " VIEW " in sql or " VIRTUAL " in sql:
            connection.execute("UPDATE sqlite_schema SET rootpage = 0 WHERE name = 'e'")
        connection.commit()
    error = refusal(path, any_database)
    if error is not None:
        assert error.exit_code in (3, 4)
        assert len(str(error)) < 20_000
    else:
        assert any_database.rows("SELECT id, a FROM t ORDER BY id") == [(1, "x"), (2, "y")]


def test_triggers_and_generated_columns_of_a_target_run_nothing(tmp_path: Path) -> None:
    """An application's own file, where rows are brought and repaired."""
    source = sqlite_file(tmp_path / "a.db", ROWS)
    target = sqlite_file(
        tmp_path / "b.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE TABLE canary (x);"
        "INSERT INTO t VALUES (1, 'other');"
        "CREATE TRIGGER fires AFTER INSERT ON t BEGIN INSERT INTO canary VALUES (new.a); END;"
        "CREATE TRIGGER updated AFTER UPDATE ON t BEGIN INSERT INTO canary VALUES (new.a); END;",
    )
    ends = ("--from", sqlite_url(source), "--to", sqlite_url(target))
    run = command("database", *ends, "--verify", "--repair", "--yes")
    assert run.code == 0, run.err
    assert sqlite_rows(target, "SELECT * FROM canary") == []
    run = command("database", *ends, "--drop-all", "--yes")
    assert run.code == 0, run.err
    assert sqlite_rows(target, "SELECT * FROM canary") == []


def test_no_connection_trusts_a_schema() -> None:
    """Whoever opens SQLite is one of these, and says so before anything else."""
    opening = {
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if "adbc_driver_sqlite.dbapi.connect(" in path.read_text(encoding="utf-8")
        or "AdbcDatabase(" in path.read_text(encoding="utf-8")
    }
    assert opening == {"dialects/sqlite/connection.py", "dialects/sqlite/holder.py"}
    for name in opening:
        for function in ast.walk(ast.parse((SOURCES / name).read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                text = ast.unparse(function)
                if "dbapi.connect(" in text or "AdbcDatabase(" in text:
                    known = ("trusted_schema", "_SESSION", "in settings")
                    assert any(word in text for word in known), f"{name}: {function.name}"


@pytest.mark.parametrize("name", ["_SESSION", "_WRITER", "_PART"])
def test_every_list_of_settings_has_it(name: str) -> None:
    from tableferry.dialects.sqlite import connection

    assert "PRAGMA trusted_schema = OFF" in getattr(connection, name)


def test_nothing_in_a_name_or_a_value_acts_on_a_terminal(
    any_database: Server, tmp_path: Path
) -> None:
    """A title, a cleared screen, a colour, text turned round: shown by their symbols."""
    acting = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eabc\r"
    name = acting.replace('"', '""')
    source = sqlite_file(
        tmp_path / "a.db",
        f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, "c{name}" DATE);'
        f"INSERT INTO \"{name}\" VALUES (1, '{name}');"
        f'CREATE TRIGGER "t{name}" AFTER INSERT ON "{name}" BEGIN SELECT 1; END;',
    )
    ends = ("--from", sqlite_url(source), "--to", any_database.url_without_password)
    log = tmp_path / "run.log"
    env = password(any_database)
    plan = command("plan", *ends, "--verbose", env=env)
    flags = ("--verbose", "--progress", "--log", str(log))
    run = command("database", *ends, *flags, env=env)
    (table,) = any_database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")[0]
    quoted = table.replace('"', '""')
    any_database.run(f'UPDATE "{quoted}" SET id = 2')
    verified = command("database", *ends, "--verify", "--verbose", env=env)
    assert (plan.code, run.code, verified.code) == (0, 0, 1), plan.err + run.err + verified.err
    shown = command("database", *ends, "--verify", "--quiet", "--report", "-", env=env)
    assert json.loads(shown.out)["tables"][0]["source"] == acting
    for text in (plan.err, run.err, verified.err, shown.out, log.read_text()):
        assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r"} & {*text}
    assert "␛[2J␛]0;owned␇⟨U+009B⟩31m⟨U+202E⟩abc␍" in run.err
