"""Kinds: the meanings in which values cross and are compared. Pure.

Each kind has one Arrow type. A value fits a kind when it can be had back unchanged from it; the
functions here prove that, batch by batch, and answer with a mask of the values that do not fit
instead of ever changing one. pyarrow's own casts cannot be trusted with this: 1.239 as
decimal128(15,2) becomes 1.24 without an error.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tableferry.model import Kind

# One boolean a value, set where it does not fit.
Mask: TypeAlias = npt.NDArray[np.bool_]

INT = Kind("int")
BOOL = Kind("bool")
FLOAT = Kind("float")
# The double of the shortest decimal that a float of four bytes is known by: 0.1 stays 0.1.
FLOAT4 = Kind("float", bits=32)
NUMERIC = Kind("numeric")
# A numeric whose every value is a 64-bit integer or the shortest decimal of a double, and shows no
# zeros beyond it: what SQLite keeps as a number and gives back with the same digits.
NUMBER = Kind("number")
TEXT = Kind("text")
BYTES = Kind("bytes")
DATE = Kind("date")
TIME = Kind("time")
TIMESTAMP = Kind("timestamp")
TIMESTAMPTZ = Kind("timestamptz")
UUID = Kind("uuid")
JSON = Kind("json")
# Any value of SQLite with its storage class, as bytes; see dialects/sqlite/values.py.
ANY = Kind("any")

# Numbers that SQLite has none for, by the texts that stand for them there, and the kinds they are
# of.
NUMBER_NAMES = {"float": ("NaN",), "decimal": ("NaN", "Infinity", "-Infinity")}
NAMED_NUMBERS = frozenset(NUMBER_NAMES)

# A decimal of at most this many digits is one 64-bit word, and has one nearest double that no
# other such decimal shares (IEEE 754 binary64 guarantees 15 significant digits).
EXACT_DIGITS = 15
DECIMAL_DIGITS = 18

_UUID = r"\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z"
_NO_UUID = "00000000-0000-0000-0000-000000000000"
_UUID_DIGITS = [position for position in range(36) if position not in (8, 13, 18, 23)]

_ARROW_TYPES: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "numeric": pa.string(),
    "number": pa.string(),
    "text": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "uuid": pa.binary(16),
    "json": pa.string(),
    "native": pa.string(),
    "any": pa.binary(),
}
NAMES = (*_ARROW_TYPES, "decimal")


def decimal(precision: int, scale: int) -> Kind:
    """A decimal kind: at most 18 digits, ``scale`` of them after the point."""
    return Kind("decimal", precision=precision, scale=scale)


def native(type_name: str) -> Kind:
    """The kind of a type that only its own database knows, such as an enum."""
    return Kind("native", type=type_name)


def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type in which values of this kind travel. numeric travels as canonical text."""
    if kind.name == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    return _ARROW_TYPES[kind.name]


def describe(kind: Kind) -> str:
    """A kind in words: 'decimal(10,2)', 'text of at most 40 characters'."""
    match kind.name:
        case "decimal":
            return f"decimal({kind.precision},{kind.scale})"
        case "int" if kind.bits < 64:
            return f"int of {kind.bits} bits"
        case "text" if kind.length is not None:
            return f"text of at most {kind.length} characters"
        case "native":
            return kind.type
    return kind.name


def misfits(array: pa.Array, kind: Kind) -> Mask | None:
    """Which values of an array of the kind's Arrow type break the limits of the kind.

    Returns a boolean mask, or None where all fit. Text must be valid UTF-8 without NUL, since
    PostgreSQL's text can hold neither (documentation, section 8.3); its length is counted in
    characters, as PostgreSQL and the SQL standard do.
    """
    if kind.name == "int" and kind.bits < 64:
        limit = 1 << (kind.bits - 1)
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        return _mask_or_none((values < -limit) | (values >= limit))
    if kind.name in ("text", "numeric", "json", "native"):
        return _text_misfits(array, kind.length)
    if kind == FLOAT4:
        values = array.fill_null(0.0).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            back = shortest_doubles(pa.array(values.astype(np.float32)))
        changed = back.to_numpy(zero_copy_only=False) != values
        return _mask_or_none(changed & ~np.isnan(values))
    return None


# Of at most 15 digits each is the shortest decimal of its double.
_PLAIN_NUMBER = r"\A(0|-?[1-9][0-9]{0,14}|-?(0|[1-9][0-9]*)\.[0-9]*[1-9])\z"
_PLAIN_LENGTH = EXACT_DIGITS + 1


