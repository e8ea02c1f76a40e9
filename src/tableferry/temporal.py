"""Dates and times to text and back, without changing a value. Pure.

Of text fits ISO 8601: years 0001 to 9999, a blank or T between date and time, seconds optional, up
to 6 fractional digits, and for a timestamptz Z or an offset, which no other kind may have. Beyond
these years, what PostgreSQL holds besides ("Date/Time Types", section 8.5) fits in the one
spelling that ``spell`` gives it: infinity, years before Christ, years of more than four digits, and
the time 24:00:00. Everything else is a misfit: PostgreSQL would read '0000-00-00' as an error and
'1.2.2003' by its datestyle.

Values are the integers that the driver makes of PostgreSQL's: it counts from 2000-01-01, and the
days or microseconds from 1970-01-01 to there are added modulo 2^32 or 2^64. Infinity and the last
years so wrap around to the other end of the integers, and no two values become one.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tableferry.kinds import Mask, arrow_type
from tableferry.model import Kind

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_HOUR = r"([01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]{{1,6}})?)?"
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

# What lies beyond, in our one spelling; years before Christ have four digits in PostgreSQL's range.
_FAR_CLOCK = rf" {_HOUR}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{0,5}}[1-9])?"


def _far(rest: str, zone: str = "") -> str:
    rest = rf"-[0-9]{{2}}-[0-9]{{2}}{rest}"
    after = rf"(?P<after>[1-9][0-9]{{4,6}})(?P<rest_after>{rest}){zone}"
    before = rf"(?P<before>[0-9]{{4}})(?P<rest_before>{rest}){zone} BC"
    return rf"-?infinity|{after}|{before}"


_FAR = {
    "date": _far(""),
    "time": "24:00:00",
    "timestamp": _far(_FAR_CLOCK),
    "timestamptz": _far(_FAR_CLOCK, r"\+00:00"),
}

_DAY_TICKS = 86_400_000_000
_FIRST_DAY = -719162  # 0001-01-01, in days since 1970-01-01
_LAST_DAY = 2932896  # 9999-12-31
_ORDINARY_MOMENTS = (_FIRST_DAY * _DAY_TICKS, (_LAST_DAY + 1) * _DAY_TICKS - 1)
# The first and the last value that Arrow reads and writes as text.
_ORDINARY = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "time": (0, _DAY_TICKS - 1),
    "timestamp": _ORDINARY_MOMENTS,
    "timestamptz": _ORDINARY_MOMENTS,
}

_EPOCH_DAYS = 10_957  # PostgreSQL's, 2000-01-01, in days since 1970-01-01
# Dates are looked up in a table that is smaller than their number by this factor.
_LOOKUPS = 4
_DATE_LENGTH = len("2000-01-01")
_MILLENNIUM = dt.datetime(2000, 1, 1)
# The calendar comes round after 400 years, so any day has its like in 2000 to 2399.
_CYCLE_YEARS = 400
_CYCLE_DAYS = 146_097

Words = npt.NDArray[np.signedinteger[npt.NBitBase]]


@dataclass(frozen=True, slots=True)
class _Calendar:
    """How PostgreSQL counts values of a kind: integers of one width since 2000-01-01, the least of
    which is -infinity and the greatest infinity; ``first`` and ``end`` bound those between
    (datatype/timestamp.h: 4714-11-24 BC to before 5874898-01-01, or 294277-01-01)."""

    word: type[np.int32 | np.int64]
    day: int
    first: int
    end: int

    @property
    def epoch(self) -> int:
        return _EPOCH_DAYS * self.day

    @property
    def infinities(self) -> dict[str, int]:
        limits = np.iinfo(self.word)
        return {"infinity": int(limits.max), "-infinity": int(limits.min)}

    def wrapped(self, own: int) -> int:
        """PostgreSQL's integer as ours."""
        half = 1 << (np.iinfo(self.word).bits - 1)
        return (own + self.epoch + half) % (2 * half) - half


_DATES = _Calendar(np.int32, 1, -2_451_545, 2_145_031_949)
_MOMENTS = _Calendar(np.int64, _DAY_TICKS, -211_813_488_000_000_000, 9_223_371_331_200_000_000)
# What microseconds since 2000-01-01 00:00 lack to those since 1970-01-01 00:00.
EPOCH_MICROSECONDS = _MOMENTS.epoch
INFINITE_MICROSECONDS = tuple(_MOMENTS.infinities.values())


# ---- values to text ----------------------------------------------------------------------------


