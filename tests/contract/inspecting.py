"""What the tests of inspecting a PostgreSQL source share."""

from __future__ import annotations

from contextlib import closing

from tests.servers import Server

from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Endpoint
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.postgresql.types import kind_of
from tableferry.model import Range, ReadColumn, Scan, Schema, Table, TableName


def opened(database: Server, schema: str = "") -> PostgresSession:
    address = parse_url(database.url + (f"&search_path={schema}" if schema else ""))
    assert isinstance(address, PostgresServer)
    return PostgresSession(Endpoint(address))


def inspected(database: Server, *statements: str, schema: str = "") -> Schema:
    """What a source holds after these statements."""
    database.run(*statements)
    with closing(opened(database, schema)) as session:
        return session.inspect()


def public(name: str) -> TableName:
    return TableName("public", name)


def table(schema: Schema, name: str) -> Table:
    found = schema.table(public(name))
    assert found is not None
    return found


def left(schema: Schema) -> set[tuple[str, str, str]]:
    return {(item.what, item.name, item.table) for item in schema.left_behind}


def names(schema: Schema) -> list[str]:
    return [str(each.name) for each in schema.tables]


def rows_read(session: PostgresSession, found: Table, parts: tuple[Range, ...]) -> list[int]:
    """The first column of all rows, an integer, by the ranges; each range on its own."""
    first = found.columns[0]
    kind = kind_of(first.declared)
    assert kind is not None
    scan = Scan(found.name, (ReadColumn(first, kind),), (), found.locator)
    return sorted(
        value
        for part in parts
        for batch in session.read(scan, part)
        for value in batch.columns[0].to_pylist()
    )
