"""take, partition, quantiles and unique."""

from __future__ import annotations

import numpy as np

import sharedarray
from benchmarks.common import (
    DISTRIBUTIONS,
    IMPLEMENTATIONS,
    WORKERS,
    data,
    ratio,
    set_workers,
    skip_unless_full,
)

SIZE = 2_000_000  # large enough for the workers
FULL_SIZE = 10_000_000

OURS = {
    "take": sharedarray.take,
    "partition": sharedarray.partition,
    "argpartition": sharedarray.argpartition,
    "median": sharedarray.median,
    "quantile": sharedarray.quantile,
    "unique": sharedarray.unique,
}
# What follows the array, by the name of the work.
WORK = {
    "partition at 3": ("partition", lambda n: ([n // 4, n // 2, n // 4 * 3],), {}),
    "argpartition": ("argpartition", lambda n: (n // 2,), {}),
    "median": ("median", lambda n: (), {}),
    "quantiles": ("quantile", lambda n: ([0.05, 0.25, 0.75, 0.95],), {}),
    "unique": ("unique", lambda n: (), {}),
    "unique, counts": ("unique", lambda n: (), {"return_counts": True}),
    "unique, inverse": ("unique", lambda n: (), {"return_inverse": True}),
}
SHORT = ["random", "sorted", "few distinct"]


def call(work, implementation, a):
    """Return a call of NumPy's or our function."""
    name, rest, options = WORK[work]
    function = getattr(np, name) if implementation == "numpy" else OURS[name]
    args = rest(a.size)
    return lambda: function(a, *args, **options)


class Select:
    params = [[SIZE], ["f8", "i8"], SHORT, [*WORK], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "work", "implementation"]
    timeout = 600

    def setup(self, size, dtype, distribution, work, implementation):
        self.call = call(work, implementation, data(size, dtype, distribution))

    def time_select(self, *params):
        self.call()


class TrackSelect:
    params = [[SIZE, FULL_SIZE], ["f8", "i8"], [*DISTRIBUTIONS], [*WORK], WORKERS]
    param_names = ["size", "dtype", "distribution", "work", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, work, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.a = data(size, dtype, distribution)

    def track_ratio(self, size, dtype, distribution, work, workers):
        return ratio(call(work, "numpy", self.a), call(work, "sharedarray", self.a))


class Take:
    params = [[SIZE], ["f8", "i4"], ["random", "sorted"], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "order", "implementation"]

    def setup(self, size, dtype, order, implementation):
        self.a = data(size, dtype, "random")
        self.indices = indices(size, order)
        self.take = {"numpy": np.take, "sharedarray": sharedarray.take}[implementation]

    def time_take(self, *params):
        self.take(self.a, self.indices)


class TrackTake:
    params = [[SIZE, FULL_SIZE], ["f8", "i4"], ["random", "sorted"], WORKERS]
    param_names = ["size", "dtype", "order", "workers"]
    unit = "x"

    def setup(self, size, dtype, order, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.a = data(size, dtype, "random")
        self.indices = indices(size, order)

    def track_ratio(self, *params):
        return ratio(
            lambda: np.take(self.a, self.indices), lambda: sharedarray.take(self.a, self.indices)
        )


def indices(n, order):
    return np.random.default_rng(22).permutation(n) if order == "random" else np.arange(n)
