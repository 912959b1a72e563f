import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray_ops.sort import sorting
from tests.functions.sort_support import OTHERS, SIZES, STABLE, UNSTABLE, check, check_stable
from tests.functions.support import Untouched, layouts, small_arrays
from tests.ops.support import (
    DISTRIBUTIONS,
    POOLS,
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    cases,
    each_pool,
    outcome,
    sample,
    sorted_by_default,
    unchanged,
)

# values


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(small, dtype, pool):
    for distribution, n in cases(pool, SIZES):
        a = sample(distribution, n, dtype)
        check(a, pool())
        check_stable(a, pool(), kind="stable")


@given(
    n=st.integers(0, 1200),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, dtype, distribution, n_workers, seed):
    a = sample(distribution, n, dtype, seed)
    with small_arrays():
        check(a, UnorderedPool(n_workers, seed))
        check_stable(a, UnorderedPool(n_workers, seed), stable=True)


@pytest.mark.parametrize("dtype", RANKABLE)
def test_layouts(small, dtype, tmp_path):
    for _, a in layouts(sample("specials", 500, dtype), tmp_path):
        check(a, UnorderedPool(3))
        check_stable(a, UnorderedPool(3), kind="stable")


@pytest.mark.parametrize("kwargs", STABLE)
def test_spellings_of_stable(small, kwargs):
    for dtype in ("f2", "f4", "f8", ">f8"):
        check_stable(sample("nan_heavy", 300, dtype), UnorderedPool(2), **kwargs)
        check_stable(sample("zeros", 300, dtype), UnorderedPool(2), **kwargs)


@pytest.mark.parametrize("kwargs", UNSTABLE)
def test_spellings_of_the_default(small, kwargs):
    for dtype in ("f2", "f4", "f8", ">f8"):
        check(sample("nan_heavy", 300, dtype), UnorderedPool(2), **kwargs)
        check(sample("zeros", 300, dtype), UnorderedPool(2), **kwargs)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8"])
