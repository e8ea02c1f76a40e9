"""The user's rules: --cast 'orders.placed_at to timestamptz using epoch_ms'. Pure.

    rule   := where "to" type [ "using" method ]
    where  := table "." column        both may be globs, in whatever case
            | "type" declared         as the source declares it, in whatever case

A later rule beats an earlier one. Values that do not fit what a rule says are misfits like others.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tableferry.conversions import METHODS
from tableferry.dialects.base import Dialect
from tableferry.errors import UsageError
from tableferry.model import Candidate, Column, Kind, Schema, Table, TableName
from tableferry.temporal import KINDS as TEMPORAL

_RULE = re.compile(
    r"\s*(?:type\s+(?P<declared>.+?)|(?P<table>.+?)\.(?P<column>[^.]+?))"
    r"\s+to\s+(?P<type>.+?)(?:\s+using\s+(?P<method>\S+))?\s*",
    flags=re.IGNORECASE,
)
_EXAMPLE = "Write it as: --cast 'orders.placed_at to timestamptz using epoch_ms'"
# Which kinds a method makes, and the method that a kind has without a word.
_MAKES = {
    "epoch": TEMPORAL - {"time"},
    "epoch_ms": TEMPORAL - {"time"},
    "julian": TEMPORAL - {"time"},
    "iso": TEMPORAL,
    "strip_nul": frozenset({"text"}),
    "replace_invalid": frozenset({"text"}),
}
_BY_MEANING = frozenset({"bool", "uuid"})
# Where a rule without a method means: whatever the storage class, by its text or exact number.
_MERGING = frozenset({"text", "bytes", "float"})


@dataclass(frozen=True, slots=True)
class CastRule:
    """A rule as it was given (``text``) and what it says."""

    text: str
    candidate: Candidate
    declared: str = ""
    table: str = ""
    column: str = ""

    def concerns(self, table: Table, column: Column) -> bool:
        if self.declared:
            return _squeezed(column.declared) == _squeezed(self.declared)
        return _matches(str(table.name), self.table) and _matches(column.name, self.column)


def parse(text: str, target: Dialect) -> CastRule:
    """Raises UsageError where the text is no rule, or names a type or method that is not known."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise UsageError(f"--cast {text!r} is no rule.", hint=_EXAMPLE)
    kind = target.kind_named(match["type"])
    if kind is None:
        raise UsageError(f"--cast {text!r}: {match['type']} is no type that a rule can name.")
    method = (match["method"] or "").lower()
    if method and method not in METHODS:
        raise UsageError(
            f"--cast {text!r}: there is no method {method}.", hint=f"One of {', '.join(METHODS)}."
        )
    if method and kind.name not in _MAKES[method]:
        raise UsageError(f"--cast {text!r}: {method} does not make a {match['type']}.")
    return CastRule(
        text,
        Candidate(kind, kind.name in _MERGING and not method, _method(kind, method), ruled=True),
        match["declared"] or "",
        match["table"] or "",
        match["column"] or "",
    )


def makes(method: str, kind: Kind) -> bool:
    """Whether values of this kind can be what a method made."""
    return kind.name in (_BY_MEANING if method == "meaning" else _MAKES.get(method, frozenset()))


def _method(kind: Kind, method: str) -> str:
    if method == "iso":
        return ""
    return method or ("meaning" if kind.name in _BY_MEANING else "")


@dataclass(frozen=True, slots=True)
class Offers:
    """What each column of the source may be read as: the rules' word first, then the dialect's, as
    far as the target takes it."""

    source: Dialect
    target: Dialect
    rules: tuple[CastRule, ...] = ()
    # The columns of tables that are there already, by the source's names.
    there: Mapping[TableName, Mapping[str, Column]] = field(default_factory=dict)

    def __call__(self, table: Table, column: Column) -> tuple[Candidate, ...]:
        ruled = [rule.candidate for rule in self.rules if rule.concerns(table, column)]
        if table.name in self.there:
            own = self.demanded(column, self.there[table.name][column.name])
            ruled = [candidate for candidate in ruled if candidate.kind == own[0].kind]
        else:
            own = self._offered(column)
        if not ruled:
            return own
        return (ruled[-1], *(candidate for candidate in own if candidate != ruled[-1]))

    def _offered(self, column: Column) -> tuple[Candidate, ...]:
        """What the source says of a column, whatever rules say."""
        if self.alike:
            return self.source.own_candidates(column)
        return tuple(c for c in self.source.candidates(column) if self.target.takes(c.kind))

    def demanded(self, mine: Column, theirs: Column) -> tuple[Candidate, ...]:
        """What a column of the source may be read as to go into one that is there already. One
        that takes anything takes what the source says its values are, unless it would change
        them."""
        demanded = self.target.demanded(theirs)
        if self.target.typed:
            return demanded
        if self.alike:
            return self.target.own_candidates(theirs)
        if not self.source.typed:
            return demanded
        offered = self.source.candidates(mine)
        kept = tuple(c for c in offered if self.target.keeps(theirs, c.kind))
        return (*kept, *(candidate for candidate in demanded if candidate not in kept))

    @property
    def alike(self) -> bool:
        """Whether a column of the source can be one of the target as it was declared."""
        return self.source.name == self.target.name

    def kinds_of(self, types: Iterable[str]) -> tuple[Kind, ...]:
        """What columns of these types would be read as."""
        return tuple(self._offered(Column("", declared))[0].kind for declared in types)

    def require_matches(self, schema: Schema) -> None:
        """Raises UsageError for a rule that concerns no column: it is most likely misspelled."""
        for rule in self.rules:
            if not any(
                rule.concerns(table, column) for table in schema.tables for column in table.columns
            ):
                raise UsageError(f"--cast {rule.text!r} matches no column of the source.")


def parse_all(texts: Sequence[str], target: Dialect) -> tuple[CastRule, ...]:
    return tuple(parse(text, target) for text in texts)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name.lower(), pattern.strip().lower())


def _squeezed(declared: str) -> str:
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(declared.lower().split()))
