"""sort and argsort of a dask array on a cluster of two processes, against one chunk and NumPy."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np

import sharedarray
from benchmarks.common import ratio, skip_unless_full

SIZE = 5_000_000
FULL_SIZE = 50_000_000
N_CHUNKS = 16


def reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def peak_nbytes():
    """Return the largest resident size of this process since `reset_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def one_chunk(function, x):
    """Return what Dask has without us: all in one chunk, sorted by NumPy."""
    dtype = np.intp if function == "argsort" else x.dtype
    return x.rechunk(-1).map_blocks(getattr(np, function), dtype=dtype)


class Cluster:
    params = [[SIZE, FULL_SIZE], ["argsort", "sort"], ["made on the way", "in memory"]]
    param_names = ["size", "function", "chunks"]
    timeout = 600
    n_workers = 2

    def setup(self, size, function, chunks):
        skip_unless_full(size, SIZE)
        try:
            import dask.array
            from distributed import Client, LocalCluster
        except ImportError:
            raise NotImplementedError("needs the extra dask") from None
        self.cluster = LocalCluster(
            n_workers=self.n_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            protocol="tcp",
        )
        self.client = Client(self.cluster)
        self.client.wait_for_workers(self.n_workers)
        self.x = None
        seeds = count()

        def prepare():
            """Make another input: what a way has fetched would stay where it is of use to it."""
            self.x = None
            rng = dask.array.random.default_rng(next(seeds))
            x = rng.random(size, chunks=size // N_CHUNKS)
            self.x = self.done(x) if chunks == "in memory" else x

        self.prepare = prepare

    def teardown(self, *params):
        with suppress(AttributeError):
            self.client.close()
            self.cluster.close()

    def done(self, x):
        from distributed import wait

        x = x.persist()
        wait(x)
        return x

    def ways(self, function):
        """Return NumPy's way and ours; both leave the result on the workers."""
        return (
            lambda: self.done(one_chunk(function, self.x)),
            lambda: self.done(getattr(sharedarray, function)(self.x)),
        )


class TrackDask(Cluster):
    unit = "x"

    def track_ratio(self, size, function, chunks):
        return ratio(*self.ways(function), self.prepare)

    track_ratio.unit = "x"


class TrackDaskMemory(Cluster):
    unit = "x the input"

    def track_peak(self, size, function, chunks):
        """Return which part of NumPy's peak on the fullest worker ours is."""
        peaks = []
        for way in self.ways(function):
            self.prepare()
            self.client.run(reset_peak)
            way()
            peaks.append(max(self.client.run(peak_nbytes).values()))
        return peaks[1] / peaks[0]

    track_peak.unit = "x the input"
