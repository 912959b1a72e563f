import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce
from sharedarray.functions import quantiles
from sharedarray.memory.array import DISPATCH
from tests.functions.support import Untouched, layouts, small_arrays
from tests.ops.support import (
    DISTRIBUTIONS,
    NATIVE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    sample,
    unchanged,
)

MIN_QUANTILE = 40
SIZES = [1, MIN_QUANTILE - 1, MIN_QUANTILE, MIN_QUANTILE + 1, 127, 1009, 1010]
METHODS = [
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
    *("hazen", "weibull", "linear", "median_unbiased", "normal_unbiased", "lower", "higher"),
    *("midpoint", "nearest"),
]
QS = [0.3, 0, 1, 0.5, 1 / 3, [0.1, 0.5, 0.9], [[0.2, 0.2], [1, 0]], [], np.float32(0.7)]
DTYPES = ["f8", "f4", "f2", "i8", "i2", "u1", ">f8", ">i4", "m8[s]"]
OURS = {
    np.median: quantiles.median,
    np.percentile: quantiles.percentile,
    np.quantile: quantiles.quantile,
}


@pytest.fixture(autouse=True)
def small_quantiles(monkeypatch):
    monkeypatch.setattr(quantiles, "MIN_QUANTILE", MIN_QUANTILE)
    monkeypatch.setattr(quantiles, "MIN_QUANTILE_WORKERS", MIN_QUANTILE)
    monkeypatch.setattr(quantiles.selecting, "BLOCK", 16)
    with small_arrays():
        yield


def run(call):
    """Return what a call did, the categories of its warnings included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done, result = outcome(call)
    return done, result, {warning.category for warning in caught}


def check(function, a, *args, pool=None, **kwargs):
    """Compare with NumPy: bits, class and warnings; every NaN counts as the same."""
    done, expected, warned = run(lambda: function(a, *args, **kwargs))
    with unchanged(a):
        ours = run(lambda: OURS[function](a, *args, pool=pool, **kwargs))
    assert ours[0] == done
    with np.errstate(all="ignore"):
        has_nan = a.dtype.kind == "f" and np.isnan(a).any()
    if not has_nan:  # a signalling NaN warns by chance
        assert ours[2] == warned
    if done == "raised":
        assert ours[1] is expected
        return
    result = ours[1]
    assert type(result) is type(expected)
    result, expected = np.array(result), np.array(expected)
    if expected.dtype.kind == "f":
        assert np.array_equal(np.isnan(result), np.isnan(expected))
        for x in (result, expected):
            np.copyto(x, np.nan, where=np.isnan(x))
    assert_same_bits(result, expected)


@each_pool
@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", "u1"])
def test_medians(dtype, pool):
    for n in SIZES:
        for distribution in ("random", "bits", "few", "cluster"):
            check(np.median, sample(distribution, n, dtype), pool=pool())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_method(dtype, method):
    for a in (sample("random", 1009, dtype), sample("few", 200, dtype)):
        for q in QS:
            check(np.quantile, a, q, method=method, pool=UnorderedPool(2))
            check(np.percentile, a, np.multiply(q, 100), method=method, pool=UnorderedPool(2))


@given(
    n=st.integers(1, 1200),
    dtype=st.sampled_from([*NATIVE, ">f4"]),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    q=st.one_of(st.floats(0, 1), st.lists(st.floats(0, 1), max_size=12)),
    method=st.sampled_from(METHODS),
    n_workers=st.integers(1, 5),
)
def test_any_array(n, dtype, distribution, q, method, n_workers):
    a = sample(distribution, n, dtype)
    pool = UnorderedPool(n_workers, 0)
    check(np.median, a, pool=pool)
    check(np.quantile, a, q, method=method, pool=pool)


def test_the_elements_are_selected(monkeypatch):
    """NumPy's own function sees no more than the stand-in, which no more than a few elements."""
    a = sample("random", 10_007, "f8")
    expected = [
        f(a, *q) for f, q in ((np.median, ()), (np.quantile, (0.3,)), (np.percentile, ([5, 95],)))
    ]

    def not_sorted(*args, **kwargs):
        pytest.fail("a sort of all elements")

    monkeypatch.setattr(quantiles.sorting, "sort", not_sorted)
    pool = RecordingPool(2)
    assert quantiles.median(a, pool=pool) == expected[0]
    assert len(pool.maps) == 1
    assert quantiles.quantile(a, 0.3, pool=pool) == expected[1]
    assert len(pool.maps) == 2
    assert quantiles.percentile(a, [5, 95], pool=pool).tolist() == expected[2].tolist()
    assert len(pool.maps) == 3


