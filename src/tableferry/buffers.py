"""The memory of Arrow arrays as numpy arrays, without a copy. Pure.

Arrays may be sliced in any way, and their buffers may be anything a driver hands over: none is
read past its end ("Arrow Columnar Format", physical memory layout).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def fixed(array: pa.Array, kind: type[np.generic], width: int = 1) -> npt.NDArray[Any]:
    """The values of an array that takes ``width`` items of this kind each, one after the other;
    null slots hold anything. Raises ValueError where the buffer is too short, as all of these do.
    """
    return _items(array, 1, kind, array.offset * width, len(array) * width)


def bits(array: pa.Array, number: int = 1) -> npt.NDArray[np.bool_]:
    """The array's part of a buffer that holds one bit for each value."""
    first, skipped = divmod(array.offset, 8)
    packed = _items(array, number, np.uint8, first, -(-(skipped + len(array)) // 8))
    unpacked = np.unpackbits(packed, bitorder="little")
    return unpacked[skipped : skipped + len(array)].view(np.bool_)


def nulls(array: pa.Array) -> npt.NDArray[np.bool_] | None:
    """Which values are NULL, if any is."""
    return ~bits(array, 0) if array.null_count else None


def units(array: pa.Array) -> npt.NDArray[np.int64]:
    """The scaled integers of decimal128 of at most 18 digits, which fit the lower of the two words
    that each takes. Raises ValueError where one that is not NULL has more digits."""
    low, high = fixed(array, np.int64, 2).reshape(-1, 2).T
    wrong = low >> 63 != high
    if wrong.any():
        absent = nulls(array)
        if absent is None or (wrong & ~absent).any():
            raise ValueError(f"a value of type {array.type} has more digits than that allows")
    return low


def strings(
    array: pa.Array, kind: type[np.generic]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Offsets of this kind, one more than there are values, and the bytes: value i is
    data[offsets[i]:offsets[i + 1]], as null slots are, whatever they hold."""
    if not len(array):
        return np.zeros(1, kind), np.empty(0, np.uint8)
    offsets = _items(array, 1, kind, array.offset, len(array) + 1)
    return offsets, _items(array, 2, np.uint8, 0, int(offsets[-1]))


def _items(
    array: pa.Array, number: int, kind: type[np.generic], start: int, count: int
) -> npt.NDArray[Any]:
    if not count:
        return np.empty(0, kind)
    offset = start * np.dtype(kind).itemsize
    return np.frombuffer(array.buffers()[number], kind, count, offset)
