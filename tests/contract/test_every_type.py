"""The table of every type is one: each server takes it, and no type of the server's is missing."""

from __future__ import annotations

import re

import pytest
from tests import every_type
from tests.servers import Server

# Base, range and multirange types, without the arrays that each has.
_TYPES = """
SELECT t.typname FROM pg_type t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
AND NOT EXISTS (SELECT 1 FROM pg_type e WHERE e.typarray = t.oid)
"""


def test_no_type_is_missing(database: Server) -> None:
    with database.connect() as connection:
        every_type.create(connection)
    used = database.rows(
        "SELECT DISTINCT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE a.attrelid = 'every_type'::regclass AND a.attnum > 0"
    )
    wanted = {name for (name,) in database.rows(_TYPES)} - set(every_type.LEFT_OUT)
    assert wanted - {name for (name,) in used} == set()


@pytest.mark.parametrize("name", every_type.LEFT_OUT)
def test_what_is_left_out_takes_no_value(database: Server, name: str) -> None:
    if not database.rows(f"SELECT 1 FROM pg_type WHERE typname = '{name}'"):
        # Younger than this server.
        assert name.startswith("pg_brin")
        return
    with (
        database.connect() as connection,
        pytest.raises(Exception, match=r"cannot accept|not implemented"),
    ):
        connection.execute(f"SELECT 'x'::{name}".encode())


def test_each_value_is_there_once_and_the_last_row_is_empty(database: Server) -> None:
    with database.connect() as connection:
        columns = every_type.create(connection, 'a "schema"')
    table = '"a ""schema"""."every_type"'
    counts = ", ".join(f"count({column.name})" for column in columns)
    (row,) = database.rows(f"SELECT count(*), {counts} FROM {table}")
    assert row[1:] == tuple(len(column.values) for column in columns)
    assert row[0] == max(row[1:]) + 1
    assert all(len(set(column.values)) == len(column.values) for column in columns)
    # No two values are one to the server, or one of them would test nothing. A type with a
    # modifier may have rounded some.
    for column in columns:
        if not re.search(r"\(\d\)$", column.type):
            distinct = f"SELECT count(DISTINCT {column.name}::text) FROM {table}"
            assert database.rows(distinct) == [(len(column.values),)], column
