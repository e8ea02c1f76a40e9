"""What a CREATE statement says and SQLite's pragmas do not tell. Pure.

It is read from the text that sqlite_schema.sql keeps. SQLite has accepted that text, so the reader
looks only for what it needs and passes over the rest: words that begin a constraint are reserved
and never part of a name or a type unless quoted ("CREATE TABLE", "SQLite Keywords"). Nothing here
raises: of text that cannot be understood comes what was understood, so the caller compares counts
(generated columns, foreign keys, terms of an index) with what the pragmas say.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True)
class CheckText:
    """``name`` is "" for an unnamed check, ``column`` is "" for a constraint of the table."""

    name: str
    expression: str
    column: str


@dataclass(frozen=True, slots=True)
class ForeignKeyText:
    name: str
    columns: tuple[str, ...]
    parent: str
    deferrable: bool = False
    initially_deferred: bool = False


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """``generated`` holds (column, expression), ``collations`` (column, name in capitals) where
    one is declared, ``constraint_names`` (name, columns) of named PRIMARY KEYs and UNIQUEs.

    Foreign keys stand in the order of the text: the reverse of pragma_foreign_key_list's ids.
    ``on_conflict`` holds the clauses that do something, such as "UNIQUE (a) ON CONFLICT REPLACE".
    ``comments`` holds (column, text), the column being "" for the table.
    """

    checks: tuple[CheckText, ...] = ()
    generated: tuple[tuple[str, str], ...] = ()
    collations: tuple[tuple[str, str], ...] = ()
    foreign_keys: tuple[ForeignKeyText, ...] = ()
    autoincrement: bool = False
    strict: bool = False
    without_rowid: bool = False
    constraint_names: tuple[tuple[str, tuple[str, ...]], ...] = ()
    on_conflict: tuple[str, ...] = ()
    comments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """``terms`` holds (column or expression as written, collation in capitals or "", descending);
    ``where`` is "" for an index of all rows."""

    terms: tuple[tuple[str, str, bool], ...] = ()
    where: str = ""
    unique: bool = False


@dataclass(frozen=True, slots=True)
class ViewDefinition:
    """``columns`` is empty where the view takes its names from the SELECT."""

    columns: tuple[str, ...] = ()
    select: str = ""


def table_definition(sql: str) -> TableDefinition:
    """What a CREATE TABLE says; nothing of a virtual table, whose arguments are its module's."""
    reader, _ = _past_name(sql, "TABLE")
    text, opening = reader.text, reader.at
    body = reader.group()
    items = _items(text, body)
    columns = _columns(text, items)
    parts = [
        part
        for item, column in zip(items, columns, strict=True)
        for part in _constraints(text, item, column)
    ]
    keys = [part for part in parts if isinstance(part, _Key)]
    options = text.words[body.stop :]
    return TableDefinition(
        checks=tuple(part for part in parts if isinstance(part, CheckText)),
        generated=_last_of_each("AS", parts),
        collations=_last_of_each("COLLATE", parts),
        foreign_keys=_foreign_keys(parts),
        autoincrement="AUTOINCREMENT" in text.words,
        strict="STRICT" in options,
        without_rowid=("WITHOUT", "ROWID") in pairwise(options),
        constraint_names=tuple((key.name, key.columns) for key in keys if key.name),
        on_conflict=tuple(
            f"{key.what} ({', '.join(key.columns)}) ON CONFLICT {key.conflict}"
            for key in keys
            if key.conflict not in ("", "ABORT")
        ),
        comments=_comments(text, opening, items, columns),
    )


def index_definition(sql: str) -> IndexDefinition:
    """What a CREATE INDEX says."""
    reader, modifier = _past_name(sql, "INDEX")
    if not reader.take("ON"):
        return IndexDefinition()
    reader.name()
    terms = tuple(_term(reader.text, item) for item in _items(reader.text, reader.group()))
    where = reader.rest() if reader.take("WHERE") else ""
    return IndexDefinition(terms, where, modifier == "UNIQUE")


