"""What the simulation stands on and is held against: measured runs, with and without the probe.

    python -m perf.simulation_measure costs FILE.sqlite FOLDER          (one worker, with the probe)
    python -m perf.simulation_measure trips FILE.sqlite FOLDER          (the same, through a proxy)
    python -m perf.simulation_measure helped FILE.sqlite FOLDER    (the same, a key gets a helper)
    python -m perf.simulation_measure straight FILE.sqlite FOLDER  (back, nothing written apart)
    python -m perf.simulation_measure runs  FILE.sqlite --workers 1 2 3 [--latency 0.02]

`costs` keeps the probe's files in FOLDER, beside runs without it; `runs` prints JSON lines, one a
run, timed from outside. Both with the report "verified", or not at all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from perf.paired import ROOT, NotVerifiedError, client_cpu_seconds, emit, product_command, setup
from perf.servers import Server, running
from perf.simulation_probe import HELPERS, STRAIGHT

from tableferry.addresses import SqliteFile
from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint

_LOG_BYTES = 256 << 20
_PIECE = 1 << 20
_TRIES = 5


@contextmanager
def far(server: Server, latency: float, turns: Path | None = None) -> Iterator[tuple[str, Any]]:
    """The server's address through a proxy (host and port), and a dictionary that gets what the
    proxy did once it has ended."""
    command = [sys.executable, "-m", "perf.simulation_proxy", f"{server.folder}/.s.PGSQL.5432"]
    command += ["--latency", str(latency)] + (["--turns", str(turns)] if turns else [])
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as proxy:
        assert proxy.stdout is not None
        done: dict[str, Any] = {}
        yield f"127.0.0.1:{proxy.stdout.readline().strip()}", done
        answer, _ = proxy.communicate()
        done |= json.loads(answer)


@dataclass(frozen=True, slots=True)
class Way:
    """From a SQLite file into an empty database, or ``back``: from a database that the file was
    carried into before, into a new file."""

    sqlite: Path
    back: bool = False

    def fill(self, server: Server) -> None:
        """What has to be there before."""
        if self.back:
            command = product_command(self.sqlite, server.fresh_database())
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def database(self, server: Server) -> str:
        return server.url() if self.back else server.fresh_database()

    def command(self, url: str, folder: Path) -> list[str]:
        command = product_command(self.sqlite, url)
        if self.back:
            (folder / "out.sqlite").unlink(missing_ok=True)
            ends = ["--from", url, "--to", f"sqlite://{folder / 'out.sqlite'}"]
            command = [*command[: command.index("--from")], "--force", *ends]
        return [*command, "--quiet"]


def plain(way: Way, url: str, workers: int) -> dict[str, Any]:
    """Seconds of one run from outside, and its report's own."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [*way.command(url, Path(folder)), "--workers", str(workers)]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--report", str(report)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        found = _verified(report, done)
    timeline = found["timeline"]
    return {
        "seconds": seconds,
        "timings": found["timings"],
        "gap": median_gap(timeline),
        "retire": ending(timeline) / workers,
    }


def ending(timeline: list[dict[str, Any]]) -> float:
    """Seconds for which a run waits for its workers to end: between its last two phases."""
    phases = {span["name"]: span for span in timeline if span["what"] == "run"}
    last = phases["finish"]
    return float(phases["publish"]["began"] - last["began"] - last["seconds"])


