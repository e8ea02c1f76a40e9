"""Riding out what passes: a lost connection, a server that starts again, a deadlock, a busy file.

A task is run again after a pause, a bounded number of times. It can be, since whatever it writes is
one transaction whose first line says that it was done (ledger.py), and what it reads is held still.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tableferry.errors import TableferryError
from tableferry.events import Event, Observer, Retried
from tableferry.executors import emit

A = TypeVar("A")
T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each further attempt: long enough for a server to start again."""


def ridden_out(task: Callable[[A], T], argument: A, *, about: str = "") -> T:
    """``task(argument)``, run again where it fails of what passes; ``about`` names it to people.
    What has not passed by the last attempt is no longer taken for what does."""
    for pause in PAUSES:
        try:
            return task(argument)
        except TableferryError as error:
            if not error.transient:
                raise
            emit(Retried(about, error.message, pause))
        time.sleep(pause)
    try:
        return task(argument)
    except TableferryError as error:
        error.details["transient"] = False
        raise


@dataclass
class Counting:
    """An observer that counts what is tried again, and passes on what it is told."""

    observer: Observer
    retries: int = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Retried):
            self.retries += 1
        self.observer(event)
