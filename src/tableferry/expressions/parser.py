"""A parser of SQLite's expressions and SELECT statements, which knows only what is translated.

It follows "SQL Language Expressions" (sqlite.org/lang_expr.html) to the letter, for a parser of
many dialects does not: `a = b IN (0, 1)` is `(a = b) IN (0, 1)` in SQLite, where all equality
operators bind alike. What it does not know raises Untranslatable.
"""

from __future__ import annotations

from collections.abc import Callable

from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.syntax import Node
from tableferry.expressions.tokens import (
    MAX_INTEGER,
    RESERVED,
    Reader,
    Token,
    blob,
    hexadecimal,
    number,
    tokens,
    unquoted,
)

# How deep expressions and queries may nest, so that Python's stack is never what ends it.
_MAX_DEPTH = 60

# Words that a FROM clause goes on with, so that they are no alias without AS.
_JOINING = frozenset(
    [
        "CROSS",
        "INNER",
        "LEFT",
        "RIGHT",
        "FULL",
        "OUTER",
        "NATURAL",
        "INDEXED",
        "EXCEPT",
        "INTERSECT",
        "WINDOW",
    ]
)
_NOW = ("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP")

_EQUALITY = {"=": "=", "==": "=", "<>": "<>", "!=": "<>"}
# The levels between the equality operators and the unary ones, the loosest first.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("<", "<=", ">", ">="),
    ("&", "|", "<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
    ("||",),
)


def parse_expression(text: str) -> Node:
    """The tree of an expression. Raises Untranslatable."""
    parser = Parser(text)
    node = parser.expression()
    parser.expect_end()
    return node


def parse_query(text: str) -> syntax.Query:
    """The tree of a SELECT statement. Raises Untranslatable."""
    parser = Parser(text)
    query = parser.query()
    parser.expect_end()
    return query


