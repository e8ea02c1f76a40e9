"""DuckDB doing the product's work, with its scanners of both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perf.rival_source import Result, Stopwatch, Table, listed, quoted, tables_of


def duckdb_same_work(sqlite: Path, url: str) -> Result:
    """DuckDB doing what the product does: copy, keys and indexes, hashes of both sides.

    Decimals travel as double, its own choice for an SQLite source.
    """
    watch = Stopwatch()
    with watch.phase("start"):
        connection = _attached(sqlite, url)
        tables = tables_of(sqlite)
    with watch.phase("copy"):
        for table in tables:
            name = quoted(table.name)
            connection.execute(f"CREATE TABLE pg.{name} AS SELECT * FROM lite.{name}")
    with watch.phase("keys"):
        for table in tables:
            for statement in _key_statements(table):
                connection.execute("CALL postgres_execute('pg', ?)", [statement])
    with watch.phase("hash"):
        differing = [
            table.name
            for table in tables
            if _hash(connection, "lite", table) != _hash(connection, "pg", table)
        ]
    return Result("duckdb_same_work", watch.seconds, {"tables_differing": differing})


def _attached(sqlite: Path, url: str, *, writable: bool = False) -> Any:
    # Imported here: the other rivals should not pay for them.
    import duckdb
    from duckdb_extensions import import_extension

    connection = duckdb.connect()
    for extension in ("sqlite_scanner", "postgres_scanner"):
        import_extension(extension, con=connection)
        connection.execute(f"LOAD {extension}")
    mode = "" if writable else ", READ_ONLY"
    connection.execute(f"ATTACH '{sqlite}' AS lite (TYPE sqlite{mode})")
    connection.execute(f"ATTACH '{url}' AS pg (TYPE postgres)")
    return connection


def _key_statements(table: Table) -> list[str]:
    name = quoted(table.name)
    statements = [f"CREATE INDEX ON {name} ({listed(columns)})" for columns in table.indexes]
    if table.key:
        statements.append(f"ALTER TABLE {name} ADD PRIMARY KEY ({listed(table.key)})")
    return statements


def _hash(connection: Any, side: str, table: Table) -> Any:
    return connection.execute(
        f"SELECT count(*), bit_xor(hash(COLUMNS(*))) FROM {side}.{quoted(table.name)}"
    ).fetchone()


def duckdb_to_sqlite(sqlite: Path, url: str) -> Result:
    """The same work the other way: tables into a new SQLite file, keys as unique indexes there,
    hashes of both sides. What SQLite has no type for, DuckDB turns into one of its own choice."""
    watch = Stopwatch()
    with watch.phase("start"):
        connection = _attached(sqlite, url, writable=True)
        tables = _postgres_tables(connection)
    with watch.phase("copy"):
        for table in tables:
            name = quoted(table.name)
            connection.execute(f"CREATE TABLE lite.{name} AS SELECT * FROM pg.{name}")
    with watch.phase("keys"):
        # The one way in which it takes an index for an attached file.
        connection.execute("USE lite")
        for table in tables:
            if table.key:
                index, key = quoted(table.name + "_key"), listed(table.key)
                connection.execute(f"CREATE UNIQUE INDEX {index} ON {quoted(table.name)} ({key})")
    with watch.phase("hash"):
        differing = [table.name for table in tables if not _hashes_equal(connection, table.name)]
    connection.close()
    return Result("duckdb_to_sqlite", watch.seconds, {"tables_differing": differing})


def _hashes_equal(connection: Any, table: str) -> bool:
    """Per column, both sides as what they became in SQLite."""
    name = quoted(table)
    columns = connection.execute(f"DESCRIBE lite.{name}").fetchall()
    own = ", ".join(f"bit_xor(hash({quoted(c)}))" for c, *_ in columns)
    cast = ", ".join(f"bit_xor(hash(CAST({quoted(c)} AS {t})))" for c, t, *_ in columns)
    mine = connection.execute(f"SELECT count(*), {own} FROM lite.{name}").fetchone()
    theirs = connection.execute(f"SELECT count(*), {cast} FROM pg.{name}").fetchone()
    return bool(mine == theirs)


def _postgres_tables(connection: Any) -> list[Table]:
    found = connection.execute(
        "SELECT * FROM postgres_query('pg', $$SELECT c.relname::text AS name, "
        "coalesce((SELECT string_agg(a.attname, ',' ORDER BY x.i) FROM pg_constraint k "
        "CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY x(n, i) "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.n "
        "WHERE k.conrelid = c.oid AND k.contype = 'p'), '') AS key "
        "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' "
        "ORDER BY 1$$)"
    ).fetchall()
    return [Table(name, (), tuple(filter(None, key.split(","))), ()) for name, key in found]


def duckdb_hashes(sqlite: Path, url: str) -> Result:
    """DuckDB's hashes of both sides alone, of a database that the product has filled.

    Per column, and those of PostgreSQL as the types that DuckDB gives the SQLite file's, so that
    equal values have equal hashes.
    """
    watch = Stopwatch()
    with watch.phase("start"):
        connection = _attached(sqlite, url)
        tables = tables_of(sqlite)
    with watch.phase("hash"):
        differing = [table.name for table in tables if not _hashes_equal(connection, table.name)]
    return Result("duckdb_hashes", watch.seconds, {"tables_differing": differing})
