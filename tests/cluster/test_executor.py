"""What is an executor's own: constructs, processes that die, executors that are broken or shut."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

import sharedarray
from sharedarray import ExecutorBackend, MapReduce, WorkerDied
from sharedarray.cluster import shipping
from tests.cluster.engines import (  # noqa: F401 - fixtures
    client,
    cluster,
    process_executor,
    processes,
    threads,
)
from tests.workers.support import ROOT, end_script, reason_of, start_script


@pytest.mark.parametrize("construct", ["critical", "ordered"])
def test_constructs_that_processes_lack_are_named(processes, construct):  # noqa: F811
    pool = MapReduce(ExecutorBackend(processes))

    def work(_):
        with getattr(pool, construct):
            pass

    reason = reason_of(pool, work, range(3))
    assert isinstance(reason, NotImplementedError)
    assert f"pool.{construct}" in str(reason)


@pytest.mark.parametrize("n_workers", [2, 5])  # more than the executor has wait for a thread
def test_threads_have_all_constructs(threads, n_workers):  # noqa: F811
    pool = MapReduce(ExecutorBackend(threads), np=n_workers)
    seen, inside = [], []

    def work(i):
        with pool.critical:
            inside.append(i)
            alone = inside == [i]
            inside.remove(i)
        with pool.ordered:
            seen.append(i)
        return alone

    assert all(pool.map(work, range(60)))
    assert seen == list(range(60))


def test_threads_share_the_objects_of_the_caller(threads):  # noqa: F811
    lock, seen = threading.Lock(), []
    with_lock = MapReduce(ExecutorBackend(threads)).map(lambda i: (lock, seen.append(i))[0], "abc")
    assert with_lock == [lock] * 3
    assert sorted(seen) == ["a", "b", "c"]


def test_map_ends_with_the_items_of_its_threads(threads):  # noqa: F811
    running = []

    def work(i):
        if i == 1:
            raise ValueError(i)
        running.append(i)
        threading.Event().wait(0.1)
        running.remove(i)

    reason_of(MapReduce(ExecutorBackend(threads)), work, range(20), chunksize=1)
    assert running == []


def test_map_within_an_item_runs_in_it(threads):  # noqa: F811
    # Each thread waiting for tasks that need a thread would be a deadlock.
    pool = MapReduce(ExecutorBackend(threads))
    inner = pool.map(lambda _: set(pool.map(lambda _: threading.get_ident(), range(3))), range(4))
    assert [len(idents) for idents in inner] == [1] * 4


def test_process_that_dies_is_reported():
    def die(i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with process_executor(1) as executor:
        pool = MapReduce(ExecutorBackend(executor))
        with pytest.raises(WorkerDied, match="item 2") as caught:
            pool.map(die, range(5), chunksize=1)
        assert caught.value.items == (2,)
        assert isinstance(caught.value.__cause__, concurrent.futures.BrokenExecutor)
        with pytest.raises(WorkerDied):  # it stays broken
            pool.map(abs, range(5))


def test_executor_that_was_shut_down(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        pool = MapReduce(ExecutorBackend(executor))
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(abs, range(3))


def test_without_cloudpickle_functions_travel_by_their_names(processes, monkeypatch):  # noqa: F811
    pool = MapReduce(ExecutorBackend(processes))
    monkeypatch.setitem(__import__("sys").modules, "cloudpickle", None)
    shipping._pickler.cache_clear()
    try:
        assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]
        with pytest.raises(TypeError, match="cloudpickle"):
            pool.map(lambda i: i, range(3))
    finally:
        shipping._pickler.cache_clear()


def test_function_is_loaded_once_in_a_process(processes):  # noqa: F811
    n_loaded = sharedarray.zeros(1, int)

    class Work:
        def __init__(self, counter):
            self.counter = counter

        def __call__(self, i):
            return i

        def __reduce__(self):
            return loaded, (self.counter,)

    def loaded(counter):
        counter[0] += 1
        return abs

    pool = MapReduce(ExecutorBackend(processes), np=1)
    assert pool.map(Work(n_loaded), range(30), chunksize=1) == list(range(30))
    assert 1 <= n_loaded[0] <= 2  # two processes


def check_engine(executor):
    """Check that an executor of another library does what a map needs."""
    pool = MapReduce(ExecutorBackend(executor))
    a = sharedarray.zeros(40, int)

    def work(i):
        a[i] = i
        return os.getpid()

    assert pool.np == 2
    pids = pool.map(work, range(40), chunksize=1)
    assert os.getpid() not in pids
    assert a.tolist() == list(range(40))
    assert list(pool.imap(lambda i: -i, iter(range(9)))) == [-i for i in range(9)]
    assert isinstance(reason_of(pool, lambda i: 1 // (3 - i), range(5)), ZeroDivisionError)
    return pool


def check_death(pool):
    def die(i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with pytest.raises(WorkerDied, match="item 2"):
        pool.map(die, range(3), chunksize=1)


def test_executor_of_dask_has_the_workers_of_the_cluster(client):  # noqa: F811
    check_death(check_engine(client.get_executor()))


LOKY = """
from loky import get_reusable_executor
import sharedarray
from tests.cluster.test_executor import check_death, check_engine

if __name__ == "__main__":
    executor = get_reusable_executor(2)
    check_death(check_engine(executor))
    executor.shutdown(wait=True)
    print("done")
"""


def test_executor_of_loky(tmp_path):
    pytest.importorskip("loky")
    out, err, code = end_script(start_script(LOKY, tmp_path))
    assert (out, code) == ("done\n", 0), err


MPI = """
import sys
from mpi4py.futures import MPIPoolExecutor
from tests.cluster.test_executor import check_engine

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        check_engine(executor)
    print("done")
"""


def test_executor_of_mpi(tmp_path):
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no MPI is installed")
    (tmp_path / "script.py").write_text(MPI)
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "script.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )
    assert (found.stdout, found.returncode) == ("done\n", 0), found.stderr


INTERRUPTED = """
import concurrent.futures, multiprocessing
from sharedarray import ExecutorBackend

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ran = sharedarray.zeros(1000, int)
    def work(i):
        ran[i] = 1
        time.sleep(0.02)
    with concurrent.futures.ProcessPoolExecutor(2, context) as executor:
        pool = MapReduce(ExecutorBackend(executor))
        try:
            pool.map(work, range(1000), lambda _: os.kill(os.getpid(), signal.SIGINT), chunksize=1)
        except KeyboardInterrupt:
            print("interrupted")
        print(pool.map(abs, range(3)), ran.sum() < 10)
"""


def test_interrupt_leaves_no_item_to_start(tmp_path):
    out, err, code = end_script(start_script(INTERRUPTED, tmp_path))
    assert (out, code) == ("interrupted\n[0, 1, 2] True\n", 0), err
