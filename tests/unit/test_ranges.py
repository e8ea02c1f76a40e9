"""Ranges of rowids: together they are the whole table, and no row is in two."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.dialects.sqlite.session import cut
from tableferry.model import Range

LOWEST, HIGHEST = -(2**63), 2**63 - 1
ROWIDS = st.integers(LOWEST, HIGHEST) | st.integers(-5, 5)


def holds(part: Range, rowid: int) -> bool:
    return (part.lower is None or rowid >= part.lower) and (
        part.upper is None or rowid < part.upper
    )


@given(ROWIDS, ROWIDS, st.integers(2, 1000), st.lists(ROWIDS, max_size=20))
@example(LOWEST, HIGHEST, 1000, [LOWEST, -1, 0, 1, HIGHEST])
@example(HIGHEST, HIGHEST, 1000, [HIGHEST])
@example(LOWEST, LOWEST, 2, [LOWEST])
@example(HIGHEST - 1, HIGHEST, 2, [HIGHEST - 1, HIGHEST])
@example(0, 1, 1000, [0, 1])
def test_every_rowid_is_in_one_range(one: int, other: int, parts: int, rowids: list[int]) -> None:
    low, high = sorted((one, other))
    ranges = cut(low, high, parts)
    bounds = [part.lower for part in ranges[1:] if part.lower is not None]
    # Rows outside of the ends, such as one that came meanwhile, belong to the first or last.
    for rowid in (*rowids, *bounds, *(bound - 1 for bound in bounds), low, high, LOWEST, HIGHEST):
        if LOWEST <= rowid <= HIGHEST:
            assert sum(holds(part, rowid) for part in ranges) == 1


@given(ROWIDS, ROWIDS, st.integers(2, 1000))
def test_ranges_join_and_are_numbered(one: int, other: int, parts: int) -> None:
    low, high = sorted((one, other))
    ranges = cut(low, high, parts)
    assert 1 <= len(ranges) <= parts
    assert [part.number for part in ranges] == list(range(len(ranges)))
    assert (ranges[0].lower, ranges[-1].upper) == (None, None)
    assert all(a.upper == b.lower is not None for a, b in pairwise(ranges))
    # Bounds are literals of a statement, which SQLite must not read as reals.
    assert all(LOWEST <= part.lower <= HIGHEST for part in ranges if part.lower is not None)


def test_dense_rowids_are_shared_evenly() -> None:
    ranges = cut(1, 1000, 4)
    assert [part.lower for part in ranges] == [None, 251, 501, 751]
