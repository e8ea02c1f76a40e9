"""The product's command with tables cut into many ranges, so that a small database has several.

    python -m tests.faults.ranged database --from … --to …

Ranges are cut in the process that the command starts, so it is enough to change the cutting there.
"""

from __future__ import annotations

from tableferry import cli
from tableferry.dialects.postgresql import session as postgresql
from tableferry.dialects.sqlite import session as sqlite

if __name__ == "__main__":
    sqlite._RANGE_BYTES = 1 << 20
    postgresql._RANGE_PAGES = 128
    cli.main()
