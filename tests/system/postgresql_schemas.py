"""What two PostgreSQL databases are beside their rows, as facts, and the rule by which the second
follows from the first where it came back by way of SQLite: docs/types.md, "What a round trip does
not keep". Read by psycopg; nothing of the program under test takes part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from tests.system.facts import Fact, counted, left_over
from tests.system.trips import Report, Row, TableTrip, read, table_trips

# Of each column: its type, what its values are in the end (of a domain its base), and more.
_COLUMNS = """
WITH RECURSIVE base(oid, base, modifier, required, fallback) AS (
  SELECT t.oid, t.typbasetype, t.typtypmod, t.typnotnull, pg_get_expr(t.typdefaultbin, 0)
  FROM pg_type t WHERE t.typtype = 'd' UNION ALL
  SELECT b.oid, t.typbasetype, t.typtypmod, b.required OR t.typnotnull,
    coalesce(b.fallback, pg_get_expr(t.typdefaultbin, 0))
  FROM base b JOIN pg_type t ON t.oid = b.base AND t.typtype = 'd')
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
  CASE WHEN t.typtype = 'd' THEN format_type(b.base, b.modifier)
    ELSE format_type(a.atttypid, a.atttypmod) END,
  CASE WHEN e.typelem <> 0 THEN (SELECT z.typtype::text FROM pg_type z WHERE z.oid = e.typelem)
    ELSE e.typtype::text END, e.typelem <> 0, en.nspname,
  a.attnotnull OR coalesce(b.required, false), a.attidentity::text, a.attgenerated::text,
  coalesce(pg_get_expr(f.adbin, f.adrelid), CASE WHEN a.attidentity = '' THEN b.fallback END, ''),
  coalesce(col_description(c.oid, a.attnum), ''), a.attcollation <> t.typcollation,
  array(SELECT l.enumlabel::text FROM pg_enum l WHERE l.enumtypid = e.oid ORDER BY l.enumsortorder),
  coalesce((SELECT array_agg(k.conname::text) FROM pg_constraint k WHERE k.contype = 'c'
    AND (k.contypid = t.oid OR k.contypid IN (SELECT x.base FROM base x WHERE x.oid = t.oid))),
    '{}')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN base b ON b.oid = t.oid
  AND NOT EXISTS (SELECT 1 FROM pg_type x WHERE x.oid = b.base AND x.typtype = 'd')
JOIN pg_type e ON e.oid = coalesce(b.base, t.oid) JOIN pg_namespace en ON en.oid = e.typnamespace
LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
WHERE {tables} ORDER BY 1, 2, a.attnum
"""
_LISTED = (
    "array(SELECT x.attname::text FROM unnest({numbers}) WITH ORDINALITY u(n, i) JOIN "
    "pg_attribute x ON x.attrelid = {table} AND x.attnum = u.n ORDER BY u.i)"
)
_CONSTRAINTS = f"""
SELECT n.nspname, c.relname, k.conname, k.contype::text,
  {_LISTED.format(numbers="k.conkey", table="k.conrelid")}, k.condeferrable, k.condeferred,
  pn.nspname, p.relname, {_LISTED.format(numbers="k.confkey", table="k.confrelid")},
  k.confdeltype::text, k.confupdtype::text, k.confmatchtype::text
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class p ON p.oid = k.confrelid LEFT JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE {{tables}} AND k.contype IN ('p', 'u', 'f', 'c', 'x')
  AND NOT EXISTS (SELECT 1 FROM pg_constraint x WHERE x.oid = k.conparentid
    AND x.conrelid = k.conrelid) ORDER BY 1, 2, 3
"""
_INDEXES = """
SELECT n.nspname, c.relname, x.relname, m.amname, i.indisunique, i.indpred IS NOT NULL,
  array(SELECT coalesce(a.attname::text, '(' || pg_get_indexdef(i.indexrelid, g + 1, false) || ')')
    || CASE WHEN i.indoption[g] & 1 = 1 THEN ' DESC' ELSE '' END
    FROM generate_series(0, i.indnkeyatts - 1) g
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[g] AND i.indkey[g] <> 0
    ORDER BY g)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = x.relam
WHERE {tables} AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid
  AND k.contype IN ('p', 'u', 'x')) ORDER BY 1, 2, 3
