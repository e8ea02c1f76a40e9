"""What PostgreSQL's types mean as kinds, and which type a kind gets. Pure.

Types are written as format_type() writes them, since that is what the catalog answers.
"""

from __future__ import annotations

import hashlib
import re

from tableferry.kinds import (
    BOOL,
    BYTES,
    DATE,
    DECIMAL_DIGITS,
    FLOAT,
    FLOAT4,
    INT,
    JSON,
    NUMBER,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    decimal,
    native,
)
from tableferry.model import Candidate, Kind, TableName
from tableferry.sql import quote

# NAMEDATALEN - 1 ("Identifiers and Key Words", section 4.1.1): longer names are cut silently.
NAME_BYTES = 63
_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})

_INT_TYPES = {16: "smallint", 32: "integer", 64: "bigint"}
_TYPES = {
    "bool": "boolean",
    "float": "double precision",
    "numeric": "numeric",
    "number": "numeric",
    "text": "text",
    "bytes": "bytea",
    "date": "date",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "uuid": "uuid",
    "json": "json",
}
_KINDS: dict[str, Kind] = {
    "bigint": INT,
    "integer": Kind("int", bits=32),
    "smallint": Kind("int", bits=16),
    "boolean": BOOL,
    "double precision": FLOAT,
    "real": FLOAT4,
    "numeric": NUMERIC,
    "text": TEXT,
    "character varying": TEXT,
    "bytea": BYTES,
    "date": DATE,
    "time without time zone": TIME,
    "timestamp without time zone": TIMESTAMP,
    "timestamp with time zone": TIMESTAMPTZ,
    "uuid": UUID,
    "json": JSON,
}
# varchar(n) takes at most this n ("Character Types", section 8.3).
_MAX_LENGTH = 10_485_760


def type_for(kind: Kind) -> str:
    """The type of a new column that is to hold values of this kind."""
    if kind.name == "int":
        return _INT_TYPES[kind.bits]
    if kind.name == "decimal":
        return f"numeric({kind.precision},{kind.scale})"
    if kind.name == "text" and kind.length is not None and kind.length <= _MAX_LENGTH:
        return f"character varying({kind.length})"
    if kind.name == "native":
        return kind.type
    return "real" if kind == FLOAT4 else _TYPES[kind.name]


def candidates(declared: str) -> tuple[Candidate, ...]:
    """What a column is read as, the most useful first. A numeric of any scale is a number where all
    its values can be, or else keeps the digits that it shows (1.10); a decimal travels as its text
    where the other side has no such decimals."""
    if declared == "numeric":
        return (Candidate(NUMBER), Candidate(native(declared)), Candidate(NUMERIC))
    return own_candidates(declared)


def own_candidates(declared: str) -> tuple[Candidate, ...]:
    """What a column is read as on its way to one of the same type."""
    kind = kind_of(declared)
    if kind is None:
        return (Candidate(native(declared)),)
    if kind.name == "numeric":
        return (Candidate(native(declared)), Candidate(kind))
    if kind.name == "decimal":
        # NaN and the infinities travel by their names.
        named = Candidate(kind, merges=True)
        return (Candidate(kind), named, Candidate(native(declared)), Candidate(NUMERIC))
    return (Candidate(kind),)


# What is read and written by its text, and no kind of its own ("Data Types", chapter 8).
_NATIVES = frozenset(
    name.strip()
    for name in re.split(
        ",",
        """"char", bit, bit varying, box, character, cid, cidr, circle, daterange, datemultirange,
        inet, int2vector, int4multirange, int4range, int8multirange, int8range, interval, jsonb,
        jsonpath, line, lseg, macaddr, macaddr8, money, name, nummultirange, numrange, oid,
        oidvector, path, pg_lsn, pg_snapshot, point, polygon, regclass, regcollation, regconfig,
        regdictionary, regnamespace, regoper, regoperator, regproc, regprocedure, regrole, regtype,
        tid, time with time zone, tsmultirange, tsquery, tsrange, tstzmultirange, tstzrange,
        tsvector, txid_snapshot, xid, xid8, xml""",
    )
)


def takes(kind: Kind) -> bool:
    """Whether there is a type for every value of a kind that another database has."""
    return kind.name != "any" and (kind.name != "native" or is_built_in(kind.type))


