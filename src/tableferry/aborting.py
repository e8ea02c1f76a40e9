"""The story of --abort: an unfinished run is given up, and what it set aside comes back.

Tables that the run made are dropped, an application's own are emptied of the rows that came with
it, and their foreign keys and triggers are as they were. All in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import cast

from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, Statements, TargetSession
from tableferry.errors import DatabaseError, Refused
from tableferry.ledger import RUN, Ledger, Unfinished
from tableferry.model import Schema

# The object is there already: the run had put it back itself (duplicate_object).
_THERE = "42710"


def abort(target: Endpoint, confirm: Callable[[str], bool]) -> tuple[str, ...]:
    """Gives up the unfinished run of a target, and answers in sentences what was done.

    Raises Refused where there is none, or the question is not answered with yes.
    """
    dialect = dialect_of(target)
    with closing(cast(TargetSession, dialect.open(target))) as session:
        session.lock_run()
        if not is_unfinished(session.inspect()):
            raise Refused(f"{target} holds no unfinished run.")
        ledger = Ledger(session.schema)
        left = ledger.unfinished(session)
        if not confirm(_question(left)):
            raise Refused("Nothing was changed: the question was not answered with yes.")
        unproven = put_back(session, dialect.statements, ledger)
        session.commit_for_good()
    return (_done(left), *(f"Not proven, since rows break it: {name}" for name in unproven))


def is_unfinished(existing: Schema) -> bool:
    return any(table.name.name == RUN for table in existing.tables)


def put_back(session: TargetSession, statements: Statements, ledger: Ledger) -> tuple[str, ...]:
    """Undoes a run in the current transaction, its ledger included. Returns the statements that
    could not prove what they should."""
    left = ledger.unfinished(session)
    existing = session.inspect()
    views = {view.name for view in existing.views}
    tables = {table.name for table in existing.tables}
    ledger.drop(session)
    made_views = [name for name in left.views if name in views]
    if made_views:
        session.execute(statements.drop_views(made_views))
    made = [name for name in left.made if name in tables]
    if made:
        session.execute(statements.drop_tables(made))
    if left.adopted:
        session.execute(statements.empty_tables(left.adopted))
    unproven = []
    for statement, proof in left.aside:
        session.execute("SAVEPOINT back")
        try:
            session.execute(statement)
        except DatabaseError as error:
            session.execute("ROLLBACK TO SAVEPOINT back")
            if proof:
                unproven.append(statement)
            elif error.sqlstate != _THERE:
                raise
    return tuple(unproven)


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
    back = sum(not proof for _, proof in left.aside)
    if back:
        parts.append(f"{_count(back, 'definition')} put back")
    return ", ".join(parts) or "it had not begun to write"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
