"""Discrete events over processors that are shared fairly: pure, no clock, no file.

A process is a generator of steps. Between two events every computation goes on at a constant rate:
a machine's cores are shared by the threads that want one (what a fair scheduler does over times
longer than its slices), no thread gets more than one core, and what writes the server's log is held
back where all of it together would be more than the log takes. So an event is the end of a
computation or of a delay, and nothing is drawn at random: one model gives one prediction.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict, deque
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

# Less than this many seconds of computation is none: sums of floats do not end at zero.
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Compute:
    """Processor seconds at a place, by at most ``width`` threads at once. ``log_bytes`` go to the
    server's log meanwhile, evenly."""

    place: str
    seconds: float
    width: float = 1.0
    log_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Delay:
    """Time that passes for this process alone, such as a round trip; seconds."""

    seconds: float


@dataclass(eq=False)
class Event:
    """Happens once; processes wait for it."""

    happened: bool = False
    _waiting: list[_Process] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Await:
    event: Event


Step: TypeAlias = Compute | Delay | Await
Steps: TypeAlias = Generator[Step, None, None]


@dataclass(eq=False)
class _Process:
    steps: Steps
    ended: Event


@dataclass(eq=False)
class _Running:
    process: _Process
    step: Compute
    left: float
    rate: float = 0.0


class Engine:
    """``machines`` names the machine of each place, ``cores`` how many each machine has,
    ``log_bandwidth`` is in bytes a second."""

    def __init__(
        self,
        machines: Mapping[str, str],
        cores: Mapping[str, float],
        log_bandwidth: float = math.inf,
    ) -> None:
        self.now = 0.0
        # Core seconds used at each place.
        self.used: dict[str, float] = defaultdict(float)
        self._machines, self._cores = machines, cores
        self._log_bandwidth = log_bandwidth
        self._ready: deque[_Process] = deque()
        self._running: list[_Running] = []
        self._delayed: list[tuple[float, int, _Process]] = []
        self._numbers = itertools.count()

    def start(self, steps: Steps) -> Event:
        """Answers the event of its end."""
        process = _Process(steps, Event())
        self._ready.append(process)
        return process.ended

    def trigger(self, event: Event) -> None:
        event.happened = True
        self._ready.extend(event._waiting)
        event._waiting.clear()

    def run(self) -> float:
        """Until nothing is left to happen; answers the time. Raises RuntimeError where a process
        waits for what never happens."""
        begun: set[_Process] = set()
        while True:
            while self._ready:
                process = self._ready.popleft()
                begun.add(process)
                self._resume(process)
                if process.ended.happened:
                    begun.discard(process)
            if not self._running and not self._delayed:
                break
            self._share()
            self._advance()
        if begun:
            raise RuntimeError(f"{len(begun)} processes wait for what never happens")
        return self.now

    def _resume(self, process: _Process) -> None:
        try:
            step = next(process.steps)
        except StopIteration:
            self.trigger(process.ended)
            return
        match step:
            case Compute(seconds=seconds) if seconds > _NOTHING:
                self._running.append(_Running(process, step, seconds))
            case Delay(seconds=seconds) if seconds > 0:
                entry = (self.now + seconds, next(self._numbers), process)
                heapq.heappush(self._delayed, entry)
            case Await(event=event) if not event.happened:
                event._waiting.append(process)
            case _:
                self._ready.append(process)

    def _share(self) -> None:
        """What each computation gets: cores, and a share of the log's bandwidth."""
        by_machine: dict[str, list[_Running]] = defaultdict(list)
        for running in self._running:
            by_machine[self._machines[running.step.place]].append(running)
        for machine, here in by_machine.items():
            _share_cores(here, self._cores[machine])
        logging = [r for r in self._running if r.step.log_bytes]
        wanted = sum(r.rate * r.step.log_bytes / r.step.seconds for r in logging)
        if wanted <= self._log_bandwidth:
            return
        for running in logging:
            running.rate *= self._log_bandwidth / wanted
        # The cores that those who wait for the log leave are for the others.
        for machine, here in by_machine.items():
            held = sum(r.rate for r in here if r.step.log_bytes)
            others = [r for r in here if not r.step.log_bytes]
            _share_cores(others, self._cores[machine] - held)

    def _advance(self) -> None:
        step = min((r.left / r.rate for r in self._running), default=math.inf)
        if self._delayed:
            step = min(step, self._delayed[0][0] - self.now)
        step = max(step, 0.0)
        self.now += step
        still = []
        for running in self._running:
            done = running.rate * step
            self.used[running.step.place] += done
            running.left -= done
            if running.left > _NOTHING:
                still.append(running)
            else:
                self._ready.append(running.process)
        self._running = still
        while self._delayed and self._delayed[0][0] <= self.now + _NOTHING:
            self._ready.append(heapq.heappop(self._delayed)[2])


def _share_cores(running: list[_Running], cores: float) -> None:
    threads = sum(r.step.width for r in running)
    part = min(1.0, cores / threads) if threads else 0.0
    for r in running:
        r.rate = r.step.width * part


def pipeline(
    engine: Engine,
    first: Compute,
    second: Compute,
    cycles: int,
    overlap: float,
    phase: float = 1.0,
) -> Steps:
    """What one makes and another takes, batch by batch, with little room between them.

    ``first`` and ``second`` are the work of all cycles. Of each cycle's ``second``, a part runs
    while the next cycle's ``first`` does: ``overlap`` (0 to 1) of the shorter of the two. During
    the rest the first waits, since what it sends no longer fits between them. ``phase``: which part
    of a cycle the first one is, where the rest of it comes last. Pipelines with one phase would
    want the same cores at the same moments for good, since nothing here happens by chance.
    """
    parts = [phase, *[1.0] * (cycles - 1), *([1.0 - phase] if phase < 1.0 else [])]
    behind: Event | None = None
    for part in parts:
        make, take = _part(first, part / cycles), _part(second, part / cycles)
        beside = overlap * min(make.seconds, take.seconds)
        late = beside / take.seconds if take.seconds else 0.0
        yield make
        if behind is not None:
            yield Await(behind)
        yield _part(take, 1 - late)
        behind = engine.start(_alone(_part(take, late)))
    if behind is not None:
        yield Await(behind)


def _part(whole: Compute, part: float) -> Compute:
    return Compute(whole.place, whole.seconds * part, whole.width, whole.log_bytes * part)


def _alone(step: Step) -> Steps:
    yield step
