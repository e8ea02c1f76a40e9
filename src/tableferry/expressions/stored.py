"""Values of PostgreSQL as SQLite holds them: what the translation from PostgreSQL is built of.

Each value knows its type in PostgreSQL, and its SQL gives in SQLite what a column of that type was
copied as: integers and booleans as INTEGER, doubles as REAL, numbers of at most 15 digits as the
nearest REAL (or INTEGER, where they are whole), bytes as BLOB, and all else as TEXT in one
spelling: dates and times as ISO 8601 without zeros at the end of a fraction, UUIDs in lower case.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
import uuid
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TypeAlias

from tableferry import kinds
from tableferry.expressions.model import Field, Untranslatable
from tableferry.model import Kind

INTEGERS = ("smallint", "integer", "bigint")
DOUBLE = "double precision"
# A double that may be a "real", with which PostgreSQL reckons in 32 bits.
SOME_FLOAT = "float"
FLOATS = frozenset({DOUBLE, "real", SOME_FLOAT})
TIMESTAMP = "timestamp without time zone"
TIMESTAMPTZ = "timestamp with time zone"
TIME = "time without time zone"
# Texts whose order as text is their order as values.
SPELLED = frozenset({"date", TIMESTAMP, TIMESTAMPTZ, TIME, "uuid"})

# How many digits each integer type has at most.
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_BITS = {16: "smallint", 32: "integer", 64: "bigint"}
# Other names of format_type()'s types, as they stand in casts.
_BASES = {
    "character varying": "text",
    "character": "bpchar",
    "timestamp": TIMESTAMP,
    "time": TIME,
}
_OF_KINDS = {
    "bool": "boolean",
    "text": "text",
    "bytes": "bytea",
    "date": "date",
    "time": TIME,
    "timestamp": TIMESTAMP,
    "timestamptz": TIMESTAMPTZ,
    "uuid": "uuid",
    "json": "json",
    "float": SOME_FLOAT,
}
_KINDS = {
    "smallint": Kind("int", bits=16),
    "integer": Kind("int", bits=32),
    "bigint": kinds.INT,
    "boolean": kinds.BOOL,
    "text": kinds.TEXT,
    "bytea": kinds.BYTES,
    "date": kinds.DATE,
    TIME: kinds.TIME,
    TIMESTAMP: kinds.TIMESTAMP,
    TIMESTAMPTZ: kinds.TIMESTAMPTZ,
    "uuid": kinds.UUID,
    "json": kinds.JSON,
    **dict.fromkeys(FLOATS, kinds.FLOAT),
}

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_MAX_LITERAL = 10_000

Literal: TypeAlias = int | float | Decimal | str | bytes | bool


@dataclass(frozen=True, slots=True)
class Value:
    """``sql`` is whole in itself: it may stand anywhere in an expression without parentheses.

    type: the type in PostgreSQL, without modifiers ("text" for varchar too, "null" for a NULL of
    no type). literal: the value where it is written out. null: it is the literal NULL.

    digits, scale: of a numeric, how many digits it has at most, and how many of them after the
    point; digits is 0 where it is kept as text. units: SQL for the integer numeric * 10^scale, ""
    where it has to be made of ``sql``.

    collation: "" for one that is not known, C for bytes; explicit: it comes from a COLLATE.
    labels: those of an enum. nonzero: it can be divided by. approximate: see Field. kept: what the
    values were converted to on their way, where that is another kind than the type's own.
    """

    sql: str
    type: str
    literal: Literal | None = None
    null: bool = False
    digits: int = 0
    scale: int = 0
    units: str = ""
    collation: str = ""
    explicit: bool = False
    labels: tuple[str, ...] = ()
    nonzero: bool = False
    approximate: bool = False
    kept: Kind | None = None

    @property
    def group(self) -> str:
        """What can be compared with one another."""
        if self.type in INTEGERS:
            return "integer"
        return "float" if self.type in FLOATS else self.type


# ---- types --------------------------------------------------------------------------------------


def split_type(name: str) -> tuple[str, tuple[int, ...]]:
    """'numeric(10,2)' as ('numeric', (10, 2)), under the name that Value.type has."""
    match = re.fullmatch(r"([^()]*?)\s*\(([-0-9,]+)\)( with(?:out)? time zone)?(\[\])*", name)
    if match is None or match[4]:
        return _BASES.get(name, name), ()
    base = match[1] + (match[3] or "")
    return _BASES.get(base, base), tuple(map(int, match[2].split(",")))


def described(value: Value) -> str:
    """A type in words, for a refusal."""
    if value.type == "numeric" and not value.digits:
        return f"a number of more than {kinds.EXACT_DIGITS} digits, which is kept as text"
    return {"null": "NULL", "bpchar": "character", SOME_FLOAT: "a float"}.get(
        value.type, value.type
    )


def kind_of(value: Value) -> Kind:
    """The kind of a view's column."""
    if value.kept is not None:
        return value.kept
    match value.type:
        case "null":
            return kinds.TEXT
        case "numeric" if 0 < value.digits <= kinds.EXACT_DIGITS:
            return kinds.decimal(value.digits, value.scale)
        case "numeric":
            return kinds.NUMERIC
        case "bpchar":
            return kinds.native("character")
    return _KINDS.get(value.type) or kinds.native(value.type)


