"""SQLite: a file that holds any value in any column."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Clients, ColumnValues, Dialect, Endpoint, Hold, Statements
from tableferry.dialects.sqlite import ddl
from tableferry.dialects.sqlite.clients import clients_of
from tableferry.dialects.sqlite.connection import require_file
from tableferry.dialects.sqlite.hold import LockedFile, WatchedFile
from tableferry.dialects.sqlite.repairing import SqliteRepairer
from tableferry.dialects.sqlite.session import SqliteSession
from tableferry.dialects.sqlite.staging import StagedFile
from tableferry.dialects.sqlite.target import SqliteTarget
from tableferry.dialects.sqlite.types import (
    affinity,
    candidates,
    fit_table,
    keeps,
    own_candidates,
    takes,
    type_for,
    unkept,
)
from tableferry.dialects.sqlite.values import typed_values
from tableferry.model import Candidate, Column, Kind, LeftBehind, ReadColumn, Table, TableName
from tableferry.rejects import Stored
from tableferry.sql import fold


class SqliteDialect(Dialect):
    name = "sqlite"
    title = "SQLite"
    home = "main"
    one_writer = True
    typed = False
    twin_keys = False

    @property
    def statements(self) -> Statements:
        return ddl

    def size_hint(self, endpoint: Endpoint) -> int:
        assert isinstance(endpoint.address, SqliteFile)
        path = endpoint.address.path
        return path.stat().st_size if path.is_file() else 0

    def free_space(self, endpoint: Endpoint, replaced: Sequence[TableName]) -> int | None:
        assert isinstance(endpoint.address, SqliteFile)
        path = Path(os.path.realpath(endpoint.address.path))
        if not path.parent.is_dir():
            return None
        # What is there already stays until the end, and is copied.
        return shutil.disk_usage(path.parent).free - self.size_hint(endpoint)

    def candidates(self, column: Column) -> tuple[Candidate, ...]:
        return candidates(column)

    def demanded(self, column: Column) -> tuple[Candidate, ...]:
        return candidates(column)

    def values_of(self, stored: Sequence[Stored]) -> ColumnValues:
        return typed_values(stored)

    def own_candidates(self, column: Column) -> tuple[Candidate, ...]:
        return own_candidates(column)

    def takes(self, kind: Kind) -> bool:
        return takes(kind)

    def keeps(self, column: Column, kind: Kind) -> bool:
        return keeps(column, kind)

    def type_for(self, kind: Kind) -> str:
        return type_for(kind)

    def kind_named(self, text: str) -> Kind | None:
        kind = candidates(Column("", text))[0].kind
        return kind if takes(kind) and text.strip() else None

    def fit_table(self, table: Table, *, copied: bool) -> Table:
        return fit_table(table, copied=copied)

    def unkept(self, table: Table) -> Iterable[LeftBehind]:
        return unkept(table)

    def view_column(self, name: str, kind: Kind) -> ReadColumn:
        # A sum of integers is an integer to SQLite, whatever its siblings are.
        return ReadColumn(Column(name, ""), kind, merges=kind.name == "float")

    def bounded_by(self, table: Table) -> str:
        return (ddl.rowid_column(table) or "") if table.locator else ""

    def alike(self, name: str) -> str:
        return fold(name)

    def fit_name(self, name: str) -> str:
        # "Internal Schema Objects": such names are SQLite's own.
        return f"_{name}" if fold(name).startswith("sqlite_") else name

    def fit_column_name(self, name: str) -> str:
        return name

    def open(self, endpoint: Endpoint) -> SqliteSession:
        return SqliteSession(endpoint)

    def open_target(self, endpoint: Endpoint) -> SqliteTarget:
        return SqliteTarget(endpoint)

    def open_loader(self, endpoint: Endpoint) -> SqliteTarget:
        return SqliteTarget(endpoint)

    def affinity(self, column: Column) -> str:
        return affinity(column.declared)

    def numbers(self, table: Table) -> bool:
        return table.identity is not None and ddl.rowid_column(table) == table.identity.column

    def look(self, endpoint: Endpoint) -> SqliteTarget | None:
        assert isinstance(endpoint.address, SqliteFile)
        path = endpoint.address.path
        return SqliteTarget(endpoint, path) if self.size_hint(endpoint) else None

    def open_repairer(self, endpoint: Endpoint) -> SqliteRepairer:
        return SqliteRepairer(endpoint)

    def lock_in_place(self, endpoint: Endpoint) -> AbstractContextManager[None]:
        return StagedFile(endpoint).kept_out()

    def stage(self, endpoint: Endpoint) -> StagedFile:
        return StagedFile(endpoint)

    def clients(self, endpoint: Endpoint) -> Clients:
        assert isinstance(endpoint.address, SqliteFile)
        path = endpoint.address.path
        if path.exists():
            # What cannot be opened at all is told before anything else.
            require_file(path)
        return clients_of(path)

    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        return LockedFile(endpoint) if locked else WatchedFile(endpoint)
