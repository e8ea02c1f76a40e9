"""Pictures of what perf.bench has measured: `python -m perf.plots FILE.jsonl …`

Into perf/results/, named after the first file: ratios (one row a comparison, with its spread and
its targets), rows (time against rows), workers (rows a second against workers) and phases (where
the time goes, ours and the first rival's). Several files are taken as one run; a case that stands
in more than one counts as the last has it. A picture for which nothing was measured is not drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from perf.bench import RESULTS_FOLDER
from perf.cases import CASES
from perf.series import (
    COPY,
    FINISH,
    KEYS,
    PHASES,
    PREPARE,
    REST,
    START,
    STATISTICS,
    VERIFY,
    WHOLE,
    Bar,
    Line,
    RatioRow,
    Record,
    against_rows,
    against_workers,
    bars,
    cores,
    ratios,
)
from perf.verdicts import MET, NOT_MET, PRODUCT, UNDECIDED

# The palette of Okabe and Ito, which people see apart whatever their eyes for colours.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
)
GREY, PALE = "#767676", "#d9d9d9"
OF_VERDICT = {MET: GREEN, NOT_MET: RED, UNDECIDED: ORANGE, "": GREY}
OF_PHASE = {
    START: PALE,
    PREPARE: YELLOW,
    COPY: BLUE,
    KEYS: ORANGE,
    STATISTICS: RED,
    VERIFY: GREEN,
    FINISH: PINK,
    REST: GREY,
    WHOLE: SKY,
}
OF_LINES = (BLUE, ORANGE, GREEN, PINK, RED, SKY)
MARKERS = "osD^vP"
TICKS = (0.1, 0.2, 0.25, 0.33, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20)
ROW_INCHES = 0.28
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.dpi": 130,
}
NAMES = {
    PRODUCT: "tableferry",
    "duckdb_same_work": "DuckDB, same work",
    "duckdb_to_sqlite": "DuckDB, same work",
    "duckdb_hashes": "DuckDB, hashes only",
    "shell_recipe": "sqlite3 | psql, copy only",
    "bare_loop": "bare loop, copy only",
    "bare_tables": "bare loop by table",
    "bare_read": "bare read, numeric as text",
    "bare_read_plain": "bare read",
    "pgloader": "pgloader, unverified",
}
DIRECTION_TITLES = {
    "to-postgresql": "SQLite to PostgreSQL",
    "to-sqlite": "PostgreSQL to SQLite",
    "verify": "verification alone",
}


def draw_ratios(records: Sequence[Record]) -> Any:
    rows = ratios(records)
    if not rows:
        return None
    places, height = _rows_under_headings([row.case for row in rows])
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + ROW_INCHES * height), layout="constrained")
    axes.axvline(1, color=BLACK, linewidth=0.8, zorder=1)
    for place, row in zip(places, rows, strict=True):
        _draw_ratio(axes, row, place)
    _name_rows(axes, [(row.case, _named(row)) for row in rows], places, height)
    axes.set_xscale("log")
    low = min(min(row.least, *row.targets.values(), row.ratio) for row in rows)
    high = max(max(row.greatest, *row.targets.values(), row.ratio) for row in rows)
    axes.set_xlim(min(low * 0.9, 0.9), max(high * 1.1, 1.1))
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("ours ÷ rival, ratio of medians (log scale); left of 1 ours takes less")
    _explain_ratios(figure)
    return figure


def _draw_ratio(axes: Axes, row: RatioRow, place: float) -> None:
    colour = OF_VERDICT[row.verdicts.get("first", "")]
    axes.plot([row.least, row.greatest], [place, place], color=colour, linewidth=4, alpha=0.4)
    axes.plot(row.ratio, place, "o", color=colour, markersize=5)
    for name, marker, size in (("first", "|", 11), ("aim", "<", 5)):
        if name in row.targets:
            style = {"color": BLACK, "markersize": size, "markeredgewidth": 1.5, "zorder": 4}
            axes.plot(row.targets[name], place, marker, **style)
    text = f"{row.ratio:.2f}  ({row.least:.2f} to {row.greatest:.2f})"
    edge = ("axes fraction", "data")
    axes.annotate(text, (1.01, place), xycoords=edge, va="center", fontsize=8)


def _named(row: RatioRow) -> str:
    measure, _, rival = row.name.partition(" / ")
    return f"{measure} ÷ {NAMES[rival]}"


def _rows_under_headings(cases: Sequence[str]) -> tuple[list[float], float]:
    """Where each row goes, with one free above the first of each case; and the height of all."""
    places, last, place = [], "", -1.0
    for case in cases:
        place += 1.0 if case == last else 2.1
        places.append(place)
        last = case
    return places, place + 1


def _name_rows(
    axes: Axes, names: Sequence[tuple[str, str]], places: Sequence[float], height: float
) -> None:
    """Each row by its second name, and the first one above the rows that share it."""
    last = ""
    for (case, _), place in zip(names, places, strict=True):
        if case != last:
            axes.axhline(place - 1.5, color=PALE, linewidth=0.6)
            axes.annotate(
                case,
                (-0.01, place - 1),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontweight="bold",
            )
        last = case
    axes.set_yticks(places, [name for _, name in names])
    axes.set_ylim(height - 0.3, -0.5)
    axes.tick_params(axis="y", length=0)


def _explain_ratios(figure: Any) -> None:
    marks = [
        Line2D([], [], color=OF_VERDICT[verdict], marker="o", linewidth=3, label=label)
        for verdict, label in ((MET, "met"), (UNDECIDED, "undecided"), (NOT_MET, "not met"))
    ]
    marks += [
        Line2D([], [], color=GREY, marker="o", linewidth=3, label="no target; bar: all pairs"),
        Line2D([], [], color=BLACK, marker="|", linewidth=0, markersize=11, label="first target"),
        Line2D([], [], color=BLACK, marker="<", linewidth=0, markersize=5, label="aim"),
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks))


def draw_rows(records: Sequence[Record]) -> Any:
    panels = against_rows(records, "tpch")
    if not panels:
        return None
    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(1 + 3.6 * len(panels), 3.8),
        squeeze=False,
        layout="constrained",
    )
    for axes, (direction, lines) in zip(grid[0], panels.items(), strict=True):
        for number, found in enumerate(_product_first(lines)):
            _draw_line(axes, found, number, 1e6)
        axes.set_title(DIRECTION_TITLES[direction])
        axes.set_xlabel("rows of TPC-H, million")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(color=PALE, linewidth=0.6)
        axes.legend(loc="upper left")
    grid[0][0].set_ylabel("seconds, whole run")
    return figure


def _product_first(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.label != PRODUCT)


def _draw_line(axes: Axes, found: Line, number: int, unit: float) -> None:
    """Medians, with bars from the least to the greatest."""
    medians = [point.median for point in found.y]
    below = [point.median - point.min for point in found.y]
    above = [point.max - point.median for point in found.y]
    axes.errorbar(
        [x / unit for x in found.x],
        medians,
        yerr=[below, above],
        label=NAMES.get(found.label, found.label),
        color=OF_LINES[number % len(OF_LINES)],
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        capsize=3,
        linewidth=2 if found.label == PRODUCT else 1.2,
    )


def draw_workers(records: Sequence[Record]) -> Any:
    lines = against_workers(records)
    if not lines:
        return None
    figure, axes = plt.subplots(figsize=(5.5, 3.8), layout="constrained")
    for number, found in enumerate(lines):
        _draw_line(axes, found, number, 1)
    count = cores(records)
    axes.axvline(count, color=GREY, linestyle=":", linewidth=1.2)
    axes.annotate(
        f"{count} processors",
        (count, 0.03),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color=GREY,
    )
    axes.set_title("Whole run, copied and verified")
    axes.set_xlabel("workers")
    axes.set_ylabel("thousand rows a second")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e3:g}"))
    axes.set_xticks(sorted({int(x) for found in lines for x in found.x}))
    axes.set_ylim(bottom=0)
    axes.grid(color=PALE, linewidth=0.6)
    axes.legend(loc="lower right")
    return figure


def draw_phases(records: Sequence[Record]) -> Any:
    groups = list(bars(records))
    if not groups:
        return None
    found = [(bar, group[0].total) for group in groups for bar in group]
    places, height = _rows_under_headings([bar.case for bar, _ in found])
    figure, axes = plt.subplots(figsize=(8.5, 1.2 + ROW_INCHES * height), layout="constrained")
    for place, (bar, whole) in zip(places, found, strict=True):
        _draw_bar(axes, bar, place, whole)
    _name_rows(axes, [(bar.case, NAMES[bar.contender]) for bar, _ in found], places, height)
    axes.axvline(1, color=BLACK, linewidth=0.8, zorder=0.6)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(0, 1.1 * max(bar.total / whole for bar, whole in found))
    axes.set_xlabel("time, our whole run of the same case = 1; the seconds behind each bar")
    used = {phase for bar, _ in found for phase in bar.seconds}
    marks = [
        Rectangle((0, 0), 1, 1, color=OF_PHASE[phase], label=phase)
        for phase in PHASES
        if phase in used
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), handlelength=1.2)
    return figure


def _draw_bar(axes: Axes, bar: Bar, place: float, whole: float) -> None:
    left = 0.0
    for phase in PHASES:
        if width := bar.seconds.get(phase, 0.0) / whole:
            axes.barh(place, width, left=left, height=0.86, color=OF_PHASE[phase])
            left += width
    axes.annotate(
        f"{bar.total:.3g} s",
        (left, place),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


# Each a figure, or None where there is nothing to draw.
DRAWINGS: dict[str, Callable[[Sequence[Record]], Any]] = {
    "ratios": draw_ratios,
    "rows": draw_rows,
    "workers": draw_workers,
    "phases": draw_phases,
}


def read(files: Sequence[Path]) -> list[Record]:
    """The records of all files in the order of the table of cases; of a case that stands in
    several, those of the last."""
    cases: dict[str, list[Record]] = {}
    for file in files:
        found: dict[str, list[Record]] = {}
        for text in file.read_text().splitlines():
            record: dict[str, Any] = json.loads(text)
            found.setdefault(record["case"], []).append(record)
        cases |= found
    return [record for case in CASES for record in cases.get(case.name, ())]


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what perf.bench has measured.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS_FOLDER, help="a folder")
    options = parser.parse_args()
    mpl.use("Agg")
    mpl.rcParams.update(STYLE)
    records = read(options.files)
    options.results.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        if figure := draw(records):
            target = options.results / f"{options.files[0].stem}-{name}.png"
            figure.savefig(target)
            plt.close(figure)
            print(target)


if __name__ == "__main__":
    main()
