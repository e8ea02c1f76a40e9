"""Changing single rows of tables that are in use, where they stand.

Values go to temporary tables first, which nothing can refuse; what then changes the table is one
block of PL/pgSQL, which the server undoes as a whole where a constraint refuses a row: the driver
sends nothing more in a transaction that has failed, not even a way back to a savepoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tableferry.dialects.base import Batch, Change, Delete, Endpoint, Insert, Repairer, Update
from tableferry.dialects.postgresql import aside
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql.ddl import literal
from tableferry.dialects.postgresql.sending import encoded, stage_definition, stage_values
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.errors import DatabaseError, Refused
from tableferry.kinds import TEXT
from tableferry.model import Column, ReadColumn, Restoration, Table, TableName
from tableferry.sql import qualified, quote

# How long a repair waits for others to let go of a table.
_LOCK_SECONDS = 30
# A row of a partitioned table stands in one of several files.
_PLACE = (("ctid", "tid"), ("tableoid", "oid"))
_ANSWER = "tableferry.answer"
# Conditions of PL/pgSQL (appendix A): all of a class where they name one.
_REFUSALS = (
    "integrity_constraint_violation",
    "data_exception",
    "with_check_option_violation",
    "syntax_error_or_access_rule_violation",
    "feature_not_supported",
    "program_limit_exceeded",
    "raise_exception",
)


class PostgresRepairer(PostgresSession, Repairer):
    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._back: tuple[Restoration, ...] = ()
        self._stages = 0
        try:
            self.execute(postgres.set_all({"lock_timeout": f"{_LOCK_SECONDS}s"}))
            self.commit()
        except BaseException:
            self.close()
            raise

    def require_repairable(self, needs: Mapping[TableName, Sequence[str]]) -> None:
        for table, rights in needs.items():
            name = literal(qualified(table))
            for right in rights:
                if not self.rows(f"SELECT has_table_privilege({name}, '{right}') AS may")[0]["may"]:
                    raise Refused(
                        f"This role may not {right} rows of {table} in {self._endpoint}.",
                        hint="Grant it what it needs, or connect as the owner.",
                    )
        query = "SELECT has_database_privilege(current_database(), 'TEMP') AS may"
        if not self.rows(query)[0]["may"]:
            raise Refused(
                f"This role may not make temporary tables in {self._endpoint}.",
                hint="GRANT TEMPORARY ON DATABASE … TO the role, or connect as the owner.",
            )
        self.rollback()

    def places(self, table: Table) -> tuple[ReadColumn, ...]:
        return tuple(ReadColumn(Column(name, declared), TEXT) for name, declared in _PLACE)

    def replaces(self, table: TableName) -> bool:
        return not self._references(table)

    def begin_repair(self, table: TableName) -> None:
        self.execute(f"LOCK TABLE {self._rows_of(table)} IN SHARE ROW EXCLUSIVE MODE")
        with postgres.errors(self._endpoint, f"table {table}"):
            away, self._back = aside.triggers_aside(self._connection, [table])
        self.execute(*away)

    def end_repair(self) -> None:
        self.execute(*(back.statement for back in self._back))
        self.commit()

    def apply(self, table: TableName, changes: Sequence[Change]) -> None:
        statements: list[str] = []
        stages: list[str] = []
        moved = ""
        for change in changes:
            stage = self._new_stage(stages)
            own = self._statements(table, stage, change)
            if moved:
                statements.append(_followed(stage, moved))
            if isinstance(change, Update) and change.again:
                moved = self._new_stage(stages)
                self.execute(f"CREATE TEMP TABLE {moved} ({_MOVED}) ON COMMIT DROP")
                own[0] = f"WITH u AS ({own[0].rstrip(';')} {_MOVING}) {_noted(moved)}"
            statements += own
        refusal = self._run_as_one(statements)
        for stage in stages:
            self.execute(f"DROP TABLE pg_temp.{stage}")
        if refusal:
            state, _, words = refusal.partition(" ")
            raise DatabaseError(
                f"{self._endpoint}, table {table}: {' '.join(words.split())}", sqlstate=state
            )

    def _new_stage(self, stages: list[str]) -> str:
        self._stages += 1
        stages.append(f"tableferry_stage_{self._stages}")
        return stages[-1]

    def _run_as_one(self, statements: Sequence[str]) -> str:
        """Answers the SQLSTATE and the words of what refused them; "" where nothing did."""
        body = (
            "DECLARE n bigint; BEGIN SET CONSTRAINTS ALL DEFERRED; "
            + " ".join(statements)
            + f" SET CONSTRAINTS ALL IMMEDIATE; PERFORM set_config('{_ANSWER}', '', true); "
            f"EXCEPTION WHEN {' OR '.join(_REFUSALS)} THEN "
            f"PERFORM set_config('{_ANSWER}', SQLSTATE || ' ' || SQLERRM, true); END"
        )
        self.execute(f"DO {literal(body)}")
        return str(self.rows(f"SELECT current_setting('{_ANSWER}') AS answer")[0]["answer"])

    def _statements(self, table: TableName, stage: str, change: Change) -> list[str]:
        rows = f"{self._rows_of(table)} AS t"
        source = f"pg_temp.{stage} s"
        match change:
            case Insert(columns, batch):
                columns, batch = _stored(columns, batch)
                values = self._staged(table, stage, columns, batch)
                names = ", ".join(quote(column.column.name) for column in columns)
                if not columns:
                    return [f"INSERT INTO {qualified(table)} DEFAULT VALUES;"] * batch.rows
                return [
                    f"INSERT INTO {qualified(table)} ({names}) OVERRIDING SYSTEM VALUE "
                    f"SELECT {', '.join(values)} FROM {source};",
                    _counted(batch.rows),
                ]
            case Update(places, columns, batch):
                values = self._staged(
                    table, stage, (*_texts(), *columns), Batch((*places, *batch.columns))
                )
                new = ", ".join(
                    f"{quote(column.column.name)} = {value}"
                    for column, value in zip(columns, values[len(_PLACE) :], strict=True)
                )
                return [
                    f"UPDATE {rows} SET {new} FROM {source} WHERE {_found('t')};",
                    _counted(len(places[0])),
                ]
            case Delete(places):
                self._staged(table, stage, _texts(), Batch(places))
                return [
                    *self._keeping_others(table, source),
                    f"DELETE FROM {rows} USING {source} WHERE {_found('t')};",
                    _counted(len(places[0])),
                ]

    def _staged(
        self, table: TableName, stage: str, columns: tuple[ReadColumn, ...], batch: Batch
    ) -> list[str]:
        with postgres.errors(self._endpoint, f"table {table}"):
            (data,) = encoded(table, columns, iter([batch]))
        try:
            with postgres.errors(self._endpoint, f"table {table}"):
                self._put_on_stage(stage, columns, data)
                # For a plan that fits a few rows of a large table.
                postgres.run(self._connection, f"ANALYZE pg_temp.{stage}")
        except DatabaseError as error:
            # It has ended the transaction, and so is no mere refusal of some rows.
            raise DatabaseError(error.message, hint=error.hint) from error
        return stage_values(columns)

    def _put_on_stage(
        self, stage: str, columns: tuple[ReadColumn, ...], data: pa.RecordBatch
    ) -> None:
        postgres.run(
            self._connection,
            f"CREATE TEMP TABLE {stage} ({stage_definition(columns)}) ON COMMIT DROP",
        )
        names = [f"c{i}" for i in range(len(columns))]
        with self._connection.cursor() as cursor:
            cursor.adbc_ingest(stage, data.rename_columns(names), mode="append", temporary=True)

    def _keeping_others(self, table: TableName, source: str) -> list[str]:
        """A row that others hang on by ON DELETE CASCADE or SET NULL would take them with it, or
        change them: these are to be put right first, and where they are not to go, it stays."""
        checks = []
        for key in self._references(table):
            if key["on_delete"] not in ("c", "n", "d"):
                continue
            child = TableName(key["schema"], key["tbl"])
            same = " AND ".join(
                f"c.{quote(mine)} = t.{quote(theirs)}"
                for mine, theirs in zip(key["columns"], key["parent_columns"], strict=True)
            )
            itself = ""
            if child == table:
                itself = f" AND NOT EXISTS (SELECT 1 FROM {source} WHERE {_found('c')})"
            words = f"rows of {child} refer to it (foreign key {key['name']})"
            checks.append(
                f"IF EXISTS (SELECT 1 FROM {source} JOIN {self._rows_of(table)} AS t "
                f"ON {_found('t')} JOIN {self._rows_of(child)} AS c ON {same}{itself}) THEN "
                f"RAISE foreign_key_violation USING MESSAGE = {literal(words)}; END IF;"
            )
        return checks

    def _references(self, table: TableName) -> list[dict[str, Any]]:
        with postgres.errors(self._endpoint, f"table {table}"):
            return aside.references(self._connection, table)


def _texts() -> tuple[ReadColumn, ...]:
    return tuple(ReadColumn(Column(name, "text"), TEXT) for name, _ in _PLACE)


def _found(alias: str) -> str:
    """The condition of a row of the alias that stands in the place that s names."""
    return " AND ".join(
        f"{alias}.{name} = s.c{i}::{declared}" for i, (name, declared) in enumerate(_PLACE)
    )


# A row that is updated stands elsewhere from then on.
_MOVED = "c0 text, c1 text, d0 text, d1 text"
_MOVING = "RETURNING s.c0, s.c1, t.ctid::text AS d0, t.tableoid::text AS d1"


def _noted(moved: str) -> str:
    return f"INSERT INTO pg_temp.{moved} SELECT * FROM u;"


def _followed(stage: str, moved: str) -> str:
    return (
        f"UPDATE pg_temp.{stage} s SET c0 = m.d0, c1 = m.d1 FROM pg_temp.{moved} m "
        "WHERE s.c0 = m.c0 AND s.c1 = m.c1;"
    )


def _counted(rows: int) -> str:
    return (
        f"GET DIAGNOSTICS n = ROW_COUNT; IF n <> {rows} THEN "
        f"RAISE EXCEPTION '{rows} rows were to be written, not %', n; END IF;"
    )


def _stored(columns: tuple[ReadColumn, ...], batch: Batch) -> tuple[tuple[ReadColumn, ...], Batch]:
    """Without what the database computes itself."""
    taken = [i for i, column in enumerate(columns) if not column.computed]
    arrays: tuple[pa.Array, ...] = tuple(batch.columns[i] for i in taken)
    return tuple(columns[i] for i in taken), Batch(arrays)
