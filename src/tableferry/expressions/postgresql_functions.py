"""The functions of PostgreSQL that are translated: the whole list, each with its rule.

Those of a DEFAULT are in postgresql_defaults.py, aggregates in postgresql_views.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import TypeAlias

from tableferry.expressions import stored
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.postgresql_operators import (
    at_time_zone,
    binary,
    cast,
    compared,
    sort_key,
    unified,
)
from tableferry.expressions.stored import (
    DOUBLE,
    REAL,
    TIME,
    TIMESTAMP,
    Value,
    as_units,
    described,
    of_units,
    string,
)

Arguments: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """``rule`` makes the value; it is called with ``least`` to ``most`` arguments."""

    rule: Callable[[Arguments], Value]
    least: int = 1
    most: int = 1


def call(name: str, arguments: Arguments) -> Value:
    """The value of a function's call. Raises Untranslatable."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise Untranslatable(f"the function {name[:60]}() is not translated")
    if not function.least <= len(arguments) <= function.most:
        raise Untranslatable(f"{name}() with {len(arguments)} arguments is not translated")
    value = function.rule(arguments)
    return replace(value, approximate=any(argument.approximate for argument in arguments))


def _refused(name: str, value: Value) -> Untranslatable:
    return Untranslatable(f"{name}() of {described(value)} is not translated")


# ---- of any type --------------------------------------------------------------------------------


def _coalesce(arguments: Arguments) -> Value:
    result = unified(arguments, "COALESCE")
    return replace(result, sql=f"coalesce({', '.join(value.sql for value in arguments)})")


def _nullif(arguments: Arguments) -> Value:
    first, second = arguments
    same = compared("=", first, second)
    zero = second.literal is not None and second.literal == 0 and second.type != "boolean"
    sql = f"(CASE WHEN {same.sql} THEN NULL ELSE {first.sql} END)"
    return replace(first, sql=sql, literal=None, units="", nonzero=zero)


def _extreme(function: str) -> Callable[[Arguments], Value]:
    """GREATEST and LEAST pass over NULLs; max() and min() of SQLite do not."""

    def rule(arguments: Arguments) -> Value:
        result = unified(arguments, function.upper())
        if result.type != "null":
            sort_key(result)

        def more(one: str, other: str) -> str:
            return f"coalesce({function}({one}, {other}), {one}, {other})"

        return replace(result, sql=reduce(more, (value.sql for value in arguments)))

    return rule


# ---- text ---------------------------------------------------------------------------------------


def _texts(name: str, arguments: Arguments) -> tuple[str, ...]:
    for value in arguments:
        if value.type != "text":
            raise _refused(name, value)
    return tuple(value.sql for value in arguments)


def _text(name: str, sql: str, arguments: Arguments) -> Value:
    """A text made of texts, which has their collation."""
    collation = unified([a for a in arguments if a.type == "text"], name).collation
    return Value(sql, "text", collation=collation)


def _length(arguments: Arguments) -> Value:
    (value,) = arguments
    match value.type:
        case "text" | "bytea":
            return Value(f"length({value.sql})", "integer")
        case "bpchar":
            return Value(f"length({stored.as_text(value)})", "integer")
    raise _refused("length", value)


def _octet_length(arguments: Arguments) -> Value:
    (value,) = arguments
    if value.type not in ("text", "bytea"):
        raise _refused("octet_length", value)
    return Value(f"length(CAST({value.sql} AS BLOB))", "integer")


def _cased(function: str) -> Callable[[Arguments], Value]:
    def rule(arguments: Arguments) -> Value:
        _texts(function, arguments)
        if not stored.is_bytewise(*arguments):
            raise Untranslatable(f"{function}() knows letters outside ASCII, as SQLite does not")
        return _text(function, f"{function}({arguments[0].sql})", arguments)

    return rule


def _trimmed(function: str) -> Callable[[Arguments], Value]:
    def rule(arguments: Arguments) -> Value:
        texts = _texts(function, arguments)
        characters = texts[1] if len(texts) == 2 else "' '"
        return _text(function, f"{function}({texts[0]}, {characters})", arguments)

    return rule


def _substr(arguments: Arguments) -> Value:
    value, *bounds = arguments
    _texts("substr", (value,))
    start = _count("substr", bounds[0], 1)
    length = "".join(f", {_count('substr', bound, 0)}" for bound in bounds[1:])
    return _text("substr", f"substr({value.sql}, {start}{length})", (value,))


def _count(name: str, value: Value, least: int) -> int:
    """A number of characters that is written out; below ``least`` SQLite counts from the end."""
    if value.type == "integer" and isinstance(value.literal, int) and value.literal >= least:
        return value.literal
    raise Untranslatable(f"{name}() of computed numbers, or numbers below 1, is not translated")


def _left(arguments: Arguments) -> Value:
    _texts("left", arguments[:1])
    count = _count("left", arguments[1], 0)
    return _text("left", f"substr({arguments[0].sql}, 1, {count})", arguments[:1])


def _right(arguments: Arguments) -> Value:
    _texts("right", arguments[:1])
    count = _count("right", arguments[1], 1)
    return _text("right", f"substr({arguments[0].sql}, -{count})", arguments[:1])


def _replace(arguments: Arguments) -> Value:
    texts = _texts("replace", arguments)
    stored.refuse_unlike(*arguments)
    return _text("replace", f"replace({', '.join(texts)})", arguments)