def spell(array: pa.Array, kind: Kind) -> pa.Array:
    """An array of the kind's Arrow type (date, time, timestamp or timestamptz) as strings, each
    value in one spelling: 'YYYY-MM-DD', 'HH:MM:SS', 'YYYY-MM-DD HH:MM:SS', the last with +00:00
    for a timestamptz; a fraction of a second has no zero at its end. Beyond the years 0001 to 9999
    as PostgreSQL's ISO datestyle has it, but for +00:00 instead of +00. ``parse`` gives the same
    values back.

    Raises ValueError for an integer that is no value of PostgreSQL's.
    """
    integers = _integers(array)
    first, last = _ORDINARY[kind.name]
    reach = pc.min_max(integers).as_py()
    if reach["min"] is None or (first <= reach["min"] and reach["max"] <= last):
        return _spell_ordinary(array, kind)
    ticks = integers.fill_null(0).to_numpy(zero_copy_only=False)
    far = (ticks < first) | (ticks > last)
    texts = _spell_ordinary(pc.if_else(pa.array(~far), array, None), kind)
    return pc.replace_with_mask(texts, pa.array(far), pa.array(_spell_far(ticks[far], kind)))


def _integers(array: pa.Array) -> pa.Array:
    return array.cast(pa.int32() if pa.types.is_date32(array.type) else pa.int64())


def _spell_ordinary(array: pa.Array, kind: Kind) -> pa.Array:
    if kind.name == "date":
        return _spell_dates(array)
    if kind.name == "timestamptz":
        # Of an array with a zone, Arrow would write a Z.
        moments = _trimmed(array.cast(pa.int64()).cast(pa.timestamp("us")))
        return pc.binary_join_element_wise(moments, "+00:00", "")
    return _trimmed(array)


def _spell_dates(array: pa.Array) -> pa.Array:
    """Where dates lie close together, each day between them is spelled once and looked up from
    then on: 3 ns a value instead of 15."""
    days = array.cast(pa.int32())
    ends = pc.min_max(days).as_py()
    if ends["min"] is None or ends["max"] - ends["min"] >= len(array) // _LOOKUPS:
        return array.cast(pa.string())
    all_days = np.arange(ends["min"], ends["max"] + 1, dtype=np.int32)
    _, _, data = pa.array(all_days).cast(pa.date32()).cast(pa.string()).buffers()
    # All are of the years 0 to 9999, and so of one length.
    spelled = np.frombuffer(data, f"V{_DATE_LENGTH}", len(all_days))
    places = days.fill_null(ends["min"]).to_numpy() - ends["min"]
    offsets = np.arange(0, _DATE_LENGTH * (len(array) + 1), _DATE_LENGTH, dtype=np.int32)
    bitmap = None
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(spelled.take(places))]
    return pa.Array.from_buffers(pa.string(), len(array), buffers)


def _trimmed(array: pa.Array) -> pa.Array:
    """As Arrow writes it, with six digits after the second's point, and then without the zeros at
    their end and a point that ends it."""
    return pc.ascii_rtrim(pc.ascii_rtrim(array.cast(pa.string()), "0"), ".")


def _spell_far(ticks: Words, kind: Kind) -> list[str]:
    if kind.name == "time":
        if (ticks != _DAY_TICKS).any():
            raise ValueError("a time of day is from 00:00:00 to 24:00:00")
        return ["24:00:00"] * len(ticks)
    calendar = _calendar(kind)
    own = ticks - calendar.word(calendar.epoch)
    infinite = {value: text for text, value in calendar.infinities.items()}
    outside = ((own < calendar.first) | (own >= calendar.end)) & ~np.isin(own, list(infinite))
    if outside.any():
        raise ValueError(f"{ticks[outside][0]} is no {kind.name} of PostgreSQL's")
    cycles, within = np.divmod(own, calendar.word(_CYCLE_DAYS * calendar.day))
    alike = pa.array(within + calendar.word(calendar.epoch)).cast(arrow_type(kind))
    return [
        infinite.get(value) or _in_cycle(text, cycle)
        for text, cycle, value in zip(
            _spell_ordinary(alike, kind).to_pylist(), cycles.tolist(), own.tolist(), strict=True
        )
    ]


def _in_cycle(text: str, cycle: int) -> str:
    year = int(text[:4]) + _CYCLE_YEARS * cycle
    # There is no year 0: before the year 1 comes 1 BC.
    return f"{year:04}{text[4:]}" if year > 0 else f"{1 - year:04}{text[4:]} BC"


def _calendar(kind: Kind) -> _Calendar:
    return _DATES if kind.name == "date" else _MOMENTS


# ---- text to values ----------------------------------------------------------------------------


def parse(array: pa.Array, kind: Kind) -> tuple[pa.Array, Mask | None, int]:
    """String array to the kind's Arrow type (date, time, timestamp or timestamptz).

    Returns the array (NULL for a misfit), the mask of misfits or None, and how many values were
    spelled in another way than ours.
    """
    values, bad, respelled = _parse_ordinary(array, kind)
    if bad is not None:
        values, bad = _parse_far(array, kind, values, bad)
    return values, bad, respelled


