"""What a DEFAULT of PostgreSQL stores, its translation stores in SQLite."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterator

import pytest
from tests.boundary import Both, declared_in_sqlite, filled, kind_named, read, stored
from tests.servers import Server

from tableferry import kinds
from tableferry.expressions import Untranslatable, translator
from tableferry.model import Kind

TO_SQLITE = translator("postgresql", "sqlite")


@pytest.fixture(scope="module")
def both(server: Server) -> Iterator[Both]:
    with filled(server) as opened:
        yield opened


DEFAULTS = [
    *[("real", text) for text in ("0", "0.1", "-1.5", "'0.1'", "'NaN'", "1e10", "3")],
    *[("integer", text) for text in ("0", "-1", "+5", "'7'", "1 + 2 * 3", "NULL", "7 / 2", "2.5")],
    *[("smallint", text) for text in ("3", "-32768")],
    *[
        ("bigint", text)
        for text in ("-1", "9223372036854775807", "'-9223372036854775808'", "5 * 2")
    ],
    *[("boolean", text) for text in ("true", "'f'", "NULL", "(NOT true)", "1 = 1")],
    *[("double precision", text) for text in ("0", "1.5", "'2.5'", "-0.1", "1e300", "'NaN'", "3")],
    *[("double precision", text) for text in ("'Infinity'", "'-Infinity'", "1e22", "0.1 + 0.2")],
    *[
        ("numeric(10,2)", text)
        for text in ("0", "0.00", "9.99", "'1.50'", "-0.25", "1.005", "NULL")
    ],
    *[("numeric(18,2)", text) for text in ("0.00", "1234567890123456.78", "-1")],
    *[
        ("numeric", text)
        for text in ("0", "1.10", "-1", "'12345678901234567890.50'", "'NaN'", "1e30")
    ],
    *[("text", text) for text in ("''", "'it''s'", "'a\\b'", "'äöü😀'", "'a' || 'b'", "NULL", "5")],
    *[
        ("text", text)
        for text in ("'{}'", "'%s'", "'a\nb'", "'ab'::char(4)", "(3 + 4)::text", "true")
    ],
    *[("character varying(5)", text) for text in ("'abc'", "''", "'abcde'")],
    *[("character(4)", text) for text in ("'ab'", "'abcd'", "''")],
    *[("bytea", text) for text in ("'\\x'", "'\\x00FF'", "NULL")],
    *[("date", text) for text in ("'2020-01-01'", "NULL", "'2020-01-01'::date + 1")],
    *[
        ("timestamp", text)
        for text in ("'2020-01-01 12:30:00.50'", "'2020-01-01'", "'2020-01-01'::date")
    ],
    *[
        ("timestamptz", text)
        for text in ("'2020-01-01 12:30:00.50+02'", "'2019-12-31 23:00-05:30'")
    ],
    *[("time", text) for text in ("'12:30:00'", "'23:59:59.250'")],
    *[("uuid", text) for text in ("'00000000-0000-0000-0000-00000000ABCD'",)],
    *[("json", text) for text in ("'{}'", """'{"a":  1}'""")],
    *[("jsonb", text) for text in ("'{}'", """'{"b":  1, "a": 2}'""")],
    *[("mood", text) for text in ("'ok'", "'it''s'", "'sad'::mood")],
    *[("text[]", text) for text in ("'{}'", "'{a,b}'", "ARRAY[]::text[]")],
    *[("inet", text) for text in ("'10.0.0.1/8'",)],
    *[("interval", text) for text in ("'1 day 02:00'",)],
    *[("integer[]", text) for text in ("'{1,2}'", "ARRAY[]::integer[]")],
]


def defaulted(both: Both, declared: str, text: str) -> tuple[str, Kind]:
    """A DEFAULT as the catalog prints it, and the kind of the column."""
    both.server.execute("DROP TABLE IF EXISTS d")
    both.server.execute(f"CREATE TABLE d (one int, a {declared} DEFAULT {text})".encode())
    ((printed, named),) = both.server.execute(
        "SELECT pg_get_expr(d.adbin, d.adrelid), format_type(a.atttypid, a.atttypmod) "
        "FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid "
        "AND a.attnum = d.adnum WHERE a.attrelid = 'd'::regclass AND a.attname = 'a'"
    ).fetchall()
    return printed or "NULL", kind_named(named)


@pytest.mark.parametrize("declared", ["numeric", "numeric(18,2)", "numeric(30,4)", "numeric(3,0)"])
@pytest.mark.parametrize("text", ["0", "1.10", "-1", "'12.50'", "0.005", "1e2", "NULL"])
def test_numerics_kept_by_their_text_show_the_same_digits(
    both: Both, declared: str, text: str
) -> None:
    printed, _ = defaulted(both, declared, text)
    both.server.execute("INSERT INTO d (one) VALUES (1)")
    ((shown,),) = both.server.execute("SELECT a::text FROM d").fetchall()
    sql = TO_SQLITE.default(printed, kinds.native(declared))
    for ask in both.lites.values():
        assert ask(f"SELECT {sql}") == [(shown,)]


@pytest.mark.parametrize(("declared", "text"), DEFAULTS)
def test_defaults_agree(both: Both, declared: str, text: str) -> None:
    printed, kind = defaulted(both, declared, text)
    both.server.execute("INSERT INTO d (one) VALUES (1)")
    column = "a::text" if kind.name == "native" else "a"
    ((server,),) = both.server.execute(f"SELECT {column} FROM d".encode()).fetchall()
    sql = TO_SQLITE.default(printed, kind)
    for ask in both.lites.values():
        ask(f"CREATE TABLE d (one, a {declared_in_sqlite(kind)} DEFAULT ({sql}))")
        try:
            ask("INSERT INTO d (one) VALUES (1)")
            ((quoted,),) = ask("SELECT quote(a) FROM d")
        finally:
            ask("DROP TABLE d")
        assert read(quoted) == stored(server, kind), sql
        if kind.name in ("numeric", "text"):
            assert server is None or quoted.startswith("'")


NOW = {
    "timestamptz": ["now()", "CURRENT_TIMESTAMP", "clock_timestamp()", "statement_timestamp()"],
    "timestamp": [
        *("now()", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "(now() AT TIME ZONE 'utc')"),
        *("timezone('UTC', now())", "now()::timestamp", "CURRENT_DATE"),
    ],
    "date": ["CURRENT_DATE", "now()", "now()::date", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP"],
    "time": ["LOCALTIME", "now()", "LOCALTIMESTAMP"],
}


@pytest.mark.parametrize(
    ("declared", "text"), [(declared, text) for declared, texts in NOW.items() for text in texts]
)
def test_the_current_moment_agrees(both: Both, declared: str, text: str) -> None:
    printed, kind = defaulted(both, declared, text)
    sql = TO_SQLITE.default(printed, kind)
    ours = re.compile(
        {
            "date": r"\d{4}-\d\d-\d\d",
            "time": r"\d\d:\d\d:\d\d(\.\d{0,5}[1-9])?",
            "timestamp": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,5}[1-9])?",
            "timestamptz": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{0,5}[1-9])?\+00:00",
        }[kind.name]
    )
    for ask in both.lites.values():
        ask(f"CREATE TABLE d (one, a {declared_in_sqlite(kind)} DEFAULT ({sql}))")
        ask("INSERT INTO d (one) VALUES (1)")
        ((lite,),) = ask("SELECT a FROM d")
        ask("DROP TABLE d")
        assert ours.fullmatch(lite)
        both.server.execute("INSERT INTO d (one) VALUES (1)")
        ((server,),) = both.server.execute("SELECT a FROM d").fetchall()
        both.server.execute("DELETE FROM d")
        if declared == "time":
            continue
        first = datetime.datetime.fromisoformat(lite)
        second = datetime.datetime.fromisoformat(str(server))
        # A day may begin between the two.
        between = (
            datetime.timedelta(days=1)
            if kind.name == "date" or "DATE" in text
            else (datetime.timedelta(seconds=20))
        )
        assert abs(second - first) <= between


def test_random_uuids(both: Both) -> None:
    printed, kind = defaulted(both, "uuid", "gen_random_uuid()")
    sql = TO_SQLITE.default(printed, kind)
    for ask in both.lites.values():
        made = [row[0] for row in ask(f'SELECT {sql} FROM "T 1", "T 1" AS other')]
        assert len(set(made)) == len(made) > 1000
        assert all(str(uuid.UUID(one)) == one for one in made)
        assert {uuid.UUID(one).version for one in made} == {4}
        assert {one[19] for one in made} == set("89ab")


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        *(
            ("timestamptz", "now() + interval '1 day'"),
            ("text", "current_user"),
            ("text", "md5('a')"),
        ),
        *(("integer", "(random() * 10)::int"), ("timetz", "CURRENT_TIME"), ("money", "0")),
        *(("timestamptz", "CURRENT_TIMESTAMP(0)"), ("text", "to_char(now(), 'YYYY')")),
        *(("date", "'infinity'"), ("date", "'0044-03-15 BC'"), ("integer", "nextval('s')")),
        *(("timestamptz", "date_trunc('day', now())"), ("bigint", "extract(epoch from now())")),
        *(("text", "now()::text"), ("text[]", "ARRAY['a']"), ("text", "CURRENT_DATE")),
    ],
)
def test_defaults_that_are_left_behind(both: Both, declared: str, text: str) -> None:
    both.server.execute("CREATE SEQUENCE IF NOT EXISTS s")
    with pytest.raises(Untranslatable):
        TO_SQLITE.default(*defaulted(both, declared, text))
