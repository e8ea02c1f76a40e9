"""Where two sets of rows are not the same: named to the cell. Pure."""

from __future__ import annotations

import struct
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tableferry import kinds, temporal
from tableferry.digest import HashedRows, Positions, key_hashes, row_hashes
from tableferry.kinds import Mask
from tableferry.model import Kind, Scan
from tableferry.outcomes import Difference, DifferingRows, Misfit
from tableferry.xxh64 import Words

SHOWN_CHARACTERS = 60

_Row = tuple[Any, ...]


def differing(source: HashedRows, target: HashedRows, *, keyed: bool) -> Differing:
    """How many rows of two sets differ, and the hashes of their keys.

    A row is matched by its key where that stands once among what one side has beyond the other,
    and otherwise whole.
    """
    mine, theirs = surplus_keys(source, target)
    keys = np.union1d(mine, theirs)
    changed = len(np.intersect1d(_single(mine), _single(theirs))) if keyed else 0
    return Differing(DifferingRows(changed, len(mine) - changed, len(theirs) - changed), keys)


@dataclass(frozen=True, slots=True, eq=False)
class Differing:
    """``keys``: their hashes, ascending, each once."""

    rows: DifferingRows
    keys: Words


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows in full, whose columns are those of a scan in its order, and their hashes."""

    table: pa.Table
    hashes: HashedRows

    @classmethod
    def of(cls, table: pa.Table, scan: Scan) -> Rows:
        columns = [column.combine_chunks() for column in table.columns]
        low, _ = row_hashes(columns)
        return cls(table, HashedRows(key_hashes(columns, scan.key, low), low))

    def without(self, keys: Words) -> Rows:
        """The rows whose keys do not have these hashes."""
        if not len(keys):
            return self
        kept = ~np.isin(self.hashes.keys, keys)
        return Rows(self.table.filter(pa.array(kept)), self.hashes.where(kept))


def between(source: Rows, target: Rows, scan: Scan, most: int) -> list[Difference]:
    """The differences of two sets of rows, which both hold all rows of each key. Those of ``most``
    keys at most, the first in their order.

    Rows are matched by their key and named to the cell. Where a key does not tell rows apart, and
    where there is none, rows are matched whole, and each says how often it stands on either side.
    """
    keys = differing(source.hashes, target.hashes, keyed=True).keys
    if not scan.key:
        # Their values are whole rows, too many to put in order.
        keys = keys[:most]
    chosen = _in_order(keys, (source, target), scan)[:most]
    wanted = np.array([key for key, _ in chosen], np.uint64)
    mine, theirs = (_OfKeys.of(side, wanted) for side in (source, target))
    return [
        difference
        for key, values in chosen
        for difference in _Compared(scan, (mine, theirs), key, values).differences()
    ]


def _in_order(keys: Words, sides: Sequence[Rows], scan: Scan) -> list[tuple[int, _Row]]:
    """The keys with what they are the hashes of, in the order of the values."""
    named = scan.key or range(len(scan.columns))
    found: list[tuple[int, _Row]] = []
    for side in sides:
        known, first = np.unique(side.hashes.keys, return_index=True)
        here = keys[np.isin(keys, known)]
        rows = _rows(side.table, first[np.searchsorted(known, here)].tolist(), scan, named)
        found += zip(here.tolist(), rows, strict=True)
        keys = keys[~np.isin(keys, known)]
    try:
        return sorted(found, key=lambda each: each[1])
    except (TypeError, ArithmeticError):
        # NULL among other values, say, or a decimal that is no number.
        return sorted(found, key=lambda each: tuple(map(show, each[1])))


def _rows(
    table: pa.Table, positions: Sequence[int], scan: Scan, columns: Sequence[int]
) -> list[_Row]:
    """Some columns of the rows at these positions."""
    rows = table.take(pa.array(positions, pa.int64()))
    found = [_values(rows.column(i), scan.columns[i].kind) for i in columns]
    return list(zip(*found, strict=True))


def cell(rows: Rows, scan: Scan, misfit: Misfit) -> str | None:
    """What stands where the other side has a value that does not fit, if the row is among these."""
    places = np.flatnonzero(rows.hashes.keys == np.uint64(misfit.key_hash))
    if not len(places):
        return None
    row = rows.table.slice(int(places[0]), 1)
    return show(_values(row.column(misfit.column), scan.columns[misfit.column].kind)[0])


def matched(source: HashedRows, target: HashedRows, *, keyed: bool) -> Matched:
    """As ``differing`` tells how many, which rows those are."""
    mine = np.flatnonzero(_surplus(source.rows, target.rows))
    theirs = np.flatnonzero(_surplus(target.rows, source.rows))
    ours, others = source.keys[mine], target.keys[theirs]
    both = np.intersect1d(_single(ours), _single(others)) if keyed else ours[:0]
    mine_in, theirs_in = np.isin(ours, both), np.isin(others, both)
    changed, counterparts = mine[mine_in], theirs[theirs_in]
    return Matched(
        changed[np.argsort(source.keys[changed])],
        counterparts[np.argsort(target.keys[counterparts])],
        mine[~mine_in],
        theirs[~theirs_in],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Rows by their positions on either side. A ``changed`` one of the source stands in the target
    with other values, as the one of ``counterparts`` in the same place."""

    changed: Positions
    counterparts: Positions
    missing: Positions
    extra: Positions


