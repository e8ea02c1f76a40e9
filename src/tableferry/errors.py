"""Every error that this package raises on purpose.

    TableferryError
    ├── UsageError            2  a flag, name or URL that makes no sense
    │   └── ConfigurationError   a line of the configuration file, or a missing key
    ├── Refused               3  nothing was written; the message says what stands in the way
    ├── RunFailed             4  ended on the way; what was written is known and resumable
    │   ├── SourceChanged        the source did not hold still, so nothing may be called verified
    │   ├── WorkerDied           a worker process was killed or ran out of memory
    │   └── DatabaseError        a database said no; carries the object concerned and the SQLSTATE
    ├── MisfitFound           4  a value that the planned column cannot hold without a change
    └── Interrupted         130  Ctrl-C or SIGTERM

The number is the exit code of the command. All of them can be pickled, since they travel from
worker processes to the coordinator: an instance is rebuilt from its keyword fields alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

EXIT_VERIFIED = 0
EXIT_DIFFERENCES = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_FAILED = 4
EXIT_INTERRUPTED = 130

LESS_MEMORY = "Use fewer --workers, or raise the limit of memory."
"""The hint of all errors of memory that was short."""


class TableferryError(Exception):
    """Base of the tree: a message that names the object, and a hint that says what to do."""

    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.details)

    @property
    def transient(self) -> bool:
        """Whether the same may work in a moment: a lost connection, a deadlock, a busy file."""
        return bool(self.details.get("transient"))

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def _rebuild(
    kind: type[TableferryError], message: str, hint: str, details: dict[str, Any]
) -> TableferryError:
    return kind(message, hint=hint, **details)


class UsageError(TableferryError):
    exit_code = EXIT_USAGE


class ConfigurationError(UsageError):
    pass


class Refused(TableferryError):
    exit_code = EXIT_REFUSED


class RunFailed(TableferryError):
    exit_code = EXIT_FAILED


class SourceChanged(RunFailed):
    pass


class WorkerDied(RunFailed):
    pass


class DatabaseError(RunFailed):
    """details: ``sqlstate`` (five characters or "") as the server gave it."""

    @property
    def sqlstate(self) -> str:
        return str(self.details.get("sqlstate", ""))


class MisfitFound(TableferryError):
    """details: ``table`` and ``columns`` (names) whose values do not fit the plan."""


class Interrupted(TableferryError):
    exit_code = EXIT_INTERRUPTED
