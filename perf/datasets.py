"""The SQLite files of perf.cases by name, and how many rows either side holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
from perf import narrow_data, shapes, tpch_data
from perf.cases import TPCH
from perf.rival_source import quoted, tables_of


def data_file(name: str, folder: Path, chinook: Path) -> Path | None:
    """The file of that name, made where it has to be; None where it cannot."""
    scales = {data: scale for scale, data in TPCH.items()}
    if name in scales:
        return tpch_data.build(scales[name], folder).resolve()
    if name == "narrow":
        return narrow_data.build(folder).resolve()
    if name == "chinook":
        return chinook.resolve() if chinook.exists() else None
    return shapes.build(name, folder).resolve()


def rows_of_file(file: Path) -> int:
    names = [table.name for table in tables_of(file)]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
            for name in names
        ]
    return sum(counts)


def rows_of_database(url: str) -> int:
    """Of all tables that are not the server's own: a rival may make a schema of the file's name."""
    query = (
        "SELECT format('SELECT count(*) FROM %s', c.oid::regclass) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
        "AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    )
    with psycopg.connect(url) as connection:
        counts = [
            row[0]
            for (count,) in connection.execute(query).fetchall()
            for row in connection.execute(count.encode()).fetchall()
        ]
    return sum(counts)
