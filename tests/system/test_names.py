"""Names of every kind, of every kind of object, and the roles that what is created is given to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from tests.servers import Server
from tests.system.support import (
    Run,
    catalog,
    ferried,
    ferry,
    independent_differences,
    password,
    sqlite_file,
    sqlite_rows,
    sqlite_url,
    with_report,
)

LONG = "seventy bytes and more, that begin alike until they are cut: and here "
HOSTILE = [
    'with "quotes"',
    "it's",
    "a.b/c\\d",
    " blanks around ",
    "select",
    "USER",
    "ünïcödé 漢字 🦆",
    f"{LONG}one",
    f"{LONG}two",
    f"{'漢' * 25}一",
    f"{'漢' * 25}二",
    'x"; DROP TABLE y; --',
    "'); DROP TABLE y; --",
    "$$; DROP TABLE y; $$",
    "100% %s %(x)s {0}",
    "new\nline\tand tab",
    "oid",
    "ctid",
    "Mixed Case",
    "mixed case too",
    "-- no comment /* here",
    "pg_class",
]


def q(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _script() -> str:
    """Each name as that of a table, its columns, a constraint of each kind, an index, a view."""
    parts = ["CREATE TABLE y (id INTEGER PRIMARY KEY); INSERT INTO y VALUES (1);"]
    for i, name in enumerate(HOSTILE):
        own, parent = q(name), q(HOSTILE[i - 1])
        literal = "'" + name.replace("'", "''") + "'"
        parts.append(
            f"CREATE TABLE {own} (id INTEGER PRIMARY KEY, {own} TEXT DEFAULT {literal},"
            f"{q(name + ' n')} INTEGER CONSTRAINT {q('c ' + name)} CHECK ({q(name + ' n')} > 0),"
            f"{q(name + ' p')} INTEGER CONSTRAINT {q('f ' + name)} REFERENCES {parent},"
            f"{q(name + ' g')} INTEGER AS ({q(name + ' n')} * 2),"
            f"CONSTRAINT {q('u ' + name)} UNIQUE ({own}, {q(name + ' n')}));"
            f"CREATE INDEX {q('i ' + name)} ON {own} ({q(name + ' n')} DESC)"
            f" WHERE {own} <> {literal};"
            f"CREATE VIEW {q('v ' + name)} AS"
            f" SELECT {own} AS {q(name[:15])}, {q(name + ' n')} + 1 AS {q('w' + name[:15])}"
            f" FROM {own} AS here WHERE {own} = {literal};"
            f"INSERT INTO {own} ({q(name + ' n')}, {q(name + ' p')}) VALUES (1, 1), (2, 2), (3, 1);"
        )
    return "".join(parts)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    return sqlite_file(tmp_path / 'it\'s a "source".db', _script())


def _counted(target: Server) -> dict[str, int]:
    """How many objects of each kind there are."""
    return dict(
        target.rows(
            "SELECT 'constraint ' || contype::text, count(*) FROM pg_constraint WHERE "
            "connamespace = 'public'::regnamespace AND contype <> 'n' AND convalidated GROUP BY 1 "
            "UNION ALL SELECT 'relation ' || relkind::text, count(*) FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace GROUP BY 1 "
            "UNION ALL SELECT CASE attgenerated WHEN '' THEN 'default' ELSE 'generated' END, "
            "count(*) FROM pg_attrdef JOIN pg_attribute ON (attrelid, attnum) = (adrelid, adnum) "
            "WHERE adrelid IN (SELECT oid FROM pg_class WHERE relnamespace = "
            "'public'::regnamespace) GROUP BY 1"
        )
    )


def _expected() -> dict[str, int]:
    n = len(HOSTILE)
    return {
        "constraint p": n + 1,
        "constraint u": n,
        "constraint c": n,
        "constraint f": n,
        "relation r": n + 1,
        "relation i": n + 1 + n + n,
        "relation S": n + 1,
        "relation v": n,
        "default": n,
        "generated": n,
    }


def _identifiers(query: str, **names: str) -> sql.Composed:
    return sql.SQL(query).format(**{key: sql.Identifier(name) for key, name in names.items()})


def _assert_alive(target: Server, source: Path, run: Run) -> None:
    """Each object works, under the name that the report gives."""
    views = {view["source"]: view["target"] for view in run.report["views"]}
    with target.connect() as connection:
        for name in HOSTILE:
            table = run.table(name)
            assert table["verdict"] == "verified"
            columns = {c["source"]: c["target"] for c in table["plan"]["columns"]}
            own, number, parent = columns[name], columns[f"{name} n"], columns[f"{name} p"]
            query = _identifiers("SELECT * FROM public.{t} ORDER BY id", t=table["target"])
            rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
            assert rows == sqlite_rows(source, f"SELECT * FROM {q(name)} ORDER BY id")
            query = _identifiers("SELECT * FROM public.{v} ORDER BY 2", v=views[f"v {name}"])
            assert connection.execute(query).fetchall() == [(name, 2), (name, 3), (name, 4)]
            names = (table["target"], number, parent, own, columns[f"{name} g"])
            for row, error in (
                ((0, 1), psycopg.errors.CheckViolation),
                ((3, 1), psycopg.errors.UniqueViolation),
                ((4, 99), psycopg.errors.ForeignKeyViolation),
            ):
                with pytest.raises(error):
                    connection.execute(_insert(names, row))
            with connection.transaction(force_rollback=True):
                # What was refused has taken a number, as in every database.
                found = connection.execute(_insert(names, (5, 1))).fetchone()
                assert found == (7, name, 10)


def _insert(names: tuple[str, ...], row: tuple[int, int]) -> sql.Composed:
    """Into the first of the names, a table, the row for the next two, columns; the answer is the
    new id and the last two."""
    # Not by parameters: a % in a name would be taken for one.
    return sql.SQL("INSERT INTO public.{} ({}, {}) VALUES ({}, {}) RETURNING id, {}, {}").format(
        *map(sql.Identifier, names[:3]),
        *map(sql.Literal, row),
        *map(sql.Identifier, names[3:]),
    )


def test_hostile_names_everywhere(database: Server, hostile: Path) -> None:
    database.run(
        "CREATE SCHEMA elsewhere",
        "CREATE TABLE elsewhere.y (marker text)",
        "INSERT INTO elsewhere.y VALUES ('still here')",
        "CREATE TABLE own (marker text)",
        "INSERT INTO own VALUES ('still here')",
    )
    others = [entry for entry in catalog(database) if entry[2] in ("own", "y")]

    run = ferried(hostile, database)

    assert run.report["left_behind"] == run.report["violations"] == []
    _assert_alive(database, hostile, run)
    expected = _expected() | {"relation r": _expected()["relation r"] + 1}
    assert _counted(database) == expected
    assert ferry(hostile, database, "--verify").code == 0

    for flag in ("--drop-all", "--recreate"):
        again = ferried(hostile, database, flag)
        assert _counted(database) == expected
        assert [t["target"] for t in again.report["tables"]] == [
            t["target"] for t in run.report["tables"]
        ]
    _assert_alive(database, hostile, again)
    assert database.rows("SELECT * FROM elsewhere.y UNION ALL SELECT * FROM own") == [
        ("still here",),
        ("still here",),
    ]
    assert set(others) <= set(catalog(database))
    assert database.rows("SELECT * FROM y") == [(1,)]


def test_what_changes_its_name_is_listed(any_database: Server, hostile: Path) -> None:
    run = ferried(hostile, any_database)

    renamed: dict[str, str] = {}
    for table in run.report["tables"]:
        renamed |= table["plan"]["renamed"]
    long = [name for name in HOSTILE if len(name.encode()) > 63]
    assert len(long) == 4
    for name in HOSTILE:
        assert (name in renamed) == (name in long)
        assert (f"{name}.{name}" in renamed) == (name in [*long, "ctid"])
        assert (f"i {name}" in renamed) == (f"u {name}" in renamed) == (name in long)
    assert len({renamed[name] for name in long}) == len(long)
    there = {
        name
        for (name,) in any_database.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
    }
    assert {renamed.get(f"i {name}", f"i {name}") for name in HOSTILE} <= there
    assert {renamed.get(name, name) for name in HOSTILE} <= there


# ---- lower case -------------------------------------------------------------------------------

CAMEL = """
CREATE TABLE Artists (
    ArtistId INTEGER PRIMARY KEY,
    Name TEXT DEFAULT 'Nobody' CONSTRAINT NotEmpty CHECK (Name <> ''),
    "Ä" INTEGER, "ä" INTEGER
);
CREATE TABLE Albums (
    Id INTEGER PRIMARY KEY,
    Artist INTEGER CONSTRAINT ByArtist REFERENCES Artists,
    Title TEXT CONSTRAINT OneTitle UNIQUE,
    Loud TEXT AS (upper(Title))
);
CREATE TABLE "ORDER" ("SELECT" TEXT, "Two Words" TEXT);
CREATE INDEX AlbumsByArtist ON Albums (Artist) WHERE Artist > 1;
CREATE VIEW Known AS SELECT A.Name AS whois, B.Title AS title FROM Artists A JOIN Albums B
    ON B.Artist = A.ArtistId;
