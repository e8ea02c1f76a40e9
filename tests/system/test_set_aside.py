"""What hangs on an application's tables while rows come in: foreign keys, triggers, numbering."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.applications import Owned, contents, for_an_ordinary_role, keeping_definitions
from tests.system.support import catalog, ferried, ferry, sqlite_file


@pytest.fixture
def owned(database: Server) -> Iterator[Owned]:
    """On every server."""
    with for_an_ordinary_role(database) as target:
        yield target


@pytest.fixture
def any_owned(any_database: Server) -> Iterator[Owned]:
    """Where the version does not matter."""
    with for_an_ordinary_role(any_database) as target:
        yield target


BANK = """
CREATE TABLE owners (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(20) UNIQUE);
CREATE TABLE accounts (
    id serial PRIMARY KEY,
    owner integer NOT NULL CONSTRAINT belongs REFERENCES owners
        ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    parent integer REFERENCES accounts MATCH FULL ON UPDATE SET NULL,
    note text,
    loud text GENERATED ALWAYS AS (upper(note)) STORED
);
CREATE SEQUENCE numbers;
CREATE TABLE entries (id integer DEFAULT nextval('numbers') PRIMARY KEY, account integer);
INSERT INTO owners (name) VALUES ('of the application');
INSERT INTO accounts (owner, note) VALUES (1, 'seed');
INSERT INTO entries (account) VALUES (1), (1);
COMMIT;
ALTER TABLE entries ADD CONSTRAINT old FOREIGN KEY (account) REFERENCES accounts NOT VALID;
COMMENT ON CONSTRAINT belongs ON accounts IS 'every account''s';
COMMENT ON CONSTRAINT old ON entries IS 'since 1999';
CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.note := 'changed'; RETURN NEW; END $$;
CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'trigger % fires', TG_NAME; END $$;
CREATE TRIGGER on_origin BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION changes();
CREATE TRIGGER on_replica BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION refuses();
CREATE TRIGGER everywhere AFTER INSERT OR UPDATE ON accounts EXECUTE FUNCTION refuses();
CREATE TRIGGER nowhere BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION refuses();
CREATE TRIGGER "Emptied!" BEFORE TRUNCATE ON accounts EXECUTE FUNCTION refuses();
CREATE CONSTRAINT TRIGGER "at the end" AFTER INSERT ON entries FROM accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuses();
ALTER TABLE accounts ENABLE REPLICA TRIGGER on_replica;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER everywhere;
ALTER TABLE accounts DISABLE TRIGGER nowhere;
"""
ROWS = """
CREATE TABLE owners (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES owners,
    parent INTEGER REFERENCES accounts, note TEXT);
