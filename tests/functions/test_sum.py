import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce
from sharedarray.functions import thresholds
from tests.functions.sum_support import FLOATS, SIZES, SUMMABLE, assert_same, check, floats
from tests.functions.support import layouts, small_arrays
from tests.ops.support import (
    POOLS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    cases,
    each_pool,
    outcome,
    sample,
    strided,
)

# values


@each_pool
@pytest.mark.parametrize("dtype", SUMMABLE)
def test_same_bits_as_numpy(small, dtype, pool):
    for distribution, n in cases(pool, SIZES):
        check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 30_000),
    dtype=st.sampled_from(FLOATS),
    n_workers=st.integers(1, 9),
    step=st.sampled_from([1, 2, 3, -1, -3]),
    initial=st.sampled_from([None, 0.0, -0.0, 0.1, 1e5]),
    seed=st.integers(0, 1 << 20),
)
def test_any_floats(n, dtype, n_workers, step, initial, seed):
    kwargs = {} if initial is None else {"initial": initial}
    with small_arrays():
        check(strided(floats(n, dtype, seed), step), UnorderedPool(n_workers, seed), **kwargs)


@pytest.mark.parametrize("dtype", SUMMABLE)
def test_layouts(small, dtype, tmp_path):
    for _, a in layouts(sample("random", 5003, dtype), tmp_path):
        check(a, UnorderedPool(3))
    if np.dtype(dtype).kind == "f":
        for _, a in layouts(floats(5003, dtype), tmp_path):
            check(a, UnorderedPool(3))


@pytest.mark.parametrize("dtype", [*FLOATS, "i4", "u1", ">i8"])
def test_all_axes_of_contiguous_arrays(small, dtype):
    c = floats(24 * 25 * 26, dtype if "f" in dtype else "f8").astype(dtype).reshape(24, 25, 26)
    arrays = (
        *(c, np.asfortranarray(c), c.transpose(2, 0, 1), c.transpose(1, 0, 2), c[::-1], c[:, ::-1]),
        *(
            c[::-1, ::-1, ::-1],
            c[:, :, ::2],
            c[:, :1],
            c[:1, :, :1],
            c.reshape(1, -1, 1),
            c.reshape(-1, 1),
        ),
    )
    for a in arrays:
        for pool in (UnorderedPool(3), POOLS["thread-2"]()):
            check(a, pool)
            check(a, pool, keepdims=True)
            check(a, pool, axis=tuple(range(a.ndim)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, (0, 1), (0, 2), (1, 2), (), None])
@pytest.mark.parametrize("dtype", ["f4", "f2", ">f8", "i2", "?"])
def test_some_axes(small, dtype, axis):
    c = floats(10 * 60 * 7, "f8").astype(dtype).reshape(10, 60, 7)
    for a in (c, np.asfortranarray(c), c[:, ::-1]):
        check(a, axis=axis)
        check(a, axis=axis, keepdims=True)
        check(a, axis=axis, dtype="f8")


@pytest.mark.parametrize("buffer_size", [16, 4096, 65536, 1_000_000])
def test_buffer_size_of_the_caller(buffer_size):
    before = np.setbufsize(buffer_size)
    try:
        for dtype in (">f8", ">f4", "f8", "f2", ">f2"):
            check(floats(600_011, dtype), POOLS["thread-2"]())
            check(floats(600_011, dtype), POOLS["thread-2"](), dtype="f8")
    finally:
        np.setbufsize(before)


@pytest.mark.parametrize("dtype", [*FLOATS, "i1", "u8", "?", "m8[ns]"])
@pytest.mark.parametrize("n_workers", [0, 1, 2, 3, 7])
def test_large_arrays(dtype, n_workers):
    n = thresholds.MIN_SUM + 3
    a = sample("random", n, dtype) if "f" not in dtype else floats(n, dtype)
    check(a, MapReduce(np=n_workers))


def test_large_arrays_in_every_layout():
    a = floats(3_000_000, "f8")
    for same in (a, a[::3], a[::-1], a.reshape(3000, 1000), a.reshape(3000, 1000).T):
        check(same)


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_threshold(delta):
    a = floats(thresholds.MIN_SUM + delta, "f4")
    pool = RecordingPool(2)
    check(a, pool)
    assert bool(pool.maps) is (delta >= 0)


# options


OPTIONS = [
    {"initial": 0.1},
    {"initial": -0.0},
    {"initial": 0},
    {"initial": 3},
    {"initial": np.float32(0.1)},
    {"initial": np.inf},
    {"keepdims": True},
    {"keepdims": False},
    {"keepdims": True, "initial": 1.5},
    {"dtype": None},
    {"dtype": "f4"},
    {"dtype": np.float64},
    {"dtype": ">f8"},
    {"dtype": "f2"},
    {"dtype": "c16"},
    {"dtype": "i8"},
    {"dtype": "i4"},
    {"dtype": "u1"},
    {"dtype": "g"},
    {"dtype": float, "initial": 0.1},
    {"where": True},
    {"where": False},
    {"where": np.arange(5003) % 3 == 0},
    {"where": np.arange(5003) % 3 == 0, "initial": 2},
    {"where": np.array([1])},
    {"axis": 0},
    {"axis": -1},
    {"axis": (0,)},
    {"axis": (-1,)},
    {"axis": ()},
    {"axis": np.int64(0)},
    {"axis": 0, "keepdims": True, "initial": 0.1, "dtype": "f8"},
]