INSERT INTO Artists VALUES (1, 'Ann', 1, 2), (2, 'Bob', 3, 4);
INSERT INTO Albums VALUES (1, 1, 'First'), (5, 2, 'Second');
INSERT INTO "ORDER" VALUES ('a', 'b');
"""


def test_names_in_lower_case(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", CAMEL)

    run = ferried(source, any_database, "--names", "lower")

    assert run.report["left_behind"] == run.report["violations"] == []
    # Nothing needs quotes but for reserved words and blanks.
    assert any_database.rows("SELECT artistid, name, Ä, ä FROM artists ORDER BY 1") == [
        (1, "Ann", 1, 2),
        (2, "Bob", 3, 4),
    ]
    assert any_database.rows("SELECT whois, title FROM known ORDER BY 2") == [
        ("Ann", "First"),
        ("Bob", "Second"),
    ]
    assert any_database.rows('SELECT "select", "two words" FROM "order"') == [("a", "b")]
    assert any_database.rows(
        "INSERT INTO albums (artist) VALUES (2) RETURNING id, title, loud"
    ) == [(6, None, None)]
    any_database.run("DELETE FROM albums WHERE id = 6")
    constraints = "SELECT conname FROM pg_constraint WHERE conrelid::regclass::text ~ '^a'"
    assert {name for (name,) in any_database.rows(constraints)} >= {
        *("notempty", "byartist", "onetitle", "artists_pkey", "albums_pkey")
    }
    assert run.table("Albums")["plan"]["renamed"] == {
        "Albums": "albums",
        "Albums.Id": "Albums.id",
        "Albums.Artist": "Albums.artist",
        "Albums.Title": "Albums.title",
        "Albums.Loud": "Albums.loud",
        "AlbumsByArtist": "albumsbyartist",
        "ByArtist": "byartist",
        "OneTitle": "onetitle",
    }
    assert [(v["source"], v["target"]) for v in run.report["views"]] == [("Known", "known")]
    for flags in (("--verify",), ("--names", "lower", "--verify")):
        assert ferry(source, any_database, *flags).code == 0
    ferried(source, any_database, "--names", "lower", "--drop-all")
    any_database.run("UPDATE artists SET name = 'Eve' WHERE artistid = 2")
    assert ferry(source, any_database, "--verify").code == 1


# ---- roles ------------------------------------------------------------------------------------

ROLES = """
CREATE TABLE things (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
CREATE TABLE notes (thing INTEGER REFERENCES things, line TEXT DEFAULT 'none');
CREATE VIEW looks AS SELECT name FROM things;
INSERT INTO things VALUES (41, 'one');
"""


@dataclass(frozen=True, slots=True)
class Role:
    """A role that may log in, and a way to do so."""

    name: str
    target: Server

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """The test's server takes the one password for every role that is given it."""
        return psycopg.connect(
            host=self.target.host,
            port=self.target.port,
            dbname=self.target.name,
            user=self.name,
            password=self.target.password,
            autocommit=True,
        )


@pytest.fixture
def role(any_database: Server) -> Iterator[Role]:
    name = 'the "clerk"; --'
    made = _identifiers("CREATE ROLE {r} LOGIN PASSWORD ", r=name)
    with any_database.connect() as connection:
        connection.execute(made + sql.Literal(any_database.password))
    yield Role(name, any_database)
    # Roles are the server's: what they own and may do goes first.
    with any_database.connect() as connection:
        for statement in ("DROP OWNED BY {r}", "DROP ROLE {r}"):
            connection.execute(_identifiers(statement, r=name))


def test_a_role_that_may_use_what_is_created(
    any_database: Server, tmp_path: Path, role: Role
) -> None:
    source = sqlite_file(tmp_path / "source.db", ROLES)
    any_database.run("CREATE TABLE own (x integer)")

    ferried(source, any_database, "--grant", role.name)

    assert any_database.rows(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname='public'"
    ) == [("postgres",)]
    with role.connect() as connection:
        insert = "INSERT INTO things (name) VALUES ('two') RETURNING id"
        assert connection.execute(insert).fetchone() == (42,)
        connection.execute("INSERT INTO notes (thing) VALUES (42)")
        connection.execute("UPDATE notes SET line = 'changed'")
        assert connection.execute("SELECT name FROM looks ORDER BY 1").fetchall() == [
            ("one",),
            ("two",),
        ]
        connection.execute("DELETE FROM notes")
        for refused in ("SELECT * FROM own", "DROP TABLE things", "TRUNCATE things"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)


def test_a_role_that_owns_what_is_created(any_database: Server, tmp_path: Path, role: Role) -> None:
    source = sqlite_file(tmp_path / "source.db", ROLES)
    any_database.run("CREATE TABLE own (x integer)")

    ferried(source, any_database, "--owner", role.name, "--grant", "pg_monitor")

    assert any_database.rows(
        "SELECT c.relname, r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
        "WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1"
    ) == [
        ("looks", role.name),
        ("notes", role.name),
        ("own", "postgres"),
        ("things", role.name),
        ("things_id_seq", role.name),
        ("things_pkey", role.name),
    ]
    with role.connect() as connection:
        insert = "INSERT INTO things (name) VALUES ('two') RETURNING id"
        assert connection.execute(insert).fetchone() == (42,)
        assert connection.execute("SELECT count(*) FROM looks").fetchone() == (2,)
        connection.execute("ALTER TABLE notes ADD COLUMN more text")
    granted = "SELECT has_table_privilege('pg_monitor', 'things', 'INSERT')"
    assert any_database.rows(granted) == [(True,)]
    any_database.run("ALTER TABLE notes DROP COLUMN more", "DELETE FROM things WHERE id = 42")
    ferried(source, any_database, "--drop-all", "--owner", role.name)
    assert independent_differences(source, any_database.url) == {}


@pytest.mark.parametrize("flag", ["--owner", "--grant"])
def test_a_role_that_does_not_exist(any_database: Server, tmp_path: Path, flag: str) -> None:
    source = sqlite_file(tmp_path / "source.db", ROLES)
    before = catalog(any_database)

    run = ferry(source, any_database, flag, "no'body")

    assert run.code == 3
    assert "has no role no'body" in run.err
    assert catalog(any_database) == before


def test_an_owner_that_tables_may_not_be_given_to(
    any_database: Server, tmp_path: Path, role: Role
) -> None:
    """Refused before anything is written: only a member of a role may give it anything."""
    source = sqlite_file(tmp_path / "source.db", ROLES)
    with any_database.connect() as connection:
        connection.execute(_identifiers("GRANT CREATE ON SCHEMA public TO {r}", r=role.name))
    before = catalog(any_database)
    url = any_database.url_without_password.replace("postgres@", f"{quote(role.name, safe='')}@")
    arguments = ("--from", sqlite_url(source), "--to", url)

    refused = with_report(*arguments, "--owner", "postgres", env=password(any_database))

    assert refused.code == 3, refused.err
    assert "may not give tables to postgres" in refused.err
    assert catalog(any_database) == before
    own = with_report(*arguments, "--owner", role.name, env=password(any_database))
    assert own.code == 0, own.err


def test_letters_outside_ascii_tell_names_apart(any_database: Server, tmp_path: Path) -> None:
    """SQLite folds A to Z alone when it compares names: Ä and ä are two tables, two columns."""
    source = sqlite_file(
        tmp_path / "source.db",
        'CREATE TABLE "Ä" (id INTEGER PRIMARY KEY, "Ö" TEXT COLLATE NOCASE UNIQUE, "ö" TEXT);'
        'CREATE TABLE "ä" (id INTEGER PRIMARY KEY, other TEXT);'
        """INSERT INTO "Ä" VALUES (1, 'a', 'b'); INSERT INTO "ä" VALUES (2, 'c');"""
        'CREATE VIEW upper AS SELECT "ö" FROM "Ä"; CREATE VIEW lower AS SELECT other FROM "ä";',
    )

    run = ferried(source, any_database)

    assert run.left_behind("view") == []
    assert run.left_behind("collation") == [("Ä", "Ö")]
    assert any_database.rows('SELECT "ö", other FROM upper, lower') == [("b", "c")]
