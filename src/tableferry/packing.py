"""Several short values of each row in one text, and apart again. Pure.

Both drivers take longer to hand over a value of its own than a database takes to put it beside
others: with lineitem's sixteen columns that is up to a third of what reading them costs. So a
statement may bring short values as one column, each followed by a separator. A row whose values
hold a separator themselves shows by having too many; ``unpack`` leaves it out, and the caller reads
such rows column by column.

An empty field is NULL, so text that may be empty or NULL has a mark before every value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tableferry import buffers, kinds

SEPARATOR = "\x1f"
# Before a text that is not NULL, in a column where one may be.
MARK = "v"
# PostgreSQL's functions take 100 arguments at most ("Preset Options", section 20.15).
MOST_COLUMNS = 90
# Beyond these bytes a row looking for separators costs what it saves.
MOST_ROW_BYTES = 1_000

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_PAD = 16  # bytes before the first field, so that the 16 that end with any field can be looked at
# With fewer separators than one in so many bytes, looking for each is faster.
_SPARSE = 35
_BYTES = [np.uint64(8 * n) for n in range(9)]


def _repeated(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte] * 8), "little"))


_ZEROS, _SIXES, _HIGH = _repeated(0x30), _repeated(6), _repeated(0xF0)
_POINT = np.uint64(ord("."))
_ONE_BYTE = np.uint64(0xFF)
# Eight digits to a number in three steps: of two, of four, of eight digits.
_STEPS = tuple(
    (np.uint64(mask), np.uint64(factor), np.uint64(shift))
    for mask, factor, shift in (
        (0x0F0F0F0F0F0F0F0F, 2561, 8),
        (0x00FF00FF00FF00FF, 6553601, 16),
        (0x0000FFFF0000FFFF, 42949672960001, 32),
    )
)
_DASHES = np.uint64(int.from_bytes(b"0000-00-", "little"))
_AT_DASHES = np.uint64(0xFF0000FF00000000)
_YEAR = np.uint64(0x00000000FFFFFFFF)
_MONTH = np.uint64(0x00FFFF0000000000)
_DATE = 10
_LAST_YEAR = 9999


@dataclass(frozen=True, slots=True)
class Fields:
    """The values of a batch as texts: field j of row i is data[starts[j, i]:ends[j, i]]."""

    data: npt.NDArray[np.uint8]
    starts: Integers
    ends: Integers
    # Whether all of it is ASCII without NUL.
    plain: bool

    def longest(self, column: int) -> int:
        """In bytes; the marks are counted."""
        lengths = self.ends[column] - self.starts[column]
        return int(lengths.max()) if len(lengths) else 0

    def texts(self, column: int, *, marked: bool = False, empty_is_null: bool = False) -> pa.Array:
        """string; NULL where the field is empty, if so is meant: always where it is ``marked``."""
        starts, ends = self.starts[column], self.ends[column]
        empty = starts == ends if marked or empty_is_null else None
        if marked:
            starts = starts + (starts < ends)
        offsets, data = self._strings(starts, ends)
        bitmap = None
        if empty is not None and empty.any():
            bitmap = pa.py_buffer(np.packbits(~empty, bitorder="little"))
        return pa.Array.from_buffers(pa.string(), len(starts), [bitmap, offsets, data])

    def _strings(self, starts: Integers, ends: Integers) -> tuple[pa.Buffer, pa.Buffer]:
        rows = len(starts)
        lengths = ends - starts
        length = int(lengths[0]) if rows else 0
        if length and (lengths == length).all():
            every = np.ndarray((len(self.data) - length + 1,), f"V{length}", self.data, 0, (1,))
            values = every[starts].view(np.uint8)
            return pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * length), pa.py_buffer(values)
        # Values and what lies between them take turns.
        offsets = np.empty(2 * rows, dtype=np.int32)
        offsets[0::2] = starts
        offsets[1::2] = ends
        taking_turns = [None, pa.py_buffer(offsets), pa.py_buffer(self.data)]
        both = pa.Array.from_buffers(pa.string(), max(2 * rows - 1, 0), taking_turns)
        _, taken, data = both.take(pa.array(np.arange(0, 2 * rows, 2))).buffers()
        return taken, data

    def integers(self, column: int) -> pa.Array | None:
        """int64 of digits with or without a minus; an empty field is NULL. None where one has more
        than 16 digits, or is no such number."""
        read = self._numbers(self.starts[column], self.ends[column])
        if read is None:
            return None
        values, empty = read
        return pa.array(values, pa.int64(), mask=empty if empty.any() else None)

    def decimals(self, column: int, precision: int, scale: int) -> pa.Array | None:
        """decimal128(precision, scale) of numbers that show ``scale`` digits behind their point;
        an empty field is NULL. None where one is something else, or very long."""
        starts, ends = self.starts[column], self.ends[column]
        if scale > 7 or precision > kinds.DECIMAL_DIGITS:
            return None
        if scale:
            read = self._numbers_with_point(starts, ends, scale)
        else:
            read = self._numbers(starts, ends)
        if read is None:
            return None
        units, empty = read
        validity = pa.array(units, mask=empty) if empty.any() else None
        return kinds.decimals_from_units(units, validity, precision, scale)

    def dates(self, column: int, *, marked: bool = False) -> pa.Array | None:
        """date32 of YYYY-MM-DD; NULL as texts has it. None where one is no such date."""
        starts, ends = self.starts[column], self.ends[column]
        empty = starts == ends
        if empty.any() and not marked:
            return None
        if marked:
            starts = starts + ~empty
        if not ((ends - starts == _DATE) | empty).all():
            return None
        digits = self._words(ends - _DATE) ^ _DASHES
        tens, ones = (self.data.take(ends - place) - np.uint8(ord("0")) for place in (2, 1))
        # YYYY-MM- becomes 00YYYYMM.
        months = ((digits & _YEAR) << _BYTES[2]) | ((digits & _MONTH) << _BYTES[1])
        wrong = _odd(months) | ((digits & _AT_DASHES) != 0) | (tens > 9) | (ones > 9)
        if wrong.any():
            if (wrong & ~empty).any():
                return None
            months = np.where(empty, np.uint64(0), months)
        numbers = _number(months).view(np.int64)
        days = tens * np.uint8(10) + ones
        first, length = _calendar()
        wrong = (days == 0) | (days > length.take(numbers))
        if wrong.any() and (wrong & ~empty).any():
            return None
        since = first.take(numbers) + days
        mask = empty if empty.any() else None
        return pa.array(since, pa.int32(), mask=mask).cast(pa.date32())

    def _words(self, positions: Integers) -> Words:
        """The eight bytes from each position on."""
        every = np.ndarray((len(self.data) - 7,), np.dtype("<u8"), self.data, 0, (1,))
        words: Words = every[positions]
        return words

    def _numbers(self, starts: Integers, ends: Integers) -> tuple[Integers, Mask] | None:
        """Whole numbers, and which have no digit at all; None where one is no number of these."""
        lengths, negative, empty = self._lengths(starts, ends)
        if not len(lengths):
            return lengths, empty
        longest = int(lengths.max())
        if longest > 2 * 8 or not (lengths.all() or (empty | (lengths > 0)).all()):
            return None
        words = [self._words(ends - 8)]
        if longest > 8:
            words.append(self._words(ends - 16))
        found = _joined(words, lengths, negative)
        return None if found is None else (found, empty)

    def _numbers_with_point(
        self, starts: Integers, ends: Integers, scale: int
    ) -> tuple[Integers, Mask] | None:
        """Numbers of so many digits after the point, at least one before it, without the point."""
        lengths, negative, empty = self._lengths(starts, ends)
        if not len(lengths):
            return lengths, empty
        longest = int(lengths.max())
        long_enough = lengths >= scale + 2
        if longest > 2 * 8 or not (long_enough.all() or (long_enough | empty).all()):
            return None
        last = self._words(ends - 8)
        points = (last >> _BYTES[7 - scale]) & _ONE_BYTE == _POINT
        if not (points.all() or (points | empty).all()):
            return None
        # What stands before the point moves to its place.
        after = last >> _BYTES[8 - scale] << _BYTES[8 - scale]
        before = last << _BYTES[1 + scale] >> _BYTES[scale]
        words = [after | before]
        if longest > 8:
            first = self._words(ends - 16)
            words = [words[0] | first >> _BYTES[7], first << _BYTES[1]]
        found = _joined(words, np.maximum(lengths - 1, 0), negative)
        return None if found is None else (found, empty)

    def _lengths(self, starts: Integers, ends: Integers) -> tuple[Integers, Mask, Mask]:
        """Without a minus; then which have one, and which are empty."""
        lengths = ends - starts
        empty = lengths == 0
        negative = (self.data.take(starts) == ord("-")) & ~empty
        return (lengths - negative if negative.any() else lengths), negative, empty


def _joined(words: Sequence[Words], digits: Integers, negative: Mask) -> Integers | None:
    """The numbers of the last so many digits of words, the last word first."""
    total = np.zeros(0, dtype=np.uint64)
    bad: Mask | None = None
    for place, word in enumerate(words):
        read = _last_digits(word, np.maximum(digits - 8, 0) if place else digits)
        odd = _odd(read)
        bad = odd if bad is None else bad | odd
        total = total + _number(read) * np.uint64(10**8) if place else _number(read)
    if bad is None or bad.any():
        return None
    found = total.view(np.int64)
    return np.where(negative, -found, found) if negative.any() else found


class Packable(Protocol):
    """How a dialect reads one column: ``unpack``, where it may be packed, takes its field."""

    @property
    def decode(self) -> Callable[[Any], Any]: ...

    @property
    def unpack(self) -> Callable[[Fields, int], Any] | None: ...


R = TypeVar("R", bound=Packable)


@dataclass(frozen=True, slots=True)
class Arrangement(Generic[R]):
    """Columns by their positions: those that are read on their own, then groups of packed ones."""

    own: tuple[tuple[int, R], ...]
    packed: tuple[tuple[tuple[int, R], ...], ...]

    @classmethod
    def of(cls, readings: Sequence[R]) -> Arrangement[R] | None:
        """None where there are not two columns that may be packed."""
        packed = groups([i for i, r in enumerate(readings) if r.unpack is not None])
        if not packed:
            return None
        inside = {position for group in packed for position in group}
        return cls(
            tuple((i, r) for i, r in enumerate(readings) if i not in inside),
            tuple(tuple((i, readings[i]) for i in group) for group in packed),
        )

    def decode(
        self,
        own: Sequence[Any],
        texts: Sequence[pa.Array],
        filtered: Callable[[Any, pa.Array], Any],
    ) -> list[Any]:
        """What the readings make of a batch, by position: ``own`` as each takes it, and the packed
        ``texts``; ``filtered`` leaves rows out of the former that cannot be unpacked."""
        fields, kept = unpack(texts, [len(group) for group in self.packed])
        found: dict[int, Any] = {}
        for (position, reading), values in zip(self.own, own, strict=True):
            found[position] = reading.decode(values if kept is None else filtered(values, kept))
        for group, of_group in zip(self.packed, fields, strict=True):
            for number, (position, reading) in enumerate(group):
                assert reading.unpack is not None
                found[position] = reading.unpack(of_group, number)
        return [found[position] for position in range(len(found))]


def groups(positions: Sequence[int]) -> list[list[int]]:
    """Columns that can be packed, as many together as a statement may; a single one is not."""
    count = -(-len(positions) // MOST_COLUMNS)
    cut = [list(positions[number::count]) for number in range(count)]
    return [group for group in cut if len(group) > 1]


def unpack(
    arrays: Sequence[pa.Array], columns: Sequence[int]
) -> tuple[list[Fields], pa.Array | None]:
    """The packed arrays of a batch, each of so many columns; and, where rows are left out because a
    value in them holds a separator, a mask of those that are not."""
    found = [split(array, count) for array, count in zip(arrays, columns, strict=True)]
    whole = [fields for fields in found if fields is not None]
    if len(whole) == len(found):
        return whole, None
    sound = [_sound(array, count) for array, count in zip(arrays, columns, strict=True)]
    kept = pa.array(np.logical_and.reduce(sound))
    return unpack([array.filter(kept) for array in arrays], columns)[0], kept


def _sound(array: pa.Array, columns: int) -> Mask:
    """Which rows have as many separators as they should."""
    counts = pc.count_substring(array.cast(pa.binary()), SEPARATOR)
    return np.asarray(counts.to_numpy(zero_copy_only=False) == columns)


def split(array: pa.Array, columns: int) -> Fields | None:
    """A batch's packed column as its fields; None where a value holds a separator."""
    rows = len(array)
    bounds, data = buffers.strings(array, np.int32)
    first, last = int(bounds[0]), int(bounds[-1])
    padded = np.empty(_PAD + last - first + 8, dtype=np.uint8)
    padded[:_PAD] = padded[-8:] = ord("0")
    padded[_PAD:-8] = data[first:]
    places = _separators(padded, rows * columns)
    if len(places) != rows * columns:
        return None
    ends = np.ascontiguousarray(places.reshape(rows, columns).T)
    starts = np.empty_like(ends)
    if rows:
        np.add(ends[:-1], 1, out=starts[1:])
        np.add(ends[-1, :-1], 1, out=starts[0, 1:])
        starts[0, 0] = _PAD
    return Fields(padded, starts, ends, bool(padded.view(np.int8).min() > 0))


