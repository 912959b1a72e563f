import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import binning
from sharedarray.functions.binning import bincount
from sharedarray.memory.array import DISPATCH
from sharedarray_ops.search import binning as ops
from tests.functions.support import Untouched, layouts
from tests.ops.search.test_binning import small_sizes, some_counts
from tests.ops.support import (
    INTEGERS,
    POOLS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    unchanged,
)

MIN = 40
SIZES = [0, 1, 2, MIN - 1, MIN, MIN + 1, 127, 1009]
COUNTABLE = ["?", *(code for code in INTEGERS if code != "u8"), ">i4", ">i8"]


def small_arrays(patch):
    small_sizes(patch)
    patch.setattr(binning, "MIN_BINCOUNT", MIN)


@pytest.fixture
def small(monkeypatch):
    small_arrays(monkeypatch)


def check(x, pool, **kwargs):
    with unchanged(x):
        result = bincount(x, pool=pool, **kwargs)
    assert type(result) is SharedArray
    assert_same_bits(result, np.bincount(x, **kwargs))


@each_pool
@pytest.mark.parametrize("dtype", COUNTABLE)
def test_equals_numpy(small, dtype, pool):
    for n in SIZES:
        for minlength in (0, 1, 300, np.int8(5)):
            check(some_counts(n, dtype), pool(), minlength=minlength)


@given(
    n=st.integers(0, 1200),
    high=st.integers(1, 3000),
    dtype=st.sampled_from(INTEGERS),
    minlength=st.integers(-1, 2000),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, high, dtype, minlength, seed):
    high = min(high, np.iinfo(dtype).max)
    x = np.random.default_rng(seed).integers(0, high, n, endpoint=True).astype(dtype)
    expected = outcome(lambda: np.bincount(x, minlength=minlength))
    with pytest.MonkeyPatch.context() as patch:
        small_arrays(patch)
        result = outcome(lambda: bincount(x, minlength=minlength, pool=UnorderedPool(3)))
    assert result[0] == expected[0]
    if result[0] == "returned":
        assert_same_bits(result[1], expected[1])
    else:
        assert result[1] is expected[1]


@pytest.mark.parametrize("dtype", ["u1", "i8", ">i4"])
def test_layouts(small, dtype, tmp_path):
    for _, x in layouts(some_counts(300, dtype), tmp_path):
        check(x, UnorderedPool(3))
    check(sharedarray.array(some_counts(300, dtype)), UnorderedPool(3))


@pytest.mark.parametrize("dtype", ["u1", "i2", "i8"])
def test_processes_and_large_arrays(dtype):
    x = np.random.default_rng(0).integers(0, 120, 1_100_003).astype(dtype)
    for pool in (MapReduce(np=3), POOLS["thread-2"]()):
        check(x, pool)


@pytest.mark.parametrize("most", [ops.MAX_COUNTS - 1, ops.MAX_COUNTS, 3_000_000])
def test_large_values(most):
    x = np.random.default_rng(0).integers(0, most, 1_100_003, endpoint=True)
    x[-1] = most
    check(x, POOLS["thread-2"]())


def test_weights(small):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 500)
    for weights in (rng.random(500), rng.integers(0, 9, 500), sharedarray.array(rng.random(500))):
        check(x, Untouched(), weights=np.asarray(weights))
        result = bincount(x, weights, 20)
        assert type(result) is SharedArray
        assert_same_bits(result, np.bincount(x, np.asarray(weights), 20))


def test_the_pool_is_used(small):
    for n, is_parallel in ((MIN - 1, False), (MIN, True)):
        pool = RecordingPool(2)
        check(np.arange(n), pool)
        assert bool(pool.maps) is is_parallel


def test_array_likes():
    for x in ([1, 2, 2], (3, 0), [], [True], np.array([], int), range(4)):
        result = bincount(x)
        assert type(result) is SharedArray
        assert_same_bits(result, np.bincount(x))


def test_numpy_is_led_here(small):
    assert DISPATCH[np.bincount] is bincount
    x = np.arange(100) % 7
    for result in (
        np.bincount(sharedarray.array(x), None, 9),
        np.bincount(sharedarray.array(x), minlength=9),
        np.bincount(x, sharedarray.ones(100), minlength=9).astype(int),
    ):
        assert_same_bits(result, np.bincount(x, minlength=9))
    assert type(np.bincount(sharedarray.array(x))) is SharedArray


# errors


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"minlength": -1},
        {"minlength": None},
        {"minlength": 1.5},
        {"minlength": "3"},
        {"minlength": 2**62},
        {"minlength": 2**70},
        {"weights": [1.0]},
        {"weights": "a"},
        {"weights": 1j},
        {"x": [1]},
        {"axis": 0},
    ],
)
def test_arguments_are_judged_like_numpy(small, kwargs, n):
    x = np.arange(n)
    expected = outcome(lambda: np.bincount(x, **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: bincount(x, pool=Untouched(), **kwargs)) == expected


@pytest.mark.parametrize("n", [10, 500])
def test_values_are_judged_like_numpy(small, n):
    for x in (
        np.arange(float(n)),
        np.arange(n, dtype="u8"),
        np.arange(n) * 1j,
        np.arange(n).astype("M8[s]"),
        np.arange(n).reshape(2, -1),
        np.array(["a"] * n),
        np.array([1] * n, object),
        np.int64(3),
    ):
        expected = outcome(lambda: np.bincount(x))  # noqa: B023
        result = outcome(lambda: bincount(x, pool=Untouched()))  # noqa: B023
        assert result[0] == expected[0]
        if result[0] == "returned":
            assert_same_bits(result[1], expected[1])
        else:
            assert result[1] is expected[1]


@pytest.mark.parametrize("dtype", ["i1", "i2", "i8"])
@pytest.mark.parametrize("place", [0, 250, -1])
def test_negative_values(small, dtype, place):
    x = np.ones(500, dtype)
    x[place] = -1
    for pool in (UnorderedPool(3), MapReduce("thread", np=2)):
        with pytest.raises(ValueError, match="negative"):
            bincount(x, pool=pool)


@pytest.mark.parametrize("n", [10, 500])
def test_masked_arrays_and_bad_pools_are_refused(small, n):
    x = np.arange(n)
    masked = np.ma.masked_equal(x, 3)
    for args in ((masked,), (x, masked)):
        with pytest.raises(TypeError, match="mask"):
            bincount(*args)
    with pytest.raises(TypeError, match="pool"):
        bincount(x, pool="thread")
