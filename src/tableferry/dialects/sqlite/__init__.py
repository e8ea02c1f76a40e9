"""SQLite: a file that holds any value in any column."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Clients, ColumnValues, Dialect, Endpoint, Hold, Statements
from tableferry.dialects.sqlite.clients import clients_of
from tableferry.dialects.sqlite.connection import require_file
from tableferry.dialects.sqlite.hold import LockedFile, WatchedFile
from tableferry.dialects.sqlite.session import SqliteSession
from tableferry.dialects.sqlite.types import candidates
from tableferry.dialects.sqlite.values import typed_values
from tableferry.errors import UsageError
from tableferry.model import Candidate, Column, Kind
from tableferry.rejects import Stored

_ONE_WAY = "This version migrates from SQLite to PostgreSQL; --verify reads either way."


class SqliteDialect(Dialect):
    name = "sqlite"
    title = "SQLite"

    @property
    def statements(self) -> Statements:
        raise UsageError("Writing to SQLite is not there yet.", hint=_ONE_WAY)

    def size_hint(self, endpoint: Endpoint) -> int:
        assert isinstance(endpoint.address, SqliteFile)
        path = endpoint.address.path
        return path.stat().st_size if path.is_file() else 0

    def candidates(self, column: Column) -> tuple[Candidate, ...]:
        return candidates(column)

    def demanded(self, column: Column) -> tuple[Candidate, ...]:
        return candidates(column)

    def values_of(self, stored: Sequence[Stored]) -> ColumnValues:
        return typed_values(stored)

    def type_for(self, kind: Kind) -> str:
        raise UsageError("Writing to SQLite is not there yet.", hint=_ONE_WAY)

    def kind_named(self, text: str) -> Kind | None:
        raise UsageError("Writing to SQLite is not there yet.", hint=_ONE_WAY)

    def fit_name(self, name: str) -> str:
        return name

    def fit_column_name(self, name: str) -> str:
        return name

    def open(self, endpoint: Endpoint) -> SqliteSession:
        return SqliteSession(endpoint)

    def clients(self, endpoint: Endpoint) -> Clients:
        assert isinstance(endpoint.address, SqliteFile)
        path = endpoint.address.path
        if path.exists():
            # What cannot be opened at all is told before anything else.
            require_file(path)
        return clients_of(path)

    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        return LockedFile(endpoint) if locked else WatchedFile(endpoint)
