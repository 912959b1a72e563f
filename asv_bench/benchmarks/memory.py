"""What shared memory costs beside private memory."""

from __future__ import annotations

import pickle
from timeit import repeat

import numpy as np

import sharedarray
from benchmarks.common import data, ratio, skip_unless_full

LOOPS = 1_000


class TrackFill:
    """How many times as long NumPy takes to fill new private memory."""

    params = [["full", "copy", "zeros"], ["fresh", "recycled"], [1 << 20, 1 << 27]]
    param_names = ["operation", "memory", "size"]
    unit = "x"

    def setup(self, operation, memory, size):
        skip_unless_full(size, 1 << 20)
        self.data = data(size, "f8", "random")

    def teardown(self, operation, memory, size):
        sharedarray.release_cache()

    def track_against_numpy(self, operation, memory, size):
        def call(library):
            if operation == "copy":
                return library.copy(self.data)
            if operation == "full":
                return library.full(size, 1.5)
            array = library.zeros(size)
            array += 1.0  # or nothing would be touched
            return array

        def prepare():
            if memory == "fresh":
                sharedarray.release_cache()

        return ratio(lambda: call(np), lambda: call(sharedarray), prepare)


class TrackSmall:
    """Microseconds for one array."""

    params = [[64, 1 << 20, 64 << 20]]
    param_names = ["nbytes"]
    unit = "us"

    def setup(self, nbytes):
        self.array = sharedarray.zeros(nbytes, "u1")
        del self.array
        self.array = sharedarray.zeros(nbytes, "u1")

    def track_create_and_free(self, nbytes):
        sharedarray.empty(nbytes, "u1")
        return best(lambda: sharedarray.empty(nbytes, "u1"))

    def track_pickle_and_unpickle(self, nbytes):
        return best(lambda: pickle.loads(pickle.dumps(self.array)))


def best(call) -> float:
    return min(repeat(call, number=LOOPS, repeat=7)) / LOOPS * 1e6