"""
_OWN_TABLES = (
    "c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relispopulated "
    "AND n.nspname !~ '^(pg_|information_schema)'"
)

# Whatever else a report names; each by the name that the report has for it.
_OTHERS = """
SELECT 'trigger', n.nspname, c.relname, x.tgname::text FROM pg_trigger x
  JOIN pg_class c ON c.oid = x.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT x.tgisinternal AND x.tgparentid = 0
UNION ALL SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'materialised view' END,
  n.nspname, c.relname, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('v', 'm') AND n.nspname !~ '^(pg_|information_schema)'
UNION ALL SELECT 'partitioning', n.nspname, c.relname, pg_get_partkeydef(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'p'
UNION ALL SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure'
  ELSE 'function' END, '', '', CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END ||
  p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  WHERE n.nspname !~ '^(pg_|information_schema)'
  AND NOT EXISTS (SELECT 1 FROM pg_depend i WHERE i.objid = p.oid AND i.deptype IN ('i', 'e'))
UNION ALL SELECT 'sequence', '', '', CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END
  || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'S' AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0)
  AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.refobjid = c.oid
    AND d.classid = 'pg_attrdef'::regclass)
UNION ALL SELECT 'inheritance', n.nspname, c.relname,
  CASE pn.nspname WHEN 'public' THEN '' ELSE pn.nspname || '.' END
  || p.relname
  FROM pg_inherits x JOIN pg_class c ON c.oid = x.inhrelid AND NOT c.relispartition
  JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_class p ON p.oid = x.inhparent
  JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE c.relkind = 'r'
UNION ALL SELECT 'extension', '', '', x.extname::text FROM pg_extension x
  WHERE x.extname <> 'plpgsql'
UNION ALL SELECT DISTINCT CASE x.contype WHEN 'p' THEN 'primary key' WHEN 'c' THEN 'check'
  WHEN 'u' THEN 'unique constraint' ELSE 'foreign key' END, n.nspname, r.relname,
  pg_get_constraintdef(x.oid) FROM pg_constraint x
  JOIN pg_class c ON c.oid = x.conrelid AND c.relispartition
  JOIN pg_class r ON r.oid = pg_partition_root(c.oid) JOIN pg_namespace n ON n.oid = r.relnamespace
  WHERE x.conparentid = 0 AND x.coninhcount = 0 AND x.contype IN ('p', 'u', 'c', 'f')
UNION ALL SELECT DISTINCT 'index', n.nspname, r.relname,
  substring(pg_get_indexdef(i.indexrelid) FROM 'USING (.*)') FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid AND c.relispartition
  JOIN pg_class x ON x.oid = i.indexrelid AND NOT x.relispartition
  JOIN pg_class r ON r.oid = pg_partition_root(c.oid) JOIN pg_namespace n ON n.oid = r.relnamespace
  WHERE NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid
    AND k.contype IN ('p', 'u', 'x'))
