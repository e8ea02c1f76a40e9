"""PostgreSQL's operators and casts over values, as SQLite has them.

Beside what the docstring of the package names, these are beyond the rules: what ends in an error
in PostgreSQL alone (a sum that overflows, a subquery of two rows), numbers of more than 15 digits
as the result of adding and multiplying, NaN in arithmetic, and dates outside the years 1 to 9999.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from tableferry.expressions import stored
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.stored import (
    DOUBLE,
    INTEGERS,
    REAL,
    SPELLED,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    Value,
    as_double,
    as_text,
    as_timestamp,
    as_truth,
    as_units,
    described,
    of_units,
    split_type,
    string,
)
from tableferry.kinds import EXACT_DIGITS

_IS = {"IS", "IS NOT"}
_ORDERING = frozenset({"<", "<=", ">", ">="})
# Groups of values that are compared in SQLite as in PostgreSQL, by every operator.
_ORDERED = frozenset({"integer", DOUBLE, REAL, "numeric", "boolean", "bytea"}) | SPELLED
_UTC = frozenset({"utc", "etc/utc", "gmt"})


def truth(sql: str) -> Value:
    return Value(sql, "boolean")


def binary(operator: str, left: Value, right: Value) -> Value:
    """A value of two operands. Raises Untranslatable."""
    value = _binary(operator, left, right)
    return replace(value, approximate=left.approximate or right.approximate)


def _binary(operator: str, left: Value, right: Value) -> Value:
    if operator in ("AND", "OR"):
        return truth(f"({as_truth(left)} {operator} {as_truth(right)})")
    if operator in _IS or operator in _ORDERING or operator in ("=", "<>"):
        return compared(operator, left, right)
    if operator == "||":
        if "text" not in (left.type, right.type):
            raise Untranslatable(f"|| of {described(left)} and {described(right)}")
        return replace(
            Value(f"({as_text(left)} || {as_text(right)})", "text"),
            collation=_common_collation((left, right)),
        )
    if left.null or right.null:
        raise Untranslatable(f"the operator {operator} with NULL is not translated")
    if operator in ("+", "-", "*", "/", "%"):
        return _arithmetic(operator, left, right)
    if left.group == right.group == "integer":
        return _bitwise(operator, left, right)
    raise _refused(operator, left, right)


def _refused(operator: str, left: Value, right: Value) -> Untranslatable:
    return Untranslatable(
        f"the operator {operator} of {described(left)} and {described(right)} is not translated"
    )


# ---- comparisons --------------------------------------------------------------------------------


def compared(operator: str, left: Value, right: Value) -> Value:
    """= <> < <= > >=, and IS and IS NOT for IS [NOT] DISTINCT FROM, NULL and truth."""
    if left.null or right.null:
        # One that is kept as text can be NULL like any other.
        return truth(f"({left.sql} {operator} {right.sql})")
    one, other = operands(operator, left, right)
    return truth(f"({one} {operator} {other})")


def operands(operator: str, left: Value, right: Value) -> tuple[str, str]:
    """Both sides as SQL that SQLite compares with the result that PostgreSQL has."""
    if {left.type, right.type} == {"date", TIMESTAMP}:
        left, right = as_timestamp(left), as_timestamp(right)
    if {left.type, right.type} == {REAL, DOUBLE}:
        # A real is widened there, and kept as another double; one of the same value is a real too.
        left, right = (v if v.type == REAL else stored.as_real(v) or v for v in (left, right))
    if left.group != right.group:
        raise Untranslatable(
            f"it compares {described(left)} with {described(right)}, whose spellings differ"
        )
    if left.group in ("text", "bpchar"):
        if operator in _ORDERING and not stored.is_bytewise(left, right):
            raise Untranslatable("it orders text, by a collation that SQLite does not have")
        stored.refuse_unlike(left, right)
        return as_text(left), as_text(right)
    if left.group == "numeric" and not (left.digits and right.digits):
        raise Untranslatable(f"it compares {described(right if left.digits else left)}")
    if left.group in _ORDERED:
        return left.sql, right.sql
    if (left.labels or right.labels) and left.type == right.type and operator not in _ORDERING:
        return left.sql, right.sql
    raise Untranslatable(f"it compares values of type {described(left)}")


def within(operand: Value, items: Sequence[Value]) -> Value:
    """x IN (…)."""
    typed = [item if not item.null else replace(operand, sql="NULL") for item in items]
    pairs = [operands("=", operand, item) for item in typed]
    if len({one for one, _ in pairs}) > 1:
        return truth(f"({' OR '.join(f'({one} = {other})' for one, other in pairs)})")
    return truth(f"({pairs[0][0]} IN ({', '.join(other for _, other in pairs)}))")


def refuse_undistinguishable(values: Sequence[Value], what: str) -> None:
    """Raise where SQLite would tell values apart in another way than ``what`` does."""
    for value in values:
        if not value.null:
            try:
                one, _ = operands("=", value, value)
            except Untranslatable as error:
                raise Untranslatable(f"{what}: {error.reason}") from None
            if one != value.sql:
                raise Untranslatable(f"{what} of {described(value)} is not translated")


def sort_key(value: Value) -> str:
    """A key of an ORDER BY or of an aggregate that goes by order."""
    return operands("<", value, value)[0]


# ---- patterns -----------------------------------------------------------------------------------


def like(operand: Value, pattern: str, escape: str = "\\") -> Value:
    """LIKE, which tells case: GLOB does in SQLite."""
    _refuse_other_than_text(operand)
    return truth(f"({operand.sql} GLOB {string(_glob(pattern, escape))})")


def ilike(operand: Value, pattern: str, escape: str = "\\") -> Value:
    """LIKE of SQLite knows the case of ASCII letters alone, as the collation C does."""
    _refuse_other_than_text(operand)
    if not stored.is_bytewise(operand):
        raise Untranslatable("ILIKE knows letters outside ASCII, as SQLite does not")
    parts = _pattern_parts(pattern, escape)
    written = "".join(part if wild or part not in "%_\\" else f"\\{part}" for part, wild in parts)
    return truth(f"({operand.sql} LIKE {string(written)} ESCAPE '\\')")


def _refuse_other_than_text(operand: Value) -> None:
    if operand.type != "text":
        raise Untranslatable(f"LIKE of {described(operand)} is not translated")
    stored.refuse_unlike(operand)


def _glob(pattern: str, escape: str) -> str:
    signs = {"%": "*", "_": "?"}
    return "".join(
        signs[part] if wild else f"[{part}]" if part in "*?[" else part
        for part, wild in _pattern_parts(pattern, escape)
    )


def _pattern_parts(pattern: str, escape: str) -> list[tuple[str, bool]]:
    """The characters of a pattern, each with whether it is a wildcard."""
    parts = []
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            meant = next(characters, None)
            if meant is None:
                raise Untranslatable("a pattern that ends in its escape is not translated")
            parts.append((meant, False))
        else:
            parts.append((character, character in "%_"))
    return parts


# ---- numbers ------------------------------------------------------------------------------------


def _arithmetic(operator: str, left: Value, right: Value) -> Value:
    if operator in ("/", "%") and not right.nonzero:
        raise Untranslatable("a division by what may be 0 is an error there, and NULL in SQLite")
    groups = {left.group, right.group}
    if groups == {"integer"}:
        return _integers(operator, left, right)
    if groups == {"numeric"}:
        return _numerics(operator, left, right)
    if groups == {DOUBLE}:
        return _doubles(operator, left, right)
    if left.type == "date" and operator in ("+", "-"):
        return _days(operator, left, right)
    if right.type == "date" and left.group == "integer" and operator == "+":
        return _days(operator, right, left)
    raise _refused(operator, left, right)


def _integers(operator: str, left: Value, right: Value) -> Value:
    wider = max(left.type, right.type, key=INTEGERS.index)
    return Value(f"({left.sql} {operator} {right.sql})", wider)


def _doubles(operator: str, left: Value, right: Value) -> Value:
    if operator == "%":
        raise _refused(operator, left, right)
    return Value(f"({left.sql} {operator} {right.sql})", DOUBLE)


def _numerics(operator: str, left: Value, right: Value) -> Value:
    """Exact, by way of integers."""
    if operator in ("/", "%"):
        raise Untranslatable(f"the operator {operator} of numerics is not translated")
    (one, first), (other, second) = as_units(left), as_units(right)
    if operator == "*":
        return of_units(f"({one} * {other})", first + second)
    scale = max(first, second)
    one, other = _raised(one, scale - first), _raised(other, scale - second)
    return of_units(f"({one} {operator} {other})", scale)


def _raised(units: str, digits: int) -> str:
    return f"({units} * {10**digits})" if digits else units


def _days(operator: str, date: Value, other: Value) -> Value:
    if other.type == "date" and operator == "-":
        # Julian days of midnights are exact doubles.
        return Value(f"CAST(julianday({date.sql}) - julianday({other.sql}) AS INTEGER)", "integer")
    if other.group == "integer":
        sign = "-" if operator == "-" else ""
        return Value(f"date({date.sql}, ({sign}{other.sql}) || ' days')", "date")
    raise _refused(operator, date, other)


def _bitwise(operator: str, left: Value, right: Value) -> Value:
    wider = max(left.type, right.type, key=INTEGERS.index)
    match operator:
        case "&" | "|":
            return Value(f"({left.sql} {operator} {right.sql})", wider)
        case "#":
            one, other = left.sql, right.sql
            return Value(f"(({one} | {other}) - ({one} & {other}))", wider)
        case "<<" | ">>":
            # Within its own width; the number of bits is taken modulo that.
            width = 64 if left.type == "bigint" else 32
            literal = isinstance(right.literal, int) and 0 <= right.literal < width
            if literal and left.type != "smallint" and (operator == ">>" or width == 64):
                return Value(f"({left.sql} {operator} {right.sql})", left.type)
    raise _refused(operator, left, right)


def unary(operator: str, value: Value) -> Value:
    if operator == "NOT":
        return truth(f"(NOT {as_truth(value)})")
    if operator == "+" and value.group in ("integer", DOUBLE, REAL, "numeric"):
        return value
    if operator == "~" and value.group == "integer":
        return Value(f"(~{value.sql})", value.type)
    if operator == "-" and not value.null:
        return _negated(value)
    raise Untranslatable(f"the operator {operator} of {described(value)} is not translated")


def _negated(value: Value) -> Value:
    match value.literal:
        case bool():
            pass
        case int(literal) if literal > -(2**63):
            return stored.integer(-literal, value.type)
        case float(literal):
            return stored.double(-literal, value.type)
        case Decimal() as exact:
            return stored.number(exact.copy_negate())
    if value.group in ("integer", DOUBLE, REAL):
        return Value(f"(-{value.sql})", value.type, approximate=value.approximate)
    if value.type == "numeric":
        units, scale = as_units(value)
        return of_units(f"(-{units})", scale)
    raise Untranslatable(f"the operator - of {described(value)} is not translated")


# ---- several values as one ----------------------------------------------------------------------


def unified(values: Sequence[Value], what: str) -> Value:
    """What a CASE or COALESCE of these values is, without its SQL. Raises Untranslatable."""
    known = [value for value in values if not value.null] or list(values)
    typed = [value for value in values if value.type != "null"]
    groups = {value.group for value in typed}
    if len(groups) > 1:
        listed = " and ".join(sorted({described(value) for value in typed}))
        raise Untranslatable(f"{what} gives {listed}")
    approximate = any(value.approximate for value in values)
    if not groups:
        return replace(stored.null(), approximate=approximate)
    first = known[0] if known[0].type != "null" else typed[0]
    result = Value(
        "", _widest(typed), approximate=approximate, labels=first.labels, kept=first.kept
    )
    if result.type == "numeric":
        return _common_numeric(result, known, what)
    if result.type in ("text", "bpchar"):
        return replace(result, collation=_common_collation(known))
    return result


def _widest(values: Sequence[Value]) -> str:
    types = {value.type for value in values}
    if types <= set(INTEGERS):
        return max(types, key=INTEGERS.index)
    return values[0].type


def _common_numeric(result: Value, values: Sequence[Value], what: str) -> Value:
    if all(not value.digits for value in values):
        return result
    if all(value.digits for value in values) and any(value.scale < 0 for value in values):
        return replace(result, digits=17, scale=-1)
    if not all(value.digits for value in values):
        raise Untranslatable(f"{what} gives numbers that are kept as text and others that are not")
    scale = max(value.scale for value in values)
    digits = scale + max(value.digits - value.scale for value in values)
    if digits > EXACT_DIGITS and scale:
        raise Untranslatable(f"{what} gives numbers of more than {EXACT_DIGITS} digits")
    return replace(result, digits=digits, scale=scale)


def _common_collation(values: Sequence[Value]) -> str:
    explicit = {value.collation for value in values if value.explicit}
    chosen = explicit or {value.collation for value in values if value.collation}
    # Two at once are none that anything could be compared by.
    return " and ".join(sorted(chosen))


def case(branches: Sequence[tuple[str, Value]], otherwise: Value | None) -> Value:
    values = [value for _, value in branches] + ([otherwise] if otherwise else [])
    result = unified(values, "a CASE")
    whens = " ".join(f"WHEN {condition} THEN {value.sql}" for condition, value in branches)
    last = f" ELSE {otherwise.sql}" if otherwise else ""
    return replace(result, sql=f"(CASE {whens}{last} END)")


# ---- casts --------------------------------------------------------------------------------------


def cast(value: Value, name: str) -> Value:
    """value::name. Raises Untranslatable."""
    base, modifiers = split_type(name)
    if value.null:
        return stored.null(base)
    if base == "text" and modifiers and isinstance(value.literal, str):
        return stored.text(value.literal[: modifiers[0]])
    result = _cast(value, base, modifiers)
    if result is None:
        raise Untranslatable(f"the cast of {described(value)} to {name[:60]} is not translated")
    return replace(result, approximate=value.approximate)


def _cast(value: Value, base: str, modifiers: tuple[int, ...]) -> Value | None:
    if base == "numeric":
        return _cast_to_numeric(value, modifiers)
    if modifiers:
        return None
    if base == value.type:
        return value
    if base == "text":
        return _cast_to_text(value)
    if base in INTEGERS:
        return _cast_to_integer(value, base)
    match base:
        case "real":
            return stored.as_real(value)
        case "double precision" if value.group in ("integer", "numeric"):
            literal = float(value.literal) if isinstance(value.literal, int | Decimal) else None
            return Value(as_double(value), DOUBLE, literal, nonzero=value.nonzero)
        case "boolean" if value.type == "integer":
            return truth(f"({value.sql} <> 0)")
        case "date" if value.type == TIMESTAMP:
            return Value(f"substr({value.sql}, 1, 10)", "date")
        case "timestamp without time zone" if value.type == "date":
            return as_timestamp(value)
        case "time without time zone" if value.type == TIMESTAMP:
            return Value(f"substr({value.sql}, 12)", TIME)
    return None


def _cast_to_numeric(value: Value, modifiers: tuple[int, ...]) -> Value | None:
    if value.type != "numeric" and value.group != "integer":
        return None
    number = stored.as_numeric(value)
    if modifiers and not number.digits:
        return None
    if modifiers:
        precision, scale = (*modifiers, 0)[:2]
        # More digits before the point would be an error, more after it would be rounded.
        if not 0 <= number.scale <= scale:
            return None
        return replace(number, digits=max(min(number.digits, precision), 1))
    return number


def _cast_to_text(value: Value) -> Value:
    literal = value.literal if isinstance(value.literal, str) else None
    return Value(
        as_text(value),
        "text",
        literal,
        collation=value.collation,
        explicit=value.explicit,
    )


def _cast_to_integer(value: Value, base: str) -> Value | None:
    if value.group == "integer":
        return replace(value, type=base)
    if value.type == "boolean" and base == "integer":
        return Value(value.sql, base)
    if value.type == "numeric" and value.digits and value.scale == 0:
        return Value(as_units(value)[0], base, nonzero=value.nonzero)
    return None


def at_time_zone(zone: Value, moment: Value) -> Value:
    """moment AT TIME ZONE zone, for UTC: which of the two spellings has the offset."""
    if isinstance(zone.literal, str) and zone.literal.lower() in _UTC:
        if moment.type == TIMESTAMPTZ:
            return Value(f"replace({moment.sql}, '+00:00', '')", TIMESTAMP)
        if moment.type == TIMESTAMP:
            return Value(f"({moment.sql} || '+00:00')", TIMESTAMPTZ)
    raise Untranslatable("AT TIME ZONE is translated for UTC only")
