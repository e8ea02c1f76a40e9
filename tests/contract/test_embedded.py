"""The private server of ``embedded:DIR``: what its docstring promises."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
from tests.servers import UNSAFE_BUT_FAST, short_folder
from tests.system.support import wait_until

from tableferry.dialects.postgresql import embedded
from tableferry.dialects.postgresql.embedded import EmbeddedServer, start
from tableferry.errors import Refused, UsageError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as path:
        yield path


def run(server: EmbeddedServer, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, password=server.password, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def run_folder(directory: Path) -> Path:
    return (directory / "run").readlink()


def server_pid(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def owner_of_process(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def test_data_is_kept_across_stop_and_start(folder: Path) -> None:
    with start(folder / "pg") as server:
        run(server, "CREATE TABLE t AS SELECT 'grüß dich' AS greeting")
    with start(folder / "pg") as server:
        assert run(server, "SELECT greeting FROM t") == [("grüß dich",)]


def test_settings_are_safe_and_what_the_docstring_says(folder: Path) -> None:
    with start(folder / "pg") as server:
        names = ("fsync", "listen_addresses", "server_encoding", "wal_level", "password_encryption")
        values = [run(server, f"SHOW {name}")[0][0] for name in names]
        assert values == ["on", "", "UTF8", "minimal", "scram-sha-256"]
        # Ordered by code point, and lower() knows more than ASCII.
        assert run(server, "SELECT 'Z' < 'a', lower('ÄÖ')") == [(True, "äö")]


def test_adbc_connects_with_the_password_in_the_url(folder: Path) -> None:
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        url = server.url.replace("postgres@", f"postgres:{server.password}@")
        with adbc.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 41 + 1 AS answer")
            assert cursor.fetch_arrow_table().to_pylist() == [{"answer": 42}]


@pytest.mark.parametrize(
    "name",
    ["with spaces", 'it\'s, "quoted" $HOME `id` \\ü%', "/".join(["a-long-name" * 6] * 4)],
    ids=["spaces", "special", "long"],
)
def test_any_path_will_do(folder: Path, name: str) -> None:
    with start(folder / name / "pg", UNSAFE_BUT_FAST) as server:
        assert run(server, "SELECT 1") == [(1,)]
        assert len(os.fsencode(run_folder(server.directory) / ".s.PGSQL.5432")) <= 107


def test_two_starts_at_once_share_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: start(folder / "pg", UNSAFE_BUT_FAST), range(2))
    assert first.url == second.url
    first.stop()
    assert run(second, "SELECT 1") == [(1,)], "the first one out must not stop it for the other"
    second.stop()
    second.stop()
    assert not second.is_running()


def test_a_second_process_joins_and_leaves_it_running(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path;"
        "from tableferry.dialects.postgresql.embedded import start;"
        "server = start(Path(sys.argv[1])); print(server.url); server.stop()"
    )
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        other = subprocess.run(
            [sys.executable, "-c", script, folder / "pg"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert other.stdout.strip() == server.url
        assert run(server, "SELECT 1") == [(1,)]


def test_nothing_runs_or_lies_about_after_stop(folder: Path) -> None:
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        pid, sockets = server_pid(server.directory), run_folder(server.directory)
        assert is_alive(pid)
    assert not is_alive(pid)
    assert not sockets.exists()
    names = {path.name for path in server.directory.iterdir()}
    assert names == {"data", "pgpass", "server.log", "lock", "users"}


def test_only_the_owner_can_reach_it(folder: Path) -> None:
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        place = server.directory
        modes = {
            path: stat.S_IMODE(path.stat().st_mode)
            for path in (run_folder(place), place / "data", place / "pgpass", place / "server.log")
        }
        assert list(modes.values()) == [0o700, 0o700, 0o600, 0o600]
        assert server.password not in Path(f"/proc/{server_pid(place)}/cmdline").read_text()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url, password="wrong")
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(server.url, passfile="/dev/null")
        with psycopg.connect(server.url, passfile=str(server.passfile)) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_parents_are_not_touched(folder: Path) -> None:
    parents = [folder, folder / "closed", folder / "closed" / "more"]
    for parent, mode in zip(parents, (0o711, 0o700, 0o750), strict=True):
        parent.mkdir(exist_ok=True)
        parent.chmod(mode)
    before = [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents]
    with start(parents[-1] / "pg", UNSAFE_BUT_FAST) as server:
        assert run(server, "SELECT 1") == [(1,)]
    assert [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents] == before


@needs_root
def test_as_root_the_server_has_a_user_of_its_own(folder: Path) -> None:
    folder.chmod(0o700)
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        uid = owner_of_process(server_pid(server.directory))
        assert uid in range(60578, 61184)
        assert (server.directory / "data" / "base").stat().st_uid == uid
        assert server.directory.stat().st_uid == 0
        assert server.passfile.stat().st_uid == 0


@needs_root
def test_as_root_with_the_programs_out_of_the_servers_reach(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = embedded._installed().parent
    closed = folder / "closed"
    unneeded = shutil.ignore_patterns("pginstall", "include", "*.a")
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.with_name(name), closed / name, ignore=unneeded)
    closed.chmod(0o700)
    installed = closed / package.name / "pginstall18"
    monkeypatch.setattr(embedded, "_installed", lambda: installed)
    for _ in range(2):
        with start(folder / "pg", UNSAFE_BUT_FAST) as server:
            assert run(server, "SELECT lower('Ä')") == [("ä",)]
            copy = run_folder(server.directory) / package.name
            assert copy.is_dir()
        assert not copy.exists()


@needs_root
def test_as_root_a_folder_that_became_roots_by_copying_still_starts(folder: Path) -> None:
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        run(server, "CREATE TABLE t AS SELECT 7 AS a")
    subprocess.run(["cp", "-r", folder / "pg", folder / "copy"], check=True)
    with start(folder / "copy", UNSAFE_BUT_FAST) as server:
        assert run(server, "SELECT a FROM t") == [(7,)]
        assert owner_of_process(server_pid(server.directory)) != 0


KILLED = (
    "import os, signal, sys; from pathlib import Path;"
    "from tableferry.dialects.postgresql.embedded import start;"
    "start(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
)


def test_a_server_left_by_a_killed_process_is_usable_at_once(folder: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, folder / "pg"])
    assert died.returncode == -signal.SIGKILL
    pid = server_pid(folder / "pg")
    with start(folder / "pg") as server:
        assert run(server, "SELECT 1") == [(1,)]
    assert not is_alive(pid)


def test_a_server_left_by_a_killed_process_is_stopped(folder: Path) -> None:
    died = subprocess.run([sys.executable, "-c", KILLED, folder / "pg"])
    assert died.returncode == -signal.SIGKILL
    pid, sockets = server_pid(folder / "pg"), run_folder(folder / "pg")
    wait_until(lambda: not is_alive(pid), 5, "the end of the server")
    wait_until(lambda: not sockets.exists() and not (folder / "pg" / "run").is_symlink(), 1, "")
    assert not (folder / "pg" / "data" / "postmaster.pid").exists()


def test_a_server_with_a_user_left_goes_on(folder: Path) -> None:
    with start(folder / "pg") as server:
        pid = server_pid(server.directory)
        died = subprocess.run([sys.executable, "-c", KILLED, folder / "pg"])
        assert died.returncode == -signal.SIGKILL
        time.sleep(1.2)
        assert is_alive(pid)
        assert run(server, "SELECT 1") == [(1,)]
    assert not is_alive(pid)


def test_after_the_server_itself_was_killed(folder: Path) -> None:
    first = start(folder / "pg")
    run(first, "CREATE TABLE t AS SELECT 7 AS a")
    pid, sockets = server_pid(first.directory), run_folder(first.directory)
    os.kill(pid, signal.SIGKILL)
    while is_alive(pid):
        time.sleep(0.01)
    assert not first.is_running()
    first.stop()
    assert not sockets.exists()
    # The orphaned children notice within moments, and until then hold the shared memory.
    for attempt in range(100):
        with contextlib.suppress(Refused) if attempt < 99 else contextlib.nullcontext():
            with start(folder / "pg") as server:
                assert run(server, "SELECT a FROM t") == [(7,)]
            break
        time.sleep(0.05)


def test_a_creation_that_was_cut_short_is_begun_again(folder: Path) -> None:
    place = folder / "pg"
    (place / "data.new" / "base").mkdir(parents=True)
    (place / "lock").touch()
    with start(place, UNSAFE_BUT_FAST) as server:
        assert run(server, "SELECT 1") == [(1,)]
    assert not (place / "data.new").exists()


def test_a_copy_made_while_it_ran_is_not_taken_for_the_original(folder: Path) -> None:
    with start(folder / "pg", UNSAFE_BUT_FAST) as server:
        shutil.copytree(folder / "pg", folder / "copy", symlinks=True)
        # PostgreSQL may recover such a copy or turn it down: that is for it to say.
        with contextlib.suppress(Refused), start(folder / "copy") as other:
            assert other.url != server.url
        assert run(server, "SELECT 1") == [(1,)], "the original's socket must still be there"


def test_a_folder_with_other_things_in_it_is_refused(folder: Path) -> None:
    (folder / "thesis.tex").touch()
    with pytest.raises(Refused, match="not empty"):
        start(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_refused(folder: Path) -> None:
    (folder / "pg").touch()
    with pytest.raises(Refused, match="pg"):
        start(folder / "pg")


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("17\n")
    (folder / "lock").touch()
    with pytest.raises(Refused, match="PostgreSQL 17"):
        start(folder)


def test_a_failed_start_quotes_the_server_and_leaves_nothing_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(Refused, match='parameter "shared_buffers"'):
        start(folder / "pg", {"shared_buffers": "much"})
    assert [path.name for path in folder.iterdir()] == ["pg"]
    assert not (folder / "pg" / "run").is_symlink()
    with start(folder / "pg") as server:
        assert run_folder(server.directory).parent == folder
        assert server.is_running()


def test_of_the_servers_last_words_the_failure_is_quoted() -> None:
    said = "FATAL:  could not write: No space left on device\ninitdb: removing contents of …\n\n"
    assert embedded._complaint(said) == "FATAL:  could not write: No space left on device"
    assert embedded._complaint("first\nlast\n") == "last"
    assert embedded._complaint("") == "it gave no reason"


def test_without_the_extra_the_error_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match=r"pip install 'tableferry\[embedded\]'"):
        start(folder / "pg")


def test_the_command_runs_it_until_it_is_interrupted(folder: Path) -> None:
    module = "tableferry.dialects.postgresql.embedded"
    command = [sys.executable, "-m", module, str(folder / "my pg")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        shown = [process.stderr.readline() for _ in range(4)]
        psql = shown[2].strip()
        answer = subprocess.run(
            f"{psql} --no-psqlrc --tuples-only --no-align --command='SELECT 40 + 2'",
            shell=True,
            capture_output=True,
            text=True,
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert answer.stdout == "42\n", answer.stderr
    assert not (folder / "my pg" / "run").is_symlink()
