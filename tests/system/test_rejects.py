"""--misfit reject and --rejects: rows set aside, put right, loaded; and every row accounted for."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import catalog, ferried, ferry, sqlite_file, sqlite_rows

Line = dict[str, Any]
FOLDER = "tableferry-rejects"

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, placed_at DATE, total DECIMAL(10,2), note TEXT);
CREATE TABLE fine (id INTEGER PRIMARY KEY, v INTEGER);
CREATE TABLE "lines/of..all" (a TEXT, n INTEGER);
INSERT INTO orders VALUES
    (1, '2024-01-01', 1.5, 'a'),
    (2, 'soon', 2, 'b'),
    (3, NULL, 1.239, NULL),
    (4, '2024-02-30', 9e999, CAST(x'ff61' AS TEXT)),
    (5, '2024-01-05', 5, x'00ff'),
    (6, '2024-01-06', 6, '');
INSERT INTO fine VALUES (1, 10), (2, 20);
INSERT INTO "lines/of..all" VALUES ('x', 1), ('x', 'one'), ('x', 'one'), ('y', 2.5), (NULL, NULL);
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose rows do not all fit; the command runs in its folder."""
    monkeypatch.chdir(tmp_path)
    return sqlite_file(tmp_path / "source.db", SHOP)


def lines(path: str | Path) -> list[Line]:
    return [json.loads(text) for text in Path(path).read_text(encoding="utf-8").splitlines()]


