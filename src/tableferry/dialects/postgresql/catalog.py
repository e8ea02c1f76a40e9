"""What a PostgreSQL database holds, from the system catalogs (documentation, chapter 53).

A source is told in full: what can be carried, and by name what cannot. A target is told as it
stands. Definitions are asked for with an empty search path, so that every name in them says which
schema it means.
"""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql import losses
from tableferry.dialects.postgresql.connection import rows, set_all
from tableferry.dialects.postgresql.ddl import literal
from tableferry.dialects.postgresql.objects import objects_left_behind
from tableferry.dialects.postgresql.scope import covered, not_of_extension
from tableferry.dialects.postgresql.sequences import (
    Sequence,
    after_largest,
    is_numbered,
    sequences,
)
from tableferry.dialects.postgresql.tables import Relation, Row, relations
from tableferry.dialects.postgresql.usertypes import UserTypes
from tableferry.errors import DatabaseError
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    Numbering,
    Schema,
    Table,
    TableName,
    View,
)
from tableferry.sql import qualified, quote

Connection: TypeAlias = adbc_driver_postgresql.dbapi.Connection

_DATA_CORRUPTED = "XX001"
# Seconds.
_MOMENT = 1.0
# pg_constraint.confdeltype and confupdtype.
_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}

_VIEWS = (
    "WITH {covered} SELECT s.schema::text, c.relname::text AS name, "
    "pg_get_viewdef(c.oid) AS query, coalesce(c.reloptions::text, '') AS options, "
    "array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 "
    "ORDER BY a.attnum) AS columns, "
    "array(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
    "WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) AS types "
    "FROM pg_class c JOIN s ON s.oid = c.relnamespace WHERE c.relkind = 'v' "
    f"AND {not_of_extension('pg_class', 'c.oid')} ORDER BY 1, 2"
)


def inspect(connection: Connection, schema: str | None) -> Schema:
    """Everything that is covered: the one schema, or all that users have made."""
    with unambiguous(connection) as version:
        found = relations(connection, schema, version)
        types = UserTypes(connection, schema)
        numbering = sequences(connection, schema, found)
        kept = [relation for relation in found if losses.is_table(relation)]
        identities = {r.name: _identity(connection, r, numbering) for r in kept}
        tables = tuple(
            _carried(_table(relation), relation, types, identities[relation.name])
            for relation in kept
        )
        views = rows(connection, _VIEWS.format(covered=covered(schema)))
        left = [
            *losses.of_tables(found, {name: x.column for name, x in identities.items() if x}),
            *losses.of_sequences(found, numbering),
            *losses.of_views(views),
            *objects_left_behind(connection, schema),
        ]
    used = (column["type"] for relation in kept for column in relation.columns)
    return Schema(
        tables,
        tuple(left),
        tuple(map(_view, views)),
        types.wanted(used),
        home=schema or _home(table.name.schema for table in tables),
    )


def _home(schemas: Iterable[str]) -> str:
    """Of several schemas public, or else the first by its name."""
    return min(schemas, key=lambda schema: (schema != "public", schema), default="public")


def inspect_target(connection: Connection, schema: str) -> Schema:
    """What stands in the schema that new tables go to. Materialised views are no tables there:
    nothing can be loaded into them."""
    with unambiguous(connection) as version:
        found = relations(connection, schema, version)
        types = UserTypes(connection, schema)
        views = rows(connection, _VIEWS.format(covered=covered(schema)))
    tables = tuple(
        _with_domains(_table(relation), relation, types)
        for relation in found
        if relation.own["kind"] != "m"
    )
    return Schema(tables, views=tuple(map(_view, views)))


def _with_domains(table: Table, relation: Relation, types: UserTypes) -> Table:
    return replace(table, checks=(*table.checks, *_domain_checks(relation, types)))


def _domain_checks(relation: Relation, types: UserTypes) -> Iterator[Check]:
    """What domains ask of the values of their columns."""
    for column in relation.columns:
        yield from types.checks(column["type"], column["name"])


def numbered(
    connection: Connection, schema: str, tables: Container[TableName]
) -> dict[TableName, tuple[Numbering, ...]]:
    """What numbers columns of these tables. Nothing is taken from a sequence."""
    with unambiguous(connection) as version:
        found = relations(connection, schema, version)
        numbering = sequences(connection, schema, found)
        return {
            relation.name: tuple(
                _numbering(connection, relation, column["name"], numbering.get(column["sequence"]))
                for column in relation.columns
                if is_numbered(column)
            )
            for relation in found
            if relation.name in tables
        }


