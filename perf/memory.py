"""Peak memory of a run: `python -m perf.memory FILE.sqlite --server 15 --direction to-sqlite`.

Sums the proportional set size (PSS: a page shared by n processes counts 1/n in each) over the
command's process tree every so often. PostgreSQL's processes, the benchmark's server or one that
the command started, are summed apart. Mapped pages of the SQLite file count as "file": the
kernel can take them back at any time, so "anon" is what a run really needs.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from perf.paired import ROOT, carry_command, emit, product_command, rival_command, setup
from perf.servers import VERSIONS, Server, running
from perf.verdicts import PRODUCT

RIVALS = ("duckdb_same_work", "pgloader", "shell_recipe", "bare_loop")
DIRECTIONS = ("to-postgresql", "to-sqlite", "between-postgresql", "between-sqlite")
INTERVAL_SECONDS = 0.1
_FIELDS = ("Pss", "Pss_Anon", "Pss_File", "Pss_Shmem")


@dataclass(frozen=True, slots=True)
class Memory:
    """Sums over some processes at one moment, in MB (10^6 bytes)."""

    processes: int
    total: float
    anon: float
    file: float
    shared: float


NOTHING = Memory(0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Peaks:
    """The moments at which each group was largest, by all its pages and by anonymous ones."""

    ours: Memory
    ours_anon: Memory
    server: Memory
    seconds: float
    samples: int
    exit_code: int


def watch(command: Sequence[str], server_pid: int, interval: float = INTERVAL_SECONDS) -> Peaks:
    """Run `command` and sample it until it ends; its output is dropped."""
    server = psutil.Process(server_pid)
    ours, ours_anon, theirs, samples = NOTHING, NOTHING, NOTHING, 0
    started = time.monotonic()
    run = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while run.poll() is None:
        tree = _tree(run)
        postgres = [process for process in tree if _is_postgres(process)]
        now = _memory(process for process in tree if process not in postgres)
        ours = max(ours, now, key=lambda memory: memory.total)
        ours_anon = max(ours_anon, now, key=lambda memory: memory.anon)
        theirs = max(theirs, _memory(_tree(server) + postgres), key=lambda memory: memory.total)
        samples += 1
        time.sleep(interval)
    elapsed = time.monotonic() - started
    return Peaks(ours, ours_anon, theirs, elapsed, samples, run.returncode)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return str(process.name()) == "postgres"
    except psutil.NoSuchProcess:
        return False


def _memory(processes: Iterable[psutil.Process]) -> Memory:
    found = [sizes for process in processes if (sizes := _rollup(process.pid))]
    return Memory(len(found), *(sum(sizes[name] for sizes in found) for name in _FIELDS))


def _rollup(pid: int) -> dict[str, float]:
    """The kernel's sums over a process's mappings in MB; nothing for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(size.split()[0]) * 1024 / 1e6 for name, _, size in map(_parted, lines)}


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _in_direction(direction: str, sqlite: Path, server: Server, folder: Path) -> list[str]:
    """The product's command; what it starts from is made first, and not measured."""
    url = server.fresh_database()
    if direction == "to-postgresql":
        return product_command(sqlite, url)
    if direction == "between-sqlite":
        return carry_command(f"sqlite://{sqlite}", f"sqlite://{folder / 'out.sqlite'}")
    subprocess.run(product_command(sqlite, url), cwd=ROOT, check=True, capture_output=True)
    target = f"sqlite://{folder / 'out.sqlite'}"
    return carry_command(url, target if direction == "to-sqlite" else server.another_database())


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of one run.")
    parser.add_argument("sqlite", type=Path)
    parser.add_argument("--contender", choices=(PRODUCT, *RIVALS), default=PRODUCT)
    parser.add_argument("--direction", choices=DIRECTIONS, default=DIRECTIONS[0])
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")
    parser.add_argument("--interval", type=float, default=INTERVAL_SECONDS, help="seconds")
    options = parser.parse_args()
    sqlite = options.sqlite.resolve()
    # On the same disk: a file in memory would be none.
    with (
        running(options.server) as server,
        tempfile.TemporaryDirectory(dir=sqlite.parent) as folder,
    ):
        emit("setup", setup(server, sqlite))
        if options.contender == PRODUCT:
            command = _in_direction(options.direction, sqlite, server, Path(folder))
        else:
            command = rival_command(options.contender, sqlite, server.fresh_database())
        peaks = watch(command, server.pid, options.interval)
    what = {"contender": options.contender, "direction": options.direction, "unit": "MB"}
    emit("memory", what | asdict(peaks))


if __name__ == "__main__":
    main()
