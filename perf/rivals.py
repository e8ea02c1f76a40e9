"""What the product is measured against, each in a process of its own.

    python -m perf.rivals NAME FILE.sqlite postgresql://…

To PostgreSQL, into an empty database: duckdb_same_work, pgloader, shell_recipe, bare_loop and
bare_tables. From a filled one: duckdb_to_sqlite (into a new file). Of two filled sides:
duckdb_hashes, bare_read and bare_read_plain.

Each prints one JSON object: the seconds of its phases, and details. The bare programs do with the
drivers alone what the product does with them; what each leaves out stands at its function.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import multiprocessing
import re
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import pyarrow as pa
import pyarrow.compute as pc
from perf.duckdb_rivals import duckdb_hashes, duckdb_same_work, duckdb_to_sqlite
from perf.rival_source import (
    RANGE_ROWS,
    Column,
    Range,
    Result,
    Stopwatch,
    Table,
    even_ranges,
    listed,
    quoted,
    tables_of,
)

# The bare loop is the yardstick of the copy phase. Whoever changes what it does raises this, and
# figures of two revisions are not compared.
BARE_LOOP_REVISION = 1
BARE_READS = ("bare_read", "bare_read_plain")
BATCH_ROWS = 65_536
WORKERS = 2


# --- pgloader ------------------------------------------------------------------------------------


def pgloader(sqlite: Path, url: str) -> Result:
    """pgloader with its default options but one: nothing is verified.

    With as many rows read ahead as it takes by default, Debian's package runs out of its gigabyte
    of heap at TPC-H SF1.
    """
    watch = Stopwatch()
    options = ["--with", "prefetch rows = 10000"]
    command = ["pgloader", *options, f"sqlite://{sqlite}", _pgloader_url(url)]
    with watch.phase("total"):
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    # It exits with 0 after errors too, so a short time means nothing without this line.
    summary = [line for line in run.stdout.splitlines() if "Total import time" in line]
    return Result("pgloader", watch.seconds, {"summary": summary})


def _pgloader_url(url: str) -> str:
    """libpq's `postgresql://user@/db?host=/folder&port=n` in pgloader's own spelling."""
    parts = urllib.parse.urlsplit(url)
    query = urllib.parse.parse_qs(parts.query)
    if "host" not in query:
        return url
    return f"pgsql://{parts.netloc}unix:{query['host'][0]}:{query['port'][0]}{parts.path}"


# --- the shell recipe ---------------------------------------------------------------------------


def shell_recipe(sqlite: Path, url: str) -> Result:
    """`sqlite3 -csv | psql \\copy`, table after table: no keys, nothing verified, no bytes."""
    watch = Stopwatch()
    tables = tables_of(sqlite)
    with watch.phase("start"):
        _create_tables(url, tables)
    with watch.phase("copy"):
        for table in tables:
            _pipe(sqlite, url, quoted(table.name))
    return Result("shell_recipe", watch.seconds)


def _pipe(sqlite: Path, url: str, name: str) -> None:
    """Raises CalledProcessError where either of the two fails."""
    reading = ["sqlite3", "-readonly", "-csv", str(sqlite), f"SELECT * FROM {name}"]
    writing = ["psql", "-Xq", "-v", "ON_ERROR_STOP=1", url, "-c", f"\\copy {name} FROM STDIN CSV"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as source:
        subprocess.run(writing, stdin=source.stdout, check=True)
    if source.returncode:
        raise subprocess.CalledProcessError(source.returncode, reading)


# --- the bare ADBC loop --------------------------------------------------------------------------


def bare_loop(
    sqlite: Path, url: str, ranges: Sequence[Range], workers: int, session: Sequence[str] = ()
) -> Result:
    """The shortest program over the same drivers: no keys, no check of any value.

    Spawned workers, one connection to each side for each of them, take ranges in turn; a range is
    one plain SELECT, one ingest and one COMMIT. `session` are SQL statements for the PostgreSQL
    connections. "start" ends when all workers are connected; the tables exist before it begins.
    """
    tables = {table.name: table for table in tables_of(sqlite)}
    _create_tables(url, tables.values())
    jobs = [(tables[piece.table], piece) for piece in ranges]
    watch = Stopwatch()
    rows = _in_workers(watch, "copy", workers, (sqlite, url, session), (_copy_range, jobs))
    detail = {"revision": BARE_LOOP_REVISION, "workers": workers, "ranges": len(jobs), "rows": rows}
    return Result("bare_loop", watch.seconds, detail | {"session": list(session)})


def bare_tables(sqlite: Path, url: str, session: Sequence[str] = ()) -> Result:
    """Create, copy, key and read back each table in a transaction of its own, over one connection
    a side: what many small tables cost by themselves. No value is looked at."""
    watch = Stopwatch()
    with watch.phase("start"):
        tables = tables_of(sqlite)
        connections = _opened(sqlite, url, session)
    rows = 0
    with connections.sqlite, connections.postgresql:
        for table in tables:
            name = quoted(table.name)
            with watch.phase("create"):
                _execute(connections.postgresql, _creation(table))
            with watch.phase("copy"):
                rows += _ingested(connections, table, Range(table.name, None, None))
            if table.key:
                with watch.phase("keys"):
                    key = f"ALTER TABLE {name} ADD PRIMARY KEY ({listed(table.key)})"
                    _execute(connections.postgresql, key)
            with watch.phase("read back"):
                columns = listed([column.name for column in table.columns])
                _rows_of(connections.postgresql, f"SELECT {columns} FROM {name}")
                connections.postgresql.commit()
    detail = {"revision": BARE_LOOP_REVISION, "tables": len(tables), "rows": rows}
    return Result("bare_tables", watch.seconds, detail)


def _execute(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _rows_of(connection: Any, query: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


def bare_read(
    sqlite: Path, url: str, ranges: Sequence[Range], workers: int, *, plain: bool = False
) -> Result:
    """Read every column of both sides and hash nothing: the yardstick of a verification alone.

    One statement a range, each column as an Arrow array of its own. numeric is read as text, which
    is the driver's fastest way that loses nothing; ``plain`` selects it as it is.
    """
    tables = {table.name: table for table in tables_of(sqlite)}
    jobs: list[tuple[str, str]] = [
        ("sqlite", _range_query(tables[piece.table], piece)) for piece in ranges
    ]
    queries = _block_queries(url, list(tables.values()), ranges, plain=plain)
    jobs += [("postgresql", query) for query in queries]
    watch = Stopwatch()
    rows = _in_workers(watch, "read", workers, (sqlite, url, ()), (_read, jobs))
    detail = {"revision": BARE_LOOP_REVISION, "workers": workers, "queries": len(jobs)}
    name = "bare_read_plain" if plain else "bare_read"
    return Result(name, watch.seconds, detail | {"rows_of_both_sides": rows})


def _in_workers(
    watch: Stopwatch,
    phase: str,
    workers: int,
    place: tuple[Path, str, Sequence[str]],
    work: tuple[Any, Sequence[Any]],
) -> int:
    function, jobs = work
    context = multiprocessing.get_context("spawn")  # a fork would share the drivers' sockets
    ready = context.Barrier(workers + 1)
    with watch.phase("start"):
        pool = context.Pool(workers, _connect, (*place, ready))
        ready.wait()
    with pool, watch.phase(phase):
        return sum(pool.imap_unordered(function, jobs))


@dataclass(frozen=True, slots=True)
class _Connections:
    sqlite: Any
    postgresql: Any


_connections: _Connections | None = None


def _connect(sqlite: Path, url: str, session: Sequence[str], ready: Barrier) -> None:
    global _connections
    _connections = _opened(sqlite, url, session)
    ready.wait()


def _opened(sqlite: Path, url: str, session: Sequence[str]) -> _Connections:
    source = adbc_driver_sqlite.dbapi.connect(f"file:{sqlite}?mode=ro")
    with source.cursor() as cursor:
        cursor.execute(f"PRAGMA mmap_size = {sqlite.stat().st_size}")
        cursor.fetchall()
    target = adbc_driver_postgresql.dbapi.connect(url)
    with target.cursor() as cursor:
        for statement in session:
            cursor.execute(statement)
    target.commit()
    return _Connections(source, target)


def _copy_range(job: tuple[Table, Range]) -> int:
    assert _connections
    rows = _ingested(_connections, *job)
    _connections.postgresql.commit()
    return rows


def _ingested(connections: _Connections, table: Table, piece: Range) -> int:
    with connections.sqlite.cursor() as source, connections.postgresql.cursor() as target:
        source.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        source.execute(_range_query(table, piece))
        reader = source.fetch_record_batch()
        rows: int = target.adbc_ingest(table.name, _converted(table, reader), mode="append")
    return rows


def _read(job: tuple[str, str]) -> int:
    assert _connections
    side, query = job
    with getattr(_connections, side).cursor() as cursor:
        if side == "sqlite":
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        cursor.execute(query)
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


def _range_query(table: Table, piece: Range) -> str:
    bounds = [
        f"rowid {sign} {value}"
        for sign, value in ((">=", piece.low), ("<", piece.high))
        if value is not None
    ]
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    columns = listed([column.name for column in table.columns])
    return f"SELECT {columns} FROM {quoted(table.name)}{where}"


def _block_queries(
    url: str, tables: Sequence[Table], ranges: Sequence[Range], *, plain: bool
) -> Iterator[str]:
    """As many ctid ranges of each PostgreSQL table as it has ranges in SQLite."""
    connection = adbc_driver_postgresql.dbapi.connect(url)
    with connection, connection.cursor() as cursor:
        for table in tables:
            name = quoted(table.name)
            cursor.execute(f"SELECT pg_relation_size('{name}') / 8192")
            blocks = cursor.fetchone()[0]
            pieces = max(1, sum(piece.table == table.name for piece in ranges))
            step = math.ceil((blocks + 1) / pieces)
            columns = ", ".join(
                quoted(column.name) + ("::text" if _decimal(column.declared) and not plain else "")
                for column in table.columns
            )
            for low in range(0, blocks + 1, step):
                yield (
                    f"SELECT {columns} FROM {name}"
                    f" WHERE ctid >= '({low},0)' AND ctid < '({low + step},0)'"
                )


def _create_tables(url: str, tables: Any) -> None:
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(_creation(table))
        connection.commit()


def _creation(table: Table) -> str:
    columns = ", ".join(
        f"{quoted(column.name)} {_target_type(column.declared)}" for column in table.columns
    )
    return f"CREATE TABLE {quoted(table.name)} ({columns})"


def _decimal(declared: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(?:DECIMAL|NUMERIC)\s*\((\d+)\s*,\s*(\d+)\)", declared.upper())
    return (int(found[1]), int(found[2])) if found else None


def _target_type(declared: str) -> str:
    """CHAR(n) becomes varchar(n): char(n) would pad, and so store values other than those sent."""
    upper = declared.upper()
    if precision := _decimal(declared):
        return f"numeric{precision}"
    if found := re.fullmatch(r"(?:VAR)?CHAR\s*\((\d+)\)", upper):
        return f"varchar({found[1]})"
    names = {"BIGINT": "bigint", "INTEGER": "bigint", "DATE": "date"}
    return (names | {"TEXT": "text", "REAL": "double precision"})[upper]


def _converted(table: Table, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    kinds = [
        _arrow_type(column, found)
        for column, found in zip(table.columns, reader.schema.types, strict=True)
    ]
    schema = pa.schema(list(zip(reader.schema.names, kinds, strict=True)))

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [
                _cast(column, kind) for column, kind in zip(batch.columns, kinds, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _arrow_type(column: Column, found: pa.DataType) -> pa.DataType:
    if precision := _decimal(column.declared):
        return pa.decimal128(*precision)
    return pa.date32() if column.declared.upper() == "DATE" else found


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_decimal(kind) and pa.types.is_integer(column.type):
        # A column whose decimals are all whole; Arrow wants room for any int64 on the way.
        column = pc.cast(column, pa.decimal128(19 + kind.scale, kind.scale))
    return column if column.type == kind else pc.cast(column, kind)


# --- command line --------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    packages = ("adbc-driver-postgresql", "adbc-driver-sqlite", "duckdb", "numpy", "pyarrow")
    return {name: importlib.metadata.version(name) for name in packages}


# Those that take a file and a URL, and those that take options as well.
WHOLE: dict[str, Callable[[Path, str], Result]] = {
    "duckdb_same_work": duckdb_same_work,
    "duckdb_to_sqlite": duckdb_to_sqlite,
    "duckdb_hashes": duckdb_hashes,
    "pgloader": pgloader,
    "shell_recipe": shell_recipe,
}
RIVALS = (*WHOLE, "bare_loop", "bare_tables", *BARE_READS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rival", choices=RIVALS)
    parser.add_argument("sqlite", type=Path)
    parser.add_argument("url")
    parser.add_argument("--workers", type=int, default=WORKERS, help="of the bare loops")
    parser.add_argument("--range-rows", type=int, default=RANGE_ROWS, help="rows of a range")
    parser.add_argument(
        "--session",
        action="append",
        default=[],
        metavar="SQL",
        help="for the connections of the loops",
    )
    options = parser.parse_args()
    print(json.dumps(asdict(_run(options, options.sqlite.resolve()))))


def _run(options: argparse.Namespace, sqlite: Path) -> Result:
    if options.rival in WHOLE:
        return WHOLE[options.rival](sqlite, options.url)
    if options.rival == "bare_tables":
        return bare_tables(sqlite, options.url, options.session)
    ranges = even_ranges(sqlite, options.range_rows)
    if options.rival == "bare_loop":
        return bare_loop(sqlite, options.url, ranges, options.workers, options.session)
    plain = options.rival == "bare_read_plain"
    return bare_read(sqlite, options.url, ranges, options.workers, plain=plain)


if __name__ == "__main__":
    main()
