"""The pure parts of perf.account: which step a sampled stack, or a server's statement, is."""

from __future__ import annotations

import pytest
from perf.sampling import Curve, Reading
from perf.stacks import (
    IMPORTS,
    OTHER,
    Stack,
    after_start,
    parse,
    statement_step,
    step_of,
    task_of,
    waiting,
    waits,
)

SERVE = "serve (tableferry/executors.py:278)"
COPY = "copy_range (tableferry/tasks.py:139)"
INGEST = (
    "PostgresLoader.ingest (tableferry/dialects/postgresql/loader.py:448)",
    "Cursor.adbc_ingest (adbc_driver_manager/dbapi.py:1076)",
)
ENCODE = "encoded (tableferry/dialects/postgresql/sending.py:523)"
READ = (
    "copy_range.<locals>.digested (tableferry/tasks.py:154)",
    "SqliteSession.read (tableferry/dialects/sqlite/session.py:153)",
    "SqliteSession._decoded (tableferry/dialects/sqlite/session.py:168)",
)
COPYING = (SERVE, COPY, *INGEST)
LOADING = (
    "_handle_fromlist (<frozen importlib._bootstrap>:1207)",
    "<module> (tableferry/api.py:1)",
)


@pytest.mark.parametrize(
    ("stack", "step"),
    [
        (COPYING, "send to PostgreSQL"),
        ((*COPYING, ENCODE, *READ), "read SQLite"),
        (
            (
                *COPYING,
                ENCODE,
                *READ,
                "SqliteSession._batches (x/tableferry/dialects/sqlite/session.py:1)",
            ),
            "read SQLite",
        ),
        ((*COPYING, ENCODE, *READ, "split (tableferry/packing.py:312)"), "unpack"),
        (
            (
                *COPYING,
                ENCODE,
                *READ,
                "_from (tableferry/kinds.py:29)",
                "take (pyarrow/compute.py:4)",
            ),
            "to kinds",
        ),
        ((*COPYING, ENCODE, "spell (tableferry/temporal.py:29)"), "encode"),
        ((*COPYING, ENCODE, READ[0], "xxh64 (tableferry/xxh64.py:65)"), "hash"),
        (
            (SERVE, COPY, "PostgresSession.commit (tableferry/dialects/postgresql/session.py:1)"),
            "commit",
        ),
        ((SERVE, *LOADING), IMPORTS),
        ((SERVE,), OTHER),
    ],
)
def test_the_innermost_frame_that_tells_decides(stack: Stack, step: str) -> None:
    assert step_of(stack) == step


def test_a_worker_is_at_the_task_whose_function_is_on_its_stack() -> None:
    assert task_of((*COPYING, ENCODE, *READ)) == "copy_range"
    assert task_of((SERVE,)) == ""
    assert task_of((SERVE, "session_for (tableferry/tasks.py:67)")) == ""


def test_threads_that_sleep_are_told_from_those_that_work() -> None:
    assert waits(("_end_with_coordinator (tableferry/executors.py:307)",))
    assert waits(())
    assert not waits(COPYING)


def test_modules_loaded_within_the_run_are_part_of_it() -> None:
    run = "migrate (tableferry/migration.py:64)"
    assert not after_start(LOADING)
    assert not after_start(("<module> (tableferry/migration.py:1)", *LOADING))
    assert after_start((run, *LOADING))
    assert after_start((run,))


def test_stacks_belong_to_the_innermost_process_whatever_its_command_line() -> None:
    line = 'process 1:"python -m cli";process 22:"python -c a; exit(1)";a (b.py:1);c (d.py:2) 7'
    assert list(parse([line])) == [(22, ("a (b.py:1)", "c (d.py:2)"), 7)]
    assert list(parse(['process 1:"python -c a; b" 3'])) == [(1, (), 3)]
    with pytest.raises(ValueError, match="No process"):
        list(parse(["a (b.py:1) 7"]))


@pytest.mark.parametrize(
    ("query", "step"),
    [
        ('COPY "public" . "t" ("a") FROM STDIN (FORMAT binary)', "COPY in"),
        (
            'COPY (SELECT concat_ws(chr(31), t."a")\nFROM ONLY "public"."t" AS t '
            "WHERE t.ctid < '(9,0)'::tid) TO STDOUT (FORMAT binary)",
            "COPY out",
        ),
        ('COPY (SELECT t."a" FROM ONLY "t" AS t) TO STDOUT (FORMAT binary)', "COPY out"),
        ('COPY (SELECT count(*) AS n FROM ONLY "public"."t") TO STDOUT', "counts"),
        ('ALTER TABLE "t" ADD CONSTRAINT "k" PRIMARY KEY ("a")', "keys and indexes"),
        ('CREATE UNIQUE INDEX "i" ON "t" ("a")', "keys and indexes"),
        ('ANALYZE "t"', "statistics"),
        ("COMMIT", "commit"),
        ('CREATE TABLE "t" ("a" int)', "other definitions"),
        (
            "COPY (SELECT c.relname FROM pg_catalog.pg_class c JOIN x AS t WHERE true) TO STDOUT",
            "catalog and others",
        ),
    ],
)
def test_a_statement_tells_what_the_server_is_at(query: str, step: str) -> None:
    assert statement_step(query) == step


def test_what_a_process_used_is_told_between_readings_too() -> None:
    curve = Curve("python", [Reading(10.0, 1.0, 0.5), Reading(12.0, 2.0, 1.5)])
    assert curve.total == 3.5
    assert curve.used_by(9.0) == 0.0
    assert curve.used_by(11.0) == pytest.approx(2.5)
    assert curve.used_by(20.0) == 3.5
    assert curve.between(10.5, 11.5) == pytest.approx(1.0)


def test_how_long_not_every_worker_was_at_a_job() -> None:
    timeline = [
        {"worker": 0, "began": 0.0, "seconds": 9.0},
        {"worker": 1, "began": 1.0, "seconds": 4.0},
        {"worker": 2, "began": 1.0, "seconds": 2.0},
        {"worker": 2, "began": 4.0, "seconds": 2.0},
    ]
    assert waiting(timeline, total=9.0, before=0.5) == {
        "before the clock": 0.5,
        "total": 9.0,
        "before the first job": 1.0,
        "after the last job": 3.0,
        "2 workers at jobs": 3.0,
        "1 workers at jobs": 2.0,
    }


@pytest.mark.parametrize(
    ("query", "step"),
    [
        (
            "BEGIN;\nSET LOCAL jit = off;\nALTER TABLE t ADD PRIMARY KEY (a)",
            "keys and indexes",
        ),
        ("BEGIN;\nANALYZE public.a, public.b", "statistics"),
        ("BEGIN", "commit"),
    ],
)
def test_what_a_loader_says_first_is_not_what_takes_time(query: str, step: str) -> None:
    assert statement_step(query) == step
