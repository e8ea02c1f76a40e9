"""Numbers, sizes and times as the page spells them, and text in which nothing hides, or acts on a
terminal. Pure."""

from __future__ import annotations

import json
import math
import re
import unicodedata

# Control characters, and characters that show nothing or turn the text around them.
_HIDING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """The text with every character that could hide, or hide others, by its symbol or number."""
    return _HIDING.sub(_symbol, text)


def harmless(text: str) -> str:
    """The same for text of several lines, whose ends and tabs stay."""
    return _HIDING.sub(lambda found: found[0] if found[0] in "\n\t" else _symbol(found), text)


def escaped(text: str) -> str:
    """JSON in which those characters are written by their numbers; within its strings, that is,
    where an end of a line is written so anyway."""
    return _HIDING.sub(
        lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text
    )


def _symbol(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        # The "Control Pictures" of Unicode, in the order of what they picture.
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def count(number: int, what: str, several: str = "") -> str:
    """'1 table', '2,000 tables'."""
    return f"{number:,} {what if number == 1 else several or what + 's'}"


def size(number: float) -> str:
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:,.0f} B" if unit == "B" else f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """'0.4 ms', '12.3 s', '3:05 min', '2:00:10 h'; of a whole number '12 s'."""
    if seconds < 0.00005:
        return "0 ms"
    if isinstance(seconds, int) and seconds < 60:
        return f"{seconds} s"
    if seconds < 1:
        return f"{seconds * 1000:.{1 if seconds < 0.01 else 0}f} ms"
    if seconds < 60:
        return f"{seconds:.{2 if seconds < 10 else 1}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def moment(seconds: float, step: float) -> str:
    """A point of time on an axis whose ticks are ``step`` seconds apart."""
    if step < 1 and seconds < 60:
        digits = max(0, -math.floor(math.log10(step)))
        return f"{seconds:.{digits}f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rate(per_second: float) -> str:
    """Rows a second, rounded to what can be told of it: '1.31 M', '264 k', '87'."""
    for limit, unit in ((1e6, " M"), (1e3, " k")):
        if per_second >= limit * 0.9995:
            value = per_second / limit
            digits = max(0, 2 - math.floor(math.log10(max(value, 1))))
            return f"{value:,.{digits}f}{unit}"
    return f"{per_second:,.0f}"


def halves(first: str, second: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Two texts, each as what they begin with alike, what is its own, and what they end with
    alike. Neither cut falls before a mark that belongs to the letter before it."""
    shorter = min(len(first), len(second))
    start = 0
    while start < shorter and first[start] == second[start]:
        start += 1
    while start and any(_joins(text, start) for text in (first, second)):
        start -= 1
    end = 0
    while end < shorter - start and first[-1 - end] == second[-1 - end]:
        end += 1
    while end and any(_joins(text, len(text) - end) for text in (first, second)):
        end -= 1
    return _cut(first, start, end), _cut(second, start, end)


def _joins(text: str, position: int) -> bool:
    return position < len(text) and bool(unicodedata.combining(text[position]))


def _cut(text: str, start: int, end: int) -> tuple[str, str, str]:
    stop = len(text) - end
    return text[:start], text[start:stop], text[stop:]
