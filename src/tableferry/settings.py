"""What the configuration file and the environment say, and which databases a name or URL means.

``load`` reads the file into ``Settings``; ``resolve`` turns what stood after ``--from`` or
``--to`` into addresses. Both run before a connection or a lock is taken.

Passwords live in fields that no representation, label or message shows. An address keeps its
password apart from its URL; ``PostgresServer.connection_url`` puts them together for the driver.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, TypeAlias
from urllib.parse import quote, unquote

from tableferry import gcfg
from tableferry.errors import ConfigurationError, UsageError

DEFAULT_CONFIGURATION = Path("/etc/rstudio-pm/rstudio-pm.gcfg")
DEFAULT_DATA_DIR = Path("/var/lib/rstudio-pm")
"""Where the application keeps its data when ``[Server] DataDir`` is not set."""

KNOWN_KEYS: Mapping[str, tuple[str, ...]] = {
    "Server": ("DataDir", "Group"),
    "Database": ("Provider",),
    "SQLite": ("Dir", "File", "UsageFile"),
    "Postgres": ("URL", "Password", "UsageDataURL", "UsageDataPassword"),
}
CAST_SECTION = "Cast"
"""Reserved for cast rules, so any key is known there."""

SQLITE, POSTGRESQL = "sqlite", "postgresql"
PROVIDERS: Mapping[str, str] = {
    "sqlite": SQLITE,
    "sqlite3": SQLITE,
    "pgx": POSTGRESQL,
    "postgres": POSTGRESQL,
    "postgresql": POSTGRESQL,
}

SQLITE_MAGIC = b"SQLite format 3\0"
"""The first 16 bytes of every SQLite database (https://www.sqlite.org/fileformat.html, 1.3)."""

_PASSWORD_VARIABLES = ("TABLEFERRY_POSTGRES_PASSWORD", "PACKAGEMANAGER_POSTGRES_PASSWORD")
_USAGE_PASSWORD_VARIABLES = (
    "TABLEFERRY_POSTGRES_USAGEDATAPASSWORD",
    "PACKAGEMANAGER_POSTGRES_USAGEDATAPASSWORD",
)

_URL_FORMS = (
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


@dataclass(frozen=True, slots=True)
class Secret:
    """A password and, in words, where it was found."""

    value: str = field(repr=False)
    origin: str


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """``[SQLite]``. ``file`` and ``usage_file`` are None where they are to be looked for."""

    directory: Path = DEFAULT_DATA_DIR / "db"
    file: Path | None = None
    usage_file: Path | None = None


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """``[Postgres]``: the addresses as the file gives them, and the passwords that overrule
    the ones in the URLs."""

    main: PostgresServer | None = None
    usage: PostgresServer | None = None
    password: Secret | None = None
    usage_password: Secret | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, with every default filled in.

    ``unavailable`` is why the default file could not be read, or "". It becomes an error only
    when something has to be looked up: with two URLs no file is needed.
    """

    path: Path = DEFAULT_CONFIGURATION
    unavailable: str = ""
    data_dir: Path = DEFAULT_DATA_DIR
    group: str | None = None
    """Who may run this: a group's name; None lets anyone who can read the file."""
    provider: str | None = None
    """The database that the application itself uses now: "sqlite", "postgresql" or None."""
    sqlite: SqliteSettings = SqliteSettings()
    postgres: PostgresSettings = PostgresSettings()
    environment_password: Secret | None = None
    """The password that the environment holds for any PostgreSQL server given as a URL."""
    casts: tuple[gcfg.Entry, ...] = ()
    """``[Cast]`` as it stands, for whoever reads cast rules."""
    warnings: tuple[str, ...] = ()
    """What a person should hear, one sentence each: unknown keys, a file open to others."""


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of a configuration file; None stands for the default one, which may be missing.

    Raises ConfigurationError for a file given by name that cannot be read, and for any file that
    can be read and is wrong.
    """
    chosen = path or DEFAULT_CONFIGURATION
    if path is None and not os.access(chosen, os.R_OK):
        why = "cannot be read" if _exists(chosen) else "does not exist"
        password = _from_environment(environ, _PASSWORD_VARIABLES)
        return Settings(path=chosen, unavailable=why, environment_password=password)
    document = gcfg.read(chosen)
    settings = interpret(document, environ)
    return replace(settings, warnings=settings.warnings + _open_to_others(chosen, document))


def interpret(document: gcfg.Document, environ: Mapping[str, str]) -> Settings:
    """The settings of a document that was read.

    Relative paths follow what holds them: ``DataDir`` the folder of the configuration file,
    ``Dir`` the ``DataDir``, ``File`` and ``UsageFile`` the ``Dir``.
    """
    path = Path(document.filename)
    data_dir = _path(document, "Server", "DataDir", path.parent) or DEFAULT_DATA_DIR
    return Settings(
        path=path,
        data_dir=data_dir,
        group=_text(document, "Server", "Group"),
        provider=_provider(document),
        sqlite=_sqlite_settings(document, data_dir),
        postgres=_postgres_settings(document, environ),
        environment_password=_from_environment(environ, _PASSWORD_VARIABLES),
        casts=document.entries(CAST_SECTION),
        warnings=_unknown(document),
    )


def resolve(settings: Settings, name_or_url: str) -> Databases:
    """The databases that a provider name or a URL means.

    May look into the SQLite files of ``[SQLite] Dir``, so it has to run before the process opens
    a database: closing a plain file drops the locks that SQLite holds on it in this process.

    Raises UsageError for what is neither name nor URL; ConfigurationError where a name is looked
    up and the configuration does not answer.
    """
    provider = PROVIDERS.get(name_or_url.casefold())
    if provider is None:
        return Databases(_address_from_argument(settings, name_or_url))
    if settings.unavailable:
        raise ConfigurationError(
            f"{settings.path}: the configuration file {settings.unavailable}, and it is needed "
            f"to look up {name_or_url}",
            hint="Name a file with --config, or give the database as a URL.",
            file=str(settings.path),
        )
    found = _sqlite_databases(settings) if provider == SQLITE else _postgres_databases(settings)
    if found.usage is not None and _place(found.main) == _place(found.usage):
        raise ConfigurationError(
            f"{settings.path}: the main and the usage database are both {found.main}",
            hint="Give the usage data a database or schema of its own, or remove its key.",
            file=str(settings.path),
        )
    return found


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
    raise UsageError("this is neither a provider name nor a database URL", hint=_URL_FORMS)


# ---- URLs -------------------------------------------------------------------------------------


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
_SECRET_PARAMETERS = ("sslpassword", "oauth_client_secret")


def _postgres_server(rest: str) -> PostgresServer:
    place, _, query = rest.partition("?")
    authority, slash, database = place.partition("/")
    # The last @, not the first as in libpq: a password that holds a raw @ is then understood,
    # and no part of it ends up in the host that labels show. Host names hold no @.
    userinfo, at, hosts = authority.rpartition("@")
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
            f"{_PASSWORD_VARIABLES[0]}.",
        )
    values = {name: _decode(value) for name, _, value in parameters}
    options = _with_search_path(values.get("options", ""), values.get("search_path"))
    secret = values.get("password", _decode(password))
    hidden = tuple((name, values[name]) for name in _SECRET_PARAMETERS if name in values)
    taken = {"options", "search_path", "password", *_SECRET_PARAMETERS}
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


# ---- the configuration file -------------------------------------------------------------------


def _entry(document: gcfg.Document, section: str, key: str) -> gcfg.Entry | None:
    """A key's last entry; None if it is missing or empty, which means the default."""
    entry = document.get(section, key)
    if entry is None or not (entry.value or entry.bare):
        return None
    if entry.bare:
        raise _wrong(document, entry, "the key has no value", f"Write {entry.key} = value.")
    return entry


def _text(document: gcfg.Document, section: str, key: str) -> str | None:
    entry = _entry(document, section, key)
    return entry.value if entry else None


def _path(document: gcfg.Document, section: str, key: str, base: Path) -> Path | None:
    text = _text(document, section, key)
    return base / text if text else None


def _provider(document: gcfg.Document) -> str | None:
    entry = _entry(document, "Database", "Provider")
    if entry is None:
        return None
    provider = PROVIDERS.get(entry.value.casefold())
    if provider is None:
        raise _wrong(
            document, entry, "there is no such provider", "Write Provider = sqlite or postgres."
        )
    return provider


def _sqlite_settings(document: gcfg.Document, data_dir: Path) -> SqliteSettings:
    directory = _path(document, "SQLite", "Dir", data_dir) or data_dir / "db"
    return SqliteSettings(
        directory=directory,
        file=_path(document, "SQLite", "File", directory),
        usage_file=_path(document, "SQLite", "UsageFile", directory),
    )


def _postgres_settings(document: gcfg.Document, environ: Mapping[str, str]) -> PostgresSettings:
    return PostgresSettings(
        main=_server(document, "URL"),
        usage=_server(document, "UsageDataURL"),
        password=_secret(document, "Password", environ, _PASSWORD_VARIABLES),
        usage_password=_secret(document, "UsageDataPassword", environ, _USAGE_PASSWORD_VARIABLES),
    )


def _server(document: gcfg.Document, key: str) -> PostgresServer | None:
    entry = _entry(document, "Postgres", key)
    if entry is None:
        return None
    try:
        address = parse_url(entry.value)
    except UsageError as error:
        raise _wrong(document, entry, error.message, error.hint) from None
    if not isinstance(address, PostgresServer):
        raise _wrong(
            document,
            entry,
            f"this names {address.kind}, not a PostgreSQL server",
            f"Write {entry.key} = postgresql://user@host:port/database.",
        )
    origin = f"{entry} in {document.filename}, line {entry.line}" if address.password else ""
    return replace(address, password_from=origin, password_on_command_line=False)


def _secret(
    document: gcfg.Document, key: str, environ: Mapping[str, str], variables: tuple[str, ...]
) -> Secret | None:
    entry = _entry(document, "Postgres", key)
    if entry is not None:
        return Secret(entry.value, f"{entry} in {document.filename}, line {entry.line}")
    return _from_environment(environ, variables)


def _from_environment(environ: Mapping[str, str], variables: tuple[str, ...]) -> Secret | None:
    variable = next((name for name in variables if environ.get(name)), None)
    return Secret(environ[variable], f"the variable {variable}") if variable else None


def _unknown(document: gcfg.Document) -> tuple[str, ...]:
    """A warning for every section and key that means nothing here; sections without keys too."""
    known = {name.casefold(): (name, keys) for name, keys in KNOWN_KEYS.items()}
    warnings: list[str] = []
    for section in document.sections:
        name, keys = known.get(section.name.casefold(), ("", ()))
        if section.name.casefold() == CAST_SECTION.casefold():
            continue
        entries = [entry for entry in document.entries(section.name) if _within(entry, section)]
        if not name or section.subsection:
            guess = "" if name else _guess(section.name, (*KNOWN_KEYS, CAST_SECTION))
            named = f" with {', '.join(dict.fromkeys(e.key for e in entries))}" if entries else ""
            warnings.append(
                f"{document.filename}, line {section.line}: section {section}{named} is not "
                f"known here and is ignored{guess}"
            )
            continue
        lowered = {key.casefold() for key in keys}
        warnings.extend(
            f"{document.filename}, line {entry.line}: key {entry.key} in {section} is not known "
            f"here and is ignored{_guess(entry.key, keys)}"
            for entry in entries
            if entry.key.casefold() not in lowered
        )
    return tuple(warnings)


def _within(entry: gcfg.Entry, section: gcfg.Section) -> bool:
    return entry.section.subsection == section.subsection


def _guess(name: str, known: tuple[str, ...]) -> str:
    spelt = {key.casefold(): key for key in known}
    close = difflib.get_close_matches(name.casefold(), spelt, n=1, cutoff=0.75)
    return f"; did you mean {spelt[close[0]]}?" if close else ""


def _open_to_others(path: Path, document: gcfg.Document) -> tuple[str, ...]:
    if not path.stat().st_mode & stat.S_IROTH:
        return ()
    for entry in document.entries("Postgres"):
        if entry.value and not entry.bare and _holds_password(entry):
            return (
                f"{path}, line {entry.line}: key {entry.key} holds a password, and every user of "
                f"this machine can read the file; chmod o-r takes that away",
            )
    return ()


def _holds_password(entry: gcfg.Entry) -> bool:
    if entry.key.casefold().endswith("password"):
        return True
    try:
        address = parse_url(entry.value)
    except UsageError:
        return False
    return isinstance(address, PostgresServer) and bool(address.secrets)


def _wrong(
    document: gcfg.Document, entry: gcfg.Entry, problem: str, hint: str
) -> ConfigurationError:
    return ConfigurationError(
        f"{document.filename}, line {entry.line}, key {entry.key}: {problem}",
        hint=hint,
        file=document.filename,
        line=entry.line,
        key=entry.key,
    )


# ---- from settings to databases ---------------------------------------------------------------


def _address_from_argument(settings: Settings, text: str) -> DatabaseAddress:
    if ":" not in text:
        raise UsageError(
            f"there is no provider {text!r}",
            hint=f"If it is a SQLite file, write sqlite:{quote(os.fsencode(text))}. {_URL_FORMS}",
        )
    address = parse_url(text)
    if not isinstance(address, PostgresServer):
        return address
    # Password in the file belongs to the URL in the file, the variables to whatever is named.
    return _with_password(address, settings.environment_password)


def _postgres_databases(settings: Settings) -> Databases:
    postgres = settings.postgres
    if postgres.main is None:
        raise _missing(settings, "Postgres", "URL", "URL = postgresql://user@host:port/database")
    main = _with_password(postgres.main, postgres.password)
    if postgres.usage is None:
        return Databases(main)
    # Password is only a default for the usage data: what the usage URL says itself comes first.
    default = None if postgres.usage.password else postgres.password
    return Databases(main, _with_password(postgres.usage, postgres.usage_password or default))


def _with_password(server: PostgresServer, secret: Secret | None) -> PostgresServer:
    if secret is None:
        return server
    return replace(server, password=secret.value, password_from=secret.origin)


def _sqlite_databases(settings: Settings) -> Databases:
    """``File`` and ``UsageFile``, or what ``Dir`` holds: the only SQLite file; of two, the one
    with "usage" in its name is the usage database; otherwise an error that lists them."""
    sqlite = settings.sqlite
    if sqlite.file is not None and sqlite.usage_file is not None:
        return Databases(SqliteFile(sqlite.file), SqliteFile(sqlite.usage_file))
    given = sqlite.file or sqlite.usage_file
    # With the main file given, a folder that is not there yet only says that there is no usage
    # data: the file may be a target still to be written.
    found = [
        path
        for path in _sqlite_files(settings, required=sqlite.file is None)
        if given is None or not _same_file(path, given)
    ]
    usage = [path for path in found if "usage" in path.name.casefold()]
    if sqlite.file is not None:
        if len(usage) > 1:
            raise _ambiguous(settings, "UsageFile", usage)
        return Databases(SqliteFile(sqlite.file), SqliteFile(usage[0]) if usage else None)
    if sqlite.usage_file is not None:
        if len(found) != 1:
            raise _ambiguous(settings, "File", found)
        return Databases(SqliteFile(found[0]), SqliteFile(sqlite.usage_file))
    if len(found) == 1:
        return Databases(SqliteFile(found[0]))
    if len(found) == 2 and len(usage) == 1:
        (main,) = (path for path in found if path != usage[0])
        return Databases(SqliteFile(main), SqliteFile(usage[0]))
    raise _ambiguous(settings, "File", found)


def _sqlite_files(settings: Settings, *, required: bool) -> list[Path]:
    """The SQLite databases directly in ``Dir``, by name; hidden files are not looked at.

    A database is known by its header, whatever its extension. Reading it opens and closes the
    file, which drops any lock that SQLite holds on it in this process (POSIX locks belong to the
    process and the file): so this must stay before any database is opened through the driver.
    """
    directory = settings.sqlite.directory
    try:
        names = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
        return [path for path in names if path.is_file() and _is_sqlite(path)]
    except FileNotFoundError:
        if not required:
            return []
        why = "does not exist"
    except OSError as error:
        why = f"cannot be searched ({error.strerror}: {error.filename})"
    raise ConfigurationError(
        f"{settings.path}, [SQLite] Dir: the folder {directory} {why}",
        hint="Set Dir, or both File and UsageFile, in [SQLite]; or give the database as a URL.",
        file=str(settings.path),
        key="Dir",
    )


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _same_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return first == second


def _place(address: DatabaseAddress) -> object:
    """What two addresses share when they mean the same database, as far as spelling tells."""
    return address.url if isinstance(address, PostgresServer) else address


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # A folder on the way that we may not enter: the file may well be there.
        return True


def _ambiguous(settings: Settings, key: str, found: list[Path]) -> ConfigurationError:
    listed = ", ".join(path.name for path in found)
    held = f"{len(found)} SQLite files to choose from: {listed}" if found else "no SQLite file"
    return ConfigurationError(
        f"{settings.path}, [SQLite] {key} is not set, and {settings.sqlite.directory} has {held}",
        hint=f"Set {key} in [SQLite], or give the database as a URL.",
        file=str(settings.path),
        key=key,
    )


def _missing(settings: Settings, section: str, key: str, example: str) -> ConfigurationError:
    return ConfigurationError(
        f"{settings.path}: [{section}] {key} is not set",
        hint=f"Add {example} below [{section}], or give the database as a URL.",
        file=str(settings.path),
        key=key,
    )
