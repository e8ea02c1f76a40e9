"""What the configuration means, and which databases a name or a URL names."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from tableferry import gcfg, settings
from tableferry.addresses import Databases, PostgresServer, SqliteFile
from tableferry.errors import ConfigurationError, UsageError
from tableferry.settings import Settings, interpret, load, resolve


def configured(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return interpret(gcfg.parse(text, "/etc/app/app.gcfg"), environ or {})


def server(address: object) -> PostgresServer:
    assert isinstance(address, PostgresServer)
    return address


def database(path: Path) -> Path:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    return path


# ---- the file ---------------------------------------------------------------------------------


def test_defaults() -> None:
    found = configured("")
    assert found.data_dir == Path("/var/lib/rstudio-pm")
    assert found.sqlite.directory == Path("/var/lib/rstudio-pm/db")
    assert (found.group, found.provider, found.casts, found.warnings) == (None, None, (), ())
    assert found.path == Path("/etc/app/app.gcfg")


def test_every_key() -> None:
    found = configured(
        """
        [server]
        datadir = /srv/data
        Group = migrators
        [DATABASE]
        Provider = Postgres
        [SQLite]
        Dir = databases
        File = main.db
        UsageFile = /else/usage.db
        [Postgres]
        URL = postgresql://u@h/db
        UsageDataURL = postgresql://u@h/usage
        [Cast]
        anything = goes
        """
    )
    assert found.data_dir == Path("/srv/data")
    assert (found.group, found.provider) == ("migrators", "postgresql")
    assert found.sqlite == settings.SqliteSettings(
        Path("/srv/data/databases"),
        Path("/srv/data/databases/main.db"),
        Path("/else/usage.db"),
    )
    assert server(found.postgres.usage).url == "postgresql://u@h/usage"
    assert [(entry.key, entry.value) for entry in found.casts] == [("anything", "goes")]
    assert found.warnings == ()


def test_relative_data_dir_is_seen_from_the_file() -> None:
    assert configured("[Server]\nDataDir = data").sqlite.directory == Path("/etc/app/data/db")


def test_an_empty_value_means_the_default() -> None:
    found = configured("[Server]\nDataDir =\n[SQLite]\nFile = x.db\nFile =")
    assert found.data_dir == settings.DEFAULT_DATA_DIR
    assert found.sqlite.file is None


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("[Server]\nDataDir", "DataDir", 2),
        ("[Postgres]\nPassword", "Password", 2),
        ("[Database]\n\nProvider = mysql", "Provider", 3),
        ("[Postgres]\nURL = host=h password=hunter2", "URL", 2),
        ("[Postgres]\nURL = sqlite:a.db", "URL", 2),
        ("[Postgres]\nUsageDataURL = postgresql://u:hunter2/x@h", "UsageDataURL", 2),
    ],
)
def test_a_wrong_value_is_named(text: str, key: str, line: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured(text)
    assert caught.value.message.startswith(f"/etc/app/app.gcfg, line {line}, key {key}: ")
    assert (caught.value.details["key"], caught.value.details["line"]) == (key, line)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)


def test_unknown_sections_and_keys_are_warned_of() -> None:
    found = configured(
        '[HTTP]\nListen = :80\n[Server]\nDataDri = /x\n[SQLite "x"]\nDir = y\n[Sqlit]\n'
    )
    assert len(found.warnings) == 4
    http, key, sub, near = found.warnings
    assert http.startswith("/etc/app/app.gcfg, line 1: ")
    assert "Listen" in http
    assert "did you mean" not in http + sub
    assert near.endswith("did you mean SQLite?")
    assert key.startswith("/etc/app/app.gcfg, line 4: ")
    assert key.endswith("did you mean DataDir?")
    assert found.sqlite.directory == Path("/var/lib/rstudio-pm/db")


def test_warnings_show_no_value() -> None:
    found = configured("[Postgres]\nPasword = hunter2\n[Other]\nPassword = hunter2")
    assert len(found.warnings) == 2
    assert "hunter2" not in "".join(found.warnings)


def test_the_documented_example_means_what_it_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    example = page.read_text(encoding="utf-8").split("```ini\n")[1].split("```")[0]
    found = configured(example)
    assert found.warnings == ()
    assert (found.group, found.provider) == ("package-admins", "sqlite")
    assert resolve(found, "sqlite") == Databases(
        SqliteFile(Path("/var/lib/rstudio-pm/db/main.db")),
        SqliteFile(Path("/var/lib/rstudio-pm/db/usage.db")),
    )
    postgres = resolve(found, "pgx")
    assert server(postgres.main).schema == "app"
    password = "quote it: a # or ; outside quotes starts a comment"
    assert postgres.secrets == (password, password)


# ---- load -------------------------------------------------------------------------------------


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        load(tmp_path / "none.gcfg", {})


def test_the_default_file_may_be_missing_until_a_name_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "DEFAULT_CONFIGURATION", tmp_path / "none.gcfg")
    found = load(None, {"TABLEFERRY_POSTGRES_PASSWORD": "pw"})
    assert server(resolve(found, "postgresql://u@h/db").main).password == "pw"
    assert resolve(found, "sqlite:a.db") == Databases(SqliteFile(Path("a.db")))
    for name in ("sqlite3", "pgx"):
        with pytest.raises(ConfigurationError, match=r"none\.gcfg: .* does not exist") as caught:
            resolve(found, name)
        assert "--config" in caught.value.hint


def test_the_default_file_is_read_when_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gcfg"
    path.write_text("[Server]\nGroup = g\n")
    monkeypatch.setattr(settings, "DEFAULT_CONFIGURATION", path)
    found = load(None, {})
    assert (found.group, found.group_line) == ("g", 2)


@pytest.mark.parametrize(
    ("text", "mode", "key"),
    [
        ("[Postgres]\nPassword = pw", 0o644, "Password"),
        ("[Postgres]\nPassword = pw\nPassword =", 0o604, "Password"),
        ("[Postgres]\nUsageDataPassword = pw", 0o644, "UsageDataPassword"),
        ("[Postgres]\nURL = postgres://u:pw@h/db", 0o644, "URL"),
        ("[Postgres]\nPassword = pw", 0o640, None),
        ("[Postgres]\nURL = postgres://u@h/db\nPassword =", 0o644, None),
    ],
)
def test_a_password_open_to_others_is_warned_of(
    tmp_path: Path, text: str, mode: int, key: str | None
) -> None:
    path = tmp_path / "a.gcfg"
    path.write_text(text)
    path.chmod(mode)
    risks = load(path, {}).risks
    assert len(risks) == (key is not None)
    if key is not None:
        assert f"{path}, line 2: key {key} holds a password" in risks[0]
        assert f"chmod o-r {path}" in risks[0]
        assert "pw" not in risks[0].replace(str(path), "")


# ---- names to PostgreSQL ----------------------------------------------------------------------

POSTGRES = "[Postgres]\nURL = postgresql://u:from-url@h/db\n"


@pytest.mark.parametrize("name", ["pgx", "postgres", "postgresql", "PGX"])
def test_postgres_by_name(name: str) -> None:
    found = resolve(configured("[Postgres]\nURL = postgres://u@h/db"), name)
    assert found == Databases(PostgresServer("postgresql://u@h/db"))


@pytest.mark.parametrize(
    ("text", "environ", "password", "origin"),
    [
        (
            "Password = key",
            {"TABLEFERRY_POSTGRES_PASSWORD": "t", "PACKAGEMANAGER_POSTGRES_PASSWORD": "p"},
            "key",
            "[Postgres] Password in /etc/app/app.gcfg, line 3",
        ),
        (
            "",
            {"TABLEFERRY_POSTGRES_PASSWORD": "t", "PACKAGEMANAGER_POSTGRES_PASSWORD": "p"},
            "t",
            "the variable TABLEFERRY_POSTGRES_PASSWORD",
        ),
        (
            "Password =",
            {"TABLEFERRY_POSTGRES_PASSWORD": "", "PACKAGEMANAGER_POSTGRES_PASSWORD": "p"},
            "p",
            "the variable PACKAGEMANAGER_POSTGRES_PASSWORD",
        ),
        ("", {"PGPASSWORD": "x"}, "from-url", "[Postgres] URL in /etc/app/app.gcfg, line 2"),
    ],
)
def test_the_order_of_passwords(
    text: str, environ: dict[str, str], password: str, origin: str
) -> None:
    main = server(resolve(configured(POSTGRES + text, environ), "pgx").main)
    assert (main.password, main.password_from) == (password, origin)
    assert not main.password_on_command_line


def test_libpq_finds_its_own_password() -> None:
    found = resolve(configured("[Postgres]\nURL = postgres://u@h/db", {"PGPASSWORD": "x"}), "pgx")
    assert server(found.main).password is None
    assert server(found.main).connection_url == "postgresql://u@h/db"


@pytest.mark.parametrize(
    ("keys", "environ", "password"),
    [
        (
            "Password = main\nUsageDataPassword = usage",
            {"TABLEFERRY_POSTGRES_USAGEDATAPASSWORD": "t"},
            "usage",
        ),
        (
            "Password = main",
            {
                "TABLEFERRY_POSTGRES_USAGEDATAPASSWORD": "t",
                "PACKAGEMANAGER_POSTGRES_USAGEDATAPASSWORD": "p",
            },
            "t",
        ),
        ("Password = main", {"PACKAGEMANAGER_POSTGRES_USAGEDATAPASSWORD": "p"}, "p"),
        ("Password = main", {}, "main"),
        ("", {"TABLEFERRY_POSTGRES_PASSWORD": "t"}, "t"),
        ("", {}, None),
    ],
)
def test_the_password_of_the_usage_data(
    keys: str, environ: dict[str, str], password: str | None
) -> None:
    text = f"{POSTGRES}UsageDataURL = postgresql://u@h/usage\n{keys}"
    assert server(resolve(configured(text, environ), "pgx").usage).password == password


def test_the_usage_url_comes_before_the_main_password() -> None:
    text = f"{POSTGRES}Password = main\nUsageDataURL = postgresql://u:own@h/usage\n"
    assert server(resolve(configured(text), "pgx").usage).password == "own"


def test_a_url_as_an_argument_ignores_the_password_of_the_file() -> None:
    found = configured(POSTGRES + "Password = key")
    typed = server(resolve(found, "postgresql://u:typed@other/db").main)
    assert (typed.password, typed.password_on_command_line) == ("typed", True)
    assert server(resolve(found, "postgresql://u@other/db").main).password is None


def test_a_url_as_an_argument_takes_the_password_of_the_environment() -> None:
    found = configured(POSTGRES + "Password = key", {"TABLEFERRY_POSTGRES_PASSWORD": "env"})
    main = server(resolve(found, "postgresql://u@other/db").main)
    assert (main.password, main.password_on_command_line) == ("env", False)
    # The contract's order: what was typed is still seen by others, and still warned of.
    typed = server(resolve(found, "postgresql://u:typed@other/db").main)
    assert (typed.password, typed.password_on_command_line) == ("env", True)


def test_settings_show_no_password() -> None:
    found = configured(
        "[Postgres]\nURL = postgres://u:hunter2@h/db\nPassword = hunter2\n[Cast]\na = hunter2",
        {
            "TABLEFERRY_POSTGRES_PASSWORD": "hunter2",
            "TABLEFERRY_POSTGRES_USAGEDATAPASSWORD": "hunter2",
        },
    )
    assert "hunter2" not in repr(found) + repr(resolve(found, "pgx"))


def test_postgres_without_a_url_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[Postgres\] URL is not set") as caught:
        resolve(configured("[Postgres]\nPassword = x"), "pgx")
    assert caught.value.details["key"] == "URL"


@pytest.mark.parametrize(
    "text",
    [
        POSTGRES + "UsageDataURL = postgres://u:other@h/db",
        "[SQLite]\nDir = /x\nFile = a.db\nUsageFile = /x/a.db",
    ],
)
def test_usage_data_in_the_main_database_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="are both"):
        resolve(configured(text), "pgx" if "Postgres" in text else "sqlite")


@pytest.mark.parametrize("text", ["mysql", "main.db", "my data.db", ""])
def test_an_unknown_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no provider") as caught:
        resolve(configured(""), text)
    assert "pgx" in caught.value.hint


def test_a_bare_path_gets_a_hint_that_works() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(configured(""), "my data?.db")
    assert "sqlite:my%20data%3F.db." in caught.value.hint


# ---- names to SQLite --------------------------------------------------------------------------


def sqlite_found(directory: Path, keys: str = "") -> Databases:
    return resolve(configured(f'[SQLite]\nDir = "{directory}"\n{keys}'), "sqlite")


def files(main: Path, usage: Path | None = None) -> Databases:
    return Databases(SqliteFile(main), SqliteFile(usage) if usage else None)


def test_the_only_sqlite_file_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("not a database")
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "folder.db").mkdir()
    database(tmp_path / ".hidden.db")
    with pytest.raises(ConfigurationError, match="no SQLite file"):
        sqlite_found(tmp_path)
    main = database(tmp_path / "data.bin")
    assert sqlite_found(tmp_path) == files(main)


def test_of_two_the_one_named_usage_is_the_usage_database(tmp_path: Path) -> None:
    usage = database(tmp_path / "a-USAGE-data.db")
    assert sqlite_found(tmp_path) == files(usage)
    main = database(tmp_path / "main.db")
    assert sqlite_found(tmp_path) == files(main, usage)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.db", "b.db"),
        ("usage-a.db", "usage-b.db"),
        ("a.db", "b.db", "usage.db"),
    ],
)
def test_otherwise_an_error_lists_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        database(tmp_path / name)
    with pytest.raises(ConfigurationError) as caught:
        sqlite_found(tmp_path)
    assert all(name in caught.value.message for name in (*names, "File", str(tmp_path)))


def test_a_file_of_the_configuration_need_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert sqlite_found(missing, "File = a.db") == files(missing / "a.db")
    assert sqlite_found(missing, "File = a.db\nUsageFile = b.db") == files(
        missing / "a.db", missing / "b.db"
    )


def test_with_file_given_the_other_named_usage_is_found(tmp_path: Path) -> None:
    main, usage = database(tmp_path / "usage-main.db"), database(tmp_path / "usage.db")
    database(tmp_path / "backup.db")
    assert sqlite_found(tmp_path, "File = usage-main.db") == files(main, usage)
    database(tmp_path / "usage-old.db")
    with pytest.raises(ConfigurationError, match=r"UsageFile is not set.*usage-old\.db"):
        sqlite_found(tmp_path, "File = usage-main.db")


def test_with_file_given_there_may_be_no_usage_data(tmp_path: Path) -> None:
    main = database(tmp_path / "a.db")
    database(tmp_path / "b.db")
    assert sqlite_found(tmp_path, "File = a.db") == files(main)


def test_with_usage_file_given_the_other_is_the_main_database(tmp_path: Path) -> None:
    usage = database(tmp_path / "b.db")
    (tmp_path / "link.db").symlink_to(usage)
    main = database(tmp_path / "a.db")
    assert sqlite_found(tmp_path, "UsageFile = b.db") == files(main, usage)
    database(tmp_path / "c.db")
    with pytest.raises(ConfigurationError, match=r"File is not set.*a\.db, c\.db"):
        sqlite_found(tmp_path, "UsageFile = b.db")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Dir: the folder .*/none does not exist"):
        sqlite_found(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be searched"):
        sqlite_found(tmp_path / "file")


def test_looking_for_files_changes_nothing(tmp_path: Path) -> None:
    main = database(tmp_path / "a.db")
    before = (main.read_bytes(), main.stat().st_mtime_ns, sorted(tmp_path.iterdir()))
    sqlite_found(tmp_path)
    assert (main.read_bytes(), main.stat().st_mtime_ns, sorted(tmp_path.iterdir())) == before
