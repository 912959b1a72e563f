"""`background` and `background_by_thread`: what comes back, and when."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time

import numpy as np
import pytest

import sharedarray
from sharedarray import LostExceptionType, MapReduce, WorkerException
from sharedarray.workers.background import BackgroundThread, background, background_by_thread
from sharedarray.workers.transport import INLINE_MAX_NBYTES
from tests.workers.clock import within
from tests.workers.support import in_threads
from tests.workers.synchronization import Event

STARTS = [background, background_by_thread] if hasattr(os, "fork") else [background_by_thread]
SOON = 2  # seconds

each_start = pytest.mark.parametrize("start", STARTS)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


def until_done(call):
    deadline = time.monotonic() + 20
    while not call.done():
        assert time.monotonic() < deadline, "it never ends"
    return call


# results


@each_start
def test_any_name_of_an_argument_is_the_functions_own(start):
    def work(*args, **kwargs):
        return args, kwargs

    names = ("function", "self", "timeout", "backend", "args", "np")
    call = start(work, 1, 2, **dict.fromkeys(names, 3))
    assert call.wait() == ((1, 2), dict.fromkeys(names, 3))


@each_start
def test_closures_and_arguments_need_not_pickle(start):
    lock = threading.Lock()
    assert start(lambda other: lock is other, lock).wait() is True


@forks
def test_it_runs_in_another_process_and_changes_only_shared_arrays():
    shared, private = sharedarray.zeros(2), np.zeros(2)

    def work():
        shared[:] = private[:] = 7
        return os.getpid()

    assert background(work).wait() != os.getpid()
    assert shared.tolist() == [7, 7]
    assert private.tolist() == [0, 0]


def test_the_thread_is_one_of_this_process():
    pid, thread = background_by_thread(lambda: (os.getpid(), threading.get_ident())).wait()
    assert pid == os.getpid()
    assert thread != threading.get_ident()


@each_start
def test_it_runs_beside_the_caller(start):
    here, there = Event(), Event()

    def work():
        there.set()
        return here.wait()

    call = start(work)
    assert there.wait()
    assert not call.done()
    assert call.running()
    here.set()
    assert call.wait() is True
    assert call.done()
    assert not call.running()


@each_start
def test_many_at_once(start):
    calls = [start(np.square, i) for i in range(101)]
    assert [int(call.wait()) for call in reversed(calls)] == [i * i for i in range(100, -1, -1)]


@forks
@pytest.mark.parametrize(
    "size", [0, 1, INLINE_MAX_NBYTES - 1, INLINE_MAX_NBYTES, INLINE_MAX_NBYTES + 1, 20_000_003]
)
def test_the_child_ends_though_nobody_reads_its_result(size):
    read, write = os.pipe()
    call = background(np.arange, size, dtype="u1")
    pid = call._child._members[0].process.pid
    os.close(write)
    # WNOWAIT: it stays a zombie until its result is asked for.
    deadline = time.monotonic() + 20
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        assert time.monotonic() < deadline, "the child waits to be read"
    os.close(read)
    np.testing.assert_array_equal(call.wait(), np.arange(size, dtype="u1"))


@each_start
@pytest.mark.parametrize("size", [0, 1, 100, 1 << 18])
def test_a_shared_array_that_it_made_is_adopted(start, size):
    a = start(sharedarray.arange, size, dtype=float).wait()
    assert type(a) is sharedarray.SharedArray
    np.testing.assert_array_equal(a, np.arange(size, dtype=float))
    MapReduce(np=1).map(a.fill, [3.0])
    assert (a == 3).all()


@each_start
def test_a_second_wait_gives_the_same(start):
    call = start(np.zeros, 5)
    assert call.wait() is call.wait() is call.result()
    assert call.exception() is None


@each_start
def test_several_threads_wait_for_one_call(start):
    go = Event()

    def work():
        go.wait()
        return [1]

    call = start(work)
    *results, _ = in_threads(call.wait, call.wait, call.wait, go.set)
    assert results == [[1]] * 3
    assert results[0] is results[1] is results[2]


@each_start
def test_it_runs_in_a_copy_of_the_callers_context(start):
    with np.errstate(divide="raise"), sharedarray.num_workers(3):
        call = start(lambda: (np.geterr()["divide"], sharedarray.cpu_count()))
    assert call.wait() == ("raise", 3)


@forks
def test_each_child_draws_random_numbers_of_its_own():
    draws = [background(np.random.random).wait() for _ in range(3)]
    assert len(set(draws)) == 3


# exceptions


class UnpicklableError(Exception):
    def __reduce__(self):
        raise RuntimeError("not to be pickled")


@each_start
@pytest.mark.parametrize(
    "error", [KeyError("k"), SystemExit(3), KeyboardInterrupt(), TimeoutError()]
)
def test_an_exception_keeps_its_type(start, error):
    def work():
        raise error

    call = start(work)
    with pytest.raises(WorkerException) as caught:
        call.wait()
    assert type(caught.value) is WorkerException
    assert type(caught.value.reason) is type(error)
    assert caught.value.reason.args == error.args
    assert caught.value.__cause__ is caught.value.reason
    assert "in work" in caught.value.traceback
    with pytest.raises(WorkerException) as again:
        call.result(0)
    assert again.value is caught.value is call.exception()


@forks
def test_an_exception_that_does_not_pickle_is_told_by_the_first_wait():
    def work():
        raise UnpicklableError("text")

    call = background(work)
    with (
        pytest.warns(LostExceptionType, match="UnpicklableError"),
        pytest.raises(WorkerException) as e,
    ):
        call.wait()
    assert type(e.value.reason) is Exception
    assert "text" in str(e.value)
    assert type(call.exception()) is WorkerException  # warnings are errors


@forks
@pytest.mark.parametrize("make", [lambda: lambda: 0, threading.Lock], ids=["lambda", "lock"])
def test_a_result_that_does_not_pickle(make):
    with pytest.raises(WorkerException, match="pickle"):
        background(make).wait()


# time


@each_start
def test_a_wait_that_was_too_short_can_be_repeated(start):
    go = Event()
    call = start(go.wait)
    for timeout in (0, -1, 0.05):  # a negative one is over, as for a Future
        began = time.monotonic()
        with within(timeout + SOON), pytest.raises(TimeoutError, match=str(timeout)) as caught:
            call.wait(timeout)
        assert time.monotonic() - began >= timeout
        assert type(caught.value) is TimeoutError
    with pytest.raises(TimeoutError):
        call.exception(0)
    go.set()
    assert call.wait(1e300) is True


@each_start
@pytest.mark.parametrize(
    ("timeout", "error"), [(float("nan"), ValueError), ("-1", TypeError), (1j, TypeError)]
)
def test_what_is_no_time(start, timeout, error):
    call = start(abs, -1)
    for ask in (call.wait, call.result, call.exception):
        with pytest.raises(error, match="timeout"):
            ask(timeout)
    assert call.wait() == 1


@each_start
@pytest.mark.parametrize("function", [None, 3, "abs"])
def test_what_is_no_function(start, function, fork_calls):
    with pytest.raises(TypeError, match="callable"):
        start(function)
    assert fork_calls == []


# cancelling


@forks
def test_cancel_ends_the_process():
    started, never = Event(), Event()
    call = background(lambda: (started.set(), never.wait(60)))
    assert started.wait()
    assert not call.cancelled()
    with within(SOON):
        assert call.cancel()
    assert call.done()
    assert call.cancelled()
    assert call.cancel()
    for ask in (call.wait, call.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()


@forks
def test_cancel_ends_the_wait_of_another_thread():
    started, never = Event(), Event()
    call = background(lambda: (started.set(), never.wait(60)))

    def wait():
        with pytest.raises(concurrent.futures.CancelledError):
            call.wait()
        return True

    def cancel():
        assert started.wait()
        return call.cancel()

    assert in_threads(wait, wait, cancel) == [True, True, True]


@each_start
def test_what_has_ended_is_not_cancelled(start):
    call = until_done(start(abs, -2))
    assert not call.cancel()
    assert not call.cancelled()
    assert call.wait() == 2


def test_a_thread_is_not_cancelled():
    go = Event()
    call = background_by_thread(go.wait)
    assert not call.cancel()
    go.set()
    assert call.wait() is True


# of concurrent.futures


def test_the_thread_form_is_a_future():
    calls = [background_by_thread(pow, 2, n) for n in range(5)]
    assert all(isinstance(call, concurrent.futures.Future) for call in calls)
    done, not_done = concurrent.futures.wait(calls, 20)
    assert (len(done), len(not_done)) == (5, 0)
    assert {call.result() for call in concurrent.futures.as_completed(calls)} == {1, 2, 4, 8, 16}
    heard = []
    calls[0].add_done_callback(heard.append)
    assert heard == calls[:1]


@forks
def test_the_process_form_does_not_pretend_to_be_one():
    call = background(abs, -1)
    assert not isinstance(call, concurrent.futures.Future)
    with pytest.raises(AttributeError):
        concurrent.futures.wait([call])
    assert call.wait() == 1


# around


@each_start
def test_debug_mode_runs_at_once_in_the_caller(start, fork_calls):
    sharedarray.set_debug(True)
    call = start(threading.get_ident)
    assert call.done()
    assert call.wait() == call.result(0) == threading.get_ident()
    assert not call.cancel()
    assert not call.cancelled()
    assert call.exception() is None
    with pytest.raises(ZeroDivisionError):
        start(lambda: 1 // 0)
    assert fork_calls == []


@each_start
@pytest.mark.parametrize("backend", ["process", "thread"])
def test_inside_a_worker(start, backend):
    def work(i):
        inner = [start(MapReduce(backend, 2).map, abs, [-i, i]) for _ in range(2)]
        return [call.wait() for call in inner]

    assert MapReduce(backend, 2).map(work, range(3)) == [[[i, i]] * 2 for i in range(3)]


@each_start
def test_inside_another_call(start):
    assert start(lambda: start(lambda: start(abs, -3).wait()).wait()).wait() == 3


def test_a_thread_outlives_the_map_that_it_was_started_in():
    go, calls = Event(), []

    def later():
        go.wait()
        return MapReduce("thread", 2).map(abs, [-1, -2])

    def work(i):
        calls.append(background_by_thread(later))
        raise ValueError

    with pytest.raises(WorkerException):
        MapReduce("thread", 1).map(work, range(1))
    go.set()
    assert calls.pop().wait() == [1, 2]


def test_a_thread_that_cannot_start_leaves_nothing(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    go = Event()
    busy = [background_by_thread(go.wait) for _ in range(40)]  # all that are kept
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="thread"):
        background_by_thread(abs, -1)
    go.set()
    assert all(call.wait() for call in busy)
    assert isinstance(busy[0], BackgroundThread)
