"""What a column of a kind stores in SQLite, of a value of PostgreSQL that is assigned to it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal

from tableferry import kinds
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.stored import (
    DOUBLE,
    INTEGERS,
    NUMBER,
    REAL,
    Value,
    as_double,
    as_numeric,
    as_real,
    as_text,
    as_timestamp,
    as_units,
    described,
    integer,
    is_kind,
    number,
    size,
    split_type,
    string,
    text,
    type_of_kind,
)
from tableferry.model import Kind

# Of numbers that are written out.
_MAX_DIGITS = 1000


def stored_as(value: Value, kind: Kind) -> str:
    """A value that is assigned to a column of this kind. Raises Untranslatable."""
    if value.null:
        return "NULL"
    sql = _stored(value, kind)
    if sql is None:
        raise Untranslatable(f"{described(value)} stands where {kinds.describe(kind)} is needed")
    return sql


def _stored(value: Value, kind: Kind) -> str | None:
    match kind.name:
        case "int":
            return _stored_integer(value, kind)
        case "float" if kind.bits == 32:
            real = value if value.type == REAL else as_real(value)
            return None if real is None else real.sql
        case "float" if value.group in ("integer", DOUBLE, "numeric"):
            return as_double(value)
        case "decimal" | "numeric" | "number":
            return _stored_number(value, kind)
        case "text":
            return _stored_text(value, kind)
        case "native":
            return _stored_native(value, *split_type(kind.type))
        case "timestamp" if value.type == "date":
            return as_timestamp(value).sql
    return value.sql if value.type == type_of_kind(kind) else None


def _stored_native(value: Value, base: str, modifiers: tuple[int, ...]) -> str | None:
    if base == "numeric" and isinstance(value.literal, int | Decimal):
        return _shown(Decimal(value.literal), modifiers)
    if value.type != base or (base == "numeric" and value.digits) or is_kind(base):
        # Another spelling than that of PostgreSQL, by which the values of a native go.
        return None
    return as_text(value) if base == "bpchar" else value.sql


def _rounded(value: Decimal, scale: int) -> Decimal:
    """Half goes away from zero ("Numeric Types", section 8.1.2)."""
    unit = Decimal(1).scaleb(-scale)
    return value.quantize(unit, ROUND_HALF_UP, Context(prec=_MAX_DIGITS * 2))


def _shown(value: Decimal, modifiers: tuple[int, ...]) -> str | None:
    """A numeric with all the digits that PostgreSQL shows."""
    if not value.is_finite() or size(value)[0] > _MAX_DIGITS:
        return None
    if modifiers:
        precision, scale = (*modifiers, 0)[:2]
        value = _rounded(value, scale)
        if value.copy_abs() >= Decimal(10) ** (precision - scale):
            return None
    return string(f"{value:f}")


def _stored_integer(value: Value, kind: Kind) -> str | None:
    if isinstance(value.literal, Decimal) and value.digits:
        value = integer(int(_rounded(value.literal, 0)))
    if isinstance(value.literal, int) and value.type in INTEGERS:
        limit = 1 << (kind.bits - 1)
        return value.sql if -limit <= value.literal < limit else None
    if value.type == "numeric" and value.digits and value.scale == 0:
        return as_units(value)[0]
    return value.sql if value.type in INTEGERS else None


def _stored_number(value: Value, kind: Kind) -> str | None:
    any_scale = kind.name == NUMBER
    as_number = any_scale or (kind.name == "decimal" and kind.precision <= kinds.EXACT_DIGITS)
    if value.type in INTEGERS:
        value = as_numeric(value)
    if value.type != "numeric":
        return None
    if any_scale:
        return value.sql if value.digits else None
    if isinstance(value.literal, Decimal):
        exact = _in_scale(value.literal, kind)
        return exact if exact is None or not as_number else number(Decimal(exact)).sql
    if as_number:
        return value.sql if value.digits and 0 <= value.scale <= kind.scale else None
    if value.digits and value.scale == 0:
        return f"CAST({as_units(value)[0]} AS TEXT)"
    return None if value.digits else value.sql


def _in_scale(value: Decimal, kind: Kind) -> str | None:
    """A number as a column of the kind rounds it: its digits, or a string literal of them."""
    if kind.name == "decimal":
        if not value.is_finite() or size(value)[0] > _MAX_DIGITS:
            return None
        value = _rounded(value, kind.scale)
        if value.copy_abs() >= Decimal(10) ** (kind.precision - kind.scale):
            return None
        if kind.precision <= kinds.EXACT_DIGITS:
            return str(value)
    return string(kinds.canonical_numeric(value))


def _stored_text(value: Value, kind: Kind) -> str | None:
    if isinstance(value.literal, int) and value.type in INTEGERS:
        value = text(str(value.literal))
    if isinstance(value.literal, str) and kind.length is not None:
        return as_text(value) if len(value.literal) <= kind.length else None
    if value.type in ("text", "bpchar", "uuid", "boolean", *INTEGERS) or value.labels:
        return as_text(value)
    return None
