"""Sequences: which columns they number, and with what they go on (chapter 53; CREATE SEQUENCE)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.scope import covered, not_of_extension
from tableferry.dialects.postgresql.tables import Relation, Row
from tableferry.model import TableName
from tableferry.sql import qualified, quote

_INTEGERS = ("smallint", "integer", "bigint")
# A default that is no more than the next value of a sequence; so SERIAL is defined (section 8.1.4).
_NEXT_VALUE = re.compile(r"nextval\('(?:[^']|'')*'::regclass\)")

_SEQUENCES = (
    "WITH {covered} SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, "
    "n.oid IN (SELECT oid FROM s) AS covered, q.seqincrement AS step, q.seqcycle AS cycles, "
    "q.seqmax AS most, q.seqmax <> CASE q.seqtypid WHEN 'int2'::regtype THEN 32767 "
    "WHEN 'int4'::regtype THEN 2147483647 ELSE 9223372036854775807 END AND q.seqincrement > 0 "
    "AS bounded, has_sequence_privilege(c.oid, 'SELECT') "
    "AND has_schema_privilege(n.oid, 'USAGE') AS readable "
    "FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    f"WHERE {not_of_extension('pg_class', 'c.oid')} ORDER BY n.nspname, c.relname"
)


@dataclass(frozen=True, slots=True)
class Sequence:
    """``next_value`` is None where this role may not read it."""

    oid: int
    name: TableName
    covered: bool
    step: int
    cycles: bool
    # Where it ends before its type does.
    most: int | None = None
    next_value: int | None = None


def is_numbered(column: Row) -> bool:
    """Whether a column's values come from a sequence unless they are given."""
    if not column["sequence"] or column["declared"] not in _INTEGERS:
        return False
    return bool(column["identity"] or _NEXT_VALUE.fullmatch(column["expression"]))


def sequences(
    connection: adbc_driver_postgresql.dbapi.Connection,
    schema: str | None,
    relations: Iterable[Relation],
) -> Mapping[int, Sequence]:
    """All that there are, by oid; those that number a column know their next value."""
    found = rows(connection, _SEQUENCES.format(covered=covered(schema)))
    numbering = {c["sequence"] for r in relations for c in r.columns if is_numbered(c)}
    asked = [row for row in found if row["oid"] in numbering and row["readable"]]
    nexts: dict[int, int] = {}
    if asked:
        # pg_sequences tells nothing of a sequence that was set and not used since.
        query = " UNION ALL ".join(
            f"SELECT {row['oid']}::int8 AS oid, last_value, is_called "
            f"FROM {qualified(TableName(row['schema'], row['name']))}"
            for row in asked
        )
        steps = {row["oid"]: row["step"] for row in asked}
        for row in rows(connection, query):
            nexts[row["oid"]] = row["last_value"] + steps[row["oid"]] * row["is_called"]
    return {
        row["oid"]: Sequence(
            row["oid"],
            TableName(row["schema"], row["name"]),
            row["covered"],
            row["step"],
            row["cycles"],
            row["most"] if row["bounded"] else None,
            nexts.get(row["oid"]),
        )
        for row in found
    }


def after_largest(
    connection: adbc_driver_postgresql.dbapi.Connection, relation: Relation, column: str
) -> int:
    """What comes after the largest value of a column: where the sequence may not be read."""
    query = f"SELECT coalesce(max({quote(column)}), 0)::int8 AS n FROM {relation.source}"
    return int(rows(connection, query)[0]["n"]) + 1
