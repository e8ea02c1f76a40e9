"""Tables that are there already, with a definition of an application's own: they keep it, and take
the rows. Pure.

Columns match by name, without regard to case where that leaves no doubt. What an existing column's
type demands is how the source's values are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tableferry.casts import Offers
from tableferry.dialects.base import Dialect
from tableferry.errors import Refused
from tableferry.model import Candidate, Column, Plan, Schema, Table, TableName, TablePlan
from tableferry.naming import counterpart, folded


@dataclass(frozen=True, slots=True)
class Adopted:
    """A table of the target and which of its columns stands for which of the source's."""

    table: Table
    columns: Mapping[str, Column]

    def demands(self, dialect: Dialect) -> dict[str, tuple[Candidate, ...]]:
        return {name: dialect.demanded(column) for name, column in self.columns.items()}


def is_ours(planned: TablePlan, found: Table) -> bool:
    """Whether a table is no more than what some plan for the same source would create, so that
    nothing is lost when it is dropped and created anew."""
    return (
        planned.target.name == found.name
        and len(planned.types) == len(found.columns)
        and all(
            mine.name == theirs.name
            and theirs.declared in types
            and (theirs.default is None or original.default is not None)
            and (not theirs.generated or bool(original.generated))
            for mine, original, theirs, types in zip(
                planned.target.columns,
                planned.source.columns,
                found.columns,
                planned.types,
                strict=True,
            )
        )
        and len(found.indexes) <= len(planned.target.indexes)
        and {check.name for check in found.checks} <= {c.name for c in planned.target.checks}
        and set(found.extras) <= _made_extras(planned.target)
    )


def _made_extras(table: Table) -> set[str]:
    """What beyond columns, keys and indexes the plan itself gives a table."""
    commented = table.comment or any(column.comment for column in table.columns)
    return {"a comment"} if commented else set()


def adopt(plan: Plan, there: Schema) -> dict[TableName, Adopted]:
    """The tables of ``plan`` that an application has made, by the source's names.

    Raises Refused where a column is missing there, or one would get no value that it needs.
    """
    adopted = {}
    mine = [planned.target.name.name for planned in plan.tables]
    theirs = [table.name.name for table in there.tables]
    for planned in plan.tables:
        name = counterpart(planned.target.name.name, mine, theirs)
        found = there.table(replace(planned.target.name, name=name)) if name is not None else None
        if found is None or is_ours(planned, found):
            continue
        alike = folded(found.name.name) == folded(planned.target.name.name)
        if not alike and len(matching_columns(planned.source, found)) < len(planned.types):
            # A name that is only similar, and another table.
            continue
        adopted[planned.source.name] = _adopted(planned.source, found)
    return adopted


def with_demands(offers: Offers, adopted: Mapping[TableName, Adopted], dialect: Dialect) -> Offers:
    """The offers, knowing what the columns of adopted tables demand."""
    demands = {name: each.demands(dialect) for name, each in adopted.items()}
    return replace(offers, demands=demands)


def matching_columns(source: Table, found: Table) -> dict[str, Column]:
    """The column of ``found`` that stands for each of the source's, where there is one."""
    mine = [column.name for column in source.columns]
    theirs = [column.name for column in found.columns]
    pairs = ((name, counterpart(name, mine, theirs)) for name in mine)
    return {name: found.column(other) for name, other in pairs if other is not None}


def _adopted(source: Table, found: Table) -> Adopted:
    columns = matching_columns(source, found)
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
            replace(adopted.columns[column.name], default=None) for column in source.columns
        ),
        rows=source.rows,
        size=source.size,
    )


def bare(source: Table) -> Table:
    """The source's table without what an adopted table has its own of; the key stays, since it
    tells rows apart."""
    return replace(source, uniques=(), foreign_keys=(), indexes=(), checks=(), identity=None)
