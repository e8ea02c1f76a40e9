"""One open SQLite file, read through ADBC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from tableferry.dialects.base import Batch, Endpoint, Session, Surveyor
from tableferry.dialects.sqlite import catalog
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.values import (
    HEADER_TYPES,
    Reading,
    TypedValues,
    quote,
    reading,
    typed_reading,
)
from tableferry.errors import DatabaseError, MisfitFound
from tableferry.model import Range, Scan, Schema, Table, TableName
from tableferry.settings import SqliteFile

# Bounds of a record batch: as many rows as fill about this many bytes, so that neither tiny
# batches cost overhead nor wide rows multiply into gigabytes.
_BATCH_ROWS = 65_536
_BATCH_BYTES = 16 << 20
# About this many bytes of rows make one range of work.
_RANGE_BYTES = 48 << 20
_MIN_RANGE_ROWS = 1_000
_MAX_RANGES = 1_000

_MISMATCH = re.compile(r"Type mismatch in column (\d+)")


class SqliteSession(Session, Surveyor):
    def __init__(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint.address, SqliteFile)
        self._path = endpoint.address.path
        self._connection = sqlite.open_reader(self._path)

    def close(self) -> None:
        self._connection.close()

    def identity(self) -> str:
        status = self._path.stat()
        return f"sqlite {status.st_dev}:{status.st_ino}"

    def inspect(self) -> Schema:
        with sqlite.errors(self._path):
            return catalog.inspect(self._connection)

    def count(self, table: TableName) -> int:
        query = f"SELECT count(*) AS n FROM {quote(table.name)} NOT INDEXED"
        with sqlite.errors(self._path, f"table {table}"):
            return int(sqlite.rows(self._connection, query, "n")[0][0])

    def ranges(self, table: Table) -> tuple[Range, ...]:
        parts = min(table.size // _RANGE_BYTES, table.rows // _MIN_RANGE_ROWS, _MAX_RANGES)
        if not table.locator or parts < 2:
            return (Range(0),)
        ends = (
            f"SELECT min(t.{table.locator}) AS a, max(t.{table.locator}) AS b "
            f"FROM {quote(table.name.name)} AS t"
        )
        with sqlite.errors(self._path, f"table {table.name}"):
            low, high = sqlite.rows(self._connection, ends, "a, b")[0]
        return cut(low, high, parts)

    def read(self, scan: Scan, part: Range) -> Iterator[Batch]:
        readings = [reading(column) for column in scan.columns]
        for arrays in self._stream(scan, part, readings):
            decoded = [r.decode(a) for r, a in zip(readings, arrays, strict=True)]
            bad = [
                column.column.name
                for column, values in zip(scan.columns, decoded, strict=True)
                if values.misfits is not None
            ]
            if bad:
                raise MisfitFound(f"{scan.table}: values do not fit", table=scan.table, columns=bad)
            respelled = tuple((i, d.respelled) for i, d in enumerate(decoded) if d.respelled)
            yield Batch(tuple(values.array for values in decoded), respelled)

    def survey(self, scan: Scan, part: Range) -> Iterator[tuple[TypedValues, ...]]:
        readings = [typed_reading(column) for column in scan.columns]
        for arrays in self._stream(scan, part, readings):
            yield tuple(TypedValues(values) for values in arrays)

    def _stream(
        self, scan: Scan, part: Range, readings: Sequence[Reading]
    ) -> Iterator[list[list[pa.Array]]]:
        """Record batches of a range as one list of arrays a column, header row dropped."""
        what = f"table {scan.table}"
        headers = [header for r in readings for header in r.headers]
        with self._connection.cursor() as cursor:
            batch_rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(scan.row_bytes, 1)))
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
            try:
                cursor.execute(_select(scan, part, readings))
                reader = cursor.fetch_record_batch()
                _require_types(reader.schema, headers, scan)
                header_rows = 1
                for batch in reader:
                    if batch.num_rows > header_rows:
                        yield _grouped(batch.slice(header_rows), readings, what)
                    header_rows = 0
            except (MisfitFound, GeneratorExit):
                raise
            except Exception as error:
                if _MISMATCH.search(str(error)):
                    raise MisfitFound(
                        f"{scan.table}: values do not fit", table=scan.table, columns=[]
                    ) from error
                raise sqlite.translated(error, self._path, what) from error


def cut(low: int, high: int, parts: int) -> tuple[Range, ...]:
    """Half-open ranges over the rowids from ``low`` to ``high``, unbounded at both ends, so that
    no row is outside and the largest rowid needs no successor."""
    width = (high - low) // parts + 1
    bounds = [low + width * i for i in range(1, parts) if low + width * i <= high]
    lowers: list[int | None] = [None, *bounds]
    uppers: list[int | None] = [*bounds, None]
    return tuple(Range(i, *ends) for i, ends in enumerate(zip(lowers, uppers, strict=True)))


def _select(scan: Scan, part: Range, readings: Sequence[Reading]) -> str:
    headers = ", ".join(header for r in readings for header in r.headers)
    values = ", ".join(expression for r in readings for expression in r.expressions)
    conditions = []
    if part.lower is not None:
        conditions.append(f"t.{scan.locator} >= {part.lower}")
    if part.upper is not None:
        conditions.append(f"t.{scan.locator} < {part.upper}")
    guards = [r.guard for r in readings if r.guard]
    if guards:
        conditions.append(f"({_any(guards)}) IS NOT TRUE")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    table = f"main.{quote(scan.table.name)} AS t NOT INDEXED"
    return f"SELECT {headers} UNION ALL SELECT {values} FROM {table}{where}"


def _any(conditions: Sequence[str]) -> str:
    """OR of all, as a balanced tree: SQLite limits an expression's depth to 1,000."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({_any(conditions[:half])}) OR ({_any(conditions[half:])})"


def _require_types(schema: pa.Schema, headers: Sequence[str], scan: Scan) -> None:
    for field, header in zip(schema, headers, strict=True):
        if field.type != HEADER_TYPES[header]:
            raise MisfitFound(f"{scan.table}: values do not fit", table=scan.table, columns=[])


def _grouped(batch: pa.RecordBatch, readings: Sequence[Reading], what: str) -> list[list[pa.Array]]:
    arrays = iter(batch.columns)
    grouped = [[next(arrays) for _ in r.headers] for r in readings]
    for array in batch.columns:
        # Past 2 GiB the driver's 32-bit offsets wrap around without an error.
        if pa.types.is_binary(array.type) or pa.types.is_string(array.type):
            _require_sound_offsets(array, what)
    return grouped


def _require_sound_offsets(array: pa.Array, what: str) -> None:
    try:
        array.cast(pa.binary()).validate(full=True)
    except pa.ArrowInvalid as error:
        raise DatabaseError(f"{what}: a record batch grew beyond 2 GiB.") from error
