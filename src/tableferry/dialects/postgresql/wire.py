"""Record batches as the server's COPY takes them in binary. Pure.

A row is the number of its fields and then each field: its length in bytes, -1 for NULL, and as many
bytes, in network byte order ("COPY", Binary Format). What the bytes are is for a type's receive
function to say: numbers as they are, dates and times counted from 2000-01-01 ("Date/Time Types",
section 8.5), numeric in digits of base 10,000 (numeric_recv, src/backend/utils/adt/numeric.c).

Fields that are of one width in all rows of a block lie side by side in one numpy array; only what
is left is put together row by row, by Arrow. ADBC's driver takes 50 to 150 ns a value for what
costs 10 so: see docs/decisions/0002-copy-encoder.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from tableferry import buffers

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# Bytes of a block of rows, which stays in the cache while its fields are laid out.
_BLOCK_BYTES = 2 << 20
# From these bytes on offsets of 32 bits could be too few for a block, which is then a single row.
_LARGE_BYTES = 1 << 30

_EPOCH_DAY = np.int32(10_957)  # 2000-01-01, in days since 1970-01-01
_NULL = pa.scalar(b"\xff\xff\xff\xff", pa.binary())
_NEGATIVE = 0x4000
_DIGITS = 4  # decimal digits in one of base 10,000

Words: TypeAlias = npt.NDArray[np.uint64]
# Of each row the same number of items of a numpy type.
Items: TypeAlias = tuple[str, npt.NDArray[Any] | int]


def rows(batch: pa.RecordBatch) -> Iterator[memoryview]:
    """The rows of a batch, some at a time, to be sent between HEADER and TRAILER.

    Columns may be bool, int16, int32, int64, float32, float64, date32, time64[us], decimal128 of at
    most 18 digits, string, binary, fixed_size_binary: the receiving column's type has to be the one
    that is sent so. Raises TypeError for others.
    """
    step = max(1, _BLOCK_BYTES // max(1, batch.nbytes // max(1, batch.num_rows)))
    for first in range(0, batch.num_rows, step):
        yield _block(batch.slice(first, step))


def _block(batch: pa.RecordBatch) -> memoryview:
    pieces: list[pa.Array] = []
    fixed = _Fixed(batch.num_rows)
    fixed.put((">i2", batch.num_columns))
    for column in batch.columns:
        if _is_string(column.type):
            _put_strings(column, fixed, pieces)
        elif column.null_count:
            field = _Fixed(batch.num_rows)
            field.put(*_field(column))
            fixed.end(pieces)
            pieces.append(pc.if_else(column.is_valid(), field.strings(), _NULL))
        else:
            fixed.put(*_field(column))
    if not pieces:
        return fixed.bytes()
    fixed.end(pieces)
    large = sum(piece.nbytes for piece in pieces) > _LARGE_BYTES
    if large:
        pieces = [piece.cast(pa.large_binary()) for piece in pieces]
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pieces[0].type))
    return buffers.strings(joined, np.int64 if large else np.int32)[1].data


class _Fixed:
    """Items of a fixed width, side by side in every row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._items: list[Items] = []

    def put(self, *items: Items) -> None:
        self._items += items

    def end(self, pieces: list[pa.Array]) -> None:
        """What was put so far becomes a piece of its own."""
        if self._items:
            pieces.append(self.strings())
            self._items = []

    def bytes(self) -> memoryview:
        return self._laid_out().view(np.uint8).data

    def strings(self) -> pa.Array:
        """binary: of each row all of its items."""
        values = self._laid_out()
        offsets = np.arange(self._rows + 1, dtype=np.int32) * np.int32(values.itemsize)
        return pa.Array.from_buffers(
            pa.binary(), self._rows, [None, pa.py_buffer(offsets), pa.py_buffer(values)]
        )

    def _laid_out(self) -> npt.NDArray[np.void]:
        names = [f"f{number}" for number in range(len(self._items))]
        kinds = [kind for kind, _ in self._items]
        values = np.empty(self._rows, np.dtype(list(zip(names, kinds, strict=True))))
        for name, (_, value) in zip(names, self._items, strict=True):
            values[name] = value
        return values


