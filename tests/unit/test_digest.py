"""The digest equals its definition on every input, and tells apart what has to be told apart."""

from __future__ import annotations

import ctypes
import inspect
import math
import mmap
import pickle
import random
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from tableferry import digest as module
from tableferry.digest import (
    BUCKETS,
    EMPTY,
    BucketedDigest,
    Digest,
    digest_batch,
    key_buckets,
    row_hashes,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "digest.md"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# The reference, word for word as docs/digest.md gives it.


def canonical(value: Any, scale: int = 0) -> Any:
    """A Python value as int, float or bytes; scale is that of a decimal's type."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return value.toordinal() - EPOCH.toordinal()
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    if isinstance(value, Decimal):
        return int(value.scaleb(scale))
    return value.encode() if isinstance(value, str) else value


def value_hash(value: int | float | bytes) -> int:
    """64 bits of a canonical value."""
    if isinstance(value, bytes):
        return xxh64_intdigest(value + bytes(-len(value) % 8), seed=len(value))
    if isinstance(value, float):
        return xxh64_intdigest(struct.pack("<d", value + 0.0 if value == value else math.nan))
    return xxh64_intdigest(struct.pack("<q", value))


def row_hash(values: list[Any]) -> int:
    """128 bits of a row of canonical values."""
    nulls = sum(1 << number for number, value in enumerate(values) if value is None)
    message = nulls.to_bytes((len(values) + 63) // 64 * 8, "little") + b"".join(
        struct.pack("<Q", 0 if value is None else value_hash(value)) for value in values
    )
    return xxh64_intdigest(message, seed=1) << 64 | xxh64_intdigest(message, seed=0)


def digest(rows: list[list[Any]]) -> tuple[int, int]:
    """Count and sum of some rows of canonical values."""
    return len(rows), sum(row_hash(row) for row in rows) % 2**128


# What the tests are made of. No deadline: on a shared machine any example can be late.

patient = settings(deadline=None)
few = settings(deadline=None, max_examples=20)

INT64 = st.integers(-(2**63), 2**63 - 1)
BOUNDARIES = (0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 255, 256, 257, 300)
LENGTHS = st.sampled_from(BOUNDARIES) | st.integers(0, 300)
BYTES = LENGTHS.flatmap(lambda length: st.binary(min_size=length, max_size=length))
TEXT = st.text(max_size=12) | LENGTHS.map(
    lambda length: "xyz-" * (length // 4) + "é" * (length % 4)
)
ZONED = st.datetimes(timezones=st.just(UTC))
KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): INT64 | st.integers(-3, 3),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): ZONED,
    pa.timestamp("us", "Asia/Tokyo"): ZONED,
    pa.float64(): st.floats() | st.sampled_from([0.0, -0.0, math.nan, -math.nan, 5e-324]),
    pa.decimal128(15, 2): st.decimals(-(10**13), 10**13, places=2).filter(
        lambda d: abs(d) < 10**13
    ),
    pa.decimal128(18, 0): st.integers(-(10**18) + 1, 10**18 - 1).map(Decimal),
    pa.decimal128(6, 6): st.integers(-9999, 9999).map(lambda n: Decimal(n).scaleb(-6)),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.binary(): BYTES,
    pa.large_binary(): BYTES,
    pa.binary(5): st.binary(min_size=5, max_size=5),
    pa.binary(16): st.binary(min_size=16, max_size=16),
    pa.binary(0): st.just(b""),
    pa.uuid(): st.uuids().map(lambda value: value.bytes),
}


@st.composite
def columns_of_rows(draw: st.DrawFn) -> list[pa.Array]:
    """One to five columns of any kinds, each a slice out of a longer array."""
    rows = draw(st.integers(0, 25))
    columns = []
    for kind in draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=5)):
        before, after = draw(st.integers(0, 10)), draw(st.integers(0, 3))
        size = before + rows + after
        value = st.none() if draw(st.integers(0, 9)) == 0 else st.none() | KINDS[kind]
        if draw(st.booleans()):
            value = KINDS[kind]
        values = draw(st.lists(value, min_size=size, max_size=size))
        columns.append(array_of(values, kind).slice(before, rows))
    return columns


def array_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.UuidType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(values, kind)


def canonical_rows(columns: Sequence[pa.Array]) -> list[list[Any]]:
    """What the reference takes, made of the values that pyarrow gives to Python."""
    plain = []
    for column in columns:
        storage = column.storage if isinstance(column, pa.ExtensionArray) else column
        scale = storage.type.scale if pa.types.is_decimal(storage.type) else 0
        plain.append([canonical(value, scale) for value in storage.to_pylist()])
    return [list(row) for row in zip(*plain, strict=True)]


def assert_as_defined(columns: Sequence[pa.Array], key: Sequence[int] = ()) -> None:
    rows = canonical_rows(columns)
    hashes = [row_hash(row) for row in rows]
    low, high = row_hashes(columns)
    assert [(h << 64) + w for w, h in zip(low.tolist(), high.tolist(), strict=True)] == hashes
    got = digest_batch(columns, key)
    assert got.digest == Digest(*digest(rows))
    sums = [(0, 0)] * BUCKETS
    numbers = []
    for row, whole in zip(rows, hashes, strict=True):
        parts = [0 if row[number] is None else value_hash(row[number]) for number in key]
        number = (sum(parts) if key else whole) % 2**64 >> 54
        count, total = sums[number]
        sums[number] = (count + 1, (total + whole) % 2**128)
        numbers.append(number)
    assert key_buckets(columns, key).tolist() == numbers
    found = zip(got.rows.tolist(), got.low.tolist(), got.high.tolist(), strict=True)
    assert [(count, w + (h << 64)) for count, w, h in found] == sums


def total(columns: Sequence[pa.Array]) -> Digest:
    return digest_batch(columns, ()).digest


def total_of(*columns: list[Any]) -> Digest:
    return total([pa.array(values) for values in columns])


@contextmanager
def small_passes() -> Iterator[None]:
    """Lets a few rows take every way through the code that otherwise needs thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FEWEST", 0)
        patch.setattr(module, "_PASS_WORDS", 40)
        patch.setattr(module, "_BLOCK_ROWS", 11)
        yield


# It is as defined.


def test_the_document_gives_this_reference_and_it_runs() -> None:
    block = DOCUMENT.read_text("utf-8").split("```python\n")[1].split("```")[0]
    functions = (canonical, value_hash, row_hash, digest)
    assert block == "\n\n".join(inspect.getsource(function) for function in functions)
    names = ("struct", "math", "xxh64_intdigest", "Any", "Decimal", "EPOCH", "UTC")
    known = {name: globals()[name] for name in (*names, "date", "datetime", "time", "timedelta")}
    exec(block, known)
    columns = [pa.array([1, 2, None]), pa.array(["a", None, "a longer one"])]
    rows = [[1, b"a"], [2, None], [None, b"a longer one"]]
    assert Digest(*known["digest"](rows)) == digest_batch(columns, (0,)).digest


def test_the_documents_example() -> None:
    got = total_of([1, 2], ["a", None])
    assert f'digest([[1, b"a"], [2, None]])` is\n`(2, 0x{got.hex()})`' in DOCUMENT.read_text(
        "utf-8"
    )


def test_the_definition_has_not_moved() -> None:
    columns = [
        pa.array([0, -1, 2**63 - 1]),
        pa.array([None, "", "thirty-three bytes of text, or so"]),
        pa.array([-0.0, math.nan, 1.5]),
    ]
    assert digest_batch(columns, (0,)).digest.hex() == "a0d4eca479105f33e88513773b759f8c"


@patient
@given(columns=columns_of_rows(), data=st.data())
def test_it_equals_the_reference(columns: list[pa.Array], data: st.DataObject) -> None:
    key = data.draw(st.lists(st.integers(0, len(columns) - 1), max_size=3, unique=True))
    assert_as_defined(columns, key)


@patient
@given(columns=columns_of_rows(), data=st.data())
def test_it_equals_the_reference_in_groups_and_passes(
    columns: list[pa.Array], data: st.DataObject
) -> None:
    key = data.draw(st.lists(st.integers(0, len(columns) - 1), max_size=3, unique=True))
    with small_passes():
        assert_as_defined(columns, key)


@few
@given(
    seed=st.integers(0, 2**32),
    lengths=st.lists(LENGTHS, min_size=1, max_size=4),
    skipped=st.integers(0, 9),
    null_share=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_many_rows_equal_the_reference(
    seed: int, lengths: list[int], skipped: int, null_share: float
) -> None:
    rng = random.Random(seed)

    def array(kind: pa.DataType, make: Any) -> pa.Array:
        values = [None if rng.random() < null_share else make() for _ in range(400 + skipped)]
        return pa.array(values, kind).slice(skipped)

    columns = [
        array(pa.int64(), lambda: rng.randrange(-(2**63), 2**63)),
        array(pa.binary(), lambda: rng.randbytes(rng.choice(lengths))),
        array(pa.date32(), lambda: date.fromordinal(rng.randrange(730_000, 730_050))),
        array(pa.large_string(), lambda: rng.choice("αβ€") * (rng.choice(lengths) // 3)),
        array(pa.binary(lengths[0]), lambda: rng.randbytes(lengths[0])),
        array(pa.int64(), lambda: rng.choice([-(2**63), -(2**63) + 1])),
        array(pa.int64(), lambda: rng.choice([2**63 - 1, 2**63 - 2])),
    ]
    assert_as_defined(columns, (2, 0))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(1)])
def test_strings_of_one_byte_equal_the_reference(kind: pa.DataType) -> None:
    values = [bytes([number]) for number in range(256)]
    assert_as_defined([pa.array(values, kind)])
    assert_as_defined([pa.array(["x", None, "y"], pa.string()).slice(1)])
    # As many bytes as rows, but not one in each.
    assert_as_defined([pa.array([b"", b"ab", b"c"])])


@pytest.mark.parametrize("count", [1, 63, 64, 65, 130])
def test_any_number_of_columns(count: int) -> None:
    columns = [
        pa.array([number, None if number % 3 else 7, number % 2 or None]) for number in range(count)
    ]
    assert_as_defined(columns, (count - 1,))


@patient
@given(columns=columns_of_rows(), data=st.data())
def test_it_does_not_depend_on_how_batches_are_cut(
    columns: list[pa.Array], data: st.DataObject
) -> None:
    rows = len(columns[0])
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    bounds = [0, *cuts, rows]
    pieces = BucketedDigest.empty()
    for start, stop in pairwise(bounds):
        part = [column.slice(start, stop - start) for column in columns]
        copied = [pa.concat_arrays([array, array.slice(0, 0)]) for array in part]
        assert not digest_batch(part, (0,)).differing(digest_batch(copied, (0,)))
        pieces += digest_batch(part, (0,))
    whole = digest_batch(columns, (0,))
    assert pieces.differing(whole) == ()
    assert pieces.digest == whole.digest


@patient
@given(columns=columns_of_rows(), data=st.data())
def test_it_does_not_depend_on_the_order_of_rows(
    columns: list[pa.Array], data: st.DataObject
) -> None:
    order = pa.array(data.draw(st.permutations(range(len(columns[0])))), pa.int64())
    shuffled = [column.take(order) for column in columns]
    assert digest_batch(shuffled, ()).differing(digest_batch(columns, ())) == ()


@patient
@given(st.lists(INT64 | st.none()))
def test_kinds_of_one_word_are_the_integers_that_they_hold(values: list[int | None]) -> None:
    numbers = pa.array(values, pa.int64())
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us")):
        assert total([numbers.view(kind)]) == total([numbers])


@patient
@given(st.lists(BYTES | st.none()))
def test_text_and_bytes_of_all_widths_are_the_same(values: list[bytes | None]) -> None:
    kinds = (pa.binary(), pa.large_binary())
    assert len({total([pa.array(values, kind)]) for kind in kinds}) == 1


def test_floats_that_compare_equal_or_are_nan_are_one_value() -> None:
    bits = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF]
    nans = np.array(bits, dtype=np.uint64).view(np.float64)
    low, _ = row_hashes([pa.array(nans, from_pandas=False)])
    assert len(set(low.tolist())) == 1
    assert total_of([0.0, 1.0]) == total_of([-0.0, 1.0])
    assert total_of([0.0]) != total_of([5e-324])
    assert total_of([math.inf]) != total_of([-math.inf])


# It tells apart what differs.


def test_values_swapped_between_rows_are_seen() -> None:
    assert total_of([1, 2], ["a", "b"]) != total_of([1, 2], ["b", "a"])


def test_values_swapped_between_columns_are_seen() -> None:
    assert total_of([1], [2]) != total_of([2], [1])


def test_repeated_rows_are_seen() -> None:
    assert total_of([7]) != total_of([7, 7, 7])
    assert total_of([7, 7, 8]) != total_of([7, 8, 8])
    assert total_of([7, 7]).rows == 2


def test_neighbours_do_not_run_into_each_other() -> None:
    assert total_of(["ab"], ["c"]) != total_of(["a"], ["bc"])
    assert total_of([None, "x"], ["a", "x"]) != total_of(["a", "x"], [None, "x"])


def test_null_empty_and_zero_are_three_values() -> None:
    nothing: list[int | None] = [None]
    kinds = [
        total([pa.array(nothing, pa.string())]),
        total_of([""]),
        total_of([0]),
        total_of([0.5]),
        total_of(["\0"]),
        total_of(["\0\0"]),
        total_of(["a"]),
        total_of(["a\0"]),
    ]
    assert len(set(kinds)) == len(kinds)
    assert total([pa.array(nothing, pa.int64())]) == kinds[0]


@patient
@given(INT64, INT64)
def test_different_numbers_differ(one: int, other: int) -> None:
    assert (total_of([one]) == total_of([other])) == (one == other)


@patient
@given(st.binary(max_size=40), st.binary(max_size=40))
def test_different_strings_differ(one: bytes, other: bytes) -> None:
    assert (total_of([one]) == total_of([other])) == (one == other)


# Digests are small values.


@patient
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**128 - 1)), max_size=5))
def test_digests_add_up_modulo_two_to_the_128(parts: list[tuple[int, int]]) -> None:
    result = sum((Digest(*part) for part in parts), EMPTY)
    assert result.rows == sum(rows for rows, _ in parts)
    assert result.total == sum(value for _, value in parts) % 2**128
    assert int(result.hex(), 16) == result.total
    assert len(result.hex()) == 32


