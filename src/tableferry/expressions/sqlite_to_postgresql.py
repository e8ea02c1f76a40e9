"""SQLite's expressions as PostgreSQL's: the walk over the allowed nodes.

Everything that is built here is built from constants, quoted names and quoted literals; no text of
the source passes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from tableferry import kinds
from tableferry.expressions import functions, operators, syntax
from tableferry.expressions.model import Field, Relation, Untranslatable
from tableferry.expressions.parser import parse_expression
from tableferry.expressions.syntax import Node
from tableferry.expressions.terms import (
    Term,
    as_float,
    as_integer,
    as_kind,
    as_numeric,
    as_text,
    as_truth,
    blob,
    bytes_of,
    described,
    integer,
    null,
    real,
    string,
    text,
)
from tableferry.model import Kind
from tableferry.sql import fold, quote

T = TypeVar("T")

_ROWIDS = frozenset({"rowid", "oid", "_rowid_"})
_FLAGS = {"true": Term("true", kinds.BOOL), "false": Term("false", kinds.BOOL)}
# Longer than anything written by hand; conversions that repeat a part cannot grow beyond it.
_MAX_OUTPUT = 100_000


class Names(Protocol):
    """Where the names in an expression are looked up."""

    def find(self, name: syntax.Name) -> Term | None:
        """The column that a name means, None where there is none of that name."""


class Columns:
    """The names of one table, by themselves or after the table's own name."""

    def __init__(self, relation: Relation | None) -> None:
        self._relation = relation

    def find(self, name: syntax.Name) -> Term | None:
        relation = self._relation
        if relation is None or fold(name.table) not in ("", fold(relation.source_name)):
            return None
        field = relation.field(name.name)
        return None if field is None else column(field, quote(field.name))


def column(field: Field, sql: str) -> Term:
    """A column that stands as ``sql``."""
    if field.mixed:
        raise Untranslatable(
            f"the column {field.source_name} holds values of several storage classes"
        )
    collation = field.collation.upper() or "BINARY"
    return Term(
        sql,
        field.kind,
        affinity=field.source_affinity,
        collation=collation,
        unsure=field.kind.name in ("decimal", "numeric"),
        approximate=field.approximate,
    )


