"""Corners of loading into an application's own tables: what was once lost, cut or left undone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.applications import (
    Owned,
    contents,
    definitions,
    keeping_definitions,
)
from tests.system.support import Run, command, ferried, ferry, password, sqlite_file
from tests.system.test_abort import APPLICATION, abort, begun, count, kill

PAIR = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY, n TEXT);"
    "CREATE TABLE b (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a);"
    "INSERT INTO a VALUES (100, 'x'); INSERT INTO b VALUES (1, 100);"
)
ORPHAN = f"{PAIR} INSERT INTO b VALUES (2, 77);"
PAIR_THERE = (
    "CREATE TABLE a (id int PRIMARY KEY, n varchar(9));"
    "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
)
ONE = "CREATE TABLE t (id INTEGER PRIMARY KEY, v {}); INSERT INTO t VALUES (7, {});"


def part_put_back(target: Server) -> bool:
    ours = "conrelid::regclass::text LIKE 'tableferry%'"
    return count(target, "pg_constraint", f"contype = 'f' AND NOT {ours}") > 0


def test_killed_in_the_finish(owned: Owned, large: Path) -> None:
    owned.run(APPLICATION)
    empty = contents(owned)
    with keeping_definitions(owned):
        with ExitStack() as stack:
            held = False

            def in_the_finish(target: Server) -> bool:
                """The foreign keys of one table can come back, those of the other never."""
                nonlocal held
                if not held and begun(target):
                    other = stack.enter_context(target.connect())
                    # Rows may still be brought.
                    other.execute("BEGIN; LOCK TABLE others IN ROW EXCLUSIVE MODE")
                    held = True
                return held and part_put_back(target)

            kill(large, owned, in_the_finish, "--workers", "2")
        run = abort(large, owned)
        assert run.code == 0, run.err
        assert contents(owned) == empty


@pytest.mark.parametrize("flag", ["--abort", "--drop-all"])
def test_violations_stop_then(owned: Owned, tmp_path: Path, flag: str) -> None:
    owned.run(PAIR_THERE)
    source = sqlite_file(tmp_path / "s.db", ORPHAN)
    before = definitions(owned)
    assert ferry(source, owned, "--violations", "stop").code == 4
    run = ferry(source, owned, flag)
    assert run.code == 0, run.err
    if flag == "--abort":
        assert definitions(owned) == before


def test_triggers_do_not_fire_in_abort(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        f"{PAIR_THERE} CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'fires'; END $$;"
        "CREATE TRIGGER tt BEFORE TRUNCATE ON a EXECUTE FUNCTION f();"
    )
    source = sqlite_file(tmp_path / "s.db", ORPHAN)
    assert ferry(source, owned, "--violations", "stop").code == 4
    run = ferry(source, owned, "--abort")
    assert run.code == 0, run.err


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE t (id bigint PRIMARY KEY, v text UNIQUE)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text NOT NULL)",
        "CREATE TABLE o (v text PRIMARY KEY); INSERT INTO o VALUES ('x');"
        "CREATE TABLE t (id bigint PRIMARY KEY, v text REFERENCES o)",
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE INDEX j ON t (lower(v))",
        'CREATE TABLE t (id bigint PRIMARY KEY, v text COLLATE "POSIX")',
        "CREATE TABLE t (id bigint PRIMARY KEY, v text) WITH (fillfactor = 50)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); GRANT SELECT (v) ON t TO PUBLIC",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text, EXCLUDE (v WITH =))",
        "CREATE UNLOGGED TABLE t (id bigint PRIMARY KEY, v text)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE STATISTICS s ON id, v FROM t",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text);"
        "CREATE RULE r AS ON DELETE TO t DO ALSO SELECT 1",
        "CREATE TABLE p (id bigint, v text); CREATE TABLE t (PRIMARY KEY (id)) INHERITS (p)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v text);"
        "COMMENT ON CONSTRAINT t_pkey ON t IS 'an application wrote this'",
    ],
)
def test_an_applications_table_of_our_types_keeps_its_definition(
    owned: Owned, tmp_path: Path, made: str
) -> None:
    owned.run(made)
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t (v);"
        "INSERT INTO t VALUES (7, 'x');",
    )
    with keeping_definitions(owned):
        ferried(source, owned)


def test_schema_only_then_data_only(owned: Owned, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "s.db", PAIR)
    assert ferry(source, owned, "--schema-only").code == 0
    ferried(source, owned, "--data-only")


@pytest.mark.parametrize(
    ("declared", "value", "wanted"),
    [
        ("TEXT", "'1.239'", "price"),
        ("REAL", "1.239", "price"),
        ("TEXT", "'2024-02-29 12:30:00.6'", "seconds"),
        ("TEXT", "'1.239'", "money"),
        ("TEXT", "'abc'", '"char"'),
        ("TEXT", "'2024-02-29 12:30:00.1234567'", "timestamp(6)"),
        ("TEXT", "'tomorrow'", "timestamptz(3)"),
        ("TEXT", "'{now}'", "date[]"),
        ("TEXT", "'{0.1234567891}'", "real[]"),
        ("TEXT", "'1.0000001 s'", "interval"),
    ],
)
def test_nothing_is_rounded_or_cut_without_a_word(
    owned: Owned, tmp_path: Path, declared: str, value: str, wanted: str
) -> None:
    owned.run(
        "CREATE DOMAIN price AS numeric(10,2); CREATE DOMAIN seconds AS timestamp(0);"
        f"CREATE TABLE t (id serial PRIMARY KEY, v {wanted})"
    )
    source = sqlite_file(tmp_path / "s.db", ONE.format(declared, value))
    run = ferry(source, owned)
    assert run.code == 4, owned.rows("SELECT v::text FROM t")


def test_real(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE t (id serial PRIMARY KEY, v real)")
    ferried(sqlite_file(tmp_path / "s.db", ONE.format("REAL", "0.5")), owned)


def test_real_that_does_not_fit(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE t (id serial PRIMARY KEY, v real)")
    run = ferry(sqlite_file(tmp_path / "s.db", ONE.format("REAL", "16777217.0")), owned)
    assert (run.code, "do not fit real: 16777217.0" in run.err) == (4, True), run.err


def test_real_that_four_bytes_are_known_by(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE t (id serial PRIMARY KEY, v real)")
    ferried(sqlite_file(tmp_path / "s.db", ONE.format("REAL", "0.1")), owned)
    assert owned.rows("SELECT v::text FROM t") == [("0.1",)]


@pytest.mark.parametrize("wanted", ["jsonb", "numeric", "inet"])
def test_identity_always_beside_a_staged_column(owned: Owned, tmp_path: Path, wanted: str) -> None:
    owned.run(f"CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v {wanted})")
    value = {"jsonb": "'{}'", "numeric": "5", "inet": "'::1'"}[wanted]
    declared = "NUMERIC" if wanted == "numeric" else "TEXT"
    ferried(sqlite_file(tmp_path / "s.db", ONE.format(declared, value)), owned)


def test_a_rule_that_would_change_rows_is_refused(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE TABLE t (id int PRIMARY KEY, v jsonb);"
        "CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING;"
    )
    with keeping_definitions(owned):
        run = ferry(sqlite_file(tmp_path / "s.db", ONE.format("TEXT", "'{}'")), owned)
    assert (run.code, "rule ON INSERT" in run.err) == (3, True), run.err


def test_a_generated_column_that_computes_otherwise(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(5),"
        "w text GENERATED ALWAYS AS (v || 'x') STORED)"
    )
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w TEXT);"
        "INSERT INTO t VALUES (1, 'a', 'other')",
    )
    run = ferry(source, owned)
    assert "Traceback" not in run.err, run.err
    assert run.code in (1, 4)
    assert "w" in run.err


def test_a_sequence_that_two_tables_share(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE SEQUENCE s;"
        "CREATE TABLE a (id int PRIMARY KEY DEFAULT nextval('s'), n varchar(9));"
        "CREATE TABLE b (id int PRIMARY KEY DEFAULT nextval('s'), a int);"
    )
    ferried(sqlite_file(tmp_path / "s.db", PAIR), owned)
    assert owned.rows("SELECT nextval('s')") == [(101,)]


def test_numbers_of_deleted_rows_are_not_given_again(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE t (id serial PRIMARY KEY, v varchar(5))")
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);"
        "INSERT INTO t VALUES (700, 'x'), (3, 'y'); DELETE FROM t WHERE id = 700;",
    )
    ferried(source, owned)
    assert owned.rows("INSERT INTO t (v) VALUES ('a') RETURNING id") == [(701,)]


def test_a_sequence_that_counts_down(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE TABLE t (v varchar(5),"
        "id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1 START -1))"
    )
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (-7, 'x')",
    )
    ferried(source, owned)
    assert owned.rows("INSERT INTO t (v) VALUES ('a') RETURNING id") == [(-8,)]


def test_a_refusal_is_said_in_the_servers_words(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE TABLE t (v varchar(5),id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY (MAXVALUE 5))"
    )
    run = ferry(sqlite_file(tmp_path / "s.db", ONE.format("TEXT", "'x'")), owned)
    assert run.code == 4 or run.report["left_behind"], "the sequence was not continued, unsaid"
    assert "current transaction is aborted" not in run.err, run.err


def test_a_run_given_up_for_another_with_other_rules(owned: Owned, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER);INSERT INTO t VALUES (1, 'x'), (2, 3);",
    )
    failed = ferry(source, owned, "--cast", "t.v to boolean", "--misfit", "stop")
    assert failed.code == 4
    ferried(source, owned, "--drop-all")


def test_a_created_table_refers_to_one_that_was_there(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE album (album_id int PRIMARY KEY, title varchar(9))")
    source = sqlite_file(
        tmp_path / "s.db",
        "CREATE TABLE Album (AlbumId INTEGER PRIMARY KEY, Title TEXT);"
        "CREATE TABLE Track (TrackId INTEGER PRIMARY KEY, AlbumId INTEGER REFERENCES Album);"
        "INSERT INTO Album VALUES (1,'x'); INSERT INTO Track VALUES (1,1);",
    )
    run = ferried(source, owned)
    assert run.report["left_behind"] == []


def test_views_do_not_disappear_unnamed(owned: Owned, tmp_path: Path) -> None:
    owned.run("CREATE TABLE a (id int PRIMARY KEY, n varchar(9))")
    source = sqlite_file(
        tmp_path / "s.db",
        f"{PAIR} CREATE VIEW va AS SELECT n FROM a; CREATE VIEW vb AS SELECT a FROM b;",
    )
    run = ferried(source, owned)
    made = {
        name for (name,) in owned.rows("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    }
    assert made | {name for _, name in run.left_behind("view")} == {"va", "vb"}


@pytest.mark.parametrize(
    "more",
    [
        "w int DEFAULT 5",
        "w text GENERATED ALWAYS AS (v || 'x') STORED",
        "w text GENERATED ALWAYS AS (v || 'x') VIRTUAL",
    ],
)
def test_verified_is_verified(owned: Owned, tmp_path: Path, more: str) -> None:
    owned.run(f"CREATE TABLE t (id serial PRIMARY KEY, v varchar(5), {more})")
    source = sqlite_file(tmp_path / "s.db", ONE.format("TEXT", "'x'"))
    ferried(source, owned)
    run = ferry(source, owned, "--verify")
    assert run.code == 0, run.err


def test_abort_needs_no_source(owned: Owned) -> None:
    run: Run = command(
        *("database", "--abort", "--to", owned.url_without_password), env=password(owned)
    )
    assert (run.code, "no unfinished run" in run.err) == (3, True), run.err


def test_inherited_rows_stay(owned: Owned, tmp_path: Path) -> None:
    owned.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(5)); CREATE TABLE c () INHERITS (t);"
        "INSERT INTO c VALUES (99, 'x')"
    )
    ferry(sqlite_file(tmp_path / "s.db", ONE.format("TEXT", "'x'")), owned, "--drop-all")
    assert owned.rows("SELECT * FROM c") == [(99, "x")]


def test_epoch_into_a_timestamp_with_a_precision(owned: Owned, tmp_path: Path) -> None:
    """What Prisma makes of every DateTime."""
    owned.run("CREATE TABLE t (id serial PRIMARY KEY, v timestamp(3))")
    ferried(sqlite_file(tmp_path / "s.db", ONE.format("INTEGER", "1709209800")), owned)
