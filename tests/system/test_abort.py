"""--abort: an unfinished run is given up, and the target is as if it had never begun, without rows.

Runs are killed, the coordinator alone, at moments that the ledger or a lock make sure of.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.applications import (
    Owned,
    chinook,
    contents,
    definitions,
    keeping_definitions,
)
from tests.system.support import (
    SHARED,
    Run,
    catalog,
    children,
    command,
    end,
    ends,
    ferried,
    ferry,
    independent_differences,
    is_alive,
    needs_shared,
    password,
    sessions,
    sqlite_file,
    start,
    wait_until,
)

APPLICATION = """
CREATE TABLE parents (id integer PRIMARY KEY, name varchar(40) UNIQUE);
CREATE TABLE children (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parent integer NOT NULL CONSTRAINT of_parent REFERENCES parents ON DELETE CASCADE DEFERRABLE,
    pad text
);
CREATE TABLE others (id serial PRIMARY KEY, child integer REFERENCES children, v smallint);
ALTER TABLE others ADD CONSTRAINT old FOREIGN KEY (v) REFERENCES parents NOT VALID;
COMMENT ON CONSTRAINT of_parent ON children IS 'a child''s';
CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'trigger % fires', TG_NAME; END $$;
CREATE TRIGGER usual BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION refuses();
CREATE TRIGGER always AFTER INSERT ON children FOR EACH ROW EXECUTE FUNCTION refuses();
ALTER TABLE children ENABLE ALWAYS TRIGGER always;
"""


def count(target: Server, table: str, condition: str = "true") -> int:
    """How many rows there are; none where the table is not."""
    if target.rows(f"SELECT to_regclass('{table}')") == [(None,)]:
        return 0
    return int(target.rows(f"SELECT count(*) FROM {table} WHERE {condition}")[0][0])


def begun(target: Server) -> bool:
    return count(target, "tableferry_run") > 0


def part_arrived(target: Server) -> bool:
    return count(target, "tableferry_ranges", "digest IS NOT NULL") > 0


def keyed(target: Server) -> bool:
    """Whether the run has given a table its key."""
    return begun(target) and count(target, "pg_class", "relname = 'children_pkey'") > 0


def kill(source: Path, target: Server, when: Callable[[Server], bool], *flags: str) -> None:
    """Starts a run, kills its coordinator, and waits until nothing is left of it."""
    process = start("database", *ends(source, target), *flags, env=password(target))
    try:
        wait_until(lambda: process.poll() is not None or when(target), 30, "the moment")
        assert process.poll() is None, process.communicate()
        below = children(process.pid)
        process.kill()
    finally:
        end(process)
    wait_until(lambda: not any(map(is_alive, below)), 10, f"no {below}")
    wait_until(lambda: sessions(target) == 0, 10, "no sessions on the server")


def abort(source: Path, target: Server) -> Run:
    run = command("database", "--abort", *ends(source, target), env=password(target))
    assert "Traceback" not in run.err
    assert run.out == ""
    return run


def test_killed_in_the_middle(owned: Owned, large: Path) -> None:
    """Before the first row, and when a part of them has arrived."""
    owned.run(APPLICATION)
    empty = contents(owned)

    with keeping_definitions(owned):
        for moment in (begun, part_arrived):
            kill(large, owned, moment, "--workers", "2")
            run = abort(large, owned)
            assert run.code == 0, run.err
            assert "3 tables of the application emptied" in run.err
            assert contents(owned) == empty
        again = abort(large, owned)
        assert (again.code, "no unfinished run" in again.err) == (3, True)
        ferried(large, owned)

    assert count(owned, "children", "pad = rpad(id::text, 100)") == 150_000
    assert ferry(large, owned, "--verify").code == 0


def test_a_new_run_instead(owned: Owned, large: Path) -> None:
    """It puts back what was set aside, and sets it aside itself."""
    owned.run(APPLICATION)
    before = definitions(owned)
    kill(large, owned, part_arrived, "--workers", "2")

    refused = ferry(large, owned)
    assert (refused.code, "--abort" in refused.err) == (3, True), refused.err
    run = ferried(large, owned, "--drop-all")

    assert run.report["violations"] == []
    assert definitions(owned) == before
    assert count(owned, "children") == 150_000


@pytest.mark.parametrize("moment", [begun, keyed])
def test_tables_of_the_run_itself(
    owned: Owned, large: Path, moment: Callable[[Server], bool]
) -> None:
    """They go, and what else there is stays."""
    owned.run("CREATE TABLE own AS SELECT 1 AS x")
    before = catalog(owned)

    kill(large, owned, moment, "--workers", "2")
    run = abort(large, owned)

    assert run.code == 0, run.err
    assert "3 tables dropped" in run.err
    assert catalog(owned) == before
    if moment is begun:
        ferried(large, owned)
        assert independent_differences(large, owned.url) == {}


@needs_shared
def test_chinook(owned: Owned, tmp_path: Path) -> None:
    structure, rows = chinook()
    owned.run(structure + rows)
    source = Path(shutil.copyfile(SHARED / "chinook.sqlite", tmp_path / "chinook.sqlite"))

    with keeping_definitions(owned):
        kill(source, owned, begun, "--drop-all")
        run = abort(source, owned)
        assert run.code == 0, run.err
        assert not any(contents(owned).values())
        ferried(source, owned)


@pytest.mark.parametrize("table", ["made", "adopted"])
def test_a_run_that_failed_by_itself(owned: Owned, tmp_path: Path, table: str) -> None:
    """One of its two tables was there before."""
    owned.run(
        "CREATE TABLE adopted (id integer PRIMARY KEY, v smallint, of integer REFERENCES adopted);"
        "INSERT INTO adopted VALUES (9, 9, 9);"
    )
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE made (id INTEGER PRIMARY KEY, v INTEGER);"
        "CREATE TABLE adopted (id INTEGER PRIMARY KEY, v INTEGER, of INTEGER REFERENCES adopted);"
        f"INSERT INTO made VALUES (1, 1); INSERT INTO {table} (id, v) VALUES (2, 'two');",
    )
    before = definitions(owned)

    failed = ferry(source, owned, "--drop-all", "--misfit", "stop")
    assert (failed.code, "--abort" in failed.err) == (4, True), failed.err
    assert "'two' at id = 2" in failed.err
    assert abort(source, owned).code == 0

    assert definitions(owned) == before
    assert contents(owned) == {"adopted": []}
    sqlite_file(source, f"DELETE FROM {table} WHERE id = 2")
    ferried(source, owned)


def test_a_table_that_stays_for_the_sake_of_another(owned: Owned, tmp_path: Path) -> None:
    """It is just what the plan would create, and a foreign key that was set aside refers to it."""
    owned.run(
        "CREATE TABLE parents (id bigint PRIMARY KEY);"
        "CREATE TABLE children (id integer PRIMARY KEY, parent bigint REFERENCES parents);"
    )
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents);"
        "CREATE TABLE other (v INTEGER); INSERT INTO other VALUES ('x');"
        "INSERT INTO parents VALUES (1); INSERT INTO children VALUES (2, 1);",
    )
    before = definitions(owned)
    assert ferry(source, owned, "--misfit", "stop").code == 4

    ferried(source, owned, "--drop-all", "--exclude", "other")

    assert definitions(owned) == before
    assert contents(owned) == {"children": [("(2,1)",)], "parents": [("(1)",)]}


def test_nothing_to_give_up(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE own AS SELECT 1 AS x")
    source = sqlite_file(tmp_path / "source.db", "CREATE TABLE t (x TEXT)")
    before = catalog(owned)

    run = abort(source, owned)

    assert run.code == 3
    assert len(run.err.splitlines()) == 1
    assert "no unfinished run" in run.err
    assert catalog(owned) == before


def test_a_run_under_way_is_not_given_up(owned: Owned, large: Path) -> None:
    process = start("database", "--workers", "2", *ends(large, owned), env=password(owned))
    try:
        wait_until(lambda: begun(owned), 30, "a run")
        run = abort(large, owned)
        _, err = process.communicate(timeout=60)
    finally:
        end(process)

    assert (run.code, "Another run" in run.err) == (3, True), run.err
    assert process.returncode == 0, err
