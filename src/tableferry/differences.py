"""Where two sets of rows are not the same: named to the cell. Pure."""

from __future__ import annotations

import struct
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tableferry import kinds, temporal
from tableferry.digest import row_hashes
from tableferry.model import Difference, Kind, Scan

SHOWN_CHARACTERS = 60

_Row = tuple[Any, ...]
_Hash = tuple[int, int]


def between(source: pa.Table, target: pa.Table, scan: Scan) -> list[Difference]:
    """The differences of two sets of rows whose columns are those of ``scan``, in its order.

    With a key, rows are matched by it and named to the cell. Without one, or where a key stands
    twice on a side, rows are matched whole, and each says how often it is missing or extra.
    """
    of_source, of_target = _hashes(source), _hashes(target)
    missing, extra = Counter(of_source), Counter(of_target)
    missing, extra = missing - extra, extra - missing
    only_source = _beyond(source, of_source, missing, scan)
    only_target = _beyond(target, of_target, extra, scan)
    if scan.key and all(_unique(rows, scan.key) for rows in (only_source, only_target)):
        return _by_key(only_source, only_target, scan)
    return _by_row(only_source, only_target, scan)


def _hashes(table: pa.Table) -> list[_Hash]:
    if table.num_rows == 0:
        return []
    low, high = row_hashes([column.combine_chunks() for column in table.columns])
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _beyond(
    table: pa.Table, hashes: list[_Hash], surplus: Counter[_Hash], scan: Scan
) -> list[_Row]:
    """The rows of a side that the other side has not, or not as often."""
    chosen = []
    left = Counter(surplus)
    for row, value in enumerate(hashes):
        if left[value] > 0:
            left[value] -= 1
            chosen.append(row)
    rows = table.take(pa.array(chosen, pa.int64()))
    kinds_read = [column.kind for column in scan.columns]
    return list(zip(*map(_values, rows.columns, kinds_read), strict=True))


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


def _unique(rows: list[_Row], key: Sequence[int]) -> bool:
    keys = [_key_of(row, key) for row in rows]
    return len(keys) == len(set(keys))


def _key_of(row: _Row, key: Sequence[int]) -> _Row:
    return tuple(row[position] for position in key)


def _by_key(source: list[_Row], target: list[_Row], scan: Scan) -> list[Difference]:
    ours = {_key_of(row, scan.key): row for row in source}
    theirs = {_key_of(row, scan.key): row for row in target}
    found = []
    for key in ours.keys() | theirs.keys():
        a, b = ours.get(key), theirs.get(key)
        named = tuple(
            (scan.columns[position].column.name, show(value))
            for position, value in zip(scan.key, key, strict=True)
        )
        if a is None or b is None:
            found.append(Difference(str(scan.table), "extra" if a is None else "missing", named))
            continue
        found += [
            Difference(str(scan.table), "changed", named, column.column.name, *_show_both(x, y))
            for column, x, y in zip(scan.columns, a, b, strict=True)
            if not _same(x, y)
        ]
    return sorted(found, key=lambda difference: (difference.key, difference.column))


def _same(first: Any, second: Any) -> bool:
    # NaN is equal to itself here, as it is for the digest.
    return bool(first == second or (first != first and second != second))


def _by_row(source: list[_Row], target: list[_Row], scan: Scan) -> list[Difference]:
    table = str(scan.table)
    missing = [Difference(table, "missing", row, times=n) for row, n in _counted(source, scan)]
    extra = [Difference(table, "extra", row, times=n) for row, n in _counted(target, scan)]
    return missing + extra


def _counted(rows: list[_Row], scan: Scan) -> list[tuple[tuple[tuple[str, str], ...], int]]:
    names = [column.column.name for column in scan.columns]
    shown = Counter(
        tuple((name, show(value)) for name, value in zip(names, row, strict=True)) for row in rows
    )
    return list(shown.items())


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
