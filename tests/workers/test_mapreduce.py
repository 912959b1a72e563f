"""What `map` returns, what it does with its arguments, and where `reduce` runs."""

from __future__ import annotations

import threading
from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import (
    MapReduce,
    MapReduceByThread,
    SerialBackend,
    ThreadBackend,
    WorkerException,
)
from tests.workers.support import POOLS, make_pool


def square(x):
    return x * x


# backends and worker counts


@pytest.mark.parametrize("backend", ["thread", "serial", ThreadBackend, SerialBackend])
@pytest.mark.parametrize("np", [None, 0, 1, 2, 3, 7])
@pytest.mark.parametrize("n_items", [0, 1, 2, 5, 100])
def test_results_come_in_input_order(backend, np, n_items):
    assert MapReduce(backend, np).map(square, range(n_items)) == [i * i for i in range(n_items)]


@pytest.mark.parametrize("make", [MapReduce, MapReduceByThread])
def test_works_as_context_manager_and_afterwards(make):
    pool = make(np=2)
    with pool as inside:
        assert inside is pool
        assert inside.map(square, [3]) == [9]
    assert pool.map(square, [4]) == [16]


def test_by_thread_runs_in_other_threads():
    assert threading.get_ident() not in MapReduceByThread(2).map(
        lambda _: threading.get_ident(), range(4)
    )


@pytest.mark.parametrize(("backend", "np"), [("serial", 3), ("serial", None), ("thread", 0)])
def test_serial_runs_in_the_caller(backend, np):
    idents = MapReduce(backend, np).map(lambda _: threading.get_ident(), range(20))
    assert set(idents) == {threading.get_ident()}


@pytest.mark.parametrize("np", [1, 2, 3, 7])
def test_np_workers_run_side_by_side(np):
    # The barrier opens only where np items run at the same time.
    barrier = threading.Barrier(np)
    idents = MapReduce("thread", np).map(
        lambda _: (barrier.wait(20), threading.get_ident())[1], range(np), chunksize=1
    )
    assert len(set(idents)) == np
    assert threading.get_ident() not in idents


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_more_workers_than_items(n_items):
    pool = MapReduce("thread", 10_000)
    n_before = threading.active_count()
    assert pool.map(square, range(n_items)) == [i * i for i in range(n_items)]
    assert threading.active_count() <= n_before + n_items


@pytest.mark.parametrize(("backend", "error"), [("green", ValueError), (7, TypeError)])
def test_unknown_backend(backend, error):
    with pytest.raises(error, match=r"backend"):
        MapReduce(backend)


@pytest.mark.parametrize(
    ("np", "error"), [(-1, ValueError), (2.0, TypeError), ("2", TypeError), ([], TypeError)]
)
def test_bad_worker_count(np, error):
    with pytest.raises(error):
        MapReduce("thread", np)


def test_worker_count_of_numpy_type():
    assert MapReduce("thread", np.int64(2)).np == 2
    assert MapReduce("thread", np.uint8(2)).map(square, [5]) == [25]


def test_default_worker_count_comes_from_the_settings(monkeypatch):
    assert MapReduce().np == sharedarray.cpu_count()
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    assert MapReduce().np == 4
    monkeypatch.setenv("SHAREDARRAY_NUM_WORKERS", "5")
    assert MapReduce().np == MapReduceByThread().np == 5
    sharedarray.set_num_workers(6)
    assert MapReduce().np == 6
    with sharedarray.num_workers(3):
        assert MapReduce().np == 3
        assert MapReduce(np=1).np == 1
    assert MapReduce().np == 6


def test_default_of_no_workers_is_serial():
    with sharedarray.num_workers(0):
        pool = MapReduce()
    assert pool.np == 0
    assert pool.map(lambda _: threading.get_ident(), [1]) == [threading.get_ident()]


# func


@pytest.mark.parametrize("func", [None, 3, "abs"])
def test_func_must_be_callable(pool, func):
    for sequence in ([], [1]):
        with pytest.raises(TypeError):
            pool.map(func, sequence)


