"""Any text as a database URL; and any parts, put together as one.

Nothing but UsageError may come of a URL, and it never repeats it. What libpq and we both
understand, we understand alike, with libpq itself as the judge. No password of a URL, however it is
written, is in what an address shows of itself.

An input is lines: a URL, then a user, a password, a host, a database and parameters.
"""

from __future__ import annotations

import pickle
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tableferry.addresses import (
    DatabaseAddress,
    EmbeddedServer,
    PostgresServer,
    SqliteFile,
    parse_url,
)
from tableferry.errors import UsageError
from tableferry.redaction import MASK, redact, secrets_of

# Around a password: then it is seen wherever a part of it is.
MARK = "S3CR3T"


def check(data: bytes) -> None:
    """Raises AssertionError for a URL that means something else, or a password that shows."""
    lines = [line.decode("utf-8", "replace") for line in data.split(b"\n")] + [""] * 6
    url, user, password, host, database, parameters = lines[:6]
    _check_any(url)
    _check_path(database)
    marked = f"{MARK}{password}{MARK}"
    if {"/", "?", ":", "@", "&"} & {*user, *host.rpartition(":")[0], *database}:
        # What is a password there is a matter of opinion.
        return
    if {"/", "?", "@", "&"} & {*host}:
        return
    raw = [] if {"/", "?"} & {*password} else [marked]
    for written in (*raw, quote(marked, safe="")):
        for scheme in ("postgresql", "postgres", "mysql"):
            _check_hidden(f"{scheme}://{user}:{written}@{host}/{database}?{parameters}", marked)
    _check_hidden(f"postgresql://{user}@{host}/{database}?password={quote(marked)}", marked)


def _check_any(url: str) -> None:
    address = _outcome(url)
    if isinstance(address, UsageError):
        assert address.hint
        return
    assert pickle.loads(pickle.dumps(address)) == address
    if isinstance(address, PostgresServer):
        _check_as_libpq(url, address)
        again = parse_url(address.connection_url)
        assert isinstance(again, PostgresServer)
        assert _parsed(again.connection_url) == _parsed(address.connection_url)
        assert again.schema == address.schema


def _outcome(url: str) -> DatabaseAddress | UsageError:
    try:
        return parse_url(url)
    except UsageError as error:
        return error


def _check_as_libpq(url: str, address: PostgresServer) -> None:
    # Of several @, libpq takes the first one. It reads no search_path, and of what stands behind a
    # colon without a slash nothing but a port.
    if url.count("@") > 1 or "search_path" in url or "\0" in url:
        return
    theirs = _parsed(url.partition(":")[0].lower() + ":" + url.partition(":")[2])
    ours = _parsed(address.connection_url)
    if theirs is not None:
        assert ours is not None, "libpq refuses what we have made of it"
        assert _without_empty(ours) == _without_empty(theirs)


def _parsed(url: str) -> dict[str, str] | None:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (psycopg.Error, UnicodeError):
        return None


def _without_empty(parameters: dict[str, str]) -> dict[str, str]:
    # Of blanks that are not encoded, libpq takes some away; we keep them in a user and a password.
    return {n: v.strip(" ") for n, v in parameters.items() if v.strip(" ")}


def _check_hidden(url: str, password: str) -> None:
    secrets = secrets_of(["database", "--to", url])
    assert MARK not in redact(f"This cannot be understood: {url}", secrets).replace(MASK, "")
    address = _outcome(url)
    if isinstance(address, UsageError):
        assert MARK not in str(address)
        return
    assert MARK not in str(address) + repr(address) + address.label
    if isinstance(address, PostgresServer):
        assert MARK not in address.url
        if address.password is not None:
            said = redact(f"no: {address.connection_url}", address.secrets)
            assert address.password not in said or address.password in f"no: {address.url}{MASK}"


def _check_path(name: str) -> None:
    if not name or "\0" in name or name == ":memory:":
        return
    for scheme, kind in (("sqlite", SqliteFile), ("embedded", EmbeddedServer)):
        address = parse_url(f"{scheme}:{quote(name, safe='')}")
        assert isinstance(address, kind)
        path = address.path if isinstance(address, SqliteFile) else address.directory
        # Slashes at the beginning, and double ones, are the file system's own matter.
        assert [p for p in str(path).split("/") if p not in ("", ".")] == [
            p for p in name.split("/") if p not in ("", ".")
        ]
