"""Rows set aside because a value fits no planned type: JSON Lines, one row a line.

    {"table": "orders", "key": {"id": 7}, "column": "placed_at", "value": "soon",
     "reason": "does not fit date", "row": {"id": 7, "placed_at": "soon", "note": null}}

``row`` holds the whole row, so that the line can be put right in an editor and loaded with
--rejects. SQLite's storage classes stay apart: a JSON number with a point or an exponent is a real,
one without is an integer; a blob is {"blob": "0aff"}, text that is no UTF-8 {"text": "ff"} (both in
hexadecimal), and an infinite real {"real": "inf"}.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias
from urllib.parse import quote

from tableferry.errors import UsageError
from tableferry.model import Range, TableName, TablePair

# File systems take names of 255 bytes; an ending and a range's number need some.
_LONGEST = 200

# A value of SQLite: None, int, float, str, bytes (a blob), or RawText (text that is no UTF-8).
Stored: TypeAlias = "int | float | str | bytes | RawText | None"


@dataclass(frozen=True, slots=True)
class RawText:
    """Text whose bytes are no UTF-8."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was set aside, and the first value that was in the way."""

    table: str
    key: dict[str, Stored]
    column: str
    reason: str
    row: dict[str, Stored]


@dataclass(frozen=True, slots=True)
class RejectFolder:
    """A folder with a file of rejected rows a table; ranges write parts that are joined at last."""

    path: str

    def file(self, table: TableName) -> Path:
        name = quote(str(table), safe=" ")
        if len(name) > _LONGEST:
            name = f"{name[:_LONGEST]}-{hashlib.sha256(str(table).encode()).hexdigest()[:8]}"
        return Path(self.path, name + ".jsonl")

    def _part(self, table: TableName, generation: int, number: int) -> Path:
        return self.file(table).with_suffix(f".{generation}.{number}.part")

    def set_aside(self, pair: TablePair, part: Range, rejects: Iterable[Reject]) -> None:
        """Writes a range's rows; a repeated range writes them anew."""
        Path(self.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._part(pair.source.table, pair.generation, part.number)
        with _private(path) as file:
            file.writelines(map(line, rejects))

    def join(self, pair: TablePair, parts: Iterable[Range]) -> Path:
        """The table's one file, in the order of its ranges. Whatever parts there are besides, of
        an attempt that was given up or killed, go."""
        whole = self.file(pair.source.table)
        with _private(whole) as file:
            for part in parts:
                path = self._part(pair.source.table, pair.generation, part.number)
                with path.open(encoding="utf-8") as lines:
                    shutil.copyfileobj(lines, file)
        part_of_it = re.compile(re.escape(whole.stem) + r"\.\d+\.\d+\.part")
        for path in whole.parent.iterdir():
            if part_of_it.fullmatch(path.name):
                path.unlink()
        return whole


def _private(path: Path) -> TextIO:
    """A file written anew that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8")


def line(reject: Reject) -> str:
    """The row as one line, with its end."""
    content = {
        "table": reject.table,
        "key": {name: _encoded(value) for name, value in reject.key.items()},
        "column": reject.column,
        "value": _encoded(reject.row[reject.column]),
        "reason": reject.reason,
        "row": {name: _encoded(value) for name, value in reject.row.items()},
    }
    return json.dumps(content, ensure_ascii=False) + "\n"


def _encoded(value: Stored) -> Any:
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, RawText):
        return {"text": value.data.hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": repr(value)}
    return value


def read_rows(path: Path, columns: Iterable[str]) -> Iterator[dict[str, Stored]]:
    """The ``row`` of each line. Raises UsageError, naming file and line, for what is no such line
    or lacks a column."""
    wanted = list(columns)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                if text.strip():
                    yield _row(text, wanted, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _row(text: str, wanted: list[str], place: str) -> dict[str, Stored]:
    try:
        row = json.loads(text)["row"]
        decoded = {str(name): _decoded(value) for name, value in row.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{place}: this is no rejected row.", hint="docs/rejects.md shows what a line holds."
        ) from error
    if sorted(decoded) != sorted(wanted):
        odd = ", ".join(sorted(set(decoded) ^ set(wanted)))
        raise UsageError(f"{place}: the row and the table have not the same columns: {odd}.")
    return decoded


def _decoded(value: Any) -> Stored:
    if isinstance(value, dict):
        ((name, text),) = value.items()
        if name == "blob":
            return bytes.fromhex(text)
        if name == "text":
            return RawText(bytes.fromhex(text))
        if name == "real":
            return _decoded(float(text))
        raise ValueError(name)
    match value:
        case bool():
            raise ValueError(value)
        case int() if not -(2**63) <= value < 2**63:
            raise ValueError(value)
        case float() if math.isnan(value):
            raise ValueError(value)
        case str():
            # Half a surrogate pair, which JSON can write, is no text.
            value.encode()
            return value
        case None | int() | float():
            return value
    raise ValueError(value)
