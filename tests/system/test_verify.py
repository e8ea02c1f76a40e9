"""``--verify`` alone: what differs is named to the cell, nothing is written, nothing made up."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    catalog,
    command,
    copy_of,
    ends,
    environment,
    ferried,
    ferry,
    fingerprint,
    open_to_all,
    password,
    sqlite_file,
    sqlite_url,
)

SCRIPT = """
CREATE TABLE kinds (
    "Key" INTEGER PRIMARY KEY,
    "Whole" INTEGER,
    yes BOOLEAN,
    ratio REAL,
    price DECIMAL(10,2),
    amount NUMERIC,
    code VARCHAR(20),
    words TEXT,
    picture BLOB,
    day DATE,
    moment DATETIME,
    zoned TIMESTAMPTZ,
    hour TIME
);
CREATE TABLE pairs (a TEXT, b TEXT, note TEXT, PRIMARY KEY (a, b));
CREATE TABLE keyless (name TEXT, size INTEGER);
CREATE TABLE empty (word TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
INSERT INTO kinds SELECT i, i * 1000003, i % 2, i / 7.0, i / 100.0, i + 0.625, 'code ' || i,
    'the words of row ' || i || ', of some length', CAST('picture ' || i AS BLOB),
    date('2001-02-03', '+' || i || ' days'), datetime('2001-02-03 04:05:06', '+' || i || ' hours'),
    strftime('%Y-%m-%dT%H:%M:%SZ', '2001-02-03', '+' || i || ' hours'),
    time('04:05:06', '+' || i || ' seconds') FROM n;
INSERT INTO kinds ("Key") VALUES (4000);
INSERT INTO pairs SELECT "Key" % 50, "Key", words FROM kinds;
INSERT INTO keyless SELECT 'name ' || ("Key" % 1000), "Key" % 10 FROM kinds WHERE "Key" <= 3000;
INSERT INTO keyless VALUES ('', NULL), ('once', 1);
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("verify") / "source.db", SCRIPT)


@pytest.fixture(scope="module")
def once_migrated(server: Server, source: Path) -> Iterator[Server]:
    with servers.fresh_database(server) as template:
        ferried(source, template)
        yield template


@pytest.fixture(scope="module")
def once_migrated_anywhere(started: Callable[[str], Server], source: Path) -> Iterator[Server]:
    with servers.fresh_database(started(servers.EMBEDDED)) as template:
        ferried(source, template)
        yield template


@pytest.fixture
def any_migrated(once_migrated_anywhere: Server) -> Iterator[Server]:
    """The same on one server, where its version does not matter."""
    with copy_of(once_migrated_anywhere) as database:
        yield database


def verify_after(source: Path, target: Server, *statements: str) -> Run:
    """Changes the migrated target and verifies."""
    target.run(*statements)
    return ferry(source, target, "--verify")


def test_no_false_alarm(migrated: Server, source: Path) -> None:
    run = verify_after(source, migrated, "VACUUM FULL kinds", "ANALYZE", "CREATE TABLE own (x int)")

    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    assert run.report["command"] == "verify"
    assert {t["source"]: t["verdict"] for t in run.report["tables"]} == dict.fromkeys(
        ("empty", "keyless", "kinds", "pairs"), "verified"
    )
    assert [(d["state"], d["name"]) for d in run.report["drift"]] == [("extra", "own")]


@pytest.mark.parametrize(
    ("column", "change", "shown"),
    [
        ("Whole", '"Whole" + 1', ("1234003702", "1234003703")),
        ("yes", "NOT yes", ("False", "True")),
        ("ratio", "ratio * 1.0000000000000003", ("176.28571428571428", "176.2857142857143")),
        ("price", "price + 0.01", ("12.34", "12.35")),
        ("amount", "amount + 0.0000001", ("1234.625", "1234.6250001")),
        ("code", "code || ' '", ("'code 1234'", "'code 1234 '")),
        ("words", "replace(words, 'some', 'Some')", ("some", "Some")),
        ("picture", r"picture || '\x00'", ("x'70", "x'70")),
        ("day", "day + 1", ("2004-06-21", "2004-06-22")),
        ("moment", "moment + interval '1 microsecond'", ("05:06", "05:06.000001")),
        ("zoned", "zoned + interval '1 second'", ("10:00:00", "10:00:01")),
        ("hour", "hour + interval '1 second'", ("04:25:40", "04:25:41")),
    ],
)
def test_one_changed_value_is_named(
    any_migrated: Server, source: Path, column: str, change: str, shown: tuple[str, str]
) -> None:
    run = verify_after(
        source, any_migrated, f"""UPDATE kinds SET "{column}" = {change} WHERE "Key" = 1234"""
    )

    assert run.code == 1
    assert run.report["status"] == "differences"
    (difference,) = run.differences("kinds")
    assert difference["what"] == "changed"
    assert difference["table"] == "kinds"
    assert difference["column"] == column
    assert difference["key"] == {"Key": "1234"}
    assert shown[0] in difference["source"]
    assert shown[1] in difference["target"]
    assert f"kinds (Key = 1234), column {column}: " in run.err
    assert "Not the same: kinds (" in run.err
    others = [t["verdict"] for t in run.report["tables"] if t["source"] != "kinds"]
    assert others == ["verified"] * 3


