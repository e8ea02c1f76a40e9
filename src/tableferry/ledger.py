"""What the target itself remembers of an unfinished run.

The ledger lives in the target's schema and is gone after success. A range's line is inserted
first, under its primary key, in the transaction that brings its rows: a retry after a commit whose
answer was lost meets the line instead of doubling the rows, and a worker still busy with an older
plan generation cannot commit, since its line refers to a generation that is no more. What else may
be done once only, such as building a key, leaves a mark in its own transaction, and is known by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import xxhash

from tableferry.dialects.base import RUN_TABLE, TargetSession, Writer
from tableferry.digest import Digest
from tableferry.errors import DatabaseError
from tableferry.model import Range, Restoration, TableName
from tableferry.sql import constant, quote

RUN = RUN_TABLE
TABLES = "tableferry_tables"
RANGES = "tableferry_ranges"
ASIDE = "tableferry_aside"
STEPS = "tableferry_steps"
# Each before those that it refers to.
_ALL = (RANGES, TABLES, RUN, ASIDE, STEPS)

# The integrity violation that says that a line is there (SQLSTATE, PostgreSQL appendix A).
_THERE = "23505"

Standing: TypeAlias = Literal["made", "adopted", "view"]


@dataclass(frozen=True, slots=True)
class Begun:
    """A table that a run has begun, or a view that it is to make: under which generation, and the
    fingerprint of how it was planned."""

    name: TableName
    generation: int
    standing: Standing
    plan: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A range whose rows have arrived, and what they were when they were read."""

    part: Range
    digest: Digest


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a run has begun, and the statements that put back what it set aside."""

    begun: tuple[Begun, ...]
    aside: tuple[Restoration, ...]

    def _standing_as(self, kind: Standing) -> tuple[TableName, ...]:
        return tuple(each.name for each in self.begun if each.standing == kind)

    @property
    def made(self) -> tuple[TableName, ...]:
        return self._standing_as("made")

    @property
    def adopted(self) -> tuple[TableName, ...]:
        return self._standing_as("adopted")

    @property
    def views(self) -> tuple[TableName, ...]:
        return self._standing_as("view")


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of one target schema."""

    schema: str

    def _name(self, table: str) -> str:
        return f"{quote(self.schema)}.{table}"

    def create(self, session: TargetSession, facts: Mapping[str, str]) -> None:
        """``facts`` says whose run it is: version, source, start, options."""
        session.execute(
            f"CREATE TABLE {self._name(RUN)} (name text PRIMARY KEY, value text NOT NULL)"
        )
        session.execute(
            f"CREATE TABLE {self._name(TABLES)} (table_name text PRIMARY KEY, "
            "generation integer NOT NULL, standing text NOT NULL, plan text NOT NULL, "
            "UNIQUE (table_name, generation))"
        )
        session.execute(
            f"CREATE TABLE {self._name(ASIDE)} (number integer PRIMARY KEY, "
            "table_name text NOT NULL, what text NOT NULL, name text NOT NULL, "
            "statement text NOT NULL, proof text NOT NULL, breaking text NOT NULL)"
        )
        session.execute(
            f"CREATE TABLE {self._name(STEPS)} (step text PRIMARY KEY, table_name text NOT NULL)"
        )
        session.execute(
            f"CREATE TABLE {self._name(RANGES)} (table_name text NOT NULL, "
            "generation integer NOT NULL, range_number integer NOT NULL, "
            "lower_bound bigint, upper_bound bigint, row_count bigint, digest text, "
            "PRIMARY KEY (table_name, generation, range_number), "
            "FOREIGN KEY (table_name, generation) "
            f"REFERENCES {session.reference(TableName(self.schema, TABLES))} "
            "(table_name, generation) ON UPDATE CASCADE)"
        )
        for name, value in facts.items():
            session.execute(
                f"INSERT INTO {self._name(RUN)} VALUES ({constant(name)}, {constant(value)})"
            )

    @property
    def ending(self) -> tuple[str, ...]:
        """The statements after which nothing of it is left."""
        return tuple(f"DROP TABLE IF EXISTS {self._name(table)}" for table in _ALL)

    def drop(self, session: TargetSession) -> None:
        session.execute(*self.ending)

    def begin(self, begun: Begun) -> str:
        """The statement that opens a generation of a table, or names a view that is to be made."""
        name, plan = constant(begun.name.name), constant(begun.plan)
        return (
            f"INSERT INTO {self._name(TABLES)} "
            f"VALUES ({name}, {begun.generation}, '{begun.standing}', {plan})"
        )

    def forget(self, table: TableName) -> tuple[str, ...]:
        """The statements that take out a table's lines, before it begins anew."""
        where = f"WHERE table_name = {constant(table.name)}"
        return tuple(f"DELETE FROM {self._name(name)} {where}" for name in (RANGES, TABLES, STEPS))

    def put_aside(self, session: TargetSession, restorations: Sequence[Restoration]) -> None:
        """What has to come back, whatever becomes of the run; instead of what was to before."""
        session.execute(f"DELETE FROM {self._name(ASIDE)}")
        for number, back in enumerate(restorations):
            proof = "yes" if back.proof else ""
            texts = (back.table.name, back.what, back.name, back.statement, proof, back.breaking)
            session.execute(
                f"INSERT INTO {self._name(ASIDE)} VALUES "
                f"({number}, {', '.join(map(constant, texts))})"
            )

    def facts(self, session: TargetSession) -> dict[str, str]:
        """Whose run it is, as create() was told."""
        return _pairs(session.texts(f"SELECT name, value FROM {self._name(RUN)}"))

    def unfinished(self, session: TargetSession) -> Unfinished:
        """What a run that did not end has left."""
        tables = session.texts(
            "SELECT table_name, CAST(generation AS text) AS generation, standing, plan "
            f"FROM {self._name(TABLES)} ORDER BY 1"
        )
        aside = session.texts(
            "SELECT table_name, what, name, statement, proof, breaking "
            f"FROM {self._name(ASIDE)} ORDER BY number"
        )
        return Unfinished(
            tuple(
                Begun(TableName(self.schema, name), int(number), _standing(standing), plan)
                for name, number, standing, plan in tables
            ),
            tuple(
                Restoration(
                    TableName(self.schema, table), what, name, statement, bool(proof), breaking
                )
                for table, what, name, statement, proof, breaking in aside
            ),
        )

    def take_up(self, session: TargetSession) -> None:
        """Makes the run this session's own: who is still busy with what it was before comes too
        late from here on, or is waited for. Lines and rows stay."""
        session.execute(f"UPDATE {self._name(TABLES)} SET generation = generation + 1")
        # Where foreign keys are in force, they have seen to it by now.
        ranges, tables = self._name(RANGES), self._name(TABLES)
        session.execute(
            f"UPDATE {ranges} SET generation = (SELECT t.generation FROM {tables} t "
            f"WHERE t.table_name = {RANGES}.table_name)"
        )

    def recorded(self, session: TargetSession) -> dict[TableName, tuple[Recorded, ...]]:
        """The ranges that have arrived, in the order of their numbers."""
        number = "coalesce(CAST({} AS text), '') AS {}"
        names = ("range_number", "lower_bound", "upper_bound", "row_count")
        numbers = ", ".join(number.format(name, name) for name in names)
        found: dict[TableName, list[Recorded]] = {}
        for name, which, lower, upper, rows, digest in session.texts(
            f"SELECT table_name, {numbers}, digest FROM {self._name(RANGES)} "
            f"WHERE digest IS NOT NULL ORDER BY table_name, {RANGES}.range_number"
        ):
            bounds = (int(bound) if bound else None for bound in (lower, upper))
            line = Recorded(Range(int(which), *bounds), Digest(int(rows), int(digest, 16)))
            found.setdefault(TableName(self.schema, name), []).append(line)
        return {table: tuple(lines) for table, lines in found.items()}

    def claim(self, session: Writer, table: TableName, generation: int, part: Range) -> bool:
        """The range's line, before its rows; answers False where it is there, and with it the rows,
        and then gives the transaction up. Raises DatabaseError where a newer plan is there."""
        bounds = ", ".join("NULL" if b is None else str(b) for b in (part.lower, part.upper))
        name = constant(table.name)
        # Where foreign keys are not in force, NOT NULL is.
        current = (
            f"(SELECT generation FROM {self._name(TABLES)} "
            f"WHERE table_name = {name} AND generation = {generation})"
        )
        return _inserted(
            session,
            f"INSERT INTO {self._name(RANGES)} VALUES "
            f"({name}, {current}, {part.number}, {bounds}, NULL, NULL)",
        )

    def disclaim(self, table: TableName, part: Range) -> str:
        """The statement that takes a range's line out."""
        where = f"table_name = {constant(table.name)} AND range_number = {part.number}"
        return f"DELETE FROM {self._name(RANGES)} WHERE {where}"

    def record(self, session: Writer, table: TableName, part: Range, brought: Digest) -> None:
        session.execute(
            f"UPDATE {self._name(RANGES)} SET row_count = {brought.rows}, "
            f"digest = {constant(brought.hex())} "
            f"WHERE table_name = {constant(table.name)} AND range_number = {part.number}"
        )

    def mark(self, table: TableName, script: Sequence[str]) -> Mark:
        """Of a script that may run once on a table."""
        return Mark(self._name(STEPS), step_of(script), table.name)

    def unmark(self, script: Sequence[str]) -> str:
        """The statement that takes the mark away."""
        return f"DELETE FROM {self._name(STEPS)} WHERE step = {constant(step_of(script))}"

    def marks(self, session: TargetSession) -> dict[str, str]:
        """The steps that are marked, see step_of(), each with its table's name."""
        return _pairs(session.texts(f"SELECT step, table_name FROM {self._name(STEPS)}"))


