"""Reading a table with every value as what it is, whatever its column says: to find out what does
not fit, or to compare all the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tableferry.dialects.base import Batch, ColumnValues, Decoded, Endpoint, Session, Surveyor
from tableferry.digest import BucketedDigest, digest_batch, key_hashes, row_hashes
from tableferry.errors import DatabaseError, RunFailed
from tableferry.events import Progress
from tableferry.executors import emit
from tableferry.model import (
    MAX_EXAMPLES,
    Candidate,
    Example,
    Finding,
    Kind,
    Range,
    Scan,
    Survey,
    TableName,
    TablePart,
)
from tableferry.outcomes import Misfit
from tableferry.tasks import (
    REFUSING_VALUES,
    SHOWN,
    Part,
    Speller,
    as_spelled_by,
    end_statement,
    only,
    session_for,
)


@dataclass(frozen=True, slots=True)
class SurveyRange:
    source: Endpoint
    scan: Scan
    candidates: tuple[tuple[Candidate, ...], ...]
    part: Range
    # The database whose word it is which texts are values of its native types.
    speller: Endpoint | None = None


def survey_range(job: SurveyRange) -> Survey:
    """Reads every value of a range as what it is, and tries each candidate on each column."""
    empty = Survey(
        tuple(tuple(Finding(c, 0) for c in column) for column in job.candidates),
        tuple(frozenset() for _ in job.candidates),
    )
    survey = empty
    with session_for(job.source) as session:
        for batch in _surveyor(session, job.scan).survey(job.scan, job.part):
            found = []
            for values, candidates in zip(batch, job.candidates, strict=True):
                column = []
                for candidate in candidates:
                    bad = _misfits(values, candidate, job.speller)
                    examples = tuple(
                        Example(
                            tuple(
                                (job.scan.columns[k].column.name, batch[k].show(row)[:SHOWN])
                                for k in job.scan.key
                            ),
                            values.show(row)[:SHOWN],
                        )
                        for row in bad[:MAX_EXAMPLES]
                    )
                    column.append(Finding(candidate, len(bad), examples))
                found.append(tuple(column))
            classes = tuple(values.classes() for values in batch)
            survey += Survey(tuple(found), classes)
            emit(Progress("survey", job.scan.table, len(batch[0])))
    return survey


def _misfits(values: ColumnValues, candidate: Candidate, speller: Endpoint | None) -> list[int]:
    if candidate.kind.name != "native" or speller is None:
        return values.misfits(candidate)
    refused = _refused(values.decode(candidate).array, candidate.kind, speller)
    return sorted({*values.misfits(candidate), *refused})


def _unfit(decoded: Decoded, candidate: Candidate, speller: Endpoint | None) -> list[int]:
    """Positions of values that are NULL only since they do not fit, and of texts that are no values
    of a native type."""
    bad = set() if decoded.misfits is None else set(np.flatnonzero(decoded.misfits).tolist())
    if candidate.kind.name == "native" and speller is not None:
        bad.update(_refused(decoded.array, candidate.kind, speller))
    return sorted(bad)


def _refused(texts: pa.Array, kind: Kind, speller: Endpoint) -> list[int]:
    """Positions of texts that are no values of a native type, by halves."""
    if len(texts) == texts.null_count:
        return []
    with session_for(speller) as session:
        try:
            session.canonical(kind, texts)
        except DatabaseError as error:
            end_statement(session, speller)
            if error.sqlstate[:2] not in REFUSING_VALUES:
                raise
        else:
            end_statement(session, speller)
            return []
    if len(texts) == 1:
        return [0]
    half = len(texts) // 2
    later = _refused(texts.slice(half), kind, speller)
    return [*_refused(texts.slice(0, half), kind, speller), *(half + i for i in later)]


def _surveyor(session: Session, scan: Scan) -> Surveyor:
    if not isinstance(session, Surveyor):
        raise RunFailed(f"{scan.table}: values do not fit the types of their columns.")
    return session


@dataclass(frozen=True, slots=True)
class DigestFitting:
    """A part of one side, as DigestRange has it. Of the values that do not fit at most ``most`` are
    shown."""

    endpoint: Endpoint
    scan: Scan
    part: TablePart
    shown: TableName
    speller: Speller | None = None
    most: int = MAX_EXAMPLES


def digest_fitting(job: DigestFitting) -> Part:
    """Digests the rows whose values all fit, and tells of the others."""
    started = time.perf_counter()
    scan = job.scan
    candidates = [Candidate(c.kind, c.merges, c.using) for c in scan.columns]
    digest = BucketedDigest.empty()
    size = 0
    respelled: Counter[int] = Counter()
    keys: list[int] = []
    misfits: list[Misfit] = []
    speller = job.speller.endpoint if job.speller else None
    with session_for(job.endpoint) as session:
        for values in _surveyor(session, scan).survey(scan, job.part):
            decoded = [v.decode(c) for v, c in zip(values, candidates, strict=True)]
            misfitting = [
                _unfit(column, candidate, speller)
                for column, candidate in zip(decoded, candidates, strict=True)
            ]
            bad = np.zeros(len(values[0]), dtype=bool)
            for positions in misfitting:
                bad[positions] = True
            counts = tuple((i, d.respelled) for i, d in enumerate(decoded) if d.respelled)
            batch = Batch(tuple(only([d.array for d in decoded], ~bad)), counts)
            if job.speller is not None:
                with session_for(job.speller.endpoint) as opened:
                    batch = as_spelled_by(opened, job.speller.scan, batch)
                    end_statement(opened, job.speller.endpoint)
            digest += digest_batch(batch.columns, scan.key, scan.spread)
            size += batch.bytes
            respelled.update(dict(batch.respelled))
            if bad.any():
                rows = only([d.array for d in decoded], bad)
                hashes = key_hashes(rows, scan.key, row_hashes(rows)[0]).tolist()
                keys += hashes
                of_row = dict(zip(np.flatnonzero(bad).tolist(), hashes, strict=True))
                misfits += _told(scan, values, misfitting, of_row)[: job.most - len(misfits)]
            emit(Progress("verify", job.shown, len(values[0])))
        end_statement(session, job.endpoint)
    return Part(
        job.part.number,
        digest,
        size,
        time.perf_counter() - started,
        tuple(sorted(respelled.items())),
        misfit_keys=tuple(keys),
        misfits=tuple(misfits),
    )


def _told(
    scan: Scan,
    values: Sequence[ColumnValues],
    misfitting: Sequence[Sequence[int]],
    hashes: dict[int, int],
) -> list[Misfit]:
    """The values at these positions of each column; ``hashes`` of the keys by position."""
    named = scan.key or range(len(scan.columns))
    return sorted(
        (
            Misfit(
                hashes[row],
                tuple((scan.columns[k].column.name, values[k].show(row)[:SHOWN]) for k in named),
                position,
                values[position].show(row)[:SHOWN],
            )
            for position, rows in enumerate(misfitting)
            for row in rows
        ),
        key=lambda misfit: misfit.key,
    )