def put_right(path: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str:
    """The file with the row of each line changed; a line whose row becomes None goes."""
    kept = []
    for entry in lines(path):
        row = change(entry["row"])
        if row is not None:
            kept.append(json.dumps(entry | {"row": row}, ensure_ascii=False) + "\n")
    Path(path).write_text("".join(kept), encoding="utf-8")
    return path


def accounted(run: Any, source: Path) -> dict[str, tuple[int, int]]:
    """Rejected and loaded rows by table, having seen that together they are all there are."""
    found = {}
    for table in run.report["tables"]:
        name = table["source"].replace('"', '""')
        ((rows,),) = sqlite_rows(source, f'SELECT count(*) FROM "{name}"')
        assert table["rows"]["source"] == rows
        assert table["rejected"]["rows"] + table["rows"]["target"] == rows
        found[table["source"]] = (table["rejected"]["rows"], table["rows"]["target"])
    return found


# ---- setting aside ----------------------------------------------------------------------------


def test_rows_that_do_not_fit_are_set_aside_and_counted(database: Server, source: Path) -> None:
    run = ferry(source, database, "--misfit", "reject")

    assert (run.code, run.report["status"]) == (1, "rejected"), run.err
    assert accounted(run, source) == {
        "orders": (4, 2),
        "fine": (0, 2),
        "lines/of..all": (3, 2),
    }
    assert {t["verdict"] for t in run.report["tables"]} == {"verified"}
    assert run.widened() == {}
    assert database.rows(
        "SELECT id, placed_at::text, total::text, note FROM orders ORDER BY 1"
    ) == [
        (1, "2024-01-01", "1.50", "a"),
        (6, "2024-01-06", "6.00", ""),
    ]
    assert database.rows("SELECT * FROM fine ORDER BY 1") == [(1, 10), (2, 20)]
    assert set(database.rows('SELECT * FROM "lines/of..all"')) == {("x", 1), (None, None)}
    types = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
    assert dict(database.rows(f"{types}'orders'::regclass AND attnum > 0")) == {
        "id": "bigint",
        "placed_at": "date",
        "total": "numeric(10,2)",
        "note": "text",
    }
    assert "orders: 4 rows were set aside" in run.err
    assert "Verified, but for 7 rejected rows" in run.err


def test_what_the_files_hold(any_database: Server, source: Path) -> None:
    run = ferry(source, any_database, "--misfit", "reject")

    files = {t["source"]: t["rejected"]["file"] for t in run.report["tables"]}
    assert files == {
        "orders": f"{FOLDER}/orders.jsonl",
        "fine": "",
        "lines/of..all": f"{FOLDER}/lines%2Fof..all.jsonl",
    }
    assert sorted(p.name for p in Path(FOLDER).iterdir()) == [
        "lines%2Fof..all.jsonl",
        "orders.jsonl",
    ]
    assert stat.S_IMODE(Path(FOLDER).stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(files["orders"]).stat().st_mode) == 0o600
    assert lines(files["orders"]) == [
        {
            "table": "orders",
            "key": {"id": 2},
            "column": "placed_at",
            "value": "soon",
            "reason": "does not fit date",
            "row": {"id": 2, "placed_at": "soon", "total": 2, "note": "b"},
        },
        {
            "table": "orders",
            "key": {"id": 3},
            "column": "total",
            "value": 1.239,
            "reason": "does not fit decimal(10,2)",
            "row": {"id": 3, "placed_at": None, "total": 1.239, "note": None},
        },
        {
            "table": "orders",
            "key": {"id": 4},
            "column": "placed_at",
            "value": "2024-02-30",
            "reason": "does not fit date",
            "row": {
                "id": 4,
                "placed_at": "2024-02-30",
                "total": {"real": "inf"},
                "note": {"text": "ff61"},
            },
        },
        {
            "table": "orders",
            "key": {"id": 5},
            "column": "note",
            "value": {"blob": "00ff"},
            "reason": "does not fit text",
            "row": {"id": 5, "placed_at": "2024-01-05", "total": 5, "note": {"blob": "00ff"}},
        },
    ]
    of_lines = lines(files["lines/of..all"])
    assert [entry["key"] for entry in of_lines] == [{}] * 3
    assert [entry["row"] for entry in of_lines] == [
        {"a": "x", "n": "one"},
        {"a": "x", "n": "one"},
        {"a": "y", "n": 2.5},
    ]


def test_nothing_to_reject_is_a_plain_run(any_database: Server, source: Path) -> None:
    run = ferry(source, any_database, "--misfit", "reject", "--tables", "fine")
    assert (run.code, run.report["status"]) == (0, "verified"), run.err
    assert not Path(FOLDER).exists()


def test_every_row_may_be_rejected(any_database: Server, source: Path) -> None:
    sqlite_file(source, "CREATE TABLE bad (v INTEGER); INSERT INTO bad VALUES ('a'), ('b');")
    run = ferry(source, any_database, "--misfit", "reject", "--tables", "bad")
    assert run.code == 1
    assert accounted(run, source) == {"bad": (2, 0)}
    assert any_database.rows("SELECT * FROM bad") == []


def test_a_second_run_writes_its_files_anew(any_database: Server, source: Path) -> None:
    for _ in range(2):
        run = ferry(source, any_database, "--misfit", "reject", "--drop-all")
        assert run.code == 1, run.err
        assert len(lines(run.table("orders")["rejected"]["file"])) == 4


def test_a_column_of_no_type_has_nothing_to_reject(any_database: Server, source: Path) -> None:
    sqlite_file(
        source,
        "CREATE TABLE loose (id INTEGER PRIMARY KEY, v, n INTEGER);"
        "INSERT INTO loose VALUES (1, 1, 1), (2, 'x', 2), (3, 2.5, 'three');",
    )
    run = ferry(source, any_database, "--misfit", "reject", "--tables", "loose")
    assert accounted(run, source) == {"loose": (1, 2)}
    assert any_database.rows("SELECT * FROM loose ORDER BY 1") == [(1, "1", 1), (2, "x", 2)]

    file = put_right(f"{FOLDER}/loose.jsonl", lambda row: row | {"n": 3})
    loaded = ferry(source, any_database, "--tables", "loose", "--rejects", file)

    assert loaded.code == 0, loaded.err
    assert any_database.rows("SELECT * FROM loose WHERE id = 3") == [(3, "2.5", 3)]


def test_a_child_of_a_rejected_parent(any_database: Server, source: Path) -> None:
    """Its foreign key cannot be proven, and that is said; the rows are there."""
    sqlite_file(
        source,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY, v INTEGER);"
        "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents);"
        "INSERT INTO parents VALUES (1, 1), (2, 'two');"
        "INSERT INTO children VALUES (1, 1), (2, 2);",
    )
    chosen = ("--tables", "parents", "--tables", "children")
    run = ferry(source, any_database, "--misfit", "reject", *chosen)

    assert run.code == 1, run.err
    assert accounted(run, source) == {"parents": (1, 1), "children": (0, 2)}
    assert run.left_behind("foreign key") == []
    assert run.violations("foreign key") == [("children", "(parent) to parents", 1)]

    file = put_right(f"{FOLDER}/parents.jsonl", lambda row: row | {"v": 2})
    loaded = ferry(source, any_database, "--tables", "parents", "--rejects", file)

    assert loaded.code == 0, loaded.err
    any_database.run("ALTER TABLE children VALIDATE CONSTRAINT children_parent_fkey")


