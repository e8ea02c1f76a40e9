"""Where two sides of a table differ: the rows of the buckets that differ are read again, counted
by their hashes, and the first of them named to the cell.

    differing buckets ─▶ rounds of so many rows as memory holds
                           │  read by ranges of the key, or by all ranges of the table
                           ▼
                         counts, and the rows of the first buckets in full
                           │  where those were too large to be sent in full
                           ▼
                         rows by their keys' hashes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import starmap

import numpy as np
import pyarrow as pa

from tableferry import differences
from tableferry.differences import Rows
from tableferry.digest import BucketedDigest, HashedRows, spread_ends
from tableferry.errors import SourceChanged
from tableferry.jobs import Urgency
from tableferry.model import KeyRange, Spread, TablePart
from tableferry.outcomes import Difference, DifferingRows, Misfit
from tableferry.sides import AddJob, Side
from tableferry.tasks import FetchRows, Searched, SearchRows, fetch_rows, search_rows

# Rows of one side that are searched at once: 16 bytes each.
_ROUND_ROWS = 2_000_000
# Rows that one job reads by ranges of the key.
_JOB_ROWS = 100_000
# Bytes of rows of one side, as Arrow holds them, that are sent in full on the first look.
_SHOWN_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """How many rows differ, and some of their differences."""

    rows: DifferingRows
    listed: tuple[Difference, ...]


@dataclass
class _Pass:
    """What comes in of one reading of both sides."""

    buckets: tuple[int, ...]
    shown: tuple[int, ...] = ()
    by_key: bool = False
    awaited: int = 0
    results: tuple[list[Searched], list[Searched]] = field(default_factory=lambda: ([], []))


class Search:
    """Of a table whose sides are complete and differ; ``done`` is called once. At most ``most``
    differences are listed."""

    def __init__(
        self, sides: tuple[Side, Side], most: int, add: AddJob, done: Callable[[Found], None]
    ) -> None:
        self._sides = sides
        self._most = most
        self._add = add
        self._done = done
        self._digests = sides[0].digest, sides[1].digest
        # Rows that have no digest, and so none that is equal.
        self._misfits = [np.array(side.misfit_keys, np.uint64) for side in sides]
        self._rows = DifferingRows(0, *map(len, self._misfits))
        # What stands on the other side for values that do not fit: by key and column.
        self._instead: dict[tuple[int, int], str] = {}
        # Which of their keys stand on the other side.
        self._met: set[int] = set()
        self._shown_misfits = [
            (number, misfit) for number, side in enumerate(sides) for misfit in side.misfits
        ][:most]
        self._listed: list[Difference] = []
        # Buckets with differing rows that were not sent in full, and hashes of their keys.
        self._unseen: list[tuple[tuple[int, ...], Sequence[int]]] = []
        # Off as soon as an index has brought other rows than the table holds.
        self._by_key = sides[0].scan.spread is not None

    def begin(self) -> None:
        mine, theirs = self._digests
        self._left_rounds = list(rounds(mine.differing(theirs), self._bucket_rows, _ROUND_ROWS))
        self._next_round()

    def _bucket_rows(self, bucket: int) -> int:
        return max(int(digest.rows[bucket]) for digest in self._digests)

    def _next_round(self) -> None:
        if self._left_rounds:
            self._search(self._left_rounds.pop(0))
        elif self._unseen and self._left > 0:
            self._fetch(self._unseen.pop(0))
        else:
            # A row that stands alone is one, however many of its values do not fit.
            misfits = dict.fromkeys(starmap(self._misfit, self._shown_misfits))
            listed = (*misfits, *self._listed)
            self._done(Found(self._rows, listed[: self._most]))

    def _misfit(self, number: int, misfit: Misfit) -> Difference:
        if misfit.key_hash not in self._met:
            return self._alone(number, misfit)
        there = self._instead.get((misfit.key_hash, misfit.column), "another value")
        shown = (misfit.value, there) if number == 0 else (there, misfit.value)
        column = self._sides[0].scan.columns[misfit.column].column.name
        table = str(self._sides[1].scan.table)
        return Difference(table, "changed", misfit.key, column, *shown)

    def _alone(self, number: int, misfit: Misfit) -> Difference:
        row = Difference(str(self._sides[1].scan.table), "missing", misfit.key, in_source=1)
        return row if number == 0 else replace(row, what="extra", in_source=0, in_target=1)

    def _search(self, buckets: tuple[int, ...]) -> None:
        looking = _Pass(buckets, self._shown_of(buckets), self._by_key)
        for number, side in enumerate(self._sides):
            for part in self._parts(side, buckets):
                looking.awaited += 1
                self._add(
                    search_rows,
                    self._job(side, part, looking),
                    partial(self._searched, looking, number),
                    Urgency.FINISH,
                )

    def _job(self, side: Side, part: TablePart, looking: _Pass) -> SearchRows:
        return SearchRows(
            side.endpoint, side.scan, part, looking.buckets, looking.shown, side.speller
        )

    def _shown_of(self, buckets: tuple[int, ...]) -> tuple[int, ...]:
        """The first buckets, as many as may be sent in full."""
        if self._left <= 0:
            return ()
        row_bytes = max(side.bytes // max(side.rows, 1) for side in self._sides)
        affordable = rounds(buckets, self._bucket_rows, _SHOWN_BYTES // max(row_bytes, 1))
        first = next(affordable)
        fits = sum(map(self._bucket_rows, first)) * row_bytes <= _SHOWN_BYTES
        return first if fits else ()

    def _parts(self, side: Side, buckets: tuple[int, ...]) -> Sequence[TablePart]:
        spread = side.scan.spread
        if spread is None or not self._by_key:
            return side.ranges
        return tuple(key_ranges(spread, buckets, self._bucket_rows))

    def _searched(self, looking: _Pass, number: int, result: Searched) -> None:
        looking.results[number].append(result)
        looking.awaited -= 1
        if looking.awaited == 0:
            self._end_round(looking)

    def _end_round(self, looking: _Pass) -> None:
        for side, digest, results in zip(self._sides, self._digests, looking.results, strict=True):
            again = sum((result.digest for result in results), BucketedDigest.empty())
            if again.alike(digest, looking.buckets):
                continue
            if not looking.by_key:
                raise SourceChanged(
                    f"{side.endpoint}, table {side.scan.table}: rows were changed while it was "
                    "read.",
                    hint="Stop what writes to it, then run again.",
                )
            # A damaged index, say: the table itself is read.
            self._by_key = False
            self._search(looking.buckets)
            return
        source, target = (
            HashedRows.joined([result.rows for result in results]) for results in looking.results
        )
        keyed = bool(self._sides[0].scan.key)
        if keyed:
            source, target = self._without_misfits(source, target)
        found = differences.differing(source, target, keyed=keyed)
        self._rows += found.rows
        scan = self._sides[1].scan
        shown = [
            Rows.of(pa.concat_tables([r.shown for r in results]), scan)
            for results in looking.results
        ]
        self._list(*shown)
        hidden = tuple(b for b in looking.buckets if b not in looking.shown)
        if hidden and self._left > 0:
            seen = np.concatenate([rows.hashes.keys for rows in shown])
            keys = np.setdiff1d(found.keys, seen)[: self._left]
            self._unseen.append((hidden, keys.tolist()))
        self._next_round()

    def _without_misfits(
        self, source: HashedRows, target: HashedRows
    ) -> tuple[HashedRows, HashedRows]:
        """A row of the key of one that does not fit is the same row, changed."""
        of_source = np.isin(source.keys, self._misfits[1])
        of_target = np.isin(target.keys, self._misfits[0])
        missing, extra = int(of_target.sum()), int(of_source.sum())
        self._met.update(source.keys[of_source].tolist(), target.keys[of_target].tolist())
        self._rows += DifferingRows(missing + extra, -missing, -extra)
        return source.where(~of_source), target.where(~of_target)

    @property
    def _left(self) -> int:
        return self._most - len(self._listed) - len(self._shown_misfits)

    def _list(self, source: Rows, target: Rows) -> None:
        scan = self._sides[1].scan
        if scan.key:
            sides = [source, target]
            for number, misfit in self._shown_misfits:
                there = differences.cell(sides[1 - number], scan, misfit)
                if there is not None:
                    self._instead[misfit.key_hash, misfit.column] = there
            source = source.without(self._misfits[1])
            target = target.without(self._misfits[0])
        if self._left > 0:
            self._listed += differences.between(source, target, scan, self._left)

    def _fetch(self, unseen: tuple[tuple[int, ...], Sequence[int]]) -> None:
        buckets, keys = unseen
        looking = _Pass(buckets, by_key=self._by_key)
        tables: tuple[list[pa.Table], list[pa.Table]] = ([], [])

        def fetched(number: int, rows: pa.Table) -> None:
            tables[number].append(rows)
            looking.awaited -= 1
            if looking.awaited == 0:
                scan = self._sides[1].scan
                self._list(*(Rows.of(pa.concat_tables(parts), scan) for parts in tables))
                self._next_round()

        wanted = frozenset(keys)
        for number, side in enumerate(self._sides):
            for part in self._parts(side, buckets):
                looking.awaited += 1
                job = FetchRows(self._job(side, part, looking), wanted)
                self._add(fetch_rows, job, partial(fetched, number), Urgency.FINISH)


def rounds(
    buckets: Sequence[int], rows: Callable[[int], int], budget: int
) -> Iterator[tuple[int, ...]]:
    """The buckets in groups of at most ``budget`` rows, or of a single bucket."""
    group: list[int] = []
    left = budget
    for bucket in buckets:
        if group and rows(bucket) > left:
            yield tuple(group)
            group, left = [], budget
        group.append(bucket)
        left -= rows(bucket)
    if group:
        yield tuple(group)


def key_ranges(
    spread: Spread, buckets: Sequence[int], rows: Callable[[int], int]
) -> Iterator[KeyRange]:
    """The keys of ascending buckets, neighbouring ones as one range where they are not too many
    rows for one job."""
    first = last = buckets[0]
    size = 0
    number = 0
    for bucket in buckets:
        if bucket > last + 1 or size + rows(bucket) > _JOB_ROWS:
            if size:
                yield KeyRange(number, *spread_ends(spread, first, last + 1))
                number += 1
            first, size = bucket, 0
        last = bucket
        size += rows(bucket)
    yield KeyRange(number, *spread_ends(spread, first, last + 1))
