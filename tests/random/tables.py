"""Random tables: their shapes, keys and references, their SQL, and what SQLite made of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter
from tests.random.values import (
    ANYTHING,
    DECLARED,
    INTS,
    REALS,
    STRICT,
    Text,
    Value,
    Values,
    class_of,
    literal,
)

TABLES_A_FILE = 10

Row: TypeAlias = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    declared: str
    not_null: bool = False

    @property
    def typed(self) -> bool:
        """Whether the declared type says what the values are to be."""
        return self.declared not in ("", "ANY")


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key from the column at a position to the one column of a table's primary key."""

    column: int
    parent: str
    parent_column: str


@dataclass(frozen=True, slots=True)
class RandomTable:
    """``key`` holds positions in ``columns``."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    rows: tuple[Row, ...]
    strict: bool = False
    without_rowid: bool = False
    references: tuple[Reference, ...] = ()

    @property
    def rowid_alias(self) -> bool:
        """Whether the primary key is the rowid itself, which takes nothing but integers."""
        declared = [self.columns[position].declared for position in self.key]
        return declared == ["INTEGER"] and not self.without_rowid

    @property
    def sql(self) -> str:
        """The script that makes the table. Rows that a key refuses are left out."""
        name = quoted(self.name)
        parts = [
            f"{quoted(c.name)} {c.declared}{' NOT NULL' if c.not_null else ''}"
            for c in self.columns
        ]
        if self.key:
            key = ", ".join(quoted(self.columns[position].name) for position in self.key)
            parts.append(f"PRIMARY KEY ({key})")
        parts += [
            f"FOREIGN KEY ({quoted(self.columns[r.column].name)})"
            f" REFERENCES {quoted(r.parent)} ({quoted(r.parent_column)})"
            for r in self.references
        ]
        flags = {"STRICT": self.strict, "WITHOUT ROWID": self.without_rowid}
        options = ", ".join(flag for flag, is_set in flags.items() if is_set)
        create = f"CREATE TABLE {name} ({', '.join(parts)}) {options};"
        inserts = [
            f"INSERT OR IGNORE INTO {name} VALUES ({', '.join(map(literal, row))});"
            for row in self.rows
        ]
        return "\n".join([create, *inserts])

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """Hypothesis shows what failed by this: SQL, to be tried again by hand."""
        printer.text(f"\n{self.sql}\n")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def write(path: Path, tables: Sequence[RandomTable]) -> None:
    script = "\n".join(table.sql for table in tables)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN;\n{script}\nCOMMIT;")


def stored(path: Path, table: RandomTable) -> list[Row]:
    """The rows as SQLite keeps them: keys and affinities have had their say."""
    names = [quoted(column.name) for column in table.columns]
    cells = ", ".join(f"typeof({name}), {name}" for name in names)
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        rows = connection.execute(f"SELECT {cells} FROM {quoted(table.name)}").fetchall()
    return [
        tuple(
            Text(value) if name == b"text" else value
            for name, value in zip(row[::2], row[1::2], strict=True)
        )
        for row in rows
    ]


_RESERVED = (
    *("select", "user", "order", "table", "group"),
    *("from", "where", "primary", "analyse", "end"),
)
_ODD_NAMES = ("T{}", "a b {}", 'say "{}"', "it's {}", "Ärger{}", "x.{}", "-- {}")

# What keys are made of, integers and texts most of all.
_KEY_TYPES = (
    *("INTEGER", "INTEGER", "TEXT", "TEXT", "INT", "BIGINT", "SMALLINT", "VARCHAR(5)", "UUID"),
    *("DATE", "DATETIME", "REAL", "DECIMAL(10,2)", "BOOLEAN", "BLOB", ""),
)
# Types between which foreign keys are drawn.
_FAMILIES = (("INTEGER", "INT", "BIGINT", "SMALLINT", "INT4"), ("TEXT", "VARCHAR(5)", "CHAR(3)"))


@st.composite
def random_files(draw: st.DrawFn) -> list[RandomTable]:
    """Tables of one file with some foreign keys among them: to others, in circles, to itself."""
    tables = [draw(_random_tables(number)) for number in range(TABLES_A_FILE)]
    parents = [table for table in tables if len(table.key) == 1 and _family(table)]
    for child in draw(st.lists(st.integers(0, TABLES_A_FILE - 1), min_size=2, max_size=6)):
        if parents:
            parent = draw(st.sampled_from(parents))
            tables[child] = draw(_with_reference(tables[child], parent))
    return tables


@st.composite
def _random_tables(draw: st.DrawFn, number: int) -> RandomTable:
    rows = draw(st.sampled_from([8, 10, 12, *range(13)]))
    strict = draw(st.sampled_from([False, False, False, True]))
    key_length = draw(st.sampled_from([1, 1, 2, 0, 1]))
    without_rowid = bool(key_length) and draw(st.booleans())
    types, key_types = (list(STRICT),) * 2 if strict else (list(DECLARED), list(_KEY_TYPES))
    of_key = draw(st.lists(st.sampled_from(key_types), min_size=key_length, max_size=key_length))
    others = draw(st.lists(st.sampled_from(types), min_size=not of_key, max_size=4))
    columns = tuple(
        Column(draw(_column_names(i)), declared, i < key_length and draw(st.booleans()))
        for i, declared in enumerate([*of_key, *others])
    )
    # Keys stand last as often as first.
    first = draw(st.sampled_from([0, len(others)]))
    if first:
        columns = (*columns[key_length:], *columns[:key_length])
    table = RandomTable(
        name=draw(st.sampled_from([f"t{number}"] * 20 + _hostile(number))),
        columns=columns,
        key=tuple(range(first, first + key_length)),
        rows=(),
        strict=strict,
        without_rowid=without_rowid,
    )
    cells = [
        draw(st.lists(draw(_cells(table, i)), min_size=rows, max_size=rows))
        for i in range(len(columns))
    ]
    return replace(table, rows=tuple(zip(*cells, strict=True)))


def _hostile(number: int) -> list[str]:
    return [_RESERVED[number], *(name.format(number) for name in _ODD_NAMES)]


def _column_names(number: int) -> st.SearchStrategy[str]:
    # A column may hide the rowid.
    odd = [*_hostile(number), *(["ROWID"] if number == 0 else [])]
    return st.sampled_from([f"c{number}"] * 40 + odd)


@st.composite
def _cells(draw: st.DrawFn, table: RandomTable, position: int) -> Values:
    """A strategy for the values of one column."""
    column = table.columns[position]
    if table.rowid_alias and position in table.key:
        return INTS
    own = draw(st.sampled_from((STRICT if table.strict else DECLARED)[column.declared]))
    surprising = [] if table.strict else [own | own | ANYTHING]
    if position in table.key:
        # SQLite lets NULL into the keys of tables with rowids.
        nulls = [] if column.not_null or table.without_rowid else [own | own | st.none()]
        return draw(st.sampled_from([own, own, own, *surprising, *nulls]))
    nulls = [own | st.none(), st.none() | st.none() | own]
    anything = [] if table.strict else [ANYTHING | st.none()]
    return draw(st.sampled_from([own, *nulls, *surprising, *anything]))


def _family(table: RandomTable) -> tuple[str, ...]:
    declared = table.columns[table.key[0]].declared
    return next((family for family in _FAMILIES if declared in family), ())


@st.composite
def _with_reference(draw: st.DrawFn, child: RandomTable, parent: RandomTable) -> RandomTable:
    """The child with one more column, which refers to the parent's key; orphans happen."""
    family = [t for t in _family(parent) if t in STRICT or not child.strict]
    column = Column(f"of {len(child.columns)}", draw(st.sampled_from(family)))
    keys = [row[parent.key[0]] for row in parent.rows]
    if child.strict:
        # Others would be refused.
        wanted = "text" if column.declared == "TEXT" else "integer"
        keys = [key for key in keys if class_of(key) == wanted]
    own = DECLARED[column.declared][0]
    known = st.sampled_from(keys) if keys else own
    surprising = [] if child.strict else [known | known | REALS, known | known | ANYTHING]
    values = draw(st.sampled_from([known, known, known | st.none(), known | own, *surprising]))
    return replace(
        child,
        columns=(*child.columns, column),
        rows=tuple((*row, draw(values)) for row in child.rows),
        references=(
            *child.references,
            Reference(len(child.columns), parent.name, parent.columns[parent.key[0]].name),
        ),
    )
