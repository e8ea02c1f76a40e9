"""A dictionary-like SQLite file of many narrow tables: `python -m perf.narrow_data`.

44 tables, 6M rows of 2 to 4 columns, 70 indexes; every fourth table has no key. Where TPC-H asks
how fast wide rows flow, this asks what each table, index and row costs. Sizes fall off from
table to table, as they do in real databases; a fixed seed makes the file the same every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from perf.sqlite_file import DATA_FOLDER, new_file

TABLES = 44
ROWS = 6_000_000
INDEXES = 70
SEED = 20_240_601

Columns = dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class _Shape:
    name: str
    columns: str
    indexed: tuple[str, str]


SHAPES = (
    _Shape("word", "id INTEGER PRIMARY KEY, spelling TEXT NOT NULL", ("spelling", "spelling, id")),
    _Shape("pair", "a INTEGER NOT NULL, b INTEGER NOT NULL", ("a, b", "b, a")),
    _Shape(
        "rank",
        "a INTEGER NOT NULL, b INTEGER NOT NULL, rank REAL, PRIMARY KEY (a, b)",
        ("b", "rank"),
    ),
    _Shape(
        "note",
        "id INTEGER PRIMARY KEY, word INTEGER NOT NULL, class VARCHAR(8), note TEXT",
        ("word", "class, word"),
    ),
)


def build(folder: Path = DATA_FOLDER) -> Path:
    """The SQLite file in `folder`, made at the first call."""
    target = folder / "narrow.sqlite"
    if not target.exists():
        with new_file(target) as cursor:
            _fill(cursor)
    return target


def _fill(cursor: Any) -> None:
    generator = np.random.default_rng(SEED)
    for number, rows in enumerate(_sizes()):
        shape = SHAPES[number % len(SHAPES)]
        name = f"{shape.name}_{number:02}"
        cursor.execute(f"CREATE TABLE {name} ({shape.columns})")
        cursor.adbc_ingest(name, pa.table(_values(shape.name, rows, generator)), mode="append")
    for number in range(INDEXES):
        table = number % TABLES
        shape = SHAPES[table % len(SHAPES)]
        columns = shape.indexed[number // TABLES]
        name = f"{shape.name}_{table:02}"
        cursor.execute(f"CREATE INDEX {name}_by_{number:02} ON {name} ({columns})")


def _sizes() -> Iterator[int]:
    weights = 1.0 / np.arange(1, TABLES + 1) ** 0.8
    yield from (int(rows) for rows in ROWS * weights / weights.sum())


def _values(shape: str, rows: int, generator: np.random.Generator) -> Columns:
    number = np.arange(rows, dtype=np.int64)
    # Four partners each, from disjoint blocks of ten: the pairs are unique without a look back.
    pair = {
        "a": pa.array(number // 4),
        "b": pa.array(10 * (number % 4) + generator.integers(0, 10, rows)),
    }
    if shape == "pair":
        return pair
    if shape == "rank":
        return pair | {"rank": _with_nulls(generator.random(rows), generator)}
    if shape == "word":
        return {"id": pa.array(number + 1), "spelling": words(rows, generator)}
    return {
        "id": pa.array(number + 1),
        "word": pa.array(generator.integers(1, rows + 1, rows)),
        "class": pa.array(np.array(["noun", "verb", "adj"])[generator.integers(0, 3, rows)]),
        "note": words(rows, generator),
    }


def words(rows: int, generator: np.random.Generator) -> pa.Array:
    """Words of 3 to 14 small letters, cut out of one long random text."""
    lengths = generator.integers(3, 15, rows, dtype=np.int32)
    ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int32))).astype(np.int32)
    letters = generator.integers(ord("a"), ord("z") + 1, int(ends[-1]), dtype=np.uint8)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(ends), pa.py_buffer(letters))


def _with_nulls(values: npt.NDArray[np.float64], generator: np.random.Generator) -> pa.Array:
    return pa.array(values, mask=generator.random(len(values)) < 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate the narrow tables as an SQLite file.")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER)
    print(build(parser.parse_args().folder))


if __name__ == "__main__":
    main()
