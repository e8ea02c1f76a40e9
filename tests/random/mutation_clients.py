"""The two clients that mutations.py makes its changes with: psycopg and sqlite3."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql
from tests.random.mutations import Client, Column, Mutation, Row, Table, Value, ValueRefused
from tests.servers import Server
from tests.system.trips import SESSION, by_moment, quoted

_INTS = ("smallint", "integer", "bigint")
_FLOATS = ("real", "double precision")

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), (a.attnum = ANY (i.indkey))::bool
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


class PostgresClient(Client):
    """Rows are counted in the order in which they stand at first; a copy of each table, in a schema
    of its own, knows what they were."""

    def __init__(self, server: Server, digits: Sequence[tuple[str, str]] = ()) -> None:
        """``digits``: tables and columns of numbers that the other side keeps as their text."""
        self._digits = frozenset(digits)
        self._connection = psycopg.connect(server.url, autocommit=True)
        for statement in (*SESSION, "SET session_replication_role = replica"):
            self._connection.execute(statement.encode())
        self._connection.execute("CREATE SCHEMA kept")
        self._places: dict[str, dict[int, str]] = {}
        self._applied: tuple[Table, Sequence[int], list[str]] | None = None

    def close(self) -> None:
        self._connection.close()

    def table(self, name: str) -> Table:
        """The table with its rows kept, and its columns free to be NULL."""
        identifier = _identifier(name).as_string(self._connection)
        found = self._connection.execute(_COLUMNS, (identifier,)).fetchall()
        columns = tuple(Column(n, t, (name, n) in self._digits) for n, t, _ in found)
        key = tuple(i for i, (_, _, of_key) in enumerate(found) if of_key)
        for i, column in enumerate(columns):
            if i not in key:
                free = sql.SQL("ALTER TABLE {} ALTER {} DROP NOT NULL")
                self._execute(free.format(_identifier(name), sql.Identifier(column.name)))
        self._execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_kept(name)))
        keep = "CREATE TABLE {} AS SELECT row_number() OVER () - 1 AS number, t.* FROM {} t"
        self._execute(sql.SQL(keep).format(_kept(name), _identifier(name)))
        places = self._execute(sql.SQL("SELECT ctid::text FROM {}").format(_identifier(name)))
        self._places[name] = {number: place for number, (place,) in enumerate(places)}
        return Table(name, columns, key)

    def rows(self, table: Table) -> dict[int, Row]:
        places = {place: number for number, place in self._places[table.name].items()}
        return dict(sorted((places[place], row) for place, row in self._read(table)))

    def _read(self, table: Table, places: Sequence[str] | None = None) -> Iterator[tuple[str, Row]]:
        terms = [sql.SQL("t.{}::text").format(sql.Identifier(c.name)) for c in table.columns]
        query = sql.SQL("SELECT t.ctid::text, {} FROM {} t").format(
            sql.SQL(", ").join(terms), _identifier(table.name)
        )
        if places is not None:
            query += sql.SQL(" WHERE t.ctid = ANY ({}::tid[])").format(sql.Literal(list(places)))
        for place, *texts in self._execute(query):
            yield place, tuple(map(_value, table.columns, texts))

    def apply(self, table: Table, mutation: Mutation) -> list[Row]:
        places = self._places[table.name]
        made: list[str] = []
        try:
            with self._connection.transaction():
                for number, row in mutation.rows.items():
                    made += self._put(table, places[number], row)
                for row in mutation.added:
                    made += self._insert(table, row)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            raise ValueRefused(str(error)) from error
        self._applied = table, tuple(mutation.rows), made
        return [row for _, row in self._read(table, made)]

    def _put(self, table: Table, place: str, row: Row | None) -> list[str]:
        at = sql.Literal(place)
        if row is None:
            delete = sql.SQL("DELETE FROM {} WHERE ctid = {}")
            self._execute(delete.format(_identifier(table.name), at))
            return []
        ((_, old),) = self._read(table, [place])
        pairs = [
            sql.SQL("{} = {}").format(sql.Identifier(column.name), _literal(value))
            for column, before, value in zip(table.columns, old, row, strict=True)
            if value is not before and (type(value), str(value)) != (type(before), str(before))
        ]
        if not pairs:
            raise ValueRefused("nothing changes")
        update = sql.SQL("UPDATE {} SET {} WHERE ctid = {} RETURNING ctid::text").format(
            _identifier(table.name), sql.SQL(", ").join(pairs), at
        )
        return [made for (made,) in self._execute(update)]

    def _insert(self, table: Table, row: Row) -> list[str]:
        insert = sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({}) RETURNING ctid::text")
        values = sql.SQL(", ").join(map(_literal, row))
        return [made for (made,) in self._execute(insert.format(_identifier(table.name), values))]

    def undo(self) -> None:
        assert self._applied is not None
        table, numbers, made = self._applied
        name = _identifier(table.name)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        with self._connection.transaction():
            delete = sql.SQL("DELETE FROM {} WHERE ctid = ANY ({}::tid[])")
            self._execute(delete.format(name, sql.Literal(made)))
            for number in numbers:
                again = sql.SQL(
                    "INSERT INTO {} OVERRIDING SYSTEM VALUE SELECT {} FROM {} WHERE number = {} "
                    "RETURNING ctid::text"
                ).format(name, names, _kept(table.name), sql.Literal(number))
                ((self._places[table.name][number],),) = self._execute(again)
        self._applied = None

    def rewrite(self, random: Random, table: Table) -> str:
        """Writes the table's rows again in another way; says how. The rows lose their numbers."""
        name = _identifier(table.name).as_string(self._connection)
        columns = [sql.Identifier(c.name).as_string(self._connection) for c in table.columns]
        way = random.choice(["vacuum", "update", "shuffle", "loosely"])
        statements = {
            "vacuum": [f"VACUUM FULL {name}", f"ANALYZE {name}"],
            "update": [f"UPDATE {name} SET {', '.join(f'{c} = {c}' for c in columns)}"],
            "shuffle": [
                f"CREATE TEMP TABLE shuffled AS TABLE {name}",
                f"DELETE FROM {name}",
                f"INSERT INTO {name} OVERRIDING SYSTEM VALUE TABLE shuffled ORDER BY random()",
                "DROP TABLE shuffled",
            ],
            "loosely": [
                *(f"REINDEX TABLE {name}", f"ALTER TABLE {name} SET (fillfactor = 20)"),
                *(f"VACUUM FULL {name}", f"ALTER TABLE {name} RESET (fillfactor)"),
            ],
        }
        for statement in statements[way]:
            self._connection.execute(statement.encode())
        return way

    def same(self, column: Column, value: Value) -> object:
        match value:
            case float():
                return "NaN" if value != value else value
            case Decimal() if column.digits or value.is_nan():
                return str(value)
            case str() | bytes():
                return type(value), value
        return value

    def _execute(self, query: sql.Composed) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def _identifier(name: str) -> sql.Identifier:
    return sql.Identifier("public", name)


