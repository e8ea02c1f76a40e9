"""Arrays of SQLite's values by their storage classes."""

from __future__ import annotations

import struct

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tableferry.dialects.sqlite.values import any_parts

CELLS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.binary(max_size=20),
)


def as_any(value: object) -> bytes | None:
    """A value of kind any: a letter for its storage class, and its bytes."""
    match value:
        case int():
            return b"i" + value.to_bytes(8, "little", signed=True)
        case float():
            return b"r" + struct.pack("<d", value)
        case str():
            return b"t" + value.encode()
        case bytes():
            return b"b" + value
    return None


@given(st.lists(CELLS, max_size=30), st.integers(0, 5))
def test_values_of_any_class_are_parted_and_lose_nothing(cells: list[object], skipped: int) -> None:
    array = pa.array(map(as_any, cells), pa.binary()).slice(skipped)
    parts = [part.to_pylist() for part in any_parts(array)]

    rows = list(zip(*parts, strict=True))
    for row, value in zip(rows, cells[skipped:], strict=True):
        assert [part for part in row if part is not None] == ([] if value is None else [value])
        classes = [int, float, str, bytes]
        assert all(p is None or type(p) is c for p, c in zip(row, classes, strict=True))
