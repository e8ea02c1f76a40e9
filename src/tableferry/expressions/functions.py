"""The functions of SQLite that are translated: the whole list, each with its rule.

A function that is not in ``FUNCTIONS`` is never sent on. Aggregates are in views.py, and what only
a DEFAULT may call in defaults.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from tableferry import kinds
from tableferry.expressions import clock
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.operators import case, compared, truth
from tableferry.expressions.syntax import Integer, String
from tableferry.expressions.terms import (
    SMALL,
    Term,
    as_bigint,
    as_float,
    as_integer,
    as_text,
    as_truth,
    bytes_of,
    described,
    null,
    text,
    typed_literal,
    unified,
)

Arguments: TypeAlias = tuple[Term, ...]

# Doubles from here on have no fraction.
_WHOLE_FROM = 2**52


@dataclass(frozen=True, slots=True)
class Function:
    """``rule`` makes the term; it is called with ``least`` to ``most`` arguments."""

    rule: Callable[[Arguments], Term]
    least: int = 1
    most: int = 1


def call(name: str, arguments: Arguments) -> Term:
    """The term of a function's call. Raises Untranslatable."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise Untranslatable(f"the function {name[:60]}() is not translated")
    if not function.least <= len(arguments) <= function.most:
        raise Untranslatable(f"{name}() with {len(arguments)} arguments is not translated")
    term = function.rule(arguments)
    return replace(term, approximate=any(argument.approximate for argument in arguments))


# ---- of any type --------------------------------------------------------------------------------


def _coalesce(arguments: Arguments) -> Term:
    result, converted = unified(arguments, "coalesce()")
    if result.family == "null":
        return result
    return replace(result, sql=f"coalesce({', '.join(converted)})", literal=None)


def _nullif(arguments: Arguments) -> Term:
    first, second = _without_affinity(arguments)
    if "null" in (first.family, second.family):
        return first
    same = compared("=", first, second)
    return case(((same.sql, null()),), first)


def _iif(arguments: Arguments) -> Term:
    condition, value, *otherwise = arguments
    return case(((as_truth(condition), value),), otherwise[0] if otherwise else None)


def _least_of(arguments: Arguments) -> Term:
    return _extreme("least", arguments)


def _greatest_of(arguments: Arguments) -> Term:
    return _extreme("greatest", arguments)


def _extreme(function: str, arguments: Arguments) -> Term:
    """min() and max() are NULL where any argument is; least() and greatest() are not."""
    _refuse_collations(arguments, "min() and max()")
    if any(argument.family == "null" for argument in arguments):
        return null()
    result, converted = unified(_without_affinity(arguments), "min() or max()")
    if result.kind.name == "bool":
        raise Untranslatable("min() and max() of booleans are not translated")
    if result.kind.name == "text":
        converted = tuple(f'({sql} COLLATE "C")' for sql in converted)
    missing = " OR ".join(f"{sql} IS NULL" for sql in converted)
    sql = f"(CASE WHEN {missing} THEN NULL ELSE {function}({', '.join(converted)}) END)"
    return replace(result, sql=sql, literal=None)


def _refuse_collations(arguments: Arguments, what: str) -> None:
    for argument in arguments:
        if argument.collation not in ("", "BINARY"):
            raise Untranslatable(f"{what} by the collation {argument.collation} is not translated")


def _without_affinity(arguments: Arguments) -> Arguments:
    """Arguments of functions are compared as they are ("Datatypes In SQLite", section 4.2)."""
    return tuple(replace(argument, affinity="NONE") for argument in arguments)


def _typeof(arguments: Arguments) -> Term:
    (value,) = arguments
    if value.family == "null":
        return text("null")
    if value.kind.name in ("decimal", "numeric") or value.unsure:
        raise Untranslatable("typeof() of a number that may be INTEGER or REAL is not translated")
    names = {"int": "integer", "bool": "integer", "float": "real", "bytes": "blob"}
    name = names.get(value.kind.name, "text")
    sql = f"(CASE WHEN {value.sql} IS NULL THEN 'null' ELSE '{name}' END)"
    return Term(sql, kinds.TEXT)


def _same(arguments: Arguments) -> Term:
    # likely() and unlikely() are hints for the planner.
    return replace(arguments[0], affinity="NONE", collation="")


# ---- numbers ------------------------------------------------------------------------------------


def _abs(arguments: Arguments) -> Term:
    (value,) = arguments
    match value.kind.name:
        case "null":
            return null()
        case "int" | "bool":
            return Term(f"abs({as_bigint(value)})", kinds.INT, least=0)
        case "float" | "decimal" | "numeric":
            return Term(f"abs({value.sql})", value.kind, unsure=not value.certainly_real)
    raise Untranslatable(f"abs() of {described(value)} is not translated")


def _round(arguments: Arguments) -> Term:
    """Half away from zero, where round() of a double goes to the even number in PostgreSQL."""
    value = arguments[0]
    if len(arguments) == 2 and not isinstance(arguments[1].literal, Integer):
        raise Untranslatable("round() to a computed number of digits is not translated")
    if value.kind.name in ("int", "bool"):
        return Term(as_float(value), kinds.FLOAT)
    if value.kind.name == "float" and (len(arguments) == 1 or arguments[1].literal == Integer(0)):
        sql = value.sql
        return Term(
            f"(CASE WHEN abs({sql}) < {_WHOLE_FROM} "
            f"THEN trunc({sql} + CASE WHEN {sql} < 0 THEN -0.5 ELSE 0.5 END) ELSE {sql} END)",
            kinds.FLOAT,
        )
    raise Untranslatable(
        f"round() of {described(value)} to a number of digits depends on its binary digits"
    )


