"""The versions that a report names, so that a run can be told from a later one."""

from __future__ import annotations

import platform

import adbc_driver_postgresql
import adbc_driver_sqlite
import numpy
import pyarrow
import xxhash

from tableferry import __version__


def versions() -> dict[str, str]:
    """As the modules themselves say: to read it from the packages' metadata takes a twentieth of a
    second."""
    return {
        "tableferry": __version__,
        "python": platform.python_version(),
        "adbc-driver-postgresql": adbc_driver_postgresql.__version__,
        "adbc-driver-sqlite": adbc_driver_sqlite.__version__,  # type: ignore[attr-defined]
        "pyarrow": pyarrow.__version__,
        "numpy": numpy.__version__,
        "xxhash": xxhash.VERSION,
    }
