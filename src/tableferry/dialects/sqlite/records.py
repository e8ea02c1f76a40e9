"""Batches of rows as the leaf pages of a table, byte for byte what SQLite makes of them. Pure.

A row that is bound to a statement costs 40 ns a value in the driver, and as much again in SQLite;
numpy puts a whole column in its place in a few. The format is one that all versions of SQLite 3
read and keep to ("Database File Format", sections 1.6, "B-tree Pages", and 2.1, "Record Format").
What is written so is read back through SQLite like everything else.

Only what is certain to be stored like that is encoded here: where a column's affinity could turn
values into others, where rows are long, or where a NULL would have to be refused, ``encode``
answers None, and the rows are inserted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt

from tableferry import buffers, temporal
from tableferry.dialects.sqlite.storing import Stored
from tableferry.dialects.sqlite.types import affinity
from tableferry.model import ReadColumn

PAGE_BYTES = 32_768
# Rowids of this and the next 33 thousand million values take five bytes: so no cell is shorter
# than the eight bytes that are written at once. Where rows are gathered they get others.
FIRST_ROWID = 1 << 28
# Above, a rowid takes nine bytes.
_LAST_ROWID = (1 << 56) - 1
# A longer row would be cheap to insert anyway. Well below what would need an overflow page.
_MOST_ROW_BYTES = 2_000
# So many columns, of serial types of at most two bytes, have a header whose size is one byte.
_MOST_COLUMNS = 62

_LEAF = 0x0D
_LEAF_HEADER = 8
_POINTER = 2

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_BITS = np.array([8 * n for n in range(9)], dtype=np.uint64)
# The first n bytes of a word.
_KEPT = np.array([(1 << 8 * n) - 1 for n in range(9)], dtype=np.uint64)
_NONE = np.uint64(0)
_NO_BYTES = np.zeros(0, dtype=np.int64)
# An integer of variable length has seven bits in each byte, and a mark that another follows.
_SEVEN, _MORE = np.uint64(0x7F), np.uint64(0x80)

# An integer takes the first of these widths, in bytes, that holds it; its magnitude is at most the
# limit (of a negative number, that of its complement).
_LIMITS = (2**7 - 1, 2**15 - 1, 2**23 - 1, 2**31 - 1, 2**47 - 1)
_WIDTHS = np.array([1, 2, 3, 4, 6, 8], dtype=np.int64)
_SERIALS = np.array([1, 2, 3, 4, 5, 6], dtype=np.uint64)
_REAL, _ZERO, _BLOB, _TEXT = (np.uint64(n) for n in (7, 8, 12, 13))
_EIGHT = 8
# From where up to where a whole number in a column of REAL affinity is stored as an integer, and
# one in a column of INTEGER or NUMERIC affinity becomes one.
_IN_SIX_BYTES = (-(2.0**47), 2.0**47)
_IN_EIGHT_BYTES = (float(np.nextafter(-(2.0**63), 0)), 2.0**63)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column's values by row: the serial type, the length, and the bytes. Numbers have them in
    ``words``, first byte lowest; of texts, value i is data[starts[i]:starts[i] + lengths[i]]."""

    serials: Words
    lengths: Integers
    words: Words
    data: Bytes | None = None
    starts: Integers | None = None


