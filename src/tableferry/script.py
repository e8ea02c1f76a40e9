"""A plan as the statements that create it, in the order in which they run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tableferry.dialects.base import Statements
from tableferry.model import Plan, Roles, TablePlan


def statements_of(plan: Plan, statements: Statements) -> Iterator[str]:
    """Everything that the plan creates in an empty schema, without rows."""
    made = [table for table in plan.tables if not table.adopted]
    for table in made:
        yield statements.create_table(table.target)
    for table in made:
        yield from _on_table(table, statements)
    for table in made:
        for key in table.target.foreign_keys:
            yield statements.add_foreign_key(table.target.name, key)
            yield statements.validate_foreign_key(table.target.name, key)
    for table in made:
        for column in table.target.columns:
            if column.default is not None:
                yield statements.set_default(table.target.name, column)
        yield from statements.comments(table.target)
    for view in plan.views:
        yield statements.create_view(view)
    for table in made:
        if table.target.identity is not None:
            yield statements.add_identity(table.target)
            yield statements.set_next_identity(table.target)


def _on_table(table: TablePlan, statements: Statements) -> Iterator[str]:
    target = table.target
    if target.primary_key is not None:
        yield statements.add_key(target.name, target.primary_key, primary=True)
    for key in target.uniques:
        yield statements.add_key(target.name, key, primary=False)
    for check in target.checks:
        yield statements.add_check(target.name, check)
    for index in target.indexes:
        yield statements.create_index(target.name, index)


def handing_over(plan: Plan, statements: Statements, schema: str, roles: Roles) -> Iterator[str]:
    """To the roles that the user named. Grants come first: the owner alone may give them."""
    made = [table.target for table in plan.tables if not table.adopted]
    for role in roles.grants:
        yield from statements.grant(schema, made, role)
        for view in plan.views:
            yield statements.grant_view(view.target, role)
    if roles.owner:
        for name in (*(table.name for table in made), *(view.target for view in plan.views)):
            yield statements.set_owner(name, roles.owner)


def script_of(plan: Plan, statements: Statements, schema: str, roles: Roles) -> str:
    """All of it as a script, in one transaction."""
    lines = [
        "BEGIN",
        statements.create_schema(schema),
        *statements_of(plan, statements),
        *handing_over(plan, statements, schema, roles),
        "COMMIT",
    ]
    return "".join(f"{line};\n" for line in lines)