class Translator:
    """Builds a term for each node; a node of no known type, or in a wrong place, is refused."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def term(self, node: Node) -> Term:
        term = self._term(node)
        if len(term.sql) > _MAX_OUTPUT:
            raise Untranslatable("its translation grows too long")
        return term

    def truth(self, node: Node) -> str:
        """A condition."""
        return as_truth(self.term(node))

    def _term(self, node: Node) -> Term:
        match node:
            case syntax.Null():
                return null()
            case syntax.Integer(value):
                return integer(value)
            case syntax.Real(number):
                return real(number)
            case syntax.String(written):
                return text(written)
            case syntax.Blob(content):
                return blob(content)
            case syntax.Name():
                return self._name(node)
            case syntax.Unary(operator, operand):
                return self._unary(operator, operand)
            case syntax.Binary():
                return self._binary(node)
            case syntax.Collate(operand, collation):
                return self._collate(operand, collation)
            case syntax.Match():
                return self._match(node)
            case syntax.Between(operand, low, high):
                return operators.between(self.term(operand), self.term(low), self.term(high))
            case syntax.InList(operand, items):
                return operators.within(self.term(operand), tuple(map(self.term, items)))
            case syntax.Case():
                return self._case(node)
            case syntax.Cast(operand, name):
                return cast(self.term(operand), name)
            case syntax.Call():
                return self._call(node)
            case syntax.Now(keyword):
                return self._now(keyword)
            case syntax.InSelect() | syntax.Exists() | syntax.Scalar():
                return self._subquery(node)

    def _name(self, name: syntax.Name) -> Term:
        found = self._names.find(name)
        if found is not None:
            return found
        if name.bare and fold(name.name) in _FLAGS:
            return _FLAGS[fold(name.name)]
        if name.loose:
            return text(name.name)
        written = f"{name.table}.{name.name}" if name.table else name.name
        if fold(name.name) in _ROWIDS:
            raise Untranslatable(f"the row number {written[:80]} has no counterpart")
        raise Untranslatable(f"the name {written[:80]} is no column that is known")

    def _unary(self, operator: str, operand: Node) -> Term:
        return operators.unary(operator, self.term(operand))

    def _binary(self, node: syntax.Binary) -> Term:
        if node.operator in ("IS", "IS NOT") and (flag := self._flag(node.right)):
            # x IS TRUE asks for the truth of x; x IS (TRUE) would too.
            condition = self.truth(node.left)
            return operators.truth(f"({condition} {node.operator} {flag})")
        return operators.binary(node.operator, self.term(node.left), self.term(node.right))

    def _flag(self, node: Node) -> str:
        if isinstance(node, syntax.Name) and self._names.find(node) is None and node.bare:
            return fold(node.name) if fold(node.name) in _FLAGS else ""
        return ""

    def _collate(self, operand: Node, collation: str) -> Term:
        if collation not in operators.COLLATIONS:
            raise Untranslatable(f"the collation {collation[:60]} is not SQLite's own")
        return replace(self.term(operand), collation=collation, explicit=True)

    def _match(self, node: syntax.Match) -> Term:
        operand, pattern = self.term(node.operand), self.term(node.pattern)
        if node.operator == "GLOB":
            if node.escape is not None:
                raise Untranslatable("GLOB with ESCAPE is not translated")
            return glob(operand, pattern)
        return like(operand, pattern, None if node.escape is None else self.term(node.escape))

    def _case(self, node: syntax.Case) -> Term:
        operand = None if node.operand is None else self.term(node.operand)
        branches = tuple(
            (self._condition(operand, condition), self.term(value))
            for condition, value in node.branches
        )
        otherwise = None if node.otherwise is None else self.term(node.otherwise)
        return operators.case(branches, otherwise)

    def _condition(self, operand: Term | None, node: Node) -> str:
        if operand is None:
            return self.truth(node)
        return operators.compared("=", operand, self.term(node)).sql

    def _call(self, node: syntax.Call) -> Term:
        if node.distinct or node.star:
            raise Untranslatable(f"the aggregate {node.name[:60]}() does not stand in a view")
        return functions.call(node.name, tuple(map(self.term, node.arguments)))

    def _now(self, keyword: str) -> Term:
        raise Untranslatable(f"{keyword} is translated in a DEFAULT only")

    def _subquery(self, node: Node) -> Term:
        raise Untranslatable("a subquery is translated in a view only")


# ---- patterns -----------------------------------------------------------------------------------


def like(operand: Term, pattern: Term, escape: Term | None) -> Term:
    """LIKE without regard to the case of ASCII letters, and without an escape of its own."""
    for term in (operand, pattern):
        if term.kind.name == "bytes":
            raise Untranslatable("LIKE over a blob is not translated")
    character = "" if escape is None else _escape(escape, pattern)
    folded = [operators.collated(replace(t, affinity="NONE"), "NOCASE") for t in (operand, pattern)]
    return operators.truth(f"({folded[0]} LIKE {folded[1]} ESCAPE {string(character)})")


def _escape(escape: Term, pattern: Term) -> str:
    match escape.literal, pattern.literal:
        case syntax.String(character), syntax.String(written) if len(character) == 1:
            ends_escaped = (len(written) - len(written.rstrip(character))) % 2 == 1
            if not character.isalpha() and character not in "%_" and not ends_escaped:
                return character
    raise Untranslatable("LIKE with this ESCAPE is not translated")


def glob(operand: Term, pattern: Term) -> Term:
    """GLOB with a pattern that is written out, as a regular expression."""
    if not isinstance(pattern.literal, syntax.String):
        raise Untranslatable("GLOB with a computed pattern is not translated")
    expression = "".join(_glob_parts(pattern.literal.value))
    return operators.truth(f'({as_text(operand)} COLLATE "C" ~ {string(f"^{expression}$")})')


_GLOB = re.compile(r"\*|\?|\[(\^?)(\]?[^\]]*)\]|(\[)|([^*?\[])", re.DOTALL)


def _glob_parts(pattern: str) -> list[str]:
    return [_glob_part(match) for match in _GLOB.finditer(pattern)]


def _glob_part(match: re.Match[str]) -> str:
    if match[0] == "*":
        return ".*"
    if match[0] == "?":
        return "."
    if match[3]:
        raise Untranslatable("GLOB with a [ that nothing closes is not translated")
    if match[4]:
        return _literal(match[4])
    return f"[{match[1]}{_class(match[2])}]"


def _class(members: str) -> str:
    """What stands in the brackets of a GLOB, for those of a regular expression."""
    if not members:
        raise Untranslatable("GLOB with an empty [] is not translated")
    # A bracket that closes nothing stands first, and begins no range.
    position = 1 if members[0] == "]" else 0
    parts = [_literal(member) for member in members[:position]]
    while position < len(members):
        low, high = members[position], members[position + 2 : position + 3]
        if members[position + 1 : position + 2] == "-" and high:
            if low > high:
                raise Untranslatable(f"GLOB with the range {low}-{high} is not translated")
            parts.append(f"{_literal(low)}-{_literal(high)}")
            position += 3
        else:
            parts.append(_literal(low))
            position += 1
    return "".join(parts)


def _literal(character: str) -> str:
    """One character of a regular expression that means itself ("Regular Expression Escapes")."""
    if character.isalnum() or character in " _@,;/'":
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# ---- types --------------------------------------------------------------------------------------

_CASTS = {
    **dict.fromkeys(("INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "MEDIUMINT"), "INTEGER"),
    **dict.fromkeys(("TEXT", "VARCHAR", "CHAR", "NVARCHAR", "CHARACTER"), "TEXT"),
    **dict.fromkeys(("REAL", "FLOAT", "DOUBLE", "DOUBLE PRECISION"), "REAL"),
    **dict.fromkeys(("NUMERIC", "DECIMAL"), "NUMERIC"),
    "BLOB": "BLOB",
}


def cast(term: Term, name: str) -> Term:
    """CAST(term AS name), which has the affinity of the type and the column's collation."""
    affinity = _CASTS.get(name)
    if affinity is None:
        raise Untranslatable(f"CAST to {name[:60]} is not translated")
    result = null() if term.kind.name == "null" else _CAST_TO[affinity](term)
    return replace(
        result,
        affinity=affinity,
        collation=term.collation,
        explicit=term.explicit,
        literal=None if term.kind.name != "null" else result.literal,
        approximate=term.approximate,
    )


