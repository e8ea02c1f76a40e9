"""The thread that waits for interrupts, in processes whose main thread does as the test says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """
import sys, threading, time
from tableferry import interrupts
cancelled = threading.Event()
watch = interrupts.Watch("Farewell.")
class Owner:
    def cancel(self):
        sys.stdout.write("cancelled\\n")
        cancelled.set()
owner = Owner()
interrupts.cancelling(owner.cancel)
watch.begin()
class Dying:
    def __del__(self):
        sys.stdout.write("begun\\n")
        time.sleep(20)
try:
    {body}
except KeyboardInterrupt:
    # It is called in a thread of its own, which may begin late.
    cancelled.wait(1)
    {cleaning}
watch.end()
sys.stdout.write("over\\n")
{after}
sys.exit(7)
"""


@contextmanager
def running(
    cleaning: str,
    after: str = "",
    before: Callable[[], object] | None = None,
    body: str = "sys.stdout.write('begun\\n'); time.sleep(20)",
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", PROGRAM.format(cleaning=cleaning, after=after, body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before or (lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str], str, float]:
    """Exit code, the lines that it printed, in no order, what it complained of, and seconds."""
    began = time.monotonic()
    out, err = process.communicate(timeout=15)
    return process.returncode, sorted(out.splitlines()), err, time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_is_raised_in_the_main_thread(number: signal.Signals) -> None:
    with running("pass") as process:
        process.send_signal(number)
        code, lines, err, seconds = ended(process)

    assert (code, lines, err) == (7, ["cancelled", "over"], "")
    assert seconds < 1


def test_who_does_not_end_is_ended() -> None:
    with running("time.sleep(20)") as process:
        process.send_signal(signal.SIGINT)
        code, lines, err, seconds = ended(process)

    assert (code, lines, err) == (130, ["cancelled"], "Farewell.\n")
    assert 1 < seconds < 2


def test_a_second_one_ends_at_once() -> None:
    with running("time.sleep(20)") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.6)
        process.send_signal(signal.SIGTERM)
        code, _, err, seconds = ended(process)

    assert (code, err) == (130, "Farewell.\n")
    assert seconds < 0.5


def test_two_of_one_moment_are_one() -> None:
    """As of a terminal that is closed."""
    with running("time.sleep(0.8)") as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        code, lines, err, _ = ended(process)

    assert (code, lines, err) == (7, ["cancelled", "over"], "")


def test_what_takes_its_time_is_waited_for_and_named() -> None:
    with running(
        "with interrupts.taking_time('A server is being stopped.'): time.sleep(2.5)"
    ) as process:
        process.send_signal(signal.SIGINT)
        code, lines, err, seconds = ended(process)

    assert (code, lines) == (7, ["cancelled", "over"])
    assert err == "A server is being stopped. Ctrl-C ends this at once.\n"
    assert seconds > 2


def test_what_takes_its_time_ends_at_a_second_one() -> None:
    with running("with interrupts.taking_time('Waits.'): time.sleep(20)") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(2.2)
        process.send_signal(signal.SIGINT)
        code, _, err, seconds = ended(process)

    assert (code, err) == (130, "Waits. Ctrl-C ends this at once.\nFarewell.\n")
    assert seconds < 0.5


def test_what_is_to_be_undone_is_undone_without_unwinding() -> None:
    undone = "with interrupts.undone(lambda: sys.stdout.write('undone\\n')): time.sleep(20)"
    with running(undone) as process:
        process.send_signal(signal.SIGINT)
        code, lines, _, _ = ended(process)

    assert (code, lines) == (130, ["cancelled", "undone"])


def test_nothing_comes_after_the_end() -> None:
    with running("pass", after="time.sleep(1)") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while process.stdout.readline() != "over\n":
            pass
        process.send_signal(signal.SIGINT)
        code, _, err, _ = ended(process)

    assert (code, err) == (7, "")


def test_one_that_is_ignored_stays_so() -> None:
    def ignoring() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    with running("pass", before=ignoring) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 7


def test_one_that_nobody_can_catch() -> None:
    """It is raised while an object is taken apart, and not shown; then the thread ends it all."""
    with running("pass", body="Dying(); time.sleep(20)") as process:
        process.send_signal(signal.SIGINT)
        code, _, err, seconds = ended(process)

    assert (code, err) == (130, "Farewell.\n")
    assert seconds < 2
