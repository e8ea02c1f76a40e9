"""One table after another, from the source into the target: copy, keys, indexes, read back.

Every table goes through the same states, each started by the end of the one before:

    copy ─▶ count ─▶ keys ─▶ indexes and read back ─▶ comparison
     ▲ │      │
     │ ▼      ▼
     │ survey (a value did not fit, or rows were left out of the fast read)
     └── create anew under the next generation
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tableferry.casts import Offers
from tableferry.comparison import Comparison, Side
from tableferry.dialects.base import Dialect, Endpoint, Session, Statements, TargetSession
from tableferry.errors import DatabaseError, MisfitFound, RunFailed
from tableferry.events import Note, Observer, Phase, PhaseBegins, PhaseEnds
from tableferry.jobs import Jobs, Urgency
from tableferry.ledger import Ledger
from tableferry.model import (
    ForeignKey,
    LeftBehind,
    MisfitPolicy,
    Plan,
    Range,
    Schema,
    Survey,
    TableName,
    TableOutcome,
    TablePlan,
)
from tableferry.plan import make_plan, next_generation
from tableferry.rejects import RejectFolder
from tableferry.tasks import (
    CopyRange,
    CountRows,
    DigestRange,
    Part,
    RunStatements,
    SurveyRange,
    copy_range,
    count_rows,
    digest_range,
    run_statements,
    survey_range,
)

# What a key or index may fail with without the data being wrong: integrity violations (23),
# statements that make no sense for the types at hand (42), limits of the server (54).
_NAMED_CLASSES = ("23", "42", "54")


@dataclass(frozen=True, slots=True)
class Route:
    """Both ends of a load and what they can do."""

    source: Endpoint
    target: Endpoint
    offers: Offers
    target_dialect: Dialect
    target_schema: str
    rejects: RejectFolder

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.target_schema)


@dataclass
class _Load:
    """Where one table stands."""

    plan: TablePlan
    source: Side
    target: Side
    unfinished: int = 0
    misfit: bool = False
    # Where set, the table is loaded again as soon as its running jobs have ended.
    again: bool = False
    survey: Survey | None = None
    respelled: dict[int, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)


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
        misfit: MisfitPolicy = "widen",
    ) -> None:
        self._route = route
        self._schema = schema
        self._jobs = jobs
        self._source_session, self._target_session = sessions
        self._observe = observe
        self._misfit = misfit
        self._rejecting: set[TableName] = set()
        self._surveys: dict[TableName, Survey] = {}
        self._loads: dict[TableName, _Load] = {}
        self._outcomes: dict[TableName, TableOutcome] = {}
        self._left: list[LeftBehind] = []
        # When the first table began a phase, and when the last one ended it.
        self._spans: dict[Phase, tuple[float, float]] = {}
        self.plan = self._make_plan()

    def _make_plan(self) -> Plan:
        route = self._route
        plan = make_plan(
            self._schema,
            route.offers,
            route.target_dialect,
            route.target_schema,
            self._surveys,
        )
        return replace(
            plan,
            tables=tuple(
                replace(table, rejecting=table.source.name in self._rejecting)
                for table in plan.tables
            ),
        )

    @property
    def _statements(self) -> Statements:
        return self._route.target_dialect.statements

    @property
    def left_behind(self) -> tuple[LeftBehind, ...]:
        return (*self.plan.left_behind, *self._left)

    @property
    def outcomes(self) -> tuple[TableOutcome, ...]:
        return tuple(self._outcomes[table.source.name] for table in self.plan.tables)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds from the first table's start of a phase to the last one's end; they overlap."""
        return {phase: end - begin for phase, (begin, end) in self._spans.items()}

    def create_all(self, facts: Mapping[str, str]) -> None:
        """The ledger and every table, in one transaction: all of them are there, or none."""
        self._route.ledger.create(self._target_session, facts)
        for table in self.plan.tables:
            self._create(table)
        self._target_session.commit()

    def run(self) -> None:
        for table in self.plan.tables:
            self._start(table)
        self._jobs.run()
        self._add_foreign_keys()

    def finish(self) -> None:
        """Identity columns and their next values, and the end of the ledger: for good."""
        for table in self.plan.tables:
            if table.target.identity is not None:
                self._target_session.execute(self._statements.add_identity(table.target))
                self._target_session.execute(self._statements.set_next_identity(table.target))
        if all(outcome.verdict == "verified" for outcome in self.outcomes):
            self._route.ledger.drop(self._target_session)
        self._target_session.commit_for_good()

    def _create(self, table: TablePlan) -> None:
        self._target_session.execute(self._statements.create_table(table.target))
        self._route.ledger.begin_table(self._target_session, table.target.name, table.generation)

    def _start(self, table: TablePlan) -> None:
        pair = table.pair
        load = _Load(
            table,
            Side(self._route.source, pair.source, self._source_session.ranges(table.source)),
            Side(self._route.target, pair.target),
        )
        self._loads[table.source.name] = load
        self._begin(load, "copy", table.source.rows)
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
                ),
                partial(self._copied, load, part),
                Urgency.COPY,
                failed=partial(self._copy_failed, load),
            )

    def _add(
        self,
        load: _Load,
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
        )

    def _when_idle(self, load: _Load) -> None:
        if load.unfinished or self._loads[load.plan.source.name] is not load:
            return
        if load.again:
            self._create_anew(load)
        elif load.misfit and load.survey is None:
            self._begin_survey(load)

    # Copy

    def _copied(self, load: _Load, part: Range, result: Part) -> None:
        load.source.parts[part.number] = result
        for column, count in result.respelled:
            load.respelled[column] = load.respelled.get(column, 0) + count
        if load.misfit or load.again or len(load.source.parts) < len(load.source.ranges):
            return
        self._end(load, "copy")
        self._add(
            load,
            count_rows,
            CountRows(self._route.source, load.plan.source.name),
            partial(self._counted_source, load),
            Urgency.KEYS,
        )

    def _counted_source(self, load: _Load, count: int) -> None:
        load.source.count = count
        if load.source.rows + load.source.rejected == count:
            self._add_keys(load)
        else:
            # The fast read leaves out rows it would misread: find out which and why.
            load.misfit = True

    def _copy_failed(self, load: _Load, error: Exception) -> None:
        if not isinstance(error, MisfitFound):
            raise error
        load.misfit = True
        self._withdraw(load)

    def _withdraw(self, load: _Load) -> None:
        load.unfinished -= self._jobs.withdraw(
            lambda job: (
                isinstance(job, CopyRange) and job.pair.source.table == load.plan.source.name
            )
        )

    # Survey

    def _begin_survey(self, load: _Load) -> None:
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
            job = SurveyRange(self._route.source, load.source.scan, candidates, part)
            self._add(load, survey_range, job, surveyed, Urgency.SURVEY)

    def _plan_again(self, load: _Load) -> None:
        assert load.survey is not None
        name = load.plan.source.name
        self._surveys[name] = load.survey
        if self._misfit == "reject":
            self._surveys[name] = _declared_types_kept(load.plan, load.survey)
            self._rejecting.add(name)
        old, new = self.plan, self._make_plan()
        if self._misfit == "stop" and new.table(name).widened:
            raise RunFailed(
                _first_misfit(new.table(name)),
                hint="Correct the values, or let --misfit widen give the column a wider type.",
            )
        self.plan = next_generation(old, new)
        if self.plan.table(name).generation == load.plan.generation:
            raise RunFailed(
                _misread(load),
                hint="An index or the file may be damaged: run PRAGMA integrity_check.",
            )
        for table in self.plan.tables:
            other = self._loads[table.source.name]
            if table.generation != other.plan.generation:
                other.again = True
                self._withdraw(other)
                self._observe(Note(_why_again(table)))
                if other is not load:
                    self._when_idle(other)

    def _create_anew(self, load: _Load) -> None:
        table = self.plan.table(load.plan.source.name)
        self._outcomes.pop(table.source.name, None)
        self._target_session.execute(self._statements.drop_tables([load.plan.target.name]))
        self._create(table)
        self._target_session.commit()
        self._start(table)

    # Keys, indexes, read back

    def _add_keys(self, load: _Load) -> None:
        """The keys one after the other: each wants the table for itself."""
        statements = self._key_statements(load.plan)
        if not statements:
            self._add_indexes(load)
            return
        self._begin(load, "index", 0)

        def next_key() -> None:
            if statements:
                self._try(load, *statements.pop(0), Urgency.KEYS, next_key)
            else:
                self._add_indexes(load)

        next_key()

    def _key_statements(self, table: TablePlan) -> list[tuple[str, LeftBehind]]:
        """Each with what is to be said where the target refuses it."""
        add_key = self._statements.add_key
        source, target = table.source, table.target
        keys = []
        if source.primary_key is not None and target.primary_key is not None:
            keys.append((target.primary_key, source.primary_key, "primary key"))
        keys += [
            (key, named, "unique constraint")
            for key, named in zip(target.uniques, source.uniques, strict=True)
        ]
        return [
            (
                add_key(target.name, key, primary=what == "primary key"),
                LeftBehind(what, ", ".join(named.columns), source.name.name, ""),
            )
            for key, named, what in keys
        ]

    def _try(
        self,
        load: _Load,
        statement: str,
        otherwise: LeftBehind,
        urgency: Urgency,
        then: Callable[[], None],
    ) -> None:
        """A statement that may fail on the data it meets: then its object is left behind."""

        def refused(error: Exception) -> None:
            self._leave(otherwise, error)
            then()

        job = RunStatements(self._route.target, (statement,), f"table {load.plan.target.name}")
        self._add(load, run_statements, job, lambda _: then(), urgency, failed=refused)

    def _leave(self, left: LeftBehind, error: Exception) -> None:
        """Names what the target refused; an error of another class ends the run."""
        if not isinstance(error, DatabaseError) or error.sqlstate[:2] not in _NAMED_CLASSES:
            raise error
        self._left.append(replace(left, reason=error.message))

    def _add_indexes(self, load: _Load) -> None:
        if load.again:
            return
        create_index = self._statements.create_index
        unbuilt = [
            (create_index(load.plan.target.name, planned), named)
            for planned, named in zip(
                load.plan.target.indexes, load.plan.source.indexes, strict=True
            )
        ]
        remaining = itertools.count(len(unbuilt) - 1, -1)

        def built() -> None:
            if next(remaining) <= 0:
                self._end(load, "index")

        if not unbuilt:
            built()
        for statement, index in unbuilt:
            self._begin(load, "index", 0)
            left = LeftBehind("index", index.name, load.plan.source.name.name, "")
            self._try(load, statement, left, Urgency.INDEX, built)
        self._read_back(load)

    def _read_back(self, load: _Load) -> None:
        table, target = load.plan.target, self._route.target
        self._begin(load, "verify", load.plan.source.rows)
        load.target.ranges = self._target_session.ranges(table)
        self._target_session.rollback()
        for part in load.target.ranges:
            job = DigestRange(target, load.target.scan, part, load.plan.source.name)
            self._add(
                load,
                digest_range,
                job,
                partial(self._digested, load, part),
                Urgency.DIGEST,
            )
        self._add(
            load,
            count_rows,
            CountRows(target, table.name),
            partial(self._counted_target, load),
            Urgency.DIGEST,
        )

    def _digested(self, load: _Load, part: Range, result: Part) -> None:
        load.target.parts[part.number] = result
        self._compare_when_complete(load)

    def _counted_target(self, load: _Load, count: int) -> None:
        load.target.count = count
        self._compare_when_complete(load)

    def _compare_when_complete(self, load: _Load) -> None:
        if not load.target.complete or load.again:
            return
        Comparison(
            load.source, load.target, partial(self._add, load), partial(self._compared, load)
        ).conclude()

    def _compared(self, load: _Load, outcome: TableOutcome) -> None:
        if load.again:
            return
        self._end(load, "verify")
        names = [column.name for column in load.plan.source.columns]
        counts = sorted(load.respelled.items())
        ruled = [candidate.using for candidate in load.plan.candidates]
        self._outcomes[load.plan.source.name] = replace(
            outcome,
            # The dictionary itself: an index may still be building while rows are compared.
            seconds=load.seconds,
            normalised=tuple((names[column], n) for column, n in counts if not ruled[column]),
            converted=tuple((names[column], n) for column, n in counts if ruled[column]),
            rejects_file=self._join_rejects(load),
            plan=load.plan,
        )

    def _join_rejects(self, load: _Load) -> str:
        if not load.plan.rejecting:
            return ""
        return str(self._route.rejects.join(load.plan.pair, load.source.ranges))

    # Finish

    def _add_foreign_keys(self) -> None:
        """Foreign keys, when all that they refer to is there; then statistics for the planner."""
        for table in self.plan.tables:
            load = self._loads[table.source.name]
            for key in table.target.foreign_keys:
                left = LeftBehind(
                    "foreign key",
                    f"({', '.join(key.columns)}) to {key.parent}",
                    table.source.name.name,
                    "",
                )
                self._add_foreign_key(load, key, left)
            statement = self._statements.analyze(table.target.name)
            job = RunStatements(self._route.target, (statement,), f"table {table.target.name}")
            self._add(load, run_statements, job, lambda _: None, Urgency.FINISH)
        self._jobs.run()

    def _add_foreign_key(self, load: _Load, key: ForeignKey, left: LeftBehind) -> None:
        target = self._target_session
        try:
            target.execute(self._statements.add_foreign_key(load.plan.target.name, key))
            target.commit()
        except DatabaseError as error:
            target.rollback()
            self._leave(left, error)
            return
        statement = self._statements.validate_foreign_key(load.plan.target.name, key)
        unproven = replace(left, what="proof of foreign key")
        self._try(load, statement, unproven, Urgency.INDEX, lambda: None)

    # Times

    def _begin(self, load: _Load, phase: Phase, rows: int) -> None:
        if phase not in load.began:
            load.began[phase] = time.perf_counter()
            self._spans.setdefault(phase, (load.began[phase], load.began[phase]))
            self._observe(PhaseBegins(phase, load.plan.source.name, rows))

    def _end(self, load: _Load, phase: Phase) -> None:
        if phase in load.began:
            now = time.perf_counter()
            load.seconds[phase] = now - load.began[phase]
            self._spans[phase] = (self._spans[phase][0], now)
            self._observe(PhaseEnds(phase, load.plan.source.name))


