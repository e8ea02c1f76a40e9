"""Digests of rows that do not depend on their order: plain XXH64, computed column by column.

A value becomes 64 bits, a row becomes 128 bits, and a set of rows becomes their number and their
sum modulo 2^128. docs/digest.md defines every step and gives a reference of a few lines, which the
functions here equal on every input. XXH64 over equally many 8-byte words is the same short series
of multiplications, rotations and additions for every row, so numpy runs it over whole columns;
only long strings, and lengths that are rare, go to the xxhash package one by one.

Columns are Arrow arrays of the types below, sliced in any way and with any buffers a driver may
hand over: none is read past its end.

    int64, bool, date32, time64[us], timestamp[us], float64, decimal128(p <= 18, s)
    string, large_string, binary, large_binary, fixed_size_binary
    extension types stored as one of these
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
import xxhash

from tableferry import buffers
from tableferry.model import Spread
from tableferry.xxh64 import ALL_ONES, BITS, LANES, Scratch, Words, cut, word, xxh64

BUCKETS = 1024
"""Number of buckets that rows fall into by their key, so that a search reads few rows again."""

# Words held for one block of rows (16 MiB), and rows in a block at most: enough rows to make the
# cost of calling numpy small, and few enough for the cache even in a table of many columns.
_BLOCK_WORDS = 1 << 21
_BLOCK_ROWS = 1 << 16
# Words in one call of the hash, few enough for its operands to stay in the cache.
_PASS_WORDS = 1 << 17
# Strings of more words than this are hashed by the xxhash package one by one, as are those of
# lengths that only few rows share: fewer than this times (8 + words), measured to be break-even.
_LONGEST = 32
_FEWEST = 8
# Values of one word are looked up in a table that is smaller than their number by this factor.
_LOOKUPS = 4

_LARGEST = (1 << 63) - 1
_LOW_HALF = word(0xFFFFFFFF)
_NO_SEED: Words = np.zeros(1, dtype=np.uint64)
_ROW_SEEDS: Words = np.array([[0], [1]], dtype=np.uint64)
_BUCKET_SHIFT = BITS[64 - (BUCKETS - 1).bit_length()]
_CANONICAL_NAN = word(0x7FF8000000000000)


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of a set of rows: how many, and the sum of their 128-bit hashes.

    Two tables hold the same rows, whatever their order, when their digests are equal.
    """

    rows: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(self.rows + other.rows, (self.total + other.total) % (1 << 128))

    def hex(self) -> str:
        """The sum as 32 hexadecimal digits."""
        return f"{self.total:032x}"


EMPTY = Digest()


@dataclass(frozen=True, slots=True, eq=False)
class BucketedDigest:
    """A digest for each bucket of the key's hash.

    rows (int64), low and high (uint64, the halves of the 128-bit sums) have shape (BUCKETS,).
    """

    rows: npt.NDArray[np.int64]
    low: Words
    high: Words

    @classmethod
    def empty(cls) -> BucketedDigest:
        low, high = np.zeros((2, BUCKETS), dtype=np.uint64)
        return cls(np.zeros(BUCKETS, dtype=np.int64), low, high)

    def __add__(self, other: BucketedDigest) -> BucketedDigest:
        low = self.low + other.low
        carry = low < self.low
        return BucketedDigest(self.rows + other.rows, low, self.high + other.high + carry)

    @property
    def digest(self) -> Digest:
        """The digest of all rows."""
        total = sum(self.low.tolist()) + (sum(self.high.tolist()) << 64)
        return Digest(int(self.rows.sum()), total % (1 << 128))

    def alike(self, other: BucketedDigest, buckets: Sequence[int]) -> bool:
        """Whether these buckets hold the same rows."""
        return not set(buckets) & set(self.differing(other))

    def differing(self, other: BucketedDigest) -> tuple[int, ...]:
        """The buckets, ascending, whose rows are not the same on both sides."""
        same = (self.rows == other.rows) & (self.low == other.low) & (self.high == other.high)
        return tuple(np.flatnonzero(~same).tolist())


Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class HashedRows:
    """Rows by 64 bits of their key's hash and of their own, in one order; both of shape (rows,).
    That two of ten million rows share such a hash by chance happens once in 300,000 times."""

    keys: Words
    rows: Words

    def where(self, kept: npt.NDArray[np.bool_]) -> HashedRows:
        return HashedRows(self.keys[kept], self.rows[kept])

    @classmethod
    def joined(cls, parts: Sequence[HashedRows]) -> HashedRows:
        none: Words = np.empty(0, np.uint64)
        return cls(
            np.concatenate([none, *(part.keys for part in parts)]),
            np.concatenate([none, *(part.rows for part in parts)]),
        )


