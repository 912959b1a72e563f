"""Pickles: ours refer to the memory, NumPy's hold what is in it."""

from __future__ import annotations

import pickle

import numpy as np

import sharedarray
from benchmarks.common import IMPLEMENTATIONS, data


class Pickle:
    params = [[1_000, 1_000_000], IMPLEMENTATIONS]
    param_names = ["size", "implementation"]

    def setup(self, size, implementation):
        self.mode = sharedarray.pickling(
            "reference"
        )  # not as in a worker, which asv's processes are
        self.mode.__enter__()
        library = {"numpy": np, "sharedarray": sharedarray}[implementation]
        self.a = library.array(data(size, "f8", "random"))
        self.pickle = pickle.dumps(self.a, pickle.HIGHEST_PROTOCOL)

    def teardown(self, *params):
        self.mode.__exit__()

    def time_dumps(self, *params):
        pickle.dumps(self.a, pickle.HIGHEST_PROTOCOL)

    def time_loads(self, *params):
        pickle.loads(self.pickle)

    def track_nbytes(self, *params):
        return len(self.pickle)

    track_nbytes.unit = "bytes"
