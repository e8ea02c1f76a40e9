"""From one SQLite file to another: every value with its storage class, every definition that can
be kept, and all that cannot by name."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.system.sqlite_files import asked, between, carried, definition, stored
from tests.system.support import numbers_file, sqlite_file

AFFINITIES = ("INTEGER", "INT", "REAL", "TEXT", "NUMERIC", "BLOB", "", "DATE", "BOOLEAN", "UUID")
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 127, -128, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
    *(0.0, -0.0, 1.5, 0.1, 1e15, 1e308, -1.7976931348623157e308, 5e-324, 1e-300, 2.0**63),
    *(float("inf"), float("-inf"), 9007199254740993.0),
    *("", " ", "1", "1.5", "1e5", " 7 ", "0x10", "abc", "ä漢🦆", "a\0b", "\0", "NaN", "Infinity"),
    *("2024-02-29", "2024-02-29T12:00:00", "true", "x" * 5000, "it's", 'say "x"', "%s\n\r\t"),
    *(b"", b"\0", b"abc", b"\xff\xfe", bytes(range(256)), b"1"),
    None,
)
# Text that is none: invalid in UTF-8, cut in its middle, with NUL.
BROKEN = ("ff", "c3", "61ff62", "00ff", "eda080", "f4908080")


# Columns that look alike to the fast read, and are not.
ALIKE: tuple[tuple[Any, ...], ...] = ((1, 2, None), (0.5, None), ("a", "b"), (b"x",), (None,), ())


def filled(path: Path) -> Path:
    """Tables of one column each: of every affinity, with everything and with little."""
    with closing(sqlite3.connect(path)) as connection:
        for declared in AFFINITIES:
            for number, values in enumerate((VALUES, *ALIKE)):
                table = f'"{declared} {number}"'
                connection.execute(f"CREATE TABLE {table} (v {declared})")
                rows = [(value,) for value in values]
                connection.executemany(f"INSERT INTO {table} VALUES (?)", rows)
            for broken in BROKEN:
                text = f"CAST(x'{broken}' AS TEXT)"
                connection.execute(f'INSERT INTO "{declared} 0" VALUES ({text})')
        connection.commit()
    return path


def test_every_storage_class_in_every_affinity(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "source.db"), tmp_path / "target.db"
    run = carried(source, target)
    assert run.report["left_behind"] == []
    for declared in AFFINITIES:
        for number, values in enumerate((VALUES, *ALIKE)):
            table = f"{declared} {number}"
            rows = stored(target, table)
            assert rows == stored(source, table), table
            assert sum(rows.values()) == len(values) + (0 if number else len(BROKEN))
            types = asked(target, f"SELECT type FROM pragma_table_info('{table}')")
            assert types == [(declared,)]


def test_a_negative_zero_keeps_its_sign_where_sqlite_keeps_it(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (plain, r REAL); INSERT INTO t VALUES (-0.0, -0.0);",
    )
    carried(source, tmp_path / "target.db")
    assert stored(tmp_path / "target.db", "t") == stored(source, "t")


SCRIPT = """
PRAGMA user_version = -7;
PRAGMA application_id = 252006674;
CREATE TABLE "odd ""n.%' -- x" (
    "a b" INTEGER PRIMARY KEY, "c""d" TEXT COLLATE NOCASE UNIQUE, [x] TEXT DEFAULT 'it''s'
);
CREATE TABLE auto (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    v TEXT DEFAULT (1 + 2),
    w INT GENERATED ALWAYS AS (id * 2) STORED,
    d TEXT DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT positive CHECK (id > 0)
);
CREATE TABLE pairs (k TEXT, l INT, v, UNIQUE (v, k), PRIMARY KEY (l, k));
CREATE TABLE children (
    l INT, k TEXT, v TEXT, FOREIGN KEY (l, k) REFERENCES pairs ON DELETE CASCADE DEFERRABLE
    INITIALLY DEFERRED
);
CREATE TABLE keyless (a INT, b);
CREATE INDEX i1 ON pairs (v DESC, lower(k)) WHERE l > 0;
CREATE UNIQUE INDEX i2 ON pairs (k COLLATE NOCASE, v);
CREATE VIEW v1 AS SELECT k, count(*) AS n FROM pairs GROUP BY k;
CREATE VIEW v2 (x, y) AS SELECT k, n FROM v1 WHERE n > 0;
INSERT INTO "odd ""n.%' -- x" VALUES (5, 'A', 'x'), (6, 'B', NULL);
INSERT INTO auto (id, v) VALUES (1, 'a'), (9, 'b');
DELETE FROM auto WHERE id = 9;
INSERT INTO pairs VALUES ('x', 1, 2.5), ('x', 2, x'00'), ('Y', 2, 'text');
INSERT INTO children VALUES (1, 'x', 'child'), (NULL, 'x', 'orphan by NULL');
INSERT INTO keyless VALUES (1, 1), (1, 1), (1, 1), (2, NULL), (NULL, NULL);
"""
ODD = "odd \"n.%' -- x"


def test_definitions_are_kept(tmp_path: Path) -> None:
    source, target = sqlite_file(tmp_path / "source.db", SCRIPT), tmp_path / "target.db"
    run = carried(source, target)
    assert run.report["left_behind"] == []
    for name in (ODD, "auto", "pairs", "children", "keyless", "v1", "v2"):
        assert stored(target, name) == stored(source, name), name
    for query in (
        "PRAGMA user_version",
        "PRAGMA application_id",
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo('auto')",
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo('pairs')",
        'SELECT seq, "table", "from", on_delete FROM pragma_foreign_key_list(\'children\')',
        "SELECT \"unique\", origin, partial FROM pragma_index_list('pairs') ORDER BY 2, 1, 3",
        "SELECT name, desc, coll FROM pragma_index_xinfo('i1')",
        "SELECT name, desc, coll FROM pragma_index_xinfo('i2')",
        "SELECT * FROM sqlite_sequence",
        "PRAGMA foreign_key_check",
    ):
        assert asked(target, query) == asked(source, query), query
    assert "AUTOINCREMENT" in definition(target, "auto")
    assert "AUTOINCREMENT" not in definition(target, ODD.replace("'", "''"))
    assert asked(target, "INSERT INTO auto (v) VALUES ('c') RETURNING id") == [(10,)]
    assert asked(
        target, f'INSERT INTO "{ODD.replace(chr(34), chr(34) * 2)}" (x) VALUES (1) RETURNING "a b"'
    ) == [(7,)]
    for refused in (
        "INSERT INTO pairs VALUES ('x', 1, 'another')",
        "INSERT INTO pairs VALUES ('x', 7, 2.5)",
        "INSERT INTO pairs VALUES ('X', 7, 2.5)",
        "INSERT INTO auto (id) VALUES (0)",
        f"INSERT INTO \"{ODD.replace(chr(34), chr(34) * 2)}\" VALUES (8, 'a', NULL)",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            asked(target, refused)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        asked(target, "PRAGMA foreign_keys = ON", "INSERT INTO children VALUES (8, 'z', NULL)")


UNKEPT = """
CREATE TABLE st (i INT, a ANY, t TEXT) STRICT;
CREATE TABLE wr (k TEXT, v, PRIMARY KEY (k)) WITHOUT ROWID;
CREATE TABLE virtual (a INT, b INT AS (a * 2), c INT AS (a * 3) STORED);
CREATE TABLE conflict (a INT UNIQUE ON CONFLICT REPLACE, b INT);
CREATE TRIGGER fires AFTER INSERT ON VIRTUAL BEGIN SELECT 1; END;
INSERT INTO st VALUES (1, '123', 't'), (2, 123, 'u'), (3, 12.5, NULL), (4, x'00', '');
INSERT INTO wr VALUES ('x', 2.5), ('y', NULL);
INSERT INTO virtual VALUES (1), (NULL);
INSERT INTO conflict VALUES (1, 2);
"""


def test_what_cannot_be_kept_is_named(tmp_path: Path) -> None:
    source, target = sqlite_file(tmp_path / "source.db", UNKEPT), tmp_path / "target.db"
    run = carried(source, target)
    for name in ("wr", "virtual", "conflict"):
        assert stored(target, name) == stored(source, name), name
    named = {(item["what"], item["table"], item["name"]) for item in run.report["left_behind"]}
    assert named == {
        ("table option", "st", "STRICT"),
        ("table option", "wr", "WITHOUT ROWID"),
        ("conflict clause", "conflict", "UNIQUE (a) ON CONFLICT REPLACE"),
        ("trigger", "virtual", "fires"),
    }
    for item in run.report["left_behind"]:
        assert "PostgreSQL" not in item["reason"]
    assert asked(target, "SELECT name, hidden FROM pragma_table_xinfo('virtual')") == [
        ("a", 0),
        ("b", 2),
        ("c", 3),
    ]


def test_any_of_a_strict_table_keeps_its_classes(tmp_path: Path) -> None:
    source, target = sqlite_file(tmp_path / "source.db", UNKEPT), tmp_path / "target.db"
    carried(source, target)
    assert stored(target, "st") == stored(source, "st")


def test_versions_of_a_file_with_other_tables_are_its_own(tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SCRIPT)
    target = sqlite_file(
        tmp_path / "target.db",
        "PRAGMA user_version = 3; CREATE TABLE elsewhere (a); INSERT INTO elsewhere VALUES (1);",
    )
    carried(source, target)
    assert asked(target, "PRAGMA user_version") == [(3,)]
    assert asked(target, "SELECT * FROM elsewhere") == [(1,)]


def test_a_primary_key_that_holds_nulls(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (k TEXT PRIMARY KEY, v); INSERT INTO t VALUES (NULL, 1), (NULL, 1), "
        "('a', 2);",
    )
    target = tmp_path / "target.db"
    carried(source, target)
    assert stored(target, "t") == stored(source, "t")
    with pytest.raises(sqlite3.IntegrityError):
        asked(target, "INSERT INTO t VALUES ('a', 3)")


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_source_in_utf_16(tmp_path: Path, encoding: str) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        f"PRAGMA encoding = '{encoding}'; CREATE TABLE \"tä\" (k TEXT PRIMARY KEY, v); "
        "INSERT INTO \"tä\" VALUES ('ä漢🦆', 'ö'), ('', 1), ('z', x'00'), ('a', NULL);",
    )
    target = tmp_path / "target.db"
    carried(source, target)
    assert stored(target, "tä") == stored(source, "tä")


def test_source_and_target_are_the_same_file(tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SCRIPT)
    before = source.read_bytes()
    link = tmp_path / "link.db"
    link.symlink_to(source)
    for target in (source, link):
        run = between(source, target, "--drop-all", "--yes")
        assert run.code == 3
        assert "same" in run.err
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"source.db", "link.db"}


def test_every_storage_class_into_an_applications_table(tmp_path: Path) -> None:
    """Where its columns have the affinities of the source's, nothing is taken for anything else."""
    source, target = filled(tmp_path / "source.db"), tmp_path / "target.db"
    for declared in AFFINITIES:
        asked(target, f'CREATE TABLE "{declared} 0" (more TEXT DEFAULT 7, v {declared})')
    run = carried(source, target)
    assert run.report["left_behind"] == []
    for declared in AFFINITIES:
        table = f"{declared} 0"
        found = stored(target, table)
        assert Counter({row[1:]: n for row, n in found.items()}) == stored(source, table), table
        assert {row[0] for row in found} == {("text", b"7")}