def _kept(name: str) -> sql.Identifier:
    return sql.Identifier("kept", name)


def _value(column: Column, text: str | None) -> Value:
    base = column.type.partition("(")[0]
    if text is None:
        return None
    if base in _INTS:
        return int(text)
    if base in _FLOATS:
        return float(text)
    if base == "numeric" and not column.type.endswith("[]"):
        return Decimal(text)
    if base == "boolean":
        return text == "true"
    if base == "bytea":
        return bytes.fromhex(text.removeprefix("\\x"))
    return text


def _literal(value: Value) -> sql.Composable:
    """Without a type, so that the column's own reads it."""
    match value:
        case None:
            return sql.SQL("NULL")
        case bytes():
            return sql.Literal("\\x" + value.hex())
        case float():
            return sql.Literal(repr(value))
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueRefused("no UTF-8") from error
    return sql.Literal(str(value))


class SqliteClient(Client):
    """Rows are counted by their rowids."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._applied: tuple[Table, list[int], dict[int, Row]]
        with self._opened() as connection:
            # What a rule forbids is a mutation like any other; a key remains one.
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table'"
            )

    def table(self, name: str) -> Table:
        with self._opened() as connection:
            found = connection.execute(
                "SELECT name, type, pk FROM pragma_table_xinfo(?) ORDER BY cid", (name,)
            ).fetchall()
        columns = tuple(Column(n.decode(), t.decode()) for n, t, _ in found)
        return Table(name, columns, tuple(i for i, (*_, pk) in enumerate(found) if pk))

    def rows(self, table: Table) -> dict[int, Row]:
        with self._opened() as connection:
            return self._read(connection, table, "")

    def _read(self, connection: sqlite3.Connection, table: Table, condition: str) -> dict[int, Row]:
        terms = ", ".join(f"typeof({c}), {c}" for c in _names(table))
        return {
            number: tuple(map(_stored, cells[::2], cells[1::2]))
            for number, *cells in connection.execute(
                f"SELECT rowid, {terms} FROM {quoted(table.name)} {condition} ORDER BY rowid"
            )
        }

    def apply(self, table: Table, mutation: Mutation) -> list[Row]:
        with self._opened() as connection:
            before = self._read(connection, table, _among(mutation.rows))
            (last,) = connection.execute(f"SELECT max(rowid) FROM {quoted(table.name)}").fetchone()
            try:
                self._delete(connection, table, before)
                changed = {number: row for number, row in mutation.rows.items() if row is not None}
                new = dict(enumerate(mutation.added, last + 1))
                made = [self._insert(connection, table, *one) for one in (changed | new).items()]
            except (sqlite3.IntegrityError, OverflowError) as error:
                connection.rollback()
                raise ValueRefused(str(error)) from error
            after = self._read(connection, table, _among(made))
        self._applied = table, made, before
        return list(after.values())

    def _delete(self, connection: sqlite3.Connection, table: Table, numbers: Iterable[int]) -> None:
        connection.execute(f"DELETE FROM {quoted(table.name)} {_among(numbers)}")

    def _insert(self, connection: sqlite3.Connection, table: Table, number: int, row: Row) -> int:
        """Gives the rowid: where it is a column of the table, that says it."""
        names = list(_names(table))
        terms = ["CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in row]
        values: list[object] = [
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            for value in row
        ]
        if not _is_rowid(table):
            names, terms, values = ["rowid", *names], ["?", *terms], [number, *values]
        cursor = connection.execute(
            f"INSERT INTO {quoted(table.name)} ({', '.join(names)}) VALUES ({', '.join(terms)})",
            values,
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def undo(self) -> None:
        table, made, before = self._applied
        with self._opened() as connection:
            self._delete(connection, table, made)
            for number, row in before.items():
                self._insert(connection, table, number, row)

    def rewrite(self, random: Random, table: Table) -> str:
        """Writes the table's rows again in another way; says how. The rows lose their numbers."""
        name, columns = quoted(table.name), list(_names(table))
        way = random.choice(["vacuum", "update", "shuffle", "reindex"])
        free = [c for i, c in enumerate(columns) if i not in table.key] or columns[:1]
        statements = {
            "vacuum": [f"PRAGMA page_size = {random.choice([512, 4096, 65536])}", "VACUUM"],
            "update": [f"UPDATE {name} SET {', '.join(f'{c} = {c}' for c in free)}"],
            "shuffle": [
                f"CREATE TEMP TABLE shuffled AS SELECT * FROM {name} ORDER BY random()",
                f"DELETE FROM {name}",
                f"INSERT INTO {name} SELECT * FROM shuffled",
            ],
            "reindex": ["REINDEX", "ANALYZE"],
        }
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements[way]:
                connection.execute(statement)
        return way

    def same(self, column: Column, value: Value) -> object:
        match value:
            case None:
                return None
            case float() if column.type in ("DOUBLE", "FLOAT4"):
                return value
            case int() | float() if column.type.startswith(("DECIMAL", "NUMERIC")):
                # A number counts by its digits, whichever storage class has them.
                return Decimal(repr(value))
            case str() if column.type in ("DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"):
                return _moment(value)
        return type(value), value

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Closed before anything else opens the file: its locks and those of another SQLite
        library in the same process do not know each other."""
        with closing(sqlite3.connect(self._path)) as connection:
            connection.text_factory = bytes
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            yield connection
            connection.commit()


def _names(table: Table) -> Iterator[str]:
    return (quoted(column.name) for column in table.columns)


def _among(numbers: Iterable[int]) -> str:
    return f"WHERE rowid IN ({', '.join(map(str, numbers))})"


def _is_rowid(table: Table) -> bool:
    """Whether a column is the rowid itself."""
    return len(table.key) == 1 and table.columns[table.key[0]].type == "INTEGER"


def _stored(storage: bytes, value: Any) -> Value:
    result: Value = value
    return value.decode("utf-8", "surrogateescape") if storage == b"text" else result


def _moment(text: str) -> object:
    try:
        return by_moment(("text", text.encode("utf-8", "surrogateescape")))
    except ValueError:
        # No such day.
        return text
