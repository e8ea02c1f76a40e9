"""Memory where a few rows are long: `python -m perf.long_values --folder perf/data --server 15`.

A table of 3,000 rows is tiny but for some adjacent rows in its middle, each with 30 MB of text or
of bytes in turns. A sample of the rows, or their average, does not show them; a batch bounded by
rows would hold them all at once. Prints JSON lines: the setup, and the peaks as perf.memory has
them, with the command's peak of anonymous memory in long values.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from perf.memory import INTERVAL_SECONDS, watch
from perf.paired import emit, product_command, setup
from perf.servers import VERSIONS, running
from perf.sqlite_file import DATA_FOLDER, new_file


@dataclass(frozen=True, slots=True)
class Shape:
    """``rows`` in all, ``long_rows`` of them in the middle with a value of ``megabytes`` each."""

    rows: int = 3_000
    long_rows: int = 20
    megabytes: int = 30

    @property
    def file_name(self) -> str:
        return f"long-{self.rows}-{self.long_rows}x{self.megabytes}.sqlite"


DEFAULT = Shape()


def build(shape: Shape, folder: Path) -> Path:
    """The SQLite file in `folder`, made at the first call."""
    target = folder / shape.file_name
    if not target.exists():
        with new_file(target) as cursor:
            cursor.execute(
                "CREATE TABLE document (id INTEGER PRIMARY KEY, title TEXT, body TEXT, scan BLOB)"
            )
            cursor.execute(_insert(shape))
    return target


def _insert(shape: Shape) -> str:
    """Random content: what a server could compress would hide what it has to hold."""
    first = (shape.rows - shape.long_rows) // 2
    size = shape.megabytes * 10**6
    is_long = f"id >= {first} AND id < {first + shape.long_rows}"
    return f"""
        WITH RECURSIVE n(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n LIMIT {shape.rows})
        INSERT INTO document SELECT id, 'document ' || id,
            CASE WHEN {is_long} AND id % 2 = 0 THEN hex(randomblob({size // 2})) ELSE 'short' END,
            CASE WHEN {is_long} AND id % 2 = 1 THEN randomblob({size}) ELSE x'00' END
        FROM n"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory with a few long values.")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the file is kept")
    parser.add_argument("--rows", type=int, default=DEFAULT.rows)
    parser.add_argument("--long-rows", type=int, default=DEFAULT.long_rows)
    parser.add_argument("--megabytes", type=int, default=DEFAULT.megabytes, help="of a long value")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")
    parser.add_argument("--interval", type=float, default=INTERVAL_SECONDS, help="seconds")
    options = parser.parse_args()
    shape = Shape(options.rows, options.long_rows, options.megabytes)
    sqlite = build(shape, options.folder).resolve()
    with running(options.server) as server:
        emit("setup", setup(server, sqlite))
        command = product_command(sqlite, server.fresh_database())
        command += ["--workers", str(options.workers)]
        peaks = watch(command, server.pid, options.interval)
    in_values = peaks.ours_anon.anon / shape.megabytes
    facts = asdict(shape) | {"workers": options.workers, "unit": "MB"}
    emit("memory", facts | {"anon_in_long_values": in_values} | asdict(peaks))


if __name__ == "__main__":
    main()
