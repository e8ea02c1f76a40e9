"""The gcfg dialect: every rule of go-gcfg once, then properties over any text."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry import gcfg
from tableferry.errors import EXIT_USAGE, ConfigurationError


def value_of(line: str) -> str:
    entry = gcfg.parse(f"[section]\n{line}", "test.gcfg").get("section", "name")
    assert entry is not None
    return entry.value


def refusal(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        gcfg.parse(text, "test.gcfg")
    return caught.value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("name=value", "value"),
        (" name = value ", "value"),
        ("\tname\t=\tvalue\t", "value"),
        ("name = two  words ", "two  words"),
        ("name =", ""),
        ("name = ; comment", ""),
        ('name = ""', ""),
        ('name = " "', " "),
        ('name = " value " ', " value "),
        ('name = "va ; l#ue" ; comment', "va ; l#ue"),
        ('name = value ; "comment', "value"),
        ("name = value# comment", "value"),
        ("name = se;cret", "se"),
        ('name = "val" "ue"', "val ue"),
        ('name = "val""ue"', "value"),
        ('name = a"b c"d', "ab cd"),
        (r'name = "va\\lue"', "va\\lue"),
        (r'name = "va\"lue"', 'va"lue'),
        (r'name = "va\nlue"', "va\nlue"),
        (r'name = "va\tlue"', "va\tlue"),
        (r'name = "\\n"', "\\n"),
        (r"name = \"value\"", '"value"'),
        ("name = value \\\n value", "value  value"),
        ("name = value\\\r\nvalue\r\n", "valuevalue"),
        ("name = \\\n  value", "  value"),
        ("name = value \\\n", "value "),
        ("name = value \\\n ; comment", "value "),
        ("name = x=y", "x=y"),
        ("name = [x]", "[x]"),
        ("name = 乙", "乙"),
        ("name = va\rlue\r", "value"),
        ('name = "va\rlue"', "value"),
        ("name = a\x0bb\u00a0", "a\x0bb\u00a0"),
    ],
)
def test_value(line: str, value: str) -> None:
    assert value_of(line) == value


@pytest.mark.parametrize("line", ["name", "name ", "name ; comment", "name#comment", "name\r\nx=1"])
def test_a_bare_key_is_true(line: str) -> None:
    entry = gcfg.parse(f"[section]\n{line}", "test.gcfg").get("section", "name")
    assert entry is not None
    assert (entry.value, entry.bare) == ("true", True)


def test_an_empty_value_is_not_bare() -> None:
    entry = gcfg.parse("[section]\nname=", "test.gcfg").get("section", "name")
    assert entry is not None
    assert (entry.value, entry.bare) == ("", False)


@pytest.mark.parametrize(
    "text",
    [
        "[section]\nname=value\n",
        "\ufeff[section]\nname=value",
        "\r\n [section]\r\nname=value\r\n",
        "; comment\n#comment\n[section];comment\nname=value",
        "[ section ]\nname=value",
        "\t[section] # comment\n\n\n  name=value",
        "[SECTION]\nNAME=value",
        "[section]\nname=other\n[other]\nname=x\n[Section]\nName=value",
    ],
)
def test_ways_to_write_the_same(text: str) -> None:
    entry = gcfg.parse(text, "test.gcfg").get("Section", "Name")
    assert entry is not None
    assert entry.value == "value"


def test_names_take_hyphens_digits_and_letters_of_any_script() -> None:
    document = gcfg.parse("[hyphen-in-1]\na-2-b=x\n[甲]\n乙=丙", "test.gcfg")
    assert [(entry.section.name, entry.key, entry.value) for entry in document.entries()] == [
        ("hyphen-in-1", "a-2-b", "x"),
        ("甲", "乙", "丙"),
    ]


def test_repeated_sections_merge_and_all_entries_stay() -> None:
    document = gcfg.parse("[a]\nx=1\ny=2\n[b]\nx=3\n[A]\nX=4\n", "test.gcfg")
    assert [section.line for section in document.sections] == [1, 4]
    assert [(entry.line, entry.value) for entry in document.entries("A")] == [
        (2, "1"),
        (3, "2"),
        (7, "4"),
    ]
    last = document.get("a", "x")
    assert last is not None
    assert (last.value, last.line) == ("4", 7)
    assert document.get("b", "y") is None


def test_lines_count_through_continuations_and_comments() -> None:
    document = gcfg.parse("# one\n[a]\nx = 1 \\\n  2 \\\n  3\ny = 4", "test.gcfg")
    assert [(entry.key, entry.line) for entry in document.entries()] == [("x", 3), ("y", 6)]


def test_subsections_are_apart_and_keep_their_case() -> None:
    document = gcfg.parse(
        '[a]\nx=0\n[a "B"]\nx=1\n[A "b"]\nx=2\n[a "q\\"\\\\"]\nx=3\n', "test.gcfg"
    )
    found = [document.get("a", "x", sub) for sub in ("", "B", "b", 'q"\\', "c")]
    assert [entry and entry.value for entry in found] == ["0", "1", "2", "3", None]
    assert [str(section) for section in document.sections[:2]] == ["[a]", '[a "B"]']


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("name=value", 1, "name"),
        ("=", 1, None),
        ("[section]\n=", 2, None),
        ("[]\nname=value", 1, None),
        ("[1a]", 1, None),
        ("[section", 1, None),
        ("[section\n]", 1, None),
        ("[section ; comment]", 1, None),
        ("[section.sub]", 1, None),
        ("[section] name=value", 1, None),
        ('[section ""]', 1, None),
        ('[section "a]', 1, None),
        ('[section "a\\n"]', 1, None),
        ('[section "a\nb"]', 1, None),
        ("\n[section]\nname value", 3, "name"),
        ("\n[section]\nna_me=value", 3, "na"),
        ("\n[section]\n_name=value", 3, None),
        ("\n[section]\n1=value", 3, None),
        ('\n[section]\nname="value', 3, "name"),
        ('\n[section]\nname="val\nue"', 3, "name"),
        ('\n[section]\nname="value\\', 3, "name"),
        ('\n[section]\nname="value \\\n value"', 3, "name"),
        ('\n[section]\nname="a" "b', 3, "name"),
        ('\n[section]\nname=one \\\n "two', 4, "name"),
        (r"[section]" + "\n" + r'name="val\a"', 2, "name"),
        (r"[section]" + "\n" + r'name="C:\data"', 2, "name"),
        (r"[section]" + "\n" + r"name=C:\data", 2, "name"),
        (r"[section]" + "\n" + r"name=a\\b", 2, "name"),
        (r"[section]" + "\n" + r"name=a\nb", 2, "name"),
        ("[section]\nname=value\\", 2, "name"),
        ("[section]\nname=val\\ \nue", 2, "name"),
        ("[section]\nname=a\n# \0", 3, None),
        ("[section]\n\ufeffname=a", 2, None),
        ("\ufeff\ufeff[section]", 1, None),
    ],
)
def test_refused_with_place(text: str, line: int, key: str | None) -> None:
    error = refusal(text)
    assert error.message.startswith(f"test.gcfg, line {line}")
    assert error.details.get("key") == key
    assert error.details["line"] == line
    assert key is None or f"key {key}" in error.message
    assert error.hint
    assert error.exit_code == EXIT_USAGE


@pytest.mark.parametrize(
    "line", ['password="hunter2', r"password=hunter2\x", r'password="hunter2\x"']
)
def test_errors_show_no_value(line: str) -> None:
    assert "hunter2" not in str(refusal(f"[a]\n{line}"))


def test_representations_show_no_value() -> None:
    document = gcfg.parse("[a]\npassword=hunter2", "test.gcfg")
    assert "hunter2" not in repr(document)
    assert str(document.entries()[0]) == "[a] password"


def test_errors_travel_between_processes() -> None:
    error = refusal("x")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.details) == (type(error), str(error), error.details)


def test_read_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gcfg"
    path.write_bytes("\ufeff[a]\r\nx = ü\r\n".encode())
    entry = gcfg.read(path).get("a", "x")
    assert entry is not None
    assert entry.value == "ü"


def test_read_names_file_and_line_of_a_wrong_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.gcfg"
    path.write_bytes(b"[a]\nx = 1\ny = \xfc\n")
    with pytest.raises(ConfigurationError, match=r"a\.gcfg, line 3: .*UTF-8"):
        gcfg.read(path)


def test_read_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.gcfg: there is no such"):
        gcfg.read(tmp_path / "none.gcfg")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        gcfg.read(tmp_path)


# ---- properties -------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-zäé乙][A-Za-z0-9乙-]{0,6}", fullmatch=True)
# NUL is refused and carriage returns are dropped, so no file can hold them.
VALUES = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30)
PUNCTUATION = st.text(alphabet=' \t\r\n\\"[];#=aZ1-_\0é\ufeff', max_size=60)


def quoted(value: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(character, character) for character in value) + '"'


@given(st.lists(st.tuples(NAMES, NAMES, VALUES), max_size=8))
def test_what_is_written_quoted_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    text = "".join(f"[{s}] ; {i}\n  {k} = {quoted(v)} # {i}\n" for i, (s, k, v) in enumerate(rows))
    document = gcfg.parse(text, "test.gcfg")
    assert [(e.section.name, e.key, e.value, e.line) for e in document.entries()] == [
        (section, key, value, 2 * at + 2) for at, (section, key, value) in enumerate(rows)
    ]
    last = {(section.casefold(), key.casefold()): value for section, key, value in rows}
    for section, key, _ in rows:
        found = document.get(section.upper(), key.lower())
        assert found is not None
        assert found.value == last[section.casefold(), key.casefold()]


@given(VALUES, st.data())
def test_a_value_may_be_quoted_in_any_pieces(value: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(value)))
    for joint in ("", "\\\n", "\\\r\n"):
        assert value_of(f"name = {quoted(value[:cut])}{joint}{quoted(value[cut:])}") == value


def outcome(text: str) -> gcfg.Document | ConfigurationError:
    try:
        return gcfg.parse(text, "test.gcfg")
    except ConfigurationError as error:
        return error


@given(st.text() | PUNCTUATION | PUNCTUATION.map(lambda text: "[a]\nb=" + text))
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    result = outcome(text)
    if isinstance(result, gcfg.Document):
        assert all("\r" not in entry.value for entry in result.entries())
    else:
        assert 1 <= result.details["line"] <= text.count("\n") + 1
        assert result.hint


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gcfg"
    path.write_bytes(raw)
    with contextlib.suppress(ConfigurationError):
        assert gcfg.read(path).filename == str(path)
