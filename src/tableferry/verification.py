"""The story of a verification alone: read both sides, compare, and point at what differs.

Nothing is written on either side, and no earlier run is needed: what is compared follows from the
two schemas as they are now.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from tableferry.casts import Offers, parse_all
from tableferry.checking import Looking, TableCheck
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, Session
from tableferry.events import Observer
from tableferry.model import Schema, Table, TableName
from tableferry.outcomes import MAX_LISTED, Difference, Outcome, TableOutcome
from tableferry.pairing import Ends, table_like
from tableferry.retrying import Counting
from tableferry.running import (
    Clock,
    default_workers,
    jobs_over,
    require_tables,
    require_two_databases,
    started_executor,
    status_of,
)
from tableferry.schema_check import check_schema
from tableferry.selection import Selection
from tableferry.versions import versions


@dataclass(frozen=True, slots=True)
class VerificationOptions:
    workers: int = field(default_factory=default_workers)
    selection: Selection = field(default_factory=Selection)
    # Rules as the user writes them; see casts.py.
    casts: tuple[str, ...] = ()
    # How many differences of a table are listed.
    listed: int = MAX_LISTED
    # How many percent of a table's rows are read, for a first look; None reads all.
    sample: float | None = None


def verify(
    source: Endpoint, target: Endpoint, options: VerificationOptions, observe: Observer
) -> Outcome:
    """Compares every chosen table of the source with the target's of the same name."""
    told = Counting(observe)
    clock = Clock(told)
    with ExitStack() as stack:
        dialects = dialect_of(source), dialect_of(target)
        holds = [
            stack.enter_context(dialect.hold(endpoint, locked=False))
            for dialect, endpoint in zip(dialects, (source, target), strict=True)
        ]
        rules = parse_all(options.casts, dialects[1])
        ends = Ends(holds[0].endpoint, holds[1].endpoint, *dialects, rules)
        mine, theirs = (
            stack.enter_context(closing(dialect.open(end)))
            for end, dialect in zip((ends.source, ends.target), dialects, strict=True)
        )
        require_two_databases(mine, theirs, source)
        with clock.phase("inspect"):
            chosen = chosen_of(mine, source, Offers(*dialects, rules), options)
            found = theirs.inspect_target()
            checked = check_schema(ends, (chosen.everything, found), theirs, options.selection)
        with clock.phase("verify"):
            looked = look(ends, (mine, theirs), chosen, found, Watched(options, told, clock))
        for hold in holds:
            hold.check()
        tables = tuple(looked.outcomes.values())
        return Outcome(
            status=status_of(tables),
            command="verify",
            source=str(source),
            target=str(target),
            tables=tables,
            drift=checked.drift,
            warnings=(*(said for hold in holds for said in hold.recovered), *checked.warnings),
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
            workers=options.workers,
            sample=options.sample,
            timeline=clock.timeline(),
            retries=told.retries,
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a source holds, and which of its tables are compared."""

    everything: Schema
    tables: tuple[Table, ...]


def chosen_of(
    session: Session, source: Endpoint, offers: Offers, options: VerificationOptions
) -> Chosen:
    """Raises Refused where there is nothing to compare, or this role may not read it."""
    everything = session.inspect()
    require_tables(everything, source)
    schema = options.selection.apply(everything)
    session.require_readable(schema.tables)
    offers.require_matches(schema)
    return Chosen(everything, schema.tables)


@dataclass(frozen=True, slots=True)
class Watched:
    """How both sides are looked at, and who is told of it."""

    options: VerificationOptions
    observe: Observer
    clock: Clock


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at both sides has found, by the source's names: ``outcomes`` in the order of its
    tables. A table that the target has not was not checked."""

    outcomes: dict[TableName, TableOutcome]
    checks: dict[TableName, TableCheck]


def look(
    ends: Ends,
    sessions: tuple[Session, Session],
    chosen: Chosen,
    found: Schema,
    watched: Watched,
) -> Looked:
    """Compares the chosen tables of two sides that are held still; ``found`` stands in the
    target."""
    mine, theirs = sessions
    options = watched.options
    looking = Looking(options.listed, options.sample)
    outcomes: dict[TableName, TableOutcome] = {}
    checks: dict[TableName, TableCheck] = {}
    size = sum(table.size for table in chosen.tables)
    with (
        started_executor(size, options.workers, watched.observe) as executor,
        jobs_over(executor, watched.clock, ends.target) as jobs,
    ):
        for table in chosen.tables:
            other = table_like(table.name, chosen.everything, found, ends.target_dialect)
            if other is None:
                outcomes[table.name] = _absent(table, mine.count(table.name))
                continue
            done = partial(outcomes.__setitem__, table.name)
            check = TableCheck(ends, (table, other), jobs, watched.observe, looking, done)
            checks[table.name] = check
            check.begin(mine, theirs)
        jobs.run()
    return Looked({table.name: outcomes[table.name] for table in chosen.tables}, checks)


def _absent(table: Table, rows: int) -> TableOutcome:
    return TableOutcome(
        source=str(table.name),
        target="",
        verdict="differs",
        source_rows=rows,
        target_rows=0,
        differences=(Difference(str(table.name), "missing", (), source="the whole table"),),
    )
