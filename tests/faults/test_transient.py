"""What passes is ridden out: answers that never come, servers that crash or start again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests import servers
from tests.faults.crashing import CrashingServer, crashing
from tests.faults.cutting import Cutting, cutting
from tests.servers import Server
from tests.system.support import (
    end,
    ends,
    independent_differences,
    numbers_file,
    password,
    start,
    wait_until,
    with_report,
)
from tests.system.test_abort import begun, count

import tableferry
from tableferry import migration, retrying
from tableferry.errors import RunFailed
from tableferry.events import Event, Progress, Retried

COMMIT = b"COMMIT\0"


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers_file(tmp_path_factory.mktemp("numbers") / "numbers.db", 400_000, width=60)


@pytest.fixture(scope="module")
def mortal() -> Iterator[CrashingServer]:
    with crashing(servers.EMBEDDED) as server:
        yield server


# Of the first commits, some are those of sessions that begin; the last is that of the end.
@pytest.mark.parametrize("number", [9, 13, 14])
def test_answers_to_commits_that_are_lost(any_database: Server, numbers: Path, number: int) -> None:
    how = Cutting(COMMIT, (number, number + 5))
    with cutting(any_database, how) as target:
        run = with_report(*ends(numbers, target), "--workers", "2", env=password(target))

    assert run.code == 0, run.err
    assert how.cut
    assert run.report["status"] == "verified"
    assert run.report["retries"]
    assert "Trying again in" in run.err
    assert not independent_differences(numbers, any_database.url)


def numbered(target: Server) -> bool:
    """Whether the table has its key."""
    return begun(target) and count(target, "pg_class", "relname = 'numbers_pkey'") > 0


def kill_a_backend(server: CrashingServer) -> None:
    """Of those that serve the run; the server then ends all others as well, and starts again."""
    (pid,) = server.server.rows(
        "SELECT max(pid) FROM pg_stat_activity WHERE application_name LIKE 'tableferry%'"
    )[0]
    os.kill(pid, signal.SIGKILL)


def start_again(server: CrashingServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("harm", [kill_a_backend, start_again])
@pytest.mark.parametrize("moment", [begun, numbered])
def test_a_server_that_crashes(
    mortal: CrashingServer,
    numbers: Path,
    tmp_path: Path,
    harm: Callable[[CrashingServer], None],
    moment: Callable[[Server], bool],
) -> None:
    """What was committed and not on its disk yet goes with it."""
    with servers.fresh_database(mortal.server) as target:
        report = tmp_path / "report.json"
        process = start(
            *("database", *ends(numbers, target), "--workers", "2", "--report", str(report)),
            env=password(target),
        )
        try:
            wait_until(lambda: moment(target), 30, "the moment")
            harm(mortal)
            _, err = process.communicate(timeout=60)
        finally:
            end(process)
        assert process.returncode == 0, err
        assert "Trying again in" in err
        assert json.loads(report.read_text())["retries"]
        assert not independent_differences(numbers, target.url)


def test_a_server_that_stays_away(
    mortal: CrashingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (retrying, migration):
        monkeypatch.setattr(module, "PAUSES", (0.1, 0.2))
    few = numbers_file(tmp_path / "few.db", 20_000)
    told: list[Event] = []

    def killing(event: Event) -> None:
        told.append(event)
        if isinstance(event, Progress) and not any(isinstance(e, Retried) for e in told):
            mortal.kill()

    with servers.fresh_database(mortal.server) as target:
        try:
            with pytest.raises(RunFailed) as caught:
                tableferry.migrate(f"sqlite:{few}", target.url, on_event=killing)
        finally:
            mortal.start()
        assert caught.value.exit_code == 4
        assert "--resume" in caught.value.hint
        assert len([event for event in told if isinstance(event, Retried)]) == 4

        outcome = tableferry.migrate(f"sqlite:{few}", target.url, resume=True)

        assert outcome.verified
        assert not independent_differences(few, target.url)
