"""In what a target's schema is another than a migration would make of the source's. Pure.

Rules are matched by what they say and never by their names, since every tool names them otherwise:
a key by its columns in order, an index by its terms, a foreign key by its pairs of columns, its
parent and what it does, an expression as the target itself spells it (Session.spelled). Types are
not compared: values are, by their kinds. docs/verification.md says what is compared and what not.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from tableferry.model import (
    Check,
    Column,
    Expression,
    ForeignKey,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Numbering,
    Table,
    TablePlan,
)
from tableferry.outcomes import Drift, DriftOf
from tableferry.sql import fold

# What each expression of the two tables is to the target; a text that is on no list stands for
# itself.
Spelled: TypeAlias = Mapping[Expression, str]

_ORDER = ("missing", "different", "extra")


@dataclass(frozen=True, slots=True)
class Standing:
    """A table that is planned and there, both under the names that it has in the target;
    ``numbered`` by column. What ``left`` names by kind and name, a migration leaves behind: that
    the target has it all the same is no drift."""

    plan: TablePlan
    found: Table
    numbered: Mapping[str, Numbering] = field(default_factory=dict)
    spelled: Spelled = field(default_factory=dict)
    left: frozenset[tuple[str, str]] = frozenset()

    @property
    def name(self) -> str:
        return str(self.plan.source.name)


def left_of(table: str, left_behind: Iterable[LeftBehind]) -> frozenset[tuple[str, str]]:
    return frozenset((item.what, fold(item.name)) for item in left_behind if item.table == table)


def expressions_of(table: Table, types: Mapping[str, str]) -> Iterator[Expression]:
    """Every expression of a table, over columns that are of these types in the target."""
    for column in table.columns:
        if column.name in types:
            yield from _of_column(column, types[column.name])
    for check in table.checks:
        yield Expression(check.expression)
    for index in table.indexes:
        yield from (Expression(term.expression) for term in index.columns if term.expression)
        if index.where:
            yield Expression(index.where)


def _of_column(column: Column, type_: str) -> Iterator[Expression]:
    if column.default is not None:
        yield Expression(column.default, type_, default=True)
    if column.generated:
        yield Expression(column.generated, type_)


def between(standing: Standing) -> Iterator[Drift]:
    """All that differs of one table."""
    yield from _columns(standing)
    yield from _identity(standing)
    source, target, found = standing.plan.source, standing.plan.target, standing.found
    mine = [_key_of(*each, standing) for each in _keys(target, source)]
    theirs = [_key_of(*each, standing) for each in _keys(found, found)]
    yield from _matched(standing, mine, theirs)
    yield from _matched(
        standing,
        [_foreign_key(*pair) for pair in _pairs(target.foreign_keys, source.foreign_keys)],
        [_foreign_key(key, key) for key in found.foreign_keys],
    )
    yield from _matched(
        standing,
        [_check(*pair, standing) for pair in _pairs(target.checks, source.checks)],
        [_check(check, check, standing) for check in found.checks],
    )


def in_order(drift: Iterable[Drift]) -> tuple[Drift, ...]:
    """What is missing first, what is only in the target last."""
    return tuple(sorted(drift, key=lambda each: _ORDER.index(each.state)))


def extra_table(table: Table) -> Drift:
    columns = ", ".join(column.name for column in table.columns)
    return Drift(str(table.name), "table", table.name.name, "extra", target=f"a table of {columns}")


def missing_view(source: str, target: str) -> Drift:
    return Drift(source, "view", source, "missing", source=f"a view {target}")


def extra_view(name: str) -> Drift:
    return Drift(name, "view", name, "extra", target="a view")


# ---- columns -------------------------------------------------------------------------------------


def _columns(standing: Standing) -> Iterator[Drift]:
    plan, found = standing.plan, standing.found
    there = {column.name: column for column in found.columns}
    planned = {column.name for column in plan.target.columns}
    for mine, column in _pairs(plan.source.columns, plan.target.columns):
        if column.name in there:
            yield from _column(standing, mine, column, there[column.name])
    for name, column in there.items():
        if name not in planned:
            required = _is_required(found, column)
            needs = required and column.default is None and name not in standing.numbered
            declared = column.declared or "a column of no type"
            text = declared + " NOT NULL" * required + ", and no default" * needs
            yield Drift(standing.name, "column", name, "extra", target=text)


def _column(standing: Standing, mine: Column, planned: Column, found: Column) -> Iterator[Drift]:
    def drift(what: DriftOf, ours: str, theirs: str) -> Iterator[Drift]:
        state = _state(ours, theirs)
        if state == "extra" and (what, fold(mine.name)) in standing.left:
            return
        yield Drift(standing.name, what, planned.name, state, ours, theirs)

    required = _is_required(standing.plan.target, planned), _is_required(standing.found, found)
    if required[0] != required[1]:
        yield from drift("not null", *("NOT NULL" * each for each in required))
    if planned.collation != found.collation:
        yield from drift("collation", planned.collation, found.collation)
    generated = planned.generated, found.generated
    if _differ(standing, *(Expression(text, found.declared) for text in generated)):
        yield from drift("generated column", *(_as(text) for text in generated))
    if found.name not in standing.numbered:
        defaults = planned.default or "", found.default or ""
        if _differ(standing, *(Expression(text, found.declared, True) for text in defaults)):
            yield from drift("default", *defaults)


def _state(ours: str, theirs: str) -> Literal["missing", "different", "extra"]:
    return "different" if ours and theirs else "missing" if ours else "extra"


def _as(text: str) -> str:
    return f"AS ({text})" if text else ""


def _differ(standing: Standing, mine: Expression, theirs: Expression) -> bool:
    return _spelling(standing, mine) != _spelling(standing, theirs)


def _spelling(standing: Standing, expression: Expression) -> str:
    return standing.spelled.get(expression, expression.text)


def _is_required(table: Table, column: Column) -> bool:
    """A column that numbers itself holds no NULL, whatever its definition says: a rowid, or one
    that PostgreSQL marks so."""
    numbered = table.identity is not None and table.identity.column == column.name
    return numbered or not column.nullable


# ---- what the next row is numbered by ------------------------------------------------------------


def _identity(standing: Standing) -> Iterator[Drift]:
    source, target = standing.plan.source, standing.plan.target
    planned = target.identity
    names = {theirs.name: mine.name for mine, theirs in _pairs(source.columns, target.columns)}
    for column, numbering in standing.numbered.items():
        if planned is not None and planned.column == column:
            continue
        left = ("identity", fold(names.get(column, column))) in standing.left
        if column in names and not (numbering.natural or left):
            yield Drift(standing.name, "identity", column, "extra", target=_next(numbering))
    if planned is None or all(c.name != planned.column for c in standing.found.columns):
        return
    ours = f"next value {planned.next_value}"
    there = standing.numbered.get(planned.column)
    if there is None:
        text = "nothing numbers it"
        yield Drift(standing.name, "identity", planned.column, "missing", ours, text)
    elif there.next_value is not None and not planned.estimated:
        # After the largest value, where the source itself would have given one that is taken.
        after = max(planned.next_value, (there.largest or 0) + 1)
        if there.next_value not in (planned.next_value, after):
            yield Drift(standing.name, "identity", planned.column, "different", ours, _next(there))


def _next(numbering: Numbering) -> str:
    if numbering.next_value is None:
        return "numbers itself"
    text = f"next value {numbering.next_value}"
    if numbering.largest is not None and numbering.next_value <= numbering.largest:
        text += f", which may be taken: the largest value there is {numbering.largest}"
    return text


def not_asked(standing: Standing) -> bool:
    """Whether the next values of the two sides could not be compared, since one may not be read."""
    planned = standing.plan.target.identity
    there = standing.numbered.get(planned.column) if planned is not None else None
    if planned is None or there is None:
        return False
    return there.next_value is None or planned.estimated


# ---- rules ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """``says`` is what it is matched by, or instead anything of ``served_by``, which says as much
    and more. ``clauses`` change it. Two rules that are of one kind and ``like`` are two versions
    of one, if not the same."""

    what: DriftOf
    name: str
    text: str
    says: Hashable
    served_by: tuple[Hashable, ...] = ()
    clauses: frozenset[str] = frozenset()
    like: Hashable = None
    # By what else a list of what was left behind may name it, in lower case.
    described: tuple[str, ...] = ()

    @property
    def full_text(self) -> str:
        return " ".join([self.text, *sorted(self.clauses)])


def _matched(standing: Standing, mine: list[_Rule], theirs: list[_Rule]) -> Iterator[Drift]:
    there: dict[Hashable, list[_Rule]] = defaultdict(list)
    for rule in theirs:
        there[rule.says].append(rule)
    # The same rule twice is one rule.
    planned = {rule.says: rule for rule in mine}
    extra = [rule for rule in theirs if rule.says not in planned]
    missing = []
    for rule in planned.values():
        alike = there[rule.says]
        holding = [x for says in (rule.says, *rule.served_by) for x in there.get(says, ())]
        if any(x.clauses <= rule.clauses for x in holding):
            extra += [x for x in alike if not x.clauses <= rule.clauses]
        elif alike:
            yield _drift(standing, rule, alike[0])
        else:
            missing.append(rule)
    for rule in missing:
        version = next((x for x in extra if _are_versions(rule, x)), None)
        if version is not None:
            extra.remove(version)
        yield _drift(standing, rule, version)
    left = {name for _, name in standing.left}
    for rule in extra:
        if not left & {fold(rule.name), *rule.described}:
            yield _drift(standing, None, rule)


def _are_versions(mine: _Rule, theirs: _Rule) -> bool:
    if mine.name and fold(mine.name) == fold(theirs.name):
        return True
    return mine.what == theirs.what and mine.like is not None and mine.like == theirs.like


def _drift(standing: Standing, mine: _Rule | None, theirs: _Rule | None) -> Drift:
    rule = mine or theirs
    assert rule is not None
    ours, there = (each.full_text if each else "" for each in (mine, theirs))
    state = _state(ours, there)
    return Drift(standing.name, rule.what, rule.name or rule.text, state, ours, there)


def _keys(table: Table, clauses: Table) -> Iterator[tuple[Key | Index, DriftOf, tuple[str, ...]]]:
    """Everything that has an index, with what it is and the clauses of its counterpart."""
    if table.primary_key is not None:
        own = clauses.primary_key
        yield table.primary_key, "primary key", own.clauses if own else ()
    for key, counterpart in _pairs(table.uniques, clauses.uniques):
        yield key, "unique constraint", counterpart.clauses
    for index, other in _pairs(table.indexes, clauses.indexes):
        yield index, "index", other.clauses


def _key_of(key: Key | Index, what: DriftOf, clauses: tuple[str, ...], standing: Standing) -> _Rule:
    if isinstance(key, Key):
        label = "PRIMARY KEY" if what == "primary key" else "UNIQUE"
        return _Rule(
            what,
            key.name,
            f"{label} ({', '.join(key.columns)})",
            ("unique", key.columns),
            clauses=frozenset(clauses),
            # A table has no more than one.
            like="primary key" if what == "primary key" else None,
            described=(fold(", ".join(key.columns)),),
        )
    terms = tuple(_term(term, standing) for term in key.columns)
    where = _spelling(standing, Expression(key.where)) if key.where else ""
    plain = all(not (c.expression or c.descending or c.collation) for c in key.columns)
    columns = tuple(column.name for column in key.columns)
    is_key = plain and not where
    unique = ("unique", columns) if is_key else ("unique index", terms, where)
    listed = ", ".join(map(_shown, key.columns))
    return _Rule(
        "index",
        key.name,
        f"{'UNIQUE ' * key.unique}INDEX ({listed})" + (f" WHERE {key.where}" if where else ""),
        unique if key.unique else ("index", terms, where),
        # What is unique is found by as well.
        served_by=() if key.unique else (unique,),
        clauses=frozenset(clauses),
    )


def _term(term: IndexColumn, standing: Standing) -> Hashable:
    value = _spelling(standing, Expression(term.expression)) if term.expression else ""
    return term.name, value, term.descending, term.collation


def _shown(term: IndexColumn) -> str:
    collation = f" COLLATE {term.collation}" if term.collation else ""
    return (term.expression or term.name) + collation + " DESC" * term.descending


def _foreign_key(key: ForeignKey, counterpart: ForeignKey) -> _Rule:
    parents = ", ".join(key.parent_columns)
    text = f"FOREIGN KEY ({', '.join(key.columns)}) REFERENCES {key.parent} ({parents})"
    for when, action in (("DELETE", key.on_delete), ("UPDATE", key.on_update)):
        if action != "NO ACTION":
            text += f" ON {when} {action}"
    if key.deferred:
        text += " DEFERRABLE INITIALLY DEFERRED"
    pairs = frozenset(zip(key.columns, key.parent_columns, strict=False))
    return _Rule(
        "foreign key",
        key.name,
        text,
        (pairs, key.parent, key.on_delete, key.on_update, key.deferred),
        clauses=_with_validity(counterpart.clauses, valid=counterpart.valid),
        like=(frozenset(key.columns), key.parent),
        described=(fold(f"({', '.join(key.columns)}) to {key.parent}"),),
    )


def _check(check: Check, counterpart: Check, standing: Standing) -> _Rule:
    spelling = _spelling(standing, Expression(check.expression))
    return _Rule(
        "check",
        check.name,
        f"CHECK ({check.expression})",
        spelling,
        clauses=_with_validity((), valid=counterpart.valid),
        like=_columns_in(check.expression, standing.found),
    )


def _with_validity(clauses: Iterable[str], *, valid: bool) -> frozenset[str]:
    return frozenset(clauses) | (frozenset() if valid else {"NOT VALID"})


def _columns_in(expression: str, table: Table) -> frozenset[str] | None:
    """The columns that an expression seems to name, by which two of them are shown side by side."""
    words = set(re.findall(r"\w+", re.sub(r"'(?:[^']|'')*'", "", fold(expression))))
    return frozenset(c.name for c in table.columns if fold(c.name) in words) or None


_T = TypeVar("_T")


def _pairs(mine: Iterable[_T], theirs: Iterable[_T]) -> Iterator[tuple[_T, _T]]:
    return zip(mine, theirs, strict=True)