def test_values_that_became_null_are_named(migrated: Server, source: Path) -> None:
    listed = "Whole yes ratio price amount code words picture day moment zoned hour"
    columns = listed.split()

    run = verify_after(
        source,
        migrated,
        *(f"""UPDATE kinds SET "{c}" = NULL WHERE "Key" = {i}""" for i, c in enumerate(columns, 1)),
    )

    assert run.code == 1
    found = {(d["key"]["Key"], d["column"], d["target"]) for d in run.differences("kinds")}
    assert found == {(str(i), column, "NULL") for i, column in enumerate(columns, 1)}


def test_null_is_not_the_empty_text_nor_zero(any_migrated: Server, source: Path) -> None:
    run = verify_after(
        source,
        any_migrated,
        """UPDATE kinds SET words = '', "Whole" = 0, picture = '', yes = false
           WHERE "Key" = 4000""",
    )

    assert run.code == 1
    found = {d["column"]: (d["source"], d["target"]) for d in run.differences("kinds")}
    assert found == {
        "words": ("NULL", "''"),
        "Whole": ("NULL", "0"),
        "picture": ("NULL", "x''"),
        "yes": ("NULL", "False"),
    }


def test_a_composite_key_is_named_whole(any_migrated: Server, source: Path) -> None:
    run = verify_after(
        source, any_migrated, "UPDATE pairs SET note = 'x' WHERE a = '7' AND b = '107'"
    )

    assert run.code == 1
    (difference,) = run.differences("pairs")
    assert difference["key"] == {"a": "'7'", "b": "'107'"}
    assert difference["column"] == "note"


def test_values_swapped_between_rows_are_seen(any_migrated: Server, source: Path) -> None:
    run = verify_after(
        source,
        any_migrated,
        """UPDATE kinds k SET amount = o.amount FROM kinds o
           WHERE k."Key" IN (10, 20) AND o."Key" = 30 - k."Key" """,
    )

    assert run.code == 1
    named = {(d["key"]["Key"], d["column"]) for d in run.differences("kinds")}
    assert named == {("10", "amount"), ("20", "amount")}


def test_values_swapped_between_columns_are_seen(any_migrated: Server, source: Path) -> None:
    run = verify_after(
        source,
        any_migrated,
        "ALTER TABLE kinds ALTER code TYPE text",
        """UPDATE kinds SET code = words, words = code WHERE "Key" = 1""",
    )

    assert run.code == 1
    assert {d["column"] for d in run.differences("kinds")} == {"code", "words"}


