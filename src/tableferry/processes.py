"""What the processes that we start have in common."""

from __future__ import annotations

from collections.abc import Mapping

# A process's environment can be read by its user and by root for as long as it runs.
_SECRETS = ("PASSWORD", "PGPASS")


def environment_without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours: passwords travel through its pipe instead.

    PGPASSFILE stays: it names a file that only its owner can read.
    """
    return {
        name: value
        for name, value in environ.items()
        if name == "PGPASSFILE" or not any(secret in name.upper() for secret in _SECRETS)
    }