def _to_integer(term: Term) -> Term:
    if term.kind.name in ("int", "bool"):
        return Term(as_integer(term), _integer_kind(term), least=term.least)
    if term.digits:
        return Term(f"({term.sql})::bigint", kinds.INT, least=0)
    if term.family != "number":
        raise Untranslatable(
            f"CAST of {described(term)} to INTEGER reads the digits it begins with"
        )
    # Towards zero, and to the last integer there is.
    sql = term.sql
    return Term(
        f"(CASE WHEN {sql} >= 9223372036854775807 THEN 9223372036854775807 "
        f"WHEN {sql} <= -9223372036854775808 THEN (-9223372036854775808)::bigint "
        f"ELSE trunc({sql})::bigint END)",
        kinds.INT,
    )


def _integer_kind(term: Term) -> Kind:
    return term.kind if term.kind.name == "int" else Kind("int", bits=32)


def _to_text(term: Term) -> Term:
    return Term(as_text(term), kinds.TEXT, digits=term.digits)


def _to_real(term: Term) -> Term:
    return Term(as_float(term), kinds.FLOAT)


def _to_numeric(term: Term) -> Term:
    if term.kind.name in ("int", "bool"):
        return Term(as_integer(term), _integer_kind(term), least=term.least)
    if term.family != "number":
        raise Untranslatable(
            f"CAST of {described(term)} to NUMERIC reads the digits it begins with"
        )
    return Term(as_numeric(term), kinds.NUMERIC, unsure=True)


def _to_blob(term: Term) -> Term:
    if term.kind.name == "bytes":
        return Term(term.sql, kinds.BYTES)
    return Term(bytes_of(term), kinds.BYTES)


_CAST_TO: dict[str, Callable[[Term], Term]] = {
    "INTEGER": _to_integer,
    "TEXT": _to_text,
    "REAL": _to_real,
    "NUMERIC": _to_numeric,
    "BLOB": _to_blob,
}


# ---- what belongs to a table --------------------------------------------------------------------


def guarded(translate: Callable[[], T]) -> T:
    """What ``translate`` gives; a tree that is too deep for Python is refused like others."""
    try:
        return translate()
    except RecursionError:
        raise Untranslatable("it is too long a chain of operators") from None


def translate_check(text: str, relation: Relation) -> str:
    """The condition of a CHECK, as a boolean expression; a number is true where it is not 0, and
    NULL passes in both databases. Raises Untranslatable."""
    return guarded(lambda: Translator(Columns(relation)).truth(parse_expression(text)))


def translate_predicate(text: str, relation: Relation) -> str:
    """The WHERE of a partial index: boolean and immutable. Raises Untranslatable."""
    return translate_check(text, relation)


def translate_index_term(text: str, relation: Relation, collation: str = "") -> str:
    """A term of an index, immutable and in parentheses; ``collation`` is that of the index, ""
    for the term's own. NOCASE and RTRIM become functions, so that what they call equal stays
    equal. Raises Untranslatable."""

    def translate() -> str:
        term = Translator(Columns(relation)).term(parse_expression(text))
        if term.literal is not None or term.kind.name in ("null", "json"):
            raise Untranslatable(f"{described(term)} cannot be indexed")
        chosen = collation.upper() or term.collation or "BINARY"
        if chosen == "BINARY" or term.family != "text":
            return f"({term.sql})"
        return f"({operators.collated(replace(term, literal=None), chosen)})"

    return guarded(translate)


def translate_generated(text: str, relation: Relation, kind: Kind) -> str:
    """The expression of a generated column of this kind, immutable. Raises Untranslatable, also
    where the values might not be exactly those that SQLite keeps."""

    def translate() -> str:
        return as_kind(Translator(Columns(relation)).term(parse_expression(text)), kind)

    return guarded(translate)
