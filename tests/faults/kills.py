"""Runs that are killed at random moments and gone on with, until they end.

    story = trial(seed, shop)

One number decides everything but the machine's own timing: the way, what is killed, and when.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from tests import servers
from tests.faults.crashing import CrashingServer
from tests.faults.sources import (
    APPLICATION,
    POSTGRESQL,
    Rows,
    differences,
    objects_of,
    rows_of,
    sqlite_shop,
)
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    children,
    command_line,
    environ_of,
    environment,
    is_alive,
    sqlite_file,
    sqlite_url,
)

# Seconds until nothing may be left of a run that was killed, and until a run has to have ended.
_GONE = 3.0
_END = 60.0
_MOST_RUNS = 8
_KILLED_AGAIN = 0.3
_MOST_KILLS = 4
# Which ways are tried, and how often among so many.
_WAYS = (
    *(("sqlite", "postgresql"),) * 4,
    *(("postgresql", "sqlite"),) * 4,
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
)
_ADOPTED = 0.25
_MARK = "TABLEFERRY_TRIAL"

Way: TypeAlias = tuple[str, str]
Side: TypeAlias = Path | Server


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run: what was killed and when, how it ended, in seconds of its start, and what it
    said."""

    killed: str
    after: float
    code: int
    seconds: float
    gone: float
    said: str

    def __str__(self) -> str:
        kill = f"{self.killed} at {self.after:.2f} s, " if self.killed else ""
        return f"{kill}code {self.code} after {self.seconds:.2f} s, gone in {self.gone:.2f} s"


@dataclass(frozen=True, slots=True)
class Story:
    seed: int
    way: Way
    adopted: bool
    server: str
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        kind = f"{' to '.join(self.way)}{', adopted' if self.adopted else ''}, {self.server}"
        return f"seed {self.seed} ({kind}): " + "; ".join(map(str, self.attempts))


@dataclass(frozen=True, slots=True)
class Reference:
    """What an undisturbed run of a way leaves behind, and how long it takes."""

    objects: list[tuple[Any, ...]]
    seconds: float


@dataclass
class Shop:
    """The sources, made once, and the servers on which everything happens."""

    folder: Path
    crashing: Callable[[str], CrashingServer]
    # How a run that has ended is gone on with.
    flags: tuple[str, ...]
    _rows: dict[str, dict[str, Rows]] = field(default_factory=dict)
    _references: dict[tuple[Way, bool, str], Reference] = field(default_factory=dict)
    _numbers: int = 0

    def source(self, kind: str, server: str) -> Side:
        if kind == "sqlite":
            path = self.folder / "source.db"
            if not path.exists():
                sqlite_shop(path)
            return path
        maintenance = self.crashing(server).server
        shop = Server(maintenance.version, maintenance.host, 5432, maintenance.password, "shop")
        if not maintenance.rows("SELECT 1 FROM pg_database WHERE datname = 'shop'"):
            maintenance.run("CREATE DATABASE shop TEMPLATE template0")
            shop.run(POSTGRESQL)
        return shop

    def rows(self, kind: str, server: str) -> dict[str, Rows]:
        if kind not in self._rows:
            self._rows[kind] = rows_of(self.source(kind, server))
        return self._rows[kind]

    @contextlib.contextmanager
    def target(self, kind: str, server: str, *, adopted: bool) -> Any:
        """An empty one, or an application's; gone afterwards."""
        self._numbers += 1
        if kind == "sqlite":
            folder = self.folder / f"target {self._numbers}"
            folder.mkdir()
            path = folder / "target.db"
            if adopted:
                sqlite_file(path, APPLICATION[kind])
            yield path
            path.unlink()
            folder.rmdir()
            return
        maintenance = self.crashing(server).server
        name = f"target_{self._numbers}"
        target = Server(maintenance.version, maintenance.host, 5432, maintenance.password, name)
        maintenance.run(f"CREATE DATABASE {name} TEMPLATE template0")
        if adopted:
            target.run(APPLICATION[kind])
        yield target
        maintenance.run(f"DROP DATABASE {name} WITH (FORCE)")

    def reference(self, way: Way, server: str, *, adopted: bool) -> Reference:
        """Of a run that nobody disturbs, made when it is first asked for."""
        known = (way, adopted, server if way[1] == "postgresql" else "")
        if known not in self._references:
            with self.target(way[1], server, adopted=adopted) as target:
                run = _Run(self, self.source(way[0], server), target, ())
                attempt = run.ended("", 0.0)
                assert attempt.code == 0, attempt.said
                run.assert_arrived(self.rows(way[0], server))
                objects = objects_of(target)
                self._references[known] = Reference(objects, attempt.seconds)
        return self._references[known]


