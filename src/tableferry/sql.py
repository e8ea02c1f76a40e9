"""What SQLite and PostgreSQL write alike. Pure."""

from __future__ import annotations

import string

_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """A name without regard to the case of ASCII letters alone: so SQLite compares names, and
    PostgreSQL folds those that are not quoted (section 4.1.1).

    >>> fold("ÄBc")
    'Äbc'
    """
    return name.translate(_FOLDED)


def quote(name: str) -> str:
    """A name as a quoted identifier of the SQL standard, which both read as it is."""
    return '"' + name.replace('"', '""') + '"'
