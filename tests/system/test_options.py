"""What the flags, the configuration and the environment do to a whole run."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    catalog,
    children,
    command,
    command_line,
    end,
    ends,
    environ_of,
    environment,
    ferried,
    ferry,
    independent_differences,
    keys,
    numbers_file,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    start,
    wait_until,
    with_report,
)

SCRIPT = """
CREATE TABLE makers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
CREATE TABLE things (id INTEGER PRIMARY KEY, maker INTEGER REFERENCES makers, price DECIMAL(10,2));
CREATE TABLE notes (line TEXT);
CREATE INDEX things_by_maker ON things (maker);
INSERT INTO makers VALUES (1, 'one'), (2, 'two');
INSERT INTO things VALUES (1, 1, 0.5), (2, 2, 12.34), (3, NULL, NULL);
INSERT INTO notes VALUES ('a'), ('a');
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "source.db", SCRIPT)


def tables(target: Server, schema: str = "public") -> list[str]:
    query = f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"
    return [name for (name,) in target.rows(query)]


# ---- what is in the way -----------------------------------------------------------------------


def test_drop_all_as_often_as_wanted(database: Server, source: Path) -> None:
    ferried(source, database)
    database.run("INSERT INTO notes VALUES ('of the target')", "CREATE TABLE own (x integer)")

    for _ in range(2):
        ferried(source, database, "--drop-all")
        assert independent_differences(source, database.url) == {}

    assert tables(database) == ["makers", "notes", "own", "things"]
    assert database.rows("INSERT INTO makers (name) VALUES ('new') RETURNING id") == [(3,)]


def test_recreate_replaces_another_definition(any_database: Server, source: Path) -> None:
    any_database.run(
        "CREATE TABLE things (id integer PRIMARY KEY, other text)",
        "INSERT INTO things VALUES (9, 'x')",
        "CREATE TABLE own AS SELECT 1 AS x",
    )
    before = catalog(any_database)

    refused = ferry(source, any_database, "--drop-all")
    assert refused.code == 3
    assert "things" in refused.err
    assert "--recreate" in refused.err
    assert catalog(any_database) == before

    ferried(source, any_database, "--recreate")
    assert independent_differences(source, any_database.url) == {}
    assert any_database.rows("SELECT * FROM own") == [(1,)]


@pytest.mark.parametrize("flag", ["--drop-all", "--recreate"])
def test_tables_that_others_refer_to_stay(any_database: Server, source: Path, flag: str) -> None:
    ferried(source, any_database)
    any_database.run("CREATE TABLE orders (thing bigint REFERENCES things)")
    before = catalog(any_database)

    run = ferry(source, any_database, flag)

    assert run.code == 3
    assert "orders.orders_thing_fkey" in run.err
    assert len(run.err.splitlines()) <= 3
    assert catalog(any_database) == before


@pytest.mark.parametrize("flag", ["--drop-all", "--recreate"])
def test_views_of_the_target_are_not_dropped(any_database: Server, source: Path, flag: str) -> None:
    ferried(source, any_database)
    any_database.run("CREATE VIEW cheap AS SELECT * FROM things WHERE price < 1")
    before = catalog(any_database)

    run = ferry(source, any_database, flag)

    assert run.code == 3, run.err
    assert "cheap" in run.err
    assert catalog(any_database) == before


@pytest.mark.parametrize(
    ("answer", "flags", "code"), [("n", (), 3), ("", (), 3), ("y", (), 0), (None, ("--yes",), 0)]
)
def test_a_terminal_is_asked(
    any_database: Server, source: Path, answer: str | None, flags: tuple[str, ...], code: int
) -> None:
    ferried(source, any_database)
    any_database.run("INSERT INTO notes VALUES ('of the target')")

    arguments = ("database", *ends(source, any_database), "--drop-all", *flags)
    ended, shown = on_a_terminal(arguments, any_database, "" if answer is None else f"{answer}\n")

    assert ended == code, shown
    assert ("Go on?" in shown) == (answer is not None)
    kept = ("of the target",) in any_database.rows("SELECT * FROM notes")
    assert kept == (code == 3)


