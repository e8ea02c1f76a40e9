"""The end of a run in a table and a few sentences, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from tableferry.model import LeftBehind, TablePlan, Violation
from tableferry.outcomes import Difference, DifferingRows, Drift, Outcome, PlanOutcome, TableOutcome
from tableferry.space import amount
from tableferry.spelling import harmless

_STYLES = {
    "verified": "green",
    "sampled": "yellow",
    "differs": "bold red",
    "not verified": "yellow",
}
_ENDS = {
    "verified": "is verified",
    "sampled": "is the same as far as the sample goes",
    "rejected": "is verified but for rejected rows",
    "differences": "is not the same",
    "created": "is created",
    "planned": "is planned",
    "failed": "was not brought to an end",
}
_MOST_DIFFERENCES = 20
_MOST_LEFT_BEHIND = 8
_MOST_REASONS = 5
_MOST_RENAMED = 8
_MOST_DRIFT = 20


def show(outcome: Outcome, console: Console, *, verbose: bool = False) -> None:
    if outcome.sample is not None:
        _say(console, _sample(outcome), "bold yellow")
    console.print(_grid(outcome))
    for table in outcome.tables:
        for line in _changes(table, verbose=verbose):
            _say(console, line, "yellow")
        for line in _repair(table):
            _say(console, line, "yellow")
        for line in _differences(table):
            _say(console, line, "red")
    for violation in outcome.violations:
        _say(console, _violation(violation), "yellow")
    for line in _left_behind(outcome.left_behind, verbose=verbose):
        _say(console, line, "yellow")
    for line in _drift(outcome.drift, verbose=verbose):
        _say(console, line, "yellow")
    for warning in outcome.warnings:
        _say(console, warning, "yellow")
    if outcome.retries:
        times = "once" if outcome.retries == 1 else f"{outcome.retries:,} times"
        _say(console, f"What had failed was tried again {times}.", "yellow")
    _say(console, _verdict(outcome), "bold green" if outcome.fine else "bold red")


def show_databases(words: Mapping[str, str], console: Console) -> None:
    """The last line of a command that concerned several databases: each with how it ended."""
    fine = {"verified", "created", "planned"}.issuperset(words.values())
    ends = ", ".join(f"the {name} database {_ENDS[word]}" for name, word in words.items())
    _say(console, f"Both: {ends}.", "bold green" if fine else "bold red")


def show_plan(outcome: PlanOutcome, console: Console, *, verbose: bool = False) -> None:
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("table", overflow="fold")
    for name in ("rows", "bytes", "ranges"):
        grid.add_column(name, justify="right")
    grid.add_column("in the target", overflow="fold")
    for table in outcome.plan.tables:
        there = " (exists, keeps its definition)" if table.adopted else ""
        grid.add_row(
            Text(harmless(str(table.source.name))),
            f"{outcome.rows[table.source.name]:,}",
            amount(table.source.size),
            f"{outcome.ranges[table.source.name]:,}",
            Text(harmless(f"{table.target.name}{there}")),
        )
    console.print(grid)
    for table in outcome.plan.tables:
        for line in _plan_changes(str(table.source.name), table, verbose=verbose):
            _say(console, line, "yellow")
    for line in _left_behind(outcome.plan.left_behind, verbose=verbose):
        _say(console, line, "yellow")
    for risk in outcome.risks:
        _say(console, f"Risk: {risk}", "bold yellow")
    rows = sum(outcome.rows.values())
    tables, views = len(outcome.plan.tables), len(outcome.plan.views)
    _say(
        console,
        f"A plan for {tables:,} {'table' if tables == 1 else 'tables'}, {rows:,} rows and "
        f"{views:,} {'view' if views == 1 else 'views'}: about {_duration(outcome.seconds)} and "
        f"{amount(outcome.disk_bytes)} in the target. Nothing was touched.",
        "bold",
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60):,} min"


def _say(console: Console, text: str, style: str) -> None:
    # Text, not markup: names and values may hold anything.
    console.print(Text(harmless(text), style=style), soft_wrap=True)


def _grid(outcome: Outcome) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("table", overflow="fold")
    for name in ("rows", "bytes", "seconds", "rows/s"):
        grid.add_column(name, justify="right")
    grid.add_column("verdict")
    for table in outcome.tables:
        seconds = _busy_seconds(table)
        rate = f"{table.source_rows / seconds:,.0f}" if seconds else ""
        grid.add_row(
            Text(harmless(table.source)),
            f"{table.source_rows:,}",
            amount(table.bytes),
            f"{seconds:.2f}",
            rate,
            Text(table.verdict, style=_STYLES[table.verdict]),
        )
    return grid


def _busy_seconds(table: TableOutcome) -> float:
    """What workers spent on the table's rows, both sides: ranges of a table run side by side."""
    return sum(part.seconds for part in (*table.source_ranges, *table.target_ranges))


