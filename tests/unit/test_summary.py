"""The end of a run as people read it: nothing of importance left out, no value as markup."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from tableferry.model import (
    Candidate,
    Column,
    Example,
    Kind,
    LeftBehind,
    Table,
    TableName,
    TablePlan,
    Widening,
)
from tableferry.outcomes import Difference, DifferingRows, Outcome, RangeDigest, TableOutcome
from tableferry.summary import describe, show, show_databases

KEY = (("id", "1"), ("k", "'[red]'"))
VERIFIED = TableOutcome(
    "orders",
    "orders",
    "verified",
    1_234_567,
    1_234_567,
    bytes=45_600_000,
    source_ranges=(RangeDigest(0, 1, 1, 1.5), RangeDigest(1, 1, 1, 0.5)),
    target_ranges=(RangeDigest(0, 2, 2, 1.0),),
)


def outcome(*tables: TableOutcome, left: tuple[LeftBehind, ...] = ()) -> Outcome:
    verified = all(table.verdict == "verified" for table in tables)
    return Outcome(
        "verified" if verified else "differences",
        "migrate",
        "SQLite file a.db",
        "PostgreSQL",
        tables,
        left_behind=left,
        timings={"total": 3.21},
    )


def shown(found: Outcome, *, verbose: bool = False) -> str:
    console = Console(file=io.StringIO(), width=60, color_system=None)
    show(found, console, verbose=verbose)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_verified_run() -> None:
    text = shown(outcome(VERIFIED))
    line = next(line for line in text.splitlines() if line.startswith("orders"))
    assert line.split() == ["orders", "1,234,567", "45.6", "MB", "3.00", "411,522", "verified"]
    assert text.splitlines()[-1] == ("Verified: every value of 1 table, 1,234,567 rows in 3.2 s.")
    assert "Left behind" not in text


def test_a_run_with_differences_names_the_tables() -> None:
    wrong = replace(
        VERIFIED,
        source="t",
        verdict="differs",
        differences=(Difference("t", "changed", KEY, "c", "'a'", "'b'"),),
        differing=DifferingRows(changed=6, extra=2),
        more_differences=7,
    )
    text = shown(outcome(VERIFIED, wrong))
    assert "t (id = 1, k = '[red]'), column c: 'a' in the source, 'b' in the target" in text
    assert "t: 8 rows differ (6 changed, 2 only in the target)" in text
    assert text.splitlines()[-1].startswith("Not the same: t (")


def test_a_search_cut_short_says_at_least() -> None:
    wrong = replace(VERIFIED, verdict="differs", search_cut_short=True)
    assert "orders: there may be more differences" in shown(outcome(wrong))
    wrong = replace(wrong, differing=DifferingRows(missing=3), more_differences=3)
    text = shown(outcome(wrong))
    assert "orders: at least 3 rows differ (3 only in the source)" in text


def test_many_differences_are_counted() -> None:
    many = tuple(Difference("t", "missing", (("id", str(i)),)) for i in range(30))
    rows = DifferingRows(missing=35)
    wrong = replace(
        VERIFIED, verdict="differs", differences=many, differing=rows, more_differences=5
    )
    text = shown(outcome(wrong))
    assert text.count("is only in the source\n") == 20
    assert "orders: 35 rows differ (35 only in the source)" in text


def test_a_sample_says_so_first_and_last() -> None:
    some = replace(VERIFIED, verdict="sampled", sampled_rows=12_345)
    text = shown(replace(outcome(some, VERIFIED), status="sampled", sample=1.0))
    assert text.startswith("A sample: 12,345 of 1,234,567 rows of 1 table were compared")
    assert text.splitlines()[-1].startswith("No difference in the sample: ")
    whole = shown(replace(outcome(VERIFIED), sample=1.0))
    assert whole.startswith("A sample of no table")
    assert whole.splitlines()[-1].startswith("Verified: ")


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (
            Difference("t", "changed", (("id", "1"),), "c", "NULL", "0"),
            "t (id = 1), column c: NULL in the source, 0 in the target",
        ),
        (Difference("t", "missing", (("id", "1"),)), "t (id = 1) is only in the source"),
        (
            Difference("t", "extra", (("a", "1"),), times=2, in_source=1, in_target=3),
            "t (a = 1) stands once in the source, 3 times in the target",
        ),
        (
            Difference("t", "extra", (("a", "1"),), times=3),
            "t (a = 1) is only in the target, 3 times",
        ),
        (
            Difference("t", "missing", (), "c", source="the whole column"),
            "t, column c, is only in the source",
        ),
        (Difference("t", "missing", (), source="the whole table"), "t is only in the source"),
    ],
)
def test_describe(difference: Difference, text: str) -> None:
    assert describe(difference) == text


def test_what_changed_is_said() -> None:
    table = Table(TableName("main", "t"), (Column("a", "INTEGER"),))
    widening = Widening(
        "a",
        "INTEGER",
        "bigint",
        "text",
        1200,
        ("integer", "text"),
        (Example((("id", "1"),), "'x'"),),
    )
    plan = TablePlan(
        table,
        table,
        (Candidate(Kind("text")),),
        (frozenset({"text"}),),
        renamed=(("ctid", "ctid_"),),
        widened=(widening,),
    )
    told = replace(VERIFIED, plan=plan, normalised=(("d", 12_345),), converted=(("e", 1_000),))
    text = shown(outcome(told))
    assert (
        "orders.a: 1,200 values do not fit bigint, such as 'x'; the column became text "
        "(storage classes merged: integer, text)"
    ) in text
    assert "ctid is called ctid_ in the target" in text
    assert "orders: converted by your rules: e (1,000)" in text
    assert "orders: spelling normalised, same values: d (12,345)" in text


LEFT = (
    LeftBehind("view", "v", "v", "views are not translated yet"),
    LeftBehind("default", "a", "t", "defaults are not translated yet: 1"),
    *(LeftBehind("view", f"v{i}", f"v{i}", "no") for i in range(10)),
)


def test_objects_left_behind_are_grouped() -> None:
    lines = shown(outcome(VERIFIED, left=LEFT)).splitlines()
    assert "Left behind: default t.a" in lines
    assert "Left behind: view v, v0, v1, v2, v3, v4, v5, v6 and 3 more" in lines
    assert "Reasons stand in the report (--report FILE) and under --verbose." in lines


def test_verbose_names_each_with_its_reason() -> None:
    lines = shown(outcome(VERIFIED, left=LEFT), verbose=True).splitlines()
    assert sum(line.startswith("Left behind: ") for line in lines) == len(LEFT)
    assert "Left behind: default t.a: defaults are not translated yet: 1" in lines


def test_warnings_and_odd_names_are_no_markup() -> None:
    odd = replace(VERIFIED, source="[bold]t[/bold]", verdict="not verified")
    text = shown(replace(outcome(odd), warnings=("Only in the target: [red]x[/red]",)))
    assert "[bold]t[/bold]" in text
    assert "Only in the target: [red]x[/red]" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (10**9, "1.0 GB"), (5 * 10**12, "5,000.0 GB")],
)
def test_bytes(count: int, text: str) -> None:
    assert text in shown(outcome(replace(VERIFIED, bytes=count)))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("verified", "created"),
            "Both: the main database is verified, the usage database is created.",
        ),
        (
            ("failed", "differences"),
            "Both: the main database was not brought to an end, the usage database is not the "
            "same.",
        ),
    ],
)
def test_the_last_line_of_two_databases(words: tuple[str, str], text: str) -> None:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    show_databases(dict(zip(("main", "usage"), words, strict=True)), console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"{text}\n"