def trial(seed: int, shop: Shop) -> Story:
    """Runs, kills, goes on, and asserts that all has arrived and nothing is left."""
    rng = random.Random(seed)
    way = rng.choice(_WAYS)
    adopted = rng.random() < _ADOPTED
    server = rng.choice(servers.NAMES)
    crashing = shop.crashing(server)
    reference = shop.reference(way, server, adopted=adopted)
    source = shop.source(way[0], server)
    memory = _shared_memory()
    attempts: list[Attempt] = []

    def so_far() -> str:
        story = Story(seed, way, adopted, server, tuple(attempts))
        return f"{story}\n{attempts[-1].said if attempts else ''}"

    with shop.target(way[1], server, adopted=adopted) as target:
        flags: tuple[str, ...] = ()
        while not attempts or attempts[-1].code:
            assert len(attempts) < _MOST_RUNS, so_far()
            run = _Run(shop, source, target, flags)
            wanted = ""
            after = rng.uniform(0.0, reference.seconds)
            if not attempts or (len(attempts) < _MOST_KILLS and rng.random() < _KILLED_AGAIN):
                wanted = rng.choice(_killable(way))
            killed = run.struck(wanted, after, crashing, rng) if wanted else ""
            attempts.append(run.ended(killed, after))
            assert "Traceback" not in attempts[-1].said, so_far()
            if attempts[-1].code == 3 and "no unfinished run" in attempts[-1].said:
                # Killed before it had begun, or when all was done.
                flags = ("--verify",) if _holds_rows(target) else ()
                continue
            # A refusal is an answer only to a server that is not there.
            allowed = (0, 3, 4, -signal.SIGKILL) if killed else (0,)
            assert attempts[-1].code in allowed, so_far()
            flags = shop.flags
        run.assert_verified(so_far)
        found = differences(shop.rows(way[0], server), rows_of(target))
        assert not found, f"{so_far()}\n{found}"
        objects = set(objects_of(target)) ^ set(reference.objects)
        assert not objects, f"{so_far()}\n{objects}\n{run.left_behind()}"
        run.assert_nothing_left()
    assert _shared_memory() <= memory, so_far()
    return Story(seed, way, adopted, server, tuple(attempts))


def _holds_rows(target: Side) -> bool:
    if isinstance(target, Path):
        return bool(target.exists() and len(objects_of(target)) > 6)
    return target.rows("SELECT to_regclass('journal')") != [(None,)]


def _killable(way: Way) -> tuple[str, ...]:
    found = ["coordinator", "coordinator", "worker"]
    if "postgresql" in way:
        found += ["backend", "postmaster"]
    return tuple(found)


