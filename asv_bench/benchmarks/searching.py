"""searchsorted, digitize, bincount and histogram."""

from __future__ import annotations

import numpy as np

from benchmarks.common import (
    DISTRIBUTIONS,
    IMPLEMENTATIONS,
    WORKERS,
    data,
    ratio,
    set_workers,
    skip_unless_full,
)
from sharedarray.functions import binning, searching

SIZE = 2_000_000  # large enough for the workers
FULL_SIZE = 10_000_000
TABLES = [100, 10_000, 1_000_000]
VALUES = [256, 100_000]
BINS = ["100 bins", "100 edges"]

SEARCHSORTED = {"numpy": np.searchsorted, "sharedarray": searching.searchsorted}
DIGITIZE = {"numpy": np.digitize, "sharedarray": searching.digitize}
BINCOUNT = {"numpy": np.bincount, "sharedarray": binning.bincount}
HISTOGRAM = {"numpy": np.histogram, "sharedarray": binning.histogram}


def table(size, dtype):
    """Return sorted values that the needles of `data` are among."""
    return np.sort(data(FULL_SIZE // 10, dtype, "random")[:size])


def labels(size, dtype, n_values):
    return np.random.default_rng(22).integers(0, n_values, size).astype(dtype)


def bins_for(a, bins):
    return 100 if bins == "100 bins" else np.linspace(a.min(), a.max(), 101)


class Searchsorted:
    params = [[SIZE], ["f8", "i4"], [*DISTRIBUTIONS], TABLES, IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "table", "implementation"]

    def setup(self, size, dtype, distribution, n_elements, implementation):
        self.a, self.v = table(n_elements, dtype), data(size, dtype, distribution)

    def time_searchsorted(self, *params):
        SEARCHSORTED[params[-1]](self.a, self.v)


class Digitize:
    params = [[SIZE], ["f8", "i4"], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "implementation"]

    def setup(self, size, dtype, implementation):
        self.bins, self.x = table(100, dtype), data(size, dtype, "random")

    def time_digitize(self, *params):
        DIGITIZE[params[-1]](self.x, self.bins)


class Bincount:
    params = [[SIZE], ["i8", "i4", "u2", "u1"], VALUES, IMPLEMENTATIONS]
    param_names = ["size", "dtype", "values", "implementation"]

    def setup(self, size, dtype, n_values, implementation):
        self.x = labels(size, dtype, min(n_values, np.iinfo(dtype).max + 1))

    def time_bincount(self, *params):
        BINCOUNT[params[-1]](self.x)


class Histogram:
    params = [[SIZE], ["f8", "f4", "i4", "u1"], BINS, IMPLEMENTATIONS]
    param_names = ["size", "dtype", "bins", "implementation"]

    def setup(self, size, dtype, bins, implementation):
        self.a = data(size, dtype, "random")
        self.bins = bins_for(self.a, bins)

    def time_histogram(self, *params):
        HISTOGRAM[params[-1]](self.a, self.bins)


class TrackSearchsorted:
    params = [[SIZE, FULL_SIZE], ["f8"], [*DISTRIBUTIONS], TABLES, WORKERS]
    param_names = ["size", "dtype", "distribution", "table", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, n_elements, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.a, self.v = table(n_elements, dtype), data(size, dtype, distribution)

    def track_ratio(self, *params):
        return ratio(
            lambda: np.searchsorted(self.a, self.v),
            lambda: searching.searchsorted(self.a, self.v),
        )


class TrackBincount:
    params = [[SIZE, FULL_SIZE], ["i8", "i4", "u1"], VALUES, WORKERS]
    param_names = ["size", "dtype", "values", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, n_values, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.x = labels(size, dtype, min(n_values, np.iinfo(dtype).max + 1))

    def track_ratio(self, *params):
        return ratio(lambda: np.bincount(self.x), lambda: binning.bincount(self.x))


class TrackHistogram:
    params = [[SIZE, FULL_SIZE], ["f8", "f4", "i4", "u1"], BINS, WORKERS]
    param_names = ["size", "dtype", "bins", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, bins, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.a = data(size, dtype, "random")
        self.bins = bins_for(self.a, bins)

    def track_ratio(self, *params):
        return ratio(
            lambda: np.histogram(self.a, self.bins),
            lambda: binning.histogram(self.a, self.bins),
        )
