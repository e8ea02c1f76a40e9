"""``--verify --repair``: rows that differ are written anew, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.applications import Owned, keeping_definitions
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    catalog,
    copy_of,
    ferried,
    ferry,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    with_report,
)
from tests.system.test_verify import SCRIPT

from tableferry import repair, repairing, searching, verify
from tableferry.outcomes import Repair


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("repair") / "source.db", SCRIPT)


def test_rows_of_every_type(migrated: Server, source: Path) -> None:
    unchanged = 'SELECT ctid::text, xmin::text, * FROM kinds WHERE "Key" NOT IN (7, 8, 9, 10, 11)'
    before = migrated.rows(unchanged)
    migrated.run(
        """UPDATE kinds SET "Whole" = 1, yes = NOT yes, ratio = 0, price = 1, amount = 2,
            code = '', words = NULL, picture = '', day = NULL, moment = 'infinity',
            zoned = '2001-01-01', hour = '00:00' WHERE "Key" IN (7, 8)""",
        "UPDATE kinds SET words = 'x' WHERE \"Key\" = 9",
        'DELETE FROM kinds WHERE "Key" IN (10, 11)',
        'INSERT INTO kinds ("Key") VALUES (-5), (9999)',
    )
    run = ferry(source, migrated, "--verify", "--repair")

    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    assert run.report["command"] == "repair"
    assert run.table("kinds")["repair"] == {
        "changed": 3,
        "inserted": 2,
        "deleted": 2,
        "left": 0,
        "reasons": [],
    }
    assert "kinds: 7 rows repaired (3 changed, 2 inserted, 2 deleted)" in run.err
    assert migrated.rows(unchanged) == before
    ferried(source, migrated, "--verify")


def repaired(run: Run, table: str) -> tuple[int, int, int]:
    """Rows changed, inserted and deleted in a table that came to be the same."""
    assert run.code == 0, run.err
    found = run.table(table)["repair"]
    assert (found["left"], found["reasons"]) == (0, [])
    return found["changed"], found["inserted"], found["deleted"]


def test_keys_of_texts_and_no_key_at_all(migrated: Server, source: Path) -> None:
    before = migrated.rows("SELECT ctid::text, xmin::text, t FROM pairs t WHERE a <> '7'")
    migrated.run(
        "UPDATE pairs SET note = 'x' WHERE a = '7'",
        "UPDATE pairs SET b = 'not so' WHERE a = '8' AND b = '8'",
        # 3 of each stand in the source.
        "DELETE FROM keyless WHERE name = 'name 5'",
        "INSERT INTO keyless SELECT 'name 6', 6 FROM generate_series(1, 4)",
        "UPDATE keyless SET size = 0 WHERE name IN ('', 'once')",
    )
    run = ferry(source, migrated, "--verify", "--repair")

    assert repaired(run, "pairs") == (60, 1, 1)
    assert repaired(run, "keyless") == (0, 5, 6)
    assert run.table("kinds")["repair"] is None
    after = migrated.rows("SELECT ctid::text, xmin::text, t FROM pairs t WHERE a <> '7'")
    assert len(set(before) - set(after)) == 1
    assert migrated.rows("SELECT count(*), sum(size) FROM keyless") == [
        sqlite_rows(source, "SELECT count(*), sum(size) FROM keyless")[0]
    ]
    ferried(source, migrated, "--verify")


def test_nothing_to_repair_writes_nothing(migrated: Server, source: Path) -> None:
    before = migrated.rows("SELECT xmin::text, ctid::text FROM kinds"), catalog(migrated)
    run = ferry(source, migrated, "--verify", "--repair")

    assert run.code == 0, run.err
    assert [table["repair"] for table in run.report["tables"]] == [None] * 4
    assert (migrated.rows("SELECT xmin::text, ctid::text FROM kinds"), catalog(migrated)) == before


def test_only_tables_that_are_chosen(migrated: Server, source: Path) -> None:
    migrated.run("DELETE FROM pairs", "DELETE FROM keyless")
    run = ferry(source, migrated, "--verify", "--repair", "--tables", "keyless")

    assert repaired(run, "keyless") == (0, 3002, 0)
    assert migrated.rows("SELECT count(*) FROM pairs") == [(0,)]


# --- large tables, several transactions

_ROWS = 60_000
_LARGE = f"""
CREATE TABLE numbered (id INTEGER PRIMARY KEY, pad TEXT);
CREATE TABLE named (name TEXT PRIMARY KEY, pad TEXT);
CREATE TABLE keyless (n INTEGER, pad TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_ROWS})
    INSERT INTO numbered SELECT i, printf('%-200s', i) FROM n;
