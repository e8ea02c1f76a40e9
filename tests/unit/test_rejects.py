"""Rejected rows as lines, and back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.errors import UsageError
from tableferry.rejects import RawText, Reject, Stored, line, read_rows

VALUES: st.SearchStrategy[Stored] = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.binary().map(lambda data: RawText(b"\xff" + data)),
)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
def test_every_row_comes_back_as_it_was(rows: list[tuple[Stored, Stored]]) -> None:
    rejects = [Reject("t", {"a": a}, "b", "why", {"a": a, "b": b}) for a, b in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        path.write_text("".join(map(line, rejects)), encoding="utf-8")
        back = list(read_rows(path, ["a", "b"]))
    assert back == [reject.row for reject in rejects]
    kinds = [[type(value) for value in row.values()] for row in back]
    assert kinds == [[type(a), type(b)] for a, b in rows]


@pytest.mark.parametrize(
    "text",
    ["no json", "[]", "{}", '{"row": 1}', '{"row": {"a": true}}', '{"row": {"a": {"x": "00"}}}'],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"row": {"a": 1}}) + "\n" + text + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2"):
        list(read_rows(path, ["a"]))


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"row": {"a": 1, "c": 2}}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="b, c"):
        list(read_rows(path, ["a", "b"]))