def number_misfits(array: pa.Array) -> Mask | None:
    """Which texts of a numeric are no NUMBER."""
    plain = pc.and_(
        pc.match_substring_regex(array, _PLAIN_NUMBER),
        pc.less_equal(pc.binary_length(array), _PLAIN_LENGTH),
    ).fill_null(True)
    odd = np.flatnonzero(~np.asarray(plain.to_numpy(zero_copy_only=False), dtype=bool))
    bad = np.zeros(len(array), dtype=bool)
    bad[odd] = [not _is_number(text) for text in array.take(pa.array(odd)).to_pylist()]
    return _mask_or_none(bad)


def _is_number(text: str) -> bool:
    if "." not in text:
        return (
            text.lstrip("-").isdigit() and text == str(int(text)) and -(2**63) <= int(text) < 2**63
        )
    return canonical_numeric(Decimal(repr(float(text)))) == text


def shortest_doubles(array: pa.Array) -> pa.Array:
    """float32 to float64 by each value's shortest decimal: 0.1 is 0.1 and not
    0.10000000149011612. Back to float32, each is itself again: the shortest decimal lies nearer
    to it than to its neighbours, and a double nearer yet."""
    return array.cast(pa.string()).cast(pa.float64())


def text_to_uuid(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    """string to 16 bytes: only the spelling that PostgreSQL gives back fits, in lower case and
    with its four dashes ("UUID Type", section 8.12).

    Returns the array (NULL for a misfit) and the misfits.
    """
    bad = _mask_or_none(
        np.asarray(
            pc.invert(pc.match_substring_regex(array.cast(pa.binary()), _UUID))
            .fill_null(False)
            .to_numpy(zero_copy_only=False),
            dtype=bool,
        )
    )
    good = _nulled(array, bad)
    digits = pc.replace_substring(good.fill_null(_NO_UUID), "-", "")
    _, _, data = digits.buffers()
    start = digits.offset * 32
    characters = np.frombuffer(data, dtype=np.uint8)[start : start + 32 * len(digits)]
    nibbles = np.where(characters >= ord("a"), characters - (ord("a") - 10), characters - ord("0"))
    values = ((nibbles[0::2] << 4) | nibbles[1::2]).astype(np.uint8)
    buffers = [_bitmap(good), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(16), len(array), buffers), bad


def uuids_to_text(array: pa.Array) -> pa.Array:
    """16 bytes to string, as text_to_uuid reads it."""
    size = len(array)
    _, data = array.buffers()
    values = np.frombuffer(data or b"", dtype=np.uint8)
    values = values[array.offset * 16 : (array.offset + size) * 16].reshape(size, 16)
    nibbles = np.empty((size, 32), dtype=np.uint8)
    nibbles[:, 0::2], nibbles[:, 1::2] = values >> 4, values & 15
    text = np.full((size, 36), ord("-"), dtype=np.uint8)
    text[:, _UUID_DIGITS] = np.where(nibbles < 10, nibbles + ord("0"), nibbles + (ord("a") - 10))
    offsets = np.arange(size + 1, dtype=np.int32) * 36
    buffers = [_bitmap(array), pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), size, buffers)


def json_misfits(array: pa.Array) -> Mask | None:
    """Which strings are no JSON as RFC 8259 has it, which is what PostgreSQL's json takes and
    keeps to the letter ("JSON Types", section 8.14). Python's parser alone would let NaN pass."""
    return _mask_or_none(
        np.array(
            [v is not None and not _is_json(v) for v in array.cast(pa.binary()).to_pylist()],
            dtype=bool,
        )
    )


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text.decode(), parse_constant=_no_constant, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _text_misfits(array: pa.Array, length: int | None) -> Mask | None:
    # The cheap tests over the whole buffer come first: in nearly every batch they settle it.
    bad: Mask | None = None
    if not _is_utf8(array) or _has_nul(array):
        values = array.cast(pa.binary()).to_pylist()
        bad = np.array([v is not None and not is_text(v) for v in values], dtype=bool)
    if length is not None and _longest(array) > length:
        checked = array if bad is None else pc.if_else(pa.array(~bad), array, None)
        longer = pc.greater(pc.utf8_length(checked), length).fill_null(False)
        mask = longer.to_numpy(zero_copy_only=False)
        bad = mask if bad is None else bad | mask
    return None if bad is None else _mask_or_none(bad)


def _longest(array: pa.Array) -> int:
    """In bytes, which are no fewer than the characters."""
    return int(pc.max(pc.binary_length(array)).as_py() or 0)


def is_text(value: bytes) -> bool:
    """Whether these bytes are text for both databases: valid UTF-8 without NUL."""
    if b"\0" in value:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(array: pa.Array) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _has_nul(array: pa.Array) -> bool:
    _, offsets, data = array.buffers()
    if data is None or len(array) == 0:
        return False
    bounds = np.frombuffer(offsets, dtype=np.int32)
    start, end = bounds[array.offset], bounds[array.offset + len(array)]
    return b"\0" in memoryview(data)[start:end].tobytes()


