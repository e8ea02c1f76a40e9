"""Compares databases row by row with nothing but Python's sqlite3 and psycopg.

    python tests/system/independent.py SQLITE_FILE POSTGRESQL_URL     every table of the file
    python tests/system/independent.py --twin URL URL                 CamelCase against snake_case

Prints the differences as JSON and ends with 1 if there are any. It shares no code with the program
under test, and runs in a process of its own: two SQLite libraries in one process do not see each
other's locks.
"""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

_SHOWN = 10

Row = tuple[Any, ...]
Differences = dict[str, Any]


class Text(bytes):
    """A SQLite text as its bytes, which need not be UTF-8; a blob is plain bytes."""


def compare_with_sqlite(path: Path, url: str) -> Differences:
    """What differs between every table of a SQLite file and the tables of the same names."""
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    source.text_factory = Text
    with closing(source), psycopg.connect(url) as target:
        found: Differences = {}
        for name in _sqlite_tables(source):
            types = _types(target, name)
            columns = _sqlite_columns(source, name)
            if list(types) != columns:
                found[name] = {"columns": [columns, list(types)]}
                continue
            readers = [_reader(type_name) for type_name in types.values()]
            rows = source.execute(f"SELECT {', '.join(map(_quote, columns))} FROM {_quote(name)}")
            mine = Counter(tuple(r(v) for r, v in zip(readers, row, strict=True)) for row in rows)
            _note(found, name, mine, Counter(_postgres_rows(target, name, columns)))
        return found


def compare_twins(url: str, twin_url: str) -> Differences:
    """What differs between tables such as InvoiceLine here and invoice_line there."""
    with psycopg.connect(url) as one, psycopg.connect(twin_url) as other:
        names = _postgres_tables(one)
        found: Differences = {}
        if sorted(map(snake_case, names)) != sorted(_postgres_tables(other)):
            found["tables"] = [names, _postgres_tables(other)]
        for name in names:
            columns = list(_types(one, name))
            theirs = _postgres_rows(other, snake_case(name), [snake_case(c) for c in columns])
            _note(found, name, Counter(_postgres_rows(one, name, columns)), Counter(theirs))
        return found


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _note(found: Differences, name: str, mine: Counter[Row], theirs: Counter[Row]) -> None:
    if mine != theirs:
        found[name] = {
            "rows": [mine.total(), theirs.total()],
            "missing": _shown((mine - theirs).elements()),
            "extra": _shown((theirs - mine).elements()),
        }


def _shown(rows: Iterable[Row]) -> list[str]:
    return [repr(row)[:300] for _, row in zip(range(_SHOWN), rows, strict=False)]


def _reader(type_name: str) -> Callable[[Any], Any]:
    """What a SQLite value has to equal, as psycopg gives it, in a column of this type.

    A value whose storage class is not the type's stays what it is, and so differs.
    """

    def read(value: Any) -> Any:
        match value:
            case int() if type_name == "bool" and value in (0, 1):
                return bool(value)
            case int() if type_name in ("int2", "int4", "int8", "numeric", "float8"):
                return value
            case float() if type_name == "numeric":
                return Decimal(repr(value))
            case float() if type_name == "float8":
                return value
            case Text() if type_name in ("text", "varchar"):
                return value.decode()
            case Text() if type_name in _TEMPORAL:
                return _TEMPORAL[type_name](value.decode())
            case bytes() if type_name == "bytea" and not isinstance(value, Text):
                return bytes(value)
            case None:
                return None
        return f"{value!r} in a column of type {type_name}"

    return read


_TEMPORAL: dict[str, Callable[[str], Any]] = {
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timestamp": datetime.datetime.fromisoformat,
    "timestamptz": datetime.datetime.fromisoformat,
}


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sqlite_tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    return [name.decode() for (name,) in rows if not name.startswith(b"sqlite_")]


def _sqlite_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"
    return [name.decode() for (name,) in connection.execute(query, (table,))]


def _postgres_tables(connection: psycopg.Connection[Row]) -> list[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    return [name for (name,) in connection.execute(query)]


def _types(connection: psycopg.Connection[Row], table: str) -> dict[str, str]:
    """The columns of a table of the search path, in order, with the names of their types."""
    query = (
        "SELECT a.attname, t.typname FROM pg_class c "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "JOIN pg_type t ON t.oid = a.atttypid "
        "WHERE c.relname = %s AND pg_table_is_visible(c.oid) ORDER BY a.attnum"
    )
    return dict(connection.execute(query, (table,)).fetchall())


def _postgres_rows(
    connection: psycopg.Connection[Row], table: str, columns: list[str]
) -> Iterable[Row]:
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("SELECT {} FROM {}").format(listed, sql.Identifier(table))
    return connection.execute(query)


def main(arguments: list[str]) -> int:
    if arguments[0] == "--twin":
        found = compare_twins(*arguments[1:])
    else:
        found = compare_with_sqlite(Path(arguments[0]), arguments[1])
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
