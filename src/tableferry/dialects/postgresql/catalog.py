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
    "CASE WHEN c.relacl IS NOT NULL THEN 'grants' END",
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
        "array(SELECT i.indexrelid::regclass::text FROM pg_index i WHERE i.indrelid = c.oid "
        "AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)) "
        "AS indexes "
        f"FROM {source} WHERE {own} ORDER BY c.relname",
    )
    columns = _grouped(
        connection,
        "SELECT c.relname::text AS owner, a.attname::text AS name, "
        "format_type(a.atttypid, a.atttypmod) AS declared, NOT a.attnotnull AS nullable, "
        "a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity, "
        "coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS expression "
        f"FROM {source} JOIN pg_attribute a ON a.attrelid = c.oid "
        "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        f"WHERE {own} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum",
    )
    keys = _grouped(
        connection,
        "SELECT c.relname::text AS owner, k.conname::text AS name, k.contype::text AS type, "
        "array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.n ORDER BY u.i) AS columns "
        f"FROM {source} JOIN pg_constraint k ON k.conrelid = c.oid "
        f"WHERE {own} AND k.contype IN ('p', 'u', 'c') ORDER BY c.relname, k.conname",
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
        checks=tuple(Check("", key["name"]) for key in keys if key["type"] == "c"),
        identity=Identity(identity, 0) if identity else None,
        locator="ctid",
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
