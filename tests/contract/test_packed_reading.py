"""Values that a statement brings packed are the same as those that it brings one by one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server

from tableferry import kinds
from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.dialects.base import Endpoint, Session
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.postgresql.types import kind_of
from tableferry.dialects.sqlite.session import SqliteSession
from tableferry.dialects.sqlite.types import candidates
from tableferry.errors import MisfitFound
from tableferry.model import Range, ReadColumn, Scan, TableName, scan_of
from tableferry.packing import MOST_COLUMNS, SEPARATOR

Rows = Counter[tuple[Any, ...]]
TEXTS = ["", "a", "v", "vv", "ä\u20ac", "a\nb", f"a{SEPARATOR}b", SEPARATOR, "long " * 60, " x "]


def rows_of(session: Session, scan: Scan) -> Rows:
    found: Rows = Counter()
    for batch in session.read(scan, Range(0)):
        for array, column in zip(batch.columns, scan.columns, strict=True):
            # NaN is a decimal with too many digits.
            array.validate(full=column.kind.name != "decimal")
            assert array.type == kinds.arrow_type(column.kind)
        found.update(zip(*(array.to_pylist() for array in batch.columns), strict=True))
    return found


def statements_of(session: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many columns each statement brings that reads rows from now on."""
    seen: list[int] = []
    stream = session._stream

    def spied(scan: Scan, part: Range, readings: Any, *others: Any) -> Any:
        seen.append(len(readings))
        return stream(scan, part, readings, *others)

    monkeypatch.setattr(session, "_stream", spied)
    return seen


# ---- PostgreSQL ---------------------------------------------------------------------------------

COLUMNS = {
    "i": "integer NOT NULL",
    "b": "bigint NOT NULL",
    "n": "smallint",
    "d": "numeric(15,2) NOT NULL",
    "e": "numeric(15,2)",
    "z": "numeric(6,0) NOT NULL",
    "t": "text NOT NULL",
    "u": "varchar(400)",
    "c": "character(4) NOT NULL",
    "g": "character(4)",
    "x": "date NOT NULL",
    "y": "date",
    "f": "double precision",
    "k": "timestamp NOT NULL",
    "j": "jsonb",
    "m": "inet NOT NULL",
}


@pytest.fixture
def postgres(database: Server) -> Iterator[tuple[Server, PostgresSession]]:
    definition = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    database.run(f"CREATE TABLE public.t ({definition})")
    with closing(PostgresSession(Endpoint(PostgresServer(database.url)))) as session:
        yield database, session


def fill(database: Server, rows: list[tuple[Any, ...]]) -> None:
    with database.connect() as connection, connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(COLUMNS))
        cursor.executemany(f"INSERT INTO t VALUES ({marks})".encode(), rows)
        connection.commit()


def ordinary(text: str, number: int) -> tuple[Any, ...]:
    empty = number % 3 == 0
    return (
        -number,
        (-1) ** number * (2**63 - 1 - number),
        None if empty else number,
        Decimal(-number) / 100,
        None if empty else Decimal("-0.05"),
        number - 5,
        text,
        None if empty else text,
        text[:2].replace(SEPARATOR, "."),
        None if empty else "a",
        date(1 + number, 2, 28),
        None if empty else date(9999, 12, 31),
        None if empty else 0.1,
        "2024-02-29 12:00:00.000001",
        None if empty else '{"a": "\\u001f"}',
        "10.0.0.1",
    )


def scan(session: PostgresSession) -> Scan:
    (table,) = session.inspect().tables
    session.rollback()
    chosen = (ReadColumn(c, kind_of(c.declared) or kinds.native(c.declared)) for c in table.columns)
    return scan_of(table, tuple(chosen), ())


def unpacked(session: Any, wanted: Scan, monkeypatch: pytest.MonkeyPatch) -> Rows:
    with monkeypatch.context() as patched:
        patched.setattr(type(session), "_may_pack", lambda *_: False)
        return rows_of(session, wanted)


