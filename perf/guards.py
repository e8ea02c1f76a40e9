"""What the guards of the typed read cost: `python -m perf.guards FILE.sqlite --server 15`.

A guard is a condition on the row that keeps out values which the fast read would be silent about.
This copies the same ranges of TPC-H's lineitem with the guards and without, in turns: read,
convert, digest and ingest by the product's own tasks, in worker processes of its own for each
side. It prints JSON lines: the setup, every pair, and the ratio of the medians with its spread.
Which side of a pair goes first alternates as well, since the second finds a busier disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from unittest import mock

from perf import tpch_data
from perf.paired import WARMUPS, emit, setup
from perf.rivals import WORKERS
from perf.servers import VERSIONS, running
from perf.sqlite_file import DATA_FOLDER

from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.casts import Offers
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, TargetSession
from tableferry.dialects.sqlite import session as sqlite_session
from tableferry.dialects.sqlite.values import Reading
from tableferry.ledger import Ledger
from tableferry.model import Plan, Range, ReadColumn, Schema, TablePlan
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan
from tableferry.resuming import creation
from tableferry.tasks import CopyRange, copy_range

TABLE = "lineitem"
SCHEMA = "public"
PAIRS = 9
# A third of lineitem at scale 1: enough for a copy of several seconds, many times over.
RANGES = 8
LIMIT = 1.1
SIDES = ("guarded", "unguarded")


@dataclass(frozen=True, slots=True)
class Copied:
    """One copy: elapsed seconds, and CPU seconds of its workers."""

    seconds: float
    cpu: float
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is copied, from where to where."""

    source: Endpoint
    target: Endpoint
    table: TablePlan
    ranges: tuple[Range, ...]

    def jobs(self) -> list[CopyRange]:
        ledger, pair = Ledger(SCHEMA), self.table.pair
        return [CopyRange(self.source, self.target, pair, part, ledger) for part in self.ranges]


def subject(sqlite: Path, url: str, ranges: int) -> Subject:
    source, target = Endpoint(SqliteFile(sqlite)), Endpoint(PostgresServer(url))
    session = dialect_of(source).open(source)
    try:
        tables = tuple(t for t in session.inspect().tables if t.name.name == TABLE)
        offers = Offers(dialect_of(source), dialect_of(target))
        plan: Plan = make_plan(
            Schema(tables), offers, Destination(dialect_of(target), SCHEMA), Known()
        )
        parts = session.ranges(plan.tables[0].source)
    finally:
        session.close()
    # The last range has no upper bound, and all are equally long.
    return Subject(source, target, plan.tables[0], parts[-ranges:])


def copy(subject: Subject, workers: ProcessPoolExecutor) -> Copied:
    """Into an empty table, as the product's copy phase does it."""
    with _target(subject.target) as session:
        ledger = Ledger(SCHEMA)
        ledger.drop(session)
        statements = dialect_of(subject.target).statements
        table = subject.table.target
        if session.inspect().table(table.name) is not None:
            session.execute(*statements.drop_tables([table.name]))
        ledger.create(session, {})
        session.execute(*creation(ledger, statements, subject.table))
        session.commit()
        session.execute("CHECKPOINT")
    started = time.perf_counter()
    parts = list(workers.map(_copy_range, subject.jobs()))
    seconds = time.perf_counter() - started
    rows, totals, cpu = zip(*parts, strict=True)
    digest = sum(totals) % 2**128
    return Copied(seconds, sum(cpu), sum(rows), f"{digest:032x}")


@contextmanager
def _target(endpoint: Endpoint) -> Iterator[TargetSession]:
    session = cast(TargetSession, dialect_of(endpoint).open(endpoint))
    try:
        yield session
    finally:
        session.close()


def _copy_range(job: CopyRange) -> tuple[int, int, float]:
    """Rows, digest and CPU seconds."""
    before = time.process_time()
    total = copy_range(job).digest.digest
    return total.rows, total.total, time.process_time() - before


def _drop_guards() -> None:
    """For a worker process: from here on it reads as if nothing could be misread."""
    guarded = sqlite_session.__dict__["reading"]

    def unguarded(column: ReadColumn) -> Reading:
        return replace(cast(Reading, guarded(column)), guard="")

    mock.patch.object(sqlite_session, "reading", unguarded).start()


def _pool(workers: int, side: str) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        _drop_guards if side == "unguarded" else None,
    )


def compare(pairs: Sequence[dict[str, Copied]]) -> dict[str, object]:
    """Ratios guarded / unguarded of elapsed and of CPU seconds."""
    result: dict[str, object] = {"limit": LIMIT}
    for measure in ("seconds", "cpu"):
        guarded, unguarded = ([getattr(pair[side], measure) for pair in pairs] for side in SIDES)
        ratios = [a / b for a, b in zip(guarded, unguarded, strict=True)]
        result[measure] = {
            "ratio_of_medians": statistics.median(guarded) / statistics.median(unguarded),
            "median_ratio_of_pairs": statistics.median(ratios),
            "ratios_of_pairs": [min(ratios), max(ratios)],
            "guarded": [min(guarded), statistics.median(guarded), max(guarded)],
            "unguarded": [min(unguarded), statistics.median(unguarded), max(unguarded)],
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="The guarded read against an unguarded one.")
    parser.add_argument("sqlite", type=Path, nargs="?", help="default: TPC-H at scale 1")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measured copies of each")
    parser.add_argument("--warmups", type=int, default=WARMUPS, help="unmeasured pairs before")
    parser.add_argument("--ranges", type=int, default=RANGES, help="how many ranges are copied")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")
    options = parser.parse_args()
    sqlite = (options.sqlite or tpch_data.build(1.0, DATA_FOLDER)).resolve()
    pairs: list[dict[str, Copied]] = []
    with running(options.server) as server, ExitStack() as stack:
        what = subject(sqlite, server.fresh_database(), options.ranges)
        pools = {side: stack.enter_context(_pool(options.workers, side)) for side in SIDES}
        facts = {"table": TABLE, "ranges": len(what.ranges), "workers": options.workers}
        emit("setup", setup(server, sqlite) | facts)
        for number in range(-options.warmups, options.pairs):
            order = SIDES if number % 2 else SIDES[::-1]
            pair = {side: copy(what, pools[side]) for side in order}
            if len({(copied.rows, copied.digest) for copied in pair.values()}) > 1:
                raise ValueError(f"the sides did not copy the same rows: {pair}")
            if number < 0:
                continue
            pairs.append(pair)
            for side in order:
                copied = pair[side]
                record = {"pair": number + 1, "side": side, "rows": copied.rows}
                emit("copy", record | {"seconds": copied.seconds, "cpu": copied.cpu})
    emit("ratio", compare(pairs))


if __name__ == "__main__":
    main()
