"""Killed at random moments and gone on with, a run ends verified, with no row lost or doubled, and
nothing of it is left.

    TABLEFERRY_KILLS=200        so many trials instead of a few
    TABLEFERRY_KILLS_SEED=17    the first seed; each trial prints its own
    TABLEFERRY_KILLS_GO_ON=--drop-all    begun anew instead of gone on with
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.crashing import crashing
from tests.faults.kills import Shop, trial

TRIALS = int(os.environ.get("TABLEFERRY_KILLS", "20"))
FIRST = int(os.environ.get("TABLEFERRY_KILLS_SEED", "0"))
GO_ON = os.environ.get("TABLEFERRY_KILLS_GO_ON", "--resume")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with contextlib.ExitStack() as stack:
        start = functools.cache(lambda name: stack.enter_context(crashing(name)))
        yield Shop(Path(tmp_path_factory.mktemp("kills")), start, (GO_ON,))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + TRIALS))
def test_a_run_that_is_killed(shop: Shop, seed: int) -> None:
    sys.stdout.write(f"{trial(seed, shop)}\n")
