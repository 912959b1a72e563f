"""The same bits with a pool of processes as with threads and with NumPy: functions and kernels.

Whatever a worker process writes to private memory is lost, so an output or a scratch array that the
workers do not share shows here.
"""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce, MapReduceByThread, SharedArray
from sharedarray_ops import elementwise
from sharedarray_ops.files import reading
from sharedarray_ops.reduce import summation
from sharedarray_ops.sort import counting, numbers, quicksort, sorting
from tests.files.fromfile_support import DATA, DTYPES
from tests.functions.sort_support import OTHERS
from tests.functions.sum_support import SUMMABLE, assert_same, floats
from tests.functions.support import MIN_FROMFILE, MIN_SORT, MIN_SUM
from tests.ops.support import (
    RANKABLE,
    RecordingPool,
    assert_same_bits,
    outcome,
    sample,
    sorted_by_default,
    strided,
    unchanged,
)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")

POOLS = [MapReduce(np=3), MapReduceByThread(3)]
SORTS = [{}, {"kind": "stable"}]


def shared(a):
    """Return a SharedArray with the bits of `a`, which a copy of NaN need not have."""
    room = sharedarray.empty(a.shape, a.dtype)
    room.view(np.uint8)[:] = np.ascontiguousarray(a).view(np.uint8)
    return room


def inputs(a):
    """Yield the values of `a` in private and in shared memory, in several layouts."""
    yield a.copy()
    yield strided(a, 2)
    yield strided(a, -1)
    yield shared(a)
    yield shared(np.repeat(a, 2))[::2]
    yield shared(a[::-1].copy())[::-1]


def sorted_as_asked(a, kwargs):
    return np.sort(a, kind="stable") if kwargs else sorted_by_default(a)


def test_the_pools_are_used(small):
    # The twin of all below: at these sizes there is work for the pool.
    for dtype in RANKABLE:
        for call in (sharedarray.sort, sharedarray.argsort):
            pool = RecordingPool(3)
            call(sample("bits", 500, dtype), pool=pool)
            assert sum(pool.n_items) > 3


# sort


@pytest.mark.parametrize("dtype", RANKABLE)
def test_sort(small, dtype):
    for distribution, n in (("bits", 300), ("specials", MIN_SORT + 1)):
        a = sample(distribution, n, dtype)
        for kwargs in SORTS:
            for pool in POOLS:
                with unchanged(a):
                    result = sharedarray.sort(a, pool=pool, **kwargs)
                assert type(result) is SharedArray
                assert_same_bits(result, sorted_as_asked(a, kwargs))


@pytest.mark.parametrize("dtype", ["i4", ">f8", "f2"])
def test_sort_of_every_layout(small, dtype):
    values = sample("specials", 200, dtype)
    for a in inputs(values):
        for kwargs in SORTS:
            for pool in POOLS:
                with unchanged(a):
                    result = sharedarray.sort(a, pool=pool, **kwargs)
                assert_same_bits(result, sorted_as_asked(values, kwargs))


@pytest.mark.parametrize("step", [1, 2, -1, -3])
@pytest.mark.parametrize("dtype", ["f4", ">i8", "f2"])
def test_sort_in_place(small, dtype, step):
    for kwargs in SORTS:
        for pool in POOLS:
            room = shared(sample("zeros", 1000, dtype))
            view = room[10:-10][::step]
            values, before = np.array(view), np.array(room)
            assert view.sort(pool=pool, **kwargs) is None
            assert_same_bits(view, sorted_as_asked(values, kwargs))
            beside = np.ones(1000, bool)
            beside[10:-10][::step] = False
            assert_same_bits(np.asarray(room)[beside], before[beside])


@pytest.mark.parametrize("name", OTHERS)
def test_sort_of_wide_elements(small, name):
    for pool in POOLS:
        result, expected = (
            sharedarray.sort(OTHERS[name], pool=pool),
            np.sort(OTHERS[name], kind="stable"),
        )
        if name == "g":  # its padding is not defined
            np.testing.assert_array_equal(np.asarray(result), expected, strict=True)
        else:
            assert_same_bits(result, expected)


def test_sort_with_the_real_sizes():
    for dtype in ("f8", "i4", "u1", "f2"):
        a = sample("zipf", (1 << 20) + 1, dtype)
        for pool in POOLS:
            assert_same_bits(sharedarray.sort(a, pool=pool), sorted_by_default(a))


# argsort


def test_argsort_of_clusters(small):
    """Long runs of elements that agree in their leading bits are sorted again by the pool."""
    for dtype in ("i8", ">u8", "f8"):
        a = sample("cluster", 700, dtype)
        for pool in POOLS:
            assert_same_bits(sharedarray.argsort(a, pool=pool), np.argsort(a, kind="stable"))


