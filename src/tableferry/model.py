"""The values that flow between all other modules: frozen, picklable, without I/O.

A *kind* (see kinds.py) is the meaning in which a pair of columns is compared. Everything that
crosses from one database to the other does so as an Arrow array of the kind's Arrow type, so a
pair of databases is never special-cased: each dialect only knows how to read its own native types
as kinds, and how to store kinds in its own native types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

# What becomes of values that do not fit the type planned for their column.
MisfitPolicy: TypeAlias = Literal["widen", "stop", "reject"]

# Everything, rows alone (into tables that are there), or the schema without a row.
Scope: TypeAlias = Literal["all", "data", "schema"]

# What becomes of rows that break a key, a check or a foreign key.
ViolationPolicy: TypeAlias = Literal["report", "stop", "reject"]

# How many values that do not fit are shown for a column.
MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """The meaning of a column's values, with the limits that its type puts on them.

    ``name`` is one of kinds.NAMES. ``bits`` limits an int (16, 32 or 64), ``precision`` and
    ``scale`` a decimal (in digits), ``length`` a text (in characters; None is no limit). ``type``
    names a type that only its own database knows; its values travel as that one's text.
    """

    name: str
    bits: int = 64
    precision: int = 0
    scale: int = 0
    length: int | None = None
    type: str = ""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table's name and schema. SQLite has the one schema "main"."""

    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.schema in ("main", "public") else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as its catalog gives it; ``declared`` is the type as written there.

    ``default`` and ``generated`` are expressions in the SQL of their side; a column that is not
    generated has none. ``collation`` is "" where text is compared by its bytes.
    """

    name: str
    declared: str
    nullable: bool = True
    default: str | None = None
    generated: str = ""
    # Whether a generated column is computed when it is read, and takes no room.
    virtual: bool = False
    collation: str = ""
    comment: str = ""
    # Of an enumeration its labels, in their order.
    labels: tuple[str, ...] = ()
    # A type of the database's own making that the column is of, or an array of; see UserType.
    user_type: TableName | None = None

    @property
    def typed(self) -> bool:
        """Whether the declared type says what the values are to be; SQLite's ANY does not."""
        return self.declared.strip().upper() not in ("", "ANY")


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key or a unique constraint."""

    columns: tuple[str, ...]
    name: str = ""
    # What else its definition says that no plan carries, such as "NULLS NOT DISTINCT".
    clauses: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    deferred: bool = False
    name: str = ""
    # Whether it was proven for all rows: one that is NOT VALID holds for new rows only.
    valid: bool = field(default=True, compare=False)
    clauses: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Check:
    """A condition that no row may break; NULL does not break it."""

    expression: str
    name: str = ""
    # The domain that it stems from: it holds for the column because that is of the domain.
    domain: str = ""
    valid: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression over a table's columns, and the type that its value becomes: that of its
    column, where it is a default or generates one."""

    text: str
    type: str = ""
    default: bool = False


