"""PostgreSQL, version 14 or later (ranges of ctid are scanned as such from 14 on)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from tableferry.dialects.base import Clients, ColumnValues, Dialect, Endpoint, Hold, Statements
from tableferry.dialects.postgresql import ddl
from tableferry.dialects.postgresql.clients import clients_of
from tableferry.dialects.postgresql.hold import ExportedSnapshot
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.postgresql.types import (
    demanded,
    fit_column_name,
    fit_name,
    kind_named,
    kind_of,
    type_for,
)
from tableferry.errors import UsageError
from tableferry.kinds import native
from tableferry.model import Candidate, Column, Kind
from tableferry.rejects import Stored


class PostgresDialect(Dialect):
    name = "postgresql"
    title = "PostgreSQL"

    @property
    def statements(self) -> Statements:
        return ddl

    def size_hint(self, endpoint: Endpoint) -> int:
        return 0

    def candidates(self, column: Column) -> tuple[Candidate, ...]:
        return (Candidate(kind_of(column.declared) or native(column.declared)),)

    def demanded(self, column: Column) -> tuple[Candidate, ...]:
        return demanded(column.declared)

    def values_of(self, stored: Sequence[Stored]) -> ColumnValues:
        raise UsageError("Rows rejected from PostgreSQL are not there yet.")

    def type_for(self, kind: Kind) -> str:
        return type_for(kind)

    def kind_named(self, text: str) -> Kind | None:
        return kind_named(text)

    def fit_name(self, name: str) -> str:
        return fit_name(name)

    def fit_column_name(self, name: str) -> str:
        return fit_column_name(name)

    def open(self, endpoint: Endpoint) -> PostgresSession:
        return PostgresSession(endpoint)

    def clients(self, endpoint: Endpoint) -> Clients:
        return clients_of(endpoint)

    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        return ExportedSnapshot(endpoint)
