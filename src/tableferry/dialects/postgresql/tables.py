"""Tables of PostgreSQL with columns, keys and indexes, from the system catalogs (chapter 53).

A partitioned table is one table, whatever its partitions; parents and heirs of classic inheritance
are each a table of their own; a materialised view is a table with the rows that it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.ddl import rows_of
from tableferry.dialects.postgresql.scope import covered
from tableferry.model import TableName

Row = dict[str, Any]

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

# Of every domain the type that it restricts in the end; a modifier can only stand on the innermost.
_DOMAINS = (
    "d(oid, base, modifier, required, fallback) AS ("
    "SELECT t.oid, t.typbasetype, t.typtypmod, t.typnotnull, pg_get_expr(t.typdefaultbin, 0) "
    "FROM pg_type t WHERE t.typtype = 'd' UNION ALL "
    "SELECT d.oid, t.typbasetype, t.typtypmod, d.required OR t.typnotnull, d.fallback "
    "FROM d JOIN pg_type t ON t.oid = d.base AND t.typtype = 'd')"
)

_LEAVES = "FROM pg_partition_tree(r.oid) p JOIN pg_class y ON y.oid = p.relid WHERE p.isleaf"

_TABLES = (
    "WITH {covered} SELECT r.oid::int8 AS oid, r.schema::text, r.name::text, r.kind::text, "
    "coalesce(obj_description(r.oid, 'pg_class'), '') AS comment, "
    "coalesce(CASE r.kind WHEN 'p' THEN (SELECT sum(pg_table_size(y.oid)) {leaves}) "
    "ELSE pg_table_size(r.oid) END, 0)::int8 AS size, "
    "coalesce(CASE r.kind WHEN 'p' THEN (SELECT sum(greatest(y.reltuples, 0)) {leaves}) "
    "ELSE greatest(c.reltuples, 0) END, 0)::int8 AS rows, "
    "concat_ws('|', {extras}) AS extras, c.relispopulated AS populated, "
    "coalesce(CASE r.kind WHEN 'p' THEN pg_get_partkeydef(r.oid) END, '') AS partitioned_by, "
    "array(SELECT x.relname::text FROM pg_inherits i JOIN pg_class x ON x.oid = i.inhrelid "
    "WHERE i.inhparent = r.oid AND x.relispartition ORDER BY 1) AS partitions, "
    "array(SELECT x.relname::text FROM pg_inherits i JOIN pg_class x ON x.oid = i.inhparent "
    "WHERE i.inhrelid = r.oid AND NOT r.partition ORDER BY i.inhseqno) AS parents, "
    "has_table_privilege(r.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE') "
    "AND NOT row_security_active(r.oid) AS readable "
    "FROM r JOIN pg_class c ON c.oid = r.oid ORDER BY r.schema, r.name"
)

_COLUMNS = (
    "WITH RECURSIVE {covered}, {domains} "
    "SELECT r.oid::int8 AS owner, a.attname::text AS name, a.atttypid::int8 AS type, "
    # Of a domain the type that it restricts: a cast to a domain cuts and rounds in silence.
    "format_type(b.oid, CASE WHEN t.typtype = 'd' THEN d.modifier ELSE a.atttypmod END) "
    "AS declared, "
    "NOT (a.attnotnull OR coalesce(d.required, false)) AS nullable, "
    "a.attgenerated <> '' AS generated, a.attidentity::text AS identity, "
    "coalesce(pg_get_expr(f.adbin, f.adrelid), CASE WHEN a.attidentity = '' THEN d.fallback END, "
    "'') AS expression, "
    "coalesce(col_description(r.oid, a.attnum), '') AS comment, "
    "array(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = b.oid "
    "ORDER BY l.enumsortorder) AS labels, "
    "CASE WHEN a.attcollation <> b.typcollation THEN (SELECT concat_ws('.', "
    "nullif(y.nspname, 'pg_catalog'), x.collname) FROM pg_collation x "
    "JOIN pg_namespace y ON y.oid = x.collnamespace WHERE x.oid = a.attcollation) ELSE '' END "
    "AS collation, "
    "coalesce(CASE WHEN a.attidentity <> '' THEN (SELECT x.objid FROM pg_depend x "
    "WHERE x.classid = 'pg_class'::regclass AND x.refclassid = 'pg_class'::regclass "
    "AND x.refobjid = r.oid AND x.refobjsubid = a.attnum AND x.deptype = 'i') "
    "ELSE (SELECT x.refobjid FROM pg_depend x JOIN pg_class y ON y.oid = x.refobjid "
    "WHERE x.classid = 'pg_attrdef'::regclass AND x.objid = f.oid "
    "AND x.refclassid = 'pg_class'::regclass AND y.relkind = 'S' LIMIT 1) END, 0)::int8 "
    "AS sequence "
    "FROM r JOIN pg_attribute a ON a.attrelid = r.oid "
    "JOIN pg_type t ON t.oid = a.atttypid "
    "LEFT JOIN d ON d.oid = t.oid "
    "AND NOT EXISTS (SELECT 1 FROM pg_type x WHERE x.oid = d.base AND x.typtype = 'd') "
    "JOIN pg_type b ON b.oid = coalesce(d.base, t.oid) "
    "LEFT JOIN pg_attrdef f ON f.adrelid = r.oid AND f.adnum = a.attnum "
    "WHERE a.attnum > 0 AND NOT a.attisdropped ORDER BY r.oid, a.attnum"
)

_NUMBERED = (
    "array(SELECT a.attname::text FROM unnest({numbers}) WITH ORDINALITY u(n, i) "
    "JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = u.n ORDER BY u.i)"
)

_CONSTRAINTS = (
    "WITH {covered} SELECT r.oid::int8 AS owner, k.conname::text AS name, "
    "k.contype::text AS type, "
    f"{_NUMBERED.format(numbers='k.conkey', table='k.conrelid')} AS columns, "
    "coalesce(p.relname::text, '') AS parent, coalesce(pn.nspname::text, '') AS parent_schema, "
    f"{_NUMBERED.format(numbers='k.confkey', table='k.confrelid')} AS parent_columns, "
    "k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update, "
    "k.confmatchtype = 'f' AS match_full, "
    "k.condeferrable AS deferrable, k.condeferred AS deferred, k.convalidated AS valid, "
    "coalesce(pg_get_expr(k.conbin, k.conrelid), '') AS expression, "
    "CASE WHEN k.contype = 'x' THEN pg_get_constraintdef(k.oid) ELSE '' END AS definition, "
    "array(SELECT a.attname::text FROM generate_series(i.indnkeyatts, i.indnatts - 1) n "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] ORDER BY n) "
    "AS included, "
    "{nulls_distinct} AS nulls_distinct, {set_columns} AS set_columns, "
    "{enforced} AS enforced, {period} AS period "
    "FROM r JOIN pg_constraint k ON k.conrelid = r.oid "
    "LEFT JOIN pg_class p ON p.oid = k.confrelid "
    "LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace "
    "LEFT JOIN pg_index i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u') "
    "WHERE k.contype IN ('p', 'u', 'c', 'f', 'x') "
    # A key to a partitioned table has another line for each of its partitions.
    "AND NOT EXISTS (SELECT 1 FROM pg_constraint x WHERE x.oid = k.conparentid "
    "AND x.conrelid = k.conrelid) ORDER BY r.oid, k.conname"
)

_KEY_COLUMNS = "FROM generate_series(0, i.indnkeyatts - 1) n"
_INDEXES = (
    "WITH {covered} SELECT r.oid::int8 AS owner, x.relname::text AS name, "
    "i.indisunique AS unique, i.indisvalid AS valid, m.amname::text AS method, "
    "coalesce(pg_get_expr(i.indpred, i.indrelid), '') AS condition, "
    "array(SELECT CASE WHEN i.indkey[n] = 0 THEN '' ELSE (SELECT a.attname::text "
    "FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[n]) END "
    f"{_KEY_COLUMNS} ORDER BY n) AS columns, "
    "array(SELECT CASE WHEN i.indkey[n] = 0 THEN pg_get_indexdef(i.indexrelid, n + 1, false) "
    f"ELSE '' END {_KEY_COLUMNS} ORDER BY n) AS expressions, "
    f"array(SELECT i.indoption[n] & 1 = 1 {_KEY_COLUMNS} ORDER BY n) AS descending, "
    "array(SELECT y.collname::text FROM generate_series(0, i.indnkeyatts - 1) n "
    "JOIN pg_collation y ON y.oid = i.indcollation[n] "
    "LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] "
    "JOIN pg_attribute t ON t.attrelid = i.indexrelid AND t.attnum = n + 1 "
    "WHERE i.indcollation[n] <> coalesce(a.attcollation, "
    "(SELECT z.typcollation FROM pg_type z WHERE z.oid = t.atttypid)) ORDER BY n) AS collations, "
    "array(SELECT y.opcname::text FROM generate_series(0, i.indnkeyatts - 1) n "
    "JOIN pg_opclass y ON y.oid = i.indclass[n] WHERE NOT y.opcdefault ORDER BY n) AS classes, "
    "array(SELECT a.attname::text FROM generate_series(i.indnkeyatts, i.indnatts - 1) n "
    "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[n] ORDER BY n) "
    "AS included, {nulls_distinct} AS nulls_distinct "
    "FROM r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_class x ON x.oid = i.indexrelid "
    "JOIN pg_am m ON m.oid = x.relam "
    # A foreign key, too, remembers an index: that of the parent.
    "WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid "
    "AND k.contype IN ('p', 'u', 'x')) ORDER BY r.oid, x.relname"
)


def _since(version: int, major: int, expression: str, before: str) -> str:
    return expression if version >= major * 10_000 else before


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the catalogs give it: rows of the queries above."""

    own: Row
    columns: tuple[Row, ...]
    constraints: tuple[Row, ...]
    indexes: tuple[Row, ...]

    @property
    def name(self) -> TableName:
        return TableName(self.own["schema"], self.own["name"])

    @property
    def source(self) -> str:
        """What a query reads it from."""
        return rows_of(self.name, partitioned=self.own["kind"] == "p")


