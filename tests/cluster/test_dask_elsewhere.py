"""Shared arrays in Dask workers that cannot reach their memory, as if on another machine."""

from __future__ import annotations

import pytest

import sharedarray
from tests.cluster.engines import client, cluster, cluster_pool, dask_cluster, wait_until  # noqa: F401


@pytest.fixture
def pool(cluster_pool):  # noqa: F811
    return cluster_pool


@pytest.fixture
def elsewhere(client):  # noqa: F811
    """Let one worker reach no other's memory, as if it was on another machine."""
    client.wait_for_workers(2)
    address = sorted(client.scheduler_info(n_workers=-1)["workers"])[1]

    def cut():
        from sharedarray.memory import references

        references.connected = references.attach

        def attach(*args):
            raise references.Unreachable("it is on another machine")

        references.attach = attach

    def connect():
        from sharedarray.memory import references

        references.attach = references.connected

    client.run(cut, workers=[address])
    yield address
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


def test_dask_itself_sends_arrays_with_their_data(client, elsewhere):  # noqa: F811
    a = sharedarray.arange(12).reshape(3, 4)[:, ::2]
    future = client.scatter(a, workers=[elsewhere])
    facts = client.submit(lambda b: (type(b).__name__, b.sum()), future, workers=[elsewhere])
    assert facts.result() == ("SharedArray", a.sum())
    back = client.submit(lambda b: b + 1, future, workers=[elsewhere], pure=False).result()
    assert (back == a + 1).all()
