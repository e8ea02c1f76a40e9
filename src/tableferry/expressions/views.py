"""SELECT statements of SQLite's views as PostgreSQL's.

A query becomes a list of terms for its result columns and a text that is built around them only
in the end, for the branches of a UNION have to agree on their kinds first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tableferry import kinds
from tableferry.expressions import syntax
from tableferry.expressions.aggregates import (
    aggregate,
    has_aggregate,
    is_aggregate,
    refuse_undistinguishable,
)
from tableferry.expressions.model import Clauses, Field, Relation, Untranslatable, View
from tableferry.expressions.operators import collated, compared, operands, truth
from tableferry.expressions.parser import parse_query
from tableferry.expressions.scopes import Scope, Source
from tableferry.expressions.sqlite_to_postgresql import Translator, column, guarded
from tableferry.expressions.syntax import Node
from tableferry.expressions.terms import (
    Term,
    described,
    unified,
)
from tableferry.model import Kind
from tableferry.sql import fold, quote

_NAME_BYTES = 63
# What a NULL is written as among values of a kind.
_TYPES = {
    "null": "text",
    "text": "text",
    "int": "bigint",
    "bool": "boolean",
    "float": "double precision",
    "decimal": "numeric",
    "numeric": "numeric",
    "bytes": "bytea",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "uuid": "uuid",
    "json": "json",
}


@dataclass(frozen=True, slots=True)
class _Output:
    """A result column: its name in SQLite and its term."""

    name: str
    term: Term


def translate_view(
    select: str,
    relations: Mapping[str, Relation],
    columns: tuple[str, ...] = (),
    known_kinds: tuple[Kind, ...] = (),
) -> View:
    """A view's SELECT, over ``relations`` by the lower-case names of the source: its tables, and
    its views that were translated before. ``columns``: the names that CREATE VIEW itself gives.
    ``known_kinds`` are found out here, and not taken from anywhere.

    Raises Untranslatable.
    """

    def translate() -> View:
        return _Queries(_tables(relations)).query(parse_query(select), None, columns)

    return guarded(translate)


def _tables(relations: Mapping[str, Relation]) -> dict[str, _Table]:
    return {
        fold(known): _Table(f"{quote(r.name.schema)}.{quote(r.name.name)}", r.fields)
        for name, r in relations.items()
        for known in (name, r.source_name)
    }


@dataclass(frozen=True, slots=True)
class _Table:
    """What a FROM clause can name: a table, a view or a common table expression."""

    sql: str
    fields: tuple[Field, ...]


class _Queries:
    """Translates queries over the tables that they may name."""

    def __init__(self, tables: Mapping[str, _Table], numbers: Counter[str] | None = None) -> None:
        self.tables = dict(tables)
        # Shared by all that belongs to one view, so that no made-up name comes twice.
        self._numbers = Counter() if numbers is None else numbers

    def query(
        self, query: syntax.Query, outer: Scope | None, columns: tuple[str, ...] = ()
    ) -> View:
        """A query with a name for each of its columns."""
        inner = _Queries(self.tables, self._numbers)
        common = [inner.common(expression, outer) for expression in query.common]
        parts = [_SelectPart(inner, select, outer) for select in query.selects]
        names = _column_names([output.name for output in parts[0].outputs], columns)
        body, terms = _combined(parts, query.operators, names)
        fields = tuple(_field(n, t) for n, t in zip(names, terms, strict=True))
        if query.order or query.limit is not None:
            body = inner.ordered(body, query, parts, fields)
        prefix = f"WITH {', '.join(common)} " if common else ""
        return View(prefix + body, fields)

    def common(self, expression: syntax.Common, outer: Scope | None) -> str:
        view = self.query(expression.query, outer, expression.columns)
        _refuse_long(expression.name)
        name = quote(expression.name)
        self.tables[fold(expression.name)] = _Table(name, view.fields)
        return f"{name} AS ({view.sql})"

    def fresh(self, prefix: str) -> str:
        self._numbers[prefix] += 1
        return f"{prefix} {self._numbers[prefix]}"

    def ordered(
        self,
        body: str,
        query: syntax.Query,
        parts: list[_SelectPart],
        fields: tuple[Field, ...],
    ) -> str:
        """The query with its ORDER BY and LIMIT. What a UNION or DISTINCT gives is ordered from
        outside, since PostgreSQL takes no expressions for it."""
        plain = len(parts) == 1 and not query.selects[0].distinct
        if plain:
            terms = [parts[0].order_term(ordering.node) for ordering in query.order]
        else:
            alias = self.fresh("ordered")
            source = Source(alias, fields)
            terms = [_result_term(o.node, parts, source) for o in query.order]
            listed = ", ".join(f"{source.term(f).sql} AS {quote(f.name)}" for f in fields)
            body = f"SELECT {listed} FROM ({body}) AS {quote(alias)}"
        if terms:
            keys = [_sorted(t, o) for t, o in zip(terms, query.order, strict=True)]
            body += f" ORDER BY {', '.join(keys)}"
        if query.limit is not None:
            body += f" LIMIT {query.limit}"
        if query.offset is not None:
            body += f" OFFSET {query.offset}"
        return body


def _field(name: str, term: Term) -> Field:
    kind = term.kind if term.kind.name != "null" else kinds.TEXT
    affinity = term.affinity
    return Field(name, kind, term.collation, affinity=affinity, approximate=term.approximate)


def _column_names(given: list[str], columns: tuple[str, ...]) -> tuple[str, ...]:
    if columns and len(columns) != len(given):
        raise Untranslatable("the view names another number of columns than it selects")
    names = columns or tuple(given)
    for name in names:
        _refuse_long(name)
    doubled = [name for name, n in Counter(map(fold, names)).items() if n > 1]
    if doubled:
        raise Untranslatable(f"two columns have the name {doubled[0]}")
    return names


def _refuse_long(name: str) -> None:
    if not name or len(name.encode(errors="surrogatepass")) > _NAME_BYTES or "\0" in name:
        raise Untranslatable(f"the name {name[:80]!r} is not of 1 to {_NAME_BYTES} bytes")


# ---- UNION and its like -------------------------------------------------------------------------


def _combined(
    parts: list[_SelectPart], operators: tuple[str, ...], names: tuple[str, ...]
) -> tuple[str, tuple[Term, ...]]:
    if any(len(part.outputs) != len(names) for part in parts):
        raise Untranslatable(f"the parts of {operators[0]} have different numbers of columns")
    if len(parts) == 1:
        terms = tuple(output.term for output in parts[0].outputs)
        if parts[0].select.distinct:
            refuse_undistinguishable(terms, "DISTINCT")
        return parts[0].sql(names, tuple(map(_selected, terms))), terms
    columns = zip(*(part.outputs for part in parts), strict=True)
    distinct = any(part.select.distinct for part in parts)
    unions = [_union(tuple(o.term for o in column), operators, distinct) for column in columns]
    body = ""
    for i, part in enumerate(parts):
        arm = part.sql(names, tuple(converted[i] for _, converted in unions))
        # From left to right, where PostgreSQL would bind INTERSECT first.
        body = arm if i == 0 else f"({body}) {operators[i - 1]} ({arm})"
    return body, tuple(term for term, _ in unions)


def _union(
    terms: tuple[Term, ...], operators: tuple[str, ...], distinct: bool
) -> tuple[Term, tuple[str, ...]]:
    """One column of all parts; ``distinct``: some part keeps only rows that differ."""
    term, converted = unified(terms, operators[0])
    if distinct or any(operator != "UNION ALL" for operator in operators):
        refuse_undistinguishable((*terms, term), operators[0])
    # A bare NULL under a DISTINCT would be text, whatever the other arms are.
    typed = f"NULL::{_TYPES[term.kind.name]}"
    converted = tuple(typed if sql == "NULL" else sql for sql in converted)
    collations = {t.collation or "BINARY" for t in terms if t.family == "text"}
    if len(collations) > 1:
        raise Untranslatable(f"{operators[0]} of different collations is not translated")
    return replace(term, collation="".join(collations), literal=None), converted


def _selected(term: Term) -> str:
    return "NULL::text" if term.kind.name == "null" else term.sql


# ---- ORDER BY -----------------------------------------------------------------------------------


def _sorted(term: Term, ordering: syntax.Ordering) -> str:
    """A key of an ORDER BY. NULL comes before all else in SQLite, and last when descending."""
    sql = term.sql
    if term.kind.name in ("json", "timestamptz", "null") or term.literal is not None:
        raise Untranslatable(f"ORDER BY {described(term)} is not translated")
    if term.kind.name == "text":
        sql = collated(term, term.collation or "BINARY", "<")
    nulls = ordering.nulls or ("LAST" if ordering.descending else "FIRST")
    return f"{sql} {'DESC' if ordering.descending else 'ASC'} NULLS {nulls}"


def _result_term(node: Node, parts: list[_SelectPart], source: Source) -> Term:
    """A key that has to be one of the result's columns: by number, name or expression."""
    for part in parts:
        position = part.position(node)
        if position is not None:
            return source.term(source.fields[position])
    raise Untranslatable("ORDER BY names no column of the result")