@dataclass(frozen=True, slots=True)
class Pages:
    """Leaf pages of PAGE_BYTES each, uint8 of shape (pages, PAGE_BYTES), and each one's last
    rowid."""

    data: Bytes
    last_rowids: Integers


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table that takes rows as they are: ``typed`` where they have their declared
    types there, otherwise none; ``required`` holds the positions of those that are NOT NULL, and
    ``rowid`` that of the one that is the rowid itself ("ROWIDs and the INTEGER PRIMARY KEY")."""

    columns: tuple[ReadColumn, ...]
    typed: bool
    required: frozenset[int] = frozenset()
    rowid: int | None = None


def encode(arrays: Sequence[Stored], layout: Layout, after: int) -> Pages | None:
    """The rows of a batch, in order, by what ``storing.stored`` makes of their columns. Their
    rowids are above ``after``; unless a column holds them, they count from there, and it is at
    least FIRST_ROWID - 1. None where the rows have to be inserted."""
    if not arrays or len(arrays) > _MOST_COLUMNS:
        return None
    encoded = []
    rowids = None
    for number, (array, column) in enumerate(zip(arrays, layout.columns, strict=True)):
        if number == layout.rowid:
            rowids = _ascending(array, after)
            one = None if rowids is None else _nothing(len(rowids))
        elif number in layout.required and any(one.null_count for one in array.arrays):
            return None
        else:
            one = _column(array, column, typed=layout.typed)
        if one is None:
            return None
        encoded.append(one)
    if rowids is None:
        rowids = np.arange(after + 1, after + 1 + len(encoded[0].lengths), dtype=np.uint64)
    return _pages(encoded, rowids)


def _ascending(stored: Stored, after: int) -> Words | None:
    """Rowids that may follow another, if these are such."""
    array = stored.arrays[0]
    if len(stored.arrays) != 1 or not pt.is_int64(array.type) or array.null_count:
        return None
    values = buffers.fixed(array, np.int64)
    if not len(values):
        return values.view(np.uint64)
    if values[0] <= max(after, -1) or values[-1] > _LAST_ROWID or (np.diff(values) <= 0).any():
        return None
    return values.view(np.uint64)


def _nothing(rows: int) -> _Column:
    """NULLs, which is what stands in the place of a rowid."""
    none = np.zeros(rows, dtype=np.uint64)
    return _Column(none, none.view(np.int64), none)


def _column(stored: Stored, column: ReadColumn, *, typed: bool) -> _Column | None:
    if len(stored.arrays) != 1:
        return None
    (array,) = stored.arrays
    group = affinity(column.column.declared) if typed else "BLOB"
    if pt.is_boolean(array.type):
        array = array.cast(pa.int64())
    if pt.is_int64(array.type) and group not in ("TEXT", "REAL"):
        return _with_nulls(_integers(buffers.fixed(array, np.int64)), array)
    if pt.is_float64(array.type) and group != "TEXT":
        return _with_nulls(_reals(buffers.fixed(array, np.float64), group), array)
    if pt.is_string(array.type) and (
        group in ("TEXT", "BLOB") or column.kind.name in (*temporal.KINDS, "uuid")
    ):
        # No date, time or UUID looks like a number, so an affinity leaves them as they are.
        return _strings(array, _TEXT)
    if pt.is_binary(array.type):
        return _strings(array, _BLOB)
    return None


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_valid())


def _with_nulls(column: _Column, array: pa.Array) -> _Column:
    if not array.null_count:
        return column
    valid = _valid(array)
    return _Column(
        np.where(valid, column.serials, _NONE),
        np.where(valid, column.lengths, 0),
        np.where(valid, column.words, _NONE),
    )


def _integers(values: Integers) -> _Column:
    magnitudes = values ^ (values >> 63)
    most = int(magnitudes.max()) if len(values) else 0
    classes = np.zeros(len(values), dtype=np.uint8)
    for limit in _LIMITS:
        if most > limit:
            classes += magnitudes > limit
    serials, lengths = _SERIALS.take(classes), _WIDTHS.take(classes)
    bits = values.view(np.uint64)
    small = bits <= 1
    if small.any():
        # 0 and 1 are serial types of their own, without a byte.
        serials = np.where(small, bits + _ZERO, serials)
        lengths = np.where(small, 0, lengths)
    words = values.byteswap().view(np.uint64) >> _BITS.take(_EIGHT - lengths)
    if small.any():
        words = np.where(small, _NONE, words)
    return _Column(serials, lengths, words)


def _reals(values: npt.NDArray[np.float64], group: str) -> _Column:
    """A number without a fraction becomes an integer in a column of any numeric affinity: as a
    value ("Type Affinity", section 3), or in a column of REAL affinity in the file alone."""
    words = values.byteswap().view(np.uint64)
    lengths = np.full(len(values), _EIGHT, dtype=np.int64)
    # NaN is NULL.
    there = ~np.isnan(values)
    if not there.all():
        words = np.where(there, words, _NONE)
        lengths = np.where(there, lengths, 0)
    serials = np.where(there, _REAL, _NONE)
    if group == "BLOB":
        return _Column(serials, lengths, words)
    least, most = _IN_SIX_BYTES if group == "REAL" else _IN_EIGHT_BYTES
    with np.errstate(invalid="ignore"):
        whole = (np.trunc(values) == values) & (values >= least) & (values < most)
    if not whole.any():
        return _Column(serials, lengths, words)
    integers = _integers(np.where(whole, values, 0.0).astype(np.int64))
    return _Column(
        np.where(whole, integers.serials, serials),
        np.where(whole, integers.lengths, lengths),
        np.where(whole, integers.words, words),
    )


def _strings(array: pa.Array, base: np.uint64) -> _Column | None:
    rows = len(array)
    offsets, data = buffers.strings(array, np.int32)
    bounds = offsets.astype(np.int64)
    first, last = int(bounds[0]), int(bounds[-1])
    # Words are read from it, the last of them beyond its end.
    padded = np.empty(last - first + _EIGHT, dtype=np.uint8)
    padded[:-_EIGHT] = data[first:]
    lengths = np.diff(bounds)
    starts = bounds[:-1] - first
    if rows and int(lengths.max()) > _MOST_ROW_BYTES:
        return None
    serials = (lengths << 1).view(np.uint64) + base
    if array.null_count:
        valid = _valid(array)
        lengths = np.where(valid, lengths, 0)
        serials = np.where(valid, serials, _NONE)
    return _Column(serials, lengths, np.empty(0, np.uint64), padded, starts)


def _pages(columns: Sequence[_Column], rowids: Words) -> Pages | None:
    rows = len(rowids)
    types = [_varint(column.serials) for column in columns]
    # The header's own size takes one byte.
    headers = np.ones(rows, dtype=np.int64)
    for _, lengths, _ in types:
        headers += lengths
    payloads = headers.copy()
    for column in columns:
        payloads += column.lengths
    if rows and int(payloads.max()) > _MOST_ROW_BYTES:
        return None
    sizes = _varint(payloads.view(np.uint64))
    numbers = _rowid_varint(rowids)
    cells = payloads + sizes[1] + numbers[1]
    if rows and int(cells.min()) < _EIGHT:
        return None
    data, starts, last_rows = _laid_out(cells)
    row = _Writer(data, starts, starts + cells)
    least = [int(column.lengths.min()) if rows else 0 for column in columns]
    row.follow = sum(least)
    row.put(*sizes)
    row.put(*numbers)
    row.put(headers.view(np.uint64), 1, 1)
    for words, lengths, most in types:
        row.put(words, lengths, most)
    for column, short in zip(columns, least, strict=True):
        row.follow -= short
        if column.data is None or column.starts is None:
            row.put(column.words, column.lengths, int(column.lengths.max(initial=0)))
        else:
            row.put_from(column.data, column.starts, column.lengths)
    row.flush()
    return Pages(data, rowids[last_rows].view(np.int64))


def _varint(values: Words) -> tuple[Words, Integers | int, int]:
    """Numbers below 2^14 as SQLite's integers of variable length: words, lengths, the longest."""
    most = int(values.max(initial=0))
    if most < 1 << 7:
        return values, 1, 1
    long = values >= 1 << 7
    two = (values >> np.uint64(7)) | _MORE | ((values & _SEVEN) << _BITS[1])
    return np.where(long, two, values), long.astype(np.int64) + 1, 2


