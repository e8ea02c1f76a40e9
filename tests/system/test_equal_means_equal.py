"""docs/types.md says when a value of SQLite and one of PostgreSQL are the same; a verification says
it as well, from either end, and finds the nearest value that is another."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import sqlite_file, sqlite_url

import tableferry
from tableferry.outcomes import Outcome, TableOutcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "types.md"
FROM_SQLITE, FROM_POSTGRESQL = "from SQLite", "from PostgreSQL"
# By what the document says: from which ends the two are the same.
ENDS = {
    "same": {FROM_SQLITE, FROM_POSTGRESQL},
    FROM_SQLITE: {FROM_SQLITE},
    FROM_POSTGRESQL: {FROM_POSTGRESQL},
    "different": set(),
}
# What not every server has: a library, or an extension's files.
MAY_BE_MISSING = ("xml", "citext")
_NOT_THERE = (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedObject)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the document's table; the values are literals of SQL."""

    declared: str
    stored: str
    type: str
    value: str
    are: str
    another: str

    @property
    def name(self) -> str:
        return f"{self.declared} {self.stored} and {self.type} {self.value}"


def rows() -> Iterator[Row]:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.split("| in SQLite | in PostgreSQL | they are |")[1].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        there, here, are, another, _ = (cell.strip() for cell in line.strip("|").split(" |"))
        (declared, stored), (type_, value) = _code(there), _code(here)
        yield Row(declared, stored, type_, value, are, "".join(_code(another)))


def _code(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


ROWS = list(rows())


@pytest.fixture(scope="module")
def verified(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, TableOutcome]]]:
    """By end and by table, what a verification says of tables with the document's values: "same1"
    holds those of row 1, and "other1" has the nearest other value in PostgreSQL."""
    file = tmp_path_factory.mktemp("equal") / "file.db"
    with servers.fresh_database(server) as database:
        _fill(database, file)
        ends = database.url, sqlite_url(file)
        yield {
            FROM_POSTGRESQL: _by_table(tableferry.verify(*ends, workers=1)),
            FROM_SQLITE: _by_table(tableferry.verify(*ends[::-1], workers=1)),
        }


def _fill(database: Server, file: Path) -> None:
    with database.connect() as theirs, closing(sqlite3.connect(file)) as ours:
        theirs.execute("CREATE TYPE mood AS ENUM ('a', 'A')")
        with suppress(*_NOT_THERE):
            theirs.execute("CREATE EXTENSION citext")
        for number, row in enumerate(ROWS):
            pairs = {f"same{number}": row.value, f"other{number}": row.another}
            for name, value in pairs.items():
                if value and _made(theirs, name, row.type, value):
                    ours.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v {row.declared})")
                    ours.execute(f"INSERT INTO {name} VALUES (7, {row.stored})")
        ours.commit()


def _made(connection: psycopg.Connection[Any], name: str, type_: str, value: str) -> bool:
    """Whether the server knows such values."""
    try:
        with connection.transaction():
            connection.execute(f"CREATE TABLE {name} (id int4 PRIMARY KEY, v {type_})".encode())
            connection.execute(f"INSERT INTO {name} VALUES (7, {value})".encode())
    except _NOT_THERE:
        return False
    return True


def _by_table(outcome: Outcome) -> dict[str, TableOutcome]:
    return {table.source.rpartition(".")[2]: table for table in outcome.tables}


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.name for row in ROWS])
@pytest.mark.parametrize("end", [FROM_SQLITE, FROM_POSTGRESQL])
def test_values_are_what_the_document_says(
    verified: dict[str, dict[str, TableOutcome]], end: str, number: int
) -> None:
    row, found = ROWS[number], verified[end]
    if f"same{number}" not in found:
        assert row.type in MAY_BE_MISSING
        return
    if end in ENDS[row.are]:
        same = found[f"same{number}"]
        assert (same.verdict, same.differences) == ("verified", ())
    else:
        _require_named(found[f"same{number}"])
    if row.another:
        _require_named(found[f"other{number}"])


def _require_named(table: TableOutcome) -> None:
    assert table.verdict == "differs"
    (difference,) = table.differences
    assert (difference.what, difference.column) == ("changed", "v")
    assert difference.key == (("id", "7"),)
    assert difference.source != difference.target


