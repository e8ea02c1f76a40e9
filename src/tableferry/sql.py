"""What SQLite and PostgreSQL write alike. Pure."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tableferry.model import Column, ForeignKey, KeyRange, TableName

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """A name without regard to the case of ASCII letters alone: so SQLite compares names, and
    PostgreSQL folds those that are not quoted (section 4.1.1).

    >>> fold("ÄBc")
    'Äbc'
    """
    return name.translate(_FOLDED)


def quote(name: str) -> str:
    """A name as a quoted identifier of the SQL standard, which both read as it is."""
    return '"' + name.replace('"', '""') + '"'


def constant(text: str) -> str:
    """A string constant of the SQL standard, in which a backslash means itself: SQLite reads no
    other, and PostgreSQL reads it so where standard_conforming_strings is on, as in our sessions.

    >>> constant("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def qualified(name: TableName) -> str:
    return f"{quote(name.schema)}.{quote(name.name)}"


def names(columns: Iterable[str]) -> str:
    return ", ".join(map(quote, columns))


def between(value: str, lower: int | None, upper: int | None) -> str:
    """The condition that an expression is within half-open bounds; "" where there are none."""
    ends = []
    if lower is not None:
        ends.append(f"{value} >= {lower}")
    if upper is not None:
        ends.append(f"{value} < {upper}")
    return " AND ".join(ends)


def keys_between(column: Column, part: KeyRange) -> str:
    """The condition of rows in a range of keys, as a table aliased t."""
    value = f"t.{quote(column.name)}"
    within = between(value, part.lower, part.upper)
    if part.lower is None and within and column.nullable:
        return f"({within} OR {value} IS NULL)"
    return within


def breaking_foreign_key(key: ForeignKey) -> str:
    """The condition of rows without a parent, as a table aliased t. A NULL among several columns
    exempts a row (MATCH SIMPLE)."""
    given = " AND ".join(f"t.{quote(column)} IS NOT NULL" for column in key.columns)
    same = " AND ".join(
        f"p.{quote(theirs)} = t.{quote(mine)}"
        for mine, theirs in zip(key.columns, key.parent_columns, strict=True)
    )
    return f"{given} AND NOT EXISTS (SELECT 1 FROM {qualified(key.parent)} AS p WHERE {same})"
