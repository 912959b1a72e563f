"""An array of any size is the same memory in every kind of worker, however that was started."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import warnings
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

import sharedarray
from sharedarray import DaskBackend, ExecutorBackend, MapReduce
from tests.cluster.engines import dask_client, dask_cluster, process_executor

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SHAPES = {
    "scalar": (),
    "1 B": (1,),
    "64 B": (64,),
    "4 KiB": (4 * KIB,),
    "64 KiB - 1": (64 * KIB - 1,),
    "64 KiB": (64 * KIB,),
    "64 KiB + 1": (64 * KIB + 1,),
    "312 KiB": (312 * KIB,),
    "1 MiB - 1": (MIB - 1,),
    "1 MiB": (MIB,),
    "1 MiB + 1": (MIB + 1,),
    "4 MiB": (4 * MIB,),
    "1 GiB, sparse": (GIB,),
}
VIEWS = {
    "whole": lambda a: a,
    "every third, reversed": lambda a: a[::-3] if a.ndim else a.T,
    "without elements": lambda a: np.atleast_1d(a)[:0],
}
START_METHODS = ("fork", "spawn", "forkserver")


def use(a):
    """Return what there is of an array, and write to its first and last element."""
    found = type(a).__name__, a.shape, a.strides, [int(a.flat[i]) for i in range(-1, 1) if a.size]
    for i in range(-1, 1):
        if a.size:
            a.flat[i] = 7
    return found


@contextmanager
def submitting(executor):
    """Yield what calls `use` in the worker of an executor."""
    with executor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of a fork where there are threads
            executor.submit(abs, 1).result()
        yield lambda a: executor.submit(use, a).result(20)


@contextmanager
def started_by(method):
    context = multiprocessing.get_context(method)
    with submitting(concurrent.futures.ProcessPoolExecutor(1, context)) as call:
        yield call
    if method == "forkserver":
        from multiprocessing import forkserver

        forkserver._forkserver._stop()


@contextmanager
def pool_of(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        pool = multiprocessing.get_context(method).Pool(1)
    with pool:
        yield lambda a: pool.apply_async(use, (a,)).get(20)
    pool.join()


def of_loky():
    loky = pytest.importorskip("loky")
    return submitting(loky.ProcessPoolExecutor(1))


@contextmanager
def of_joblib():
    joblib = pytest.importorskip("joblib")
    reusable = pytest.importorskip("joblib.externals.loky.reusable_executor")
    with joblib.Parallel(n_jobs=2) as parallel:
        parallel(joblib.delayed(abs)(i) for i in range(4))
        yield lambda a: parallel([joblib.delayed(use)(a)])[0]
    reusable.get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def on_an_executor():
    with process_executor(1) as executor:
        pool = MapReduce(ExecutorBackend(executor))
        pool.map(abs, range(4))
        yield lambda a: pool.map(lambda _: use(a), [0], timeout=20)[0]


@contextmanager
def on_dask(folder):
    pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Dask thinks of this machine is no matter of ours
        with dask_cluster(folder) as address, dask_client(address) as client:
            pool = MapReduce(DaskBackend(client))
            yield lambda a: pool.map(lambda _: use(a), [0], timeout=20)[0]


def on_our_processes():
    pool = MapReduce(np=1)
    return nullcontext(lambda a: pool.map(lambda _: use(a), [0], timeout=20)[0])


ENGINES = {
    "MapReduce": lambda folder: on_our_processes(),
    **{
        f"ProcessPoolExecutor, {method}": lambda folder, method=method: started_by(method)
        for method in START_METHODS
    },
    "multiprocessing.Pool, fork": lambda folder: pool_of("fork"),
    "multiprocessing.Pool, spawn": lambda folder: pool_of("spawn"),
    "loky": lambda folder: of_loky(),
    "joblib": lambda folder: of_joblib(),
    "ExecutorBackend": lambda folder: on_an_executor(),
    "DaskBackend": on_dask,
}


@pytest.fixture(scope="module", params=ENGINES)
def call(request, tmp_path_factory):
    """Yield what calls `use` in a worker that was started before there were arrays."""
    with ENGINES[request.param](tmp_path_factory.mktemp("folder")) as function:
        yield function


@pytest.fixture(scope="module")
def arrays(call):
    return {name: sharedarray.zeros(shape, "u1") for name, shape in SHAPES.items()}


@pytest.mark.parametrize("size", SHAPES)
def test_what_a_worker_writes_is_there_afterwards(call, arrays, size):
    whole = arrays[size]
    for make in VIEWS.values():
        a = make(whole)
        for value in (1, 2)[: a.size]:
            a.flat[value - 2] = value  # the last, then the first
        expected = [int(a.flat[i]) for i in range(-1, 1) if a.size]
        assert call(a) == ("SharedArray", a.shape, a.strides, expected)
        assert all(a.flat[i] == 7 for i in range(-1, 1) if a.size)
