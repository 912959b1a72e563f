"""argsort and sort."""

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
FULL_SIZE = 20_000_000


class Argsort:
    params = [[SIZE], ["f8", "i8", "i4"], [*DISTRIBUTIONS], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "implementation"]

    def setup(self, size, dtype, distribution, implementation):
        self.a = data(size, dtype, distribution)
        self.argsort = {"numpy": np.argsort, "sharedarray": sharedarray.argsort}[implementation]

    def time_argsort(self, *params):
        self.argsort(self.a)


class Sort:
    params = [[SIZE], ["f8", "i8", "u1"], [*DISTRIBUTIONS], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "implementation"]
    number = 1  # the second sort of an array would find it sorted

    def setup(self, size, dtype, distribution, implementation):
        copy = {"numpy": np.array, "sharedarray": sharedarray.array}[implementation]
        self.a = copy(data(size, dtype, distribution))

    def time_sort_in_place(self, *params):
        self.a.sort()


class TrackArgsort:
    params = [[SIZE, FULL_SIZE], ["f8", "i8"], [*DISTRIBUTIONS], WORKERS]
    param_names = ["size", "dtype", "distribution", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.a = data(size, dtype, distribution)

    def track_ratio(self, *params):
        return ratio(lambda: np.argsort(self.a), lambda: sharedarray.argsort(self.a))


class TrackSort:
    params = [[SIZE, FULL_SIZE], ["f8", "i8"], [*DISTRIBUTIONS], WORKERS]
    param_names = ["size", "dtype", "distribution", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.source = data(size, dtype, distribution)
        self.private = np.array(self.source)
        self.shared = sharedarray.array(self.source)

    def track_ratio(self, *params):
        return ratio(self.private.sort, self.shared.sort, self.unsort)

    def unsort(self):
        self.private[:] = self.source
        self.shared[:] = self.source
