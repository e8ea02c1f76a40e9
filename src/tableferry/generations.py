"""When a table is loaded again under another plan, and when a run ends instead. Pure."""

from __future__ import annotations

from dataclasses import replace

from tableferry.errors import MisfitFound, RunFailed
from tableferry.kinds import NUMBER
from tableferry.model import Example, Survey, TablePlan
from tableferry.outcomes import TableOutcome


def declared_types_kept(plan: TablePlan, survey: Survey) -> Survey:
    """The survey as if all values fitted, but for columns that have no type to hold on to: none
    declared, and none by a rule."""
    return replace(
        survey,
        findings=tuple(
            (replace(findings[0], misfits=0), *findings[1:])
            if findings[0].candidate.kind != NUMBER
            and (column.typed or findings[0].candidate.ruled)
            else findings
            for column, findings in zip(plan.source.columns, survey.findings, strict=True)
        ),
    )


def closest_kept(plan: TablePlan, survey: Survey) -> Survey:
    """The survey as if all values fitted the reading that takes most of them: an existing column
    keeps its type."""
    kept = []
    for findings in survey.findings:
        fewest = min(finding.misfits for finding in findings)
        kept.append(tuple(replace(f, misfits=f.misfits - fewest) for f in findings))
    return replace(survey, findings=tuple(kept))


def require_fitting(plan: TablePlan, survey: Survey) -> None:
    """Raises RunFailed where an application's column cannot take all values: its type is not ours
    to change."""
    for column, theirs, findings in zip(
        plan.source.columns, plan.target.columns, survey.findings, strict=True
    ):
        if all(finding.misfits for finding in findings):
            closest = min(findings, key=lambda finding: finding.misfits)
            name = f"{plan.source.name}, column {column.name}"
            raise RunFailed(
                _misfit_sentence(name, closest.misfits, theirs.declared, closest.examples),
                hint="Correct the values in the source, or let --misfit reject set rows aside.",
            )


def first_misfit(table: TablePlan) -> str:
    """The first column that was widened, in a sentence."""
    widening = table.widened[0]
    name = f"{table.source.name}, column {widening.column}"
    return _misfit_sentence(name, widening.count, widening.planned, widening.examples)


def _misfit_sentence(name: str, count: int, type_name: str, examples: tuple[Example, ...]) -> str:
    shown = ""
    if examples:
        key = ", ".join(f"{column} = {value}" for column, value in examples[0].key)
        shown = f": {examples[0].value}" + (f" at {key}" if key else "")
    return f"Table {name}: {count} values do not fit {type_name}{shown}."


def computed_columns(table: TablePlan) -> frozenset[str]:
    """The columns of the source that the target computes itself."""
    pairs = zip(table.source.columns, table.target.columns, strict=True)
    return frozenset(mine.name for mine, theirs in pairs if theirs.generated)


def computed_otherwise(table: TablePlan, outcome: TableOutcome) -> frozenset[str]:
    """Of the columns that the target computes, those with other values; where rows cannot be told
    apart, it may be any."""
    computed = computed_columns(table)
    changed = {difference.column for difference in outcome.differences}
    if outcome.verdict == "differs" and (changed <= {""} or not table.source.primary_key):
        return computed
    return computed & changed


def why_again(table: TablePlan, before: TablePlan, most: int = 5) -> str:
    """Why a table, planned otherwise before, starts anew under another generation; for people."""
    if table.rejecting:
        return f"{table.source.name} is loaded again without the rows that are set aside"
    if table.adopted:
        return f"{table.source.name} is loaded again, its values read as its columns demand"
    if not table.widened and computed_columns(table) != computed_columns(before):
        return f"{table.source.name} is loaded again without computing columns anew"
    if not table.widened:
        return f"{table.source.name} is loaded again, its numbers read as what they are"
    columns = [f"{w.column} {w.planned} → {w.became}" for w in table.widened]
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    listed = ", ".join(columns[:most])
    return f"{table.source.name} is loaded again with wider types: {listed}{more}"


def misread(
    table: TablePlan, refused: MisfitFound | None, rows: tuple[int | None, int]
) -> RunFailed:
    """Where reading everything anew has shown nothing that would not fit: ``refused`` is what was
    met before, ``rows`` how many were counted (None before that) and read."""
    name = table.source.name
    columns = refused.details.get("columns") if refused is not None else None
    if refused is not None and columns:
        types = {column.name: column.declared for column in table.target.columns}
        listed = ", ".join(f"{column} ({types.get(column, '')})" for column in columns)
        value = refused.details.get("value", "a value")
        return RunFailed(
            f"Table {name}: {value} does not fit the target's column {listed}.",
            hint="Correct the value in the source, or change the column's type in the target.",
        )
    counted, read = rows
    what = f"{counted} rows are counted, but {read} were read"
    if counted is None:
        what = "a value was read that does not fit"
    return RunFailed(
        f"Table {name}: {what}, and all values fit.",
        hint="An index or the file may be damaged: run PRAGMA integrity_check.",
    )
