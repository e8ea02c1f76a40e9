"""Loading rows into PostgreSQL: what arrives, and what happens where something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.servers import Server

from tableferry import kinds
from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Batch, Endpoint
from tableferry.dialects.postgresql.loader import PostgresLoader
from tableferry.dialects.postgresql.types import kind_of
from tableferry.errors import DatabaseError, MisfitFound, Refused
from tableferry.model import Column, Kind, ReadColumn, TableName

TABLE = TableName("public", "t")
# Types, values as Python has them, and their text in the server.
VALUES: list[tuple[str, list[Any], list[str | None]]] = [
    ("boolean", [True, None, False], ["true", None, "false"]),
    ("smallint", [-32768, None, 32767], ["-32768", None, "32767"]),
    ("integer", [-(2**31), 2**31 - 1], ["-2147483648", "2147483647"]),
    ("bigint", [-(2**63), None, 2**63 - 1], ["-9223372036854775808", None, "9223372036854775807"]),
    ("real", [0.1, float("-inf")], ["0.1", "-Infinity"]),
    ("double precision", [0.1, float("nan"), 5e-324], ["0.1", "NaN", "5e-324"]),
    (
        "numeric(15,2)",
        [Decimal("0.00"), Decimal("-0.01"), None, Decimal("9999999999999.99"), Decimal("10000.00")],
        ["0.00", "-0.01", None, "9999999999999.99", "10000.00"],
    ),
    ("numeric(18,18)", [Decimal("0.000000000000000001")], ["0.000000000000000001"]),
    ("numeric(18,0)", [Decimal(10**18 - 1), Decimal(0)], ["999999999999999999", "0"]),
    ("numeric(7,5)", [Decimal("12.34567"), Decimal("-0.00010")], ["12.34567", "-0.00010"]),
    ("text", ["", None, "a\\b\tc\nd", "é€😀"], ["", None, "a\\b\tc\nd", "é€😀"]),
    ("character varying(3)", ["abc", "é€😀"], ["abc", "é€😀"]),
    ("bytea", [b"", None, b"\0\xff"], ["\\x", None, "\\x00ff"]),
    ("uuid", [bytes(range(16)), None], ["00010203-0405-0607-0809-0a0b0c0d0e0f", None]),
    ("json", ['{"a": 1}', None], ['{"a": 1}', None]),
    # Not of a kind that can be sent: by way of the stage.
    ("jsonb", ['{"a": 1}', None], ['{"a": 1}', None]),
    ("inet", ["10.0.0.0/8", None], ["10.0.0.0/8", None]),
    ("integer[]", ["{1,NULL}", None], ["{1,NULL}", None]),
]


@contextmanager
def loader(database: Server) -> Iterator[PostgresLoader]:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    with closing(PostgresLoader(Endpoint(address))) as opened:
        yield opened


def column(name: str, declared: str, kind: Kind | None = None) -> ReadColumn:
    kind = kind or kind_of(declared) or kinds.native(declared)
    return ReadColumn(Column(name, declared), kind)


def batch(columns: tuple[ReadColumn, ...], *values: list[Any]) -> Batch:
    arrays = [
        pa.array(each, kinds.arrow_type(c.kind)) for c, each in zip(columns, values, strict=True)
    ]
    return Batch(tuple(arrays))


@pytest.mark.parametrize(("declared", "values", "texts"), VALUES, ids=lambda case: str(case)[:20])
def test_values_arrive(
    database: Server, declared: str, values: list[Any], texts: list[str | None]
) -> None:
    database.run(f"CREATE TABLE t (n serial, a {declared})")
    columns = (column("a", declared),)
    with loader(database) as opened:
        opened.ingest(TABLE, columns, iter([batch(columns, values), batch(columns, values)]))
        opened.commit()
    found = [text for (text,) in database.rows("SELECT a::text FROM t ORDER BY n")]
    assert found == texts * 2


def test_columns_go_by_their_names_whatever_these_are(any_database: Server) -> None:
    names = ['a"b', "%s", "ü b", "select"]
    quoted = [name.replace('"', '""') for name in names]
    any_database.run("CREATE TABLE t (" + ", ".join(f'"{name}" bigint' for name in quoted) + ")")
    columns = tuple(column(name, "bigint") for name in reversed(names))
    with loader(any_database) as opened:
        opened.ingest(TABLE, columns, iter([batch(columns, [4], [3], [2], [1])]))
        opened.commit()
    assert any_database.rows("SELECT * FROM t") == [(1, 2, 3, 4)]


def test_what_the_server_computes_is_not_sent(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a bigint, b bigint GENERATED ALWAYS AS (a * 2) STORED)")
    made = ReadColumn(Column("b", "bigint", generated="a * 2"), kinds.INT)
    columns = (column("a", "bigint"), made)
    with loader(any_database) as opened:
        opened.ingest(TABLE, columns, iter([batch(columns, [4], [99])]))
        opened.commit()
    assert any_database.rows("SELECT * FROM t") == [(4, 8)]


def test_a_row_longer_than_what_is_sent_at_once(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a text, b text)")
    columns = (column("a", "text"), column("b", "text"))
    long = ["x" * 9_000_000, "y", "z" * 17_000_000]
    with loader(any_database) as opened:
        opened.ingest(TABLE, columns, iter([batch(columns, long, [None, "v" * 5_000_000, ""])]))
        opened.commit()
    found = any_database.rows(
        "SELECT length(a), length(b), md5(a) = md5(repeat(left(a, 1), length(a))) FROM t"
    )
    assert found == [(9_000_000, None, True), (1, 5_000_000, True), (17_000_000, 0, True)]


def test_nothing_is_there_without_a_commit(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a bigint)")
    columns = (column("a", "bigint"),)
    with loader(any_database) as opened:
        opened.ingest(TABLE, columns, iter([batch(columns, [1])]))
        opened.rollback()
        opened.ingest(TABLE, columns, iter([batch(columns, [2])]))
    assert any_database.rows("SELECT * FROM t") == []


def test_an_error_of_the_source_comes_back_as_it_is(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a bigint)")
    columns = (column("a", "bigint"),)

    def failing() -> Iterator[Batch]:
        yield batch(columns, [1])
        raise MisfitFound("s: values do not fit", table=TABLE, columns=["a"])

    with loader(any_database) as opened, pytest.raises(MisfitFound, match="values do not fit"):
        opened.ingest(TABLE, columns, failing())
    # Nothing holds the table any more.
    any_database.run("SET lock_timeout = '2s'", "TRUNCATE t")


def test_a_value_that_its_column_would_change_is_not_sent(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a smallint)")
    columns = (column("a", "smallint", kinds.INT),)
    with loader(any_database) as opened, pytest.raises(MisfitFound) as caught:
        opened.ingest(TABLE, columns, iter([batch(columns, [1, 40_000])]))
    assert caught.value.details["columns"] == ["a"]
    assert caught.value.details["value"] == "40000"


def test_what_the_server_refuses_has_its_state_and_no_secret(any_database: Server) -> None:
    any_database.run("CREATE TABLE t (a bigint PRIMARY KEY)")
    columns = (column("a", "bigint"),)
    with loader(any_database) as opened, pytest.raises(DatabaseError) as caught:
        opened.ingest(TABLE, columns, iter([batch(columns, [1, 1])]))
    assert caught.value.sqlstate == "23505"
    assert "duplicate key value violates unique constraint" in caught.value.message
    assert "(a)=(1) already exists" in caught.value.message
    assert any_database.password not in str(caught.value)


def test_a_wrong_password_is_a_refusal(any_database: Server) -> None:
    with pytest.raises(Refused) as caught, loader(replace(any_database, password="wrong one")):
        pass
    assert caught.value.details["sqlstate"] == "28P01"
    assert "wrong one" not in str(caught.value) + str(caught.value.hint)


def test_settings_hold_whatever_the_role_has_set(any_database: Server) -> None:
    any_database.run(
        "CREATE TABLE t (a text)",
        "ALTER ROLE postgres SET datestyle = 'SQL, DMY'",
        "ALTER ROLE postgres SET client_encoding = 'LATIN1'",
    )
    try:
        columns = (column("a", "text"),)
        with loader(any_database) as opened:
            opened.prepare_load()
            opened.ingest(TABLE, columns, iter([batch(columns, ["é€"])]))
            opened.execute("INSERT INTO t VALUES (DATE '2001-02-03'::text)")
            opened.execute("INSERT INTO t VALUES (current_setting('synchronous_commit'))")
            opened.commit_for_good()
    finally:
        any_database.run("ALTER ROLE postgres RESET ALL")
    assert any_database.rows("SELECT a FROM t") == [("é€",), ("2001-02-03",), ("off",)]
