"""The random databases are made on every server, and have in them what they are made for."""

from __future__ import annotations

from tests import servers
from tests.random.random_postgresql import RandomDatabase, Table, create
from tests.servers import Server

SEEDS = range(40)


def made(server: Server, seed: int) -> RandomDatabase:
    with servers.fresh_database(server) as database, database.connect() as connection:
        return create(connection, seed)


def test_the_same_number_makes_the_same_database(server: Server) -> None:
    for seed in SEEDS[:3]:
        first, second = made(server, seed), made(server, seed)
        assert first == second
        assert first.tables


def test_the_statements_make_it_again(server: Server) -> None:
    for seed in SEEDS[:5]:
        one = made(server, seed)
        with servers.fresh_database(server) as database:
            with database.connect() as connection:
                for statement in one.statements:
                    connection.execute(statement.encode())
            for table in one.tables:
                assert database.rows(f"SELECT count(*) FROM {table.sql_name}") == [(table.rows,)]


def test_they_have_what_they_are_made_for(server: Server) -> None:
    found = [made(server, seed) for seed in SEEDS]
    tables = [table for one in found for table in one.tables]
    columns = [column for table in tables for column in table.columns]
    script = "".join(one.sql for one in found)
    assert {"int4", "text", "uuid", "jsonb", "timestamptz"} <= {column.type for column in columns}
    assert len({column.type for column in columns}) > 100
    assert any(len({table.schema for table in one.tables}) > 1 for one in found)
    assert {len(table.key) for table in tables} >= {0, 1, 2}
    assert any(table.rows == 0 for table in tables)
    assert any(len(name.encode()) == 63 for name in (table.name for table in tables))
    assert any(len({name.lower() for name in names}) < len(names) for names in _names(tables))
    for words in (
        *("UNIQUE (", "CHECK (", "FOREIGN KEY", "AS IDENTITY", "serial", "DEFERRABLE", "NOT VALID"),
        *("CREATE INDEX", "CREATE UNIQUE INDEX", "USING gin", "USING hash", "DROP COLUMN", "DESC"),
        *(
            "MATCH FULL",
            "ON DELETE SET NULL",
            "WHERE",
            "lower(",
            "DEFAULT '",
            '"select"',
            "infinity",
        ),
    ):
        assert words in script, words


def _names(tables: list[Table]) -> list[list[str]]:
    return [[column.name for column in table.columns] for table in tables]
