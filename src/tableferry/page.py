"""A report as one page of HTML that needs nothing else: no script, no font, no network. Pure.

``render`` takes what report.of_outcome, of_plan, of_error and of_databases give, prepares what is
to be seen (this module and charts.py), and leaves how it looks to templates/report.html. Keys that
a report does not have are passed over, so that a page can be made of an older one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from tableferry import charts, spelling
from tableferry.spelling import count, duration, rate, size, visible

if TYPE_CHECKING:
    from jinja2 import Template

Report: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

# How much of what there may be any number of is shown at once, and how much at all; the JSON
# report has everything.
_FIRST_TABLES = 50
_MOST_TABLES = 5_000
_FIRST_ITEMS = 20
_MOST_ITEMS = 500
_MOST_DIFFERENCES = 1_000
_MOST_DIFFERING = 200
_MOST_KEY_COLUMNS = 12
_MOST_CHARACTERS = 400
_SHORT_KEY = 40
_MOST_SQL = 300_000


@dataclass(frozen=True, slots=True)
class Verdict:
    tone: Literal["good", "warn", "bad", "plain"]
    sign: str
    word: str
    sentence: str
    # What it means or what to do, where there is something to say.
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """As much of a list as a page can take: some at once, the rest folded away."""

    first: tuple[T, ...]
    rest: tuple[T, ...]
    total: int

    @property
    def left_out(self) -> int:
        return self.total - len(self.first) - len(self.rest)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of tables. Sizes of bars are in percent of the largest."""

    source: str
    target: str
    verdict: str
    tone: str
    rows: str
    size: str
    size_bar: float
    time: str
    # By what was done: where the part of the bar begins, and how wide it is.
    time_bar: tuple[tuple[str, float, float], ...] = ()
    ranges: int | None = None
    existing: bool = False

    @property
    def sign(self) -> str:
        return {"verified": "✓", "differs": "✗", "sampled": "≈"}.get(self.verdict, "–")


@dataclass(frozen=True, slots=True)
class Cell:
    """One difference: a cell that is not the same, or a row or column that only one side has."""

    what: str
    key: tuple[tuple[str, str], ...]
    more_columns: int
    column: str
    # Each side's value as what it begins with like the other, what is its own, and the end.
    source: tuple[str, str, str]
    target: tuple[str, str, str]

    @property
    def short_key(self) -> bool:
        """Whether it fits into a line."""
        return sum(len(name) + len(value) for name, value in self.key) < _SHORT_KEY


