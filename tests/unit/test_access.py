"""Who may run the program, by groups of our own making and by those of the machine."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from tableferry.access import require_allowed
from tableferry.errors import ConfigurationError, Refused
from tableferry.settings import Settings

ADMINS = Settings(path=Path("/etc/app/app.gcfg"), group="admins", group_line=7)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A user "ann" (500) with primary group 500; a group "admins" (600) without members."""
    it = SimpleNamespace(user=500, group=500, groups=[500], members=set[str](), primary=500)

    def getgrnam(name: str) -> SimpleNamespace:
        return SimpleNamespace(gr_gid={"admins": 600}[name])

    def getpwuid(user: int) -> SimpleNamespace:
        return SimpleNamespace(pw_name={0: "root", 500: "ann"}[user], pw_gid=it.primary)

    def getgrouplist(name: str, group: int) -> list[int]:
        return [group, *([600] if name in it.members else [])]

    monkeypatch.setattr(os, "geteuid", lambda: it.user)
    monkeypatch.setattr(os, "getegid", lambda: it.group)
    monkeypatch.setattr(os, "getgroups", lambda: it.groups)
    monkeypatch.setattr(os, "getgrouplist", getgrouplist)
    monkeypatch.setattr(grp, "getgrnam", getgrnam)
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    return it


def allowed() -> bool:
    try:
        require_allowed(ADMINS)
    except Refused:
        return False
    return True


def test_without_a_group_everyone_may() -> None:
    require_allowed(Settings())


def test_others_are_refused(machine: SimpleNamespace) -> None:
    with pytest.raises(Refused, match="members of the group admins may") as caught:
        require_allowed(ADMINS)
    assert "/etc/app/app.gcfg, line 7" in caught.value.hint
    machine.user = 501  # a user that has no name
    assert not allowed()


@pytest.mark.parametrize(
    "change",
    [
        {"user": 0},
        {"group": 600},
        {"groups": [500, 600]},
        {"members": {"ann"}},
        {"primary": 600},
        {"user": 501, "groups": [600]},
    ],
    ids=["root", "effective group", "its groups", "listed since", "primary", "nameless"],
)
def test_root_and_members_are_not(machine: SimpleNamespace, change: dict[str, object]) -> None:
    vars(machine).update(change)
    assert allowed()


def test_the_effective_user_counts(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "getgid", lambda: 600)
    assert not allowed()


@pytest.mark.parametrize("user", [0, 500])
def test_a_group_that_there_is_not(machine: SimpleNamespace, user: int) -> None:
    machine.user = user
    with pytest.raises(
        ConfigurationError, match=r"line 3, key Group: .* no group admin\n"
    ) as caught:
        require_allowed(Settings(path=Path("a.gcfg"), group="admin", group_line=3))
    assert caught.value.details == {"file": "a.gcfg", "line": 3, "key": "Group"}


def test_this_machine() -> None:
    own = grp.getgrgid(os.getegid()).gr_name
    require_allowed(Settings(group=own, group_line=1))
