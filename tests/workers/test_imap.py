"""`imap`: the results of `map` one by one, computed when they are asked for; see test_imap_end."""

from __future__ import annotations

from itertools import count, islice

import pytest

import sharedarray
from sharedarray import MapReduce
from tests.workers.support import PARALLEL, POOLS, each_backend, make_pool, worker_threads
from tests.workers.synchronization import Event, Log, Tally, here

either_order = pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "unordered"])


def square(x):
    return x * x


def window_of(pool):
    """Return how many claims may be ahead of the results that were taken."""
    return 2 * pool.np if pool.np and "serial" not in repr(pool) else 1


@pytest.mark.parametrize("n_items", [0, 1, 5, 100])
@pytest.mark.parametrize("chunksize", [None, 3])
def test_results_come_in_input_order(pool, n_items, chunksize):
    expected = [i * i for i in range(n_items)]
    assert list(pool.imap(square, range(n_items), chunksize=chunksize)) == expected
    assert list(pool.imap(square, iter(range(n_items)), chunksize=chunksize)) == expected


@pytest.mark.parametrize("chunksize", [None, 1, 3, 1000])
def test_unordered_results_are_the_same_in_any_order(pool, chunksize):
    for sequence in (range(100), iter(range(100))):
        results = list(pool.imap(square, sequence, chunksize=chunksize, ordered=False))
        assert sorted(results) == [i * i for i in range(100)]


def test_many_items(pool):
    assert list(pool.imap(square, range(20_000))) == [i * i for i in range(20_000)]


def wait_for_the_second(second_is_taken):
    def work(i):
        if i == 0:
            second_is_taken.wait(10)
        return i

    return work


@each_backend
def test_unordered_results_come_as_they_arrive(backend):
    second_is_taken = Event()
    work = wait_for_the_second(second_is_taken)
    results = MapReduce(backend, 2).imap(work, range(2), chunksize=1, ordered=False)
    assert next(results) == 1
    second_is_taken.set()
    assert list(results) == [0]


@each_backend
def test_ordered_results_wait_for_earlier_ones(backend):
    # The twin: item 1 is there long before item 0.
    def work(i):
        if i == 0:
            second_is_done.wait()
        else:
            second_is_done.set()
        return i

    second_is_done = Event()
    assert list(MapReduce(backend, 2).imap(work, range(2), chunksize=1)) == [0, 1]


def test_all_arguments_of_map_are_taken(pool):
    results = pool.imap(pow, [(2, 3), (3, 2)], lambda x: -x, True, 3, chunksize=1, timeout=20)
    assert list(results) == [-8, -9]


def test_result_is_an_iterator(pool):
    results = pool.imap(square, range(3))
    assert iter(results) is results
    assert [next(results), next(results), next(results)] == [0, 1, 4]
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(results)


# reduce


@either_order
def test_reduce_runs_in_the_caller_when_a_result_is_taken(pool, ordered):
    seen = []

    def reduce(a, b):
        seen.append(here())
        return a + b

    results = pool.imap(lambda i: (i, 1), range(20), reduce, ordered=ordered)
    assert seen == []
    for n_taken in range(1, 21):
        next(results)
        assert seen == [here()] * n_taken
    results.close()


def test_exception_of_reduce_comes_out_as_it_is(pool):
    error = ValueError("by reduce")

    def reduce(x):
        if x == 2:
            raise error
        return x

    results = pool.imap(abs, range(10), reduce)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="by reduce") as caught:
        next(results)
    assert caught.value is error
    assert list(results) == []


# laziness


def test_nothing_starts_before_the_first_result_is_asked_for(pool, fork_calls):
    started, asked = Log(), []

    def generate():
        asked.append(True)
        yield 1

    n_threads = len(worker_threads())
    for sequence in (range(9), generate()):
        results = pool.imap(started.append, sequence)
        assert (len(started), asked, fork_calls) == (0, [], [])
        assert len(worker_threads()) <= n_threads
        results.close()
        assert list(results) == []
    assert (len(started), asked, fork_calls) == (0, [], [])


def test_bad_arguments_raise_at_once(pool):
    for bad in ({"func": 3}, {"reduce": 3}, {"chunksize": 0}, {"timeout": -1}, {"progress": 3}):
        with pytest.raises((TypeError, ValueError)):
            pool.imap(**{"func": abs, "sequence": [1]} | bad)
    with pytest.raises(TypeError):
        pool.imap(abs, 5)