def _changes(table: TableOutcome, *, verbose: bool) -> list[str]:
    lines = []
    if table.plan is not None:
        lines = _plan_changes(table.source, table.plan, verbose=verbose)
    if table.rejected:
        lines.append(
            f"{table.source}: {table.rejected:,} rows were set aside in "
            f"{table.rejects_file}; put them right, then load them with --rejects"
        )
    if table.converted:
        columns = ", ".join(f"{column} ({count:,})" for column, count in table.converted)
        lines.append(f"{table.source}: converted by your rules: {columns}")
    if table.normalised:
        columns = ", ".join(f"{column} ({count:,})" for column, count in table.normalised)
        lines.append(f"{table.source}: spelling normalised, same values: {columns}")
    return lines


def _plan_changes(name: str, table: TablePlan, *, verbose: bool) -> list[str]:
    lines = []
    for widening in table.widened:
        shown = f", such as {widening.examples[0].value}" if widening.examples else ""
        merged = (
            f" (storage classes merged: {', '.join(widening.merged_classes)})"
            if widening.merged_classes
            else ""
        )
        lines.append(
            f"{name}.{widening.column}: {widening.count:,} values do not fit "
            f"{widening.planned}{shown}; the column became {widening.became}{merged}"
        )
    renamed = table.renamed
    if verbose or len(renamed) <= _MOST_RENAMED:
        lines += [f"{old} is called {new} in the target" for old, new in renamed]
    else:
        old, new = renamed[0]
        lines.append(
            f"{old} is called {new} in the target, and {len(renamed) - 1} of its columns, keys and "
            "indexes have other names too (--verbose lists them)"
        )
    return lines


def _repair(table: TableOutcome) -> list[str]:
    done = table.repair
    if done is None:
        return []
    lines = []
    counts = {"changed": done.changed, "inserted": done.inserted, "deleted": done.deleted}
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if told:
        lines.append(
            f"{table.source}: {done.total:,} {'row' if done.total == 1 else 'rows'} repaired "
            f"({told})"
        )
    if done.reasons:
        left = f" ({done.left:,} {'row' if done.left == 1 else 'rows'})" if done.left else ""
        why = "; ".join(done.reasons[:_MOST_REASONS])
        more = len(done.reasons) - _MOST_REASONS
        why += f"; and {more} more reasons" if more > 0 else ""
        lines.append(f"{table.source}: could not be repaired{left}: {why}")
    return lines


def _differences(table: TableOutcome) -> list[str]:
    if table.verdict != "differs":
        return []
    listed = table.differences[:_MOST_DIFFERENCES]
    lines = [describe(difference) for difference in listed]
    if table.source_rows != table.target_rows:
        lines.append(
            f"{table.source}: {table.source_rows:,} rows in the source, {table.target_rows:,} in "
            "the target"
        )
    if len(listed) < len(table.differences) or table.more_differences:
        at_least = "at least " if table.search_cut_short else ""
        lines.append(f"{table.source}: {at_least}{_differing(table.differing)}")
    elif table.search_cut_short:
        lines.append(f"{table.source}: there may be more differences")
    return lines


