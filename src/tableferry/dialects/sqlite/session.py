"""One open SQLite file, read through ADBC."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tableferry import kinds
from tableferry.addresses import SqliteFile
from tableferry.dialects.base import Batch, Decoded, Endpoint, Session, Surveyor
from tableferry.dialects.sqlite import catalog
from tableferry.dialects.sqlite import connection as sqlite
from tableferry.dialects.sqlite.values import (
    HEADER_TYPES,
    Reading,
    TypedValues,
    joined,
    packing_of,
    reading,
    typed_reading,
)
from tableferry.digest import row_hashes
from tableferry.errors import DatabaseError, MisfitFound, TableferryError
from tableferry.model import (
    Candidate,
    Exclusion,
    Expression,
    KeyRange,
    Numbering,
    Range,
    Scan,
    Schema,
    Table,
    TableName,
    TablePart,
    described,
    ranges_at,
)
from tableferry.packing import MOST_ROW_BYTES
from tableferry.rejects import Reject
from tableferry.sql import between, keys_between, quote

# Bounds of a record batch: as many rows as fill about this many bytes, so that neither tiny
# batches cost overhead nor wide rows multiply into gigabytes.
_BATCH_ROWS = 65_536
_BATCH_BYTES = 16 << 20
# Bytes of long values that may stand in one batch, unless they are a single row's.
_SEGMENT_BYTES = 32 << 20
# About this many bytes of rows make one range of work.
_RANGE_BYTES = 24 << 20
_MIN_RANGE_ROWS = 1_000
# A statement brings at most 2,000 columns ("Implementation Limits For SQLite").
_MAX_COLUMNS = 2_000
_MAX_RANGES = 1_000

# A ceiling of address space, in bytes; reads are some 5 % faster ("Memory-Mapped I/O"). What cannot
# be read of a map ends the process, which must be a worker then: so no small file is mapped.
_MMAP_SIZE = 1 << 40
_LEAST_MAPPED = 32 << 20

_MISMATCH = re.compile(r"Type mismatch in column (\d+)")


class SqliteSession(Session, Surveyor):
    # Asked for when rows are first read.
    _encoding: str | None = None

    def __init__(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint.address, SqliteFile)
        self._path = endpoint.address.path
        self._connection = sqlite.open_reader(self._path)

    def close(self) -> None:
        self._connection.close()

    @property
    def _file(self) -> Path:
        """What is read by now."""
        return self._path

    def identity(self) -> str:
        status = self._file.stat()
        return f"sqlite {status.st_dev}:{status.st_ino}"

    def inspect(self) -> Schema:
        with sqlite.errors(self._file):
            return catalog.inspect(self._connection, self._file)

    def numbered(self, tables: Iterable[Table]) -> Mapping[TableName, tuple[Numbering, ...]]:
        return {table.name: tuple(self._numbering(table)) for table in tables}

    def _numbering(self, table: Table) -> Iterator[Numbering]:
        identity = table.identity
        if identity is None:
            return
        query = f"SELECT max({quote(identity.column)}) AS n FROM {quote(table.name.name)}"
        with sqlite.errors(self._file, f"table {table.name}"):
            ((largest,),) = sqlite.rows(self._connection, query, "n")
        yield Numbering(identity.column, identity.next_value, largest, identity.reuses)

    def spelled(self, table: Table, expressions: Sequence[Expression]) -> tuple[str | None, ...]:
        # Imported here: only whoever compares schemas needs the parsers of expressions, and workers
        # would start by a tenth of a second later for them.
        from tableferry.dialects.sqlite.spelling import spelled

        return tuple(map(spelled, expressions))

    def require_readable(self, tables: Iterable[Table]) -> None:
        """Whoever may open the file may read all of it."""

    def count(self, table: TableName) -> int:
        query = f"SELECT count(*) AS n FROM {quote(table.name)} NOT INDEXED"
        # Not mapped: the whole table at once would stand in this process's memory.
        with sqlite.errors(self._path, f"table {table}"):
            return int(sqlite.rows(self._connection, query, "n")[0][0])

    def find(
        self, table: TableName, condition: str, shown: tuple[str, ...], most: int
    ) -> tuple[int, tuple[tuple[str, ...], ...]]:
        source = f"{quote(table.name)} AS t NOT INDEXED WHERE {condition}"
        with sqlite.errors(self._path, f"table {table}"):
            count = int(
                sqlite.rows(self._connection, f"SELECT count(*) AS n FROM {source}", "n")[0][0]
            )
            cells = [f"quote(t.{quote(name)}) AS c{i}" for i, name in enumerate(shown)]
            if not count or not most or not cells:
                return count, ()
            query = f"SELECT {', '.join(cells)} FROM {source} LIMIT {most}"
            names = ", ".join(f"c{i}" for i in range(len(cells)))
            # They are shown, and a text may be anything.
            found = sqlite.rows(self._connection, query, names, invalid="replace")
            return count, tuple(map(tuple, found))

    def ranges(self, table: Table) -> tuple[Range, ...]:
        parts = min(table.size // _RANGE_BYTES, table.rows // _MIN_RANGE_ROWS, _MAX_RANGES)
        if not table.locator or parts < 2:
            return (Range(0),)
        with sqlite.errors(self._path, f"table {table.name}"):
            low, high = self._ends(table.name, table.locator)
        return cut(low, high, parts)

    def key_ends(self, table: TableName, column: str, skipped: int) -> tuple[int, int] | None:
        source = f"SELECT t.{quote(column)} FROM main.{quote(table.name)} AS t ORDER BY 1"
        query = (
            f"SELECT ({source} LIMIT 1 OFFSET {skipped}) AS a, "
            f"({source} DESC LIMIT 1 OFFSET {skipped}) AS b"
        )
        with sqlite.errors(self._path, f"table {table}"):
            low, high = sqlite.rows(self._connection, query, "a, b", invalid="replace")[0]
        both = isinstance(low, int) and isinstance(high, int) and low <= high
        return (low, high) if both else None

    def read(self, scan: Scan, part: TablePart) -> Iterator[Batch]:
        if scan.rejecting:
            yield from self._read_rejecting(scan, part)
            return
        for decoded in self._decoded(scan, part):
            bad = [
                column.column.name
                for column, values in zip(scan.columns, decoded, strict=True)
                if values.misfits is not None
            ]
            if bad:
                raise self._misfit(scan, bad)
            respelled = tuple((i, d.respelled) for i, d in enumerate(decoded) if d.respelled)
            yield Batch(tuple(values.array for values in decoded), respelled)

    def _decoded(self, scan: Scan, part: TablePart) -> Iterator[list[Decoded]]:
        readings = [reading(column) for column in scan.columns]
        packing = packing_of(readings) if self._may_pack(scan) else None
        others = ""
        if packing is not None:
            left_out = False
            for arrays in self._stream(scan, part, packing.readings):
                decoded = packing.decode(arrays)
                left_out |= len(decoded[0].array) < len(arrays[0][0])
                yield decoded
            if not left_out:
                return
            others = packing.separated
        for arrays in self._stream(scan, part, readings, others):
            yield [r.decode(a) for r, a in zip(readings, arrays, strict=True)]

    def _may_pack(self, scan: Scan) -> bool:
        """Whether rows are short, and bytes are what they are in text."""
        if scan.long_columns or scan.row_bytes > MOST_ROW_BYTES:
            return False
        if self._encoding is None:
            query = "SELECT encoding AS e FROM pragma_encoding"
            with sqlite.errors(self._path):
                self._encoding = str(sqlite.rows(self._connection, query, "e")[0][0])
        return self._encoding == "UTF-8"

    def _read_rejecting(self, scan: Scan, part: TablePart) -> Iterator[Batch]:
        for values in self.survey(scan, part):
            decoded = _decoded(scan, values)
            masks = [d.misfits for d in decoded if d.misfits is not None]
            rejects: tuple[Reject, ...] = ()
            excluded = _excluded(scan, decoded)
            if excluded:
                breaking = np.zeros(len(values[0]), dtype=bool)
                breaking[list(excluded)] = True
                masks.append(breaking)
            if masks:
                bad = np.logical_or.reduce(masks)
                rejects = tuple(
                    _reject(scan, values, _why(scan, decoded, row) or excluded[row], row)
                    for row in np.flatnonzero(bad).tolist()
                )
                # Once more without them, so that only what arrives is counted as respelled.
                decoded = _decoded(scan, [column.filter(~bad) for column in values])
            respelled = tuple((i, d.respelled) for i, d in enumerate(decoded) if d.respelled)
            yield Batch(tuple(d.array for d in decoded), respelled, rejects)

    def survey(self, scan: Scan, part: TablePart) -> Iterator[tuple[TypedValues, ...]]:
        readings = [typed_reading(column) for column in scan.columns]
        for arrays in self._stream(scan, part, readings):
            yield tuple(TypedValues(values) for values in arrays)

    def _stream(
        self, scan: Scan, part: TablePart, readings: Sequence[Reading], only: str = ""
    ) -> Iterator[list[list[pa.Array]]]:
        """The rows of a part, batch by batch, as one list of arrays a reading; ``only``: those
        that meet a condition."""
        guards = [r.guard for r in readings if r.guard]
        kept = f"({joined(guards, 'OR')}) IS NOT TRUE" if guards else ""
        table = _table(scan, part)
        with self._translating(scan, part):
            if scan.long_columns and not scan.locator:
                # Nothing to cut by: the longest row bounds every batch.
                scan = replace(scan, row_bytes=self._longest_row(scan))
            for rows in self._segments(scan, part):
                source = f"{table}{_where(*rows, kept, only)}"
                statements = [
                    self._batches(scan, _select(source, group), group)
                    for group in _groups(readings)
                ]
                with self._mapped():
                    # Side by side: the same rows in the same order, some columns from each.
                    for arrays in zip(*statements, strict=True):
                        yield [values for group in arrays for values in group]

    def _segments(self, scan: Scan, part: TablePart) -> Iterator[tuple[str, ...]]:
        """The conditions of a part, in pieces whose long values are few enough bytes for one batch,
        down to single rows: a row of 100 MB must not stand in a batch with others like it."""
        if isinstance(part, KeyRange):
            yield from self._pieces(scan, _table(scan, part), _in_key(scan, part), Range(0))
        else:
            yield from self._pieces(scan, _table(scan, part), "", part)

    def _pieces(
        self, scan: Scan, table: str, condition: str, within: Range
    ) -> Iterator[tuple[str, ...]]:
        rows = (condition, _in_range(scan.locator, within))
        if not scan.long_columns or not scan.locator:
            yield rows
            return
        query = (
            f"SELECT sum({_size(scan)}) AS n, min(t.{scan.locator}) AS a, "
            f"max(t.{scan.locator}) AS b FROM {table}{_where(*rows)}"
        )
        size, low, high = sqlite.rows(self._connection, query, "n, a, b")[0]
        if size is None or size <= _SEGMENT_BYTES or low == high:
            yield rows
            return
        middle = low + (high - low + 1) // 2
        yield from self._pieces(scan, table, condition, replace(within, upper=middle))
        yield from self._pieces(scan, table, condition, replace(within, lower=middle))

    def _longest_row(self, scan: Scan) -> int:
        query = f"SELECT max({_size(scan)}) AS n FROM {_table(scan, Range(0))}"
        longest = sqlite.rows(self._connection, query, "n")[0][0]
        return max(scan.row_bytes, longest or 0)

    def _batches(
        self, scan: Scan, statement: str, readings: Sequence[Reading]
    ) -> Iterator[list[list[pa.Array]]]:
        """What a statement of ``_select`` brings: types checked, the header row dropped."""
        batch_rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(scan.row_bytes, 1)))
        headers = [header for r in readings for header in r.headers]
        with self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(batch_rows)})
            cursor.execute(statement)
            reader = cursor.fetch_record_batch()
            for field, header in zip(reader.schema, headers, strict=True):
                if field.type != HEADER_TYPES[header]:
                    raise self._misfit(scan, [])
            header_rows = 1
            for batch in reader:
                if batch.num_rows > header_rows:
                    yield _grouped(batch.slice(header_rows), readings, scan)
                header_rows = 0

    def _misfit(self, scan: Scan, columns: list[str]) -> MisfitFound:
        names = ", ".join(columns or [column.column.name for column in scan.columns])
        return MisfitFound(
            f"{self._path}, table {scan.table}: a value is not what its column says ({names}).",
            table=scan.table,
            columns=columns,
        )

    def _ends(self, table: TableName, locator: str) -> tuple[int, int]:
        """The first and the last rowid; of an empty table, a last before the first."""
        # Two subqueries: min and max in one would read the whole table.
        source = f"FROM main.{quote(table.name)} AS t"
        ends = (f"(SELECT {end}(t.{locator}) {source})" for end in ("min", "max"))
        query = "SELECT {} AS a, {} AS b".format(*ends)
        low, high = sqlite.rows(self._connection, query, "a, b")[0]
        return (0, -1) if low is None else (low, high)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """The file's pages read through a memory map, let go of afterwards: a worker would
        otherwise come to hold the whole file in its memory."""
        if self._path.stat().st_size < _LEAST_MAPPED:
            yield
            return
        sqlite.run(self._connection, f"PRAGMA mmap_size = {_MMAP_SIZE}")
        try:
            yield
        finally:
            sqlite.run(self._connection, "PRAGMA mmap_size = 0")

    @contextmanager
    def _translating(self, scan: Scan, part: TablePart) -> Iterator[None]:
        try:
            yield
        except (TableferryError, GeneratorExit):
            raise
        except Exception as error:
            if _MISMATCH.search(str(error)):
                raise self._misfit(scan, []) from error
            what = described(scan.table, part, "rowids")
            raise sqlite.translated(error, self._path, what) from error


def _decoded(scan: Scan, values: Sequence[TypedValues]) -> list[Decoded]:
    return [
        column.decode(Candidate(c.kind, c.merges, c.using))
        for column, c in zip(values, scan.columns, strict=True)
    ]


def _excluded(scan: Scan, decoded: Sequence[Decoded]) -> dict[int, Exclusion]:
    """The positions of rows that are to be set aside by their hashes."""
    if not scan.excluded:
        return {}
    low, high = row_hashes([d.array for d in decoded])
    hashes = enumerate(zip(low.tolist(), high.tolist(), strict=True))
    return {row: scan.excluded[both] for row, both in hashes if both in scan.excluded}


def _why(scan: Scan, decoded: Sequence[Decoded], row: int) -> Exclusion | None:
    """The first value of the row that does not fit."""
    for column, values in zip(scan.columns, decoded, strict=True):
        if values.misfits is not None and values.misfits[row]:
            return Exclusion(column.column.name, f"does not fit {kinds.describe(column.kind)}")
    return None


def _reject(scan: Scan, values: Sequence[TypedValues], why: Exclusion, row: int) -> Reject:
    names = [column.column.name for column in scan.columns]
    stored = {name: column.stored(row) for name, column in zip(names, values, strict=True)}
    return Reject(
        table=scan.table.name,
        key={names[i]: stored[names[i]] for i in scan.key},
        column=why.column,
        reason=why.reason,
        row=stored,
    )


def cut(low: int, high: int, parts: int) -> tuple[Range, ...]:
    """Half-open ranges over the rowids from ``low`` to ``high``, unbounded at both ends, so that
    no row is outside and the largest rowid needs no successor."""
    width = (high - low) // parts + 1
    bounds = [low + width * i for i in range(1, parts) if low + width * i <= high]
    return ranges_at(bounds)


def _groups(readings: Sequence[Reading]) -> list[list[Reading]]:
    """The readings in as many groups as statements are needed; nearly always one."""
    groups: list[list[Reading]] = [[]]
    for r in readings:
        if sum(len(other.headers) for other in groups[-1]) + len(r.headers) > _MAX_COLUMNS:
            groups.append([])
        groups[-1].append(r)
    return groups


def _select(source: str, readings: Sequence[Reading]) -> str:
    """The header row, then the rows of a table with its conditions."""
    headers = ", ".join(header for r in readings for header in r.headers)
    values = ", ".join(expression for r in readings for expression in r.expressions)
    return f"SELECT {headers} UNION ALL SELECT {values} FROM {source}"


def _table(scan: Scan, part: TablePart) -> str:
    """A range of keys is what an index is for; whoever reads one checks what it brings."""
    indexed = "" if isinstance(part, KeyRange) else " NOT INDEXED"
    return f"main.{quote(scan.table.name)} AS t{indexed}"


def _size(scan: Scan) -> str:
    """The bytes of a row's long values."""
    sizes = [f"ifnull(octet_length(t.{quote(name)}), 0)" for name in scan.long_columns]
    return joined(sizes, "+")


def _in_range(locator: str, part: Range) -> str:
    return between(f"t.{locator}", part.lower, part.upper)


def _in_key(scan: Scan, part: KeyRange) -> str:
    return keys_between(scan.columns[scan.key[0]].column, part)


def _where(*conditions: str) -> str:
    met = [condition for condition in conditions if condition]
    return f" WHERE {' AND '.join(met)}" if met else ""


def _grouped(
    batch: pa.RecordBatch, readings: Sequence[Reading], scan: Scan
) -> list[list[pa.Array]]:
    arrays = iter(batch.columns)
    grouped = [[next(arrays) for _ in r.headers] for r in readings]
    for array in batch.columns:
        # Past 2 GiB the driver's 32-bit offsets wrap around without an error.
        if pa.types.is_binary(array.type) or pa.types.is_string(array.type):
            _require_sound_offsets(array, scan)
    return grouped


def _require_sound_offsets(array: pa.Array, scan: Scan) -> None:
    try:
        array.cast(pa.binary()).validate(full=True)
    except pa.ArrowInvalid as error:
        raise DatabaseError(f"Table {scan.table}: a record batch grew beyond 2 GiB.") from error
