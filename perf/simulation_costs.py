"""What the jobs of one measured run cost, table by table: pure, from the probe's records.

Costs are processor seconds of the client (a worker) and of the server, for whole tables. How far
the two work at the same time follows from what a job took by the clock while nothing else ran.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# Tasks of the product that the probe watches, by their names in tableferry.tasks.
KINDS = (
    "copy_range",
    "gather_range",
    "digest_range",
    "count_rows",
    "run_statements",
    "find_rows",
)

# How the product cuts tables, which dialects/*/session.py decide: bytes of a SQLite table to a
# range, pages of a PostgreSQL table to one, and bytes to a batch of either.
SOURCE_RANGE_BYTES = 24 << 20
TARGET_RANGE_PAGES = 4_096
BATCH_BYTES = 8 << 20
PAGE_BYTES = 8_192
_FEWEST_CYCLES, _MOST_CYCLES = 3, 12
# Helpers that PostgreSQL gives to a count at most, as it comes (max_parallel_workers_per_gather),
# and to an index: a process needs 32 MB of the maintenance_work_mem that the product sets, 256 MB.
MOST_COUNTING, MOST_SORTING = 2, 7
# Pages of a table from which on it has a helper (min_parallel_table_scan_size).
_HELPED_PAGES = 1_024
# Workers of the product for each helper that it lets an index have: loading._WORKERS_A_HELPER.
WORKERS_A_HELPER = 4


@dataclass(frozen=True, slots=True)
class Flow:
    """A table's rows on their way between a worker and the server, all ranges together: seconds of
    either, which part of the shorter one (0 to 1) the two work at once, bytes as Arrow has them and
    as the server's log does, and what the server's own processes did meanwhile."""

    client: float
    server: float
    overlap: float = 0.0
    bytes: float = 0.0
    log_bytes: float = 0.0
    own: float = 0.0


@dataclass(frozen=True, slots=True)
class Statement:
    """The server's work for one statement: ``alone`` by one process, ``shared`` by as many as it
    puts to it; ``by_one``: what it takes without helpers, where that is not the same work."""

    alone: float
    shared: float = 0.0
    log_bytes: float = 0.0
    by_one: float | None = None


@dataclass(frozen=True, slots=True)
class TableCosts:
    """``size`` is what the table takes in SQLite, in bytes, or what its values do where the file is
    yet to be written."""

    name: str
    rows: float
    size: float
    copy: Flow
    count: float
    keys: tuple[Statement, ...]
    verify: Flow
    target_count: Statement
    statistics: Statement
    indexes: tuple[Statement, ...] = ()
    # In PostgreSQL, whichever side it is.
    pages: float = 0.0
    # Bringing what was written apart into a SQLite file; the client's seconds.
    gather: float = 0.0
    # The copy of a worker that writes into a SQLite file alone, and nothing apart.
    straight: Flow | None = None

    @property
    def ranges_of_sqlite(self) -> int:
        return max(1, int(self.size // SOURCE_RANGE_BYTES))

    @property
    def ranges_of_postgresql(self) -> int:
        last = int(self.pages) - TARGET_RANGE_PAGES // 2
        bounds = range(TARGET_RANGE_PAGES, last, TARGET_RANGE_PAGES)
        return 1 + len(bounds)

    def times(self, factor: float) -> TableCosts:
        """The same table with so many times the rows. Building a key grows a little faster than
        its rows, which is left out; statistics are of a sample."""
        return replace(
            self,
            rows=self.rows * factor,
            size=self.size * factor,
            copy=_flow_times(self.copy, factor),
            count=self.count * factor,
            keys=tuple(_statement_times(key, factor) for key in self.keys),
            indexes=tuple(_statement_times(index, factor) for index in self.indexes),
            verify=_flow_times(self.verify, factor),
            target_count=_statement_times(self.target_count, factor),
            pages=self.pages * factor,
            gather=self.gather * factor,
            straight=None if self.straight is None else _flow_times(self.straight, factor),
        )


def _flow_times(flow: Flow, factor: float) -> Flow:
    return Flow(
        flow.client * factor,
        flow.server * factor,
        flow.overlap,
        flow.bytes * factor,
        flow.log_bytes * factor,
        flow.own * factor,
    )


def _statement_times(statement: Statement, factor: float) -> Statement:
    return Statement(
        statement.alone * factor,
        statement.shared * factor,
        statement.log_bytes * factor,
        None if statement.by_one is None else statement.by_one * factor,
    )


def helpers_of(pages: float, most: int) -> int:
    """Processes that PostgreSQL has help with reading a table of so many pages: one more each time
    that the table is three times as large (compute_parallel_worker; PostgreSQL documentation,
    min_parallel_table_scan_size)."""
    helpers = 0
    while helpers < most and pages >= _HELPED_PAGES * 3**helpers:
        helpers += 1
    return helpers


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a run costs whatever it carries: seconds of the coordinator (``begin`` up to where it
    starts workers, ``prepare`` up to the first job, ``between`` two jobs, ``finish`` after the
    last), and of a worker (``spawn`` is the coordinator's time for each, ``load`` and ``retire``
    the worker's own start and end, ``warm`` what its first copy takes more than another)."""

    begin: float
    spawn: float
    load: float
    prepare: float
    between: float
    warm: Flow
    finish: float
    retire: float


