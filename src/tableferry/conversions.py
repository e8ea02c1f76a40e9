"""Conversions by meaning, which happen only when the user asks for one. Pure.

Each takes the values of one storage class and returns values of the kind's Arrow type, NULL where
the value has no such meaning, and NULL stays NULL. None rounds: a moment that is no whole number of
microseconds, or no whole day for a date, is a misfit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tableferry import temporal
from tableferry.kinds import TIMESTAMP, TIMESTAMPTZ, arrow_type
from tableferry.model import Kind

METHODS = ("epoch", "epoch_ms", "julian", "iso", "strip_nul", "replace_invalid")

# From 0001-01-01 to before 10000-01-01, in microseconds since 1970-01-01 UTC.
_FIRST = -62_135_596_800_000_000
_END = 253_402_300_800_000_000
_DAY = 86_400_000_000
# Julian day number of 1970-01-01 00:00 UTC ("Date And Time Functions", sqlite.org).
# In milliseconds, as a whole number: the sum of a day and a fraction would round twice.
_JULIAN_EPOCH_MS = 210_866_760_000_000.0
_MICROSECONDS = {"epoch": 1_000_000, "epoch_ms": 1_000}

_TRUE = frozenset({b"1", b"t", b"true", b"y", b"yes", b"on"})
_FALSE = frozenset({b"0", b"f", b"false", b"n", b"no", b"off"})
# Not uuid.UUID, which would take an underscore or 0x for digits.
_UUID = re.compile(rb"(\{)?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{4}){7}(?(1)\})")

Words = npt.NDArray[np.int64]


def integers_to_moments(array: pa.Array, kind: Kind, method: str) -> pa.Array:
    """int64 seconds or milliseconds since 1970, or whole Julian days, as a date or timestamp."""
    if method == "julian":
        return reals_to_moments(array.cast(pa.float64(), safe=False), kind, method)
    unit = _MICROSECONDS[method]
    values = array.fill_null(0).to_numpy(zero_copy_only=False)
    inside = (values >= _FIRST // unit) & (values < _END // unit)
    return _moments(np.where(inside, values, 0) * unit, inside, array, kind)


def reals_to_moments(array: pa.Array, kind: Kind, method: str) -> pa.Array:
    """float64 in the same units. Seconds and milliseconds must be whole microseconds; a Julian
    day is taken to the millisecond, as SQLite does, where that gives the same double back."""
    values = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        if method == "julian":
            unit, scale, origin = 1_000, 86_400_000.0, _JULIAN_EPOCH_MS
        else:
            unit, scale, origin = 1, float(_MICROSECONDS[method]), 0.0
        ticks = np.rint(values * scale) - origin
        same = (ticks + origin) / scale == values
        inside = same & (ticks >= _FIRST // unit) & (ticks < _END // unit)
    whole = np.where(inside, ticks, 0.0).astype(np.int64) * unit
    return _moments(whole, inside, array, kind)


def _moments(
    microseconds: Words, good: npt.NDArray[np.bool_], array: pa.Array, kind: Kind
) -> pa.Array:
    good = good & array.is_valid().to_numpy(zero_copy_only=False)
    if kind.name == "date":
        days, rest = np.divmod(microseconds, _DAY)
        return pa.array(days.astype(np.int32), pa.int32(), mask=~good | (rest != 0)).cast(
            pa.date32()
        )
    return pa.array(microseconds, pa.int64(), mask=~good).cast(arrow_type(kind))


def texts_to_instants(array: pa.Array, kind: Kind) -> pa.Array:
    """ISO 8601 text with or without an offset, as a timestamp or timestamptz: without one it is
    taken for UTC, and a timestamp is that of UTC."""
    plain, _, _ = temporal.parse(array, TIMESTAMP)
    zoned, _, _ = temporal.parse(array, TIMESTAMPTZ)
    ticks = pc.coalesce(plain.cast(pa.int64()), zoned.cast(pa.int64()))
    return ticks.cast(arrow_type(kind))


def texts_to_bools(array: pa.Array) -> pa.Array:
    """'yes', 'T', 'off' and their like, in any case and with blanks around, as PostgreSQL reads
    them ("Boolean Type", section 8.6)."""
    return pa.array([_bool(text) for text in array.cast(pa.binary()).to_pylist()], pa.bool_())


def _bool(text: bytes | None) -> bool | None:
    if text is None:
        return None
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def texts_to_uuids(array: pa.Array) -> pa.Array:
    """UUIDs in every spelling that PostgreSQL reads: upper case, braces, without dashes."""
    return pa.array([_uuid(text) for text in array.cast(pa.binary()).to_pylist()], pa.binary(16))


def _uuid(text: bytes | None) -> bytes | None:
    if text is None or _UUID.fullmatch(text.strip()) is None:
        return None
    return bytes.fromhex(text.strip().strip(b"{}").replace(b"-", b"").decode())


def blobs_to_uuids(array: pa.Array) -> pa.Array:
    """Sixteen bytes each."""
    return pa.array(
        [value if value is not None and len(value) == 16 else None for value in array.to_pylist()],
        pa.binary(16),
    )


def mended_texts(array: pa.Array, method: str) -> tuple[pa.Array, int]:
    """Text without NUL (``strip_nul``), or with U+FFFD for what is no UTF-8
    (``replace_invalid``), and how many values were changed by it."""
    raw: Sequence[bytes | None] = array.cast(pa.binary()).to_pylist()
    mended = [None if value is None else _mended(value, method) for value in raw]
    changed = sum(a != b for a, b in zip(raw, mended, strict=True))
    return pa.array(mended, pa.binary()).cast(pa.string(), safe=False), changed


def _mended(value: bytes, method: str) -> bytes:
    if method == "strip_nul":
        return value.replace(b"\0", b"")
    return value.decode("utf-8", "replace").encode()
