"""What a database must be able to do. Each dialect is one implementation of these classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, Self, TypeAlias

import pyarrow as pa

from tableferry.addresses import PostgresServer, SqliteFile
from tableferry.kinds import Mask
from tableferry.model import (
    Candidate,
    Check,
    Column,
    Expression,
    ForeignKey,
    Index,
    Key,
    Kind,
    LeftBehind,
    Numbering,
    Range,
    ReadColumn,
    Restoration,
    Scan,
    Schema,
    Table,
    TableName,
    TablePart,
    UserType,
    ViewPlan,
)
from tableferry.rejects import Reject, Stored
from tableferry.sql import qualified

# The table by which an unfinished run is known; see ledger.py.
RUN_TABLE = "tableferry_run"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a session of one side is opened, in any process: small, picklable, no connection.

    ``snapshot`` names the moment that all sessions of a run share (PostgreSQL's exported
    snapshot; "" where the database is held still in another way, or need not be). ``run`` is the
    run's name, which tells an administrator who looks at the server's sessions what they belong to.
    """

    address: SqliteFile | PostgresServer
    snapshot: str = ""
    run: str = field(default="", compare=False)
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

    def covers(self, identity: str) -> bool:
        """Whether what this address means has the database of that identity in it."""
        return self.identity() == identity

    @abstractmethod
    def inspect(self) -> Schema:
        """Everything that the address covers, to be carried or to be named as left behind: the
        whole database or, in PostgreSQL, the one schema where the address names one."""

    def inspect_target(self) -> Schema:
        """What stands where new tables go, just as it is; nothing in it is left behind."""
        return self.inspect()

    @abstractmethod
    def numbered(self, tables: Iterable[Table]) -> Mapping[TableName, tuple[Numbering, ...]]:
        """What numbers columns of a target's tables, of which nothing is taken."""

    @abstractmethod
    def spelled(self, table: Table, expressions: Sequence[Expression]) -> tuple[str | None, ...]:
        """Each expression over a target's table in this database's own spelling, so that two are
        spelled alike where it takes them for one; "" for a default that is none but NULL. None
        where it makes no sense for this table. Nothing is written, and no row is read: only what
        is on the lists of expressions may be asked."""

    @abstractmethod
    def require_readable(self, tables: Iterable[Table]) -> None:
        """Raises Refused where this role may not read every row of one of these."""

    @abstractmethod
    def ranges(self, table: Table) -> tuple[Range, ...]:
        """The table cut into half-open parts of its physical order, unbounded at both ends."""

    @abstractmethod
    def key_ends(self, table: TableName, column: str, skipped: int) -> tuple[int, int] | None:
        """The values of an integer column that have so many rows below and above them; None where
        there are too few rows, or other values."""

    @abstractmethod
    def read(self, scan: Scan, part: TablePart) -> Iterator[Batch]:
        """The rows of a part, as kinds. A range of keys may be found by an index: whoever reads
        one checks that all of its rows came.

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

    def canonical(self, kind: Kind, array: pa.Array) -> pa.Array:
        """Texts as a type that only this database knows spells them; where it knows none, as they
        are. Raises DatabaseError where one is no value of the type, or the type would change it."""
        return array

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
    def survey(self, scan: Scan, part: TablePart) -> Iterator[tuple[ColumnValues, ...]]:
        """The rows of a part, batch by batch, one ColumnValues a column."""


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


class Writer(ABC):
    """One open connection that writes. Statements run in a transaction until commit."""

    @abstractmethod
    def prepare_load(self) -> None:
        """Settings that make a load cheaper without making it less safe."""

    @abstractmethod
    def execute(self, *statements: str) -> None:
        """One after the other, in the current transaction."""

    @abstractmethod
    def commit(self) -> None: ...

    @abstractmethod
    def commit_for_good(self) -> None:
        """A commit that waits until everything before it is safe on disk as well."""

    @abstractmethod
    def rollback(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class Loader(Writer):
    """A writer that appends rows."""

    @abstractmethod
    def ingest(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> None:
        """Appends batches in the current transaction, taking the next while the server is still
        busy with the last. Raises MisfitFound before sending a value that its column would refuse
        or change, and whatever ``batches`` raises."""


class TargetSession(Session, Writer):
    """One open connection that reads and writes, but loads no rows."""

    @property
    @abstractmethod
    def schema(self) -> str:
        """The schema that new tables go to."""

    def reference(self, table: TableName) -> str:
        """A table as a foreign key names it."""
        return qualified(table)

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


class Gatherer(ABC):
    """What else a loader can do where one at a time can write; see Dialect.one_writer."""

    @abstractmethod
    def write_apart(
        self, table: TableName, columns: tuple[ReadColumn, ...], batches: Iterator[Batch]
    ) -> str:
        """As ingest(), but in a place of its own, whose name it answers."""

    @abstractmethod
    def gathering(self, place: str) -> AbstractContextManager[None]:
        """What was written apart within reach of gather(), and gone afterwards."""

    @abstractmethod
    def gather(self, table: TableName, columns: tuple[ReadColumn, ...]) -> None:
        """Appends it, in the current transaction."""


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """New values for some columns of rows that are there, one of each a row; ``places`` holds what
    Repairer.places() told to read of them. ``again``: later changes of the same rows name them by
    the same places."""

    places: tuple[pa.Array, ...]
    columns: tuple[ReadColumn, ...]
    batch: Batch
    again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Delete:
    places: tuple[pa.Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Insert:
    columns: tuple[ReadColumn, ...]
    batch: Batch


Change: TypeAlias = Update | Delete | Insert


class Repairer(TargetSession):
    """A session that changes single rows of tables that are in use, where they stand."""

    @abstractmethod
    def require_repairable(self, needs: Mapping[TableName, Sequence[str]]) -> None:
        """Raises Refused where this role may not do to a table what it ``needs``: "INSERT",
        "UPDATE" or "DELETE"."""

    @abstractmethod
    def places(self, table: Table) -> tuple[ReadColumn, ...]:
        """Columns that tell rows apart for as long as a transaction locks them. Raises Refused
        where there are none."""

    @abstractmethod
    def replaces(self, table: TableName) -> bool:
        """Whether a row may go and come back with other values: nothing hangs on it."""

    @abstractmethod
    def begin_repair(self, table: TableName) -> None:
        """Until the transaction ends, no one else writes to the table, and none of its triggers
        fires."""

    @abstractmethod
    def apply(self, table: TableName, changes: Sequence[Change]) -> None:
        """All of these in their order, or nothing: raises DatabaseError where the database says no
        or has changed another number of rows, and MisfitFound as ingest() does. Rows that hang on
        one that is to go never go with it: that is a no as well."""

    @abstractmethod
    def end_repair(self) -> None:
        """Puts the triggers back and commits."""


@contextmanager
def closed_on_error(batches: Iterator[Batch]) -> Iterator[None]:
    """Ends the reading at once where an error ends the writing, while what is read from is still
    open."""
    try:
        yield
    except BaseException:
        if isinstance(batches, Generator):
            batches.close()
        raise


class Stage(ABC):
    """Where a run writes, until all of it is verified; opened around a run, which it keeps every
    other run away from where it can.

    ``endpoint`` is what workers write to. ``unfinished`` tells that an earlier run has left
    something there that its tables do not show. Where it ``publishes``, the target is another
    thing than what is written, until the end: the ledger is needed as long.
    """

    endpoint: Endpoint
    unfinished: bool = False
    publishes: bool = False

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Leaves what was written, unless it never came to that."""

    @abstractmethod
    def open(self) -> TargetSession:
        """The one session that also looks at what is there already."""

    @abstractmethod
    def discard(self) -> None:
        """Gives up what an earlier run has left."""

    @abstractmethod
    def publish(self, ending: Sequence[str] = ()) -> None:
        """Everything is verified, and no session open: from here on it is the target. Where it
        ``publishes``, ``ending`` is run as late as can be; it takes the ledger out."""

    def moment(self) -> str:
        """What tells whether that has changed which was there already and stays; "" where a run
        leaves it in its place."""
        return ""

    @abstractmethod
    def require_sound(self) -> None:
        """Asked where the machine has gone down since a run that goes on. Raises Refused where what
        it had written may have been torn, and was."""

    def withheld(self) -> str:
        """A sentence on where that stands which was written and is not published; "" where it is
        the target itself."""
        return ""


