"""Fixtures for every test that needs a PostgreSQL. A test is never skipped for want of one."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from tests import servers
from tests.servers import Server

# No deadline: the machine may be busy with a server, and time is measured elsewhere.
settings.register_profile("tableferry", deadline=None)
settings.load_profile("tableferry")


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[str], Server]]:
    """Start a server by its name when a test first asks for it, and stop it after the last."""
    with contextlib.ExitStack() as stack:
        yield functools.cache(lambda name: stack.enter_context(servers.running(name)))


@pytest.fixture(scope="session", params=servers.NAMES)
def server(request: pytest.FixtureRequest, started: Callable[[str], Server]) -> Server:
    """Every PostgreSQL there is, one after the other: pg18, and the system's own (pg15, …)."""
    return started(request.param)


@pytest.fixture
def database(server: Server) -> Iterator[Server]:
    """An empty database on each server, dropped after the test."""
    with servers.fresh_database(server) as fresh:
        yield fresh


@pytest.fixture
def any_database(started: Callable[[str], Server]) -> Iterator[Server]:
    """An empty database on the embedded PostgreSQL 18, where the version does not matter."""
    with servers.fresh_database(started(servers.EMBEDDED)) as fresh:
        yield fresh