@patient
@given(st.lists(st.integers(0, 2**128 - 1), min_size=2, max_size=6))
def test_bucketed_sums_carry(values: list[int]) -> None:
    result = BucketedDigest.empty()
    for value in values:
        part = BucketedDigest.empty()
        part.rows[5], part.low[5], part.high[5] = 1, value % 2**64, value >> 64
        result += part
    assert result.digest == Digest(len(values), sum(values) % 2**128)
    assert result.differing(BucketedDigest.empty()) == (5,)


def test_only_the_buckets_of_changed_keys_differ() -> None:
    keys = pa.array(range(5000))
    values = list(range(5000))
    before = digest_batch([keys, pa.array(values)], (0,))
    values[17], values[4000] = -1, values[4000] + 1
    changed = [keys, pa.array(values)]
    expected = {int(key_buckets(changed, (0,))[number]) for number in (17, 4000)}
    assert set(digest_batch(changed, (0,)).differing(before)) == expected
    assert before.differing(before) == ()


def test_both_survive_pickling() -> None:
    bucketed = digest_batch([pa.array(range(100))], (0,))
    copy = pickle.loads(pickle.dumps(bucketed))
    assert copy.differing(bucketed) == ()
    assert copy.digest == bucketed.digest == pickle.loads(pickle.dumps(bucketed.digest))


