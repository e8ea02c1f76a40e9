"""What workers do. Each task is a function of one small picklable value.

A process opens a session per endpoint once and keeps it for its next tasks. After an error the
session is closed instead: a failed ingest leaves a connection in the middle of a COPY, holding
its lock, and a commit on an aborted transaction would claim success.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tableferry.dialects import dialect_of
from tableferry.dialects.base import (
    Batch,
    Endpoint,
    Gatherer,
    Loader,
    Session,
    TargetSession,
)
from tableferry.digest import (
    BucketedDigest,
    Digest,
    HashedRows,
    Positions,
    digest_batch,
    key_buckets,
    key_hashes,
    row_hashes,
    sum_buckets,
)
from tableferry.errors import DatabaseError, MisfitFound
from tableferry.events import Progress
from tableferry.executors import emit
from tableferry.jobs import Access
from tableferry.kinds import NAMED_NUMBERS, Mask, arrow_type, holds_named
from tableferry.ledger import Ledger, Mark
from tableferry.model import (
    MAX_EXAMPLES,
    Kind,
    Range,
    ReadColumn,
    RowHash,
    Scan,
    TableName,
    TablePair,
    TablePart,
)
from tableferry.outcomes import Misfit
from tableferry.rejects import Reject, RejectFolder
from tableferry.sql import between, qualified, quote

SHOWN = 80
# What a database answers where a text is no value of a type: of data (22), of a name or type that
# is not there (42), of what it cannot do (0A).
REFUSING_VALUES = ("22", "42", "0A")

S = TypeVar("S", Session, Loader)
Opening: TypeAlias = Callable[[Endpoint], S]

_sessions: dict[Endpoint, Session] = {}
_loaders: dict[Endpoint, Loader] = {}


def session_for(endpoint: Endpoint) -> AbstractContextManager[Session]:
    """This process's session of the endpoint; one that met an error is closed and forgotten."""
    return _kept(_sessions, endpoint, dialect_of(endpoint).open)


def loader_for(endpoint: Endpoint) -> AbstractContextManager[Loader]:
    """The same of what loads rows into it."""
    return _kept(_loaders, endpoint, _open_loader)


def _open_loader(endpoint: Endpoint) -> Loader:
    loader = dialect_of(endpoint).open_loader(endpoint)
    loader.prepare_load()
    return loader


@contextmanager
def _kept(opened: dict[Endpoint, S], endpoint: Endpoint, opening: Opening[S]) -> Iterator[S]:
    if endpoint not in opened:
        opened[endpoint] = opening(endpoint)
    try:
        yield opened[endpoint]
    except BaseException:
        # A task within a task, which had the same one, has closed it.
        if (session := opened.pop(endpoint, None)) is not None:
            session.close()
        raise


