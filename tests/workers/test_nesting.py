"""Maps inside maps, and pools that several threads use."""

from __future__ import annotations

import threading

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import Meeting, in_threads


def test_map_in_reduce(pool):
    def reduce(i):
        return sum(pool.map(lambda j: i * j, range(4), reduce=abs))

    assert pool.map(abs, range(20), reduce) == [6 * i for i in range(20)]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_map_in_a_worker_of_the_same_pool(pool, depth):
    def work(numbers):
        if len(numbers) == depth:
            return numbers
        return pool.map(work, [(*numbers, i) for i in range(2)])

    expected = {
        1: [(0,), (1,)],
        2: [[(0, 0), (0, 1)], [(1, 0), (1, 1)]],
        3: [[[(i, j, k) for k in range(2)] for j in range(2)] for i in range(2)],
    }
    assert pool.map(work, [(0,), (1,)]) == expected[depth]


def test_nested_maps_of_threads_and_serial():
    def work(i):
        return serial.map(lambda j: threaded.map(lambda k: (i, j, k), range(2)), range(2))

    threaded, serial = MapReduce("thread", 2), MapReduce("serial")
    assert threaded.map(work, range(3)) == [
        [[(i, j, k) for k in range(2)] for j in range(2)] for i in range(3)
    ]


def test_share_shrinks_with_depth():
    def work(depth):
        if depth == 3:
            return [sharedarray.cpu_count()]
        inner = MapReduce("thread").map(work, [depth + 1])[0]
        return [sharedarray.cpu_count(), *inner]

    with sharedarray.num_workers(8):
        pool = MapReduce("thread", 2)
        # The inner maps have one item each, so one worker, which may use all of the share.
        assert pool.map(work, [0, 0]) == [[4, 4, 4, 4]] * 2
        assert pool.map(lambda _: MapReduce("thread", 2).map(
            lambda _: sharedarray.cpu_count(), range(2)), range(2)) == [[2, 2]] * 2  # fmt: skip
        assert sharedarray.cpu_count() == 8


