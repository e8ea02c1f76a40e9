"""What must arrive, by the rules of docs/types.md and with the standard library alone."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from tests.random.tables import Column, RandomTable, Row
from tests.random.values import FAR, Text, Value, class_of

_CHARACTERS = "character varying"
_MOMENT, _INSTANT = "timestamp without time zone", "timestamp with time zone"
_TIME = "time without time zone"

# docs/types.md: what each declared type becomes, and what follows where a value does not fit.
_INTEGERS = ("bigint", "numeric", "text", "bytea")
_REALS = ("double precision", "text", "bytea")
_TEXTS = ("text", "bytea")
_UNTYPED = ("text", "bigint", "double precision", "bytea")
_MOMENTS = (_MOMENT, _INSTANT, "bigint", "numeric", "text", "bytea")
TYPES: dict[str, tuple[str, ...]] = {
    "": _UNTYPED,
    "ANY": _UNTYPED,
    "BOOLEAN": ("boolean", *_INTEGERS),
    "INTEGER": _INTEGERS,
    "INT": _INTEGERS,
    "BIGINT": _INTEGERS,
    "UNSIGNED BIG INT": _INTEGERS,
    "TINYINT": ("smallint", *_INTEGERS),
    "SMALLINT": ("smallint", *_INTEGERS),
    "MEDIUMINT": ("integer", *_INTEGERS),
    "INT4": ("integer", *_INTEGERS),
    "DECIMAL(10,2)": ("numeric(10,2)", "numeric", *_TEXTS),
    "DECIMAL(18, 4)": ("numeric(18,4)", "numeric", *_TEXTS),
    "DECIMAL(30,4)": ("numeric", *_TEXTS),
    "NUMERIC(5)": ("numeric(5,0)", "numeric", *_TEXTS),
    "NUMERIC": ("numeric", *_TEXTS),
    "MONEY": ("numeric", *_TEXTS),
    "REAL": _REALS,
    "FLOAT": _REALS,
    "DOUBLE": _REALS,
    "DOUBLE PRECISION": _REALS,
    "CHAR(3)": (f"{_CHARACTERS}(3)", *_TEXTS),
    "VARCHAR(5)": (f"{_CHARACTERS}(5)", *_TEXTS),
    "NVARCHAR(5)": (f"{_CHARACTERS}(5)", *_TEXTS),
    "TEXT": _TEXTS,
    "CLOB": _TEXTS,
    '"STRING"': ("text", "bigint", "numeric", "bytea"),
    "BLOB": ("bytea", "text", "bigint", "double precision"),
    "DATE": ("date", *_MOMENTS),
    "DATETIME": _MOMENTS,
    "TIMESTAMP": _MOMENTS,
    "TIMESTAMPTZ": (_INSTANT, _MOMENT, *_INTEGERS),
    "TIME": (_TIME, *_INTEGERS),
    "JSON": ("json", "text", "bigint", "numeric", "bytea"),
    "UUID": ("uuid", "text", "bigint", "numeric", "bytea"),
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What becomes of a column: its type in PostgreSQL, and what the report says of it.

    misfits: values that do not fit ``planned``. merges: some of its values are of a storage class
    that ``became`` has not, and are kept by their text.
    """

    planned: str
    became: str
    misfits: int
    merges: bool
    merged_classes: tuple[str, ...]

    def named(self, column: Column) -> bool:
        """Whether the report names it as widened. A column of no type was promised none, and is
        named only where storage classes are kept by their text."""
        return self.merges or (column.typed and self.became != self.planned)


def expected_columns(
    tables: Sequence[RandomTable], truth: Mapping[str, list[Row]]
) -> dict[tuple[str, str], Expected]:
    """By table and column."""
    values = {
        (table.name, column.name): [row[i] for row in truth[table.name]]
        for table in tables
        for i, column in enumerate(table.columns)
    }
    offered = {
        (table.name, column.name): TYPES[" ".join(column.declared.split())]
        for table in tables
        for column in table.columns
    }
    became = {at: _first_that_fits(offered[at], values[at]) for at in values}
    _widen_partners(tables, became)
    return {at: _expected(offered[at][0], became[at], values[at]) for at in values}


def _first_that_fits(types: Sequence[str], values: Iterable[Value]) -> str:
    present = [value for value in values if value is not None]
    for name in types:
        if all(suits(value, name) for value in present):
            return name
    # Of several storage classes, or text that PostgreSQL cannot hold as text.
    without_bytes = all(isinstance(v, int | float) or suits(v, "text") for v in present)
    return "text" if without_bytes else "bytea"


def _widen_partners(tables: Sequence[RandomTable], became: dict[tuple[str, str], str]) -> None:
    """Both columns of a foreign key, and what refers to them, get the widest type among them."""
    pairs = [
        (
            (table.name, table.columns[reference.column].name),
            (reference.parent, reference.parent_column),
        )
        for table in tables
        for reference in table.references
    ]
    for width in ("numeric", "text", "bytea"):
        # As often as there are pairs: so far can it spread.
        for pair in pairs * len(pairs):
            groups = [_group(became[at]) for at in pair]
            if width in groups:
                became.update((at, width) for at in pair if _narrower(became[at], width))


def _group(name: str) -> str:
    return "text" if name.startswith(_CHARACTERS) else name


