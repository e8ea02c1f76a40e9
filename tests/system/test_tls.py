"""libpq's TLS settings, in a URL and in the environment, against a server with TLS and a private
authority. A run opens sessions through two drivers, each with a libpq of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    Run,
    command,
    environment,
    numbers_file,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    with_report,
)

HOST = "db.example.test"
# All of 127.0.0.0/8 is this machine; the port is the same as every server's.
ADDRESS = f"127.83.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
KEY_PASSWORD = "the key's 100%"


@dataclass(frozen=True, slots=True)
class Secured:
    """A server, and a folder with what a client needs: ca.crt, other.crt, and certificate and key
    of the role "certified": client.crt, client.key and, with a password, locked.key."""

    server: Server
    folder: Path

    def url(self, *, user: str = "postgres", host: str = HOST, **parameters: str) -> str:
        given = {"hostaddr": ADDRESS, **parameters}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())
        return f"postgresql://{user}@{host}:{self.server.port}/{self.server.name}?{query}"

    def path(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def env(self) -> dict[str, str]:
        return environment(**{PASSWORD_VARIABLE: self.server.password})


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def certificates(folder: Path) -> None:
    new = ("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    for authority in ("ca", "other"):
        files = ("-keyout", f"{authority}.key", "-out", f"{authority}.crt")
        openssl(folder, *new, "-x509", "-days", "2", "-subj", f"/CN={authority}", *files)
    for name, subject in (("server", HOST), ("client", "certified")):
        asked = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl(folder, *new, "-subj", f"/CN={subject}", *asked)
        (folder / "extensions").write_text(f"subjectAltName=DNS:{subject}\n")
        signed_by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        given = ("-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "extensions")
        openssl(folder, "x509", "-req", *signed_by, *given)
    locking = ("-in", "client.key", "-out", "locked.key", "-aes256")
    openssl(folder, "ec", *locking, "-passout", f"pass:{KEY_PASSWORD}")
    for key in folder.glob("*.key"):
        key.chmod(0o600)


@pytest.fixture(scope="module", params=servers.SYSTEM_NAMES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    certificates(folder)
    with servers.listening(request.param, ADDRESS) as server:
        data = Path(str(server.rows("SHOW data_directory")[0][0]))
        owner = data.stat()
        for name in ("server.crt", "server.key", "ca.crt"):
            (data / name).write_bytes((folder / name).read_bytes())
            (data / name).chmod(0o600)
            os.chown(data / name, owner.st_uid, owner.st_gid)
        (data / "pg_hba.conf").write_text(
            "local all all scram-sha-256\n"
            "hostssl all certified 127.0.0.0/8 cert\n"
            "hostssl all all 127.0.0.0/8 scram-sha-256\n"
        )
        server.run(
            "CREATE ROLE certified SUPERUSER LOGIN",
            "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        )
        yield Secured(server, folder)


@pytest.fixture
def secured(running: Secured) -> Iterator[Secured]:
    with servers.fresh_database(running.server) as database:
        yield Secured(database, running.folder)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / "a.db", "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)")


def there_and_back(source: Path, url: str, env: dict[str, str], tmp_path: Path) -> Run:
    there = with_report("--from", sqlite_url(source), "--to", url, "--workers", "2", env=env)
    if there.code == 0:
        assert there.report["status"] == "verified"
        back = tmp_path / "back.db"
        run = command(
            *("database", "--from", url, "--to", sqlite_url(back), "--workers", "2"), env=env
        )
        assert run.code == 0, run.err
        for (table,) in sqlite_rows(source, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
            query = f"SELECT * FROM {table} ORDER BY 1"
            assert sqlite_rows(back, query) == sqlite_rows(source, query)
    return there


def test_a_private_authority_in_the_url(secured: Secured, tmp_path: Path) -> None:
    url = secured.url(sslmode="verify-full", sslrootcert=secured.path("ca.crt"))
    run = there_and_back(numbers_file(tmp_path / "n.db", 60_000, 80), url, secured.env, tmp_path)
    assert run.code == 0, run.err


def test_a_private_authority_in_the_environment(secured: Secured, tmp_path: Path) -> None:
    env = secured.env | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": secured.path("ca.crt")}
    source = numbers_file(tmp_path / "n.db", 60_000, 80)
    run = there_and_back(source, secured.url(), env, tmp_path)
    assert run.code == 0, run.err
    wrong = env | {"PGSSLROOTCERT": secured.path("other.crt")}
    run = command("database", "--from", sqlite_url(source), "--to", secured.url(), env=wrong)
    assert run.code == 3, run.err
    assert "certificate verify failed" in run.err


@pytest.mark.parametrize("flags", [(), ("--verify",), ("--abort",)], ids=str)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sslrootcert": "other.crt"}, ["certificate verify failed", "Check that sslrootcert"]),
        ({"host": "other.test"}, [f'"{HOST}" does not match host name "other.test"', "Name the"]),
        ({"sslrootcert": "nowhere.crt"}, ["root certificate file", "Check sslrootcert"]),
        ({"sslmode": "disable"}, ["no pg_hba.conf entry", "no encryption"]),
        ({"sslcert": "client.crt", "sslkey": "other.key"}, ["key", "sslkey"]),
    ],
    ids=["authority", "host", "no such authority", "no encryption", "another's key"],
)
def test_what_is_not_trusted(
    secured: Secured, source: Path, changes: dict[str, str], said: list[str], flags: tuple[str, ...]
) -> None:
    files = {k: v if k == "sslmode" else secured.path(v) for k, v in changes.items() if k != "host"}
    parameters = {"sslmode": "verify-full", "sslrootcert": secured.path("ca.crt")} | files
    url = secured.url(host=changes.get("host", HOST), **parameters)

    run = command("database", "--from", sqlite_url(source), "--to", url, *flags, env=secured.env)

    assert run.code == 3, run.err
    for words in said:
        assert words in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize("key", ["client.key", "locked.key"])
def test_a_certificate_instead_of_a_password(
    secured: Secured, source: Path, tmp_path: Path, key: str
) -> None:
    more = {"sslpassword": KEY_PASSWORD} if key == "locked.key" else {}
    url = secured.url(
        user="certified",
        sslmode="verify-full",
        sslrootcert=secured.path("ca.crt"),
        sslcert=secured.path("client.crt"),
        sslkey=secured.path(key),
        **more,
    )
    run = there_and_back(source, url, environment(), tmp_path)
    assert run.code == 0, run.err
    assert KEY_PASSWORD not in run.err + str(run.report)


def test_a_key_that_stays_locked(secured: Secured, source: Path) -> None:
    url = secured.url(
        user="certified",
        sslmode="verify-full",
        sslrootcert=secured.path("ca.crt"),
        sslcert=secured.path("client.crt"),
        sslkey=secured.path("locked.key"),
        sslpassword="not it",
    )
    run = command("database", "--from", sqlite_url(source), "--to", url, env=environment())
    assert run.code == 3, run.err
    assert "Check sslkey" in run.err
    assert "not it" not in run.err


def test_a_server_without_tls(any_database: Server, source: Path) -> None:
    """A Unix socket has none, and libpq does not ask there; nor does it where no one answers."""
    url = f"{any_database.url_without_password}&sslmode=disable"
    env = environment(**{PASSWORD_VARIABLE: any_database.password})
    run = command("database", "--from", sqlite_url(source), "--to", url, env=env)
    assert run.code == 0, run.err
