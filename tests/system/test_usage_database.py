"""Main and usage data, configured on both sides: one command brings and proves both."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonschema import Draft202012Validator
from tests import servers
from tests.servers import Server
from tests.system.support import (
    Run,
    command,
    end,
    environment,
    independent_differences,
    numbers_file,
    sqlite_file,
    sqlite_url,
    start,
    wait_until,
)

import tableferry
from tableferry.errors import UsageError

VALIDATOR = Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text())
)
MAIN = "CREATE TABLE orders (id INTEGER PRIMARY KEY, at INTEGER); INSERT INTO orders VALUES (1, 60)"
USAGE = "CREATE TABLE visits (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO visits VALUES (7, 2)"


@dataclass(frozen=True, slots=True)
class Product:
    """An application with main and usage data, in a folder of SQLite files and on a server."""

    folder: Path
    main: Server
    usage: Server

    @property
    def main_file(self) -> Path:
        return self.folder / "main.db"

    @property
    def usage_file(self) -> Path:
        return self.folder / "usage.db"

    def configure(self, *, usage_url: str = "", more: str = "") -> None:
        (self.folder / "app.gcfg").write_text(
            f'[SQLite]\nDir = {self.folder}\n[Postgres]\nURL = "{self.main.url_without_password}"\n'
            f'Password = "{self.main.password}"\n'
            f'UsageDataURL = "{usage_url or self.usage.url_without_password}"\n{more}'
        )
        (self.folder / "app.gcfg").chmod(0o600)

    def arguments(self, *flags: str, word: str = "database") -> tuple[str, ...]:
        report = str(self.folder / "report.json")
        return (word, "--config", str(self.folder / "app.gcfg"), "--report", report, *flags)

    def run(self, *flags: str, word: str = "database") -> Run:
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        run = command(*self.arguments(*flags, word=word), env=environment())
        assert "Traceback" not in run.err
        return Run(run.code, run.out, run.err, self.report() if report.exists() else {})

    def report(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        VALIDATOR.validate(content)
        return content


@pytest.fixture
def product(any_database: Server, tmp_path: Path) -> Iterator[Product]:
    with servers.fresh_database(any_database) as usage:
        made = Product(tmp_path, any_database, usage)
        sqlite_file(made.main_file, MAIN)
        sqlite_file(made.usage_file, USAGE)
        made.configure()
        yield made


def statuses(run: Run) -> list[tuple[str, str]]:
    return [(each["database"], each["report"]["status"]) for each in run.report["databases"]]


def warnings(run: Run) -> list[str]:
    """But for what an ordinary user is always told: that not all processes can be seen."""
    return [sentence for sentence in run.report["warnings"] if "cannot be seen" not in sentence]


def exists(server: Server, table: str) -> bool:
    return bool(server.rows(f"SELECT 1 FROM pg_class WHERE relname = '{table}'"))


def last_line(run: Run) -> str:
    """Of what was said of the outcome."""
    return [line for line in run.err.splitlines() if not line.startswith("Report: ")][-1]


def test_both_are_migrated_and_verified(product: Product) -> None:
    run = product.run()

    assert run.code == 0, run.err
    assert (run.report["status"], run.report["command"]) == ("verified", "migrate")
    assert statuses(run) == [("main", "verified"), ("usage", "verified")]
    assert last_line(run) == "Both: the main database is verified, the usage database is verified."
    for title in (f"Main database: SQLite file {product.main_file} → PostgreSQL", "Usage database"):
        assert title in run.err
    assert independent_differences(product.main_file, product.main.url) == {}
    assert independent_differences(product.usage_file, product.usage.url) == {}

    again = product.run("--verify", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert statuses(again) == [("main", "verified"), ("usage", "verified")]


@pytest.mark.parametrize("flags", [(), ("--from", "pgx", "--to", "sqlite3")], ids=["", "back"])
def test_both_are_verified(product: Product, flags: tuple[str, ...]) -> None:
    assert product.run().code == 0
    product.usage.run("UPDATE visits SET n = 3")

    run = product.run("--verify", *flags)

    assert run.code == 1, run.err
    assert run.report["status"] == "differences"
    assert statuses(run) == [("main", "verified"), ("usage", "differences")]
    assert last_line(run).endswith("the usage database is not the same.")


def test_one_failing_does_not_hide_the_other(product: Product) -> None:
    product.main.run("CREATE TABLE orders (id bigint, at bigint); INSERT INTO orders VALUES (9, 9)")

    run = product.run()

    assert run.code == 3, run.err
    assert "migrate: main database: The target already holds rows in table orders." in run.err
    assert statuses(run) == [("main", "failed"), ("usage", "verified")]
    assert run.report["status"] == "failed"
    assert run.report["databases"][0]["report"]["error"]["exit_code"] == 3
    assert product.main.rows("SELECT * FROM orders") == [(9, 9)]
    assert product.usage.rows("SELECT * FROM visits") == [(7, 2)]
    assert "the main database was not brought to an end, the usage database is verified" in run.err

    product.usage.run("DELETE FROM visits")
    run = product.run("--drop-all", "--verbose")
    assert run.code == 0, run.err
    assert product.main.rows("SELECT * FROM orders") == [(1, 60)]
    assert product.usage.rows("SELECT * FROM visits") == [(7, 2)]


@pytest.mark.parametrize("lost", ["server", "file"])
def test_the_worse_exit_code_counts(product: Product, lost: str) -> None:
    if lost == "file":
        product.configure(more=f"[SQLite]\nFile = {product.folder}/missing.db\n")
    else:
        product.configure(usage_url="postgresql://u@127.0.0.1:1/usage")
    run = product.run()
    assert run.code == 3, run.err
    bad, good = ("main", "usage") if lost == "file" else ("usage", "main")
    assert dict(statuses(run)) == {bad: "failed", good: "verified"}
    assert f"migrate: {bad} database: " in run.err


def test_a_failure_in_one_is_given_up_in_one(product: Product) -> None:
    sqlite_file(product.usage_file, "INSERT INTO visits VALUES (8, 'eight')")
    failed = product.run("--misfit", "stop")
    assert failed.code == 4, failed.err
    assert statuses(failed) == [("main", "verified"), ("usage", "failed")]
    assert "migrate: usage database: " in failed.err

    abort = ("--abort", "--config", str(product.folder / "app.gcfg"))
    given_up = command("database", *abort)
    assert given_up.code == 0, given_up.err
    assert given_up.err.splitlines() == [
        "The unfinished run is given up: its 1 table dropped.",
    ]
    nothing = command("database", *abort)
    assert nothing.code == 3
    assert nothing.err.count("holds no unfinished run") == 2
    assert product.main.rows("SELECT * FROM orders") == [(1, 60)]

    # As a URL it is one database.
    url = ("--from", sqlite_url(product.main_file))
    alone = command("database", *abort, *url)
    assert alone.code == 3
    assert alone.err.count("holds no unfinished run") == 1


def test_a_plan_of_both(product: Product) -> None:
    run = product.run(word="plan")
    assert run.code == 0, run.err
    assert statuses(run) == [("main", "planned"), ("usage", "planned")]
    assert run.report["status"] == "planned"
    assert all(each["report"]["sql"] for each in run.report["databases"])
    assert not exists(product.main, "orders")
    assert not exists(product.usage, "visits")

    refused = product.run("--sql", word="plan")
    assert refused.code == 2
    assert "--sql" in refused.err
    assert product.run("--sql", "--tables", "visits", word="plan").out.count("CREATE TABLE") == 1


def test_urls_mean_one_database(product: Product) -> None:
    run = product.run("--from", sqlite_url(product.main_file))
    assert run.code == 0, run.err
    assert "databases" not in run.report
    assert warnings(run) == []
    assert not exists(product.usage, "visits")


def test_usage_data_on_one_side_is_not_forgotten_in_silence(product: Product) -> None:
    text = (product.folder / "app.gcfg").read_text().replace("UsageDataURL", "; ")
    (product.folder / "app.gcfg").write_text(text)
    run = product.run()
    assert run.code == 0, run.err
    assert run.report["status"] == "verified"
    (warning,) = warnings(run)
    assert warning.startswith(f"the usage database stays behind: SQLite file {product.usage_file}")
    assert warning in run.err

    product.usage_file.unlink()
    product.configure()
    assert warnings(product.run("--drop-all")) == []


def test_patterns_concern_whichever_has_the_table(product: Product) -> None:
    run = product.run("--tables", "visits")
    assert run.code == 0, run.err
    assert "Main database: none of its tables is chosen." in run.err
    assert [table["source"] for table in run.report["tables"]] == ["visits"]
    assert not exists(product.main, "orders")

    misspelled = product.run("--tables", "vists")
    assert misspelled.code == 2
    assert "'vists'" in misspelled.err


def test_rules_concern_whichever_has_the_column(product: Product) -> None:
    product.configure(more="[Cast]\nrule = orders.at to timestamptz using epoch\n")
    run = product.run("--cast", "visits.n to text")
    assert run.code == 0, run.err
    assert product.main.rows("SELECT at::text FROM orders") == [("1970-01-01 00:01:00+00",)]
    assert product.usage.rows("SELECT n FROM visits") == [("2",)]
    assert product.run("--cast", "visits.m to text").code == 2


def test_rejected_rows_of_both_are_kept_apart(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (product.main_file, product.usage_file):
        sqlite_file(
            path,
            f"CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, w TEXT);"
            f"INSERT INTO t VALUES (1, 1, ''), (2, 'two', '{path.stem}');",
        )
    monkeypatch.chdir(product.folder)
    run = product.run("--misfit", "reject")
    assert run.code == 1, run.err
    assert statuses(run) == [("main", "rejected"), ("usage", "rejected")]
    for name, file in (("main", "t.jsonl"), ("usage", "usage/t.jsonl")):
        path = product.folder / "tableferry-rejects" / file
        (line,) = path.read_text().splitlines()
        assert json.loads(line)["row"]["w"] == name
        path.write_text(line.replace('"v": "two"', '"v": 2'))

    rejects = ("--rejects", "tableferry-rejects/usage/t.jsonl")
    unclear = product.run(*rejects, "--tables", "t")
    assert unclear.code == 2
    assert "one database" in unclear.err
    urls = ("--from", sqlite_url(product.usage_file), "--to", product.usage.url)
    assert product.run(*rejects, "--tables", "t", *urls).code == 0
    assert product.usage.rows("SELECT v, w FROM t ORDER BY 1") == [(1, ""), (2, "usage")]


def test_one_database_twice_is_refused(product: Product) -> None:
    """Under another spelling of its address, which the configuration itself cannot tell."""
    url = product.main.url_without_password
    product.configure(usage_url=f"{url}&connect_timeout=9")
    run = product.run()
    assert run.code == 2, run.err
    assert "main and the usage database are the same: PostgreSQL" in run.err
    assert not exists(product.main, "orders")

    product.configure(usage_url=f"{url}&search_path=usage")
    assert product.run().code == 0
    assert product.main.rows("SELECT n FROM usage.visits") == [(2,)]


def test_interrupted_in_the_second(product: Product) -> None:
    product.usage_file.unlink()
    numbers_file(product.usage_file, 700_000, width=100)
    process: subprocess.Popen[str] = start(
        *product.arguments("--workers", "1"),
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%numbers%'"
        wait_until(lambda: bool(product.usage.rows(query)[0][0]), 60, "a copy of usage data")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        end(process)
    assert process.returncode == 130, err
    main, usage = product.report()["databases"]
    assert main["report"]["status"] == "verified"
    assert usage["report"]["error"]["exit_code"] == 130

    run = product.run("--resume")
    assert run.code == 0, run.err
    assert statuses(run) == [("main", "verified"), ("usage", "verified")]
    commands = [each["report"]["command"] for each in run.report["databases"]]
    assert commands == ["verify", "migrate"]
    assert product.usage.rows("SELECT count(*) FROM numbers") == [(700_000,)]


def test_gone_on_with_before_the_second_had_its_turn(product: Product) -> None:
    sqlite_file(product.main_file, "INSERT INTO orders VALUES (9, 'nine')")
    usage = product.usage_file.read_bytes()
    product.usage_file.unlink()
    failed = product.run("--misfit", "stop", "--from", sqlite_url(product.main_file))
    assert failed.code == 4, failed.err
    product.usage_file.write_bytes(usage)
    sqlite_file(product.main_file, "DELETE FROM orders WHERE id = 9")

    run = product.run("--misfit", "stop", "--resume")

    assert run.code == 0, run.err
    assert statuses(run) == [("main", "verified"), ("usage", "verified")]
    assert "Going on with the run of" in run.err


def test_from_python(product: Product) -> None:
    config = product.folder / "app.gcfg"
    databases: tuple[Literal["main", "usage"], ...] = ("main", "usage")
    for database in databases:
        outcome = tableferry.migrate(
            "sqlite3",
            "pgx",
            config=config,
            database=database,
        )
        assert outcome.verified
    assert tableferry.verify("sqlite3", "pgx", config=config, database="usage").verified
    assert product.usage.rows("SELECT n FROM visits") == [(2,)]
    with pytest.raises(UsageError, match="no usage database"):
        tableferry.verify("sqlite3", product.usage.url, config=config, database="usage")
