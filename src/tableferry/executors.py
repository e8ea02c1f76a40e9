"""Where tasks run: in this process, or in worker processes started for the run.

A worker is a fresh interpreter that never imports the caller's main module, so a script needs no
main guard and a notebook works. Tasks and results travel as pickles through pipes that only the
two processes hold; no password is on a command line or in an environment.

    coordinator ── tasks ──▶ worker        one at a time, by a thread per worker
                ◀─ events, result ──
                ── its standard input ──▶  ends when the coordinator ends, however it does;
                                           the worker then ends at once
"""

from __future__ import annotations

import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tableferry.errors import LESS_MEMORY, RunFailed, TableferryError, WorkerDied
from tableferry.processes import FEW_THREADS, environment_without_secrets, take_role

P = ParamSpec("P")
T = TypeVar("T")

# Of glibc, in bytes (mallopt(3)); others pass it over. A worker takes and frees the same arrays for
# every batch: given back to the system each time, their pages cost a twelfth of its processor time.
# And with Arrow's from the same place, one array takes what another kind of array has left: a tenth
# less memory, and 4 % less processor time.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}
# What a worker's libraries are told, where the user has not told them otherwise.
_ENVIRONMENT = _MEMORY | FEW_THREADS

EventSink = Callable[[Any], None]

_PACKAGE_ROOT = str(Path(__file__).resolve().parents[1])
_MAIN = "import sys; sys.path.append(sys.argv[1]); from tableferry import executors; " + (
    "executors.serve(int(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4])), sys.argv[5:])"
)


def _ignore(_: Any) -> None:
    pass


_sink: EventSink = _ignore


def emit(event: Any) -> None:
    """Tells the coordinator of progress, from within a task. Events are small and picklable."""
    _sink(event)


@dataclass(frozen=True, slots=True)
class Stint:
    """Which worker was at a task, from 1, and from when to when: seconds of time.perf_counter."""

    worker: int
    began: float
    ended: float


class TimedFuture(Future[T]):
    """One that knows, when it is done, who was at its task and when; None where nobody was."""

    stint: Stint | None = None


class InlineExecutor(Executor):
    """Runs each task where it is submitted, before submit returns."""

    def __init__(self, on_event: EventSink = _ignore) -> None:
        self._on_event = on_event

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        global _sink
        future: TimedFuture[T] = TimedFuture()
        future.set_running_or_notify_cancel()
        _sink = self._on_event
        began = time.perf_counter()
        try:
            future.set_result(fn(*args, **kwargs))
        except TableferryError as error:
            future.set_exception(error)
        except Exception as error:  # noqa: BLE001 - it belongs to the future, whatever it is
            future.set_exception(_foreign(error))
        finally:
            _sink = _ignore
        future.stint = Stint(1, began, time.perf_counter())
        return future