def _numbering(
    connection: Connection, relation: Relation, column: str, sequence: Sequence | None
) -> Numbering:
    if sequence is None or sequence.next_value is None:
        return Numbering(column, None)
    if sequence.step < 0:
        # It goes away from the largest.
        return Numbering(column, sequence.next_value)
    query = f"SELECT max({quote(column)})::int8 AS n FROM {relation.source}"
    return Numbering(column, sequence.next_value, rows(connection, query)[0]["n"])


@contextmanager
def unambiguous(connection: Connection) -> Iterator[int]:
    """An empty search path for the length of the inspection; gives server_version_num. Where an
    error ends the transaction, the server puts the settings back itself."""
    settings = {"search_path": "", "jit": "off"}
    before = ", ".join(f"current_setting({literal(name)}) AS {name}" for name in settings)
    row = rows(
        connection, f"SELECT current_setting('server_version_num')::int AS version, {before}"
    )[0]
    rows(connection, set_all(settings, local=True))
    yield int(row["version"])
    rows(connection, set_all({name: row[name] for name in settings}, local=True))


def _table(relation: Relation) -> Table:
    """The table as it stands, defaults that take the next value of a sequence included."""
    keys = relation.constraints
    primary = next((key for key in keys if key["type"] == "p"), None)
    identity = next((c["name"] for c in relation.columns if c["identity"]), None)
    own = relation.own
    return Table(
        name=relation.name,
        columns=tuple(map(_column, relation.columns)),
        primary_key=_key(primary) if primary else None,
        uniques=tuple(_key(key) for key in keys if key["type"] == "u"),
        foreign_keys=tuple(_foreign_key(key) for key in keys if key["type"] == "f"),
        checks=tuple(
            Check(key["expression"], key["name"], valid=key["valid"])
            for key in keys
            if key["type"] == "c"
        ),
        indexes=tuple(map(_index, relation.indexes)),
        identity=Identity(identity, 0) if identity else None,
        comment=own["comment"],
        rows=own["rows"],
        size=own["size"],
        extras=tuple(filter(None, own["extras"].split("|"))),
        locator="ctid",
    )


def _carried(
    table: Table, relation: Relation, types: UserTypes, identity: Identity | None
) -> Table:
    """The table as a source that is to be carried: what can be kept of it nowhere left out."""
    enforced = {key["name"] for key in relation.constraints if key["enforced"]}
    indexes = {index["name"] for index in relation.indexes if losses.is_kept(index)}
    periods = {key["name"] for key in relation.constraints if key["period"]}
    return replace(
        table,
        columns=tuple(
            replace(
                column,
                user_type=types.name(row["type"]),
                default=None if is_numbered(row) else column.default,
            )
            for column, row in zip(table.columns, relation.columns, strict=True)
        ),
        foreign_keys=tuple(
            key for key in table.foreign_keys if key.name in enforced and key.name not in periods
        ),
        checks=(
            *(check for check in table.checks if check.name in enforced),
            *_domain_checks(relation, types),
        ),
        indexes=tuple(index for index in table.indexes if index.name in indexes),
        identity=identity,
    )


def _column(row: Row) -> Column:
    return Column(
        name=row["name"],
        declared=row["declared"],
        nullable=row["nullable"],
        default=None if row["generated"] else row["expression"] or None,
        generated=row["expression"] if row["generated"] else "",
        comment=row["comment"],
        labels=tuple(row["labels"]),
    )


def _key(row: Row) -> Key:
    return Key(tuple(row["columns"]), row["name"], tuple(losses.clauses_of_key(row)))


def _index(row: Row) -> Index:
    terms = zip(row["columns"], row["descending"], row["expressions"], strict=True)
    return Index(
        row["name"],
        tuple(IndexColumn(*term) for term in terms),
        unique=row["unique"],
        where=row["condition"],
        clauses=tuple(losses.clauses_of_index(row)),
    )


def _foreign_key(key: Row) -> ForeignKey:
    return ForeignKey(
        tuple(key["columns"]),
        TableName(key["parent_schema"], key["parent"]),
        tuple(key["parent_columns"]),
        _ACTIONS[key["on_delete"]],
        _ACTIONS[key["on_update"]],
        key["deferred"],
        key["name"],
        valid=key["valid"],
        clauses=tuple(losses.clauses_of_key(key)),
    )


