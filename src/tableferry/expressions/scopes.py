"""The names that a SELECT sees."""

from __future__ import annotations

from dataclasses import dataclass

from tableferry.expressions import syntax
from tableferry.expressions.model import Field, Untranslatable
from tableferry.expressions.sqlite_to_postgresql import column
from tableferry.expressions.terms import Term
from tableferry.sql import fold, quote


@dataclass(frozen=True, slots=True)
class Source:
    """One member of a FROM clause; ``hidden`` are the fields that a USING has merged away."""

    alias: str
    fields: tuple[Field, ...]
    hidden: frozenset[str] = frozenset()

    def field(self, name: str) -> Field | None:
        wanted = fold(name)
        return next((f for f in self.fields if fold(f.source_name) == wanted), None)

    def term(self, field: Field) -> Term:
        return column(field, f"{quote(self.alias)}.{quote(field.name)}")


class Scope:
    """The names that a SELECT sees: those of its own sources, then those of the query around it.

    ``joined``: how many of the sources an ON may name, None for all. ``closed``: where a subquery
    may not take columns from.
    """

    def __init__(self, outer: Scope | None, closed: str = "") -> None:
        self.outer = outer
        self.sources: list[Source] = []
        self.joined: int | None = None
        self._closed = closed

    def add(self, source: Source) -> None:
        if any(fold(other.alias) == fold(source.alias) for other in self.sources):
            raise Untranslatable(f"the name {source.alias} stands twice in a FROM clause")
        self.sources.append(source)

    def own(self, name: syntax.Name) -> Term | None:
        """The column of one of the SELECT's own sources."""
        found = [
            (number, source, field)
            for number, source in enumerate(self.sources)
            if name.table == "" or fold(source.alias) == fold(name.table)
            if (field := source.field(name.name)) is not None
            if name.table or fold(name.name) not in source.hidden
        ]
        if len(found) > 1:
            raise Untranslatable(f"the name {name.name[:80]} is ambiguous")
        if not found:
            return None
        number, source, field = found[0]
        if self.joined is not None and number >= self.joined:
            raise Untranslatable(f"ON names {source.alias}, which is joined later")
        return source.term(field)

    def find(self, name: syntax.Name) -> Term | None:
        return self.seen(name, frozenset())

    def seen(self, name: syntax.Name, hidden: frozenset[str]) -> Term | None:
        """As find(), from within queries whose own sources ``hidden`` names."""
        term = self.own(name)
        if term is None:
            around = hidden | {source.alias for source in self.sources}
            return None if self.outer is None else self.outer.seen(name, around)
        if self._closed:
            raise Untranslatable(self._closed)
        if any(term.sql.startswith(f"{quote(alias)}.") for alias in hidden):
            raise Untranslatable(f"the column {name.name[:80]} is hidden by a name of a subquery")
        return term