def _rowid_varint(rowids: Words) -> tuple[Words, Integers, int]:
    """As _varint, of numbers below 2^56: up to eight bytes."""
    most = int(rowids.max(initial=0))
    words = rowids & _SEVEN
    lengths = np.ones(len(rowids), dtype=np.int64)
    place = 1
    while most >> 7 * place:
        rest = rowids >> np.uint64(7 * place)
        longer = words << _BITS[1] | rest & _SEVEN | _MORE
        words = longer if rest.all() else np.where(rest != 0, longer, words)
        lengths += rest != 0
        place += 1
    return words, lengths, place


def _laid_out(cells: Integers) -> tuple[Bytes, Integers, Integers]:
    """Pages with their headers and pointers for cells of these sizes, in bytes; where each cell
    begins, counted over all pages; and the position of each page's last row."""
    rows = len(cells)
    ends = np.cumsum(cells)
    filled = ends + np.arange(1, rows + 1) * _POINTER
    bounds = [0]
    while bounds[-1] < rows:
        before = int(filled[bounds[-1] - 1]) if bounds[-1] else 0
        room = before + PAGE_BYTES - _LEAF_HEADER
        bounds.append(int(np.searchsorted(filled, room, side="right")))
    firsts = np.array(bounds[:-1], dtype=np.int64)
    lasts = np.array(bounds[1:], dtype=np.int64) - 1
    counts = lasts - firsts + 1
    begins = ends - cells
    contents = PAGE_BYTES - (ends[lasts] - begins[firsts])
    pages = len(firsts)
    data = np.zeros((pages, PAGE_BYTES), dtype=np.uint8)
    data[:, 0] = _LEAF
    data[:, 3:5] = counts.astype(">u2").view(np.uint8).reshape(pages, 2)
    data[:, 5:7] = contents.astype(">u2").view(np.uint8).reshape(pages, 2)
    page = np.repeat(np.arange(pages), counts)
    within = begins + (contents - begins[firsts])[page]
    places = page * PAGE_BYTES + _LEAF_HEADER + _POINTER * (np.arange(rows) - firsts[page])
    data.reshape(-1).view(">u2")[places >> 1] = within
    return data, page * PAGE_BYTES + within, lasts


