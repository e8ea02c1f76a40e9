"""From a source's schema and the values met to what is created in the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.casts import Offers
from tableferry.dialects.postgresql import PostgresDialect
from tableferry.dialects.sqlite import SqliteDialect
from tableferry.model import (
    Candidate,
    Check,
    Column,
    Example,
    Finding,
    ForeignKey,
    Identity,
    Index,
    IndexColumn,
    Key,
    LeftBehind,
    Plan,
    Schema,
    Survey,
    Table,
    TableName,
    View,
)
from tableferry.naming import Destination
from tableferry.plan import Known, Surveys, make_plan, next_generation

SQLITE, POSTGRES = SqliteDialect(), PostgresDialect()
DESTINATION = Destination(POSTGRES, "app")
TO_SQLITE = Destination(SQLITE, "main")
EXAMPLE = Example((("id", "1"),), "'x'")


def name(table: str) -> TableName:
    return TableName("main", table)


def table(title: str, *columns: tuple[str, str], keys: tuple[ForeignKey, ...] = ()) -> Table:
    made = tuple(Column(column, declared) for column, declared in columns)
    return Table(name(title), made, primary_key=Key((columns[0][0],)), foreign_keys=keys)


def refers(column: str, parent: str, parent_column: str) -> ForeignKey:
    return ForeignKey((column,), name(parent), (parent_column,))


def plan(*tables: Table, surveys: Surveys | None = None) -> Plan:
    return make_plan(Schema(tables), Offers(SQLITE, POSTGRES), DESTINATION, Known(surveys or {}))


def spelled(candidate: Candidate) -> str:
    return candidate.kind.name + ("+" if candidate.merges else "")


def survey(
    surveyed: Table,
    fits: Mapping[str, str],
    classes: Mapping[str, frozenset[str]] | None = None,
) -> Survey:
    """What a survey says: per column the kinds that fit ("text+" merges); others fit nothing
    but their first candidate."""
    findings, met = [], []
    for column in surveyed.columns:
        offers = SQLITE.candidates(column)
        good = fits.get(column.name, spelled(offers[0])).split()
        findings.append(
            tuple(
                Finding(c, 0) if spelled(c) in good else Finding(c, 3, (EXAMPLE,)) for c in offers
            )
        )
        met.append((classes or {}).get(column.name, frozenset({"text"})))
    return Survey(tuple(findings), tuple(met))


def types(planned: Plan, title: str) -> list[str]:
    return [column.declared for column in planned.table(name(title)).target.columns]


# ---- choice -----------------------------------------------------------------------------------


def test_without_a_survey_the_declared_types_are_believed() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "DECIMAL(10,2)"), ("b", "VARCHAR(5)"), ("c", "DATE"))
    planned = plan(t)
    assert types(planned, "t") == ["bigint", "numeric(10,2)", "character varying(5)", "date"]
    only = planned.table(t.name)
    assert only.target.name == TableName("app", "t")
    assert (only.generation, only.renamed, only.widened) == (1, (), ())


def test_the_first_candidate_that_all_values_fit_is_taken() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "DATE"), ("b", "BLOB"))
    planned = plan(t, surveys={t.name: survey(t, {"a": "timestamp text", "b": "bytes+"})})
    assert types(planned, "t") == ["bigint", "timestamp without time zone", "bytea"]


def test_where_nothing_fits_the_last_one_is_taken() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "DATE"))
    planned = plan(t, surveys={t.name: survey(t, {"a": ""})})
    assert planned.table(t.name).candidates[1] == SQLITE.candidates(t.columns[1])[-1]


def test_a_widening_names_what_did_not_fit() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "INTEGER"))
    classes = {"a": frozenset({"text", "integer"})}
    planned = plan(t, surveys={t.name: survey(t, {"a": "text+ bytes+"}, classes)})
    (widening,) = planned.table(t.name).widened
    assert (widening.column, widening.declared, widening.planned) == ("a", "INTEGER", "bigint")
    assert (widening.became, widening.count) == ("text", 3)
    assert widening.merged_classes == ("integer", "text")
    assert widening.examples == (EXAMPLE,)


def test_classes_are_merged_only_where_there_are_several() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "INTEGER"))
    planned = plan(t, surveys={t.name: survey(t, {"a": "text"})})
    assert planned.table(t.name).widened[0].merged_classes == ()


def test_a_column_of_no_declared_type_gets_one_without_a_widening() -> None:
    t = table("t", ("id", "INTEGER"), ("a", ""))
    planned = plan(t, surveys={t.name: survey(t, {"a": "int"}, {"a": frozenset({"integer"})})})
    assert types(planned, "t") == ["bigint", "bigint"]
    assert planned.table(t.name).widened == ()


def test_a_plan_knows_the_types_that_it_may_come_to() -> None:
    t = table("t", ("id", "INTEGER"), ("a", "DATE"))
    before, after = plan(t), plan(t, surveys={t.name: survey(t, {"a": "text"})})
    assert before.table(t.name).types == after.table(t.name).types
    for planned in (before, after):
        only = planned.table(t.name)
        for column, possible in zip(only.target.columns, only.types, strict=True):
            assert column.declared in possible


def test_an_identity_of_other_values_is_left_behind() -> None:
    t = replace(table("t", ("id", "INTEGER"), ("a", "INT")), identity=Identity("id", 9))
    assert plan(t).table(t.name).target.identity == Identity("id", 9)
    planned = plan(t, surveys={t.name: survey(t, {"id": "text+"})})
    assert planned.table(t.name).target.identity is None
    (left,) = planned.left_behind
    assert (left.what, left.name, left.table) == ("identity", "id", "t")


def test_a_key_with_a_default_is_not_the_rowid_which_takes_none() -> None:
    t = Table(
        TableName("public", "t"),
        (Column("id", "integer", nullable=False, default="5"),),
        primary_key=Key(("id",)),
    )
    for made, declared in ((t, "INT4"), (replace(t, columns=(bare(t),)), "INTEGER")):
        planned = to_sqlite(made)
        (column,) = planned.tables[0].target.columns
        assert (column.declared, column.default) == (declared, made.columns[0].default)


def test_a_copy_of_a_table_has_the_rowid_for_its_key_where_it_was_that() -> None:
    numbered = replace(table("t", ("id", "INTEGER")), identity=Identity("id", 9))
    for made, declared in (
        (numbered, "INTEGER"),
        # Of a table WITHOUT ROWID, which may hold anything.
        (replace(numbered, identity=None), "INT"),
        (table("t", ("id", "BIGINT")), "BIGINT"),
        (table("t", ("id", "INT4")), "INT4"),
    ):
        offering = Offers(SQLITE, SQLITE)
        planned = make_plan(Schema((made,)), offering, TO_SQLITE, Known())
        assert types(planned, "t") == [declared]


def test_what_is_left_behind_names_the_schema_of_its_table() -> None:
    column = Column("a", "text", default="some_function()")
    tables = [
        Table(
            TableName(schema, "t"),
            (column,),
            uniques=(Key(("a",), "first"), Key(("a",), "second")),
            checks=(Check("some_function(a)", "checked"),),
            indexes=(Index("i", (IndexColumn(expression="some_function(a)"),)),),
            foreign_keys=(ForeignKey(("a",), TableName("public", "gone"), ("a",)),),
        )
        for schema in ("other", "public")
    ]
    view = View(TableName("other", "v"), "SELECT some_function()")
    planned = make_plan(
        Schema(tuple(tables), views=(view,)), Offers(POSTGRES, SQLITE), TO_SQLITE, Known()
    )

    named = {(left.what, left.table) for left in planned.left_behind}
    whats = ("default", "unique constraint", "check", "index", "foreign key")
    assert named == {(what, t) for what in whats for t in ("t", "other.t")} | {("view", "other.v")}
    assert dict(planned.table(tables[0].name).renamed) == {"other.t": "other_t"}


def to_sqlite(*tables: Table) -> Plan:
    return make_plan(Schema(tables), Offers(POSTGRES, SQLITE), TO_SQLITE, Known())


def bare(made: Table) -> Column:
    return replace(made.columns[0], default=None)


def test_primary_key_columns_are_not_null() -> None:
    t = table("t", ("id", "TEXT"), ("a", "TEXT"))
    assert [c.nullable for c in plan(t).table(t.name).target.columns] == [False, True]


# ---- partners ---------------------------------------------------------------------------------


def test_the_parent_follows_its_child_and_its_other_child_too() -> None:
    parent = table("parent", ("id", "INTEGER"))
    child = table("child", ("p", "INTEGER"), keys=(refers("p", "parent", "id"),))
    other = table("other", ("q", "INTEGER"), keys=(refers("q", "parent", "id"),))
    surveys = {child.name: survey(child, {"p": "text+ bytes+"})}
    planned = plan(parent, child, other, surveys=surveys)
    assert [types(planned, t) for t in ("parent", "child", "other")] == [["text"]] * 3


def test_the_child_follows_its_parent_as_far_as_its_own_values_allow() -> None:
    parent = table("parent", ("id", "INTEGER"))
    child = table("child", ("p", "INTEGER"), keys=(refers("p", "parent", "id"),))
    surveys = {
        parent.name: survey(parent, {"id": "numeric text+"}),
        child.name: survey(child, {"p": "int numeric text+"}),
    }
    planned = plan(parent, child, surveys=surveys)
    assert types(planned, "parent") == types(planned, "child") == ["numeric"]


def test_columns_outside_the_key_do_not_follow() -> None:
    parent = table("parent", ("id", "INTEGER"), ("n", "INTEGER"))
    child = table("child", ("p", "INTEGER"), ("m", "INTEGER"), keys=(refers("p", "parent", "id"),))
    planned = plan(parent, child, surveys={child.name: survey(child, {"m": "text+"})})
    assert types(planned, "parent") == ["bigint", "bigint"]
    assert types(planned, "child") == ["bigint", "text"]


def test_a_table_that_refers_to_itself() -> None:
    t = table("t", ("id", "INTEGER"), ("up", "INTEGER"), keys=(refers("up", "t", "id"),))
    planned = plan(t, surveys={t.name: survey(t, {"up": "text+", "id": "int numeric text+"})})
    assert types(planned, "t") == ["text", "text"]


# ---- generations ------------------------------------------------------------------------------


def test_only_what_changed_gets_a_new_generation() -> None:
    parent = table("parent", ("id", "INTEGER"))
    child = table("child", ("p", "INTEGER"), keys=(refers("p", "parent", "id"),))
    alone = table("alone", ("id", "INTEGER"))
    before = plan(parent, child, alone)
    surveys = {child.name: survey(child, {"p": "text+ bytes+"})}
    after = next_generation(before, plan(parent, child, alone, surveys=surveys))
    assert [t.generation for t in after.tables] == [2, 2, 1]
    again = next_generation(after, plan(parent, child, alone, surveys=surveys))
    assert again == after


# ---- names ------------------------------------------------------------------------------------


def test_renames_are_named() -> None:
    long = "n" * 70
    t = replace(
        table(long, ("ctid", "INTEGER"), (long, "TEXT"), ("a", "TEXT")),
        indexes=(Index(f"i{long}", (IndexColumn(long),)),),
    )
    planned = plan(t).table(t.name)
    target = planned.target
    assert len(target.name.name.encode()) == 63
    assert [c.name for c in target.columns][::2] == ["ctid_", "a"]
    assert target.primary_key is not None
    assert target.primary_key.columns == ("ctid_",)
    assert target.indexes[0].columns == (IndexColumn(target.columns[1].name),)
    assert dict(planned.renamed) == {
        long: target.name.name,
        f"{long}.ctid": f"{long}.ctid_",
        f"{long}.{long}": f"{long}.{target.columns[1].name}",
        f"i{long}": target.indexes[0].name,
    }


COLUMN_NAMES = st.lists(
    st.sampled_from(["ctid", "ctid_", "ctid__", "xmin", "xmin_", "a"])
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
    | st.text("ab", min_size=62, max_size=66).map(lambda text: "x" * 60 + text),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(COLUMN_NAMES)
@example(["ctid", "ctid_"])
@example(["ctid_", "ctid"])
@example(["ctid", "ctid_", "ctid__"])
@example(["", "unnamed", "unnamed_"])
def test_column_names_never_collide(names: list[str]) -> None:
    t = table("t", *((column, "TEXT") for column in names))
    kept = [column.name for column in plan(t).table(t.name).target.columns]
    assert len(set(kept)) == len(names)
    assert all(0 < len(column.encode()) <= 63 for column in kept)
    assert not {"ctid", "xmin"} & set(kept)


@given(st.lists(st.text("ab", max_size=3), min_size=2, max_size=5, unique=True))
def test_long_table_and_index_names_never_collide(ends: list[str]) -> None:
    stem = "t" * 63
    tables = [
        replace(
            table(stem + end, ("a", "TEXT")),
            indexes=(Index(f"i{stem}{end}", (IndexColumn("a"),)),),
        )
        for end in ends
    ]
    planned = plan(*tables).tables
    names = [t.target.name.name for t in planned] + [t.target.indexes[0].name for t in planned]
    assert len(set(names)) == 2 * len(ends)


# ---- foreign keys -----------------------------------------------------------------------------


def test_a_foreign_key_carries_its_actions_and_gets_a_name() -> None:
    parent = table("parent", ("xmin", "INTEGER"))
    key = replace(refers("p", "parent", "xmin"), on_delete="CASCADE", deferred=True)
    child = table("child", ("p", "INTEGER"), keys=(key,))
    (made,) = plan(parent, child).table(child.name).target.foreign_keys
    assert made == ForeignKey(
        ("p",),
        TableName("app", "parent"),
        ("xmin_",),
        on_delete="CASCADE",
        deferred=True,
        name="child_p_fkey",
    )


def test_two_foreign_keys_over_one_column_have_two_names() -> None:
    parents = [table("one", ("id", "INTEGER")), table("two", ("id", "INTEGER"))]
    keys = (refers("p", "one", "id"), refers("p", "two", "id"))
    made = plan(*parents, table("child", ("p", "INTEGER"), keys=keys)).tables[-1]
    assert len({key.name for key in made.target.foreign_keys}) == 2


def test_foreign_keys_that_lead_nowhere_are_left_behind() -> None:
    parent = table("parent", ("id", "INTEGER"))
    keys = (
        refers("p", "gone", "id"),
        refers("p", "parent", "gone"),
        ForeignKey(("p",), name("parent"), ()),
        refers("p", "parent", "id"),
    )
    child = table("child", ("p", "INTEGER"), keys=keys)
    planned = plan(parent, child)
    assert len(planned.table(child.name).target.foreign_keys) == 1
    assert [(item.what, item.name, item.table) for item in planned.left_behind] == [
        ("foreign key", "(p) to gone", "child"),
        ("foreign key", "(p) to parent", "child"),
        ("foreign key", "(p) to parent", "child"),
    ]
    assert all(item.reason for item in planned.left_behind)


def test_what_the_schema_left_behind_stays_named() -> None:
    view = LeftBehind("view", "v", "v", "views are not translated yet")
    schema = Schema((table("t", ("id", "INTEGER")),), (view,))
    assert make_plan(schema, Offers(SQLITE, POSTGRES), DESTINATION, Known()).left_behind == (view,)
