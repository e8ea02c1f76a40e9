"""A PostgreSQL source that others write to all the while arrives as it was at one moment.

Money moves between accounts of two tables, and each transfer leaves a line in a third, in one
transaction: so at any one moment the sum of all accounts is the same, and the lines account for
every account's balance. A copy of two moments would break that.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from tests import servers
from tests.servers import Server
from tests.system.support import password, with_report

RUNS = int(os.environ.get("TABLEFERRY_BUSY_RUNS", "1"))
ACCOUNTS = 40_000
SUM = 2 * ACCOUNTS * 100


@pytest.fixture(scope="module")
def bank(server: Server) -> Iterator[Server]:
    with servers.fresh_database(server) as database:
        database.run(
            # Filled pages, so that rows move when they are written anew.
            "CREATE TABLE checking (id bigint PRIMARY KEY, balance bigint NOT NULL, pad text)",
            "CREATE TABLE savings (id bigint PRIMARY KEY, balance bigint NOT NULL, pad text)",
            "CREATE TABLE transfers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "payer bigint NOT NULL, payee bigint NOT NULL, amount bigint NOT NULL)",
            "INSERT INTO checking SELECT i, 100, repeat('x', 60) "
            f"FROM generate_series(1, {ACCOUNTS}) i",
            "INSERT INTO savings SELECT i, 100, repeat('y', 60) "
            f"FROM generate_series(1, {ACCOUNTS}) i",
            "ANALYZE",
        )
        yield database


@contextmanager
def being_used(bank: Server) -> Iterator[list[int]]:
    """Transfers, one after the other, for as long as the context lasts; their number in a list."""
    done = [0]
    over = threading.Event()
    chance = random.Random(0)

    def write() -> None:
        with psycopg.connect(bank.url) as connection:
            while not over.is_set():
                payer, payee = chance.randint(1, ACCOUNTS), chance.randint(1, ACCOUNTS)
                amount = chance.randint(-50, 50)
                for table, account, change in (
                    ("checking", payer, -amount),
                    ("savings", payee, amount),
                ):
                    connection.execute(
                        f"UPDATE {table} SET balance = balance + {change} WHERE id = {account}"
                    )
                connection.execute(
                    "INSERT INTO transfers (payer, payee, amount) "
                    f"VALUES ({payer}, {payee}, {amount})"
                )
                connection.commit()
                done[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield done
    finally:
        over.set()
        writer.join()


@pytest.mark.parametrize("number", range(RUNS))
def test_arrives_as_of_one_moment(bank: Server, number: int, tmp_path: Path) -> None:
    file = tmp_path / "bank.db"
    with being_used(bank) as done:
        before = done[0]
        run = with_report(
            *("--from", bank.url_without_password, "--to", f"sqlite:{file}"),
            *("--force", "--workers", "2"),
            env=password(bank),
        )
        during = done[0] - before

    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    assert during > 100, "nobody wrote while it was read"
    with closing(sqlite3.connect(file)) as connection:
        [(total,)] = connection.execute(
            "SELECT (SELECT sum(balance) FROM checking) + (SELECT sum(balance) FROM savings)"
        )
        unaccounted = connection.execute(
            "SELECT c.id FROM checking c LEFT JOIN "
            "(SELECT payer, sum(amount) AS paid FROM transfers GROUP BY 1) p ON p.payer = c.id "
            "WHERE c.balance <> 100 - ifnull(p.paid, 0)"
        ).fetchall()
    assert total == SUM
    assert unaccounted == []


def test_a_service_that_writes_is_refused_without_force(bank: Server, tmp_path: Path) -> None:
    file = tmp_path / "bank.db"
    with being_used(bank):
        run = with_report(
            "--from", bank.url_without_password, "--to", f"sqlite:{file}", env=password(bank)
        )
    assert run.code == 3
    assert "postgres" in run.err
    assert list(tmp_path.iterdir()) == []
