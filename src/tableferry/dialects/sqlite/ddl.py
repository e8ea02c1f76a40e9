"""Statements that create, key and finish tables in SQLite. Pure.

SQLite has no statement that adds a key, a check or a foreign key to a table. But what a table is
stands in sqlite_schema as text, and a rule that is appended to that text is one of the table's
("ALTER TABLE", section 7, "Making Other Kinds Of Table Schema Changes"). So tables are loaded bare,
which costs least; a key is then built as a unique index, which takes the name and the place of
the index that SQLite would have made for it ("Database File Format", section 2.6.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tableferry.dialects.base import Script
from tableferry.dialects.sqlite.definitions import enclosed
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

PROVES = False

# What may stand as a default without brackets ("CREATE TABLE", section 3.2).
_LITERAL = re.compile(
    r"[-+]?[0-9]+(\.[0-9]+)?|'([^']|'')*'|NULL|TRUE|FALSE|CURRENT_(TIMESTAMP|DATE|TIME)",
    flags=re.IGNORECASE,
)

# Names that nobody has given to a thing of his own: of an index on its way to be a key's own, and
# of a view that comes and goes.
_KEY = "tableferry_key_7d1f90c4a2e6b853"
_TOUCH = "tableferry_touch_7d1f90c4a2e6b853"


def create_schema(schema: str) -> Script:
    return ()


def rowid_column(table: Table) -> str | None:
    """The column that is the rowid itself ("ROWIDs and the INTEGER PRIMARY KEY"), if one is."""
    key = table.primary_key
    if key is None or len(key.columns) != 1:
        return None
    column = table.column(key.columns[0])
    return column.name if column.declared.upper() == "INTEGER" else None


def create_type(made: UserType) -> Script:
    return ()


def define(table: Table) -> Script:
    rules = []
    if table.primary_key is not None and rowid_column(table) is None:
        rules.append(_key_rule(table.primary_key, primary=True))
    rules += [_key_rule(key, primary=False) for key in table.uniques]
    rules += map(_check_rule, table.checks)
    rules += map(_foreign_key_rule, table.foreign_keys)
    indexes = (create_index(table.name, index) for index in table.indexes)
    return (_definition(table, rules), *(statement for script in indexes for statement in script))


def create_table(table: Table) -> Script:
    return (_definition(table, ()),)


def _definition(table: Table, rules: Iterable[str]) -> str:
    """One line for each column, so that each comment stands beside what it is about."""
    items = [(_column(table, column), column.comment) for column in table.columns]
    items += [(rule, "") for rule in rules]
    lines = [f"CREATE TABLE {qualified(table.name)} ({_beside(table.comment)}"]
    for number, (item, comment) in enumerate(items, 1):
        comma = "," if number < len(items) else ""
        lines.append(f"  {item}{comma}{_beside(comment)}")
    return "\n".join([*lines, ")"])


def _beside(comment: str) -> str:
    """A comment for the end of a line."""
    words = " ".join(comment.replace("\0", " ").split("\n")).strip()
    return f" -- {words}" if words else ""


def _column(table: Table, column: Column) -> str:
    parts = [quote(column.name), _type(column.declared)]
    if column.name == rowid_column(table):
        parts.append("PRIMARY KEY")
        identity = table.identity
        if identity is not None and identity.column == column.name and not identity.reuses:
            # Numbers of rows that are gone are not given again, as from a sequence.
            parts.append("AUTOINCREMENT")
    if column.generated:
        kept = "VIRTUAL" if column.virtual else "STORED"
        parts.append(f"GENERATED ALWAYS AS ({column.generated}) {kept}")
    if not column.nullable:
        parts.append("NOT NULL")
    if column.collation:
        parts.append(f"COLLATE {quote(column.collation)}")
    if column.default is not None:
        plain = _LITERAL.fullmatch(column.default) or enclosed(column.default)
        parts.append(f"DEFAULT {column.default}" if plain else f"DEFAULT ({column.default})")
    return " ".join(filter(None, parts))


# Words and numbers, of which a type is made ("CREATE TABLE", the diagram type-name).
_PLAIN_TYPE = re.compile(
    r"(?P<words>[a-z_][a-z0-9_]*(\s+[a-z_][a-z0-9_]*)*)"
    r"(\s*\(\s*[-+]?[0-9.]+\s*(,\s*[-+]?[0-9.]+\s*)?\))?",
    re.IGNORECASE,
)
# And those that end a type, or that SQLite takes away from one.
_NO_TYPES = {"GENERATED", "CROSS", "FULL", "INNER", "LEFT", "NATURAL", "OUTER", "RIGHT"}


def _type(declared: str) -> str:
    """A declared type as it is written. Any text may be one, such as that of a rule, or of a
    statement; whatever is not plainly a type is quoted, and comes to the same."""
    # Here, since a worker, which creates nothing, has no need of the parsers.
    from tableferry.expressions.tokens import RESERVED

    plain = _PLAIN_TYPE.fullmatch(declared)
    words = set(plain["words"].upper().split()) if plain else RESERVED
    return declared if not declared or words.isdisjoint(RESERVED | _NO_TYPES) else quote(declared)


def _key_rule(key: Key, *, primary: bool) -> str:
    what = "PRIMARY KEY" if primary else "UNIQUE"
    return f"{_named(key.name)}{what} ({names(key.columns)})"


def _check_rule(check: Check) -> str:
    return f"{_named(check.name)}CHECK ({check.expression})"


def _foreign_key_rule(key: ForeignKey) -> str:
    deferred = " DEFERRABLE INITIALLY DEFERRED" if key.deferred else ""
    return (
        f"{_named(key.name)}FOREIGN KEY ({names(key.columns)}) "
        f"REFERENCES {quote(key.parent.name)} ({names(key.parent_columns)}) "
        f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}{deferred}"
    )


def _named(name: str) -> str:
    return f"CONSTRAINT {quote(name)} " if name else ""


def _appended(table: TableName, rule: str) -> str:
    """Puts a rule before the bracket that ends the definition. On a line of its own, since the
    line before may end with a comment."""
    ending = constant(_ending(rule) + ")")
    return (
        f"UPDATE sqlite_schema SET sql = substr(sql, 1, length(sql) - 1) || {ending} "
        f"WHERE type = 'table' AND name = {constant(table.name)}"
    )


def _ending(rule: str) -> str:
    return f", {rule}\n"


def _rewriting(*statements: str) -> Script:
    """Statements on sqlite_schema itself. A view that comes and goes tells every connection that
    the schema is another (PRAGMA schema_version)."""
    touch = quote(_TOUCH)
    return (
        "PRAGMA writable_schema = ON",
        *statements,
        f"CREATE VIEW {touch} AS SELECT 1",
        f"DROP VIEW {touch}",
        # The definitions are read anew, this connection's too: at the next statement, which must
        # not be the COMMIT, since what cannot be read must not be kept.
        "PRAGMA writable_schema = RESET",
        "SELECT 1 FROM sqlite_schema LIMIT 0",
    )


def add_key(table: Table, key: Key, *, primary: bool) -> Script:
    if primary and rowid_column(table) is not None:
        return ()
    name = table.name.name
    own = constant(f"sqlite_autoindex_{name}_")
    number = (
        f"(SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = {constant(name)} "
        f"AND sql IS NULL)"
    )
    return (
        f"CREATE UNIQUE INDEX main.{quote(_KEY)} ON {quote(name)} ({names(key.columns)})",
        *_rewriting(
            _appended(table.name, _key_rule(key, primary=primary)),
            f"UPDATE sqlite_schema SET name = {own} || (1 + {number}), sql = NULL "
            f"WHERE type = 'index' AND name = {constant(_KEY)}",
        ),
    )


def create_index(table: TableName, index: Index) -> Script:
    unique = "UNIQUE " if index.unique else ""
    columns = ", ".join(map(_term, index.columns))
    where = f" WHERE {index.where}" if index.where else ""
    return (
        f"CREATE {unique}INDEX main.{quote(index.name)} ON {quote(table.name)} ({columns}){where}",
    )


def _term(column: IndexColumn) -> str:
    term = f"({column.expression})" if column.expression else quote(column.name)
    collation = f" COLLATE {quote(column.collation)}" if column.collation else ""
    return term + collation + (" DESC" if column.descending else "")


def add_foreign_key(table: TableName, key: ForeignKey) -> Script:
    return _rewriting(_appended(table, _foreign_key_rule(key)))


def drop_foreign_key(table: TableName, key: ForeignKey) -> Script:
    ending = constant(_ending(_foreign_key_rule(key)))
    return _rewriting(
        f"UPDATE sqlite_schema SET sql = replace(sql, {ending}, '') "
        f"WHERE type = 'table' AND name = {constant(table.name)}"
    )


def validate_foreign_key(table: TableName, key: ForeignKey) -> Script:
    return ()


def add_check(table: TableName, check: Check) -> Script:
    return _rewriting(_appended(table, _check_rule(check)))


def set_default(table: TableName, column: Column) -> Script:
    """Nothing: it stands in the definition from the start."""
    return ()


def comments(table: Table) -> Script:
    """Nothing: they stand in the definition."""
    return ()


def create_view(view: ViewPlan) -> Script:
    return (f"CREATE VIEW {qualified(view.target)} AS {view.select}",)


def drop_views(views: Iterable[TableName]) -> Script:
    return tuple(f"DROP VIEW {qualified(view)}" for view in views)


def drop_view_and_dependents(view: TableName) -> Script:
    """Views that build on it stay, and fail when they are read: so each is found out itself."""
    return drop_views([view])


def breaking_check(check: Check) -> str:
    return f"NOT ({check.expression})"


def breaking_unique(table: TableName, index: Index) -> str:
    """The condition of rows that are not the only ones of their values, as a table aliased t."""
    terms = [_term(IndexColumn(c.name, False, c.expression, c.collation)) for c in index.columns]
    conditions = [f"{term} IS NOT NULL" for term in terms]
    if index.where:
        conditions.append(f"({index.where})")
    where = " AND ".join(conditions)
    listed = ", ".join(terms)
    doubled = (
        f"SELECT {listed} FROM {qualified(table)} WHERE {where} "
        f"GROUP BY {listed} HAVING count(*) > 1"
    )
    own = f" AND ({index.where})" if index.where else ""
    return f"({listed}) IN ({doubled}){own}"


def set_owner(name: TableName, role: str) -> Script:
    return ()


def grant(schema: str, tables: Iterable[Table], role: str) -> Script:
    return ()


def grant_view(view: TableName, role: str) -> Script:
    return ()


def sort_beside(processes: int) -> Script:
    return ()


def analyze(tables: Sequence[TableName]) -> Script:
    return tuple(f"ANALYZE {qualified(table)}" for table in tables)


def add_identity(table: Table) -> Script:
    """Nothing: AUTOINCREMENT stands in the definition."""
    return ()


def set_next_identity(table: Table) -> Script:
    """Makes the next insert get identity.next_value ("Autoincrement", sqlite.org)."""
    assert table.identity is not None
    if rowid_column(table) != table.identity.column or table.identity.reuses:
        return ()
    name = constant(table.name.name)
    last = min(table.identity.next_value - 1, 2**63 - 1)
    return (
        f"DELETE FROM sqlite_sequence WHERE name = {name}",
        f"INSERT INTO sqlite_sequence (name, seq) VALUES ({name}, {last})",
    )


def empty_tables(tables: Iterable[TableName]) -> Script:
    return tuple(f"DELETE FROM {qualified(table)}" for table in tables)


def drop_tables(tables: Iterable[TableName]) -> Script:
    return tuple(f"DROP TABLE {qualified(table)}" for table in tables)
