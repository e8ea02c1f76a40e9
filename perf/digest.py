"""Prints, as one JSON line, how long digests of rows like those of TPC-H's lineitem take.

    python perf/digest.py [ROWS]

Time is in seconds for a million rows of 16 columns, in batches of 65,536 rows and in one thread:
the best and the median of several runs, since a shared machine only ever adds to it.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
import pyarrow as pa

from tableferry.digest import BucketedDigest, digest_batch

BATCH_ROWS = 65_536
RUNS = 9
KEY = (0, 3)
ALPHABET = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz     .", dtype=np.uint8)
INSTRUCTIONS = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
MODES = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]


def lineitem(rows: int, seed: int) -> list[pa.Array]:
    """A batch of rows with the types, widths and value ranges of TPC-H's lineitem."""
    rng = np.random.default_rng(seed)

    def integers(low: int, high: int) -> pa.Array:
        return pa.array(rng.integers(low, high, rows))

    def decimals(low: int, high: int) -> pa.Array:
        halves = np.zeros((rows, 2), dtype=np.int64)
        halves[:, 0] = rng.integers(low, high, rows)
        return pa.Array.from_buffers(pa.decimal128(15, 2), rows, [None, pa.py_buffer(halves)])

    def dates() -> pa.Array:
        return pa.array(rng.integers(8036, 10562, rows).astype(np.int32)).cast(pa.date32())

    def choices(values: list[str]) -> pa.Array:
        return pa.array(values).take(integers(0, len(values)))

    def comments() -> pa.Array:
        offsets = np.zeros(rows + 1, dtype=np.int32)
        np.cumsum(rng.integers(10, 44, rows), out=offsets[1:])
        letters = ALPHABET[rng.integers(0, len(ALPHABET), offsets[-1])]
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(letters))

    return [
        pa.array(np.arange(rows) // 4 + seed * rows),
        integers(1, 200_001),
        integers(1, 10_001),
        pa.array(np.arange(rows) % 4 + 1),
        decimals(100, 5001),
        decimals(90_000, 10_500_000),
        decimals(0, 11),
        decimals(0, 9),
        choices(["A", "N", "R"]),
        choices(["F", "O"]),
        dates(),
        dates(),
        dates(),
        choices(INSTRUCTIONS),
        choices(MODES),
        comments(),
    ]


def seconds(batches: list[list[pa.Array]]) -> float:
    start = time.perf_counter()
    digest = BucketedDigest.empty()
    for batch in batches:
        digest += digest_batch(batch, KEY)
    return time.perf_counter() - start


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sizes = [min(BATCH_ROWS, rows - start) for start in range(0, rows, BATCH_ROWS)]
    batches = [lineitem(size, seed) for seed, size in enumerate(sizes)]
    times = [seconds(batches) * 1e6 / rows for _ in range(RUNS)]
    result = {
        "benchmark": "digest",
        "rows": rows,
        "columns": 16,
        "best_s_per_million_rows": round(min(times), 4),
        "median_s_per_million_rows": round(statistics.median(times), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