def test_many_rows_in_several_ranges(any_database: Server, source: Path) -> None:
    """Two tables of some 60 MB each, whose odd rows are spread over all ranges and worker
    processes: the files hold every one of them once, in the order of the table."""
    rows, every = 120_000, 997
    for name in ("big", "big/2"):
        sqlite_file(
            source,
            f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, n INTEGER, pad TEXT);'
            f"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {rows})"
            f'INSERT INTO "{name}" '
            f"SELECT i, iif(i % {every}, i, 'odd ' || i), printf('%-500s', i) FROM c;",
        )
    odd = list(range(every, rows + 1, every))

    run = ferry(source, any_database, "--misfit", "reject", "--tables", "big*", "--workers", "2")

    assert run.code == 1, run.err
    assert accounted(run, source) == dict.fromkeys(("big", "big/2"), (len(odd), rows - len(odd)))
    for name in ("big", "big/2"):
        table = run.table(name)
        assert len(table["ranges"]["source"]) > 1
        assert [entry["key"]["id"] for entry in lines(table["rejected"]["file"])] == odd
        ((count, total),) = any_database.rows(f'SELECT count(*), sum(n) FROM "{name}"')
        assert (count, total) == (rows - len(odd), sum(range(rows + 1)) - sum(odd))
    assert sorted(p.name for p in Path(FOLDER).iterdir()) == ["big%2F2.jsonl", "big.jsonl"]

    file = put_right(
        f"{FOLDER}/big%2F2.jsonl", lambda row: row | {"n": int(row["n"].removeprefix("odd "))}
    )
    loaded = ferry(source, any_database, "--tables", "big/2", "--rejects", file)

    assert loaded.code == 0, loaded.err
    assert any_database.rows('SELECT count(*), sum(n) FROM "big/2"') == [
        (rows, sum(range(rows + 1)))
    ]


# ---- rules and rejecting ----------------------------------------------------------------------


def test_values_that_a_rule_gives_no_meaning_are_rejected(
    any_database: Server, source: Path
) -> None:
    sqlite_file(
        source,
        "CREATE TABLE events (id INTEGER PRIMARY KEY, at INTEGER, n INTEGER);"
        "INSERT INTO events VALUES (1, 0, 1), (2, 'noon', 2), (3, 86400, 'x'), (4, NULL, 4);",
    )
    rules = ("--tables", "events", "--cast", "events.at to timestamptz using epoch")
    run = ferry(source, any_database, "--misfit", "reject", *rules)

    assert accounted(run, source) == {"events": (2, 2)}
    assert [e["column"] for e in lines(f"{FOLDER}/events.jsonl")] == ["at", "n"]
    assert lines(f"{FOLDER}/events.jsonl")[0]["reason"] == "does not fit timestamptz"
    # The rejected row with a good moment did not arrive, so it was not converted either.
    assert run.table("events")["converted"] == {"at": 1}

    good = {2: {"at": 43_200}, 3: {"n": 3}}
    file = put_right(f"{FOLDER}/events.jsonl", lambda row: row | good[row["id"]])
    loaded = ferry(source, any_database, *rules, "--rejects", file)

    assert loaded.code == 0, loaded.err
    epochs = "SELECT id, extract(epoch FROM at)::int, n FROM events ORDER BY 1"
    assert any_database.rows(epochs) == [(1, 0, 1), (2, 43_200, 2), (3, 86_400, 3), (4, None, 4)]
    fixed = "UPDATE events SET at = 43200 WHERE id = 2; UPDATE events SET n = 3 WHERE id = 3;"
    sqlite_file(source, fixed)
    assert ferry(source, any_database, "--verify", *rules).code == 0


