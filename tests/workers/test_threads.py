"""One pool that several threads use, and several pools in several threads."""

from __future__ import annotations

import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import BACKENDS, each_backend, in_threads
from tests.workers.synchronization import Barrier, Event


def test_two_threads_on_one_pool(pool):
    start = Barrier(2)

    def run(sign):
        start.wait()
        return [pool.map(lambda i: sign * i, range(20), reduce=lambda x: (x,)) for _ in range(5)]

    plus, minus = in_threads(lambda: run(1), lambda: run(-1))
    assert plus == [[(i,) for i in range(20)]] * 5
    assert minus == [[(-i,) for i in range(20)]] * 5


@pytest.mark.parametrize("backends", [(a, b) for a in BACKENDS for b in BACKENDS], ids=", ".join)
def test_two_pools_in_two_threads(backends):
    # The barrier opens only where workers of both maps run.
    barrier = Barrier(4)

    def run(backend):
        def work(i):
            barrier.wait()
            with pool.ordered, pool.critical:
                return -i

        pool = MapReduce(backend, 2)
        return [pool.map(work, range(4), chunksize=1) for _ in range(5)]

    first, second = in_threads(*(lambda backend=b: run(backend) for b in backends))
    assert first == second == [[0, -1, -2, -3]] * 5


@each_backend
def test_two_threads_on_one_pool_at_the_same_time(backend):
    # The barrier opens only where workers of both maps run.
    barrier = Barrier(4)
    pool = MapReduce(backend, 2)

    def run(sign):
        def work(i):
            barrier.wait()
            with pool.ordered:
                pool.local.x = sign * i
            with pool.critical:
                return pool.local.x, pool.local.rank

        return pool.map(work, range(6), chunksize=1)

    plus, minus = in_threads(lambda: run(1), lambda: run(-1))
    assert [x for x, _ in plus] == [0, 1, 2, 3, 4, 5]
    assert [x for x, _ in minus] == [0, -1, -2, -3, -4, -5]
    assert {rank for _, rank in plus} == {rank for _, rank in minus} == {0, 1}


@each_backend
def test_failure_in_one_thread_leaves_the_other_alone(backend):
    pool = MapReduce(backend, 2)
    failed, running = Event(), Event()

    def good(i):
        running.set()
        return failed.wait() and i

    def bad(_):
        running.wait()
        raise ValueError

    def run_bad():
        with pytest.raises(WorkerException):
            pool.map(bad, range(4))
        failed.set()

    results, _ = in_threads(lambda: pool.map(good, range(10)), run_bad)
    assert results == list(range(10))


def test_thread_may_end_and_others_use_the_pool(pool):
    for _ in range(20):
        assert in_threads(lambda: pool.map(abs, [-1, -2, -3])) == [[1, 2, 3]]
