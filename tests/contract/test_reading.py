"""Reading SQLite: what arrives is exactly what is there, or the reading says that it is not.

Each file is built by Python's own SQLite and closed before the driver opens it, and what it holds
is asked of that SQLite again. Batches are small, so that strangers come early and late.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import struct
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Endpoint
from tableferry.dialects.sqlite import session as sqlite_session
from tableferry.dialects.sqlite.session import SqliteSession
from tableferry.dialects.sqlite.types import candidates
from tableferry.errors import MisfitFound
from tableferry.model import Candidate, Column, Kind, Range, ReadColumn, Scan, TableName
from tableferry.temporal import parse

T = TableName("main", "t")
WHOLE = Range(0)

DECLARED = (
    "INTEGER",
    "BIGINT",
    "TEXT",
    "VARCHAR(3)",
    "REAL",
    "NUMERIC",
    "DECIMAL(6,2)",
    "BOOLEAN",
    "DATE",
    "DATETIME",
    "TIMESTAMPTZ",
    "TIME",
    "UUID",
    "JSON",
    "SMALLINT",
    "STRING",
    "BLOB",
    "",
    "ANY",
)

INTEGERS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1) | st.just(2**53 + 1)
REALS = (
    st.floats(allow_nan=False)
    | st.sampled_from([0.5, 1.25, 1.239, 2.0**53, 1e300, math.inf, -0.0])
    | st.integers(-999, 999).map(lambda n: n / 100)
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(
    [
        "2024-01-01",
        "2024-02-30",
        "2024-01-01 12:30",
        "2024-01-01T12:30:00.5Z",
        "2024-01-01 12:30:00+05:30",
        "12:30",
        "24:00",
        "1.50",
        "1e3",
        "7",
        "a\0b",
        "abc",
        "abcd",
        "12345678-9abc-def0-1234-56789abcdef0",
        "12345678-9ABC-DEF0-1234-56789ABCDEF0",
        '{"a": [1, null]}',
        "NaN",
        "äöü",
        "",
    ]
)
BLOBS = st.binary(max_size=4) | st.sampled_from([b"abc", b"2024-01-01", b"\xff", b""])


def values_of(*strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Mostly one class, as columns are, with strangers now and then."""
    one = st.sampled_from(strategies).flatmap(lambda chosen: st.lists(st.none() | chosen))
    mixed = st.lists(st.none() | st.one_of(*strategies), max_size=3)
    return st.builds(lambda a, b, c: a + b + c, one, mixed, one)


VALUES = values_of(INTEGERS, REALS, TEXTS, BLOBS)


@dataclass(frozen=True)
class Stored:
    """What SQLite says of a value: its storage class, and itself (text as its bytes)."""

    storage: str
    value: Any


@dataclass
class File:
    session: SqliteSession
    stored: list[Stored]

    def scan(self, column: Column, candidate: Candidate) -> Scan:
        # Rows of this size make batches of three.
        return Scan(
            T,
            (ReadColumn(column, candidate.kind, candidate.merges),),
            (),
            "rowid",
            sqlite_session._BATCH_BYTES // 3,
        )


@contextmanager
def file_with(declared: str, values: list[Any], encoding: str = "UTF-8") -> Iterator[File]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.text_factory = bytes
            connection.execute(f"PRAGMA encoding = '{encoding}'")
            connection.execute(f"CREATE TABLE t (a {declared})")
            with connection:
                connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
            query = "SELECT typeof(a), a FROM t ORDER BY rowid"
            stored = [Stored(name.decode(), value) for name, value in connection.execute(query)]
        with closing(SqliteSession(Endpoint(SqliteFile(path)))) as session:
            yield File(session, stored)


# ---- what has to come of a value, in plain Python -----------------------------------------------

OWN = {
    "int": {"integer"},
    "bool": {"integer"},
    "float": {"real"},
    "decimal": {"integer", "real"},
    "numeric": {"integer", "real"},
    "bytes": {"blob"},
}
MERGED = {
    "float": {"real", "integer"},
    "text": {"text", "integer", "real"},
    "bytes": {"text", "integer", "real", "blob"},
}
NOTHING = object()


