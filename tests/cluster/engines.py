"""Executors and a Dask cluster for the tests: started once for a module, and warm.

What a first map starts for good (threads of the executor, of Dask's client, its connections) is
there before a test begins, so that what a test itself leaves behind is still found.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings

import pytest

from sharedarray import DaskBackend, ExecutorBackend, MapReduce
from tests.workers.support import ROOT

# In a process of its own, so that workers that Dask starts anew are no children of the tests.
CLUSTER = """
import sys
import dask
if __name__ == "__main__":
    # A task is lost for good with its second worker, not with its fourth.
    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    # How long the scheduler tries to fetch a result from a worker that has just died.
    dask.config.set({"distributed.comm.timeouts.connect": "2s"})
    from distributed import LocalCluster
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, protocol="tcp",
                      dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextlib.contextmanager
def process_executor(n_workers=2):
    # Not forked: the threads of Dask and of executors may run in this process.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(n_workers, context) as executor:
        yield executor


@contextlib.contextmanager
def dask_cluster(folder):
    """Yield the address of the scheduler of a cluster."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    ours = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=ours | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # tells of every worker that a test kills
        cwd=folder,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@contextlib.contextmanager
def dask_client(address):
    from distributed import Client

    with Client(address) as client:
        client.wait_for_workers(2)
        pool = MapReduce(DaskBackend(client))

        def work(i):
            with pool.critical, contextlib.suppress(RuntimeError):
                return pool.local.rank

        pool.map(work, range(20))
        client.sync(open_connections, client)
        yield client


async def open_connections(client):
    """Have as many connections to the scheduler as a test may need at a time."""
    await asyncio.gather(*(client.scheduler.identity() for _ in range(16)))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture(scope="module")
def client(cluster):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Dask thinks of this machine is no matter of ours
        with dask_client(cluster) as client:
            yield client


@pytest.fixture(scope="module")
def threads():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        MapReduce(ExecutorBackend(executor)).map(time.sleep, [0.01] * 8, chunksize=1)
        yield executor


@pytest.fixture(scope="module")
def processes():
    with process_executor() as executor:
        MapReduce(ExecutorBackend(executor)).map(abs, range(8))
        yield executor


def wait_until(holds, limit=20):
    deadline = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.fixture
def cluster_pool(client):
    # Those that an earlier test has killed are back: as the scheduler sees it, for the client hears
    # of it later. With one worker only, both claims of a map would be lost with it.
    wait_until(lambda: client.run_on_scheduler(n_workers) == 2)
    return MapReduce(DaskBackend(client), np=2)


def n_workers(dask_scheduler):
    return sum(worker.status.name == "running" for worker in dask_scheduler.workers.values())
