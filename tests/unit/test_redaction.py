"""No password survives, however a driver wrote it."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.redaction import MASK, redact, secrets_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:pw@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("at 'postgres://u:p@w/x@h/db' now", "at 'postgres://u:***@h/db' now"),
        ("postgres://me@corp:pw@h/db", "postgres://me@corp:***@h/db"),
        ("postgresql://:pw@/db", "postgresql://:***@/db"),
        (
            "postgresql://h/db?password=pw&sslmode=require",
            "postgresql://h/db?password=***&sslmode=require",
        ),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        (r"password='p w\'x' user=u", "password=*** user=u"),
        ("PGPASSWORD=pw psql", "PGPASSWORD=*** psql"),
        ("sslpassword = pw", "sslpassword = ***"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        (
            'password authentication failed for user "u"',
            'password authentication failed for user "u"',
        ),
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        ("", ""),
    ],
)
def test_unknown_passwords_are_found_by_their_place(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe=""),
        lambda secret: quote(secret),
        lambda secret: repr(secret)[1:-1],
    ],
    ids=["raw", "encoded", "path", "repr"],
)
def test_known_secrets_are_found_in_every_spelling(written: Callable[[str], str]) -> None:
    secret = "a/b \\'é%\n"
    assert redact(f"<{written(secret)}>", [secret]) == f"<{MASK}>"


def test_a_secret_that_begins_with_another_goes_whole() -> None:
    assert redact("abcdef abc", ["abc", "abcdef"]) == "*** ***"


def test_an_empty_secret_hides_nothing() -> None:
    assert redact("text", ["", ""]) == "text"


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="*"), max_size=20)


@given(PLAIN, PLAIN, st.lists(PLAIN.filter(bool), min_size=1, max_size=3))
def test_no_secret_is_left(before: str, after: str, secrets: list[str]) -> None:
    for secret in secrets:
        shown = redact(f"{before}{secret}{quote(secret, safe='')}{after}", secrets)
        assert not any(other in shown for other in secrets)
        assert MASK in shown


@given(PLAIN, PLAIN)
def test_text_after_redaction_needs_no_more(before: str, after: str) -> None:
    once = redact(f"{before} postgresql://u:{after.strip()}pw@h/db {after}")
    assert redact(once) == once


@pytest.mark.parametrize(
    ("argument", "secret"),
    [
        ("postgresql://u:p w@h/d", "p w"),
        ("postgresql://u:p%20w@h/d", "p w"),
        ("--to=postgres://u:a@b/c?d#e@h:1:2/d", "a@b/c?d#e"),
        ("mysql:/root:x\ny@h", "x\ny"),
        ("postgresql://h/d?user=u&password=x%26y&sslmode=disable", "x&y"),
        ("postgresql://h/d?sslpassword=xy", "xy"),
        ("postgresql://u:a//b@h/d", "a/b"),
    ],
)
def test_passwords_on_a_command_line_are_known(argument: str, secret: str) -> None:
    assert secret in secrets_of(["database", argument])


@pytest.mark.parametrize(
    "argument", ["sqlite:///a/b.db", "postgresql://u@h/d", "postgresql://u:@h", "--yes", "a:b@c"]
)
def test_what_holds_no_password_has_no_secret(argument: str) -> None:
    assert secrets_of([argument]) == []