def expected(stored: Stored, candidate: Candidate) -> Any:
    """The value that arrives as the candidate, None for NULL, NOTHING for a misfit."""
    kind, value = candidate.kind, stored.value
    if stored.storage == "null":
        return None
    taken = OWN.get(kind.name, {"text"})
    if candidate.merges:
        taken = MERGED.get(kind.name, taken)
    if candidate.merges and stored.storage == "text" and stored.value in NAMED.get(kind.name, ()):
        return named(stored.value, kind)
    if stored.storage not in taken:
        return NOTHING
    match kind.name:
        case "bool":
            return bool(value) if value in (0, 1) else NOTHING
        case "float":
            exact = stored.storage == "real" or abs(value) <= 2**53
            return float(value) if exact else NOTHING
        case "numeric":
            return kinds.canonical_numeric(Decimal(repr(value)))
        case "decimal":
            return decimal_of(value, kind)
        case "text":
            return text_of(stored, kind)
        case "uuid" | "json":
            text = text_of(stored, kind)
            if text is NOTHING or kind.name == "json":
                return text if is_json(text) else NOTHING
            return uuid.UUID(text).bytes if is_uuid(text) else NOTHING
        case "bytes":
            return value if isinstance(value, bytes) else repr(value).encode()
        case "int":
            return value if -(2 ** (kind.bits - 1)) <= value < 2 ** (kind.bits - 1) else NOTHING
    array, bad, _ = parse(pa.array([value]).cast(pa.string(), safe=False), kind)
    return NOTHING if bad is not None else array[0].as_py()


# Numbers that SQLite has none for stand by their names, where text is taken at all.
NAMED = {"float": (b"NaN",), "decimal": (b"NaN", b"Infinity", b"-Infinity")}


def named(name: bytes, kind: Kind) -> Any:
    if kind.name == "float":
        return float(name)
    return kinds.texts_to_decimals(pa.array([name.decode()]), kind)[0].as_py()


def is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    return text not in ("NaN", "Infinity", "-Infinity")


def is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", text) is not None


def decimal_of(value: float, kind: Kind) -> Any:
    if isinstance(value, float) and not abs(value) < 2**53:
        return NOTHING
    exact = Decimal(repr(value))
    units = exact.scaleb(kind.scale)
    fits = units == units.to_integral_value() and abs(units) < 10**kind.precision
    return exact if fits else NOTHING


