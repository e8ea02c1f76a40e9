"""A verification never passes because both sides failed to read: what neither side brings is an
error, or a difference, or it is named; never is it "verified".

Each case does the same harm to both sides, so that whatever they still bring is equal.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.applications import Owned
from tests.system.support import numbers_file, sqlite_file, sqlite_url

import tableferry
from tableferry.errors import Refused, RunFailed, TableferryError
from tableferry.outcomes import Outcome

_TABLE = ("CREATE TABLE t (id int PRIMARY KEY, word text)", "INSERT INTO t VALUES (1, 'a')")


@pytest.fixture
def two(started: Callable[[str], Server]) -> Iterator[tuple[Server, Server]]:
    """Two databases of PostgreSQL with the same table."""
    server = started(servers.EMBEDDED)
    with servers.fresh_database(server) as one, servers.fresh_database(server) as other:
        for database in (one, other):
            database.run(*_TABLE)
        yield one, other


def as_teller(database: Server) -> str:
    return Owned(database.version, database.host, database.port, "of a teller", database.name).url


def verify(one: Server | Path, other: Server | Path) -> Outcome:
    ends = [sqlite_url(end) if isinstance(end, Path) else end.url for end in (one, other)]
    return tableferry.verify(*ends, workers=1)


# ---- rows that are hidden, and rights that are missing ------------------------------------------

_HIDDEN = ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY none ON t USING (false)")


@pytest.fixture
def tellers(two: tuple[Server, Server]) -> Iterator[tuple[Server, Server]]:
    """The two databases, where a role "teller" may read the table."""
    two[0].run("CREATE ROLE teller LOGIN PASSWORD 'of a teller'")
    try:
        for database in two:
            database.run("GRANT SELECT ON t TO teller")
        yield two
    finally:
        for database in two:
            database.run("DROP OWNED BY teller")
        two[0].run("DROP ROLE teller")


def verify_as_teller(two: tuple[Server, Server]) -> Outcome:
    return tableferry.verify(*map(as_teller, two), workers=1)


def test_the_role_may_read_both(tellers: tuple[Server, Server]) -> None:
    assert verify_as_teller(tellers).verified


def test_rows_hidden_on_both_sides(tellers: tuple[Server, Server]) -> None:
    for database in tellers:
        database.run(*_HIDDEN)
    with pytest.raises(TableferryError, match=r"[Rr]ow.level security"):
        verify_as_teller(tellers)


def test_rows_hidden_in_the_target_of_an_empty_table(tellers: tuple[Server, Server]) -> None:
    one, other = tellers
    one.run("TRUNCATE t")
    other.run(*_HIDDEN)
    with pytest.raises(TableferryError, match=r"[Rr]ow.level security"):
        verify_as_teller(tellers)


@pytest.mark.parametrize("sides", [(0,), (1,), (0, 1)], ids=str)
def test_tables_that_may_not_be_read(
    tellers: tuple[Server, Server], sides: tuple[int, ...]
) -> None:
    for side in (0, 1):
        tellers[side].run("TRUNCATE t")
    for side in sides:
        tellers[side].run("REVOKE SELECT ON t FROM teller")
    with pytest.raises(TableferryError, match=r"may not read|permission denied"):
        verify_as_teller(tellers)


def test_columns_that_may_not_be_read(tellers: tuple[Server, Server]) -> None:
    for database in tellers:
        database.run("REVOKE SELECT ON t FROM teller", "GRANT SELECT (id) ON t TO teller")
    with pytest.raises(TableferryError, match=r"may not read|permission denied"):
        verify_as_teller(tellers)


# ---- reads that fail or are cut off -------------------------------------------------------------


def test_statements_are_not_cut_off(two: tuple[Server, Server]) -> None:
    """Whatever an administrator has set for people at a prompt: what is not read is not equal."""
    for database in two:
        database.run(
            "INSERT INTO t SELECT i, repeat('x', 100) FROM generate_series(2, 200000) AS i",
            f"ALTER DATABASE {database.name} SET statement_timeout = '20ms'",
        )
    outcome = verify(*two)
    assert outcome.verified
    assert outcome.tables[0].source_rows > 200_000 - 10


def test_a_column_that_cannot_be_computed(two: tuple[Server, Server]) -> None:
    for database in two:
        database.run(
            "ALTER TABLE t ADD part int GENERATED ALWAYS AS (1 / (id - 1)) VIRTUAL",
        )
    with pytest.raises(TableferryError, match="division by zero"):
        verify(*two)


def test_a_column_that_cannot_be_computed_in_two_files(tmp_path: Path) -> None:
    files = [
        sqlite_file(
            tmp_path / f"{name}.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, "
            "document TEXT GENERATED ALWAYS AS (word) VIRTUAL); "
            "INSERT INTO t (word) VALUES ('no JSON'); PRAGMA writable_schema = ON; "
            "UPDATE sqlite_schema SET sql = replace(sql, '(word)', '(json(word))');",
        )
        for name in ("one", "other")
    ]
    with pytest.raises(TableferryError, match="malformed JSON"):
        verify(*files)


@pytest.mark.parametrize("page", [0.1, 0.5, 0.9, 1.0])
def test_one_damaged_page_in_two_files(tmp_path: Path, page: float) -> None:
    one = numbers_file(tmp_path / "one.db", 20_000)
    content = bytearray(one.read_bytes())
    begin = min(int(page * len(content)) // 4096, len(content) // 4096 - 1) * 4096
    content[begin : begin + 100] = bytes(byte ^ 0xFF for byte in content[begin : begin + 100])
    one.write_bytes(content)
    other = Path(shutil.copyfile(one, tmp_path / "other.db"))
    with pytest.raises(TableferryError, match="damaged"):
        verify(one, other)


def test_two_truncated_files(tmp_path: Path) -> None:
    one = numbers_file(tmp_path / "one.db", 20_000)
    os.truncate(one, one.stat().st_size // 2)
    other = Path(shutil.copyfile(one, tmp_path / "other.db"))
    with pytest.raises(TableferryError, match="damaged"):
        verify(one, other)


# ---- indexes that are short of an entry ---------------------------------------------------------


def test_indexes_short_of_an_entry_in_two_files(tmp_path: Path) -> None:
    """A row that no index knows is there all the same; here it differs."""
    files = []
    for name, word in (("one", "a"), ("other", "b")):
        file = sqlite_file(
            tmp_path / f"{name}.db",
            "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT); CREATE INDEX i ON t (word, id); "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
            "INSERT INTO t SELECT i, 'word ' || i FROM n;",
        )
        _without_index(file, f"INSERT INTO t VALUES (9999, '{word}')")
        files.append(file)
    outcome = verify(*files)
    assert outcome.status == "differences"
    (difference,) = outcome.tables[0].differences
    assert difference.key == (("id", "9999"),)
    shutil.copyfile(files[0], files[1])
    assert verify(*files).verified
    assert verify(*files).tables[0].source_rows == 2001


def _without_index(file: Path, statement: str) -> None:
    """Runs a statement that the table's index does not hear of."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        row = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'i'").fetchone()
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'i'")
        connection.commit()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    with closing(sqlite3.connect(file)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        assert "missing from index" in found or "wrong # of entries" in found


def test_indexes_short_of_an_entry_in_two_databases(two: tuple[Server, Server]) -> None:
    for database, word in zip(two, ("a", "b"), strict=True):
        database.run(
            "INSERT INTO t SELECT i, 'word' FROM generate_series(2, 20000) AS i",
            "VACUUM ANALYZE t",
            "UPDATE pg_index SET indisready = false, indisvalid = false "
            "WHERE indrelid = 't'::regclass",
            f"INSERT INTO t VALUES (99999, '{word}')",
            "UPDATE pg_index SET indisready = true, indisvalid = true "
            "WHERE indrelid = 't'::regclass",
        )
        with database.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            assert connection.execute("SELECT 1 FROM t WHERE id = 99999").fetchall() == []
    outcome = verify(*two)
    assert outcome.status == "differences"
    (difference,) = outcome.tables[0].differences
    assert difference.key == (("id", "99999"),)
    assert outcome.tables[0].source_rows == 20_001


# ---- what is no table ---------------------------------------------------------------------------


def test_two_empty_files(tmp_path: Path) -> None:
    files = [sqlite_file(tmp_path / f"{name}.db", "PRAGMA user_version = 1") for name in "ab"]
    with pytest.raises(Refused, match="holds no tables"):
        verify(*files)


def test_two_databases_without_a_table(two: tuple[Server, Server]) -> None:
    for database in two:
        database.run("DROP TABLE t")
    with pytest.raises(Refused, match="holds no tables"):
        verify(*two)


def test_tables_that_nobody_has(two: tuple[Server, Server]) -> None:
    ends = [database.url for database in two]
    with pytest.raises(TableferryError, match="nothing_of_that_name"):
        tableferry.verify(*ends, tables=["nothing_of_that_name"])


def test_a_view_in_place_of_the_table(two: tuple[Server, Server], tmp_path: Path) -> None:
    two[1].run("ALTER TABLE t RENAME TO u", "CREATE VIEW t AS SELECT * FROM u")
    outcome = verify(*two)
    assert outcome.tables[0].verdict == "differs"
    assert outcome.tables[0].differences[0].what == "missing"
    file = sqlite_file(tmp_path / "a.db", "CREATE VIEW t AS SELECT 1 AS id, 'a' AS word")
    assert not verify(two[0], file).verified


def test_a_foreign_table_in_place_of_the_table(server: Server) -> None:
    """Its rows are elsewhere, and cannot even be read here."""
    if not server.rows("SELECT 1 FROM pg_available_extensions WHERE name = 'file_fdw'"):
        assert server.version == 18
        return
    with servers.fresh_database(server) as one, servers.fresh_database(server) as other:
        one.run(*_TABLE)
        foreign = (
            "CREATE EXTENSION file_fdw",
            "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
            "CREATE FOREIGN TABLE {} (id int, word text) SERVER files "
            "OPTIONS (filename '/nowhere/at/all')",
        )
        other.run(*(statement.format("t") for statement in foreign))
        assert not verify(one, other).verified
        # Where both have one, nothing is said of it, and it is no table that was verified.
        one.run(*(statement.format("f") for statement in foreign))
        other.run("ALTER FOREIGN TABLE t RENAME TO f", *_TABLE)
        outcome = verify(one, other)
        assert [table.source for table in outcome.tables] == ["t"]
        with pytest.raises(TableferryError):
            tableferry.verify(one.url, other.url, tables=["f"])


def test_a_partition_that_is_elsewhere(server: Server) -> None:
    if not server.rows("SELECT 1 FROM pg_available_extensions WHERE name = 'file_fdw'"):
        assert server.version == 18
        return
    with servers.fresh_database(server) as one, servers.fresh_database(server) as other:
        for database in (one, other):
            database.run(
                "CREATE EXTENSION file_fdw",
                "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
                "CREATE TABLE t (id int, word text) PARTITION BY RANGE (id)",
                "CREATE TABLE here PARTITION OF t FOR VALUES FROM (0) TO (10)",
                "CREATE FOREIGN TABLE there PARTITION OF t FOR VALUES FROM (10) TO (20) "
                "SERVER files OPTIONS (filename '/nowhere/at/all')",
                "INSERT INTO t VALUES (1, 'a')",
            )
        try:
            outcome = verify(one, other)
        except (RunFailed, TableferryError):
            return
        assert not outcome.verified


def test_views_that_hold_nothing_yet(two: tuple[Server, Server]) -> None:
    """A materialised view without data cannot be read; it is no table that was verified."""
    for database in two:
        database.run("CREATE MATERIALIZED VIEW m AS SELECT * FROM t WITH NO DATA")
    assert [table.source for table in verify(*two).tables] == ["t"]
    ends = [database.url for database in two]
    with pytest.raises(TableferryError):
        tableferry.verify(*ends, tables=["m"])


# ---- values that neither side can have ----------------------------------------------------------


@pytest.mark.parametrize("stored", ["'no number'", "x'00ff'"])
def test_values_that_no_type_holds_on_both_sides(
    two: tuple[Server, Server], tmp_path: Path, stored: str
) -> None:
    """The one row with a value that cannot be compared must not just be left out of both."""
    file = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT, n INTEGER);"
        f"INSERT INTO t VALUES (1, 'a', {stored})",
    )
    for database in two:
        database.run("ALTER TABLE t ADD n int")
    assert not verify(file, two[0]).verified
    assert not verify(two[0], file).verified
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE t SET n = NULL")
        connection.commit()
    assert verify(file, two[0]).verified


def test_types_that_cannot_be_read(two: tuple[Server, Server]) -> None:
    """A domain's or a type's own output that fails, on both sides."""
    for database in two:
        database.run(
            "CREATE TYPE pair AS (a int, b text)",
            "ALTER TABLE t ADD p pair",
            "CREATE FUNCTION fails(pair) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not to be read'; END $$",
            "CREATE CAST (pair AS text) WITH FUNCTION fails(pair)",
            "UPDATE t SET p = (1, 'x')",
        )
    with pytest.raises(TableferryError, match="not to be read"):
        verify(*two)
