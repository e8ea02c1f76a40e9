"""The command: arguments in, exit code out. The only place that prints or exits."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from tableferry import __version__, usage
from tableferry.errors import (
    EXIT_DIFFERENCES,
    EXIT_INTERRUPTED,
    EXIT_VERIFIED,
    TableferryError,
    UsageError,
)
from tableferry.redaction import redact
from tableferry.usage import Arguments

if TYPE_CHECKING:
    from tableferry.addresses import DatabaseAddress, Databases
    from tableferry.migration import MigrationOptions
    from tableferry.model import Outcome

_INTERRUPTED = (
    "Interrupted. A migration under way is unfinished: --drop-all starts anew, --abort gives it up."
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console scripts ``migrate`` and ``tableferry``."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(stderr=True, highlight=False)
    secrets: list[str] = []
    try:
        code = _command(list(sys.argv[1:] if argv is None else argv), console, secrets)
    except TableferryError as error:
        _say(console, redact(f"migrate: {error.message}", secrets), "bold red")
        _say(console, redact(error.hint, secrets))
        code = error.exit_code
    except KeyboardInterrupt:
        _say(console, _INTERRUPTED, "bold red")
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _say(console: Console, text: str, style: str = "") -> None:
    if text:
        console.print(text, style=style, markup=False, soft_wrap=True)


def _command(argv: list[str], console: Console, secrets: list[str]) -> int:
    arguments = usage.parse(argv)
    if arguments.command == "help":
        sys.stdout.write(usage.USAGE)
        return EXIT_VERIFIED
    if arguments.command == "version":
        sys.stdout.write(f"tableferry {__version__}\n")
        return EXIT_VERIFIED
    # Imported late: help and wrong flags answer at once, without loading the drivers.
    from tableferry import access, settings

    known = settings.load(arguments.config, os.environ)
    access.require_allowed(known)
    if arguments.abort:
        only = settings.resolve(known, arguments.target)
        secrets.extend(only.secrets)
        return _abort(arguments, console, only.main)
    source = settings.resolve(known, arguments.source)
    target = settings.resolve(known, arguments.target)
    secrets.extend((*source.secrets, *target.secrets))
    risks = (*known.risks, *_exposed(source), *_exposed(target))
    if not arguments.quiet:
        for warning in (*known.warnings, *risks):
            _say(console, f"Warning: {warning}", "yellow")
    if source.usage is not None and target.usage is not None:
        raise UsageError(
            "Usage data is configured on both sides, and migrating two databases in one run is "
            "not there yet.",
            hint="Name the two databases by their URLs, with --from and --to, one run each.",
        )
    rules = (*(entry.value for entry in known.casts), *arguments.casts)
    arguments = replace(arguments, casts=rules)
    if arguments.command == "plan":
        _plan(arguments, console, (source.main, target.main), risks)
        return EXIT_VERIFIED
    return _exit_code(arguments, _run(arguments, console, (source.main, target.main), risks))


def _abort(arguments: Arguments, console: Console, address: DatabaseAddress) -> int:
    from tableferry import aborting, api

    with api.opened(address, os.environ) as target:
        done = aborting.abort(
            target, lambda question: arguments.yes or _confirmed(console, question)
        )
    if not arguments.quiet:
        _say(console, done)
    return EXIT_VERIFIED


def _exposed(databases: Databases) -> list[str]:
    return [
        f"the password of {address} stands on the command line, where other users of this "
        "machine can see it; TABLEFERRY_POSTGRES_PASSWORD or .pgpass keep it private"
        for address in (databases.main, databases.usage)
        if getattr(address, "password_on_command_line", False)
    ]


def _run(
    arguments: Arguments,
    console: Console,
    pair: tuple[DatabaseAddress, DatabaseAddress],
    risks: tuple[str, ...],
) -> Outcome:
    from tableferry import api, migration, progress, reloading, report, summary, verification
    from tableferry.selection import Selection

    if arguments.report not in ("", "-"):
        report.require_writable(Path(arguments.report))
    selection = Selection(arguments.tables, arguments.exclude)
    workers = api.checked_workers(arguments.workers)
    try:
        with (
            progress.showing(
                console, wanted=arguments.progress, notes=not arguments.quiet
            ) as observe,
            api.opened(pair[0], os.environ) as source,
            api.opened(pair[1], os.environ) as target,
        ):
            if arguments.rejects is not None:
                outcome = reloading.load_rejects(
                    (source, target),
                    arguments.rejects,
                    verification.VerificationOptions(workers, selection, arguments.casts),
                    observe,
                )
            elif arguments.verify:
                outcome = verification.verify(
                    source,
                    target,
                    verification.VerificationOptions(workers, selection, arguments.casts),
                    observe,
                )
            else:
                outcome = migration.migrate(source, target, _options(arguments, console), observe)
    except TableferryError as error:
        command = "verify" if arguments.verify else "migrate"
        if arguments.rejects is not None:
            command = "load rejects"
        _write_report(arguments, report.of_error(error, command, (str(pair[0]), str(pair[1]))))
        raise
    if not arguments.quiet:
        summary.show(outcome, console, verbose=arguments.verbose)
    # The risks were told at the start.
    told = replace(outcome, warnings=(*risks, *outcome.warnings))
    _write_report(arguments, report.of_outcome(told))
    if arguments.report not in ("", "-") and not arguments.quiet:
        _say(console, f"Report: {arguments.report}")
    return outcome


def _options(arguments: Arguments, console: Console) -> MigrationOptions:
    from tableferry import api, migration
    from tableferry.model import Roles
    from tableferry.preparation import Permission
    from tableferry.selection import Selection

    return migration.MigrationOptions(
        api.checked_workers(arguments.workers),
        Permission(
            arguments.drop_all,
            arguments.recreate,
            lambda question: arguments.yes or _confirmed(console, question),
        ),
        Selection(arguments.tables, arguments.exclude),
        misfit=arguments.misfit,
        casts=arguments.casts,
        violations=arguments.violations,
        lower=arguments.lower,
        scope=arguments.scope,
        roles=Roles(arguments.owner, arguments.grants),
        force=arguments.force,
    )


def _plan(
    arguments: Arguments,
    console: Console,
    pair: tuple[DatabaseAddress, DatabaseAddress],
    risks: tuple[str, ...],
) -> None:
    from tableferry import api, planning, progress, report, summary

    if arguments.report not in ("", "-"):
        report.require_writable(Path(arguments.report))
    notes = not arguments.quiet
    # A private server is not started for a look: what would be there is what a new one has.
    target, look = api.unopened(pair[1], os.environ)
    try:
        with (
            progress.showing(console, wanted=arguments.progress, notes=notes) as observe,
            api.opened(pair[0], os.environ) as source,
        ):
            outcome = planning.plan(
                source, target, _options(arguments, console), observe, look=look
            )
    except TableferryError as error:
        _write_report(arguments, report.of_error(error, "plan", (str(pair[0]), str(pair[1]))))
        raise
    if not arguments.quiet:
        summary.show_plan(outcome, console, verbose=arguments.verbose)
    if arguments.sql:
        sys.stdout.write(outcome.script)
    told = replace(outcome, risks=(*risks, *outcome.risks))
    _write_report(arguments, report.of_plan(told))


def _confirmed(console: Console, question: str) -> bool:
    """Asks on a terminal; without one, the flag that was given is the answer."""
    if not (console.is_terminal and sys.stdin.isatty()):
        return True
    _say(console, question, "bold yellow")
    return console.input("Go on? [y/N] ").strip().lower() in ("y", "yes")


def _write_report(arguments: Arguments, content: dict[str, Any]) -> None:
    from tableferry import report

    if arguments.report == "-":
        sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    elif arguments.report:
        report.write(content, Path(arguments.report))


def _exit_code(arguments: Arguments, outcome: Outcome) -> int:
    if not outcome.fine or (arguments.strict and (outcome.left_behind or outcome.violations)):
        return EXIT_DIFFERENCES
    return EXIT_VERIFIED


if __name__ == "__main__":
    main()
