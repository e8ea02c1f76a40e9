"""Where a database is: the addresses that a run works with, and the URLs that mean them.

Passwords live in fields that no representation, label or message shows. An address keeps its
password apart from its URL; ``PostgresServer.connection_url`` puts them together for the driver.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias
from urllib.parse import quote, unquote

from tableferry.errors import UsageError

SQLITE, POSTGRESQL = "sqlite", "postgresql"

PASSWORD_VARIABLE = "TABLEFERRY_POSTGRES_PASSWORD"

# How the name of a file ends that is written beside its target until everything is verified.
STAGED_ENDING = ".tableferry"

URL_FORMS = (
    "A database is a provider name (sqlite, pgx) or a URL: sqlite:///absolute/path.db, "
    "sqlite:relative.db, postgresql://user@host:port/database, embedded:DIRECTORY."
)


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A SQLite database; the file need not exist. A relative path is seen from where we run."""

    kind: ClassVar[str] = SQLITE
    path: Path

    @property
    def label(self) -> str:
        return f"SQLite file {self.path}"

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a PostgreSQL server.

    ``url`` is a libpq URI without any secret; ``schema`` is the first schema of the search path
    that the URL sets, None where it sets none. Where ``password`` is None, libpq looks into
    PGPASSWORD and the password file itself. ``password_from`` says in words where the password
    was found, for the message when the server refuses it.
    """

    kind: ClassVar[str] = POSTGRESQL
    url: str
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    hidden: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Other secrets that the URL held: (parameter, value), such as ``sslpassword``."""
    password_from: str = ""
    password_on_command_line: bool = False
    """The URL was an argument and held a password, which other users of the machine can see."""

    @property
    def label(self) -> str:
        place = self.url.partition("?")[0]
        return f"PostgreSQL {place}" + (f", schema {self.schema}" if self.schema else "")

    @property
    def connection_url(self) -> str:
        """The URI for the driver, secrets included: never shown, logged or passed on."""
        secrets = self.hidden + ((("password", self.password),) if self.password else ())
        return _with_query(self.url, [f"{name}={_encode(value)}" for name, value in secrets])

    @property
    def secrets(self) -> tuple[str, ...]:
        own = (self.password,) if self.password else ()
        return own + tuple(value for _, value in self.hidden)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A private PostgreSQL kept in a directory; it is made there when it does not exist."""

    kind: ClassVar[str] = "embedded"
    directory: Path

    @property
    def label(self) -> str:
        return f"embedded PostgreSQL in {self.directory}"

    def __str__(self) -> str:
        return self.label


DatabaseAddress: TypeAlias = SqliteFile | PostgresServer | EmbeddedServer


@dataclass(frozen=True, slots=True)
class Databases:
    """What ``--from`` or ``--to`` names: the main database and, if configured, the usage data."""

    main: DatabaseAddress
    usage: DatabaseAddress | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What has to be taken out of any text that a driver wrote (see ``redaction``)."""
        servers = [each for each in (self.main, self.usage) if isinstance(each, PostgresServer)]
        return tuple(secret for server in servers for secret in server.secrets)


def parse_url(text: str) -> DatabaseAddress:
    """The address that a URL means; raises UsageError, whose message never repeats the URL.

    ``sqlite:///absolute/path.db``, ``sqlite:relative.db`` (percent-encoded where a name holds
    %, ? or #), ``postgresql://…`` and ``postgres://…`` (as libpq reads them, with
    ``search_path=S`` besides), ``embedded:DIRECTORY``.
    """
    scheme, colon, rest = text.partition(":")
    match scheme.casefold() if colon else "":
        case "sqlite":
            return SqliteFile(_file_path("sqlite", rest))
        case "embedded":
            return EmbeddedServer(_file_path("embedded", rest))
        case "postgresql" | "postgres" if rest.startswith("//"):
            return _postgres_server(rest.removeprefix("//"))
    raise UsageError("this is neither a provider name nor a database URL", hint=URL_FORMS)


def _file_path(scheme: str, rest: str) -> Path:
    if rest.startswith("//") and not rest.startswith("///"):
        raise UsageError(
            f"a {scheme} URL with two slashes names a host, and a file has none",
            hint=f"Write {scheme}:relative/path or {scheme}:///absolute/path.",
        )
    if "?" in rest or "#" in rest:
        raise UsageError(
            f"a {scheme} URL takes no parameters",
            hint="If the name of the file holds ? or #, write %3F or %23.",
        )
    # File names are bytes; those that are not valid text survive as Python keeps them elsewhere.
    path = unquote(rest, encoding=sys.getfilesystemencoding(), errors="surrogateescape")
    path = re.sub(r"\A/{3,}", "/", path)
    if not path or "\0" in path or path == ":memory:":
        raise UsageError(
            f"a {scheme} URL has to name a path",
            hint=f"Write {scheme}:relative/path or {scheme}:///absolute/path.",
        )
    return Path(path)


