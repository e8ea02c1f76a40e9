"""What becomes of each table: source schema and what is known of its values → plan. Pure.

A plan is made again, by the same function, whenever a survey has told more about a table's
values. Tables whose plan is not the same as before are loaded anew under the next generation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from tableferry.adoption import Adopted, adopt, adopted_target, bare
from tableferry.casts import Offers
from tableferry.dialects.base import Dialect
from tableferry.expressions import Relation
from tableferry.kinds import NAMED_NUMBERS, NUMBER
from tableferry.model import (
    Candidate,
    Column,
    ForeignKey,
    Key,
    LeftBehind,
    Plan,
    Schema,
    Survey,
    Table,
    TableName,
    TablePlan,
    UserType,
    ViewPlan,
    Widening,
)
from tableferry.naming import Destination, Names, called, column_names
from tableferry.sql import quote
from tableferry.structure import Structure

Surveys = Mapping[TableName, Survey]
# For each table, the position in each column's list of candidates that is taken.
_Choices = dict[TableName, list[int]]

# Which of two kinds in a foreign key takes the values of both.
_WIDTH = ("numeric", "text", "bytes")


@dataclass(frozen=True, slots=True)
class Known:
    """What a run has learned by now: surveys of values, the generated columns of which the target
    computes other values than the source holds, and tables that are there already."""

    surveys: Surveys = field(default_factory=dict)
    disagreeing: Mapping[TableName, frozenset[str]] = field(default_factory=dict)
    # Tables that an application has made in the target, by the source's names.
    adopted: Mapping[TableName, Adopted] = field(default_factory=dict)
    # Tables that are there under names which the plan is to take over, and nothing else of them.
    named: Mapping[TableName, Adopted] = field(default_factory=dict)


def make_plan(schema: Schema, offering: Offers, destination: Destination, known: Known) -> Plan:
    """A plan for every table of ``schema``, under generation 1; ``offering`` says what a column's
    values may be read as, the most useful first."""
    surveys = known.surveys
    offers = {t.name: [offering(t, c) for c in t.columns] for t in schema.tables}
    choices: _Choices = {
        t.name: _choose(offers[t.name], surveys.get(t.name)) for t in schema.tables
    }
    _let_untyped_children_follow(schema, offers, choices, surveys)
    if surveys:
        _let_partners_follow(schema, offers, choices, surveys)
    new = [table for table in schema.tables if table.name not in known.adopted]
    there = {**known.named, **known.adopted}
    names = Names(destination, (standing.table.name.name for standing in there.values()))
    tables = {name: standing.table.name for name, standing in there.items()}
    for table in new:
        if table.name not in tables:
            given = names.give(called(table.name, schema.home))
            tables[table.name] = TableName(destination.schema, given)
    columns = {t.name: column_names(t, destination) for t in new}
    for name, standing in there.items():
        found = {mine: theirs.name for mine, theirs in standing.columns.items()}
        columns[name] = {**columns.get(name, {}), **found}
    crossing = _Crossing(offering, destination.schema, tables, columns)
    untouched = {str(name) for name in known.adopted}
    left = [item for item in schema.left_behind if item.table not in untouched]
    plans = []
    relations: dict[TableName, Relation] = {}
    types = _types(schema, offering, destination)
    structure = Structure(offering, kept_types(schema, destination))
    for table in schema.tables:
        candidates = tuple(
            offer[choice]
            for offer, choice in zip(offers[table.name], choices[table.name], strict=True)
        )
        adopted = known.adopted.get(table.name)
        if adopted is not None:
            plans.append(_adopted_plan(table, adopted, candidates))
            continue
        table, planned = _target_table(table, candidates, crossing, left)
        relation = relations[table.name] = structure.relation_of(table, planned, candidates)
        plain = known.disagreeing.get(table.name, frozenset())
        source, planned = structure.with_structure(table, planned, relation, plain, left)
        plans.append(
            TablePlan(
                source=source,
                target=planned,
                candidates=candidates,
                types=tuple(
                    frozenset(crossing.declared(mine, each) for each in offer) | {theirs.declared}
                    for mine, theirs, offer in zip(
                        source.columns, planned.columns, offers[table.name], strict=True
                    )
                ),
                widened=_widened(
                    table,
                    offers[table.name],
                    choices[table.name],
                    surveys.get(table.name),
                    crossing,
                ),
            )
        )
    if known.adopted:
        views: tuple[ViewPlan, ...] = ()
        reason = "its tables are an application's own, and so are their views"
        left += [LeftBehind("view", str(v.name), str(v.name), reason) for v in schema.views]
    else:
        views = structure.views_of(schema, relations, destination, names, left)
    # Tables, views, indexes and keys share one space of names; keys come last, since nobody
    # chose their names.
    indexed = [
        t if t.adopted else _with_indexes(t, relations[t.source.name], structure, names, left)
        for t in plans
    ]
    keyed = [_with_key_names(t, names, destination) for t in indexed]
    return Plan(
        tuple(replace(t, renamed=_renamed(t.source, t.target)) for t in keyed),
        tuple(left),
        views,
        types,
        schema.settings if offering.alike else (),
    )


def adopted_in(
    there: Schema,
    schema: Schema,
    offering: Offers,
    destination: Destination,
    *,
    rows_alone: bool,
    kept: Collection[TableName] = frozenset(),
) -> dict[TableName, Adopted]:
    """Which tables of ``schema`` the target, of which ``there`` is what counts, has already as an
    application's own; ``kept`` are some of which that is known. Raises Refused where one cannot
    take the rows."""
    if not there.tables:
        return {}
    plan = make_plan(schema, offering, destination, Known())
    return adopt(plan, there, ours_too=rows_alone, kept=kept)


def next_generation(old: Plan, new: Plan) -> Plan:
    """``new`` with each table's generation: the old one's where nothing changed for it."""
    tables = []
    for table in new.tables:
        before = old.table(table.source.name)
        same = replace(table, generation=before.generation) == before
        tables.append(replace(table, generation=before.generation + (0 if same else 1)))
    return replace(new, tables=tuple(tables))


def again(plan: Plan, name: TableName) -> Plan:
    """The plan with one table under its next generation, for no reason of its own."""
    tables = (
        replace(t, generation=t.generation + 1) if t.source.name == name else t for t in plan.tables
    )
    return replace(plan, tables=tuple(tables))


def _choose(offers: list[tuple[Candidate, ...]], survey: Survey | None) -> list[int]:
    if survey is None:
        return [0] * len(offers)
    return [
        next((i for i, finding in enumerate(findings) if finding.misfits == 0), len(findings) - 1)
        for findings in survey.findings
    ]


def _let_untyped_children_follow(
    schema: Schema,
    offers: Mapping[TableName, list[tuple[Candidate, ...]]],
    choices: _Choices,
    surveys: Surveys,
) -> None:
    """A column of no declared type takes that of the column it refers to, where its values do not
    say otherwise."""
    for table in schema.tables:
        for key in table.foreign_keys:
            parent = schema.table(key.parent)
            for child, column in zip(key.columns, key.parent_columns, strict=False):
                if parent is None or not _has(parent, column) or table.column(child).typed:
                    continue
                i, theirs = _position(table, child), _position(parent, column)
                wanted = offers[parent.name][theirs][choices[parent.name][theirs]].kind
                for position, candidate in enumerate(offers[table.name][i]):
                    fitting = _fits(surveys.get(table.name), i, position)
                    if candidate.kind == wanted and not candidate.ruled and fitting:
                        choices[table.name][i] = position
                        break


def _let_partners_follow(
    schema: Schema,
    offers: Mapping[TableName, list[tuple[Candidate, ...]]],
    choices: _Choices,
    surveys: Surveys,
) -> None:
    """The columns of a foreign key must be of one type: where one side was widened, the other
    follows, and what refers to that one too."""
    pairs = [
        ((table.name, _position(table, child)), (parent.name, _position(parent, column)))
        for table in schema.tables
        for key in table.foreign_keys
        if (parent := schema.table(key.parent)) is not None
        for child, column in zip(key.columns, key.parent_columns, strict=False)
        if _has(parent, column)
    ]
    moved = {(table, i) for table in surveys for i in range(len(choices[table]))}
    changed = True
    while changed:
        changed = False
        for pair in pairs:
            if not moved & set(pair):
                continue
            names = {offers[t][i][choices[t][i]].kind.name for t, i in pair}
            widest = next((name for name in reversed(_WIDTH) if name in names), None)
            if len(names) == 1 or widest is None:
                continue
            for table, i in pair:
                for position in range(choices[table][i], len(offers[table][i])):
                    if offers[table][i][position].kind.name == widest and _fits(
                        surveys.get(table), i, position
                    ):
                        if choices[table][i] != position:
                            choices[table][i] = position
                            moved.add((table, i))
                            changed = True
                        break


def _fits(survey: Survey | None, column: int, position: int) -> bool:
    # A table not surveyed yet is tried with a candidate that merges; a misfit then says more.
    return survey is None or survey.findings[column][position].misfits == 0


def _position(table: Table, name: str) -> int:
    return [column.name for column in table.columns].index(name)


def _has(table: Table, name: str) -> bool:
    return any(column.name == name for column in table.columns)


@dataclass(frozen=True, slots=True)
class _Crossing:
    """What tables and columns of the source are called in the target, and of which types."""

    offering: Offers
    schema: str
    tables: Mapping[TableName, TableName]
    columns: Mapping[TableName, Mapping[str, str]]

    def declared(self, column: Column, candidate: Candidate) -> str:
        """The type of the new column: where both ends know it, the one it had."""
        target = self.offering.target
        if not self.offering.alike or candidate.ruled:
            return target.type_for(candidate.kind)
        if column.user_type is not None:
            return target.moved(column.declared, column.user_type, self.schema)
        return column.declared


def _target_table(
    table: Table,
    candidates: tuple[Candidate, ...],
    crossing: _Crossing,
    left: list[LeftBehind],
) -> tuple[Table, Table]:
    """The table in the target, and the source's with just those foreign keys that it has there."""
    own = crossing.columns[table.name]
    foreign = list(_foreign_keys(table, crossing, left))
    primary = set(table.primary_key.columns) if table.primary_key else set()
    kinds = {c.name: x.kind for c, x in zip(table.columns, candidates, strict=True)}
    offering = crossing.offering
    target = offering.target
    identity = table.identity
    if identity is not None and kinds[identity.column].name not in ("int", "any"):
        left.append(
            LeftBehind(
                "identity",
                identity.column,
                str(table.name),
                f"the column became {target.type_for(kinds[identity.column])}",
            )
        )
        identity = None
    uniques = _unlike(table, target, left)
    if offering.alike:
        left += target.unkept(table)
    planned = Table(
        name=crossing.tables[table.name],
        columns=tuple(
            Column(
                name=own[column.name],
                declared=crossing.declared(column, candidate),
                # One of the same kind keeps even keys that may be NULL.
                nullable=column.nullable and (offering.alike or column.name not in primary),
                # That it has one; its translation takes its place (see Structure).
                default=column.default,
            )
            for column, candidate in zip(table.columns, candidates, strict=True)
        ),
        primary_key=_mapped(table.primary_key, own),
        uniques=tuple(Key(tuple(own[c] for c in key.columns), key.name) for key in uniques),
        foreign_keys=tuple(theirs for _, theirs in foreign),
        identity=replace(identity, column=own[identity.column]) if identity else None,
        rows=table.rows,
        size=table.size,
    )
    planned = target.fit_table(planned, copied=offering.alike)
    if planned.identity is not None and not target.numbers(planned):
        reason = f"only an INTEGER PRIMARY KEY numbers itself in {target.title}"
        left.append(LeftBehind("identity", planned.identity.column, str(table.name), reason))
        planned = replace(planned, identity=None)
    mine = replace(table, uniques=uniques, foreign_keys=tuple(mine for mine, _ in foreign))
    return mine, planned


