"""Statements that create, key and finish tables in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tableferry.dialects.base import Script
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Index,
    IndexColumn,
    Key,
    Table,
    TableName,
    UserType,
    ViewPlan,
)
from tableferry.sql import breaking_foreign_key as breaking_foreign_key
from tableferry.sql import constant, names, qualified, quote

PROVES = True
_MAX_BIGINT = 2**63 - 1


def literal(text: str) -> str:
    """A string constant that means the same whatever standard_conforming_strings says."""
    quoted = constant(text)
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def rows_of(table: TableName, *, partitioned: bool) -> str:
    """What a query reads a table's own rows from: not those of tables that inherit from it, but
    those of its partitions, since it has none but theirs ("Inheritance", section 5.11)."""
    return qualified(table) if partitioned else f"ONLY {qualified(table)}"


def create_schema(schema: str) -> Script:
    return (f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}",)


def create_type(made: UserType) -> Script:
    """In a block that passes over a type of the name: CREATE TYPE knows no IF NOT EXISTS."""
    name = qualified(made.name)
    match made.what:
        case "enum":
            definition = f"TYPE {name} AS ENUM ({', '.join(map(literal, made.labels))})"
        case "composite":
            attributes = (f"{quote(column)} {declared}" for column, declared in made.attributes)
            definition = f"TYPE {name} AS ({', '.join(attributes)})"
        case "range":
            definition = f"TYPE {name} AS RANGE (SUBTYPE = {made.base})"
        case "domain":
            # What it forbids is asked of the tables' columns themselves.
            definition = f"DOMAIN {name} AS {made.base}"
    block = f"BEGIN CREATE {definition}; EXCEPTION WHEN duplicate_object THEN NULL; END"
    return (f"DO {literal(block)}",)


def define(table: Table) -> Script:
    script = create_table(table)
    if table.primary_key is not None:
        script += add_key(table, table.primary_key, primary=True)
    for key in table.uniques:
        script += add_key(table, key, primary=False)
    for check in table.checks:
        script += add_check(table.name, check)
    for index in table.indexes:
        script += create_index(table.name, index)
    return script


def create_table(table: Table) -> Script:
    parts = []
    for column in table.columns:
        part = f"{quote(column.name)} {column.declared}"
        if column.generated:
            # Stored: the one form that every version since 12 knows.
            part += f" GENERATED ALWAYS AS ({column.generated}) STORED"
        if not column.nullable:
            part += " NOT NULL"
        parts.append(part)
    return (f"CREATE TABLE {qualified(table.name)} ({', '.join(parts)})",)


def create_index(table: TableName, index: Index) -> Script:
    unique = "UNIQUE " if index.unique else ""
    # SQLite sorts NULL before every value, PostgreSQL after: an index serves the same ORDER BY.
    columns = ", ".join(
        f"{_term(column)} {'DESC NULLS LAST' if column.descending else 'ASC NULLS FIRST'}"
        for column in index.columns
    )
    where = f" WHERE {index.where}" if index.where else ""
    return (f"CREATE {unique}INDEX {quote(index.name)} ON {qualified(table)} ({columns}){where}",)


def _term(column: IndexColumn) -> str:
    return f"({column.expression})" if column.expression else quote(column.name)


def add_key(table: Table, key: Key, *, primary: bool) -> Script:
    what = "PRIMARY KEY" if primary else "UNIQUE"
    named = f"CONSTRAINT {quote(key.name)} " if key.name else ""
    return (f"ALTER TABLE {qualified(table.name)} ADD {named}{what} ({names(key.columns)})",)


def sort_beside(processes: int) -> Script:
    return (f"SET LOCAL max_parallel_maintenance_workers = {processes}",)


def add_foreign_key(table: TableName, key: ForeignKey) -> Script:
    """Not valid at first: VALIDATE then finds orphans without undoing the constraint."""
    deferred = " DEFERRABLE INITIALLY DEFERRED" if key.deferred else ""
    return (
        f"ALTER TABLE {qualified(table)} ADD CONSTRAINT {quote(key.name)} "
        f"FOREIGN KEY ({names(key.columns)}) "
        f"REFERENCES {qualified(key.parent)} ({names(key.parent_columns)}) "
        f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}{deferred} NOT VALID",
    )


def drop_foreign_key(table: TableName, key: ForeignKey) -> Script:
    return (f"ALTER TABLE {qualified(table)} DROP CONSTRAINT IF EXISTS {quote(key.name)}",)


def validate_foreign_key(table: TableName, key: ForeignKey) -> Script:
    return (f"ALTER TABLE {qualified(table)} VALIDATE CONSTRAINT {quote(key.name)}",)


def add_check(table: TableName, check: Check) -> Script:
    return (
        f"ALTER TABLE {qualified(table)} ADD CONSTRAINT {quote(check.name)} "
        f"CHECK ({check.expression})",
    )


def set_default(table: TableName, column: Column) -> Script:
    return (
        f"ALTER TABLE {qualified(table)} ALTER COLUMN {quote(column.name)} "
        f"SET DEFAULT {column.default}",
    )


def create_view(view: ViewPlan) -> Script:
    return (f"CREATE VIEW {qualified(view.target)} AS {view.select}",)


def drop_views(views: Iterable[TableName]) -> Script:
    return (f"DROP VIEW {', '.join(map(qualified, views))}",)


def drop_view_and_dependents(view: TableName) -> Script:
    return (f"DROP VIEW {qualified(view)} CASCADE",)


def comments(table: Table) -> Script:
    """What people wrote beside the table's and the columns' definitions."""
    name = qualified(table.name)
    found = [f"TABLE {name} IS {literal(table.comment)}"] if table.comment else []
    found += [
        f"COLUMN {name}.{quote(column.name)} IS {literal(column.comment)}"
        for column in table.columns
        if column.comment
    ]
    return tuple(f"COMMENT ON {text}" for text in found)


def breaking_check(check: Check) -> str:
    """The condition of rows that break it, as a table aliased t."""
    return f"NOT ({check.expression})"


def breaking_unique(table: TableName, index: Index) -> str:
    """The condition of rows that are not the only ones of their values, as a table aliased t."""
    terms = [_term(column) for column in index.columns]
    conditions = [f"{term} IS NOT NULL" for term in terms]
    if index.where:
        conditions.append(f"({index.where})")
    where = " AND ".join(conditions)
    listed = ", ".join(terms)
    return (
        f"t.ctid IN (SELECT unnest(d.rows) FROM (SELECT array_agg(ctid) AS rows "
        f"FROM {qualified(table)} WHERE {where} GROUP BY {listed} HAVING count(*) > 1) AS d)"
    )


def set_owner(name: TableName, role: str) -> Script:
    """Of a table or a view; a table's own sequences follow."""
    return (f"ALTER TABLE {qualified(name)} OWNER TO {quote(role)}",)


