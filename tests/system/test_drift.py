"""``--verify`` names what a target's schema has otherwise: exactly that."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import pytest
from tests.servers import Server
from tests.system.sqlite_files import between, carried
from tests.system.support import (
    PASSWORD_VARIABLE,
    catalog,
    environment,
    ferried,
    ferry,
    fingerprint,
    open_to_all,
    sqlite_file,
    sqlite_url,
    with_report,
)

import tableferry

# State, table, what, name.
Found: TypeAlias = tuple[str, str, str, str]
Statements: TypeAlias = list[str]

SQLITE = """
CREATE TABLE parents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    code TEXT NOT NULL UNIQUE,
    "Name" TEXT COLLATE NOCASE,
    note TEXT DEFAULT 'none'
);
CREATE TABLE children (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL REFERENCES parents ON DELETE CASCADE,
    a INTEGER,
    b TEXT DEFAULT 'x',
    price DECIMAL(10,2) DEFAULT 0 CHECK (price >= 0),
    twice INTEGER GENERATED ALWAYS AS (a * 2) STORED,
    made DATETIME DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT b_known CHECK (b IN ('x', 'y', 'z')),
    UNIQUE (parent, a)
);
CREATE INDEX children_b ON children (b DESC, a);
CREATE INDEX children_some ON children (a) WHERE b = 'x' AND a BETWEEN 1 AND 5;
CREATE INDEX children_lower ON children (lower(b));
CREATE UNIQUE INDEX parents_name ON parents ("Name");
CREATE TABLE pairs (a TEXT, b TEXT, note TEXT, PRIMARY KEY (a, b));
CREATE VIEW seen AS SELECT id, b FROM children;
INSERT INTO parents VALUES (1, 'one', 'One', 'a'), (7, 'seven', 'Seven', NULL);
DELETE FROM parents WHERE id = 7;
INSERT INTO parents VALUES (3, 'three', 'Three', 'c');
INSERT INTO children (id, parent, a, b, made) VALUES
    (1, 1, 1, 'x', '2020-01-02 03:04:05'), (2, 3, 2, 'y', '2020-01-02 03:04:06');
INSERT INTO pairs VALUES ('a', 'b', 'c');
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sqlite_file(tmp_path_factory.mktemp("drift") / "source.db", SQLITE)


def drift(source: str, target: str) -> set[Found]:
    """What a verification finds, whose data are the same."""
    outcome = tableferry.verify(source, target)
    assert outcome.verified
    states = [each.state for each in outcome.drift]
    assert states == sorted(states, key=["missing", "different", "extra"].index)
    assert all(bool(d.source) == (d.state != "extra") for d in outcome.drift)
    found = [(each.state, each.table, each.what, each.name) for each in outcome.drift]
    assert len(found) == len(set(found))
    return set(found)


ALIKE: dict[str, Statements] = {
    "a unique index for a unique constraint": [
        "ALTER TABLE parents DROP CONSTRAINT parents_code_key",
        "CREATE UNIQUE INDEX other ON parents (code)",
    ],
    "a unique constraint for a primary key": [
        "ALTER TABLE pairs DROP CONSTRAINT pairs_pkey",
        "ALTER TABLE pairs ADD UNIQUE (a, b)",
    ],
    "other names": [
        "ALTER TABLE children RENAME CONSTRAINT b_known TO c1",
        "ALTER TABLE children RENAME CONSTRAINT children_parent_fkey TO c2",
        "ALTER TABLE children RENAME CONSTRAINT children_pkey TO c3",
        "ALTER INDEX children_b RENAME TO c4",
        "ALTER INDEX children_lower RENAME TO c5",
        "ALTER INDEX children_some RENAME TO c6",
    ],
    "a serial for an identity": [
        "ALTER TABLE parents ALTER id DROP IDENTITY",
        "CREATE SEQUENCE s OWNED BY parents.id",
        "ALTER TABLE parents ALTER id SET DEFAULT nextval('s')",
        "SELECT setval('s', 7)",
    ],
    "other spellings": [
        "ALTER TABLE children DROP CONSTRAINT c1",
        "ALTER TABLE children ADD CHECK (b = ANY ('{x,y,z}'::text[]))",
        "ALTER TABLE children ALTER b SET DEFAULT 'x'::varchar",
        "ALTER TABLE children ALTER price SET DEFAULT '0.0'::numeric",
        "DROP INDEX c6",
        "CREATE INDEX ON children (a) WHERE b = 'x'::text AND (a >= 1 AND a <= 5)",
    ],
    "other types": [
        "DROP VIEW seen",
        "ALTER TABLE children ALTER b TYPE varchar(20)",
        "CREATE VIEW seen AS SELECT id, b FROM children",
    ],
    "nulls sorted elsewhere": [
        "DROP INDEX c4",
        "CREATE INDEX children_b ON children (b DESC, a)",
    ],
    "a rule of a domain": [
        "CREATE DOMAIN positive AS numeric(10,2) CHECK (VALUE >= 0)",
        "ALTER TABLE children DROP CONSTRAINT children_check1",
        "ALTER TABLE children ALTER price TYPE positive",
    ],
    "a default that is NULL": ["ALTER TABLE pairs ALTER note SET DEFAULT NULL"],
}


