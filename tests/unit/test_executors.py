"""Tasks in this process and in workers: results, errors, events, and how workers end.

The tasks are functions that a worker can import wherever it runs: of the standard library and of
the package itself.
"""

from __future__ import annotations

import itertools
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

from tableferry.addresses import parse_url
from tableferry.errors import RunFailed, UsageError, WorkerDied
from tableferry.executors import InlineExecutor, ProcessExecutor, Stint, TimedFuture, emit
from tableferry.processes import environment_without_secrets

SECONDS = 30.0


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessExecutor]:
    with ProcessExecutor(2) as executor:
        yield executor


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- in this process --------------------------------------------------------------------------


def test_inline_runs_here_and_at_once() -> None:
    future = InlineExecutor().submit(os.getpid)
    assert future.done()
    assert future.result() == os.getpid()


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_future_knows_who_was_at_its_task_and_when(size: int) -> None:
    seconds, tasks = 0.05, 6
    began = time.perf_counter()
    with ProcessExecutor(size) if size else InlineExecutor() as executor:
        futures = [executor.submit(time.sleep, seconds) for _ in range(tasks)]
        futures.append(executor.submit(operator.truediv, 1, 0))
        for future in futures:
            future.exception()
    ended = time.perf_counter()
    stints = [future.stint for future in futures if isinstance(future, TimedFuture)]
    assert len(stints) == tasks + 1
    by_worker: dict[int, list[Stint]] = {}
    for stint in stints:
        assert stint is not None
        assert began <= stint.began <= stint.ended <= ended
        by_worker.setdefault(stint.worker, []).append(stint)
    assert set(by_worker) <= set(range(1, max(size, 1) + 1))
    assert all(s.ended - s.began >= seconds for s in stints[:-1] if s is not None)
    for own in by_worker.values():
        own.sort(key=lambda stint: stint.began)
        assert all(a.ended <= b.began for a, b in itertools.pairwise(own))


def test_a_future_that_nobody_was_at_says_so() -> None:
    executor = ProcessExecutor(1)
    futures = [executor.submit(time.sleep, SECONDS) for _ in range(2)]
    executor.shutdown(cancel_futures=True)
    assert [future.stint for future in futures if isinstance(future, TimedFuture)] == [None, None]


def test_inline_keeps_an_error_for_the_future() -> None:
    future = InlineExecutor().submit(operator.truediv, 1, 0)
    error = future.exception()
    assert isinstance(error, RunFailed)
    assert error.message == "ZeroDivisionError: division by zero"


def test_inline_passes_events_on_while_a_task_runs() -> None:
    seen: list[object] = []
    executor = InlineExecutor(seen.append)
    executor.submit(emit, "one").result()
    emit("outside of a task")
    assert seen == ["one"]


# ---- in worker processes ----------------------------------------------------------------------


def test_workers_are_other_processes(workers: ProcessExecutor) -> None:
    found = {workers.submit(os.getpid).result(SECONDS) for _ in range(4)}
    assert found <= set(workers.pids)
    assert os.getpid() not in workers.pids


def test_arguments_and_results(workers: ProcessExecutor) -> None:
    futures = [workers.submit(divmod, number, 7) for number in range(50)]
    assert [f.result(SECONDS) for f in futures] == [divmod(n, 7) for n in range(50)]
    assert workers.submit(int, "ff", base=16).result(SECONDS) == 255


def test_large_values_go_both_ways(workers: ProcessExecutor) -> None:
    value = bytes(20_000_000)
    assert workers.submit(bytes.upper, value).result(SECONDS) == value


def test_an_error_of_ours_arrives_as_it_was(workers: ProcessExecutor) -> None:
    with pytest.raises(UsageError) as here:
        parse_url("nonsense")
    there = workers.submit(parse_url, "nonsense").exception(SECONDS)
    assert isinstance(there, UsageError)
    assert (there.message, there.hint) == (here.value.message, here.value.hint)


def test_another_error_arrives_as_a_failed_run(workers: ProcessExecutor) -> None:
    error = workers.submit(operator.truediv, 1, 0).exception(SECONDS)
    assert isinstance(error, RunFailed)
    assert error.message == "ZeroDivisionError: division by zero"


def test_events_arrive_before_the_result() -> None:
    seen: list[object] = []
    with ProcessExecutor(1, seen.append) as executor:
        for number in range(3):
            executor.submit(emit, number).result(SECONDS)
            assert seen == list(range(number + 1))


def test_work_is_shared(workers: ProcessExecutor, tmp_path: Path) -> None:
    # Each of the two waits for the other to open the pipe.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ends = [workers.submit(os.open, pipe, flags) for flags in (os.O_RDONLY, os.O_WRONLY)]
    assert all(end.result(SECONDS) > 0 for end in ends)


def test_leaving_ends_the_workers_after_their_tasks() -> None:
    with ProcessExecutor(2) as executor:
        futures = [executor.submit(time.sleep, 0.05) for _ in range(6)]
    assert all(future.done() and future.exception() is None for future in futures)
    assert not any(map(is_alive, executor.pids))
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(os.getpid)


def test_a_task_that_cannot_travel_harms_no_other(workers: ProcessExecutor) -> None:
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        workers.submit(lambda: None)
    assert workers.submit(abs, -1).result(SECONDS) == 1


