"""The page of a report: every shape, whatever names and values hold, however much there is."""

from __future__ import annotations

import functools
import re
import stat
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import charts, kinds, page, report, spelling
from tableferry.errors import Refused, RunFailed
from tableferry.model import (
    Candidate,
    Column,
    LeftBehind,
    Plan,
    Table,
    TableName,
    TablePlan,
    ViewPlan,
    Violation,
)
from tableferry.outcomes import (
    Difference,
    DifferingRows,
    Outcome,
    PlanOutcome,
    RangeDigest,
    Span,
    TableOutcome,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert('1')>",
    "'; --",
    "</title><style>*{display:none}</style>",
    "{{ 7*7 }}{% raw %}",
    "a\x00b\x07c\x1b[31m\r\n",
    "\u202egnp.exe\u202c \u2066x\u2069\u200b\ufeff",
    "\udcff",
    "&amp;",
    "]]><!--",
)
VOID = {"meta", "br", "img", "link", "input"}
ALLOWED = frozenset(
    re.findall(
        "[a-z0-9]+",
        "html head meta title style body main section div p h1 h2 h3 ul li dl dt dd a b i bdi span "
        "code mark br table thead tbody tr th td details summary pre footer svg g rect path",
    )
)


class Seen(HTMLParser):
    """What a browser sees of a page: its elements, and its text. Fails where one is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        # Cells may be left open: the next one ends them, and the row does.
        if tag in ("td", "th") and self.open[-1] in ("td", "th"):
            self.open.pop()
        if tag == "tr" and self.open[-1] in ("td", "th"):
            self.open[-2:] = []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag and self.open[-1] in ("td", "th", "tr"):
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @functools.cached_property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and attributes.items() <= given.items() for name, given in self.elements
        )


def table(name: str = "t", **more: Any) -> TableOutcome:
    given: dict[str, Any] = {"verdict": "verified", "source_rows": 5, "target_rows": 5}
    return TableOutcome(**{"source": name, "target": name} | given | {"bytes": 1000} | more)


def outcome(*tables: TableOutcome, **more: Any) -> Outcome:
    given: dict[str, Any] = {
        "timings": {"copy": 1.0, "total": 2.0},
        "versions": {"tableferry": "1", "python": "3"},
        "started": "2024-01-01T12:00:00+00:00",
        "status": "verified",
        "command": "migrate",
        "source": "SQLite file a.db",
        "target": "PostgreSQL b",
    }
    return Outcome(**given | {"tables": tables} | more)


def plan_outcome(*names: str, **more: Any) -> PlanOutcome:
    tables = [Table(TableName("main", name), (Column("c", "INT"),)) for name in names]
    given: dict[str, Any] = {
        "source": "SQLite file a.db",
        "target": "PostgreSQL b",
        "plan": Plan(()),
        "rows": {},
        "ranges": {},
        "disk_bytes": 8192,
        "seconds": 75.0,
        "risks": (),
        "script": "CREATE TABLE t ();\n",
        "started": "2024-01-01T12:00:00+00:00",
        "timings": {"total": 0.5},
    }
    plans = tuple(TablePlan(t, t, (Candidate(kinds.INT),), ()) for t in tables)
    given["plan"] = Plan(plans)
    given["rows"] = {t.name: 7 for t in tables}
    given["ranges"] = {t.name: 2 for t in tables}
    return PlanOutcome(**given | more)


def seen(content: dict[str, Any]) -> Seen:
    """The page as a browser sees it, after a look that nothing leads out of it or runs in it."""
    text = page.render(content)
    found = Seen(text)
    assert {tag for tag, _ in found.elements} <= ALLOWED
    for tag, attributes in found.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "action", "data", "xlink:href"):
                assert (tag, value and value[0]) == ("a", "#"), (tag, name, value)
            assert "url(" not in (value or "") if name == "style" else True
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|@font-face|image-set|expression", styles[0])
    assert found.count("meta", content="default-src 'none'; style-src 'unsafe-inline'") == 1
    anchors = [a["href"] or "" for tag, a in found.elements if tag == "a"]
    ids = [a["id"] for _, a in found.elements if "id" in a]
    assert {anchor[1:] for anchor in anchors} <= set(ids)
    assert len(ids) == len(set(ids))
    return found


# ---- the shapes -------------------------------------------------------------------------------


def test_a_verified_run() -> None:
    found = seen(report.of_outcome(outcome(table("orders", source_rows=1234567), table("item"))))
    assert "✓ Verified" in found.text
    assert "Every value of 2 tables (1,234,572 rows) is the same on both sides." in found.text
    assert "SQLite file a.db → PostgreSQL b" in found.text
    assert "2024-01-01 12:00:00 UTC" in found.text
    assert "Took 2.00 s" in found.text
    assert "617 k rows/s, 1.0 kB/s" in found.text
    assert found.count("h1", **{"class": "good"}) == 1


def test_objects_left_behind_are_told_of_at_once_and_one_by_one() -> None:
    left = (LeftBehind("trigger", "tr", "t", "why not"), LeftBehind("view", "v", "v", "so"))
    found = seen(report.of_outcome(outcome(table(), left_behind=left)))
    assert "2 objects of the source did not arrive; see below." in found.text
    assert "trigger t . tr why not" in found.text
    assert "view v so" in found.text


def test_differences_to_the_cell_and_how_many_there_are_beyond() -> None:
    listed = (
        Difference("t", "changed", (("id", "7"),), "name", "'Zoe'", "'Zoë'"),
        Difference("t", "missing", (("id", "8"),), times=3),
        Difference("t", "extra", (("id", "9"),)),
        Difference("t", "extra", (("id", "10"),), times=2, in_source=1, in_target=3),
    )
    wrong = table(
        verdict="differs",
        target_rows=4,
        differences=listed,
        differing=DifferingRows(changed=1, missing=1202, extra=1),
        more_differences=1200,
        search_cut_short=True,
    )
    found = seen(report.of_outcome(outcome(wrong, table("u"), status="differences")))
    assert "✗ Differences 1 of 2 tables is not the same: t." in found.text
    assert (
        "5 rows in the source, 4 in the target; at least 1 row changed, 1,202 rows only in the "
        "source, 1 row only in the target; 1,200 of them not listed here."
    ) in found.text
    assert "id 7 name changed 'Zo e ' 'Zo ë '" in found.text
    assert found.count("mark") == 2
    assert "id 8 only in the source, 3 times" in found.text
    assert "id 9 only in the target" in found.text
    assert "id 10 once in the source, 3 times in the target" in found.text
    assert "1 table differs" in found.text


def test_a_table_that_is_not_there() -> None:
    gone = Difference("t", "missing", (), source="the whole table")
    wrong = table(verdict="differs", target="", target_rows=0, differences=(gone,))
    found = seen(report.of_outcome(outcome(wrong, status="differences")))
    assert "t is not in the target 5 rows in the source, 0 in the target." in found.text


def test_a_sample_says_that_it_is_one() -> None:
    part = table(verdict="sampled", source_rows=1000, target_rows=1000, sampled_rows=50)
    run = outcome(part, table("u"), status="sampled", command="verify", sample=5.0)
    found = seen(report.of_outcome(run))
    assert "≈ The same as far as the sample goes No difference among what was compared of" in (
        found.text
    )
    assert "A sample: 50 of 1,000 rows of 1 table were compared; other tables whole." in found.text
    assert "Sample 5 %" in found.text
    # Of what was compared: 50 rows and 5, in two seconds.
    assert "Rate 28 rows/s" in found.text
    assert "t 50 of 1,000" in found.text
    assert "✓ Verified" not in found.text


def test_rejected_rows_violations_and_warnings() -> None:
    content = report.of_outcome(
        outcome(
            table(rejected=2, rejects_file="r/t.jsonl", normalised=(("at", 3),)),
            status="rejected",
            violations=(Violation("check", "c1", "t", 9, ((("id", "4"),),), "it was left out"),),
            warnings=("the file is\nreadable by others",),
            views=(ViewPlan(TableName("main", "v"), TableName("public", "v"), "", (), True),),
        )
    )
    found = seen(content)
    assert "! Verified but for rejected rows 2 rows of 1 table (5 rows) did not fit" in found.text
    assert "set aside in r/t.jsonl" in found.text
    assert "check t . c1 9 rows id = 4 it was left out" in found.text
    assert "the file is readable by others" in found.text
    assert "at: spelling of 3 values normalised" in found.text
    assert "1 view v ✓ shows the same rows" in found.text


def test_a_schema_alone() -> None:
    run = outcome(table(verdict="not verified", source_rows=0), status="created")
    assert "✓ Created 1 table, without rows." in seen(report.of_outcome(run)).text


def test_loaded_rejects() -> None:
    found = seen(report.of_outcome(outcome(table(), command="load rejects")))
    assert "Every value of 5 rows arrived." in found.text


def test_a_plan() -> None:
    found = seen(report.of_plan(plan_outcome("t", "u", risks=("no room",))))
    assert "Plan ▸ Planned A plan for 2 tables (14 rows). Nothing was touched." in found.text
    assert "about 1:15 min" in found.text
    assert "about 8.2 kB" in found.text
    assert "1 risk" in found.text
    assert "Risks no room" in found.text
    assert "CREATE TABLE t ();" in found.text


def test_a_failure_says_what_and_what_to_do() -> None:
    error = Refused("The target is\nnot empty.", hint="Give --drop-all.")
    found = seen(report.of_error(error, "migrate", ("a", "b")))
    assert "✗ Failed The target is not empty. Give --drop-all. a → b" in found.text
    assert "Refused, exit code 3" in found.text


def test_two_databases_under_one_verdict() -> None:
    main = report.of_outcome(outcome(table("orders"), warnings=("w",)))
    usage = report.of_error(RunFailed("no connection"), "migrate", ("a", "b"))
    found = seen(report.of_databases({"main": main, "usage": usage}))
    text = "✗ Failed Both databases. The main database: verified, the usage database: failed."
    assert text in found.text
    assert found.text.index("Main database") < found.text.index("Usage database")
    assert found.text.index("Usage database") < found.text.index("no connection")
    assert found.count("h1") == 1


def test_a_report_without_anything() -> None:
    found = seen(report.of_outcome(outcome(timings={"total": 0.0})))
    assert "Every value of 0 tables (0 rows)" in found.text
    assert found.count("svg") == 0
    seen(report.of_plan(plan_outcome()))


def test_a_report_from_before_there_was_a_timeline() -> None:
    parts = (RangeDigest(0, 5, 1, 0.25), RangeDigest(1, 5, 1, 0.5))
    content = report.of_outcome(outcome(table(source_ranges=parts)))
    del content["timeline"]
    found = seen(content)
    assert "750 ms" in found.text
    assert "Workers" not in found.text.replace("Workers 1", "")


def test_drift_of_the_schemas_is_shown_where_a_report_has_it() -> None:
    content = report.of_outcome(outcome(table()))
    content["drift"] = [
        {
            "table": "t",
            "what": "index",
            "name": "by_name",
            "state": "missing",
            "source": "(name)",
            "target": "",
        }
    ]
    found = seen(content)
    assert "The schemas are not the same" in found.text
    assert "t index by_name missing (name)" in found.text
    assert "The schemas are not the same in 1 point; see below." in found.text


# ---- whatever names and values hold -----------------------------------------------------------


def hostile_outcome(text: str) -> Outcome:
    key = ((text, text),)
    differences = (
        Difference(text, "changed", key, text, text, f"{text}!"),
        Difference(text, "missing", key, source=text),
    )
    what: Any = text
    return outcome(
        table(
            text,
            target=f"{text}2",
            verdict="differs",
            differences=differences,
            normalised=((text, 1),),
            rejected=1,
            rejects_file=text,
        ),
        status="differences",
        source=text,
        target=text,
        left_behind=(LeftBehind(text, text, text, text), LeftBehind(text, f"{text}1", text, text)),
        violations=(Violation(text, text, text, 1, (key,), text),),
        views=(ViewPlan(TableName(text, text), TableName(text, f"{text}2"), text),),
        warnings=(text,),
        versions={text: text},
        timings={text: 1.0, "total": 2.0},
        timeline=(Span(0, "run", 0, 1, name=text), Span(1, what, 0, 1, text, name=text)),
    )


def plain_elements(content: dict[str, Any]) -> Counter[str]:
    return Counter(tag for tag, _ in seen(content).elements if tag not in ("br", "mark"))


@pytest.mark.parametrize("text", HOSTILE)
def test_names_and_values_are_text_whatever_they_hold(text: str) -> None:
    content = report.of_outcome(hostile_outcome(text))
    content["drift"] = [{"table": text, "what": text, "name": text, "source": text, "target": text}]
    harmless = report.of_outcome(hostile_outcome("name"))
    harmless["drift"] = [dict.fromkeys(content["drift"][0], "name")]
    assert plain_elements(content) == plain_elements(harmless)
    shown = " ".join(spelling.visible(text).split())
    assert seen(content).text.count(shown) > 20
    for one in (
        report.of_error(RunFailed(text, hint=text), "migrate", (text, text)),
        report.of_plan(plan_outcome(text, script=text, risks=(text,), source=text)),
    ):
        rendered = page.render(one)
        assert "<script" not in rendered
        assert "<img" not in rendered
        seen(one)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_on_the_page_can_hide(text: str) -> None:
    rendered = page.render(report.of_outcome(hostile_outcome(text)))
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", rendered
    )
    rendered.encode("utf-8")


@given(st.text())
def test_visible_text_tells_its_characters_apart(text: str) -> None:
    shown = spelling.visible(text)
    assert all(character.isprintable() or character.isspace() for character in shown) or any(
        not character.isprintable() for character in text
    )
    assert spelling.visible(shown) == shown
    assert not re.search("[\x00-\x1f\u202e\ud800-\udfff]", shown)


@given(st.text(), st.text())
def test_halves_lose_nothing(first: str, second: str) -> None:
    mine, theirs = spelling.halves(first, second)
    assert ("".join(mine), "".join(theirs)) == (first, second)
    assert (mine[0], mine[2]) == (theirs[0], theirs[2])
    assert (mine[1] == theirs[1]) == (first == second)


# ---- the charts -------------------------------------------------------------------------------


def spans_of(number: int, workers: int = 4, tables: int = 2000) -> tuple[Span, ...]:
    """A busy run: every worker at work without a break, on ranges of changing tables."""
    seconds = 0.05
    return tuple(
        Span(
            worker=i % workers + 1,
            what="verify" if i > number // 2 else "copy",
            began=i // workers * seconds,
            seconds=seconds,
            table=f"a_table_with_a_name_{i % tables}",
            range=i // tables,
            rows=1000,
            bytes=123_456,
        )
        for i in range(number)
    )


def as_dicts(*spans: Span) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report.of_outcome(outcome(timeline=spans))["timeline"]
    return found


def test_each_worker_has_a_lane_and_each_job_a_bar() -> None:
    drawn = charts.chart(
        as_dicts(
            Span(0, "run", 0.0, 1.0, name="inspect"),
            Span(1, "copy", 1.0, 2.0, "t", range=0, rows=100, bytes=5000),
            Span(1, "index", 3.0, 1.0, "t", "target", name="primary key id"),
            Span(2, "verify", 2.0, 6.0, "t", "source", range=1, rows=50, failed=True),
        ),
        10.0,
    )
    assert drawn is not None
    assert [(lane.name, lane.busy) for lane in drawn.lanes] == [("worker 1", 30), ("worker 2", 60)]
    first, second = drawn.lanes[0].bars
    assert (first.left, first.width, first.what) == (10_000, 20_000, "copy")
    assert first.title == "copy t: range 0, 100 rows, 5.0 kB, 2.00 s from 1.000 s"
    assert second.title == "primary key id of t: 1.00 s from 3.000 s"
    (third,) = drawn.lanes[1].bars
    assert third.failed
    assert (
        third.title
        == "verify t: source, range 1, 50 rows, 6.00 s from 2.000 s, ended with an error"
    )
    assert [bar.label for bar in drawn.phases] == ["inspect"]
    assert drawn.activities == ("copy", "index", "verify")
    assert drawn.merged_below == 0
    assert drawn.failed == 1


def test_rows_a_second_add_up() -> None:
    drawn = charts.chart(
        as_dicts(
            Span(1, "copy", 0.0, 4.0, "t", rows=4000),
            Span(2, "copy", 2.0, 2.0, "t", rows=6000),
            Span(1, "verify", 5.0, 0.0, "t", rows=10),
            Span(2, "count", 5.0, 1.0, "t", rows=10_000_000),
        ),
        12.0,
    )
    assert drawn is not None
    copied, verified = drawn.curves
    assert (copied.rows, copied.peak, copied.mean) == (10_000, "4.00 k", "2.50 k")
    assert (verified.rows, verified.what) == (10, "verify")
    assert drawn.highest == "4.00 k"
    # A thousand rows a second for two seconds, four thousand for two more, of twelve.
    assert copied.path == "M0 1000H0V750H16667V0H33333V1000H100000V1000Z"


def test_neighbours_share_bars_where_there_are_too_many() -> None:
    drawn = charts.chart(as_dicts(*spans_of(20_000)), 250.0)
    assert drawn is not None
    assert drawn.merged_below > 0
    bars = [bar for lane in drawn.lanes for bar in lane.bars]
    assert len(drawn.lanes) < len(bars) <= charts.MOST_BARS + len(drawn.lanes)
    for lane in drawn.lanes:
        assert lane.busy == 100
        assert lane.bars[0].left == 0
        assert all(
            a.left + a.width <= b.left + 1 for a, b in zip(lane.bars, lane.bars[1:], strict=False)
        )
        last = lane.bars[-1]
        assert last.left + last.width == charts.WIDTH
    assert "jobs of" in bars[0].title


@pytest.mark.parametrize(
    ("total", "labels"),
    [
        (0.35, ["0.0 s", "0.1 s", "0.2 s", "0.3 s"]),
        (3.3, ["0 s", "1 s", "2 s", "3 s"]),
        (59.0, ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s"]),
        (200.0, ["0 s", "1:00", "2:00", "3:00"]),
        (7300.0, ["0 s", "30:00", "1:00:00", "1:30:00", "2:00:00"]),
    ],
)
def test_the_axis_of_time(total: float, labels: list[str]) -> None:
    drawn = charts.chart(as_dicts(Span(1, "copy", 0, total, "t")), total)
    assert drawn is not None
    assert [label for _, label in drawn.ticks] == labels


# ---- however much there is --------------------------------------------------------------------


def test_two_thousand_tables_and_twenty_thousand_jobs_stay_a_page() -> None:
    tables = tuple(
        table(f"a_table_with_a_name_{i}", target=f"A_table_with_a_name_{i}", bytes=i)
        for i in range(2000)
    )
    left = tuple(LeftBehind("trigger", f"t{i}", f"a_table_{i}", "no triggers") for i in range(3000))
    run = outcome(*tables, timeline=spans_of(20_000), left_behind=left)
    content = report.of_outcome(run)
    rendered = page.render(content)
    assert len(rendered.encode()) < 2_000_000
    found = seen(content)
    assert "1,950 more tables" in found.text
    assert "2,500 more objects are in the JSON report only" in found.text
    assert all(f"a_table_with_a_name_{i} " in found.text for i in range(2000))
    # The largest come first, and are seen without a click.
    shown = rendered.index("<details><summary>1,950 more tables")
    assert (
        rendered.index("A_table_with_a_name_1999")
        < shown
        < rendered.index("A_table_with_a_name_5<")
    )


def test_as_many_differences_as_there_may_be_stay_a_page() -> None:
    key = tuple((f"column_{i}", "'a value of some length'") for i in range(40))
    listed = tuple(Difference("t", "changed", key, "c", "x" * 60, "y" * 60) for _ in range(100))
    tables = tuple(table(f"t{i}", verdict="differs", differences=listed) for i in range(500))
    content = report.of_outcome(outcome(*tables, status="differences"))
    assert len(page.render(content).encode()) < 2_500_000
    found = seen(content)
    assert "500 of 500 tables are not the same: t0, t1, t2, t3, t4 and 495 more." in found.text
    assert "The differences of 300 more tables are in the JSON report only." in found.text
    assert "95 more differences are in the JSON report only" in found.text
    assert "and 28 more columns" in found.text


# ---- the file, and what it costs --------------------------------------------------------------


def test_a_name_that_ends_in_html_is_a_page(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    report.write(report.of_outcome(outcome(table())), path)
    assert path.read_text(encoding="utf-8").startswith('<!DOCTYPE html>\n<html lang="en">')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_template_is_loaded_where_no_page_is_written() -> None:
    code = (
        "import sys; from tableferry import cli, api, migration, report, summary; "
        "sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
