"""Taking passwords out of text that others wrote: a driver's error may quote the whole URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote

MASK = "***"

# Up to the last @ of an unbroken run: a password that should have been percent-encoded and was
# not may hold @, / or :, and hiding too much of a URL does less harm than showing a part of it.
_USERINFO = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s:/]*:)\S*@")
_ASSIGNMENT = re.compile(
    r"""(?P<before>\b\w*(?:password|client_secret)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&]+)""",
    re.IGNORECASE | re.DOTALL,
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` with ``***`` for every secret, every ``scheme://user:password@`` and every
    ``…password=value``; secrets are found as they are, percent-encoded, and as Python quotes them.

    Known secrets are hidden whatever their length: a password of one letter makes the text hard
    to read, and stays hidden.
    """
    spellings = {spelling for secret in secrets if secret for spelling in _spellings(secret)}
    if spellings:
        # The longest first, or a password that begins with another one would show its end.
        longest_first = sorted(spellings, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), MASK, text)
    text = _USERINFO.sub(rf"\g<before>{MASK}@", text)
    return _ASSIGNMENT.sub(rf"\g<before>{MASK}", text)


# Whatever the scheme, and with however many slashes.
_URL = re.compile(r":/+(?P<userinfo>.*)@", re.DOTALL)
_PARAMETER = re.compile(r"[?&]\w*(?:password|client_secret)=(?P<value>[^&]*)", re.IGNORECASE)


def secrets_of(arguments: Iterable[str]) -> list[str]:
    """The passwords of URLs on a command line, wherever they stand and however wrong they are: an
    error may repeat what was typed."""
    found = []
    for argument in arguments:
        match = _URL.search(argument)
        if match is not None:
            found.append(match["userinfo"].partition(":")[2])
        found += [match["value"] for match in _PARAMETER.finditer(argument)]
    # As a URL means it, as it was typed, and as a path would have it.
    return [each for one in found if one for each in {one, unquote(one), re.sub("/+", "/", one)}]


def _spellings(secret: str) -> tuple[str, ...]:
    raw = secret.encode("utf-8", "surrogateescape")
    return (secret, quote(raw, safe=""), quote(raw), quote_plus(raw), repr(secret)[1:-1])
