"""What writing a SQLite file takes for granted of SQLite and its driver, and the session that does
it: rows written where they belong, or apart and gathered; keys built after the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import pyarrow as pa
import pytest
from tests.system.sqlite_files import asked, quoted, stored

from tableferry import kinds
from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Batch, Endpoint
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite import ddl
from tableferry.dialects.sqlite.target import SqliteTarget
from tableferry.errors import DatabaseError
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    Kind,
    ReadColumn,
    Table,
    TableName,
)
from tableferry.sql import constant

MAIN = "main"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def writer(path: Path) -> Iterator[adbc_driver_sqlite.dbapi.Connection]:
    with closing(sqlite.open_writer(path)) as connection:
        yield connection


# ---- the driver ----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_ingest_and_parameters_belong_to_the_transaction_begun_by_hand(
    path: Path, writer: adbc_driver_sqlite.dbapi.Connection, end: str
) -> None:
    batch = pa.record_batch([pa.array([1, 2])], names=["a"])
    sqlite.run(writer, "CREATE TABLE t (a)")
    sqlite.run(writer, "BEGIN IMMEDIATE")
    with writer.cursor() as cursor:
        cursor.adbc_ingest("t", batch, mode="append")
        cursor.adbc_ingest("t", batch, mode="append")
        cursor.executemany("INSERT INTO t VALUES (?1)", batch)
    sqlite.run(writer, end)
    writer.close()
    assert asked(path, "SELECT count(*) FROM t") == [(6 if end == "COMMIT" else 0,)]


def test_a_closed_connection_takes_its_transaction_along(path: Path) -> None:
    connection = sqlite.open_writer(path)
    sqlite.run(connection, "CREATE TABLE t (a)")
    sqlite.run(connection, "BEGIN IMMEDIATE")
    sqlite.run(connection, "INSERT INTO t VALUES (1)")
    connection.close()
    assert asked(path, "SELECT * FROM t") == []


def test_nan_is_bound_as_null(path: Path, writer: adbc_driver_sqlite.dbapi.Connection) -> None:
    sqlite.run(writer, "CREATE TABLE t (a)")
    with writer.cursor() as cursor:
        batch = pa.record_batch([pa.array([float("nan"), 1.5, float("inf"), -0.0])], names=["a"])
        cursor.adbc_ingest("t", batch, mode="append")
        cursor.executemany("INSERT INTO t VALUES (?1)", batch)
    writer.close()
    once = [("null", None), ("real", 1.5), ("real", float("inf")), ("real", 0.0)]
    assert asked(path, "SELECT typeof(a), a FROM t") == once * 2


@pytest.mark.parametrize("name", ['a "b"', "it's", "a.b", "a%sb", "a]b", "ä", " ", "select", "`"])
def test_names_of_tables_and_columns_are_quoted_by_ingest(path: Path, name: str) -> None:
    with closing(sqlite.open_writer(path)) as connection:
        sqlite.run(connection, f"CREATE TABLE {quoted(name)} (x, {quoted(name)} TEXT)")
        with connection.cursor() as cursor:
            batch = pa.record_batch([pa.array(["v"])], names=[name])
            cursor.adbc_ingest(name, batch, mode="append")
    assert asked(path, f"SELECT x, {quoted(name)} FROM {quoted(name)}") == [(None, "v")]


def test_what_is_attached_is_let_go_of_after_the_commit(
    path: Path, tmp_path: Path, writer: adbc_driver_sqlite.dbapi.Connection
) -> None:
    other = tmp_path / "other file%20?x=1#'.db"
    asked(other, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    sqlite.run(writer, "CREATE TABLE t (a)")
    sqlite.run(writer, f"ATTACH {constant(str(other))} AS part")
    sqlite.run(writer, "BEGIN IMMEDIATE")
    sqlite.run(writer, "INSERT INTO main.t SELECT * FROM part.t")
    with pytest.raises(adbc_driver_manager.Error, match="part is locked"):
        sqlite.run(writer, "DETACH part")
    sqlite.run(writer, "COMMIT")
    sqlite.run(writer, "DETACH part")
    writer.close()
    assert asked(path, "SELECT * FROM t") == [(1,)]


def test_a_rule_appended_to_the_schema_holds_at_once_and_for_others(
    path: Path, writer: adbc_driver_sqlite.dbapi.Connection
) -> None:
    reader = sqlite3.connect(path)
    sqlite.run(writer, "CREATE TABLE t (a)")
    assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
    sqlite.run(writer, "BEGIN IMMEDIATE")
    for statement in ddl.add_check(TableName(MAIN, "t"), Check("a > 0", "positive")):
        sqlite.run(writer, statement)
    with pytest.raises(adbc_driver_manager.Error, match="CHECK constraint failed: positive"):
        sqlite.run(writer, "INSERT INTO t VALUES (0)")
    sqlite.run(writer, "COMMIT")
    with pytest.raises(sqlite3.IntegrityError, match="CHECK constraint failed: positive"):
        reader.execute("INSERT INTO t VALUES (0)")
    reader.close()


# ---- the session ---------------------------------------------------------------------------------


def opened(path: Path) -> SqliteTarget:
    return SqliteTarget(Endpoint(SqliteFile(path)))


def table(*columns: Column, **more: object) -> Table:
    return Table(TableName(MAIN, "t"), columns, **more)  # type: ignore[arg-type]


ID = Column("id", "BIGINT", nullable=False)
A, B, C = Column("a", "TEXT"), Column("b", "BIGINT"), Column("c", "DOUBLE")
INT, TEXT, FLOAT = kinds.INT, kinds.TEXT, kinds.FLOAT


def reads(*pairs: tuple[Column, Kind]) -> tuple[ReadColumn, ...]:
    return tuple(ReadColumn(column, kind) for column, kind in pairs)


def batches(*rows: tuple[object, ...], kinds_of: tuple[Kind, ...]) -> Iterator[Batch]:
    columns = list(zip(*rows, strict=True))
    yield Batch(
        tuple(
            pa.array(column, kinds.arrow_type(kind))
            for column, kind in zip(columns, kinds_of, strict=True)
        )
    )


def create(session: SqliteTarget, *statements: str) -> None:
    session.execute(*statements)
    session.commit()


def gather(session: SqliteTarget, columns: tuple[ReadColumn, ...], *parts: list[object]) -> None:
    """Each part is written by a session of its own, as workers do."""
    kinds_of = tuple(column.kind for column in columns)
    name = TableName(MAIN, "t")
    for rows in parts:
        with closing(opened(session._path)) as other:
            place = other.write_apart(name, columns, batches(*rows, kinds_of=kinds_of))  # type: ignore[arg-type]
        with session.gathering(place):
            session.gather(name, columns)
            session.commit()
        assert not Path(place).exists()


def test_bare_tables_are_gathered_by_the_transfer_optimisation(path: Path) -> None:
    """It copies records without taking them apart: the plan has no column in it ("INSERT")."""
    session = opened(path)
    made = table(ID, A, B)
    create(session, *ddl.create_table(made))
    columns = reads((ID, INT), (A, TEXT), (B, INT))
    with closing(opened(path)) as other:
        rows = batches((1, "x", 5), (2, None, None), kinds_of=(INT, TEXT, INT))
        place = other.write_apart(made.name, columns, rows)
    with session.gathering(place):
        insert = 'INSERT INTO "main"."t" SELECT * FROM part."t"'
        explained = sqlite.rows(session._connection, "SELECT 1 AS n", "n")
        assert explained == [[1]]
        with session._connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {insert}")
            opcodes = {row[1] for row in cursor.fetchall()}
        assert "RowCell" in opcodes or "RowData" in opcodes
        assert "Column" not in opcodes
        session.gather(made.name, columns)
        session.commit()
    session.close()
    assert asked(path, "SELECT * FROM t") == [(1, "x", 5), (2, None, None)]
    assert list(path.parent.rglob("*.part")) == []


def test_gathering_with_generated_columns(path: Path) -> None:
    session = opened(path)
    stored_one = Column("g", "BIGINT", generated="b * 2")
    virtual = Column("h", "BIGINT", generated="b * 3", virtual=True)
    made = table(ID, stored_one, B, virtual)
    create(session, *ddl.create_table(made))
    columns = reads((ID, INT), (stored_one, INT), (B, INT), (virtual, INT))
    gather(session, columns, [(1, 10, 5, 15)], [(2, None, None, None)], [(3, -2, -1, -3)])
    session.close()
    assert asked(path, "SELECT * FROM t ORDER BY id") == [
        (1, 10, 5, 15),
        (2, None, None, None),
        (3, -2, -1, -3),
    ]
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]


def test_gathering_with_autoincrement(path: Path) -> None:
    session = opened(path)
    key = Column("id", "INTEGER", nullable=False)
    made = table(key, A, primary_key=Key(("id",)), identity=Identity("id", 43))
    create(session, *ddl.create_table(made))
    gather(session, reads((key, INT), (A, TEXT)), [(7, "x"), (9, "y")], [(1, "z")])
    create(session, *ddl.set_next_identity(made))
    session.close()
    assert asked(path, "SELECT * FROM t") == [(1, "z"), (7, "x"), (9, "y")]
    assert asked(path, "INSERT INTO t (a) VALUES ('new') RETURNING id") == [(43,)]


APPLICATIONS = {
    "other order, more columns, a default": (
        "CREATE TABLE t (more TEXT DEFAULT 'usual', b INT, a TEXT COLLATE NOCASE, id INTEGER "
        "PRIMARY KEY)"
    ),
    "keys of its own": "CREATE TABLE t (id INT PRIMARY KEY, a TEXT, b INT, UNIQUE (a, id))",
    "no types": "CREATE TABLE t (id, a, b)",
    "strict": "CREATE TABLE t (id INTEGER PRIMARY KEY, a ANY, b INT, UNIQUE (a)) STRICT",
    "strict and bare": "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b INT) STRICT",
    "without rowid": "CREATE TABLE t (id INT PRIMARY KEY, a TEXT, b INT) WITHOUT ROWID",
    "without rowid, generated": (
        "CREATE TABLE t (id INT PRIMARY KEY, a TEXT, b INT, g AS (b * 2)) WITHOUT ROWID"
    ),
    "checks": "CREATE TABLE t (id INT CHECK (id > 0), a TEXT, b INT, CHECK (a <> 'no'))",
    "generated": "CREATE TABLE t (id INT, g INT AS (b * 2) STORED, a TEXT, h AS (a || a), b INT)",
    "an index": "CREATE TABLE t (id INT, a TEXT, b INT)",
}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_gathering_into_an_applications_table(path: Path, name: str) -> None:
    asked(path, APPLICATIONS[name])
    if name == "an index":
        asked(path, "CREATE UNIQUE INDEX i ON t (a)")
    before = asked(path, "SELECT sql FROM sqlite_schema WHERE name = 't'")
    (found,) = asked_schema(path)
    own = {column.name: column for column in found.columns}
    session = opened(path)
    columns = reads((own["id"], INT), (own["a"], TEXT), (own["b"], INT))
    gather(session, columns, [(1, "007", 5), (3, "y", None)], [(2, "1e3", 7)], [(4, None, 0)])
    session.close()
    assert asked(path, "SELECT id, a, typeof(a), b FROM t ORDER BY id") == [
        (1, "007", "text", 5),
        (2, "1e3", "text", 7),
        (3, "y", "text", None),
        (4, None, "null", 0),
    ]
    assert asked(path, "SELECT sql FROM sqlite_schema WHERE name = 't'") == before
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]


def asked_schema(path: Path) -> tuple[Table, ...]:
    with closing(opened(path)) as session:
        return session.inspect().tables


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_gathering_into_a_file_in_utf_16(path: Path, encoding: str) -> None:
    asked(path, f"PRAGMA encoding = '{encoding}'", "CREATE TABLE t (id INT, a TEXT)")
    session = opened(path)
    gather(session, reads((ID, INT), (A, TEXT)), [(1, "ä漢🦆")], [(2, "")])
    session.close()
    assert asked(path, "SELECT * FROM t") == [(1, "ä漢🦆"), (2, "")]
    assert asked(path, "PRAGMA encoding") == [(encoding,)]


def test_a_failing_unique_index_leaves_no_trace(path: Path) -> None:
    session = opened(path)
    made = table(ID, A)
    create(session, *ddl.create_table(made))
    session.ingest(
        made.name,
        reads((ID, INT), (A, TEXT)),
        batches((1, "x"), (2, "x"), kinds_of=(INT, TEXT)),
    )
    session.commit()
    with pytest.raises(DatabaseError) as caught:
        session.execute(*ddl.add_key(made, Key(("a",), "t_a_key"), primary=False))
    assert caught.value.sqlstate == "23505"
    session.rollback()
    before = asked(path, "SELECT type, name, sql FROM sqlite_schema")
    assert [row[:2] for row in before] == [("table", "t")]
    assert "UNIQUE" not in before[0][2]
    # And the session can go on.
    create(session, *ddl.add_key(made, Key(("id",), "t_id_key"), primary=False))
    session.close()
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: t\.id"):
        asked(path, "INSERT INTO t VALUES (1, 'z')")


@pytest.mark.parametrize(
    "rule",
    [
        *("a >", "a > (SELECT 1)", "b > 0", "a > 0)", "a = 'x", "sum(a) > 1"),
        *("a > ?", "a -- x"),
    ],
)
def test_a_check_that_sqlite_does_not_take_is_refused_before_it_is_committed(
    path: Path, rule: str
) -> None:
    session = opened(path)
    made = table(A)
    create(session, *ddl.create_table(made), 'INSERT INTO "t" VALUES (1)')
    try:
        with pytest.raises(DatabaseError) as caught:
            session.execute(*ddl.add_check(made.name, Check(rule, "c")))
        assert caught.value.sqlstate[:2] in ("42", "0A")
        session.rollback()
        session.execute('INSERT INTO "t" VALUES (2)')
        session.commit()
    finally:
        session.close()
    assert asked(path, "SELECT a FROM t") == [("1",), ("2",)]
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]
    assert asked(path, "SELECT name FROM sqlite_schema") == [("t",)]


NAMES = [
    "t",
    'a "b"',
    "it's",
    "a.b",
    "50%_",
    "ä",
    " ",
    "select",
    "a -- b",
    "x\ny",
    "sqlit_e",
    "[t]",
]


@pytest.mark.parametrize("name", NAMES)
def test_all_rules_in_one_table(path: Path, name: str) -> None:
    one, two, three = (Column(f"{name}{i}", "BIGINT") for i in (1, 2, 3))
    made = Table(
        TableName(MAIN, name),
        (
            Column(one.name, "BIGINT", nullable=False, comment="first -- one"),
            Column(two.name, "BIGINT", nullable=False, comment="a\nsecond"),
            Column(three.name, "BIGINT", default="7", comment="the last one, it's )"),
        ),
        primary_key=Key((two.name, one.name), f"{name}_pkey"),
        uniques=(
            Key((three.name,), f"{name}_3_key"),
            Key((three.name, one.name), f"{name}_31_key"),
        ),
        foreign_keys=(
            ForeignKey(
                (three.name,), TableName(MAIN, name), (three.name,), "CASCADE", name=f"{name}_f"
            ),
            ForeignKey(
                (one.name, two.name),
                TableName(MAIN, name),
                (one.name, two.name),
                deferred=True,
                name=f"{name}_g",
            ),
        ),
        checks=(
            Check(f"{quoted(one.name)} > 0", f"{name}_c"),
            Check(f"{quoted(two.name)} <> 13", f"{name}_d"),
        ),
        indexes=(Index(f"{name}_i", (IndexColumn(two.name, descending=True),), where="1 < 2"),),
        comment="of the table\n-- with )",
    )
    session = opened(path)
    create(session, *ddl.create_table(made))
    session.ingest(
        made.name,
        reads((one, INT), (two, INT), (three, INT)),
        batches((1, 1, 1), (1, 2, 2), (2, 2, None), kinds_of=(INT,) * 3),
    )
    session.commit()
    assert made.primary_key is not None
    create(session, *ddl.add_key(made, made.primary_key, primary=True))
    for key in made.uniques:
        create(session, *ddl.add_key(made, key, primary=False))
    for check in made.checks:
        create(session, *ddl.add_check(made.name, check))
    for index in made.indexes:
        create(session, *ddl.create_index(made.name, index))
    for foreign in made.foreign_keys:
        create(session, *ddl.add_foreign_key(made.name, foreign))
    create(session, *ddl.drop_foreign_key(made.name, made.foreign_keys[1]))
    create(session, *ddl.analyze([made.name]))
    (seen,) = (found for found in session.inspect().tables if found.name == made.name)
    session.close()

    assert asked(path, "PRAGMA integrity_check") == [("ok",)]
    assert asked(path, "PRAGMA foreign_key_check") == []
    assert seen.primary_key == made.primary_key
    assert set(seen.uniques) == set(made.uniques)
    assert seen.foreign_keys == made.foreign_keys[:1]
    assert seen.checks == made.checks
    assert [index.name for index in seen.indexes] == [f"{name}_i"]
    assert [column.comment for column in seen.columns] == [
        "first -- one",
        "a second",
        "the last one, it's )",
    ]
    assert seen.comment == "of the table -- with )"
    rows = asked(path, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NULL")
    assert sorted(n for (n,) in rows) == [f"sqlite_autoindex_{name}_{i}" for i in (1, 2, 3)]
    for values in ("1, 1, 9", "9, 9, 1", "0, 9, 9", "9, 13, 9", "NULL, 9, 9"):
        with pytest.raises(sqlite3.IntegrityError):
            asked(path, f"INSERT INTO {quoted(name)} VALUES ({values})")
    condition = f"{quoted(two.name)} = 2 AND {quoted(one.name)} = 1"
    plan = asked(path, f"EXPLAIN QUERY PLAN SELECT * FROM {quoted(name)} WHERE {condition}")
    assert f"USING INDEX sqlite_autoindex_{name}_1" in plan[0][3]
    # SQLite itself makes the same indexes of the text, in the same order: a copy is made of it.
    copy = path.with_name("copy.db")
    asked(path, f"VACUUM INTO '{copy}'")
    assert asked(copy, "PRAGMA integrity_check") == [("ok",)]
    assert stored(copy, name) == stored(path, name)


def test_a_table_without_any_key(path: Path) -> None:
    session = opened(path)
    made = table(A, B, C)
    create(session, *ddl.create_table(made))
    columns = reads((A, TEXT), (B, INT), (C, FLOAT))
    gather(session, columns, [("x", 1, 0.5), ("x", 1, 0.5)], [("x", 1, float("nan"))])
    session.close()
    assert asked(path, "SELECT a, b, c, typeof(c) FROM t") == [
        ("x", 1, 0.5, "real"),
        ("x", 1, 0.5, "real"),
        ("x", 1, "NaN", "text"),
    ]
