"""What a call on a small array costs beyond NumPy's own, and what the import costs."""

from __future__ import annotations

import os
import subprocess
import sys
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
        differences = []
        for _ in range(15):
            of_numpy, ours = (timeit(call, number=LOOPS) for call in self.calls)
            differences.append(ours - of_numpy)
        return median(differences) / LOOPS * 1e6


class Import:
    params = [["numpy", "sharedarray"]]
    param_names = ["implementation"]

    def timeraw_import(self, implementation):
        return f"import {implementation}"


class TrackImport:
    """With NumPy there already, which it cannot do without."""

    unit = "ms"

    def setup(self):
        # Compiled files of its own: an installed package has them, whatever is switched off here.
        self.folder = tempfile.TemporaryDirectory()
        self.env = os.environ | {"PYTHONPYCACHEPREFIX": self.folder.name}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)

    def teardown(self):
        self.folder.cleanup()

    def track_beyond_numpy(self):
        source = """
import numpy
from time import perf_counter
began = perf_counter()
import sharedarray
print(perf_counter() - began)
"""
        command = [sys.executable, "-c", source]
        seconds = [
            float(subprocess.run(command, check=True, capture_output=True, env=self.env).stdout)
            for _ in range(12)
        ]
        return median(seconds[1:]) * 1e3
