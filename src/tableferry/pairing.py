"""Which table and column of the target stands for which of the source, and what both are read as:
from the two schemas as they are now, whoever filled the target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tableferry.casts import CastRule, Offers, makes
from tableferry.dialects.base import Dialect, Endpoint
from tableferry.model import Candidate, Column, Schema, Table, TableName
from tableferry.naming import Destination, called, column_names, counterpart
from tableferry.outcomes import Difference
from tableferry.sql import fold


@dataclass(frozen=True, slots=True)
class Ends:
    source: Endpoint
    target: Endpoint
    source_dialect: Dialect
    target_dialect: Dialect
    rules: tuple[CastRule, ...] = ()


def table_like(name: TableName, mine: Schema, theirs: Schema, dialect: Dialect) -> Table | None:
    """The table that stands for one of ``mine``: of the name that it gets in the target, or of
    one that is alike."""
    there = {table.name.name: table for table in theirs.tables}
    own = called(name, mine.home)
    for wanted in (dialect.fit_name(own), dialect.fit_name(fold(own))):
        if wanted in there:
            return there[wanted]
    names = [called(table.name, mine.home) for table in mine.tables]
    found = counterpart(own, names, there)
    return there[found] if found is not None else None


ColumnPair = tuple[Column, Column, Candidate]


def pair_columns(
    ends: Ends, mine: Table, theirs: Table
) -> tuple[list[ColumnPair], tuple[Difference, ...]]:
    """Columns of one name with the kind to compare them as; and those that the target lacks, which
    is a difference. What it has beside is drift (drift.py)."""
    pairs: list[ColumnPair] = []
    unmatched = []
    there = {column.name: column for column in theirs.columns}
    own = [column.name for column in mine.columns]
    names = column_names(mine, Destination(ends.target_dialect, ""))
    lower = column_names(mine, Destination(ends.target_dialect, "", lower=True))
    for column in mine.columns:
        wanted = names[column.name]
        other = there.get(wanted) or there.get(lower[column.name])
        if other is None and (alike := counterpart(column.name, own, there)) is not None:
            other = there[alike]
        if other is None:
            unmatched.append(_unmatched(mine, "missing", column))
            continue
        pairs.append((column, other, _common_candidate(ends, mine, column, other)))
    return pairs, tuple(unmatched)


def _unmatched(table: Table, what: Literal["missing", "extra"], column: Column) -> Difference:
    return Difference(str(table.name), what, (), column.name, source="the whole column")


def _common_candidate(ends: Ends, table: Table, mine: Column, theirs: Column) -> Candidate:
    """What both columns can be read as: of two dialects, what the one whose columns say what they
    hold reads, and the other takes as well. How values are converted to it, where the storage class
    does not say, is for the user's rules."""
    source, target = ends.source_dialect, ends.target_dialect
    if source.name == target.name:
        return _in_common(target.own_candidates(theirs), source.own_candidates(mine))
    if source.typed and not target.typed:
        # What a migration would read where the column is an application's own comes last.
        demanded = Offers(source, target).demanded(mine, theirs)[:1]
        return _in_common((*source.candidates(mine), *demanded), target.candidates(theirs))
    candidate = _in_common(target.candidates(theirs), source.candidates(mine))
    ruled = [rule.candidate.using for rule in ends.rules if rule.concerns(table, mine)]
    # A column that was widened in spite of its rule holds values as they were.
    if ruled and makes(ruled[-1], candidate.kind):
        return replace(candidate, using=ruled[-1])
    return candidate


def _in_common(wanted: Sequence[Candidate], other: Sequence[Candidate]) -> Candidate:
    """The first of the one side's that the other has too; where it has none, the last, which is
    the most that can be said of a value."""
    kinds = {candidate.kind for candidate in other}
    return next((c for c in wanted if c.kind in kinds), wanted[-1])