def _misread(load: _Load) -> str:
    name = load.plan.source.name
    if load.source.count is None:
        return f"Table {name}: a value was read that does not fit, and then all values fitted."
    return (
        f"Table {name}: {load.source.count} rows are counted, but {load.source.rows} were read, "
        "and all values fit."
    )


def _declared_types_kept(plan: TablePlan, survey: Survey) -> Survey:
    """The survey as if all values fitted, but for columns that have no type to hold on to: none
    declared, and none by a rule."""
    return replace(
        survey,
        findings=tuple(
            (replace(findings[0], misfits=0), *findings[1:])
            if column.typed or findings[0].candidate.ruled
            else findings
            for column, findings in zip(plan.source.columns, survey.findings, strict=True)
        ),
    )


def _first_misfit(table: TablePlan) -> str:
    widening = table.widened[0]
    shown = ""
    if widening.examples:
        example = widening.examples[0]
        key = ", ".join(f"{name} = {value}" for name, value in example.key)
        shown = f": {example.value}" + (f" at {key}" if key else "")
    return (
        f"Table {table.source.name}, column {widening.column}: {widening.count} values do not fit "
        f"{widening.planned}{shown}."
    )


def _why_again(table: TablePlan, most: int = 5) -> str:
    if table.rejecting:
        return f"{table.source.name} is loaded again without the rows that do not fit"
    columns = [f"{w.column} {w.planned} → {w.became}" for w in table.widened]
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    listed = ", ".join(columns[:most])
    return f"{table.source.name} is loaded again with wider types: {listed}{more}"
