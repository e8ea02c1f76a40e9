"""From Python: what the commands do, with typed outcomes; nothing is printed, no process exits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tableferry import access, migration, repairing, settings, verification
from tableferry.addresses import DatabaseAddress, EmbeddedServer, PostgresServer
from tableferry.dialects.base import Endpoint
from tableferry.errors import UsageError
from tableferry.events import Observer, unheard
from tableferry.model import MisfitPolicy, Roles, ViolationPolicy
from tableferry.outcomes import MAX_LISTED, Outcome
from tableferry.preparation import Permission
from tableferry.running import default_workers, new_run
from tableferry.selection import Selection


def migrate(
    source: str,
    target: str,
    *,
    tables: Iterable[str] = (),
    exclude: Iterable[str] = (),
    workers: int | None = None,
    drop_all: bool = False,
    recreate: bool = False,
    misfit: MisfitPolicy = "widen",
    rejects: str = "tableferry-rejects",
    casts: Iterable[str] = (),
    violations: ViolationPolicy = "report",
    lower: bool = False,
    owner: str = "",
    grants: Iterable[str] = (),
    max_differences: int = MAX_LISTED,
    force: bool = False,
    resume: bool = False,
    config: Path | None = None,
    database: Literal["main", "usage"] = "main",
    on_event: Observer = unheard,
) -> Outcome:
    """Copies a database and verifies every value of it.

    ``source`` and ``target`` are URLs (``sqlite:file.db``, ``postgresql://…``, ``embedded:DIR``)
    or provider names that the configuration file ``config`` knows; ``database`` says which of the
    two that a name may mean. ``tables`` and ``exclude`` are
    globs, and ``casts`` rules as of --cast; ``rejects`` is the folder that ``misfit="reject"``
    sets rows aside in. ``lower`` folds names to lower case; ``owner`` and ``grants`` are roles that
    get what is created, and may use it. ``max_differences`` of a table are listed at most, and all
    are counted. ``force`` goes on where other clients use either database; ``resume`` goes on with
    an unfinished run of the same arguments, and begins none. Raises a TableferryError; differences
    found are none, but ``outcome.verified`` is False then.
    """
    known = _known(config)
    options = migration.MigrationOptions(
        workers=checked_workers(workers),
        permission=Permission(drop_all=drop_all, recreate=recreate),
        selection=Selection(tuple(tables), tuple(exclude)),
        misfit=misfit,
        rejects=rejects,
        casts=tuple(casts),
        violations=violations,
        lower=lower,
        roles=Roles(owner, tuple(grants)),
        force=force,
        listed=max_differences,
        resume=resume,
    )
    run = new_run()
    with (
        opened(_address(known, source, database), os.environ, run) as a,
        opened(_address(known, target, database), os.environ, run) as b,
    ):
        return migration.migrate(a, b, options, on_event)


def verify(
    source: str,
    target: str,
    *,
    tables: Iterable[str] = (),
    exclude: Iterable[str] = (),
    casts: Iterable[str] = (),
    max_differences: int = MAX_LISTED,
    sample: float | None = None,
    workers: int | None = None,
    config: Path | None = None,
    database: Literal["main", "usage"] = "main",
    on_event: Observer = unheard,
) -> Outcome:
    """Compares two databases value by value, writing nothing; see migrate for the arguments.
    ``sample`` is how many percent of the rows of large tables are read, for a first look."""
    known = _known(config)
    options = verification.VerificationOptions(
        workers=checked_workers(workers),
        selection=Selection(tuple(tables), tuple(exclude)),
        casts=tuple(casts),
        listed=max_differences,
        sample=sample,
    )
    run = new_run()
    with (
        opened(_address(known, source, database), os.environ, run) as a,
        opened(_address(known, target, database), os.environ, run) as b,
    ):
        return verification.verify(a, b, options, on_event)


def repair(
    source: str,
    target: str,
    *,
    tables: Iterable[str] = (),
    exclude: Iterable[str] = (),
    casts: Iterable[str] = (),
    max_differences: int = MAX_LISTED,
    workers: int | None = None,
    force: bool = False,
    confirm: Callable[[str], bool] = lambda _: True,
    config: Path | None = None,
    database: Literal["main", "usage"] = "main",
    on_event: Observer = unheard,
) -> Outcome:
    """Verifies, writes the target's differing rows anew, and verifies these tables again; see
    migrate for the arguments. ``confirm`` is asked with a sentence that says how many rows of which
    tables, before anything is written. ``outcome.tables[i].repair`` tells what was done, and why
    what still differs could not be repaired."""
    known = _known(config)
    options = verification.VerificationOptions(
        workers=checked_workers(workers),
        selection=Selection(tuple(tables), tuple(exclude)),
        casts=tuple(casts),
        listed=max_differences,
    )
    run = new_run()
    with (
        opened(_address(known, source, database), os.environ, run) as a,
        opened(_address(known, target, database), os.environ, run) as b,
    ):
        return repairing.repair(a, b, options, repairing.Consent(force, confirm), on_event)


def _address(
    known: settings.Settings, name: str, database: Literal["main", "usage"]
) -> DatabaseAddress:
    found = settings.resolve(known, name)
    if database == "main":
        return found.main
    if found.usage is None:
        raise UsageError(
            f"There is no usage database of {name}.", hint="Only a provider name may have one."
        )
    return found.usage


def _known(config: Path | None) -> settings.Settings:
    known = settings.load(config, os.environ)
    access.require_allowed(known)
    return known


def checked_workers(workers: int | None) -> int:
    if workers is None:
        return default_workers()
    if not 1 <= workers <= 256:
        raise UsageError(f"{workers} workers make no sense.", hint="Give a number from 1 to 256.")
    return workers


@contextmanager
def opened(
    address: DatabaseAddress, environ: Mapping[str, str], run: str = ""
) -> Iterator[Endpoint]:
    """An endpoint for the address; an embedded server runs for as long as it is used. ``run`` is
    the name of the run that the server's sessions are to carry."""
    if isinstance(address, EmbeddedServer):
        # Imported here, so that the module can also be run as a program.
        from tableferry.dialects.postgresql import embedded

        with embedded.start(address.directory) as server:
            own = PostgresServer(server.url, server.password)
            yield Endpoint(own, run=run, label=str(address))
    else:
        yield unopened(address, environ, run)[0]


def unopened(
    address: DatabaseAddress, environ: Mapping[str, str], run: str = ""
) -> tuple[Endpoint, bool]:
    """An endpoint for the address, and whether it can be opened as it is: an embedded server that
    is not started cannot."""
    if isinstance(address, EmbeddedServer):
        return Endpoint(PostgresServer("postgresql:///postgres"), label=str(address)), False
    if isinstance(address, PostgresServer) and address.password is None:
        # libpq would look there itself, but our workers get no secret in their environment.
        address = replace(address, password=environ.get("PGPASSWORD"))
    return Endpoint(address, run=run), True
