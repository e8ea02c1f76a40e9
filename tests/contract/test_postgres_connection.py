"""Connections of one process share what the driver has to know before it opens the first one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import adbc_driver_postgresql.dbapi
import pytest
from tests.servers import Server

from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Endpoint, Loader, TargetSession
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql.loader import PostgresLoader
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.errors import DatabaseError


def endpoint(database: Server) -> Endpoint:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    return Endpoint(address)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of which the driver was asked for a database handle."""
    found: list[str] = []
    connect = adbc_driver_postgresql.dbapi.connect

    def counted(url: str) -> Any:
        found.append(url)
        return connect(url)

    monkeypatch.setattr(adbc_driver_postgresql.dbapi, "connect", counted)
    return found


def test_connections_share_a_handle_while_one_is_open(database: Server, opened: list[str]) -> None:
    where = endpoint(database)
    with closing(postgres.connect(where)) as first:
        with closing(postgres.connect(where)) as second:
            assert len(opened) == 1
            pids = {
                postgres.rows(c, "SELECT pg_backend_pid() AS n")[0]["n"] for c in (first, second)
            }
            assert len(pids) == 2
            zone = "SELECT current_setting('timezone') AS zone"
            assert postgres.rows(second, zone) == [{"zone": "UTC"}]
            # Neither commits the other's work, nor its own before it is told to.
            postgres.run(second, "CREATE TABLE t (a int)")
            second.rollback()
        query = "SELECT to_regclass('t') IS NULL AS gone"
        assert postgres.rows(first, query) == [{"gone": True}]
    with closing(postgres.connect(where)) as third:
        assert len(opened) == 2
        assert postgres.rows(third, "SELECT 1 AS n") == [{"n": 1}]


def test_a_type_that_is_made_later_is_read_as_text(database: Server) -> None:
    where = endpoint(database)
    with closing(postgres.connect(where)) as first:
        postgres.run(first, "CREATE TYPE mood AS ENUM ('sad', 'ok')")
        first.commit()
        with closing(postgres.connect(where)) as second:
            assert postgres.rows(second, "SELECT 'ok'::mood::text AS m") == [{"m": "ok"}]


@pytest.mark.parametrize("opening", [PostgresSession, PostgresLoader])
def test_many_statements_run_in_order_up_to_an_error(
    database: Server, opening: Callable[[Endpoint], TargetSession | Loader]
) -> None:
    where = endpoint(database)
    made = [f"CREATE TABLE t{i} (a int) -- the {i}th" for i in range(1_100)]
    read = "SELECT count(*) AS n FROM pg_class WHERE relname ~ '^t[0-9]+$'"
    with closing(opening(where)) as writer, closing(postgres.connect(where)) as reader:
        with pytest.raises(DatabaseError, match="t7") as caught:
            writer.execute(*made, "CREATE TABLE t7 (a int)", "COMMIT")
        assert caught.value.sqlstate == "42P07"
        writer.rollback()
        assert postgres.rows(reader, read) == [{"n": 0}]
        writer.execute(*made)
        # Nothing is there before it is told to be.
        assert postgres.rows(reader, read) == [{"n": 0}]
        writer.commit()
        assert postgres.rows(reader, read) == [{"n": 1_100}]
