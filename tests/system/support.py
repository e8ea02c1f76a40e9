"""What the tests of whole runs share: SQLite files to start from, the real command, its report."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.servers import Server

# The folder with sample databases stands beside the checkout, where there is one.
SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the sample databases are not here")

INDEPENDENT = Path(__file__).with_name("independent.py")
PASSWORD_VARIABLE = "TABLEFERRY_POSTGRES_PASSWORD"
_SECONDS = 120

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended. ``report`` is empty where none was written."""

    code: int
    out: str
    err: str
    report: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> dict[str, Any]:
        """The report's entry of a table of the source."""
        found: dict[str, Any] = next(t for t in self.report["tables"] if t["source"] == name)
        return found

    def differences(self, name: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.table(name)["differences"]["listed"]
        return listed

    def widened(self) -> dict[str, dict[str, Any]]:
        """The columns that got a wider type, as "table.column"."""
        return {
            f"{table['source']}.{misfit['column']}": misfit
            for table in self.report["tables"]
            for misfit in table["plan"]["misfits"]
        }

    def left_behind(self, what: str) -> list[tuple[str, str]]:
        """Table and name of the objects of a kind that did not arrive."""
        items = self.report["left_behind"]
        return [(item["table"], item["name"]) for item in items if item["what"] == what]

    def violations(self, what: str) -> list[tuple[str, str, int]]:
        """Table and name of the rules of a kind that rows break, and how many rows."""
        items = self.report["violations"]
        return [(i["table"], i["name"], i["rows"]) for i in items if i["what"] == what]


def environment(**more: str) -> dict[str, str]:
    """Ours, without anything that would tell a PostgreSQL client where to go."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "TABLEFERRY"))}
    return own | more


# Root may write whatever the mode says; without these two capabilities it is as others are.
_AS_OTHERS = (
    "import ctypes, os, sys\n"
    "PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2\n"
    "for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):\n"
    "    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
)


def start(*arguments: str, modes_count: bool = False, **options: Any) -> subprocess.Popen[str]:
    """The command as a process with its output in pipes; ``modes_count``: for root as well."""
    prefix = ["-c", _AS_OTHERS] if modes_count else []
    return subprocess.Popen(
        [sys.executable, *prefix, "-m", "tableferry.cli", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
    )


def command(
    *arguments: str, env: Mapping[str, str] | None = None, modes_count: bool = False
) -> Run:
    """``migrate ARGUMENTS``, to its end."""
    process = start(
        *arguments,
        modes_count=modes_count,
        env=environment() if env is None else env,
        stdin=subprocess.DEVNULL,
    )
    try:
        out, err = process.communicate(timeout=_SECONDS)
    finally:
        process.kill()
    return Run(process.returncode, out, err)


def ends(source: Path, target: Server) -> tuple[str, ...]:
    return ("--from", sqlite_url(source), "--to", target.url_without_password)


def sqlite_url(path: Path) -> str:
    return f"sqlite:{quote(str(path))}"


def password(target: Server) -> dict[str, str]:
    """An environment in which the command can log in to the target."""
    return environment(**{PASSWORD_VARIABLE: target.password})


@contextmanager
def open_to_all(target: Server) -> Iterator[None]:
    """Lets every user of the machine reach the socket of a test's server, for a while."""
    folder = Path(target.host)
    modes = {path: path.stat().st_mode for path in (folder, folder / f".s.PGSQL.{target.port}")}
    try:
        for path in modes:
            path.chmod(0o777)
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def copy_of(template: Server) -> Iterator[Server]:
    """A database with all that the template holds, dropped after use."""
    copy = replace(template, name=f"{template.name}_{next(_numbers)}")
    maintenance = replace(template, name="postgres")
    maintenance.run(f"CREATE DATABASE {copy.name} TEMPLATE {template.name}")
    try:
        yield copy
    finally:
        maintenance.run(f"DROP DATABASE {copy.name} WITH (FORCE)")


def with_report(*arguments: str, env: Mapping[str, str] | None = None) -> Run:
    """``migrate database ARGUMENTS --report FILE``, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        run = command("database", *arguments, "--report", str(report), env=env)
        content = json.loads(report.read_text()) if report.exists() else {}
    return Run(run.code, run.out, run.err, content)


def ferry(source: Path, target: Server, *flags: str) -> Run:
    """Migrates, or with --verify verifies, from a SQLite file to a database."""
    return with_report(*ends(source, target), *flags, env=password(target))


def ferried(source: Path, target: Server, *flags: str) -> Run:
    """As ferry, where the run has to end verified."""
    run = ferry(source, target, *flags)
    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    return run


def independent_differences(*arguments: str | Path) -> Any:
    """What independent.py finds, in a process that never loads the drivers under test."""
    done = subprocess.run([sys.executable, INDEPENDENT, *arguments], capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    assert bool(found) == (done.returncode == 1)
    return found


def sqlite_file(path: Path, script: str) -> Path:
    """A SQLite file made by a script of SQL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.commit()
    return path


def numbers_file(path: Path, rows: int, width: int = 0) -> Path:
    """A SQLite file with one table of that many rows, with a text of at least ``width``
    characters; a million of them take a second."""
    return sqlite_file(
        path,
        "CREATE TABLE numbers (id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL);"
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
        "INSERT INTO numbers "
        f"SELECT i, i * 7919, printf('%-{width}s', 'row number ' || i), i / 8.0 FROM n;",
    )


def sqlite_rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def fingerprint(path: Path) -> tuple[bytes, int]:
    return path.read_bytes(), path.stat().st_mtime_ns


def catalog(target: Server) -> list[tuple[Any, ...]]:
    """Every object of a user's making in a database, and when its row was last written."""
    return target.rows(
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, c.xmin::text "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY 1"
    )


def schemas(target: Server) -> list[str]:
    return [
        name
        for (name,) in target.rows(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'"
        )
    ]


def keys(target: Server, kind: str) -> set[tuple[str, tuple[str, ...]]]:
    """Tables and the columns, in order, of their primary keys (p) or unique constraints (u)."""
    rows = target.rows(
        "SELECT c.relname, array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY "
        "u(n, i) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n ORDER BY u.i) "
        f"FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype = '{kind}' "
        "AND c.relnamespace = 'public'::regnamespace"
    )
    return {(table, tuple(columns)) for table, columns in rows}


def sessions(target: Server) -> int:
    """How many sessions of the program the target's server has."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tableferry%'"
    return int(target.rows(f"{query} AND datname = current_database()")[0][0])


def children(pid: int) -> dict[int, str]:
    """The live processes below one, with their command lines."""
    found = {}
    for child in _child_pids(pid):
        line = command_line(child)
        if line:
            found[child] = line
        found |= children(child)
    return found


def _child_pids(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    try:
        listed = [(task / "children").read_text() for task in tasks.iterdir()]
    except FileNotFoundError:
        return []
    return [int(number) for text in listed for number in text.split()]


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def command_line(pid: int) -> str:
    return _proc(pid, "cmdline").replace("\0", " ")


def environ_of(pid: int) -> str:
    return _proc(pid, "environ")


def is_alive(pid: int) -> bool:
    return _proc(pid, "stat").rpartition(") ")[2][:1] not in ("", "Z")


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Waits for something to hold and answers how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process that a test started, whatever became of it."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()