def _types(schema: Schema, offering: Offers, destination: Destination) -> tuple[UserType, ...]:
    """The types of users' making, in the target's schema."""
    if not offering.alike:
        return ()

    def moved(declared: str) -> str:
        names = (made.name for made in schema.types)
        there = (offering.target.moved(declared, n, destination.schema) for n in names)
        return next((text for text in there if text != declared), declared)

    return tuple(
        replace(
            made,
            name=TableName(destination.schema, made.name.name),
            base=moved(made.base),
            attributes=tuple((name, moved(declared)) for name, declared in made.attributes),
        )
        for made in schema.types
    )


def kept_types(schema: Schema, destination: Destination) -> frozenset[str]:
    """Those that are called the same in the target, in every way they may be written."""
    kept = [made.name for made in schema.types if made.name.schema == destination.schema]
    return frozenset(
        f"{schema_name}.{name}"
        for type_name in kept
        for schema_name in (type_name.schema, quote(type_name.schema))
        for name in (type_name.name, quote(type_name.name))
    )


def _unlike(table: Table, target: Dialect, left: list[LeftBehind]) -> tuple[Key, ...]:
    """The unique keys that the target does not take for another of the table's keys."""
    if target.twin_keys:
        return table.uniques
    seen = {table.primary_key.columns} if table.primary_key is not None else set()
    kept = []
    for key in table.uniques:
        if key.columns in seen:
            reason = "another key has the same columns"
            name = key.name or ", ".join(key.columns)
            left.append(LeftBehind("unique constraint", name, str(table.name), reason))
        else:
            kept.append(key)
        seen.add(key.columns)
    return tuple(kept)