def _differing(rows: DifferingRows) -> str:
    """All rows that differ."""
    counts = {
        "changed": rows.changed,
        "only in the source": rows.missing,
        "only in the target": rows.extra,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return f"{rows.total:,} rows differ ({told})"


def describe(difference: Difference) -> str:
    """One difference in a line: where, and what stands on each side."""
    where = difference.table
    if difference.key:
        where += " (" + ", ".join(f"{name} = {value}" for name, value in difference.key) + ")"
    if difference.what == "changed":
        return (
            f"{where}, column {difference.column}: {difference.source} in the source, "
            f"{difference.target} in the target"
        )
    side = "source" if difference.what == "missing" else "target"
    column = f", column {difference.column}," if difference.column else ""
    if difference.in_source and difference.in_target:
        mine, theirs = map(_times, (difference.in_source, difference.in_target))
        return f"{where} stands {mine} in the source, {theirs} in the target"
    times = f", {difference.times:,} times" if difference.times > 1 else ""
    return f"{where}{column} is only in the {side}{times}"


def _sample(outcome: Outcome) -> str:
    part = [table for table in outcome.tables if table.sampled_rows is not None]
    rows = sum(table.sampled_rows or 0 for table in part)
    all_rows = sum(table.source_rows for table in part)
    if not part:
        return "A sample of no table: each is small, or has no key of integers, and was read whole."
    return (
        f"A sample: {rows:,} of {all_rows:,} rows of {len(part):,} "
        f"{'table' if len(part) == 1 else 'tables'} were compared; other tables whole."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _violation(violation: Violation) -> str:
    shown = "; ".join(", ".join(f"{c} = {v}" for c, v in row) for row in violation.examples)
    more = violation.rows > len(violation.examples)
    return (
        f"{violation.table}: {violation.rows:,} rows break the {violation.what} {violation.name}: "
        f"{violation.consequence} ({'such as ' if more else ''}{shown})"
    )


def _left_behind(items: tuple[LeftBehind, ...], *, verbose: bool) -> list[str]:
    """One line for a kind of object and reason, unless all is wanted; the report names each."""
    if verbose:
        return [f"Left behind: {_name(item)}: {item.reason}" for item in items]
    lines = []
    for what, group in groupby(sorted(items, key=lambda item: item.what), lambda item: item.what):
        names = [_place(item) for item in group]
        listed = ", ".join(names[:_MOST_LEFT_BEHIND])
        more = len(names) - _MOST_LEFT_BEHIND
        lines.append(f"Left behind: {what} {listed}" + (f" and {more} more" if more > 0 else ""))
    if lines:
        lines.append("Reasons stand in the report (--report FILE) and under --verbose.")
    return lines


def _drift(items: tuple[Drift, ...], *, verbose: bool) -> list[str]:
    """What is missing first; then how many there are of each."""
    if not items:
        return []
    listed = items if verbose else items[:_MOST_DRIFT]
    lines = [f"Schema drift: {_described(item)}" for item in listed]
    counts: Counter[str] = Counter(item.state for item in items)
    words = {"missing": "missing", "different": "different", "extra": "only in the target"}
    total = ", ".join(f"{counts[state]:,} {word}" for state, word in words.items() if counts[state])
    more = " (--verbose lists all)" if len(listed) < len(items) else ""
    return [*lines, f"Schema drift: {total}{more}."]


def _described(item: Drift) -> str:
    alone = item.table == item.name
    place = f"{item.what} {item.name}" if alone else f"{item.table}, {item.what} {item.name}"
    match item.state:
        case "missing":
            return f"missing in the target: {place}: {item.source}"
        case "extra":
            return f"only in the target: {place}: {item.target}"
    return f"{place}: {item.source} would be made of the source, {item.target} is in the target"


def _name(item: LeftBehind) -> str:
    return f"{item.what} {_place(item)}"


def _place(item: LeftBehind) -> str:
    alone = item.table in ("", item.name)
    return item.name if alone else f"{item.table}.{item.name}"


def _verdict(outcome: Outcome) -> str:
    seconds = outcome.timings.get("total", 0.0)
    rows = sum(table.source_rows for table in outcome.tables)
    count = len(outcome.tables)
    done = f"{count} {'table' if count == 1 else 'tables'}, {rows:,} rows in {seconds:.1f} s"
    if outcome.verified:
        return f"Verified: every value of {done}."
    if outcome.status == "sampled":
        return f"No difference in the sample: {done}."
    if outcome.status == "rejected":
        rejected = sum(table.rejected for table in outcome.tables)
        return f"Verified, but for {rejected:,} rejected rows: {done}."
    if outcome.status == "created":
        return (
            f"Created: {count} {'table' if count == 1 else 'tables'} in {seconds:.1f} s, no rows."
        )
    wrong = [
        table.source for table in outcome.tables if table.verdict not in ("verified", "sampled")
    ]
    return f"Not the same: {', '.join(wrong)} ({done})."
