"""The command: arguments in, exit code out. The only place that prints or exits."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn, TextIO, TypeAlias, cast

from rich.console import Console
from rich.text import Text

from tableferry import __version__, usage
from tableferry.addresses import Databases
from tableferry.errors import (
    EXIT_DIFFERENCES,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_VERIFIED,
    Interrupted,
    Refused,
    TableferryError,
    UsageError,
)
from tableferry.interrupts import Watch
from tableferry.outcomes import Outcome, PlanOutcome
from tableferry.processes import FEW_THREADS
from tableferry.redaction import redact, secrets_of
from tableferry.spelling import harmless
from tableferry.usage import Arguments

if TYPE_CHECKING:
    from tableferry.events import Observer
    from tableferry.log import Log
    from tableferry.migration import MigrationOptions
    from tableferry.pairs import Pair

# How a pair of databases ended.
Ending: TypeAlias = Outcome | PlanOutcome | TableferryError

_INTERRUPTED = (
    "Interrupted. A migration under way is unfinished: --resume goes on with it, --drop-all starts "
    "anew, --abort gives it up."
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """What the console scripts run; see command.py."""
    console = _Terminal(file=_errors(), highlight=False)
    given = list(sys.argv[1:] if argv is None else argv)
    secrets = secrets_of(given)
    # What writes nothing has nothing to go on with.
    farewell = "Interrupted." if {"plan", "--verify"} & set(given) else _INTERRUPTED
    watch = Watch(farewell)
    code = EXIT_INTERRUPTED
    try:
        try:
            watch.begin(loading=True)
            code = _command(given, console, secrets, watch.loaded)
        except TableferryError as error:
            # What an interrupt has cancelled fails, too.
            if not watch.arrived:
                _complain(console, error, secrets)
                code = error.exit_code
        finally:
            watch.end()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except Exception:  # noqa: BLE001 - a fault of ours, whatever it is
        # Left to Python it would end with 1, which says that rows differ.
        if not watch.arrived:
            _say(console, redact(traceback.format_exc(), secrets))
            code = EXIT_FAILED
    if code == EXIT_INTERRUPTED:
        watch.told()
        # The terminal may be what is gone.
        with suppress(OSError):
            _say(console, farewell, "bold red")
    sys.exit(code)


class _Errors:
    """Standard error, where a full disk, or a reader that has gone, is no reason to end a run."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _errors() -> IO[str] | None:
    # None where the process was started without.
    return cast("IO[str]", _Errors(sys.stderr)) if sys.stderr is not None else None


def _print(text: str) -> None:
    """What was asked for. Raises UsageError where it cannot be written."""
    if sys.stdout is None:
        raise UsageError("There is no standard output to write to.")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer would be tried once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        # Whoever has read enough wants no more.
        if not isinstance(error, BrokenPipeError):
            raise UsageError(f"Standard output cannot be written: {error.strerror}.") from error


