"""What is Dask's own: ranks, locks and turns, cancellation."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time

import pytest

import sharedarray
from sharedarray import DaskBackend, MapReduce, WorkerException
from sharedarray.cluster import dask_constructs
from tests.cluster.engines import client, cluster, cluster_pool, dask_cluster, wait_until  # noqa: F401
from tests.workers.support import end_script, reason_of, start_script


@pytest.fixture
def pool(cluster_pool):  # noqa: F811
    return cluster_pool


def scheduler_keeps(client):  # noqa: F811
    """Return how many tasks, events and locks the scheduler has."""
    gc.collect()  # the exceptions of earlier tests have frames that hold futures

    def count(dask_scheduler):
        extensions = dask_scheduler.extensions
        return [
            len(dask_scheduler.tasks),
            len(extensions["events"]._events),
            len(extensions["semaphores"].leases),
        ]

    return client.run_on_scheduler(count)


def task_names(client):  # noqa: F811
    return client.run_on_scheduler(lambda dask_scheduler: [*map(str, dask_scheduler.tasks)])


def test_nothing_of_dask_is_imported_with_the_package():
    code = "import sys, sharedarray, sharedarray.cluster.dask_maps; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.split(".")[0] for name in found.stdout.split()}
    assert not names & {"dask", "distributed", "cloudpickle", "tornado"}


def test_bad_arguments(client):  # noqa: F811
    with pytest.raises(ValueError, match="retries"):
        DaskBackend(client, retries=-1)


def test_missing_dask_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"sharedarray-toolkit\[dask\]"):
        DaskBackend(None)


def test_ranks_stay_with_their_dask_worker(pool):
    pids = pool.map(lambda _: (pool.local.rank, os.getpid()), range(20), chunksize=1)
    assert len(set(pids)) == 2
    assert len({pid for _, pid in set(pids)}) == 2


# critical and ordered


@pytest.mark.parametrize("guarded", [True, False])
def test_critical_keeps_the_others_out(pool, guarded):
    # The twin without the construct loses additions.
    total = sharedarray.zeros(1, int)
    meeting = sharedarray.zeros(2, int)

    def add():
        value = total[0]
        # A worker that is alone in here waits in vain for the other; if it comes, both have read.
        meeting[pool.local.rank] += 1
        deadline = time.monotonic() + (0.02 if guarded else 5)
        while time.monotonic() < deadline and meeting.min() == 0:
            pass
        total[0] = value + 1

    def work(_):
        if guarded:
            with pool.critical:
                meeting[:] = 0
                add()
        else:
            add()

    pool.map(work, range(2), chunksize=1)
    assert total[0] == (2 if guarded else 1)


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_ordered_passes_the_items_in_their_order(pool, chunksize):
    seen = sharedarray.full(40, -1)
    n_seen = sharedarray.zeros(1, int)

    def work(i):
        if i % 4 != 1:  # an item may leave the block out
            with pool.ordered:
                seen[n_seen[0]] = i
                n_seen[0] += 1
        return i

    assert pool.map(work, range(40), chunksize=chunksize) == list(range(40))
    assert seen[: n_seen[0]].tolist() == [i for i in range(40) if i % 4 != 1]


@pytest.mark.parametrize("ordered", [True, False])
def test_ordered_waits_for_an_earlier_item(pool, ordered):
    # The first item waits until the second is past where it is to wait: the twin without the block
    # lets it through.
    order = sharedarray.zeros(2, int)
    at = sharedarray.zeros(1, int)

    def work(i):
        if i == 0:
            deadline = time.monotonic() + (0.3 if ordered else 5)
            while time.monotonic() < deadline and not at[0]:
                pass
        if ordered:
            with pool.ordered:
                return enter(i)
        return enter(i)

    def enter(i):
        order[i] = at[0]
        at[0] += 1

    pool.map(work, range(2), chunksize=1)
    assert order.tolist() == ([0, 1] if ordered else [1, 0])


def test_who_waits_for_a_turn_gives_its_place_to_the_one_it_waits_for(pool, client):  # noqa: F811
    # Both claims on one Dask worker with one thread, the later one first: a lost worker does that.
    # Without leaving its place the later one would wait for ever.
    (address, *_) = client.scheduler_info(n_workers=-1)["workers"]
    submit = client.submit
    kept = []  # what the worker does while both claims come

    def later_one_first(function, *args, **options):
        if "-map-" in str(options["key"]):
            return submit(function, *args, **options)
        options |= {"workers": [address], "allow_other_workers": False}
        if not kept and options["key"][1] == 0:
            kept.append(submit(lambda: time.sleep(0.3), workers=[address], pure=False))
        return submit(function, *args, priority=options["key"][1], **options)

    def work(i):
        with pool.ordered:
            return i

    client.submit = later_one_first
    try:
        assert pool.map(work, range(4), chunksize=1) == [0, 1, 2, 3]
    finally:
        del client.submit
    assert kept


def test_failure_wakes_those_who_wait(pool):
    began = time.monotonic()

    def work(i):
        if i == 0:
            raise ValueError(i)
        with pool.ordered:
            return i

    assert isinstance(reason_of(pool, work, range(8), chunksize=1), ValueError)
    assert pool.map(abs, range(20)) == list(range(20))
    assert time.monotonic() - began < 10


def test_scheduler_keeps_nothing(pool, client):  # noqa: F811
    def work(i):
        with pool.ordered, pool.critical:
            return 1 // (5 - i)

    pool.map(work, range(5))
    reason_of(pool, work, range(9))
    wait_until(lambda: scheduler_keeps(client) == [0, 0, 0])


def test_forked_child_of_an_item_is_told(pool):
    def inner(_):
        with pool.critical:
            return 1

    reason = reason_of(pool, lambda _: MapReduce("process", 1).map(inner, [0]), [0])
    assert isinstance(reason, WorkerException)
    assert "forked" in str(reason)


# ends


def test_cancelled_tasks_do_not_start(pool, client):  # noqa: F811
    ran = sharedarray.zeros(400, int)

    def work(i):
        ran[i] = 1
        time.sleep(0.05)

    with pytest.raises(TimeoutError):
        pool.map(work, range(400), timeout=0.3, chunksize=200)
    wait_until(lambda: all(client.run(lambda: len(dask_constructs._stopped)).values()))
    wait_until(lambda: not any("work" in key for key in task_names(client)))
    n_ran = int(ran.sum())
    pool.map(abs, range(10))  # both workers are free
    assert int(ran.sum()) <= n_ran + 2
    assert n_ran < 200


def test_task_cancelled_by_another_is_told(pool, client):  # noqa: F811
    held = sharedarray.zeros(1, int)

    def hold(_):
        while not held[0]:
            time.sleep(0.01)

    def cancel():
        wait_until(lambda: any(client.processing().values()))
        client.cancel([f for f in client.futures.values() if False] or list(futures()), force=True)
        held[0] = 1

    def futures():
        from distributed import Future

        return [Future(key, client) for key in list(client.futures) if "-map-" not in str(key)]

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="cancelled, and not by its map"):
            pool.map(hold, range(2))
    finally:
        held[0] = 1
        thread.join()


INTERRUPTED = """
from distributed import Client
from sharedarray import DaskBackend

import logging
logging.disable()
if __name__ == "__main__":
    a = sharedarray.zeros(3, int)
    def work(i):
        a[i % 2] += 1
        a[2] = 1
        time.sleep(0.05)
    with Client(ADDRESS) as client:
        pool = MapReduce(DaskBackend(client))
        def interrupt(_):
            if not a[2]: return
            os.kill(os.getpid(), signal.SIGINT)
        try:
            pool.map(work, range(1000), interrupt)
        except KeyboardInterrupt:
            print("interrupted")
        while any(client.processing().values()):
            time.sleep(0.01)
        print(pool.map(abs, range(3)), a[:2].sum() < 100)
"""


def test_interrupt_cancels(cluster, tmp_path):  # noqa: F811
    script = INTERRUPTED.replace("ADDRESS", repr(cluster))
    out, err, code = end_script(start_script(script, tmp_path))
    assert (out, code) == ("interrupted\n[0, 1, 2] True\n", 0), err
