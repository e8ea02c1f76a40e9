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
from tableferry.dialects.base import Endpoint
from tableferry.events import Observer
from tableferry.model import MAX_LISTED, Difference, Outcome, Table, TableName, TableOutcome
from tableferry.pairing import Ends, table_like
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
    clock = Clock()
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
            everything = mine.inspect()
            require_tables(everything, source)
            schema = options.selection.apply(everything)
            mine.require_readable(schema.tables)
            Offers(*dialects, rules).require_matches(schema)
            found = theirs.inspect_target()
            checked = check_schema(ends, (everything, found), theirs, options.selection)
        looking = Looking(options.listed, options.sample)
        outcomes: dict[TableName, TableOutcome] = {}
        with clock.phase("verify"):
            size = sum(table.size for table in schema.tables)
            executor = stack.enter_context(started_executor(size, options.workers, observe))
            jobs = stack.enter_context(jobs_over(executor, clock, ends.target))
            for table in schema.tables:
                other = table_like(table.name, everything, found, dialects[1])
                if other is None:
                    outcomes[table.name] = _absent(table, mine.count(table.name))
                    continue
                done = partial(outcomes.__setitem__, table.name)
                check = TableCheck(ends, (table, other), jobs, observe, looking, done)
                check.begin(mine, theirs)
            jobs.run()
        for hold in holds:
            hold.check()
        tables = tuple(outcomes[table.name] for table in schema.tables)
        return Outcome(
            status=status_of(tables),
            command="verify",
            source=str(source),
            target=str(target),
            tables=tables,
            drift=checked.drift,
            warnings=checked.warnings,
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
            workers=options.workers,
            sample=options.sample,
            timeline=clock.timeline(),
        )


def _absent(table: Table, rows: int) -> TableOutcome:
    return TableOutcome(
        source=str(table.name),
        target="",
        verdict="differs",
        source_rows=rows,
        target_rows=0,
        differences=(Difference(str(table.name), "missing", (), source="the whole table"),),
    )
