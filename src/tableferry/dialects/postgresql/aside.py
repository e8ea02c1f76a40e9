"""What must not get in the way of a load into an application's own tables, and comes back after it.

As the tables' owner, no more: an ordinary role may disable its triggers, but not those that keep
foreign keys, and under session_replication_role orphans would come to stand under a constraint
that claims to be valid. So foreign keys are dropped and added again, and proven; triggers are
disabled. Statements come from the system catalogs (documentation, chapter 53).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.ddl import literal
from tableferry.model import ForeignKey, Restoration, TableName
from tableferry.sql import breaking_foreign_key, qualified, quote

# pg_trigger.tgenabled: fires in "origin" and "local" sessions, in replicas, or in all.
_ENABLE = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def set_aside(
    connection: adbc_driver_postgresql.dbapi.Connection, tables: Sequence[TableName]
) -> tuple[tuple[str, ...], tuple[Restoration, ...]]:
    """Statements that set foreign keys and triggers aside, and those that put them back."""
    listed = ", ".join(f"{literal(qualified(name))}::regclass" for name in tables)
    away: list[str] = []
    back: list[Restoration] = []
    for row in rows(connection, _FOREIGN_KEYS.format(tables=listed)):
        _foreign_key(row, away, back)
    triggers = triggers_aside(connection, tables)
    return (*away, *triggers[0]), (*back, *triggers[1])


def triggers_aside(
    connection: adbc_driver_postgresql.dbapi.Connection, tables: Sequence[TableName]
) -> tuple[tuple[str, ...], tuple[Restoration, ...]]:
    """The same for triggers alone."""
    listed = ", ".join(f"{literal(qualified(name))}::regclass" for name in tables)
    away: list[str] = []
    back: list[Restoration] = []
    for row in rows(connection, _TRIGGERS.format(tables=listed)):
        table = TableName(row["schema"], row["tbl"])
        trigger = f"TRIGGER {quote(row['name'])}"
        away.append(f"ALTER TABLE {qualified(table)} DISABLE {trigger}")
        enable = f"ALTER TABLE {qualified(table)} {_ENABLE[row['enabled']]} {trigger}"
        back.append(Restoration(table, "trigger", row["name"], enable))
    return tuple(away), tuple(back)


def references(
    connection: adbc_driver_postgresql.dbapi.Connection, table: TableName
) -> list[dict[str, Any]]:
    """Foreign keys that refer to a table: ``schema``, ``tbl`` and ``columns`` of who refers, its
    ``parent_columns``, and by pg_constraint.confdeltype what a deletion does."""
    return rows(connection, _REFERENCES.format(table=literal(qualified(table))))


def _foreign_key(row: dict[str, Any], away: list[str], back: list[Restoration]) -> None:
    table = TableName(row["schema"], row["tbl"])
    name = row["name"]
    constraint = f"CONSTRAINT {quote(name)}"
    away.append(f"ALTER TABLE {qualified(table)} DROP {constraint}")
    definition = row["definition"].removesuffix(" NOT VALID")
    back.append(
        Restoration(
            table,
            "foreign key",
            name,
            f"ALTER TABLE {qualified(table)} ADD {constraint} {definition} NOT VALID",
        )
    )
    if row["comment"]:
        comment = f"COMMENT ON {constraint} ON {qualified(table)} IS {literal(row['comment'])}"
        back.append(Restoration(table, "comment", name, comment))
    if row["valid"]:
        key = ForeignKey(
            tuple(row["columns"]),
            TableName(row["parent_schema"], row["parent"]),
            tuple(row["parent_columns"]),
        )
        back.append(
            Restoration(
                table,
                "foreign key",
                name,
                f"ALTER TABLE {qualified(table)} VALIDATE {constraint}",
                proof=True,
                breaking=breaking_foreign_key(key),
            )
        )


_NAMES = "n.nspname::text AS schema, c.relname::text AS tbl"
_COLUMNS = (
    "array(SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY u(n, i) "
    "JOIN pg_attribute a ON a.attrelid = k.{table} AND a.attnum = u.n ORDER BY u.i)"
)
_FOREIGN_KEYS = (
    f"SELECT {_NAMES}, k.conname::text AS name, pg_get_constraintdef(k.oid) AS definition, "
    "k.convalidated AS valid, pn.nspname::text AS parent_schema, p.relname::text AS parent, "
    f"{_COLUMNS.format(key='conkey', table='conrelid')} AS columns, "
    f"{_COLUMNS.format(key='confkey', table='confrelid')} AS parent_columns, "
    "coalesce(obj_description(k.oid, 'pg_constraint'), '') AS comment "
    "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace "
    "WHERE k.contype = 'f' AND k.conparentid = 0 "
    "AND (k.conrelid IN ({tables}) OR k.confrelid IN ({tables})) ORDER BY 1, 2, 3"
)
# As _FOREIGN_KEYS, of those that refer to one table.
_REFERENCES = (
    f"SELECT {_NAMES}, k.conname::text AS name, k.confdeltype::text AS on_delete, "
    f"{_COLUMNS.format(key='conkey', table='conrelid')} AS columns, "
    f"{_COLUMNS.format(key='confkey', table='confrelid')} AS parent_columns "
    "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = {table}::regclass "
    "ORDER BY 1, 2, 3"
)
_TRIGGERS = (
    f"SELECT {_NAMES}, g.tgname::text AS name, g.tgenabled::text AS enabled "
    "FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND g.tgrelid IN ({tables}) ORDER BY 1, 2, 3"
)


def canonical_query(type_name: str, texts: str) -> str:
    """How a type spells texts, which are given as a list of literals, and whether it cuts or
    rounds one to do so: a cast does that without a word (section 4.2.9)."""
    base = without_modifiers(type_name)
    value = cast_of("v", type_name)
    exact = "::numeric" if type_name == "money" else ""
    if base != type_name:
        changed = f"v::{type_name}::{base} IS DISTINCT FROM v::{base}"
    elif type_name == "money":
        changed = "v::numeric::money::numeric IS DISTINCT FROM v::numeric"
    elif type_name == "real[]":
        changed = "v::real[]::text::float8[] IS DISTINCT FROM v::float8[]"
    else:
        changed = (
            "(SELECT typcategory IN ('S', 'Z') FROM pg_type "
            f"WHERE oid = {literal(type_name)}::regtype) "
            f"AND {value}::text IS DISTINCT FROM v"
        )
    if re.search("time|date|interval|range", type_name):
        # Words for the moment of reading, and digits beyond the microsecond.
        changed = f"({changed}) OR v ~* '(now|today|tomorrow|yesterday)|\\.[0-9]{{7}}'"
    return (
        f"SELECT v AS given, {value}{exact}::text AS spelled, {changed} AS changed "
        f"FROM unnest(ARRAY[{texts}]::text[]) WITH ORDINALITY AS u(v, i) ORDER BY i"
    )


def cast_of(text: str, type_name: str) -> str:
    """The value of a type that an expression of type text spells."""
    if type_name == "regclass":
        # The cast from text takes neither "-" nor the number of a table that is gone.
        return f"regclassin(textout({text}))"
    # Of money the text would be one of the server's locale (section 8.2).
    return f"{text}::numeric::money" if type_name == "money" else f"{text}::{type_name}"


# Of these, the plain name means one of length 1.
_UNBOUNDED = {"character": "bpchar", "bit": "bit varying"}


def without_modifiers(type_name: str) -> str:
    """The type without what limits its values.

    >>> without_modifiers("character varying(5)[]")
    'character varying[]'
    """
    # A type of a user's making may be called "rating (5)".
    base = re.sub(r'("(?:[^"]|"")*")|\(\d+(,-?\d+)?\)', lambda match: match[1] or "", type_name)
    name = base.rstrip("[]")
    brackets = base[len(name) :]
    return type_name if base == type_name else _UNBOUNDED.get(name, name) + brackets


def sequences(
    connection: adbc_driver_postgresql.dbapi.Connection, table: TableName
) -> list[dict[str, Any]]:
    """Sequences that number a column of the table, by identity or default: ``column`` and the
    quoted ``sequence``, and whether it counts ``downwards``."""
    return rows(connection, _SEQUENCES.format(table=literal(qualified(table))))


_SEQUENCES = (
    "SELECT DISTINCT a.attname::text AS column, "
    "format('%I.%I', n.nspname, s.relname) AS sequence, q.seqincrement < 0 AS downwards "
    "FROM pg_attribute a "
    "LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum "
    "JOIN pg_depend d ON (d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass "
    "AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i') "
    "OR (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid "
    "AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n') "
    "JOIN pg_class s ON s.relkind = 'S' AND s.oid = "
    "CASE WHEN d.deptype = 'i' THEN d.objid ELSE d.refobjid END "
    "JOIN pg_namespace n ON n.oid = s.relnamespace JOIN pg_sequence q ON q.seqrelid = s.oid "
    "WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped "
    # Only integers are numbered.
    "AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)"
)
