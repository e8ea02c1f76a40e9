"""Parts that are written as pages hold, byte for byte, what SQLite makes of the same rows."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tableferry import kinds
from tableferry.dialects.base import Batch
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite import parts, records, target
from tableferry.dialects.sqlite.parts import PartFile
from tableferry.dialects.sqlite.records import PAGE_BYTES, Layout
from tableferry.dialects.sqlite.storing import stored
from tableferry.errors import DatabaseError
from tableferry.model import Column, Kind, ReadColumn, TableName

NAME = TableName("main", "t")
Rows = list[tuple[Any, ...]]

WIDTHS = [0, 1, 7, 8, 15, 16, 23, 24, 31, 32, 39, 40, 47, 48, 53, 62, 63]
EDGES = sorted(
    {sign * 2**n + d for n in WIDTHS for sign in (1, -1) for d in (-1, 0, 1)} | {0, 2, -2}
)
INTEGERS = st.sampled_from([n for n in EDGES if -(2**63) <= n < 2**63]) | st.integers(
    -(2**63), 2**63 - 1
)
DOUBLES = (
    st.sampled_from([-0.0, float("inf"), float("-inf"), 0.5, 5e-324, *map(float, EDGES)])
    | st.floats(allow_nan=False)
    | st.integers(-(2**60), 2**60).map(float)
)
LENGTHS = st.sampled_from([0, 1, 2, 7, 8, 9, 15, 16, 17, 56, 57, 58, 59, 300])
TEXTS = st.builds(lambda n, letter: letter * n, LENGTHS, st.sampled_from("ax1ä\0")) | st.text()
BLOBS = st.builds(lambda n, byte: byte * n, LENGTHS, st.sampled_from([b"\0", b"a", b"\xff"]))
VALUES: dict[str, tuple[Kind, st.SearchStrategy[Any], tuple[str, ...]]] = {
    "int": (kinds.INT, INTEGERS, ("BIGINT", "NUMERIC", "DATE", "BLOB", "")),
    "bool": (kinds.BOOL, st.booleans(), ("BOOLEAN", "BIGINT", "BLOB", "")),
    "date": (kinds.DATE, st.dates(), ("DATE", "NUMERIC", "INTEGER", "TEXT", "")),
    "moment": (kinds.TIMESTAMP, st.datetimes(), ("TIMESTAMP", "DATETIME", "TEXT", "")),
    "uuid": (kinds.UUID, st.uuids().map(lambda u: u.bytes), ("UUID", "TEXT", "")),
    "decimal": (
        kinds.decimal(15, 2),
        st.decimals("-9999999999999.99", "9999999999999.99", places=2),
        ("DECIMAL(15,2)", "NUMERIC", "DOUBLE", ""),
    ),
    "float": (kinds.FLOAT, DOUBLES, ("DOUBLE", "REAL", "NUMERIC", "INTEGER", "BLOB", "")),
    "text": (kinds.TEXT, TEXTS, ("TEXT", "VARCHAR(7)", "BLOB", "")),
    "bytes": (kinds.BYTES, BLOBS, ("TEXT", "NUMERIC", "DOUBLE", "BLOB", "")),
}
EXAMPLES = {
    "int": 5,
    "bool": True,
    "date": dt.date(2000, 1, 31),
    "moment": dt.datetime(2000, 1, 31, 1, 2, 3, 4),
    "uuid": bytes(range(16)),
    "decimal": Decimal("1.25"),
    "float": 2.5,
    "text": "x",
    "bytes": b"x",
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[ReadColumn, ...], list[Rows]]:
    chosen = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=20))
    columns, values = [], []
    for number, name in enumerate(chosen):
        kind, strategy, types = VALUES[name]
        declared = draw(st.sampled_from(types))
        columns.append(ReadColumn(Column(f"c{number}", declared), kind))
        values.append(st.none() | strategy)
    batches = draw(st.lists(st.lists(st.tuples(*values), max_size=5), min_size=1, max_size=3))
    return tuple(columns), batches


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


def batch(columns: tuple[ReadColumn, ...], rows: Rows) -> Batch:
    """A slice of longer arrays, as batches may be."""
    first = (None,) * len(columns)
    lists = zip(*[first, *rows], strict=True)
    types = [kinds.arrow_type(column.kind) for column in columns]
    return Batch(tuple(pa.array(v, t).slice(1) for v, t in zip(lists, types, strict=True)))


def definition_of(columns: tuple[ReadColumn, ...], rowid: int | None = None) -> str:
    listed = (
        f"{c.column.name} {c.column.declared}{' PRIMARY KEY' if i == rowid else ''}"
        for i, c in enumerate(columns)
    )
    return f"CREATE TABLE t ({', '.join(listed)})"


def made(path: Path, definition: str, columns: tuple[ReadColumn, ...]) -> Layout | None:
    path.unlink(missing_ok=True)
    path.touch()
    with closing(sqlite.open_part(path, "UTF-8")) as connection:
        sqlite.run(connection, definition)
        return target._layout(connection, NAME, columns, typed=True)


def paged(
    path: Path, definition: str, columns: tuple[ReadColumn, ...], batches: list[Rows]
) -> Iterator[Batch]:
    """Answers what is left to be inserted."""
    layout = made(path, definition, columns)
    assert layout is not None
    return target._write_pages(
        path, columns, iter([batch(columns, rows) for rows in batches]), layout
    )


def inserted(
    path: Path, definition: str, columns: tuple[ReadColumn, ...], batches: list[Rows]
) -> None:
    made(path, definition, columns)
    given = iter([batch(columns, rows) for rows in batches])
    target._insert_into_part(path, "UTF-8", NAME, columns, given)


def gathered(path: Path, definition: str) -> bytes:
    """The bytes of a file that has got the part's rows, as they stand there."""
    whole = path.with_suffix(".whole")
    whole.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as part:
        assert part.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with closing(sqlite3.connect(whole)) as connection:
        connection.execute(definition)
        connection.execute("ATTACH ? AS part", (str(path),))
        connection.execute("INSERT INTO t SELECT * FROM part.t")
        connection.commit()
    return whole.read_bytes()


