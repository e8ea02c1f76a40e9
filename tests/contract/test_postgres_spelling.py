"""Two expressions that the server takes for one are spelled alike, and nothing is run for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from tests.servers import Server

from tableferry.addresses import PostgresServer
from tableferry.dialects.base import Endpoint
from tableferry.dialects.postgresql.hold import ExportedSnapshot
from tableferry.dialects.postgresql.session import PostgresSession
from tableferry.model import Expression, Table, TableName

T = Table(TableName("public", "t"), ())


@pytest.fixture
def session(database: Server) -> Iterator[PostgresSession]:
    """One that sees a held moment, as a verification's do."""
    database.run(
        "CREATE TABLE t (a bigint, b text, c varchar(10), n numeric(10,2), at timestamp, "
        'f boolean, "Odd ""name" text)'
    )
    endpoint = Endpoint(PostgresServer(database.url, database.password))
    with ExportedSnapshot(endpoint) as hold, closing(PostgresSession(hold.endpoint)) as opened:
        yield opened


def spelled(session: PostgresSession, *texts: str, type_: str = "") -> list[str | None]:
    default = bool(type_)
    return list(session.spelled(T, [Expression(text, type_, default) for text in texts]))


ALIKE = [
    ("b IN ('x', 'y')", "b = ANY (ARRAY['x'::text, 'y'::text])", "(b = ANY ('{x,y}'::text[]))"),
    ("c IN ('x')", "(c)::text = 'x'::text"),
    ("c IN ('x', 'y')", "((c)::text = ANY ((ARRAY['x'::varchar, 'y'::varchar])::text[]))"),
    ("a BETWEEN 1 AND 5", "((a >= 1) AND (a <= 5))", "a >= 1::bigint AND a <= (5)"),
    ("n < 100", "n < 100.0", "(n < '100.00'::numeric)", "n < '100'"),
    ("b LIKE 'x%'", "(b ~~ 'x%'::text)"),
    ("NOT f", "(NOT f)"),
    ("a IS NOT NULL AND f", "NOT (a IS NULL) AND f"),
    ('"Odd ""name" = \'100.0\'', '("Odd ""name" = \'100.0\'::text)'),
]


@pytest.mark.parametrize("texts", ALIKE, ids=lambda texts: texts[0])
def test_one_and_the_same(session: PostgresSession, texts: tuple[str, ...]) -> None:
    (spelling,) = set(spelled(session, *texts))
    assert spelling


UNLIKE = [
    ("a > 1", "a >= 1"),
    ("b = '100.0'", "b = '100'"),
    ("lower(b)", 'lower(b COLLATE "C")'),
    ("b IN ('x', 'y')", "b IN ('x')"),
    ("a / 2", "a / 2.0"),
    ("b = 'COLLATE \"C\"'", "b = 'COLLATE \"D\"'"),
]


@pytest.mark.parametrize("texts", UNLIKE, ids=lambda texts: texts[0])
def test_not_the_same(session: PostgresSession, texts: tuple[str, str]) -> None:
    one, other = spelled(session, *texts)
    assert None not in (one, other)
    assert one != other


def test_defaults_are_what_the_column_gets(session: PostgresSession) -> None:
    zeros = spelled(session, "0", "'0'", "0.0", "'0.00'::numeric(10,2)", type_="numeric(10,2)")
    assert len(set(zeros)) == 1
    assert spelled(session, "NULL", "NULL::text", type_="character varying(10)") == ["", ""]
    words = spelled(session, "'x'", "'x'::character varying", "'y'", type_="text")
    assert words[0] == words[1] != words[2]
    moments = spelled(session, "now()", "CURRENT_TIMESTAMP", "localtimestamp", type_="timestamp")
    assert len(set(moments)) == 3
    assert len(set(spelled(session, "random()", "gen_random_uuid()", type_="text"))) == 2


def test_what_makes_no_sense_takes_nothing_else_along(session: PostgresSession) -> None:
    good, other = spelled(session, "a > 1", "(a > 1)")
    texts = ["a > 1", "nowhere > 1", "a > 'x'", "1 / 0 > a", "b > 1", "a > 1 AND"]
    assert spelled(session, *texts) == [good, None, None, None, None, None]
    assert good == other
    # Still at the held moment, where nothing can be written.
    row = session.rows("SELECT current_setting('transaction_read_only') AS only")[0]
    assert row["only"] == "on"


def test_many_at_once(session: PostgresSession) -> None:
    texts = [f"a > {number}" for number in range(1_800)]
    assert len(set(spelled(session, *texts))) == len(texts)
    assert spelled(session) == []
