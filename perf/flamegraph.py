"""A flame graph of a run, its workers included: `python -m perf.flamegraph --scale 0.1`.

Runs the case under py-spy and writes perf/results/flamegraph-CASE.svg, which a browser shows: the
width of a frame is its share of the samples in which a thread was busy, over all processes. With
`--native` what C libraries do shows too, at some cost in speed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from perf.account import Case, add_case_arguments, case_name, prepared, source_of
from perf.paired import ROOT, product_cli
from perf.servers import running

RESULTS = ROOT / "perf" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description="A flame graph of one run.")
    add_case_arguments(parser)
    parser.add_argument("--native", action="store_true", help="with the frames of C libraries")
    parser.add_argument("--output", type=Path, help="another file than in perf/results")
    options = parser.parse_args()
    sqlite = source_of(options)
    name = case_name(options)
    output = options.output or RESULTS / f"flamegraph-{name}.svg"
    output.parent.mkdir(parents=True, exist_ok=True)
    with (
        running(options.server) as server,
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
    ):
        record(prepared(options, sqlite, server, Path(folder)), output, options)
    print(output)


def record(case: Case, output: Path, options: argparse.Namespace) -> None:
    """Raises CalledProcessError where the run, or the recording, fails."""
    command = ["py-spy", "record", "--subprocesses", "--format", "flamegraph"]
    command += ["--rate", str(options.rate), "--output", str(output)]
    command += ["--native"] if options.native else []
    own = [*product_cli(), *case.arguments]
    subprocess.run([*command, "--", *own], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
