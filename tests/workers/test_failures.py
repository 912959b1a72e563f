"""Which exception the caller gets for an item that fails, and what the other workers do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

import pytest

import sharedarray
from sharedarray import LostExceptionType, MapReduce, StopProcessGroup, WorkerException
from tests.workers.clock import within
from tests.workers.support import each_backend
from tests.workers.synchronization import Barrier, Event, Semaphore, Tally


class CustomBaseError(BaseException):
    pass


class NeedsTwoError(Exception):
    def __init__(self, a, b):
        super().__init__("two")


class OwnReduceError(Exception):
    def __reduce__(self):
        raise SystemExit("no pickle")


class ChangesClassError(Exception):
    def __reduce__(self):
        return ValueError, ("another one",)


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


ERRORS = [
    ValueError("v"),
    OSError(2, "gone"),
    KeyError(("a", 1)),
    StopIteration(3),
    StopAsyncIteration(),
    MemoryError(),
    SystemExit(3),
    SystemExit(0),
    SystemExit("message"),
    SystemExit(),
    GeneratorExit("g"),
    asyncio.CancelledError(),
    CustomBaseError("c"),
    WorkerException(ValueError("inner"), "inner traceback"),
    ExceptionGroup("many", [ValueError("first"), TypeError("second")]),
    BaseExceptionGroup("many", [KeyboardInterrupt(), TypeError("second")]),
    UnprintableError(),
    StopProcessGroup("the user's own"),
]


class LocalError(Exception):
    pass


LocalError.__qualname__ = "nowhere.LocalError"

# What processes cannot pass on as it is.
LOST = [
    NeedsTwoError(1, 2),
    OwnReduceError(4),
    ChangesClassError(5),
    LocalError(6),
    ValueError(lambda: 7),
]


def fail(error):
    raise error  # where fail() raises


@pytest.mark.parametrize("error", [*ERRORS, *LOST], ids=lambda e: type(e).__name__)
def test_whatever_an_item_raises_is_the_reason(sharing, error):
    with pytest.raises(WorkerException) as caught:
        sharing.map(lambda i: fail(error) if i == 3 else i, range(10))
    assert type(caught.value) is WorkerException
    assert caught.value.reason is error
    assert caught.value.__cause__ is error
    assert sharing.map(abs, range(100)) == list(range(100))


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_an_item_raises_travels_from_a_process(forked, error):
    with pytest.raises(WorkerException) as caught:
        forked.map(lambda i: fail(error) if i == 3 else i, range(10))
    assert type(caught.value) is WorkerException
    reason = caught.value.reason
    assert type(reason) is type(error)
    assert reprs(reason.args) == reprs(error.args)
    assert caught.value.__cause__ is reason
    assert forked.map(abs, range(100)) == list(range(100))


def reprs(args):
    """Return arguments of an exception for comparison: exceptions among them have no equality."""
    return [repr(arg) for arg in args]


@pytest.mark.parametrize("error", LOST, ids=lambda e: type(e).__name__)
def test_what_does_not_travel_is_told_with_a_warning(forked, error):
    with (
        pytest.warns(LostExceptionType, match=type(error).__name__) as warned,
        pytest.raises(WorkerException) as caught,
    ):
        forked.map(lambda i: fail(error) if i == 3 else i, range(10))
    lost = [warning.filename for warning in warned if warning.category is LostExceptionType]
    assert lost == [__file__], "the line of the caller"
    reason = caught.value.reason
    assert type(reason) is Exception
    assert type(error).__name__ in str(reason)
    assert str(error) in str(reason)
    assert caught.value.__cause__ is reason
    assert "# where fail() raises" in caught.value.traceback
    assert forked.map(abs, range(100)) == list(range(100))


def test_keyboard_interrupt_of_an_item_is_no_ctrl_c(parallel):
    with pytest.raises(WorkerException) as caught:
        parallel.map(fail, [KeyboardInterrupt("of an item")])
    assert repr(caught.value.reason) == "KeyboardInterrupt('of an item')"


@pytest.mark.parametrize("code", [0, 1, 3, "msg", None])
def test_exit_code_is_kept(pool, code):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda _: sys.exit(code), [1])
    assert caught.value.reason.code == code


@pytest.mark.parametrize("k", [0, 4, 9])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_any_item_may_fail(pool, k, chunksize):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: 1 // (i - k), range(10), chunksize=chunksize)
    assert isinstance(caught.value.reason, ZeroDivisionError)


def test_every_item_fails(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: 1 // 0, range(100))
    assert isinstance(caught.value.reason, ZeroDivisionError)


# what the others do


@each_backend
@pytest.mark.parametrize("chunksize", [None, 1, 500])
def test_other_workers_stop_at_the_next_item(backend, chunksize):
    def work(i):
        started.note(i)
        if i == 0:
            other_runs.wait()
            raise ValueError
        other_runs.set()
        time.sleep(0.005)  # work: all of it would take 5 seconds

    started, other_runs = Tally(1000), Event()
    with within(2), pytest.raises(WorkerException):
        MapReduce(backend, 2).map(work, range(1000), chunksize=chunksize)
    assert started.n_done < 100


@each_backend
def test_nobody_starts_an_item_while_reduce_keeps_the_coordinator(backend):
    def work(i):
        started.note(i)
        if i == 1:
            in_reduce.wait()
            failing.set()
            raise ValueError
        if i > 1:
            failing.wait()
            time.sleep(0.001)  # work
        if started.n_done > 60:
            too_many.set()

    def reduce(_):
        in_reduce.set()
        too_many.wait(0.3)  # in vain, where a failure stops the others at once

    started, in_reduce, failing, too_many = Tally(1000), Event(), Event(), Event()
    with pytest.raises(WorkerException):
        MapReduce(backend, 2).map(work, range(1000), reduce, chunksize=1)
    assert not too_many.is_set()


def test_map_returns_after_the_last_thread_has_ended():
    def work(i):
        if i == 0:
            running.wait()
            raise ValueError
        running.set()
        time.sleep(0.05)  # work
        ended.append(i)

    running, ended = Event(), []
    with pytest.raises(WorkerException):
        MapReduce("thread", 2).map(work, range(2))
    assert ended == [1]


def test_processes_are_gone_when_map_raises():
    def work(i):
        pids[i] = os.getpid()
        running.release()
        if i == 0:
            for _ in range(3):
                running.acquire()
            raise ValueError
        Event().wait()  # for ever, if nobody ends it
        ended.set()

    pids, running, ended = sharedarray.zeros(3, int), Semaphore(), Event()
    with pytest.raises(WorkerException):
        MapReduce("process", 3).map(work, range(3), chunksize=1)
    for pid in pids.tolist():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not ended.is_set()


@each_backend
def test_several_failures_give_one_exception(backend):
    barrier = Barrier(3)

    def work(i):
        barrier.wait()
        raise ValueError(i)

    with pytest.raises(WorkerException) as caught:
        MapReduce(backend, 3).map(work, range(3))
    assert caught.value.reason.args[0] in range(3)


def test_no_item_starts_after_map_has_raised(parallel):
    started = Tally(1000)

    def work(i):
        started.note(i)
        raise ValueError

    with pytest.raises(WorkerException):
        parallel.map(work, range(1000))
    n_started = started.n_done
    with contextlib.suppress(WorkerException):
        parallel.map(fail, [ValueError()] * 100)
    assert started.n_done == n_started <= parallel.np
