"""Every hard value in one database, read back from PostgreSQL and held against Python's sqlite3.

What a value has to have become is worked out here from docs/types.md, without the program's help.
"""

from __future__ import annotations

import datetime
import math
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from tests.servers import Server
from tests.system.support import Run, ferried, ferry

LONG = 100_000_000
SOME_UUID = "0f0e0d0c-0b0a-4909-8807-060504030201"
HEX_UUID = SOME_UUID.replace("-", "")


class Text(bytes):
    """A SQLite text as its bytes, which need not be UTF-8; a blob is plain bytes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A column: its declared type and values, the type that it becomes, how many values do not fit
    the declared type (None: it must not be named), and what else the report says of it."""

    declared: str
    values: list[Any]
    becomes: str
    misfits: int | None = None
    merged: tuple[str, ...] = ()
    respelled: int = 0
    strict: bool = False


NUMBERS = {
    "int64": Case("INTEGER", [2**63 - 1, -(2**63), 0, None], "int8"),
    "unsigned": Case("UNSIGNED BIG INT", [2**63 - 1], "int8"),
    "int4": Case("INT4", [2**31 - 1, -(2**31)], "int4"),
    "past int4": Case("INT4", [2**31, 1], "int8", 1),
    "past int2": Case("TINYINT", [300, 32767, 32768], "int8", 1),
    "integers in a real": Case("REAL", [2**53 + 1, -(2**53) - 1, 2**63 - 1], "float8"),
    "integers in a numeric": Case("NUMERIC", [2**53 + 1, 2**63 - 1, 0.1], "numeric"),
    "real in an integer": Case("INTEGER", [1, 2.5, 1e300], "numeric", 2),
    "reals": Case(
        "REAL", [math.inf, -math.inf, -0.0, 1e308, -1e308, 5e-324, 0.1 + 0.2, None], "float8"
    ),
    "reals of no type": Case(
        "", [math.inf, -math.inf, -0.0, 1e308, 5e-324, 0.1 + 0.2, None], "float8"
    ),
    "numbers of no type": Case(
        "", [-0.0, 1, 0.1 + 0.2, 1e308], "text", 4, merged=("integer", "real")
    ),
    "decimals": Case("DECIMAL(10,2)", [1.1, -99999999.99, 7, 0.07, None], "numeric"),
    "too many digits": Case("DECIMAL(10,2)", [1.239, 1.23, 123456789.5], "numeric", 2),
    "endless decimal": Case("DECIMAL(10,2)", [math.inf, 0.5], "numeric", 1),
    "text in a decimal": Case("DECIMAL(10,2)", [1.5, "n/a"], "text", 1, merged=("real", "text")),
    "76 digits": Case("DECIMAL(76,0)", ["9" * 76, 10**18, None], "numeric"),
    "200 digits": Case("DECIMAL(200,100)", ["1" * 100 + "." + "1" * 100, 0.5], "numeric"),
    "200 digits as text": Case("TEXT", ["9" * 200, "1." + "9" * 199], "text"),
    "200 digits of no type": Case("", ["9" * 200], "text"),
}

MIXTURES = {
    "all classes": Case(
        "INTEGER",
        [1, 2.5, "x", b"\xff", None],
        "bytea",
        3,
        merged=("blob", "integer", "real", "text"),
    ),
    "all classes of no type": Case(
        "", [1, 2.5, "x", b"\xff"], "bytea", 3, merged=("blob", "integer", "real", "text")
    ),
    "late text": Case("INTEGER", [None] * 5_000 + ["late"], "text", 1),
    "late word": Case("INTEGER", [*range(5_000), "word"], "text", 1, merged=("integer", "text")),
    "any": Case("ANY", ["a", ""], "text", strict=True),
    "integers in any": Case("ANY", [1, None, 2], "int8", strict=True),
    "all classes in any": Case(
        "ANY",
        [1, 2.5, "1", b"\xff"],
        "bytea",
        3,
        merged=("blob", "integer", "real", "text"),
        strict=True,
    ),
    "strict integer": Case("INTEGER", [2**63 - 1], "int8", strict=True),
    "strict text": Case("TEXT", ["1", "a\0"], "bytea", 1, strict=True),
}

BOOLEANS = {
    "booleans": Case("BOOLEAN", [0, 1, None], "bool"),
    "words": Case("BOOLEAN", ["t", "f", "true", "false", "yes", "no", ""], "text", 7),
    "two": Case("BOOLEAN", [1, 0, 2], "int8", 1),
    "a half": Case("BOOLEAN", [0, 0.5], "numeric", 1),
    "an empty boolean": Case("BOOLEAN", [1, ""], "text", 1, merged=("integer", "text")),
}

