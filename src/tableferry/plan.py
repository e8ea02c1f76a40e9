"""What becomes of each table: source schema and what is known of its values → plan. Pure.

A plan is made again, by the same function, whenever a survey has told more about a table's
values. Tables whose plan is not the same as before are loaded anew under the next generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from tableferry.dialects.base import Dialect
from tableferry.model import (
    Candidate,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Plan,
    Schema,
    Survey,
    Table,
    TableName,
    TablePlan,
    Widening,
)

Offer = Callable[[Table, Column], tuple[Candidate, ...]]
Surveys = Mapping[TableName, Survey]
# For each table, the position in each column's list of candidates that is taken.
_Choices = dict[TableName, list[int]]

# Which of two kinds in a foreign key takes the values of both.
_WIDTH = ("numeric", "text", "bytes")


def make_plan(
    schema: Schema, offer: Offer, target: Dialect, target_schema: str, surveys: Surveys
) -> Plan:
    """A plan for every table of ``schema``, under generation 1; ``offer`` says what a column's
    values may be read as, the most useful first."""
    offers = {t.name: [offer(t, c) for c in t.columns] for t in schema.tables}
    choices: _Choices = {
        t.name: _choose(offers[t.name], surveys.get(t.name)) for t in schema.tables
    }
    if surveys:
        _let_partners_follow(schema, offers, choices, surveys)
    names = {t.name: TableName(target_schema, target.fit_name(t.name.name)) for t in schema.tables}
    taken = {name.name for name in names.values()}
    taken |= {target.fit_name(index.name) for t in schema.tables for index in t.indexes}
    columns = {t.name: column_names(t, target) for t in schema.tables}
    left = list(schema.left_behind)
    plans = []
    for table in schema.tables:
        candidates = tuple(
            offer[choice]
            for offer, choice in zip(offers[table.name], choices[table.name], strict=True)
        )
        planned = _with_key_names(
            _target_table(table, candidates, target, names, columns, left), target, taken
        )
        plans.append(
            TablePlan(
                source=table,
                target=planned,
                candidates=candidates,
                types=tuple(
                    frozenset(target.type_for(candidate.kind) for candidate in offer)
                    for offer in offers[table.name]
                ),
                renamed=_renamed(table, planned),
                widened=_widened(
                    table, offers[table.name], choices[table.name], surveys.get(table.name), target
                ),
            )
        )
    return Plan(tuple(plans), tuple(left))


def next_generation(old: Plan, new: Plan) -> Plan:
    """``new`` with each table's generation: the old one's where nothing changed for it."""
    tables = []
    for table in new.tables:
        before = old.table(table.source.name)
        same = replace(table, generation=before.generation) == before
        tables.append(replace(table, generation=before.generation + (0 if same else 1)))
    return replace(new, tables=tuple(tables))


def _choose(offers: list[tuple[Candidate, ...]], survey: Survey | None) -> list[int]:
    if survey is None:
        return [0] * len(offers)
    return [
        next((i for i, finding in enumerate(findings) if finding.misfits == 0), len(findings) - 1)
        for findings in survey.findings
    ]


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


def column_names(table: Table, target: Dialect) -> dict[str, str]:
    """What each column is called in the target: its own name wherever that is possible there."""
    taken: set[str] = set()
    names = {}
    own = {column.name for column in table.columns}
    for column in table.columns:
        name = target.fit_column_name(column.name)
        while name in taken or (name != column.name and name in own):
            name = target.fit_column_name(f"{name}_")
        taken.add(name)
        names[column.name] = name
    return names


def _target_table(
    table: Table,
    candidates: tuple[Candidate, ...],
    target: Dialect,
    tables: Mapping[TableName, TableName],
    columns: Mapping[TableName, Mapping[str, str]],
    left: list[LeftBehind],
) -> Table:
    own = columns[table.name]
    primary = set(table.primary_key.columns) if table.primary_key else set()
    kinds = {c.name: x.kind for c, x in zip(table.columns, candidates, strict=True)}
    identity = table.identity
    if identity is not None and kinds[identity.column].name != "int":
        left.append(
            LeftBehind("identity", identity.column, table.name.name, "it holds more than integers")
        )
        identity = None
    return Table(
        name=tables[table.name],
        columns=tuple(
            Column(
                name=own[column.name],
                declared=target.type_for(candidate.kind),
                nullable=column.nullable and column.name not in primary,
            )
            for column, candidate in zip(table.columns, candidates, strict=True)
        ),
        primary_key=_mapped(table.primary_key, own),
        uniques=tuple(Key(tuple(own[c] for c in key.columns)) for key in table.uniques),
        foreign_keys=tuple(_foreign_keys(table, tables, columns, target, left)),
        indexes=tuple(
            Index(
                target.fit_name(index.name),
                tuple(IndexColumn(own[c.name], c.descending) for c in index.columns),
                index.unique,
            )
            for index in table.indexes
        ),
        identity=Identity(own[identity.column], identity.next_value) if identity else None,
        rows=table.rows,
        size=table.size,
    )


def _with_key_names(table: Table, target: Dialect, taken: set[str]) -> Table:
    """Keys under names that no table or index of the source has: tables, keys and indexes share
    one space of names. ``taken`` grows by them."""

    def named(key: Key, ending: str) -> Key:
        name = target.fit_name(f"{table.name.name}_{ending}")
        while name in taken:
            name = target.fit_name(f"{name}_")
        taken.add(name)
        return replace(key, name=name)

    return replace(
        table,
        primary_key=named(table.primary_key, "pkey") if table.primary_key else None,
        uniques=tuple(named(key, f"{'_'.join(key.columns)}_key") for key in table.uniques),
    )


def _mapped(key: Key | None, names: Mapping[str, str]) -> Key | None:
    return Key(tuple(names[column] for column in key.columns)) if key else None


def _foreign_keys(
    table: Table,
    tables: Mapping[TableName, TableName],
    columns: Mapping[TableName, Mapping[str, str]],
    target: Dialect,
    left: list[LeftBehind],
) -> Iterable[ForeignKey]:
    taken: set[str] = set()
    for key in table.foreign_keys:
        described = f"({', '.join(key.columns)}) to {key.parent}"
        theirs = columns.get(key.parent)
        if theirs is None:
            reason = "the table that it refers to is not migrated, or is not there"
        elif not key.parent_columns or not set(key.parent_columns) <= set(theirs):
            reason = "a column that it refers to is not there"
        else:
            name = target.fit_name(f"{table.name.name}_{'_'.join(key.columns)}_fkey")
            while name in taken:
                name = target.fit_name(f"{name}_")
            taken.add(name)
            yield replace(
                key,
                columns=tuple(columns[table.name][c] for c in key.columns),
                parent=tables[key.parent],
                parent_columns=tuple(theirs[c] for c in key.parent_columns),
                name=name,
            )
            continue
        left.append(LeftBehind("foreign key", described, table.name.name, reason))


def _renamed(source: Table, target: Table) -> tuple[tuple[str, str], ...]:
    pairs = [(source.name.name, target.name.name)]
    pairs += [
        (f"{source.name.name}.{a.name}", f"{source.name.name}.{b.name}")
        for a, b in zip(source.columns, target.columns, strict=True)
    ]
    pairs += [(a.name, b.name) for a, b in zip(source.indexes, target.indexes, strict=True)]
    return tuple((a, b) for a, b in pairs if a != b)


def _widened(
    table: Table,
    offers: list[tuple[Candidate, ...]],
    choices: list[int],
    survey: Survey | None,
    target: Dialect,
) -> tuple[Widening, ...]:
    widened = []
    for i, (column, offer, choice) in enumerate(zip(table.columns, offers, choices, strict=True)):
        taken = offer[choice]
        # A column of no declared type was given one by its values, which changed nothing.
        open_choice = not (column.typed or offer[0].ruled)
        if choice == 0 or (open_choice and not taken.merges):
            continue
        finding = survey.findings[i][0] if survey else None
        classes = survey.classes[i] if survey else frozenset[str]()
        widened.append(
            Widening(
                column=column.name,
                declared=column.declared,
                planned=target.type_for(offer[0].kind),
                became=target.type_for(taken.kind),
                count=finding.misfits if finding else 0,
                merged_classes=tuple(sorted(classes)) if taken.merges and len(classes) > 1 else (),
                examples=finding.examples if finding else (),
            )
        )
    return tuple(widened)
