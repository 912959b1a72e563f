"""argsort and sort."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

import sharedarray
from benchmarks.common import (
    DISTRIBUTIONS,
    IMPLEMENTATIONS,
    WORKERS,
    data,
    elements,
    ratio,
    set_workers,
    skip_unless_full,
)
from benchmarks.pairs import Ratio
from benchmarks.watching import share_with_gil

SIZE = 2_000_000  # large enough for the workers
FULL_SIZE = 20_000_000
LARGE_SIZE = 10_000_000
FULL_LARGE_SIZE = 100_000_000
WIDE_SIZE = 1_000_000
FULL_WIDE_SIZE = 5_000_000
WIDE = ["S16", "U16", "c16", "i4,f8", "g", "M8[ns]", "f2"]


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


class TrackLargeArgsort:
    """So large that NumPy's gathering misses the caches all the time."""

    params = [[LARGE_SIZE, FULL_LARGE_SIZE], ["f8"], WORKERS]
    param_names = ["size", "dtype", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, workers):
        skip_unless_full(size, LARGE_SIZE)
        set_workers(workers)
        self.a = data(size, dtype, "random")

    def track_ratio(self, *params):
        return ratio(lambda: np.argsort(self.a), lambda: sharedarray.argsort(self.a), n_pairs=3)


class TrackKeyValueSort:
    """argsort beside x86-simd-sort's key-value sort with OpenMP, which is in no package.

    Its time is taken from NumPy's sort in place, which it was measured beside on two cores with
    AVX-512: an estimate.
    """

    params = [[SIZE, FULL_SIZE], ["f8"], WORKERS]
    param_names = ["size", "dtype", "workers"]
    unit = "x"
    timeout = 600
    of_numpys_sort = 0.214 / 0.166  # at 20 million

    def setup(self, size, dtype, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.source = data(size, dtype, "random")
        self.private = np.array(self.source)

    def track_estimate(self, *params):
        beside_sort = ratio(
            self.private.sort, lambda: sharedarray.argsort(self.source), self.unsort
        )
        return Ratio(beside_sort * self.of_numpys_sort, beside_sort.spread)

    def unsort(self):
        self.private[:] = self.source


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


class TrackWide:
    """Elements that are not integers or floats of 32 or 64 bits."""

    params = [[WIDE_SIZE, FULL_WIDE_SIZE], WIDE]
    param_names = ["size", "dtype"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype):
        skip_unless_full(size, WIDE_SIZE)
        self.source = elements(size, dtype)
        self.private = np.array(self.source)
        self.shared = sharedarray.array(self.source)

    def track_argsort(self, *params):
        return ratio(
            lambda: np.argsort(self.source), lambda: sharedarray.argsort(self.source), n_pairs=3
        )

    def track_sort(self, *params):
        return ratio(self.private.sort, self.shared.sort, self.unsort, n_pairs=3)

    def unsort(self):
        self.private[:] = self.source
        self.shared[:] = self.source


class TrackAxes:
    """Many lines."""

    params = [["200000, 10", "2000, 1000", "10, 200000"], [0, 1], ["f8", "c16"]]
    param_names = ["shape", "axis", "dtype"]
    unit = "x"

    def setup(self, shape, axis, dtype):
        shape = tuple(map(int, shape.split(",")))
        self.source = elements(shape[0] * shape[1], dtype).reshape(shape)
        self.private = np.array(self.source)
        self.shared = sharedarray.array(self.source)

    def track_argsort(self, shape, axis, dtype):
        return ratio(
            lambda: np.argsort(self.source, axis), lambda: sharedarray.argsort(self.source, axis)
        )

    def track_sort(self, shape, axis, dtype):
        return ratio(lambda: self.private.sort(axis), lambda: self.shared.sort(axis), self.unsort)

    def unsort(self):
        self.private[...] = self.source
        self.shared[...] = self.source


class Peers:
    """What else a user may have installed; each with all of the machine that it takes."""

    params = [
        [SIZE, FULL_SIZE],
        ["f8", "i8"],
        ["sharedarray", "numpy", "numpy stable", "polars", "torch", "pyarrow"],
    ]
    param_names = ["size", "dtype", "implementation"]
    timeout = 600

    def setup(self, size, dtype, implementation):
        skip_unless_full(size, SIZE)
        self.a = np.array(data(size, dtype, "random"))
        self.argsort, self.sort = _peer(implementation, self.a)

    def time_argsort(self, *params):
        self.argsort()

    def time_sort(self, *params):
        self.sort()


def _peer(name: str, a: Any) -> tuple[Any, Any]:
    """Return the argsort and the sort into new memory of a package."""
    if name.startswith("numpy"):
        kind = "stable" if "stable" in name else None
        return lambda: np.argsort(a, kind=kind), lambda: np.sort(a, kind=kind)
    if name == "sharedarray":
        return lambda: sharedarray.argsort(a), lambda: sharedarray.sort(a)
    try:
        package = import_module(name)
    except ImportError as error:
        raise NotImplementedError(f"{name} is not installed") from error
    if name == "polars":
        series = package.Series(a)
        return series.arg_sort, series.sort
    if name == "torch":
        tensor = package.from_numpy(a)
        return lambda: package.argsort(tensor), lambda: package.sort(tensor)
    compute, array = import_module("pyarrow.compute"), package.array(a)
    return lambda: compute.sort_indices(array), lambda: array.take(compute.sort_indices(array))


class TrackGil:
    """The share of an operation's time in which it holds the GIL, by py-spy.

    With one worker: of k workers, only one has the GIL at a time, so ``1 / share`` of them are the
    most that may gain.
    """

    params = [[FULL_SIZE, FULL_LARGE_SIZE], ["argsort", "sort", "sum", "fromfile"]]
    param_names = ["size", "operation"]
    unit = "%"
    timeout = 600

    def setup(self, size, operation):
        skip_unless_full(size, FULL_SIZE)

    def track_share(self, size, operation):
        seconds = max(2, size // 15_000_000)  # a few times the whole operation
        prepare = "sharedarray.set_num_workers(1); "
        prepare += f"a = sharedarray.array(np.random.default_rng(0).random({size}))"
        if operation == "sort":  # a copy of what is not in order, which takes no GIL either
            prepare += "; source = np.array(a)"
            return share_with_gil(prepare, "np.copyto(a, source); a.sort()", seconds)
        if operation == "fromfile":
            prepare += "; path = f'/proc/self/fd/{os.memfd_create(str())}'; a.tofile(path)"
            return share_with_gil(prepare, "sharedarray.fromfile(path)", seconds)
        return share_with_gil(prepare, f"sharedarray.{operation}(a)", seconds)
