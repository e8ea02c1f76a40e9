"""What the target itself remembers of an unfinished run.

The ledger lives in the target's schema and is gone after success. A range's line is inserted
first, under its primary key, in the transaction that brings its rows: a retry after a commit whose
answer was lost meets the line instead of doubling the rows, and a worker still busy with an older
plan generation cannot commit, since its line refers to a generation that is no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tableferry.dialects.base import RUN_TABLE, TargetSession, Writer
from tableferry.digest import Digest
from tableferry.model import Range, Restoration, TableName
from tableferry.sql import constant, quote

RUN = RUN_TABLE
TABLES = "tableferry_tables"
RANGES = "tableferry_ranges"
ASIDE = "tableferry_aside"

Standing: TypeAlias = Literal["made", "adopted", "view"]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a run has made and taken into use, and the statements that put back what it set aside,
    each with whether it only proves another."""

    made: tuple[TableName, ...]
    adopted: tuple[TableName, ...]
    views: tuple[TableName, ...]
    aside: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of one target schema."""

    schema: str

    def _name(self, table: str) -> str:
        return f"{quote(self.schema)}.{table}"

    @property
    def tables(self) -> tuple[TableName, ...]:
        return tuple(TableName(self.schema, name) for name in (RANGES, TABLES, RUN, ASIDE))

    def create(self, session: TargetSession, facts: Mapping[str, str]) -> None:
        """``facts`` says whose run it is: version, source, start, options."""
        session.execute(
            f"CREATE TABLE {self._name(RUN)} (name text PRIMARY KEY, value text NOT NULL)"
        )
        session.execute(
            f"CREATE TABLE {self._name(TABLES)} (table_name text PRIMARY KEY, "
            "generation integer NOT NULL, standing text NOT NULL, UNIQUE (table_name, generation))"
        )
        session.execute(
            f"CREATE TABLE {self._name(ASIDE)} (number integer PRIMARY KEY, "
            "statement text NOT NULL, proof boolean NOT NULL)"
        )
        session.execute(
            f"CREATE TABLE {self._name(RANGES)} (table_name text NOT NULL, "
            "generation integer NOT NULL, range_number integer NOT NULL, "
            "lower_bound bigint, upper_bound bigint, row_count bigint, digest text, "
            "PRIMARY KEY (table_name, generation, range_number), "
            "FOREIGN KEY (table_name, generation) "
            f"REFERENCES {session.reference(TableName(self.schema, TABLES))} "
            "(table_name, generation))"
        )
        for name, value in facts.items():
            session.execute(
                f"INSERT INTO {self._name(RUN)} VALUES ({constant(name)}, {constant(value)})"
            )

    def drop(self, session: TargetSession) -> None:
        for table in (RANGES, TABLES, RUN, ASIDE):
            session.execute(f"DROP TABLE IF EXISTS {self._name(table)}")

    def begin(self, table: TableName, generation: int, standing: Standing = "made") -> str:
        """The statement that opens a generation of a table, or names a view that is to be made."""
        name = constant(table.name)
        return f"INSERT INTO {self._name(TABLES)} VALUES ({name}, {generation}, '{standing}')"

    def forget(self, table: TableName) -> tuple[str, ...]:
        """The statements that take out a table's lines, before it begins anew."""
        where = f"WHERE table_name = {constant(table.name)}"
        return tuple(f"DELETE FROM {self._name(name)} {where}" for name in (RANGES, TABLES))

    def put_aside(self, session: TargetSession, restorations: Sequence[Restoration]) -> None:
        """What has to come back, whatever becomes of the run."""
        for number, back in enumerate(restorations):
            session.execute(
                f"INSERT INTO {self._name(ASIDE)} VALUES "
                f"({number}, {constant(back.statement)}, {str(back.proof).lower()})"
            )

    def unfinished(self, session: TargetSession) -> Unfinished:
        """What a run that did not end has left."""
        tables = session.texts(f"SELECT table_name, standing FROM {self._name(TABLES)} ORDER BY 1")
        aside = session.texts(
            "SELECT statement, CASE WHEN proof THEN 'true' ELSE 'false' END AS proof "
            f"FROM {self._name(ASIDE)} ORDER BY number"
        )

        def standing_as(kind: Standing) -> tuple[TableName, ...]:
            return tuple(TableName(self.schema, name) for name, found in tables if found == kind)

        return Unfinished(
            standing_as("made"),
            standing_as("adopted"),
            standing_as("view"),
            tuple((statement, proof == "true") for statement, proof in aside),
        )

    def claim(self, session: Writer, table: TableName, generation: int, part: Range) -> None:
        """The range's line, before its rows. Fails where the line or a newer plan is there."""
        bounds = ", ".join("NULL" if b is None else str(b) for b in (part.lower, part.upper))
        session.execute(
            f"INSERT INTO {self._name(RANGES)} VALUES "
            f"({constant(table.name)}, {generation}, {part.number}, {bounds}, NULL, NULL)"
        )

    def record(self, session: Writer, table: TableName, part: Range, brought: Digest) -> None:
        session.execute(
            f"UPDATE {self._name(RANGES)} SET row_count = {brought.rows}, "
            f"digest = {constant(brought.hex())} "
            f"WHERE table_name = {constant(table.name)} AND range_number = {part.number}"
        )
