"""PostgreSQL text together with what is known of it: the small values that translation builds.

SQLite finds out at run time of which class a value is; PostgreSQL has to know beforehand. So each
term carries its kind, and every function here either gives text that means the same on both sides
for all values of those kinds, or raises Untranslatable.
"""

from __future__ import annotations

import datetime
import re
import uuid
from dataclasses import dataclass, replace

from tableferry import kinds
from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.model import Kind
from tableferry.sql import constant

NULL = Kind("null")
SMALL = Kind("int", bits=32)

NUMBERS = frozenset({"int", "bool", "float", "decimal", "numeric"})
TEMPORAL = frozenset({"date", "time", "timestamp", "timestamptz"})
TEXTS = frozenset({"text", "uuid", "json"}) | TEMPORAL
NUMERIC_AFFINITIES = frozenset({"INTEGER", "REAL", "NUMERIC"})

# Integers up to here are doubles as well, each its own.
EXACT_FLOAT = 2**53
# As far as a real is written without an exponent by SQLite and Python alike.
_PLAIN_REALS = (1e-4, 1e15)

# What SQLite takes for a number when it applies a numeric affinity to text.
_NUMERIC_TEXT = re.compile(
    r"[ \t\n\v\f\r]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t\n\v\f\r]*"
)

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{0,5}[1-9])?"
# The spellings of literals whose order as text is that of the instants.
_SPELLED = {
    "date": re.compile(_DAY),
    "time": re.compile(_CLOCK),
    "timestamp": re.compile(rf"{_DAY}[ T]{_CLOCK}"),
    "timestamptz": re.compile(rf"{_DAY}[ T]{_CLOCK}(?:Z|\+00:00)"),
}
_TYPED = {
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "uuid": "UUID",
}

Literal = syntax.Null | syntax.Integer | syntax.Real | syntax.String | syntax.Blob


@dataclass(frozen=True, slots=True)
class Term:
    """``sql`` is whole in itself: it may stand anywhere in an expression without parentheses.

    affinity: what the value has in comparisons, "NONE" for the results of operators. collation:
    that of the column it is, or of a COLLATE (then ``explicit``), "" for none. literal: the value
    where it is written out. unsure: a number that may be INTEGER or REAL in SQLite. text: SQL for
    the very text that a date or time has in SQLite, "" where that is not known. digits: a text of
    nothing but digits. least: what an integer is at least, None where that is not known.
    approximate: see Field.
    """

    sql: str
    kind: Kind
    affinity: str = "NONE"
    collation: str = ""
    explicit: bool = False
    literal: Literal | None = None
    unsure: bool = False
    text: str = ""
    digits: bool = False
    least: int | None = None
    approximate: bool = False

    @property
    def family(self) -> str:
        """number, text, bytes or null: the class of the value in SQLite."""
        if self.kind.name in NUMBERS:
            return "number"
        return "text" if self.kind.name in TEXTS else self.kind.name

    @property
    def certainly_real(self) -> bool:
        return self.kind.name == "float" and not self.unsure


# ---- literals -----------------------------------------------------------------------------------


