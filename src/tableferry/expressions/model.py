"""What the translators take and give: relations with their fields, views, and a refusal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tableferry.model import Kind, TableName
from tableferry.sql import fold, quote

# What a column of each kind was in SQLite, where the caller does not say ("Datatypes In SQLite",
# section 3.1).
_AFFINITIES = {"int": "INTEGER", "float": "REAL", "text": "TEXT", "bytes": "BLOB"}


class Untranslatable(Exception):
    """An expression that is left behind; ``reason`` is a phrase that a reader can check."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __reduce__(self) -> tuple[type[Untranslatable], tuple[str]]:
        return type(self), (self.reason,)


@dataclass(frozen=True, slots=True)
class Field:
    """A column that expressions may name.

    name: the column's name in the target. kind: the kind of its values. original: its name in the
    source, "" where it is the same. mixed: the source's values are of several storage classes (they
    were merged), so that nothing can be said of expressions over them. approximate: the last digits
    depend on the order in which numbers were added.

    collation: that of the source's column. In SQLite "" or BINARY, NOCASE, RTRIM; in PostgreSQL ""
    is one of which nothing is known but that it tells unequal texts apart, and C or POSIX (also
    where it is the database's default) lets text be ordered and changed in case.

    affinity, of a column of SQLite: INTEGER, REAL, NUMERIC, TEXT, BLOB, or NONE for the result of
    an expression; "" is what columns of this kind usually have.

    declared, of a column of PostgreSQL: its type as format_type() writes it, such as "real" or
    "character(3)"; "" where that is not known, and then less is translated. labels: those of an
    enum; () for other types.
    """

    name: str
    kind: Kind
    collation: str = ""
    original: str = ""
    affinity: str = ""
    mixed: bool = False
    approximate: bool = False
    declared: str = ""
    labels: tuple[str, ...] = ()

    @property
    def source_name(self) -> str:
        return self.original or self.name

    @property
    def source_affinity(self) -> str:
        return self.affinity or _AFFINITIES.get(self.kind.name, "NUMERIC")


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view: ``name`` in the target, ``original`` in the source ("" for the same).

    schema: the source's schema; it has to be known where a view of PostgreSQL names the table
    together with its schema.
    """

    name: TableName
    fields: tuple[Field, ...]
    original: str = ""
    schema: str = ""

    @property
    def source_name(self) -> str:
        return self.original or self.name.name

    def field(self, name: str) -> Field | None:
        """The field that SQLite finds by this name."""
        wanted = fold(name)
        return next((f for f in self.fields if fold(f.source_name) == wanted), None)


def named(relations: Mapping[str, Relation], schema: str, name: str) -> Relation:
    """The relation that PostgreSQL calls so; ``schema`` is "" where none is written. Its keys
    count only together with a schema ("schema.table"), since they may be folded. Raises
    Untranslatable."""
    found = [
        relation
        for key, relation in relations.items()
        if relation.source_name == name
        if schema in ("", relation.schema) or key == f"{schema}.{name}"
    ]
    if len(set(map(id, found))) != 1:
        written = f"{schema}.{name}" if schema else name
        raise Untranslatable(f"the table {written[:80]} is not known here")
    return found[0]


@dataclass(frozen=True, slots=True)
class View:
    """A translated view: the SELECT for CREATE VIEW … AS, and what its columns are.

    fields: () where a view goes over as it is and nobody knows what its columns hold.
    """

    sql: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Clauses:
    """What the clauses of a SELECT became, "" where there is none. Both databases write one
    alike."""

    distinct: bool
    sources: str
    where: str
    groups: tuple[str, ...]
    having: str

    def listing(self, results: Iterable[tuple[str, str]]) -> str:
        """The SELECT of result columns, each as its SQL and its name."""
        listed = ", ".join(f"{value} AS {quote(name)}" for value, name in results)
        text = f"SELECT {'DISTINCT ' if self.distinct else ''}{listed}"
        if self.sources:
            text += f" FROM {self.sources}"
        if self.where:
            text += f" WHERE {self.where}"
        if self.groups:
            text += f" GROUP BY {', '.join(self.groups)}"
        if self.having:
            text += f" HAVING {self.having}"
        return text


class TranslateExpression(Protocol):
    """A check or predicate of a table: its text and the table."""

    def __call__(self, text: str, relation: Relation, /) -> str: ...


class TranslateDefault(Protocol):
    """A default's text, for a column of this kind."""

    def __call__(self, text: str, kind: Kind, /) -> str: ...


class TranslateGenerated(Protocol):
    """A generated column's text, the table, and the column's kind."""

    def __call__(self, text: str, relation: Relation, kind: Kind, /) -> str: ...


class TranslateIndexTerm(Protocol):
    """A term of an index, the table, and the collation that the index itself names ("")."""

    def __call__(self, text: str, relation: Relation, collation: str = "", /) -> str: ...


class TranslateView(Protocol):
    """A view's SELECT over ``relations`` (the source's tables, and its views that were translated
    before, by their names); ``columns``: the names that the view's columns are to have, () for
    those of the SELECT. ``kinds``: the kinds of its columns, where a catalog tells."""

    def __call__(
        self,
        select: str,
        relations: Mapping[str, Relation],
        columns: tuple[str, ...] = (),
        kinds: tuple[Kind, ...] = (),
        /,
    ) -> View: ...


@dataclass(frozen=True, slots=True)
class Translator:
    """What takes SQL from one database to another. Each function raises Untranslatable."""

    check: TranslateExpression
    default: TranslateDefault
    generated: TranslateGenerated
    index_term: TranslateIndexTerm
    predicate: TranslateExpression
    view: TranslateView
