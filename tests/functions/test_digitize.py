import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import searching
from sharedarray.functions.searching import digitize
from sharedarray.memory.array import DISPATCH
from tests.functions.support import Untouched, layouts
from tests.ops.support import (
    FLOATS,
    INTEGERS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    cases,
    each_pool,
    outcome,
    sample,
    unchanged,
)

MIN = 40
SIZES = [0, 1, 2, MIN - 1, MIN, MIN + 1, 127, 1009]
NUMBERS = ["?", *INTEGERS, *FLOATS, ">f8", ">i4"]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(searching, "MIN_SEARCHSORTED", MIN)


def check(x, bins, pool):
    for right in (False, True):
        with unchanged(x, bins):
            result = digitize(x, bins, right, pool=pool)
        assert type(result) is SharedArray
        assert_same_bits(result, np.digitize(x, bins, right))


@each_pool
@pytest.mark.parametrize("dtype", NUMBERS)
def test_equals_numpy(small, dtype, pool):
    for distribution, n in cases(pool, SIZES):
        bins = np.sort(sample(distribution, 50, dtype, 1))
        x = sample(distribution, n, dtype)
        check(x, bins, pool())
        if not np.isnan(bins).any():
            check(x, bins[::-1], pool())


@given(
    n=st.integers(0, 900),
    m=st.integers(0, 100),
    dtypes=st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)),
    distribution=st.sampled_from(["random", "few", "specials", "equal", "zeros"]),
    order=st.sampled_from(["rising", "falling", "none"]),
    right=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_any_arrays(n, m, dtypes, distribution, order, right, seed):
    x, bins = sample(distribution, n, dtypes[0], seed), sample(distribution, m, dtypes[1], seed + 1)
    if order != "none":
        bins = np.sort(bins)[:: 1 if order == "rising" else -1]
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(searching, "MIN_SEARCHSORTED", MIN)
        expected = outcome(lambda: np.digitize(x, bins, right))
        result = outcome(lambda: digitize(x, bins, right, pool=UnorderedPool(3)))
    assert result[0] == expected[0]
    if result[0] == "returned":
        assert_same_bits(result[1], expected[1])
    else:
        assert result[1] is expected[1]


@pytest.mark.parametrize("bins", [[2**60 + 1, 2**60], [2**60, 2**60 + 1], [2**60, 0, 1, -(2**60)]])
def test_bins_that_are_monotonic_as_floats_only(small, bins):
    x = np.random.default_rng(0).integers(2**60 - 3, 2**60 + 4, 300)
    expected = outcome(lambda: np.digitize(x, bins))
    result = outcome(lambda: digitize(x, bins, pool=UnorderedPool(2)))
    if expected[0] == "raised":
        assert result == expected
    else:
        check(x, np.array(bins), UnorderedPool(2))


@pytest.mark.parametrize("bins", [[1, 2, np.nan], [np.nan, 1, 2], [1, np.nan, 3], [np.nan]])
def test_bins_with_nan(small, bins):
    x = np.r_[np.random.default_rng(0).random(200) * 4, np.nan, np.inf]
    expected = outcome(lambda: np.digitize(x, bins))
    result = outcome(lambda: digitize(x, bins, pool=UnorderedPool(2)))
    assert result[0] == expected[0]
    if result[0] == "returned":
        assert_same_bits(result[1], expected[1])


def test_layouts_and_shapes(small, tmp_path):
    bins = np.linspace(0, 1, 11)
    x = np.random.default_rng(0).random(240) * 1.2
    for _, same in layouts(x, tmp_path):
        check(same, bins, UnorderedPool(2))
    for _, same in layouts(bins, tmp_path):
        check(x, same, UnorderedPool(2))
        check(x, same[::-1], UnorderedPool(2))
    for shaped in (x.reshape(4, 5, 12), np.asfortranarray(x.reshape(12, 20)), x.reshape(2, -1)[:0]):
        check(shaped, bins, UnorderedPool(2))


def test_processes_and_large_arrays(small):
    x = np.random.default_rng(0).standard_normal(100_003)
    for bins in (np.linspace(-3, 3, 100), np.linspace(3, -3, 1000, dtype="f4")):
        check(x, bins, MapReduce(np=3))
        check(sharedarray.array(x), bins, MapReduce("thread", np=2))


def test_the_pool_is_used(small):
    for n, is_parallel in ((MIN - 1, False), (MIN, True)):
        pool = RecordingPool(2)
        check(np.random.default_rng(0).random(n), np.array([0.2, 0.8]), pool)
        assert bool(pool.maps) is is_parallel


def test_scalars_and_array_likes():
    for x in (3, 0.5, np.float32(9)):
        result = digitize(x, sharedarray.arange(5))
        assert type(result) is np.intp
        assert result == np.digitize(x, np.arange(5))
    assert_same_bits(digitize([1, 7, 3], (0, 2, 4)), np.digitize([1, 7, 3], (0, 2, 4)))


def test_numpy_is_led_here(small):
    assert DISPATCH[np.digitize] is digitize
    x = np.random.default_rng(0).random(100) * 5
    for result in (
        np.digitize(sharedarray.array(x), np.arange(5)),
        np.digitize(x, sharedarray.arange(5)),
    ):
        assert type(result) is SharedArray
        assert_same_bits(result, np.digitize(x, np.arange(5)))


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "bins",
    [
        [1, 3, 2],
        [[1, 2], [3, 4]],
        3,
        "a",
        [1j, 2j],
        np.array(["a", "b"]),
        np.arange(3).astype("M8[s]"),
        np.array([1, None], object),
        [],
    ],
)
def test_bad_bins_are_judged_like_numpy(small, bins, n):
    x = np.arange(float(n))
    expected = outcome(lambda: np.digitize(x, bins))
    is_error = expected[0] == "raised"
    result = outcome(lambda: digitize(x, bins, pool=Untouched() if is_error else UnorderedPool(2)))
    assert result[0] == expected[0]
    if is_error:
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("n", [10, 500])
def test_bad_values_and_pools(small, n):
    x = np.arange(n)
    for bad in (x * 1j, x.astype("U4"), x.astype("M8[s]"), np.array([None] * n)):
        expected = outcome(lambda: np.digitize(bad, [1, 2]))  # noqa: B023
        result = outcome(lambda: digitize(bad, [1, 2], pool=Untouched()))  # noqa: B023
        assert result[0] == expected[0]
        if result[0] == "returned":
            assert_same_bits(result[1], expected[1])
        else:
            assert result[1] is expected[1]
    with pytest.raises(TypeError, match="mask"):
        digitize(np.ma.masked_equal(x, 3), [1, 2])
    with pytest.raises(TypeError, match="pool"):
        digitize(x, [1, 2], pool=3)
