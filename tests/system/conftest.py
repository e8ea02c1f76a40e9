"""Databases that several modules of whole runs start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.applications import Owned, for_an_ordinary_role
from tests.system.support import copy_of, ferried, sqlite_file

_LARGE = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents, pad TEXT);
CREATE TABLE others (id INTEGER PRIMARY KEY, child INTEGER REFERENCES children, v INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
    INSERT INTO parents SELECT i, 'parent ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
    INSERT INTO children SELECT i, 1 + i % 30000, printf('%-100s', i) FROM n;
INSERT INTO others VALUES (1, 2, 3);
"""


@pytest.fixture
def owned(any_database: Server) -> Iterator[Owned]:
    with for_an_ordinary_role(any_database) as target:
        yield target


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for worker processes, and for a run that can be caught in its middle."""
    return sqlite_file(tmp_path_factory.mktemp("large") / "large.db", _LARGE)


@pytest.fixture(scope="module")
def once_migrated(started: Callable[[str], Server], source: Path) -> Iterator[Server]:
    """The module's ``source`` on one server; a module may have it elsewhere."""
    with servers.fresh_database(started(servers.EMBEDDED)) as template:
        ferried(source, template)
        yield template


@pytest.fixture
def migrated(once_migrated: Server) -> Iterator[Server]:
    """The migrated source, to be changed by the test."""
    with copy_of(once_migrated) as database:
        yield database
