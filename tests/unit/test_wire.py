"""What COPY is sent says every value of a batch, however its arrays are cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.dialects.postgresql import wire

EPOCH = date(2000, 1, 1)
BASE = 10_000


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    near = [0, 1, -1, most, -most, 10**scale % most]
    chosen = st.one_of(st.integers(-most, most), st.sampled_from(near))
    return chosen.map(lambda units: Decimal(units).scaleb(-scale))


def whole(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int16(), whole(16)),
    (pa.int32(), whole(32)),
    (pa.int64(), whole(64)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.string(), st.text(max_size=20)),
    (pa.string(), st.text(st.characters(codec="ascii"), min_size=3, max_size=3)),
    (pa.binary(), st.binary(max_size=20)),
    (pa.binary(16), st.binary(min_size=16, max_size=16)),
    *[
        (pa.decimal128(p, s), decimals(p, s))
        for p, s in [(15, 2), (1, 0), (18, 0), (18, 18), (18, 17), (4, 4), (18, 5), (9, 3)]
    ],
]


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    chosen = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=5))
    rows = draw(st.integers(0, 12))
    columns = []
    for kind, values in chosen:
        filled = draw(st.booleans())
        each = values if filled else st.one_of(st.none(), values)
        columns.append(pa.array(draw(st.lists(each, min_size=rows, max_size=rows)), kind))
    batch = pa.record_batch(columns, names=[f"c{i}" for i in range(len(columns))])
    return batch.slice(draw(st.integers(0, 3)))


def fields(data: bytes, columns: int) -> Iterator[list[bytes | None]]:
    """Rows as COPY's documentation says they are written."""
    place = 0
    while place < len(data):
        (count,) = struct.unpack_from(">h", data, place)
        assert count == columns
        place += 2
        row: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from(">i", data, place)
            place += 4
            row.append(None if length == -1 else data[place : place + length])
            place += max(length, 0)
        yield row
    assert place == len(data)


def value(kind: pa.DataType, field: bytes) -> Any:
    """What the server's receive function would make of it."""
    if pa.types.is_decimal(kind):
        count, weight, sign, scale = struct.unpack_from(">hhHH", field)
        digits = struct.unpack(f">{count}h", field[8:])
        assert sign in (0, 0x4000)
        assert scale == kind.scale
        assert all(0 <= digit < BASE for digit in digits)
        # Beyond the scale numeric_recv would cut.
        number = sum(
            Decimal(digit).scaleb(4 * (weight - i)) for i, digit in enumerate(digits)
        ) + Decimal(0)
        assert number == round(number, scale)
        return -number if sign else number
    if pa.types.is_date(kind):
        return EPOCH + timedelta(days=struct.unpack(">i", field)[0])
    if pa.types.is_time(kind):
        return pa.scalar(struct.unpack(">q", field)[0], pa.int64()).cast(kind).as_py()
    if pa.types.is_boolean(kind):
        return {b"\0": False, b"\1": True}[field]
    if pa.types.is_string(kind):
        return field.decode()
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return field
    return np.frombuffer(field, np.dtype(kind.to_pandas_dtype()).newbyteorder(">"))[0].item()


@given(batches(), st.sampled_from([1, 30, 200, wire._BLOCK_BYTES]))
def test_every_row_says_its_values(batch: pa.RecordBatch, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_BLOCK_BYTES", block)
        data = b"".join(map(bytes, wire.rows(batch)))
    found = [
        {
            name: None if field is None else value(kind, field)
            for name, kind, field in zip(batch.schema.names, batch.schema.types, row, strict=True)
        }
        for row in fields(data, batch.num_columns)
    ]
    assert found == batch.to_pylist()


@pytest.mark.parametrize("large", [False, True])
def test_null_slots_may_hold_anything(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a gigabyte take the same way as these do with ``large``."""
    if large:
        monkeypatch.setattr(wire, "_LARGE_BYTES", 0)
    valid = pa.py_buffer(b"\x05")
    numbers = pa.py_buffer(np.array([1, 2**62, 3], np.int64))
    units = pa.py_buffer(np.array([[100, 0], [10**17, 0], [-250, -1]], np.int64))
    offsets = pa.py_buffer(np.array([0, 1, 5, 7], np.int32))
    columns = [
        pa.Array.from_buffers(pa.int64(), 3, [valid, numbers]),
        pa.Array.from_buffers(pa.decimal128(18, 2), 3, [valid, units]),
        pa.Array.from_buffers(pa.string(), 3, [valid, offsets, pa.py_buffer(b"alostbc")]),
    ]
    batch = pa.record_batch(columns, names=["n", "d", "t"])
    data = b"".join(map(bytes, wire.rows(batch)))
    rows = list(fields(data, 3))
    assert rows[1] == [None, None, None]
    first, _, last = (
        [f and value(kind, f) for kind, f in zip(batch.schema.types, row, strict=True)]
        for row in rows
    )
    assert first == [1, Decimal("1.00"), "a"]
    assert last == [3, Decimal("-2.50"), "bc"]


def test_a_type_that_is_not_known_is_refused() -> None:
    batch = pa.record_batch([pa.array([1], pa.uint8())], names=["a"])
    with pytest.raises(TypeError, match="uint8"):
        list(wire.rows(batch))


def test_a_number_of_too_many_digits_is_refused() -> None:
    values = pa.array([Decimal(2**64)], pa.decimal128(38, 0))
    with pytest.raises(ValueError, match="more digits"):
        list(wire.rows(pa.record_batch([values], names=["a"])))
