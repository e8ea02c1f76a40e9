"""The usage text: the single source of the help and of what the command line takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from docopt import DocoptExit, docopt

from tableferry.errors import UsageError
from tableferry.model import MisfitPolicy, Scope, ViolationPolicy
from tableferry.outcomes import MAX_LISTED

USAGE = """Carry a whole database between SQLite and PostgreSQL, and prove that every value arrived.

Usage:
  migrate database [options] [--tables PATTERN]... [--exclude PATTERN]...
                   [--cast RULE]... [--grant ROLE]...
  migrate plan [options] [--tables PATTERN]... [--exclude PATTERN]...
                   [--cast RULE]... [--grant ROLE]...
  migrate help [COMMAND]
  migrate --version

Commands:
  database   copy everything, then verify it; with --verify only verify
  plan       say what would be done, in full, touching nothing
  help       show this text

Where from and where to:
  --config FILE      configuration file [default: /etc/rstudio-pm/rstudio-pm.gcfg]
  --from DB          source: a provider of the configuration (sqlite3, pgx), or a URL:
                     sqlite:rel.db, sqlite:///abs/path.db, postgresql://user@host/name,
                     embedded:DIR [default: sqlite3]
  --to DB            target, likewise [default: pgx]
  --tables PATTERN   only the tables that match this glob (repeatable)
  --exclude PATTERN  not the tables that match this glob (repeatable)

What is done:
  --verify           compare both sides, writing nothing
  --repair           with --verify: write differing rows of the target anew, and verify
  --drop-all         give up the data that the target's tables hold
  --recreate         drop the target's tables concerned and create them from the source
  --resume           go on with an unfinished run
  --abort            give up an unfinished run and put back what it had set aside
  --data-only        bring rows alone, into tables that are there
  --schema-only      create everything, and bring no rows
  --cast RULE        convert by a rule of yours (repeatable): 'TABLE.COLUMN to TYPE' or
                     'type DECLARED to TYPE', and then 'using METHOD': epoch, epoch_ms,
                     julian, iso, strip_nul or replace_invalid
  --misfit HOW       values that do not fit their type: widen the column, stop, or reject
                     the row, set aside in tableferry-rejects/ [default: widen]
  --rejects FILE     load rejected rows that you have put right, with --tables TABLE
  --violations HOW   rows that break a key, a check or a foreign key that SQLite never
                     enforced: report them (the rule is left out), stop, or reject the
                     rows, set aside as --misfit does [default: report]
  --names HOW        keep names as they are, or fold them to lower case [default: keep]
  --owner ROLE       give what is created to this role
  --grant ROLE       let this role read and write what is created (repeatable)
  --workers N        worker processes (default: one a processor)
  --force            skip the check that no service uses the databases
  --sample PERCENT   with --verify: compare some rows of large tables, as a first look

What is shown:
  --progress         show progress: bars on a terminal, a line now and then elsewhere
  --sql              of a plan: print what would be created, as a script
  --max-differences N
                     how many differences of a table are listed [default: 100]
  --log FILE         append what is done to a file, a line of JSON each
  --report FILE      write a report, .json or .html, or - for JSON on standard output
  --strict           objects left behind and schema drift count as differences (exit 1)
  --yes              answer every question with yes
  --quiet            say nothing but errors
  --verbose          say what each step and table took as it ends, and list all at last
  -h --help          show this text
  --version          show the version

Exit codes: 0 all verified, 1 differences or rejected rows, 2 bad usage or configuration,
3 refused before anything was written, 4 failed on the way, 130 interrupted. After one of
the last two, the same command with --resume goes on.
"""

_OPTIONS = frozenset(re.findall(r"--[a-z-]+", USAGE))
_TAKE_VALUES = frozenset(re.findall(r"(--[a-z-]+) [A-Z]+", USAGE))
_SEE = "See: migrate help"
_MISFITS = ("widen", "stop", "reject")
_VIOLATIONS = ("report", "stop", "reject")
_NAMES = ("keep", "lower")


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line that makes sense and asks for nothing that is not there."""

    command: str
    source: str = ""
    target: str = ""
    config: Path | None = None
    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    verify: bool = False
    repair: bool = False
    drop_all: bool = False
    recreate: bool = False
    misfit: MisfitPolicy = "widen"
    violations: ViolationPolicy = "report"
    lower: bool = False
    scope: Scope = "all"
    abort: bool = False
    resume: bool = False
    sql: bool = False
    owner: str = ""
    grants: tuple[str, ...] = ()
    rejects: Path | None = None
    casts: tuple[str, ...] = ()
    workers: int | None = None
    listed: int = MAX_LISTED
    sample: float | None = None
    progress: bool = False
    force: bool = False
    log: Path | None = None
    report: str = ""
    strict: bool = False
    yes: bool = False
    quiet: bool = False
    verbose: bool = False


def parse(argv: Sequence[str]) -> Arguments:
    """Raises UsageError for what cannot be understood."""
    if not argv or "-h" in argv or "--help" in argv:
        return Arguments("help")
    _require_full_names(argv)
    try:
        given = docopt(USAGE, list(argv), default_help=False)
    except DocoptExit as error:
        raise _misunderstood(argv) from error
    if given["--version"]:
        return Arguments("version")
    if given["help"]:
        return _help(given["COMMAND"])
    return _run(given, argv)


def _help(topic: str | None) -> Arguments:
    if topic not in (None, "database", "plan", "help"):
        raise UsageError(f"There is no command {topic!r}.", hint=_SEE)
    return Arguments("help")


