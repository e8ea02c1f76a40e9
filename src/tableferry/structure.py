"""What a table is beyond its columns' types and keys, in the SQL of the target. Pure.

An expression crosses only where its translation is known to mean the same (see expressions);
whatever does not is left behind by name, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tableferry import expressions
from tableferry.dialects.sqlite.types import affinity
from tableferry.expressions import Field, Relation, Untranslatable
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
from tableferry.naming import Destination, Names
from tableferry.sql import fold, quote


def relation_of(source: Table, target: Table, candidates: tuple[Candidate, ...]) -> Relation:
    """What expressions of the source mean by the table's names."""
    fields = tuple(
        Field(
            theirs.name,
            candidate.kind,
            mine.collation,
            mine.name,
            affinity(mine.declared),
            mixed=candidate.merges,
        )
        for mine, theirs, candidate in zip(source.columns, target.columns, candidates, strict=True)
    )
    return Relation(target.name, fields, source.name.name)


def with_structure(
    source: Table,
    target: Table,
    relation: Relation,
    plain: frozenset[str],
    left: list[LeftBehind],
) -> tuple[Table, Table]:
    """``target`` with defaults, generated columns and checks, and ``source`` with just those
    checks; of the columns in ``plain`` it is known that the target would compute other values."""

    def lost(what: str, name: str, reason: str) -> None:
        left.append(LeftBehind(what, name, source.name.name, reason))

    columns = []
    for mine, theirs, field in zip(source.columns, target.columns, relation.fields, strict=True):
        column = replace(theirs, comment=mine.comment)
        if mine.collation:
            lost("collation", mine.name, _about_collation(mine))
        if mine.generated and mine.name in plain:
            reason = "the target would compute other values: those of the source are in its place"
            lost("generated column", mine.name, reason)
        elif mine.generated:
            try:
                text = expressions.translate_generated(mine.generated, relation, field.kind)
                column = replace(column, generated=text)
            except Untranslatable as error:
                reason = f"its values arrive in a plain column: {error.reason}: {mine.generated}"
                lost("generated column", mine.name, reason)
        elif mine.default is not None:
            try:
                text = expressions.translate_default(mine.default, field.kind)
                column = replace(column, default=text)
            except Untranslatable as error:
                lost("default", mine.name, f"{error.reason}: {mine.default}")
        columns.append(column)
    checks = list(_checks(source, relation, left))
    return (
        replace(source, checks=tuple(mine for mine, _ in checks)),
        replace(
            target,
            columns=tuple(columns),
            checks=tuple(theirs for _, theirs in checks),
            comment=source.comment,
        ),
    )


def _about_collation(column: Column) -> str:
    kept = "its unique keys and indexes keep it" if column.collation in _KEPT else "and none of it"
    return f"{column.collation} is no collation of the target's; {kept}"


_KEPT = ("NOCASE", "RTRIM")


def _checks(
    source: Table, relation: Relation, left: list[LeftBehind]
) -> Iterable[tuple[Check, Check]]:
    """Each check of the source that can be one of the target, with what it is there."""
    for number, check in enumerate(source.checks, 1):
        try:
            expression = expressions.translate_check(check.expression, relation)
        except Untranslatable as error:
            name = check.name or f"number {number}"
            reason = f"{error.reason}: {check.expression}"
            left.append(LeftBehind("check", name, source.name.name, reason))
            continue
        name = check.name or f"{source.name.name}_check{number}"
        yield check, Check(expression, name)


def indexes_of(
    source: Table,
    relation: Relation,
    names: Names,
    left: list[LeftBehind],
) -> tuple[tuple[Index, Index], ...]:
    """Each index of the source that can be one of the target, with what it is there."""
    own = {field.original: field for field in relation.fields}
    pairs = []
    for index in source.indexes:
        try:
            terms = tuple(_term(term, own, relation) for term in index.columns)
            where = expressions.translate_predicate(index.where, relation) if index.where else ""
        except Untranslatable as error:
            reason = error.reason + (f": WHERE {index.where}" if index.where else "")
            left.append(LeftBehind("index", index.name, source.name.name, reason))
            continue
        pairs.append((index, Index(names.give(index.name), terms, index.unique, where)))
    return tuple(pairs)


def _term(term: IndexColumn, own: Mapping[str, Field], relation: Relation) -> IndexColumn:
    if not term.expression and not (term.collation in _KEPT and own[term.name].kind.name == "text"):
        if term.collation and term.collation not in _KEPT:
            raise Untranslatable(f"the collation {term.collation} is not known")
        return IndexColumn(own[term.name].name, term.descending)
    text = term.expression or quote(term.name)
    expression = expressions.translate_index_term(text, relation, term.collation)
    return IndexColumn(descending=term.descending, expression=expression)


def _translated(
    view: View, known: Mapping[str, Relation], destination: Destination
) -> expressions.View:
    """The view's query, its columns called as the destination calls them."""
    query = expressions.translate_view(view.select, known, view.columns)
    fitted = tuple(destination.fit_column(field.name) for field in query.fields)
    if fitted == tuple(field.name for field in query.fields):
        return query
    named = expressions.translate_view(view.select, known, fitted)
    pairs = zip(named.fields, query.fields, strict=True)
    fields = tuple(replace(new, original=old.source_name) for new, old in pairs)
    return expressions.View(named.sql, fields)


def views_of(
    schema: Schema,
    relations: Mapping[str, Relation],
    destination: Destination,
    names: Names,
    left: list[LeftBehind],
) -> tuple[ViewPlan, ...]:
    """The views that can be translated, in an order in which they can be created.

    ``relations`` are the tables' by their names in lower case.
    """
    known = dict(relations)
    plans: list[ViewPlan] = []
    waiting = list(schema.views)
    while waiting:
        still = []
        reasons = {}
        for view in waiting:
            try:
                query = _translated(view, known, destination)
            except Untranslatable as error:
                reasons[view.name] = error.reason
                still.append(view)
                continue
            name = TableName(destination.schema, names.give(view.name.name))
            columns = tuple(
                ViewColumn(f.source_name, f.name, f.kind, f.approximate) for f in query.fields
            )
            plans.append(ViewPlan(view.name, name, query.sql, columns))
            known[fold(view.name.name)] = Relation(name, query.fields, view.name.name)
        if len(still) == len(waiting):
            left += [LeftBehind("view", v.name.name, v.name.name, reasons[v.name]) for v in still]
            break
        waiting = still
    return tuple(plans)