# Each round is one target with changes that do not touch each other.
ROUNDS: list[dict[str, tuple[Statements, set[Found]]]] = [
    {
        "no primary key": (
            ["ALTER TABLE pairs DROP CONSTRAINT pairs_pkey"],
            {("missing", "pairs", "primary key", "pairs_pkey")},
        ),
        "no unique constraint": (
            ["ALTER TABLE parents DROP CONSTRAINT parents_code_key"],
            {("missing", "parents", "unique constraint", "parents_code_key")},
        ),
        "no foreign key": (
            ["ALTER TABLE children DROP CONSTRAINT children_parent_fkey"],
            {("missing", "children", "foreign key", "children_parent_fkey")},
        ),
        "no check": (
            ["ALTER TABLE children DROP CONSTRAINT b_known"],
            {("missing", "children", "check", "b_known")},
        ),
        "no index": (
            ["DROP INDEX children_b"],
            {("missing", "children", "index", "children_b")},
        ),
        "no default": (
            ["ALTER TABLE children ALTER b DROP DEFAULT, ALTER made DROP DEFAULT"],
            {("missing", "children", "default", "b"), ("missing", "children", "default", "made")},
        ),
        "a plain column for a generated one": (
            ["ALTER TABLE children ALTER twice DROP EXPRESSION"],
            {("missing", "children", "generated column", "twice")},
        ),
        "nothing numbers the column": (
            ["ALTER TABLE parents ALTER id DROP IDENTITY"],
            {("missing", "parents", "identity", "id")},
        ),
        "NULL is let in": (
            ["ALTER TABLE parents ALTER code DROP NOT NULL"],
            {("missing", "parents", "not null", "code")},
        ),
        "no view": (
            ["DROP VIEW seen"],
            {("missing", "seen", "view", "seen")},
        ),
    },
    {
        "another primary key": (
            [
                "ALTER TABLE pairs DROP CONSTRAINT pairs_pkey",
                "ALTER TABLE pairs ADD PRIMARY KEY (b, a)",
            ],
            {("different", "pairs", "primary key", "pairs_pkey")},
        ),
        "a unique constraint of other columns": (
            [
                "ALTER TABLE children DROP CONSTRAINT children_parent_a_key",
                "ALTER TABLE children ADD CONSTRAINT other UNIQUE (parent, b)",
            ],
            {
                ("extra", "children", "unique constraint", "other"),
                ("missing", "children", "unique constraint", "children_parent_a_key"),
            },
        ),
        "a foreign key that does something else": (
            [
                "ALTER TABLE children DROP CONSTRAINT children_parent_fkey",
                "ALTER TABLE children ADD CONSTRAINT fk FOREIGN KEY (parent) REFERENCES parents",
            ],
            {("different", "children", "foreign key", "children_parent_fkey")},
        ),
        "another check": (
            [
                "ALTER TABLE children DROP CONSTRAINT b_known",
                "ALTER TABLE children ADD CHECK (b IN ('x', 'y'))",
            ],
            {("different", "children", "check", "b_known")},
        ),
        "an index in another order": (
            ["DROP INDEX children_b", "CREATE INDEX children_b ON children (b, a)"],
            {("different", "children", "index", "children_b")},
        ),
        "another default": (
            ["ALTER TABLE children ALTER b SET DEFAULT 'y', ALTER made SET DEFAULT localtimestamp"],
            {
                ("different", "children", "default", "b"),
                ("different", "children", "default", "made"),
            },
        ),
        "other numbers come next": (
            ["ALTER TABLE parents ALTER id RESTART WITH 100"],
            {("different", "parents", "identity", "id")},
        ),
        "a column more": (
            ["ALTER TABLE pairs ADD more text"],
            {("extra", "pairs", "column", "more")},
        ),
        "a table more": (
            ["CREATE TABLE more (x text)"],
            {("extra", "more", "table", "more")},
        ),
    },
    {
        "NULL is one value": (
            [
                "ALTER TABLE children DROP CONSTRAINT children_parent_a_key",
                "ALTER TABLE children ADD UNIQUE NULLS NOT DISTINCT (parent, a)",
            ],
            {("different", "children", "unique constraint", "children_parent_a_key")},
        ),
        "a foreign key that waits": (
            [
                "ALTER TABLE children ALTER CONSTRAINT children_parent_fkey "
                "DEFERRABLE INITIALLY DEFERRED"
            ],
            {("different", "children", "foreign key", "children_parent_fkey")},
        ),
        "a check that was never proven": (
            [
                "ALTER TABLE children DROP CONSTRAINT b_known",
                "ALTER TABLE children ADD CHECK (b IN ('x', 'y', 'z')) NOT VALID",
            ],
            {("different", "children", "check", "b_known")},
        ),
        "an index of another kind": (
            ["DROP INDEX children_b", "CREATE INDEX children_b ON children USING brin (b, a)"],
            {("different", "children", "index", "children_b")},
        ),
        "an index of other rows": (
            [
                "DROP INDEX children_some",
                "CREATE INDEX children_some ON children (a) WHERE b = 'x' AND a BETWEEN 1 AND 6",
            ],
            {("different", "children", "index", "children_some")},
        ),
        "an index of another expression": (
            ["DROP INDEX children_lower", "CREATE INDEX children_upper ON children (upper(b))"],
            {
                ("extra", "children", "index", "children_upper"),
                ("missing", "children", "index", "children_lower"),
            },
        ),
        "a unique index of another collation": (
            [
                "DROP INDEX parents_name",
                'CREATE UNIQUE INDEX parents_name ON parents (lower("Name"))',
            ],
            {("different", "parents", "index", "parents_name")},
        ),
        "a default more": (
            ["ALTER TABLE pairs ALTER note SET DEFAULT ''"],
            {("extra", "pairs", "default", "note")},
        ),
        "a view more": (
            ["CREATE VIEW more AS SELECT 1 AS x"],
            {("extra", "more", "view", "more")},
        ),
    },
    {
        "a foreign key that was never proven": (
            [
                "ALTER TABLE children DROP CONSTRAINT children_parent_fkey",
                "ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES parents "
                "ON DELETE CASCADE NOT VALID",
            ],
            {("different", "children", "foreign key", "children_parent_fkey")},
        ),
        "a check more, which is not asked for what it says": (
            [
                "CREATE FUNCTION asked(integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql "
                "AS $$BEGIN RAISE EXCEPTION 'asked'; END$$",
                "ALTER TABLE children ADD CONSTRAINT more CHECK (asked(1)) NOT VALID",
            ],
            {("extra", "children", "check", "more")},
        ),
        "an index more": (
            ["CREATE INDEX more ON pairs (note)"],
            {("extra", "pairs", "index", "more")},
        ),
        "a unique index more": (
            ["CREATE UNIQUE INDEX most ON children (b, a)"],
            {("extra", "children", "index", "most")},
        ),
        "NULL is kept out": (
            ["UPDATE pairs SET note = 'c'", "ALTER TABLE pairs ALTER note SET NOT NULL"],
            {("extra", "pairs", "not null", "note")},
        ),
        "a column that numbers itself": (
            [
                "ALTER TABLE children ALTER a SET NOT NULL",
                "ALTER TABLE children ALTER a ADD GENERATED BY DEFAULT AS IDENTITY",
            ],
            {("extra", "children", "identity", "a"), ("extra", "children", "not null", "a")},
        ),
        "a foreign key more": (
            [
                "ALTER TABLE children ADD CONSTRAINT most FOREIGN KEY (a) REFERENCES children "
                "NOT VALID"
            ],
            {("extra", "children", "foreign key", "most")},
        ),
    },
]


