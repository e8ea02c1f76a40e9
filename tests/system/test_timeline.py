"""What a report tells of the workers is what they did: every range, within the run, one at a time;
and the page of a real run shows it."""

from __future__ import annotations

import itertools
import re
import stat
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import (
    Run,
    command,
    ends,
    numbers_file,
    password,
    sqlite_file,
    sqlite_url,
    with_report,
)

SMALL = """
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price DECIMAL(10,2));
CREATE TABLE log (line TEXT, item INTEGER REFERENCES item);
CREATE INDEX by_name ON item (name);
CREATE VIEW named AS SELECT name FROM item;
INSERT INTO item VALUES (1, 'one', 1.5), (2, '<b>two</b>', 2), (3, NULL, 'many');
INSERT INTO log VALUES ('x', 1), ('y', 2);
"""
# Rounding of what is written, in seconds.
ROUNDED = 2e-6


def by_worker(report: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for span in report["timeline"]:
        found[span["worker"]].append(span)
    return found


def require_honest(run: Run, workers: int) -> None:
    """Holds the timeline against the rest of the report."""
    report, timeline = run.report, run.report["timeline"]
    total = report["timings"]["total"]
    assert timeline == sorted(timeline, key=lambda span: span["began"])
    for span in timeline:
        assert 0 <= span["began"] <= span["began"] + span["seconds"] <= total + ROUNDED, span
        assert (span["what"] == "run") == (span["worker"] == 0), span
    lanes = by_worker(report)
    assert set(lanes) <= set(range(workers + 1))
    for number, spans in lanes.items():
        for before, after in itertools.pairwise(spans):
            if number:
                assert before["began"] + before["seconds"] <= after["began"] + ROUNDED
    # The length of a range's job is that which the worker itself took, and its way there and back.
    for table in report["tables"]:
        for side, ranges in table["ranges"].items():
            for part in ranges:
                span = span_of(report, table["source"], side, part["number"])
                assert (span["rows"], span["bytes"]) == (part["rows"], part["bytes"])
                assert part["seconds"] <= span["seconds"] + ROUNDED
                assert not span["failed"]


def span_of(report: Mapping[str, Any], table: str, side: str, number: int) -> dict[str, Any]:
    """The last job that read the range: the source's is read by its copy, where there is one."""
    copied = report["command"] == "migrate" and side == "source"
    what, where = ("copy", "") if copied else ("verify", side)
    wanted = (what, table, where, number)
    found: dict[str, Any] = [
        span
        for span in report["timeline"]
        if (span["what"], span["table"], span["side"], span["range"]) == wanted
    ][-1]
    return found


def whats(run: Run, table: str) -> set[str]:
    return {span["what"] for span in run.report["timeline"] if span["table"] == table}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for worker processes, and for several ranges in both databases."""
    return numbers_file(tmp_path_factory.mktemp("large") / "a.db", 500_000, 150)


def test_there_and_back_by_two_workers(large: Path, any_database: Server, tmp_path: Path) -> None:
    env = password(any_database)
    there = with_report(*ends(large, any_database), "--workers", "2", env=env)
    assert there.code == 0, there.err
    require_honest(there, 2)
    assert set(by_worker(there.report)) == {0, 1, 2}
    assert whats(there, "numbers") == {"copy", "count", "index", "verify"}
    names = [span["name"] for span in there.report["timeline"] if span["what"] == "index"]
    assert names == ["primary key id", "statistics"]
    phases = [span["name"] for span in there.report["timeline"] if span["what"] == "run"]
    assert phases == ["inspect", "prepare", "finish", "publish"]
    ranges = there.table("numbers")["ranges"]
    assert len(ranges["source"]) > 1
    assert len(ranges["target"]) > 1

    again = with_report(*ends(large, any_database), "--workers", "2", "--verify", env=env)
    assert again.code == 0, again.err
    require_honest(again, 2)
    assert whats(again, "numbers") == {"count", "verify"}

    back = ("--from", any_database.url_without_password, "--to", sqlite_url(tmp_path / "b.db"))
    home = with_report(*back, "--workers", "2", env=env)
    assert home.code == 0, home.err
    require_honest(home, 2)
    assert whats(home, "numbers") >= {"copy", "gather", "count", "verify"}
    gathered = [span for span in home.report["timeline"] if span["what"] == "gather"]
    assert sorted(span["range"] for span in gathered) == [
        part["number"] for part in home.table("numbers")["ranges"]["source"]
    ]


def test_a_value_that_does_not_fit_is_seen_in_the_timeline(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(tmp_path / "a.db", SMALL)
    run = with_report(*ends(source, any_database), env=password(any_database))
    assert run.code == 0, run.err
    require_honest(run, 1)
    item = [span for span in run.report["timeline"] if span["table"] == "item"]
    assert [(s["what"], s["failed"]) for s in item if s["what"] in ("copy", "survey")] == [
        ("copy", True),
        ("survey", False),
        ("copy", False),
    ]
    # A view is read on both sides.
    named = [span["side"] for span in run.report["timeline"] if span["table"] == "named"]
    assert sorted(named) == ["source", "target"]


def test_a_page_of_a_migration_and_of_a_verification_with_differences(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(tmp_path / "a.db", SMALL)
    path = tmp_path / "run.html"
    flags = (*ends(source, any_database), "--report", str(path))
    run = command("database", *flags, env=password(any_database))
    assert run.code == 0, run.err
    assert f"Report: {path}" in run.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    page = path.read_text(encoding="utf-8")
    assert "✓ Verified</h1>" in page
    assert "Every value of 2 tables (5 rows) is the same on both sides." in page
    assert "price: it became" in page
    assert "<title>copy item: range 0" in page
    assert "A red frame is a job that ended with an error (1)" in page
    assert "named" in page
    assert any_database.password not in page

    any_database.run(
        "UPDATE item SET name = 'ONE' WHERE id = 1",
        "DELETE FROM log WHERE line = 'y'",
        "UPDATE item SET name = '<i>two</i>' WHERE id = 2",
    )
    run = command("database", *flags, "--verify", env=password(any_database))
    assert run.code == 1, run.err
    page = path.read_text(encoding="utf-8")
    assert "✗ Differences</h1>" in page
    assert "2 of 2 tables are not the same: item, log." in page
    cells = re.findall(r'data-l="(?:source|target)">(.*?)</td>', page)
    values = [re.sub(r"</?(?:span|mark)[^>]*>", "", cell) for cell in cells if cell]
    assert values == [
        *("&#39;one&#39;", "&#39;ONE&#39;"),
        *("&#39;&lt;b&gt;two&lt;/b&gt;&#39;", "&#39;&lt;i&gt;two&lt;/i&gt;&#39;"),
    ]
    assert "only in the source" in page
    assert "<b>two" not in page


def test_pages_of_a_plan_and_of_a_refusal(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "a.db", SMALL)
    path = tmp_path / "run.html"
    flags = (*ends(source, any_database), "--report", str(path))
    run = command("plan", *flags, env=password(any_database))
    assert run.code == 0, run.err
    assert "▸ Planned</h1>" in path.read_text(encoding="utf-8")
    any_database.run("CREATE TABLE item (id integer)", "INSERT INTO item VALUES (1)")
    run = command("database", *flags, env=password(any_database))
    assert run.code == 3, run.err
    page = path.read_text(encoding="utf-8")
    assert "✗ Failed</h1>" in page
    assert "exit code 3" in page
