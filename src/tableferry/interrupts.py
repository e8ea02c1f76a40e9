"""Ctrl-C, SIGTERM and a terminal that is closed: a first one ends the command within two seconds, a
second one at once.

    watch = Watch("What to say where nothing else can be said any more.")
    watch.begin()       # from here on KeyboardInterrupt may be raised in the main thread, once
    ...
    watch.end()         # no more

A thread waits for these signals, which every other thread blocks. A handler of Python's would wait
for the end of a call into C, and ADBC takes SIGINT for itself during one: what it interrupts then
fails like any statement, and what it cannot, goes on. The thread cancels what the main thread may
be waiting for, and raises KeyboardInterrupt there. Where the main thread has not ended the process
soon, the thread does.

Processes that are started meanwhile inherit that these signals are blocked. What becomes of them
is the coordinator's to say, and a terminal sends its signals to all of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from weakref import WeakMethod

from tableferry.errors import EXIT_INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the thread sends to the main thread: nothing else in the process uses it.
_POKE = signal.SIGUSR1

# Seconds. What the main thread has to end the command in; signals that are one to whoever sent
# them (a terminal that closes sends several); how long modules are waited for; a look at whether
# more time is due.
_GRACE = 1.5
_ONE = 0.3
_LOADING = 1.0
_LOOK = 0.1

_cancels: set[WeakMethod[Callable[[], Any]]] = set()
_undone: list[Callable[[], None]] = []
_patience: list[str] = []


def cancelling(cancel: Callable[[], Any]) -> None:
    """From now on, an interrupt calls ``cancel``, a method of an object, in a thread of its own, as
    long as the object is there."""
    _cancels.add(WeakMethod(cancel, _cancels.discard))


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Where the process is ended meanwhile without unwinding, ``undo`` is called before."""
    _undone.append(undo)
    try:
        yield
    finally:
        _undone.remove(undo)


@contextlib.contextmanager
def taking_time(sentence: str) -> Iterator[None]:
    """What is done here is waited for after a first interrupt, and ``sentence`` says what it is."""
    _patience.append(sentence)
    try:
        yield
    finally:
        _patience.remove(sentence)


class Watch:
    """For the main thread of a command. ``farewell`` is said on standard error where the process
    has to be ended from outside the main thread."""

    def __init__(self, farewell: str) -> None:
        self.arrived = False
        self._farewell = farewell
        self._over = False
        self._loaded = threading.Event()
        self._main = threading.main_thread().ident
        # Those that whoever started us has us ignore: nohup does, and a shell for its background.
        self._signals = [s for s in SIGNALS if signal.getsignal(s) is not signal.SIG_IGN]

    def begin(self, *, loading: bool = False) -> None:
        """``loading``: nothing is raised before loaded() is called. An exception that comes while a
        module is imported may be lost, in C code that takes every one for its own."""
        if not loading:
            self.loaded()
        signal.signal(_POKE, self._raise)
        sys.unraisablehook = _quietly
        # Those to be ignored, too, of which ADBC does not know that.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._watch, daemon=True).start()

    def loaded(self) -> None:
        """What is imported takes no more time."""
        self._loaded.set()

    def end(self) -> None:
        """Nothing is raised any more. The signals stay blocked: the process is about to end."""
        self._over = True

    def told(self) -> None:
        """The user knows."""
        self._farewell = ""

    def _raise(self, number: int, frame: FrameType | None) -> None:
        if not self._over:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        signal.sigwait(self._signals)
        if self._over:
            return
        self.arrived = True
        began = time.monotonic()
        self._loaded.wait(_LOADING)
        for reference in tuple(_cancels):
            if (cancel := reference()) is not None:
                threading.Thread(target=_tried, args=(cancel,), daemon=True).start()
        assert self._main is not None
        signal.pthread_kill(self._main, _POKE)
        said: list[str] = []
        while time.monotonic() < began + _GRACE or _patience:
            again = signal.sigtimedwait(self._signals, _LOOK)
            if again is not None and time.monotonic() > began + _ONE:
                break
            if time.monotonic() > began + _GRACE and _patience and _patience[-1] not in said:
                said.append(_patience[-1])
                _say(f"{said[-1]} Ctrl-C ends this at once.")
        self._leave()

    def _leave(self) -> None:
        """Without unwinding: processes that were started end with their pipes, and the server's
        sessions with theirs."""
        for undo in tuple(_undone):
            thread = threading.Thread(target=_tried, args=(undo,), daemon=True)
            thread.start()
            # What it needs may be held by the main thread, for ever.
            thread.join(_LOOK)
        _say(self._farewell)
        os._exit(EXIT_INTERRUPTED)


def _tried(call: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):
        call()


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        # Back at the start of a line that is empty, with a cursor.
        clear = "\r\x1b[2K\x1b[?25h" if os.isatty(2) else ""
        os.write(2, f"{clear}{text}\n".encode() if text else clear.encode())


def _quietly(unraisable: Any) -> None:
    """Nobody can catch a KeyboardInterrupt that is raised while an object is taken apart; then the
    thread ends the process."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
