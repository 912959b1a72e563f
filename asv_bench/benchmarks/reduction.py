"""sum."""

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

SIZE = 4_000_000
FULL_SIZE = 1 << 27  # 1 GiB of float64


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