def surplus_keys(source: HashedRows, target: HashedRows) -> tuple[Words, Words]:
    """Of rows that the other side has not, or not as often, the keys' hashes."""
    return (
        source.keys[_surplus(source.rows, target.rows)],
        target.keys[_surplus(target.rows, source.rows)],
    )


def rows_among(listed: Sequence[Difference]) -> int:
    """How many rows the differences stand for."""
    changed = {difference.key for difference in listed if difference.what == "changed"}
    return len(changed) + sum(d.times for d in listed if d.what != "changed")


def _surplus(mine: Words, theirs: Words) -> Mask:
    """Which values the other side has not, or not as often: of equal ones the last."""
    order = np.argsort(mine, kind="stable")
    values, starts, counts = np.unique(mine[order], return_index=True, return_counts=True)
    others, other_counts = np.unique(theirs, return_counts=True)
    kept = np.zeros(len(values), np.int64)
    _, here, there = np.intersect1d(values, others, assume_unique=True, return_indices=True)
    kept[here] = other_counts[there]
    rank = np.arange(len(mine)) - np.repeat(starts, counts)
    surplus = np.empty(len(mine), bool)
    surplus[order] = rank >= np.repeat(kept, counts)
    return surplus


def _single(values: Words) -> Words:
    found, counts = np.unique(values, return_counts=True)
    single: Words = found[counts == 1]
    return single


@dataclass(frozen=True, slots=True, eq=False)
class _OfKeys:
    """One side's rows, and the positions of some keys'."""

    table: pa.Table
    rows: Words
    of_key: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, rows: Rows, keys: Words) -> _OfKeys:
        of_key = defaultdict(list)
        hashes = rows.hashes
        for position in np.flatnonzero(np.isin(hashes.keys, keys)).tolist():
            of_key[int(hashes.keys[position])].append(position)
        return cls(rows.table, hashes.rows, of_key)

    def positions(self, key: int) -> Sequence[int]:
        return self.of_key.get(key, ())


