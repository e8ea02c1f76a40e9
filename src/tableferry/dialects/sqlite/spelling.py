"""Expressions of SQLite in one spelling, so that two that say the same are written alike. Pure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from tableferry.dialects.sqlite.types import affinity
from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.parser import parse_expression
from tableferry.expressions.tokens import Token, tokens, unquoted
from tableferry.expressions.within_sqlite import ANY, translate_default
from tableferry.model import Expression
from tableferry.sql import fold

_NUMBERS = ("INTEGER", "REAL", "NUMERIC")


def spelled(expression: Expression) -> str:
    """The expression without its brackets, blanks and comments, the case of its names and the ways
    to quote them; a constant as its column keeps it ("Datatypes In SQLite", section 3). What no
    parser of ours knows is compared token by token."""
    try:
        text = expression.text
        if expression.default:
            text = translate_default(text, ANY)
        node = _plain(parse_expression(text))
    except Untranslatable:
        return _by_tokens(expression.text)
    if not expression.default:
        return repr(node)
    if isinstance(node, syntax.Null):
        return ""
    return _kept(node, affinity(expression.type))


def _plain(node: Any) -> Any:
    """The tree with names as SQLite compares them, each without its table."""
    if isinstance(node, syntax.Name):
        return syntax.Name(fold(node.name))
    if isinstance(node, tuple):
        return tuple(map(_plain, node))
    if is_dataclass(node) and not isinstance(node, type):
        names = [each.name for each in fields(node)]
        return replace(node, **{name: _plain(getattr(node, name)) for name in names})
    return node


def _kept(node: syntax.Node, affinity: str) -> str:
    """A default; a constant, perhaps with its sign, as a column of this affinity keeps it."""
    match node:
        case syntax.Unary("-", syntax.Integer(number) | syntax.Real(number)):
            value = str(-number)
        case syntax.Unary("+", syntax.Integer(number) | syntax.Real(number)):
            value = str(number)
        case syntax.Integer(number) | syntax.Real(number):
            value = str(number)
        case syntax.String(text):
            value = text
            if affinity not in _NUMBERS:
                return repr(node)
        case _:
            return repr(node)
    if affinity == "TEXT":
        return repr(syntax.String(value))
    try:
        exact = Decimal(value)
    except InvalidOperation:
        return repr(syntax.String(value))
    return f"number {exact.normalize()}" if exact.is_finite() else repr(syntax.String(value))


def _by_tokens(text: str) -> str:
    try:
        found = tokens(text)
    except Untranslatable:
        return " ".join(text.split())
    return " ".join(map(_written, found))


def _written(token: Token) -> str:
    if token.kind in ("word", "loose", "quoted"):
        return fold(unquoted(token))
    return token.text