@pytest.mark.parametrize("dtype", RANKABLE)
def test_argsort(small, dtype):
    for distribution, n in (("specials", 300), ("few", MIN_SORT + 1), ("sorted", 300)):
        a = sample(distribution, n, dtype)
        with np.errstate(all="ignore"):
            expected = np.argsort(a, kind="stable")
        for pool in POOLS:
            with unchanged(a):
                result = sharedarray.argsort(a, pool=pool)
            assert type(result) is SharedArray
            assert_same_bits(result, expected)


@pytest.mark.parametrize("dtype", ["i4", ">f8", "f2"])
def test_argsort_of_every_layout(small, dtype):
    values = sample("specials", 200, dtype)
    expected = np.argsort(values, kind="stable")
    for a in inputs(values):
        for pool in POOLS:
            with unchanged(a):
                assert_same_bits(sharedarray.argsort(a, pool=pool), expected)
                if isinstance(a, SharedArray):
                    assert_same_bits(a.argsort(pool=pool), expected)


def test_argsort_with_the_real_sizes():
    for dtype in ("f8", "u8", "i2"):
        a = sample("cluster", (1 << 19) + 1, dtype)
        for pool in POOLS:
            assert_same_bits(sharedarray.argsort(a, pool=pool), np.argsort(a, kind="stable"))


# sum


@pytest.mark.parametrize("dtype", SUMMABLE)
def test_sum(small, dtype):
    for n in (MIN_SUM + 1, 5003):
        for distribution in ("random", "bits", "few"):
            a = sample(distribution, n, dtype)
            with np.errstate(all="ignore"):
                expected = outcome(lambda a=a: np.sum(a))
                for pool in POOLS:
                    with unchanged(a):
                        result = outcome(lambda a=a, pool=pool: sharedarray.sum(a, pool=pool))
                    assert result[0] == expected[0]
                    assert_same(result[1], expected[1])


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "f2"])
def test_sum_of_every_layout(small, dtype):
    values = floats(2999, dtype)
    for a in inputs(values):
        expected = np.sum(np.asarray(a))
        for pool in POOLS:
            assert_same(sharedarray.sum(a, pool=pool), expected)
            if isinstance(a, SharedArray):
                assert_same(a.sum(pool=pool), expected)


def test_sum_into_private_and_shared_outputs(small):
    a = floats(2999, "f8")
    for pool in POOLS:
        for out in (np.zeros(()), sharedarray.zeros(())):
            assert sharedarray.sum(a, out=out, pool=pool) is out
            assert out == np.sum(a)


def test_sum_warns_and_raises_like_numpy(small):
    a = np.full(5000, 1e38, "f4")
    for pool in POOLS:
        with pytest.warns(RuntimeWarning, match="overflow") as caught:
            assert np.isinf(sharedarray.sum(a, pool=pool))
        assert len(caught) == 1
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            sharedarray.sum(a, pool=pool)
        with np.errstate(over="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isinf(sharedarray.sum(a, pool=pool))


# fromfile


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fromfile(small, data, dtype):
    for kwargs in ({}, {"count": 20}, {"offset": 7}, {"count": 10**6, "offset": 1}):
        expected = np.fromfile(data, dtype, **kwargs)
        for pool in POOLS:
            result = sharedarray.fromfile(data, dtype, pool=pool, **kwargs)
            assert type(result) is SharedArray
            assert_same_bits(result, expected)


def test_fromfile_moves_the_position_of_the_callers_file(small, data):
    for pool in POOLS:
        with data.open("rb") as file:
            file.seek(11)
            first = sharedarray.fromfile(file, "u1", count=MIN_FROMFILE + 1, pool=pool)
            assert file.tell() == 11 + MIN_FROMFILE + 1
            assert first.tobytes() == DATA[11 : 11 + MIN_FROMFILE + 1]
            assert sharedarray.fromfile(file, "u1", pool=pool).tobytes() == DATA[file.tell() :] or (
                file.tell() == len(DATA)
            )


def test_fromfile_with_the_real_sizes(tmp_path):
    path = tmp_path / "large.bin"
    values = np.random.default_rng(0).integers(0, 1 << 62, (1 << 21) + 3)
    values.tofile(path)
    for pool in POOLS:
        assert_same_bits(sharedarray.fromfile(path, "i8", pool=pool), values)


# in workers


def test_operations_in_the_workers_of_a_pool(small):
    rows = shared(sample("bits", 2000, "f8")).reshape(4, 500)
    inner, outer = MapReduce(np=2), MapReduce(np=2)

    def work(i):
        rows[i].sort(pool=inner)
        order = sharedarray.argsort(rows[i][::-1], pool=inner)
        return order.tolist(), float(sharedarray.sum(np.arange(1000.0), pool=inner))

    expected = [sorted_by_default(np.array(row)) for row in rows]
    for i, (order, total) in enumerate(outer.map(work, range(4))):
        assert_same_bits(rows[i], expected[i])
        assert order == np.argsort(expected[i][::-1], kind="stable").tolist()
        assert total == 499_500


# kernels, called directly


@pytest.mark.parametrize("dtype", RANKABLE)
def test_sorting_kernels(small, dtype):
    for distribution in ("bits", "specials"):
        values = sample(distribution, 200, dtype)
        for pool in POOLS:
            a, order = shared(values), sharedarray.empty(200, np.intp)
            sorting.argsort(a, order, pool)
            with np.errstate(all="ignore"):
                assert_same_bits(order, np.argsort(values, kind="stable"))
            has_ties = numbers.needs_order(a, pool)
            assert has_ties == numbers.needs_order(values, RecordingPool(1))
            numbers.sort_numbers(a, pool)
            assert_same_bits(a, sorted_by_default(values))


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "u2", "u4", "u8", "f4", "f8"])
def test_quicksort_kernel(small, dtype):
    for distribution in ("random", "few"):
        values = sample(distribution, 509, dtype)
        for pool in POOLS:
            a = shared(values)
            quicksort.quicksort(a, pool)
            np.testing.assert_array_equal(np.asarray(a), np.sort(values), strict=True)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "f2", ">f2"])
