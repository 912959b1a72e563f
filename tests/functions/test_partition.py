from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import partitioning
from sharedarray.memory.array import DISPATCH
from sharedarray_ops.sort import selecting
from tests.functions.sort_support import OTHERS
from tests.functions.support import Untouched, layouts, small_arrays
from tests.ops.support import (
    DISTRIBUTIONS,
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    sample,
    unchanged,
)

MIN_PARTITION = 40
SIZES = [1, MIN_PARTITION - 1, MIN_PARTITION, MIN_PARTITION + 1, 127, 1009]


@pytest.fixture(autouse=True)
def small_partitions(monkeypatch):
    monkeypatch.setattr(partitioning, "MIN_PARTITION", MIN_PARTITION)
    monkeypatch.setattr(partitioning, "MIN_ARGPARTITION", MIN_PARTITION)
    for module in (partitioning.partitioning, selecting):
        monkeypatch.setattr(module, "BLOCK", 16)
    with small_arrays():
        yield


def assert_partitioned(result, a, kth, axis=-1):
    """Compare with the sorted array at the places, and the sets of elements between them."""
    if axis is None:
        a, axis = a.reshape(-1), -1
    assert result.dtype == a.dtype
    assert result.shape == a.shape
    result, a = np.moveaxis(np.asarray(result), axis, -1), np.moveaxis(np.asarray(a), axis, -1)
    with np.errstate(all="ignore"):
        expected = np.sort(a, kind="stable")
        places = sorted(set((np.atleast_1d(kth) % a.shape[-1]).tolist()))
        np.testing.assert_array_equal(result[..., places], expected[..., places])
        cuts = [0, *places, a.shape[-1]]
        for i, j in pairwise(cuts):
            between = np.sort(result[..., i:j], kind="stable")
            np.testing.assert_array_equal(between, expected[..., i:j])


def check(a, kth, axis=-1, pool=None):
    with unchanged(a):
        result = partitioning.partition(a, kth, axis, pool=pool)
        order = partitioning.argpartition(a, kth, axis, pool=pool)
    assert type(result) is SharedArray
    assert type(order) is SharedArray
    assert order.dtype == np.intp
    assert_partitioned(result, a, kth, axis)
    if axis is None:
        a, axis = a.reshape(-1), -1
    by_order = np.take_along_axis(a, np.asarray(order), axis)
    assert_partitioned(by_order, a, kth, axis)
    assert np.array_equal(np.sort(order.view(np.ndarray), axis), np.sort(np.argsort(a, axis), axis))


