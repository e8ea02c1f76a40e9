"""Compares a database with what came back of it over another kind of database.

Everything is read by Python's sqlite3 and psycopg, and nothing of the program under test takes part
in a comparison. From the reports of the two migrations of a round trip come names, what columns
became on the way, and what the reports own up to.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

Report: TypeAlias = Mapping[str, Any]
Row: TypeAlias = tuple[Any, ...]
# Storage class and value; text by its bytes, which need not be UTF-8.
Cell: TypeAlias = tuple[str, Any]
Canonical: TypeAlias = Callable[[Cell], object]

_SHOWN = 5


# ---- what the reports say ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ColumnTrip:
    """A column of the first database: its name on the way (``middle``) and at the end, and the
    type that it had, had on the way, and has at the end, as the reports say.

    misfit: it is named as one that became wider than planned, merged: for several storage classes.
    spelled: it is named as one whose values were spelled anew.
    """

    name: str
    middle: str
    last: str
    types: tuple[str, str, str]
    misfit: bool
    merged: bool
    spelled: bool

    @property
    def numbers_as_text(self) -> bool:
        return self.types[2].startswith("NUMERIC_TEXT")


@dataclass(frozen=True, slots=True)
class TableTrip:
    """A table of the first database by the name that the first report has for it, and its names
    on the way and at the end; renamed: what else is called otherwise there, and then back here."""

    name: str
    middle: str
    last: str
    columns: tuple[ColumnTrip, ...]
    renamed: tuple[Mapping[str, str], Mapping[str, str]]

    def constraint(self, name: str) -> str:
        """What a constraint of that name is called at the end."""
        there, back = self.renamed
        middle = there.get(name, name)
        return back.get(middle, middle)

    def column(self, name: str) -> ColumnTrip:
        return next(column for column in self.columns if column.name == name)


def table_trips(there: Report, back: Report) -> dict[str, TableTrip]:
    """Every table of a round trip by its name in the first report; none may be lost."""
    returning = {table["source"]: table for table in back["tables"]}
    trips = {}
    for table in there["tables"]:
        other = returning.pop(table["target"])
        columns = zip(table["plan"]["columns"], other["plan"]["columns"], strict=True)
        assert table["source"] not in trips, f"two tables are called {table['source']}"
        trips[table["source"]] = TableTrip(
            table["source"],
            table["target"],
            other["target"],
            tuple(_column_trip(table, other, one, two) for one, two in columns),
            (table["plan"]["renamed"], other["plan"]["renamed"]),
        )
    assert not returning
    return trips


def no_way_back(there: Report) -> Report:
    """The report of a way back on which nothing changes, for a way that ends where it led."""
    tables = [
        {
            "source": table["target"],
            "target": table["target"],
            "spelling_normalised": {},
            "plan": {
                "columns": [
                    column | {"source": column["target"], "declared": column["type"]}
                    for column in table["plan"]["columns"]
                ],
                "misfits": [],
                "renamed": {},
            },
        }
        for table in there["tables"]
    ]
    return {"tables": tables, "left_behind": [], "violations": []}


def _column_trip(there: Report, back: Report, one: Report, two: Report) -> ColumnTrip:
    assert one["target"] == two["source"]
    misfits = [
        misfit
        for table, column in ((there, one), (back, two))
        for misfit in table["plan"]["misfits"]
        if misfit["column"] == column["source"]
    ]
    spelled = [
        column["source"] in table["spelling_normalised"]
        for table, column in ((there, one), (back, two))
    ]
    return ColumnTrip(
        one["source"],
        one["target"],
        two["target"],
        (one["declared"], one["type"], two["type"]),
        misfit=bool(misfits),
        merged=any(misfit["merged_classes"] for misfit in misfits),
        spelled=any(spelled),
    )


# ---- SQLite to another and back ------------------------------------------------------------------


def sqlite_differences(first: Path, last: Path, there: Report, back: Report) -> dict[str, Any]:
    """What is not the same in two SQLite files, by table, beyond what the reports named; a column
    that they named and that is the same is such a difference, too."""
    found: dict[str, Any] = {}
    trips = table_trips(there, back)
    with opened(first) as one, opened(last) as two:
        names = sqlite_tables(one)
        found |= _unlike("tables", names, sorted(trips))
        found |= _unlike(
            "tables at the end", sorted(t.last for t in trips.values()), sqlite_tables(two)
        )
        for trip in trips.values():
            columns = sqlite_columns(one, trip.name)
            found |= _unlike(f"{trip.name}: columns", columns, [c.name for c in trip.columns])
            mine = _sqlite_rows(one, trip.name, columns)
            theirs = _sqlite_rows(two, trip.last, [column.last for column in trip.columns])
            found |= {
                f"{trip.name}: {what}": difference
                for what, difference in _compared(trip, mine, theirs).items()
            }
    return found


def _compared(
    trip: TableTrip, mine: Sequence[tuple[Cell, ...]], theirs: Sequence[tuple[Cell, ...]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    allowed = [_allowance(column) for column in trip.columns]
    rows = [
        Counter(tuple(c(v) for c, v in zip(allowed, row, strict=True)) for row in rows)
        for rows in (mine, theirs)
    ]
    if rows[0] != rows[1]:
        found["rows"] = difference(*rows)
    for position, column in enumerate(trip.columns):
        cells = [Counter(row[position] for row in rows) for rows in (mine, theirs)]
        named = column.spelled or column.misfit or column.numbers_as_text
        if cells[0] != cells[1] and not named:
            found[column.name] = difference(*cells)
        # Where nothing but text was merged or is kept as text, nothing changes.
        classes = {storage for storage, _ in cells[0]}
        must = column.spelled or column.merged
        must = must or (column.numbers_as_text and bool(classes & {"integer", "real"}))
        if cells[0] == cells[1] and must:
            found[column.name] = "it is named, and nothing differs"
    return found


def _allowance(column: ColumnTrip) -> Canonical:
    """What of a cell has to be the same at the end, for all that the reports say."""
    if column.misfit and column.types[1] in ("text", "bytea"):
        return _by_text
    if column.numbers_as_text:
        return _by_number
    if column.spelled:
        return by_moment
    return _exactly


def _exactly(cell: Cell) -> object:
    # Zero has no sign: 0.0 == -0.0.
    return cell


def _by_text(cell: Cell) -> object:
    storage, value = cell
    return value if storage in ("text", "blob", "null") else repr(value).encode()


def _by_number(cell: Cell) -> object:
    storage, value = cell
    if storage == "null":
        return None
    try:
        number = Decimal(value.decode() if storage == "text" else repr(value))
    except InvalidOperation:
        return cell
    return str(number) if number.is_nan() else number


_MOMENT = re.compile(
    r"(?:(\d{4})-(\d\d)-(\d\d))?(?:(?:^|(?<=\d)[ T])(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?"
    r"(Z|[+-]\d\d(?::?\d\d)?)?"
)


def by_moment(cell: Cell) -> object:
    """Microseconds of a date or time by ISO 8601, in UTC where it has an offset."""
    storage, value = cell
    text = value.decode(errors="replace") if storage == "text" else ""
    match = _MOMENT.fullmatch(text)
    if not match or not text:
        return cell
    year, month, day, hours, minutes, seconds, fraction, zone = match.groups()
    days = date(int(year), int(month), int(day)).toordinal() if year else 0
    clock = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    if zone and zone != "Z":
        sign, digits = zone[0], zone[1:].replace(":", "").ljust(4, "0")
        clock -= int(f"{sign}1") * (int(digits[:2]) * 60 + int(digits[2:])) * 60
    return bool(zone), (days * 86_400 + clock) * 10**6 + int((fraction or "").ljust(6, "0"))


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        yield connection


def sqlite_tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    return sorted(name.decode() for (name,) in rows if not name.startswith(b"sqlite_"))


def sqlite_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"
    return [name.decode() for (name,) in connection.execute(query, (table,))]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sqlite_rows(
    connection: sqlite3.Connection, table: str, columns: Iterable[str]
) -> list[tuple[Cell, ...]]:
    cells = ", ".join(f"typeof(t.{quoted(name)}), t.{quoted(name)}" for name in columns)
    rows = connection.execute(f"SELECT {cells} FROM {quoted(table)} t")
    return [
        tuple((storage.decode(), value) for storage, value in zip(row[::2], row[1::2], strict=True))
        for row in rows
    ]


# ---- PostgreSQL to another and back --------------------------------------------------------------

SESSION = (
    *("SET extra_float_digits = 1", "SET datestyle = ISO", "SET intervalstyle = postgres"),
    *("SET timezone = 'UTC'", "SET bytea_output = hex", "SET search_path = ''"),
)
# Tables with rows of their own; a partition's are those of its root.
_TABLES = """
SELECT n.nspname, c.relname, array(SELECT a.attname::text FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
  array(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
  c.relkind = 'r'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relispopulated
  AND n.nspname !~ '^(pg_|information_schema)' ORDER BY 1, 2
"""
_FLOATS = ("real", "double precision")


@dataclass(frozen=True, slots=True)
class PostgresTable:
    """types: as format_type() says with an empty search path. heirs: tables that inherit from it
    have rows that it shows, and that are not its own."""

    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    heirs: bool

    @property
    def label(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@contextmanager
def read(url: str) -> Iterator[psycopg.Connection[Row]]:
    """A connection that shows every value as text in one way."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in SESSION:
            connection.execute(statement.encode())
        yield connection


def postgres_tables(connection: psycopg.Connection[Row]) -> dict[str, PostgresTable]:
    """Those that have a column, by the name that a report has for them."""
    tables = [
        PostgresTable(schema, name, tuple(columns), tuple(types), heirs)
        for schema, name, columns, types, heirs in connection.execute(_TABLES)
        if columns
    ]
    found = {table.label: table for table in tables}
    assert len(found) == len(tables), "two tables have one label"
    return found


def postgres_differences(first: str, last: str, there: Report, back: Report) -> dict[str, Any]:
    """What is not the same in two PostgreSQL databases, by table: rows by the text of all values,
    and nothing else than zero's sign may differ."""
    found: dict[str, Any] = {}
    trips = table_trips(there, back)
    with read(first) as one, read(last) as two:
        mine, theirs = postgres_tables(one), postgres_tables(two)
        found |= _unlike("tables", sorted(mine), sorted(trips))
        found |= _unlike(
            "tables at the end", sorted(t.last for t in trips.values()), sorted(theirs)
        )
        for connection in (one, two):
            # A value that names a table, as a regclass does, says the schema of all others.
            connection.execute("SET search_path = public")
        for trip in trips.values():
            source, target = mine[trip.name], theirs[trip.last]
            columns = [column.last for column in trip.columns]
            found |= _unlike(f"{trip.name}: columns", list(target.columns), columns)
            rows = [
                Counter(_postgres_rows(connection, table, source.types))
                for connection, table in ((one, source), (two, target))
            ]
            if rows[0] != rows[1]:
                found[f"{trip.name}: rows"] = difference(*rows)
    return found


def _postgres_rows(
    connection: psycopg.Connection[Row], table: PostgresTable, types: Sequence[str]
) -> Iterator[Row]:
    """``types`` are those of the first database, which say how a value is to be shown."""
    terms = [
        # What money looks like is a matter of the locale.
        sql.SQL("t.{}::numeric::text" if type_ == "money" else "t.{}::text").format(
            sql.Identifier(name)
        )
        for name, type_ in zip(table.columns, types, strict=True)
    ]
    query = sql.SQL("SELECT {} FROM ONLY {} t" if table.heirs else "SELECT {} FROM {} t").format(
        sql.SQL(", ").join(terms), sql.Identifier(table.schema, table.name)
    )
    floats = [type_ in _FLOATS for type_ in types]
    for row in connection.execute(query):
        yield tuple(
            "0" if is_float and text == "-0" else text
            for is_float, text in zip(floats, row, strict=True)
        )


def _unlike(what: str, mine: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Any]:
    return {} if list(mine) == list(theirs) else {what: [list(mine), list(theirs)]}


def difference(mine: Counter[Any], theirs: Counter[Any]) -> dict[str, Any]:
    """What only one of them has, in a few examples."""
    return {
        "counts": [mine.total(), theirs.total()],
        "missing": _examples(mine - theirs),
        "extra": _examples(theirs - mine),
    }


def _examples(rows: Counter[Any]) -> list[str]:
    return [repr(row)[:300] for row in itertools.islice(rows.elements(), _SHOWN)]
