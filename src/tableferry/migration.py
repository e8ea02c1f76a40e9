"""The story of a migration: inspect, plan, prepare, copy, finish, verify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from tableferry import services
from tableferry.aborting import is_unfinished
from tableferry.adoption import with_demands
from tableferry.casts import Offers, parse_all
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Dialect, Endpoint, TargetSession
from tableferry.errors import DatabaseError, Refused, TableferryError, UsageError
from tableferry.events import Note, Observer
from tableferry.ledger import Ledger
from tableferry.loading import Loading, Policy, Route
from tableferry.model import MisfitPolicy, Outcome, Roles, Schema, Scope, ViolationPolicy
from tableferry.naming import Destination
from tableferry.plan import adopted_in
from tableferry.preparation import Permission, make_way
from tableferry.rejects import RejectFolder
from tableferry.running import (
    Clock,
    default_workers,
    jobs_over,
    require_tables,
    require_two_databases,
    started_executor,
    status_of,
)
from tableferry.selection import Selection
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


def migrate(
    source: Endpoint, target: Endpoint, options: MigrationOptions, observe: Observer
) -> Outcome:
    """Copies every chosen table, verifies it, and tells what came of it.

    Raises Refused before anything was written, RunFailed after; a value that differs is no error
    but part of the outcome.
    """
    clock = Clock()
    with ExitStack() as stack:
        from_dialect, to_dialect = route_of(source, target)
        unseen = () if options.force else services.require_stopped((source, target))
        # Started first, so that workers load their drivers while the source is inspected.
        size = from_dialect.size_hint(source)
        executor = stack.enter_context(started_executor(size, options.workers, observe))
        hold = stack.enter_context(from_dialect.hold(source, locked=True))
        reader = from_dialect.open(hold.endpoint)
        stack.callback(reader.close)
        with clock.phase("inspect"):
            everything = reader.inspect()
            require_tables(everything, source)
            schema = options.selection.apply(everything)
            offers = Offers(from_dialect, parse_all(options.casts, to_dialect))
            offers.require_matches(schema)
        writer = cast(TargetSession, to_dialect.open(target))
        stack.callback(writer.close)
        require_two_databases(reader, writer, source)
        writer.prepare_load()
        writer.lock_run()
        writer.require_writable()
        writer.require_roles(options.roles.owner, options.roles.grants)

        destination = Destination(to_dialect, writer.schema, options.lower)
        adopted = {}
        if not options.permission.recreate:
            there = _there(writer, options.permission)
            rows_alone = options.scope == "data"
            adopted = adopted_in(there, schema, offers, destination, rows_alone=rows_alone)
        if options.scope == "data" and len(adopted) < len(schema.tables):
            absent = [str(t.name) for t in schema.tables if t.name not in adopted]
            raise Refused(
                f"The target has no table of its own for {', '.join(absent)}.",
                hint="Without --data-only they are created.",
            )
        route = Route(
            hold.endpoint,
            target,
            with_demands(offers, adopted, to_dialect),
            destination,
            RejectFolder(options.rejects),
            adopted,
        )
        jobs = stack.enter_context(jobs_over(executor))
        loading = Loading(
            route,
            schema,
            jobs,
            (reader, writer),
            observe,
            policy=Policy(
                options.misfit, options.violations, options.roles, options.scope == "schema"
            ),
        )
        with clock.phase("prepare"), _refusing():
            gone = make_way(
                writer, to_dialect.statements, loading.plan, route.ledger, options.permission
            )
            loading.create_all(_facts(source, clock))
        if gone:
            observe(Note(f"Replaced in the target: {', '.join(gone)}"))
        try:
            if options.scope == "schema":
                loading.run_without_rows()
            else:
                loading.run()
            hold.check()
        except TableferryError as error:
            raise _with_way_on(error) from error
        with clock.phase("finish"):
            loading.finish()
        outcomes = loading.outcomes
        return Outcome(
            status="created" if options.scope == "schema" else status_of(outcomes),
            command="migrate",
            source=str(source),
            target=str(target),
            tables=outcomes,
            left_behind=loading.left_behind,
            views=loading.views,
            violations=loading.violations,
            warnings=unseen,
            timings=clock.timings() | loading.timings,
            versions=versions(),
            started=clock.started,
            workers=options.workers,
        )


def route_of(source: Endpoint, target: Endpoint) -> tuple[Dialect, Dialect]:
    """Both ends' dialects. Raises UsageError for a way that is not there yet."""
    ends = dialect_of(source), dialect_of(target)
    if tuple(dialect.name for dialect in ends) != ("sqlite", "postgresql"):
        raise UsageError(
            f"Migrating from {ends[0].title} to {ends[1].title} is not there yet.",
            hint="This version migrates from SQLite to PostgreSQL.",
        )
    return ends


def _there(writer: TargetSession, permission: Permission) -> Schema:
    """What the target holds, without what an unfinished run has made and will take along."""
    existing = writer.inspect()
    if not (is_unfinished(existing) and permission.replaces):
        return existing
    made = set(Ledger(writer.schema).unfinished(writer).made)
    return replace(existing, tables=tuple(t for t in existing.tables if t.name not in made))


@contextmanager
def _refusing() -> Iterator[None]:
    """A server's no to the first transaction, which brings everything or nothing, is a refusal."""
    try:
        yield
    except DatabaseError as error:
        raise Refused(error.message, hint=error.hint, sqlstate=error.sqlstate) from error


def _facts(source: Endpoint, clock: Clock) -> Mapping[str, str]:
    return versions() | {"source": str(source), "started": clock.started}


def _with_way_on(error: TableferryError) -> TableferryError:
    """What was written by now is unfinished; say how to go on."""
    way = "The target holds an unfinished run: --drop-all starts anew, --abort gives it up."
    return type(error)(error.message, hint=f"{error.hint} {way}".strip(), **error.details)
