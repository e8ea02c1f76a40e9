"""The product's command with tables cut into so many ranges, whatever their size.

    python -m perf.ranged 1000 database --from … --to …

Ranges are cut in the process that the command starts, so it is enough to change the cutting there.
A table of fewer rows, or fewer pages of PostgreSQL's, than ranges gets one for each of these.
"""

from __future__ import annotations

import sys

from tableferry import cli
from tableferry.dialects.postgresql import catalog
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.dialects.sqlite import session as sqlite
from tableferry.model import Range, Table, ranges_at


def main() -> None:
    cut_into(int(sys.argv.pop(1)))
    cli.main()


def cut_into(wanted: int) -> None:
    """From now on, in this process, tables are cut into so many ranges."""
    sqlite._RANGE_BYTES = sqlite._MIN_RANGE_ROWS = 1
    sqlite._MAX_RANGES = wanted

    def ranges(self: PostgresSession, table: Table) -> tuple[Range, ...]:
        return ranges_at(bounds(catalog.pages(self._connection, table.name), wanted))

    PostgresSession.ranges = ranges  # type: ignore[method-assign]


def bounds(pages: int, wanted: int) -> list[int]:
    """Where ``wanted`` ranges of so many pages meet, or fewer if there are fewer pages."""
    parts = min(wanted, pages)
    return [pages * part // parts for part in range(1, parts)]


if __name__ == "__main__":
    main()
