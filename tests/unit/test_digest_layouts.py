"""A digest is one of values: not of how a driver lays them out in buffers, cuts them into batches,
which worker reads which part, or in which order the parts come in."""

from __future__ import annotations

import math
import pickle
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.test_digest import KINDS, array_of, columns_of_rows, small_passes

from tableferry.digest import BucketedDigest, digest_batch, key_buckets

# Types whose values have one digest, since they are the same bytes.
_ALIKE: dict[pa.DataType, tuple[pa.DataType, ...]] = {
    pa.string(): (pa.large_string(), pa.binary(), pa.large_binary()),
    pa.large_string(): (pa.string(), pa.binary()),
    pa.binary(): (pa.large_binary(),),
    pa.large_binary(): (pa.binary(),),
    pa.binary(5): (pa.binary(), pa.large_binary()),
    pa.binary(16): (pa.binary(), pa.large_binary(), pa.uuid()),
    pa.binary(0): (pa.binary(),),
    pa.uuid(): (pa.binary(16), pa.binary()),
    pa.int64(): (pa.timestamp("us"), pa.time64("us")),
    pa.timestamp("us"): (pa.int64(), pa.timestamp("us", "UTC")),
    pa.timestamp("us", "UTC"): (pa.timestamp("us"), pa.timestamp("us", "Asia/Tokyo")),
    pa.decimal128(15, 2): (pa.decimal128(18, 2),),
    pa.decimal128(6, 6): (pa.decimal128(9, 6),),
}
_NANS = (0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF)


def laid_out(column: pa.Array, rng: random.Random) -> pa.Array:
    """The same values in other buffers: with rows before and after, with anything in the slots of
    NULLs, with a validity bitmap that may not be needed, in a type that counts as the same."""
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    before, after = rng.randrange(11), rng.randrange(4)
    total = before + len(storage) + after
    valid = [rng.random() < 0.5 for _ in range(total)]
    valid[before : before + len(storage)] = storage.is_valid().to_pylist()
    bitmap = _bits(valid)
    # Without a NULL, a driver may leave the bitmap away.
    validity = None if not storage.null_count and rng.random() < 0.5 else bitmap
    if _is_strings(storage):
        texts = storage.cast(pa.large_binary()).to_pylist()
        array = _strings(texts, storage.type, validity, before, after, rng)
    elif pt.is_boolean(storage.type):
        bits = [rng.random() < 0.5 for _ in range(total)]
        for i, value in enumerate(storage.to_pylist()):
            bits[before + i] = bits[before + i] if value is None else value
        array = pa.Array.from_buffers(storage.type, total, [validity, _bits(bits)])
    else:
        array = _fixed(storage, validity, before, after, rng)
    return _retyped(array.slice(before, len(storage)), column.type, rng)


