"""What the translators take and give: relations with their fields, views, and a refusal."""

from __future__ import annotations

from dataclasses import dataclass

from tableferry.model import Kind, TableName
from tableferry.sql import fold

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

    name: the column's name in the target. kind: its kind in the target. collation: "" or BINARY,
    NOCASE or RTRIM, of the source's column. original: its name in the source, "" where it is the
    same. affinity: INTEGER, REAL, NUMERIC, TEXT, BLOB, or NONE for the result of an expression;
    "" is what columns of this kind usually have. mixed: the source's values are of several storage
    classes (they were merged), so that nothing can be said of expressions over them.
    approximate: the last digits depend on the order in which numbers were added.
    """

    name: str
    kind: Kind
    collation: str = ""
    original: str = ""
    affinity: str = ""
    mixed: bool = False
    approximate: bool = False

    @property
    def source_name(self) -> str:
        return self.original or self.name

    @property
    def source_affinity(self) -> str:
        return self.affinity or _AFFINITIES.get(self.kind.name, "NUMERIC")


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view: ``name`` in the target, ``original`` in the source ("" for the same)."""

    name: TableName
    fields: tuple[Field, ...]
    original: str = ""

    @property
    def source_name(self) -> str:
        return self.original or self.name.name

    def field(self, name: str) -> Field | None:
        """The field that SQLite finds by this name."""
        wanted = fold(name)
        return next((f for f in self.fields if fold(f.source_name) == wanted), None)


@dataclass(frozen=True, slots=True)
class View:
    """A translated view: the SELECT for CREATE VIEW … AS, and what its columns are."""

    sql: str
    fields: tuple[Field, ...]