def string(value: str) -> str:
    """A string literal of PostgreSQL, where standard_conforming_strings is on as it is by
    default: a backslash is a backslash ("Lexical Structure", section 4.1.2.1)."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Untranslatable("a string that is no valid Unicode is not translated") from None
    if "\0" in value:
        raise Untranslatable("PostgreSQL's text cannot hold a NUL character")
    return constant(value)


def null() -> Term:
    return Term("NULL", NULL, literal=syntax.Null())


def integer(value: int) -> Term:
    kind = SMALL if -(2**31) <= value < 2**31 else kinds.INT
    sql = f"({value})" if value < 0 else str(value)
    # Without its sign the smallest bigint is none, but a numeric.
    if value == -(2**63):
        sql += "::bigint"
    return Term(sql, kind, literal=syntax.Integer(value), least=value)


def real(value: float) -> Term:
    return Term(f"'{value!r}'::double precision", kinds.FLOAT, literal=syntax.Real(value))


def text(value: str) -> Term:
    return Term(string(value), kinds.TEXT, literal=syntax.String(value))


def blob(value: bytes) -> Term:
    return Term(f"'\\x{value.hex()}'::bytea", kinds.BYTES, literal=syntax.Blob(value))


def number_in(value: str) -> Term | None:
    """The number that a numeric affinity makes of a text, None where it leaves it as it is."""
    match = _NUMERIC_TEXT.fullmatch(value)
    if match is None:
        return None
    digits = match[1]
    if re.fullmatch(r"[+-]?[0-9]+", digits):
        if not -(2**63) <= int(digits) < 2**63:
            raise Untranslatable(f"the number {digits[:40]} is too large for an integer")
        return integer(int(digits))
    return number_of(float(digits))


def number_of(value: float) -> Term:
    """A real as a numeric affinity keeps it: an integer where it is one."""
    if abs(value) == float("inf"):
        raise Untranslatable("a number is too large")
    return integer(int(value)) if value.is_integer() and abs(value) < 2**51 else real(value)


def text_of_number(value: int | float) -> str:
    """The text that SQLite makes of a number."""
    if isinstance(value, int):
        return str(value)
    low, high = _PLAIN_REALS
    if value == 0 or not low <= abs(value) < high or len(repr(abs(value))) > 16:
        raise Untranslatable(f"the text that SQLite makes of {value!r} is not translated")
    return repr(value)


def typed_literal(value: str, kind: Kind) -> Term | None:
    """A date, time, timestamp or UUID as PostgreSQL's literal; None for another spelling than
    the one whose order as text is its order as a value."""
    if not _is_spelled(value, kind.name):
        return None
    sql = f"{_TYPED[kind.name]} {string(value)}"
    literal = syntax.String(value)
    return Term(f"({sql})", kind, literal=literal, text=string(value))


def _is_spelled(value: str, name: str) -> bool:
    if name == "uuid":
        try:
            return str(uuid.UUID(value)) == value
        except ValueError:
            return False
    if _SPELLED[name].fullmatch(value) is None:
        return False
    try:
        if name == "time":
            datetime.time.fromisoformat(value)
        else:
            datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


# ---- the same value as another type -------------------------------------------------------------


def as_integer(term: Term) -> str:
    """A number that is an INTEGER in SQLite, as one of PostgreSQL's integer types."""
    if term.kind.name == "bool":
        return f"({term.sql})::integer"
    if term.kind.name != "int":
        raise Untranslatable(f"{described(term)} stands where an integer is needed")
    return term.sql


def as_bigint(term: Term) -> str:
    sql = as_integer(term)
    if term.kind.name == "int" and term.kind.bits == 64:
        return sql
    return f"({sql})::bigint"


def as_float(term: Term) -> str:
    """A number as a double, as SQLite makes one of it for arithmetic with reals."""
    if isinstance(term.literal, syntax.Integer):
        return real(float(term.literal.value)).sql
    match term.kind.name:
        case "float":
            return term.sql
        case "bool":
            return f"({as_integer(term)})::double precision"
        case "int" | "decimal" | "numeric":
            return f"({term.sql})::double precision"
    raise Untranslatable(f"{described(term)} stands where a number is needed")


def as_numeric(term: Term) -> str:
    """A number as numeric: of a double its shortest decimal that gives it back, as a numeric
    column got it when it was copied."""
    match term.literal:
        case syntax.Real(value):
            return f"({value!r})" if value < 0 else repr(value)
    if term.kind.name == "float":
        # A plain cast would round to 15 digits; the text has as many as it takes.
        return f"(({term.sql})::text)::numeric"
    return as_integer(term) if term.kind.name in ("int", "bool") else term.sql


def as_text(term: Term) -> str:
    """The text that a value is, or that SQLite makes of it where it needs one."""
    match term.kind.name:
        case "text":
            return term.sql
        case "uuid" | "json":
            return f"({term.sql})::text"
        case "int" | "bool":
            return f"({as_integer(term)})::text"
        case "null":
            return "NULL::text"
    if term.text:
        return term.text
    if term.kind.name == "date":
        return date_text(term.sql)
    raise Untranslatable(f"{described(term)} stands where text is needed")


def bytes_of(term: Term) -> str:
    """The bytes of the text that a value is. convert_to() would not be immutable."""
    return f"decode(replace({as_text(term)}, '\\', '\\\\'), 'escape')"


def as_truth(term: Term) -> str:
    """A condition: numbers are true where they are not 0."""
    match term.kind.name:
        case "bool":
            return term.sql
        case "null":
            return "NULL::boolean"
        case "int" | "float" | "decimal" | "numeric":
            return f"({term.sql} <> 0)"
    raise Untranslatable(f"{described(term)} stands where a condition is needed")


def date_part(sql: str, part: str, width: int) -> str:
    """A part of a date or timestamp, filled up with zeros; immutable, as to_char() is not."""
    return f"lpad(floor(extract({part} FROM {sql}))::integer::text, {width}, '0')"


