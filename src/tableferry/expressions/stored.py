"""Values of PostgreSQL as SQLite holds them: what the translation from PostgreSQL is built of.

Each value knows its type in PostgreSQL, and its SQL gives in SQLite what a column of that type was
copied as: integers and booleans as INTEGER, doubles as REAL, floats of four bytes as the REAL of
their shortest decimal, numbers of at most 15 digits as the nearest REAL (or INTEGER, where they are
whole), bytes as BLOB, and all else as TEXT in one spelling: dates and times as ISO 8601 without
zeros at the end of a fraction, UUIDs in lower case.
"""

from __future__ import annotations

import datetime
import math
import re
import uuid
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

import numpy as np

from tableferry import kinds
from tableferry.expressions.model import Field, Untranslatable
from tableferry.model import Kind
from tableferry.sql import constant

INTEGERS = ("smallint", "integer", "bigint")
DOUBLE = "double precision"
REAL = "real"
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
    DOUBLE: kinds.FLOAT,
    REAL: Kind("float", bits=32),
}

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_MAX_LITERAL = 10_000
# PostgreSQL writes numbers out, so that none of a few letters has millions of digits.
_MAX_EXPONENT = 10_000
# Decimals of as many digits are themselves the shortest that their float of four bytes has.
_REAL_DIGITS = 6
# The kind of a numeric whose every value SQLite keeps as a number; of no certain scale.
NUMBER = "number"

Literal: TypeAlias = int | float | Decimal | str | bytes | bool


@dataclass(frozen=True, slots=True)
class Value:
    """``sql`` is whole in itself: it may stand anywhere in an expression without parentheses.

    type: the type in PostgreSQL, without modifiers ("text" for varchar too, "null" for a NULL of
    no type). literal: the value where it is written out. null: it is the literal NULL.

    digits, scale: of a numeric, how many digits it has at most, and how many of them after the
    point; digits is 0 where it is kept as text, scale -1 where it may be any. units: SQL for the
    integer numeric * 10^scale, "" where it has to be made of ``sql``.

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
        return self.type


# ---- types --------------------------------------------------------------------------------------


def type_of_kind(kind: Kind) -> str:
    """The type whose values are kept as those of a kind; "" for numbers and natives."""
    return _OF_KINDS.get(kind.name, "")


def is_kind(name: str) -> bool:
    """Whether a type's values have a kind of their own, numerics aside."""
    return name in _KINDS


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
    return {"null": "NULL", "bpchar": "character"}.get(value.type, value.type)


def kind_of(value: Value) -> Kind:
    """The kind of a view's column."""
    if value.kept is not None:
        return value.kept
    match value.type:
        case "null":
            return kinds.TEXT
        case "numeric" if value.scale < 0:
            return Kind(NUMBER)
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
    # The shortest decimals of doubles, of 17 digits at most, compare as the doubles do.
    return replace(value, digits=17, scale=-1) if kind.name == NUMBER else value


def _type_of(field: Field) -> str:
    kind = field.kind
    declared, _ = split_type(field.declared)
    match kind.name:
        case "int":
            expected = _BITS[kind.bits]
            fits = declared in INTEGERS
        case "decimal" | "numeric" | "number":
            expected, fits = "numeric", declared == "numeric"
        case "native":
            declared = declared or split_type(kind.type)[0]
            # A type with a kind of its own, though its values go by their text; of a numeric that
            # is all the same.
            expected, fits = declared, declared not in _KINDS
        case "float":
            expected = REAL if kind.bits == 32 else DOUBLE
            fits = declared == expected
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
    return constant(text)


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
    digits, scale = size(value)
    literal = Value("", "numeric", value, digits=max(digits, scale, 1), scale=scale)
    if value == value.to_integral_value() and value.copy_abs() < 2**63:
        sql = _digits_of(int(value))
        return replace(literal, sql=sql, units=sql, nonzero=value != 0)
    if literal.digits > kinds.EXACT_DIGITS:
        return replace(literal, sql=string(kinds.canonical_numeric(value)), digits=0)
    units = _digits_of(int(value.scaleb(scale)))
    return replace(literal, sql=_real(float(value)), units=units, nonzero=value != 0)


def size(value: Decimal) -> tuple[int, int]:
    """How many digits there are, and how many of them after the point."""
    text = kinds.canonical_numeric(value.copy_abs())
    whole, _, fraction = text.partition(".")
    return len(whole.lstrip("0")) + len(fraction), len(fraction)


def _named(value: Decimal) -> str:
    if value.is_nan():
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def double(value: float, name: str = DOUBLE) -> Value:
    """A double; or, by the name of REAL, the double of a float's shortest decimal."""
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
    if exact.is_finite() and not -_MAX_EXPONENT < exact.adjusted() < _MAX_EXPONENT:
        return None
    if not modifiers or not exact.is_finite():
        return number(exact)
    return _rounded(exact, modifiers)


def _rounded(value: Decimal, modifiers: tuple[int, ...]) -> Value | None:
    """A number in a numeric(p,s): only where nothing is rounded."""
    precision, scale = (*modifiers, 0)[:2]
    digits, fraction = size(value)
    if fraction > max(scale, 0) or digits - fraction > precision - scale:
        return None
    return number(value)


def _made_float(value: str, name: str) -> Value | None:
    try:
        made = float(value)
    except ValueError:
        return None
    # A constant is printed by the shortest decimal it has.
    return double(made, name) if name == DOUBLE or shortest_real(made) in (made, None) else None


def shortest_real(value: float) -> float | None:
    """The double of the shortest decimal of the float of four bytes that a double is rounded to;
    None for NaN."""
    with np.errstate(over="ignore"):
        shortest = float(str(np.float32(value)))
    return None if math.isnan(shortest) else shortest


def as_real(value: Value) -> Value | None:
    """A double that is written out, where it is a float of four bytes as well; or a numeric or
    integer that its float is known by."""
    match value.literal:
        case bool():
            return None
        case float(literal) if value.type == DOUBLE:
            shortest = shortest_real(literal)
            with np.errstate(over="ignore"):
                same = shortest is None or float(np.float32(literal)) == literal
            return double(literal if shortest is None else shortest, REAL) if same else None
        case int() | Decimal() as literal if value.type in ("numeric", *INTEGERS):
            exact = Decimal(literal)
            small = exact.is_finite() and len(exact.normalize().as_tuple().digits) <= _REAL_DIGITS
            in_range = exact == 0 or Decimal("1e-30") < exact.copy_abs() < Decimal("1e30")
            return double(float(exact), REAL) if small and in_range else None
    return None


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
    if value.scale < 0:
        raise Untranslatable("it reckons with a numeric of any number of digits after the point")
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
    if value.type == DOUBLE:
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
