"""SQL that goes over as it is, between two databases of one kind: a walk over its tokens.

The walk finds what may not stay as it is: the tables of every FROM clause, which must be known and
get their names in the target, names of columns that are called otherwise there, and (by what the
two dialects make of ``call``, ``cast`` and ``collation``) what must not be sent at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tableferry.expressions.model import Relation, Untranslatable
from tableferry.expressions.tokens import Reader, Token
from tableferry.sql import quote

_MAX_DEPTH = 100
_QUERIES = ("SELECT", "WITH", "VALUES")
_CLOSING = {"(": ")", "[": "]"}
_JOINS = frozenset({"JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "OUTER"})
# What a FROM clause ends with.
_CLAUSES = frozenset(
    [
        *("WHERE", "GROUP", "HAVING", "WINDOW", "UNION", "INTERSECT", "EXCEPT", "ORDER", "LIMIT"),
        *("OFFSET", "FETCH", "FOR"),
    ]
)
# What a source of a FROM clause ends with, so that it is no alias.
_ENDS = _JOINS | _CLAUSES | {"ON", "USING", "AS", "INDEXED", "NOT", "TABLESAMPLE", "WITH"}


class Walker(Reader):
    """Walks an expression or a query, and gives its text for the target.

    find: the relation of a table named by schema ("" for none) and name; it raises Untranslatable
    for one that is not known. renamed: the names, as ``same`` writes them, that nothing may be
    called by. Subclasses say what words mean.
    """

    def __init__(
        self,
        text: str,
        split: Callable[[str], list[Token]],
        reserved: frozenset[str],
        renamed: frozenset[str],
    ) -> None:
        super().__init__(text, split, reserved)
        self._renamed = renamed
        self._edits: list[tuple[int, int, str]] = []
        self._common: list[set[str]] = []
        self._depth = 0
        # Whether a query may stand here at all, and whether the walk is in one and in none of the
        # parentheses in it.
        self._has_queries = False
        self._in_query = False
        self._last: list[str] = ["", "", ""]

    # ---- what differs between the dialects ------------------------------------------------------

    def same(self, name: str) -> str:
        """A name as it is compared with others."""
        raise NotImplementedError

    def call(self, names: list[str]) -> None:
        """Raise Untranslatable where a function may not be called; ``names``: schema and name."""
        raise NotImplementedError

    def relation(self, schema: str, name: str) -> Relation:
        """The table or view of a FROM clause. Raises Untranslatable."""
        raise NotImplementedError

    def table(self, relation: Relation) -> str:
        """How the target names it."""
        raise NotImplementedError

    def special(self, token: Token) -> bool:
        """Take the next tokens if they are of the dialect alone."""
        raise NotImplementedError

    def refuse_after_name(self) -> None:
        """Raise Untranslatable where what follows a name makes it no column."""

    # ---- the whole ------------------------------------------------------------------------------

    def expression(self) -> str:
        """The text of an expression, in which no query may stand."""
        self._items()
        self.expect_end()
        return self._edited()

    def query(self) -> str:
        """The text of a SELECT."""
        if self.next.word not in (*_QUERIES, "("):
            raise self.unexpected()
        self._has_queries = True
        self._query()
        self.expect_end()
        return self._edited()

    def _edited(self) -> str:
        """The tokens with what was put in their places; comments become blanks."""
        edits = {start: (end, text) for start, end, text in self._edits}
        parts: list[str] = []
        position, covered = 0, 0
        for token in self._tokens[:-1]:
            if token.start < covered:
                position = token.end
                continue
            if parts and token.start > position:
                parts.append(" ")
            if token.start in edits:
                covered, text = edits[token.start]
                parts.append(text)
            else:
                parts.append(token.text)
            position = token.end
        return "".join(parts)

    # ---- queries --------------------------------------------------------------------------------

    def _query(self) -> None:
        if not self._has_queries:
            raise Untranslatable("a query in an expression is not translated")
        self._enter()
        around, self._in_query = self._in_query, True
        self._common.append(set())
        if self.accept("WITH"):
            self._with()
        while self.next.kind != "end" and self.next.word != ")":
            if self.next.word == "SELECT" or self.next.word == "VALUES":
                self._take()
            elif self.next.word == "FROM" and not self._is_operator():
                self._take()
                self._sources()
            else:
                self._step()
        self._common.pop()
        self._in_query = around
        self._depth -= 1

    def _is_operator(self) -> bool:
        """Whether a FROM is that of IS [NOT] DISTINCT FROM."""
        return self._last[-1] == "DISTINCT" and self._last[-2] in ("IS", "NOT")

    def _with(self) -> None:
        recursive = self.accept("RECURSIVE")
        while True:
            name = self.same(self._new_name())
            if self.accept("("):
                self._names()
            if recursive:
                self._common[-1].add(name)
            self.expect("AS")
            self.accept("NOT")
            self.accept("MATERIALIZED")
            self.expect("(")
            self._query()
            self.expect(")")
            self._common[-1].add(name)
            if not self.accept(","):
                break

    def _new_name(self) -> str:
        """A name that the query itself gives to something."""
        return self.name()

    def _names(self) -> None:
        """Names for columns, perhaps with their types, up to and with the parenthesis."""
        while True:
            self._new_name()
            while self.next.word not in (",", ")"):
                self._type_of_column()
            if not self.accept(","):
                break
        self.expect(")")

    def _type_of_column(self) -> None:
        raise self.unexpected()

    def _sources(self) -> None:
        self._source()
        while True:
            if self.accept(","):
                self._source()
            elif self.next.word in _JOINS:
                while self.next.word in _JOINS - {"JOIN"}:
                    self._take()
                self.expect("JOIN")
                self._source()
            elif self.accept("ON"):
                while self.next.word not in _JOINS | _CLAUSES | {",", ")", "ON"}:
                    if self.next.kind == "end":
                        break
                    self._step()
            elif self.accept("USING"):
                self.expect("(")
                while not self.accept(")"):
                    self._step()
            else:
                break

    def _source(self) -> None:
        self._enter()
        self.accept("LATERAL")
        self.accept("ONLY")
        if self.accept("("):
            if self.next.word in _QUERIES:
                self._query()
            else:
                self._sources()
            self.expect(")")
            self._alias()
        else:
            self._table()
        if self.accept("INDEXED", "BY"):
            raise Untranslatable("INDEXED BY is not translated")
        self.accept("NOT", "INDEXED")
        self._depth -= 1

    def _table(self) -> None:
        start = self.next.start
        names = [self.name()]
        while self.accept("."):
            names.append(self.name())
        end = self._tokens[self._position - 1].end
        if self.accept("("):
            self.call(names)
            self._items()
            self.expect(")")
            self.accept("WITH", "ORDINALITY")
            self._alias()
            return
        if len(names) > 2:
            raise Untranslatable(f"the table {'.'.join(names)[:80]} is of another database")
        *schemas, name = names
        common = not schemas and any(self.same(name) in known for known in self._common)
        aliased = self._alias()
        if not common:
            relation = self.relation("".join(schemas), name)
            text = self.table(relation)
            if not aliased and self.same(relation.name.name) != self.same(name):
                # The columns are still named after what it was called.
                text += f" AS {quote(name)}"
            self._edits.append((start, end, text))

    def _alias(self) -> bool:
        token = self.next
        if not self.accept("AS"):
            named = token.kind in ("loose", "quoted") or (
                token.kind == "word" and token.word not in self._reserved | _ENDS
            )
            if not named:
                return False
        self._new_name()
        if self.accept("("):
            self._names()
        return True

    # ---- expressions ----------------------------------------------------------------------------

    def _items(self) -> None:
        """Everything up to a closing parenthesis or bracket, or the end."""
        while self.next.kind != "end" and self.next.word not in (")", "]"):
            self._step()

    def _take(self) -> Token:
        token = self.advance()
        self._last = [*self._last[1:], token.word]
        return token

    def _step(self) -> None:
        token = self.next
        if token.word in _CLOSING:
            self._take()
            self._group(_CLOSING[token.word])
        elif token.word == "]":
            raise self.unexpected()
        elif token.kind in ("word", "loose", "quoted"):
            if not self.special(token):
                self._named()
        else:
            if not self.special(token):
                self._take()

    def _group(self, closing: str = ")") -> None:
        self._enter()
        around, self._in_query = self._in_query, False
        if self.next.word in _QUERIES:
            self._query()
        else:
            self._items()
        self.expect(closing)
        self._last = [*self._last[1:], closing]
        self._in_query = around
        self._depth -= 1

    def _named(self) -> None:
        """A column, or a function with its arguments."""
        names = [self.name()]
        while self.accept("."):
            if self.accept("*"):
                return
            names.append(self.name())
        self._last = [*self._last[1:], ""]
        if self.accept("("):
            self.call(names)
            self._group()
            return
        self.refuse_after_name()
        for name in names:
            if self.same(name) in self._renamed:
                raise Untranslatable(f"{name[:80]} has another name in the target")

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Untranslatable(f"it nests deeper than {_MAX_DEPTH} levels")


def renamed_in(relation: Relation, same: Callable[[str], str]) -> frozenset[str]:
    """The names in the source of all that is called otherwise in the target."""
    pairs = [(field.source_name, field.name) for field in relation.fields]
    pairs.append((relation.source_name, relation.name.name))
    return frozenset(same(mine) for mine, theirs in pairs if same(mine) != same(theirs))


def renamed_columns(
    relations: Mapping[str, Relation], same: Callable[[str], str]
) -> frozenset[str]:
    return frozenset(
        same(field.source_name)
        for relation in relations.values()
        for field in relation.fields
        if same(field.source_name) != same(field.name)
    )
