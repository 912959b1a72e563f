"""Context variables: the caller's hold in the workers, the workers' end with them."""

from __future__ import annotations

from contextvars import Context, ContextVar

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from tests.workers.support import each_backend, in_threads
from tests.workers.synchronization import Barrier

# A test runs in a thread of its own, see conftest: what it sets ends with it.
setting = ContextVar("setting", default="nothing")


def test_variables_of_the_caller_hold_in_the_workers(pool):
    setting.set("by caller")
    assert pool.map(lambda _: setting.get(), range(20)) == ["by caller"] * 20
    setting.set("later")
    assert pool.map(lambda _: setting.get(), range(20)) == ["later"] * 20


def test_variables_of_a_worker_do_not_leak_back(pool):
    setting.set("by caller")
    pool.map(lambda _: setting.set("by worker") and None, range(20))
    assert setting.get() == "by caller"
    assert pool.map(lambda _: setting.get(), [1]) == ["by caller"]


@each_backend
def test_variables_of_one_worker_are_not_those_of_another(backend):
    barrier = Barrier(3)

    def work(i):
        setting.set(i)
        barrier.wait()
        return setting.get()

    assert MapReduce(backend, 3).map(work, range(3)) == [0, 1, 2]


@each_backend
def test_idle_workers_forget_the_variables(backend):
    setting.set("first map")
    pool = MapReduce(backend, 2)
    pool.map(lambda _: setting.set("by worker") and None, range(4))
    assert Context().run(pool.map, lambda _: setting.get(), range(4)) == ["nothing"] * 4


def test_reduce_runs_in_the_context_of_the_caller(pool):
    setting.set("by caller")
    seen = pool.map(abs, [1], reduce=lambda _: setting.get())
    pool.map(abs, [1], reduce=lambda _: setting.set("by reduce") and None)
    assert (seen, setting.get()) == (["by caller"], "by reduce")


def test_generator_runs_in_the_context_of_the_caller(pool):
    def generate():
        for i in range(5):
            setting.set(f"by generator {i}")
            yield i

    setting.set("by caller")
    pool.map(abs, generate())
    assert setting.get() == "by generator 4"


# np.errstate is a context variable of NumPy


def log(x):
    return np.log(np.float64(x))


def test_errstate_of_the_caller_holds(pool):
    with np.errstate(all="raise"), pytest.raises(WorkerException) as caught:
        pool.map(log, [1, 0])
    assert isinstance(caught.value.reason, FloatingPointError)
    with np.errstate(all="ignore"):  # any warning is an error here
        assert pool.map(log, [1, 0]) == [0, -np.inf]


def test_errstate_of_the_worker_does_not_leak_back(pool):
    before = np.geterr()
    pool.map(lambda _: np.seterr(all="raise") and None, range(20))
    after = np.geterr()
    np.seterr(**before)
    assert after == before


def test_errstate_is_back_in_the_next_map(pool):
    with np.errstate(all="raise"):
        pool.map(abs, range(20))
    with np.errstate(all="ignore"):
        assert pool.map(log, [0] * 20) == [-np.inf] * 20


# num_workers is one of ours


@each_backend
def test_share_of_the_workers(backend):
    with sharedarray.num_workers(8):
        for np_, share in [(1, 8), (2, 4), (3, 2), (8, 1), (100, 1)]:
            counts = MapReduce(backend, np_).map(lambda _: sharedarray.cpu_count(), range(100))
            assert set(counts) == {share}
        assert sharedarray.cpu_count() == 8


@each_backend
@pytest.mark.parametrize("source", ["environment", "function"])
def test_share_of_every_source(monkeypatch, backend, source):
    if source == "environment":
        monkeypatch.setenv("SHAREDARRAY_NUM_WORKERS", "6")
    else:
        sharedarray.set_num_workers(6)
    assert MapReduce(backend, 2).map(lambda _: MapReduce().np, range(5)) == [3] * 5


def test_serial_has_no_share_to_give():
    with sharedarray.num_workers(8):
        for pool in (MapReduce("serial"), MapReduce("process", 0), MapReduce("thread", 0)):
            assert pool.map(lambda _: sharedarray.cpu_count(), [1]) == [8]


def test_share_holds_in_a_thread_that_a_process_starts():
    def work(_):
        return in_threads(sharedarray.cpu_count)

    with sharedarray.num_workers(8):
        assert MapReduce("process", 2).map(work, range(4)) == [[4]] * 4


@each_backend
def test_worker_may_choose_its_own_count(backend):
    def work(_):
        with sharedarray.num_workers(5):
            return sharedarray.cpu_count()

    with sharedarray.num_workers(7):
        assert MapReduce(backend, 2).map(work, range(4)) == [5] * 4
        assert sharedarray.cpu_count() == 7


def test_reduce_has_the_count_of_the_caller(pool):
    with sharedarray.num_workers(8):
        assert pool.map(abs, [1, 2], reduce=lambda _: sharedarray.cpu_count()) == [8, 8]


def test_what_an_item_sets_the_next_one_does_not_see(pool):
    def work(i):
        seen = setting.get()
        setting.set(i)
        return seen

    setting.set("by caller")
    assert pool.map(work, range(50)) == ["by caller"] * 50