def on_a_terminal(arguments: tuple[str, ...], target: Server, typed: str) -> tuple[int, str]:
    """Runs the command on a terminal of its own; answers its exit code and all it showed."""
    ours, theirs = pty.openpty()
    process = start(
        *arguments,
        env=password(target) | {"TERM": "xterm", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the other end was closed
                break
        return process.wait(10), shown.decode()
    finally:
        end(process)
        os.close(ours)


# ---- which tables -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        (["--tables", "things"], ["things"]),
        (["--tables", "*S", "--exclude", "n?tes"], ["makers", "things"]),
        (["--exclude", "things", "--exclude", "makers"], ["notes"]),
        (["--tables", "notes", "--tables", "makers"], ["makers", "notes"]),
    ],
    ids=" ".join,
)
def test_chosen_tables(
    any_database: Server, source: Path, flags: list[str], chosen: list[str]
) -> None:
    run = ferried(source, any_database, *flags)

    assert tables(any_database) == chosen
    others = sorted({"makers", "notes", "things"} - set(chosen))
    assert sorted(run.left_behind("table")) == [(name, name) for name in others]
    orphaned = "things" in chosen and "makers" not in chosen
    assert bool(run.left_behind("foreign key")) == orphaned
    assert ferry(source, any_database, *flags, "--verify").code == 0
    assert ferry(source, any_database, "--verify").code == 1


# ---- what is said -----------------------------------------------------------------------------


def test_strict(any_database: Server, source: Path) -> None:
    ferried(source, any_database, "--strict")
    sqlite_file(source, "CREATE VIEW cheap AS SELECT printf('%s', price) FROM things")

    run = ferry(source, any_database, "--strict", "--drop-all")

    assert run.code == 1
    assert run.report["status"] == "verified"
    assert "Left behind: view cheap" in run.err
    ferried(source, any_database, "--drop-all")


def test_quiet_and_verbose(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (a INTEGER DEFAULT (printf(7))); INSERT INTO t VALUES ('no number');",
    )
    quiet = ferried(source, any_database, "--quiet")
    assert (quiet.out, quiet.err) == ("", "")
    with_progress = ferry(source, any_database, "--quiet", "--progress", "--drop-all")
    assert with_progress.code == 2 or with_progress.err == ""

    verbose = ferried(source, any_database, "--verbose", "--drop-all")
    assert "Left behind: default t.a: " in verbose.err
    assert "printf(7)" in verbose.err
    assert "t.a: 1 values do not fit" in verbose.err

    any_database.run("UPDATE t SET a = 'other'")
    differing = ferry(source, any_database, "--quiet", "--verify")
    assert (differing.code, differing.out, differing.err) == (1, "", "")
    failing = ferry(source, any_database, "--quiet")
    assert failing.code == 3
    assert failing.err


def test_the_report_on_standard_output(any_database: Server, source: Path) -> None:
    run = command(
        *("database", *ends(source, any_database), "--report", "-"), env=password(any_database)
    )

    assert run.code == 0
    report = json.loads(run.out)
    assert report["status"] == "verified"
    assert [table["source"] for table in report["tables"]] == ["makers", "notes", "things"]
    assert "Verified: every value of 3 tables, 7 rows" in run.err

    refused = command(
        *("database", *ends(source, any_database), "--report", "-"), env=password(any_database)
    )
    assert json.loads(refused.out)["error"]["exit_code"] == refused.code == 3


def test_the_report_file_is_for_its_owner(
    any_database: Server, source: Path, tmp_path: Path
) -> None:
    report = tmp_path / "a folder" / "run.json"
    report.parent.mkdir()
    report.write_text("of an earlier run")
    run = command(
        *("database", *ends(source, any_database), "--report", str(report)),
        env=password(any_database),
    )

    assert run.code == 0
    assert json.loads(report.read_text())["status"] == "verified"
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    assert list(report.parent.iterdir()) == [report]
    assert str(report) in run.err


