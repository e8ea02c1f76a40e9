"""Which ranges are left of a run, and what makes it another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.casts import Offers
from tableferry.dialects.base import Dialect
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.digest import Digest
from tableferry.errors import Refused
from tableferry.ledger import Recorded, both_of
from tableferry.model import (
    Column,
    Identity,
    Key,
    Range,
    Restoration,
    Schema,
    Table,
    TableName,
    ranges_at,
)
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan
from tableferry.resuming import (
    changed_options,
    cut_around,
    fingerprint,
    option_facts,
    require_the_same,
)

BOUNDS = st.lists(st.integers(-5, 40), unique=True, max_size=8).map(sorted)


def recorded(parts: Sequence[Range]) -> list[Recorded]:
    return [Recorded(part, Digest(1, part.number)) for part in parts]


@given(st.data(), BOUNDS, BOUNDS)
def test_every_row_is_in_one_range(data: st.DataObject, before: list[int], now: list[int]) -> None:
    cut = ranges_at(before)
    known = data.draw(st.lists(st.sampled_from(cut), unique=True))

    ranges = cut_around(recorded(known), ranges_at(now))

    assert set(known) <= set(ranges)
    assert len({part.number for part in ranges}) == len(ranges)
    for row in range(-7, 43):
        begun = [part for part in ranges if part.lower is None or part.lower <= row]
        holding = [part for part in begun if part.upper is None or row < part.upper]
        assert len(holding) == 1, (row, ranges)


def test_what_is_left_is_cut_as_it_would_be_now() -> None:
    cut = ranges_at([10, 20, 30])

    assert cut_around(recorded(cut[1:2]), cut) == (
        Range(1, 10, 20),
        Range(2, None, 10),
        Range(3, 20, 30),
        Range(4, 30, None),
    )
    assert cut_around([], cut) == cut


def facts(**options: object) -> dict[str, str]:
    named = option_facts({f"--{name}": value for name, value in options.items()})
    return named | {"tableferry": "1", "identity": "x", "source": "x.db", "moment": ""}


def test_options_that_are_others() -> None:
    before = facts(misfit="widen", tables=(), strict=False)

    assert changed_options(before, before) == []
    assert changed_options(before, facts(misfit="stop", tables=("a", "b"), strict=True)) == [
        "--misfit was widen and is stop",
        "--tables was not given and is a, b",
        "--strict was not given and is given",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tableferry": "2"}, "version was 1 and is 2"),
        ({"identity": "y", "source": "y.db"}, "source was x.db and is another one, y.db"),
        ({"moment": "later"}, "t.db was written by somebody else"),
    ],
)
def test_a_run_that_is_another_one(changed: dict[str, str], words: str) -> None:
    require_the_same(facts(), facts(), "t.db")
    with pytest.raises(Refused, match=words):
        require_the_same(facts(), facts() | changed, "t.db")


TABLE = Table(
    TableName("main", "t"),
    (Column("id", "INTEGER", nullable=False), Column("v", "TEXT")),
    primary_key=Key(("id",)),
    identity=Identity("id", 8),
)


def planned(table: Table, dialect: Dialect) -> str:
    offers = Offers(SqliteDialect(), dialect)
    plan = make_plan(Schema((table,)), offers, Destination(dialect, "app"), Known({}))
    return fingerprint(plan.tables[0])


@pytest.mark.parametrize(
    ("dialect", "change"),
    [
        (PostgresDialect(), {"nullable": False}),
        (PostgresDialect(), {"default": "'x'"}),
        (PostgresDialect(), {"comment": "said"}),
        (SqliteDialect(), {"nullable": False}),
        (SqliteDialect(), {"default": "'x'"}),
        (SqliteDialect(), {"collation": "NOCASE"}),
        (SqliteDialect(), {"comment": "said"}),
    ],
)
def test_a_column_that_is_another_one(dialect: Dialect, change: dict[str, Any]) -> None:
    """Part of it is said only when its table is made."""
    number, text = TABLE.columns
    other = replace(TABLE, columns=(number, replace(text, **change)))
    assert planned(other, dialect) != planned(TABLE, dialect)


def test_what_rows_change_is_the_same_table() -> None:
    more = replace(TABLE, identity=Identity("id", 9), rows=7, size=70)
    assert planned(more, SqliteDialect()) == planned(TABLE, SqliteDialect())
    unnumbered = replace(TABLE, identity=None)
    assert planned(unnumbered, SqliteDialect()) != planned(TABLE, SqliteDialect())


def test_what_comes_back_is_as_it_is_by_now() -> None:
    table = TableName("public", "t")
    before = (
        Restoration(table, "foreign key", "k", "ADD k", breaking="x"),
        Restoration(table, "foreign key", "k", "VALIDATE k", proof=True),
        Restoration(table, "trigger", "g", "ENABLE g"),
    )
    now = (
        Restoration(table, "foreign key", "k", "ADD k AS I SAY"),
        Restoration(table, "trigger", "h", "ENABLE h"),
    )
    assert [each.statement for each in both_of(before, now)] == [
        *("ADD k AS I SAY", "VALIDATE k", "ENABLE g", "ENABLE h"),
    ]
    assert both_of(before, ()) == before
