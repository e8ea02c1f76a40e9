"""What single steps of the product take by themselves, each in one process:

    python -m perf.rates NAME FILE.sqlite postgresql://… OUT.sqlite

read-sqlite         all tables of the file, as kinds: read, guarded and converted.
read-postgresql     all tables of the database, which holds what the file does.
ingest-postgresql   the first rows of the largest table, which lie in memory, into a new table.
ingest-sqlite       the same into a table of a new file.
digest              digests of rows like those of TPC-H's lineitem; see perf.digest.

Prints what a rival prints: one JSON object with seconds, and the rows in its details. The database
is left as it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from perf import digest
from perf.cases import RATES
from perf.rival_source import Result

from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.casts import Offers
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Batch, Endpoint, Session
from tableferry.model import Plan, TablePlan
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan
from tableferry.sql import quote

INGESTED_ROWS = 500_000
DIGESTED_ROWS = 1_000_000
SCRATCH = "rate_of_ingest"


@dataclass(frozen=True, slots=True)
class Route:
    """A source, and a target that may not be there yet."""

    source: Endpoint
    target: Endpoint
    schema: str

    def plan(self, session: Session) -> Plan:
        dialects = dialect_of(self.source), dialect_of(self.target)
        destination = Destination(dialects[1], self.schema)
        return make_plan(session.inspect(), Offers(*dialects), destination, Known())


def _there(file: Path, url: str) -> Route:
    target = Endpoint(PostgresServer(url, schema=SCRATCH))
    return Route(Endpoint(SqliteFile(file)), target, SCRATCH)


def _back(url: str, out: Path) -> Route:
    source = Endpoint(PostgresServer(url, schema="public"))
    return Route(source, Endpoint(SqliteFile(out)), "main")


def read(route: Route) -> tuple[float, int]:
    """Seconds and rows, as of every function here."""
    with closing(dialect_of(route.source).open(route.source)) as session:
        tables = [(table, session.ranges(table.source)) for table in route.plan(session).tables]
        started = time.perf_counter()
        rows = sum(
            batch.rows
            for table, parts in tables
            for part in parts
            for batch in session.read(table.pair.source, part)
        )
        return time.perf_counter() - started, rows


def ingest(route: Route) -> tuple[float, int]:
    table, batches = _first_rows(route)
    dialect = dialect_of(route.target)
    with closing(dialect.open_target(route.target)) as session:
        session.require_writable()
        session.execute(*dialect.statements.create_table(table.target))
        session.commit()
    with closing(dialect.open_loader(route.target)) as loader:
        loader.prepare_load()
        pair = table.pair.target
        started = time.perf_counter()
        loader.ingest(pair.table, pair.columns, iter(batches))
        loader.commit()
        seconds = time.perf_counter() - started
        if isinstance(route.target.address, PostgresServer):
            loader.execute(f"DROP SCHEMA {quote(SCRATCH)} CASCADE")
            loader.commit()
    return seconds, sum(batch.rows for batch in batches)


def _first_rows(route: Route) -> tuple[TablePlan, list[Batch]]:
    """Of the largest table, about as many as INGESTED_ROWS."""
    with closing(dialect_of(route.source).open(route.source)) as session:
        table = max(route.plan(session).tables, key=lambda table: table.source.size)
        batches: list[Batch] = []
        for batch in _rows(session, table):
            batches.append(batch)
            if sum(taken.rows for taken in batches) >= INGESTED_ROWS:
                break
    return table, batches


def _rows(session: Session, table: TablePlan) -> Iterator[Batch]:
    for part in session.ranges(table.source):
        yield from session.read(table.pair.source, part)


def digests() -> tuple[float, int]:
    sizes = range(0, DIGESTED_ROWS, digest.BATCH_ROWS)
    batches = [digest.lineitem(digest.BATCH_ROWS, seed) for seed, _ in enumerate(sizes)]
    return digest.seconds(batches), len(batches) * digest.BATCH_ROWS


def main() -> None:
    parser = argparse.ArgumentParser(description="The rate of one step.")
    parser.add_argument("rate", choices=RATES)
    parser.add_argument("sqlite", type=Path)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    there, back = _there(options.sqlite, options.url), _back(options.url, options.out)
    functions: dict[str, Callable[[], tuple[float, int]]] = {
        "read-sqlite": lambda: read(there),
        "read-postgresql": lambda: read(back),
        "ingest-postgresql": lambda: ingest(there),
        "ingest-sqlite": lambda: ingest(back),
        "digest": digests,
    }
    seconds, rows = functions[options.rate]()
    print(json.dumps(asdict(Result(options.rate, {"total": seconds}, {"rows": rows}))))


if __name__ == "__main__":
    main()