class Parser(Reader):
    def __init__(
        self,
        text: str,
        split: Callable[[str], list[Token]] = tokens,
        reserved: frozenset[str] = RESERVED,
    ) -> None:
        super().__init__(text, split, reserved)
        self._depth = 0

    # ---- expressions ----------------------------------------------------------------------------

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Untranslatable(f"it nests deeper than {_MAX_DEPTH} levels")
        node = self._conjunction()
        while self.accept("OR"):
            node = syntax.Binary("OR", node, self._conjunction())
        self._depth -= 1
        return node

    def _conjunction(self) -> Node:
        node = self._negation()
        while self.accept("AND"):
            node = syntax.Binary("AND", node, self._negation())
        return node

    def _negation(self) -> Node:
        if self.next.word == "NOT" and self.word_after(1) != "EXISTS":
            self.advance()
            return syntax.Unary("NOT", self._nested(self._negation))
        return self._equality()

    def _equality(self) -> Node:
        node = self._level(0)
        while (longer := self._equated(node)) is not None:
            node = longer
        return node

    def _equated(self, left: Node) -> Node | None:
        """``left`` with the next of the operators that bind like =, or None."""
        word = self.next.word
        if word in _EQUALITY:
            self.advance()
            return syntax.Binary(_EQUALITY[word], left, self._level(0))
        if self.accept("ISNULL"):
            return syntax.Binary("IS", left, syntax.Null())
        if self.accept("NOTNULL") or self.accept("NOT", "NULL"):
            return syntax.Binary("IS NOT", left, syntax.Null())
        if self.accept("IS"):
            return self._is(left)
        negated = word == "NOT" and self.word_after(1) in ("LIKE", "GLOB", "BETWEEN", "IN")
        if negated:
            self.advance()
        node = self._matched(left)
        return syntax.Unary("NOT", node) if negated and node is not None else node

    def _is(self, left: Node) -> Node:
        negated = self.accept("NOT")
        if self.accept("DISTINCT", "FROM"):
            negated = not negated
        return syntax.Binary("IS NOT" if negated else "IS", left, self._level(0))

    def _matched(self, left: Node) -> Node | None:
        if self.next.word in ("LIKE", "GLOB"):
            operator = self.advance().word
            pattern = self._level(0)
            escape = self._level(0) if self.accept("ESCAPE") else None
            return syntax.Match(operator, left, pattern, escape)
        if self.accept("BETWEEN"):
            low = self._level(0)
            self.expect("AND")
            return syntax.Between(left, low, self._level(0))
        if self.accept("IN"):
            return self._in(left)
        return None

    def _in(self, left: Node) -> Node:
        self.expect("(")
        if self.next.word in ("SELECT", "WITH"):
            query = self.query()
            self.expect(")")
            return syntax.InSelect(left, query)
        return syntax.InList(left, self._list())

    def _list(self) -> tuple[Node, ...]:
        """One or more expressions, up to and with the closing parenthesis."""
        nodes = [self.expression()]
        while self.accept(","):
            nodes.append(self.expression())
        self.expect(")")
        return tuple(nodes)

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._collated()
        node = self._level(level + 1)
        while self.next.word in _LEVELS[level]:
            operator = self.advance().word
            node = syntax.Binary(operator, node, self._level(level + 1))
        return node

    def _collated(self) -> Node:
        # COLLATE binds less than the unary operators in the grammar (parse.y), though the
        # documentation lists it below ~ and above them; both mean the same.
        node = self._unary()
        while self.accept("COLLATE"):
            node = syntax.Collate(node, self.name().upper())
        return node

    def _unary(self) -> Node:
        if self.next.word in ("-", "+", "~"):
            operator = self.advance().word
            if operator == "-" and self.next.text == str(MAX_INTEGER + 1):
                self.advance()
                return syntax.Integer(-MAX_INTEGER - 1)
            return syntax.Unary(operator, self._nested(self._unary))
        return self._primary()

    def _nested(self, parse: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Untranslatable(f"it nests deeper than {_MAX_DEPTH} levels")
        node = parse()
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        token = self.next
        match token.kind:
            case "number":
                return number(self.advance().text)
            case "hex":
                return hexadecimal(self.advance().text)
            case "string":
                return syntax.String(unquoted(self.advance()))
            case "blob":
                return blob(self.advance().text)
            case "word" | "loose" | "quoted":
                return self._worded(token)
        if self.accept("("):
            return self._parenthesised()
        raise self.unexpected()

    def _parenthesised(self) -> Node:
        if self.next.word in ("SELECT", "WITH"):
            query = self.query()
            self.expect(")")
            return syntax.Scalar(query)
        nodes = self._list()
        if len(nodes) > 1:
            raise Untranslatable("row values are not translated")
        return nodes[0]

    def _worded(self, token: Token) -> Node:
        word = token.word
        if word == "NULL":
            self.advance()
            return syntax.Null()
        if word in _NOW:
            self.advance()
            return syntax.Now(word)
        if word == "CASE":
            self.advance()
            return self._case()
        if word == "CAST" and self.word_after(1) == "(":
            self.advance()
            return self._cast()
        if word in ("EXISTS", "NOT"):
            return self._exists()
        if self.word_after(1) == "(":
            return self._call()
        name = self.name()
        if self.accept("."):
            column = self.name()
            if self.next.word == ".":
                raise Untranslatable("a column named with its schema is not translated")
            return syntax.Name(column, name)
        return syntax.Name(name, "", token.kind == "loose", token.kind == "word")

    def _case(self) -> Node:
        operand = None if self.next.word == "WHEN" else self.expression()
        branches = []
        while self.accept("WHEN"):
            condition = self.expression()
            self.expect("THEN")
            branches.append((condition, self.expression()))
        otherwise = self.expression() if self.accept("ELSE") else None
        self.expect("END")
        if not branches:
            raise self.unexpected()
        return syntax.Case(operand, tuple(branches), otherwise)

    def _cast(self) -> Node:
        self.expect("(")
        operand = self.expression()
        self.expect("AS")
        words = []
        while self.next.kind in ("word", "loose", "quoted"):
            words.append(unquoted(self.advance()).upper())
        if self.accept("("):
            while self.next.kind == "number" or self.next.word in (",", "+", "-"):
                self.advance()
            self.expect(")")
        self.expect(")")
        return syntax.Cast(operand, " ".join(words))

    def _exists(self) -> Node:
        negated = self.accept("NOT")
        self.expect("EXISTS", "(")
        node = syntax.Exists(self.query())
        self.expect(")")
        return syntax.Unary("NOT", node) if negated else node

    def _call(self) -> Node:
        name = self.name()
        self.expect("(")
        if self.accept("*", ")"):
            call = syntax.Call(name.lower(), (), star=True)
        elif self.accept(")"):
            call = syntax.Call(name.lower(), ())
        else:
            distinct = self.accept("DISTINCT")
            call = syntax.Call(name.lower(), self._list(), distinct)
        if self.next.word in ("OVER", "FILTER"):
            raise Untranslatable(f"{name}() with {self.next.word} is not translated")
        return call

    # ---- queries --------------------------------------------------------------------------------

    def query(self) -> syntax.Query:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Untranslatable(f"it nests deeper than {_MAX_DEPTH} levels")
        common = self._common() if self.accept("WITH") else ()
        selects = [self._select()]
        operators = []
        while self.next.word in ("UNION", "INTERSECT", "EXCEPT"):
            operator = self.advance().word
            operators.append("UNION ALL" if self.accept("ALL") else operator)
            selects.append(self._select())
        order: tuple[syntax.Ordering, ...] = ()
        if self.accept("ORDER", "BY"):
            order = self._order()
        limit, offset = self._limits()
        self._depth -= 1
        return syntax.Query(tuple(selects), tuple(operators), common, order, limit, offset)

    def _common(self) -> tuple[syntax.Common, ...]:
        if self.next.word == "RECURSIVE":
            raise Untranslatable("WITH RECURSIVE is not translated")
        expressions = [self._common_one()]
        while self.accept(","):
            expressions.append(self._common_one())
        return tuple(expressions)

    def _common_one(self) -> syntax.Common:
        name = self.name()
        columns = self._names() if self.accept("(") else ()
        self.expect("AS", "(")
        query = self.query()
        self.expect(")")
        return syntax.Common(name, columns, query)

    def _names(self) -> tuple[str, ...]:
        names = [self.name()]
        while self.accept(","):
            names.append(self.name())
        self.expect(")")
        return tuple(names)

    def _select(self) -> syntax.Select:
        self.expect("SELECT")
        distinct = self.accept("DISTINCT")
        if not distinct:
            self.accept("ALL")
        results = [self._result()]
        while self.accept(","):
            results.append(self._result())
        sources = self._sources() if self.accept("FROM") else ()
        where = self.expression() if self.accept("WHERE") else None
        groups = self._groups() if self.accept("GROUP", "BY") else ()
        having = self.expression() if self.accept("HAVING") else None
        return syntax.Select(distinct, tuple(results), sources, where, groups, having)

    def _groups(self) -> tuple[Node, ...]:
        nodes = [self.expression()]
        while self.accept(","):
            nodes.append(self.expression())
        return tuple(nodes)

    def _result(self) -> syntax.Result | syntax.Star:
        if self.accept("*"):
            return syntax.Star()
        if self.word_after(1) == "." and self.word_after(2) == "*":
            star = syntax.Star(self.name())
            self.expect(".", "*")
            return star
        start = self.next.start
        node = self.expression()
        text = self.text_from(start)
        return syntax.Result(node, self._alias(), text)

    def _alias(self) -> str:
        """The alias that follows, or ""."""
        if self.accept("AS"):
            if self.next.kind == "string":
                return unquoted(self.advance())
            return self.name()
        token = self.next
        if token.kind == "string":
            return unquoted(self.advance())
        if token.kind in ("loose", "quoted"):
            return self.name()
        if token.kind == "word" and token.word not in self._reserved | _JOINING:
            return self.name()
        return ""

    def _sources(self) -> tuple[syntax.Source, ...]:
        sources = [self._source("INNER")]
        while (join := self._join()) is not None:
            sources.append(self._source(join))
        return tuple(sources)

    def _join(self) -> str | None:
        if self.accept(",") or self.accept("JOIN"):
            return "INNER"
        if self.accept("CROSS", "JOIN") or self.accept("INNER", "JOIN"):
            return "INNER"
        if self.accept("LEFT", "OUTER", "JOIN") or self.accept("LEFT", "JOIN"):
            return "LEFT"
        if self.next.word in _JOINING - {"EXCEPT", "INTERSECT"}:
            raise Untranslatable(f"{self.next.word} in a FROM clause is not translated")
        return None

    def _source(self, join: str) -> syntax.Source:
        table, select = "", None
        if self.accept("("):
            if self.next.word not in ("SELECT", "WITH"):
                raise Untranslatable("a join in parentheses is not translated")
            select = self.query()
            self.expect(")")
        else:
            table = self.name()
            if self.accept("."):
                if table.lower() != "main":
                    raise Untranslatable(f"the schema {table} is not that of this database")
                table = self.name()
            if self.next.word == "(":
                raise Untranslatable(f"the table-valued function {table}() is not translated")
        alias = self._alias()
        on = self.expression() if self.accept("ON") else None
        using = self._names() if self.accept("USING", "(") else ()
        return syntax.Source(table, select, alias, join, on, using)

    def _order(self) -> tuple[syntax.Ordering, ...]:
        terms = [self._ordering()]
        while self.accept(","):
            terms.append(self._ordering())
        return tuple(terms)

    def _ordering(self) -> syntax.Ordering:
        node = self.expression()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        nulls = ""
        if self.accept("NULLS"):
            nulls = "FIRST" if self.accept("FIRST") else "LAST"
            if nulls == "LAST":
                self.expect("LAST")
        return syntax.Ordering(node, descending, nulls)

    def _limits(self) -> tuple[int | None, int | None]:
        return self._limit() if self.accept("LIMIT") else (None, None)

    def _limit(self) -> tuple[int, int | None]:
        first = self._count()
        if self.accept("OFFSET"):
            return first, self._count()
        if self.accept(","):
            # The one place where SQLite writes the offset first.
            return self._count(), first
        return first, None

    def _count(self) -> int:
        token = self.advance()
        if token.kind != "number" or not token.text.isdigit() or int(token.text) > MAX_INTEGER:
            raise Untranslatable("a LIMIT or OFFSET that is no plain number is not translated")
        return int(token.text)