def view_definition(sql: str) -> ViewDefinition:
    """What a CREATE VIEW says."""
    reader, _ = _past_name(sql, "VIEW")
    columns = reader.names()
    return ViewDefinition(columns, reader.rest()) if reader.take("AS") else ViewDefinition()


def unquoted(identifier_text: str) -> str:
    """The name that a token stands for: "a""b" is a"b, [x] is x, and a bare word is itself."""
    opening = identifier_text[:1]
    if opening not in _CLOSING:
        return identifier_text
    closing = _CLOSING[opening]
    return identifier_text[1:].removesuffix(closing).replace(closing * 2, closing)


def enclosed(expression: str) -> bool:
    """Whether one pair of parentheses is around the whole: (1) + (2) is not enclosed."""
    text = _lexed(expression)
    return text.closing.get(0) == len(text.words) - 2


# --- Tokens ---------------------------------------------------------------------------------

_CLOSING = {"'": "'", '"': '"', "`": "`", "[": "]"}
# SQLite folds the letters of ASCII alone: "ſtrict" is no STRICT.
_CAPITALS = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)

# As SQLite's tokenizer has it (sqlite3GetToken, and "SQL Comment Syntax"): any character beyond
# ASCII belongs to a word, a byte order mark before a word is a blank, and what is not closed runs
# to the end. No group may backtrack, so that hostile text is read in linear time too.
_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n]*+ | /\*.*?(?:\*/|\Z) )
    | (?P<literal>
        '[^']*+(?:''[^']*+)*+'? | "[^"]*+(?:""[^"]*+)*+"? | `[^`]*+(?:``[^`]*+)*+`?
        | \[[^\]]*+\]? | [xX]'[^']*+'
        | \.?[0-9](?:[eE][+-]|[0-9A-Za-z_.])*+
      )
    | (?P<word> [A-Za-z_\x80-\ufefe\uff00-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*+ )
    | [^ \t\n\f\r\ufeff]
    """,
    re.DOTALL | re.VERBOSE,
)


class _Comment(NamedTuple):
    """``before`` is the position of the token that follows, ``depth`` counts open parentheses."""

    before: int
    depth: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement in tokens, the last of which is an empty one at its end.

    A token's word is a bare word in capitals, or a mark such as "(", or "" for all else: what is
    quoted is never a keyword. ``closing`` gives the position of the ")" for that of every "(" that
    is closed.
    """

    sql: str
    words: list[str]
    starts: list[int]
    ends: list[int]
    comments: list[_Comment]
    closing: dict[int, int]

    def name(self, at: int) -> str:
        return unquoted(self.sql[self.starts[at] : self.ends[at]])

    def written(self, tokens: range) -> str:
        """The tokens as they stand there, each comment a blank."""
        if not tokens:
            return ""
        start, end = self.starts[tokens[0]], self.ends[tokens[-1]]
        low = bisect_left(self.comments, start, key=lambda comment: comment.start)
        high = bisect_left(self.comments, end, low, key=lambda comment: comment.start)
        inner = self.comments[low:high]
        starts = (start, *(comment.end for comment in inner))
        ends = (*(comment.start for comment in inner), end)
        return " ".join(self.sql[a:b] for a, b in zip(starts, ends, strict=True))


def _lexed(sql: str) -> _Text:
    text = _Text(sql, [], [], [], [], {})
    opened: list[int] = []
    for match in _TOKEN.finditer(sql):
        kind, at, (start, end) = match.lastgroup, len(text.words), match.span()
        if kind == "comment":
            text.comments.append(_Comment(at, len(opened), start, end))
            continue
        word = match[0].translate(_CAPITALS) if kind == "word" else "" if kind else match[0]
        if word == "(":
            opened.append(at)
        elif word == ")" and opened:
            text.closing[opened.pop()] = at
        elif word == ";":
            break
        text.words.append(word)
        text.starts.append(start)
        text.ends.append(end)
    text.words.append("")
    text.starts.append(len(sql))
    text.ends.append(len(sql))
    return text


class _Reader:
    """A place in the tokens before ``stop``. Each method moves past what it returns."""

    __slots__ = ("at", "stop", "text")

    def __init__(self, text: _Text, tokens: range) -> None:
        self.text, self.at, self.stop = text, tokens.start, tokens.stop

    @property
    def word(self) -> str:
        return self.text.words[self.at] if self.at < self.stop else ""

    def next(self) -> str:
        """The next word; with "(" all that it encloses."""
        word = self.word
        self.at = min(self.text.closing.get(self.at, self.at) + 1, self.stop)
        return word

    def take(self, *words: str) -> bool:
        """Whether these words come next; where not, nothing is moved past."""
        end = min(self.at + len(words), self.stop)
        if self.text.words[self.at : end] != list(words):
            return False
        self.at = end
        return True

    def name(self) -> str:
        if self.at == self.stop or self.word in ("(", ")", ","):
            return ""
        self.at += 1
        return self.text.name(self.at - 1)

    def group(self) -> range:
        """What the parentheses that open here enclose; empty where none do."""
        opening = self.at
        if opening not in self.text.closing:
            return range(opening, opening)
        self.next()
        return range(opening + 1, self.text.closing[opening])

    def names(self) -> tuple[str, ...]:
        """The first name of each item of a list in parentheses, such as the column of
        "a COLLATE NOCASE DESC"."""
        words, items = self.text.words, _items(self.text, self.group())
        heads = (next((at for at in item if words[at] != "("), item.start) for item in items)
        return tuple(self.text.name(head) for head in heads)

    def rest(self) -> str:
        return self.text.written(range(self.at, self.stop))


def _past_name(sql: str, what: str) -> tuple[_Reader, str]:
    """A reader past "CREATE modifier TABLE IF NOT EXISTS schema.name", and the modifier; at the
    end where something else is created."""
    text = _lexed(sql)
    reader = _Reader(text, range(len(text.words) - 1))
    reader.take("CREATE")
    modifier = reader.next() if reader.word in ("TEMP", "TEMPORARY", "UNIQUE") else ""
    if not reader.take(what):
        return _Reader(text, range(reader.stop, reader.stop)), modifier
    reader.take("IF", "NOT", "EXISTS")
    reader.name()
    if reader.take("."):
        reader.name()
    return reader, modifier


def _items(text: _Text, group: range) -> list[range]:
    """What the commas of a list part."""
    edges = [group.start - 1]
    at = group.start
    while at < group.stop:
        if text.words[at] == ",":
            edges.append(at)
        at = text.closing.get(at, at) + 1
    edges.append(group.stop)
    return [range(before + 1, after) for before, after in pairwise(edges)] if group else []


def _unwrapped(text: _Text, tokens: range) -> range:
    """Without the parentheses around the whole, which mean nothing to SQLite."""
    while text.closing.get(tokens.start) == tokens.stop - 1:
        tokens = range(tokens.start + 1, tokens.stop - 1)
    return tokens


# --- Tables ---------------------------------------------------------------------------------

_TABLE_CONSTRAINTS = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")


@dataclass(frozen=True, slots=True)
class _Key:
    """A PRIMARY KEY, UNIQUE or NOT NULL, as ``what`` says."""

    what: str
    name: str
    columns: tuple[str, ...]
    conflict: str


@dataclass(frozen=True, slots=True)
class _Clause:
    """What follows COLLATE or AS in the definition of a column."""

    what: str
    column: str
    text: str


@dataclass(frozen=True, slots=True)
class _Deferral:
    deferrable: bool
    initially_deferred: bool


_Part: TypeAlias = CheckText | ForeignKeyText | _Key | _Clause | _Deferral


def _columns(text: _Text, items: Sequence[range]) -> list[str | None]:
    """The column that each item defines; None from the first constraint of the table on."""
    heads = [text.words[item.start] for item in items]
    count = next((i for i, head in enumerate(heads) if head in _TABLE_CONSTRAINTS), len(items))
    return [text.name(item.start) if i < count else None for i, item in enumerate(items)]


def _constraints(text: _Text, item: range, column: str | None) -> Iterator[_Part]:
    """The constraints of a column, or of the table: SQLite lets them follow without a comma."""
    reader = _Reader(text, item if column is None else item[1:])
    while reader.at < reader.stop:
        name = ""
        while reader.take("CONSTRAINT"):
            name = reader.name()
        part = _constraint(reader, name, column)
        if part is not None:
            yield part


def _constraint(reader: _Reader, name: str, column: str | None) -> _Part | None:
    """The constraint that begins here, or None past a word that begins none."""
    match reader.next():
        case "CHECK":
            return CheckText(name, reader.text.written(reader.group()), column or "")
        case "AS" if column is not None:
            return _Clause("AS", column, reader.text.written(reader.group()))
        case "COLLATE" if column is not None:
            return _Clause("COLLATE", column, reader.name().translate(_CAPITALS))
        case "PRIMARY" if reader.take("KEY"):
            return _key(reader, "PRIMARY KEY", name, column)
        case "UNIQUE":
            return _key(reader, "UNIQUE", name, column)
        case "NOT" if reader.take("NULL"):
            return _key(reader, "NOT NULL", "", column)
        case "NOT" if reader.take("DEFERRABLE"):
            return _Deferral(False, False)
        case "DEFERRABLE":
            return _Deferral(True, reader.take("INITIALLY", "DEFERRED"))
        case "REFERENCES" if column is not None:
            return ForeignKeyText(name, (column,), reader.name())
        case "FOREIGN" if reader.take("KEY"):
            columns = reader.names()
            if reader.take("REFERENCES"):
                return ForeignKeyText(name, columns, reader.name())
        case "DEFAULT":
            if reader.word in ("+", "-"):
                reader.next()
            reader.next()
        case "SET":  # ON DELETE SET DEFAULT
            reader.next()
    return None


def _key(reader: _Reader, what: str, name: str, column: str | None) -> _Key:
    columns = reader.names() if column is None else (column,)
    if reader.word in ("ASC", "DESC"):
        reader.next()
    return _Key(what, name, columns, reader.next() if reader.take("ON", "CONFLICT") else "")


def _last_of_each(what: str, parts: Sequence[_Part]) -> tuple[tuple[str, str], ...]:
    """The clause of each column that has one: of several COLLATEs the last counts."""
    clauses = (part for part in parts if isinstance(part, _Clause) and part.what == what)
    return tuple({clause.column: clause.text for clause in clauses}.items())


def _foreign_keys(parts: Sequence[_Part]) -> tuple[ForeignKeyText, ...]:
    """A deferral is of the last key before it, even of another column's, as SQLite has it."""
    keys: list[ForeignKeyText] = []
    for part in parts:
        if isinstance(part, ForeignKeyText):
            keys.append(part)
        elif isinstance(part, _Deferral) and keys:
            keys[-1] = replace(
                keys[-1], deferrable=part.deferrable, initially_deferred=part.initially_deferred
            )
    return tuple(keys)


# --- Comments -------------------------------------------------------------------------------


def _comments(
    text: _Text, opening: int, items: Sequence[range], columns: Sequence[str | None]
) -> tuple[tuple[str, str], ...]:
    """Each comment goes to the column whose definition it ends a line of, or stands in, or else
    stands right above; before and on the line of the opening parenthesis, to the table."""
    edges = [opening, *(item.stop for item in items)]
    owners = ["", *columns, None]
    found: dict[str, list[str]] = defaultdict(list)
    placed = (
        comment
        for comment in text.comments
        if comment.depth < 2 and opening <= comment.before <= edges[-1]
    )
    lines = _Lines(text)
    for at, group in groupby(placed, lambda comment: comment.before):
        gap = list(group)
        above = owners[bisect_left(edges, at - 1)]
        below = owners[bisect_right(edges, at)] if at > opening else above
        between = above if above in ("", below) else None
        first, last = lines.parted(gap)
        for i, comment in enumerate(gap):
            owner = above if i < first else below if i >= last else between
            words = _uncommented(text.sql[comment.start : comment.end])
            if owner is not None and words:
                found[owner].append(words)
    return tuple((owner, "\n".join(parts)) for owner, parts in found.items())


class _Lines:
    """Where the lines of a text begin."""

    __slots__ = ("_starts", "_text")

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in re.finditer("\n", text.sql))]

    def line(self, position: int) -> int:
        return bisect_right(self._starts, position)

    def indent(self, position: int) -> int:
        return position - self._starts[self.line(position) - 1]

    def parted(self, gap: Sequence[_Comment]) -> tuple[int, int]:
        """How many of the comments between two tokens belong to the one above, and from which on
        they belong to the one below."""
        first, last, line, below = 0, len(gap), self.line, gap[0].before
        above_line, below_line = line(self._text.ends[below - 1]), line(self._text.starts[below])
        after_comma = self._text.words[below - 1] == ","
        while first < last and line(gap[first].start) == above_line:
            if after_comma and line(gap[first].end) == below_line:
                break  # What precedes a definition on its own line belongs to that one.
            first += 1
        # A remark at the end of a line may go on below itself.
        while (
            0 < first < last
            and line(gap[first].start) == line(gap[first - 1].end) + 1
            and self.indent(gap[first].start) == self.indent(gap[first - 1].start)
        ):
            first += 1
        while first < last and line(gap[last - 1].end) >= below_line - 1:
            last -= 1
            below_line = line(gap[last].start)
        return first, last


