"""What a database has beside its rows, fact by fact, held against what reports name as left behind:
nothing may be gone that is not named, nor be named and not gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.system.trips import Report, TableTrip


@dataclass(frozen=True, slots=True, order=True)
class Fact:
    """Something that a database has: ``what`` as a report calls it where it is left behind, the
    table that it is of, and what it is exactly. It may be called by any of ``names``."""

    what: str
    table: str
    detail: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), compare=False)


def counted(facts: Iterable[Fact]) -> Counter[Fact]:
    """Facts that are the same, such as two indexes of a column, go by the names of all of them."""
    names: dict[Fact, tuple[str, ...]] = {}
    counts: Counter[Fact] = Counter()
    for fact in facts:
        names[fact] = (*names.get(fact, ()), *fact.names)
        counts[fact] += 1
    return Counter({replace(fact, names=names[fact]): count for fact, count in counts.items()})


# Named although nothing of the kind is compared.
_NOT_COMPARED = ("INCREMENT", "CYCLE", "MAXVALUE", "grants", "collation", "conflict clause")


def left_over(
    gone: Counter[Fact], reports: tuple[Report, Report], trips: Mapping[str, TableTrip]
) -> dict[str, Any]:
    """Facts that are gone and that nobody named, and what is named and is not gone, by the reports
    of the way there and of the way back."""
    left = list(gone.elements())
    unmatched = []
    for named, at in _named(reports, "left_behind", trips):
        fact = next((fact for fact in left if _is_called(fact, named, at)), None)
        if fact is not None:
            left.remove(fact)
        elif named["what"] not in _NOT_COMPARED:
            unmatched.append(dict(named))
    # What rows break may be left out, and is named there.
    for named, at in _named(reports, "violations", trips):
        left = [fact for fact in left if not _is_called(fact, named, at)]
    found = {"gone and not named": list(map(repr, left)), "named and not gone": unmatched}
    return {what: listed for what, listed in found.items() if listed}


def _named(
    reports: tuple[Report, Report], key: str, trips: Mapping[str, TableTrip]
) -> Iterator[tuple[Report, tuple[str, set[str]]]]:
    """What reports name, with the names at the end of its table and of itself."""
    middles = {trip.middle: trip for trip in trips.values()}
    for report, known in zip(reports, (trips, middles), strict=True):
        for named in report[key]:
            trip = known.get(named["table"])
            names = {named["name"]}
            if trip is not None:
                names |= {
                    column.last
                    for column in trip.columns
                    if named["name"] == (column.name if known is trips else column.middle)
                }
            yield named, (trip.last if trip else named["table"], names)


def _is_called(fact: Fact, named: Report, at: tuple[str, set[str]]) -> bool:
    table, names = at
    # A check of SQLite may have no name.
    called = bool(names & set(fact.names)) or not fact.names
    return fact.what == named["what"] and fact.table == table and called
