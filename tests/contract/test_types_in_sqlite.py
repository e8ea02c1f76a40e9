"""The types that SQLite's columns get for PostgreSQL's: none changes a value by its affinity, and
each tells the type that it stands for."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests import every_type
from tests.servers import Server

from tableferry.dialects.postgresql.types import kind_of
from tableferry.dialects.sqlite.types import candidates, foreign_type, type_for
from tableferry.kinds import NUMBER, NUMERIC, native
from tableferry.model import Column, Kind

# Types in the catalog's own words, with the values that the server writes.
_TEXTS = (
    "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
    "WHERE a.attrelid = 'every_type'::regclass AND a.attname = '{name}'"
)
# Every type that a column could be of, without modifiers, and its array.
_NAMES = """
SELECT format_type(t.oid, NULL) FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
AND t.typcategory = 'A' WHERE t.typnamespace = 'pg_catalog'::regnamespace
AND coalesce(e.typtype, t.typtype) IN ('b', 'r', 'm')
AND t.typname !~ '^(_?pg_(node_tree|ndistinct|mcv|dep|brin)|_?gtsv)'
"""


def kinds_in(declared: str) -> tuple[Kind, ...]:
    """What PostgreSQL's columns of a type may be read as on their way to a new column."""
    kind = kind_of(declared)
    if declared == "numeric":
        return NUMBER, native(declared), NUMERIC
    if kind is None or kind.name in ("numeric", "decimal"):
        return (native(declared),)
    return (kind,)


def test_texts_of_every_type_are_kept(database: Server) -> None:
    with database.connect() as connection:
        columns = every_type.create(connection)
        connection.execute(b"SET extra_float_digits = 1")
        connection.execute(b"SET datestyle = 'ISO'")
        connection.execute(b"SET intervalstyle = 'postgres'")
        for column in columns:
            ((declared,),) = connection.execute(_TEXTS.format(name=column.name).encode())
            query = f"SELECT {column.name}::text FROM every_type WHERE {column.name} IS NOT NULL"
            texts = [(text,) for (text,) in connection.execute(query.encode())]
            for kind in kinds_in(declared):
                if kind.name in ("native", "numeric", "text", "uuid", "json"):
                    require_kept(type_for(kind), texts)


def require_kept(declared: str, texts: list[tuple[str]]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t (v {declared})")
        connection.executemany("INSERT INTO t VALUES (?)", texts)
        found = connection.execute("SELECT v FROM t").fetchall()
        assert found == texts, declared


def test_dates_and_times_are_kept() -> None:
    for kind in ("date", "time", "timestamp", "timestamptz"):
        texts = ["infinity", "-infinity", "2024-02-29", "12:34:56", "24:00:00", "0044-03-15 BC"]
        texts += ["10000-01-01", "2024-02-29 12:34:56.5", "2024-02-29 12:34:56+00:00"]
        require_kept(type_for(Kind(kind)), [(text,) for text in texts])


def test_names_lead_back_to_every_type(database: Server) -> None:
    names = [name for (name,) in database.rows(_NAMES)]
    assert len(names) > 120
    modified = [
        *("numeric(38,10)", "numeric(5,-2)", "numeric(1000,0)[]", "bit(3)", "bit varying(8)"),
        *("character(5)", "character(5)[]", "interval(3)", "interval day to second(2)"),
        *("time(3) with time zone", "timestamp(0) with time zone[]", "interval year to month"),
        *("time(0) without time zone[]", "character varying(7)[]", "bit varying(5)[]"),
    ]
    lost = []
    for name in [*names, *modified]:
        for kind in kinds_in(name):
            declared = type_for(kind)
            if kind.name != "native":
                continue
            if declared == "TEXT":
                lost.append(name)
                continue
            assert foreign_type(declared) == name, declared
            assert candidates(Column("c", declared))[0].kind == native(name)
    assert sorted(set(lost)) == LOST


# Called plain TEXT, so that they come back as text: the one has no word for a name, the other has
# INT in it, and its values look like numbers.
LOST = ['"char"[]', "int2vector[]"]
