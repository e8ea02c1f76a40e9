"""The way back: TPC-H from PostgreSQL into a SQLite file, start to verified.

    python -m perf.to_sqlite --scale 1 --pairs 5 --server 15

The product against DuckDB doing the same work in the same direction: CREATE TABLE AS, keys added
as unique indexes, per-column hashes of both sides compared. Both read the same database, which the
product has filled with its keys; each run writes a new file on the same disk.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf import tpch_data
from perf.paired import (
    PRODUCT,
    ROOT,
    Comparison,
    NotVerifiedError,
    Sample,
    add_arguments,
    client_cpu_seconds,
    compare,
    emit,
    product_command,
    setup,
)
from perf.rivals import WORKERS
from perf.servers import Server, running
from perf.sqlite_file import DATA_FOLDER

COMPARISONS = (Comparison("whole job / DuckDB's same work", "total", "duckdb_to_sqlite", "total"),)


@dataclass(frozen=True, slots=True)
class Contender:
    """``command`` gets the URL of the source and the file to write."""

    name: str
    command: Callable[[str, Path], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description="The product against DuckDB, into SQLite.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=WORKERS)
    add_arguments(parser)
    options = parser.parse_args()
    sqlite = tpch_data.build(options.scale, options.folder).resolve()
    contenders = [
        Contender(PRODUCT, _product(options.workers)),
        Contender("duckdb_to_sqlite", _duckdb),
    ]
    with running(options.server) as server, tempfile.TemporaryDirectory(dir=options.folder) as out:
        url = server.fresh_database()
        subprocess.run(product_command(sqlite, url), cwd=ROOT, check=True, capture_output=True)
        emit("setup", setup(server, sqlite))
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        for number in range(1 - options.warmups, options.pairs + 1):
            for contender in contenders:
                record, sample = _run(contender, (url, Path(out, "out.sqlite")), server)
                if number > 0:
                    samples[contender.name].append(sample)
                    emit("run", {"round": number, "contender": contender.name} | record)
    for comparison in COMPARISONS:
        emit("ratio", compare(comparison, samples))


def _product(workers: int) -> Callable[[str, Path], list[str]]:
    def command(url: str, file: Path) -> list[str]:
        own = [sys.executable, "-m", "tableferry.cli", "database", "--yes", "--force"]
        report = file.with_suffix(".json")
        ends = ["--from", url, "--to", f"sqlite://{file}"]
        return [*own, *ends, "--workers", str(workers), "--report", str(report)]

    return command


def _duckdb(url: str, file: Path) -> list[str]:
    return [sys.executable, "-m", "perf.rivals", "duckdb_to_sqlite", str(file), url]


def _run(
    contender: Contender, ends: tuple[str, Path], server: Server
) -> tuple[dict[str, Any], Sample]:
    url, file = ends
    for old in file.parent.iterdir():
        old.unlink()
    load = os.getloadavg()[0]
    server_before, client_before = server.cpu_seconds(), client_cpu_seconds()
    started = time.perf_counter()
    done = subprocess.run(
        contender.command(url, file), cwd=ROOT, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    sample = _sample(contender.name, done, wall, file)
    machine = {
        "load_before": load,
        "server_cpu_seconds": server.cpu_seconds() - server_before,
        "client_cpu_seconds": client_cpu_seconds() - client_before,
        "file_bytes": file.stat().st_size,
    }
    return asdict(sample) | {"machine": machine}, sample


def _sample(name: str, done: subprocess.CompletedProcess[str], wall: float, file: Path) -> Sample:
    """The product counts from outside and only when verified, a rival by its own phases."""
    if name != PRODUCT:
        done.check_returncode()
        result = json.loads(done.stdout)
        return Sample(
            {"total": sum(result["seconds"].values())} | result["seconds"], result["detail"]
        )
    report = file.with_suffix(".json")
    found = json.loads(report.read_text()) if report.exists() else {}
    if found.get("status") != "verified":
        raise NotVerifiedError(f"exit {done.returncode}: {done.stderr}")
    timings = {phase: float(value) for phase, value in found["timings"].items()}
    return Sample(timings | {"own_total": timings["total"], "total": wall}, {})


if __name__ == "__main__":
    main()
