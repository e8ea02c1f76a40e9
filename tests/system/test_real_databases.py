"""Real databases arrive whole, by the word of a comparison that shares no code with us."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import (
    SHARED,
    ferried,
    independent_differences,
    keys,
    needs_shared,
    sqlite_rows,
)

pytestmark = needs_shared


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sample database for one test alone: a migration keeps every other writer, and
    so every other migration, away from its source."""

    def copied(name: str) -> Path:
        return Path(shutil.copyfile(SHARED / f"{name}.sqlite", tmp_path / f"{name}.sqlite"))

    return copied


@pytest.fixture
def twin(server: Server) -> Iterator[Server]:
    """Chinook as its authors wrote it for PostgreSQL."""
    script = (SHARED / "chinook_postgresql.sql").read_text()
    script = re.sub(r"^(DROP DATABASE|CREATE DATABASE|\\c) .*$", "", script, flags=re.MULTILINE)
    # N'…' is of type character, which PostgreSQL strips of the blank in 'Edinburgh '.
    script = re.sub(r"(?:(?<=, )|(?<=\())N'(?!')", "'", script)
    with servers.fresh_database(server) as database:
        database.run(script)
        yield database


@pytest.mark.parametrize("name", ["chinook", "northwind", "elements"])
def test_arrives_whole(database: Server, name: str, sample: Callable[[str], Path]) -> None:
    source = sample(name)
    before = source.read_bytes()

    run = ferried(source, database)

    assert independent_differences(source, database.url) == {}
    assert source.read_bytes() == before
    tables = _tables(source)
    assert sorted(t["source"] for t in run.report["tables"]) == tables
    assert _target_tables(database) == tables
    for table in tables:
        (count,) = sqlite_rows(source, f'SELECT count(*) FROM "{table}"')[0]
        assert run.table(table)["rows"] == {"source": count, "target": count}
        assert database.rows(f'SELECT count(*) FROM "{table}"') == [(count,)]
        assert run.table(table)["verdict"] == "verified"
    assert keys(database, "p") == _sqlite_primary_keys(source)
    assert _not_null(database) == _sqlite_not_null(source)
    assert _foreign_keys(database) == _sqlite_foreign_keys(source)
    assert _plain_indexes(database) == _sqlite_indexes(source)


def test_chinook_equals_its_twin(
    database: Server, twin: Server, sample: Callable[[str], Path]
) -> None:
    ferried(sample("chinook"), database)

    assert independent_differences("--twin", database.url, twin.url) == {}


def test_the_comparison_itself_sees_one_changed_value(
    any_database: Server, sample: Callable[[str], Path]
) -> None:
    source = sample("northwind")
    ferried(source, any_database)
    any_database.run("""UPDATE "Orders" SET "Freight" = "Freight" + 0.01 WHERE "OrderID" = 10248""")

    found = independent_differences(source, any_database.url)

    assert list(found) == ["Orders"]
    assert len(found["Orders"]["missing"]) == len(found["Orders"]["extra"]) == 1


def test_what_cannot_be_carried_is_named(
    any_database: Server, sample: Callable[[str], Path]
) -> None:
    source = sample("northwind")

    run = ferried(source, any_database)

    (invoices,) = run.report["left_behind"]
    assert (invoices["what"], invoices["name"]) == ("view", "Invoices")
    # FirstName + ' ' + LastName is a sum of numbers in SQLite, and always 0 there.
    assert "+" in invoices["reason"]
    assert len(run.report["views"]) == 16


def test_the_next_identity_continues_the_sequence(
    database: Server, sample: Callable[[str], Path]
) -> None:
    ferried(sample("northwind"), database)

    for table, key, filled, value in [
        ("Orders", "OrderID", "ShipName", 11078),
        ("Categories", "CategoryID", "CategoryName", 9),
        ("Regions", "RegionID", "RegionDescription", 5),
    ]:
        insert = f"""INSERT INTO "{table}" ("{filled}") VALUES ('new') RETURNING "{key}" """
        assert database.rows(insert) == [(value,)]


