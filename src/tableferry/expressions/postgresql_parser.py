"""A parser of what PostgreSQL's catalog functions print: pg_get_expr(), pg_get_constraintdef(),
pg_get_indexdef() and pg_get_viewdef().

It knows only what is translated, and follows the precedence of "Lexical Structure", section 4.1.6,
though what is printed is bracketed throughout. What it does not know raises Untranslatable.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.parser import Parser
from tableferry.expressions.postgresql_tokens import (
    RESERVED,
    folded_name,
    tokens,
    type_name,
    unescaped,
)
from tableferry.expressions.syntax import Node
from tableferry.expressions.tokens import MAX_INTEGER, Token
from tableferry.sql import fold

_COMPARISONS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", ">": ">", "<=": "<=", ">=": ">="}
_SUMS = ("+", "-")
_PRODUCTS = ("*", "/", "%")
# Operators between the comparisons and the sums: "any other operator".
_OTHERS = frozenset({"||", "&", "|", "#", "<<", ">>", "~~", "!~~", "~~*", "!~~*"})
_LIKES = frozenset({"~~", "!~~", "~~*", "!~~*"})
_TRIMS = {"BOTH": "btrim", "LEADING": "ltrim", "TRAILING": "rtrim"}
_NOW = {
    "CURRENT_DATE": "CURRENT_DATE",
    "CURRENT_TIMESTAMP": "CURRENT_TIMESTAMP",
    "LOCALTIMESTAMP": "LOCALTIMESTAMP",
    "CURRENT_TIME": "CURRENT_TIME",
    "LOCALTIME": "LOCALTIME",
}
# Syntax that is a function where the same word in quotes is another thing.
_SPECIAL = frozenset({"EXTRACT", "SUBSTRING", "TRIM", "POSITION"})
_FALSE_FUNCTIONS = frozenset({"ROW", "OVERLAY", "NORMALIZE", "XMLELEMENT", "XMLFOREST"})
TRUE = syntax.Cast(syntax.String("true"), "boolean")
FALSE = syntax.Cast(syntax.String("false"), "boolean")


def parse_expression(text: str) -> Node:
    """The tree of an expression. Raises Untranslatable."""
    parser = PostgresqlParser(text)
    node = parser.expression()
    parser.expect_end()
    return node


def parse_query(text: str) -> syntax.Query:
    """The tree of a SELECT statement, with or without a semicolon at its end as
    pg_get_viewdef() has it. Raises Untranslatable."""
    parser = PostgresqlParser(text.rstrip().removesuffix(";"))
    query = parser.query()
    parser.expect_end()
    return query


class PostgresqlParser(Parser):
    def __init__(self, text: str) -> None:
        super().__init__(text, tokens, RESERVED)

    def name(self) -> str:
        """A word that names something; without quotes it is folded to lower case."""
        return folded_name(self, super().name)

    # ---- expressions, the loosest operators first -----------------------------------------------

    def _negation(self) -> Node:
        if self.accept("NOT"):
            return syntax.Unary("NOT", self._nested(self._negation))
        return self._tested()

    def _tested(self) -> Node:
        """IS NULL and its like."""
        node = self._compared()
        while self.accept("IS"):
            negated = self.accept("NOT")
            node = self._test(node, negated)
        return node

    def _test(self, node: Node, negated: bool) -> Node:
        operator = "IS NOT" if negated else "IS"
        if self.accept("NULL") or self.accept("UNKNOWN"):
            return syntax.Binary(operator, node, syntax.Null())
        if self.accept("TRUE"):
            return syntax.Binary(operator, node, TRUE)
        if self.accept("FALSE"):
            return syntax.Binary(operator, node, FALSE)
        self.expect("DISTINCT", "FROM")
        return syntax.Binary("IS" if negated else "IS NOT", node, self._compared())

    def _compared(self) -> Node:
        node = self._matching()
        while self.next.word in _COMPARISONS:
            operator = _COMPARISONS[self.advance().word]
            if self.next.word in ("ANY", "ALL"):
                node = self._any(node, operator)
            else:
                node = syntax.Binary(operator, node, self._matching())
        return node

    def _any(self, left: Node, operator: str) -> Node:
        """x = ANY (ARRAY[…]), which is x IN (…), and x <> ALL (ARRAY[…])."""
        word = self.advance().word
        if (operator, word) not in (("=", "ANY"), ("<>", "ALL")):
            raise Untranslatable(f"{operator} {word} is not translated")
        self.expect("(")
        if self.next.word == "SELECT":
            raise Untranslatable(f"{word} of a subquery is not translated")
        array = self.expression()
        self.expect(")")
        node = syntax.InList(left, _members(array))
        return node if word == "ANY" else syntax.Unary("NOT", node)

    def _matching(self) -> Node:
        """IN with a subquery; LIKE and BETWEEN are printed as operators and comparisons."""
        node = self._other()
        if self.next.word == "NOT" and self.word_after(1) == "IN":
            self.advance()
            return syntax.Unary("NOT", self._membership(node))
        return self._membership(node)

    def _membership(self, node: Node) -> Node:
        return self._in(node) if self.accept("IN") else node

    def _other(self) -> Node:
        node = self._sum()
        while self.next.word in _OTHERS:
            operator = self.advance().word
            right = self._sum()
            if operator in _LIKES:
                matched = syntax.Match(operator.removeprefix("!"), node, right)
                node = syntax.Unary("NOT", matched) if operator[0] == "!" else matched
            else:
                node = syntax.Binary(operator, node, right)
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self.next.word in _SUMS:
            operator = self.advance().word
            node = syntax.Binary(operator, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._zoned()
        while self.next.word in _PRODUCTS:
            operator = self.advance().word
            node = syntax.Binary(operator, node, self._zoned())
        return node

    def _zoned(self) -> Node:
        node = self._collated()
        while self.accept("AT", "TIME", "ZONE"):
            node = syntax.Call("timezone", (self._collated(), node))
        return node

    def _collated(self) -> Node:
        node = self._unary()
        while self.accept("COLLATE"):
            collation = self.name()
            if self.accept("."):
                collation = self.name()
            node = syntax.Collate(node, collation)
        return node

    def _unary(self) -> Node:
        if self.next.word in ("-", "+", "~"):
            operator = self.advance().word
            return syntax.Unary(operator, self._nested(self._unary))
        return self._typed()

    def _typed(self) -> Node:
        node = self._primary()
        while self.accept("::"):
            node = syntax.Cast(node, type_name(self))
        if self.next.word == "[":
            raise Untranslatable("subscripts are not translated")
        return node

    def _primary(self) -> Node:
        token = self.next
        match token.kind:
            case "number":
                return _number(self.advance().text)
            case "string" | "escaped":
                return syntax.String(unescaped(self.advance()))
            case "word" | "loose":
                return self._worded(token)
        if self.accept("("):
            return self._parenthesised()
        raise self.unexpected()

    def _worded(self, token: Token) -> Node:
        word = token.word
        match word:
            case "NULL":
                self.advance()
                return syntax.Null()
            case "TRUE" | "FALSE":
                self.advance()
                return TRUE if word == "TRUE" else FALSE
            case "CASE":
                self.advance()
                return self._case()
            case "EXISTS":
                return self._exists()
            case "ARRAY":
                self.advance()
                return self._array()
        if word in _NOW:
            self.advance()
            if self.next.word == "(":
                raise Untranslatable(f"{word} of fewer digits is not translated")
            return syntax.Now(_NOW[word])
        if word in _SPECIAL and self.word_after(1) == "(":
            self.advance()
            self.expect("(")
            return self._special(word)
        if word in _FALSE_FUNCTIONS and self.word_after(1) == "(":
            raise Untranslatable(f"{word} is not translated")
        if self.word_after(1) == "(":
            return self._call()
        name = self.name()
        if self.accept("."):
            second = self.name()
            if self.next.word == "(":
                return self._qualified_call(name, second)
            if self.next.word == ".":
                raise Untranslatable("a column named with its schema is not translated")
            return syntax.Name(second, name)
        return syntax.Name(name)

    def _qualified_call(self, schema: str, name: str) -> Node:
        if schema != "pg_catalog":
            raise Untranslatable(f"the function {schema}.{name}() is not translated")
        return self._called(name)

    def _call(self) -> Node:
        return self._called(self.name())

    def _called(self, name: str) -> syntax.Call:
        self.expect("(")
        if self.accept("*", ")"):
            call = syntax.Call(name, (), star=True)
        elif self.accept(")"):
            call = syntax.Call(name, ())
        else:
            distinct = self.accept("DISTINCT")
            if self.next.word == "VARIADIC":
                raise Untranslatable("VARIADIC is not translated")
            nodes = [self.expression()]
            while self.accept(","):
                nodes.append(self.expression())
            if self.next.word == "ORDER":
                raise Untranslatable(f"{name}() with ORDER BY is not translated")
            self.expect(")")
            call = syntax.Call(name, tuple(nodes), distinct)
        if self.accept("FILTER", "(", "WHERE"):
            call = replace(call, condition=self.expression())
            self.expect(")")
        if self.next.word in ("OVER", "WITHIN"):
            raise Untranslatable(f"{name}() with {self.next.word} is not translated")
        return call

    def _special(self, word: str) -> Node:
        match word:
            case "EXTRACT":
                field = self.name()
                self.expect("FROM")
                part = syntax.Cast(syntax.String(field), "text")
                call = syntax.Call("extract", (part, self.expression()))
            case "POSITION":
                sought = self._other()
                self.expect("IN")
                call = syntax.Call("strpos", (self.expression(), sought))
            case "SUBSTRING":
                nodes = [self.expression()]
                if self.accept("FROM"):
                    nodes.append(self.expression())
                if self.accept("FOR"):
                    if len(nodes) == 1:
                        nodes.append(syntax.Integer(1))
                    nodes.append(self.expression())
                call = syntax.Call("substring", tuple(nodes))
            case _:
                side = next((side for side in _TRIMS if self.accept(side)), "BOTH")
                characters = () if self.next.word == "FROM" else (self.expression(),)
                self.expect("FROM")
                call = syntax.Call(_TRIMS[side], (self.expression(), *characters))
        self.expect(")")
        return call

    def _array(self) -> Node:
        if self.next.word == "(":
            raise Untranslatable("ARRAY of a subquery is not translated")
        self.expect("[")
        if self.accept("]"):
            return syntax.Call(ARRAY, ())
        nodes = [self.expression()]
        while self.accept(","):
            nodes.append(self.expression())
        self.expect("]")
        return syntax.Call(ARRAY, tuple(nodes))

    def _exists(self) -> Node:
        self.expect("EXISTS", "(")
        node = syntax.Exists(self.query())
        self.expect(")")
        return node

    # ---- queries --------------------------------------------------------------------------------

    def query(self) -> syntax.Query:
        query = super().query()
        if len(set(query.operators)) > 1:
            raise Untranslatable("several kinds of UNION in one another are not translated")
        return query

    def _select(self) -> syntax.Select:
        if self.next.word == "(":
            raise Untranslatable("a SELECT in parentheses is not translated")
        if (self.word_after(1), self.word_after(2)) == ("DISTINCT", "ON"):
            raise Untranslatable("DISTINCT ON is not translated")
        return super()._select()

    def _sources(self) -> tuple[syntax.Source, ...]:
        sources = self._joined()
        while self.accept(","):
            sources += self._joined()
        return sources

    def _joined(self) -> tuple[syntax.Source, ...]:
        """Members that are joined to one another; parentheses that stand around the left side
        of a join change nothing."""
        sources = self._member()
        while (join := self._join()) is not None:
            right = self._member()
            if len(right) > 1:
                raise Untranslatable("a join whose right side is a join is not translated")
            on = self.expression() if self.accept("ON") else None
            using = self._names() if self.accept("USING", "(") else ()
            sources += (replace(right[0], join=join, on=on, using=using),)
        return sources

    def _join(self) -> str | None:
        # A comma binds less than JOIN, and is not looked for here.
        return None if self.next.word == "," else super()._join()

    def _member(self) -> tuple[syntax.Source, ...]:
        if self.next.word in ("LATERAL", "ONLY", "ROWS"):
            raise Untranslatable(f"{self.next.word} in a FROM clause is not translated")
        if self.accept("("):
            if self.next.word in ("SELECT", "WITH"):
                select = self.query()
                self.expect(")")
                return (syntax.Source("", select, self._source_alias()),)
            sources = self._joined()
            self.expect(")")
            return sources
        table, schema = self.name(), ""
        if self.accept("."):
            table, schema = self.name(), table
        if self.next.word == "(":
            raise Untranslatable(f"the function {table}() in a FROM clause is not translated")
        return (syntax.Source(table, None, self._source_alias(), schema=schema),)

    def _source_alias(self) -> str:
        alias = self._alias()
        if self.next.word == "(":
            raise Untranslatable("names for the columns of a FROM clause are not translated")
        return alias

    def _limits(self) -> tuple[int | None, int | None]:
        # The offset is printed first.
        offset = self._count() if self.accept("OFFSET") else None
        return self._count() if self.accept("LIMIT") else None, offset


# What stands for an array: no function has a name with a bracket.
ARRAY = "array["


def _members(array: Node) -> tuple[Node, ...]:
    """The members of an array that is written out, each with the cast of the whole."""
    match array:
        case syntax.Call("array[", members) if members:
            return members
        case syntax.Cast(inner, name) if name.endswith("[]"):
            if isinstance(inner, syntax.String):
                return _literal_members(inner.value, name.removesuffix("[]"))
            return tuple(syntax.Cast(m, name.removesuffix("[]")) for m in _members(inner))
    raise Untranslatable("ANY and ALL are translated for arrays that are written out only")


def _literal_members(text: str, name: str) -> tuple[Node, ...]:
    """Those of '{1,2}', where none needs quotes ("Arrays", section 8.15.2)."""
    if not re.fullmatch(r"\{[\w.+-]+(?:,[\w.+-]+)*\}", text):
        raise Untranslatable(f"the array {text[:60]} is not translated")
    return tuple(
        syntax.Null() if fold(item) == "null" else syntax.Cast(syntax.String(item), name)
        for item in text[1:-1].split(",")
    )


def _number(text: str) -> Node:
    """An integer, bigint or numeric, by its digits (section 4.1.2.6)."""
    if text.isdigit() and int(text) <= MAX_INTEGER:
        return syntax.Integer(int(text))
    return syntax.Cast(syntax.String(text), "numeric")
