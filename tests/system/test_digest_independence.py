"""One table has one digest: in SQLite and in PostgreSQL, however large the batches are that the
drivers give, however the table is cut into ranges, and however many workers read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from tests import servers
from tests.ordinary_types import ORDINARY_TABLES
from tests.servers import Server
from tests.system.support import sqlite_url

import tableferry
from tableferry.dialects.base import Batch, Session
from tableferry.dialects.postgresql import session as postgres
from tableferry.dialects.sqlite import session as sqlite
from tableferry.model import Range, Scan
from tableferry.outcomes import Outcome

Read: TypeAlias = Callable[[Session, Scan, Range], Iterator[Batch]]

_COPIES = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """How many rows of SQLite or bytes of PostgreSQL make a batch, and how many bytes or pages a
    range."""

    batch_rows: int
    batch_bytes: int
    range_bytes: int
    range_pages: int


_WHOLE = Reading(65_536, 16 << 20, 1 << 40, 1 << 30)
READINGS = {
    "small batches": Reading(97, 20_000, 1 << 40, 1 << 30),
    "smallest batches": Reading(20, 1, 1 << 40, 1 << 30),
    "ranges": Reading(65_536, 16 << 20, 20_000, 7),
    "ranges in batches": Reading(31, 5_000, 30_000, 5),
}


@pytest.fixture(scope="module")
def both(
    started: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Addresses of the same tables in PostgreSQL, with gaps between the rows, and in SQLite."""
    file = tmp_path_factory.mktemp("digests") / "file.db"
    with servers.fresh_database(started(servers.EMBEDDED)) as server:
        server.run(
            *ORDINARY_TABLES,
            f"INSERT INTO keyless SELECT k.* FROM keyless AS k, generate_series(1, {_COPIES})",
            "DELETE FROM keyless WHERE small = 1 AND whole % 2 = 0",
            "DELETE FROM by_text WHERE whole = 3",
            "VACUUM by_text",
        )
        assert tableferry.migrate(server.url, sqlite_url(file), workers=1).verified
        yield server.url, sqlite_url(file)


def _read(patch: pytest.MonkeyPatch, both: tuple[str, str], reading: Reading) -> list[Outcome]:
    """What a verification in each direction says where tables are read so."""
    patch.setattr(sqlite, "_BATCH_ROWS", reading.batch_rows)
    patch.setattr(sqlite, "_RANGE_BYTES", reading.range_bytes)
    patch.setattr(sqlite, "_MIN_RANGE_ROWS", 10)
    patch.setattr(postgres, "_RANGE_PAGES", reading.range_pages)
    patch.setattr(postgres, "_BATCH_BYTES", reading.batch_bytes)
    return [tableferry.verify(*ends, workers=1) for ends in (both, both[::-1])]


def _digests(outcomes: list[Outcome]) -> dict[str, set[str]]:
    """Every digest that was taken of a table, of either side."""
    found: dict[str, set[str]] = {}
    for outcome in outcomes:
        assert outcome.verified
        for table in outcome.tables:
            found.setdefault(table.source, set()).update((table.source_digest, table.target_digest))
    return found


def _ranges(outcomes: list[Outcome]) -> list[tuple[int, int]]:
    return [
        (len(table.source_ranges), len(table.target_ranges))
        for outcome in outcomes
        for table in outcome.tables
        if table.source == "keyless"
    ]


@pytest.mark.parametrize("name", READINGS)
def test_batches_and_ranges_make_no_difference(
    both: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        plain = _read(patch, both, _WHOLE)
    with monkeypatch.context() as patch:
        batches = _counted(patch)
        other = _read(patch, both, READINGS[name])

    assert _digests(other) == _digests(plain)
    assert all(len(digests) == 1 for digests in _digests(plain).values())
    # It was read as it says.
    assert _ranges(plain) == [(1, 1), (1, 1)]
    if "ranges" in name:
        assert all(min(counts) > 3 for counts in _ranges(other))
    if name != "ranges":
        assert len(batches) > 50


def _counted(patch: pytest.MonkeyPatch) -> list[Batch]:
    """Collects the batches that sessions bring."""
    batches: list[Batch] = []
    sessions: tuple[type[Session], ...] = (sqlite.SqliteSession, postgres.PostgresSession)
    for session in sessions:
        patch.setattr(session, "read", _collecting(session.read, batches))
    return batches


def _collecting(read: Read, batches: list[Batch]) -> Read:
    def collecting(session: Session, scan: Scan, part: Range) -> Iterator[Batch]:
        for batch in read(session, scan, part):
            batches.append(batch)
            yield batch

    return collecting


def test_workers_make_no_difference(started: Callable[[str], Server], large: Path) -> None:
    with servers.fresh_database(started(servers.EMBEDDED)) as server:
        assert tableferry.migrate(sqlite_url(large), server.url, workers=2).verified
        server.run("CREATE TABLE moved AS TABLE children ORDER BY pad", "TRUNCATE children CASCADE")
        server.run("INSERT INTO children TABLE moved", "INSERT INTO others VALUES (1, 2, 3)")
        found = [
            tableferry.verify(sqlite_url(large), server.url, workers=workers) for workers in (1, 3)
        ]

    digests = _digests(found)
    assert set(digests) == {"parents", "children", "others"}
    assert all(len(taken) == 1 for taken in digests.values())
