"""Maps inside maps."""

from __future__ import annotations

from itertools import product

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import BACKENDS, each_backend
from tests.workers.synchronization import LIMIT, Event, Log, Rendezvous, here


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


@pytest.mark.parametrize("backends", list(product([*BACKENDS, "serial"], repeat=3)), ids=", ".join)
def test_nested_maps_of_all_backends(backends):
    def outer_work(i):
        def middle_work(j):
            def inner_work(k):
                return (i, j, k), here()

            return inner.map(inner_work, range(2)), here()

        return middle.map(middle_work, range(2)), here()

    outer, middle, inner = (MapReduce(backend, 2) for backend in backends)
    found = outer.map(outer_work, range(3))
    items, places = [], set()
    for middles, outer_place in found:
        for inners, middle_place in middles:
            for item, inner_place in inners:
                items.append(item)
                places.add((outer_place, middle_place, inner_place))
    assert items == list(product(range(3), range(2), range(2)))
    for outer_place, middle_place, inner_place in places:
        levels = zip(
            backends,
            (here(), outer_place, middle_place),
            (outer_place, middle_place, inner_place),
            strict=True,
        )
        for backend, above, below in levels:
            assert (above == below) is (backend == "serial")
            assert (above[0] == below[0]) is (backend != "process")


@each_backend
def test_share_shrinks_with_depth(backend):
    def work(depth):
        if depth == 3:
            return [sharedarray.cpu_count()]
        inner = MapReduce(backend).map(work, [depth + 1])[0]
        return [sharedarray.cpu_count(), *inner]

    with sharedarray.num_workers(8):
        pool = MapReduce(backend, 2)
        # The inner maps have one item each, so one worker, which may use all of the share.
        assert pool.map(work, [0, 0]) == [[4, 4, 4, 4]] * 2
        assert pool.map(lambda _: MapReduce(backend, 2).map(
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
    logs = {i: Log(20) for i in (*range(6), "outer")}

    def outer(i):
        def inner(j):
            with pool.ordered:
                logs[i].append(j)
            with pool.critical:
                return pool.local.rank

        pool.local.x = i
        ranks = pool.map(inner, range(20), chunksize=1)
        assert set(ranks) <= set(range(max(1, pool.np)))
        with pool.ordered:
            logs["outer"].append(pool.local.x)
        with pool.critical:
            return i

    pool.map(outer, range(6), chunksize=1)
    assert list(logs.pop("outer")) == list(range(6))
    assert {i: list(log) for i, log in logs.items()} == {i: list(range(20)) for i in range(6)}


def test_inner_map_within_a_block_of_the_outer_one(pool):
    """An inner map has its own `critical` and `ordered`: it does not wait for the outer block."""
    log = Log()

    def inner(j):
        with pool.ordered, pool.critical:
            log.append(j)

    def outer(i):
        with pool.ordered:
            pool.map(inner, range(i, i + 3))
        with pool.critical:
            pool.map(inner, [])

    pool.map(outer, range(0, 30, 3))
    assert list(log) == list(range(30))


@each_backend
def test_ordered_of_the_outer_pool_in_an_inner_map(backend):
    outer, inner = MapReduce(backend, 3), MapReduce("thread", 2)
    log = Log()

    def outer_work(i):
        def inner_work(j):
            if j == 1:
                with outer.ordered:
                    log.append(i)

        inner.map(inner_work, range(3))

    outer.map(outer_work, range(20), chunksize=1)
    assert list(log) == list(range(20))


def test_ordered_of_the_outer_pool_is_out_of_reach_of_inner_processes():
    # They cannot take part in the order of their worker.
    for outer, words in ((MapReduce("process", 2), "process"), (MapReduce("thread", 2), "thread")):

        def inner_work(_, outer=outer):
            with outer.ordered:
                pass

        def outer_work(_, inner_work=inner_work):
            return MapReduce("process", 1).map(inner_work, [1])

        with pytest.raises(WorkerException) as caught:
            outer.map(outer_work, range(3))
        reason = caught.value.reason.reason
        assert type(reason) is RuntimeError
        assert "ordered" in str(reason)
        assert words in str(reason)


def test_critical_of_outer_threads_is_out_of_reach_of_inner_processes():
    outer, inner = MapReduce("thread", 2), MapReduce("process", 1)

    def work(_):
        with outer.critical:
            pass

    with pytest.raises(WorkerException) as caught:
        outer.map(lambda _: inner.map(work, [1]), range(3))
    reason = caught.value.reason.reason
    assert type(reason) is RuntimeError
    assert "critical" in str(reason)


def count_up(block, outer, inner, **options):
    counter, rendezvous = sharedarray.zeros(1, int), Rendezvous(2, **options)

    def add(_):
        with block:
            old = int(counter[0])
            rendezvous.wait()
            counter[0] = old + 1

    outer.map(lambda _: inner.map(add, range(4), chunksize=1), range(2), chunksize=1)
    return int(counter[0])


CRITICAL = [("thread", "thread"), ("process", "process"), ("process", "thread")]
CRITICAL = [pair for pair in CRITICAL if set(pair) <= set(BACKENDS)]


@pytest.mark.parametrize("n_outer", [1, 2])
@pytest.mark.parametrize("backends", CRITICAL, ids=" in ".join)
def test_critical_of_the_outer_pool_in_an_inner_map(n_outer, backends):
    """Workers of an inner map exclude each other too, and wait instead of failing."""
    outer, inner = MapReduce(backends[0], n_outer), MapReduce(backends[1], 2)
    assert count_up(outer.critical, outer, inner) == 8


@pytest.mark.parametrize("backends", CRITICAL, ids=" in ".join)
def test_critical_of_the_inner_pool_does_not_exclude_the_workers_of_the_outer_one(backends):
    # The twin: each of the two inner maps has a block of its own.
    outer, inner = MapReduce(backends[0], 2), MapReduce(backends[1], 1)
    assert count_up(inner.critical, outer, inner, patience=LIMIT) < 8


@pytest.mark.parametrize("backends", CRITICAL, ids=" in ".join)
def test_critical_of_two_pools_in_one_another(backends):
    outer, inner = (MapReduce(backend, 2) for backend in backends)
    counter = sharedarray.zeros(1, int)

    def add(_):
        with inner.critical, outer.critical:
            counter[0] += 1

    outer.map(lambda _: inner.map(add, range(50)), range(20))
    assert counter[0] == 1000


@each_backend
def test_inner_map_ends_with_the_outer_one(backend):
    """A map that loses items because the map around it has failed must not return a short list."""
    outer, inner = MapReduce(backend, 2), MapReduce("thread", 2)
    returned, waiting = Event(), Event()

    def inner_work(j):
        if j == 3:
            waiting.set()
            with outer.ordered:
                pytest.fail("has its turn before item 0 has ended")
        return j

    def outer_work(i):
        if i == 0:
            waiting.wait()
            raise ValueError("the first")
        inner.map(inner_work, range(4), chunksize=1)
        returned.set()

    with pytest.raises(WorkerException, match="the first"):
        outer.map(outer_work, range(2), chunksize=1)
    assert not returned.is_set()