class _Compared:
    """The rows of one key on both sides; ``values`` are those of the key, or of the whole row."""

    def __init__(self, scan: Scan, sides: tuple[_OfKeys, _OfKeys], key: int, values: _Row) -> None:
        self._scan = scan
        self._times = tuple(len(side.positions(key)) for side in sides)
        every = range(len(scan.columns))
        source, target = sides
        self._mine = _rows(source.table, _beyond(source, target, key), scan, every)
        self._theirs = _rows(target.table, _beyond(target, source, key), scan, every)
        self._key = tuple(
            (scan.columns[position].column.name, show(value))
            for position, value in zip(scan.key or every, values, strict=True)
        )

    def differences(self) -> Iterator[Difference]:
        table = str(self._scan.table)
        mine, theirs = self._mine, self._theirs
        if self._scan.key and len(mine) == len(theirs) == 1:
            for column, x, y in zip(self._scan.columns, mine[0], theirs[0], strict=True):
                if not _same(x, y):
                    shown = _show_both(x, y)
                    yield Difference(table, "changed", self._key, column.column.name, *shown)
            return
        row = Difference(
            table, "missing", self._key, in_source=self._times[0], in_target=self._times[1]
        )
        if mine:
            yield replace(row, times=len(mine))
        if theirs:
            yield replace(row, what="extra", times=len(theirs))


def _beyond(side: _OfKeys, other: _OfKeys, key: int) -> list[int]:
    """The positions of a key's rows that the other side has not, or not as often."""
    left = Counter(other.rows[position] for position in other.positions(key))
    chosen = []
    for position in side.positions(key):
        value = side.rows[position]
        if left[value]:
            left[value] -= 1
        else:
            chosen.append(position)
    return chosen


class _Moment(str):
    """A date or time by its text, since Python's calendar does not have all of them."""

    __repr__ = str.__str__


class _Stored(bytes):
    """A value of SQLite with its storage class, as kind any has it."""

    __slots__ = ()

    def __str__(self) -> str:
        match self[:1]:
            case b"i":
                return str(struct.unpack("=q", self[1:])[0])
            case b"r":
                return repr(struct.unpack("=d", self[1:])[0])
            case b"t":
                return repr(self[1:].decode("utf-8", "backslashreplace"))
        return f"x'{self[1:].hex()}'"


_MOMENTS = {
    kinds.arrow_type(kind): kind
    for kind in (kinds.DATE, kinds.TIME, kinds.TIMESTAMP, kinds.TIMESTAMPTZ)
}


def _values(column: pa.ChunkedArray, kind: Kind) -> list[Any]:
    if kind == kinds.ANY:
        return [None if value is None else _Stored(value) for value in column.to_pylist()]
    if column.type in _MOMENTS:
        spelled = temporal.spell(column.combine_chunks(), _MOMENTS[column.type]).to_pylist()
        return [None if text is None else _Moment(text) for text in spelled]
    try:
        values: list[Any] = column.to_pylist()
    except ValueError:
        # Text that is no UTF-8.
        return list(column.cast(pa.binary()).to_pylist())
    if pa.types.is_decimal(column.type):
        digits = column.type.precision, column.type.scale
        return [None if v is None else kinds.named_decimal(v, *digits) for v in values]
    if column.type == kinds.arrow_type(kinds.UUID):
        return [None if v is None else uuid.UUID(bytes=v) for v in values]
    return values


def _same(first: Any, second: Any) -> bool:
    # NaN is equal to itself here, as it is for the digest.
    return bool(first == second or (first != first and second != second))


def show(value: Any) -> str:
    """A value for people: bytes in hexadecimal, control characters escaped, long ones cut."""
    text = _text(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _show_both(first: Any, second: Any) -> tuple[str, str]:
    """Two unequal values, long ones cut so that their first difference is seen."""
    a, b = _text(first), _text(second)
    if max(len(a), len(b)) <= SHOWN_CHARACTERS:
        return a, b
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    start = max(0, start - SHOWN_CHARACTERS // 4)
    return _window(a, start), _window(b, start)


def _window(text: str, start: int) -> str:
    end = start + SHOWN_CHARACTERS
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")


def _text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes) and not isinstance(value, _Stored):
        return f"x'{value.hex()}'"
    return repr(value) if isinstance(value, str) else str(value)
