"""How differing rows of large tables are found again: by ranges of their keys or by buckets, named
up to a number and counted beyond it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    ferry,
    password,
    sqlite_file,
    sqlite_url,
)

from tableferry import Outcome, searching, verify

_ROWS = 60_000
_SCRIPT = f"""
CREATE TABLE numbered (id INTEGER PRIMARY KEY, pad TEXT);
CREATE TABLE pairs (a INTEGER NOT NULL, b TEXT NOT NULL, pad TEXT, PRIMARY KEY (a, b));
CREATE TABLE named (name TEXT PRIMARY KEY, pad TEXT);
CREATE TABLE keyless (n INTEGER, pad TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_ROWS})
    INSERT INTO numbered SELECT i, printf('%-200s', i) FROM n;
-- Far from all others.
UPDATE numbered SET id = 9223372036854775807 WHERE id = {_ROWS};
UPDATE numbered SET id = -9223372036854775808 WHERE id = 1;
INSERT INTO pairs SELECT rowid / 3, rowid, pad FROM numbered
    WHERE rowid BETWEEN 2 AND {_ROWS - 1};
INSERT INTO named SELECT 'name ' || b, pad FROM pairs;
INSERT INTO keyless SELECT b % 50000, printf('%-200s', b % 50000) FROM pairs;
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("searching") / "source.db", _SCRIPT)


def after(source: Path, target: Server, change: str, *flags: str) -> Run:
    target.run(change)
    tables = [
        flag
        for name in re.findall("(?:UPDATE|INTO|FROM) ([a-z]+)", change)
        for flag in ("--tables", name)
    ]
    run = ferry(source, target, "--verify", *tables, *flags)
    assert run.code == 1, run.err
    return run


@pytest.mark.parametrize(
    ("table", "where", "key"),
    [
        ("numbered", "id = 31234", {"id": "31234"}),
        ("numbered", "id = 9223372036854775807", {"id": "9223372036854775807"}),
        ("numbered", "id < 0", {"id": "-9223372036854775808"}),
        ("pairs", "b = '31234'", {"a": "10411", "b": "'31234'"}),
        ("named", "name = 'name 31234'", {"name": "'name 31234'"}),
    ],
)
def test_one_cell_among_many_rows(
    migrated: Server, source: Path, table: str, where: str, key: dict[str, str]
) -> None:
    run = after(source, migrated, f"UPDATE {table} SET pad = 'x' WHERE {where}")

    (difference,) = run.differences(table)
    assert difference["what"] == "changed"
    assert difference["key"] == key
    assert difference["column"] == "pad"
    assert run.table(table)["differences"]["rows"] == {"changed": 1, "missing": 0, "extra": 0}


def test_rows_outside_the_source_s_keys(migrated: Server, source: Path) -> None:
    run = after(
        source,
        migrated,
        "DELETE FROM numbered WHERE id < 10; INSERT INTO pairs VALUES (-5, 'x'), (100000000, 'y')",
    )

    assert run.table("numbered")["differences"]["rows"] == {"changed": 0, "missing": 9, "extra": 0}
    found = {(d["what"], d["key"]["a"]) for d in run.differences("pairs")}
    assert found == {("extra", "-5"), ("extra", "100000000")}


def test_a_key_that_became_null(migrated: Server, source: Path) -> None:
    (name,) = migrated.rows(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'pairs'::regclass AND contype = 'p'"
    )[0]
    run = after(
        source,
        migrated,
        f"ALTER TABLE pairs DROP CONSTRAINT {name}; ALTER TABLE pairs ALTER a DROP NOT NULL;"
        "UPDATE pairs SET a = NULL WHERE b = '28'",
    )

    found = {(d["what"], d["key"]["a"], d["key"]["b"]) for d in run.differences("pairs")}
    assert found == {("missing", "9", "'28'"), ("extra", "NULL", "'28'")}


@pytest.mark.parametrize("listed", ["0", "7", "1000"])
@pytest.mark.parametrize("table", ["numbered", "pairs", "named"])
def test_every_row_differs(migrated: Server, source: Path, table: str, listed: str) -> None:
    run = after(
        source, migrated, f"UPDATE {table} SET pad = pad || '!'", "--max-differences", listed
    )

    found = run.table(table)["differences"]
    rows = run.table(table)["rows"]["source"]
    assert len(found["listed"]) == int(listed)
    assert found["rows"] == {"changed": rows, "missing": 0, "extra": 0}
    assert found["more_rows"] == rows - int(listed)
    assert not found["search_cut_short"]
    assert f"{table}: {rows:,} rows differ ({rows:,} changed)" in run.err


