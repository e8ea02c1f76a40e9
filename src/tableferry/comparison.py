"""Both sides of a table brought together: the verdict, and what differs.

Used by the migration and by the verification alone, so that "verified" means one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from tableferry.differences import rows_among
from tableferry.errors import RunFailed
from tableferry.outcomes import MAX_LISTED, TableOutcome
from tableferry.searching import Found, Search
from tableferry.sides import AddJob, Side


class Comparison:
    """One table's two sides; ``done`` is called once with the outcome, which lists at most as many
    differences as ``most`` says."""

    def __init__(
        self,
        source: Side,
        target: Side,
        add: AddJob,
        done: Callable[[TableOutcome], None],
        most: int = MAX_LISTED,
    ) -> None:
        self.source = source
        self.target = target
        self._add = add
        self._done = done
        self._most = most

    def conclude(self) -> None:
        """Once both sides are complete: the verdict, or first a second look at what differs."""
        sides = self.source, self.target
        for side in sides:
            require_all_rows(side)
        misfits = any(side.misfit_keys for side in sides)
        if misfits or self.source.digest.differing(self.target.digest):
            Search(sides, self._most, self._add, self._found).begin()
        elif self.source.sampled and self.source.count != self.target.count:
            self._done(replace(self._outcome("differs"), search_cut_short=True))
        else:
            self._done(self._outcome("sampled" if self.source.sampled else "verified"))

    def _found(self, found: Found) -> None:
        self._done(
            replace(
                self._outcome("differs"),
                differences=found.listed,
                differing=found.rows,
                more_differences=found.rows.total - rows_among(found.listed),
                search_cut_short=self.source.sampled,
            )
        )

    def _outcome(self, verdict: Literal["verified", "differs", "sampled"]) -> TableOutcome:
        source, target = self.source.digest.digest, self.target.digest.digest
        sampled = self.source.sampled
        return TableOutcome(
            source=str(self.source.scan.table),
            target=str(self.target.scan.table),
            verdict=verdict,
            source_rows=self.source.all_rows,
            target_rows=self.target.all_rows,
            rejected=self.source.rejected,
            source_digest=source.hex(),
            target_digest=target.hex(),
            bytes=self.source.bytes,
            source_ranges=self.source.range_digests,
            target_ranges=self.target.range_digests,
            sampled_rows=self.source.rows if sampled else None,
        )


def require_all_rows(side: Side) -> None:
    """Raises RunFailed where a side's ranges did not bring all rows that the table counts."""
    if not side.sampled and side.all_rows != side.count:
        raise RunFailed(
            f"{side.endpoint}, table {side.scan.table}: {side.count} rows are counted, "
            f"but {side.all_rows} were read.",
            hint="An index or the file may be damaged, or the table changed meanwhile.",
        )
