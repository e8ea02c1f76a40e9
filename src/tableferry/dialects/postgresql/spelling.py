"""Expressions as the server itself spells them, so that two that it takes for one are alike.

What pg_get_expr() prints is not what was written: x IN ('a', 'b') becomes x = ANY (ARRAY[…]), and
casts are added. EXPLAIN prints both in one way: it plans a query that would bring no rows, in which
the planner has worked out constants and flattened conditions ("Using EXPLAIN", section 14.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from tableferry.dialects.postgresql.catalog import Connection, unambiguous
from tableferry.dialects.postgresql.connection import explained
from tableferry.model import Expression, TableName
from tableferry.sql import qualified

# How many are asked at once: a query has at most 1,664 columns ("PostgreSQL Limits").
_ASKED = 500

# A name alone comes after it; what stands in quotes is passed over.
_COLLATE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\bCOLLATE\s+("(?:[^"]|"")*"|[\w.]+)""", re.IGNORECASE
)
_NULL = re.compile(r"NULL(::.*)?")
_NUMBER = re.compile(
    r"""'(?P<quoted>-?\d+(?:\.\d+)?)'::(?:numeric|double\ precision|real|smallint|integer|bigint)\b
    (?:\(\d+,\d+\))? | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | (?<![\w.])(?P<bare>\d+(?:\.\d+)?)(?![\w.])""",
    re.VERBOSE,
)


def spelled(
    connection: Connection, table: TableName, expressions: Sequence[Expression]
) -> tuple[str, ...]:
    """See Session.spelled; what the server refuses is an error of the driver's."""
    found: list[str] = []
    with unambiguous(connection):
        for first in range(0, len(expressions), _ASKED):
            asked = expressions[first : first + _ASKED]
            listed = ", ".join(f"({x.text})::{x.type}" if x.type else f"({x.text})" for x in asked)
            query = f"SELECT {listed} FROM ONLY {qualified(table)} WHERE false"
            found += explained(connection, query)
    return tuple(_complete(*each) for each in zip(expressions, found, strict=True))


def _complete(given: Expression, printed: str) -> str:
    """With the collations, of which the planner says nothing, and numbers as what they are: 0.0,
    '0'::numeric and '0'::bigint are one where all around them is."""
    if given.default and _NULL.fullmatch(printed):
        return ""
    named = [match[1].strip('"') for match in _COLLATE.finditer(given.text) if match[1]]
    return " COLLATE ".join([_NUMBER.sub(_number, printed), *sorted(named)])


def _number(match: re.Match[str]) -> str:
    digits = match["quoted"] or match["bare"]
    return f"{Decimal(digits).normalize():f}" if digits else match[0]
