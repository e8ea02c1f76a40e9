"""In what a target's schema is another than a migration would make of the source's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tableferry import drift
from tableferry.casts import Offers
from tableferry.dialects.base import Dialect
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.dialects.sqlite.spelling import spelled
from tableferry.model import (
    Check,
    Column,
    Expression,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Numbering,
    Schema,
    Table,
    TableName,
)
from tableferry.naming import Destination
from tableferry.plan import Known, make_plan

SQLITE, POSTGRES = SqliteDialect(), PostgresDialect()
PARENT = TableName("public", "p")


def table(*columns: str, **more: Any) -> Table:
    return replace(
        Table(TableName("public", "t"), tuple(Column(name, "integer") for name in columns)), **more
    )


def standing(
    source: Table,
    found: Table | None = None,
    numbered: Mapping[str, Numbering] | None = None,
    left: frozenset[tuple[str, str]] = frozenset(),
    target: Dialect = POSTGRES,
) -> drift.Standing:
    parent = Table(PARENT, (Column("id", "integer"), Column("no", "integer")), Key(("id",)))
    plan = make_plan(
        Schema((source, parent), home="public"),
        Offers(POSTGRES, target),
        Destination(target, "public"),
        Known(),
    ).table(source.name)
    return drift.Standing(plan, found or plan.target, numbered or {}, left=left)


def found(made: drift.Standing) -> list[tuple[str, str, str]]:
    return [(each.state, each.what, each.name) for each in drift.between(made)]


def between(source: Table, there: Table) -> list[tuple[str, str, str]]:
    return found(standing(source, there))


def index(*columns: str, unique: bool = False, name: str = "i", where: str = "") -> Index:
    return Index(name, tuple(map(IndexColumn, columns)), unique, where)


def refers(*pairs: tuple[str, str], **more: Any) -> ForeignKey:
    key = ForeignKey(tuple(a for a, _ in pairs), PARENT, tuple(b for _, b in pairs), name="f")
    return replace(key, **more)


def test_what_is_planned_is_no_drift() -> None:
    source = table(
        "a",
        "b",
        primary_key=Key(("a",)),
        uniques=(Key(("b",)), Key(("b",))),
        indexes=(index("a", "b"), index("b", unique=True), index("b", where="(a > 1)")),
        foreign_keys=(refers(("a", "id")),),
        checks=(Check("(a > 0)"),),
    )
    assert found(standing(source)) == []


UNIQUE_B = [
    {"uniques": (Key(("b",), "any"),)},
    {"indexes": (index("b", unique=True),)},
    {"primary_key": Key(("b",))},
]


@pytest.mark.parametrize("mine", UNIQUE_B)
@pytest.mark.parametrize("theirs", UNIQUE_B)
def test_one_rule_is_written_in_three_ways(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    there = table("a", "b", **theirs)
    columns = standing(table("a", "b", **mine)).plan.target.columns
    assert between(table("a", "b", **mine), replace(there, columns=columns)) == []


def test_the_order_of_a_keys_columns_counts() -> None:
    mine, theirs = Key(("a", "b"), "mine"), Key(("b", "a"), "theirs")
    assert between(table("a", "b", uniques=(mine,)), table("a", "b", uniques=(theirs,))) == [
        ("missing", "unique constraint", "mine"),
        ("extra", "unique constraint", "theirs"),
    ]


def test_an_index_that_a_key_serves_is_not_missed() -> None:
    source = table("a", "b", indexes=(index("a"), index("b")))
    there = table("a", "b", uniques=(Key(("a",), "k"),), indexes=(index("b", unique=True),))
    assert between(source, there) == [
        ("extra", "unique constraint", "k"),
        ("extra", "index", "i"),
    ]
    # The other way round a rule is gone.
    assert between(table("a", indexes=(index("a", unique=True),)), table("a")) == [
        ("missing", "index", "i")
    ]


def test_terms_of_an_index() -> None:
    source = table("a", "b", indexes=(index("a", "b"),))
    for other in (
        index("b", "a"),
        index("a"),
        index("a", "b", where="(a > 1)"),
        Index("i", (IndexColumn("a"), IndexColumn("b", descending=True))),
        Index("i", (IndexColumn("a"), IndexColumn("b", collation="NOCASE"))),
        replace(index("a", "b"), clauses=("USING gin",)),
    ):
        assert between(source, table("a", "b", indexes=(other,))) == [("different", "index", "i")]


def test_one_that_says_more_beside_one_that_says_the_same() -> None:
    there = (replace(index("a", name="more"), clauses=("USING brin",)), index("a", name="same"))
    source = table("a", indexes=(index("a"),))
    assert between(source, table("a", indexes=there)) == [("extra", "index", "more")]


def test_clauses_that_the_source_has_as_well() -> None:
    key = Key(("a",), "k", ("NULLS NOT DISTINCT",))
    there = table("a", uniques=(key,))
    assert between(table("a", uniques=(key,)), there) == []
    plain = Key(("a",), "mine")
    (only,) = drift.between(standing(table("a", uniques=(plain,)), there))
    assert (only.state, only.source, only.target) == (
        *("different", "UNIQUE (a)", "UNIQUE (a) NULLS NOT DISTINCT"),
    )


def test_a_foreign_keys_pairs_have_no_order() -> None:
    mine, theirs = refers(("a", "id"), ("b", "no")), refers(("b", "no"), ("a", "id"), name="x")
    there = table("a", "b", foreign_keys=(theirs,))
    assert between(table("a", "b", foreign_keys=(mine,)), there) == []
    crossed = refers(("a", "no"), ("b", "id"), name="x")
    there = table("a", "b", foreign_keys=(crossed,))
    assert between(table("a", "b", foreign_keys=(mine,)), there) == [
        ("different", "foreign key", "f")
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"on_delete": "CASCADE"},
        {"on_update": "RESTRICT"},
        {"deferred": True},
        {"valid": False},
        {"clauses": ("MATCH FULL",)},
    ],
)
def test_what_a_foreign_key_does(other: dict[str, Any]) -> None:
    mine, theirs = refers(("a", "id")), refers(("a", "id"), name="x", **other)
    there = table("a", foreign_keys=(theirs,))
    assert between(table("a", foreign_keys=(mine,)), there) == [("different", "foreign key", "f")]


def test_what_was_not_proven_in_the_source_either() -> None:
    key, check = refers(("a", "id"), valid=False), Check("(a > 0)", "c", valid=False)
    there = table("a", foreign_keys=(key,), checks=(check,))
    assert between(table("a", foreign_keys=(key,), checks=(check,)), there) == []
    # One that is proven says more.
    proven = table("a", foreign_keys=(replace(key, valid=True),), checks=(Check("(a > 0)"),))
    assert between(there, proven) == []


def test_checks_of_the_same_columns_are_shown_side_by_side() -> None:
    source = table("a", "b", checks=(Check("(a > 0)", "mine"), Check("(b > 0)", "gone")))
    there = table("a", "b", checks=(Check("(a >= 0)", "theirs"), Check("(1 > 0)", "more")))
    (missing, extra) = [d for d in drift.between(standing(source, there)) if d.state != "different"]
    (different,) = [d for d in drift.between(standing(source, there)) if d.state == "different"]
    assert (different.name, different.source, different.target) == (
        *("mine", "CHECK ((a > 0))", "CHECK ((a >= 0))"),
    )
    assert (missing.name, extra.name) == ("gone", "more")


def test_columns() -> None:
    source = Table(
        TableName("public", "t"),
        (Column("a", "integer", nullable=False, default="1"), Column("b", "integer")),
    )
    there = Table(
        TableName("public", "t"),
        (
            Column("a", "text"),
            Column("b", "text", nullable=False, default="2"),
            Column("c", "text", nullable=False),
            Column("d", "text", nullable=False, default="''"),
        ),
    )
    listed = drift.in_order(drift.between(standing(source, there)))
    assert [(d.state, d.what, d.name, d.source, d.target) for d in listed] == [
        ("missing", "not null", "a", "NOT NULL", ""),
        ("missing", "default", "a", "1", ""),
        ("extra", "not null", "b", "", "NOT NULL"),
        ("extra", "default", "b", "", "2"),
        ("extra", "column", "c", "", "text NOT NULL, and no default"),
        ("extra", "column", "d", "", "text NOT NULL"),
    ]


def test_what_a_migration_leaves_behind_is_no_extra() -> None:
    there = table(
        "a",
        indexes=(index("a", name="By_Word"),),
        checks=(Check("(a > 0)", "c"),),
        foreign_keys=(refers(("a", "id")),),
    )
    there = replace(there, columns=(replace(there.columns[0], default="now()"),))
    left = drift.left_of(
        "t",
        [
            LeftBehind("index", "by_word", "t", ""),
            LeftBehind("check", "c", "t", ""),
            LeftBehind("foreign key", "(a) to p", "t", ""),
            LeftBehind("default", "a", "t", ""),
        ],
    )
    assert found(standing(table("a"), there, left=left)) == []
    other = drift.left_of("t", [LeftBehind("index", "by_word", "another", "")])
    assert len(found(standing(table("a"), there, left=other))) == 4


# ---- what the next row is numbered by ------------------------------------------------------------


def numbered(
    next_value: int, there: Numbering | None, *, estimated: bool = False
) -> list[tuple[str, str, str]]:
    identity = Identity("a", next_value, estimated=estimated)
    source = table("a", primary_key=Key(("a",)), identity=identity)
    return found(standing(source, numbered={"a": there} if there else {}))


def test_next_values() -> None:
    different = [("different", "identity", "a")]
    assert numbered(5, Numbering("a", 5, 4)) == []
    assert numbered(5, Numbering("a", 5, None)) == []
    assert numbered(5, Numbering("a", 6, 4)) == different
    assert numbered(5, Numbering("a", 1, 4)) == different
    assert numbered(5, Numbering("a", 1, None)) == different
    assert numbered(5, None) == [("missing", "identity", "a")]


def test_a_source_that_would_give_a_number_that_is_taken() -> None:
    """SQLite goes on after the largest, whatever it was told."""
    assert numbered(1, Numbering("a", 11, 10)) == []
    assert numbered(1, Numbering("a", 1, 10)) == []
    assert numbered(1, Numbering("a", 12, 10)) == [("different", "identity", "a")]


def test_a_number_that_is_taken_is_shown() -> None:
    identity = Identity("a", 11)
    source = table("a", primary_key=Key(("a",)), identity=identity)
    (only,) = drift.between(standing(source, numbered={"a": Numbering("a", 3, 10)}))
    assert only.target == "next value 3, which may be taken: the largest value there is 10"


def test_numbers_that_may_not_be_asked() -> None:
    assert numbered(5, Numbering("a", None)) == []
    assert numbered(5, Numbering("a", 9, 8), estimated=True) == []
    source = table("a", primary_key=Key(("a",)), identity=Identity("a", 5))
    assert drift.not_asked(standing(source, numbered={"a": Numbering("a", None)}))
    assert not drift.not_asked(standing(source, numbered={"a": Numbering("a", 5)}))
    assert not drift.not_asked(standing(source))


def test_a_column_that_numbers_itself_in_the_target_alone() -> None:
    source = table("a", primary_key=Key(("a",)))
    there = Numbering("a", 3, 2)
    assert found(standing(source, numbered={"a": there})) == [("extra", "identity", "a")]
    # Every rowid does.
    rowid = replace(there, natural=True)
    assert found(standing(source, numbered={"a": rowid}, target=SQLITE)) == []


def test_the_default_of_a_serial_column_is_what_numbers_it() -> None:
    source = table("a", primary_key=Key(("a",)), identity=Identity("a", 3))
    made = standing(source, numbered={"a": Numbering("a", 3, 2)})
    serial = replace(made.found.columns[0], default="nextval('s'::regclass)")
    assert found(replace(made, found=replace(made.found, columns=(serial,)))) == []


# ---- expressions ---------------------------------------------------------------------------------


def test_expressions_count_as_the_target_spells_them() -> None:
    source, there = table("a", checks=(Check("x", "c"),)), table("a", checks=(Check("y", "d"),))
    made = standing(source, there)
    mine = made.plan.target.checks[0].expression if made.plan.target.checks else ""
    alike = {Expression(mine): "z", Expression("y"): "z"}
    assert found(replace(made, spelled=alike)) == []
    assert found(made) == [("missing", "check", "c"), ("extra", "check", "d")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a > 1", "( [A]>1 ) -- so it is"),
        ("\"a\" IN ('x', 'y')", "A in('x','y')"),
        ("a = 1 AND b <> 2", "a == 1 and (b != 2)"),
        ("t.a IS NOT NULL", "a IS NOT NULL"),
        ("likelihood(a > 1, 0.5)", "LIKELIHOOD ( A>1, 0.5 )"),
    ],
)
def test_sqlites_spellings(one: str, other: str) -> None:
    assert spelled(Expression(one)) == spelled(Expression(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a > 1", "a >= 1"),
        ("a > 1", "b > 1"),
        ("a > 'x'", "a > 'X'"),
        ("a > 1 AND b > 1 OR c > 1", "a > 1 AND (b > 1 OR c > 1)"),
        ("lower(a)", "upper(a)"),
        ("a COLLATE NOCASE = 'x'", "a = 'x'"),
    ],
)
def test_what_sqlite_does_not_take_for_one(one: str, other: str) -> None:
    assert spelled(Expression(one)) != spelled(Expression(other))


def default(text: str, type_: str = "") -> str:
    return spelled(Expression(text, type_, default=True))


def test_defaults_of_sqlite_are_what_their_columns_keep() -> None:
    for zero in ("0", "'0'", "0.0", "(0)", "+0", "'0.00'"):
        assert default(zero, "DECIMAL(10,2)") == default("0", "DECIMAL(10,2)")
    assert default("-1", "INT") == default("'-1'", "INT") != default("1", "INT")
    assert default("7", "TEXT") == default("'7'", "TEXT")
    assert default("0", "BLOB") != default("'0'", "BLOB")
    assert default("'x'", "INT") == default('"x"', "INT") == default("x", "INT")
    assert default("NULL", "INT") == default("(null)", "TEXT") == ""
    assert default("CURRENT_TIMESTAMP") == default("(current_timestamp)")
    assert default("'CURRENT_TIMESTAMP'") != default("CURRENT_TIMESTAMP")
    assert default("'inf'", "INT") != default("'nan'", "INT")
