"""What `python -m perf.bench` can measure, as a table of frozen values. Pure.

The targets are those for two cores; see docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from perf.verdicts import PRODUCT, Comparison, Targets

SCALES = (0.1, 1, 5)
TPCH = {scale: f"tpch-{scale:g}" for scale in SCALES}
WORKER_COUNTS = (1, 2, 3, 4)
RATES = ("read-sqlite", "read-postgresql", "ingest-postgresql", "ingest-sqlite", "digest")

# Where a run reads and what it writes. Where it starts from a filled database, the product has
# filled it; rates are of single steps over both filled sides.
TO_POSTGRESQL, TO_SQLITE = "to-postgresql", "to-sqlite"
VERIFY, RATE = "verify", "rate"


@dataclass(frozen=True, slots=True)
class Contender:
    """`name` is what records call it; `program` is the product, a rival of perf.rivals, or a rate
    of perf.rates."""

    name: str
    program: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """`memory` are targets of the product's peak, in MB (10^6 bytes); `quick` cases are in the run
    that takes minutes."""

    name: str
    data: str
    direction: str
    contenders: tuple[Contender, ...]
    comparisons: tuple[Comparison, ...] = ()
    memory: Targets | None = None
    quick: bool = False


# Of the largest scale factor, whatever is done to it.
MEMORY = Targets(800, 500)
OURS = Contender(PRODUCT, PRODUCT)
# As the product's own sessions: a commit need not wait for the disk.
BARE_LOOP = Contender("bare_loop", "bare_loop", ("--session=SET synchronous_commit = off",))


def _rival(name: str) -> Contender:
    return BARE_LOOP if name == BARE_LOOP.name else Contender(name, name)


def _whole(rival: str, targets: Targets | None = None) -> Comparison:
    return Comparison(f"whole job / {rival}", "total", rival, "total", targets)


def _against(
    data: str, direction: str, rivals: dict[str, Targets | None], *, quick: bool = False
) -> Case:
    """Whole jobs, but of the bare loop, which neither builds keys nor verifies: of that the copy,
    both sides with the start of their workers. The case is called as its data and its direction."""
    comparisons = tuple(
        Comparison("copy / bare_loop", "copy", "bare_loop", "total", targets)
        if rival == BARE_LOOP.name
        else _whole(rival, targets)
        for rival, targets in rivals.items()
    )
    contenders = (OURS, *map(_rival, rivals))
    name = data + {TO_POSTGRESQL: "", TO_SQLITE: "-back", VERIFY: "-verify"}[direction]
    return Case(name, data, direction, contenders, comparisons, quick=quick)


def _tpch(scale: float) -> tuple[Case, ...]:
    data, main = TPCH[scale], scale == 1
    there: dict[str, Targets | None] = {
        "duckdb_same_work": Targets(1.0, 0.8) if main else None,
        "bare_loop": Targets(1.05, 0.95) if main else None,
    }
    if scale <= 1:  # the slow ones: beyond this they would take most of the time
        there |= {"pgloader": Targets(0.33, 0.25) if main else None, "shell_recipe": None}
    back = {"duckdb_to_sqlite": Targets(0.9, 0.6) if main else None}
    again = {
        "duckdb_hashes": Targets(1.1, 0.7) if main else None,
        "bare_read": Targets(1.15) if main else None,
        "bare_read_plain": Targets(1.15) if main else None,
    }
    cases = (
        _against(data, TO_POSTGRESQL, there, quick=scale < 1),
        _against(data, TO_SQLITE, back, quick=scale < 1),
        _against(data, VERIFY, again, quick=scale < 1),
    )
    return tuple(replace(case, memory=MEMORY if scale == 5 else None) for case in cases)


def _shape(data: str, *rivals: str) -> tuple[Case, ...]:
    return (
        _against(data, TO_POSTGRESQL, dict.fromkeys(rivals), quick=True),
        _against(data, TO_SQLITE, {"duckdb_to_sqlite": None}),
    )


def _workers(scale: float) -> Case:
    """The product alone, with more and more workers."""
    runs = tuple(
        Contender(f"{PRODUCT}-{count}", PRODUCT, ("--workers", str(count)))
        for count in WORKER_COUNTS
    )
    return Case(f"workers-{scale:g}", TPCH[scale], TO_POSTGRESQL, runs, quick=scale < 1)


def _rates(scale: float) -> Case:
    rates = tuple(Contender(name, name) for name in RATES)
    return Case(f"rates-{scale:g}", TPCH[scale], RATE, rates, quick=scale < 1)


CASES: tuple[Case, ...] = (
    *(case for scale in SCALES for case in _tpch(scale)),
    *_shape("wide", "duckdb_same_work", "bare_loop"),
    *_shape("two-columns", "duckdb_same_work", "bare_loop"),
    *_shape("long-text", "duckdb_same_work", "bare_loop"),
    *_shape("blobs", "duckdb_same_work"),
    *_shape("text-keys", "duckdb_same_work", "bare_loop"),
    *_shape("keyless", "duckdb_same_work", "bare_loop"),
    _against("many-tables", TO_POSTGRESQL, {"bare_tables": Targets(2.0)}, quick=True),
    _against("narrow", TO_POSTGRESQL, {"duckdb_same_work": Targets(1.2, 0.8)}),
    _against("narrow", TO_SQLITE, {"duckdb_to_sqlite": None}),
    _against("chinook", TO_POSTGRESQL, {"pgloader": Targets(0.9, 0.5)}, quick=True),
    _workers(0.1),
    _workers(1),
    _rates(0.1),
    _rates(1),
)


def chosen(names: Sequence[str], *, full: bool) -> tuple[Case, ...]:
    """The named cases in the table's order, or all (`full`), or the quick ones. Raises KeyError for
    a name that is not there."""
    known = {case.name: case for case in CASES}
    wanted = {known[name].name for name in names}
    if wanted:
        return _of(wanted)
    return CASES if full else tuple(case for case in CASES if case.quick)


def against(case: Case, rivals: Sequence[str]) -> Case:
    """The case with these rivals alone."""
    kept = (PRODUCT, *rivals)
    return replace(
        case,
        contenders=tuple(one for one in case.contenders if one.name in kept),
        comparisons=tuple(one for one in case.comparisons if one.rival in kept),
    )


def _of(names: Iterable[str]) -> tuple[Case, ...]:
    return tuple(case for case in CASES if case.name in names)


def in_turn(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Each once, and in every round another one first: the second may find a busier disk."""
    first = number % max(len(contenders), 1)
    return [*contenders[first:], *contenders[:first]]
