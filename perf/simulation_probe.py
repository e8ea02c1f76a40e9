"""What every job of a run costs: the product, run with a probe in its coordinator and workers.

    python -m perf.simulation_probe FOLDER SERVER_PID SERVER_URL -- database --from … --to … --yes

Into SQLite, ranges are written apart and gathered, as with several workers, even though there is
one, unless TABLEFERRY_PROBE_STRAIGHT is set; TABLEFERRY_PROBE_HELPERS gives indexes as many
helpers.

It writes JSON lines into FOLDER, a file a process. The coordinator's are marks (what began when,
and how much processor time it had used); a worker's are its jobs, each with the processor seconds
of this process and of the server, and the bytes that the server's log grew by. What the server
spends is that of all its processes, so jobs can be told apart only with a single worker.
Times are of time.perf_counter, one clock for all processes.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import psycopg
from perf.simulation_costs import KINDS

FOLDER, SERVER, URL = "TABLEFERRY_PROBE_FOLDER", "TABLEFERRY_PROBE_SERVER", "TABLEFERRY_PROBE_URL"
# What more workers would have otherwise than one, or one otherwise than more: processes of the
# server for each index that is built; ranges that are written where they belong.
HELPERS, STRAIGHT = "TABLEFERRY_PROBE_HELPERS", "TABLEFERRY_PROBE_STRAIGHT"


def note(record: dict[str, Any]) -> None:
    record |= {"at": time.perf_counter(), "cpu": time.process_time()}
    with Path(os.environ[FOLDER], f"{os.getpid()}.jsonl").open("a") as file:
        print(json.dumps(record), file=file)


def server_cpu(pid: int) -> dict[str, float]:
    """Processor seconds of a server until now: of its sessions, ended ones too, of these alone, and
    of its own processes; and those that its sessions waited for a core. While no session ends,
    those that do are helpers of a statement."""
    postmaster = psutil.Process(pid)
    times = postmaster.cpu_times()
    ended = times.children_user + times.children_system
    spent = {"sessions": ended, "helpers": ended, "own": 0.0, "queued": 0.0}
    for child in postmaster.children():
        try:
            title = " ".join(child.cmdline())
            used, queued, _ = map(int, Path(f"/proc/{child.pid}/schedstat").read_text().split())
        except (OSError, psutil.NoSuchProcess):
            continue
        own = _is_own(title)
        spent["own" if own else "sessions"] += used / 1e9
        spent["queued"] += 0.0 if own else queued / 1e9
    return spent


def log_position() -> Callable[[], int]:
    """Asks a session of its own how many bytes the server's log has had."""
    connection = psycopg.connect(os.environ[URL], autocommit=True)
    query = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"

    def asked() -> int:
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])

    return asked


def _is_own(title: str) -> bool:
    words = ("writer", "checkpointer", "launcher", "autovacuum", "logger")
    return any(word in title for word in words)


# --- in a worker ---------------------------------------------------------------------------------


def probe_worker() -> None:
    """Puts a probe around each task: workers find tasks by their names in tableferry.tasks."""
    from tableferry import tasks

    note({"mark": "worker ready"})
    for name in KINDS:
        setattr(tasks, name, _probed(name, getattr(tasks, name)))


def _probed(name: str, task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    pid = int(os.environ[SERVER])
    log = log_position()

    @functools.wraps(task)
    def probed(job: Any) -> Any:
        waited, written, before = _queued(), log(), server_cpu(pid)
        began, used = time.perf_counter(), time.process_time()
        result = task(job)
        ended, spent = time.perf_counter(), time.process_time() - used
        queued = _queued() - waited
        after, written = server_cpu(pid), log() - written
        # Either's: they take turns, or the clock says that they did not.
        before["queued"] -= queued
        note(
            _described(name, job, result)
            | {"began": began, "ended": ended, "client": spent, "log": written}
            | {side: after[side] - before[side] for side in before}
        )
        return result

    return probed


def _queued() -> float:
    """Seconds that this process's threads waited for a core."""
    tasks = Path("/proc/self/task").iterdir()
    return sum(int(Path(task, "schedstat").read_text().split()[1]) for task in tasks) / 1e9


def _described(name: str, job: Any, result: Any) -> dict[str, Any]:
    scan = getattr(job, "scan", None)
    if scan is None and (pair := getattr(job, "pair", None)) is not None:
        scan = pair.source
    return {
        "job": name,
        "table": str(scan.table if scan is not None else getattr(job, "table", "")),
        "what": getattr(job, "what", ""),
        "makes": getattr(job, "makes", ""),
        "side": "" if (end := getattr(job, "endpoint", None)) is None else str(end).split(":")[0],
        "rows": getattr(getattr(job, "written", result), "rows", 0),
        "bytes": getattr(result, "bytes", 0),
    }


# --- in the coordinator --------------------------------------------------------------------------


def main() -> None:
    folder, pid, url, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    os.environ[FOLDER], os.environ[SERVER], os.environ[URL] = folder, pid, url
    note({"mark": "began"})
    from tableferry import cli, loading, loads, migration, running
    from tableferry.events import Observer
    from tableferry.executors import ProcessExecutor
    from tableferry.jobs import Jobs

    class Probed(ProcessExecutor):
        def __init__(self, workers: int, on_event: Any, *, preload: Sequence[str] = ()) -> None:
            note({"mark": "start workers"})
            super().__init__(workers, on_event, preload=["perf.simulation_worker"])
            note({"mark": "workers started"})

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            note({"mark": "shut down"})
            super().shutdown(wait, cancel_futures=cancel_futures)
            note({"mark": "were shut down"})

    def clock(observe: Observer) -> running.Clock:
        note({"mark": "clock"})
        return running.Clock(observe)

    made = loading.Loading.__init__

    def make(self: loading.Loading, route: loads.Route, *others: Any, **named: Any) -> None:
        made(self, route, *others, **named)
        self._apart = route.destination.dialect.one_writer and STRAIGHT not in os.environ
        if HELPERS in os.environ:
            self._building._helpers = int(os.environ[HELPERS])

    whole = Jobs.run

    def run(jobs: Jobs) -> None:
        note({"mark": "run", "server": server_cpu(int(pid))})
        whole(jobs)
        note({"mark": "ran", "server": server_cpu(int(pid))})

    # mypy is right that nobody should; this is a probe.
    setattr(running, "ProcessExecutor", Probed)  # noqa: B010
    setattr(migration, "Clock", clock)  # noqa: B010
    setattr(loading.Loading, "__init__", make)  # noqa: B010
    setattr(Jobs, "run", run)  # noqa: B010
    sys.argv = ["migrate", *arguments]
    try:
        cli.main()
    finally:
        note({"mark": "ended"})


if __name__ == "__main__":
    main()