MOMENTS = {
    "dates": Case("DATE", ["2024-02-29", "0001-01-01", "9999-12-31", None], "date"),
    "date with a time": Case(
        "DATE", ["2024-01-01", "2024-01-01 10:00:00"], "timestamp", 1, respelled=1
    ),
    "moments": Case(
        "DATETIME",
        ["2024-01-01 10:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"],
        "timestamp",
    ),
    "moments in other spellings": Case(
        "DATETIME",
        ["2024-01-01T10:00:00", "2024-01-01", "2024-01-01 10:00"],
        "timestamp",
        respelled=3,
    ),
    "zones": Case(
        "DATETIME",
        ["2024-01-01T00:00:00Z", "2024-01-01 00:00:00+05:30"],
        "timestamptz",
        2,
        respelled=2,
    ),
    "a zone and none": Case("DATETIME", ["2024-01-01 00:00Z", "2024-01-01 00:00:00"], "text", 1),
    "epoch": Case("DATETIME", [1700000000, 0, -1], "int8", 3),
    "epoch in milliseconds": Case("TIMESTAMP", [1700000000000], "int8", 1),
    "epoch and text": Case(
        "DATETIME", [1700000000, "2024-01-01"], "text", 1, merged=("integer", "text")
    ),
    "julian": Case("DATETIME", [2460310.5, 2460310], "numeric", 2),
    "empty date": Case("DATE", ["2024-01-01", ""], "text", 1),
    "zero date": Case("DATE", ["0000-00-00"], "text", 1),
    "year zero": Case("DATE", ["0000-01-01"], "text", 1),
    "february": Case("DATE", ["2024-02-30", "2024-02-29"], "text", 1),
    "nanoseconds": Case("DATETIME", ["2024-01-01 00:00:00.123456789"], "text", 1),
    "times": Case("TIME", ["00:00:00", "23:59:59.999999"], "time"),
    "the last hour": Case("TIME", ["24:00:00", "00:00:00", None], "time"),
    "past the last hour": Case("TIME", ["24:00:01", "24:00"], "text", 2),
    "beyond the calendar": Case(
        "DATE", ["infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "2024-02-29"], "date"
    ),
    "before the first day": Case("DATE", ["4714-11-23 BC", "infinity"], "text", 1),
    "moments beyond the calendar": Case(
        "DATETIME", ["infinity", "-infinity", "4713-01-01 00:00:00 BC"], "timestamp"
    ),
}

TEXTS = {
    "characters": Case("VARCHAR(3)", ["漢漢漢", "🦆🦆🦆", "ab ", ""], "varchar"),
    "too long": Case("VARCHAR(3)", ["漢漢漢漢", "abc", "abc "], "text", 2),
    "combining marks": Case("NVARCHAR(3)", ["e\u0301e\u0301", "é"], "text", 1),
    "empty or null": Case("TEXT", ["", None, " "], "text"),
    "emoji": Case(
        "CLOB",
        ["👨‍👩‍👧", "é", "e\u0301", "\u202e\ufeff\uffff", "\U0010ffff", "\\N\t\n\r\x7f\x1b"],
        "text",
    ),
    "nul": Case("TEXT", ["a\0b", "\0", "é"], "bytea", 2),
    "invalid": Case("TEXT", [Text(b"\xff"), Text(b"a\xc3"), "é"], "bytea", 2),
    "surrogates": Case("TEXT", [Text(b"\xed\xa0\x80"), Text(b"\xed\xb0\x80")], "bytea", 2),
    "blob in text": Case("TEXT", ["a", b"a\xff", b""], "bytea", 2, merged=("blob", "text")),
    "text in blob": Case("BLOB", [b"\0", "a"], "bytea", 1, merged=("blob", "text")),
    "only text in blob": Case("BLOB", ["a", "b"], "text", 2),
    "blobs": Case("BLOB", [b"", b"\0\xff", None], "bytea"),
    "a type in two lines": Case("VARCHAR\n  (3)\n", ["abc"], "varchar"),
    "another type in two lines": Case("TEXT\n", ["abc", "1"], "text"),
    "json": Case(
        "JSON",
        [
            '{"a": 1, "a": 2}',
            "[1e400, 123456789012345678901234567890.10, -0]",
            '"\\u0000"',
            ' { "é" :\t[] } ',
            "null",
            None,
        ],
        "json",
    ),
    "invalid json": Case("JSON", ["{", "NaN", "{}"], "text", 2),
    "number in json": Case("JSON", [5, "{}"], "text", 1, merged=("integer", "text")),
    "uuid": Case("UUID", [SOME_UUID, "f" * 8 + SOME_UUID[8:], None], "uuid"),
    "uuids": Case("UUID", [SOME_UUID.upper(), HEX_UUID, f"{{{SOME_UUID}}}", SOME_UUID], "text", 3),
    "uuid as a blob": Case("GUID", [bytes.fromhex(HEX_UUID)], "bytea", 1),
}

CASES = NUMBERS | MIXTURES | BOOLEANS | MOMENTS | TEXTS


def test_every_hard_value_arrives_and_every_change_is_named(
    database: Server, tmp_path: Path
) -> None:
    source = filled(tmp_path / "source.db")

    run = ferried(source, database)

    with closing(sqlite3.connect(source)) as mine, database.connect() as theirs:
        mine.text_factory = Text
        for name, case in CASES.items():
            type_name = column_type(theirs, name)
            assert type_name == case.becomes, name
            stored = [value for (value,) in mine.execute(f'SELECT v FROM "{name}" ORDER BY id')]
            expected = [None if v is None else EXPECTED[type_name](v) for v in stored]
            assert exactly(arrived(theirs, name)) == exactly(expected), name
        assert_long_values(mine, theirs)
    assert_named(run)
    assert run.report["left_behind"] == []
    assert ferry(source, database, "--verify").code == 0


def filled(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for name, case in CASES.items():
            strict = " STRICT" if case.strict else ""
            connection.execute(
                f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, v {case.declared}){strict}'
            )
            for i, value in enumerate(case.values):
                shown = "CAST(? AS TEXT)" if isinstance(value, Text) else "?"
                connection.execute(f'INSERT INTO "{name}" VALUES (?, {shown})', (i, value))
        connection.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, t TEXT, b BLOB)")
        connection.execute("INSERT INTO long VALUES (1, ?, NULL)", ("é" * (LONG // 2),))
        connection.execute("INSERT INTO long VALUES (2, '', ?)", (b"\0\xff" * (LONG // 2),))
        connection.commit()
    return path


def column_type(connection: psycopg.Connection[Any], table: str) -> str:
    query = (
        "SELECT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = %s::regclass AND a.attname = 'v'"
    )
    ((name,),) = connection.execute(query, (f'"{table}"',)).fetchall()
    return str(name)


def arrived(connection: psycopg.Connection[Any], table: str) -> list[Any]:
    """As psycopg gives them, but json as its text."""
    value = sql.SQL("v::text" if column_type(connection, table) == "json" else "v")
    query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(value, sql.Identifier(table))
    return [v for (v,) in connection.execute(query)]


# ---- what docs/types.md promises --------------------------------------------------------------


def _number(value: Any) -> Decimal:
    assert isinstance(value, (int, float))
    return Decimal(repr(value)) if math.isfinite(value) else Decimal(str(value))


def _text(value: Any) -> str:
    """Text as it is; numbers by their digits, a real by the fewest that read back the same."""
    if isinstance(value, (int, float)):
        return repr(value)
    assert isinstance(value, Text)
    return value.decode()


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else _text(value).encode()


def _integer(value: Any) -> int:
    assert isinstance(value, int)
    return value


def _double(value: Any) -> float:
    assert isinstance(value, float)

    return value


def _instant(value: Any) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(_text(value))
    assert moment.tzinfo is not None
    return moment


def _unless_far(read: Callable[[str], Any], value: Any) -> Any:
    """What Python's calendar has not is its text."""
    text = _text(value)
    far = "infinity" in text or "BC" in text or text.startswith(("24:", "5874897"))
    return text if far else read(text)


EXPECTED: dict[str, Callable[[Any], Any]] = {
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "bool": lambda value: {0: False, 1: True}[_integer(value)],
    "float8": _double,
    "numeric": _number,
    "text": _text,
    "varchar": _text,
    "json": _text,
    "bytea": _bytes,
    "date": lambda value: _unless_far(datetime.date.fromisoformat, value),
    "time": lambda value: _unless_far(datetime.time.fromisoformat, value),
    "timestamp": lambda value: _unless_far(datetime.datetime.fromisoformat, value),
    "timestamptz": _instant,
    "uuid": lambda value: uuid.UUID(_text(value)),
}


def exactly(values: list[Any]) -> list[Any]:
    """With the types, so that 1 is not True and not 1.0."""
    return [(type(value), value) for value in values]


def assert_long_values(mine: sqlite3.Connection, theirs: psycopg.Connection[Any]) -> None:
    (first, second) = mine.execute("SELECT t, b FROM long ORDER BY id")
    with theirs.cursor(binary=True) as cursor:
        cursor.execute("SELECT t, b FROM long ORDER BY id")
        (text, nothing), (empty, blob) = cursor.fetchall()
    # Compared first: pytest would spell out a difference of 100 MB.
    same = text.encode() == first[0], blob == second[1]
    assert same == (True, True)
    assert (len(first[0]), len(blob), nothing, empty) == (LONG, LONG, None, "")


def assert_named(run: Run) -> None:
    """The report lists each column that became wider, each misfit, and nothing else."""
    named = run.widened()
    assert {name: entry["count"] for name, entry in named.items()} == {
        f"{name}.v": case.misfits for name, case in CASES.items() if case.misfits is not None
    }
    for name, case in _widened():
        entry = named[f"{name}.v"]
        assert tuple(entry["merged_classes"]) == case.merged, name
        assert len(entry["examples"]) == min(case.misfits or 0, 5), name
        keys = [int(example["key"]["id"]) for example in entry["examples"]]
        assert set(keys) <= set(range(len(case.values))), name
    assert {name: run.table(name)["spelling_normalised"].get("v", 0) for name in CASES} == {
        name: case.respelled for name, case in CASES.items()
    }
    assert {table["source"] for table in run.report["tables"]} == {*CASES, "long"}
    for table in run.report["tables"]:
        assert (table["converted"], table["rejected"]["rows"]) == ({}, 0)
        assert table["rows"]["source"] == table["rows"]["target"]


def _widened() -> Iterator[tuple[str, Case]]:
    return ((name, case) for name, case in CASES.items() if case.misfits is not None)
