"""What a SQLite file holds: its tables, and the objects that cannot be carried.

Everything is asked of the pragma functions ("PRAGMA Statements", sqlite.org), which see through
every way of writing a definition; the driver's own metadata calls guess types from values.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi

from tableferry.dialects.sqlite.connection import errors, rows
from tableferry.dialects.sqlite.definitions import (
    TableDefinition,
    index_definition,
    table_definition,
    view_definition,
)
from tableferry.dialects.sqlite.types import locator as locator_of
from tableferry.dialects.sqlite.types import may_be_long
from tableferry.dialects.sqlite.values import joined
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Schema,
    Table,
    TableName,
    View,
)
from tableferry.sql import fold, quote

_SCHEMA = "main"
_TRIGGER = "trigger"
_HIDDEN, *_GENERATED = (1, 2, 3)  # table_xinfo.hidden; generated: virtual, stored
_VIRTUAL = 2
# Settings that are the application's alone ("PRAGMA Statements", sqlite.org).
_SETTINGS = ("user_version", "application_id")
_BINARY = "BINARY"
_SAMPLE = 256
# What a row takes beside its values: its length, its rowid and a pointer ("Database File Format").
_CELL_BYTES = 8
_HIDDEN_BYTES = 64 << 20

_STRANGER_KINDS = {
    "virtual": "a virtual table belongs to a SQLite module; its content is not a table's",
    "shadow": "it is the private storage of a virtual table",
}


class _Catalog:
    """The catalog's rows, fetched in a few statements and grouped by table."""

    def __init__(self, connection: adbc_driver_sqlite.dbapi.Connection) -> None:
        self._connection = connection
        self.tables = rows(
            connection,
            "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' "
            "AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name",
            "name, type, wr",
        )
        self.sql = {
            (kind, name): (table, sql)
            for kind, name, table, sql in rows(
                connection,
                "SELECT type, name, tbl_name, coalesce(sql, '') AS sql FROM sqlite_schema",
                "type, name, tbl_name, sql",
            )
        }
        self.columns = self._by_table(
            "pragma_table_xinfo", 'name, type, "notnull", dflt_value, pk, hidden', "cid"
        )
        self.indexes = self._by_table("pragma_index_list", 'name, "unique", origin, partial', "seq")
        self.foreign_keys = self._by_table(
            "pragma_foreign_key_list", 'id, "table", "from", "to", on_update, on_delete', "id, seq"
        )
        self.index_columns: dict[str, list[Any]] = defaultdict(list)
        for index, *row in rows(
            connection,
            "SELECT m.name AS name, x.cid AS cid, x.name AS col, x.desc AS d, x.coll AS coll "
            "FROM sqlite_schema m JOIN pragma_index_xinfo(m.name) x "
            "WHERE m.type = 'index' AND x.key = 1 ORDER BY m.name, x.seqno",
            "name, cid, col, d, coll",
        ):
            self.index_columns[index].append(row)
        self.sequences = self._sequences()
        # As the text of a trigger writes the table's name, in whatever case.
        self.triggered = {
            fold(table) for (kind, _), (table, _) in self.sql.items() if kind == _TRIGGER
        }
        self.file_bytes = self.number("PRAGMA page_count") * self.number("PRAGMA page_size")

    def _by_table(self, pragma: str, columns: str, order: str) -> dict[str, list[Any]]:
        grouped: dict[str, list[Any]] = defaultdict(list)
        listed = ", ".join(f"x.{column.strip()}" for column in columns.split(","))
        numbered = listed.split(", ")
        query = (
            "SELECT m.name AS owner, "
            + ", ".join(f"{column} AS c{i}" for i, column in enumerate(numbered))
            + f" FROM sqlite_schema m JOIN {pragma}(m.name) x WHERE m.type = 'table'"
            + f" ORDER BY m.name, {', '.join(f'x.{part}' for part in order.split(', '))}"
        )
        names = ", ".join(["owner", *(f"c{i}" for i in range(len(numbered)))])
        for owner, *row in rows(self._connection, query, names):
            grouped[owner].append(row)
        return grouped

    def _sequences(self) -> dict[str, int]:
        if ("table", "sqlite_sequence") not in self.sql:
            return {}
        query = "SELECT name, seq FROM sqlite_sequence WHERE typeof(seq) = 'integer'"
        return dict(rows(self._connection, query, "name, seq"))

    def primary_key(self, table: str) -> tuple[str, ...]:
        """The columns of a table's primary key, whatever values they hold."""
        members = sorted((pk, column) for column, _, _, _, pk, _ in self.columns[table] if pk)
        return tuple(column for _, column in members)

    def number(self, query: str) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0


