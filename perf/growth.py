"""How a run grows: `python -m perf.growth --case slope --scales 0.1,0.2,0.5,1,2,5`.

slope   TPC-H at several scale factors: CPU seconds (ours and the server's) and elapsed ones as a
        straight line over rows, fitted so that relative residuals are least; and the peak memory of
        our processes (see perf.memory). Residuals, and the spread of memory, have to stay within
        10 %.
ranges  One table, lineitem, cut into 10, 100 and 1,000 ranges on both sides (see perf.ranged), in
        turns: how much the many cost over the few, which has to stay under 2 %.

Prints JSON lines with verdicts: "met", "not met", or "undecided" where runs differ among each other
by more than what is to be told apart. Each point is the median of `--runs` runs, each verified.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from perf import tpch_data
from perf.account import DIRECTIONS, Case, prepared
from perf.lines import Point, compared, judged, median
from perf.memory import watch
from perf.paired import NotVerifiedError, client_cpu_seconds, emit, setup
from perf.rivals import WORKERS
from perf.servers import VERSIONS, Server, running
from perf.sqlite_file import DATA_FOLDER

CASES = ("slope", "ranges")
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
RANGES = (10, 100, 1_000)
TABLE = "lineitem"


def main() -> None:
    parser = argparse.ArgumentParser(description="How time and memory grow with the data.")
    parser.add_argument("--case", choices=CASES, action="append", help="one of them")
    parser.add_argument("--direction", choices=DIRECTIONS, default=DIRECTIONS[0])
    parser.add_argument("--scales", type=_numbers, default=SCALES, help="of slope")
    parser.add_argument("--scale", type=float, default=1.0, help="of ranges")
    parser.add_argument("--ranges", type=_numbers, default=RANGES, help="of ranges")
    parser.add_argument("--runs", type=int, default=3, help="of each point")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")
    options = parser.parse_args()
    options.verify = False
    cases = {"slope": slope, "ranges": ranges}
    with running(options.server) as server:
        for name in options.case or CASES:
            cases[name](options, server)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def slope(options: argparse.Namespace, server: Server) -> None:
    points: list[Point] = []
    for scale in options.scales:
        sqlite = tpch_data.build(scale, options.folder).resolve()
        if not points:
            emit("setup", setup(server, sqlite))
        runs = [_point(options, sqlite, server) for _ in range(options.runs)]
        for point in runs:
            emit("run", {"case": "slope", "scale": scale} | asdict(point))
        points.append(median(runs))
    for record in judged(points):
        emit("growth", {"direction": options.direction, "scales": options.scales} | record)


def ranges(options: argparse.Namespace, server: Server) -> None:
    sqlite = tpch_data.build(options.scale, options.folder).resolve()
    emit("setup", setup(server, sqlite))
    counts = [int(count) for count in options.ranges]
    runs: dict[int, list[Point]] = {count: [] for count in counts}
    for _ in range(options.runs):
        for count in counts:
            point = _point(options, sqlite, server, count)
            runs[count].append(point)
            emit("run", {"case": "ranges", "ranges": count} | asdict(point))
    for record in compared(runs):
        shape = {"direction": options.direction, "scale": options.scale, "table": TABLE}
        emit("ranges", shape | record)


def _point(
    options: argparse.Namespace, sqlite: Path, server: Server, cut: int | None = None
) -> Point:
    """Raises NotVerifiedError where a run does not end verified."""
    # On the same disk: a file in memory would be none.
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        case = prepared(options, sqlite, server, Path(name))
        report = Path(name, "report.json")
        load = os.getloadavg()[0]
        server_before, client_before = server.cpu_seconds(), client_cpu_seconds()
        peaks = watch(_command(case, report, cut), server.pid)
        client = client_cpu_seconds() - client_before
        used = server.cpu_seconds() - server_before
        found = json.loads(report.read_text()) if report.exists() else {}
        if found.get("status") != "verified":
            raise NotVerifiedError(f"exit {peaks.exit_code}: {found.get('status')}")
    return Point(
        rows=sum(table["rows"]["source"] for table in found["tables"]),
        cpu=client + used,
        client_cpu=client,
        server_cpu=used,
        elapsed=peaks.seconds,
        peak_mb=peaks.ours.total,
        peak_anon_mb=peaks.ours_anon.anon,
        load_before=load,
    )


def _command(case: Case, report: Path, cut: int | None) -> list[str]:
    own = ["perf.ranged", str(cut)] if cut else ["tableferry.cli"]
    only = ["--tables", TABLE] if cut else []
    return [sys.executable, "-m", *own, *case.arguments, *only, "--report", str(report)]


if __name__ == "__main__":
    main()
