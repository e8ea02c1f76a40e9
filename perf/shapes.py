"""Small SQLite files, each of which makes another cost stand out: `python -m perf.shapes wide`.

wide          40,000 rows of 200 columns: what a column costs.
two-columns   2,000,000 rows of 2 columns: what a row costs.
long-text     10,000 texts of 1 to 40 kB.
blobs         10,000 values of 1 to 40 kB that nothing can compress.
many-tables   2,000 tables of 100 rows and 4 columns: what a table costs.
text-keys     1,000,000 rows under a random text as primary key.
keyless       1,000,000 rows without a key, some of them twice.

A fixed seed makes a file the same every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from perf.narrow_data import words
from perf.sqlite_file import DATA_FOLDER, new_file

SEED = 20_240_702
COLUMNS, WIDE_ROWS = 200, 40_000
NARROW_ROWS = 2_000_000
LONG_ROWS, SHORTEST, LONGEST = 10_000, 1_000, 40_000
MANY_TABLES, TABLE_ROWS = 2_000, 100
KEYED_ROWS = 1_000_000
# Rows that one ingest brings: a long one would hold all values in memory.
_BATCH_ROWS = 1_000

Generator = np.random.Generator


def build(shape: str, folder: Path = DATA_FOLDER) -> Path:
    """The SQLite file of this shape in `folder`, made at the first call. Raises KeyError for a name
    that is none of SHAPES."""
    fill = SHAPES[shape]
    target = folder / f"{shape}.sqlite"
    if not target.exists():
        with new_file(target) as cursor:
            fill(cursor, np.random.default_rng(SEED))
    return target


def _wide(cursor: Any, generator: Generator) -> None:
    makers: tuple[tuple[str, Callable[[], pa.Array]], ...] = (
        ("BIGINT", lambda: pa.array(generator.integers(0, 10**9, WIDE_ROWS))),
        ("DECIMAL(15,2)", lambda: pa.array(generator.integers(0, 10**7, WIDE_ROWS) / 100)),
        ("REAL", lambda: pa.array(generator.random(WIDE_ROWS))),
        ("VARCHAR(20)", lambda: words(WIDE_ROWS, generator)),
        ("DATE", lambda: _dates(WIDE_ROWS, generator)),
    )
    columns = {"id": pa.array(np.arange(WIDE_ROWS))}
    declared = ["id INTEGER PRIMARY KEY"]
    for number in range(1, COLUMNS):
        kind, make = makers[number % len(makers)]
        columns[f"c{number:03}"] = make()
        declared.append(f"c{number:03} {kind} NOT NULL")
    cursor.execute(f"CREATE TABLE wide ({', '.join(declared)})")
    cursor.adbc_ingest("wide", pa.table(columns), mode="append")


def _dates(rows: int, generator: Generator) -> pa.Array:
    days = pa.array(generator.integers(8_036, 10_562, rows).astype(np.int32))
    return days.cast(pa.date32()).cast(pa.string())


def _two_columns(cursor: Any, generator: Generator) -> None:
    cursor.execute("CREATE TABLE pair (id INTEGER PRIMARY KEY, value BIGINT NOT NULL)")
    values = generator.integers(0, 10**9, NARROW_ROWS)
    table = pa.table({"id": np.arange(NARROW_ROWS), "value": values})
    cursor.adbc_ingest("pair", table, mode="append")


def _long_text(cursor: Any, generator: Generator) -> None:
    # Of words, so that it can be compressed about as well as what people write.
    vocabulary = words(5_000, generator).to_pylist()
    chosen = generator.integers(0, len(vocabulary), 300_000)
    text = " ".join(vocabulary[number] for number in chosen).encode()
    _long_values(cursor, generator, "TEXT", np.frombuffer(text, dtype=np.uint8))


def _blobs(cursor: Any, generator: Generator) -> None:
    _long_values(cursor, generator, "BLOB", generator.integers(0, 256, 10**7, dtype=np.uint8))


def _long_values(cursor: Any, generator: Generator, kind: str, pool: npt.NDArray[np.uint8]) -> None:
    """Each value is a piece of the pool."""
    cursor.execute(f"CREATE TABLE document (id INTEGER PRIMARY KEY, body {kind} NOT NULL)")
    content = pool.tobytes()
    for start in range(0, LONG_ROWS, _BATCH_ROWS):
        lengths = generator.integers(SHORTEST, LONGEST + 1, _BATCH_ROWS)
        starts = generator.integers(0, len(content) - LONGEST, _BATCH_ROWS)
        values = [content[at : at + n] for at, n in zip(starts, lengths, strict=True)]
        body = pa.array(values, pa.binary())
        table = pa.table(
            {
                "id": np.arange(start, start + _BATCH_ROWS),
                "body": body.cast(pa.string()) if kind == "TEXT" else body,
            }
        )
        cursor.adbc_ingest("document", table, mode="append")


def _many_tables(cursor: Any, generator: Generator) -> None:
    for number in range(MANY_TABLES):
        name = f"t{number:04}"
        cursor.execute(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, amount BIGINT NOT NULL, share REAL,"
            " label VARCHAR(20))"
        )
        table = pa.table(
            {
                "id": np.arange(TABLE_ROWS),
                "amount": generator.integers(0, 10**6, TABLE_ROWS),
                "share": generator.random(TABLE_ROWS),
                "label": words(TABLE_ROWS, generator),
            }
        )
        cursor.adbc_ingest(name, table, mode="append")


def _text_keys(cursor: Any, generator: Generator) -> None:
    cursor.execute(
        "CREATE TABLE session (token VARCHAR(32) NOT NULL PRIMARY KEY, seen DATE NOT NULL,"
        " hits BIGINT NOT NULL)"
    )
    digits = generator.bytes(16 * KEYED_ROWS).hex()
    table = pa.table(
        {
            # 128 random bits: none comes twice.
            "token": [digits[at : at + 32] for at in range(0, len(digits), 32)],
            "seen": _dates(KEYED_ROWS, generator),
            "hits": generator.integers(0, 10**6, KEYED_ROWS),
        }
    )
    cursor.adbc_ingest("session", table, mode="append")


def _keyless(cursor: Any, generator: Generator) -> None:
    cursor.execute(
        "CREATE TABLE event (day DATE NOT NULL, place BIGINT NOT NULL, what VARCHAR(20) NOT NULL,"
        " amount DECIMAL(15,2) NOT NULL)"
    )
    rows = KEYED_ROWS * 9 // 10
    once = pa.table(
        {
            "day": _dates(rows, generator),
            "place": generator.integers(0, 1000, rows),
            "what": words(rows, generator),
            "amount": generator.integers(0, 10**6, rows) / 100,
        }
    )
    twice = once.slice(0, KEYED_ROWS - rows)
    cursor.adbc_ingest("event", pa.concat_tables([once, twice]), mode="append")


SHAPES: dict[str, Callable[[Any, Generator], None]] = {
    "wide": _wide,
    "two-columns": _two_columns,
    "long-text": _long_text,
    "blobs": _blobs,
    "many-tables": _many_tables,
    "text-keys": _text_keys,
    "keyless": _keyless,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate one of the small SQLite files.")
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER)
    options = parser.parse_args()
    print(build(options.shape, options.folder))


if __name__ == "__main__":
    main()
