"""DEFAULTs of PostgreSQL: what it would store, as an expression for SQLite.

Here alone the clock and random bytes may be asked. A transaction's time in PostgreSQL is the time
of its begin, to the microsecond; SQLite takes that of the statement, to the millisecond. Where
PostgreSQL would take the session's time zone, it is UTC here.
"""

from __future__ import annotations

from tableferry.expressions import assigned, stored, syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.nesting import refuse_deep
from tableferry.expressions.postgresql_parser import parse_expression
from tableferry.expressions.postgresql_to_sqlite import Columns, Translator
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.stored import TIME, TIMESTAMP, TIMESTAMPTZ, Value
from tableferry.expressions.syntax import Node
from tableferry.model import Kind

# Without zeros at the end of the fraction, as all moments are kept.
_MOMENT = "rtrim(rtrim(strftime('%Y-%m-%d %H:%M:%f', 'now'), '0'), '.')"
_NOW = {
    TIMESTAMPTZ: f"({_MOMENT} || '+00:00')",
    TIMESTAMP: _MOMENT,
    "date": "date('now')",
    TIME: "rtrim(rtrim(strftime('%H:%M:%f', 'now'), '0'), '.')",
}
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
# Version 4 and the variant of RFC 9562, section 5.4, in the digits 13 and 17.
_UUID = (
    "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || substr('89ab', (random() & 3) + 1, 1) || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))"
)


def translate_default(text: str, kind: Kind) -> str:
    """A DEFAULT, as pg_get_expr() prints it, for a column of this kind: an expression for
    DEFAULT (…). Raises Untranslatable, also where the value does not fit the kind."""
    return guarded(lambda: refuse_deep(_default(parse_expression(text), kind)))


def _default(node: Node, kind: Kind) -> str:
    match node:
        case syntax.Cast(syntax.Call("array[", ()), name) if kind.type == name:
            return "'{}'"
    value = _Defaults(Columns(None)).value(node)
    if value.sql in _NOW.values() and kind.name in _OF_KINDS:
        return _assigned(value, kind)
    return assigned.stored_as(value, kind)


def _assigned(value: Value, kind: Kind) -> str:
    """This moment, assigned to a column; a date alone has no time of the day."""
    wanted = _OF_KINDS[kind.name]
    if value.type in ("date", TIME) and wanted != value.type:
        return assigned.stored_as(value, kind)
    return _NOW[wanted]


class _Defaults(Translator):
    def _now(self, keyword: str) -> Value:
        if keyword not in _KEYWORDS:
            raise Untranslatable(f"{keyword} has a time zone, and is not translated")
        return _now(_KEYWORDS[keyword])

    def _call(self, node: syntax.Call) -> Value:
        if node.name in _CLOCKS and not node.arguments:
            return _now(TIMESTAMPTZ)
        if node.name in _RANDOM_UUIDS and not node.arguments:
            return Value(_UUID, "uuid")
        if node.name == "nextval":
            raise Untranslatable("a sequence has no counterpart")
        if node.name == "timezone" and len(node.arguments) == 2:
            zone, moment = map(self.value, node.arguments)
            if moment == _now(TIMESTAMPTZ) and str(zone.literal).lower() == "utc":
                return _now(TIMESTAMP)
        return super()._call(node)

    def _cast(self, operand: Node, name: str) -> Value:
        base, _ = stored.split_type(name)
        if operand == syntax.Cast(syntax.String("now"), "text") and base in _NOW:
            # As CURRENT_DATE was printed before PostgreSQL 10.
            return _now(base)
        if isinstance(operand, syntax.Call | syntax.Now) and base in _NOW and base == name:
            value = self.value(operand)
            if value == _now(TIMESTAMPTZ):
                return _now(base)
        return super()._cast(operand, name)


def _now(name: str) -> Value:
    return Value(_NOW[name], name)
