"""What the code takes for granted of the drivers and the databases, one fact a test.

The versions of the drivers are pinned; before they are raised, all of this has to hold.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
import pytest
from tests.servers import Server

from tableferry import kinds
from tableferry.addresses import PostgresServer, SqliteFile, parse_url
from tableferry.dialects.base import Endpoint
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql.hold import ExportedSnapshot
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.sqlite.connection import open_reader
from tableferry.dialects.sqlite.hold import LockedFile, WatchedFile
from tableferry.errors import Refused, SourceChanged
from tableferry.model import TableName

# ---- reading SQLite: types ---------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def build(path: Path, *statements: str) -> None:
    """With Python's own SQLite, closed again before the driver opens the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def stream(path: Path, query: str, batch_rows: int = 4) -> Iterator[pa.RecordBatchReader]:
    with (
        closing(open_reader(path)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
        cursor.execute(query)
        yield cursor.fetch_record_batch()


def column_of(path: Path, header: str, literals: list[str], batch_rows: int = 4) -> pa.Table:
    """A column of these literals, read behind a header literal."""
    values = " UNION ALL ".join(f"SELECT {literal}" for literal in [header, *literals])
    build(path)
    with stream(path, values, batch_rows) as reader:
        return reader.read_all()


EARLY, LATE = 100, 3


@pytest.mark.parametrize(
    ("header", "arrow_type"),
    [("0", pa.int64()), ("0.0", pa.float64()), ("''", pa.string()), ("x''", pa.binary())],
)
def test_a_header_row_fixes_the_type(path: Path, header: str, arrow_type: pa.DataType) -> None:
    nothing = column_of(path, header, ["NULL"] * 9)
    assert nothing.schema.types == [arrow_type]
    assert nothing.num_rows == 10


def test_without_a_header_nothing_is_an_integer(path: Path) -> None:
    build(path, "CREATE TABLE t (a TEXT, b REAL, c BLOB)")
    with stream(path, "SELECT * FROM t") as reader:
        assert reader.schema.types == [pa.int64()] * 3


@pytest.mark.parametrize(
    ("header", "stranger"),
    [("0", "1.5"), ("0", "'x'"), ("0", "x'01'"), ("0.0", "'x'"), ("0.0", "x'01'")],
)
def test_numbers_raise_on_a_stranger_that_comes_late(
    path: Path, header: str, stranger: str
) -> None:
    with pytest.raises((OSError, pa.ArrowInvalid), match=r"Type mismatch in column 0"):
        column_of(path, header, [header] * 9 + [stranger], LATE)


@pytest.mark.parametrize(
    ("header", "stranger", "becomes"),
    [
        ("0", "1.5", pa.float64()),
        ("0", "'x'", pa.string()),
        ("0", "x'01'", pa.binary()),
        ("0.0", "'x'", pa.string()),
        ("0.0", "x'01'", pa.binary()),
        ("''", "x'01'", pa.binary()),
    ],
)
def test_a_stranger_in_the_first_batch_changes_the_type(
    path: Path, header: str, stranger: str, becomes: pa.DataType
) -> None:
    assert column_of(path, header, [header, stranger], EARLY).schema.types == [becomes]


def test_an_integer_in_a_double_is_rounded_silently(path: Path) -> None:
    read = column_of(path, "0.0", ["9007199254740993", "2"], LATE)
    assert read.column(0).to_pylist() == [0.0, 9007199254740992.0, 2.0]


@pytest.mark.parametrize(
    ("batch_rows", "printed"), [(EARLY, "3.141593e+00"), (LATE, "3.1415926535897931")]
)
def test_numbers_in_a_string_are_printed_silently(
    path: Path, batch_rows: int, printed: str
) -> None:
    read = column_of(path, "''", ["'a'"] * 5 + ["12", "3.141592653589793"], batch_rows)
    assert read.schema.types == [pa.string()]
    assert read.column(0).to_pylist()[-2:] == ["12", printed]


def test_a_late_blob_in_a_string_is_taken_for_text_silently(path: Path) -> None:
    # Why text columns are read with a guard.
    read = column_of(path, "''", ["'a'"] * 9 + ["x'62'"], LATE)
    assert read.schema.types == [pa.string()]
    assert read.column(0).to_pylist()[-1] == "b"


@pytest.mark.parametrize("batch_rows", [EARLY, LATE])
def test_text_in_a_binary_is_taken_for_a_blob_silently(path: Path, batch_rows: int) -> None:
    # Why columns of blobs are read with a guard.
    read = column_of(path, "x''", ["x'61'"] * 5 + ["'b'"], batch_rows)
    assert read.schema.types == [pa.binary()]
    assert read.column(0).to_pylist()[-1] == b"b"


def test_numbers_in_a_binary_are_printed_or_raise(path: Path) -> None:
    literals = ["x'61'"] * 5 + ["12", "1.5"]
    assert column_of(path, "x''", literals, EARLY).column(0).to_pylist()[-2:] == [
        b"12",
        b"1.500000e+00",
    ]
    for literal in ("12", "1.5"):
        with pytest.raises(OSError, match="Type mismatch in column 0"):
            column_of(path, "x''", ["x'61'"] * 5 + [literal], LATE)


@pytest.mark.parametrize("declared", ["", "TEXT", "NUMERIC", "INTEGER", "REAL", "BLOB"])
def test_guards_tell_blobs_from_all_else(path: Path, declared: str) -> None:
    values = "(1, x''), (2, x'00'), (3, 'a'), (4, 5), (5, 6.5), (6, NULL), (7, ''), (8, x'ff')"
    build(path, f"CREATE TABLE t (id, a {declared})", f"INSERT INTO t VALUES {values}")
    for operand in ("t.a", "+t.a COLLATE BINARY"):
        for operator, kept in ((">=", [3, 4, 5, 6, 7]), ("<", [1, 2, 6, 8])):
            query = f"SELECT id FROM t WHERE ({operand} {operator} x'') IS NOT TRUE"
            with stream(path, query) as reader:
                assert reader.read_all().column(0).to_pylist() == kept


def test_values_arrive_exactly(path: Path) -> None:
    integers = [str(-(2**63) + 1), "-9223372036854775807 - 1", str(2**63 - 1)]
    assert column_of(path, "0", integers).column(0).to_pylist()[1:] == [
        -(2**63) + 1,
        -(2**63),
        2**63 - 1,
    ]
    doubles = ["9e999", "-9e999", "5e-324", "0.1", "1.7976931348623157e308"]
    assert column_of(path, "0.0", doubles).column(0).to_pylist()[1:] == [
        math.inf,
        -math.inf,
        5e-324,
        0.1,
        1.7976931348623157e308,
    ]
    texts = ["'a' || char(0) || 'b'", "'😀'", "''"]
    assert column_of(path, "''", texts).column(0).to_pylist()[1:] == ["a\0b", "😀", ""]


def test_text_that_is_none_arrives_as_its_bytes(path: Path) -> None:
    read = column_of(path, "''", ["CAST(x'ff41' AS TEXT)"])
    assert read.schema.types == [pa.string()]
    assert read.column(0).cast(pa.binary()).to_pylist()[1:] == [b"\xff\x41"]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_text_is_utf8_whatever_the_file_holds(path: Path, encoding: str) -> None:
    build(
        path,
        f"PRAGMA encoding = '{encoding}'",
        "CREATE TABLE t (a TEXT)",
        "INSERT INTO t VALUES ('äöü😀'), ('')",
    )
    with stream(path, "SELECT '' UNION ALL SELECT t.a FROM t") as reader:
        assert reader.read_all().column(0).to_pylist() == ["", "äöü😀", ""]


def test_batches_have_the_rows_asked_for(path: Path) -> None:
    build(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2), (3), (4), (5)")
    with stream(path, "SELECT a FROM t", batch_rows=2) as reader:
        assert [batch.num_rows for batch in reader] == [2, 2, 1]


def test_an_unknown_name_is_a_string_but_for_the_alias(path: Path) -> None:
    build(path, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    with stream(path, 'SELECT "nothing" FROM t') as reader:
        assert reader.read_all().column(0).to_pylist() == ["nothing"]
    with (
        pytest.raises(adbc_driver_manager.Error, match="no such column"),
        stream(path, 'SELECT t."nothing" FROM t'),
    ):
        pass


def test_a_reader_cannot_write(path: Path) -> None:
    build(path, "CREATE TABLE t (a)")
    with (
        closing(open_reader(path)) as connection,
        connection.cursor() as cursor,
        pytest.raises(adbc_driver_manager.Error, match="readonly database"),
    ):
        cursor.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize("name", ["a b?#%41.db", "ü😀.db", "file:x", os.fsdecode(b"\xff.db")])
def test_files_of_odd_names_are_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with closing(sqlite3.connect(os.fsencode(path))) as connection, connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    assert count(path) == 1
    with LockedFile(endpoint_of(path)) as hold:
        hold.check()
    assert list(tmp_path.iterdir()) == [path]


# ---- holding SQLite -----------------------------------------------------------------------------

JOURNALS = pytest.mark.parametrize("journal", ["DELETE", "WAL"])


def write(path: Path) -> str:
    """Another process that writes a row, without waiting; what it was told, "" for success."""
    program = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=0)\n"
        "try:\n"
        "    with connection:\n"
        "        connection.execute('INSERT INTO t VALUES (2)')\n"
        "except sqlite3.OperationalError as error:\n"
        "    print(error, end='')\n"
        "connection.close()\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def count(path: Path) -> int:
    with stream(path, "SELECT count(*) FROM t") as reader:
        return int(reader.read_all().column(0)[0].as_py())


def endpoint_of(path: Path) -> Endpoint:
    return Endpoint(SqliteFile(path))


@JOURNALS
def test_an_immediate_transaction_keeps_writers_out_and_readers_in(
    path: Path, journal: str
) -> None:
    build(path, f"PRAGMA journal_mode = {journal}", "CREATE TABLE t (a)")
    build(path, "INSERT INTO t VALUES (1)")
    with LockedFile(endpoint_of(path)) as hold:
        assert "locked" in write(path)
        assert count(path) == 1
        assert count(path) == 1
        assert "locked" in write(path)
        hold.check()
    assert write(path) == ""
    assert count(path) == 2


@JOURNALS
def test_a_reader_keeps_no_writer_out(path: Path, journal: str) -> None:
    build(path, f"PRAGMA journal_mode = {journal}", "CREATE TABLE t (a)")
    with WatchedFile(endpoint_of(path)):
        assert write(path) == ""


@JOURNALS
def test_data_version_notices_other_writers(path: Path, journal: str) -> None:
    build(path, f"PRAGMA journal_mode = {journal}", "CREATE TABLE t (a)")
    with WatchedFile(endpoint_of(path)) as hold:
        hold.check()
        assert count(path) == 0
        hold.check()
        assert write(path) == ""
        with pytest.raises(SourceChanged):
            hold.check()


def test_a_writer_at_work_is_seen(path: Path) -> None:
    build(path, "CREATE TABLE t (a)")
    with (
        LockedFile(endpoint_of(path)),
        pytest.raises(Refused, match="Another program is writing"),
        LockedFile(endpoint_of(path)),
    ):
        pass


# ---- PostgreSQL: connections --------------------------------------------------------------------


@contextmanager
def connected(database: Server) -> Iterator[adbc_driver_postgresql.dbapi.Connection]:
    with closing(adbc_driver_postgresql.dbapi.connect(database.url)) as connection:
        yield connection
        connection.rollback()


def run(connection: adbc_driver_postgresql.dbapi.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def endpoint(database: Server) -> Endpoint:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    return Endpoint(address)


def test_a_commit_of_an_aborted_transaction_claims_success(database: Server) -> None:
    # Why a session that met an error is closed and never committed.
    database.run("CREATE TABLE t (a int)")
    with connected(database) as connection:
        run(connection, "INSERT INTO t VALUES (1)")
        with pytest.raises(adbc_driver_manager.Error):
            run(connection, "SELECT 1 / 0")
        connection.commit()
    assert database.rows("SELECT * FROM t") == []


def test_errors_carry_the_sqlstate(database: Server) -> None:
    states = {
        "INSERT INTO t VALUES (1), (1)": "23505",
        "INSERT INTO t VALUES (NULL)": "23502",
        "SELECT * FROM nothing": "42P01",
        "nonsense": "42601",
        "CREATE TABLE t ()": "42P07",
    }
    database.run("CREATE TABLE t (a int PRIMARY KEY)")
    with connected(database) as connection:
        for statement, state in states.items():
            with pytest.raises(adbc_driver_manager.Error) as caught:
                run(connection, statement)
            connection.rollback()
            assert caught.value.sqlstate == state, statement


def test_errors_of_an_ingest_carry_the_sqlstate(database: Server) -> None:
    database.run("CREATE TABLE t (a int8 PRIMARY KEY)")
    with (
        connected(database) as connection,
        connection.cursor() as cursor,
        pytest.raises(adbc_driver_manager.Error) as caught,
    ):
        cursor.adbc_ingest("t", pa.table({"a": [1, 1]}), mode="append")
    assert caught.value.sqlstate == "23505"


def test_a_refused_login_has_a_sentence_and_no_sqlstate(database: Server) -> None:
    wrong = database.url.replace(database.name, "nothing")
    with pytest.raises(adbc_driver_manager.Error, match='database "nothing" does not exist') as e:
        adbc_driver_postgresql.dbapi.connect(wrong)
    assert not e.value.sqlstate


def test_what_the_database_sets_is_overruled(database: Server) -> None:
    database.run(
        *(
            f"ALTER DATABASE {database.name} SET {setting}"
            for setting in (
                "datestyle = 'German'",
                "timezone = 'Asia/Kathmandu'",
                "bytea_output = 'escape'",
                "extra_float_digits = 0",
                "client_encoding = 'LATIN1'",
            )
        )
    )
    with closing(postgres.connect(endpoint(database))) as connection:
        (row,) = postgres.rows(
            connection,
            "SELECT '2024-01-02 12:00:00+00'::timestamptz::text AS a, '\\x00ff'::bytea::text AS b, "
            "0.1::float8::text AS c, '€' AS d, 1/3::float8 AS e",
        )
    assert row == {
        "a": "2024-01-02 12:00:00+00",
        "b": "\\x00ff",
        "c": "0.1",
        "d": "€",
        "e": 1 / 3,
    }


def test_settings_outlive_a_rollback_of_a_later_transaction(database: Server) -> None:
    with closing(postgres.connect(endpoint(database))) as connection:
        with pytest.raises(adbc_driver_manager.Error):
            run(connection, "SELECT 1 / 0")
        connection.rollback()
        (row,) = postgres.rows(connection, "SELECT current_setting('row_security') AS a")
    assert row == {"a": "off"}


def test_an_exported_snapshot_is_shared(database: Server) -> None:
    database.run("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    with ExportedSnapshot(endpoint(database)) as hold:
        database.run("INSERT INTO t VALUES (2)")
        for _ in range(2):
            with closing(PostgresSession(hold.endpoint)) as session:
                assert session.count(TableName("public", "t")) == 1
        hold.check()
    with closing(PostgresSession(endpoint(database))) as session:
        assert session.count(TableName("public", "t")) == 2


def test_one_run_at_a_time(database: Server) -> None:
    with closing(PostgresSession(endpoint(database))) as first:
        first.lock_run()
        with closing(PostgresSession(endpoint(database))) as second:
            with pytest.raises(Refused, match="Another run") as refused:
                second.lock_run()
            # A run that goes on may meet its own lost session.
            assert refused.value.transient
            first.close()
            second.rollback()
            second.lock_run()


# ---- PostgreSQL: reading ------------------------------------------------------------------------


def batches(database: Server, query: str, *parameters: object) -> list[int]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(
            **{"adbc.postgresql.batch_size_hint_bytes": str(64 << 10)}
        )
        cursor.execute(query, parameters or None)
        return [batch.num_rows for batch in cursor.fetch_record_batch()]


def test_literals_stream_and_parameters_do_not(database: Server) -> None:
    # Why bounds are literals: a parameter would buffer the whole range.
    database.run("CREATE TABLE t AS SELECT i, repeat('x', 50) AS x FROM generate_series(1, 9000) i")
    streamed = batches(database, "SELECT i, x FROM t WHERE i >= 1")
    assert len(streamed) > 4
    assert sum(streamed) == 9000
    assert batches(database, "SELECT i, x FROM t WHERE i >= $1", 1) == [9000]


def test_ranges_of_ctid_are_scanned_as_ranges(database: Server) -> None:
    database.run(
        "CREATE TABLE t AS SELECT i, repeat('x', 500) AS x FROM generate_series(1, 3000) i",
        "DELETE FROM t WHERE i % 7 = 0",
        "ANALYZE t",
    )
    conditions = (
        "t.ctid < '(50,0)'::tid",
        "t.ctid >= '(50,0)'::tid AND t.ctid < '(120,0)'::tid",
        "t.ctid >= '(120,0)'::tid",
    )
    found: list[int] = []
    for condition in conditions:
        query = f"SELECT i FROM t WHERE {condition}"
        plan = "\n".join(line for (line,) in database.rows(f"EXPLAIN {query}"))
        assert "Tid Range Scan" in plan
        rows = [int(i) for (i,) in database.rows(query)]
        assert rows
        found += rows
    assert sorted(found) == [i for i in range(1, 3001) if i % 7]


# What the driver makes of PostgreSQL's integers: it adds the time from 1970-01-01 to 2000-01-01.
WRAPPED = {
    "date": {"infinity": -(2**31) - 1 + 10_957, "-infinity": -(2**31) + 10_957},
    "timestamp": {
        "infinity": -(2**63) - 1 + 946_684_800_000_000,
        "-infinity": -(2**63) + 946_684_800_000_000,
        "294247-01-10 04:00:54.775807": 2**63 - 1,
        "294247-01-10 04:00:54.775808": -(2**63),
    },
}


@pytest.mark.parametrize("name", ["date", "timestamp", "timestamptz"])
def test_infinity_and_far_timestamps_wrap_around(database: Server, name: str) -> None:
    facts = WRAPPED[name.removesuffix("tz")]
    values = ", ".join(f"('{literal}{'+00' * ('-01' in literal)}'::{name})" for literal in facts)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM (VALUES {values}) t")
        column = cursor.fetch_arrow_table().column(0)
    width = pa.int32() if name == "date" else pa.int64()
    assert column.cast(width).to_pylist() == list(facts.values())


@pytest.mark.parametrize("declared", ["timestamp", "timestamptz"])
def test_timestamps_that_wrapped_around_are_refused_but_not_integers(
    database: Server, declared: str
) -> None:
    database.run(f"CREATE TABLE t (a {declared})")
    own = [2**63 - 1, -(2**63), 0]
    infinite = pa.array([-(2**63) - 1 + 946_684_800_000_000]).cast(pa.timestamp("us"))
    with connected(database) as connection, connection.cursor() as cursor:
        with pytest.raises(adbc_driver_manager.Error):
            cursor.adbc_ingest("t", pa.table({"a": infinite}), mode="append")
        connection.rollback()
        # The server's own count, which goes over the wire as any other eight bytes.
        cursor.adbc_ingest("t", pa.table({"a": own}), mode="append")
        connection.commit()
    found = database.rows("SELECT (a AT TIME ZONE 'UTC')::text FROM t")
    if declared == "timestamp":
        found = database.rows("SELECT a::text FROM t")
    assert [text.removesuffix("+00") for (text,) in found] == [
        "infinity",
        "-infinity",
        "2000-01-01 00:00:00",
    ]


def test_dates_that_wrapped_around_are_stored(database: Server) -> None:
    database.run("CREATE TABLE t (a date)")
    days = [-(2**31) - 1 + 10_957, -(2**31) + 10_957, 2_145_042_905, -2_440_588]
    values = pa.array(days, pa.int32()).cast(pa.date32())
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", pa.table({"a": values}), mode="append")
        connection.commit()
    texts = [text for (text,) in database.rows("SELECT a::text FROM t")]
    assert texts == ["infinity", "-infinity", "5874897-12-31", "4714-11-24 BC"]


def test_a_far_date_is_exact(database: Server) -> None:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT '5874897-12-31'::date")
        days = cursor.fetch_arrow_table().column(0).cast(pa.int32())[0].as_py()
    assert (
        days == 2_145_042_905 == database.rows("SELECT '5874897-12-31'::date - '1970-01-01'")[0][0]
    )


def test_numerics_as_text_are_exact(database: Server) -> None:
    digits = ["1." + "0" * 50 + "1", "9" * 80, "-0.10", "NaN", "Infinity", "-Infinity"]
    listed = ", ".join(f"('{value}'::numeric)" for value in digits)
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT v::text FROM (VALUES {listed}) t(v)")
        assert cursor.fetch_arrow_table().column(0).to_pylist() == digits


def test_what_we_take_for_json_is_json_to_the_server(database: Server) -> None:
    texts = [
        '{"a": [1, -2.5e3, true, null], "a": "\\u00e9"}',
        " [] ",
        '"\\ud800"',
        '"\\u0000"',
        "1e999",
        "-0",
        "1" * 5000,
        "[" * 900 + "]" * 900,
        '"\u2028"',
        '"\x7f"',
        "",
        "NaN",
        "01",
        '"\t"',
        "\ufeff1",
        "\u00a01",
        "1\x0b",
    ]
    taken = [text for text in texts if kinds.json_misfits(pa.array([text])) is None]
    assert len(taken) == 10
    with database.connect() as connection:
        for text in taken:
            row = connection.execute("SELECT %s::json::text", [text]).fetchone()
            assert row == (text,)


# ---- PostgreSQL: writing ------------------------------------------------------------------------


def test_columns_are_ingested_by_name(database: Server) -> None:
    database.run("CREATE TABLE t (a int8 DEFAULT 7, b text, c int8)")
    data = pa.table({"c": pa.array([1]), "b": pa.array(["x"])})
    with connected(database) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest("t", data, mode="append", db_schema_name="public")
        connection.commit()
    assert database.rows("SELECT a, b, c FROM t") == [(7, "x", 1)]


def test_odd_names_are_quoted(database: Server) -> None:
    database.run('CREATE SCHEMA "My ""S"', 'CREATE TABLE "My ""S"."a.b" ("c ""d" int8)')
    with connected(database) as connection:
        with connection.cursor() as cursor:
            cursor.adbc_ingest(
                "a.b", pa.table({'c "d': [1]}), mode="append", db_schema_name='My "S'
            )
        connection.commit()
    assert database.rows('SELECT * FROM "My ""S"."a.b"') == [(1,)]


def test_a_temporary_table_is_ingested_as_such(database: Server) -> None:
    database.run("CREATE TABLE stage (a int8)")
    with connected(database) as connection:
        run(connection, "CREATE TEMP TABLE stage (a int8) ON COMMIT DROP")
        with connection.cursor() as cursor:
            cursor.adbc_ingest("stage", pa.table({"a": [5]}), mode="append", temporary=True)
        run(connection, "CREATE TABLE copy AS SELECT a FROM pg_temp.stage")
        connection.commit()
    assert database.rows("SELECT * FROM copy") == [(5,)]
    assert database.rows("SELECT * FROM public.stage") == []


def test_an_ingest_belongs_to_the_transaction(database: Server) -> None:
    database.run("CREATE TABLE t (a int8)", "CREATE TABLE ledger (n int)")
    with connected(database) as connection:
        run(connection, "INSERT INTO ledger VALUES (1)")
        for number in range(2):
            with connection.cursor() as cursor:
                cursor.adbc_ingest("t", pa.table({"a": [number]}), mode="append")
        assert database.rows("SELECT * FROM t") == []
        connection.rollback()
    assert database.rows("SELECT * FROM t UNION ALL SELECT * FROM ledger") == []


MOMENTS = [
    dt.datetime(1, 1, 1),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(1999, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(2000, 1, 1, 0, 0, 0, 1),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999_999),
    None,
]
EXACT: list[tuple[str, pa.Array]] = [
    ("date", pa.array([m and m.date() for m in MOMENTS], pa.date32())),
    ("time", pa.array([m and m.time() for m in MOMENTS], pa.time64("us"))),
    ("timestamp", pa.array(MOMENTS, pa.timestamp("us"))),
    ("timestamptz", pa.array(MOMENTS, pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))),
    ("int2", pa.array([-(2**15), 2**15 - 1, None], pa.int16())),
    ("int4", pa.array([-(2**31), 2**31 - 1, None], pa.int32())),
    ("int8", pa.array([-(2**63), 2**63 - 1, None], pa.int64())),
    ("bool", pa.array([True, False, None])),
    ("float8", pa.array([0.1, 5e-324, math.inf, -math.inf, -0.0, None])),
    ("text", pa.array(["", "äöü😀", "NULL", "\\N", "a\tb\n", "x" * 100_000, None])),
    ("bytea", pa.array([b"", bytes(range(256)), b"\\N", None], pa.binary())),
]
UUIDS = [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID(int=0x1234 << 64), None]


def test_values_are_exact_both_ways(database: Server) -> None:
    for declared, values in EXACT:
        database.run(f"CREATE TABLE {declared}_values (n int8, a {declared})")
        data = pa.table({"n": pa.array(range(len(values)), pa.int64()), "a": values})
        with connected(database) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(f"{declared}_values", data, mode="append")
            connection.commit()
            cursor.execute(f"SELECT a FROM {declared}_values ORDER BY n")
            read = cursor.fetch_arrow_table().column(0)
        assert (read.type, read.to_pylist()) == (values.type, values.to_pylist()), declared
        # And what another client finds there.
        stored = database.rows(f"SELECT a FROM {declared}_values ORDER BY n")
        assert [value for (value,) in stored] == values.to_pylist(), declared


def test_uuids_are_exact_both_ways(database: Server) -> None:
    database.run("CREATE TABLE t (n int8, a uuid)")
    values = pa.array([each and each.bytes for each in UUIDS], pa.binary(16))
    data = pa.table({"n": pa.array(range(len(values)), pa.int64()), "a": values})
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", data, mode="append")
        connection.commit()
        cursor.execute("SELECT a FROM t ORDER BY n")
        read = cursor.fetch_arrow_table().column(0).combine_chunks()
    assert read.type == pa.uuid()
    assert read.storage.to_pylist() == values.to_pylist()
    assert [value for (value,) in database.rows("SELECT a FROM t ORDER BY n")] == UUIDS


def test_json_keeps_every_letter(database: Server) -> None:
    texts = ['{"b": 1.0,  "a": 1e2, "a": "\\u00e9"}', " []\n", None]
    database.run("CREATE TABLE t (n int8, a json)")
    data = pa.table({"n": pa.array(range(3), pa.int64()), "a": pa.array(texts)})
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("t", data, mode="append")
        connection.commit()
        cursor.execute("SELECT a::text FROM t ORDER BY n")
        assert cursor.fetch_arrow_table().column(0).to_pylist() == texts


DECIMALS = {
    (15, 2): ["0.00", "-0.01", "1.24", "9999999999999.99", "-9999999999999.99"],
    (18, 0): ["999999999999999999", "-1", "0"],
    (18, 18): ["0.000000000000000001", "-0.999999999999999999"],
    (5, 4): ["1.0000", "0.0001", "9.9999", "-1.2000"],
    (4, 4): ["0.0001", "0.1000"],
}


def test_decimals_are_written_exactly(database: Server) -> None:
    for (precision, scale), texts in DECIMALS.items():
        table = f"d_{precision}_{scale}"
        database.run(f"CREATE TABLE {table} (n int8, a numeric({precision},{scale}))")
        values = pa.array([Decimal(text) for text in texts], pa.decimal128(precision, scale))
        data = pa.table({"n": pa.array(range(len(values)), pa.int64()), "a": values})
        with connected(database) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, data, mode="append")
            connection.commit()
        stored = database.rows(f"SELECT a::text FROM {table} ORDER BY n")
        assert [value for (value,) in stored] == texts


def test_the_server_itself_rounds_and_trims_silently(database: Server) -> None:
    # Why limits are checked before an ingest.
    late = dt.datetime(2024, 1, 1, 0, 0, 0, 600_000)
    for number, (declared, value, stored) in enumerate(
        [
            ("varchar(3)", "abc   ", "abc"),
            ("numeric(10,2)", Decimal("1.239"), "1.24"),
            ("timestamp(0)", late, "2024-01-01 00:00:01"),
            ("time(0)", late.time(), "00:00:01"),
        ]
    ):
        database.run(f"CREATE TABLE t{number} (a {declared})")
        with connected(database) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(f"t{number}", pa.table({"a": [value]}), mode="append")
            connection.commit()
        assert database.rows(f"SELECT a::text FROM t{number}") == [(stored,)], declared
