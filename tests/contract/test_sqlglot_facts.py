"""Why expressions are read by a parser of our own: docs/decisions/0001-own-expression-parser.md.

A well-kept parser of many SQL dialects would be preferred, and is, as soon as these tests fail.
"""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing

import pytest
import sqlglot
from sqlglot import exp

from tableferry.expressions import Field, Relation, translate_check
from tableferry.kinds import INT
from tableferry.model import TableName

_VALUES = (-1, 0, 1, 2, None)
_SPANNING = (exp.Binary, exp.Unary, exp.In, exp.Between)


def parenthesised(text: str) -> str:
    """The expression with the parentheses that sqlglot's tree implies."""

    def walk(node: exp.Expr) -> exp.Expr:
        for name, value in list(node.args.items()):
            if isinstance(value, exp.Expr):
                node.set(name, walk(value))
            elif isinstance(value, list):
                node.set(name, [walk(v) if isinstance(v, exp.Expr) else v for v in value])
        spans = isinstance(node, _SPANNING) and not isinstance(node, exp.Paren)
        return exp.Paren(this=node) if spans else node

    return walk(sqlglot.parse_one(text, read="sqlite")).sql(dialect="sqlite")


def differing(first: str, second: str) -> int:
    """For how many values of a, b and c SQLite gives the two expressions different results."""
    rows = list(itertools.product(_VALUES, repeat=3))
    with closing(sqlite3.connect(":memory:")) as connection:
        query = "SELECT ({}) IS NOT ({}) FROM (SELECT ? AS a, ? AS b, ? AS c)"
        found = [connection.execute(query.format(first, second), row).fetchone() for row in rows]
    return sum(different for (different,) in found)


@pytest.mark.parametrize(
    "text",
    [
        "a = b IN (0, 1)",
        "a <> b IN (c)",
        "a = b BETWEEN c AND a",
        "a < b BETWEEN c AND a",
        "a = b LIKE c",
        "a = b GLOB c",
    ],
)
def test_sqlglot_reads_another_expression(text: str) -> None:
    assert differing(text, parenthesised(text)) > 0


def test_ours_reads_what_sqlite_reads() -> None:
    fields = tuple(Field(name, INT) for name in "abc")
    relation = Relation(TableName("public", "t"), fields)
    for text in ("a = b IN (0, 1)", "a = b BETWEEN c AND a", "a < b BETWEEN c AND a"):
        first, rest = text.split(" ", 2)[0], text.split(" ", 3)
        grouped = f"({' '.join([first, *rest[1:3]])}) {rest[3]}"
        assert differing(text, grouped) == 0
        assert translate_check(text, relation) == translate_check(grouped, relation)


def test_sqlglot_loses_the_unary_plus() -> None:
    """It takes a column's affinity away: +a = '1' compares an integer with text."""
    assert sqlglot.parse_one("+a", read="sqlite") == sqlglot.parse_one("a", read="sqlite")
