"""SQLite values as kinds: the SQL that reads a column, and what is made of the arrays. Pure.

The driver guesses the Arrow type of a column from the values of its first batch. So every
statement here starts with a header row of literals that fixes each type, the stream's schema is
checked before a row is used, and the header row is dropped. What a column of a fixed type does
with a value of another storage class then decides how it may be read:

- int64 raises on reals, text and blobs; double raises on text and blobs. Nothing is silent but
  an integer in a double, rounded from 2^53 on; the kinds that read doubles reject such values.
- string prints numbers (an integer in its digits, a real with six), and takes a blob's bytes for
  text once the first batch has passed. Where numbers could pass, the typed read is used; blobs
  are kept out by a guard, a condition on the row, and then missing rows tell that there are some.
- binary takes everything: the guard keeps out what is no blob.

The typed read keeps every storage class apart in columns of their own. Of the plain reads, those of
short text may be packed into one column: ``packing_of``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tableferry import conversions, kinds, packing, temporal
from tableferry.dialects.base import ColumnValues, Decoded
from tableferry.dialects.sqlite.types import affinity
from tableferry.model import Candidate, Column, Kind, ReadColumn
from tableferry.packing import Arrangement, Fields
from tableferry.rejects import RawText, Stored
from tableferry.sql import quote

HEADER_TYPES: dict[str, pa.DataType] = {
    "0": pa.int64(),
    "0.0": pa.float64(),
    "''": pa.string(),
    "x''": pa.binary(),
}

_SEPARATOR = f"char({ord(packing.SEPARATOR)})"


@dataclass(frozen=True, slots=True)
class Reading:
    """How one column is read: expressions, a header literal for each, and what decodes them.

    ``guard`` is a condition that holds for rows which the expressions would silently misread.
    ``unpack`` is there where the one expression may be packed with others: see packing.py.
    """

    expressions: tuple[str, ...]
    headers: tuple[str, ...]
    decode: Callable[[Sequence[pa.Array]], Decoded]
    guard: str = ""
    unpack: Callable[[Fields, int], Decoded] | None = None
    # Whether a packed value has a mark, which NULL has not.
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Packing:
    """Readings of which some are packed: what the statement reads, and what becomes of it.

    ``separated`` is the condition of the rows that ``decode`` leaves out.
    """

    readings: tuple[Reading, ...]
    arrangement: Arrangement[Reading]
    separated: str

    def decode(self, arrays: Sequence[Sequence[pa.Array]]) -> list[Decoded]:
        """By position of the column."""
        first = len(self.arrangement.own)
        texts = [group[0] for group in arrays[first:]]
        return self.arrangement.decode(arrays[:first], texts, _filtered)


def _filtered(arrays: Sequence[pa.Array], kept: pa.Array) -> list[pa.Array]:
    return [array.filter(kept) for array in arrays]


def packing_of(readings: Sequence[Reading]) -> Packing | None:
    """The readings with their short texts packed; None where there are not two of them."""
    arrangement = Arrangement.of(readings)
    if arrangement is None:
        return None
    separated = [
        f"instr({r.expressions[0]}, {_SEPARATOR})" for g in arrangement.packed for _, r in g
    ]
    return Packing(
        (*(reading for _, reading in arrangement.own), *map(_packed, arrangement.packed)),
        arrangement,
        f"({joined(separated, 'OR')})",
    )


def _packed(group: Sequence[tuple[int, Reading]]) -> Reading:
    values = []
    guards = []
    for _, reading in group:
        (value,) = reading.expressions
        if reading.marked:
            values.append(f"ifnull('{packing.MARK}' || {value}, '')")
            guards.append(reading.guard)
        else:
            values.append(value)
            # NULL, where a column is declared to have none, would be passed over.
            guards.append(f"({_bare(value)} < x'') IS NOT TRUE")
    text = f"concat_ws({_SEPARATOR}, {', '.join(values)}, '')"
    return Reading((text,), ("''",), _no_decode, joined(guards, "OR"))


def _no_decode(arrays: Sequence[pa.Array]) -> Decoded:
    raise AssertionError("packed values are decoded by their packing")


def joined(expressions: Sequence[str], operator: str) -> str:
    """All expressions with an operator between, as a balanced tree: SQLite limits the depth of an
    expression to 1,000 ("Implementation Limits For SQLite")."""
    if len(expressions) == 1:
        return expressions[0]
    half = len(expressions) // 2
    left, right = joined(expressions[:half], operator), joined(expressions[half:], operator)
    return f"({left}) {operator} ({right})"


def reference(column: Column) -> str:
    # Always with the table's alias: SQLite takes an unknown "name" alone for a string literal.
    return f"t.{quote(column.name)}"


def _bare(value: str) -> str:
    """For a comparison by storage class alone. The plus takes away the affinity, for whose sake
    SQLite would try to make a number of each date ("Affinity Of Comparison Operands")."""
    return f"+{value} COLLATE BINARY"


def reading(column: ReadColumn) -> Reading:
    """The cheapest way to read the column as its kind that changes no value silently."""
    value = reference(column.column)
    kind = column.kind
    group = affinity(column.column.declared)
    if column.merges or column.using:
        return typed_reading(column)
    if kind.name in ("int", "bool"):
        return Reading((value,), ("0",), lambda arrays: _from_ints(arrays[0], kind))
    # A whole number of up to 15 digits is the same in a double; of longer ones that would fit the
    # decimal, the double has lost digits.
    in_double = kind.name == "decimal" and kind.precision - kind.scale <= kinds.EXACT_DIGITS
    if in_double or (kind.name == "float" and group == "REAL"):
        return Reading((value,), ("0.0",), lambda arrays: _from_doubles(arrays[0], kind))
    if (kind.name == "text" and group == "TEXT") or kind.name in (*temporal.KINDS, "uuid"):
        # No number prints as a date, a time or a UUID, so only blobs could pass for one.
        marked = column.column.nullable
        return Reading(
            (value,),
            ("''",),
            lambda arrays: _from_text(arrays[0], kind),
            guard=f"{_bare(value)} >= x''",
            unpack=lambda fields, number: _from_field(fields, number, kind, marked=marked),
            marked=marked,
        )
    if kind.name == "bytes":
        # Sorted before every blob stand numbers and text.
        return Reading(
            (value,), ("x''",), lambda arrays: Decoded(arrays[0]), f"{_bare(value)} < x''"
        )
    return typed_reading(column)


def typed_reading(column: ReadColumn) -> Reading:
    """Five columns a value: its storage class, and the value in the column of its class."""
    value = reference(column.column)
    candidate = Candidate(column.kind, column.merges, column.using)

    def of_class(name: str) -> str:
        return f"CASE WHEN typeof({value}) = '{name}' THEN {value} END"

    return Reading(
        (f"typeof({value})", *map(of_class, ("integer", "real", "text", "blob"))),
        ("''", "0", "0.0", "''", "x''"),
        lambda arrays: TypedValues(arrays).decode(candidate),
    )


def _from_ints(array: pa.Array, kind: Kind) -> Decoded:
    if kind.name == "bool":
        return Decoded(*kinds.ints_to_bool(array))
    return Decoded(array, kinds.misfits(array, kind))


def _from_doubles(array: pa.Array, kind: Kind) -> Decoded:
    if kind.name == "decimal":
        return Decoded(*kinds.doubles_to_decimal(array, kind.precision, kind.scale))
    return Decoded(array, kinds.misfits(array, kind))


def _from_field(fields: Fields, number: int, kind: Kind, *, marked: bool) -> Decoded:
    if kind.name == "date" and (dates := fields.dates(number, marked=marked)) is not None:
        return Decoded(dates)
    texts = fields.texts(number, marked=marked)
    short = kind.length is None or fields.longest(number) <= kind.length
    if kind.name == "text" and fields.plain and short:
        return Decoded(texts)
    return _from_text(texts, kind)


def _from_text(array: pa.Array, kind: Kind) -> Decoded:
    match kind.name:
        case "date" | "time" | "timestamp" | "timestamptz":
            return Decoded(*temporal.parse(array, kind))
        case "uuid":
            return Decoded(*kinds.text_to_uuid(array))
        case "json":
            return Decoded(array, kinds.json_misfits(array))
    return Decoded(array, kinds.misfits(array, kind))


# Which storage classes a kind takes as they are.
_OWN_CLASSES: dict[str, frozenset[str]] = {
    "int": frozenset({"integer"}),
    "bool": frozenset({"integer"}),
    "float": frozenset({"real"}),
    "decimal": frozenset({"integer", "real"}),
    "numeric": frozenset({"integer", "real"}),
    "number": frozenset({"integer", "real"}),
    "text": frozenset({"text"}),
    "bytes": frozenset({"blob"}),
    "any": frozenset({"integer", "real", "text", "blob"}),
}
# What text and bytes take by its text where they merge.
_MERGED_CLASSES: dict[str, frozenset[str]] = {
    "float": frozenset({"real", "integer"}),
    "text": frozenset({"text", "integer", "real"}),
    "bytes": frozenset({"text", "integer", "real", "blob"}),
    "native": frozenset({"text", "integer", "real"}),
}


class TypedValues(ColumnValues):
    """A batch of one column read by ``typed_reading``: five arrays of equal length."""

    def __init__(self, arrays: Sequence[pa.Array]) -> None:
        self._class, self._integer, self._real, self._text, self._blob = arrays

    def __len__(self) -> int:
        return len(self._class)

    def filter(self, kept: kinds.Mask) -> TypedValues:
        mask = pa.array(kept)
        arrays = (self._class, self._integer, self._real, self._text, self._blob)
        return TypedValues([array.filter(mask) for array in arrays])

    def classes(self) -> frozenset[str]:
        return frozenset(pc.unique(self._class).to_pylist()) - {"null"}

    def misfits(self, candidate: Candidate) -> list[int]:
        bad = self.decode(candidate).misfits
        return [] if bad is None else np.flatnonzero(bad).tolist()

    def show(self, position: int) -> str:
        name = self._class[position].as_py()
        if name == "null":
            return "NULL"
        if name == "blob":
            return f"x'{self._blob[position].as_py().hex()}'"
        if name == "text":
            raw: bytes = self._text.cast(pa.binary())[position].as_py()
            return repr(raw.decode("utf-8", "backslashreplace"))
        array = self._integer if name == "integer" else self._real
        return repr(array[position].as_py())

    def stored(self, position: int) -> Stored:
        """The value itself, with its storage class."""
        name = self._class[position].as_py()
        if name == "null":
            return None
        if name == "text":
            raw: bytes = self._text.cast(pa.binary())[position].as_py()
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return RawText(raw)
        arrays = {"integer": self._integer, "real": self._real, "blob": self._blob}
        value: int | float | bytes = arrays[name][position].as_py()
        return value

    def decode(self, candidate: Candidate) -> Decoded:
        kind = candidate.kind
        if candidate.using:
            return self._by_meaning(kind, candidate.using)
        own = _OWN_CLASSES.get(kind.name, frozenset({"text"}))
        taken = _MERGED_CLASSES.get(kind.name, own) if candidate.merges else own
        strangers = self._outside(
            taken, kinds.NUMBER_NAMES.get(kind.name, ()) if candidate.merges else ()
        )
        decoded = self._decode_taken(kind, candidate.merges)
        bad = kinds.either(strangers, decoded.misfits, kinds.misfits(decoded.array, kind))
        return Decoded(decoded.array, bad, decoded.respelled)

    def _by_meaning(self, kind: Kind, method: str) -> Decoded:
        """As the user's rule says; a value that the rule gives no meaning is a misfit."""
        match method:
            case "meaning" if kind.name == "bool":
                array = conversions.texts_to_bools(self._text)
                converted = len(array) - array.null_count
                array = pc.coalesce(array, kinds.ints_to_bool(self._integer)[0])
            case "meaning":
                array = pc.coalesce(
                    conversions.texts_to_uuids(self._text), conversions.blobs_to_uuids(self._blob)
                )
                converted = len(array) - array.null_count
            case "utc":
                array = conversions.texts_to_instants(self._text, kind)
                converted = len(array) - array.null_count
            case "strip_nul" | "replace_invalid":
                array, converted = conversions.mended_texts(self._text, method)
            case _:
                array = pc.coalesce(
                    conversions.integers_to_moments(self._integer, kind, method),
                    conversions.reals_to_moments(self._real, kind, method),
                )
                converted = len(array) - array.null_count
        meaningless = pc.and_(array.is_null(), pc.not_equal(self._class, "null"))
        bad = np.asarray(meaningless.to_numpy(zero_copy_only=False), dtype=bool)
        return Decoded(array, kinds.either(bad, kinds.misfits(array, kind)), converted)

    def _outside(self, taken: frozenset[str], names: Sequence[str]) -> kinds.Mask | None:
        if self.classes() <= taken:
            return None
        inside = pc.is_in(self._class, pa.array([*taken, "null"], pa.string()))
        if names:
            inside = pc.or_(inside, pc.is_in(self._text, pa.array(names, pa.string())))
        return np.asarray(~inside.to_numpy(zero_copy_only=False), dtype=bool)

    def _decode_taken(self, kind: Kind, merges: bool) -> Decoded:
        match kind.name:
            case "int":
                return Decoded(self._integer)
            case "bool":
                return Decoded(*kinds.ints_to_bool(self._integer))
            case "float":
                return self._floats() if merges else Decoded(self._real)
            case "decimal":
                return self._decimals(kind, merges)
            case "numeric" | "number":
                return self._numerics()
            case "text":
                return Decoded(self._as_text() if merges else self._text)
            case "bytes":
                return Decoded(self._as_bytes() if merges else self._blob)
            case "any":
                return Decoded(self._as_any())
            case "native":
                return Decoded(self._as_text() if merges else self._text)
        return _from_text(self._text, kind)

    def _floats(self) -> Decoded:
        integers = self._integer.fill_null(0).to_numpy(zero_copy_only=False)
        bad = (integers > 1 << 53) | (integers < -(1 << 53))
        exact = pc.if_else(pa.array(~bad), self._integer, None).cast(pa.float64())
        named = pc.is_in(self._text, pa.array(kinds.NUMBER_NAMES["float"]))
        nan = pc.if_else(named, float("nan"), pa.scalar(None, pa.float64()))
        return Decoded(pc.coalesce(self._real, exact, nan), bad if bad.any() else None)

    def _decimals(self, kind: Kind, merges: bool) -> Decoded:
        reals, bad = kinds.doubles_to_decimal(self._real, kind.precision, kind.scale)
        whole = 10 ** (kind.precision - kind.scale)
        integers = self._integer.fill_null(0).to_numpy(zero_copy_only=False)
        too_long = (integers >= whole) | (integers <= -whole)
        units = np.where(too_long, 0, integers) * 10**kind.scale
        exact = kinds.decimals_from_units(units, self._integer, kind.precision, kind.scale)
        numbers = pc.coalesce(reals, exact)
        if merges and "text" in self.classes():
            named = kinds.names_to_decimals(self._text, kind)
            numbers = pc.coalesce(numbers, named)
        return Decoded(numbers, kinds.either(bad, too_long))

    def _numerics(self) -> Decoded:
        # repr is the shortest decimal that reads back as the same double.
        texts = [
            str(i) if i is not None else None if r is None else _numeric(r)
            for i, r in zip(self._integer.to_pylist(), self._real.to_pylist(), strict=True)
        ]
        reals = self._real.fill_null(1.0).to_numpy(zero_copy_only=False)
        return Decoded(pa.array(texts, pa.string()), kinds.negative_zeros(reals))

    def _numbers_as_text(self) -> pa.Array:
        texts = [None if r is None else repr(r) for r in self._real.to_pylist()]
        return pc.coalesce(self._integer.cast(pa.string()), pa.array(texts, pa.string()))

    def _as_text(self) -> pa.Array:
        return pc.coalesce(self._text, self._numbers_as_text())

    def _as_any(self) -> pa.Array:
        """One letter for the storage class, then the value: of numbers their 8 bytes."""
        payload = pc.coalesce(
            _words(self._integer), _words(self._real), self._text.cast(pa.binary()), self._blob
        )
        letters = pc.utf8_slice_codeunits(self._class, 0, 1).cast(pa.binary())
        return pc.binary_join_element_wise(letters, payload, b"")

    def _as_bytes(self) -> pa.Array:
        text = self._text.cast(pa.binary())
        return pc.coalesce(self._blob, text, self._numbers_as_text().cast(pa.binary()))


