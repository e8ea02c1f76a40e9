"""A single random mutation of a migrated target is found, and named to the table, the row and the
column; where nothing was changed, nothing is found.

TABLEFERRY_MUTATIONS sets how many are made in each table and direction, and TABLEFERRY_REWRITES how
often a database is written again without a change.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random

import pytest
from tests import every_type, servers
from tests.ordinary_types import ORDINARY_TABLES
from tests.random.mutation_clients import PostgresClient, SqliteClient
from tests.random.mutations import Column, Expected, Mutation, Row, Table, Value, mutate, shown
from tests.servers import Server
from tests.system.support import SHARED, needs_shared

import tableferry
from tableferry.outcomes import MAX_LISTED, Difference, DifferingRows, Outcome

_MUTATIONS = int(os.environ.get("TABLEFERRY_MUTATIONS", "3"))
_REWRITES = int(os.environ.get("TABLEFERRY_REWRITES", "2"))
# Every so many mutations the whole database is verified, and every so many once more after it was
# undone.
_WHOLE, _UNDONE = 10, 10

_CHINOOK = (
    *("Album", "Artist", "Customer", "Employee", "Genre", "Invoice", "InvoiceLine", "MediaType"),
    *("Playlist", "PlaylistTrack", "Track"),
)
_TYPES = ("every_type", "every_keyless", "by_text", "by_pair", "keyless")
_WAYS = ("to PostgreSQL", "to SQLite")


@dataclass(frozen=True, slots=True)
class Pair:
    """A source, and a target that was migrated from it and is changed by the client."""

    source: str
    target: str
    client: PostgresClient | SqliteClient

    def verify(self, *tables: str, workers: int = 1) -> Outcome:
        return tableferry.verify(self.source, self.target, tables=tables, workers=workers)


Pairs = Callable[[str, str], Pair]


@pytest.fixture(scope="module")
def pairs(
    started: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pairs]:
    """The pair of a way and a database, made when it is first asked for."""
    with ExitStack() as stack:

        @cache
        def made(way: str, database: str) -> Pair:
            server = stack.enter_context(servers.fresh_database(started(servers.EMBEDDED)))
            folder = tmp_path_factory.mktemp("mutations")
            file = folder / "file.db"
            if database == "chinook":
                shutil.copyfile(SHARED / "chinook.sqlite", file)
                _migrated(f"sqlite:{file}", server.url)
            else:
                _create_types(server)
                _migrated(server.url, f"sqlite:{file}")
            if way == "to SQLite":
                target = folder / "target.db"
                _migrated(server.url, f"sqlite:{target}")
                return Pair(server.url, f"sqlite:{target}", SqliteClient(target))
            if database == "types":
                server = stack.enter_context(servers.fresh_database(started(servers.EMBEDDED)))
                _migrated(f"sqlite:{file}", server.url)
            client = PostgresClient(server, _digits(file))
            stack.callback(client.close)
            return Pair(f"sqlite:{file}", server.url, client)

        yield made


def _migrated(source: str, target: str) -> None:
    assert tableferry.migrate(source, target, workers=1).verified


def _create_types(server: Server) -> None:
    with server.connect() as connection:
        made = every_type.create(connection, "public")
        listed = ", ".join(column.name for column in made)
        for statement in (
            f"CREATE TABLE every_keyless AS SELECT {listed} FROM every_type",
            f"INSERT INTO every_keyless SELECT {listed} FROM every_type WHERE id % 3 = 0",
            *ORDINARY_TABLES,
        ):
            connection.execute(statement.encode())


def _digits(file: Path) -> list[tuple[str, str]]:
    """Where SQLite keeps a number as text, its digits count."""
    query = (
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c "
        "WHERE t.type = 'table' AND c.type LIKE 'NUMERIC\\_TEXT%' ESCAPE '\\'"
    )
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def _each_table() -> Iterator[object]:
    for way in _WAYS:
        for name in _CHINOOK:
            yield pytest.param(way, "chinook", name, marks=needs_shared, id=f"{name} {way}")
        for name in _TYPES:
            yield pytest.param(way, "types", name, id=f"{name} {way}")


@pytest.mark.parametrize(("way", "database", "name"), list(_each_table()))
def test_every_mutation_is_found_and_named(
    pairs: Pairs, way: str, database: str, name: str
) -> None:
    """By their numbers: a way, a table and a number make the same mutation again."""
    pair = pairs(way, database)
    client = pair.client
    table = client.table(name)
    rows = client.rows(table)
    missed = []
    for number in range(_MUTATIONS):
        mutation, expected = mutate(Random(f"{way} {name} {number}"), client, table, rows)
        try:
            outcome = pair.verify(*([] if number % _WHOLE == 0 else [name]))
        finally:
            client.undo()
        if wrong := _wrong(outcome, table, expected):
            missed.append(f"{number}, {mutation.what}: {wrong}")
        if number % _UNDONE == _UNDONE - 1 and (again := pair.verify(name)).status != "verified":
            missed.append(f"{number}, undone: {_listed(again)}")
    assert not missed, "\n".join(missed)
    # As text, where NaN is itself.
    assert str(client.rows(table)) == str(rows)


def _listed(outcome: Outcome) -> str:
    return str([of.differences for of in outcome.tables])


def _wrong(outcome: Outcome, table: Table, expected: list[Expected]) -> str:
    """What is not as it should be; "" where all is."""
    differing = [of for of in outcome.tables if of.verdict != "verified"]
    if outcome.status != "differences" or [of.source for of in differing] != [table.name]:
        return f"{outcome.status}: {[of.source for of in differing]}"
    of = differing[0]
    left = list(expected)
    for found in of.differences:
        one = next((one for one in left if _is(found, one, table)), None)
        if one is None:
            return f"{found} is none of {left}"
        left.remove(one)
    counts = Counter({"changed": len({one.row for one in expected if one.what == "changed"})})
    for one in expected:
        counts[one.what] += one.times if one.what != "changed" else 0
    if of.differing != DifferingRows(counts["changed"], counts["missing"], counts["extra"]):
        return f"{of.differing} is not {counts}"
    if of.search_cut_short or (left and len(of.differences) < MAX_LISTED):
        return f"not named: {left}"
    return ""


def _is(found: Difference, expected: Expected, table: Table) -> bool:
    columns = [table.columns[position] for position in table.key] or table.columns
    values = [shown(column, value) for column, value in zip(columns, expected.row, strict=True)]
    return (
        (found.what, found.column, found.times, found.table)
        == (expected.what, expected.column, expected.times, table.name)
        and (found.what == "changed" or (found.in_source, found.in_target) == expected.stands)
        and [name for name, _ in found.key] == [column.name for column in columns]
        and all(value in (None, there) for value, (_, there) in zip(values, found.key, strict=True))
        and (found.what != "changed" or found.source != found.target)
    )


@pytest.mark.parametrize("database", [pytest.param("chinook", marks=needs_shared), "types"])
@pytest.mark.parametrize("way", _WAYS)
def test_nothing_is_found_where_nothing_changed(pairs: Pairs, way: str, database: str) -> None:
    pair = pairs(way, database)
    names = _CHINOOK if database == "chinook" else _TYPES
    for number in range(_REWRITES):
        random = Random(f"{way} {database} {number}")
        rewritten = []
        for name in random.sample(names, 3):
            table = pair.client.table(name)
            rewritten.append((name, pair.client.rewrite(random, table)))
        outcome = pair.verify(workers=random.choice([1, 2]))
        assert outcome.verified, (rewritten, _listed(outcome))


def test_every_kind_of_mutation_is_drawn() -> None:
    """Of a client that takes everything; what no client ever takes would be drawn in vain."""
    types = ("integer", "double precision", "real", "numeric", "text", "bytea", "boolean")
    moment = "timestamp with time zone"
    columns = tuple(Column(f"c{i}", type_) for i, type_ in enumerate((*types, moment)))
    moments = ("2024-02-29 12:30:00+00", "0044-03-15 00:00:00+00 BC")
    rows: dict[int, Row] = {
        0: (1, 0.5, 0.1, Decimal("1.10"), "Some words", b"a", True, moments[0]),
        1: (2, -1.5, 1e9, Decimal(7), "others", b"", False, moments[1]),
        2: (3, None, None, None, None, None, None, None),
    }
    drawn = set()
    for key in ((), (0,)):
        table = Table("t", columns, key)
        for number in range(1_000):
            mutation, expected = mutate(Random(number), _Memory(rows), table, rows)
            assert expected
            drawn.add(mutation.what)
    assert drawn == {
        *("deleted row", "doubled row", "inserted row", "swapped rows", "changed key"),
        *(f"{what} of {c.name}" for c in columns for what in ("null", "other")),
        *(f"flipped bit of {c.name}" for c in columns if c.type != "numeric"),
        *(f"last digit of c{i}" for i in (0, 1, 2, 3, 7)),
        *(f"storage class of {c.name}" for c in columns if c.type != "numeric"),
        *("any digit of c7", "zone shift of c7", "case of c4", "case of c7"),
        *("whitespace of c4", "whitespace of c7"),
    }


@dataclass(frozen=True, slots=True)
class _Memory:
    """A client of rows in memory."""

    of: dict[int, Row]

    def rows(self, table: Table) -> dict[int, Row]:
        return self.of

    def apply(self, table: Table, mutation: Mutation) -> list[Row]:
        changed = [row for row in mutation.rows.values() if row is not None]
        return [*changed, *mutation.added]

    def undo(self) -> None:
        pass

    def same(self, column: Column, value: Value) -> object:
        return type(value), value
