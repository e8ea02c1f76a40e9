"""Random SQLite tables are migrated, and what arrived is held against what sqlite3 and psycopg say.

Whether a value fits its declared type, and how it must look in PostgreSQL, is decided in oracle.py
anew, from the documented rules. TABLEFERRY_RANDOM_TABLES sets how many tables are tried.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests import servers
from tests.random.arrivals import Arrivals, Mutation, arrivals, mutated
from tests.random.oracle import Expected, arrives_as, expected_columns, respelled
from tests.random.tables import TABLES_A_FILE, RandomTable, Row, random_files, stored, write
from tests.random.values import FAR
from tests.servers import Server

import tableferry
from tableferry.outcomes import Outcome, TableOutcome

_FILES = max(1, int(os.environ.get("TABLEFERRY_RANDOM_TABLES", "100")) // TABLES_A_FILE)


@dataclass(frozen=True, slots=True)
class Case:
    """One file: its tables, the rows that SQLite keeps of them, and what is to become of each
    column, by table and column."""

    tables: Sequence[RandomTable]
    truth: dict[str, list[Row]]
    expected: dict[tuple[str, str], Expected]

    def types(self, table: RandomTable) -> list[str]:
        return [self.expected[table.name, column.name].became for column in table.columns]

    def rows(self, table: RandomTable) -> list[tuple[object, ...]]:
        """As they are to arrive."""
        types = self.types(table)
        return [tuple(map(arrives_as, row, types)) for row in self.truth[table.name]]

    def key(self, table: RandomTable) -> tuple[int, ...]:
        """The primary key's positions, none where NULLs in it keep PostgreSQL from having one."""
        nulls = any(row[i] is None for row in self.truth[table.name] for i in table.key)
        return () if nulls else table.key


@contextmanager
def _explained(case: Case, table: RandomTable) -> Iterator[None]:
    """A failure shows the table and its partners in foreign keys, to be tried again by hand."""
    try:
        yield
    except AssertionError as error:
        around = {table.name, *(reference.parent for reference in table.references)}
        shown = [t for t in case.tables if t.name in around]
        shown += [t for t in case.tables if any(r.parent == table.name for r in t.references)]
        script = "\n".join(dict.fromkeys(t.sql for t in shown))
        error.add_note(f"Table {table.name}, in\n{script}")
        raise