@pytest.fixture(scope="module")
def middling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Just large enough for worker processes."""
    return numbers_file(tmp_path_factory.mktemp("middling") / "middling.db", 210_000)


def test_progress_without_a_terminal(any_database: Server, middling: Path) -> None:
    """The run is held up for longer than lines are apart."""
    process = start(
        "database", *ends(middling, any_database), "--progress", env=password(any_database)
    )
    try:
        wait_until(lambda: tables(any_database)[:1] == ["numbers"], 30, "the table")
        with psycopg.connect(any_database.url) as connection:
            connection.execute("LOCK TABLE numbers IN ACCESS EXCLUSIVE MODE")
            time.sleep(5.5)
        out, err = process.communicate(timeout=60)
    finally:
        end(process)

    assert process.returncode == 0, err
    assert out == ""
    assert re.search(r"^(\d+ %, )?[\d,]+ rows/s.*; (copying|verifying) numbers", err, re.MULTILINE)
    assert "\x1b" not in err
    assert "\r" not in err


def test_progress_on_a_terminal(any_database: Server, middling: Path) -> None:
    code, shown = on_a_terminal(
        ("database", *ends(middling, any_database), "--progress"), any_database, ""
    )

    assert code == 0, shown
    assert "all tables" in shown
    assert "copying numbers" in shown
    assert "verifying numbers" in shown
    assert "\x1b[" in shown


# ---- where things are -------------------------------------------------------------------------


def test_providers_of_a_configuration_file(
    any_database: Server, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    source = source.rename(tmp_path / "data" / "the main.db")
    config = tmp_path / "the configuration.gcfg"
    config.write_text(
        "; what the application uses\n[Server]\nDataDir = data\n[SQLite]\nDir = .\n"
        f'[Postgres]\nURL = "{any_database.url_without_password}&search_path=app"\n'
        f'Password = "{any_database.password}"\n'
    )
    config.chmod(0o600)

    run = with_report(
        *("--from", "sqlite3", "--to", "pgx", "--config", str(config)), env=environment()
    )

    assert run.code == 0, run.err
    assert "Warning" not in run.err
    assert tables(any_database, "app") == ["makers", "notes", "things"]
    assert command("--config", str(config), "database", "--verify", env=environment()).code == 0
    config.chmod(0o644)
    assert "Warning" in command("database", "--config", str(config), "--verify").err


def test_a_relative_path(any_database: Server, tmp_path: Path) -> None:
    folder = tmp_path / "a b%20c ü"
    folder.mkdir()
    sqlite_file(folder / "50% of #1?.db", SCRIPT)
    process = start(
        *("database", "--from", "sqlite:50%25 of %231%3F.db"),
        *("--to", any_database.url_without_password),
        env=password(any_database),
        cwd=folder,
    )

    _, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert tables(any_database) == ["makers", "notes", "things"]


@pytest.mark.parametrize(
    ("schema", "there"), [("app", True), ("An App", False), ('odd "one', True), ("ünï", False)]
)
def test_a_search_path(any_database: Server, source: Path, schema: str, there: bool) -> None:
    quoted = '"' + schema.replace('"', '""') + '"'
    if there:
        any_database.run(f"CREATE SCHEMA {quoted}")
    any_database.run("CREATE TABLE things (another integer)")
    url = f"{any_database.url_without_password}&search_path={quote(quoted)}"
    arguments = ("--from", sqlite_url(source), "--to", url)

    run = with_report(*arguments, env=password(any_database))

    assert run.code == 0, run.err
    assert tables(any_database, schema) == ["makers", "notes", "things"]
    assert tables(any_database) == ["things"]
    assert with_report(*arguments, "--verify", env=password(any_database)).code == 0


@pytest.fixture
def clerk(database: Server) -> Iterator[tuple[str, dict[str, str]]]:
    """An ordinary role that owns a schema and nothing else: a URL, and an environment for it."""
    database.run(
        "DROP ROLE IF EXISTS clerk",
        "CREATE ROLE clerk LOGIN PASSWORD 'a clerk''s' NOSUPERUSER NOCREATEDB NOCREATEROLE",
        "CREATE SCHEMA office AUTHORIZATION clerk",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = database.url_without_password.replace("postgres@", "clerk@")
    try:
        yield f"{url}&search_path=office", environment(**{PASSWORD_VARIABLE: "a clerk's"})
    finally:
        database.run("DROP SCHEMA office CASCADE", "DROP ROLE clerk")


def test_an_ordinary_role_is_enough(
    database: Server, source: Path, clerk: tuple[str, dict[str, str]]
) -> None:
    url, env = clerk
    arguments = ("--from", sqlite_url(source), "--to", url)

    for flags in ((), ("--verify",), ("--drop-all",), ("--recreate",)):
        run = with_report(*arguments, *flags, env=env)
        assert run.code == 0, run.err

    assert independent_differences(source, f"{database.url}&options=-csearch_path%3Doffice") == {}
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'office'"
    assert database.rows(owners) == [("clerk",)]


# ---- passwords --------------------------------------------------------------------------------

SECRET = "s3cret:/@ %41\\'\"ü"


@pytest.mark.parametrize("place", ["variable", "PGPASSWORD", "pgpass", "configuration", "url"])
def test_passwords_stay_unseen(
    any_database: Server, middling: Path, tmp_path: Path, place: str
) -> None:
    any_database.run(
        "DROP ROLE IF EXISTS keeper",
        "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '" + SECRET.replace("'", "''") + "'",
    )
    url = any_database.url_without_password.replace("postgres@", "keeper@")
    report = tmp_path / "report.json"
    env, to, config = environment(HOME=str(tmp_path)), url, tmp_path / "the.gcfg"
    if place == "variable":
        env[PASSWORD_VARIABLE] = SECRET
    elif place == "PGPASSWORD":
        env["PGPASSWORD"] = SECRET
    elif place == "pgpass":
        escaped = SECRET.replace("\\", "\\\\").replace(":", "\\:")
        (tmp_path / ".pgpass").write_text(f"*:*:*:keeper:{escaped}\n")
        (tmp_path / ".pgpass").chmod(0o600)
    elif place == "configuration":
        escaped = SECRET.replace("\\", "\\\\").replace('"', '\\"')
        config.write_text(f'[Postgres]\nURL = "{url}"\nPassword = "{escaped}"\n')
        config.chmod(0o600)
        to = "pgx"
    else:
        to = url.replace("keeper@", f"keeper:{quote(SECRET, safe='')}@")
    arguments = ["--from", sqlite_url(middling), "--to", to, "--report", str(report)]
    arguments += ["--config", str(config)] if place == "configuration" else []
    log = tmp_path / "run.log"
    flags = ("--workers", "2", "--verbose", "--progress", "--log", str(log))
    process = start("database", *arguments, *flags, env=env)
    seen: dict[str, str] = {}
    try:
        while process.poll() is None:
            for pid, line in children(process.pid).items():
                # Between fork and exec a child is a copy of its parent.
                if line != command_line(process.pid):
                    seen[line] = environ_of(pid)
            time.sleep(0.01)
        out, err = process.communicate()
    finally:
        end(process)

    assert process.returncode == 0, err
    assert sum("executors.serve" in line for line in seen) == 2
    for spelled in (SECRET, quote(SECRET, safe=""), json.dumps(SECRET), json.dumps(SECRET)[1:-1]):
        texts = (out, err, report.read_text(), log.read_text())
        for text in (*texts, *seen, *seen.values()):
            assert spelled not in text
    assert ("command line" in err) == (place == "url")


# ---- names ------------------------------------------------------------------------------------

LONG = "a name of more than sixty-three bytes, which PostgreSQL would cut without a word"
NAMES = [
    'with "quotes"',
    "with 'apostrophes'",
    "with spaces ",
    "100%",
    "%s %(name)s {0} {name}",
    "back\\slash\\",
    "UPPER and lower",
    "ünïcödé 漢字 🦆",
    "new\nline\tand tab",
    "[bold]markup[/bold]",
    "; DROP TABLE x; --",
    "$1 $$ :name ?",
    "select",
    "user",
    "oid",
    "rowid",
    "a.b",
    "main.x",
    "xmin",
    "ctid",
    "tableoid",
    LONG,
    f"{LONG} (the other)",
    "漢" * 30,
]


def test_names_of_every_kind(database: Server, tmp_path: Path) -> None:
    def q(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    script = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
    columns = ", ".join(f"{q(name)} TEXT" for name in NAMES)
    script += f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {columns});"
    script += f"INSERT INTO wide VALUES ({', '.join(map(str, range(len(NAMES) + 1)))});"
    for i, name in enumerate(NAMES):
        script += (
            f"CREATE TABLE {q(name)} (id INTEGER PRIMARY KEY, {q(name + ' ')} TEXT UNIQUE, "
            f"parent INTEGER REFERENCES {q(NAMES[i - 1])});"
            f"CREATE INDEX {q('i ' + name)} ON {q(name)} (parent, {q(name + ' ')});"
            f"INSERT INTO {q(name)} VALUES (1, 'row of {i}', 1), (2, NULL, NULL);"
        )
    source = sqlite_file(tmp_path / "source.db", script)

    run = ferried(source, database)

    assert run.report["left_behind"] == []
    assert [table["source"] for table in run.report["tables"]] == sorted(
        [*NAMES, "things", "wide"], key=str.encode
    )
    assert len(keys(database, "p")) == len(NAMES) + 2
    assert len(keys(database, "u")) == len(NAMES)
    counted = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert database.rows(counted) == [(len(NAMES),)]
    for table in run.report["tables"]:
        rows = sqlite_rows(source, f"SELECT * FROM {q(table['source'])} ORDER BY 1")
        query = sql.SQL("SELECT * FROM {} ORDER BY 1").format(sql.Identifier(table["target"]))
        with database.connect() as connection:
            assert connection.execute(query).fetchall() == rows
        assert table["target"] == table["source"] or table["source"] in table["plan"]["renamed"]
    assert ferry(source, database, "--verify").code == 0
    assert ferry(source, database, "--drop-all").code == 0

    odd = NAMES[0]
    with database.connect() as connection:
        change = sql.SQL("UPDATE {} SET parent = NULL WHERE id = 1").format(sql.Identifier(odd))
        connection.execute(change)
    differing = ferry(source, database, "--verify")
    assert differing.code == 1
    assert f"{odd} (id = 1), column parent: 1 in the source, NULL in the target" in differing.err


def test_names_that_the_target_gives_to_its_own_objects(
    any_database: Server, tmp_path: Path
) -> None:
    """Tables, indexes and sequences share one name space there."""
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE things (id INTEGER PRIMARY KEY, code TEXT UNIQUE, a INTEGER, b INTEGER);
        CREATE TABLE things_id_seq (x TEXT);
        CREATE TABLE things_code_key (x TEXT);
        CREATE TABLE other (id INTEGER PRIMARY KEY, a INTEGER);
        CREATE INDEX things_pkey ON other (a);
        INSERT INTO things VALUES (1, 'a', 2, 3);
        INSERT INTO things_id_seq VALUES ('kept');
        """,
    )

    run = ferried(source, any_database)

    assert run.report["left_behind"] == []
    assert independent_differences(source, any_database.url) == {}
    assert ferry(source, any_database, "--verify").code == 0