def test_right_after_a_migration(source: Path, once_migrated: Server) -> None:
    assert drift(sqlite_url(source), once_migrated.url) == set()


def test_what_is_alike_is_no_drift(source: Path, migrated: Server) -> None:
    migrated.run(*(statement for change in ALIKE.values() for statement in change))
    assert drift(sqlite_url(source), migrated.url) == set()


@pytest.mark.parametrize("changes", ROUNDS)
def test_what_differs_is_named(
    source: Path, migrated: Server, changes: dict[str, tuple[Statements, set[Found]]]
) -> None:
    migrated.run(*(statement for statements, _ in changes.values() for statement in statements))
    expected = set().union(*(found for _, found in changes.values()))
    assert drift(sqlite_url(source), migrated.url) == expected


def test_nothing_is_written_and_the_data_keep_their_verdict(database: Server, source: Path) -> None:
    ferried(source, database)
    database.run(
        "DROP INDEX children_b",
        "ALTER TABLE children ALTER b SET DEFAULT 'y'",
        "ALTER TABLE pairs ADD more text",
        "SELECT setval(pg_get_serial_sequence('parents', 'id'), 2)",
    )
    before = catalog(database), fingerprint(source), database.rows("SELECT * FROM parents_id_seq")

    run = ferry(source, database, "--verify")

    after = catalog(database), fingerprint(source), database.rows("SELECT * FROM parents_id_seq")
    assert after == before
    assert (run.code, run.report["status"]) == (0, "verified")
    assert [(d["state"], d["what"], d["name"]) for d in run.report["drift"]] == [
        ("missing", "index", "children_b"),
        ("different", "default", "b"),
        ("different", "identity", "id"),
        ("extra", "column", "more"),
    ]
    assert run.report["drift"][2]["target"] == (
        "next value 3, which may be taken: the largest value there is 3"
    )
    lines = [line for line in run.err.splitlines() if line.startswith("Schema drift: ")]
    assert lines == [
        "Schema drift: missing in the target: children, index children_b: INDEX (b DESC, a)",
        "Schema drift: children, default b: 'x' would be made of the source, 'y'::text is in the "
        "target",
        "Schema drift: parents, identity id: next value 8 would be made of the source, next value "
        "3, which may be taken: the largest value there is 3 is in the target",
        "Schema drift: only in the target: pairs, column more: text",
        "Schema drift: 1 missing, 2 different, 1 only in the target.",
    ]
    assert ferry(source, database, "--verify", "--strict").code == 1