# Phase.shrink is left out, since each attempt is a migration: what failed is shown as it was drawn,
# and Phase.reuse tries it first in the next run.
@settings(
    max_examples=_FILES,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(tables=random_files(), data=st.data())
def test_whatever_sqlite_holds_arrives_and_is_named(
    started: Callable[[str], Server],
    tmp_path_factory: pytest.TempPathFactory,
    tables: list[RandomTable],
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("random") / "source.db"
    write(path, tables)
    truth = {table.name: stored(path, table) for table in tables}
    case = Case(tables, truth, expected_columns(tables, truth))
    with servers.fresh_database(started(servers.EMBEDDED)) as database:
        outcome = tableferry.migrate(f"sqlite:{path}", database.url)
        assert outcome.verified
        found = arrivals(database)
        for table in tables:
            with _explained(case, table):
                _check_rows(case, table, found)
                _check_naming(case, table, outcome)
                _check_keys(case, table, outcome, found)
        assert tableferry.verify(f"sqlite:{path}", database.url).verified
        for mutation in data.draw(_mutations(case)):
            with mutated(database, mutation) as row:
                verified = tableferry.verify(f"sqlite:{path}", database.url)
            table = next(table for table in tables if table.name == mutation.table)
            with _explained(case, table):
                _check_differences(case, table, mutation, row, verified)
            assert tableferry.verify(f"sqlite:{path}", database.url).verified


def _check_rows(case: Case, table: RandomTable, found: Arrivals) -> None:
    types = [found.types[table.name, column.name] for column in table.columns]
    assert types == case.types(table)
    assert Counter(found.rows[table.name]) == Counter(case.rows(table))


def _check_naming(case: Case, table: RandomTable, outcome: Outcome) -> None:
    """A column is named where it must be, and nowhere else."""
    of = _of(outcome, table)
    assert of.plan is not None
    widened = {widening.column: widening for widening in of.plan.widened}
    expected = {column.name: case.expected[table.name, column.name] for column in table.columns}
    named = {column.name for column in table.columns if expected[column.name].named(column)}
    assert set(widened) == named
    for name, widening in widened.items():
        wanted = expected[name]
        assert (widening.planned, widening.became) == (wanted.planned, wanted.became)
        assert widening.count == wanted.misfits
        assert len(widening.examples) == min(wanted.misfits, 5)
        assert widening.merged_classes == wanted.merged_classes
    columns = zip(table.columns, zip(*case.truth[table.name], strict=True), strict=False)
    spelled = {c.name: respelled(values, expected[c.name].became) for c, values in columns}
    assert dict(of.normalised) == {name: count for name, count in spelled.items() if count}


def _of(outcome: Outcome, table: RandomTable) -> TableOutcome:
    return next(of for of in outcome.tables if of.source == table.name)


def _check_keys(case: Case, table: RandomTable, outcome: Outcome, found: Arrivals) -> None:
    """A key is there wherever it can be, and named where it is not or where rows break it."""
    # With NULLs in it, which SQLite allows, it can only be unique.
    what = "primary key" if case.key(table) else "unique constraint"
    names = tuple(table.columns[position].name for position in table.key)
    doubles = _doubles(case, table)
    assert found.keys.get(table.name) == ((what, names) if names and not doubles else None)
    orphans = dict(_orphans(case, table))
    there = {column: proven for (t, column), proven in found.references.items() if t == table.name}
    assert there == {column: not count for column, count in orphans.items()}
    broken = [(what, doubles), *(("foreign key", count) for count in orphans.values())]
    violations = [violation for violation in outcome.violations if violation.table == table.name]
    assert sorted((v.what, v.rows) for v in violations) == sorted(b for b in broken if b[1])
    left = Counter(item.what for item in outcome.left_behind if item.table == table.name)
    assert left["primary key"] == (case.key(table) != table.key)
    assert left["foreign key"] == len(table.references) - len(orphans)


def _doubles(case: Case, table: RandomTable) -> int:
    """How many rows share their key with another as it arrives: 1 and '1' are one text."""
    keys = [tuple(row[position] for position in table.key) for row in case.rows(table)]
    counts = Counter(key for key in keys if key and None not in key)
    return sum(count for count in counts.values() if count > 1)


def _orphans(case: Case, table: RandomTable) -> Iterator[tuple[str, int]]:
    """The columns whose foreign keys PostgreSQL can have, and how many rows lack a parent."""
    for reference in table.references:
        parent = next(t for t in case.tables if t.name == reference.parent)
        if not _doubles(case, parent):
            known = {None, *(row[parent.key[0]] for row in case.rows(parent))}
            values = [row[reference.column] for row in case.rows(table)]
            yield table.columns[reference.column].name, sum(v not in known for v in values)


@st.composite
def _mutations(draw: st.DrawFn, case: Case) -> list[Mutation]:
    """One, or none where all tables are empty."""
    filled = [table for table in case.tables if case.truth[table.name]]
    if not filled:
        return []
    table = draw(st.sampled_from(filled))
    key = case.key(table)
    free = [position for position in range(len(table.columns)) if position not in key]
    actions = ["delete", *(["change"] * 3 if free else []), *([] if key else ["double"])]
    action = draw(st.sampled_from(actions))
    row = draw(st.integers(0, len(case.truth[table.name]) - 1))
    if action != "change":
        return [Mutation(action, table.name, row)]
    position = draw(st.sampled_from(free))
    column = table.columns[position]
    type_ = case.types(table)[position]
    to_null = not column.not_null and draw(st.sampled_from([False, False, True]))
    return [Mutation(action, table.name, row, column.name, type_, to_null)]


def _check_differences(
    case: Case,
    table: RandomTable,
    mutation: Mutation,
    row: tuple[Any, ...],
    outcome: Outcome,
) -> None:
    """Exactly the row that was changed is named: by its key and column, or whole without a key."""
    assert outcome.status == "differences"
    assert [of.source for of in outcome.tables if of.verdict != "verified"] == [table.name]
    differences = _of(outcome, table).differences
    key = case.key(table)
    whats = {"delete": ["missing"], "double": ["extra"], "change": ["extra", "missing"]}
    expected = ["changed"] if key and mutation.action == "change" else whats[mutation.action]
    assert sorted(difference.what for difference in differences) == expected
    shown = key or range(len(table.columns))
    for difference in differences:
        assert difference.times == 1
        names, values = zip(*difference.key, strict=True)
        assert list(names) == [table.columns[position].name for position in shown]
        assert difference.column == (mutation.column if expected == ["changed"] else "")
        if difference.what != "extra" or mutation.action == "double":
            for position, value in zip(shown, values, strict=True):
                assert value == _shown(row[position], value)


def _shown(value: Any, otherwise: str) -> str:
    """How a difference shows a value that is easy to foretell; ``otherwise`` for others."""
    match value:
        case None:
            return "NULL"
        case bool():
            return otherwise
        case int():
            return str(value)
        case str() if otherwise == value and _is_uuid(value):
            # A column of the type uuid; the same as text stands in quotes.
            return value
        case str() if otherwise in _FAR_TEXTS and otherwise.replace("+00:00", "+00") == value:
            return otherwise
        case str() if len(repr(value)) <= 60:
            return repr(value)
    return otherwise


_FAR_TEXTS = frozenset(text for texts in FAR.values() for text in texts)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
