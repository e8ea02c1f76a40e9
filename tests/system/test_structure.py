"""Keys, constraints, indexes and identity columns, asked of the target's own catalog."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.servers import Server
from tests.system.support import (
    ferried,
    ferry,
    independent_differences,
    keys,
    sqlite_file,
    sqlite_rows,
)

SCRIPT = """
CREATE TABLE parents (a INTEGER, b TEXT, code TEXT UNIQUE, PRIMARY KEY (b, a), UNIQUE (code, a));
CREATE TABLE children (
    id INTEGER PRIMARY KEY,
    a INTEGER,
    b TEXT NOT NULL,
    code TEXT REFERENCES parents (code) ON DELETE SET NULL ON UPDATE CASCADE,
    elder INTEGER REFERENCES children,
    FOREIGN KEY (b, a) REFERENCES parents ON DELETE CASCADE
);
CREATE INDEX children_by_code ON children (code DESC, a);
CREATE UNIQUE INDEX children_once ON children (b, a);
CREATE TABLE "left" (id INTEGER PRIMARY KEY, "right" INTEGER REFERENCES "right");
CREATE TABLE "right" (id INTEGER PRIMARY KEY, "left" INTEGER REFERENCES "left");
CREATE TABLE settings (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE log (line TEXT, length INTEGER GENERATED ALWAYS AS (length(line)) STORED);
INSERT INTO parents VALUES (1, 'x', 'one'), (2, 'x', 'two'), (1, 'y', NULL);
INSERT INTO children VALUES (1, 1, 'x', 'one', NULL), (7, 2, 'x', 'two', 1);
INSERT INTO children VALUES (8, NULL, 'y', NULL, 7);
INSERT INTO "left" VALUES (1, 2), (2, NULL);
INSERT INTO "right" VALUES (2, 1);
INSERT INTO settings VALUES ('colour', 'blue'), ('size', NULL);
INSERT INTO log (line) VALUES ('a line'), ('a line'), (NULL);
"""


def test_every_constraint_arrives(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SCRIPT)

    run = ferried(source, database)

    assert independent_differences(source, database.url) == {}
    assert run.report["left_behind"] == []
    assert keys(database, "p") == {
        ("parents", ("b", "a")),
        ("children", ("id",)),
        ("left", ("id",)),
        ("right", ("id",)),
        ("settings", ("name",)),
    }
    assert keys(database, "u") == {("parents", ("code",)), ("parents", ("code", "a"))}
    definitions = database.rows(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE contype = 'f' ORDER BY 1, 2"
    )
    assert definitions == [
        ('"left"', 'FOREIGN KEY ("right") REFERENCES "right"(id)'),
        ('"right"', 'FOREIGN KEY ("left") REFERENCES "left"(id)'),
        ("children", "FOREIGN KEY (b, a) REFERENCES parents(b, a) ON DELETE CASCADE"),
        (
            "children",
            "FOREIGN KEY (code) REFERENCES parents(code) ON UPDATE CASCADE ON DELETE SET NULL",
        ),
        ("children", "FOREIGN KEY (elder) REFERENCES children(id)"),
    ]
    indexes = database.rows(
        "SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'children_%' "
        "AND indexname <> 'children_pkey' ORDER BY indexname"
    )
    assert indexes == [
        (
            "CREATE INDEX children_by_code ON public.children USING btree "
            "(code DESC NULLS LAST, a NULLS FIRST)",
        ),
        (
            "CREATE UNIQUE INDEX children_once ON public.children USING btree "
            "(b NULLS FIRST, a NULLS FIRST)",
        ),
    ]
    for statement in (
        "INSERT INTO children (a, b) VALUES (1, NULL)",
        "INSERT INTO children (a, b) VALUES (9, 'x')",
        "INSERT INTO parents VALUES (5, 'z', 'one')",
        "INSERT INTO settings VALUES ('colour', 'red')",
    ):
        with pytest.raises(psycopg.IntegrityError):
            database.run(statement)


def test_two_foreign_keys_of_one_column(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE a (id INTEGER PRIMARY KEY);
        CREATE TABLE b (id INTEGER PRIMARY KEY);
        CREATE TABLE child (x INTEGER REFERENCES a REFERENCES b, FOREIGN KEY (x) REFERENCES a (id));
        INSERT INTO a VALUES (1);
        INSERT INTO b VALUES (1);
        INSERT INTO child VALUES (1);
        """,
    )

    run = ferried(source, any_database)

    assert run.left_behind("foreign key") == []
    parents = "SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    assert {name for (name,) in any_database.rows(parents)} == {"a", "b"}


