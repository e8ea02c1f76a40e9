"""SQLite's expressions and views for another SQLite file: the text stays what it is.

It is made sure that a text is one expression or one SELECT, and that no name in it stands for
something that is called otherwise in the target. Names that differ in the case of ASCII letters
alone are the same in SQLite.
"""

from __future__ import annotations

from collections.abc import Mapping

from tableferry.expressions import views
from tableferry.expressions.model import Field, Relation, Untranslatable, View
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.tokens import RESERVED, Token, tokens, unquoted
from tableferry.expressions.walking import Walker, renamed_columns, renamed_in
from tableferry.model import Kind
from tableferry.sql import fold, quote

# Words that are a value and no name where a DEFAULT is one word.
_VALUES = frozenset({"NULL", "TRUE", "FALSE", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"})


def translate_check(text: str, relation: Relation) -> str:
    """The condition of a CHECK. Raises Untranslatable."""
    return guarded(_Walker(text, renamed_in(relation, fold)).expression)


def translate_predicate(text: str, relation: Relation) -> str:
    """The WHERE of a partial index. Raises Untranslatable."""
    return translate_check(text, relation)


def translate_index_term(text: str, relation: Relation, collation: str = "") -> str:
    """A term of an index, in parentheses, with the collation that the index names. Raises
    Untranslatable."""
    term = f"({translate_check(text, relation)})"
    return f"{term} COLLATE {quote(collation)}" if collation else term


def translate_generated(text: str, relation: Relation, kind: Kind) -> str:
    """The expression of a generated column. Raises Untranslatable."""
    return translate_check(text, relation)


def translate_default(text: str, kind: Kind) -> str:
    """A DEFAULT, as ``dflt_value`` of PRAGMA table_xinfo gives it: an expression for DEFAULT (…).
    A word alone is a string there, but would be a column in parentheses. Raises
    Untranslatable."""
    found = tokens(text)
    alone = len(found) == 2 and found[0].kind in ("word", "loose", "quoted")
    if alone and found[0].word not in _VALUES:
        return "'" + unquoted(found[0]).replace("'", "''") + "'"
    sql = guarded(_Walker(text, frozenset()).expression)
    # A literal, perhaps with its sign, needs no parentheses; nothing else is a default without.
    literal = all(token.kind != "sign" or token.word in "+-" for token in found)
    return sql if literal and len(found) <= 3 else f"({sql})"


def translate_view(
    select: str,
    relations: Mapping[str, Relation],
    columns: tuple[str, ...] = (),
    known_kinds: tuple[Kind, ...] = (),
) -> View:
    """A view's SELECT over the tables and views of ``relations``; ``columns`` are the names that
    CREATE VIEW itself gives.

    What its columns hold is found out as for PostgreSQL. Where that is not possible, the view goes
    over all the same, but without fields: of its rows nothing can be said. Raises Untranslatable.
    """
    walk = _Walker(select, renamed_columns(relations, fold), relations)
    sql = guarded(walk.query)
    try:
        fields = views.translate_view(select, relations, columns).fields
    except Untranslatable:
        fields = _known(columns, known_kinds)
    if columns:
        listed = ", ".join(map(quote, columns))
        sql = f'WITH "view"({listed}) AS ({sql}) SELECT * FROM "view"'
    return View(sql, fields)


def _known(columns: tuple[str, ...], known_kinds: tuple[Kind, ...]) -> tuple[Field, ...]:
    if len(columns) != len(known_kinds):
        return ()
    return tuple(Field(name, kind) for name, kind in zip(columns, known_kinds, strict=True))


class _Walker(Walker):
    """The tokens of SQLite, which has no functions that would have to be kept out: what the source
    could call, its reader calls again."""

    def __init__(
        self,
        text: str,
        renamed: frozenset[str],
        relations: Mapping[str, Relation] | None = None,
    ) -> None:
        super().__init__(text, tokens, RESERVED, renamed)
        self._relations = {
            fold(known): relation
            for key, relation in (relations or {}).items()
            for known in (key, relation.source_name)
        }

    def same(self, name: str) -> str:
        return fold(name)

    def call(self, names: list[str]) -> None:
        if len(names) > 1:
            raise Untranslatable(f"the function {'.'.join(names)[:80]}() is not translated")

    def relation(self, schema: str, name: str) -> Relation:
        if fold(schema) not in ("", "main"):
            raise Untranslatable(f"the schema {schema[:80]} is not that of this database")
        found = self._relations.get(fold(name))
        if found is None:
            raise Untranslatable(f"the table {name[:80]} is not known here")
        return found

    def table(self, relation: Relation) -> str:
        return quote(relation.name.name)

    def special(self, token: Token) -> bool:
        if token.kind != "word" or token.word not in RESERVED:
            return False
        if token.word in ("CREATE", "DROP", "ALTER", "INSERT", "UPDATE", "DELETE", "COMMIT"):
            raise self.unexpected()
        self._take()
        return True
