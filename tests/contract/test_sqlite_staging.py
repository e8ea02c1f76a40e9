"""The file beside a SQLite target: whose it is, and when it takes the target's place."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.system.sqlite_files import asked, require_ordinary

from tableferry.addresses import SqliteFile
from tableferry.dialects.base import RUN_TABLE, Endpoint
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.staging import StagedFile, staged_path
from tableferry.errors import DatabaseError, Refused, SourceChanged

RUN = f"CREATE TABLE {RUN_TABLE} (a)"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.db"


def stage(target: Path) -> StagedFile:
    return StagedFile(Endpoint(SqliteFile(target)))


def written(staged: StagedFile, *statements: str) -> None:
    with closing(staged.open()) as session:
        session.execute(*statements)
        session.commit()


def names(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()}


def test_what_is_written_takes_the_targets_place_when_published(target: Path) -> None:
    asked(target, "CREATE TABLE old (a)", "INSERT INTO old VALUES (1)")
    before = target.read_bytes()
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
        assert target.read_bytes() == before
        staged.publish()
    assert asked(target, "SELECT name FROM sqlite_schema ORDER BY 1") == [("new",), ("old",)]
    require_ordinary(target)


def test_what_was_not_published_goes_unless_it_is_a_run(target: Path) -> None:
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
    assert names(target) == set()
    with stage(target) as staged:
        assert not staged.unfinished
        written(staged, RUN)
    assert names(target) == {"target.db.tableferry", "target.db.tableferry-journal"}
    with stage(target) as staged:
        assert staged.unfinished
        staged.discard()
        assert not staged.unfinished
    assert names(target) == set()


def test_one_run_at_a_time(target: Path) -> None:
    with stage(target) as first:
        written(first, RUN)
        with pytest.raises(Refused, match="Another run"), stage(target):
            pass
        assert names(target) == {"target.db.tableferry", "target.db.tableferry-journal"}
    with stage(target) as second:
        assert second.unfinished


def test_a_file_that_was_taken_away_while_it_was_being_locked(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends unlinks its file between another's open and lock."""
    import fcntl

    flock = fcntl.flock
    taken: list[int] = []

    def late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.append(staged_path(target).stat().st_ino)
            staged_path(target).unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with stage(target) as staged:
        monkeypatch.undo()
        assert taken
        with pytest.raises(Refused, match="Another run"), stage(target):
            pass
        written(staged, "CREATE TABLE new (a)")
        staged.publish()
    assert asked(target, "SELECT name FROM sqlite_schema") == [("new",)]


def test_a_worker_of_a_run_that_was_killed_writes_into_nothing(target: Path) -> None:
    with stage(target) as staged:
        written(staged, RUN, "CREATE TABLE t (a)")
    straggler = sqlite.open_writer(staged_path(target))
    sqlite.run(straggler, "BEGIN IMMEDIATE")
    sqlite.run(straggler, "INSERT INTO t VALUES (1)")
    with stage(target) as staged:
        staged.discard()
        written(staged, "CREATE TABLE t (b)")
        # SQLite may notice that its file has no name any more, or not.
        with suppress(DatabaseError), sqlite.errors(target):
            sqlite.run(straggler, "COMMIT")
        straggler.close()
        written(staged, "INSERT INTO t VALUES (2)")
        staged.publish()
    assert asked(target, "SELECT b FROM t") == [(2,)]
    require_ordinary(target)


@pytest.mark.parametrize("groups", [[], [0, 54321]])
def test_anothers_file_is_refused(
    target: Path, monkeypatch: pytest.MonkeyPatch, groups: list[int]
) -> None:
    asked(target, "CREATE TABLE old (a)")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    monkeypatch.setattr(os, "getgroups", lambda: groups)
    with pytest.raises(Refused, match="another user's"), stage(target):
        pass
    assert names(target) == {"target.db"}


def test_a_group_that_the_user_is_of_will_do(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(target, "CREATE TABLE old (a)")
    status = target.stat()
    monkeypatch.setattr(os, "geteuid", lambda: status.st_uid or 0)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    monkeypatch.setattr(os, "getgroups", lambda: [status.st_gid])
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
        staged.publish()
    assert (target.stat().st_uid, target.stat().st_gid) == (status.st_uid, status.st_gid)


def test_a_target_that_was_written_meanwhile_is_not_replaced(target: Path) -> None:
    """Whoever does not ask for locks gets past them: the change is noticed all the same."""
    asked(target, "CREATE TABLE old (a)")
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
        staged._hold.__exit__(None, None, None)
        with closing(sqlite.open_plain(target)) as other:
            sqlite.run(other, "INSERT INTO old VALUES ('late')")
        with pytest.raises(SourceChanged):
            staged.publish()
    assert asked(target, "SELECT * FROM old") == [("late",)]
    assert names(target) == {"target.db"}


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_target_that_another_has_open_at_the_end_is_not_replaced(target: Path, mode: str) -> None:
    asked(target, f"PRAGMA journal_mode = {mode}", "CREATE TABLE old (a)")
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
        reader = sqlite.open_plain(target)
        sqlite.run(reader, "PRAGMA busy_timeout = 0")
        sqlite.run(reader, "BEGIN")
        sqlite.run(reader, "SELECT * FROM old")
        with pytest.raises(DatabaseError, match="locked"):
            staged.publish()
        reader.close()
    assert asked(target, "SELECT name FROM sqlite_schema") == [("old",)]


def test_settings_of_an_application_without_tables_are_kept(target: Path) -> None:
    asked(target, "PRAGMA user_version = 7", "CREATE TABLE gone (a)", "DROP TABLE gone")
    with stage(target) as staged:
        written(staged, "CREATE TABLE new (a)")
        staged.publish()
    assert asked(target, "PRAGMA user_version") == [(7,)]
