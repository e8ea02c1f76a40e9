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
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf import tpch_data
from perf.account import DIRECTIONS, Case, prepared
from perf.memory import watch
from perf.paired import NotVerifiedError, client_cpu_seconds, emit, setup
from perf.rivals import WORKERS
from perf.servers import VERSIONS, Server, running
from perf.sqlite_file import DATA_FOLDER

CASES = ("slope", "ranges")
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
RANGES = (10, 100, 1_000)
TABLE = "lineitem"
# What a residual of the line, and the spread of memory, may be; what many ranges may add.
RESIDUAL_LIMIT = 0.10
MEMORY_LIMIT = 0.10
RANGES_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Point:
    """One run: seconds, and MB of our processes at their peak."""

    rows: int
    cpu: float
    client_cpu: float
    server_cpu: float
    elapsed: float
    peak_mb: float
    peak_anon_mb: float
    load_before: float


@dataclass(frozen=True, slots=True)
class Line:
    """seconds = start + slope * rows, and each point's distance from it, as a part of it."""

    start: float
    slope: float
    residuals: tuple[float, ...]

    @property
    def worst(self) -> float:
        return max(map(abs, self.residuals))


def fit(rows: Sequence[float], seconds: Sequence[float]) -> Line:
    """The straight line whose relative residuals, squared and summed, are least: the smallest run
    says as much as the largest. Raises ValueError for fewer than two different numbers of rows."""
    if len(set(rows)) < 2:
        raise ValueError("A line takes two points that differ in rows.")
    weights = [1 / value**2 for value in seconds]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, rows, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, seconds, strict=True)) / total
    points = list(zip(weights, rows, seconds, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in points)
    slope /= sum(w * (x - mean_x) ** 2 for w, x, _ in points)
    start = mean_y - slope * mean_x
    return Line(start, slope, tuple(y / (start + slope * x) - 1 for _, x, y in points))


def spread(values: Sequence[float]) -> float:
    """How far the largest lies over the smallest, as a part of the smallest."""
    return max(values) / min(values) - 1


def verdict(found: float, limit: float, noise: float = 0.0) -> str:
    """``noise``: by how much the figure may be wrong, either way."""
    if noise and abs(found - limit) < noise:
        return "undecided"
    return "met" if found <= limit else "not met"


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
        points.append(_median(runs))
    for record in judged(points):
        emit("growth", {"direction": options.direction, "scales": options.scales} | record)


def judged(points: Sequence[Point]) -> list[dict[str, Any]]:
    """What the points say of the lines and of memory."""
    rows = [point.rows for point in points]
    records: list[dict[str, Any]] = []
    for what in ("cpu", "elapsed"):
        line = fit(rows, [getattr(point, what) for point in points])
        records.append(
            {
                "what": what,
                "start_seconds": line.start,
                "seconds_per_million_rows": line.slope * 1e6,
                "residuals": line.residuals,
                "worst_residual": line.worst,
                "limit": RESIDUAL_LIMIT,
                "verdict": verdict(line.worst, RESIDUAL_LIMIT),
            }
        )
    for what in ("peak_mb", "peak_anon_mb"):
        sizes = [getattr(point, what) for point in points]
        records.append(
            {
                "what": what,
                "mb": sizes,
                "spread": spread(sizes),
                "limit": MEMORY_LIMIT,
                "verdict": verdict(spread(sizes), MEMORY_LIMIT),
            }
        )
    return records


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


def compared(runs: Mapping[int, Sequence[Point]]) -> list[dict[str, Any]]:
    """Every number of ranges against the smallest, by medians."""
    few = min(runs)
    records = []
    for count in sorted(set(runs) - {few}):
        for what in ("cpu", "elapsed"):
            base = [getattr(point, what) for point in runs[few]]
            mine = [getattr(point, what) for point in runs[count]]
            added = statistics.median(mine) / statistics.median(base) - 1
            noise = max(spread(base), spread(mine)) / 2
            records.append(
                {
                    "what": what,
                    "ranges": [few, count],
                    "added": added,
                    "milliseconds_per_range": 1e3
                    * (statistics.median(mine) - statistics.median(base))
                    / (count - few),
                    "limit": RANGES_LIMIT,
                    "noise": noise,
                    "verdict": verdict(added, RANGES_LIMIT, noise),
                }
            )
    return records


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


def _median(points: Sequence[Point]) -> Point:
    fields = {name: [getattr(p, name) for p in points] for name in Point.__slots__}
    return Point(**{name: statistics.median(values) for name, values in fields.items()})


if __name__ == "__main__":
    main()