def test_counting_kernel(small, dtype):
    values = sample("bits", 1009, dtype)
    by_numpy = shared(values)
    counting.counting_sort(by_numpy, RecordingPool(1))
    for pool in POOLS:
        a = shared(values)
        counting.counting_sort(a, pool)
        assert_same_bits(a, by_numpy)


@pytest.mark.parametrize("dtype", RANKABLE)
def test_copy_and_gather_kernels(small, dtype):
    values = sample("bits", 509, dtype)
    order = np.random.default_rng(0).permutation(509)
    raw = values.view(f"V{values.itemsize}")
    for a in inputs(values):
        for pool in POOLS:
            out = sharedarray.empty(509, dtype)
            elementwise.copy(a, out, pool)
            assert_same_bits(out, values)
            elementwise.gather(a, order, out, pool)
            assert_same_bits(np.asarray(out).view(raw.dtype), raw[order])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u8", "?"])
def test_sum_kernels(small, dtype):
    values = floats(5003, "f8").astype(dtype)
    accumulated = np.float32 if dtype == "f2" else None
    for a in inputs(values):
        for pool in POOLS:
            total = summation.sum_tree(a, pool)
            assert_same_bits(total[0], np.add.reduce(np.asarray(a), dtype=accumulated))


def test_buffered_and_time_sum_kernels(small):
    swapped = floats(50_003, ">f8")
    times = sample("few", 5003, "m8[s]")
    for pool in POOLS:
        total = summation.sum_buffered(swapped, pool, np.getbufsize())
        assert_same_bits(total[0], np.add.reduce(swapped))
        assert_same_bits(summation.sum_times(times, pool)[0], np.sum(times))


def test_file_kernel(small, data):
    descriptor = os.open(data, os.O_RDONLY)
    try:
        for pool in POOLS:
            for offset, n in ((0, 640), (77, 1009), (len(DATA) - 100, 640)):
                out = sharedarray.zeros(n, np.uint8)
                there = DATA[offset : offset + n]
                assert reading.read(descriptor, offset, out.view(np.ndarray), pool) == len(there)
                assert out.tobytes() == there + bytes(n - len(there))
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    finally:
        os.close(descriptor)


class _KillingPool:
    """Processes of which each is killed at its first item."""

    np = 2

    def map(self, func, sequence):
        def kill(item):
            os.kill(os.getpid(), signal.SIGKILL)

        return MapReduce(np=self.np).map(kill, sequence)


@pytest.mark.parametrize("name", ["argsort", "sort", "sum"])
def test_a_killed_worker_is_reported_as_it_is(small, name):
    with pytest.raises(sharedarray.WorkerDied, match="SIGKILL") as caught:
        getattr(sharedarray, name)(sample("random", 2000, "f8"), pool=_KillingPool())
    assert caught.value.rank in (0, 1)
    assert caught.value.signal == signal.SIGKILL
