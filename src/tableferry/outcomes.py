"""What comes of a run: differences, verdicts, who did what when. Frozen, picklable, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tableferry.model import LeftBehind, Plan, TableName, TablePlan, ViewPlan, Violation

# How many differences of a table are listed, unless the user says otherwise.
MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class RangeDigest:
    """What one range of one side came to. ``total`` is the sum of row hashes modulo 2^128."""

    number: int
    rows: int
    total: int
    seconds: float
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell or row that is not the same on both sides.

    ``what`` is "changed" (then ``column`` is named), "missing" (only in the source) or "extra"
    (only in the target). Values are shown as text, cut to a readable length. A row that no key
    tells from others stands ``in_source`` and ``in_target`` so many times, and ``times`` is the
    difference.
    """

    table: str
    what: Literal["changed", "missing", "extra"]
    key: tuple[tuple[str, str], ...]
    column: str = ""
    source: str = ""
    target: str = ""
    times: int = 1
    in_source: int = 0
    in_target: int = 0


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of one side that the other cannot have: the hash of its row's key, the key as text,
    and its column's position in the scan."""

    key_hash: int
    key: tuple[tuple[str, str], ...]
    column: int
    value: str


@dataclass(frozen=True, slots=True)
class DifferingRows:
    """How many rows differ: of one key but not of the same values, only in the source, and only in
    the target. Rows without a key of their own are only in the one or the other."""

    changed: int = 0
    missing: int = 0
    extra: int = 0

    def __add__(self, other: DifferingRows) -> DifferingRows:
        return DifferingRows(
            self.changed + other.changed, self.missing + other.missing, self.extra + other.extra
        )

    @property
    def total(self) -> int:
        return self.changed + self.missing + self.extra


# What of a schema may drift, by the names that objects left behind have as well.
DriftOf: TypeAlias = Literal[
    "table",
    "column",
    "primary key",
    "unique constraint",
    "index",
    "foreign key",
    "check",
    "not null",
    "default",
    "generated column",
    "identity",
    "collation",
    "view",
]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing in which the target's schema is another than a migration would make of the
    source's: ``missing`` in the target, ``different`` there, or ``extra`` there.

    ``table`` is the source's, or the target's where the source has none such. ``source`` says in
    the target's terms what would be made of the source's, ``target`` what stands there; "" where
    there is nothing.
    """

    table: str
    what: DriftOf
    name: str
    state: Literal["missing", "different", "extra"]
    source: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair has done to a table: rows by what was done, and why ``left`` rows, or the whole
    table, are as they were."""

    changed: int = 0
    inserted: int = 0
    deleted: int = 0
    left: int = 0
    reasons: tuple[str, ...] = ()

    def __add__(self, other: Repair) -> Repair:
        return Repair(
            self.changed + other.changed,
            self.inserted + other.inserted,
            self.deleted + other.deleted,
            self.left + other.left,
            tuple(dict.fromkeys((*self.reasons, *other.reasons))),
        )

    @property
    def total(self) -> int:
        """Rows that were written."""
        return self.changed + self.inserted + self.deleted


@dataclass(frozen=True, slots=True)
class TableOutcome:
    """What became of one table, as the summary and the report show it."""

    source: str
    target: str
    # "sampled": a part of the rows was compared, and is the same.
    verdict: Literal["verified", "differs", "not verified", "sampled"]
    source_rows: int
    target_rows: int
    source_digest: str = ""
    target_digest: str = ""
    bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    source_ranges: tuple[RangeDigest, ...] = ()
    target_ranges: tuple[RangeDigest, ...] = ()
    differences: tuple[Difference, ...] = ()
    # All of them, and those beyond the ones listed; where the search was cut short, there may be
    # more yet.
    differing: DifferingRows = DifferingRows()
    more_differences: int = 0
    search_cut_short: bool = False
    # Rows that were compared of a table of which a part was; None where all were.
    sampled_rows: int | None = None
    # Values that arrived in another spelling of the same meaning, and values that a rule of the
    # user converted, by column.
    normalised: tuple[tuple[str, int], ...] = ()
    converted: tuple[tuple[str, int], ...] = ()
    # Rows set aside, and the file that holds them.
    rejected: int = 0
    rejects_file: str = ""
    plan: TablePlan | None = None
    # What was done to it since it was found to differ.
    repair: Repair | None = None


# What a worker does for a while; "run" are the phases of the run itself, by their own names.
Activity: TypeAlias = Literal[
    "copy", "gather", "survey", "count", "index", "verify", "search", "run", "other"
]


@dataclass(frozen=True, slots=True)
class Span:
    """What somebody did for a while: ``began`` in seconds since the run did, ``seconds`` long.

    ``worker`` counts from 1; 0 is the run itself, which also waits for workers. ``table`` is the
    source's name of the table or view that it was for, whichever ``side`` was read or written (""
    where it is both, or none). ``name`` says what was built, or which phase of the run it was.
    ``rows`` and ``bytes`` are those read, written or counted, where that is known.
    """

    worker: int
    what: Activity
    began: float
    seconds: float
    table: str = ""
    side: Literal["source", "target", ""] = ""
    range: int | None = None
    name: str = ""
    rows: int | None = None
    bytes: int | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run: what the exit code, the summary and the report are made from."""

    # "created" is a run that was to bring the schema alone.
    # "sampled": no difference, but not every row was compared.
    status: Literal["verified", "rejected", "differences", "created", "sampled"]
    command: Literal["migrate", "verify", "repair", "load rejects"]
    source: str
    target: str
    tables: tuple[TableOutcome, ...]
    left_behind: tuple[LeftBehind, ...] = ()
    views: tuple[ViewPlan, ...] = ()
    violations: tuple[Violation, ...] = ()
    # Of a verification alone: a verdict apart from that on the data.
    drift: tuple[Drift, ...] = ()
    warnings: tuple[str, ...] = ()
    # Seconds of wall time by phase; "total" is the whole run.
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""
    workers: int = 1
    # Of a verification that was to look at a part of the rows: how many percent.
    sample: float | None = None
    # Who did what when, in the order in which it began.
    timeline: tuple[Span, ...] = ()
    # How often something that had failed was tried again, and then worked.
    retries: int = 0

    @property
    def verified(self) -> bool:
        return self.status == "verified"

    @property
    def fine(self) -> bool:
        """Whether everything that was asked for is there."""
        return self.status in ("verified", "created", "sampled")


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """What a migration would do: ``rows`` and ``ranges`` by table, ``disk_bytes`` in the target
    and ``seconds`` of the whole run as estimates, ``script`` as statements of the target."""

    source: str
    target: str
    plan: Plan
    rows: dict[TableName, int]
    ranges: dict[TableName, int]
    disk_bytes: int
    seconds: float
    risks: tuple[str, ...]
    script: str
    timings: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: str = ""
    workers: int = 1
