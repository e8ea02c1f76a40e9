"""SQLite's expressions and views for another SQLite file: the text stays what it is.

It is made sure that a text is one expression or one SELECT, and that no name in it stands for
something that is called otherwise in the target. Names that differ in the case of ASCII letters
alone are the same in SQLite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as parts
from dataclasses import is_dataclass, replace

from tableferry.expressions import syntax
from tableferry.expressions.model import Field, Relation, Untranslatable, View
from tableferry.expressions.parser import parse_query
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.tokens import RESERVED, Token, tokens, unquoted
from tableferry.expressions.walking import Walker, renamed_columns, renamed_in
from tableferry.model import Kind
from tableferry.sql import constant, fold, quote

# Whatever SQLite keeps, with its storage class.
ANY = Kind("any")

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
        return constant(unquoted(found[0]))
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

    Its fields are of the kind "any", since nobody has to know what they hold. Where not even their
    names can be told, the view goes over all the same, but without fields: of its rows nothing can
    be said. Raises Untranslatable.
    """
    walk = _Walker(select, renamed_columns(relations, fold), relations)
    sql = guarded(walk.query)
    try:
        fields = guarded(lambda: _fields(parse_query(select), _Known(relations), columns))
    except Untranslatable:
        fields = tuple(Field(name, ANY, approximate=True) for name in columns)
    if columns:
        listed = ", ".join(map(quote, columns))
        sql = f'WITH "view"({listed}) AS ({sql}) SELECT * FROM "view"'
    return View(sql, fields)


# ---- what the columns of a view are called ------------------------------------------------------


class _Known:
    """What a FROM clause can name, and the fields of each; () where they are not known."""

    def __init__(self, relations: Mapping[str, Relation]) -> None:
        self._fields = {
            fold(known): relation.fields
            for key, relation in relations.items()
            for known in (key, relation.source_name)
        }

    def add(self, name: str, fields: tuple[Field, ...]) -> None:
        self._fields[fold(name)] = fields

    def inner(self) -> _Known:
        inner = _Known({})
        inner._fields = dict(self._fields)
        return inner

    def find(self, name: str) -> tuple[Field, ...]:
        found = self._fields.get(fold(name), ())
        if not found:
            raise Untranslatable(f"the columns of {name[:80]} are not known")
        return found


def _fields(
    query: syntax.Query, around: _Known, columns: tuple[str, ...] = ()
) -> tuple[Field, ...]:
    """The columns of a query. SQLite calls one by its alias, else as the column that it is, else
    by its own text."""
    known = around.inner()
    for expression in query.common:
        known.add(expression.name, _fields(expression.query, known, expression.columns))
    fields = _fields_of_select(query.selects[0], known)
    others = [_fields_of_select(select, known) for select in query.selects[1:]]
    if any(len(other) != len(fields) for other in others):
        raise Untranslatable("the parts of a UNION have different numbers of columns")
    if columns and len(columns) != len(fields):
        raise Untranslatable("it has another number of columns than are named")
    return tuple(
        Field(
            columns[i] if columns else field.name,
            ANY,
            original=columns[i] if columns else field.original,
            approximate=any(each[i].approximate for each in (fields, *others)),
        )
        for i, field in enumerate(fields)
    )


def _fields_of_select(select: syntax.Select, known: _Known) -> tuple[Field, ...]:
    sources = [
        (
            member.alias or member.table,
            known.find(member.table) if member.select is None else _fields(member.select, known),
        )
        for member in select.sources
    ]
    fields: list[Field] = []
    for result in select.results:
        if isinstance(result, syntax.Star):
            if any(member.using for member in select.sources):
                raise Untranslatable("* after USING")
            for alias, each in sources:
                if result.table == "" or fold(result.table) == fold(alias):
                    fields += each
        else:
            fields.append(_field(result, sources))
    return tuple(fields)


def _field(result: syntax.Result, sources: list[tuple[str, tuple[Field, ...]]]) -> Field:
    match result.node:
        case syntax.Name(name, table, _, _):
            for alias, fields in sources:
                for field in fields:
                    if fold(table) in ("", fold(alias)) and fold(field.source_name) == fold(name):
                        own = result.alias or field.name
                        return replace(field, name=own, original=result.alias or field.original)
    # Sums of doubles depend on the order of the rows in their last digits.
    return Field(result.alias or result.text, ANY, approximate=_adds(result.node))


def _adds(node: object) -> bool:
    """Whether something is added up in an expression, or in a query in it."""
    if isinstance(node, syntax.Call) and node.name in ("sum", "total", "avg"):
        return True
    if isinstance(node, tuple):
        return any(map(_adds, node))
    return is_dataclass(node) and any(_adds(getattr(node, part.name)) for part in parts(node))


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
