"""Odd passwords in every place that takes one, in runs that fail in every way: none of them shows
in what is printed, in a report, in the log, in an exception, or in the ledger."""

from __future__ import annotations

import html
import itertools
import json
import os
import pickle
import signal
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from tests.servers import Server
from tests.system.support import (
    PASSWORD_VARIABLE,
    children,
    command_line,
    end,
    environ_of,
    environment,
    password,
    sqlite_file,
    sqlite_url,
    start,
    wait_until,
)

import tableferry
from tableferry import cli
from tableferry.errors import TableferryError

ODD = [
    "geh@eim",
    """it's 'so' "odd": p/a?s#s&w=o;r\\d\\\\""",
    "100%sure%41%zz",
    "with space pässwörd☃🦆",
    "<script>alert(1)</script>",
    "new\nline",
]


def spellings(secret: str) -> set[str]:
    escaped = json.dumps(secret)[1:-1]
    once = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), escaped}
    return {
        *once,
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        html.escape(secret),
        secret.replace("'", "''"),
        secret.replace("\n", " "),
        *map(html.escape, once),
    }


def assert_hidden(secret: str, *texts: str) -> None:
    for text in texts:
        for spelled in spellings(secret):
            assert spelled not in text, text


_KINDS = ("report.json", "report.html")
_numbers = itertools.count()


