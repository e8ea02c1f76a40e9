"""Damaged SQLite files: what a run brings is what an independent reading of the same file brings,
or the run fails and names what is damaged. TABLEFERRY_CORRUPTED says how many are tried,
TABLEFERRY_CORRUPTED_SEED makes them others, and TABLEFERRY_CORRUPTED_FIRST names the first one.
"""

from __future__ import annotations

import functools
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import servers
from tests.faults import damaged_files
from tests.faults.corruption import Layout, damaged, layout_of
from tests.faults.damaged_files import Reading
from tests.faults.judging import (
    judge_copy,
    judge_migration,
    judge_verification,
    judge_words,
    shown,
)
from tests.servers import Server
from tests.system.support import (
    end,
    ferried,
    ferry,
    password,
    sqlite_url,
    start,
    wait_until,
    with_report,
)

_TRIALS = int(os.environ.get("TABLEFERRY_CORRUPTED", "25"))
_FIRST = int(os.environ.get("TABLEFERRY_CORRUPTED_FIRST", "0"))
_SEED = os.environ.get("TABLEFERRY_CORRUPTED_SEED", "8")
# Where a line of JSON is kept of each trial, if anywhere.
_LOG = os.environ.get("TABLEFERRY_CORRUPTED_LOG", "")

_SHARES = {"small": 16, "medium": 3, "large": 1}
# Into PostgreSQL or another file; verified as a source, or as a target.
_WAYS = {"postgresql": 6, "sqlite": 2, "verify": 2, "target": 1}
# Its values of several storage classes do not come back from PostgreSQL.
_ONE_WAY = "events"


@dataclass(frozen=True, slots=True)
class Pristine:
    """A sound file, and a database that holds it."""

    content: bytes
    reading: Reading
    layout: Layout
    migrated: Server


@pytest.fixture(scope="module")
def pristine(
    started: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Pristine]]:
    with ExitStack() as stack:

        @functools.cache
        def of(size: str) -> Pristine:
            path = tmp_path_factory.mktemp(size) / "sound.db"
            damaged_files.build(path, size)
            sound = damaged_files.read(path)
            assert sound.integrity == ("ok",)
            database = stack.enter_context(servers.fresh_database(started(servers.EMBEDDED)))
            ferried(path, database)
            content = path.read_bytes()
            return Pristine(content, sound, layout_of(content), database)

        yield of


@pytest.mark.parametrize("number", range(_FIRST, _FIRST + _TRIALS))
def test_a_damaged_file(
    number: int,
    started: Callable[[str], Server],
    pristine: Callable[[str], Pristine],
    tmp_path: Path,
) -> None:
    chance = random.Random(f"{_SEED}:{number}")
    size = chance.choices(list(_SHARES), list(_SHARES.values()))[0]
    way = chance.choices(list(_WAYS), list(_WAYS.values()))[0]
    sound = pristine(size)
    damage = damaged(sound.content, sound.layout, chance)
    path = tmp_path / "damaged.db"
    path.write_bytes(damage.content)
    reading = damaged_files.read(path)
    about = f"trial {number} of seed {_SEED}: {size}, {way}, {damage.what}"
    try:
        if way == "verify":
            run = ferry(path, sound.migrated, "--verify")
            judge_verification(run, reading, sound.reading.rows)
        elif way == "target":
            ends = "--from", sound.migrated.url_without_password, "--to", sqlite_url(path)
            flags = "--verify", "--exclude", _ONE_WAY
            run = with_report(*ends, *flags, env=password(sound.migrated))
            reading = reading.without(_ONE_WAY)
            judge_verification(run, reading, sound.reading.without(_ONE_WAY).rows)
        elif way == "sqlite":
            target = tmp_path / "target.db"
            run = with_report("--from", sqlite_url(path), "--to", sqlite_url(target))
            judge_copy(run, reading, target)
        else:
            with servers.fresh_database(started(servers.EMBEDDED)) as database:
                run = ferry(path, database)
                judge_migration(run, reading, database)
        judge_words(run, path, reading)
    except BaseException as error:
        error.add_note(f"{about}\n{shown(reading)}")
        raise
    finally:
        path.unlink()
    _keep(number=number, size=size, way=way, damage=damage.what, code=run.code, said=run.err)


def test_a_file_that_is_cut_while_it_is_read(any_database: Server, tmp_path: Path) -> None:
    """By whoever asks for no lock: workers have it mapped into memory, where it then ends."""
    path = tmp_path / "cut.db"
    damaged_files.build(path, "large")
    process = start(
        *("database", "--workers", "2", "--from", sqlite_url(path)),
        *("--to", any_database.url_without_password),
        env=password(any_database),
    )
    copying = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'tableferry%' AND query LIKE 'COPY%documents%'"
    )
    try:
        wait_until(lambda: any_database.rows(copying)[0][0] > 0, 30, "a copy")
        os.truncate(path, path.stat().st_size // 4)
        _, said = process.communicate(timeout=60)
    finally:
        end(process)
        path.unlink()

    assert process.returncode == 4, said
    assert "Traceback" not in said
    assert path.name in said or "a file that it read was cut" in said
    names = any_database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert ("tableferry_tables",) in names


def _keep(**facts: object) -> None:
    if _LOG:
        with Path(_LOG).open("a") as log:
            log.write(json.dumps(facts) + "\n")
