"""A whole run, SQLite to PostgreSQL or back, over the engine: pure.

The order of jobs is the product's own: `SimulatedJobs` is `tableferry.jobs.Jobs` with another
clock, so its queue is the real one. What follows what repeats loading.py: ranges of all tables are
copied, the source's rows are counted, keys are built one after the other, indexes side by side,
ranges are read back, and whoever has nothing else to do takes statistics of a table that has its
indexes. Into SQLite, ranges are written apart and gathered where there are several workers, and
jobs that write or read the file keep out of each other's way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from perf.simulation_costs import (
    MOST_COUNTING,
    MOST_SORTING,
    WORKERS_A_HELPER,
    Costs,
    Flow,
    Statement,
    TableCosts,
    cycles_of,
    helpers_of,
)
from perf.simulation_engine import Await, Compute, Delay, Engine, Event, Steps, pipeline

from tableferry.jobs import Access, Jobs, Urgency

CLIENT, SERVER = "client", "server"
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a run takes place. ``cores`` of the client's machine and, ``apart``, as many of the
    server's; else both share them. ``latency`` is the time of a round trip in seconds. ``widths``
    are the threads that a worker, the server's side of a job, and a statement may have."""

    cores: float
    workers: int
    latency: float = 0.0
    apart: bool = False
    # By a Unix socket, or by TCP.
    tcp: bool = False
    widths: tuple[float, float, float] = (1.0, 1.0, 1.0)
    server_cores: float | None = None
    # How many times as many ranges as the product cuts.
    finer: float = 1.0
    # As the product could do it, and does not.
    read_back_beside_keys: bool = False
    many_writers: bool = False
    # Processes of the server for an index at most, beside its own; as the product has it, if None.
    helpers: int | None = None

    @property
    def there(self) -> float:
        """Cores of the server's machine."""
        return self.cores if self.server_cores is None else self.server_cores

    @property
    def sorting(self) -> int:
        """Helpers that an index may have."""
        wanted = self.workers // WORKERS_A_HELPER if self.helpers is None else self.helpers
        return min(MOST_SORTING, wanted)


@dataclass
class _Worker:
    ready: Event
    warm: bool = False
    reads: bool = False


class SimulatedJobs(Jobs):
    """The product's queue. A job's task makes its steps for a worker; ``then`` may leave work for
    the coordinator, which does one thing at a time."""

    def __init__(self, engine: Engine, workers: list[_Worker], between: float, latency: float):
        # A job's argument says what it does to a target that takes one writer.
        super().__init__(_NoExecutor(), len(workers), lambda access: access)
        self._engine, self._between, self._latency = engine, between, latency
        self._idle = deque(workers)
        self._over: deque[tuple[_Worker, Future[Any]]] = deque()
        self._news = Event()
        self.trips = 0.0

    def steps(self) -> Steps:
        """Jobs.run, in simulated time."""
        while self._waiting or self._running:
            while len(self._running) < self.at_once and (job := self._next()) is not None:
                future: Future[Any] = Future()
                self._running[future] = job
                self._engine.start(self._worked(self._idle.popleft(), job, future))
            if not self._over:
                yield Await(self._news)
            self._news = Event()
            while self._over:
                worker, future = self._over.popleft()
                job = self._running.pop(future)
                self._idle.append(worker)
                yield Compute(CLIENT, self._between)
                self.trips = 0.0
                job.then(None)
                yield Delay(self.trips * self._latency)

    def _worked(self, worker: _Worker, job: Any, future: Future[Any]) -> Steps:
        yield Await(worker.ready)
        yield from job.task(worker)
        self._over.append((worker, future))
        self._engine.trigger(self._news)


class _NoExecutor(Executor):
    pass