def both(
    folder: Path, columns: tuple[ReadColumn, ...], batches: list[Rows], rowid: int | None = None
) -> tuple[bytes, bytes]:
    definition = definition_of(columns, rowid)
    paths = folder / "a.part", folder / "b.part"
    rest = paged(paths[0], definition, columns, batches)
    target._insert_into_part(paths[0], "UTF-8", NAME, columns, rest)
    inserted(paths[1], definition, columns, batches)
    return gathered(paths[0], definition), gathered(paths[1], definition)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tables())
def test_rows_are_what_sqlite_makes_of_them(
    folder: Path, table: tuple[tuple[ReadColumn, ...], list[Rows]]
) -> None:
    columns, batches = table
    ours, theirs = both(folder, columns, batches)
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(VALUES))
def test_pages_are_written_for_every_affinity_that_leaves_values_alone(
    folder: Path, name: str
) -> None:
    kind, _, types = VALUES[name]
    columns = tuple(ReadColumn(Column(f"c{i}", t), kind) for i, t in enumerate(types))
    value = EXAMPLES[name]
    rows: Rows = [(value,) * len(types), (None,) * len(types)]
    rest = paged(folder / "a.part", definition_of(columns), columns, [rows])
    assert list(rest) == []


def column(name: str, declared: str, kind: Kind, *, nullable: bool = True) -> ReadColumn:
    return ReadColumn(Column(name, declared, nullable=nullable), kind)


ID, TEXT = column("id", "BIGINT", kinds.INT), column("a", "TEXT", kinds.TEXT)


