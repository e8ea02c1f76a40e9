"""The story of a verification alone: read both sides, compare, and point at what differs.

Nothing is written on either side, and no earlier run is needed: what is compared follows from the
two schemas as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from tableferry.casts import CastRule, Offers, makes, parse_all
from tableferry.comparison import Comparison, Side, require_all_rows
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Dialect, Endpoint
from tableferry.errors import MisfitFound, RunFailed
from tableferry.events import Observer, PhaseBegins, PhaseEnds
from tableferry.jobs import Jobs, Urgency
from tableferry.kinds import NAMED_NUMBERS
from tableferry.model import (
    Candidate,
    Column,
    Difference,
    Outcome,
    Range,
    ReadColumn,
    Scan,
    Schema,
    Survey,
    Table,
    TableName,
    TableOutcome,
    scan_of,
)
from tableferry.naming import Destination, called, column_names, counterpart
from tableferry.running import (
    Clock,
    default_workers,
    jobs_over,
    require_tables,
    require_two_databases,
    started_executor,
    status_of,
)
from tableferry.selection import Selection
from tableferry.sql import fold
from tableferry.tasks import (
    CountRows,
    DigestRange,
    Part,
    Speller,
    SurveyRange,
    count_rows,
    digest_range,
    survey_range,
)
from tableferry.versions import versions


@dataclass(frozen=True, slots=True)
class VerificationOptions:
    workers: int = field(default_factory=default_workers)
    selection: Selection = field(default_factory=Selection)
    # Rules as the user writes them; see casts.py.
    casts: tuple[str, ...] = ()


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
        outcomes: dict[TableName, TableOutcome] = {}
        beside: list[str] = []
        with clock.phase("verify"):
            size = sum(table.size for table in schema.tables)
            executor = stack.enter_context(started_executor(size, options.workers, observe))
            jobs = stack.enter_context(jobs_over(executor))
            for table in schema.tables:
                other = table_like(table.name, everything, found, dialects[1])
                if other is None:
                    outcomes[table.name] = _absent(table, mine.count(table.name))
                    continue
                check = _TableCheck(ends, (table, other), jobs, observe, outcomes)
                beside += [f"{other.name}.{column}" for column in check.beside]
                check.begin((mine.ranges(table), theirs.ranges(other)))
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
            warnings=_not_compared(tables, found, beside),
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
            workers=options.workers,
        )


@dataclass(frozen=True, slots=True)
class Ends:
    source: Endpoint
    target: Endpoint
    source_dialect: Dialect
    target_dialect: Dialect
    rules: tuple[CastRule, ...] = ()


def table_like(name: TableName, mine: Schema, theirs: Schema, dialect: Dialect) -> Table | None:
    """The table that stands for one of ``mine``: of the name that it gets in the target, or of
    one that is alike."""
    there = {table.name.name: table for table in theirs.tables}
    own = called(name, mine.home)
    for wanted in (dialect.fit_name(own), dialect.fit_name(fold(own))):
        if wanted in there:
            return there[wanted]
    names = [called(table.name, mine.home) for table in mine.tables]
    found = counterpart(own, names, there)
    return there[found] if found is not None else None


def _absent(table: Table, rows: int) -> TableOutcome:
    return TableOutcome(
        source=str(table.name),
        target="",
        verdict="differs",
        source_rows=rows,
        target_rows=0,
        differences=(Difference(str(table.name), "missing", (), source="the whole table"),),
    )


def _not_compared(
    tables: tuple[TableOutcome, ...], theirs: Schema, columns: list[str]
) -> tuple[str, ...]:
    compared = {table.target for table in tables}
    extra = [str(table.name) for table in theirs.tables if str(table.name) not in compared]
    extra += columns
    return (f"Only in the target, not compared: {', '.join(extra)}",) if extra else ()


class _TableCheck:
    """One table on both sides, from its ranges to its outcome."""

    def __init__(
        self,
        ends: Ends,
        tables: tuple[Table, Table],
        jobs: Jobs,
        observe: Observer,
        outcomes: dict[TableName, TableOutcome],
    ) -> None:
        self._ends = ends
        self._mine, self._theirs = tables
        self._jobs = jobs
        self._observe = observe
        self._outcomes = outcomes
        self._pairs, self._unmatched, self.beside = pair_columns(ends, *tables)
        # Set when a value did not fit strictly: then other storage classes are taken by their
        # text, as the migration does where it has to.
        self._merging = False
        self._sides: tuple[Side, Side]

    def begin(self, ranges: tuple[tuple[Range, ...], tuple[Range, ...]]) -> None:
        self._sides = (
            Side(self._ends.source, self._scan(self._mine, 0), ranges[0], speller=self._speller()),
            Side(self._ends.target, self._scan(self._theirs, 1), ranges[1]),
        )
        self._observe(PhaseBegins("verify", self._mine.name, 2 * self._mine.rows))
        for side in self._sides:
            for part in side.ranges:
                job = DigestRange(side.endpoint, side.scan, part, self._mine.name, side.speller)
                self._add(digest_range, job, partial(self._digested, side, part))
            job_count = CountRows(side.endpoint, side.scan.table)
            self._add(count_rows, job_count, partial(self._counted, side))

    @property
    def _untyped(self) -> int:
        """The number of the side whose columns may hold what their types do not say."""
        ends = self._ends
        return 1 if ends.source_dialect.typed and not ends.target_dialect.typed else 0

    def _speller(self) -> Speller | None:
        """PostgreSQL's native types are compared in its own spelling."""
        if all(candidate.kind.name != "native" for *_, candidate in self._pairs):
            return None
        return Speller(self._ends.target, self._scan(self._theirs, 1))

    def _scan(self, table: Table, number: int) -> Scan:
        # What comes of a database whose columns hold what their types say is never merged, but
        # some numbers stand by their names.
        typed = self._ends.source_dialect.typed
        columns = tuple(
            ReadColumn(
                pair[number],
                candidate.kind,
                self._merging and not (typed and candidate.kind.name not in NAMED_NUMBERS),
                candidate.using,
            )
            for *pair, candidate in self._pairs
        )
        names = [mine.name for mine, _, _ in self._pairs]
        key = self._mine.primary_key
        positions = (
            tuple(map(names.index, key.columns)) if key and set(key.columns) <= set(names) else ()
        )
        return scan_of(table, columns, positions)

    def _add(
        self,
        task: Callable[[Any], Any],
        argument: Any,
        then: Callable[[Any], None],
        urgency: Urgency = Urgency.DIGEST,
    ) -> None:
        sides = self._sides

        def wanted(result: Any) -> None:
            # What an earlier, stricter reading still brings in is of no use.
            if self._sides is sides:
                then(result)

        def failed(error: Exception) -> None:
            if not isinstance(error, MisfitFound):
                raise error
            if self._sides is sides:
                self._read_again()

        self._jobs.add(task, argument, wanted, urgency=urgency, size=self._mine.size, failed=failed)

    def _digested(self, side: Side, part: Range, result: Part) -> None:
        side.parts[part.number] = result
        self._compare_when_complete()

    def _counted(self, side: Side, count: int) -> None:
        side.count = count
        self._compare_when_complete()

    def _compare_when_complete(self) -> None:
        mine, theirs = self._sides
        if not (mine.complete and theirs.complete):
            return
        short = any(side.rows != side.count for side in self._sides)
        if short and (not self._merging or self._untyped == 1):
            # The fast read leaves out rows that it would misread.
            self._read_again()
            return
        Comparison(mine, theirs, self._add, self._compared).conclude()

    def _read_again(self) -> None:
        ranges = tuple(side.ranges for side in self._sides)
        source, target = self._ends.source_dialect, self._ends.target_dialect
        if not self._merging:
            self._merging = True
            if source.name == target.name and not source.typed:
                # There is a reading that takes every value as it is.
                self._pairs = [
                    (mine, theirs, source.own_candidates(mine)[-1])
                    for mine, theirs, _ in self._pairs
                ]
            self.begin((ranges[0], ranges[1]))
            return
        # Values that no reading makes fit: they cannot be equal to anything on the other side.
        number = self._untyped
        side = self._sides[number]
        candidates = tuple(
            (Candidate(column.kind, column.merges),)
            if number
            else _readings(column, target.demanded(theirs))
            for column, (_, theirs, _) in zip(side.scan.columns, self._pairs, strict=True)
        )
        found: list[Survey] = []
        self._sides = (replace(self._sides[0]), replace(self._sides[1]))

        def surveyed(survey: Survey) -> None:
            found.append(survey)
            if len(found) == len(side.ranges):
                survey = sum(found[1:], found[0])
                if number:
                    self._compared(self._misfit_outcome(survey, number))
                else:
                    self._surveyed(survey)

        speller = None if number else self._ends.target
        for part in side.ranges:
            job = SurveyRange(side.endpoint, side.scan, candidates, part, speller)
            self._add(survey_range, job, surveyed)

    def _surveyed(self, survey: Survey) -> None:
        chosen = [
            next((finding.candidate for finding in findings if not finding.misfits), None)
            for findings in survey.findings
        ]
        before = [candidate.using for _, _, candidate in self._pairs]
        if None in chosen or before == [c.using for c in chosen if c is not None]:
            self._compared(self._misfit_outcome(survey, 0))
            return
        self._pairs = [
            (mine, theirs, candidate)
            for (mine, theirs, _), candidate in zip(self._pairs, chosen, strict=True)
            if candidate is not None
        ]
        ranges = tuple(side.ranges for side in self._sides)
        self.begin((ranges[0], ranges[1]))

    def _misfit_outcome(self, survey: Survey, number: int) -> TableOutcome:
        """``number`` of the side that has values which the other cannot have."""
        name = str(self._mine.name)

        listed = []
        for (mine, theirs, _), findings in zip(self._pairs, survey.findings, strict=True):
            other = f"a {(theirs, mine)[number].declared}, which cannot hold it"
            for example in findings[0].examples:
                values = (other, example.value) if number else (example.value, other)
                listed.append(Difference(name, "changed", example.key, mine.name, *values))
        total = sum(findings[0].misfits for findings in survey.findings)
        if not total:
            for side in self._sides:
                if side.complete:
                    require_all_rows(side)
            raise RunFailed(
                f"Table {name} cannot be compared: values of {self._theirs.name} in the target are "
                "not of the types of their columns."
            )
        return TableOutcome(
            source=name,
            target=str(self._theirs.name),
            verdict="differs",
            source_rows=self._sides[0].count or 0,
            target_rows=self._sides[1].count or 0,
            differences=tuple(listed),
            more_differences=total - len(listed),
            search_cut_short=True,
        )

    def _compared(self, outcome: TableOutcome) -> None:
        self._observe(PhaseEnds("verify", self._mine.name))
        outcome = self._sides[0].counted(outcome)
        if self._unmatched:
            outcome = replace(
                outcome,
                verdict="differs",
                differences=(*self._unmatched, *outcome.differences),
            )
        self._outcomes[self._mine.name] = outcome


