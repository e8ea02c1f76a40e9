"""Any text as a rule after --cast; and any parts, put together as one.

Nothing but UsageError may come of a text. A rule that is understood says what its parts say, its
kind can be written down as a type and read again, and it can be held against any column.

An input is lines: a rule, then a table, a column, a declared type, a type and a method.
"""

from __future__ import annotations

import re

from tableferry import casts, kinds
from tableferry.conversions import METHODS
from tableferry.dialects.base import Dialect
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.errors import UsageError
from tableferry.model import Column, Table, TableName

DIALECTS: tuple[Dialect, ...] = (PostgresDialect(), SqliteDialect())


def check(data: bytes) -> None:
    """Raises AssertionError for a rule that means something else."""
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n")] + [""] * 6
    rule, table, column, declared, type_, method = lines[:6]
    using = f" using {method}" if method else ""
    column_of = Column(column, declared)
    there = Table(TableName("main", table), (column_of,))
    for dialect in DIALECTS:
        for text in (rule, f"{table}.{column} to {type_}{using}", f"type {declared} to {type_}"):
            found = _parsed(text, dialect)
            if found is not None:
                _check_rule(found, dialect)
                found.concerns(there, column_of)
        _check_parts(dialect, there, type_, method)


def _parsed(text: str, dialect: Dialect) -> casts.CastRule | None:
    try:
        return casts.parse(text, dialect)
    except UsageError:
        return None


def _check_rule(rule: casts.CastRule, dialect: Dialect) -> None:
    candidate = rule.candidate
    assert candidate.ruled
    assert bool(rule.declared) != bool(rule.table and rule.column)
    kinds.arrow_type(candidate.kind)
    assert kinds.describe(candidate.kind)
    if candidate.using:
        assert casts.makes(candidate.using, candidate.kind)
    if candidate.kind.name in ("numeric", "number", "native"):
        return
    again = dialect.kind_named(dialect.type_for(candidate.kind))
    assert again == candidate.kind, f"{candidate.kind} is {again} when it is read again"


def _check_parts(dialect: Dialect, there: Table, type_: str, method: str) -> None:
    """A rule of plain names concerns the column that it names, and no other."""
    table, column = there.name.name, there.columns[0].name
    plain = re.compile(r"[A-Za-z0-9_]+")
    if not (plain.fullmatch(table) and plain.fullmatch(column)) or table.lower() == "type":
        return
    if not plain.fullmatch(type_) or dialect.kind_named(type_) is None:
        return
    rule = _parsed(f"{table}.{column} to {type_}", dialect)
    assert rule is not None
    assert rule.concerns(there, there.columns[0])
    assert not rule.concerns(there, Column(f"{column}x", ""))
    if method.lower() in METHODS:
        with_method = _parsed(f"{table}.{column} to {type_} using {method}", dialect)
        if with_method is not None:
            assert with_method.candidate.kind == rule.candidate.kind
