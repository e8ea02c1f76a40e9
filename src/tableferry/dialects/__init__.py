"""One package a database, each saying how its own types and statements meet the common kinds."""

from __future__ import annotations

from tableferry.dialects.base import Dialect, Endpoint
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect

_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (SqliteDialect(), PostgresDialect())
}


def dialect_of(endpoint: Endpoint) -> Dialect:
    """The dialect that speaks to this endpoint's database."""
    return _DIALECTS[endpoint.address.kind]
