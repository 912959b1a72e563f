"""What shared memory costs beside private memory."""

from __future__ import annotations

import pickle
from timeit import repeat

import numpy as np

import sharedarray
from benchmarks.common import IMPLEMENTATIONS, data, ratio, skip_unless_full
from benchmarks.watching import peak_memory

LOOPS = 1_000
BUILD_SIZE = 1 << 20
SIZE = 1 << 24
FULL_SIZE = 1 << 27  # 1 GiB of float64
PEAK_SIZE = 20_000_000

BUILDERS = {
    "empty": lambda library, a: library.empty(a.size),
    "zeros": lambda library, a: library.zeros(a.size),
    "full": lambda library, a: library.full(a.size, 1.5),
    "arange": lambda library, a: library.arange(float(a.size)),
    "copy": lambda library, a: library.copy(a),
}


class Build:
    """Arrays one after the other: from the second on, ours have memory that was used before."""

    params = [[1_000, BUILD_SIZE], [*BUILDERS], IMPLEMENTATIONS]
    param_names = ["size", "operation", "implementation"]

    def setup(self, size, operation, implementation):
        self.library = {"numpy": np, "sharedarray": sharedarray}[implementation]
        self.build, self.data = BUILDERS[operation], data(size, "f8", "random")

    def time_build(self, *params):
        self.build(self.library, self.data)


class TrackFill:
    """How many times as long NumPy takes to fill new private memory."""

    params = [["full", "copy", "zeros"], ["fresh", "recycled"], [SIZE, FULL_SIZE]]
    param_names = ["operation", "memory", "size"]
    unit = "x"
    timeout = 600

    def setup(self, operation, memory, size):
        skip_unless_full(size, SIZE)
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


# What is there before, what is done, and how large its result is beside the input. `library` is
# numpy or sharedarray; `a` the input, private or shared.
WORK = {
    "argsort": ("", "result = library.argsort(a)", 1),
    "sort in place": ("source = np.array(a)", "np.copyto(a, source); a.sort()", 0),
    "fromfile": (
        "path = f'/proc/self/fd/{os.memfd_create(str())}'; a.tofile(path)",
        "result = library.fromfile(path)",
        1,
    ),
    "map": (
        "out = library.zeros(a.size); out += 1\n"
        "parts = [slice(i, i + 500_000) for i in range(0, a.size, 500_000)]\n"
        "def root(part): np.sqrt(a[part], out=out[part])\n"
        "map = library.MapReduce(np=2).map if library is sharedarray else map",
        "list(map(root, parts))",
        0,
    ),
}


class TrackPeak:
    """What is taken at the most beyond input and output, by the program and its children together.

    In per cent of the input.
    """

    params = [[PEAK_SIZE], [*WORK], IMPLEMENTATIONS]
    param_names = ["size", "operation", "implementation"]
    unit = "%"
    timeout = 120

    def track_extra_memory(self, size, operation, implementation):
        more, work, n_outputs = WORK[operation]
        prepare = f"library = {implementation if implementation != 'numpy' else 'np'}\n"
        prepare += f"a = library.array(np.random.default_rng(0).random({size}))\n{more}"
        return (peak_memory(prepare, work) / (8 * size) - n_outputs) * 100


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
        # As in a main process; those of asv are children of another one.
        with sharedarray.pickling("reference"):
            return best(lambda: pickle.loads(pickle.dumps(self.array)))


def best(call) -> float:
    return min(repeat(call, number=LOOPS, repeat=7)) / LOOPS * 1e6