def test_missing_and_extra_rows_are_named(any_migrated: Server, source: Path) -> None:
    run = verify_after(
        source,
        any_migrated,
        """DELETE FROM kinds WHERE "Key" = 5""",
        """INSERT INTO kinds ("Key") VALUES (9999)""",
    )

    assert run.code == 1
    named = {(d["what"], d["key"]["Key"]) for d in run.differences("kinds")}
    assert named == {("missing", "5"), ("extra", "9999")}
    assert run.table("kinds")["rows"] == {"source": 3001, "target": 3001}
    assert "kinds (Key = 5) is only in the source" in run.err
    assert "kinds (Key = 9999) is only in the target" in run.err


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE keyless SET size = 2 WHERE name = 'once'",
            {("missing", "'once'", "1", 1), ("extra", "'once'", "2", 1)},
        ),
        ("INSERT INTO keyless VALUES ('once', 1)", {("extra", "'once'", "1", 1)}),
        (
            "INSERT INTO keyless SELECT 'once', 1 FROM generate_series(1, 2)",
            {("extra", "'once'", "1", 2)},
        ),
        ("DELETE FROM keyless WHERE name = 'name 7'", {("missing", "'name 7'", "7", 3)}),
        (
            "UPDATE keyless SET name = NULL WHERE name = ''",
            {("missing", "''", "NULL", 1), ("extra", "NULL", "NULL", 1)},
        ),
    ],
)
def test_without_a_key_the_row_is_named(
    any_migrated: Server, source: Path, change: str, expected: set[tuple[str, str, str, int]]
) -> None:
    run = verify_after(source, any_migrated, change)

    assert run.code == 1
    found = {
        (d["what"], d["key"]["name"], d["key"]["size"], d["times"])
        for d in run.differences("keyless")
    }
    assert found == expected
    assert "keyless (name = " in run.err


def test_many_differences_are_counted(any_migrated: Server, source: Path) -> None:
    run = verify_after(source, any_migrated, "UPDATE kinds SET words = words || '!'")

    assert run.code == 1
    differences = run.table("kinds")["differences"]
    assert len(differences["listed"]) == 100
    assert differences["rows"] == {"changed": 3000, "missing": 0, "extra": 0}
    assert differences["more_rows"] == 2900
    assert len(run.err.splitlines()) < 60


@pytest.mark.parametrize(
    ("change", "table", "what", "column"),
    [
        ("DROP TABLE kinds", "kinds", "missing", ""),
        ("DROP TABLE empty", "empty", "missing", ""),
        ("ALTER TABLE kinds DROP COLUMN amount", "kinds", "missing", "amount"),
        ("ALTER TABLE keyless RENAME TO other", "keyless", "missing", ""),
        ("ALTER TABLE pairs DROP COLUMN a", "pairs", "missing", "a"),
    ],
)
def test_tables_and_columns_that_one_side_lacks(
    any_migrated: Server, source: Path, change: str, table: str, what: str, column: str
) -> None:
    run = verify_after(source, any_migrated, change)

    assert run.code == 1
    assert run.table(table)["verdict"] == "differs"
    found = {(d["what"], d["column"]) for d in run.differences(table)}
    assert found == {(what, column)}
    assert table in run.err
    assert column in run.err


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ('ALTER TABLE kinds ALTER "Whole" TYPE numeric', None),
        ('ALTER TABLE kinds ALTER "Whole" TYPE integer USING ("Whole" % 2147483648)', "Whole"),
        ("ALTER TABLE kinds ALTER words TYPE varchar(100)", None),
        ("ALTER TABLE kinds ALTER words TYPE varchar(24)  USING left(words, 24)", "words"),
        ("ALTER TABLE kinds ALTER amount TYPE numeric(20,1)", "amount"),
        ("ALTER TABLE kinds ALTER amount TYPE numeric(20,6)", None),
        ("ALTER TABLE kinds ALTER price TYPE double precision", None),
        ("ALTER TABLE kinds ALTER price TYPE integer", "price"),
        ("ALTER TABLE kinds ALTER ratio TYPE real", "ratio"),
        ("ALTER TABLE kinds ALTER day TYPE text", None),
        ("ALTER TABLE kinds ALTER moment TYPE date", "moment"),
        ("ALTER TABLE kinds ALTER yes TYPE integer USING yes::integer", None),
        ("ALTER TABLE kinds ALTER hour TYPE timestamp USING '2001-01-01'::date + hour", "hour"),
    ],
)
def test_a_column_of_another_type_is_compared_by_its_values(
    any_migrated: Server, source: Path, change: str, column: str | None
) -> None:
    run = verify_after(source, any_migrated, change)

    if column is None:
        assert run.code == 0, run.err
    else:
        assert run.code == 1, run.err
        assert {d["column"] for d in run.differences("kinds")} == {column}


