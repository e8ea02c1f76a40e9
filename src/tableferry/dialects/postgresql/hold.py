"""Holding a PostgreSQL database at one moment: an exported snapshot that all sessions share.

A snapshot alone does not hold a table: TRUNCATE, a rewriting ALTER TABLE and REFRESH MATERIALIZED
VIEW replace its rows for older snapshots as well ("Caveats", section 13.6). So ACCESS SHARE is
taken on every table first. It keeps out nobody who reads or writes rows, and so a verification
takes it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tableferry.dialects.base import Endpoint, Hold
from tableferry.dialects.postgresql.connection import address_of
from tableferry.dialects.postgresql.ddl import literal, rows_of
from tableferry.dialects.postgresql.scope import covered
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.errors import DatabaseError, Refused, SourceChanged
from tableferry.model import TableName
from tableferry.sql import qualified

# How long somebody's change of a table is waited for.
_LOCK_SECONDS = 10
# How often tables that come and go meanwhile are followed.
_ATTEMPTS = 5
_PASSING_OVER = ("zero_damaged_pages", "ignore_checksum_failure")
_NOT_THERE = ("42P01", "3F000")
LOCK_NOT_AVAILABLE = "55P03"

# A snapshot, and the tables that are there in it but not locked: READ COMMITTED gives a statement
# its own snapshot, and the one exported is that of this statement. A table that this role may not
# read cannot be locked either; whether it has to be read is decided later. Partitions are locked
# along with their root.
_EXPORT = (
    "WITH RECURSIVE {covered}, x AS MATERIALIZED (SELECT pg_export_snapshot() AS snapshot), "
    # pg_partition_tree() would wait for locks itself.
    "w(oid, root) AS (SELECT r.oid, r.oid FROM r UNION ALL SELECT i.inhrelid, w.root FROM w "
    "JOIN pg_inherits i ON i.inhparent = w.oid "
    "JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition) "
    "SELECT x.snapshot, f.schema, f.name, f.kind, f.oids FROM x LEFT JOIN "
    "(SELECT r.schema::text, r.name::text, r.kind::text, array_agg(c.oid::int8) AS oids "
    "FROM w JOIN r ON r.oid = w.root JOIN pg_class root ON root.oid = r.oid "
    "JOIN pg_class c ON c.oid = w.oid AND c.relkind IN ('r', 'p', 'm') AND c.relispopulated "
    "WHERE has_table_privilege(r.oid, 'SELECT') "
    "AND has_schema_privilege(root.relnamespace, 'USAGE') "
    "AND NOT EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = pg_backend_pid() "
    "AND l.locktype = 'relation' AND l.relation = c.oid AND l.mode = 'AccessShareLock' "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) "
    "GROUP BY 1, 2, 3) f ON true ORDER BY 2, 3"
)

_WHO = (
    "SELECT a.pid, a.usename::text AS role, a.application_name AS name, l.granted, "
    "l.relation::regclass::text AS held FROM pg_locks l "
    "LEFT JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.mode = 'AccessExclusiveLock' AND l.relation IN ({relations}) "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "ORDER BY l.granted DESC, a.pid LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class _Relation:
    """A table with the oids of what is not locked of it: itself, or partitions."""

    name: TableName
    kind: str
    oids: tuple[int, ...]


class ExportedSnapshot(Hold):
    """A transaction that stays open; the snapshot lives as long as it does ("Snapshot
    Synchronization Functions", section 9.28.5), and so do its locks.

    Raises Refused where another session keeps a table to itself.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __enter__(self) -> ExportedSnapshot:
        self._session = PostgresSession(self.endpoint)
        try:
            self._require_loud()
            snapshot = self._locked_snapshot()
        except BaseException:
            self._session.close()
            raise
        self.endpoint = replace(self.endpoint, snapshot=snapshot)
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def check(self) -> None:
        try:
            self._session.rows("SELECT 1 AS alive")
        except DatabaseError as error:
            raise SourceChanged(
                f"The session that held the source still was lost: {error.message}",
                hint="Run again once the server stays up.",
            ) from error

    def _require_loud(self) -> None:
        """Told to go on over damage, the server would bring what is left for all there is
        ("Developer Options", section 19.17)."""
        listed = ", ".join(map(literal, _PASSING_OVER))
        for row in self._session.rows(
            f"SELECT name FROM pg_settings WHERE name IN ({listed}) AND setting = 'on'"
        ):
            raise Refused(
                f"{self.endpoint} is set to {row['name']}: it would pass over damaged pages.",
                hint="Let an administrator reset it for this role and database. To carry what is "
                "left of a damaged table, copy it to another one first.",
            )

    def _locked_snapshot(self) -> str:
        self._begin()
        for _ in range(_ATTEMPTS):
            snapshot, missing = self._export()
            if not missing:
                return snapshot
            try:
                self._lock(missing)
            except DatabaseError as error:
                if error.sqlstate not in _NOT_THERE:
                    raise self._refusal(error, missing) from error
                # One of them is gone.
                self._session.rollback()
                self._begin()
        raise Refused(
            f"Tables of {self.endpoint} come and go all the time: they cannot be held still.",
            hint="Stop what creates and drops them, then run again.",
        )

    def _begin(self) -> None:
        self._session.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY")
        self._session.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")

    def _export(self) -> tuple[str, list[_Relation]]:
        schema = address_of(self.endpoint).schema or None
        found: list[dict[str, Any]] = self._session.rows(_EXPORT.format(covered=covered(schema)))
        missing = [
            _Relation(TableName(row["schema"], row["name"]), row["kind"], tuple(row["oids"]))
            for row in found
            if row["name"] is not None
        ]
        return found[0]["snapshot"], missing

    def _lock(self, relations: Sequence[_Relation]) -> None:
        tables = [
            rows_of(each.name, partitioned=each.kind == "p")
            for each in relations
            if each.kind != "m"
        ]
        if tables:
            self._session.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
        # LOCK TABLE takes no materialised view; a query of it takes the same lock.
        views = [
            f"(SELECT 1 AS n FROM {qualified(each.name)} LIMIT 0)"
            for each in relations
            if each.kind == "m"
        ]
        if views:
            self._session.rows(" UNION ALL ".join(views))

    def _refusal(self, error: DatabaseError, relations: Sequence[_Relation]) -> Exception:
        if error.sqlstate != LOCK_NOT_AVAILABLE:
            return Refused(error.message, hint=error.hint, sqlstate=error.sqlstate)
        self._session.rollback()
        listed = ", ".join(str(oid) for each in relations for oid in each.oids)
        found = self._session.rows(_WHO.format(relations=listed))
        who = _who(found[0]) if found else "another session, which has let go of it by now"
        return Refused(
            f"A table of {self.endpoint} could not be held still within {_LOCK_SECONDS} s: {who}.",
            hint="Let it end, then run again.",
            sqlstate=error.sqlstate,
        )


def _who(row: Mapping[str, Any]) -> str:
    if row["pid"] is None:
        return f"a prepared transaction has {row['held']} to itself"
    name = f" ({row['name']})" if row["name"] else ""
    does = "has" if row["granted"] else "waits to have"
    return f"process {row['pid']}{name} of role {row['role']} {does} {row['held']} to itself"
