"""Both sides of a table brought together: the verdict, and what to read again where they differ.

Used by the migration and by the verification alone, so that "verified" means one thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from tableferry import differences
from tableferry.dialects.base import Endpoint
from tableferry.digest import BucketedDigest
from tableferry.errors import RunFailed
from tableferry.jobs import Urgency
from tableferry.model import Range, RangeDigest, Scan, TableOutcome
from tableferry.tasks import FetchRows, Part, Speller, fetch_rows

# Rows of one table that are read again at most to name its differences, on each side.
_SEARCHED_ROWS = 100_000
MAX_LISTED = 100


# Queues task(argument), whose result goes to the third.
AddJob: TypeAlias = Callable[[Callable[[Any], Any], Any, Callable[[Any], None], Urgency], None]


@dataclass
class Side:
    """What has come in of one side of a table: its ranges, and its count without an index."""

    endpoint: Endpoint
    scan: Scan
    ranges: tuple[Range, ...] = ()
    parts: dict[int, Part] = field(default_factory=dict)
    count: int | None = None
    # Of the source: in whose spelling native values are compared.
    speller: Speller | None = None

    @property
    def complete(self) -> bool:
        return len(self.parts) == len(self.ranges) and self.count is not None

    @property
    def digest(self) -> BucketedDigest:
        return sum((part.digest for part in self.parts.values()), BucketedDigest.empty())

    @property
    def rows(self) -> int:
        return sum(int(part.digest.rows.sum()) for part in self.parts.values())

    @property
    def bytes(self) -> int:
        """Of all values, as Arrow holds them."""
        return sum(part.bytes for part in self.parts.values())

    @property
    def respelled(self) -> Counter[int]:
        """By column position: how many values were read in another spelling, or converted."""
        return sum((Counter(dict(part.respelled)) for part in self.parts.values()), Counter())

    def counted(self, outcome: TableOutcome) -> TableOutcome:
        """The outcome with the columns whose values were respelled, or converted by meaning."""
        counts = [(self.scan.columns[i], n) for i, n in sorted(self.respelled.items())]
        return replace(
            outcome,
            normalised=tuple((c.column.name, n) for c, n in counts if not c.using),
            converted=tuple((c.column.name, n) for c, n in counts if c.using),
        )

    @property
    def rejected(self) -> int:
        return sum(part.rejected for part in self.parts.values())

    @property
    def range_digests(self) -> tuple[RangeDigest, ...]:
        return tuple(
            RangeDigest(number, total.rows, total.total, part.seconds, part.bytes)
            for number, part in sorted(self.parts.items())
            for total in [part.digest.digest]
        )


class Comparison:
    """One table's two sides; ``done`` is called once with the outcome."""

    def __init__(
        self, source: Side, target: Side, add: AddJob, done: Callable[[TableOutcome], None]
    ) -> None:
        self.source = source
        self.target = target
        self._add = add
        self._done = done
        self._fetched: dict[int, list[pa.Table]] = {0: [], 1: []}
        self._awaited = 0

    def conclude(self) -> None:
        """Once both sides are complete: the verdict, or first a second look at what differs."""
        for side in (self.source, self.target):
            require_all_rows(side)
        mine, theirs = self.source.digest, self.target.digest
        buckets = mine.differing(theirs)
        if not buckets:
            self._done(self._outcome("verified"))
            return
        self._searched = tuple(_affordable(buckets, mine, theirs))
        self._cut_short = len(self._searched) < len(buckets)
        for number, side in enumerate((self.source, self.target)):
            for part in side.ranges:
                self._awaited += 1
                self._add(
                    fetch_rows,
                    FetchRows(side.endpoint, side.scan, part, self._searched, side.speller),
                    partial(self._fetch, number),
                    Urgency.FINISH,
                )

    def _fetch(self, side: int, rows: pa.Table) -> None:
        self._fetched[side].append(rows)
        self._awaited -= 1
        if self._awaited:
            return
        source, target = (pa.concat_tables(self._fetched[side]) for side in (0, 1))
        found = differences.between(source, target, self.target.scan)
        outcome = replace(
            self._outcome("differs"),
            differences=tuple(found[:MAX_LISTED]),
            more_differences=max(0, len(found) - MAX_LISTED),
            search_cut_short=self._cut_short,
        )
        self._done(outcome)

    def _outcome(self, verdict: Literal["verified", "differs"]) -> TableOutcome:
        source, target = self.source.digest.digest, self.target.digest.digest
        return TableOutcome(
            source=str(self.source.scan.table),
            target=str(self.target.scan.table),
            verdict=verdict,
            source_rows=source.rows + self.source.rejected,
            target_rows=target.rows,
            rejected=self.source.rejected,
            source_digest=source.hex(),
            target_digest=target.hex(),
            bytes=self.source.bytes,
            source_ranges=self.source.range_digests,
            target_ranges=self.target.range_digests,
        )


def require_all_rows(side: Side) -> None:
    """Raises RunFailed where a side's ranges did not bring all rows that the table counts."""
    if side.rows + side.rejected != side.count:
        raise RunFailed(
            f"{side.endpoint}, table {side.scan.table}: {side.count} rows are counted, "
            f"but {side.rows + side.rejected} were read.",
            hint="An index or the file may be damaged, or the table changed meanwhile.",
        )


def _affordable(
    buckets: Iterable[int], mine: BucketedDigest, theirs: BucketedDigest
) -> Iterator[int]:
    """As many buckets as may be read again; at least one."""
    budget = _SEARCHED_ROWS
    for number in buckets:
        if budget <= 0:
            return
        budget -= max(int(mine.rows[number]), int(theirs.rows[number]))
        yield number
