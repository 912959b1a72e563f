"""Dask arrays on worker processes behind TCP, some of which are killed in the middle."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from unittest.mock import patch

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from sharedarray.functions.argsorting import argsort
from sharedarray.functions.daskarrays import node_pool
from sharedarray.functions.fileio import fromfile
from sharedarray.functions.sorting import sort
from sharedarray.functions.writing import tofile
from sharedarray_ops import merging

N = 200_003
CHUNK = 20_000


@contextmanager
def cluster(n_workers, n_threads):
    with (
        patch.dict(os.environ),  # where Dask leaves what its workers are to find
        # For so long a worker calls one that has died: half a minute by default.
        dask.config.set({"distributed.comm.timeouts.connect": "3s"}),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            processes=True,
            dashboard_address="127.0.0.1:0",
            protocol="tcp",
        ) as workers,
        Client(workers) as client,
    ):
        yield client


@pytest.fixture(scope="module", autouse=True)
def _dask_has_started():
    """Have Dask and multiprocessing start what they never end: a thread, a process."""
    with cluster(1, 1) as client:
        client.submit(np.zeros, 1 << 21).result()


@pytest.fixture
def client(_dask_has_started):
    with cluster(2, 1) as client:
        yield client


def sample():
    return np.random.default_rng(0).integers(0, 1000, N).astype("f8")


def is_sorted_index(index):
    return index.tolist() == np.argsort(sample(), kind="stable").tolist()


def test_sorted_on_two_workers(client):
    x = da.from_array(sample(), chunks=CHUNK).persist()

    values, index = client.gather(client.compute([sort(x), argsort(x)]))

    assert values.tobytes() == np.sort(sample()).tobytes()
    assert is_sorted_index(index)


def test_a_file_is_read_sorted_and_written_by_the_workers(client, tmp_path):
    sample().tofile(tmp_path / "in.bin")

    tofile(argsort(fromfile(tmp_path / "in.bin", chunks=CHUNK)), tmp_path / "out.bin")

    assert is_sorted_index(np.fromfile(tmp_path / "out.bin", np.intp))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.bin", "out.bin"]


@pytest.mark.parametrize("phase", ["sort_block_index", "cut", "merge_index"])
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(client, phase):
    def die_at_the_third():
        original, calls = getattr(merging, phase), []

        def task(*args):
            calls.append(args)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args)

        setattr(merging, phase, task)

    before = client.run(os.getpid)
    client.run(die_at_the_third, workers=[min(before)])
    index = argsort(da.from_array(sample(), chunks=CHUNK)).compute()

    assert is_sorted_index(index)
    assert before[min(before)] not in client.run(os.getpid).values()


def test_a_lone_task_has_all_threads_of_its_worker():
    def n_threads():
        return node_pool().np

    with cluster(1, 3) as client:
        alone = client.submit(n_threads).result()
        index = argsort(da.from_array(sample(), chunks=N)).compute()

    assert alone == 3
    assert node_pool().np == 0
    assert is_sorted_index(index)