def column(field: Field, sql: str) -> Value:
    """A column that stands as ``sql``."""
    if field.mixed:
        raise Untranslatable(
            f"the column {field.source_name} holds values of several storage classes"
        )
    name = _type_of(field)
    value = Value(
        sql,
        name,
        collation=field.collation,
        labels=field.labels,
        approximate=field.approximate,
        kept=field.kind if " kept as " in name else None,
    )
    kind = field.kind
    if kind.name == "decimal" and kind.precision <= kinds.EXACT_DIGITS:
        return replace(value, digits=kind.precision, scale=kind.scale)
    return value


def _type_of(field: Field) -> str:
    kind = field.kind
    declared, _ = split_type(field.declared)
    match kind.name:
        case "int":
            expected = _BITS[kind.bits]
            fits = declared in INTEGERS
        case "decimal" | "numeric":
            expected, fits = "numeric", declared == "numeric"
        case "native":
            declared = declared or split_type(kind.type)[0]
            expected, fits = declared, True
        case "float":
            expected, fits = SOME_FLOAT, declared in FLOATS
        case name:
            expected = _OF_KINDS[name]
            fits = declared == expected
    if not declared or fits:
        return declared or expected
    # The values were converted on their way: what the source's operators do says nothing of them.
    return f"{declared} kept as {kinds.describe(kind)}"


# ---- literals -----------------------------------------------------------------------------------


def string(text: str) -> str:
    """A string literal of SQLite, which has no escapes ("Literal Values")."""
    if "\0" in text:
        raise Untranslatable("a string with a NUL character is not translated")
    return "'" + text.replace("'", "''") + "'"


def null(name: str = "null") -> Value:
    return Value("NULL", name, null=True)


def integer(value: int, name: str = "") -> Value:
    if not -(2**63) <= value < 2**63:
        raise Untranslatable(f"the number {value} is too large for an integer")
    found = name or ("integer" if -(2**31) <= value < 2**31 else "bigint")
    return Value(_digits_of(value), found, value, nonzero=value != 0)


def _digits_of(value: int) -> str:
    if value == -(2**63):
        # Without its sign it is none of SQLite's integers.
        return "(-9223372036854775807 - 1)"
    return f"({value})" if value < 0 else str(value)


def number(value: Decimal) -> Value:
    """A numeric that is written out."""
    if not value.is_finite():
        return Value(string(_named(value)), "numeric", value)
    digits, scale = _size(value)
    literal = Value("", "numeric", value, digits=max(digits, scale, 1), scale=scale)
    if value == value.to_integral_value() and abs(value) < 2**63:
        sql = _digits_of(int(value))
        return replace(literal, sql=sql, units=sql, nonzero=value != 0)
    if literal.digits > kinds.EXACT_DIGITS:
        return replace(literal, sql=string(kinds.canonical_numeric(value)), digits=0)
    units = _digits_of(int(value.scaleb(scale)))
    return replace(literal, sql=_real(float(value)), units=units, nonzero=value != 0)


