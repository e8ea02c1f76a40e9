"""PostgreSQL's tokens ("Lexical Structure", section 4.1), as its catalog functions print them."""

from __future__ import annotations

import re
from collections.abc import Callable

from tableferry.expressions.model import Untranslatable
from tableferry.expressions.tokens import Reader, Token, refuse_unreadable
from tableferry.sql import fold

# Of strings only those whose backslashes mean themselves are printed, standard_conforming_strings
# being on; E'…' is read too.
_TOKEN = re.compile(
    r"""
    (?P<space> [ \t\n\f\r]+ )
  | (?P<escaped> [eE]'(?:[^'\\]|''|\\.)*' )
  | (?P<bits> [bBxX]'[^']*' )
  | (?P<unicode> [uU]&['"] )
  | (?P<string> '(?:[^']|'')*' )
  | (?P<loose> "(?:[^"]|"")+" )
  | (?P<number> (?: [0-9]+(?:\.[0-9]*)? | \.[0-9]+ ) (?:[eE][+-]?[0-9]+)? )
  | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
  | (?P<sign> :: | [(),.\[\]] | [-+*/<>=~!@\#%^&|`?]+ )
    """,
    re.VERBOSE | re.DOTALL,
)

_GLUED = re.compile(r"""[A-Za-z0-9_$'"\x80-\U0010ffff]""")

# The words that cannot name a column or a function unless they are quoted: "reserved" and
# "reserved (can be function or type)" of appendix C, "SQL Key Words".
RESERVED = frozenset(
    [
        "ALL",
        "ANALYSE",
        "ANALYZE",
        "AND",
        "ANY",
        "ARRAY",
        "AS",
        "ASC",
        "ASYMMETRIC",
        "AUTHORIZATION",
        "BINARY",
        "BOTH",
        "CASE",
        "CAST",
        "CHECK",
        "COLLATE",
        "COLLATION",
        "COLUMN",
        "CONCURRENTLY",
        "CONSTRAINT",
        "CREATE",
        "CROSS",
        "CURRENT_CATALOG",
        "CURRENT_DATE",
        "CURRENT_ROLE",
        "CURRENT_SCHEMA",
        "CURRENT_TIME",
        "CURRENT_TIMESTAMP",
        "CURRENT_USER",
        "DEFAULT",
        "DEFERRABLE",
        "DESC",
        "DISTINCT",
        "DO",
        "ELSE",
        "END",
        "EXCEPT",
        "FALSE",
        "FETCH",
        "FOR",
        "FOREIGN",
        "FREEZE",
        "FROM",
        "FULL",
        "GRANT",
        "GROUP",
        "HAVING",
        "ILIKE",
        "IN",
        "INITIALLY",
        "INNER",
        "INTERSECT",
        "INTO",
        "IS",
        "ISNULL",
        "JOIN",
        "LATERAL",
        "LEADING",
        "LEFT",
        "LIKE",
        "LIMIT",
        "LOCALTIME",
        "LOCALTIMESTAMP",
        "NATURAL",
        "NOT",
        "NOTNULL",
        "NULL",
        "OFFSET",
        "ON",
        "ONLY",
        "OR",
        "ORDER",
        "OUTER",
        "OVERLAPS",
        "PLACING",
        "PRIMARY",
        "REFERENCES",
        "RETURNING",
        "RIGHT",
        "SELECT",
        "SESSION_USER",
        "SIMILAR",
        "SOME",
        "SYMMETRIC",
        "SYSTEM_USER",
        "TABLE",
        "TABLESAMPLE",
        "THEN",
        "TO",
        "TRAILING",
        "TRUE",
        "UNION",
        "UNIQUE",
        "USER",
        "USING",
        "VARIADIC",
        "VERBOSE",
        "WHEN",
        "WHERE",
        "WINDOW",
        "WITH",
    ]
)


def tokens(text: str) -> list[Token]:
    """All tokens but blanks, and one of kind "end". Comments, semicolons, parameters and strings
    between dollars are refused. Raises Untranslatable."""
    refuse_unreadable(text)
    found = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Untranslatable(f"the sign {text[position]} is not translated")
        kind, end = str(match.lastgroup), match.end()
        if kind == "sign" and re.search(r"--|/\*", match[0]):
            raise Untranslatable("comments are not translated")
        if kind == "unicode":
            raise Untranslatable("text with Unicode escapes is not translated")
        if kind in ("number", "word") and _GLUED.match(text, end):
            # 1a, n'…'
            raise Untranslatable(f"{match[0][:40]!r} is not translated where it stands")
        if kind != "space":
            found.append(Token(kind, match[0], position, end))
        position = end
    return [*found, Token("end", "", position, position)]


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "'": "'"}


def unescaped(token: Token) -> str:
    """The value of a string of kind "string" or "escaped"."""
    if token.kind == "string":
        return token.text[1:-1].replace("''", "'")

    def meant(match: re.Match[str]) -> str:
        if match[0] == "''":
            return "'"
        if match[1] not in _ESCAPES:
            raise Untranslatable(f"the escape {match[0]} is not translated")
        return _ESCAPES[match[1]]

    return re.sub(r"''|\\(.)", meant, token.text[2:-1], flags=re.DOTALL)


# ---- names and types ----------------------------------------------------------------------------

# Two words that name one type, and those that a precision may stand in.
_LONG_TYPES = {("CHARACTER", "VARYING"), ("DOUBLE", "PRECISION"), ("BIT", "VARYING")}
_TIMES = ("TIMESTAMP", "TIME")


def folded_name(reader: Reader, read: Callable[[], str]) -> str:
    """The name that ``read`` takes from the reader; without quotes it is folded to lower case."""
    plain = reader.next.kind == "word"
    name = read()
    return fold(name) if plain else name


def type_name(reader: Reader) -> str:
    """Take the name of a type: as format_type() writes it."""
    words = (reader.next.word, reader.word_after(1))
    name = _type_word(reader)
    if words in _LONG_TYPES:
        name += f" {_type_word(reader)}"
    elif reader.accept("."):
        name += f".{_type_word(reader)}"
    name += _modifiers(reader)
    if words[0] in _TIMES:
        for zone in ("WITHOUT", "WITH"):
            if reader.accept(zone, "TIME", "ZONE"):
                name += f" {zone.lower()} time zone"
    while reader.accept("[", "]"):
        name += "[]"
    return name


def _type_word(reader: Reader) -> str:
    return reader.advance().text if reader.next.kind == "loose" else reader.name()


def _modifiers(reader: Reader) -> str:
    if not reader.accept("("):
        return ""
    numbers = [_modifier(reader)]
    while reader.accept(","):
        numbers.append(_modifier(reader))
    reader.expect(")")
    return f"({','.join(numbers)})"


def _modifier(reader: Reader) -> str:
    sign = "-" if reader.accept("-") else ""
    if reader.next.kind != "number":
        raise reader.unexpected()
    return sign + reader.advance().text
