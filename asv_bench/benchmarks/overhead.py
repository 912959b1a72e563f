"""What a call on a small array costs beyond NumPy's own, and what the import costs."""

from __future__ import annotations

import tempfile
from statistics import median
from timeit import timeit

import numpy as np

import sharedarray
from benchmarks.common import data

SIZE = 1_000
LOOPS = 500


class TrackSmallCall:
    params = [["argsort", "sort", "sort in place", "sum", "fromfile"]]
    param_names = ["operation"]
    unit = "us"

    def setup(self, operation):
        private = data(SIZE, "f8", "random")
        self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `teardown` closes it
        private.tofile(self.file)
        self.calls = [
            self.call(operation, library, library.array(private)) for library in (np, sharedarray)
        ]

    def teardown(self, operation):
        self.file.close()

    def call(self, operation, library, a):
        return {
            "argsort": lambda: library.argsort(a),
            "sort": lambda: library.sort(a),
            "sort in place": a.sort,
            "sum": lambda: library.sum(a),
            "fromfile": lambda: library.fromfile(self.file, count=0),
        }[operation]

    def track_over_numpy(self, operation):
        of_numpy, ours = ([timeit(call, number=LOOPS) for _ in range(15)] for call in self.calls)
        return (median(ours) - median(of_numpy)) / LOOPS * 1e6


class Import:
    params = [["numpy", "sharedarray"]]
    param_names = ["implementation"]

    def timeraw_import(self, implementation):
        return f"import {implementation}"
