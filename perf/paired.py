"""The harness: contenders take turns on one server, and medians are compared.

    python -m perf.paired FILE.sqlite duckdb_same_work --pairs 5 --server 18

runs product, rival, product, rival …, each on a fresh database after a CHECKPOINT, after one
unmeasured round that warms the page cache for both. It prints JSON lines: the setup, every run,
and the ratios with their spread. A product run counts from outside, from the start of its process
to its end, and only when its report says "verified"; a rival counts by its own phases, so the
start of its Python is to the rival's favour.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf import rivals
from perf.servers import VERSIONS, Server, running

ROOT = Path(__file__).parents[1]
PAIRS = 5
WARMUPS = 1
PRODUCT = "product"
RIVALS = ("duckdb_same_work", "pgloader", "bare_loop")


class NotVerifiedError(Exception):
    """A product run that did not end verified: its time means nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run; `seconds["total"]` is the whole job, the others are its phases."""

    seconds: dict[str, float]
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contender:
    """`run` takes the URL of an empty database."""

    name: str
    run: Callable[[str], Sample]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Phase `of` of the product divided by phase `by` of a rival."""

    name: str
    of: str
    rival: str
    by: str


def product(sqlite: Path, arguments: Sequence[str] = ()) -> Contender:
    def run(url: str) -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            command = [*product_command(sqlite, url), "--report", str(report), *arguments]
            started = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            wall = time.perf_counter() - started
            found = json.loads(report.read_text()) if report.exists() else {}
        if found.get("status") != "verified":
            raise NotVerifiedError(f"exit {done.returncode}, {found.get('status')}: {done.stderr}")
        timings = {name: float(value) for name, value in found["timings"].items()}
        return Sample(timings | {"own_total": timings["total"], "total": wall}, {})

    return Contender(PRODUCT, run)


def product_command(sqlite: Path, url: str) -> list[str]:
    command = [sys.executable, "-m", "tableferry.cli", "database", "--yes"]
    return [*command, "--from", f"sqlite://{sqlite}", "--to", url]


def rival(name: str, sqlite: Path, arguments: Sequence[str] = ()) -> Contender:
    def run(url: str) -> Sample:
        command = [*rival_command(name, sqlite, url), *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout)
        seconds = result["seconds"]
        return Sample({"total": sum(seconds.values())} | seconds, result["detail"])

    return Contender(name, run)


def rival_command(name: str, sqlite: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "perf.rivals", name, str(sqlite), url]


def run_suite(
    options: argparse.Namespace,
    sqlite: Path,
    contenders: Sequence[Contender],
    comparisons: Sequence[Comparison],
) -> None:
    """Run and print everything; `options` are those of `add_arguments`."""
    # As an installed package is: where PYTHONDONTWRITEBYTECODE is set, each process of a checkout
    # would compile all of it anew, a fifth of a second that nobody has who installed it.
    compileall.compile_dir(ROOT / "src", quiet=1)
    with running(options.server) as server:
        emit("setup", setup(server, sqlite))
        for _ in range(options.warmups):
            for contender in contenders:
                contender.run(server.fresh_database())
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        for number in range(1, options.pairs + 1):
            for contender in contenders:
                cost, sample = costed(contender, server)
                samples[contender.name].append(sample)
                run = {"round": number, "contender": contender.name} | asdict(sample)
                emit("run", run | {"machine": cost})
    for comparison in comparisons:
        emit("ratio", compare(comparison, samples))


def costed(contender: Contender, server: Server) -> tuple[dict[str, float], Sample]:
    """A run and what it took from the machine.

    Where others use the machine too, CPU seconds hold stiller than elapsed ones, and the load
    average of the minute before says how much to believe of either.
    """
    url = server.fresh_database()
    load = os.getloadavg()[0]
    server_before, client_before = server.cpu_seconds(), client_cpu_seconds()
    sample = contender.run(url)
    return {
        "load_before": load,
        "server_cpu_seconds": server.cpu_seconds() - server_before,
        "client_cpu_seconds": client_cpu_seconds() - client_before,
    }, sample


def client_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(comparison: Comparison, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    ours = [sample.seconds[comparison.of] for sample in samples[PRODUCT]]
    theirs = [sample.seconds[comparison.by] for sample in samples[comparison.rival]]
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return asdict(comparison) | {
        "ratio_of_medians": statistics.median(ours) / statistics.median(theirs),
        "ratios_of_pairs": [min(pairs), max(pairs)],
        "product_seconds": _spread(ours),
        "rival_seconds": _spread(theirs),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def setup(server: Server, sqlite: Path) -> dict[str, Any]:
    """Everything that a figure needs beside it: revision, machine, versions, server, data."""
    return {
        "revision": revision(),
        "bare_loop_revision": rivals.BARE_LOOP_REVISION,
        "machine": machine(),
        "versions": rivals.versions() | {"python": platform.python_version()},
        "server": server.describe(),
        "source": {"file": sqlite.name, "bytes": sqlite.stat().st_size},
    }


def revision() -> str:
    """The commit, with a plus sign behind it where tracked files differ from it."""
    git = ["git", "--no-optional-locks", "-C", str(ROOT)]
    commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
    status = [*git, "status", "--porcelain", "--untracked-files=no"]
    return commit + ("+" if subprocess.check_output(status) else "")


def machine() -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "load_average": os.getloadavg()[0],
    }


def emit(kind: str, record: dict[str, Any]) -> None:
    print(json.dumps({"kind": kind} | _rounded(record)), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measured runs of each")
    parser.add_argument("--warmups", type=int, default=WARMUPS, help="unmeasured rounds before")
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the product with one rival.")
    parser.add_argument("sqlite", type=Path)
    parser.add_argument("rival", choices=RIVALS)
    add_arguments(parser)
    options = parser.parse_args()
    sqlite = options.sqlite.resolve()
    contenders = [product(sqlite), rival(options.rival, sqlite)]
    comparison = Comparison("whole job", "total", options.rival, "total")
    run_suite(options, sqlite, contenders, [comparison])


if __name__ == "__main__":
    main()