def _readings(column: ReadColumn, demanded: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """What is tried on values that did not fit: the rule's conversion; none, since the column
    may have come to its type in spite of the rule; and what an application's column demands."""
    plain = Candidate(column.kind, merges=True)
    ruled = (replace(plain, using=column.using),) if column.using else ()
    return (*ruled, plain, *(candidate for candidate in demanded if candidate.using))


ColumnPair = tuple[Column, Column, Candidate]


def pair_columns(
    ends: Ends, mine: Table, theirs: Table
) -> tuple[list[ColumnPair], tuple[Difference, ...], tuple[str, ...]]:
    """Columns of one name with the kind to compare them as; those that the target lacks, which is
    a difference; and the names of those that it has beside, as an application may."""
    pairs: list[ColumnPair] = []
    unmatched = []
    there = {column.name: column for column in theirs.columns}
    left = dict(there)
    own = [column.name for column in mine.columns]
    names = column_names(mine, Destination(ends.target_dialect, ""))
    lower = column_names(mine, Destination(ends.target_dialect, "", lower=True))
    for column in mine.columns:
        wanted = names[column.name]
        other = there.get(wanted) or there.get(lower[column.name])
        if other is None and (alike := counterpart(column.name, own, there)) is not None:
            other = there[alike]
        if other is None:
            unmatched.append(_unmatched(mine, "missing", column))
            continue
        left.pop(other.name, None)
        pairs.append((column, other, _common_candidate(ends, mine, column, other)))
    return pairs, tuple(unmatched), tuple(left)


def _unmatched(table: Table, what: Literal["missing", "extra"], column: Column) -> Difference:
    return Difference(str(table.name), what, (), column.name, source="the whole column")


def _common_candidate(ends: Ends, table: Table, mine: Column, theirs: Column) -> Candidate:
    """What both columns can be read as: of two dialects, what the one whose columns say what they
    hold reads, and the other takes as well. How values are converted to it, where the storage class
    does not say, is for the user's rules."""
    source, target = ends.source_dialect, ends.target_dialect
    if source.name == target.name:
        return _in_common(target.own_candidates(theirs), source.own_candidates(mine))
    if source.typed and not target.typed:
        return _in_common(source.candidates(mine), target.candidates(theirs))
    candidate = _in_common(target.candidates(theirs), source.candidates(mine))
    ruled = [rule.candidate.using for rule in ends.rules if rule.concerns(table, mine)]
    # A column that was widened in spite of its rule holds values as they were.
    if ruled and makes(ruled[-1], candidate.kind):
        return replace(candidate, using=ruled[-1])
    return candidate


def _in_common(wanted: Sequence[Candidate], other: Sequence[Candidate]) -> Candidate:
    """The first of the one side's that the other has too; where it has none, the last, which is
    the most that can be said of a value."""
    kinds = {candidate.kind for candidate in other}
    return next((c for c in wanted if c.kind in kinds), wanted[-1])
