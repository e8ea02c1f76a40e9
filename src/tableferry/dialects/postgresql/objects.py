"""Objects of PostgreSQL that are neither tables nor views, nor part of one that is carried: each is
named as left behind. One query of the system catalogs (chapter 53)."""

from __future__ import annotations

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.scope import covered, not_of_extension
from tableferry.model import LeftBehind, TableName

# The first oid that a user's object may get ("FirstNormalObjectId", transam.h): what a new database
# comes with has a smaller one.
_FIRST_OID = 16_384

# Relations covered, with the table that they are shown as part of: a partition's is its root.
_RELATIONS = (
    "o AS MATERIALIZED (SELECT c.oid, c.relname AS own, c.relkind AS kind, "
    "c.relowner AS owner, c.relacl AS acl, c.relrowsecurity AS secured, "
    "root.oid IS NOT NULL AS part, coalesce(rs.schema, s.schema) AS schema, "
    "coalesce(root.relname, c.relname) AS name "
    "FROM pg_class c JOIN s ON s.oid = c.relnamespace "
    "LEFT JOIN (pg_class root JOIN s AS rs ON rs.oid = root.relnamespace) "
    "ON c.relispartition AND root.oid = pg_partition_root(c.oid) "
    f"WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND {not_of_extension('pg_class', 'c.oid')})"
)

_OF_TABLE = "o.schema::text AS table_schema, o.name::text AS table_name"
_OF_NONE = "''::text AS table_schema, ''::text AS table_name"


def _of_relations(what: str, name: str, reason: str, source: str) -> str:
    return (
        f"SELECT {what}::text AS what, ''::text AS schema, ({name})::text AS name, {_OF_TABLE}, "
        f"({reason})::text AS reason FROM {source}"
    )


def _of_schemas(what: str, name: str, reason: str, catalog: str, prefix: str, where: str) -> str:
    """Objects of a catalog, under the alias x, whose columns begin with ``prefix``."""
    return (
        f"SELECT {what}::text AS what, s.schema::text AS schema, ({name})::text AS name, "
        f"{_OF_NONE}, ({reason})::text AS reason FROM {catalog} x "
        f"JOIN s ON s.oid = x.{prefix}namespace "
        f"WHERE {not_of_extension(catalog, 'x.oid')} AND ({where})"
    )


def _of_database(what: str, name: str, reason: str, source: str) -> str:
    return (
        f"SELECT {what}::text AS what, ''::text AS schema, ({name})::text AS name, {_OF_NONE}, "
        f"({reason})::text AS reason FROM {source}"
    )


_UNKNOWN = "'the target knows none'"
_ALL_PARTS = "string_agg(DISTINCT o.own, ', ' ORDER BY o.own)"
# Made along with a type, and gone with it.
_BY_ITSELF = (
    "NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.classid = '{0}'::regclass "
    "AND i.objid = x.oid AND i.deptype = 'i')"
)

