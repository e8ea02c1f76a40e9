"""Asks both sides what drift.py compares: the plan that the source's schema comes to, and what the
target says of its own. Nothing is written, and no row is read but for largest values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tableferry import drift
from tableferry.adoption import Adopted
from tableferry.casts import Offers
from tableferry.dialects.base import Dialect, Session
from tableferry.expressions import Relation, Translator, Untranslatable, translator
from tableferry.model import (
    Candidate,
    Column,
    Expression,
    Finding,
    LeftBehind,
    Plan,
    Schema,
    Survey,
    Table,
    TableName,
    TablePlan,
)
from tableferry.naming import Destination, called, counterpart
from tableferry.outcomes import Drift
from tableferry.pairing import Ends, pair_columns, table_like
from tableferry.plan import Known, kept_types, make_plan
from tableferry.selection import Selection
from tableferry.sql import fold


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both schemas in full, and for each table of the source that is there which one stands for
    it, and which of its columns for which."""

    source: Schema
    target: Schema
    twins: Mapping[TableName, Adopted]


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """``warnings`` say what could not be compared."""

    drift: tuple[Drift, ...] = ()
    warnings: tuple[str, ...] = ()


def check_schema(
    ends: Ends, schemas: tuple[Schema, Schema], session: Session, selection: Selection
) -> SchemaCheck:
    """Everything in which the chosen tables of the target drifted. ``schemas``: the source's in
    full, and the target's; ``session`` is the target's."""
    source, target = ends.source_dialect, ends.target_dialect
    offers = Offers(source, target, ends.rules)
    sides = _Sides(*schemas, _twins(ends, *schemas))
    home = next((table.name.schema for table in sides.target.tables), target.home)
    destination = Destination(target, home)
    surveys = {
        table.name: _survey(table, sides.twins[table.name], offers)
        for table in sides.source.tables
        if table.name in sides.twins
    }
    # Of everything: what a chosen table refers to need not be chosen.
    plan = make_plan(sides.source, offers, destination, Known(surveys=surveys, named=sides.twins))
    chosen = [
        table
        for table in plan.tables
        if table.source.name in sides.twins and selection.chooses(str(table.source.name))
    ]
    found = {table.source.name: sides.twins[table.source.name].table for table in chosen}
    numbered = session.numbered(found.values())
    guard = translator(target.name, target.name, kept_types(sides.source, destination))
    standings = [
        drift.Standing(
            _without_strangers(table, plan, sides, selection),
            there,
            {each.column: each for each in numbered.get(there.name, ())},
            _spelled(table.target, there, session, guard),
            drift.left_of(str(table.source.name), plan.left_behind),
        )
        for table in chosen
        for there in [found[table.source.name]]
    ]
    listed = [each for standing in standings for each in drift.between(standing)]
    listed += _extra_tables(sides, selection)
    if selection == Selection():
        listed += _views(plan, sides, target)
    return SchemaCheck(drift.in_order(listed), tuple(_warnings(standings, plan, selection)))


def _twins(ends: Ends, mine: Schema, theirs: Schema) -> dict[TableName, Adopted]:
    twins = {}
    for table in mine.tables:
        other = table_like(table.name, mine, theirs, ends.target_dialect)
        if other is not None:
            pairs, _ = pair_columns(ends, table, other)
            twins[table.name] = Adopted(other, {own.name: there for own, there, _ in pairs})
    return twins


def _survey(table: Table, twin: Adopted, offers: Offers) -> Survey:
    """What a survey of the values must have come to, where the target's types tell: the column got
    the type of the first candidate that its values fit."""
    findings = []
    for column in table.columns:
        candidates = offers(table, column)
        there = twin.columns.get(column.name)
        taken = _taken(candidates, there, offers) if there is not None else 0
        findings.append(tuple(Finding(c, int(i < taken)) for i, c in enumerate(candidates)))
    return Survey(tuple(findings), (frozenset(),) * len(findings))


