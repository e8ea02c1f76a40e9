"""Statements that make SQLite's tables: to the letter, and as Python's SQLite understands them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.dialects.sqlite import ddl
from tableferry.dialects.sqlite.definitions import table_definition
from tableferry.model import (
    Check,
    Column,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    Table,
    TableName,
    ViewPlan,
)
from tableferry.sql import quote

T = TableName("main", "t")


def table(*columns: Column, **more: object) -> Table:
    return Table(T, columns, **more)  # type: ignore[arg-type]


def run(connection: sqlite3.Connection, script: Iterable[str]) -> None:
    for statement in script:
        connection.execute(statement).fetchall()


def made(*scripts: Iterable[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in scripts:
        run(connection, script)
    return connection


def text_of(connection: sqlite3.Connection, name: str = "t") -> str:
    query = "SELECT sql FROM sqlite_schema WHERE name = ?"
    ((text,),) = connection.execute(query, (name,))
    return str(text)


def test_a_table_to_the_letter() -> None:
    whole = table(
        Column("id", "INTEGER", nullable=False),
        Column("word", "VARCHAR(20)", default="'none'", collation="NOCASE", comment="a\nword"),
        Column("twice", "BIGINT", generated='"id" * 2'),
        Column("thrice", "", generated='"id" * 3', virtual=True, nullable=False),
        primary_key=Key(("id",), "t_pkey"),
        identity=Identity("id", 7),
        uniques=(Key(("word", "id"), "t_word_key"),),
        checks=(Check("id > 0", "positive"), Check("1")),
        foreign_keys=(
            ForeignKey(("word",), TableName("main", "p"), ("w",), "CASCADE", deferred=True),
        ),
        indexes=(Index("i", (IndexColumn("word", descending=True),), unique=True, where="1"),),
        comment="all of it",
    )
    assert ddl.create_table(whole) == (
        'CREATE TABLE "main"."t" ( -- all of it\n'
        '  "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,\n'
        '  "word" VARCHAR(20) COLLATE "NOCASE" DEFAULT \'none\', -- a word\n'
        '  "twice" BIGINT GENERATED ALWAYS AS ("id" * 2) STORED,\n'
        '  "thrice" GENERATED ALWAYS AS ("id" * 3) VIRTUAL NOT NULL\n'
        ")",
    )
    assert ddl.define(whole) == (
        'CREATE TABLE "main"."t" ( -- all of it\n'
        '  "id" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,\n'
        '  "word" VARCHAR(20) COLLATE "NOCASE" DEFAULT \'none\', -- a word\n'
        '  "twice" BIGINT GENERATED ALWAYS AS ("id" * 2) STORED,\n'
        '  "thrice" GENERATED ALWAYS AS ("id" * 3) VIRTUAL NOT NULL,\n'
        '  CONSTRAINT "t_word_key" UNIQUE ("word", "id"),\n'
        '  CONSTRAINT "positive" CHECK (id > 0),\n'
        "  CHECK (1),\n"
        '  FOREIGN KEY ("word") REFERENCES "p" ("w") ON DELETE CASCADE ON UPDATE NO ACTION '
        "DEFERRABLE INITIALLY DEFERRED\n"
        ")",
        'CREATE UNIQUE INDEX "main"."i" ON "t" ("word" DESC) WHERE 1'.replace('"main"', "main"),
    )
    made(ddl.define(whole)).close()


@pytest.mark.parametrize(
    ("declared", "identity", "expected"),
    [
        ("INTEGER", Identity("id", 1), "PRIMARY KEY AUTOINCREMENT"),
        ("INTEGER", Identity("id", 1, reuses=True), "PRIMARY KEY"),
        ("INTEGER", None, "PRIMARY KEY"),
        ("integer", None, "PRIMARY KEY"),
        ("INT", Identity("id", 1), ""),
        ("BIGINT", None, ""),
        ("TEXT", None, ""),
    ],
)
def test_only_an_integer_key_is_the_rowid(
    declared: str, identity: Identity | None, expected: str
) -> None:
    keyed = table(Column("id", declared), primary_key=Key(("id",)), identity=identity)
    (statement,) = ddl.create_table(keyed)
    line = statement.splitlines()[1]
    assert line == f'  "id" {declared} {expected}'.rstrip()
    assert bool(ddl.add_key(keyed, Key(("id",)), primary=True)) == (not expected)
    connection = made(ddl.create_table(keyed), ddl.add_key(keyed, Key(("id",)), primary=True))
    assert "PRIMARY KEY" in text_of(connection)
    assert connection.execute("SELECT pk FROM pragma_table_info('t')").fetchall() == [(1,)]


def test_a_key_of_two_columns_is_no_rowid() -> None:
    keyed = table(Column("a", "INTEGER"), Column("b", "INTEGER"), primary_key=Key(("a", "b"), "k"))
    assert ddl.rowid_column(keyed) is None
    assert ddl.rowid_column(table(Column("a", "INTEGER"))) is None


@pytest.mark.parametrize(
    ("default", "written"),
    [
        *((plain, plain) for plain in ("1", "-1.5", "+7", "NULL", "'it''s'", "''", "TRUE")),
        *((plain, plain) for plain in ("current_timestamp", "CURRENT_DATE")),
        ("(1 + 2)", "(1 + 2)"),
        ("(')')", "(')')"),
        ("(')' || '(')", "(')' || '(')"),
        ("1 + 2", "(1 + 2)"),
        ("lower('A')", "(lower('A'))"),
        ("x'00'", "(x'00')"),
        ("'a' || 'b'", "('a' || 'b')"),
        ("1e5", "(1e5)"),
        ("(1) + (2)", "((1) + (2))"),
        ("'a'\n|| 'b'", "('a'\n|| 'b')"),
    ],
)
def test_defaults(default: str, written: str) -> None:
    script = ddl.create_table(table(Column("a", "", default=default), Column("b", "")))
    assert f'"a" DEFAULT {written},' in script[0]
    connection = made(script, ["INSERT INTO t (b) VALUES (1)"])
    expected = connection.execute(f"SELECT {default}").fetchone()
    assert connection.execute("SELECT a FROM t").fetchone() == expected


ODD_NAMES = [
    *("t", 'a "b"', "it's", "a.b", "50%_", "%s{0}\\1", "a -- b", "/* a", "x\ny", "[t]", "`t`"),
    *(" ", "ä漢🦆", "select", ")", "a, b", "'); DROP TABLE t; --", "?1", ":a", "\t"),
]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(
    lambda name: not name.lower().startswith("sqlite_")
)


@given(NAMES, NAMES.filter(lambda name: len(name) < 40), st.text())
@example('a "b"', "x\ny", "-- ) ' \" \n )")
@example("'); --", ")", "*/ /*")
@example("a -- b", "it's", "\0\r\n)")
def test_rules_are_appended_whatever_things_are_called(
    name: str, column: str, comment: str
) -> None:
    # The last line may end with a comment, of the column or, without one, none.
    own = replace(
        table(Column(column, "BIGINT", comment=comment), comment=comment),
        name=TableName("main", name),
    )
    first = Key((column,), f"{name}_key")
    check = Check(f"{quote(column)} > 0", f"{name}_check")
    foreign = ForeignKey((column,), own.name, (column,), "SET NULL", name=f"{name}_fkey")
    script = ddl.create_table(own)
    connection = made(script)
    connection.execute(f"INSERT INTO {quote(name)} VALUES (1), (NULL), (NULL)")
    run(connection, ddl.add_foreign_key(own.name, foreign))
    run(connection, ddl.add_key(own, first, primary=False))
    run(connection, ddl.add_check(own.name, check))

    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'index'"
    assert connection.execute(query).fetchall() == [(f"sqlite_autoindex_{name}_1", None)]
    read = table_definition(text_of(connection, name))
    assert [(c.name, c.expression) for c in read.checks] == [(check.name, check.expression)]
    assert read.constraint_names == ((first.name, (column,)),)
    assert [(k.name, k.parent) for k in read.foreign_keys] == [(foreign.name, name)]
    for value in (1, 0):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(f"INSERT INTO {quote(name)} VALUES ({value})")
    with pytest.raises(sqlite3.IntegrityError):
        run(
            connection,
            ["PRAGMA foreign_keys = ON", f"UPDATE {quote(name)} SET {quote(column)} = 5 WHERE 1"],
        )
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    # A foreign key that is taken away again leaves the rest as it was.
    run(connection, ddl.drop_foreign_key(own.name, foreign))
    read = table_definition(text_of(connection, name))
    assert read.foreign_keys == ()
    assert len(read.checks) == len(read.constraint_names) == 1
    connection.close()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_by_example(name: str) -> None:
    column = Column(name, "INTEGER", comment=f"of {name}")
    own = replace(
        table(column, primary_key=Key((name,)), identity=Identity(name, 10)),
        name=TableName("main", name),
    )
    view = ViewPlan(own.name, TableName("main", f"{name} view"), f"SELECT 1 AS {quote(name)}")
    connection = made(
        ddl.create_table(own),
        ddl.create_index(own.name, Index(f"{name}_i", (IndexColumn(name),))),
        ddl.create_view(view),
        ddl.set_next_identity(own),
        ddl.analyze([own.name]),
    )
    inserted = f"INSERT INTO {quote(name)} DEFAULT VALUES RETURNING {quote(name)}"
    assert connection.execute(inserted).fetchall() == [(10,)]
    run(connection, ddl.empty_tables([own.name]))
    assert connection.execute(inserted).fetchall() == [(11,)]
    run(connection, ddl.drop_views([view.target]))
    run(connection, ddl.drop_tables([own.name]))
    query = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
    assert connection.execute(query).fetchall() == []
    connection.close()


def test_rules_go_one_behind_the_other() -> None:
    keyed = table(Column("a", "TEXT"), Column("b", "TEXT", comment="the last"))
    connection = made(
        ddl.create_table(keyed),
        ddl.add_key(keyed, Key(("b", "a"), "p"), primary=True),
        ddl.add_key(keyed, Key(("a",), "u"), primary=False),
        ddl.add_check(T, Check("a <> ''", "c")),
        ddl.add_key(keyed, Key(("b",)), primary=False),
    )
    assert text_of(connection) == (
        'CREATE TABLE "t" (\n'
        '  "a" TEXT,\n'
        '  "b" TEXT -- the last\n'
        ', CONSTRAINT "p" PRIMARY KEY ("b", "a")\n'
        ', CONSTRAINT "u" UNIQUE ("a")\n'
        ", CONSTRAINT \"c\" CHECK (a <> '')\n"
        ', UNIQUE ("b")\n'
        ")"
    )
    listed = connection.execute(
        "SELECT name, origin FROM pragma_index_list('t') ORDER BY name"
    ).fetchall()
    assert listed == [
        ("sqlite_autoindex_t_1", "pk"),
        ("sqlite_autoindex_t_2", "u"),
        ("sqlite_autoindex_t_3", "u"),
    ]
    # What SQLite makes of the text by itself is the same.
    other = sqlite3.connect(":memory:")
    other.execute(text_of(connection))
    assert (
        other.execute("SELECT name, origin FROM pragma_index_list('t') ORDER BY name").fetchall()
        == listed
    )


def test_one_of_two_foreign_keys_is_taken_away() -> None:
    keys = [
        ForeignKey(("a",), T, ("a",), on_update=action, name=name)
        for action, name in (("CASCADE", "f"), ("CASCADE", "f_"), ("SET NULL", ""))
    ]
    own = table(Column("a", "INT"))
    connection = made(ddl.create_table(own), *(ddl.add_foreign_key(T, key) for key in keys))
    run(connection, ddl.drop_foreign_key(T, keys[0]))
    query = "SELECT on_update FROM pragma_foreign_key_list('t') ORDER BY id DESC"
    assert connection.execute(query).fetchall() == [("CASCADE",), ("SET NULL",)]
    assert [key.name for key in table_definition(text_of(connection)).foreign_keys] == ["f_", ""]


def test_indexes() -> None:
    index = Index(
        "i",
        (
            IndexColumn("a", descending=True, collation="NOCASE"),
            IndexColumn(expression='lower("a")'),
            IndexColumn(expression='"b" + 1', descending=True),
        ),
        where='"b" IS NOT NULL',
    )
    (statement,) = ddl.create_index(T, index)
    assert statement == (
        'CREATE INDEX main."i" ON "t" ("a" COLLATE "NOCASE" DESC, (lower("a")), ("b" + 1) DESC) '
        'WHERE "b" IS NOT NULL'
    )
    connection = made(ddl.create_table(table(Column("a", ""), Column("b", ""))), [statement])
    query = "SELECT name, desc, coll FROM pragma_index_xinfo('i') WHERE key = 1"
    assert connection.execute(query).fetchall() == [
        ("a", 1, "NOCASE"),
        (None, 0, "BINARY"),
        (None, 1, "BINARY"),
    ]


def found(connection: sqlite3.Connection, condition: str) -> list[int]:
    query = f"SELECT t.rowid FROM t AS t WHERE {condition} ORDER BY 1"
    return [row for (row,) in connection.execute(query)]


def test_rows_that_break_a_rule() -> None:
    connection = made(
        ddl.create_table(table(Column("a", "TEXT"), Column("b", "INT"))),
        [
            "INSERT INTO t VALUES ('x', 1), ('x', 1), ('X', 1), ('y', NULL), ('y', NULL)",
            "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('z', -1)",
        ],
    )
    both = (IndexColumn("a"), IndexColumn("b"))
    assert found(connection, ddl.breaking_unique(T, Index("", both))) == [1, 2]
    nocase = (IndexColumn("a", collation="NOCASE"),)
    assert found(connection, ddl.breaking_unique(T, Index("", nocase))) == [1, 2, 3, 4, 5]
    lower = (IndexColumn(expression="lower(a)"),)
    assert found(connection, ddl.breaking_unique(T, Index("", lower))) == [1, 2, 3, 4, 5]
    partial = Index("", (IndexColumn("a"),), where="b IS NULL")
    assert found(connection, ddl.breaking_unique(T, partial)) == [4, 5]
    for index in (Index("i", both), Index("i", nocase), Index("i", lower), partial):
        with pytest.raises(sqlite3.IntegrityError):
            run(connection, ddl.create_index(T, replace(index, name="i", unique=True)))
    assert found(connection, ddl.breaking_check(Check("b > 0"))) == [8]
    key = ForeignKey(("a",), T, ("b",))
    assert found(connection, ddl.breaking_foreign_key(key)) == [1, 2, 3, 4, 5, 8]


@pytest.mark.parametrize(
    ("following", "given"), [(1, 1), (43, 43), (2**63 - 1, 2**63 - 1), (2**63, None)]
)
@pytest.mark.parametrize("rows", [(), (5,)])
def test_the_next_number(following: int, given: int | None, rows: tuple[int, ...]) -> None:
    numbered = table(
        Column("id", "INTEGER"), primary_key=Key(("id",)), identity=Identity("id", following)
    )
    connection = made(ddl.create_table(numbered), (f"INSERT INTO t VALUES ({row})" for row in rows))
    run(connection, ddl.set_next_identity(numbered))
    if given is None:
        with pytest.raises(sqlite3.OperationalError, match="full"):
            connection.execute("INSERT INTO t DEFAULT VALUES")
        return
    (got,) = connection.execute("INSERT INTO t DEFAULT VALUES RETURNING id").fetchall()
    # A row that is there has its own number, whatever the sequence says.
    assert got == (max(given, *(row + 1 for row in rows), 0),)


def test_numbers_that_are_reused_are_left_alone() -> None:
    numbered = table(
        Column("id", "INTEGER"),
        primary_key=Key(("id",)),
        identity=Identity("id", 43, reuses=True),
    )
    assert ddl.set_next_identity(numbered) == ()


def test_what_sqlite_has_no_statement_for() -> None:
    own = table(Column("a", "", default="1", comment="c"), comment="d")
    for script in (
        ddl.create_schema("main"),
        ddl.set_default(T, own.columns[0]),
        ddl.comments(own),
        ddl.validate_foreign_key(T, ForeignKey(("a",), T, ("a",))),
        ddl.set_owner(T, "r"),
        ddl.grant("main", [own], "r"),
        ddl.grant_view(T, "r"),
    ):
        assert script == ()


def test_the_schema_is_read_anew_within_the_transaction() -> None:
    """So that what cannot be read is not committed."""
    with closing(made(ddl.create_table(table(Column("a", ""))))) as connection:
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.DatabaseError, match="malformed database schema"):
            run(connection, ddl.add_check(T, Check("nowhere > 0")))
        connection.execute("ROLLBACK")
        assert "CHECK" not in text_of(connection)


@pytest.mark.parametrize(
    "declared",
    [
        *("", "INT", "VARCHAR (10)", "DECIMAL( 10 , -2 )", "double precision", "a b  c", "KEY"),
        *("INT PRIMARY KEY", "INTEGER DEFAULT (load_extension('x'))", "TEXT NOT NULL", "AS (1)"),
        *('x"; DROP TABLE t; --', "x'y", "`x`", "[b]", "int);--", "x generated always", "LEFT"),
        *("REFERENCES t", "int CHECK (0)", "a, b", "Ünï", "5", "--", "/*", "a(b)", '"quoted"'),
        "TEXT COLLATE x",
    ],
)
def test_a_type_is_a_type_whatever_it_says(declared: str) -> None:
    table = Table(TableName("main", "t"), (Column("v", declared), Column("w", "INT")))
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in ddl.create_table(table):
            connection.execute(statement)
        rows = connection.execute(
            "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo('t')"
        ).fetchall()
    assert rows == [("v", declared, 0, None, 0, 0), ("w", "INT", 0, None, 0, 0)]