INSERT INTO named SELECT 'name ' || id, pad FROM numbered WHERE id <= 5000;
INSERT INTO keyless SELECT id % 400, '' FROM numbered WHERE id <= 4000;
"""


@pytest.fixture(scope="module")
def large_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("large") / "source.db", _LARGE)


@pytest.fixture(scope="module")
def large_migrated(started: Callable[[str], Server], large_source: Path) -> Iterator[Server]:
    with servers.fresh_database(started(servers.EMBEDDED)) as template:
        ferried(large_source, template)
        yield template


_WORSE = (
    "UPDATE numbered SET pad = 'x' WHERE id % 100 = 0",
    "DELETE FROM numbered WHERE id BETWEEN 31000 AND 31999",
    "INSERT INTO numbered SELECT i, '' FROM generate_series(-900, 0) AS i",
    "UPDATE named SET pad = 'x' WHERE name LIKE '%7'",
    "DELETE FROM named WHERE name LIKE '%8'",
    "INSERT INTO named SELECT 'more ' || i, '' FROM generate_series(1, 700) AS i",
    "DELETE FROM keyless WHERE n = 7",
    "INSERT INTO keyless SELECT 8, '' FROM generate_series(1, 500)",
)


@pytest.mark.parametrize(("rows", "looked_at"), [(50_000, 100_000), (150, 1_000), (7, 100_000)])
def test_many_rows_in_transactions_of_bounded_size(
    large_migrated: Server,
    large_source: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    looked_at: int,
) -> None:
    monkeypatch.setattr(repairing, "_ROWS", rows)
    monkeypatch.setattr(repairing, "_LOOKED_AT", looked_at)
    monkeypatch.setattr(repairing, "_LOOKED_AT_BY_KEY", looked_at)
    tables = ["numbered", "named", "keyless"] if rows > 7 else ["named", "keyless"]
    with copy_of(large_migrated) as target:
        target.run(*_WORSE)
        if rows == 7:
            target.run("DELETE FROM named WHERE name LIKE '%77'")
        monkeypatch.setenv(PASSWORD_VARIABLE, password(target)[PASSWORD_VARIABLE])
        ends = sqlite_url(large_source), target.url_without_password
        outcome = repair(*ends, tables=tables, workers=1)

        assert outcome.verified, outcome
        done = {table.source: table.repair for table in outcome.tables}
        if rows > 7:
            assert done["numbered"] == Repair(changed=590, inserted=1_000, deleted=901)
            assert done["named"] == Repair(changed=500, inserted=500, deleted=700)
        assert done["keyless"] == Repair(inserted=10, deleted=500)
        # Each transaction has a number, which the rows that it wrote bear.
        written = target.rows(
            "SELECT count(*), count(DISTINCT xmin::text) FROM named "
            "WHERE name LIKE '%7' OR name LIKE '%8'"
        )
        assert written[0][1] >= written[0][0] / rows
        assert verify(*ends, tables=tables, workers=1).verified


def test_an_index_that_brings_other_rows_is_not_believed(
    large_migrated: Server, large_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "spread_ends", lambda *_: (0, 10))
    with copy_of(large_migrated) as target:
        target.run("UPDATE numbered SET pad = 'x' WHERE id IN (31234, 51235)")
        monkeypatch.setenv(PASSWORD_VARIABLE, password(target)[PASSWORD_VARIABLE])
        outcome = repair(
            sqlite_url(large_source), target.url_without_password, tables=["numbered"], workers=1
        )

        assert outcome.tables[0].repair == Repair(changed=2)
        assert outcome.verified


# --- rules of the target

_RULED = """
CREATE TABLE child (id integer PRIMARY KEY, parent integer, note text);
CREATE TABLE parent (id integer PRIMARY KEY, boss integer REFERENCES parent, code text UNIQUE,
    name text NOT NULL UNIQUE);
