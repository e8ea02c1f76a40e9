"""SQLite holds anything anywhere; whatever it holds arrives, and the report says what it took."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import catalog, ferried, ferry, sqlite_file

UTC = datetime.UTC

# (declared type, SQL literals of the values, expected PostgreSQL type, expected values, how many
# do not fit the declared type: None where the column must not be named as widened)
Case = tuple[str, list[str], str, list[Any], int | None]

FITTING: dict[str, Case] = {
    "integers": (
        "INTEGER",
        ["1", "NULL", "9223372036854775807"],
        "int8",
        [1, None, 2**63 - 1],
        None,
    ),
    "smallest": ("BIGINT", ["-9223372036854775808"], "int8", [-(2**63)], None),
    "booleans": ("BOOLEAN", ["1", "0", "NULL"], "bool", [True, False, None], None),
    "reals": ("REAL", ["1", "0.1", "-1e300"], "float8", [1.0, 0.1, -1e300], None),
    "infinities": (
        "REAL",
        ["9e999", "-9e999", "5e-324"],
        "float8",
        [float("inf"), -float("inf"), 5e-324],
        None,
    ),
    "large ints in a real": ("DOUBLE", ["9007199254740993"], "float8", [9007199254740992.0], None),
    "decimals": (
        "DECIMAL(10,2)",
        ["1.10", "-99999999.99", "7", "0.07"],
        "numeric",
        [Decimal(v) for v in ("1.10", "-99999999.99", "7", "0.07")],
        None,
    ),
    "numerics": (
        "NUMERIC",
        ["0.1", "9007199254740993", "1e20", "-9e999"],
        "numeric",
        [Decimal("0.1"), Decimal(2**53 + 1), Decimal(10**20), Decimal("-Infinity")],
        None,
    ),
    "texts": (
        "TEXT",
        ["''", "'é 漢 🦆'", "'a' || char(10) || char(9) || '\\N\\.'"],
        "text",
        ["", "é 漢 🦆", "a\n\t\\N\\."],
        None,
    ),
    "full varchars": ("VARCHAR(3)", ["'漢漢漢'", "'ab '"], "varchar", ["漢漢漢", "ab "], None),
    "numbers as text": ("TEXT", ["1", "2.5"], "text", ["1", "2.5"], None),
    "blobs": ("BLOB", ["x''", "x'00ff'"], "bytea", [b"", b"\0\xff"], None),
    "dates": (
        "DATE",
        ["'2024-02-29'", "'0001-01-01'", "'9999-12-31'"],
        "date",
        [datetime.date(2024, 2, 29), datetime.date.min, datetime.date.max],
        None,
    ),
    "moments": (
        "DATETIME",
        ["'2024-02-29 23:59:59.999999'", "'2024-02-29T01:02'", "'2024-02-29'"],
        "timestamp",
        [
            datetime.datetime(2024, 2, 29, 23, 59, 59, 999999),
            datetime.datetime(2024, 2, 29, 1, 2),
            datetime.datetime(2024, 2, 29),
        ],
        None,
    ),
    "zoned": (
        "TIMESTAMPTZ",
        ["'2024-01-01T00:00:00Z'", "'2024-01-01 00:00:00+02:00'"],
        "timestamptz",
        [
            datetime.datetime(2024, 1, 1, tzinfo=UTC),
            datetime.datetime(2023, 12, 31, 22, tzinfo=UTC),
        ],
        None,
    ),
    "hours": (
        "TIME",
        ["'23:59:59.000001'", "'00:00'", "'24:00:00'"],
        "time",
        [datetime.time(23, 59, 59, 1), datetime.time(0, 0), "24:00:00"],
        None,
    ),
    "far dates": (
        "DATE",
        ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'", "'2024-02-29'"],
        "date",
        ["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31", datetime.date(2024, 2, 29)],
        None,
    ),
    "far moments": (
        "DATETIME",
        ["'infinity'", "'-infinity'", "'4713-01-01 12:00:00.5 BC'", "'294276-12-31 23:59:59'"],
        "timestamp",
        ["infinity", "-infinity", "4713-01-01 12:00:00.5 BC", "294276-12-31 23:59:59"],
        None,
    ),
    "late text": ("INTEGER", ["NULL"] * 5000 + ["'late'"], "text", [None] * 5000 + ["late"], 1),
    "late number": ("TEXT", ["NULL"] * 5000 + ["'x'"], "text", [None] * 5000 + ["x"], None),
    "nothing declared, integers": ("", ["1", "NULL"], "int8", [1, None], None),
    "nothing declared, text": ("", ["'a'", "''"], "text", ["a", ""], None),
    "nothing declared, reals": ("", ["1.5", "2.0"], "float8", [1.5, 2.0], None),
    "nothing declared, blobs": ("", ["x'01'", "NULL"], "bytea", [b"\1", None], None),
}

MISFITS: dict[str, Case] = {
    "text in an integer": ("INTEGER", ["1", "'one'", "2"], "text", ["1", "one", "2"], 1),
    "real in an integer": ("INTEGER", ["1", "2.5"], "numeric", [Decimal(1), Decimal("2.5")], 1),
    "all classes": (
        "INTEGER",
        ["1", "2.5", "'x'", "x'ff'", "NULL"],
        "bytea",
        [b"1", b"2.5", b"x", b"\xff", None],
        3,
    ),
    "two in a boolean": ("BOOLEAN", ["1", "0", "2"], "int8", [1, 0, 2], 1),
    "half in a boolean": ("BOOLEAN", ["1", "0.5"], "numeric", [Decimal(1), Decimal("0.5")], 1),
    "yes in a boolean": ("BOOLEAN", ["'yes'", "'no'"], "text", ["yes", "no"], 2),
    "text in a real": ("REAL", ["0.1", "'n/a'"], "text", ["0.1", "n/a"], 1),
    "too many digits": (
        "DECIMAL(10,2)",
        ["1.239", "1.23", "123456789.5"],
        "numeric",
        [Decimal("1.239"), Decimal("1.23"), Decimal("123456789.5")],
        2,
    ),
    "large ints in a decimal": (
        "DECIMAL(18,0)",
        ["9007199254740993", "9223372036854775807", "5"],
        "numeric",
        [Decimal(2**53 + 1), Decimal(2**63 - 1), Decimal(5)],
        1,
    ),
    "infinity in a decimal": (
        "DECIMAL(10,2)",
        ["9e999", "1.5"],
        "numeric",
        [Decimal("Infinity"), Decimal("1.5")],
        1,
    ),
    "text in a numeric": ("NUMERIC", ["1.5", "'x'"], "text", ["1.5", "x"], 1),
    "too long": ("VARCHAR(3)", ["'abc'", "'abcd'", "'abc '"], "text", ["abc", "abcd", "abc "], 2),
    "a nul": ("TEXT", ["CAST(x'610062' AS TEXT)", "'é'"], "bytea", [b"a\0b", "é".encode()], 1),
    "no utf-8": ("TEXT", ["CAST(x'ff61' AS TEXT)", "'a'"], "bytea", [b"\xffa", b"a"], 1),
    "a blob in text": ("TEXT", ["'a'", "x'61ff'", "x'62'"], "bytea", [b"a", b"a\xff", b"b"], 2),
    "text in a blob": ("BLOB", ["x'00'", "'a'"], "bytea", [b"\0", b"a"], 1),
    "texts in a blob": ("BLOB", ["'a'", "'b'"], "text", ["a", "b"], 2),
    "no such day": (
        "DATE",
        ["'2024-01-01'", "'2023-02-29'"],
        "text",
        ["2024-01-01", "2023-02-29"],
        1,
    ),
    "another calendar": (
        "DATE",
        ["'1.2.2024'", "'0000-00-00'"],
        "text",
        ["1.2.2024", "0000-00-00"],
        2,
    ),
    "a moment in a date": (
        "DATE",
        ["'2024-01-01'", "'2024-01-01 10:00'"],
        "timestamp",
        [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, 10)],
        1,
    ),
    "an epoch in a datetime": ("DATETIME", ["1700000000", "0"], "int8", [1700000000, 0], 2),
    "a zone in a datetime": (
        "DATETIME",
        ["'2024-01-01T00:00:00Z'"],
        "timestamptz",
        [datetime.datetime(2024, 1, 1, tzinfo=UTC)],
        1,
    ),
    "nanoseconds": (
        "DATETIME",
        ["'2024-01-01 00:00:00.123456789'"],
        "text",
        ["2024-01-01 00:00:00.123456789"],
        1,
    ),
    "empty dates": ("DATE", ["'2024-01-01'", "''"], "text", ["2024-01-01", ""], 1),
    "past the last hour": (
        "TIME",
        ["'24:00:01'", "'01:00:00'"],
        "text",
        ["24:00:01", "01:00:00"],
        1,
    ),
    "the year 0": ("DATE", ["'0000-01-01'", "'infinity'"], "text", ["0000-01-01", "infinity"], 1),
    "nothing declared, all classes": (
        "",
        ["1", "2.5", "'x'", "x'ff'"],
        "bytea",
        [b"1", b"2.5", b"x", b"\xff"],
        3,
    ),
    "nothing declared, numbers": ("", ["1", "2.5"], "text", ["1", "2.5"], 2),
}

CASES = FITTING | MISFITS


def test_whatever_a_column_holds_arrives(database: Server, tmp_path: Path) -> None:
    script = "".join(
        _script(name, {"v": (declared, literals)})
        for name, (declared, literals, *_) in CASES.items()
    )
    source = sqlite_file(tmp_path / "source.db", script)

    run = ferried(source, database)

    expected = {name: (type_name, values) for name, (_, _, type_name, values, _) in CASES.items()}
    assert {name: _stored(database, name, "v") for name in CASES} == expected
    assert {name: widened["count"] for name, widened in run.widened().items()} == {
        f"{name}.v": misfits for name, (*_, misfits) in CASES.items() if misfits is not None
    }
    for name, widened in run.widened().items():
        assert widened["declared"] == CASES[name.removesuffix(".v")][0]
        assert len(widened["examples"]) == min(widened["count"], 5)
        assert all(example["key"]["id"] and example["value"] for example in widened["examples"])
        assert f"{name}: {widened['count']} values do not fit" in run.err
    assert ferry(source, database, "--verify").code == 0


def test_only_what_changed_is_named(any_database: Server, tmp_path: Path) -> None:
    """All cases side by side in one table, its rows filled up with NULLs."""
    longest = max(len(literals) for _, literals, *_ in CASES.values())
    columns = {
        name: (declared, literals + ["NULL"] * (longest - len(literals)))
        for name, (declared, literals, *_) in CASES.items()
    }
    source = sqlite_file(tmp_path / "source.db", _script("t", columns))

    run = ferried(source, any_database)

    for name, (_, _, type_name, values, _) in CASES.items():
        filled = values + [None] * (longest - len(values))
        assert _stored(any_database, "t", name) == (type_name, filled), name
    assert {name: widened["count"] for name, widened in run.widened().items()} == {
        f"t.{name}": misfits for name, (*_, misfits) in CASES.items() if misfits is not None
    }


@pytest.mark.parametrize(
    ("case", "key", "value"),
    [
        ("text in an integer", 1, "'one'"),
        ("too long", 1, "'abcd'"),
        ("two in a boolean", 2, "2"),
        ("no such day", 1, "'2023-02-29'"),
        ("too many digits", 0, "1.239"),
        ("a nul", 0, "'a\\x00b'"),
        ("a blob in text", 1, "x'61ff'"),
    ],
)
def test_stop_names_the_first_value(
    any_database: Server, tmp_path: Path, case: str, key: int, value: str
) -> None:
    declared, literals, *_ = MISFITS[case]
    source = sqlite_file(tmp_path / "source.db", _script("t", {"v": (declared, literals)}))

    run = ferry(source, any_database, "--misfit", "stop")

    assert run.code == 4
    assert "Table t, column v: " in run.err
    assert f": {value} at id = {key}." in run.err
    assert len(run.err.splitlines()) <= 3
    assert run.report["status"] == "failed"
    assert run.report["error"]["exit_code"] == 4


def test_stop_has_nothing_to_say_about_values_that_fit(
    any_database: Server, tmp_path: Path
) -> None:
    columns = {n: (declared, literals[:3]) for n, (declared, literals, *_) in FITTING.items()}
    columns = {n: (d, v + ["NULL"] * (3 - len(v))) for n, (d, v) in columns.items()}
    source = sqlite_file(tmp_path / "source.db", _script("t", columns))

    run = ferried(source, any_database, "--misfit", "stop")

    assert run.widened() == {}


def test_a_foreign_key_follows_its_parent(database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE parents (id VARCHAR(4), code NUMERIC UNIQUE, PRIMARY KEY (id));
        CREATE TABLE children (id INTEGER PRIMARY KEY, parent VARCHAR(4) REFERENCES parents);
        CREATE TABLE others (id INTEGER PRIMARY KEY, code INTEGER REFERENCES parents (code));
        CREATE TABLE grandchildren (of INTEGER REFERENCES others (code), name TEXT);
        CREATE UNIQUE INDEX once ON others (code);
        INSERT INTO parents VALUES ('long enough', 'one'), ('b', 2);
        INSERT INTO children VALUES (1, 'long enough'), (2, 'b');
        INSERT INTO others VALUES (1, 2);
        INSERT INTO grandchildren VALUES (2, 'x');
        """,
    )

    run = ferried(source, database)

    assert run.left_behind("foreign key") == []
    assert run.left_behind("proof of foreign key") == []
    assert _type(database, "parents", "code") == "text"
    assert _type(database, "others", "code") == "text"
    assert _type(database, "grandchildren", "of") == "text"
    assert database.rows("SELECT * FROM children ORDER BY 1") == [(1, "long enough"), (2, "b")]
    assert database.rows("SELECT * FROM grandchildren") == [("2", "x")]
    counted = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated"
    assert database.rows(counted) == [(3,)]
    assert {"parents.code", "others.code", "grandchildren.of"} <= set(run.widened())


