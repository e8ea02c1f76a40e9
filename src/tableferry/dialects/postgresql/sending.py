"""What is sent to a server: batches as its columns take them. Pure.

Values of a type that cannot be sent as it is go as text to a temporary table, the stage, and from
there by a cast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from tableferry import temporal
from tableferry.dialects.base import Batch, closed_on_error
from tableferry.dialects.postgresql import aside
from tableferry.dialects.postgresql.values import misfits, storing
from tableferry.errors import MisfitFound
from tableferry.model import ReadColumn, TableName


def encoded(
    table: TableName, columns: Sequence[ReadColumn], batches: Iterator[Batch]
) -> Iterator[pa.RecordBatch]:
    """Batches with the Arrow types of ``storing``, without what the server computes itself. Raises
    MisfitFound before a value that its column would refuse or change."""
    taken = [(i, column) for i, column in enumerate(columns) if not column.computed]
    encoders = [(i, storing(column).encode) for i, column in taken]
    names = [column.column.name for _, column in taken]
    with closed_on_error(batches):
        for batch in batches:
            for i, column in taken:
                _require_fitting(table, column, batch.columns[i])
            arrays = [encode(batch.columns[i]) for i, encode in encoders]
            yield pa.record_batch(arrays, names=names)


def _require_fitting(table: TableName, column: ReadColumn, array: pa.Array) -> None:
    bad = misfits(array, column)
    if bad is None:
        return
    value = array.slice(int(bad.argmax()), 1)
    if column.kind.name in temporal.KINDS:
        value = temporal.spell(value, column.kind)
    raise MisfitFound(
        f"{table}: values do not fit",
        table=table,
        columns=[column.column.name],
        value=str(value[0].as_py())[:80],
    )


def stage_definition(columns: Sequence[ReadColumn]) -> str:
    """The columns of a stage, c0 and so on."""
    return ", ".join(
        # What does not fit the column is for the column to refuse.
        f"c{i} " + ("text" if storing(c).staged else aside.without_modifiers(c.column.declared))
        for i, c in enumerate(columns)
    )


def stage_values(columns: Sequence[ReadColumn]) -> list[str]:
    """The columns' values where a stage has the alias s."""
    return [
        aside.cast_of(f"s.c{i}", c.column.declared) if storing(c).staged else f"s.c{i}"
        for i, c in enumerate(columns)
    ]
