"""What must hold before the first byte is written, and what has to make way.

Everything here either leaves the target as it was and raises Refused, or clears exactly the tables
that the plan names, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tableferry.aborting import is_unfinished, put_back
from tableferry.dialects.base import Dialect, TargetSession
from tableferry.errors import Refused
from tableferry.ledger import Ledger
from tableferry.model import Plan, Schema, Table, TableName


@dataclass(frozen=True, slots=True)
class Permission:
    """What the user allows to be done to tables that are in the way.

    ``drop_all`` gives up the data of tables that are just what the plan would create, ``recreate``
    the tables themselves whatever they are. ``confirm`` is asked with a full sentence first.
    """

    drop_all: bool = False
    recreate: bool = False
    confirm: Callable[[str], bool] = lambda _: True

    @property
    def replaces(self) -> bool:
        """Whether what a target's tables hold may go."""
        return self.drop_all or self.recreate


def make_way(
    session: TargetSession,
    dialect: Dialect,
    plan: Plan,
    ledger: Ledger,
    permission: Permission,
) -> tuple[str, ...]:
    """Clears the target for the plan and returns what went. Raises Refused where it may not.

    Tables that the plan adopts are emptied later, when what hangs on them is set aside.
    """
    statements = dialect.statements
    existing = session.inspect_target()
    unfinished = is_unfinished(existing)
    if unfinished:
        require_permission(permission)

    def alike(name: TableName) -> TableName:
        return replace(name, name=dialect.alike(name.name))

    there = {alike(table.name): table for table in existing.tables}
    in_the_way = [
        (table, found)
        for table in plan.tables
        if (found := there.get(alike(table.target.name))) is not None
    ]
    filled = [found for _, found in in_the_way if session.holds_rows(found.name)]
    views = _views_in_the_way(plan, existing, permission)
    if filled and not permission.replaces:
        raise Refused(
            f"The target already holds rows in {_listed(filled)}.",
            hint="Give --drop-all to replace them, or choose an empty target.",
            filled=True,
        )
    require_unreferred(session, [found.name for _, found in in_the_way])
    dropped = [found for planned, found in in_the_way if not planned.adopted]
    if filled and not permission.confirm(_question(filled, views, dropped, permission)):
        raise Refused("Nothing was changed: the question was not answered with yes.")
    if unfinished:
        put_back(session, statements, ledger)
        existing = session.inspect_target()
        dropped = [table for table in dropped if existing.table(table.name) is not None]
        views = [view for view in views if view in {found.name for found in existing.views}]
    if views:
        session.execute(*statements.drop_views(views))
    if dropped:
        session.execute(*statements.drop_tables([table.name for table in dropped]))
    return tuple(str(table.name) for table in filled)


def require_unreferred(session: TargetSession, tables: list[TableName]) -> None:
    """Raises Refused where other tables refer to these, and would miss what is to go."""
    outside = session.referring_from_outside(tables)
    if outside:
        raise Refused(
            "Foreign keys of tables outside this migration refer to tables that are to be "
            f"replaced: {', '.join(outside)}.",
            hint="Drop those foreign keys first, or migrate into another schema.",
        )


def require_permission(permission: Permission) -> None:
    """Raises Refused where what an unfinished run has left may not go."""
    if not permission.replaces:
        raise Refused(
            "The target holds an unfinished run.",
            hint="--resume goes on with it; --abort gives it up and puts back what it had set "
            "aside; --drop-all does so and starts anew.",
        )


def _question(
    filled: list[Table], views: list[TableName], dropped: list[Table], permission: Permission
) -> str:
    also = f" and {', '.join(map(str, views))}" if views else ""
    if permission.recreate:
        return f"This drops {_listed(dropped or filled)}{also} in the target, with all rows."
    gone = f", and drops {', '.join(map(str, views))}" if views else ""
    return f"This deletes all rows of {_listed(filled)} in the target{gone}."


def _views_in_the_way(plan: Plan, existing: Schema, permission: Permission) -> list[TableName]:
    there = {view.name for view in existing.views}
    views = [view.target for view in plan.views if view.target in there]
    ours = any(existing.table(table.target.name) for table in plan.tables)
    # Over tables that hold no rows it is what an earlier run without rows has made.
    if views and not permission.replaces and not ours:
        raise Refused(
            f"The target already has {'views' if len(views) > 1 else 'the view'} "
            f"{', '.join(map(str, views))}.",
            hint="Give --drop-all to have them created anew, or choose an empty target.",
        )
    return views


def _listed(tables: list[Table], most: int = 8) -> str:
    names = [str(table.name) for table in tables[:most]]
    more = f" and {len(tables) - most} more" if len(tables) > most else ""
    return f"{'table' if len(tables) == 1 else 'tables'} {', '.join(names)}{more}"
