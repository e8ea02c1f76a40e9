"""Whether anyone else uses the databases of a run: a service that goes on writing would be left
behind with what it wrote."""

from __future__ import annotations

from collections.abc import Iterable

from tableferry.dialects import dialect_of
from tableferry.dialects.base import Endpoint
from tableferry.errors import Refused

_HINT = "Stop the service that uses it, then run again; --force goes on all the same."


def require_stopped(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """Raises Refused with the names of all clients, on whichever side; answers, a sentence each,
    what could not be seen."""
    used, unseen = _looked_at(endpoints)
    if used:
        raise Refused(" ".join((*used, *unseen)), hint=_HINT)
    return unseen


def risks(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """The same for a plan."""
    used, unseen = _looked_at(endpoints)
    return (*(f"{sentence} A run is refused without --force." for sentence in used), *unseen)


def _looked_at(endpoints: Iterable[Endpoint]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    used, unseen = [], []
    for endpoint in endpoints:
        clients = dialect_of(endpoint).clients(endpoint)
        if clients.named:
            used.append(f"{endpoint} is in use by {'; '.join(clients.named)}.")
        if clients.unseen:
            unseen.append(clients.unseen)
    return tuple(used), tuple(unseen)
