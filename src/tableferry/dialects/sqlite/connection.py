"""Opening SQLite through ADBC, and its errors as ours. The one edge where driver errors appear."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import pyarrow as pa

from tableferry.addresses import STAGED_ENDING
from tableferry.dialects.sqlite.leftovers import has_hot_journal, has_wal
from tableferry.errors import LESS_MEMORY, DatabaseError, Refused, TableferryError
from tableferry.sql import constant

_SESSION = (
    # A hostile schema must not run functions with side effects when it is merely read.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA query_only = ON",
    "PRAGMA busy_timeout = 10000",
)


def file_uri(path: Path, mode: str) -> str:
    """SQLite's URI for a file: every odd character escaped ("Uniform Resource Identifiers")."""
    return f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"


def open_reader(path: Path) -> adbc_driver_sqlite.dbapi.Connection:
    """A connection that only reads. Raises Refused where the file is missing or no database."""
    require_file(path)
    uri = file_uri(path, "ro")
    if is_read_unlocked(path):
        uri += "&immutable=1"
    with errors(path):
        connection = adbc_driver_sqlite.dbapi.connect(uri, autocommit=True)
        try:
            for statement in (*_SESSION, "SELECT count(*) FROM sqlite_schema"):
                run(connection, statement)
        except BaseException:
            connection.close()
            raise
    return connection


# Rows that a killed writer has committed stay; a power cut may take them, and with them the file,
# which then is not the target yet. Only an index needs helpers.
_WRITER = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA busy_timeout = 3600000",
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = TRUNCATE",
    "PRAGMA cache_size = -16384",
    "PRAGMA threads = 2",
    # Statistics from so many rows of an index serve the planner ("ANALYZE", section 4.1).
    "PRAGMA analysis_limit = 1000",
)


def open_writer(path: Path, *settings: str) -> adbc_driver_sqlite.dbapi.Connection:
    """A connection that writes a file of our own, which no one else knows of yet; ``settings``
    come first of all."""
    return _opened(path, "rwc", (*settings, *_WRITER))


def _opened(path: Path, mode: str, settings: Iterable[str]) -> adbc_driver_sqlite.dbapi.Connection:
    with errors(path):
        connection = adbc_driver_sqlite.dbapi.connect(file_uri(path, mode), autocommit=True)
        try:
            for statement in settings:
                run(connection, statement)
        except BaseException:
            connection.close()
            raise
    return connection


def open_plain(path: Path) -> adbc_driver_sqlite.dbapi.Connection:
    """A connection that writes, as any program would open one."""
    return _opened(path, "rw", ("PRAGMA trusted_schema = OFF", "PRAGMA busy_timeout = 10000"))


# A part is written once, read once, and gone. Large pages hold more rows each.
_PART = (
    "PRAGMA page_size = 32768",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
)


def open_part(path: Path, encoding: str) -> adbc_driver_sqlite.dbapi.Connection:
    """A connection that writes a part of a table, in an empty file of its own; it must be of the
    encoding of the file that it is attached to ("ATTACH DATABASE")."""
    return _opened(path, "rw", (f"PRAGMA encoding = '{encoding}'", *_PART))


def copy(original: Path, path: Path) -> None:
    """What a file holds at this moment, its WAL included, into an empty one ("VACUUM")."""
    with errors(original):
        connection = adbc_driver_sqlite.dbapi.connect(file_uri(original, "ro"), autocommit=True)
        try:
            run(connection, "PRAGMA trusted_schema = OFF")
            run(connection, f"VACUUM INTO {constant(str(path.absolute()))}")
        finally:
            connection.close()


def tidy(path: Path) -> None:
    """Lets SQLite remove the empty files of WAL mode that readers have made, and cannot remove
    ("WAL-mode File Format", section 2): the last connection does that where it might have
    written."""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) or has_wal(path):
        return
    statements = ("PRAGMA trusted_schema = OFF", "PRAGMA query_only = ON")
    _opened(path, "rw", (*statements, "SELECT count(*) FROM sqlite_schema")).close()


def is_read_unlocked(path: Path) -> bool:
    """Whether SQLite is told that nothing changes the file, so that it neither locks nor looks.

    A file in WAL mode cannot be opened where its -shm may not be created. Without a -wal there is
    nothing that "immutable" would overlook, unless there is a hot journal.
    """
    return not (os.access(path.parent, os.W_OK) or has_wal(path) or has_hot_journal(path))


def require_file(path: Path) -> None:
    # Only stat: opening the file could drop a lock that this process holds on it (fcntl(2)).
    if not path.exists():
        raise Refused(f"There is no file {path}.", hint="Check the path of the SQLite database.")
    if not path.is_file():
        raise Refused(f"{path} is not a file.", hint="Give the path of a SQLite database file.")
    if not os.access(path, os.R_OK):
        raise Refused(f"{path} cannot be read by this user.", hint="Run as its owner, or as root.")