def _uncommented(comment: str) -> str:
    if comment.startswith("--"):
        return comment.lstrip("-").strip()
    body = comment[2:].removesuffix("*/").strip("*")
    return "\n".join(line.strip().lstrip("*").strip() for line in body.split("\n")).strip()


# --- Indexes --------------------------------------------------------------------------------

_SIGNS = ("+", "-", "~")
# After these comes an operand, so that a DESC is a column's name.
_OPERATORS = frozenset("+-*/%|&<>=~.") | {
    *("AND", "OR", "NOT", "IS", "IN", "BETWEEN", "ESCAPE", "FROM", "COLLATE")
}
# These too, unless they are names themselves: they are not reserved.
_NAMED_OPERATORS = ("LIKE", "GLOB", "MATCH", "REGEXP")


def _term(text: _Text, item: range) -> tuple[str, str, bool]:
    order = text.words[item.stop - 1]
    ordered = order in ("ASC", "DESC") and not _awaits_operand(text, item[:-1])
    term = _unwrapped(text, item[:-1] if ordered else item)
    operand = term
    while len(operand) > 2 and text.words[operand[-2]] == "COLLATE":
        operand = operand[:-2]
    collation = ""
    if operand != term and _is_operand(text, operand):
        collation = text.name(term[-1]).translate(_CAPITALS)
        term = _unwrapped(text, operand)
    return text.written(term), collation, ordered and order == "DESC"


def _awaits_operand(text: _Text, tokens: range) -> bool:
    """Whether what follows these cannot be the order of a term."""
    word = text.words[tokens[-1]] if tokens else ""
    return not tokens or word in _OPERATORS or (len(tokens) > 1 and word in _NAMED_OPERATORS)


def _is_operand(text: _Text, tokens: range) -> bool:
    """Whether COLLATE, which binds more tightly than all but signs, takes the whole of this: a
    value, a group or a call."""
    first = next((at for at in tokens if text.words[at] not in _SIGNS), tokens.start)
    if text.words[first] in _OPERATORS:
        return False
    opening = first if text.words[first] == "(" else first + 1
    return first == tokens[-1] or text.closing.get(opening) == tokens[-1]
