"""SQLite files as Python's own library sees them, each value with its storage class."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from tests.system.support import Run, sqlite_url, with_report

# A storage class and the bytes of the value.
Cell: TypeAlias = tuple[str, bytes]


def between(source: Path, target: Path, *flags: str) -> Run:
    """Migrates, or with --verify verifies, from one SQLite file to another."""
    return with_report("--from", sqlite_url(source), "--to", sqlite_url(target), *flags)


def carried(source: Path, target: Path, *flags: str) -> Run:
    """As between, where the run has to end verified and to leave an ordinary database."""
    run = between(source, target, *flags)
    assert run.code == 0, run.err
    require_ordinary(target)
    return run


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def stored(path: Path, table: str) -> Counter[tuple[Cell, ...]]:
    """The rows of a table: of each value the storage class and all of its bytes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        info = connection.execute(
            "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", (table,)
        )
        names = [quoted(name.decode()) for (name,) in info]
        cells = ", ".join(f"typeof(t.{name}), t.{name}" for name in names)
        rows = connection.execute(f"SELECT {cells} FROM {quoted(table)} AS t").fetchall()
    return Counter(
        tuple(_cell(*pair) for pair in zip(row[0::2], row[1::2], strict=True)) for row in rows
    )


def _cell(name: bytes, value: Any) -> Cell:
    match value:
        case None:
            return "null", b""
        case int():
            return name.decode(), str(value).encode()
        case float():
            return name.decode(), struct.pack(">d", value)
    return name.decode(), value


def asked(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement; what was written is committed."""
    with closing(sqlite3.connect(path)) as connection:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def definition(path: Path, name: str) -> str:
    """The SQL of a table, index, view or trigger."""
    ((sql,),) = asked(path, f"SELECT sql FROM sqlite_schema WHERE name = '{name}'")
    return str(sql)


def tables(path: Path) -> list[str]:
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    return sorted(name for (name,) in asked(path, query))


def require_ordinary(path: Path) -> None:
    """No trace of a run: a sound database of the usual settings, and nothing beside it."""
    beside = {other.name for other in path.parent.iterdir() if other.name.startswith(path.name)}
    assert beside == {path.name}
    assert asked(path, "PRAGMA integrity_check") == [("ok",)]
    assert asked(path, "PRAGMA journal_mode") == [("delete",)]
    assert asked(path, "SELECT name FROM sqlite_schema WHERE name LIKE '%tableferry%'") == []
