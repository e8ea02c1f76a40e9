"""Random values of PostgreSQL's types as their input text, drawn towards the edges."""

from __future__ import annotations

import json
import math
import struct
import uuid
from collections.abc import Callable
from random import Random

_LETTERS = "aAbB zZ019'\"\\%_{},;\t\nÄßñ漢🦆\u0301\u202e"


def value(random: Random, type_: str, edges: tuple[str, ...]) -> str:
    """One of the type's own edges as often as not, and else any value, where we know how."""
    base = type_ if type_.endswith("[]") else type_.partition("(")[0]
    anything = _ANYTHING.get(type_) or _ANYTHING.get(base)
    return random.choice(edges) if anything is None or random.random() < 0.5 else anything(random)


def _integer(bits: int) -> Callable[[Random], str]:
    def draw(random: Random) -> str:
        # Any length of number alike, since most of all numbers are long ones.
        size = random.randrange(bits)
        return str(random.choice([-1, 1]) * random.getrandbits(size))

    return draw


def _double(random: Random) -> str:
    (number,) = struct.unpack("<d", random.randbytes(8))
    return repr(number) if math.isfinite(number) else repr(random.uniform(-1e6, 1e6))


def _single(random: Random) -> str:
    (number,) = struct.unpack("<f", random.randbytes(4))
    return repr(number) if math.isfinite(number) else repr(random.randrange(2**24) / 8)


def _digits(random: Random, most: int) -> str:
    return "".join(random.choices("0123456789", k=random.randint(1, most)))


def _numeric(random: Random) -> str:
    sign = random.choice(["", "-"])
    return f"{sign}{_digits(random, 60)}.{_digits(random, 60)}"


def _decimal(whole: int, scale: int) -> Callable[[Random], str]:
    return lambda random: (
        f"{random.choice(['', '-'])}{_digits(random, whole)}.{_digits(random, scale)}"
    )


def _text(random: Random) -> str:
    if random.random() < 0.1:
        return random.choice(_LETTERS) * random.choice([1_000, 5_000])
    return "".join(random.choices(_LETTERS, k=random.randrange(12)))


def _short(most: int) -> Callable[[Random], str]:
    return lambda random: "".join(random.choices(_LETTERS, k=random.randrange(most + 1)))


def _date(random: Random) -> str:
    return _day(random, 5_874_897)


def _day(random: Random, last_year: int) -> str:
    year = random.choice([random.randint(-4711, last_year), random.randint(1900, 2100)])
    month, day = random.randint(1, 12), random.randint(1, 28)
    return f"{year:04}-{month:02}-{day:02}" if year > 0 else f"{1 - year:04}-{month:02}-{day:02} BC"


def _time(random: Random) -> str:
    clock = f"{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}"
    return clock + random.choice(["", f".{_digits(random, 6)}"])


def _moment(zone: str) -> Callable[[Random], str]:
    def draw(random: Random) -> str:
        day, _, era = _day(random, 294_275).partition(" ")
        return f"{day} {_time(random)}{zone} {era}".rstrip()

    return draw


def _interval(random: Random) -> str:
    months, days = random.randint(-(2**31), 2**31 - 1), random.randint(-(2**31), 2**31 - 1)
    return f"{months} months {days} days {random.choice(['', '-'])}{_time(random)}"


def _document(random: Random, depth: int = 3) -> object:
    leaves: list[object] = [None, True, 0, -1, 1.5, 10**30, "", 'é\n"', "\U0001f986"]
    if depth == 0 or random.random() < 0.4:
        return random.choice(leaves)
    parts = [_document(random, depth - 1) for _ in range(random.randrange(4))]
    return parts if random.random() < 0.5 else {f"k{i % 2} é": part for i, part in enumerate(parts)}


def _json(random: Random) -> str:
    indent = random.choice([None, 2])
    return json.dumps(_document(random), indent=indent, ensure_ascii=random.random() < 0.5)


def _array(element: Callable[[Random], str]) -> Callable[[Random], str]:
    def one(random: Random) -> str:
        if random.random() < 0.2:
            return "NULL"
        return '"' + element(random).replace("\\", "\\\\").replace('"', '\\"') + '"'

    def draw(random: Random) -> str:
        if random.random() < 0.3:
            width = random.randint(1, 3)
            rows = [[one(random) for _ in range(width)] for _ in range(random.randint(1, 3))]
            return "{" + ",".join("{" + ",".join(row) + "}" for row in rows) + "}"
        return "{" + ",".join(one(random) for _ in range(random.randrange(5))) + "}"

    return draw


def _range(random: Random) -> str:
    low, high = sorted(random.randint(-(2**31), 2**31 - 2) for _ in range(2))
    return f"{random.choice('[(')}{low},{high}{random.choice('])')}"


_ANYTHING: dict[str, Callable[[Random], str]] = {
    "int2": _integer(16),
    "int4": _integer(32),
    "int8": _integer(64),
    "float4": _single,
    "real": _single,
    "float8": _double,
    "double precision": _double,
    "numeric": _numeric,
    "numeric(10,2)": _decimal(7, 2),
    "numeric(38,10)": _decimal(27, 10),
    "numeric(15,4)": _decimal(10, 4),
    "numeric(18,0)": lambda random: _digits(random, 18),
    "numeric(1000,500)": _numeric,
    "numeric(5,-2)": lambda random: _digits(random, 6),
    "numeric(3,5)": lambda random: f"0.00{random.randrange(1000):03}",
    "bool": lambda random: random.choice(["t", "f"]),
    "text": _text,
    "varchar": _text,
    "varchar(10)": _short(10),
    "char(5)": _short(5),
    "bytea": lambda random: "\\x" + random.randbytes(random.randrange(20)).hex(),
    "date": _date,
    "time": _time,
    "timestamp": _moment(""),
    "timestamptz": _moment("+00"),
    "interval": _interval,
    "uuid": lambda random: str(uuid.UUID(int=random.getrandbits(128))),
    "json": _json,
    "jsonb": _json,
    "int4[]": _array(_integer(32)),
    "int8[]": _array(_integer(64)),
    "text[]": _array(_short(6)),
    "numeric[]": _array(_numeric),
    "date[]": _array(_date),
    "jsonb[]": _array(_json),
    "bytea[]": _array(lambda random: "\\x" + random.randbytes(random.randrange(5)).hex()),
    "int4range": _range,
    "int8range": _range,
    "numrange": _range,
    "varbit": lambda random: "".join(random.choices("01", k=random.randrange(40))),
    "varbit(8)": lambda random: "".join(random.choices("01", k=random.randrange(9))),
    "oid": lambda random: str(random.getrandbits(32)),
    "tid": lambda random: f"({random.getrandbits(32)},{random.getrandbits(16)})",
    "macaddr": lambda random: random.randbytes(6).hex(":"),
    "macaddr8": lambda random: random.randbytes(8).hex(":"),
    "point": lambda random: f"({_double(random)},{_double(random)})",
}
