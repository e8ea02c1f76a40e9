"""What a declared type means in SQLite, as its documentation says and as SQLite does it."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.dialects.sqlite.types import affinity, candidates
from tableferry.kinds import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    INT,
    JSON,
    NAMED_NUMBERS,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
)
from tableferry.model import Candidate, Column, Kind

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