def test_a_key_of_mixed_classes_stays_a_key(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        """
        CREATE TABLE t (k BLOB PRIMARY KEY, v TEXT) WITHOUT ROWID;
        INSERT INTO t VALUES (1, 'a'), (2.5, 'b'), ('x', 'c'), (x'00', 'd');
        """,
    )

    ferried(source, any_database)

    assert any_database.rows("SELECT k, v FROM t ORDER BY v") == [
        (b"1", "a"),
        (b"2.5", "b"),
        (b"x", "c"),
        (b"\0", "d"),
    ]


def test_values_that_only_their_class_told_apart(any_database: Server, tmp_path: Path) -> None:
    """1 and '1' become one text: as a key that cannot be, and it is said instead of failing."""
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE t (k BLOB PRIMARY KEY); INSERT INTO t VALUES (1), ('1');",
    )

    run = ferried(source, any_database)

    assert any_database.rows("SELECT k FROM t") == [("1",), ("1",)]
    assert run.violations("primary key") == [("t", "k", 2)]


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_other_text_encodings(any_database: Server, tmp_path: Path, encoding: str) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        f"PRAGMA encoding = '{encoding}';"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w INTEGER);"
        "INSERT INTO t VALUES (1, 'é 漢 🦆', 5), (2, '', 'fünf');",
    )

    ferried(source, any_database)

    assert any_database.rows("SELECT * FROM t ORDER BY 1") == [
        (1, "é 漢 🦆", "5"),
        (2, "", "fünf"),
    ]


