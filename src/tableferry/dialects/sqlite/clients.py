"""Which other processes have a SQLite file open, as Linux tells it in /proc (proc(5)).

An idle client of a file in rollback mode holds no lock ("File Locking And Concurrency In SQLite
Version 3"), so locks alone do not show who may write next: open files do. Nothing here opens the
database or a file beside it, since closing it again would drop the locks that this process holds.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tableferry.dialects.base import Clients

PROC = Path("/proc")
# SQLite puts these beside the file itself, where a link to it leads to.
_BESIDE = ("-wal", "-shm", "-journal")
_LOCK = re.compile(r"\d+:(?: ->)? \S+ +\S+ +\S+ +(\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ")

_File = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    name: str
    # As a number; -1 where even that is hidden.
    user: int
    # A thread of the kernel's own, or one that has ended: they have no memory, and open no files.
    bare: bool

    def __str__(self) -> str:
        # Only the name: what else stands on a command line may be a secret.
        return f"{self.name} (process {self.pid} of user {_user_name(self.user)})"


def clients_of(path: Path, proc: Path = PROC) -> Clients:
    """The processes but this one that have the file, or one that SQLite keeps beside it, open.

    ``unseen`` says how many processes there are of which an ordinary user cannot know it.
    """
    wanted = _files(Path(os.path.realpath(path)))
    if not wanted:
        return Clients()
    if not (proc / "self").exists():
        return Clients(unseen=f"Who else has {path} open cannot be seen on this system.")
    found: dict[int, _Process] = {}
    hidden = 0
    holders = _lock_holders(proc, wanted)
    for process in _processes(proc):
        if process.pid in holders:
            found[process.pid] = process
            continue
        try:
            if _has_open(proc, process.pid, wanted):
                found[process.pid] = process
        except PermissionError:
            hidden += not process.bare and process.user != os.geteuid()
    return Clients(tuple(str(found[pid]) for pid in sorted(found)), _unseen(path, proc, hidden))


def _unseen(path: Path, proc: Path, hidden: int) -> str:
    if not (proc / "1").exists():
        # Mounted with hidepid=2 (proc(5)): not even their number is known.
        return f"Whether processes of other users have {path} open cannot be seen."
    if not hidden:
        return ""
    processes = (
        "1 process of another user has"
        if hidden == 1
        else (f"{hidden:,} processes of other users have")
    )
    return f"Whether {processes} {path} open cannot be seen; root sees it."


def _files(path: Path) -> frozenset[_File]:
    """By device and number, since a file has as many names as one likes."""
    found = set()
    for each in (path, *(path.with_name(path.name + ending) for ending in _BESIDE)):
        try:
            status = each.stat()
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _processes(proc: Path) -> Iterator[_Process]:
    for entry in sorted(proc.iterdir()):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "status").read_text(encoding="utf-8", errors="replace")
        except PermissionError:
            yield _Process(int(entry.name), "a program", -1, bare=False)
        except OSError:
            continue  # It has ended meanwhile.
        else:
            status = dict(re.findall(r"^(\w+):\t *(.*)$", text, re.MULTILINE))
            name = "".join(c if c.isprintable() else "?" for c in status.get("Name", "a program"))
            user = int(status["Uid"].split()[1]) if "Uid" in status else -1
            yield _Process(int(entry.name), name, user, bare="VmSize" not in status)


def _has_open(proc: Path, pid: int, wanted: frozenset[_File]) -> bool:
    """Raises PermissionError where this user may not know."""
    try:
        links = list((proc / str(pid) / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False
    for link in links:
        try:
            place = str(link.readlink())
            # Sockets, pipes and devices need no second look.
            if not place.startswith("/") or place.startswith("/dev/"):
                continue
            status = link.stat()
        except PermissionError:
            raise
        except OSError:
            continue  # It was closed meanwhile.
        if (status.st_dev, status.st_ino) in wanted:
            return True
    return False


def _lock_holders(proc: Path, wanted: frozenset[_File]) -> frozenset[int]:
    """Those that hold a lock on one of the files: every user may know them, and a client of a file
    in WAL mode holds one all the time."""
    try:
        text = (proc / "locks").read_text()
    except OSError:
        return frozenset()
    return frozenset(
        int(pid)
        for pid, major, minor, number in _LOCK.findall(text)
        if (os.makedev(int(major, 16), int(minor, 16)), int(number)) in wanted
    )


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        return str(number) if number >= 0 else "unknown"