def test_many_quantiles_are_sorted():
    a = sample("random", 20_011, "f8")
    check(np.quantile, a, np.linspace(0, 1, 101), pool=UnorderedPool(3))
    check(np.percentile, sample("nan_heavy", 20_011, "f4"), np.arange(101), pool=UnorderedPool(3))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan(dtype):
    for where in (0, 500, 1008):
        a = sample("random", 1009, dtype)
        a[where] = np.nan
        check(np.median, a, pool=UnorderedPool(3))
        for q in (0, 0.2, [0.1, 1]):
            for method in METHODS:
                check(np.quantile, a, q, method=method, pool=UnorderedPool(3))
    for value in (np.nan, np.inf, -np.inf):
        check(np.median, np.full(100, value, dtype), pool=UnorderedPool(3))
    infinite = np.repeat(np.array([-np.inf, 1, np.inf], dtype), 100)
    check(np.quantile, infinite, [0.1, 1 / 3, 0.4, 0.5, 0.9], pool=UnorderedPool(3))


def test_zeros_keep_numpys_sign():
    for signs in ([0.0], [-0.0], [0.0, -0.0], [-0.0, 0.0, 0.0]):
        a = np.resize(np.array(signs), 501)
        check(np.median, a, pool=UnorderedPool(3))
        check(np.median, a[1:], pool=UnorderedPool(3))
        check(np.quantile, a, [0.1, 0.5, 0.8], method="lower", pool=UnorderedPool(3))


# axes


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1, (0, 1), (2, 0), (0, 1, 2), [1, 2], ()])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", ["f8", "f4", "u1", ">i4"])
def test_axes(axis, keepdims, dtype):
    c = sample("few", 4 * 5 * 6, dtype).reshape(4, 5, 6)
    for a in (c, np.asfortranarray(c), c.transpose(1, 2, 0), c[::-1, ::2], c[:, :, ::-1]):
        check(np.median, a, axis, keepdims=keepdims, pool=UnorderedPool(3))
        for q in (0.3, [0.2, 0.7], [[0.5], [0.1]]):
            check(np.quantile, a, q, axis, keepdims=keepdims, pool=UnorderedPool(3))
            check(
                np.percentile, a, q, axis, method="lower", keepdims=keepdims, pool=UnorderedPool(3)
            )


def test_lanes_with_nan():
    a = np.random.default_rng(0).random((30, 40))
    a[3, 5] = a[20, 7] = np.nan
    for axis in (0, 1):
        check(np.median, a, axis, pool=UnorderedPool(3))
        check(np.quantile, a, [0, 0.3], axis, pool=UnorderedPool(3))


def test_lanes_are_shared_out():
    a = np.random.default_rng(0).random((30, 40))
    for axis in (0, 1):
        pool = RecordingPool(2)
        quantiles.median(a, axis, pool=pool)
        assert len(pool.maps) == 1
        assert pool.n_items[0] > 1


def test_layouts(tmp_path):
    for _, a in layouts(sample("specials", 500, "f8"), tmp_path):
        if type(a) is not np.memmap:
            check(np.median, a, pool=UnorderedPool(3))
            check(np.quantile, a, [0.1, 0.2], pool=UnorderedPool(3))
        else:
            assert quantiles.median(a) == np.median(a) or np.isnan(np.median(a))


# out, and the input


@pytest.mark.parametrize("n", [30, 1000])
def test_out(n):
    a = sample("random", n, "f8")
    for make in (np.zeros, sharedarray.zeros):
        for q in (0.3, [0.1, 0.5]):
            for kwargs in ({}, {"keepdims": True}, {"axis": 0}, {"method": "lower"}):
                expected = np.quantile(a, q, **kwargs)
                out = make(np.shape(expected))
                assert quantiles.quantile(a, q, out=out, **kwargs) is out
                assert_same_bits(out, expected)
        out = make(())
        assert quantiles.median(a, out=out) is out
        assert_same_bits(out, np.median(a))
    b = a.reshape(-1, 10)
    for axis in (None, 0, (0, 1)):
        out = np.zeros_like(np.median(b, axis))
        assert quantiles.median(b, axis, out) is out
        assert_same_bits(out, np.median(b, axis))


@pytest.mark.parametrize("n", [30, 1000])
def test_the_input_may_be_overwritten(n):
    a = sample("random", n, "f8")
    expected = np.median(a), np.quantile(a, 0.2)
    assert quantiles.median(a.copy(), overwrite_input=True) == expected[0]
    assert quantiles.quantile(a.copy(), 0.2, overwrite_input=True) == expected[1]


