"""Which databases a command concerns, and which of its options concern which of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.system.support import sqlite_file

from tableferry.addresses import Databases, PostgresServer, SqliteFile
from tableferry.errors import ConfigurationError, UsageError
from tableferry.pairs import Pair, divided, pairs_of
from tableferry.selection import Selection

# Nobody answers there, at once.
MAIN = PostgresServer("postgresql://u@127.0.0.1:1/main")
USAGE = PostgresServer("postgresql://u@127.0.0.1:1/usage")
TARGETS = Databases(MAIN, USAGE)


@pytest.fixture
def sources(tmp_path: Path) -> Databases:
    sqlite_file(
        tmp_path / "main.db",
        "CREATE TABLE orders (at INTEGER, price DECIMAL); CREATE TABLE both_of_them (a TEXT)",
    )
    sqlite_file(
        tmp_path / "usage.db",
        "CREATE TABLE visits (at INTEGER, page TEXT); CREATE TABLE both_of_them (a TEXT)",
    )
    return Databases(SqliteFile(tmp_path / "main.db"), SqliteFile(tmp_path / "usage.db"))


def found(
    sources: Databases, tables: str = "", exclude: str = "", casts: tuple[str, ...] = ()
) -> dict[str, tuple[Selection, tuple[str, ...]]]:
    selection = Selection(tuple(tables.split()), tuple(exclude.split()))
    pairs = divided(pairs_of(sources, TARGETS, selection, casts), {})
    return {pair.name: (pair.selection, pair.casts) for pair in pairs}


def test_two_pairs_where_both_sides_have_usage_data(sources: Databases) -> None:
    selection, casts = Selection(("a",)), ("r",)
    main = Pair("main", sources.main, MAIN, selection, casts)
    assert sources.usage is not None
    assert pairs_of(sources, TARGETS, selection, casts) == (
        main,
        Pair("usage", sources.usage, USAGE, selection, casts),
    )
    for one, other in ((sources, Databases(MAIN)), (Databases(sources.main), TARGETS)):
        assert pairs_of(one, other, selection, casts) == (main,)
    assert str(main) == f"Main database: {sources.main} → {MAIN}"


def test_one_pair_keeps_its_options_unseen(tmp_path: Path) -> None:
    missing = Databases(SqliteFile(tmp_path / "missing.db"))
    pairs = pairs_of(missing, TARGETS, Selection(("nothing",)), ("no rule",))
    assert divided(pairs, {}) == pairs


def test_without_patterns_both_are_whole(sources: Databases) -> None:
    assert found(sources) == {"main": (Selection(), ()), "usage": (Selection(), ())}


@pytest.mark.parametrize(
    ("tables", "exclude", "expected"),
    [
        ("orders", "", {"main": Selection(("orders",))}),
        ("VISITS", "", {"usage": Selection(("VISITS",))}),
        ("both*", "", {"main": Selection(("both*",)), "usage": Selection(("both*",))}),
        ("orders visits", "", {"main": Selection(("orders",)), "usage": Selection(("visits",))}),
        ("", "orders", {"main": Selection((), ("orders",)), "usage": Selection()}),
        ("", "visits both*", {"main": Selection((), ("both*",))}),
        ("orders both*", "both*", {"main": Selection(("orders", "both*"), ("both*",))}),
    ],
)
def test_patterns_go_where_they_match(
    sources: Databases, tables: str, exclude: str, expected: dict[str, Selection]
) -> None:
    chosen = {name: selection for name, (selection, _) in found(sources, tables, exclude).items()}
    assert chosen == expected


def test_what_matches_nowhere_is_refused(sources: Databases) -> None:
    for tables, exclude in (("orders vists", ""), ("", "vists")):
        with pytest.raises(UsageError, match=r"main or the usage database matches .*'vists'"):
            found(sources, tables, exclude)
    with pytest.raises(UsageError, match="leave no table"):
        found(sources, "orders", "ord*")
    for rule in ("visit.at to timestamptz using epoch", "orders.page to text"):
        with pytest.raises(UsageError, match="matches no column of either source"):
            found(sources, casts=(rule,))
    with pytest.raises(UsageError, match="matches no column of either source"):
        found(sources, "orders", casts=("visits.at to timestamptz using epoch",))


def test_rules_go_where_they_match_in_their_order(sources: Databases) -> None:
    both = "type integer to timestamptz using epoch"
    one, other = "orders.at to text", "visits.at to bigint"
    rules = (one, both, other)
    chosen = {name: casts for name, (_, casts) in found(sources, casts=rules).items()}
    assert chosen == {"main": (one, both), "usage": (both, other)}


def test_what_cannot_be_looked_at_is_left_to_its_own_run(sources: Databases) -> None:
    lost = replace(sources, usage=SqliteFile(Path("/no/such/usage.db")))
    rules = ("visits.at to bigint", "orders.at to text")
    chosen = found(lost, "orders vists", casts=rules)
    assert chosen == {
        "main": (Selection(("orders",)), rules[1:]),
        "usage": (Selection(("orders", "vists")), rules),
    }


def test_one_file_under_two_names_is_refused(sources: Databases, tmp_path: Path) -> None:
    (tmp_path / "link.db").hardlink_to(tmp_path / "main.db")
    twice = replace(sources, usage=SqliteFile(tmp_path / "link.db"))
    with pytest.raises(ConfigurationError, match=r"are the same: SQLite file .*main\.db"):
        found(twice)