@pytest.mark.parametrize(
    ("definition", "filling", "expected"),
    [
        ("id INTEGER PRIMARY KEY AUTOINCREMENT", "", 1),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "INSERT INTO t (id) VALUES (41); DELETE FROM t;",
            42,
        ),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "INSERT INTO t (id) VALUES (5), (41); DELETE FROM t WHERE id = 41;",
            42,
        ),
        (
            "id INTEGER PRIMARY KEY AUTOINCREMENT",
            "INSERT INTO t (id) VALUES (41); UPDATE t SET id = 50;",
            51,
        ),
        ("id INTEGER PRIMARY KEY", "", 1),
        ("id INTEGER PRIMARY KEY", "INSERT INTO t (id) VALUES (5), (41);", 42),
        ("id INTEGER PRIMARY KEY", "INSERT INTO t (id) VALUES (-5);", 1),
        ("id INTEGER, PRIMARY KEY (id DESC)", "INSERT INTO t (id) VALUES (6);", 7),
    ],
)
def test_the_next_identity_is_sqlites(
    any_database: Server, tmp_path: Path, definition: str, filling: str, expected: int
) -> None:
    script = f"CREATE TABLE t ({definition.replace('id INTEGER, ', 'id INTEGER, x TEXT, ')});"
    if "x TEXT" not in script:
        script = script.replace(");", ", x TEXT);")
    source = sqlite_file(tmp_path / "source.db", script + filling)

    ferried(source, any_database)

    insert = "INSERT INTO t (x) VALUES ('new') RETURNING id"
    assert any_database.rows(insert) == [(expected,)]


def test_the_default_of_a_column_that_numbers_itself_is_named(
    any_database: Server, tmp_path: Path
) -> None:
    script = "CREATE TABLE t (id INTEGER PRIMARY KEY DEFAULT 40, x TEXT);"
    source = sqlite_file(tmp_path / "source.db", script + "INSERT INTO t (x) VALUES ('first');")

    run = ferried(source, any_database)

    insert = "INSERT INTO t (x) VALUES ('new') RETURNING id"
    assert any_database.rows(insert) == [(2,)]
    assert sqlite_rows(source, insert) == [(2,)]
    assert run.left_behind("default") == [("t", "id")]


def test_the_largest_identity_is_not_followed_by_a_smaller_one(
    any_database: Server, tmp_path: Path
) -> None:
    largest = 2**63 - 1
    source = sqlite_file(
        tmp_path / "source.db",
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES ({largest}, 'last');",
    )

    ferried(source, any_database)

    assert any_database.rows("SELECT id FROM t") == [(largest,)]
    with pytest.raises(psycopg.DataError, match="maximum value"):
        any_database.run("INSERT INTO t (x) VALUES ('one more')")


