"""What every map does, on executors and on Dask: order, laziness, failures, random numbers."""

from __future__ import annotations

import itertools
import linecache
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import (
    DaskBackend,
    ExecutorBackend,
    LostExceptionType,
    MapReduce,
    WorkerException,
)
from sharedarray.workers import mapcall
from tests.cluster.engines import client, cluster, processes, threads  # noqa: F401 - fixtures
from tests.workers.support import reason_of

ENGINES = ["threads", "processes", "client"]


@pytest.fixture(scope="module", params=ENGINES)
def backend(request):
    engine = request.getfixturevalue(request.param)
    return DaskBackend(engine) if request.param == "client" else ExecutorBackend(engine)


@pytest.fixture(scope="module", params=["processes", "client"])
def remote(request):
    engine = request.getfixturevalue(request.param)
    return DaskBackend(engine) if request.param == "client" else ExecutorBackend(engine)


@pytest.fixture
def pool(backend):
    return MapReduce(backend, seed=3)


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 101])
@pytest.mark.parametrize("sequence_of", [range, lambda n: iter(range(n)), np.arange, "x".__mul__])
def test_results_are_in_the_order_of_the_items(pool, n_items, sequence_of):
    expected = [(item, 7) for item in sequence_of(n_items)]
    seven = 7
    assert pool.map(lambda item: (item, seven), sequence_of(n_items)) == expected
    assert list(pool.imap(lambda item: (item, seven), sequence_of(n_items))) == expected


@pytest.mark.parametrize("chunksize", [1, 6, 7, 8, 100])
def test_claims_have_the_size_that_is_asked_for(backend, chunksize):
    spans = []
    pool = MapReduce(backend, trace=spans.append)
    assert pool.map(abs, range(8), chunksize=chunksize) == list(range(8))
    assert sorted(span.stop - span.start for span in spans) == sorted(
        min(8, start + chunksize) - start for start in range(0, 8, chunksize)
    )


def test_claims_of_short_items_grow(backend):
    spans = []
    MapReduce(backend, trace=spans.append).map(abs, range(1000))
    MapReduce(backend, trace=spans.append).map(abs, iter(range(1000)))
    assert sum(span.stop - span.start for span in spans) == 2000
    assert len(spans) < 150


def test_star_reduce_minlength_progress(pool):
    assert pool.map(pow, [(2, 3), (3, 2)], star=True) == [8, 9]
    seen, done = [], []

    def reduce(a, b):
        seen.append((a, b))
        return a - b

    doubled = pool.map(lambda i: (i, -i), range(10), reduce, progress=done.append)
    assert doubled == [2 * i for i in range(10)]
    assert sorted(seen) == [(i, -i) for i in range(10)]
    assert done == sorted(done)
    assert done[-1] == 10
    assert set(pool.map(lambda _: os.getpid(), range(3), minlength=4)) == {os.getpid()}


def test_pool_has_the_workers_of_its_engine(pool, backend):
    assert pool.np == 2
    assert MapReduce(backend, np=5).map(abs, range(-20, 0)) == list(range(20, 0, -1))
    assert MapReduce(backend, np=0).map(lambda _: os.getpid(), range(3)) == [os.getpid()] * 3
    assert set(pool.map(lambda _: pool.local.rank, range(50))) <= {0, 1}


def test_ranks_that_run_at_the_same_time_differ(pool):
    running = sharedarray.zeros(2, int)

    def work(_):
        rank = pool.local.rank
        running[rank] += 1
        alone = all(running[rank] == 1 for _ in range(1000))
        running[rank] -= 1
        return bool(alone)

    assert all(pool.map(work, range(20), chunksize=1))


@given(seed=st.integers(0, 2**40), n_items=st.integers(1, 12), chunksize=st.sampled_from([None, 5]))
def test_numbers_depend_on_the_seed_and_the_item_only(threads, processes, seed, n_items, chunksize):  # noqa: F811
    def draw(pool):
        items = range(n_items)
        return pool.map(lambda _: pool.local.rng.integers(2**60), items, chunksize=chunksize)

    expected = draw(MapReduce("serial", seed=seed))
    for engine in (threads, processes):
        assert draw(MapReduce(ExecutorBackend(engine), seed=seed)) == expected


def test_numbers_are_those_of_processes(pool):
    def draw(pool):
        return [
            pool.map(lambda _: pool.local.rng.integers(2**60), range(9)),
            # A map within an item.
            pool.map(lambda _: pool.map(lambda _: pool.local.rng.random(), range(2)), range(3)),
        ]

    assert draw(pool) == draw(MapReduce("serial", seed=3)) == draw(MapReduce("process", 2, seed=3))


def test_local_keeps_what_a_worker_has_set(backend):
    # One worker, in whichever of the processes: it may be another one's turn.
    pool = MapReduce(backend, np=1)

    def work(_):
        if not hasattr(pool.local, "n_seen"):
            pool.local.n_seen = 0
        pool.local.n_seen += 1
        return os.getpid(), pool.local.n_seen

    counts = pool.map(work, range(30), chunksize=5)
    for pid in {pid for pid, _ in counts}:
        n_here = sum(p == pid for p, _ in counts)
        assert [n for p, n in counts if p == pid] == list(range(1, n_here + 1))


def test_errstate_of_the_caller_holds(pool):
    with np.errstate(divide="raise"):
        assert isinstance(reason_of(pool, lambda i: np.float64(i) / 0, [1]), FloatingPointError)


def test_worker_has_its_share_of_the_machine(pool):
    with sharedarray.num_workers(2):
        assert set(pool.map(lambda _: sharedarray.cpu_count(), range(4))) == {1}