def _bits(values: Sequence[bool]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little").tobytes())


def _is_strings(array: pa.Array) -> bool:
    return not pt.is_fixed_size_binary(array.type) and (
        pt.is_string(array.type)
        or pt.is_binary(array.type)
        or pt.is_large_string(array.type)
        or pt.is_large_binary(array.type)
    )


def _strings(
    values: Sequence[bytes | None],
    kind: pa.DataType,
    validity: pa.Buffer | None,
    before: int,
    after: int,
    rng: random.Random,
) -> pa.Array:
    pieces = [b"junk" * rng.randrange(3)]
    pieces += [b"before" * rng.randrange(2) for _ in range(before)]
    pieces += [b"garbage" * rng.randrange(3) if value is None else value for value in values]
    pieces += [b"after" * rng.randrange(2) for _ in range(after)]
    wide = pt.is_large_string(kind) or pt.is_large_binary(kind)
    offsets = np.cumsum([len(piece) for piece in pieces]).astype(np.int64 if wide else np.int32)
    data = pa.py_buffer(b"".join(pieces) + b"beyond")
    return pa.Array.from_buffers(
        kind, len(pieces) - 1, [validity, pa.py_buffer(offsets.tobytes()), data]
    )


def _fixed(
    storage: pa.Array,
    validity: pa.Buffer | None,
    before: int,
    after: int,
    rng: random.Random,
) -> pa.Array:
    width = storage.type.bit_width // 8
    data = storage.buffers()[1]
    start = storage.offset * width
    given = data.to_pybytes()[start : start + len(storage) * width] if data is not None else b""
    given = given.ljust(len(storage) * width, b"\0")
    pieces = [rng.randbytes(width) for _ in range(before)]
    for i, is_valid in enumerate(storage.is_valid().to_pylist()):
        pieces.append(given[i * width : (i + 1) * width] if is_valid else rng.randbytes(width))
    pieces += [rng.randbytes(width) for _ in range(after)]
    if pt.is_float64(storage.type):
        pieces = [_other_spelling(piece, rng) for piece in pieces]
    buffers = [validity, pa.py_buffer(b"".join(pieces))]
    return pa.Array.from_buffers(storage.type, before + len(storage) + after, buffers)


def _other_spelling(piece: bytes, rng: random.Random) -> bytes:
    """Any NaN for a NaN, and either zero for a zero."""
    (value,) = struct.unpack("<d", piece)
    if math.isnan(value):
        return struct.pack("<Q", rng.choice(_NANS))
    return struct.pack("<d", rng.choice([0.0, -0.0])) if value == 0.0 else piece


def _retyped(array: pa.Array, kind: pa.DataType, rng: random.Random) -> pa.Array:
    choices = (None, *_ALIKE.get(kind, ()))
    other = rng.choice(choices)
    if other is None:
        return array
    if isinstance(other, pa.UuidType):
        return pa.ExtensionArray.from_storage(other, array)
    if pt.is_timestamp(array.type) or pt.is_int64(array.type):
        return array.view(other)
    if pt.is_decimal(array.type):
        # The digits stay; only what the type would allow is wider.
        return pa.Array.from_buffers(other, len(array), array.buffers(), offset=array.offset)
    return array.cast(other)


def of(columns: Sequence[pa.Array], key: Sequence[int]) -> BucketedDigest:
    return digest_batch(list(columns), key)


def same(one: BucketedDigest, other: BucketedDigest) -> bool:
    return one.differing(other) == () and one.digest == other.digest


@settings(deadline=None)
@given(columns=columns_of_rows(), seed=st.integers(0, 2**32), data=st.data())
def test_it_does_not_depend_on_the_layout(
    columns: list[pa.Array], seed: int, data: st.DataObject
) -> None:
    rng = random.Random(seed)
    key = data.draw(st.lists(st.integers(0, len(columns) - 1), max_size=3, unique=True))
    others = [laid_out(column, rng) for column in columns]
    for other, column in zip(others, columns, strict=True):
        assert other.is_valid().to_pylist() == column.is_valid().to_pylist()
    assert same(of(others, key), of(columns, key))
    assert key_buckets(others, key).tolist() == key_buckets(columns, key).tolist()


@settings(deadline=None)
@given(columns=columns_of_rows(), seed=st.integers(0, 2**32), data=st.data())
def test_it_does_not_depend_on_who_reads_what_and_when(
    columns: list[pa.Array], seed: int, data: st.DataObject
) -> None:
    """Two sides of one table: other orders, ranges, batches, layouts, and orders of merging."""
    rng = random.Random(seed)
    key = data.draw(st.lists(st.integers(0, len(columns) - 1), max_size=3, unique=True))
    with small_passes():
        assert same(side(columns, key, rng), side(columns, key, rng))
    assert same(side(columns, key, rng), of(columns, key))


def side(columns: Sequence[pa.Array], key: Sequence[int], rng: random.Random) -> BucketedDigest:
    """The digest as workers make it: each the batches of some ranges, added up on the way home."""
    rows = len(columns[0])
    order = list(range(rows))
    rng.shuffle(order)
    table = [column.take(pa.array(order, pa.int64())) for column in columns]
    cuts = sorted(rng.choices(range(rows + 1), k=rng.randrange(6)))
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, rows], strict=True):
        batch = [laid_out(column.slice(start, stop - start), rng) for column in table]
        parts.append(of(batch, key))
    while len(parts) > 1:
        rng.shuffle(parts)
        one, other = parts.pop(), pickle.loads(pickle.dumps(parts.pop()))
        parts.append(one + other)
    return parts[0]


@pytest.mark.parametrize("kind", list(KINDS), ids=str)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_one_other_value_is_seen_in_any_layout(kind: pa.DataType, data: st.DataObject) -> None:
    """Without this, a digest of nothing would pass all others here."""
    values = data.draw(st.lists(st.none() | KINDS[kind], min_size=1, max_size=20))
    at = data.draw(st.integers(0, len(values) - 1))
    other = data.draw(st.none() | KINDS[kind])
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    changed = [*values[:at], other, *values[at + 1 :]]
    numbers = pa.array(range(len(values)))
    one = of([numbers, laid_out(array_of(values, kind), rng)], (0,))
    two = of([numbers, laid_out(array_of(changed, kind), rng)], (0,))
    assert same(one, two) == _equal(values[at], other)
    if not same(one, two):
        assert one.differing(two) == (int(key_buckets([numbers.slice(at, 1)], (0,))[0]),)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


@pytest.mark.parametrize("make", [pa.string, pa.large_string, pa.binary, pa.large_binary])
def test_the_values_of_both_sides_are_alike(make: Callable[[], pa.DataType]) -> None:
    """One side reads text as text, the other may have read it as bytes."""
    texts = ["", "a", "ä漢🦆", None, "x" * 300, "x" * 8]
    as_text = of([pa.array(texts, pa.string())], ())
    given = [None if text is None else text.encode() for text in texts]
    assert same(of([pa.array(given, pa.binary()).cast(make())], ()), as_text)
