"""The connection that loads rows: COPY through psycopg.

Everything else goes through ADBC, whose encoding of rows takes as long as all that a server does
with them: docs/decisions/0002-copy-encoder.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa
from psycopg.pq import TransactionStatus

from tableferry.dialects.base import Batch, Endpoint, Loader
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql import wire
from tableferry.dialects.postgresql.sending import encoded, stage_definition, stage_values
from tableferry.dialects.postgresql.values import storing
from tableferry.errors import DatabaseError
from tableferry.interrupts import cancelling
from tableferry.model import ReadColumn, TableName
from tableferry.sql import qualified, quote

# It would print of each COPY that ends with its connection what we say ourselves; an application
# that has set up logging still gets it.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

_STAGE = "pg_temp.tableferry_stage"


class PostgresLoader(Loader):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        with self._errors(connecting=True):
            self._connection = psycopg.connect(
                postgres.url_of(endpoint),
                # A pooler between us and the server may know nothing of prepared statements.
                prepare_threshold=None,
                # Transactions begin where we say so, along with their first statement: the driver
                # would take a round trip for it.
                autocommit=True,
            )
        cancelling(self._connection.cancel_safe)
        try:
            self.execute(postgres.opening(endpoint))
            self.commit()
        except BaseException:
            self._connection.close()
            raise

    def prepare_load(self) -> None:
        postgres.prepare_load(self)

    def execute(self, *statements: str) -> None:
        for script in postgres.scripts(statements):
            with self._errors():
                self._connection.execute(f"{self._beginning()}{script}".encode())

    def _beginning(self) -> str:
        idle = self._connection.info.transaction_status is TransactionStatus.IDLE
        return "BEGIN;\n" if idle else ""

    def commit(self) -> None:
        with self._errors("commit"):
            self._connection.commit()

    def commit_for_good(self) -> None:
        self.execute("SET LOCAL synchronous_commit = on")
        self.commit()

    def rollback(self) -> None:
        with self._errors("rollback"):
            self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    def ingest(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> None:
        stored = tuple(column for column in columns if not column.computed)
        with self._errors(f"table {table}"):
            rows = encoded(table, columns, batches)
            if any(storing(column).staged for column in stored):
                for batch in rows:
                    self._ingest_staged(table, stored, batch)
            else:
                names = [column.column.name for column in stored]
                self._copy(qualified(table), names, rows)

    def _ingest_staged(
        self, table: TableName, columns: tuple[ReadColumn, ...], batch: pa.RecordBatch
    ) -> None:
        self.execute(f"CREATE TEMP TABLE {_STAGE} ({stage_definition(columns)}) ON COMMIT DROP")
        self._copy(_STAGE, [f"c{i}" for i in range(len(columns))], iter([batch]))
        names = ", ".join(quote(column.column.name) for column in columns)
        values = ", ".join(stage_values(columns))
        self.execute(
            f"INSERT INTO {qualified(table)} ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {values} FROM {_STAGE} s",
            f"DROP TABLE {_STAGE}",
        )

    def _copy(self, table: str, names: list[str], batches: Iterator[pa.RecordBatch]) -> None:
        sent = 0
        listed = ", ".join(map(quote, names))
        statement = f"COPY {table} ({listed}) FROM STDIN (FORMAT BINARY)"
        with self._connection.cursor() as cursor:
            if beginning := self._beginning():
                cursor.execute(beginning.encode())
            with cursor.copy(statement.encode()) as copy:
                copy.write(wire.HEADER)
                for batch in batches:
                    sent += batch.num_rows
                    for rows in wire.rows(batch):
                        copy.write(rows)
                copy.write(wire.TRAILER)
            if cursor.rowcount != sent:
                raise DatabaseError(
                    f"{self._endpoint}: {sent} rows were sent, {cursor.rowcount} arrived."
                )

    @contextmanager
    def _errors(self, what: str = "", *, connecting: bool = False) -> Iterator[None]:
        """As connection.errors(), of this driver."""
        try:
            yield
        except MemoryError:
            raise
        except (psycopg.Error, OSError, pa.ArrowException) as error:
            raise postgres.translated(error, self._endpoint, what, connecting=connecting) from None
