"""`timeout`: a map fails when its results are not there in time."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.clock import within
from tests.workers.support import BACKENDS, each_backend, make_pool
from tests.workers.synchronization import Event, Semaphore, Tally

SOON = 2  # seconds that a busy machine may need on top of a timeout
# Timeouts, one after the other where nothing starts in one on a busy machine.
LONGER = (0.1, 0.5, 2)


def run_map(pool, *args, **options):
    return pool.map(*args, **options)


def run_imap(pool, *args, **options):
    return list(pool.imap(*args, **options))


def run_imap_unordered(pool, *args, **options):
    return sorted(pool.imap(*args, ordered=False, **options))


each_run = pytest.mark.parametrize("run", [run_map, run_imap, run_imap_unordered])
each_kind = pytest.mark.parametrize("kind", [("serial", None), *((b, 2) for b in BACKENDS)])


def assert_times_out(call, seconds):
    began = time.monotonic()
    with within(seconds + SOON), pytest.raises(TimeoutError) as caught:
        call()
    assert type(caught.value) is TimeoutError
    assert time.monotonic() - began >= seconds
    return caught.value


@each_run
@each_kind
@pytest.mark.parametrize("timeout", [20, 20.0, np.float32(20), np.int64(20), 10**6])
def test_results_that_are_there_in_time(kind, run, timeout):
    pool = make_pool(kind)
    assert run(pool, abs, range(20), timeout=timeout) == list(range(20))
    assert run(pool, abs, iter(range(20)), timeout=timeout) == list(range(20))


@each_run
@each_kind
@pytest.mark.parametrize("timeout", [math.inf, 1e7, 1e12, 1e300])
def test_more_time_than_anyone_will_wait(kind, run, timeout):
    pool = make_pool(kind)
    assert run(pool, abs, range(20), timeout=timeout) == list(range(20))


@each_run
@pytest.mark.parametrize("np_", [1, 2, 3])
def test_processes_are_killed_in_the_middle_of_an_item(run, np_):
    def work(i):
        pids[i] = os.getpid()
        Event().wait()  # for ever, if nobody ends it

    pids = sharedarray.zeros(3, int)
    pool = MapReduce("process", np_)
    assert_times_out(lambda: run(pool, work, range(3), timeout=0.1), 0.1)
    for pid in pids[pids > 0].tolist():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert pool.map(abs, [-1]) == [1]


@each_run
def test_threads_end_the_items_that_they_run(threaded, run):
    def work(i):
        started.note(i)
        time.sleep(0.2)  # work
        ended.note(i)

    for timeout in LONGER:
        started, ended = Tally(100), Tally(100)
        assert_times_out(
            lambda timeout=timeout: run(threaded, work, range(100), timeout=timeout, chunksize=1),
            timeout,
        )
        assert started.n_done <= (2 + int(5 * timeout)) * threaded.np
        assert started.done() == ended.done()
        if started.n_done:
            break
    assert started.n_done >= 1
    assert threaded.map(abs, [-1]) == [1]


@each_run
@pytest.mark.parametrize("pool", [MapReduce("serial"), MapReduce(np=0)])
def test_the_caller_ends_the_item_that_it_runs(pool, run):
    def work(i):
        started.append(i)
        time.sleep(0.02)  # work

    for timeout in LONGER:
        started = []
        assert_times_out(
            lambda timeout=timeout: run(pool, work, range(1000), timeout=timeout), timeout
        )
        assert len(started) <= 100 * timeout
        if started:
            break
    assert started


@each_run
@each_kind
def test_slow_items_of_which_each_one_is_in_time(kind, run):
    pool = make_pool(kind)

    # The time is that of the whole map, not of one item.
    def work(i):
        time.sleep(0.02)  # work
        return i

    n_items = 50 * max(1, pool.np)
    assert_times_out(lambda: run(pool, work, range(n_items), timeout=0.2, chunksize=1), 0.2)


@each_run
@each_kind
def test_infinite_generator(kind, run):
    pool = make_pool(kind)
    # Results keep coming, and there is always one more item.
    assert_times_out(lambda: run(pool, abs, itertools.count(), timeout=0.1), 0.1)
    assert pool.map(abs, [-1]) == [1]


@each_run
@each_kind
@pytest.mark.parametrize("items", [lambda: range(200), itertools.count], ids=["sequence", "all"])
def test_slow_reduce(kind, run, items):
    # There is always a result, but the map is not done in time.
    def reduce(i):
        time.sleep(0.01)  # the user's work
        return i

    pool = make_pool(kind)
    assert_times_out(lambda: run(pool, abs, items(), reduce, chunksize=1, timeout=0.1), 0.1)


@each_run
@each_kind
def test_slow_generator(kind, run):
    pool = make_pool(kind)

    def generate():
        for i in itertools.count():
            time.sleep(0.02)  # the user's work
            yield i

    assert_times_out(lambda: run(pool, abs, generate(), timeout=0.1), 0.1)


@each_run
@each_kind
def test_no_time_at_all(kind, run):
    pool = make_pool(kind)

    def work(i):
        time.sleep(0.05)  # work
        return i

    assert_times_out(lambda: run(pool, work, range(5), timeout=0), 0)
    assert_times_out(lambda: run(pool, work, iter(range(5)), timeout=0.0), 0)
    assert run(pool, work, [], timeout=0) == []
    assert pool.map(abs, [-1]) == [1]


@each_backend
def test_workers_that_wait_for_each_other_are_given_up_too(backend):
    def is_given_up_while_one_waits(timeout):
        def work(i):
            if i == 0:
                if waiting.acquire(1):
                    met.set()
                time.sleep(timeout + 0.2)  # work, longer than there is time
                return
            waiting.release()
            with pool.ordered:
                pytest.fail("has its turn before item 0 has ended")

        waiting, met = Semaphore(), Event()
        assert_times_out(lambda: pool.map(work, range(20), timeout=timeout, chunksize=1), timeout)
        return met.is_set()

    pool = MapReduce(backend, 2)
    assert any(is_given_up_while_one_waits(timeout) for timeout in LONGER)
    assert pool.map(abs, [-1]) == [1]


@each_kind
def test_the_time_of_imap_runs_from_the_first_result_asked_for(kind):
    pool = make_pool(kind)
    for timeout in LONGER:
        results = pool.imap(abs, range(5), timeout=timeout)
        time.sleep(1.5 * timeout)  # the caller's own business
        with contextlib.suppress(TimeoutError):
            assert next(results) == 0
            break
    else:
        pytest.fail("the time is over when the first result is asked for")


def test_failure_in_time_is_no_timeout(pool):
    with pytest.raises(WorkerException):
        pool.map(lambda i: 1 // 0, range(5), timeout=20)


def test_the_message_names_the_time(pool):
    error = assert_times_out(
        lambda: pool.map(lambda _: time.sleep(0.1), range(50), timeout=0.05), 0.05
    )
    assert "0.05" in str(error)


@each_kind
@pytest.mark.parametrize("timeout", [-1, -0.001, -math.inf, math.nan, np.float64("nan")])
def test_what_is_no_time(kind, timeout):
    pool, started = make_pool(kind), Tally(3)
    for run in (pool.map, pool.imap):
        for sequence in ([], range(3)):
            with pytest.raises(ValueError, match="timeout"):
                run(started.note, sequence, timeout=timeout)
    assert started.n_done == 0


@each_kind
@pytest.mark.parametrize("timeout", ["5", "soon", b"5", [5], (), {}, object(), 1j])
def test_what_is_no_number(kind, timeout):
    pool, started = make_pool(kind), Tally(3)
    for run in (pool.map, pool.imap):
        for sequence in ([], range(3)):
            with pytest.raises(TypeError):
                run(started.note, sequence, timeout=timeout)
    assert started.n_done == 0


def test_debug_mode_has_timeouts_too():
    sharedarray.set_debug(True)
    pool = MapReduce("process", 2)
    assert_times_out(lambda: pool.map(lambda _: time.sleep(0.02), range(1000), timeout=0.1), 0.1)
