"""--cast and [Cast]: what the user's rules do to a whole run, and to its verification."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.system.support import (
    command,
    ends,
    ferried,
    ferry,
    password,
    schemas,
    sqlite_file,
    with_report,
)

UTC = datetime.UTC
SOME_UUID = "0f0e0d0c-0b0a-4909-8807-060504030201"
HALF_PAST = datetime.datetime(2023, 11, 14, 22, 13, 20, 500_000)

# (declared type, SQL literals, rule after "t.v to", type that the column gets, what arrives, how
# many values the report counts as converted)
Case = tuple[str, list[str], str, str, list[Any], int]

CASES: dict[str, Case] = {
    "epoch": (
        "INTEGER",
        ["1700000000", "NULL", "-62135596800", "253402300799"],
        "timestamptz using epoch",
        "timestamptz",
        [
            datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
            None,
            datetime.datetime.min.replace(tzinfo=UTC),
            datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        ],
        3,
    ),
    "epoch of reals": (
        "REAL",
        ["1700000000.5", "0"],
        "timestamp using epoch",
        "timestamp",
        [HALF_PAST, datetime.datetime(1970, 1, 1)],
        2,
    ),
    "epoch_ms": (
        "DATETIME",
        ["1700000000500", "-1"],
        "timestamp using epoch_ms",
        "timestamp",
        [HALF_PAST, datetime.datetime(1969, 12, 31, 23, 59, 59, 999_000)],
        2,
    ),
    "a day by its seconds": (
        "INTEGER",
        ["86400", "-86400"],
        "date using epoch",
        "date",
        [datetime.date(1970, 1, 2), datetime.date(1969, 12, 31)],
        2,
    ),
    "julian": (
        "REAL",
        ["julianday('2024-02-29 12:34:56.789')", "2440588"],
        "timestamp using julian",
        "timestamp",
        [
            datetime.datetime(2024, 2, 29, 12, 34, 56, 789_000),
            datetime.datetime(1970, 1, 1, 12),
        ],
        2,
    ),
    "iso": (
        "TEXT",
        ["'2024-02-29T01:02Z'", "'2024-02-29 01:02:03+02:00'"],
        "timestamptz using iso",
        "timestamptz",
        [
            datetime.datetime(2024, 2, 29, 1, 2, tzinfo=UTC),
            datetime.datetime(2024, 2, 28, 23, 2, 3, tzinfo=UTC),
        ],
        0,
    ),
    "booleans": (
        "TEXT",
        ["'yes'", "'F'", "' On '", "NULL", "'0'"],
        "boolean",
        "bool",
        [True, False, True, None, False],
        4,
    ),
    "booleans that are integers": ("INTEGER", ["1", "0"], "boolean", "bool", [True, False], 0),
    "uuid": (
        "TEXT",
        [f"'{{{SOME_UUID.upper()}}}'", f"x'{SOME_UUID.replace('-', '')}'", f"'{SOME_UUID}'"],
        "uuid",
        "uuid",
        [uuid.UUID(SOME_UUID)] * 3,
        3,
    ),
    "strip_nul": (
        "TEXT",
        ["CAST(x'610062' AS TEXT)", "'é'"],
        "text using strip_nul",
        "text",
        ["ab", "é"],
        1,
    ),
    "replace_invalid": (
        "VARCHAR(3)",
        ["CAST(x'61ff62' AS TEXT)", "'abc'"],
        "varchar(3) using replace_invalid",
        "varchar",
        ["a\ufffdb", "abc"],
        1,
    ),
    "32 bits": (
        "INTEGER",
        ["-2147483648", "2147483647"],
        "integer",
        "int4",
        [-(2**31), 2**31 - 1],
        0,
    ),
    "16 bits": ("INTEGER", ["-32768", "32767"], "smallint", "int2", [-(2**15), 2**15 - 1], 0),
    "numbers to text": (
        "NUMERIC",
        ["1", "0.1", "1e300"],
        "text",
        "text",
        ["1", "0.1", "1e+300"],
        0,
    ),
    "everything to bytea": (
        "",
        ["1", "0.5", "'x'", "x'ff'"],
        "bytea",
        "bytea",
        [b"1", b"0.5", b"x", b"\xff"],
        0,
    ),
    "integers to float": ("NUMERIC", ["1", "0.5"], "float8", "float8", [1.0, 0.5], 0),
}


def made(path: Path, cases: dict[str, Case]) -> Path:
    """A file with a table for each case, named as it is."""
    script = ""
    for name, (declared, literals, *_) in cases.items():
        rows = ", ".join(f"({i}, {literal})" for i, literal in enumerate(literals))
        script += f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, v {declared});'
        script += f'INSERT INTO "{name}" VALUES {rows};'
    return sqlite_file(path, script)


def flags(*rules: str) -> list[str]:
    return [word for rule in rules for word in ("--cast", rule)]


def column_type(target: Server, table: str, column: str = "v") -> str:
    ((name,),) = target.rows(
        "SELECT t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid "
        f"""WHERE a.attrelid = '"{table}"'::regclass AND a.attname = '{column}'"""
    )
    return str(name)


def values(target: Server, table: str) -> list[Any]:
    with target.connect() as connection:
        connection.execute("SET timezone TO 'UTC'")
        rows = connection.execute(f'SELECT v FROM "{table}" ORDER BY id'.encode()).fetchall()
    return [value for (value,) in rows]


# ---- each method ------------------------------------------------------------------------------


def test_every_method(database: Server, tmp_path: Path) -> None:
    source = made(tmp_path / "source.db", CASES)
    rules = flags(*(f"{name}.v to {rule}" for name, (_, _, rule, *_) in CASES.items()))

    run = ferried(source, database, *rules)

    found = {name: (column_type(database, name), values(database, name)) for name in CASES}
    assert found == {n: (type_name, arrives) for n, (*_, type_name, arrives, _) in CASES.items()}
    assert {name: run.table(name)["converted"] for name in CASES} == {
        name: {"v": count} if count else {} for name, (*_, count) in CASES.items()
    }
    assert run.widened() == {}
    using = {n: run.table(n)["plan"]["columns"][1]["using"] for n in ("epoch", "julian", "iso")}
    assert using == {"epoch": "epoch", "julian": "julian", "iso": ""}
    assert "converted by your rules: v (3)" in run.err

    again = ferry(source, database, "--verify", *rules)

    assert (again.code, again.report["status"]) == (0, "verified"), again.err


def test_verify_sees_a_converted_value_that_was_changed(
    any_database: Server, tmp_path: Path
) -> None:
    source = made(tmp_path / "source.db", {"t": CASES["epoch_ms"]})
    rules = flags("t.v to timestamp using epoch_ms")
    ferried(source, any_database, *rules)
    any_database.run("UPDATE t SET v = v + interval '1 millisecond' WHERE id = 1")

    run = ferry(source, any_database, "--verify", *rules)

    assert run.code == 1
    (difference,) = run.differences("t")
    assert (difference["what"], difference["key"], difference["column"]) == (
        "changed",
        {"id": "1"},
        "v",
    )


def test_verify_without_the_rules_does_not_call_it_the_same(
    any_database: Server, tmp_path: Path
) -> None:
    source = made(tmp_path / "source.db", {"t": CASES["epoch_ms"]})
    ferried(source, any_database, *flags("t.v to timestamp using epoch_ms"))

    run = ferry(source, any_database, "--verify")

    assert run.code == 1
    assert run.report["status"] == "differences"


# ---- what does not fit a rule -----------------------------------------------------------------


@pytest.mark.parametrize("declared", ["INTEGER", ""])
def test_a_misfit_of_a_rule_widens(any_database: Server, tmp_path: Path, declared: str) -> None:
    case: Case = (declared, ["1700000000", "9223372036854775807"], "", "", [], 0)
    source = made(tmp_path / "source.db", {"t": case})

    run = ferried(source, any_database, *flags("t.v to timestamptz using epoch"))

    assert column_type(any_database, "t") == "int8"
    assert values(any_database, "t") == [1700000000, 2**63 - 1]
    (widened,) = run.widened().values()
    assert (widened["planned"], widened["became"], widened["count"]) == (
        "timestamp with time zone",
        "bigint",
        1,
    )
    assert widened["examples"] == [{"key": {"id": "1"}, "value": "9223372036854775807"}]
    assert run.table("t")["converted"] == {}
    rules = flags("t.v to timestamptz using epoch")
    assert ferry(source, any_database, "--verify", *rules).code == 0


@pytest.mark.parametrize("declared", ["DATETIME", "TIMESTAMPTZ"])
def test_verify_follows_a_column_that_came_to_its_type_in_spite_of_its_rule(
    any_database: Server, tmp_path: Path, declared: str
) -> None:
    """The rule's conversion fits no value of one table, and all of the other."""
    zone = "Z" if declared == "TIMESTAMPTZ" else ""
    texts: Case = (declared, [f"'2024-02-29 12:00:00{zone}'", "NULL"], "", "", [], 0)
    epochs: Case = ("INTEGER", ["1700000000", "NULL"], "", "", [], 0)
    source = made(tmp_path / "source.db", {"texts": texts, "epochs": epochs})
    rules = flags("*.v to timestamptz using epoch")
    ferried(source, any_database, *rules)
    assert column_type(any_database, "texts").startswith("timestamp")

    assert ferry(source, any_database, "--verify", *rules).code == 0

    any_database.run("UPDATE texts SET v = v + interval '1 second' WHERE id = 0")
    run = ferry(source, any_database, "--verify", *rules)
    assert run.code == 1
    (difference,) = run.differences("texts")
    assert (difference["what"], difference["key"]) == ("changed", {"id": "0"})
    assert run.differences("epochs") == []


