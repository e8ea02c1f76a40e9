"""PostgreSQL sources with damaged files: what a run brings is what psycopg reads of them without an
index, or the run fails and names the table. TABLEFERRY_CORRUPTED_POSTGRESQL says how many random
damages are tried on each server, TABLEFERRY_CORRUPTED_SEED makes them others.

Each is done to a copy of a database (CREATE DATABASE with STRATEGY FILE_COPY), of whose pages the
server has none in its memory yet.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import Run, password, sqlite_url, with_report

_TRIALS = int(os.environ.get("TABLEFERRY_CORRUPTED_POSTGRESQL", "3"))
_SEED = os.environ.get("TABLEFERRY_CORRUPTED_SEED", "8")
_PAGE = 8192

_TABLES = ("plain", "long")
_SCHEMA = (
    "CREATE TABLE plain (id int PRIMARY KEY, v text NOT NULL, n double precision)",
    "INSERT INTO plain SELECT i, 'row ' || i, i / 8.0 FROM generate_series(1, 3000) i",
    "CREATE TABLE long (id int PRIMARY KEY, body text)",
    "ALTER TABLE long ALTER body SET STORAGE EXTERNAL",
    "INSERT INTO long SELECT i, repeat(md5(i::text), 200) FROM generate_series(1, 100) i",
    "CREATE INDEX plain_by_v ON plain (v)",
    "VACUUM (ANALYZE)",
)
# A row or so a page, so that the table is read in two ranges.
_MANY = (
    "CREATE TABLE many (id int PRIMARY KEY, v text) WITH (fillfactor = 10)",
    "INSERT INTO many SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 8000) i",
)
# What a relation's file becomes.
Change: TypeAlias = Callable[[bytearray], None]
Damaging: TypeAlias = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="module", params=servers.NAMES)
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One that no other test needs: damage may end it."""
    with servers.running(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def sound(own_server: Server) -> Iterator[Server]:
    with servers.fresh_database(own_server) as database:
        database.run(*_SCHEMA)
        yield database


@pytest.fixture
def many(own_server: Server) -> Iterator[Server]:
    with servers.fresh_database(own_server) as database:
        database.run(*_MANY)
        yield database


@pytest.fixture(scope="module")
def data(own_server: Server) -> Path:
    with own_server.connect() as connection:
        # A server works in the folder of its data.
        return Path(f"/proc/{connection.info.backend_pid}/cwd").resolve()


@pytest.fixture
def damaging(own_server: Server, sound: Server, data: Path) -> Damaging:
    @contextmanager
    def damaged(relation: str, change: Change, of: Server = sound) -> Iterator[Server]:
        copy = replace(of, name=f"{of.name}_damaged")
        own_server.run(f"CREATE DATABASE {copy.name} TEMPLATE {of.name} STRATEGY FILE_COPY")
        try:
            path = _file(data, of, copy, relation)
            content = bytearray(path.read_bytes())
            change(content)
            path.write_bytes(content)
            yield copy
        finally:
            own_server.run(f"DROP DATABASE {copy.name} WITH (FORCE)")

    return damaged


def _file(data: Path, sound: Server, copy: Server, relation: str) -> Path:
    """The copy's file of a relation, without a look into the copy."""
    ((path,),) = sound.rows(f"SELECT pg_relation_filepath({_regclass(relation)})")
    oids = dict(sound.rows("SELECT datname::text, oid::text FROM pg_database"))
    own = data / str(path)
    assert own.parent.name == oids[sound.name]
    return own.parent.with_name(oids[copy.name]) / own.name


def _regclass(relation: str) -> str:
    table, _, part = relation.partition(" ")
    toast = f"(SELECT reltoastrelid FROM pg_class WHERE oid = '{table}'::regclass)"
    match part:
        case "toast":
            return f"{toast}::regclass"
        case "toast index":
            return f"(SELECT indexrelid FROM pg_index WHERE indrelid = {toast})::regclass"
    return f"'{relation}'::regclass"


def _carried(source: Server, target: Path, *flags: str) -> Run:
    arguments = ("--from", source.url_without_password, "--to", sqlite_url(target))
    return with_report(*arguments, *flags, env=password(source))


def _read(source: Server, table: str) -> Counter[tuple[Any, ...]]:
    with source.connect() as connection:
        for kind in ("indexscan", "indexonlyscan", "bitmapscan"):
            connection.execute(f"SET enable_{kind} = off".encode())
        return Counter(connection.execute(f"SELECT * FROM {table}".encode()).fetchall())


def _require_all(source: Server, target: Path) -> None:
    with closing(sqlite3.connect(target)) as connection:
        for table in _TABLES:
            found = Counter(connection.execute(f"SELECT * FROM {table}").fetchall())
            assert found == _read(source, table), table


def _require_named(run: Run, table: str, *words: str) -> None:
    assert run.code in (3, 4), run
    assert "Traceback" not in run.err
    assert f"able {table}" in run.report["error"]["message"], run.err
    for word in words:
        assert word in run.err


# ---- damage of each kind ----------------------------------------------------------------------


def _broken_header(page: int) -> Change:
    def change(content: bytearray) -> None:
        content[page * _PAGE + 10 : page * _PAGE + 18] = b"\xff" * 8

    return change


def _zeroed(page: int) -> Change:
    def change(content: bytearray) -> None:
        content[page * _PAGE : (page + 1) * _PAGE] = bytes(_PAGE)

    return change


def _emptied(content: bytearray) -> None:
    del content[:]


def test_a_heap_page_with_a_broken_header(many: Server, damaging: Damaging, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    with damaging("many", _broken_header(5_000), many) as source:
        run = _carried(source, target)

    _require_named(run, "many, pages from 4,096 on", "invalid page")
    assert not target.exists()


def test_a_verification_meets_it(sound: Server, damaging: Damaging, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    assert _carried(sound, target).code == 0
    with damaging("plain", _broken_header(3)) as source:
        run = _carried(source, target, "--verify")

    _require_named(run, "plain", "invalid page")


def test_a_toasted_value_without_its_chunks(damaging: Damaging, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    with damaging("long toast", _zeroed(4)) as source:
        run = _carried(source, target)

    _require_named(run, "long", "chunk")
    assert not target.exists()


def test_a_toast_index_without_its_entries(damaging: Damaging, tmp_path: Path) -> None:
    with damaging("long toast index", _zeroed(1)) as source:
        run = _carried(source, tmp_path / "target.db")

    _require_named(run, "long")


@pytest.mark.parametrize("index", ["plain_pkey", "plain_by_v"])
def test_an_index_that_cannot_be_read(damaging: Damaging, tmp_path: Path, index: str) -> None:
    target = tmp_path / "target.db"
    with damaging(index, _zeroed(1)) as source:
        column = index.removeprefix("plain_by_").replace("plain_pkey", "id")
        with source.connect() as connection:
            connection.execute("SET enable_seqscan = off")
            with pytest.raises(psycopg.errors.IndexCorrupted):
                connection.execute(f"SELECT * FROM plain ORDER BY {column}".encode())
        run = _carried(source, target)
        assert run.code == 0, run.err
        _require_all(source, target)


def test_an_index_short_of_entries(
    own_server: Server, sound: Server, data: Path, damaging: Damaging, tmp_path: Path
) -> None:
    """As it was before the last rows came: whoever asks it does not see them."""
    target = tmp_path / "target.db"
    ((path,),) = sound.rows("SELECT pg_relation_filepath('plain_pkey')")
    sound.run("CHECKPOINT")
    before = (data / str(path)).read_bytes()
    sound.run("INSERT INTO plain SELECT i, 'later', 0 FROM generate_series(3001, 3050) i")
    try:

        def as_before(content: bytearray) -> None:
            content[:] = before

        with damaging("plain_pkey", as_before) as source:
            run = _carried(source, target)
            assert run.code == 0, run.err
            _require_all(source, target)
            with source.connect() as connection:
                connection.execute("SET enable_seqscan = off")
                found = connection.execute("SELECT count(*) FROM plain WHERE id > 0").fetchall()
            assert found == [(3000,)]
            verified = _carried(source, target, "--verify")
            assert verified.code == 0, verified.err
            with closing(sqlite3.connect(target)) as file:
                file.execute("UPDATE plain SET v = 'changed' WHERE id IN (2, 3050)")
                file.commit()
            different = _carried(source, target, "--verify")
            keys = {entry["key"]["id"] for entry in different.differences("plain")}
            assert (different.code, keys) == (1, {"2", "3050"})
    finally:
        sound.run("DELETE FROM plain WHERE id > 3000")


def test_a_table_whose_file_is_empty(damaging: Damaging, tmp_path: Path) -> None:
    """PostgreSQL itself takes what a file has for all there is; its statistics knew better."""
    with damaging("plain", _emptied) as source:
        run = _carried(source, tmp_path / "target.db")

    _require_named(run, "plain")


@pytest.mark.parametrize("setting", ["zero_damaged_pages", "ignore_checksum_failure"])
@pytest.mark.parametrize("flags", [(), ("--verify",)], ids=["migrate", "verify"])
def test_a_server_that_passes_damage_over(
    own_server: Server, damaging: Damaging, tmp_path: Path, setting: str, flags: tuple[str, ...]
) -> None:
    target = tmp_path / "target.db"
    with closing(sqlite3.connect(target)) as file:
        file.execute("CREATE TABLE other (a)")
    with damaging("plain", _broken_header(3)) as source:
        own_server.run(f"ALTER DATABASE {source.name} SET {setting} = on")
        run = _carried(source, target, *flags)

    assert run.code == 3, run
    assert setting in run.err
    assert source.name in run.err


# ---- at random --------------------------------------------------------------------------------


_RELATIONS = ("plain", "plain", "long", "long toast", "long toast index", "plain_pkey")


@pytest.mark.parametrize("number", range(_TRIALS))
def test_random_damage(damaging: Damaging, tmp_path: Path, number: int) -> None:
    chance = random.Random(f"{_SEED}:{number}")
    relation = chance.choice(_RELATIONS)
    target = tmp_path / "target.db"
    flips: list[int] = []

    def change(content: bytearray) -> None:
        start = chance.randrange(len(content) // _PAGE) * _PAGE
        length = chance.choice([24, 200, _PAGE])
        for _ in range(chance.randint(1, 8)):
            flips.append(start + chance.randrange(length))
            content[flips[-1]] ^= chance.randint(1, 255)

    with damaging(relation, change) as source:
        try:
            run = _carried(source, target)
            assert "Traceback" not in run.err
            if run.code == 0:
                _require_all(source, target)
            else:
                _require_named(run, relation.partition(" ")[0])
                assert not target.exists()
        except BaseException as error:
            error.add_note(f"trial {number} of seed {_SEED}: {relation}, {flips}")
            raise
