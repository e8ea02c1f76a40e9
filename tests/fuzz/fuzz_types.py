"""Any text as a declared type of SQLite, and as a type's name of PostgreSQL.

SQLite itself says which affinity a declared type has. Whatever a column may be read as has an Arrow
type, and a type in either database that is read again as what it was; the last thing that a column
of SQLite may be read as takes every value.
"""

from __future__ import annotations

import sqlite3

from tableferry import kinds
from tableferry.dialects.base import Dialect
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.postgresql import types as postgresql
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.dialects.sqlite import types as sqlite
from tableferry.model import Candidate, Column, TableName

POSTGRESQL, SQLITE = PostgresDialect(), SqliteDialect()
CONNECTION = sqlite3.connect(":memory:")
# What becomes of the text '1', the integer 1 and the text 'x' in a column of each affinity.
AFFINITIES = {
    ("integer", "integer", "text"): {"INTEGER", "NUMERIC"},
    ("text", "text", "text"): {"TEXT"},
    ("real", "real", "text"): {"REAL"},
    ("text", "integer", "text"): {"BLOB"},
}


def check(data: bytes) -> None:
    """Raises AssertionError for a type misunderstood, and whatever wrongly raises."""
    declared = data.decode("utf-8", "replace")
    column = Column("v", declared)
    _check_affinity(declared)
    offers = sqlite.candidates(column)
    assert len(set(offers)) == len(offers)
    for candidate in (*offers, *sqlite.own_candidates(column), *SQLITE.demanded(column)):
        _check_candidate(candidate)
    for candidate in offers:
        assert POSTGRESQL.takes(candidate.kind) or candidate.kind.name == "native"
    if not declared:
        # Every type of PostgreSQL has a name.
        return
    for candidate in (*postgresql.candidates(declared), *postgresql.own_candidates(declared)):
        _check_candidate(candidate)
    for candidate in postgresql.demanded(declared):
        _check_candidate(candidate)
    digits = postgresql.fraction_digits(declared)
    assert digits is None or 0 <= digits <= 9
    postgresql.is_built_in(declared)
    moved = postgresql.moved(declared, TableName("a schema", "t"), "b")
    assert moved == declared or moved.startswith("b.")
    for dialect in (POSTGRESQL, SQLITE):
        _check_named(declared, dialect)


def _check_affinity(declared: str) -> None:
    if "\0" in declared or not declared or len(declared) > 500:
        return
    quoted = declared.replace('"', '""')
    try:
        CONNECTION.execute(f'CREATE TABLE t (v "{quoted}")')
    except (sqlite3.Error, UnicodeError):
        return
    try:
        CONNECTION.execute("INSERT INTO t VALUES ('1'), (1), ('x')")
        classes = tuple(c for (c,) in CONNECTION.execute("SELECT typeof(v) FROM t"))
        (seen,) = [row[2] for row in CONNECTION.execute("PRAGMA table_info(t)")]
    finally:
        CONNECTION.execute("DROP TABLE t")
    # ANY is a type of its own in STRICT tables alone, and a blank name is none at all to us.
    if seen.strip() and seen.strip().upper() != "ANY":
        assert sqlite.affinity(seen) in AFFINITIES[classes], (seen, classes)


def _check_candidate(candidate: Candidate) -> None:
    kind = candidate.kind
    kinds.arrow_type(kind)
    assert kinds.describe(kind)
    if POSTGRESQL.takes(kind):
        there = postgresql.type_for(kind)
        again = postgresql.kind_of(there)
        if kind.name not in ("native", "number", "numeric", "text"):
            assert again == kind, f"{kind} became {there}, which is {again}"
    if sqlite.takes(kind) and kind.name != "any":
        assert sqlite.type_for(kind)


def _check_named(text: str, dialect: Dialect) -> None:
    kind = dialect.kind_named(text)
    # The type of these two says less than they are, and a column of any value has the one that
    # was declared.
    if kind is not None and kind.name not in ("numeric", "number", "any", "text", "native"):
        assert dialect.kind_named(dialect.type_for(kind)) == kind
