"""Which pairs of databases a command concerns: the main one and, where it is configured on both
sides, the usage data; and which of its options concern which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from tableferry import api
from tableferry.addresses import DatabaseAddress, Databases
from tableferry.casts import parse
from tableferry.dialects import dialect_of
from tableferry.errors import ConfigurationError, TableferryError, UsageError
from tableferry.model import Schema
from tableferry.selection import Selection, matches


@dataclass(frozen=True, slots=True)
class Pair:
    """A source and a target, with the patterns and cast rules that concern the two."""

    name: Literal["main", "usage"]
    source: DatabaseAddress
    target: DatabaseAddress
    selection: Selection = field(default_factory=Selection)
    casts: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name.capitalize()} database"

    def __str__(self) -> str:
        return f"{self.title}: {self.source} → {self.target}"


def pairs_of(
    source: Databases, target: Databases, selection: Selection, casts: tuple[str, ...]
) -> tuple[Pair, ...]:
    main = Pair("main", source.main, target.main, selection, casts)
    if source.usage is None or target.usage is None:
        return (main,)
    return main, replace(main, name="usage", source=source.usage, target=target.usage)


def divided(pairs: tuple[Pair, ...], environ: Mapping[str, str]) -> tuple[Pair, ...]:
    """The pairs with those of the options that concern them, after a look at each database; a pair
    that no pattern of --tables concerns, or that --exclude leaves no table, falls away.

    With two pairs, a pattern or rule has to match in one of them. What cannot be looked at is left
    to its own run, which says why. Raises UsageError for what matches nowhere, and
    ConfigurationError where main and usage data are the same database, however addressed.
    """
    if len(pairs) == 1:
        return pairs
    looks = [_look(pair.source, environ) for pair in pairs]
    targets = [_look(pair.target, environ, inspect=False) for pair in pairs]
    for ends, addresses in ((looks, pairs[0].source), (targets, pairs[0].target)):
        identities = [look.identity for look in ends]
        if identities[0] and identities[0] == identities[1]:
            raise ConfigurationError(
                f"The main and the usage database are the same: {addresses}.",
                hint="Give the usage data a database or schema of its own, or remove its key.",
            )
    sources = dict(zip(pairs, (look.schema for look in looks), strict=True))
    return _with_own_casts(_with_own_patterns(sources), sources)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is known of a database; no schema and no identity where it could not be opened."""

    identity: str = ""
    schema: Schema | None = None


def _look(address: DatabaseAddress, environ: Mapping[str, str], *, inspect: bool = True) -> _Look:
    endpoint, ready = api.unopened(address, environ)
    if not ready:
        return _Look()
    try:
        with closing(dialect_of(endpoint).open(endpoint)) as session:
            return _Look(session.identity(), session.inspect() if inspect else None)
    except TableferryError:
        return _Look()


def _with_own_patterns(sources: Mapping[Pair, Schema | None]) -> list[Pair]:
    whole = next(iter(sources)).selection
    names = {pair: _names(schema) for pair, schema in sources.items()}
    for pattern in (*whole.tables, *whole.exclude):
        if not any(_concerns(pattern, listed) for listed in names.values()):
            raise UsageError(
                f"No table of the main or the usage database matches the pattern {pattern!r}."
            )
    chosen = []
    for pair, listed in names.items():
        tables = _those(whole.tables, listed)
        own = Selection(tables, _those(whole.exclude, listed))
        if whole.tables and not tables:
            continue
        if listed and not any(map(own.chooses, listed)):
            continue
        chosen.append(replace(pair, selection=own))
    if not chosen:
        raise UsageError("The patterns of --tables and --exclude leave no table.")
    return chosen


def _names(schema: Schema | None) -> list[str] | None:
    return None if schema is None else [str(table.name) for table in schema.tables]


def _those(patterns: Sequence[str], names: list[str] | None) -> tuple[str, ...]:
    return tuple(pattern for pattern in patterns if _concerns(pattern, names))


def _concerns(pattern: str, names: list[str] | None) -> bool:
    return names is None or any(matches(name, pattern) for name in names)


def _with_own_casts(
    pairs: Sequence[Pair], sources: Mapping[Pair, Schema | None]
) -> tuple[Pair, ...]:
    schemas = {pair.name: schema for pair, schema in sources.items()}
    concerned: dict[str, list[str]] = {pair.name: [] for pair in pairs}
    for text in pairs[0].casts:
        found = [p for p in pairs if _is_cast(p, schemas[p.name], text)]
        if not found:
            raise UsageError(f"--cast {text!r} matches no column of either source.")
        for pair in found:
            concerned[pair.name].append(text)
    return tuple(replace(pair, casts=tuple(concerned[pair.name])) for pair in pairs)


def _is_cast(pair: Pair, schema: Schema | None, text: str) -> bool:
    if schema is None:
        return True
    rule = parse(text, dialect_of(api.unopened(pair.target, {})[0]))
    return any(
        rule.concerns(table, column)
        for table in schema.tables
        if pair.selection.chooses(str(table.name))
        for column in table.columns
    )
