"""SQLite sources whose last program was killed, or that stand where nobody may write: SQLite brings
them in order, exactly the committed rows arrive, and a note says so; or the run is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.servers import Server
from tests.system.support import (
    Run,
    command,
    ends,
    ferried,
    ferry,
    fingerprint,
    independent_differences,
    open_to_all,
    password,
    sqlite_file,
    sqlite_rows,
)

from tableferry.dialects.sqlite.leftovers import has_hot_journal, left_beside

_ROWS = 500
SCRIPT = (
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
    f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {_ROWS}) "
    "INSERT INTO things SELECT i, 'as it was ' || i FROM n;"
)
_HALF = (
    "PRAGMA cache_size = 1",
    "PRAGMA cache_spill = 1",
    "BEGIN",
    "UPDATE things SET name = 'half done'",
    "DELETE FROM things WHERE id > 100",
)
_COMMITTED = (
    "PRAGMA wal_autocheckpoint = 0",
    "UPDATE things SET name = 'in the log' WHERE id <= 10",
    f"INSERT INTO things VALUES ({_ROWS + 1}, 'in the log too')",
)


def killed_after(path: Path, *statements: str) -> None:
    """A program that ran the statements and was killed before it could close the file."""
    script = (
        "import json, os, signal, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in json.loads(sys.argv[2]):\n"
        "    connection.execute(statement).fetchall()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path), json.dumps(statements)], check=False)


@pytest.fixture
def half_done(tmp_path: Path) -> Path:
    """A file with half of a transaction in it, and the journal that undoes it."""
    path = sqlite_file(_folder(tmp_path) / "source.db", SCRIPT)
    killed_after(path, *_HALF)
    assert b"half done" in path.read_bytes()
    assert _beside(path) == {"source.db-journal"}
    return path


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A file with transactions that stand in its WAL alone."""
    path = sqlite_file(_folder(tmp_path) / "source.db", f"PRAGMA journal_mode = WAL; {SCRIPT}")
    killed_after(path, *_COMMITTED)
    assert b"in the log" not in path.read_bytes()
    assert _wal(path).stat().st_size > 4096
    return path


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def _beside(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()} - {path.name}


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def require_rows(source: Path, target: Server, names: set[str], rows: int = _ROWS) -> None:
    assert independent_differences(source, target.url) == {}
    assert target.rows("SELECT count(*) FROM things") == [(rows,)]
    found = {name for (name,) in target.rows("SELECT name FROM things WHERE id IN (1, 501)")}
    assert found == names


def warned(run: Run, *words: str) -> None:
    assert run.code == 0, run.err
    said = "\n".join(run.report["warnings"])
    assert all(word in said for word in words), said
    assert all(warning in run.err for warning in run.report["warnings"])


# ---- brought in order -------------------------------------------------------------------------


def test_half_a_transaction_is_undone(any_database: Server, half_done: Path) -> None:
    run = ferry(half_done, any_database)

    warned(run, str(half_done), "in the middle of a transaction", "undone")
    require_rows(half_done, any_database, {"as it was 1"})
    assert _beside(half_done) == set()


def test_a_verification_undoes_it_too(any_database: Server, half_done: Path) -> None:
    sound = sqlite_file(half_done.with_name("sound.db"), SCRIPT)
    ferried(sound, any_database)

    run = ferry(half_done, any_database, "--verify")

    warned(run, "in the middle of a transaction", "undone")
    assert sqlite_rows(half_done, "SELECT count(*) FROM things WHERE name LIKE 'half%'") == [(0,)]


def test_a_plan_tells_of_it(half_done: Path) -> None:
    run = command("plan", "--from", f"sqlite:{half_done}", "--to", "postgresql://nobody@/nowhere")

    assert run.code == 0, run.err
    assert "in the middle of a transaction" in run.out + run.err


def test_what_only_the_wal_holds_arrives(any_database: Server, logged: Path) -> None:
    run = ferry(logged, any_database)

    warned(run, str(logged), "source.db-wal", "read along")
    require_rows(logged, any_database, {"in the log", "in the log too"}, _ROWS + 1)


