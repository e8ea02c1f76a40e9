"""What a PostgreSQL schema holds, from the system catalogs (documentation, chapter 53)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.ddl import literal, qualified
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    Key,
    Schema,
    Table,
    TableName,
    View,
)

PAGE_BYTES = 8192

# What an application gives a table beyond columns, keys and indexes, each in words or NULL.
_EXTRAS = (
    "(SELECT 'a trigger' FROM pg_trigger x WHERE x.tgrelid = c.oid AND NOT x.tgisinternal LIMIT 1)",
    "(SELECT 'a comment' FROM pg_description x WHERE x.objoid = c.oid "
    "AND x.classoid = 'pg_class'::regclass LIMIT 1)",
    "(SELECT 'a policy' FROM pg_policy x WHERE x.polrelid = c.oid LIMIT 1)",
    "CASE WHEN c.relacl IS NOT NULL OR EXISTS (SELECT 1 FROM pg_attribute x "
    "WHERE x.attrelid = c.oid AND x.attacl IS NOT NULL) THEN 'grants' END",
    "(SELECT 'an insert rule' FROM pg_rewrite x WHERE x.ev_class = c.oid AND x.ev_type = '3' "
    "LIMIT 1)",
    "(SELECT 'a rule' FROM pg_rewrite x WHERE x.ev_class = c.oid AND x.ev_type <> '3' LIMIT 1)",
    "(SELECT 'a domain' FROM pg_attribute x JOIN pg_type y ON y.oid = x.atttypid "
    "WHERE x.attrelid = c.oid AND y.typtype = 'd' LIMIT 1)",
    "(SELECT 'a collation' FROM pg_attribute x JOIN pg_type y ON y.oid = x.atttypid "
    "WHERE x.attrelid = c.oid AND x.attcollation <> y.typcollation LIMIT 1)",
    "(SELECT 'an identity ALWAYS' FROM pg_attribute x WHERE x.attrelid = c.oid "
    "AND x.attidentity = 'a' LIMIT 1)",
    "(SELECT 'an exclusion' FROM pg_constraint x WHERE x.conrelid = c.oid AND x.contype = 'x' "
    "LIMIT 1)",
    "(SELECT 'a comment on a constraint' FROM pg_constraint x JOIN pg_description y "
    "ON y.objoid = x.oid AND y.classoid = 'pg_constraint'::regclass WHERE x.conrelid = c.oid "
    "LIMIT 1)",
    "(SELECT 'statistics' FROM pg_statistic_ext x WHERE x.stxrelid = c.oid LIMIT 1)",
    "CASE WHEN c.reloptions IS NOT NULL THEN 'storage options' END",
    "CASE WHEN c.relpersistence <> 'p' THEN 'no log' END",
    "CASE WHEN c.relreplident <> 'd' THEN 'a replica identity' END",
    "CASE WHEN c.reltablespace <> 0 THEN 'a tablespace' END",
    "(SELECT 'heirs' FROM pg_inherits x JOIN pg_class y ON y.oid = x.inhrelid "
    "WHERE x.inhparent = c.oid AND NOT y.relispartition LIMIT 1)",
    "(SELECT 'inheritance' FROM pg_inherits x WHERE x.inhrelid = c.oid AND NOT c.relispartition "
    "LIMIT 1)",
    "CASE WHEN c.relrowsecurity THEN 'row-level security' END",
    "CASE WHEN c.relkind = 'p' OR c.relispartition THEN 'partitions' END",
)


def inspect(connection: adbc_driver_postgresql.dbapi.Connection, schema: str) -> Schema:
    """The schema's ordinary tables with columns, keys and sizes."""
    own = f"n.nspname = {literal(schema)} AND c.relkind IN ('r', 'p')"
    source = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    tables = rows(
        connection,
        "SELECT c.relname::text AS name, pg_relation_size(c.oid) AS size, "
        "greatest(c.reltuples, 0)::int8 AS rows, "
        f"concat_ws('|', {', '.join(_EXTRAS)}) AS extras, "
        "array(SELECT x.relname::text FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
        "WHERE i.indrelid = c.oid "
        "AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)) "
        "AS indexes "
        f"FROM {source} WHERE {own} ORDER BY c.relname",
    )
    columns = _grouped(
        connection,
        "SELECT c.relname::text AS owner, a.attname::text AS name, "
        # Of a domain the type that it restricts: a cast to a domain cuts and rounds in silence.
        "CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) "
        "ELSE format_type(a.atttypid, a.atttypmod) END AS declared, NOT a.attnotnull AS nullable, "
        "a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity, "
        "coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS expression "
        f"FROM {source} JOIN pg_attribute a ON a.attrelid = c.oid "
        "JOIN pg_type t ON t.oid = a.atttypid "
        "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        f"WHERE {own} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum",
    )
    keys = _grouped(
        connection,
        "SELECT c.relname::text AS owner, k.conname::text AS name, k.contype::text AS type, "
        "coalesce(pc.relname::text, '') AS parent, "
        "coalesce(pn.nspname::text, '') AS parent_schema, "
        "array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, i) "
        "JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i) "
        "AS parent_columns, k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, "
        "k.condeferred AS deferred, "
        "array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n ORDER BY u.i) AS columns "
        f"FROM {source} JOIN pg_constraint k ON k.conrelid = c.oid "
        "LEFT JOIN pg_class pc ON pc.oid = k.confrelid "
        "LEFT JOIN pg_namespace pn ON pn.oid = pc.relnamespace "
        f"WHERE {own} AND k.contype IN ('p', 'u', 'c', 'f') ORDER BY c.relname, k.conname",
    )
    views = rows(
        connection,
        "SELECT c.relname::text AS name FROM pg_class c JOIN pg_namespace n "
        f"ON n.oid = c.relnamespace WHERE n.nspname = {literal(schema)} AND c.relkind = 'v' "
        "ORDER BY c.relname",
    )
    return Schema(
        tuple(
            replace(
                _table(TableName(schema, row["name"]), columns[row["name"]], keys[row["name"]]),
                indexes=tuple(Index(name, ()) for name in row["indexes"]),
                extras=tuple(filter(None, row["extras"].split("|"))),
                rows=row["rows"],
                size=row["size"],
            )
            for row in tables
        ),
        # Their queries are PostgreSQL's own business.
        views=tuple(View(TableName(schema, row["name"]), "") for row in views),
    )