def test_what_the_target_refuses_is_named_and_the_rest_arrives(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE);
        CREATE TABLE orphans (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents);
        CREATE TABLE lost (id INTEGER PRIMARY KEY, nowhere INTEGER REFERENCES missing (id));
        CREATE TABLE keyless (k TEXT PRIMARY KEY, long TEXT, price REAL);
        CREATE INDEX too_long ON keyless (long);
        CREATE INDEX partial ON keyless (price) WHERE likelihood(price > 1, 0.5);
        CREATE INDEX computed ON keyless (unicode(long));
        CREATE TRIGGER busy AFTER INSERT ON parents BEGIN SELECT 1; END;
        CREATE VIEW looks AS SELECT printf('%s', name) FROM parents;
        INSERT INTO parents VALUES (1, 'one');
        INSERT INTO orphans VALUES (1, 1), (2, 99);
        INSERT INTO lost VALUES (1, 1);
        INSERT INTO keyless VALUES (NULL, hex(randomblob(4000)), 0.5), ('a', 'short', 2.5);
        """,
    )

    run = ferried(source, any_database)

    assert independent_differences(source, any_database.url) == {}
    left = {(i["what"], i["table"], i["name"]): i["reason"] for i in run.report["left_behind"]}
    assert set(left) == {
        ("collation", "parents", "name"),
        ("foreign key", "lost", "(nowhere) to missing"),
        ("primary key", "keyless", "k"),
        ("index", "keyless", "too_long"),
        ("index", "keyless", "partial"),
        ("index", "keyless", "computed"),
        ("trigger", "parents", "busy"),
        ("view", "looks", "looks"),
    }
    assert all(left.values())
    (violation,) = run.report["violations"]
    assert violation == {
        "what": "foreign key",
        "name": "(parent) to parents",
        "table": "orphans",
        "rows": 1,
        "examples": [{"id": "2"}],
        "consequence": "it holds for new rows only (NOT VALID)",
    }


# ---- keys and constraints by their names ------------------------------------------------------

NAMED = """
CREATE TABLE parents (
    a INTEGER, b TEXT, CONSTRAINT parents_key PRIMARY KEY (b, a)
) WITHOUT ROWID;
CREATE TABLE children (
    id INTEGER CONSTRAINT children_key PRIMARY KEY,
    a INTEGER,
    b TEXT,
    elder INTEGER CONSTRAINT has_elder REFERENCES children ON DELETE CASCADE ON UPDATE SET NULL,
    friend INTEGER NOT NULL DEFAULT 3
        REFERENCES friends (id) ON DELETE SET DEFAULT DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT has_parent FOREIGN KEY (b, a) REFERENCES parents ON DELETE RESTRICT,
    CONSTRAINT once UNIQUE (b, a),
    UNIQUE (a, friend),
    CONSTRAINT "is positive" CHECK (a > 0),
    CHECK (b <> 'no' OR a = 1)
);
CREATE TABLE friends (
    id INTEGER PRIMARY KEY,
    child INTEGER REFERENCES children DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO parents VALUES (1, 'x'), (2, 'x');
INSERT INTO children VALUES (1, 1, 'x', NULL, 4), (2, 2, NULL, 1, 3);
INSERT INTO friends VALUES (3, 1), (4, 2);
"""


def test_constraints_keep_their_names(database: Server, tmp_path: Path) -> None:
    run = ferried(sqlite_file(tmp_path / "source.db", NAMED), database)

    assert run.report["left_behind"] == run.report["violations"] == []
    definitions = database.rows(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND convalidated"
    )
    assert dict(definitions) == {
        "parents_key": "PRIMARY KEY (b, a)",
        "children_key": "PRIMARY KEY (id)",
        "friends_pkey": "PRIMARY KEY (id)",
        "has_elder": (
            "FOREIGN KEY (elder) REFERENCES children(id) ON UPDATE SET NULL ON DELETE CASCADE"
        ),
        "has_parent": "FOREIGN KEY (b, a) REFERENCES parents(b, a) ON DELETE RESTRICT",
        "children_friend_fkey": (
            "FOREIGN KEY (friend) REFERENCES friends(id) ON DELETE SET DEFAULT "
            "DEFERRABLE INITIALLY DEFERRED"
        ),
        "friends_child_fkey": (
            "FOREIGN KEY (child) REFERENCES children(id) DEFERRABLE INITIALLY DEFERRED"
        ),
        "once": "UNIQUE (b, a)",
        "children_a_friend_key": "UNIQUE (a, friend)",
        "is positive": "CHECK ((a > 0))",
        "children_check2": "CHECK (((b <> 'no'::text) OR (a = 1)))",
    }
    for insert, constraint in (
        ("parents VALUES (1, 'x')", "parents_key"),
        ("children VALUES (1, 5)", "children_key"),
        ("children VALUES (7, 2, 'x', NULL, 3)", "children_a_friend_key"),
        ("children VALUES (7, 1, 'x')", "once"),
        ("children VALUES (7, 9, 'x')", "has_parent"),
        ("children VALUES (7, 5, NULL, 99)", "has_elder"),
        ("children VALUES (7, 0)", "is positive"),
        ("children VALUES (7, 2, 'no')", "children_check2"),
        ("children VALUES (7, 5, NULL, NULL, 99)", "children_friend_fkey"),
    ):
        with pytest.raises(psycopg.IntegrityError) as caught:
            database.run(f"INSERT INTO {insert}")
        assert caught.value.diag.constraint_name == constraint
    for insert in ("children (friend) VALUES (NULL)", "parents VALUES (NULL, 'x')"):
        with pytest.raises(psycopg.errors.NotNullViolation):
            database.run(f"INSERT INTO {insert}")
    # NULL breaks neither a check nor a key.
    database.run("INSERT INTO children VALUES (7, NULL, NULL), (8, NULL, 'no'), (9, NULL, 'no')")


def test_foreign_keys_act_and_wait_as_they_did(any_database: Server, tmp_path: Path) -> None:
    ferried(sqlite_file(tmp_path / "source.db", NAMED), any_database)
    run, rows = any_database.run, any_database.rows

    # Deferred: wrong in between, right at the end of the transaction.
    run(
        "BEGIN; INSERT INTO children VALUES (10, NULL, NULL, NULL, 11);"
        "INSERT INTO friends VALUES (11, 10); COMMIT"
    )
    assert rows("SELECT friend FROM children WHERE id = 10") == [(11,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run("BEGIN; INSERT INTO friends VALUES (12, 99); COMMIT")

    with pytest.raises(psycopg.IntegrityError):
        run("DELETE FROM parents WHERE a = 1")
    run("UPDATE friends SET child = NULL", "UPDATE children SET id = 5 WHERE id = 1")
    assert rows("SELECT elder FROM children WHERE id = 2") == [(None,)]
    run("UPDATE children SET elder = 5 WHERE id = 2", "DELETE FROM friends WHERE id = 4")
    assert rows("SELECT id, friend FROM children ORDER BY 1") == [(2, 3), (5, 3), (10, 11)]
    run("DELETE FROM children WHERE id = 5")
    assert rows("SELECT id FROM children") == [(10,)]


def test_a_primary_key_that_holds_nulls(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE one (k TEXT PRIMARY KEY, v INTEGER);
        CREATE TABLE two (a INTEGER, b TEXT, CONSTRAINT two_key PRIMARY KEY (a, b));
        CREATE TABLE kept (k TEXT PRIMARY KEY);
        CREATE TABLE child (k TEXT REFERENCES one (k));
        INSERT INTO one VALUES (NULL, 1), (NULL, 2), ('a', 3);
        INSERT INTO two VALUES (NULL, 'x'), (NULL, 'x'), (1, NULL), (1, 'x');
        INSERT INTO kept VALUES ('a');
        INSERT INTO child VALUES ('a'), (NULL);
        """,
    )

    run = ferried(source, any_database)

    assert run.left_behind("primary key") == [("one", "k"), ("two", "a, b")]
    assert all("unique constraint" in item["reason"] for item in run.report["left_behind"])
    assert independent_differences(source, any_database.url) == {}
    assert keys(any_database, "p") == {("kept", ("k",))}
    assert keys(any_database, "u") == {("one", ("k",)), ("two", ("a", "b"))}
    assert any_database.rows("SELECT conname FROM pg_constraint WHERE conname = 'two_key'")
    any_database.run("INSERT INTO one VALUES (NULL, 4)", "INSERT INTO two VALUES (NULL, 'x')")
    for refused in ("one VALUES ('a')", "two VALUES (1, 'x')", "child VALUES ('b')"):
        with pytest.raises(psycopg.IntegrityError):
            any_database.run(f"INSERT INTO {refused}")