def grant(schema: str, tables: Iterable[Table], role: str) -> Script:
    """Reading and writing rows, and the schema and sequences that this takes."""
    statements = [f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}"]
    for table in tables:
        name = qualified(table.name)
        statements.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {quote(role)}")
        # The sequence of an identity column needs no grant of its own (CREATE TABLE, notes).
    return tuple(statements)


def grant_view(view: TableName, role: str) -> Script:
    return (f"GRANT SELECT ON {qualified(view)} TO {quote(role)}",)


def analyze(tables: Sequence[TableName]) -> Script:
    return (f"ANALYZE {', '.join(map(qualified, tables))}",)


def add_identity(table: Table) -> Script:
    """Last of all: the server names the sequence, and must not take a name that another table or
    index is to get."""
    assert table.identity is not None
    return (
        f"ALTER TABLE {qualified(table.name)} ALTER COLUMN {quote(table.identity.column)} "
        "ADD GENERATED BY DEFAULT AS IDENTITY",
    )


def set_next_identity(table: Table) -> Script:
    """Makes the next insert get identity.next_value; past the type's end it must fail."""
    assert table.identity is not None
    sequence = (
        f"pg_get_serial_sequence({literal(qualified(table.name))}, "
        f"{literal(table.identity.column)})"
    )
    value = table.identity.next_value
    if value > _MAX_BIGINT:
        return (f"SELECT setval({sequence}, {_MAX_BIGINT}, true)",)
    return (f"SELECT setval({sequence}, {value}, false)",)


def empty_tables(tables: Iterable[TableName]) -> Script:
    # Without CASCADE: a table that refers to one of these and is not among them stops it.
    return (f"TRUNCATE {', '.join(map(qualified, tables))}",)


def drop_tables(tables: Iterable[TableName]) -> Script:
    # All in one statement and without CASCADE: keys among them go along, while anything outside
    # that depends on one stops the statement and is named.
    return (f"DROP TABLE {', '.join(map(qualified, tables))}",)