def test_a_verification_reads_the_wal(any_database: Server, logged: Path) -> None:
    copy = logged.parent.parent / "copy"
    shutil.copytree(logged.parent, copy)
    ferried(copy / "source.db", any_database)

    run = ferry(logged, any_database, "--verify")

    warned(run, "source.db-wal", "read along")


def test_a_transaction_that_was_not_committed_is_no_part(
    any_database: Server, logged: Path
) -> None:
    killed_after(logged, "PRAGMA wal_autocheckpoint = 0", *_HALF)

    run = ferry(logged, any_database)

    warned(run, "read along", "not whole")
    require_rows(logged, any_database, {"in the log", "in the log too"}, _ROWS + 1)


def test_a_closed_file_needs_no_note(any_database: Server, tmp_path: Path) -> None:
    for number, mode in enumerate(("DELETE", "PERSIST", "TRUNCATE", "WAL")):
        path = sqlite_file(tmp_path / f"{number}.db", f"PRAGMA journal_mode = {mode}; {SCRIPT}")
        run = ferry(path, any_database, "--drop-all", "--yes")
        assert run.code == 0, run.err
        assert run.report["warnings"] == []


# ---- damaged as well --------------------------------------------------------------------------


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


@contextmanager
def _unlike_sqlite(path: Path) -> Iterator[None]:
    """What SQLite itself would make of the files is not what was there."""
    copy = path.parent.parent / "copy"
    shutil.copytree(path.parent, copy)
    found = sqlite_rows(copy / path.name, "SELECT * FROM things")
    assert len(found) != _ROWS + 1
    yield


_PLACES = [(at, ()) for at in (4, 9, 20, 515, 516 + 4096 - 200)] + [(4, ("--verify",))]


@pytest.mark.parametrize(("at", "flags"), _PLACES, ids=str)
def test_a_damaged_journal(
    any_database: Server, half_done: Path, at: int, flags: tuple[str, ...]
) -> None:
    """SQLite plays back what stands before the damage, and takes the rest as it is."""
    _flip(_journal(half_done), at)
    before = fingerprint(half_done)

    run = ferry(half_done, any_database, *flags)

    assert run.code == 3, run
    assert "source.db-journal" in run.err
    assert "damaged" in run.err
    assert fingerprint(half_done) == before
    assert _journal(half_done).exists()


@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
@pytest.mark.parametrize("at", [2, 17, 34, 49, 2000], ids=str)
def test_a_damaged_wal(any_database: Server, logged: Path, at: int, flags: tuple[str, ...]) -> None:
    """Whatever was committed behind the damage is gone for SQLite, without a word."""
    _flip(_wal(logged), at)
    before = fingerprint(logged)

    with _unlike_sqlite(logged):
        run = ferry(logged, any_database, *flags)

    assert run.code == 3, run
    assert "source.db-wal" in run.err
    assert "damaged" in run.err
    assert fingerprint(logged) == before
    assert _wal(logged).exists()


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_a_sound_wal_of_any_page_size(tmp_path: Path, page_size: int) -> None:
    """As SQLite counts its frames: a checkpoint brings them all."""
    path = sqlite_file(
        tmp_path / "source.db",
        f"PRAGMA page_size = {page_size}; PRAGMA journal_mode = WAL; {SCRIPT}",
    )
    killed_after(path, *_COMMITTED, *_HALF, "ROLLBACK", *_COMMITTED[:2])

    left = left_beside(path)

    assert (left.committed, left.journal) == (True, False)


def test_a_log_that_began_anew_has_remains(tmp_path: Path) -> None:
    """Behind the frames of a new log stand those of the one before, which are no damage."""
    path = sqlite_file(tmp_path / "source.db", f"PRAGMA journal_mode = WAL; {SCRIPT}")
    killed_after(
        path,
        *_COMMITTED,
        *(f"UPDATE things SET name = name || '{i}'" for i in range(5)),
        "PRAGMA wal_checkpoint(RESTART)",
        "UPDATE things SET name = 'new' WHERE id = 1",
    )

    left = left_beside(path)

    assert (left.committed, left.unfinished) == (True, False)


