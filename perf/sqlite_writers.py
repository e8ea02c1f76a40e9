"""Two ways to fill one SQLite file from several readers, timed in turn:

    python -m perf.sqlite_writers --scale 1 --pairs 3 --workers 2

parts: workers read PostgreSQL and fill files of their own, each of which is then gathered into the
table by SQLite's transfer optimisation, as the product does it. pipe: readers send record batches
as Arrow IPC to one process, which alone inserts. Neither verifies anything or builds a key; one
table, lineitem. "serial" is the time in which only one process can work, however many there are:
it bounds both designs on a machine with many processors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from perf import tpch_data
from perf.paired import ROOT, add_arguments, emit, product_command, setup
from perf.servers import running
from perf.sqlite_file import DATA_FOLDER

from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.casts import Offers
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Batch, Endpoint
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.storing import stored
from tableferry.dialects.sqlite.target import SqliteTarget, parts_folder
from tableferry.model import Range, TablePlan, ranges_at
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan

TABLE = "lineitem"
PAGE_BYTES = 8192
# Enough ranges for every reader, at any scale.
RANGE_PAGES = 2048


@dataclass(frozen=True, slots=True)
class Work:
    source: Endpoint
    target: Endpoint
    plan: TablePlan
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Took:
    total: float
    serial: float


def _work(url: str, file: Path) -> Work:
    source, target = Endpoint(PostgresServer(url, schema="public")), Endpoint(SqliteFile(file))
    dialects = dialect_of(source), dialect_of(target)
    with closing(dialects[0].open(source)) as session:
        everything = session.inspect()
        tables = tuple(t for t in everything.tables if t.name.name == TABLE)
        schema = replace(everything, tables=tables, views=())
        plan = make_plan(
            schema, Offers(*dialects), Destination(dialects[1], "main"), Known()
        ).tables[0]
    pages = plan.source.size // PAGE_BYTES
    return Work(source, target, plan, ranges_at(range(RANGE_PAGES, pages, RANGE_PAGES)))


def _create(work: Work) -> None:
    with closing(dialect_of(work.target).open_target(work.target)) as session:
        session.execute(*dialect_of(work.target).statements.create_table(work.plan.target))
        session.commit()


def _read(work: Work, part: Range) -> Iterator[Batch]:
    with closing(dialect_of(work.source).open(work.source)) as session:
        yield from session.read(work.plan.pair.source, part)


def _write_part(job: tuple[Work, Range]) -> str:
    work, part = job
    target = work.plan.pair.target
    with closing(SqliteTarget(work.target)) as session:
        return session.write_apart(target.table, target.columns, _read(work, part))


def _gather(job: tuple[Work, str]) -> float:
    work, place = job
    target = work.plan.pair.target
    began = time.process_time()
    with closing(SqliteTarget(work.target)) as session, session.gathering(place):
        session.gather(target.table, target.columns)
        session.commit()
    return time.process_time() - began


def parts(work: Work, workers: int) -> Took:
    _create(work)
    began = time.perf_counter()
    serial = 0.0
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_write_part, (work, part)) for part in work.ranges]
        # One at a time gathers, on the next worker that is free.
        for future in waiting:
            serial += pool.submit(_gather, (work, future.result())).result()
    parts_folder(_path(work)).rmdir()
    return Took(time.perf_counter() - began, serial)


def _path(work: Work) -> Path:
    assert isinstance(work.target.address, SqliteFile)
    return work.target.address.path


def _send(work: Work, ranges: Any, end: Any) -> None:
    """A reader's life: ranges from a queue, record batches into a pipe."""
    columns = work.plan.pair.target.columns
    with os.fdopen(os.dup(end.fileno()), "wb") as pipe:
        writer = None
        while (part := ranges.get()) is not None:
            for batch in _read(work, part):
                arrays = [
                    stored(array, column).arrays[0]
                    for array, column in zip(batch.columns, columns, strict=True)
                ]
                data = pa.record_batch(arrays, names=[c.column.name for c in columns])
                writer = writer or pa.ipc.new_stream(pipe, data.schema)
                writer.write_batch(data)
        if writer is not None:
            writer.close()


def pipe(work: Work, workers: int) -> Took:
    _create(work)
    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    ranges = context.Queue()
    for part in (*work.ranges, *[None] * workers):
        ranges.put(part)
    ends = [context.Pipe(duplex=False) for _ in range(workers)]
    readers = [context.Process(target=_send, args=(work, ranges, theirs)) for _, theirs in ends]
    for reader in readers:
        reader.start()
    for _, theirs in ends:
        theirs.close()
    serial = _insert_all(work, [ours for ours, _ in ends])
    for reader in readers:
        reader.join()
    return Took(time.perf_counter() - began, serial)


def _insert_all(work: Work, ends: list[Any]) -> float:
    began = time.process_time()
    connection = sqlite.open_writer(_path(work))
    streams = [pa.ipc.open_stream(os.fdopen(os.dup(end.fileno()), "rb")) for end in ends]
    with connection.cursor() as cursor:
        sqlite.run(connection, "BEGIN IMMEDIATE")
        while streams:
            for stream in list(streams):
                batch = next(stream, None)
                if batch is None:
                    streams.remove(stream)
                else:
                    cursor.adbc_ingest(TABLE, batch, mode="append")
        sqlite.run(connection, "COMMIT")
    connection.close()
    return time.process_time() - began


DESIGNS: dict[str, Callable[[Work, int], Took]] = {"parts": parts, "pipe": pipe}


def main() -> None:
    parser = argparse.ArgumentParser(description="Two ways to fill one SQLite file.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=2)
    add_arguments(parser)
    options = parser.parse_args()
    source = tpch_data.build(options.scale, options.folder).resolve()
    with running(options.server) as server, tempfile.TemporaryDirectory(dir=options.folder) as out:
        url = server.fresh_database()
        command = [*product_command(source, url), "--tables", TABLE]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        emit("setup", setup(server, source))
        took: dict[str, list[Took]] = {name: [] for name in DESIGNS}
        for number in range(1 - options.warmups, options.pairs + 1):
            for name, design in DESIGNS.items():
                file = Path(out, f"{name}{number}.sqlite")
                result = design(_work(url, file), options.workers)
                file.unlink()
                if number > 0:
                    took[name].append(result)
                    emit("run", {"design": name, "total": result.total, "serial": result.serial})
    for measure in ("total", "serial"):
        medians = {
            name: statistics.median(getattr(each, measure) for each in results)
            for name, results in took.items()
        }
        ratio = medians["parts"] / medians["pipe"]
        emit("ratio", {"measure": measure, "parts / pipe": ratio} | medians)


if __name__ == "__main__":
    main()
