"""A small database, start to verified, against pgloader: `python -m perf.chinook FILE.sqlite`."""

from __future__ import annotations

import argparse
from pathlib import Path

from perf.paired import Comparison, add_arguments, product, rival, run_suite


def main() -> None:
    parser = argparse.ArgumentParser(description="The product against pgloader on a small file.")
    parser.add_argument("sqlite", type=Path)
    add_arguments(parser)
    options = parser.parse_args()
    sqlite = options.sqlite.resolve()
    comparison = Comparison("start to verified / pgloader", "total", "pgloader", "total")
    run_suite(options, sqlite, [product(sqlite), rival("pgloader", sqlite)], [comparison])


if __name__ == "__main__":
    main()
