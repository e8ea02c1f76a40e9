"""The main benchmark: TPC-H from SQLite to PostgreSQL, start to verified.

    python -m perf.tpch --scale 1 --pairs 5 --server 15

Two questions: the whole job divided by DuckDB doing the same work, and the copy phase divided by
the bare ADBC loop over ranges of the same size with as many workers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from perf import tpch_data
from perf.paired import Comparison, add_arguments, product, rival, run_suite
from perf.rivals import RANGE_ROWS, WORKERS
from perf.sqlite_file import DATA_FOLDER

COMPARISONS = (
    Comparison("whole job / DuckDB's same work", "total", "duckdb_same_work", "total"),
    Comparison("copy / bare loop", "copy", "bare_loop", "copy"),
    Comparison("copy / bare loop with its start", "copy", "bare_loop", "total"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The product against DuckDB and the bare loop.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--range-rows", type=int, default=RANGE_ROWS, help="of the bare loop")
    parser.add_argument(
        "--session", action="append", default=[], metavar="SQL", help="the product's settings"
    )
    add_arguments(parser)
    options = parser.parse_args()
    sqlite = tpch_data.build(options.scale, options.folder).resolve()
    bare = ["--workers", str(options.workers), "--range-rows", str(options.range_rows)]
    bare += [f"--session={statement}" for statement in options.session]
    contenders = [
        product(sqlite, ["--workers", str(options.workers)]),
        rival("duckdb_same_work", sqlite),
        rival("bare_loop", sqlite, bare),
    ]
    run_suite(options, sqlite, contenders, COMPARISONS)


if __name__ == "__main__":
    main()
