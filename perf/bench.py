"""The benchmark suite: `python -m perf.bench`, or `--full`, or `--case NAME`.

For each case of perf.cases: the data is made at the first call, all contenders run once under the
sampling of perf.memory (which warms the page cache, and shows that a rival has carried all rows),
and then in turns, each on a fresh database or from the same filled one. JSON lines go to the
standard output and to a file in perf/results/, of which `python -m perf.plots` makes pictures:

setup    revision, machine, versions, server, data of a case
memory   peaks of a contender's processes and of the server, in MB (10^6 bytes)
run      one measured run: seconds by phase, processor seconds, rows
rate     rows a second of a contender
ratio    a comparison: ratio of medians, spread of the pairs, a verdict for each target
failure  a contender that did not do its work, and is not measured
skipped  a case whose data is not there

A table for people goes to the standard error output. The exit code is 1 where a run of the product
was not verified.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from perf.cases import (
    CASES,
    RATE,
    TO_POSTGRESQL,
    TO_SQLITE,
    VERIFY,
    Case,
    Contender,
    against,
    chosen,
    in_turn,
)
from perf.datasets import data_file, rows_of_database, rows_of_file
from perf.memory import Peaks, watch
from perf.paired import (
    PAIRS,
    ROOT,
    WARMUPS,
    NotVerifiedError,
    Sample,
    carry_command,
    compare,
    costed,
    filled,
    line,
    product_command,
    read_report,
    revision,
    rival_command,
    run_product,
    run_rival,
    setup,
    verify_command,
)
from perf.rivals import WORKERS
from perf.servers import VERSIONS, Server, running
from perf.sqlite_file import DATA_FOLDER
from perf.summary import table
from perf.verdicts import PRODUCT, Spread, Targets, within

RESULTS_FOLDER = Path(__file__).parent / "results"
CHINOOK = ROOT.parent / "shared" / "data" / "chinook.sqlite"
INTERVAL_SECONDS = 0.05
# Those that take the number of workers; the others have their own way.
WITH_WORKERS = (PRODUCT, "bare_loop", "bare_read", "bare_read_plain")
TOOLS = {
    "pgloader": ["pgloader", "--version"],
    "sqlite3": ["sqlite3", "--version"],
    "psql": ["psql", "--version"],
}

Emit = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case runs. `file` is its data, of so many `rows`; `url` a filled database, where the
    case starts from one; `out` the file that is written into SQLite."""

    case: Case
    file: Path
    server: Server
    out: Path
    workers: int
    rows: int
    url: str = ""

    def ready(self) -> str:
        """Takes away what the last run has written; the URL of the database for the next one."""
        for old in self.out.parent.iterdir():
            old.unlink()
        if self.case.direction == TO_POSTGRESQL:
            return self.server.fresh_database()
        return self.url

    def command(self, contender: Contender, url: str) -> list[str]:
        extra = list(contender.arguments)
        if contender.program in WITH_WORKERS and "--workers" not in extra:
            extra += ["--workers", str(self.workers)]
        if self.case.direction == RATE:
            rates = [sys.executable, "-m", "perf.rates", contender.program, str(self.file)]
            return [*rates, url, str(self.out), *extra]
        if contender.program == PRODUCT:
            return [*self._product(url), *extra]
        file = self.out if self.case.direction == TO_SQLITE else self.file
        return [*rival_command(contender.program, file, url), *extra]

    def _product(self, url: str) -> list[str]:
        if self.case.direction == TO_SQLITE:
            return carry_command(url, f"sqlite://{self.out}")
        if self.case.direction == VERIFY:
            return verify_command(self.file, url)
        return product_command(self.file, url)

    def missing_rows(self, url: str) -> int:
        """How many rows the last run has left behind."""
        if self.case.direction == TO_POSTGRESQL:
            return self.rows - rows_of_database(url)
        if self.case.direction == TO_SQLITE:
            return self.rows - rows_of_file(self.out)
        return 0


class Records:
    """JSON lines to the standard output and to a file, each with the revision."""

    def __init__(self, file: TextIO) -> None:
        self.found: list[dict[str, Any]] = []
        self._file = file
        self._revision = revision()

    def emit(self, kind: str, record: dict[str, Any]) -> None:
        record = {"revision": self._revision} | record
        self.found.append({"kind": kind} | record)
        text = line(kind, record)
        print(text, flush=True)
        print(text, flush=True, file=self._file)


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks against rivals, in turns.")
    parser.add_argument("--full", action="store_true", help="all cases; hours")
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only these")
    parser.add_argument(
        "--against", action="append", default=[], metavar="RIVAL", help="only these rivals"
    )
    parser.add_argument("--list", action="store_true", help="tell the cases and end")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measured runs of each")
    parser.add_argument("--warmups", type=int, default=WARMUPS, help="rounds for memory before")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--server", choices=VERSIONS, default="15", help="PostgreSQL version")
    parser.add_argument("--folder", type=Path, default=DATA_FOLDER, help="where the data is kept")
    parser.add_argument("--results", type=Path, default=RESULTS_FOLDER, help="a folder")
    parser.add_argument("--chinook", type=Path, default=CHINOOK, help="where that file is")
    options = parser.parse_args()
    if options.list:
        print("\n".join(_described(case) for case in CASES))
        return 0
    try:
        cases = chosen(options.case, full=options.full)
        if options.against:
            cases = tuple(against(case, options.against) for case in cases)
    except KeyError as error:
        parser.error(f"there is no case {error}; --list tells them")
    options.results.mkdir(parents=True, exist_ok=True)
    name = f"bench-{time.strftime('%Y%m%d-%H%M%S')}-{revision().rstrip('+')}.jsonl"
    with (options.results / name).open("w") as file:
        records = Records(file)
        with running(options.server) as server:
            verified = [_run_case(case, options, server, records) for case in cases]
    print(table(records.found), file=sys.stderr)
    print(f"python -m perf.plots {options.results / name} draws it.", file=sys.stderr)
    return 0 if all(verified) else 1


