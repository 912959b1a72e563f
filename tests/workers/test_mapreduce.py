"""What `map` returns, who runs it, and what it does with its arguments; see test_reduce too."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import (
    MapReduce,
    MapReduceByThread,
    ProcessBackend,
    SerialBackend,
    ThreadBackend,
    WorkerException,
)
from tests.workers.support import POOLS, each_backend, make_pool
from tests.workers.synchronization import Barrier, Log, here


def square(x):
    return x * x


# backends and worker counts


@pytest.mark.parametrize(
    "backend", ["thread", "process", "serial", ThreadBackend, ProcessBackend, SerialBackend]
)
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


def test_by_default_runs_in_other_processes():
    pids = MapReduce(np=2).map(lambda _: os.getpid(), range(4))
    assert os.getpid() not in pids
    assert set(MapReduceByThread(2).map(lambda _: os.getpid(), range(4))) == {os.getpid()}


@pytest.mark.parametrize(
    ("backend", "np"), [("serial", 3), ("serial", None), ("thread", 0), ("process", 0)]
)
def test_serial_runs_in_the_caller(backend, np):
    assert set(MapReduce(backend, np).map(lambda _: here(), range(20))) == {here()}


@each_backend
@pytest.mark.parametrize("np", [1, 2, 3, 7])
def test_np_workers_run_side_by_side(backend, np):
    # The barrier opens only where np items run at the same time.
    barrier = Barrier(np)
    workers = MapReduce(backend, np).map(
        lambda _: (barrier.wait(), here())[1], range(np), chunksize=1
    )
    assert len(set(workers)) == np
    assert here() not in workers


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_no_more_processes_than_items(fork_calls, n_items):
    pool = MapReduce("process", 10_000)
    assert pool.map(square, range(n_items)) == [i * i for i in range(n_items)]
    assert len(fork_calls) == n_items


def test_nothing_to_do_forks_nothing(fork_calls):
    pool = MapReduce("process", 2)
    assert pool.map(square, []) == []
    assert pool.map(square, range(3), minlength=4) == [0, 1, 4]
    assert list(pool.imap(square, [])) == []
    assert fork_calls == []
    pool.map(square, range(4), minlength=4)
    assert len(fork_calls) == 2


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


ERRORS = [
    ValueError,
    *(ValueError("a"), KeyboardInterrupt(), SystemExit(3), StopIteration(), GeneratorExit()),
    WorkerException(ValueError("b"), "text"),
]


def test_exceptions_returned_as_values_are_results(sharing):
    results = sharing.map(lambda e: e, ERRORS)
    assert all(got is put for got, put in zip(results, ERRORS, strict=True))


def test_exceptions_returned_by_processes_are_results(forked):
    results = forked.map(lambda e: e, ERRORS)
    assert results[0] is ValueError
    assert [repr(error) for error in results] == [repr(error) for error in ERRORS]


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


@each_backend
@pytest.mark.parametrize(("n_items", "in_caller"), [(4, True), (5, False), (6, False)])
def test_shorter_than_minlength_runs_in_the_caller(backend, n_items, in_caller):
    workers = MapReduce(backend, 2).map(lambda _: here(), range(n_items), minlength=5)
    assert [worker == here() for worker in workers] == [in_caller] * n_items


@each_backend
def test_positional_order_of_the_arguments(backend):
    seen = []
    results = MapReduce(backend, 2).map(
        lambda a, b: (a, b, here()),
        [(1, 2), (3, 4)],
        lambda a, b, worker: seen.append(worker) or a + b,
        True,
        3,
    )
    assert results == [3, 7]
    assert set(seen) == {here()}


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
    started = Log()
    for sequence in ([], [1, 2]):
        for run in (pool.map, pool.imap):
            with pytest.raises(error):
                run(started.append, sequence, chunksize=chunksize)
    assert len(started) == 0


BAD = {
    "func": {"func": 3},
    "reduce": {"reduce": 3},
    "chunksize": {"chunksize": 0},
    "timeout": {"timeout": -1},
    "progress": {"progress": "bar"},
    "sequence": {"sequence": 5},
}


@pytest.mark.parametrize("name", ["map", "imap"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_arguments_raise_before_any_fork(fork_calls, bad, name):
    with pytest.raises((TypeError, ValueError)):
        getattr(MapReduce("process", 2), name)(**{"func": abs, "sequence": [1, 2]} | bad)
    assert fork_calls == []


@each_backend
def test_chunksize_items_go_to_one_worker(backend):
    def work(i):
        if i % 3 == 0:
            both.wait()  # until the other worker has its own chunk
        return here()

    both = Barrier(2)
    workers = MapReduce(backend, 2).map(work, range(6), chunksize=3)
    assert len(set(workers[:3])) == len(set(workers[3:])) == 1
    assert workers[0] != workers[3]


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
