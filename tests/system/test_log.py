"""--log and the names of sessions: what an administrator sees of a run, while it goes on and
afterwards."""

from __future__ import annotations

import json
import re
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    command,
    end,
    ends,
    environment,
    ferried,
    password,
    sqlite_file,
    start,
    wait_until,
)

SMALL = """
CREATE TABLE people (id INTEGER PRIMARY KEY, age SMALLINT);
INSERT INTO people VALUES (1, 30), (2, 31);
CREATE TABLE pets (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES people);
INSERT INTO pets VALUES (1, 2);
"""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = {"debug", "info", "warning", "error"}


def lines(log: Path) -> list[dict[str, Any]]:
    """Every line of a log, each held against its shape."""
    text = log.read_text()
    assert text.endswith("\n"), "a line that is not whole"
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert list(line)[:4] == ["time", "level", "event", "run"]
        assert STAMP.fullmatch(line["time"])
        assert line["level"] in LEVELS
        assert re.fullmatch("[0-9a-f]{6}", line["run"])
    return found


def of(found: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in found if line["event"] == event]


def logged(log: Path, *arguments: str, env: dict[str, str]) -> tuple[Run, list[dict[str, Any]]]:
    """A run, and its lines."""
    run = command("database", *arguments, "--log", str(log), env=env)
    found = lines(log)
    first, last = found[0], found[-1]
    assert (first["event"], last["event"]) == ("run_begins", "run_ends")
    assert last["exit_code"] == run.code
    assert len({line["run"] for line in found}) == 1
    assert [line["time"] for line in found] == sorted(line["time"] for line in found)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    return run, found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "source.db", SMALL)


def test_a_migration_and_back(any_database: Server, source: Path, tmp_path: Path) -> None:
    env = password(any_database)

    run, there = logged(tmp_path / "there.log", *ends(source, any_database), env=env)
    assert run.code == 0, run.err
    begins = there[0]
    assert begins["command"] == "migrate"
    assert begins["source"] == f"SQLite file {source}"
    assert begins["version"]
    assert begins["options"]["misfit"] == "widen"
    assert there[-1]["status"] == "verified"
    copied = of(there, "copied")
    assert {(c["table"], c["rows"], c["range"]) for c in copied} == {
        ("people", 2, 0),
        ("pets", 1, 0),
    }
    assert all(c["worker"] == 1 and 0 <= c["seconds"] < 60 for c in copied)
    assert {line["table"] for line in of(there, "digested")} == {"people", "pets"}
    assert {line["step"] for line in of(there, "step_ends")} >= {"inspect", "prepare", "finish"}
    ended = {(line["table"], line["phase"]): line for line in of(there, "table_ends")}
    assert ended["people", "copy"]["rows"] == 2
    assert ended["people", "verify"]["rows"] == 2

    back = ("--from", any_database.url_without_password, "--to", f"sqlite:{tmp_path}/back.db")
    run, again = logged(tmp_path / "back.log", *back, env=env)
    assert run.code == 0, run.err
    assert {line["table"] for line in of(again, "copied")} == {"people", "pets"}


def test_ranges_that_are_written_apart_are_gathered(
    any_database: Server, large: Path, tmp_path: Path
) -> None:
    ferried(large, any_database)
    back = ("--from", any_database.url_without_password, "--to", f"sqlite:{tmp_path}/back.db")

    run, found = logged(tmp_path / "run.log", *back, "--workers", "2", env=password(any_database))

    assert run.code == 0, run.err
    copied, gathered = of(found, "copied"), of(found, "gathered")
    assert {(c["table"], c["range"]) for c in gathered} == {
        (c["table"], c["range"]) for c in copied
    }
    assert {line["worker"] for line in copied} == {1, 2}
    assert sum(line["rows"] for line in copied if line["table"] == "children") == 150_000


def test_looking_planning_and_repairing(any_database: Server, source: Path, tmp_path: Path) -> None:
    ferried(source, any_database)
    any_database.run("UPDATE people SET age = 99 WHERE id = 1")
    arguments, env = ends(source, any_database), password(any_database)

    run, found = logged(tmp_path / "verify.log", *arguments, "--verify", env=env)
    assert run.code == 1
    assert (found[-1]["status"], found[-1]["level"]) == ("differences", "error")
    assert {(line["side"], line["table"]) for line in of(found, "digested")} == {
        (side, table) for side in ("source", "target") for table in ("people", "pets")
    }
    assert of(found, "searched")

    flags = ("--verify", "--repair", "--yes")
    run, found = logged(tmp_path / "repair.log", *arguments, *flags, env=env)
    assert run.code == 0, run.err
    assert found[0]["command"] == "repair"
    (repaired,) = [line for line in of(found, "table_ends") if line["phase"] == "repair"]
    assert (repaired["table"], repaired["rows"]) == ("people", 1)

    plan = command("plan", *arguments, "--log", str(tmp_path / "plan.log"), env=env)
    assert plan.code == 0
    found = lines(tmp_path / "plan.log")
    assert (found[0]["command"], found[-1]["status"]) == ("plan", "planned")
    assert {line["table"] for line in of(found, "digested")} == {"people", "pets"}