def test_every_case_has_its_rows() -> None:
    assert {row.are for row in ROWS} == set(ENDS)
    assert len({row.name for row in ROWS}) == len(ROWS)
    # What is the same anywhere says what no longer is.
    assert all(bool(row.another) == bool(ENDS[row.are]) for row in ROWS)
    pairs = {(row.declared, row.type) for row in ROWS}
    assert pairs >= {
        *(("NUMERIC", "numeric"), ("NUMERIC_TEXT", "numeric"), ("DOUBLE", "double precision")),
        *(("TIMESTAMPTZ", "timestamptz"), ("JSONB_TEXT", "jsonb"), ("JSON_TEXT", "json")),
        *(("CHARACTER_TEXT(5)", "char(5)"), ("BOOLEAN", "boolean"), ("INTERVAL_TEXT", "interval")),
    }


# Between two databases of one kind: a type, two values, and whether they are the same.
IN_SQLITE = (
    ("", "0.0", "-0.0", False),
    ("", "1", "1.0", False),
    ("", "'1'", "1", False),
    ("", "1e2", "100.0", True),
    ("DOUBLE", "0.0", "-0.0", True),
    ("NUMERIC", "1", "1.0", True),
    ("INTEGER", "1", "1.0", True),
    ("INTEGER", "1", "1.5", False),
    ("TIMESTAMP", "'2024-01-01T00:00'", "'2024-01-01 00:00:00'", False),
    ("TIMESTAMPTZ", "'2024-01-01 01:00+01:00'", "'2024-01-01 00:00:00Z'", False),
    ("TEXT", "'a'", "x'61'", False),
    ("NUMERIC_TEXT", "'1.10'", "'1.1'", False),
    ("JSONB_TEXT", """'{"a":1}'""", """'{"a": 1}'""", False),
    ("TEXT", "'a'", "'a '", False),
    ("TEXT", "''", "NULL", False),
)
IN_POSTGRESQL = (
    ("numeric", "1.10", "1.1", False),
    ("numeric", "1.10", "1.10", True),
    ("numeric(10,2)", "1.1", "1.10", True),
    ("float8", "'-0'", "0", True),
    ("float8", "'NaN'", "'-NaN'", True),
    ("float8", "0", "5e-324", False),
    ("timestamptz", "'2024-01-01 01:00+01'", "'2024-01-01 00:00+00'", True),
    ("timetz", "'12:00:00+01'", "'11:00:00+00'", False),
    ("interval", "'1 mon'", "'30 days'", False),
    ("interval", "'1 month'", "'1 mon'", True),
    ("char(5)", "'a'", "'a  '", True),
    ("text", "'a'", "'a '", False),
    ("text", "''", "NULL", False),
    ("json", """'{"a":1}'""", """'{"a": 1}'""", False),
    ("jsonb", """'{"a":1}'""", """'{"a": 1}'""", True),
    ("jsonb", "'1.0'", "'1.00'", False),
    ("float8[]", "'{-0}'", "'{0}'", False),
)


def _differing(outcome: Outcome, cases: Sequence[tuple[str, str, str, bool]]) -> list[int]:
    assert len(outcome.tables) == len(cases)
    for table in outcome.tables:
        if table.verdict != "verified":
            _require_named(table)
    found = _by_table(outcome)
    return [i for i in range(len(cases)) if found[f"t{i}"].verdict != "verified"]


def test_between_two_files(tmp_path: Path) -> None:
    files = [
        sqlite_file(
            tmp_path / f"{side}.db",
            ";".join(
                f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, v {case[0]});"
                f"INSERT INTO t{i} VALUES (7, {case[side]})"
                for i, case in enumerate(IN_SQLITE)
            ),
        )
        for side in (1, 2)
    ]
    wanted = [i for i, (*_, same) in enumerate(IN_SQLITE) if not same]
    for one, other in (files, files[::-1]):
        outcome = tableferry.verify(sqlite_url(one), sqlite_url(other), workers=1)
        assert _differing(outcome, IN_SQLITE) == wanted


def test_between_two_databases_of_postgresql(server: Server) -> None:
    with servers.fresh_database(server) as one, servers.fresh_database(server) as other:
        for side, database in ((1, one), (2, other)):
            for i, case in enumerate(IN_POSTGRESQL):
                database.run(
                    f"CREATE TABLE t{i} (id int4 PRIMARY KEY, v {case[0]})",
                    f"INSERT INTO t{i} VALUES (7, {case[side]})",
                )
        wanted = [i for i, (*_, same) in enumerate(IN_POSTGRESQL) if not same]
        for ends in ((one.url, other.url), (other.url, one.url)):
            outcome = tableferry.verify(*ends, workers=1)
            assert _differing(outcome, IN_POSTGRESQL) == wanted
