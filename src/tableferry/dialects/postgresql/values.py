"""PostgreSQL values as kinds: what is selected, and how arrays are made and stored. Pure.

Read as they are where the driver is exact; as text where it is not, or is slow (numeric).
Dates and timestamps wrap around in the driver at the ends of PostgreSQL's range, infinity among
them, without two becoming one: ``temporal`` reads and spells the integers that come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tableferry import kinds, packing, temporal
from tableferry.dialects.base import ColumnValues, Decoded
from tableferry.dialects.postgresql.types import fraction_digits, kind_of
from tableferry.errors import MisfitFound
from tableferry.model import Candidate, Kind, ReadColumn
from tableferry.packing import Arrangement, Fields
from tableferry.sql import quote

_SEPARATOR = f"chr({ord(packing.SEPARATOR)})"
_INTS = {"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64()}


@dataclass(frozen=True, slots=True)
class Reading:
    """How one column is read: its expression, the Arrow type that must arrive, the decoder.

    ``unpack`` is there where the value may be packed with others: see packing.py.
    """

    expression: str
    arrives: pa.DataType
    decode: Callable[[pa.Array], pa.Array]
    unpack: Callable[[Fields, int], pa.Array] | None = None
    # What is packed, and is never NULL.
    packed: str = ""
    # The value's text, where it may hold a separator.
    text: str = ""


@dataclass(frozen=True, slots=True)
class Packing:
    """Readings of which some are packed: what the statement reads, and what becomes of it.

    ``separated`` is the condition of the rows that ``decode`` leaves out.
    """

    readings: tuple[Reading, ...]
    arrangement: Arrangement[Reading]
    separated: str

    def decode(self, arrays: Sequence[pa.Array]) -> list[pa.Array]:
        """By position of the column."""
        first = len(self.arrangement.own)
        return self.arrangement.decode(arrays[:first], arrays[first:], pa.Array.filter)


def packing_of(readings: Sequence[Reading]) -> Packing | None:
    """The readings with their short values packed; None where there are not two of them."""
    arrangement = Arrangement.of(readings)
    if arrangement is None:
        return None
    # Some collations allow no search; no number and no date holds a separator.
    separated = [
        f'strpos(({r.text}) COLLATE "C", {_SEPARATOR}) > 0'
        for group in arrangement.packed
        for _, r in group
        if r.text
    ]
    return Packing(
        (*(reading for _, reading in arrangement.own), *map(_packed, arrangement.packed)),
        arrangement,
        f"({' OR '.join(separated) or 'false'})",
    )


def _packed(group: Sequence[tuple[int, Reading]]) -> Reading:
    # An argument of any type stands there by its text ("String Functions and Operators", section
    # 9.4). NULLs would be passed over.
    values = ", ".join(reading.packed for _, reading in group)
    return Reading(f"concat_ws({_SEPARATOR}, {values}, '')", pa.string(), _same)


def _same(array: pa.Array) -> pa.Array:
    return array


def reading(column: ReadColumn) -> Reading:
    value = f"t.{quote(column.column.name)}"
    declared = column.column.declared
    own = kind_of(declared)
    kind = column.kind
    marked = column.column.nullable
    if own is None or own.name != kind.name:
        return _text_reading(text_of(column), kind, marked=marked)
    match kind.name:
        case "int":
            return Reading(
                value,
                _INTS[declared],
                lambda array: array.cast(pa.int64()),
                None if marked else lambda fields, number: _from_field(fields, number, kind),
                value,
            )
        case "float" if declared == "real":
            return Reading(value, pa.float32(), kinds.shortest_doubles)
        case "decimal":
            return Reading(
                text_of(column),
                pa.string(),
                lambda array: from_text(array, kind),
                lambda fields, number: _from_field(fields, number, kind),
                f"coalesce({text_of(column)}, '')" if marked else value,
            )
        case "numeric" | "json":
            return _text_reading(text_of(column), kind, marked=marked)
        case "uuid":
            return Reading(value, pa.uuid(), lambda array: array.storage)
        case "text":
            # Made text, a character(n) would lose the blanks at its end.
            packed = f"CASE WHEN {value} IS NULL THEN '' ELSE concat('{packing.MARK}', {value}) END"
            return replace(
                _text_reading(value, kind, marked=marked),
                packed=packed if marked else value,
                text=f"{value}::text",
            )
    # A date's text takes the server longer to make than the driver takes to hand its number over.
    return Reading(value, kinds.arrow_type(kind), _same)


def text_of(column: ReadColumn) -> str:
    """The expression of a column's text."""
    # That of money depends on the server's locale (section 8.2).
    exact = "::numeric" if column.column.declared == "money" else ""
    return f"t.{quote(column.column.name)}{exact}::text"


def _text_reading(text: str, kind: Kind, *, marked: bool) -> Reading:
    return Reading(
        text,
        pa.string(),
        lambda array: from_text(array, kind),
        lambda fields, number: from_text(fields.texts(number, marked=marked), kind),
        f"coalesce('{packing.MARK}' || {text}, '')" if marked else text,
        text,
    )


def _from_field(fields: Fields, number: int, kind: Kind) -> pa.Array:
    """A kind none of whose values has an empty text."""
    match kind.name:
        case "int":
            found = fields.integers(number)
        case _:
            found = fields.decimals(number, kind.precision, kind.scale)
    if found is not None:
        return found
    return from_text(fields.texts(number, empty_is_null=True), kind)


