"""What of an unfinished run can be gone on with, and where.

A run is another one where its options, its source or its version are: then it is refused. A table
is another one where it was planned otherwise; then it begins anew. Of a table that is the same, the
ranges that the ledger records are read again as they are by now, and only what differs, or is not
recorded, is copied.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import xxhash

from tableferry.dialects.base import Script, Statements, TargetSession
from tableferry.errors import Refused
from tableferry.ledger import Begun, Ledger, Recorded, Standing, Unfinished, both_of
from tableferry.model import Plan, Range, Restoration, TableName, TablePlan, ViewPlan
from tableferry.preparation import require_unreferred

OPTION = "option "
"""What the name of a fact that is an option begins with."""


def fingerprint(table: TablePlan) -> str:
    """What tells how a table's rows are read and stored, and what is built on them: 32 hexadecimal
    digits. Of an application's own, what else it has is not ours, and is set aside meanwhile."""
    target = table.target
    told: list[object] = [
        target.name,
        [(c.name, c.declared, c.generated) for c in target.columns],
        table.source.name,
        [(c.name, c.declared, c.generated) for c in table.source.columns],
        table.candidates,
        table.adopted,
        table.rejecting or bool(table.excluded),
    ]
    if not table.adopted:
        # What columns are besides may be said when the table is made, and only then.
        told += [target.columns, target.comment]
        numbered = target.identity
        told += [numbered and (numbered.column, numbered.reuses)]
        built = (target.primary_key, target.uniques, target.checks, target.indexes)
        told += [built, target.foreign_keys]
    return xxhash.xxh3_128_hexdigest(repr(told).encode(errors="surrogatepass"))


def option_facts(options: Mapping[str, object]) -> dict[str, str]:
    """Options as facts of a ledger; values are what JSON can hold."""
    return {f"{OPTION}{name}": json.dumps(value) for name, value in options.items()}


