"""Differences, as `migrate database --verify` finds them: what one costs, and their memory.

    python -m perf.verify --scale 1 --pairs 5 --server 15
    python -m perf.verify --scale 0.1 --case difference

Two cases, each after the target was filled by one migration; `perf.bench` has two equal sides:

difference  lineitem with one cell changed in the target, in turns with the same table verified:
            with its key of two integers, with a key of text, and without a key. The report has to
            name that cell (without a key: that row on both sides), and nothing else.
keyless     Peak memory of our processes (see perf.memory) over lineitem without a key, 6 million
            rows at scale 1: verified, with one difference, and with every row different.

Prints JSON lines as perf.bench does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from perf import tpch_data
from perf.memory import watch
from perf.paired import (
    NotVerifiedError,
    Sample,
    add_arguments,
    compare,
    costed,
    emit,
    filled,
    run_product,
    setup,
    verify_command,
)
from perf.rivals import WORKERS
from perf.servers import Server, running
from perf.sqlite_file import DATA_FOLDER, new_file
from perf.verdicts import PRODUCT, Comparison

CASES = ("difference", "keyless")
TABLE = "lineitem"
KEYS = ("integer", "text", "none")
# What finding one differing row may add to the run: a quarter, or one more scan.
LIMITS = {"integer": 1.25, "text": 2.0, "none": 2.0}
# What is changed: one cell in the middle of the table.
COLUMN = "l_comment"
CHANGED = "not what was there"


@dataclass(frozen=True, slots=True)
class Pair:
    """A filled target and its source."""

    sqlite: Path
    url: str
    workers: int
    tables: str

    def command(self) -> list[str]:
        command = verify_command(self.sqlite, self.url)
        return [*command, "--tables", self.tables, "--workers", str(self.workers)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Verification alone.")
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H scale factor")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument(
        "--case", action="append", choices=CASES, help="one of them; may be repeated"
    )
    add_arguments(parser)
    options = parser.parse_args()
    sqlite = tpch_data.build(options.scale, options.folder).resolve()
    cases = {"difference": difference, "keyless": keyless}
    with running(options.server) as server:
        emit("setup", setup(server, sqlite) | {"workers": options.workers})
        for name in options.case or CASES:
            cases[name](options, sqlite, server)


def _in_turns(
    options: argparse.Namespace, server: Server, case: str, runs: dict[str, Callable[[], Sample]]
) -> dict[str, list[Sample]]:
    """Every contender once a round."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    for number in range(1 - options.warmups, options.pairs + 1):
        for name, run in runs.items():
            cost, sample = costed(run, server)
            if number > 0:
                samples[name].append(sample)
                record = {"case": case, "round": number, "contender": name} | asdict(sample)
                emit("run", record | {"machine": cost})
    return samples


# --- one difference ------------------------------------------------------------------------------


def difference(options: argparse.Namespace, sqlite: Path, server: Server) -> None:
    for key in KEYS:
        with lineitem_keyed(sqlite, key) as file:
            pair = Pair(file, filled(file, server), options.workers, TABLE)
            _one_difference(options, server, key, pair)


@contextmanager
def lineitem_keyed(sqlite: Path, key: str) -> Iterator[Path]:
    """A file of lineitem alone, beside ``sqlite``: with its own key, with one of text, or none."""
    with tempfile.TemporaryDirectory(dir=sqlite.parent) as folder:
        file = Path(folder, f"lineitem-{key}.sqlite")
        columns = tpch_data.SCHEMA[TABLE]
        before, names = "", "*"
        if key != "integer":
            columns = columns[: columns.index(", PRIMARY KEY")]
        if key == "text":
            columns = f"l_key VARCHAR(40) NOT NULL PRIMARY KEY, {columns}"
            before = "l_orderkey || '-' || l_linenumber, "
        with new_file(file) as cursor:
            cursor.execute(f"CREATE TABLE {TABLE} ({columns})")
            cursor.execute(f"ATTACH 'file:{sqlite}?mode=ro' AS tpch")
            cursor.execute(f"INSERT INTO main.{TABLE} SELECT {before}{names} FROM tpch.{TABLE}")
            cursor.execute("DETACH tpch")
        yield file