class _Writer:
    """Puts pieces of all rows one after the other, up to eight bytes at once. What a word has
    behind its piece is overwritten by the next; none is written past the end of its row."""

    def __init__(self, data: Bytes, starts: Integers, ends: Integers) -> None:
        flat = data.reshape(-1)
        self._words: Words = np.ndarray((max(len(flat) - 7, 0),), np.dtype("<u8"), flat, 0, (1,))
        self._at = starts
        self._last = ends - _EIGHT
        self._held: Words | None = None
        self._length: Integers | int = 0
        self._most = 0
        # So many bytes at least follow the column whose bytes are put.
        self.follow = 0

    def put(self, words: Words, lengths: Integers | int, most: int) -> None:
        """Pieces of these lengths, ``most`` at most; the words are zero behind them."""
        if not most:
            return
        if self._most + most > _EIGHT:
            self.flush()
        if self._held is None:
            self._held, self._length, self._most = words, lengths, most
            return
        self._held = self._held | words << _BITS.take(self._length)
        self._length = self._length + lengths
        self._most += most

    def put_from(self, data: Bytes, starts: Integers, lengths: Integers) -> None:
        """Pieces of any length, which begin at ``starts`` in the data."""
        source: Words = np.ndarray((len(data) - 7,), np.dtype("<u8"), data, 0, (1,))
        most = int(lengths.max(initial=0))
        if most <= _EIGHT:
            if most:
                words = source[starts]
                self.put(words & _KEPT.take(lengths), lengths, most)
            return
        self.flush()
        at, last, left = self._at, self._last, lengths
        self._at = at + lengths
        least = int(lengths.min())
        whole = most - most % _EIGHT if least == most else most
        for place in range(0, whole, _EIGHT):
            if place >= least:
                longer = np.flatnonzero(left > place)
                starts, at, last, left = starts[longer], at[longer], last[longer], left[longer]
            self._store(at + place, source[starts + place], last)
        if whole < most:
            # The rest goes together with what follows.
            self._at, rest = at + whole, most - whole
            self.put(source[starts + whole] & _KEPT[rest], rest, rest)

    def flush(self) -> None:
        if self._held is not None:
            self._store(self._at, self._held, self._last)
            self._at = self._at + self._length
            self._held, self._length, self._most = None, 0, 0

    def _store(self, at: Integers, words: Words, last: Integers) -> None:
        over = at - last if self.follow < _EIGHT else _NO_BYTES
        if int(over.max(initial=0)) > 0:
            # Moved back, behind what stands there already.
            over = np.maximum(over, 0)
            at = at - over
            words = self._words[at] & _KEPT.take(over) | words << _BITS.take(over)
        self._words[at] = words
