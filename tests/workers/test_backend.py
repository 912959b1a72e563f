"""Worker threads: they live on between maps, hold nothing, and none is lost."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from contextvars import ContextVar

import numpy as np
import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import NAME, in_threads, run_script, worker_threads


@pytest.fixture
def started(monkeypatch):
    """Names of the worker threads that are started during the test."""
    names = []
    start = threading.Thread.start

    def note(thread):
        if thread.name.startswith(NAME):
            names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", note)
    return names


def test_workers_bear_our_name(threaded):
    names = threaded.map(lambda _: threading.current_thread().name, range(20))
    assert all(name.startswith(NAME) for name in names)


def test_maps_start_no_new_threads(threaded, started):
    threaded.map(abs, range(20))
    del started[:]
    for _ in range(200):
        threaded.map(abs, range(20))
    assert started == []


def test_pools_share_the_idle_threads(started):
    MapReduce("thread", 2).map(abs, range(20))
    del started[:]
    for _ in range(20):
        MapReduce("thread", 2).map(abs, range(20))
    assert started == []


def test_failed_maps_lose_no_thread(threaded, started):
    def fail(x):
        raise ValueError(x)

    threaded.map(abs, range(20))
    del started[:]
    for _ in range(50):
        with pytest.raises(WorkerException):
            threaded.map(fail, range(20))
        with pytest.raises(ValueError, match="0"):
            threaded.map(abs, [0], reduce=fail)
        with pytest.raises(ZeroDivisionError):
            threaded.map(abs, (1 // i for i in (1, 1, 0)))
    assert started == []


def test_serial_starts_no_thread(started):
    MapReduce("serial").map(abs, range(20))
    MapReduce("thread", 0).map(abs, range(20))
    MapReduce("thread", 2).map(abs, range(20), minlength=21)
    MapReduce("thread", 2).map(abs, [])
    assert started == []


def test_new_pool_starts_no_thread(started):
    with MapReduce("thread", 5):
        pass
    assert started == []


def test_idle_threads_are_bounded():
    few = max(32, 4 * (os.cpu_count() or 1))
    n_workers = few + 50
    barrier = threading.Barrier(n_workers)
    MapReduce("thread", n_workers).map(lambda _: barrier.wait(20), range(n_workers), chunksize=1)
    # Those that go may be about to: the kernel takes its time.
    deadline = time.monotonic() + 10
    while len(worker_threads()) > few and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(worker_threads()) <= few


def test_idle_threads_do_not_keep_the_interpreter(tmp_path):
    script = "print(MapReduce('thread', 4).map(abs, range(8)))"
    assert run_script(script, tmp_path) == "[0, 1, 2, 3, 4, 5, 6, 7]\n"


def test_map_at_exit_does_not_hang(tmp_path):
    script = """
import atexit
pool = MapReduce("thread", 2)

@atexit.register
def last():
    try:
        result = pool.map(abs, range(4))
    except RuntimeError:  # since Python 3.12 no thread can be started any more
        result = [0, 1, 2, 3]
    print(result == [0, 1, 2, 3])
"""
    assert run_script(script, tmp_path) == "True\n"


# nothing is kept alive


kept = ContextVar("kept", default=None)


def run_and_forget(pool, sequence_of=list, fail=False):
    """Run a map with arrays wherever one can be, and return weak references to them."""
    captured, set_local, variable = np.ones(3), np.ones(3), np.ones(3)
    items = [np.full(3, i) for i in range(8)]
    kept.set(variable)

    def work(item):
        pool.local.array = set_local
        result = captured + item
        results.append(weakref.ref(result))
        if fail:
            raise ValueError(result)
        return result

    def reduce(result):
        reduced = result + captured
        results.append(weakref.ref(reduced))
        return reduced

    results = [weakref.ref(a) for a in (captured, set_local, variable, *items)]
    if fail:
        with pytest.raises(WorkerException):
            pool.map(work, sequence_of(items), reduce)
    else:
        pool.map(work, sequence_of(items), reduce)
    kept.set(None)
    return results


@pytest.mark.parametrize("sequence_of", [list, iter])
def test_arrays_are_freed_after_the_map(pool, sequence_of):
    gc.disable()
    try:
        alive = [ref for ref in run_and_forget(pool, sequence_of) if ref() is not None]
    finally:
        gc.enable()
    assert alive == []


def test_arrays_are_freed_after_a_failed_map(pool):
    references = run_and_forget(pool, fail=True)
    gc.collect()  # an exception and the frames in its traceback are a cycle
    assert [ref for ref in references if ref() is not None] == []


# no thread to be had


@pytest.fixture
def no_thread_after(monkeypatch):
    """Let the system refuse threads after some."""
    start = threading.Thread.start

    def limit(n):
        def refuse(thread):
            nonlocal n
            if thread.name.startswith(NAME):
                n -= 1
                if n < 0:
                    raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)

    yield limit
    monkeypatch.undo()


@pytest.mark.parametrize("k", [0, 1, 5])
def test_thread_that_cannot_be_started(no_thread_after, monkeypatch, k):
    pool = MapReduce("thread", 50)  # more than can be idle from other tests
    worked = []
    no_thread_after(k)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        pool.map(worked.append, range(1000))
    assert worked == []
    monkeypatch.undo()
    barrier = threading.Barrier(50)
    assert len(pool.map(lambda _: barrier.wait(20), range(50), chunksize=1)) == 50


def test_threads_started_before_the_refusal_are_not_lost(no_thread_after, started):
    MapReduce("thread", 2).map(abs, range(2))
    no_thread_after(3)
    for _ in range(50):  # each try would lose three
        with pytest.raises(RuntimeError, match="can't start new thread"):
            MapReduce("thread", 50).map(abs, range(50))
    assert MapReduce("thread", 2).map(abs, range(9)) == list(range(9))


# callers that are not the main thread


def test_pool_of_a_thread_that_ends(started):
    def run():
        pool = MapReduce("thread", 2)
        for _ in range(20):
            assert pool.map(abs, [-1, 2, -3]) == [1, 2, 3]
        return pool

    (pool,) = in_threads(run)
    assert pool.map(abs, [-1]) == [1]
    assert len(started) <= 2


def test_two_threads_never_share_a_worker():
    # Both maps hold both of their workers at the same time: four different threads.
    barrier = threading.Barrier(4)

    def run():
        return MapReduce("thread", 2).map(
            lambda _: (barrier.wait(20), threading.get_ident())[1], range(2), chunksize=1
        )

    first, second = in_threads(run, run)
    assert len({*first, *second}) == 4
