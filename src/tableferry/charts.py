"""What a report's timeline looks like: lanes of workers and rows a second, as shapes. Pure.

Shapes are measured in thousandths of a percent of the width, so that they need no fractions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tableferry.spelling import count, duration, moment, rate, size

# As report.of_outcome gives it: see "span" in docs/report.schema.json.
Span: TypeAlias = Mapping[str, Any]

WIDTH = 100_000
HEIGHT = 1000
MOST_BARS = 3000
_BINS = 120
_MOST_LANES = 64
_STEPS = (1, 2, 5)

# What workers do, in the order in which a table meets it.
ACTIVITIES = {
    "copy": "copying",
    "gather": "gathering",
    "survey": "surveying",
    "count": "counting",
    "index": "keys and indexes",
    "verify": "verifying",
    "search": "searching",
    "other": "other work",
}


@dataclass(frozen=True, slots=True)
class Bar:
    left: int
    width: int
    what: str
    title: str
    failed: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    name: str
    bars: tuple[Bar, ...]
    # Percent of the run in which the worker was at work.
    busy: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Rows a second in bins; ``path`` is an area over WIDTH and HEIGHT."""

    what: str
    path: str
    bins: tuple[Bar, ...]
    peak: str
    mean: str
    rows: int


@dataclass(frozen=True, slots=True)
class Chart:
    """``ticks`` are places on the axis of time, in percent, with their labels."""

    ticks: tuple[tuple[float, str], ...]
    phases: tuple[Bar, ...]
    lanes: tuple[Lane, ...]
    lanes_left_out: int
    # Jobs that ended with an error.
    failed: int
    activities: tuple[str, ...]
    # Below this, in seconds, neighbours are drawn as one bar; 0 where each has its own.
    merged_below: float
    curves: tuple[Curve, ...]
    highest: str
    bin_seconds: float


def chart(timeline: Sequence[Span], total: float) -> Chart | None:
    """None where there is no timeline, as of a plan."""
    total = max([total, *(span["began"] + span["seconds"] for span in timeline)])
    if not timeline or total <= 0:
        return None
    by_worker: dict[int, list[Span]] = defaultdict(list)
    for span in timeline:
        by_worker[span["worker"]].append(span)
    phases = by_worker.pop(0, [])
    workers = sorted(by_worker)
    shown = workers[:_MOST_LANES]
    drawn = sum(len(by_worker[number]) for number in shown)
    below = total * len(shown) / MOST_BARS if drawn > MOST_BARS else 0.0
    work = [span for span in timeline if span["worker"]]
    curves, highest = _curves(work, total)
    met = {span["what"] for span in work}
    return Chart(
        ticks=tuple(_ticks(total)),
        phases=tuple(_bar([span], total, label=span["name"]) for span in phases),
        lanes=tuple(_lane(number, by_worker[number], total, below) for number in shown),
        lanes_left_out=len(workers) - len(shown),
        failed=sum(span["failed"] for span in work),
        activities=tuple(what for what in ACTIVITIES if what in met),
        merged_below=below,
        curves=curves,
        highest=rate(highest),
        bin_seconds=total / _BINS,
    )


