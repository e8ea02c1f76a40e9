"""PostgreSQL's expressions as SQLite's: the walk over the allowed nodes.

What is read is what the catalog functions print: bracketed throughout, with every cast written
out. Everything that is built here is built from constants, quoted names and quoted literals.

SQLite's own laws for what a column's affinity does to a comparison change nothing here, since only
values of one class are ever compared (see stored.py).
"""

from __future__ import annotations

from typing import Protocol

from tableferry.expressions import (
    assigned,
    postgresql_functions,
    postgresql_operators,
    stored,
    syntax,
)
from tableferry.expressions.model import Relation, Untranslatable
from tableferry.expressions.nesting import refuse_deep
from tableferry.expressions.postgresql_parser import ARRAY, parse_expression
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.stored import Value, described
from tableferry.expressions.syntax import Node
from tableferry.model import Kind
from tableferry.sql import quote

_MAX_OUTPUT = 100_000


class Names(Protocol):
    """Where the names in an expression are looked up."""

    def find(self, name: syntax.Name) -> Value | None:
        """The column that a name means, None where there is none of that name."""


class Columns:
    """The names of one table, by themselves or after the table's own name; case counts."""

    def __init__(self, relation: Relation | None) -> None:
        self._relation = relation

    def find(self, name: syntax.Name) -> Value | None:
        relation = self._relation
        if relation is None or name.table not in ("", relation.source_name):
            return None
        for field in relation.fields:
            if field.source_name == name.name:
                return stored.column(field, quote(field.name))
        return None


class Translator:
    """Builds a value for each node; a node of no known type, or in a wrong place, is refused."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def value(self, node: Node) -> Value:
        value = self._value(node)
        if len(value.sql) > _MAX_OUTPUT:
            raise Untranslatable("its translation grows too long")
        return value

    def truth(self, node: Node) -> str:
        """A condition."""
        return stored.as_truth(self.value(node))

    def _value(self, node: Node) -> Value:
        match node:
            case syntax.Null():
                return stored.null()
            case syntax.Integer(value):
                return stored.integer(value)
            case syntax.String():
                raise Untranslatable("a string of no type is not translated")
            case syntax.Name():
                return self._name(node)
            case syntax.Unary(operator, operand):
                return postgresql_operators.unary(operator, self.value(operand))
            case syntax.Binary(operator, left, right):
                return postgresql_operators.binary(operator, self.value(left), self.value(right))
            case syntax.Collate(operand, collation):
                return self._collate(self.value(operand), collation)
            case syntax.Match():
                return self._match(node)
            case syntax.InList(operand, items):
                values = tuple(map(self.value, items))
                return postgresql_operators.within(self.value(operand), values)
            case syntax.Case():
                return self._case(node)
            case syntax.Cast(operand, name):
                return self._cast(operand, name)
            case syntax.Call():
                return self._call(node)
            case syntax.Now(keyword):
                return self._now(keyword)
            case syntax.InSelect() | syntax.Exists() | syntax.Scalar():
                return self._subquery(node)
        raise Untranslatable(f"{type(node).__name__} is not translated")

    def _name(self, name: syntax.Name) -> Value:
        found = self._names.find(name)
        if found is None:
            written = f"{name.table}.{name.name}" if name.table else name.name
            raise Untranslatable(f"the name {written[:80]} is no column that is known")
        return found

    def _collate(self, value: Value, collation: str) -> Value:
        if value.type != "text":
            raise Untranslatable(f"a collation of {described(value)} is not translated")
        return stored.with_collation(value, collation)

    def _match(self, node: syntax.Match) -> Value:
        operand = self.value(node.operand)
        match node.pattern:
            case syntax.Call("like_escape", (pattern, escape)):
                written, character = self._literal(pattern), self._literal(escape)
            case pattern:
                written, character = self._literal(pattern), "\\"
        if len(character) > 1:
            raise Untranslatable("LIKE with this ESCAPE is not translated")
        if node.operator == "~~*":
            return postgresql_operators.ilike(operand, written, character)
        return postgresql_operators.like(operand, written, character)

    def _literal(self, node: Node) -> str:
        value = self.value(node)
        if value.type == "text" and isinstance(value.literal, str):
            return value.literal
        raise Untranslatable("LIKE with a computed pattern is not translated")

    def _case(self, node: syntax.Case) -> Value:
        operand = None if node.operand is None else self.value(node.operand)
        branches = [
            (self._condition(operand, condition), self.value(value))
            for condition, value in node.branches
        ]
        otherwise = None if node.otherwise is None else self.value(node.otherwise)
        return postgresql_operators.case(branches, otherwise)

    def _condition(self, operand: Value | None, node: Node) -> str:
        if operand is None:
            return self.truth(node)
        return postgresql_operators.compared("=", operand, self.value(node)).sql

    def _cast(self, operand: Node, name: str) -> Value:
        if isinstance(operand, syntax.String):
            return stored.typed_literal(operand.value, *stored.split_type(name))
        return postgresql_operators.cast(self.value(operand), name)

    def _call(self, node: syntax.Call) -> Value:
        if node.name == ARRAY:
            raise Untranslatable("an array is translated after ANY and ALL only")
        if node.distinct or node.star or node.condition is not None:
            raise Untranslatable(f"the aggregate {node.name[:60]}() does not stand in a view")
        return postgresql_functions.call(node.name, tuple(map(self.value, node.arguments)))

    def _now(self, keyword: str) -> Value:
        raise Untranslatable(f"{keyword} is translated in a DEFAULT only")

    def _subquery(self, node: Node) -> Value:
        raise Untranslatable("a subquery is translated in a view only")


# ---- what belongs to a table --------------------------------------------------------------------


def translate_check(text: str, relation: Relation) -> str:
    """The condition of a CHECK, as pg_get_expr() prints it. NULL passes in both databases.
    Raises Untranslatable."""

    def translate() -> str:
        return refuse_deep(Translator(Columns(relation)).truth(parse_expression(text)))

    return guarded(translate)


def translate_predicate(text: str, relation: Relation) -> str:
    """The WHERE of a partial index. Raises Untranslatable."""
    return translate_check(text, relation)


def translate_index_term(text: str, relation: Relation, collation: str = "") -> str:
    """A term of an index, in parentheses: equal in SQLite where it is equal in PostgreSQL, so
    that a unique index means the same. ``collation`` is that of the index, "" for the term's own.
    Raises Untranslatable."""

    def translate() -> str:
        value = Translator(Columns(relation)).value(parse_expression(text))
        if value.literal is not None or value.null:
            raise Untranslatable("a constant cannot be indexed")
        if collation and value.type == "text":
            value = stored.with_collation(value, collation)
        one, _ = postgresql_operators.operands("=", value, value)
        return refuse_deep(one if one.startswith("(") else f"({one})")

    return guarded(translate)


def translate_generated(text: str, relation: Relation, kind: Kind) -> str:
    """The expression of a generated column of this kind. Raises Untranslatable, also where the
    values might not be exactly those that PostgreSQL keeps."""

    def translate() -> str:
        value = Translator(Columns(relation)).value(parse_expression(text))
        return refuse_deep(assigned.stored_as(value, kind))

    return guarded(translate)