class _Run:
    """One run of the command, from its start to where nothing of it is left."""

    def __init__(self, shop: Shop, source: Side, target: Side, flags: tuple[str, ...]) -> None:
        self._source, self._target = source, target
        self._folder = shop.folder / "run"
        self._temporary = self._folder / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._report = self._folder / "report.json"
        self._report.unlink(missing_ok=True)
        self._began = time.monotonic()
        self._mark = f"{os.getpid()}-{time.monotonic_ns()}"
        password = next((s.password for s in (source, target) if isinstance(s, Server)), "")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.ranged", "database", "--workers", "2"),
                *("--from", _url(source), "--to", _url(target), "--report", str(self._report)),
                *("--yes", *flags),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._folder,
            env=environment(
                **{
                    PASSWORD_VARIABLE: password,
                    _MARK: self._mark,
                    "TMPDIR": str(self._temporary),
                    "PYTHONPATH": os.pathsep.join(
                        [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
                    ),
                }
            ),
        )

    def struck(
        self, wanted: str, after: float, crashing: CrashingServer, rng: random.Random
    ) -> str:
        """Kills something of the run so many seconds after its start, and answers what; nothing
        where the run has ended by itself."""
        time.sleep(max(0.0, self._began + after - time.monotonic()))
        if self._process.poll() is not None:
            return ""
        if wanted == "postmaster":
            crashing.kill()
            crashing.start()
            return wanted
        if wanted == "worker":
            lines = children(self._process.pid)
            workers = sorted(pid for pid, line in lines.items() if "executors.serve" in line)
            if workers:
                _kill(rng.choice(workers))
                return wanted
        if wanted == "backend":
            sessions = self._sessions()
            if sessions:
                _kill(rng.choice(sessions))
                return wanted
        # What there is always one of.
        self._process.kill()
        return "coordinator"

    def ended(self, killed: str, after: float) -> Attempt:
        """Waits for its end, and until nothing of it is left."""
        try:
            out, err = self._process.communicate(timeout=_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            raise AssertionError(f"hangs after {killed} at {after:.2f} s: {out}{err}") from None
        seconds = time.monotonic() - self._began
        gone = self._wait_until_gone()
        return Attempt(killed, after, self._process.returncode, seconds, gone, out + err)

    def _wait_until_gone(self) -> float:
        began = time.monotonic()
        while (left := self._left()) and time.monotonic() - began < _GONE:
            time.sleep(0.02)
        assert not left, f"{left} is left after {_GONE} s"
        return time.monotonic() - began

    def _left(self) -> list[str]:
        """Processes and sessions of the run."""
        processes = [
            f"process {entry.name}: {command_line(int(entry.name))}"
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._is_ours(int(entry.name))
        ]
        return processes + [f"session {pid}" for pid in self._sessions()]

    def _is_ours(self, pid: int) -> bool:
        try:
            return is_alive(pid) and f"{_MARK}={self._mark}" in environ_of(pid)
        except PermissionError:
            return False

    def _sessions(self) -> list[int]:
        found: set[int] = set()
        for side in (self._source, self._target):
            if isinstance(side, Server):
                # A server that recovers from the end of one of its processes takes none.
                for _ in range(500):
                    with contextlib.suppress(psycopg.OperationalError):
                        rows = side.rows(
                            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                            "AND pid <> pg_backend_pid() AND backend_type <> 'autovacuum worker'"
                        )
                        found |= {int(pid) for (pid,) in rows}
                        break
                    time.sleep(0.02)
        return sorted(found)

    def left_behind(self) -> list[Any]:
        found: list[Any] = json.loads(self._report.read_text())["left_behind"]
        return found

    def assert_verified(self, so_far: Callable[[], str]) -> None:
        report = json.loads(self._report.read_text())
        assert report["status"] == "verified", so_far()

    def assert_arrived(self, rows: dict[str, Rows]) -> None:
        found = differences(rows, rows_of(self._target))
        assert not found, found

    def assert_nothing_left(self) -> None:
        """No lock, and no file but those that belong there."""
        for side in (self._source, self._target):
            if isinstance(side, Path):
                with closing(sqlite3.connect(side, isolation_level=None, timeout=0)) as writer:
                    writer.execute("BEGIN IMMEDIATE")
                    writer.execute("ROLLBACK")
        if isinstance(self._target, Path):
            beside = {path.name for path in self._target.parent.iterdir()}
            assert beside == {self._target.name}, beside
        else:
            locks = self._target.rows("SELECT * FROM pg_locks WHERE locktype = 'advisory'")
            assert locks == [], locks
            prepared = self._target.rows("SELECT * FROM pg_prepared_xacts")
            assert prepared == [], prepared
        assert list(self._temporary.iterdir()) == []
        assert {path.name for path in self._folder.iterdir()} == {"tmp", "report.json"}


def _url(side: Side) -> str:
    return side.url_without_password if isinstance(side, Server) else sqlite_url(side)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _shared_memory() -> set[str]:
    """Segments that are not a server's own."""
    try:
        names = {path.name for path in Path("/dev/shm").iterdir()}
    except FileNotFoundError:
        return set()
    return {name for name in names if not name.startswith("PostgreSQL.")}