class _Terminal(Console):
    """Names and values are others': what would act on a terminal in them, or hide, is shown by its
    symbol."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)


def _complain(
    console: Console, error: TableferryError, secrets: list[str], about: str = ""
) -> None:
    _say(console, redact(f"migrate: {about}{error.message}", secrets), "bold red")
    _say(console, redact(error.hint, secrets))


def _say(console: Console, text: str, style: str = "") -> None:
    if text:
        console.print(text, style=style, markup=False, soft_wrap=True)


def _command(
    argv: list[str], console: Console, secrets: list[str], loaded: Callable[[], None]
) -> int:
    arguments = usage.parse(argv)
    if arguments.command == "help":
        _print(usage.USAGE)
        return EXIT_VERIFIED
    if arguments.command == "version":
        _print(f"tableferry {__version__}\n")
        return EXIT_VERIFIED
    # Before numpy is imported, which looks at it then. Only here: in a caller's process what numpy
    # does is the caller's.
    os.environ.update(FEW_THREADS | os.environ)
    # Imported late: help and wrong flags answer at once, without loading the drivers.
    from tableferry import access, api, settings  # noqa: F401 - what takes time is in api
    from tableferry.log import Log
    from tableferry.running import new_run

    loaded()
    secrets.extend(filter(None, [os.environ.get("PGPASSWORD")]))
    known = settings.load(arguments.config, os.environ)
    access.require_allowed(known)
    if arguments.abort:
        only = settings.resolve(known, arguments.target)
        secrets.extend(only.secrets)
        if not settings.is_provider(arguments.source):
            only = Databases(only.main)
        log = Log(arguments.log, new_run(), secrets)
        with closing(log):
            return _abort(_Command(arguments, console, secrets, log), only)
    source = settings.resolve(known, arguments.source)
    target = settings.resolve(known, arguments.target)
    secrets.extend((*source.secrets, *target.secrets))
    risks = (*known.risks, *_exposed(source), *_exposed(target))
    if source.usage is not None and target.usage is None and settings.is_provider(arguments.target):
        risks += (f"the usage database stays behind: {source.usage} has no counterpart configured",)
    if not arguments.quiet:
        for warning in (*known.warnings, *risks):
            _say(console, f"Warning: {warning}", "yellow")
    rules = (*(entry.value for entry in known.casts), *arguments.casts)
    arguments = replace(arguments, casts=rules)
    log = Log(arguments.log, new_run(), secrets)
    with closing(log):
        return _each(_Command(arguments, console, secrets, log, risks), source, target)


@dataclass(frozen=True, slots=True)
class _Command:
    """What was asked for, and what every part of it needs to answer."""

    arguments: Arguments
    console: Console
    secrets: list[str] = field(repr=False)
    log: Log
    # What the report has to name besides.
    risks: tuple[str, ...] = ()
    # Whether it concerns several databases.
    several: bool = False

    def say(self, text: str, style: str = "") -> None:
        if not self.arguments.quiet:
            _say(self.console, text, style)

    def complain(self, error: TableferryError, about: str = "") -> None:
        _complain(self.console, error, self.secrets, about)

    def confirms(self, question: str) -> bool:
        return self.arguments.yes or _confirmed(self.console, question)


def _each(command: _Command, source: Databases, target: Databases) -> int:
    """The pairs of databases that the command concerns, one after another: that one fails is no
    reason to leave out the next. Answers the worst exit code."""
    from tableferry import api, pairs, report, summary
    from tableferry.selection import Selection

    arguments = command.arguments
    if arguments.report not in ("", "-"):
        report.require_writable(Path(arguments.report))
    api.checked_workers(arguments.workers)
    selection = Selection(arguments.tables, arguments.exclude)
    configured = pairs.pairs_of(source, target, selection, arguments.casts)
    chosen = pairs.divided(configured, os.environ)
    for pair in configured:
        if pair.name not in [each.name for each in chosen]:
            command.say(f"{pair.title}: none of its tables is chosen.", "yellow")
    if len(chosen) > 1:
        _require_one_by_one(arguments)
        command = replace(command, several=True)
    endings: dict[Pair, Ending] = {}
    for pair in chosen:
        if len(configured) > 1:
            command.say(str(pair), "bold")
        try:
            endings[pair] = _ending(command, pair)
        except TableferryError as error:
            command.complain(error, f"{pair.name} database: " if len(chosen) > 1 else "")
            endings[pair] = error
        except KeyboardInterrupt:
            if endings:
                # What has come to its end is not lost with what has not.
                endings[pair] = Interrupted(_INTERRUPTED)
                _write_report(arguments, _report(command, endings))
            raise
    reports = _report(command, endings)
    if len(chosen) > 1 and not arguments.quiet:
        words = {each["database"]: each["report"]["status"] for each in reports["databases"]}
        summary.show_databases(words, command.console)
    _write_report(arguments, reports)
    _tell_trouble(command)
    ended = any(not isinstance(ending, TableferryError) for ending in endings.values())
    if ended and arguments.report not in ("", "-"):
        command.say(f"Report: {arguments.report}")
    return max(_exit_code(arguments, ending) for ending in endings.values())


def _require_one_by_one(arguments: Arguments) -> None:
    by_url = "with --from and --to as URLs, one database at a time"
    if arguments.sql:
        raise UsageError(
            "--sql prints the script of one database, and usage data is configured too.",
            hint=f"Run it {by_url}, or read both scripts in a --report.",
        )
    if arguments.rejects is not None:
        raise UsageError(
            "--rejects loads one table of one database.",
            hint=f"Name it with --tables TABLE; where both have it, run {by_url}.",
        )


def _abort(command: _Command, targets: Databases) -> int:
    """In both databases where there are two: that one of them holds nothing to give up is an error
    only where the other does not either."""
    from tableferry import aborting, api

    errors: list[TableferryError] = []
    addresses = [each for each in (targets.main, targets.usage) if each is not None]
    for address in addresses:
        try:
            with (
                _logged(command, "abort", target=str(address)) as ended,
                api.opened(address, os.environ, command.log.run) as target,
            ):
                done = aborting.abort(target, command.confirms)
                ended.update(status="aborted", exit_code=EXIT_VERIFIED, text=done)
                command.say(done)
        except TableferryError as error:
            errors.append(error)
    nothing = [each for each in errors if each.details.get("nothing")]
    if len(nothing) < len(addresses):
        errors = [each for each in errors if each not in nothing]
    for each in errors:
        command.complain(each)
    _tell_trouble(command)
    return max((each.exit_code for each in errors), default=EXIT_VERIFIED)


def _exposed(databases: Databases) -> list[str]:
    return [
        f"the password of {address} stands on the command line, where other users of this "
        "machine can see it; TABLEFERRY_POSTGRES_PASSWORD or .pgpass keep it private"
        for address in (databases.main, databases.usage)
        if getattr(address, "password_on_command_line", False)
    ]


def _ending(command: _Command, pair: Pair) -> Outcome | PlanOutcome:
    """Runs it and shows what came of it."""
    from tableferry import progress, summary

    arguments, console = command.arguments, command.console
    ends = {"source": str(pair.source), "target": str(pair.target)}
    with (
        _logged(command, _what(arguments), database=pair.name, **ends) as ended,
        progress.showing(
            console,
            wanted=arguments.progress,
            notes=not arguments.quiet,
            ends=arguments.verbose,
        ) as shown,
    ):
        observe = command.log.watching(shown)
        if arguments.command == "plan":
            outcome: Outcome | PlanOutcome = _planned(command, pair, observe)
        else:
            outcome = _run(command, pair, observe)
        ended.update(status=_status(outcome), exit_code=_exit_code(arguments, outcome))
    if isinstance(outcome, PlanOutcome):
        if not arguments.quiet:
            summary.show_plan(outcome, console, verbose=arguments.verbose)
        if arguments.sql:
            _print(outcome.script)
    elif not arguments.quiet:
        summary.show(outcome, console, verbose=arguments.verbose)
    return outcome


@contextmanager
def _logged(command: _Command, what: str, **about: str) -> Iterator[dict[str, Any]]:
    """The first and the last line of a run; the body says how it ended."""
    from tableferry.log import facts

    given = asdict(command.arguments)
    # What both ends are called says it without a password.
    options = {k: v for k, v in given.items() if k not in ("command", "source", "target")}
    command.log.write(
        "info",
        "run_begins",
        command=what,
        **about,
        version=__version__,
        pid=os.getpid(),
        options=facts(options),
    )
    began = time.perf_counter()
    ended: dict[str, Any] = {}
    try:
        yield ended
    except TableferryError as error:
        ended = {"status": "failed", "exit_code": error.exit_code, "kind": type(error).__name__}
        ended |= {"error": error.message, "hint": error.hint}
        raise
    except KeyboardInterrupt:
        ended = {"status": "interrupted", "exit_code": EXIT_INTERRUPTED}
        raise
    except BaseException as error:
        # The interpreter's own exit code for what nobody has caught.
        ended = {"status": "failed", "exit_code": 1, "kind": type(error).__name__}
        raise
    finally:
        level = "info" if ended.get("exit_code") == EXIT_VERIFIED else "error"
        seconds = round(time.perf_counter() - began, 3)
        command.log.write(level, "run_ends", command=what, **about, **ended, seconds=seconds)


def _tell_trouble(command: _Command) -> None:
    if command.log.trouble:
        command.say(f"Warning: {command.log.trouble}", "yellow")


def _status(outcome: Outcome | PlanOutcome) -> str:
    return "planned" if isinstance(outcome, PlanOutcome) else outcome.status


def _run(command: _Command, pair: Pair, observe: Observer) -> Outcome:
    from tableferry import api, migration, reloading, repairing, verification

    arguments = command.arguments
    options = verification.VerificationOptions(
        api.checked_workers(arguments.workers),
        pair.selection,
        pair.casts,
        arguments.listed,
        arguments.sample,
    )
    with (
        api.opened(pair.source, os.environ, command.log.run) as source,
        api.opened(pair.target, os.environ, command.log.run) as target,
    ):
        if arguments.rejects is not None:
            return reloading.load_rejects((source, target), arguments.rejects, options, observe)
        if arguments.repair:
            consent = repairing.Consent(arguments.force, command.confirms)
            return repairing.repair(source, target, options, consent, observe)
        if arguments.verify:
            return verification.verify(source, target, options, observe)
        wanted = _options(command, pair)
        try:
            return migration.migrate(source, target, wanted, observe)
        except Refused as error:
            if not (command.several and error.details.get("nothing")):
                raise
        # Of several databases one may have come to its end, or not to its turn.
        try:
            return migration.migrate(source, target, replace(wanted, resume=False), observe)
        except Refused as error:
            if not error.details.get("filled"):
                raise
        return verification.verify(source, target, options, observe)


def _planned(command: _Command, pair: Pair, observe: Observer) -> PlanOutcome:
    from tableferry import api, planning

    # A private server is not started for a look: what would be there is what a new one has.
    target, look = api.unopened(pair.target, os.environ, command.log.run)
    with api.opened(pair.source, os.environ, command.log.run) as source:
        return planning.plan(source, target, _options(command, pair), observe, look=look)


def _options(command: _Command, pair: Pair) -> MigrationOptions:
    from tableferry import api, migration
    from tableferry.model import Roles
    from tableferry.preparation import Permission

    arguments = command.arguments
    options = migration.MigrationOptions(
        api.checked_workers(arguments.workers),
        Permission(arguments.drop_all, arguments.recreate, command.confirms),
        pair.selection,
        misfit=arguments.misfit,
        casts=pair.casts,
        violations=arguments.violations,
        lower=arguments.lower,
        scope=arguments.scope,
        roles=Roles(arguments.owner, arguments.grants),
        force=arguments.force,
        listed=arguments.listed,
        resume=arguments.resume,
    )
    # Tables of one name may be in both.
    return options if pair.name == "main" else replace(options, rejects=f"{options.rejects}/usage")


def _report(command: _Command, endings: Mapping[Pair, Ending]) -> dict[str, Any]:
    from tableferry import report

    found: dict[str, dict[str, Any]] = {
        pair.name: _report_of(command, pair, ending) for pair, ending in endings.items()
    }
    return report.of_databases(found) if len(found) > 1 else next(iter(found.values()))


def _report_of(command: _Command, pair: Pair, ending: Ending) -> dict[str, Any]:
    """With the risks, which were told at the start."""
    from tableferry import report

    arguments = command.arguments
    if isinstance(ending, Outcome):
        told = replace(ending, warnings=(*command.risks, *ending.warnings))
        return report.of_outcome(told)
    if isinstance(ending, PlanOutcome):
        return report.of_plan(replace(ending, risks=(*command.risks, *ending.risks)))
    message = redact(ending.message, command.secrets)
    ending = type(ending)(message, hint=redact(ending.hint, command.secrets))
    return report.of_error(ending, _what(arguments), (str(pair.source), str(pair.target)))


def _what(arguments: Arguments) -> str:
    """The command, as reports have it."""
    if arguments.command == "plan":
        return "plan"
    if arguments.rejects is not None:
        return "load rejects"
    if arguments.repair:
        return "repair"
    return "verify" if arguments.verify else "migrate"


def _confirmed(console: Console, question: str) -> bool:
    """Asks on a terminal; without one, the flag that was given is the answer."""
    if not (console.is_terminal and sys.stdin.isatty()):
        return True
    _say(console, question, "bold yellow")
    return console.input("Go on? [y/N] ", markup=False).strip().lower() in ("y", "yes")


def _write_report(arguments: Arguments, content: dict[str, Any]) -> None:
    from tableferry import report

    if arguments.report == "-":
        _print(report.as_json(content))
    elif arguments.report:
        report.write(content, Path(arguments.report))


def _exit_code(arguments: Arguments, ending: Ending) -> int:
    if isinstance(ending, TableferryError):
        return ending.exit_code
    if isinstance(ending, PlanOutcome):
        return EXIT_VERIFIED
    beside = ending.left_behind or ending.violations or ending.drift
    if not ending.fine or (arguments.strict and beside):
        return EXIT_DIFFERENCES
    return EXIT_VERIFIED


if __name__ == "__main__":
    main()
