"""A service that still uses one of the databases: the run is refused, and says who it is."""

from __future__ import annotations

import os
import pwd
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import (
    catalog,
    command,
    end,
    ends,
    environment,
    ferried,
    ferry,
    fingerprint,
    open_to_all,
    password,
    sessions,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    start,
    wait_until,
)

import tableferry
from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Clients, Endpoint
from tableferry.dialects.postgresql import clients as module
from tableferry.dialects.postgresql.clients import clients_of, described
from tableferry.dialects.sqlite import clients as sqlite_clients
from tableferry.errors import Refused

SCRIPT = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
    "INSERT INTO things VALUES (1, 'a'), (2, 'b');"
)

# Has the file open, says so, and does nothing more.
_IDLER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "app.db", SCRIPT)


@contextmanager
def idle_process(path: Path, **options: Any) -> Iterator[int]:
    """Another process that is an idle client of a SQLite file."""
    process = subprocess.Popen(
        [sys.executable, "-c", _IDLER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process.pid
    finally:
        process.communicate("")


@contextmanager
def service(target: Server, name: str = "the service") -> Iterator[psycopg.Connection[Any]]:
    """An idle client of a PostgreSQL database."""
    with psycopg.connect(target.url, autocommit=True, application_name=name) as connection:
        connection.execute("SELECT 'a query of the service'")
        yield connection


def endpoint(target: Server) -> Endpoint:
    address = parse_url(target.url)
    assert isinstance(address, PostgresServer)
    return Endpoint(address)


# ---- PostgreSQL -------------------------------------------------------------------------------


def test_a_client_of_the_target(database: Server, source: Path) -> None:
    with service(database):
        before = catalog(database), fingerprint(source)
        run = ferry(source, database)
        assert (catalog(database), fingerprint(source)) == before
        assert run.code == 3, run.err
        assert (
            "is in use by postgres (application the service, through the local socket, idle since 2"
        ) in run.err
        assert "a query" not in run.err
        assert "--force" in run.err
        assert run.report["error"]["exit_code"] == 3
        assert sessions(database) == 0

        ferried(source, database, "--force")
        ferried(source, database, "--verify")
    ferried(source, database, "--drop-all")


def test_clients_of_other_databases_and_other_runs_are_none(
    any_database: Server, source: Path
) -> None:
    with (
        servers.fresh_database(any_database) as elsewhere,
        service(elsewhere),
        service(any_database, "tableferry"),
        service(any_database, "tableferry verify"),
    ):
        ferried(source, any_database)


def test_every_client_is_named(any_database: Server, source: Path) -> None:
    with (
        service(any_database) as busy,
        service(any_database, "tableferries"),
        service(any_database, "pool"),
        service(any_database, "pool"),
        idle_process(source) as pid,
    ):
        busy.execute("BEGIN")
        run = ferry(source, any_database)

    assert run.code == 3, run.err
    assert f"(process {pid} of user " in run.err
    assert "application the service, through the local socket, idle in transaction since" in run.err
    assert "2 sessions of postgres (application pool, " in run.err
    assert "application tableferries" in run.err


def test_a_session_that_is_just_ending_is_no_client(any_database: Server) -> None:
    for _ in range(20):
        with service(any_database):
            pass
        assert clients_of(endpoint(any_database)) == Clients()


def test_the_name_of_the_client_is_no_markup(any_database: Server, source: Path) -> None:
    with service(any_database, "[red]app[/red] password=x"):
        run = ferry(source, any_database)
    assert run.code == 3
    assert "[red]app[/red]" in run.err


def test_an_ordinary_role_sees_who_but_not_what(database: Server, source: Path) -> None:
    database.run("DROP ROLE IF EXISTS looker", "CREATE ROLE looker LOGIN PASSWORD 'looks'")
    database.run("GRANT CREATE ON SCHEMA public TO looker")
    try:
        url = database.url_without_password.replace("postgres@", "looker@")
        with service(database), service(database):
            run = command(
                *("database", "--from", sqlite_url(source), "--to", url),
                env=environment(TABLEFERRY_POSTGRES_PASSWORD="looks"),
            )
            database.run("GRANT pg_read_all_stats TO looker")
            seeing = command(
                *("database", "--from", sqlite_url(source), "--to", url),
                env=environment(TABLEFERRY_POSTGRES_PASSWORD="looks"),
            )
    finally:
        database.run("DROP OWNED BY looker", "DROP ROLE looker")
    assert run.code == 3, run.err
    assert "2 sessions of postgres (application the service, details hidden)" in run.err
    assert "Where 2 sessions came from" in run.err
    assert "pg_read_all_stats" in run.err
    assert seeing.code == 3
    assert "idle since" in seeing.err
    assert "hidden" not in seeing.err


def test_processes_of_the_server_itself_are_no_clients(database: Server) -> None:
    """The rows that pg_stat_activity has of them, as seen and as hidden."""
    activity = """CREATE TEMP TABLE activity AS SELECT * FROM pg_stat_activity WHERE false;
        INSERT INTO activity (datname, pid, usesysid, usename, application_name, backend_type)
        SELECT current_database(), 1000000 + row_number() OVER (), v.* FROM (VALUES
        (NULL::oid, NULL::name, '', 'autovacuum worker'), (NULL, NULL, '', NULL),
        (10, 'postgres', 'seen', 'client backend'), (10, 'postgres', 'hidden', NULL),
        (10, 'postgres', 'seen', 'parallel worker'), (10, 'postgres', '', 'walsender'),
        (10, 'postgres', '', 'logical replication worker'),
        (10, 'postgres', '', 'logical replication apply worker')) AS v"""
    with database.connect() as connection:
        connection.execute(activity.encode())
        query = module.QUERY.replace("pg_stat_activity a", "activity a")
        rows = connection.cursor(row_factory=psycopg.rows.dict_row).execute(query.encode())
        found = described(rows.fetchall())
    assert found.named == (
        "postgres (application hidden, details hidden)",
        "postgres (application seen, through the local socket, connected)",
    )
    assert found.unseen.startswith("Where 1 session came from")


# ---- SQLite -----------------------------------------------------------------------------------


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_an_idle_client_of_the_file(any_database: Server, tmp_path: Path, journal: str) -> None:
    source = sqlite_file(tmp_path / "app.db", f"PRAGMA journal_mode = {journal};{SCRIPT}")
    with idle_process(source) as pid:
        before = catalog(any_database)
        run = ferry(source, any_database)
        assert catalog(any_database) == before
        assert run.code == 3, run.err
        assert f"SQLite file {source} is in use by python" in run.err
        assert f"(process {pid} of user {pwd.getpwuid(os.geteuid()).pw_name})" in run.err
        assert len(run.err.splitlines()) == 2

        ferried(source, any_database, "--force")
        ferried(source, any_database, "--verify")


def test_a_caller_that_has_the_file_open_itself(any_database: Server, source: Path) -> None:
    with closing(sqlite3.connect(source)) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchall() == [(2,)]
        outcome = tableferry.migrate(sqlite_url(source), any_database.url)
    assert outcome.verified


def test_force_from_python(any_database: Server, source: Path) -> None:
    with idle_process(source) as pid:
        with pytest.raises(Refused, match=f"process {pid} of"):
            tableferry.migrate(sqlite_url(source), any_database.url)
        assert tableferry.migrate(sqlite_url(source), any_database.url, force=True).verified


def as_nobody(path: Path) -> str:
    """What clients_of answers to an ordinary user, who is not the one whose process it is."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        os.write(writing, repr(sqlite_clients.clients_of(path)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_an_ordinary_user_may_not_see_is_said() -> None:
    with servers.short_folder() as folder:
        folder.chmod(0o755)
        rollback = sqlite_file(folder / "rollback.db", SCRIPT)
        wal = sqlite_file(folder / "wal.db", f"PRAGMA journal_mode = wal;{SCRIPT}")
        with idle_process(rollback), idle_process(wal) as pid:
            hidden, locked = as_nobody(rollback), as_nobody(wal)
        alone = as_nobody(rollback)
    for text in (hidden, alone):
        assert text.startswith("Clients(named=(), unseen='Whether ")
        assert f"of other users have {rollback} open cannot be seen; root sees it." in text
    # A client of a file in WAL mode holds a lock, which everyone may know.
    assert f"(process {pid} of user root)" in locked


# ---- a plan -----------------------------------------------------------------------------------


def test_a_plan_names_them_as_risks(any_database: Server, source: Path, tmp_path: Path) -> None:
    with idle_process(source) as pid, service(any_database):
        run = command("plan", *ends(source, any_database), env=password(any_database))
    assert run.code == 0, run.err
    risks = [
        line for line in run.err.splitlines() if line.startswith("Risk: ") and " in use by " in line
    ]
    assert len(risks) == 2
    assert f"process {pid} of" in risks[0]
    assert "application the service" in risks[1]
    assert all("refused without --force" in risk for risk in risks)


# ---- a source that changes ----------------------------------------------------------------------

# By whether the folder, too, may not be written; SQLite then reads without any lock.
FOLDERS = pytest.mark.parametrize("folder", [0o755, 0o555], ids=["file", "folder"])


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Path]:
    """In a folder of its own, and large enough for a run that can be caught in its middle."""
    folder = tmp_path / "kept"
    folder.mkdir()
    path = sqlite_file(
        folder / "app.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700000)"
        "INSERT INTO t SELECT i, printf('%-60s', i) FROM n;",
    )
    yield path
    folder.chmod(0o755)


class Change:
    """A program that has opened a file before it might no longer be written, and writes into it
    in the middle of a run that only may read it."""

    def __init__(self, path: Path, target: Server, journal: str, folder: int) -> None:
        self.path, self.target, self.journal, self.folder = path, target, journal, folder

    def during(self, *flags: str, statement: str) -> tuple[int, str]:
        with (
            open_to_all(self.target),
            closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as writer,
        ):
            writer.execute(f"PRAGMA journal_mode = {self.journal}")
            writer.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            assert sum(p.stat().st_size for p in self.path.parent.glob("*-wal")) == 0
            self.path.chmod(0o444)
            self.path.parent.chmod(self.folder)
            process = start(
                *("database", *ends(self.path, self.target), "--workers", "1", *flags),
                modes_count=True,
                env=password(self.target),
            )
            try:
                wait_until(self._copying, 30, "a copy or a reading")
                writer.execute(statement)
                assert process.poll() is None, "the run was over before the file was changed"
                _, err = process.communicate(timeout=100)
            finally:
                end(process)
        return process.returncode, err

    def _copying(self) -> bool:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'tableferry%' AND query LIKE 'COPY%'"
        )
        return bool(self.target.rows(query)[0][0])


@FOLDERS
def test_a_source_that_changes_is_never_verified(
    any_database: Server, kept: Path, folder: int
) -> None:
    """In WAL mode no one who may not write a file can keep writers out of it."""
    change = Change(kept, any_database, "wal", folder)
    # Of the last row, which is read last: the change itself may even have been carried.
    code, err = change.during("--force", statement="UPDATE t SET a = 'new' WHERE id = 700000")
    assert code == 4, err
    assert "was changed while it was read" in err
    assert "Verified" not in err
    assert sqlite_rows(kept, "SELECT a FROM t WHERE id = 700000") == [("new",)]


@pytest.mark.parametrize(("journal", "folder"), [("wal", 0o755), ("wal", 0o555), ("memory", 0o555)])
def test_nor_by_a_verification(any_database: Server, kept: Path, journal: str, folder: int) -> None:
    """Where a file in rollback mode is read with locks, a writer has to wait."""
    ferried(kept, any_database)
    change = Change(kept, any_database, journal, folder)
    code, err = change.during("--verify", statement="INSERT INTO t VALUES (700001, 'new')")
    assert code == 4, err
    assert "was changed while it was read" in err


@FOLDERS
def test_writers_are_kept_out_by_those_who_only_read(
    any_database: Server, kept: Path, folder: int
) -> None:
    change = Change(kept, any_database, "memory", folder)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        change.during("--force", statement="UPDATE t SET a = 'new'")
    assert sqlite_rows(kept, "SELECT count(*) FROM t WHERE a = 'new'") == [(0,)]
