"""A SQLite source and a stopwatch, as the rivals of perf.rivals use them."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RANGE_ROWS = 500_000


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds by phase, and whatever is needed to judge them.

    The phases cover the whole job, imports of the rival's own libraries included, but not the
    start of the Python that runs this file.
    """

    rival: str
    seconds: dict[str, float]
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    declared: str


@dataclass(frozen=True, slots=True)
class Table:
    """An SQLite table; `indexes` holds the columns of each index that CREATE INDEX made."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Rows with `low` <= rowid < `high`; None is unbounded."""

    table: str
    low: int | None
    high: int | None


class Stopwatch:
    """Seconds by phase; a phase entered again adds to its sum."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        elapsed = time.perf_counter() - started
        self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


def tables_of(sqlite: Path) -> list[Table]:
    with closing(sqlite3.connect(f"file:{sqlite}?mode=ro", uri=True)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
            " ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        return [_table(connection, name) for (name,) in names]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    rows = connection.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
    made = connection.execute(
        "SELECT name FROM pragma_index_list(?) WHERE origin = 'c'", (name,)
    ).fetchall()
    return Table(
        name,
        tuple(Column(column, declared) for column, declared, _ in rows),
        tuple(column for column, _, place in sorted(rows, key=lambda row: row[2]) if place),
        tuple(_indexed(connection, index) for (index,) in made),
    )


def _indexed(connection: sqlite3.Connection, index: str) -> tuple[str, ...]:
    found = connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", (index,))
    return tuple(name for (name,) in found)


def even_ranges(sqlite: Path, rows: int = RANGE_ROWS) -> list[Range]:
    """Rowid ranges of `rows` each, those of the largest tables first, ends unbounded."""
    with closing(sqlite3.connect(f"file:{sqlite}?mode=ro", uri=True)) as connection:
        last = {
            table.name: connection.execute(
                f"SELECT max(rowid) FROM {quoted(table.name)}"
            ).fetchone()[0]
            for table in tables_of(sqlite)
        }
    ranges = []
    for table, maximum in sorted(last.items(), key=lambda item: -(item[1] or 0)):
        cuts = [None, *range(rows, maximum or 0, rows), None]
        ranges += [Range(table, low, high) for low, high in itertools.pairwise(cuts)]
    return ranges


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))
