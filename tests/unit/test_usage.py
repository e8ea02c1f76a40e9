"""Every flag of the usage text is understood or refused with a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tableferry.errors import UsageError
from tableferry.usage import USAGE, Arguments, parse

RUN = Arguments("database", source="sqlite3", target="pgx")

ACCEPTED: dict[str, Arguments] = {
    "--config a.gcfg": replace(RUN, config=Path("a.gcfg")),
    "--from sqlite:a.db": replace(RUN, source="sqlite:a.db"),
    "--to embedded:DIR": replace(RUN, target="embedded:DIR"),
    "--tables a* --tables b": replace(RUN, tables=("a*", "b")),
    "--exclude c --exclude d": replace(RUN, exclude=("c", "d")),
    "--verify": replace(RUN, verify=True),
    "--verify --repair": replace(RUN, verify=True, repair=True),
    "--drop-all": replace(RUN, drop_all=True),
    "--recreate": replace(RUN, recreate=True),
    "--cast a.b=c --cast d": replace(RUN, casts=("a.b=c", "d")),
    "--misfit stop": replace(RUN, misfit="stop"),
    "--misfit reject": replace(RUN, misfit="reject"),
    "--misfit widen": RUN,
    "--rejects r.jsonl": replace(RUN, rejects=Path("r.jsonl")),
    "--violations stop": replace(RUN, violations="stop"),
    "--violations report": RUN,
    "--violations reject": replace(RUN, violations="reject"),
    "--names lower": replace(RUN, lower=True),
    "--names keep": RUN,
    "--owner app": replace(RUN, owner="app"),
    "--grant a --grant b": replace(RUN, grants=("a", "b")),
    "--data-only": replace(RUN, scope="data"),
    "--schema-only": replace(RUN, scope="schema"),
    "--abort": replace(RUN, abort=True),
    "--resume": replace(RUN, resume=True),
    "--force": replace(RUN, force=True),
    "--workers 3": replace(RUN, workers=3),
    "--max-differences 3": replace(RUN, listed=3),
    "--verify --sample 1.5%": replace(RUN, verify=True, sample=1.5),
    "--verify --sample 10": replace(RUN, verify=True, sample=10.0),
    "--progress": replace(RUN, progress=True),
    "--log run.log": replace(RUN, log=Path("run.log")),
    "--report r.json": replace(RUN, report="r.json"),
    "--report -": replace(RUN, report="-"),
    "--strict": replace(RUN, strict=True),
    "--yes": replace(RUN, yes=True),
    "--quiet": replace(RUN, quiet=True),
    "--verbose": replace(RUN, verbose=True),
    "--help": Arguments("help"),
    "--version": Arguments("version"),
}
OF_A_PLAN = ("--sql",)
TAKE_A_VALUE = sorted(set(re.findall(r"(--[a-z-]+) [A-Z]+", USAGE)))


def refused(arguments: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(arguments.split())
    return caught.value


@pytest.mark.parametrize(("flags", "expected"), ACCEPTED.items())
def test_accepted(flags: str, expected: Arguments) -> None:
    for argv in (f"database {flags}", f"{flags} database"):
        if flags != "--version":
            assert parse(argv.split()) == expected
    if expected.command != "database":
        assert parse([flags]) == expected


@pytest.mark.parametrize("other", ["--verify", "--abort", "--drop-all", "--recreate"])
def test_going_on_is_nothing_else(other: str) -> None:
    assert refused(f"database --resume {other}").message.endswith("do not go together.")


def test_every_flag_of_the_text_is_tested_here() -> None:
    shown = set(re.findall(r"--[a-z-]+", USAGE))
    tested = {flag for flags in ACCEPTED for flag in re.findall(r"--[a-z-]+", flags)}
    assert shown == tested | {*OF_A_PLAN}


def test_defaults_are_those_of_the_text() -> None:
    assert parse(["database"]) == RUN
    assert "[default: sqlite3]" in USAGE
    assert "[default: pgx]" in USAGE


def test_help_and_version() -> None:
    for argv in ([], ["-h"], ["--help"], ["help"], ["help", "database"], ["database", "-h"]):
        assert parse(argv) == Arguments("help")
    assert parse(["--version"]) == Arguments("version")
    assert "nonsense" in refused("help nonsense").message


def test_values_may_be_joined_by_an_equals_sign() -> None:
    argv = ["database", "--from=postgresql://u@h/db?a=b", "--workers=2", "--config=x"]
    assert parse(argv) == replace(
        RUN, source="postgresql://u@h/db?a=b", workers=2, config=Path("x")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("database --nonsense", "There is no option --nonsense."),
        ("database --nonsense=3", "There is no option --nonsense."),
        ("database --verify=yes", "--verify takes no value."),
        ("database --workers", "--workers needs a value."),
        ("database --workers many", "--workers many: it is not a number."),
        ("database --workers -1", "--workers -1: it is not a number."),
        ("database --workers 1.5", "--workers 1.5: it is not a number."),
        ("--verify", "The command is missing: migrate database …"),
        ("move", "The command is missing: migrate database …"),
        ("database now", "This cannot be understood: migrate database now"),
        ("database --misfit ignore", "--misfit ignore: it is one of widen, stop, reject."),
        ("database --rejects a --verify", "--rejects and --verify do not go together."),
        (
            "database --report r.txt",
            "--report r.txt: name a .json or .html file, or - for JSON on standard output.",
        ),
        (
            "database --verify --drop-all",
            "--verify writes nothing: it does not go with --drop-all or --recreate.",
        ),
        (
            "database --verify --recreate",
            "--verify writes nothing: it does not go with --drop-all or --recreate.",
        ),
        ("database --quiet --verbose", "--quiet and --verbose do not go together."),
    ],
)
def test_refused(arguments: str, message: str) -> None:
    assert refused(arguments).message == message


@pytest.mark.parametrize("flag", TAKE_A_VALUE)
def test_a_missing_value_is_named(flag: str) -> None:
    assert refused(f"database {flag}").message == f"{flag} needs a value."


@pytest.mark.parametrize(
    "arguments",
    ["database --conf a.gcfg", "database --ver", "database --hel", "database --prog", "--vers"],
)
def test_a_name_cut_short_is_refused(arguments: str) -> None:
    # docopt would take it: a configuration unread, or a migration where help was wanted.
    (short,) = re.findall(r"--\w+", arguments)
    assert refused(arguments).message == f"There is no option {short}."


def test_the_text_fits_a_terminal() -> None:
    assert max(map(len, USAGE.splitlines())) <= 90


def test_a_plan() -> None:
    assert parse(["plan", "--sql", "--tables", "a*"]) == replace(
        RUN, command="plan", sql=True, tables=("a*",)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "plan --verify",
        "plan --abort",
        "plan --rejects r.jsonl",
        "plan --sql --report -",
        "database --sql",
        "database --data-only --schema-only",
        "database --verify --abort",
        "database --data-only --recreate",
        "database --violations never",
        "database --names upper",
    ],
)
def test_what_does_not_go_together(arguments: str) -> None:
    refused(arguments)


@pytest.mark.parametrize("percent", ["0", "101", "-1", "x", "1e1", "%", "1.5.5"])
def test_a_sample_is_a_number_of_percent(percent: str) -> None:
    assert "--sample" in refused(f"database --verify --sample={percent}").message


def test_a_sample_is_for_a_verification() -> None:
    assert refused("database --sample 5").message == "--sample is for --verify."
