"""Whole runs with the user's rules, and with rows that are set aside, mended and loaded."""

from __future__ import annotations

from pathlib import Path

from tests.servers import Server
from tests.system.support import ferried, ferry, password, sqlite_file, sqlite_url, start

RULES = (
    *("--cast", "t.ms to timestamptz using epoch_ms", "--cast", "t.s to timestamp using epoch"),
    *("--cast", "t.j to timestamp using julian", "--cast", "t.yes to boolean"),
    *("--cast", "type tinyint(1) to boolean", "--cast", "t.nul to text using strip_nul"),
    *("--cast", "t.bad to text using replace_invalid", "--cast", "t.id to integer"),
)


def test_rules_convert_and_verify(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, ms INTEGER, s DATETIME, j REAL, yes TEXT,
                        flag TINYINT(1), nul TEXT, bad TEXT);
        INSERT INTO t VALUES (1, 1700000000123, 1700000000, 2460000.75, 'Yes', 1,
                              CAST(x'610062' AS TEXT), CAST(x'61ff62' AS TEXT));
        INSERT INTO t VALUES (2, NULL, NULL, NULL, 'off', 0, 'c', 'd');
        """,
    )
    run = ferried(source, any_database, *RULES)

    assert any_database.rows(
        "SELECT ms::text, s::text, j::text, yes, flag, nul, bad FROM t ORDER BY id"
    ) == [
        (
            "2023-11-14 22:13:20.123+00",
            "2023-11-14 22:13:20",
            "2023-02-25 06:00:00",
            *(True, True, "ab", "a\ufffdb"),
        ),
        (None, None, None, False, False, "c", "d"),
    ]
    (table,) = run.report["tables"]
    assert table["converted"] == {"ms": 1, "s": 1, "j": 1, "yes": 2, "nul": 1, "bad": 1}
    assert table["plan"]["misfits"] == []
    assert ferry(source, any_database, "--verify", *RULES).code == 0
    assert ferry(source, any_database, "--verify").code == 1


def test_rejected_rows_are_set_aside_mended_and_loaded(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        """
        CREATE TABLE t (id INTEGER PRIMARY KEY, d DATE, n VARCHAR(3));
        INSERT INTO t VALUES (1, '2024-01-01', 'abc'), (2, 'soon', 'abc'), (3, NULL, 'abcd');
        """,
    )

    def run(*flags: str) -> int:
        ends = ("--from", sqlite_url(source), "--to", any_database.url_without_password)
        process = start("database", *ends, *flags, env=password(any_database), cwd=tmp_path)
        process.communicate(timeout=60)
        code: int = process.returncode
        return code

    assert run("--misfit", "reject") == 1
    assert any_database.rows("SELECT id FROM t") == [(1,)]
    rejects = tmp_path / "tableferry-rejects" / "t.jsonl"
    assert rejects.stat().st_mode & 0o777 == 0o600
    assert len(rejects.read_text().splitlines()) == 2

    load = ("--tables", "t", "--rejects", str(rejects))
    assert run(*load) == 3
    assert any_database.rows("SELECT id FROM t") == [(1,)]

    mended = rejects.read_text().replace('"d": "soon"', '"d": "2024-05-05"')
    rejects.write_text(mended.replace('"n": "abcd"', '"n": "abc"'))
    assert run(*load) == 0
    assert any_database.rows("SELECT id, d::text, n FROM t ORDER BY id") == [
        (1, "2024-01-01", "abc"),
        (2, "2024-05-05", "abc"),
        (3, None, "abc"),
    ]


def test_a_ruled_column_is_no_difference_beside_one_that_differs(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(
        tmp_path / "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, s INTEGER, n INTEGER);"
        "INSERT INTO t VALUES (1, 1700000000, 5), (2, 1700000001, 6);",
    )
    rule = ("--cast", "t.s to timestamp using epoch")
    ferried(source, any_database, *rule)
    any_database.run("ALTER TABLE t ALTER n TYPE date USING '2024-01-01'")

    run = ferry(source, any_database, "--verify", *rule)

    assert run.code == 1
    listed = run.report["tables"][0]["differences"]["listed"]
    assert {difference["column"] for difference in listed} == {"n"}
