"""The story of a migration: inspect, plan, prepare, copy, finish, verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from tableferry import services
from tableferry.aborting import is_unfinished
from tableferry.adoption import Adopted, with_demands
from tableferry.casts import Offers, parse_all
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint, Hold, Session, Stage, TargetSession
from tableferry.errors import DatabaseError, Refused, RunFailed, TableferryError
from tableferry.events import Note, Observer, Retried
from tableferry.ledger import Ledger
from tableferry.loading import Loading
from tableferry.loads import Policy, Route
from tableferry.model import (
    MisfitPolicy,
    Plan,
    Roles,
    Schema,
    Scope,
    TableName,
    ViolationPolicy,
)
from tableferry.naming import Destination
from tableferry.outcomes import MAX_LISTED, Outcome
from tableferry.plan import adopted_in
from tableferry.preparation import Permission, make_way, require_permission
from tableferry.processes import boot_id
from tableferry.rejects import RejectFolder
from tableferry.resuming import option_facts, require_the_same
from tableferry.retrying import PAUSES, Counting
from tableferry.running import (
    Clock,
    default_workers,
    jobs_over,
    require_tables,
    require_two_databases,
    require_two_files,
    started_executor,
    status_of,
)
from tableferry.selection import Selection
from tableferry.space import needed_bytes, shortage
from tableferry.versions import versions


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """What may be chosen of a migration, apart from where it goes from and to."""

    workers: int = field(default_factory=default_workers)
    permission: Permission = field(default_factory=Permission)
    selection: Selection = field(default_factory=Selection)
    misfit: MisfitPolicy = "widen"
    # What becomes of rows that break a key, a check or a foreign key.
    violations: ViolationPolicy = "report"
    # Names are folded to lower case.
    lower: bool = False
    roles: Roles = field(default_factory=Roles)
    scope: Scope = "all"
    # Where rejected rows are set aside: a folder, made when it is needed.
    rejects: str = "tableferry-rejects"
    # Rules as the user writes them; see casts.py.
    casts: tuple[str, ...] = ()
    # Whether other clients of either database are no reason to refuse.
    force: bool = False
    # How many differences of a table are listed.
    listed: int = MAX_LISTED
    # Goes on with an unfinished run, and begins none.
    resume: bool = False

    def facts(self) -> dict[str, str]:
        """What has to be the same for a run to go on, as facts of the ledger."""
        return option_facts(
            {
                "--tables": self.selection.tables,
                "--exclude": self.selection.exclude,
                "--cast": self.casts,
                "--misfit": self.misfit,
                "--violations": self.violations,
                "--names": "lower" if self.lower else "keep",
                "--data-only": self.scope == "data",
                "--schema-only": self.scope == "schema",
                "--owner": self.roles.owner,
                "--grant": self.roles.grants,
            }
        )


def migrate(
    source: Endpoint, target: Endpoint, options: MigrationOptions, observe: Observer
) -> Outcome:
    """Copies every chosen table, verifies it, and tells what came of it.

    Raises Refused before anything was written, RunFailed after; a value that differs is no error
    but part of the outcome.
    """
    told = Counting(observe)
    clock = Clock(told)
    require_two_files(source, target)
    from_dialect, to_dialect = dialect_of(source), dialect_of(target)
    unseen = () if options.force else services.require_stopped((source, target))
    # Started first, so that workers load their drivers while the source is inspected.
    size = from_dialect.size_hint(source)
    started = partial(started_executor, size, options.workers, told, target)
    with (
        started() as executor,
        from_dialect.hold(source, locked=True) as hold,
        to_dialect.stage(target) as stage,
    ):
        ends = _Held(source, target, hold, stage)
        try:
            outcome = _carry(ends, executor, options, told, clock)
        except TableferryError as error:
            outcome = _go_on(ends, started, options, (told, clock), error)
        if outcome.status != "differences":
            with clock.phase("publish"):
                _publish(stage, Ledger(to_dialect.home))
            warnings = (*hold.recovered, *unseen)
        else:
            warnings = (*hold.recovered, *unseen, *filter(None, [stage.withheld()]))
        timings = outcome.timings | clock.timings()
        return replace(
            outcome,
            warnings=warnings,
            timings=timings,
            timeline=clock.timeline(),
            retries=told.retries,
        )


def _publish(stage: Stage, ledger: Ledger) -> None:
    """``ledger`` is that of a target which is written apart: such a one has but one schema."""
    try:
        stage.publish(ledger.ending)
    except DatabaseError as error:
        raise _with_way_on(error) from error


def _go_on(
    ends: _Held,
    started: Callable[[], AbstractContextManager[Executor]],
    options: MigrationOptions,
    watched: tuple[Observer, Clock],
    error: TableferryError,
) -> Outcome:
    """Where a run has lost the session that holds the target, because of ``error``: the server may
    have crashed, and with it what was committed and not on its disk yet. Its ledger knows."""
    observe, clock = watched
    options = replace(options, resume=True, permission=Permission())
    begun = False
    ended: Outcome | None = None
    for pause in PAUSES:
        if _BEGUN in error.details:
            begun, ended = True, error.details.get(_ENDED)
        if not (begun and error.transient):
            break
        observe(Retried("", error.message, pause))
        time.sleep(pause)
        try:
            with started() as executor:
                return _carry(ends, executor, options, observe, clock)
        except TableferryError as another:
            if another.details.get("nothing") and ended is not None:
                # The last commit was heard, and its answer was not.
                return ended
            error = another
    if begun and _BEGUN not in error.details:
        error = _with_way_on(error)
    raise error


# A detail of errors that were met when something had been written.
_BEGUN = "begun"
# Another: what the outcome is, where it is only not known whether the last commit was heard.
_ENDED = "ended"


@dataclass(frozen=True, slots=True)
class _Held:
    """Both ends as they were given, and as they are held for the length of a run."""

    source: Endpoint
    target: Endpoint
    hold: Hold
    stage: Stage


def _carry(
    ends: _Held, executor: Executor, options: MigrationOptions, observe: Observer, clock: Clock
) -> Outcome:
    """Everything up to where the target could be put in place; no session is left open."""
    hold, stage = ends.hold, ends.stage
    from_dialect, to_dialect = dialect_of(ends.source), dialect_of(ends.target)
    with ExitStack() as stack:
        reader = stack.enter_context(closing(from_dialect.open(hold.endpoint)))
        with clock.phase("inspect"):
            everything = reader.inspect()
            require_tables(everything, ends.source)
            schema = options.selection.apply(everything)
            rules = parse_all(options.casts, to_dialect)
            offers = Offers(from_dialect, to_dialect, rules)
            offers.require_matches(schema)
        if stage.unfinished and not options.resume:
            require_permission(options.permission)
            stage.discard()
        writer = stack.enter_context(closing(stage.open()))
        require_two_databases(reader, writer, ends.source)
        writer.prepare_load()
        writer.lock_run()
        writer.require_writable()
        writer.require_roles(options.roles.owner, options.roles.grants)

        facts = _facts(ends, reader, options, clock)
        if options.resume:
            before = _unfinished_facts(writer, ends.target)
            require_the_same(before, facts, str(ends.target))
            if before.get("boot") != facts["boot"]:
                stage.require_sound()
            observe(Note(f"Going on with the run of {before['started']}"))
        destination = Destination(to_dialect, writer.schema, options.lower)
        adopted = _adopted(writer, schema, offers, destination, options)
        route = Route(
            hold.endpoint,
            stage.endpoint,
            with_demands(offers, adopted),
            destination,
            RejectFolder(options.rejects),
            adopted,
        )
        jobs = stack.enter_context(jobs_over(executor, clock, stage.endpoint, writing=True))
        loading = Loading(
            route,
            schema,
            jobs,
            (reader, writer),
            observe,
            policy=Policy(
                options.misfit,
                options.violations,
                options.roles,
                options.scope == "schema",
                options.listed,
            ),
        )
        _announce_shortage(ends.target, loading.plan, options, observe)
        with clock.phase("prepare"), _refusing():
            gone: tuple[str, ...] = ()
            if options.resume:
                loading.take_up()
            else:
                gone = make_way(writer, to_dialect, loading.plan, route.ledger, options.permission)
                loading.create_all(facts)
        if gone:
            observe(Note(f"Replaced in the target: {', '.join(gone)}"))
        try:
            if options.scope == "schema":
                loading.run_without_rows()
            else:
                loading.run()
            hold.check()
            _require_kept(writer)
            with clock.phase("finish"):
                loading.finish(keeping=stage.publishes)
        except TableferryError as error:
            behind = _with_way_on(_loss_behind(error, writer))
            if loading.committing:
                behind.details[_ENDED] = _outcome_of(loading, ends, options, clock)
            raise behind from error
        return _outcome_of(loading, ends, options, clock)


def _outcome_of(loading: Loading, ends: _Held, options: MigrationOptions, clock: Clock) -> Outcome:
    outcomes = loading.outcomes
    return Outcome(
        status="created" if options.scope == "schema" else status_of(outcomes),
        command="migrate",
        source=str(ends.source),
        target=str(ends.target),
        tables=outcomes,
        left_behind=loading.left_behind,
        views=loading.views,
        violations=loading.violations,
        timings=loading.timings,
        versions=versions(),
        started=clock.started,
        workers=options.workers,
    )


def _announce_shortage(
    target: Endpoint, plan: Plan, options: MigrationOptions, observe: Observer
) -> None:
    """No reason to refuse: sizes are estimates, and a run that ends for want of room goes on."""
    if options.resume or options.scope == "schema":
        return
    replaced = [table.target.name for table in plan.tables]
    free = dialect_of(target).free_space(target, replaced)
    if sentence := shortage(needed_bytes(plan), free, str(target)):
        observe(Note(f"Warning: {sentence}"))


def _facts(ends: _Held, reader: Session, options: MigrationOptions, clock: Clock) -> dict[str, str]:
    """Whose run it is, for its ledger: see resuming.require_the_same()."""
    return {
        **options.facts(),
        **versions(),
        "source": str(ends.source),
        "identity": reader.identity(),
        "moment": ends.stage.moment(),
        "boot": boot_id(),
        "started": clock.started,
    }


def _adopted(
    writer: TargetSession,
    schema: Schema,
    offers: Offers,
    destination: Destination,
    options: MigrationOptions,
) -> dict[TableName, Adopted]:
    """The application's own tables that take rows. Raises Refused where others are wanted."""
    if options.permission.recreate:
        return {}
    there, kept = _there(writer, options)
    rows_alone = options.scope == "data"
    adopted = adopted_in(there, schema, offers, destination, rows_alone=rows_alone, kept=kept)
    absent = [str(t.name) for t in schema.tables if t.name not in adopted]
    if rows_alone and absent:
        raise Refused(
            f"The target has no table of its own for {', '.join(absent)}.",
            hint="Without --data-only they are created.",
        )
    return adopted