_PARTS = (
    _of_relations(
        "'trigger'",
        "x.tgname",
        "'it calls ' || x.tgfoid::regproc",
        "pg_trigger x JOIN o ON o.oid = x.tgrelid WHERE NOT x.tgisinternal AND x.tgparentid = 0",
    ),
    _of_relations(
        "'rule'",
        "x.rulename",
        "'what it does instead of a statement is not done'",
        "pg_rewrite x JOIN o ON o.oid = x.ev_class WHERE x.rulename <> '_RETURN'",
    ),
    _of_relations(
        "'policy'",
        "x.polname",
        "'whoever may read the table sees every row'",
        "pg_policy x JOIN o ON o.oid = x.polrelid",
    ),
    _of_relations(
        "'row-level security'",
        "o.own",
        "'whoever may read the table sees every row'",
        "o WHERE o.secured AND NOT EXISTS (SELECT 1 FROM pg_policy x WHERE x.polrelid = o.oid)",
    ),
    _of_relations(
        "'grants'",
        "o.own",
        "'roles of the source may be none of the target'",
        # What the owner has of himself is no grant.
        "o JOIN acldefault('r', o.owner) d ON NOT (o.acl <@ d AND o.acl @> d) "
        "OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = o.oid "
        "AND a.attacl IS NOT NULL)",
    ),
    _of_relations(
        "'foreign table'",
        "o.own",
        "'its rows are another server''s'",
        "o WHERE o.kind = 'f' AND NOT o.part",
    ),
    _of_relations(
        "'statistics'",
        "x.stxname",
        _UNKNOWN,
        "pg_statistic_ext x JOIN o ON o.oid = x.stxrelid",
    ),
    # What stands on partitions alone; a partition's part of its parent's has one to refer to.
    _of_relations(
        "CASE x.contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique constraint' "
        "WHEN 'c' THEN 'check' WHEN 'f' THEN 'foreign key' ELSE 'exclusion constraint' END",
        "pg_get_constraintdef(x.oid)",
        f"'only partitions have it: ' || {_ALL_PARTS}",
        "pg_constraint x JOIN o ON o.oid = x.conrelid WHERE o.part AND x.conparentid = 0 "
        "AND x.coninhcount = 0 AND x.contype IN ('p', 'u', 'c', 'f', 'x') "
        "GROUP BY x.contype, pg_get_constraintdef(x.oid), o.schema, o.name",
    ),
    _of_relations(
        "'index'",
        "p.definition",
        f"'only partitions have it: ' || {_ALL_PARTS}",
        "o JOIN pg_index i ON i.indrelid = o.oid "
        "JOIN pg_class y ON y.oid = i.indexrelid AND NOT y.relispartition "
        "JOIN pg_am m ON m.oid = y.relam, "
        "LATERAL (SELECT CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END || m.amname || ' (' "
        "|| string_agg(pg_get_indexdef(i.indexrelid, n, false), ', ' ORDER BY n) || ')' "
        "|| coalesce(' WHERE ' || pg_get_expr(i.indpred, i.indrelid), '') AS definition "
        "FROM generate_series(1, i.indnkeyatts) n) p "
        "WHERE o.part AND NOT EXISTS (SELECT 1 FROM pg_constraint k "
        "WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) "
        "GROUP BY p.definition, o.schema, o.name",
    ),
    _of_schemas(
        "CASE x.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END",
        "x.proname || '(' || pg_get_function_identity_arguments(x.oid) || ')'",
        "CASE x.prokind WHEN 'a' THEN 'the target knows none' ELSE 'it is written in ' || "
        "(SELECT l.lanname FROM pg_language l WHERE l.oid = x.prolang) END",
        "pg_proc",
        "pro",
        _BY_ITSELF.format("pg_proc"),
    ),
    _of_schemas(
        "'operator'",
        "x.oprname || ' (' || concat_ws(', ', nullif(x.oprleft, 0)::regtype, "
        "nullif(x.oprright, 0)::regtype) || ')'",
        _UNKNOWN,
        "pg_operator",
        "opr",
        "true",
    ),
    _of_schemas("'operator class'", "x.opcname", _UNKNOWN, "pg_opclass", "opc", "true"),
    _of_schemas("'collation'", "x.collname", _UNKNOWN, "pg_collation", "coll", "true"),
    _of_schemas("'conversion'", "x.conname", _UNKNOWN, "pg_conversion", "con", "true"),
    _of_schemas(
        "'type'",
        "x.typname",
        "'it is written in C'",
        "pg_type",
        "typ",
        "x.typtype = 'b' AND NOT EXISTS (SELECT 1 FROM pg_type y WHERE y.typarray = x.oid)",
    ),
    _of_schemas(
        "'text search configuration'", "x.cfgname", _UNKNOWN, "pg_ts_config", "cfg", "true"
    ),
    _of_schemas("'text search dictionary'", "x.dictname", _UNKNOWN, "pg_ts_dict", "dict", "true"),
    _of_schemas("'text search parser'", "x.prsname", _UNKNOWN, "pg_ts_parser", "prs", "true"),
    _of_schemas("'text search template'", "x.tmplname", _UNKNOWN, "pg_ts_template", "tmpl", "true"),
)

_EXTENSIONS = _of_database(
    "'extension'",
    "x.extname",
    "'its functions and types are not there'",
    "pg_extension x WHERE x.extname <> 'plpgsql' AND {extensions}",
)

# What belongs to no schema is covered where all schemas are.
_OF_DATABASE = (
    _of_database(
        "'cast'",
        "x.castsource::regtype || ' AS ' || x.casttarget::regtype",
        _UNKNOWN,
        f"pg_cast x WHERE x.oid >= {_FIRST_OID} AND {not_of_extension('pg_cast', 'x.oid')} "
        f"AND {_BY_ITSELF.format('pg_cast')}",
    ),
    _of_database(
        "'event trigger'",
        "x.evtname",
        "'it calls ' || x.evtfoid::regproc",
        f"pg_event_trigger x WHERE {not_of_extension('pg_event_trigger', 'x.oid')}",
    ),
    _of_database(
        "'publication'",
        "x.pubname",
        "'nothing of the target is published'",
        "pg_publication x",
    ),
    _of_database(
        "'subscription'",
        "x.subname",
        "'the target subscribes to nothing'",
        "pg_subscription x WHERE x.subdbid = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())",
    ),
    _of_database(
        "'foreign server'",
        "x.srvname",
        _UNKNOWN,
        f"pg_foreign_server x WHERE {not_of_extension('pg_foreign_server', 'x.oid')}",
    ),
    _of_database(
        "'language'",
        "x.lanname",
        _UNKNOWN,
        f"pg_language x WHERE x.oid >= {_FIRST_OID} AND {not_of_extension('pg_language', 'x.oid')}",
    ),
    _of_database(
        "'large objects'",
        "count(*)",
        "'they are of no table; a column that refers to one keeps its number'",
        "pg_largeobject_metadata HAVING count(*) > 0",
    ),
)


def objects_left_behind(
    connection: adbc_driver_postgresql.dbapi.Connection, schema: str | None
) -> tuple[LeftBehind, ...]:
    """Sequences apart, which may be part of a table."""
    everything = schema is None
    extensions = "true" if everything else "x.extnamespace IN (SELECT oid FROM s)"
    parts = [*_PARTS, _EXTENSIONS.format(extensions=extensions)]
    if everything:
        parts += _OF_DATABASE
    query = (
        f"WITH {covered(schema)}, {_RELATIONS} {' UNION ALL '.join(parts)} ORDER BY 1, 2, 3, 4, 5"
    )
    return tuple(
        LeftBehind(
            row["what"],
            _label(row["schema"], row["name"]),
            _label(row["table_schema"], row["table_name"]),
            row["reason"] or "",
        )
        for row in rows(connection, query)
        # Dropped since the moment that is looked at.
        if row["name"] is not None
    )


def _label(schema: str, name: str) -> str:
    return str(TableName(schema, name)) if schema else name
