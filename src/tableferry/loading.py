"""One table after another, from the source into the target: copy, keys, indexes, read back.

Every table goes through the same states, each started by the end of the one before:

    copy ─▶ count ─▶ keys ─▶ indexes and read back ─▶ comparison
     ▲ │      │
     │ ▼      ▼
     │ survey (a value did not fit, or rows were left out of the fast read)
     └── create anew under the next generation
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tableferry.building import Building, is_refusal_of_values
from tableferry.comparison import Comparison
from tableferry.dialects.base import Session, Statements, TargetSession
from tableferry.errors import MisfitFound, RunFailed
from tableferry.events import Note, Observer, Phase, PhaseBegins, PhaseEnds
from tableferry.generations import (
    closest_kept,
    computed_columns,
    computed_otherwise,
    declared_types_kept,
    first_misfit,
    misread,
    require_fitting,
    why_again,
)
from tableferry.jobs import Jobs, Urgency
from tableferry.ledger import Recorded
from tableferry.loads import Load, Policy, Route
from tableferry.model import (
    Exclusion,
    LeftBehind,
    Plan,
    Range,
    Restoration,
    RowHash,
    Scan,
    Schema,
    Survey,
    TableName,
    TablePlan,
    ViewPlan,
    Violation,
)
from tableferry.outcomes import TableOutcome
from tableferry.plan import Known, again, make_plan, next_generation
from tableferry.resuming import creation, cut_around, take_up, view_line
from tableferry.sides import Side
from tableferry.surveying import SurveyRange, survey_range
from tableferry.tasks import (
    CopyRange,
    CountRows,
    DigestRange,
    GatherRange,
    Part,
    RunStatements,
    Speller,
    copy_range,
    count_rows,
    digest_range,
    gather_range,
    run_statements,
)
from tableferry.viewing import disagreements

# Views over larger tables are created, and not read: each may read all of them several times.
_MOST_VIEWED_BYTES = 1 << 30
# Small tables whose statistics one job gathers.
_ANALYZED_TOGETHER = 100
# Workers for each process of the server that may help one of them to build an index.
_WORKERS_A_HELPER = 4


class Loading:
    """Loads all tables of a plan and compares them. ``run`` is the whole story."""

    def __init__(
        self,
        route: Route,
        schema: Schema,
        jobs: Jobs,
        sessions: tuple[Session, TargetSession],
        observe: Observer,
        *,
        policy: Policy,
    ) -> None:
        self._route = route
        self._schema = schema
        self._jobs = jobs
        self._source_session, self._target_session = sessions
        self._observe = observe
        self._misfit = policy.misfit
        self._rejecting: set[TableName] = set()
        self._excluded: dict[TableName, dict[RowHash, Exclusion]] = {}
        self._surveys: dict[TableName, Survey] = {}
        self._loads: dict[TableName, Load] = {}
        self._outcomes: dict[TableName, TableOutcome] = {}
        self._disagreeing: dict[TableName, frozenset[str]] = {}
        self._aside: tuple[Restoration, ...] = ()
        # Of a run that goes on: what has arrived of the target's tables.
        self._recorded: Mapping[TableName, tuple[Recorded, ...]] = {}
        self._compared_views = False
        # Whether all is done but for the commit of the end.
        self.committing = False
        # Small tables that the planner knows nothing of yet, in order.
        self._unanalyzed: dict[TableName, None] = {}
        # When the first table began a phase, and when the last one ended it.
        self._spans: dict[Phase, tuple[float, float]] = {}
        self.plan = self._make_plan()
        self._building = Building(
            (route.source, route.target),
            route.destination,
            self._target_session,
            policy.violations,
            policy.roles,
            route.ledger,
            rowless=policy.rowless,
            helpers=jobs.at_once // _WORKERS_A_HELPER,
        )
        self._violations = policy.violations
        self._building.exclude = self._exclude
        self._rowless = policy.rowless
        self._listed = policy.listed
        # One that writes alone writes where it belongs.
        self._apart = route.destination.dialect.one_writer and jobs.at_once > 1

    def _make_plan(self) -> Plan:
        route = self._route
        known = Known(self._surveys, self._disagreeing, route.adopted)
        plan = make_plan(self._schema, route.offers, route.destination, known)
        return replace(
            plan,
            tables=tuple(
                replace(
                    table,
                    rejecting=table.source.name in self._rejecting,
                    excluded=self._excluded.get(table.source.name, {}),
                )
                for table in plan.tables
            ),
        )

    @property
    def _statements(self) -> Statements:
        return self._route.destination.dialect.statements

    @property
    def left_behind(self) -> tuple[LeftBehind, ...]:
        return (*self.plan.left_behind, *self._building.left_behind)

    @property
    def views(self) -> tuple[ViewPlan, ...]:
        """Those that were created, and whether their rows were compared."""
        views = self._building.created(self.plan.views)
        return tuple(replace(view, compared=self._compared_views) for view in views)

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(self._building.violations)

    @property
    def outcomes(self) -> tuple[TableOutcome, ...]:
        return tuple(self._outcomes[table.source.name] for table in self.plan.tables)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds from the first table's start of a phase to the last one's end; they overlap."""
        return {phase: end - begin for phase, (begin, end) in self._spans.items()}

    def create_all(self, facts: Mapping[str, str]) -> None:
        """The ledger and every table, in one transaction: all of them are there, or none."""
        session, ledger = self._target_session, self._route.ledger
        if self.plan.settings and not session.inspect_target().tables:
            session.execute(*self.plan.settings)
        ledger.create(session, facts)
        adopted = [table.target.name for table in self.plan.tables if table.adopted]
        if adopted:
            away, self._aside = session.set_aside(adopted)
            ledger.put_aside(session, self._aside)
            session.execute(*away, *self._statements.empty_tables(adopted))
        for made in self.plan.types:
            session.execute(*self._statements.create_type(made))
        statements = self._statements
        script = [line for t in self.plan.tables for line in creation(ledger, statements, t)]
        script += [view_line(ledger, view) for view in self.plan.views]
        session.execute(*script)
        # What is done from here on can be lost, and is known to be by this.
        session.commit_for_good()

    def take_up(self) -> None:
        """Goes on with an unfinished run, instead of create_all()."""
        session = self._target_session
        taken = take_up(session, self._statements, self._route.ledger, self.plan)
        session.commit_for_good()
        self.plan, self._aside, self._recorded = taken.plan, taken.aside, taken.recorded
        self._building.marks = dict(taken.marks)
        for name in taken.anew:
            self._observe(Note(f"{name} begins anew"))

    def run(self) -> None:
        for table in self.plan.tables:
            self._start(table)
        self._jobs.run()
        self._building.rows_set_aside = bool(self._rejecting)
        if self._violations == "reject":
            self._reject_orphans()
        self._gather_other_statistics()
        self._add_foreign_keys()

    def _reject_orphans(self) -> None:
        """Until no row is left without a parent: one that is taken out may be a parent itself."""
        before = None
        while before != (before := {name: len(rows) for name, rows in self._excluded.items()}):
            for table in self.plan.tables:
                add = partial(self._add, self._loads[table.source.name])
                self._building.reject_orphans(table, add)
            self._jobs.run()

    def _exclude(self, table: TablePlan, rows: Mapping[RowHash, Exclusion]) -> bool:
        """Loads a table again without these rows, which are set aside in its file."""
        name = table.source.name
        load, known = self._loads[name], self._excluded.get(name, {})
        if rows.keys() <= known.keys():
            return False
        self._excluded[name] = {**known, **rows}
        self._rejecting.add(name)
        self.plan = next_generation(self.plan, self._make_plan())
        self._load_again(load)
        return True

    def run_without_rows(self) -> None:
        """Everything but rows: the types are those of the declarations, since no value was seen."""
        for table in self.plan.tables:
            load = Load(
                table,
                Side(self._route.source, table.pair.source),
                Side(self._route.target, table.pair.target),
            )
            self._loads[table.source.name] = load
            add = partial(self._add, load)
            indexes = partial(self._building.indexes, table, add, lambda: None)
            self._building.keys(table, add, indexes)
            name = table.source.name
            self._outcomes[name] = TableOutcome(
                str(name), str(table.target.name), "not verified", 0, 0, plan=table
            )
        self._jobs.run()
        self._add_foreign_keys()

    def finish(self, *, keeping: bool) -> None:
        """What belongs to the whole, and the end of the ledger, unless it is needed for longer:
        for good."""
        self._building.finish(self.plan)
        self._compare_views()
        self._building.hand_over(self.plan)
        arrived = self._rowless or all(each.verdict == "verified" for each in self.outcomes)
        if arrived and not keeping:
            self._route.ledger.drop(self._target_session)
            self.committing = True
        self._target_session.commit_for_good()

    def _compare_views(self) -> None:
        if self._rowless or sum(t.size for t in self._schema.tables) > _MOST_VIEWED_BYTES:
            return
        ends = self._route.source, self._route.target
        views = self._building.created(self.plan.views)
        for found in disagreements(ends, views, self._jobs):
            self._building.withdraw_view(found.view, found.reason)
        self._compared_views = True

    def _start(self, table: TablePlan) -> None:
        pair = table.pair
        recorded = self._recorded.get(table.target.name, ())
        ranges = self._source_session.ranges(table.source)
        load = Load(
            table,
            Side(
                self._route.source,
                pair.source,
                cut_around(recorded, ranges) if recorded else ranges,
                speller=Speller(self._route.target, pair.target),
            ),
            Side(self._route.target, pair.target),
        )
        self._loads[table.source.name] = load
        self._begin(load, "copy", table.source.rows)
        digests = {line.part: line.digest for line in recorded}
        bounded_by = self._bounded_by(table) if recorded else ""
        for part in load.source.ranges:
            self._add(
                load,
                copy_range,
                CopyRange(
                    self._route.source,
                    self._route.target,
                    pair,
                    part,
                    self._route.ledger,
                    self._route.rejects if table.rejecting else None,
                    self._apart,
                    counted=len(load.source.ranges) == 1,
                    recorded=digests.get(part),
                    bounded_by=bounded_by,
                ),
                partial(self._copied, load, part),
                Urgency.COPY,
                failed=partial(self._copy_failed, load),
            )

    def _add(
        self,
        load: Load,
        task: Callable[..., object],
        argument: object,
        then: Callable[..., None],
        urgency: Urgency,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """A job that counts for its table: when none is left, what waits for that happens."""

        def concluded(result: object) -> None:
            load.unfinished -= 1
            then(result)
            self._when_idle(load)

        def gone_wrong(error: Exception) -> None:
            load.unfinished -= 1
            if failed is None:
                raise error
            failed(error)
            self._when_idle(load)

        load.unfinished += 1
        self._jobs.add(
            task,
            argument,
            concluded,
            urgency=urgency,
            size=load.plan.source.size,
            failed=gone_wrong,
            about=str(load.plan.source.name),
        )

    def _when_idle(self, load: Load) -> None:
        if load.unfinished or self._loads[load.plan.source.name] is not load:
            return
        if load.again:
            self._create_anew(load)
        elif load.misfit and load.survey is None:
            self._begin_survey(load)

    # Copy

    def _copied(self, load: Load, part: Range, result: Part) -> None:
        if result.changed:
            self._source_moved_on(load)
            return
        if result.again and not any(each.again for each in load.source.parts.values()):
            name = load.plan.source.name
            self._observe(Note(f"{name}: what has changed since it had arrived is copied again"))
        if not result.place:
            self._arrived(load, part, result)
            return
        if load.misfit or load.again:
            return
        job = GatherRange(self._route.target, load.plan.pair, part, self._route.ledger, result)
        arrived = partial(self._arrived, load, part, result)
        self._add(load, gather_range, job, lambda _: arrived(), Urgency.COPY)

    def _arrived(self, load: Load, part: Range, result: Part) -> None:
        load.source.parts[part.number] = result
        if load.misfit or load.again or len(load.source.parts) < len(load.source.ranges):
            return
        self._end(load, "copy")
        if result.count is not None:
            self._counted_source(load, result.count)
            return
        self._add(
            load,
            count_rows,
            CountRows(self._route.source, load.plan.source.name),
            partial(self._counted_source, load),
            Urgency.KEYS,
        )

    def _counted_source(self, load: Load, count: int) -> None:
        load.source.count = count
        if load.source.all_rows == count:
            self._add_keys(load)
        else:
            # The fast read leaves out rows it would misread: find out which and why.
            load.misfit = True

    def _copy_failed(self, load: Load, error: Exception) -> None:
        computed = frozenset() if load.plan.adopted else computed_columns(load.plan)
        if computed and is_refusal_of_values(error):
            # What is computed from a value may be what the server refuses.
            self._load_without(load, computed)
            return
        if not isinstance(error, MisfitFound):
            raise error
        load.misfit = True
        load.refused = error
        self._withdraw(load)

    def _withdraw(self, load: Load) -> None:
        load.unfinished -= self._jobs.withdraw(
            lambda job: (
                isinstance(job, CopyRange | GatherRange)
                and job.pair.source.table == load.plan.source.name
            )
        )

    def _bounded_by(self, table: TablePlan) -> str:
        """The target's column that tells which rows of a range have arrived; "" where none does, or
        where rules are in force already that rows of two moments may break."""
        column = self._route.offers.source.bounded_by(table.source)
        ruled = table.adopted or table.target.name.name in self._building.marks.values()
        if not column or self._apart or ruled:
            return ""
        i = [each.name for each in table.source.columns].index(column)
        return table.target.columns[i].name if table.candidates[i].kind.name == "int" else ""

    def _source_moved_on(self, load: Load) -> None:
        """Since an earlier run copied a range, which holds other rows by now."""
        if load.again:
            return
        name = load.plan.source.name
        self.plan = again(self.plan, name)
        load.again = True
        self._observe(Note(f"{name} begins anew: rows that had arrived are other ones by now"))
        self._withdraw(load)

    # Survey

    def _begin_survey(self, load: Load) -> None:
        table = load.plan.source
        self._begin(load, "survey", table.rows)
        candidates = tuple(self._route.offers(table, column) for column in table.columns)
        awaited = len(load.source.ranges)
        results: list[Survey] = []

        def surveyed(survey: Survey) -> None:
            results.append(survey)
            if len(results) == awaited:
                self._end(load, "survey")
                load.survey = sum(results[1:], results[0])
                self._plan_again(load)

        for part in load.source.ranges:
            job = SurveyRange(
                self._route.source, load.source.scan, candidates, part, self._route.target
            )
            self._add(load, survey_range, job, surveyed, Urgency.SURVEY)

    def _plan_again(self, load: Load) -> None:
        assert load.survey is not None
        name = load.plan.source.name
        self._surveys[name] = load.survey
        if self._misfit == "reject":
            kept = closest_kept if load.plan.adopted else declared_types_kept
            self._surveys[name] = kept(load.plan, load.survey)
            self._rejecting.add(name)
        elif load.plan.adopted:
            require_fitting(load.plan, load.survey)
        old, new = self.plan, self._make_plan()
        if self._misfit == "stop" and new.table(name).widened:
            raise RunFailed(
                first_misfit(new.table(name)),
                hint="Correct the values, or let --misfit widen give the column a wider type.",
            )
        self.plan = next_generation(old, new)
        if self.plan.table(name).generation == load.plan.generation:
            raise misread(load.plan, load.refused, (load.source.count, load.source.rows))
        self._load_again(load)

    def _load_without(self, load: Load, computed: frozenset[str]) -> None:
        """Loads a table again with the source's values in columns that the target would compute
        otherwise."""
        name = load.plan.source.name
        self._disagreeing[name] = self._disagreeing.get(name, frozenset()) | computed
        self.plan = next_generation(self.plan, self._make_plan())
        self._load_again(load)

    def _load_again(self, load: Load) -> None:
        for table in self.plan.tables:
            other = self._loads[table.source.name]
            if table.generation != other.plan.generation and not other.again:
                if table.widened and table.source.name not in self._surveys:
                    # It follows a partner: how many of its own values do not fit is not known yet.
                    other.misfit = True
                else:
                    other.again = True
                    self._observe(Note(why_again(table, other.plan)))
                self._withdraw(other)
                if other is not load:
                    self._when_idle(other)

    def _create_anew(self, load: Load) -> None:
        table = self.plan.table(load.plan.source.name)
        self._outcomes.pop(table.source.name, None)
        self._recorded = {n: r for n, r in self._recorded.items() if n != table.target.name}
        self._building.forget(table)
        old = [load.plan.target.name]
        clear = self._statements.empty_tables if table.adopted else self._statements.drop_tables
        forgotten = self._route.ledger.forget(table.target.name)
        begun = creation(self._route.ledger, self._statements, table)
        self._target_session.execute(*clear(old), *forgotten, *begun)
        self._target_session.commit()
        self._start(table)

    # Keys, indexes, read back

    def _add_keys(self, load: Load) -> None:
        target = load.plan.target
        if target.primary_key or target.uniques or target.checks:
            self._begin(load, "index", 0)
        self._building.keys(load.plan, partial(self._add, load), partial(self._add_indexes, load))

    def _add_indexes(self, load: Load) -> None:
        if load.again:
            return
        if load.plan.target.indexes:
            self._begin(load, "index", 0)
        self._building.indexes(load.plan, partial(self._add, load), partial(self._indexed, load))
        self._read_back(load)

    def _indexed(self, load: Load) -> None:
        self._end(load, "index")
        self._gather_statistics(load)

    def _read_back(self, load: Load) -> None:
        table, target = load.plan.target, self._route.target
        self._begin(load, "verify", load.plan.source.rows)
        load.target.scan = _taking_names(load.target.scan, load.source)
        rows, size = load.source.rows, load.source.bytes
        if load.few:
            load.target.scan = replace(load.target.scan, few=True)
            load.target.ranges = (Range(0),)
        else:
            load.target.ranges = self._target_session.ranges(replace(table, rows=rows, size=size))
            self._target_session.rollback()
        small = len(load.target.ranges) == 1
        for part in load.target.ranges:
            job = DigestRange(target, load.target.scan, part, load.plan.source.name, counted=small)
            self._add(
                load,
                digest_range,
                job,
                partial(self._digested, load, part),
                Urgency.DIGEST,
            )
        if not small:
            self._add(
                load,
                count_rows,
                CountRows(target, table.name),
                partial(self._counted_target, load),
                Urgency.DIGEST,
            )

    def _gather_statistics(self, load: Load) -> None:
        """For the planner, by whoever has nothing more urgent to do; of small tables later, many
        in one transaction."""
        name = load.plan.target.name
        if load.few:
            self._unanalyzed[name] = None
            return
        script = self._statements.analyze([name])
        job = RunStatements(self._route.target, script, f"table {name}", "statistics")
        self._add(load, run_statements, job, lambda _: None, Urgency.FINISH)

    def _gather_other_statistics(self) -> None:
        """Before there are foreign keys: the lock of one on two tables could wait for that of
        statistics on many, and they for it."""
        names = list(self._unanalyzed)
        for first in range(0, len(names), _ANALYZED_TOGETHER):
            script = self._statements.analyze(names[first : first + _ANALYZED_TOGETHER])
            job = RunStatements(self._route.target, script, "statistics", "statistics")
            self._jobs.add(run_statements, job, lambda _: None, urgency=Urgency.FINISH)
        self._jobs.run()

    def _digested(self, load: Load, part: Range, result: Part) -> None:
        load.target.parts[part.number] = result
        if result.count is not None:
            load.target.count = result.count
        self._compare_when_complete(load)

    def _counted_target(self, load: Load, count: int) -> None:
        load.target.count = count
        self._compare_when_complete(load)

    def _compare_when_complete(self, load: Load) -> None:
        if not load.target.complete or load.again:
            return
        add, done = partial(self._add, load), partial(self._compared, load)
        Comparison(load.source, load.target, add, done, self._listed).conclude()

    def _compared(self, load: Load, outcome: TableOutcome) -> None:
        if load.again:
            return
        disagreeing = frozenset() if load.plan.adopted else computed_otherwise(load.plan, outcome)
        if disagreeing:
            self._load_without(load, disagreeing)
            return
        self._end(load, "verify")
        self._outcomes[load.plan.source.name] = replace(
            load.source.counted(outcome),
            # The dictionary itself: an index may still be building while rows are compared.
            seconds=load.seconds,
            rejects_file=self._join_rejects(load),
            plan=load.plan,
        )

    def _join_rejects(self, load: Load) -> str:
        if not load.plan.rejecting:
            return ""
        return str(self._route.rejects.join(load.plan.pair, load.source.ranges))

    # Finish

    def _add_foreign_keys(self) -> None:
        """Foreign keys, when all that they refer to is there."""
        for table in self.plan.tables:
            add = partial(self._add, self._loads[table.source.name])
            self._building.foreign_keys(table, add)
            self._building.restore(table, self._aside, add)
        self._jobs.run()

    # Times

    def _begin(self, load: Load, phase: Phase, rows: int) -> None:
        if phase not in load.began:
            load.began[phase] = time.perf_counter()
            self._spans.setdefault(phase, (load.began[phase], load.began[phase]))
            self._observe(PhaseBegins(phase, load.plan.source.name, rows))

    def _end(self, load: Load, phase: Phase) -> None:
        if phase in load.began:
            now = time.perf_counter()
            load.seconds[phase] = now - load.began[phase]
            self._spans[phase] = (self._spans[phase][0], now)
            self._observe(PhaseEnds(phase, load.plan.source.name))


def _taking_names(scan: Scan, source: Side) -> Scan:
    """The scan with columns read so that numbers are found by their names, where the source has
    brought such."""
    named = frozenset[int]().union(*(part.named for part in source.parts.values()))
    if not named:
        return scan
    columns = (
        replace(column, merges=column.merges or i in named) for i, column in enumerate(scan.columns)
    )
    return replace(scan, columns=tuple(columns))
