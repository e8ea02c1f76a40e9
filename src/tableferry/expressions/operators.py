"""SQLite's operators over terms, as PostgreSQL has them."""

from __future__ import annotations

from dataclasses import replace

from tableferry import kinds
from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.terms import (
    EXACT_FLOAT,
    NULL,
    NUMERIC_AFFINITIES,
    TEMPORAL,
    Term,
    as_bigint,
    as_float,
    as_integer,
    as_numeric,
    as_text,
    as_truth,
    described,
    integer,
    number_in,
    real,
    string,
    text,
    text_of_number,
    typed_literal,
    unified,
)
from tableferry.sql import fold

COLLATIONS = ("BINARY", "NOCASE", "RTRIM")
_SIGNS = {"IS": "IS NOT DISTINCT FROM", "IS NOT": "IS DISTINCT FROM"}
_ORDERING = frozenset({"<", "<=", ">", ">="})


def binary(operator: str, left: Term, right: Term) -> Term:
    """A term of two operands; ``operator`` as in syntax.Binary."""
    approximate = left.approximate or right.approximate
    if operator in ("AND", "OR"):
        term = truth(f"({as_truth(left)} {operator} {as_truth(right)})")
    elif operator in ("+", "-", "*", "/", "%"):
        term = _arithmetic(operator, left, right)
    elif operator in ("&", "|"):
        _refuse_non_integers(operator, left, right)
        term = Term(_integers(operator, left, right), kinds.INT)
    elif operator in ("<<", ">>"):
        term = _shifted(operator, left, right)
    elif operator == "||":
        term = Term(f"({as_text(left)} || {as_text(right)})", kinds.TEXT)
    else:
        term = compared(operator, left, right)
    return replace(term, approximate=approximate)


def truth(sql: str) -> Term:
    return Term(sql, kinds.BOOL)


# ---- comparisons --------------------------------------------------------------------------------


def compared(operator: str, left: Term, right: Term) -> Term:
    """= <> < <= > >= IS IS NOT, with SQLite's affinities and collations."""
    if operator in _SIGNS and "null" in (left.kind.name, right.kind.name):
        other = right if left.kind.name == "null" else left
        return truth(f"({other.sql} {operator} NULL)")
    one, other_sql = operands(left, right, operator)
    return truth(f"({one} {_SIGNS.get(operator, operator)} {other_sql})")


def operands(left: Term, right: Term, operator: str) -> tuple[str, str]:
    """Both sides of a comparison as SQL of one type, in which PostgreSQL's operator gives what
    SQLite's gives."""
    collation = _collation(left, right)
    left, right = _with_affinity(left, right), _with_affinity(right, left)
    if "null" in (left.family, right.family):
        return _plain(left), _plain(right)
    if left.family != right.family:
        raise Untranslatable(
            f"it compares {described(left)} with {described(right)}, "
            "which SQLite orders by their storage classes"
        )
    if left.family == "number":
        return _numbers(left, right)
    if left.family == "bytes":
        return left.sql, right.sql
    return _texts(left, right, operator, collation)


def _plain(term: Term) -> str:
    # json has no operators of its own.
    return as_text(term) if term.kind.name == "json" else term.sql


def _collation(left: Term, right: Term) -> str:
    """The rules of "Datatypes In SQLite", section 7.1: the first COLLATE, else the first column."""
    for term in (left, right):
        if term.explicit:
            return term.collation
    return left.collation or right.collation or "BINARY"


def _with_affinity(term: Term, other: Term) -> Term:
    """A literal with the other side's affinity applied to it (section 4.2)."""
    if term.affinity != "NONE":
        return term
    match term.literal:
        case syntax.String(value) if other.affinity in NUMERIC_AFFINITIES:
            return number_in(value) or term
        case syntax.Integer(value) | syntax.Real(value) if other.affinity == "TEXT":
            return text(text_of_number(value))
    return term


def _numbers(left: Term, right: Term) -> tuple[str, str]:
    names = {left.kind.name, right.kind.name}
    if names == {"bool"}:
        return left.sql, right.sql
    if "bool" in names and (flags := _flags(left, right)) is not None:
        return flags
    if "float" not in names:
        return _whole(left), _whole(right)
    if names == {"float"}:
        return left.sql, right.sql
    if _is_exact(left) and _is_exact(right):
        return as_float(left), as_float(right)
    if "int" not in names and left.literal is None and right.literal is None:
        # A number of a numeric column is the double that it was, or a whole number.
        return as_float(left), as_float(right)
    return _exactly(left), _exactly(right)