def _strpos(arguments: Arguments) -> Value:
    texts = _texts("strpos", arguments)
    stored.refuse_unlike(*arguments)
    return Value(f"instr({', '.join(texts)})", "integer")


def _starts_with(arguments: Arguments) -> Value:
    texts = _texts("starts_with", arguments)
    stored.refuse_unlike(*arguments)
    return Value(f"(substr({texts[0]}, 1, length({texts[1]})) = {texts[1]})", "boolean")


def _concat(arguments: Arguments) -> Value:
    parts = []
    for value in arguments:
        if value.type not in ("text", "integer", "bigint", "smallint"):
            raise _refused("concat", value)
        parts.append(f"coalesce({stored.as_text(value)}, '')")
    return _text("concat", f"({' || '.join(parts)})", arguments)


# ---- numbers ------------------------------------------------------------------------------------


def _abs(arguments: Arguments) -> Value:
    (value,) = arguments
    if value.group in ("integer", DOUBLE, REAL):
        return Value(f"abs({value.sql})", value.type)
    if value.type == "numeric":
        units, scale = as_units(value)
        result = of_units(f"abs({units})", scale)
        return replace(result, digits=value.digits)
    raise _refused("abs", value)


def _mod(arguments: Arguments) -> Value:
    return binary("%", *arguments)


# ---- dates and times ----------------------------------------------------------------------------

# Where in the text a part stands, and how many characters it has.
_PARTS = {"year": (1, 4), "month": (6, 2), "day": (9, 2), "hour": (12, 2), "minute": (15, 2)}
_DATE_PARTS = ("year", "month", "day")
_STRFTIME = {"doy": "%j", "dow": "%w"}
# What is left of a timestamp, and what is put in the place of the rest.
_TRUNCATED = {
    "year": (4, "-01-01 00:00:00"),
    "month": (7, "-01 00:00:00"),
    "day": (10, " 00:00:00"),
    "hour": (13, ":00:00"),
    "minute": (16, ":00"),
    "second": (19, ""),
}


def _part(arguments: Arguments, name: str) -> str:
    """SQL of the integer that a part of a date or time is."""
    field, value = arguments
    part = field.literal
    if value.type in ("date", TIMESTAMP, TIME) and isinstance(part, str):
        days = part in _DATE_PARTS or part in _STRFTIME
        if not (days and value.type == TIME) and (days or value.type != "date"):
            if part in _STRFTIME:
                return f"CAST(strftime('{_STRFTIME[part]}', {value.sql}) AS INTEGER)"
            if part in _PARTS:
                start, length = _PARTS[part]
                # A time has no date before it.
                start -= 11 if value.type == TIME else 0
                return f"CAST(substr({value.sql}, {start}, {length}) AS INTEGER)"
    raise Untranslatable(f"{name} of {str(part)[:20]} from {described(value)} is not translated")


def _extract(arguments: Arguments) -> Value:
    units = _part(arguments, "EXTRACT")
    return Value(units, "numeric", digits=4, units=units)


def _date_part(arguments: Arguments) -> Value:
    return Value(f"CAST({_part(arguments, 'date_part()')} AS REAL)", DOUBLE)


def _date_trunc(arguments: Arguments) -> Value:
    field, value = arguments
    if value.type == TIMESTAMP and isinstance(field.literal, str) and field.literal in _TRUNCATED:
        length, rest = _TRUNCATED[field.literal]
        kept = f"substr({value.sql}, 1, {length})"
        return Value(f"({kept} || {string(rest)})" if rest else kept, TIMESTAMP)
    raise Untranslatable(
        f"date_trunc() of {described(value)} to {str(field.literal)[:20]} is not translated"
    )


def _timezone(arguments: Arguments) -> Value:
    return at_time_zone(*arguments)


def _date(arguments: Arguments) -> Value:
    return cast(arguments[0], "date")


FUNCTIONS: dict[str, Function] = {
    "abs": Function(_abs),
    "btrim": Function(_trimmed("trim"), 1, 2),
    "char_length": Function(_length),
    "character_length": Function(_length),
    "coalesce": Function(_coalesce, 1, 100),
    "concat": Function(_concat, 1, 100),
    "date": Function(_date),
    "date_part": Function(_date_part, 2, 2),
    "date_trunc": Function(_date_trunc, 2, 2),
    "extract": Function(_extract, 2, 2),
    "greatest": Function(_extreme("max"), 1, 8),
    "least": Function(_extreme("min"), 1, 8),
    "left": Function(_left, 2, 2),
    "length": Function(_length),
    "lower": Function(_cased("lower")),
    "ltrim": Function(_trimmed("ltrim"), 1, 2),
    "mod": Function(_mod, 2, 2),
    "nullif": Function(_nullif, 2, 2),
    "octet_length": Function(_octet_length),
    "replace": Function(_replace, 3, 3),
    "right": Function(_right, 2, 2),
    "rtrim": Function(_trimmed("rtrim"), 1, 2),
    "starts_with": Function(_starts_with, 2, 2),
    "strpos": Function(_strpos, 2, 2),
    "substr": Function(_substr, 2, 3),
    "substring": Function(_substr, 2, 3),
    "timezone": Function(_timezone, 2, 2),
    "upper": Function(_cased("upper")),
}