def from_text(array: pa.Array, kind: Kind) -> pa.Array:
    """Values of a kind from PostgreSQL's text of them. Raises MisfitFound where one is none."""
    match kind.name:
        case "text" | "json" | "native":
            return array
        case "numeric":
            return kinds.canonical_numerics(array)
        case "number":
            if kinds.number_misfits(array) is not None:
                raise MisfitFound("a value is no number of SQLite's", columns=[])
            return array
        case "bytes":
            return array.cast(pa.binary())
    try:
        if kind.name == "decimal":
            return kinds.texts_to_decimals(array, kind)
        if kind.name in temporal.KINDS:
            return temporal.cast(array, kind)
        values = array.cast(kinds.arrow_type(kind))
        if kind.name == "int" and not values.cast(pa.string()).equals(array):
            raise MisfitFound(f"a value is no {kind.name}", columns=[])
        return values
    except pa.ArrowInvalid as error:
        raise MisfitFound(f"a value is no {kind.name}", columns=[]) from error


class Texts(ColumnValues):
    """A batch of one column's values as PostgreSQL's text of them."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def misfits(self, candidate: Candidate) -> list[int]:
        """Only of a numeric it is open what it may be; any other type says what it holds."""
        bad = None
        if candidate.kind == kinds.NUMBER:
            bad = kinds.number_misfits(self._array)
        elif candidate.kind.name == "decimal" and not candidate.merges:
            bad = kinds.named_decimals(from_text(self._array, candidate.kind), candidate.kind)
        return [] if bad is None else np.flatnonzero(bad).tolist()

    def decode(self, candidate: Candidate) -> Decoded:
        return Decoded(from_text(self._array, candidate.kind))

    def classes(self) -> frozenset[str]:
        return frozenset()

    def show(self, position: int) -> str:
        value = self._array[position].as_py()
        return "NULL" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Storing:
    """How an array of a kind goes into a column: as ``arrow_type`` after ``encode``, or, where the
    driver cannot send the type, as text into a staging table and from there by a cast."""

    arrow_type: pa.DataType
    encode: Callable[[pa.Array], pa.Array]
    staged: bool = False


def storing(column: ReadColumn) -> Storing:
    declared = column.column.declared
    own = kind_of(declared)
    if own is None or own.name != column.kind.name:
        return Storing(pa.string(), lambda array: _as_text(array, column.kind), staged=True)
    if own.name == "numeric":
        return Storing(pa.string(), _same, staged=True)
    if own.name == "decimal" and column.merges:
        return Storing(
            pa.string(), lambda array: kinds.decimals_to_texts(array, column.kind), staged=True
        )
    if declared == "real":
        return Storing(pa.float32(), lambda array: array.cast(pa.float32()))
    if own.name == "int":
        return Storing(_INTS[declared], lambda array: array.cast(_INTS[declared]))
    if own.name in ("timestamp", "timestamptz"):
        # The driver refuses a timestamp that wrapped around, but sends an integer of the same
        # width as it is; what it then is, is the server's own form of a timestamp.
        return Storing(pa.int64(), _own_microseconds)
    return Storing(kinds.arrow_type(column.kind), _same)


def _as_text(array: pa.Array, kind: Kind) -> pa.Array:
    return temporal.spell(array, kind) if kind.name in temporal.KINDS else array.cast(pa.string())


def _own_microseconds(array: pa.Array) -> pa.Array:
    """Timestamps as PostgreSQL counts them, from 2000-01-01; this wraps around, as it has to."""
    return pc.subtract(array.cast(pa.int64()), temporal.EPOCH_MICROSECONDS)


def misfits(array: pa.Array, column: ReadColumn) -> kinds.Mask | None:
    """Values that the column's own type would refuse, or round or cut without a word."""
    own = kind_of(column.column.declared)
    if own is None or own.name != column.kind.name:
        return None
    if own.name == "text" and column.kind.name == "text" and own.length == column.kind.length:
        # Checked when the array was made.
        return None
    if own.name == "decimal" and not column.merges:
        named = kinds.named_decimals(array, column.kind)
        if named is not None:
            # Only their text can be sent, which is another candidate's.
            return named
    if own.name == "decimal" and (own.precision, own.scale) != (
        column.kind.precision,
        column.kind.scale,
    ):
        return _decimal_misfits(array, own)
    digits = fraction_digits(column.column.declared)
    if digits is not None:
        return _fraction_misfits(array, digits)
    return kinds.misfits(array, own)


def _fraction_misfits(array: pa.Array, digits: int) -> kinds.Mask | None:
    """Times and timestamps of more than this many digits after the second."""
    timestamps = pa.types.is_timestamp(array.type)
    counted = _own_microseconds(array) if timestamps else array.cast(pa.int64())
    ticks = counted.fill_null(0).to_numpy(zero_copy_only=False)
    rest = ticks % 10 ** (6 - digits) != 0
    if timestamps and rest.any():
        rest &= ~np.isin(ticks, temporal.INFINITE_MICROSECONDS)
    return rest if rest.any() else None


def _decimal_misfits(array: pa.Array, own: Kind) -> kinds.Mask | None:
    fitting = [
        value is None or kinds.exact_units(value, own.precision, own.scale) is not None
        for value in array.to_pylist()
    ]
    return None if all(fitting) else ~np.array(fitting, dtype=bool)