def _adopted_plan(table: Table, adopted: Adopted, candidates: tuple[Candidate, ...]) -> TablePlan:
    target = adopted_target(table, adopted)
    return TablePlan(
        source=bare(table),
        target=target,
        candidates=candidates,
        types=tuple(frozenset({column.declared}) for column in target.columns),
        adopted=True,
    )


def _with_indexes(
    table: TablePlan,
    relation: Relation,
    structure: Structure,
    names: Names,
    left: list[LeftBehind],
) -> TablePlan:
    pairs = structure.indexes_of(table.source, relation, names, left)
    return replace(
        table,
        source=replace(table.source, indexes=tuple(mine for mine, _ in pairs)),
        target=replace(table.target, indexes=tuple(theirs for _, theirs in pairs)),
    )


def _with_key_names(table: TablePlan, names: Names, destination: Destination) -> TablePlan:
    target = table.target

    def named(key: Key, ending: str) -> Key:
        return replace(key, name=names.give(key.name or f"{target.name.name}_{ending}"))

    primary = target.primary_key
    uniques = tuple(named(key, f"{'_'.join(key.columns)}_key") for key in target.uniques)
    # Constraints of one table share another space, which keys have their part in.
    if table.adopted:
        return table
    own = Names(destination, [key.name for key in uniques])
    if primary is not None:
        primary = named(primary, "pkey")
        own.give(primary.name)
    foreign = tuple(
        replace(key, name=own.give(key.name or f"{target.name.name}_{'_'.join(key.columns)}_fkey"))
        for key in target.foreign_keys
    )
    checks = tuple(replace(check, name=own.give(check.name)) for check in target.checks)
    return replace(
        table,
        target=replace(
            target, primary_key=primary, uniques=uniques, foreign_keys=foreign, checks=checks
        ),
    )


