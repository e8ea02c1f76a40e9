"""The product's command as it is, which besides writes when the run's clock began.

    python -m perf.clocked FILE RANGES database --from … --to …

RANGES other than 0 cuts tables into so many (see perf.ranged).
The report's timeline counts from there, and who watches a run from outside has to know the moment
(of time.perf_counter, which all processes of a machine share).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from perf.ranged import cut_into

from tableferry import cli, running


def main() -> int:
    file, cut = Path(sys.argv.pop(1)), int(sys.argv.pop(1))
    if cut:
        cut_into(cut)
    made = running.Clock.__init__

    def begin(self: running.Clock, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        file.write_text(str(self.began))

    running.Clock.__init__ = begin  # type: ignore[method-assign]
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
