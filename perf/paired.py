"""The harness: contenders take turns on one server, and each run is timed and costed.

A product run counts from outside, from the start of its process to its end, and only when its
report says what it has to; a rival counts by its own phases, so the start of its Python is to the
rival's favour. `perf.bench` has the cases, `perf.verdicts` what the times say.
"""

from __future__ import annotations

import argparse
import compileall
import functools
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perf import rivals
from perf.series import shares
from perf.servers import VERSIONS, Server
from perf.verdicts import Comparison, compared

ROOT = Path(__file__).parents[1]
PAIRS = 5
WARMUPS = 1


class NotVerifiedError(Exception):
    """A product run that did not end as it had to: its time means nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run; `seconds["total"]` is the whole job, "cpu" the processor seconds of it, the server's
    among them, and the others are its phases."""

    seconds: dict[str, float]
    detail: dict[str, Any]


def run_product(command: Sequence[str], status: str = "verified") -> tuple[Sample, dict[str, Any]]:
    """A run from outside, and its report. Raises NotVerifiedError where that says other than
    `status`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report.json")
        started = time.perf_counter()
        done = subprocess.run(
            [*command, "--report", str(file)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        wall = time.perf_counter() - started
        report = read_report(file)
    if report.get("status") != status:
        raise NotVerifiedError(f"exit {done.returncode}, {report.get('status')}: {done.stderr}")
    timings = {name: float(value) for name, value in report["timings"].items()}
    seconds = timings | {"own_total": timings["total"], "total": wall}
    detail = {
        "rows": sum(table["rows"]["target"] for table in report["tables"]),
        "workers": report["workers"],
        "shares": shares(report["timeline"], timings["total"]),
    }
    return Sample(seconds, detail), report


def read_report(file: Path) -> dict[str, Any]:
    """Nothing where a run has left none."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def run_rival(command: Sequence[str]) -> Sample:
    """Raises CalledProcessError where it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    seconds = result["seconds"]
    return Sample({"total": sum(seconds.values())} | seconds, result["detail"])


def product_command(sqlite: Path, url: str) -> list[str]:
    return [*product_cli(), "database", "--yes", "--from", f"sqlite://{sqlite}", "--to", url]


def carry_command(source: str, target: str) -> list[str]:
    """The product between any two URLs, whatever stands in the target."""
    return [*product_cli(), "database", "--yes", "--force", "--from", source, "--to", target]


def verify_command(sqlite: Path, url: str) -> list[str]:
    command = [*product_cli(), "database", "--verify", "--force"]
    return [*command, "--from", f"sqlite://{sqlite}", "--to", url]


@functools.cache
def product_cli() -> tuple[str, ...]:
    """The product, compiled as an installed package is: where PYTHONDONTWRITEBYTECODE is set, each
    process of a checkout would do it anew, a fifth of a second that no user has."""
    compileall.compile_dir(ROOT / "src", quiet=1)
    return sys.executable, "-m", "tableferry.cli"


def rival_command(name: str, sqlite: Path, url: str) -> list[str]:
    return [sys.executable, "-m", "perf.rivals", name, str(sqlite), url]


def filled(sqlite: Path, server: Server) -> str:
    """The URL of a database to which the product has carried the file."""
    url = server.fresh_database()
    run_product(product_command(sqlite, url))
    server.settle(url)
    return url


def costed(run: Callable[[], Sample], server: Server) -> tuple[dict[str, float], Sample]:
    """What a run took from the machine, and its sample with "cpu".

    Where others use the machine too, CPU seconds hold stiller than elapsed ones, and the load
    average of the minute before says how much to believe of either.
    """
    load = os.getloadavg()[0]
    server_before, client_before = server.cpu_seconds(), client_cpu_seconds()
    sample = run()
    cost = {
        "load_before": load,
        "server_cpu_seconds": server.cpu_seconds() - server_before,
        "client_cpu_seconds": client_cpu_seconds() - client_before,
    }
    cpu = cost["server_cpu_seconds"] + cost["client_cpu_seconds"]
    return cost, replace(sample, seconds=sample.seconds | {"cpu": cpu})


def client_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(comparison: Comparison, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    return compared(
        comparison, {name: [run.seconds for run in runs] for name, runs in samples.items()}
    )


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
    print(line(kind, record), flush=True)


def line(kind: str, record: dict[str, Any]) -> str:
    return json.dumps({"kind": kind} | _rounded(record))


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
