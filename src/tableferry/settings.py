"""What the configuration file and the environment say, and which databases a name or URL means.

``load`` reads the file into ``Settings``; ``resolve`` turns what stood after ``--from`` or
``--to`` into addresses. Both run before a connection or a lock is taken.

Passwords live in fields that no representation, label or message shows.
"""

from __future__ import annotations

import difflib
import os
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from tableferry import gcfg
from tableferry.addresses import (
    PASSWORD_VARIABLE,
    POSTGRESQL,
    SQLITE,
    STAGED_ENDING,
    URL_FORMS,
    DatabaseAddress,
    Databases,
    PostgresServer,
    SqliteFile,
    parse_url,
)
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

PROVIDERS: Mapping[str, str] = {
    "sqlite": SQLITE,
    "sqlite3": SQLITE,
    "pgx": POSTGRESQL,
    "postgres": POSTGRESQL,
    "postgresql": POSTGRESQL,
}

SQLITE_MAGIC = b"SQLite format 3\0"
"""The first 16 bytes of every SQLite database (https://www.sqlite.org/fileformat.html, 1.3)."""

_PASSWORD_VARIABLES = (PASSWORD_VARIABLE, "PACKAGEMANAGER_POSTGRES_PASSWORD")
_USAGE_PASSWORD_VARIABLES = (
    "TABLEFERRY_POSTGRES_USAGEDATAPASSWORD",
    "PACKAGEMANAGER_POSTGRES_USAGEDATAPASSWORD",
)


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
    group_line: int = 0
    """Where it says so, for messages."""
    provider: str | None = None
    """The database that the application itself uses now: "sqlite", "postgresql" or None."""
    sqlite: SqliteSettings = SqliteSettings()
    postgres: PostgresSettings = PostgresSettings()
    environment_password: Secret | None = None
    """The password that the environment holds for any PostgreSQL server given as a URL."""
    casts: tuple[gcfg.Entry, ...] = ()
    """``[Cast]`` as it stands, for whoever reads cast rules."""
    warnings: tuple[str, ...] = ()
    """What a person should hear, one sentence each: unknown sections and keys."""
    risks: tuple[str, ...] = ()
    """What reports name besides: a password that others can read."""


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
    return replace(settings, risks=_open_to_others(chosen, document))


def interpret(document: gcfg.Document, environ: Mapping[str, str]) -> Settings:
    """The settings of a document that was read.

    Relative paths follow what holds them: ``DataDir`` the folder of the configuration file,
    ``Dir`` the ``DataDir``, ``File`` and ``UsageFile`` the ``Dir``.
    """
    path = Path(document.filename)
    data_dir = _path(document, "Server", "DataDir", path.parent) or DEFAULT_DATA_DIR
    group = _entry(document, "Server", "Group")
    return Settings(
        path=path,
        data_dir=data_dir,
        group=group.value if group else None,
        group_line=group.line if group else 0,
        provider=_provider(document),
        sqlite=_sqlite_settings(document, data_dir),
        postgres=_postgres_settings(document, environ),
        environment_password=_from_environment(environ, _PASSWORD_VARIABLES),
        casts=document.entries(CAST_SECTION),
        warnings=_unknown(document),
    )


def is_provider(name_or_url: str) -> bool:
    """Whether it is looked up in the configuration."""
    return name_or_url.casefold() in PROVIDERS


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
    remedy = f"chmod o-r {shlex.quote(str(path))}"
    for entry in document.entries("Postgres"):
        if entry.value and not entry.bare and _holds_password(entry):
            return (
                f"{path}, line {entry.line}: key {entry.key} holds a password, and every user of "
                f"this machine can read the file; {remedy} takes that away",
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
            hint=f"If it is a SQLite file, write sqlite:{quote(os.fsencode(text))}. {URL_FORMS}",
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
        # What an unfinished run has written is no database yet.
        named = (path for path in names if path.suffix != STAGED_ENDING)
        return [path for path in named if path.is_file() and _is_sqlite(path)]
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