def test_a_part_of_the_tables(any_database: Server, source: Path) -> None:
    """Foreign keys to tables that are not chosen are left behind by a migration of a part."""
    ends = sqlite_url(source), any_database.url
    chosen = ["children", "pairs"]
    assert tableferry.migrate(*ends, tables=chosen).verified
    any_database.run("CREATE TABLE more (x text)", "DROP INDEX children_b")

    found = tableferry.verify(*ends, tables=chosen).drift

    assert [(each.what, each.name) for each in found] == [("index", "children_b")]
    assert tableferry.verify(*ends, tables=["pairs"]).drift == ()


BY_HAND = """
CREATE TABLE parents_of_all (
    id serial,
    code varchar(20) NOT NULL,
    name varchar(40),
    note varchar DEFAULT 'none'
);
CREATE UNIQUE INDEX i1 ON parents_of_all (code);
ALTER TABLE parents_of_all ADD CONSTRAINT p1 PRIMARY KEY (id);
CREATE TABLE child_rows (
    id integer GENERATED ALWAYS AS IDENTITY,
    parent_id integer NOT NULL CONSTRAINT f1 REFERENCES parents_of_all ON DELETE CASCADE,
    price numeric DEFAULT 0.0 CONSTRAINT c1 CHECK (price >= 0 AND price < 100),
    made timestamp DEFAULT date_trunc('second', now() AT TIME ZONE 'UTC'),
    CONSTRAINT u1 UNIQUE (id)
);
CREATE INDEX i2 ON child_rows (price DESC NULLS LAST) WHERE parent_id <> ALL (ARRAY[1, 2]);
CREATE INDEX i3 ON parents_of_all (lower(name COLLATE "C"));
INSERT INTO parents_of_all VALUES (DEFAULT, 'one', 'One', 'a');
INSERT INTO child_rows (parent_id, price, made) VALUES (1, 1.5, '2020-01-02 03:04:05');
"""


