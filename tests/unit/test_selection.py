"""Patterns choose tables, and nothing that was not chosen disappears unnamed."""

from __future__ import annotations

import pytest

from tableferry.errors import UsageError
from tableferry.model import Column, LeftBehind, Schema, Table, TableName
from tableferry.selection import Selection

NAMES = ("Orders", "order_items", "items", "a[b]", "log")
VIEW = LeftBehind("view", "v", "v", "no views")
TRIGGER = LeftBehind("trigger", "tr", "log", "no triggers")
SCHEMA = Schema(
    tuple(Table(TableName("main", name), (Column("a", "INT"),)) for name in NAMES),
    (VIEW, TRIGGER),
)


def chosen(tables: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [t.name.name for t in Selection(tables, exclude).apply(SCHEMA).tables]


@pytest.mark.parametrize(
    ("tables", "exclude", "names"),
    [
        ((), (), NAMES),
        (("items",), (), ("items",)),
        (("ORDER*",), (), ("Orders", "order_items")),
        (("*items", "log"), (), ("order_items", "items", "log")),
        ((), ("log",), NAMES[:-1]),
        (("*",), ("*order*", "a*"), ("items", "log")),
        (("item?",), (), ("items",)),
        (("a[[]b]",), (), ("a[b]",)),
    ],
)
def test_choice(tables: tuple[str, ...], exclude: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert chosen(tables, exclude) == list(names)


def test_all_tables_leave_the_schema_as_it_is() -> None:
    assert Selection().apply(SCHEMA) == SCHEMA


def test_the_others_are_named_and_what_belongs_to_them_is_not() -> None:
    left = Selection(("items",)).apply(SCHEMA).left_behind
    assert VIEW in left
    assert TRIGGER not in left
    named = [item.name for item in left if item.what == "table"]
    assert named == ["Orders", "order_items", "a[b]", "log"]
    assert TRIGGER in Selection(("log",)).apply(SCHEMA).left_behind


@pytest.mark.parametrize("selection", [Selection(("nothing",)), Selection((), ("x*",))])
def test_a_pattern_that_matches_nothing_is_refused(selection: Selection) -> None:
    with pytest.raises(UsageError, match="No table matches the pattern") as caught:
        selection.apply(SCHEMA)
    assert "order_items" in caught.value.hint


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="leave no table"):
        Selection(("items",), ("*",)).apply(SCHEMA)


def test_a_long_list_of_tables_is_cut() -> None:
    many = Schema(tuple(Table(TableName("main", f"t{i}"), ()) for i in range(15)))
    with pytest.raises(UsageError) as caught:
        Selection(("x",)).apply(many)
    assert caught.value.hint == (
        "The source has t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 5 more."
    )
    with pytest.raises(UsageError) as caught:
        Selection(("x",)).apply(Schema(()))
    assert caught.value.hint == "It has no tables."


def test_other_schemas_stand_in_the_name() -> None:
    schema = Schema((Table(TableName("app", "t"), ()), Table(TableName("public", "u"), ())))
    assert [str(t.name) for t in Selection(("app.*",)).apply(schema).tables] == ["app.t"]
    assert [str(t.name) for t in Selection(("u",)).apply(schema).tables] == ["u"]