"""
_INTEGERS = ("smallint", "integer", "bigint")
_NEXT_VALUE = re.compile(r"nextval\('(?:[^']|'')*'::regclass\)")


@dataclass(frozen=True, slots=True)
class Column:
    """base: of a domain, the type of its values. kind: e of an enum, d, c, r of other types of
    users', b of the server's own. fallback: its default in SQL."""

    table: str
    name: str
    type: str
    base: str
    kind: str
    array: bool
    required: bool
    identity: str
    generated: bool
    fallback: str
    comment: str
    collated: bool
    labels: tuple[str, ...]
    # Names of the checks that the column has in SQLite, because of its type.
    checks: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        own = self.identity or _NEXT_VALUE.fullmatch(self.fallback)
        return bool(own) and self.base in _INTEGERS


@dataclass(frozen=True, slots=True)
class Schema:
    """columns: by table and name. keys: of one integer column that has no default, by table and
    name."""

    columns: Mapping[tuple[str, str], Column]
    facts: Counter[Fact]
    keys: frozenset[tuple[str, str]]


class _Names:
    """Tables and columns by the names that they have at the end of a round trip."""

    def __init__(self, trips: Mapping[str, TableTrip], views: Mapping[str, str]) -> None:
        self._trips = trips
        self._views = views

    def other(self, what: str, schema: str, table: str, name: str) -> Fact:
        if what == "view":
            last = self._views.get(name, name)
            return Fact(what, last, (last,), (name, last))
        return Fact(what, self.table(schema, table) if table else "", (name,), (name,))

    def _trip(self, schema: str, table: str) -> TableTrip | None:
        return self._trips.get(table if schema == "public" else f"{schema}.{table}")

    def middle(self, schema: str, table: str, column: str) -> str:
        """What the label checks of a column are called by in SQLite."""
        trip = self._trip(schema, table)
        return f"{trip.middle}_{trip.column(column).middle}" if trip else ""

    def constraint(self, schema: str, table: str, name: str) -> str:
        trip = self._trip(schema, table)
        return trip.constraint(name) if trip else name

    def table(self, schema: str, name: str) -> str:
        label = name if schema == "public" else f"{schema}.{name}"
        return self._trips[label].last if label in self._trips else label

    def columns(self, schema: str, table: str, names: Iterable[str]) -> tuple[str, ...]:
        label = table if schema == "public" else f"{schema}.{table}"
        trip = self._trips.get(label)
        if trip is None:
            return tuple(names)
        own = {column.name: column.last for column in trip.columns}
        return tuple(own.get(name, name) for name in names)


def schema_of(
    connection: psycopg.Connection[Row],
    trips: Mapping[str, TableTrip],
    views: Mapping[str, str],
) -> Schema:
    """``trips`` are those that begin here, none for the database at the end of them, and ``views``
    are names at their end."""
    names = _Names(trips, views)
    columns = {(c.table, c.name): c for c in _columns(connection, names)}
    constraints = connection.execute(
        _CONSTRAINTS.replace("{tables}", _OWN_TABLES).encode()
    ).fetchall()
    of_one = (
        (names.table(row[0], row[1]), names.columns(row[0], row[1], row[4])[0])
        for row in constraints
        if row[3] == "p" and len(row[4]) == 1
    )
    keys = frozenset(
        at
        for at in of_one
        if columns[at].base in _INTEGERS and (columns[at].numbered or not columns[at].fallback)
    )
    facts = [
        *_of_columns(columns.values()),
        *(fact for row in constraints for fact in _of_constraint(row, names)),
        *_of_indexes(connection, names),
        *(
            names.other(what, schema, table, name)
            for what, schema, table, name in connection.execute(_OTHERS.encode())
        ),
    ]
    return Schema(columns, counted(facts), keys)


def _columns(connection: psycopg.Connection[Row], names: _Names) -> Iterator[Column]:
    for row in connection.execute(_COLUMNS.replace("{tables}", _OWN_TABLES).encode()):
        schema, table, name, type_, base, kind, array, of_schema, *more = row
        required, identity, generated, fallback, comment, collated, labels, checks = more
        own = of_schema.startswith("pg_") and kind != "e"
        middle = names.middle(schema, table, name)
        added = [f"{check}_{name}" for check in checks]
        if labels and not array:
            added.append(f"{middle}_check")
        yield Column(
            names.table(schema, table),
            names.columns(schema, table, [name])[0],
            type_,
            base,
            "b" if own else kind,
            array,
            required,
            identity,
            bool(generated),
            "" if generated else fallback,
            comment,
            collated,
            tuple(labels),
            tuple(names.constraint(schema, table, check) for check in added),
        )


def _of_columns(columns: Iterable[Column]) -> Iterator[Fact]:
    for column in columns:
        own = (column.name,)
        for what, there in (
            ("not null", column.required),
            ("identity", column.numbered),
            ("GENERATED ALWAYS", column.identity == "a"),
            ("default", bool(column.fallback) and not column.numbered),
            ("generated column", column.generated),
            ("collation", column.collated),
        ):
            if there:
                yield Fact(what, column.table, own, own)
        if column.comment:
            yield Fact("comment", column.table, (column.name, column.comment), own)


def _of_constraint(row: Row, names: _Names) -> Iterator[Fact]:
    schema, table, name, kind, own, deferrable, deferred, of_schema, parent, theirs, *actions = row
    at = names.table(schema, table)
    columns = names.columns(schema, table, own)
    aliases = (name, ", ".join(own))
    match kind:
        case "p" | "u":
            yield Fact("primary key" if kind == "p" else "unique constraint", at, columns, aliases)
        case "c":
            last = names.constraint(schema, table, name)
            yield Fact("check", at, (last,), (*aliases, last))
        case "x":
            yield Fact("exclusion constraint", at, (name,), aliases)
        case "f":
            described = f"({', '.join(own)}) to "
            described += parent if of_schema == "public" else f"{of_schema}.{parent}"
            key = (
                *columns,
                names.table(of_schema, parent),
                *names.columns(of_schema, parent, theirs),
                *actions[:2],
                "deferred" if deferred else "",
            )
            yield Fact("foreign key", at, key, (*aliases, described))
            if actions[2] == "f":
                yield Fact("MATCH FULL", at, (name,), aliases)
    if deferrable and not (kind == "f" and deferred):
        yield Fact("DEFERRABLE", at, (name,), aliases)


def _of_indexes(connection: psycopg.Connection[Row], names: _Names) -> Iterator[Fact]:
    query = _INDEXES.replace("{tables}", _OWN_TABLES)
    for schema, table, name, method, unique, partial, terms in connection.execute(query.encode()):
        shape = ["unique" * unique, "partial" * partial]
        if method not in ("btree", "hash"):
            shape.append(method)
        for term in terms:
            column, descending, _ = (
                term.partition(" DESC")
                if term.endswith(" DESC")
                else (
                    term,
                    "",
                    "",
                )
            )
            of = (
                "an expression"
                if term.startswith("(")
                else names.columns(schema, table, [column])[0]
            )
            shape.append(of + descending)
        yield Fact("index", names.table(schema, table), tuple(shape), (name,))


# ---- what comes back -----------------------------------------------------------------------------


def type_at_the_end(base: str, *, key: bool = False, users: bool = False) -> str:
    """The type that a column comes back as. base: its type, or the one that its domain restricts;
    key: it alone is the primary key, and has no default; users: the type is one of a user's."""
    if users:
        return "text"
    if key and base in _INTEGERS:
        return "bigint"
    if match := re.fullmatch(r"(timestamp|time)\(\d\)( with(?:out)? time zone)", base):
        # But for time with time zone, which is text in SQLite.
        return (
            base
            if base.endswith(") with time zone") and match[1] == "time"
            else (match[1] + match[2])
        )
    return OTHERWISE.get(base, base)