def test_renamed_columns_are_named(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        f'CREATE TABLE t (xmin TEXT, "xmin_" TEXT, ctid INTEGER PRIMARY KEY, "{LONG}" TEXT);'
        "INSERT INTO t VALUES ('a', 'b', 5, 'c');",
    )

    run = ferried(source, any_database)

    renamed = run.table("t")["plan"]["renamed"]
    assert set(renamed) == {"t.xmin", "t.ctid", f"t.{LONG}"}
    with any_database.connect() as connection:
        columns = [each.name for each in connection.execute("SELECT * FROM t").description or ()]
    assert columns[0] not in ("xmin", "xmin_")
    assert columns[1] == "xmin_"
    assert columns[2] == "ctid_"
    assert all(f"t.{name}" in run.err for name in ("xmin", "ctid", LONG))
    assert any_database.rows("SELECT * FROM t") == [("a", "b", 5, "c")]
    assert ferry(source, any_database, "--verify").code == 0
    any_database.run("UPDATE t SET ctid_ = 6")
    assert ferry(source, any_database, "--verify").code == 1


@pytest.mark.parametrize("name", ["tableferry_run", "tableferry_tables", "tableferry_ranges"])
def test_a_table_named_as_one_of_ours(any_database: Server, tmp_path: Path, name: str) -> None:
    """It arrives, or is refused in words, and nothing of it is lost."""
    source = sqlite_file(
        tmp_path / "source.db", f"CREATE TABLE {name} (x TEXT); INSERT INTO {name} VALUES ('kept');"
    )

    run = ferry(source, any_database)

    if run.code == 0:
        assert independent_differences(source, any_database.url) == {}
    else:
        assert run.code == 3, run.err
        assert name in run.err
        assert tables(any_database) == []


