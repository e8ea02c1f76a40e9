"""The grammar of --cast rules, what they match, and what they put first."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.casts import Offers, parse, parse_all
from tableferry.conversions import METHODS
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.dialects.sqlite.types import candidates
from tableferry.errors import UsageError
from tableferry.kinds import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    INT,
    JSON,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
)
from tableferry.model import Candidate, Column, Kind, Schema, Table, TableName

SQLITE, POSTGRESQL = SqliteDialect(), PostgresDialect()

TYPES: dict[str, Kind] = {
    "bigint": INT,
    "int8": INT,
    "integer": Kind("int", bits=32),
    "INT": Kind("int", bits=32),
    "int4": Kind("int", bits=32),
    "smallint": Kind("int", bits=16),
    "int2": Kind("int", bits=16),
    "boolean": BOOL,
    "bool": BOOL,
    "double precision": FLOAT,
    "double   precision": FLOAT,
    "float8": FLOAT,
    "numeric": NUMERIC,
    "decimal": NUMERIC,
    "numeric(10,2)": decimal(10, 2),
    "Decimal ( 10 , 2 )": decimal(10, 2),
    "text": TEXT,
    "varchar": TEXT,
    "varchar(20)": Kind("text", length=20),
    "character varying(20)": Kind("text", length=20),
    "bytea": BYTES,
    "date": DATE,
    "time": TIME,
    "timestamp": TIMESTAMP,
    "timestamp without time zone": TIMESTAMP,
    "timestamptz": TIMESTAMPTZ,
    "TIMESTAMP WITH TIME ZONE": TIMESTAMPTZ,
    "uuid": UUID,
    "json": JSON,
}
MOMENTS = {"date", "timestamp", "timestamptz"}
MAKES = {
    "epoch": MOMENTS,
    "epoch_ms": MOMENTS,
    "julian": MOMENTS,
    "iso": MOMENTS | {"time"},
    "strip_nul": {"text"},
    "replace_invalid": {"text"},
}


def table(name: str, **columns: str) -> Table:
    return Table(
        TableName("main", name), tuple(Column(c, declared) for c, declared in columns.items())
    )


def first(rules: list[str], of: Table, column: int = 0) -> Candidate:
    offers = Offers(SQLITE, POSTGRESQL, parse_all(rules, POSTGRESQL))
    return offers(of, of.columns[column])[0]


# ---- the grammar ------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "kind"), TYPES.items())
def test_types(text: str, kind: Kind) -> None:
    rule = parse(f"t.c to {text}", POSTGRESQL)
    assert rule.candidate.kind == kind
    assert (rule.table, rule.column, rule.declared) == ("t", "c", "")
    assert rule.text == f"t.c to {text}"


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
@pytest.mark.parametrize("method", METHODS)
def test_each_method_makes_what_is_written_down_and_nothing_else(
    method: str, name: str, kind: Kind
) -> None:
    text = f"t.c to {name} using {method}"
    if kind.name not in MAKES[method]:
        with pytest.raises(UsageError, match=f"{method} does not make a"):
            parse(text, POSTGRESQL)
        return
    candidate = parse(text, POSTGRESQL).candidate
    assert candidate == Candidate(kind, using="" if method == "iso" else method)


@pytest.mark.parametrize(
    ("name", "merges", "using"),
    [
        ("boolean", False, "meaning"),
        ("uuid", False, "meaning"),
        ("text", True, ""),
        ("varchar(3)", True, ""),
        ("bytea", True, ""),
        ("float8", True, ""),
        ("bigint", False, ""),
        ("numeric(5,1)", False, ""),
        ("timestamp", False, ""),
        ("json", False, ""),
    ],
)
def test_without_a_method(name: str, merges: bool, using: str) -> None:
    candidate = parse(f"t.c to {name}", POSTGRESQL).candidate
    assert (candidate.merges, candidate.using) == (merges, using)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  t.c   TO\ttext\n", ("t", "c", "")),
        ("my table.my column to text", ("my table", "my column", "")),
        ("a.b.c to text", ("a.b", "c", "")),
        ("go to it.c to text", ("go to it", "c", "")),
        ("t.to to text", ("t", "to", "")),
        ("*.* to text", ("*", "*", "")),
        ("type.c to text", ("type", "c", "")),
        ("type tinyint(1) to text", ("", "", "tinyint(1)")),
        ("TYPE Unsigned Big Int to text", ("", "", "Unsigned Big Int")),
        ("type DECIMAL(10, 2) to text", ("", "", "DECIMAL(10, 2)")),
        ("漢.🦆 to text", ("漢", "🦆", "")),
    ],
)
def test_where(text: str, expected: tuple[str, str, str]) -> None:
    rule = parse(text, POSTGRESQL)
    assert (rule.table, rule.column, rule.declared) == expected
    assert rule.candidate.kind == TEXT


@pytest.mark.parametrize("method", ["EPOCH", "Epoch_Ms", "JULIAN"])
def test_methods_in_whatever_case(method: str) -> None:
    rule = parse(f"t.c TO TimestampTZ USING {method}", POSTGRESQL)
    assert rule.candidate == Candidate(TIMESTAMPTZ, using=method.lower())


@pytest.mark.parametrize(
    "text", ["", "t.c", "t to text", "t.c to", "to text", "t.c text", ".c to text", "t. to text"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(UsageError, match="is no rule") as caught:
        parse(text, POSTGRESQL)
    assert "orders.placed_at to timestamptz using epoch_ms" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["varchar2", "integer(3)", "text(5)", "numeric(2,5)(1)", "money", "int[]", "text; drop"]
)
def test_types_that_no_rule_can_name(name: str) -> None:
    with pytest.raises(UsageError, match="is no type that a rule can name"):
        parse(f"t.c to {name}", POSTGRESQL)


@pytest.mark.parametrize("method", ["epoc", "unixepoch", "epoch_us", "meaning", "iso8601"])
def test_unknown_methods(method: str) -> None:
    with pytest.raises(UsageError, match=f"there is no method {method}") as caught:
        parse(f"t.c to timestamp using {method}", POSTGRESQL)
    assert all(known in caught.value.hint for known in METHODS)


@given(st.text(max_size=40) | st.sampled_from(["t.c to text", "type a to bool"]))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        rule = parse(text, POSTGRESQL)
        assert bool(rule.declared) != bool(rule.table and rule.column)


# ---- what a rule concerns ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "concerned"),
    [
        ("Orders.placed_at", {"Orders.placed_at"}),
        ("ORDERS.PLACED_AT", {"Orders.placed_at"}),
        ("*.placed_at", {"Orders.placed_at", "order_lines.placed_at"}),
        ("order*.*_at", {"Orders.placed_at", "order_lines.placed_at"}),
        ("Orders.*", {"Orders.placed_at", "Orders.small"}),
        ("order?.small", {"Orders.small"}),
        ("[op]rders.small", {"Orders.small"}),
        ("type TINYINT(1)", {"Orders.small", "order_lines.flag"}),
        ("type tinyint ( 1 )", {"Orders.small", "order_lines.flag"}),
        ("type INTEGER", {"Orders.placed_at"}),
        ("type TINYINT", set()),
        ("type *", set()),
        ("rders.small", set()),
        ("placed_at.Orders", set()),
    ],
)
def test_what_a_rule_concerns(where: str, concerned: set[str]) -> None:
    tables = (
        table("Orders", placed_at="INTEGER", small="tinyint(1)"),
        table("order_lines", placed_at="", flag="TinyInt( 1 )"),
    )
    rule = parse(f"{where} to text", POSTGRESQL)

    found = {f"{t.name}.{c.name}" for t in tables for c in t.columns if rule.concerns(t, c)}

    assert found == concerned
    offers = Offers(SQLITE, POSTGRESQL, (rule,))
    if concerned:
        offers.require_matches(Schema(tables))
    else:
        with pytest.raises(UsageError, match="matches no column") as caught:
            offers.require_matches(Schema(tables))
        assert repr(f"{where} to text") in caught.value.message


def test_one_idle_rule_among_others_is_an_error() -> None:
    rules = parse_all(["t.a to text", "t.missing to text"], POSTGRESQL)
    with pytest.raises(UsageError, match=r"t\.missing"):
        Offers(SQLITE, POSTGRESQL, rules).require_matches(Schema((table("t", a="INTEGER"),)))


def test_a_rule_that_a_later_one_beats_is_not_idle() -> None:
    rules = parse_all(["t.a to text", "*.* to bytea"], POSTGRESQL)
    Offers(SQLITE, POSTGRESQL, rules).require_matches(Schema((table("t", a="INTEGER"),)))


# ---- what is offered then ---------------------------------------------------------------------


def test_the_last_rule_counts() -> None:
    one = table("t", a="INTEGER", b="INTEGER")
    rules = ["*.* to text", "t.a to boolean", "type INTEGER to integer", "t.b to float8"]
    assert first(rules, one, 0) == Candidate(Kind("int", bits=32))
    assert first(rules, one, 1) == Candidate(FLOAT, merges=True)


@pytest.mark.parametrize("declared", ["INTEGER", "TEXT", "DATE", "", "BLOB", "DECIMAL(5,2)"])
@pytest.mark.parametrize("name", ["text", "bigint", "bytea", "timestamptz", "varchar(3)"])
def test_a_rule_goes_first_and_nothing_else_is_lost_or_offered_twice(
    declared: str, name: str
) -> None:
    one = table("t", a=declared)
    rule = parse(f"t.a to {name}", POSTGRESQL)

    offered = Offers(SQLITE, POSTGRESQL, (rule,))(one, one.columns[0])

    assert offered[0] == rule.candidate
    assert len(set(offered)) == len(offered)
    own = candidates(one.columns[0])
    assert offered[1:] == tuple(c for c in own if c != rule.candidate)


def test_without_a_rule_the_dialect_has_its_word() -> None:
    one = table("t", a="INTEGER")
    rules = parse_all(["other.a to text"], POSTGRESQL)
    assert Offers(SQLITE, POSTGRESQL, rules)(one, one.columns[0]) == candidates(one.columns[0])
    assert Offers(SQLITE, POSTGRESQL)(one, one.columns[0]) == candidates(one.columns[0])
