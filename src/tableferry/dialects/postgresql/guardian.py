"""The process that stops a private server whose users were all killed. Run as a script, by path.

    python guardian.py DIR PID

PID is the server's, started in DIR/data; DIR/lock and DIR/users are as in embedded.py, whose
processes stop the server themselves when they end. It imports nothing but small modules of Python's
own, leaves the process that starts it at once, and ends when the server does.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import sys

# Milliseconds between two looks at who uses the server.
_LOOK = 500


def guard(directory: int, server: int) -> None:
    """``directory`` is a descriptor of DIR, which may be moved meanwhile; ``server`` one of the
    process."""
    lock, users = (os.open(name, os.O_RDWR, dir_fd=directory) for name in ("lock", "users"))
    ended = select.poll()
    ended.register(server, select.POLLIN)
    while not ended.poll(_LOOK):
        # In the order in which all others take them.
        if not _taken(lock):
            continue
        if _taken(users):
            signal.pidfd_send_signal(server, signal.SIGINT)
            ended.poll()
            _sweep(directory)
            return
        fcntl.flock(lock, fcntl.LOCK_UN)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(directory: int) -> None:
    """The folder of the socket that nobody listens on any more."""
    try:
        folder = os.readlink("run", dir_fd=directory)
    except FileNotFoundError:
        return
    shutil.rmtree(folder, ignore_errors=True)
    os.unlink("run", dir_fd=directory)


if __name__ == "__main__":
    opened = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY), os.pidfd_open(int(sys.argv[2]))
    # To nobody's child, whom nobody has to wait for.
    if os.fork() == 0:
        os.chdir("/")
        guard(*opened)
