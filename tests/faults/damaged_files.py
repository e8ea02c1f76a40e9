"""SQLite files to be damaged, and what Python's own sqlite3 still reads of damaged ones."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.random.values import Text

Row = tuple[Any, ...]

# Rows of the tables with short and with long rows; the page size in bytes. The first is small
# enough to be carried by the command itself, the others need workers, the last in several ranges.
SIZES = {
    "small": (900, 120, 1024),
    "medium": (24_000, 2_500, 4096),
    "large": (4_000, 54_000, 4096),
}

_SCHEMA = """
CREATE TABLE customers (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, email VARCHAR(60) UNIQUE, balance DECIMAL(10,2),
    born DATE, active BOOLEAN NOT NULL DEFAULT 1, note TEXT);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER REFERENCES customers (id),
    total REAL, placed TIMESTAMP, state TEXT CHECK (length(state) < 20));
CREATE TABLE settings (
    scope TEXT NOT NULL, key TEXT NOT NULL, value BLOB, PRIMARY KEY (scope, key)) WITHOUT ROWID;
CREATE TABLE documents (id INTEGER PRIMARY KEY, title TEXT, body TEXT NOT NULL, data BLOB);
CREATE TABLE events (kind TEXT, payload, n INTEGER);
CREATE TABLE filler (x BLOB);
CREATE INDEX customers_by_name ON customers (name, born);
CREATE INDEX orders_open ON orders (customer) WHERE state = 'open';
CREATE INDEX events_by_kind ON events (kind, n);
CREATE VIEW spent AS SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer = c.id;
"""


def build(path: Path, size: str) -> None:
    """The same bytes whenever it is called for a size."""
    short, long, page_size = SIZES[size]
    chance = random.Random(size)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("PRAGMA secure_delete = OFF")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN")
        for table, rows in _rows(chance, short, long, page_size).items():
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        # Its pages become the freelist.
        connection.execute("DELETE FROM filler")
        connection.execute("COMMIT")


def _rows(chance: random.Random, short: int, long: int, page_size: int) -> dict[str, list[Row]]:
    def word() -> str:
        return "".join(chance.choices("abcdefghijklmnopqrstuvwxyzäöüß ", k=chance.randint(3, 14)))

    def text(least: int, most: int) -> str:
        return (word() * (most // 3))[: chance.randint(least, most)]

    numbers = range(1, short + 1)
    return {
        "filler": [(bytes(page_size),) for _ in range(12)],
        "customers": [
            (
                *(i, word(), f"{word()}{i}@example.org"),
                round(chance.uniform(-1e4, 1e6), 2),
                f"{chance.randint(1930, 2010)}-{chance.randint(1, 12):02}-11",
                chance.randint(0, 1),
                chance.choice([None, text(0, 80)]),
            )
            for i in numbers
        ],
        "orders": [
            (
                *(i * 3, chance.randint(1, short), chance.uniform(0, 1e3)),
                f"2024-{chance.randint(1, 12):02}-11 {chance.randint(0, 23):02}:30:00",
                chance.choice(["open", "paid", None]),
            )
            for i in numbers
        ],
        "settings": [
            (f"scope {i % 7}", f"key {i}", chance.randbytes(chance.randint(0, 60))) for i in numbers
        ],
        "documents": [
            (
                *(i, word(), text(page_size // 8, page_size // 4)),
                # Some are longer than a page, and go on in overflow pages.
                chance.randbytes(3 * page_size if i % 40 == 0 else chance.choice([0, 20])),
            )
            for i in range(1, long + 1)
        ],
        "events": [
            (word(), chance.choice([None, 7, 2.5, "word", b"\x00\xff"]), chance.randint(0, 1 << 40))
            for _ in numbers
        ],
    }


@dataclass(frozen=True, slots=True)
class Reading:
    """What sqlite3 reads: rows by table, and why it does not read the others. ``schema``: why it
    reads nothing at all, or "". Where the file is sound, ``integrity`` is ("ok",)."""

    schema: str
    rows: Mapping[str, Counter[Row]]
    broken: Mapping[str, str]
    integrity: tuple[str, ...]

    def without(self, table: str) -> Reading:
        rows = {name: found for name, found in self.rows.items() if name != table}
        broken = {name: why for name, why in self.broken.items() if name != table}
        return replace(self, rows=rows, broken=broken)

    @property
    def whole(self) -> bool:
        return not self.schema and not self.broken


def read(path: Path) -> Reading:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        try:
            names = _tables(connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            return Reading(str(error) or type(error).__name__, {}, {}, ())
        rows: dict[str, Counter[Row]] = {}
        broken: dict[str, str] = {}
        for name in names:
            try:
                rows[name] = Counter(_stored(connection, name))
            except (sqlite3.Error, UnicodeDecodeError) as error:
                broken[name] = str(error)
        try:
            found = connection.execute("PRAGMA integrity_check(5)").fetchall()
        except sqlite3.Error as error:
            found = [(str(error).encode(),)]
        integrity = tuple(line.decode(errors="replace") for (line,) in found)
    return Reading("", rows, broken, integrity)


def _tables(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    names = [name.decode() for (name,) in connection.execute(query)]
    return sorted(name for name in names if not name.startswith("sqlite_"))


def _stored(connection: sqlite3.Connection, table: str) -> list[Row]:
    """All rows, in the order of the table's own b-tree: no index is asked."""
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"
    names = [name.decode() for (name,) in connection.execute(query, (table,))]
    cells = ", ".join(f"typeof({_quoted(name)}), {_quoted(name)}" for name in names)
    rows = connection.execute(f"SELECT {cells} FROM {_quoted(table)} NOT INDEXED")
    return [
        tuple(
            Text(value) if kind == b"text" else value
            for kind, value in zip(row[::2], row[1::2], strict=True)
        )
        for row in rows
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
