"""Outcomes in the shape that docs/report.schema.json writes down, and as files: JSON, or a page."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tableferry.errors import TableferryError, UsageError
from tableferry.model import Identity, TablePlan
from tableferry.outcomes import Outcome, PlanOutcome, RangeDigest, Span, TableOutcome
from tableferry.spelling import escaped

FORMAT = 2
_FROM_BEST_TO_WORST = (
    "verified",
    "sampled",
    "created",
    "planned",
    "rejected",
    "differences",
    "failed",
)
_WHERE = "Name a file in a folder that exists and can be written."


def of_outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        # First of all: nobody must take a look at some rows for a proof of all.
        "sample_percent": outcome.sample,
        "format": FORMAT,
        "status": outcome.status,
        "command": outcome.command,
        "started": outcome.started,
        "versions": outcome.versions,
        "source": outcome.source,
        "target": outcome.target,
        "workers": outcome.workers,
        "retries": outcome.retries,
        "timings": _seconds(outcome.timings),
        "tables": [_table(table) for table in outcome.tables],
        "left_behind": [asdict(item) for item in outcome.left_behind],
        "views": [
            {
                "source": str(view.source),
                "target": view.target.name,
                "compared": view.compared,
            }
            for view in outcome.views
        ],
        "violations": [
            asdict(violation) | {"examples": [dict(row) for row in violation.examples]}
            for violation in outcome.violations
        ],
        "drift": [asdict(drift) for drift in outcome.drift],
        "warnings": list(outcome.warnings),
        "timeline": [_span(span) for span in outcome.timeline],
    }


def of_plan(outcome: PlanOutcome) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "status": "planned",
        "command": "plan",
        "started": outcome.started,
        "versions": outcome.versions,
        "source": outcome.source,
        "target": outcome.target,
        "workers": outcome.workers,
        "timings": _seconds(outcome.timings),
        "tables": [
            {
                "source": str(table.source.name),
                "target": str(table.target.name),
                "existing": table.adopted,
                "rows": outcome.rows[table.source.name],
                "bytes": table.source.size,
                "ranges": outcome.ranges[table.source.name],
                "plan": _plan(table),
            }
            for table in outcome.plan.tables
        ],
        "views": [
            {"source": str(view.source), "target": view.target.name, "compared": False}
            for view in outcome.plan.views
        ],
        "left_behind": [asdict(item) for item in outcome.plan.left_behind],
        "risks": list(outcome.risks),
        "estimate": {"seconds": round(outcome.seconds, 1), "disk_bytes": outcome.disk_bytes},
        "sql": outcome.script,
    }


def of_error(error: TableferryError, command: str, ends: tuple[str, str]) -> dict[str, Any]:
    """What is known of a run that did not come to an outcome."""
    return {
        "format": FORMAT,
        "status": "failed",
        "command": command,
        "source": ends[0],
        "target": ends[1],
        "error": {
            "kind": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        },
    }


def of_databases(reports: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Of a command that concerned several databases: the report of each, by its name."""
    found = list(reports.values())
    return {
        "format": FORMAT,
        "status": max((report["status"] for report in found), key=_FROM_BEST_TO_WORST.index),
        "command": found[0]["command"],
        "databases": [{"database": name, "report": report} for name, report in reports.items()],
    }


def _table(table: TableOutcome) -> dict[str, Any]:
    return {
        "source": table.source,
        "target": table.target,
        "verdict": table.verdict,
        "rows": {"source": table.source_rows, "target": table.target_rows},
        "sampled_rows": table.sampled_rows,
        "digest": {"source": table.source_digest, "target": table.target_digest},
        "bytes": table.bytes,
        "seconds": _seconds(table.seconds),
        "rejected": {"rows": table.rejected, "file": table.rejects_file},
        "plan": _plan(table.plan) if table.plan else None,
        "repair": asdict(table.repair) if table.repair else None,
        "spelling_normalised": dict(table.normalised),
        "converted": dict(table.converted),
        "ranges": {
            "source": [_range(part) for part in table.source_ranges],
            "target": [_range(part) for part in table.target_ranges],
        },
        "differences": {
            "listed": [
                asdict(difference) | {"key": dict(difference.key)}
                for difference in table.differences
            ],
            "rows": asdict(table.differing),
            "more_rows": table.more_differences,
            "search_cut_short": table.search_cut_short,
        },
    }


def _plan(plan: TablePlan) -> dict[str, Any]:
    return {
        "generation": plan.generation,
        "columns": [
            {
                "source": mine.name,
                "target": theirs.name,
                "declared": mine.declared,
                "type": theirs.declared,
                "kind": candidate.kind.name,
                "using": candidate.using,
            }
            for mine, theirs, candidate in zip(
                plan.source.columns, plan.target.columns, plan.candidates, strict=True
            )
        ],
        "primary_key": list(plan.target.primary_key.columns) if plan.target.primary_key else [],
        "identity": _identity(plan.target.identity),
        "renamed": dict(plan.renamed),
        "misfits": [
            asdict(widening)
            | {
                "examples": [
                    {"key": dict(example.key), "value": example.value}
                    for example in widening.examples
                ]
            }
            for widening in plan.widened
        ],
    }


def _identity(identity: Identity | None) -> dict[str, Any] | None:
    if identity is None:
        return None
    return {"column": identity.column, "next_value": identity.next_value}


def _range(part: RangeDigest) -> dict[str, Any]:
    return {
        "number": part.number,
        "rows": part.rows,
        "digest": f"{part.total:032x}",
        "bytes": part.bytes,
        "seconds": round(part.seconds, 6),
    }


def _span(span: Span) -> dict[str, Any]:
    times = {"began": round(span.began, 6), "seconds": round(span.seconds, 6)}
    return asdict(span) | times


def _seconds(times: dict[str, float]) -> dict[str, float]:
    return {phase: round(seconds, 6) for phase, seconds in times.items()}


def require_writable(path: Path) -> None:
    """Raises UsageError where a report could not be written, before anything else is."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise UsageError(f"The report cannot be written to {path}.", hint=_WHERE)


def as_json(report: dict[str, Any]) -> str:
    return escaped(json.dumps(report, indent=2, ensure_ascii=False)) + "\n"


def _page(report: dict[str, Any]) -> str:
    # Loaded here: most runs write no page.
    from tableferry import page

    return page.render(report)


def write(report: dict[str, Any], path: Path) -> None:
    """As a page where the name ends in .html, as JSON otherwise; the whole file or nothing,
    readable by its owner alone. Raises UsageError where it cannot be written."""
    text = _page(report) if path.suffix == ".html" else as_json(report)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(
                # A file's name may hold bytes that are no UTF-8.
                descriptor,
                "w",
                encoding="utf-8",
                errors="backslashreplace",
            ) as file:
                file.write(text)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        raise UsageError(
            f"The report cannot be written to {path}: {error.strerror}.",
            hint=_WHERE,
        ) from error
