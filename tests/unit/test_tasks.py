"""Sessions that a process keeps for its next tasks."""

from __future__ import annotations

from typing import Any

import pytest

from tableferry import tasks
from tableferry.errors import DatabaseError


class Opened:
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_an_error_within_a_task_within_a_task() -> None:
    """It closes what both have used, and stays the error that it is."""
    session = Opened()
    kept: dict[Any, Any] = {}

    with (
        pytest.raises(DatabaseError),
        tasks._kept(kept, "endpoint", lambda _: session),  # type: ignore[arg-type]
        tasks._kept(kept, "endpoint", lambda _: session),  # type: ignore[arg-type]
    ):
        raise DatabaseError("lost", transient=True)

    assert kept == {}
    assert session.closed == 1