def test_an_affinity_that_changes_a_value_is_told(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db", "CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('007'), ('x')"
    )
    target = tmp_path / "target.db"
    asked(target, "CREATE TABLE t (v INTEGER, w)")
    before = target.read_bytes()
    run = between(source, target)
    assert run.code in (1, 4), run.err
    assert "007" in run.err
    assert target.read_bytes() == before


def test_parts_of_a_large_table_by_two_workers(tmp_path: Path) -> None:
    source = numbers_file(tmp_path / "source.db", 300_000, 200)
    asked(
        source,
        "CREATE INDEX by_a ON numbers (a)",
        "UPDATE numbers SET c = 'text' WHERE id % 1000 = 1",
        "CREATE TABLE little (n INTEGER UNIQUE REFERENCES numbers, CHECK (n > 0))",
        "INSERT INTO little SELECT id FROM numbers WHERE id % 100 = 1",
    )
    target = tmp_path / "target.db"
    run = carried(source, target, "--workers", "2")
    assert len(run.table("numbers")["ranges"]["source"]) > 1
    for table in ("numbers", "little"):
        assert stored(target, table) == stored(source, table)
    assert asked(target, "PRAGMA foreign_key_check") == []
    plan = asked(target, "EXPLAIN QUERY PLAN SELECT * FROM numbers WHERE a = 7919")
    assert "USING INDEX by_a" in plan[0][3]


def test_a_table_without_rowid_is_its_own_index(tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (a INTEGER, b TEXT UNIQUE, PRIMARY KEY (a, b)) WITHOUT ROWID;"
        "INSERT INTO t VALUES (1, 'x');",
    )

    run = carried(source, tmp_path / "target.db")

    assert run.left_behind("index") == []