def test_closures_lambdas_builtins_and_methods(pool):
    offset = 10
    assert pool.map(lambda x: x + offset, [1, 2]) == [11, 12]
    assert pool.map(len, ["a", "bc"]) == [1, 2]
    assert pool.map([4, 5, 6].index, [6, 4]) == [2, 0]
    assert pool.map(np.sqrt, [4.0, 9.0]) == [2.0, 3.0]


def test_none_results_and_falsy_results_are_kept(pool):
    assert pool.map(lambda x: None, range(5)) == [None] * 5
    values = [0, "", [], None, False, (), 0.0]
    assert pool.map(lambda x: x, values) == values


def test_exceptions_returned_as_values_are_results(pool):
    errors = [ValueError("a"), KeyboardInterrupt(), SystemExit(3), StopIteration(), GeneratorExit()]
    results = pool.map(lambda e: e, errors)
    assert all(got is put for got, put in zip(results, errors, strict=True))


def test_exception_classes_and_worker_exceptions_as_values(pool):
    values = [ValueError, WorkerException(ValueError(), "text")]
    assert pool.map(lambda e: e, values) == values


def test_hundred_thousand_trivial_items(pool):
    assert pool.map(square, range(100_000)) == [i * i for i in range(100_000)]


# star


def test_star_spreads_items(pool):
    assert pool.map(pow, [(2, 3), [3, 2], range(2, 4)], star=True) == [8, 9, 8]
    assert pool.map(lambda *a: a, [(), (1,), "ab"], star=True) == [(), (1,), ("a", "b")]
    assert pool.map(lambda a, b: a - b, np.array([[5, 3], [9, 1]]), star=True) == [2, 8]


def test_without_star_items_stay_whole(pool):
    assert pool.map(lambda *a: a, [(1, 2), (3,)]) == [((1, 2),), ((3,),)]


def test_star_of_an_item_that_cannot_be_spread(pool):
    with pytest.raises(WorkerException) as caught:
        pool.map(pow, [(2, 3), 7], star=True)
    assert isinstance(caught.value.reason, TypeError)


# minlength


@pytest.mark.parametrize(("n_items", "in_caller"), [(4, True), (5, False), (6, False)])
def test_shorter_than_minlength_runs_in_the_caller(n_items, in_caller):
    idents = MapReduce("thread", 2).map(
        lambda _: threading.get_ident(), range(n_items), minlength=5
    )
    assert [ident == threading.get_ident() for ident in idents] == [in_caller] * n_items


def test_positional_order_of_the_arguments():
    seen = []
    results = MapReduce("thread", 2).map(
        lambda a, b: (a, b, threading.get_ident()),
        [(1, 2), (3, 4)],
        lambda a, b, ident: seen.append(ident) or a + b,
        True,
        3,
    )
    assert results == [3, 7]
    assert set(seen) == {threading.get_ident()}


# chunksize


@pytest.mark.parametrize("chunksize", [1, 3, 10**9, np.int64(3)])
@pytest.mark.parametrize("n_items", [0, 1, 3, 4, 11])
def test_chunksize_does_not_change_results(pool, chunksize, n_items):
    expected = [i * i for i in range(n_items)]
    assert pool.map(square, range(n_items), chunksize=chunksize) == expected


@pytest.mark.parametrize(
    ("chunksize", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("1", TypeError)]
)
def test_bad_chunksize_raises_before_any_work(pool, chunksize, error):
    started = []
    for sequence in ([], [1, 2]):
        with pytest.raises(error):
            pool.map(started.append, sequence, chunksize=chunksize)
    assert started == []


def test_chunksize_items_go_to_one_worker():
    def work(_):
        if not started.is_set():
            started.set()
            second.wait(20)  # until the other worker has its own chunk
        else:
            second.set()
        return threading.get_ident()

    started, second = threading.Event(), threading.Event()
    idents = MapReduce("thread", 2).map(work, range(6), chunksize=3)
    assert len(set(idents[:3])) == len(set(idents[3:])) == 1
    assert idents[0] != idents[3]


# reduce


def test_reduce_runs_in_the_calling_thread(pool):
    idents = pool.map(square, range(50), reduce=lambda _: threading.get_ident())
    assert set(idents) == {threading.get_ident()}


