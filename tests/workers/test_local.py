"""`local`: ranks, and the worker's own attributes; see test_random for its random numbers."""

from __future__ import annotations

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend, make_pool
from tests.workers.synchronization import Barrier, here


def test_ranks_are_unique_and_in_range(parallel):
    barrier = Barrier(parallel.np)

    def work(_):
        barrier.wait()
        return parallel.local.rank

    ranks = parallel.map(work, range(parallel.np), chunksize=1)
    assert sorted(ranks) == list(range(parallel.np))
    assert {type(rank) for rank in ranks} == {int}


@each_backend
def test_ranks_stay_below_the_number_of_items(backend):
    pool = MapReduce(backend, 7)
    assert set(pool.map(lambda _: pool.local.rank, range(2))) <= {0, 1}


@each_backend
def test_rank_of_a_worker_does_not_change_during_a_map(backend):
    pool = MapReduce(backend, 3)
    pairs = pool.map(lambda _: (here(), pool.local.rank), range(500), chunksize=1)
    assert len(set(pairs)) == len({who for who, _ in pairs}) == len({r for _, r in pairs})


def test_serial_has_rank_0(pool):
    assert set(make_pool(("serial", None)).map(lambda _: 0, range(3))) == {0}
    for serial in (MapReduce("serial"), MapReduce("thread", 0), MapReduce("process", 0)):
        assert serial.map(lambda _, serial=serial: serial.local.rank, range(3)) == [0, 0, 0]


def test_tls_is_local(pool):
    def work(i):
        pool.tls.x = i
        assert pool.local.x == i
        return pool.tls.rank == pool.local.rank

    assert all(pool.map(work, range(10)))


# attributes


def test_attributes_last_from_item_to_item(pool):
    def work(_):
        pool.local.count = getattr(pool.local, "count", 0) + 1
        return pool.local.rank, pool.local.count

    counts = {}
    for rank, count in pool.map(work, range(100)):
        counts.setdefault(rank, []).append(count)
    assert sum(map(max, counts.values())) == 100
    assert all(sorted(c) == list(range(1, len(c) + 1)) for c in counts.values())


@each_backend
def test_attributes_are_not_shared(backend):
    barrier = Barrier(3)

    def work(i):
        pool.local.mine = i
        barrier.wait()
        return pool.local.mine

    pool = MapReduce(backend, 3)
    assert pool.map(work, range(3)) == [0, 1, 2]


@each_backend
def test_what_is_shared_is_overwritten(backend):
    # The twin of the test above.
    shared, barrier = sharedarray.zeros(1, int), Barrier(3)

    def work(i):
        shared[0] = i
        barrier.wait()
        return int(shared[0])

    assert len(set(MapReduce(backend, 3).map(work, range(3)))) == 1


def test_attributes_are_gone_in_the_next_map(pool):
    pool.map(lambda i: setattr(pool.local, "x", i), range(20))
    assert pool.map(lambda i: hasattr(pool.local, "x"), range(20)) == [False] * 20


def test_attributes_may_be_deleted(pool):
    def work(i):
        pool.local.x = i
        del pool.local.x
        return hasattr(pool.local, "x")

    assert pool.map(work, range(10)) == [False] * 10


def test_missing_attribute_is_named(pool):
    for use in (lambda _: pool.local.comet, lambda _: delattr(pool.local, "comet")):
        with pytest.raises(WorkerException) as caught:
            pool.map(use, [1])
        assert isinstance(caught.value.reason, AttributeError)
        assert "comet" in str(caught.value.reason)


@pytest.mark.parametrize("name", ["rank", "rng"])
def test_what_the_pool_sets_is_read_only(pool, name):
    with pytest.raises(WorkerException) as caught:
        pool.map(lambda i: setattr(pool.local, name, i), [1])
    assert isinstance(caught.value.reason, AttributeError)


@each_backend
def test_attributes_of_two_pools_are_apart(backend):
    outer, inner = MapReduce(backend, 2), MapReduce("thread", 2)

    def outer_work(i):
        def inner_work(j):
            inner.local.x = ("inner", i, j)
            return outer.local.x, inner.local.x, outer.local.rank == outer_rank

        outer.local.x = ("outer", i)
        outer_rank = outer.local.rank
        return inner.map(inner_work, range(4))

    for i, results in enumerate(outer.map(outer_work, range(4))):
        assert results == [(("outer", i), ("inner", i, j), True) for j in range(4)]
