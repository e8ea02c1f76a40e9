"""ISO 8601 text becomes the instant that it says, or is a misfit; and values become text again."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.kinds import DATE, TIME, TIMESTAMP, TIMESTAMPTZ, arrow_type
from tableferry.model import Kind
from tableferry.temporal import cast, parse, spell

KINDS = {kind.name: kind for kind in (DATE, TIME, TIMESTAMP, TIMESTAMPTZ)}


def one(text: str, kind: Kind) -> tuple[Any, int]:
    """The value that a text means (None for a misfit), and whether it was spelled our way."""
    values, bad, respelled = parse(pa.array([text]), kind)
    assert values.type == arrow_type(kind)
    assert (bad is None) == (values.null_count == 0)
    return values[0].as_py(), respelled


UTC = dt.UTC
ACCEPTED: dict[str, dict[str, Any]] = {
    "date": {
        "0001-01-01": dt.date(1, 1, 1),
        "9999-12-31": dt.date(9999, 12, 31),
        "2024-02-29": dt.date(2024, 2, 29),
    },
    "time": {
        "00:00": dt.time(0),
        "12:30": dt.time(12, 30),
        "23:59:59": dt.time(23, 59, 59),
        "12:30:15.5": dt.time(12, 30, 15, 500_000),
        "23:59:59.999999": dt.time(23, 59, 59, 999_999),
    },
    "timestamp": {
        "2024-01-01": dt.datetime(2024, 1, 1),
        "2024-01-01 12:30": dt.datetime(2024, 1, 1, 12, 30),
        "2024-01-01T12:30:15": dt.datetime(2024, 1, 1, 12, 30, 15),
        "2024-01-01 12:30:15.123456": dt.datetime(2024, 1, 1, 12, 30, 15, 123_456),
        "0001-01-01 00:00:00": dt.datetime(1, 1, 1),
        "9999-12-31 23:59:59.999999": dt.datetime(9999, 12, 31, 23, 59, 59, 999_999),
        "1969-12-31 23:59:59.999999": dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    },
    "timestamptz": {
        "2024-01-01 12:30Z": dt.datetime(2024, 1, 1, 12, 30, tzinfo=UTC),
        "2024-01-01T12:30:15.25Z": dt.datetime(2024, 1, 1, 12, 30, 15, 250_000, tzinfo=UTC),
        "2024-01-01 12:30+05": dt.datetime(2024, 1, 1, 7, 30, tzinfo=UTC),
        "2024-01-01 12:30:00-0530": dt.datetime(2024, 1, 1, 18, 0, tzinfo=UTC),
        "2024-01-01 00:00:00+05:45": dt.datetime(2023, 12, 31, 18, 15, tzinfo=UTC),
        "0001-01-01 01:00+01": dt.datetime(1, 1, 1, tzinfo=UTC),
    },
}

NEVER = [
    "",
    " ",
    "x",
    "now",
    "epoch",
    "0",
    "2460000.5",
    "20240101",
    "0000-00-00",
    "0000-12-31",
    "2024-02-30",
    "2023-02-29",
    "2024-00-01",
    "2024-13-01",
    "2024-1-1",
    "24-01-01",
    "-2024-01-01",
    "+2024-01-01",
    "2024/01/01",
    "01.01.2024",
    "01/02/2024",
    "２０２４-01-01",
    "2024-01-01 24:00",
    "2024-01-01 24:00:00",
    "2024-01-01 23:59:60",
    "2024-01-01 12:60",
    "2024-01-01 1:00",
    "2024-01-01 12",
    "2024-01-01T",
    "2024-01-01t12:30",
    "2024-01-01  12:30",
    "2024-01-01 12:30:15.",
    "2024-01-01 12:30:15.1234567",
    "2024-01-01 12:30:15.123456789",
    "2024-01-01 12:30:15,5",
    "2024-01-01 12:30z",
    "2024-01-01 12:30 Z",
    "2024-01-01 12:30 +05",
    "2024-01-01 12:30+5",
    "2024-01-01 12:30+24:00",
    "2024-01-01 12:30+05:60",
    "2024-01-01 12:30+05:30:00",
    "2024-01-01Z",
    "2024-01-01+05",
    "0001-01-01 00:30+01",
    "24:00",
    "24:00:00.0",
    "24:00:01",
    "23:59:60",
    "1:30",
    "12",
    "12:30:15.1234567",
    "12:30 PM",
    "12:30Z",
    "T12:30",
    "12:30\n",
    "2024-01-01\n",
    "2024-01-01\0",
    # What lies beyond the years 1 to 9999 has one spelling, and must be PostgreSQL's.
    "Infinity",
    "+infinity",
    "infinity ",
    "--infinity",
    "infinity BC",
    "12024-1-01",
    "02024-01-01",
    "012024-01-01",
    "12024-02-30",
    "12023-02-29",
    "12024-01-01 00:00",
    "12024-01-01T00:00:00",
    "12024-01-01 00:00:00.10",
    "12024-01-01 00:00:00+00",
    "12024-01-01 00:00:00Z",
    "12024-01-01 00:00:00+01:00",
    "12024-01-01 24:00:00",
    "0000-01-01 BC",
    "0002-02-29 BC",
    "44-03-15 BC",
    "0044-03-15 bc",
    "0044-03-15 AD",
    "-0044-03-15",
    "0044-03-15 00:00:00+00 BC",
    "0044-03-15 00:00:00 BC+00:00",
    "0044-03-15BC",
    "4714-11-23 BC",
    "9999-01-01 BC",
    "5874898-01-01",
    "9999999-12-31",
    "99999999-12-31",
    "294277-01-01 00:00:00",
    "294277-01-01 00:00:00+00:00",
    "4714-11-23 23:59:59.999999 BC",
    "4714-11-23 23:59:59.999999+00:00 BC",
]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [(name, text, value) for name, found in ACCEPTED.items() for text, value in found.items()],
)
def test_accepted(name: str, text: str, value: Any) -> None:
    assert one(text, KINDS[name])[0] == value


def test_the_end_of_time_may_lie_in_the_year_after() -> None:
    # A common mark for "never"; Python has no such year, but both databases do.
    values, bad, _ = parse(pa.array(["9999-12-31 23:59:59-05"]), TIMESTAMPTZ)
    assert bad is None
    assert values.cast(pa.string()).to_pylist() == ["10000-01-01 04:59:59.000000Z"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", NEVER)
def test_never_accepted(text: str, name: str) -> None:
    assert one(text, KINDS[name])[0] is None


# ---- beyond the years 1 to 9999 ---------------------------------------------------------------

DAY = 86_400_000_000
FAR: dict[str, dict[str, int]] = {
    # The driver's integers: PostgreSQL's, plus 10957 days modulo 2^32 or 2^64.
    "date": {
        "infinity": -(2**31) - 1 + 10_957,
        "-infinity": -(2**31) + 10_957,
        "4714-11-24 BC": -2_451_545 + 10_957,
        "0001-12-31 BC": -719_163,
        "0001-02-29 BC": -719_528 + 59,
        "10000-01-01": 2_932_897,
        "5874897-12-31": 2_145_031_948 + 10_957,
    },
    "time": {"24:00:00": DAY},
    "timestamp": {
        "infinity": -(2**63) - 1 + 10_957 * DAY,
        "-infinity": -(2**63) + 10_957 * DAY,
        "4714-11-24 00:00:00 BC": (-2_451_545 + 10_957) * DAY,
        "0001-12-31 23:59:59.999999 BC": -719_162 * DAY - 1,
        "0001-12-31 23:59:59 BC": -719_162 * DAY - 1_000_000,
        "10000-01-01 00:00:00": 2_932_897 * DAY,
        # The last that does not wrap around, and the first that does.
        "294247-01-10 04:00:54.775807": 2**63 - 1,
        "294247-01-10 04:00:54.775808": -(2**63),
        "294276-12-31 23:59:59.999999": 9_223_371_331_199_999_999 + 10_957 * DAY - 2**64,
    },
}
FAR["timestamptz"] = {
    re.sub(r"(:[0-9.]+)(?= BC|$)", r"\1+00:00", text): value
    for text, value in FAR["timestamp"].items()
}


def integers(values: pa.Array) -> list[Any]:
    width = pa.int32() if values.type == pa.date32() else pa.int64()
    return list(values.cast(width).to_pylist())


def of_integers(values: list[Any], kind: Kind) -> pa.Array:
    width = pa.int32() if kind == DATE else pa.int64()
    return pa.array(values, width).cast(arrow_type(kind))


@pytest.mark.parametrize("name", KINDS)
def test_far_values_are_read_and_spelled(name: str) -> None:
    kind = KINDS[name]
    texts, expected = list(FAR[name]), list(FAR[name].values())
    values, bad, respelled = parse(pa.array(texts), kind)
    assert (integers(values), bad, respelled) == (expected, None, 0)
    assert spell(values, kind).to_pylist() == texts


@pytest.mark.parametrize("name", KINDS)
def test_far_values_among_others(name: str) -> None:
    kind = KINDS[name]
    (near, *_), (far, expected) = ACCEPTED[name], next(iter(FAR[name].items()))
    array = pa.array(["x", far, None, near, "no", far, far]).slice(1, 5)
    values, bad, _ = parse(array, kind)
    assert bad is not None
    assert bad.tolist() == [False, False, False, True, False]
    found = integers(values)
    assert (found[0], found[1], found[3], found[4]) == (expected, None, None, expected)
    assert one(near, kind)[0] == values[2].as_py()
    ours = spell(values, kind).to_pylist()
    assert (ours[0], ours[1], ours[3], ours[4]) == (far, None, None, far)


@pytest.mark.parametrize("name", KINDS)
def test_far_values_of_another_kind(name: str) -> None:
    for other, texts in FAR.items():
        for text in texts:
            if text not in FAR[name]:
                assert one(text, KINDS[name])[0] is None, (other, text)


@pytest.mark.parametrize(
    ("name", "integer"),
    [
        ("date", -2_451_546 + 10_957),
        ("date", 2_145_031_949 + 10_957),
        ("date", 2**31 - 1),
        ("timestamp", (-2_451_545 + 10_957) * DAY - 1),
        ("timestamptz", 9_223_371_331_200_000_000 + 10_957 * DAY - 2**64),
        ("time", DAY + 1),
        ("time", -1),
    ],
)
def test_what_postgresql_cannot_hold_is_not_spelled(name: str, integer: int) -> None:
    with pytest.raises(ValueError, match=r"PostgreSQL|time of day"):
        spell(of_integers([0, integer], KINDS[name]), KINDS[name])


DAYS = st.integers(-2_451_545, 2_145_031_948) | st.sampled_from([-(2**31), 2**31 - 1])
MICROSECONDS = (
    st.integers(-211_813_488_000_000_000, 9_223_371_331_199_999_999)
    | st.integers(-211_813_488_000, 9_223_371_331_199).map(lambda n: n * 1_000_000)
    # Around the years 1 and 10000, where the slow way begins.
    | st.integers(-3 * DAY, 3 * DAY).map(lambda n: n - (719_162 + 10_957) * DAY)
    | st.integers(-3 * DAY, 3 * DAY).map(lambda n: n + (2_932_897 - 10_957) * DAY)
    | st.sampled_from([-(2**63), 2**63 - 1])
)


def wrapped(own: int, bits: int, epoch: int) -> int:
    half = 1 << (bits - 1)
    return (own + epoch + half) % (2 * half) - half


@given(st.lists(st.none() | DAYS, max_size=20))
def test_any_date_of_postgresql_comes_back(own: list[int | None]) -> None:
    values = of_integers([n if n is None else wrapped(n, 32, 10_957) for n in own], DATE)
    comes_back(values, DATE)


@given(st.lists(st.none() | MICROSECONDS, max_size=20), st.sampled_from([TIMESTAMP, TIMESTAMPTZ]))
def test_any_timestamp_of_postgresql_comes_back(own: list[int | None], kind: Kind) -> None:
    values = of_integers([n if n is None else wrapped(n, 64, 10_957 * DAY) for n in own], kind)
    comes_back(values, kind)


@given(st.lists(st.none() | st.integers(0, DAY), max_size=20))
@example([DAY, None, 0, DAY - 1])
def test_any_time_of_postgresql_comes_back(microseconds: list[int | None]) -> None:
    comes_back(of_integers(microseconds, TIME), TIME)


def comes_back(values: pa.Array, kind: Kind) -> None:
    texts = spell(values, kind)
    assert texts.type == pa.string()
    read, bad, respelled = parse(texts, kind)
    assert bad is None
    assert respelled == 0
    assert read.equals(values)
    # What the server would write differs in the offset only.
    assert cast(pc.replace_substring(texts, "+00:00", "+00"), kind).equals(values)
    assert spell(values.slice(1), kind).equals(texts.slice(1))


@given(st.dates(), st.lists(st.none() | st.integers(0, 20), min_size=100, max_size=100))
def test_dates_that_lie_close_together_are_spelled_the_same(
    first: dt.date, after: list[int | None]
) -> None:
    days = [
        None if n is None else min(first, dt.date(9999, 12, 11)) + dt.timedelta(n) for n in after
    ]
    array = pa.array([dt.date(1, 1, 1), *days], pa.date32()).slice(1)
    spelled = spell(array, DATE)
    assert spelled.to_pylist() == [None if day is None else day.isoformat() for day in days]
    spelled.validate(full=True)
    assert spelled.null_count == days.count(None)


@given(st.lists(st.datetimes(), min_size=1))
def test_python_spells_the_same(moments: list[dt.datetime]) -> None:
    def trimmed(text: str) -> str:
        return text.rstrip("0").rstrip(".") if "." in text else text

    values = pa.array(moments, pa.timestamp("us"))
    ours = spell(values, TIMESTAMP).to_pylist()
    assert ours == [trimmed(moment.isoformat(" ")) for moment in moments]
    zoned = spell(values.cast(pa.timestamp("us", "UTC")), TIMESTAMPTZ).to_pylist()
    assert zoned == [f"{text}+00:00" for text in ours]
    dates = spell(pa.array([moment.date() for moment in moments]), DATE).to_pylist()
    assert dates == [moment.date().isoformat() for moment in moments]
    times = spell(pa.array([moment.time() for moment in moments]), TIME).to_pylist()
    assert times == [trimmed(moment.time().isoformat()) for moment in moments]


def test_cast_refuses_what_the_server_did_not_write() -> None:
    for text in ("x", "0000-01-01", "infinitely", "2024-02-30"):
        with pytest.raises(pa.ArrowInvalid):
            cast(pa.array(["infinity", text]), DATE)


# ---- what no value has ------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_other_kinds_spellings_are_not_accepted(name: str) -> None:
    for other, texts in ACCEPTED.items():
        # But a date alone is a timestamp, at midnight.
        if {name, other} in ({name}, {"timestamp", "date"}):
            continue
        for text in texts:
            assert one(text, KINDS[name])[0] is None, text


@pytest.mark.parametrize("name", KINDS)
def test_blanks_around_are_not_accepted(name: str) -> None:
    for text in ACCEPTED[name]:
        for spaced in (f" {text}", f"{text} ", f"{text}\n", f"\t{text}"):
            assert one(spaced, KINDS[name])[0] is None, spaced


@pytest.mark.parametrize(
    ("name", "text", "ours"),
    [
        ("date", "2024-01-01", True),
        ("time", "12:30:00", True),
        ("time", "12:30:00.25", True),
        ("time", "12:30", False),
        ("time", "12:30:00.250", False),
        ("timestamp", "2024-01-01 12:30:00", True),
        ("timestamp", "2024-01-01 12:30:00.000001", True),
        ("timestamp", "2024-01-01T12:30:00", False),
        ("timestamp", "2024-01-01 12:30", False),
        ("timestamp", "2024-01-01 12:30:00.0", False),
        ("timestamp", "2024-01-01", False),
        ("timestamptz", "2024-01-01 12:30:00+00:00", True),
        ("timestamptz", "2024-01-01 12:30:00Z", False),
        ("timestamptz", "2024-01-01 12:30:00+01:00", False),
        ("timestamptz", "2024-01-01 12:30:00+00", False),
    ],
)
def test_what_counts_as_respelled(name: str, text: str, ours: bool) -> None:
    assert one(text, KINDS[name])[1] == (not ours)


def test_respelled_counts_what_fits_alone() -> None:
    array = pa.array(["2024-01-01T00:00", None, "no", "2024-01-01 00:00:00", "2024-01-01"])
    values, bad, respelled = parse(array, TIMESTAMP)
    assert bad is not None
    assert bad.tolist() == [False, False, True, False, False]
    assert values.is_null().to_pylist() == [False, True, True, False, False]
    assert respelled == 2


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("values", [[], [None], [None] * 9])
def test_nothing_to_parse(name: str, values: list[None]) -> None:
    parsed, bad, respelled = parse(pa.array(values, pa.string()), KINDS[name])
    assert (parsed.to_pylist(), bad, respelled) == (values, None, 0)
    assert parsed.type == arrow_type(KINDS[name])


@pytest.mark.parametrize("name", KINDS)
def test_slices(name: str) -> None:
    good = list(ACCEPTED[name])
    array = pa.array(["no", None, *good, "0000-00-00", None]).slice(1, len(good) + 2)
    values, bad, _ = parse(array, KINDS[name])
    assert bad is not None
    assert bad.tolist() == [False] * (len(good) + 1) + [True]
    assert values.to_pylist() == [None, *ACCEPTED[name].values(), None]


# ---- every accepted spelling ------------------------------------------------------------------

ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59)
BLANK_OR_T = st.sampled_from(" T")


@st.composite
def clocks(draw: st.DrawFn) -> tuple[str, dt.time]:
    """A time of day in one of its spellings."""
    time = draw(st.times())
    full = f"{time:%H:%M:%S}"
    digits = draw(st.integers(0, 6))
    if digits:
        kept = time.microsecond // 10 ** (6 - digits)
        return f"{full}.{kept:0{digits}}", time.replace(microsecond=kept * 10 ** (6 - digits))
    if draw(st.booleans()):
        return full[:5], time.replace(second=0, microsecond=0)
    return full, time.replace(microsecond=0)


def offset_text(minutes: int, form: str) -> str:
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    if form == "Z" and minutes == 0:
        return "Z"
    if form == "HH" and rest == 0:
        return f"{sign}{hours:02}"
    return f"{sign}{hours:02}{':' if form != 'HHMM' else ''}{rest:02}"


@given(st.lists(st.none() | st.dates(), max_size=20))
def test_any_date(dates: list[dt.date | None]) -> None:
    texts = [date and date.isoformat() for date in dates]
    values, bad, respelled = parse(pa.array(texts, pa.string()), DATE)
    assert (values.to_pylist(), bad, respelled) == (dates, None, 0)


@given(st.lists(clocks(), min_size=1, max_size=20))
def test_any_time(found: list[tuple[str, dt.time]]) -> None:
    values, bad, _ = parse(pa.array([text for text, _ in found]), TIME)
    assert bad is None
    assert values.to_pylist() == [time for _, time in found]


@given(st.lists(st.tuples(st.dates(), BLANK_OR_T, clocks()), min_size=1, max_size=20))
def test_any_timestamp(found: list[tuple[dt.date, str, tuple[str, dt.time]]]) -> None:
    texts = [f"{date.isoformat()}{blank}{text}" for date, blank, (text, _) in found]
    values, bad, respelled = parse(pa.array(texts), TIMESTAMP)
    assert bad is None
    expected = [dt.datetime.combine(date, time) for date, _, (_, time) in found]
    assert values.to_pylist() == expected
    # isoformat with a blank is our spelling but for zeros at the end of a fraction.
    ours = [re.sub(r"(\.\d*?)0+$", r"\1", moment.isoformat(" ")) for moment in expected]
    assert respelled == sum(a != b for a, b in zip(texts, ours, strict=True))


@given(
    st.dates(dt.date(1, 1, 3), dt.date(9999, 12, 29)),
    BLANK_OR_T,
    clocks(),
    ZONES | st.just(0),
    st.sampled_from(("Z", "HH", "HHMM", "HH:MM")),
)
def test_any_timestamptz(
    date: dt.date, blank: str, clock: tuple[str, dt.time], minutes: int, form: str
) -> None:
    text, time = clock
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    spelled = f"{date.isoformat()}{blank}{text}{offset_text(minutes, form)}"
    assert one(spelled, TIMESTAMPTZ)[0] == dt.datetime.combine(date, time, zone)


# ---- anything else ----------------------------------------------------------------------------


def is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


@given(st.text(max_size=12) | st.text("0123456789-+ T:Z.", min_size=10, max_size=10))
@example("2024-01-0é")
@example("2024-01-1")
@example("0000-01-01")
def test_a_date_is_what_the_calendar_has(text: str) -> None:
    assert (one(text, DATE)[0] is not None) == is_date(text)


@given(st.text("0123456789-+ T:Z.", max_size=30), st.sampled_from(sorted(KINDS)))
def test_what_is_accepted_means_what_python_reads(text: str, name: str) -> None:
    value, _ = one(text, KINDS[name])
    if name == "time" and text.startswith("24"):
        # The day's end, which Python has no time for.
        assert (value is not None) == bool(re.fullmatch(r"24:00(:00(\.0{1,6})?)?", text))
    elif value is not None:
        readers = {"date": dt.date.fromisoformat, "time": dt.time.fromisoformat}
        assert readers.get(name, dt.datetime.fromisoformat)(text) == value