def _unfinished_facts(writer: TargetSession, target: Endpoint) -> dict[str, str]:
    if not is_unfinished(writer.inspect_target()):
        raise Refused(
            f"{target} holds no unfinished run: it has ended, or has not begun.",
            hint="Compare both sides with --verify, or leave out --resume to begin one.",
            nothing=True,
        )
    return Ledger(writer.schema).facts(writer)


def _there(
    writer: TargetSession, options: MigrationOptions
) -> tuple[Schema, tuple[TableName, ...]]:
    """What the target holds, without what an unfinished run has made and will take along, and which
    of it that run has adopted. Where it goes on, just this."""
    existing = writer.inspect_target()
    if not is_unfinished(existing):
        return existing, ()
    left = Ledger(writer.schema).unfinished(writer)
    if options.resume:
        tables = [table for table in existing.tables if table.name in left.adopted]
    elif options.permission.replaces:
        tables = [table for table in existing.tables if table.name not in left.made]
    else:
        return existing, ()
    return replace(existing, tables=tuple(tables)), left.adopted


@contextmanager
def _refusing() -> Iterator[None]:
    """A server's no to the first transaction, which brings everything or nothing, is a refusal."""
    try:
        yield
    except DatabaseError as error:
        if error.transient:
            # Whether it was committed is not known.
            raise
        raise Refused(error.message, hint=error.hint, sqlstate=error.sqlstate) from error


def _require_kept(writer: TargetSession) -> None:
    """Raises DatabaseError where the target's server was away, and commits may be lost: they need
    not wait for its disk while rows are loaded."""
    writer.texts("SELECT 'there' AS still")
    writer.rollback()


def _loss_behind(error: TableferryError, writer: TargetSession) -> TableferryError:
    """What is behind an error where the target's server was away meanwhile."""
    try:
        _require_kept(writer)
    except DatabaseError as lost:
        return lost if lost.transient else error
    return error


def _with_way_on(error: TableferryError) -> TableferryError:
    """What was written by now is unfinished; say how to go on."""
    way = (
        "The target holds an unfinished run: --resume goes on with it, --drop-all starts anew, "
        "--abort gives it up."
    )
    # A refusal would say that nothing was written.
    kind = RunFailed if isinstance(error, Refused) else type(error)
    details = error.details | {_BEGUN: True}
    return kind(error.message, hint=f"{error.hint} {way}".strip(), **details)
