"""What SQLite's declared types mean. Pure.

A declared type only sets an affinity ("Datatypes In SQLite", section 3.1): any column can hold any
storage class. So each declared type has a list of candidates, and the first that all values fit
is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from tableferry.kinds import (
    ANY,
    BOOL,
    BYTES,
    DATE,
    DECIMAL_DIGITS,
    EXACT_DIGITS,
    FLOAT,
    FLOAT4,
    INT,
    JSON,
    NAMED_NUMBERS,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
    native,
)
from tableferry.model import Candidate, Column, Kind, LeftBehind, Table
from tableferry.sql import fold

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
    # Shortest decimals of four bytes; of REAL affinity by its letters.
    "FLOAT4": (FLOAT4, FLOAT),
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


_AFFINITIES = ("INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC")

# The types of new columns. None has an affinity that would change a value of its kind: a date, a
# time or a UUID never looks like a number, and what may is kept as text.
_TYPES = {
    "bool": "BOOLEAN",
    "text": "TEXT",
    "bytes": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "uuid": "UUID",
    "json": "JSON_TEXT",
    "numeric": "NUMERIC_TEXT",
    "number": "NUMERIC",
}
_INT_TYPES = {16: "INT2", 32: "INT4", 64: "BIGINT"}


def type_for(kind: Kind) -> str:
    """The type of a new column that is to hold values of this kind."""
    match kind.name:
        case "int":
            return _INT_TYPES[kind.bits]
        case "float":
            return "FLOAT4" if kind.bits == FLOAT4.bits else "DOUBLE"
        case "decimal":
            return f"DECIMAL({kind.precision},{kind.scale})"
        case "text" if kind.length is not None:
            return f"VARCHAR({kind.length})"
        case "native":
            return _text_type(kind.type)
    return _TYPES[kind.name]


# A type of another database, whose values are kept as its text, leaves its name in that of the
# column's: "timestamp with time zone[]" is TIMESTAMP_WITH_TIME_ZONE_ARRAY_TEXT.
_SUFFIX = "_TEXT"
# Values of these look like numbers, and INT in a name would make them some.
_RENAMED = {"int2vector": "VECTOR2_TEXT", '"char"': "CHAR_TEXT", "numeric": "NUMERIC_TEXT"}
# INT in a name makes a column one of INTEGER affinity, which is harmless where no value looks like
# a number.
_NEVER_NUMBERS = re.compile(
    r"(interval.*|point|int[48](multi)?range)(\[\])?|(smallint|integer|bigint)\[\]"
)
_NAMED_BACK = {renamed: name for name, renamed in _RENAMED.items()}


def _text_type(name: str) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    match = re.fullmatch(r"([a-z0-9_ ]+?)(\([0-9,-]+\))?( [a-z ]+)?(\[\])?", name)
    if match is None:
        return "TEXT"
    words = (match[1] + (match[3] or "")).replace("_", "__").replace(" ", "_")
    array = "_ARRAY" if match[4] else ""
    declared = f"{words.upper()}{array}{_SUFFIX}{match[2] or ''}"
    harmless = affinity(declared) == "TEXT" or _NEVER_NUMBERS.fullmatch(name)
    return declared if harmless else "TEXT"


def foreign_type(declared: str) -> str | None:
    """The type whose texts a column holds by its name; None where the name says nothing.

    >>> foreign_type("NUMERIC_TEXT(30,5)")
    'numeric(30,5)'
    """
    match = re.fullmatch(r"([A-Z0-9_]+)_TEXT(\([0-9,-]+\))?", declared.strip().upper())
    if match is None:
        return None
    arguments = match[2] or ""
    if (name := _NAMED_BACK.get(match[1] + _SUFFIX)) is not None:
        return name + arguments
    words = match[1].lower()
    array = "[]" if words.endswith("_array") else ""
    words = words.removesuffix("_array")
    name = words.replace("__", "\0").replace("_", " ").replace("\0", "_")
    # Digits of a second stand within the name: time(3) with time zone.
    if arguments and (zone := re.fullmatch(r"(time(?:stamp)?)( with(?:out)? time zone)", name)):
        return f"{zone[1]}{arguments}{zone[2]}{array}"
    return name + arguments + array


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


# The names of the rowid, unless a column has them ("ROWIDs and the INTEGER PRIMARY KEY").
_ROWID_NAMES = ("rowid", "_rowid_", "oid")


def locator(columns: Iterable[Column]) -> str:
    """The name of the rowid that no column hides; "" where all are taken."""
    taken = {fold(column.name) for column in columns}
    return next((name for name in _ROWID_NAMES if name not in taken), "")


def fit_table(table: Table, *, copied: bool) -> Table:
    """A key of one integer becomes the rowid itself, which needs no index beside the table. But the
    rowid takes no default; and in a copy of a table of SQLite's, where any column may hold
    anything, only what was the rowid can be."""
    key = table.primary_key
    columns = table.columns
    if key is not None and len(key.columns) == 1:
        columns = tuple(
            replace(column, declared=_of_key(column, table, copied=copied))
            if column.name == key.columns[0]
            else column
            for column in columns
        )
    return replace(table, columns=columns, locator=locator(columns))


def _of_key(column: Column, table: Table, *, copied: bool) -> str:
    if copied:
        other = column.declared.upper() == "INTEGER" and table.identity is None
        return "INT" if other else column.declared
    numbers = column.declared in _INT_TYPES.values() and column.default is None
    return "INTEGER" if numbers else column.declared


# What "CREATE TABLE" (section 5) writes behind the definition, and what each would keep out.
_OPTIONS = {
    "STRICT": "the new table takes values of any storage class",
    "WITHOUT ROWID": "the new table has rowids, which it is stored by",
}


def unkept(table: Table) -> Iterable[LeftBehind]:
    """Options of a table that one of ours has not; see catalog.py."""
    for option, reason in _OPTIONS.items():
        if option in table.extras:
            yield LeftBehind("table option", option, table.name.name, reason)


def takes(kind: Kind) -> bool:
    """Whether a column can hold every value of a kind, each in one way only."""
    return kind.name != "decimal" or kind.precision <= EXACT_DIGITS


# The affinities that change no value of a kind on its way into a column, nor what it is read as;
# a blob, and text that never looks like a number, are kept by all ("Datatypes In SQLite", 3).
_KEPT_BY = {
    **dict.fromkeys(("int", "bool"), ("INTEGER", "NUMERIC", "BLOB")),
    "float": ("REAL", "BLOB"),
    "decimal": ("INTEGER", "NUMERIC", "REAL", "BLOB"),
    "number": ("INTEGER", "NUMERIC", "BLOB"),
    **dict.fromkeys(("text", "json", "native", "numeric"), ("TEXT", "BLOB")),
}


def keeps(column: Column, kind: Kind) -> bool:
    """Whether a column keeps values of a kind as they are stored."""
    return affinity(column.declared) in _KEPT_BY.get(kind.name, _AFFINITIES)


def may_be_long(declared: str) -> bool:
    """Whether a type sets no small bound to the length of its values."""
    name, arguments = _parse(declared)
    bounded = len(arguments) == 1 and arguments[0] <= _SHORT
    return "JSON" in name or (affinity(declared) in ("TEXT", "BLOB") and not bounded)


def candidates(column: Column) -> tuple[Candidate, ...]:
    """What a column may be read as, the most useful first; the last one fits every value."""
    kinds = _declared_kinds(column.declared)
    first = tuple(Candidate(kind) for kind in kinds)
    # Numbers that have no storage class of their own stand as text, under their names.
    typed = affinity(column.declared) in ("REAL", "NUMERIC")
    named = tuple(Candidate(k, merges=True) for k in kinds if typed and k.name in NAMED_NUMBERS)
    return (*first, *named, *(c for c in _FALLBACKS if c not in first))


def own_candidates(column: Column) -> tuple[Candidate, ...]:
    """What a column is read as on its way to another column of SQLite: each storage class as it
    is, fast where the affinity leaves little choice."""
    exact = Candidate(ANY)
    match affinity(column.declared):
        case "INTEGER":
            return (Candidate(INT), exact)
        case "REAL":
            return (Candidate(FLOAT), exact)
        case "TEXT":
            return (Candidate(TEXT), exact)
    return (exact,)


def _declared_kinds(declared: str) -> tuple[Kind, ...]:
    name, arguments = _parse(declared)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if (foreign := foreign_type(declared)) is not None:
        return _foreign_kinds(foreign)
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


def _foreign_kinds(foreign: str) -> tuple[Kind, ...]:
    return (JSON if foreign == "json" else native(foreign), TEXT)


def _parse(declared: str) -> tuple[str, tuple[int, ...]]:
    """'Decimal ( 15, 2 )' -> ('DECIMAL', (15, 2)); arguments that are no counts are none."""
    # No pattern, which a type of a hundred blanks and a parenthesis would keep busy for an hour.
    before, opened, rest = declared.partition("(")
    inside, closed, after = rest.partition(")")
    if opened != "(" * len(closed) or "(" in inside or {"(", ")"} & {*before, *after}:
        return " ".join(declared.upper().split()), ()
    name = " ".join(f"{before} {after}".upper().split())
    parts = [part.strip() for part in inside.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in parts):
        return name, ()
    numbers = tuple(map(int, parts))
    return name, numbers if numbers[0] > 0 else ()
