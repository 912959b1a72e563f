"""fromfile and fromfiles: of files in the page cache, and from the disk."""

from __future__ import annotations

import mmap
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np

import sharedarray
from benchmarks.common import IMPLEMENTATIONS, WORKERS, data, ratio, set_workers, skip_unless_full
from sharedarray.memory.cache import release_cache

SIZE = 20_000_000
FULL_SIZE = 1 << 27  # 1 GiB of float64
N_FILES = [(100, 1 << 17), (1000, 1 << 17), (10_000, 128)]  # of so many float64 each


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
    params = [[SIZE, FULL_SIZE], ["f8"], ["random"], ["recycled", "fresh"], WORKERS]
    param_names = ["size", "dtype", "distribution", "memory", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, size, dtype, distribution, memory, workers):
        skip_unless_full(size, SIZE)
        set_workers(workers)
        self.file = sample(size, dtype, distribution)

    def teardown(self, *params):
        if hasattr(self, "file"):
            self.file.close()

    def track_ratio(self, size, dtype, distribution, memory, workers):
        return ratio(
            lambda: read(np, self.file, dtype),
            lambda: read(sharedarray, self.file, dtype),
            prepare=release_cache if memory == "fresh" else lambda: None,
        )


class TrackFromfiles:
    """Snapshot files: how many times as long NumPy takes to read and concatenate them."""

    params = [N_FILES, ["recycled", "fresh"], WORKERS]
    param_names = ["files", "memory", "workers"]
    unit = "x"
    timeout = 600

    def setup(self, files, memory, workers):
        n_files, size = files
        skip_unless_full(n_files * size, SIZE)
        set_workers(workers)
        self.folder = tempfile.TemporaryDirectory()
        self.paths = [Path(self.folder.name, f"{i}.bin") for i in range(n_files)]
        for path in self.paths:
            data(size, "f8", "random").tofile(path)

    def teardown(self, *params):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def track_ratio(self, files, memory, workers):
        return ratio(
            lambda: np.concatenate([np.fromfile(path) for path in self.paths]),
            lambda: sharedarray.fromfiles(self.paths),
            prepare=release_cache if memory == "fresh" else lambda: None,
        )

    def track_extra_memory(self, files, memory, workers):
        """Return by how much the peak is above the output, in per cent of it."""
        source = f"""
import pathlib, re, sharedarray
def peak():  # of this program: ru_maxrss would begin with that of its parent
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status)[1])
paths = sorted(pathlib.Path({self.folder.name!r}).iterdir())
sharedarray.fromfiles(paths[:1])
before = peak()
nbytes = sharedarray.fromfiles(paths).nbytes
print(((peak() - before) / nbytes - 1) * 100)
"""
        done = subprocess.run(
            [sys.executable, "-c", source], check=True, capture_output=True, text=True
        )
        return float(done.stdout)

    track_extra_memory.unit = "%"


def read_disk(path, n_bytes, n_threads=4, size=2 << 20):
    """Read a file directly and throw it away, with several large requests at a time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)

    def part(rank):
        with mmap.mmap(-1, size) as room:  # at the start of a page
            for at in range(rank * size, n_bytes, n_threads * size):
                os.preadv(descriptor, [room], at)

    try:
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(part, range(n_threads)))
    finally:
        os.close(descriptor)


class TrackColdFromfile:
    """From the disk, nothing of the file in the page cache, beside what the disk can do.

    TMPDIR names a folder of the disk to measure.
    """

    params = [
        [SIZE, FULL_SIZE],
        ["disk", "numpy", "sharedarray", "direct", "direct, askew"],
    ]
    param_names = ["size", "implementation"]
    unit = "MB/s"
    timeout = 600

    def setup(self, size, implementation):
        skip_unless_full(size, SIZE)
        self.file = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115 - `teardown` closes it
        data(size, "f8", "random").tofile(self.file)
        os.fsync(self.file.fileno())
        self.read = {
            "disk": lambda: read_disk(self.file.name, size * 8),
            "numpy": lambda: np.fromfile(self.file.name),
            "sharedarray": lambda: sharedarray.fromfile(self.file.name),
            "direct": lambda: sharedarray.fromfile(self.file.name, direct=True),
            "direct, askew": lambda: sharedarray.fromfile(self.file.name, offset=8, direct=True),
        }[implementation]

    def teardown(self, *params):
        if hasattr(self, "file"):
            self.file.close()

    def track_rate(self, size, implementation):
        seconds = []
        for _ in range(5):
            os.posix_fadvise(self.file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            began = perf_counter()
            self.read()
            seconds.append(perf_counter() - began)
        return size * 8 / statistics.median(seconds) / 1e6