def text_of(stored: Stored, kind: Kind) -> Any:
    raw = stored.value if isinstance(stored.value, bytes) else repr(stored.value).encode()
    if not kinds.is_text(raw):
        return NOTHING
    text = raw.decode()
    return text if kind.length is None or len(text) <= kind.length else NOTHING


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit of a double, and of one type."""
    if isinstance(first, float) and isinstance(second, float):
        return struct.pack("d", first) == struct.pack("d", second)
    return type(first) is type(second) and bool(first == second)


def read(file: File, column: Column, candidate: Candidate) -> list[Any]:
    scan = file.scan(column, candidate)
    arrays = [batch.columns[0] for batch in file.session.read(scan, WHOLE)]
    assert all(array.type == kinds.arrow_type(candidate.kind) for array in arrays)
    return [value for array in arrays for value in array.to_pylist()]


# ---- the strict read ----------------------------------------------------------------------------


@settings(max_examples=250)
@given(st.sampled_from(DECLARED), VALUES, st.data())
@example("TEXT", ["a"] * 8 + [b"b"], None)
@example("REAL", [1.5, 2, "x"], None)
@example("DECIMAL(6,2)", [1.239], None)
@example("DECIMAL(6,2)", [2**53 + 1, 1.5], None)
@example("BLOB", [b"a"] * 8 + ["b"], None)
@example("DATE", ["2024-01-01"] * 8 + [b"2024-01-01"], None)
@example("TIME", ["12:30", None, "23:59:59.5"], None)
def test_a_read_is_exact_or_loud(
    declared: str, values: list[Any], data: st.DataObject | None
) -> None:
    column = Column("a", declared)
    offers = [offer for offer in candidates(column) if not offer.merges]
    chosen = [data.draw(st.sampled_from(offers))] if data else offers
    with file_with(declared, values) as file:
        for candidate in chosen:
            wanted = [expected(stored, candidate) for stored in file.stored]
            try:
                got = read(file, column, candidate)
            except MisfitFound:
                assert NOTHING in wanted
                continue
            if NOTHING in wanted:
                # The guard: rows are missing, which the count of the table then tells.
                assert len(got) < len(wanted) == file.session.count(T)
                continue
            assert len(got) == len(wanted)
            assert all(map(same, got, wanted)), (got, wanted)


@settings(max_examples=120)
@given(st.sampled_from(DECLARED), VALUES)
@example("DECIMAL(6,2)", [1.25, 2, None])
@example("DECIMAL(6,2)", [1.25, 10_000])
@example("REAL", [1.5, None])
@example("", [1, 2.5, 2**53 + 1])
@example("", [2**53, 2**53 - 1, -(2**53)])
def test_a_merging_read_is_exact_or_loud(declared: str, values: list[Any]) -> None:
    # A verification reads every kind like this where a table holds strangers.
    column = Column("a", declared)
    with file_with(declared, values) as file:
        for kind in dict.fromkeys(offer.kind for offer in candidates(column)):
            candidate = Candidate(kind, merges=True)
            wanted = [expected(stored, candidate) for stored in file.stored]
            try:
                got = read(file, column, candidate)
            except MisfitFound:
                assert NOTHING in wanted
                continue
            assert len(got) == len(wanted)
            assert all(map(same, got, wanted)), (got, wanted)


# ---- the survey ---------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.sampled_from(DECLARED), VALUES)
@example("REAL", ["NaN", "nan", "Infinity", 0.5])
@example("DECIMAL(5,2)", ["NaN", "-Infinity", "Infinity", "inf", 1.25])
@example("TEXT", ["a"] * 8 + [b"b", "a\0b"])
@example("VARCHAR(3)", ["abcd", "äöü"])
@example("TIME", ["12:30", "24:00"])
@example("JSON", ["a\0b", "NaN", "1", b"1"])
@example("UUID", ["12345678-9abc-def0-1234-56789abcdef0", "a\0b", b"\xff"])
def test_a_survey_finds_every_misfit(declared: str, values: list[Any]) -> None:
    column = Column("a", declared)
    offers = candidates(column)
    with file_with(declared, values) as file:
        found: dict[Candidate, list[int]] = {offer: [] for offer in offers}
        classes: set[str] = set()
        rows = 0
        for (batch,) in file.session.survey(file.scan(column, offers[0]), WHOLE):
            for offer in offers:
                found[offer] += [rows + position for position in batch.misfits(offer)]
            classes |= batch.classes()
            rows += len(batch)
        assert rows == len(values)
        assert classes == {stored.storage for stored in file.stored} - {"null"}
        for offer in offers:
            wanted = [i for i, s in enumerate(file.stored) if expected(s, offer) is NOTHING]
            assert found[offer] == wanted, offer
        assert found[offers[-1]] == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        (5, "5"),
        (-0.5, "-0.5"),
        ("a'b", '"a\'b"'),
        ("a\0b", r"'a\x00b'"),
        (b"\x00\xff", "x'00ff'"),
    ],
)
def test_a_survey_shows_values_with_their_class(value: Any, shown: str) -> None:
    column = Column("a", "")
    with file_with("", [value]) as file:
        ((batch,),) = file.session.survey(file.scan(column, Candidate(kinds.TEXT)), WHOLE)
        assert batch.show(0) == shown


# ---- other encodings ----------------------------------------------------------------------------

UTF16 = st.sampled_from(["UTF-16le", "UTF-16be"])


@settings(max_examples=80)
@given(UTF16, st.sampled_from(DECLARED), VALUES)
@example("UTF-16le", "DATE", ["2024-01-01", "2024-01-02"])
@example("UTF-16be", "TEXT", ["äöü😀", "", "abc"])
@example("UTF-16le", "", ["ä", 1, 2.5, b"ab"])
def test_utf16_databases_read_the_same(encoding: str, declared: str, values: list[Any]) -> None:
    # This SQLite gives text as UTF-8 whatever the file holds, as ours has to.
    column = Column("a", declared)
    with file_with(declared, values, encoding) as file:
        for candidate in candidates(column):
            wanted = [expected(stored, candidate) for stored in file.stored]
            try:
                got = read(file, column, candidate)
            except MisfitFound:
                assert NOTHING in wanted
                continue
            if NOTHING in wanted:
                assert len(got) < len(wanted)
                continue
            assert all(map(same, got, wanted)), (candidate, got, wanted)


# ---- ranges -------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.sets(st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20), min_size=1, max_size=30),
    st.integers(2, 9),
)
@example({-(2**63), 2**63 - 1, 0}, 9)
def test_ranges_read_every_row_once(rowids: set[int], parts: int) -> None:
    column = Column("a", "INTEGER PRIMARY KEY")
    ranges = sqlite_session.cut(min(rowids), max(rowids), parts)
    with file_with("INTEGER PRIMARY KEY", sorted(rowids)) as file:
        scan = file.scan(column, Candidate(kinds.INT))
        read_ids = [
            value
            for part in ranges
            for batch in file.session.read(scan, part)
            for value in batch.columns[0].to_pylist()
        ]
    assert read_ids == sorted(rowids)
