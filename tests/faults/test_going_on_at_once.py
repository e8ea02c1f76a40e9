"""A run that has lost what holds its target goes on in the same process, and knows where it is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.system.support import sqlite_file, sqlite_rows, sqlite_url

import tableferry
from tableferry import migration
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.errors import DatabaseError, Refused, TableferryError
from tableferry.loading import Loading
from tableferry.running import Clock, started_executor


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "PAUSES", (0.0, 0.0, 0.0))


def test_beside_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has begun is in the file beside it by then."""
    source = sqlite_file(tmp_path / "source.db", "CREATE TABLE t (a); INSERT INTO t VALUES (7);")
    target = sqlite_file(tmp_path / "target.db", "CREATE TABLE o (a); INSERT INTO o VALUES (1);")
    finish = Loading.finish
    lost = [DatabaseError("lost", transient=True)]

    def losing(loading: Loading, *, keeping: bool) -> None:
        if lost:
            raise lost.pop()
        finish(loading, keeping=keeping)

    monkeypatch.setattr(Loading, "finish", losing)

    outcome = tableferry.migrate(sqlite_url(source), sqlite_url(target))

    assert outcome.verified
    assert outcome.retries == 1
    assert sqlite_rows(target, "SELECT o.a, t.a FROM o, t") == [(1, 7)]
    assert not sqlite_rows(target, "SELECT 1 FROM sqlite_schema WHERE name LIKE 'tableferry%'")


def test_an_end_that_was_heard_by_a_server_that_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer to the last commit was lost, and the server is not back at once."""
    met: list[TableferryError] = [
        Refused("starting", transient=True),
        Refused("no unfinished run", nothing=True),
    ]

    def carry(*_: Any) -> None:
        raise met.pop(0)

    monkeypatch.setattr(migration, "_carry", carry)
    ended: Any = object()
    error = DatabaseError("lost", transient=True, begun=True, ended=ended)
    options = migration.MigrationOptions(workers=1)
    started = partial(started_executor, 0, 1, lambda _: None)
    ends: Any = None

    watched = (lambda _: None), Clock()
    assert migration._go_on(ends, started, options, watched, error) is ended


def test_a_file_that_cannot_be_put_in_place_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program reads what is there, for longer than is waited: nothing is to be done anew
    but to put it there."""
    source = sqlite_file(tmp_path / "source.db", "CREATE TABLE t (a); INSERT INTO t VALUES (7);")
    target = sqlite_file(tmp_path / "target.db", "CREATE TABLE o (a); INSERT INTO o VALUES (1);")

    def locked(_: Path) -> None:
        raise DatabaseError("locked", transient=True)

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "open_plain", locked)
        with pytest.raises(DatabaseError) as caught:
            tableferry.migrate(sqlite_url(source), sqlite_url(target))
    assert "--resume" in caught.value.hint
    assert sqlite_rows(target, "SELECT name FROM sqlite_schema") == [("o",)]

    assert tableferry.migrate(sqlite_url(source), sqlite_url(target), resume=True).verified

    assert sqlite_rows(target, "SELECT o.a, t.a FROM o, t") == [(1, 7)]
    assert not sqlite_rows(target, "SELECT 1 FROM sqlite_schema WHERE name LIKE 'tableferry%'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.db", "target.db"]
