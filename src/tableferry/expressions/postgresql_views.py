"""SELECT statements of PostgreSQL's views, as pg_get_viewdef() prints them, as SQLite's.

PostgreSQL has proven already that the statement is one: that names are there, that what is neither
grouped nor in an aggregate depends on what is grouped, and that a subquery has the columns it
needs. What is left is to say the same in SQLite, or to refuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tableferry.expressions import stored, syntax
from tableferry.expressions.model import Clauses, Field, Relation, Untranslatable, View, named
from tableferry.expressions.nesting import refuse_deep
from tableferry.expressions.postgresql_operators import (
    compared,
    operands,
    refuse_undistinguishable,
    sort_key,
    truth,
    unified,
)
from tableferry.expressions.postgresql_parser import parse_query
from tableferry.expressions.postgresql_to_sqlite import Translator
from tableferry.expressions.sqlite_to_postgresql import guarded
from tableferry.expressions.stored import DOUBLE, Value, as_units, described, of_units
from tableferry.expressions.syntax import Node
from tableferry.model import Kind
from tableferry.sql import fold, quote

# More tables than these SQLite does not join ("Limits In SQLite", point 7).
_MAX_JOINED = 64
# The name of a result column that has none ("Column Labels", section 7.3.2).
_UNNAMED = "?column?"
_AGGREGATES = frozenset(
    [
        *("count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every"),
        *(
            "string_agg",
            "array_agg",
            "json_agg",
            "jsonb_agg",
            "json_object_agg",
            "jsonb_object_agg",
        ),
    ]
)


def translate_view(
    select: str,
    relations: Mapping[str, Relation],
    columns: tuple[str, ...] = (),
    known_kinds: tuple[Kind, ...] = (),
) -> View:
    """A view's SELECT over ``relations``: its tables, and its views that were translated before.
    A table that is named with its schema is found where Relation.schema tells it, or by the key
    "schema.table". ``columns`` are the names that the view's columns are to have; ``known_kinds``
    are found out here, and not taken from anywhere. Raises Untranslatable."""

    def translate() -> View:
        tables = _Tables(relations)
        result = _Queries(tables, Counter()).query(parse_query(select), None, columns)
        _refuse_doubled(result.outputs)
        return View(refuse_deep(result.sql), tuple(_field(output) for output in result.outputs))

    return guarded(translate)


@dataclass(frozen=True, slots=True)
class _Output:
    """A result column."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class _Result:
    """A query in SQL, and what its columns are."""

    sql: str
    outputs: tuple[_Output, ...]


def _field(output: _Output) -> Field:
    value = output.value
    declared = "" if value.kept or value.type == "null" else value.type
    return Field(
        output.name,
        stored.kind_of(value),
        value.collation,
        approximate=value.approximate,
        declared=declared,
        labels=value.labels,
    )


def _refuse_doubled(outputs: tuple[_Output, ...]) -> None:
    counted = Counter(fold(output.name) for output in outputs)
    name, times = counted.most_common(1)[0]
    if times > 1:
        raise Untranslatable(f"two columns have the name {name[:80]} in SQLite")


def _fresh(value: Value, sql: str) -> Value:
    """A value that stands as a column of its own."""
    return replace(
        value, sql=sql, literal=None, null=False, units="", explicit=False, nonzero=False
    )


# ---- names --------------------------------------------------------------------------------------


class _Tables:
    """What a FROM clause can name: tables, views and common table expressions."""

    def __init__(
        self,
        relations: Mapping[str, Relation],
        common: Mapping[str, tuple[_Output, ...]] | None = None,
    ) -> None:
        self._relations = relations
        self._common = dict(common or {})

    def inner(self) -> _Tables:
        return _Tables(self._relations, self._common)

    def add(self, name: str, outputs: tuple[_Output, ...]) -> None:
        self._common[name] = outputs

    def find(self, member: syntax.Source, alias: str) -> tuple[str, dict[str, Value]]:
        """The table's name in SQLite, and its columns by their names in PostgreSQL."""
        if not member.schema and member.table in self._common:
            outputs = self._common[member.table]
            return quote(member.table), _columns(alias, outputs)
        relation = named(self._relations, member.schema, member.table)
        name = relation.name.name
        if fold(name) in map(fold, self._common):
            raise Untranslatable(f"the name {name[:80]} stands for two things in SQLite")
        # One of several storage classes is as good as not there.
        fields = [field for field in relation.fields if not field.mixed]
        columns = {
            field.source_name: stored.column(field, f"{quote(alias)}.{quote(field.name)}")
            for field in fields
        }
        return quote(name), columns