class Hold(ABC):
    """Keeps one side at one moment while sessions of other processes read it."""

    endpoint: Endpoint
    # Sentences on what the database has brought in order by itself when it was opened.
    recovered: tuple[str, ...] = ()

    @abstractmethod
    def check(self) -> None:
        """Raises SourceChanged where the moment was lost since the hold began."""


# Statements that are run one after the other; none where there is nothing to do.
Script: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clients:
    """Who else uses a database, one phrase a client or group of alike ones, and in a sentence what
    could not be seen of them ("" where nothing was hidden)."""

    named: tuple[str, ...] = ()
    unseen: str = ""


class Statements(Protocol):
    """The statements that create and finish tables, as pure functions (a module is one)."""

    # Whether adding a check, or proving a foreign key, fails on rows that break it; otherwise
    # whoever adds one looks for such rows.
    PROVES: bool

    def create_schema(self, schema: str) -> Script:
        """Unless it is there."""

    def define(self, table: Table) -> Script:
        """The table with its keys, checks and indexes, and with its foreign keys where the
        database has no way to add them later."""

    def create_type(self, made: UserType) -> Script:
        """Unless one of its name is there."""

    def create_table(self, table: Table) -> Script:
        """The bare table: keys and indexes are built after the load, when that costs least."""

    def drop_tables(self, tables: Iterable[TableName]) -> Script: ...

    def empty_tables(self, tables: Iterable[TableName]) -> Script: ...

    def add_key(self, table: Table, key: Key, *, primary: bool) -> Script: ...

    def create_index(self, table: TableName, index: Index) -> Script: ...

    def sort_beside(self, processes: int) -> Script:
        """How many processes of the server may help in building an index, in this transaction."""

    def add_foreign_key(self, table: TableName, key: ForeignKey) -> Script:
        """Unproven at first, so that orphans do not undo it."""

    def drop_foreign_key(self, table: TableName, key: ForeignKey) -> Script:
        """Where it is there."""

    def validate_foreign_key(self, table: TableName, key: ForeignKey) -> Script: ...

    def add_identity(self, table: Table) -> Script:
        """Once all tables and indexes are there."""

    def set_next_identity(self, table: Table) -> Script: ...

    def add_check(self, table: TableName, check: Check) -> Script: ...

    def set_default(self, table: TableName, column: Column) -> Script: ...

    def create_view(self, view: ViewPlan) -> Script: ...

    def drop_views(self, views: Iterable[TableName]) -> Script: ...

    def drop_view_and_dependents(self, view: TableName) -> Script:
        """With the views that build on it."""

    def comments(self, table: Table) -> Script: ...

    def breaking_check(self, check: Check) -> str:
        """The condition of rows that break it, of the table under the alias t."""

    def breaking_foreign_key(self, key: ForeignKey) -> str: ...

    def breaking_unique(self, table: TableName, index: Index) -> str: ...

    def set_owner(self, name: TableName, role: str) -> Script: ...

    def grant(self, schema: str, tables: Iterable[Table], role: str) -> Script: ...

    def grant_view(self, view: TableName, role: str) -> Script: ...

    def analyze(self, tables: Sequence[TableName]) -> Script: ...