def _taken(candidates: tuple[Candidate, ...], there: Column, offers: Offers) -> int:
    if offers.alike:
        return 0
    types = [offers.target.type_for(candidate.kind) for candidate in candidates]
    return types.index(there.declared) if there.declared in types else 0


def _without_strangers(
    plan: TablePlan, whole: Plan, sides: _Sides, selection: Selection
) -> TablePlan:
    """Without foreign keys to tables that are neither chosen nor there: to migrate the chosen
    tables alone leaves them behind."""
    there = {table.name for table in sides.target.tables}
    strangers = {
        table.target.name
        for table in whole.tables
        if table.target.name not in there and not selection.chooses(str(table.source.name))
    }
    kept = [
        (mine, theirs)
        for mine, theirs in zip(plan.source.foreign_keys, plan.target.foreign_keys, strict=True)
        if theirs.parent not in strangers
    ]
    return replace(
        plan,
        source=replace(plan.source, foreign_keys=tuple(mine for mine, _ in kept)),
        target=replace(plan.target, foreign_keys=tuple(theirs for _, theirs in kept)),
    )


def _spelled(
    planned: Table, found: Table, session: Session, guard: Translator
) -> dict[Expression, str]:
    """What is planned is translated, so that it may be asked; of what stands there only that which
    is on the same lists."""
    types = {column.name: column.declared for column in found.columns}
    relation = Relation(found.name, ())
    asked = {each: each for each in drift.expressions_of(planned, types)}
    for expression in drift.expressions_of(found, types):
        try:
            asked[expression] = replace(expression, text=guard.check(expression.text, relation))
        except Untranslatable:
            continue
    spellings = session.spelled(found, list(asked.values()))
    return {
        expression: spelling
        for expression, spelling in zip(asked, spellings, strict=True)
        if spelling is not None
    }


def _extra_tables(sides: _Sides, selection: Selection) -> Iterator[Drift]:
    known = {twin.table.name for twin in sides.twins.values()}
    for table in sides.target.tables:
        if table.name not in known and selection.chooses(str(table.name)):
            yield drift.extra_table(table)


def _views(plan: Plan, sides: _Sides, target: Dialect) -> Iterator[Drift]:
    """By their names alone."""
    there = [view.name.name for view in sides.target.views]
    wanted = [called(view.name, sides.source.home) for view in sides.source.views]
    known = set()
    for planned in plan.views:
        own = called(planned.source, sides.source.home)
        fitted = {target.fit_name(own), target.fit_name(fold(own))}.intersection(there)
        found = next(iter(fitted), None) or counterpart(own, wanted, there)
        if found is None:
            yield drift.missing_view(str(planned.source), str(planned.target))
        else:
            known.add(found)
    left = {fold(item.name) for item in plan.left_behind}
    for view in sides.target.views:
        if view.name.name not in known and fold(str(view.name)) not in left:
            yield drift.extra_view(str(view.name))


def _warnings(standings: list[drift.Standing], plan: Plan, selection: Selection) -> Iterator[str]:
    hidden = [each.name for each in standings if drift.not_asked(each)]
    if hidden:
        yield (
            "Next identity values were not compared, since a role may not read the sequence: "
            f"{', '.join(hidden)}"
        )
    unread = [
        f"{item.name} ({item.what})"
        for item in plan.left_behind
        if item.what.endswith("table") and selection.chooses(item.name)
    ]
    if unread:
        yield f"Rows not compared, since no migration carries them: {', '.join(unread)}"
    left = _named(plan.left_behind, selection)
    if left:
        listed = ", ".join(f"{count:,} {what}" for what, count in sorted(left.items()))
        yield (
            f"No migration carries these, so they were not compared: {listed} "
            "(migrate plan names each)"
        )


def _named(left_behind: tuple[LeftBehind, ...], selection: Selection) -> Counter[str]:
    return Counter(item.what for item in left_behind if selection.chooses(item.table))
