"""SQLite's tokens, and the literals that they write out ("Literal Values", lang_expr.html)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tableferry.expressions import syntax
from tableferry.expressions.model import Untranslatable

MAX_LENGTH = 100_000
MAX_INTEGER = 2**63 - 1

_TOKEN = re.compile(
    r"""
    (?P<space> (?: [ \t\n\f\r]+ | --[^\n]* | /\*.*?(?:\*/|\Z) )+ )
  | (?P<blob> [xX]'[^']*' )
  | (?P<string> '(?:[^']|'')*' )
  | (?P<loose> "(?:[^"]|"")*" )
  | (?P<quoted> `(?:[^`]|``)*` | \[[^\]]*\] )
  | (?P<hex> 0[xX][0-9a-fA-F]+ )
  | (?P<number> (?: [0-9]+(?:\.[0-9]*)? | \.[0-9]+ ) (?:[eE][+-]?[0-9]+)? )
  | (?P<word> [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
  | (?P<sign> \|\| | << | >> | <= | >= | <> | != | == | [-+*/%&|~<>=(),.] )
    """,
    re.VERBOSE | re.DOTALL,
)


# The words that SQLite never takes for a name of ours ("SQLite Keywords"; those that it does take
# where nothing else fits, such as KEY or DESC, are left out).
RESERVED = frozenset(
    [
        "ADD",
        "ALL",
        "ALTER",
        "AND",
        "AS",
        "BETWEEN",
        "CASE",
        "CHECK",
        "COLLATE",
        "COMMIT",
        "CONSTRAINT",
        "CREATE",
        "DEFAULT",
        "DEFERRABLE",
        "DELETE",
        "DISTINCT",
        "DROP",
        "ELSE",
        "ESCAPE",
        "EXISTS",
        "FOREIGN",
        "FROM",
        "GROUP",
        "HAVING",
        "IN",
        "INDEX",
        "INSERT",
        "INTO",
        "IS",
        "ISNULL",
        "JOIN",
        "LIMIT",
        "NOT",
        "NOTHING",
        "NOTNULL",
        "NULL",
        "ON",
        "OR",
        "ORDER",
        "PRIMARY",
        "REFERENCES",
        "RETURNING",
        "SELECT",
        "SET",
        "TABLE",
        "THEN",
        "TO",
        "TRANSACTION",
        "UNION",
        "UNIQUE",
        "UPDATE",
        "USING",
        "VALUES",
        "WHEN",
        "WHERE",
    ]
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """What the parser compares: a keyword in upper case, a sign as it is, else nothing."""
        if self.kind == "word":
            return self.text.upper() if self.text.isascii() else self.text
        return self.text if self.kind == "sign" else ""


def refuse_unreadable(text: str) -> None:
    """Raises Untranslatable for a text that is no use to be split, in either database's SQL."""
    if len(text) > MAX_LENGTH:
        raise Untranslatable(f"the text is longer than {MAX_LENGTH} characters")
    if "\0" in text:
        raise Untranslatable("the text holds a NUL character")


def tokens(text: str) -> list[Token]:
    """All tokens but blanks and comments, and one of kind "end". Raises Untranslatable."""
    refuse_unreadable(text)
    found = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Untranslatable(f"the sign {text[position]} is not translated")
        kind = str(match.lastgroup)
        if kind in ("number", "hex") and re.match(
            r"[A-Za-z0-9_$\x80-\U0010ffff]", text[match.end() :]
        ):
            raise Untranslatable(f"the number at {match[0]!r} is not translated")
        if kind != "space":
            found.append(Token(kind, match[0], position, match.end()))
        position = match.end()
    return [*found, Token("end", "", position, position)]


class Reader:
    """Goes through the tokens of a text, one after the other; ``split`` cuts it into them, and
    ``reserved`` are the words, in upper case, that name nothing."""

    def __init__(
        self,
        text: str,
        split: Callable[[str], list[Token]] = tokens,
        reserved: frozenset[str] = RESERVED,
    ) -> None:
        self._text = text
        self._tokens = split(text)
        self._reserved = reserved
        self._position = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._position]

    def word_after(self, steps: int) -> str:
        position = min(self._position + steps, len(self._tokens) - 1)
        return self._tokens[position].word

    def advance(self) -> Token:
        token = self.next
        self._position += 1
        return token

    def accept(self, *words: str) -> bool:
        """Take these words if they are the next ones."""
        if any(self.word_after(i) != word for i, word in enumerate(words)):
            return False
        self._position += len(words)
        return True

    def expect(self, *words: str) -> None:
        for word in words:
            if not self.accept(word):
                raise self.unexpected()

    def expect_end(self) -> None:
        if self.next.kind != "end":
            raise self.unexpected()

    def unexpected(self) -> Untranslatable:
        if self.next.kind == "end":
            return Untranslatable("the text ends too early")
        return Untranslatable(f"{self.next.text[:60]} is not translated where it stands")

    def name(self) -> str:
        """A word that names something."""
        token = self.next
        if token.kind in ("loose", "quoted") or (
            token.kind == "word" and token.word not in self._reserved
        ):
            return unquoted(self.advance())
        raise self.unexpected()

    def text_from(self, start: int) -> str:
        """The text from a position up to the last token taken."""
        return self._text[start : self._tokens[self._position - 1].end]


def unquoted(token: Token) -> str:
    if token.kind == "word":
        return token.text
    if token.text.startswith("["):
        return token.text[1:-1]
    mark = token.text[0]
    return token.text[1:-1].replace(mark * 2, mark)


def number(text: str) -> syntax.Integer | syntax.Real:
    if text.isdigit():
        if int(text) > MAX_INTEGER:
            raise Untranslatable(f"the number {text[:40]} is too large for an integer")
        return syntax.Integer(int(text))
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Untranslatable(f"the number {text[:40]} is too large")
    return syntax.Real(value)


def hexadecimal(text: str) -> syntax.Integer:
    value = int(text, 16)
    if value > 2**64 - 1:
        raise Untranslatable(f"the number {text[:40]} is too large for an integer")
    # Sixteen digits are the two's complement of 64 bits ("Literal Values").
    return syntax.Integer(value - 2**64 if value > MAX_INTEGER else value)


def blob(text: str) -> syntax.Blob:
    digits = text[2:-1]
    if len(digits) % 2 or re.fullmatch(r"[0-9a-fA-F]*", digits) is None:
        raise Untranslatable(f"{text[:40]} is no blob")
    return syntax.Blob(bytes.fromhex(digits))
