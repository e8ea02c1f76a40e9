"""What a declared type means in SQLite, as its documentation says and as SQLite does it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.dialects.sqlite import SqliteDialect
from tableferry.dialects.sqlite.types import (
    affinity,
    candidates,
    fit_table,
    foreign_type,
    keeps,
    locator,
    takes,
    type_for,
    unkept,
)
from tableferry.kinds import (
    ANY,
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    FLOAT4,
    INT,
    JSON,
    NAMED_NUMBERS,
    NUMBER,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
    native,
)
from tableferry.model import Candidate, Column, Key, Kind, Table, TableName
from tableferry.naming import Destination, Names, column_names
from tableferry.sql import quote

# The examples of "Datatypes In SQLite", section 3.1.1, and types met in real schemas.
AFFINITIES = {
    "INT": "INTEGER",
    "INTEGER": "INTEGER",
    "TINYINT": "INTEGER",
    "SMALLINT": "INTEGER",
    "MEDIUMINT": "INTEGER",
    "BIGINT": "INTEGER",
    "UNSIGNED BIG INT": "INTEGER",
    "INT2": "INTEGER",
    "INT8": "INTEGER",
    "bigint(20) unsigned": "INTEGER",
    "POINT": "INTEGER",
    "FLOATING POINT": "INTEGER",
    "CHARINT": "INTEGER",
    "INTERVAL": "INTEGER",
    "CHARACTER(20)": "TEXT",
    "VARCHAR(255)": "TEXT",
    "VARYING CHARACTER(255)": "TEXT",
    "NCHAR(55)": "TEXT",
    "NATIVE CHARACTER(70)": "TEXT",
    "NVARCHAR(100)": "TEXT",
    "TEXT": "TEXT",
    "CLOB": "TEXT",
    "LONGTEXT": "TEXT",
    "citext": "TEXT",
    "TEXTBLOB": "TEXT",
    "BLOB": "BLOB",
    "LONGBLOB": "BLOB",
    "BLOBREAL": "BLOB",
    "": "BLOB",
    "REAL": "REAL",
    "DOUBLE": "REAL",
    "DOUBLE PRECISION": "REAL",
    "FLOAT": "REAL",
    "float(24)": "REAL",
    "NUMERIC": "NUMERIC",
    "DECIMAL(10,5)": "NUMERIC",
    "BOOLEAN": "NUMERIC",
    "DATE": "NUMERIC",
    "DATETIME": "NUMERIC",
    "TIMESTAMP": "NUMERIC",
    "TIME": "NUMERIC",
    "STRING": "NUMERIC",
    "MONEY": "NUMERIC",
    "UUID": "NUMERIC",
    "JSON": "NUMERIC",
    "BYTEA": "NUMERIC",
    "VARBINARY(16)": "NUMERIC",
    "ENUM('a','b')": "NUMERIC",
}


def affinity_in_sqlite(declared: str) -> str:
    """What SQLite itself makes of values put into a column of this type."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f'CREATE TABLE t (a "{declared}")' if declared else "CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [("1.50",), (2,), ("2.0",)])
        found = tuple(name for (name,) in connection.execute("SELECT typeof(a) FROM t"))
    finally:
        connection.close()
    return {
        ("text", "text", "text"): "TEXT",
        ("text", "integer", "text"): "BLOB",
        ("real", "real", "real"): "REAL",
        # INTEGER and NUMERIC behave the same but in a CAST ("Datatypes In SQLite", section 3).
        ("real", "integer", "integer"): "INTEGER or NUMERIC",
    }[found]


def same(ours: str, theirs: str) -> bool:
    return ours == theirs or (ours in ("INTEGER", "NUMERIC") and theirs == "INTEGER or NUMERIC")


@pytest.mark.parametrize(("declared", "expected"), AFFINITIES.items())
def test_affinity(declared: str, expected: str) -> None:
    assert affinity(declared) == affinity(declared.lower()) == expected
    if "'" not in declared:
        assert same(expected, affinity_in_sqlite(declared))


WORDS = st.lists(
    st.sampled_from(["INT", "CHAR", "CLOB", "TEXT", "BLOB", "REAL", "FLOA", "DOUB", "x", " "]),
    max_size=4,
).map("".join)
# Letters that become ASCII ones in capitals; SQLite only knows the ASCII ones.
LETTERS = st.text("intINTcharCHARblobrealfloadoub (),1ıſﬂ", max_size=10)


