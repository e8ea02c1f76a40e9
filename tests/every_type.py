"""Every type of PostgreSQL that a column can have, with values at its edges, in one table.

Values are written as the type's own input text. ``create`` makes the table; what is left out, and
why, is in ``LEFT_OUT``, and tests/contract/test_every_type.py holds both against the servers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

TypeValues: TypeAlias = tuple[str, tuple[str, ...]]

_NUMBERS: tuple[TypeValues, ...] = (
    ("int2", ("-32768", "32767", "0", "-1")),
    ("int4", ("-2147483648", "2147483647", "0", "-1")),
    ("int8", ("-9223372036854775808", "9223372036854775807", "0", "9007199254740993")),
    (
        "float4",
        ("0.1", "-3.4028235e+38", "3.4028235e+38", "1e-45", "1.1754944e-38", "16777217"),
    ),
    ("real", ("NaN", "Infinity", "-Infinity", "-0", "0", "0.3")),
    (
        "float8",
        ("0.1", "-1.7976931348623157e+308", "1.7976931348623157e+308", "5e-324", "1e23"),
    ),
    ("double precision", ("NaN", "Infinity", "-Infinity", "-0", "0", "0.30000000000000004")),
    (
        "numeric",
        (
            *("1.10", "1.1", "0.000", "-0.00000000000000000001", "100", "1e3", "NaN", "Infinity"),
            *("-Infinity", "9" * 2000, "-" + "1234567890" * 30 + "." + "0987654321" * 30),
            *("0." + "0" * 500 + "1", "9007199254740993", "123456789012345.6"),
        ),
    ),
    ("numeric(10,2)", ("99999999.99", "-99999999.99", "1.10", "0.00", "NaN", "-0.01")),
    ("numeric(38,10)", ("9" * 28 + "." + "9" * 10, "-0.0000000001", "1.1", "0", "NaN")),
    ("numeric(15,4)", ("99999999999.9999", "-99999999999.9999", "0.0001", "5")),
    ("numeric(18,0)", ("999999999999999999", "-999999999999999999", "0")),
    ("numeric(1000,500)", ("9" * 500 + "." + "9" * 500, "-0." + "0" * 499 + "1")),
    ("numeric(5,-2)", ("9999900", "-100", "0", "NaN")),
    ("numeric(3,5)", ("0.00999", "-0.00001", "0")),
    ("money", ("-92233720368547758.08", "92233720368547758.07", "0", "-0.01", "1234.50")),
    ("bool", ("true", "false")),
)

_TEXTS = (
    *(
        "",
        " ",
        "a",
        "ä漢🦆",
        "e\u0301",
        "a b  ",
        "  a",
        "it's",
        '"quoted"',
        "a\nb\r\n\tc",
        "\\N",
        "\\",
    ),
    *(
        "NULL",
        "1.10",
        "007",
        "1e5",
        "true",
        "infinity",
        "x'00'",
        "\u202e\ufeff\uffff",
        "\U0010ffff",
    ),
    *("\x01\x1b\x7f", "2024-01-01", "{}", "x" * 300),
)
_CHARACTERS: tuple[TypeValues, ...] = (
    ("text", _TEXTS),
    ("varchar", ("", "1.10", "ä漢🦆", "a  ")),
    ("varchar(10)", ("", "ä漢🦆", "0123456789", "🦆" * 10, "a         ", "007")),
    ("char(5)", ("", "a", "ab", "äöüßé", "🦆", "12345", "a b")),
    ("char", ("", "a", "7")),
    ("bpchar", ("", "a  ", "007")),
    ('"char"', ("a", "", "7", " ", "'", "\x01")),
    ("name", ("", "a b", 'say "x"', "Ärger", "x" * 63)),
    (
        "bytea",
        (
            *("\\x", "\\x00", "\\x" + bytes(range(256)).hex(), "\\x5c78", "\\xff", "\\x616263"),
            *("\\x" + "00" * 1000,),
        ),
    ),
    ("xml", ('<a b="1">é &amp; &lt;</a>', "words", "", "<!-- c --><a/><b/>", " <a/>\n")),
)

_DATES = (
    *("infinity", "-infinity", "4714-11-24 BC", "0001-12-31 BC", "0001-01-01", "1969-12-31"),
    *("1970-01-01", "2000-02-29", "9999-12-31", "10000-01-01", "5874897-12-31"),
)
_CLOCKS = ("00:00:00", "23:59:59.999999", "24:00:00", "12:34:56.5", "00:00:00.000001", "01:02:03")
# Each may be rounded to any number of digits and stays in the range.
_MOMENTS = (
    *("infinity", "-infinity", "4714-11-24 00:00:00 BC", "0001-12-31 23:59:59.123456 BC"),
    *("0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00"),
    *("2024-02-29 12:34:56.5", "9999-12-31 23:59:59", "294247-01-10 04:00:54.775808"),
    *("294276-12-31 23:59:59", "1999-12-31 23:59:59.123456", "1900-06-01 00:00:00.25"),
)
_LAST = "294276-12-31 23:59:59.999999"
_ZONED = (
    *("infinity", "-infinity", "4714-11-24 00:00:00+00 BC", "0001-01-01 00:00:00+15:59:59"),
    *("1883-11-18 12:03:57-05:17:32", "1970-01-01 00:00:00+00", "2024-02-29 12:34:56.5-15:59"),
    *("2024-10-27 01:30:00+01", "9999-12-31 23:59:59+00", "294276-12-31 23:59:59+00"),
    *("294247-01-10 04:00:54.775808+00", "1999-12-31 23:59:59.123456+14"),
)

_TIMES: tuple[TypeValues, ...] = (
    ("date", _DATES),
    ("timestamp", (*_MOMENTS, _LAST)),
    *((f"timestamp({digits})", _MOMENTS) for digits in range(7)),
    ("timestamptz", (*_ZONED, f"{_LAST}+00")),
    ("timestamptz(0)", _ZONED),
    ("timestamptz(3)", _ZONED),
    ("time", _CLOCKS),
    ("time(0)", _CLOCKS),
    ("time(3)", _CLOCKS),
    (
        "timetz",
        (
            *("00:00:00+00", "24:00:00-15:59:59", "00:00:00+15:59:59", "12:34:56.123456+05:30"),
            *("23:59:59.999999-12", "12:00:00+01", "12:00:00+00:00:01"),
        ),
    ),
    ("timetz(0)", ("12:34:56.5+02", "24:00:00+00")),
    (
        "interval",
        (
            *("0", "1 year 2 mons 3 days 04:05:06.789", "-1 year -2 mons +3 days -04:05:06.000001"),
            *("178956970 years 7 mons", "-178956970 years -8 mons", "2147483647 days"),
            *("-2147483648 days", "2562047788:00:54.775807", "-2562047788:00:54.775807"),
            *("00:00:00.000001", "-1 mons +30 days", "24:00:00", "1 day", "-00:00:00.5"),
        ),
    ),
    ("interval(0)", ("1 day 00:00:01.4", "-00:00:01")),
    ("interval year to month", ("1 year 2 mons", "-1 mons")),
)

_DOCUMENTS: tuple[TypeValues, ...] = (
    (
        "uuid",
        (
            *("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
            *("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",),
        ),
    ),
    (
        "json",
        (
            *('{"a": 1,  "a": 2, "é": [] }', " [1, 2.50 ,\n3e400]\t", "null", '"\\u0000"', "1.10"),
            *('""', "{}", "-0", "12345678901234567890.1234567890", "true", '"\\ud83e\\udd86"'),
        ),
    ),
    (
        "jsonb",
        (
            *(
                '{"b": 1, "a": 2, "a": 3, "": null}',
                "[1, 2.50, [], {}]",
                "null",
                '"é\\n\\""',
                "1.10",
            ),
            *("1e5", "-0.0", "123456789012345678901234567890.1234567890", '""', "true", "{}", "[]"),
        ),
    ),
    ("jsonpath", ("$", "strict $.a[*] ? (@.b > 1.5)", '$."a b".type()')),
    ("tsvector", ("", "a fat cat", "'it''s':1A,2 'b c':3B,16383", "'\\\\'")),
    ("tsquery", ("", "'a' & !'b'", "'a':*AB & ('b' | 'c') <2> 'd'", "'it''s'")),
)

_ARRAYS: tuple[TypeValues, ...] = (
    (
        "int4[]",
        (
            *("{}", "{1,NULL,-2147483648}", "{{1,2},{3,4}}", "[2:3]={1,2}", "{NULL}"),
            *("[0:1][-1:0]={{1,2},{NULL,4}}", "{{{1}}}", "[0:2]={1,2,3}"),
        ),
    ),
    ("int2[]", ("{1,-32768}", "{}")),
    ("int8[]", ("{9007199254740993,NULL}", "{-9223372036854775808}")),
    ("bool[]", ("{t,f,NULL}", "{}")),
    ("float4[]", ("{0.1,NaN,-Infinity}", "{-0}")),
    ("float8[]", ("{0.1,NaN,Infinity,-0,5e-324}", "{}")),
    ("numeric[]", ("{1.10,1.1,NaN,Infinity,NULL}", "{}", "{{1.0},{2.00}}")),
    ("numeric(10,2)[]", ("{1.1,99999999.99}", "{NULL}")),
    (
        "text[]",
        (
            *("{}", '{"a,b","{x}","\\"q\\"","\\\\","",NULL,"NULL"," sp ",é}', '{{a,b},{"",NULL}}'),
            *("[5:6]={a,b}", '{"a\nb"}'),
        ),
    ),
    ("varchar(3)[]", ('{abc,"",NULL}', "{}")),
    ("char(3)[]", ("{a,abc}", "{}")),
    ("bytea[]", ('{"\\\\x00ff","\\\\x",NULL}', "{}")),
    ("date[]", ('{infinity,-infinity,"4714-11-24 BC",2024-02-29,NULL}', "{}")),
    ("timestamp[]", ('{infinity,"2024-02-29 12:00:00.5"}', "{}")),
    ("timestamptz[]", ('{-infinity,"2024-02-29 12:00:00+01"}', "{}")),
    ("time[]", ("{24:00:00,00:00:00.5}",)),
    ("interval[]", ('{"1 mon -1 days",00:00:01}',)),
    ("uuid[]", ("{00000000-0000-0000-0000-000000000000,NULL}",)),
    ("json[]", ('{"{\\"a\\":  1}",NULL,"null"}',)),
    ("jsonb[]", ('{"{\\"a\\": 1}",NULL,"[1, 2.50]","null"}', "{}")),
    ("inet[]", ("{10.1.2.3/8,::1}",)),
    ("point[]", ('{"(1,2)","(-0.5,1e+300)"}',)),
    # The one type whose elements a semicolon separates.
    ("box[]", ("{(2,2),(0,0);(1,1),(0,0)}", "{}")),
    ("int4range[]", ('{"[1,3)",empty,NULL}',)),
    ("oid[]", ("{0,4294967295}",)),
    ("money[]", ("{1.00,-1.50}",)),
    ("bit(3)[]", ("{101,000}",)),
    ("xml[]", ('{"<a b=\\"1\\"/>",words}',)),
)

_RANGES: tuple[TypeValues, ...] = (
    ("int4range", ("[1,10)", "empty", "(,)", "[-2147483648,2147483647)", "(,5)", "[5,)")),
    ("int8range", ("[1,10]", "empty", "(,)", "[-9223372036854775808,9223372036854775807)")),
    ("numrange", ("[1.10,2.2]", "(1,2)", "empty", "(,)", "[-Infinity,Infinity]", "[0.00,)")),
    (
        "tsrange",
        (
            *('["2024-01-01 00:00:00",infinity]', "[-infinity,infinity)", "empty", "(,)"),
            *('("4714-11-24 00:00:00 BC","294276-12-31 23:59:59.999999")',),
        ),
    ),
    (
        "tstzrange",
        ('["2024-01-01 00:00:00+01","2024-01-02 00:00:00+00")', "(,infinity)", "empty", "(,)"),
    ),
    (
        "daterange",
        ("[2024-01-01,2024-12-31]", "[-infinity,infinity]", "empty", "(,)", "(,infinity)"),
    ),
    ("int4multirange", ("{}", "{[1,3),[5,7)}", "{(,)}", "{(,1),[9,)}")),
    ("int8multirange", ("{}", "{[1,3),[5,9223372036854775807)}")),
    ("nummultirange", ("{}", "{[1.10,2.2],(3,4)}", "{(,)}")),
    ("tsmultirange", ("{}", '{["2024-01-01 00:00:00",infinity]}')),
    ("tstzmultirange", ("{}", '{["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")}')),
    ("datemultirange", ("{}", "{[2024-01-01,2024-01-02),[2024-02-01,infinity)}")),
)

_NETWORKS: tuple[TypeValues, ...] = (
    (
        "inet",
        (
            *(
                "0.0.0.0/0",
                "255.255.255.255",
                "10.1.2.3/8",
                "::",
                "::ffff:1.2.3.4",
                "2001:db8::1/64",
            ),
            *("::1/0",),
        ),
    ),
    ("cidr", ("10.0.0.0/8", "0.0.0.0/0", "1.2.3.4/32", "2001:db8::/32", "::/0")),
    ("macaddr", ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "08:00:2b:01:02:03")),
    ("macaddr8", ("00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff", "08:00:2b:01:02:03:04:05")),
    ("bit", ("0", "1")),
    ("bit(5)", ("00000", "11111", "10100")),
    ("varbit(8)", ("", "1", "11111111", "0001")),
    ("varbit", ("", "101", "10" * 100, "00000000")),
)

_SHAPES: tuple[TypeValues, ...] = (
    ("point", ("(0,0)", "(-1.5,1e+308)", "(NaN,Infinity)", "(0.1,-0)")),
    ("line", ("{1,-1,0}", "{0,1,0.30000000000000004}")),
    ("lseg", ("[(0,0),(1,1)]", "[(0.1,-2),(0.1,-2)]")),
    ("box", ("(2,2),(0,0)", "(Infinity,1),(-Infinity,0.1)")),
    ("path", ("((0,0),(1,1))", "[(0,0),(1,1)]", "((0.1,0))")),
    ("polygon", ("((0,0),(1,1),(1,0))", "((0,0))")),
    ("circle", ("<(0,0),0>", "<(1,-2.5),3.5>")),
)

_OF_THE_SYSTEM: tuple[TypeValues, ...] = (
    ("oid", ("0", "4294967295", "2147483648")),
    ("regclass", ("pg_class", "-", "4294967295")),
    ("regtype", ("integer", "-", "timestamp with time zone", "text[]", "4294967295")),
    ("regproc", ("now", "-", "4294967295")),
    ("regprocedure", ("abs(integer)", "-", "4294967295")),
    ("regoper", ("||/", "0")),
    ("regoperator", ("+(integer,integer)", "0")),
    ("regnamespace", ("pg_catalog", "-")),
    ("regrole", ("pg_monitor", "-")),
    ("regcollation", ('"C"', "-")),
    ("regconfig", ("simple", "english", "-")),
    ("regdictionary", ("simple", "-")),
    ("aclitem", ("pg_monitor=r*w/pg_monitor", "=/pg_monitor")),
    ("pg_lsn", ("0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848")),
    ("txid_snapshot", ("10:20:10,14,15", "1:1:")),
    ("pg_snapshot", ("10:20:10,14,15", "1:1:")),
    ("xid", ("0", "4294967295")),
    ("xid8", ("0", "18446744073709551615")),
    ("cid", ("0", "4294967295")),
    ("tid", ("(0,0)", "(4294967295,65535)")),
    ("int2vector", ("", "1 -2 32767")),
    ("oidvector", ("", "1 4294967295")),
    ("refcursor", ("", "a cursor")),
)

EVERY_TYPE: tuple[TypeValues, ...] = (
    *(_NUMBERS + _CHARACTERS + _TIMES + _DOCUMENTS + _ARRAYS),
    *(_RANGES + _NETWORKS + _SHAPES + _OF_THE_SYSTEM),
)

# Values that only servers from a major version on have, by type.
SINCE: dict[int, tuple[TypeValues, ...]] = {
    16: (('"char"', ("\\200", "\\377")),),
    17: (("interval", ("infinity", "-infinity")), ("interval[]", ("{infinity,-infinity}",))),
}

# Types of pg_catalog that no column can be filled with; they hold what the server itself computes,
# and their input functions refuse all text.
LEFT_OUT: dict[str, str] = {
    "gtsvector": "the inner form of GiST indexes on text search",
    "pg_node_tree": "parsed expressions of the catalog",
    "pg_ndistinct": "extended statistics",
    "pg_dependencies": "extended statistics",
    "pg_mcv_list": "extended statistics",
    "pg_brin_bloom_summary": "the inner form of BRIN indexes",
    "pg_brin_minmax_multi_summary": "the inner form of BRIN indexes",
}

_LABELS = ("", "a b", "it's", "Ärger 漢", "x" * 63, "1", 'a,b{}"\\', "NULL", "b", "B")


@dataclass(frozen=True, slots=True)
class UserType:
    """kind: TYPE or DOMAIN. definition: what stands after AS in the statement that creates it."""

    name: str
    kind: str
    definition: str
    values: tuple[str, ...]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# In the order in which they can be created.
USER_TYPES: tuple[UserType, ...] = (
    UserType('odd "mood"', "TYPE", f"ENUM ({', '.join(map(quoted, _LABELS))})", _LABELS),
    UserType(
        "word",
        "DOMAIN",
        "text CHECK (VALUE <> 'forbidden') DEFAULT 'x'",
        ("", "it's", "1.10", "ä漢🦆"),
    ),
    UserType(
        "Price", "DOMAIN", "numeric(10,2) CHECK (VALUE >= 0)", ("1.10", "0.00", "99999999.99")
    ),
    UserType("amount", "DOMAIN", "numeric", ("1.10", "1.1", "NaN", "9" * 100)),
    UserType("count", "DOMAIN", "int4", ("-2147483648", "0")),
    UserType("day", "DOMAIN", "date", ("infinity", "4714-11-24 BC", "2024-02-29")),
    UserType("names", "DOMAIN", "text[]", ("{}", '{"a,b",NULL}')),
    UserType(
        "a pair",
        "TYPE",
        '("a b" int4, t text, d date, n numeric)',
        (
            '(1,"x,y",infinity,1.10)',
            "(,,,)",
            '(-1,"he said ""hi""",,NaN)',
            '(0,"",2024-02-29,0.00)',
        ),
    ),
    UserType("reach", "TYPE", "RANGE (SUBTYPE = float8)", ("[0.1,1.5)", "empty", "(,)")),
)