def test_every_row_without_a_key_differs(migrated: Server, source: Path) -> None:
    run = after(source, migrated, "UPDATE keyless SET pad = pad || '!'")

    found = run.table("keyless")["differences"]
    rows = run.table("keyless")["rows"]["source"]
    assert found["rows"] == {"changed": 0, "missing": rows, "extra": rows}
    # As often as it stands there: a row that stands twice is listed once.
    assert found["more_rows"] == 2 * rows - sum(d["times"] for d in found["listed"])


def test_a_row_without_a_key_says_how_often_it_stands(migrated: Server, source: Path) -> None:
    run = after(source, migrated, "INSERT INTO keyless SELECT * FROM keyless WHERE n = 77")

    (difference,) = run.differences("keyless")
    assert (difference["what"], difference["times"]) == ("extra", 2)
    assert (difference["in_source"], difference["in_target"]) == (2, 4)
    assert "stands 2 times in the source, 4 times in the target" in run.err


@pytest.mark.parametrize(("rows", "size"), [(2_000, 0), (9_000, 100_000)])
def test_rounds_and_what_is_sent_in_full_do_not_matter(
    migrated: Server,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    size: int,
) -> None:
    """However little memory holds: counts are exact, and the same number is listed."""
    monkeypatch.setattr(searching, "_ROUND_ROWS", rows)
    monkeypatch.setattr(searching, "_SHOWN_BYTES", size)
    monkeypatch.setattr(searching, "_JOB_ROWS", 3_000)
    migrated.run(
        "UPDATE numbered SET pad = '' WHERE id % 1500 = 0",
        "DELETE FROM named WHERE name LIKE '%00'",
        "INSERT INTO keyless SELECT -1, '' FROM generate_series(1, 30)",
    )
    outcome = verified(source, migrated, 20)

    found = {table.source: table for table in outcome.tables}
    missing = _ROWS // 100 - 1
    assert found["numbered"].differing.changed == found["numbered"].differing.total == 39
    assert found["named"].differing.missing == found["named"].differing.total == missing
    assert found["keyless"].differing.extra == found["keyless"].differing.total == 30
    assert [len(found[name].differences) for name in ("numbered", "named", "keyless")] == [
        20,
        20,
        1,
    ]
    assert found["numbered"].more_differences == 19
    assert found["keyless"].more_differences == 0


def verified(source: Path, target: Server, listed: int) -> Outcome:
    variables = password(target)
    os.environ[PASSWORD_VARIABLE] = variables[PASSWORD_VARIABLE]
    try:
        return verify(
            sqlite_url(source),
            target.url_without_password,
            tables=["numbered", "named", "keyless"],
            max_differences=listed,
            workers=1,
        )
    finally:
        del os.environ[PASSWORD_VARIABLE]


def test_an_index_that_brings_other_rows_is_not_believed(
    migrated: Server, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a range of keys brings is held against what the whole table held."""
    monkeypatch.setattr(searching, "spread_ends", lambda *_: (0, 10))
    migrated.run("UPDATE numbered SET pad = 'x' WHERE id IN (31234, 31235)")

    outcome = verified(source, migrated, 100)

    (table,) = [table for table in outcome.tables if table.source == "numbered"]
    assert [d.key for d in table.differences] == [(("id", "31234"),), (("id", "31235"),)]


def test_a_sample_reads_some_rows_and_says_so(migrated: Server, source: Path) -> None:
    run = ferry(source, migrated, "--verify", "--sample", "10%")

    assert run.code == 0, run.err
    assert next(iter(run.report)) == "sample_percent"
    assert run.report["status"] == "sampled"
    assert run.err.splitlines()[0].startswith("A sample: ")
    verdicts = {t["source"]: t["verdict"] for t in run.report["tables"]}
    assert verdicts == {
        "numbered": "sampled",
        "pairs": "sampled",
        "named": "verified",
        "keyless": "verified",
    }
    assert 0 < run.table("numbered")["sampled_rows"] < _ROWS / 4
    assert run.table("numbered")["rows"] == {"source": _ROWS, "target": _ROWS}
    assert run.table("named")["sampled_rows"] is None


def test_a_sample_counts_every_row(migrated: Server, source: Path) -> None:
    run = after(source, migrated, "DELETE FROM numbered WHERE id = 77", "--sample", "1")

    assert run.report["status"] == "differences"
    assert run.table("numbered")["verdict"] == "differs"
    assert f"numbered: {_ROWS:,} rows in the source, {_ROWS - 1:,} in the target" in run.err


def test_a_sample_of_everything_finds_everything(migrated: Server, source: Path) -> None:
    run = after(source, migrated, "UPDATE numbered SET pad = 'x' WHERE id < 20", "--sample", "100")

    found = run.table("numbered")["differences"]
    assert found["rows"] == {"changed": 19, "missing": 0, "extra": 0}
    assert found["listed"][0]["key"] == {"id": "-9223372036854775808"}