@dataclass(frozen=True, slots=True)
class IndexColumn:
    """A column of an index by its ``name``, or an ``expression`` in the SQL of its side."""

    name: str = ""
    descending: bool = False
    expression: str = ""
    collation: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """``where`` is the condition of a partial index, in the SQL of its side."""

    name: str
    columns: tuple[IndexColumn, ...]
    unique: bool = False
    where: str = ""
    # See Key.clauses.
    clauses: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """A column that numbers itself; ``next_value`` is what the next insert must get. One that
    ``reuses`` numbers goes on after the largest that is there, whatever was there before."""

    column: str
    next_value: int
    reuses: bool = field(default=False, compare=False)
    # The next value is no more than what comes after the largest: its sequence may not be read.
    estimated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Numbering:
    """What numbers a column of a target: ``next_value`` is what the next insert would get, None
    where this role may not ask; ``largest`` is the largest value that is there, None where there
    is none. ``natural``: every such column numbers itself, whoever wants it or not, and no number
    that is there is given again."""

    column: str
    next_value: int | None
    largest: int | None = None
    natural: bool = False


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """An object of the source that does not arrive, and why. None disappears unnamed."""

    what: str
    name: str
    table: str
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """``rows`` and ``size`` (bytes) are estimates, good enough to share out the work."""

    name: TableName
    columns: tuple[Column, ...]
    primary_key: Key | None = None
    uniques: tuple[Key, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    indexes: tuple[Index, ...] = ()
    checks: tuple[Check, ...] = ()
    identity: Identity | None = None
    comment: str = ""
    rows: int = 0
    size: int = 0
    # What an existing table has beyond columns, keys and indexes, such as "a trigger".
    extras: tuple[str, ...] = ()
    # How rows are addressed in the table's own order: the name of SQLite's rowid that no column
    # hides, or "" where there is none (WITHOUT ROWID); PostgreSQL has always its ctid.
    locator: str = ""

    # See Scan.long_columns.
    long_columns: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class View:
    """``select`` is the query in the SQL of its side; ``columns`` are names given to its columns,
    where the definition lists any. ``types``: what format_type() calls the types of its columns,
    () where the catalog does not tell."""

    name: TableName
    select: str
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserType:
    """A type that somebody has created in a database.

    An enum has ``labels``. A domain restricts its ``base`` by ``checks``, whose expressions call
    the value VALUE, and may forbid NULL. A composite has ``attributes`` by name and type. A range
    has its subtype as ``base``.
    """

    name: TableName
    what: Literal["enum", "domain", "composite", "range"]
    labels: tuple[str, ...] = ()
    base: str = ""
    nullable: bool = True
    default: str | None = None
    checks: tuple[Check, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """``types`` stand in an order in which they can be created. ``settings`` are statements that
    make the database's own settings those of an empty one of its kind. ``home`` is the schema whose
    tables need no schema before their names."""

    tables: tuple[Table, ...]
    left_behind: tuple[LeftBehind, ...] = ()
    views: tuple[View, ...] = ()
    types: tuple[UserType, ...] = ()
    settings: tuple[str, ...] = ()
    home: str = "main"

    def table(self, name: TableName) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open part of a table in its own physical order; None is an unbounded end.

    The bounds are rowids in SQLite and page numbers of ctids in PostgreSQL.
    """

    number: int
    lower: int | None = None
    upper: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A half-open part of a table by the first column of a scan's key, an integer; None is an
    unbounded end. Without a lower end it holds the rows without a value as well."""

    number: int
    lower: int | None = None
    upper: int | None = None


# What one task reads of a table.
TablePart: TypeAlias = Range | KeyRange


def described(table: TableName, part: TablePart, unit: str) -> str:
    """The rows that a task reads, for a message; ``unit``: what a Range counts, in the plural.

    >>> described(TableName("main", "t"), Range(1, 60_001, 120_001), "rowids")
    'table t, rowids 60,001 to 120,000'
    """
    counted = unit if isinstance(part, Range) else "keys"
    match part.lower, part.upper:
        case None, None:
            return f"table {table}"
        case None, int(upper):
            within = f"up to {upper - 1:,}"
        case int(lower), None:
            within = f"from {lower:,} on"
        case int(lower), int(upper):
            within = f"{lower:,} to {upper - 1:,}"
    return f"table {table}, {counted} {within}"


@dataclass(frozen=True, slots=True)
class Spread:
    """How rows are put in buckets by the first column of their key, an integer: 2^``shift``
    neighbouring values from ``lower`` on fill one, and those beyond the first and the last bucket
    belong there too. So a bucket is a range of keys, which an index finds."""

    lower: int
    shift: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kind that a column's values may turn out to fit.

    Values fit strictly when they are of the kind's own storage classes, so that converting back
    gives the same class. A candidate that ``merges`` takes other classes by their text as well,
    and the report says so. ``using`` names a conversion by meaning that the user asked for, and
    ``ruled`` is set where the candidate is the word of a rule and not of the declared type.
    """

    kind: Kind
    merges: bool = False
    using: str = ""
    ruled: bool = field(default=False, compare=False)


def ranges_at(bounds: Sequence[int]) -> tuple[Range, ...]:
    """The ranges between ascending bounds, the first and the last without an end."""
    lowers: list[int | None] = [None, *bounds]
    uppers: list[int | None] = [*bounds, None]
    return tuple(Range(i, *ends) for i, ends in enumerate(zip(lowers, uppers, strict=True)))


@dataclass(frozen=True, slots=True)
class ReadColumn:
    """A column and what it is to be read as; see Candidate."""

    column: Column
    kind: Kind
    merges: bool = False
    using: str = ""

    @property
    def computed(self) -> bool:
        """Whether the database computes the values itself, and takes none."""
        return bool(self.column.generated)


# The low and the high half of a row's hash; see digest.row_hashes.
RowHash: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a row is set aside although its values fit: the rule that it breaks, and a column of
    the source that is part of it."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What to read of one table on one side: ``key`` holds positions in ``columns``."""

    table: TableName
    columns: tuple[ReadColumn, ...]
    key: tuple[int, ...]
    locator: str = ""
    # Estimated bytes of a row, by which batches are bounded.
    row_bytes: int = 0
    # Columns that may hold long values: a batch is bounded by what they really hold.
    long_columns: tuple[str, ...] = ()
    # Rows with a value that does not fit are set aside instead of ending the read.
    rejecting: bool = False
    # Then also these, by their hashes.
    excluded: Mapping[RowHash, Exclusion] = field(default_factory=dict)
    # Of PostgreSQL: only rows that meet this condition, under the alias t.
    condition: str = ""
    # Buckets are ranges of the key; without it they come of a hash of the key, or of the row.
    spread: Spread | None = None
    # So few rows that what would make reading many of them faster is not worth asking for.
    few: bool = False


@dataclass(frozen=True, slots=True)
class TablePair:
    """A table on both sides: the same columns, in the same order, read as the same kinds."""

    source: Scan
    target: Scan
    generation: int = 1


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table of the plan: what is created, how it is read and written, what was renamed."""

    source: Table
    target: Table
    candidates: tuple[Candidate, ...]
    # For each column, the types that its values may yet turn out to need.
    types: tuple[frozenset[str], ...]
    generation: int = 1
    rejecting: bool = False
    excluded: Mapping[RowHash, Exclusion] = field(default_factory=dict)
    # The table was there before, with a definition of its own, and keeps it.
    adopted: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    widened: tuple[Widening, ...] = ()

    @property
    def pair(self) -> TablePair:
        names = [column.name for column in self.source.columns]
        key = self.source.primary_key
        positions = tuple(names.index(name) for name in key.columns) if key else ()
        return TablePair(
            replace(
                scan_of(self.source, self._read(self.source), positions),
                rejecting=self.rejecting,
                excluded=self.excluded,
            ),
            scan_of(self.target, self._read(self.target), positions),
            self.generation,
        )

    def _read(self, side: Table) -> tuple[ReadColumn, ...]:
        return tuple(
            ReadColumn(column, candidate.kind, candidate.merges, candidate.using)
            for column, candidate in zip(side.columns, self.candidates, strict=True)
        )


def scan_of(table: Table, columns: tuple[ReadColumn, ...], key: tuple[int, ...]) -> Scan:
    """A scan of the table's ``columns``, among which ``key`` holds positions."""
    row_bytes = table.size // max(table.rows, 1)
    return Scan(table.name, columns, key, table.locator, row_bytes, table.long_columns)


@dataclass(frozen=True, slots=True)
class Example:
    """A value that did not fit, and where it stands: ``key`` as text, by column name."""

    key: tuple[tuple[str, str], ...]
    value: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One candidate of one column over some rows: how many values do not fit, and the first."""

    candidate: Candidate
    misfits: int
    examples: tuple[Example, ...] = ()

    def __add__(self, other: Finding) -> Finding:
        examples = (self.examples + other.examples)[:MAX_EXAMPLES]
        return Finding(self.candidate, self.misfits + other.misfits, examples)


@dataclass(frozen=True, slots=True)
class Survey:
    """What all values of a table say: for each of its columns, in order, the findings of the
    column's candidates, and the storage classes met."""

    findings: tuple[tuple[Finding, ...], ...]
    classes: tuple[frozenset[str], ...]

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            tuple(
                tuple(a + b for a, b in zip(mine, theirs, strict=True))
                for mine, theirs in zip(self.findings, other.findings, strict=True)
            ),
            tuple(a | b for a, b in zip(self.classes, other.classes, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class Widening:
    """A column that got a wider type than declared: how many values, and up to five of them."""

    column: str
    declared: str
    planned: str
    became: str
    count: int
    merged_classes: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """Rows that break a rule of the source which nobody enforced there.

    ``examples`` are keys of such rows, or the columns of the rule where there is no key.
    ``consequence`` says what became of the rule.
    """

    what: str
    name: str
    table: str
    rows: int
    examples: tuple[tuple[tuple[str, str], ...], ...]
    consequence: str


@dataclass(frozen=True, slots=True)
class Roles:
    """Who gets what is created: its owner ("" is whoever runs this), and who may use it."""

    owner: str = ""
    grants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restoration:
    """A statement that puts back what was set aside for the length of a load.

    ``proof`` is one that only proves what another has put back, and may fail on the rows that
    are in the condition ``breaking``, of the table under the alias t.
    """

    table: TableName
    what: str
    name: str
    statement: str
    proof: bool = False
    breaking: str = ""


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """A column of a view by its names on both sides. One that is ``approximate`` adds up doubles,
    whose last digits depend on the order of the rows."""

    source: str
    target: str
    kind: Kind
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """A view with its query in the SQL of the target."""

    source: TableName
    target: TableName
    select: str
    columns: tuple[ViewColumn, ...] = ()
    # Its rows were the same on both sides.
    compared: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """``views`` stand in an order in which they can be created."""

    tables: tuple[TablePlan, ...]
    left_behind: tuple[LeftBehind, ...] = ()
    views: tuple[ViewPlan, ...] = ()
    # Types of users' making that the target is to have as well, each after those it is made of.
    types: tuple[UserType, ...] = ()
    # Statements for a target that holds nothing else.
    settings: tuple[str, ...] = ()

    def table(self, source: TableName) -> TablePlan:
        return next(table for table in self.tables if table.source.name == source)
