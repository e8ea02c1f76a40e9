"""TPC-H there and back, both ways: `python -m perf.round_trip --scale 1 --server 15`.

The SQLite file goes to PostgreSQL, from there to a second file, and from that to a second database:
so the second file must equal the first, and the second database the first. Python's sqlite3 and
psycopg compare them row by row in the order of the primary keys: storage classes and values here,
the text of every column there. Prints one JSON line and ends with 1 where anything differs or was
named by a report.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import psycopg
from perf import tpch_data
from perf.paired import ROOT, product_cli
from perf.servers import VERSIONS, Server, running
from perf.sqlite_file import DATA_FOLDER

_SHOWN = 5


def main() -> int:
    parser = argparse.ArgumentParser(description="TPC-H there and back, compared row by row.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--server", choices=VERSIONS, default="18")
    options = parser.parse_args()
    source = tpch_data.build(options.scale, options.folder).resolve()
    with (
        running(options.server) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        result = round_trips(source, server, Path(folder, "back.sqlite"))
    print(json.dumps({"scale": options.scale, "server": options.server} | result))
    return 0 if result["verdict"] == "identical" else 1


def round_trips(source: Path, server: Server, back: Path) -> dict[str, Any]:
    urls = [_database(server, name) for name in ("first", "second")]
    ends = [f"sqlite://{source}", urls[0], f"sqlite://{back}", urls[1]]
    legs = [_leg(*pair) for pair in pairwise(ends)]
    compared = {
        "sqlite_postgresql_sqlite": _compared(_lites(source, back)),
        "postgresql_sqlite_postgresql": _compared(_servers(*urls)),
    }
    named = [leg.pop("named") for leg in legs]
    identical = not any(named) and not any(part["differences"] for part in compared.values())
    verdict = "identical" if identical else "not identical"
    return {"verdict": verdict, **compared, "named": named, "legs": legs}


def _database(server: Server, name: str) -> str:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.url(name)


def _leg(source: str, target: str) -> dict[str, Any]:
    """One migration, which must end verified; what its report names."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        command = [*product_cli(), "database", "--yes"]
        command += ["--from", source, "--to", target, "--report", str(file)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        report = json.loads(file.read_text()) if file.exists() else {}
    if report.get("status") != "verified":
        raise RuntimeError(f"exit {done.returncode}, {report.get('status')}: {done.stderr}")
    named = [
        {table["source"]: [table["plan"]["misfits"], table["spelling_normalised"]]}
        for table in report["tables"]
        if table["plan"]["misfits"] or table["spelling_normalised"]
    ]
    rows = sum(table["rows"]["target"] for table in report["tables"])
    return {"seconds": round(seconds, 2), "rows": rows, "named": named + report["left_behind"]}


def _compared(tables: Iterable[tuple[str, Iterator[Any], Iterator[Any]]]) -> dict[str, Any]:
    """Rows of both sides in one order, and those that are not the same."""
    count, differing = 0, 0
    examples: list[list[str]] = []
    for name, mine, theirs in tables:
        for one, other in zip_longest(mine, theirs):
            count += 1
            if one != other:
                differing += 1
                if len(examples) < _SHOWN:
                    examples.append([name, repr(one)[:500], repr(other)[:500]])
    return {"rows": count, "differences": differing, "examples": examples}


def _lites(first: Path, last: Path) -> Iterator[tuple[str, Iterator[Any], Iterator[Any]]]:
    with closing(_opened(first)) as one, closing(_opened(last)) as two:
        query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        names = sorted(name for (name,) in one.execute(query))
        assert names == sorted(name for (name,) in two.execute(query)) == sorted(tpch_data.SCHEMA)
        for name in names:
            columns = [
                row[0] for row in one.execute(f"SELECT name FROM pragma_table_info('{name}')")
            ]
            cells = ", ".join(f"typeof({column}), {column}" for column in columns)
            query = f"SELECT {cells} FROM {name} ORDER BY {_key(one, name)}"
            yield name, iter(one.execute(query)), iter(two.execute(query))


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)


def _key(connection: sqlite3.Connection, table: str) -> str:
    query = f"SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"
    return ", ".join(name for (name,) in connection.execute(query))


def _servers(first: str, last: str) -> Iterator[tuple[str, Iterator[Any], Iterator[Any]]]:
    query = (
        "SELECT c.relname, array_agg(a.attname::text ORDER BY u.i) FROM pg_constraint k "
        "JOIN pg_class c ON c.oid = k.conrelid "
        "CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS u (attnum, i) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum "
        "WHERE k.contype = 'p' AND c.relnamespace = 'public'::regnamespace "
        "GROUP BY c.relname ORDER BY 1"
    )
    with psycopg.connect(first) as one, psycopg.connect(last) as two:
        keys = one.execute(query).fetchall()
        assert [name for name, _ in keys] == sorted(tpch_data.SCHEMA)
        for name, key in keys:
            statement = f"COPY (SELECT * FROM {name} ORDER BY {', '.join(key)}) TO STDOUT"
            yield name, _lines(one, statement), _lines(two, statement)


def _lines(connection: psycopg.Connection[Any], statement: str) -> Iterator[bytes]:
    """One line a row, in which every value stands as its text."""
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        yield from map(bytes, copy)


if __name__ == "__main__":
    sys.exit(main())
