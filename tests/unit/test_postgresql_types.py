"""PostgreSQL's types as kinds, the values that they would round, and names that it keeps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.dialects.postgresql.types import (
    NAME_BYTES,
    fit_column_name,
    fit_name,
    kind_of,
    type_for,
)
from tableferry.dialects.postgresql.values import from_text, misfits, reading, storing
from tableferry.errors import MisfitFound
from tableferry.kinds import (
    BOOL,
    BYTES,
    DATE,
    FLOAT,
    FLOAT4,
    INT,
    JSON,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    arrow_type,
    decimal,
)
from tableferry.model import Column, Kind, ReadColumn

TYPES = {
    "bigint": INT,
    "integer": Kind("int", bits=32),
    "smallint": Kind("int", bits=16),
    "boolean": BOOL,
    "double precision": FLOAT,
    "numeric": NUMERIC,
    "numeric(15,2)": decimal(15, 2),
    "numeric(18,18)": decimal(18, 18),
    "numeric(5,0)": decimal(5, 0),
    "text": TEXT,
    "character varying(20)": Kind("text", length=20),
    "bytea": BYTES,
    "date": DATE,
    "time without time zone": TIME,
    "timestamp without time zone": TIMESTAMP,
    "timestamp with time zone": TIMESTAMPTZ,
    "uuid": UUID,
    "json": JSON,
}


@pytest.mark.parametrize(("declared", "kind"), TYPES.items())
def test_a_type_and_its_kind_are_one(declared: str, kind: Kind) -> None:
    assert kind_of(declared) == kind
    assert type_for(kind) == declared


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("real", FLOAT4),
        ("character varying", TEXT),
        ("numeric(30,10)", NUMERIC),
        ("numeric(5,-2)", NUMERIC),
        ("numeric(2,5)", NUMERIC),
        ("character(3)", None),
        ("jsonb", None),
        ("interval", None),
        ("integer[]", None),
        ("inet", None),
        ("timestamp(0) without time zone", TIMESTAMP),
        ("timestamp(3) with time zone", TIMESTAMPTZ),
        ("time(3) without time zone", TIME),
        ("time(3) with time zone", None),
        ("app.mood", None),
    ],
)
def test_other_types(declared: str, kind: Kind | None) -> None:
    assert kind_of(declared) == kind


def test_a_length_beyond_the_limit_is_no_limit() -> None:
    assert type_for(Kind("text", length=10_485_760)) == "character varying(10485760)"
    assert type_for(Kind("text", length=10_485_761)) == "text"


# ---- names ------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=90)


@given(NAMES)
@example("a" * 63)
@example("a" * 64)
@example("ü" * 32)
@example("😀" * 16)
def test_a_fitted_name_is_kept_as_it_is(name: str) -> None:
    fitted = fit_name(name)
    assert 0 < len(fitted.encode()) <= NAME_BYTES
    assert fit_name(fitted) == fitted
    assert (fitted == name) == (len(name.encode()) <= NAME_BYTES)


@given(NAMES, st.sets(st.text(min_size=1, max_size=5), min_size=2, max_size=5))
def test_long_names_stay_different(name: str, ends: set[str]) -> None:
    stem = name * 63
    assert len({fit_name(stem[:63] + end) for end in ends}) == len(ends)


def test_no_name_becomes_one() -> None:
    assert fit_name("") == fit_column_name("") == "unnamed"


@pytest.mark.parametrize("name", ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"])
def test_system_columns_are_avoided(name: str) -> None:
    assert fit_column_name(name) == f"{name}_"
    assert fit_name(name) == name


@pytest.mark.parametrize("name", ["CTID", "oid", "select", "a b", '"', "order"])
def test_other_columns_keep_their_names(name: str) -> None:
    assert fit_column_name(name) == name


# ---- values -----------------------------------------------------------------------------------


def column(declared: str, kind: Kind) -> ReadColumn:
    return ReadColumn(Column("a", declared), kind)


@pytest.mark.parametrize(
    ("declared", "kind", "values", "expected"),
    [
        ("character varying(3)", TEXT, ["abc", "abc ", None, "äöü", "äöüx"], [1, 4]),
        ("integer", INT, [2**31 - 1, 2**31, -(2**31), -(2**31) - 1, None], [1, 3]),
        ("smallint", INT, [2**15 - 1, 2**15], [1]),
        ("numeric(4,2)", decimal(15, 2), [Decimal("99.99"), Decimal("-100.00"), None], [1]),
        ("numeric(4,1)", decimal(4, 2), [Decimal("1.20"), Decimal("1.23")], [1]),
        ("numeric(4,2)", decimal(4, 1), [Decimal("99.9"), Decimal("100.0")], [1]),
        ("numeric(15,2)", decimal(15, 2), [Decimal("9999999999999.99"), None], []),
        ("bigint", INT, [2**63 - 1], []),
    ],
)
def test_what_the_type_would_refuse_or_change(
    declared: str, kind: Kind, values: list[Any], expected: list[int]
) -> None:
    bad = misfits(pa.array(values, arrow_type(kind)), column(declared, kind))
    found = [] if bad is None else bad.nonzero()[0].tolist()
    assert found == expected


@pytest.mark.parametrize(("declared", "kind"), TYPES.items())
def test_each_kind_is_read_as_its_arrow_type(declared: str, kind: Kind) -> None:
    how = reading(column(declared, kind))
    empty = pa.array([], how.arrives)
    assert how.decode(empty).type == arrow_type(kind)
    assert '"a"' in how.expression


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1.50", decimal(5, 2), "1.50"),
        ("1.50", NUMERIC, "1.5"),
        ("NaN", NUMERIC, "NaN"),
        ("12", INT, "12"),
        ("true", BOOL, "true"),
        ("2024-01-01", DATE, "2024-01-01"),
        ("12:30:00", TIME, "12:30:00.000000"),
        ("2024-01-01 12:30:00", TIMESTAMP, "2024-01-01 12:30:00.000000"),
        ("2024-01-01 12:30:00+00", TIMESTAMPTZ, "2024-01-01 12:30:00.000000Z"),
    ],
)
def test_from_text(text: str, kind: Kind, value: str) -> None:
    array = from_text(pa.array([text, None]), kind)
    assert array.type == arrow_type(kind)
    assert array.cast(pa.string()).to_pylist() == [value, None]


@pytest.mark.parametrize("kind", [INT, DATE, TIME, TIMESTAMP, BOOL, decimal(5, 2)])
def test_text_of_another_meaning_is_a_misfit(kind: Kind) -> None:
    with pytest.raises(MisfitFound):
        from_text(pa.array(["x"]), kind)


def test_other_types_are_stored_by_their_text() -> None:
    how = storing(column("inet", TEXT))
    assert how.staged
    assert how.encode(pa.array(["a"])).type == pa.string()


@pytest.mark.parametrize(
    ("declared", "kind"), [(declared, kind) for declared, kind in TYPES.items() if kind != NUMERIC]
)
def test_own_kinds_are_stored_as_themselves(declared: str, kind: Kind) -> None:
    how = storing(column(declared, kind))
    assert not how.staged
    widths = {"smallint": pa.int16(), "integer": pa.int32()}
    if kind.name in ("timestamp", "timestamptz"):
        # As the server counts them, since the driver refuses infinity.
        widths[declared] = pa.int64()
    encoded = how.encode(pa.array([], arrow_type(kind)))
    assert encoded.type == widths.get(declared, arrow_type(kind))


def test_numeric_is_stored_by_its_text() -> None:
    # The driver sends decimals of at most 76 digits, without NaN or infinity.
    assert storing(column("numeric", NUMERIC)).staged
