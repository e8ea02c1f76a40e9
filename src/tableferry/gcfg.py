r"""The gcfg dialect of INI files, as Go's go-gcfg (``gopkg.in/gcfg.v1``) reads it.

    ; a comment                     # another one
    [Section]                       names: a letter, then letters, digits and hyphens
    Key = value with blanks         the blanks around it are dropped, those inside stay
    Key = "a \"b\" \\ \n \t" tail   a value may be quoted in part; these are all the escapes
    Key = one \                     outside quotes a backslash at the end of the line continues,
          line                      and the blanks that begin the next line belong to the value
    Key =                           the empty text
    Key                             true
    [Section "sub"]                 a subsection; only here does case matter

``;`` and ``#`` start a comment anywhere outside quotes, so a password that holds one has to be
quoted. Outside quotes a backslash is allowed at the end of a line and before ``"`` only.
Carriage returns in values are dropped. Sections of the same name merge, and the last value wins.

No message quotes a value: it might be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tableferry.errors import ConfigurationError

BARE_VALUE = "true"
"""What a key without ``=`` stands for."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section header: where it first stands and how it was written there."""

    name: str
    subsection: str
    line: int

    def __str__(self) -> str:
        return f'[{self.name} "{self.subsection}"]' if self.subsection else f"[{self.name}]"


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key = value``; ``line`` counts from 1 and is the key's, ``bare`` means without ``=``.

    The value is left out of the representation, since it may be a password.
    """

    value: str = field(repr=False)
    line: int
    key: str
    section: Section
    bare: bool = False

    def __str__(self) -> str:
        return f"{self.section} {self.key}"


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: all sections and all entries in their order, repeated ones too."""

    filename: str
    sections: tuple[Section, ...]
    lines: tuple[Entry, ...]

    def get(self, section: str, key: str, subsection: str = "") -> Entry | None:
        """The last entry of that name, in any case of section and key; None if there is none."""
        wanted = (section.casefold(), subsection, key.casefold())
        return next((entry for entry in reversed(self.lines) if _identity(entry) == wanted), None)

    def entries(self, section: str | None = None) -> tuple[Entry, ...]:
        """All entries, or those of one section with its subsections, repeated ones too."""
        if section is None:
            return self.lines
        wanted = section.casefold()
        return tuple(entry for entry in self.lines if entry.section.name.casefold() == wanted)


