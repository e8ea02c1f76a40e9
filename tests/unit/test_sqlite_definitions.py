"""What is read from CREATE statements, held against what SQLite itself makes of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tableferry.dialects.sqlite.definitions import (
    CheckText,
    ForeignKeyText,
    IndexDefinition,
    TableDefinition,
    ViewDefinition,
    index_definition,
    table_definition,
    unquoted,
    view_definition,
)
from tableferry.sql import quote

# The folder with sample databases stands beside the checkout, where there is one.
SHARED = Path(__file__).parents[3] / "shared" / "data"

TRICKY = """CREATE TABLE IF NOT EXISTS main."a.b" -- the ( table
  ( -- and more
    "check" INTEGER CONSTRAINT "p k" PRIMARY KEY DESC ON CONFLICT REPLACE, /* of ')' the check */
    -- above x y,
    -- in two lines
    [x y] DECIMAL(10, 2) DEFAULT (')CHECK (' || "x") CHECK ([x y] > ')' /* ) */ AND 1) NOT NULL,
    `CHECK (` text COLLATE nocase DEFAULT -1e-3 -- before its comma
      CONSTRAINT f REFERENCES "p,"(a, b) ON DELETE SET DEFAULT ON UPDATE CASCADE MATCH FULL
      DEFERRABLE INITIALLY DEFERRED,
    g AS (1 + (2)) STORED UNIQUE, ñandú$ INT GENERATED ALWAYS AS ("check" || ')') VIRTUAL

    -- a heading of nothing

    , 'q''q', --

    CONSTRAINT u UNIQUE ([x y] COLLATE rtrim DESC, ("q'q")) ON CONFLICT FAIL
    CONSTRAINT f2 FOREIGN KEY (g, ñandú$) REFERENCES p NOT DEFERRABLE INITIALLY DEFERRED
    CHECK ([x y] IN (x'29', ")")) -- of the table
  ) /* an end */ without rowid, Strict"""


def test_a_tricky_statement() -> None:
    assert table_definition(TRICKY) == TableDefinition(
        checks=(
            CheckText("", "[x y] > ')'   AND 1", "x y"),
            CheckText("", "[x y] IN (x'29', \")\")", ""),
        ),
        generated=(("g", "1 + (2)"), ("ñandú$", "\"check\" || ')'")),
        collations=(("CHECK (", "NOCASE"),),
        foreign_keys=(
            ForeignKeyText("f", ("CHECK (",), "p,", True, True),
            ForeignKeyText("f2", ("g", "ñandú$"), "p", False, False),
        ),
        strict=True,
        without_rowid=True,
        constraint_names=(("p k", ("check",)), ("u", ("x y", "q'q"))),
        on_conflict=(
            "PRIMARY KEY (check) ON CONFLICT REPLACE",
            "UNIQUE (x y, q'q) ON CONFLICT FAIL",
        ),
        comments=(
            ("", "the ( table\nand more"),
            ("check", "of ')' the check"),
            ("x y", "above x y,\nin two lines"),
            ("CHECK (", "before its comma"),
        ),
    )


@pytest.mark.parametrize(
    "statement",
    [
        TRICKY,
        "CREATE UNIQUE INDEX i ON t([a], lower(b) COLLATE nocase DESC) WHERE a > 0 /* x */ AND b",
        "CREATE VIEW \"v w\" (a, [b c]) AS SELECT 'x''y', b -- all\nFROM t",
    ],
)
def test_every_part_of_a_statement_is_read_without_an_exception(statement: str) -> None:
    for read in (table_definition, index_definition, view_definition):
        for end in range(len(statement)):
            read(statement[:end])
            read(statement[end:])
            read(statement[:end] + statement[end + 1 :])


@given(st.text(st.sampled_from("()[]\"'`,;-*/ \nx1.CHECK") | st.characters(codec="utf-8")))
def test_any_text_is_read_without_an_exception(text: str) -> None:
    for start in ("", "CREATE TABLE t(a ", "CREATE INDEX i ON t(", "CREATE VIEW v"):
        for end in ("", ")"):
            for read in (table_definition, index_definition, view_definition):
                read(start + text + end)


# --- Definitions made at random ----------------------------------------------------------------

HOSTILE = ["", "check", "CHECK (", "a,b", ")", "--", "/*", "'", '"', "`", "[", "x'y", "a;b", "$1"]
BARE = ["straße", "a$1", "_x", "ſtrict", "ı", "nocase", "desc", "match", "\xa0", "key", "generated"]
# As written, and as read.
SPACES = [(" ", " "), ("\n", "\n"), ("/* ) CHECK ( */", " "), (" -- ('\n", "  \n"), ("/**/", " ")]
TYPES = ["", "INT", "DECIMAL(10, 2)", "VARCHAR ( 5 )", "BIG INT", '"CHECK ("', "'t)'", "if"]
DEFERRALS = [
    ("", False, False),
    ("DEFERRABLE", True, False),
    ("DEFERRABLE INITIALLY IMMEDIATE", True, False),
    ("DEFERRABLE INITIALLY DEFERRED", True, True),
    ("NOT DEFERRABLE", False, False),
    ("NOT DEFERRABLE INITIALLY DEFERRED", False, False),
    ("NOT DEFERRABLE INITIALLY IMMEDIATE", False, False),
]
ACTIONS = ["", "ON DELETE SET NULL", "ON UPDATE SET DEFAULT", "ON DELETE CASCADE MATCH FULL"]
EXPRESSIONS = [
    ["COLUMN", "IS NOT", "LITERAL"],
    ["(", "LITERAL", ") IS NOT", "COLUMN", "OR (", "LITERAL", "=", "COLUMN", ")"],
    ["COLUMN", "NOT IN (", "LITERAL", ",", "LITERAL", ")"],
    ["length(", "LITERAL", "||", "COLUMN", ") > 2"],
    ["CASE WHEN", "COLUMN", "<", "LITERAL", "THEN", "LITERAL", "ELSE 1 END"],
    ["COLUMN", "COLLATE nocase =", "LITERAL"],
    ["- ", "LITERAL"],
]

characters = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.sampled_from(HOSTILE) | st.text(characters, max_size=6)
names = texts | st.sampled_from(BARE)
literals = (
    texts.map(lambda text: "'" + text.replace("'", "''") + "'")
    | st.sampled_from(["x'29'", "1e-3", ".5", "0x1F", "NULL", "''"])
    | st.integers(0, 2**63 - 1).map(str)
)


NOTHING = TableDefinition()


@dataclass(frozen=True)
class Piece:
    """A part of a CREATE TABLE, and what it says."""

    sql: str
    says: TableDefinition = NOTHING


def joined(pieces: Sequence[Piece]) -> TableDefinition:
    """What a statement of all these pieces says."""
    return TableDefinition(
        checks=tuple(x for piece in pieces for x in piece.says.checks),
        generated=tuple(x for piece in pieces for x in piece.says.generated),
        collations=tuple(x for piece in pieces for x in piece.says.collations),
        foreign_keys=tuple(x for piece in pieces for x in piece.says.foreign_keys),
        constraint_names=tuple(x for piece in pieces for x in piece.says.constraint_names),
        on_conflict=tuple(x for piece in pieces for x in piece.says.on_conflict),
    )


@st.composite
def identifiers(draw: st.DrawFn, name: str) -> str:
    """One way of writing a name."""
    ways = [quote(name), "`" + name.replace("`", "``") + "`"]
    if "]" not in name:
        ways.append(f"[{name}]")
    if name in BARE:
        ways.append(name)
    return draw(st.sampled_from(ways))


@st.composite
def expressions(draw: st.DrawFn, column: str) -> tuple[str, str]:
    """An expression as it is written, and as it is to be read."""
    pieces = {"COLUMN": identifiers(column), "LITERAL": literals}
    words = draw(st.sampled_from(EXPRESSIONS))
    parts = [draw(pieces[word]) if word in pieces else word for word in words]
    spaces = [draw(st.sampled_from(SPACES)) for _ in words[1:]] + [("", "")]
    written = "".join(part + space for part, (space, _) in zip(parts, spaces, strict=True))
    return written, "".join(part + space for part, (_, space) in zip(parts, spaces, strict=True))


@st.composite
def constraint_names(draw: st.DrawFn) -> tuple[str, str]:
    """The start of a constraint, and the name it gives."""
    name = draw(st.just("") | names)
    return (f"CONSTRAINT {draw(identifiers(name))} ", name) if name else ("", "")


@st.composite
def checks(draw: st.DrawFn, column: str, subject: str) -> Piece:
    (start, name), (written, read) = draw(constraint_names()), draw(expressions(subject))
    space, _ = draw(st.sampled_from(SPACES))
    says = TableDefinition(checks=(CheckText(name, read, column),))
    return Piece(f"{start}CHECK{space}({space}{written}{space})", says)


@st.composite
def foreign_keys(draw: st.DrawFn, columns: tuple[str, ...], of_table: bool) -> Piece:
    (start, name), parent = draw(constraint_names()), draw(names)
    if of_table:
        start += f"FOREIGN KEY ({', '.join([draw(identifiers(column)) for column in columns])}) "
    parents = draw(st.sampled_from(["", f"({', '.join([quote(draw(texts)) for _ in columns])})"]))
    deferral, deferrable, deferred = draw(st.sampled_from(DEFERRALS))
    action = draw(st.sampled_from(ACTIONS))
    written = f"REFERENCES {draw(identifiers(parent))} {parents} {action} {deferral}"
    key = ForeignKeyText(name, columns, parent, deferrable, deferred)
    return Piece(start + written, TableDefinition(foreign_keys=(key,)))


def conflicts(what: str, columns: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """A clause, and what is to be said of it: the same for the same columns, as SQLite demands."""
    ways = ["", "ABORT", "REPLACE", "ignore"]
    how = ways[sum(map(ord, "".join(columns))) % len(ways)]
    said = f"{what} ({', '.join(columns)}) ON CONFLICT {how.upper()}"
    return f"ON CONFLICT {how}" if how else "", () if how in ("", "ABORT") else (said,)


@st.composite
def uniques(draw: st.DrawFn, columns: tuple[str, ...], of_table: bool) -> Piece:
    start, name = draw(constraint_names())
    listed = ", ".join([draw(identifiers(column)) for column in columns]) if of_table else ""
    clause, said = conflicts("UNIQUE", columns)
    named = ((name, columns),) if name else ()
    says = TableDefinition(constraint_names=named, on_conflict=said)
    return Piece(f"{start}UNIQUE {f'({listed})' if listed else ''} {clause}", says)


@st.composite
def computed(draw: st.DrawFn, column: str, subject: str) -> Piece:
    written, read = draw(expressions(subject))
    start = draw(st.sampled_from(["", "GENERATED ALWAYS "]))
    end = draw(st.sampled_from(["", " STORED", "/*)*/virtual"]))
    return Piece(f"{start}AS ({written}){end}", TableDefinition(generated=((column, read),)))


@st.composite
def column_definitions(draw: st.DrawFn, column: str, subject: str) -> Piece:
    """A column, computed from the subject if that is another one."""
    collation = draw(st.sampled_from(["nocase", '"RTRIM"', "Binary"]))
    collated = TableDefinition(collations=((column, collation.strip('"').upper()),))
    default = draw(literals.map(lambda value: f"({value})") | literals | st.just("- 1e-3"))
    clause, said = conflicts("NOT NULL", (column,))
    not_null = Piece(f"NOT NULL {clause}", TableDefinition(on_conflict=said))
    parts = [
        draw(checks(column, column)),
        draw(uniques((column,), False)),
        draw(foreign_keys((column,), False)),
        Piece(f"COLLATE {collation}", collated),
        not_null,
    ]
    chosen = draw(st.lists(st.sampled_from(parts), max_size=4, unique_by=id))
    if column != subject:
        chosen.insert(draw(st.integers(0, len(chosen))), draw(computed(column, subject)))
    elif draw(st.booleans()):
        chosen.insert(draw(st.integers(0, len(chosen))), Piece(f"DEFAULT {default}"))
    start = f"{draw(identifiers(column))} {draw(st.sampled_from(TYPES))}"
    space, _ = draw(st.sampled_from(SPACES))
    return Piece(space.join([start, *(part.sql for part in chosen)]), joined(chosen))


@st.composite
def tables(draw: st.DrawFn) -> Piece:
    columns = draw(st.lists(names, min_size=1, max_size=4, unique_by=str.lower))
    subjects = [columns[0], *(draw(st.sampled_from([c, columns[0]])) for c in columns[1:])]
    defined = [draw(column_definitions(*pair)) for pair in zip(columns, subjects, strict=True)]
    keys = tuple(draw(st.lists(st.sampled_from(columns), min_size=1, max_size=2, unique=True)))
    constraint = checks("", columns[0]) | uniques(keys, True) | foreign_keys(keys, True)
    constraints = draw(st.lists(constraint, max_size=3))
    # SQLite asks for a comma before the first constraint of the table only.
    comma = draw(st.sampled_from([",", " "]))
    body = [", ".join(piece.sql for piece in defined)]
    if constraints:
        body.append(comma.join(piece.sql for piece in constraints))
    return Piece(f"CREATE TABLE t({', '.join(body)})", joined([*defined, *constraints]))


def stored(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    return connection


def definition(connection: sqlite3.Connection, table: str = "t") -> TableDefinition:
    """What is read from the text that SQLite keeps, after it is held against the pragmas."""
    query = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?"
    ((sql,),) = connection.execute(query, [table])
    read = table_definition(sql)
    query = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (2, 3) ORDER BY cid"
    assert [column for column, _ in read.generated] == flat(connection.execute(query, [table]))
    keys: dict[int, tuple[str, list[str]]] = {}
    query = 'SELECT id, "table", "from" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq'
    for number, parent, column in connection.execute(query, [table]):
        keys.setdefault(number, (parent, []))[1].append(column)
    assert [(key.parent, list(key.columns)) for key in read.foreign_keys] == list(keys.values())
    return read


def flat(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [row[0] for row in rows]


@given(tables())
def test_a_definition_says_what_was_written(written: Piece) -> None:
    with closing(stored(written.sql)) as connection:
        assert replace(definition(connection), comments=()) == written.says


@given(tables())
def test_the_expressions_behave_as_before_in_a_fresh_table(written: Piece) -> None:
    with closing(stored(written.sql)) as connection:
        connection.execute(rebuilt(connection, definition(connection)))
        query = "SELECT name FROM pragma_table_xinfo('t') WHERE hidden = 0"
        plain = flat(connection.execute(query))
        for value in (0, -7, "", "a", "A ", "''", ")", b"\0)", 2.5, 31):
            assert inserted(connection, "t", plain, value) == inserted(
                connection, "fresh", plain, value
            )


def rebuilt(connection: sqlite3.Connection, read: TableDefinition) -> str:
    """The table without its keys and defaults, from the pragmas and the texts read."""
    generated, collations = dict(read.generated), dict(read.collations)
    parts = []
    query = "SELECT name, type, \"notnull\" FROM pragma_table_xinfo('t') ORDER BY cid"
    for name, declared, not_null in connection.execute(query):
        part = f"{quote(name)} {quote(declared)} COLLATE {collations.get(name, 'BINARY')}"
        part += f" AS ({generated[name]})" if name in generated else ""
        parts.append(part + (" NOT NULL" if not_null else ""))
    parts += [f"CHECK ({check.expression})" for check in read.checks]
    return f"CREATE TABLE fresh ({', '.join(parts)})"


def inserted(
    connection: sqlite3.Connection, table: str, columns: list[str], value: Any
) -> list[tuple[Any, ...]]:
    """The row as it arrives; none if it is refused, with an error or (ON CONFLICT) without."""
    listed = ", ".join(map(quote, columns))
    marks = ", ".join("?" for _ in columns)
    connection.execute(f"DELETE FROM {table}")
    with suppress(sqlite3.IntegrityError):
        connection.execute(
            f"INSERT INTO {table} ({listed}) VALUES ({marks})", [value] * len(columns)
        )
    return connection.execute(f"SELECT * FROM {table}").fetchall()


@given(tables(), names, names)
def test_a_text_edited_by_alter_table(written: Piece, added: str, renamed: str) -> None:
    with closing(stored(written.sql)) as connection:
        columns = {
            c.lower() for c in flat(connection.execute("SELECT name FROM pragma_table_xinfo('t')"))
        }
        assume(not {added.lower(), renamed.lower()} & columns and added.lower() != renamed.lower())
        connection.execute(
            f"ALTER TABLE t ADD COLUMN {quote(added)} TEXT DEFAULT ')' /* ( */ COLLATE nocase "
            f"CHECK ({quote(added)} <> 'CHECK (') REFERENCES {quote(renamed)}"
        )
        connection.execute(f"ALTER TABLE t RENAME COLUMN {quote(added)} TO {quote(renamed)}")
        connection.execute('ALTER TABLE t RENAME TO "a (b"')
        read = definition(connection, "a (b")
    assert CheckText("", f"{quote(renamed)} <> 'CHECK ('", renamed) in read.checks
    assert (renamed, "NOCASE") in read.collations
    assert len(read.checks) == len(written.says.checks) + 1
    assert read.on_conflict == written.says.on_conflict


@pytest.mark.parametrize(("clause", "deferrable", "deferred"), DEFERRALS)
@pytest.mark.parametrize("between", ["", "NOT NULL", "NOT NULL, b INT"])
def test_a_key_is_deferred_where_sqlite_defers_it(
    clause: str, deferrable: bool, deferred: bool, between: str
) -> None:
    sql = f"CREATE TABLE t (a INT REFERENCES p (x) {between} {clause})"
    with closing(stored("CREATE TABLE p (x PRIMARY KEY)", sql)) as connection:
        (key,) = definition(connection).foreign_keys
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN")
        try:
            connection.execute("INSERT INTO t (a) VALUES (1)")
            waits = True
        except sqlite3.IntegrityError:
            waits = False
    assert (key.deferrable, key.initially_deferred) == (deferrable, deferred)
    assert waits == deferred


@pytest.mark.parametrize(
    ("sql", "autoincrement", "strict", "without_rowid"),
    [
        ("CREATE TABLE t (a INTEGER PRIMARY KEY)", False, False, False),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY ASC AUTOINCREMENT)", True, False, False),
        ("CREATE TABLE t (a INTEGER, PRIMARY KEY (a AUTOINCREMENT)) STRICT", True, True, False),
        ("CREATE TABLE t ([autoincrement] INTEGER PRIMARY KEY)", False, False, False),
        ("CREATE TABLE t (a INT PRIMARY KEY) /**/ without /* strict */ rowid", False, False, True),
        ("CREATE TABLE t (a INT PRIMARY KEY) WITHOUT ROWID, strict", False, True, True),
        ("CREATE TABLE t (strict INT, without rowid)", False, False, False),
    ],
)
def test_the_options_of_a_table(
    sql: str, autoincrement: bool, strict: bool, without_rowid: bool
) -> None:
    with closing(stored(sql)) as connection:
        read = definition(connection)
        ((wr, is_strict),) = connection.execute("SELECT wr, strict FROM pragma_table_list('t')")
        query = "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'"
        ((sequences,),) = connection.execute(query)
    assert (read.autoincrement, read.strict, read.without_rowid) == (
        autoincrement,
        strict,
        without_rowid,
    )
    assert (sequences, is_strict, wr) == (autoincrement, strict, without_rowid)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("(a CONSTRAINT x NOT NULL CHECK (a), b)", (CheckText("", "a", "a"),)),
        ("(a CONSTRAINT x CONSTRAINT y CHECK (a))", (CheckText("y", "a", "a"),)),
        ("(a, CONSTRAINT x, CONSTRAINT y CHECK (a))", (CheckText("y", "a", ""),)),
        ("(a DEFAULT NULL CHECK (a), b)", (CheckText("", "a", "a"),)),
        ('(a DEFAULT "CHECK" CHECK (a))', (CheckText("", "a", "a"),)),
        ("(a DEFAULT (('CHECK (x)')), b)", ()),
        (
            "(a, CHECK (a) UNIQUE (a) CHECK ((a)))",
            (CheckText("", "a", ""), CheckText("", "(a)", "")),
        ),
        ("(a, 'check' CHECK (\"check\" -- )\n))", (CheckText("", '"check"', "check"),)),
    ],
)
def test_checks(sql: str, expected: tuple[CheckText, ...]) -> None:
    with closing(stored(f"CREATE TABLE t {sql}")) as connection:
        assert definition(connection).checks == expected


def test_a_table_made_of_a_query_and_a_virtual_one() -> None:
    statements = (
        'CREATE TABLE t AS SELECT 1 AS "CHECK (1)", \'x\' AS "b,"',
        "CREATE VIRTUAL TABLE v USING fts5(a, b, tokenize = 'unicode61 remove_diacritics 2')",
    )
    with closing(stored(*statements)) as connection:
        assert definition(connection) == TableDefinition()
        assert definition(connection, "v") == TableDefinition()


@given(st.text(characters, max_size=8))
def test_names_are_unquoted_as_sqlite_does(name: str) -> None:
    ways = [quote(name), "`" + name.replace("`", "``") + "`", "'" + name.replace("'", "''") + "'"]
    for way in [*ways, f"[{name}]"] if "]" not in name else ways:
        assert unquoted(way) == name
        with closing(stored(f"CREATE TABLE t ({way})")) as connection:
            assert flat(connection.execute("SELECT name FROM pragma_table_info('t')")) == [name]


# --- Comments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("t (a -- of a\n)", {"a": "of a"}),
        ("t (a, -- of a\nb -- of b\n)", {"a": "of a", "b": "of b"}),
        ("t (a /* of a */, /* of b */ b)", {"a": "of a", "b": "of b"}),
        ("t (a,\n-- of b,\n-- more\nb)", {"b": "of b,\nmore"}),
        ("t (a,\n/**\n * of b,\n * more\n **/\nb)", {"b": "of b,\nmore"}),
        ("t (\na, -- of a,\n   -- more\n  -- of b\nb)", {"a": "of a,\nmore", "b": "of b"}),
        ("t (a\n-- of b\n, b)", {"b": "of b"}),
        ("t (a,\n-- a heading\n\nb)", {}),
        ("t (a, -- of a\n\n-- a heading\n\n-- of b\nb)", {"a": "of a", "b": "of b"}),
        ("t (a INT -- of a\n NOT NULL, b)", {"a": "of a"}),
        ("t (a CHECK (a -- of no column\n), b)", {}),
        ("t (a,\n-- of the check\nCHECK (a) -- too\n)", {}),
        ("t (a\n-- the end\n)", {}),
        ("t (a, ---------\nb)", {}),
        ("t (a DEFAULT '-- no', b DEFAULT \"/* no */\")", {}),
        ("t /* of t */ (a)", {"": "of t"}),
        ("t\n-- of t\n(\na)", {"": "of t"}),
        ("t ( -- of t\na)", {"": "of t"}),
        ("t (/* of t */ a)", {"": "of t"}),
        ("t (\n-- of a\na)", {"a": "of a"}),
        ("t (\n-- of t\n\n-- of a\na)", {"": "of t", "a": "of a"}),
        ("t (a) -- after all", {}),
        ("t (a, -- of a\n-- of b\nb, c -- of c\n)", {"a": "of a", "b": "of b", "c": "of c"}),
    ],
)
def test_comments(sql: str, expected: dict[str, str]) -> None:
    with closing(stored(f"CREATE TABLE {sql}")) as connection:
        assert dict(definition(connection).comments) == expected


# --- Indexes and views -------------------------------------------------------------------------


@st.composite
def index_terms(draw: st.DrawFn, columns: list[str]) -> tuple[str, tuple[str, str, bool], bool]:
    """A term as written, as it is to be read, and whether it is a column."""
    column = draw(identifiers(draw(st.sampled_from(columns))))
    literal = draw(literals)
    text = draw(
        st.sampled_from(
            [column, f"lower({column})", f"-{column}", f"{column} || {literal}", f"NOT ({column})"]
        )
    )
    is_operand = "||" not in text.replace(column, "") and not text.startswith("NOT")
    collation = draw(st.sampled_from(["", "nocase", '"RTRIM"'])) if is_operand else ""
    order = draw(st.sampled_from(["", "ASC", "desc"]))
    space, _ = draw(st.sampled_from(SPACES))
    parts = [text, f"COLLATE{space}{collation}" if collation else ""]
    written = space.join(part for part in parts if part)
    wrapped = f"({written})" if draw(st.booleans()) else written
    read = (text, collation.strip('"').upper(), order == "desc")
    return f"{wrapped}{space}{order}", read, text == column


@given(st.data())
def test_an_index(data: st.DataObject) -> None:
    columns = data.draw(st.lists(names, min_size=1, max_size=3, unique_by=str.lower))
    terms = data.draw(st.lists(index_terms(columns), min_size=1, max_size=4))
    written, read = data.draw(expressions(columns[0]))
    where = data.draw(st.sampled_from([("", ""), (f"/*(*/ WHERE {written}", read)]))
    unique = data.draw(st.sampled_from(["", "UNIQUE "]))
    name = data.draw(identifiers(data.draw(names.filter(lambda text: text != "t"))))
    sql = f"CREATE {unique}INDEX {name} ON t({', '.join(w for w, _, _ in terms)}){where[0]}"
    with closing(stored(f"CREATE TABLE t({', '.join(map(quote, columns))})", sql)) as connection:
        ((kept, index),) = connection.execute(
            "SELECT sql, name FROM sqlite_schema WHERE type = 'index'"
        )
        found = index_definition(kept)
        query = 'SELECT cid, name, coll, "desc" FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno'
        info = connection.execute(query, [index]).fetchall()

    assert found == IndexDefinition(tuple(term for _, term, _ in terms), where[1], bool(unique))
    assert [bool(desc) for _, _, _, desc in info] == [desc for _, _, desc in found.terms]
    assert [coll.upper() for _, _, coll, _ in info] == [c or "BINARY" for _, c, _ in found.terms]
    assert [
        unquoted(text)
        for (text, _, _), (cid, *_) in zip(found.terms, info, strict=True)
        if cid >= 0
    ] == [column for cid, column, _, _ in info if cid >= 0]


@pytest.mark.parametrize(
    "term",
    [
        "desc",
        "desc DESC",
        "match DESC",
        "a + desc",
        "a IS desc",
        "a LIKE desc",
        "a || b COLLATE nocase",
        "NOT (a) COLLATE nocase",
        "- - a COLLATE nocase DESC",
        "a COLLATE nocase COLLATE rtrim",
        "((a) COLLATE nocase) DESC",
        "(a COLLATE 'nocase') || b",
        "a COLLATE nocase || b COLLATE nocase",
        "lower(a) COLLATE nocase",
        "lower(a) || upper(b) COLLATE nocase",
        "a->>'$.x' COLLATE nocase",
        "abs(a) DESC",
    ],
)
def test_the_collation_and_order_of_a_term(term: str) -> None:
    statement = f"CREATE INDEX i ON t({term})"
    with closing(stored("CREATE TABLE t(a, b, desc, match)", statement)) as connection:
        query = "SELECT coll, \"desc\" FROM pragma_index_xinfo('i') WHERE key"
        ((coll, desc),) = connection.execute(query)
    ((_, collation, descending),) = index_definition(statement).terms
    assert (collation or "BINARY", descending) == (coll.upper(), bool(desc))


@given(st.lists(names, max_size=3, unique_by=str.lower), st.data())
def test_a_view(columns: list[str], data: st.DataObject) -> None:
    width = max(len(columns), 1)
    values = [data.draw(literals) for _ in range(width)]
    select = f"SELECT {', '.join(values)} -- AS\nFROM (SELECT ';' AS \"AS\")"
    written = f"({', '.join(data.draw(identifiers(c)) for c in columns)})" if columns else ""
    name = data.draw(identifiers(data.draw(names)))
    with closing(
        stored(f"CREATE TEMP VIEW IF NOT EXISTS {name}{written} AS {select} ; ")
    ) as connection:
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_temp_schema")
        rows = connection.execute(select).fetchall()
        found = view_definition(sql)
        assert connection.execute(found.select).fetchall() == rows
    assert found == ViewDefinition(tuple(columns), select.replace("-- AS", " "))


# --- Real statements, and long ones ------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample databases are not here")
@pytest.mark.parametrize("name", ["chinook", "northwind", "elements"])
def test_the_statements_of_a_real_database(name: str) -> None:
    path = SHARED / f"{name}.sqlite"
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        query = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
        statements = connection.execute(query).fetchall()
        for kind, label, sql in statements:
            if kind == "table":
                read = definition(connection, label)
                assert len(read.checks) == len(sql.upper().split("CHECK (")) - 1
            elif kind == "index":
                terms = index_definition(sql).terms
                query = "SELECT name FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno"
                assert [unquoted(text) for text, _, _ in terms] == flat(
                    connection.execute(query, [label])
                )
            elif kind == "view":
                view = view_definition(sql)
                rows = connection.execute(f"SELECT * FROM {quote(label)} LIMIT 5").fetchall()
                assert connection.execute(f"{view.select} LIMIT 5").fetchall() == rows
    assert len(statements) > 10


LONG = 500_000
UNITS = ["1+", "(", ")", "((1)+", "[ ", "'\"`", "''", "/**/", "--x\n", "/*", "**", "- ", ","]
UNITS += ["COLLATE x ", "CHECK(a)", "DEFAULT ", "b CHECK (b) -- of b\n,", "CONSTRAINT x "]


@pytest.mark.parametrize("unit", UNITS)
def test_a_long_statement_takes_time_in_proportion(unit: str) -> None:
    body = unit * (LONG // len(unit))
    began = time.process_time()
    table_definition(f"CREATE TABLE t(a {body})")
    index_definition(f"CREATE INDEX i ON t(a {body})")
    view_definition(f"CREATE VIEW v(a) AS {body}")
    assert (
        time.process_time() - began < 6
    )  # Seconds; about 1, and minutes if it grew by the square.