class Place:
    """A folder with a source, and what a command leaves there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.source = sqlite_file(
            folder / "source.db", "CREATE TABLE t (a); INSERT INTO t VALUES (1)"
        )
        self._capsys = capsys
        # Each test begins with another one.
        self._reports = itertools.cycle(_KINDS if next(_numbers) % 2 else _KINDS[::-1])

    def run(self, secret: str, *arguments: str, code: int) -> str:
        """Runs the command in this process, with either kind of report, one after the other;
        answers what it said after a search for the secret."""
        report = next(self._reports)
        written = [self.folder / name for name in (report, "run.log")]
        for path in written:
            path.unlink(missing_ok=True)
        flags = ("--report", str(written[0]), "--log", str(written[1]), "--verbose")
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *flags])
        out, err = self._capsys.readouterr()
        assert_hidden(secret, out, err, *(p.read_text() for p in written if p.exists()))
        assert ended.value.code == code, err
        return out + err


@pytest.fixture
def place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    for name in list(os.environ):
        if name.startswith(("PG", "TABLEFERRY", "PACKAGEMANAGER")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield Place(tmp_path, capsys)
    signal.signal(signal.SIGTERM, before)


def with_password(url: str, secret: str) -> str:
    return url.replace("postgres@", f"postgres:{quote(secret, safe='')}@")


@pytest.mark.parametrize("secret", ODD)
@pytest.mark.parametrize("where", ["url", "parameter", "variable", "PGPASSWORD", "pgpass", "file"])
def test_a_wrong_password(
    any_database: Server, place: Place, monkeypatch: pytest.MonkeyPatch, where: str, secret: str
) -> None:
    url = any_database.url_without_password
    arguments = ["database", "--from", sqlite_url(place.source)]
    match where:
        case "url":
            to = with_password(url, secret)
        case "parameter":
            to = f"{url}&password={quote(secret, safe='')}"
        case "variable" | "PGPASSWORD":
            monkeypatch.setenv(PASSWORD_VARIABLE if where == "variable" else where, secret)
            to = url
        case "pgpass":
            escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
            passfile = place.folder / "passwords"
            passfile.write_text(f"*:*:*:postgres:{escaped}\n")
            passfile.chmod(0o600)
            monkeypatch.setenv("PGPASSFILE", str(passfile))
            to = url
        case _:
            escaped = secret.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            config = place.folder / "the.gcfg"
            config.write_text(f'[Postgres]\nURL = "{url}"\nPassword = "{escaped}"\n')
            config.chmod(0o600)
            arguments += ["--config", str(config)]
            to = "pgx"
    said = place.run(secret, *arguments, "--to", to, code=3)
    assert "password authentication failed" in said or where == "pgpass"


@pytest.mark.parametrize("secret", ODD)
def test_places_that_are_not_there(any_database: Server, place: Place, secret: str) -> None:
    source = ("database", "--from", sqlite_url(place.source))
    right = any_database.url
    for code, url in [
        (3, with_password("postgresql://postgres@127.0.0.1:1/shop", secret)),
        (3, with_password("postgresql://postgres@no.such.host.invalid/shop", secret)),
        (3, with_password("postgresql://postgres@/shop?host=/no/such", secret)),
        (3, f"{right}&no_such_parameter=1&sslpassword={quote(secret, safe='')}"),
        (3, f"{right}&connect_timeout=%zz&sslpassword={quote(secret, safe='')}"),
        (3, f"{right}&channel_binding=never&sslpassword={quote(secret, safe='')}"),
    ]:
        for flag in ("--yes", "--verify", "--abort"):
            place.run(secret, *source, "--to", url, flag, code=code)


@pytest.mark.parametrize("secret", ODD)
def test_urls_that_cannot_be_understood(place: Place, secret: str) -> None:
    """Typed as it is: nothing is encoded."""
    source = ("database", "--from", sqlite_url(place.source))
    url = f"postgresql://postgres:{secret}@host/shop"
    for arguments in [
        (*source, "--to", f"postgresql://postgres:{secret}@h:1:2/shop"),
        (*source, "--to", f"mysql://root:{secret}@host/shop"),
        (*source, "--to", f"postgresql:/postgres:{secret}@host/shop"),
        (*source, f"--to=postgresql://postgres:{secret}@[host/shop"),
        (*source, url),
        ("database", "--from", url, "--to", url, "--to", url),
        (url,),
        (*source, "--workers", url),
        (*source, "--misfit", url),
        (*source, f"--{url}"),
        (*source, f"--verify={url}"),
        ("help", url),
        (*source, "--cast", url, "--to", f"sqlite:{place.folder}/x.db"),
        (*source, "--tables", url, "--to", f"sqlite:{place.folder}/x.db"),
        (*source, "--config", url, "--to", "pgx"),
        (*source, "--to", f"sqlite:{place.folder}/x.db", "--sample", url),
    ]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        assert ended.value.code in (2, 3), arguments
        assert_hidden(secret, *place._capsys.readouterr())


@pytest.mark.parametrize("secret", [each for each in ODD if "\n" not in each])
def test_configuration_files_that_are_wrong(place: Place, secret: str) -> None:
    for text in [
        f"[Postgres]\nURL = postgresql://postgres:{secret}@h:1:2/shop\n",
        f"[Postgres]\nURL = mysql://postgres:{secret}@host/shop\n",
        f"[Postgres]\nURL = sqlite:{secret}\n",
        f'[Postgres]\nURL = "postgresql://host/x"\nPassword = "{secret}\n',
        f"[Postgres]\nURL = postgresql://127.0.0.1:1/x\nPassword {secret}\n",
        f"[Postgres]\nURL = postgresql://127.0.0.1:1/x\nPasswort = {secret}\n",
        f"[Database]\nProvider = {secret}\n",
        f"[Postgres]\nPassword = {secret}\n",
    ]:
        config = place.folder / "the.gcfg"
        config.write_text(text)
        arguments = ("database", "--from", sqlite_url(place.source), "--to", "pgx")
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, "--config", str(config)])
        assert ended.value.code in (2, 3)
        assert_hidden(secret, *place._capsys.readouterr())


def test_a_password_of_one_letter(any_database: Server, place: Place) -> None:
    said = place.run(
        "no such words",
        *("database", "--from", sqlite_url(place.source)),
        *("--to", with_password(any_database.url_without_password, "a")),
        code=3,
    )
    assert "p***ssword ***uthentic***tion f***iled" in said
    assert "postgres:a@" not in said


@pytest.mark.parametrize("secret", ODD)
def test_exceptions(any_database: Server, place: Place, secret: str) -> None:
    source = sqlite_url(place.source)
    for url in (
        with_password(any_database.url_without_password, secret),
        with_password("postgresql://postgres@127.0.0.1:1/shop", secret),
        f"postgresql://postgres:{secret}@h:1:2/shop",
        f"{any_database.url}&no_such_parameter=1&sslpassword={quote(secret, safe='')}",
    ):
        for call in (tableferry.migrate, tableferry.verify, tableferry.repair):
            with pytest.raises(TableferryError) as caught:
                call(source, url)
            error = caught.value
            again = pickle.loads(pickle.dumps(error))
            # Without the lines of source code, one of which is this test's.
            shown = traceback.format_exception_only(error)
            causes = [repr(each) for each in chain(error)]
            pickled = pickle.dumps(error, protocol=0).decode("latin-1")
            assert_hidden(
                secret, str(error), repr(error), repr(again.details), pickled, *shown, *causes
            )


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """What a traceback would show besides, and what lies behind that."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# ---- processes --------------------------------------------------------------------------------


