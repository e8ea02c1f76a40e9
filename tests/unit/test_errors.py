"""Every error of the tree travels between processes with all that it says."""

from __future__ import annotations

import pickle

import pytest
from rich.console import Console

from tableferry import cli, errors
from tableferry.errors import DatabaseError, MisfitFound, TableferryError
from tableferry.model import TableName

CLASSES = sorted(
    (
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, TableferryError)
    ),
    key=lambda kind: kind.__name__,
)
EXIT_CODES = {
    "ConfigurationError": 2,
    "DatabaseError": 4,
    "Interrupted": 130,
    "MisfitFound": 4,
    "Refused": 3,
    "RunFailed": 4,
    "SourceChanged": 4,
    "TableferryError": 4,
    "UsageError": 2,
    "WorkerDied": 4,
}


def test_exit_codes_are_those_of_the_contract() -> None:
    assert {kind.__name__: kind.exit_code for kind in CLASSES} == EXIT_CODES


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(kind: type[TableferryError], protocol: int) -> None:
    error = kind("what\nand why", hint="what to do", sqlstate="23505", table=TableName("a", "b"))
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert (again.message, again.hint, again.details) == (error.message, error.hint, error.details)
    assert str(again) == str(error)


@pytest.mark.parametrize("kind", CLASSES)
def test_pickling_with_a_cause(kind: type[TableferryError]) -> None:
    with pytest.raises(kind) as caught:
        raise kind("outer") from ValueError("inner")
    assert pickle.loads(pickle.dumps(caught.value)).message == "outer"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_its_place_in_the_tree(kind: type[TableferryError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_text_and_hint() -> None:
    assert str(TableferryError("what")) == "what"
    assert str(TableferryError("what", hint="do this")) == "what\ndo this"
    assert TableferryError("what").args == ("what",)


def test_details() -> None:
    assert DatabaseError("x", sqlstate="23505").sqlstate == "23505"
    assert DatabaseError("x").sqlstate == ""
    assert MisfitFound("x", columns=["a"]).details == {"columns": ["a"]}


def test_a_fault_of_ours_never_says_that_rows_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python itself would end with 1."""
    secret = "geheim"

    def command(argv: list[str], console: Console, secrets: list[str], loaded: object) -> int:
        secrets.append(secret)
        raise ValueError(f"a fault with {secret} in it")

    monkeypatch.setattr(cli, "_command", command)

    with pytest.raises(SystemExit) as ended:
        cli.main([])

    said = capsys.readouterr().err
    assert ended.value.code == errors.EXIT_FAILED
    assert "a fault with" in said
    assert secret not in said
