"""SQLite's date and time functions ("Date And Time Functions") over dates and timestamps.

SQLite reads a timestamp with an offset as UTC and writes UTC; a time without one is what it is.
"""

from __future__ import annotations

import re

from tableferry import kinds
from tableferry.expressions.model import Untranslatable
from tableferry.expressions.syntax import String
from tableferry.expressions.terms import (
    Term,
    date_part,
    described,
    string,
    typed_literal,
)

# Those of strftime() that give the same digits in every version of SQLite: the field that
# extract() gives, and the number of digits.
_PARTS = {
    "d": ("day", 2),
    "H": ("hour", 2),
    "j": ("doy", 3),
    "M": ("minute", 2),
    "m": ("month", 2),
    "S": ("second", 2),
    "w": ("dow", 1),
    "Y": ("year", 4),
}


def date(moment: Term) -> Term:
    """date(x)"""
    if moment.kind.name == "date":
        return Term(moment.sql, kinds.DATE)
    if isinstance(moment.literal, String):
        literal = typed_literal(moment.literal.value[:10], kinds.DATE)
        assert literal is not None
        return Term(literal.sql, kinds.DATE)
    return Term(f"({_local(moment)})::date", kinds.DATE)


def datetime(moment: Term) -> Term:
    """datetime(x): to the second, whatever follows it is cut off."""
    if isinstance(moment.literal, String):
        written = moment.literal.value.replace("T", " ")[:19]
        literal = typed_literal(
            written if " " in written else f"{written} 00:00:00", kinds.TIMESTAMP
        )
        assert literal is not None
        return Term(literal.sql, kinds.TIMESTAMP, text=literal.text)
    sql = f"date_trunc('second', {_local(moment)})"
    text = strftime("%Y-%m-%d %H:%M:%S", Term(sql, kinds.TIMESTAMP)).sql
    return Term(sql, kinds.TIMESTAMP, text=text)


def strftime(pattern: str, moment: Term) -> Term:
    """strftime(format, x): text."""
    local = _local(moment)
    pieces = [_piece(piece, local) for piece in re.findall(r"%.?|[^%]+", pattern, re.DOTALL)]
    if "extract" not in "".join(pieces):
        raise Untranslatable("strftime() with a format of no field is not translated")
    digits = len(pieces) == 1
    sql = pieces[0] if digits else f"({' || '.join(pieces)})"
    return Term(sql, kinds.TEXT, digits=digits)


def _piece(piece: str, sql: str) -> str:
    if not piece.startswith("%"):
        return string(piece) + "::text"
    if piece == "%%":
        return "'%'::text"
    if piece == "%s":
        return f"(floor(extract(epoch FROM {sql}))::bigint)::text"
    if piece[1:] not in _PARTS:
        raise Untranslatable(f"strftime() with {piece} is not translated")
    return date_part(sql, *_PARTS[piece[1:]])


def julianday(moment: Term) -> Term:
    """julianday(x) of a date: days, of which one begins at noon."""
    if moment.kind.name != "date":
        raise Untranslatable(f"julianday() of {described(moment)} is not translated")
    sql = f"(({moment.sql} - DATE '2000-01-01') + 2451544.5)::double precision"
    return Term(sql, kinds.FLOAT)


def _local(moment: Term) -> str:
    """A timestamp without time zone, at UTC where the moment has a zone."""
    if moment.kind.name == "timestamptz":
        return f"({moment.sql} AT TIME ZONE 'UTC')"
    return f"({moment.sql})::timestamp" if moment.kind.name == "date" else moment.sql
