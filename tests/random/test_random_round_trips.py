"""Random databases go to the other kind of database and back, and are held against themselves by
sqlite3 and psycopg alone: rows, types, and everything that docs/types.md says of a round trip.

TABLEFERRY_RANDOM_TRIPS sets how many databases are tried, in each direction.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests import servers
from tests.random.random_postgresql import create
from tests.random.tables import RandomTable, random_files, stored, write
from tests.random.values import Text
from tests.servers import Server
from tests.system import postgresql_schemas, sqlite_schemas, trips

import tableferry
from tableferry import report

_DATABASES = int(os.environ.get("TABLEFERRY_RANDOM_TRIPS", "5"))
_RANDOM_FILES = settings(
    max_examples=_DATABASES,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _carried(source: str, target: str) -> dict[str, Any]:
    outcome = tableferry.migrate(source, target, workers=1)
    assert outcome.verified
    return report.of_outcome(outcome)


@pytest.mark.parametrize("seed", range(_DATABASES))
def test_random_databases_of_postgresql_come_back(
    started: Callable[[str], Server], tmp_path: Path, seed: int
) -> None:
    """By their numbers; tests/random/random_postgresql.py makes each again."""
    server = started(servers.EMBEDDED)
    with servers.fresh_database(server) as first, servers.fresh_database(server) as last:
        with first.connect() as connection:
            create(connection, seed)
        middle = f"sqlite:{tmp_path}/middle.db"
        reports = _carried(first.url, middle), _carried(middle, last.url)
        assert trips.postgres_differences(first.url, last.url, *reports) == {}
        assert postgresql_schemas.schema_differences(first.url, last.url, *reports) == {}


@_RANDOM_FILES
@given(tables=random_files())
def test_random_files_of_sqlite_come_back(
    started: Callable[[str], Server],
    tmp_path_factory: pytest.TempPathFactory,
    tables: list[RandomTable],
) -> None:
    folder = tmp_path_factory.mktemp("random")
    source, last = folder / "source.db", folder / "last.db"
    write(source, tables)
    with servers.fresh_database(started(servers.EMBEDDED)) as middle:
        reports = (
            _carried(f"sqlite:{source}", middle.url),
            _carried(middle.url, f"sqlite:{last}"),
        )
    assert trips.sqlite_differences(source, last, *reports) == {}
    assert sqlite_schemas.schema_differences(source, last, *reports) == {}


@_RANDOM_FILES
@given(tables=random_files())
def test_random_files_of_sqlite_are_copied(
    tmp_path_factory: pytest.TempPathFactory, tables: list[RandomTable]
) -> None:
    folder = tmp_path_factory.mktemp("random")
    source, last = folder / "source.db", folder / "last.db"
    write(source, tables)
    outcome = tableferry.migrate(f"sqlite:{source}", f"sqlite:{last}", workers=1)
    if any(_read_otherwise(source, table) for table in tables):
        # Then it has to be noticed.
        assert outcome.status == "differences"
        return
    assert outcome.verified
    there = report.of_outcome(outcome)
    assert trips.sqlite_differences(source, last, there, trips.no_way_back(there)) == {}
    assert sqlite_schemas.copy_differences(source, last, there) == {}


# A number as SQLite reads it ("Numeric Literals"), up to a NUL.
_NUMBER = re.compile(rb"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?\s*\0.*", re.I | re.S)
# Columns that no number is made for ("Datatypes In SQLite", section 3.1).
_AS_IT_IS = re.compile("CHAR|CLOB|TEXT|BLOB|^$", re.I)


def _read_otherwise(path: Path, table: RandomTable) -> bool:
    """Whether a value is one that SQLite 3.53 does not store any more where an older one did: a
    text in a column of numbers, which is a number up to a NUL, becomes that number."""
    numeric = [
        "INT" in column.declared.upper() or not _AS_IT_IS.search(column.declared)
        for column in table.columns
        # STRICT tables keep texts in columns of text and of ANY alone.
        if not table.strict
    ] or [False] * len(table.columns)
    return any(
        is_numeric and isinstance(value, Text) and _NUMBER.fullmatch(value.data)
        for row in stored(path, table)
        for is_numeric, value in zip(numeric, row, strict=True)
    )
