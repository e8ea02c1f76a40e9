"""Who may run this: root, and the members of the group that ``[Server] Group`` names.

A courtesy between administrators, not a defence: whoever can read the file and both databases does
not need this program to copy one into the other.
"""

from __future__ import annotations

import grp
import os
import pwd

from tableferry.errors import ConfigurationError, Refused
from tableferry.settings import Settings


def require_allowed(known: Settings) -> None:
    """Raises Refused where the effective user is not among them, and ConfigurationError where
    there is no such group."""
    if known.group is None:
        return
    try:
        number = grp.getgrnam(known.group).gr_gid
    except KeyError:
        raise ConfigurationError(
            f"{known.path}, line {known.group_line}, key Group: this system has no group "
            f"{known.group}",
            hint="Correct the name, or create the group (groupadd).",
            file=str(known.path),
            line=known.group_line,
            key="Group",
        ) from None
    user = os.geteuid()
    if user != 0 and number not in _groups(user):
        raise Refused(
            f"Only root and members of the group {known.group} may run this.",
            hint=f"{known.path}, line {known.group_line}, says so. Run it as one of them.",
        )


def _groups(user: int) -> set[int]:
    """The process's groups, and the user's as the system lists them now: one who was added to a
    group after logging in is a member too."""
    own = {os.getegid(), *os.getgroups()}
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return own
    return own | set(os.getgrouplist(entry.pw_name, entry.pw_gid))