def _words(numbers: pa.Array) -> pa.Array:
    """The 8 bytes of each number, binary."""
    values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    offsets = np.arange(len(values) + 1, dtype=np.int32) * 8
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(values))]
    words = pa.Array.from_buffers(pa.binary(), len(values), buffers)
    return pc.if_else(numbers.is_valid(), words, None)


def any_parts(array: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Values of kind any by their storage class: int64, float64, string, binary."""
    letters = pc.binary_slice(array, 0, 1)
    # Not by binary_slice, which takes an end that is left out for one beyond all memory.
    values = pc.binary_replace_slice(array, 0, 1, b"")

    def of(letter: bytes) -> pa.Array:
        return pc.if_else(pc.equal(letters, letter), values, None)

    return (
        _numbers(of(b"i"), pa.int64()),
        _numbers(of(b"r"), pa.float64()),
        of(b"t").cast(pa.string(), safe=False),
        of(b"b"),
    )


def _numbers(words: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    data = words.fill_null(bytes(8)).cast(pa.binary(8))
    return pc.if_else(words.is_valid(), data.view(arrow_type), None)


def typed_values(stored: Sequence[Stored]) -> TypedValues:
    """Values as if a typed reading had brought them."""
    texts = [_text_bytes(value) for value in stored]
    return TypedValues(
        [
            pa.array([_class_of(value) for value in stored], pa.string()),
            pa.array([v if isinstance(v, int) else None for v in stored], pa.int64()),
            pa.array([v if isinstance(v, float) else None for v in stored], pa.float64()),
            pa.array(texts, pa.binary()).cast(pa.string(), safe=False),
            pa.array([v if isinstance(v, bytes) else None for v in stored], pa.binary()),
        ]
    )


def _class_of(value: Stored) -> str:
    match value:
        case None:
            return "null"
        case int():
            return "integer"
        case float():
            return "real"
        case bytes():
            return "blob"
    return "text"


def _text_bytes(value: Stored) -> bytes | None:
    if isinstance(value, RawText):
        return value.data
    return value.encode() if isinstance(value, str) else None


def _numeric(value: float) -> str:
    return kinds.canonical_numeric(Decimal(repr(value)))