def _columns(alias: str, outputs: tuple[_Output, ...]) -> dict[str, Value]:
    return {o.name: _fresh(o.value, f"{quote(alias)}.{quote(o.name)}") for o in outputs}


@dataclass(frozen=True, slots=True)
class _Source:
    """One member of a FROM clause; ``hidden`` are the columns that a USING has merged away."""

    alias: str
    columns: dict[str, Value]
    hidden: frozenset[str] = frozenset()


class _Scope:
    """The names that a SELECT sees: those of its own sources, then those of the query around it."""

    def __init__(self, outer: _Scope | None) -> None:
        self.outer = outer
        self.sources: list[_Source] = []
        # How many names were found in the queries around this one.
        self.outer_names = 0

    def add(self, source: _Source) -> None:
        for other in self._all():
            if fold(other.alias) == fold(source.alias) and other.alias != source.alias:
                raise Untranslatable(
                    f"the names {other.alias} and {source.alias} are the same in SQLite"
                )
        self.sources.append(source)

    def _all(self) -> list[_Source]:
        return self.sources + (self.outer._all() if self.outer else [])

    def find(self, name: syntax.Name) -> Value | None:
        found = [
            source.columns[name.name]
            for source in self.sources
            if name.table in ("", source.alias) and name.name in source.columns
            if name.table or name.name not in source.hidden
        ]
        if len(found) > 1:
            raise Untranslatable(f"the name {name.name[:80]} is ambiguous")
        if found:
            return found[0]
        if self.outer is None or any(name.table == source.alias for source in self.sources):
            return None
        self.outer_names += 1
        return self.outer.find(name)


# ---- queries ------------------------------------------------------------------------------------


class _Queries:
    """Translates queries over the tables that they may name."""

    def __init__(self, tables: _Tables, numbers: Counter[str]) -> None:
        self.tables = tables
        # Shared by all that belongs to one view, so that no made-up name comes twice.
        self._numbers = numbers

    def fresh(self) -> str:
        self._numbers["subquery"] += 1
        return f"subquery {self._numbers['subquery']}"

    def query(
        self, query: syntax.Query, outer: _Scope | None, columns: tuple[str, ...] = ()
    ) -> _Result:
        inner = _Queries(self.tables.inner(), self._numbers)
        common = [inner._common(expression, outer) for expression in query.common]
        parts = [_Part(inner, select, outer) for select in query.selects]
        outputs = _combined(parts, query.operators)
        if columns:
            if len(columns) != len(outputs):
                raise Untranslatable("the view names another number of columns than it selects")
            pairs = zip(columns, outputs, strict=True)
            outputs = tuple(replace(output, name=name) for name, output in pairs)
        names = tuple(output.name for output in outputs)
        pieces = [parts[0].sql(names)]
        for operator, part in zip(query.operators, parts[1:], strict=True):
            pieces += [operator, part.sql(names)]
        sql = f"WITH {', '.join(common)} " if common else ""
        sql += " ".join(pieces) + _ordered(query, parts, outputs)
        return _Result(sql, outputs)

    def _common(self, expression: syntax.Common, outer: _Scope | None) -> str:
        result = self.query(expression.query, outer, expression.columns)
        _refuse_doubled(result.outputs)
        self.tables.add(expression.name, result.outputs)
        return f"{quote(expression.name)} AS ({result.sql})"


def _combined(parts: list[_Part], operators: tuple[str, ...]) -> tuple[_Output, ...]:
    first = parts[0].outputs
    if any(len(part.outputs) != len(first) for part in parts):
        raise Untranslatable(f"the parts of {operators[0]} have different numbers of columns")
    outputs = []
    for column in zip(*(part.outputs for part in parts), strict=True):
        values = [output.value for output in column]
        value = values[0] if len(values) == 1 else unified(values, operators[0])
        outputs.append(_Output(column[0].name, value))
    distinct = any(part.select.distinct for part in parts)
    if distinct or any(operator != "UNION ALL" for operator in operators):
        what = operators[0] if operators else "DISTINCT"
        refuse_undistinguishable([_fresh(output.value, "x") for output in outputs], what)
    return tuple(outputs)


