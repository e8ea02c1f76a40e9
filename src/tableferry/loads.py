"""What a load of tables is told: where from, where to, and what becomes of what does not fit; and
where each of its tables stands. loading.py moves them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tableferry.adoption import Adopted
from tableferry.casts import Offers
from tableferry.dialects.base import Endpoint
from tableferry.errors import MisfitFound
from tableferry.ledger import Ledger
from tableferry.model import MisfitPolicy, Roles, Survey, TableName, TablePlan, ViolationPolicy
from tableferry.naming import Destination
from tableferry.outcomes import MAX_LISTED
from tableferry.rejects import RejectFolder
from tableferry.sides import Side

# So much is one range to any database, of rows with about so many bytes besides their values.
_FEW_BYTES = 256 << 10
_ROW_OVERHEAD = 40


@dataclass(frozen=True, slots=True)
class Route:
    """Both ends of a load and what they can do."""

    source: Endpoint
    target: Endpoint
    offers: Offers
    destination: Destination
    rejects: RejectFolder
    # Tables that an application has made in the target, by the source's names.
    adopted: Mapping[TableName, Adopted] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.destination.schema)


@dataclass(frozen=True, slots=True)
class Policy:
    """What becomes of values that do not fit, and of rows that break a rule."""

    misfit: MisfitPolicy = "widen"
    violations: ViolationPolicy = "report"
    roles: Roles = field(default_factory=Roles)
    # The schema is wanted, and no row.
    rowless: bool = False
    # How many differences of a table are listed.
    listed: int = MAX_LISTED


@dataclass
class Load:
    """Where one table stands, as jobs end; the only thing here that changes."""

    plan: TablePlan
    source: Side
    target: Side
    unfinished: int = 0
    misfit: bool = False
    # The value that was met and did not fit, while rows were copied.
    refused: MisfitFound | None = None
    # Where set, the table is loaded again as soon as its running jobs have ended.
    again: bool = False
    survey: Survey | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)

    @property
    def few(self) -> bool:
        return self.source.bytes + self.source.rows * _ROW_OVERHEAD <= _FEW_BYTES