@pytest.mark.parametrize(
    ("rows", "children", "height"),
    [(0, 2_000, 1), (1, 2_000, 1), (9_000, 2_000, 2), (9_000, 6, 3), (9_000, 2, 5)],
)
def test_trees_of_every_height(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: int, children: int, height: int
) -> None:
    """A page points to few others here; in truth, to more than two thousand."""
    monkeypatch.setattr(parts, "_MOST_CELLS", children)
    path = folder / "a.part"
    columns = (ID, column("b", "BLOB", kinds.BYTES))
    layout = made(path, definition_of(columns), columns)
    assert layout is not None
    arrays = (pa.array(range(rows), pa.int64()), pa.array([b"x" * 100] * rows, pa.binary()))
    halves = [
        Batch(tuple(a[: rows // 2] for a in arrays)),
        Batch(tuple(a[rows // 2 :] for a in arrays)),
    ]
    assert list(target._write_pages(path, columns, iter(halves), layout)) == []
    with closing(sqlite3.connect(path)) as part:
        assert part.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        query = "SELECT count(*), total(id), count(DISTINCT rowid), total(length(b)) FROM t"
        assert part.execute(query).fetchone() == (rows, sum(range(rows)), rows, rows * 100)
        # Each is found by a look from the root down, too.
        found = part.execute("SELECT (SELECT id FROM t b WHERE b.rowid = a.rowid) FROM t a")
        assert [id for (id,) in found] == list(range(rows))
    with closing(sqlite.open_reader(path)) as reader:
        query = "SELECT path AS p FROM dbstat WHERE name = 't'"
        paths = sqlite.rows(reader, query, "p")
    # The root is /, what is below it /000/, and so on.
    assert max(path.count("/") for (path,) in paths) == height


KEY = column("id", "INTEGER", kinds.INT)


@pytest.mark.parametrize(
    ("ids", "left"),
    [
        ([[1, 2, 5], [6, 2**40, 2**56 - 1]], 0),
        ([[0, 1], [], [127, 128, 16_383, 16_384, 2**21 - 1, 2**21]], 0),
        ([[3, 2, 1]], 1),
        ([[1, 2], [2_000, 1_999], [3_000]], 2),
        ([[5, 6], [4]], 1),
        ([[-1, 2]], 1),
        ([[1, 2**56]], 1),
        ([[1, None]], 1),
    ],
)
def test_keys_that_are_the_rowid(folder: Path, ids: list[list[int | None]], left: int) -> None:
    columns = (TEXT, KEY, column("c", "DOUBLE", kinds.FLOAT))
    batches: list[Rows] = [[("text", n, 1.5) for n in some] for some in ids]
    definition = definition_of(columns, 1)
    rest = paged(folder / "a.part", definition, columns, batches)
    assert len(list(rest)) == left
    ours, theirs = both(folder, columns, batches, 1)
    assert ours == theirs


LONG = "x" * 2_001


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ((ID, TEXT), (1, LONG)),
        ((ID, *(column(f"t{i}", "TEXT", kinds.TEXT) for i in range(5))), (1, *["x" * 500] * 5)),
        ((column("a", "TEXT", kinds.INT),), (5,)),
        ((column("a", "REAL", kinds.INT),), (5,)),
        ((column("a", "TEXT", kinds.FLOAT),), (5.0,)),
        ((column("a", "NUMERIC", kinds.TEXT),), ("007",)),
        ((column("a", "DOUBLE", kinds.FLOAT),), (float("nan"),)),
        ((column("a", "TEXT", kinds.BOOL),), (True,)),
        (tuple(column(f"c{i}", "BIGINT", kinds.INT) for i in range(63)), tuple(range(63))),
    ],
)
def test_other_rows_are_inserted(
    folder: Path, columns: tuple[ReadColumn, ...], row: tuple[Any, ...]
) -> None:
    """With all that follow, and behind those that were written."""
    nulls = (None,) * len(columns)
    rest = list(
        paged(folder / "a.part", definition_of(columns), columns, [[nulls], [row], [nulls]])
    )
    assert len(rest) >= 2
    ours, theirs = both(folder, columns, [[nulls], [row], [nulls]])
    assert ours == theirs


def test_a_null_is_refused_where_none_may_be(folder: Path) -> None:
    path = folder / "a.part"
    definition = "CREATE TABLE t (id BIGINT NOT NULL, a TEXT)"
    rest = paged(path, definition, (ID, TEXT), [[(1, None)], [(None, "x")]])
    with pytest.raises(DatabaseError, match="NOT NULL"), sqlite.errors(path):
        target._insert_into_part(path, "UTF-8", NAME, (ID, TEXT), rest)


@pytest.mark.parametrize(
    "definition",
    [
        "CREATE TABLE t (id BIGINT CHECK (id > 0), a TEXT)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT)",
        "CREATE TABLE t (id BIGINT PRIMARY KEY, a TEXT)",
        "CREATE TABLE t (id BIGINT, a TEXT UNIQUE)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, a TEXT)",
        "CREATE TABLE t (id INT, a TEXT) STRICT",
        "CREATE TABLE t (id INT PRIMARY KEY, a TEXT) WITHOUT ROWID",
        "CREATE TABLE t (id BIGINT, a TEXT, g AS (id * 2))",
        "CREATE TABLE t (a TEXT, id BIGINT)",
        "CREATE TABLE t (id BIGINT, a TEXT, more TEXT)",
    ],
)
def test_tables_that_take_no_pages(folder: Path, definition: str) -> None:
    assert made(folder / "a.part", definition, (ID, TEXT)) is None


def test_a_file_that_takes_pages_and_gets_none_is_a_database(folder: Path) -> None:
    path = folder / "a.part"
    made(path, definition_of((ID, TEXT)), (ID, TEXT))
    with PartFile(path) as part:
        assert part.last_rowid is None
        part.finish()
    assert path.stat().st_size == 2 * PAGE_BYTES
    with closing(sqlite3.connect(path)) as part_again:
        assert part_again.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_no_cell_is_shorter_than_what_is_written_at_once() -> None:
    """One column, whose value takes no byte."""
    layout = Layout((ID,), typed=True)
    array = stored(pa.array([0, 1, None], pa.int64()), ID)
    pages = records.encode([array], layout, records.FIRST_ROWID - 1)
    assert pages is not None
    assert pages.last_rowids.tolist() == [records.FIRST_ROWID + 2]
