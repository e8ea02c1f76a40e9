"""What a table is beyond its columns' types and keys, in the SQL of the target. Pure.

An expression crosses only where its translation is known to mean the same (see expressions);
whatever does not is left behind by name, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tableferry.casts import Offers
from tableferry.expressions import Field, Relation, Translator, Untranslatable, translator
from tableferry.expressions import View as Query
from tableferry.model import (
    Candidate,
    Check,
    Column,
    Index,
    IndexColumn,
    LeftBehind,
    Schema,
    Table,
    TableName,
    View,
    ViewColumn,
    ViewPlan,
)
from tableferry.naming import Destination, Names, called
from tableferry.sql import constant, fold, quote

# Collations that unique keys and indexes of the target keep by what they compare.
_KEPT = ("NOCASE", "RTRIM")


class Structure:
    """Takes what tables of the source are over to those of the target."""

    def __init__(self, offering: Offers, kept_types: frozenset[str]) -> None:
        """``kept_types`` are types of users that have the same name in the target."""
        self._offering = offering
        self._translator: Translator = translator(
            offering.source.name, offering.target.name, kept_types
        )

    def relation_of(
        self, source: Table, target: Table, candidates: tuple[Candidate, ...]
    ) -> Relation:
        """What expressions of the source mean by the table's names."""
        fields = tuple(
            Field(
                theirs.name,
                candidate.kind,
                mine.collation,
                mine.name,
                self._offering.source.affinity(mine),
                mixed=candidate.merges,
                declared=mine.declared,
                labels=mine.labels,
            )
            for mine, theirs, candidate in zip(
                source.columns, target.columns, candidates, strict=True
            )
        )
        return Relation(target.name, fields, source.name.name, source.name.schema)

    def with_structure(
        self,
        source: Table,
        target: Table,
        relation: Relation,
        plain: frozenset[str],
        left: list[LeftBehind],
    ) -> tuple[Table, Table]:
        """``target`` with defaults, generated columns and checks, and ``source`` with just those
        checks; of the columns in ``plain`` it is known that the target would compute other
        values."""
        columns = tuple(
            self._column(relation, (mine, theirs, field), mine.name in plain, left)
            for mine, theirs, field in zip(
                source.columns, target.columns, relation.fields, strict=True
            )
        )
        checks = [*self._checks(source, relation, left), *self._labels(source, target)]
        return (
            replace(source, checks=tuple(mine for mine, _ in checks)),
            replace(
                target,
                columns=columns,
                checks=tuple(theirs for _, theirs in checks),
                comment=source.comment,
            ),
        )

    def _column(
        self,
        relation: Relation,
        sides: tuple[Column, Column, Field],
        plain: bool,
        left: list[LeftBehind],
    ) -> Column:
        mine, theirs, field = sides

        def lost(what: str, reason: str) -> None:
            table = TableName(relation.schema, relation.source_name)
            left.append(LeftBehind(what, mine.name, str(table), reason))

        column = replace(theirs, comment=mine.comment, default=None)
        if mine.collation and self._offering.alike:
            column = replace(column, collation=mine.collation)
        elif mine.collation:
            lost("collation", _about_collation(mine))
        if mine.generated and plain:
            reason = "the target would compute other values: those of the source are in its place"
            lost("generated column", reason)
        elif mine.generated:
            try:
                text = self._translator.generated(mine.generated, relation, field.kind)
                column = replace(column, generated=text, virtual=mine.virtual)
            except Untranslatable as error:
                reason = f"its values arrive in a plain column: {error.reason}: {mine.generated}"
                lost("generated column", reason)
        elif mine.default is not None:
            try:
                text = self._translator.default(mine.default, field.kind)
                column = replace(column, default=text)
            except Untranslatable as error:
                lost("default", f"{error.reason}: {mine.default}")
        return column

    def _checks(
        self, source: Table, relation: Relation, left: list[LeftBehind]
    ) -> Iterable[tuple[Check, Check]]:
        """Each check of the source that can be one of the target, with what it is there."""
        for number, check in enumerate(source.checks, 1):
            try:
                expression = self._translator.check(check.expression, relation)
            except Untranslatable as error:
                name = check.name or f"number {number}"
                reason = f"{error.reason}: {check.expression}"
                left.append(LeftBehind("check", name, str(source.name), reason))
                continue
            name = check.name or f"{source.name.name}_check{number}"
            yield check, Check(expression, name)

    def _labels(self, source: Table, target: Table) -> Iterable[tuple[Check, Check]]:
        """The labels of an enum, where the target has no such type."""
        if self._offering.alike:
            return
        for mine, theirs in zip(source.columns, target.columns, strict=True):
            if mine.labels:
                labels = ", ".join(map(constant, mine.labels))
                name = f"{target.name.name}_{theirs.name}_check"
                yield (
                    Check(f"{quote(mine.name)}::text IN ({labels})", name),
                    Check(f"{quote(theirs.name)} IN ({labels})", name),
                )

    def indexes_of(
        self, source: Table, relation: Relation, names: Names, left: list[LeftBehind]
    ) -> tuple[tuple[Index, Index], ...]:
        """Each index of the source that can be one of the target, with what it is there."""
        pairs = []
        for index in source.indexes:
            try:
                terms = tuple(self._term(term, relation) for term in index.columns)
                where = self._translator.predicate(index.where, relation) if index.where else ""
            except Untranslatable as error:
                reason = error.reason + (f": WHERE {index.where}" if index.where else "")
                left.append(LeftBehind("index", index.name, str(source.name), reason))
                continue
            pairs.append((index, Index(names.give(index.name), terms, index.unique, where)))
        return tuple(pairs)

    def _term(self, term: IndexColumn, relation: Relation) -> IndexColumn:
        own = {field.original: field for field in relation.fields}
        if self._offering.alike and not term.expression:
            return replace(term, name=own[term.name].name)
        kept = term.collation in _KEPT
        if not term.expression and not (kept and own[term.name].kind.name == "text"):
            if term.collation and not kept:
                raise Untranslatable(f"the collation {term.collation} is not known")
            return IndexColumn(own[term.name].name, term.descending)
        text = term.expression or quote(term.name)
        expression = self._translator.index_term(text, relation, term.collation)
        return IndexColumn(descending=term.descending, expression=expression)

    def views_of(
        self,
        schema: Schema,
        relations: Mapping[TableName, Relation],
        destination: Destination,
        names: Names,
        left: list[LeftBehind],
    ) -> tuple[ViewPlan, ...]:
        """The views that can be translated, in an order in which they can be created."""
        known = dict(relations)
        plans: list[ViewPlan] = []
        waiting = list(schema.views)
        while waiting:
            still = []
            reasons = {}
            for view in waiting:
                try:
                    query = self._translated(view, known, destination)
                except Untranslatable as error:
                    reasons[view.name] = error.reason
                    still.append(view)
                    continue
                name = TableName(destination.schema, names.give(called(view.name, schema.home)))
                columns = tuple(
                    ViewColumn(f.source_name, f.name, f.kind, f.approximate) for f in query.fields
                )
                plans.append(ViewPlan(view.name, name, query.sql, columns))
                known[view.name] = Relation(name, query.fields, view.name.name, view.name.schema)
            if len(still) == len(waiting):
                left += [
                    LeftBehind("view", str(v.name), str(v.name), reasons[v.name]) for v in still
                ]
                break
            waiting = still
        return tuple(plans)

    def _translated(
        self, view: View, known: Mapping[TableName, Relation], destination: Destination
    ) -> Query:
        """The view's query, its columns called as the destination calls them."""
        by_name = {_called(name): relation for name, relation in known.items()}
        kinds = self._offering.kinds_of(view.types)
        query = self._translator.view(view.select, by_name, view.columns, kinds)
        fitted = tuple(destination.fit_column(field.name) for field in query.fields)
        if fitted == tuple(field.name for field in query.fields):
            return query
        named = self._translator.view(view.select, by_name, fitted, kinds)
        pairs = zip(named.fields, query.fields, strict=True)
        fields = tuple(replace(new, original=old.source_name) for new, old in pairs)
        return Query(named.sql, fields)


def _called(name: TableName) -> str:
    """The key under which a view's translation looks for a relation: SQLite takes names that
    differ in case for one, and PostgreSQL has schemas, each with names of its own."""
    return fold(name.name) if name.schema == "main" else f"{name.schema}.{name.name}"


def _about_collation(column: Column) -> str:
    kept = "its unique keys and indexes keep it" if column.collation in _KEPT else "and none of it"
    return f"{column.collation} is no collation of the target's; {kept}"