def _size(value: Decimal) -> tuple[int, int]:
    """How many digits there are, and how many of them after the point."""
    text = kinds.canonical_numeric(abs(value))
    whole, _, fraction = text.partition(".")
    return len(whole.lstrip("0")) + len(fraction), len(fraction)


def _named(value: Decimal) -> str:
    if value.is_nan():
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def double(value: float, name: str = DOUBLE) -> Value:
    if math.isnan(value):
        return Value("'NaN'", name, value, nonzero=True)
    return Value(_real(value), name, value, nonzero=value != 0)


def _real(value: float) -> str:
    if math.isinf(value):
        # There is no word for it; a number too large is read as infinite.
        return "9e999" if value > 0 else "(-9e999)"
    return f"({value!r})" if value < 0 else repr(value)


def boolean(value: bool) -> Value:
    return Value("1" if value else "0", "boolean", value)


def text(value: str) -> Value:
    return Value(string(value), "text", value)


def typed_literal(value: str, name: str, modifiers: tuple[int, ...] = ()) -> Value:
    """'…'::type, as PostgreSQL prints a constant. Raises Untranslatable."""
    if len(value) > _MAX_LITERAL:
        raise Untranslatable(f"a literal of more than {_MAX_LITERAL} characters is not translated")
    made = _made(value, name, modifiers)
    if made is None:
        raise Untranslatable(f"the literal {value[:60]!r} of type {name[:60]} is not translated")
    return made


def _made(value: str, name: str, modifiers: tuple[int, ...]) -> Value | None:
    match name:
        case "text":
            return text(value[: modifiers[0]] if modifiers else value)
        case "bpchar":
            cut = value[: modifiers[0]] if modifiers else value
            return replace(text(cut.rstrip(" ")), type="bpchar")
        case "smallint" | "integer" | "bigint" if re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            return integer(int(value), name)
        case "numeric":
            return _made_number(value, modifiers)
        case "double precision" | "real" if not modifiers:
            return _made_float(value, name)
        case "boolean" if value in ("true", "false", "t", "f"):
            return boolean(value[0] == "t")
        case "bytea" if re.fullmatch(r"\\x(?:[0-9a-fA-F]{2})*", value):
            return Value(f"x'{value[2:].lower()}'", name, bytes.fromhex(value[2:]))
        case "uuid":
            return _made_uuid(value)
    if name in SPELLED and not modifiers:
        spelled = _spelled(value, name)
        return None if spelled is None else Value(string(spelled), name, spelled)
    if name in _KINDS:
        return Value(string(value), name, value) if name == "json" else None
    # A type that only PostgreSQL knows: what is known of the value is its text.
    return Value(string(value), name, value) if not modifiers else None


def _made_number(value: str, modifiers: tuple[int, ...]) -> Value | None:
    try:
        exact = Decimal(value)
    except InvalidOperation:
        return None
    if not modifiers or not exact.is_finite():
        return number(exact)
    return _rounded(exact, modifiers)


def _rounded(value: Decimal, modifiers: tuple[int, ...]) -> Value | None:
    """A number in a numeric(p,s): only where nothing is rounded."""
    precision, scale = (*modifiers, 0)[:2]
    size, fraction = _size(value)
    if fraction > max(scale, 0) or size - fraction > precision - scale:
        return None
    return number(value)


def _made_float(value: str, name: str) -> Value | None:
    try:
        made = float(value)
        if name == "real":
            (made,) = struct.unpack("f", struct.pack("f", made))
    except (ValueError, OverflowError):
        return None
    return double(made, name)


def _made_uuid(value: str) -> Value | None:
    try:
        spelled = str(uuid.UUID(value))
    except ValueError:
        return None
    return Value(string(spelled), "uuid", spelled) if spelled == value.lower() else None


