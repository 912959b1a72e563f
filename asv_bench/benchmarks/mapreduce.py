"""What a map on processes costs beyond its work, beside other pools of processes."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import sharedarray
from benchmarks.common import FULL
from sharedarray import MapReduce, WorkerDied

try:
    import joblib
except ImportError:
    joblib = None
try:
    import sharedmem
except ImportError:  # its 0.3.8 is the predecessor; measured where it is installed
    sharedmem = None

N_WORKERS = 2
Map = Callable[[Callable[[Any], Any], Any], Any]


def with_sharedarray(func, items):
    return MapReduce(np=N_WORKERS).map(func, items)


def with_pool(func, items):
    with get_context("fork").Pool(N_WORKERS) as pool:
        return pool.map(func, items)


def with_executor(func, items):
    with ProcessPoolExecutor(N_WORKERS, get_context("fork")) as pool:
        return list(pool.map(func, items, chunksize=max(1, len(items) // (16 * N_WORKERS))))


def with_sharedmem(func, items):
    with sharedmem.MapReduce(np=N_WORKERS) as pool:
        return pool.map(func, list(items))


def with_joblib(func, items):
    # Forked processes, as everywhere here: those of its default, loky, live on after the map.
    run = joblib.Parallel(n_jobs=N_WORKERS, backend="multiprocessing", batch_size="auto")
    return run(joblib.delayed(func)(item) for item in items)


MAPS: dict[str, Map] = {
    "sharedarray": with_sharedarray,
    "multiprocessing.Pool": with_pool,
    "ProcessPoolExecutor": with_executor,
    "joblib": with_joblib,
    "sharedmem": with_sharedmem,
}


def skip_without(implementation: str) -> None:
    """Skip a package that is not installed."""
    if {"joblib": joblib, "sharedmem": sharedmem}.get(implementation, np) is None:
        raise NotImplementedError(f"{implementation} is not installed")


def trivial(i):
    return i


def results_of_8_mib(i):
    return np.full(1 << 20, float(i))


def milliseconds(call: Callable[[], Any], n: int) -> float:
    """Return the median time of a call; one before warms up."""
    call()
    times = []
    for _ in range(n):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return median(times) * 1e3


class TrackMap:
    """A whole map, the start and the end of its processes included."""

    params = [[2, 10_000], list(MAPS)]
    param_names = ["items", "implementation"]
    unit = "ms"

    def setup(self, n_items, implementation):
        skip_without(implementation)

    def track_trivial_items(self, n_items, implementation):
        call = MAPS[implementation]
        return milliseconds(lambda: call(trivial, range(n_items)), 7)


class TrackResults:
    """32 results of 8 MiB, made by the workers and received."""

    params = [list(MAPS)]
    param_names = ["implementation"]
    unit = "ms"

    def setup(self, implementation):
        skip_without(implementation)

    def track_large_results(self, implementation):
        call = MAPS[implementation]
        return milliseconds(lambda: call(results_of_8_mib, range(32)), 3)


class TrackDeath:
    unit = "ms"

    def track_from_kill_to_exception(self):
        killed_at = sharedarray.zeros(1)

        def work(i):
            if i == 5:
                killed_at[0] = perf_counter()
                os.kill(os.getpid(), 9)
            return i

        times = []
        for _ in range(21):
            try:
                MapReduce(np=N_WORKERS).map(work, range(10), chunksize=1)
            except WorkerDied:
                times.append(perf_counter() - killed_at[0])
        return median(times) * 1e3


class TrackMany:
    """Work that takes seconds, and what it leaves."""

    timeout = 600

    def setup(self):
        if not FULL:
            raise NotImplementedError("set SHAREDARRAY_BENCH_FULL=1")

    def track_a_million_items(self):
        return milliseconds(lambda: with_sharedarray(trivial, range(1_000_000)), 1) / 1e3

    track_a_million_items.unit = "s"

    def track_memory_after_10_gb_of_results(self):
        """Return the peak of the coordinator's memory, in MB."""
        with MapReduce(np=N_WORKERS) as pool:
            pool.map(lambda i: np.ones(1 << 17), range(10_000), reduce=lambda a: None)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6

    track_memory_after_10_gb_of_results.unit = "MB"

    def track_growth_over_10_000_maps(self):
        """Return by how much the coordinator's memory grows, in MB."""
        pool = MapReduce(np=N_WORKERS)
        for _ in range(100):
            pool.map(trivial, range(8))
        before = resident()
        for _ in range(10_000):
            pool.map(trivial, range(8))
        return (resident() - before) / 1e6

    track_growth_over_10_000_maps.unit = "MB"


def resident() -> int:
    """Return how much memory this process has in use, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