# Arrays come as drivers make them.


@pytest.mark.parametrize("kind", list(KINDS), ids=str)
def test_no_rows_and_only_nulls(kind: pa.DataType) -> None:
    empty = digest_batch([array_of([], kind)], (0,))
    assert empty.digest == EMPTY
    assert_as_defined([array_of([None] * 9, kind)], (0,))
    assert_as_defined([array_of([None] * 9, kind).slice(3, 5)], (0,))


def test_what_null_slots_hold_does_not_matter() -> None:
    validity = pa.py_buffer(bytes([0b101]))
    garbage = np.array([[1, 0], [5, 99], [3, 0]], dtype=np.int64)
    kind = pa.decimal128(15, 2)
    numbers = pa.Array.from_buffers(kind, 3, [validity, pa.py_buffer(garbage)])
    offsets = pa.py_buffer(np.array([0, 1, 4, 5], dtype=np.int32))
    strings = pa.Array.from_buffers(pa.string(), 3, [validity, offsets, pa.py_buffer(b"axyzb")])
    clean = [pa.array([Decimal("0.01"), None, Decimal("0.03")], kind), pa.array(["a", None, "b"])]
    assert total([numbers, strings]) == total(clean)


def unreadable_after(content: bytes) -> pa.Buffer:
    """The content in memory after which no byte can be read: trying ends the process."""
    size = -(-max(len(content), 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, size + mmap.PAGESIZE)
    pages[size - len(content) : size] = content
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    guard = ctypes.c_void_p(address + size)
    assert ctypes.CDLL(None).mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    return pa.foreign_buffer(address + size - len(content), len(content), base=pages)


def assert_not_read_past_its_end(array: pa.Array) -> None:
    buffers = [buffer and buffer.to_pybytes() for buffer in array.buffers()]
    # nbytes leaves out the last offset
    assert sum(len(buffer) for buffer in buffers if buffer) - array.nbytes in (0, 4, 8)
    guarded = [None if buffer is None else unreadable_after(buffer) for buffer in buffers]
    column = pa.Array.from_buffers(array.type, len(array), guarded)
    assert total([column]) == total([array])
    assert total([column.slice(3)]) == total([array.slice(3)])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != pa.uuid()], ids=str)
