"""SQLite's expressions and views for another SQLite file."""

from __future__ import annotations

from collections.abc import Mapping

from tableferry.expressions.model import Relation, Untranslatable, View
from tableferry.model import Kind

_REASON = "SQL is not translated in this direction yet"


def translate_check(text: str, relation: Relation) -> str:
    raise Untranslatable(_REASON)


def translate_default(text: str, kind: Kind) -> str:
    raise Untranslatable(_REASON)


def translate_generated(text: str, relation: Relation, kind: Kind) -> str:
    raise Untranslatable(_REASON)


def translate_index_term(text: str, relation: Relation, collation: str = "") -> str:
    raise Untranslatable(_REASON)


def translate_predicate(text: str, relation: Relation) -> str:
    raise Untranslatable(_REASON)


def translate_view(
    select: str,
    relations: Mapping[str, Relation],
    columns: tuple[str, ...] = (),
    kinds: tuple[Kind, ...] = (),
) -> View:
    raise Untranslatable(_REASON)