def _flags(left: Term, right: Term) -> tuple[str, str] | None:
    """A boolean against 0 or 1."""
    sides = []
    for term in (left, right):
        match term.literal:
            case syntax.Integer(0 | 1 as value):
                sides.append("true" if value else "false")
            case _ if term.kind.name == "bool":
                sides.append(term.sql)
            case _:
                return None
    return sides[0], sides[1]


def _whole(term: Term) -> str:
    return as_integer(term) if term.kind.name == "bool" else term.sql


def _is_exact(term: Term) -> bool:
    """Whether a number is the same as a double."""
    match term.literal:
        case syntax.Integer(value):
            return abs(value) <= EXACT_FLOAT
        case syntax.Real(_):
            return True
    return term.kind.name in ("float", "bool") or (term.kind.name == "int" and term.kind.bits <= 32)


def _exactly(term: Term) -> str:
    """A number as numeric, so that an integer and a double compare as what they are."""
    if term.kind.name != "float" or term.literal is not None:
        return as_numeric(term)
    sql = term.sql
    # Doubles beyond 2^53 that a bigint can hold are integers.
    return (
        f"(CASE WHEN abs({sql}) >= {EXACT_FLOAT} AND {sql} >= {-(2**63)} AND {sql} < {2**63} "
        f"THEN ({sql})::bigint::numeric ELSE {as_numeric(term)} END)"
    )


def _texts(left: Term, right: Term, operator: str, collation: str) -> tuple[str, str]:
    names = {left.kind.name, right.kind.name}
    if typed := names & (TEMPORAL | {"uuid"}):
        if len(names) == 1 and collation == "BINARY":
            return left.sql, right.sql
        if (pair := _typed(left, right, operator)) is not None and collation == "BINARY":
            return pair
        if not typed <= {"date", "uuid"} and not (_has_text(left) and _has_text(right)):
            raise Untranslatable(
                f"it compares {described(left)} with {described(right)}, whose spelling "
                "in SQLite decides"
            )
    if operator in _ORDERING and not _same_affinity(left, right):
        raise Untranslatable("it orders text by an affinity that depends on each value")
    return collated(left, collation, operator), collated(right, collation, operator)


def _has_text(term: Term) -> bool:
    return bool(term.text) or term.kind.name not in TEMPORAL


def _same_affinity(left: Term, right: Term) -> bool:
    """Whether no text of one side could turn into a number for the other's sake."""
    numeric = [term.affinity in NUMERIC_AFFINITIES for term in (left, right)]
    literal = left.literal is not None or right.literal is not None
    return literal or numeric[0] == numeric[1]


def _typed(left: Term, right: Term, operator: str) -> tuple[str, str] | None:
    """A date, time or UUID against a literal, which becomes one of the same type."""
    for term, other, swapped in ((left, right, False), (right, left, True)):
        match other.literal:
            case syntax.String(value) if other.kind.name == "text":
                sql = _typed_text(value, term, _mirrored(operator) if swapped else operator)
                return None if sql is None else (sql, term.sql) if swapped else (term.sql, sql)
    return None


def _typed_text(value: str, term: Term, operator: str) -> str | None:
    literal = typed_literal(value, term.kind)
    if literal is None and term.kind.name == "timestamp" and operator in (">=", "<"):
        # '2020-01-01' stands before '2020-01-01 00:00:00', as it stands after the day before.
        literal = typed_literal(f"{value} 00:00:00", term.kind)
    return None if literal is None else literal.sql


def _mirrored(operator: str) -> str:
    return operator.translate({ord("<"): ">", ord(">"): "<"})


def collated(term: Term, collation: str, operator: str = "=") -> str:
    """Text as a collation of SQLite sees it, to be compared byte by byte."""
    if collation not in COLLATIONS:
        raise Untranslatable(f"the collation {collation} is not SQLite's own")
    if isinstance(term.literal, syntax.String):
        value = term.literal.value
        if collation == "NOCASE":
            value = fold(value)
        return string(value.rstrip(" ") if collation == "RTRIM" else value)
    sql = as_text(term)
    if collation == "NOCASE":
        return f'lower({sql} COLLATE "C")'
    if collation == "RTRIM":
        sql = f"rtrim({sql}, ' ')"
    return f'({sql} COLLATE "C")' if operator in _ORDERING else sql


def between(operand: Term, low: Term, high: Term) -> Term:
    first, least = operands(operand, low, ">=")
    second, most = operands(operand, high, "<=")
    if first == second:
        return truth(f"({first} BETWEEN {least} AND {most})")
    return truth(f"({first} >= {least} AND {second} <= {most})")


