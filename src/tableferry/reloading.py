"""The story of --rejects: rows that were set aside, put right by the user, loaded and proven.

All rows of the file come in one transaction, or none. What they add is proven by digests: that of
the table before and that of the rows make that of the table afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from tableferry import kinds
from tableferry.casts import CastRule, Offers, parse_all
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Batch, Dialect, Endpoint, Session, TargetSession
from tableferry.digest import BucketedDigest, Digest, digest_batch
from tableferry.errors import Refused, UsageError
from tableferry.events import Observer, PhaseBegins, PhaseEnds, Progress
from tableferry.model import Candidate, Column, ReadColumn, Scan, Schema, Table
from tableferry.outcomes import Outcome, TableOutcome
from tableferry.pairing import Ends, pair_columns, table_like
from tableferry.rejects import Stored, read_rows
from tableferry.running import Clock, require_tables, status_of
from tableferry.selection import Selection
from tableferry.verification import VerificationOptions
from tableferry.versions import versions

_BATCH_ROWS = 1_000


def load_rejects(
    ends: tuple[Endpoint, Endpoint], file: Path, options: VerificationOptions, observe: Observer
) -> Outcome:
    """Appends the rows of ``file`` to the one chosen table's counterpart in the target.

    Raises UsageError for a file that is none of rejected rows, and Refused, with nothing written,
    where a row still does not fit.
    """
    clock = Clock(observe)
    with ExitStack() as stack:
        source, target = ends
        dialects = dialect_of(source), dialect_of(target)
        if dialects[1].one_writer:
            raise UsageError(
                f"--rejects loads rows into a server's tables, and not into a {dialects[1].title} "
                "file.",
                hint="Put them right in the source, and migrate again.",
            )
        reader = stack.enter_context(closing(dialects[0].open(source)))
        writer = stack.enter_context(closing(dialects[1].open_target(target)))
        loader = stack.enter_context(closing(dialects[1].open_loader(target)))
        loader.prepare_load()
        mine = _only_table(reader, source, options.selection)
        everything = reader.inspect()
        theirs = table_like(mine.name, everything, writer.inspect_target(), dialects[1])
        if theirs is None:
            raise Refused(f"{target} has no table {mine.name}.", hint="Migrate it first.")
        rules = parse_all(options.casts, dialects[1])
        Offers(*dialects, rules).require_matches(Schema((mine,)))
        pairs, unmatched = pair_columns(Ends(source, target, *dialects, rules), mine, theirs)
        if unmatched:
            raise Refused(f"Table {mine.name} has not the same columns on both sides.")
        writer.lock_run()
        names = [column.name for column, _, _ in pairs]
        candidates = [
            replace(candidate, merges=_merged(rules, mine, column))
            for column, _, candidate in pairs
        ]
        columns = tuple(
            ReadColumn(column, candidate.kind)
            for (_, column, _), candidate in zip(pairs, candidates, strict=True)
        )
        scan = Scan(theirs.name, columns, (), theirs.locator)
        observe(PhaseBegins("copy", mine.name, 0))
        before = _digest(writer, theirs, scan)
        loaded = BucketedDigest.empty()
        size = 0

        def digested() -> Iterator[Batch]:
            nonlocal loaded, size
            for batch in _batches(file, names, candidates, dialects[0]):
                loaded += digest_batch(batch.columns, ())
                size += batch.bytes
                observe(Progress("copy", mine.name, batch.rows))
                yield batch

        loader.ingest(theirs.name, columns, digested())
        loader.commit_for_good()
        after = _digest(writer, theirs, scan)
        observe(PhaseEnds("copy", mine.name))
        brought = loaded.digest
        table = TableOutcome(
            source=str(mine.name),
            target=str(theirs.name),
            verdict="verified" if before + brought == after else "differs",
            source_rows=brought.rows,
            target_rows=after.rows - before.rows,
            source_digest=brought.hex(),
            bytes=size,
        )
        return Outcome(
            status=status_of((table,)),
            command="load rejects",
            source=str(file),
            target=str(target),
            tables=(table,),
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
        )


def _merged(rules: tuple[CastRule, ...], table: Table, column: Column) -> bool:
    """Whether the migration may have taken several storage classes by their text: by a rule's
    word, or because no type was declared that a row could have been rejected for."""
    ruled = [rule.candidate.merges for rule in rules if rule.concerns(table, column)]
    return ruled[-1] if ruled else not column.typed


def _only_table(reader: Session, source: Endpoint, selection: Selection) -> Table:
    everything = reader.inspect()
    require_tables(everything, source)
    tables = selection.apply(everything).tables
    if len(tables) != 1:
        raise UsageError("--rejects loads one table.", hint="Name it with --tables TABLE.")
    return tables[0]


def _digest(session: TargetSession, table: Table, scan: Scan) -> Digest:
    total = BucketedDigest.empty()
    for part in session.ranges(table):
        for batch in session.read(scan, part):
            total += digest_batch(batch.columns, ())
    session.rollback()
    return total.digest


def _batches(
    file: Path, names: list[str], candidates: list[Candidate], source: Dialect
) -> Iterator[Batch]:
    rows = enumerate(read_rows(file, names), 1)
    while chunk := list(itertools.islice(rows, _BATCH_ROWS)):
        yield Batch(
            tuple(
                _column(file, name, candidate, source, [(n, row[name]) for n, row in chunk])
                for name, candidate in zip(names, candidates, strict=True)
            )
        )


def _column(
    file: Path, name: str, candidate: Candidate, source: Dialect, cells: list[tuple[int, Stored]]
) -> pa.Array:
    """Raises Refused, naming row and value, where one still does not fit."""
    values = source.values_of([value for _, value in cells])
    bad = values.misfits(candidate)
    if bad:
        number, _ = cells[bad[0]]
        raise Refused(
            f"{file}, row {number}: {name} is {values.show(bad[0])}, which does not fit "
            f"{kinds.describe(candidate.kind)}.",
            hint="Put it right in the file, then run again; nothing was loaded.",
        )
    return values.decode(candidate).array
