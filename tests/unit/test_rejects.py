"""Rejected rows: written line by line, put right by hand, read back to the bit."""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tableferry.errors import UsageError
from tableferry.model import Range, Scan, TableName, TablePair
from tableferry.rejects import RawText, Reject, RejectFolder, Stored, line, read_rows


def is_no_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


# What SQLite stores: it has no NaN, and its integers have 64 bits.
STORED: st.SearchStrategy[Stored] = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.binary().filter(is_no_utf8).map(RawText),
)
ROWS = st.dictionaries(st.text(), STORED, min_size=1, max_size=6)


def exactly(value: Any) -> Any:
    """Values by type and bit: 1 is not 1.0, and 0.0 not -0.0."""
    if isinstance(value, dict):
        return {name: exactly(v) for name, v in value.items()}
    if isinstance(value, float):
        return (float, value.hex())
    return (type(value), value)


def rejected(row: dict[str, Stored]) -> Reject:
    name = next(iter(row))
    return Reject("t", {name: row[name]}, name, "does not fit", row)


def written(folder: Path, *lines: str) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(lines), encoding="utf-8", newline="")
    return file


# ---- a line and back --------------------------------------------------------------------------


@given(st.lists(ROWS, min_size=1, max_size=4))
@example([{"a": math.inf, "b": -math.inf, "c": -0.0, "d": 5e-324, "e": 1e308, "f": 0.1 + 0.2}])
@example([{"a": 2**63 - 1, "b": -(2**63), "c": 9007199254740993, "d": 9007199254740993.0}])
@example([{"": "", "a": None, "b": b"", "c": '\0\n\r\u2028\x85\\"', "d": "e\u0301🦆"}])
@example([{"a": RawText(b"\xed\xa0\x80"), "b": RawText(b"a\0\xff"), "c": b"\xff"}])
def test_any_row_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Stored]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for row in rows:
        text = line(rejected(row))
        assert text.count("\n") == 1
        assert text.endswith("\n")
        (back,) = read_rows(written(folder, text), row)
        assert exactly(back) == exactly(row)
        assert list(back) == list(row)


def test_what_a_line_holds() -> None:
    row: dict[str, Stored] = {"id": 7, "at": "soon", "f": 2.0, "x": b"\x0a\xff", "n": None}
    text = line(Reject("orders", {"id": 7}, "at", "does not fit date", row))
    assert text == (
        '{"table": "orders", "key": {"id": 7}, "column": "at", "value": "soon", '
        '"reason": "does not fit date", "row": {"id": 7, "at": "soon", "f": 2.0, '
        '"x": {"blob": "0aff"}, "n": null}}\n'
    )


def test_a_row_without_a_key() -> None:
    content = json.loads(line(Reject("t", {}, "a", "does not fit int of 16 bits", {"a": math.inf})))
    assert content["key"] == {}
    assert content["value"] == {"real": "inf"}


# ---- reading what a person has edited ---------------------------------------------------------


def test_only_the_row_is_read(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        '\n  \n{"row": {"b": 1, "a": "x"}}\r\n',
        '{"table": 5, "note": "mine", "row": {"a": 1.0, "b": 1e2}}',
    )
    assert [exactly(row) for row in read_rows(file, ["a", "b"])] == [
        exactly({"b": 1, "a": "x"}),
        exactly({"a": 1.0, "b": 100.0}),
    ]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(written(tmp_path), ["a"])) == []


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "[1]",
        "7",
        '{"a": 1}',
        '{"row": null}',
        '{"row": [1]}',
        '{"row": {"a": 1}',
        '{"row": {"a": true}}',
        '{"row": {"a": [1]}}',
        '{"row": {"a": {}}}',
        '{"row": {"a": {"blob": "0"}}}',
        '{"row": {"a": {"blob": "xx"}}}',
        '{"row": {"a": {"blob": 5}}}',
        '{"row": {"a": {"text": null}}}',
        '{"row": {"a": {"real": "many"}}}',
        '{"row": {"a": {"int": "1"}}}',
        '{"row": {"a": {"blob": "00", "text": "00"}}}',
    ],
)
def test_what_is_no_rejected_row(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, '{"row": {"a": 1}}\n\n', text)
    rows = read_rows(file, ["a"])
    assert next(rows) == {"a": 1}
    with pytest.raises(UsageError) as caught:
        list(rows)
    assert caught.value.message.startswith(f"{file}, line 3: ")
    assert "docs/rejects.md" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "odd"),
    [
        ('{"a": 1}', "b"),
        ('{"a": 1, "b": 2, "c": 3}', "c"),
        ('{"a": 1, "B": 2}', "B, b"),
        ("{}", "a, b"),
    ],
)
def test_other_columns_are_named(tmp_path: Path, row: str, odd: str) -> None:
    file = written(tmp_path, f'{{"row": {row}}}\n')
    with pytest.raises(UsageError, match=f"line 1: .* not the same columns: {odd}\\.$"):
        list(read_rows(file, ["a", "b"]))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_rows(tmp_path / "none.jsonl", ["a"]))


