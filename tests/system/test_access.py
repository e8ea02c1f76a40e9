"""Who may run it, and a configuration file that shows its password to everyone."""

from __future__ import annotations

import grp
import json
import os
import pwd
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import Run, command, environment, sqlite_file

import tableferry.access
import tableferry.settings
from tableferry import cli
from tableferry.errors import UsageError

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = pwd.getpwnam("nobody")
# On every Linux system, and without members.
DAEMON = grp.getgrgid(1)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to every user, which pytest's own is not."""
    with servers.short_folder() as made:
        made.chmod(0o755)
        sqlite_file(made / "app.db", "CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        yield made


def configured(folder: Path, group: str, more: str = "") -> Path:
    path = folder / "app.gcfg"
    path.write_text(f"[SQLite]\nFile = {folder}/app.db\n[Server]\nGroup = {group}\n{more}")
    return path


def as_nobody(arguments: Sequence[str | Path], groups: Sequence[int] = ()) -> Run:
    """The command in a process of the user nobody, for whom the interpreter need not be readable:
    all that it needs is loaded before."""
    assert tableferry.access
    assert tableferry.settings
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        os.setgroups(groups)
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        code = 99
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(str(error.code))
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    return Run(os.waitstatus_to_exitcode(status), "", said)


@only_root
@pytest.mark.parametrize("what", ["database", "plan", "verify"])
def test_others_are_refused(folder: Path, what: str) -> None:
    config = configured(folder, DAEMON.gr_name)
    words = ["database", "--verify"] if what == "verify" else [what]
    run = as_nobody([*words, "--config", config])
    assert run.code == 3, run.err
    assert f"Only root and members of the group {DAEMON.gr_name} may run this." in run.err
    assert f"{config}, line 4" in run.err
    assert len(run.err.splitlines()) == 2


@only_root
def test_members_are_not(folder: Path) -> None:
    """They come as far as the database, which is not configured."""
    own = grp.getgrgid(NOBODY.pw_gid).gr_name
    for group, more in ((own, []), (DAEMON.gr_name, [DAEMON.gr_gid])):
        run = as_nobody(["database", "--config", configured(folder, group)], more)
        assert run.code == 2, run.err
        assert "[Postgres] URL is not set" in run.err


@only_root
def test_nor_is_root(folder: Path) -> None:
    run = command("database", "--config", str(configured(folder, DAEMON.gr_name)))
    assert run.code == 2
    assert "[Postgres] URL is not set" in run.err


def test_a_group_that_there_is_not(folder: Path) -> None:
    config = configured(folder, "no-such-group")
    for word in ("database", "plan"):
        run = command(word, "--config", str(config))
        assert run.code == 2, run.err
        assert f"{config}, line 4, key Group: this system has no group no-such-group" in run.err
    assert command("database", "--config", str(config), "--help").code == 0


def test_from_python(folder: Path) -> None:
    config = configured(folder, "no-such-group")
    for call in (tableferry.migrate, tableferry.verify):
        with pytest.raises(UsageError, match="no-such-group"):
            call("sqlite3", "pgx", config=config)


def test_a_password_that_all_may_read(any_database: Server, folder: Path) -> None:
    own = grp.getgrgid(os.getegid()).gr_name
    url = any_database.url_without_password
    config = configured(
        folder, own, f'[Postgres]\nURL = "{url}"\nPassword = "{any_database.password}"\n'
    )
    arguments = ("--config", str(config), "--report", "-")
    for mode, open_to_all in ((0o644, True), (0o640, False)):
        config.chmod(mode)
        plan = command("plan", *arguments, env=environment())
        run = command("database", "--drop-all", *arguments, env=environment())
        quiet = command("database", "--verify", "--quiet", *arguments, env=environment())
        for each in (plan, run, quiet):
            assert each.code == 0, each.err
            assert any_database.password not in each.out + each.err
        risk = f"{config}, line 7: key Password holds a password"
        assert (risk in plan.err, risk in run.err, quiet.err) == (open_to_all, open_to_all, "")
        told = [
            json.loads(plan.out)["risks"],
            json.loads(run.out)["warnings"],
            json.loads(quiet.out)["warnings"],
        ]
        for sentences in told:
            found = [s for s in sentences if s.startswith(risk) and f"chmod o-r {config}" in s]
            assert len(found) == open_to_all
