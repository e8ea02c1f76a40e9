"""One table on both sides of a verification: read, compared, and read otherwise where its values
are not what the columns say."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tableferry.comparison import Comparison, require_all_rows
from tableferry.dialects.base import Session
from tableferry.digest import BUCKETS, spread_ends, spread_over
from tableferry.errors import MisfitFound, RunFailed
from tableferry.events import Observer, PhaseBegins, PhaseEnds
from tableferry.jobs import Jobs, Urgency
from tableferry.kinds import NAMED_NUMBERS
from tableferry.model import (
    Candidate,
    KeyRange,
    Range,
    ReadColumn,
    Scan,
    Spread,
    Survey,
    Table,
    TablePart,
    scan_of,
)
from tableferry.outcomes import MAX_LISTED, Difference, TableOutcome
from tableferry.pairing import Ends, pair_columns
from tableferry.sides import Side
from tableferry.surveying import DigestFitting, SurveyRange, digest_fitting, survey_range
from tableferry.tasks import (
    CountRows,
    DigestRange,
    Part,
    Speller,
    count_rows,
    digest_range,
)

# Of smaller tables all rows are as soon read again as a few.
_SPREAD_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Looking:
    """How a table is looked at: how many differences are listed, and how many percent of the rows
    are read, where that is not all."""

    listed: int = MAX_LISTED
    sample: float | None = None


class TableCheck:
    """One table on both sides, from its ranges to its outcome."""

    def __init__(
        self,
        ends: Ends,
        tables: tuple[Table, Table],
        jobs: Jobs,
        observe: Observer,
        looking: Looking,
        done: Callable[[TableOutcome], None],
    ) -> None:
        self._ends = ends
        self._mine, self._theirs = tables
        self._jobs = jobs
        self._observe = observe
        self._looking = looking
        self._done = done
        self._pairs, self._unmatched = pair_columns(ends, *tables)
        # Set when a value did not fit strictly: then other storage classes are taken by their
        # text, as the migration does where it has to.
        self._merging = False
        self._spread: Spread | None = None
        self._sample: tuple[KeyRange, ...] = ()
        # What is known of values that no reading makes fit, and of which side they are.
        self._unfitting: tuple[Survey, int] | None = None
        self._ranges: tuple[tuple[Range, ...], tuple[Range, ...]]
        self._sides: tuple[Side, Side]
        self._misfitting = False

    @property
    def target(self) -> Table:
        return self._theirs

    @property
    def whole(self) -> bool:
        """Whether every column of the target is compared."""
        return len(self._pairs) == len(self._theirs.columns)

    @property
    def sides(self) -> tuple[Side, Side]:
        """As they were compared at last."""
        return self._sides

    @property
    def obstacle(self) -> str:
        """Why rows of the one side cannot be made those of the other; "" where nothing is known to
        speak against it."""
        if self._unmatched:
            names = ", ".join(difference.column for difference in self._unmatched)
            return f"the target has no column {names}"
        if self._misfitting:
            return "it holds values that the columns of the other side cannot hold"
        return ""

    def begin(self, mine: Session, theirs: Session) -> None:
        """Queues everything to read; the sessions say how the tables are cut."""
        self._spread = self._spread_of(mine)
        if self._looking.sample is not None and self._spread is not None:
            self._sample = sampled(self._spread, self._looking.sample)
        self._ranges = mine.ranges(self._mine), theirs.ranges(self._theirs)
        self._read()

    def _spread_of(self, session: Session) -> Spread | None:
        """Of a large table whose key begins with an integer: by what its rows are found again.

        One row in a hundred lies below the spread's ends, and one above, so that a few keys far
        from all others do not make its buckets coarse.
        """
        table, key = self._mine, self._mine.primary_key
        if not key or table.size < _SPREAD_BYTES:
            return None
        kinds = {mine.name: candidate.kind for mine, _, candidate in self._pairs}
        first = key.columns[0]
        if not set(key.columns) <= kinds.keys() or kinds[first].name != "int":
            return None
        ends = session.key_ends(table.name, first, table.rows // 100)
        return spread_over(*ends) if ends else None

    def _read(self) -> None:
        (mine, theirs), sample = self._ranges, self._sample
        self._sides = (
            Side(
                self._ends.source,
                self._scan(self._mine, 0),
                mine,
                speller=self._speller(),
                sample=sample,
            ),
            Side(self._ends.target, self._scan(self._theirs, 1), theirs, sample=sample),
        )
        self._observe(PhaseBegins("verify", self._mine.name, 2 * self._mine.rows))
        for number, side in enumerate(self._sides):
            if self._unfitting is not None and self._unfitting[1] == number:
                side.scan = replace(side.scan, rejecting=True)
                self._digest_fitting(side)
                self._count(side)
            elif len(side.read) == 1 and not side.sampled:
                self._digest(side, counted=True)
            else:
                self._digest(side)
                self._count(side)

    def _count(self, side: Side) -> None:
        job = CountRows(side.endpoint, side.scan.table)
        self._add(count_rows, job, partial(self._counted, side))

    def _digest(self, side: Side, *, counted: bool = False) -> None:
        for part in side.read:
            job = DigestRange(
                side.endpoint, side.scan, part, self._mine.name, side.speller, counted=counted
            )
            self._add(digest_range, job, partial(self._digested, side, part))

    def _digest_fitting(self, side: Side) -> None:
        for part in side.read:
            job = DigestFitting(
                side.endpoint,
                side.scan,
                part,
                self._mine.name,
                side.speller,
                self._looking.listed,
            )
            self._add(digest_fitting, job, partial(self._digested, side, part))

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
        return replace(scan_of(table, columns, positions), spread=self._spread)

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

        self._jobs.add(
            task,
            argument,
            wanted,
            urgency=urgency,
            size=self._mine.size,
            failed=failed,
            about=str(self._mine.name),
        )

    def _digested(self, side: Side, part: TablePart, result: Part) -> None:
        side.parts[part.number] = result
        if result.count is not None:
            side.count = result.count
        self._compare_when_complete()

    def _counted(self, side: Side, count: int) -> None:
        side.count = count
        self._compare_when_complete()

    def _compare_when_complete(self) -> None:
        mine, theirs = self._sides
        if not (mine.complete and theirs.complete):
            return
        short = any(not side.sampled and side.all_rows != side.count for side in self._sides)
        if short and (not self._merging or self._untyped == 1):
            # The fast read leaves out rows that it would misread.
            self._read_again()
            return
        Comparison(mine, theirs, self._add, self._compared, self._looking.listed).conclude()

    def _read_again(self) -> None:
        source, target = self._ends.source_dialect, self._ends.target_dialect
        if not self._merging:
            self._merging = True
            if source.name == target.name and not source.typed:
                # There is a reading that takes every value as it is.
                self._pairs = [
                    (mine, theirs, source.own_candidates(mine)[-1])
                    for mine, theirs, _ in self._pairs
                ]
            self._read()
            return
        if self._unfitting is not None:
            self._compared(self._misfit_outcome(*self._unfitting))
            return
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
                    self._compare_the_rest(survey, number)
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
            self._compare_the_rest(survey, 0)
            return
        self._pairs = [
            (mine, theirs, candidate)
            for (mine, theirs, _), candidate in zip(self._pairs, chosen, strict=True)
            if candidate is not None
        ]
        self._read()

    def _compare_the_rest(self, survey: Survey, number: int) -> None:
        """Values that no reading makes fit cannot be equal to anything on the other side: their
        rows differ, and all others are compared."""
        dialect = (self._ends.source_dialect, self._ends.target_dialect)[number]
        if dialect.typed or not any(findings[0].misfits for findings in survey.findings):
            self._compared(self._misfit_outcome(survey, number))
            return
        if number == 0:
            self._pairs = [
                (mine, theirs, min(findings, key=lambda finding: finding.misfits).candidate)
                for (mine, theirs, _), findings in zip(self._pairs, survey.findings, strict=True)
            ]
        self._unfitting = survey, number
        self._read()

    def _misfit_outcome(self, survey: Survey, number: int) -> TableOutcome:
        """``number`` of the side that has values which the other cannot have."""
        self._misfitting = True
        name = str(self._mine.name)

        listed = []
        for (mine, theirs, _), findings in zip(self._pairs, survey.findings, strict=True):
            other = f"no such value in {(theirs, mine)[number].declared}"
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
        self._done(outcome)


def sampled(spread: Spread, percent: float) -> tuple[KeyRange, ...]:
    """So many percent of the buckets, at least one, chosen at random, as ranges of keys."""
    number = max(1, round(BUCKETS * percent / 100))
    chosen = sorted(random.SystemRandom().sample(range(BUCKETS), number))
    return tuple(
        KeyRange(i, *spread_ends(spread, bucket, bucket + 1)) for i, bucket in enumerate(chosen)
    )


def _readings(column: ReadColumn, demanded: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """What is tried on values that did not fit: the rule's conversion; none, since the column
    may have come to its type in spite of the rule; and what an application's column demands."""
    plain = Candidate(column.kind, merges=True)
    ruled = (replace(plain, using=column.using),) if column.using else ()
    return (*ruled, plain, *(candidate for candidate in demanded if candidate.using))
