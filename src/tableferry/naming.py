"""What tables, columns and everything else are called in the target. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tableferry.dialects.base import Dialect
from tableferry.model import Table, TableName
from tableferry.sql import fold


def counterpart(wanted: str, mine: Iterable[str], theirs: Iterable[str]) -> str | None:
    """Which of ``theirs`` stands for ``wanted``, one of ``mine``: of the same name, or of the only
    name that differs in case alone, or in case and underscores (PlaylistTrack, playlist_track)."""
    mine, theirs = list(mine), list(theirs)
    if wanted in theirs:
        return wanted
    for alike in (fold, _squeezed):
        found = [name for name in theirs if alike(name) == alike(wanted)]
        rivals = [name for name in mine if alike(name) == alike(wanted)]
        if len(found) == 1 and len(rivals) == 1:
            return found[0]
    return None


def _squeezed(name: str) -> str:
    return fold(name).replace("_", "")


def called(name: TableName, home: str) -> str:
    """What a table or view of a source is to be called where all come into one schema: by its
    name, and where it is not of the schema ``home`` with its own schema's name before it."""
    return name.name if name.schema == home else f"{name.schema}_{name.name}"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where tables go: what the database can do, the schema, and whether names are folded to
    lower case on their way."""

    dialect: Dialect
    schema: str
    lower: bool = False

    def fit(self, name: str) -> str:
        """The name that a table or index of this name gets."""
        return self.dialect.fit_name(fold(name) if self.lower else name)

    def fit_column(self, name: str) -> str:
        return self.dialect.fit_column_name(fold(name) if self.lower else name)


class Names:
    """Names of one space, each given once: whoever comes later gets underscores appended."""

    def __init__(self, destination: Destination, taken: Iterable[str] = ()) -> None:
        self._destination = destination
        self._alike = destination.dialect.alike
        self._taken = set(map(self._alike, taken))

    def give(self, name: str) -> str:
        fitted = self._destination.fit(name)
        while self._alike(fitted) in self._taken:
            fitted = self._destination.fit(f"{fitted}_")
        self._taken.add(self._alike(fitted))
        return fitted


def column_names(table: Table, destination: Destination) -> dict[str, str]:
    """What each column is called in the target: its own name wherever that is possible there."""
    alike = destination.dialect.alike
    taken: set[str] = set()
    names = {}
    own = {alike(column.name) for column in table.columns}
    for column in table.columns:
        name = destination.fit_column(column.name)
        while alike(name) in taken or (name != column.name and alike(name) in own):
            name = destination.fit_column(f"{name}_")
        taken.add(alike(name))
        names[column.name] = name
    return names