def inspect(connection: adbc_driver_sqlite.dbapi.Connection, path: Path) -> Schema:
    """Every ordinary table of the file at ``path``, and what cannot be carried."""
    catalog = _Catalog(connection)
    left: list[LeftBehind] = []
    tables = []
    for name, kind, without_rowid in catalog.tables:
        if kind == "table":
            with errors(path, f"table {name}"):
                tables.append(_table(catalog, name, bool(without_rowid), left))
        elif kind in _STRANGER_KINDS:
            left.append(LeftBehind(f"{kind} table", name, name, _STRANGER_KINDS[kind]))
    views = []
    written = {fold(name): name for name, *_ in catalog.tables}
    for (kind, name), (table, sql) in catalog.sql.items():
        if kind == _TRIGGER:
            reason = "a trigger's body is a program of SQLite's; write it anew by hand"
            left.append(LeftBehind(kind, name, written.get(fold(table), table), reason))
        elif kind == "view":
            view = view_definition(sql)
            views.append(View(TableName(_SCHEMA, name), view.select, view.columns))
    measured = _with_long_columns(catalog, tables)
    settings = ((name, catalog.number(f"PRAGMA {name}")) for name in _SETTINGS)
    return Schema(
        tuple(_with_parent_keys(measured, catalog)),
        tuple(left),
        tuple(views),
        settings=tuple(f"PRAGMA {name} = {number}" for name, number in settings if number),
    )