def test_nothing_is_written(migrated: Server, source: Path) -> None:
    migrated.run("DROP ROLE IF EXISTS looker", "CREATE ROLE looker LOGIN PASSWORD 'only look'")
    try:
        migrated.run(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker",
            "ALTER ROLE looker SET default_transaction_read_only = on",
        )
        files, objects = fingerprint(source), catalog(migrated)
        beside = sorted(source.parent.iterdir())
        url = migrated.url_without_password.replace("postgres@", "looker@")
        run = command(
            *("database", "--verify", "--from", sqlite_url(source), "--to", url),
            env=environment(**{PASSWORD_VARIABLE: "only look"}),
        )

        assert run.code == 0, run.err
        assert fingerprint(source) == files
        assert sorted(source.parent.iterdir()) == beside
        assert catalog(migrated) == objects
    finally:
        migrated.run("DROP OWNED BY looker", "DROP ROLE looker")


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
@pytest.mark.parametrize("modes", [(0o444, 0o755), (0o444, 0o555)], ids=["file", "folder"])
def test_what_may_not_be_written_can_be_read(
    any_database: Server,
    tmp_path: Path,
    journal: str,
    flags: tuple[str, ...],
    modes: tuple[int, int],
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    source = sqlite_file(folder / "source.db", f"PRAGMA journal_mode = {journal};{SCRIPT}")
    if flags:
        ferried(source, any_database)
    for path, mode in zip((source, folder), modes, strict=True):
        path.chmod(mode)
    before = fingerprint(source)

    with open_to_all(any_database):
        run = command(
            *("database", *ends(source, any_database), *flags),
            env=password(any_database),
            modes_count=True,
        )

    folder.chmod(0o755)
    assert run.code == 0, run.err
    assert fingerprint(source) == before
    # SQLite itself makes the files of WAL mode where it may, even to read, and where the file may
    # not be written leaves them there, empty.
    beside = {path.name: path.stat().st_size for path in folder.iterdir() if path != source}
    assert beside in ({}, {"source.db-wal": 0, "source.db-shm": 32768})


def test_a_wal_that_cannot_be_read_where_it_stands(any_migrated: Server, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    original = tmp_path / "source.db"
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.executescript(SCRIPT)
        connection.commit()
        for name in ("source.db", "source.db-wal"):
            shutil.copy(tmp_path / name, folder / name)
    folder.chmod(0o555)

    run = command(
        *("database", "--verify", *ends(folder / "source.db", any_migrated)),
        env=password(any_migrated),
        modes_count=True,
    )

    folder.chmod(0o755)
    assert run.code == 3
    assert "source.db-wal" in run.err
    assert "Copy both files" in run.err


@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
def test_nothing_stays_beside_a_source_in_wal_mode(
    any_migrated: Server, any_database: Server, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    source = sqlite_file(folder / "source.db", f"PRAGMA journal_mode = wal;{SCRIPT}")
    before = fingerprint(source)

    ferried(source, any_migrated if flags else any_database, *flags)

    assert [path.name for path in folder.iterdir()] == ["source.db"]
    assert fingerprint(source) == before


def test_no_lock_is_waited_for(any_migrated: Server, source: Path) -> None:
    """Writers with an open transaction on either side neither stop it nor are seen by it."""
    with (
        psycopg.connect(any_migrated.url) as elsewhere,
        closing(sqlite3.connect(source, isolation_level=None)) as here,
    ):
        elsewhere.execute("UPDATE kinds SET words = 'not yet'")
        here.execute("BEGIN IMMEDIATE")
        here.execute("UPDATE kinds SET words = 'not yet' WHERE \"Key\" < 5")

        run = ferry(source, any_migrated, "--verify")

        elsewhere.rollback()
        here.execute("ROLLBACK")
    assert run.code == 0, run.err


def test_the_other_direction_is_verified_as_well(any_migrated: Server, source: Path) -> None:
    any_migrated.run("""UPDATE kinds SET words = 'other' WHERE "Key" = 3""")

    run = command(
        *("database", "--verify", "--from", any_migrated.url_without_password),
        *("--to", sqlite_url(source)),
        env=password(any_migrated),
    )

    assert run.code == 1, run.err
    assert "kinds (Key = 3), column words: 'other' in the source" in run.err


def test_columns_of_the_target_alone_are_named(any_migrated: Server, source: Path) -> None:
    """As an application may have them: what both sides have is the same."""
    run = verify_after(source, any_migrated, "ALTER TABLE kinds ADD COLUMN more integer DEFAULT 7")

    assert run.code == 0
    assert run.report["warnings"] == []
    (more,) = run.report["drift"]
    assert (more["state"], more["table"], more["what"]) == ("extra", "kinds", "column")
    assert (more["name"], more["target"]) == ("more", "integer")