def digest_batch(
    columns: Sequence[pa.Array], key: Sequence[int], spread: Spread | None = None
) -> BucketedDigest:
    """The digest of a batch of rows, put in buckets by the columns whose numbers are in key: by
    their hashes or, with a spread, by ranges of the first, which is an int64.

    Without a key, a row's own hash decides its bucket. Raises TypeError for a column of a type
    that has no canonical bytes, and ValueError for no columns, columns of unequal length, or a
    decimal that its precision does not allow.
    """
    digest = BucketedDigest.empty()
    scratch = Scratch()
    in_order = _spread_buckets(columns[key[0]], spread) if spread is not None else None
    for rows, message in _messages(columns, scratch):
        if in_order is not None:
            of_key: npt.NDArray[np.int64] | None = in_order[rows]
        else:
            values = message[_mark_words(len(columns)) :]
            of_key = _buckets(values, key) if key else None
        hashes = _row_hashes(message, scratch)
        digest += _bucket_sums(_buckets(hashes, (0,)) if of_key is None else of_key, hashes)
    return digest


def row_hashes(columns: Sequence[pa.Array]) -> tuple[Words, Words]:
    """The low and the high half of each row's hash, in order; raises as digest_batch does."""
    hashes = np.empty((2, len(columns[0]) if columns else 0), dtype=np.uint64)
    scratch = Scratch()
    for rows, message in _messages(columns, scratch):
        hashes[:, rows] = _row_hashes(message, scratch)
    return hashes[0], hashes[1]


def key_hashes(columns: Sequence[pa.Array], key: Sequence[int], rows: Words) -> Words:
    """64 bits of each key's hash; without a key, those of the ``rows``, the low halves of their
    hashes."""
    return row_hashes([columns[number] for number in key])[0] if key else rows


def key_buckets(
    columns: Sequence[pa.Array], key: Sequence[int], spread: Spread | None = None
) -> npt.NDArray[np.int64]:
    """The bucket in which digest_batch puts each row, in order; raises as it does.

    With a key, only the key's columns are read.
    """
    if spread is not None:
        return _spread_buckets(columns[key[0]], spread)
    if not key:
        low, _ = row_hashes(columns)
        return _buckets(low[None], (0,))
    chosen = [columns[number] for number in key]
    buckets = np.empty(len(chosen[0]), dtype=np.int64)
    for rows, message in _messages(chosen, Scratch()):
        buckets[rows] = _buckets(message[_mark_words(len(key)) :], range(len(key)))
    return buckets


def sum_buckets(buckets: npt.NDArray[np.int64], low: Words, high: Words) -> BucketedDigest:
    """The digest of rows by their buckets and the halves of their hashes, all of shape (rows,)."""
    digest = BucketedDigest.empty()
    hashes = np.stack([low, high])
    for some in cut(0, len(buckets), _BLOCK_ROWS):
        digest += _bucket_sums(buckets[some], np.ascontiguousarray(hashes[:, some]))
    return digest


def spread_over(low: int, high: int) -> Spread:
    """The finest spread whose buckets reach from one value to another."""
    shift = 0
    while (high - low) >> shift >= BUCKETS:
        shift += 1
    return Spread(low, shift)


def spread_ends(spread: Spread, first: int, last: int) -> tuple[int | None, int | None]:
    """The values that buckets ``first`` to ``last`` (not included) hold, as half-open bounds."""
    lower, upper = (spread.lower + (number << spread.shift) for number in (first, last))
    return (
        lower if first > 0 else None,
        upper if last < BUCKETS and upper <= _LARGEST else None,
    )


def _spread_buckets(column: pa.Array, spread: Spread) -> npt.NDArray[np.int64]:
    """Without a value a row is in the first bucket."""
    values = buffers.fixed(column, np.int64)
    # Unsigned, since two integers of 64 bits may lie further apart than a signed one reaches.
    above = values.view(np.uint64) - word(spread.lower)
    buckets: npt.NDArray[np.int64] = np.minimum(above >> BITS[spread.shift], BUCKETS - 1).astype(
        np.int64
    )
    buckets[values < spread.lower] = 0
    nulls = buffers.nulls(column)
    if nulls is not None:
        buckets[nulls] = 0
    return buckets


def _buckets(hashes: Words, numbers: Sequence[int]) -> npt.NDArray[np.int64]:
    """The top bits of the sum of the hashes with these numbers; hashes is (columns, rows)."""
    total = hashes[numbers[0]]
    for number in numbers[1:]:
        total = total + hashes[number]
    top: Words = total >> _BUCKET_SHIFT
    return top.view(np.int64)


