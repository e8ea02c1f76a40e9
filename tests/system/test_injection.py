"""Hostile names and expressions in a source never become commands in a target.

The server writes down every statement that it is given. What stands there outside quotes, and in
the schema of a SQLite file, holds no word of theirs; and what they would have changed stays as it
is.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import servers
from tests.servers import UNSAFE_BUT_FAST, Server
from tests.system.hostile import CANARY, EXPRESSIONS, FUNCTIONS, NAMES, TEXTS, WORDS, code
from tests.system.support import (
    Run,
    independent_differences,
    password,
    sqlite_rows,
    sqlite_url,
    with_report,
)

from tableferry import page
from tableferry.dialects.postgresql import embedded

_LOGGED = {
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_statement": "all",
    "log_rotation_size": "0",
}
BY_TABLE = 12
# Of servers that write down every statement, by their sockets' folder.
_folders: dict[str, Path] = {}
# Each with as many names of its own.
TABLES = NAMES[: len(NAMES) - BY_TABLE + 1 : BY_TABLE]


@pytest.fixture(scope="module")
def noting() -> Iterator[Server]:
    """A server that writes down every statement."""
    with (
        servers.short_folder() as folder,
        embedded.start(folder / "pg", UNSAFE_BUT_FAST | _LOGGED) as server,
    ):
        info = psycopg.conninfo.conninfo_to_dict(server.url)
        _folders[str(info["host"])] = folder
        yield Server(18, str(info["host"]), int(str(info["port"])), server.password)


@pytest.fixture
def target(noting: Server) -> Iterator[Server]:
    """With something in it that must stay as it is."""
    with servers.fresh_database(noting) as database:
        database.run("CREATE SCHEMA kept", "CREATE TABLE kept.canary (a int)")
        database.run("INSERT INTO kept.canary VALUES (1)")
        before = untouched(database)
        yield database
        assert untouched(database) == before
    assert not Path(CANARY).exists()


def untouched(database: Server) -> list[list[tuple[Any, ...]]]:
    return [
        database.rows(query)
        for query in (
            "SELECT a FROM kept.canary",
            "SELECT rolname, rolsuper FROM pg_roles ORDER BY 1",
            "SELECT oid::text FROM pg_largeobject_metadata",
            "SELECT extname FROM pg_extension ORDER BY 1",
            "SELECT datname FROM pg_database WHERE datname !~ '^t[0-9]' ORDER BY 1",
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
        )
    ]


def given(database: Server) -> list[str]:
    """Every statement that our sessions have given the server for a database."""
    found = []
    for path in sorted(_folders[database.host].rglob("log/*.json")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
            entry = json.loads(line)
            ours = str(entry.get("application_name", "")).startswith("tableferry")
            if ours and entry.get("dbname") == database.name:
                found.append(str(entry.get("message", "")) + str(entry.get("statement", "")))
    return found


def assert_harmless(database: Server) -> None:
    statements = given(database)
    assert len(statements) > 20
    for statement in statements:
        said = code(statement)
        assert not WORDS.search(said), f"{WORDS.search(said)} in {statement}"


def assert_harmless_file(path: Path) -> None:
    for (sql,) in sqlite_rows(path, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"):
        assert not WORDS.search(code(sql)), sql
    assert not Path(CANARY).exists()


def q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def bring(source: Path, target: Server, *flags: str) -> Run:
    ends = ("--from", sqlite_url(source), "--to", target.url_without_password)
    return with_report(*ends, *flags, env=password(target))


# ---- SQLite files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every name as that of a table, a column, a type, a rule, an index, a trigger or a view."""
    path = tmp_path_factory.mktemp("names") / "names.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        tables = TABLES
        for i, table in enumerate(tables):
            own = NAMES[i * BY_TABLE : (i + 1) * BY_TABLE]
            columns = ", ".join(
                f"{q(name)} {q(name) if j % 3 == 0 else 'TEXT'} "
                f"DEFAULT {literal(name)} /* {name.replace('*/', '')} */"
                for j, name in enumerate(own)
            )
            parent = q(tables[i - 1])
            connection.execute(
                f"CREATE TABLE {q(table)} (id INTEGER PRIMARY KEY, {columns}, parent INTEGER "
                f"CONSTRAINT {q(own[1])} REFERENCES {parent}, "
                f"CONSTRAINT {q(own[2])} UNIQUE ({q(own[2])}), "
                f"CONSTRAINT {q(own[3])} CHECK ({q(own[3])} <> {literal(own[4] + 'x')}))"
            )
            column = q(own[5])
            where = f"{column} <> {literal(own[7] + 'x')}"
            connection.execute(
                f"CREATE INDEX {q('i' + own[6])} ON {q(table)} ({column}) WHERE {where}"
            )
            connection.execute(
                f"CREATE VIEW {q('v' + own[8])} AS SELECT {column} AS {q(own[9])}, id FROM "
                f"{q(table)} WHERE {where}"
            )
            connection.execute(
                f"CREATE TRIGGER {q('t' + own[10])} AFTER INSERT ON {q(table)} BEGIN "
                f"SELECT {literal(own[11])}; END"
            )
            connection.execute(f"INSERT INTO {q(table)} DEFAULT VALUES")
            text = ", ".join(literal(name + "!") for name in own)
            connection.execute(f"INSERT INTO {q(table)} VALUES (2, {text}, 1)")
        connection.execute("COMMIT")
    return path


