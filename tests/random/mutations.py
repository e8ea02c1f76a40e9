"""Random single mutations of a migrated table, made by psycopg and sqlite3 alone, and what a
verification has to say of each.

What counts as another value is decided here anew, from docs/types.md: a change that leaves a table
the same in that sense is no mutation, and another one is drawn.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from random import Random
from typing import Any, Protocol, TypeAlias

import numpy as np

# A value as Python has it: a date or any other type of which only the text is known is a str.
Value: TypeAlias = bool | int | float | Decimal | str | bytes | None
Row: TypeAlias = tuple[Value, ...]

_ATTEMPTS = 500
_SHOWN = 60
_INTEGERS = ("smallint", "integer", "bigint", "INTEGER", "INT2", "INT4", "BIGINT")
_TEXTS = ("text", "TEXT")


@dataclass(frozen=True, slots=True)
class Column:
    """type: as PostgreSQL's format_type() has it, or as it is declared in SQLite. digits: whether
    1.10 is another value than 1.1 there."""

    name: str
    type: str
    digits: bool = False

    @property
    def zoned(self) -> bool:
        """Whether its values have an offset."""
        return bool(re.search(r"with time zone|TIMESTAMPTZ|WITH_TIME_ZONE", self.type))

    @property
    def single(self) -> bool:
        """Whether its values are floats of four bytes."""
        return self.type in ("real", "FLOAT4")


@dataclass(frozen=True, slots=True)
class Table:
    """key: the positions of the primary key's columns."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mutation:
    """rows: what becomes of rows by their numbers, None where one is deleted. added: new ones."""

    what: str
    rows: Mapping[int, Row | None] = field(default_factory=dict)
    added: tuple[Row, ...] = ()


class ValueRefused(Exception):
    """The target's database does not take a value, or a rule of the table forbids it."""


class Client(Protocol):
    """An independent client of a migrated target."""

    def rows(self, table: Table) -> dict[int, Row]:
        """All rows by a number of their own, which they keep."""

    def apply(self, table: Table, mutation: Mutation) -> list[Row]:
        """Changes the table, and gives the rows concerned as they are then. Raises ValueRefused,
        and the table is as before."""

    def undo(self) -> None:
        """Everything as it was before the last apply."""

    def same(self, column: Column, value: Value) -> object:
        """What is equal for two values that are the same in the sense of docs/types.md."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One difference: ``row`` is the key's values or, without a key, all values of the row, which
    stands so many times in the source and in the target."""

    what: str
    row: Row
    column: str = ""
    stands: tuple[int, int] = (0, 0)

    @property
    def times(self) -> int:
        return abs(self.stands[0] - self.stands[1]) or 1


def mutate(
    random: Random, client: Client, table: Table, rows: Mapping[int, Row]
) -> tuple[Mutation, list[Expected]]:
    """Makes one random mutation, and says which differences it is."""
    for _ in range(_ATTEMPTS):
        mutation = _draw(random, table, rows)
        if mutation is None:
            continue
        try:
            after = client.apply(table, mutation)
        except ValueRefused:
            continue
        expected = _differences(client, table, rows, mutation, after)
        if expected:
            return mutation, expected
        client.undo()
    raise AssertionError(f"no mutation of {table.name} was found in {_ATTEMPTS} attempts")


def _differences(
    client: Client,
    table: Table,
    rows: Mapping[int, Row],
    mutation: Mutation,
    after: Sequence[Row],
) -> list[Expected]:
    def same(row: Row) -> tuple[object, ...]:
        return tuple(client.same(c, v) for c, v in zip(table.columns, row, strict=True))

    before = [rows[number] for number in mutation.rows]
    if table.key:
        return list(_differences_by_key(table, same, before, after))
    source = Counter(map(same, rows.values()))
    target = source - Counter(map(same, before)) + Counter(map(same, after))
    example = {same(row): row for row in (*before, *after)}
    return [
        Expected(
            "missing" if source[row] > target[row] else "extra",
            example[row],
            stands=(source[row], target[row]),
        )
        for row in example
        if source[row] != target[row]
    ]


def _differences_by_key(
    table: Table,
    same: Callable[[Row], tuple[object, ...]],
    before: Sequence[Row],
    after: Sequence[Row],
) -> Iterator[Expected]:
    ours, theirs = ({_key(table, same(row)): row for row in rows} for rows in (before, after))
    for key in ours.keys() | theirs.keys():
        if key not in theirs:
            yield Expected("missing", _key(table, ours[key]), stands=(1, 0))
        elif key not in ours:
            yield Expected("extra", _key(table, theirs[key]), stands=(0, 1))
        else:
            pairs = zip(table.columns, same(ours[key]), same(theirs[key]), strict=True)
            for column, one, other in pairs:
                if one != other:
                    yield Expected("changed", _key(table, ours[key]), column.name)