def test_everything_was_analysed(database: Server, sample: Callable[[str], Path]) -> None:
    source = sample("elements")
    ferried(source, database)

    estimated: dict[str, float] = dict(
        database.rows("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'")
    )
    described = {name for (name,) in database.rows("SELECT DISTINCT tablename FROM pg_stats")}
    for table in _tables(source):
        (count,) = sqlite_rows(source, f'SELECT count(*) FROM "{table}"')[0]
        assert estimated[table] == count
        assert table in described


def _tables(source: Path) -> list[str]:
    rows = sqlite_rows(source, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    return sorted(name for (name,) in rows if not name.startswith("sqlite_"))


def _target_tables(target: Server) -> list[str]:
    rows = target.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return sorted(name for (name,) in rows)


def _sqlite_primary_keys(source: Path) -> set[tuple[str, tuple[str, ...]]]:
    found = set()
    for table in _tables(source):
        query = f"SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"
        columns = tuple(name for (name,) in sqlite_rows(source, query))
        if columns:
            found.add((table, columns))
    return found


def _not_null(target: Server) -> set[tuple[str, str]]:
    rows = target.rows(
        "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace "
        "AND a.attnum > 0 AND a.attnotnull"
    )
    return {(table, column) for table, column in rows}


def _sqlite_not_null(source: Path) -> set[tuple[str, str]]:
    """A column of a primary key may hold no NULL either, once it is one in PostgreSQL."""
    return {
        (table, name)
        for table in _tables(source)
        for (name,) in sqlite_rows(
            source, f"""SELECT name FROM pragma_table_info('{table}') WHERE "notnull" OR pk"""
        )
    }


def _foreign_keys(target: Server) -> list[tuple[Any, ...]]:
    """Child, its columns, parent, its columns, ON DELETE, ON UPDATE; all of them proven."""
    columns = (
        "array(SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY u(n, i) JOIN "
        "pg_attribute a ON a.attrelid = k.{owner} AND a.attnum = u.n ORDER BY u.i)"
    )
    rows = target.rows(
        f"SELECT c.relname, {columns.format(key='conkey', owner='conrelid')}, p.relname, "
        f"{columns.format(key='confkey', owner='confrelid')}, k.confdeltype, k.confupdtype "
        "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "JOIN pg_class p ON p.oid = k.confrelid WHERE k.contype = 'f' AND k.convalidated"
    )
    words = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
    return sorted(
        (child, tuple(mine), parent, tuple(theirs), words[_text(delete)], words[_text(update)])
        for child, mine, parent, theirs, delete, update in rows
    )


def _text(value: str | bytes) -> str:
    # PostgreSQL's "char" comes as bytes.
    return value.decode() if isinstance(value, bytes) else value


def _sqlite_foreign_keys(source: Path) -> list[tuple[Any, ...]]:
    """Single columns only, which is all that the sample databases have."""
    found = []
    for table in _tables(source):
        query = f"""SELECT "from", "table", "to", on_delete, on_update
                    FROM pragma_foreign_key_list('{table}')"""
        for column, parent, key, delete, update in sqlite_rows(source, query):
            found.append((table, (column,), parent, (key,), delete, update))
    return sorted(found)


def _plain_indexes(target: Server) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = target.rows(
        "SELECT t.relname, i.relname, array(SELECT a.attname::text FROM pg_attribute a "
        "WHERE a.attrelid = i.oid ORDER BY a.attnum) FROM pg_index x "
        "JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid "
        "WHERE t.relnamespace = 'public'::regnamespace AND NOT EXISTS "
        "(SELECT 1 FROM pg_constraint k WHERE k.conindid = i.oid AND k.contype IN ('p', 'u'))"
    )
    return sorted((table, name, tuple(columns)) for table, name, columns in rows)


def _sqlite_indexes(source: Path) -> list[tuple[str, str, tuple[str, ...]]]:
    query = "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    return sorted(
        (
            table,
            name,
            tuple(
                c for (c,) in sqlite_rows(source, f"SELECT name FROM pragma_index_info('{name}')")
            ),
        )
        for table, name in sqlite_rows(source, query)
    )
