"""Every date and time that a PostgreSQL holds is read, spelled, and stored again as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from tests.servers import Server

from tableferry import temporal
from tableferry.addresses import PostgresServer, parse_url
from tableferry.dialects.base import Batch, Endpoint
from tableferry.dialects.postgresql.loader import PostgresLoader
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.digest import row_hashes
from tableferry.errors import MisfitFound
from tableferry.kinds import DATE, TIME, TIMESTAMP, TIMESTAMPTZ, arrow_type
from tableferry.model import Column, Kind, Range, ReadColumn, Scan, TableName

DAY = 86_400_000_000
# The ends of PostgreSQL's ranges in its own count, from 2000-01-01 ("Date/Time Types", 8.5).
ENDS = {
    "date": (-2_451_545, 2_145_031_948),
    "time": (0, DAY),
    "timestamp": (-2_451_545 * DAY, 9_223_371_331_199_999_999),
}
ENDS["timestamptz"] = ENDS["timestamp"]
TYPES = {
    "date": (DATE, "date"),
    "time": (TIME, "time without time zone"),
    "timestamp": (TIMESTAMP, "timestamp without time zone"),
    "timestamptz": (TIMESTAMPTZ, "timestamp with time zone"),
}
RANDOM = 2_000


def own_values(name: str) -> list[int]:
    """Values in PostgreSQL's own count, without infinities: ends, boundaries and random ones."""
    first, last = ENDS[name]
    chosen = random.Random(name)
    day = 1 if name == "date" else DAY
    # Where another epoch, the years 1 and 10000, or (of timestamps) the last integer lies.
    near = [0, -10_957 * day, -730_119 * day, -730_485 * day, 2_921_940 * day]
    near += [2**63 - 1 - 10_957 * DAY] if name.startswith("timestamp") else []
    edges = [first, first + 1, last - 1, last, *(n + step for n in near for step in (-1, 0, 1))]
    values = [n for n in edges if first <= n <= last]
    values += [chosen.randint(first, last) for _ in range(RANDOM)]
    # Most values are no older than a few centuries, and many are whole seconds.
    values += [
        chosen.randint(max(first, -(10**6) * day), min(last, 10**6 * day)) for _ in range(99)
    ]
    return values + [n // 1_000_000 * 1_000_000 for n in values[-50:]]


def values_of(name: str) -> pa.Array:
    """All of them, infinities and NULL as the driver should give them."""
    kind, _ = TYPES[name]
    bits = 32 if name == "date" else 64
    own: list[int | None] = [*own_values(name), None]
    if name != "time":
        own += [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
    epoch = {"date": 10_957, "time": 0}.get(name, 10_957 * DAY)
    half = 2 ** (bits - 1)
    wrapped = [n if n is None else (n + epoch + half) % 2**bits - half for n in own]
    return pa.array(wrapped, pa.int32() if bits == 32 else pa.int64()).cast(arrow_type(kind))


@contextmanager
def session(database: Server) -> Iterator[PostgresSession]:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    with closing(PostgresSession(Endpoint(address))) as opened:
        yield opened


@contextmanager
def client(database: Server) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with database.connect() as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SET datestyle = 'ISO'")
        yield connection


def columns(kind: Kind, declared: str) -> tuple[ReadColumn, ...]:
    return (ReadColumn(Column("a", declared), kind),)


def read(database: Server, table: str, kind: Kind, declared: str) -> pa.Array:
    scan = Scan(TableName("public", table), columns(kind, declared), ())
    with session(database) as opened:
        found = [batch.columns[0] for batch in opened.read(scan, Range(0))]
    return pa.concat_arrays(found)


def write(database: Server, table: str, kind: Kind, declared: str, values: pa.Array) -> None:
    address = parse_url(database.url)
    assert isinstance(address, PostgresServer)
    with closing(PostgresLoader(Endpoint(address))) as opened:
        to = TableName("public", table)
        opened.ingest(to, columns(kind, declared), iter([Batch((values,))]))
        opened.commit()


@pytest.mark.parametrize("name", TYPES)
def test_values_are_read_spelled_and_stored_again(database: Server, name: str) -> None:
    kind, declared = TYPES[name]
    values = values_of(name)
    texts = temporal.spell(values, kind).to_pylist()
    with client(database) as connection:
        connection.execute(f"CREATE TABLE source (n serial, a {name})".encode())
        connection.execute(f"CREATE TABLE target (n serial, a {name})".encode())
        connection.execute(
            f"INSERT INTO source (a) SELECT v::{name} FROM unnest(%s::text[]) v".encode(), [texts]
        )
        query = b"SELECT a::text FROM source ORDER BY n"
        stored = [text for (text,) in connection.execute(query)]
        assert stored == [text and text.replace("+00:00", "+00") for text in texts]

        assert read(database, "source", kind, declared).equals(values)
        server_wrote = pa.array(stored, pa.string())
        assert temporal.cast(server_wrote, kind).equals(values)

        write(database, "target", kind, declared, values)
        query = b"SELECT count(*) FROM source JOIN target USING (n, a)"
        assert connection.execute(query).fetchall() == [(len(values) - 1,)]
        assert read(database, "target", kind, declared).equals(values)


@pytest.mark.parametrize("name", TYPES)
def test_every_value_has_a_hash_of_its_own(name: str) -> None:
    values = values_of(name).drop_null()
    low, high = row_hashes([values])
    hashes = set(zip(low.tolist(), high.tolist(), strict=True))
    assert len(hashes) == len(values.unique())


@pytest.mark.parametrize(
    "declared", ["timestamp(3) without time zone", "timestamp(0) with time zone"]
)
def test_infinity_has_no_fraction_that_a_type_would_round(database: Server, declared: str) -> None:
    kind = TIMESTAMPTZ if "with time" in declared else TIMESTAMP
    database.run(f"CREATE TABLE t (a {declared})")
    whole = ["infinity", "-infinity", "294276-12-31 23:59:59", "4714-11-24 00:00:00 BC"]
    zone = "+00:00" if kind == TIMESTAMPTZ else ""
    spelled = [
        t.replace(" BC", f"{zone} BC") if "BC" in t else t + zone * (":" in t) for t in whole
    ]
    values, bad, _ = temporal.parse(pa.array(spelled), kind)
    assert bad is None
    write(database, "t", kind, declared, values)
    assert read(database, "t", kind, declared).equals(values)
    odd, _, _ = temporal.parse(pa.array([f"294276-12-31 23:59:59.9999{zone}"]), kind)
    with pytest.raises(MisfitFound) as raised:
        write(database, "t", kind, declared, odd)
    assert raised.value.details["value"] == f"294276-12-31 23:59:59.9999{zone}"
