"""SQL that crosses over: expressions and views of one database, written for another. Pure.

translator() gives the functions of a direction. Between SQLite and PostgreSQL only what stands on a
list is translated: each operator, function and clause has a rule that was proven, by a test over
boundary values, to give the same result in both databases for values of the kinds concerned.
Everything else raises Untranslatable with a reason; nothing unknown passes through. Every name in
the result is quoted, and every string is a quoted literal. Between two databases of one kind the
text stays what it is, and is only looked through for what may not cross.

Of PostgreSQL's expressions the types are known; what is beyond their rules is named in
postgresql_operators.py.

SQLite decides at run time of which class a value is. So the kinds of the columns must be those of
the values really held: a column whose values were merged from several storage classes is a
``Field(mixed=True)``, and expressions that name it are refused.

Beyond the rules are, from SQLite to PostgreSQL:

- integers that overflow 64 bits, which SQLite turns into REAL, and doubles that overflow: they
  end in an error instead of a value;
- integers beyond 2^53 in columns of kind numeric or decimal, where they are reckoned with or
  compared with reals as large: such columns are reckoned with as doubles;
- infinities, and databases in UTF-16, which order text by other bytes;
- timestamps of one column that are spelled in several ways: they compare as instants here and as
  text there.

So who uses a translation over data that exist compares its results on both sides.
"""

from __future__ import annotations

from functools import partial

from tableferry.expressions import (
    postgresql_defaults,
    postgresql_to_sqlite,
    postgresql_views,
    within_postgresql,
    within_sqlite,
)
from tableferry.expressions.defaults import translate_default
from tableferry.expressions.model import Field, Relation, Translator, Untranslatable, View
from tableferry.expressions.sqlite_to_postgresql import (
    translate_check,
    translate_generated,
    translate_index_term,
    translate_predicate,
)
from tableferry.expressions.views import translate_view

__all__ = [
    "Field",
    "Relation",
    "Translator",
    "Untranslatable",
    "View",
    "translate_check",
    "translate_default",
    "translate_generated",
    "translate_index_term",
    "translate_predicate",
    "translate_view",
    "translator",
]

_TRANSLATORS = {
    ("sqlite", "postgresql"): Translator(
        translate_check,
        translate_default,
        translate_generated,
        translate_index_term,
        translate_predicate,
        translate_view,
    ),
    ("postgresql", "sqlite"): Translator(
        postgresql_to_sqlite.translate_check,
        postgresql_defaults.translate_default,
        postgresql_to_sqlite.translate_generated,
        postgresql_to_sqlite.translate_index_term,
        postgresql_to_sqlite.translate_predicate,
        postgresql_views.translate_view,
    ),
    ("sqlite", "sqlite"): Translator(
        within_sqlite.translate_check,
        within_sqlite.translate_default,
        within_sqlite.translate_generated,
        within_sqlite.translate_index_term,
        within_sqlite.translate_predicate,
        within_sqlite.translate_view,
    ),
}


def translator(source: str, target: str, types: frozenset[str] = frozenset()) -> Translator:
    """What takes SQL from a dialect to another, or to another database of the same dialect;
    ``source`` and ``target`` are "sqlite" or "postgresql".

    types: user-defined types, as format_type() writes them, that the target has as well; they
    count between two PostgreSQL databases only. Raises KeyError for an unknown dialect.
    """
    if (source, target) != ("postgresql", "postgresql"):
        return _TRANSLATORS[source, target]
    return Translator(
        partial(within_postgresql.translate_check, types=types),
        partial(within_postgresql.translate_default, types=types),
        partial(within_postgresql.translate_generated, types=types),
        partial(within_postgresql.translate_index_term, types=types),
        partial(within_postgresql.translate_predicate, types=types),
        partial(within_postgresql.translate_view, types=types),
    )