def _separators(data: npt.NDArray[np.uint8], expected: int) -> Integers:
    """The positions of separators, of which so many should be there.

    Where no more than a tenth of all is set, numpy looks for one after the other, which takes it
    15 ns each; otherwise it takes 0.4 ns a byte. So some more are set, behind the end.
    """
    size = len(data)
    more = max(size // 9 - expected, 0) if expected * _SPARSE > size else 0
    found = np.empty(size + more, dtype=np.bool_)
    np.equal(data, ord(SEPARATOR), out=found[:size])
    found[size:] = True
    places = np.flatnonzero(found)
    return places[: len(places) - more]


def _last_digits(words: Words, lengths: Integers) -> Words:
    """Only the last bytes of each word, as digits; zeros before them."""
    unused = (8 * (8 - np.minimum(lengths, 8))).view(np.uint64)
    return (words ^ _ZEROS) >> unused << unused


def _odd(digits: Words) -> Mask:
    """Which words hold something besides the digits 0 to 9."""
    return np.asarray((((digits + _SIXES) | digits) & _HIGH) != 0)


def _number(digits: Words) -> Words:
    """Eight digits, the first in the lowest byte."""
    for mask, factor, shift in _STEPS:
        digits = ((digits & mask) * factor) >> shift
    return digits


@cache
def _calendar() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """By the number YYYYMM: the day before its first, in days since 1970-01-01, and its days; no
    day at all where it is no month of the years 1 to 9999."""
    first = np.zeros(100 * (_LAST_YEAR + 1), dtype=np.int32)
    length = np.zeros(100 * (_LAST_YEAR + 1), dtype=np.uint8)
    months = np.arange("0001-01", "10000-01", dtype="datetime64[M]")
    begins = months.astype("datetime64[D]").astype(np.int64)
    ends = (months + 1).astype("datetime64[D]").astype(np.int64)
    count = np.arange(len(months))
    numbers = 100 * (count // 12 + 1) + count % 12 + 1
    first[numbers] = begins - 1
    length[numbers] = ends - begins
    return first, length