def _ordered(query: syntax.Query, parts: list[_Part], outputs: tuple[_Output, ...]) -> str:
    keys = []
    for ordering in query.order:
        if isinstance(ordering.node, syntax.Integer):
            # A result column by its number, as a UNION is ordered.
            position = ordering.node.value
            if not 1 <= position <= len(outputs):
                raise Untranslatable(f"ORDER BY {position} is no column of the result")
            _order_key(_fresh(outputs[position - 1].value, "x"))
            key = str(position)
        elif len(parts) > 1:
            raise Untranslatable("ORDER BY of a UNION goes by numbers only")
        else:
            key = _order_key(parts[0].value(ordering.node))
        nulls = ordering.nulls or ("FIRST" if ordering.descending else "LAST")
        keys.append(f"{key} {'DESC' if ordering.descending else 'ASC'} NULLS {nulls}")
    text = f" ORDER BY {', '.join(keys)}" if keys else ""
    if query.limit is None and query.offset is None:
        return text
    if not keys:
        raise Untranslatable("LIMIT without ORDER BY gives any rows")
    text += f" LIMIT {-1 if query.limit is None else query.limit}"
    return text + ("" if query.offset is None else f" OFFSET {query.offset}")


def _order_key(value: Value) -> str:
    if value.null or value.literal is not None:
        raise Untranslatable("ORDER BY a constant is not translated")
    try:
        return sort_key(value)
    except Untranslatable as error:
        raise Untranslatable(f"ORDER BY: {error.reason}") from None


class _Part:
    """One SELECT without its ORDER BY: sources first, then conditions, then its columns."""

    def __init__(self, queries: _Queries, select: syntax.Select, outer: _Scope | None) -> None:
        self.select = select
        self._scope = _Scope(outer)
        self._translator = _SelectTranslator(queries, self._scope)
        self._from = self._sources(queries)
        self._where = "" if select.where is None else self._translator.truth(select.where)
        self._groups = [self._group(node) for node in select.groups]
        self._translator.may_aggregate = True
        self.outputs = tuple(map(self._output, select.results))
        self._having = "" if select.having is None else self._translator.truth(select.having)

    def value(self, node: Node) -> Value:
        return self._translator.value(node)

    def sql(self, names: tuple[str, ...]) -> str:
        clauses = Clauses(
            self.select.distinct, self._from, self._where, tuple(self._groups), self._having
        )
        values = (output.value.sql for output in self.outputs)
        return clauses.listing(zip(values, names, strict=True))

    def _output(self, result: syntax.Result | syntax.Star) -> _Output:
        if isinstance(result, syntax.Star):
            raise Untranslatable("* is not translated, for views are printed without it")
        name = result.alias
        if not name:
            name = result.node.name if isinstance(result.node, syntax.Name) else _UNNAMED
        return _Output(name, self._translator.value(result.node))

    def _group(self, node: Node) -> str:
        value = self._translator.value(node)
        if value.literal is not None or value.null:
            raise Untranslatable("GROUP BY a constant is not translated")
        refuse_undistinguishable([value], "GROUP BY")
        return value.sql

    def _sources(self, queries: _Queries) -> str:
        text = ""
        if len(self.select.sources) > _MAX_JOINED:
            raise Untranslatable(f"it joins more than {_MAX_JOINED} tables")
        for member in self.select.sources:
            sql, source = _source(queries, member, self._scope)
            condition, hidden = self._using(member, source)
            self._scope.add(replace(source, hidden=hidden))
            if member.on is not None:
                condition = self._translator.truth(member.on)
            text = _joined(text, sql, member.join, condition)
        return text

    def _using(self, member: syntax.Source, source: _Source) -> tuple[str, frozenset[str]]:
        conditions = []
        for name in member.using:
            left, right = self._scope.find(syntax.Name(name)), source.columns.get(name)
            if left is None or right is None:
                raise Untranslatable(f"USING names {name[:80]}, which is not known")
            conditions.append(compared("=", left, right).sql)
        return " AND ".join(conditions), frozenset(member.using)


def _source(queries: _Queries, member: syntax.Source, scope: _Scope) -> tuple[str, _Source]:
    if member.select is not None:
        # A subquery sees nothing of its neighbours.
        result = queries.query(member.select, scope.outer)
        _refuse_doubled(result.outputs)
        alias = member.alias or queries.fresh()
        columns = _columns(alias, result.outputs)
        return f"({result.sql}) AS {quote(alias)}", _Source(alias, columns)
    alias = member.alias or member.table
    sql, columns = queries.tables.find(member, alias)
    return f"{sql} AS {quote(alias)}", _Source(alias, columns)


