"""`reduce`: in the caller, with each result as it arrives, tuples spread over its arguments."""

from __future__ import annotations

import threading
from collections import namedtuple

import pytest

import sharedarray
from sharedarray import MapReduce
from tests.workers.support import each_backend
from tests.workers.synchronization import Event

Pair = namedtuple("Pair", "a b")


def square(x):
    return x * x


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


def test_reduce_gets_results_as_they_arrive(parallel):
    # Item 1 ends only after `reduce` has had the result of item 0.
    reduced = Event()

    def work(i):
        return i if i == 0 else reduced.wait(10)

    def reduce(result):
        reduced.set()
        return result

    assert parallel.map(work, range(2), reduce, chunksize=1) == [0, True]


@pytest.mark.parametrize("pool", [MapReduce("serial"), MapReduce("process", 0)])
def test_serial_reduce_gets_results_as_they_arrive(pool):
    trace = []
    pool.map(
        lambda i: trace.append(f"work {i}"),
        range(3),
        lambda _: trace.append("reduce"),
        chunksize=1,
    )
    assert trace == ["work 0", "reduce", "work 1", "reduce", "work 2", "reduce"]


@each_backend
def test_reduce_does_not_wait_for_an_earlier_item(backend):
    reduced = Event()

    def work(i):
        return reduced.wait(10) if i == 0 else i

    def reduce(result):
        order.append(result)
        reduced.set()
        return result

    order = []
    assert MapReduce(backend, 2).map(work, range(2), reduce) == [True, 1]
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
    n_started = sharedarray.zeros(1, int)

    def work(i):
        n_started[0] += 1  # may lose counts: an upper bound is all that is asked for
        return i

    def reduce(x):
        raise ValueError(x)

    with pytest.raises(ValueError, match=r"^\d+$"):  # whichever result comes first
        pool.map(work, range(1_000_000), reduce, chunksize=1)
    assert n_started[0] < 500_000
