"""What a database must be able to do. Each dialect is one implementation of these classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import pyarrow as pa

from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.kinds import Mask
from tableferry.model import (
    Candidate,
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    Kind,
    Range,
    ReadColumn,
    Restoration,
    Scan,
    Schema,
    Table,
    TableName,
    ViewPlan,
)
from tableferry.rejects import Reject, Stored


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a session of one side is opened, in any process: small, picklable, no connection.

    ``snapshot`` names the moment that all sessions of a run share (PostgreSQL's exported
    snapshot; "" where the database is held still in another way, or need not be). ``purpose``
    tells an administrator who looks at the server's sessions what they belong to.
    """

    address: SqliteFile | PostgresServer
    snapshot: str = ""
    purpose: str = field(default="", compare=False)
    # What the user called it, where that is not the address itself.
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.label or str(self.address)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a scan: one array a column, each of its kind's Arrow type, equally long.

    ``respelled`` counts, by column position, the values that arrive in another spelling of the
    same meaning (a date with T for a blank), or converted by a rule of the user.
    """

    columns: tuple[pa.Array, ...]
    respelled: tuple[tuple[int, int], ...] = ()
    # Rows that stood among these and were set aside.
    rejects: tuple[Reject, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    @property
    def bytes(self) -> int:
        return sum(column.nbytes for column in self.columns)


class Session(ABC):
    """One open connection that reads."""

    @abstractmethod
    def identity(self) -> str:
        """What tells this database and schema from every other, however it was addressed."""

    @abstractmethod
    def inspect(self) -> Schema:
        """Every table of the database or, in PostgreSQL, of the schema."""

    @abstractmethod
    def ranges(self, table: Table) -> tuple[Range, ...]:
        """The table cut into half-open parts of its physical order, unbounded at both ends."""

    @abstractmethod
    def read(self, scan: Scan, part: Range) -> Iterator[Batch]:
        """The rows of a range, as kinds.

        Raises MisfitFound where a value does not fit its column's kind. A row with a value of a
        storage class that the fast read would be silent about is left out instead, so that the
        ranges of a table no longer sum up to its count: whoever reads a table compares the two.
        """

    @abstractmethod
    def count(self, table: TableName) -> int:
        """The table's rows, counted without an index: a damaged one may be short of entries."""

    @abstractmethod
    def find(
        self, table: TableName, condition: str, shown: tuple[str, ...], most: int
    ) -> tuple[int, tuple[tuple[str, ...], ...]]:
        """How many rows of the table, under the alias t, meet a condition in the SQL of this
        database; and the columns ``shown`` of at most ``most`` of them, as text."""

    @abstractmethod
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """Values of a kind's Arrow type, NULL where ``misfits`` is set; see Batch.respelled."""

    array: pa.Array
    misfits: Mask | None = None
    respelled: int = 0


class Surveyor(ABC):
    """A session that can read any value as what it is, whatever its column was declared as."""

    @abstractmethod
    def survey(self, scan: Scan, part: Range) -> Iterator[tuple[ColumnValues, ...]]:
        """The rows of a range, batch by batch, one ColumnValues a column."""


class ColumnValues(ABC):
    """A batch of one column's values with their storage classes."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def misfits(self, candidate: Candidate) -> list[int]:
        """Positions of the values that do not fit the candidate."""

    @abstractmethod
    def decode(self, candidate: Candidate) -> Decoded:
        """The values as the candidate's kind."""

    @abstractmethod
    def classes(self) -> frozenset[str]:
        """The storage classes met, NULL apart."""

    @abstractmethod
    def show(self, position: int) -> str:
        """The value as text for people, with its storage class where that is not plain."""


