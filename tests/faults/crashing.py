"""PostgreSQL servers that a test may kill, with everything that belongs to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from tests import servers
from tests.servers import PASSWORD, UNSAFE_BUT_FAST, Server
from tests.system.support import children, is_alive

from tableferry.dialects.postgresql import embedded

# As long as a server may take to be there again, in seconds.
_PATIENCE = 60


class CrashingServer:
    """One on a Unix socket in ``folder``. A crash is one of processes, not of the machine, so that
    ``fsync`` may be off."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._user = servers._ordinary_user(folder)
        self._programs = _programs(name, folder, self._user.get("user"))
        self._log = folder / "log"
        self.data = folder / "data"
        self._settings = {
            **UNSAFE_BUT_FAST,
            # Of what was committed, a crash of processes takes nothing then.
            "synchronous_commit": "on",
            "listen_addresses": "",
            "unix_socket_directories": str(folder),
            "max_connections": "60",
            **(settings or {}),
        }
        passfile = folder / "password"
        passfile.write_text(PASSWORD)
        subprocess.run(
            [
                *(self._programs / "initdb", "-D", self.data, "--no-sync", "--encoding=UTF8"),
                *("--locale=C", "--username=postgres", "--auth=scram-sha-256"),
                f"--pwfile={passfile}",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **self._user,
        )
        version = int((self.data / "PG_VERSION").read_text())
        self.server = Server(version, str(folder), 5432, PASSWORD)
        self.start()

    def start(self) -> None:
        """Returns as soon as the server takes connections."""
        end = time.monotonic() + _PATIENCE
        while True:
            self._process = self._launched()
            while self._process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError):
                    self.server.run("SELECT 1")
                    return
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.02)
            # The shared memory of the one before is not gone yet.
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.02)

    def _launched(self) -> subprocess.Popen[bytes]:
        options = (f"--{name}={value}" for name, value in self._settings.items())
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
                **self._user,
            )

    def kill(self) -> None:
        """The postmaster and all its processes, by SIGKILL."""
        below = children(self._process.pid)
        self._process.kill()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(map(is_alive, below)):
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


@contextlib.contextmanager
def crashing(name: str, settings: Mapping[str, str] | None = None) -> Iterator[CrashingServer]:
    """The server of that name (one of servers.NAMES), for the duration of the context."""
    with servers.short_folder() as folder:
        server = CrashingServer(name, folder, settings)
        try:
            yield server
        finally:
            server.stop()


def _programs(name: str, folder: Path, uid: int | None) -> Path:
    if name != servers.EMBEDDED:
        return servers._SYSTEM[name]
    return embedded._reachable_programs(embedded._installed(), folder, uid)
