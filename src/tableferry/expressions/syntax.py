"""Expressions and SELECT statements as trees, of either database.

PostgreSQL's operators stand in Binary, Unary and Match by their own signs, x IN (…) for
x = ANY (ARRAY[…]), and special syntax such as EXTRACT(a FROM b) as a call of the function.

Nodes compare by what they say: where they stand in the text does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Null:
    pass


@dataclass(frozen=True, slots=True)
class Integer:
    value: int


@dataclass(frozen=True, slots=True)
class Real:
    value: float


@dataclass(frozen=True, slots=True)
class String:
    value: str


@dataclass(frozen=True, slots=True)
class Blob:
    value: bytes


@dataclass(frozen=True, slots=True)
class Now:
    """CURRENT_DATE, CURRENT_TIME or CURRENT_TIMESTAMP."""

    keyword: str


@dataclass(frozen=True, slots=True)
class Name:
    """A column, perhaps with its table. ``loose``: a word alone in double quotes, which is a
    string where no column has that name. ``bare``: a word alone without quotes (TRUE is one)."""

    name: str
    table: str = ""
    loose: bool = False
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Unary:
    """``operator``: - + ~ NOT."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """``operator``: OR AND = <> IS, IS NOT, < <= > >= & | << >> + - * / % ||."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Collate:
    operand: Node
    collation: str


@dataclass(frozen=True, slots=True)
class Match:
    """LIKE or GLOB; ``escape`` is the expression after ESCAPE."""

    operator: str
    operand: Node
    pattern: Node
    escape: Node | None = None


@dataclass(frozen=True, slots=True)
class Between:
    operand: Node
    low: Node
    high: Node


@dataclass(frozen=True, slots=True)
class InList:
    operand: Node
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class InSelect:
    operand: Node
    select: Query


@dataclass(frozen=True, slots=True)
class Exists:
    select: Query


@dataclass(frozen=True, slots=True)
class Scalar:
    """A subquery that stands for one value."""

    select: Query


@dataclass(frozen=True, slots=True)
class Case:
    operand: Node | None
    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None


@dataclass(frozen=True, slots=True)
class Cast:
    """``type``: of SQLite the type's name in upper case, without its arguments; of PostgreSQL
    the type as format_type() writes it."""

    operand: Node
    type: str


@dataclass(frozen=True, slots=True)
class Call:
    """``name`` in lower case; ``star`` for count(*); ``condition`` is that of a FILTER."""

    name: str
    arguments: tuple[Node, ...]
    distinct: bool = False
    star: bool = False
    condition: Node | None = None


Node: TypeAlias = (
    Null
    | Integer
    | Real
    | String
    | Blob
    | Now
    | Name
    | Unary
    | Binary
    | Collate
    | Match
    | Between
    | InList
    | InSelect
    | Exists
    | Scalar
    | Case
    | Cast
    | Call
)


@dataclass(frozen=True, slots=True)
class Result:
    """A result column; ``text`` as it is written, after which SQLite names it."""

    node: Node
    alias: str = ""
    text: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Star:
    """``*`` or ``table.*``."""

    table: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """One member of a FROM clause. ``join``: INNER or LEFT, as it is joined to those before it.
    ``schema``: "" where none is written."""

    table: str
    select: Query | None
    alias: str
    join: str = "INNER"
    on: Node | None = None
    using: tuple[str, ...] = ()
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Ordering:
    node: Node
    descending: bool = False
    nulls: str = ""


@dataclass(frozen=True, slots=True)
class Select:
    distinct: bool
    results: tuple[Result | Star, ...]
    sources: tuple[Source, ...] = ()
    where: Node | None = None
    groups: tuple[Node, ...] = ()
    having: Node | None = None


@dataclass(frozen=True, slots=True)
class Common:
    """A common table expression."""

    name: str
    columns: tuple[str, ...]
    query: Query


@dataclass(frozen=True, slots=True)
class Query:
    """A whole SELECT: one or more, put together from left to right by ``operators``."""

    selects: tuple[Select, ...]
    operators: tuple[str, ...] = ()
    common: tuple[Common, ...] = ()
    order: tuple[Ordering, ...] = ()
    limit: int | None = None
    offset: int | None = None
