"""--resume: an unfinished run goes on from where it was, and ends as if nothing had happened.

Runs are killed, the coordinator alone, at moments that the ledger makes sure of.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.applications import Owned, definitions
from tests.system.support import (
    Run,
    ferried,
    ferry,
    independent_differences,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    with_report,
)
from tests.system.test_abort import APPLICATION, begun, count, keyed, kill, part_arrived
from tests.system.test_to_sqlite import kill as kill_into_file

MANY = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL REFERENCES parents, pad TEXT,
    small SMALLINT CHECK (small >= 0)
);
CREATE INDEX by_parent ON children (parent);
CREATE TABLE odd (id INTEGER PRIMARY KEY, v SMALLINT);
CREATE TABLE keyless (a TEXT, b REAL);
CREATE TABLE named (name TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;
CREATE VIEW families AS SELECT p.name, c.id FROM parents p JOIN children c ON c.parent = p.id;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
    INSERT INTO parents SELECT i, 'parent ' || i FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
    INSERT INTO children SELECT i, 1 + i % 30000, printf('%-100s', i), i % 100 FROM n;
INSERT INTO odd SELECT id, CASE WHEN id = 20000 THEN 1000000 ELSE id % 99 END FROM parents;
INSERT INTO keyless SELECT name, id / 8.0 FROM parents;
INSERT INTO keyless SELECT name, id / 8.0 FROM parents WHERE id < 10;
INSERT INTO named SELECT name, id FROM parents;
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("many") / "many.db", MANY)


def indexed(target: Server) -> bool:
    return begun(target) and count(target, "pg_class", "relname = 'by_parent'") > 0


def child_arrived(target: Server) -> bool:
    arrived = "digest IS NOT NULL AND table_name = 'children'"
    return count(target, "tableferry_ranges", arrived) > 0


def resumed(source: Path, target: Server, *flags: str) -> Run:
    run = ferried(source, target, "--resume", *flags)
    left = target.rows("SELECT relname FROM pg_class WHERE relname LIKE 'tableferry%'")
    assert left == []
    assert not independent_differences(source, target.url)
    return run


@pytest.mark.parametrize("moment", [part_arrived, indexed])
def test_a_killed_run_goes_on(
    any_database: Server, many: Path, moment: Callable[[Server], bool]
) -> None:
    kill(many, any_database, moment, "--workers", "2")
    refused = ferry(many, any_database)
    assert refused.code == 3
    assert "--resume" in refused.err
    assert "--abort" in refused.err

    run = resumed(many, any_database, "--workers", "2")

    assert "Going on with the run of" in run.err
    with servers.fresh_database(any_database) as other:
        ferried(many, other)
        assert definitions(any_database) == definitions(other)


def test_killed_again_and_again(any_database: Server, many: Path) -> None:
    kill(many, any_database, part_arrived, "--workers", "2")
    for moment in (part_arrived, keyed):
        kill(many, any_database, moment, "--workers", "2", "--resume")
    resumed(many, any_database)


def test_an_application_s_tables(owned: Owned, large: Path) -> None:
    owned.run(APPLICATION)
    before = definitions(owned)
    kill(large, owned, part_arrived, "--workers", "2")

    ferried(large, owned, "--resume")

    assert definitions(owned) == before
    assert owned.rows("SELECT count(*), max(id) FROM children") == [(150_000, 150_000)]


def test_a_foreign_key_that_has_come_from_outside(owned: Owned, large: Path) -> None:
    """It would be in the way, and nobody would put it back."""
    owned.run(APPLICATION)
    kill(large, owned, part_arrived, "--workers", "2")
    owned.run("CREATE TABLE outside (child integer CONSTRAINT mine REFERENCES children)")

    refused = ferry(large, owned, "--resume")

    assert refused.code == 3, refused.err
    assert "outside.mine" in refused.err
    assert count(owned, "pg_constraint", "conname = 'mine'") == 1
    owned.run("DROP TABLE outside")
    ferried(large, owned, "--resume")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE children SET pad = 'other' WHERE id = 5",
        "INSERT INTO children SELECT id + 1000000, parent, pad, small FROM children",
        "DELETE FROM keyless WHERE rowid < 10",
        "ALTER TABLE odd ADD COLUMN more TEXT DEFAULT 'x'",
        "DROP VIEW families; DROP TABLE children; CREATE TABLE more AS SELECT * FROM named",
    ],
)
def test_a_source_that_moved_on(
    any_database: Server, many: Path, tmp_path: Path, change: str
) -> None:
    source = tmp_path / "source.db"
    shutil.copy(many, source)
    kill(source, any_database, keyed, "--workers", "2")
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(change)

    resumed(source, any_database)


def test_what_changed_alone_is_copied_again(
    any_database: Server, many: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source.db"
    shutil.copy(many, source)
    more = "INSERT INTO children SELECT id + {0}, parent, pad, small FROM children;"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(more.format(120_000) + more.format(240_000))
    kill(source, any_database, child_arrived, "--workers", "2")
    ((first, arrived),) = any_database.rows(
        "SELECT min(lower_bound), count(*) FROM tableferry_ranges "
        "WHERE table_name = 'children' AND digest IS NOT NULL"
    )
    assert arrived
    key = (first or 0) + 7
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            f"UPDATE children SET pad = 'other' WHERE id = {key};"
            f"DELETE FROM children WHERE id = {key + 1};"
        )

    run = resumed(source, any_database)

    assert "children: what has changed since it had arrived is copied again" in run.err
    assert "children begins anew" not in run.err


def test_another_run(any_database: Server, many: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    shutil.copy(many, other)
    kill(many, any_database, part_arrived, "--workers", "2")

    for source, flags, words in (
        (many, ("--misfit", "stop"), "--misfit was widen and is stop"),
        (many, ("--tables", "odd"), "--tables was not given and is odd"),
        (other, (), "the source was"),
    ):
        run = ferry(source, any_database, "--resume", *flags)
        assert run.code == 3
        assert words in run.err
        assert "--abort" in run.err
    resumed(many, any_database)


def test_nothing_to_go_on_with(any_database: Server, many: Path) -> None:
    run = ferry(many, any_database, "--resume")

    assert run.code == 3
    assert "no unfinished run" in run.err
    assert any_database.rows("SELECT relname FROM pg_class WHERE relname = 'odd'") == []


# ---- into a SQLite file --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(started: Callable[[str], Server]) -> Iterator[Server]:
    with servers.fresh_database(started(servers.EMBEDDED)) as database:
        database.run(
            "CREATE TABLE big (id int PRIMARY KEY, pad text NOT NULL, v float8)",
            "CREATE TABLE little (big int REFERENCES big)",
            "CREATE VIEW both_of AS SELECT b.id FROM big b JOIN little l ON l.big = b.id",
            "INSERT INTO big SELECT i, repeat(md5(i::text), 30), i / 8.0 "
            "FROM generate_series(1, 60000) i",
            "INSERT INTO little SELECT i FROM generate_series(1, 1000) i",
        )
        yield database


@pytest.mark.parametrize("exists", [True, False])
def test_into_a_file(filled: Server, tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "target.db"
    if exists:
        sqlite_file(target, "CREATE TABLE other (a); INSERT INTO other VALUES (1);")
    before = target.read_bytes() if exists else b""
    kill_into_file(filled, target)
    assert (target.read_bytes() if target.exists() else b"") == before

    run = bring(filled, target, "--resume")

    assert run.code == 0, run.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target.db"]
    tables = {name for (name,) in sqlite_rows(target, "SELECT name FROM sqlite_schema")}
    assert not [name for name in tables if name.startswith("tableferry")]
    if exists:
        assert sqlite_rows(target, "SELECT a FROM other") == [(1,)]
    query = "SELECT count(*), sum(id), count(DISTINCT pad) FROM big"
    assert sqlite_rows(target, query) == [(60_000, 1_800_030_000, 60_000)]


def test_into_a_file_that_was_written_meanwhile(filled: Server, tmp_path: Path) -> None:
    target = sqlite_file(tmp_path / "target.db", "CREATE TABLE other (a);")
    kill_into_file(filled, target)
    sqlite_file(target, "INSERT INTO other VALUES (1);")

    run = bring(filled, target, "--resume")

    assert run.code == 3
    assert "somebody else" in run.err
    assert sqlite_rows(target, "SELECT a FROM other") == [(1,)]


@pytest.mark.parametrize("torn", [False, True])
def test_into_a_file_after_the_machine_went_down(
    filled: Server, tmp_path: Path, torn: bool
) -> None:
    """Nothing of the file was waited for to be on the disk."""
    target = tmp_path / "target.db"
    kill_into_file(filled, target)
    staged = tmp_path / "target.db.tableferry"
    with closing(sqlite3.connect(staged)) as connection:
        connection.execute("UPDATE tableferry_run SET value = 'another' WHERE name = 'boot'")
        connection.commit()
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'tableferry_ranges'"
        ((page,),) = connection.execute(query)
        ((size,),) = connection.execute("PRAGMA page_size")
    if torn:
        with staged.open("r+b") as file:
            file.seek((page - 1) * size + 3)
            file.write(b"\x00\xff\xff\xff")

    run = bring(filled, target, "--resume")

    if torn:
        assert run.code == 3, run.err
        assert "torn" in run.err
        assert "--abort" in run.err
        assert not target.exists()
    else:
        assert run.code == 0, run.err


def bring(source: Server, target: Path, *flags: str) -> Run:
    return with_report(
        *("--from", source.url_without_password, "--to", sqlite_url(target)),
        *flags,
        env=password(source),
    )