def relations(
    connection: adbc_driver_postgresql.dbapi.Connection, schema: str | None, version: int
) -> tuple[Relation, ...]:
    """All that is covered, in the order of their names; ``version`` is server_version_num."""
    scope = covered(schema)
    nulls_distinct = _since(version, 15, "NOT coalesce(i.indnullsnotdistinct, false)", "true")
    own = rows(
        connection,
        _TABLES.format(covered=scope, leaves=_LEAVES, extras=", ".join(_EXTRAS)),
    )
    columns = _grouped(rows(connection, _COLUMNS.format(covered=scope, domains=_DOMAINS)))
    constraints = _grouped(
        rows(
            connection,
            _CONSTRAINTS.format(
                covered=scope,
                nulls_distinct=nulls_distinct,
                set_columns=_since(
                    version,
                    15,
                    _NUMBERED.format(numbers="k.confdelsetcols", table="k.conrelid"),
                    "'{}'::text[]",
                ),
                enforced=_since(version, 18, "k.conenforced", "true"),
                period=_since(version, 18, "k.conperiod", "false"),
            ),
        )
    )
    indexes = _grouped(
        rows(connection, _INDEXES.format(covered=scope, nulls_distinct=nulls_distinct))
    )
    return tuple(
        Relation(row, columns[row["oid"]], constraints[row["oid"]], indexes[row["oid"]])
        for row in own
    )


def _grouped(found: Iterable[Row]) -> Mapping[int, tuple[Row, ...]]:
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in found:
        grouped[row["owner"]].append(row)
    return defaultdict(tuple, {owner: tuple(group) for owner, group in grouped.items()})
