"""An interrupt ends the command within two seconds, whatever it is at, and a second one at once.

What goes beyond tests/system/test_errors.py, where a run is interrupted in its copy.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import (
    children,
    end,
    ends,
    environment,
    is_alive,
    numbers_file,
    password,
    sqlite_file,
    sqlite_url,
    wait_until,
)

# As the console scripts do it.
MIGRATE = (sys.executable, "-c", "from tableferry.command import main; main()")
SECONDS = 2.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for workers, with an index."""
    path = numbers_file(tmp_path_factory.mktemp("large") / "large.db", 200_000, width=60)
    return sqlite_file(path, "CREATE INDEX numbers_b ON numbers (b)")


@pytest.fixture(scope="module")
def viewed(large: Path) -> Path:
    """The same with a view that takes for ever to be read."""
    return sqlite_file(
        Path(shutil.copyfile(large, large.with_name("viewed.db"))),
        "CREATE VIEW pairs AS SELECT count(*) AS n FROM numbers x JOIN numbers y ON x.a > y.a;",
    )


class Interrupted:
    """A run in a process group of its own."""

    def __init__(self, *arguments: str, env: dict[str, str], **options: Any) -> None:
        usual: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "start_new_session": True,
            # A shell that runs the tests in the background may have SIGINT ignored for all.
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        }
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [*MIGRATE, *arguments], env=env, text=True, **(usual | options)
        )

    def send(self, number: signal.Signals) -> None:
        """To the whole group, as a terminal does."""
        self.below = children(self.process.pid)
        self.sent = time.monotonic()
        os.killpg(self.process.pid, number)

    def ended(self) -> str:
        """What it said, once it has ended in time with 130 and nothing of it is left."""
        out, err = self.process.communicate(timeout=30)
        seconds = time.monotonic() - self.sent
        assert self.process.returncode == 130, err
        assert out == ""
        assert "Traceback" not in err
        assert seconds < SECONDS, err
        left = max(0.1, self.sent + SECONDS - time.monotonic())
        wait_until(lambda: not any(map(is_alive, self.below)), left, f"no {self.below}")
        return str(err)

    def no_sessions(self, *servers: Server) -> None:
        left = max(0.1, self.sent + SECONDS - time.monotonic())
        for server in servers:
            wait_until(lambda s=server: activity(s, "") == 0, left, "no sessions")  # type: ignore[misc]


def activity(server: Server, query: str) -> int:
    """How many sessions of the program are at such a statement; all of them at an empty one."""
    return int(
        server.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            f"AND application_name LIKE 'tableferry%' AND ('{query}' = '' OR state = 'active' AND "
            f"query ~ '{query}')"
        )[0][0]
    )


@contextmanager
def run(*arguments: str, env: dict[str, str], **options: Any) -> Iterator[Interrupted]:
    started = Interrupted(*arguments, env=env, **options)
    try:
        yield started
    finally:
        end(started.process)


def reach(started: Interrupted, server: Server, query: str) -> None:
    def there() -> bool:
        assert started.process.poll() is None, started.process.communicate()
        return activity(server, query) > 0

    wait_until(there, 30, query)


# What makes a statement of a run wait in the server, for as long as anyone lets it.
STUCK = """
CREATE FUNCTION stuck() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF session_user = current_user AND current_setting('application_name') ~ '^tableferry' THEN
        PERFORM pg_sleep(60);
    END IF;
END $$;
CREATE EVENT TRIGGER stuck ON ddl_command_start WHEN TAG IN ({tags}) EXECUTE FUNCTION stuck();
"""


