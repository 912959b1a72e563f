import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce
from sharedarray.functions import binning
from sharedarray.functions.binning import histogram
from sharedarray.memory.array import DISPATCH
from tests.functions.support import Untouched, layouts
from tests.ops.search.test_binning import small_sizes
from tests.ops.support import (
    DISTRIBUTIONS,
    FLOATS,
    INTEGERS,
    POOLS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    sample,
    unchanged,
)

MIN = 40
SIZES = [0, 1, 2, MIN - 1, MIN, MIN + 1, 127, 1009]
NUMBERS = [*INTEGERS, *FLOATS, ">f8", ">i4", "g"]
SMOOTH = ["random", "sorted", "few", "equal", "zeros", "organ_pipe", "nearly_equal"]


def small_arrays(patch):
    small_sizes(patch)
    patch.setattr(binning, "MIN_HISTOGRAM", MIN)


@pytest.fixture
def small(monkeypatch):
    small_arrays(monkeypatch)


def values(distribution, n, dtype, seed=0):
    """Return numbers whose range a histogram can have."""
    dtype = np.dtype(dtype)
    a = sample(distribution, n, "f8" if dtype.char == "g" else dtype, seed)
    if a.dtype.kind == "f":
        a = np.where(np.abs(a) < 1e4, a, np.arange(n) % 1000)
    return a.astype(dtype)


def same(result, expected):
    assert type(result) is tuple
    for ours, numpys in zip(result, expected, strict=True):
        assert type(ours) is np.ndarray
        if numpys.dtype.char == "g":  # which has bits that are not set
            assert ours.dtype == numpys.dtype
            assert np.array_equal(ours, numpys)
        else:
            assert_same_bits(ours, numpys)


def check(a, pool, *args, **kwargs):
    with unchanged(a):
        result = histogram(a, *args, pool=pool, **kwargs)
    same(result, np.histogram(a, *args, **kwargs))