# A quoted name of blanks alone is taken for no type, which reads all classes and so is safe.
@given((WORDS | LETTERS).filter(lambda name: name == "" or name.strip() != ""))
@example("ınt")
@example("ﬂoat")
def test_affinity_is_that_of_sqlite(declared: str) -> None:
    assert same(affinity(declared), affinity_in_sqlite(declared))


def test_any_in_a_strict_table_keeps_all_classes() -> None:
    # In an ordinary table its affinity is NUMERIC; reading it with all classes is right for both.
    assert affinity("ANY") == affinity("any") == "BLOB"


def kinds_of(declared: str) -> list[Kind]:
    """The kinds tried before what takes every value."""
    offers = [c.kind for c in candidates(Column("a", declared)) if not c.merges]
    tail = [kind for kind in (TEXT, BYTES) if kind in offers]
    return [kind for kind in offers if kind not in tail] or offers[:1]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("INTEGER", [INT, NUMERIC]),
        ("int(11) unsigned", [INT, NUMERIC]),
        ("BOOLEAN", [BOOL, INT, NUMERIC]),
        ("bool", [BOOL, INT, NUMERIC]),
        ("REAL", [FLOAT]),
        ("DOUBLE PRECISION", [FLOAT]),
        ("NUMERIC", [NUMERIC]),
        ("DECIMAL(10,2)", [decimal(10, 2), NUMERIC]),
        ("Decimal ( 10 , 2 )", [decimal(10, 2), NUMERIC]),
        ("NUMERIC(5)", [decimal(5, 0), NUMERIC]),
        ("DECIMAL(18,18)", [decimal(18, 18), NUMERIC]),
        ("DECIMAL(19,2)", [NUMERIC]),
        ("DECIMAL(2,5)", [NUMERIC]),
        ("DECIMAL(10,-2)", [NUMERIC]),
        ("DECIMAL(0)", [NUMERIC]),
        ("DECIMAL(x)", [NUMERIC]),
        ("DECIMAL(10,2,3)", [decimal(10, 2), NUMERIC]),
        ("DATE", [DATE, TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC]),
        ("datetime(6)", [TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC]),
        ("TIMESTAMP", [TIMESTAMP, TIMESTAMPTZ, INT, NUMERIC]),
        ("timestamp (3)  with  time zone", [TIMESTAMPTZ, TIMESTAMP, INT, NUMERIC]),
        ("TIMESTAMPTZ", [TIMESTAMPTZ, TIMESTAMP, INT, NUMERIC]),
        ("TIME", [TIME, INT, NUMERIC]),
        ("MONEY", [NUMERIC]),
        ("uuid", [UUID, INT, NUMERIC]),
        ("JSON", [JSON, INT, NUMERIC]),
        ("STRING", [INT, NUMERIC]),
        ("SMALLINT", [Kind("int", bits=16), INT, NUMERIC]),
        ("smallint(5)", [Kind("int", bits=16), INT, NUMERIC]),
        ("MEDIUMINT", [Kind("int", bits=32), INT, NUMERIC]),
        ("BLOB", [INT, FLOAT]),
        ("", [INT, FLOAT]),
        ("ANY", [INT, FLOAT]),
    ],
)
def test_kinds_tried(declared: str, expected: list[Kind]) -> None:
    assert kinds_of(declared) == expected


@pytest.mark.parametrize(
    ("declared", "first"),
    [
        ("TEXT", TEXT),
        ("VARCHAR(20)", Kind("text", length=20)),
        ("varchar ( 20 )", Kind("text", length=20)),
        ("CHARACTER VARYING(20)", Kind("text", length=20)),
        ("NVARCHAR(MAX)", TEXT),
        ("VARCHAR(0)", TEXT),
        ("VARCHAR(10,2)", TEXT),
        ("VARCHAR(255) COLLATE x", Kind("text", length=255)),
        ("STRING", TEXT),
        ("BLOB", BYTES),
        ("BLOB(16)", BYTES),
        ("", TEXT),
    ],
)
def test_first_candidate_of_text_and_bytes(declared: str, first: Kind) -> None:
    assert candidates(Column("a", declared))[0] == Candidate(first)


@given(st.sampled_from(sorted(AFFINITIES)) | st.text(max_size=20))
def test_the_last_candidate_takes_everything(declared: str) -> None:
    offers = candidates(Column("a", declared))
    assert offers[-1] == Candidate(BYTES, merges=True)
    assert len(offers) == len(set(offers))
    # Exact types come before those that merge storage classes, except for numbers some of which
    # stand as text.
    merging = [c.merges for c in offers if c.kind.name not in NAMED_NUMBERS]
    assert merging == sorted(merging)


