"""What a program that did not close a SQLite file has left beside it.

SQLite brings it in order by itself, and without a word: it plays a hot journal back, and reads a
WAL along ("Atomic Commit In SQLite", section 4; "Write-Ahead Logging"). It says as little where
either is damaged, and takes what stands before the damage for all there is. So that is looked for
here: half of a transaction, or rows that were committed and are gone, must not pass for the source.

Only files beside the database are opened: to close it here would drop locks on it (fcntl(2)).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tableferry.errors import Refused

# "Database File Format", sections 3 and 4.
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_HEADER = struct.Struct(">8sIIIII")
# The count of a journal that was written without waiting for the disk.
_NOT_COUNTED = 0xFFFFFFFF
_WAL_MAGIC = 0x377F0682
_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_CHUNK = 32 << 20
# Of pages and of sectors, in bytes.
_SIZES = [512 << i for i in range(8)]
_WORD = 0xFFFFFFFF


def journal_of(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def has_wal(path: Path) -> bool:
    wal = wal_of(path)
    return wal.exists() and wal.stat().st_size > 0


def has_hot_journal(path: Path) -> bool:
    """Whether there is a journal that waits to be played back, as far as it can tell: one that a
    program keeps between its transactions is empty or begins with zeros."""
    journal = journal_of(path)
    try:
        with journal.open("rb") as file:
            return file.read(1) not in (b"", b"\0")
    except OSError:
        # Not there, or SQLite cannot read it either, and says so.
        return False


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What stood beside the file at ``path`` before it was opened: a hot journal, a WAL with
    something committed, one with something else at its end."""

    path: Path
    journal: bool
    committed: bool
    unfinished: bool

    def told(self) -> tuple[str, ...]:
        """Sentences on what SQLite has made of it, once the file was opened."""
        found = []
        # One that still stands there is that of a program in its midst.
        if self.journal and not has_hot_journal(self.path):
            found.append(
                f"A program that wrote to {self.path} ended in the middle of a transaction; SQLite "
                "has undone it."
            )
        if self.committed:
            found.append(
                f"A program that wrote to {self.path} ended without closing it, or has it open: "
                f"what it had committed to {wal_of(self.path).name} was read along."
            )
        if self.unfinished:
            found.append(
                f"{wal_of(self.path)} ends with a transaction that is not whole; SQLite leaves it "
                "out."
            )
        return tuple(found)


def left_beside(path: Path) -> Leftovers:
    """Raises Refused where SQLite could not bring it in order, since it is damaged."""
    hot = has_hot_journal(path)
    # Whatever looks damaged is looked at twice: a program may be writing it.
    if hot and not _is_sound(journal_of(path)) and not _is_sound(journal_of(path)):
        raise Refused(
            f"{path} was left in the middle of a transaction, and {journal_of(path).name}, which "
            "tells what stood there before, is damaged: SQLite would undo a part of it or nothing.",
            hint="Restore the file from a copy, or take what 'sqlite3 FILE .recover' saves.",
        )
    log = _read_log(wal_of(path))
    if log.broken_at and _read_log(wal_of(path)) == log:
        raise Refused(
            f"{wal_of(path)} is damaged in frame {log.broken_at:,}: SQLite takes nothing that was "
            f"committed from there on, and rows of {path.name} would be missing.",
            hint="Take copies of both files. To go on with what SQLite still takes: "
            "sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)'",
        )
    return Leftovers(path, hot, bool(log.committed), log.unfinished)


