"""Which objects an address covers, as pieces of queries of the system catalogs. Pure.

Of a schema that is named just that one; else all that users have made (documentation, chapter 53).
What belongs to an extension comes and goes with the extension, and is never covered.
"""

from __future__ import annotations

from tableferry.dialects.postgresql.ddl import literal


def not_of_extension(catalog: str, oid: str) -> str:
    """The condition that an object of a catalog is no member of an extension (section 53.18)."""
    return (
        "NOT EXISTS (SELECT 1 FROM pg_depend e "
        f"WHERE e.classid = '{catalog}'::regclass AND e.objid = {oid} AND e.deptype = 'e')"
    )


_USERS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND " + not_of_extension(
    "pg_namespace", "n.oid"
)


def covered(schema: str | None) -> str:
    """Two queries to stand behind WITH: ``s`` holds the schemas covered, and ``r`` the relations
    that are tables of their own: ordinary and partitioned ones and materialised views. A partition
    is one only where the table that it is part of is not covered."""
    named = _USERS if schema is None else f"n.nspname = {literal(schema)}"
    return (
        "s AS MATERIALIZED (SELECT n.oid, n.nspname AS schema "
        f"FROM pg_namespace n WHERE {named}), "
        "r AS MATERIALIZED (SELECT c.oid, s.schema, c.relname AS name, c.relkind AS kind, "
        "c.relispartition AS partition FROM pg_class c JOIN s ON s.oid = c.relnamespace "
        f"WHERE c.relkind IN ('r', 'p', 'm') AND {not_of_extension('pg_class', 'c.oid')} "
        "AND (NOT c.relispartition OR NOT EXISTS (SELECT 1 FROM pg_class root "
        "WHERE root.oid = pg_partition_root(c.oid) "
        "AND root.relnamespace IN (SELECT oid FROM s))))"
    )
