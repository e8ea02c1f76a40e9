"""Errors a person can act on: a line or two, the right exit code, and nothing written."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    catalog,
    children,
    command,
    end,
    ends,
    environment,
    ferried,
    ferry,
    fingerprint,
    is_alive,
    numbers_file,
    password,
    schemas,
    sessions,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    start,
    wait_until,
)

SCRIPT = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO things VALUES (1, 'a');"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "source.db", SCRIPT)


def assert_said(run: Run, code: int, *words: str) -> None:
    assert run.code == code, run.err
    assert 1 <= len(run.err.splitlines()) <= 3, run.err
    assert "Traceback" not in run.err
    assert run.out == ""
    for word in words:
        assert word in run.err


@contextmanager
def nothing_written(target: Server, *files: Path) -> Iterator[None]:
    before = catalog(target), schemas(target), [fingerprint(file) for file in files]
    beside = {file: sorted(file.parent.iterdir()) for file in files}
    yield
    assert (catalog(target), schemas(target), [fingerprint(file) for file in files]) == before
    assert {file: sorted(file.parent.iterdir()) for file in files} == beside


# ---- the source -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "There is no file"),
        (b"", "holds no tables"),
        (b"name,size\nfirst,1\n" * 100, "is not a SQLite database"),
        (random.Random(1).randbytes(8192), "is not a SQLite database"),
    ],
    ids=["missing", "of no bytes", "a text", "encrypted"],
)
@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
def test_a_file_that_is_no_database(
    any_database: Server, tmp_path: Path, content: bytes | None, word: str, flags: tuple[str, ...]
) -> None:
    path = tmp_path / "wanted.db"
    if content is not None:
        path.write_bytes(content)

    with nothing_written(any_database, *([path] if path.exists() else [])):
        run = ferry(path, any_database, *flags)

    assert_said(run, 3, word, str(path))
    assert path.exists() == (content is not None)
    assert run.report["error"]["exit_code"] == 3


def test_a_folder_and_a_file_that_may_not_be_read(
    any_database: Server, source: Path, tmp_path: Path
) -> None:
    assert_said(ferry(tmp_path, any_database), 3, str(tmp_path), "is not a file")
    source.chmod(0)

    with nothing_written(any_database):
        run = command(
            *("database", *ends(source, any_database)),
            env=password(any_database),
            modes_count=True,
        )

    assert_said(run, 3, str(source), "cannot be read")


@pytest.mark.parametrize("page", [0.1, 0.5, 0.9, 1.0])
def test_a_damaged_page_never_passes(any_database: Server, tmp_path: Path, page: float) -> None:
    """Whatever SQLite itself notices, and rows that are not there any more, which it does not."""
    path = numbers_file(tmp_path / "source.db", 20_000)
    content = bytearray(path.read_bytes())
    begin = min(int(page * len(content)) // 4096, len(content) // 4096 - 1) * 4096
    content[begin : begin + 100] = bytes(byte ^ 0xFF for byte in content[begin : begin + 100])
    path.write_bytes(content)

    run = ferry(path, any_database)

    assert run.code in (3, 4), run.err
    assert_said(run, run.code, str(path), "damaged")


def test_a_truncated_file_never_passes(any_database: Server, tmp_path: Path) -> None:
    path = numbers_file(tmp_path / "source.db", 20_000)
    os.truncate(path, path.stat().st_size // 2)

    assert_said(ferry(path, any_database), 4, str(path), "damaged")


def test_a_source_that_is_being_written(any_database: Server, source: Path) -> None:
    with (
        closing(sqlite3.connect(source, isolation_level=None)) as writer,
        nothing_written(any_database),
    ):
        writer.execute("BEGIN IMMEDIATE")
        run = ferry(source, any_database, "--force")
        writer.execute("ROLLBACK")

    assert_said(run, 3, str(source), "Another program is writing")


# ---- the target -------------------------------------------------------------------------------


def test_a_wrong_password(database: Server, source: Path) -> None:
    env = environment(**{PASSWORD_VARIABLE: "not the password"})

    with nothing_written(database, source):
        run = command("database", *ends(source, database), env=env)

    assert_said(run, 3, database.name, "password", PASSWORD_VARIABLE)
    assert "not the password" not in run.err


def test_no_such_database(database: Server, source: Path) -> None:
    url = database.url_without_password.replace(database.name, "nowhere")

    with nothing_written(database, source):
        run = command("database", "--from", sqlite_url(source), "--to", url, env=password(database))

    assert_said(run, 3, "nowhere", "createdb")


@pytest.mark.parametrize(
    ("url", "flag"),
    [
        ("postgresql://postgres@127.0.0.1:1/shop", "--progress"),
        ("postgresql://postgres@127.0.0.1:1/shop", "--verify"),
        ("postgresql://postgres@no.such.host.invalid/shop", "--drop-all"),
        ("postgresql://postgres@/shop?host=/no/such/folder", "--yes"),
    ],
)
def test_no_server(source: Path, url: str, flag: str) -> None:
    before = fingerprint(source)

    run = command("database", "--from", sqlite_url(source), "--to", url, flag)

    assert_said(run, 3, "/shop", "cannot be reached", "Check that the server runs")
    assert fingerprint(source) == before


@pytest.mark.parametrize("search_path", ["", "&search_path=elsewhere"])
def test_no_permission_to_create(database: Server, source: Path, search_path: str) -> None:
    database.run(
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN PASSWORD 'a guest'",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = database.url_without_password.replace("postgres@", "guest@") + search_path

    with nothing_written(database, source):
        run = command(
            *("database", "--from", sqlite_url(source), "--to", url),
            env=environment(**{PASSWORD_VARIABLE: "a guest"}),
        )

    database.run("DROP ROLE guest")
    assert_said(run, 3, "elsewhere" if search_path else "public")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE things (id bigint, name text); INSERT INTO things VALUES (7, 'kept')",
        "CREATE TABLE things (id bigint GENERATED BY DEFAULT AS IDENTITY, name text);"
        "INSERT INTO things VALUES (7, 'kept')",
        "CREATE TABLE things (other integer)",
        "CREATE VIEW things AS SELECT 1 AS id, 'a' AS name",
    ],
    ids=["rows", "rows of ours", "another definition", "a view"],
)
def test_a_target_that_is_not_empty(any_database: Server, source: Path, statement: str) -> None:
    any_database.run(statement)
    before = any_database.rows("SELECT * FROM things")

    with nothing_written(any_database, source):
        run = ferry(source, any_database)

    assert_said(run, 3, "things")
    assert any_database.rows("SELECT * FROM things") == before


def test_a_second_run_at_the_same_time(any_database: Server, source: Path) -> None:
    lock = "SELECT pg_advisory_lock(hashtextextended('tableferry public', 0))"
    with any_database.connect() as other, nothing_written(any_database, source):
        other.execute("SET application_name = 'tableferry'")
        other.execute(lock.encode())
        run = ferry(source, any_database)

    assert_said(run, 3, any_database.name, "Another run")


@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
def test_source_and_target_the_same(
    any_database: Server, source: Path, flags: tuple[str, ...]
) -> None:
    any_database.run("CREATE TABLE things (id bigint)")
    url, file = any_database.url_without_password, sqlite_url(source)
    link = source.with_name("link.db")
    link.symlink_to(source)

    with nothing_written(any_database, source):
        for one, other in ((url, url), (file, file), (file, sqlite_url(link))):
            run = command(
                "database", "--from", one, "--to", other, *flags, env=password(any_database)
            )
            assert_said(run, run.code)
            assert run.code == 3, run.err
            assert "the same database" in run.err


# ---- usage and configuration ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--nonsense"], ["--nonsense"]),
        (["--drop-all=yes"], ["--drop-all"]),
        (["--workers"], ["--workers"]),
        (["--workers", "many"], ["--workers", "many"]),
        (["--workers", "0"], ["0 workers"]),
        (["--tables", "thongs"], ["'thongs'", "things"]),
        (["--exclude", "nothing*"], ["'nothing*'"]),
        (["--exclude", "*"], ["no table"]),
        (["--misfit", "ignore"], ["--misfit", "ignore"]),
        (["--report", "report.txt"], ["report.txt", ".json", ".html"]),
        (["--report", "/no/such/folder/report.json"], ["/no/such/folder"]),
        (["--report", "/no/such/folder/report.html"], ["/no/such/folder"]),
        (["--verify", "--drop-all"], ["--verify", "--drop-all"]),
        (["--quiet", "--verbose"], ["--quiet", "--verbose"]),
        (["--resume", "--verify"], ["--resume", "--verify"]),
        (["--cast", "a=b"], ["a=b"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_flags_that_make_no_sense(
    any_database: Server, source: Path, flags: list[str], words: list[str]
) -> None:
    with nothing_written(any_database, source):
        run = command("database", *ends(source, any_database), *flags, env=password(any_database))

    assert_said(run, 2, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["database"]),
        (["help", "frobnicate"], ["frobnicate"]),
        (["database", "--from", "oracle", "--to", "pgx"], ["provider"]),
        (["database", "--from", "mysql://host/shop", "--to", "pgx"], ["URL"]),
        (["database", "--config", "/no/such/file.gcfg"], ["/no/such/file.gcfg"]),
    ],
)
def test_commands_that_make_no_sense(arguments: list[str], words: list[str]) -> None:
    assert_said(command(*arguments), 2, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[SQLite]\nFile = source.db\nthis is wrong\n", ["line 3", "this"]),
        ('[SQLite]\nFile = "source.db\n', ["line 2", "File"]),
        ("[SQLite\nFile = source.db\n", ["line 1"]),
        ("[Database]\nProvider = oracle\n", ["line 2", "Provider"]),
        ("[SQLite]\nFile = source.db\n", ["[Postgres] URL"]),
        ("[SQLite]\nFile = source.db\n[Postgres]\nURL = http://host/shop\n", ["line 4", "URL"]),
    ],
)
def test_bad_lines_of_the_configuration(
    tmp_path: Path, source: Path, text: str, words: list[str]
) -> None:
    config = tmp_path / "the.gcfg"
    config.write_text(text.replace("source.db", str(source)))

    run = command("database", "--config", str(config))

    assert_said(run, 2, str(config), *words)


def test_help_and_version_need_nothing() -> None:
    for arguments in (["help"], ["help", "database"], ["--help"], ["database", "-h"], []):
        run = command(*arguments)
        assert (run.code, run.err) == (0, "")
        assert "migrate database" in run.out
    assert command("--version").out.startswith("tableferry ")


# ---- the end of a run in its middle -----------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for worker processes, and for a run that can be caught in its middle."""
    return numbers_file(tmp_path_factory.mktemp("large") / "large.db", 700_000, width=120)


