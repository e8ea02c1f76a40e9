"""Figures of the simulation: predictions, and predictions beside what was measured. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perf.simulation_costs import Costs, TableCosts
from perf.simulation_limits import bindings
from perf.simulation_model import Setting, predict

# What still counts as binding: less is noise of the model itself.
_BINDS = 0.02
# Of so many limits, the first are shown.
_SHOWN = 4


def setting_of(cores: int, latency: float) -> Setting:
    """As many workers as cores; a server that is some way off has a machine of its own."""
    return Setting(cores, cores, latency, apart=latency > 0, tcp=latency > 0)


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
    # Processor seconds of client and server, which others disturb less.
    measured_cpu: float
    predicted_cpu: float
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
        predicted = predict(_with_proxy(costs, proxy), setting)
        used = statistics.median(run["server_cpu"] + run["client_cpu"] for run in found)
        yield Validation(
            source,
            workers,
            tcp,
            latency,
            len(found),
            middle,
            min(seconds),
            max(seconds),
            predicted.seconds,
            predicted.seconds / middle - 1,
            used,
            sum(predicted.used.values()),
            taken,
        )


def _with_proxy(costs: Costs, seconds: float) -> Costs:
    """The proxy's processor time, where there was one, by the bytes of each table: it works while
    the server does."""
    every = sum(t.copy.bytes + t.verify.bytes for t in costs.tables)

    def more(table: TableCosts) -> TableCosts:
        copy, verify = (
            replace(flow, own=flow.own + seconds * flow.bytes / every)
            for flow in (table.copy, table.verify)
        )
        return replace(table, copy=copy, verify=verify)

    return replace(costs, tables=tuple(more(table) for table in costs.tables))


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
            setting = setting_of(number, latency)
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
                dict(list(gains.items())[:_SHOWN]),
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
