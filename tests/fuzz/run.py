"""Runs a fuzz target for as long as asked: `python -m tests.fuzz.run values -max_total_time=600`.

Needs atheris (the extra "fuzz"). New inputs go to build/fuzz/TARGET and crashes beside them; the
corpus in tests/fuzz/corpus is read only. To take over what a long run has found, in its smallest
form, merge it: `python -m tests.fuzz.run values --merge`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOUND = HERE.parents[1] / "build" / "fuzz"
TARGETS = ("values", "gcfg", "urls", "casts", "types")
# Longer inputs find little that short ones do not, and take longer.
MAX_BYTES = 512


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.run {'|'.join(TARGETS)} [--merge] [OPTIONS]")
    name, options = sys.argv[1], sys.argv[2:]
    # By its name, since only those who fuzz have it: everybody's type checker reads this file.
    atheris = importlib.import_module("atheris")
    kept, found = HERE / "corpus" / name, FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["tableferry"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    merging = "--merge" in options
    folders = [kept, found] if merging else [found, kept]
    arguments = [
        *(["-merge=1"] if merging else []),
        f"-max_len={MAX_BYTES}",
        f"-artifact_prefix={found.parent}/{name}-",
        f"-dict={HERE / f'{name}.dict'}",
        *(option for option in options if option != "--merge"),
        *map(str, folders),
    ]
    atheris.Setup([sys.argv[0], *arguments], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
