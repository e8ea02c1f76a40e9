"""What SQLite's declared types mean. Pure.

A declared type only sets an affinity ("Datatypes In SQLite", section 3.1): any column can hold any
storage class. So each declared type has a list of candidates, and the first that all values fit
is taken.
"""

from __future__ import annotations

import re

from tableferry.kinds import (
    BOOL,
    BYTES,
    DATE,
    DECIMAL_DIGITS,
    FLOAT,
    INT,
    JSON,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
)
from tableferry.model import Candidate, Column, Kind

# What takes every value in the end. Text of several storage classes needs no blob among them.
_FALLBACKS = (
    Candidate(TEXT),
    Candidate(BYTES),
    Candidate(TEXT, merges=True),
    Candidate(BYTES, merges=True),
)

_BY_NAME: dict[str, tuple[Kind, ...]] = {
    "BOOL": (BOOL, INT, NUMERIC),
    "BOOLEAN": (BOOL, INT, NUMERIC),
    "DATE": (DATE, TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC),
    "DATETIME": (TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC),
    "TIMESTAMP": (TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC),
    "TIMESTAMP WITHOUT TIME ZONE": (TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC),
    "TIMESTAMPTZ": (TIMESTAMPTZ, TIMESTAMP, INT, NUMERIC),
    "TIMESTAMP WITH TIME ZONE": (TIMESTAMPTZ, TIMESTAMP, INT, NUMERIC),
    "TIME": (TIME, INT, NUMERIC),
    # Of NUMERIC affinity by their letters, but text by what they say.
    "JSON": (JSON, TEXT, INT, NUMERIC),
    "JSONB": (JSON, TEXT, INT, NUMERIC),
    "STRING": (TEXT, INT, NUMERIC),
    "UUID": (UUID, TEXT, INT, NUMERIC),
    "GUID": (UUID, TEXT, INT, NUMERIC),
    "UNIQUEIDENTIFIER": (UUID, TEXT, INT, NUMERIC),
    "XML": (TEXT, INT, NUMERIC),
    # Of NUMERIC affinity too, though they are meant for blobs.
    "BINARY": (BYTES, TEXT, INT, NUMERIC),
    "VARBINARY": (BYTES, TEXT, INT, NUMERIC),
    "BYTEA": (BYTES, TEXT, INT, NUMERIC),
    # Sizes that the declaration states; INT and INTEGER are 64 bits in SQLite.
    "TINYINT": (Kind("int", bits=16), INT, NUMERIC),
    "SMALLINT": (Kind("int", bits=16), INT, NUMERIC),
    "INT2": (Kind("int", bits=16), INT, NUMERIC),
    "MEDIUMINT": (Kind("int", bits=32), INT, NUMERIC),
    "INT4": (Kind("int", bits=32), INT, NUMERIC),
}

# Names whose arguments are digits: DEC, DECIMAL, NUMERIC, NUMBER.
_DECIMALS = ("DEC", "NUM")
# Characters up to which a declared length is taken for short.
_SHORT = 1_000

_BY_AFFINITY: dict[str, tuple[Kind, ...]] = {
    "INTEGER": (INT, NUMERIC),
    "REAL": (FLOAT,),
    "NUMERIC": (NUMERIC,),
    # A column of no declared type says nothing; text serves an empty one.
    "BLOB": (TEXT, INT, FLOAT),
}


def affinity(declared: str) -> str:
    """INTEGER, TEXT, BLOB, REAL or NUMERIC, by the rules in their order (section 3.1). A type
    that holds no word at all is no type: BLOB."""
    # SQLite folds the letters of ASCII alone: "ﬂoat" has no FLOA in it.
    name = re.sub("[a-z]+", lambda match: match[0].upper(), declared)
    if "INT" in name:
        return "INTEGER"
    if any(word in name for word in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not name.strip() or "BLOB" in name:
        return "BLOB"
    if any(word in name for word in ("REAL", "FLOA", "DOUB")):
        return "REAL"
    # In STRICT tables ANY keeps every value as it is, like a column of no type.
    return "BLOB" if name.strip() == "ANY" else "NUMERIC"


def may_be_long(declared: str) -> bool:
    """Whether a type sets no small bound to the length of its values."""
    name, arguments = _parse(declared)
    bounded = len(arguments) == 1 and arguments[0] <= _SHORT
    return "JSON" in name or (affinity(declared) in ("TEXT", "BLOB") and not bounded)


def candidates(column: Column) -> tuple[Candidate, ...]:
    """What a column may be read as, the most useful first; the last one fits every value."""
    kinds = _declared_kinds(column.declared)
    first = tuple(Candidate(kind) for kind in kinds)
    return first + tuple(candidate for candidate in _FALLBACKS if candidate not in first)


def _declared_kinds(declared: str) -> tuple[Kind, ...]:
    name, arguments = _parse(declared)
    if name in _BY_NAME:
        return _BY_NAME[name]
    group = affinity(declared)
    if group == "TEXT":
        return (Kind("text", length=arguments[0]), TEXT) if len(arguments) == 1 else (TEXT,)
    if group == "NUMERIC" and arguments and name.startswith(_DECIMALS):
        precision, scale = arguments[0], arguments[1] if len(arguments) > 1 else 0
        if 0 <= scale <= precision <= DECIMAL_DIGITS:
            return (decimal(precision, scale), NUMERIC)
    if group == "BLOB" and "BLOB" in name:
        return (BYTES, TEXT, INT, FLOAT)
    return _BY_AFFINITY[group]


def _parse(declared: str) -> tuple[str, tuple[int, ...]]:
    """'Decimal ( 15, 2 )' -> ('DECIMAL', (15, 2)); arguments that are no counts are none."""
    match = re.fullmatch(r"\s*([^()]*?)\s*(?:\(\s*([^()]*?)\s*\))?\s*([^()]*?)\s*", declared)
    if match is None:
        return " ".join(declared.upper().split()), ()
    name = " ".join(f"{match[1]} {match[3]}".upper().split())
    parts = [part.strip() for part in (match[2] or "").split(",")]
    if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in parts):
        return name, ()
    numbers = tuple(map(int, parts))
    return name, numbers if numbers[0] > 0 else ()
