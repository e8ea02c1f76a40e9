"""The story of `migrate plan`: what would be done, in full, touching nothing.

Every value of the source is read, as the migration itself would read it first, so that the plan
knows which columns will need a wider type. The target is only looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial

from tableferry import services
from tableferry.aborting import is_unfinished
from tableferry.adoption import with_demands
from tableferry.casts import Offers, parse_all
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint
from tableferry.errors import DatabaseError, MisfitFound, Refused
from tableferry.events import Observer, PhaseBegins, PhaseEnds
from tableferry.jobs import Jobs, Urgency
from tableferry.migration import MigrationOptions
from tableferry.model import Plan, Range, Schema, Survey, TableName, TablePlan
from tableferry.naming import Destination, counterpart
from tableferry.outcomes import PlanOutcome
from tableferry.plan import Known, adopted_in, make_plan
from tableferry.running import Clock, jobs_over, require_tables, started_executor
from tableferry.script import script_of
from tableferry.space import disk_bytes, shortage
from tableferry.surveying import SurveyRange, survey_range
from tableferry.tasks import (
    CountRows,
    DigestRange,
    Part,
    count_rows,
    digest_range,
)
from tableferry.versions import versions

# What a whole migration costs beside reading the source once, measured on TPC-H: of 45 seconds of
# processors 8 read SQLite and 4 to 5 made Arrow arrays.
_WHOLE_TO_READ = 3.6


def plan(
    source: Endpoint,
    target: Endpoint,
    options: MigrationOptions,
    observe: Observer,
    *,
    look: bool = True,
) -> PlanOutcome:
    """``look`` is False where there is no target yet to look at.

    Raises TableferryError where the source cannot be read, or a table that is in the target
    already could not be loaded into.
    """
    clock = Clock(observe)
    with ExitStack() as stack:
        from_dialect, to_dialect = dialect_of(source), dialect_of(target)
        size = from_dialect.size_hint(source)
        executor = stack.enter_context(started_executor(size, options.workers, observe))
        hold = stack.enter_context(from_dialect.hold(source, locked=False))
        reader = stack.enter_context(closing(from_dialect.open(hold.endpoint)))
        everything = reader.inspect()
        require_tables(everything, source)
        schema = options.selection.apply(everything)
        reader.require_readable(schema.tables)
        offers = Offers(from_dialect, to_dialect, parse_all(options.casts, to_dialect))
        offers.require_matches(schema)
        used = services.risks((source,))
        there = _looked_at(target, schema) if look else _There(to_dialect.home)
        destination = Destination(to_dialect, there.schema, options.lower)
        adopted = {}
        if not options.permission.recreate:
            rows_alone = options.scope == "data"
            adopted = adopted_in(there.existing, schema, offers, destination, rows_alone=rows_alone)
        offers = with_demands(offers, adopted)
        known = Known(adopted=adopted)
        reading = _Reading(
            hold.endpoint, make_plan(schema, offers, destination, known), offers, observe
        )
        ranges = {table.name: reader.ranges(table) for table in schema.tables}
        jobs = stack.enter_context(jobs_over(executor, clock, target))
        reading.run(jobs, ranges)
        hold.check()
        known = replace(known, surveys=reading.surveys)
        made = make_plan(schema, offers, destination, known)
        needed = sum(
            disk_bytes(t, reading.rows[t.source.name], reading.bytes[t.source.name])
            for t in made.tables
        )
        short: tuple[str, ...] = ()
        if look:
            replaced = [table.target.name for table in made.tables]
            free = to_dialect.free_space(target, replaced)
            short = tuple(filter(None, [shortage(needed, free, str(target))]))
        return PlanOutcome(
            source=str(source),
            target=str(target),
            plan=made,
            rows=reading.rows,
            ranges={name: len(parts) for name, parts in ranges.items()},
            disk_bytes=needed,
            seconds=_WHOLE_TO_READ * reading.seconds / options.workers,
            risks=(*hold.recovered, *used, *there.risks, *short, *_risks(made, reading.surveys)),
            script=script_of(made, to_dialect.statements, there.schema, options.roles),
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
            workers=options.workers,
        )


@dataclass(frozen=True, slots=True)
class _There:
    """What a look at the target has shown."""

    schema: str
    existing: Schema = field(default_factory=lambda: Schema(()))
    risks: tuple[str, ...] = ()


def _looked_at(target: Endpoint, schema: Schema) -> _There:
    dialect = dialect_of(target)
    try:
        risks = list(services.risks((target,)))
        looking = dialect.look(target)
        if looking is None:
            return _There(dialect.home)
        with closing(looking) as session:
            existing = session.inspect_target()
            names = [table.name.name for table in existing.tables]
            wanted = [table.name.name for table in schema.tables]
            found = {counterpart(name, wanted, names) for name in wanted}
            in_the_way = [table for table in existing.tables if table.name.name in found]
            filled = [str(t.name) for t in in_the_way if session.holds_rows(t.name)]
            outside = session.referring_from_outside([table.name for table in in_the_way])
            if filled:
                risks.append(f"--drop-all is needed: there are rows in {', '.join(filled)}")
            if outside:
                risks.append(f"foreign keys from outside refuse it: {', '.join(outside)}")
            if is_unfinished(existing):
                risks.append("an unfinished run is there: --drop-all or --abort gives it up")
            return _There(session.schema, existing, tuple(risks))
    except (DatabaseError, Refused) as error:
        return _There(dialect.home, risks=(f"the target was not looked at: {error.message}",))


class _Reading:
    """Every table read as its plan says; a table with values that do not fit is surveyed."""

    def __init__(self, source: Endpoint, first: Plan, offers: Offers, observe: Observer) -> None:
        self._source = source
        self._plan = first
        self._offers = offers
        self._observe = observe
        self._unfitting: dict[TableName, TablePlan] = {}
        self._counts: dict[TableName, int] = {}
        self.surveys: dict[TableName, Survey] = {}
        self.rows: dict[TableName, int] = {}
        self.bytes: dict[TableName, int] = {}
        # Of processes reading, added up.
        self.seconds = 0.0

    def run(self, jobs: Jobs, ranges: Mapping[TableName, tuple[Range, ...]]) -> None:
        for table in self._plan.tables:
            name = table.source.name
            self.rows[name] = self.bytes[name] = 0
            self._observe(PhaseBegins("verify", name, table.source.rows))
            for part in ranges[name]:
                job = DigestRange(self._source, table.pair.source, part, name)
                failed = partial(self._failed, table)
                jobs.add(
                    digest_range,
                    job,
                    partial(self._read, name),
                    urgency=Urgency.COPY,
                    size=table.source.size,
                    failed=failed,
                    about=str(name),
                )
            jobs.add(
                count_rows,
                CountRows(self._source, name),
                partial(self._counted, name),
                urgency=Urgency.KEYS,
                about=str(name),
            )
        jobs.run()
        for table in self._plan.tables:
            name = table.source.name
            self._observe(PhaseEnds("verify", name))
            if self.rows[name] != self._counts[name]:
                # The fast read leaves out rows that it would misread.
                self._unfitting[name] = table
            self.rows[name] = self._counts[name]
        for table in self._unfitting.values():
            self._survey(jobs, table, ranges[table.source.name])
        jobs.run()

    def _read(self, name: TableName, part: Part) -> None:
        self.rows[name] += part.digest.digest.rows
        self.bytes[name] += part.bytes
        self.seconds += part.seconds

    def _failed(self, table: TablePlan, error: Exception) -> None:
        if not isinstance(error, MisfitFound):
            raise error
        self._unfitting[table.source.name] = table

    def _counted(self, name: TableName, count: int) -> None:
        self._counts[name] = count

    def _survey(self, jobs: Jobs, table: TablePlan, parts: tuple[Range, ...]) -> None:
        source = table.source
        self._observe(PhaseBegins("survey", source.name, source.rows))
        candidates = tuple(self._offers(source, column) for column in source.columns)

        def surveyed(survey: Survey) -> None:
            before = self.surveys.get(source.name)
            self.surveys[source.name] = survey if before is None else before + survey

        for part in parts:
            job = SurveyRange(self._source, table.pair.source, candidates, part)
            jobs.add(
                survey_range,
                job,
                surveyed,
                urgency=Urgency.SURVEY,
                size=source.size,
                about=str(source.name),
            )


def _risks(plan: Plan, surveys: Mapping[TableName, Survey]) -> Iterator[str]:
    for table in plan.tables:
        name = table.source.name
        if table.adopted and name in surveys:
            columns = zip(table.source.columns, surveys[name].findings, strict=True)
            for column, findings in columns:
                if all(finding.misfits for finding in findings):
                    yield f"{name}.{column.name}: values do not fit the existing column"
        if table.widened and table.source.primary_key is not None:
            wider = {w.column for w in table.widened if w.merged_classes}
            if wider & set(table.source.primary_key.columns):
                yield f"{name}: values of its key that differ in storage class alone would meet"
