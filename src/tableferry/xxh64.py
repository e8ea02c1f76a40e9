"""XXH64 of many equally long messages at once: the same few operations on whole columns of words.

Steps and constants are those of the xxHash specification, section "XXH64 algorithm", for messages
that are whole words of eight bytes. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

# Bytes are looked at as words where they lie, which takes a little-endian machine as Arrow does.
Words = npt.NDArray[np.uint64]

_KEEP = (1 << 64) - 1
_PRIME1 = 0x9E3779B185EBCA87
_PRIME2 = 0xC2B2AE3D27D4EB4F
_PRIME3 = 0x165667B19E3779F9
_PRIME4 = 0x85EBCA77C2B2AE63
_PRIME5 = 0x27D4EB2F165667C5
LANES = 4


def word(value: int) -> Words:
    """A 0-d array: as an operand it costs numpy less than one of its own scalars."""
    return np.array(value & _KEEP, dtype=np.uint64)


def _lanes(*values: int) -> Words:
    """Shape (4, 1): one word for each lane of XXH64."""
    return np.array([value & _KEEP for value in values], dtype=np.uint64)[:, None]


_P1, _P2, _P3, _P4 = map(word, (_PRIME1, _PRIME2, _PRIME3, _PRIME4))
_LANE_STARTS = _lanes(_PRIME1 + _PRIME2, _PRIME2, 0, -_PRIME1)
_LANE_TURNS = _lanes(1, 7, 12, 18)
BITS = [word(bits) for bits in range(65)]
ALL_ONES = word(_KEEP)


class Scratch:
    """Arrays that are written again for every block: fresh memory costs more than the hash."""

    def __init__(self) -> None:
        self._flat: dict[str, Words] = {}

    def words(self, name: str, *shape: int) -> Words:
        """An array of this shape with anything in it; it is the caller's until the next call."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.size < size:
            flat = self._flat[name] = np.empty(size, dtype=np.uint64)
        return flat[:size].reshape(shape)


def cut(start: int, stop: int, step: int) -> Iterator[slice]:
    """Cuts a range into slices of at most step, or of one if that is less."""
    for begin in range(start, stop, max(1, step)):
        yield slice(begin, min(begin + max(1, step), stop))


def xxh64(words: Words, seeds: Words, out: Words, scratch: Scratch) -> None:
    """Writes XXH64 of each column of words, shape (count, n), to out, shape (..., n).

    The seeds' shape broadcasts to that of out. The words are overwritten. Steps and constants are
    those of the xxHash specification, section "XXH64 algorithm".
    """
    count, length = words.shape
    spare = scratch.words("spare", *out.shape)
    np.multiply(words, _P2, out=words)
    striped = count - count % LANES
    if striped:
        lanes = scratch.words("lanes", *out.shape[:-1], LANES, length)
        turned = scratch.words("turned", *lanes.shape)
        np.add(words[:LANES], _LANE_STARTS + seeds[..., None, :], out=lanes)
        _mix(lanes, turned)
        for stripe in range(LANES, striped, LANES):
            lanes += words[stripe : stripe + LANES]
            _mix(lanes, turned)
        _merge(lanes, turned, out, scratch)
        state = np.add(out, word(8 * count), out=out)
    else:
        state = seeds + word(_PRIME5 + 8 * count)
    tail = words[striped:]
    if len(tail):
        _mix(tail, scratch.words("turned", *tail.shape))
    for last in tail:
        state = np.bitwise_xor(state, last, out=out)
        _rotate(out, 27, spare)
        np.multiply(out, _P1, out=out)
        np.add(out, _P4, out=out)
    _avalanche(state, out, spare)


def _rotate(words: Words, bits: int, spare: Words) -> None:
    np.left_shift(words, BITS[bits], out=spare)
    np.right_shift(words, BITS[64 - bits], out=words)
    np.bitwise_or(words, spare, out=words)


def _mix(words: Words, spare: Words) -> None:
    """The part of a round that follows the multiplication by the second prime."""
    _rotate(words, 31, spare)
    np.multiply(words, _P1, out=words)


def _merge(lanes: Words, spare: Words, out: Words, scratch: Scratch) -> None:
    """Brings the lanes, shape (..., 4, n), which are overwritten, together in out."""
    right = scratch.words("right", *lanes.shape)
    np.left_shift(lanes, _LANE_TURNS, out=spare)
    np.right_shift(lanes, BITS[64] - _LANE_TURNS, out=right)
    np.bitwise_or(spare, right, out=spare)
    np.add(spare[..., 0, :], spare[..., 1, :], out=out)
    np.add(out, spare[..., 2, :], out=out)
    np.add(out, spare[..., 3, :], out=out)
    np.multiply(lanes, _P2, out=lanes)
    _mix(lanes, spare)
    for lane in range(LANES):
        np.bitwise_xor(out, lanes[..., lane, :], out=out)
        np.multiply(out, _P1, out=out)
        np.add(out, _P4, out=out)


def _avalanche(state: Words, out: Words, spare: Words) -> None:
    """The last step, from state, whose shape broadcasts to that of out."""
    np.right_shift(state, BITS[33], out=spare)
    np.bitwise_xor(state, spare, out=out)
    np.multiply(out, _P2, out=out)
    np.right_shift(out, BITS[29], out=spare)
    np.bitwise_xor(out, spare, out=out)
    np.multiply(out, _P3, out=out)
    np.right_shift(out, BITS[32], out=spare)
    np.bitwise_xor(out, spare, out=out)