# ---- types of new columns ----------------------------------------------------------------------

NEW = {
    INT: "BIGINT",
    Kind("int", bits=32): "INT4",
    Kind("int", bits=16): "INT2",
    BOOL: "BOOLEAN",
    FLOAT: "DOUBLE",
    FLOAT4: "FLOAT4",
    decimal(10, 2): "DECIMAL(10,2)",
    decimal(15, 15): "DECIMAL(15,15)",
    NUMERIC: "NUMERIC_TEXT",
    NUMBER: "NUMERIC",
    TEXT: "TEXT",
    Kind("text", length=7): "VARCHAR(7)",
    BYTES: "BLOB",
    DATE: "DATE",
    TIME: "TIME",
    TIMESTAMP: "TIMESTAMP",
    TIMESTAMPTZ: "TIMESTAMPTZ",
    UUID: "UUID",
    JSON: "JSON_TEXT",
    native("jsonb"): "JSONB_TEXT",
    native("timestamp with time zone[]"): "TIMESTAMP_WITH_TIME_ZONE_ARRAY_TEXT",
    native("time(3) with time zone"): "TIME_WITH_TIME_ZONE_TEXT(3)",
    native("numeric(40,10)"): "NUMERIC_TEXT(40,10)",
    native("interval"): "INTERVAL_TEXT",
    native("pg_lsn"): "PG__LSN_TEXT",
    native("my_point"): "TEXT",
    native('"My Type"'): "TEXT",
    native("app.mood"): "TEXT",
}


@pytest.mark.parametrize(("kind", "declared"), NEW.items())
def test_the_type_of_a_new_column(kind: Kind, declared: str) -> None:
    assert type_for(kind) == declared


@pytest.mark.parametrize(
    ("kind", "declared"), [(k, d) for k, d in NEW.items() if k.name not in ("numeric", "native")]
)
def test_a_new_column_is_read_as_the_kind_it_was_made_for(kind: Kind, declared: str) -> None:
    first = candidates(Column("c", declared))[0]
    # A numeric that is all numbers is one to SQLite too.
    assert first == Candidate(NUMERIC if kind == NUMBER else kind)


