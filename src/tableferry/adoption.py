"""Tables that are there already, with a definition of an application's own: they keep it, and take
the rows. Pure.

Columns match by name, without regard to case where that leaves no doubt. What an existing column's
type demands is how the source's values are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from tableferry.casts import Offers
from tableferry.errors import Refused
from tableferry.model import Column, Plan, Schema, Table, TableName, TablePlan
from tableferry.naming import counterpart
from tableferry.sql import fold


@dataclass(frozen=True, slots=True)
class Adopted:
    """A table of the target and which of its columns stands for which of the source's."""

    table: Table
    columns: Mapping[str, Column]


def is_ours(planned: TablePlan, found: Table) -> bool:
    """Whether a table is no more than what some plan for the same source would create, so that
    nothing is lost when it is dropped and created anew."""
    target = planned.target
    if target.name != found.name or len(planned.types) != len(found.columns):
        return False
    columns = zip(target.columns, planned.source.columns, found.columns, strict=True)
    return (
        all(_is_ours(*each, types) for each, types in zip(columns, planned.types, strict=True))
        and found.primary_key in (None, target.primary_key)
        and set(found.uniques) <= set(target.uniques)
        and set(found.foreign_keys) <= set(target.foreign_keys)
        and {index.name for index in found.indexes} <= {index.name for index in target.indexes}
        and {check.name for check in found.checks} <= {check.name for check in target.checks}
        and (found.identity is None or _same_identity(target, found))
        and set(found.extras) <= _made_extras(target)
    )


def _is_ours(planned: Column, original: Column, found: Column, types: frozenset[str]) -> bool:
    return (
        planned.name == found.name
        and found.declared in types
        and (found.nullable or not planned.nullable)
        and (found.default is None or _bare(found.default) == _bare(planned.default or ""))
        and (not found.generated or bool(original.generated))
    )


def _same_identity(target: Table, found: Table) -> bool:
    return (
        target.identity is not None
        and found.identity is not None
        and target.identity.column == found.identity.column
    )


def _bare(expression: str) -> str:
    """An expression without what the server adds when it shows one: casts, brackets, blanks."""
    without_casts = re.sub(r"::[a-z ]+(\(\d+(,\d+)?\))?", "", expression)
    return re.sub(r"[\s()]", "", without_casts).lower()


def _made_extras(table: Table) -> set[str]:
    """What beyond columns, keys and indexes the plan itself gives a table."""
    extras = set()
    if table.comment or any(column.comment for column in table.columns):
        extras.add("a comment")
    if any(column.collation for column in table.columns):
        extras.add("a collation")
    return extras


def adopt(
    plan: Plan,
    there: Schema,
    *,
    ours_too: bool = False,
    kept: Collection[TableName] = frozenset(),
) -> dict[TableName, Adopted]:
    """The tables of ``plan`` that an application has made, by the source's names; where rows alone
    are to be brought, ``ours_too``. ``kept`` are tables of the target of which that is known: they
    may lack what an unfinished run has set aside of them.

    Raises Refused where a column is missing there, or one would get no value that it needs.
    """
    found = _counterparts(plan, there)
    wanted = {
        name
        for name, table in found.items()
        if ours_too or table.name in kept or not is_ours(plan.table(name), table)
    }
    # A table that stays may refer to one that could be dropped: then that one stays as well.
    by_target = {table.name: name for name, table in found.items()}
    waiting = list(wanted)
    while waiting:
        for key in found[waiting.pop()].foreign_keys:
            parent = by_target.get(key.parent)
            if parent is not None and parent not in wanted:
                wanted.add(parent)
                waiting.append(parent)
    return {name: _adopted(plan.table(name), found[name]) for name in found if name in wanted}


def _counterparts(plan: Plan, there: Schema) -> dict[TableName, Table]:
    """The tables of the target that stand for tables of the plan, by the source's names."""
    mine = [planned.target.name.name for planned in plan.tables]
    theirs = [table.name.name for table in there.tables]
    found = {}
    for planned in plan.tables:
        name = counterpart(planned.target.name.name, mine, theirs)
        table = there.table(replace(planned.target.name, name=name)) if name is not None else None
        if table is None:
            continue
        alike = fold(table.name.name) == fold(planned.target.name.name)
        # A name that is only similar, without the columns, is another table.
        if alike or len(matching_columns(planned, table)) == len(planned.types):
            found[planned.source.name] = table
    return found


def with_demands(offers: Offers, adopted: Mapping[TableName, Adopted]) -> Offers:
    """The offers, knowing what the columns of adopted tables demand."""
    return replace(offers, there={name: each.columns for name, each in adopted.items()})


def matching_columns(planned: TablePlan, found: Table) -> dict[str, Column]:
    """The column of ``found`` that stands for each of the source's, where there is one: of the
    name that it would get there, or of one that is alike."""
    mine = [column.name for column in planned.source.columns]
    theirs = [column.name for column in found.columns]
    columns = {}
    for name, fitted in zip(mine, planned.target.columns, strict=True):
        other = fitted.name if fitted.name in theirs else counterpart(name, mine, theirs)
        if other is not None:
            columns[name] = found.column(other)
    return columns


# What an existing table must not have, and why.
_UNFIT = {
    "an insert rule": "has a rule ON INSERT, which would change what is loaded",
    "heirs": "has tables that inherit from it, and their rows count as its own",
}


def _adopted(planned: TablePlan, found: Table) -> Adopted:
    for extra, why in _UNFIT.items():
        if extra in found.extras:
            raise Refused(
                f"Table {found.name} of the target {why}.",
                hint="Remove it for the length of the migration, or migrate into another schema.",
            )
    source = planned.source
    columns = matching_columns(planned, found)
    missing = [column.name for column in source.columns if column.name not in columns]
    if missing:
        raise Refused(
            f"Table {found.name} of the target has no column {_listed(missing)}.",
            hint="Bring the application's schema to the version that the source has, or give "
            "--recreate to drop the table and create it from the source.",
        )
    taken = {column.name for column in columns.values()}
    needy = [c.name for c in found.columns if c.name not in taken and _needs_value(c, found)]
    if needy:
        raise Refused(
            f"Table {found.name} of the target needs a value in {_listed(needy)}, which the "
            "source has not.",
            hint="Give the column a default in the target, or let it be NULL.",
        )
    return Adopted(found, columns)


def _needs_value(column: Column, table: Table) -> bool:
    numbered = table.identity is not None and table.identity.column == column.name
    return not (column.nullable or column.default is not None or column.generated or numbered)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def adopted_target(source: Table, adopted: Adopted) -> Table:
    """The table as a plan holds it: nothing of it is to be created."""
    return Table(
        name=adopted.table.name,
        columns=tuple(
            replace(adopted.columns[column.name], default=None, comment="")
            for column in source.columns
        ),
        rows=source.rows,
        size=source.size,
    )


def bare(source: Table) -> Table:
    """The source's table without what an adopted table has its own of; the key stays, since it
    tells rows apart."""
    return replace(source, uniques=(), foreign_keys=(), indexes=(), checks=())