# ---- text ---------------------------------------------------------------------------------------


def _length(arguments: Arguments) -> Term:
    (value,) = arguments
    if value.kind.name == "bytes":
        return Term(f"length({value.sql})", SMALL, least=0)
    return Term(f"length({as_text(value)})", SMALL, least=0)


def _cased(function: str) -> Callable[[Arguments], Term]:
    def rule(arguments: Arguments) -> Term:
        # SQLite knows the case of ASCII letters alone, as the collation "C" does.
        return Term(f'{function}({as_text(arguments[0])} COLLATE "C")', kinds.TEXT)

    return rule


def _trimmed(function: str) -> Callable[[Arguments], Term]:
    def rule(arguments: Arguments) -> Term:
        characters = as_text(arguments[1]) if len(arguments) == 2 else "' '"
        return Term(f"{function}({as_text(arguments[0])}, {characters})", kinds.TEXT)

    return rule


def _substr(arguments: Arguments) -> Term:
    value, start, *length = arguments
    if "null" in (start.kind.name, *(term.kind.name for term in length)):
        return null()
    sql, position = as_text(value), _position(start)
    if start.least is not None and start.least >= 1:
        count = "".join(f", {_count(term, start)}" for term in length)
        return Term(f"substr({sql}, {position}{count})", kinds.TEXT)
    if length:
        raise Untranslatable("substr() from a position that may be below 1 is not translated")
    # From the end, where the position is negative, and from the first character at 0.
    return Term(
        f"(CASE WHEN {position} > 0 THEN substr({sql}, {position}) "
        f"WHEN {position} = 0 THEN {sql} ELSE right({sql}, -{position}) END)",
        kinds.TEXT,
    )


def _position(term: Term) -> str:
    if isinstance(term.literal, Integer):
        return term.sql
    return f"({as_integer(term)})::integer"


def _count(length: Term, start: Term) -> str:
    sql = _position(length)
    if length.least is not None and length.least >= 0:
        return sql
    if start.literal == Integer(1):
        # Nothing stands before the first character, which is what a negative length asks for.
        return f"CASE WHEN {sql} < 0 THEN 0 ELSE {sql} END"
    raise Untranslatable("substr() of a length that may be negative is not translated")


def _replace(arguments: Arguments) -> Term:
    return Term(f"replace({', '.join(as_text(a) for a in arguments)})", kinds.TEXT)


def _instr(arguments: Arguments) -> Term:
    return Term(f"strpos({', '.join(as_text(a) for a in arguments)})", SMALL, least=0)


def _hex(arguments: Arguments) -> Term:
    (value,) = arguments
    if value.kind.name != "bytes":
        value = replace(value, sql=bytes_of(value))
    # hex(NULL) is the empty text.
    return Term(f"coalesce(upper(encode({value.sql}, 'hex')), '')", kinds.TEXT)


def _json_valid(arguments: Arguments) -> Term:
    (value,) = arguments
    if value.kind.name != "json":
        raise Untranslatable(f"json_valid() of {described(value)} is not translated")
    return truth(f"(CASE WHEN {value.sql} IS NOT NULL THEN true END)")


# ---- dates and times ----------------------------------------------------------------------------


def _date(arguments: Arguments) -> Term:
    return clock.date(_moment("date", arguments[0]))


def _datetime(arguments: Arguments) -> Term:
    return clock.datetime(_moment("datetime", arguments[0]))


def _strftime(arguments: Arguments) -> Term:
    pattern = arguments[0].literal
    if not isinstance(pattern, String):
        raise Untranslatable("strftime() with a computed format is not translated")
    return clock.strftime(pattern.value, _moment("strftime", arguments[1]))


def _julianday(arguments: Arguments) -> Term:
    return clock.julianday(_moment("julianday", arguments[0]))


def _moment(function: str, value: Term) -> Term:
    """The argument as a date, timestamp or timestamptz."""
    if isinstance(value.literal, String):
        written = value.literal.value
        for kind in (kinds.DATE, kinds.TIMESTAMP):
            if (term := typed_literal(written, kind)) is not None:
                return term
        raise Untranslatable(f"{function}() of the text {written[:40]!r} is not translated")
    if value.kind.name in ("date", "timestamp", "timestamptz"):
        return value
    raise Untranslatable(f"{function}() of {described(value)} is not translated")


FUNCTIONS: dict[str, Function] = {
    "abs": Function(_abs),
    "coalesce": Function(_coalesce, 2, 100),
    "date": Function(_date),
    "datetime": Function(_datetime),
    "hex": Function(_hex),
    "ifnull": Function(_coalesce, 2, 2),
    "iif": Function(_iif, 2, 3),
    "instr": Function(_instr, 2, 2),
    "json_valid": Function(_json_valid),
    "julianday": Function(_julianday),
    "length": Function(_length),
    "likely": Function(_same),
    "lower": Function(_cased("lower")),
    "ltrim": Function(_trimmed("ltrim"), 1, 2),
    "max": Function(_greatest_of, 2, 100),
    "min": Function(_least_of, 2, 100),
    "nullif": Function(_nullif, 2, 2),
    "replace": Function(_replace, 3, 3),
    "round": Function(_round, 1, 2),
    "rtrim": Function(_trimmed("rtrim"), 1, 2),
    "strftime": Function(_strftime, 2, 2),
    "substr": Function(_substr, 2, 3),
    "substring": Function(_substr, 2, 3),
    "trim": Function(_trimmed("btrim"), 1, 2),
    "typeof": Function(_typeof),
    "unlikely": Function(_same),
    "upper": Function(_cased("upper")),
}