@dataclass(frozen=True, slots=True)
class Column:
    """type: as SQL has it, qualified where it is the user's. values: input text, one a row."""

    name: str
    type: str
    values: tuple[str, ...]


def columns(version: int, schema: str) -> tuple[Column, ...]:
    """The columns of the table but for its id, on a server of this major version."""
    younger = [pair for since, types in SINCE.items() if since <= version for pair in types]
    own = [
        Column(
            f"c{number}_{_slug(type_)}", type_, sum((v for t, v in younger if t == type_), values)
        )
        for number, (type_, values) in enumerate(EVERY_TYPE, 1)
    ]
    users = [
        Column(f"u{number}_{_slug(user.name)}", qualified(schema, user.name), user.values)
        for number, user in enumerate(USER_TYPES, 1)
    ]
    escaped = (label.replace("\\", "\\\\").replace('"', '\\"') for label in _LABELS)
    labels = ",".join(f'"{label}"' for label in escaped)
    enums = Column("u_enums", f"{users[0].type}[]", ("{}", f"{{{labels},NULL}}"))
    return (*own, *users, enums)


def create(
    connection: psycopg.Connection[Any] | psycopg.Cursor[Any], schema: str = "public"
) -> tuple[Column, ...]:
    """Makes the table ``every_type`` and the user's types in the schema, which is created where it
    is missing. Row n (``id``, from 1 on) has the n-th value of each column, or NULL where there are
    fewer, and the last row is NULL throughout. Gives the columns after ``id``.

    On a server that was built without XML, the columns of that type stay empty.
    """
    made = offered(connection, schema)
    listed = ", ".join(f"{column.name} {column.type}" for column in made)
    table = qualified(schema, "every_type")
    rows = max(len(column.values) for column in made) + 1
    statements = [
        f"CREATE SCHEMA IF NOT EXISTS {identifier(schema)}",
        *user_types(schema),
        f"CREATE TABLE {table} (id int4 PRIMARY KEY, {listed})",
        *(f"INSERT INTO {table} VALUES ({n + 1}, {_row(made, n)})" for n in range(rows)),
    ]
    for statement in statements:
        connection.execute(statement.encode())
    return made


