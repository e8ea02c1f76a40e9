"""What the product is measured against, each in a process of its own.

    python -m perf.rivals duckdb_same_work FILE.sqlite postgresql://…
    python -m perf.rivals pgloader         FILE.sqlite postgresql://…
    python -m perf.rivals duckdb_to_sqlite NEW.sqlite  postgresql://…   (from a filled database)
    python -m perf.rivals bare_loop        FILE.sqlite postgresql://… --workers 2
    python -m perf.rivals bare_read        FILE.sqlite postgresql://…   (after a copy)
    python -m perf.rivals bare_read_plain  FILE.sqlite postgresql://…   (after a copy)

Each prints one JSON object: the seconds of its phases, and details. The target database has to be
empty, and only bare_read and bare_read_plain need it filled.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import math
import multiprocessing
import re
import sqlite3
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import adbc_driver_sqlite.dbapi
import pyarrow as pa
import pyarrow.compute as pc

# The bare loop is the yardstick of the copy phase. Whoever changes what it does raises this, and
# figures of two revisions are not compared.
BARE_LOOP_REVISION = 1
BARE_READS = ("bare_read", "bare_read_plain")
BATCH_ROWS = 65_536
RANGE_ROWS = 500_000
WORKERS = 2


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


# --- the source, as the rivals see it ------------------------------------------------------------


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
                f"SELECT max(rowid) FROM {_quoted(table.name)}"
            ).fetchone()[0]
            for table in tables_of(sqlite)
        }
    ranges = []
    for table, maximum in sorted(last.items(), key=lambda item: -(item[1] or 0)):
        cuts = [None, *range(rows, maximum or 0, rows), None]
        ranges += [Range(table, low, high) for low, high in itertools.pairwise(cuts)]
    return ranges


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(_quoted, names))


# --- DuckDB --------------------------------------------------------------------------------------


def duckdb_same_work(sqlite: Path, url: str) -> Result:
    """DuckDB doing what the product does: copy, keys and indexes, hashes of both sides.

    Decimals travel as double, its own choice for an SQLite source.
    """
    watch = Stopwatch()
    with watch.phase("start"):
        connection = _duckdb(sqlite, url)
        tables = tables_of(sqlite)
    with watch.phase("copy"):
        for table in tables:
            name = _quoted(table.name)
            connection.execute(f"CREATE TABLE pg.{name} AS SELECT * FROM lite.{name}")
    with watch.phase("keys"):
        for table in tables:
            for statement in _key_statements(table):
                connection.execute("CALL postgres_execute('pg', ?)", [statement])
    with watch.phase("hash"):
        differing = [
            table.name
            for table in tables
            if _duckdb_hash(connection, "lite", table) != _duckdb_hash(connection, "pg", table)
        ]
    return Result("duckdb_same_work", watch.seconds, {"tables_differing": differing})


def _duckdb(sqlite: Path, url: str, *, writable: bool = False) -> Any:
    # Imported here: the other rivals should not pay for them.
    import duckdb
    from duckdb_extensions import import_extension

    connection = duckdb.connect()
    for extension in ("sqlite_scanner", "postgres_scanner"):
        import_extension(extension, con=connection)
        connection.execute(f"LOAD {extension}")
    mode = "" if writable else ", READ_ONLY"
    connection.execute(f"ATTACH '{sqlite}' AS lite (TYPE sqlite{mode})")
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres)")
    return connection


def _key_statements(table: Table) -> list[str]:
    name = _quoted(table.name)
    statements = [f"CREATE INDEX ON {name} ({_listed(columns)})" for columns in table.indexes]
    if table.key:
        statements.append(f"ALTER TABLE {name} ADD PRIMARY KEY ({_listed(table.key)})")
    return statements


def _duckdb_hash(connection: Any, side: str, table: Table) -> Any:
    return connection.execute(
        f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM {side}.{_quoted(table.name)}"
    ).fetchone()


def duckdb_to_sqlite(sqlite: Path, url: str) -> Result:
    """The same work the other way: tables into a new SQLite file, keys as unique indexes there,
    hashes of both sides. What SQLite has no type for, DuckDB turns into one of its own choice."""
    watch = Stopwatch()
    with watch.phase("start"):
        connection = _duckdb(sqlite, url, writable=True)
        tables = _postgres_tables(connection)
    with watch.phase("copy"):
        for table in tables:
            name = _quoted(table.name)
            connection.execute(f"CREATE TABLE lite.{name} AS SELECT * FROM pg.{name}")
    with watch.phase("keys"):
        # The one way in which it takes an index for an attached file.
        connection.execute("USE lite")
        for table in tables:
            if table.key:
                index, listed = _quoted(table.name + "_key"), _listed(table.key)
                connection.execute(
                    f"CREATE UNIQUE INDEX {index} ON {_quoted(table.name)} ({listed})"
                )
    with watch.phase("hash"):
        differing = [
            table.name for table in tables if not _duckdb_hashes_equal(connection, table.name)
        ]
    connection.close()
    return Result("duckdb_to_sqlite", watch.seconds, {"tables_differing": differing})


def _duckdb_hashes_equal(connection: Any, table: str) -> bool:
    """Per column, both sides as what they became in SQLite."""
    name = _quoted(table)
    columns = connection.execute(f"DESCRIBE lite.{name}").fetchall()
    own = ", ".join(f"bit_xor(hash({_quoted(c)}))" for c, *_ in columns)
    cast = ", ".join(f"bit_xor(hash(CAST({_quoted(c)} AS {t})))" for c, t, *_ in columns)
    mine = connection.execute(f"SELECT count(*), {own} FROM lite.{name}").fetchone()
    theirs = connection.execute(f"SELECT count(*), {cast} FROM pg.{name}").fetchone()
    return bool(mine == theirs)


def _postgres_tables(connection: Any) -> list[Table]:
    found = connection.execute(
        "SELECT * FROM postgres_query('pg', $$SELECT c.relname::text AS name, "
        "coalesce((SELECT string_agg(a.attname, ',' ORDER BY x.i) FROM pg_constraint k "
        "CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY x(n, i) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.n "
        "WHERE k.conrelid = c.oid AND k.contype = 'p'), '') AS key "
        "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
        "ORDER BY 1$$)"
    ).fetchall()
    return [Table(name, (), tuple(filter(None, key.split(","))), ()) for name, key in found]


# --- pgloader ------------------------------------------------------------------------------------


def pgloader(sqlite: Path, url: str) -> Result:
    """pgloader with its default options; nothing is verified."""
    watch = Stopwatch()
    command = ["pgloader", f"sqlite://{sqlite}", _pgloader_url(url)]
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
    source = adbc_driver_sqlite.dbapi.connect(f"file:{sqlite}?mode=ro")
    with source.cursor() as cursor:
        cursor.execute(f"PRAGMA mmap_size = {sqlite.stat().st_size}")
        cursor.fetchall()
    target = adbc_driver_postgresql.dbapi.connect(url)
    with target.cursor() as cursor:
        for statement in session:
            cursor.execute(statement)
    target.commit()
    _connections = _Connections(source, target)
    ready.wait()


def _copy_range(job: tuple[Table, Range]) -> int:
    assert _connections
    table, piece = job
    with _connections.sqlite.cursor() as source, _connections.postgresql.cursor() as target:
        source.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        source.execute(_range_query(table, piece))
        reader = source.fetch_record_batch()
        rows: int = target.adbc_ingest(table.name, _converted(table, reader), mode="append")
    _connections.postgresql.commit()
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
    columns = _listed([column.name for column in table.columns])
    return f"SELECT {columns} FROM {_quoted(table.name)}{where}"


def _block_queries(
    url: str, tables: Sequence[Table], ranges: Sequence[Range], *, plain: bool
) -> Iterator[str]:
    """As many ctid ranges of each PostgreSQL table as it has ranges in SQLite."""
    connection = adbc_driver_postgresql.dbapi.connect(url)
    with connection, connection.cursor() as cursor:
        for table in tables:
            name = _quoted(table.name)
            cursor.execute(f"SELECT pg_relation_size('{name}') / 8192")
            blocks = cursor.fetchone()[0]
            pieces = max(1, sum(piece.table == table.name for piece in ranges))
            step = math.ceil((blocks + 1) / pieces)
            columns = ", ".join(
                _quoted(column.name) + ("::text" if _decimal(column.declared) and not plain else "")
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
            columns = ", ".join(
                f"{_quoted(column.name)} {_target_type(column.declared)}"
                for column in table.columns
            )
            cursor.execute(f"CREATE TABLE {_quoted(table.name)} ({columns})")
        connection.commit()


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    whole = {
        "duckdb_same_work": duckdb_same_work,
        "duckdb_to_sqlite": duckdb_to_sqlite,
        "pgloader": pgloader,
    }
    parser.add_argument("rival", choices=[*whole, "bare_loop", *BARE_READS])
    parser.add_argument("sqlite", type=Path)
    parser.add_argument("url")
    parser.add_argument("--workers", type=int, default=WORKERS, help="of the bare loops")
    parser.add_argument("--range-rows", type=int, default=RANGE_ROWS, help="rows of a range")
    parser.add_argument(
        "--session", action="append", default=[], metavar="SQL", help="for bare_loop's connections"
    )
    options = parser.parse_args()
    sqlite = options.sqlite.resolve()
    if options.rival in whole:
        print(json.dumps(asdict(whole[options.rival](sqlite, options.url))))
        return
    ranges = even_ranges(sqlite, options.range_rows)
    if options.rival == "bare_loop":
        result = bare_loop(sqlite, options.url, ranges, options.workers, options.session)
    else:
        plain = options.rival == "bare_read_plain"
        result = bare_read(sqlite, options.url, ranges, options.workers, plain=plain)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
