"""PostgreSQL servers for the tests: private, on a Unix socket only, gone afterwards.

``pg18`` is the server of ``embedded:DIR`` and always there, since the development environment
installs it. Each PostgreSQL that the system itself has below /usr/lib/postgresql is one more.
Both run with ``fsync=off``, which nothing but a test may do.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import psycopg
from tests.far_moments import read_far_as_text

from tableferry.dialects.postgresql import embedded

EMBEDDED = "pg18"
PASSWORD = "for tests: only"
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

_SYSTEM = {
    f"pg{folder.parent.name}": folder
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if (folder / "postgres").exists() and folder.parent.name != EMBEDDED.removeprefix("pg")
}
NAMES = (EMBEDDED, *_SYSTEM)
# Of these alone is known that they were built with TLS.
SYSTEM_NAMES = tuple(_SYSTEM)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Server:
    """A database on a running server, reached as the superuser ``postgres``.

    version: major version of the server. host: folder of its Unix socket. name: the database's.
    """

    version: int
    host: str
    port: int
    password: str
    name: str = "postgres"

    @property
    def url(self) -> str:
        """libpq URI with the password."""
        return self._url(f":{quote(self.password, safe='')}")

    @property
    def url_without_password(self) -> str:
        return self._url("")

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A psycopg connection in autocommit mode, for set-up and inspection."""
        connection = psycopg.connect(self.url, autocommit=True)
        read_far_as_text(connection)
        return connection

    def run(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def _url(self, password: str) -> str:
        host, database = quote(self.host, safe="/"), quote(self.name, safe="")
        return f"postgresql://postgres{password}@/{database}?host={host}&port={self.port}"


@contextlib.contextmanager
def running(name: str) -> Iterator[Server]:
    """The server of that name (one of NAMES), started for the duration of the context."""
    with short_folder() as folder:
        launch = _embedded(folder) if name == EMBEDDED else _system(_SYSTEM[name], folder)
        with launch as server:
            yield server


@contextlib.contextmanager
def listening(name: str, address: str) -> Iterator[Server]:
    """One of the system's own, which listens at a TCP address of this machine as well."""
    with (
        short_folder() as folder,
        _system(_SYSTEM[name], folder, {"listen_addresses": address}) as server,
    ):
        yield server


@contextlib.contextmanager
def fresh_database(server: Server) -> Iterator[Server]:
    """An empty database of its own, dropped at the end whoever is still connected."""
    database = replace(server, name=f"t{os.getpid()}_{next(_numbers)}")
    server.run(f"CREATE DATABASE {database.name} TEMPLATE template0")
    try:
        yield database
    finally:
        server.run(f"DROP DATABASE {database.name} WITH (FORCE)")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """pytest's tmp_path is too long for a socket, and below a folder that only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[Server]:
    with embedded.start(folder / "pg", UNSAFE_BUT_FAST) as server:
        info = psycopg.conninfo.conninfo_to_dict(server.url)
        yield Server(18, str(info["host"]), int(str(info["port"])), server.password)


@contextlib.contextmanager
def _system(
    programs: Path, folder: Path, more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Server]:
    user = _ordinary_user(folder)
    data, passfile, log = folder / "data", folder / "password", folder / "log"
    passfile.write_text(PASSWORD)
    subprocess.run(
        [
            *(programs / "initdb", "-D", data, "--no-sync", "--encoding=UTF8", "--locale=C"),
            *("--username=postgres", "--auth=scram-sha-256", f"--pwfile={passfile}"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **user,
    )
    settings = UNSAFE_BUT_FAST | {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "max_connections": "50",
        **more,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *(f"--{k}={v}" for k, v in settings.items())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,
            **user,
        )
    server = Server(int(programs.parent.name), str(folder), 5432, PASSWORD)
    try:
        _wait_for(server, process, log)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _ordinary_user(folder: Path) -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(6000):
        with contextlib.suppress(psycopg.OperationalError):
            server.run("SELECT 1")
            return
        assert process.poll() is None, log.read_text()
        time.sleep(0.01)
    raise AssertionError(f"PostgreSQL is not ready after a minute: {log.read_text()}")
