"""The story of a repair: what a verification finds to differ is written anew in the target, row by
row, and verified again.

    verify ─▶ ask ─▶ each differing table: transactions of so many rows, one after the other
                       │  what a constraint refuses comes again when all other tables had their
                       │  turn: a row's parent may have had to come first, or its children to go
                       ▼
                     verify what was written, and what refers to it

One transaction at a time: two could wait for each other's rows. Killed at any moment, the target
holds whole transactions, and the next repair goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace

from tableferry import services
from tableferry.casts import Offers, parse_all
from tableferry.checking import TableCheck
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Dialect, Endpoint, Session
from tableferry.digest import BUCKETS, BucketedDigest
from tableferry.errors import DatabaseError, MisfitFound
from tableferry.events import Observer, PhaseBegins, PhaseEnds, Progress
from tableferry.mending import Mend, mend
from tableferry.model import KeyRange, Range, Table, TableName, TablePart
from tableferry.outcomes import DifferingRows, Outcome, Repair, TableOutcome
from tableferry.pairing import Ends
from tableferry.running import Clock, require_two_databases, require_two_files, status_of
from tableferry.schema_check import check_schema
from tableferry.searching import key_ranges, rounds
from tableferry.tasks import Speller, close_sessions
from tableferry.verification import Chosen, Looked, VerificationOptions, Watched, chosen_of, look
from tableferry.versions import versions

# Rows, and bytes of them as Arrow holds them, that one transaction writes at most.
_ROWS = 50_000
_BYTES = 32 << 20
# Rows of one side whose hashes one transaction looks at: where a table has to be read as a whole,
# and where the rows of some keys are found by an index.
_LOOKED_AT = 2_000_000
_LOOKED_AT_BY_KEY = 100_000
_DENIED = "42501"


@dataclass(frozen=True, slots=True)
class Consent:
    """``force`` goes on where other clients use a database; ``confirm`` is asked with a full
    sentence before anything is written."""

    force: bool = False
    confirm: Callable[[str], bool] = lambda _: True


def repair(
    source: Endpoint,
    target: Endpoint,
    options: VerificationOptions,
    consent: Consent,
    observe: Observer,
) -> Outcome:
    """Makes every row of the chosen tables in the target the source's, and verifies it.

    Raises Refused where nothing was written. What could not be repaired is no error: the outcome
    names it.
    """
    clock = Clock(observe)
    watched = Watched(options, observe, clock)
    require_two_files(source, target)
    unseen = () if consent.force else services.require_stopped((source, target))
    from_dialect, to_dialect = dialect_of(source), dialect_of(target)
    with ExitStack() as stack:
        stack.callback(close_sessions)
        stack.enter_context(to_dialect.lock_in_place(target))
        hold = stack.enter_context(from_dialect.hold(source, locked=True))
        rules = parse_all(options.casts, to_dialect)
        ends = Ends(hold.endpoint, target, from_dialect, to_dialect, rules)
        mine = stack.enter_context(closing(from_dialect.open(hold.endpoint)))
        with clock.phase("inspect"):
            chosen = chosen_of(mine, source, Offers(from_dialect, to_dialect, rules), options)
        with clock.phase("verify"), _target_held(ends) as (held, theirs):
            require_two_databases(mine, theirs, source)
            found = theirs.inspect_target()
            schemas = chosen.everything, found
            checked = check_schema(held, schemas, theirs, options.selection)
            first = look(held, (mine, theirs), chosen, found, watched)
        works = _works(ends, first)
        outcomes = dict(first.outcomes)
        warnings = (*hold.recovered, *unseen, *checked.warnings)
        if works and not _allowed(to_dialect, target, works, consent):
            warnings += ("Nothing was repaired: the question was not answered with yes.",)
        else:
            with clock.phase("repair"):
                _Repairing(works, observe).run()
            close_sessions()
            again = Chosen(chosen.everything, _to_verify(chosen, works, first))
            if again.tables:
                with clock.phase("verify again"), _target_held(ends) as (held, theirs):
                    second = look(held, (mine, theirs), again, found, watched)
                outcomes |= second.outcomes
            repairs = _refused_whole(first) | {work.name: work.done for work in works}
            for name, done in repairs.items():
                outcomes[name] = replace(outcomes[name], repair=done)
        hold.check()
        tables = tuple(outcomes.values())
        return Outcome(
            status=status_of(tables),
            command="repair",
            source=str(source),
            target=str(target),
            tables=tables,
            drift=checked.drift,
            warnings=warnings,
            timings=clock.timings(),
            versions=versions(),
            started=clock.started,
            workers=options.workers,
            timeline=clock.timeline(),
        )


@contextmanager
def _target_held(ends: Ends) -> Iterator[tuple[Ends, Session]]:
    """The target at one moment, for as long as it is compared."""
    dialect = ends.target_dialect
    with dialect.hold(ends.target, locked=False) as hold:
        held = replace(ends, target=hold.endpoint)
        with closing(dialect.open(hold.endpoint)) as session:
            yield held, session
        hold.check()


@dataclass(frozen=True, slots=True)
class _Group:
    """Buckets that are looked at together, and where their rows stand."""

    buckets: tuple[int, ...]
    parts: tuple[TablePart, ...]
    expected: tuple[BucketedDigest, BucketedDigest] | None = None


@dataclass
class _Work:
    """A table that differs: what is to be done, and what has been."""

    name: TableName
    job: Mend
    differing: DifferingRows
    waiting: list[_Group]
    parents: frozenset[TableName]
    # What is known not to be repairable, and what was done.
    spared: Repair = field(default_factory=Repair)
    done: Repair = field(default_factory=Repair)


def _works(ends: Ends, looked: Looked) -> list[_Work]:
    """One for each table that differs and may be repaired, parents before their children."""
    works = [
        _work(ends, check, looked.outcomes[name], name)
        for name, check in looked.checks.items()
        if looked.outcomes[name].verdict == "differs" and not check.obstacle
    ]
    return _parents_first(works)


def _work(ends: Ends, check: TableCheck, outcome: TableOutcome, name: TableName) -> _Work:
    mine, theirs = check.sides
    row_bytes = max(side.bytes // max(side.rows, 1) for side in check.sides)
    speller = None
    if mine.speller is not None:
        speller = Speller(ends.target, mine.speller.scan)
    job = Mend(
        ends.source,
        ends.target,
        (mine.scan, theirs.scan),
        check.target,
        (),
        (),
        max(1, min(_ROWS, _BYTES // max(row_bytes, 1))),
        speller,
        whole=check.whole,
        spared=frozenset(mine.misfit_keys),
    )
    parents = frozenset(key.parent for key in check.target.foreign_keys)
    work = _Work(name, job, outcome.differing, list(_groups(check)), parents)
    if job.spared:
        reason = "the target's columns cannot hold their values"
        work.spared = work.done = Repair(left=len(mine.misfit_keys), reasons=(reason,))
    return work


def _groups(check: TableCheck) -> Iterator[_Group]:
    mine, theirs = check.sides
    digests = mine.digest, theirs.digest
    spread = mine.scan.spread
    differing = digests[0].differing(digests[1])

    def rows(bucket: int) -> int:
        return max(int(digest.rows[bucket]) for digest in digests)

    if theirs.misfit_keys:
        # Rows of the target that are in no digest may be in any bucket.
        for buckets in rounds(range(BUCKETS), rows, _LOOKED_AT):
            yield _Group(buckets, (Range(0),))
        return
    if spread is None:
        for buckets in rounds(differing, rows, _LOOKED_AT):
            yield _Group(buckets, (Range(0),))
        return
    for buckets in rounds(differing, rows, _LOOKED_AT_BY_KEY):
        parts: tuple[KeyRange, ...] = tuple(key_ranges(spread, buckets, rows))
        yield _Group(buckets, parts, digests)


def _parents_first(works: list[_Work]) -> list[_Work]:
    left = {work.job.table.name: work for work in works}
    ordered: list[_Work] = []
    while left:
        free = [w for n, w in left.items() if not (w.parents - {n}) & left.keys()]
        # In a circle of references, whoever comes first.
        for work in free or [next(iter(left.values()))]:
            ordered.append(left.pop(work.job.table.name))
    return ordered


def _refused_whole(looked: Looked) -> dict[TableName, Repair]:
    """Tables that differ and are not repaired at all, with why."""
    absent = "the target has no such table"
    reasons = {
        name: looked.checks[name].obstacle if name in looked.checks else absent
        for name, outcome in looked.outcomes.items()
        if outcome.verdict == "differs"
    }
    return {name: Repair(reasons=(reason,)) for name, reason in reasons.items() if reason}


def _allowed(dialect: Dialect, target: Endpoint, works: list[_Work], consent: Consent) -> bool:
    """Whether the user says yes. Raises Refused where this role may not write."""
    needs = {work.job.table.name: _needs(work.differing) for work in works}
    with closing(dialect.open_repairer(target)) as session:
        session.require_repairable(needs)
        for work in works:
            session.places(work.job.table)
    return consent.confirm(_question(works))


def _needs(rows: DifferingRows) -> tuple[str, ...]:
    counts = {"UPDATE": rows.changed, "INSERT": rows.missing, "DELETE": rows.extra}
    return tuple(right for right, count in counts.items() if count)


def _question(works: Iterable[_Work]) -> str:
    said = []
    for work in works:
        rows = replace(work.differing, changed=work.differing.changed - work.spared.left)
        counts = {"changes": rows.changed, "inserts": rows.missing, "deletes": rows.extra}
        told = ", ".join(f"{what} {count:,}" for what, count in counts.items() if count)
        said.append(f"{work.job.table.name}: {told}")
    return f"This writes rows in the target ({'; '.join(said)})."


def _to_verify(chosen: Chosen, works: Iterable[_Work], looked: Looked) -> tuple[Table, ...]:
    """Tables that were written, and those that refer to one: a key that
    changes may change them with it (ON UPDATE CASCADE)."""
    concerned = {work.job.table.name for work in works if work.done.total}
    known = 0
    while known < len(concerned):
        known = len(concerned)
        concerned |= {
            check.target.name
            for check in looked.checks.values()
            if any(key.parent in concerned for key in check.target.foreign_keys)
        }
    return tuple(
        table
        for table in chosen.tables
        if table.name in looked.checks and looked.checks[table.name].target.name in concerned
    )


class _Repairing:
    """All transactions, one after the other."""

    def __init__(self, works: list[_Work], observe: Observer) -> None:
        self._works = works
        self._observe = observe

    def run(self) -> None:
        for work in self._works:
            self._observe(PhaseBegins("repair", work.name, work.differing.total))
        splitting = False
        while any(work.waiting for work in self._works):
            written = sum(self._round(work, splitting) for work in self._works)
            if splitting and not written:
                break
            # What is refused together may be right apart.
            splitting = splitting or not written
        for work in self._works:
            self._observe(PhaseEnds("repair", work.name))

    def _round(self, work: _Work, splitting: bool) -> int:
        """How many rows were written. What is left waits for the next round."""
        groups, work.waiting = work.waiting, []
        # Of what is left, the last round tells.
        work.done = replace(work.done, left=work.spared.left, reasons=work.spared.reasons)
        before = work.done.total
        for group in groups:
            try:
                left = self._mend(work, group, splitting)
            except (DatabaseError, MisfitFound) as error:
                if isinstance(error, DatabaseError) and error.sqlstate != _DENIED:
                    raise
                # Who does not own a table cannot keep its triggers from firing; and what is no
                # value of a type of the target's is not compared with what stands there.
                work.waiting = []
                work.done += Repair(left=work.differing.total, reasons=(error.message,))
                break
            if left:
                work.waiting.append(replace(group, expected=None))
        return work.done.total - before

    def _mend(self, work: _Work, group: _Group, splitting: bool) -> int:
        """How many rows of a group were refused."""
        job = replace(
            work.job,
            parts=group.parts,
            buckets=group.buckets,
            expected=group.expected,
            splitting=splitting,
        )
        left = 0
        while True:
            mended = mend(job)
            if mended.astray:
                # A damaged index, say: the table itself is read.
                group = replace(group, parts=(Range(0),))
                job = replace(job, parts=group.parts, expected=None)
                continue
            work.done += mended.repair
            left += mended.repair.left
            self._observe(Progress("repair", work.name, mended.repair.total))
            if mended.reached is None:
                return left
            # What was written since is no longer what both sides held.
            job = replace(job, after=mended.reached, expected=None)