OTHERWISE = {
    "character varying": "text",
    "bpchar": "text",
    "aclitem": "text",
    "refcursor": "text",
}


def expected_at_the_end(schema: Schema) -> Counter[Fact]:
    """What there would be at the end if nothing were named as left behind: docs/types.md."""
    facts = Counter(schema.facts)
    for column in schema.columns.values():
        own = (column.name,)
        at = (column.table, column.name)
        if at in schema.keys:
            facts[Fact("identity", *_of(at))] = 1
        for check in column.checks:
            facts[Fact("check", column.table, (check,), (check,))] += 1
        if column.comment:
            facts[Fact("comment", column.table, (column.name, column.comment))] -= 1
            words = " ".join(column.comment.split("\n")).strip()
            facts[Fact("comment", column.table, (column.name, words), own)] += 1
    return +facts


def _of(at: tuple[str, str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return at[0], (at[1],), (at[1],)


def schema_differences(first: str, last: str, there: Report, back: Report) -> dict[str, Any]:
    """What came back otherwise than docs/types.md and the reports say, none left out: whatever is
    named is gone, and whatever is gone is named."""
    trips = table_trips(there, back)
    with read(first) as one, read(last) as two:
        lasts = {view["source"]: view["target"] for view in back["views"]}
        views = {v["source"]: lasts.get(v["target"], v["target"]) for v in there["views"]}
        before, after = schema_of(one, trips, views), schema_of(two, {}, {})
        found: dict[str, Any] = {}
        unknown = {
            (trip.last, column.last)
            for trip in trips.values()
            for column in trip.columns
            if column.misfit and column.types[0].startswith("reg")
        }
        types = {
            at: "text"
            if at in unknown
            else type_at_the_end(column.base, key=at in before.keys, users=column.kind != "b")
            for at, column in before.columns.items()
        }
        really = {at: column.type for at, column in after.columns.items()}
        if types != really:
            found["types"] = {
                str(at): (
                    before.columns[at].type if at in before.columns else None,
                    types.get(at),
                    really.get(at),
                )
                for at in {*types, *really}
                if types.get(at) != really.get(at)
            }
        expected = expected_at_the_end(before)
        gone, new = expected - after.facts, after.facts - expected
        if new:
            found["new"] = sorted(map(repr, new.elements()))
        return found | left_over(gone, (there, back), trips)
