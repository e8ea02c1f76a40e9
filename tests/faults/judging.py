"""What a run over a damaged SQLite file must have done: brought what an independent reading of the
same file brings, or failed and named what is damaged; with a target that nobody takes for good."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.faults import damaged_files
from tests.faults.damaged_files import Reading, Row
from tests.random.arrivals import arrivals
from tests.random.oracle import arrives_as
from tests.servers import Server
from tests.system.support import Run

_LEDGER = "tableferry_"


def judge_migration(run: Run, reading: Reading, database: Server) -> None:
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
            _require_same(table, wanted, Counter(found.rows[target]))
    elif run.code == 1:
        _require_named_differences(run)
    else:
        # Nothing at all, or an unfinished run.
        assert not names or any(name.startswith(_LEDGER) for name in names), names
    if run.code == 3:
        assert not names


def judge_copy(run: Run, reading: Reading, target: Path) -> None:
    if run.code == 0:
        assert run.report["status"] == "verified"
        _require_all(run, reading)
        found = damaged_files.read(target)
        assert found.integrity == ("ok",)
        for table, name in _pairs(run):
            _require_same(table, reading.rows[table], found.rows[name])
    elif run.code == 1:
        _require_named_differences(run)
    else:
        assert not target.exists()


def judge_verification(run: Run, reading: Reading, sound: Mapping[str, Counter[Row]]) -> None:
    if run.code == 0:
        _require_all(run, reading)
        assert set(reading.rows) == set(sound)
        for table, rows in sound.items():
            _require_same(table, rows, reading.rows[table])
    elif run.code == 1:
        _require_named_differences(run)


def _require_all(run: Run, reading: Reading) -> None:
    """No table is left out, and none that sqlite3 cannot read is called good."""
    assert reading.whole
    assert {source for source, _ in _pairs(run)} == set(reading.rows)


def _pairs(run: Run) -> list[tuple[str, str]]:
    return [(table["source"], table["target"]) for table in run.report["tables"]]


def _require_same(table: str, wanted: Counter[Row], found: Counter[Row]) -> None:
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


def judge_words(run: Run, path: Path, reading: Reading) -> None:
    assert run.code in (0, 1, 3, 4), run
    for sign in ("Traceback", "SIGSEGV", "SIGBUS", "SIGABRT", "worker process", "Error:"):
        assert sign not in run.err, run.err
    if run.code in (3, 4):
        assert run.report["status"] == "failed"
        assert reading.integrity != ("ok",), run.err
        assert len(run.err.splitlines()) <= 6, run.err
        message = run.report["error"]["message"]
        named = [name for name in (*reading.rows, *reading.broken) if _names(name, message)]
        if reading.broken:
            assert set(named) & set(reading.broken), message
        # What the target refuses, such as a NULL, is said of the target's table.
        assert path.name in message or named, message


def _names(table: str, message: str) -> bool:
    return re.search(rf"[Tt]able {re.escape(table)}\b", message) is not None


def shown(reading: Reading) -> str:
    return f"sqlite3: {reading.schema or 'reads the schema'}; {reading.broken}; {reading.integrity}"
