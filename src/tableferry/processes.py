"""What the processes that we start have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# A process's environment can be read by its user and by root for as long as it runs. So a process
# of ours gets what it may need: where things are, languages and times, and what libraries look at.
# Whoever keeps a password, or a URL with one, under a name of their own has it passed on to nobody.
_NEEDED = re.compile(
    r"(PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TZDIR|TMPDIR|TEMP|TMP)\Z|"
    r"(LC_|LD_|PYTHON|PG|SSL|OPENSSL|KRB5|GSS|TABLEFERRY_|COVERAGE_|COV_|"
    r"MALLOC_|GLIBC_|ARROW_|MIMALLOC_|OMP_|OPENBLAS_|GOTO_|MKL_)",
    re.IGNORECASE,
)
_SECRETS = ("PASSWORD", "PGPASS", "SECRET")
_URL_WITH_PASSWORD = re.compile(r":/+[^:/]*:.*@", re.DOTALL)

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


def boot_id() -> str:
    """What tells from which start of the machine something is; "" where it does not say
    (random(4))."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def environment_without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours: passwords travel through its pipe instead.

    PGPASSFILE stays: it names a file that only its owner can read.
    """
    return {
        name: value
        for name, value in environ.items()
        if name == "PGPASSFILE"
        or (
            _NEEDED.match(name)
            and not any(secret in name.upper() for secret in _SECRETS)
            and not _URL_WITH_PASSWORD.search(value)
        )
    }