def _key(table: Table, row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(row[position] for position in table.key)


def shown(column: Column, value: Value) -> str | None:
    """How a difference shows a value, where that is easy to foretell."""
    match value:
        case None:
            return "NULL"
        case bool():
            return None
        case int() if column.type in _INTEGERS:
            return str(value)
        case str() if column.type in _TEXTS and value.isprintable() and len(value) < _SHOWN // 2:
            return repr(value)
    return None


# ---- what is drawn -------------------------------------------------------------------------------


def _draw(random: Random, table: Table, rows: Mapping[int, Row]) -> Mutation | None:
    """One that may turn out to be none: None where what was drawn cannot be done to the row."""
    share = random.random()
    if share < 0.7 or len(rows) < 2:
        return _cell(random, table, rows)
    if share < 0.82:
        return _swap(random, table, rows)
    number = random.choice(list(rows))
    if share < 0.88:
        return Mutation("deleted row", {number: None})
    if share < 0.94:
        return _inserted(random, table, rows)
    if not table.key:
        return Mutation("doubled row", added=(rows[number],))
    return _other_key(random, table, rows, number)


def _cell(random: Random, table: Table, rows: Mapping[int, Row]) -> Mutation | None:
    positions = [i for i in range(len(table.columns)) if i not in table.key]
    if not positions:
        return None
    position = random.choice(positions)
    column = table.columns[position]
    filled = [number for number, row in rows.items() if row[position] is not None]
    empty = [number for number, row in rows.items() if row[position] is None]
    what = random.choice([*_CHANGES, "null", "other"])
    if what == "null" and empty and (not filled or random.random() < 0.5):
        number = random.choice(empty)
        # Where there is no value to take, the simplest that any type has.
        samples: list[Value] = [rows[n][position] for n in filled] or [0, "", b"", "0", "a"]
        changed: Value = random.choice(samples)
    elif not filled:
        return None
    else:
        number = random.choice(filled)
        value = rows[number][position]
        if what == "null":
            changed = None
        elif what == "other":
            changed = rows[random.choice(filled)][position]
        else:
            changed = _CHANGES[what](random, column, value)
            if changed is None:
                return None
    return Mutation(f"{what} of {column.name}", {number: _with(rows[number], position, changed)})


def _with(row: Row, position: int, value: Value) -> Row:
    return (*row[:position], value, *row[position + 1 :])


def _swap(random: Random, table: Table, rows: Mapping[int, Row]) -> Mutation | None:
    """One column of two rows, or all but the key."""
    one, other = random.sample(list(rows), 2)
    free = [i for i in range(len(table.columns)) if i not in table.key]
    if not free:
        return None
    chosen = free if random.random() < 0.3 else [random.choice(free)]
    changed = {one: rows[one], other: rows[other]}
    for position in chosen:
        changed[one] = _with(changed[one], position, rows[other][position])
        changed[other] = _with(changed[other], position, rows[one][position])
    return Mutation("swapped rows", changed)


def _inserted(random: Random, table: Table, rows: Mapping[int, Row]) -> Mutation | None:
    """A new row of values from anywhere in the table."""
    mixed = tuple(rows[random.choice(list(rows))][i] for i in range(len(table.columns)))
    row = _new_key(random, table, mixed)
    return None if row is None else Mutation("inserted row", added=(row,))


def _other_key(
    random: Random, table: Table, rows: Mapping[int, Row], number: int
) -> Mutation | None:
    row = _new_key(random, table, rows[number])
    return None if row is None else Mutation("changed key", {number: row})


def _new_key(random: Random, table: Table, row: Row) -> Row | None:
    if not table.key:
        return row
    position = random.choice(table.key)
    what = random.choice(list(_CHANGES))
    changed = _CHANGES[what](random, table.columns[position], row[position])
    return None if changed is None else _with(row, position, changed)


# ---- another value, close by ---------------------------------------------------------------------

Change: TypeAlias = Callable[[Random, Column, Value], Value]


def _flipped_bit(random: Random, column: Column, value: Value) -> Value:
    match value:
        case bool():
            return not value
        case int():
            return value ^ (1 << random.randrange(random.choice([8, 15, 31, 63])))
        case float():
            return _flipped_float(random, column, value)
        case bytes():
            return _flipped_bytes(random, value)
        case str():
            flipped = _flipped_bytes(random, value.encode("utf-8", "surrogateescape"))
            return flipped.decode("utf-8", "surrogateescape")
    return None


def _flipped_float(random: Random, column: Column, value: float) -> float:
    whole, bits = ("<f", "<I") if column.single and abs(value) < 3e38 else ("<d", "<Q")
    (word,) = struct.unpack(bits, struct.pack(whole, value))
    word ^= 1 << random.randrange(struct.calcsize(bits) * 8)
    (flipped,) = struct.unpack(whole, struct.pack(bits, word))
    return _shortest(flipped) if column.single and whole == "<f" else float(flipped)


def _shortest(value: float) -> float:
    """The double of a float's shortest decimal."""
    return float(str(np.float32(value)))


def _flipped_bytes(random: Random, value: bytes) -> bytes:
    if not value:
        return b"\0"
    changed = bytearray(value)
    changed[random.randrange(len(value))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _next_digit(random: Random, column: Column, value: Value) -> Value:
    """The number, day or microsecond next to it; of any other text, its last digit."""
    match value:
        case bool():
            return None
        case int():
            return value + random.choice([-1, 1])
        case float() if column.single:
            return _shortest(np.nextafter(np.float32(value), np.float32(random.choice([-9, 9]))))
        case float():
            return math.nextafter(value, random.choice([-math.inf, math.inf]))
        case Decimal() if value.is_finite():
            with localcontext(prec=5_000):
                exponent = int(value.as_tuple().exponent)
                step = Decimal(1).scaleb(exponent)
                return value + step if random.random() < 0.5 else value - step
        case str():
            digits = [match.start() for match in re.finditer("[0-9]", value)]
            return _other_digit(random, value, digits[-1]) if digits else None
    return None


def _other_digit(random: Random, text: str, at: int) -> str:
    digit = (int(text[at]) + random.choice([1, 9])) % 10
    return f"{text[:at]}{digit}{text[at + 1 :]}"


def _any_digit(random: Random, column: Column, value: Value) -> Value:
    """What a wrong day, hour or network looks like."""
    if not isinstance(value, str) or not (digits := list(re.finditer("[0-9]", value))):
        return None
    return _other_digit(random, value, random.choice(digits).start())


_BLANKS = (" ", "  ", "\t", "\n", "\r\n", "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}")


def _whitespace(random: Random, column: Column, value: Value) -> Value:
    if not isinstance(value, str):
        return None
    blanks = [match.start() for match in re.finditer(r"\s", value)]
    if blanks and random.random() < 0.5:
        at = random.choice(blanks)
        return value[:at] + random.choice(("", *_BLANKS)) + value[at + 1 :]
    at = random.choice((0, len(value), random.randint(0, len(value))))
    return value[:at] + random.choice(_BLANKS) + value[at:]


def _case(random: Random, column: Column, value: Value) -> Value:
    if not isinstance(value, str):
        return None
    letters = [i for i, letter in enumerate(value) if letter.swapcase() != letter]
    if not letters:
        return None
    at = random.choice(letters)
    return value[:at] + value[at].swapcase() + value[at + 1 :]


_CLOCK = re.compile(r"(?<![0-9])([01][0-9]|2[0-3]):([0-5][0-9])")


def _zone_shift(random: Random, column: Column, value: Value) -> Value:
    """The hour as in another time zone, or the same hour in another."""
    if not isinstance(value, str) or (clock := _CLOCK.search(value)) is None:
        return None
    offset = re.search(r"[+-][0-9]{2}(:[0-9]{2})?(?= BC|$)", value) if column.zoned else None
    if offset is not None and random.random() < 0.5:
        other = random.choice(("+01:00", "-01:00", "+05:30", "+00:30", "+14:00"))
        return value[: offset.start()] + other + value[offset.end() :]
    hour = (int(clock[1]) + random.choice([1, 2, 23])) % 24
    return f"{value[: clock.start()]}{hour:02}:{clock[2]}{value[clock.end() :]}"


def _other_class(random: Random, column: Column, value: Value) -> Value:
    """The same to look at, but of another storage class: PostgreSQL has none, and takes few."""
    match value:
        case bool():
            return int(value)
        case int():
            return float(value) if random.random() < 0.5 else str(value)
        case float():
            return repr(value)
        case str():
            return value.encode("utf-8", "surrogateescape")
        case bytes():
            return value.decode("utf-8", "surrogateescape")
    return None


_CHANGES: dict[str, Change] = {
    "flipped bit": _flipped_bit,
    "last digit": _next_digit,
    "any digit": _any_digit,
    "whitespace": _whitespace,
    "case": _case,
    "zone shift": _zone_shift,
    "storage class": _other_class,
}
