"""Damaged SQLite files: what a run brings is what an independent reading of the same file brings,
or the run fails and names what is damaged. TABLEFERRY_CORRUPTED says how many are tried,
TABLEFERRY_CORRUPTED_SEED makes them others, and TABLEFERRY_CORRUPTED_FIRST names the first one.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests import servers
from tests.faults import damaged_files
from tests.faults.corruption import Layout, damaged, layout_of
from tests.faults.damaged_files import Reading, Row
from tests.random.arrivals import arrivals
from tests.random.oracle import arrives_as
from tests.servers import Server
from tests.system.support import Run, ferried, ferry, sqlite_url, with_report

_TRIALS = int(os.environ.get("TABLEFERRY_CORRUPTED", "25"))
_FIRST = int(os.environ.get("TABLEFERRY_CORRUPTED_FIRST", "0"))
_SEED = os.environ.get("TABLEFERRY_CORRUPTED_SEED", "8")
# Where a line of JSON is kept of each trial, if anywhere.
_LOG = os.environ.get("TABLEFERRY_CORRUPTED_LOG", "")

_SHARES = {"small": 16, "medium": 3, "large": 1}
_WAYS = {"postgresql": 6, "sqlite": 2, "verify": 2}
_LEDGER = "tableferry_"


@dataclass(frozen=True, slots=True)
class Pristine:
    """A sound file, and a database that holds it."""

    content: bytes
    rows: dict[str, Counter[Row]]
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
            return Pristine(content, dict(sound.rows), layout_of(content), database)

        yield of


@dataclass(frozen=True, slots=True)
class Trial:
    path: Path
    way: str
    what: str


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
            _judge_verification(run, reading, sound)
        elif way == "sqlite":
            run = _into_a_file(path, tmp_path / "target.db", reading)
        else:
            with servers.fresh_database(started(servers.EMBEDDED)) as database:
                run = ferry(path, database)
                _judge_migration(run, reading, database)
        _judge_words(run, path, reading)
    except BaseException as error:
        error.add_note(f"{about}\n{_shown(reading)}")
        raise
    finally:
        path.unlink()
    _keep(number=number, size=size, way=way, damage=damage.what, code=run.code, said=run.err)


# ---- what came of it --------------------------------------------------------------------------


def _judge_migration(run: Run, reading: Reading, database: Server) -> None:
    names = [
        name
        for (name,) in database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    ]
    if run.code == 0:
        assert run.report["status"] == "verified"
        assert not [name for name in names if name.startswith(_LEDGER)]
        _require_all(run, reading)
        found = arrivals(database)
        for table, target in _pairs(run):
            types = [found.types[at] for at in found.types if at[0] == target]
            rows = reading.rows[table].elements()
            wanted = Counter(tuple(map(arrives_as, row, types)) for row in rows)
            assert_same(table, wanted, Counter(found.rows[target]))
    elif run.code == 1:
        _require_named_differences(run)
    else:
        # Nothing at all, or an unfinished run.
        assert not names or any(name.startswith(_LEDGER) for name in names), names
    if run.code == 3:
        assert not names


def _into_a_file(path: Path, target: Path, reading: Reading) -> Run:
    run = with_report("--from", sqlite_url(path), "--to", sqlite_url(target))
    if run.code == 0:
        assert run.report["status"] == "verified"
        _require_all(run, reading)
        found = damaged_files.read(target)
        assert found.integrity == ("ok",)
        for table, name in _pairs(run):
            assert_same(table, reading.rows[table], found.rows[name])
    elif run.code == 1:
        _require_named_differences(run)
    else:
        assert not target.exists()
    return run


def _judge_verification(run: Run, reading: Reading, sound: Pristine) -> None:
    if run.code == 0:
        _require_all(run, reading)
        assert set(reading.rows) == set(sound.rows)
        for table, rows in sound.rows.items():
            assert_same(table, rows, reading.rows[table])
    elif run.code == 1:
        _require_named_differences(run)


def _require_all(run: Run, reading: Reading) -> None:
    """No table is left out, and none that sqlite3 cannot read is called good."""
    assert reading.whole
    assert {source for source, _ in _pairs(run)} == set(reading.rows)


def _pairs(run: Run) -> list[tuple[str, str]]:
    return [(table["source"], table["target"]) for table in run.report["tables"]]


def assert_same(table: str, wanted: Counter[Row], found: Counter[Row]) -> None:
    missing, extra = wanted - found, found - wanted
    shown = [list(rows)[:3] for rows in (missing, extra)]
    assert missing == extra == Counter(), (table, missing.total(), extra.total(), shown)


def _require_named_differences(run: Run) -> None:
    different = [table for table in run.report["tables"] if table["verdict"] != "verified"]
    assert different
    for table in different:
        assert table["source"] in run.out + run.err
        listed = table["differences"]["listed"]
        assert listed or table["source_rows"] != table["target_rows"], table


def _judge_words(run: Run, path: Path, reading: Reading) -> None:
    assert run.code in (0, 1, 3, 4), run
    for sign in ("Traceback", "SIGSEGV", "SIGBUS", "SIGABRT", "worker process", "Error:"):
        assert sign not in run.err, run.err
    if run.code in (3, 4):
        assert run.report["status"] == "failed"
        assert len(run.err.splitlines()) <= 6, run.err
        message = run.report["error"]["message"]
        named = [name for name in (*reading.rows, *reading.broken) if _names(name, message)]
        if reading.broken:
            assert set(named) & set(reading.broken), message
        # What the target refuses, such as a NULL, is said of the target's table.
        assert path.name in message or named, message


def _names(table: str, message: str) -> bool:
    return re.search(rf"[Tt]able {re.escape(table)}\b", message) is not None


def _shown(reading: Reading) -> str:
    return f"sqlite3: {reading.schema or 'reads the schema'}; {reading.broken}; {reading.integrity}"


def _keep(**facts: object) -> None:
    if _LOG:
        with Path(_LOG).open("a") as log:
            log.write(json.dumps(facts) + "\n")
