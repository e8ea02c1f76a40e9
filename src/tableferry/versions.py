"""The versions that a report names, so that a run can be told from a later one."""

from __future__ import annotations

import platform
from importlib import metadata

from tableferry import __version__

_NAMED = ("adbc-driver-postgresql", "adbc-driver-sqlite", "pyarrow", "numpy", "xxhash")


def versions() -> dict[str, str]:
    found = {"tableferry": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _NAMED}