@pytest.mark.parametrize("kind", ["text", "bytea", "float8"])
def test_rows_for_a_column_that_a_rule_merges(
    any_database: Server, source: Path, kind: str
) -> None:
    """The rule takes integers too, in the run and in the loading that follows."""
    sqlite_file(
        source,
        "CREATE TABLE m (id INTEGER PRIMARY KEY, v NUMERIC, n INTEGER);"
        "INSERT INTO m VALUES (1, 7, 1), (2, 8, 'x');",
    )
    rules = ("--tables", "m", "--cast", f"m.v to {kind}")
    assert ferry(source, any_database, "--misfit", "reject", *rules).code == 1
    file = put_right(f"{FOLDER}/m.jsonl", lambda row: row | {"n": 2})

    loaded = ferry(source, any_database, *rules, "--rejects", file)

    assert loaded.code == 0, loaded.err
    eight = {"text": "8", "bytea": b"8", "float8": 8.0}[kind]
    assert any_database.rows("SELECT v, n FROM m WHERE id = 2") == [(eight, 2)]


# ---- loading what was put right ---------------------------------------------------------------

GOOD: dict[int, dict[str, Any]] = {
    2: {"placed_at": "2024-01-02"},
    3: {"total": 1.24},
    4: {"placed_at": "2024-02-29", "total": -0.5, "note": "é 🦆"},
}


def right(row: dict[str, Any]) -> dict[str, Any] | None:
    """Order 5 is not wanted any more."""
    return row | GOOD[row["id"]] if row["id"] in GOOD else None


def test_rejected_rows_put_right_are_loaded(database: Server, source: Path) -> None:
    ferry(source, database, "--misfit", "reject")
    file = put_right(f"{FOLDER}/orders.jsonl", right)

    run = ferry(source, database, "--tables", "orders", "--rejects", file)

    assert run.code == 0, run.err
    assert (run.report["command"], run.report["status"]) == ("load rejects", "verified")
    assert run.report["source"] == file
    assert run.table("orders")["rows"] == {"source": 3, "target": 3}
    assert database.rows(
        "SELECT id, placed_at::text, total::text, note FROM orders ORDER BY 1"
    ) == [
        (1, "2024-01-01", "1.50", "a"),
        (2, "2024-01-02", "2.00", "b"),
        (3, None, "1.24", None),
        (4, "2024-02-29", "-0.50", "é 🦆"),
        (6, "2024-01-06", "6.00", ""),
    ]
    # The next order's number is free still.
    ((number,),) = database.rows("INSERT INTO orders (note) VALUES ('new') RETURNING id")
    assert number > 6


def test_a_table_without_a_key_takes_its_rows(any_database: Server, source: Path) -> None:
    ferry(source, any_database, "--misfit", "reject")
    numbers = {"one": 1, 2.5: 2}
    file = put_right(f"{FOLDER}/lines%2Fof..all.jsonl", lambda row: row | {"n": numbers[row["n"]]})

    run = ferry(source, any_database, "--tables", "lines/of..all", "--rejects", file)

    assert run.code == 0, run.err
    assert sorted(any_database.rows('SELECT a, n FROM "lines/of..all" WHERE a IS NOT NULL')) == [
        ("x", 1),
        ("x", 1),
        ("x", 1),
        ("y", 2),
    ]


def test_after_loading_both_sides_can_be_verified(any_database: Server, source: Path) -> None:
    """Once the source was put right in the same way."""
    ferry(source, any_database, "--misfit", "reject", "--tables", "orders")
    file = put_right(f"{FOLDER}/orders.jsonl", right)
    assert ferry(source, any_database, "--tables", "orders", "--rejects", file).code == 0
    assert ferry(source, any_database, "--verify", "--tables", "orders").code == 1
    sqlite_file(
        source,
        "UPDATE orders SET placed_at = '2024-01-02' WHERE id = 2;"
        "UPDATE orders SET total = 1.24 WHERE id = 3;"
        "UPDATE orders SET placed_at = '2024-02-29', total = -0.5, note = 'é 🦆' WHERE id = 4;"
        "DELETE FROM orders WHERE id = 5;",
    )

    run = ferry(source, any_database, "--verify", "--tables", "orders")

    assert run.code == 0, run.err