@pytest.mark.parametrize(
    ("tag", "number"),
    [
        ("CREATE TABLE", signal.SIGINT),
        ("CREATE TABLE", signal.SIGTERM),
        ("CREATE TABLE", signal.SIGHUP),
        ("ALTER TABLE", signal.SIGINT),
        ("CREATE INDEX", signal.SIGTERM),
        ("CREATE VIEW", signal.SIGINT),
        # The end of the ledger.
        ("DROP TABLE", signal.SIGHUP),
    ],
)
def test_a_statement_that_takes_long(
    any_database: Server, large: Path, viewed: Path, tag: str, number: signal.Signals
) -> None:
    """In a worker or in the coordinator, which waits for it in the driver."""
    any_database.run(STUCK.format(tags=f"'{tag}'"))
    # The view would take its time to be compared.
    source = viewed if tag == "CREATE VIEW" else large
    arguments = ("database", "--workers", "2", *ends(source, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, tag)
        started.send(number)
        err = started.ended()
        started.no_sessions(any_database)

    assert "Interrupted" in err
    assert "--abort" in err
    with closing(sqlite3.connect(source, isolation_level=None, timeout=0)) as writer:
        writer.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize("query", ["COPY .SELECT", "pairs"])
def test_what_is_read_back(any_database: Server, viewed: Path, query: str) -> None:
    """Rows, and a view: a server that sends nothing notices that nobody listens."""
    arguments = ("database", "--workers", "2", *ends(viewed, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, query)
        started.send(signal.SIGINT)
        started.ended()
        started.no_sessions(any_database)


def test_a_verification(any_database: Server, large: Path) -> None:
    """It has nothing that could be gone on with, and says nothing of the kind."""
    any_database.run(
        "CREATE TABLE numbers AS SELECT i::bigint AS id, i::bigint * 7919 AS a, "
        "rpad('row number ' || i, 60) AS b, i / 8.0::float8 AS c FROM generate_series(1, 200000) i"
    )
    arguments = ("database", "--verify", "--workers", "2", *ends(large, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, "COPY .SELECT")
        started.send(signal.SIGINT)
        assert started.ended() == "Interrupted.\n"
        started.no_sessions(any_database)


def test_a_worker_that_dies_while_a_view_is_read(any_database: Server, viewed: Path) -> None:
    """That says nothing of the view, which is not left behind for it."""
    arguments = ("database", "--workers", "2", *ends(viewed, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, "pairs")
        for pid, line in children(started.process.pid).items():
            if "executors.serve" in line:
                os.kill(pid, signal.SIGKILL)
        _, err = started.process.communicate(timeout=10)

    assert started.process.returncode == 4, err
    assert "worker process" in err
    assert "--resume" in err


def test_a_lock_that_is_waited_for(any_database: Server, tmp_path: Path) -> None:
    """While the source is held still."""
    any_database.run("CREATE TABLE t (x int)")
    target = tmp_path / "target.db"
    arguments = ("--from", any_database.url_without_password, "--to", sqlite_url(target))
    with any_database.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        with run("database", "--force", *arguments, env=password(any_database)) as started:
            reach(started, any_database, "LOCK TABLE")
            started.send(signal.SIGINT)
            started.ended()
            started.no_sessions(any_database)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_answers_nothing(any_database: Server, large: Path) -> None:
    """What cannot be cancelled is left, and ends by itself when the server is there again."""
    any_database.run(STUCK.format(tags="'CREATE TABLE'"))
    arguments = ("database", "--workers", "2", *ends(large, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, "CREATE TABLE")
        pid = _stopped_session(any_database, "CREATE TABLE")
        try:
            started.send(signal.SIGINT)
            err = started.ended()
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: activity(any_database, "") == 0, 3, "no sessions")
    assert err.count("Interrupted") == 1


def test_a_second_one(any_database: Server, large: Path) -> None:
    """It ends what is being put in order."""
    any_database.run(STUCK.format(tags="'CREATE TABLE'"))
    arguments = ("database", "--workers", "2", *ends(large, any_database))
    with run(*arguments, env=password(any_database)) as started:
        reach(started, any_database, "CREATE TABLE")
        pid = _stopped_session(any_database, "CREATE TABLE")
        try:
            started.send(signal.SIGINT)
            time.sleep(0.5)
            began = time.monotonic()
            os.killpg(started.process.pid, signal.SIGINT)
            started.ended()
            assert time.monotonic() - began < 0.5
        finally:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: activity(any_database, "") == 0, 3, "no sessions")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_from_its_first_moment(large: Path, tmp_path: Path, number: signal.Signals) -> None:
    """The interpreter's own start aside, which is over when the program's first line runs."""
    arguments = ("database", "--from", sqlite_url(large), "--to", sqlite_url(tmp_path / "target"))
    for wait in range(10):
        with run(*arguments, env=environment()) as started:
            # The last that the first line sees to.
            wait_until(lambda p=started.process.pid: _catches(p, signal.SIGHUP), 10, "a start")  # type: ignore[misc]
            time.sleep(wait * 0.02)
            started.send(number)
            started.ended()


def _catches(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_hangups_and_interrupts_that_are_ignored_stay_so(
    any_database: Server, tmp_path: Path
) -> None:
    """As nohup has it for the one, and a shell for the other of what runs in its background."""
    source = numbers_file(tmp_path / "source.db", 200_000, width=60)

    def ignored() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    arguments = ("database", "--workers", "2", *ends(source, any_database))
    with run(*arguments, env=password(any_database), preexec_fn=ignored) as started:
        reach(started, any_database, "COPY")
        os.killpg(started.process.pid, signal.SIGHUP)
        os.killpg(started.process.pid, signal.SIGINT)
        _, err = started.process.communicate(timeout=60)

    assert started.process.returncode == 0, err
    assert "Verified" in err


def test_a_terminal_is_left_as_it_was(any_database: Server, large: Path) -> None:
    """With a cursor, at the start of a line, and without bars."""
    screen = _on_a_terminal(any_database, large, stop=False)

    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
    last = screen[screen.rindex("\x1b[?25h") :]
    assert "Interrupted" in last
    assert "rows/s" not in last
    assert screen.endswith("\n")


def test_a_terminal_where_the_process_has_to_be_ended(any_database: Server, large: Path) -> None:
    any_database.run(STUCK.format(tags="'CREATE TABLE'"))
    screen = _on_a_terminal(any_database, large, stop=True)

    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")
    assert "Interrupted" in screen[screen.rindex("\x1b[?25l") :]
    assert screen.endswith("\n")


def test_a_terminal_that_is_closed(any_database: Server, large: Path) -> None:
    """Its hang-up ends the run, which has nobody to speak to."""
    ours, theirs = pty.openpty()
    arguments = ("database", "--progress", "--workers", "2", *ends(large, any_database))
    options = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "preexec_fn": _take_terminal}
    with run(*arguments, env=password(any_database) | {"TERM": "xterm"}, **options) as started:
        os.close(theirs)
        shown = bytearray()
        wait_until(lambda: _read(ours, shown) and b"copying" in shown, 20, "bars")
        started.below = children(started.process.pid)
        started.sent = time.monotonic()
        os.close(ours)
        assert started.process.wait(timeout=10) == 130
        assert time.monotonic() - started.sent < SECONDS
        wait_until(lambda: not any(map(is_alive, started.below)), 2, "no processes")
        started.no_sessions(any_database)


def _on_a_terminal(target: Server, source: Path, *, stop: bool) -> str:
    """What a run shows that is interrupted by the key; ``stop``: while it waits for a server that
    answers nothing."""
    ours, theirs = pty.openpty()
    arguments = ("database", "--progress", "--workers", "2", *ends(source, target))
    options = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "preexec_fn": _take_terminal}
    shown = bytearray()
    with run(*arguments, env=password(target) | {"TERM": "xterm"}, **options) as started:
        os.close(theirs)
        stopped = 0
        wait_until(lambda: _read(ours, shown) and b"all tables" in shown, 20, "bars")
        if stop:
            reach(started, target, "CREATE TABLE")
            stopped = _stopped_session(target, "CREATE TABLE")
        try:
            os.write(ours, b"\x03")
            wait_until(lambda: not _read(ours, shown), 3, "its end")
            assert started.process.wait(timeout=3) == 130, shown.decode()
        finally:
            os.close(ours)
            if stopped:
                os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: activity(target, "") == 0, 3, "no sessions")
    return shown.decode().replace("\r\n", "\n")


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read(terminal: int, shown: bytearray) -> bool:
    """Takes what there is to be read; False at the end."""
    while select.select([terminal], [], [], 0.0)[0]:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            return False
    return True


def _stopped_session(server: Server, query: str) -> int:
    """The process of the server that is at such a statement of the program, made to stand still."""
    ((pid,),) = server.rows(
        f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query ~ '{query}' "
        "AND application_name LIKE 'tableferry%' AND datname = current_database()"
    )
    os.kill(pid, signal.SIGSTOP)
    return int(pid)