@dataclass(frozen=True, slots=True)
class Mark:
    """What says that a step was done: set in the transaction that does it, before all else."""

    into: str
    step: str
    table: str

    def set(self, session: Writer) -> bool:
        """Answers False where it is there, and then gives the transaction up."""
        values = f"{constant(self.step)}, {constant(self.table)}"
        return _inserted(session, f"INSERT INTO {self.into} VALUES ({values})")


def both_of(before: Iterable[Restoration], now: Iterable[Restoration]) -> tuple[Restoration, ...]:
    """What has to come back of what was set aside before and is now; of the same thing as it is by
    now: somebody may have put it back by hand, in words of their own."""
    found = {(each.table, each.what, each.name, each.proof): each for each in (*before, *now)}
    return tuple(found.values())


def step_of(script: Sequence[str]) -> str:
    """What tells a script from every other: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest("\0".join(script).encode(errors="surrogatepass"))


def _inserted(session: Writer, statement: str) -> bool:
    try:
        session.execute(statement)
    except DatabaseError as error:
        if error.sqlstate != _THERE:
            raise
        session.rollback()
        return False
    return True


def _pairs(lines: Sequence[tuple[str, ...]]) -> dict[str, str]:
    return {line[0]: line[1] for line in lines}


def _standing(text: str) -> Standing:
    found: dict[str, Standing] = {"made": "made", "adopted": "adopted", "view": "view"}
    return found[text]