def close_sessions() -> None:
    """For a process that goes on after its tasks."""
    while _sessions:
        _sessions.popitem()[1].close()
    while _loaders:
        _loaders.popitem()[1].close()


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one range of one side. Seconds are wall time."""

    number: int
    digest: BucketedDigest
    bytes: int
    seconds: float
    respelled: tuple[tuple[int, int], ...] = ()
    rejected: int = 0
    # Where the rows are written apart, waiting to be gathered.
    place: str = ""
    # Positions of columns with numbers that not every database has; see kinds.NAMED_NUMBERS.
    named: frozenset[int] = frozenset()
    # Rows that no digest was taken of, since a value is not what its column says: the hashes of
    # their keys, and some of the values.
    misfit_keys: tuple[int, ...] = ()
    misfits: tuple[Misfit, ...] = ()
    # Of the whole table, where it was counted along with its only range.
    count: int | None = None
    # Whether an earlier run has copied other rows than stand there by now, and whether these were
    # copied in their place.
    changed: bool = False
    again: bool = False

    @property
    def rows(self) -> int:
        """All that were read, those that no digest was taken of included."""
        return int(self.digest.rows.sum()) + self.rejected + len(self.misfit_keys)


@dataclass(frozen=True, slots=True)
class Speller:
    """A side, with its scan, whose native types say how their values are spelled."""

    endpoint: Endpoint
    scan: Scan


@dataclass(frozen=True, slots=True)
class CopyRange:
    source: Endpoint
    target: Endpoint
    pair: TablePair
    part: Range
    ledger: Ledger
    # Where rows that do not fit are set aside, if they are: see rejects.py.
    rejects: RejectFolder | None = None
    # Whether the rows are written apart, since only one at a time can write where they belong.
    apart: bool = False
    # Whether the source's table is counted too.
    counted: bool = False
    # What the range was when it was copied, where an earlier run has done so.
    recorded: Digest | None = None
    # The target's column that tells which rows those were: its values are the range's bounds.
    bounded_by: str = ""


def copy_range(job: CopyRange) -> Part:
    """Copies a range and its ledger line in one transaction; digests what was read. What is written
    apart gets its line when it is gathered.

    Where the line is there, the rows are, and nothing is written: they are read, so that they can
    be compared. Where they are others by now, and can be told in the target, they are replaced.
    """
    started = time.perf_counter()
    pair, part, ledger = job.pair, job.part, job.ledger
    digest = BucketedDigest.empty()
    size = 0
    respelled: Counter[int] = Counter()
    rejects: list[Reject] = []
    named: set[int] = set()
    # A column that holds what its type says holds its numbers as such.
    names_stand = not dialect_of(job.target).typed
    speller = Speller(job.target, pair.target)
    with session_for(job.source) as source, loader_for(job.target) as target:

        def digested() -> Generator[Batch]:
            nonlocal digest, size
            for batch in read_as_spelled(source, pair.source, part, speller):
                digest += digest_batch(batch.columns, pair.source.key)
                size += batch.bytes
                if names_stand:
                    named.update(_named(pair.target, batch))
                rejects.extend(batch.rejects)
                respelled.update(dict(batch.respelled))
                emit(Progress("copy", pair.source.table, batch.rows + len(batch.rejects)))
                yield batch

        table, columns = pair.target.table, pair.target.columns
        place = ""
        arrived = job.recorded is not None
        # Where an error ends the writing, the reading ends while what is read from is open.
        with closing(digested()) as rows:
            if not arrived and job.apart:
                place = _gatherer(target).write_apart(table, columns, rows)
            elif not arrived and ledger.claim(target, table, pair.generation, part):
                target.ingest(table, columns, rows)
                ledger.record(target, table, part, digest.digest)
            else:
                for _ in rows:
                    pass
        changed = job.recorded not in (None, digest.digest)
        if changed and job.bounded_by:
            within = between(quote(job.bounded_by), part.lower, part.upper) or "true"
            gone = f"DELETE FROM {qualified(table)} WHERE {within}"
            target.execute(gone, ledger.disclaim(table, part))
            # In the same transaction.
            return replace(copy_range(replace(job, recorded=None)), again=True)
        if job.rejects is not None:
            job.rejects.set_aside(pair, part, rejects)
        target.commit()
        seconds = time.perf_counter() - started
        count = source.count(pair.source.table) if job.counted else None
    return Part(
        part.number,
        digest,
        size,
        seconds,
        respelled=tuple(sorted(respelled.items())),
        rejected=len(rejects),
        place=place,
        named=frozenset(named),
        count=count,
        changed=changed,
    )


def _there(column: ReadColumn) -> Kind:
    """A native kind by the name that it has in the database of the column."""
    return replace(column.kind, type=column.column.declared or column.kind.type)


def _gatherer(target: Loader) -> Gatherer:
    assert isinstance(target, Gatherer)
    return target


def _named(scan: Scan, batch: Batch) -> set[int]:
    return {
        i
        for i, column in enumerate(scan.columns)
        if column.kind.name in NAMED_NUMBERS and holds_named(batch.columns[i], column.kind)
    }


@dataclass(frozen=True, slots=True)
class GatherRange:
    target: Endpoint
    pair: TablePair
    part: Range
    ledger: Ledger
    written: Part


def gather_range(job: GatherRange) -> float:
    """Brings what was written apart where it belongs, with its ledger line, in one transaction.
    Returns the seconds it took."""
    started = time.perf_counter()
    table = job.pair.target.table
    with loader_for(job.target) as target:
        gatherer = _gatherer(target)
        with gatherer.gathering(job.written.place):
            # Where the line is there, an answer was lost, not the rows.
            if job.ledger.claim(target, table, job.pair.generation, job.part):
                gatherer.gather(table, job.pair.target.columns)
                job.ledger.record(target, table, job.part, job.written.digest.digest)
                target.commit()
    return time.perf_counter() - started


def as_spelled_by(target: Session, scan: Scan, batch: Batch) -> Batch:
    """The batch with values of the target's native types in the target's own spelling: what is
    the same to it, such as two spellings of one jsonb, is the same."""
    natives = _natives(scan)
    if not natives:
        return batch
    columns = list(batch.columns)
    respelled = list(batch.respelled)
    for i in natives:
        given = columns[i]
        try:
            columns[i] = target.canonical(_there(scan.columns[i]), given)
        except DatabaseError as error:
            if error.sqlstate[:2] not in REFUSING_VALUES:
                raise
            name = scan.columns[i].column.name
            raise MisfitFound(
                f"{scan.table}.{name}: {error.message}", table=scan.table, columns=[name]
            ) from error
        count = pc.sum(pc.not_equal(given, columns[i])).as_py()
        if count:
            respelled.append((i, count))
    return replace(batch, columns=tuple(columns), respelled=tuple(respelled))


def _natives(scan: Scan) -> list[int]:
    return [i for i, column in enumerate(scan.columns) if column.kind.name == "native"]


@dataclass(frozen=True, slots=True)
class DigestRange:
    endpoint: Endpoint
    scan: Scan
    part: TablePart
    # The table under whose name progress is shown, whichever side is read.
    shown: TableName
    # Of the source's side: the database in whose own spelling native values are compared.
    speller: Speller | None = None
    # Whether the table is counted too.
    counted: bool = False


def digest_range(job: DigestRange) -> Part:
    """Reads a range of one side through a fresh statement and digests it."""
    started = time.perf_counter()
    digest = BucketedDigest.empty()
    size = 0
    respelled: Counter[int] = Counter()
    with session_for(job.endpoint) as session:
        for batch in read_as_spelled(session, job.scan, job.part, job.speller):
            digest += digest_batch(batch.columns, job.scan.key, job.scan.spread)
            size += batch.bytes
            respelled.update(dict(batch.respelled))
            emit(Progress("verify", job.shown, batch.rows))
        seconds = time.perf_counter() - started
        count = session.count(job.scan.table) if job.counted else None
        end_statement(session, job.endpoint)
    counts = tuple(sorted(respelled.items()))
    return Part(job.part.number, digest, size, seconds, counts, count=count)


def read_as_spelled(
    session: Session, scan: Scan, part: TablePart, speller: Speller | None
) -> Iterator[Batch]:
    """The rows of a part, values of native types as the speller has them."""
    if speller is None or not _natives(speller.scan):
        yield from session.read(scan, part)
        return
    with session_for(speller.endpoint) as opened:
        for batch in session.read(scan, part):
            yield as_spelled_by(opened, speller.scan, batch)
        end_statement(opened, speller.endpoint)


def end_statement(session: Session, endpoint: Endpoint) -> None:
    """Lets go of locks between reads, unless the transaction is the shared snapshot itself."""
    if isinstance(session, TargetSession) and not endpoint.snapshot:
        session.rollback()


@dataclass(frozen=True, slots=True)
class CountRows:
    endpoint: Endpoint
    table: TableName


def count_rows(job: CountRows) -> int:
    with session_for(job.endpoint) as session:
        rows = session.count(job.table)
        end_statement(session, job.endpoint)
    return rows


@dataclass(frozen=True, slots=True)
class FindRows:
    """Rows of a table, under the alias t, that meet a condition in the SQL of their database."""

    endpoint: Endpoint
    table: TableName
    condition: str
    # Columns of which a few rows are shown, if any.
    shown: tuple[str, ...] = ()


def find_rows(job: FindRows) -> tuple[int, tuple[tuple[tuple[str, str], ...], ...]]:
    """How many there are, and a few of them as (column, value)."""
    with session_for(job.endpoint) as session:
        count, found = session.find(job.table, job.condition, job.shown, MAX_EXAMPLES)
        end_statement(session, job.endpoint)
    cut = [[value[:SHOWN] for value in row] for row in found]
    return count, tuple(tuple(zip(job.shown, row, strict=True)) for row in cut)


@dataclass(frozen=True, slots=True)
class HashRows:
    """The rows of a scan, which may have a condition."""

    endpoint: Endpoint
    scan: Scan


def hash_rows(job: HashRows) -> frozenset[RowHash]:
    hashes: set[RowHash] = set()
    with session_for(job.endpoint) as session:
        for batch in session.read(job.scan, Range(0)):
            low, high = row_hashes(batch.columns)
            hashes.update(zip(low.tolist(), high.tolist(), strict=True))
        end_statement(session, job.endpoint)
    return frozenset(hashes)


@dataclass(frozen=True, slots=True)
class RunStatements:
    """Statements of one transaction on the target, such as a table's keys."""

    target: Endpoint
    statements: tuple[str, ...]
    what: str
    # What they make, for the record.
    makes: str = ""
    # Where they may run once only.
    mark: Mark | None = None


