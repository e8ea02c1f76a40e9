"""Which tables of the target are an application's own, and how their columns match the source's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tableferry.adoption import (
    Adopted,
    adopt,
    adopted_target,
    bare,
    is_ours,
    matching_columns,
    with_demands,
)
from tableferry.casts import Offers
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.errors import Refused
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    Plan,
    Schema,
    Table,
    TableName,
)
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan

SQLITE, POSTGRES = SqliteDialect(), PostgresDialect()

SOURCE = Table(
    TableName("main", "AlbumTrack"),
    (
        Column("AlbumId", "INTEGER"),
        Column("Name", "TEXT"),
        Column("seconds", "INTEGER", default="0"),
    ),
    primary_key=Key(("AlbumId",)),
    rows=100,
    size=4096,
)


def planned(*tables: Table, adopted: Mapping[TableName, Adopted] | None = None) -> Plan:
    known = Known(adopted=adopted or {})
    return make_plan(Schema(tables), Offers(SQLITE, POSTGRES), Destination(POSTGRES, "app"), known)


def theirs(name: str, *columns: Column | tuple[str, str]) -> Table:
    made = (column if isinstance(column, Column) else Column(*column) for column in columns)
    return Table(TableName("app", name), tuple(made))


MADE = theirs(
    "album_track", ("album_id", "integer"), ("name", "character varying(9)"), ("seconds", "integer")
)


def adopted(*there: Table, source: Table = SOURCE) -> dict[TableName, Adopted]:
    return adopt(planned(source), Schema(there))


# ---- ours or not ------------------------------------------------------------------------------

OURS = replace(planned(SOURCE).tables[0].target, primary_key=None)


def test_what_the_plan_would_create_is_ours() -> None:
    table = planned(SOURCE).tables[0]

    assert is_ours(table, OURS)
    assert adopted(OURS) == {}


def test_a_type_that_values_may_need_is_ours() -> None:
    """An earlier run widened the column."""
    wider = replace(OURS.columns[2], declared="text")

    assert is_ours(planned(SOURCE).tables[0], replace(OURS, columns=(*OURS.columns[:2], wider)))


@pytest.mark.parametrize(
    "other",
    [
        replace(OURS, name=TableName("app", "albumtrack")),
        replace(OURS, columns=OURS.columns[:2]),
        replace(OURS, columns=(*OURS.columns, Column("more", "text"))),
        replace(OURS, columns=(Column("albumid", "bigint"), *OURS.columns[1:])),
        replace(OURS, columns=(replace(OURS.columns[0], declared="uuid"), *OURS.columns[1:])),
        replace(OURS, columns=(replace(OURS.columns[0], default="1"), *OURS.columns[1:])),
        replace(OURS, columns=(*OURS.columns[:2], replace(OURS.columns[2], generated="1"))),
        replace(OURS, indexes=(Index("i", (IndexColumn("Name"),)),)),
        replace(OURS, checks=(Check("", "positive"),)),
        replace(OURS, extras=("a trigger",)),
        replace(OURS, extras=("a comment",)),
    ],
)
def test_what_somebody_else_made_is_theirs(other: Table) -> None:
    assert not is_ours(planned(SOURCE).tables[0], other)


# ---- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["AlbumTrack", "albumtrack", "ALBUMTRACK", "album_track", "Album_Track", "_albumtrack"]
)
def test_tables_by_names_that_are_alike(name: str) -> None:
    assert adopted(replace(MADE, name=TableName("app", name)))[SOURCE.name].table.name.name == name


def test_the_closer_name_counts() -> None:
    exact = replace(MADE, name=TableName("app", "AlbumTrack"))
    folded = replace(MADE, name=TableName("app", "albumtrack"))

    assert adopted(MADE, folded, exact)[SOURCE.name].table == exact
    assert adopted(MADE, folded)[SOURCE.name].table == folded


def test_names_that_leave_a_doubt() -> None:
    others = [replace(MADE, name=TableName("app", name)) for name in ("album_track", "albumtrack_")]
    assert adopted(*others) == {}
    rival = replace(SOURCE, name=TableName("main", "albumtrack_"))
    assert adopt(planned(SOURCE, rival), Schema((MADE,))) == {}


def test_letters_outside_ascii_are_not_folded() -> None:
    source = replace(SOURCE, name=TableName("main", "ÄLBUM"))
    other = replace(MADE, name=TableName("app", "älbum"))

    assert adopted(other, source=source) == {}
    assert adopted(replace(MADE, name=TableName("app", "Älbum")), source=source)


def test_columns_in_any_order_with_others_between() -> None:
    found = theirs(
        "t", ("more", "text"), ("name", "text"), ("album_id", "uuid"), ("SECONDS", "int")
    )

    matching = matching_columns(planned(SOURCE).tables[0], found)

    assert {mine: column.name for mine, column in matching.items()} == {
        "AlbumId": "album_id",
        "Name": "name",
        "seconds": "SECONDS",
    }


@pytest.mark.parametrize("rivals", [("name_", "na_me"), ("NAME", "name")])
def test_columns_that_leave_a_doubt(rivals: tuple[str, str]) -> None:
    columns = [("albumid", "bigint"), ("seconds", "integer"), *((each, "text") for each in rivals)]

    assert set(matching_columns(planned(SOURCE).tables[0], theirs("t", *columns))) == {
        "AlbumId",
        "seconds",
    }
    with pytest.raises(Refused, match=r"albumtrack of the target has no column Name\."):
        adopted(theirs("albumtrack", *columns))


def test_a_name_that_is_only_similar_is_another_table() -> None:
    """Where its columns are others too."""
    assert adopted(theirs("album_track", ("id", "integer"))) == {}
    with pytest.raises(Refused, match=r"no column AlbumId, Name, seconds\."):
        adopted(theirs("albumtrack", ("id", "integer")))


# ---- values that are needed -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        (Column("more", "text", nullable=False), True),
        (Column("more", "text"), False),
        (Column("more", "text", nullable=False, default="'x'::text"), False),
        (Column("more", "text", nullable=False, generated="lower(name)"), False),
    ],
)
def test_columns_that_the_source_has_not(more: Column, refused: bool) -> None:
    other = replace(MADE, columns=(*MADE.columns, more))

    if refused:
        with pytest.raises(Refused, match="needs a value in more"):
            adopted(other)
    else:
        assert set(adopted(other)[SOURCE.name].columns) == {"AlbumId", "Name", "seconds"}


def test_a_column_that_numbers_itself_needs_no_value() -> None:
    more = Column("number", "integer", nullable=False)
    other = replace(MADE, columns=(*MADE.columns, more), identity=Identity("number", 0))

    assert list(adopted(other)) == [SOURCE.name]


# ---- the plan ---------------------------------------------------------------------------------


def test_the_plan_of_an_adopted_table_creates_nothing() -> None:
    child = Table(
        TableName("main", "plays"),
        (Column("id", "INTEGER"), Column("track", "INTEGER")),
        primary_key=Key(("id",)),
        foreign_keys=(ForeignKey(("track",), SOURCE.name, ("AlbumId",)),),
        indexes=(Index("by_track", (IndexColumn("track"),)),),
    )
    found = theirs("plays", ("id", "integer"), ("track", "integer"))
    taken = adopt(planned(SOURCE, child), Schema((MADE, found)))

    plan = planned(SOURCE, child, adopted=taken)

    assert [table.adopted for table in plan.tables] == [True, True]
    first, second = plan.tables
    assert [column.name for column in first.target.columns] == ["album_id", "name", "seconds"]
    assert all(column.default is None for column in first.target.columns)
    for table in (second.target, second.source):
        assert (table.foreign_keys, table.indexes, table.identity) == ((), (), None)
    # The key stays, since it tells rows apart.
    assert first.source.primary_key == SOURCE.primary_key
    assert (bare(SOURCE).rows, adopted_target(SOURCE, taken[SOURCE.name]).rows) == (100, 100)
    assert plan.left_behind == ()


def test_columns_demand_what_their_types_take() -> None:
    offers = with_demands(Offers(SQLITE, POSTGRES), adopted(MADE))
    demands = {column.name: offers(SOURCE, column) for column in SOURCE.columns}

    assert {name: [c.kind.name for c in each] for name, each in demands.items()} == {
        "AlbumId": ["int"],
        "Name": ["text", "text"],
        "seconds": ["int"],
    }
    assert demands["AlbumId"][0].kind.bits == 32
    assert demands["Name"][1].merges
