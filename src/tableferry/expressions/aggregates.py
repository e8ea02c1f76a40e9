"""Aggregates: those whose result does not depend on the order of the rows, or says so."""

from __future__ import annotations

from dataclasses import replace

from tableferry import kinds
from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.syntax import Node
from tableferry.expressions.terms import SMALL, Term, as_bigint, as_float, as_integer, described

_NAMES = frozenset({"count", "sum", "total", "avg", "min", "max", "group_concat", "string_agg"})
# The kinds that min() and max() take in every version of PostgreSQL, and order as SQLite does.
_ORDERED = frozenset({"int", "float", "decimal", "numeric", "text", "date", "time", "timestamp"})
_FLOAT_NAMES = {"sum": "sum", "total": "sum", "avg": "avg"}


def is_aggregate(node: syntax.Call) -> bool:
    """Whether a call goes over rows: min() and max() of several arguments do not."""
    if node.name in ("min", "max"):
        return len(node.arguments) == 1 or node.star
    return node.name in _NAMES


def has_aggregate(node: Node | None) -> bool:
    """Whether an aggregate is called in an expression, subqueries not counted."""
    match node:
        case syntax.Call():
            return is_aggregate(node) or any(map(has_aggregate, node.arguments))
        case syntax.Unary(_, operand) | syntax.Collate(operand, _) | syntax.Cast(operand, _):
            return has_aggregate(operand)
        case syntax.Binary(_, left, right):
            return has_aggregate(left) or has_aggregate(right)
        case syntax.Match(_, operand, pattern, escape):
            return any(map(has_aggregate, (operand, pattern, escape)))
        case syntax.Between(operand, low, high):
            return any(map(has_aggregate, (operand, low, high)))
        case syntax.InList(operand, items):
            return any(map(has_aggregate, (operand, *items)))
        case syntax.InSelect(operand, _):
            return has_aggregate(operand)
        case syntax.Case(operand, branches, otherwise):
            inside = [part for branch in branches for part in branch]
            return any(map(has_aggregate, (operand, *inside, otherwise)))
    return False


def aggregate(name: str, value: Term, distinct: str) -> Term:
    """An aggregate over one argument; ``distinct`` is "DISTINCT " or nothing."""
    if distinct or name in ("min", "max"):
        refuse_undistinguishable((value,), f"{name}()")
    if name == "count":
        return Term(f"count({distinct}{value.sql})", kinds.INT, least=0)
    if name in ("min", "max"):
        return _extreme(name, value)
    if value.family != "number":
        raise Untranslatable(f"{name}() of {described(value)} is arithmetic in SQLite")
    if value.kind.name in ("int", "bool"):
        return _of_integers(name, value, distinct)
    # Doubles are added in another order, and so rounded elsewhere.
    sql = f"{_FLOAT_NAMES[name]}({distinct}{as_float(value)})"
    if name == "total":
        sql = f"coalesce({sql}, 0)"
    unsure = name == "sum" and not value.certainly_real
    return Term(sql, kinds.FLOAT, unsure=unsure, approximate=True)


def _of_integers(name: str, value: Term, distinct: str) -> Term:
    """Sums of integers are exact; SQLite's avg() divides them as doubles."""
    total = f"sum({distinct}{as_bigint(value)})"
    if name == "sum":
        return Term(f"({total})::bigint", kinds.INT)
    if name == "total":
        return Term(f"coalesce({total}, 0)::double precision", kinds.FLOAT)
    count = f"count({distinct}{as_integer(value)})"
    sql = f"(({total})::double precision / nullif({count}, 0)::double precision)"
    return Term(sql, kinds.FLOAT)


def _extreme(name: str, value: Term) -> Term:
    if value.kind.name == "bool":
        value = Term(as_integer(value), SMALL)
    if value.kind.name not in _ORDERED:
        raise Untranslatable(f"{name}() of {described(value)} is not translated")
    argument = f'{value.sql} COLLATE "C"' if value.kind.name == "text" else value.sql
    return replace(
        value, sql=f"{name}({argument})", affinity=value.affinity, least=None, digits=False, text=""
    )


def refuse_undistinguishable(terms: tuple[Term, ...], what: str) -> None:
    """Raise where ``what`` would tell these values apart in another way than SQLite."""
    for term in terms:
        if term.family == "text" and term.collation not in ("", "BINARY"):
            raise Untranslatable(f"{what} by the collation {term.collation} is not translated")
        if term.kind.name == "json":
            raise Untranslatable(f"{what} of JSON is not translated")
