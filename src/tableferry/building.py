"""What is built on a table once its rows are there: keys, checks, indexes, foreign keys, and what
belongs to the whole: defaults, comments, views, identities.

Rows may break a rule that nobody enforced in the source. Then the rows are counted and shown, and
the rule is left out, or left unproven; what the target refuses for another reason is left behind
by name. Nothing here changes a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from tableferry.dialects.base import Endpoint, Script, TargetSession
from tableferry.errors import DatabaseError, RunFailed
from tableferry.jobs import Urgency
from tableferry.ledger import Ledger
from tableferry.model import (
    Exclusion,
    ForeignKey,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Plan,
    Restoration,
    Roles,
    RowHash,
    TablePlan,
    ViewPlan,
    Violation,
    ViolationPolicy,
)
from tableferry.naming import Destination
from tableferry.script import handing_over
from tableferry.tasks import (
    FindRows,
    HashRows,
    RunStatements,
    find_rows,
    hash_rows,
    run_statements,
)

Then: TypeAlias = Callable[[], None]

# What an object may be refused for without the data being wrong: integrity violations (23),
# values that an expression cannot take (22), statements that make no sense for the types at hand
# (42), what the server does not do (0A), limits of the server (54).
_NAMED_CLASSES = ("22", "23", "42", "0A", "54")
_BROKEN = "23"
_LEFT_OUT = "it was left out"
_UNPROVEN = "it holds for new rows only (NOT VALID)"

_Found: TypeAlias = "tuple[int, tuple[tuple[tuple[str, str], ...], ...]]"


class AddJob(Protocol):
    """Queues a job that counts for its table."""

    def __call__(
        self,
        task: Callable[[Any], Any],
        argument: Any,
        then: Callable[[Any], None],
        urgency: Urgency,
        failed: Callable[[Exception], None] | None = None,
    ) -> None: ...


# Takes rows out of a table, which is loaded again without them; answers False where they had been
# taken out before, which would be of no use a second time.
Exclude: TypeAlias = Callable[[TablePlan, Mapping[RowHash, Exclusion]], bool]


@dataclass(frozen=True, slots=True)
class _Step:
    """Statements, what they make, and which rows may be in their way.

    ``breaking`` is the condition of those rows in the target, ``original`` in the source where it
    can be told there.
    """

    script: Script
    makes: LeftBehind
    breaking: str = ""
    original: str = ""
    consequence: str = _LEFT_OUT
    # A column of the source that is part of the rule, for rows that are set aside by it.
    column: str = ""
    # What takes it away again where the two sides disagree on it.
    undo: Script = ()
    # Whether the statements themselves fail on rows that break the rule.
    proves: bool = True
    # Whether the statements may run once only: what they make must not be there.
    once: bool = True


class Building:
    """``left_behind`` and ``violations`` grow as things are built."""

    def __init__(
        self,
        ends: tuple[Endpoint, Endpoint],
        destination: Destination,
        session: TargetSession,
        policy: ViolationPolicy,
        roles: Roles,
        ledger: Ledger,
        *,
        rowless: bool = False,
        helpers: int = 0,
    ) -> None:
        self._source, self._target = ends
        # Processes of the server that help with an index, which cost more than they save where our
        # own workers keep the machine busy.
        self._helpers = helpers
        self._schema = destination.schema
        self._statements = destination.dialect.statements
        self._session = session
        self._policy = policy
        self._roles = roles
        self._ledger = ledger
        # Steps that an earlier run has done, each with the name of the target's table.
        self.marks: dict[str, str] = {}
        self._rowless = rowless
        # Where rows that break a rule are to be set aside; whoever loads tables gives it.
        self.exclude: Exclude | None = None
        # Whether rows are missing in the target, so that children may have lost their parents.
        self.rows_set_aside = False
        self.left_behind: list[LeftBehind] = []
        self.violations: list[Violation] = []

    def forget(self, table: TablePlan) -> None:
        """What was said of a table that is loaded anew."""
        name = str(table.source.name)
        self.left_behind = [left for left in self.left_behind if left.table != name]
        self.violations = [v for v in self.violations if v.table != name]
        self.marks = {s: t for s, t in self.marks.items() if t != table.target.name.name}

    # Keys and checks

    def keys(self, table: TablePlan, add: AddJob, then: Then) -> None:
        """One after the other: each wants the table for itself."""
        steps = [*self._key_steps(table), *self._check_steps(table)]

        def next_step() -> None:
            if steps:
                self._try(table, steps.pop(0), Urgency.KEYS, add, next_step)
            else:
                then()

        next_step()

    def _key_steps(self, table: TablePlan) -> Iterable[_Step]:
        source, target = table.source, table.target
        keys = []
        if source.primary_key is not None and target.primary_key is not None:
            keys.append((target.primary_key, source.primary_key, "primary key"))
        keys += [
            (key, named, "unique constraint")
            for key, named in zip(target.uniques, source.uniques, strict=True)
        ]
        for key, named, what in keys:
            yield _Step(
                self._statements.add_key(target, key, primary=what == "primary key"),
                LeftBehind(what, ", ".join(named.columns), str(source.name), ""),
                self._statements.breaking_unique(target.name, _as_index(key)),
                column=named.columns[0],
            )

    def _check_steps(self, table: TablePlan) -> Iterable[_Step]:
        for check, named in zip(table.target.checks, table.source.checks, strict=True):
            yield _Step(
                self._statements.add_check(table.target.name, check),
                LeftBehind("check", check.name, str(table.source.name), ""),
                self._statements.breaking_check(check),
                f"NOT ({named.expression})",
                column=table.source.columns[0].name,
                proves=self._statements.PROVES,
            )

    # Indexes

    def indexes(self, table: TablePlan, add: AddJob, then: Then) -> None:
        """Side by side; ``then`` follows the last one."""
        pairs = list(zip(table.target.indexes, table.source.indexes, strict=True))
        if not pairs:
            then()
            return
        remaining = itertools.count(len(pairs) - 1, -1)

        def built() -> None:
            if next(remaining) <= 0:
                then()

        for planned, named in pairs:
            self._index(table, (planned, named), add, built)

    def _index(self, table: TablePlan, pair: tuple[Index, Index], add: AddJob, then: Then) -> None:
        planned, named = pair
        step = _Step(
            self._statements.create_index(table.target.name, planned),
            LeftBehind("index", named.name, str(table.source.name), ""),
            self._statements.breaking_unique(table.target.name, planned) if planned.unique else "",
            column=named.columns[0].name or table.source.columns[0].name,
        )
        if not planned.where or self._rowless:
            self._try(table, step, Urgency.INDEX, add, then)
            return

        def counted(theirs: int, mine: int) -> None:
            if theirs == mine:
                self._try(table, step, Urgency.INDEX, add, then)
                return
            reason = (
                f"its condition holds for {mine:,} rows in the source and {theirs:,} in the target"
            )
            self.left_behind.append(replace(step.makes, reason=reason))
            then()

        self._count_both(table, (planned.where, named.where), add, counted)

    def _count_both(
        self,
        table: TablePlan,
        conditions: tuple[str, str],
        add: AddJob,
        then: Callable[[int, int], None],
    ) -> None:
        """How many rows meet the condition: in the target, and in the source."""
        target, source = conditions

        def counted(theirs: _Found) -> None:
            job = FindRows(self._source, table.source.name, source)
            add(find_rows, job, lambda mine: then(theirs[0], mine[0]), Urgency.INDEX)

        def failed(error: Exception) -> None:
            # A condition that the target cannot even evaluate is not the source's.
            _require_named(error)
            then(-1, 0)

        job = FindRows(self._target, table.target.name, target)
        add(find_rows, job, counted, Urgency.INDEX, failed)

    # Foreign keys

    def foreign_keys(self, table: TablePlan, add: AddJob) -> None:
        """Once all tables have their keys. Unproven at first: the proof runs beside others."""
        for key, named in zip(table.target.foreign_keys, table.source.foreign_keys, strict=True):
            self._foreign_key(table, (key, named), add)

    def _foreign_key(
        self, table: TablePlan, pair: tuple[ForeignKey, ForeignKey], add: AddJob
    ) -> None:
        key, named = pair
        makes = _foreign_key_of(table, key)
        if not self._built(makes, self._statements.add_foreign_key(table.target.name, key)):
            return
        step = _Step(
            self._statements.validate_foreign_key(table.target.name, key),
            makes,
            self._statements.breaking_foreign_key(key),
            # Both databases read this condition alike, each with its own equality.
            self._statements.breaking_foreign_key(named) if not self.rows_set_aside else "",
            consequence=_UNPROVEN,
            undo=self._statements.drop_foreign_key(table.target.name, key),
            proves=self._statements.PROVES,
            once=False,
        )
        self._try(table, step, Urgency.INDEX, add, lambda: None)

    def restore(self, table: TablePlan, aside: Iterable[Restoration], add: AddJob) -> None:
        """Puts back what of an adopted table was set aside: as it was, proofs included."""
        for back in aside:
            if back.table != table.target.name:
                continue
            if not back.proof:
                self._session.execute(back.statement)
                self._session.commit()
                continue
            makes = LeftBehind(back.what, back.name, str(table.source.name), "")
            proof = (back.statement,)
            step = _Step(proof, makes, back.breaking, consequence=_UNPROVEN, once=False)
            self._try(table, step, Urgency.INDEX, add, lambda: None)

    # What belongs to the whole

    def finish(self, plan: Plan) -> None:
        """Defaults, comments, views and identities. Identities come last: the server names their
        sequences, and must not take a name that another object is to get."""
        statements = self._statements
        for table in plan.tables:
            for column, named in zip(table.target.columns, table.source.columns, strict=True):
                if column.default is not None:
                    makes = LeftBehind("default", named.name, str(table.source.name), "")
                    self._built(makes, statements.set_default(table.target.name, column))
            for statement in statements.comments(table.target):
                makes = LeftBehind("comment", "", str(table.source.name), "")
                self._built(makes, (statement,))
        for view in plan.views:
            makes = LeftBehind("view", str(view.source), str(view.source), "")
            self._built(makes, statements.create_view(view))
        numbering: list[str] = []
        for table in plan.tables:
            if table.adopted:
                self._continue_sequences(table)
            elif table.target.identity is not None:
                added = statements.add_identity(table.target)
                mark = self._ledger.mark(table.target.name, added)
                if mark.step not in self.marks and mark.set(self._session):
                    numbering += added
                numbering += statements.set_next_identity(table.target)
        self._session.execute(*numbering)
        # Other sessions read what was made next.
        self._session.commit()

    def _continue_sequences(self, table: TablePlan) -> None:
        identity = table.source.identity
        names = {
            mine.name: theirs.name
            for mine, theirs in zip(table.source.columns, table.target.columns, strict=True)
        }
        nexts = {names[identity.column]: identity.next_value} if identity is not None else {}
        try:
            self._session.continue_sequences(table.target.name, nexts)
            self._session.commit()
        except DatabaseError as error:
            self._session.rollback()
            self._leave(LeftBehind("sequence", "", str(table.source.name), ""), error)

    def withdraw_view(self, view: ViewPlan, reason: str) -> None:
        """Drops a view that does not show what the source's shows, and those that build on it."""
        self._session.execute(*self._statements.drop_view_and_dependents(view.target))
        self.left_behind.append(LeftBehind("view", str(view.source), str(view.source), reason))

    def hand_over(self, plan: Plan) -> None:
        """To the roles that the user named, and names views that went with one withdrawn."""
        views = self.created(plan.views)
        # Asked only where there is a view, since it takes as long as all the rest of the end.
        there = {view.name for view in self._session.inspect_target().views} if views else set()
        for view in views:
            if view.target not in there:
                reason = "it builds on a view that is left behind"
                left = LeftBehind("view", str(view.source), str(view.source), reason)
                self.left_behind.append(left)
        made = replace(plan, views=self.created(plan.views))
        self._session.execute(*handing_over(made, self._statements, self._schema, self._roles))

    def created(self, views: Iterable[ViewPlan]) -> tuple[ViewPlan, ...]:
        """Of the views, those that the target did not refuse."""
        lost = {left.name for left in self.left_behind if left.what == "view"}
        return tuple(view for view in views if view.source.name not in lost)

    def _built(self, makes: LeftBehind, script: Script) -> bool:
        """Runs quick statements at once, in a transaction of their own."""
        try:
            self._session.execute(*script)
            self._session.commit()
        except DatabaseError as error:
            self._session.rollback()
            self._leave(makes, error)
            return False
        return True

    # Statements that rows may be in the way of

    def _try(
        self, table: TablePlan, step: _Step, urgency: Urgency, add: AddJob, then: Then
    ) -> None:
        if not step.proves:
            self._try_unproven(table, step, urgency, add, then)
            return

        def refused(error: Exception) -> None:
            _require_named(error)
            broken = isinstance(error, DatabaseError) and error.sqlstate.startswith(_BROKEN)
            if not (broken and step.breaking):
                self._leave(step.makes, error)
                then()
                return

            def found(result: _Found) -> None:
                if result[0]:
                    self._violated(table, step, result, add, then)
                else:
                    self._leave(step.makes, error)
                    then()

            job = FindRows(self._target, table.target.name, step.breaking, _shown(table))
            add(find_rows, job, found, urgency)

        self._run(table, step, urgency, add, then, refused)

    def _try_unproven(
        self, table: TablePlan, step: _Step, urgency: Urgency, add: AddJob, then: Then
    ) -> None:
        """Looks first for rows that break the rule: to add it would tell of none."""

        def found(result: _Found) -> None:
            if result[0]:
                self._violated(table, step, result, add, then)
            else:
                self._run(table, step, urgency, add, then, refused)

        def refused(error: Exception) -> None:
            self._leave(step.makes, error)
            then()

        if self._rowless:
            self._run(table, step, urgency, add, then, refused)
            return
        job = FindRows(self._target, table.target.name, step.breaking, _shown(table))
        add(find_rows, job, found, urgency, refused)

    def _run(
        self,
        table: TablePlan,
        step: _Step,
        urgency: Urgency,
        add: AddJob,
        then: Then,
        refused: Callable[[Exception], None],
    ) -> None:
        mark = self._ledger.mark(table.target.name, step.script) if step.once else None
        if not step.script or (mark is not None and mark.step in self.marks):
            then()
            return
        makes = f"{step.makes.what} {step.makes.name}".strip()
        script = (*self._statements.sort_beside(self._helpers), *step.script)
        job = RunStatements(self._target, script, f"table {table.target.name}", makes, mark)
        add(run_statements, job, lambda _: then(), urgency, refused)

    def _violated(
        self, table: TablePlan, step: _Step, found: _Found, add: AddJob, then: Then
    ) -> None:
        rows, examples = found
        if self._policy == "reject" and step.column:
            self._reject(table, step, add, lambda: self._violation_then(step, found, then))
            return

        def judged(theirs: int) -> None:
            # Of a foreign key the two may count otherwise, where storage classes were merged; it
            # is another key only where the source knows of no orphan at all.
            if theirs == 0 if step.undo else theirs != rows:
                reason = f"{rows:,} rows break it in the target, and {theirs:,} in the source"
                self.left_behind.append(replace(step.makes, reason=reason))
                if step.undo:
                    self._built(step.makes, step.undo)
            else:
                self._violation(step, rows, examples)
            then()

        if step.original:
            job = FindRows(self._source, table.source.name, step.original)
            add(find_rows, job, lambda result: judged(result[0]), Urgency.INDEX)
        else:
            judged(rows)

    def _violation_then(self, step: _Step, found: _Found, then: Then) -> None:
        self._violation(step, *found)
        then()

    def _reject(self, table: TablePlan, step: _Step, add: AddJob, otherwise: Then) -> None:
        """Takes the rows that break the rule out of the table, where that is of use."""

        def hashed(hashes: frozenset[RowHash]) -> None:
            exclusion = Exclusion(step.column, f"breaks the {step.makes.what} {step.makes.name}")
            assert self.exclude is not None
            self.rows_set_aside = True
            if not self.exclude(table, dict.fromkeys(hashes, exclusion)):
                otherwise()

        scan = replace(table.pair.target, condition=step.breaking)
        add(hash_rows, HashRows(self._target, scan), hashed, Urgency.SURVEY)

    def reject_orphans(self, table: TablePlan, add: AddJob) -> None:
        """Before there are foreign keys: takes rows out that would break one."""
        if table.adopted:
            return
        for key, named in zip(table.target.foreign_keys, table.source.foreign_keys, strict=True):
            step = _Step(
                (),
                _foreign_key_of(table, key),
                self._statements.breaking_foreign_key(key),
                self._statements.breaking_foreign_key(named),
                column=named.columns[0],
            )

            def told(found: _Found, step: _Step = step) -> None:
                # The source would know of an orphan, unless its parent was set aside just now.
                if found[0] or self.rows_set_aside:
                    self._reject(table, step, add, lambda: None)

            def counted(
                found: _Found, step: _Step = step, told: Callable[[_Found], None] = told
            ) -> None:
                if found[0]:
                    job = FindRows(self._source, table.source.name, step.original)
                    add(find_rows, job, told, Urgency.SURVEY)

            job = FindRows(self._target, table.target.name, step.breaking)
            # Where the two sides cannot even be compared, neither can the key be created.
            add(find_rows, job, counted, Urgency.SURVEY, _pass_over)

    def _violation(
        self, step: _Step, rows: int, examples: tuple[tuple[tuple[str, str], ...], ...]
    ) -> None:
        made = step.makes
        violation = Violation(made.what, made.name, made.table, rows, examples, step.consequence)
        if self._policy == "stop":
            shown = "; ".join(", ".join(f"{c} = {v}" for c, v in row) for row in examples)
            raise RunFailed(
                f"Table {made.table}: {rows:,} rows break the {made.what} {made.name}: {shown}.",
                hint="Correct them in the source, or let --violations report count them.",
            )
        self.violations.append(violation)

    def _leave(self, left: LeftBehind, error: Exception) -> None:
        """Names what the target refused; an error of another class ends the run."""
        self.left_behind.append(replace(left, reason=_require_named(error).message))


def _pass_over(error: Exception) -> None:
    _require_named(error)


def _require_named(error: Exception) -> DatabaseError:
    if not isinstance(error, DatabaseError) or error.sqlstate[:2] not in _NAMED_CLASSES:
        raise error
    return error


def _foreign_key_of(table: TablePlan, key: ForeignKey) -> LeftBehind:
    label = f"({', '.join(key.columns)}) to {key.parent}"
    return LeftBehind("foreign key", label, str(table.source.name), "")


def _as_index(key: Key) -> Index:
    return Index("", tuple(IndexColumn(column) for column in key.columns))


def _shown(table: TablePlan) -> tuple[str, ...]:
    """The columns by which a row is shown: its key, or else all."""
    key = table.target.primary_key
    return key.columns if key else tuple(column.name for column in table.target.columns)


def is_refusal_of_values(error: Exception) -> bool:
    """Whether an expression of the target's could not take a value: an overflow, a division."""
    return isinstance(error, DatabaseError) and error.sqlstate.startswith("22")
