"""How deep SQL may nest for SQLite to read it.

Before 3.46 SQLite's parser has a stack of 100 entries ("Maximum Depth Of An Expression Tree" is
another limit). A file whose schema is beyond it opens in no such version at all, so nothing is
written that comes near it.
"""

from __future__ import annotations

from tableferry.expressions.model import Untranslatable
from tableferry.expressions.tokens import tokens

_MAX_STACK = 70
# What a query and a CASE leave on the stack until they end.
_OPENING = {"SELECT": 6, "CASE": 4, "WITH": 4}

_KEYWORDS = frozenset(
    [
        *("AND", "OR", "NOT", "IN", "WHEN", "THEN", "ELSE", "ON", "WHERE", "HAVING", "BY", "AS"),
        *("FROM", "JOIN", "SELECT", "UNION", "ALL", "EXCEPT", "INTERSECT", "EXISTS", "DISTINCT"),
    ]
)
_SIGNS = _KEYWORDS | {"", "(", ",", "+", "-", "*", "/", "%", "||", "=", "<>", "<", "<=", ">", ">="}


def refuse_deep(sql: str) -> str:
    """``sql`` itself. Raises Untranslatable where it might be too much for the stack."""
    if _deepest(sql) > _MAX_STACK:
        raise Untranslatable("it nests deeper than versions of SQLite before 3.46 can read")
    return sql


def _deepest(sql: str) -> int:
    """At most how many entries of the parser's stack it takes, as measured: one for an opening
    parenthesis, two for what stands before it within the one around, two for a function's name."""
    costs = [0]
    deepest = 0
    first, before = True, ""
    for token in tokens(sql):
        word = token.word
        if word == "(":
            is_call = before not in _SIGNS
            costs.append((1 if first else 3) + (2 if is_call else 0))
        elif word == ")" and len(costs) > 1:
            costs.pop()
        elif word == "END":
            costs[-1] -= _OPENING["CASE"]
        elif word in _OPENING:
            costs[-1] += _OPENING[word]
        first = word == "("
        before = word if token.kind in ("word", "sign") else "name"
        if token.kind == "word" and word not in _KEYWORDS:
            before = "name"
        deepest = max(deepest, sum(costs))
    return deepest