def _is_sound(path: Path) -> bool:
    """Whether every page that a journal counts is there as it was written. What it does not count
    was not overwritten in the database either."""
    try:
        journal = path.read_bytes()
    except FileNotFoundError:
        return True
    at = 0
    seen: set[int] = set()
    while at + _JOURNAL_HEADER.size <= len(journal):
        magic, count, nonce, pages, sector, size = _JOURNAL_HEADER.unpack_from(journal, at)
        if magic != _JOURNAL_MAGIC:
            break
        if size not in _SIZES or sector not in _SIZES:
            return False
        at += sector
        if count == _NOT_COUNTED:
            return True
        for _ in range(count):
            number = int.from_bytes(journal[at : at + 4], "big")
            page, checksum = journal[at + 4 : at + 4 + size], journal[at + 4 + size : at + 8 + size]
            told = (nonce + sum(page[size - 200 : 0 : -200])) & _WORD
            # Each of the file's pages stands there at most once; the checksum is the content's.
            if checksum != told.to_bytes(4, "big") or not 0 < number <= pages or number in seen:
                return False
            seen.add(number)
            at += size + 8
        at = -(-at // sector) * sector
    # What stands behind the first part may be another journal's remains.
    return at > 0


@dataclass(frozen=True, slots=True)
class _Log:
    """committed: frames up to the last commit that SQLite takes. broken_at: the first frame that
    it does not take though a commit of the same log stands behind it, from 1; 0 where none is.
    unfinished: whether frames without a commit follow."""

    committed: int = 0
    broken_at: int = 0
    unfinished: bool = False


def _read_log(wal: Path) -> _Log:
    try:
        file = wal.open("rb")
    except OSError:
        return _Log()
    with file:
        start = file.read(_WAL_HEADER.size)
        if len(start) < _WAL_HEADER.size:
            return _Log()
        magic, _, size, _, *salts_and_sums = _WAL_HEADER.unpack(start)
        if magic & ~1 != _WAL_MAGIC or size not in _SIZES:
            return _Log(broken_at=1)
        order = ">u4" if magic & 1 else "<u4"
        state = (0, 0)
        for one, other in np.frombuffer(start[:24], order).astype(int).reshape(-1, 2).tolist():
            state = _step(state, one, other)
        salts, sums = salts_and_sums[:2], tuple(salts_and_sums[2:])
        frames = _frames(file, size, order)
        if state != sums:
            return _Log(broken_at=int(any(frame.commits for frame in frames)))
        return _followed(frames, salts, state)


def _followed(frames: Iterator[_Frame], salts: list[int], state: tuple[int, int]) -> _Log:
    """The frames of a log whose header leaves the checksum at ``state``."""
    committed = broken_at = 0
    unfinished = False
    for number, frame in enumerate(frames, 1):
        if frame.salts != salts:
            # Of a log of before, unless it is the salts that are damaged.
            broken_at = broken_at or number
            continue
        unfinished = True
        if broken_at:
            # A program that is killed may leave a header without its page, but nothing behind.
            if frame.commits:
                return _Log(committed, broken_at)
            continue
        state = frame.sums_after(state)
        if not frame.page or frame.sums != state:
            broken_at = number
        elif frame.commits:
            committed, unfinished = number, False
    return _Log(committed, unfinished=unfinished)


@dataclass(frozen=True, slots=True)
class _Frame:
    """factors and added: what the frame makes of the checksum so far, by a matrix of two rows."""

    page: int
    commits: int
    salts: list[int]
    sums: tuple[int, int]
    power: tuple[int, int, int]
    added: tuple[int, int]

    def sums_after(self, state: tuple[int, int]) -> tuple[int, int]:
        a, b, c = self.power
        one, other = state
        return (
            (a * one + b * other + self.added[0]) & _WORD,
            (b * one + c * other + self.added[1]) & _WORD,
        )


def _step(state: tuple[int, int], one: int, other: int) -> tuple[int, int]:
    """The checksum over two more words ("Checksum Algorithm")."""
    first = (state[0] + one + state[1]) & _WORD
    return first, (state[1] + other + first) & _WORD


def _frames(file: BinaryIO, size: int, order: str) -> Iterator[_Frame]:
    """The checksum is linear in the words: each counts for it by a Fibonacci number that says how
    far from the end it stands. So numpy sums a frame at once."""
    steps = 1 + size // 8
    fibonacci = [0, 1]
    while len(fibonacci) < 2 * steps + 2:
        fibonacci.append((fibonacci[-1] + fibonacci[-2]) & _WORD)
    left = range(2 * (steps - 1), -1, -2)
    before, at, after = (
        np.array([fibonacci[i + shift] if i + shift >= 0 else 1 for i in left], np.uint64)
        for shift in (-1, 0, 1)
    )
    # By the power M^k of M = [[1, 1], [1, 2]], applied to (x, x + y) for the words x and y.
    first = np.stack([before + at, at], axis=1).reshape(-1)
    second = np.stack([at + after, after], axis=1).reshape(-1)
    power = (fibonacci[2 * steps - 1], fibonacci[2 * steps], fibonacci[2 * steps + 1])
    length = size + _FRAME_HEADER.size
    while chunk := file.read(max(_CHUNK // length, 1) * length):
        rows = np.frombuffer(chunk[: len(chunk) // length * length], np.uint8).reshape(-1, length)
        summed = np.concatenate([rows[:, :8], rows[:, _FRAME_HEADER.size :]], axis=1)
        words = summed.view(order).astype(np.uint64)
        added = np.stack([words @ first, words @ second], axis=1) & np.uint64(_WORD)
        for row, two in zip(rows, added.tolist(), strict=True):
            page, commits, *rest = _FRAME_HEADER.unpack(row[: _FRAME_HEADER.size].tobytes())
            yield _Frame(page, commits, rest[:2], tuple(rest[2:]), power, tuple(two))