def test_a_name_of_no_letters(any_database: Server, tmp_path: Path) -> None:
    """SQLite allows it, PostgreSQL does not: another name, or a refusal, but no crash."""
    source = sqlite_file(
        tmp_path / "source.db", 'CREATE TABLE t (id INTEGER, "" TEXT); INSERT INTO t VALUES (1, 2);'
    )

    run = ferry(source, any_database)

    assert run.code in (0, 3), run.err
    assert "Traceback" not in run.err


def test_many_columns(any_database: Server, tmp_path: Path) -> None:
    """PostgreSQL's limit is 1,600, SQLite's 2,000."""
    names = [f"c{i}" for i in range(1_500)]
    listed = ", ".join(
        f"{name} {('INTEGER', 'TEXT', 'REAL')[i % 3]}" for i, name in enumerate(names)
    )
    values = ", ".join(("1", "'a'", "0.5", "NULL")[i % 4] for i in range(len(names)))
    source = sqlite_file(
        tmp_path / "source.db", f"CREATE TABLE t ({listed}); INSERT INTO t VALUES ({values});"
    )

    run = ferry(source, any_database)

    assert run.code == 0, run.err
    wide = ", ".join(f"d{i} INTEGER" for i in range(1_700))
    too_wide = sqlite_file(tmp_path / "wide.db", f"CREATE TABLE t ({wide})")
    refused = ferry(too_wide, any_database, "--recreate")
    assert refused.code in (3, 4)
    assert "1600" in refused.err or "1,600" in refused.err
