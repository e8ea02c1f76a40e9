"""Which limit binds a predicted run, and what changes of the product would do to it: pure.

A limit is asked by lifting it, and predicting the same run again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from perf.simulation_costs import MOST_SORTING, Costs, Flow
from perf.simulation_model import Setting, predict

Change: TypeAlias = Callable[[Costs, Setting], tuple[Costs, Setting]]

_PLENTY = 1e6


def _without_trips(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, latency=0.0)


def _without_coordinator(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return replace(costs, fixed=replace(costs.fixed, between=0.0)), setting


def _without_start(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    fixed = replace(costs.fixed, begin=0.0, spawn=0.0, load=0.0, retire=0.0, warm=Flow(0.0, 0.0))
    return replace(costs, fixed=fixed), setting


def _wide(which: int, costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    widths = list(setting.widths)
    widths[which] = _PLENTY
    return costs, replace(setting, widths=(widths[0], widths[1], widths[2]))


def _with_cores(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    there = None if not setting.apart else setting.there
    return costs, replace(
        setting, cores=2 * setting.cores, workers=2 * setting.workers, server_cores=there
    )


def _with_server_cores(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, server_cores=2 * setting.there)


def _with_workers(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, workers=2 * setting.workers)


def _with_writers(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, many_writers=True)


def _with_log(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return replace(costs, log_bandwidth=float("inf")), setting


def _with_ranges(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, finer=8.0)


# What could bind, and the same run with that limit lifted: cores and workers are doubled, ranges
# cut into eight, and of all else there is plenty.
CORES, THERE, WRITER = "cores", "server cores", "one writer of the file"
LIFTED: dict[str, Change] = {
    CORES: _with_cores,
    THERE: _with_server_cores,
    "a worker for each core": _with_workers,
    "one thread a worker": partial(_wide, 0),
    "one server process a range": partial(_wide, 1),
    "one process a key": partial(_wide, 2),
    "server log": _with_log,
    "round trips": _without_trips,
    "coordinator": _without_coordinator,
    "start and end of processes": _without_start,
    "few ranges": _with_ranges,
    WRITER: _with_writers,
}


def bindings(costs: Costs, setting: Setting) -> dict[str, float]:
    """By how much of its time a run would be shorter without each limit, the most first. The shares
    do not add up: where two bind together, lifting one shows the other."""
    whole = predict(costs, setting).seconds
    gains = {}
    for name, lift in LIFTED.items():
        if (name == THERE and not setting.apart) or (name == WRITER and not costs.to_sqlite):
            continue
        gains[name] = 1 - predict(*lift(costs, setting)).seconds / whole
    return dict(sorted(gains.items(), key=lambda item: -item[1]))


def _read_back_beside_keys(costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, read_back_beside_keys=True)


def _half_the_trips(
    names: tuple[str, ...], costs: Costs, setting: Setting
) -> tuple[Costs, Setting]:
    fewer = {name: getattr(costs.trips, name) / 2 for name in names}
    return replace(costs, trips=replace(costs.trips, **fewer)), setting


def _helped(helpers: int, costs: Costs, setting: Setting) -> tuple[Costs, Setting]:
    return costs, replace(setting, helpers=helpers)


# What the product could do otherwise.
CHANGES: dict[str, Change] = {
    "rows are read back while the key is built": _read_back_beside_keys,
    "half the round trips before the first job": partial(_half_the_trips, ("begin", "prepare")),
    "half the round trips to read a range back": partial(_half_the_trips, ("verify",)),
    "no helpers for indexes": partial(_helped, 0),
    "as many helpers for indexes as the server gives": partial(_helped, MOST_SORTING),
    "two workers for each core": _with_workers,
    "eight times as many ranges": _with_ranges,
}


def changes(costs: Costs, setting: Setting) -> dict[str, float]:
    """Seconds of a run with each change; without any first."""
    found = {"": predict(costs, setting).seconds}
    return found | {name: predict(*make(costs, setting)).seconds for name, make in CHANGES.items()}