def test_postgresql_packs_without_a_change(
    postgres: tuple[Server, PostgresSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, session = postgres
    fill(database, [ordinary(text, n) for n in range(6) for text in TEXTS])
    wanted = scan(session)
    plain = unpacked(session, wanted, monkeypatch)
    statements = statements_of(session, monkeypatch)
    assert rows_of(session, wanted) == plain
    assert plain.total() == 6 * len(TEXTS)
    # The rows with a separator came by a second one.
    assert statements[0] < len(COLUMNS) == statements[1]
    assert len(statements) == 2


def test_postgresql_without_a_separator_reads_once(
    postgres: tuple[Server, PostgresSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, session = postgres
    fill(database, [ordinary("a", n) for n in range(3)])
    wanted = scan(session)
    statements = statements_of(session, monkeypatch)
    assert rows_of(session, wanted).total() == 3
    assert len(statements) == 1


def test_postgresql_keeps_what_is_no_ordinary_number_or_date(
    postgres: tuple[Server, PostgresSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, session = postgres
    fill(database, [ordinary("a", n) for n in range(3)])
    database.run("UPDATE t SET d = 'NaN', e = 'NaN', z = 'NaN' WHERE i = -1")
    database.run("UPDATE t SET x = 'infinity', y = '0044-03-15 BC' WHERE i = -2")
    wanted = scan(session)
    narrower = Scan(wanted.table, wanted.columns[:10], ())
    plain = unpacked(session, narrower, monkeypatch)
    assert rows_of(session, narrower) == plain
    dates = tuple(c for c in wanted.columns if c.column.name in "ix")
    found = [
        b.columns[1].cast("int32") for b in session.read(Scan(wanted.table, dates, ()), Range(0))
    ]
    with monkeypatch.context() as patched:
        patched.setattr(PostgresSession, "_may_pack", lambda *_: False)
        other = [
            b.columns[1].cast("int32")
            for b in session.read(Scan(wanted.table, dates, ()), Range(0))
        ]
    assert found == other


def test_postgresql_packs_no_long_rows(
    postgres: tuple[Server, PostgresSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, session = postgres
    database.run("ALTER TABLE t ALTER t SET STORAGE EXTERNAL")
    fill(database, [ordinary("a", 1)])
    database.run("UPDATE t SET t = repeat('x', 10000)")
    wanted = scan(session)
    statements = statements_of(session, monkeypatch)
    assert rows_of(session, wanted).total() == 1
    assert statements == [len(COLUMNS)]


def test_postgresql_packs_more_columns_than_a_function_takes(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 * MOST_COLUMNS + 3
    names = ", ".join(f"c{n} text NOT NULL DEFAULT '{n}'" for n in range(count))
    database.run(f"CREATE TABLE public.t ({names})")
    database.run("INSERT INTO t DEFAULT VALUES", f"INSERT INTO t (c5) VALUES ('{SEPARATOR}')")
    with closing(PostgresSession(Endpoint(PostgresServer(database.url)))) as session:
        wanted = scan(session)
        plain = unpacked(session, wanted, monkeypatch)
        statements = statements_of(session, monkeypatch)
        assert rows_of(session, wanted) == plain
        assert statements == [3, count]


def test_postgresql_does_not_trust_a_constraint_that_is_not_valid(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.version < 18:
        # Nothing can be declared to have no NULL while it has some.
        with pytest.raises(Exception, match="syntax error"):
            database.run("CREATE TABLE u (a text)", "ALTER TABLE u ADD CONSTRAINT n NOT NULL a")
        return
    database.run("CREATE TABLE public.t (a text, b text)", "INSERT INTO t VALUES (NULL, 'b')")
    database.run("ALTER TABLE t ADD CONSTRAINT n NOT NULL a NOT VALID")
    with closing(PostgresSession(Endpoint(PostgresServer(database.url)))) as session:
        assert rows_of(session, scan(session)) == Counter([(None, "b")])


# ---- SQLite -------------------------------------------------------------------------------------

LITE = "i INTEGER, a TEXT NOT NULL, b VARCHAR(400), c DATE NOT NULL, d DATE, e DATETIME NOT NULL"


def lite(path: Path, rows: list[tuple[Any, ...]], encoding: str = "UTF-8") -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute(f"CREATE TABLE t ({LITE})")
        with connection:
            connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)", rows)


def lite_rows() -> list[tuple[Any, ...]]:
    return [
        (
            n,
            text,
            None if n % 3 == 0 else text,
            f"{1 + n:04}-02-28",
            None if n % 2 else "2024-02-29",
            "2024-02-29 12:00:00",
        )
        for n in range(6)
        for text in TEXTS
    ]


def lite_scan(session: SqliteSession) -> Scan:
    (table,) = session.inspect().tables
    chosen = (ReadColumn(c, candidates(c)[0].kind) for c in table.columns)
    return scan_of(table, tuple(chosen), ())


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_sqlite_packs_without_a_change(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite(tmp_path / "a.db", lite_rows(), encoding)
    with closing(SqliteSession(Endpoint(SqliteFile(tmp_path / "a.db")))) as session:
        wanted = lite_scan(session)
        plain = unpacked(session, wanted, monkeypatch)
        assert [row[1:3] for row in plain] == [row[1:3] for row in lite_rows()]
        statements = statements_of(session, monkeypatch)
        assert rows_of(session, wanted) == plain
        assert statements == ([2, 6] if encoding == "UTF-8" else [6])


@pytest.mark.parametrize("column", ["a", "b", "c", "d"])
def test_sqlite_leaves_out_a_row_with_a_blob(tmp_path: Path, column: str) -> None:
    lite(tmp_path / "a.db", [row for row in lite_rows() if SEPARATOR not in row[1]])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute(f"UPDATE t SET {column} = x'323032342d30312d3031' WHERE rowid = 2")
    with closing(SqliteSession(Endpoint(SqliteFile(tmp_path / "a.db")))) as session:
        wanted = lite_scan(session)
        assert session.count(TableName("main", "t")) == rows_of(session, wanted).total() + 1


@pytest.mark.parametrize("column", ["a", "c"])
def test_sqlite_leaves_out_a_null_that_may_not_be(tmp_path: Path, column: str) -> None:
    lite(tmp_path / "a.db", [(1, "", "b", "2024-01-01", None, "2024-01-01 00:00:00")] * 2)
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '')")
        connection.commit()
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute(f"UPDATE t SET {column} = NULL WHERE rowid = 1")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ?", (f"CREATE TABLE t ({LITE})",))
        connection.commit()
    with closing(SqliteSession(Endpoint(SqliteFile(tmp_path / "a.db")))) as session:
        wanted = lite_scan(session)
        assert rows_of(session, wanted).total() == 1
        assert session.count(TableName("main", "t")) == 2


@pytest.mark.parametrize("value", ["", "2024-02-30", "infinity ", 20240101, 1.5, "0000-01-01"])
@pytest.mark.parametrize("column", ["c", "d"])
def test_sqlite_says_what_is_no_date(tmp_path: Path, column: str, value: Any) -> None:
    lite(tmp_path / "a.db", [row for row in lite_rows() if SEPARATOR not in row[1]])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute(f"UPDATE t SET {column} = ? WHERE rowid = 2", (value,))
    with closing(SqliteSession(Endpoint(SqliteFile(tmp_path / "a.db")))) as session:
        wanted = lite_scan(session)
        with pytest.raises(MisfitFound) as raised:
            rows_of(session, wanted)
        assert raised.value.details["columns"] == [column]


@pytest.mark.parametrize("value", [b"a\0b", b"\xff", b"\xc3", b"x" * 401])
def test_sqlite_says_what_is_no_text(tmp_path: Path, value: bytes) -> None:
    lite(tmp_path / "a.db", [row for row in lite_rows() if SEPARATOR not in row[1]])
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
        connection.execute("UPDATE t SET b = CAST(? AS TEXT) WHERE rowid = 12", (value,))
    with closing(SqliteSession(Endpoint(SqliteFile(tmp_path / "a.db")))) as session:
        wanted = lite_scan(session)
        with pytest.raises(MisfitFound) as raised:
            rows_of(session, wanted)
        assert raised.value.details["columns"] == ["b"]
