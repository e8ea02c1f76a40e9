"""What two SQLite files are beside their rows, as facts, and the rule by which the second follows
from the first where it came back by way of PostgreSQL: docs/types.md, "What a round trip does not
keep". Read by sqlite3; nothing of the program under test takes part.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.system.facts import Fact, counted, left_over
from tests.system.trips import (
    ColumnTrip,
    Report,
    TableTrip,
    no_way_back,
    opened,
    quoted,
    sqlite_tables,
    table_trips,
)


def copy_differences(first: Path, last: Path, report: Report) -> dict[str, Any]:
    """What a SQLite file has otherwise than the one that it was carried from, beyond what the
    report names; declared types are kept as they are."""
    back = no_way_back(report)
    trips = table_trips(report, back)
    with opened(first) as one, opened(last) as two:
        types = {
            (trip.last, column.last): _copied_type(one, trip, column)
            for trip in trips.values()
            for column in trip.columns
        }
        found = _unlike_types(types, two)
        expected = counted(_facts(one, trips, copied=True))
        facts = counted(_facts(two, {}, copied=True))
        if new := facts - expected:
            found["new"] = sorted(map(repr, new.elements()))
        return found | left_over(expected - facts, (report, back), trips)


def _copied_type(connection: sqlite3.Connection, trip: TableTrip, column: ColumnTrip) -> str:
    """ANY of a STRICT table keeps every value, and so does no type in others; an INTEGER that is
    the key would be the rowid in a table that has one."""
    options = _options(connection, trip.name)
    declared = column.types[0]
    if declared.upper() == "ANY" and "STRICT" in options:
        return ""
    alone = _keys(connection, trip.name) == [column.name]
    if declared.upper() == "INTEGER" and alone and "WITHOUT ROWID" in options:
        return "INT"
    return declared


def _options(connection: sqlite3.Connection, table: str) -> set[str]:
    query = "SELECT wr, strict FROM pragma_table_list(?) WHERE schema = 'main'"
    ((without_rowid, strict),) = _rows(connection, query, table)
    return {
        option
        for option, is_set in (("WITHOUT ROWID", without_rowid), ("STRICT", strict))
        if is_set
    }


def _unlike_types(types: Mapping[tuple[str, str], str], last: sqlite3.Connection) -> dict[str, Any]:
    really = {
        (table, name): declared
        for table in sqlite_tables(last)
        for name, declared in _rows(last, "SELECT name, type FROM pragma_table_xinfo(?)", table)
    }
    unlike = {
        str(at): [types.get(at), really.get(at)]
        for at in sorted({*types, *really})
        if types.get(at) != really.get(at)
    }
    return {"types": unlike} if unlike else {}


def schema_differences(first: Path, last: Path, there: Report, back: Report) -> dict[str, Any]:
    """What came back otherwise than docs/types.md and the reports say, none left out: whatever is
    named is gone, and whatever is gone is named."""
    trips = table_trips(there, back)
    with opened(first) as one, opened(last) as two:
        types = {
            (trip.last, column.last): (
                _of_numeric(one, trip.name, column.name)
                if column.types[1] == "numeric"
                else type_at_the_end(column.types[1], key=_keys(two, trip.last) == [column.last])
            )
            for trip in trips.values()
            for column in trip.columns
        }
        found = _unlike_types(types, two)
        expected = counted(_facts(one, trips, copied=False))
        facts = counted(_facts(two, {}, copied=False))
        if new := facts - expected:
            found["new"] = sorted(map(repr, new.elements()))
        return found | left_over(expected - facts, (there, back), trips)


def type_at_the_end(type_: str, *, key: bool) -> str:
    """What a column of this type of PostgreSQL is declared as; ``key``: it alone is the primary
    key, so that it is the rowid."""
    if key and type_ in ("smallint", "integer", "bigint"):
        return "INTEGER"
    if match := re.fullmatch(r"numeric\((\d+),(\d+)\)", type_):
        return (
            f"DECIMAL({match[1]},{match[2]})"
            if int(match[1]) <= 15
            else (f"NUMERIC_TEXT({match[1]},{match[2]})")
        )
    if match := re.fullmatch(r"character varying\((\d+)\)", type_):
        return f"VARCHAR({match[1]})"
    return TYPES[type_]


def _of_numeric(connection: sqlite3.Connection, table: str, column: str) -> str:
    """What a numeric of no scale is declared as: a number where all values are numbers that SQLite
    shows with the digits that PostgreSQL does."""
    value = quoted(column)
    query = (
        f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE typeof({value}) = 'text' "
        f"OR typeof({value}) = 'real' AND abs({value}) >= 9223372036854775808.0)"
    )
    ((other,),) = _rows(connection, query)
    return "NUMERIC_TEXT" if other else "NUMERIC"


TYPES = {
    "smallint": "INT2",
    "integer": "INT4",
    "bigint": "BIGINT",
    "boolean": "BOOLEAN",
    "double precision": "DOUBLE",
    "text": "TEXT",
    "bytea": "BLOB",
    "date": "DATE",
    "time without time zone": "TIME",
    "timestamp without time zone": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMPTZ",
    "uuid": "UUID",
    "json": "JSON_TEXT",
}


def _facts(
    connection: sqlite3.Connection, trips: Mapping[str, TableTrip], *, copied: bool
) -> Iterator[Fact]:
    """``trips`` are those that begin here, none for the file at the end of them. Options of a table
    count where it was copied to a file of SQLite's only."""
    for table in sqlite_tables(connection):
        trip = trips.get(table)
        last = trip.last if trip else table
        names = {column.name: column.last for column in trip.columns} if trip else {}
        yield from _of_columns(connection, table, last, names)
        keys = _keys(connection, table)
        if len(keys) == 1 and _is_rowid(connection, table, trip, copied=copied):
            yield Fact("identity", last, (names.get(keys[0], keys[0]),), (keys[0],))
        for option in _options(connection, table) if copied else ():
            yield Fact("table option", last, (option,), (option,))
        yield from _of_keys(connection, table, (last, names), trips)
        ((sql,),) = _rows(connection, "SELECT sql FROM sqlite_schema WHERE name = ?", table)
        # Whatever name a check has: they are counted.
        for _ in re.findall(r"\bCHECK\b", _bare(sql), re.IGNORECASE):
            yield Fact("check", last)
    query = "SELECT type, name, tbl_name FROM sqlite_schema WHERE type IN ('view', 'trigger')"
    for kind, name, table in _rows(connection, query):
        yield Fact(kind, trips[table].last if table in trips else table, (name,), (name,))


