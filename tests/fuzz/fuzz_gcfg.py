"""Any bytes as a configuration file; and any text, quoted, as a value of one.

Nothing but ConfigurationError may come of a file, with a place that is in it. What was read and
written again, quoted, is read as the same.
"""

from __future__ import annotations

from tableferry import gcfg
from tableferry.errors import ConfigurationError

FILENAME = "fuzz.gcfg"
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def check(data: bytes) -> None:
    """Raises AssertionError for a value changed, and whatever the reader wrongly raises."""
    # As read() does it; a file that is no UTF-8 never comes as far as parse().
    text = data.decode("utf-8", "replace")
    _check_file(text)
    _check_quoting(text)


def _check_file(text: str) -> None:
    document = _outcome(text)
    if isinstance(document, ConfigurationError):
        line = document.details["line"]
        assert 1 <= line <= text.count("\n") + 1, document.details
        assert document.message.startswith(f"{FILENAME}, line {line}")
        assert document.hint
        return
    for entry in document.entries():
        assert 1 <= entry.line <= text.count("\n") + 1
        assert "\r" not in entry.value
        last = document.get(entry.section.name.upper(), entry.key, entry.section.subsection)
        assert last is not None
        assert last.line >= entry.line
    again = gcfg.parse(_written(document), FILENAME)
    assert _content(again) == _content(document)


def _outcome(text: str) -> gcfg.Document | ConfigurationError:
    try:
        return gcfg.parse(text, FILENAME)
    except ConfigurationError as error:
        return error


def _check_quoting(text: str) -> None:
    # NUL is refused, and carriage returns are dropped.
    value = text.replace("\0", "").replace("\r", "")
    cut = len(value) // 2
    for line in (quoted(value), f"{quoted(value[:cut])}\\\n{quoted(value[cut:])} # {cut}"):
        document = gcfg.parse(f"[Section]\nKey = {line}\nother\n", FILENAME)
        first, other = document.entries()
        assert first.value == value
        assert (other.key, other.value, other.bare) == ("other", gcfg.BARE_VALUE, True)


def quoted(value: str) -> str:
    return '"' + "".join(ESCAPES.get(character, character) for character in value) + '"'


def _written(document: gcfg.Document) -> str:
    return "".join(map(_line, document.entries()))


def _line(entry: gcfg.Entry) -> str:
    value = "" if entry.bare else f" = {quoted(entry.value)}"
    return f"{_header(entry.section)}\n{entry.key}{value}\n"


def _header(section: gcfg.Section) -> str:
    escaped = section.subsection.replace("\\", "\\\\").replace('"', '\\"')
    return f'[{section.name} "{escaped}"]' if escaped else f"[{section.name}]"


def _content(document: gcfg.Document) -> list[tuple[str, str, str, str, bool]]:
    return [
        (entry.section.name, entry.section.subsection, entry.key, entry.value, entry.bare)
        for entry in document.entries()
    ]
