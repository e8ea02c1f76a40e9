"""A part of a table, in a file of its own: a database that SQLite has made, with one empty table,
and whose pages are then written by us (records.py), many at once."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import BinaryIO

from tableferry.dialects.sqlite.records import PAGE_BYTES, Pages

# The first page is the schema's, the second the table's root ("Database File Format", section 1).
_ROOT = _PAGES = 2
_SIZE_IN_HEADER = 28
_INTERIOR = 0x05
_INTERIOR_HEADER = 12
# A page's number, a rowid of at most eight bytes, and the pointer to both.
_MOST_CELLS = (PAGE_BYTES - _INTERIOR_HEADER) // (4 + 8 + 2)

# Pages with the last rowid below each.
_Level = list[tuple[int, int]]


def takes_pages(pages: int, root: int) -> bool:
    """Whether a database of so many pages, the root of its table among them, is as PartFile has
    it."""
    return (pages, root) == (_PAGES, _ROOT)


class PartFile:
    """Takes leaf pages of rows whose rowids ascend, batch by batch. It is a database again after
    ``finish``."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("r+b")
        self._leaves: _Level = []
        self._file.seek(_PAGES * PAGE_BYTES)

    @property
    def last_rowid(self) -> int | None:
        return self._leaves[-1][1] if self._leaves else None

    def __enter__(self) -> PartFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def append(self, pages: Pages) -> None:
        if not len(pages.data):
            return
        first = _PAGES + 1 + len(self._leaves)
        self._file.write(pages.data.data)
        self._leaves += enumerate(pages.last_rowids.tolist(), first)

    def finish(self) -> None:
        """The pages above the leaves, and the file's size in its header."""
        count = _PAGES + len(self._leaves)
        if len(self._leaves) == 1:
            self._file.seek(_PAGES * PAGE_BYTES)
            self._put(_ROOT, self._file.read(PAGE_BYTES))
            count = _PAGES
            self._file.truncate(count * PAGE_BYTES)
        level = self._leaves
        while len(level) > 1:
            # As even as can be, so that none is left with a single child.
            groups = -(-len(level) // (_MOST_CELLS + 1))
            bounds = [len(level) * number // groups for number in range(groups + 1)]
            above: _Level = []
            for first, end in itertools.pairwise(bounds):
                group = level[first:end]
                if groups == 1:
                    number = _ROOT
                else:
                    count += 1
                    number = count
                self._put(number, _interior(group))
                above.append((number, group[-1][1]))
            level = above
        self._file.seek(_SIZE_IN_HEADER)
        self._file.write(struct.pack(">I", count))
        self._file.flush()

    def _put(self, number: int, page: bytes) -> None:
        self._file.seek((number - 1) * PAGE_BYTES)
        self._file.write(page)


def _interior(children: _Level) -> bytes:
    """A page over others: each with the largest rowid below it, and the last without one."""
    *lower, (rightmost, _) = children
    cells = [struct.pack(">I", number) + _varint(rowid) for number, rowid in lower]
    body = b"".join(cells)
    begin = PAGE_BYTES - len(body)
    places = itertools.accumulate(map(len, cells[:-1]), initial=begin)
    pointers = struct.pack(f">{len(cells)}H", *places) if cells else b""
    head = struct.pack(">BHHHBI", _INTERIOR, 0, len(lower), begin, 0, rightmost) + pointers
    return head + bytes(begin - len(head)) + body


def _varint(rowid: int) -> bytes:
    """Of at most eight bytes, each with seven bits; all but the last have a mark."""
    sevens = [rowid & 0x7F]
    while rowid := rowid >> 7:
        sevens.insert(0, rowid & 0x7F | 0x80)
    return bytes(sevens)