def _run(given: dict[str, Any], argv: Sequence[str]) -> Arguments:
    if given["--rejects"]:
        for other in ("--verify", "--drop-all", "--recreate"):
            if given[other]:
                raise UsageError(f"--rejects and {other} do not go together.")
    if given["--sample"] and not given["--verify"]:
        raise UsageError("--sample is for --verify.", hint=_SEE)
    if given["--repair"] and not given["--verify"]:
        raise UsageError("--repair is for --verify.", hint=_SEE)
    if given["--repair"] and given["--sample"]:
        raise UsageError("--repair needs every row: it does not go with --sample.")
    if given["--verify"] and (given["--drop-all"] or given["--recreate"]):
        raise UsageError("--verify writes nothing: it does not go with --drop-all or --recreate.")
    if given["--resume"]:
        for other in ("--verify", "--abort", "--drop-all", "--recreate", "--rejects"):
            if given[other]:
                raise UsageError(f"--resume and {other} do not go together.", hint=_SEE)
        if given["plan"]:
            raise UsageError("A plan and --resume do not go together.", hint=_SEE)
    _require_one_purpose(given)
    for other in ("--verbose", "--progress"):
        if given["--quiet"] and given[other]:
            raise UsageError(f"--quiet and {other} do not go together.")
    chosen_config = any(argument.startswith("--config") for argument in argv)
    return Arguments(
        command="plan" if given["plan"] else "database",
        source=given["--from"],
        target=given["--to"],
        config=Path(given["--config"]) if chosen_config else None,
        tables=tuple(given["--tables"]),
        exclude=tuple(given["--exclude"]),
        verify=given["--verify"],
        repair=given["--repair"],
        drop_all=given["--drop-all"],
        recreate=given["--recreate"],
        misfit=cast(MisfitPolicy, _one_of("--misfit", given["--misfit"], _MISFITS)),
        violations=cast(
            ViolationPolicy, _one_of("--violations", given["--violations"], _VIOLATIONS)
        ),
        scope="data" if given["--data-only"] else "schema" if given["--schema-only"] else "all",
        abort=given["--abort"],
        resume=given["--resume"],
        sql=given["--sql"],
        lower=_one_of("--names", given["--names"], _NAMES) == "lower",
        owner=given["--owner"] or "",
        grants=tuple(given["--grant"]),
        rejects=Path(given["--rejects"]) if given["--rejects"] else None,
        casts=tuple(given["--cast"]),
        workers=_number("--workers", given["--workers"]) if given["--workers"] else None,
        listed=_number("--max-differences", given["--max-differences"]),
        sample=_percent(given["--sample"]),
        progress=given["--progress"],
        force=given["--force"],
        log=Path(given["--log"]) if given["--log"] else None,
        report=_report(given["--report"] or ""),
        strict=given["--strict"],
        yes=given["--yes"],
        quiet=given["--quiet"],
        verbose=given["--verbose"],
    )


def _require_one_purpose(given: dict[str, Any]) -> None:
    purposes = ("--verify", "--abort", "--data-only", "--schema-only", "--rejects")
    asked = [name for name in purposes if given[name]]
    if len(asked) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} do not go together.", hint=_SEE)
    if given["plan"] and asked and asked[0] not in ("--data-only", "--schema-only"):
        raise UsageError(f"A plan and {asked[0]} do not go together.", hint=_SEE)
    if given["--sql"] and not given["plan"]:
        raise UsageError("--sql is for migrate plan.", hint=_SEE)
    if given["--sql"] and given["--report"] == "-":
        raise UsageError("--sql and --report - both go to standard output.")
    if given["--data-only"] and given["--recreate"]:
        raise UsageError("--data-only creates nothing: it does not go with --recreate.")


def _one_of(option: str, given: str, words: tuple[str, ...]) -> str:
    if given not in words:
        raise UsageError(f"{option} {given}: it is one of {', '.join(words)}.", hint=_SEE)
    return given


def _percent(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%?", text) or not (
        0 < float(text.removesuffix("%")) <= 100
    ):
        raise UsageError(f"--sample {text}: name a percentage above 0, up to 100.", hint=_SEE)
    return float(text.removesuffix("%"))


def _number(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"{option} {text}: it is not a number.", hint=_SEE)
    return int(text)


def _report(name: str) -> str:
    if name and name != "-" and not name.endswith((".json", ".html")):
        raise UsageError(
            f"--report {name}: name a .json or .html file, or - for JSON on standard output."
        )
    return name


def _require_full_names(argv: Sequence[str]) -> None:
    """docopt takes any beginning of a name: a --ver would migrate where --version was meant."""
    value_follows = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if not value_follows and name.startswith("--") and name not in _OPTIONS:
            raise UsageError(f"There is no option {name}.", hint=_SEE)
        value_follows = not value_follows and name in _TAKE_VALUES and not equals


def _misunderstood(argv: Sequence[str]) -> UsageError:
    """What exactly was wrong: docopt only says that nothing matched."""
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if equals and name in _OPTIONS - _TAKE_VALUES:
            return UsageError(f"{name} takes no value.", hint=_SEE)
        if argument in _TAKE_VALUES and argument == argv[-1]:
            return UsageError(f"{argument} needs a value.", hint=_SEE)
    words = [argument for argument in argv if not argument.startswith("-")]
    if not {"database", "plan", "help"} & set(words):
        return UsageError("The command is missing: migrate database …", hint=_SEE)
    return UsageError(f"This cannot be understood: migrate {' '.join(argv)}", hint=_SEE)
