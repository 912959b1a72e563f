"""Shared arrays in Dask workers that cannot reach their memory, as if on another machine."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

import sharedarray
from sharedarray import SharedArrayUnpickleError, WorkerException
from tests.cluster.engines import client, cluster, cluster_pool, dask_cluster, wait_until  # noqa: F401


@pytest.fixture
def pool(cluster_pool):  # noqa: F811
    return cluster_pool


@pytest.fixture
def elsewhere(client):  # noqa: F811
    """Let one worker reach no other's memory, as if it was on another machine."""
    with cut_off(client, "another machine") as address:
        yield address


@contextmanager
def cut_off(client, host):  # noqa: F811
    """Let one worker reach no other's memory, and be on a machine of that name if it is given."""
    client.wait_for_workers(2)
    address = sorted(client.scheduler_info(n_workers=-1)["workers"])[1]

    def cut():
        from sharedarray.cluster import remote
        from sharedarray.memory import pickling, references

        references.connected = references.attach, remote.host_id
        if host is not None:
            remote.host_id = pickling.host_id = lambda: host

        def attach(*args):
            raise references.Unreachable("it is cut off")

        references.attach = attach

    def connect():
        from sharedarray.cluster import remote
        from sharedarray.memory import pickling, references

        references.attach, remote.host_id = references.connected
        pickling.host_id = remote.host_id

    client.run(cut, workers=[address])
    try:
        yield address
    finally:
        client.run(connect, workers=[address])


def test_arrays_go_elsewhere_with_their_data(pool, elsewhere):
    from distributed import get_worker

    a = sharedarray.arange(1000)
    a.flags.writeable = False
    b = sharedarray.zeros(4, int)

    def work(item):
        b[1] = item[0] + 1
        return get_worker().address, type(a), a.flags.writeable, int(a.sum() + item.sum()), b

    items = sharedarray.ones((12, 3), int)
    found = pool.map(work, items, chunksize=1)
    where = {address for address, *_ in found}
    assert len(where) == 2
    assert elsewhere in where
    expected = (sharedarray.SharedArray, False, 499_500 + 3)
    assert {result[1:4] for result in found} == {expected}
    assert b[1] == 2  # by the worker of this machine
    assert all((result[4] == [0, 2, 0, 0]).all() for result in found)


def test_worker_of_this_machine_that_cannot_reach_an_array_fails_the_map(pool, client):  # noqa: F811
    a = sharedarray.zeros(12)

    def write(i):
        a[i] = 7

    with cut_off(client, None), pytest.raises(WorkerException, match="it is cut off") as caught:
        pool.map(write, range(12), chunksize=1)
    assert type(caught.value.__cause__) is SharedArrayUnpickleError


def test_dask_itself_sends_arrays_with_their_data(client, elsewhere):  # noqa: F811
    a = sharedarray.arange(12).reshape(3, 4)[:, ::2]
    future = client.scatter(a, workers=[elsewhere])
    facts = client.submit(lambda b: (type(b).__name__, b.sum()), future, workers=[elsewhere])
    assert facts.result() == ("SharedArray", a.sum())
    back = client.submit(lambda b: b + 1, future, workers=[elsewhere], pure=False).result()
    assert (back == a + 1).all()