def test_failure_of_a_nested_map(pool):
    def work(i):
        return pool.map(lambda j: 1 // (i + j - 5), range(3))

    with pytest.raises(WorkerException) as caught:
        pool.map(work, range(10))
    inner = caught.value.reason
    assert isinstance(inner, WorkerException)
    assert isinstance(inner.reason, ZeroDivisionError)
    assert "ZeroDivisionError" in caught.value.traceback
    assert pool.map(abs, [-1]) == [1]


def test_failure_of_a_nested_map_that_is_handled(pool):
    def work(i):
        try:
            return pool.map(lambda j: 1 // (i - j), range(3))
        except WorkerException as error:
            return type(error.reason)

    assert pool.map(work, [0, 1, 5]) == [ZeroDivisionError] * 2 + [[0, 0, 0]]


# constructs belong to the innermost map of their pool


def test_constructs_in_nested_maps_of_one_pool(pool):
    logs = {}

    def outer(i):
        def inner(j):
            with pool.ordered:
                logs.setdefault(i, []).append(j)
            with pool.critical:
                return pool.local.rank

        pool.local.x = i
        ranks = pool.map(inner, range(20), chunksize=1)
        assert set(ranks) <= set(range(max(1, pool.np)))
        with pool.ordered:
            logs.setdefault("outer", []).append(pool.local.x)
        with pool.critical:
            return i

    pool.map(outer, range(6), chunksize=1)
    assert logs.pop("outer") == list(range(6))
    assert logs == {i: list(range(20)) for i in range(6)}


def test_inner_map_within_a_block_of_the_outer_one(pool):
    """An inner map has its own `critical` and `ordered`: it does not wait for the outer block."""
    log = []

    def inner(j):
        with pool.ordered, pool.critical:
            log.append(j)

    def outer(i):
        with pool.ordered:
            pool.map(inner, range(i, i + 3))
        with pool.critical:
            pool.map(inner, [])

    pool.map(outer, range(0, 30, 3))
    assert log == list(range(30))


def test_ordered_of_the_outer_pool_in_an_inner_map():
    outer, inner = MapReduce("thread", 3), MapReduce("thread", 2)
    log = []

    def outer_work(i):
        def inner_work(j):
            if j == 1:
                with outer.ordered:
                    log.append(i)

        inner.map(inner_work, range(3))

    outer.map(outer_work, range(20), chunksize=1)
    assert log == list(range(20))


def count_up(block, outer, inner):
    counter, meeting = [0], Meeting(2)

    def add(_):
        with block:
            old = counter[0]
            meeting.attend()
            counter[0] = old + 1

    outer.map(lambda _: inner.map(add, range(4), chunksize=1), range(2), chunksize=1)
    return counter[0]


@pytest.mark.parametrize("n_outer", [1, 2])
def test_critical_of_the_outer_pool_in_an_inner_map(n_outer):
    """Workers of an inner map exclude each other too, and wait instead of failing."""
    outer, inner = MapReduce("thread", n_outer), MapReduce("thread", 2)
    assert count_up(outer.critical, outer, inner) == 8


def test_critical_of_the_inner_pool_does_not_exclude_the_workers_of_the_outer_one():
    # The twin: each of the two inner maps has a block of its own.
    outer, inner = MapReduce("thread", 2), MapReduce("thread", 1)
    assert count_up(inner.critical, outer, inner) < 8


def test_critical_of_two_pools_in_one_another():
    outer, inner = MapReduce("thread", 2), MapReduce("thread", 2)
    counter = [0]

    def add(_):
        with inner.critical, outer.critical:
            counter[0] += 1

    outer.map(lambda _: inner.map(add, range(50)), range(20))
    assert counter == [1000]


def test_inner_map_ends_with_the_outer_one():
    """A map that loses items because the map around it has failed must not return a short list."""
    outer, inner = MapReduce("thread", 2), MapReduce("thread", 2)
    returned, waiting = [], threading.Event()

    def inner_work(j):
        if j == 3:
            waiting.set()
            with outer.ordered:
                pytest.fail("has its turn before item 0 has ended")
        return j

    def outer_work(i):
        if i == 0:
            waiting.wait(20)
            raise ValueError("the first")
        returned.append(inner.map(inner_work, range(4), chunksize=1))

    with pytest.raises(WorkerException, match="the first"):
        outer.map(outer_work, range(2), chunksize=1)
    assert returned == []


# several threads


def test_two_threads_on_one_pool(pool):
    start = threading.Barrier(2)

    def run(sign):
        start.wait(20)
        return [pool.map(lambda i: sign * i, range(20), reduce=lambda x: (x,)) for _ in range(50)]

    plus, minus = in_threads(lambda: run(1), lambda: run(-1))
    assert plus == [[(i,) for i in range(20)]] * 50
    assert minus == [[(-i,) for i in range(20)]] * 50


def test_two_threads_on_one_pool_at_the_same_time():
    # The barrier opens only where workers of both maps run.
    barrier = threading.Barrier(4)
    pool = MapReduce("thread", 2)

    def run(sign):
        def work(i):
            barrier.wait(20)
            with pool.ordered:
                pool.local.x = sign * i
            with pool.critical:
                return pool.local.x, pool.local.rank

        return pool.map(work, range(6), chunksize=1)

    plus, minus = in_threads(lambda: run(1), lambda: run(-1))
    assert [x for x, _ in plus] == [0, 1, 2, 3, 4, 5]
    assert [x for x, _ in minus] == [0, -1, -2, -3, -4, -5]
    assert {rank for _, rank in plus} == {rank for _, rank in minus} == {0, 1}


def test_failure_in_one_thread_leaves_the_other_alone():
    pool = MapReduce("thread", 2)
    failed, running = threading.Event(), threading.Event()

    def good(i):
        running.set()
        return failed.wait(20) and i

    def bad(_):
        running.wait(20)
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