def test_nothing_else_is_written_by_stop_than_what_drop_all_takes_away(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(tmp_path / "source.db", _script("t", {"v": ("INTEGER", ["1", "'one'"])}))
    any_database.run("CREATE TABLE own (x integer)", "INSERT INTO own VALUES (1)")
    own = [entry for entry in catalog(any_database) if entry[2] == "own"]

    assert ferry(source, any_database, "--misfit", "stop").code == 4

    assert [entry for entry in catalog(any_database) if entry[2] == "own"] == own
    ferried(source, any_database, "--drop-all")
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert any_database.rows(tables) == [("own",), ("t",)]


def _script(table: str, columns: dict[str, tuple[str, list[str]]]) -> str:
    """A table with an id and the given columns, filled row by row."""
    listed = ", ".join(f'"{name}" {declared}' for name, (declared, _) in columns.items())
    rows = zip(*(literals for _, literals in columns.values()), strict=True)
    values = (
        f"""INSERT INTO "{table}" VALUES ({i}, {", ".join(r)});""" for i, r in enumerate(rows)
    )
    return f"""CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, {listed});
        BEGIN;{"".join(values)}COMMIT;"""


def _type(target: Server, table: str, column: str) -> str:
    ((name,),) = target.rows(
        "SELECT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        f"""WHERE a.attrelid = '"{table}"'::regclass AND a.attname = '{column}'"""
    )
    return str(name)


def _stored(target: Server, table: str, column: str) -> tuple[str, list[Any]]:
    rows = target.rows(f'SELECT "{column}" FROM "{table}" ORDER BY id')
    return _type(target, table, column), [value for (value,) in rows]


def test_a_follower_tells_of_its_own_values_too(any_database: Server, tmp_path: Path) -> None:
    """The child is larger, and read first: its parent follows before its own rows were read."""
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE p (id SMALLINT NOT NULL PRIMARY KEY);"
        "CREATE TABLE a (p INT REFERENCES p, pad TEXT);"
        "INSERT INTO p VALUES (1), (40000);"
        "INSERT INTO a VALUES (2.5, printf('%1000s', 'x')), (1, NULL);",
    )

    run = ferried(source, any_database)

    widened = run.widened()
    assert {name: (w["became"], w["count"]) for name, w in widened.items()} == {
        "p.id": ("numeric", 1),
        "a.p": ("numeric", 1),
    }
    assert widened["p.id"]["examples"] == [{"key": {"id": "40000"}, "value": "40000"}]