@each_pool
@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", "u1", "?", "M8[s]", ">f4"])
def test_the_property(dtype, pool):
    for n in SIZES:
        for distribution in ("bits", "few"):
            a = sample(distribution, n, dtype)
            check(a, n // 2, pool=pool())
            check(a, [0, n // 3, -1], pool=pool())


@given(
    n=st.integers(1, 1200),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    shares=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    n_workers=st.integers(1, 5),
)
def test_any_places(n, dtype, distribution, shares, n_workers):
    with small_arrays():
        kth = [int(share * (n - 1)) for share in shares]
        check(sample(distribution, n, dtype), kth, pool=UnorderedPool(n_workers, 0))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3, None])
@pytest.mark.parametrize("dtype", ["i4", "f8", ">f4", "u1", "M8[s]"])
def test_axes(dtype, axis):
    c = sample("few", 4 * 5 * 6, dtype).reshape(4, 5, 6)
    for a in (c, np.asfortranarray(c), c.transpose(1, 0, 2), c[::-1, ::2], c[:, :, ::-1]):
        for kth in (0, 2, [1, -1], np.int8(1)):
            check(a, kth, axis, UnorderedPool(3))


def test_layouts(tmp_path):
    for _, a in layouts(sample("specials", 500, "f8"), tmp_path):
        check(a, 250, pool=UnorderedPool(3))
        check(a, [100, 250], pool=UnorderedPool(3))


def test_many_places_at_once():
    a = sample("random", 1009, "f8")
    check(a, np.arange(1009), pool=UnorderedPool(2))
    check(sample("random", 50_000, "i4"), np.arange(0, 50_000, 3000), pool=UnorderedPool(2))


def test_nan_comes_last():
    a = sample("nan_heavy", 1009, "f8")
    n_nan = np.count_nonzero(np.isnan(a))
    for kth in (3, [3, 1000]):
        assert np.isnan(np.asarray(a[partitioning.argpartition(a, kth)])[-1])
        assert np.count_nonzero(np.isnan(partitioning.partition(a, kth)[-n_nan:])) in range(
            1, n_nan + 1
        )


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes(name):
    for a in (OTHERS[name], OTHERS[name].reshape(4, -1)):
        for axis in (-1, 0, None):
            if name == "V":
                continue
            with unchanged(a):
                result = partitioning.partition(a, 2, axis)
                order = partitioning.argpartition(a, 2, axis)
            assert type(result) is type(order) is SharedArray
            assert_same_bits(result, np.partition(a, 2, axis))
            assert_same_bits(order, np.argpartition(a, 2, axis))


def test_order_of_fields():
    a = OTHERS["record"]
    assert_same_bits(partitioning.partition(a, 5, order="b"), np.partition(a, 5, order="b"))
    assert_same_bits(partitioning.argpartition(a, 5, order="b"), np.argpartition(a, 5, order="b"))


def test_objects_stay_with_numpy():
    a = np.array([2, 1, 3] * 30, object)
    assert type(partitioning.partition(a, [4, 7])) is np.ndarray
    assert partitioning.partition(a, 0)[0] == 1
    assert a[partitioning.argpartition(a, 89)][89] == 3


# what is parallel


def test_what_the_workers_do():
    for dtype, kth in (("f8", [3, 4]), ("u1", 3), ("f8", 3)):
        pool = RecordingPool(2)
        partitioning.partition(sample("few", 500, dtype), kth, pool=pool)
        assert pool.maps
    for kth in (3, [3, 4]):
        pool = RecordingPool(2)
        partitioning.argpartition(sample("few", 500, "f8"), kth, pool=pool)
        assert pool.maps


def test_processes():
    for dtype in ("f8", "u1", "M8[s]"):
        check(sample("bits", 1009, dtype), 500, pool=MapReduce(np=3))
        check(sample("few", 1009, dtype), [1, 500], pool=MapReduce(np=3))
    check(sample("bits", 1000, "f8").reshape(40, 25), 7, 0, MapReduce(np=3))


# in place


@pytest.mark.parametrize("dtype", ["f8", "u1", "M8[s]", "S2", "c16"])
@pytest.mark.parametrize("n", [10, 500])
def test_the_method(dtype, n):
    method = DISPATCH[np.ndarray.partition]
    for kth in (3, [3, 7], -1):
        few = np.random.default_rng(0).integers(0, 5, n)
        values = few.view("M8[s]") if dtype == "M8[s]" else few.astype(dtype)
        for a in (sharedarray.array(values), sharedarray.array(np.repeat(values, 2))[::2]):
            assert method(a, kth) is None
            assert_partitioned(a, values, kth)
    a = sharedarray.array(np.random.default_rng(0).random((20, 30)))
    values = np.array(a)
    method(a, [2, 5], 0)
    assert_partitioned(a, values, [2, 5], 0)


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("kth", [3, [3, 4]])
def test_a_read_only_array_is_not_partitioned(n, kth):
    a = sharedarray.array(np.arange(float(n))[::-1])
    a.flags.writeable = False
    with unchanged(a), pytest.raises(ValueError, match="read-only"):
        DISPATCH[np.ndarray.partition](a, kth)


# errors


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a bool as place
@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("dtype", ["f8", "u1", "S3"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((500,), {}),
        ((-501,), {}),
        (([0, 500],), {}),
        ((1.0,), {}),
        (("1",), {}),
        ((None,), {}),
        (([[1, 2]],), {}),
        (([],), {}),
        ((True,), {}),
        (([True, False],), {}),
        ((1, 1), {}),
        ((1, -2), {}),
        ((1, 0.0), {}),
        ((1, "0"), {}),
        ((1, (0,)), {}),
        ((1,), {"kind": "x"}),
        ((1,), {"kind": "quicksort"}),
        ((1,), {"kind": None}),
        ((1,), {"kind": ["introselect"]}),
        ((1,), {"kind": b"introselect"}),
        ((1,), {"order": "f0"}),
        ((1,), {"order": []}),
        ((1,), {"axis": None, "order": "f0"}),
        ((1, True), {}),
        ((np.uint8(1), np.int8(0)), {}),
    ],
)
def test_arguments_are_judged_like_numpy(args, kwargs, n, dtype):
    a = (np.arange(n) % 7).astype(dtype)
    for ours, theirs in (
        (partitioning.partition, np.partition),
        (partitioning.argpartition, np.argpartition),
    ):
        expected = outcome(lambda f=theirs: f(a, *args, **kwargs))
        is_error = expected[0] == "raised"
        pool = Untouched() if is_error else UnorderedPool(2)
        with unchanged(a):
            result = outcome(lambda f=ours, pool=pool: f(a, *args, pool=pool, **kwargs))
        assert result[0] == expected[0]
        if is_error:
            assert result[1] is expected[1]


@pytest.mark.parametrize("axis", [-1, 0, 1, None])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (2, 3)])
def test_axes_of_each_shape(axis, shape):
    a = np.ones(shape)
    for ours, theirs in (
        (partitioning.partition, np.partition),
        (partitioning.argpartition, np.argpartition),
    ):
        expected = outcome(lambda f=theirs: f(a, 0, axis))
        result = outcome(lambda f=ours: f(a, 0, axis))
        assert result[0] == expected[0]
        if result[0] == "raised":
            assert result[1] is expected[1]
        else:
            assert_same_bits(result[1], expected[1])


def test_masked_arrays_and_other_pools_are_refused():
    for function in (partitioning.partition, partitioning.argpartition):
        with pytest.raises(TypeError, match="mask"):
            function(np.ma.masked_equal(np.arange(500), 3), 1)
        with pytest.raises(TypeError):
            function(np.arange(500), 1, pool=3)


def test_numpy_is_led_here():
    a = sharedarray.array(np.random.default_rng(0).random(500))
    for result in (np.partition(a, 250), np.partition(a, [10, 250], axis=None)):
        assert type(result) is SharedArray
        assert_partitioned(result, np.asarray(a), 250)
    for order in (np.argpartition(a, 250), a.argpartition(250), a.argpartition(kth=[0, 250])):
        assert type(order) is SharedArray
        assert_partitioned(np.asarray(a)[order], np.asarray(a), 250)
