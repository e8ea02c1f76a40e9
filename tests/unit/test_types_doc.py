"""docs/types.md says what the program does, row by row; docs/rejects.md shows what it reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tableferry.dialects.postgresql.types import candidates as postgres_candidates
from tableferry.dialects.postgresql.types import is_built_in, type_for
from tableferry.dialects.sqlite.types import affinity, candidates, foreign_type, takes
from tableferry.dialects.sqlite.types import type_for as declared_for
from tableferry.kinds import NAMED_NUMBERS
from tableferry.model import Candidate, Column
from tableferry.rejects import RawText, read_rows

DOCS = Path(__file__).parents[2] / "docs"
MUST_BE_THERE = {
    *("INTEGER", "BIGINT", "INT", "TINYINT", "SMALLINT", "INT2", "MEDIUMINT", "INT4"),
    *("UNSIGNED BIG INT", "BOOLEAN", "DECIMAL(10,2)", "DECIMAL(30,4)", "NUMERIC", "FLOAT", "REAL"),
    *("DOUBLE", "VARCHAR(20)", "NVARCHAR(20)", "CHAR(5)", "TEXT", "CLOB", "DATE", "DATETIME"),
    *("TIMESTAMP", "TIMESTAMPTZ", "TIME", "BLOB", "JSON", "UUID", "STRING", "", "ANY"),
}
# Types that stand for a whole row of others, by the words of its first cell.
STAND_FOR = {
    "no type": [""],
    "INTERVAL_TEXT, and so for every built-in type": ["INTERVAL_TEXT"],
    "any other": ["MONEY", "NUMBER"],
    "any other with INT in it": ["INT8", "BIGINT(20) UNSIGNED", "POINT"],
    "any other with REAL, FLOA or DOUB in it": ["FLOAT(24)", "DOUBLE PRECISION", "REALLY"],
    "any other with CHAR, CLOB or TEXT in it": ["LONGTEXT", "NVARCHAR(MAX)", "CITEXT"],
}


def table_rows() -> Iterator[tuple[str, str, list[str]]]:
    """The first cell without its marks, the type that it becomes, and the types that follow."""
    text = (DOCS / "types.md").read_text(encoding="utf-8")
    table = text.split("| declared in SQLite |")[1].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        declared, becomes, _, otherwise = (cell.strip() for cell in row.strip("|").split(" | "))
        yield declared.replace("`", ""), becomes.strip("`"), re.findall(r"`([^`]+)`", otherwise)


def declared_types(cell: str) -> list[str]:
    return STAND_FOR.get(cell) or re.split(r", (?![^(]*\))", cell)


ROWS = [
    pytest.param(declared, becomes, otherwise, id=declared or "no type")
    for cell, becomes, otherwise in table_rows()
    for declared in declared_types(cell)
]


@pytest.mark.parametrize(("declared", "becomes", "otherwise"), ROWS)
def test_table(declared: str, becomes: str, otherwise: list[str]) -> None:
    offered = candidates(Column("a", declared))
    exact = [type_for(offer.kind) for offer in offered if not offer.merges]

    assert exact[0] == becomes
    assert list(dict.fromkeys(exact))[1:] == otherwise
    # What the text before the table says of every row.
    assert [type_for(o.kind) for o in offered[-2:] if o.merges] == ["text", "bytea"]
    named = [o for o in offered[:-2] if o.merges]
    takes_names = affinity(declared) in ("REAL", "NUMERIC")
    assert [o.kind for o in named] == [
        o.kind for o in offered if takes_names and not o.merges and o.kind.name in NAMED_NUMBERS
    ]
    assert all(o == Candidate(o.kind, o.merges) for o in offered)


def test_no_row_is_missing_or_there_twice() -> None:
    declared = [name for cell, _, _ in table_rows() for name in declared_types(cell)]
    assert set(declared) >= MUST_BE_THERE
    assert len(declared) == len(set(declared))
    assert {affinity(name) for name in declared} == {"INTEGER", "TEXT", "BLOB", "REAL", "NUMERIC"}


def test_the_example_of_rejected_rows_can_be_read(tmp_path: Path) -> None:
    text = (DOCS / "rejects.md").read_text(encoding="utf-8")
    example = text.split("```json lines\n")[1].split("```")[0]
    file = tmp_path / "orders.jsonl"
    file.write_text(example, encoding="utf-8")

    rows = list(read_rows(file, ["id", "placed_at", "total", "note"]))

    assert rows == [
        {"id": 7, "placed_at": "soon", "total": 12.0, "note": None},
        {
            "id": 9,
            "placed_at": "2024-02-29",
            "total": float("inf"),
            "note": RawText(b"\xffa"),
        },
    ]
    assert isinstance(rows[0]["total"], float)


def rows_back() -> Iterator[tuple[str, str]]:
    """Types of PostgreSQL, and what is declared for them in SQLite."""
    text = (DOCS / "types.md").read_text(encoding="utf-8")
    table = text.split("| type in PostgreSQL |")[1].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        theirs, ours, _ = (cell.strip() for cell in row.strip("|").split(" | "))
        if theirs.startswith("`"):
            yield theirs.strip("`"), ours.strip("`")


@pytest.mark.parametrize(("theirs", "ours"), list(rows_back()))
def test_table_of_the_way_back(theirs: str, ours: str) -> None:
    offered = [c.kind for c in postgres_candidates(theirs) if takes(c.kind)]
    assert declared_for(offered[0]) == ours
    # Whatever was kept as text by its name is the same type again.
    if ours.endswith("_TEXT") or "_TEXT(" in ours:
        assert candidates(Column("a", ours))[0].kind.name in ("native", "json")
        assert foreign_type(ours) == theirs
        assert is_built_in(theirs)
