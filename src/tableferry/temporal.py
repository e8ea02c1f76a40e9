"""ISO 8601 text to dates and times, without changing a value. Pure.

Fits: years 0001 to 9999, a blank or T between date and time, seconds optional, up to 6 fractional
digits, and for a timestamptz Z or an offset, which no other kind may have. Everything else is a
misfit: PostgreSQL would read '0000-00-00' as an error and '1.2.2003' by its datestyle.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tableferry.kinds import Mask, arrow_type
from tableferry.model import Kind

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"

# What is read, and the one spelling in which we would write the same value.
_ACCEPTED = {
    "date": rf"\A{_DAY}\z",
    "time": rf"\A{_TIME}\z",
    "timestamp": rf"\A{_DAY}([ T]{_TIME})?\z",
    "timestamptz": rf"\A{_DAY}[ T]{_TIME}{_ZONE}\z",
}
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,5}[1-9])?"
_OURS = {
    "time": rf"\A{_CLOCK}\z",
    "timestamp": rf"\A{_DAY} {_CLOCK}\z",
    "timestamptz": rf"\A{_DAY} {_CLOCK}\+00:00\z",
}
KINDS = frozenset({"date", "time", "timestamp", "timestamptz"})

_FIRST_DAY = -719162  # 0001-01-01, in days since 1970-01-01
_FIRST = {"date": _FIRST_DAY, "time": 0}


def parse(array: pa.Array, kind: Kind) -> tuple[pa.Array, Mask | None, int]:
    """String array to the kind's Arrow type (date, time, timestamp or timestamptz).

    Returns the array (NULL for a misfit), the mask of misfits or None, and how many values were
    spelled in another way than ours.
    """
    bad = _rejected(array, kind.name)
    accepted = array if bad is None else pc.if_else(pa.array(~bad), array, None)
    try:
        values = cast(accepted, kind)
    except pa.ArrowInvalid:
        # A date that no calendar has, such as 30 February: find which.
        ones = (accepted.slice(i, 1) for i in range(len(accepted)))
        impossible = np.array([not _casts(one, kind) for one in ones], dtype=bool)
        bad = impossible if bad is None else bad | impossible
        accepted = pc.if_else(pa.array(~bad), array, None)
        values = cast(accepted, kind)
    early = _too_early(values, kind.name)
    if early is not None:
        bad = early if bad is None else bad | early
        accepted = pc.if_else(pa.array(~bad), array, None)
        values = cast(accepted, kind)
    return values, bad, _respelled(accepted, kind.name)


def _rejected(array: pa.Array, name: str) -> Mask | None:
    if name == "date" and _all_of_length(array, 10):
        # Arrow reads ten characters as YYYY-MM-DD and in no other way.
        return None
    good = pc.match_substring_regex(array.cast(pa.binary()), _ACCEPTED[name]).fill_null(True)
    return None if pc.all(good).as_py() in (True, None) else _mask(pc.invert(good))


def _all_of_length(array: pa.Array, length: int) -> bool:
    lengths = pc.min_max(pc.binary_length(array)).as_py()
    return bool(lengths["min"] == lengths["max"] == length)


def cast(array: pa.Array, kind: Kind) -> pa.Array:
    """Text that a kind accepts, or PostgreSQL wrote, as values. Raises ArrowInvalid."""
    if kind.name != "time":
        return array.cast(arrow_type(kind))
    # Arrow reads no time from text, but a moment of the first day.
    moments = pc.binary_join_element_wise("1970-01-01", array, " ").cast(pa.timestamp("us"))
    return moments.cast(pa.int64()).cast(arrow_type(kind))


def _casts(array: pa.Array, kind: Kind) -> bool:
    # Never by way of a str: ten bytes that are no UTF-8 come as far as this.
    try:
        cast(array, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _too_early(values: pa.Array, name: str) -> Mask | None:
    integers = values.cast(pa.int32()).cast(pa.int64()) if name == "date" else values.cast("int64")
    first = _FIRST.get(name, _FIRST_DAY * 86_400_000_000)
    early = pc.less(integers, first).fill_null(False)
    return _mask(early) if pc.any(early).as_py() else None


def _mask(array: pa.Array) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)


def _respelled(accepted: pa.Array, name: str) -> int:
    if name not in _OURS or accepted.null_count == len(accepted):
        return 0
    ours = pc.match_substring_regex(accepted.cast(pa.binary()), _OURS[name])
    return int(len(accepted) - accepted.null_count - (pc.sum(ours).as_py() or 0))