def _spelled(value: str, name: str) -> str | None:
    """A date or time in the spelling in which it is kept: a timestamp with time zone in UTC."""
    try:
        if name == "date" and re.fullmatch(_DAY, value):
            return datetime.date.fromisoformat(value).isoformat()
        if name == TIME and re.fullmatch(_CLOCK, value):
            return _clock(datetime.time.fromisoformat(_padded(value)).isoformat())
        if name == TIMESTAMP and re.fullmatch(f"{_DAY} {_CLOCK}", value):
            return _clock(datetime.datetime.fromisoformat(_padded(value)).isoformat(" "))
        if name == TIMESTAMPTZ:
            return _moment(value)
    except (ValueError, OverflowError):
        return None
    return None


def _moment(value: str) -> str | None:
    match = re.fullmatch(rf"({_DAY} {_CLOCK})([+-]\d\d)(?::(\d\d))?", value)
    if match is None:
        return None
    moment = datetime.datetime.fromisoformat(_padded(match[1]))
    minutes = int(match[2]) * 60 + int(match[2][0] + (match[3] or "0"))
    utc = moment - datetime.timedelta(minutes=minutes)
    return _clock(utc.isoformat(" ")) + "+00:00"


def _padded(value: str) -> str:
    """With six digits after the point, which every version of Python reads."""
    whole, point, fraction = value.partition(".")
    return f"{whole}.{fraction:0<6}" if point else whole


def _clock(value: str) -> str:
    return value.rstrip("0").rstrip(".") if "." in value else value


# ---- the same value as another type -------------------------------------------------------------


def as_truth(value: Value) -> str:
    if value.type not in ("boolean", "null"):
        raise Untranslatable(f"{described(value)} stands where a condition is needed")
    return value.sql


def as_text(value: Value) -> str:
    """The text of a value, as PostgreSQL's cast to text has it."""
    if value.null:
        return "NULL"
    if value.type == "text":
        return value.sql
    if value.type == "bpchar":
        # The blanks at the end do not count, whether they were kept or not.
        return f"rtrim({value.sql}, ' ')"
    if value.type in ("uuid", *INTEGERS) or value.labels:
        # Of a UUID too: its column has a numeric affinity, which would make numbers of the texts
        # that it is compared with ("Datatypes In SQLite", section 4.2).
        return f"CAST({value.sql} AS TEXT)"
    if value.type == "boolean":
        return f"(CASE {value.sql} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"
    raise Untranslatable(f"the text of {described(value)} is not translated")


def as_units(value: Value) -> tuple[str, int]:
    """A numeric as SQL of the integer that it is in units of 10^-scale, and the scale.

    The nearest double of n / 10^s with n below 10^15, times 10^s, is less than 1/2 away from n.
    """
    if value.units:
        return value.units, value.scale
    if not value.digits:
        raise Untranslatable(f"it reckons with {described(value)}")
    if value.scale == 0:
        return f"CAST({value.sql} AS INTEGER)", 0
    return f"CAST(round({value.sql} * {10**value.scale}.0) AS INTEGER)", value.scale


def of_units(units: str, scale: int) -> Value:
    """The numeric of so many units of 10^-scale: exact up to 15 digits."""
    if scale > kinds.EXACT_DIGITS:
        raise Untranslatable(f"it has more than {kinds.EXACT_DIGITS} digits after the point")
    sql = units if scale == 0 else f"({units} / {10**scale}.0)"
    return Value(sql, "numeric", digits=kinds.EXACT_DIGITS, scale=scale, units=units)


def as_double(value: Value) -> str:
    if value.type in FLOATS:
        return value.sql
    if isinstance(value.literal, int | Decimal) and value.type in ("numeric", *INTEGERS):
        return double(float(value.literal)).sql
    if value.type in INTEGERS or value.digits:
        return f"CAST({value.sql} AS REAL)"
    raise Untranslatable(f"{described(value)} stands where a number is needed")


def as_numeric(value: Value) -> Value:
    """An integer as a numeric."""
    if value.type == "numeric":
        return value
    if value.type not in INTEGERS:
        raise Untranslatable(f"{described(value)} as numeric is not translated")
    if isinstance(value.literal, int):
        return number(Decimal(value.literal))
    return replace(value, type="numeric", digits=_DIGITS[value.type], scale=0, units=value.sql)