def _grouped(
    connection: adbc_driver_postgresql.dbapi.Connection, query: str
) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(connection, query):
        grouped[row["owner"]].append(row)
    return grouped


def _table(name: TableName, columns: list[dict[str, Any]], keys: list[dict[str, Any]]) -> Table:
    primary = next((key for key in keys if key["type"] == "p"), None)
    identity = next((column["name"] for column in columns if column["identity"]), None)
    return Table(
        name=name,
        columns=tuple(
            Column(
                name=column["name"],
                declared=column["declared"],
                nullable=column["nullable"],
                default=None if column["generated"] else column["expression"] or None,
                generated=column["expression"] if column["generated"] else "",
            )
            for column in columns
        ),
        primary_key=Key(tuple(primary["columns"]), primary["name"]) if primary else None,
        uniques=tuple(Key(tuple(k["columns"]), k["name"]) for k in keys if k["type"] == "u"),
        foreign_keys=tuple(_foreign_key(key) for key in keys if key["type"] == "f"),
        checks=tuple(Check("", key["name"]) for key in keys if key["type"] == "c"),
        identity=Identity(identity, 0) if identity else None,
        locator="ctid",
    )


# pg_constraint.confdeltype and confupdtype.
_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}


def _foreign_key(key: dict[str, Any]) -> ForeignKey:
    return ForeignKey(
        tuple(key["columns"]),
        TableName(key["parent_schema"], key["parent"]),
        tuple(key["parent_columns"]),
        _ACTIONS[key["on_delete"]],
        _ACTIONS[key["on_update"]],
        key["deferred"],
        key["name"],
    )


def referring_from_outside(
    connection: adbc_driver_postgresql.dbapi.Connection, tables: list[TableName]
) -> list[str]:
    """Foreign keys of other tables that point to these: such as "orders.orders_item_fkey"."""
    listed = ", ".join(f"{literal(qualified(name))}::regclass" for name in tables)
    found = rows(
        connection,
        "SELECT k.conrelid::regclass::text || '.' || k.conname AS name FROM pg_constraint k "
        f"WHERE k.contype = 'f' AND k.confrelid IN ({listed}) AND k.conrelid NOT IN ({listed}) "
        "ORDER BY 1",
    )
    return [row["name"] for row in found]