def test_a_target_made_by_hand(any_database: Server, tmp_path: Path) -> None:
    """By other names and types, in other words and another order."""
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE ParentsOfAll (id INTEGER PRIMARY KEY, Code TEXT NOT NULL UNIQUE, Name TEXT,
            Note TEXT DEFAULT "none");
        CREATE TABLE ChildRows (Id INTEGER PRIMARY KEY, ParentId INTEGER NOT NULL
            REFERENCES ParentsOfAll ON DELETE CASCADE, Price DECIMAL(10,2) DEFAULT 0
            CHECK (Price >= 0 AND Price < 100.0), Made DATETIME DEFAULT CURRENT_TIMESTAMP);
        CREATE INDEX by_price ON ChildRows (Price DESC) WHERE ParentId NOT IN (1, 2);
        CREATE INDEX by_name ON ParentsOfAll (lower(Name));
        INSERT INTO ParentsOfAll VALUES (1, 'one', 'One', 'a');
        INSERT INTO ChildRows VALUES (1, 1, 1.5, '2020-01-02 03:04:05');
        """,
    )
    any_database.run(*filter(str.strip, BY_HAND.split(";\n")))
    assert drift(sqlite_url(source), any_database.url) == set()


def test_a_role_that_may_only_read(migrated: Server, source: Path) -> None:
    migrated.run(
        "CREATE ROLE reader LOGIN PASSWORD 'reading'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
        "ALTER TABLE parents ALTER id RESTART WITH 2",
        "DROP INDEX children_b",
    )
    try:
        url = migrated.url_without_password.replace("//postgres", "//reader")
        env = environment(**{PASSWORD_VARIABLE: "reading"})
        with open_to_all(migrated):
            run = with_report("--verify", "--from", sqlite_url(source), "--to", url, env=env)
    finally:
        migrated.run("DROP OWNED BY reader", "DROP ROLE reader")
    assert run.code == 0, run.err
    assert [(d["what"], d["name"]) for d in run.report["drift"]] == [("index", "children_b")]
    assert run.report["warnings"][0] == (
        "Next identity values were not compared, since a role may not read the sequence: children, "
        "parents"
    )


# ---- into SQLite ---------------------------------------------------------------------------------

POSTGRESQL = """
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE parents (
    id bigserial PRIMARY KEY, code text NOT NULL UNIQUE, size size DEFAULT 'small'
);
CREATE TABLE children (
    id bigint PRIMARY KEY,
    parent bigint NOT NULL REFERENCES parents ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    price numeric(10,2) DEFAULT 0 CHECK (price >= 0),
    following bigint GENERATED ALWAYS AS (parent + 1) STORED,
    word text DEFAULT 'it''s',
    UNIQUE (parent, price)
);
CREATE INDEX children_word ON children (word DESC) WHERE (price > 1 AND word IN ('a', 'b'));
CREATE VIEW seen AS SELECT id, word FROM children;
INSERT INTO parents (code) VALUES ('one'), ('two');
INSERT INTO children VALUES (1, 1, 1.5);
"""

# The same in other words, and under other names.
BY_HAND_IN_SQLITE = """
CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT NOT NULL CONSTRAINT u1 UNIQUE,
    size TEXT DEFAULT ('small') CHECK ([size] in('small','large')));
