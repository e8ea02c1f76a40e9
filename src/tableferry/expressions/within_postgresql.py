"""PostgreSQL's expressions and views for another PostgreSQL: the text stays what it is.

Only what is known to have no side effect and to be there in every PostgreSQL is let through: the
functions, types and collations on the lists below, and the types that the caller names. Tables in
a view get their names in the target. What is read is what the catalog functions print, so that
every function outside of the search path is qualified, and every word that is not a name is one of
the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tableferry.expressions.model import Field, Relation, Untranslatable, View, named
from tableferry.expressions.postgresql_builtins import FUNCTIONS, TYPES
from tableferry.expressions.postgresql_tokens import RESERVED, folded_name, tokens, type_name
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.tokens import Token
from tableferry.expressions.walking import Walker, renamed_columns, renamed_in
from tableferry.model import Kind
from tableferry.sql import quote

_COLLATIONS = frozenset({"C", "POSIX", "default", "ucs_basic"})

# Words of the grammar that are reserved only where a function is called ("col_name" in appendix C):
# the printed text quotes them wherever they name something.
_GRAMMAR = frozenset(
    [
        *("BETWEEN", "COALESCE", "EXISTS", "EXTRACT", "GREATEST", "GROUPING", "LEAST", "NORMALIZE"),
        *("NULLIF", "OVERLAY", "POSITION", "ROW", "SUBSTRING", "TRIM", "VALUES"),
    ]
)
# Reserved words that may stand in an expression or a query, and those of them that an opening
# parenthesis may follow.
_WORDS = frozenset(
    [
        *("ALL", "AND", "ANY", "ARRAY", "AS", "ASC", "ASYMMETRIC", "BOTH", "CASE", "CROSS"),
        *("CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP", "CURRENT_USER", "DESC", "DISTINCT"),
        *("ELSE", "END", "EXCEPT", "FALSE", "FETCH", "FROM", "FULL", "GROUP", "HAVING", "ILIKE"),
        *("IN", "INNER", "INTERSECT", "IS", "ISNULL", "JOIN", "LATERAL", "LEADING", "LEFT", "LIKE"),
        *("LIMIT", "LOCALTIME", "LOCALTIMESTAMP", "NATURAL", "NOT", "NOTNULL", "NULL", "OFFSET"),
        *("ON", "ONLY", "OR", "ORDER", "OUTER", "OVERLAPS", "PLACING", "RIGHT", "SESSION_USER"),
        *("SIMILAR", "SOME", "SYMMETRIC", "THEN", "TO", "TRAILING", "TRUE", "UNION", "USING"),
        *("VARIADIC", "WHEN", "WHERE", "WINDOW", "WITH"),
    ]
)
# Words that are no names of their own after one of these, though they are not reserved.
_AFTER = {
    "BY": ("ORDER", "GROUP", "PARTITION"),
    "OVER": (")",),
    "FILTER": (")",),
    "ZONE": ("TIME",),
    "SETS": ("GROUPING",),
    "ROLLUP": ("BY",),
    "CUBE": ("BY",),
}
# Of these it is enough that they stand somewhere: nothing can be called by them.
_LOOSE = frozenset(
    [
        *("AT", "TIME", "WITHIN", "PARTITION", "ROWS", "RANGE", "GROUPS", "PRECEDING", "FOLLOWING"),
        *("UNBOUNDED", "CURRENT", "NULLS", "FIRST", "LAST", "UNKNOWN", "NEXT", "TIES"),
    ]
)


def translate_check(text: str, relation: Relation, types: frozenset[str] = frozenset()) -> str:
    """The condition of a CHECK, as pg_get_expr() prints it. Raises Untranslatable.

    types: user-defined types that the target has too, as format_type() writes them.
    """
    walk = _Walker(text, renamed_in(relation, str), types)
    return guarded(walk.expression)


def translate_predicate(text: str, relation: Relation, types: frozenset[str] = frozenset()) -> str:
    """The WHERE of a partial index. Raises Untranslatable."""
    return translate_check(text, relation, types)


def translate_index_term(
    text: str, relation: Relation, collation: str = "", types: frozenset[str] = frozenset()
) -> str:
    """A term of an index, in parentheses, with the collation that the index names. Raises
    Untranslatable."""
    if collation not in ("", *_COLLATIONS):
        raise Untranslatable(f"the collation {collation[:60]} need not be in the target")
    term = f"({translate_check(text, relation, types)})"
    return f"({term} COLLATE {quote(collation)})" if collation else term


def translate_generated(
    text: str, relation: Relation, kind: Kind, types: frozenset[str] = frozenset()
) -> str:
    """The expression of a generated column. Raises Untranslatable."""
    return translate_check(text, relation, types)


def translate_default(text: str, kind: Kind, types: frozenset[str] = frozenset()) -> str:
    """A DEFAULT; one that asks a sequence is refused. Raises Untranslatable."""
    return guarded(_Walker(text, frozenset(), types).expression)


def translate_view(
    select: str,
    relations: Mapping[str, Relation],
    columns: tuple[str, ...] = (),
    known_kinds: tuple[Kind, ...] = (),
    types: frozenset[str] = frozenset(),
) -> View:
    """A view's SELECT, as pg_get_viewdef() prints it, over the tables and views of ``relations``.

    ``columns`` are the names that its columns are to have, and ``known_kinds`` their kinds: the
    fields of the view are made of both. Raises Untranslatable.
    """
    text = select.rstrip().removesuffix(";")
    walk = _Walker(text, renamed_columns(relations, str), types, relations)
    sql = guarded(walk.query)
    if columns and walk.outputs != list(columns):
        listed = ", ".join(map(quote, columns))
        sql = f'SELECT * FROM ({sql}) AS "view"({listed})'
    if len(columns) != len(known_kinds):
        return View(sql, ())
    fields = tuple(Field(name, kind) for name, kind in zip(columns, known_kinds, strict=True))
    return View(sql, fields)


class _Walker(Walker):
    """The tokens of PostgreSQL; names are compared as they are, and folded where unquoted.

    outputs: the names of the result's columns, once a query is walked.
    """

    def __init__(
        self,
        text: str,
        renamed: frozenset[str],
        types: frozenset[str],
        relations: Mapping[str, Relation] | None = None,
    ) -> None:
        super().__init__(text, tokens, RESERVED | _GRAMMAR, renamed)
        self._types = types
        self._relations = relations or {}
        self.outputs: list[str] = []

    def query(self) -> str:
        sql = super().query()
        self.outputs = _outputs(self._tokens)
        return sql

    def name(self) -> str:
        return folded_name(self, super().name)

    def same(self, name: str) -> str:
        return name

    def call(self, names: list[str]) -> None:
        *schemas, name = names
        if name not in FUNCTIONS or schemas not in ([], ["pg_catalog"]):
            raise Untranslatable(f"the function {'.'.join(names)[:80]}() is on no list of ours")

    def relation(self, schema: str, name: str) -> Relation:
        return named(self._relations, schema, name)

    def table(self, relation: Relation) -> str:
        return f"{quote(relation.name.schema)}.{quote(relation.name.name)}"

    def refuse_after_name(self) -> None:
        # A type before a string is a constant of it: regclass 'x'.
        if self.next.kind in ("string", "escaped", "bits"):
            raise self.unexpected()

    def special(self, token: Token) -> bool:
        word = token.word
        if word == "::":
            self._take()
            self._refuse_unknown(type_name(self))
        elif word == "COLLATE":
            self._take()
            self._collation()
        elif word in _WORDS or word in _GRAMMAR or (word == "FOR" and not self._in_query):
            self._take()
        elif word in RESERVED:
            raise self.unexpected()
        elif word == "OPERATOR" and self.word_after(1) == "(":
            self._operator()
        elif word in _AFTER and self._last[-1] in _AFTER[word]:
            self._take()
        elif word in _LOOSE and self.word_after(1) != "(":
            # Perhaps a name after all: it stays either way.
            return self.same(token.text.lower()) not in self._renamed and bool(self._take())
        else:
            return False
        return True

    def _refuse_unknown(self, name: str) -> None:
        base = re.sub(r"\([-0-9,]*\)|\[\]", "", name)
        aliases = {"timestamp": "timestamp without time zone", "time": "time without time zone"}
        base = aliases.get(base, base).removeprefix("pg_catalog.")
        if base not in TYPES and not {base, re.sub(r"\[\]", "", name)} & self._types:
            raise Untranslatable(f"the type {name[:80]} need not be in the target")

    def _collation(self) -> None:
        name = self.name()
        if self.accept("."):
            name = self.name() if name == "pg_catalog" else ""
        if name not in _COLLATIONS:
            raise Untranslatable(f"the collation {name[:60]} need not be in the target")

    def _operator(self) -> None:
        self._take()
        self.expect("(")
        if self.name() != "pg_catalog" or not self.accept("."):
            raise Untranslatable("an operator of one's own need not be in the target")
        if self.next.kind != "sign":
            raise self.unexpected()
        self.advance()
        self.expect(")")

    def _type_of_column(self) -> None:
        self._refuse_unknown(type_name(self))


def _outputs(found: list[Token]) -> list[str]:
    """The names of the first SELECT's columns: each is an alias or the column's own name, as
    pg_get_viewdef() prints them; "" where it is neither."""
    start = next((i for i, token in enumerate(found) if token.word == "SELECT"), len(found))
    if any(token.word == "WITH" for token in found[:start]):
        start = _main_select(found)
    names, depth = [], 0
    for i, token in enumerate(found[start + 1 :], start + 1):
        depth += (token.word in ("(", "[")) - (token.word in (")", "]"))
        ends = token.kind == "end" or token.word in ("FROM", "UNION", "WHERE", "ORDER", "LIMIT")
        if depth < 0 or (depth == 0 and (ends or token.word == ",")):
            last = found[i - 1]
            name = last.text[1:-1].replace('""', '"') if last.kind == "loose" else last.text
            names.append(name if last.kind in ("word", "loose") else "")
            if ends or depth < 0:
                break
    return names


def _main_select(found: list[Token]) -> int:
    depth = 0
    for i, token in enumerate(found):
        depth += (token.word == "(") - (token.word == ")")
        if depth == 0 and token.word == "SELECT":
            return i
    return 0