# What values of each kind look like in SQLite, which the column must not change.
STORED: list[tuple[Kind, list[Any]]] = [
    (INT, [-(2**63), 2**63 - 1, 0]),
    (BOOL, [0, 1]),
    (FLOAT, [0.1, 1.0, float("inf"), 5e-324, 2.0**60, "NaN"]),
    (FLOAT4, [0.1, 1.0, 1e-45, "NaN"]),
    (decimal(10, 2), [1, 1.1, -0.01, 99999999.99, "NaN", "Infinity", "-Infinity"]),
    (decimal(15, 0), [999999999999999]),
    (NUMBER, [1, 2**63 - 1, 0.5, -1.25]),
    (NUMERIC, ["1.10", "1", "1e5", "NaN", "007"]),
    (TEXT, ["", "1", "1.10", " 1 ", "1e5", "0x1", "infinity", "\0"]),
    (Kind("text", length=7), ["1", "007"]),
    (BYTES, [b"", b"1"]),
    (DATE, ["2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "10000-01-01"]),
    (TIME, ["00:00:00", "24:00:00", "12:34:56.5"]),
    (TIMESTAMP, ["2024-02-29 00:00:00", "infinity"]),
    (TIMESTAMPTZ, ["2024-02-29 00:00:00+00:00", "-infinity"]),
    (UUID, ["00000000-0000-0000-0000-000000000000", "12345678-1234-1234-1234-123456789012"]),
    (JSON, ["1", "1.10", "{}", "null"]),
]


@pytest.mark.parametrize(("kind", "values"), STORED)
def test_no_affinity_changes_a_value(kind: Kind, values: list[Any]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (c {type_for(kind)})")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        found = [value for (value,) in connection.execute("SELECT c FROM t ORDER BY rowid")]
    assert found == values
    # All but whole numbers in a column of numbers, which are integers there.
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize("declared", ["INTEGER", "TEXT", "BLOB", "", "REAL", "NUMERIC", "DATE"])
def test_what_is_kept_comes_back(declared: str) -> None:
    """As what it is read as: a number may be an integer where its kind allows it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (c {declared})")
        for kind, values in STORED:
            connection.execute("DELETE FROM t")
            connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
            found = [value for (value,) in connection.execute("SELECT c FROM t ORDER BY rowid")]
            same = [
                (type(a) is type(b) or kind.name == "decimal") and a == b
                for a, b in zip(found, values, strict=True)
            ]
            if keeps(Column("c", declared), kind):
                assert all(same), (kind, found)
            elif kind.name != "number" and kind != decimal(15, 0):
                # And no column is passed over that would do.
                assert not all(same), kind


@pytest.mark.parametrize(
    "declared", ["TEXT", "", "BLOB", "LONGTEXT", "_TEXT", "NUMERIC_TEXT(x)", "A-B_TEXT", "TEXT_"]
)
def test_types_that_say_nothing_of_another_database(declared: str) -> None:
    assert foreign_type(declared) is None


def test_decimals_that_a_double_does_not_hold_are_not_taken() -> None:
    assert takes(decimal(15, 4))
    assert not takes(decimal(16, 4))
    assert takes(NUMERIC)
    assert takes(ANY)


# ---- tables and names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "declared", "became"),
    [
        (("a",), "BIGINT", "INTEGER"),
        (("a",), "INT4", "INTEGER"),
        (("a",), "INT2", "INTEGER"),
        (("a",), "INT", "INT"),
        (("a",), "TEXT", "TEXT"),
        (("a", "b"), "BIGINT", "BIGINT"),
        (("b",), "BIGINT", "BIGINT"),
        (None, "BIGINT", "BIGINT"),
    ],
)
def test_a_key_of_one_integer_is_the_rowid(
    key: tuple[str, ...] | None, declared: str, became: str
) -> None:
    made = Table(
        TableName("main", "t"),
        (Column("a", declared), Column("b", "TEXT")),
        primary_key=Key(key) if key else None,
    )
    fitted = fit_table(made, copied=False)
    assert fitted.columns[0].declared == became
    assert fitted.locator == "rowid"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["a"], "rowid"),
        (["RowId"], "_rowid_"),
        (["rowid", "_ROWID_"], "oid"),
        (["rowid", "oid", "_rowid_"], ""),
    ],
)
def test_the_name_of_the_rowid(columns: list[str], expected: str) -> None:
    assert locator([Column(name, "") for name in columns]) == expected


def test_options_that_are_not_kept_are_named() -> None:
    made = Table(TableName("main", "t"), (), extras=("a trigger", "STRICT", "WITHOUT ROWID"))
    named = [(left.what, left.name, left.table) for left in unkept(made)]
    assert named == [("table option", "STRICT", "t"), ("table option", "WITHOUT ROWID", "t")]


@pytest.mark.parametrize(
    ("name", "fitted"),
    [
        ("t", "t"),
        ("sqlite", "sqlite"),
        ("sqlite_", "_sqlite_"),
        ("sqlite_stat1", "_sqlite_stat1"),
        ("SQLite_x", "_SQLite_x"),
        ("_sqlite_x", "_sqlite_x"),
        ("x" * 300, "x" * 300),
        ('a b"c', 'a b"c'),
        # SQLite folds the letters of ASCII alone.
        ("\u017fqlite_x", "\u017fqlite_x"),
    ],
)
def test_names_that_are_sqlites_own(name: str, fitted: str) -> None:
    dialect = SqliteDialect()
    assert dialect.fit_name(name) == fitted
    assert dialect.fit_name(fitted) == fitted
    assert dialect.fit_column_name(name) == name
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {quote(fitted)} ({quote(name)})")


def test_names_that_differ_in_case_alone_are_given_once() -> None:
    names = Names(Destination(SqliteDialect(), "main"), ["Taken"])
    given = [
        names.give(n) for n in ("T", "t", "T", "taken", "\u00c4", "\u00e4", "sqlite_a", "_SQLITE_A")
    ]
    assert given == ["T", "t_", "T__", "taken_", "\u00c4", "\u00e4", "_sqlite_a", "_SQLITE_A_"]
    columns = [Column(name, "") for name in ("A", "a", "a_", "\u00c4", "\u00e4")]
    made = Table(TableName("public", "t"), tuple(columns))
    called = column_names(made, Destination(SqliteDialect(), "main"))
    assert called == {"A": "A", "a": "a__", "a_": "a_", "\u00c4": "\u00c4", "\u00e4": "\u00e4"}
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(map(quote, called.values()))})")


@pytest.mark.parametrize(
    "declared", [" " * 5000 + ")", "(" * 5000, "a ( " + " " * 5000, "1 ," * 900]
)
def test_a_hostile_type_keeps_nobody_busy(declared: str) -> None:
    """Each of them takes a microsecond, or longer than anybody would wait."""
    assert candidates(Column("v", declared))
