"""The grammar of --cast, and which columns a rule concerns."""

from __future__ import annotations

import pytest

from tableferry.casts import Offers, parse
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.errors import UsageError
from tableferry.kinds import BOOL, TEXT, TIMESTAMPTZ, decimal
from tableferry.model import Candidate, Column, Kind, Schema, Table, TableName

TARGET = PostgresDialect()


def table(name: str, *columns: Column) -> Table:
    return Table(TableName("main", name), columns)


@pytest.mark.parametrize(
    ("text", "candidate"),
    [
        (
            "orders.placed_at to timestamptz using epoch_ms",
            Candidate(TIMESTAMPTZ, using="epoch_ms"),
        ),
        ("type tinyint(1) to boolean", Candidate(BOOL, using="meaning")),
        ("type integer to integer", Candidate(Kind("int", bits=32))),
        ("a.b to numeric(10, 2)", Candidate(decimal(10, 2))),
        ("a.b to text", Candidate(TEXT, merges=True)),
        ("a.b to text using STRIP_NUL", Candidate(TEXT, using="strip_nul")),
        ("a.b to date using iso", Candidate(Kind("date"))),
    ],
)
def test_what_a_rule_says(text: str, candidate: Candidate) -> None:
    assert parse(text, TARGET).candidate == candidate


@pytest.mark.parametrize(
    "text",
    ["", "a to b", "a.b text", "a.b to nothing", "a.b to text using epoch", "a.b to date using x"],
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, TARGET)


def test_whom_a_rule_concerns() -> None:
    at, flag = Column("placed_at", "INTEGER"), Column("flag", "TinyInt( 1 )")
    orders = table("Orders", at, flag)
    assert parse("orders.PLACED_* to text", TARGET).concerns(orders, at)
    assert parse("*.flag to text", TARGET).concerns(orders, flag)
    assert not parse("order.flag to text", TARGET).concerns(orders, flag)
    assert parse("type TINYINT(1) to boolean", TARGET).concerns(orders, flag)
    assert not parse("type tinyint to boolean", TARGET).concerns(orders, flag)


def test_the_last_rule_goes_before_what_the_dialect_offers() -> None:
    column = Column("a", "INTEGER")
    rules = tuple(parse(text, TARGET) for text in ("t.a to text", "*.a to integer"))
    offered = Offers(SqliteDialect(), rules)(table("t", column), column)
    assert offered[0] == Candidate(Kind("int", bits=32))
    assert offered[1:] == SqliteDialect().candidates(column)


def test_a_rule_that_matches_nothing_is_an_error() -> None:
    offers = Offers(SqliteDialect(), (parse("t.b to text", TARGET),))
    with pytest.raises(UsageError, match="matches no column"):
        offers.require_matches(Schema((table("t", Column("a", "")),)))