def _mapped(key: Key | None, names: Mapping[str, str]) -> Key | None:
    return Key(tuple(names[column] for column in key.columns), key.name) if key else None


def _foreign_keys(
    table: Table, crossing: _Crossing, left: list[LeftBehind]
) -> Iterable[tuple[ForeignKey, ForeignKey]]:
    for key in table.foreign_keys:
        described = f"({', '.join(key.columns)}) to {key.parent}"
        theirs = crossing.columns.get(key.parent)
        if theirs is None:
            reason = "the table that it refers to is not migrated, or is not there"
        elif not key.parent_columns or not set(key.parent_columns) <= set(theirs):
            reason = "a column that it refers to is not there"
        else:
            yield (
                key,
                replace(
                    key,
                    columns=tuple(crossing.columns[table.name][c] for c in key.columns),
                    parent=crossing.tables[key.parent],
                    parent_columns=tuple(theirs[c] for c in key.parent_columns),
                ),
            )
            continue
        left.append(LeftBehind("foreign key", described, str(table.name), reason))


def _renamed(source: Table, target: Table) -> tuple[tuple[str, str], ...]:
    """Everything that somebody has named and is called otherwise in the target."""
    name = str(source.name)
    pairs = [(name, target.name.name)]
    pairs += [
        (f"{name}.{a.name}", f"{name}.{b.name}")
        for a, b in zip(source.columns, target.columns, strict=True)
    ]
    pairs += [(a.name, b.name) for a, b in zip(source.indexes, target.indexes, strict=True)]
    pairs += [(a.name, b.name) for a, b in _named_keys(source, target)]
    keys = zip(source.foreign_keys, target.foreign_keys, strict=True)
    pairs += [(a.name, b.name) for a, b in keys if a.name]
    checks = zip(source.checks, target.checks, strict=True)
    pairs += [(a.name, b.name) for a, b in checks if a.name]
    return tuple((a, b) for a, b in pairs if a != b)


def _named_keys(source: Table, target: Table) -> Iterable[tuple[Key, Key]]:
    """Keys that somebody has named."""
    pairs = list(zip(source.uniques, target.uniques, strict=True))
    if source.primary_key is not None and target.primary_key is not None:
        pairs.append((source.primary_key, target.primary_key))
    return ((a, b) for a, b in pairs if a.name)


def _widened(
    table: Table,
    offers: list[tuple[Candidate, ...]],
    choices: list[int],
    survey: Survey | None,
    crossing: _Crossing,
) -> tuple[Widening, ...]:
    widened = []
    for i, (column, offer, choice) in enumerate(zip(table.columns, offers, choices, strict=True)):
        taken = offer[choice]
        # A column of no declared type was given one by its values, which changed nothing.
        open_choice = not (column.typed or offer[0].ruled)
        # And a numeric of no scale promised no numbers of SQLite's.
        open_choice = open_choice or offer[0].kind == NUMBER
        if taken.kind == offer[0].kind and taken.kind.name in NAMED_NUMBERS:
            # Numbers by their names are no others.
            continue
        if choice == 0 or (open_choice and not taken.merges):
            continue
        finding = survey.findings[i][0] if survey else None
        classes = survey.classes[i] if survey else frozenset[str]()
        widened.append(
            Widening(
                column=column.name,
                declared=column.declared,
                planned=crossing.declared(column, offer[0]),
                became=crossing.declared(column, taken),
                count=finding.misfits if finding else 0,
                merged_classes=tuple(sorted(classes)) if taken.merges and len(classes) > 1 else (),
                examples=finding.examples if finding else (),
            )
        )
    return tuple(widened)
