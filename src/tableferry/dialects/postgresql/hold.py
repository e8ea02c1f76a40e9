"""Holding a PostgreSQL database at one moment: an exported snapshot that all sessions share."""

from __future__ import annotations

from dataclasses import replace

from tableferry.dialects.base import Endpoint, Hold
from tableferry.dialects.postgresql.session import PostgresSession


class ExportedSnapshot(Hold):
    """A repeatable-read transaction that stays open; the snapshot lives as long as it does
    ("Snapshot Synchronization Functions", section 9.28.5)."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __enter__(self) -> ExportedSnapshot:
        self._session = PostgresSession(self.endpoint)
        try:
            self._session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = self._session.rows("SELECT pg_export_snapshot() AS snapshot")[0]
        except BaseException:
            self._session.close()
            raise
        self.endpoint = replace(self.endpoint, snapshot=str(row["snapshot"]))
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def check(self) -> None:
        # Raises DatabaseError where the session, and so the snapshot, was lost.
        self._session.rows("SELECT 1 AS alive")