def either(*masks: Mask | None) -> Mask | None:
    """What any of the masks has set; None where that is nothing."""
    set_somewhere = [mask for mask in masks if mask is not None and mask.any()]
    return np.logical_or.reduce(set_somewhere) if set_somewhere else None


def _mask_or_none(mask: npt.NDArray[Any]) -> Mask | None:
    return mask if mask.any() else None


def ints_to_bool(array: pa.Array) -> tuple[pa.Array, Mask | None]:
    """int64 to bool: only 0 and 1 fit. Returns the array (NULL for a misfit) and the misfits."""
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    bad = _mask_or_none((values != 0) & (values != 1))
    return _nulled(array, bad).cast(pa.bool_()), bad


def doubles_to_decimal(array: pa.Array, precision: int, scale: int) -> tuple[pa.Array, Mask | None]:
    """float64 to decimal128(precision, scale) by each double's shortest round-trip decimal.

    Proof: n = rint(d * 10^scale) with |n| < 10^15 is a decimal of at most 15 digits; where
    n / 10^scale (one correctly rounded division of two exact doubles) is d again, no other
    decimal of at most 15 digits has d for its nearest double, so n * 10^-scale is the shortest.
    The few values beyond 15 digits go through Python's repr, which is shortest by definition.
    Doubles from 2^53 on are misfits here: an integer may have been rounded to reach them. So is
    -0.0, whose sign no decimal has.

    Returns the array (NULL for a misfit) and the misfits.
    """
    doubles = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        power = 10.0**scale
        scaled = np.rint(doubles * power)
        limit = 10.0 ** min(precision, EXACT_DIGITS)
        proven = (np.abs(scaled) < limit) & (scaled / power == doubles)
        units = np.where(proven, scaled, 0.0).astype(np.int64)
    bad: Mask | None = None
    if not proven.all():
        bad = np.zeros(len(doubles), dtype=bool)
        for i in np.flatnonzero(~proven):
            exact = _shortest_units(float(doubles[i]), precision, scale)
            if exact is None:
                bad[i] = True
            else:
                units[i] = exact
    bad = either(bad, negative_zeros(doubles))
    return decimals_from_units(units, _nulled(array, bad), precision, scale), bad


def negative_zeros(doubles: npt.NDArray[np.float64]) -> Mask | None:
    """Which values are -0.0."""
    zeros = doubles == 0.0
    return _mask_or_none(zeros & np.signbit(doubles)) if zeros.any() else None


def _shortest_units(value: float, precision: int, scale: int) -> int | None:
    if not abs(value) < 2.0**53:
        return None
    return exact_units(Decimal(repr(value)), precision, scale)


def exact_units(value: Decimal, precision: int, scale: int) -> int | None:
    """``value`` in units of 10^-scale, or None where it is not a whole number of them or has
    more than ``precision`` digits then."""
    if not value.is_finite():
        return None
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    shift = exponent + scale
    if len(digits) + shift > precision + 1:
        return None
    magnitude = int("".join(map(str, digits)))
    if shift >= 0:
        magnitude *= 10**shift
    else:
        magnitude, rest = divmod(magnitude, 10**-shift)
        if rest:
            return None
    if magnitude >= 10**precision:
        return None
    return int(-magnitude if sign else magnitude)


def decimals_from_units(
    units: npt.NDArray[np.int64], validity: pa.Array | None, precision: int, scale: int
) -> pa.Array:
    """decimal128 array from int64 units of 10^-scale; NULL where ``validity`` is NULL, if it is
    given."""
    words = np.empty((len(units), 2), dtype=np.int64)
    words[:, 0] = units
    np.right_shift(units, 63, out=words[:, 1])
    return pa.Array.from_buffers(
        pa.decimal128(precision, scale), len(units), [_bitmap(validity), pa.py_buffer(words)]
    )


# How many units past the largest decimal of a precision stand for what is no number at all:
# PostgreSQL's numeric(p,s) holds these, SQLite's numbers become none of them.
_BEYOND = {name: offset for offset, name in enumerate(NUMBER_NAMES["decimal"])}


def texts_to_decimals(array: pa.Array, kind: Kind) -> pa.Array:
    """Strings as PostgreSQL writes a numeric(p,s); ArrowInvalid for others. NaN and the infinities
    become units past the precision, so that they differ from every number and from NULL; see
    named_decimal."""
    try:
        return array.cast(arrow_type(kind))
    except pa.ArrowInvalid:
        units = [_units_of_text(text, kind) for text in array.to_pylist()]
        return decimals_from_units(
            np.array([unit or 0 for unit in units], dtype=np.int64),
            array,
            kind.precision,
            kind.scale,
        )