# ---- one SELECT ---------------------------------------------------------------------------------


class _SelectPart:
    """One SELECT without its ORDER BY: sources first, then conditions, then its columns."""

    def __init__(self, queries: _Queries, select: syntax.Select, outer: Scope | None) -> None:
        self.select = select
        self._scope = Scope(outer)
        self._translator = _SelectTranslator(queries, self._scope, self._aliases())
        self._from = self._sources(queries)
        translator = self._translator
        self._where = "" if select.where is None else translator.truth(select.where)
        self._groups = tuple(self._group(node) for node in select.groups)
        self._grouped = bool(select.groups) or self._aggregates()
        if self._grouped:
            translator.groups = frozenset(term.sql for term in self._groups)
        self.outputs = tuple(self._outputs())
        self._having = "" if select.having is None else self._condition(select.having)

    def sql(self, names: tuple[str, ...], values: tuple[str, ...]) -> str:
        groups = tuple(term.sql for term in self._groups)
        clauses = Clauses(self.select.distinct, self._from, self._where, groups, self._having)
        return clauses.listing(zip(values, names, strict=True))

    def order_term(self, node: Node) -> Term:
        """A key of this SELECT's ORDER BY: a number, an alias, or any expression."""
        position = self.position(node)
        if position is not None:
            return self.outputs[position].term
        return self._term(node)

    def position(self, node: Node) -> int | None:
        """The result column that a key names by its number, its name or its expression."""
        match node:
            case syntax.Integer(value):
                if not 1 <= value <= len(self.outputs):
                    raise Untranslatable(f"ORDER BY {value} is no column of the result")
                return value - 1
            case syntax.Name(name, "", _, _):
                for i, result in enumerate(self.select.results):
                    if isinstance(result, syntax.Result) and fold(result.alias) == fold(name):
                        # Result columns are counted after a * only where there is none.
                        return i if self._plain() else None
                names = [fold(output.name) for output in self.outputs]
                if names.count(fold(name)) == 1 and self._names_itself(name):
                    return names.index(fold(name))
                return None
        wanted = [r.node if isinstance(r, syntax.Result) else None for r in self.select.results]
        return wanted.index(node) if node in wanted and self._plain() else None

    def _names_itself(self, name: str) -> bool:
        """Whether the output of this name is the column of this name."""
        output = next(o for o in self.outputs if fold(o.name) == fold(name))
        found = self._scope.find(syntax.Name(name))
        return found is None or found.sql == output.term.sql

    def _plain(self) -> bool:
        return all(isinstance(result, syntax.Result) for result in self.select.results)

    def _aliases(self) -> dict[str, Node]:
        return {
            fold(result.alias): result.node
            for result in reversed(self.select.results)
            if isinstance(result, syntax.Result) and result.alias
        }

    # ---- FROM -----------------------------------------------------------------------------------

    def _sources(self, queries: _Queries) -> str:
        joined = []
        for member in self.select.sources:
            sql, source = self._source(queries, member)
            condition, hidden = self._using(member, source)
            self._scope.add(replace(source, hidden=hidden))
            joined.append((sql, member, condition))
        # Names in an ON are looked up among all sources, though it may not use the later ones.
        text = ""
        for number, (sql, member, condition) in enumerate(joined, 1):
            self._scope.joined = number
            if member.on is not None:
                condition = self._translator.truth(member.on)
            text = _joined(text, sql, member.join, condition)
        self._scope.joined = None
        return text

    def _source(self, queries: _Queries, member: syntax.Source) -> tuple[str, Source]:
        if member.select is not None:
            # A subquery sees nothing of its neighbours.
            view = queries.query(member.select, self._scope.outer)
            alias = member.alias or queries.fresh("subquery")
            sql, fields = f"({view.sql})", view.fields
        else:
            table = queries.tables.get(fold(member.table))
            if table is None:
                raise Untranslatable(f"the table {member.table[:80]} is not known here")
            alias = member.alias or member.table
            sql, fields = table.sql, table.fields
        _refuse_long(alias)
        return f"{sql} AS {quote(alias)}", Source(alias, fields)

    def _using(self, member: syntax.Source, source: Source) -> tuple[str, frozenset[str]]:
        conditions = []
        for name in member.using:
            left = self._scope.find(syntax.Name(name))
            field = source.field(name)
            if left is None or field is None:
                raise Untranslatable(f"USING names {name[:80]}, which not both sides have")
            conditions.append(compared("=", left, source.term(field)).sql)
        return " AND ".join(conditions), frozenset(map(fold, member.using))

    # ---- columns and groups ---------------------------------------------------------------------

    def _outputs(self) -> list[_Output]:
        outputs: list[_Output] = []
        for result in self.select.results:
            if isinstance(result, syntax.Star):
                outputs += self._star(result.table)
            else:
                outputs.append(_Output(self._name(result), self._term(result.node)))
        return outputs

    def _star(self, table: str) -> list[_Output]:
        sources = [s for s in self._scope.sources if table == "" or fold(s.alias) == fold(table)]
        if not sources:
            raise Untranslatable(f"{table or '*'} names no table of the FROM clause")
        return [
            _Output(field.source_name, self._grouped_term(source.term(field), field.source_name))
            for source in sources
            for field in source.fields
            if table or fold(field.source_name) not in source.hidden
        ]

    def _name(self, result: syntax.Result) -> str:
        """The name that SQLite gives a result column without an alias: that of the column it is,
        else its own text."""
        if result.alias:
            return result.alias
        if isinstance(result.node, syntax.Name):
            for source in self._scope.sources:
                field = source.field(result.node.name)
                if field is not None and fold(result.node.table) in ("", fold(source.alias)):
                    return field.source_name
        return result.text

    def _aggregates(self) -> bool:
        nodes = [r.node for r in self.select.results if isinstance(r, syntax.Result)]
        if self.select.having is not None:
            nodes.append(self.select.having)
        return any(map(has_aggregate, nodes))

    def _group(self, node: Node) -> Term:
        if isinstance(node, syntax.Integer):
            results = self.select.results
            if not self._plain() or not 1 <= node.value <= len(results):
                raise Untranslatable(f"GROUP BY {node.value} is no column of the result")
            result = results[node.value - 1]
            assert isinstance(result, syntax.Result)
            node = result.node
        term = self._translator.term(node)
        refuse_undistinguishable((term,), "GROUP BY")
        if term.literal is not None or term.family == "null":
            raise Untranslatable("GROUP BY a constant is not translated")
        return term

    def _term(self, node: Node) -> Term:
        with self._translator.aggregating(self._grouped):
            term = self._translator.term(node)
        self._refuse_ungrouped()
        return term

    def _condition(self, node: Node) -> str:
        if not self._grouped:
            raise Untranslatable("HAVING without groups is not translated")
        with self._translator.aggregating(True):
            condition = self._translator.truth(node)
        self._refuse_ungrouped()
        return condition

    def _grouped_term(self, term: Term, name: str) -> Term:
        if self._grouped and term.sql not in (self._translator.groups or ()):
            raise Untranslatable(f"the column {name} is neither grouped nor in an aggregate")
        return term

    def _refuse_ungrouped(self) -> None:
        if self._translator.bare:
            name = self._translator.bare[0]
            raise Untranslatable(f"the column {name} is neither grouped nor in an aggregate")


