"""Which job runs when, and what becomes of one that fails."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tableferry.errors import MisfitFound
from tableferry.executors import InlineExecutor
from tableferry.jobs import Access, Jobs, Urgency


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


def test_each_job_that_has_ended_is_recorded_before_what_follows_it() -> None:
    told: list[tuple[Any, ...]] = []

    def record(argument: Any, future: Future[Any], about: str) -> None:
        told.append((argument, future.exception() is None, about))

    jobs = Jobs(InlineExecutor(), 1, record=record)
    jobs.add(same, "good", told.append, urgency=Urgency.COPY, about="t")
    jobs.add(fail, "bad", ignore, urgency=Urgency.DIGEST, failed=ignore)
    jobs.add(fail, "worse", ignore, urgency=Urgency.FINISH, about="u")
    with pytest.raises(MisfitFound):
        jobs.run()
    assert told == [("good", True, "t"), "good", ("bad", False, ""), ("worse", False, "u")]


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


# ---- a target that one at a time can write ----------------------------------------------------

READ, WRITE, NONE = Access.READ, Access.WRITE, Access.NONE
JOBS = st.lists(
    st.tuples(st.sampled_from(list(Access)), st.sampled_from(list(Urgency)), st.integers(0, 3)),
    max_size=25,
)


class Steps(Executor):
    """Holds jobs until it is told which of them is done; remembers what ran beside what."""

    def __init__(self) -> None:
        self.running: dict[Future[Any], Any] = {}
        self.beside: list[tuple[Access, ...]] = []
        self.order: list[Any] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.running[future] = args[0]
        self.order.append(args[0])
        self.beside.append(tuple(argument[0] for argument in self.running.values()))
        return future


def stepping(executor: Steps, choose: Any) -> Any:
    """Stands in for concurrent.futures.wait: one job of those running is done."""

    def wait(futures: Any, return_when: str) -> tuple[set[Future[Any]], set[Future[Any]]]:
        done = choose(list(futures))
        done.set_result(executor.running.pop(done))
        return {done}, set(futures) - {done}

    return wait


@given(JOBS, st.integers(1, 4), st.randoms(use_true_random=False))
def test_one_writer_and_no_reader_beside_it(
    wanted: list[tuple[Access, Urgency, int]], at_once: int, random: Any
) -> None:
    executor = Steps()
    jobs = Jobs(executor, at_once, lambda argument: argument[0])
    done: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tableferry.jobs.wait", stepping(executor, random.choice))
        for number, (access, urgency, size) in enumerate(wanted):
            jobs.add(same, (access, number), done.append, urgency=urgency, size=size)
        jobs.run()
    assert sorted(number for _, number in done) == list(range(len(wanted)))
    for beside in executor.beside:
        assert len(beside) <= at_once
        if WRITE in beside:
            assert beside.count(WRITE) == 1
            assert READ not in beside


def started(jobs: Jobs, executor: Steps, *wanted: tuple[Access, Urgency]) -> list[int]:
    """The numbers of the jobs in the order in which they start, the oldest ending first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tableferry.jobs.wait", stepping(executor, lambda running: running[0]))
        for number, (access, urgency) in enumerate(wanted):
            jobs.add(same, (access, number), ignore, urgency=urgency)
        jobs.run()
    return [number for _, number in executor.order]


def test_who_writes_goes_first() -> None:
    executor = Steps()
    order = started(
        Jobs(executor, 1, lambda argument: argument[0]),
        executor,
        (NONE, Urgency.COPY),
        (READ, Urgency.COPY),
        (WRITE, Urgency.FINISH),
        (WRITE, Urgency.COPY),
    )
    assert order == [2, 3, 0, 1]


def test_what_has_to_wait_is_passed_and_not_forgotten() -> None:
    executor = Steps()
    order = started(
        Jobs(executor, 3, lambda argument: argument[0]),
        executor,
        (WRITE, Urgency.KEYS),
        (WRITE, Urgency.KEYS),
        (READ, Urgency.KEYS),
        (NONE, Urgency.FINISH),
        (NONE, Urgency.FINISH),
    )
    # Beside the first writer, those that do not touch the target; readers after all writers.
    assert order == [0, 3, 4, 1, 2]


def test_readers_read_side_by_side() -> None:
    executor = Steps()
    started(
        Jobs(executor, 3, lambda argument: argument[0]), executor, *([(READ, Urgency.DIGEST)] * 3)
    )
    assert executor.beside[-1] == (READ, READ, READ)


def test_without_a_rule_writers_write_side_by_side() -> None:
    executor = Steps()
    started(Jobs(executor, 3), executor, *([(WRITE, Urgency.COPY)] * 3))
    assert executor.beside[-1] == (WRITE, WRITE, WRITE)