def _narrower(name: str, width: str) -> bool:
    order = ("smallint", "integer", "bigint", "numeric", "text", "bytea")
    return order.index(_group(name)) < order.index(width)


def _expected(planned: str, became: str, values: Sequence[Value]) -> Expected:
    classes = {class_of(value) for value in values} - {"null"}
    merges = bool(classes - _OWN_CLASSES.get(became.partition("(")[0], {"text"}))
    return Expected(
        planned=planned,
        became=became,
        misfits=sum(value is not None and not suits(value, planned) for value in values),
        merges=merges,
        merged_classes=tuple(sorted(classes)) if merges and len(classes) > 1 else (),
    )


# The storage classes that a type of PostgreSQL keeps as they are; for all others it is text.
_OWN_CLASSES = {
    "smallint": {"integer"},
    "integer": {"integer"},
    "bigint": {"integer"},
    "boolean": {"integer"},
    "double precision": {"real"},
    "numeric": {"integer", "real"},
    "bytea": {"blob"},
}

# Fitting values


def suits(value: Value, name: str) -> bool:
    """Whether a value is what the type ``name`` of PostgreSQL says, so that it comes back as the
    same value of the same storage class."""
    name, _, limits = name.rstrip(")").partition("(")
    match value:
        case int():
            return _integer_suits(value, name, limits)
        case float():
            return name == "double precision" or (name == "numeric" and _is_number(value, limits))
        case bytes():
            return name == "bytea"
        case Text() if value.valid:
            return _text_suits(value.data.decode(), name, limits)
    return False


def _integer_suits(value: int, name: str, limits: str) -> bool:
    bits = {"boolean": 0, "smallint": 16, "integer": 32, "bigint": 64}.get(name)
    if bits is None:
        return name == "numeric" and _is_number(value, limits)
    return value in (0, 1) if bits == 0 else -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _is_number(value: int | float, limits: str) -> bool:
    """Whether its shortest decimal is a number of no more digits than "precision,scale" allow."""
    if repr(value) == "-0.0":
        return False
    if not limits:
        return True
    precision, scale = map(int, limits.split(","))
    if not abs(value) < 10 ** (precision - scale):
        return False
    return Decimal(repr(value)) % Decimal(1).scaleb(-scale) == 0


def _text_suits(text: str, name: str, limits: str) -> bool:
    if name in ("text", _CHARACTERS):
        return not limits or len(text) <= int(limits)
    if text in FAR.get(name, ()):
        return True
    try:
        return name in _CHECKS and _CHECKS[name](text)
    except (ValueError, OverflowError):
        return False


_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
_ZONE = r"(?:Z|[+-]\d\d(?::?\d\d)?)"


def _looks(text: str, pattern: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


def _is_instant(text: str) -> bool:
    return _looks(text, f"{_DAY}[ T]{_CLOCK}{_ZONE}") and bool(
        datetime.fromisoformat(text).astimezone(UTC)
    )


def _is_json(text: str) -> bool:
    json.loads(text, parse_int=str, parse_constant=_no_constant)
    return True


def _no_constant(name: str) -> None:
    # NaN and the infinities are Python's own additions.
    raise ValueError(name)


# Each may also raise ValueError, or OverflowError for an instant before the year 1.
_CHECKS: dict[str, Callable[[str], bool]] = {
    "date": lambda text: _looks(text, _DAY) and bool(date.fromisoformat(text)),
    _TIME: lambda text: _looks(text, _CLOCK) and bool(time.fromisoformat(text)),
    _MOMENT: lambda text: (
        _looks(text, f"{_DAY}(?:[ T]{_CLOCK})?") and bool(datetime.fromisoformat(text))
    ),
    _INSTANT: _is_instant,
    "json": _is_json,
    "uuid": lambda text: str(uuid.UUID(text)) == text,
}

# Values as they arrive


def arrives_as(value: Value, name: str) -> object:
    """What psycopg must read where SQLite holds ``value`` and the column is of type ``name``;
    reals by their repr, to tell -0.0 from 0.0, and JSON and UUIDs as text."""
    name = name.partition("(")[0]
    match value, name:
        case None, _:
            return None
        case ((int() | float()), "numeric"):
            return Decimal(repr(value))
        case ((int() | float()), ("text" | "bytea")):
            return repr(value) if name == "text" else repr(value).encode()
        case float(), _:
            return repr(value)
        case Text(data), "bytea":
            return data
        case Text(data), _:
            text = data.decode()
            if text in FAR.get(name, ()):
                # Python has no such date, and gets its text.
                return text.replace("+00:00", "+00")
            return _READ.get(name, str)(text)
    return value


_READ: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    _TIME: time.fromisoformat,
    _MOMENT: datetime.fromisoformat,
    _INSTANT: datetime.fromisoformat,
}


def respelled(values: Iterable[Value], name: str) -> int:
    """How many of a column's values PostgreSQL shows in a spelling of its own."""
    clock = r"\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?"
    ours = {
        _TIME: clock,
        _MOMENT: rf"{_DAY} {clock}",
        _INSTANT: rf"{_DAY} {clock}\+00:00",
    }
    if name not in ours:
        return 0
    texts = [value.data.decode() for value in values if isinstance(value, Text)]
    return sum(text not in FAR[name] and not _looks(text, ours[name]) for text in texts)