def moved(declared: str, name: TableName, schema: str) -> str:
    """A type of a user's making as format_type() writes it, in another schema."""
    for own in (name.schema, quote(name.schema)):
        if declared.startswith(f"{own}."):
            there = schema if _PLAIN_NAME.fullmatch(schema) else quote(schema)
            return there + declared.removeprefix(own)
    # A domain's base type is nobody's.
    return declared


# What quote_ident() leaves as it is, but for keywords.
_PLAIN_NAME = re.compile("[a-z_][a-z0-9_]*")


def is_built_in(declared: str) -> bool:
    """Whether every server knows a type by this name, whatever its modifiers."""
    name = re.sub(r"\([0-9,-]+\)", "", declared).removesuffix("[]")
    return name in _NATIVES or name in _KINDS or re.fullmatch("interval [a-z ]+", name) is not None


def kind_of(declared: str) -> Kind | None:
    """The kind whose values a column of this type holds exactly; None where only its text is
    known to tell all (then the column is read and written as text)."""
    if declared in _KINDS:
        return _KINDS[declared]
    if match := re.fullmatch(r"(timestamp|time)\(\d\)( with(?:out)? time zone)", declared):
        # Fewer digits of a second: see fraction_digits.
        return _KINDS.get(match[1] + match[2])
    if match := re.fullmatch(r"character varying\(([1-9][0-9]{0,8})\)", declared):
        return Kind("text", length=int(match[1]))
    if match := re.fullmatch(r"numeric\(([1-9][0-9]{0,8}),(-?[0-9]{1,9})\)", declared):
        precision, scale = int(match[1]), int(match[2])
        return decimal(precision, scale) if 0 <= scale <= precision <= DECIMAL_DIGITS else NUMERIC
    return None


def demanded(declared: str) -> tuple[Candidate, ...]:
    """What values may be read as that go into an application's column of this type, the closest
    first: an existing column demands its own type, whatever the source calls the value."""
    kind = kind_of(declared)
    if kind is None:
        return (Candidate(native(declared)), Candidate(native(declared), merges=True))
    match kind.name:
        case "bool" | "uuid":
            return (Candidate(kind), Candidate(kind, using="meaning"))
        case "float" | "text" | "bytes":
            return (Candidate(kind), Candidate(kind, merges=True))
        case "timestamp" | "timestamptz":
            return (Candidate(kind), Candidate(kind, using="utc"), Candidate(kind, using="epoch"))
        case "date":
            return (Candidate(kind), Candidate(kind, using="epoch"))
    return (Candidate(kind),)


def fraction_digits(declared: str) -> int | None:
    """How many digits after the second a column keeps, where its type says so."""
    match = re.fullmatch(r"(?:timestamp|time)\((\d)\) with(?:out)? time zone", declared)
    return int(match[1]) if match else None


# What people write for the names that format_type() gives.
_ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "bool": "boolean",
    "float8": "double precision",
    "decimal": "numeric",
    "varchar": "character varying",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
}


def kind_named(text: str) -> Kind | None:
    """The kind that a user means by 'varchar(20)', 'timestamptz', 'numeric(10, 2)' and so on."""
    match = re.fullmatch(r"\s*([a-z][a-z0-9 ]*?)\s*(\([0-9,\s]*\))?\s*", text.lower())
    if match is None:
        return None
    name = " ".join(match[1].split())
    arguments = re.sub(r"\s", "", match[2] or "")
    if name in ("numeric", "decimal") and re.fullmatch(r"\(\d+\)", arguments):
        # Without a scale there are no digits after the point (section 8.1.2).
        arguments = f"{arguments[:-1]},0)"
    return kind_of(_ALIASES.get(name, name) + arguments)


def fit_name(name: str) -> str:
    """A name that PostgreSQL keeps as it is: one of over 63 bytes is cut at a character and
    gets eight hexadecimal digits of its digest, so that two long names stay two names."""
    if not name:
        # SQLite allows a name of no characters.
        return "unnamed"
    if len(name.encode()) <= NAME_BYTES:
        return name
    mark = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    kept = name.encode()[: NAME_BYTES - len(mark)].decode(errors="ignore")
    return kept + mark


def fit_column_name(name: str) -> str:
    """As fit_name, and out of the way of the system columns (section 5.6)."""
    return fit_name(f"{name}_" if name in _SYSTEM_COLUMNS else name)
