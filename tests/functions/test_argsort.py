import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions.thresholds import MIN_ARGSORT
from sharedarray_ops.sort.sorting import LONG_ARGSORT
from tests.functions.support import MIN_SORT, Untouched, layouts, small_arrays
from tests.functions.test_sort import OTHERS
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
    unchanged,
)

SIZES = [0, 1, 2, MIN_SORT - 1, MIN_SORT, MIN_SORT + 1, 127, 1009]


def check(a, pool, **kwargs):
    with unchanged(a), np.errstate(all="raise"):
        result = sharedarray.argsort(a, pool=pool, **kwargs)
    assert type(result) is SharedArray
    with np.errstate(all="ignore"):
        assert_same_bits(result, np.argsort(a, kind="stable"))


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(small, dtype, pool):
    for distribution, n in cases(pool, SIZES):
        check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 1200),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, dtype, distribution, n_workers, seed):
    with small_arrays():
        check(sample(distribution, n, dtype, seed), UnorderedPool(n_workers, seed))


@pytest.mark.parametrize("dtype", RANKABLE)
def test_layouts(small, dtype, tmp_path):
    for distribution in ("specials", "few"):
        for _, a in layouts(sample(distribution, 500, dtype), tmp_path):
            check(a, UnorderedPool(3))


@pytest.mark.parametrize("n", [MIN_SORT - 5, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"kind": "quicksort"},
        {"kind": "heapsort"},
        {"kind": "stable"},
        {"kind": b"m"},
        {"stable": True},
        {"stable": False},
        {"axis": None},
        {"axis": 0},
        {"axis": np.int8(-1)},
    ],
)
def test_stable_whatever_is_asked_for(small, kwargs, n):
    for dtype in ("i8", "f8", "u1"):
        check(sample("few", n, dtype), UnorderedPool(2), **kwargs)


@pytest.mark.parametrize("dtype", ["f8", "i8", "u8", "f4", "f2", "?", "M8[ns]", ">f8"])
def test_large_arrays(dtype):
    a = sample("zipf" if dtype in ("u8", "f4") else "bits", 1_000_003, dtype)
    check(a, POOLS["thread-2"]())


def test_large_clusters():
    """Two clusters, each longer than a task for the pool, and values at both ends of the range."""
    rng = np.random.default_rng(0)
    n = 1_200_000
    a = rng.integers(0, 1 << 20, n) + (np.arange(n) % 2) * (1 << 40)
    a[:2] = np.iinfo("i8").min, np.iinfo("i8").max
    rng.shuffle(a)

    for n_workers in (1, 2):
        check(a, MapReduce(np=n_workers))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_thresholds(delta):
    for dtype in ("i8", "f4"):
        for threshold in (MIN_ARGSORT, LONG_ARGSORT):
            pool = RecordingPool(2)
            check(sample("few", threshold + delta, dtype), pool)
            check(sample("few", threshold + delta, dtype), None)
            assert bool(pool.maps) is (threshold + delta >= LONG_ARGSORT)


# ties, proven by a twin


@pytest.mark.parametrize("n", [20, 1000])
@pytest.mark.parametrize("dtype", ["i1", "f8", "M8[s]", "S2", "c16", "i4,f8"])
def test_ties_stay_in_input_order(small, dtype, n):
    few = np.random.default_rng(0).integers(0, 3, n)
    if dtype == "i4,f8":
        a = np.zeros(n, dtype)
        a["f0"] = few
    else:
        a = few.astype("M8[s]" if dtype == "M8[s]" else dtype)

    order = sharedarray.argsort(a)
    twin = np.asarray(sharedarray.argsort(np.concatenate([a, a])))

    assert np.array_equal(twin[twin < n], order)
    assert np.array_equal(twin[twin >= n] - n, order)
    for value in range(3):
        assert (np.diff(order[few[order] == value]) > 0).all()
    place = np.empty_like(twin)
    place[twin] = np.arange(2 * n)
    assert (place[:n] < place[n:]).all()


# what goes to NumPy


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes(small, name):
    for a in (OTHERS[name], OTHERS[name].reshape(4, -1)):
        for kwargs in ({}, {"kind": "stable"}, {"axis": None}, {"axis": 0}):
            with unchanged(a):
                result = sharedarray.argsort(a, **kwargs)
            assert type(result) is SharedArray
            axis = kwargs.get("axis", -1)
            assert_same_bits(result, np.argsort(a, axis, kind="stable"))


@pytest.mark.parametrize("order", ["b", ["b", "a"], ("a",), ["b"], "a"])
def test_order_of_fields(order):
    a = OTHERS["record"]
    for kind in (None, "stable", "heapsort"):
        result = sharedarray.argsort(a, order=order, kind=kind)
        assert type(result) is SharedArray
        assert_same_bits(result, np.argsort(a, order=order, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3, None])
