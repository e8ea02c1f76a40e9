"""Room for a plan's tables."""

from __future__ import annotations

import pytest

from tableferry.space import amount, shortage


@pytest.mark.parametrize(
    ("needed", "free", "words"),
    [
        (10, None, ""),
        (10, 10, ""),
        (2_000_000, 1_999_999, "t may take 2.0 MB, and 2.0 MB is free"),
        (5_000_000_000_000, 0, "t may take 5,000.0 GB, and nothing is free"),
        (1, -7, "nothing is free"),
    ],
)
def test_a_shortage_is_announced_where_it_is_known(
    needed: int, free: int | None, words: str
) -> None:
    said = shortage(needed, free, "t")

    assert words in said
    assert bool(said) == bool(words)


def test_amounts() -> None:
    assert [amount(n) for n in (0, 999, 1000, 1_234_567)] == ["0 B", "999 B", "1.0 kB", "1.2 MB"]