def read(path: Path) -> Document:
    """Read and parse a file.

    Raises ConfigurationError for a file that is missing, unreadable or not UTF-8 (go-gcfg
    accepts no other encoding), and for everything that ``parse`` refuses.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such configuration file",
            hint="Name another file with --config, or give both databases as URLs.",
            file=str(path),
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path}: the configuration file cannot be read ({error.strerror})",
            hint="Run this as a user who may read the file, or name another with --config.",
            file=str(path),
        ) from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _error(
            str(path),
            raw.count(b"\n", 0, error.start) + 1,
            "the file is not valid UTF-8 here",
            "Save the file as UTF-8.",
        ) from None
    return parse(text, str(path))


def parse(text: str, filename: str) -> Document:
    """Parse a whole file; ``filename`` is only used to say where an error stands.

    Raises ConfigurationError, and nothing else, at the first thing that is not gcfg; its
    ``details`` hold ``file``, ``line`` and, inside an entry, ``key``.
    """
    parser = _Parser(text.removeprefix("\ufeff"), filename)
    sections: dict[tuple[str, str], Section] = {}
    lines: list[Entry] = []
    for item in parser.items():
        if isinstance(item, Entry):
            lines.append(item)
        else:
            sections.setdefault((item.name.casefold(), item.subsection), item)
    return Document(filename, tuple(sections.values()), tuple(lines))


_BLANKS = re.compile(r"[ \t\r]*")
_COMMENT = re.compile(r"[;#][^\n]*")
_QUOTED_NAME = re.compile(r'"((?:[^"\\\n]|\\["\\])*)"')
_PIECE = re.compile(
    r"""
      (?P<blank>     [ \t\r]+ )
    | (?P<plain>     [^"\\\n;#\ \t\r]+ )
    | (?P<quoted>    "(?: [^"\\\n] | \\["\\nt] )*" )
    | (?P<continued> \\\r?\n )
    | (?P<quote>     \\\r?" )
    """,
    re.VERBOSE,
)
_OPEN_QUOTE = re.compile(r'"(?:[^"\\\n]|\\["\\nt])*')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t"}


class _Parser:
    """One pass over the text; ``at`` is the offset of the next character to look at."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self.at = 0
        self.key: str | None = None

    def items(self) -> Iterator[Section | Entry]:
        if (nul := self.text.find("\0")) >= 0:
            raise self.error("a NUL character", "Save the file as plain UTF-8 text.", nul)
        section: Section | None = None
        while not self.ends():
            self.key = None
            if self.takes("\n"):
                continue
            if self.peek() == "[":
                section = self.header()
                yield section
            else:
                yield self.entry(section)

    def header(self) -> Section:
        start = self.at
        self.at += 1
        self.blanks()
        name = self.name()
        if not name:
            raise self.error(
                "a section name is missing after [",
                "Write [Name]: a letter, then letters, digits and hyphens.",
            )
        self.blanks()
        subsection = self.subsection() if self.peek() == '"' else ""
        self.blanks()
        if not self.takes("]"):
            raise self.error(
                "a section header that does not end with ]", 'Write [Name] or [Name "subsection"].'
            )
        self.end_of_line("after a section header")
        return Section(name, subsection, self.line(start))

    def subsection(self) -> str:
        match = _QUOTED_NAME.match(self.text, self.at)
        if match is None:
            raise self.error(
                "a subsection name that is not closed, or has an escape that does not exist",
                r"""Close it with " on the same line; only \" and \\ are escapes here.""",
            )
        if not match[1]:
            raise self.error("an empty subsection name", "Write [Name] without quotes.")
        self.at = match.end()
        return _unescape(match[1])

    def entry(self, section: Section | None) -> Entry:
        start = self.at
        self.key = self.name() or None
        if self.key is None:
            raise self.error(
                f"expected [section], a key or a comment, and found {self.peek()!r}",
                "A key is a letter followed by letters, digits and hyphens.",
            )
        if section is None:
            raise self.error("a key before the first section", "Put it below a line [Section].")
        if self.ends() or self.peek() == "\n":
            return Entry(BARE_VALUE, self.line(start), self.key, section, bare=True)
        if not self.takes("="):
            raise self.error(
                "expected = after the key",
                "Write Key = value; a key is letters, digits and hyphens only.",
            )
        self.blanks()
        value = self.value()
        return Entry(value, self.line(start), self.key, section)

    def value(self) -> str:
        parts: list[str] = []
        blanks = ""
        while match := _PIECE.match(self.text, self.at):
            self.at = match.end()
            piece = match[0].replace("\r", "")
            if match.lastgroup == "blank":
                blanks += piece
                continue
            parts.append(blanks)
            blanks = ""
            if match.lastgroup == "quoted":
                parts.append(_unescape(piece[1:-1]))
            elif match.lastgroup != "continued":
                parts.append('"' if match.lastgroup == "quote" else piece)
        if self.peek() == '"':
            raise self.unfinished_quote()
        if self.peek() == "\\":
            raise self.error(
                "a backslash outside quotes that is not at the end of the line",
                r'Quote the value, and write \\ for a backslash: Key = "C:\\data".',
            )
        self.end_of_line("after a value")
        return "".join(parts)

    def unfinished_quote(self) -> ConfigurationError:
        match = _OPEN_QUOTE.match(self.text, self.at)
        stop = match.end() if match else self.at
        if self.text[stop : stop + 1] == "\\":
            return self.error(
                "a backslash in quotes that begins no escape",
                r"In quotes only \\ \" \n and \t exist; write \\ for a backslash.",
                stop,
            )
        return self.error("a quote that is not closed", 'Add the closing " on the same line.')

    def name(self) -> str:
        start = self.at
        if self.peek().isalpha():
            while self.peek().isalpha() or self.peek().isdecimal() or self.peek() == "-":
                self.at += 1
        return self.text[start : self.at]

    def end_of_line(self, where: str) -> None:
        if not self.ends() and self.peek() != "\n":
            raise self.error(f"more text {where}", "Put it on a line of its own.")

    def ends(self) -> bool:
        """Skip blanks and a comment; true at the end of the text."""
        self.blanks()
        if match := _COMMENT.match(self.text, self.at):
            self.at = match.end()
        return self.at >= len(self.text)

    def blanks(self) -> None:
        if match := _BLANKS.match(self.text, self.at):
            self.at = match.end()

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def takes(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self.at += 1
        return True

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1

    def error(self, problem: str, hint: str, offset: int | None = None) -> ConfigurationError:
        line = self.line(self.at if offset is None else offset)
        return _error(self.filename, line, problem, hint, self.key)


def _error(
    filename: str, line: int, problem: str, hint: str, key: str | None = None
) -> ConfigurationError:
    details = {"file": filename, "line": line} | ({"key": key} if key else {})
    place = f"{filename}, line {line}" + (f", key {key}" if key else "")
    return ConfigurationError(f"{place}: {problem}", hint=hint, **details)


def _identity(entry: Entry) -> tuple[str, str, str]:
    return entry.section.name.casefold(), entry.section.subsection, entry.key.casefold()


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)