def test_a_row_that_still_does_not_fit_keeps_all_out(any_database: Server, source: Path) -> None:
    ferry(source, any_database, "--misfit", "reject")
    file = put_right(
        f"{FOLDER}/orders.jsonl",
        lambda row: row | GOOD.get(row["id"], {}) | ({} if row["id"] != 4 else {"total": 1e300}),
    )
    before = any_database.rows("SELECT * FROM orders ORDER BY 1")

    run = ferry(source, any_database, "--tables", "orders", "--rejects", file)

    assert run.code == 3
    assert run.report["status"] == "failed"
    assert f"{file}, row 3: total is 1e+300, which does not fit decimal(10,2)" in run.err
    assert "nothing was loaded" in run.err
    assert any_database.rows("SELECT * FROM orders ORDER BY 1") == before


def test_loading_twice_is_kept_out_by_the_key(any_database: Server, source: Path) -> None:
    ferry(source, any_database, "--misfit", "reject")
    file = put_right(f"{FOLDER}/orders.jsonl", right)
    arguments = ("--tables", "orders", "--rejects", file)
    assert ferry(source, any_database, *arguments).code == 0
    before = any_database.rows("SELECT * FROM orders ORDER BY 1")

    run = ferry(source, any_database, *arguments)

    assert run.code == 4
    assert "orders_pkey" in run.err
    assert any_database.rows("SELECT * FROM orders ORDER BY 1") == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"row": {"id": 1}}', "not the same columns: note, placed_at, total"),
        ('{"row": {"id": 1, "placed_at": null, "total": true, "note": null}}', "no rejected row"),
        ("soon", "no rejected row"),
        (
            '{"row": {"id": 9223372036854775808, "placed_at": null, "total": 1, "note": ""}}',
            "line 2",
        ),
        ('{"row": {"id": 1, "placed_at": null, "total": 1, "note": "\\ud800"}}', "line 2"),
    ],
)
def test_a_file_that_makes_no_sense(
    any_database: Server, source: Path, text: str, words: str
) -> None:
    ferry(source, any_database, "--misfit", "reject", "--tables", "orders")
    good = '{"row": {"id": 9, "placed_at": null, "total": 1, "note": ""}}\n'
    Path("mine.jsonl").write_text(good + text + "\n")
    before = catalog(any_database)

    run = ferry(source, any_database, "--tables", "orders", "--rejects", "mine.jsonl")

    assert run.code == 2, run.err
    assert words in run.err
    assert "Traceback" not in run.err
    assert catalog(any_database) == before
    assert any_database.rows("SELECT count(*) FROM orders WHERE id = 9") == [(0,)]


def test_what_rejects_needs(any_database: Server, source: Path) -> None:
    ferried(source, any_database, "--tables", "fine")
    Path("mine.jsonl").write_text('{"row": {"id": 3, "v": 30}}\n')

    assert ferry(source, any_database, "--rejects", "mine.jsonl").code == 2
    missing = ferry(source, any_database, "--tables", "fine", "--rejects", "none.jsonl")
    assert missing.code == 2
    assert "none.jsonl" in missing.err
    absent = ferry(source, any_database, "--tables", "orders", "--rejects", "mine.jsonl")
    assert (absent.code, "Migrate it first" in absent.err) == (3, True)
    for other in ("--verify", "--drop-all", "--recreate"):
        assert ferry(source, any_database, "--rejects", "mine.jsonl", other).code == 2
    assert any_database.rows("SELECT * FROM fine ORDER BY 1") == [(1, 10), (2, 20)]
    loaded = ferry(source, any_database, "--tables", "fine", "--rejects", "mine.jsonl")
    assert (loaded.code, loaded.table("fine")["rows"]) == (0, {"source": 1, "target": 1})