def _parse_ordinary(array: pa.Array, kind: Kind) -> tuple[pa.Array, Mask | None, int]:
    bad = _rejected(array, kind.name)
    accepted = array if bad is None else pc.if_else(pa.array(~bad), array, None)
    try:
        values = _cast(accepted, kind)
    except pa.ArrowInvalid:
        # A date that no calendar has, such as 30 February: find which.
        ones = (accepted.slice(i, 1) for i in range(len(accepted)))
        impossible = np.array([not _casts(one, kind) for one in ones], dtype=bool)
        bad = impossible if bad is None else bad | impossible
        accepted = pc.if_else(pa.array(~bad), array, None)
        values = _cast(accepted, kind)
    early = _too_early(values, kind.name)
    if early is not None:
        bad = early if bad is None else bad | early
        accepted = pc.if_else(pa.array(~bad), array, None)
        values = _cast(accepted, kind)
    return values, bad, _respelled(accepted, kind.name)


def _parse_far(
    array: pa.Array, kind: Kind, values: pa.Array, bad: Mask
) -> tuple[pa.Array, Mask | None]:
    """Values and misfits where what lies beyond Arrow's years is read as well."""
    candidates = array.filter(pa.array(bad)).cast(pa.binary())
    likely = _mask(pc.match_substring_regex(candidates, rf"\A({_FAR[kind.name]})\z"))
    if not likely.any():
        return values, bad
    places = np.flatnonzero(bad)[likely]
    texts = candidates.filter(pa.array(likely)).to_pylist()
    read = [_far_value(text.decode(), kind) for text in texts]
    found = np.zeros(len(array), dtype=bool)
    found[places] = [value is not None for value in read]
    integers = pa.array([v for v in read if v is not None], _integers(values).type)
    values = pc.replace_with_mask(values, pa.array(found), integers.cast(values.type))
    bad = bad & ~found
    return values, bad if bad.any() else None


def _far_value(text: str, kind: Kind) -> int | None:
    """The integer of a text that ``_FAR`` matches; None where no such day is or can be stored."""
    if kind.name == "time":
        return _DAY_TICKS
    calendar = _calendar(kind)
    if text in calendar.infinities:
        return calendar.wrapped(calendar.infinities[text])
    match = re.fullmatch(_FAR[kind.name], text)
    assert match is not None
    if match["after"]:
        year, rest = int(match["after"]), match["rest_after"]
    else:
        year, rest = 1 - int(match["before"]), match["rest_before"]
        if year > 0:
            return None
    cycle, within = divmod(year - _MILLENNIUM.year, _CYCLE_YEARS)
    try:
        alike = dt.datetime.fromisoformat(f"{_MILLENNIUM.year + within}{rest}")
    except ValueError:
        return None
    since = alike - _MILLENNIUM
    own = since.days if kind.name == "date" else since // dt.timedelta(microseconds=1)
    own += cycle * _CYCLE_DAYS * calendar.day
    return calendar.wrapped(own) if calendar.first <= own < calendar.end else None


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
    """Text that PostgreSQL wrote, in UTC and by the ISO datestyle, as values. Raises
    ArrowInvalid."""
    try:
        return _cast(array, kind)
    except pa.ArrowInvalid:
        spelled = array
        if kind.name == "timestamptz":
            spelled = pc.replace_substring_regex(array, r"\+00( BC)?$", r"+00:00\1")
        values, bad, _ = parse(spelled, kind)
        if bad is not None:
            raise
        return values


def _cast(array: pa.Array, kind: Kind) -> pa.Array:
    if kind.name != "time":
        return array.cast(arrow_type(kind))
    # Arrow reads no time from text, but a moment of the first day.
    moments = pc.binary_join_element_wise("1970-01-01", array, " ").cast(pa.timestamp("us"))
    return moments.cast(pa.int64()).cast(arrow_type(kind))


def _casts(array: pa.Array, kind: Kind) -> bool:
    # Never by way of a str: ten bytes that are no UTF-8 come as far as this.
    try:
        _cast(array, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _too_early(values: pa.Array, name: str) -> Mask | None:
    first, _ = _ORDINARY[name]
    early = pc.less(_integers(values), first).fill_null(False)
    return _mask(early) if pc.any(early).as_py() else None


def _mask(array: pa.Array) -> Mask:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)


def _respelled(accepted: pa.Array, name: str) -> int:
    if name not in _OURS or accepted.null_count == len(accepted):
        return 0
    ours = pc.match_substring_regex(accepted.cast(pa.binary()), _OURS[name])
    return int(len(accepted) - accepted.null_count - (pc.sum(ours).as_py() or 0))
