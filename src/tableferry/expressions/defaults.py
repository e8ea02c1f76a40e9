"""DEFAULTs: what SQLite would store, as an expression of the column's type in PostgreSQL.

Here alone the clock and random bytes may be asked. A transaction's time in PostgreSQL is the time
of its begin; SQLite takes that of the statement.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from decimal import Decimal

from tableferry import kinds
from tableferry.expressions import syntax
from tableferry.expressions.asking import FIELDS, NOW, NOW_IN_SECONDS, RANDOM_UUID
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.parser import parse_expression
from tableferry.expressions.sqlite_to_postgresql import Columns, Translator, guarded
from tableferry.expressions.stored import TIME, TIMESTAMP, TIMESTAMPTZ
from tableferry.expressions.syntax import Node
from tableferry.expressions.terms import (
    NUMERIC_AFFINITIES,
    TEMPORAL,
    Literal,
    Term,
    as_kind,
    blob,
    number_in,
    string,
    text_of_number,
    typed_literal,
)
from tableferry.model import Kind
from tableferry.sql import fold

_UTC = "(now() AT TIME ZONE 'UTC')"
_AFFINITIES = {"int": "INTEGER", "float": "REAL", "text": "TEXT", "bytes": "BLOB", "native": "TEXT"}
_KEYWORDS = {"CURRENT_DATE": "date", "CURRENT_TIME": "time", "CURRENT_TIMESTAMP": "datetime"}
# Formats whose text is a moment: its kind, and the moment itself.
_FORMATS = {
    "%Y-%m-%d": (kinds.DATE, f"{_UTC}::date"),
    "%H:%M:%S": (kinds.TIME, f"date_trunc('second', {_UTC})::time"),
    "%Y-%m-%d %H:%M:%S": (kinds.TIMESTAMP, f"date_trunc('second', {_UTC})"),
    "%Y-%m-%dT%H:%M:%S": (kinds.TIMESTAMP, f"date_trunc('second', {_UTC})"),
    "%Y-%m-%d %H:%M:%f": (kinds.TIMESTAMP, f"date_trunc('milliseconds', {_UTC})"),
    "%Y-%m-%dT%H:%M:%f": (kinds.TIMESTAMP, f"date_trunc('milliseconds', {_UTC})"),
    "%Y-%m-%dT%H:%M:%SZ": (kinds.TIMESTAMPTZ, "date_trunc('second', now())"),
    "%Y-%m-%d %H:%M:%SZ": (kinds.TIMESTAMPTZ, "date_trunc('second', now())"),
    "%Y-%m-%dT%H:%M:%fZ": (kinds.TIMESTAMPTZ, "date_trunc('milliseconds', now())"),
    "%Y-%m-%d %H:%M:%fZ": (kinds.TIMESTAMPTZ, "date_trunc('milliseconds', now())"),
}
_MOMENTS = {TIMESTAMPTZ: "timestamptz", TIMESTAMP: "timestamp", TIME: "time"}
# The formats of the functions that have one.
_CLOCKS = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "datetime": "%Y-%m-%d %H:%M:%S"}
# Of the 16 bytes of gen_random_uuid() the last 7 are random in every bit (RFC 9562, section 5.4).
_RANDOM_BYTES = "substr(uuid_send(gen_random_uuid()), 10, {})"
_RANDOM_RUN = 7
_MAX_RANDOM = 256
# The same moment for a column with a time zone.
_WITH_ZONE = {
    f"date_trunc('second', {_UTC})": "date_trunc('second', now())",
    f"date_trunc('milliseconds', {_UTC})": "date_trunc('milliseconds', now())",
}


def translate_default(text: str, kind: Kind) -> str:
    """A DEFAULT, as ``dflt_value`` of PRAGMA table_xinfo gives it, for a column of this kind.

    Returns an expression for DEFAULT (…). Literals are what SQLite would store in such a column.
    Raises Untranslatable, also where the value does not fit the kind.
    """
    return guarded(lambda: _default(parse_expression(text), kind))


def _default(node: Node, kind: Kind) -> str:
    if (asked := _asked_before().get((kind.name, node))) is not None:
        return asked
    written = _written(node)
    if written is not None:
        return fitted(written, kind)
    term = _Defaults(Columns(None)).term(node)
    if term.literal is not None:
        return fitted(term.literal, kind)
    if kind.name == "timestamptz" and term.sql in _WITH_ZONE:
        return _WITH_ZONE[term.sql]
    return as_kind(term, kind)


@functools.cache
def _asked_before() -> Mapping[tuple[str, Node], str]:
    """What a default of PostgreSQL is in SQLite, by the kind of its column, as what it was."""
    utc = {TIMESTAMPTZ: "now()", TIMESTAMP: _UTC, TIME: f"{_UTC}::time"}
    found = {(_MOMENTS[name], NOW[name]): sql for name, sql in utc.items()}
    cut = {TIMESTAMPTZ: "date_trunc('second', now())"}
    found |= {(_MOMENTS[name], NOW_IN_SECONDS[name]): sql for name, sql in cut.items()}
    found |= {
        ("uuid", RANDOM_UUID): "gen_random_uuid()",
        ("text", f"CAST({RANDOM_UUID} AS TEXT)"): "(gen_random_uuid())::text",
    }
    return {(kind, parse_expression(text)): sql for (kind, text), sql in found.items()}


def _written(node: Node) -> Literal | None:
    """The value of a node that is a literal, perhaps with signs."""
    match node:
        case syntax.Null() | syntax.Integer() | syntax.Real() | syntax.String() | syntax.Blob():
            return node
        case syntax.Name(name, "", _, bare):
            # A word alone is a string, as if it stood in quotes.
            flags = {"true": 1, "false": 0}
            if bare and fold(name) in flags:
                return syntax.Integer(flags[fold(name)])
            return syntax.String(name)
        case syntax.Unary("+", operand):
            return _written(operand)
        case syntax.Unary("-", operand):
            return _negative(_written(operand))
    return None


def _negative(literal: Literal | None) -> Literal | None:
    match literal:
        case syntax.Integer(value) if value > -(2**63):
            return syntax.Integer(-value)
        case syntax.Real(value):
            return syntax.Real(-value)
    return None


# ---- literals -----------------------------------------------------------------------------------


def fitted(literal: Literal, kind: Kind) -> str:
    """A literal as PostgreSQL's of the kind, after the affinity of such a column. Raises
    Untranslatable where the value does not fit the kind."""
    if isinstance(literal, syntax.Null):
        return "NULL"
    value = _stored(literal, _AFFINITIES.get(kind.name, "NUMERIC"))
    sql = _fitted_number(value, kind) if _is_number(value) else _fitted_text(value, kind)
    if sql is None:
        raise Untranslatable(f"the value {_shown(literal)} is not {kinds.describe(kind)}")
    return sql


def _is_number(literal: Literal) -> bool:
    return isinstance(literal, syntax.Integer | syntax.Real)


def _stored(literal: Literal, affinity: str) -> Literal:
    match literal:
        case syntax.String(value) if affinity in NUMERIC_AFFINITIES:
            number = number_in(value)
            found = None if number is None else number.literal
            return literal if found is None else _stored(found, affinity)
        case syntax.Integer(value) | syntax.Real(value) if affinity == "TEXT":
            return syntax.String(text_of_number(value))
        case syntax.Integer(value) if affinity == "REAL":
            return syntax.Real(float(value))
        case syntax.Real(value) if affinity in ("INTEGER", "NUMERIC") and value.is_integer():
            return syntax.Integer(int(value)) if abs(value) < 2**51 else literal
    return literal


def _fitted_number(literal: Literal, kind: Kind) -> str | None:
    assert isinstance(literal, syntax.Integer | syntax.Real)
    value = literal.value
    match kind.name:
        case "bool" if value in (0, 1):
            return "true" if value else "false"
        case "int" if isinstance(value, int) and _is_within(value, kind.bits):
            return str(value)
        case "float" | "numeric":
            return _plain(value)
        case "decimal" if _fits_decimal(value, kind):
            return _plain(value)
    return None


def _is_within(value: int, bits: int) -> bool:
    limit = 1 << (bits - 1)
    return -limit <= value < limit


def _plain(value: int | float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return repr(value)


def _fits_decimal(value: int | float, kind: Kind) -> bool:
    units = Decimal(repr(value)).scaleb(kind.scale)
    return bool(units == units.to_integral_value()) and abs(units) < 10**kind.precision


def _fitted_text(literal: Literal, kind: Kind) -> str | None:
    if isinstance(literal, syntax.Blob):
        return blob(literal.value).sql if kind.name == "bytes" else None
    assert isinstance(literal, syntax.String)
    value = literal.value
    match kind.name:
        case "text":
            return string(value) if kind.length is None or len(value) <= kind.length else None
        case "json":
            return string(value) if _is_json(value) else None
        case "native":
            # Whether it is a value of the type, the server says.
            return f"{string(value)}::{kind.type}"
        case "uuid" | "date" | "time" | "timestamp" | "timestamptz":
            term = typed_literal(value, kind)
            if term is None and kind.name == "timestamp":
                term = typed_literal(f"{value} 00:00:00", kind)
            return None if term is None else term.sql.removeprefix("(").removesuffix(")")
    return None


def _is_json(value: str) -> bool:
    try:
        json.loads(value, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _shown(literal: Literal) -> str:
    match literal:
        case syntax.Blob(value):
            return f"x'{value.hex()[:40]}'"
        case syntax.Null():
            return "NULL"
    return repr(literal.value)[:60]


# ---- the clock and random bytes -----------------------------------------------------------------


class _Defaults(Translator):
    def _now(self, keyword: str) -> Term:
        return _moment(_CLOCKS[_KEYWORDS[keyword]])

    def _call(self, node: syntax.Call) -> Term:
        match node:
            # Never NULL, and in lower case from the start.
            case syntax.Call("hex", (syntax.Call("randomblob", count),)):
                return Term(f"upper({self._random_digits(count)})", kinds.TEXT)
            case syntax.Call("lower", (syntax.Call("hex", (syntax.Call("randomblob", count),)),)):
                return Term(self._random_digits(count), kinds.TEXT)
        if node.name in _ASKING and not node.distinct and not node.star:
            asked = _ASKING[node.name](node.name, tuple(map(self.term, node.arguments)))
            if asked is not None:
                return asked
        return super()._call(node)

    def _random_digits(self, count: tuple[Node, ...]) -> str:
        content = _randomblob("randomblob", tuple(map(self.term, count)))
        return f"encode({content.sql}, 'hex')"


def _of_clock(name: str, arguments: tuple[Term, ...]) -> Term | None:
    """date, time, datetime, strftime, unixepoch and julianday of this moment; None where they
    are of another."""
    pattern = _CLOCKS.get(name, "")
    if name == "strftime":
        match arguments:
            case (Term(literal=syntax.String(pattern)), *_):
                arguments = arguments[1:]
            case _:
                return None
    if arguments and not _is_now(arguments[0]):
        return None
    if len(arguments) > 1:
        modifier = arguments[1].literal
        shown = modifier.value if isinstance(modifier, syntax.String) else "…"
        raise Untranslatable(f"{name}() with the modifier {str(shown)[:40]!r} is not translated")
    if name == "unixepoch":
        return Term("floor(extract(epoch FROM now()))::bigint", kinds.INT)
    if name == "julianday":
        sql = "(extract(epoch FROM now()) / 86400 + 2440587.5)::double precision"
        return Term(sql, kinds.FLOAT)
    return _moment(pattern)


def _is_now(term: Term) -> bool:
    return isinstance(term.literal, syntax.String) and term.literal.value.lower() == "now"


def _moment(pattern: str) -> Term:
    """strftime(pattern, 'now'): a moment where the format is one of ISO 8601, else text."""
    if pattern == "%s":
        sql = "(floor(extract(epoch FROM now()))::bigint)::text"
        return Term(sql, kinds.TEXT, digits=True)
    pieces = re.findall(r"%.?|[^%]+", pattern, re.DOTALL)
    written = f"to_char({_UTC}, {string(''.join(map(_field, pieces)))})"
    kind, sql = _FORMATS.get(pattern, (kinds.TEXT, written))
    digits = pattern.startswith("%") and pattern[1:] in FIELDS and pattern != "%f"
    return Term(sql, kind, text=written if kind.name in TEMPORAL else "", digits=digits)


def _field(piece: str) -> str:
    if not piece.startswith("%"):
        # In double quotes nothing is a pattern of to_char().
        return '"' + piece.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if piece[1:] not in FIELDS:
        raise Untranslatable(f"strftime() with {piece} is not translated")
    return FIELDS[piece[1:]]


def _randomblob(name: str, arguments: tuple[Term, ...]) -> Term:
    match arguments:
        case (Term(literal=syntax.Integer(count)),) if 1 <= count <= _MAX_RANDOM:
            return Term(_random(count), kinds.BYTES)
    raise Untranslatable(f"randomblob() of other than 1 to {_MAX_RANDOM} bytes is not translated")


def _random(count: int) -> str:
    runs = [_RANDOM_RUN] * (count // _RANDOM_RUN)
    if count % _RANDOM_RUN:
        runs.append(count % _RANDOM_RUN)
    sql = " || ".join(_RANDOM_BYTES.format(run) for run in runs)
    return sql if len(runs) == 1 else f"({sql})"


def _random_integer(name: str, arguments: tuple[Term, ...]) -> Term:
    if arguments:
        raise Untranslatable("random() with arguments is not translated")
    return Term(f"('x' || encode({_random(8)}, 'hex'))::bit(64)::bigint", kinds.INT)


_ASKING = {
    **dict.fromkeys(("date", "time", "datetime", "strftime", "unixepoch", "julianday"), _of_clock),
    "randomblob": _randomblob,
    "random": _random_integer,
}