def _described(case: Case) -> str:
    names = ", ".join(contender.name for contender in case.contenders)
    return f"{case.name:22} {case.direction:14} {'quick' if case.quick else 'full ':6} {names}"


def _run_case(case: Case, options: argparse.Namespace, server: Server, records: Records) -> bool:
    """Whether every run of the product was verified."""

    def emit(kind: str, record: dict[str, Any]) -> None:
        records.emit(kind, {"case": case.name} | record)

    file = data_file(case.data, options.folder, options.chinook)
    if file is None:
        emit("skipped", {"why": f"there is no {options.chinook}"})
        return True
    with tempfile.TemporaryDirectory(dir=options.folder) as out:
        try:
            rows = rows_of_file(file)
            place = Place(case, file, server, Path(out, "out.sqlite"), options.workers, rows)
            if case.direction != TO_POSTGRESQL:
                place = replace(place, url=filled(file, server))
            facts = {"data": case.data, "direction": case.direction, "rows": rows}
            more = {"workers": options.workers, "pairs": options.pairs, "tools": tools()}
            emit("setup", facts | more | setup(server, file))
            measure(place, options, emit)
        except NotVerifiedError as error:
            emit("failure", {"contender": PRODUCT, "why": str(error)})
            return False
    return True


def tools() -> dict[str, str]:
    """Versions of the programs that rivals run, where they are there."""
    found = {}
    for name, command in TOOLS.items():
        with suppress(FileNotFoundError):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            found[name] = done.stdout.splitlines()[0].strip()
    return found


def measure(place: Place, options: argparse.Namespace, emit: Emit) -> None:
    """All contenders of a case, in turns. Raises NotVerifiedError."""
    taking_part = list(place.case.contenders)
    for _ in range(options.warmups):
        for contender in list(taking_part):
            with _failing(contender, taking_part, emit):
                _warm_up(place, contender, emit)
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in taking_part}
    for number in range(1, options.pairs + 1):
        for contender in in_turn(taking_part, number):
            with _failing(contender, taking_part, emit):
                cost, sample = costed(_runner(place, contender), place.server)
                samples[contender.name].append(sample)
                run = {"round": number, "contender": contender.name} | asdict(sample)
                emit("run", run | {"machine": cost})
    remaining = {contender.name for contender in taking_part}
    for name in samples:
        if name in remaining and (rows := samples[name][0].detail.get("rows")):
            emit("rate", {"contender": name} | _rate(rows, samples[name]))
    for comparison in place.case.comparisons:
        if {comparison.ours, comparison.rival} <= remaining:
            emit("ratio", compare(comparison, samples))


def _rate(rows: int, samples: Sequence[Sample]) -> dict[str, Any]:
    per_second = [rows / sample.seconds["total"] for sample in samples]
    return {"rows": rows, "rows_per_second": asdict(Spread.of(per_second))}


@contextmanager
def _failing(contender: Contender, taking_part: list[Contender], emit: Emit) -> Iterator[None]:
    """A rival that fails takes no further part; the product's failure is the suite's."""
    try:
        yield
    except subprocess.CalledProcessError as error:
        why = f"exit {error.returncode}: {(error.stderr or '')[-2000:]}"
        taking_part.remove(contender)
        emit("failure", {"contender": contender.name, "why": why})


def _runner(place: Place, contender: Contender) -> Callable[[], Sample]:
    command = place.command(contender, place.ready())
    if contender.program == PRODUCT:
        return lambda: run_product(command)[0]
    return lambda: run_rival(command)


def _warm_up(place: Place, contender: Contender, emit: Emit) -> None:
    """Unmeasured but for its memory, and for what it leaves behind."""
    url = place.ready()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = place.command(contender, url)
        ours = contender.program == PRODUCT
        if ours:
            command += ["--quiet", "--report", str(report)]
        peaks = watch(command, place.server.pid, INTERVAL_SECONDS)
        status = read_report(report).get("status")
    if ours and status != "verified":
        raise NotVerifiedError(f"exit {peaks.exit_code}, {status}")
    if peaks.exit_code:
        raise subprocess.CalledProcessError(peaks.exit_code, command)
    if place.case.direction == RATE:
        return  # a step that is taken out of a run needs what no run does
    targets = place.case.memory if ours else None
    found = {"contender": contender.name, "missing_rows": place.missing_rows(url)}
    emit("memory", found | _peaks(peaks, targets))


def _peaks(peaks: Peaks, targets: Targets | None) -> dict[str, Any]:
    found = {"unit": "MB", "total": peaks.ours.total, "anon": peaks.ours_anon.anon}
    return found | {"verdicts": within(peaks.ours.total, targets), "peaks": asdict(peaks)}


if __name__ == "__main__":
    sys.exit(main())
