"""What a run tells while it goes on: small picklable values for whoever shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tableferry.model import TableName
from tableferry.outcomes import Span

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


@dataclass(frozen=True, slots=True)
class Retried:
    """Something failed of what may pass, and is tried again after so many seconds. ``about`` is
    what it was about, such as a table."""

    about: str
    reason: str
    pause: float

    @property
    def text(self) -> str:
        """For people."""
        what = f"{self.about}: " if self.about else ""
        return f"{what}{self.reason} Trying again in {self.pause:g} s."


@dataclass(frozen=True, slots=True)
class StepBegins:
    """The run as a whole comes to another step, such as "prepare"."""

    name: str


@dataclass(frozen=True, slots=True)
class SpanEnds:
    """A job, or a step of the run, is done: who did it, when and how much. ``error`` says why one
    of them failed; a job may do so and the run go on, as where values do not fit."""

    span: Span
    error: str = ""


Event: TypeAlias = PhaseBegins | Progress | PhaseEnds | Note | Retried | StepBegins | SpanEnds
Observer: TypeAlias = Callable[[Event], None]


def unheard(event: Event) -> None:
    """The observer of a run that nobody wants to be told of."""
