"""What must hold before the first byte is written, and what has to make way.

Everything here either leaves the target as it was and raises Refused, or clears exactly the tables
that the plan names, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tableferry.dialects.base import Statements, TargetSession
from tableferry.errors import Refused
from tableferry.ledger import RUN, Ledger
from tableferry.model import Plan, Schema, Table, TablePlan


@dataclass(frozen=True, slots=True)
class Permission:
    """What the user allows to be done to tables that are in the way.

    ``drop_all`` gives up the data of tables that are just what the plan would create, ``recreate``
    the tables themselves whatever they are. ``confirm`` is asked with a full sentence first.
    """

    drop_all: bool = False
    recreate: bool = False
    confirm: Callable[[str], bool] = lambda _: True


def make_way(
    session: TargetSession,
    statements: Statements,
    plan: Plan,
    ledger: Ledger,
    permission: Permission,
) -> tuple[str, ...]:
    """Clears the target for the plan and returns what went. Raises Refused where it may not."""
    existing = session.inspect()
    _require_no_ledger(existing, permission)
    in_the_way = [
        (table, found)
        for table in plan.tables
        if (found := existing.table(table.target.name)) is not None
    ]
    filled = [found for _, found in in_the_way if session.holds_rows(found.name)]
    if not permission.recreate:
        _require_same_definitions(in_the_way)
        if filled and not permission.drop_all:
            raise Refused(
                f"The target already holds rows in {_listed(filled)}.",
                hint="Give --drop-all to replace them, or choose an empty target.",
            )
    tables = [found for _, found in in_the_way]
    outside = session.referring_from_outside([table.name for table in tables])
    if outside:
        raise Refused(
            "Foreign keys of tables outside this migration refer to tables that are to be "
            f"replaced: {', '.join(outside)}.",
            hint="Drop those foreign keys first, or migrate into another schema.",
        )
    if filled and not permission.confirm(
        f"This deletes {_listed(filled)} in the target, with all rows."
    ):
        raise Refused("Nothing was changed: the question was not answered with yes.")
    ledger.drop(session)
    if tables:
        session.execute(statements.drop_tables([table.name for table in tables]))
    return tuple(str(table.name) for table in filled)


def _require_no_ledger(existing: Schema, permission: Permission) -> None:
    unfinished = any(table.name.name == RUN for table in existing.tables)
    if unfinished and not (permission.drop_all or permission.recreate):
        raise Refused(
            "The target holds an unfinished run.",
            hint="Start anew with --drop-all, which replaces what that run has brought.",
        )


def _require_same_definitions(in_the_way: list[tuple[TablePlan, Table]]) -> None:
    other = [found for planned, found in in_the_way if not _ours(planned, found)]
    if other:
        extras = sorted({extra for table in other for extra in table.extras})
        raise Refused(
            f"The target has its own definition of {_listed(other)}"
            + (f" (with {', '.join(extras)})." if extras else "."),
            hint="Loading into an application's own tables is not there yet; --recreate drops "
            "them and creates them from the source.",
        )


def _ours(planned: TablePlan, found: Table) -> bool:
    """Whether a table is no more than what some plan for the same source would create, so that
    nothing is lost when it is dropped and created anew."""
    return (
        len(planned.types) == len(found.columns)
        and all(
            mine.name == theirs.name and theirs.declared in types
            for mine, theirs, types in zip(
                planned.target.columns, found.columns, planned.types, strict=True
            )
        )
        and len(found.indexes) <= len(planned.target.indexes)
        and not found.extras
    )


def _listed(tables: list[Table], most: int = 8) -> str:
    names = [str(table.name) for table in tables[:most]]
    more = f" and {len(tables) - most} more" if len(tables) > most else ""
    return f"{'table' if len(tables) == 1 else 'tables'} {', '.join(names)}{more}"
