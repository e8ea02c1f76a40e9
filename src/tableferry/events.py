"""What a run tells while it goes on: small picklable values for whoever shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tableferry.model import TableName

Phase = Literal["copy", "survey", "index", "verify", "repair"]


@dataclass(frozen=True, slots=True)
class PhaseBegins:
    """A table enters a phase that has ``rows`` rows to get through (0: not countable). One that
    began before begins anew."""

    phase: Phase
    table: TableName
    rows: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Rows that a phase of a table has got on by."""

    phase: Phase
    table: TableName
    rows: int


@dataclass(frozen=True, slots=True)
class PhaseEnds:
    phase: Phase
    table: TableName


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for people, such as that a table is loaded again with a wider type."""

    text: str


Event: TypeAlias = PhaseBegins | Progress | PhaseEnds | Note
Observer: TypeAlias = Callable[[Event], None]
