"""How arrays of a kind are stored in a column of SQLite. Pure.

The driver binds int64, double, string and binary as INTEGER, REAL, TEXT and BLOB, and NaN as NULL.
So a number that SQLite has none for stands as text, under its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from tableferry import kinds, temporal
from tableferry.dialects.sqlite.values import any_parts
from tableferry.model import Kind, ReadColumn


@dataclass(frozen=True, slots=True)
class Stored:
    """The arrays of which each row has its value in at most one; all but the first are for values
    of other storage classes, and most columns have none."""

    arrays: tuple[pa.Array, ...]


def stored(array: pa.Array, column: ReadColumn) -> Stored:
    """Values of the column's kind as the driver takes them."""
    kind = column.kind
    match kind.name:
        case "float":
            return _floats(array)
        case "decimal":
            return _decimals(array, kind)
        case "number":
            return _numbers(array)
        case "uuid":
            return Stored((kinds.uuids_to_text(array),))
        case "any":
            return Stored(any_parts(array))
        case name if name in temporal.KINDS:
            return Stored((temporal.spell(array, kind),))
    return Stored((array,))


def _floats(array: pa.Array) -> Stored:
    nan = pc.is_nan(array).fill_null(False)
    if not pc.any(nan).as_py():
        return Stored((array,))
    (name,) = kinds.NUMBER_NAMES["float"]
    names = pc.if_else(nan, pa.scalar(name), pa.scalar(None, pa.string()))
    return Stored((pc.if_else(nan, None, array), names))


def _decimals(array: pa.Array, kind: Kind) -> Stored:
    numbers, names = kinds.decimals_to_doubles(array, kind)
    if kind.scale == 0:
        numbers = numbers.cast(pa.int64())
    return Stored((numbers,) if names is None else (numbers, names))


def _numbers(array: pa.Array) -> Stored:
    broken = pc.match_substring(array, ".").fill_null(False)
    integers = pc.if_else(broken, None, array).cast(pa.int64())
    if not pc.any(broken).as_py():
        return Stored((integers,))
    reals = pc.if_else(broken, array, None).cast(pa.float64())
    return Stored((reals,) if integers.null_count == len(array) else (integers, reals))


def parameters(columns: Sequence[Stored]) -> list[str]:
    """The expression of each column's value; its arrays are one parameter each, in their order."""
    numbers = iter(range(1, sum(len(column.arrays) for column in columns) + 1))
    values = []
    for column in columns:
        own = [f"?{next(numbers)}" for _ in column.arrays]
        values.append(own[0] if len(own) == 1 else f"coalesce({', '.join(own)})")
    return values


def insertion(table: str, names: Sequence[str], columns: Sequence[Stored]) -> str:
    """The statement that takes the columns' arrays, one parameter each, in their order."""
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(parameters(columns))})"


def batch_of(columns: Sequence[Stored]) -> pa.RecordBatch:
    arrays = [array for column in columns for array in column.arrays]
    return pa.record_batch(arrays, names=[str(i) for i in range(len(arrays))])


def is_plain(columns: Sequence[Stored]) -> bool:
    return all(len(column.arrays) == 1 for column in columns)
