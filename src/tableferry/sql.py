"""What SQLite and PostgreSQL write alike. Pure."""

from __future__ import annotations


def quote(name: str) -> str:
    """A name as a quoted identifier of the SQL standard, which both read as it is."""
    return '"' + name.replace('"', '""') + '"'