def _units_of_text(text: str | None, kind: Kind) -> int | None:
    if text in _BEYOND:
        return int(10**kind.precision + _BEYOND[text])
    if text is None:
        return None
    try:
        units = exact_units(Decimal(text), kind.precision, kind.scale)
    except InvalidOperation as error:
        raise pa.ArrowInvalid(f"{text!r} is no number") from error
    if units is None:
        raise pa.ArrowInvalid(f"{text!r} is no numeric({kind.precision},{kind.scale})")
    return units


def decimals_to_doubles(array: pa.Array, kind: Kind) -> tuple[pa.Array, pa.Array | None]:
    """Decimals of at most 15 digits as the doubles nearest to them, each one correctly rounded
    division of two exact doubles; and the names of those that are no numbers (see
    texts_to_decimals), string, where there are any."""
    beyond = _beyond(array, kind)
    values = _units(array) / 10.0**kind.scale
    doubles = pa.array(values, mask=np.asarray(array.is_null()))
    if not beyond.any():
        return doubles, None
    return pc.if_else(pa.array(~beyond), doubles, None), _names(array, kind, beyond)


def holds_named(array: pa.Array, kind: Kind) -> bool:
    """Whether a number is among the values that SQLite has none for; see NAMED_NUMBERS."""
    if kind.name == "float":
        return bool(pc.any(pc.is_nan(array)).as_py())
    return kind.name == "decimal" and bool(_beyond(array, kind).any())


def named_decimals(array: pa.Array, kind: Kind) -> Mask | None:
    """Which decimals are no numbers; see texts_to_decimals."""
    return _mask_or_none(_beyond(array, kind))


def _units(array: pa.Array) -> npt.NDArray[np.int64]:
    """The int64 units of decimal128 values of at most 18 digits; anything where NULL."""
    _, data = array.buffers()
    words = np.frombuffer(data or b"", dtype=np.int64)
    return words[array.offset * 2 : (array.offset + len(array)) * 2 : 2]


def decimals_to_texts(array: pa.Array, kind: Kind) -> pa.Array:
    """Decimals as PostgreSQL reads them, those that are no numbers by their names."""
    beyond = _beyond(array, kind)
    if not beyond.any():
        return array.cast(pa.string())
    numbers = pc.if_else(pa.array(~beyond), array, None).cast(pa.string())
    return pc.coalesce(numbers, _names(array, kind, beyond))


def _beyond(array: pa.Array, kind: Kind) -> Mask:
    beyond = np.asarray(np.abs(_units(array)) >= 10**kind.precision)
    # What stands where there is a NULL is nothing at all; mostly there is nothing to ask that of.
    return beyond & np.asarray(array.is_valid()) if beyond.any() else beyond


def _names(array: pa.Array, kind: Kind, beyond: Mask) -> pa.Array:
    names = {10**kind.precision + offset: name for name, offset in _BEYOND.items()}
    units = zip(_units(array), beyond, strict=True)
    return pa.array([names.get(int(u)) if b else None for u, b in units], pa.string())


def names_to_decimals(names: pa.Array, kind: Kind) -> pa.Array:
    """Those of texts_to_decimals that are no numbers, by their names; NULL for any other text."""
    # As bytes: other texts among them may be no UTF-8.
    places = pc.index_in(names.cast(pa.binary()), pa.array(map(str.encode, _BEYOND), pa.binary()))
    offsets = np.array(list(_BEYOND.values()))[places.fill_null(0).to_numpy(zero_copy_only=False)]
    return decimals_from_units(offsets + 10**kind.precision, places, kind.precision, kind.scale)


def named_decimal(value: Decimal, precision: int, scale: int) -> Decimal:
    """A decimal of texts_to_decimals as PostgreSQL has it: NaN and the infinities themselves."""
    beyond = int(value.scaleb(scale)) - 10**precision
    return next((Decimal(name) for name, units in _BEYOND.items() if units == beyond), value)


def _bitmap(validity: pa.Array | None) -> pa.Buffer | None:
    """A validity bitmap that starts at its first bit, whatever slice ``validity`` is."""
    if validity is None or not validity.null_count:
        return None
    valid = validity.is_valid().to_numpy(zero_copy_only=False)
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _nulled(array: pa.Array, bad: Mask | None) -> pa.Array:
    return array if bad is None else pc.if_else(pa.array(~bad), array, None)


def canonical_numeric(value: Decimal) -> str:
    """The one spelling of a number as text: no exponent, no zeros that carry nothing.

    >>> canonical_numeric(Decimal("-1.50E+1"))
    '-15'
    """
    if value.is_nan():
        return "NaN"
    if value.is_infinite():
        return "Infinity" if value > 0 else "-Infinity"
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def canonical_numerics(array: pa.Array) -> pa.Array:
    """String array of numbers, in any of the spellings of PostgreSQL's numeric, as canonical."""
    values = [None if v is None else canonical_numeric(Decimal(v)) for v in array.to_pylist()]
    return pa.array(values, pa.string())
