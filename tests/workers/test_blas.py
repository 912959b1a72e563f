"""Threads of BLAS and OpenMP: a worker process has its share of them, where threadpoolctl is."""

from __future__ import annotations

import os
import sys
import types

import pytest

import sharedarray
from sharedarray import MapReduce, WorkerException
from sharedarray.openmp.parallel import Parallel
from sharedarray.workers import blas
from tests.workers.support import in_threads
from tests.workers.synchronization import Event

MOST = 64  # threads of the library, when nobody limits it


class Library:
    """What has threads: their number, and the limits that were asked for in this process."""

    def __init__(self):
        self.n_threads = MOST
        self.limits = []
        self.n_searches = 0


class Limit:
    """What threadpoolctl gives: it limits as soon as it is made."""

    def __init__(self, library, limits):
        self._library = library
        self._before = library.n_threads
        library.n_threads = limits
        library.limits.append(limits)

    def restore_original_limits(self):
        self._library.n_threads = self._before


@pytest.fixture
def _forgetful():
    def forget():
        blas._threadpoolctl.cache_clear()
        blas._thread_pools.cache_clear()

    forget()
    yield
    forget()


@pytest.fixture
def library(monkeypatch, _forgetful):
    """A library whose threads the threadpoolctl of this test can limit."""
    found = Library()

    class ThreadpoolController:
        def __init__(self):
            found.n_searches += 1

        def limit(self, *, limits, user_api=None):
            assert user_api is None, "BLAS and OpenMP, both"
            return Limit(found, limits)

    module = types.ModuleType("threadpoolctl")
    module.ThreadpoolController = ThreadpoolController
    monkeypatch.setitem(sys.modules, "threadpoolctl", module)
    return found


@pytest.mark.usefixtures("_forgetful")
def test_without_threadpoolctl_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert MapReduce("process", 2).map(abs, range(4)) == [0, 1, 2, 3]


@pytest.mark.parametrize(("np", "share"), [(1, 8), (2, 4), (3, 2), (7, 1), (20, 1)])
def test_each_process_has_its_share(library, np, share):
    with sharedarray.num_workers(8):
        found = MapReduce("process", np).map(lambda _: library.n_threads, range(20))
    assert found == [share] * 20
    assert library.limits == [share]


def test_the_caller_has_its_threads_back(library):
    seen = []
    MapReduce("process", 2).map(abs, range(9), lambda _: seen.append(library.n_threads))
    assert seen == [MOST] * 9
    with pytest.raises(WorkerException):
        MapReduce("process", 2).map(lambda i: 1 // i, range(9))
    assert library.n_threads == MOST


def test_the_caller_has_its_threads_back_when_no_process_can_be_had(library, monkeypatch):
    def refuse():
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("os.fork", refuse)
    with pytest.raises(BlockingIOError):
        MapReduce("process", 2).map(abs, range(9))
    assert library.n_threads == MOST


def test_an_interrupt_on_the_way_in_leaves_no_limit(library, monkeypatch):
    init = Limit.__init__

    def interrupted(self, *args):
        init(self, *args)
        monkeypatch.setattr(Limit, "__init__", init)
        raise KeyboardInterrupt

    monkeypatch.setattr(Limit, "__init__", interrupted)
    with pytest.raises(KeyboardInterrupt), blas.limited_threads(1):
        pass
    assert not blas._wanted
    library.n_threads = MOST  # nobody knew it when the interrupt came
    with blas.limited_threads(3):
        assert library.n_threads == 3
    assert library.n_threads == MOST


def test_libraries_that_come_in_a_block_are_given_back_too(library):
    with blas.limited_threads(3):
        blas._thread_pools.cache_clear()  # as after an import
        with blas.limited_threads(2):
            assert library.n_threads == 2
        assert library.n_threads == 3
    assert library.n_threads == MOST
    assert library.n_searches == 2
    assert not blas._limiters


@pytest.mark.parametrize("limits", [(2, 3), (3, 2), (2, 2)])
def test_limits_that_overlap(library, limits):
    one, other = map(blas.limited_threads, limits)
    one.__enter__()
    other.__enter__()
    assert library.n_threads == 2
    one.__exit__(None, None, None)  # the first one goes first
    assert library.n_threads == limits[1]
    other.__exit__(None, None, None)
    assert library.n_threads == MOST


def test_blocks_that_overlap(library):
    inside = [Event(), Event()]

    def block(i):
        with sharedarray.num_workers(8), Parallel(num_threads=2) as p:
            if p.master:
                inside[i].set()
                inside[1 - i].wait()
        return library.n_threads

    in_threads(lambda: block(0), lambda: block(1))
    assert library.limits[:2] == [4, 4]
    assert library.n_threads == MOST


def test_a_child_keeps_the_limit_of_the_block_that_it_leaves(library):
    found = sharedarray.zeros(2, int)
    with blas.limited_threads(3):
        child = os.fork()
        if not child:
            found[0] = library.n_threads
    if not child:
        found[1] = library.n_threads
        os._exit(0)
    os.waitpid(child, 0)
    assert found.tolist() == [3, 3]
    assert library.n_threads == MOST


def test_processes_in_processes_have_a_share_of_the_share(library):
    inner = MapReduce("process", 2)

    def work(_):
        return library.n_threads, inner.map(lambda _: library.n_threads, range(2))

    with sharedarray.num_workers(8):
        assert MapReduce("process", 2).map(work, range(3)) == [(4, [2, 2])] * 3


@pytest.mark.parametrize("pool", [MapReduce("serial"), MapReduce("thread", 2), MapReduce(np=0)])
def test_where_nothing_is_forked_nothing_is_limited(library, pool):
    assert pool.map(lambda _: library.n_threads, range(4)) == [MOST] * 4
    assert library.limits == []


def test_libraries_are_looked_for_once_and_again_after_an_import(library, monkeypatch):
    pool = MapReduce("process", 2)
    for _ in range(3):
        pool.map(abs, range(4))
    assert library.n_searches == 1
    monkeypatch.setitem(sys.modules, "brings_a_library", types.ModuleType("brings_a_library"))
    pool.map(abs, range(4))
    assert library.n_searches == 2