class ProcessExecutor(Executor):
    """A fixed number of worker processes. When one dies, every unfinished task fails with
    WorkerDied and the others are ended: what they were doing is unknown to the run."""

    def __init__(
        self, workers: int, on_event: EventSink = _ignore, *, preload: Sequence[str] = ()
    ) -> None:
        """``preload`` names modules that workers import before their first task."""
        self._on_event = on_event
        self._tasks: queue.SimpleQueue[tuple[TimedFuture[Any], bytes] | None] = queue.SimpleQueue()
        self._broken: WorkerDied | None = None
        self._closing = False
        self._cancelled = False
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        try:
            for number in range(1, workers + 1):
                self._workers.append(_Worker(number, preload))
        except BaseException:
            self._kill()
            raise
        self._threads = [
            threading.Thread(target=self._serve, args=(number, worker), daemon=True)
            for number, worker in enumerate(self._workers, 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        return len(self._workers)

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(worker.process.pid for worker in self._workers)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: TimedFuture[T] = TimedFuture()
        with self._lock:
            if self._broken is not None:
                future.set_exception(self._broken)
            elif self._closing:
                raise RuntimeError("submit after shutdown")
            else:
                self._tasks.put((future, pickle.dumps((fn, args, kwargs))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers: after their tasks, or at once where ``cancel_futures`` is set."""
        with self._lock:
            self._closing = True
            self._cancelled = cancel_futures
        if cancel_futures:
            self._drain(None)
            self._kill()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
            # All are told before one is waited for: each takes its time to end.
            for worker in self._workers:
                worker.dismiss()
            for worker in self._workers:
                worker.process.wait()

    def _serve(self, number: int, worker: _Worker) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            if not future.set_running_or_notify_cancel():
                continue
            began = time.perf_counter()
            try:
                result = worker.run(task, self._on_event)
            except (EOFError, OSError):
                self._break(worker, future)
                return
            except Exception as error:  # noqa: BLE001 - it belongs to the future
                # Before the result, which whoever waits for it sees at once.
                future.stint = Stint(number, began, time.perf_counter())
                future.set_exception(error)
            else:
                future.stint = Stint(number, began, time.perf_counter())
                future.set_result(result)

    def _break(self, worker: _Worker, future: Future[Any]) -> None:
        worker.process.wait()
        with self._lock:
            if self._broken is None:
                # The others are about to be ended for this one's sake: only it has a story.
                ending = f"A worker process {_ending(worker.process.returncode)}."
                self._broken = WorkerDied(
                    "The run was ended." if self._cancelled else ending,
                    hint=f"If it ran out of memory: {LESS_MEMORY}",
                )
            error = self._broken
        self._kill()
        self._drain(error)
        future.set_exception(error)

    def _drain(self, error: Exception | None) -> None:
        while True:
            try:
                item = self._tasks.get_nowait()
            except queue.Empty:
                return
            if item is None:
                continue
            if error is None:
                item[0].cancel()
            elif item[0].set_running_or_notify_cancel():
                item[0].set_exception(error)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()


def _foreign(error: Exception) -> RunFailed:
    """An error that no task should raise: a failed run, and never an exit code that means more."""
    if isinstance(error, MemoryError):
        return WorkerDied("There is no memory left for what was read.", hint=LESS_MEMORY)
    return RunFailed(f"{type(error).__name__}: {error}")


_CAUSES = {
    int(signal.SIGKILL): " (out of memory, perhaps)",
    # What is mapped into memory and cannot be had: see mmap(2).
    int(signal.SIGBUS): " (a file that it read was cut meanwhile, or its disk fails)",
}


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}{_CAUSES.get(-code, '')}"
    return f"ended with exit code {code}"


class _Worker:
    """One worker process and the coordinator's ends of its pipes."""

    def __init__(self, number: int, preload: Sequence[str]) -> None:
        their_tasks, our_tasks = os.pipe()
        our_answers, their_answers = os.pipe()
        try:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _MAIN,
                    _PACKAGE_ROOT,
                    str(number),
                    str(their_tasks),
                    str(their_answers),
                    *preload,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                env=_ENVIRONMENT | environment_without_secrets(os.environ),
                pass_fds=(their_tasks, their_answers),
            )
        except BaseException:
            os.close(our_tasks)
            os.close(our_answers)
            raise
        finally:
            os.close(their_tasks)
            os.close(their_answers)
        self._tasks = Connection(our_tasks, readable=False)
        self._answers = Connection(our_answers, writable=False)

    def run(self, task: bytes, on_event: EventSink) -> Any:
        """Runs one pickled task. Raises what it raised, or EOFError where the worker died."""
        self._tasks.send_bytes(task)
        while True:
            kind, value = self._answers.recv()
            if kind == "event":
                on_event(value)
            elif kind == "error":
                raise value
            else:
                return value

    def dismiss(self) -> None:
        self._tasks.close()
        self._answers.close()
        assert self.process.stdin is not None
        self.process.stdin.close()


def serve(number: int, pipes: tuple[int, int], preload: Sequence[str]) -> None:
    """The life of a worker process: takes tasks until the pipe ends. ``pipes``: the descriptors of
    tasks and answers."""
    global _sink
    take_role(f"worker {number}")
    # Ctrl-C reaches the whole process group; what becomes of the workers is the coordinator's.
    # Blocked, since ADBC would take it for itself during a call, ignored or not.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    threading.Thread(target=_end_with_coordinator, daemon=True).start()
    tasks = Connection(pipes[0], writable=False)
    answers = Connection(pipes[1], readable=False)
    for module in preload:
        importlib.import_module(module)

    def send(answer: tuple[str, Any]) -> None:
        try:
            answers.send(answer)
        except OSError:
            # Nobody is left to hear it. The thread that waits for that may come second.
            os._exit(1)

    def send_event(event: Any) -> None:
        send(("event", event))

    _sink = send_event
    while True:
        try:
            fn, args, kwargs = pickle.loads(tasks.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            answer = ("result", fn(*args, **kwargs))
        except TableferryError as error:
            answer = ("error", error)
        except Exception as error:  # noqa: BLE001 - foreign errors may not survive pickling
            answer = ("error", _foreign(error))
        send(answer)


def _end_with_coordinator() -> None:
    # Not sys.stdin: a thread blocked in its buffer would trouble the interpreter's own end.
    os.read(0, 1)
    os._exit(1)