def _field(column: pa.Array) -> list[Items]:
    """Length and bytes of values of one width; null slots hold anything."""
    kind = column.type
    if pt.is_boolean(kind):
        return [(">i4", 1), ("u1", buffers.bits(column))]
    if pt.is_date32(kind):
        # Infinity has wrapped around when it was read, and does so again.
        return [(">i4", 4), (">i4", buffers.fixed(column, np.int32) - _EPOCH_DAY)]
    if pt.is_time64(kind) and kind.unit == "us":
        return [(">i4", 8), (">i8", buffers.fixed(column, np.int64))]
    if pt.is_decimal128(kind):
        return _numeric(column)
    for numbers in (np.int16, np.int32, np.int64, np.float32, np.float64):
        if kind == pa.from_numpy_dtype(numbers):
            of_type = np.dtype(numbers)
            network = of_type.newbyteorder(">").str
            return [(">i4", of_type.itemsize), (network, buffers.fixed(column, numbers))]
    raise TypeError(f"values of Arrow type {kind} cannot be sent")


def _numeric(column: pa.Array) -> list[Items]:
    """As many digits of base 10,000 in every row as the longest value of the block needs: the
    server passes over zeros at both ends."""
    scale = column.type.scale
    units = buffers.units(column)
    absent = buffers.nulls(column)
    if absent is not None:
        # Else what stands in null slots would say how many digits there are.
        units = np.where(absent, 0, units)
    negative = units < 0
    whole, fraction = _divided(np.abs(units).view(np.uint64), 10**scale)
    after = -(-scale // _DIGITS)
    before = 0
    largest = int(whole.max()) if len(whole) else 0
    while largest >= 10_000**before:
        before += 1
    count = before + after
    signs = np.where(negative, _NEGATIVE, 0) if negative.any() else 0
    digits: list[Items] = [(">i2", digit) for digit in _digits(whole, before)]
    digits += [(">i2", digit) for digit in _digits_after(fraction, scale)]
    head: list[Items] = [(">i4", 8 + 2 * count), (">i2", count), (">i2", before - 1)]
    return [*head, (">i2", signs), (">i2", scale), *digits]


def _divided(words: Words, by: int) -> tuple[Words, Words]:
    """Quotients and remainders; numpy's own divmod takes five times as long."""
    quotients = words // np.uint64(by)
    return quotients, words - quotients * np.uint64(by)


def _digits(whole: Words, count: int) -> list[Words]:
    """The last so many digits of base 10,000, the first of them first."""
    digits = []
    for _ in range(count - 1):
        whole, digit = _divided(whole, 10_000)
        digits.append(digit)
    return [whole, *digits[::-1]] if count else []


def _digits_after(fraction: Words, scale: int) -> list[Words]:
    missing = -scale % _DIGITS
    if not missing:
        return _digits(fraction, scale // _DIGITS)
    # The last has fewer decimal digits, and zeros behind them.
    above, rest = _divided(fraction, 10 ** (_DIGITS - missing))
    return [*_digits(above, scale // _DIGITS), rest * np.uint64(10**missing)]


def _is_string(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_binary(kind) or pt.is_fixed_size_binary(kind))


def _put_strings(column: pa.Array, fixed: _Fixed, pieces: list[pa.Array]) -> None:
    if pt.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    if column.null_count:
        fixed.put((">i4", pc.fill_null(pc.binary_length(column), -1).to_numpy()))
        fixed.end(pieces)
        pieces.append(column.cast(pa.binary()).fill_null(b""))
        return
    offsets, data = buffers.strings(column, np.int32)
    lengths = np.diff(offsets)
    fixed.put((">i4", lengths))
    if len(lengths) and (lengths == lengths[0]).all():
        if lengths[0]:
            alike = f"V{lengths[0]}"
            fixed.put((alike, data[offsets[0] :].view(alike)))
        return
    fixed.end(pieces)
    pieces.append(column.cast(pa.binary()))
