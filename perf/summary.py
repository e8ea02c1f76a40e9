"""The records of perf.bench as a table for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

HEADINGS = ("Case", "Figure", "Value", "Spread", "Verdicts")


def table(records: Sequence[dict[str, Any]]) -> str:
    """Aligned lines; of each ratio, rate, peak with a target, and of what was not measured."""
    rows = [HEADINGS, *(row for record in records for row in _rows(record))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _rows(record: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    case, kind = record.get("case", ""), record["kind"]
    if kind == "ratio":
        low, high = record["ratios_of_pairs"]
        value, spread = f"{record['ratio_of_medians']:.2f}", f"{low:.2f} to {high:.2f}"
        yield case, record["name"], value, spread, _verdicts(record)
    if kind == "rate":
        rates = record["rows_per_second"]
        low, high = rates["min"] / 1e6, rates["max"] / 1e6
        name, value = record["contender"], f"{rates['median'] / 1e6:.3f} M rows/s"
        yield case, name, value, f"{low:.3f} to {high:.3f}", ""
    if kind == "memory":
        name = f"peak memory of {record['contender']}"
        yield case, name, f"{record['total']:.0f} MB", "", _verdicts(record)
        if record["missing_rows"]:
            yield (
                case,
                f"rows that {record['contender']} left behind",
                str(record["missing_rows"]),
                "",
                "",
            )
    if kind in ("failure", "skipped"):
        why = (record["why"].strip().splitlines() or [""])[-1]
        yield case, record.get("contender", ""), kind, "", why


def _verdicts(record: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {found['target']:g}: {found['verdict']}"
        for name, found in record["verdicts"].items()
    )