@pytest.mark.parametrize(
    ("literal", "rule"),
    [
        ("-0.0", "numeric"),
        ("-0.0", "numeric(10,2)"),
        ("12", "numeric(1)"),
        ("2147483648", "integer"),
        ("'maybe'", "boolean"),
        ("86401", "date using epoch"),
        ("0.0000001", "timestamp using epoch"),
        ("'2024-01-01'", "timestamp using epoch"),
        ("CAST(x'ff' AS TEXT)", "text using strip_nul"),
        ("CAST(x'00' AS TEXT)", "text using replace_invalid"),
        ("'0123'", "uuid"),
    ],
)
def test_a_misfit_of_a_rule_stops(
    any_database: Server, tmp_path: Path, literal: str, rule: str
) -> None:
    source = made(tmp_path / "source.db", {"t": ("", ["NULL", literal], "", "", [], 0)})

    run = ferry(source, any_database, "--misfit", "stop", *flags(f"t.v to {rule}"))

    assert run.code == 4
    assert "Table t, column v: 1 values do not fit" in run.err
    assert "at id = 1" in run.err


# ---- which columns ----------------------------------------------------------------------------

SHOP = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, placed_at INTEGER, paid TINYINT(1), note TEXT);
CREATE TABLE "order lines" (id INTEGER PRIMARY KEY, placed_at INTEGER, gift tinyint ( 1 ));
INSERT INTO orders VALUES (1, 1700000000000, 1, 'yes'), (2, NULL, 0, NULL);
INSERT INTO "order lines" VALUES (1, 1700000000000, 1);
"""
SHOP_RULES = (
    "*.* to text",
    "order*.*_AT to timestamptz using epoch_ms",
    "type TINYINT(1) to boolean",
    "orders.note to boolean",
    "*.id to integer",
)
SHOP_TYPES = {
    "orders.id": "int4",
    "orders.placed_at": "timestamptz",
    "orders.paid": "bool",
    "orders.note": "bool",
    "order lines.id": "int4",
    "order lines.placed_at": "timestamptz",
    "order lines.gift": "bool",
}


def shop_types(target: Server) -> dict[str, str]:
    return {name: column_type(target, *name.split(".")) for name in SHOP_TYPES}


def test_wildcards_declared_types_and_the_last_word(any_database: Server, tmp_path: Path) -> None:
    source = sqlite_file(tmp_path / "source.db", SHOP)

    run = ferried(source, any_database, *flags(*SHOP_RULES))

    assert shop_types(any_database) == SHOP_TYPES
    # A key of 32 bits is still a key that numbers itself.
    insert = "INSERT INTO orders (placed_at) VALUES (now()) RETURNING id"
    assert any_database.rows(insert) == [(3,)]
    assert run.table("orders")["converted"] == {"placed_at": 1, "note": 1}


def test_rules_in_the_configuration_file(any_database: Server, tmp_path: Path) -> None:
    """Under any key, a key more than once, and the command line has the last word."""
    source = sqlite_file(tmp_path / "source.db", SHOP)
    config = tmp_path / "the.gcfg"
    lines = [f'rule-{i} = "{rule}"' for i, rule in enumerate(SHOP_RULES)]
    lines += ["rule = orders.note to varchar(3)", "rule = *.gift to smallint"]
    config.write_text("[Cast]\n" + "\n".join(lines) + "\n")
    config.chmod(0o600)
    arguments = (*ends(source, any_database), "--config", str(config))
    last = flags("orders.note to boolean")

    run = with_report(*arguments, *last, env=password(any_database))

    assert run.code == 0, run.err
    assert "Warning" not in run.err
    assert shop_types(any_database) == SHOP_TYPES | {"order lines.gift": "int2"}
    verified = with_report(*arguments, *last, "--verify", env=password(any_database))
    assert verified.code == 0, verified.err


def test_a_foreign_key_keeps_its_type_under_a_rule_for_both_sides(
    any_database: Server, tmp_path: Path
) -> None:
    source = sqlite_file(
        tmp_path / "source.db",
        "CREATE TABLE p (id INTEGER PRIMARY KEY);"
        "CREATE TABLE c (p_id INTEGER REFERENCES p);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1);",
    )
    run = ferried(source, any_database, *flags("type integer to integer"))
    assert run.report["left_behind"] == []
    assert {column_type(any_database, "p", "id"), column_type(any_database, "c", "p_id")} == {
        "int4"
    }


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("t.missing to text", "matches no column"),
        ("type DATE to timestamp", "matches no column"),
        ("t.v into text", "is no rule"),
        ("t.v to varchar2", "is no type"),
        ("t.v to timestamp using unixepoch", "there is no method unixepoch"),
        ("t.v to bigint using epoch", "epoch does not make a bigint"),
    ],
)
@pytest.mark.parametrize("place", ["argument", "configuration", "verify"])
def test_a_rule_that_makes_no_sense_is_refused_before_anything_is_written(
    any_database: Server, tmp_path: Path, rule: str, words: str, place: str
) -> None:
    source = made(tmp_path / "source.db", {"t": CASES["32 bits"]})
    config = tmp_path / "the.gcfg"
    config.write_text(f'[Cast]\na = "{rule}"\n' if place == "configuration" else "")
    config.chmod(0o600)
    given = [] if place == "configuration" else flags(rule)
    if place == "verify":
        ferried(source, any_database)
        given.append("--verify")
    before = any_database.rows("SELECT relname, xmin::text FROM pg_class ORDER BY 1")

    run = command(
        *("database", "--config", str(config), *ends(source, any_database), *given),
        env=password(any_database),
    )

    assert run.code == 2
    assert words in run.err
    assert repr(rule) in run.err
    assert any_database.rows("SELECT relname, xmin::text FROM pg_class ORDER BY 1") == before


def test_a_rule_for_a_table_that_is_not_chosen_is_idle(
    any_database: Server, tmp_path: Path
) -> None:
    source = made(tmp_path / "source.db", {"t": CASES["32 bits"], "u": CASES["32 bits"]})
    run = ferry(source, any_database, "--tables", "t", *flags("u.v to integer"))
    assert run.code == 2
    assert schemas(any_database) == ["public"]
