"""The story of --abort: an unfinished run is given up, and what it set aside comes back.

Tables that the run made are dropped, an application's own are emptied of the rows that came with
it, and their foreign keys and triggers are as they were. All in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, Statements, TargetSession
from tableferry.errors import Refused
from tableferry.ledger import RUN, Ledger, Unfinished, both_of
from tableferry.model import Schema


def abort(target: Endpoint, confirm: Callable[[str], bool]) -> str:
    """Gives up the unfinished run of a target, and answers in a sentence what was done.

    Raises Refused where there is none (which ``details["nothing"]`` says), or the question is not
    answered with yes.
    """
    dialect = dialect_of(target)
    with dialect.stage(target) as stage:
        if stage.unfinished:
            if not confirm("This gives up the unfinished run: all that it has written."):
                raise Refused("Nothing was changed: the question was not answered with yes.")
            stage.discard()
            return "The unfinished run is given up: the target is as it was."
        return _abort_in(stage.open(), dialect.statements, target, confirm)


def _abort_in(
    opened: TargetSession,
    statements: Statements,
    target: Endpoint,
    confirm: Callable[[str], bool],
) -> str:
    with closing(opened) as session:
        session.lock_run()
        if not is_unfinished(session.inspect_target()):
            raise Refused(f"{target} holds no unfinished run.", nothing=True)
        ledger = Ledger(session.schema)
        left = ledger.unfinished(session)
        if not confirm(_question(left)):
            raise Refused("Nothing was changed: the question was not answered with yes.")
        put_back(session, statements, ledger)
        session.commit_for_good()
    return _done(left)


def is_unfinished(existing: Schema) -> bool:
    return any(table.name.name == RUN for table in existing.tables)


def put_back(session: TargetSession, statements: Statements, ledger: Ledger) -> None:
    """Undoes a run in the current transaction, its ledger included."""
    left = ledger.unfinished(session)
    existing = session.inspect_target()
    views = {view.name for view in existing.views}
    tables = {table.name for table in existing.tables}
    ledger.drop(session)
    made_views = [name for name in left.views if name in views]
    if made_views:
        session.execute(*statements.drop_views(made_views))
    made = [name for name in left.made if name in tables]
    if made:
        session.execute(*statements.drop_tables(made))
    back = left.aside
    adopted = [name for name in left.adopted if name in tables]
    if adopted:
        # What the run had put back already goes once more: nothing may fire, or refer.
        away, more = session.set_aside(adopted)
        session.execute(*away, *statements.empty_tables(adopted))
        back = both_of(back, more)
    session.execute(*(each.statement for each in back))


def _question(left: Unfinished) -> str:
    return f"This gives up the unfinished run: {_what(left)}."


def _done(left: Unfinished) -> str:
    return f"The unfinished run is given up: {_what(left)}."


def _what(left: Unfinished) -> str:
    parts = []
    if left.made:
        parts.append(f"its {_count(len(left.made), 'table')} dropped")
    if left.adopted:
        parts.append(f"{_count(len(left.adopted), 'table')} of the application emptied")
    back = sum(not each.proof for each in left.aside)
    if back:
        parts.append(f"{_count(back, 'definition')} put back")
    return ", ".join(parts) or "it had not begun to write"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
