"""What a Parallel block costs beyond its work, beside pymp's."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import active_children
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import sharedarray
from benchmarks.mapreduce import milliseconds
from sharedarray import Parallel

try:
    import pymp
except ImportError:  # pymp-pypi, measured where it is installed
    pymp = None

N_RANKS = 2
N_ITEMS = 20_000
N_POINTS = {"chunks": 40_000_000, "elements": 1_000_000}
IMPLEMENTATIONS = ["sharedarray", "pymp"]


def skip_without(implementation: str) -> None:
    if implementation == "pymp" and pymp is None:
        raise NotImplementedError("pymp-pypi is not installed")


def end_children(*params: Any) -> None:
    """End the process that pymp keeps for its locks: children of a fork server leave it behind."""
    for child in active_children():
        child.terminate()
        child.join()


def block(implementation: str) -> Any:
    return Parallel(num_threads=N_RANKS) if implementation == "sharedarray" else pymp.Parallel(2)


def seconds_in_block(body: Callable[[Any], object], backend: str = "process") -> float:
    """Return how long rank 0 takes for a body that all have begun."""

    def timed(p: Any) -> float:
        p.barrier()
        began = perf_counter()
        body(p)
        return perf_counter() - began

    times = [Parallel(num_threads=N_RANKS, backend=backend).run(timed) for _ in range(5)]
    return median(times)


class TrackBlock:
    """Entering and leaving a block in which nothing is done."""

    params = [IMPLEMENTATIONS]
    param_names = ["implementation"]
    unit = "ms"

    def setup(self, implementation):
        skip_without(implementation)

    teardown = staticmethod(end_children)

    def track_empty_block(self, implementation):
        def enter_and_leave():
            with block(implementation):
                pass

        return milliseconds(enter_and_leave, 21)


class TrackLoop:
    """Items handed out in a second, to both ranks together; dynamic ones one by one."""

    params = [["static", "dynamic", "guided"], IMPLEMENTATIONS]
    param_names = ["schedule", "implementation"]
    unit = "items/s"

    def setup(self, schedule, implementation):
        skip_without(implementation)
        if implementation == "pymp" and schedule == "guided":
            raise NotImplementedError("pymp has no guided schedule")

    teardown = staticmethod(end_children)

    def track_items(self, schedule, implementation):
        if implementation == "sharedarray":

            def body(p):
                for _ in p.forloop(N_ITEMS, schedule=schedule):
                    pass

            return N_ITEMS / seconds_in_block(body)
        times = []
        for _ in range(3):
            with pymp.Parallel(N_RANKS) as p:
                # The fork is over before the first item, its children are waited for at the end.
                began = perf_counter()
                for _ in (p.range if schedule == "static" else p.xrange)(N_ITEMS):
                    pass
                seconds = perf_counter() - began
            times.append(seconds)
        return N_ITEMS / median(times)


class TrackMeeting:
    """Where ranks wait for each other; pymp has a lock, and no barrier."""

    params = [["process", "thread"]]
    param_names = ["backend"]
    unit = "us"

    def track_barrier(self, backend):
        def body(p):
            for _ in range(1000):
                p.barrier()

        return seconds_in_block(body, backend) / 1000 * 1e6

    def track_critical(self, backend):
        """Return the time of one block, with both ranks at it."""

        def body(p):
            for _ in range(1000):
                with p.critical:
                    pass
            p.barrier()

        return seconds_in_block(body, backend) / (1000 * N_RANKS) * 1e6


class TrackRectangleRule:
    """An integral by NumPy on chunks (40 M points) or Python on elements (1 M), by 1 or 2 ranks."""

    params = [["chunks", "elements"], [1, N_RANKS]]
    param_names = ["work", "ranks"]
    unit = "ms"

    def track_pi(self, work, n_ranks):
        n = N_POINTS[work]
        reduction = sharedarray.Reduction(np.add, pi=0.0)

        def on_chunks(p):
            for part in p.chunks(n, ("dynamic", 1 << 16)):
                x = (np.arange(part.start, part.stop) + 0.5) / n
                p.var.pi += (4 / (1 + x * x)).sum() / n

        def on_elements(p):
            pi = 0.0
            for i in p.forloop(n):
                x = (i + 0.5) / n
                pi += 4 / (1 + x * x)
            p.var.pi += pi / n

        body = on_chunks if work == "chunks" else on_elements
        return milliseconds(lambda: Parallel(reduction, num_threads=n_ranks).run(body), 5)