def _identity(
    connection: Connection, relation: Relation, numbering: Mapping[int, Sequence]
) -> Identity | None:
    """The column that numbers itself, of several the one of the primary key."""
    numbered = [column for column in relation.columns if is_numbered(column)]
    if not numbered:
        return None
    primary = {n for key in relation.constraints if key["type"] == "p" for n in key["columns"]}
    chosen = next((column for column in numbered if column["name"] in primary), numbered[0])
    sequence = numbering.get(chosen["sequence"])
    if sequence is not None and sequence.next_value is not None:
        return Identity(chosen["name"], sequence.next_value)
    if relation.own["readable"]:
        following = after_largest(connection, relation, chosen["name"])
        return Identity(chosen["name"], following, estimated=True)
    return Identity(chosen["name"], 1, estimated=True)


def _view(row: Row) -> View:
    return View(
        TableName(row["schema"], row["name"]),
        row["query"].strip().rstrip(";"),
        tuple(row["columns"]),
        tuple(row["types"]),
    )


def referring_from_outside(connection: Connection, tables: Iterable[TableName]) -> list[str]:
    """Foreign keys of other tables that point to these: such as "orders.orders_item_fkey"."""
    listed = ", ".join(f"{literal(qualified(name))}::regclass" for name in tables)
    found = rows(
        connection,
        "SELECT k.conrelid::regclass::text || '.' || k.conname AS name FROM pg_constraint k "
        f"WHERE k.contype = 'f' AND k.confrelid IN ({listed}) AND k.conrelid NOT IN ({listed}) "
        "ORDER BY 1",
    )
    return [row["name"] for row in found]


def partitioned(connection: Connection) -> frozenset[TableName]:
    """The partitioned tables of the database, whose rows are those of their partitions."""
    found = rows(
        connection,
        "SELECT n.nspname::text AS schema, c.relname::text AS name FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'",
    )
    return frozenset(TableName(row["schema"], row["name"]) for row in found)


def holds_short_rows(connection: Connection, table: TableName, most: int) -> bool:
    """Whether no value of the table is stored out of line ("TOAST", section 73.2), its rows have
    no more than so many bytes in the mean, as far as that is known, and its columns that are
    declared to have no NULL have none; a constraint that is not valid yet promises nothing. Not of
    a partitioned or foreign table, which tell none of it."""
    name = literal(qualified(table))
    found = rows(
        connection,
        "SELECT c.relkind IN ('r', 'm') AND coalesce(pg_relation_size(c.reltoastrelid), 0) = 0 "
        f"AND (c.reltuples < 1 OR pg_relation_size(c.oid) <= {most} * c.reltuples) "
        "AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid "
        "AND k.contype = 'n' AND NOT k.convalidated) AS short "
        f"FROM pg_class c WHERE c.oid = {name}::regclass",
    )
    return bool(found and found[0]["short"])


def pages(connection: Connection, table: TableName) -> int:
    """Pages of the table, or of the largest of its partitions: a range of pages is read of each of
    them. 0 where a partition is a foreign table, which has none.

    Raises DatabaseError where a file has fewer pages than VACUUM or ANALYZE once counted: the
    server takes what is there for all there is. A table that is not logged is empty after a crash.
    """
    name = f"{literal(qualified(table))}::regclass"
    sizes = (
        "SELECT c.relkind, c.relpages, c.oid::regclass::text AS called, "
        "pg_relation_size(c.oid) / current_setting('block_size')::int AS pages, "
        "c.relpages > 0 AND c.relpersistence <> 'u' AND c.relkind IN ('r', 'm') AS counted "
        f"FROM pg_class c WHERE c.oid = {name} "
        f"OR c.oid IN (SELECT relid FROM pg_partition_tree({name}))"
    )
    query = (
        "SELECT max(pages) AS pages, coalesce(bool_or(relkind = 'f'), false) AS foreign_rows, "
        "min(format('%s holds %s pages of %s', called, pages, relpages)) "
        f"FILTER (WHERE counted AND pages < relpages) AS cut FROM ({sizes}) AS s"
    )
    row = rows(connection, query)[0]
    if row["cut"] is not None:
        # VACUUM cuts off empty pages a moment before it says so.
        time.sleep(_MOMENT)
        row = rows(connection, query)[0]
    if row["cut"] is not None:
        raise DatabaseError(
            f"Table {table} is damaged: the file of {row['cut']} that PostgreSQL has counted.",
            hint="Restore it from a backup. If its statistics are those of another server, ANALYZE "
            "the table, then run again.",
            sqlstate=_DATA_CORRUPTED,
        )
    return 0 if row["foreign_rows"] else int(row["pages"] or 0)