_HOST = r"(?:\[[^\]]*\]|[^:,\[\]]*)(?::\d*)?"
_HOSTS = re.compile(f"{_HOST}(?:,{_HOST})*")
# sslpassword, oauth_client_secret, and what somebody has misspelled.
_SECRET_PARAMETER = re.compile("password|secret", re.IGNORECASE)


def _postgres_server(rest: str) -> PostgresServer:
    userinfo, at, rest = _userinfo(rest)
    place, _, query = rest.partition("?")
    hosts, slash, database = place.partition("/")
    user, _, password = userinfo.partition(":")
    parameters = [each.partition("=") for each in query.split("&") if each]
    if (
        not _HOSTS.fullmatch(hosts)
        or "@" in database
        or not all(separator for _, separator, _ in parameters)
    ):
        raise UsageError(
            "this PostgreSQL URL cannot be taken apart into user, host, port and database",
            hint="Write postgresql://user@host:port/database. A password in it needs %40 for @, "
            "%2F for /, %3F for ? and %25 for %; better, leave it out and set "
            f"{PASSWORD_VARIABLE}.",
        )
    values = {name: _decode(value) for name, _, value in parameters}
    options = _with_search_path(values.get("options", ""), values.get("search_path"))
    secret = values.get("password", _decode(password))
    taken = {"options", "search_path", "password"}
    hidden = tuple(
        (name, value)
        for name, value in values.items()
        if name not in taken and _SECRET_PARAMETER.search(name)
    )
    taken.update(name for name, _ in hidden)
    kept = [f"{name}={value}" for name, _, value in parameters if name not in taken]
    kept += [f"options={_encode(options)}"] if options else []
    url = f"postgresql://{_encode(_decode(user))}{at}{hosts}{slash}{database}"
    return PostgresServer(
        url=_with_query(url, kept),
        password=secret or None,
        schema=_first_schema(_search_path(options)),
        hidden=hidden,
        password_from="the URL" if secret else "",
        password_on_command_line=bool(secret or hidden),
    )


def _userinfo(rest: str) -> tuple[str, str, str]:
    """What stands before the host, the @, and the rest. As in libpq, any @ before the first slash
    ends it, and a question mark before that one is a password's. But of several the last, not the
    first: a password that holds a raw @ is then understood, and no part of it ends up in the host
    that labels show. Host names hold no @."""
    head = rest.partition("/")[0]
    first = head.find("@")
    if first < 0:
        return "", "", rest
    end = head.find("?", first)
    userinfo = head[: end if end >= 0 else None].rpartition("@")[0]
    return userinfo, "@", rest[len(userinfo) + 1 :]


def _with_search_path(options: str, search_path: str | None) -> str:
    """libpq has no parameter ``search_path`` and refuses it; the server takes it as an option."""
    if search_path is None:
        return options
    escaped = re.sub(r"([\s\\])", r"\\\1", search_path)
    return f"{options} -csearch_path={escaped}".lstrip()


def _with_query(url: str, parameters: list[str]) -> str:
    if not parameters:
        return url
    return url + ("&" if "?" in url else "?") + "&".join(parameters)


def _encode(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")


def _decode(text: str) -> str:
    # Bytes that are not UTF-8 survive, so that _encode gives the same bytes back. A plus sign is
    # a plus sign in a libpq URI.
    return unquote(text, errors="surrogateescape")


def _search_path(options: str) -> str:
    """The search path that server options set, the last one if several do; "" for none.

    Arguments are split at blanks, and a backslash keeps the next character, as the server does
    it (libpq's documentation, "options"); ``-c name=value`` and ``--name=value`` are the same.
    """
    found = ""
    for option in re.finditer(
        r"(?<!\S)(?:-c\s*|--)(?i:search[_-]path)=((?:\\.|[^\s\\])*)", options, re.DOTALL
    ):
        found = re.sub(r"\\(.)", r"\1", option[1], flags=re.DOTALL)
    return found


def _first_schema(search_path: str) -> str | None:
    """The first schema of a search path by name, as the server folds it: quoted names keep
    their case. ``"$user"`` is passed over, since it is rarely there and names no schema."""
    for quoted, plain in re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', search_path):
        name: str = quoted.replace('""', '"') if quoted else plain.lower()
        if name and name != "$user":
            return name
    return None
