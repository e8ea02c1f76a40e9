"""Draws what was predicted: time against cores for each latency, with what binds at each size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.ticker

matplotlib.use("Agg")
from matplotlib import pyplot

if TYPE_CHECKING:
    from perf.simulation_figures import Predicted, Validation

# Told apart by people who see no red or green as well (Okabe and Ito).
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def draw(
    found: Sequence[Predicted],
    measured: Mapping[float, Sequence[Validation]],
    folder: Path,
    *,
    back: bool,
) -> list[Path]:
    """One picture for each number of rows, with what was ``measured`` of so many; answers the
    files."""
    folder.mkdir(parents=True, exist_ok=True)
    by_rows: dict[float, list[Predicted]] = defaultdict(list)
    for predicted in found:
        by_rows[predicted.rows].append(predicted)
    files = []
    for rows, some in sorted(by_rows.items()):
        files.append(folder / f"predicted-{'back-' if back else ''}{rows / 1e6:.0f}M.png")
        title = "PostgreSQL to SQLite" if back else "SQLite to PostgreSQL"
        _picture(title, some, measured.get(rows, ()), files[-1])
    return files


def _picture(
    title: str, found: Sequence[Predicted], measured: Sequence[Validation], file: Path
) -> None:
    rows = found[0].rows
    by_latency: dict[float, list[Predicted]] = defaultdict(list)
    for predicted in found:
        by_latency[predicted.latency].append(predicted)
    figure, (axes, words) = pyplot.subplots(
        2, 1, figsize=(9, 8), height_ratios=(3, 2), layout="constrained"
    )
    for colour, (_, line) in zip(_COLOURS, sorted(by_latency.items()), strict=False):
        axes.plot(
            [p.cores for p in line],
            [p.predicted_seconds for p in line],
            "o--",
            color=colour,
            label=f"predicted, {_where(line[0])}",
        )
    here = [v for v in measured if not v.by_tcp and v.workers <= 2]
    if here:
        axes.plot(
            [v.workers for v in here],
            [v.measured_seconds for v in here],
            "ks",
            markersize=9,
            fillstyle="none",
            label="measured, two cores that others used too",
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({p.cores for p in found})
    axes.set_xticks(ticks, [str(cores) for cores in ticks])
    axes.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.set_xlabel("cores (of each machine, where there are two), and as many workers")
    axes.set_ylabel("seconds, whole job")
    axes.set_title(f"{title}, {rows / 1e6:.1f} million rows: predicted, not measured")
    axes.legend()
    words.axis("off")
    lines = [line for _, line in sorted(by_latency.items())]
    cells = [[_binding(next(p for p in line if p.cores == n)) for line in lines] for n in ticks]
    drawn = words.table(
        cells,
        rowLabels=["1 core" if cores == 1 else f"{cores} cores" for cores in ticks],
        colLabels=[_where(line[0]) for line in lines],
        loc="center",
        cellLoc="left",
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.scale(1, 2.2)
    words.set_title("What binds, and how much shorter the run is without it", fontsize=10)
    figure.savefig(file, dpi=85)
    pyplot.close(figure)


def _where(predicted: Predicted) -> str:
    if predicted.machines == 1:
        return "server on the same machine"
    return f"server {predicted.latency * 1e3:g} ms away"


def _binding(predicted: Predicted) -> str:
    first = list(predicted.binds.items())[:2]
    return "\n".join(f"{name} −{gain:.0%}" for name, gain in first)