def judge(a, pool, *args, **kwargs):
    """Check the result, or the error."""
    expected = outcome(lambda: np.histogram(a, *args, **kwargs))
    result = outcome(lambda: histogram(a, *args, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if result[0] == "returned":
        same(result[1], expected[1])
    else:
        assert result[1] is expected[1]


@each_pool
@pytest.mark.parametrize("dtype", NUMBERS)
def test_equals_numpy(small, dtype, pool):
    for distribution in SMOOTH:
        for n in (0, 1, MIN, 1009) if isinstance(pool(), MapReduce) else SIZES:
            a = values(distribution, n, dtype)
            for kwargs in (
                {},
                {"bins": 7, "density": True},
                {"bins": 100, "range": (-5.5, 90)},
                {"bins": np.array([-100.5, 0, 0.5, 7, 7, 300]), "density": False},
            ):
                judge(a, pool(), **kwargs)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(
    n=st.integers(0, 1200),
    dtype=st.sampled_from([*INTEGERS, *FLOATS]),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_bins=st.integers(0, 1500),
    bounds=st.none() | st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
    density=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, dtype, distribution, n_bins, bounds, density, seed):
    """Whatever the bits are: NaN, infinities, integers beyond those of float64."""
    a = sample(distribution, n, dtype, seed)
    with pytest.MonkeyPatch.context() as patch:
        small_arrays(patch)
        judge(a, UnorderedPool(3), n_bins, bounds, density=density)


@given(
    first=st.floats(-1e6, 1e6, width=32),
    n_units=st.integers(1, 5000),
    n_bins=st.integers(1, 600),
    dtype=st.sampled_from(["f2", "f4", "f8", "i8", "u8"]),
    seed=st.integers(0, 1 << 20),
)
def test_narrow_bins(first, n_units, n_bins, dtype, seed):
    """Data that lie closely together, far from zero, where bins and elements are rounded most."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, n_units, 400, endpoint=True)
    if dtype[0] == "f":
        first = np.clip(first, -1e4, 1e4) if dtype == "f2" else first
        unit = np.spacing(np.asarray(abs(first), dtype)).astype("f8")
        a = np.asarray(first + steps * unit, dtype)
    else:
        a = (2**60 + int(abs(first)) + steps).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        small_arrays(patch)
        judge(a, UnorderedPool(3), n_bins)
        judge(a, UnorderedPool(3), n_bins, (a.min(), a.max()))
        judge(a, UnorderedPool(3), n_bins, (float(a.min()), float(a.max())))
        judge(a, UnorderedPool(3), n_bins, (int(a.min()), int(a.max()) - 1))


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "u1"])
def test_large_arrays(dtype):
    rng = np.random.default_rng(0)
    a = (np.abs(rng.standard_normal(300_007)) * 20).astype(dtype)
    a[::3] = np.round(a[::3])
    for bins in (10, 60, np.linspace(0, 60, 61)):
        for pool in (POOLS["thread-2"](), MapReduce(np=3)):
            check(a, pool, bins)


@pytest.mark.parametrize("zeros", [[0.0, -0.0], [-0.0, 0.0]])
def test_zeros_of_both_signs(small, zeros):
    for dtype in FLOATS:
        for rest in (-1.5, 0.0, 2.5):
            for n in (50, 51, 200, 1003):
                a = np.tile(np.array([rest, *zeros], dtype), n)
                check(a, UnorderedPool(3), 5)


def test_constant_data(small):
    for value, dtype in ((5, "u1"), (-3, "i8"), (2.5, "f4"), (1e300, "f8"), (2**62, "i8")):
        judge(np.full(200, value, dtype), UnorderedPool(3), 4)


RULES = ["auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt"]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("ignore:The number of bins:RuntimeWarning")
def test_rules(small, rule):
    rng = np.random.default_rng(0)
    a = rng.standard_normal(700)
    for data in (a, a.astype("f4"), (a * 20).astype("i4"), np.ones(300), a.reshape(70, 10)[:, ::2]):
        for kwargs in ({}, {"range": (-1.0, 2.0)}, {"density": True}):
            check(data, UnorderedPool(3), rule, **kwargs)


@pytest.mark.parametrize("dtype", ["f8", "i2", ">f4", "u1"])
def test_layouts_and_shapes(small, dtype, tmp_path):
    a = values("random", 240, dtype)
    for _, same_values in layouts(a, tmp_path):
        check(same_values, UnorderedPool(3), 9)
        check(same_values, UnorderedPool(3), np.linspace(-50, 50, 9))
    cube = a.reshape(4, 5, 12)
    for shaped in (cube, np.asfortranarray(cube), cube.transpose(1, 0, 2), cube[::2, ::-1, ::3]):
        check(shaped, UnorderedPool(3))


def test_times(small):
    days = np.datetime64("2020-01-01") + np.random.default_rng(0).integers(0, 900, 300)
    edges = np.arange("2020-01", "2022-06", dtype="M8[M]")
    check(days, UnorderedPool(3), edges)
    check(days - days[0], UnorderedPool(3), np.arange(-900, 900, 100).astype("m8[D]"), density=True)
    judge(days, UnorderedPool(3))


def test_weights_and_bools(small):
    rng = np.random.default_rng(0)
    a = rng.random(300)
    for weights in (rng.random(300), rng.integers(0, 9, 300), rng.random(300) * 1j):
        check(a, Untouched(), 7, weights=weights)
        same(
            histogram(a, 7, weights=sharedarray.array(weights)),
            np.histogram(a, 7, None, None, weights),
        )
    with pytest.warns(RuntimeWarning, match="Converting"):
        result = histogram(a > 0.5)
    same(result, np.histogram((a > 0.5).astype("u1")))


def test_the_pool_is_used(small):
    for n, is_parallel in ((MIN - 1, False), (MIN, True)):
        for bins in (5, "sqrt", [0, 50, 100]):
            pool = RecordingPool(2)
            check(np.arange(n), pool, bins)
            assert bool(pool.maps) is is_parallel


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 100, -1])
def test_ranges_that_are_not_finite(small, bad, place):
    for dtype in FLOATS:
        a = np.arange(200.0).astype(dtype)
        a[place] = bad
        for bins in (10, "sqrt"):
            with pytest.raises(ValueError, match="is not finite"):
                histogram(a, bins, pool=UnorderedPool(2))
        check(a, UnorderedPool(2), 10, (3, 150))
        check(a, UnorderedPool(2), [3.0, 70.0, 150.0])
    for extreme in (np.finfo("f8").max, 6e4):
        judge(
            np.array([-extreme, extreme] * 50).astype("f2" if extreme == 6e4 else "f8"),
            UnorderedPool(2),
        )


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"bins": 0},
        {"bins": -3},
        {"bins": 2.5},
        {"bins": None},
        {"bins": "best"},
        {"bins": b"auto"},
        {"bins": [3, 1, 2]},
        {"bins": [[1, 2], [3, 4]]},
        {"bins": np.array([1, None])},
        {"bins": 3, "range": (5, 1)},
        {"bins": 3, "range": (0, np.inf)},
        {"bins": 3, "range": (np.nan, 1)},
        {"bins": 3, "range": (1,)},
        {"bins": 3, "range": 7},
        {"bins": 3, "range": ("a", "b")},
        {"bins": "auto", "range": (5, 1)},
        {"bins": "auto", "weights": np.ones(3)},
        {"weights": np.ones(3)},
        {"normed": True},
    ],
)
def test_arguments_are_judged_like_numpy(small, kwargs, n):
    a = np.arange(float(n))
    expected = outcome(lambda: np.histogram(a, **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: histogram(a, pool=Untouched(), **kwargs)) == expected


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"bins": np.int8(3)},
        {"bins": True},
        {"bins": []},
        {"bins": [1]},
        {"bins": (1, 2.5, 7)},
        {"bins": [1, 2], "range": (9, 1)},
        {"bins": 4, "range": (3, 3)},
        {"bins": 4, "range": [np.float32(0.1), np.int64(7)]},
        {"bins": 4, "range": (0, 2**64)},
        {"bins": 4, "range": (-(2**63), 2**53)},
        {"bins": 4, "range": (True, 9)},
        {"bins": 4, "density": 1},
        {"bins": 1500},
        {"bins": [0.0, np.nan, 2.0]},
        {"bins": ["a", "b"]},
    ],
)
def test_odd_arguments(small, kwargs, n):
    for dtype in ("f8", "f4", "i8", "u1", "f2"):
        judge((np.arange(n) % 120).astype(dtype), UnorderedPool(2), **kwargs)


def test_numpy_is_led_here(small):
    assert DISPATCH[np.histogram] is histogram
    a = np.random.default_rng(0).random(99)
    edges = np.linspace(0, 1, 9)
    same(np.histogram(sharedarray.array(a), 5), np.histogram(a, 5))
    same(np.histogram(a, sharedarray.array(edges)), np.histogram(a, edges))
    same(histogram([1, 2, 1], bins=[0, 1, 2, 3]), np.histogram([1, 2, 1], bins=[0, 1, 2, 3]))


def test_masked_arrays_and_bad_pools_are_refused(small):
    a = np.arange(100)
    masked = np.ma.masked_equal(a, 3)
    for args in ((masked,), (a, masked), (a, 10, None, None, masked)):
        with pytest.raises(TypeError, match="mask"):
            histogram(*args)
    with pytest.raises(TypeError, match="pool"):
        histogram(a, pool=3)
