"""The file that is written takes the target's place when everything in it was verified.

Until then it stands beside the target under a name of its own, and what was there stays as it was.
The target is kept still meanwhile: what an application wrote into it would be lost.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from tableferry.addresses import STAGED_ENDING, SqliteFile
from tableferry.dialects.base import RUN_TABLE, Endpoint, Stage
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.hold import LockedFile, WatchedFile, touched
from tableferry.dialects.sqlite.target import SqliteTarget, parts_folder
from tableferry.errors import Refused, SourceChanged, TableferryError

_COMPANIONS = ("-wal", "-shm", "-journal")


def staged_path(target: Path) -> Path:
    return target.with_name(target.name + STAGED_ENDING)


class StagedFile(Stage):
    """Holds the target still, and the file beside it against other runs."""

    publishes = True

    def __init__(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint.address, SqliteFile)
        # A link stays one: the file that it leads to is replaced.
        self._target = Path(os.path.realpath(endpoint.address.path))
        self._staged = staged_path(self._target)
        self.endpoint = replace(
            endpoint, address=SqliteFile(self._staged), label=endpoint.label or str(endpoint)
        )
        self._holds = ExitStack()

    def __enter__(self) -> StagedFile:
        self._require_place()
        self._lock = self._locked()
        try:
            self.unfinished = self._holds_run()
            if not self.unfinished:
                self.discard()
            self._old = self._status()
            if self._old is not None:
                self._require_ownership(self._old)
                plain = Endpoint(SqliteFile(self._target))
                # First, since it brings back what a program that was killed has left half done,
                # which who only reads cannot.
                self._hold = LockedFile(plain)
                if isinstance(self._holds.enter_context(self._hold), WatchedFile):
                    raise Refused(f"{self._target} cannot be kept still by this user.")
                self._watch = self._holds.enter_context(WatchedFile(plain))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._holds.close()
        try:
            if self._stands(self._lock) and not self._holds_run():
                self._staged.unlink()
                self._remove_companions(self._staged)
        finally:
            os.close(self._lock)

    @contextmanager
    def kept_out(self) -> Iterator[None]:
        """Other runs, while the target is written where it stands, and none beside it."""
        self._require_place()
        self._lock = self._locked()
        try:
            if self._holds_run():
                raise Refused(
                    f"{self._target} has an unfinished run beside it.",
                    hint="--abort gives it up.",
                )
            yield
        finally:
            self.__exit__()

    def _require_place(self) -> None:
        folder = self._target.parent
        if not folder.is_dir():
            raise Refused(f"There is no folder {folder}.", hint="Make it, or correct the path.")
        if not os.access(folder, os.W_OK):
            raise Refused(f"Nothing can be written in {folder} by this user.")
        if not self._target.exists():
            return
        if not self._target.is_file():
            raise Refused(f"{self._target} is not a file.")
        # SQLite itself would open it all the same, and lock nothing.
        if not os.access(self._target, os.W_OK):
            raise Refused(f"{self._target} cannot be written by this user.")

    def _require_ownership(self, old: os.stat_result) -> None:
        """Raises Refused where the new file could not be given to the owner of the old one."""
        groups = {os.getegid(), *os.getgroups()}
        if os.geteuid() != 0 and (old.st_uid != os.geteuid() or old.st_gid not in groups):
            raise Refused(
                f"{self._target} is another user's: what takes its place would not be.",
                hint="Run as its owner, or as root.",
            )

    def _locked(self) -> int:
        while True:
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise Refused(
                    f"Another run is writing to {self._target}.", hint="Wait until it has ended."
                ) from None
            # One that has just ended may have taken the file away that was opened here.
            if self._stands(descriptor):
                return descriptor
            os.close(descriptor)

    def _opened(self) -> int:
        # In a folder where others may write, a link could lead to any file of ours.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._staged, flags, 0o600)
        except OSError as error:
            raise Refused(
                f"{self._staged} cannot be written: {error.strerror}.",
                hint="If it is a link, or another user's, remove it.",
            ) from error

    def _stands(self, descriptor: int) -> bool:
        """Whether an open file is the one beside the target, by now."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._staged.stat())
        except FileNotFoundError:
            return False

    def _status(self) -> os.stat_result | None:
        """Of what is there already; a file without a byte is no database yet."""
        if not self._target.exists() or self._target.stat().st_size == 0:
            return None
        return self._target.stat()

    def open(self) -> SqliteTarget:
        """Reads what is there, until it writes; goes on with what a run has written, this one's
        own first attempt included."""
        begun = self._holds_run()
        if begun:
            # What was not brought into its table is written anew.
            shutil.rmtree(parts_folder(self._staged), ignore_errors=True)
        fresh = self._old is not None and not begun
        return SqliteTarget(self.endpoint, self._target if fresh else None)

    def discard(self) -> None:
        """Gives up what an earlier run has left: in a file of its own, which a worker of that run
        may still be busy with."""
        if self._staged.stat().st_size > 0:
            self._staged.unlink()
            before = self._lock
            try:
                self._lock = self._locked()
            finally:
                if self._lock != before:
                    os.close(before)
        self._remove_companions(self._staged)
        self.unfinished = False

    def _holds_run(self) -> bool:
        """Whether a run has begun in the file beside the target, and not ended. A file that cannot
        be read may be one."""
        if self._staged.stat().st_size == 0:
            return False
        try:
            connection = sqlite.open_reader(self._staged)
        except TableferryError:
            return True
        try:
            names = sqlite.rows(connection, "SELECT name FROM sqlite_schema", "name")
        finally:
            connection.close()
        return [RUN_TABLE] in names

    def _remove_companions(self, path: Path) -> None:
        for ending in _COMPANIONS:
            path.with_name(path.name + ending).unlink(missing_ok=True)
        shutil.rmtree(parts_folder(self._staged), ignore_errors=True)

    def moment(self) -> str:
        """Of the old file, of which the new one has begun as a copy."""
        if self._old is None:
            return ""
        # A WAL without a byte comes and goes with those who read.
        return str([facts for facts in touched(self._target) if facts[2]])

    def require_sound(self) -> None:
        # Nothing in it was waited for to be on the disk.
        connection = sqlite.open_reader(self._staged)
        with sqlite.errors(self._staged), closing(connection):
            query = "SELECT * FROM pragma_integrity_check LIMIT 1"
            found = sqlite.rows(connection, query, "integrity_check")
        if found != [["ok"]]:
            raise Refused(
                f"{self._staged}, where an unfinished run has written, was torn when the machine "
                f"went down: {found[0][0]}.",
                hint="--drop-all starts anew, --abort gives it up.",
            )

    def withheld(self) -> str:
        return (
            f"{self._target} is as it was. What was written stands in {self._staged}: "
            "--resume goes on with it, --drop-all starts anew, --abort gives it up."
        )

    def publish(self, ending: Sequence[str] = ()) -> None:
        if self._old is None:
            # Nobody knows who may read what the owner of the source kept to himself.
            os.fchmod(self._lock, 0o600)
        else:
            os.fchmod(self._lock, stat.S_IMODE(self._old.st_mode))
            if (self._old.st_uid, self._old.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(self._lock, self._old.st_uid, self._old.st_gid)
        # What takes its time, before the target is kept from everybody.
        os.fsync(self._lock)
        if self._old is None:
            self._finish(ending)
            self._put_in_place()
        else:
            self._replace(ending)

    def _finish(self, ending: Sequence[str]) -> None:
        """An ordinary database from here on."""
        connection = sqlite.open_writer(self._staged)
        with sqlite.errors(self._staged):
            try:
                sqlite.run(connection, "PRAGMA synchronous = FULL")
                for statement in ("BEGIN", *ending, "COMMIT"):
                    sqlite.run(connection, statement)
                sqlite.run(connection, "PRAGMA journal_mode = DELETE")
            finally:
                connection.close()
            os.fsync(self._lock)

    def _replace(self, ending: Sequence[str]) -> None:
        """In the old one's place, once nothing of it can come back: renaming over a WAL would
        bring the old tables back with it."""
        self._hold.__exit__(None, None, None)
        connection = sqlite.open_plain(self._target)
        with sqlite.errors(self._target):
            try:
                # No one else writes from here on; did someone before?
                sqlite.run(connection, "BEGIN IMMEDIATE")
                self._require_still()
                sqlite.run(connection, "COMMIT")
                self._holds.close()
                # What a WAL or a hot journal holds goes into the file, and they are gone.
                sqlite.run(connection, "PRAGMA journal_mode = DELETE")
                sqlite.run(connection, "BEGIN EXCLUSIVE")
                # A journal that is still there holds nothing, but would be taken for the new
                # file's: some programs keep theirs (PRAGMA journal_mode = PERSIST).
                self._target.with_name(f"{self._target.name}-journal").unlink(missing_ok=True)
                self._finish(ending)
                self._put_in_place()
            finally:
                connection.close()
        for companion in _COMPANIONS:
            if self._target.with_name(self._target.name + companion).exists():
                raise SourceChanged(
                    f"Another program has begun to write to {self._target}.",
                    hint="Stop it, and look at the file before it is used.",
                )

    def _require_still(self) -> None:
        """Raises SourceChanged where what has begun as a copy of the target is none any more; it
        is of no use then."""
        try:
            self._watch.check()
        except SourceChanged:
            self.discard()
            raise

    def _put_in_place(self) -> None:
        self._staged.replace(self._target)
        shutil.rmtree(parts_folder(self._staged), ignore_errors=True)
        folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