@pytest.mark.parametrize("source_is_postgres", [False, True], ids=["to a server", "from a server"])
def test_processes_of_an_interrupted_run(
    any_database: Server, large: Path, tmp_path: Path, source_is_postgres: bool
) -> None:
    """The password stands in the environment under its usual names, under one of the user's own,
    and as a part of a URL there."""
    secret = "s3cret: it's 100%"
    any_database.run(
        "DROP ROLE IF EXISTS keeper",
        "CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '" + secret.replace("'", "''") + "'",
    )
    url = any_database.url_without_password.replace("postgres@", "keeper@")
    env = environment(
        **{PASSWORD_VARIABLE: secret, "PGPASSWORD": secret, "MY_OWN": secret},
        DATABASE_URL=url.replace("keeper@", f"keeper:{quote(secret, safe='')}@"),
        HOME=str(tmp_path),
    )
    log = tmp_path / "run.log"
    if source_is_postgres:
        done = start("database", "--from", sqlite_url(large), "--to", url, env=env)
        assert done.wait(timeout=120) == 0
        done.communicate()
        ends = ("--from", url, "--to", f"sqlite:{tmp_path}/back.db")
    else:
        ends = ("--from", sqlite_url(large), "--to", url)
    process = start("database", *ends, "--workers", "2", "--log", str(log), env=env)
    seen: dict[str, str] = {}

    def looked() -> bool:
        for pid, line in children(process.pid).items():
            # Between fork and exec a child is a copy of its parent.
            if line != command_line(process.pid):
                seen[line] = environ_of(pid)
        return log.exists() and '"copied"' in log.read_text()

    try:
        wait_until(looked, 60, "a range copied")
        ledger = "\n".join(
            str(any_database.rows(f"SELECT * FROM {name}"))
            for (name,) in any_database.rows(
                "SELECT tablename FROM pg_tables WHERE tablename LIKE 'tableferry%'"
            )
        )
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        end(process)
    assert process.returncode == 130, err
    assert sum("executors.serve" in line for line in seen) == 2
    staged = tmp_path / "back.db.tableferry"
    files = [staged.read_bytes().decode("latin-1")] if source_is_postgres else []
    assert (ledger != "") != source_is_postgres
    assert_hidden(secret, out, err, log.read_text(), ledger, *files, *seen, *seen.values())


def test_the_processes_of_an_embedded_server(tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "a.db", "CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    secret = "s3cret: it's 100%"
    process = start(
        *("database", "--from", sqlite_url(source), "--to", f"embedded:{tmp_path}/pg"),
        env=environment(**{PASSWORD_VARIABLE: secret, "MY_OWN": secret}),
    )
    seen: dict[str, str] = {}
    try:
        while process.poll() is None:
            for pid, line in children(process.pid).items():
                if line != command_line(process.pid):
                    seen[line] = environ_of(pid)
        out, err = process.communicate()
    finally:
        end(process)
    assert process.returncode == 0, err
    own = (tmp_path / "pg" / "pgpass").read_text().strip().rpartition(":")[2]
    assert any("postgres" in line for line in seen)
    for each in (secret, own):
        assert_hidden(each, out, err, *seen, *seen.values())
    for path in (tmp_path / "pg").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_files_of_a_run_are_its_owners_alone(
    any_database: Server, large: Path, tmp_path: Path
) -> None:
    """All that are seen on the way, whatever the umask: the file that is written, its journal,
    parts of tables, rejected rows, report and log."""
    done = start(
        "database",
        *("--from", sqlite_url(large), "--to", any_database.url_without_password),
        env=password(any_database),
    )
    assert done.wait(timeout=120) == 0, done.communicate()
    folder = tmp_path / "here"
    folder.mkdir(mode=0o755)
    process = start(
        "database",
        *("--from", any_database.url_without_password, "--to", f"sqlite:{folder}/new.db"),
        *("--workers", "2", "--log", f"{folder}/run.log", "--report", f"{folder}/report.html"),
        env=password(any_database),
        cwd=folder,
        umask=0,
    )
    modes: dict[str, int] = {}
    try:
        while process.poll() is None:
            # Files and folders come and go.
            with suppress(FileNotFoundError):
                for path in folder.rglob("*"):
                    modes[path.name if path.suffix != ".part" else ".part"] = path.stat().st_mode
        _, err = process.communicate()
    finally:
        end(process)
    assert process.returncode == 0, err
    modes |= {path.name: path.stat().st_mode for path in folder.rglob("*")}
    assert {"new.db", "new.db.tableferry", ".part", "run.log", "report.html"} <= set(modes)
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_rejected_rows_are_their_owners_alone(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "a.db", "CREATE TABLE t (a SMALLINT); INSERT INTO t VALUES (1), ('x')"
    )
    process = start(
        "database",
        *("--from", sqlite_url(source), "--to", any_database.url_without_password),
        *("--misfit", "reject"),
        env=password(any_database),
        cwd=tmp_path,
        umask=0,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    found = list((tmp_path / "tableferry-rejects").rglob("*"))
    assert found
    for path in (tmp_path / "tableferry-rejects", *found):
        assert path.stat().st_mode & 0o077 == 0, path
