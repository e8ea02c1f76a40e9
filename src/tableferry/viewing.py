"""Views, held against the source's: the same rows, however often each stands, on both sides.

A view's text was translated by rules that are proven one by one; here the whole is tried on the
data. Columns that add up doubles are left out of it, since the order of adding changes their last
digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint
from tableferry.digest import Digest
from tableferry.errors import DatabaseError, MisfitFound
from tableferry.jobs import Jobs, Urgency
from tableferry.model import Range, ReadColumn, Scan, TableName, ViewPlan
from tableferry.tasks import DigestRange, Part, digest_range


@dataclass(frozen=True, slots=True)
class Disagreement:
    view: ViewPlan
    reason: str


def disagreements(
    ends: tuple[Endpoint, Endpoint], views: Iterable[ViewPlan], jobs: Jobs
) -> list[Disagreement]:
    """The views that show other rows in the target, or cannot be read to their end there."""
    checks = [_Check(view) for view in views if any(not c.approximate for c in view.columns)]
    for check in checks:
        for side, (endpoint, scan) in enumerate(zip(ends, _scans(check.view, ends), strict=True)):
            job = DigestRange(endpoint, scan, Range(0), check.view.source)
            jobs.add(
                digest_range,
                job,
                partial(check.read, side),
                urgency=Urgency.FINISH,
                failed=partial(check.failed, side),
                about=str(check.view.source),
            )
    jobs.run()
    found = ((check.view, check.verdict) for check in checks)
    return [Disagreement(view, reason) for view, reason in found if reason]


class _Check:
    def __init__(self, view: ViewPlan) -> None:
        self.view = view
        self._digests: dict[int, Digest] = {}
        self._errors: dict[int, str] = {}

    def read(self, side: int, part: Part) -> None:
        self._digests[side] = part.digest.digest

    def failed(self, side: int, error: Exception) -> None:
        if not _is_of_the_view(error):
            raise error
        self._errors[side] = str(error)

    @property
    def verdict(self) -> str:
        if self._errors:
            side, message = next(iter(sorted(self._errors.items())))
            return f"its rows cannot be read in the {('source', 'target')[side]}: {message}"
        mine, theirs = self._digests[0], self._digests[1]
        if mine == theirs:
            return ""
        if mine.rows != theirs.rows:
            return f"it shows {mine.rows:,} rows in the source and {theirs.rows:,} in the target"
        return "it shows other values in the target than in the source"


# Classes of what says nothing of a view: the server has no room, was stopped, or failed itself
# (PostgreSQL documentation, appendix A).
_OF_THE_SERVER = ("53", "55", "57", "58", "F0", "XX")


def _is_of_the_view(error: Exception) -> bool:
    """Whether it would come again, and says something of what the view computes."""
    if isinstance(error, MisfitFound):
        return True
    if not isinstance(error, DatabaseError) or error.transient:
        return False
    return not error.sqlstate.startswith(_OF_THE_SERVER)


def _scans(view: ViewPlan, ends: tuple[Endpoint, Endpoint]) -> tuple[Scan, Scan]:
    compared = [column for column in view.columns if not column.approximate]
    source, target = map(dialect_of, ends)
    return (
        _scan(view.source, tuple(source.view_column(c.source, c.kind) for c in compared)),
        _scan(view.target, tuple(target.view_column(c.target, c.kind) for c in compared)),
    )


def _scan(name: TableName, columns: tuple[ReadColumn, ...]) -> Scan:
    return Scan(name, columns, ())