def user_types(schema: str) -> list[str]:
    """The statements that create USER_TYPES in a schema."""
    return [
        f"CREATE {user.kind} {qualified(schema, user.name)} AS {user.definition}"
        for user in USER_TYPES
    ]


def offered(
    connection: psycopg.Connection[Any] | psycopg.Cursor[Any], schema: str
) -> tuple[Column, ...]:
    """The columns of the table but for its id, with the values that this server takes."""
    inner = connection.connection if isinstance(connection, psycopg.Cursor) else connection
    made = columns(inner.info.server_version // 10_000, schema)
    if _knows_xml(connection):
        return made
    return tuple(replace(c, values=()) if c.type in ("xml", "xml[]") else c for c in made)


def _knows_xml(connection: psycopg.Connection[Any] | psycopg.Cursor[Any]) -> bool:
    # Within a block, so that a transaction around it lives on.
    connection.execute(
        b"DO $$ BEGIN PERFORM '<a/>'::xml; PERFORM set_config('every_type.xml', 'yes', false); "
        b"EXCEPTION WHEN feature_not_supported THEN "
        b"PERFORM set_config('every_type.xml', 'no', false); END $$"
    )
    found = connection.execute(b"SELECT current_setting('every_type.xml')").fetchone()
    return found == ("yes",)


def _row(made: tuple[Column, ...], number: int) -> str:
    return ", ".join(
        f"{quoted(c.values[number])}::{c.type}" if number < len(c.values) else "NULL" for c in made
    )


def _slug(text: str) -> str:
    words = text.replace("[]", " array").replace("-", "minus ")
    return re.sub(r"\W+", "_", words).strip("_").lower()


def qualified(schema: str, name: str) -> str:
    return f"{identifier(schema)}.{identifier(name)}"


def identifier(name: str) -> str:
    return sql.Identifier(name).as_string(None)