def test_what_reduce_returns_is_kept_in_input_order(pool):
    assert pool.map(square, range(50), reduce=lambda x: -x) == [-i * i for i in range(50)]
    assert pool.map(square, range(3), reduce=lambda x: None) == [None] * 3


def test_reduce_is_called_once_for_each_result(pool):
    seen = []
    pool.map(square, range(50), seen.append)
    assert sorted(seen) == [i * i for i in range(50)]


def test_tuples_are_spread_over_the_arguments_of_reduce(pool):
    Pair = namedtuple("Pair", "a b")
    results = [(), (1,), (1, 2), Pair(3, 4), [5, 6], None, "ab"]
    expected = [(), (1,), (1, 2), (3, 4), ([5, 6],), (None,), ("ab",)]
    assert pool.map(lambda x: x, results, reduce=lambda *a: a) == expected


def test_reduce_is_not_called_for_no_items(pool):
    assert pool.map(square, [], reduce=lambda x: pytest.fail("called")) == []


@pytest.mark.parametrize("reduce", [3, "add"])
def test_reduce_must_be_callable(pool, reduce):
    for sequence in ([], [1]):
        with pytest.raises(TypeError):
            pool.map(square, sequence, reduce)


def test_reduce_gets_results_as_they_arrive(threaded):
    # Item 1 ends only after `reduce` has had the result of item 0.
    reduced = threading.Event()

    def work(i):
        return i if i == 0 else reduced.wait(10)

    def reduce(result):
        reduced.set()
        return result

    assert threaded.map(work, range(2), reduce, chunksize=1) == [0, True]


def test_serial_reduce_gets_results_as_they_arrive():
    trace = []
    MapReduce("serial").map(
        lambda i: trace.append(f"work {i}"),
        range(3),
        lambda _: trace.append("reduce"),
        chunksize=1,
    )
    assert trace == ["work 0", "reduce", "work 1", "reduce", "work 2", "reduce"]


def test_reduce_does_not_wait_for_an_earlier_item():
    reduced = threading.Event()

    def work(i):
        return reduced.wait(10) if i == 0 else i

    def reduce(result):
        order.append(result)
        reduced.set()
        return result

    order = []
    assert MapReduce("thread", 2).map(work, range(2), reduce) == [True, 1]
    assert order == [1, True]


@pytest.mark.parametrize("error", [ValueError("v"), KeyboardInterrupt(), SystemExit(4)])
@pytest.mark.parametrize("k", [0, 3, 9])
def test_exceptions_of_reduce_come_out_as_they_are(pool, error, k):
    def reduce(x):
        if x == k:
            raise error
        return x

    with pytest.raises(type(error)) as caught:
        pool.map(lambda x: x, range(10), reduce)
    assert caught.value is error
    assert pool.map(square, range(100)) == [i * i for i in range(100)]


def test_exception_of_reduce_ends_a_long_map(pool):
    n_started = 0

    def work(i):
        nonlocal n_started
        n_started += 1  # may lose counts: an upper bound is all that is asked for
        return i

    def reduce(x):
        raise ValueError(x)

    with pytest.raises(ValueError, match="0"):
        pool.map(work, range(1_000_000), reduce, chunksize=1)
    assert n_started < 500_000


# everything at once, against the list comprehension


@given(
    items=st.lists(st.tuples(st.integers(), st.integers()), max_size=60),
    kind=st.sampled_from(POOLS),
    chunksize=st.none() | st.integers(1, 70),
    star=st.booleans(),
    minlength=st.integers(0, 70),
    lazily=st.booleans(),
    reducing=st.booleans(),
)
def test_equals_the_list_comprehension(items, kind, chunksize, star, minlength, lazily, reducing):
    def work(*args):
        return ("seen", args)

    results = make_pool(kind).map(
        work,
        iter(items) if lazily else items,
        (lambda word, args: {word: args}) if reducing else None,
        star,
        minlength,
        chunksize=chunksize,
    )

    expected = [work(*item) if star else work(item) for item in items]
    assert results == ([{word: args} for word, args in expected] if reducing else expected)
