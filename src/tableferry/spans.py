"""What a job did, as a span of the timeline: as far as its argument and its result tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from tableferry.dialects.base import Endpoint
from tableferry.model import Range, TablePart
from tableferry.outcomes import Activity, Span
from tableferry.surveying import DigestFitting, SurveyRange
from tableferry.tasks import (
    CopyRange,
    CountRows,
    DigestRange,
    FetchRows,
    FindRows,
    GatherRange,
    HashRows,
    Part,
    RunStatements,
    SearchRows,
)

_Side: TypeAlias = Literal["source", "target", ""]


def work(job: object, result: Any, target: Endpoint) -> Span:
    """``result`` is None where the job failed. Who did it and when is for others to say."""
    match job:
        case CopyRange():
            return _ranged("copy", "", job.part, result)
        case GatherRange():
            return _ranged("gather", "target", job.part, job.written)
        case DigestRange() | DigestFitting():
            return _ranged("verify", _side(job.endpoint, target), job.part, result)
        case SurveyRange():
            return _ranged("survey", _side(job.source, target), job.part)
        case FetchRows():
            return work(job.search, None, target)
        case SearchRows(part=Range()):
            return _ranged("search", _side(job.endpoint, target), job.part)
        case SearchRows() | FindRows() | HashRows():
            return Span(0, "search", 0, 0, side=_side(job.endpoint, target))
        case CountRows():
            return Span(0, "count", 0, 0, side=_side(job.endpoint, target), rows=result)
        case RunStatements():
            return Span(0, "index", 0, 0, side="target", name=job.makes)
    return Span(0, "other", 0, 0)


def _side(endpoint: Endpoint, target: Endpoint) -> _Side:
    return "target" if endpoint == target else "source"


def _ranged(what: Activity, side: _Side, part: TablePart, result: Part | None = None) -> Span:
    span = Span(0, what, 0, 0, side=side, range=part.number)
    if result is None:
        return span
    rows = result.rows
    return replace(span, rows=rows, bytes=result.bytes)
