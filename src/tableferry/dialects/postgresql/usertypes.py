"""Types that users have created: enumerations, domains, composites and ranges (chapter 53)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import adbc_driver_postgresql.dbapi

from tableferry.dialects.postgresql.connection import rows
from tableferry.dialects.postgresql.scope import covered, not_of_extension
from tableferry.model import Check, TableName, UserType
from tableferry.sql import quote

_WHAT: Mapping[str, Any] = {"e": "enum", "d": "domain", "c": "composite", "r": "range"}

# All of them, whatever the address covers: a table covered may be of a type of another schema.
_TYPES = (
    "WITH {covered} SELECT t.oid::int8 AS oid, n.nspname::text AS schema, t.typname::text AS name, "
    "t.typtype::text AS what, n.oid IN (SELECT oid FROM s) AS covered, "
    f"NOT {not_of_extension('pg_type', 't.oid')} AS of_extension, "
    "t.typarray::int8 AS array_oid, coalesce(g.rngmultitypid, 0)::int8 AS multirange, "
    "coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), "
    "format_type(g.rngsubtype, NULL), '') AS base, NOT t.typnotnull AS nullable, "
    "pg_get_expr(t.typdefaultbin, 0) AS fallback, "
    "array(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = t.oid "
    "ORDER BY l.enumsortorder) AS labels, "
    "array(SELECT k.conname::text FROM pg_constraint k WHERE k.contypid = t.oid "
    "AND k.contype = 'c' ORDER BY k.conname) AS checks, "
    "array(SELECT pg_get_expr(k.conbin, 0) FROM pg_constraint k WHERE k.contypid = t.oid "
    "AND k.contype = 'c' ORDER BY k.conname) AS conditions, "
    "array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = t.typrelid "
    "AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS attributes, "
    "array(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
    "WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) "
    "AS attribute_types, "
    "array(SELECT x::int8 FROM (SELECT t.typbasetype AS x UNION ALL SELECT g.rngsubtype "
    "UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid "
    "AND a.attnum > 0 AND NOT a.attisdropped) AS y WHERE x <> 0) AS needs "
    "FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
    "LEFT JOIN pg_range g ON g.rngtypid = t.oid LEFT JOIN pg_class c ON c.oid = t.typrelid "
    "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
    "AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c') "
    "ORDER BY n.nspname, t.typname"
)


@dataclass(frozen=True, slots=True)
class _Found:
    type: UserType
    covered: bool
    of_extension: bool
    needs: tuple[int, ...]


class UserTypes:
    """What the catalogs say of them; types are asked for by the oid of a column's type."""

    def __init__(
        self, connection: adbc_driver_postgresql.dbapi.Connection, schema: str | None
    ) -> None:
        self._found: dict[int, _Found] = {}
        # Arrays and multiranges of these, and themselves.
        self._element: dict[int, int] = {}
        for row in rows(connection, _TYPES.format(covered=covered(schema))):
            self._found[row["oid"]] = _Found(
                _user_type(row), row["covered"], row["of_extension"], tuple(row["needs"])
            )
            for oid in (row["oid"], row["array_oid"], row["multirange"]):
                self._element[oid] = row["oid"]

    def name(self, oid: int) -> TableName | None:
        """Of a type of a user's making, or of what an array consists of."""
        element = self._element.get(oid)
        if element is None or self._found[element].of_extension:
            return None
        return self._found[element].type.name

    def checks(self, oid: int, column: str) -> Iterator[Check]:
        """What a domain asks of a column's values, and the domains that it builds on."""
        found = self._found.get(oid)
        if found is None or found.type.what != "domain":
            return
        for check in found.type.checks:
            expression = in_place_of_value(check.expression, column)
            yield Check(expression, f"{check.name}_{column}", str(found.type.name))
        for base in found.needs:
            yield from self.checks(base, column)

    def wanted(self, used: Iterable[int]) -> tuple[UserType, ...]:
        """The types covered, and those that are in ``used`` by their oids, each after the types
        that it is made of."""
        ordered: dict[int, UserType] = {}

        def add(oid: int) -> None:
            element = self._element.get(oid)
            if element is None or element in ordered or self._found[element].of_extension:
                return
            for needed in self._found[element].needs:
                add(needed)
            ordered[element] = self._found[element].type

        for oid in (*(oid for oid, found in self._found.items() if found.covered), *used):
            add(oid)
        return tuple(ordered.values())


def _user_type(row: dict[str, Any]) -> UserType:
    return UserType(
        TableName(row["schema"], row["name"]),
        _WHAT[row["what"]],
        labels=tuple(row["labels"]),
        base=row["base"],
        nullable=row["nullable"],
        default=row["fallback"],
        checks=tuple(map(Check, row["conditions"], row["checks"])),
        attributes=tuple(zip(row["attributes"], row["attribute_types"], strict=True))
        if row["what"] == "c"
        else (),
    )


_VALUE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\bVALUE\b""")


def in_place_of_value(expression: str, column: str) -> str:
    """A domain's condition, as pg_get_expr() writes it, said of a column.

    >>> in_place_of_value("((VALUE > 0) AND ('VALUE'::text <> ''::text))", "n")
    '(("n" > 0) AND (\\'VALUE\\'::text <> \\'\\'::text))'
    """
    return _VALUE.sub(lambda m: quote(column) if m[0] == "VALUE" else m[0], expression)
