"""From Python: typed outcomes, nothing printed, no exit, and no main guard needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import (
    independent_differences,
    numbers_file,
    password,
    sqlite_file,
    sqlite_url,
)

import tableferry
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.errors import Refused, RunFailed

# The script leaves its result in a file, since whatever comes out of the process is a fault.
SCRIPT = """
import dataclasses, json, os, sys
import tableferry

source, target, result = sys.argv[1:4]
events = []
outcome = tableferry.migrate(source, target, workers=2, on_event=events.append)
again = tableferry.verify(source, target)
assert isinstance(outcome, tableferry.Outcome) and isinstance(again, tableferry.Outcome)
with open(result, "w") as file:
    json.dump(
        {
            "pid": os.getpid(),
            "status": [outcome.status, again.status],
            "verified": [outcome.verified, again.verified],
            "commands": [outcome.command, again.command],
            "tables": [[t.source, t.verdict, t.source_rows, t.target_rows] for t in outcome.tables],
            "digests": [t.source_digest == t.target_digest != "" for t in outcome.tables],
            "ranges": [len(t.source_ranges) for t in outcome.tables],
            "events": sorted({type(event).__name__ for event in events}),
        },
        file,
    )
"""

ERRORS = """
import sys
import tableferry

source, target, result = sys.argv[1:4]
codes = []
for call in (
    lambda: tableferry.migrate(source, target),
    lambda: tableferry.migrate(source + ".missing", target),
    lambda: tableferry.migrate(source, target, tables=["nothing"]),
    lambda: tableferry.verify(target, target),
    lambda: tableferry.migrate("oracle", target),
    lambda: tableferry.migrate(source, target, workers=0),
    lambda: tableferry.migrate(source, "postgresql://nobody@127.0.0.1:1/x"),
):
    try:
        call()
    except tableferry.TableferryError as error:
        codes.append(error.exit_code)
        assert error.message
with open(result, "w") as file:
    file.write(repr(codes))
"""


def run_script(script: str, tmp_path: Path, source: Path, target: Server) -> str:
    """Runs it as a file of its own; answers what it left in its result file."""
    program, result = tmp_path / "script.py", tmp_path / "result"
    program.write_text(script)
    done = subprocess.run(
        [sys.executable, program, sqlite_url(source), target.url_without_password, result],
        env=password(target),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return result.read_text()


@pytest.mark.parametrize("rows", [1_000, 210_000], ids=["small", "with workers"])
def test_a_script_without_a_main_guard(any_database: Server, tmp_path: Path, rows: int) -> None:
    source = numbers_file(tmp_path / "source.db", rows)

    result: dict[str, Any] = json.loads(run_script(SCRIPT, tmp_path, source, any_database))

    assert result["status"] == ["verified", "verified"]
    assert result["verified"] == [True, True]
    assert result["commands"] == ["migrate", "verify"]
    assert result["tables"] == [["numbers", "verified", rows, rows]]
    assert result["digests"] == [True]
    assert {"PhaseBegins", "PhaseEnds", "Progress"} <= set(result["events"])
    assert independent_differences(source, any_database.url) == {}


def test_differences_are_an_outcome_and_no_error(any_database: Server, tmp_path: Path) -> None:
    source = numbers_file(tmp_path / "source.db", 1_000)
    run_script(SCRIPT, tmp_path, source, any_database)
    any_database.run("UPDATE numbers SET b = NULL WHERE id = 17")
    script = """
import sys, tableferry
outcome = tableferry.verify(*sys.argv[1:3])
(table,) = outcome.tables
(difference,) = table.differences
with open(sys.argv[3], "w") as file:
    file.write(repr((outcome.verified, difference.key, difference.column, difference.target)))
"""

    result = run_script(script, tmp_path, source, any_database)

    assert result == repr((False, (("id", "17"),), "b", "NULL"))


def test_errors_are_raised(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    any_database.run("CREATE TABLE t (x bigint)", "INSERT INTO t VALUES (2)")

    assert run_script(ERRORS, tmp_path, source, any_database) == "[3, 3, 2, 3, 2, 2, 3]"

    assert any_database.rows("SELECT * FROM t") == [(2,)]


def test_a_notebook_has_no_main_file(any_database: Server, tmp_path: Path) -> None:
    source = numbers_file(tmp_path / "source.db", 210_000)
    program = f"import tableferry; o = tableferry.migrate({sqlite_url(source)!r}, "
    program += f"{any_database.url_without_password!r}, workers=2); assert o.verified"

    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        env=password(any_database),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_callers_see_the_types(tmp_path: Path) -> None:
    program = tmp_path / "caller.py"
    program.write_text(
        "import tableferry\n"
        "outcome = tableferry.migrate('sqlite:a.db', 'pgx', misfit='stop', tables=['a*'])\n"
        "reveal_type(outcome.verified)\n"
        "reveal_type([table.source_rows for table in outcome.tables])\n"
        "reveal_type(tableferry.verify)\n"
        "tableferry.migrate(1, 'pgx')\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", program.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert 'note: Revealed type is "bool"' in done.stdout.replace("builtins.", "")
    assert '"list[int]"' in done.stdout.replace("builtins.", "")
    assert "Any" not in done.stdout
    assert 'has incompatible type "int"; expected "str"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_a_refusal_with_tables_in_the_target_is_a_failure(
    any_database: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal's exit code says that nothing was written."""

    def refused(*_: object) -> None:
        raise Refused("The server has no connection left.", sqlstate="53300")

    monkeypatch.setattr(PostgresDialect, "open_loader", refused)
    source = numbers_file(tmp_path / "source.db", 10)
    with pytest.raises(RunFailed, match="no connection left") as caught:
        tableferry.migrate(sqlite_url(source), any_database.url)
    assert caught.value.exit_code == 4
    assert "--abort" in caught.value.hint