def busy_seconds(timeline: Iterable[Span]) -> dict[str, dict[str, float]]:
    """Of each table, by the source's name, what workers spent on it, by what they did."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for span in timeline:
        if span["worker"] and span["table"]:
            found[span["table"]][span["what"]] += span["seconds"]
    return found


def _ticks(total: float) -> Iterator[tuple[float, str]]:
    # At most six, so that their labels stand apart on a phone.
    step = next(
        base * 10**power
        for power in range(-6, 12)
        for base in _STEPS
        if total / (base * 10**power) <= 6
    )
    if step >= 10 and total > 60:
        step = next(s for s in (15, 30, 60, 120, 300, 600, 1800, 3600, step) if total / s <= 6)
    number = 0
    while number * step <= total:
        yield 100 * number * step / total, moment(number * step, step)
        number += 1


def _lane(number: int, spans: Sequence[Span], total: float, below: float) -> Lane:
    at_work = sum(span["seconds"] for span in spans)
    bars = (_bar(group, total) for group in _neighbours(spans, below))
    return Lane(f"worker {number}", tuple(bars), round(100 * at_work / total))


def _neighbours(spans: Sequence[Span], below: float) -> Iterator[list[Span]]:
    """Spans in groups that are drawn as one: those that begin within the same short time."""
    group: list[Span] = []
    for span in spans:
        if group and span["began"] >= group[0]["began"] + below:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _bar(spans: list[Span], total: float, label: str = "") -> Bar:
    begin = spans[0]["began"]
    end = max(span["began"] + span["seconds"] for span in spans)
    left = round(WIDTH * begin / total)
    width = max(1, round(WIDTH * end / total) - left)
    failed = any(span["failed"] for span in spans)
    if len(spans) == 1:
        return Bar(left, width, spans[0]["what"], _title(spans[0]), failed, label)
    seconds: dict[str, float] = defaultdict(float)
    for span in spans:
        seconds[span["what"]] += span["seconds"]
    most = max(seconds, key=lambda what: seconds[what])
    return Bar(left, width, most, _joint_title(spans, begin, end), failed)


def _title(span: Span) -> str:
    what, name = span["what"], span["name"]
    if what == "run":
        words = name
    elif name:
        words = f"{name} of {span['table']}"
    else:
        words = f"{what} {span['table']}".strip()
    details = []
    if span["side"] and what != "index":
        details.append(span["side"])
    if span["range"] is not None:
        details.append(f"range {span['range']}")
    if span["rows"] is not None:
        details.append(count(span["rows"], "row"))
    if span["bytes"]:
        details.append(size(span["bytes"]))
    details.append(f"{duration(span['seconds'])} from {span['began']:.3f} s")
    if span["failed"]:
        details.append("ended with an error")
    return f"{words}: {', '.join(details)}"


def _joint_title(spans: Sequence[Span], begin: float, end: float) -> str:
    seconds: dict[str, float] = defaultdict(float)
    for span in spans:
        seconds[span["what"]] += span["seconds"]
    words = ", ".join(f"{what} {duration(took)}" for what, took in seconds.items())
    tables = {span["table"] for span in spans}
    whose = next(iter(tables)) if len(tables) == 1 else count(len(tables), "table")
    rows = sum(span["rows"] or 0 for span in spans)
    return (
        f"{len(spans):,} jobs of {whose}, {count(rows, 'row')}, {begin:.3f} to {end:.3f} s: {words}"
    )


def _curves(work: Sequence[Span], total: float) -> tuple[tuple[Curve, ...], float]:
    """Rows copied and rows verified, each over time, and the highest rate of both."""
    bins = {what: _binned(work, what, total) for what in ("copy", "verify")}
    width = total / _BINS
    highest = max(max(rows) for rows in bins.values()) / width
    if not highest:
        return (), 0.0
    curves = []
    for what, rows in bins.items():
        spans = [span for span in work if span["what"] == what and span["rows"]]
        if not spans:
            continue
        length = max(s["began"] + s["seconds"] for s in spans) - min(s["began"] for s in spans)
        whole = sum(span["rows"] for span in spans)
        mean = whole / length if length else 0.0
        rates = [found / width for found in rows]
        path = _area([round(HEIGHT * each / highest) for each in rates])
        shown = tuple(_bin(what, number, each, width) for number, each in enumerate(rates) if each)
        curves.append(Curve(what, path, shown, rate(max(rates)), rate(mean), whole))
    return tuple(curves), highest


def _binned(work: Sequence[Span], what: str, total: float) -> list[float]:
    """Rows by bin; those of a span are spread evenly over its time."""
    bins = [0.0] * _BINS
    width = total / _BINS
    for span in work:
        if span["what"] != what or not span["rows"]:
            continue
        begin, seconds = span["began"], span["seconds"]
        first = min(_BINS - 1, int(begin / width))
        last = min(_BINS - 1, int((begin + seconds) / width))
        if first == last:
            bins[first] += span["rows"]
            continue
        for number in range(first, last + 1):
            inside = min(begin + seconds, (number + 1) * width) - max(begin, number * width)
            bins[number] += span["rows"] * max(0.0, inside) / seconds
    return bins


def _bin(what: str, number: int, rows: float, width: float) -> Bar:
    left = round(WIDTH * number / _BINS)
    right = round(WIDTH * (number + 1) / _BINS)
    title = f"{what}: {rate(rows)} rows/s at {number * width:.2f} to {(number + 1) * width:.2f} s"
    return Bar(left, right - left, what, title)


def _area(heights: Sequence[int]) -> str:
    path, level = f"M0 {HEIGHT}", 0
    for number, height in enumerate(heights):
        if height != level:
            path += f"H{round(WIDTH * number / _BINS)}V{HEIGHT - height}"
            level = height
    return f"{path}H{WIDTH}V{HEIGHT}Z"