def run_statements(job: RunStatements) -> float:
    """Returns the seconds it took. Raises DatabaseError with what failed in its details."""
    started = time.perf_counter()
    with loader_for(job.target) as target:
        try:
            if job.mark is None or job.mark.set(target):
                target.execute(*job.statements)
                target.commit()
        except DatabaseError as error:
            raise DatabaseError(
                f"{job.what}: {error.message}", hint=error.hint, **error.details
            ) from error
    return time.perf_counter() - started


def access(job: object, target: Endpoint) -> Access:
    """What a job does to a target that only one at a time can write."""
    match job:
        case RunStatements() | GatherRange() | CopyRange(apart=False):
            return Access.WRITE
    # Whatever reads one side says which.
    return Access.READ if getattr(job, "endpoint", None) == target else Access.NONE


@dataclass(frozen=True, slots=True)
class SearchRows:
    """The rows of some buckets: ``part`` may hold others too. All rows of the ``shown`` buckets are
    wanted in full."""

    endpoint: Endpoint
    scan: Scan
    part: TablePart
    buckets: tuple[int, ...]
    shown: tuple[int, ...] = ()
    speller: Speller | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What was found of one side: the hashes of all rows, their digest, and some rows in full,
    columns in the scan's order."""

    rows: HashedRows
    digest: BucketedDigest
    shown: pa.Table