def test_a_file_that_is_no_utf8(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"row": {"a": "\xff"}}\n')
    with pytest.raises(UsageError, match="cannot be read"):
        list(read_rows(file, ["a"]))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('"\\ud800"', id="half a surrogate pair"),
        pytest.param("9223372036854775808", id="past 64 bits"),
        pytest.param("NaN", id="NaN"),
        pytest.param('{"real": "nan"}', id="a real that is none"),
    ],
)
def test_values_that_sqlite_cannot_store(tmp_path: Path, value: str) -> None:
    file = written(tmp_path, f'{{"row": {{"a": {value}}}}}\n')
    with pytest.raises(UsageError, match="line 1"):
        list(read_rows(file, ["a"]))


# ---- the folder -------------------------------------------------------------------------------


def pair(name: str, generation: int = 2) -> TablePair:
    scan = Scan(TableName("main", name), (), ())
    return TablePair(scan, scan, generation)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("orders", "orders.jsonl"),
        ("my orders", "my orders.jsonl"),
        ("a/b", "a%2Fb.jsonl"),
        ("../up", "..%2Fup.jsonl"),
        ("..", "...jsonl"),
        ("50%", "50%25.jsonl"),
        ("a.1", "a.1.jsonl"),
    ],
)
def test_each_table_has_a_file_of_its_own(name: str, file: str, tmp_path: Path) -> None:
    found = RejectFolder(str(tmp_path)).file(TableName("main", name))
    assert found == tmp_path / file


def test_parts_are_joined_in_the_order_of_the_ranges(tmp_path: Path) -> None:
    folder = RejectFolder(str(tmp_path / "deep" / "folder"))
    ranges = tuple(Range(number) for number in range(12))
    for part in reversed(ranges):
        folder.set_aside(pair("a/b"), part, [rejected({"n": part.number})])
    # Another table whose name is the beginning of a part's.
    folder.set_aside(pair("a"), ranges[0], [rejected({"n": 99})])

    file = folder.join(pair("a/b"), ranges)

    assert [row["n"] for row in read_rows(file, ["n"])] == list(range(12))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [row["n"] for row in read_rows(folder.join(pair("a"), ranges[:1]), ["n"])] == [99]
    assert sorted(p.name for p in file.parent.iterdir()) == ["a%2Fb.jsonl", "a.jsonl"]


def test_a_repeated_range_is_written_anew(tmp_path: Path) -> None:
    folder = RejectFolder(str(tmp_path))
    for rows in ([1, 2, 3], [4]):
        folder.set_aside(pair("t"), Range(0), [rejected({"n": n}) for n in rows])
    file = folder.join(pair("t"), [Range(0)])
    assert list(read_rows(file, ["n"])) == [{"n": 4}]


def test_an_earlier_run_leaves_nothing_in_the_file(tmp_path: Path) -> None:
    folder = RejectFolder(str(tmp_path))
    for generation, n in ((2, 1), (3, 2)):
        folder.set_aside(pair("t", generation), Range(0), [rejected({"n": n})])
        file = folder.join(pair("t", generation), [Range(0)])
    assert list(read_rows(file, ["n"])) == [{"n": 2}]


def test_a_long_name_has_a_file_of_its_own(tmp_path: Path) -> None:
    """File systems take names of up to 255 bytes, and ä is six once it is percent-encoded."""
    folder = RejectFolder(str(tmp_path))
    names = [TableName("main", "ä" * 100 + ending) for ending in ("", "1", "2")]
    files = [folder.file(name) for name in names]
    assert len(set(files)) == 3
    for file in files:
        file.write_text("")


def test_what_earlier_attempts_have_left(tmp_path: Path) -> None:
    """Parts of a run that was killed, or of a plan that was given up, go with the end."""
    folder = RejectFolder(str(tmp_path))
    name, other = "a[1]*", "a[1]*.c"
    folder.set_aside(pair(name, 2), Range(0), [rejected({"id": 1})])
    folder.set_aside(pair(name, 2), Range(7), [rejected({"id": 2})])
    folder.set_aside(pair(other, 2), Range(0), [rejected({"id": 3})])
    folder.set_aside(pair(name, 4), Range(0), [rejected({"id": 1})])

    whole = folder.join(pair(name, 4), [Range(0)])
    another = folder.join(pair(other, 2), [Range(0)])

    assert [json.loads(text)["key"] for text in whole.read_text().splitlines()] == [{"id": 1}]
    assert set(tmp_path.iterdir()) == {whole, another}