def within(operand: Term, items: tuple[Term, ...]) -> Term:
    """x IN (…): the items have no affinity of their own (section 4.2)."""
    if operand.kind.name == "null":
        return truth("NULL::boolean")
    pairs = [operands(operand, replace(item, affinity="NONE"), "=") for item in items]
    if len({left for left, _ in pairs}) == 1:
        return truth(f"({pairs[0][0]} IN ({', '.join(right for _, right in pairs)}))")
    return truth(f"({' OR '.join(f'{left} = {right}' for left, right in pairs)})")


# ---- numbers ------------------------------------------------------------------------------------


def _arithmetic(operator: str, left: Term, right: Term) -> Term:
    if "null" in (left.family, right.family):
        return Term("NULL", NULL)
    if left.family != "number" or right.family != "number":
        wrong = left if left.family != "number" else right
        raise Untranslatable(
            f"the operator {operator} over {described(wrong)} is arithmetic in SQLite"
        )
    if {left.kind.name, right.kind.name} <= {"int", "bool"}:
        least = _least(operator, left, right)
        return Term(_integers(operator, left, right), kinds.INT, least=least)
    if operator == "%":
        raise Untranslatable("the operator % is translated for integers only")
    unsure = not (left.certainly_real or right.certainly_real)
    if operator == "/" and unsure:
        raise Untranslatable(
            "the operator / over numbers that may be INTEGER or REAL divides by their classes"
        )
    sql = f"({as_float(left)} {operator} {_divisor(operator, right, as_float(right))})"
    return Term(sql, kinds.FLOAT, unsure=unsure)


def _integers(operator: str, left: Term, right: Term) -> str:
    # One side has to be a bigint, or PostgreSQL computes in 32 bits.
    first, second = as_bigint(left), as_integer(right)
    if left.literal is not None:
        first, second = as_integer(left), as_bigint(right)
    return f"({first} {operator} {_divisor(operator, right, second)})"


def _divisor(operator: str, right: Term, sql: str) -> str:
    """SQLite divides by zero to NULL."""
    match right.literal:
        case syntax.Integer(value) | syntax.Real(value) if value != 0:
            return sql
    return f"nullif({sql}, 0)" if operator in ("/", "%") else sql


def _least(operator: str, left: Term, right: Term) -> int | None:
    if operator == "+" and left.least is not None and right.least is not None:
        return left.least + right.least
    positive = left.least is not None and left.least >= 0
    return 0 if operator == "%" and positive else None


def _shifted(operator: str, left: Term, right: Term) -> Term:
    _refuse_non_integers(operator, left, right)
    match right.literal:
        case syntax.Integer(value) if 0 <= value < 64:
            return Term(f"({as_bigint(left)} {operator} {value})", kinds.INT)
    raise Untranslatable(f"the operator {operator} is translated for shifts by 0 to 63 only")


def _refuse_non_integers(operator: str, *terms: Term) -> None:
    for term in terms:
        if term.kind.name not in ("int", "bool"):
            raise Untranslatable(
                f"the operator {operator} over {described(term)} takes a part of it in SQLite"
            )


def negated(term: Term) -> Term:
    match term.literal:
        case syntax.Integer(value) if value > -(2**63):
            return integer(-value)
        case syntax.Real(value):
            return real(-value)
    match term.kind.name:
        case "null":
            return term
        case "int" | "bool":
            return Term(f"(-{as_bigint(term)})", kinds.INT, approximate=term.approximate)
        case "float" | "decimal" | "numeric":
            return replace(term, sql=f"(-{term.sql})", affinity="NONE", collation="")
    raise Untranslatable(f"the operator - over {described(term)} is arithmetic in SQLite")


def unary(operator: str, term: Term) -> Term:
    if operator == "-":
        return negated(term)
    if operator == "NOT":
        return truth(f"(NOT {as_truth(term)})")
    if operator == "~":
        _refuse_non_integers("~", term)
        return Term(f"(~{as_bigint(term)})", kinds.INT)
    # The unary + keeps the value and the collation, and takes the affinity away.
    return replace(term, affinity="NONE")


def case(branches: tuple[tuple[str, Term], ...], otherwise: Term | None) -> Term:
    """CASE of conditions in SQL and values; without an ELSE it gives NULL, as in PostgreSQL."""
    values = tuple(value for _, value in branches)
    result, converted = unified(values if otherwise is None else (*values, otherwise), "a CASE")
    if result.kind == NULL:
        return result
    whens = [
        f"WHEN {condition} THEN {value}"
        for (condition, _), value in zip(branches, converted, strict=False)
    ]
    if otherwise is not None:
        whens.append(f"ELSE {converted[-1]}")
    return replace(result, sql=f"(CASE {' '.join(whens)} END)", literal=None)
