"""The straight line through measured points, and what is said of them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def median(points: Sequence[Point]) -> Point:
    fields = {name: [getattr(p, name) for p in points] for name in Point.__slots__}
    return Point(**{name: statistics.median(values) for name, values in fields.items()})
