"""One transaction of a repair: rows of some buckets of a target's table become those of the source.

    both sides' rows by their hashes ─▶ keys whose rows differ, as many as one transaction may write
                                          │
                                          ▼
    these rows in full ─▶ extra ones deleted, changed ones updated where they stand, missing ones
                          inserted; what a constraint refuses is left as it was, and the rest done

What is read of the target is read under the lock that its rows are written under, so nothing that
an earlier look said is taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tableferry import differences
from tableferry.dialects import dialect_of
from tableferry.dialects.base import (
    Batch,
    Change,
    Delete,
    Endpoint,
    Insert,
    Repairer,
    Session,
    Surveyor,
    Update,
)
from tableferry.digest import (
    BucketedDigest,
    HashedRows,
    Positions,
    key_buckets,
    key_hashes,
    row_hashes,
    sum_buckets,
)
from tableferry.errors import DatabaseError, MisfitFound
from tableferry.kinds import Mask
from tableferry.model import Candidate, ReadColumn, Scan, Table, TablePart
from tableferry.outcomes import Repair
from tableferry.tasks import (
    Speller,
    end_statement,
    only,
    read_as_spelled,
    session_for,
    table_of,
)
from tableferry.xxh64 import Words

# What a database answers where it refuses rows: values (22), constraints (23), a check of a view
# (44), what may not be written or is not there (42), what it cannot do (0A), an index entry that
# is too long (54), and what code in the database raises (P0).
_REFUSING_ROWS = ("22", "23", "42", "44", "0A", "54", "P0")
# So many refusals are looked into row by row before the rest of a transaction is left.
_MOST_REFUSALS = 100
_DUPLICATE = "23505"


@dataclass(frozen=True, slots=True)
class Mend:
    """What one transaction is to put right: rows of ``buckets``, which stand in ``parts`` of both
    sides, at most about ``most`` of them.

    ``scans`` are the source's and the target's, of the same columns; ``table`` is the target's.
    """

    source: Endpoint
    target: Endpoint
    scans: tuple[Scan, Scan]
    table: Table
    parts: tuple[TablePart, ...]
    buckets: tuple[int, ...]
    most: int
    speller: Speller | None = None
    # What both sides held when they were compared as a whole: what an index brings is held against
    # it, where that is how the parts are found.
    expected: tuple[BucketedDigest, BucketedDigest] | None = None
    # Keys whose hashes are no larger were dealt with before.
    after: int | None = None
    # Keys whose rows stay as they are, by their hashes.
    spared: frozenset[int] = frozenset()
    # Whether what is refused is tried in ever smaller parts.
    splitting: bool = False
    # Whether the target has no columns beside the scan's.
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Mended:
    """``reached``: the hash of a key up to which all is dealt with; None where all is. ``astray``:
    nothing was done, since the parts did not bring the rows of the buckets."""

    repair: Repair
    reached: int | None = None
    astray: bool = False


def mend(job: Mend) -> Mended:
    """Writes in one transaction, or not at all. Raises DatabaseError where a database fails, or
    does not let this role have the table to itself."""
    keyed = bool(job.scans[0].key)
    with (
        session_for(job.source) as source,
        closing(dialect_of(job.target).open_repairer(job.target)) as target,
    ):
        sides = _Source(job, source), _Target(job, target)
        target.begin_repair(job.table.name)
        hashed = [side.hashes() for side in sides]
        if job.expected is not None and not all(
            digest.alike(expected, job.buckets)
            for (_, digest), expected in zip(hashed, job.expected, strict=True)
        ):
            return Mended(Repair(), astray=True)
        wanted = _wanted(hashed[0][0], hashed[1][0], job)
        if not len(wanted.keys):
            return Mended(Repair())
        tables = [
            side.fetch(wanted.keys, None if keyed else counts)
            for side, counts in zip(sides, wanted.counts, strict=True)
        ]
        end_statement(source, job.source)
        repair = _Writing(job, target, *tables).run()
        target.end_repair()
    # What was too many rows of one key for one transaction goes on there, unless it got nowhere.
    again = wanted.cut and repair.total
    last = int(wanted.keys[-1])
    reached = last - 1 if again else last
    return Mended(repair, reached if again or wanted.more else None)


class _Source:
    """The rows of a job's buckets on the source's side."""

    def __init__(self, job: Mend, session: Session) -> None:
        self._job = job
        self._session = session
        self._scan, self._columns = job.scans[0], len(job.scans[0].columns)

    def _read(self, scan: Scan, part: TablePart) -> Iterator[tuple[Sequence[pa.Array], Mask]]:
        """Batch by batch, the columns, and which rows hold values that are not what the columns
        say."""
        for batch in read_as_spelled(self._session, scan, part, self._job.speller):
            yield batch.columns, np.zeros(batch.rows, dtype=bool)

    def _batches(self, scan: Scan) -> Iterator[_Rows]:
        for part in self._job.parts:
            for columns, misfits in self._read(scan, part):
                own = columns[: self._columns]
                buckets = key_buckets(own, scan.key, scan.spread)
                wanted = np.isin(buckets, self._job.buckets)
                if wanted.any():
                    kept = only(columns, wanted)
                    yield _Rows(buckets[wanted], kept, misfits[wanted])

    def hashes(self) -> tuple[HashedRows, BucketedDigest]:
        """Of all rows, and the digest of those that were compared."""
        found = []
        digest = BucketedDigest.empty()
        for rows in self._batches(self._scan):
            low, high = row_hashes(rows.columns)
            fit = ~rows.misfits
            digest += sum_buckets(rows.buckets[fit], low[fit], high[fit])
            found.append(_hashed(rows.columns, rows.misfits, self._scan))
        return HashedRows.joined(found), digest

    @property
    def _fetched(self) -> Scan:
        return self._scan

    def fetch(self, keys: Words, counts: Words | None) -> tuple[pa.Table, Mask]:
        """The rows of these keys, ascending hashes, in full, and which of them hold misfits; of
        each at most ``counts`` where that is given."""
        scan = self._fetched
        left = None if counts is None else counts.copy()
        chosen = []
        misfits = [np.zeros(0, dtype=bool)]
        for rows in self._batches(scan):
            hashes = _hashed(rows.columns[: self._columns], rows.misfits, scan).keys
            wanted = np.isin(hashes, keys) if left is None else _taking(hashes, keys, left)
            chosen.append(only(rows.columns, wanted))
            misfits.append(rows.misfits[wanted])
        return table_of(scan, chosen), np.concatenate(misfits)


class _Target(_Source):
    """The same of the target's, each row with its place in the columns beyond the scan's."""

    def __init__(self, job: Mend, session: Repairer) -> None:
        super().__init__(job, session)
        self._scan = job.scans[1]
        self._places = session.places(job.table)

    def _read(self, scan: Scan, part: TablePart) -> Iterator[tuple[Sequence[pa.Array], Mask]]:
        if not scan.rejecting:
            for batch in self._session.read(scan, part):
                yield batch.columns, np.zeros(batch.rows, dtype=bool)
            return
        assert isinstance(self._session, Surveyor)
        candidates = [Candidate(c.kind, c.merges, c.using) for c in scan.columns]
        for values in self._session.survey(scan, part):
            decoded = [v.decode(c) for v, c in zip(values, candidates, strict=True)]
            misfits = np.zeros(len(values[0]), dtype=bool)
            for column in decoded:
                if column.misfits is not None:
                    misfits |= column.misfits
            yield [column.array for column in decoded], misfits

    @property
    def _fetched(self) -> Scan:
        return replace(self._scan, columns=(*self._scan.columns, *self._places))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    buckets: Positions
    columns: list[pa.Array]
    misfits: Mask


def _hashed(columns: Sequence[pa.Array], misfits: Mask, scan: Scan) -> HashedRows:
    """A row with a misfit, which reads as NULL, is equal to none that has NULL there."""
    low, _ = row_hashes(columns)
    low[misfits] ^= np.uint64(1)
    return HashedRows(key_hashes(columns, scan.key, low), low)


def _taking(hashes: Words, keys: Words, left: Words) -> Mask:
    """The first rows of each key, as many as are left of it, which are counted off."""
    taken = np.zeros(len(hashes), dtype=bool)
    for position in np.flatnonzero(np.isin(hashes, keys)).tolist():
        which = int(np.searchsorted(keys, hashes[position]))
        if left[which]:
            left[which] -= 1
            taken[position] = True
    return taken


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """The keys of one transaction, ascending, and on how many rows of each side's each has beyond
    the other; whether rows of the last were cut off, and whether there are more keys."""

    keys: Words
    counts: tuple[Words, Words]
    cut: bool
    more: bool


def _wanted(source: HashedRows, target: HashedRows, job: Mend) -> _Wanted:
    mine, theirs = differences.surplus_keys(source, target)
    keys = np.setdiff1d(np.union1d(mine, theirs), np.array(sorted(job.spared), np.uint64))
    if job.after is not None and job.after >= 0:
        keys = keys[keys > np.uint64(job.after)]
    counts = [_counts(side, keys) for side in (mine, theirs)]
    rows = np.cumsum(sum(counts))
    number = max(1, int(np.searchsorted(rows, job.most, side="right")))
    most = np.uint64(max(job.most, 1))
    chosen = [side[:number] for side in counts]
    cut = any((side > most).any() for side in chosen)
    bounded = [np.minimum(side, most) for side in chosen]
    return _Wanted(keys[:number], (bounded[0], bounded[1]), cut, len(keys) > number)


def _counts(some: Words, keys: Words) -> Words:
    found, counts = np.unique(some, return_counts=True)
    counted = np.zeros(len(keys), np.uint64)
    _, here, there = np.intersect1d(found, keys, assume_unique=True, return_indices=True)
    counted[there] = counts[here]
    return counted


class _Writing:
    """The rows of one transaction, both sides' in full."""

    def __init__(
        self,
        job: Mend,
        session: Repairer,
        source: tuple[pa.Table, Mask],
        target: tuple[pa.Table, Mask],
    ) -> None:
        self._job = job
        self._session = session
        self._columns = job.scans[1].columns
        count = len(self._columns)
        self._mine = [column.combine_chunks() for column in source[0].columns]
        theirs = [column.combine_chunks() for column in target[0].columns]
        self._theirs, self._places = theirs[:count], theirs[count:]
        key = job.scans[0].key
        self._misfits = target[1]
        self._rows = differences.matched(
            _hashed(self._mine, source[1], job.scans[0]),
            _hashed(self._theirs, target[1], job.scans[0]),
            keyed=bool(key),
        )
        self._done = Repair()
        self._refusals = 0

    def run(self) -> Repair:
        rows = self._rows
        self._each(len(rows.extra), self._delete, lambda n: Repair(deleted=n))
        self._update_all()
        self._each(len(rows.missing), self._insert, lambda n: Repair(inserted=n))
        return self._done

    def _each(
        self,
        count: int,
        changes: Callable[[Positions], list[Change]],
        counted: Callable[[int], Repair],
    ) -> None:
        """All at once or, where that is refused and parts are tried, in halves."""
        waiting = [np.arange(count)] if count else []
        while waiting:
            some = waiting.pop()
            refusal = self._tried(changes(some))
            if refusal is None:
                self._done += counted(len(some))
            elif self._job.splitting and len(some) > 1 and self._refusals < _MOST_REFUSALS:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]
            else:
                self._refusals += 1
                self._done += Repair(left=len(some), reasons=(refusal.message,))

    def _tried(self, changes: Sequence[Change]) -> DatabaseError | MisfitFound | None:
        """What speaks against all of these, if anything does; then nothing is changed."""
        try:
            self._session.apply(self._job.table.name, changes)
        except MisfitFound as error:
            return MisfitFound(_misfit(error))
        except DatabaseError as error:
            if error.sqlstate[:2] not in _REFUSING_ROWS:
                raise
            where = f"{self._job.target}, table {self._job.table.name}: "
            words = error.message.removeprefix(where).removeprefix(f"{self._job.target}: ")
            return DatabaseError(words, sqlstate=error.sqlstate)
        return None

    def _delete(self, some: Positions) -> list[Change]:
        return [Delete(self._places_of(self._rows.extra[some]))]

    def _insert(self, some: Positions) -> list[Change]:
        return [Insert(self._columns, self._batch(self._rows.missing[some]))]

    def _update_all(self) -> None:
        """Changed rows, only in those columns that differ."""
        unequal = self._unequal()
        computed = np.array([column.computed for column in self._columns])
        writable = unequal & ~computed
        stuck = ~writable.any(axis=1)
        if stuck.any():
            names = [
                column.column.name
                for column, any_row in zip(self._columns, unequal[stuck].any(axis=0), strict=True)
                if any_row
            ]
            reason = f"computed otherwise by the target: {', '.join(names)}"
            self._done += Repair(left=int(stuck.sum()), reasons=(reason,))
        chosen = np.flatnonzero(~stuck)

        def updates(some: Positions) -> list[Change]:
            return self._updates(chosen[some], writable)

        def detours(some: Positions) -> list[Change]:
            return self._detour(chosen[some], writable) or updates(some)

        if not len(chosen):
            return
        refusal = self._tried(updates(np.arange(len(chosen))))
        if refusal is None:
            self._done += Repair(changed=len(chosen))
            return
        # Values that change places under a unique constraint meet on the way.
        swapped = isinstance(refusal, DatabaseError) and refusal.sqlstate in (_DUPLICATE, "23000")
        self._each(len(chosen), detours if swapped else updates, lambda n: Repair(changed=n))

    def _unequal(self) -> Mask:
        """Which columns (second) of which changed rows (first) are not the same."""
        rows = self._rows
        found = np.zeros((len(rows.changed), len(self._columns)), dtype=bool)
        for i, (mine, theirs) in enumerate(zip(self._mine, self._theirs, strict=True)):
            a, _ = row_hashes([mine.take(pa.array(rows.changed))])
            b, _ = row_hashes([theirs.take(pa.array(rows.counterparts))])
            found[:, i] = a != b
        beside_key = [i not in self._job.scans[0].key for i in range(len(self._columns))]
        found[self._misfits[rows.counterparts]] |= np.array(beside_key)
        return found

    def _updates(self, some: Positions, writable: Mask) -> list[Change]:
        """One for all rows of which the same columns differ."""
        patterns, which = np.unique(writable[some], axis=0, return_inverse=True)
        changes: list[Change] = []
        for number, pattern in enumerate(patterns):
            alike = some[which.reshape(-1) == number]
            changes.append(self._update(alike, np.flatnonzero(pattern).tolist()))
        return changes

    def _update(self, some: Positions, columns: list[int]) -> Update:
        rows = pa.array(self._rows.changed[some])
        values = tuple(self._mine[i].take(rows) for i in columns)
        places = self._places_of(self._rows.counterparts[some])
        return Update(places, tuple(self._columns[i] for i in columns), Batch(values))

    def _detour(self, some: Positions, writable: Mask) -> list[Change]:
        """Changes after which unique values have changed places: by NULL in between, or by rows
        that go and come back where nothing hangs on them; none where there is no such way."""
        table = self._job.table
        unique = {name for key in table.uniques for name in key.columns} | {
            column.name for index in table.indexes if index.unique for column in index.columns
        }
        key = set(table.primary_key.columns) if table.primary_key else set()
        changed: list[int] = np.flatnonzero(writable[some].any(axis=0)).tolist()
        met = [i for i in changed if self._columns[i].column.name in unique | key]
        if met and all(self._may_be_null(self._columns[i], key) for i in met):
            places = self._places_of(self._rows.counterparts[some])
            nothing = tuple(pa.nulls(len(some), self._mine[i].type) for i in met)
            clear = Update(places, tuple(self._columns[i] for i in met), Batch(nothing), True)
            return [clear, *self._updates(some, writable)]
        if self._job.whole and self._session.replaces(table.name):
            gone = Delete(self._places_of(self._rows.counterparts[some]))
            back = Insert(self._columns, self._batch(self._rows.changed[some]))
            return [gone, back]
        return []

    @staticmethod
    def _may_be_null(column: ReadColumn, key: set[str]) -> bool:
        return column.column.nullable and column.column.name not in key

    def _places_of(self, rows: Positions) -> tuple[pa.Array, ...]:
        return tuple(place.take(pa.array(rows)) for place in self._places)

    def _batch(self, rows: Positions) -> Batch:
        return Batch(tuple(column.take(pa.array(rows)) for column in self._mine))


def _misfit(error: MisfitFound) -> str:
    columns = ", ".join(error.details.get("columns", ()))
    shown = f", such as {error.details['value']}" if error.details.get("value") else ""
    return f"values do not fit column {columns}{shown}" if columns else error.message
