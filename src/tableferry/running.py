"""What a migration and a verification have in common: executors, clocks, and both ends' checks."""

from __future__ import annotations

import datetime
import importlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from tableferry.addresses import SqliteFile
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, Session
from tableferry.errors import Refused, TableferryError
from tableferry.events import Observer, SpanEnds, StepBegins, unheard
from tableferry.executors import InlineExecutor, ProcessExecutor, Stint, TimedFuture
from tableferry.jobs import Jobs
from tableferry.model import Schema
from tableferry.outcomes import Span, TableOutcome
from tableferry.spans import work
from tableferry.tasks import access, close_sessions

# Below this a run is over before worker processes would have started.
_SMALL_BYTES = 4 << 20


def new_run() -> str:
    """A name for a run, by which its lines in a log and its sessions on a server are found."""
    return secrets.token_hex(3)


def default_workers() -> int:
    """As many as processors this process may use: each worker keeps one busy, and its server
    session another now and then."""
    return max(1, len(os.sched_getaffinity(0)))


@contextmanager
def started_executor(
    size: int, workers: int, observe: Observer, target: Endpoint | None = None
) -> Iterator[Executor]:
    """Worker processes, or this process where ``size``, in bytes, is small. Started before there
    is work, so that drivers are imported meanwhile, with what loads rows into ``target``; ended at
    once where none comes."""
    preload = ["tableferry.tasks"]
    if target is not None:
        preload += dialect_of(target).loader_modules
    if size <= _SMALL_BYTES:
        importing = threading.Thread(target=lambda: [*map(importlib.import_module, preload)])
        importing.start()
        try:
            yield InlineExecutor(observe)
        finally:
            importing.join()
        return
    executor = ProcessExecutor(workers, observe, preload=preload)
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def jobs_over(
    executor: Executor, clock: Clock, target: Endpoint | None = None, *, writing: bool = False
) -> Iterator[Jobs]:
    """Jobs over the executor, whose sessions are closed when they are done. On an error the
    workers are ended at once, and their server sessions with them. The clock keeps who did what
    when. ``writing``: jobs write to ``target``, where there is one."""
    at_once = executor.workers if isinstance(executor, ProcessExecutor) else 1

    def record(argument: Any, future: Future[Any], about: str) -> None:
        if target is not None and isinstance(future, TimedFuture) and future.stint is not None:
            error = future.exception()
            failed = error is not None
            done = work(argument, None if failed else future.result(), target)
            clock.keep(replace(done, table=about, failed=failed), future.stint, error)

    try:
        if writing and target is not None and dialect_of(target).one_writer:
            yield Jobs(executor, at_once, partial(access, target=target), record=record)
        else:
            yield Jobs(executor, at_once, record=record)
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    else:
        executor.shutdown()
    finally:
        close_sessions()


def require_two_files(source: Endpoint, target: Endpoint) -> None:
    """As require_two_databases, before the one could be kept from the other by a lock."""
    ends = source.address, target.address
    paths = [end.path for end in ends if isinstance(end, SqliteFile) and end.path.exists()]
    if len(paths) == len(ends) and paths[0].samefile(paths[1]):
        raise _one_database(source)


def require_two_databases(source: Session, target: Session, endpoint: Endpoint) -> None:
    if source.covers(target.identity()):
        raise _one_database(endpoint)


def _one_database(endpoint: Endpoint) -> Refused:
    return Refused(
        f"Source and target are the same database: {endpoint}.",
        hint="Name two different ones with --from and --to.",
    )


def require_tables(schema: Schema, endpoint: Endpoint) -> None:
    if not schema.tables:
        raise Refused(
            f"{endpoint} holds no tables.", hint="Check that this is the database you mean."
        )


def status_of(
    tables: tuple[TableOutcome, ...],
) -> Literal["verified", "rejected", "differences", "sampled"]:
    verdicts = {table.verdict for table in tables}
    if not verdicts <= {"verified", "sampled"}:
        return "differences"
    if "sampled" in verdicts:
        return "sampled"
    return "rejected" if any(table.rejected for table in tables) else "verified"


@dataclass
class Clock:
    """Wall time by phase, in seconds, and who did what when; ``observe`` is told of each."""

    observe: Observer = unheard
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    started: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    spans: list[Span] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        error: BaseException | None = None
        self.observe(StepBegins(name))
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            ended = time.perf_counter()
            self.seconds[name] = ended - began
            self.keep(Span(0, "run", 0, 0, name=name), Stint(0, began, ended), error)

    def keep(self, span: Span, stint: Stint, error: BaseException | None = None) -> None:
        """The span as that of whoever did it, at its time in the run."""
        began, seconds = stint.began - self.began, stint.ended - stint.began
        span = replace(span, worker=stint.worker, began=began, seconds=seconds)
        self.spans.append(span)
        self.observe(SpanEnds(span, _words(error)))

    def timeline(self) -> tuple[Span, ...]:
        return tuple(sorted(self.spans, key=lambda span: (span.began, span.worker)))

    def timings(self) -> dict[str, float]:
        return self.seconds | {"total": time.perf_counter() - self.began}


def _words(error: BaseException | None) -> str:
    if isinstance(error, TableferryError):
        return error.message
    return type(error).__name__ if error is not None else ""
