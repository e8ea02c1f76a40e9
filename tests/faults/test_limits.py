"""What an administrator allows: few connections, little time, little memory."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests import servers
from tests.faults.crashing import CrashingServer, crashing
from tests.servers import Server
from tests.system.support import (
    Run,
    end,
    ends,
    ferried,
    ferry,
    independent_differences,
    numbers_file,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    start,
    with_report,
)

# Bytes that a process may have, and of a value of which it would need several copies.
MEMORY, HEAVY = 900 << 20, 150_000_000
# Milliseconds; what a statement of the run takes at least, by a trigger.
TIMEOUT, SLOW = 400, 600
TIMEOUTS = {
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}
SLOW_INDEX = f"""
CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({SLOW / 1000}); END $$;
CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
    EXECUTE FUNCTION slow();
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = numbers_file(tmp_path_factory.mktemp("limits") / "source.db", 100_000, width=60)
    return sqlite_file(path, "CREATE INDEX numbers_a ON numbers (a)")


def test_timeouts_that_an_administrator_has_set(
    database: Server, source: Path, tmp_path: Path
) -> None:
    """As pg_dump and pg_restore do, a run sets those aside that are for people at a prompt."""
    database.run(SLOW_INDEX)
    for name, since in TIMEOUTS.items():
        if database.version >= since:
            database.run(f"ALTER DATABASE {database.name} SET {name} = '{TIMEOUT}ms'")

    ferried(source, database, "--workers", "2")

    target = tmp_path / "target.db"
    run = with_report(
        *("--from", database.url_without_password, "--to", sqlite_url(target)),
        env=password(database),
    )
    assert (run.code, run.report["status"]) == (0, "verified"), run.err


@pytest.fixture(scope="module")
def small() -> Iterator[CrashingServer]:
    settings = {"max_connections": "8", "superuser_reserved_connections": "0"}
    with crashing(servers.EMBEDDED, settings) as server:
        yield server


@contextlib.contextmanager
def taken(server: Server, left: int) -> Iterator[None]:
    """All connections but so many, by somebody else's sessions in another database."""
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    try:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                held.append(psycopg.connect(server.url))
        for _ in range(left):
            held.pop().close()
        # The server takes its time to notice.
        time.sleep(0.2)
        yield
    finally:
        for connection in held:
            connection.close()


def test_no_connection_left(small: CrashingServer, source: Path) -> None:
    with servers.fresh_database(small.server) as target:
        with taken(small.server, 0):
            run = ferry(source, target)
        assert run.code == 3, run.err
        assert "Traceback" not in run.err
        assert "lower --workers" in run.err

        ferried(source, target)


def test_no_connection_left_for_a_while(small: CrashingServer, source: Path) -> None:
    """For workers; the run waits for those that have them."""
    with servers.fresh_database(small.server) as target:
        said = ""
        with taken(small.server, 2):
            process = start("database", *ends(source, target), env=password(target))
            assert process.stderr is not None
            while "Trying again" not in said and process.poll() is None:
                said += process.stderr.readline()
        try:
            _, rest = process.communicate(timeout=60)
        finally:
            end(process)
        assert "Trying again" in said
        assert process.returncode == 0, said + rest
        assert independent_differences(source, target.url) == {}


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(
        tmp_path_factory.mktemp("limits") / "heavy.db",
        "CREATE TABLE heavy (id INTEGER PRIMARY KEY, content BLOB);"
        f"INSERT INTO heavy VALUES (1, zeroblob({HEAVY})), (2, zeroblob(5));",
    )


def limited(bytes_: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


def test_no_memory_left(any_database: Server, heavy: Path) -> None:
    arguments = ("database", *ends(heavy, any_database), "--workers", "1")
    process = start(*arguments, env=password(any_database), preexec_fn=limited(MEMORY))
    try:
        out, err = process.communicate(timeout=60)
    finally:
        end(process)
    run = Run(process.returncode, out, err)

    assert run.code == 4, run.err
    assert "Traceback" not in run.err
    assert "fewer --workers" in run.err
    again = ferry(heavy, any_database, "--resume")
    assert again.code == 0, again.err
    assert sqlite_rows(heavy, "SELECT count(*) FROM heavy") == [(2,)]
    query = "SELECT id, length(content) FROM heavy ORDER BY 1"
    assert any_database.rows(query) == [(1, HEAVY), (2, 5)]