# ---- how they end -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("die", "code", "words"),
    [
        (os._exit, 3, "ended with exit code 3"),
        (signal.raise_signal, signal.SIGKILL, "was ended by SIGKILL (out of memory, perhaps)"),
        (signal.raise_signal, signal.SIGSEGV, "was ended by SIGSEGV"),
    ],
)
def test_a_dead_worker_fails_all_that_is_unfinished(
    die: Callable[[int], None], code: int, words: str
) -> None:
    with ProcessExecutor(2) as executor:
        done = executor.submit(abs, -1)
        assert done.result(SECONDS) == 1
        running = executor.submit(time.sleep, 60)
        dying = executor.submit(die, code)
        waiting = [executor.submit(abs, 1) for _ in range(5)]
        unfinished: list[Future[Any]] = [running, dying, *waiting]
        errors = [future.exception(SECONDS) for future in unfinished]
        errors.append(executor.submit(abs, 1).exception(SECONDS))
        wait_until(lambda: not any(map(is_alive, executor.pids)))
    assert all(isinstance(error, WorkerDied) for error in errors)
    # All tell the first death, not that of the other worker, which was killed because of it.
    assert {error.message for error in errors if isinstance(error, WorkerDied)} == {
        f"A worker process {words}."
    }


def test_a_death_during_the_last_tasks_is_still_named() -> None:
    with ProcessExecutor(2) as executor:
        future = executor.submit(os._exit, 3)
    error = future.exception()
    assert isinstance(error, WorkerDied)
    assert "exit code 3" in error.message


def test_cancelling_ends_at_once() -> None:
    executor = ProcessExecutor(2)
    began = time.monotonic()
    running = [executor.submit(time.sleep, 60) for _ in range(2)]
    wait_until(lambda: all(future.running() for future in running))
    waiting = [executor.submit(abs, 1) for _ in range(3)]
    executor.shutdown(cancel_futures=True)
    assert time.monotonic() - began < SECONDS
    for future in running:
        assert isinstance(future.exception(), WorkerDied)
    for late in waiting:
        with pytest.raises(CancelledError):
            late.result()
    assert not any(map(is_alive, executor.pids))


COORDINATOR = """
import time
from tableferry.executors import ProcessExecutor
executor = ProcessExecutor(2)
executor.submit(time.sleep, 60)
print(*executor.pids, flush=True)
time.sleep(60)
"""


def test_workers_end_when_the_coordinator_is_killed() -> None:
    coordinator = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR], stdout=subprocess.PIPE, text=True
    )
    assert coordinator.stdout is not None
    pids = [int(pid) for pid in coordinator.stdout.readline().split()]
    assert len(pids) == 2
    # One worker is in a task, the other waits for one.
    assert all(map(is_alive, pids))
    coordinator.kill()
    coordinator.communicate()
    wait_until(lambda: not any(map(is_alive, pids)))


TALKATIVE = """
import sys
from tableferry.executors import ProcessExecutor
executor = ProcessExecutor(4)
for _ in range(4):
    executor.submit(exec, "from tableferry.executors import emit\\nwhile True: emit(1)")
sys.stdin.read()
"""


def test_workers_that_speak_to_a_killed_coordinator_end_without_a_word() -> None:
    for _ in range(3):
        coordinator = subprocess.Popen(
            [sys.executable, "-c", TALKATIVE],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.7)
        coordinator.kill()
        # Until the last worker is gone, which has it open, too.
        _, err = coordinator.communicate(timeout=10)
        assert err == ""


def test_ctrl_c_is_left_to_the_coordinator() -> None:
    with ProcessExecutor(1) as executor:
        (pid,) = executor.pids
        assert executor.submit(abs, -1).result(SECONDS) == 1
        os.kill(pid, signal.SIGINT)
        assert executor.submit(abs, -2).result(SECONDS) == 2


# ---- the environment --------------------------------------------------------------------------


def test_the_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "TABLEFERRY_POSTGRES_PASSWORD", "my_password", "MINE"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("PG_URL", "postgresql://me:hunter2@host/db")
    monkeypatch.setenv("PGPASSFILE", "/home/me/.pgpass")
    with ProcessExecutor(1) as executor:
        (pid,) = executor.pids
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert executor.submit(os.getenv, "PGPASSFILE").result(SECONDS) == "/home/me/.pgpass"
        assert executor.submit(os.getenv, "PGPASSWORD").result(SECONDS) is None
    assert b"hunter2" not in environment + command


def test_environment_without_secrets() -> None:
    given = {"PATH": "/bin", "PGPASSWORD": "x", "pgpass": "x", "PG_PASSWORD_B": "x", "MINE": "x"}
    given |= {"PG_URL": "postgresql://u:x@h/d"}
    assert environment_without_secrets(given | {"PGPASSFILE": "f", "PGHOST": "h"}) == {
        "PATH": "/bin",
        "PGPASSFILE": "f",
        "PGHOST": "h",
    }


def test_workers_start_no_threads_for_linear_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "OPENBLAS_NUM_THREADS"
    monkeypatch.delenv(name, raising=False)
    with ProcessExecutor(1) as executor:
        assert executor.submit(os.getenv, name).result(SECONDS) == "1"
    monkeypatch.setenv(name, "2")
    with ProcessExecutor(1) as executor:
        assert executor.submit(os.getenv, name).result(SECONDS) == "2"


def test_a_worker_loads_no_parser_of_expressions() -> None:
    with ProcessExecutor(1, preload=("tableferry.tasks",)) as executor:
        loaded = executor.submit(eval, "{*__import__('sys').modules}").result(SECONDS)
    assert "tableferry.tasks" in loaded
    assert "tableferry.expressions" not in loaded
