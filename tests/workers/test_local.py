"""`local`: ranks, the worker's own attributes, and random numbers that no schedule changes."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sharedarray import MapReduce, WorkerException
from tests.workers.support import POOLS, make_pool


def test_ranks_are_unique_and_in_range(threaded):
    barrier = threading.Barrier(threaded.np)

    def work(_):
        barrier.wait(20)
        return threaded.local.rank

    ranks = threaded.map(work, range(threaded.np), chunksize=1)
    assert sorted(ranks) == list(range(threaded.np))
    assert {type(rank) for rank in ranks} == {int}


def test_ranks_stay_below_the_number_of_items():
    pool = MapReduce("thread", 7)
    assert set(pool.map(lambda _: pool.local.rank, range(2))) <= {0, 1}


def test_rank_of_a_thread_does_not_change_during_a_map():
    pool = MapReduce("thread", 3)
    pairs = pool.map(lambda _: (threading.get_ident(), pool.local.rank), range(500), chunksize=1)
    assert len(set(pairs)) == len({ident for ident, _ in pairs}) == len({r for _, r in pairs})


def test_serial_has_rank_0(pool):
    assert set(make_pool(("serial", None)).map(lambda _: 0, range(3))) == {0}
    for serial in (MapReduce("serial"), MapReduce("thread", 0)):
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


def test_attributes_are_not_shared():
    barrier = threading.Barrier(3)

    def work(i):
        pool.local.mine = i
        barrier.wait(20)
        return pool.local.mine

    pool = MapReduce("thread", 3)
    assert pool.map(work, range(3)) == [0, 1, 2]


def test_what_is_shared_is_overwritten():
    # The twin of the test above.
    class Shared:
        pass

    barrier = threading.Barrier(3)

    def work(i):
        Shared.mine = i
        barrier.wait(20)
        return Shared.mine

    assert len(set(MapReduce("thread", 3).map(work, range(3)))) == 1


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


def test_attributes_of_two_pools_are_apart():
    outer, inner = MapReduce("thread", 2), MapReduce("thread", 2)

    def outer_work(i):
        def inner_work(j):
            inner.local.x = ("inner", i, j)
            return outer.local.x, inner.local.x, outer.local.rank == outer_rank

        outer.local.x = ("outer", i)
        outer_rank = outer.local.rank
        return inner.map(inner_work, range(4))

    for i, results in enumerate(outer.map(outer_work, range(4))):
        assert results == [(("outer", i), ("inner", i, j), True) for j in range(4)]


# random numbers


def draw(pool, n_items=20, **options):
    return pool.map(
        lambda i: pool.local.rng.integers(2**62, size=2).tolist(), range(n_items), **options
    )


def test_rng_is_a_generator(pool):
    assert all(pool.map(lambda _: isinstance(pool.local.rng, np.random.Generator), range(3)))


@pytest.mark.parametrize("seed", [0, 7, 2**80, [1, 2, 3], np.int64(5)])
def test_numbers_depend_on_the_seed_and_the_item_only(seed):
    expected = draw(MapReduce("serial", seed=seed))
    for kind in POOLS:
        for chunksize in (None, 1, 3, 100):
            assert draw(make_pool(kind, seed=seed), chunksize=chunksize) == expected
    lazily = MapReduce("thread", 2, seed=seed)
    assert lazily.map(lambda i: lazily.local.rng.integers(2**62, size=2).tolist(), iter(range(20)))
    assert draw(MapReduce("thread", 3, seed=seed), n_items=10) == expected[:10]


def test_numbers_from_a_generator_are_those_from_a_list(pool):
    def numbers(sequence):
        pool = MapReduce("thread", 2, seed=3)
        return pool.map(lambda _: pool.local.rng.random(), sequence)

    assert numbers(iter(range(20))) == numbers(list(range(20)))


def test_numbers_differ_by_item(pool):
    assert len({tuple(numbers) for numbers in draw(pool, 500)}) == 500


def test_numbers_differ_by_map_and_the_maps_repeat(pool):
    def two_maps():
        pool = MapReduce("thread", 2, seed=3)
        return draw(pool), draw(pool)

    first, second = two_maps()
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert two_maps() == (first, second)


def test_numbers_differ_by_seed():
    draws = [draw(MapReduce("thread", 2, seed=seed))[0] for seed in (1, 2, [1, 2], None, None)]
    assert len(set(map(tuple, draws))) == 5


def test_numbers_within_an_item_go_on(pool):
    numbers = pool.map(lambda _: (pool.local.rng.random(), pool.local.rng.random()), range(5))
    assert all(a != b for a, b in numbers)
    assert all(pool.map(lambda _: pool.local.rng is pool.local.rng, range(5)))


@pytest.mark.parametrize("seed", [-1, 1.5, "seed"])
def test_bad_seed_raises_in_the_caller(seed):
    with pytest.raises((TypeError, ValueError)):
        MapReduce("thread", 2, seed=seed)


def test_numbers_of_nested_maps_do_not_depend_on_the_schedule():
    def numbers(np, *, last_first):
        def work(i):
            if last_first and i == 0:
                last_is_done.wait(20)
            drawn = draw(pool, 3)
            if i == 1:
                last_is_done.set()
            return drawn

        last_is_done = threading.Event()
        pool = MapReduce("thread", np, seed=3)
        return pool.map(work, range(2), chunksize=1)

    assert numbers(2, last_first=True) == numbers(0, last_first=False)


def test_numbers_of_nested_maps_differ(pool):
    drawn = pool.map(lambda _: [draw(pool, 3), draw(pool, 3)], range(4))
    flat = [tuple(numbers) for item in drawn for maps in item for numbers in maps]
    assert len(set(flat)) == len(flat) == 24


def test_numbers_of_a_pool_made_in_an_item_are_those_of_its_seed(pool):
    # A function that makes a seeded pool of its own gives the same wherever it is called.
    def simulate():
        inner = MapReduce("thread", 2, seed=7)
        return draw(inner, 3), draw(inner, 3)

    expected = simulate()
    assert pool.map(lambda _: simulate(), range(3)) == [expected] * 3
