"""What the processes that we start have in common."""

from __future__ import annotations

from collections.abc import Mapping

# A process's environment can be read by its user and by root for as long as it runs.
_SECRETS = ("PASSWORD", "PGPASS")

# numpy's linear algebra, of which nothing is used here, starts a thread for each processor as soon
# as it is imported, and they spin for a while: a tenth of a second of processor time.
FEW_THREADS = {"OPENBLAS_NUM_THREADS": "1"}

_role = "coordinator"


def role() -> str:
    """What this process is to a run: "coordinator", or "worker 2"."""
    return _role


def take_role(name: str) -> None:
    """For a worker, before its first task."""
    global _role
    _role = name


def environment_without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours: passwords travel through its pipe instead.

    PGPASSFILE stays: it names a file that only its owner can read.
    """
    return {
        name: value
        for name, value in environ.items()
        if name == "PGPASSFILE" or not any(secret in name.upper() for secret in _SECRETS)
    }
