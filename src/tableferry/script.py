"""A plan as the statements that create it, in the order in which they run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tableferry.dialects.base import Statements
from tableferry.model import Plan, Roles


def statements_of(plan: Plan, statements: Statements) -> Iterator[str]:
    """Everything that the plan creates in an empty schema, without rows."""
    made = [table.target for table in plan.tables if not table.adopted]
    yield from plan.settings
    for kind in plan.types:
        yield from statements.create_type(kind)
    for table in made:
        yield from statements.define(table)
    if statements.PROVES:
        for table in made:
            for key in table.foreign_keys:
                yield from statements.add_foreign_key(table.name, key)
                yield from statements.validate_foreign_key(table.name, key)
    for table in made:
        for column in table.columns:
            if column.default is not None:
                yield from statements.set_default(table.name, column)
        yield from statements.comments(table)
    for view in plan.views:
        yield from statements.create_view(view)
    for table in made:
        if table.identity is not None:
            yield from statements.add_identity(table)
            yield from statements.set_next_identity(table)


def handing_over(plan: Plan, statements: Statements, schema: str, roles: Roles) -> Iterator[str]:
    """To the roles that the user named. Grants come first: the owner alone may give them."""
    made = [table.target for table in plan.tables if not table.adopted]
    for role in roles.grants:
        yield from statements.grant(schema, made, role)
        for view in plan.views:
            yield from statements.grant_view(view.target, role)
    if roles.owner:
        for name in (*(table.name for table in made), *(view.target for view in plan.views)):
            yield from statements.set_owner(name, roles.owner)


def script_of(plan: Plan, statements: Statements, schema: str, roles: Roles) -> str:
    """All of it as a script, in one transaction."""
    lines = [
        "BEGIN",
        *statements.create_schema(schema),
        *statements_of(plan, statements),
        *handing_over(plan, statements, schema, roles),
        "COMMIT",
    ]
    return "".join(f"{line};\n" for line in lines)