# ---- what is no table, and what people wrote about those that are -----------------------------


def test_what_is_sqlites_alone_is_named(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);
        CREATE VIRTUAL TABLE found USING fts5 (body, content='notes', content_rowid='id');
        CREATE VIRTUAL TABLE boxes USING rtree (id, low, high);
        CREATE TRIGGER noted AFTER INSERT ON notes BEGIN
            INSERT INTO found (rowid, body) VALUES (new.id, new.body);
        END;
        CREATE VIEW seen AS SELECT body FROM found;
        CREATE TRIGGER through INSTEAD OF INSERT ON seen BEGIN SELECT 1; END;
        INSERT INTO notes VALUES (1, 'one');
        INSERT INTO boxes VALUES (1, 0.0, 1.0);
        """,
    )

    run = ferried(source, any_database)

    assert run.left_behind("trigger") == [("notes", "noted"), ("seen", "through")]
    assert [name for name, _ in run.left_behind("virtual table")] == ["boxes", "found"]
    assert {name for name, _ in run.left_behind("shadow table")} == {
        *("found_config", "found_data", "found_docsize", "found_idx"),
        *("boxes_node", "boxes_parent", "boxes_rowid"),
    }
    assert run.left_behind("view") == [("seen", "seen")]
    assert any_database.rows(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'v') "
        "AND relnamespace = 'public'::regnamespace"
    ) == [("notes",)]
    assert ferry(source, any_database, "--drop-all", "--strict").code == 1


def test_comments_arrive(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE people ( -- everybody's, "quoted" and with a \\ in it
            id INTEGER PRIMARY KEY, -- the number
            name TEXT, /* as it is
                          spoken */
            -- in metres
            height REAL
        );
        INSERT INTO people VALUES (1, 'Ann', 1.75);
        """,
    )

    ferried(source, any_database)

    assert any_database.rows(
        "SELECT coalesce(a.attname, ''), d.description FROM pg_description d "
        "LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = nullif(d.objsubid, 0) "
        "WHERE d.objoid = 'people'::regclass AND d.classoid = 'pg_class'::regclass "
        "ORDER BY d.objsubid"
    ) == [
        ("", 'everybody\'s, "quoted" and with a \\ in it'),
        ("id", "the number"),
        ("name", "as it is\nspoken"),
        ("height", "in metres"),
    ]


def test_a_key_without_a_column_list_to_a_primary_key_with_nulls(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE one (k TEXT PRIMARY KEY); CREATE TABLE child (k TEXT REFERENCES one);"
        "INSERT INTO one VALUES (NULL), ('a'); INSERT INTO child VALUES ('a');",
    )

    run = ferried(source, any_database)

    assert run.left_behind("foreign key") == []
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        any_database.run("INSERT INTO child VALUES ('b')")
