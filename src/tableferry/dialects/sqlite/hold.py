"""Holding a SQLite file at one moment while other processes read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Endpoint, Hold
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.errors import Refused, SourceChanged, WorkerDied
from tableferry.processes import environment_without_secrets

_HOLDER = Path(__file__).with_name("holder.py")


def _path(endpoint: Endpoint) -> Path:
    assert isinstance(endpoint.address, SqliteFile)
    return endpoint.address.path


class WatchedFile(Hold):
    """Takes no lock: asks SQLite at the end whether anyone committed since the start.

    PRAGMA data_version changes for a connection when another one commits ("PRAGMA Statements",
    sqlite.org), in every journal mode.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._file = _path(endpoint)

    def __enter__(self) -> WatchedFile:
        self._connection = sqlite.open_reader(self._file)
        self._version = self._data_version()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def check(self) -> None:
        if self._data_version() != self._version:
            raise SourceChanged(
                f"{self._file} was changed while it was read.",
                hint="Stop the service that writes to it, then run again.",
            )

    def _data_version(self) -> int:
        with sqlite.errors(self._file), self._connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            row = cursor.fetchone()
        assert row is not None
        return int(row[0])


class LockedFile(Hold):
    """Keeps writers out by an immediate transaction in a process of its own (see holder.py).

    A file that may not be written is watched instead.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._file = _path(endpoint)
        self._watch: WatchedFile | None = None

    def __enter__(self) -> Hold:
        sqlite.require_file(self._file)
        if self._file.stat().st_size == 0:
            # To begin a transaction would write into it.
            raise Refused(
                f"{self._file} is empty: it holds no tables.",
                hint="Check that this is the file you mean.",
            )
        self._holder = subprocess.Popen(
            # -P: the script's folder, with its module "types", stays off the module path.
            [sys.executable, "-P", str(_HOLDER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment_without_secrets(os.environ),
            text=True,
            # Ctrl-C goes to the whole foreground group; the lock must outlive the clean-up.
            start_new_session=True,
        )
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(json.dumps({"uri": sqlite.file_uri(self._file, "rw")}) + "\n")
        self._holder.stdin.flush()
        answer = self._holder.stdout.readline().strip()
        if answer == "held":
            return self
        self._release()
        if "readonly" in answer or "unable to open" in answer:
            self._watch = WatchedFile(self.endpoint)
            return self._watch.__enter__()
        if "locked" in answer:
            raise Refused(
                f"Another program is writing to {self._file}.",
                hint="Stop the service that uses it, then run again.",
            )
        raise sqlite.translated(RuntimeError(answer or "no answer"), self._file)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.__exit__(kind, error, traceback)
        else:
            self._release()

    def check(self) -> None:
        if self._holder.poll() is not None:
            raise WorkerDied(
                f"The process that held {self._file} still has ended.",
                hint="The file may have changed during the run; run again.",
            )

    def _release(self) -> None:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        if self._holder.stdin.closed:
            return
        self._holder.stdin.close()
        try:
            self._holder.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
        self._holder.stdout.close()
