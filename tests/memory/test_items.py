"""Arrays that are sent to worker processes which are there already: the items of an iterator."""

import pytest

import sharedarray
from sharedarray import MapReduce, SharedArray, SharedArrayUnpickleError, WorkerException

SMALL, MEDIUM, LARGE = 12, 30_000, 1 << 18  # in a slab; without descriptor; with one
REACHABLE = pytest.mark.parametrize("n", [SMALL, LARGE])


def use(a):
    before = type(a) is SharedArray, float(a[0]), float(a.sum())
    a[1] = -1
    return before


@REACHABLE
@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_worker_attaches_to_an_array_that_is_younger_than_it(n, chunksize):
    def items():
        for i in range(8):
            kept.append(sharedarray.full(n, float(i)))
            yield kept[-1][::-1]

    kept = []
    results = MapReduce(np=2).map(use, items(), chunksize=chunksize)
    assert results == [(True, i, i * n) for i in range(8)]
    assert [a[-2] for a in kept] == [-1] * 8


@REACHABLE
@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_items_that_only_the_iterator_has_had_live_until_the_work_is_done(n, chunksize):
    items = (sharedarray.full(n, float(i)) for i in range(8))
    results = MapReduce(np=2).map(use, items, chunksize=chunksize)
    assert results == [(True, i, i * n) for i in range(8)]


@REACHABLE
def test_items_of_a_lazy_map_live_until_the_work_is_done(n):
    items = (sharedarray.full(n, float(i)) for i in range(8))
    results = MapReduce(np=2).imap(use, items)
    assert list(results) == [(True, i, i * n) for i in range(8)]


def test_array_without_descriptor_is_a_clear_error_if_it_does_not_arrive():
    def items():
        for i in range(8):
            kept.append(sharedarray.full(MEDIUM, float(i)))
            yield kept[-1]

    kept = []
    try:
        results = MapReduce(np=2).map(use, items())
    except WorkerException as error:
        reason = error.reason
        error.__cause__ = None
        with pytest.raises(SharedArrayUnpickleError, match=r"np\.asarray\(a\)"):
            raise reason from None
    else:
        assert [values[1:] for values in results] == [(i, i * MEDIUM) for i in range(8)]


def test_item_comes_back_as_the_array_that_was_sent():
    kept = [sharedarray.full(SMALL, float(i)) for i in range(4)]
    results = MapReduce(np=2).map(lambda a: a[1:], iter(kept))
    for a, b in zip(kept, results, strict=True):
        b[0] = 55
        assert a[1] == 55
