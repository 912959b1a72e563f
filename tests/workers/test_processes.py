"""Worker processes: what they inherit, what stays theirs, and how their results travel."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray import ForkInThreadsWarning, MapReduce, MapReduceByThread, WorkerException
from tests.workers.support import run_script

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")


# what they inherit, and what stays theirs


def test_closures_see_what_was_there_when_the_map_started(forked):
    scale = 2
    double = lambda x: scale * x  # noqa: E731 - a lambda does not pickle
    assert forked.map(double, range(5)) == [0, 2, 4, 6, 8]
    scale = 3
    assert forked.map(double, range(5)) == [0, 3, 6, 9, 12]


def test_private_arrays_are_inherited(forked):
    private = np.arange(100_000.0)
    assert forked.map(lambda i: private[i::10].sum(), range(10)) == [
        private[i::10].sum() for i in range(10)
    ]


def test_what_a_process_writes_to_private_memory_stays_its_own(forked):
    private, plain = np.zeros(10), []

    def work(i):
        private[i] = 1
        plain.append(i)
        return private[i]

    assert forked.map(work, range(10)) == [1] * 10
    assert not private.any()
    assert plain == []


def test_what_a_process_writes_to_shared_memory_everyone_sees(forked):
    # The twin of the test above.
    shared = sharedarray.zeros((10, 1000), "f4")

    def work(i):
        shared[i] = i
        return shared[i].sum()

    seen = []
    sums = forked.map(work, range(10), lambda total: seen.append(shared.any()) or total)
    assert sums == [1000 * i for i in range(10)]
    assert (np.asarray(shared) == np.arange(10)[:, None]).all()
    assert all(seen[1:])


def test_attributes_that_an_item_sets_on_the_pool_stay_its_own(forked):
    forked.map(lambda i: setattr(forked, "np", 100 + i), range(4))
    assert forked.np < 100


def test_each_map_has_processes_of_its_own(forked):
    first, second = (set(forked.map(lambda _: os.getpid(), range(20))) for _ in range(2))
    assert not first & second
    assert len(first) <= forked.np


def test_parent_of_the_workers_is_the_caller(forked):
    assert set(forked.map(lambda _: os.getppid(), range(5))) == {os.getpid()}


def test_processes_have_one_thread(forked):
    MapReduce("thread", 3).map(abs, range(20))
    assert set(forked.map(lambda _: threading.active_count(), range(5))) == {1}


# how results travel


RESULTS = [
    None,
    "text" * 100_000,
    {"a": [1, (2.5, {3})]},
    np.arange(5),
    np.arange(200_000.0).reshape(2, -1)[:, ::-2],
    np.zeros((3, 0)),
    np.float32(1.5),
    np.datetime64("2020-01-01"),
    np.array([("a", 1)], "U1,i8"),
    np.array([None, {}], object),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: type(r).__name__)
def test_results_come_as_they_are(forked, result):
    for got in forked.map(lambda _: result, range(5), chunksize=2):
        assert type(got) is type(result)
        np.testing.assert_array_equal(got, result, strict=True)


def test_results_that_are_larger_than_a_pipe(forked):
    for nbytes in (65_535, 65_536, 65_537, 1_000_000):
        results = forked.map(lambda i, n=nbytes: bytes([i]) * n, range(9), chunksize=1)
        assert results == [bytes([i]) * nbytes for i in range(9)]


def test_many_middling_results_while_reduce_is_slow():
    # More than all sockets hold: the workers wait for the coordinator.
    total = 0

    def reduce(data):
        nonlocal total
        total += len(data)
        sum(range(20_000))  # the user's work

    MapReduce("process", 3).map(lambda i: b"x" * 50_000, range(100), reduce, chunksize=1)
    assert total == 5_000_000


def test_shared_array_of_the_caller_comes_back_as_the_same_memory(forked):
    shared = sharedarray.arange(12.0).reshape(3, 4)
    for row in forked.map(lambda i: shared[i, ::-1], range(3)):
        assert type(row) is sharedarray.SharedArray
        assert np.shares_memory(row, shared)


@pytest.mark.parametrize("n", [0, 1, 1000, 500_000])
def test_shared_array_that_a_process_makes_comes_back(forked, n):
    def work(i):
        return sharedarray.full(n, i, "i4"), i

    for i, (made, _) in enumerate(forked.map(work, range(5), all_of)):
        assert type(made) is sharedarray.SharedArray
        np.testing.assert_array_equal(made, np.full(n, i, "i4"), strict=True)
        made[:] = -1  # it belongs to the caller now
        assert forked.map(lambda i, made=made: made[i : i + 1].tolist(), [0]) == [[-1] * min(n, 1)]


def all_of(*values):
    return values


def test_private_array_made_of_a_shared_one_comes_back_as_private(forked):
    shared = sharedarray.arange(10)
    assert {type(a) for a in forked.map(lambda _: shared + 1, range(3))} == {np.ndarray}


class Grumpy:
    """What pickles, and does not unpickle."""

    def __reduce__(self):
        return itemgetter(5), ([1],)


UNPICKLABLE = {
    "lambda": lambda: lambda: 1,
    "generator": lambda: (i for i in range(3)),
    "lock": threading.Lock,
    "file": lambda: sys.stderr,
    "not back": Grumpy,
}


@pytest.mark.parametrize("make", UNPICKLABLE.values(), ids=UNPICKLABLE)
@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_result_that_does_not_travel_names_its_item(forked, make, chunksize):
    with pytest.raises(WorkerException) as caught:
        forked.map(lambda i: make() if i == 6 else i, range(10), chunksize=chunksize)
    assert isinstance(caught.value.reason, (TypeError, AttributeError, IndexError, OSError)) or (
        "pickle" in repr(caught.value.reason).lower()
    )
    assert "result of item 6" in caught.value.traceback
    assert forked.map(abs, [-1]) == [1]


def test_result_that_does_not_travel_is_fine_for_threads(sharing):
    # The twin: only processes need to pickle.
    assert all(callable(f) for f in sharing.map(lambda i: lambda: i, range(5)))


# output, and the end


def test_what_the_caller_has_printed_before_is_printed_once(tmp_path):
    script = """
