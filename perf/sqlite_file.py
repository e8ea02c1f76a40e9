"""Making a benchmark's SQLite file: in full or not at all, and as fast as it goes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_sqlite.dbapi

DATA_FOLDER = Path(__file__).parent / "data"


@contextmanager
def new_file(target: Path) -> Iterator[Any]:
    """An ADBC cursor on an empty file, which is renamed to `target` when the block has ended well.

    Nothing is journalled or synced: a crash leaves an unfinished file under another name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        unfinished = Path(scratch, target.name)
        with (
            adbc_driver_sqlite.dbapi.connect(str(unfinished), autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144"):
                cursor.execute(f"PRAGMA {pragma}")
            yield cursor
        unfinished.rename(target)