def test_a_value_that_does_not_fit(any_database: Server, tmp_path: Path) -> None:
    path = sqlite_file(tmp_path / "source.db", SMALL + "INSERT INTO people VALUES (3, 'young');")

    run, found = logged(tmp_path / "run.log", *ends(path, any_database), env=password(any_database))

    assert run.code == 0, run.err
    (failed,) = of(found, "failed")
    assert (failed["what"], failed["table"], failed["level"]) == ("copy", "people", "warning")
    assert failed["error"]
    assert of(found, "surveyed")[0]["table"] == "people"
    (note,) = of(found, "note")
    assert "loaded again" in note["text"]


def test_a_run_that_is_refused(any_database: Server, source: Path, tmp_path: Path) -> None:
    wrong = environment(**{PASSWORD_VARIABLE: "wrong 'un"})

    run, found = logged(tmp_path / "run.log", *ends(source, any_database), env=wrong)

    assert run.code == 3
    assert found[-1]["status"] == "failed"
    assert found[-1]["kind"] == "Refused"
    assert "password authentication failed" in found[-1]["error"]
    assert "wrong 'un" not in (tmp_path / "run.log").read_text()


def test_runs_follow_one_another_in_a_file(
    any_database: Server, source: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    for flags in ((), ("--verify",)):
        command(
            *("database", *ends(source, any_database), *flags, "--log", str(log)),
            env=password(any_database),
        )
    found = lines(log)
    assert [line["command"] for line in of(found, "run_ends")] == ["migrate", "verify"]
    assert len({line["run"] for line in found}) == 2


def test_a_log_that_cannot_be_written_ends_it_before_it_begins(
    any_database: Server, source: Path, tmp_path: Path
) -> None:
    for name in (str(tmp_path / "no" / "run.log"), str(source)):
        before = source.read_bytes()
        run = command(
            *("database", *ends(source, any_database), "--log", name), env=password(any_database)
        )
        assert run.code == 2
        assert name in run.err
        assert source.read_bytes() == before
    assert any_database.rows("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


def test_a_full_disk_is_told_at_the_end(any_database: Server, source: Path) -> None:
    run = command(
        *("database", *ends(source, any_database), "--log", "/dev/full"),
        env=password(any_database),
    )
    assert run.code == 0, run.err
    assert "/dev/full is not complete: No space left on device" in run.err


# ---- sessions, and runs that do not come to their end -----------------------------------------


def test_sessions_say_whose_they_are_and_a_killed_run_leaves_whole_lines(
    any_database: Server, large: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    seen: set[str] = set()
    query = (
        "SELECT DISTINCT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    process = start(
        *("database", *ends(large, any_database), "--workers", "2", "--log", str(log)),
        env=password(any_database),
    )

    def all_seen() -> bool:
        seen.update(name for (name,) in any_database.rows(query))
        return len({name.split(" ", 2)[-1] for name in seen}) >= 3

    try:
        wait_until(all_seen, 60, "sessions of the coordinator and of two workers")
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        end(process)
    found = lines(log)
    run = found[0]["run"]
    assert seen == {f"tableferry {run} {who}" for who in ("coordinator", "worker 1", "worker 2")}
    assert not of(found, "run_ends")
    wait_until(lambda: any_database.rows(query) == [], 30, "all sessions gone")

    abort = ("database", "--abort", "--yes", "--to", any_database.url_without_password)
    done = command(*abort, "--log", str(log), env=password(any_database))
    assert done.code == 0, done.err
    begins, ends_ = lines(log)[-2:]
    assert (begins["event"], begins["command"]) == ("run_begins", "abort")
    assert (ends_["status"], ends_["exit_code"]) == ("aborted", 0)
    assert "given up" in ends_["text"]


def test_an_interrupted_run_says_so(any_database: Server, large: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    process = start(
        *("database", *ends(large, any_database), "--workers", "2", "--log", str(log)),
        env=password(any_database),
    )
    try:
        wait_until(lambda: log.exists() and "copied" in log.read_text(), 60, "a range copied")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, err
    last = lines(log)[-1]
    assert (last["event"], last["status"], last["exit_code"]) == ("run_ends", "interrupted", 130)


def test_verbose_says_what_each_table_took(any_database: Server, source: Path) -> None:
    arguments = ("database", *ends(source, any_database))
    quiet = command(*arguments, env=password(any_database))
    told = command(*arguments, "--drop-all", "--verbose", env=password(any_database))
    assert "ended after" not in quiet.err
    assert re.search(r"^people: copy ended after \d+\.\d s, 2 rows$", told.err, re.MULTILINE)
    assert re.search(r"^prepare ended after \d+\.\d s$", told.err, re.MULTILINE)


def test_our_own_sessions_are_no_other_client(any_database: Server, source: Path) -> None:
    """The name of a run's sessions must not make the next run think that a service is there."""
    with any_database.connect() as connection:
        connection.execute("SET application_name = 'tableferry 3f9a1c worker 12'")
        run = command("database", *ends(source, any_database), env=password(any_database))
    assert run.code == 0, run.err
