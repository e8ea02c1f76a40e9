"""Keys, constraints, indexes and identity columns, asked of the target's own catalog."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.servers import Server
from tests.system.support import ferried, independent_differences, keys, sqlite_file

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