def changed_options(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One phrase for each option that is another one than that of the unfinished run."""
    names = [name for name in (*before, *now) if name.startswith(OPTION)]
    return [
        f"{name.removeprefix(OPTION)} was {_shown(before.get(name))} and is {_shown(now.get(name))}"
        for name in dict.fromkeys(names)
        if before.get(name) != now.get(name)
    ]


def _shown(fact: str | None) -> str:
    value = None if fact is None else json.loads(fact)
    words = [str(each) for each in value] if isinstance(value, list) else [value or ""]
    return "given" if value is True else ", ".join(words) or "not given"


def cut_around(recorded: Sequence[Recorded], fresh: Sequence[Range]) -> tuple[Range, ...]:
    """Ranges of which one half are those recorded, and the others cover all the rest, cut where
    ``fresh``, a cut of the whole table, is."""
    known = sorted((line.part for line in recorded), key=_start)
    bounds = sorted(part.lower for part in fresh if part.lower is not None)
    ranges = list(known)
    number = max((part.number for part in known), default=-1)
    begin: int | None = None
    # An open end stands for everything from there on.
    for following in (*known, None):
        end = None if following is None else following.lower
        if following is None or _start(following) > _first(begin):
            inner = [b for b in bounds if _first(begin) < b and (end is None or b < end)]
            for lower, upper in itertools.pairwise([begin, *inner, end]):
                number += 1
                ranges.append(Range(number, lower, upper))
        if following is not None:
            if following.upper is None:
                break
            begin = following.upper
    return tuple(sorted(ranges, key=lambda part: part.number))


def _start(part: Range) -> float:
    return _first(part.lower)


def _first(bound: int | None) -> float:
    return float("-inf") if bound is None else bound


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A run that goes on: its plan under the generations from here on, what has arrived of each of
    them, what was built (by mark, on which table), and what has to come back."""

    plan: Plan
    recorded: Mapping[TableName, tuple[Recorded, ...]]
    marks: Mapping[str, str]
    aside: tuple[Restoration, ...]
    # Tables that begin anew, since they were planned otherwise.
    anew: tuple[TableName, ...]


def creation(ledger: Ledger, statements: Statements, table: TablePlan) -> Script:
    """The statements that begin a table: it is made, where it is not an application's own."""
    standing: Standing = "adopted" if table.adopted else "made"
    begun = Begun(table.target.name, table.generation, standing, fingerprint(table))
    made = () if table.adopted else statements.create_table(table.target)
    return (*made, ledger.begin(begun))


def view_line(ledger: Ledger, view: ViewPlan) -> str:
    """The statement that says which view is to be made."""
    return ledger.begin(Begun(view.target, 1, "view", ""))


def require_the_same(before: Mapping[str, str], now: Mapping[str, str], target: str) -> None:
    """Raises Refused, saying what is another one, where ``now`` are not the facts of the unfinished
    run. When it began does not matter, nor who else had a part in it."""
    changed = changed_options(before, now)
    version, source = "tableferry", "source"
    if before.get(version) != now.get(version):
        changed.append(f"the version was {before.get(version)} and is {now.get(version)}")
    if before.get("identity") != now.get("identity"):
        changed.append(f"the source was {before.get(source)} and is another one, {now.get(source)}")
    if before.get("moment") != now.get("moment"):
        changed.append(f"{target} was written by somebody else meanwhile")
    if changed:
        raise Refused(
            f"The unfinished run is another one: {'; '.join(changed)}.",
            hint="Give the same options, or give it up: --abort puts everything back, --drop-all "
            "starts anew.",
        )


def take_up(session: TargetSession, statements: Statements, ledger: Ledger, plan: Plan) -> TakenUp:
    """Makes an unfinished run this session's own, in the current transaction. Whatever was finished
    at the end of it, such as views and foreign keys, goes: it comes back at the end of this one.

    Raises Refused where an application's table is not what it was, or another table refers to one
    of the run's by now.
    """
    left = ledger.unfinished(session)
    _require_adopted(left, plan)
    existing = session.inspect_target()
    there = {table.name for table in existing.tables}
    ours = (*(table.target.name for table in plan.tables), *left.made, *left.adopted)
    require_unreferred(session, [name for name in dict.fromkeys(ours) if name in there])
    begun = {each.name: each for each in left.begun if each.standing != "view"}
    plan, anew = _generations(plan, begun, there)
    again = {table.target.name for table in anew}
    ledger.take_up(session)
    recorded = {n: lines for n, lines in ledger.recorded(session).items() if n not in again}

    script: list[str] = []
    views = {view.name for view in existing.views}
    shown = [name for name in left.views if name in views]
    script += statements.drop_views(shown) if shown else ()
    for table in plan.tables:
        if table.target.name in there and not table.adopted:
            for key in table.target.foreign_keys:
                added = statements.add_foreign_key(table.target.name, key)
                script += statements.drop_foreign_key(table.target.name, key)
                script.append(ledger.unmark(added))
    planned = {table.target.name for table in plan.tables}
    gone = [n for n in left.made if n in there and (n in again or n not in planned)]
    script += statements.drop_tables(gone) if gone else ()
    for name in (*left.views, *again, *(n for n in begun if n not in planned)):
        script += ledger.forget(name)
    session.execute(*script)

    aside = _aside_again(session, statements, ledger, (left, plan, again))
    for made in plan.types:
        session.execute(*statements.create_type(made))
    script = [line for table in anew for line in creation(ledger, statements, table)]
    script += [view_line(ledger, view) for view in plan.views]
    session.execute(*script)
    return TakenUp(plan, recorded, ledger.marks(session), aside, tuple(t.source.name for t in anew))


def _require_adopted(left: Unfinished, plan: Plan) -> None:
    adopted = {table.target.name for table in plan.tables if table.adopted}
    for name in left.adopted:
        if name not in adopted:
            raise Refused(
                f"Table {name}, which the unfinished run was loading, is not what it was.",
                hint="--abort gives the run up.",
            )


def _generations(
    plan: Plan, begun: Mapping[TableName, Begun], there: Collection[TableName]
) -> tuple[Plan, list[TablePlan]]:
    """The plan under the generations from here on, and its tables that begin anew."""
    tables, anew = [], []
    for table in plan.tables:
        before = begun.get(table.target.name)
        if before is not None:
            table = replace(table, generation=before.generation + 1)
        if before is None or before.plan != fingerprint(table) or table.target.name not in there:
            anew.append(table)
        tables.append(table)
    return replace(plan, tables=tuple(tables)), anew


def _aside_again(
    session: TargetSession,
    statements: Statements,
    ledger: Ledger,
    run: tuple[Unfinished, Plan, Collection[TableName]],
) -> tuple[Restoration, ...]:
    """What had come back already goes once more, and an application's tables that begin anew are
    emptied. Answers all that has to come back."""
    left, plan, again = run
    adopted = [table.target.name for table in plan.tables if table.adopted]
    if not adopted:
        return left.aside
    away, more = session.set_aside(adopted)
    aside = both_of(left.aside, more)
    ledger.put_aside(session, aside)
    emptied = [name for name in adopted if name in again]
    session.execute(*away, *(statements.empty_tables(emptied) if emptied else ()))
    return aside
