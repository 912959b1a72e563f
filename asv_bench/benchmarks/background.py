"""What a background call costs beyond its work, beside other ways to start one process."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from time import perf_counter

import numpy as np

from sharedarray.workers.background import background, background_by_thread

try:
    import sharedmem
except ImportError:  # its 0.3.8 is the predecessor; measured where it is installed
    sharedmem = None


def with_process(function, *args):
    return background(function, *args).wait()


def with_thread(function, *args):
    return background_by_thread(function, *args).wait()


def with_executor(function, *args):
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        return pool.submit(function, *args).result()


def with_sharedmem(function, *args):
    if sharedmem is None:
        raise NotImplementedError("sharedmem is not installed")
    return sharedmem.background(function, *args).wait()


CALLS = {
    "background": with_process,
    "background_by_thread": with_thread,
    "ProcessPoolExecutor": with_executor,
    "sharedmem": with_sharedmem,
}


class TrackCall:
    """One call, from its start to its result."""

    params = [[0, 1 << 20], list(CALLS)]
    param_names = ["numbers in the result", "implementation"]
    unit = "ms"

    def setup(self, size, implementation):
        if implementation == "sharedmem" and sharedmem is None:
            raise NotImplementedError("sharedmem is not installed")

    def track_start_and_wait(self, size, implementation):
        call = CALLS[implementation]
        call(np.ones, size)
        times = []
        for _ in range(15):
            began = perf_counter()
            call(np.ones, size)
            times.append(perf_counter() - began)
        return median(times) * 1e3


class TrackLoop:
    unit = "ms"

    def track_1000_calls_that_nobody_waits_for(self):
        began = perf_counter()
        for i in range(1000):
            last = background(abs, -i)
        last.wait()
        return (perf_counter() - began) * 1e3
