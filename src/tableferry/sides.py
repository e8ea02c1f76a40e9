"""One side of a table, as its parts come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tableferry.dialects.base import Endpoint
from tableferry.digest import BucketedDigest
from tableferry.jobs import Urgency
from tableferry.model import KeyRange, Range, Scan, TablePart
from tableferry.outcomes import Misfit, RangeDigest, TableOutcome
from tableferry.tasks import Part, Speller

# Queues task(argument), whose result goes to the third.
AddJob: TypeAlias = Callable[[Callable[[Any], Any], Any, Callable[[Any], None], Urgency], None]


@dataclass
class Side:
    """What has come in of one side of a table: its ranges, and its count without an index."""

    endpoint: Endpoint
    scan: Scan
    ranges: tuple[Range, ...] = ()
    parts: dict[int, Part] = field(default_factory=dict)
    count: int | None = None
    # Of the source: in whose spelling native values are compared.
    speller: Speller | None = None
    # Where only a sample of the rows is read: by which keys.
    sample: tuple[KeyRange, ...] = ()

    @property
    def sampled(self) -> bool:
        return bool(self.sample)

    @property
    def read(self) -> tuple[TablePart, ...]:
        """What is read of the table."""
        return self.sample or self.ranges

    @property
    def complete(self) -> bool:
        return len(self.parts) == len(self.read) and self.count is not None

    @property
    def digest(self) -> BucketedDigest:
        return sum((part.digest for part in self.parts.values()), BucketedDigest.empty())

    @property
    def rows(self) -> int:
        return sum(int(part.digest.rows.sum()) for part in self.parts.values())

    @property
    def bytes(self) -> int:
        """Of all values, as Arrow holds them."""
        return sum(part.bytes for part in self.parts.values())

    @property
    def respelled(self) -> Counter[int]:
        """By column position: how many values were read in another spelling, or converted."""
        return sum((Counter(dict(part.respelled)) for part in self.parts.values()), Counter())

    def counted(self, outcome: TableOutcome) -> TableOutcome:
        """The outcome with the columns whose values were respelled, or converted by meaning."""
        counts = [(self.scan.columns[i], n) for i, n in sorted(self.respelled.items())]
        return replace(
            outcome,
            normalised=tuple((c.column.name, n) for c, n in counts if not c.using),
            converted=tuple((c.column.name, n) for c, n in counts if c.using),
        )

    @property
    def misfit_keys(self) -> tuple[int, ...]:
        """The hashes of the keys of rows that no digest was taken of."""
        return tuple(key for part in self.parts.values() for key in part.misfit_keys)

    @property
    def misfits(self) -> tuple[Misfit, ...]:
        """Some of the values that are the reason."""
        return tuple(misfit for part in self.parts.values() for misfit in part.misfits)

    @property
    def rejected(self) -> int:
        return sum(part.rejected for part in self.parts.values())

    @property
    def all_rows(self) -> int:
        """Of the whole table, those that no digest was taken of included."""
        if self.sampled:
            return self.count or 0
        return sum(part.rows for part in self.parts.values())

    @property
    def range_digests(self) -> tuple[RangeDigest, ...]:
        return tuple(
            RangeDigest(number, total.rows, total.total, part.seconds, part.bytes)
            for number, part in sorted(self.parts.items())
            for total in [part.digest.digest]
        )
