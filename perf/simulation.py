"""What a run would take on other machines: predicted, and never measured.

    python -m perf.simulation_measure costs FILE.sqlite COSTS
    python -m perf.simulation_measure trips FILE.sqlite COSTS; … helped FILE.sqlite COSTS
    python -m perf.simulation_measure costs SMALL.sqlite OTHERS
    python -m perf.simulation_measure runs FILE.sqlite >> RUNS.jsonl
    python -m perf.simulation COSTS --small OTHERS --runs RUNS.jsonl --plot perf/results

Every kind of job of the whole job SQLite → PostgreSQL is measured once, with one worker
(`simulation_probe.py`, `simulation_costs.py`); then the product's own queue hands the jobs to
workers that exist in simulated time alone (`simulation_model.py`, `simulation_engine.py`). Prints
JSON lines, each figure with its kind: "predicted", "predicted if" the product did something
otherwise, or "validation" beside a measured one, with the error; and a table for people on standard
error.

What it knows: cores shared fairly by runnable processes, of one machine or of two; that a worker
and its server session take turns, as far as they were seen to; statements that PostgreSQL gives to
several processes; the bandwidth of the server's log; round trips; what the coordinator does between
two jobs; the start and the end of processes. What binds is found by lifting one limit after the
other: the one whose lifting shortens the run most.

What it does not know, so that large predictions are rather too good:

- contention within the server (WAL insertion locks, the lock under which a table grows, buffer
  mapping) and within the kernel (page cache, memory bandwidth, two threads to a core);
- disks: files are in the page cache, checkpoints happen between runs;
- a network's bandwidth: only its latency, with a window of 4 MiB;
- statements and keys that take another plan when there are more rows: times grow with rows alone,
  and what one helper shares with a session is taken to be shared by several;
- that all statements at once have max_parallel_workers helpers, eight as it comes;
- surveys, rejects, foreign keys and everything else that the data of the measured run had not.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

from perf.paired import emit
from perf.simulation_costs import (
    Costs,
    Record,
    fixed_of,
    least_marks,
    median_records,
    overlaps_of,
    table_costs,
    table_costs_to_sqlite,
    trips_of,
    warm_up,
    with_helpers,
    with_straight,
)
from perf.simulation_figures import Validation, predictions, setting_of, table, validate
from perf.simulation_limits import changes

CORES = (1, 2, 4, 16, 64)
LATENCIES = (0.0, 0.001, 0.020)


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
    # A round that was broken off has no plain runs.
    rounds = sorted(file.parent for file in folder.glob("[0-9]*/plain.json"))
    loaded = [load_records(one) for one in rounds]
    ready, *jobs = median_records([jobs for _, jobs in loaded])
    marks = least_marks([marks for marks, _ in loaded])
    runs = [run for one in rounds for run in json.loads((one / "plain.json").read_text())]
    alone = [run for run in runs if run["workers"] == 1]
    outside = min(run["seconds"] - run["timings"]["total"] for run in alone)
    between = statistics.median(run["gap"] for run in alone)
    warm = warm_up(jobs)
    back = setup.get("back", False)
    if back:
        tables = table_costs_to_sqlite(jobs, setup["pages"], warm)
    else:
        tables = table_costs(jobs, setup["sizes"], warm)
    fixed = fixed_of(marks, ready, outside, between, warm)
    # Of runs without the probe's own connection.
    retire = min(run["retire"] for run in alone)
    if (folder / "helped").exists():
        tables = with_helpers(tables, load_records(folder / "helped")[1][1:], 1)
    if (folder / "straight").exists():
        tables = with_straight(tables, load_records(folder / "straight")[1][1:])
    costs = Costs(
        tables,
        replace(fixed, retire=retire),
        to_sqlite=back,
        log_bandwidth=setup["log_bandwidth"],
    )
    if (folder / "turns.jsonl").exists():
        marks, (_, *jobs) = load_records(folder / "trips")
        turns = [json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()]
        trips, by_tcp = trips_of(jobs, marks, turns), overlaps_of(jobs)
        costs = replace(costs, trips=trips, by_tcp=by_tcp)
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description="Predict a run on other machines.")
    parser.add_argument("costs", type=Path, help="folder of simulation_measure costs")
    parser.add_argument("--runs", type=Path, help="measured runs, of simulation_measure runs")
    parser.add_argument(
        "--small", type=Path, help="such a folder of a smaller file, for what rows do not change"
    )
    parser.add_argument("--factor", type=float, nargs="+", default=[1.0], help="times the rows")
    parser.add_argument("--cores", type=int, nargs="+", default=CORES)
    parser.add_argument("--latency", type=float, nargs="+", default=LATENCIES, help="seconds")
    parser.add_argument("--measured-on", type=float, default=2.0, help="cores of that machine")
    parser.add_argument("--plot", type=Path, help="folder for a picture")
    options = parser.parse_args()
    costs = load_costs(options.costs)
    if options.small:
        small = load_costs(options.small)
        costs = replace(costs, fixed=small.fixed)
    emit("setup", json.loads((options.costs / "setup.json").read_text()))
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
        setting = setting_of(cores, latency)
        described = {"cores": cores, "latency": latency, "factor": options.factor[-1]}
        scaled = costs.times(options.factor[-1])
        emit("predicted if", described | {"predicted_seconds": changes(scaled, setting)})
    print(table(found), file=sys.stderr)
    if options.plot:
        from perf.simulation_plot import draw

        rows = sum(one.rows for one in costs.tables)
        draw(found, {rows: validations}, options.plot, back=costs.to_sqlite)


if __name__ == "__main__":
    main()
