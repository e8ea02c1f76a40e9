"""Where a run's CPU seconds go: `python -m perf.account --direction to-postgresql --scale 0.1`.

Every process of the run, the server's among them, is read from /proc every few milliseconds
(perf.sampling). What a worker used while a job ran, by the report's timeline, is that job's; inside
a kind of job, py-spy's samples of the worker's stacks say which step took which part of it
(perf.stacks). What a server process used is that of the statement it was at by pg_stat_activity.
The sums are held against what the kernel counted for the whole command and the whole server.

Prints a table on standard error, and a JSON line. `--runs 3` takes the mean of three runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from perf import servers, tpch_data
from perf.paired import (
    ROOT,
    NotVerifiedError,
    client_cpu_seconds,
    emit,
    product_command,
    setup,
)
from perf.rivals import WORKERS
from perf.sampling import Curve, Sampler
from perf.servers import VERSIONS, Server, running
from perf.sqlite_file import DATA_FOLDER
from perf.stacks import IMPORTS, Stack, after_start, parse, step_of, task_of, waiting, waits

DIRECTIONS = ("to-postgresql", "to-sqlite", "between-postgresql", "between-sqlite")
INTERVAL_SECONDS = 0.02
RATE = 200
_SERVER = "server"
_SPY = ("py-spy", "record", "--subprocesses", "--function", "--format", "raw")
# What a worker does in a job, by the activity of its span.
_TASKS = {
    "copy": {"copy_range"},
    "gather": {"gather_range"},
    "verify": {"digest_range", "digest_fitting"},
    "survey": {"survey_range"},
    "count": {"count_rows"},
    "index": {"run_statements"},
}

# Who did what: a kind of process, an activity of the run, a step of it.
Who = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """A run to be looked at: arguments of the command, of which the report is not one."""

    name: str
    arguments: Sequence[str]


@dataclass
class Account:
    """CPU seconds by who and what, such as ("worker", "copy", "read SQLite")."""

    seconds: dict[Who, float] = field(default_factory=lambda: defaultdict(float))
    total: float = 0.0
    client: float = 0.0
    server: float = 0.0
    elapsed: float = 0.0
    waits: dict[str, float] = field(default_factory=dict)

    # The same case without anybody watching, the server's included.
    unwatched: float = 0.0

    @property
    def unattributed(self) -> dict[str, float]:
        """What no row of the account has; below 0 where rows have too much."""
        server = sum(value for (who, *_), value in self.seconds.items() if who == _SERVER)
        client = sum(self.seconds.values()) - server
        return {"client": self.client - client, "server": self.server - server}


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU seconds of a run, by step.")
    add_case_arguments(parser)
    parser.add_argument("--runs", type=int, default=1, help="the mean of so many")
    parser.add_argument("--ranges", type=int, default=0, help="cut each table into so many")
    options = parser.parse_args()
    sqlite = source_of(options)
    servers.SETTINGS["track_activity_query_size"] = "64kB"
    with (
        running(options.server) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        emit("setup", setup(server, sqlite) | {"workers": options.workers, "runs": options.runs})
        accounts = []
        for _ in range(options.runs):
            case = prepared(options, sqlite, server, Path(folder))
            unwatched = used(case, server, options.ranges)
            case = prepared(options, sqlite, server, Path(folder))
            watched = account(case, server, options.rate, options.ranges)
            accounts.append(replace(watched, unwatched=unwatched))
    show(mean(accounts), case_name(options))


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run is looked at, and how often."""
    parser.add_argument("--direction", choices=DIRECTIONS, default=DIRECTIONS[0])
    parser.add_argument("--verify", action="store_true", help="of --verify, after that direction")
    parser.add_argument("--scale", type=float, default=0.1, help="TPC-H scale factor")
    parser.add_argument("--sqlite", type=Path, help="another SQLite file to start from")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--rate", type=int, default=RATE, help="samples of stacks a second")
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")


def source_of(options: argparse.Namespace) -> Path:
    """The SQLite file that everything starts from."""
    file: Path = options.sqlite or tpch_data.build(options.scale, options.folder)
    return file.resolve()


def case_name(options: argparse.Namespace) -> str:
    return f"{options.direction}-verify" if options.verify else str(options.direction)