CREATE TABLE children (
    id INT NOT NULL, -- no rowid
    parent BIGINT NOT NULL,
    price DECIMAL(10,2) DEFAULT '0.0',
    following BIGINT AS (`parent`+1),
    word TEXT DEFAULT 'it''s',
    CONSTRAINT p1 PRIMARY KEY (id), CONSTRAINT c1 CHECK (price>=0),
    CONSTRAINT f1 FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE
        DEFERRABLE INITIALLY DEFERRED);
CREATE UNIQUE INDEX i1 ON children (parent, price);
CREATE INDEX i2 ON children (word DESC) WHERE price>1 AND (word IN ('a','b'));
CREATE VIEW seen AS SELECT id, word FROM children;
INSERT INTO parents VALUES (1, 'one', 'small'), (2, 'two', 'small');
INSERT INTO children (id, parent, price, word) VALUES (1, 1, 1.5, 'it''s');
"""

IN_SQLITE: dict[tuple[str, str], Found] = {
    ("code TEXT NOT NULL", "code TEXT"): ("missing", "parents", "not null", "code"),
    ("CONSTRAINT u1 UNIQUE", ""): ("missing", "parents", "unique constraint", "parents_code_key"),
    ("'large')", "'huge')"): ("different", "parents", "check", "parents_size_check"),
    ("it''s',\n", "its',\n"): ("different", "children", "default", "word"),
    (" AS (`parent`+1)", ""): ("missing", "children", "generated column", "following"),
    ("ON DELETE CASCADE", ""): ("different", "children", "foreign key", "children_parent_fkey"),
    ("CONSTRAINT p1 PRIMARY KEY (id), ", ""): (
        *("missing", "children", "primary key", "children_pkey"),
    ),
    ("CHECK (price>=0)", "CHECK (price>0)"): (
        *("different", "children", "check", "children_price_check"),
    ),
    ("i1 ON children (parent, price)", "i1 ON parents (size, code)"): (
        *("missing", "children", "unique constraint", "children_parent_price_key"),
    ),
    ("price>1 AND", "price>2 AND"): ("missing", "children", "index", "children_word"),
    ("VIEW seen", "VIEW other"): ("missing", "seen", "view", "seen"),
}


def test_into_sqlite(any_database: Server, tmp_path: Path) -> None:
    any_database.run(*filter(str.strip, POSTGRESQL.split(";\n")))
    ours, theirs = tmp_path / "ours.db", sqlite_file(tmp_path / "theirs.db", BY_HAND_IN_SQLITE)
    assert tableferry.migrate(any_database.url, sqlite_url(ours)).verified
    assert drift(any_database.url, sqlite_url(ours)) == set()
    assert drift(any_database.url, sqlite_url(theirs)) == set()

    changed = BY_HAND_IN_SQLITE
    for old, new in IN_SQLITE:
        assert changed.count(old) == 1, old
        changed = changed.replace(old, new)
    changed += "UPDATE children SET following = parent + 1;"
    altered = sqlite_file(tmp_path / "altered.db", changed)
    assert drift(any_database.url, sqlite_url(altered)) == {
        *IN_SQLITE.values(),
        ("extra", "parents", "index", "i1"),
        ("extra", "children", "index", "i2"),
        ("extra", "other", "view", "other"),
    }


def test_between_two_files(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "target.db"
    carried(source, target)
    assert between(source, target, "--verify").report["drift"] == []
    other = sqlite_file(
        tmp_path / "other.db",
        SQLITE.replace("COLLATE NOCASE", "")
        .replace("(b DESC, a)", "(b, a)")
        .replace("(7, ", "(9, ")
        .replace("id = 7", "id = 9"),
    )
    assert drift(sqlite_url(source), sqlite_url(other)) == {
        ("different", "parents", "identity", "id"),
        ("missing", "parents", "collation", "Name"),
        ("different", "parents", "index", "parents_name"),
        ("different", "children", "index", "children_b"),
    }