@pytest.mark.parametrize("kwargs", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8", "i4", "u8", "?"])
def test_options(small, dtype, kwargs):
    a = (floats(5003, "f8") + 0.3).astype(dtype)
    expected = outcome(lambda: np.sum(a, **kwargs))
    result = outcome(lambda: sharedarray.sum(a, pool=UnorderedPool(3), **kwargs))
    assert result[0] == expected[0]
    if result[0] == "raised":
        assert result[1] is expected[1]
    else:
        assert_same(result[1], expected[1])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_start_value_comes_first(small, dtype):
    """It shows in the last bit where NumPy adds buffer by buffer, and rounds in between."""
    for seed, initial in enumerate([0.1, 1e4 / 3, -77.7, np.float64(1 / 3)] * 5):
        check(floats(50_021, dtype, seed), UnorderedPool(3), initial=initial)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
def test_negative_zeros(small, dtype):
    for n in (0, 1, 10, 5003):
        a = np.full(n, -0.0, dtype)
        check(a)
        check(a, initial=-0.0)
        check(a, initial=0.0)
        check(a, initial=-0.0, keepdims=True)


@pytest.mark.parametrize("out_dtype", ["f8", ">f8", "f4", "c16", "f2", "i8"])
@pytest.mark.parametrize("dtype", ["f8", ">f8", "f4", "i4"])
def test_out(small, dtype, out_dtype):
    a = floats(5003, "f8").astype(dtype)
    for kwargs in ({}, {"initial": 0.1}, {"dtype": "f8"}, {"keepdims": True}, {"axis": 0}):
        shape = (1,) if "keepdims" in kwargs else ()
        expected, out = np.zeros(shape, out_dtype), np.zeros(shape, out_dtype)
        told = outcome(lambda e=expected, k=kwargs: np.sum(a, out=e, **k))
        result = outcome(
            lambda o=out, k=kwargs: sharedarray.sum(a, out=o, pool=UnorderedPool(2), **k)
        )
        assert result[0] == told[0]
        if result[0] == "raised":
            assert result[1] is told[1]
        else:
            assert result[1] is out
        assert_same_bits(out, expected)


def test_out_inside_the_array_or_strided(small):
    a = floats(5003, "f8")
    expected = np.sum(a)
    room = np.zeros((3, 3))
    sharedarray.sum(a, out=room[1, 1:2].reshape(()))
    sharedarray.sum(a, axis=0, keepdims=True, out=room[2, ::-2][:1])
    assert room[1, 1] == room[2, 2] == expected
    assert np.count_nonzero(room) == 2
    inside = a.copy()
    sharedarray.sum(inside, out=inside[5:6].reshape(()))
    assert inside[5] == expected


# integers and times


def test_integers_wrap_silently(small):
    for dtype in ("i8", "u8", ">i8", "i4", "u1"):
        limits = np.iinfo(dtype)
        with np.errstate(all="raise"):
            for value in (limits.max, limits.min):
                a = np.full(5003, value, dtype)
                assert_same(sharedarray.sum(a, pool=UnorderedPool(3)), np.sum(a))


@pytest.mark.parametrize("dtype", ["m8[s]", "m8", ">m8[ns]"])
def test_not_a_time(small, dtype):
    a = np.arange(5003).view("m8[s]").astype(dtype)
    for place in (0, 2500, 5002):
        b = a.copy()
        b[place] = "NaT"
        check(b, UnorderedPool(3))


def test_times_whose_sum_passes_the_smallest_integer_are_not_a_time(small):
    """NumPy adds from left to right, and a sum of -2**63 on the way is NaT."""
    a = np.zeros(5000, "m8[s]")
    a[2495] = a[2496] = np.timedelta64(2**62, "s")
    a[-1] = np.timedelta64(-(2**62), "s")

    check(a, UnorderedPool(3))


# floating point errors


@pytest.mark.parametrize("pool", ["thread-2", "serial-3", "thread-0", "bare"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [(("max", "max"), "over", "overflow"), (("inf", "-inf"), "invalid", "invalid value")],
)
def test_floating_point_errors_come_as_the_caller_says(small, values, kind, text, dtype, pool):
    pool = POOLS[pool]()
    for places in ((0, 1), (3, 9_990), (9_998, 9_999)):
        a = np.zeros(10_000, dtype)
        a[list(places)] = [np.finfo(dtype).max if v == "max" else float(v) for v in values]
        with np.errstate(**{kind: "warn"}), pytest.warns(RuntimeWarning, match=text):
            result = sharedarray.sum(a, pool=pool)
        with np.errstate(**{kind: "ignore"}), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_same(sharedarray.sum(a, pool=pool), np.sum(a))
            assert_same(result, np.sum(a))
        with (
            np.errstate(**{kind: "raise"}),
            pytest.raises(FloatingPointError, match=text) as caught,
        ):
            sharedarray.sum(a, pool=pool)
        assert type(caught.value) is FloatingPointError
        with np.errstate(**{kind: "warn"}), warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(RuntimeWarning, match=text):
                sharedarray.sum(a, pool=pool)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
def test_nan_is_no_error_and_infinity_stays(small, dtype):
    with np.errstate(all="raise", under="ignore"):
        for value in (np.nan, np.inf, -np.inf):
            a = np.ones(5003, dtype)
            a[2000] = value
            assert_same(sharedarray.sum(a, pool=UnorderedPool(3)), np.sum(a))


def test_the_callers_callback_hears_of_errors(small):
    heard = []
    a = np.full(5003, np.finfo("f8").max)
    with np.errstate(over="call", call=lambda kind, flag: heard.append(kind)):
        sharedarray.sum(a, pool=MapReduce(np=2))
    assert set(heard) == {"overflow"}
