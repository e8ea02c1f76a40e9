"""Carry a whole database between SQLite and PostgreSQL and prove that every value arrived.

import tableferry

outcome = tableferry.migrate("sqlite:shop.db", "postgresql://localhost/shop")
assert outcome.verified
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tableferry.api import migrate, repair, verify
    from tableferry.errors import TableferryError
    from tableferry.outcomes import Outcome

__all__ = ["Outcome", "TableferryError", "__version__", "migrate", "repair", "verify"]

_HOMES = {
    "Outcome": "tableferry.outcomes",
    "TableferryError": "tableferry.errors",
    "migrate": "tableferry.api",
    "repair": "tableferry.api",
    "verify": "tableferry.api",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the command's help and its wrong flags answer without pyarrow.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