class Dialect(ABC):
    """The stateless face of a database: what its types mean, and how sessions are opened."""

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    @abstractmethod
    def statements(self) -> Statements: ...

    @abstractmethod
    def size_hint(self, endpoint: Endpoint) -> int:
        """Bytes of the database's tables, roughly; 0 where there is no database."""

    @abstractmethod
    def free_space(self, endpoint: Endpoint, replaced: Sequence[TableName]) -> int | None:
        """Bytes that a run may still write into a database, where ``replaced`` are its tables that
        may go; None where nobody can say."""

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

    def own_candidates(self, column: Column) -> tuple[Candidate, ...]:
        """What a column may be read as on its way to a column of the same type, in another
        database of this dialect."""
        return self.candidates(column)

    def takes(self, kind: Kind) -> bool:
        """Whether a new column can hold every value of this kind, as other databases have them."""
        return True

    def keeps(self, column: Column, kind: Kind) -> bool:
        """Whether a column that is there already keeps values of this kind as they are stored."""
        return True

    def fit_table(self, table: Table, *, copied: bool) -> Table:
        """A new table with what only this database says of it, such as how its rows are found;
        ``copied``: of one of this dialect, with the types that it has there."""
        return table

    def unkept(self, table: Table) -> Iterable[LeftBehind]:
        """What a new table does not keep of one of another database of this dialect, where its
        catalog does not tell."""
        return ()

    def view_column(self, name: str, kind: Kind) -> ReadColumn:
        """How a column of a view is read as a kind."""
        return ReadColumn(Column(name, ""), kind)

    def moved(self, declared: str, name: TableName, schema: str) -> str:
        """A type of a user's making, or an array of it, as it is written in another schema."""
        return declared

    def affinity(self, column: Column) -> str:
        """What SQLite's rules make of a column's declaration; "" where there are none such."""
        return ""

    def bounded_by(self, table: Table) -> str:
        """The column whose values are what ranges of the table are cut by; "" where none is."""
        return ""

    def numbers(self, table: Table) -> bool:
        """Whether the column of a new table's identity can number itself."""
        return True

    # Whether a column holds nothing but what its type says.
    typed: ClassVar[bool] = True
    # Whether two keys of the same columns are two.
    twin_keys: ClassVar[bool] = True
    # The schema of tables where none is named.
    home: ClassVar[str]
    # Whether one session at a time can write; then workers write apart, and it is gathered.
    one_writer: ClassVar[bool] = False

    # What open_loader() imports, for a process that has nothing else to do yet.
    loader_modules: ClassVar[tuple[str, ...]] = ()

    def alike(self, name: str) -> str:
        """What two names have in common that this database takes for one."""
        return name

    @abstractmethod
    def open(self, endpoint: Endpoint) -> Session: ...

    @abstractmethod
    def open_target(self, endpoint: Endpoint) -> TargetSession:
        """A session that writes what others may be writing as well."""

    @abstractmethod
    def open_loader(self, endpoint: Endpoint) -> Loader:
        """A connection that loads rows into a target, beside others that do."""

    def look(self, endpoint: Endpoint) -> TargetSession | None:
        """A session that only looks at a target; None where there is none yet."""
        return self.open_target(endpoint)

    @abstractmethod
    def stage(self, endpoint: Endpoint) -> Stage: ...

    @abstractmethod
    def open_repairer(self, endpoint: Endpoint) -> Repairer: ...

    @abstractmethod
    def lock_in_place(self, endpoint: Endpoint) -> AbstractContextManager[None]:
        """Keeps every other run away from a target that is written where it stands. Raises Refused
        where one is under way or unfinished, or this user may not write there."""

    @abstractmethod
    def clients(self, endpoint: Endpoint) -> Clients:
        """Who else uses the database, whether it is idle or not; sessions of runs like ours and
        the server's own processes are no clients."""

    @abstractmethod
    def hold(self, endpoint: Endpoint, *, locked: bool) -> AbstractContextManager[Hold]:
        """Holds the database at one moment; ``locked`` keeps writers out where it can be done,
        otherwise nothing is written and no lock is taken that a writer would meet."""