def _bare(sql: str) -> str:
    """A definition without its strings, names in quotes, and comments."""
    pieces = r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^]]*\]|--[^\n]*|/\*.*?\*/"""
    return re.sub(pieces, " ", sql, flags=re.DOTALL)


def _of_columns(
    connection: sqlite3.Connection, table: str, last: str, names: Mapping[str, str]
) -> Iterator[Fact]:
    nullable = _null_in_key(connection, table)
    query = 'SELECT name, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?)'
    for name, required, default, pk, hidden in _rows(connection, query, table):
        own = (names.get(name, name),)
        # What is of a key has no NULL, as PostgreSQL has it.
        if (required or (pk and not nullable)) and hidden == 0:
            yield Fact("not null", last, own, own)
        if hidden in (2, 3):
            yield Fact("generated column", last, own, own)
        elif default is not None:
            yield Fact("default", last, (*own, _shown(connection, default)), own)


def _is_rowid(
    connection: sqlite3.Connection, table: str, trip: TableTrip | None, *, copied: bool
) -> bool:
    """Whether the one column of the primary key is the rowid itself: then it has no index of its
    own. At the end of a round trip every key of one integer is."""
    column = trip.column(_keys(connection, table)[0]) if trip and not copied else None
    if column is not None and column.types[2] == "INTEGER":
        return True
    query = "SELECT origin FROM pragma_index_list(?)"
    return all(origin != "pk" for (origin,) in _rows(connection, query, table))


def _null_in_key(connection: sqlite3.Connection, table: str) -> bool:
    """A primary key of a table with rowids may hold NULL."""
    conditions = " OR ".join(f"{quoted(name)} IS NULL" for name in _keys(connection, table))
    query = f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE {conditions or 0})"
    ((found,),) = _rows(connection, query)
    return bool(found)


def _shown(connection: sqlite3.Connection, default: str) -> str:
    """What a default gives: of one that is another each time, how it is written."""
    if not re.match(r"'|[-+0-9.]|null|true|false", default, re.IGNORECASE):
        query = f"SELECT typeof(v), v FROM (SELECT {default} AS v)"
        ((storage, value),) = _rows(connection, query)
        return f"{storage} {re.sub('[0-9a-f]', '0', str(value))}"
    ((value,),) = _rows(connection, f"SELECT quote({default})")
    # As a column of numbers keeps it.
    number = re.fullmatch(r"'?(-?[0-9]+(?:\.[0-9]*)?)'?", value)
    return str(float(number[1])) if number else value


def _of_keys(
    connection: sqlite3.Connection,
    table: str,
    at: tuple[str, Mapping[str, str]],
    trips: Mapping[str, TableTrip],
) -> Iterator[Fact]:
    last, names = at
    keys = _keys(connection, table)
    if keys:
        own = tuple(names.get(name, name) for name in keys)
        yield Fact("primary key", last, own, (", ".join(keys), *own))
        if _null_in_key(connection, table):
            # It can only be unique elsewhere, and the report names it.
            yield Fact("unique constraint", last, own, (", ".join(own),))
    query = 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)'
    for index, unique, origin, partial in _rows(connection, query, table):
        terms = [
            (names.get(name, name) if name else "an expression") + " DESC" * descending
            for name, descending in _rows(
                connection,
                'SELECT name, "desc" FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno',
                index,
            )
        ]
        if origin == "u":
            yield Fact("unique constraint", last, tuple(terms), (", ".join(terms),))
        elif origin == "c":
            shape = ("unique" * unique, "partial" * partial, *terms)
            yield Fact("index", last, shape, (index,))
    grouped: dict[int, list[Any]] = {}
    query = (
        'SELECT id, "table", "from", "to", on_update, on_delete FROM pragma_foreign_key_list(?) '
        "ORDER BY id, seq"
    )
    for number, *row in _rows(connection, query, table):
        grouped.setdefault(number, []).append(row)
    folded = {name.lower(): trip for name, trip in trips.items()}
    for parts in grouped.values():
        parent = parts[0][0]
        of_parent = [to for _, _, to, _, _ in parts]
        if None in of_parent:
            of_parent = _keys(connection, parent)
        trip = folded.get(parent.lower())
        theirs = {c.name.lower(): c.last for c in trip.columns} if trip else {}
        mine = {name.lower(): name_ for name, name_ in names.items()}
        yield Fact(
            "foreign key",
            last,
            (
                *(mine.get(column.lower(), column) for _, column, _, _, _ in parts),
                trip.last if trip else parent,
                *(theirs.get(column.lower(), column) for column in of_parent),
                *parts[0][3:],
            ),
            (f"({', '.join(column for _, column, _, _, _ in parts)}) to {parent}",),
        )


def _keys(connection: sqlite3.Connection, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk"
    return [name for (name,) in _rows(connection, query, table)]


def _rows(connection: sqlite3.Connection, query: str, *arguments: str) -> list[tuple[Any, ...]]:
    return [
        tuple(value.decode() if isinstance(value, bytes) else value for value in row)
        for row in connection.execute(query, arguments)
    ]