ALTER TABLE child ADD CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE;
CREATE TABLE alone (id integer PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE counted (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text,
    twice text GENERATED ALWAYS AS (word || word) STORED);
INSERT INTO parent SELECT i, nullif(i / 2, 0), 'c' || i, 'n' || i FROM generate_series(1, 50) AS i;
INSERT INTO child SELECT i, 1 + i % 50, 'x' FROM generate_series(1, 200) AS i;
INSERT INTO alone SELECT i, 'n' || i FROM generate_series(1, 50) AS i;
INSERT INTO counted (word) SELECT 'w' || i FROM generate_series(1, 20) AS i;
"""


@pytest.fixture
def two(started: Callable[[str], Server]) -> Iterator[tuple[Server, Server]]:
    """A database twice: a source, and a target to be made worse."""
    server = started(servers.EMBEDDED)
    with servers.fresh_database(server) as source, servers.fresh_database(server) as target:
        for each in (source, target):
            each.run(_RULED)
        yield source, target


def from_one_to(ends: tuple[Server, Server], *flags: str) -> Run:
    source, target = ends
    urls = ("--from", source.url_without_password, "--to", target.url_without_password)
    return with_report(*urls, "--verify", *flags, env=password(target))


def test_parents_and_children(two: tuple[Server, Server]) -> None:
    """Parents come before their children, and go after them, in two tables and in one."""
    _, target = two
    target.run(
        "INSERT INTO parent VALUES (900, 900, 'c900', 'n900'), (901, 900, 'c901', 'n901')",
        "INSERT INTO child VALUES (901, 900, ''), (902, 901, '')",
        "UPDATE child SET parent = 901 WHERE id = 5",
        "DELETE FROM child WHERE parent = 50",
        "DELETE FROM parent WHERE id = 50",
        "ALTER TABLE parent DISABLE TRIGGER ALL",
        "DELETE FROM parent WHERE id IN (20, 40)",
        "ALTER TABLE parent ENABLE TRIGGER ALL",
        "UPDATE child SET note = 'y' WHERE id = 77",
    )
    run = from_one_to(two, "--repair")

    assert repaired(run, "parent") == (0, 3, 2)
    assert repaired(run, "child") == (2, 4, 2)
    assert from_one_to(two).code == 0


def test_values_that_change_places(two: tuple[Server, Server]) -> None:
    """Under a unique constraint: by NULL in between, or where nothing refers to the rows, anew."""
    _, target = two
    target.run(
        "UPDATE parent SET code = 'c0' WHERE id = 1",
        "UPDATE parent SET code = 'c1' WHERE id = 2",
        "UPDATE parent SET code = 'c2' WHERE id = 1",
        "UPDATE alone SET name = 'n0' WHERE id = 1",
        "UPDATE alone SET name = 'n1' WHERE id = 2",
        "UPDATE alone SET name = 'n2' WHERE id = 1",
        # A row that is gone has its name taken by one that is too many.
        "DELETE FROM alone WHERE id = 30",
        "INSERT INTO alone VALUES (70, 'n30')",
    )
    run = from_one_to(two, "--repair")

    assert repaired(run, "parent") == (2, 0, 0)
    assert repaired(run, "alone") == (2, 1, 1)
    assert from_one_to(two).code == 0


def test_places_that_cannot_be_changed_are_named(two: tuple[Server, Server]) -> None:
    """Rows that others refer to, whose names may not be NULL for a moment; the rest is repaired."""
    _, target = two
    target.run(
        "UPDATE parent SET name = 'n0' WHERE id = 1",
        "UPDATE parent SET name = 'n1' WHERE id = 2",
        "UPDATE parent SET name = 'n2' WHERE id = 1",
        "UPDATE parent SET name = 'x' WHERE id IN (7)",
    )
    run = from_one_to(two, "--repair")

    assert run.code == 1
    found = run.table("parent")["repair"]
    assert (found["changed"], found["left"]) == (1, 2)
    assert "parent_name_key" in found["reasons"][0]
    assert "parent: could not be repaired (2 rows): duplicate key" in run.err
    assert {d["key"]["id"] for d in run.differences("parent")} == {"1", "2"}


def test_rows_that_others_refer_to_do_not_take_them_along(two: tuple[Server, Server]) -> None:
    """The children were not chosen: ON DELETE CASCADE must not reach them."""
    _, target = two
    target.run(
        "INSERT INTO parent VALUES (900, NULL, 'c900', 'n900'), (901, NULL, 'c901', 'n901')",
        "INSERT INTO child VALUES (901, 900, '')",
    )
    run = from_one_to(two, "--repair", "--tables", "parent")

    assert run.code == 1
    assert run.table("parent")["repair"] == {
        "changed": 0,
        "inserted": 0,
        "deleted": 1,
        "left": 1,
        "reasons": ["rows of child refer to it (foreign key to_parent)"],
    }
    assert target.rows("SELECT parent FROM child WHERE id = 901") == [(900,)]


def test_columns_that_number_or_compute_themselves(two: tuple[Server, Server]) -> None:
    _, target = two
    target.run(
        "DELETE FROM counted WHERE id = 3",
        "UPDATE counted SET word = 'x' WHERE id = 4",
        "INSERT INTO counted (word) VALUES ('more')",
    )
    run = from_one_to(two, "--repair")

    assert repaired(run, "counted") == (1, 1, 1)
    assert target.rows("SELECT word, twice FROM counted WHERE id IN (3, 4) ORDER BY 1") == [
        ("w3", "w3w3"),
        ("w4", "w4w4"),
    ]


def test_what_the_target_computes_otherwise_is_named(two: tuple[Server, Server]) -> None:
    _, target = two
    target.run(
        "ALTER TABLE counted DROP twice, "
        "ADD twice text GENERATED ALWAYS AS (word || word || repeat('!', id / 20)) STORED"
    )
    run = from_one_to(two, "--repair")

    assert run.code == 1
    found = run.table("counted")["repair"]
    assert (found["changed"], found["left"]) == (0, 1)
    assert found["reasons"] == ["computed otherwise by the target: twice"]


_TRIGGERED = """
CREATE TABLE log (what text);
CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END $$;
CREATE FUNCTION spoilt() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.name := 'spoilt'; RETURN NEW; END $$;
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON alone FOR EACH ROW EXECUTE FUNCTION logged();
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON alone FOR EACH ROW EXECUTE FUNCTION spoilt();
CREATE TRIGGER c BEFORE INSERT ON alone FOR EACH ROW EXECUTE FUNCTION spoilt();
ALTER TABLE alone DISABLE TRIGGER c;
"""


def test_triggers_do_not_fire_and_come_back(two: tuple[Server, Server]) -> None:
    _, target = two
    target.run(
        "DELETE FROM alone WHERE id = 1",
        "UPDATE alone SET name = 'x' WHERE id = 2",
        "INSERT INTO alone VALUES (70, 'n70')",
        _TRIGGERED,
    )
    with keeping_definitions(target):
        run = from_one_to(two, "--repair")
        assert repaired(run, "alone") == (1, 1, 1)
    assert target.rows("SELECT * FROM log") == []


def test_a_role_that_may_not_write(any_database: Server, owned: Owned, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)"
    )
    superuser = replace(any_database, name=owned.name)
    superuser.run("CREATE TABLE t (id integer PRIMARY KEY)", "GRANT SELECT ON t TO teller")
    run = ferry(source, owned, "--verify", "--repair", "--force")
    assert run.code == 3, run.err
    assert "This role may not INSERT rows of t" in run.err

    superuser.run("GRANT INSERT, UPDATE ON t TO teller", _TRIGGERED.replace("alone", "t"))
    run = ferry(source, owned, "--verify", "--repair", "--force")
    assert run.code == 1, run.err
    assert "t: could not be repaired (1 row)" in run.err
    assert "must be owner" in run.err
    assert superuser.rows("SELECT * FROM t") == []


def test_what_cannot_be_repaired_is_named(migrated: Server, source: Path) -> None:
    migrated.run(
        "DROP TABLE empty",
        "ALTER TABLE pairs DROP note",
        "ALTER TABLE keyless ALTER name TYPE varchar(5) USING left(name, 5)",
    )
    run = ferry(source, migrated, "--verify", "--repair")

    assert run.code == 1
    reasons = {t["source"]: t["repair"] and t["repair"]["reasons"] for t in run.report["tables"]}
    assert reasons["empty"] == ["the target has no such table"]
    assert reasons["pairs"] == ["the target has no column note"]
    assert reasons["kinds"] is None
    assert "keyless" in run.err


def test_a_usage_error_alone(migrated: Server, source: Path) -> None:
    for flags in (("--repair",), ("--verify", "--repair", "--sample", "5")):
        run = ferry(source, migrated, *flags)
        assert run.code == 2
        assert "--repair" in run.err


def test_rows_that_are_refused_do_not_keep_others_back(two: tuple[Server, Server]) -> None:
    """An orphan of the source, which the target's constraint does not take."""
    source, target = two
    source.run(
        "ALTER TABLE child DROP CONSTRAINT to_parent",
        "UPDATE child SET parent = 5000 WHERE id = 17",
        "UPDATE child SET parent = 2 WHERE id = 18",
    )
    target.run("DELETE FROM child WHERE id <= 100", "UPDATE child SET note = 'y' WHERE id > 190")
    run = from_one_to(two, "--repair")

    assert run.code == 1
    found = run.table("child")["repair"]
    assert (found["changed"], found["inserted"], found["left"]) == (10, 99, 1)
    assert "to_parent" in found["reasons"][0]
    assert [d["key"] for d in run.differences("child")] == [{"id": "17"}]


def test_a_value_that_a_column_does_not_take(two: tuple[Server, Server]) -> None:
    source, target = two
    source.run("UPDATE alone SET name = 'much too long' WHERE id = 9")
    target.run(
        "ALTER TABLE alone ALTER name TYPE varchar(5)", "UPDATE alone SET name = 'x' WHERE id = 8"
    )
    run = from_one_to(two, "--repair")

    assert run.code == 1
    found = run.table("alone")["repair"]
    assert (found["changed"], found["left"]) == (1, 1)
    assert found["reasons"] == ["value too long for type character varying(5)"]


_ODD = """
CREATE TABLE cut (id integer, day date, word text) PARTITION BY RANGE (day);
CREATE TABLE cut_a PARTITION OF cut FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE cut_b PARTITION OF cut DEFAULT;
CREATE TABLE base (id integer PRIMARY KEY, word text);
CREATE TABLE heir (extra text) INHERITS (base);
CREATE TABLE later (id integer PRIMARY KEY, n integer NOT NULL UNIQUE DEFERRABLE,
    twin integer REFERENCES later DEFERRABLE);
CREATE SCHEMA other;
CREATE TABLE other."odd ' table" ("a ""b" integer PRIMARY KEY, "ctid'" text);
INSERT INTO cut SELECT i, '2020-12-01'::date + i, 'w' FROM generate_series(1, 100) AS i;
INSERT INTO base SELECT i, 'w' FROM generate_series(1, 10) AS i;
INSERT INTO heir SELECT i, 'w', 'e' FROM generate_series(1, 10) AS i;
INSERT INTO later SELECT i, i, 1 + i % 10 FROM generate_series(1, 10) AS i;
INSERT INTO other."odd ' table" SELECT i, 'x' FROM generate_series(1, 10) AS i;
"""


def test_tables_in_pieces_and_in_other_schemas(server: Server) -> None:
    with servers.fresh_database(server) as source, servers.fresh_database(server) as target:
        for each in (source, target):
            each.run(_ODD)
        target.run(
            "UPDATE cut SET word = 'x' WHERE id IN (3, 4, 90)",
            "UPDATE cut SET day = '2020-01-01' WHERE id = 91",
            "DELETE FROM cut WHERE id IN (7, 92)",
            "INSERT INTO cut SELECT * FROM cut WHERE id = 50",
            "UPDATE ONLY base SET word = 'x' WHERE id = 3",
            "UPDATE heir SET extra = 'x' WHERE id = 3",
            "SET CONSTRAINTS ALL DEFERRED; UPDATE later SET n = 11 - n",
            "UPDATE later SET twin = NULL WHERE id < 5",
        )
        own = "--exclude", "other*"
        run = from_one_to((source, target), "--repair", *own)

        assert repaired(run, "cut") == (0, 6, 5)
        assert repaired(run, "base") == (1, 0, 0)
        assert repaired(run, "later") == (10, 0, 0)
        assert from_one_to((source, target), *own).code == 0
        named = [f"{each.url_without_password}&search_path=other" for each in (source, target)]
        target.run("""UPDATE other."odd ' table" SET "ctid'" = 'y' WHERE "a ""b" > 7""")
        flags = ("--from", named[0], "--to", named[1], "--verify", "--repair")
        run = with_report(*flags, env=password(target))
        assert run.code == 0, run.err
        assert [table["repair"]["changed"] for table in run.report["tables"]] == [3]
