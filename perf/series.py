"""What perf.plots draws, taken out of the records of perf.bench. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from perf.verdicts import PRODUCT, Spread

Record = dict[str, Any]

# Ours and the rivals' phases under one name each, in the order of a run. "rest" is when nobody does
# anything, such as while worker processes start.
START, PREPARE, COPY, KEYS, STATISTICS, VERIFY, FINISH, REST, WHOLE = (
    "start",
    "prepare",
    "copy",
    "keys",
    "statistics",
    "verify",
    "finish",
    "rest",
    "not told apart",
)
PHASES = (START, PREPARE, COPY, KEYS, STATISTICS, VERIFY, FINISH, REST, WHOLE)
_OF_RIVALS = {
    "start": START,
    "create": PREPARE,
    "copy": COPY,
    "keys": KEYS,
    "hash": VERIFY,
    "read": VERIFY,
    "read back": VERIFY,
}
# What a worker of ours does, and what the run itself does where no worker does anything.
_OF_WORKERS = {
    "copy": COPY,
    "gather": COPY,
    "survey": PREPARE,
    "count": VERIFY,
    "index": KEYS,
    "verify": VERIFY,
    "search": VERIFY,
}
_OF_RUNS = {"inspect": PREPARE, "prepare": PREPARE, "finish": FINISH, "publish": FINISH}
_SUMS = ("total", "own_total", "cpu")


@dataclass(frozen=True, slots=True)
class RatioRow:
    """One comparison. ``targets`` by their names."""

    case: str
    name: str
    ratio: float
    least: float
    greatest: float
    targets: Mapping[str, float]
    verdicts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Line:
    """Points of a contender, from left to right."""

    label: str
    x: tuple[float, ...]
    y: tuple[Spread, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """The seconds of a contender's phases under the names of PHASES; their sum is the median."""

    case: str
    contender: str
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


def shares(timeline: Sequence[Record], total: float) -> dict[str, float]:
    """The seconds of a run of ours, each given to what was done in it, so that they sum up to
    `total`: phases overlap, and a moment in which several workers are busy is shared evenly.
    `timeline` as in a report, see docs/report.md."""
    changes = sorted(
        (moment, step, span["worker"] > 0, _phase(span))
        for span in timeline
        for moment, step in ((span["began"], 1), (span["began"] + span["seconds"], -1))
    )
    found = dict.fromkeys(PHASES, 0.0)
    busy: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    moments = [(0.0, []), *((at, list(group)) for at, group in groupby(changes, lambda c: c[0]))]
    for (at, group), (following, _) in pairwise([*moments, (total, [])]):
        for _, step, by_worker, phase in group:
            busy[by_worker][phase] += step
        active = +busy[True] or +busy[False] or Counter({REST: 1})
        for phase, count in active.items():
            found[phase] += (following - at) * count / active.total()
    return {phase: seconds for phase, seconds in found.items() if seconds}


def _phase(span: Record) -> str:
    if span["what"] == "index" and span["name"] == "statistics":
        return STATISTICS  # no rival takes them
    if span["worker"]:
        return _OF_WORKERS[span["what"]]
    return _OF_RUNS.get(span["name"], REST)


def ratios(records: Sequence[Record]) -> list[RatioRow]:
    return [
        RatioRow(
            record["case"],
            record["name"],
            record["ratio_of_medians"],
            record["ratios_of_pairs"][0],
            record["ratios_of_pairs"][1],
            {name: found["target"] for name, found in record["verdicts"].items()},
            {name: found["verdict"] for name, found in record["verdicts"].items()},
        )
        for record in records
        if record["kind"] == "ratio"
    ]


def against_rows(records: Sequence[Record], prefix: str) -> dict[str, list[Line]]:
    """Whole seconds against the rows of the data, by direction, of the cases whose data's name
    starts with `prefix` and that compare anything."""
    compared = {record["case"] for record in records if record["kind"] == "ratio"}
    points: dict[str, dict[str, dict[int, Spread]]] = {}
    for setup in _setups(records).values():
        if setup["data"].startswith(prefix) and setup["case"] in compared:
            lines = points.setdefault(setup["direction"], {})
            for contender, runs in _runs(records, setup["case"]).items():
                spread = Spread.of([run["seconds"]["total"] for run in runs])
                lines.setdefault(contender, {})[setup["rows"]] = spread
    return {
        direction: [_line(label, found) for label, found in lines.items()]
        for direction, lines in points.items()
    }


def against_workers(records: Sequence[Record]) -> list[Line]:
    """Rows a second against the number of workers, of each case that has the product alone."""
    lines = []
    for case in _setups(records):
        points = {
            runs[0]["detail"]["workers"]: Spread.of(
                [run["detail"]["rows"] / run["seconds"]["total"] for run in runs]
            )
            for contender, runs in _runs(records, case).items()
            if contender.startswith(f"{PRODUCT}-")
        }
        if points:
            lines.append(_line(_setups(records)[case]["data"], points))
    return lines


def bars(records: Sequence[Record]) -> Iterator[tuple[Bar, ...]]:
    """Of each case with a comparison: the product, and the rival that is named first."""
    for case in _setups(records):
        rivals = [r["by"].split(":")[0] for r in records if _is(r, "ratio", case)]
        if rivals:
            runs = _runs(records, case)
            yield tuple(_bar(case, name, runs[name]) for name in (PRODUCT, rivals[0]))


def cores(records: Sequence[Record]) -> int:
    return max(int(setup["machine"]["cores"]) for setup in _setups(records).values())


def _bar(case: str, contender: str, runs: Sequence[Record]) -> Bar:
    """What a rival does not tell apart is one piece."""
    total = statistics.median(run["seconds"]["total"] for run in runs)
    if contender == PRODUCT:
        found = _mean([run["detail"]["shares"] for run in runs])
        start = statistics.mean(
            run["seconds"]["total"] - run["seconds"]["own_total"] for run in runs
        )
        found[START] = found.get(START, 0.0) + start
    else:
        found = _mean([_named(run["seconds"]) for run in runs]) or {WHOLE: total}
    factor = total / sum(found.values())
    return Bar(case, contender, {name: value * factor for name, value in found.items()})


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name. Medians of parts do not sum up to that of the whole, means do."""
    names = dict.fromkeys(name for each in found for name in each)
    return {name: statistics.mean(each.get(name, 0.0) for each in found) for name in names}


def _named(seconds: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for phase, value in seconds.items():
        if phase not in _SUMS:
            name = _OF_RIVALS[phase]
            found[name] = found.get(name, 0.0) + value
    return found


def _line(label: str, points: Mapping[int, Spread]) -> Line:
    x = tuple(sorted(points))
    return Line(label, x, tuple(points[at] for at in x))


def _setups(records: Sequence[Record]) -> dict[str, Record]:
    return {record["case"]: record for record in records if record["kind"] == "setup"}


def _runs(records: Sequence[Record], case: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if _is(record, "run", case):
            found.setdefault(record["contender"], []).append(record)
    return found


def _is(record: Record, kind: str, case: str) -> bool:
    return bool(record["kind"] == kind and record["case"] == case)
