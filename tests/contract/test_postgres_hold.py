"""Holding a PostgreSQL source: one moment for all who read, whatever others do meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest
from tests.servers import Server
from tests.system.applications import for_an_ordinary_role
from tests.system.support import wait_until

from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Endpoint
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql import hold as holding
from tableferry.dialects.postgresql.hold import ExportedSnapshot
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.errors import DatabaseError, Refused
from tableferry.model import TableName


def endpoint(database: Server) -> Endpoint:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    return Endpoint(address)


def count(where: Endpoint, table: str) -> int:
    with closing(PostgresSession(where)) as session:
        return session.count(TableName("public", table))


SCHEMA = (
    "CREATE TABLE t (a int)",
    "INSERT INTO t SELECT generate_series(1, 5)",
    "CREATE TABLE parted (a int) PARTITION BY LIST (a)",
    "CREATE TABLE part PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (a)",
    "CREATE TABLE leaf PARTITION OF part FOR VALUES IN (1)",
    "INSERT INTO parted VALUES (1)",
    "CREATE MATERIALIZED VIEW seen AS SELECT a FROM t",
    "CREATE MATERIALIZED VIEW unseen AS SELECT a FROM t WITH NO DATA",
    'CREATE SCHEMA "Other"',
    'CREATE TABLE "Other"."The ""t" (a int)',
)
REPLACING = (
    "TRUNCATE t",
    "DROP TABLE t CASCADE",
    "ALTER TABLE t ALTER a TYPE bigint USING a",
    "ALTER TABLE t RENAME TO u",
    "VACUUM FULL t",
    "TRUNCATE leaf",
    "ALTER TABLE parted DETACH PARTITION part",
    "REFRESH MATERIALIZED VIEW seen",
    'TRUNCATE "Other"."The ""t"',
)


def test_nobody_replaces_a_table_that_is_held(database: Server) -> None:
    database.run(*SCHEMA)
    with ExportedSnapshot(endpoint(database)) as hold:
        for statement in REPLACING:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                database.run("SET lock_timeout = '50ms'", statement)
        assert count(hold.endpoint, "t") == 5
        assert count(hold.endpoint, "parted") == 1
        assert count(hold.endpoint, "seen") == 5
    database.run("SET lock_timeout = '5s'", *REPLACING[:1])
    assert count(endpoint(database), "t") == 0


def test_rows_are_written_meanwhile_and_nobody_who_reads_sees_them(database: Server) -> None:
    database.run(*SCHEMA)
    query = "SELECT sum(a) AS n FROM t"
    with ExportedSnapshot(endpoint(database)) as hold:
        with closing(PostgresSession(hold.endpoint)) as early:
            database.run(
                "SET lock_timeout = '50ms'",
                "INSERT INTO t VALUES (100)",
                "UPDATE t SET a = a + 1000",
                "DELETE FROM t WHERE a > 1050",
                "INSERT INTO parted VALUES (1)",
                "VACUUM t",
                "CREATE INDEX ON t (a)",
            )
            # One that has been idle, and one that comes late.
            assert early.rows(query) == [{"n": 15}]
            with closing(PostgresSession(hold.endpoint)) as late:
                assert late.rows(query) == [{"n": 15}]
        assert count(hold.endpoint, "parted") == 1
        hold.check()


def test_a_schema_that_the_address_names_is_held_alone(database: Server) -> None:
    database.run(*SCHEMA)
    address = parse_url(f"{database.url}&search_path=%22Other%22")
    assert isinstance(address, PostgresServer)
    with ExportedSnapshot(Endpoint(address)):
        database.run("SET lock_timeout = '50ms'", "TRUNCATE t")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.run("SET lock_timeout = '50ms'", 'TRUNCATE "Other"."The ""t"')


def test_an_empty_database_is_held(database: Server) -> None:
    with ExportedSnapshot(endpoint(database)) as hold:
        assert hold.endpoint.snapshot


@contextmanager
def kept(database: Server, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that has run a statement in a transaction and leaves it open."""
    with psycopg.connect(database.url, application_name="a shop") as connection:
        connection.execute(statement.encode())
        yield connection
        connection.rollback()


def test_who_has_a_table_to_himself_is_named(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_LOCK_SECONDS", 1)
    database.run(*SCHEMA)
    with kept(database, "TRUNCATE leaf") as other:
        pid = other.info.backend_pid
        with pytest.raises(Refused) as refused, ExportedSnapshot(endpoint(database)):
            pass
    assert f"process {pid} (a shop) of role postgres has" in refused.value.message
    assert "leaf" in refused.value.message
    assert refused.value.exit_code == 3


def locks_waited_for(database: Server) -> int:
    return int(database.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0])


def test_the_moment_is_after_a_change_that_was_waited_for(database: Server) -> None:
    """A snapshot from before would see no row of the new table: it is not of its time."""
    database.run(*SCHEMA)
    found = []

    def hold() -> None:
        with ExportedSnapshot(endpoint(database)) as held:
            found.append(count(held.endpoint, "t"))

    with kept(database, "TRUNCATE t; INSERT INTO t VALUES (1), (2)") as other:
        thread = threading.Thread(target=hold)
        thread.start()
        wait_until(lambda: locks_waited_for(database) > 0, 10, "the hold waits")
        other.commit()
    thread.join()
    assert found == [2]