def _one_difference(options: argparse.Namespace, server: Server, key: str, pair: Pair) -> None:
    with psycopg.connect(pair.url, autocommit=True) as connection:
        cell = _cell_of(connection, key)

        def same() -> Sample:
            _write(connection, cell, cell["before"])
            return run_product(pair.command())[0]

        def changed() -> Sample:
            _write(connection, cell, CHANGED)
            sample, report = run_product(pair.command(), "differences")
            _require_named(report, cell)
            return sample

        runs = {"same": same, PRODUCT: changed}
        samples = _in_turns(options, server, f"one difference, key {key}", runs)
    for measure in ("total", "cpu"):
        name = f"{measure} with one difference / verified, key {key}"
        ratio = compare(Comparison(name, measure, "same", measure), samples)
        emit("ratio", ratio | {"limit": LIMITS[key]})


def _cell_of(connection: psycopg.Connection[Any], key: str) -> dict[str, Any]:
    """One cell in the middle of the table: of which row, and what stands there."""
    names = {"integer": ("l_orderkey", "l_linenumber"), "text": ("l_key",), "none": ()}[key]
    middle = connection.execute(f"SELECT max(l_orderkey) / 2 FROM {TABLE}".encode()).fetchone()
    assert middle
    query = (
        f"SELECT l_orderkey, l_linenumber, {COLUMN}, {'l_key' if key == 'text' else 'NULL'} "
        f"FROM {TABLE} WHERE l_orderkey >= {middle[0]} ORDER BY 1, 2 LIMIT 1"
    )
    row = connection.execute(query.encode()).fetchone()
    assert row
    values = dict(zip(("l_orderkey", "l_linenumber", COLUMN, "l_key"), row, strict=True))
    return {
        "where": f"l_orderkey = {row[0]} AND l_linenumber = {row[1]}",
        "key": {name: values[name] for name in names},
        "row": {name: values[name] for name in ("l_orderkey", "l_linenumber")},
        "before": row[2],
    }


def _write(connection: psycopg.Connection[Any], cell: dict[str, Any], text: str) -> None:
    statement = f"UPDATE {TABLE} SET {COLUMN} = %s WHERE {cell['where']}"
    done = connection.execute(statement.encode(), (text,))
    assert done.rowcount == 1
    connection.execute("CHECKPOINT")


def _require_named(report: dict[str, Any], cell: dict[str, Any]) -> None:
    """That cell and no other: by its key, or, without one, its row as missing and as extra."""
    (table,) = report["tables"]
    listed = table["differences"]["listed"]
    wrong = ValueError(f"not the one cell {cell}: {table['differences']}")
    if table["differences"]["more_rows"] or table["differences"]["search_cut_short"]:
        raise wrong
    if cell["key"]:
        (found,) = listed
        named = {name: str(value) for name, value in cell["key"].items()}
        given = {name: str(value).strip("'") for name, value in found["key"].items()}
        texts = [found["source"].strip("'\""), found["target"].strip("'\"")]
        if (found["what"], found["column"], given) != ("changed", COLUMN, named):
            raise wrong
        if texts != [cell["before"], CHANGED]:
            raise wrong
        return
    if sorted(found["what"] for found in listed) != ["extra", "missing"]:
        raise wrong
    for found in listed:
        text = cell["before"] if found["what"] == "missing" else CHANGED
        row = {name: str(value) for name, value in (cell["row"] | {COLUMN: repr(text)}).items()}
        if found["times"] != 1 or not row.items() <= found["key"].items():
            raise wrong


# --- memory without a key ------------------------------------------------------------------------


def keyless(options: argparse.Namespace, sqlite: Path, server: Server) -> None:
    with lineitem_keyed(sqlite, "none") as file:
        pair = Pair(file, filled(file, server), options.workers, TABLE)
        with psycopg.connect(pair.url, autocommit=True) as connection:
            cell = _cell_of(connection, "none")
            count = connection.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchone()
            assert count
            facts = {"rows": count[0], "unit": "MB"}
            _measured(pair, server, facts | {"differing": 0}, 0)
            _write(connection, cell, CHANGED)
            _measured(pair, server, facts | {"differing": 1}, 1)
            connection.execute(f"UPDATE {TABLE} SET l_suppkey = l_suppkey + 1".encode())
            connection.execute(f"VACUUM FULL {TABLE}".encode())
            _measured(pair, server, facts | {"differing": count[0]}, 1)


def _measured(pair: Pair, server: Server, facts: dict[str, Any], code: int) -> None:
    peaks = watch([*pair.command(), "--quiet"], server.pid)
    if peaks.exit_code != code:
        raise NotVerifiedError(f"exit {peaks.exit_code}, not {code}")
    emit("memory", {"case": "keyless"} | facts | asdict(peaks))


if __name__ == "__main__":
    main()