class TargetSession(Session):
    """One open connection that also writes. Statements run in a transaction until commit."""

    @property
    @abstractmethod
    def schema(self) -> str:
        """The schema that new tables go to."""

    @abstractmethod
    def require_writable(self) -> None:
        """Raises Refused where this role may not create tables in the schema. Creates a schema
        that is not there."""

    @abstractmethod
    def lock_run(self) -> None:
        """Keeps every other run away from this target for as long as the session is open.
        Raises Refused where one is under way."""

    @abstractmethod
    def texts(self, query: str) -> list[tuple[str, ...]]:
        """The rows of a query whose columns are all text."""

    @abstractmethod
    def holds_rows(self, table: TableName) -> bool: ...

    @abstractmethod
    def referring_from_outside(self, tables: list[TableName]) -> list[str]:
        """Foreign keys of other tables that refer to one of these."""

    @abstractmethod
    def set_aside(
        self, tables: Sequence[TableName]
    ) -> tuple[tuple[str, ...], tuple[Restoration, ...]]:
        """Statements that set aside what would get in the way of a load into existing tables,
        and those that put it back."""

    @abstractmethod
    def continue_sequences(self, table: TableName, next_values: Mapping[str, int]) -> None:
        """Makes columns of an existing table that number themselves go on after their largest
        value, or with their next value where that is larger."""

    @abstractmethod
    def require_roles(self, owner: str, others: Sequence[str]) -> None:
        """Raises Refused where a role is not there, or this one may not give ``owner`` anything."""

    @abstractmethod
    def canonical(self, kind: Kind, array: pa.Array) -> pa.Array:
        """Texts as a type that only this database knows spells them. Raises DatabaseError where
        one is no value of the type, or the type would change it."""

    @abstractmethod
    def prepare_load(self) -> None:
        """Settings that make a load cheaper without making it less safe."""

    @abstractmethod
    def execute(self, statement: str) -> None: ...

    @abstractmethod
    def commit(self) -> None: ...

    @abstractmethod
    def commit_for_good(self) -> None:
        """A commit that waits until everything before it is safe on disk as well."""

    @abstractmethod
    def rollback(self) -> None: ...

    @abstractmethod
    def ingest(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> None:
        """Appends batches in the current transaction, taking the next while the server is still
        busy with the last. Raises MisfitFound before sending a value that its column would refuse
        or change, and whatever ``batches`` raises."""


class Hold(ABC):
    """Keeps one side at one moment while sessions of other processes read it."""

    endpoint: Endpoint

    @abstractmethod
    def check(self) -> None:
        """Raises SourceChanged where the moment was lost since the hold began."""


@dataclass(frozen=True, slots=True)
class Clients:
    """Who else uses a database, one phrase a client or group of alike ones, and in a sentence what
    could not be seen of them ("" where nothing was hidden)."""

    named: tuple[str, ...] = ()
    unseen: str = ""


class Statements(Protocol):
    """The statements that create and finish tables, as pure functions (a module is one)."""

    def create_schema(self, schema: str) -> str:
        """Unless it is there."""

    def create_table(self, table: Table) -> str:
        """The bare table: keys and indexes are built after the load, when that costs least."""

    def drop_tables(self, tables: Iterable[TableName]) -> str: ...

    def empty_tables(self, tables: Iterable[TableName]) -> str: ...

    def add_key(self, table: TableName, key: Key, *, primary: bool) -> str: ...

    def create_index(self, table: TableName, index: Index) -> str: ...

    def add_foreign_key(self, table: TableName, key: ForeignKey) -> str:
        """Unproven at first, so that orphans do not undo it."""

    def drop_constraint(self, table: TableName, name: str) -> str: ...

    def validate_foreign_key(self, table: TableName, key: ForeignKey) -> str: ...

    def add_identity(self, table: Table) -> str:
        """Once all tables and indexes are there."""

    def set_next_identity(self, table: Table) -> str: ...

    def add_check(self, table: TableName, check: Check) -> str: ...

    def set_default(self, table: TableName, column: Column) -> str: ...

    def create_view(self, view: ViewPlan) -> str: ...

    def drop_views(self, views: Iterable[TableName]) -> str: ...

    def drop_view_and_dependents(self, view: TableName) -> str:
        """With the views that build on it."""

    def comments(self, table: Table) -> tuple[str, ...]: ...

    def breaking_check(self, check: Check) -> str:
        """The condition of rows that break it, of the table under the alias t."""

    def breaking_foreign_key(self, key: ForeignKey) -> str: ...

    def breaking_unique(self, table: TableName, index: Index) -> str: ...

    def set_owner(self, name: TableName, role: str) -> str: ...

    def grant(self, schema: str, tables: Iterable[Table], role: str) -> tuple[str, ...]: ...

    def grant_view(self, view: TableName, role: str) -> str: ...

    def analyze(self, table: TableName) -> str: ...


class Dialect(ABC):
    """The stateless face of a database: what its types mean, and how sessions are opened."""

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    @abstractmethod
    def statements(self) -> Statements: ...

    @abstractmethod
    def size_hint(self, endpoint: Endpoint) -> int:
        """Bytes of the database, as far as they are known without opening it; else 0."""

    @abstractmethod
    def candidates(self, column: Column) -> tuple[Candidate, ...]:
        """What a column of this database may be read as, the most useful first. The last one
        fits every value that the database can hold."""

    @abstractmethod
    def demanded(self, column: Column) -> tuple[Candidate, ...]:
        """What values may be read as to go into a column of this database that is there already,
        the closest first."""

    @abstractmethod
    def values_of(self, stored: Sequence[Stored]) -> ColumnValues:
        """Values of one column that this database may have held."""

    @abstractmethod
    def type_for(self, kind: Kind) -> str:
        """The type of a new column for values of this kind."""

    @abstractmethod
    def kind_named(self, text: str) -> Kind | None:
        """The kind that a user means by the name of a type."""

    @abstractmethod
    def fit_name(self, name: str) -> str:
        """The name that a table or index of this name gets."""

    @abstractmethod
    def fit_column_name(self, name: str) -> str: ...

    @abstractmethod
    def open(self, endpoint: Endpoint) -> Session: ...

    @abstractmethod
    def clients(self, endpoint: Endpoint) -> Clients:
        """Who else uses the database, whether it is idle or not; sessions of runs like ours and
        the server's own processes are no clients."""

    @abstractmethod
    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        """Holds the database at one moment; ``locked`` keeps writers out where it can be done,
        otherwise nothing is written and no lock is taken that a writer would meet."""
