"""What the measured times say: medians, ratios of two contenders, and verdicts. Pure.

A ratio is that of the medians, and its spread is that of the pairs: each run of ours divided by the
rival's run of the same round. The ratio of medians always lies within that spread, so a verdict
needs the spread alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PRODUCT = "product"
MET, NOT_MET, UNDECIDED = "met", "not met", "undecided"
# Of fewer pairs there is no spread.
FEWEST_PAIRS = 2


@dataclass(frozen=True, slots=True)
class Targets:
    """Upper bounds: what a figure has to reach first, and what it aims at, if more."""

    first: float
    aim: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Phase `of` of the contender `ours`, divided by phase `by` of a rival."""

    name: str
    of: str
    rival: str
    by: str
    targets: Targets | None = None
    ours: str = PRODUCT


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of the medians, with the least and the greatest of the single pairs."""

    of_medians: float
    least: float
    greatest: float
    pairs: int


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Both in the order of their rounds. Raises ValueError where their numbers differ."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    of_medians = statistics.median(ours) / statistics.median(theirs)
    return Ratio(of_medians, min(pairs), max(pairs), len(pairs))


def verdict(found: Ratio, target: float) -> str:
    """Met or not only where all pairs agree on it."""
    if found.pairs < FEWEST_PAIRS:
        return UNDECIDED
    if found.greatest <= target:
        return MET
    return NOT_MET if found.least > target else UNDECIDED


def verdicts(found: Ratio, targets: Targets | None) -> dict[str, dict[str, Any]]:
    """Target and verdict by the target's name, "first" and "aim"; empty where there is none."""
    return {
        name: {"target": target, "verdict": verdict(found, target)}
        for name, target in (asdict(targets) if targets else {}).items()
        if target is not None
    }


def within(value: float, targets: Targets | None) -> dict[str, dict[str, Any]]:
    """The same for a figure that has no spread, such as a peak of memory."""
    return {
        name: {"target": target, "verdict": MET if value <= target else NOT_MET}
        for name, target in (asdict(targets) if targets else {}).items()
        if target is not None
    }


def compared(
    comparison: Comparison, seconds: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, Any]:
    """A record of the comparison; ``seconds`` by contender, each a list of runs by phase.

    Of two whole jobs it has the ratio of processor seconds as well, where both were measured:
    they hold stiller on a machine that has other work.
    """
    runs = seconds[comparison.ours], seconds[comparison.rival]
    ours = [run[comparison.of] for run in runs[0]]
    theirs = [run[comparison.by] for run in runs[1]]
    found = ratio(ours, theirs)
    record = {
        "name": comparison.name,
        "of": f"{comparison.ours}: {comparison.of}",
        "by": f"{comparison.rival}: {comparison.by}",
        "ratio_of_medians": found.of_medians,
        "ratios_of_pairs": [found.least, found.greatest],
        "pairs": found.pairs,
        "product_seconds": asdict(Spread.of(ours)),
        "rival_seconds": asdict(Spread.of(theirs)),
        "verdicts": verdicts(found, comparison.targets),
    }
    whole = comparison.of == comparison.by == "total"
    if whole and all("cpu" in run for side in runs for run in side):
        spent = ratio([run["cpu"] for run in runs[0]], [run["cpu"] for run in runs[1]])
        record["cpu_ratio_of_medians"] = spent.of_medians
        record["cpu_ratios_of_pairs"] = [spent.least, spent.greatest]
    return record
