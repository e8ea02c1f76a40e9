"""Jobs in order of urgency over an executor: at most as many at once as there are workers.

A job's outcome may add further jobs, so the stories in migration.py and verification.py say what
follows what, and this module only when.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import partial
from typing import Any, Protocol

from tableferry.retrying import ridden_out


class Urgency(IntEnum):
    """Which waiting jobs go first. All copies come before the first key, so that the largest
    table's key, which one process builds alone, has all the rest of the work beside it."""

    COPY = 0
    SURVEY = 0
    KEYS = 1
    INDEX = 2
    DIGEST = 3
    FINISH = 4


class Access(Enum):
    """What a job does to a target that one at a time can write, and none can read meanwhile."""

    NONE = 0
    READ = 1
    WRITE = 2


def _no_access(_: Any) -> Access:
    return Access.NONE


class Recorder(Protocol):
    """Is told of each job that has ended: its argument, its future, and what it was about."""

    def __call__(self, argument: Any, future: Future[Any], about: str) -> None: ...


def _not_recorded(argument: Any, future: Future[Any], about: str) -> None:
    pass


@dataclass(order=True)
class _Job:
    order: tuple[int, int, int]
    task: Callable[[Any], Any] = field(compare=False)
    argument: Any = field(compare=False)
    then: Callable[[Any], None] = field(compare=False)
    failed: Callable[[Exception], None] | None = field(compare=False)
    access: Access = field(compare=False)
    about: str = field(compare=False)


class Jobs:
    """``access`` tells what a job's argument makes of a target that takes one writer; None where
    it takes as many as come. What such a target waits for goes first: the rest has other work
    beside it."""

    def __init__(
        self,
        executor: Executor,
        at_once: int,
        access: Callable[[Any], Access] = _no_access,
        record: Recorder = _not_recorded,
    ) -> None:
        self._executor = executor
        self.at_once = at_once
        self._access = access
        self._record = record
        self._waiting: list[_Job] = []
        self._running: dict[Future[Any], _Job] = {}
        self._numbers = itertools.count()

    def add(
        self,
        task: Callable[[Any], Any],
        argument: Any,
        then: Callable[[Any], None],
        *,
        urgency: Urgency,
        size: int = 0,
        failed: Callable[[Exception], None] | None = None,
        about: str = "",
    ) -> None:
        """Queues ``task(argument)``; among equally urgent jobs the larger ``size`` goes first.

        ``then`` gets the result; ``failed`` may deal with an error, or raise it again to end all.
        ``about`` is what the job is for, such as a table, for the record.
        """
        access = self._access(argument)
        first = -1 if access is Access.WRITE else int(urgency)
        order = (first, -size, next(self._numbers))
        heapq.heappush(self._waiting, _Job(order, task, argument, then, failed, access, about))

    def withdraw(self, unwanted: Callable[[Any], bool]) -> int:
        """Drops the waiting jobs whose argument is unwanted; answers how many."""
        kept = [job for job in self._waiting if not unwanted(job.argument)]
        dropped = len(self._waiting) - len(kept)
        heapq.heapify(kept)
        self._waiting = kept
        return dropped

    def run(self) -> None:
        """Until no job is left. Raises the first error that no job deals with."""
        while self._waiting or self._running:
            while len(self._running) < self.at_once and (job := self._next()) is not None:
                task = partial(ridden_out, job.task, about=job.about)
                self._running[self._executor.submit(task, job.argument)] = job
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                job = self._running.pop(future)
                self._record(job.argument, future, job.about)
                self._conclude(job, future)

    def _next(self) -> _Job | None:
        """The most urgent waiting job that need not wait for one that is running."""
        running = {job.access for job in self._running.values()}
        passed = []
        found = None
        while self._waiting and found is None:
            job = heapq.heappop(self._waiting)
            if _must_wait(job.access, running):
                passed.append(job)
            else:
                found = job
        for job in passed:
            heapq.heappush(self._waiting, job)
        return found

    @staticmethod
    def _conclude(job: _Job, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            job.then(future.result())
        elif job.failed is not None and isinstance(error, Exception):
            job.failed(error)
        else:
            raise error


def _must_wait(access: Access, running: set[Access]) -> bool:
    match access:
        case Access.WRITE:
            return bool(running & {Access.READ, Access.WRITE})
        case Access.READ:
            return Access.WRITE in running
    return False