@dataclass(frozen=True, slots=True)
class Trips:
    """Round trips to the server: of a worker for its sessions and for each job (``statement`` makes
    a key or an index), and of the coordinator before it starts workers, before the first job, for
    each table that is read back, and after."""

    open_loading: float = 0.0
    open_reading: float = 0.0
    copy: float = 0.0
    statement: float = 0.0
    verify: float = 0.0
    count: float = 0.0
    begin: float = 0.0
    prepare: float = 0.0
    read_back: float = 0.0
    finish: float = 0.0
    statistics: float = 0.0


@dataclass(frozen=True, slots=True)
class Overlaps:
    """What a worker and its session do at once where they are connected by TCP, which has room for
    megabytes under way; a Unix socket has room for a fifth of one, and they take turns."""

    copy: float
    verify: float


@dataclass(frozen=True, slots=True)
class Costs:
    """``log_bandwidth`` is in bytes a second. ``to_sqlite``: the server is the source."""

    tables: tuple[TableCosts, ...]
    fixed: Fixed
    trips: Trips = field(default_factory=Trips)
    by_tcp: Overlaps | None = None
    to_sqlite: bool = False
    log_bandwidth: float = float("inf")

    def times(self, factor: float) -> Costs:
        return replace(self, tables=tuple(table.times(factor) for table in self.tables))


Record = Mapping[str, Any]


def cycles_of(size: float) -> int:
    """In how many batches a job of so many bytes is looked at. Few at least, since drivers begin to
    work before a batch is whole, and few at most: more give no other figures."""
    return min(_MOST_CYCLES, max(_FEWEST_CYCLES, round(size / BATCH_BYTES)))


def overlaps_of(jobs: Sequence[Record]) -> Overlaps:
    """Of a run by TCP: of the table that is copied first, without the job that warms the worker
    up."""
    first = next(job for job in jobs if job["job"] == "copy_range")
    largest = [job for job in jobs if _table(job) == _table(first)]
    copies = [job for job in largest if job["job"] == "copy_range"]
    digests = [job for job in largest if job["job"] == "digest_range"]
    return Overlaps(flow_of(copies[1:] or copies).overlap, flow_of(digests).overlap)


def flow_of(records: Sequence[Record]) -> Flow:
    """Of jobs of which one ran at a time."""
    return Flow(
        _sum(records, "client"),
        _sum(records, "sessions"),
        _overlap(records),
        _sum(records, "bytes"),
        _sum(records, "log"),
        _sum(records, "own"),
    )


