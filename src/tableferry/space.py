"""How much room a plan's tables may take, and whether there is so much. Pure."""

from __future__ import annotations

from tableferry.model import Plan, TablePlan

# A row in PostgreSQL: a header of 23 bytes, padded, and a pointer of 4 ("Database Page Layout").
_ROW_BYTES = 28
# An entry of a B-tree: its header and pointer.
_ENTRY_BYTES = 12
# The bytes below were 0.75 to 1.01 of what a PostgreSQL took then: TPC-H, a shop, tables that are
# wide, narrow or without a key, and keys that are texts.
_MARGIN = 1.25


def disk_bytes(table: TablePlan, rows: int, size: int) -> int:
    """What the table and its keys and indexes may take, as far as rows tell, ``size`` being the
    bytes of all values."""
    target = table.target
    width = size // max(rows, 1)
    per_column = width // max(len(target.columns), 1)
    keys = [len(key.columns) for key in (*target.uniques, *filter(None, [target.primary_key]))]
    keys += [len(index.columns) for index in target.indexes]
    entries = sum(_ENTRY_BYTES + count * per_column for count in keys)
    return rows * (_ROW_BYTES + width + entries)


def needed_bytes(plan: Plan) -> int:
    """The same of a whole plan, before a row was read: from what the source's catalog says."""
    known = sum(disk_bytes(table, table.source.rows, table.source.size) for table in plan.tables)
    return round(_MARGIN * known)


def shortage(needed: int, free: int | None, target: str) -> str:
    """A sentence where room may be short; "" where it is not, or nobody knows."""
    if free is None or needed <= free:
        return ""
    room = f"{amount(free)} is free" if free > 0 else "nothing is free"
    return (
        f"{target} may take {amount(needed)}, and {room} for it on its disk: where it runs full, "
        "the run ends, and goes on with --resume."
    )


def amount(count: int) -> str:
    """Bytes for people, in units of a thousand."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