@pytest.fixture(scope="module")
def expressions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every expression wherever one may stand; the functions were there when it was written."""
    path = tmp_path_factory.mktemp("expressions") / "expressions.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in FUNCTIONS:
            # Without its flag, a function is one that may do anything.
            connection.create_function(name, -1, lambda *_: 1, deterministic=True)
        connection.create_collation('x"; DROP TABLE canary; --', lambda a, b: (a > b) - (a < b))
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE canary (a); ")
        for i, expression in enumerate(EXPRESSIONS):
            # Of SQLite's own, a file with one of those in a rule is not read at all.
            rule = "1" if "load_extension" in expression else expression
            connection.execute(
                f"CREATE TABLE e{i} (id INTEGER PRIMARY KEY, a INTEGER, d TEXT DEFAULT "
                f"({constant_of(expression)}), g INTEGER GENERATED ALWAYS AS ({rule}) STORED, "
                f"CHECK (({rule}) IS NOT 7))"
            )
            with suppress(sqlite3.OperationalError):
                connection.execute(f"CREATE INDEX i{i} ON e{i} (({rule}))")
            with suppress(sqlite3.OperationalError):
                connection.execute(f"CREATE INDEX p{i} ON e{i} (a) WHERE {rule}")
            connection.execute(f"CREATE VIEW v{i} AS SELECT {expression} AS x FROM e{i}")
            connection.execute(
                f"CREATE VIEW w{i} AS SELECT id FROM e{i} WHERE {expression} AND id IN "
                f"(SELECT {expression} FROM e{i})"
            )
            connection.execute(
                f"CREATE TRIGGER t{i} AFTER INSERT ON e{i} BEGIN SELECT {expression} FROM e{i}; END"
            )
            connection.execute(f"INSERT INTO e{i} (id, a) VALUES (1, 5)")
        connection.execute(
            'CREATE TABLE c (id INTEGER PRIMARY KEY, a TEXT COLLATE "x""; DROP TABLE canary; --")'
        )
        for i, text in enumerate(TEXTS):
            connection.execute(
                f"CREATE TABLE s{i} (id INTEGER PRIMARY KEY, a TEXT DEFAULT {literal(text)})"
            )
            connection.execute(
                f"CREATE VIEW x{i} AS SELECT {literal(text)} AS a, s.a AS b FROM s{i} AS s"
            )
            connection.execute(f"INSERT INTO s{i} (id) VALUES (1)")
        connection.execute("CREATE VIEW pragmas AS SELECT name FROM pragma_table_info('canary')")
        connection.execute("COMMIT")
    return path


def constant_of(expression: str) -> str:
    """The expression without the column, which no default may name."""
    return re.sub(r"\ba\b", "1", expression)


def test_names_for_a_server(names: Path, target: Server) -> None:
    assert len(NAMES) + len(EXPRESSIONS) + len(TEXTS) >= 300
    run = bring(names, target)
    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    assert_harmless(target)
    # Names that are too long for the server are shorter there, and named.
    renamed = {t["source"] for t in run.report["tables"] if t["plan"]["renamed"]}
    assert len(renamed) < len(TABLES) / 2
    assert set(independent_differences(names, target.url)) <= renamed
    there = {name for (name,) in target.rows("SELECT tablename FROM pg_tables")}
    for table in run.report["tables"]:
        assert table["target"] in there
        assert table["target"] == table["source"] or table["source"] in table["plan"]["renamed"]
    assert {t["source"] for t in run.report["tables"]} == set(TABLES)
    named = {item["name"] for item in run.report["left_behind"]}
    assert "<script" not in page.render(run.report)
    triggers = {f"t{NAMES[i * BY_TABLE + 10]}" for i in range(len(TABLES))}
    assert triggers <= named

    assert bring(names, target, "--verify").code == 0
    target.run(f"UPDATE {q(there_of(run, NAMES[0]))} SET parent = NULL")
    assert bring(names, target, "--verify").code == 1
    assert bring(names, target, "--verify", "--repair", "--yes").code == 0
    assert bring(names, target, "--recreate", "--yes").code == 0
    assert_harmless(target)


def there_of(run: Run, name: str) -> str:
    return str(run.table(name)["target"])


def test_names_for_a_file(names: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    run = with_report("--from", sqlite_url(names), "--to", sqlite_url(there))
    assert run.code == 0, run.err
    assert_harmless_file(there)
    for table in TABLES:
        query = f"SELECT * FROM {q(table)} ORDER BY id"
        assert sqlite_rows(there, query) == sqlite_rows(names, query)
        info = f"SELECT * FROM pragma_table_xinfo({literal(table)})"
        assert sqlite_rows(there, info) == sqlite_rows(names, info)


def test_expressions_for_a_server(expressions: Path, target: Server) -> None:
    run = bring(expressions, target)
    assert_harmless(target)
    assert run.code == 0, run.err
    named = {(item["what"], item["name"]) for item in run.report["left_behind"]}
    for i in range(len(EXPRESSIONS)):
        assert {("view", f"v{i}"), ("view", f"w{i}"), ("trigger", f"t{i}")} <= named
    for i, text in enumerate(TEXTS):
        assert target.rows(f"SELECT a FROM s{i}") == [(text,)]
        target.run(f"INSERT INTO s{i} (id) VALUES (2)")
        assert target.rows(f"SELECT DISTINCT a, b FROM x{i}") == [(text, text)]


def test_expressions_for_a_file(expressions: Path, tmp_path: Path) -> None:
    """Between two files, text stays what it is; and of a function that is not there, SQLite
    itself makes no column."""
    there = tmp_path / "there.db"
    # Nor does a file without that collation take a column that has it.
    flags = ("--exclude", "c")
    run = with_report("--from", sqlite_url(expressions), "--to", sqlite_url(there), *flags)
    assert run.code == 3, run.err
    assert "no such function: lo_export" in run.err
    assert not Path(CANARY).exists()
    assert not there.exists()


# ---- PostgreSQL -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hostile_server(noting: Server) -> Iterator[Server]:
    """Names of schemas, tables, columns, types, labels, rules, indexes, triggers and views; what a
    comment says; and functions that only a superuser may call."""
    short = list(dict.fromkeys(name.encode()[:60].decode(errors="ignore") for name in NAMES))
    with servers.fresh_database(noting) as database:
        with database.connect() as connection:
            make_hostile(connection, short)
        yield database


def make_hostile(connection: psycopg.Connection[tuple[Any, ...]], short: list[str]) -> None:
    for i in range(0, len(short) - 9, 9):
        schema, table, column, enum, rule, index, trigger, view, label = short[i : i + 9]
        for statement in (
            f"CREATE SCHEMA {q('s' + schema)}",
            f"SET search_path = {q('s' + schema)}",
            f"CREATE TYPE {q(enum)} AS ENUM ({literal(label)}, 'x')",
            f"CREATE TABLE {q(table)} (id int PRIMARY KEY, {q(column)} text DEFAULT "
            f"{literal(NAMES[i])}, e {q(enum)} DEFAULT {literal(label)}, "
            f"CONSTRAINT {q(rule)} CHECK ({q(column)} <> {literal(NAMES[i] + 'x')}))",
            f"CREATE INDEX {q('i' + index)} ON {q(table)} ({q(column)}) WHERE {q(column)} <> "
            f"{literal(label)}",
            f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS {literal('BEGIN END')}",
            f"CREATE TRIGGER {q(trigger)} BEFORE DELETE ON {q(table)} FOR EACH ROW "
            "EXECUTE FUNCTION f()",
            f"CREATE VIEW {q('v' + view)} AS SELECT {q(column)} AS {q(label)}, id FROM {q(table)}",
            f"COMMENT ON TABLE {q(table)} IS {literal(NAMES[i + 1])}",
            f"COMMENT ON COLUMN {q(table)}.{q(column)} IS {literal(NAMES[i + 2])}",
            f"INSERT INTO {q(table)} VALUES (1), (2)",
        ):
            connection.execute(statement.encode())
    for statement in (
        "CREATE SCHEMA deeds",
        "SET search_path = deeds",
        "CREATE TABLE canary (a int)",
        "CREATE TABLE t (id int PRIMARY KEY, a int, d text DEFAULT "
        "pg_read_file('/etc/hostname'), e int DEFAULT lo_import('/etc/hostname')::int, "
        "f xml DEFAULT query_to_xml('DELETE FROM canary', true, true, ''))",
        "INSERT INTO t VALUES (1, 2, 'x', 3, NULL)",
        "CREATE FUNCTION printf_hostile(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
        "CREATE INDEX ON t (printf_hostile(a))",
        "CREATE INDEX ON t (a) WHERE printf_hostile(a) > 0",
        "ALTER TABLE t ADD CHECK (printf_hostile(a) > 0)",
        "ALTER TABLE t ADD g int GENERATED ALWAYS AS (printf_hostile(a)) STORED",
        f"CREATE VIEW v1 AS SELECT lo_export(1, '{CANARY}') AS x FROM t",
        "CREATE VIEW v2 AS SELECT pg_read_file('/etc/passwd') AS x, a FROM t",
        "CREATE VIEW v3 AS SELECT a FROM t WHERE pg_sleep(9) IS NULL",
        "CREATE VIEW v4 AS SELECT * FROM pg_ls_dir('/')",
        "CREATE VIEW v5 AS SELECT query_to_xml('DELETE FROM canary', true, true, '') AS x",
        "CREATE VIEW v6 AS SELECT pg_terminate_backend(a) AS x FROM t",
    ):
        connection.execute(statement.encode())


def test_a_hostile_server_for_a_file(hostile_server: Server, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    run = with_report(
        *("--from", hostile_server.url_without_password, "--to", sqlite_url(there)),
        env=password(hostile_server),
    )
    assert run.code == 0, run.err
    assert_harmless_file(there)
    named = {item["name"] for item in run.report["left_behind"] if item["what"] == "view"}
    assert {f"deeds.v{i}" for i in range(1, 7)} <= named or {f"v{i}" for i in range(1, 7)} <= named


def test_a_hostile_server_for_another(hostile_server: Server, target: Server) -> None:
    run = with_report(
        *("--from", hostile_server.url_without_password, "--to", target.url_without_password),
        env=password(target),
    )
    assert run.code == 0, run.err
    assert_harmless(target)
    assert_harmless(hostile_server)
