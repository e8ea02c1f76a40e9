"""Holding a SQLite file at one moment while other processes read it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Endpoint, Hold
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.leftovers import journal_of, left_beside, wal_of
from tableferry.errors import Refused, SourceChanged, TableferryError, WorkerDied
from tableferry.processes import environment_without_secrets

# Nanoseconds; the clocks of Linux file systems tick every 1 to 10 ms.
_TICK = 20_000_000
_HOLDER = Path(__file__).with_name("holder.py")


def _path(endpoint: Endpoint) -> Path:
    assert isinstance(endpoint.address, SqliteFile)
    return endpoint.address.path


class WatchedFile(Hold):
    """Takes no lock: asks at the end whether anyone has written since the start.

    PRAGMA data_version changes for a connection when another one commits ("PRAGMA Statements",
    sqlite.org), in every journal mode. A connection that reads without locks is not told; there
    the file and its WAL must not have been touched at all.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._file = _path(endpoint)

    def __enter__(self) -> WatchedFile:
        left = left_beside(self._file)
        if left.journal and _may_undo(self._file):
            self._play_back()
        self._unlocked = sqlite.is_read_unlocked(self._file)
        self._had_wal = wal_of(self._file).exists()
        self._before = touched(self._file)
        try:
            self._connection = sqlite.open_reader(self._file)
        except TableferryError as error:
            # One that somebody still writes does not stand in the way of a reader.
            if left.journal and not _may_undo(self._file):
                raise _not_undone(self._file) from error
            raise
        self._version = self._data_version()
        self.recovered = left.told()
        return self

    def _play_back(self) -> None:
        """Whoever only reads cannot."""
        with closing(sqlite.open_plain(self._file)) as connection, sqlite.errors(self._file):
            sqlite.run(connection, "SELECT count(*) FROM sqlite_schema")

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        if not self._had_wal and wal_of(self._file).exists():
            sqlite.tidy(self._file)

    def check(self) -> None:
        written = self._unlocked and touched(self._file) != self._before
        if written or self._data_version() != self._version:
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


def _may_undo(file: Path) -> bool:
    """Whether SQLite may play a journal back, and remove it."""
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)


def _not_undone(file: Path) -> Refused:
    return Refused(
        f"{file} was left in the middle of a transaction, which SQLite has to undo as "
        f"{journal_of(file).name} tells; this user may not write there.",
        hint="Copy both files into a folder of your own, or run as a user who may write there.",
    )


def touched(file: Path) -> tuple[tuple[int, ...], ...]:
    """What tells that the file or its WAL was written: without opening them (fcntl(2))."""
    facts = []
    for path in (file, wal_of(file)):
        try:
            status = path.stat()
            # A second change within one tick of the clock of the file system would not show.
            if abs(time.time_ns() - status.st_mtime_ns) < _TICK:
                time.sleep(2 * _TICK / 1e9)
                status = path.stat()
        except FileNotFoundError:
            continue
        facts.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(facts)


class LockedFile(Hold):
    """Keeps writers out by an immediate transaction in a process of its own (see holder.py).

    The file is watched as well: where it may not be written, SQLite takes a read transaction for
    an immediate one without a word, and in WAL mode that keeps no one out.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._file = _path(endpoint)
        self._watch = WatchedFile(endpoint)
        self._released = False

    def __enter__(self) -> Hold:
        sqlite.require_file(self._file)
        if self._file.stat().st_size == 0:
            # To begin a transaction would write into it.
            raise Refused(
                f"{self._file} is empty: it holds no tables.",
                hint="Check that this is the file you mean.",
            )
        left = left_beside(self._file)
        if left.journal and not _may_undo(self._file):
            raise _not_undone(self._file)
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
            try:
                self._watch.__enter__()
            except BaseException:
                self._release()
                raise
            self.recovered = left.told()
            return self
        self._release()
        if "readonly" in answer or "unable to open" in answer:
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
        self._watch.__exit__(kind, error, traceback)
        self._release()

    def check(self) -> None:
        if self._holder.poll() is not None:
            raise WorkerDied(
                f"The process that held {self._file} still has ended.",
                hint="The file may have changed during the run; run again.",
            )
        self._watch.check()

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
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