def search_rows(job: SearchRows) -> Searched:
    found = []
    digest = BucketedDigest.empty()
    shown = []
    for buckets, columns in _rows_of_buckets(job):
        low, high = row_hashes(columns)
        found.append(HashedRows(key_hashes(columns, job.scan.key, low), low))
        digest += sum_buckets(buckets, low, high)
        shown.append(only(columns, np.isin(buckets, job.shown)))
    return Searched(HashedRows.joined(found), digest, table_of(job.scan, shown))


@dataclass(frozen=True, slots=True)
class FetchRows:
    """Of the rows of some buckets those whose keys have these hashes."""

    search: SearchRows
    keys: frozenset[int]

    @property
    def endpoint(self) -> Endpoint:
        return self.search.endpoint


def fetch_rows(job: FetchRows) -> pa.Table:
    """In full, columns in the scan's order."""
    chosen = []
    wanted = np.array(sorted(job.keys), dtype=np.uint64)
    scan = job.search.scan
    for _, columns in _rows_of_buckets(job.search):
        low, _ = row_hashes(columns)
        chosen.append(only(columns, np.isin(key_hashes(columns, scan.key, low), wanted)))
    return table_of(scan, chosen)


def _rows_of_buckets(job: SearchRows) -> Iterator[tuple[Positions, list[pa.Array]]]:
    """Batch by batch, the bucket of each row and the columns."""
    scan = job.scan
    with session_for(job.endpoint) as session:
        for batch in read_as_spelled(session, scan, job.part, job.speller):
            buckets = key_buckets(batch.columns, scan.key, scan.spread)
            wanted = np.isin(buckets, job.buckets)
            if wanted.any():
                yield buckets[wanted], only(batch.columns, wanted)
        end_statement(session, job.endpoint)


def only(columns: Sequence[pa.Array], wanted: Mask) -> list[pa.Array]:
    """Some of the rows."""
    mask = pa.array(wanted)
    return [column.filter(mask) for column in columns]


def table_of(scan: Scan, chosen: list[list[pa.Array]]) -> pa.Table:
    """Batches of the scan's columns as one table."""
    names = [str(i) for i in range(len(scan.columns))]
    empty = pa.table([pa.array([], arrow_type(c.kind)) for c in scan.columns], names=names)
    filled = [pa.table(columns, names=names) for columns in chosen if len(columns[0])]
    return pa.concat_tables(filled) if filled else empty
