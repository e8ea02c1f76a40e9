"""Which job runs when, and what becomes of one that fails."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.errors import MisfitFound
from tableferry.executors import InlineExecutor
from tableferry.jobs import Jobs, Urgency


def same(argument: Any) -> Any:
    return argument


def fail(argument: Any) -> Any:
    raise MisfitFound(f"no {argument}")


def ignore(_: Any) -> None:
    pass


class Waiting(Executor):
    """Counts what was handed in and not yet done; a task is done when the next ones are in."""

    def __init__(self) -> None:
        self.pending: list[tuple[Future[Any], Any]] = []
        self.most = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.pending.append((future, args[0]))
        self.most = max(self.most, len(self.pending))
        if len(self.pending) == 3 or args[0] == "last":
            for done, argument in self.pending:
                done.set_result(argument)
            self.pending.clear()
        return future


def test_urgent_jobs_first_then_large_ones_then_in_order() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []
    for name, urgency, size in [
        ("finish", Urgency.FINISH, 9),
        ("small copy", Urgency.COPY, 1),
        ("digest", Urgency.DIGEST, 5),
        ("large copy", Urgency.COPY, 7),
        ("second large copy", Urgency.COPY, 7),
        ("survey", Urgency.SURVEY, 5),
        ("keys", Urgency.KEYS, 0),
        ("index", Urgency.INDEX, 0),
    ]:
        jobs.add(same, name, ran.append, urgency=urgency, size=size)
    jobs.run()
    assert ran == [
        "large copy",
        "second large copy",
        "survey",
        "small copy",
        "keys",
        "index",
        "digest",
        "finish",
    ]


@given(st.lists(st.tuples(st.sampled_from(list(Urgency)), st.integers(0, 5)), max_size=30))
def test_any_jobs_run_once_in_order(wanted: list[tuple[Urgency, int]]) -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[tuple[int, int, int]] = []
    for number, (urgency, size) in enumerate(wanted):
        jobs.add(same, (int(urgency), -size, number), ran.append, urgency=urgency, size=size)
    jobs.run()
    assert ran == sorted((int(u), -s, n) for n, (u, s) in enumerate(wanted))


def test_jobs_may_add_jobs() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []

    def again(number: int) -> None:
        ran.append(number)
        if number < 5:
            jobs.add(same, number + 1, again, urgency=Urgency.COPY)

    jobs.add(same, 1, again, urgency=Urgency.DIGEST)
    jobs.run()
    assert ran == [1, 2, 3, 4, 5]
    jobs.run()


def test_no_more_at_once_than_said() -> None:
    executor = Waiting()
    jobs = Jobs(executor, 3)
    done: list[Any] = []
    for number in range(8):
        jobs.add(same, number, done.append, urgency=Urgency.COPY)
    jobs.add(same, "last", done.append, urgency=Urgency.FINISH)
    jobs.run()
    assert executor.most == 3
    assert sorted(done, key=str) == [*range(8), "last"]


def test_withdrawn_jobs_do_not_run() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []
    for number in range(6):
        jobs.add(same, number, ran.append, urgency=Urgency.COPY, size=number)
    assert jobs.withdraw(lambda number: number % 2 == 0) == 3
    assert jobs.withdraw(lambda number: number > 100) == 0
    jobs.run()
    assert ran == [5, 3, 1]


def test_a_job_may_withdraw_others_while_running() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []

    def only(number: int) -> None:
        ran.append(number)
        jobs.withdraw(lambda _: True)

    for number in range(3):
        jobs.add(same, number, only, urgency=Urgency.COPY)
    jobs.run()
    assert ran == [0]


def test_a_failure_ends_all() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []
    jobs.add(fail, "good", ran.append, urgency=Urgency.COPY)
    jobs.add(same, "never", ran.append, urgency=Urgency.FINISH)
    with pytest.raises(MisfitFound, match="no good"):
        jobs.run()
    assert ran == []


def test_a_failure_may_be_dealt_with() -> None:
    jobs = Jobs(InlineExecutor(), 1)
    ran: list[Any] = []
    seen: list[Exception] = []
    jobs.add(fail, "good", ran.append, urgency=Urgency.COPY, failed=seen.append)
    jobs.add(same, "after", ran.append, urgency=Urgency.FINISH)
    jobs.run()
    assert [str(error) for error in seen] == ["no good"]
    assert ran == ["after"]


def test_a_handler_may_raise_again() -> None:
    def refuse(error: Exception) -> None:
        raise error

    jobs = Jobs(InlineExecutor(), 1)
    jobs.add(fail, "good", ignore, urgency=Urgency.COPY, failed=refuse)
    with pytest.raises(MisfitFound, match="no good"):
        jobs.run()


def test_no_jobs_are_done_at_once() -> None:
    Jobs(InlineExecutor(), 1).run()