def test_weights_stay_with_numpy():
    a, weights = sample("random", 500, "f8"), np.arange(500.0)
    result = quantiles.quantile(a, 0.3, method="inverted_cdf", weights=weights, pool=Untouched())
    assert result == np.quantile(a, 0.3, method="inverted_cdf", weights=weights)


# errors


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("dtype", ["f8", "i4", "?", "c16", "M8[s]", "S2", "O"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((0.5,), {}),
        ((), {}),
        ((1.5,), {}),
        ((-0.1,), {}),
        (([0.5, 2],), {}),
        ((np.nan,), {}),
        (("x",), {}),
        ((0.5, 1), {}),
        ((0.5, (0, 0)), {}),
        ((0.5, "0"), {}),
        ((0.5,), {"method": "x"}),
        ((0.5,), {"method": None}),
        ((0.5,), {"out": np.zeros(3)}),
        ((0.5,), {"out": 5}),
        ((0.5,), {"weights": [1, 2]}),
        ((0.5,), {"interpolation": "x"}),
        ((0.5,), {"order": 1}),
    ],
)
def test_arguments_are_judged_like_numpy(args, kwargs, n, dtype):
    a = (np.arange(n) % 2).astype(dtype)
    check(np.quantile, a, *args, **kwargs)
    check(np.median, a, *args[1:], **kwargs)


def test_other_inputs():
    for a in ([], [1], 5, [[1, 2], [3, 4]], np.empty((0, 3)), np.ones((2, 0)), "x"):
        for axis in (None, 0):
            check(np.median, np.asarray(a), axis)
    assert quantiles.median([3, 1, 2]) == 2
    assert quantiles.percentile((1, 2), 50) == 1.5
    masked = np.ma.masked_greater(np.arange(500.0), 100)
    with pytest.warns(UserWarning, match="mask"):  # NumPy's own
        assert quantiles.median(masked, pool=Untouched()) is not None
    with pytest.raises(TypeError):
        quantiles.median(np.arange(500), pool=3)


def test_anything_else_of_the_stand_in_is_an_error():
    order = quantiles._Order(np.arange(100.0), UnorderedPool(2))
    a = quantiles.RankedArray((100,), order)
    for use in (
        lambda: a + 1,
        lambda: np.sort(a),
        lambda: np.sum(a),
        lambda: a[a.shape[0] > 3, None],
        lambda: a[[0.5]],
        lambda: quantiles.RankedArray((10, 10), order)[0],
    ):
        with pytest.raises(quantiles._NotRankedError):
            use()
    assert not order.is_known
    assert a[[3, 99]].tolist() == [3, 99]
    assert a[7] == 7


def test_numpy_does_what_the_stand_in_cannot(monkeypatch):
    """A NumPy that looks at its array in another way gets the array itself."""
    a = sample("random", 500, "f8")

    def strange(a, *args, **kwargs):
        return np.sort(a)[3]

    for function in (strange, lambda a, *args, **kwargs: np.asarray(a).max()):
        pool = UnorderedPool(2)
        result = quantiles._quantiles(function, pool, a, (), None, None, False, keepdims=False)
        assert result == function(a)


# pools, NumPy


def test_processes():
    for dtype in ("f8", "u1"):
        check(np.quantile, sample("bits", 1009, dtype), [0.1, 0.9], pool=MapReduce(np=3))
    check(np.quantile, sample("bits", 30_011, "i8"), np.linspace(0, 1, 50), pool=MapReduce(np=3))
    check(np.median, np.random.default_rng(0).random((30, 40)), 0, pool=MapReduce(np=3))


def test_numpy_is_led_here():
    a = sample("random", 500, "f8")
    b = sharedarray.array(a)
    for function, args in ((np.median, ()), (np.quantile, (0.3,)), (np.percentile, ([3, 4],))):
        assert DISPATCH[function] is OURS[function]
        result = function(b, *args)
        assert type(result) is type(function(a, *args))
        assert_same_bits(result, function(a, *args))
    assert_same_bits(np.quantile(a, sharedarray.array([0.1])), np.quantile(a, [0.1]))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_thresholds(monkeypatch, delta):
    monkeypatch.undo()
    for n in (quantiles.MIN_QUANTILE, quantiles.MIN_QUANTILE_WORKERS):
        check(np.median, sample("bits", n + delta, "f4"), pool=None)
    pool = RecordingPool(2)
    quantiles.median(np.arange(quantiles.MIN_QUANTILE + delta), pool=pool)
    assert bool(pool.maps) is (delta >= 0)
