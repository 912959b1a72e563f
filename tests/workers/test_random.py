"""Random numbers in workers: `local.rng`, which no schedule changes, and NumPy's own state."""

from __future__ import annotations

import numpy as np
import pytest

from sharedarray import MapReduce
from tests.workers.support import POOLS, each_backend, make_pool
from tests.workers.synchronization import Barrier, Event


def draw(pool, items=20, run="map", **options):
    items = range(items) if isinstance(items, int) else items

    def work(_):
        return pool.local.rng.integers(2**62, size=2).tolist()

    return list(getattr(pool, run)(work, items, **options))


def test_rng_is_a_generator(pool):
    assert all(pool.map(lambda _: isinstance(pool.local.rng, np.random.Generator), range(3)))


@pytest.mark.parametrize("seed", [0, 7, 2**80, [1, 2, 3], np.int64(5)])
def test_numbers_depend_on_the_seed_and_the_item_only(seed):
    expected = draw(MapReduce("serial", seed=seed))
    for kind in POOLS:
        for chunksize in (None, 1, 3, 100):
            assert draw(make_pool(kind, seed=seed), chunksize=chunksize) == expected
        assert draw(make_pool(kind, seed=seed), iter(range(20))) == expected
        assert draw(make_pool(kind, seed=seed), run="imap") == expected
    assert draw(MapReduce("thread", 3, seed=seed), items=10) == expected[:10]


def test_numbers_differ_by_item(pool):
    assert len({tuple(numbers) for numbers in draw(pool, 500)}) == 500


@pytest.mark.parametrize("kind", POOLS)
def test_numbers_differ_by_map_and_the_maps_repeat(kind):
    def two_maps():
        pool = make_pool(kind, seed=3)
        return draw(pool), draw(pool)

    first, second = two_maps()
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert two_maps() == (first, second)


@each_backend
def test_numbers_differ_by_seed(backend):
    draws = [draw(MapReduce(backend, 2, seed=seed))[0] for seed in (1, 2, [1, 2], None, None)]
    assert len(set(map(tuple, draws))) == 5


def test_numbers_within_an_item_go_on(pool):
    numbers = pool.map(lambda _: (pool.local.rng.random(), pool.local.rng.random()), range(5))
    assert all(a != b for a, b in numbers)
    assert all(pool.map(lambda _: pool.local.rng is pool.local.rng, range(5)))


@pytest.mark.parametrize("seed", [-1, 1.5, "seed"])
@each_backend
def test_bad_seed_raises_in_the_caller(backend, seed):
    with pytest.raises((TypeError, ValueError)):
        MapReduce(backend, 2, seed=seed)


@each_backend
def test_numbers_of_nested_maps_do_not_depend_on_the_schedule(backend):
    def numbers(np, *, last_first):
        def work(i):
            if last_first and i == 0:
                last_is_done.wait()
            drawn = draw(pool, 3)
            if i == 1:
                last_is_done.set()
            return drawn

        last_is_done = Event()
        pool = MapReduce(backend, np, seed=3)
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


# the legacy state of NumPy


def draw_legacy(pool, barrier):
    def work(_):
        barrier.wait()  # so that each worker runs one of the items
        return pool.local.rank, np.random.randint(1 << 30, size=2).tolist()  # noqa: NPY002

    return dict(pool.map(work, range(pool.np), chunksize=1))


@pytest.mark.parametrize("np_", [2, 3, 7])
def test_legacy_numbers_differ_by_process_and_map(np_):
    np.random.seed(0)  # noqa: NPY002
    pool, barrier = MapReduce("process", np_), Barrier(np_)
    drawn = [*draw_legacy(pool, barrier).values(), *draw_legacy(pool, barrier).values()]
    drawn.append(np.random.randint(1 << 30, size=2).tolist())  # noqa: NPY002
    assert len({tuple(numbers) for numbers in drawn}) == 2 * np_ + 1


def test_legacy_numbers_of_processes_depend_on_seed_and_rank():
    def numbers(seed):
        return draw_legacy(MapReduce("process", 3, seed=seed), Barrier(3))

    assert numbers(1) == numbers(1)
    assert all(a != b for a, b in zip(numbers(1).items(), numbers(2).items(), strict=True))


def test_legacy_state_of_the_caller_is_left_alone(forked):
    np.random.seed(0)  # noqa: NPY002
    forked.map(lambda _: np.random.random(), range(20))  # noqa: NPY002
    number = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert np.random.random() == number  # noqa: NPY002


def test_legacy_numbers_differ_in_nested_processes():
    def work(_):
        return [*draw_legacy(inner, inner_barrier).values()]

    outer, inner, inner_barrier = MapReduce("process", 1), MapReduce("process", 2), Barrier(2)
    drawn = outer.map(work, range(3), chunksize=1)
    assert len({tuple(numbers) for item in drawn for numbers in item}) == 6
