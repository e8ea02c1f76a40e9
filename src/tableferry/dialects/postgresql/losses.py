"""What of PostgreSQL's tables, sequences and views has no counterpart, each thing once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from tableferry.dialects.postgresql.sequences import Sequence, is_numbered
from tableferry.dialects.postgresql.tables import Relation, Row
from tableferry.model import LeftBehind, TableName

# Access methods whose indexes find equal values or ordered ones, as a plain index does.
_PLAIN_METHODS = ("btree", "hash")
_KEYS = {"p": "primary key", "u": "unique constraint", "c": "check", "f": "foreign key"}


def is_table(relation: Relation) -> bool:
    """Whether it can be a table elsewhere: one without columns, or a materialised view that was
    never filled, cannot be read."""
    return bool(relation.columns) and relation.own["populated"]


def is_kept(index: Row) -> bool:
    return bool(index["valid"]) and index["method"] in _PLAIN_METHODS


def clauses_of_key(key: Row) -> Iterator[str]:
    """What a key or foreign key says that no plan carries."""
    if not key["nulls_distinct"]:
        yield "NULLS NOT DISTINCT"
    if key["included"]:
        yield f"INCLUDE ({_listed(key['included'])})"
    if key["period"]:
        yield "WITHOUT OVERLAPS" if key["type"] != "f" else "PERIOD"
    if key["match_full"]:
        yield "MATCH FULL"
    if key["set_columns"]:
        yield f"SET ({_listed(key['set_columns'])})"
    if key["deferrable"] and not (key["type"] == "f" and key["deferred"]):
        yield "DEFERRABLE"
    if not key["enforced"]:
        yield "NOT ENFORCED"


def clauses_of_index(index: Row) -> Iterator[str]:
    if not index["valid"]:
        yield "NOT VALID"
    if index["method"] not in _PLAIN_METHODS:
        yield f"USING {index['method']}"
    if index["unique"] and not index["nulls_distinct"]:
        yield "NULLS NOT DISTINCT"
    if index["included"]:
        yield f"INCLUDE ({_listed(index['included'])})"
    if index["collations"] and not any(index["expressions"]):
        # Of an expression the collation is a part of its text.
        yield f"COLLATE {_listed(index['collations'])}"
    if index["classes"]:
        yield _listed(index["classes"])


def of_tables(
    relations: Iterable[Relation], identities: Mapping[TableName, str]
) -> Iterator[LeftBehind]:
    """``identities`` are the columns that number themselves in the target as well."""
    for relation in relations:
        table = str(relation.name)
        own = relation.own
        if not own["populated"]:
            reason = "it holds no rows until it is refreshed"
            yield LeftBehind("materialised view", table, table, reason)
        elif own["kind"] == "m":
            yield LeftBehind("materialised view", table, table, "its rows arrive as a table")
        elif not relation.columns:
            yield LeftBehind("table", table, table, "it has no columns")
        if own["partitioned_by"]:
            parts = ", ".join(own["partitions"])
            reason = f"its partitions arrive as one table: {parts or 'there is none'}"
            yield LeftBehind("partitioning", own["partitioned_by"], table, reason)
        if own["parents"]:
            parents = ", ".join(own["parents"])
            reason = f"it is a table of its own, whose rows {parents} does not show"
            yield LeftBehind("inheritance", parents, table, reason)
        yield from _of_columns(relation, identities.get(relation.name, ""))
        for key in relation.constraints:
            yield from _of_constraint(key, table)
        for index in relation.indexes:
            yield from _of_index(index, table)


def _of_columns(relation: Relation, identity: str) -> Iterator[LeftBehind]:
    table = str(relation.name)
    for column in relation.columns:
        name = column["name"]
        if column["collation"]:
            reason = f"{column['collation']} is no collation of the target's"
            yield LeftBehind("collation", name, table, reason)
        if is_numbered(column) and name != identity:
            reason = f"{identity} is the column that numbers itself"
            yield LeftBehind("identity", name, table, reason)
        if column["identity"] == "a":
            yield LeftBehind("GENERATED ALWAYS", name, table, "the column takes any value given")


def _of_constraint(key: Row, table: str) -> Iterator[LeftBehind]:
    name = key["name"]
    if key["type"] == "x":
        yield LeftBehind("exclusion constraint", name, table, key["definition"])
        return
    if not key["enforced"]:
        reason = "it is NOT ENFORCED in the source"
        yield LeftBehind(_KEYS[key["type"]], name, table, reason)
        return
    if key["period"] and key["type"] == "f":
        yield LeftBehind("foreign key", name, table, "it refers to a PERIOD")
        return
    for clause, there, reason in (
        ("WITHOUT OVERLAPS", key["period"], "values that overlap are not refused, only equal ones"),
        ("NULLS NOT DISTINCT", not key["nulls_distinct"], "NULL may stand in more than one row"),
        ("INCLUDE", key["included"], f"the key's index does not hold {_listed(key['included'])}"),
        (
            "DEFERRABLE",
            key["deferrable"] and not (key["type"] == "f" and key["deferred"]),
            "it cannot be deferred",
        ),
        ("MATCH FULL", key["match_full"], "a row with NULL in some of the columns is taken"),
        (
            "SET NULL or SET DEFAULT",
            key["set_columns"],
            f"it sets all of the columns, not only {_listed(key['set_columns'])}",
        ),
    ):
        if there:
            yield LeftBehind(clause, name, table, reason)


def _of_index(index: Row, table: str) -> Iterator[LeftBehind]:
    name = index["name"]
    if not index["valid"]:
        yield LeftBehind("index", name, table, "it is not valid in the source either")
        return
    if not is_kept(index):
        yield LeftBehind("index", name, table, f"it is a {index['method']} index")
        return
    for clause, there, reason in (
        (
            "NULLS NOT DISTINCT",
            index["unique"] and not index["nulls_distinct"],
            "NULL may stand in more than one row",
        ),
        ("INCLUDE", index["included"], f"the index does not hold {_listed(index['included'])}"),
        (
            "collation",
            index["collations"],
            f"the index is not ordered as {_listed(index['collations'])}",
        ),
        ("operator class", index["classes"], f"the index does without {_listed(index['classes'])}"),
    ):
        if there:
            yield LeftBehind(clause, name, table, reason)


def of_sequences(
    relations: Iterable[Relation], sequences: Mapping[int, Sequence]
) -> Iterator[LeftBehind]:
    users: Counter[int] = Counter()
    tables: dict[int, str] = {}
    numbering: set[int] = set()
    for relation in relations:
        for column in relation.columns:
            users[column["sequence"]] += 1
            tables.setdefault(column["sequence"], str(relation.name))
            if is_numbered(column):
                numbering.add(column["sequence"])
    for oid, sequence in sequences.items():
        name, table = str(sequence.name), tables.get(oid, "")
        if oid not in users:
            if sequence.covered:
                yield LeftBehind("sequence", name, "", "it numbers no column")
            continue
        if oid not in numbering:
            # The column's default takes it along, or is named itself.
            continue
        if sequence.next_value is None:
            reason = "this role may not read it: the column goes on after its largest value"
            yield LeftBehind("sequence", name, table, reason)
        if users[oid] > 1:
            reason = f"{users[oid]} columns share it, and are numbered each on its own"
            yield LeftBehind("sequence", name, table, reason)
        if sequence.step != 1:
            yield LeftBehind("INCREMENT", name, table, f"it counts by 1, not by {sequence.step}")
        if sequence.cycles:
            yield LeftBehind("CYCLE", name, table, "it does not start again at its end")
        if sequence.most is not None:
            yield LeftBehind("MAXVALUE", name, table, f"it goes on after {sequence.most}")


def of_views(views: Iterable[Row]) -> Iterator[LeftBehind]:
    for view in views:
        name = str(TableName(view["schema"], view["name"]))
        if "check_option=" in view["options"]:
            yield LeftBehind(
                "CHECK OPTION", name, name, "the view takes rows that it does not show"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
