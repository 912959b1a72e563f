"""Dask workers that are killed in the middle of a map, and a scheduler that is."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from distributed import Client

import sharedarray
from sharedarray import DaskBackend, MapReduce, WorkerDied
from tests.cluster.engines import client, cluster, cluster_pool, dask_cluster, wait_until  # noqa: F401


@pytest.fixture
def pool(cluster_pool):  # noqa: F811
    return cluster_pool


def test_item_of_a_lost_worker_is_run_again(pool, tmp_path):
    marker = tmp_path / "dies"
    marker.touch()
    seen = sharedarray.full(10, -1)
    n_seen = sharedarray.zeros(1, int)

    def work(i):
        if i == 4 and marker.exists():
            marker.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        with pool.ordered:
            if i not in seen[: n_seen[0]]:
                seen[n_seen[0]] = i
                n_seen[0] += 1
        return np.arange(i)

    results = pool.map(work, range(10), chunksize=1)
    assert [len(result) for result in results] == list(range(10))
    assert seen.tolist() == list(range(10))


def test_item_that_kills_its_workers_is_reported(pool):
    pids = sharedarray.zeros(4, int)

    def die(i):
        if i == 3:
            pids[pids.argmin()] = os.getpid()
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(WorkerDied, match="item 3") as caught:
        pool.map(die, range(5), chunksize=1)
    assert caught.value.items == (3,)
    assert caught.value.pid in pids
    assert (pids != 0).sum() == 2  # allowed-failures is 1


def test_retries_hand_it_out_once_more(pool, client, tmp_path):  # noqa: F811
    pool = MapReduce(DaskBackend(client, retries=1), np=2)

    def die_three_times(i):
        for k in range(3):
            if i == 1 and not (tmp_path / str(k)).exists():
                (tmp_path / str(k)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return i

    assert pool.map(die_three_times, range(3), chunksize=1) == [0, 1, 2]


def test_lost_cluster_is_told(tmp_path):
    with dask_cluster(tmp_path) as address, Client(address) as client:  # noqa: F811
        client.wait_for_workers(2)
        pool = MapReduce(DaskBackend(client))
        scheduler = client.run_on_scheduler(os.getpid)

        def work(i):
            if i == 3:
                os.kill(scheduler, signal.SIGKILL)
            threading.Event().wait(0.05)

        with pytest.raises((RuntimeError, OSError)):
            pool.map(work, range(20), chunksize=1)