def test_imap_is_lazy(pool):
    taken = []
    results = pool.imap(abs, (taken.append(i) or i for i in itertools.count()), chunksize=2)
    assert taken == []
    assert list(itertools.islice(results, 5)) == [0, 1, 2, 3, 4]
    assert len(taken) <= 5 + 2 * (2 * pool.np + pool.np) + 2
    results.close()


def test_slow_iterator_is_not_waited_for(backend, monkeypatch):
    spans = []
    monkeypatch.setattr(mapcall, "FETCH_SECONDS", 0)
    assert MapReduce(backend, trace=spans.append).map(abs, iter(range(50))) == list(range(50))
    assert len(spans) == 50


def test_failure_ends_the_map(pool):
    class StarError(Exception):
        pass

    def fail(i):
        if i == 7:
            raise StarError("no such star", i)
        return i

    with pytest.raises(WorkerException, match="no such star") as caught:
        pool.map(fail, range(20))
    assert type(caught.value.reason) is StarError
    assert caught.value.__cause__ is caught.value.reason
    assert 'raise StarError("no such star", i)' in caught.value.traceback
    assert pool.map(abs, range(3)) == [0, 1, 2]


def test_traceback_has_the_lines_of_a_notebook(remote, monkeypatch):
    source = ["def fail(i):\n", "    work = 1 // i  # divide\n", "    return work\n"]
    # As an interpreter and a notebook keep their lines, which no worker has.
    monkeypatch.setitem(linecache.cache, "<cell 1>", (1, None, source, "<cell 1>"))
    namespace = {"__name__": "__main__"}
    exec(compile("".join(source), "<cell 1>", "exec"), namespace)

    def grouped(i):
        try:
            namespace["fail"](i)
        except ZeroDivisionError as error:
            raise ExceptionGroup("many", [error]) from None

    for func, bar in ((namespace["fail"], ""), (grouped, "    | ")):
        with pytest.raises(WorkerException) as caught:
            MapReduce(remote).map(func, range(3))
        frame = f'{bar}  File "<cell 1>", line 2, in fail\n{bar}    work = 1 // i  # divide\n'
        assert frame in caught.value.traceback
        assert caught.value.traceback.count("# divide") == 1


def test_other_exceptions_come_out_as_they_are(pool):
    with pytest.raises(ZeroDivisionError):
        pool.map(abs, range(5), reduce=lambda i: 1 // (i - 3))
    with pytest.raises(ZeroDivisionError):
        pool.map(abs, (1 // (i - 3) for i in range(5)))
    with pytest.raises(TypeError, match="func"):
        pool.map(5, range(5))
    assert isinstance(reason_of(pool, lambda _: exit(), range(3)), SystemExit)


def test_result_that_does_not_pickle_is_named(remote):
    with pytest.raises(WorkerException, match="result of item 5 does not pickle") as caught:
        MapReduce(remote).map(lambda i: (i for i in ()) if i == 5 else iter([i]), range(9))
    assert isinstance(caught.value.reason, TypeError)


def test_exception_that_does_not_pickle_is_told_by_its_text(remote):
    class StarError(Exception):
        def __init__(self, name):
            super().__init__(name)
            self.lock = threading.Lock()

    def fail(_):
        raise StarError("Vega")

    with pytest.warns(LostExceptionType, match="StarError"):
        reason = reason_of(MapReduce(remote), fail, range(3))
    assert type(reason) is Exception
    assert "Vega" in str(reason)


def test_what_cannot_be_sent_is_told_before_any_work(remote):
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"func cannot be sent.*lock"):
        MapReduce(remote).map(lambda _: lock, range(3))
    with pytest.raises(TypeError, match=r"item 0 cannot be sent.*lock"):
        MapReduce(remote).map(abs, [lock])


def test_shared_arrays_are_the_same_memory(pool):
    a = sharedarray.zeros(100, int)
    inside = a[10:20]

    def work(i):
        inside[i] = i + 1
        return a[3:5]

    results = pool.map(work, range(10))
    assert a[10:20].tolist() == list(range(1, 11))
    results[0][:] = 9
    assert a[3:5].tolist() == [9, 9]
    del results
    rows = sharedarray.arange(12).reshape(4, 3)
    pool.map(lambda row: np.negative(row, out=row), rows)
    assert (rows.ravel() == -np.arange(12)).all()


def test_arrays_that_workers_make_come_with_their_data(pool):
    results = pool.map(lambda i: sharedarray.full(40_000, i), range(4))
    assert [type(r) for r in results] == [sharedarray.SharedArray] * 4
    assert [(r == i).all() for i, r in enumerate(results)] == [True] * 4


def test_timeout(pool):
    with pytest.raises(TimeoutError, match=r"0\.2 s"):
        pool.map(lambda _: threading.Event().wait(0.1), range(100), timeout=0.2)
    assert pool.map(abs, range(3)) == [0, 1, 2]


def test_debug_runs_in_the_caller(pool):
    sharedarray.set_debug(True)
    assert pool.map(lambda _: os.getpid(), range(2)) == [os.getpid()] * 2


def test_forked_process_is_told_that_the_engine_is_not_there(pool):
    reason = reason_of(MapReduce("process", 1), lambda i: pool.map(abs, range(3)), range(2))
    assert isinstance(reason, RuntimeError)
    assert "forked" in str(reason)


@pytest.mark.parametrize("engine", [None, 5, "process", object()])
def test_bad_engines(engine):
    with pytest.raises(TypeError, match="Executor"):
        ExecutorBackend(engine)
    with pytest.raises(TypeError, match="Client"):
        DaskBackend(engine)