def _overlap(records: Sequence[Record]) -> float:
    """What is over of the seconds of both is what they did at once. Of the half of the jobs that
    waited least for a core: while one waits, the other may work."""
    least = sorted(records, key=lambda record: float(record["queued"]))[: -(-len(records) // 2)]
    client, server = _sum(least, "client"), _sum(least, "sessions")
    seconds = sum(r["ended"] - r["began"] - r["queued"] for r in least)
    # Nothing runs beside what the last batch is taken in.
    cycles = cycles_of(_sum(least, "bytes") / max(1, len(least)))
    beside = min(client, server) * (1 - 1 / cycles)
    overlap = (client + server - seconds) / beside if beside else 0.0
    return min(1.0, max(0.0, overlap))


def statement_of(record: Record, helpers: int = 0) -> Statement:
    """Of one that the server gave so many helpers: its own process did as much as each of them of
    what they shared."""
    spent = record["sessions"]
    shared = min(spent, record["helpers"] * (1 + 1 / helpers)) if helpers else 0.0
    return Statement(spent - shared, shared, record["log"])


def with_helpers(
    tables: Iterable[TableCosts], jobs: Sequence[Record], helpers: int
) -> tuple[TableCosts, ...]:
    """The tables with what their keys and indexes cost in another run, where each had helpers."""

    def helped(
        table: TableCosts, plain: tuple[Statement, ...], kind: bool
    ) -> tuple[Statement, ...]:
        built = [
            job
            for job in jobs
            if job["job"] == "run_statements"
            and _table(job) == table.name
            and (job["makes"].startswith("index") if kind else not _after_keys(job))
        ]
        number = helpers_of(table.pages, helpers)
        if not number:
            return plain
        found = (statement_of(one, number) for one in built)
        return tuple(
            replace(new, by_one=old.alone + old.shared)
            for new, old in zip(found, plain, strict=True)
        )

    return tuple(
        replace(
            table,
            keys=helped(table, table.keys, kind=False),
            indexes=helped(table, table.indexes, kind=True),
        )
        for table in tables
    )


def with_straight(tables: Iterable[TableCosts], jobs: Sequence[Record]) -> tuple[TableCosts, ...]:
    """The tables with what another run took to copy them, where nothing was written apart."""
    warm = warm_up(jobs)
    first = next(job for job in jobs if job["job"] == "copy_range")
    found = []
    for table in tables:
        copies = [j for j in jobs if j["job"] == "copy_range" and _table(j) == table.name]
        flow = replace(flow_of(copies), log_bytes=0.0)
        if copies[0] is first:
            flow = replace(flow, client=flow.client - warm.client)
        found.append(replace(table, straight=flow))
    return tuple(found)


def _sum(records: Iterable[Record], key: str) -> float:
    return float(sum(record[key] for record in records))


def table_costs_to_sqlite(
    jobs: Sequence[Record], pages: Mapping[str, float], warm: Flow
) -> tuple[TableCosts, ...]:
    """As table_costs, of a run whose ranges were written apart. ``pages`` of tables in
    PostgreSQL."""
    found = []
    for name, number in pages.items():
        short = name.rpartition(".")[2]
        mine = [job for job in jobs if _table(job) == short]
        copies = [job for job in mine if job["job"] == "copy_range"]
        copy = flow_of(copies)
        if copies[0] is next(job for job in jobs if job["job"] == "copy_range"):
            copy = replace(copy, client=copy.client - warm.client)
        counts = [job for job in mine if job["job"] == "count_rows"]
        built = [job for job in mine if job["job"] == "run_statements"]

        def made(*starts: str, built: Sequence[Record] = built) -> tuple[Statement, ...]:
            return tuple(Statement(b["client"]) for b in built if b["makes"].startswith(starts))

        found.append(
            TableCosts(
                short,
                _sum(copies, "rows"),
                copy.bytes,
                replace(copy, log_bytes=0.0),
                _sum([c for c in counts if not _of_sqlite(c)], "sessions"),
                made("primary key", "unique"),
                flow_of([job for job in mine if job["job"] == "digest_range"]),
                Statement(_sum([c for c in counts if _of_sqlite(c)], "client")),
                made("statistics")[0],
                made("index"),
                pages=number,
                gather=_sum([job for job in mine if job["job"] == "gather_range"], "client"),
            )
        )
    return tuple(found)


def table_costs(
    jobs: Sequence[Record], sizes: Mapping[str, float], warm: Flow
) -> tuple[TableCosts, ...]:
    """``jobs`` in the order they ran in; ``sizes`` of tables in bytes, by their names in the
    source, in the order of the plan. The first copy is freed of what warmed the worker up."""
    found = []
    first = next(job for job in jobs if job["job"] == "copy_range")
    for name, size in sizes.items():
        short = name.rpartition(".")[2]
        mine = [job for job in jobs if _table(job) == short]
        copies = [job for job in mine if job["job"] == "copy_range"]
        cold = [job for job in copies if job is first]
        copy = flow_of([job for job in copies if job is not first] or copies)
        if cold and len(copies) > 1:
            rows = _sum(copies, "rows")
            copy = _flow_times(copy, rows / (rows - cold[0]["rows"]))
        elif cold:
            copy = replace(copy, client=copy.client - warm.client, server=copy.server - warm.server)
        counts = [job for job in mine if job["job"] == "count_rows"]
        built = [job for job in mine if job["job"] == "run_statements"]
        pages = _pages(copy, [job for job in mine if job["job"] == "digest_range"])
        found.append(
            TableCosts(
                short,
                _sum(copies, "rows"),
                size,
                copy,
                _sum([c for c in counts if _of_sqlite(c)], "client"),
                tuple(statement_of(b) for b in built if not _after_keys(b)),
                flow_of([job for job in mine if job["job"] == "digest_range"]),
                statement_of(
                    next(c for c in counts if not _of_sqlite(c)), helpers_of(pages, MOST_COUNTING)
                ),
                statement_of(next(b for b in built if b["makes"] == "statistics")),
                tuple(statement_of(b) for b in built if b["makes"].startswith("index")),
                pages,
            )
        )
    return tuple(found)


def _pages(copy: Flow, digests: Sequence[Record]) -> float:
    """How many pages the rows take: as all ranges but the last have as many as the rule says, or
    a sixth more than their log."""
    if len(digests) < 2:
        return copy.log_bytes * 7 / 6 / PAGE_BYTES
    # The last one to be started is the last of the table.
    full = _sum(digests[:-1], "rows") / (len(digests) - 1)
    return _sum(digests, "rows") / full * TARGET_RANGE_PAGES


def _table(job: Record) -> str:
    named = job["table"] or str(job["what"]).removeprefix("table ")
    return str(named).rpartition(".")[2]


def _of_sqlite(count: Record) -> bool:
    return str(count["side"]).startswith("SQLite")


def _after_keys(built: Record) -> bool:
    return str(built["makes"]).startswith(("index", "foreign key", "statistics"))


def warm_up(jobs: Sequence[Record]) -> Flow:
    """What the first copy took more than the others of its table would, row for row."""
    copies = [job for job in jobs if job["job"] == "copy_range"]
    first, *others = [c for c in copies if _table(c) == _table(copies[0])]
    if not others:
        return Flow(0.0, 0.0)

    def more(key: str) -> float:
        usual = statistics.median(c[key] / c["rows"] for c in others)
        return float(max(0.0, first[key] - usual * first["rows"]))

    return Flow(more("client"), more("sessions"))


def fixed_of(
    marks: Sequence[Record], ready: Record, outside: float, between: float, warm: Flow
) -> Fixed:
    """``marks`` are the coordinator's. ``outside`` are a run's seconds before and after those that
    its report counts, and ``between`` those from one job to the next, without the probe."""
    at: dict[str, float] = {}
    for mark in marks:
        at.setdefault(mark["mark"], mark["at"])
    last = max(mark["at"] for mark in marks if mark["mark"] == "ran")
    return Fixed(
        begin=outside + at["start workers"] - at["clock"],
        spawn=at["workers started"] - at["start workers"],
        load=ready["cpu"],
        prepare=at["run"] - at["workers started"],
        between=between,
        warm=warm,
        finish=at["shut down"] - last,
        retire=at["were shut down"] - at["shut down"],
    )


def median_records(rounds: Sequence[Sequence[Record]]) -> list[Record]:
    """Of the same records of several runs: numbers are their medians, and a job's times keep its
    length. Raises ValueError where the runs had different records."""
    found: list[Record] = []
    for same in zip(*rounds, strict=True):
        record = dict(same[0])
        for key in ("client", "sessions", "helpers", "own", "queued", "log", "cpu"):
            if key in record:
                record[key] = statistics.median(r[key] for r in same)
        if "ended" in record:
            length = statistics.median(r["ended"] - r["began"] for r in same)
            record["ended"] = record["began"] + length
        found.append(record)
    return found


def least_marks(rounds: Sequence[Sequence[Record]]) -> list[Record]:
    """The coordinator's marks, each at its least time after the mark before it: these are times of
    the clock, which others who use the machine can only lengthen."""
    found: list[Record] = []
    at = 0.0
    for number, same in enumerate(zip(*rounds, strict=True)):
        if number:
            before = [marks[number - 1]["at"] for marks in rounds]
            at += min(r["at"] - b for r, b in zip(same, before, strict=True))
        found.append(dict(same[0]) | {"at": at})
    return found


def trips_of(
    jobs: Sequence[Record], marks: Sequence[Record], turns: Sequence[tuple[float, int]]
) -> Trips:
    """``turns`` are the moments at which a client spoke again after an answer. Those of a job are
    its own; the first job of each kind of session has those that open it besides."""
    times = sorted(at for at, _ in turns)
    within = [sum(job["began"] <= at < job["ended"] for at in times) for job in jobs]

    def usual(name: str, made: bool = True) -> float:
        counts = [
            n
            for n, job in zip(within, jobs, strict=True)
            if job["job"] == name and not _of_sqlite(job) and made == (job["makes"] != "statistics")
        ]
        return float(statistics.median(counts)) if counts else 0.0

    def first(name: str) -> float:
        return float(next(n for n, j in zip(within, jobs, strict=True) if j["job"] == name))

    runs = [mark["at"] for mark in marks if mark["mark"] == "run"]
    ends = [mark["at"] for mark in marks if mark["mark"] == "ran"]
    started = next(mark["at"] for mark in marks if mark["mark"] == "start workers")
    begin = sum(at < started for at in times)
    before = sum(started <= at < runs[0] for at in times)
    after = sum(at >= ends[0] for at in times) - sum(
        n for n, job in zip(within, jobs, strict=True) if job["began"] >= ends[0]
    )
    inside = sum(runs[0] <= at < ends[0] for at in times) - sum(
        n for n, job in zip(within, jobs, strict=True) if job["began"] < ends[0]
    )
    tables = len({_table(job) for job in jobs if job["job"] == "copy_range"})
    return Trips(
        open_loading=first("copy_range") - usual("copy_range"),
        open_reading=max(0.0, first("digest_range") - usual("digest_range")),
        copy=usual("copy_range"),
        statement=usual("run_statements"),
        verify=usual("digest_range"),
        count=usual("count_rows"),
        begin=float(begin),
        prepare=float(before),
        read_back=inside / tables,
        finish=float(after),
        statistics=usual("run_statements", made=False),
    )