@dataclass(frozen=True, slots=True)
class Differing:
    """A table that is not the same, or could not be told to be."""

    source: str
    target: str
    counts: tuple[str, ...]
    cells: Listing[Cell]
    # Whether any of them is less than a whole row.
    to_the_cell: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Of one run: what the template shows, from top to bottom."""

    name: str
    verdict: Verdict
    source: str
    target: str
    facts: tuple[tuple[str, str], ...]
    jumps: tuple[tuple[str, str, str], ...] = ()
    differing: tuple[Differing, ...] = ()
    differing_left_out: int = 0
    drift: Listing[Mapping[str, Any]] | None = None
    left_behind: Listing[Mapping[str, Any]] | None = None
    violations: Listing[Mapping[str, Any]] | None = None
    warnings: Listing[str] | None = None
    changes: Listing[tuple[str, str]] | None = None
    tables: Listing[Row] | None = None
    planned: bool = False
    views: Listing[Mapping[str, Any]] | None = None
    chart: charts.Chart | None = None
    timings: tuple[tuple[str, str], ...] = ()
    versions: str = ""
    sql: str = ""
    sql_left_out: bool = False


def render(report: Report) -> str:
    """The page of a report of any shape; see docs/report.md."""
    parts = report.get("databases") or [{"database": "", "report": report}]
    sections = [_section(part["report"], part["database"]) for part in parts]
    overall = _overall(report, sections) if len(sections) > 1 else sections[0].verdict
    return _template().render(
        sections=sections,
        overall=overall,
        several=len(sections) > 1,
        command=_COMMANDS.get(report["command"], report["command"]),
        activities=charts.ACTIVITIES,
        count=count,
        duration=duration,
    )


@functools.cache
def _template() -> Template:
    # Loaded here: most runs write no page.
    from jinja2 import Environment, StrictUndefined

    def shown(value: Any) -> Any:
        return visible(value) if type(value) is str else value

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        # Whatever a template puts on the page goes through it: no name or value can hide.
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = resources.files("tableferry").joinpath("templates", "report.html").read_text("utf-8")
    return environment.from_string(text)


_COMMANDS = {
    "migrate": "Migration",
    "verify": "Verification",
    "repair": "Repair",
    "plan": "Plan",
    "load rejects": "Loading of rejected rows",
}


def _listing(items: Iterable[T], first: int = _FIRST_ITEMS, most: int = _MOST_ITEMS) -> Listing[T]:
    every = tuple(items)
    # Not worth a fold of its own.
    first = len(every) if len(every) <= first + 3 else first
    return Listing(every[:first], every[first:most], len(every))


def _or_none(items: Sequence[T]) -> Listing[T] | None:
    return _listing(items) if items else None


# The verdict


def _overall(report: Report, sections: Sequence[Section]) -> Verdict:
    worst = next(s.verdict for s in sections if _status_word(report) == s.verdict.word)
    words = ", ".join(f"the {s.name} database: {s.verdict.word.lower()}" for s in sections)
    return Verdict(worst.tone, worst.sign, worst.word, f"Both databases. {_upper(words)}.")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


_WORDS = {
    "verified": "Verified",
    "sampled": "The same as far as the sample goes",
    "rejected": "Verified but for rejected rows",
    "differences": "Differences",
    "created": "Created",
    "planned": "Planned",
    "failed": "Failed",
}


def _status_word(report: Report) -> str:
    status: str = report["status"]
    return _WORDS.get(status, _upper(status))


def _verdict(report: Report) -> Verdict:
    status, word = report["status"], _status_word(report)
    tables = report.get("tables", [])
    whole = f"{count(len(tables), 'table')} ({count(_rows(tables), 'row')})"
    if status == "failed":
        error = report["error"]
        return Verdict("bad", "✗", word, error["message"], tuple(filter(None, [error["hint"]])))
    if status == "planned":
        sentence = f"A plan for {whole}. Nothing was touched."
        return Verdict("plain", "▸", word, sentence)
    if status == "created":
        return Verdict("good", "✓", word, f"{count(len(tables), 'table')}, without rows.")
    if status == "rejected":
        aside = sum(table["rejected"]["rows"] for table in tables)
        sentence = (
            f"{count(aside, 'row')} of {whole} did not fit and "
            f"{'was' if aside == 1 else 'were'} set aside; every other value is the same on "
            "both sides."
        )
        more = "Put them right in their files, then load them with --rejects."
        return Verdict("warn", "!", word, sentence, (more,))
    if status == "differences":
        fine = ("verified", "sampled")
        wrong = [table["source"] for table in tables if table["verdict"] not in fine]
        names = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5:,} more" if len(wrong) > 5 else "")
        verb = "is" if len(wrong) == 1 else "are"
        more = _sample(report)
        sentence = f"{len(wrong):,} of {count(len(tables), 'table')} {verb} not the same: {names}."
        return Verdict("bad", "✗", word, sentence, tuple(filter(None, [more])))
    if status == "sampled":
        sentence = f"No difference among what was compared of {whole}."
        return Verdict("warn", "≈", word, sentence, (_sample(report),))
    left, drift = len(report.get("left_behind", [])), len(report.get("drift", []))
    besides = []
    if left:
        besides.append(f"{count(left, 'object')} of the source did not arrive; see below.")
    if drift:
        besides.append(f"The schemas are not the same in {count(drift, 'point')}; see below.")
    sentence = f"Every value of {whole} is the same on both sides."
    if report.get("command") == "load rejects":
        sentence = f"Every value of {count(_rows(tables), 'row')} arrived."
    return Verdict("good", "✓", word, sentence, tuple(besides))


def _sample(report: Report) -> str:
    if report.get("sample_percent") is None:
        return ""
    part = [t for t in report["tables"] if t.get("sampled_rows") is not None]
    if not part:
        return "A sample of no table: each was read whole."
    rows = sum(table["sampled_rows"] for table in part)
    return (
        f"A sample: {rows:,} of {count(_rows(part), 'row')} of {count(len(part), 'table')} "
        "were compared; other tables whole."
    )


def _rows(tables: Iterable[Report]) -> int:
    return sum(_source_rows(table) for table in tables)


def _source_rows(table: Report) -> int:
    rows = table["rows"]
    found: int = rows["source"] if isinstance(rows, Mapping) else rows
    return found


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = []
    tables = report.get("tables", [])
    seconds = report.get("timings", {}).get("total", 0.0)
    if "error" in report:
        facts.append(("Ended", f"{report['error']['kind']}, exit code {_exit_code(report)}"))
    if "started" in report:
        facts.append(("Started", f"{report['started'][:10]} {report['started'][11:19]} UTC"))
    if "estimate" in report:
        estimate = report["estimate"]
        facts.append(("May take", f"about {duration(max(1, round(estimate['seconds'])))}"))
        facts.append(("In the target", f"about {size(estimate['disk_bytes'])}"))
    elif seconds:
        facts.append(("Took", duration(seconds)))
    if tables:
        rows, held = _rows(tables), sum(table["bytes"] for table in tables)
        facts += [("Rows", f"{rows:,}"), ("Values", size(held))]
        if seconds and rows and "estimate" not in report:
            compared = rows - sum(
                _source_rows(table) - table["sampled_rows"]
                for table in tables
                if table.get("sampled_rows") is not None
            )
            facts.append(("Rate", f"{rate(compared / seconds)} rows/s, {size(held / seconds)}/s"))
    if report.get("sample_percent") is not None:
        facts.append(("Sample", f"{report['sample_percent']:g} %"))
    if "workers" in report:
        facts.append(("Workers", str(_workers(report))))
    return facts


def _exit_code(report: Report) -> int:
    code: int = report["error"]["exit_code"]
    return code


def _workers(report: Report) -> int:
    """Those that were at work: a small database needs no more than one."""
    seen = {span["worker"] for span in report.get("timeline", [])} - {0}
    workers: int = len(seen) or report["workers"]
    return workers


# What to know besides


def _section(report: Report, name: str) -> Section:
    tables = report.get("tables", [])
    wrong = [t for t in tables if t.get("verdict") == "differs" or _listed(t)]
    timings = report.get("timings", {})
    versions = report.get("versions", {})
    sql = report.get("sql", "")
    section = Section(
        name=name,
        verdict=_verdict(report),
        source=report["source"],
        target=report["target"],
        facts=tuple(_facts(report)),
        differing=tuple(_differing(wrong)),
        differing_left_out=max(0, len(wrong) - _MOST_DIFFERING),
        drift=_or_none(report.get("drift") or []),
        left_behind=_or_none(report.get("left_behind", [])),
        violations=_or_none(report.get("violations", [])),
        warnings=_or_none([*report.get("risks", []), *report.get("warnings", [])]),
        changes=_or_none([line for table in tables for line in _changes(table)]),
        tables=_tables(report) if tables else None,
        planned="estimate" in report,
        views=_or_none(report.get("views", [])),
        chart=charts.chart(report.get("timeline", []), timings.get("total", 0.0)),
        timings=tuple((phase, duration(seconds)) for phase, seconds in timings.items()),
        versions=", ".join(f"{package} {version}" for package, version in versions.items()),
        sql=sql[:_MOST_SQL],
        sql_left_out=len(sql) > _MOST_SQL,
    )
    return _with_jumps(section)


def _with_jumps(section: Section) -> Section:
    """With links to what needs a look, by tone."""
    wrong = len(section.differing) + section.differing_left_out
    verb = "differs" if wrong == 1 else "differ"
    jumps = [("bad", "differences", f"{count(wrong, 'table')} {verb}")] if wrong else []
    for listing, anchor, what, several, tone in (
        (section.drift, "drift", "difference of the schemas", "differences of the schemas", "warn"),
        (section.violations, "violations", "broken rule", "", "warn"),
        (section.left_behind, "left-behind", "object left behind", "objects left behind", "warn"),
        (section.warnings, "warnings", "risk" if section.planned else "warning", "", "warn"),
        (section.changes, "changes", "change to know of", "changes to know of", "plain"),
    ):
        if listing is not None:
            jumps.append((tone, anchor, count(listing.total, what, several)))
    return replace(section, jumps=tuple(jumps))


def _listed(table: Report) -> Sequence[Report]:
    listed: Sequence[Report] = table.get("differences", {}).get("listed", ())
    return listed


def _differing(tables: Sequence[Report]) -> Iterable[Differing]:
    shown = tables[:_MOST_DIFFERING]
    each = max(5, _MOST_DIFFERENCES // max(1, len(shown)))
    for table in shown:
        # Of a table that is not there, its name says everything.
        listed = _listed(table) if table["target"] else ()
        cells = [_cell(difference) for difference in islice(listed, each)]
        found = _listing(cells, most=each)
        yield Differing(
            table["source"],
            table["target"],
            tuple(_counts(table)),
            Listing(found.first, found.rest, len(listed)),
            any(difference["column"] for difference in listed),
        )


def _counts(table: Report) -> Iterable[str]:
    """How much differs, as far as the report tells."""
    found, rows = table["differences"], table["rows"]
    if rows["source"] != rows["target"]:
        yield f"{count(rows['source'], 'row')} in the source, {rows['target']:,} in the target"
    differing = [
        f"{count(number, 'row')} {_WHATS.get(what, what)}"
        for what, number in found.get("rows", {}).items()
        if number
    ]
    cut_short = found.get("search_cut_short")
    if differing:
        yield ("at least " if cut_short else "") + ", ".join(differing)
    elif cut_short:
        yield "there may be more"
    if found.get("more_rows"):
        yield f"{found['more_rows']:,} of them not listed here"


_WHATS = {
    "changed": "changed",
    "missing": "only in the source",
    "extra": "only in the target",
}


def _cell(difference: Report) -> Cell:
    key = [(name, _cut(value)) for name, value in difference["key"].items()]
    source, target = _cut(difference["source"]), _cut(difference["target"])
    if difference["what"] == "changed":
        mine, theirs = spelling.halves(source, target)
    else:
        mine, theirs = (source, "", ""), (target, "", "")
    return Cell(
        _what(difference),
        tuple(key[:_MOST_KEY_COLUMNS]),
        max(0, len(key) - _MOST_KEY_COLUMNS),
        difference["column"],
        mine,
        theirs,
    )


def _what(difference: Report) -> str:
    """In words, and how often where the row stands more than once."""
    what: str = difference["what"]
    times: int = difference["times"]
    sides = difference.get("in_source", 0), difference.get("in_target", 0)
    if what != "changed" and all(sides):
        mine, theirs = map(_times, sides)
        return f"{mine} in the source, {theirs} in the target"
    words: str = _WHATS.get(what, what)
    return f"{words}, {_times(times)}" if times > 1 else words


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def _repair(repair: Report) -> Iterable[str]:
    done = [
        f"{repair[what]:,} {what}" for what in ("changed", "inserted", "deleted") if repair[what]
    ]
    if done:
        yield f"rows repaired: {', '.join(done)}"
    if repair["reasons"]:
        left = f" ({count(repair['left'], 'row')})" if repair["left"] else ""
        yield f"could not be repaired{left}: {_cut('; '.join(repair['reasons']))}"


def _changes(table: Report) -> Iterable[tuple[str, str]]:
    """What was repaired, and what arrived otherwise than the source has it, and is meant to: by
    table, a sentence each."""
    name = table["source"]
    for sentence in _repair(table["repair"]) if table.get("repair") else ():
        yield name, sentence
    aside = table.get("rejected", {}).get("rows")
    if aside:
        file = table["rejected"]["file"]
        yield name, f"{count(aside, 'row')} did not fit: set aside in {file}"
    plan = table.get("plan") or {}
    for misfit in plan.get("misfits", ()):
        yield name, _misfit(misfit)
    for column, number in table.get("converted", {}).items():
        yield name, f"{column}: {count(number, 'value')} converted by your rules"
    for column, number in table.get("spelling_normalised", {}).items():
        yield name, f"{column}: spelling of {count(number, 'value')} normalised, same meaning"
    for old, new in plan.get("renamed", {}).items():
        yield name, f"{old} is called {new} in the target"


def _misfit(misfit: Report) -> str:
    became = f"{misfit['column']}: it became {misfit['became']}"
    if not misfit["count"]:
        return f"{became}, as the other side of a foreign key did"
    shown = "; ".join(_cut(example["value"]) for example in misfit["examples"])
    merged = ", ".join(misfit["merged_classes"])
    return (
        f"{became}, since {count(misfit['count'], 'value')} "
        f"{'does' if misfit['count'] == 1 else 'do'} not fit {misfit['planned']}"
        f"{f', such as {shown}' if shown else ''}"
        f"{f'; storage classes merged: {merged}' if merged else ''}"
    )


# Tables by size and time


def _tables(report: Report) -> Listing[Row]:
    tables = sorted(report["tables"], key=lambda table: (-table["bytes"], table["source"]))
    busy = charts.busy_seconds(report.get("timeline", []))
    spent = {table["source"]: busy.get(table["source"]) or _of_ranges(table) for table in tables}
    largest = max((table["bytes"] for table in tables), default=0) or 1
    longest = max((sum(each.values()) for each in spent.values()), default=0.0) or 1.0
    rows = (_row(table, spent[table["source"]], (largest, longest)) for table in tables)
    return _listing(rows, _FIRST_TABLES, _MOST_TABLES)


def _of_ranges(table: Report) -> dict[str, float]:
    """As busy_seconds, of a report without a timeline."""
    ranges = table.get("ranges")
    if not isinstance(ranges, Mapping):
        return {}
    return {"other": sum(part["seconds"] for side in ranges.values() for part in side)}


def _row(table: Report, spent: Mapping[str, float], most: tuple[int, float]) -> Row:
    largest, longest = most
    parts, left = [], 0.0
    for what in charts.ACTIVITIES:
        if spent.get(what):
            width = 100 * spent[what] / longest
            parts.append((what, round(left, 2), round(width, 2)))
            left += width
    verdict = table.get("verdict", "")
    ranges = table.get("ranges")
    target = table["target"]
    rows, sampled = _source_rows(table), table.get("sampled_rows")
    return Row(
        source=table["source"],
        target="" if target == table["source"] else target or "not in the target",
        verdict=verdict,
        tone={"verified": "good", "differs": "bad"}.get(verdict, "plain"),
        rows=f"{rows:,}" if sampled is None else f"{sampled:,} of {rows:,}",
        size=size(table["bytes"]),
        size_bar=round(100 * table["bytes"] / largest, 2),
        time=duration(sum(spent.values())) if spent else "",
        time_bar=tuple(parts),
        ranges=ranges if isinstance(ranges, int) else None,
        existing=table.get("existing", False),
    )