def _with_long_columns(catalog: _Catalog, tables: list[Table]) -> list[Table]:
    """Which columns must be measured before they are read. Where the rows sampled account for
    the file, none: there is no room for long values that the samples have not shown. Where they
    miss much of it, even the columns whose declared length promises to be short."""
    hidden = catalog.file_bytes - sum(_file_bytes(catalog, table) for table in tables)
    if hidden <= _HIDDEN_BYTES:
        return [replace(table, long_columns=()) for table in tables]
    if hidden <= max(2 * _HIDDEN_BYTES, catalog.file_bytes // 3):
        return tables
    return [
        replace(table, long_columns=tuple(column.name for column in table.columns))
        for table in tables
    ]


def _file_bytes(catalog: _Catalog, table: Table) -> int:
    """What a table and its indexes would take if all rows were like those sampled."""
    columns = len(table.columns)
    cells = table.size + table.rows * (columns + _CELL_BYTES)
    for name, *_ in catalog.indexes[table.name.name]:
        keys = len(catalog.index_columns[name])
        cells += table.size * keys // columns + table.rows * (keys + _CELL_BYTES)
    return cells


def _table(catalog: _Catalog, name: str, without_rowid: bool, left: list[LeftBehind]) -> Table:
    definition = table_definition(catalog.sql[("table", name)][1])
    columns = _columns(catalog, name, definition, left)
    for clause in definition.on_conflict:
        reason = "no such clause is carried over; without it a second row of a key is an error"
        left.append(LeftBehind("conflict clause", clause, name, reason))
    key = _primary_key(catalog, name, definition)
    primary_key = key
    locator = "" if without_rowid else locator_of(columns)
    uniques, indexes = _indexes(catalog, name, definition, left)
    if key is not None and _holds_nulls(catalog, name, key, without_rowid):
        reason = (
            "it holds NULLs, which no other database's primary key does; "
            "it became a unique constraint"
        )
        left.append(LeftBehind("primary key", ", ".join(key.columns), name, reason))
        primary_key, uniques = None, (key, *uniques)
    identity = _identity(catalog, name, primary_key, definition)
    if identity is not None:
        columns = _without_default(columns, identity.column, name, left)
    row_bytes = _row_bytes(catalog, name, columns)
    rows = _estimated_rows(catalog, name, locator, row_bytes)
    return Table(
        name=TableName(_SCHEMA, name),
        columns=columns,
        primary_key=primary_key,
        uniques=uniques,
        foreign_keys=_foreign_keys(catalog, name, definition),
        indexes=indexes,
        checks=tuple(Check(check.expression, check.name) for check in definition.checks),
        comment=_by_column(definition.comments).get("", ""),
        identity=identity,
        rows=rows,
        size=rows * row_bytes,
        locator=locator,
        long_columns=tuple(c.name for c in columns if may_be_long(c.declared)),
        extras=tuple(_extras(catalog, name, definition, columns)),
    )


def _extras(
    catalog: _Catalog, name: str, definition: TableDefinition, columns: tuple[Column, ...]
) -> Iterable[str]:
    """What tells a table of an application's from one of ours."""
    if fold(name) in catalog.triggered:
        yield "a trigger"
    if any(column.collation for column in columns):
        yield "a collation"
    if definition.on_conflict:
        yield "a conflict clause"
    if definition.strict:
        yield "STRICT"
    if definition.without_rowid:
        yield "WITHOUT ROWID"


def _columns(
    catalog: _Catalog, name: str, definition: TableDefinition, left: list[LeftBehind]
) -> tuple[Column, ...]:
    generated = _by_column(definition.generated)
    collations = _by_column(definition.collations)
    comments = _by_column(definition.comments)
    columns = []
    for column, declared, notnull, default, _, hidden in catalog.columns[name]:
        if hidden == _HIDDEN:
            continue
        word = fold(column)
        if definition.strict and fold(declared) == "any":
            # It keeps every value as it is, as no type does in other tables; there ANY is a number.
            declared = ""
        expression = generated.get(word, "") if hidden in _GENERATED else ""
        if hidden in _GENERATED and not expression:
            left.append(
                LeftBehind("generated column", column, name, "its expression cannot be read")
            )
        collation = collations.get(word, "")
        columns.append(
            Column(
                name=column,
                declared=declared,
                nullable=not notnull,
                default=default if hidden not in _GENERATED else None,
                generated=expression,
                virtual=hidden == _VIRTUAL,
                collation="" if collation == _BINARY else collation,
                comment=comments.get(word, ""),
            )
        )
    return tuple(columns)


def _by_column(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {fold(column): text for column, text in pairs}


def _primary_key(catalog: _Catalog, name: str, definition: TableDefinition) -> Key | None:
    columns = catalog.primary_key(name)
    names = {columns: constraint for constraint, columns in definition.constraint_names}
    return Key(columns, names.get(columns, "")) if columns else None


def _holds_nulls(catalog: _Catalog, name: str, key: Key, without_rowid: bool) -> bool:
    """A primary key of a rowid table may hold NULLs ("CREATE TABLE", 3.5, a bug that was kept)."""
    nullable = [c for c, _, notnull, _, pk, _ in catalog.columns[name] if pk and not notnull]
    if without_rowid or not nullable or _is_rowid_alias(catalog, name):
        return False
    nulls = " OR ".join(f"{quote(column)} IS NULL" for column in nullable)
    query = f"SELECT EXISTS (SELECT 1 FROM {quote(name)} NOT INDEXED WHERE {nulls})"
    return bool(catalog.number(query))


def _is_rowid_alias(catalog: _Catalog, name: str) -> bool:
    """Whether the primary key is the rowid itself: then it has no index of its own."""
    return all(origin != "pk" for _, _, origin, _ in catalog.indexes[name])


def _indexes(
    catalog: _Catalog, name: str, definition: TableDefinition, left: list[LeftBehind]
) -> tuple[tuple[Key, ...], tuple[Index, ...]]:
    """Unique constraints and indexes. A constraint that takes 'a' and 'A' for the same is no
    constraint of other databases, but a unique index of them may say it."""
    names = {columns: constraint for constraint, columns in definition.constraint_names}
    uniques: list[Key] = []
    indexes: list[Index] = []
    for index, unique, origin, partial in reversed(catalog.indexes[name]):
        columns = catalog.index_columns[index]
        plain = all(collation == _BINARY for *_, collation in columns)
        if not columns and origin == "pk":
            # The key of a table WITHOUT ROWID, which is its own index.
            continue
        if not columns:
            # Of a key that the table's definition names, and whose index is nowhere.
            reason = "sqlite_schema has no such index; the file is damaged"
            left.append(LeftBehind("index", index, name, reason))
            continue
        if origin == "c":
            terms = _terms(columns, catalog.sql[("index", index)][1])
            where = index_definition(catalog.sql[("index", index)][1]).where
            if terms is None or (partial and not where):
                left.append(LeftBehind("index", index, name, "its definition cannot be read"))
            else:
                indexes.append(Index(index, terms, bool(unique), where))
        elif not plain:
            label = names.get(tuple(column for _, column, _, _ in columns), "")
            own = label or "_".join([name, *(column for _, column, _, _ in columns), "key"])
            indexes.append(Index(own, _terms(columns, "") or (), unique=True))
        elif origin == "u":
            key = tuple(column for _, column, _, _ in columns)
            uniques.append(Key(key, names.get(key, "")))
    return tuple(uniques), tuple(indexes)


def _terms(columns: list[Any], sql: str) -> tuple[IndexColumn, ...] | None:
    """The terms of an index, or None where the text does not tell what the pragma counts."""
    written = index_definition(sql).terms
    terms = []
    for position, (_, column, descending, collation) in enumerate(columns):
        expression = ""
        if column is None:
            if len(written) != len(columns):
                return None
            expression = written[position][0]
        collation = "" if collation == _BINARY else str(collation).upper()
        terms.append(IndexColumn(column or "", bool(descending), expression, collation))
    return tuple(terms)


def _foreign_keys(
    catalog: _Catalog, name: str, definition: TableDefinition
) -> tuple[ForeignKey, ...]:
    grouped: dict[int, list[Any]] = defaultdict(list)
    for number, *row in catalog.foreign_keys[name]:
        grouped[number].append(row)
    listed = [parts for _, parts in sorted(grouped.items(), reverse=True)]
    # The pragma numbers them from the last to the first, and knows neither name nor deferral.
    texts = definition.foreign_keys
    known = len(texts) == len(listed)
    return tuple(
        ForeignKey(
            columns=tuple(column for _, column, _, _, _ in parts),
            parent=TableName(_SCHEMA, parts[0][0]),
            # Without a column list the parent's primary key is meant; see _with_parent_keys.
            parent_columns=tuple(to for _, _, to, _, _ in parts if to is not None),
            on_update=parts[0][3],
            on_delete=parts[0][4],
            deferred=known and texts[i].initially_deferred,
            name=texts[i].name if known else "",
        )
        for i, parts in enumerate(listed)
    )


def _with_parent_keys(tables: list[Table], catalog: _Catalog) -> Iterable[Table]:
    """Foreign keys with all names as their owners write them: SQLite compares without case."""
    by_name = {fold(table.name.name): table for table in tables}
    for table in tables:
        keys = tuple(
            _resolved(key, table, by_name.get(fold(key.parent.name)), catalog)
            for key in table.foreign_keys
        )
        yield replace(table, foreign_keys=keys)


def _resolved(key: ForeignKey, child: Table, parent: Table | None, catalog: _Catalog) -> ForeignKey:
    columns = _as_written(key.columns, child)
    if parent is None:
        return replace(key, columns=columns)
    primary = catalog.primary_key(parent.name.name)
    parent_columns = _as_written(key.parent_columns or primary, parent)
    return replace(key, columns=columns, parent=parent.name, parent_columns=parent_columns)


def _as_written(names: Iterable[str], table: Table) -> tuple[str, ...]:
    written = {fold(column.name): column.name for column in table.columns}
    return tuple(written.get(fold(name), name) for name in names)


def _identity(
    catalog: _Catalog, name: str, key: Key | None, definition: TableDefinition
) -> Identity | None:
    if key is None or len(key.columns) != 1 or definition.without_rowid:
        return None
    if not _is_rowid_alias(catalog, name):
        return None
    largest = catalog.number(f"SELECT max({quote(key.columns[0])}) FROM {quote(name)}")
    following = max(largest, catalog.sequences.get(name, 0), 0) + 1
    return Identity(key.columns[0], following, reuses=not definition.autoincrement)


def _without_default(
    columns: tuple[Column, ...], numbered: str, table: str, left: list[LeftBehind]
) -> tuple[Column, ...]:
    """An INTEGER PRIMARY KEY numbers itself, whatever its DEFAULT says."""
    for column in columns:
        if column.name == numbered and column.default is not None:
            reason = f"the column numbers itself, and SQLite never takes {column.default}"
            left.append(LeftBehind("default", numbered, table, reason))
    return tuple(replace(c, default=None) if c.name == numbered else c for c in columns)


def _estimated_rows(catalog: _Catalog, name: str, locator: str, row_bytes: int) -> int:
    """No more rows than rowids lie between the first and the last, nor than fit into the file;
    a table without rowids is counted."""
    table = quote(name)
    if not locator:
        return catalog.number(f"SELECT count(*) FROM {table} NOT INDEXED")
    span = catalog.number(
        f"SELECT CAST((SELECT max({locator}) FROM {table}) AS REAL) "
        f"- (SELECT min({locator}) FROM {table}) + 1"
    )
    return min(span, catalog.file_bytes // row_bytes)


def _row_bytes(catalog: _Catalog, name: str, columns: Iterable[Column]) -> int:
    """Estimated bytes of a row, from the first ones: batches are bounded by it."""
    lengths = joined([f"ifnull(octet_length({quote(c.name)}), 0)" for c in columns], "+")
    query = f"SELECT {lengths} AS n FROM {quote(name)} NOT INDEXED LIMIT {_SAMPLE}"
    return max(1, catalog.number(f"SELECT CAST(avg(n) AS INTEGER) FROM ({query})"))