def test_few_zeros_among_many_numbers_keep_their_signs(dtype):
    """NumPy's own SIMD sort turns some -0.0 into +0.0 and others back, depending on its cuts."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal(sorting.LONG_SORT).astype(dtype)
    a[rng.integers(0, a.size, 24)] = np.array([0.0, -0.0] * 12, dtype)

    for n_workers in (0, 1, 2, 3, 7):
        assert_same_bits(sharedarray.sort(a, pool=MapReduce(np=n_workers)), sorted_by_default(a))


@pytest.mark.parametrize("dtype", ["f8", "i8", "u8", "f4", "f2", "i2", "u1", "?", "M8[ns]", ">f8"])
def test_large_arrays(dtype):
    a = sample("bits", 2_000_003, dtype)
    assert_same_bits(sharedarray.sort(a, pool=POOLS["thread-2"]()), sorted_by_default(a))


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_large_arrays_stable(dtype):
    a = sample("specials", sorting.LONG_SORT + 9, dtype)
    assert_same_bits(sharedarray.sort(a, kind="stable"), np.sort(a, kind="stable"))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_threshold(delta):
    for dtype in ("i8", "f4"):
        a = sample("random", sorting.LONG_SORT + delta, dtype)
        pool = RecordingPool(2)
        assert_same_bits(sharedarray.sort(a, pool=pool), np.sort(a))
        assert bool(pool.maps) is (delta >= 0)


# what goes to NumPy


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes(small, name):
    a = OTHERS[name]
    for kwargs in ({}, {"kind": "stable"}, {"axis": None}):
        with unchanged(a):
            result = sharedarray.sort(a, **kwargs)
        assert type(result) is SharedArray
        expected = np.sort(a, axis=kwargs.get("axis", -1), kind="stable")
        if name == "g":  # its padding is not defined
            np.testing.assert_array_equal(np.asarray(result), expected, strict=True)
        else:
            assert_same_bits(result, expected)


@pytest.mark.parametrize("order", ["b", ["b", "a"], ("a",), ["b"], "a"])
def test_order_of_fields(small, order):
    a = OTHERS["record"]
    for kind in (None, "stable"):
        result = sharedarray.sort(a, order=order, kind=kind)
        assert type(result) is SharedArray
        assert_same_bits(result, np.sort(a, order=order, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, None, np.int64(1)])
@pytest.mark.parametrize("dtype", ["i4", ">i8", "f8", "?", "S3", "M8[s]"])
def test_axes(small, dtype, axis):
    integers = np.random.default_rng(0).integers(0, 9, (4, 5, 6))
    c = integers.astype("i8").view(dtype) if dtype == "M8[s]" else integers.astype(dtype)
    for a in (c, np.asfortranarray(c), c.transpose(1, 0, 2), c[::-1, ::2], c[:, :, ::-1], c[:0]):
        with unchanged(a):
            result = sharedarray.sort(a, axis)
        assert type(result) is SharedArray
        expected = np.sort(a, axis)
        assert_same_bits(result, expected)
        if a.size and axis is not None:
            assert result.strides == expected.strides


def test_axis_none_of_a_large_array_is_parallel(small):
    a = sample("random", 600, "f8").reshape(20, 30)
    for same in (a, np.asfortranarray(a), a[::-1]):
        pool = RecordingPool(2)
        assert_same_bits(sharedarray.sort(same, axis=None, pool=pool), np.sort(same, axis=None))
        assert pool.maps


def test_array_likes():
    assert sharedarray.sort([3, 1, 2]).tolist() == [1, 2, 3]
    assert sharedarray.sort((3.5, 1)).dtype == np.float64
    assert sharedarray.sort(range(5, 0, -1)).tolist() == [1, 2, 3, 4, 5]
    assert sharedarray.sort(5, axis=None).tolist() == [5]
    assert sharedarray.sort([]).shape == (0,)
    assert sharedarray.sort(sharedarray.array([2, 1])).tolist() == [1, 2]
    assert type(sharedarray.sort([])) is SharedArray


def test_a_broadcast_array(small):
    check(np.broadcast_to(np.float64(3), 500), UnorderedPool(2))


# errors


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"axis": 1},
        {"axis": -2},
        {"axis": 0.0},
        {"axis": (0,)},
        {"axis": [0]},
        {"axis": "0"},
        {"axis": 2**70},
        {"axis": True},
        {"kind": ""},
        {"kind": "x"},
        {"kind": "introsort"},
        {"kind": "timsort"},
        {"kind": "radixsort"},
        {"kind": "stabl"},
        {"kind": "M"},
        {"kind": "QUICK"},
        {"kind": "Stable"},
        {"kind": b"stable"},
        {"kind": b"x"},
        {"kind": 5},
        {"kind": ["stable"]},
        {"kind": "stable", "stable": True},
        {"kind": "quicksort", "stable": False},
        {"kind": "stable", "stable": None},
        {"stable": 1},
        {"stable": "yes"},
        {"stable": 0},
        {"order": "f0"},
        {"order": ["f0"]},
        {"order": ""},
        {"order": []},
        {"order": 3},
        {"out": None},
        {"reverse": True},
        {"axis": 5, "kind": "x"},
        {"axis": 1, "order": "f0"},
    ],
)
@pytest.mark.parametrize("dtype", ["i8", "f8", ">f4", "S4"])
def test_arguments_are_judged_like_numpy(small, kwargs, n, dtype):
    a = sample("random", n, "i8").astype(dtype)
    with unchanged(a):
        expected = outcome(lambda: np.sort(a, **kwargs))
        is_error = expected[0] == "raised"
        pool = Untouched() if is_error else UnorderedPool(2)
        result = outcome(lambda: sharedarray.sort(a, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if is_error:
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("axis", [-1, 0, 1, None, 2, -3])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_axes_of_each_shape(axis, shape):
    a = np.ones(shape)
    expected = outcome(lambda: np.sort(a, axis))
    result = outcome(lambda: sharedarray.sort(a, axis))
    assert result[0] == expected[0]
    if result[0] == "raised":
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("order", ["c", ["a", "a"], ["a", "c"], 1])
def test_bad_fields(order):
    a = OTHERS["record"]
    assert outcome(lambda: sharedarray.sort(a, order=order)) == outcome(
        lambda: np.sort(a, order=order)
    )


def test_objects_are_refused():
    for a in (np.array([2, 1], object), np.array([(1, None)], "i4,O"), [None, 1]):
        with pytest.raises(TypeError):
            sharedarray.sort(a)
    with pytest.raises(TypeError):
        sharedarray.sort(np.array(["b", "a"], np.dtypes.StringDType()))


def test_masked_arrays_are_refused(small):
    for n in (5, 500):
        with pytest.raises(TypeError, match="mask"):
            sharedarray.sort(np.ma.masked_equal(np.arange(n), 3))
        with pytest.raises(TypeError, match="mask"):
            sharedarray.sort(np.ma.arange(n), axis=None)


def test_a_field_may_be_called_mask():
    a = np.rec.array([(2, 1.0), (1, 2.0)], dtype=[("mask", "i4"), ("x", "f8")])

    assert sharedarray.sort(a).tolist() == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize("n", [10, 500])
def test_a_pool_has_to_be_one(small, n):
    for pool in (3, "thread", object()):
        with pytest.raises(TypeError):
            sharedarray.sort(np.arange(n), pool=pool)