def run(connection: adbc_driver_sqlite.dbapi.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def rows(
    connection: adbc_driver_sqlite.dbapi.Connection,
    query: str,
    columns: str,
    *,
    invalid: str = "strict",
) -> list[Any]:
    """The query's rows as lists of its ``columns`` (comma separated); ``invalid``: what becomes of
    text that is no UTF-8, as bytes.decode() has it.

    As one JSON text, since the driver would guess each column's type from its first rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT json_group_array(json_array({columns})) FROM ({query})")
        (text,) = cursor.fetch_arrow_table().column(0).cast(pa.binary()).to_pylist()
    answer: list[Any] = json.loads(text.decode(errors=invalid))
    return answer


@contextmanager
def errors(path: Path, what: str = "") -> Iterator[None]:
    """Turns what the driver raises into errors that name the file and what to do."""
    try:
        yield
    except (TableferryError, MemoryError):
        raise
    except (adbc_driver_manager.Error, OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise translated(error, path, what) from error


# Of SQLITE_CORRUPT and SQLITE_IOERR ("Result and Error Codes"), without the driver's frame.
_DAMAGE = re.compile(
    r"database disk image is malformed|malformed database schema.*|.*corrupt.*|disk I/O error"
)


def translated(error: BaseException, path: Path, what: str = "") -> TableferryError:
    # Without our own statement, which the driver puts at the end.
    text = " ".join(str(error).split()).split(" query: SELECT ")[0]
    place = f"{path}, {what}" if what else str(path)
    if "not a database" in text:
        return Refused(
            f"{path} is not a SQLite database.",
            hint="It is another kind of file, it is encrypted (then decrypt it first), or its "
            "first page is damaged ('sqlite3 FILE .recover' may save the rest).",
        )
    if "unable to open" in text and has_wal(path) and not os.access(path.parent, os.W_OK):
        return Refused(
            f"{path} cannot be read without what stands in {path.name}-wal, and this user may not "
            "write in its folder, as SQLite has to for that.",
            hint="Copy both files into a folder of your own, or run as a user who may write there.",
        )
    if "unsafe use of" in text:
        return Refused(
            f"{place} is not read: its schema calls what may do anything, and is not to be trusted "
            f"({text.rpartition('unsafe use of ')[2]}).",
            hint="Take that rule, column or index out of a copy of the file, and migrate that.",
        )
    if "disk is full" in text or getattr(error, "errno", None) in _NO_ROOM:
        return DatabaseError(
            f"{place} could not be written, for want of space: {text}",
            hint="Make room on its disk, or look at quotas and at limits of files' sizes.",
            sqlstate=DISK_FULL,
        )
    if "disk I/O error" in text and _is_our_own(path):
        # What SQLite makes of a quota, or of a limit (ulimit -f), as well as of a broken disk.
        return DatabaseError(
            f"{place} could not be written: {text}",
            hint="Look at its disk, at quotas and at limits of files' sizes.",
        )
    if not text or "out of memory" in text:
        # A stream of the driver's that could not allocate a batch has no words for it.
        return DatabaseError(f"{place}: there was not enough memory for it.", hint=LESS_MEMORY)
    damage = _DAMAGE.search(text)
    if damage is not None or isinstance(error, UnicodeDecodeError):
        what = damage[0] if damage else "names or definitions of its schema are no UTF-8"
        return DatabaseError(
            f"{place} is damaged: {what}.",
            hint="Run PRAGMA integrity_check on a copy; 'sqlite3 FILE .recover' may save the rest.",
        )
    if "locked" in text or "busy" in text:
        return DatabaseError(
            f"{place} is locked by another program.",
            hint="Stop the service that uses it, then run again.",
            transient=True,
        )
    state = _state(text)
    return DatabaseError(f"{place}: {text}", hint=_HINTS.get(state, ""), sqlstate=state)


# What a system says where a file cannot grow: the disk's end, a quota's, a limit's.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DISK_FULL = "53100"


def _is_our_own(path: Path) -> bool:
    """The file beside the target, or a part of it."""
    return STAGED_ENDING in (path.suffix, path.parent.suffix.removesuffix("-parts"))


_OF_THE_SOURCE = (
    "The target does not take it. If the source's schema says the same, the source is damaged; in "
    "SQLite, PRAGMA integrity_check tells."
)
_HINTS = {"23502": _OF_THE_SOURCE, "23505": _OF_THE_SOURCE}

# The driver gives no codes. These are the SQLSTATEs that the words amount to (PostgreSQL
# documentation, appendix A).
_STATES = {
    "UNIQUE constraint failed": "23505",
    "NOT NULL constraint failed": "23502",
    "CHECK constraint failed": "23514",
    "FOREIGN KEY constraint failed": "23503",
    "constraint failed": "23000",
    # Of tables that are STRICT, and of an INTEGER PRIMARY KEY.
    "cannot store": "22000",
    "datatype mismatch": "22000",
    "syntax error": "42601",
    "no such": "42704",
    "already exists": "42710",
    "ambiguous": "42702",
    "prohibited in": "42P17",
    "non-deterministic": "42P17",
    "integer overflow": "22003",
    "malformed JSON": "22032",
    "too many": "54000",
    "wrong number of arguments": "42883",
    "unknown function": "42883",
}


def _state(text: str) -> str:
    return next((state for words, state in _STATES.items() if words in text), "")