def prepared(options: argparse.Namespace, sqlite: Path, server: Server, folder: Path) -> Case:
    """The case, with all that it starts from made."""
    url, file = server.fresh_database(), folder / "out.sqlite"
    for old in folder.iterdir():
        old.unlink()
    if options.direction in ("to-sqlite", "between-postgresql"):
        _run(product_command(sqlite, url))
    source, target = f"sqlite://{sqlite}", url
    match options.direction:
        case "to-sqlite":
            source, target = url, f"sqlite://{file}"
        case "between-sqlite":
            target = f"sqlite://{file}"
        case "between-postgresql":
            source, target = url, _second(server)
    arguments = ["database", "--force", "--from", source, "--to", target]
    arguments += ["--workers", str(options.workers)]
    if options.verify:
        _run([sys.executable, "-m", "tableferry.cli", *arguments, "--yes"])
        return Case("verify", [*arguments, "--verify"])
    return Case("migrate", [*arguments, "--yes"])


def _second(server: Server) -> str:
    """An empty database beside the first, also where the last run has filled it."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS bench_other WITH (FORCE)")
    return server.another_database()


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def used(case: Case, server: Server, cut: int = 0) -> float:
    """CPU seconds of the case and of the server for it."""
    before = server.cpu_seconds(), client_cpu_seconds()
    own = ["perf.ranged", str(cut)] if cut else ["tableferry.cli"]
    _run([sys.executable, "-m", *own, *case.arguments])
    return server.cpu_seconds() - before[0] + client_cpu_seconds() - before[1]


def account(case: Case, server: Server, rate: int = RATE, cut: int = 0) -> Account:
    """Raises NotVerifiedError where the run does not end verified."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report, clock, raw = folder / "report.json", folder / "clock", folder / "stacks"
        child = [sys.executable, "-m", "perf.clocked", str(clock), str(cut), *case.arguments]
        server_before = server.cpu_seconds()
        run = subprocess.Popen(
            [*child, "--report", str(report)], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        began = time.monotonic()
        sampler = Sampler(run.pid, server.pid, server.url("postgres"), INTERVAL_SECONDS)
        sampler.start()
        spy = subprocess.Popen(
            [*_SPY, "--pid", str(run.pid), "--rate", str(rate), "--output", str(raw)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, _, usage = os.wait4(run.pid, 0)
        run.returncode = 0  # It was waited for here, for what it used.
        elapsed = time.monotonic() - began
        spy.wait()
        sampler.read_server()
        watching = sampler.stop()
        server_used = server.cpu_seconds() - server_before - watching
        found = json.loads(report.read_text()) if report.exists() else {}
        if found.get("status") != "verified":
            raise NotVerifiedError(f"{case.name}: {found.get('status')}")
        stacks: dict[int, list[tuple[Stack, int]]] = defaultdict(list)
        for pid, stack, count in parse(raw.read_text().splitlines()):
            stacks[pid].append((stack, count))
        start = float(clock.read_text())
    result = Account(client=usage.ru_utime + usage.ru_stime, server=server_used, elapsed=elapsed)
    result.total = result.client + result.server
    for what, seconds in sampler.server.items():
        result.seconds[_SERVER, "", what] += seconds
    _clients(result, sampler, stacks, found["timeline"], start)
    result.waits = waiting(found["timeline"], found["timings"]["total"], start - began)
    return result


def _clients(
    result: Account,
    sampler: Sampler,
    stacks: Mapping[int, Sequence[tuple[Stack, int]]],
    timeline: Sequence[Mapping[str, Any]],
    start: float,
) -> None:
    workers = sorted(pid for pid, c in sampler.curves.items() if "executors.serve" in c.command)
    for pid, curve in sampler.curves.items():
        if pid in workers:
            number = workers.index(pid) + 1
            spans = [span for span in timeline if span["worker"] == number]
            _worker(result, curve, stacks.get(pid, ()), spans, start)
        elif pid == sampler.root:
            before = curve.used_by(start)
            result.seconds["coordinator", "", "start-up and imports"] += before
            shares = _shares(stacks.get(pid, ()), after_start)
            _spread(result.seconds, ("coordinator", "run"), curve.total - before, shares)
        else:
            result.seconds["others", "", _short(curve.command)] += curve.total


def _worker(
    result: Account,
    curve: Curve,
    stacks: Sequence[tuple[Stack, int]],
    spans: Sequence[Mapping[str, Any]],
    start: float,
) -> None:
    if not spans:
        result.seconds["worker", "", "start-up and imports"] += curve.total
        return
    before = _start_up(curve, stacks, spans, start)
    result.seconds["worker", "", "start-up and imports"] += before
    jobs: dict[str, float] = defaultdict(float)
    for span in spans:
        ended = curve.used_by(start + span["began"] + span["seconds"])
        began = max(before, curve.used_by(start + span["began"]))
        jobs[span["what"]] += max(0.0, ended - began)
    for what, seconds in jobs.items():
        tasks = _TASKS.get(what, set())
        ours = [(stack, count) for stack, count in stacks if task_of(stack) in tasks]
        _spread(result.seconds, ("worker", what), seconds, _shares(ours))
    between = curve.total - before - sum(jobs.values())
    result.seconds["worker", "", "between jobs and at the end"] += between


def _start_up(
    curve: Curve,
    stacks: Sequence[tuple[Stack, int]],
    spans: Sequence[Mapping[str, Any]],
    start: float,
) -> float:
    """CPU seconds until a worker was ready. Its first job counts from when it was sent, which may
    be while the worker still loads: as much of that as stacks say."""
    first = min(spans, key=lambda span: span["began"])
    sent = curve.used_by(start + first["began"])
    ended = curve.used_by(start + first["began"] + first["seconds"])
    busy = [(stack, count) for stack, count in stacks if not waits(stack)]
    loading = sum(n for stack, n in busy if not task_of(stack) and step_of(stack) == IMPORTS)
    share = loading / max(1, sum(count for _, count in busy))
    return max(sent, min(ended, share * curve.total))


def _shares(
    stacks: Iterable[tuple[Stack, int]], wanted: Callable[[Stack], bool] = bool
) -> dict[str, float]:
    found: Counter[str] = Counter()
    for stack, count in stacks:
        if not waits(stack) and wanted(stack):
            found[step_of(stack)] += count
    return {step: count / found.total() for step, count in found.items()}


def _spread(
    seconds: dict[Who, float],
    who: tuple[str, str],
    used: float,
    shares: Mapping[str, float],
) -> None:
    for step, share in (shares or {"not sampled": 1.0}).items():
        seconds[(*who, step)] += used * share


def _short(command: str) -> str:
    if "perf.clocked" in command:
        return "start of processes"  # A copy of the coordinator which becomes another program.
    return next((part for part in command.split() if part.endswith(".py")), command).split("/")[-1]


def mean(accounts: Sequence[Account]) -> Account:
    result = Account()
    for each in accounts:
        for key, value in each.seconds.items():
            result.seconds[key] += value / len(accounts)
        for name in ("total", "client", "server", "elapsed", "unwatched"):
            setattr(result, name, getattr(result, name) + getattr(each, name) / len(accounts))
        for name, value in each.waits.items():
            result.waits[name] = result.waits.get(name, 0.0) + value / len(accounts)
    return result


def by_step(result: Account) -> dict[str, float]:
    """The account without who did it for what, the server's steps apart; the largest first."""
    found: dict[str, float] = defaultdict(float)
    for (who, _, step), value in result.seconds.items():
        found[f"{_SERVER}: {step}" if who == _SERVER else step] += value
    return dict(sorted(found.items(), key=lambda row: -row[1]))


def show(result: Account, name: str) -> None:
    ordered = sorted(result.seconds.items(), key=lambda row: -row[1])
    rows = [(who, value) for who, value in ordered if value >= 0.0005]
    missing = result.unattributed
    lines = [(" / ".join(filter(None, who)), value) for who, value in rows]
    lines += [(f"{who}: unattributed", value) for who, value in missing.items()]
    print(
        f"{name}: {result.total:.2f} CPU seconds ({result.unwatched:.2f} unwatched),",
        file=sys.stderr,
    )
    print(
        f"client {result.client:.2f}, server {result.server:.2f}; {result.elapsed:.2f} s",
        file=sys.stderr,
    )
    for what, value in lines:
        print(f"{value:8.3f} {value / result.total:6.1%}  {what}", file=sys.stderr)
    for what, seconds in result.waits.items():
        print(f"{seconds:8.3f} s elapsed: {what}", file=sys.stderr)
    emit(
        "account",
        {
            "case": name,
            "cpu_seconds": {
                "total": result.total,
                "client": result.client,
                "server": result.server,
                "unwatched": result.unwatched,
            },
            "unattributed": missing,
            "within_5_percent": abs(sum(missing.values())) <= 0.05 * result.total,
            "elapsed_seconds": result.elapsed,
            "by_step": by_step(result),
            "steps": dict(lines[: len(rows)]),
            "elapsed": result.waits,
        },
    )


if __name__ == "__main__":
    main()
