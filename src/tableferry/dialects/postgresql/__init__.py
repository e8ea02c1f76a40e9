"""PostgreSQL, version 14 or later (ranges of ctid are scanned as such from 14 on)."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager

from tableferry.dialects.base import (
    RUN_TABLE,
    Clients,
    ColumnValues,
    Dialect,
    Endpoint,
    Hold,
    Loader,
    Stage,
    Statements,
)
from tableferry.dialects.postgresql import ddl
from tableferry.dialects.postgresql.clients import clients_of
from tableferry.dialects.postgresql.hold import LOCK_NOT_AVAILABLE, ExportedSnapshot
from tableferry.dialects.postgresql.repairing import PostgresRepairer
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.postgresql.types import (
    candidates,
    demanded,
    fit_column_name,
    fit_name,
    kind_named,
    moved,
    own_candidates,
    takes,
    type_for,
)
from tableferry.errors import DatabaseError, Refused, TableferryError, UsageError
from tableferry.model import Candidate, Column, Kind, ReadColumn, TableName
from tableferry.rejects import Stored


class InPlace(Stage):
    """The server itself: what is not committed, no one sees."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def open(self) -> PostgresSession:
        return PostgresSession(self.endpoint)

    def discard(self) -> None:
        """Nothing: an unfinished run shows in the schema itself."""

    def require_sound(self) -> None:
        """Nothing: a server sees to that when it starts."""

    def withheld(self) -> str:
        return (
            f"{self.endpoint} holds what was written, as an unfinished run: --resume compares it "
            "anew, --drop-all starts anew, --abort gives it up."
        )

    def publish(self, ending: Sequence[str] = ()) -> None:
        """Nothing: it is there."""


class PostgresDialect(Dialect):
    name = "postgresql"
    title = "PostgreSQL"
    home = "public"
    loader_modules = ("tableferry.dialects.postgresql.loader",)

    @property
    def statements(self) -> Statements:
        return ddl

    def size_hint(self, endpoint: Endpoint) -> int:
        with closing(PostgresSession(endpoint)) as session:
            try:
                return session.size()
            except DatabaseError as error:
                if error.sqlstate != LOCK_NOT_AVAILABLE:
                    raise
                # Whoever holds the source still waits for longer, and says for whom.
                return sys.maxsize

    def free_space(self, endpoint: Endpoint, replaced: Sequence[TableName]) -> int | None:
        try:
            with closing(PostgresSession(endpoint)) as session:
                folder, size = session.place(replaced)
            return shutil.disk_usage(folder).free + size if folder else None
        except (TableferryError, OSError):
            # On another machine after all, in a container of its own, or not for us to see. What
            # else is wrong with the server shows elsewhere.
            return None

    def candidates(self, column: Column) -> tuple[Candidate, ...]:
        return candidates(column.declared)

    def own_candidates(self, column: Column) -> tuple[Candidate, ...]:
        return own_candidates(column.declared)

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

    def takes(self, kind: Kind) -> bool:
        return takes(kind)

    def moved(self, declared: str, name: TableName, schema: str) -> str:
        return moved(declared, name, schema)

    def view_column(self, name: str, kind: Kind) -> ReadColumn:
        # What these kinds are as text is not what their Arrow type is made from.
        declared = type_for(kind) if kind.name in ("bytes", "uuid") else ""
        return ReadColumn(Column(name, declared), kind)

    def open(self, endpoint: Endpoint) -> PostgresSession:
        return PostgresSession(endpoint)

    def open_target(self, endpoint: Endpoint) -> PostgresSession:
        return PostgresSession(endpoint)

    def open_loader(self, endpoint: Endpoint) -> Loader:
        # Its driver takes a tenth of a second to import, which nothing else needs.
        from tableferry.dialects.postgresql.loader import PostgresLoader

        return PostgresLoader(endpoint)

    def open_repairer(self, endpoint: Endpoint) -> PostgresRepairer:
        return PostgresRepairer(endpoint)

    @contextmanager
    def lock_in_place(self, endpoint: Endpoint) -> Iterator[None]:
        with closing(PostgresSession(endpoint)) as session:
            session.lock_run()
            if any(table.name.name == RUN_TABLE for table in session.inspect_target().tables):
                raise Refused(
                    f"{endpoint} holds an unfinished run.",
                    hint="--abort gives it up, then migrate again.",
                )
            # Nothing but the lock itself, which is the session's, is held from here on.
            session.rollback()
            yield

    def stage(self, endpoint: Endpoint) -> Stage:
        return InPlace(endpoint)

    def clients(self, endpoint: Endpoint) -> Clients:
        return clients_of(endpoint)

    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        return ExportedSnapshot(endpoint)