def _bucket_sums(buckets: npt.NDArray[np.int64], hashes: Words) -> BucketedDigest:
    """Sums the row hashes of one block, shape (2, rows), in each bucket.

    numpy sums by group in float64 only. That is exact here: of less than 2^21 rows, the sums of
    32-bit pieces stay below 2^53.
    """
    assert len(buckets) < 1 << 21
    pieces = hashes.view(np.uint32).reshape(2, len(buckets), 2)
    sums = [
        np.bincount(buckets, weights=pieces[half, :, piece], minlength=BUCKETS).astype(np.uint64)
        for half in (0, 1)
        for piece in (0, 1)
    ]
    middle = sums[1] + (sums[0] >> BITS[32])
    low = (middle << BITS[32]) | (sums[0] & _LOW_HALF)
    high = sums[2] + (sums[3] << BITS[32]) + (middle >> BITS[32])
    return BucketedDigest(np.bincount(buckets, minlength=BUCKETS), low, high)


def _mark_words(columns: int) -> int:
    """Words that hold one NULL mark for each column."""
    return -(-columns // 64)


def _messages(columns: Sequence[pa.Array], scratch: Scratch) -> Iterator[tuple[slice, Words]]:
    """The rows of the columns, block by block, as the words that a row's hash is taken of.

    The words have shape (mark words + columns, rows), and are overwritten for the next block.
    """
    if len({len(column) for column in columns}) != 1:
        raise ValueError("a digest needs at least one column, and columns of equal length")
    opened = [_open(column) for column in columns]
    marks = _mark_words(len(columns))
    height = marks + len(columns)
    for rows in cut(0, len(columns[0]), min(_BLOCK_ROWS, _BLOCK_WORDS // height)):
        message = scratch.words("message", height, rows.stop - rows.start)
        message[:marks] = 0
        for number, (column, nulls) in enumerate(opened):
            hashes = message[marks + number]
            column.hash_rows(rows, hashes, scratch)
            if nulls is not None:
                hashes[nulls[rows]] = 0
                message[number // 64] |= nulls[rows].astype(np.uint64) << BITS[number % 64]
        yield rows, message


def _row_hashes(message: Words, scratch: Scratch) -> Words:
    """Shape (2, rows): low and high halves. The message is overwritten."""
    rows = message.shape[1]
    hashes = scratch.words("hashes", 2, rows)
    for some in cut(0, rows, _PASS_WORDS // (2 * LANES)):
        xxh64(message[:, some], _ROW_SEEDS, hashes[:, some], scratch)
    return hashes


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A column of one word a value, as the numbers that it holds; null slots hold anything."""

    values: npt.NDArray[Any]

    def hash_rows(self, rows: slice, out: Words, scratch: Scratch) -> None:
        values = self.values[rows]
        words = scratch.words("words", len(out))
        if values.dtype == np.float64:
            _canonical_floats(values, words)
        else:
            np.copyto(words.view(np.int64), values)
        _hash_words(words, out, scratch)


def _hash_words(words: Words, out: Words, scratch: Scratch) -> None:
    """Hashes values of one word, which are overwritten.

    Where they lie close together, as dates and small numbers do, each number of their range is
    hashed once and looked up from then on, which takes less than half the time.
    """
    numbers = words.view(np.int64)
    least = int(numbers.min())
    span = int(numbers.max()) - least + 1
    if span <= len(words) // _LOOKUPS:
        table: Words = (np.arange(span) + least).view(np.uint64)
        hashes = np.empty_like(table)
        xxh64(table[None], _NO_SEED, hashes, scratch)
        numbers -= least
        hashes.take(numbers, out=out, mode="clip")
    else:
        for some in cut(0, len(words), _PASS_WORDS):
            xxh64(words[None, some], _NO_SEED, out[some], scratch)


def _canonical_floats(values: npt.NDArray[np.float64], out: Words) -> None:
    with np.errstate(invalid="ignore"):
        np.add(values, 0.0, out=out.view(np.float64))  # -0.0 + 0.0 is 0.0
    out[np.isnan(values)] = _CANONICAL_NAN


@dataclass(frozen=True, slots=True)
class _Strings:
    """A column of byte strings: value i is data[offsets[i]:offsets[i + 1]]."""

    offsets: npt.NDArray[Any]
    data: npt.NDArray[np.uint8]

    def hash_rows(self, rows: slice, out: Words, scratch: Scratch) -> None:
        offsets = self.offsets[rows.start : rows.stop + 1].astype(np.int64)
        data = self.data[offsets[0] : offsets[-1]]
        offsets -= offsets[0]
        starts, lengths = offsets[:-1], np.diff(offsets)
        if len(data) > 8 * _LONGEST * len(out):
            _hash_singly(data, starts, lengths, out)
            return
        if len(data) == len(out) and (lengths == 1).all():
            _byte_hashes().take(data, out=out, mode="clip")
            return
        counts = np.minimum((lengths + 7) >> 3, _LONGEST + 1).astype(np.uint8)
        if counts.min() == counts.max():
            ends = [0] * int(counts[0]) + [len(out)]
            _hash_sorted(data, starts, lengths, ends, out, scratch)
            return
        ends = np.cumsum(np.bincount(counts)).tolist()
        order = np.argsort(counts, kind="stable")
        hashes = scratch.words("sorted", len(out))
        _hash_sorted(data, starts[order], lengths[order], ends, hashes, scratch)
        out[order] = hashes


@cache
def _byte_hashes() -> Words:
    """The hashes of the strings of one byte, by that byte."""
    words = np.arange(256, dtype=np.uint64)
    hashes = np.empty_like(words)
    xxh64(words[None], np.ones(1, dtype=np.uint64), hashes, Scratch())
    return hashes


def _hash_sorted(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    ends: list[int],
    out: Words,
    scratch: Scratch,
) -> None:
    """Hashes strings that come ordered by the number of words that they fill.

    Those that fill i words end before ends[i].
    """
    words = np.zeros(len(data) // 8 + 2, dtype=np.uint64)
    words.view(np.uint8)[: len(data)] = data
    begin = 0
    for count, end in enumerate(ends):
        if count > _LONGEST or end - begin < _FEWEST * (8 + count):
            alike = slice(begin, end)
            _hash_singly(data, starts[alike], lengths[alike], out[alike])
        else:
            for some in cut(begin, end, _PASS_WORDS // max(count, 1)):
                padded = _gather(words, starts[some], lengths[some], count, scratch)
                xxh64(padded, lengths[some].view(np.uint64), out[some], scratch)
        begin = end


def _hash_singly(
    data: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    out: Words,
) -> None:
    """Hashes strings one by one with the xxhash package."""
    view = data.data
    for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        state = xxhash.xxh64(view[start : start + length], seed=length)
        state.update(bytes(-length % 8))
        out[number] = state.intdigest()


def _gather(
    words: Words,
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    count: int,
    scratch: Scratch,
) -> Words:
    """Strings that fill count words, padded with zeros, as an array of shape (count, strings).

    words hold the strings' bytes one after the other, and one more word than those need; a string
    begins at any byte, so each of its words is put together from two of theirs.
    """
    padded = scratch.words("padded", count, len(starts))
    here, there, spare = scratch.words("gathered", 3, len(starts))
    first = starts >> 3
    right = (starts.view(np.uint64) & BITS[7]) << BITS[3]
    left = BITS[64] - right  # 64 where a string is aligned: numpy shifts the other word to zero
    words.take(first, out=here, mode="clip")
    for number in range(count):
        words[number + 1 :].take(first, out=there, mode="clip")
        np.right_shift(here, right, out=padded[number])
        np.left_shift(there, left, out=spare)
        np.bitwise_or(padded[number], spare, out=padded[number])
        here, there = there, here
    if count:
        unused = 8 * (8 * count - lengths)
        padded[-1] &= ALL_ONES >> unused.view(np.uint64)
    return padded


def _open(column: pa.Array) -> tuple[_Numbers | _Strings, npt.NDArray[np.bool_] | None]:
    """The column's values, and which of them are NULL if any is."""
    while isinstance(column, pa.ExtensionArray):
        column = column.storage
    return _values(column), buffers.nulls(column)


def _values(column: pa.Array) -> _Numbers | _Strings:
    kind = column.type
    micros = (pt.is_time64(kind) or pt.is_timestamp(kind)) and kind.unit == "us"
    if pt.is_int64(kind) or micros:
        return _Numbers(buffers.fixed(column, np.int64))
    if pt.is_boolean(kind):
        return _Numbers(buffers.bits(column))
    if pt.is_date32(kind):
        return _Numbers(buffers.fixed(column, np.int32))
    if pt.is_float64(kind):
        return _Numbers(buffers.fixed(column, np.float64))
    if pt.is_decimal128(kind) and kind.precision <= 18:
        return _Numbers(buffers.units(column))
    if pt.is_fixed_size_binary(kind):
        return _equal_strings(column)
    if pt.is_string(kind) or pt.is_binary(kind):
        return _strings(column, np.int32)
    if pt.is_large_string(kind) or pt.is_large_binary(kind):
        return _strings(column, np.int64)
    raise TypeError(f"no digest is defined for Arrow values of type {kind}")


def _strings(column: pa.Array, kind: type[np.generic]) -> _Strings:
    return _Strings(*buffers.strings(column, kind))


def _equal_strings(column: pa.Array) -> _Strings:
    width = column.type.byte_width
    offsets = np.arange(len(column) + 1, dtype=np.int64) * width
    return _Strings(offsets, buffers.fixed(column, np.uint8, width))
