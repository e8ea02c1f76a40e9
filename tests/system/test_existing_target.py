"""Loading into tables that an application has made: as their owner, and they stay as they are."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.applications import (
    Owned,
    chinook,
    contents,
    for_an_ordinary_role,
    keeping_definitions,
)
from tests.system.support import (
    SHARED,
    Run,
    ferried,
    ferry,
    needs_shared,
    sqlite_file,
)


@pytest.fixture
def owned(database: Server) -> Iterator[Owned]:
    """On every server."""
    with for_an_ordinary_role(database) as target:
        yield target


@pytest.fixture
def any_owned(any_database: Server) -> Iterator[Owned]:
    """Where the version does not matter."""
    with for_an_ordinary_role(any_database) as target:
        yield target


def refused(source: Path, target: Server, *flags: str) -> Run:
    """A run that has to be refused, and to leave everything as it was."""
    before = contents(target)
    with keeping_definitions(target):
        run = ferry(source, target, *flags)
    assert run.code == 3, run.err
    assert "Traceback" not in run.err
    assert contents(target) == before
    return run


# ---- Chinook ----------------------------------------------------------------------------------

# What an application adds to the tables of a tutorial.
ADORNED = """
CREATE SEQUENCE genre_ids OWNED BY genre.genre_id;
ALTER TABLE genre ALTER genre_id SET DEFAULT nextval('genre_ids');
ALTER TABLE artist ALTER artist_id ADD GENERATED ALWAYS AS IDENTITY (START 5 INCREMENT 2);
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'the trigger % fires', TG_NAME; END $$;
CREATE TRIGGER careful BEFORE INSERT ON album FOR EACH ROW EXECUTE FUNCTION never();
COMMENT ON TRIGGER careful ON album IS 'as careful as can be';
COMMENT ON TABLE track IS 'what is heard';
COMMENT ON COLUMN track.name IS 'as on the cover';
COMMENT ON CONSTRAINT track_album_id_fkey ON track IS 'an album''s';
GRANT SELECT, INSERT ON album, track TO PUBLIC;
GRANT UPDATE (name) ON genre TO PUBLIC;
ALTER TABLE invoice_line ADD CHECK (quantity > 0), REPLICA IDENTITY FULL;
CREATE VIEW titles AS SELECT title, name FROM album JOIN artist USING (artist_id);
"""


@needs_shared
def test_chinook_into_its_authors_own_schema(owned: Owned, tmp_path: Path) -> None:
    structure, _ = chinook()
    owned.run(structure + ADORNED)
    source = Path(shutil.copyfile(SHARED / "chinook.sqlite", tmp_path / "chinook.sqlite"))

    with keeping_definitions(owned):
        run = ferried(source, owned)

    assert run.report["left_behind"] == run.report["violations"] == []
    assert run.table("PlaylistTrack")["target"] == "playlist_track"
    owned.run(
        "ALTER TABLE album DISABLE TRIGGER careful",
        "INSERT INTO artist (name) VALUES ('new')",
        "INSERT INTO genre (name) VALUES ('new')",
    )
    assert owned.rows("SELECT max(artist_id) FROM artist") == [(277,)]
    assert owned.rows("SELECT max(genre_id) FROM genre") == [(26,)]
    owned.run("DELETE FROM artist WHERE name = 'new'", "DELETE FROM genre WHERE name = 'new'")
    assert ferry(source, owned, "--verify").code == 0
    owned.run("UPDATE track SET unit_price = unit_price + 0.01 WHERE track_id = 7")
    assert ferry(source, owned, "--verify").code == 1


@needs_shared
def test_chinook_where_rows_are(any_owned: Owned, tmp_path: Path) -> None:
    structure, rows = chinook()
    any_owned.run(structure + rows + "UPDATE genre SET name = 'of the target'")
    source = Path(shutil.copyfile(SHARED / "chinook.sqlite", tmp_path / "chinook.sqlite"))

    assert "--drop-all" in refused(source, any_owned).err
    with keeping_definitions(any_owned):
        ferried(source, any_owned, "--drop-all")

    assert any_owned.rows("SELECT name FROM genre WHERE genre_id = 1") == [("Rock",)]
    assert ferry(source, any_owned, "--verify").code == 0


# ---- values -----------------------------------------------------------------------------------

MOMENT = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
QUARTER = datetime.timedelta(milliseconds=250)
NOON = MOMENT.replace(tzinfo=None)
ID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")


@dataclass(frozen=True, slots=True)
class Conversion:
    """The source's declared type and values, the target's type, what psycopg reads there, and how
    many values count as converted by meaning or as spelled otherwise."""

    declared: str
    values: list[str]
    wanted: str
    found: list[Any]
    converted: int = 0
    respelled: int = 0


CONVERSIONS = {
    "0 and 1": Conversion("INTEGER", ["0", "1", "NULL"], "boolean", [False, True, None]),
    "words": Conversion("TEXT", ["'t'", "'yes'", "'OFF'"], "boolean", [True, True, False], 3),
    "both": Conversion("", ["1", "'no'", "0"], "boolean", [True, False, False], 1),
    "with a zone": Conversion(
        "TEXT",
        ["'2024-02-29T12:30:00Z'", "'2024-02-29 14:30+02:00'"],
        "timestamptz",
        [MOMENT, MOMENT],
        respelled=2,
    ),
    "without one": Conversion("TEXT", ["'2024-02-29 12:30:00'"], "timestamptz", [MOMENT], 1),
    "with and without": Conversion(
        "DATETIME",
        ["'2024-02-29 14:30:00+02:00'", "'2024-02-29 12:30:00'"],
        "timestamp",
        [NOON, NOON],
        2,
    ),
    "seconds": Conversion("INTEGER", ["1709209800"], "timestamptz", [MOMENT], 1),
    "fractions": Conversion("REAL", ["1709209800.25"], "timestamp", [NOON + QUARTER], 1),
    "days": Conversion("INTEGER", ["86400"], "date", [datetime.date(1970, 1, 2)], 1),
    "jsonb": Conversion(
        "TEXT",
        ["""'{"b":1,"a":1.0, "b" : 2}'""", "'[1, 2]'", "' null '", "NULL"],
        "jsonb",
        [{"a": 1.0, "b": 2}, [1, 2], None, None],
        respelled=2,
    ),
    "json": Conversion("TEXT", ["""'{"b":1,"a":1.0}'"""], "json", [{"b": 1, "a": 1.0}]),
    "uuid": Conversion(
        "TEXT",
        [f"'{ID}'", f"'{str(ID).upper()}'", f"'{{{ID.hex}}}'", f"x'{ID.hex}'"],
        "uuid",
        [ID] * 4,
        4,
    ),
    "enum": Conversion("TEXT", ["'happy'", "'so so'"], "mood", ["happy", "so so"]),
    "int4": Conversion("INTEGER", ["-2147483648", "7"], "int4", [-(2**31), 7]),
    "bytes": Conversion("", ["x'00ff'", "'é'", "12"], "bytea", [b"\0\xff", b"\xc3\xa9", b"12"]),
    "an array": Conversion("TEXT", ["'{1,2}'", "'{ 3 }'"], "int[]", [[1, 2], [3]], respelled=1),
    "texts": Conversion("TEXT", ["""'{a,"b c"}'"""], "text[]", [["a", "b c"]]),
    "a domain": Conversion("INTEGER", ["1", "2"], "positive", [1, 2]),
    "varchar(n)": Conversion("TEXT", ["'äöü'", "'a  '"], "varchar(3)", ["äöü", "a  "]),
    "char(n)": Conversion("TEXT", ["'abc'", "'a'"], "char(3)", ["abc", "a  "]),
    "numeric(p, s)": Conversion(
        "REAL", ["1.5", "-3"], "numeric(10,2)", [Decimal("1.50"), Decimal("-3.00")]
    ),
    "whole seconds": Conversion("TEXT", ["'2024-02-29 12:30:00'"], "timestamp(0)", [NOON]),
    # Cast to text, every address has its mask.
    "addresses": Conversion(
        "TEXT", ["'10.0.0.1'"], "inet", [ipaddress.ip_address("10.0.0.1")], respelled=1
    ),
    "digits": Conversion("INTEGER", ["1", "2"], "text", ["1", "2"]),
    "reals": Conversion("INTEGER", ["1", "2"], "float8", [1.0, 2.0]),
}
TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'so so', 'happy');"
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0);"
)


def test_values_become_what_the_columns_demand(owned: Owned, tmp_path: Path) -> None:
    """Each conversion in a table of its own."""
    script, application = "", TYPES
    for name, case in CONVERSIONS.items():
        rows = ", ".join(f"({i}, {value})" for i, value in enumerate(case.values, 1))
        script += f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, v {case.declared});'
        script += f'INSERT INTO "{name}" VALUES {rows};'
        application += f'CREATE TABLE "{name}" (id serial PRIMARY KEY, v {case.wanted});'
    owned.run(application)
    source = sqlite_file(tmp_path / "source.db", script)

    with keeping_definitions(owned):
        run = ferried(source, owned)

    found = {}
    for name, case in CONVERSIONS.items():
        table = run.table(name)
        found[name] = replace(
            case,
            found=[value for (value,) in owned.rows(f'SELECT v FROM "{name}" ORDER BY id')],
            converted=table["converted"].get("v", 0),
            respelled=table["spelling_normalised"].get("v", 0),
        )
    assert found == CONVERSIONS
    assert ferry(source, owned, "--verify").code == 0


# By the type that a value does not fit: what is declared in the source, the value, and the words
# that tell what is wrong.
UNFIT = {
    "boolean": ("INTEGER", "2", "2 at id = 41"),
    "int4": ("INTEGER", "2147483648", "2147483648 at id = 41"),
    "positive": ("INTEGER", "0", "positive"),
    "char(3)": ("TEXT", "'abcd'", "abcd"),
    "numeric(10,2)": ("REAL", "1.239", "1.239 at id = 41"),
    "timestamp(0)": ("TEXT", "'2024-02-29 12:30:00.6'", "12:30:00.6"),
}


@pytest.mark.parametrize("wanted", UNFIT)
def test_a_value_that_does_not_fit_is_named(any_owned: Owned, tmp_path: Path, wanted: str) -> None:
    declared, value, words = UNFIT[wanted]
    source = sqlite_file(
        tmp_path / "source.db",
        f"CREATE TABLE things (id INTEGER PRIMARY KEY, chosen {declared});"
        f"INSERT INTO things VALUES (1, NULL), (41, {value});",
    )
    any_owned.run(f"{TYPES} CREATE TABLE things (id serial PRIMARY KEY, chosen {wanted})")

    run = ferry(source, any_owned)

    assert run.code == 4, run.err
    assert "Traceback" not in run.err
    assert "things" in run.err
    assert "chosen" in run.err
    assert words in run.err
    assert any_owned.rows("SELECT * FROM things") == []


def test_milliseconds_by_a_rule(any_owned: Owned, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, day INTEGER);"
        "INSERT INTO events VALUES (1, 1709209800000, 86400000);",
    )
    any_owned.run("CREATE TABLE events (id serial PRIMARY KEY, at timestamptz, day date)")
    rules = (
        *("--cast", "events.at to timestamptz using epoch_ms"),
        *("--cast", "events.day to date using epoch_ms"),
    )

    ferried(source, any_owned, *rules)

    assert any_owned.rows("SELECT at, day FROM events") == [(MOMENT, datetime.date(1970, 1, 2))]
    assert ferry(source, any_owned, "--verify", *rules).code == 0


# ---- columns ----------------------------------------------------------------------------------


def test_columns_by_names_that_are_alike(any_owned: Owned, tmp_path: Path) -> None:
    """In whatever case, and with or without underscores; others take what is their own."""
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE AlbumTrack (AlbumId INTEGER PRIMARY KEY, title TEXT, "ÉT" TEXT, Ab TEXT,
            AB_ TEXT, twice TEXT GENERATED ALWAYS AS (title || title) STORED);
        INSERT INTO AlbumTrack VALUES (7, 'a', 'é', 'b', 'c');
        """,
    )
    any_owned.run(
        """
        CREATE TABLE album_track (
            added timestamptz DEFAULT now() NOT NULL,
            number integer GENERATED ALWAYS AS IDENTITY,
            "TITLE" varchar(9),
            ab_ varchar(9),
            ab varchar(9),
            twice text GENERATED ALWAYS AS ("TITLE" || "TITLE") STORED,
            note text,
            "ÉT" text,
            album_id integer PRIMARY KEY,
            loud text GENERATED ALWAYS AS (upper("TITLE")) STORED
        )
        """
    )

    with keeping_definitions(any_owned):
        ferried(source, any_owned)

    assert any_owned.rows(
        'SELECT album_id, "TITLE", ab, ab_, "ÉT", number, note, twice, loud FROM album_track '
        "WHERE added > now() - interval '1 hour'"
    ) == [(7, "a", "b", "c", "é", 1, None, "aa", "A")]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id integer, name text, needed integer NOT NULL", "needed"),
        ("id integer, title text", "name"),
        ('id integer, "Name" text, "NAME" text', "name"),
        ("id integer, na_me text, nam_e text", "name"),
    ],
)
def test_columns_that_do_not_match(
    any_owned: Owned, tmp_path: Path, columns: str, words: str
) -> None:
    """Whatever the rows may be: nothing is written, not even into other tables."""
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE fine (id INTEGER PRIMARY KEY); INSERT INTO fine VALUES (2);"
        "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT);"
        "INSERT INTO things VALUES (1, 'a');",
    )
    any_owned.run(
        "CREATE TABLE fine (id integer); INSERT INTO fine VALUES (1);"
        f"CREATE TABLE things ({columns});"
    )

    run = refused(source, any_owned, "--drop-all")

    assert "things" in run.err
    assert words in run.err