def _joined(text: str, sql: str, join: str, condition: str) -> str:
    if not text:
        # The condition of the first member has nothing to join.
        if condition:
            raise Untranslatable("ON without a join is not translated")
        return sql
    if not condition:
        if join == "LEFT":
            condition = "true"
        else:
            return f"{text} CROSS JOIN {sql}"
    return f"{text} {join} JOIN {sql} ON {condition}"


# ---- expressions in a SELECT --------------------------------------------------------------------


class _SelectTranslator(Translator):
    """Adds aliases, aggregates and subqueries.

    ``groups``: the SQL of the GROUP BY terms once they are known, None for a SELECT without
    groups. ``bare``: the columns met outside of aggregates and of those terms.
    """

    def __init__(self, queries: _Queries, scope: Scope, aliases: Mapping[str, Node]) -> None:
        super().__init__(scope)
        self._queries = queries
        self._scope = scope
        self._aliases = dict(aliases)
        self._may_aggregate = False
        self._outer_names = 0
        self.groups: frozenset[str] | None = None
        self.bare: list[str] = []

    def aggregating(self, allowed: bool) -> _Aggregating:
        """A context in which aggregates may be called."""
        return _Aggregating(self, allowed)

    def allow_aggregates(self, allowed: bool) -> bool:
        before, self._may_aggregate = self._may_aggregate, allowed
        return before

    def _term(self, node: Node) -> Term:
        if self.groups is None:
            return super()._term(node)
        before = len(self.bare)
        term = super()._term(node)
        if term.sql in self.groups:
            # A whole term of the GROUP BY, whatever columns it is made of.
            del self.bare[before:]
        return term

    def _name(self, name: syntax.Name) -> Term:
        term = self._scope.find(name)
        if term is None and name.table == "" and fold(name.name) in self._aliases:
            alias = fold(name.name)
            node = self._aliases.pop(alias)
            try:
                return self.term(node)
            finally:
                self._aliases[alias] = node
        if term is None:
            return super()._name(name)
        if self._scope.own(name) is None:
            self._outer_names += 1
        elif self.groups is not None:
            self.bare.append(name.name[:80])
        return term

    def _now(self, keyword: str) -> Term:
        raise Untranslatable(f"{keyword} gives another result at every time")

    # ---- aggregates -----------------------------------------------------------------------------

    def _call(self, node: syntax.Call) -> Term:
        if not is_aggregate(node):
            return super()._call(node)
        if not self._may_aggregate:
            raise Untranslatable(f"{node.name}() stands where no aggregate may")
        if node.star:
            if node.name != "count":
                raise Untranslatable(f"{node.name}(*) is not translated")
            return Term("count(*)", kinds.INT, least=0)
        if node.name in ("group_concat", "string_agg"):
            raise Untranslatable(f"{node.name}() puts values together in no certain order")
        if len(node.arguments) != 1:
            raise Untranslatable(f"{node.name}() with other than one argument is not translated")
        with self.aggregating(False):
            bare, outer = len(self.bare), self._outer_names
            (argument,) = map(self.term, node.arguments)
            del self.bare[bare:]
        if self._outer_names > outer:
            raise Untranslatable(f"{node.name}() goes over columns of the query around it")
        return aggregate(node.name, argument, "DISTINCT " if node.distinct else "")

    # ---- subqueries -----------------------------------------------------------------------------

    def _subquery(self, node: Node) -> Term:
        match node:
            case syntax.Exists(select):
                return truth(f"EXISTS ({self._inner(select).sql})")
            case syntax.Scalar(select):
                return self._scalar(select)
            case syntax.InSelect(operand, select):
                return self._in_select(self.term(operand), select)
        raise AssertionError(node)

    def _inner(self, query: syntax.Query) -> View:
        if self.groups is None:
            return self._queries.query(query, self._scope)
        # What it takes from around it would have to be grouped too.
        closed = Scope(self._scope.outer, "a subquery takes columns from a query with groups")
        closed.sources = self._scope.sources
        return self._queries.query(query, closed)

    def _scalar(self, query: syntax.Query) -> Term:
        if not _gives_one_row(query):
            raise Untranslatable("a subquery that may give several rows stands for one value")
        view = self._inner(query)
        if len(view.fields) != 1:
            raise Untranslatable("a subquery of several columns stands for one value")
        field = view.fields[0]
        return replace(column(field, f"({view.sql})"), collation="")

    def _in_select(self, operand: Term, query: syntax.Query) -> Term:
        view = self._inner(query)
        if len(view.fields) != 1:
            raise Untranslatable("IN with a subquery of several columns is not translated")
        field = view.fields[0]
        alias = self._queries.fresh("subquery")
        inner = Source(alias, (field,)).term(field)
        # A list of values takes no part in choosing the collation.
        left, right = operands(operand, replace(inner, collation="", explicit=False), "=")
        return truth(f"({left} IN (SELECT {right} FROM ({view.sql}) AS {quote(alias)}))")


class _Aggregating:
    def __init__(self, translator: _SelectTranslator, allowed: bool) -> None:
        self._translator = translator
        self._allowed = allowed

    def __enter__(self) -> None:
        self._before = self._translator.allow_aggregates(self._allowed)

    def __exit__(self, *_: object) -> None:
        self._translator.allow_aggregates(self._before)


def _gives_one_row(query: syntax.Query) -> bool:
    select = query.selects[0]
    results = [r.node for r in select.results if isinstance(r, syntax.Result)]
    aggregates = not select.groups and select.having is None and any(map(has_aggregate, results))
    return len(query.selects) == 1 and (aggregates or (query.limit == 1 and bool(query.order)))
