"""Which tables a run concerns: the patterns of --tables and --exclude. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tableferry.errors import UsageError
from tableferry.model import LeftBehind, Schema


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over table names, in whatever case; no ``tables`` means all of them."""

    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, schema: Schema) -> Schema:
        """The chosen tables; the others are named as left behind. Raises UsageError for a pattern
        that no table matches, since it is most likely misspelled."""
        names = [str(table.name) for table in schema.tables]
        for pattern in (*self.tables, *self.exclude):
            if not any(matches(name, pattern) for name in names):
                raise UsageError(
                    f"No table matches the pattern {pattern!r}.",
                    hint=f"The source has {_some(names)}." if names else "It has no tables.",
                )
        chosen = {name for name in names if self.chooses(name)}
        if not chosen:
            raise UsageError("The patterns of --tables and --exclude leave no table.")
        left = tuple(
            LeftBehind("table", name, name, "not among the tables chosen")
            for name in names
            if name not in chosen
        )
        belongs = tuple(
            item for item in schema.left_behind if item.table not in names or item.table in chosen
        )
        kept = tuple(table for table in schema.tables if str(table.name) in chosen)
        return replace(schema, tables=kept, left_behind=(*belongs, *left))

    def chooses(self, name: str) -> bool:
        """Whether a table of this name is among those chosen."""
        included = not self.tables or any(matches(name, p) for p in self.tables)
        return included and not any(matches(name, p) for p in self.exclude)


def matches(name: str, pattern: str) -> bool:
    """Whether a table's name meets a pattern of --tables or --exclude."""
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())


def _some(names: Iterable[str], most: int = 10) -> str:
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
