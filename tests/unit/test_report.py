"""Reports in the shape that docs/report.schema.json promises, from made-up and from real runs."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.servers import Server

import tableferry
from tableferry import kinds, report
from tableferry.errors import (
    Interrupted,
    Refused,
    RunFailed,
    TableferryError,
    UsageError,
)
from tableferry.outcomes import Difference, DifferingRows, Outcome, RangeDigest, TableOutcome

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "report.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)


def checked(content: dict[str, Any]) -> dict[str, Any]:
    """The report as a reader of the file gets it, after a look at the schema."""
    read: dict[str, Any] = json.loads(json.dumps(content))
    VALIDATOR.validate(read)
    return read


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of the schema that describes an object's properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


# ---- the schema -------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_leaves_nothing_open() -> None:
    found = [part for part in objects(SCHEMA["$defs"]) if part.get("type") == "object"]
    assert len(found) > 10
    for part in found:
        if part["properties"].get("type") == {"const": "object"} or "required" not in part:
            continue
        assert part.get("additionalProperties") is False, part
        assert set(part["required"]) == set(part["properties"]), part


def test_the_schema_knows_every_kind() -> None:
    column = SCHEMA["$defs"]["plan"]["properties"]["columns"]["items"]
    assert set(column["properties"]["kind"]["enum"]) == set(kinds.NAMES)


def test_the_schema_refuses_another_shape() -> None:
    content = report.of_error(RunFailed("no"), "migrate", ("a", "b"))
    for broken in (
        content | {"more": 1},
        content | {"format": 1},
        content | {"status": "verified"},
    ):
        assert not VALIDATOR.is_valid(broken)


# ---- two databases ----------------------------------------------------------------------------


def test_of_two_databases_the_worse_status_counts() -> None:
    best = report.of_outcome(outcome())
    worst = report.of_error(Refused("no"), "verify", ("a", "b"))
    differing = best | {"status": "differences"}
    for main, usage, status in (
        (best, best, "verified"),
        (best, differing, "differences"),
        (worst, best, "failed"),
        (differing, worst, "failed"),
    ):
        read = checked(report.of_databases({"main": main, "usage": usage}))
        assert (read["status"], read["command"], read["format"]) == (status, "verify", 2)
        assert [each["database"] for each in read["databases"]] == ["main", "usage"]
        assert read["databases"][0]["report"] == json.loads(json.dumps(main))


# ---- made-up runs -----------------------------------------------------------------------------


def outcome(*tables: TableOutcome, **more: Any) -> Outcome:
    started = "2024-01-01T12:00:00+00:00"
    versions = {"tableferry": "1", "python": "3"}
    timings = {"total": 1.23456789}
    given: dict[str, Any] = {"timings": timings, "versions": versions, "started": started} | more
    return Outcome("verified", "verify", "a", "b", tables, **given)


def test_an_outcome_without_tables() -> None:
    read = checked(report.of_outcome(outcome()))
    assert (read["format"], read["tables"], read["timings"]) == (2, [], {"total": 1.234568})


def test_digests_are_written_as_32_digits() -> None:
    parts = (RangeDigest(0, 2, 15, 0.1234567, 99), RangeDigest(1, 0, 2**128 - 1, 0))
    table = TableOutcome(
        "t", "t", "verified", 2, 2, f"{14:032x}", f"{14:032x}", source_ranges=parts
    )
    read = checked(report.of_outcome(outcome(table)))["tables"][0]
    assert read["ranges"]["source"] == [
        {"number": 0, "rows": 2, "digest": "0" * 31 + "f", "bytes": 99, "seconds": 0.123457},
        {"number": 1, "rows": 0, "digest": "f" * 32, "bytes": 0, "seconds": 0},
    ]


def test_a_difference_has_its_key_by_name() -> None:
    difference = Difference("t", "changed", (("id", "1"), ("k", "'x'")), "c", "1", "2")
    table = TableOutcome(
        "t",
        "t",
        "differs",
        1,
        1,
        differences=(difference,),
        differing=DifferingRows(changed=4),
        more_differences=3,
    )
    read = checked(report.of_outcome(outcome(table)))["tables"][0]["differences"]
    assert read["listed"][0]["key"] == {"id": "1", "k": "'x'"}
    assert read["rows"] == {"changed": 4, "missing": 0, "extra": 0}
    assert (read["more_rows"], read["search_cut_short"]) == (3, False)


@pytest.mark.parametrize("kind", [UsageError, Refused, RunFailed, Interrupted])
def test_an_error(kind: type[TableferryError]) -> None:
    read = checked(report.of_error(kind("what", hint="do"), "migrate", ("a", "b")))
    assert read["error"] == {
        "kind": kind.__name__,
        "message": "what",
        "hint": "do",
        "exit_code": kind.exit_code,
    }


# ---- the file ---------------------------------------------------------------------------------


def test_the_file_is_private_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    path.chmod(0o644)
    report.write({"name": "Zoë\n"}, path)
    assert path.read_text(encoding="utf-8") == '{\n  "name": "Zoë\\n"\n}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_are_no_text_do_not_lose_the_report(tmp_path: Path) -> None:
    # A file name may hold any byte; Python keeps those that are no text as lone surrogates.
    path = tmp_path / "r.json"
    report.write({"source": "SQLite file \udcff.db"}, path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"source": "SQLite file \udcff.db"}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be written to .*none/r\.json"):
        report.write({}, tmp_path / "none" / "r.json")
    (tmp_path / "r.json").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        report.write({}, tmp_path / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


# ---- real runs --------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A file with something of everything that a report tells of."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """
            CREATE TABLE item (
                id INTEGER PRIMARY KEY AUTOINCREMENT, n INT DEFAULT 1, at DATETIME,
                price DECIMAL(10,2), ctid TEXT, CHECK (n <> 5)
            );
            CREATE TABLE log (line TEXT, number REAL);
            CREATE VIEW v AS SELECT * FROM item;
            INSERT INTO item VALUES
                (1, 1, '2024-01-01T12:30:00', 1.25, 'a'),
                (2, 'many', '2024-01-01 12:30:00', NULL, NULL),
                (3, 2.5, NULL, 2, 'b');
            INSERT INTO log VALUES ('x', 1.5), ('x', 1.5), (NULL, NULL);
            """
        )
    return f"sqlite:{path}"


def test_a_migration_and_a_verification_with_differences(source: str, any_database: Server) -> None:
    read = checked(report.of_outcome(tableferry.migrate(source, any_database.url)))
    assert (read["status"], read["command"]) == ("verified", "migrate")
    item = next(table for table in read["tables"] if table["source"] == "item")
    assert item["plan"]["generation"] == 2
    assert item["plan"]["identity"] == {"column": "id", "next_value": 4}
    assert item["plan"]["renamed"] == {"item.ctid": "item.ctid_"}
    assert item["spelling_normalised"] == {"at": 1}
    (misfit,) = item["plan"]["misfits"]
    assert (misfit["column"], misfit["became"], misfit["count"]) == ("n", "text", 2)
    assert misfit["merged_classes"] == ["integer", "real", "text"]
    assert misfit["examples"][0] == {"key": {"id": "2"}, "value": "'many'"}
    assert {left["what"] for left in read["left_behind"]} == {"view", "check"}
    assert any_database.password not in json.dumps(read)

    any_database.run(
        "UPDATE item SET price = 1.26 WHERE id = 1",
        "DELETE FROM item WHERE id = 3",
        "INSERT INTO log VALUES ('y', 'NaN')",
        "CREATE TABLE other ()",
    )
    read = checked(report.of_outcome(tableferry.verify(source, any_database.url)))
    assert (read["status"], read["command"]) == ("differences", "verify")
    item, log = read["tables"]
    assert item["plan"] is None
    assert [(d["what"], d["key"], d["column"]) for d in item["differences"]["listed"]] == [
        ("changed", {"id": "1"}, "price"),
        ("missing", {"id": "3"}, ""),
    ]
    assert log["differences"]["listed"] == [
        {
            "table": "log",
            "what": "extra",
            "key": {"line": "'y'", "number": "nan"},
            "column": "",
            "source": "",
            "target": "",
            "times": 1,
            "in_source": 0,
            "in_target": 1,
        }
    ]
    assert [(d["state"], d["what"], d["name"]) for d in read["drift"] if d["what"] == "table"] == [
        ("extra", "table", "other")
    ]


def test_a_table_that_is_not_there(source: str, any_database: Server) -> None:
    any_database.run("CREATE TABLE item (id bigint)")
    read = checked(report.of_outcome(tableferry.verify(source, any_database.url)))
    item, log = read["tables"]
    assert (log["target"], log["digest"]) == ("", {"source": "", "target": ""})
    assert log["rows"] == {"source": 3, "target": 0}
    assert {d["column"] for d in item["differences"]["listed"]} >= {"n", "at", "price"}


def test_a_failure(source: str, any_database: Server) -> None:
    any_database.run("CREATE TABLE item (id bigint)")
    with pytest.raises(Refused) as caught:
        tableferry.migrate(source, any_database.url)
    read = checked(report.of_error(caught.value, "migrate", (source, any_database.name)))
    assert (read["status"], read["error"]["kind"]) == ("failed", "Refused")
    assert read["error"]["exit_code"] == 3
