"""One open PostgreSQL session, through ADBC: everything but loading rows (loader.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa

from tableferry.dialects.base import (
    Batch,
    Endpoint,
    Surveyor,
    TargetSession,
)
from tableferry.dialects.postgresql import aside, catalog
from tableferry.dialects.postgresql import connection as postgres
from tableferry.dialects.postgresql.ddl import literal, rows_of
from tableferry.dialects.postgresql.spelling import spelled
from tableferry.dialects.postgresql.values import (
    Reading,
    Texts,
    packing_of,
    reading,
    text_of,
)
from tableferry.errors import DatabaseError, MisfitFound, Refused, SourceChanged
from tableferry.model import (
    Expression,
    KeyRange,
    Kind,
    Numbering,
    Range,
    Restoration,
    Scan,
    Schema,
    Table,
    TableName,
    TablePart,
    described,
    ranges_at,
)
from tableferry.packing import MOST_ROW_BYTES
from tableferry.sql import keys_between, qualified, quote

_RANGE_PAGES = 4_096
# Bytes of a record batch: of rows like TPC-H's some 65,000, whose columns stay in the cache.
_BATCH_BYTES = 8 << 20
# Ranges of ctid are scanned as ranges from this version on.
_OLDEST = 140_000

_NO_INDEX = {
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
}
_MAX_BIGINT = 2**63 - 1
# What an expression may be refused for that makes no sense for the columns at hand (appendix A).
_UNSUITABLE = ("22", "42", "0A", "54")


class PostgresSession(TargetSession, Surveyor):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._schema = postgres.address_of(endpoint).schema or "public"
        self._holds_run_lock = False
        # Asked for when rows are first read. A run creates no such table itself.
        self._partitioned: frozenset[TableName] | None = None
        self._short: dict[TableName, bool] = {}
        self._connection = postgres.connect(endpoint)
        try:
            self._begin()
        except BaseException:
            self._connection.close()
            raise

    def _begin(self) -> None:
        if not self._endpoint.snapshot:
            return
        # All sessions of a run see the moment that the holding session exported (section 9.28.5).
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            self.execute(f"SET TRANSACTION SNAPSHOT {literal(self._endpoint.snapshot)}")
        except DatabaseError as error:
            if error.transient:
                raise
            raise SourceChanged(
                f"{self._endpoint}: the session that held the source still was lost, and with it "
                "the moment that all sessions share.",
                hint="Run again once the server stays up.",
            ) from error

    @property
    def schema(self) -> str:
        """The schema that new tables go to."""
        return self._schema

    def close(self) -> None:
        try:
            if self._holds_run_lock:
                self._unlock_run()
        finally:
            self._connection.close()

    def _unlock_run(self) -> None:
        """Lets the next run in before the session is gone: the server takes its time to notice
        the end of one. Where the session is lost, so is its lock."""
        with suppress(DatabaseError):
            self.rollback()
            self.execute("SELECT pg_advisory_unlock_all()")

    def execute(self, *statements: str) -> None:
        for script in postgres.scripts(statements):
            with postgres.errors(self._endpoint):
                postgres.run(self._connection, script)

    def rows(self, query: str) -> list[dict[str, Any]]:
        with postgres.errors(self._endpoint):
            return postgres.rows(self._connection, query)

    def size(self) -> int:
        """Bytes of all tables that users have made. Raises DatabaseError (55P03) where another
        session keeps one to itself."""
        # The size of a table is told to who has a lock on it.
        self.execute("SET LOCAL lock_timeout = '1s'")
        found = self.rows(
            "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::int8 AS size FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') "
            "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
        )
        return int(str(found[0]["size"]))

    def place(self, tables: Sequence[TableName]) -> tuple[str, int]:
        """The folder where the database's tables lie, "" where it is not on this machine or this
        role may not know it, and the bytes that some tables take there."""
        self.execute("SET LOCAL lock_timeout = '1s'")
        listed = ", ".join(f"to_regclass({literal(qualified(table))})" for table in tables)
        found = self.rows(
            "SELECT inet_server_addr() IS NULL AS near, pg_backend_pid() AS pid, coalesce("
            "(SELECT nullif(pg_tablespace_location(dattablespace), '') FROM pg_database "
            "WHERE datname = current_database()), "
            # Who may not know it sees no such line.
            "(SELECT setting FROM pg_settings WHERE name = 'data_directory'), '') AS folder, "
            "(SELECT coalesce(sum(pg_total_relation_size(t)), 0)::int8 "
            f"FROM unnest(ARRAY[{listed}]::regclass[]) AS t) AS size"
        )[0]
        # A private server that root has started knows its folder by this name alone.
        folder = str(found["folder"]).replace("/proc/self/", f"/proc/{found['pid']}/")
        return folder if found["near"] else "", int(str(found["size"]))

    def texts(self, query: str) -> list[tuple[str, ...]]:
        return [tuple(map(str, row.values())) for row in self.rows(query)]

    def commit(self) -> None:
        with postgres.errors(self._endpoint, "commit"):
            self._connection.commit()

    def rollback(self) -> None:
        with postgres.errors(self._endpoint, "rollback"):
            self._connection.rollback()

    def commit_for_good(self) -> None:
        self.execute("SET LOCAL synchronous_commit = on")
        self.commit()

    def require_writable(self) -> None:
        version = self.rows("SELECT current_setting('server_version_num')::int AS n")[0]["n"]
        if int(str(version)) < _OLDEST:
            raise Refused(
                f"{self._endpoint} is older than PostgreSQL 14.",
                hint="Migrate into a server of a version that still gets fixes.",
            )
        name = literal(self._schema)
        found = self.rows(
            f"SELECT has_schema_privilege(n.oid, 'CREATE') AS may FROM pg_namespace n "
            f"WHERE n.nspname = {name}"
        )
        if not found:
            with _refusing(f"Schema {self._schema} is not there and cannot be created"):
                self.execute(f"CREATE SCHEMA {quote(self._schema)}")
        elif not found[0]["may"]:
            raise Refused(
                f"This role may not create tables in schema {self._schema} of {self._endpoint}.",
                hint=f"As its owner: GRANT CREATE, USAGE ON SCHEMA {quote(self._schema)} TO ROLE;",
            )

    def lock_run(self) -> None:
        key = f"hashtextextended({literal('tableferry ' + self._schema)}, 0)"
        if not self.rows(f"SELECT pg_try_advisory_lock({key}) AS ours")[0]["ours"]:
            # It may be this run's own: a server notices the end of a session when it can.
            raise Refused(
                f"Another run is writing to {self._endpoint}.",
                hint="Wait until it has ended. The server may take a while to notice that the "
                "session of a run that was killed, or cut off, is gone (pg_stat_activity, by its "
                "application_name).",
                transient=True,
            )
        self._holds_run_lock = True
        self.commit()

    def holds_rows(self, table: TableName) -> bool:
        query = f"SELECT EXISTS (SELECT 1 FROM {qualified(table)}) AS filled"
        return bool(self.rows(query)[0]["filled"])

    def referring_from_outside(self, tables: list[TableName]) -> list[str]:
        if not tables:
            return []
        with postgres.errors(self._endpoint):
            return catalog.referring_from_outside(self._connection, tables)

    def set_aside(
        self, tables: Sequence[TableName]
    ) -> tuple[tuple[str, ...], tuple[Restoration, ...]]:
        with postgres.errors(self._endpoint):
            return aside.set_aside(self._connection, tables)

    def continue_sequences(self, table: TableName, next_values: Mapping[str, int]) -> None:
        with postgres.errors(self._endpoint, f"table {table}"):
            found = aside.sequences(self._connection, table)
        for row in found:
            column, sequence = quote(row["column"]), row["sequence"]
            last = min(next_values.get(row["column"], 1) - 1, _MAX_BIGINT)
            # Never back: another table may be numbered by the same sequence.
            before = f"(SELECT last_value FROM {sequence} WHERE is_called)"
            if row["downwards"]:
                reached = f"least(min({column})::bigint, {before})"
            else:
                reached = f"nullif(greatest(max({column})::bigint, {before}, {last}), 0)"
            self.execute(
                f"SELECT setval({literal(sequence)}, m, true) FROM (SELECT {reached} AS m "
                f"FROM {qualified(table)}) AS x WHERE m IS NOT NULL"
            )

    def require_roles(self, owner: str, others: Sequence[str]) -> None:
        for role in filter(None, (owner, *others)):
            if not self.rows(f"SELECT 1 AS n FROM pg_roles WHERE rolname = {literal(role)}"):
                raise Refused(f"{self._endpoint} has no role {role}.")
        if owner and not self.rows(
            f"SELECT 1 AS n WHERE pg_has_role(current_user, {literal(owner)}, 'MEMBER')"
        ):
            raise Refused(
                f"This role may not give tables to {owner}.",
                hint=f"Run as a role that is a member of {owner}.",
            )

    def canonical(self, kind: Kind, array: pa.Array) -> pa.Array:
        if array.null_count == len(array):
            return array
        texts = ", ".join(
            "NULL" if value is None else literal(value) for value in array.to_pylist()
        )
        found = self.rows(aside.canonical_query(kind.type, texts))
        changed = next((row for row in found if row["changed"]), None)
        if changed is not None:
            raise DatabaseError(
                f"{kind.type} would keep {changed['given']!r} as {changed['spelled']!r}",
                sqlstate="22000",
            )
        return pa.array([row["spelled"] for row in found], pa.string())

    def prepare_load(self) -> None:
        postgres.prepare_load(self)

    def identity(self) -> str:
        row = self.rows(
            "SELECT system_identifier::text AS server, current_database()::text AS database "
            "FROM pg_control_system()"
        )[0]
        return f"postgresql {row['server']}/{row['database']}/{self._schema}"

    def covers(self, identity: str) -> bool:
        own = self.identity()
        if postgres.address_of(self._endpoint).schema:
            return own == identity
        # Without a schema all of them are meant.
        return identity.startswith(own.removesuffix(self._schema))

    def inspect(self) -> Schema:
        covered = postgres.address_of(self._endpoint).schema or None
        try:
            with postgres.errors(self._endpoint):
                return catalog.inspect(self._connection, covered)
        except DatabaseError as error:
            # Only tables are held; what else is dropped meanwhile, the catalogs cannot describe.
            raise Refused(
                f"What is there could not be read: {error.message}",
                hint=error.hint or "Run again: somebody may have dropped what was looked at.",
                sqlstate=error.sqlstate,
            ) from error

    def inspect_target(self) -> Schema:
        with postgres.errors(self._endpoint):
            return catalog.inspect_target(self._connection, self._schema)

    def numbered(self, tables: Iterable[Table]) -> Mapping[TableName, tuple[Numbering, ...]]:
        names = frozenset(table.name for table in tables)
        with postgres.errors(self._endpoint):
            return catalog.numbered(self._connection, self._schema, names)

    def spelled(self, table: Table, expressions: Sequence[Expression]) -> tuple[str | None, ...]:
        if not expressions:
            return ()
        try:
            with postgres.errors(self._endpoint, f"table {table.name}"):
                return spelled(self._connection, table.name, expressions)
        except DatabaseError as error:
            if error.sqlstate[:2] not in _UNSUITABLE:
                raise
            # The driver has no way back from an error but to give up the transaction.
            self.rollback()
            self._begin()
        if len(expressions) == 1:
            return (None,)
        return tuple(x for each in expressions for x in self.spelled(table, [each]))

    def require_readable(self, tables: Iterable[Table]) -> None:
        listed = ", ".join(
            f"({literal(table.name.schema)}, {literal(table.name.name)})" for table in tables
        )
        if not listed:
            return
        found = self.rows(
            "SELECT n.nspname::text AS schema, c.relname::text AS name, "
            f"row_security_active(c.oid) AS hidden FROM (VALUES {listed}) AS v(schema, name) "
            "JOIN pg_namespace n ON n.nspname = v.schema "
            "JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.name "
            "WHERE row_security_active(c.oid) OR NOT has_table_privilege(c.oid, 'SELECT') "
            "OR NOT has_schema_privilege(n.oid, 'USAGE') ORDER BY 3 DESC, 1, 2"
        )
        if not found:
            return
        hidden = found[0]["hidden"]
        names = ", ".join(
            str(TableName(row["schema"], row["name"])) for row in found if row["hidden"] == hidden
        )
        if hidden:
            raise Refused(
                f"Row-level security hides rows of {names} from this role of {self._endpoint}.",
                hint="Connect as the owner of the tables, or as a role with BYPASSRLS.",
            )
        raise Refused(
            f"This role may not read {names} of {self._endpoint}.",
            hint="GRANT SELECT on the tables and USAGE on their schema, or leave them out with "
            "--exclude.",
        )

    def _rows_of(self, table: TableName) -> str:
        """What a query reads the table's own rows from; see ddl.rows_of."""
        if self._partitioned is None:
            with postgres.errors(self._endpoint):
                self._partitioned = catalog.partitioned(self._connection)
        return rows_of(table, partitioned=table in self._partitioned)

    def count(self, table: TableName) -> int:
        source = self._rows_of(table)
        # Off only for this statement: a damaged index must not answer for the table.
        with postgres.errors(self._endpoint, f"table {table}"):
            postgres.run(self._connection, postgres.set_all(_NO_INDEX, local=True))
            query = f"SELECT count(*) AS n FROM {source}"
            return int(postgres.rows(self._connection, query)[0]["n"])

    def find(
        self, table: TableName, condition: str, shown: tuple[str, ...], most: int
    ) -> tuple[int, tuple[tuple[str, ...], ...]]:
        source = f"{self._rows_of(table)} AS t WHERE {condition}"
        count = int(str(self.rows(f"SELECT count(*) AS n FROM {source}")[0]["n"]))
        if not count or not most:
            return count, ()
        cells = ", ".join(f"coalesce(t.{quote(name)}::text, 'NULL')" for name in shown)
        query = f"SELECT ARRAY[{cells}]::text[] AS cells FROM {source} LIMIT {most}"
        with postgres.errors(self._endpoint, f"table {table}"):
            found = postgres.rows(self._connection, query)
        return count, tuple(tuple(row["cells"]) for row in found)

    def ranges(self, table: Table) -> tuple[Range, ...]:
        with postgres.errors(self._endpoint, f"table {table.name}"):
            pages = catalog.pages(self._connection, table.name)
        bounds = list(range(_RANGE_PAGES, pages - _RANGE_PAGES // 2, _RANGE_PAGES))
        return ranges_at(bounds)

    def key_ends(self, table: TableName, column: str, skipped: int) -> tuple[int, int] | None:
        source = f"SELECT t.{quote(column)} FROM {self._rows_of(table)} AS t ORDER BY 1"
        query = (
            f"SELECT ({source} LIMIT 1 OFFSET {skipped})::int8 AS a, "
            f"({source} DESC LIMIT 1 OFFSET {skipped})::int8 AS b"
        )
        with postgres.errors(self._endpoint, f"table {table}"):
            found = postgres.rows(self._connection, query)[0]
        low, high = found["a"], found["b"]
        both = low is not None and high is not None and low <= high
        return (low, high) if both else None

    def read(self, scan: Scan, part: TablePart) -> Iterator[Batch]:
        readings = [reading(column) for column in scan.columns]
        may_pack = not scan.few and self._may_pack(scan.table)
        packing = packing_of(readings) if may_pack else None
        if packing is not None:
            left_out = False
            for batch in self._stream(scan, part, packing.readings):
                columns = packing.decode(batch.columns)
                left_out |= len(columns[0]) < batch.num_rows
                yield Batch(tuple(columns))
            if not left_out:
                return
            # What packing could not tell apart, column by column.
            others = f"{packing.separated} AND ({scan.condition or 'true'})"
            scan = replace(scan, condition=others)
        for batch in self._stream(scan, part, readings):
            arrays = zip(readings, batch.columns, strict=True)
            yield Batch(tuple(r.decode(array) for r, array in arrays))

    def _may_pack(self, table: TableName) -> bool:
        """Whether all values of a row are short: then none is stored out of line, and a row is far
        from the gigabyte that one text can have."""
        if table not in self._short:
            with postgres.errors(self._endpoint, f"table {table}"):
                self._short[table] = catalog.holds_short_rows(
                    self._connection, table, MOST_ROW_BYTES
                )
        return self._short[table]

    def survey(self, scan: Scan, part: TablePart) -> Iterator[tuple[Texts, ...]]:
        readings = [Reading(text_of(c), pa.string(), lambda array: array) for c in scan.columns]
        for batch in self._stream(scan, part, readings):
            yield tuple(map(Texts, batch.columns))

    def _stream(
        self, scan: Scan, part: TablePart, readings: Sequence[Reading]
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a part, batch by batch, each column as its reading expects it."""
        what = described(scan.table, part, "pages")
        values = ", ".join(r.expression for r in readings)
        query = f"SELECT {values} FROM {self._rows_of(scan.table)} AS t{_where(scan, part)}"
        with self._connection.cursor() as cursor:
            with postgres.errors(self._endpoint, what):
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)}
                )
                cursor.execute(query)
                reader = cursor.fetch_record_batch()
            for field, r in zip(reader.schema, readings, strict=True):
                if field.type != r.arrives:
                    raise MisfitFound(
                        f"Table {scan.table}: {r.expression} arrives as {field.type}, "
                        f"not as {r.arrives}",
                        table=scan.table,
                        columns=[],
                    )
            while True:
                with postgres.errors(self._endpoint, what):
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch


@contextmanager
def _refusing(sentence: str) -> Iterator[None]:
    """A server's no before anything was written is a refusal, not a failure."""
    try:
        yield
    except DatabaseError as error:
        raise Refused(f"{sentence}: {error.message}", hint=error.hint) from error


def _where(scan: Scan, part: TablePart) -> str:
    # Literals, not parameters: a bound parameter leaves the COPY path and buffers the result.
    conditions = [f"({scan.condition})"] if scan.condition else []
    if isinstance(part, KeyRange):
        key = scan.columns[scan.key[0]].column
        conditions += filter(None, [keys_between(key, part)])
        part = Range(0)
    if part.lower is not None:
        conditions.append(f"t.ctid >= '({part.lower},0)'::tid")
    if part.upper is not None:
        conditions.append(f"t.ctid < '({part.upper},0)'::tid")
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""
