"""Damage for SQLite files: what a bad disk, a cut-off copy or a torn write leaves behind.

Pages are told apart by the documented file format alone ("Database File Format", sqlite.org).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_HEADER = 100
_KINDS = {
    2: "index interior",
    5: "table interior",
    10: "index leaf",
    13: "table leaf",
}
# A b-tree page's own header and the first of its cell pointers, in bytes: where a flip does most.
_STRUCTURE = 40
_MOST_FLIPS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """The pages of a sound file, by kind: first bytes of each, in bytes from the file's start."""

    page_size: int
    pages: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A damaged file's content, and what was done to it."""

    content: bytes
    what: str


def layout_of(content: bytes) -> Layout:
    size = int.from_bytes(content[16:18], "big")
    size = 65_536 if size == 1 else size
    free = _freelist(content, size)
    pages: dict[str, list[int]] = defaultdict(list)
    for start in range(0, len(content), size):
        at = start + _HEADER if start == 0 else start
        kind = "freelist" if start // size + 1 in free else _KINDS.get(content[at], "overflow")
        pages["schema" if start == 0 else kind].append(start)
    return Layout(size, pages)


def _freelist(content: bytes, size: int) -> set[int]:
    """The numbers of the trunk and leaf pages of the freelist."""
    found: set[int] = set()
    trunk = int.from_bytes(content[32:36], "big")
    while trunk:
        page = content[(trunk - 1) * size : trunk * size]
        words = [int.from_bytes(page[i : i + 4], "big") for i in range(0, size, 4)]
        found |= {trunk, *words[2 : 2 + words[1]]}
        trunk = words[0]
    return found


def damaged(content: bytes, layout: Layout, chance: random.Random) -> Damaged:
    """One kind of damage or another, as ``chance`` has it."""
    data = bytearray(content)
    place = chance.choice([*_FLIPPED, *_OTHERWISE])
    what = _OTHERWISE[place](data, layout, chance) if place in _OTHERWISE else ""
    if not what:
        what = _flipped(data, layout, place, chance)
    return Damaged(bytes(data), what)


_FLIPPED = (
    "header",
    "schema",
    "table interior",
    "table interior",
    "table leaf",
    "table leaf",
    "index interior",
    "index leaf",
    "overflow",
    "freelist",
)


def _flipped(data: bytearray, layout: Layout, place: str, chance: random.Random) -> str:
    if place == "header":
        start, length = 0, _HEADER
    elif place == "schema":
        start, length = _HEADER, layout.page_size - _HEADER
    else:
        start, length = chance.choice(layout.pages[place]), layout.page_size
    if place not in ("header", "overflow") and chance.random() < 0.5:
        length = _STRUCTURE
    flips = {}
    for _ in range(chance.randint(1, _MOST_FLIPS)):
        at = start + chance.randrange(length)
        data[at] ^= chance.choice([1 << chance.randrange(8), chance.randint(1, 255)])
        flips[at] = data[at]
    listed = ", ".join(f"{at}: {value:#04x}" for at, value in sorted(flips.items()))
    return f"{place} ({listed})"


def _truncated(data: bytearray, layout: Layout, chance: random.Random) -> str:
    length = chance.randrange(1, len(data))
    if chance.random() < 0.5:
        length = max(1, length // layout.page_size) * layout.page_size
    del data[length:]
    return f"truncated to {length}"


def _page(layout: Layout, chance: random.Random) -> int:
    kinds = [kind for kind in layout.pages if kind != "schema"]
    return chance.choice(layout.pages[chance.choice(kinds)])


def _zeroed(data: bytearray, layout: Layout, chance: random.Random) -> str:
    """A block that never reached the disk."""
    start = _page(layout, chance)
    data[start : start + layout.page_size] = bytes(layout.page_size)
    return f"zeroed page at {start}"


def _torn(data: bytearray, layout: Layout, chance: random.Random) -> str:
    """A write of which only the first sectors arrived, over another page's content."""
    start, other = _page(layout, chance), _page(layout, chance)
    cut = chance.randrange(1, layout.page_size // 512) * 512 if layout.page_size > 512 else 256
    data[start + cut : start + layout.page_size] = data[other + cut : other + layout.page_size]
    return f"torn page at {start} from {cut}, as that at {other}"


def _misplaced(data: bytearray, layout: Layout, chance: random.Random) -> str:
    """A page written where another belongs."""
    start, other = _page(layout, chance), _page(layout, chance)
    data[start : start + layout.page_size] = data[other : other + layout.page_size]
    return f"page at {start} as that at {other}"


def _noisy(data: bytearray, layout: Layout, chance: random.Random) -> str:
    start = _page(layout, chance)
    data[start : start + layout.page_size] = chance.randbytes(layout.page_size)
    return f"noise in the page at {start}"


_OTHERWISE: dict[str, Callable[[bytearray, Layout, random.Random], str]] = {
    "truncated": _truncated,
    "truncated too": _truncated,
    "zeroed": _zeroed,
    "torn": _torn,
    "misplaced": _misplaced,
    "noisy": _noisy,
}
