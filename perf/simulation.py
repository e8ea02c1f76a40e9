"""What a run would take on other machines: predicted, and never measured.

    python -m perf.simulation_measure costs FILE.sqlite COSTS; … trips SMALL.sqlite COSTS
    python -m perf.simulation_measure runs FILE.sqlite >> RUNS.jsonl
    python -m perf.simulation COSTS --runs RUNS.jsonl --plot perf/results

Every kind of job of the whole job SQLite → PostgreSQL is measured once, with one worker
(`simulation_probe.py`, `simulation_costs.py`); then the product's own queue hands the jobs to
workers that exist in simulated time alone (`simulation_model.py`, `simulation_engine.py`). Prints
JSON lines, each figure with its kind: "predicted", "predicted if" the product did something
otherwise, or "validation" beside a measured one, with the error; and a table for people on standard
error.

What it knows: cores shared fairly by runnable processes, of one machine or of two; that a worker
and its server session take turns, as far as they were seen to; statements that PostgreSQL gives to
three processes; the bandwidth of the server's log; round trips; what the coordinator does between
two jobs; the start and the end of processes. What binds is found by lifting one limit after the
other: the one whose lifting shortens the run most.

What it does not know, so that large predictions are rather too good:

- contention within the server (WAL insertion locks, the lock under which a table grows, buffer
  mapping) and within the kernel (page cache, memory bandwidth, two threads to a core);
- disks: files are in the page cache, checkpoints happen between runs;
- a network's bandwidth: only its latency, with a window of 4 MiB;
- statements and keys that take another plan when there are more rows: times grow with rows alone;
- surveys, rejects, foreign keys and everything else that the data of the measured run had not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from perf.paired import emit
from perf.simulation_costs import (
    Costs,
    Record,
    fixed_of,
    median_marks,
    median_records,
    overlaps_of,
    table_costs,
    table_costs_to_sqlite,
    trips_of,
    warm_up,
)
from perf.simulation_limits import bindings, changes
from perf.simulation_model import Setting, predict

CORES = (1, 2, 4, 16, 64)
LATENCIES = (0.0, 0.001, 0.020)
# What still counts as binding: less is noise of the model itself.
_BINDS = 0.02


def load_records(folder: Path) -> tuple[list[Record], list[Record]]:
    """The coordinator's marks and the worker's jobs, with its own mark first."""
    files = [
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(folder.glob("*.jsonl"))
    ]
    (marks,) = [f for f in files if f[0].get("mark") == "began"]
    (jobs,) = [f for f in files if f[0].get("mark") == "worker ready"]
    return marks, jobs


def load_costs(folder: Path) -> Costs:
    """Of what `simulation_measure costs` and `trips` have left in the folder."""
    setup = json.loads((folder / "setup.json").read_text())
    rounds = sorted(folder.glob("[0-9]*"))
    loaded = [load_records(one) for one in rounds]
    ready, *jobs = median_records([jobs for _, jobs in loaded])
    marks = median_marks([marks for marks, _ in loaded])
    runs = [run for one in rounds for run in json.loads((one / "plain.json").read_text())]
    alone = [run for run in runs if run["workers"] == 1]
    outside = statistics.median(run["seconds"] - run["timings"]["total"] for run in alone)
    between = statistics.median(run["gap"] for run in alone)
    warm = warm_up(jobs)
    back = setup.get("back", False)
    if back:
        tables = table_costs_to_sqlite(jobs, setup["pages"], warm)
    else:
        tables = table_costs(jobs, setup["sizes"], warm)
    costs = Costs(
        tables,
        fixed_of(marks, ready, outside, between, warm),
        to_sqlite=back,
        log_bandwidth=setup["log_bandwidth"],
    )
    if (folder / "turns.jsonl").exists():
        marks, (_, *jobs) = load_records(folder / "trips")
        turns = [json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()]
        trips, by_tcp = trips_of(jobs, marks, turns), overlaps_of(jobs)
        costs = replace(costs, trips=trips, by_tcp=by_tcp)
    return costs


# --- held against what was measured -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Validation:
    """A prediction beside the median of as many measured runs."""

    source: str
    workers: int
    by_tcp: bool
    latency: float
    runs: int
    measured_seconds: float
    measured_least: float
    measured_most: float
    predicted_seconds: float
    error: float
    # Cores that others took from the measured runs, which the prediction goes without too.
    foreign_cores: float


def validate(costs: Costs, runs: Iterable[dict[str, Any]], cores: float) -> Iterator[Validation]:
    """By number of workers and latency. ``runs`` are those of `simulation_measure runs`."""
    groups: dict[tuple[str, int, bool, float], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        tcp = "latency" in run
        groups[run["source"], run["workers"], tcp, run.get("latency", 0.0)].append(run)
    for (source, workers, tcp, latency), found in sorted(groups.items()):
        seconds = [run["seconds"] for run in found]
        middle = statistics.median(seconds)
        taken = statistics.median(
            (run["foreign_cpu"] + run["stolen"]) / run["seconds"] for run in found
        )
        setting = Setting(cores - max(0.0, taken), workers, latency, tcp=tcp)
        proxy = sum(run.get("proxy", {}).get("cpu", 0.0) for run in found) / len(found)
        predicted = predict(_with_proxy(costs, proxy), setting).seconds
        yield Validation(
            source,
            workers,
            tcp,
            latency,
            len(found),
            middle,
            min(seconds),
            max(seconds),
            predicted,
            predicted / middle - 1,
            taken,
        )


def _with_proxy(costs: Costs, seconds: float) -> Costs:
    """The proxy's processor time, where there was one, by the bytes of each table: it works while
    the server does."""
    every = sum(t.copy.bytes + t.verify.bytes for t in costs.tables)

    def more(table: Any) -> Any:
        copy, verify = (
            replace(flow, own=flow.own + seconds * flow.bytes / every)
            for flow in (table.copy, table.verify)
        )
        return replace(table, copy=copy, verify=verify)

    return replace(costs, tables=tuple(more(table) for table in costs.tables))


# --- predicted ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicted:
    """``machines``: one for both ends, or two of as many cores each. ``binds`` are the limits that
    cost most, with the part of the time that goes without each."""

    rows: float
    machines: int
    cores: int
    workers: int
    latency: float
    predicted_seconds: float
    core_seconds: float
    binds: dict[str, float]


def predictions(
    costs: Costs, cores: Sequence[int], latencies: Sequence[float]
) -> Iterator[Predicted]:
    rows = sum(table.rows for table in costs.tables)
    for latency in latencies:
        for number in cores:
            setting = Setting(number, number, latency, apart=latency > 0, tcp=latency > 0)
            found = predict(costs, setting)
            gains = {k: v for k, v in bindings(costs, setting).items() if v >= _BINDS}
            yield Predicted(
                rows,
                1 + setting.apart,
                number,
                setting.workers,
                latency,
                found.seconds,
                sum(found.used.values()),
                dict(list(gains.items())[:4]),
            )


def table(found: Sequence[Predicted]) -> str:
    """For people, in Markdown."""
    lines = [
        "| Rows | Server | Cores | Predicted seconds | What binds (time without that limit) |",
        "|---|---|---|---|---|",
    ]
    for p in found:
        where = "same machine" if p.machines == 1 else f"{p.latency * 1e3:g} ms away"
        binds = ", ".join(f"{name} (−{gain:.0%})" for name, gain in p.binds.items())
        lines.append(
            f"| {p.rows / 1e6:.1f} M | {where} | {p.cores} | {p.predicted_seconds:.1f} "
            f"| {binds or 'nothing alone'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict a run on other machines.")
    parser.add_argument("costs", type=Path, help="folder of simulation_measure costs")
    parser.add_argument("--runs", type=Path, help="measured runs, of simulation_measure runs")
    parser.add_argument("--factor", type=float, nargs="+", default=[1.0], help="times the rows")
    parser.add_argument("--cores", type=int, nargs="+", default=CORES)
    parser.add_argument("--latency", type=float, nargs="+", default=LATENCIES, help="seconds")
    parser.add_argument("--measured-on", type=float, default=2.0, help="cores of that machine")
    parser.add_argument("--plot", type=Path, help="folder for a picture")
    options = parser.parse_args()
    costs = load_costs(options.costs)
    emit("costs", asdict(costs))
    validations: list[Validation] = []
    if options.runs:
        runs = [json.loads(line) for line in options.runs.read_text().splitlines()]
        measured = [run for run in runs if run["kind"] == "measured"]
        validations += validate(costs, measured, options.measured_on)
    for validation in validations:
        emit("validation", asdict(validation))
    found = []
    for factor in options.factor:
        for predicted in predictions(costs.times(factor), options.cores, options.latency):
            emit("predicted", asdict(predicted))
            found.append(predicted)
    for cores, latency in product(options.cores, options.latency):
        setting = Setting(cores, cores, latency, apart=latency > 0, tcp=latency > 0)
        described = {"cores": cores, "latency": latency, "factor": options.factor[-1]}
        scaled = costs.times(options.factor[-1])
        emit("predicted if", described | {"predicted_seconds": changes(scaled, setting)})
    print(table(found), file=sys.stderr)
    if options.plot:
        from perf.simulation_plot import draw

        draw(found, validations, options.plot, back=costs.to_sqlite)


if __name__ == "__main__":
    main()