@few
@given(data=st.data())
def test_no_buffer_is_read_past_its_end(kind: pa.DataType, data: st.DataObject) -> None:
    values = st.lists(st.none() | KINDS[kind], min_size=5, max_size=20)
    with small_passes():
        assert_not_read_past_its_end(pa.array(data.draw(values), kind))


@pytest.mark.parametrize("length", BOUNDARIES)
def test_strings_in_groups_are_not_read_past_their_end(length: int) -> None:
    assert_not_read_past_its_end(pa.array([b"x" * length] * 200 + [b""] * 100))
    assert_not_read_past_its_end(pa.array([b""] * 100 + [b"x" * length] * 200))


@pytest.mark.parametrize(
    "kind",
    [
        pa.int32(),
        pa.uint64(),
        pa.float32(),
        pa.timestamp("ns"),
        pa.timestamp("s"),
        pa.time64("ns"),
        pa.time32("ms"),
        pa.date64(),
        pa.duration("us"),
        pa.decimal128(19, 2),
        pa.decimal256(15, 2),
        pa.null(),
        pa.string_view(),
        pa.list_(pa.int64()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_other_types_are_refused(kind: pa.DataType) -> None:
    for rows in (0, 1):
        with pytest.raises(TypeError, match="no digest is defined"):
            digest_batch([pa.array([None] * rows, kind)], (0,))


@pytest.mark.parametrize("columns", [[], [pa.array([1]), pa.array([1, 2])]], ids=["none", "uneven"])
def test_columns_that_make_no_rows_are_refused(columns: list[pa.Array]) -> None:
    with pytest.raises(ValueError, match="columns of equal length"):
        digest_batch(columns, ())
    with pytest.raises(ValueError, match="columns of equal length"):
        row_hashes(columns)


def test_a_decimal_outside_its_precision_is_refused() -> None:
    words = pa.py_buffer(np.array([1, 0, 1, 1], dtype=np.int64))
    column = pa.Array.from_buffers(pa.decimal128(15, 2), 2, [None, words])
    with pytest.raises(ValueError, match="more digits"):
        total([column])
    assert total([column.slice(0, 1)]) == total_of([1])