def as_timestamp(value: Value) -> Value:
    """A date as the timestamp at which it begins."""
    if value.type != "date":
        return value
    if isinstance(value.literal, str):
        return typed_literal(f"{value.literal} 00:00:00", TIMESTAMP)
    return Value(f"({value.sql} || ' 00:00:00')", TIMESTAMP)


# ---- collations ---------------------------------------------------------------------------------

_BYTEWISE = frozenset({"C", "POSIX"})
# Those of the C library and those that come with PostgreSQL tell all unequal texts apart; only
# ones that somebody made can be nondeterministic ("Collation Support", section 24.2.2.4).
_DETERMINISTIC = re.compile(
    r"default|unicode|ucs_basic|pg_c_utf8|pg_unicode_fast|C\.(?:UTF-?8|utf8)|"
    r"[a-z]{2,3}_[A-Z]{2}(?:\.[\w-]+)?(?:@\w+)?|[A-Za-z0-9-]+-x-icu"
)


def is_bytewise(*values: Value) -> bool:
    """Whether the collation of these texts together is by their bytes."""
    explicit = {value.collation for value in values if value.explicit}
    chosen = explicit or {value.collation for value in values if value.collation}
    return bool(chosen) and chosen <= _BYTEWISE


def with_collation(value: Value, collation: str) -> Value:
    return replace(value, collation=collation, explicit=True)


def refuse_unlike(*values: Value) -> None:
    """Raise where a collation might call texts of different bytes equal."""
    for value in values:
        if not is_deterministic(value.collation):
            raise Untranslatable(
                f"the collation {value.collation[:60]} may call different texts equal"
            )


def is_deterministic(collation: str) -> bool:
    known = collation == "" or collation in _BYTEWISE
    return known or _DETERMINISTIC.fullmatch(collation) is not None


# ---- what a column of a kind stores -------------------------------------------------------------


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
        case "float" if value.group in ("integer", "float", "numeric"):
            return as_double(value)
        case "decimal" | "numeric":
            return _stored_number(value, kind)
        case "text":
            return _stored_text(value, kind)
        case "native":
            return _stored_native(value, split_type(kind.type)[0])
        case "timestamp" if value.type == "date":
            return as_timestamp(value).sql
        case name:
            return value.sql if value.type == _OF_KINDS.get(name) else None


def _stored_native(value: Value, base: str) -> str | None:
    if value.type != base:
        return None
    return as_text(value) if base == "bpchar" else value.sql


def _stored_integer(value: Value, kind: Kind) -> str | None:
    if isinstance(value.literal, Decimal) and value.digits:
        # Half goes away from zero ("Numeric Types", section 8.1.2).
        value = integer(int(value.literal.quantize(Decimal(1), ROUND_HALF_UP)))
    if isinstance(value.literal, int) and value.type in INTEGERS:
        limit = 1 << (kind.bits - 1)
        return value.sql if -limit <= value.literal < limit else None
    if value.type == "numeric" and value.digits and value.scale == 0:
        return as_units(value)[0]
    return value.sql if value.type in INTEGERS else None


def _stored_number(value: Value, kind: Kind) -> str | None:
    as_number = kind.name == "decimal" and kind.precision <= kinds.EXACT_DIGITS
    if value.type in INTEGERS:
        value = as_numeric(value)
    if value.type != "numeric":
        return None
    if isinstance(value.literal, Decimal):
        exact = _in_scale(value.literal, kind)
        return exact if exact is None or not as_number else number(Decimal(exact)).sql
    if as_number:
        return value.sql if value.digits and value.scale <= kind.scale else None
    if value.digits and value.scale == 0:
        return f"CAST({as_units(value)[0]} AS TEXT)"
    return None if value.digits else value.sql


def _in_scale(value: Decimal, kind: Kind) -> str | None:
    """A number as a column of the kind rounds it: its digits, or a string literal of them."""
    if kind.name == "decimal":
        if not value.is_finite() or _size(value)[0] > 100:
            return None
        value = value.quantize(Decimal(1).scaleb(-kind.scale), ROUND_HALF_UP)
        if abs(value.scaleb(kind.scale)) >= 10**kind.precision:
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