print("before", end=" ")  # still in the buffer when the workers are forked
MapReduce("process", 3).map(lambda i: None, range(9))
print("after")
"""
    source = "sys.stdout = open(1, 'w', buffering=100_000, closefd=False)\n" + script
    assert run_script(source, tmp_path) == "before after\n"


def test_what_a_process_prints_is_not_lost(tmp_path):
    script = """
sys.stdout = open(1, 'w', buffering=100_000, closefd=False)
MapReduce("process", 3).map(lambda i: print(i), range(9))
"""
    assert sorted(run_script(script, tmp_path).split()) == [str(i) for i in range(9)]


def test_no_code_of_the_caller_runs_in_the_workers(tmp_path):
    script = """
import atexit
atexit.register(lambda: print(os.getpid() == parent))
parent = os.getpid()
try:
    MapReduce("process", 3).map(lambda i: sys.exit(3), range(9))
except WorkerException as error:
    print(os.getpid() == parent, error.reason.code)
finally:
    print(os.getpid() == parent)
"""
    assert run_script(script, tmp_path) == "True 3\nTrue\nTrue\n"


def test_start_method_of_multiprocessing_has_no_effect(tmp_path):
    script = """
import multiprocessing
multiprocessing.set_start_method("spawn")
offset = 10
print(MapReduce(np=2).map(lambda i: i + offset, range(3)))
"""
    assert run_script(script, tmp_path) == "[10, 11, 12]\n"


# where there is no fork, or other threads are in its way


def test_without_fork_it_says_what_to_use(monkeypatch):
    monkeypatch.delattr(os, "fork")
    pool = MapReduce("process", 2)
    for run in (pool.map, lambda *a: list(pool.imap(*a))):
        with pytest.raises(NotImplementedError, match="MapReduceByThread") as caught:
            run(abs, [-1])
        assert sys.platform in str(caught.value)
    assert pool.map(abs, []) == []
    assert pool.map(abs, [-1], minlength=2) == [1]
    assert MapReduce("process", 0).map(abs, [-1]) == [1]
    assert MapReduceByThread(2).map(abs, [-1]) == [1]


def warn_as_on_python_312(monkeypatch):
    monkeypatch.setattr(sys, "version_info", max(sys.version_info, (3, 12)))


def test_other_threads_are_warned_of_before_the_fork(monkeypatch, fork_calls):
    # The main thread is one: a test runs in a thread of its own.
    pool = MapReduce("process", 2)
    with monkeypatch.context() as patch:
        warn_as_on_python_312(patch)
        with pytest.warns(ForkInThreadsWarning, match="MainThread") as caught:
            assert pool.map(abs, [-1, 2]) == [1, 2]
    assert len(caught) == 1
    assert "MapReduceByThread" in str(caught[0].message)
    assert caught[0].filename == __file__, "the line of the caller"
    assert len(fork_calls) == 2


def test_warning_that_is_an_error_comes_before_the_fork(monkeypatch, fork_calls):
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warn_as_on_python_312(patch)
        warnings.simplefilter("error", ForkInThreadsWarning)
        n_open = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(ForkInThreadsWarning) as caught:
            MapReduce("process", 2).map(abs, [-1, 2])
        # Also while the exception, and with it the frames of the map, is alive.
        assert len(list(Path("/proc/self/fd").iterdir())) == n_open
    assert caught.value is not None
    assert fork_calls == []


def test_idle_threads_of_ours_are_not_warned_of(tmp_path):
    script = """
sys.version_info = max(sys.version_info, (3, 12))
for _ in range(20):
    MapReduce("thread", 3).map(abs, range(20))
    assert MapReduce("process", 2).map(abs, [-1, 2]) == [1, 2]
print("silence")
"""
    assert run_script(script, tmp_path) == "silence\n"
