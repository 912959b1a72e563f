"""sum and the other reductions, and cumulative sums."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
from benchmarks.watching import share_with_gil
from sharedarray.functions import averages, cumulative, extremes, sums, truth

SIZE = 4_000_000
LARGE_SIZE = 1 << 24
FULL_SIZE = 1 << 27  # 1 GiB of float64

OURS = {
    **{name: getattr(sums, name) for name in ("sum", "prod", "nansum")},
    **{name: getattr(extremes, name) for name in ("min", "max", "nanmin", "nanmax")},
    **{name: getattr(extremes, name) for name in ("ptp", "argmin", "argmax")},
    **{name: getattr(truth, name) for name in ("any", "all", "count_nonzero")},
    **{name: getattr(averages, name) for name in ("mean", "var", "std", "nanmean")},
    **{name: getattr(cumulative, name) for name in ("cumsum", "cumprod")},
}


def values(name, size, dtype):
    """Return random values, or those with which NumPy looks at all of an array."""
    if name in ("any", "all"):
        return np.full(size, name == "all", dtype)
    return data(size, dtype, "random")


class Sum:
    params = [[SIZE], ["f8", "f4", "i8"], [*DISTRIBUTIONS], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "implementation"]

    def setup(self, size, dtype, distribution, implementation):
        library = {"numpy": np, "sharedarray": sharedarray}[implementation]
        self.a = library.array(data(size, dtype, distribution))
        self.sum = library.sum

    def time_sum(self, *params):
        self.sum(self.a)


class TrackSum:
    params = [[SIZE, FULL_SIZE], ["f8", "i8"], ["random"], WORKERS]
    param_names = ["size", "dtype", "distribution", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.private = data(size, dtype, distribution)
        self.shared = sharedarray.array(self.private)

    def track_ratio(self, *params):
        return ratio(lambda: np.sum(self.private), lambda: sharedarray.sum(self.shared), n_pairs=15)


class TrackReduction:
    """All elements of one line."""

    params = [[*OURS], [LARGE_SIZE, FULL_SIZE], ["f8", "i4"], WORKERS]
    param_names = ["function", "size", "dtype", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, function, size, dtype, workers):
        skip_unless_full(size, LARGE_SIZE)
        set_workers(workers)
        self.private = values(function, size, dtype)
        self.shared = sharedarray.array(self.private)

    def track_ratio(self, function, *params):
        numpys, ours = getattr(np, function), OURS[function]
        return ratio(lambda: numpys(self.private), lambda: ours(self.shared), n_pairs=9)


class TrackAlongAxis:
    params = [["sum", "mean", "std", "max", "argmax", "cumsum"], [0, 1], [100, 4000], WORKERS]
    param_names = ["function", "axis", "columns", "workers"]
    unit = "x"

    def setup(self, function, axis, columns, workers):
        set_workers(workers)
        self.private = data(LARGE_SIZE, "f8", "random")
        self.private = self.private[: LARGE_SIZE // columns * columns].reshape(-1, columns)
        self.shared = sharedarray.array(self.private)

    def track_ratio(self, function, axis, *params):
        numpys, ours = getattr(np, function), OURS[function]
        return ratio(lambda: numpys(self.private, axis), lambda: ours(self.shared, axis))


class TrackMemory:
    """Beside two threads and more that only read: the time they take over the time of ours."""

    params = [["sum", "min", "max", "mean"], [LARGE_SIZE, FULL_SIZE]]
    param_names = ["function", "size"]
    unit = "x"
    timeout = 600

    def setup(self, function, size):
        skip_unless_full(size, LARGE_SIZE)
        set_workers("all")
        self.shared = sharedarray.array(data(size, "f8", "random"))

    def track_ratio(self, function, *params):
        ours = OURS[function]
        with ThreadPoolExecutor(sharedarray.get_num_workers()) as threads:
            return ratio(lambda: read(self.shared, threads), lambda: ours(self.shared), n_pairs=9)


def read(a, threads):
    """Read an array as fast as the memory delivers it: `or` of integers is all SIMD."""
    words = a.view(np.ndarray).view(np.int64)
    list(threads.map(np.bitwise_or.reduce, np.array_split(words, 16)))


class TrackGil:
    params = [["sum", "min", "std", "nanmean"]]
    param_names = ["function"]
    unit = "%"
    timeout = 120

    def track_share(self, function):
        return share_with_gil(
            f"a = sharedarray.ones({FULL_SIZE >> 1})\n"
            "from sharedarray.functions import averages, extremes, sums\n"
            f"f = {OURS[function].__module__.removeprefix('sharedarray.functions.')}.{function}",
            "f(a)",
        )
