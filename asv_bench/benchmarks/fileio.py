"""fromfile, of a file in the page cache."""

from __future__ import annotations

import tempfile

import numpy as np

import sharedarray
from benchmarks.common import IMPLEMENTATIONS, WORKERS, data, ratio, set_workers, skip_unless_full

SIZE = 20_000_000
FULL_SIZE = 1 << 27  # 1 GiB of float64


def sample(size, dtype, distribution):
    """Return an open file without a name, which goes with its last user."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `teardown` closes it
    data(size, dtype, distribution).tofile(file)
    return file


def read(library, file, dtype):
    file.seek(0)
    return library.fromfile(file, dtype)


class Fromfile:
    # The bytes are not looked at: one distribution stands for all.
    params = [[SIZE], ["f8", "u1"], ["random"], IMPLEMENTATIONS]
    param_names = ["size", "dtype", "distribution", "implementation"]

    def setup(self, size, dtype, distribution, implementation):
        self.library = {"numpy": np, "sharedarray": sharedarray}[implementation]
        self.file = sample(size, dtype, distribution)

    def teardown(self, *params):
        self.file.close()

    def time_fromfile(self, size, dtype, distribution, implementation):
        read(self.library, self.file, dtype)


class TrackFromfile:
    params = [[SIZE, FULL_SIZE], ["f8"], ["random"], WORKERS]
    param_names = ["size", "dtype", "distribution", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.file = sample(size, dtype, distribution)

    def teardown(self, *params):
        if hasattr(self, "file"):
            self.file.close()

    def track_ratio(self, size, dtype, distribution, workers):
        return ratio(
            lambda: read(np, self.file, dtype), lambda: read(sharedarray, self.file, dtype)
        )
