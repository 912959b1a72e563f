"""tofile, save and load, through the page cache, and fromiter."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import sharedarray
from benchmarks.common import WORKERS, data, ratio, set_workers, skip_unless_full
from sharedarray.files.load import load
from sharedarray.files.npy import save
from sharedarray.files.tofile import tofile
from sharedarray.memory.fromiter import fromiter

SIZE = 20_000_000
FULL_SIZE = 1 << 27  # 1 GiB of float64


def sample(size, layout):
    """Return a shared array of random numbers in a layout."""
    a = sharedarray.array(data(size, "f8", "random"))
    if layout == "C":
        return a
    square = a[: size - size % 1000].reshape(1000, -1)
    return square.T if layout == "transposed" else square[:, ::2]


class Files:
    timeout = 600
    unit = "x"

    def setup_folder(self, size, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "data.npy"

    def teardown(self, *params):
        if hasattr(self, "folder"):
            self.folder.cleanup()


class TrackTofile(Files):
    params = [[SIZE, FULL_SIZE], ["C", "transposed", "strided"], ["new", "existing"], WORKERS]
    param_names = ["size", "layout", "path", "workers"]

    def setup(self, size, layout, path, workers):
        self.setup_folder(size, workers)
        self.a = sample(size, layout)

    def track_ratio(self, size, layout, path, workers):
        # A file each: replacing one waits until the data of the old one are written.
        paths = [self.path.with_suffix(suffix) for suffix in (".numpy", ".ours")]

        def prepare():
            for file in paths:
                if path == "new":
                    file.unlink(missing_ok=True)

        plain = np.asarray(self.a)
        return ratio(lambda: plain.tofile(paths[0]), lambda: tofile(self.a, paths[1]), prepare)


class TrackNpy(Files):
    params = [[SIZE, FULL_SIZE], ["save", "load", "npz"], WORKERS]
    param_names = ["size", "operation", "workers"]

    def setup(self, size, operation, workers):
        self.setup_folder(size, workers)
        self.a = sample(size, "C")
        if operation == "load":
            np.save(self.path, self.a)
        elif operation == "npz":
            self.path = self.path.with_suffix(".npz")
            np.savez(self.path, a=self.a)

    def track_ratio(self, size, operation, workers):
        if operation == "save":
            plain = np.asarray(self.a)
            return ratio(
                lambda: np.save(self.path, plain),
                lambda: save(self.path, self.a),
                lambda: self.path.unlink(missing_ok=True),
            )
        return ratio(lambda: self.read(np.load), lambda: self.read(load))

    def read(self, function):
        result = function(self.path)
        if self.path.suffix == ".npz":
            with result:
                return result["a"]
        return result


ITERABLES = {
    "generator": lambda n: (2 * i for i in range(n)),
    "map": lambda n: map(abs, range(n)),
    "range": range,
}


class TrackFromiter:
    params = [[SIZE // 10, SIZE], list(ITERABLES), ["counted", "all"]]
    param_names = ["size", "iterable", "count"]
    unit = "x"

    def track_ratio(self, size, iterable, count):
        n = size if count == "counted" else -1
        make = ITERABLES[iterable]
        return ratio(
            lambda: np.fromiter(make(size), "f8", n), lambda: fromiter(make(size), "f8", n)
        )
