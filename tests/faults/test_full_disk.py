"""A disk that is full: the run says so, what was there stays, and with more room it goes on.

TABLEFERRY_FULL_DISKS=10        so many fill levels each way instead of a few
TABLEFERRY_FULL_DISKS_SEED=17   the first seed, which says how full
"""

from __future__ import annotations

import functools
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import servers
from tests.faults.crashing import CrashingServer, crashing
from tests.faults.small_disk import ENOUGH, SmallDisk, can_mount, small_disk
from tests.faults.sources import (
    APPLICATION,
    POSTGRESQL,
    differences,
    objects_of,
    rows_of,
    sqlite_shop,
)
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    environment,
    fingerprint,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
)

LEVELS = int(os.environ.get("TABLEFERRY_FULL_DISKS", "2"))
FIRST = int(os.environ.get("TABLEFERRY_FULL_DISKS_SEED", "0"))
LIMIT = resource.RLIMIT_FSIZE
mounting = pytest.mark.skipif(
    not can_mount(), reason="a small disk takes root; see the limit below"
)


@pytest.fixture(scope="module")
def server() -> Iterator[CrashingServer]:
    with crashing(servers.EMBEDDED) as running:
        yield running


@pytest.fixture(scope="module")
def shop(server: CrashingServer) -> Server:
    """The source in PostgreSQL."""
    server.server.run("CREATE DATABASE shop TEMPLATE template0")
    found = database(server, "shop")
    found.run(POSTGRESQL)
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source in SQLite."""
    return sqlite_shop(tmp_path_factory.mktemp("source") / "source.db")


def database(server: CrashingServer, name: str) -> Server:
    whole = server.server
    return Server(whole.version, whole.host, whole.port, whole.password, name)


def migrate(
    source: Path | Server, target: Path | Server, folder: Path, *flags: str, limit: int = 0
) -> Run:
    """With its own folder for reports and temporary files; ``limit``: bytes a file may have."""
    report = folder / "report.json"
    report.unlink(missing_ok=True)
    password = next(side.password for side in (source, target) if isinstance(side, Server))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.faults.ranged", "database", "--workers", "2", "--yes"),
            *("--from", url(source), "--to", url(target), "--report", str(report), *flags),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=environment(
            **{
                PASSWORD_VARIABLE: password,
                "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
            }
        ),
        preexec_fn=(lambda: resource.setrlimit(LIMIT, (limit, limit))) if limit else None,
    )
    content: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    return Run(done.returncode, done.stdout, done.stderr, content)


def url(side: Path | Server) -> str:
    return side.url_without_password if isinstance(side, Server) else sqlite_url(side)


def assert_full(run: Run, *words: str) -> None:
    assert run.code in (3, 4), run.err
    assert run.report.get("status") != "verified"
    assert "Traceback" not in run.err
    assert any(word in run.err for word in words), run.err
    assert "damaged" not in run.err


SPACE = ("No space left", "no space is left", "is full")


def assert_goes_on(
    failed: Run, source: Path | Server, target: Path | Server, folder: Path, flag: str
) -> None:
    """Once the cause is gone."""
    if failed.code == 3:
        # Nothing was written.
        flag = "--drop-all"
    run = migrate(source, target, folder, flag)
    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    assert not differences(rows_of(source), rows_of(target))


def flag_of(seed: int) -> str:
    return ("--resume", "--drop-all")[seed % 2]


# ---- SQLite --------------------------------------------------------------------------------------


def old_file(path: Path) -> Path:
    """What is to be replaced."""
    return sqlite_file(path, APPLICATION["sqlite"])


@functools.cache
def needed(way: str) -> dict[str, int]:
    return {}


@mounting
@pytest.mark.parametrize("seed", range(FIRST, FIRST + LEVELS))
def test_the_disk_of_a_sqlite_file(shop: Server, tmp_path: Path, seed: int) -> None:
    with small_disk(ENOUGH) as disk:
        target = old_file(disk.folder / "target.db")
        known = needed("sqlite")
        if "bytes" not in known:
            whole = migrate(shop, target, tmp_path)
            assert whole.code == 0, whole.err
            assert "on its disk" not in whole.err
            known["bytes"] = disk.used
            target.unlink()
            old_file(target)
        before, least = fingerprint(target), disk.used
        disk.resize(least + int(random.Random(seed).uniform(0.02, 0.9) * (known["bytes"] - least)))

        run = migrate(shop, target, tmp_path)

        assert_full(run, *SPACE)
        assert "is free for it on its disk" in run.err
        assert fingerprint(target) == before
        disk.resize(ENOUGH)
        assert_goes_on(run, shop, target, tmp_path, flag_of(seed))
        assert {path.name for path in disk.folder.iterdir()} == {"target.db"}


@pytest.mark.parametrize("seed", range(FIRST, FIRST + LEVELS))
def test_a_limit_on_the_size_of_files(shop: Server, tmp_path: Path, seed: int) -> None:
    """What a quota does to one file: the staged file or, as early, a part of it."""
    (tmp_path / "new").mkdir()
    target = old_file(tmp_path / "new" / "target.db")
    before = fingerprint(target)
    limit = int(random.Random(seed).uniform(0.2, 8) * (1 << 20))

    run = migrate(shop, target, tmp_path, limit=limit)

    assert_full(run, "File too large", "could not be written")
    assert fingerprint(target) == before
    assert_goes_on(run, shop, target, tmp_path, flag_of(seed))
    assert {path.name for path in target.parent.iterdir()} == {"target.db"}


# ---- what is said --------------------------------------------------------------------------------


def said_into(tmp_path: Path, *flags: str, **options: Any) -> subprocess.CompletedProcess[str]:
    source = tmp_path / "source.db"
    if not source.exists():
        sqlite_file(source, "CREATE TABLE t (a INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)")
    return subprocess.run(
        [
            *(sys.executable, "-m", "tableferry.cli", "database", "--from", url(source)),
            *("--to", url(tmp_path / "target.db"), *flags),
        ],
        text=True,
        env=environment(),
        timeout=60,
        **options,
    )


def test_a_log_that_is_full_ends_no_run(tmp_path: Path) -> None:
    for progress in ([], ["--progress"]):
        with Path("/dev/full").open("w") as full:
            flags = ("--drop-all", *progress)
            run = said_into(tmp_path, *flags, stderr=full, stdout=subprocess.PIPE)
        assert (run.returncode, run.stdout) == (0, "")
    assert sqlite_rows(tmp_path / "target.db", "SELECT a FROM t") == [(1,)]


def test_a_reader_who_has_gone_ends_no_run(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for to in ("stdout", "stderr"):
            flags = ("--drop-all", "--report", "-")
            run = said_into(tmp_path, *flags, **{to: writing})
            assert run.returncode == 0
    finally:
        os.close(writing)


def test_a_report_that_finds_no_room(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        run = said_into(tmp_path, "--report", "-", stdout=full, stderr=subprocess.PIPE)
    assert run.returncode == 2
    assert "Standard output cannot be written: No space left on device." in run.stderr
    assert "Traceback" not in run.stderr
    assert sqlite_rows(tmp_path / "target.db", "SELECT a FROM t") == [(1,)]


# ---- PostgreSQL ----------------------------------------------------------------------------------


@pytest.fixture
def tablespace(server: CrashingServer) -> Iterator[Callable[[SmallDisk], Server]]:
    """An empty database on a small disk, whose write-ahead log lies elsewhere."""

    def made(disk: SmallDisk) -> Server:
        folder = disk.folder / "tablespace"
        folder.mkdir()
        owner = server.data.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        server.server.run(
            f"CREATE TABLESPACE small LOCATION '{folder}'",
            "CREATE DATABASE on_small TEMPLATE template0 TABLESPACE small",
        )
        return database(server, "on_small")

    yield made
    server.server.run("DROP DATABASE IF EXISTS on_small WITH (FORCE)")


@mounting
@pytest.mark.parametrize("seed", range(FIRST, FIRST + LEVELS))
def test_the_disk_of_a_tablespace(
    server: CrashingServer,
    tablespace: Callable[[SmallDisk], Server],
    file: Path,
    tmp_path: Path,
    seed: int,
) -> None:
    with small_disk(ENOUGH) as disk:
        target = tablespace(disk)
        try:
            known, least = needed("postgresql"), disk.used
            if "bytes" not in known:
                whole = migrate(file, target, tmp_path)
                assert whole.code == 0, whole.err
                known["bytes"] = disk.used - least
                server.server.run(
                    "DROP DATABASE on_small",
                    "CREATE DATABASE on_small TEMPLATE template0 TABLESPACE small",
                )
                least = disk.used
            disk.resize(least + int(random.Random(seed).uniform(0.02, 0.9) * known["bytes"]))

            run = migrate(file, target, tmp_path)

            assert_full(run, *SPACE)
            assert "is free for it on its disk" in run.err
            disk.resize(ENOUGH)
            assert_goes_on(run, file, target, tmp_path, flag_of(seed))
            assert not any("tableferry" in str(each) for each in objects_of(target))
        finally:
            server.server.run(
                "DROP DATABASE on_small WITH (FORCE)", "CHECKPOINT", "DROP TABLESPACE small"
            )


@mounting
def test_the_disk_of_the_write_ahead_log(file: Path, tmp_path: Path) -> None:
    """The server itself cannot go on, and may not come back before there is room."""
    with small_disk(ENOUGH) as disk:
        folder = disk.folder / "server"
        folder.mkdir()
        running = CrashingServer(servers.EMBEDDED, folder, {"wal_recycle": "off"})
        try:
            disk.resize(disk.used + (8 << 20))
            run = migrate(file, running.server, tmp_path)
            assert run.code in (3, 4), run.err
            assert "Traceback" not in run.err
            disk.resize(ENOUGH)
            running.kill()
            running.start()
            assert_goes_on(run, file, running.server, tmp_path, "--resume")
        finally:
            running.stop()