def test_tables_that_come_and_go_while_others_are_locked(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(*SCHEMA)
    lock = ExportedSnapshot._lock
    meanwhile = iter(["DROP TABLE parted", "CREATE TABLE late AS SELECT 1 AS a"])

    def locked(self: ExportedSnapshot, relations: Any) -> None:
        statement = next(meanwhile, None)
        if statement and statement.startswith("DROP"):
            database.run(statement)
        lock(self, relations)
        if statement and statement.startswith("CREATE"):
            database.run(statement)

    monkeypatch.setattr(ExportedSnapshot, "_lock", locked)
    with ExportedSnapshot(endpoint(database)) as hold:
        assert count(hold.endpoint, "late") == 1
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.run("SET lock_timeout = '50ms'", "TRUNCATE late")
        with closing(PostgresSession(hold.endpoint)) as session:
            assert session.inspect().table(TableName("public", "parted")) is None


def test_tables_that_never_cease_to_come(database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    database.run("CREATE TABLE t0 (a int)")
    numbers = iter(range(1, 100))
    lock = ExportedSnapshot._lock

    def locked(self: ExportedSnapshot, relations: Any) -> None:
        lock(self, relations)
        database.run(f"CREATE TABLE t{next(numbers)} (a int)")

    monkeypatch.setattr(ExportedSnapshot, "_lock", locked)
    with pytest.raises(Refused, match="come and go"), ExportedSnapshot(endpoint(database)):
        pass


def test_what_is_no_table_may_go_meanwhile(database: Server) -> None:
    """Views, functions and types are not held: what is asked of one that is gone says so."""
    database.run(
        "CREATE TABLE t (a int)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE DOMAIN d AS mood CHECK (VALUE <> 'sad')",
        "CREATE SEQUENCE s",
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",
        "CREATE OPERATOR === (LEFTARG = text, RIGHTARG = int, FUNCTION = pg_catalog.repeat)",
    )
    quick = "SET lock_timeout = '50ms'"
    with (
        ExportedSnapshot(endpoint(database)) as hold,
        closing(PostgresSession(hold.endpoint)) as session,
    ):
        database.run(
            quick,
            "DROP FUNCTION f(int)",
            "DROP SEQUENCE s",
            "DROP AGGREGATE total(int)",
            "DROP OPERATOR === (text, int)",
        )
        schema = session.inspect()
        assert [table.name.name for table in schema.tables] == ["t"]
        # By the moment that is held, they are there.
        assert {item.what for item in schema.left_behind} == {"operator", "sequence"}
    with (
        ExportedSnapshot(endpoint(database)) as hold,
        closing(PostgresSession(hold.endpoint)) as session,
    ):
        database.run(quick, "DROP VIEW v")
        with pytest.raises(Refused, match="could not be read") as refused:
            session.inspect()
    assert "Run again" in refused.value.hint


def test_who_may_have_a_table_to_himself() -> None:
    prepared = {"pid": None, "role": None, "name": None, "granted": True, "held": "t"}
    waiting = {"pid": 7, "role": "shop", "name": "", "granted": False, "held": "t"}
    assert holding._who(prepared) == "a prepared transaction has t to itself"
    assert holding._who(waiting) == "process 7 of role shop waits to have t to itself"


def test_a_reader_does_not_wait_for_who_waits_for_the_hold(
    database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRUNCATE waits for the hold, the reader behind TRUNCATE, and the hold for its reader."""
    monkeypatch.setattr(postgres, "_LOCK_SECONDS", 1)
    database.run(*SCHEMA)
    with ExportedSnapshot(endpoint(database)) as hold:

        def empty() -> None:
            with suppress(psycopg.errors.QueryCanceled, psycopg.errors.AdminShutdown):
                database.run("SET application_name = 'emptying'", "TRUNCATE t")

        thread = threading.Thread(target=empty)
        thread.start()
        wait_until(lambda: locks_waited_for(database) > 0, 10, "TRUNCATE waits")
        with pytest.raises(DatabaseError, match="lock timeout") as error:
            count(hold.endpoint, "t")
        assert "to itself" in error.value.hint
        database.rows(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'emptying'"
        )
        thread.join()
        assert count(hold.endpoint, "t") == 5


def test_a_table_that_may_not_be_read_is_named_before_anything_is_written(server: Server) -> None:
    with for_an_ordinary_role(server) as owned:
        as_owner = Server(server.version, server.host, server.port, server.password, owned.name)
        as_owner.run(
            "CREATE TABLE open (a int)",
            "GRANT SELECT ON open TO teller",
            "CREATE TABLE shut (a int)",
            "CREATE TABLE hidden (a int)",
            "GRANT SELECT ON hidden TO teller",
            "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY",
        )
        with (
            ExportedSnapshot(endpoint(owned)) as hold,
            closing(PostgresSession(hold.endpoint)) as session,
        ):
            tables = {table.name.name: table for table in session.inspect().tables}
            session.require_readable([tables["open"]])
            session.require_readable([])
            with pytest.raises(Refused, match="may not read shut of"):
                session.require_readable([tables["open"], tables["shut"]])
            with pytest.raises(Refused, match="hides rows of hidden from"):
                session.require_readable([tables["hidden"], tables["open"]])
        # An owner sees all, unless the policy is forced upon him.
        with closing(PostgresSession(endpoint(as_owner))) as session:
            session.require_readable(list(tables.values()))
        owned.run("CREATE TABLE mine (a int)", "ALTER TABLE mine FORCE ROW LEVEL SECURITY")
        owned.run("ALTER TABLE mine ENABLE ROW LEVEL SECURITY")
        with closing(PostgresSession(endpoint(owned))) as session:
            (mine,) = (t for t in session.inspect().tables if t.name.name == "mine")
            with pytest.raises(Refused, match="hides rows of mine from"):
                session.require_readable([mine])
