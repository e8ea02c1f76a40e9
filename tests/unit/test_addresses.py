"""What a database URL means, and that no secret in it shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from tableferry.addresses import (
    Databases,
    EmbeddedServer,
    PostgresServer,
    SqliteFile,
    parse_url,
)
from tableferry.errors import UsageError


def url(text: str) -> PostgresServer:
    address = parse_url(text)
    assert isinstance(address, PostgresServer)
    return address


# ---- SQLite and embedded URLs -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///abs/path.db", "/abs/path.db"),
        ("sqlite:////abs/path.db", "/abs/path.db"),
        ("sqlite:/abs/path.db", "/abs/path.db"),
        ("sqlite:rel.db", "rel.db"),
        ("sqlite:../a/rel.db", "../a/rel.db"),
        ("SQLite:rel.db", "rel.db"),
        ("sqlite:a%20b%3F%23%25.db", "a b?#%.db"),
        ("sqlite:a b+c.db", "a b+c.db"),
        ("sqlite:///%C3%BC.db", "/ü.db"),
        ("sqlite:%FF.db", "\udcff.db"),
    ],
)
def test_sqlite_url(text: str, path: str) -> None:
    assert parse_url(text) == SqliteFile(Path(path))


@pytest.mark.parametrize("text", ["embedded:pg", "embedded:///srv/my%20pg", "embedded:/srv/my pg"])
def test_embedded_url(text: str) -> None:
    path = Path("pg") if text == "embedded:pg" else Path("/srv/my pg")
    assert parse_url(text) == EmbeddedServer(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sqlite:",
        "sqlite://",
        "sqlite://host/a.db",
        "sqlite://rel.db",
        "sqlite:a.db?mode=ro",
        "sqlite:a.db#x",
        "sqlite:a%00b",
        "sqlite::memory:",
        "embedded:",
        "mysql://u:hunter2@h/db",
        "postgresql:db",
        "postgresql:/db",
        "file:a.db",
        "/a/b.db",
        "host=h password=hunter2",
        "postgresql://u:hun/ter2@h/db",
        "postgresql://u:hun@ter2/x@h/db",
        "postgresql://u:hun@ter2?x@h/db",
        "postgresql://h:port/db",
        "postgresql://h/db?sslmode",
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert caught.value.hint
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


# File names that a URL can hold: no NUL, and ":memory:" means no file.
PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
).filter(lambda text: text != ":memory:" and not text.startswith("/"))


@given(PATHS)
def test_any_path_can_be_written_as_a_url(path: str) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in path.encode())
    assert parse_url(f"sqlite:{encoded}") == SqliteFile(Path(path))
    assert parse_url(f"sqlite:///{encoded}") == SqliteFile(Path("/" + path))


# ---- PostgreSQL URLs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "password"),
    [
        ("postgresql://h/db", "postgresql://h/db", None),
        ("postgres://u@h:5432/db", "postgresql://u@h:5432/db", None),
        ("POSTGRES://u@h/db", "postgresql://u@h/db", None),
        ("postgresql://u:p%40%2F%25@h/db", "postgresql://u@h/db", "p@/%"),
        ("postgresql://u:p@w@h/db", "postgresql://u@h/db", "p@w"),
        ("postgresql://u:a:b@h/db", "postgresql://u@h/db", "a:b"),
        ("postgresql://u:a+b@h/db", "postgresql://u@h/db", "a+b"),
        ("postgresql://u:@h/db", "postgresql://u@h/db", None),
        ("postgresql://me%40corp:pw@h/db", "postgresql://me%40corp@h/db", "pw"),
        ("postgresql://me@corp:pw@h/db", "postgresql://me%40corp@h/db", "pw"),
        ("postgresql://h/db?password=p%26w", "postgresql://h/db", "p&w"),
        ("postgresql://u:no@h/db?password=yes", "postgresql://u@h/db", "yes"),
        ("postgresql://u:pw@[::1]:5432/db", "postgresql://u@[::1]:5432/db", "pw"),
        (
            "postgresql://a:1,b:2/db?sslmode=require",
            "postgresql://a:1,b:2/db?sslmode=require",
            None,
        ),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg", None),
        ("postgresql://%2Frun%2Fpg/db", "postgresql://%2Frun%2Fpg/db", None),
        ("postgresql://", "postgresql://", None),
    ],
)
def test_postgres_url(text: str, shown: str, password: str | None) -> None:
    address = url(text)
    assert (address.url, address.password) == (shown, password)
    assert address.password_on_command_line is (password is not None)
    assert conninfo_to_dict(address.connection_url).get("password") == password


def test_search_path_becomes_an_option() -> None:
    address = url("postgresql://u@h/db?search_path=app&sslmode=require")
    assert address.url == "postgresql://u@h/db?sslmode=require&options=-csearch_path%3Dapp"
    assert address.schema == "app"


def test_search_path_joins_the_options_that_are_there() -> None:
    address = url("postgresql://h/db?options=-c%20geqo%3Doff&search_path=a%20b")
    assert conninfo_to_dict(address.url)["options"] == r"-c geqo=off -csearch_path=a\ b"


@pytest.mark.parametrize(
    ("query", "schema"),
    [
        ("", None),
        ("?search_path=", None),
        ("?search_path=App", "app"),
        ("?search_path=%22App%22", "App"),
        ("?search_path=%22a%22%22b%20c%22,public", 'a"b c'),
        ("?search_path=%22$user%22,%20app", "app"),
        ("?search_path=a,b", "a"),
        ("?options=-csearch_path%3Dapp", "app"),
        ("?options=-c%20search_path%3Dapp", "app"),
        ("?options=--search-path%3Dapp", "app"),
        ("?options=-csearch_path%3Da%20-csearch_path%3Db", "b"),
        ("?options=-csearch_path%3Dother&search_path=app", "app"),
        ("?options=-cgeqo%3Doff", None),
    ],
)
def test_schema(query: str, schema: str | None) -> None:
    assert url(f"postgresql://h/db{query}").schema == schema


def test_no_secret_shows() -> None:
    address = url("postgresql://u:hunter2@h:5432/db?sslpassword=hunter3&search_path=app")
    assert str(address) == address.label == "PostgreSQL postgresql://u@h:5432/db, schema app"
    assert "hunter" not in repr(address) + repr(Databases(address)) + address.url
    assert address.secrets == Databases(address).secrets == ("hunter2", "hunter3")
    assert conninfo_to_dict(address.connection_url)["sslpassword"] == "hunter3"


def test_labels() -> None:
    assert str(SqliteFile(Path("/a/b.db"))) == "SQLite file /a/b.db"
    assert str(EmbeddedServer(Path("pg"))) == "embedded PostgreSQL in pg"
    kinds = [SqliteFile(Path("a")).kind, url("postgres://h").kind, EmbeddedServer(Path("a")).kind]
    assert kinds == ["sqlite", "postgresql", "embedded"]


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(user=WORDS, password=WORDS, search_path=WORDS, dbname=WORDS)
def test_libpq_reads_what_was_meant(
    user: str, password: str, search_path: str, dbname: str
) -> None:
    encoded = {
        name: "".join(f"%{byte:02X}" for byte in value.encode())
        for name, value in {"u": user, "p": password, "s": search_path, "d": dbname}.items()
    }
    address = url("postgresql://{u}:{p}@h:1/{d}?search_path={s}".format(**encoded))
    read = conninfo_to_dict(address.connection_url)
    assert (read["user"], read["password"], read["dbname"]) == (user, password, dbname)
    assert (read["host"], str(read["port"])) == ("h", "1")
    assert "password" not in conninfo_to_dict(address.url)


@given(WORDS.filter(lambda name: name != "$user"))
def test_any_schema_survives_the_way_into_the_options(name: str) -> None:
    path = '"' + name.replace('"', '""') + '", public'
    encoded = "".join(f"%{byte:02X}" for byte in path.encode())
    assert url(f"postgresql://h/db?search_path={encoded}").schema == name


@given(st.text(max_size=40) | st.text(alphabet="postgresqlite:/?@&=#%[]12,", max_size=40))
def test_any_text_is_an_address_or_a_usage_error(text: str) -> None:
    for prefix in ("", "sqlite:", "embedded:", "postgresql://"):
        try:
            address = parse_url(prefix + text)
        except UsageError:
            continue
        assert str(address)


def test_a_question_mark_in_a_password_is_a_part_of_it() -> None:
    """As in libpq; and no part of it is taken for a parameter, which would be shown."""
    address = url("postgresql://u:12?x=3@h/db")
    assert (
        address.password == conninfo_to_dict("postgresql://u:12?x=3@h/db")["password"] == "12?x=3"
    )
    assert address.url == "postgresql://u@h/db"


def test_an_at_sign_in_a_parameter_is_no_host() -> None:
    address = url("postgresql://u@h?user=me@realm")
    assert conninfo_to_dict(address.url) == {"user": "me@realm", "host": "h"}


def test_a_misspelled_secret_is_one() -> None:
    address = url("postgresql://h/db?userpassword=hunter2&Client_Secret=hunter2")
    assert "hunter2" not in repr(address) + address.url + str(address)
    assert address.secrets == ("hunter2", "hunter2")
