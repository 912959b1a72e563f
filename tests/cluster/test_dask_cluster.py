"""Dask arrays on worker processes behind TCP, some of which are killed in the middle."""

from __future__ import annotations

import gc
import os
import signal
from contextlib import contextmanager
from unittest.mock import patch

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from sharedarray.cluster import dask_pieces, dask_sort, piece_files
from sharedarray.cluster.dask_sort import node_pool
from sharedarray.files.fromfile import fromfile
from sharedarray.files.tofile import tofile
from sharedarray.functions.sorting import argsort, sort
from sharedarray_ops.sort import merging

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


def have_small_files():
    """Have pieces of any size lie in files, and count those that come from other workers."""
    attach, dask_pieces.MIN_NBYTES, dask_pieces.n_attached = piece_files.File.attached, 1, 0

    def attached(*reference):
        dask_pieces.n_attached += 1
        return attach(*reference)

    piece_files.File.attached = attached


def n_files():
    return dask_pieces.n_attached, len(piece_files.files)


def test_pieces_go_between_workers_of_one_machine_in_files(client):
    client.run(have_small_files)
    x = da.from_array(sample(), chunks=CHUNK).persist()

    index = argsort(x).persist()
    assert is_sorted_index(index.compute())
    client.run(gc.collect)
    found = client.run(n_files)

    assert {n > 0 for n, _ in found.values()} == {True}
    assert {n for _, n in found.values()} == {0}


def test_a_worker_that_cannot_open_files_asks_for_bytes(client):
    def refuse(*reference):
        dask_pieces.n_attached += 1
        raise FileNotFoundError("of another machine")

    def have_no_files():
        have_small_files()
        piece_files.File.attached = refuse

    client.run(have_no_files)
    index = argsort(da.from_array(sample(), chunks=CHUNK)).compute()

    assert is_sorted_index(index)
    assert sum(n for n, _ in client.run(n_files).values())


@pytest.mark.parametrize(
    ("where", "phase"),
    [(merging, "sort_block_index"), (dask_sort, "held"), (merging, "merge_index")],
)
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(client, where, phase):
    def die_at_the_third():
        have_small_files()
        original, calls = getattr(where, phase), []

        def task(*args):
            calls.append(args)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args)

        setattr(where, phase, task)

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
