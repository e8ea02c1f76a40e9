"""Changing single rows of a file that is in use, where they stand: in transactions like any
program's, so that others see them whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Change, Delete, Endpoint, Insert, Repairer, Update
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.storing import Stored, batch_of, parameters, stored
from tableferry.dialects.sqlite.target import SqliteTarget
from tableferry.errors import DatabaseError, MisfitFound, Refused
from tableferry.kinds import ANY, INT
from tableferry.model import Column, ReadColumn, Restoration, Table, TableName
from tableferry.sql import qualified, quote

_SAVEPOINT = "tableferry"


class SqliteRepairer(SqliteTarget, Repairer):
    """Foreign keys are not looked at, as SQLite has it unless a connection asks for it ("SQLite
    Foreign Key Support", section 2): that the rows are the source's is what counts here."""

    def __init__(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint.address, SqliteFile)
        self._path = endpoint.address.path
        self._original = None
        self._in_transaction = False
        self._back: tuple[Restoration, ...] = ()
        self._places: tuple[ReadColumn, ...] = ()
        self._connection = sqlite.open_plain(self._path)

    def require_repairable(self, needs: Mapping[TableName, Sequence[str]]) -> None:
        """Nothing: whoever may write the file may write all of it."""

    def places(self, table: Table) -> tuple[ReadColumn, ...]:
        if table.locator:
            self._places = (ReadColumn(Column(table.locator, "INTEGER"), INT),)
        elif table.primary_key is not None:
            key = table.primary_key.columns
            self._places = tuple(ReadColumn(table.column(name), ANY) for name in key)
        else:
            raise Refused(f"{table.name}: its rows have no number that a name leads to.")
        return self._places

    def replaces(self, table: TableName) -> bool:
        return True

    def begin_repair(self, table: TableName) -> None:
        self.execute()
        away, back = self.set_aside([table])
        self._back = tuple(each for each in back if each.what == "trigger")
        self.execute(*(each for each in away if each.startswith("DROP TRIGGER ")))

    def end_repair(self) -> None:
        self.execute(*(back.statement for back in self._back))
        self.commit()

    def apply(self, table: TableName, changes: Sequence[Change]) -> None:
        self.execute(f"SAVEPOINT {_SAVEPOINT}")
        try:
            for change in changes:
                with sqlite.errors(self._path, f"table {table}"):
                    self._apply(table, change)
        except (DatabaseError, MisfitFound):
            self.execute(f"ROLLBACK TO {_SAVEPOINT}", f"RELEASE {_SAVEPOINT}")
            raise
        self.execute(f"RELEASE {_SAVEPOINT}")

    def _apply(self, table: TableName, change: Change) -> None:
        name = f"{qualified(table)} AS t"
        match change:
            case Insert(columns, batch):
                rows = batch.rows
                taken = [i for i, column in enumerate(columns) if not column.computed]
                values = [stored(batch.columns[i], columns[i]) for i in taken]
                names = ", ".join(quote(columns[i].column.name) for i in taken)
                # Not as a constraint's own ON CONFLICT has it.
                statement = (
                    f"INSERT OR ABORT INTO {qualified(table)} ({names}) "
                    f"VALUES ({', '.join(parameters(values))})"
                )
            case Update(places, columns, batch):
                rows = batch.rows
                values = [stored(a, c) for a, c in zip(batch.columns, columns, strict=True)]
                found = [stored(a, c) for a, c in zip(places, self._places, strict=True)]
                given = parameters([*values, *found])
                new = ", ".join(
                    f"{quote(column.column.name)} = {value}"
                    for column, value in zip(columns, given, strict=False)
                )
                where = self._where(given[len(values) :])
                statement = f"UPDATE OR ABORT {name} SET {new} WHERE {where}"
                values += found
            case Delete(places):
                rows = len(places[0])
                values = [stored(a, c) for a, c in zip(places, self._places, strict=True)]
                statement = f"DELETE FROM {name} WHERE {self._where(parameters(values))}"
        self._run(statement, values, rows)

    def _where(self, values: Sequence[str]) -> str:
        return " AND ".join(
            f"t.{quote(place.column.name)} = {value}"
            for place, value in zip(self._places, values, strict=True)
        )

    def _run(self, statement: str, values: Sequence[Stored], rows: int) -> None:
        before = self._changed()
        with self._connection.cursor() as cursor:
            cursor.executemany(statement, batch_of(values))
        written = self._changed() - before
        if written != rows:
            raise DatabaseError(f"{rows} rows were to be written, not {written}.", sqlstate="23000")

    def _changed(self) -> int:
        return int(self.texts("SELECT total_changes() AS n")[0][0])