def _joined(text: str, sql: str, join: str, condition: str) -> str:
    if not text:
        return sql
    word = "LEFT JOIN" if join == "LEFT" else "JOIN"
    return f"{text} {word} {sql}" + (f" ON {condition}" if condition else "")


# ---- expressions in a SELECT --------------------------------------------------------------------


class _SelectTranslator(Translator):
    """Adds aggregates and subqueries."""

    def __init__(self, queries: _Queries, scope: _Scope) -> None:
        super().__init__(scope)
        self._queries = queries
        self._scope = scope
        self.may_aggregate = False

    def _now(self, keyword: str) -> Value:
        raise Untranslatable(f"{keyword} gives another result at every time")

    def _call(self, node: syntax.Call) -> Value:
        if node.name not in _AGGREGATES:
            return super()._call(node)
        if not self.may_aggregate:
            raise Untranslatable(f"{node.name}() stands where no aggregate may")
        condition = ""
        self.may_aggregate = False
        outer = self._scope.outer_names
        if node.condition is not None:
            condition = f" FILTER (WHERE {self.truth(node.condition)})"
        arguments = [self.value(argument) for argument in node.arguments]
        self.may_aggregate = True
        if self._scope.outer_names > outer:
            raise Untranslatable(f"{node.name}() goes over columns of the query around it")
        if node.star:
            return Value(f"count(*){condition}", "bigint")
        if len(arguments) != 1 or node.name.endswith("_agg"):
            raise Untranslatable(f"{node.name}() puts values together in no certain order")
        return _aggregate(node, arguments[0], condition)

    def _subquery(self, node: Node) -> Value:
        match node:
            case syntax.Exists(select):
                return truth(f"EXISTS ({self._inner(select).sql})")
            case syntax.Scalar(select):
                result = self._inner(select)
                self._refuse_several(result)
                return _fresh(result.outputs[0].value, f"({result.sql})")
            case syntax.InSelect(operand, select):
                return self._in_select(self.value(operand), self._inner(select))
        raise AssertionError(node)

    def _inner(self, query: syntax.Query) -> _Result:
        return self._queries.query(query, self._scope)

    def _refuse_several(self, result: _Result) -> None:
        if len(result.outputs) != 1:
            raise Untranslatable("a subquery of several columns stands for one value")

    def _in_select(self, operand: Value, result: _Result) -> Value:
        self._refuse_several(result)
        alias = self._queries.fresh()
        (output,) = result.outputs
        column = _fresh(output.value, f"{quote(alias)}.{quote(output.name)}")
        left, right = operands("=", operand, column)
        return truth(f"({left} IN (SELECT {right} FROM ({result.sql}) AS {quote(alias)}))")


def _aggregate(node: syntax.Call, value: Value, condition: str) -> Value:
    name = node.name
    if node.distinct:
        refuse_undistinguishable([value], f"{name}(DISTINCT …)")
    distinct = "DISTINCT " if node.distinct else ""

    def call(function: str, argument: str) -> str:
        return f"{function}({distinct}{argument}){condition}"

    if value.null:
        raise Untranslatable(f"{name}() of NULL is not translated")
    match name:
        case "count":
            return Value(call("count", value.sql), "bigint")
        case "min" | "max":
            sort_key(value)
            return _fresh(value, call(name, value.sql))
        case "bool_and" | "every" | "bool_or" if value.type == "boolean":
            return truth(call("max" if name == "bool_or" else "min", value.sql))
        case "sum":
            return _sum(value, call)
        case "avg" if value.type == DOUBLE:
            return Value(call("avg", value.sql), DOUBLE, approximate=True)
    raise Untranslatable(f"{name}() of {described(value)} is not translated")


def _sum(value: Value, call: Callable[[str, str], str]) -> Value:
    match value.type:
        case "smallint" | "integer":
            sum_ = Value(call("sum", value.sql), "bigint")
        case "bigint":
            units = call("sum", value.sql)
            sum_ = Value(units, "numeric", digits=19, units=units)
        case "numeric":
            units, scale = as_units(value)
            sum_ = of_units(call("sum", units), scale)
        case "double precision":
            # Doubles are added in another order, and so rounded elsewhere.
            sum_ = Value(call("sum", value.sql), DOUBLE, approximate=True)
        case _:
            raise Untranslatable(f"sum() of {described(value)} is not translated")
    return replace(sum_, approximate=sum_.approximate or value.approximate)