class Running:
    """A run in the middle of its copy, and the processes below it."""

    def __init__(self, source: Path, target: Server) -> None:
        self.target = target
        self.process: subprocess.Popen[str] = start(
            *("database", "--workers", "2", *ends(source, target)),
            env=password(target),
            start_new_session=True,
            # A shell that runs the tests in the background may have SIGINT ignored for all.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def reach_the_copy(self) -> None:
        wait_until(self._copying, 30, "workers that copy")
        self.children = children(self.process.pid)
        self.workers = [pid for pid, line in self.children.items() if "executors.serve" in line]
        assert len(self.workers) == 2

    def _copying(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'tableferry%' AND query LIKE 'COPY%' AND state = 'active'"
        )
        return bool(self.target.rows(query)[0][0] == 2)

    def ended(self, seconds: float) -> Run:
        out, err = self.process.communicate(timeout=seconds)
        return Run(self.process.returncode, out, err)

    def nothing_is_left(self, seconds: float) -> None:
        wait_until(lambda: not any(map(is_alive, self.children)), seconds, f"no {self.children}")
        wait_until(lambda: sessions(self.target) == 0, seconds, "no sessions on the server")


@pytest.fixture
def running(any_database: Server, large: Path) -> Iterator[Running]:
    run = Running(large, any_database)
    try:
        run.reach_the_copy()
        yield run
    finally:
        end(run.process)


def test_a_worker_that_is_killed(running: Running, large: Path) -> None:
    os.kill(running.workers[0], signal.SIGKILL)

    run = running.ended(seconds=5)

    assert_said(run, 4, "worker process", "SIGKILL", "memory")
    running.nothing_is_left(seconds=5)
    again = ferry(large, running.target)
    assert_said(again, 3, "unfinished run", "--drop-all")
    ferried(large, running.target, "--drop-all", "--yes")


@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGTERM, False)],
    ids=["Ctrl-C", "SIGINT", "SIGTERM"],
)
def test_an_interrupted_run(
    running: Running, large: Path, number: signal.Signals, to_all: bool
) -> None:
    if to_all:
        os.killpg(running.process.pid, number)
    else:
        running.process.send_signal(number)

    run = running.ended(seconds=5)

    assert_said(run, 130, "Interrupted", "--drop-all")
    running.nothing_is_left(seconds=5)
    with closing(sqlite3.connect(large, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("ROLLBACK")


def test_a_coordinator_that_is_killed(running: Running, large: Path) -> None:
    running.process.kill()

    running.nothing_is_left(seconds=3)

    assert sqlite_rows(large, "SELECT count(*) FROM numbers") == [(700_000,)]
    with closing(sqlite3.connect(large, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("ROLLBACK")


def test_a_holder_that_is_killed(running: Running) -> None:
    """The process that keeps writers out of the source: without it nothing may be called so."""
    (holder,) = (pid for pid, line in running.children.items() if "holder.py" in line)
    os.kill(holder, signal.SIGKILL)

    run = running.ended(seconds=60)

    assert_said(run, 4, "large.db")
    running.nothing_is_left(seconds=5)


def test_a_server_that_ends_the_sessions(running: Running) -> None:
    running.target.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        "AND datname = current_database()"
    )

    run = running.ended(seconds=60)

    assert run.code == 0, run.err
    assert "Trying again in" in run.err
    assert "Traceback" not in run.err
    running.nothing_is_left(seconds=5)