def _verified(report: Path, done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(report.read_text()) if report.exists() else {}
    if found.get("status") != "verified":
        raise NotVerifiedError(f"exit {done.returncode}, {found.get('status')}: {done.stderr}")
    return found


def median_gap(timeline: list[dict[str, Any]]) -> float:
    """Seconds from the end of one of a worker's jobs to the beginning of its next, of the short
    ones: the rest waited for work."""
    gaps = []
    last: dict[int, float] = {}
    for span in sorted(timeline, key=lambda span: float(span["began"])):
        if span["worker"]:
            if span["worker"] in last:
                gaps.append(span["began"] - last[span["worker"]])
            last[span["worker"]] = span["began"] + span["seconds"]
    return sorted(gaps)[len(gaps) // 2] if gaps else 0.0


def probed(
    way: Way,
    server: Server,
    folder: Path,
    address: str = "",
    changed: Mapping[str, str] | None = None,
) -> None:
    """One run with one worker and the probe, whose files are left in the folder. ``changed`` is
    what the probe is told, HELPERS or STRAIGHT."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    report = folder / "report.json"
    url = way.database(server)
    seen = f"postgresql://postgres@{address}/bench" if address else url
    command = way.command(seen, folder)
    arguments = [*command[command.index("database") :], "--workers", "1"]
    probe = [sys.executable, "-m", "perf.simulation_probe", str(folder), str(server.pid), url, "--"]
    paths = [str(ROOT), str(ROOT / "src")]
    done = subprocess.run(
        [*probe, *arguments, "--report", str(report)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict(changed or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    _verified(report, done)
    (folder / "out.sqlite").unlink(missing_ok=True)


def pages(url: str) -> dict[str, int]:
    """Of each table of a database."""
    query = (
        "SELECT relname, pg_relation_size(oid) / 8192 FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with psycopg.connect(url) as connection:
        return {str(name): int(number) for name, number in connection.execute(query)}


def sizes(sqlite: Path) -> dict[str, int]:
    """Bytes that each table takes in the file, as the product sees it."""
    end = Endpoint(SqliteFile(sqlite))
    with closing(dialect_of(end).open(end)) as session:
        return {str(table.name): table.size for table in session.inspect().tables}


def log_bandwidth(folder: Path) -> float:
    """Bytes a second that one process writes to a file of the disk and has it keep, by 16 MiB:
    what a server's log can take. The best of some tries, since others use the disk too."""
    return max(_written(folder) for _ in range(_TRIES))


def _written(folder: Path) -> float:
    piece = os.urandom(_PIECE)
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for number in range(_LOG_BYTES // _PIECE):
            file.write(piece)
            if number % 16 == 15:
                file.flush()
                os.fdatasync(file.fileno())
        return _LOG_BYTES / (time.perf_counter() - began)


def measure_costs(options: argparse.Namespace) -> None:
    """Rounds of a run with the probe and one with each number of workers without, by turns: the
    machine is never as fast as it was a minute ago."""
    way = Way(options.sqlite.resolve(), options.back)
    with running("15") as server:
        described = setup(server, way.sqlite) | {"sizes": sizes(way.sqlite), "back": way.back}
        way.fill(server)
        if way.back:
            described["pages"] = pages(server.url())
        for _ in range(options.warmups):
            plain(way, way.database(server), 2)
        for _ in range(options.rounds):
            folder = options.folder / str(len(list(options.folder.glob("[0-9]*"))))
            probed(way, server, folder)
            runs = [_run(server, way, n, None) for n in options.workers]
            (folder / "plain.json").write_text(json.dumps(runs, indent=1))
            for run in runs:
                emit("measured", run)
        described["log_bandwidth"] = log_bandwidth(options.folder)
    (options.folder / "setup.json").write_text(json.dumps(described, indent=1))


def measure_trips(options: argparse.Namespace) -> None:
    folder = options.folder / "trips"
    way = Way(options.sqlite.resolve(), options.back)
    with running("15") as server:
        way.fill(server)
        turns = server.folder / "turns"
        with far(server, 0.0, turns) as (address, _):
            probed(way, server, folder, address)
        shutil.copy(turns, options.folder / "turns.jsonl")


def measure_helped(options: argparse.Namespace) -> None:
    way = Way(options.sqlite.resolve())
    with running("15") as server:
        probed(way, server, options.folder / "helped", changed={HELPERS: "1"})


def measure_straight(options: argparse.Namespace) -> None:
    way = Way(options.sqlite.resolve(), back=True)
    with running("15") as server:
        way.fill(server)
        probed(way, server, options.folder / "straight", changed={STRAIGHT: "1"})


def measure_runs(options: argparse.Namespace) -> None:
    way = Way(options.sqlite.resolve(), options.back)
    with running("15") as server:
        emit("setup", setup(server, way.sqlite))
        way.fill(server)
        for number in range(-options.warmups, options.rounds):
            for workers in options.workers:
                run = _run(server, way, workers, options.latency)
                if number >= 0:
                    emit("measured", run)


def _run(server: Server, way: Way, workers: int, latency: float | None) -> dict[str, Any]:
    url = way.database(server)
    before, client, (busy, stolen) = server.cpu_seconds(), client_cpu_seconds(), machine_seconds()
    if latency is None:
        run = plain(way, url, workers)
    else:
        with far(server, latency) as (address, done):
            run = plain(way, f"postgresql://postgres@{address}/bench", workers)
        run |= {"latency": latency, "proxy": done}
    after, (then, taken) = server.cpu_seconds(), machine_seconds()
    used = {"server_cpu": after - before, "client_cpu": client_cpu_seconds() - client}
    # By whoever else used this machine meanwhile, and by other machines on the same hardware.
    foreign = then - busy - sum(used.values())
    run |= {"source": way.sqlite.name, "back": way.back, "workers": workers}
    return run | used | {"foreign_cpu": foreign, "stolen": taken - stolen}


def machine_seconds() -> tuple[float, float]:
    """Of the cores that this process may use, since the machine's start: busy, and wanted but given
    to other machines."""
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = stolen = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name in ours:
            user, nice, system, _, _, hard, soft, steal = map(int, ticks[:8])
            busy += user + nice + system + hard + soft
            stolen += steal
    tick = os.sysconf("SC_CLK_TCK")
    return busy / tick, stolen / tick


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure for the simulation.")
    commands = parser.add_subparsers(required=True)
    costs = commands.add_parser("costs", help="what each job costs, by a probe")
    costs.add_argument("sqlite", type=Path)
    costs.add_argument("folder", type=Path)
    costs.add_argument("--back", action="store_true", help="from PostgreSQL to SQLite")
    costs.add_argument("--rounds", type=int, default=3)
    costs.add_argument("--warmups", type=int, default=1, help="unmeasured runs before")
    costs.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3], help="of other runs")
    costs.set_defaults(command=measure_costs)
    trips = commands.add_parser("trips", help="when a run waits for the server's answer")
    trips.add_argument("sqlite", type=Path)
    trips.add_argument("folder", type=Path)
    trips.add_argument("--back", action="store_true", help="from PostgreSQL to SQLite")
    trips.set_defaults(command=measure_trips)
    helped = commands.add_parser("helped", help="keys that two processes of the server build")
    helped.add_argument("sqlite", type=Path)
    helped.add_argument("folder", type=Path)
    helped.set_defaults(command=measure_helped)
    straight = commands.add_parser("straight", help="into SQLite, without parts of a table")
    straight.add_argument("sqlite", type=Path)
    straight.add_argument("folder", type=Path)
    straight.set_defaults(command=measure_straight)
    runs = commands.add_parser("runs", help="whole runs, from outside")
    runs.add_argument("sqlite", type=Path)
    runs.add_argument("--workers", type=int, nargs="+", default=[1, 2, 3])
    runs.add_argument("--back", action="store_true", help="from PostgreSQL to SQLite")
    runs.add_argument("--rounds", type=int, default=3)
    runs.add_argument("--warmups", type=int, default=1, help="unmeasured rounds before")
    runs.add_argument("--latency", type=float, help="through a proxy, seconds of a round trip")
    runs.set_defaults(command=measure_runs)
    options = parser.parse_args()
    options.command(options)


if __name__ == "__main__":
    main()