def date_text(sql: str) -> str:
    year, month, day = (date_part(sql, p, w) for p, w in (("year", 4), ("month", 2), ("day", 2)))
    return f"({year} || '-' || {month} || '-' || {day})"


def as_kind(term: Term, kind: Kind) -> str:
    """A value stored in a column of this kind, with the column's affinity in SQLite."""
    if term.kind.name == "null":
        return "NULL"
    name = term.kind.name
    if kind.name == name and name not in ("decimal", "int"):
        return term.sql
    match kind.name:
        case "int" if name in ("int", "bool"):
            return as_integer(term)
        case "int" if term.digits:
            return f"({term.sql})::bigint"
        case "bool" if isinstance(term.literal, syntax.Integer) and term.literal.value in (0, 1):
            return "true" if term.literal.value else "false"
        case "float" if term.family == "number":
            return as_float(term)
        case "numeric" if term.family == "number":
            return as_numeric(term)
        case "decimal" if name in ("int", "bool"):
            return as_integer(term)
        case "decimal" if name == "decimal" and term.kind.scale <= kind.scale:
            return term.sql
        case "text" if term.family == "text" or name in ("int", "bool"):
            return as_text(term)
    wanted = kinds.describe(kind)
    raise Untranslatable(f"{described(term)} stands where {wanted} is needed")


# ---- several values as one type -----------------------------------------------------------------


def unified(terms: tuple[Term, ...], what: str) -> tuple[Term, tuple[str, ...]]:
    """What a CASE or COALESCE of these terms is, as a term without sql, and the terms' SQL in
    the type of it. ``what`` names the construct in a refusal."""
    known = [term for term in terms if term.kind.name != "null"]
    if not known:
        return null(), tuple("NULL" for _ in terms)
    kind, unsure = _common_kind(known, what)
    converted = tuple(_converted(term, kind) for term in terms)
    approximate = any(term.approximate for term in known)
    return Term("", kind, unsure=unsure, approximate=approximate), converted


def _common_kind(terms: list[Term], what: str) -> tuple[Kind, bool]:
    families = {term.family for term in terms}
    names = {term.kind.name for term in terms}
    if len(families) > 1:
        listed = " and ".join(sorted({described(term) for term in terms}))
        raise Untranslatable(f"{what} gives {listed}")
    if families == {"number"}:
        return _common_number(terms, names)
    if families == {"bytes"} or len(names) == 1:
        return replace(terms[0].kind, length=None), False
    typed = [term.kind for term in terms if term.kind.name in TEMPORAL]
    if typed and all(_fits(term, typed[0]) for term in terms):
        return typed[0], False
    return kinds.TEXT, False


def _fits(term: Term, kind: Kind) -> bool:
    if isinstance(term.literal, syntax.String):
        return typed_literal(term.literal.value, kind) is not None
    return term.kind.name == kind.name


def _common_number(terms: list[Term], names: set[str]) -> tuple[Kind, bool]:
    if "bool" in names and all(t.kind.name == "bool" or _is_flag(t) for t in terms):
        return kinds.BOOL, False
    bits = max(term.kind.bits if term.kind.name == "int" else 32 for term in terms)
    if names <= {"int", "bool"}:
        return Kind("int", bits=bits), False
    if names == {"float"}:
        return kinds.FLOAT, any(term.unsure for term in terms)
    if names <= {"int", "bool", "float"} and all(_is_exact_float(term) for term in terms):
        return kinds.FLOAT, True
    return kinds.NUMERIC, True


def _is_exact_float(term: Term) -> bool:
    return term.kind.name != "int" or term.kind.bits < 64


def _is_flag(term: Term) -> bool:
    return isinstance(term.literal, syntax.Integer) and term.literal.value in (0, 1)


def _converted(term: Term, kind: Kind) -> str:
    if term.kind.name == "null":
        return "NULL"
    if isinstance(term.literal, syntax.String) and kind.name in TEMPORAL:
        typed = typed_literal(term.literal.value, kind)
        assert typed is not None
        return typed.sql
    return as_kind(term, kind)


# ---- words --------------------------------------------------------------------------------------

_DESCRIBED = {
    "int": "an integer",
    "bool": "a boolean",
    "float": "a real number",
    "decimal": "a decimal number",
    "numeric": "a number",
    "text": "text",
    "bytes": "a blob",
    "date": "a date",
    "time": "a time",
    "timestamp": "a timestamp",
    "timestamptz": "a timestamp with time zone",
    "uuid": "a UUID",
    "json": "JSON",
    "null": "NULL",
}


def described(term: Term) -> str:
    return _DESCRIBED.get(term.kind.name, kinds.describe(term.kind))
