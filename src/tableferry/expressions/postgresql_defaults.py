"""DEFAULTs of PostgreSQL: what it would store, as an expression for SQLite.

Here alone the clock and random bytes may be asked; see asking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tableferry.expressions import assigned, stored, syntax
from tableferry.expressions.asking import FIELDS, NOW, NOW_IN_SECONDS, RANDOM_UUID
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.nesting import refuse_deep
from tableferry.expressions.postgresql_parser import parse_expression
from tableferry.expressions.postgresql_to_sqlite import Columns, Translator
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.stored import TIME, TIMESTAMP, TIMESTAMPTZ, Value
from tableferry.expressions.syntax import Node
from tableferry.model import Kind

_KEYWORDS = {
    "CURRENT_TIMESTAMP": TIMESTAMPTZ,
    "LOCALTIMESTAMP": TIMESTAMP,
    "CURRENT_DATE": "date",
    "LOCALTIME": TIME,
}
_CLOCKS = frozenset({"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp"})
# The kinds of columns that a moment can be assigned to.
_OF_KINDS = {"timestamptz": TIMESTAMPTZ, "timestamp": TIMESTAMP, "date": "date", "time": TIME}
_RANDOM_UUIDS = frozenset({"gen_random_uuid", "uuid_generate_v4"})
# Of a moment to_char() writes, in this order of trying: a text in quotes, and its fields.
_WRITTEN = re.compile(
    r'"(?:\\.|[^"\\])*"|' + "|".join(map(re.escape, sorted(FIELDS.values(), key=len)[::-1]))
)
_STRFTIME = {written: f"%{field}" for field, written in FIELDS.items()}


def translate_default(text: str, kind: Kind) -> str:
    """A DEFAULT, as pg_get_expr() prints it, for a column of this kind: an expression for
    DEFAULT (…). Raises Untranslatable, also where the value does not fit the kind."""
    return guarded(lambda: refuse_deep(_default(parse_expression(text), kind)))


def _default(node: Node, kind: Kind) -> str:
    match node:
        case syntax.Cast(syntax.Call("array[", ()), name) if kind.type == name:
            return "'{}'"
    value = _Defaults(Columns(None)).value(node)
    if kind.name in _OF_KINDS:
        for moments in (NOW, NOW_IN_SECONDS):
            if value.sql in moments.values():
                return _assigned(value, kind, moments)
    return assigned.stored_as(value, kind)


def _assigned(value: Value, kind: Kind, moments: Mapping[str, str]) -> str:
    """This moment, assigned to a column; a date alone has no time of the day."""
    wanted = _OF_KINDS[kind.name]
    if value.type in ("date", TIME) and wanted != value.type:
        return assigned.stored_as(value, kind)
    return moments.get(wanted, NOW[wanted])


class _Defaults(Translator):
    def _value(self, node: Node) -> Value:
        if count := _random_bytes(node):
            return Value(f"randomblob({count})", "bytea")
        match node:
            case syntax.Call("encode", (data, syntax.Cast(syntax.String("hex"), "text"))):
                if count := _random_bytes(data):
                    return Value(f"lower(hex(randomblob({count})))", "text")
        return super()._value(node)

    def _now(self, keyword: str) -> Value:
        if keyword not in _KEYWORDS:
            raise Untranslatable(f"{keyword} has a time zone, and is not translated")
        return _now(_KEYWORDS[keyword])

    def _call(self, node: syntax.Call) -> Value:
        if node.name in _CLOCKS and not node.arguments:
            return _now(TIMESTAMPTZ)
        if node.name in _RANDOM_UUIDS and not node.arguments:
            return Value(RANDOM_UUID, "uuid")
        if node.name == "nextval":
            raise Untranslatable("a sequence has no counterpart")
        if node.name == "timezone" and len(node.arguments) == 2:
            zone, moment = map(self.value, node.arguments)
            if moment == _now(TIMESTAMPTZ) and str(zone.literal).lower() == "utc":
                return _now(TIMESTAMP)
        if node.name in ("date_trunc", "to_char") and len(node.arguments) == 2:
            first, second = map(self.value, node.arguments)
            cut = (
                _truncated(first, second) if node.name == "date_trunc" else _spelled(first, second)
            )
            if cut is not None:
                return cut
        return super()._call(node)

    def _cast(self, operand: Node, name: str) -> Value:
        base, _ = stored.split_type(name)
        if operand == syntax.Cast(syntax.String("now"), "text") and base in NOW:
            # As CURRENT_DATE was printed before PostgreSQL 10.
            return _now(base)
        if isinstance(operand, syntax.Call | syntax.Now) and base in NOW and base == name:
            value = self.value(operand)
            if value in (_now(TIMESTAMPTZ), _now(TIMESTAMP)):
                return _now(base)
            if value.sql == NOW_IN_SECONDS[TIMESTAMP] and base in NOW_IN_SECONDS:
                return Value(NOW_IN_SECONDS[base], base)
        return super()._cast(operand, name)


def _now(name: str) -> Value:
    return Value(NOW[name], name)


def _truncated(unit: Value, moment: Value) -> Value | None:
    """date_trunc() of this moment; SQLite's clock has no more than milliseconds anyway."""
    if moment not in (_now(TIMESTAMPTZ), _now(TIMESTAMP)):
        return None
    match unit.literal:
        case "second":
            return Value(NOW_IN_SECONDS[moment.type], moment.type)
        case "milliseconds":
            return moment
    return None


def _spelled(moment: Value, pattern: Value) -> Value | None:
    """to_char() of this moment in UTC, where all of the pattern has a counterpart."""
    if moment != _now(TIMESTAMP) or not isinstance(pattern.literal, str):
        return None
    parts = _WRITTEN.findall(pattern.literal)
    if "".join(parts) != pattern.literal:
        return None
    written = "".join(_STRFTIME.get(part) or _between_quotes(part) for part in parts)
    return Value(f"strftime({stored.string(written)}, 'now')", "text")


def _between_quotes(part: str) -> str:
    return re.sub(r"\\(.)", r"\1", part[1:-1], flags=re.DOTALL).replace("%", "%%")


def _random_bytes(node: Node) -> int:
    """How many bytes of those that are random in gen_random_uuid() a node is made of; 0 where it
    is anything else."""
    match node:
        case syntax.Binary("||", left, right):
            counts = _random_bytes(left), _random_bytes(right)
            return sum(counts) if all(counts) else 0
        case syntax.Call(
            "substr",
            (
                syntax.Call("uuid_send", (syntax.Call("gen_random_uuid", ()),)),
                syntax.Integer(10),
                syntax.Integer(count),
            ),
        ) if 1 <= count <= 7:
            return count
    return 0