@pytest.mark.parametrize("dtype", ["i4", "f8", ">f4", "S3", "?"])
def test_axes(small, dtype, axis):
    c = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(dtype)
    for a in (c, np.asfortranarray(c), c.transpose(1, 0, 2), c[::-1, ::2], c[:, :, ::-1], c[:0]):
        with unchanged(a):
            result = sharedarray.argsort(a, axis)
        assert type(result) is SharedArray
        assert_same_bits(result, np.argsort(a, axis, kind="stable"))


def test_axis_none_of_a_large_array_is_parallel(small):
    a = sample("few", 600, "f8").reshape(20, 30)
    for same in (a, np.asfortranarray(a), a[::-1]):
        pool = RecordingPool(2)
        result = sharedarray.argsort(same, axis=None, pool=pool)
        assert_same_bits(result, np.argsort(same, axis=None, kind="stable"))
        assert pool.maps


def test_array_likes():
    for a in ([3, 1, 2], (3.5, 1), range(5, 0, -1), [], 5, np.float32(2), "abc", [["b", "a"]]):
        result = sharedarray.argsort(a)
        assert type(result) is SharedArray
        assert_same_bits(result, np.argsort(a, kind="stable"))


def test_objects_are_argsorted():
    class Key:
        def __init__(self, key):
            self.key = key

        def __lt__(self, other):
            return self.key < other.key

    a = np.array([2, 1, 3, 1, 2] * 20, object)
    keys = np.array([Key(value) for value in a], object)

    for objects in (a, keys):
        result = sharedarray.argsort(objects)
        assert type(result) is SharedArray
        assert_same_bits(result, np.argsort(a.astype(int), kind="stable"))
    strings = np.array(["b", "a", "b", "c"], np.dtypes.StringDType())
    assert sharedarray.argsort(strings).tolist() == [1, 0, 2, 3]
    with pytest.raises(TypeError):
        sharedarray.argsort(np.array([1, "a"], object))


# errors


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"axis": 1},
        {"axis": -2},
        {"axis": 0.0},
        {"axis": (0,)},
        {"axis": "0"},
        {"axis": True},
        {"kind": ""},
        {"kind": "x"},
        {"kind": "introsort"},
        {"kind": "timsort"},
        {"kind": "stabl"},
        {"kind": b"x"},
        {"kind": 5},
        {"kind": ["stable"]},
        {"kind": "stable", "stable": True},
        {"kind": "quicksort", "stable": False},
        {"kind": "stable", "stable": None},
        {"stable": "yes"},
        {"order": "f0"},
        {"order": ["f0"]},
        {"order": ""},
        {"order": []},
        {"order": 3},
        {"reverse": True},
        {"axis": 5, "kind": "x"},
        {"axis": 1, "order": "f0"},
        {"axis": None, "kind": "x"},
        {"axis": None, "order": "f0"},
    ],
)
@pytest.mark.parametrize("dtype", ["i8", "f8", ">f4", "S4"])
def test_arguments_are_judged_like_numpy(small, kwargs, n, dtype):
    a = (np.arange(n) % 7).astype(dtype)
    with unchanged(a):
        expected = outcome(lambda: np.argsort(a, **kwargs))
        is_error = expected[0] == "raised"
        pool = Untouched() if is_error else UnorderedPool(2)
        result = outcome(lambda: sharedarray.argsort(a, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if is_error:
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], np.argsort(a, kwargs.get("axis", -1), kind="stable"))


@pytest.mark.parametrize("axis", [-1, 0, 1, None, 2, -3])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_axes_of_each_shape(axis, shape):
    a = np.ones(shape)
    expected = outcome(lambda: np.argsort(a, axis))
    result = outcome(lambda: sharedarray.argsort(a, axis))
    assert result[0] == expected[0]
    if result[0] == "raised":
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("order", ["c", ["a", "a"], ["a", "c"], 1])
def test_bad_fields(order):
    a = OTHERS["record"]
    expected = outcome(lambda: np.argsort(a, order=order))
    assert outcome(lambda: sharedarray.argsort(a, order=order)) == expected


def test_masked_arrays_are_refused(small):
    for n in (5, 500):
        with pytest.raises(TypeError, match="mask"):
            sharedarray.argsort(np.ma.masked_equal(np.arange(n), 3))


def test_a_field_may_be_called_mask():
    a = np.rec.array([(2, 1.0), (1, 2.0)], dtype=[("mask", "i4"), ("x", "f8")])

    assert sharedarray.argsort(a).tolist() == [1, 0]


@pytest.mark.parametrize("n", [10, 500])
def test_a_pool_has_to_be_one(small, n):
    for pool in (3, "thread", object()):
        with pytest.raises(TypeError):
            sharedarray.argsort(np.arange(n), pool=pool)
