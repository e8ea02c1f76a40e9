"""A SQLite file that is written. What is there already stays as it is until everything is verified:
rows go to a file beside it (see staging.py), which at first is a copy of what is to stay."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import adbc_driver_manager
import adbc_driver_sqlite.dbapi
import pyarrow as pa

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import (
    Batch,
    Endpoint,
    Gatherer,
    Loader,
    TargetSession,
    closed_on_error,
)
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.definitions import table_definition
from tableferry.dialects.sqlite.parts import PartFile, takes_pages
from tableferry.dialects.sqlite.records import FIRST_ROWID, Layout, encode
from tableferry.dialects.sqlite.session import SqliteSession
from tableferry.dialects.sqlite.storing import batch_of, insertion, is_plain, stored
from tableferry.errors import DatabaseError, UsageError
from tableferry.model import ReadColumn, Restoration, TableName
from tableferry.sql import constant, fold, names, qualified, quote

_SCHEMA = "main"
_PART = "part"
_UNREADABLE = re.compile(r"malformed database schema \(.*?\) - (.*)")


class SqliteTarget(SqliteSession, TargetSession, Loader, Gatherer):
    """``original`` is what is read until the first statement that writes, and then copied where it
    holds anything; None where there is nothing, or it has been copied."""

    def __init__(self, endpoint: Endpoint, original: Path | None = None) -> None:
        assert isinstance(endpoint.address, SqliteFile)
        self._path = endpoint.address.path
        self._original = original
        self._in_transaction = False
        if original is not None:
            self._connection = sqlite.open_reader(original)
        else:
            self._connection = sqlite.open_writer(self._path)

    @property
    def _file(self) -> Path:
        return self._original or self._path

    @property
    def schema(self) -> str:
        return _SCHEMA

    def reference(self, table: TableName) -> str:
        # A foreign key of SQLite never leaves its schema.
        return quote(table.name)

    def require_writable(self) -> None:
        """Nothing: whoever made the file beside the target knows that it may be written."""

    def lock_run(self) -> None:
        """Nothing: the file beside the target is locked by whoever made it."""

    def texts(self, query: str) -> list[tuple[str, ...]]:
        with sqlite.errors(self._path), self._connection.cursor() as cursor:
            cursor.execute(query)
            return [tuple(map(str, row)) for row in cursor.fetchall()]

    def holds_rows(self, table: TableName) -> bool:
        found = self.texts(f"SELECT EXISTS (SELECT 1 FROM {qualified(table)}) AS filled")
        return found[0][0] == "1"

    def referring_from_outside(self, tables: list[TableName]) -> list[str]:
        own = {name.name for name in tables}
        return [
            f"{table.name}.{'_'.join(key.columns)}"
            for table in self.inspect().tables
            if table.name.name not in own
            for key in table.foreign_keys
            if key.parent.name in own
        ]

    def set_aside(
        self, tables: Sequence[TableName]
    ) -> tuple[tuple[str, ...], tuple[Restoration, ...]]:
        """Triggers, which must not fire, and indexes, which are cheaper built afterwards."""
        away, back = [], []
        listed = ", ".join(constant(table.name) for table in tables)
        query = (
            "SELECT type AS type, name AS name, tbl_name AS tbl, sql AS sql FROM sqlite_schema "
            "WHERE type IN ('trigger', 'index') AND sql IS NOT NULL "
            # A trigger names its table in whatever case.
            f"AND tbl_name COLLATE NOCASE IN ({listed})"
        )
        written = {fold(table.name): table for table in tables}
        for what, name, table, sql in self.texts(query):
            away.append(f"DROP {what.upper()} main.{quote(name)}")
            back.append(Restoration(written[fold(table)], what, name, sql))
        return tuple(away), tuple(back)

    def continue_sequences(self, table: TableName, next_values: Mapping[str, int]) -> None:
        name = constant(table.name)
        if not table_definition(self._definition(table) or "").autoincrement:
            return
        for column, following in next_values.items():
            last = min(following - 1, 2**63 - 1)
            self.execute(
                # There is a line as soon as there was a row.
                f"INSERT INTO sqlite_sequence (name, seq) SELECT {name}, 0 "
                f"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = {name})",
                f"UPDATE sqlite_sequence SET seq = max(seq, {last}, "
                f"(SELECT coalesce(max({quote(column)}), 0) FROM {qualified(table)})) "
                f"WHERE name = {name}",
            )

    def require_roles(self, owner: str, others: Sequence[str]) -> None:
        if owner or others:
            raise UsageError(
                "SQLite knows no roles.", hint="Leave out --owner and --grant; see chown(1)."
            )

    def prepare_load(self) -> None:
        """Nothing: a connection that writes is opened so."""

    def execute(self, *statements: str) -> None:
        self._begin()
        for statement in statements:
            with sqlite.errors(self._path), _ours():
                sqlite.run(self._connection, statement)

    def _begin(self) -> None:
        if self._original is not None:
            self._leave_original(self._original)
        if not self._in_transaction:
            with sqlite.errors(self._path):
                sqlite.run(self._connection, "BEGIN IMMEDIATE")
            self._in_transaction = True

    def _leave_original(self, original: Path) -> None:
        """From here on with a file of our own, which holds the same."""
        self._connection.close()
        sqlite.copy(original, self._path)
        self._original = None
        self._connection = sqlite.open_writer(self._path)

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._end("ROLLBACK")

    def _end(self, statement: str) -> None:
        if self._in_transaction:
            with sqlite.errors(self._path):
                sqlite.run(self._connection, statement)
            self._in_transaction = False

    def commit_for_good(self) -> None:
        """Safe on disk it is as soon as it takes the target's place."""
        self.commit()

    def ingest(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> None:
        self._begin()
        with sqlite.errors(self._path, f"table {table}"):
            insert(self._connection, table, columns, batches)

    def write_apart(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> str:
        folder = parts_folder(self._path)
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor, place = tempfile.mkstemp(".part", dir=folder)
        os.close(descriptor)
        path = Path(place)
        definition = self._definition(table)
        typed = definition is not None and self._is_bare(table, columns)
        if definition is None or not typed:
            # Without types, so that each value is kept as it is until it is where it belongs.
            listed = names(c.column.name for c in columns if not c.computed)
            definition = f"CREATE TABLE {quote(table.name)} ({listed})"
        with sqlite.errors(path, f"table {table}"):
            ((encoding,),) = self.texts("SELECT encoding AS encoding FROM pragma_encoding")
            connection = sqlite.open_part(path, encoding)
            try:
                sqlite.run(connection, definition)
                layout = _layout(connection, table, columns, typed=typed)
            finally:
                connection.close()
            with closed_on_error(batches):
                rest = batches
                if layout is not None and encoding == "UTF-8":
                    rest = _write_pages(path, columns, batches, layout)
                _insert_into_part(path, encoding, table, columns, rest)
        return place

    def _definition(self, table: TableName, schema: str = _SCHEMA) -> str | None:
        query = (
            f"SELECT sql AS sql FROM {schema}.sqlite_schema "
            f"WHERE type = 'table' AND name = {constant(table.name)}"
        )
        return next((row[0] for row in self.texts(query)), None)

    def _is_bare(self, table: TableName, columns: tuple[ReadColumn, ...]) -> bool:
        """Whether the table has nothing that a copy of it could not have, and just these columns:
        then its pages are copied without a look into them ("INSERT", the transfer optimisation)."""
        name = constant(table.name)
        hung = self.texts(
            f"SELECT 1 AS n FROM sqlite_schema WHERE type <> 'table' AND tbl_name = {name} LIMIT 1"
        )
        own = [row[0] for row in self.texts(f"SELECT name AS name FROM pragma_table_xinfo({name})")]
        return not hung and own == [column.column.name for column in columns]

    @contextmanager
    def gathering(self, place: str) -> Iterator[None]:
        with sqlite.errors(self._path):
            sqlite.run(self._connection, f"ATTACH {constant(place)} AS {_PART}")
        yield
        with sqlite.errors(self._path):
            sqlite.run(self._connection, f"DETACH {_PART}")
        Path(place).unlink()

    def gather(self, table: TableName, columns: tuple[ReadColumn, ...]) -> None:
        apart = f"{_PART}.{quote(table.name)}"
        if self._definition(table) == self._definition(table, _PART):
            self.execute(f"INSERT INTO {qualified(table)} SELECT * FROM {apart}")
            return
        listed = names(column.column.name for column in columns if not column.computed)
        self.execute(f"INSERT INTO {qualified(table)} ({listed}) SELECT {listed} FROM {apart}")


@contextmanager
def _ours() -> Iterator[None]:
    """A schema that cannot be read is one that a statement of ours has just made: a file of our own
    is not damaged. Raises DatabaseError with what SQLite does not take."""
    try:
        yield
    except adbc_driver_manager.Error as error:
        found = _UNREADABLE.search(str(error))
        if found is None:
            raise
        raise DatabaseError(f"SQLite does not take it: {found[1]}", sqlstate="42601") from error


def parts_folder(staged: Path) -> Path:
    """Where workers keep parts of tables until they are gathered."""
    return staged.with_name(staged.name + "-parts")


def _layout(
    connection: adbc_driver_sqlite.dbapi.Connection,
    table: TableName,
    columns: tuple[ReadColumn, ...],
    *,
    typed: bool,
) -> Layout | None:
    """Of a part whose rows can be written as pages: a row is just the values of these columns, and
    nothing but NOT NULL would be checked of it."""
    name = constant(table.name)
    ((pages, root, sql, special, found),) = sqlite.rows(
        connection,
        "SELECT (SELECT page_count FROM pragma_page_count) AS p, rootpage AS r, sql AS t, "
        f"(SELECT wr + strict FROM pragma_table_list({name})) AS s, "
        "(SELECT json_group_array(json_array(name, upper(type), [notnull], pk, hidden)) "
        f"FROM pragma_table_xinfo({name})) AS c FROM sqlite_schema WHERE name = {name}",
        "p, r, t, s, json(c)",
    )
    taken = tuple(column for column in columns if not column.computed)
    expected = [column.column.name for column in taken]
    # A key that is no rowid has an index, and with it a page.
    keys = [i for i, (_, _, _, key, _) in enumerate(found) if key]
    if (
        not takes_pages(pages, root)
        or special
        or [own for own, *_, hidden in found if not hidden] != expected
        or len(expected) < len(found)
        or any(found[key][1] != "INTEGER" for key in keys)
        or table_definition(sql).checks
    ):
        return None
    required = frozenset(i for i, (_, _, required, _, _) in enumerate(found) if required)
    return Layout(taken, typed, required, keys[0] if keys else None)


def _write_pages(
    path: Path, columns: tuple[ReadColumn, ...], batches: Iterator[Batch], layout: Layout
) -> Iterator[Batch]:
    """Writes batches as pages, and answers those from the first on that has to be inserted."""
    taken = [i for i, column in enumerate(columns) if not column.computed]
    before = FIRST_ROWID - 1 if layout.rowid is None else -1
    rest: Iterator[Batch] = iter(())
    with PartFile(path) as part:
        for batch in batches:
            arrays = [stored(batch.columns[i], columns[i]) for i in taken]
            last = part.last_rowid
            pages = encode(arrays, layout, before if last is None else last)
            if pages is None:
                rest = itertools.chain([batch], batches)
                break
            part.append(pages)
        part.finish()
    return rest


def _insert_into_part(
    path: Path,
    encoding: str,
    table: TableName,
    columns: tuple[ReadColumn, ...],
    batches: Iterator[Batch],
) -> None:
    first = next(batches, None)
    if first is None:
        return
    connection = sqlite.open_part(path, encoding)
    try:
        sqlite.run(connection, "BEGIN")
        insert(connection, table, columns, itertools.chain([first], batches))
        sqlite.run(connection, "COMMIT")
    finally:
        connection.close()


def insert(
    connection: adbc_driver_sqlite.dbapi.Connection,
    table: TableName,
    columns: tuple[ReadColumn, ...],
    batches: Iterator[Batch],
) -> None:
    """Appends batches in the current transaction. Raises DatabaseError where the database says that
    it took another number of rows."""
    taken = [i for i, column in enumerate(columns) if not column.computed]
    with closed_on_error(batches):
        for batch in batches:
            arrays = [stored(batch.columns[i], columns[i]) for i in taken]
            own = [columns[i].column.name for i in taken]
            with connection.cursor() as cursor:
                if is_plain(arrays):
                    data = pa.record_batch([column.arrays[0] for column in arrays], names=own)
                    rows = cursor.adbc_ingest(table.name, data, mode="append")
                else:
                    statement = insertion(qualified(table), [quote(name) for name in own], arrays)
                    cursor.executemany(statement, batch_of(arrays))
                    rows = cursor.rowcount
            if rows not in (batch.rows, -1):
                raise DatabaseError(f"table {table}: {batch.rows} rows were sent, {rows} arrived.")