@either_order
def test_infinite_generator(pool, ordered):
    results = pool.imap(square, count(), ordered=ordered)
    taken = list(islice(results, 1000))
    results.close()
    assert len(set(taken)) == 1000
    if ordered:
        assert taken == [i * i for i in range(1000)]


@pytest.mark.parametrize("n_taken", [1, 10])
@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("sequence", [range(1000), count], ids=["sequence", "generator"])
def test_workers_do_at_most_the_window(pool, sequence, chunksize, n_taken):
    """Items beyond two claims a worker ahead of the results taken must not start."""
    # A claim counts as taken when the first result after it is asked for.
    limit = (n_taken - 1) // chunksize * chunksize + window_of(pool) * chunksize
    window_is_full, too_far = Event(), Event()
    started = Tally(1000)

    def work(i):
        started.note(i)
        if started.n_done == limit:
            window_is_full.set()
        if i >= limit:
            too_far.set()
        return i

    items = sequence() if callable(sequence) else sequence
    results = pool.imap(work, items, chunksize=chunksize)
    assert list(islice(results, n_taken)) == list(range(n_taken))
    # With a generator the caller looks for items when it is asked for a result, not in between.
    if sequence is not count:
        window_is_full.wait(0.05)
    assert not too_far.wait(0.01)
    results.close()
    assert started.n_done <= limit


@pytest.mark.parametrize("kind", PARALLEL)
def test_workers_go_on_when_results_are_taken(kind):
    pool = make_pool(kind)
    results = pool.imap(square, range(500), chunksize=1)
    assert list(results) == [i * i for i in range(500)]


@each_backend
def test_one_slow_item_holds_the_others_back_within_the_window(backend):
    # Results that wait for the first one count as not taken.
    def work(i):
        if i >= 4:
            too_far.set()
        return i or too_far.wait(0.1)

    too_far = Event()
    results = MapReduce(backend, 2).imap(work, range(100), chunksize=1)
    assert list(results) == [False, *range(1, 100)]


def test_generator_is_asked_in_the_caller_and_within_the_window(pool):
    n_given, most_ahead, n_taken, places = 0, 0, 0, set()

    def generate():
        nonlocal n_given, most_ahead
        for i in range(300):
            places.add(here())
            n_given += 1
            most_ahead = max(most_ahead, n_given - n_taken)
            yield i

    for result in pool.imap(square, generate(), chunksize=1):
        assert result == n_taken**2
        n_taken += 1
    assert n_taken == 300
    assert places == {here()}
    # The result that is being taken counts as taken when the next one is asked for.
    assert most_ahead <= window_of(pool) + 1


# several at once


@pytest.mark.parametrize("kinds", [(a, b) for a in POOLS[::3] for b in POOLS[::3]])
def test_two_iterators_at_once(kinds):
    first, second = (make_pool(kind) for kind in kinds)
    pairs = zip(first.imap(square, range(100)), second.imap(abs, iter(range(100))), strict=True)
    assert list(pairs) == [(i * i, i) for i in range(100)]


def test_two_iterators_of_one_pool(pool):
    squares, cubes = pool.imap(square, count()), pool.imap(lambda i: i**3, range(50))
    assert [(next(squares), cube) for cube in cubes] == [(i * i, i**3) for i in range(50)]
    assert pool.map(abs, [-1]) == [1]  # beside the one that still runs
    assert next(squares) == 2500
    squares.close()


def test_iterator_of_results_as_the_items_of_another_map(pool):
    assert pool.map(abs, pool.imap(lambda i: -i, range(50))) == list(range(50))
    assert list(pool.imap(abs, pool.imap(lambda i: -i, range(50)))) == list(range(50))


def test_iterator_in_a_work_function(pool):
    def work(i):
        return list(islice(pool.imap(lambda j: i * j, count()), 5))

    assert pool.map(work, range(4)) == [[i * j for j in range(5)] for i in range(4)]


@either_order
def test_constructs_work(pool, ordered):
    log, counter = Log(), sharedarray.zeros(1, int)

    def work(i):
        with pool.ordered:
            log.append(i)
        with pool.critical:
            counter[0] += 1
        return pool.local.rank

    ranks = list(pool.imap(work, range(100), chunksize=1, ordered=ordered))
    assert set(ranks) <= set(range(max(1, pool.np)))
    assert list(log) == list(range(100))
    assert counter[0] == 100