class _Run:
    def __init__(self, costs: Costs, setting: Setting) -> None:
        self._costs, self._setting = costs, setting
        machines = {CLIENT: "client", SERVER: "server" if setting.apart else "client"}
        cores = {"client": setting.cores, "server": setting.there}
        self.engine = Engine(machines, cores, costs.log_bandwidth)
        self._workers = [_Worker(Event()) for _ in range(setting.workers)]
        self._jobs = SimulatedJobs(self.engine, self._workers, costs.fixed.between, setting.latency)
        self.phases: dict[str, float] = {}
        self._flows = 0
        # As loading.py: one that writes alone writes where it belongs.
        self._apart = costs.to_sqlite and setting.workers > 1

    def story(self) -> Steps:
        fixed, trips, latency = self._costs.fixed, self._costs.trips, self._setting.latency
        yield Compute(CLIENT, fixed.begin)
        yield Delay(trips.begin * latency)
        for worker in self._workers:
            yield Compute(CLIENT, fixed.spawn)
            self.engine.start(self._loaded(worker))
        yield Compute(CLIENT, fixed.prepare)
        yield Delay(trips.prepare * latency)
        self._mark("prepared")
        for table in self._costs.tables:
            self._copy(table)
        yield from self._jobs.steps()
        yield Compute(CLIENT, fixed.finish)
        yield Delay(trips.finish * latency)
        self._mark("finished")
        ends = [self.engine.start(_alone(Compute(CLIENT, fixed.retire))) for _ in self._workers]
        for end in ends:
            yield Await(end)
        self._mark("ended")

    def _mark(self, name: str) -> None:
        self.phases[name] = self.engine.now

    def _loaded(self, worker: _Worker) -> Steps:
        yield Compute(CLIENT, self._costs.fixed.load)
        self.engine.trigger(worker.ready)

    def _add(
        self,
        table: TableCosts,
        task: Callable[[_Worker], Steps],
        urgency: Urgency,
        then: Callable[[], None] = lambda: None,
        *,
        access: Access = Access.NONE,
    ) -> None:
        """``access`` to the target, which matters where that is a SQLite file."""
        alone = self._costs.to_sqlite and not self._setting.many_writers
        argument = access if alone else Access.NONE
        self._jobs.add(task, argument, lambda _: then(), urgency=urgency, size=int(table.size))

    # A table's states, as loading.py has them

    def _copy(self, table: TableCosts) -> None:
        back = self._costs.to_sqlite
        ranges = self._finer(table.ranges_of_postgresql if back else table.ranges_of_sqlite)
        left = [ranges]

        def arrived() -> None:
            left[0] -= 1
            if not left[0]:
                self._mark("copied")
                task = partial(self._counted, table)
                self._add(table, task, Urgency.KEYS, lambda: self._key(table, 0))

        def copied() -> None:
            if not self._apart:
                arrived()
                return
            task = partial(self._gathered, table.gather / ranges)
            self._add(table, task, Urgency.COPY, arrived, access=Access.WRITE)

        access = Access.WRITE if back and not self._apart else Access.NONE
        for _ in range(ranges):
            task = partial(self._copied, table, ranges)
            self._add(table, task, Urgency.COPY, copied, access=access)

    def _key(self, table: TableCosts, number: int) -> None:
        beside = self._setting.read_back_beside_keys
        if beside and number == 0:
            self._read_back(table)
        if number < len(table.keys):
            task = partial(self._built, table, table.keys[number])
            then = partial(self._key, table, number + 1)
            self._add(table, task, Urgency.KEYS, then, access=Access.WRITE)
            return
        self._mark("keys")
        left = [len(table.indexes)]

        def indexed() -> None:
            left[0] -= 1
            if not left[0]:
                self._gather_statistics(table)

        for index in table.indexes:
            task = partial(self._built, table, index)
            self._add(table, task, Urgency.INDEX, indexed, access=Access.WRITE)
        if not table.indexes:
            self._gather_statistics(table)
        if not beside:
            self._read_back(table)

    def _gather_statistics(self, table: TableCosts) -> None:
        task = partial(self._analyzed, table)
        self._add(table, task, Urgency.FINISH, access=Access.WRITE)

    def _read_back(self, table: TableCosts) -> None:
        self._jobs.trips += self._costs.trips.read_back
        back = self._costs.to_sqlite
        ranges = self._finer(table.ranges_of_sqlite if back else table.ranges_of_postgresql)
        for _ in range(ranges):
            task = partial(self._verified, table, ranges)
            read = partial(self._mark, "read back")
            self._add(table, task, Urgency.DIGEST, read, access=Access.READ)
        self._add(table, partial(self._counted_back, table), Urgency.DIGEST, access=Access.READ)

    def _finer(self, ranges: int) -> int:
        return max(ranges, int(ranges * self._setting.finer))

    # What a worker does

    def _trips(self, number: float) -> Delay:
        return Delay(number * self._setting.latency)

    def _opened(self, worker: _Worker, *, reading: bool = False) -> Steps:
        if reading and not worker.reads:
            worker.reads = True
            yield self._trips(self._costs.trips.open_reading)
        if not worker.warm:
            worker.warm = True
            warm = self._costs.fixed.warm
            yield Compute(CLIENT, warm.client)
            yield Compute(SERVER, warm.server)
            yield self._trips(self._costs.trips.open_loading)

    def _copied(self, table: TableCosts, ranges: int, worker: _Worker) -> Steps:
        yield from self._opened(worker)
        yield self._trips(self._costs.trips.copy)
        flow = table.copy
        if self._costs.to_sqlite and not self._apart:
            flow = table.straight or replace(flow, client=flow.client + table.gather)
        order = (SERVER, CLIENT) if self._costs.to_sqlite else (CLIENT, SERVER)
        yield from self._flow(flow, ranges, order)

    def _gathered(self, seconds: float, _: _Worker) -> Steps:
        yield Compute(CLIENT, seconds, self._setting.widths[0])

    def _verified(self, table: TableCosts, ranges: int, worker: _Worker) -> Steps:
        yield from self._opened(worker, reading=True)
        yield self._trips(self._costs.trips.verify)
        yield from self._flow(table.verify, ranges, (SERVER, CLIENT))

    def _flow(self, flow: Flow, ranges: int, order: tuple[str, str]) -> Steps:
        client, server, _ = self._setting.widths
        log = flow.log_bytes / ranges
        work = {
            CLIENT: Compute(CLIENT, flow.client / ranges, client),
            SERVER: Compute(SERVER, flow.server / ranges, server, log),
        }
        cycles = cycles_of(flow.bytes / ranges)
        overlap = flow.overlap
        if self._setting.tcp and (far := self._costs.by_tcp) is not None:
            overlap = far.copy if order[0] == CLIENT else far.verify
        self.engine.start(_alone(Compute(SERVER, flow.own / ranges)))
        first, second = (work[place] for place in order)
        yield from pipeline(self.engine, first, second, cycles, overlap, self._phase())

    def _phase(self) -> float:
        """Spread evenly, and never the same twice: multiples of the golden ratio."""
        self._flows += 1
        return 1.0 - self._flows * _GOLDEN % 1.0

    def _counted(self, table: TableCosts, _: _Worker) -> Steps:
        if self._costs.to_sqlite:
            yield self._trips(self._costs.trips.count)
            yield Compute(SERVER, table.count, 1 + helpers_of(table.pages, MOST_COUNTING))
        else:
            yield Compute(CLIENT, table.count, self._setting.widths[0])

    def _counted_back(self, table: TableCosts, worker: _Worker) -> Steps:
        yield from self._opened(worker, reading=True)
        if not self._costs.to_sqlite:
            yield self._trips(self._costs.trips.count)
        yield from self._served(table.target_count, helpers_of(table.pages, MOST_COUNTING))

    def _built(self, table: TableCosts, statement: Statement, worker: _Worker) -> Steps:
        yield from self._opened(worker)
        yield self._trips(self._costs.trips.statement)
        yield from self._served(statement, helpers_of(table.pages, self._setting.sorting))

    def _analyzed(self, table: TableCosts, worker: _Worker) -> Steps:
        yield from self._opened(worker)
        yield self._trips(self._costs.trips.statistics)
        yield from self._served(table.statistics, 0)

    def _served(self, statement: Statement, helpers: int) -> Steps:
        width = self._setting.widths[2]
        log = statement.log_bytes
        place = CLIENT if self._costs.to_sqlite else SERVER
        if not helpers and statement.by_one is not None:
            yield Compute(place, statement.by_one, width, log)
            return
        if statement.alone:
            yield Compute(place, statement.alone, width, log)
        yield Compute(place, statement.shared, max(width, 1.0 + helpers))


def _alone(step: Compute) -> Steps:
    yield step


@dataclass(frozen=True, slots=True)
class Prediction:
    """``seconds`` of the whole run; ``phases``: when each was over; ``used``: core seconds by
    place."""

    seconds: float
    phases: dict[str, float]
    used: dict[str, float]


def predict(costs: Costs, setting: Setting) -> Prediction:
    run = _Run(costs, setting)
    run.engine.start(run.story())
    seconds = run.engine.run()
    return Prediction(seconds, run.phases, dict(run.engine.used))