CREATE TABLE entries (id INTEGER PRIMARY KEY, account INTEGER REFERENCES accounts);
INSERT INTO owners VALUES (7, 'x'), (8, 'y');
INSERT INTO accounts VALUES (31, 8, 32, 'a'), (32, 7, NULL, NULL);
INSERT INTO entries VALUES (100, 31), (101, 999);
"""


def test_all_that_was_set_aside_comes_back(owned: Owned, tmp_path: Path) -> None:
    """Under a foreign key that never was proven, an orphan is nothing new."""
    owned.run(BANK)
    source = sqlite_file(tmp_path / "source.db", ROWS)

    with keeping_definitions(owned):
        run = ferried(source, owned, "--drop-all")

    assert run.report["violations"] == run.report["left_behind"] == []
    assert owned.rows("SELECT * FROM owners ORDER BY 1") == [(7, "x"), (8, "y")]
    assert owned.rows("SELECT * FROM accounts ORDER BY 1") == [
        (31, 8, 32, "a", "A"),
        (32, 7, None, None, None),
    ]
    assert owned.rows("INSERT INTO owners (name) VALUES ('new') RETURNING id") == [(9,)]
    assert owned.rows("SELECT nextval('accounts_id_seq'), nextval('numbers')") == [(33, 102)]


def test_orphans_leave_the_foreign_key_unproven(owned: Owned, tmp_path: Path) -> None:
    owned.run(BANK)
    source = sqlite_file(
        tmp_path / "source.db", f"{ROWS} INSERT INTO accounts VALUES (33, 9, 34, 0)"
    )

    run = ferried(source, owned, "--drop-all")

    assert run.violations("foreign key") == [
        ("accounts", "accounts_parent_fkey", 1),
        ("accounts", "belongs", 1),
    ]
    assert "belongs" in run.err
    assert owned.rows(
        "SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint') "
        "FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    ) == [
        (
            "accounts_parent_fkey",
            "FOREIGN KEY (parent) REFERENCES accounts(id) MATCH FULL ON UPDATE SET NULL NOT VALID",
            None,
        ),
        (
            "belongs",
            "FOREIGN KEY (owner) REFERENCES owners(id) ON DELETE CASCADE "
            "DEFERRABLE INITIALLY DEFERRED NOT VALID",
            "every account's",
        ),
        ("old", "FOREIGN KEY (account) REFERENCES accounts(id) NOT VALID", "since 1999"),
    ]
    owned.run(
        "DELETE FROM accounts WHERE id = 33",
        "ALTER TABLE accounts VALIDATE CONSTRAINT belongs",
    )


def test_orphans_may_stop_the_run(any_owned: Owned, tmp_path: Path) -> None:
    any_owned.run(BANK)
    source = sqlite_file(
        tmp_path / "source.db", f"{ROWS} INSERT INTO accounts VALUES (33, 9, 34, 0)"
    )

    run = ferry(source, any_owned, "--drop-all", "--violations", "stop")

    assert run.code == 4, run.err
    assert "--abort" in run.err


def test_others_that_refer_to_the_tables(any_owned: Owned, tmp_path: Path) -> None:
    any_owned.run(
        f"{BANK} CREATE TABLE audits (account integer CONSTRAINT audited REFERENCES accounts);"
    )
    source = sqlite_file(tmp_path / "source.db", ROWS)
    before = catalog(any_owned), contents(any_owned)

    run = ferry(source, any_owned, "--drop-all")

    assert run.code == 3, run.err
    assert "audits.audited" in run.err
    assert (catalog(any_owned), contents(any_owned)) == before


def test_a_table_that_is_referred_to_from_here(any_owned: Owned, tmp_path: Path) -> None:
    """It is not part of the migration, and its rows count for the proof."""
    any_owned.run(BANK.replace("ON DELETE CASCADE", ""))
    source = sqlite_file(tmp_path / "source.db", f"{ROWS} UPDATE accounts SET owner = 1")

    with keeping_definitions(any_owned):
        ferried(source, any_owned, "--drop-all", "--exclude", "owners")

    assert any_owned.rows("SELECT * FROM owners") == [(1, "of the application")]


# ---- some of the tables -----------------------------------------------------------------------

TWO = """
CREATE TABLE old (id INTEGER PRIMARY KEY, v INTEGER);
CREATE TABLE new (id INTEGER PRIMARY KEY, old INTEGER REFERENCES old, v INTEGER);
INSERT INTO old VALUES (1, 10), (2, 20);
INSERT INTO new VALUES (1, 2, 30);
"""


def test_tables_that_are_not_there_are_created(any_owned: Owned, tmp_path: Path) -> None:
    any_owned.run("CREATE TABLE old (id integer PRIMARY KEY, v smallint CHECK (v > 0))")
    source = sqlite_file(tmp_path / "source.db", TWO)
    before = catalog(any_owned)

    absent = ferry(source, any_owned, "--data-only")
    assert (absent.code, "for new" in absent.err) == (3, True), absent.err
    assert catalog(any_owned) == before

    run = ferried(source, any_owned)
    assert run.report["left_behind"] == []
    assert any_owned.rows("SELECT n.v, o.v FROM new n JOIN old o ON o.id = n.old") == [(30, 20)]
    definition = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f'"
    assert any_owned.rows(definition) == [("FOREIGN KEY (old) REFERENCES old(id)",)]
    with keeping_definitions(any_owned):
        ferried(source, any_owned, "--drop-all")


def test_rows_alone(any_owned: Owned, tmp_path: Path) -> None:
    any_owned.run(
        "CREATE TABLE old (id integer PRIMARY KEY, v smallint CHECK (v > 0));"
        "CREATE TABLE new (id integer PRIMARY KEY, old integer REFERENCES old, v varchar(2));"
    )
    source = sqlite_file(tmp_path / "source.db", TWO)

    with keeping_definitions(any_owned):
        ferried(source, any_owned, "--data-only")

    assert any_owned.rows("SELECT * FROM new") == [(1, 2, "30")]


def test_what_becomes_of_misfits(
    any_owned: Owned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column of the application is not widened; rows may be set aside."""
    monkeypatch.chdir(tmp_path)
    any_owned.run("CREATE TABLE old (id integer PRIMARY KEY, v smallint CHECK (v > 0))")
    source = sqlite_file(tmp_path / "source.db", f"{TWO} INSERT INTO old VALUES (3, 32768)")

    stopped = ferry(source, any_owned, "--tables", "old", "--misfit", "widen")
    assert stopped.code == 4, stopped.err
    assert "32768 at id = 3" in stopped.err

    assert ferry(source, any_owned, "--abort").code == 0
    with keeping_definitions(any_owned):
        run = ferry(source, any_owned, "--tables", "old", "--misfit", "reject")
    assert (run.code, run.report["status"]) == (1, "rejected"), run.err
    assert run.table("old")["rejected"]["rows"] == 1
    assert any_owned.rows("SELECT * FROM old ORDER BY 1") == [(1, 10), (2, 20)]
    (line,) = Path("tableferry-rejects", "old.jsonl").read_text().splitlines()
    assert json.loads(line)["row"] == {"id": 3, "v": 32768}