# ---- where nobody may write -------------------------------------------------------------------


@pytest.fixture
def as_others(any_database: Server) -> Iterator[Callable[..., Run]]:
    """The command as somebody whom modes of files keep out."""

    def run(source: Path, *flags: str, mode: int = 0o444) -> Run:
        folder = source.parent
        for each in folder.iterdir():
            each.chmod(mode)
        folder.chmod(0o555)
        try:
            return command(
                *("database", *ends(source, any_database), *flags),
                env=password(any_database),
                modes_count=True,
            )
        finally:
            folder.chmod(0o755)

    with open_to_all(any_database):
        yield run


@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
@pytest.mark.parametrize("mode", [0o444, 0o644], ids=oct)
def test_half_a_transaction_where_nobody_may_undo_it(
    as_others: Callable[..., Run], half_done: Path, mode: int, flags: tuple[str, ...]
) -> None:
    before = fingerprint(half_done)

    run = as_others(half_done, *flags, mode=mode)

    assert run.code == 3, run
    assert "source.db-journal" in run.err
    assert "Copy both files" in run.err
    assert fingerprint(half_done) == before


@pytest.mark.parametrize("may_write", [False, True])
def test_a_transaction_that_somebody_is_in_is_left_to_him(
    as_others: Callable[..., Run], any_database: Server, tmp_path: Path, may_write: bool
) -> None:
    path = sqlite_file(_folder(tmp_path) / "source.db", SCRIPT)
    ferried(path, any_database)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        # Otherwise the journal begins with zeros as long as it is not on the disk.
        writer.execute("PRAGMA synchronous = OFF")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE things SET name = 'not yet'")
        assert has_hot_journal(path)
        run = ferry(path, any_database, "--verify") if may_write else as_others(path, "--verify")
        writer.execute("COMMIT")

    assert run.code == 0, run
    assert "middle of a transaction" not in run.err
    assert sqlite_rows(path, "SELECT DISTINCT name FROM things") == [("not yet",)]


def test_a_wal_where_nobody_may_write(as_others: Callable[..., Run], logged: Path) -> None:
    for name in _beside(logged):
        if name.endswith("-shm"):
            (logged.parent / name).unlink()

    run = as_others(logged)

    assert run.code == 3, run
    assert "source.db-wal" in run.err
    assert "Copy both files" in run.err


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_file_on_a_medium_that_is_read_only(
    as_others: Callable[..., Run], any_database: Server, tmp_path: Path, mode: str
) -> None:
    path = sqlite_file(_folder(tmp_path) / "source.db", f"PRAGMA journal_mode = {mode}; {SCRIPT}")

    run = as_others(path)

    assert run.code == 0, run
    require_rows(path, any_database, {"as it was 1"})


# ---- a wrong header ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"SQLite format 4\0"),
        (16, b"\x03\x01"),
        (16, b"\0\0"),
        (18, b"\x03"),
        (19, b"\x09"),
        (20, b"\xff"),
        (21, b"\x41"),
        (28, b"\xff\xff\xff\xff"),
        (44, b"\0\0\0\x09"),
        (56, b"\0\0\0\x07"),
        (100, b"\0"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else str(value),
)
def test_a_wrong_header(any_database: Server, tmp_path: Path, at: int, value: bytes) -> None:
    """Read rightly as SQLite reads it, or refused."""
    path = sqlite_file(tmp_path / "source.db", SCRIPT)
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)
    try:
        with closing(sqlite3.connect(path)) as connection:
            readable = len(connection.execute("SELECT * FROM things").fetchall()) == _ROWS
    except sqlite3.Error:
        readable = False

    run = ferry(path, any_database)

    if run.code == 0:
        assert readable
        require_rows(path, any_database, {"as it was 1"})
    else:
        assert run.code in (3, 4), run
        assert str(path) in run.err
        assert "Traceback" not in run.err
        assert any_database.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [
            (0,)
        ]
