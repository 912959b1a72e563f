import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import taking
from sharedarray.memory.array import DISPATCH
from tests.functions.support import Untouched, layouts
from tests.ops.support import (
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    sample,
    unchanged,
)

take = taking.take
MIN_TAKE = 40
SIZES = [0, 1, MIN_TAKE - 1, MIN_TAKE, MIN_TAKE + 1, 127, 1009]
MODES = ["raise", "wrap", "clip"]
DTYPES = ["f8", "f4", "i1", "?", "c16", ">i4", "M8[s]", "S3", "U2", "V5", "i4,f8", "g"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(taking, "MIN_TAKE", MIN_TAKE)
    monkeypatch.setattr(taking.taking, "BLOCK", 16)


def values_of(dtype, shape):
    n = int(np.prod(shape))
    itemsize = np.dtype(dtype).itemsize
    integers = np.random.default_rng(n).integers(0, 2 if dtype == "?" else 100, n * itemsize, "u1")
    return (
        integers.astype("u4").astype("U2") if dtype == "U2" else integers.view(dtype).reshape(shape)
    )


def indices_for(length, shape, seed=0):
    return np.random.default_rng(seed).integers(-length, length, shape)


def check(a, indices, pool=None, **kwargs):
    with unchanged(np.asarray(a), np.asarray(indices)):
        result = take(a, indices, pool=pool, **kwargs)
    expected = np.take(np.asarray(a), np.asarray(indices), **kwargs)
    assert type(result) is (SharedArray if expected.ndim else type(expected))
    assert_same_bits(result, expected)


@each_pool
def test_equals_numpy(pool):
    a = np.random.default_rng(0).random(97)
    for n in SIZES:
        for mode in MODES:
            check(a, indices_for(97, n), pool(), mode=mode)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(dtype):
    a = values_of(dtype, (97,))
    for mode in MODES:
        check(a, indices_for(97, 500), UnorderedPool(3), mode=mode)
        check(a, indices_for(97, (5, 100)), UnorderedPool(3), mode=mode)


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    index_shape=st.lists(st.integers(0, 9), max_size=3),
    mode=st.sampled_from(MODES),
    n_workers=st.integers(1, 5),
    data=st.data(),
)
def test_any_axis(shape, index_shape, mode, n_workers, data):
    a = np.random.default_rng(0).random(shape)
    axis = data.draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
    length = a.size if axis is None else a.shape[axis]
    check(a, indices_for(length, index_shape), UnorderedPool(n_workers, 0), axis=axis, mode=mode)
    check(a, indices_for(3 * length, index_shape), None, axis=axis, mode="wrap")


def test_layouts(tmp_path):
    indices = indices_for(500, 600)
    for _, a in layouts(sample("bits", 500, "f8"), tmp_path):
        check(a, indices, UnorderedPool(3))
    for _, strange in layouts(indices):
        check(np.arange(500.0), strange, UnorderedPool(3))
    a = np.arange(600.0).reshape(20, 30)
    for b in (np.asfortranarray(a), a[::-1, ::2], a[:, ::-1]):
        for axis in (None, 0, 1):
            check(b, indices_for(15, 200), UnorderedPool(3), axis=axis)


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i4", "u4", "i8", ">i8", "?", "u8", "f8", "m8[s]", "O"]
)
@pytest.mark.parametrize("n", [10, 500])
def test_dtypes_of_indices(dtype, n):
    a, indices = np.arange(100.0), (np.arange(n) % 2).astype(dtype)
    expected = outcome(lambda: np.take(a, indices))
    result = outcome(lambda: take(a, indices, pool=UnorderedPool(2)))
    assert result[0] == expected[0]
    np.testing.assert_array_equal(result[1], expected[1])


def test_array_likes():
    assert_same_bits(take([1, 2, 3], [2, 0]), np.array([3, 1]))
    check([[1, 2], [3, 4]], [[0, 3], [1, 1]])
    assert take([1, 2, 3], 1) == 2
    assert type(take([1, 2, 3], 1)) is np.int64
    check(range(50), list(range(50)), UnorderedPool(2))
    check(np.arange(5), np.int64(3))


def test_objects_stay_with_numpy():
    a = np.array(["a", None, 3] * 20, object)
    result = take(a, list(range(60)), pool=Untouched())
    assert type(result) is np.ndarray
    assert result.tolist() == a.tolist()
    strings = np.array(["a", "bb"], np.dtypes.StringDType())
    assert take(strings, [1, 0] * 40).tolist() == ["bb", "a"] * 40


# out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [5, 500])
def test_out(mode, n):
    a, indices = np.random.default_rng(0).random((50, 3)), indices_for(50, n)
    expected = np.take(a, indices, 0, mode=mode)
    strided_out = np.zeros((n, 6))[:, ::2]
    for out in (
        np.zeros((n, 3)), sharedarray.zeros((n, 3)), strided_out, np.zeros((n, 3), order="F")
    ):  # fmt: skip
        assert take(a, indices, 0, out, mode) is out
        assert_same_bits(out, expected)


def test_out_is_written_by_the_workers():
    a, indices = np.arange(50.0), indices_for(50, 500)
    out = sharedarray.zeros(500)
    pool = RecordingPool(2)
    assert take(a, indices, out=out, pool=pool) is out
    assert pool.maps
    private = np.zeros(500)
    assert take(a, indices, out=private, pool=MapReduce(np=3)) is private
    assert_same_bits(private, out)


@pytest.mark.parametrize("dtype", ["f4", "i8", "c16", "S3"])
def test_out_of_another_dtype(dtype):
    a, indices = np.arange(50.0), indices_for(50, 500)
    for mode in MODES:
        expected, out = np.zeros(500, dtype), np.zeros(500, dtype)
        theirs = outcome(lambda mode=mode, out=expected: np.take(a, indices, out=out, mode=mode))
        ours = outcome(lambda mode=mode, out=out: take(a, indices, out=out, mode=mode))
        assert ours[0] == theirs[0]
        assert_same_bits(out, expected)


def test_out_that_overlaps_the_inputs():
    for mode in MODES:
        room = np.arange(1000)
        expected = np.take(room[:500] % 500, room[:500].copy(), mode=mode)
        room[:500] %= 500
        take(room[:500], np.arange(500), out=room[:500], mode=mode)
        assert_same_bits(room[:500], expected)
        # NumPy does not look whether `out` overlaps the indices.
        a, room, theirs = np.arange(500)[::-1].copy(), np.arange(500) // 2, np.arange(500) // 2
        np.take(a, theirs[:-1], out=theirs[1:], mode=mode)
        take(a, room[:-1], out=room[1:], mode=mode)
        assert_same_bits(room, theirs)
        backwards = sharedarray.array(np.arange(500)[::-1])
        take(backwards, backwards, out=backwards, mode=mode)
        assert backwards.tolist() == list(range(500))


@pytest.mark.parametrize("bad", [500, -501, 2**40, -(2**62)])
@pytest.mark.parametrize("n", [5, 500])
def test_out_of_bounds(bad, n):
    a, indices = np.arange(500.0), np.arange(n)
    indices[n - 2] = bad
    with pytest.raises(IndexError) as theirs:
        np.take(a, indices)
    out = sharedarray.full(n, 7.0)
    for kwargs in ({}, {"out": out}, {"out": out, "axis": 0}, {"pool": UnorderedPool(3)}):
        with pytest.raises(IndexError) as ours:
            take(a, indices, **kwargs)
        assert str(ours.value) == str(theirs.value)
    assert (out == 7).all()
    check(a, indices, UnorderedPool(2), mode="clip")
    if abs(bad) < 1000:  # NumPy wraps an index by repeated subtraction
        check(a, indices, UnorderedPool(2), mode="wrap")


# errors


@pytest.mark.parametrize("n", [5, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"axis": 1},
        {"axis": -2},
        {"axis": 0.0},
        {"axis": "0"},
        {"axis": (0,)},
        {"mode": "x"},
        {"mode": ""},
        {"mode": 7},
        {"mode": None},
        {"mode": ["raise"]},
        {"out": 5},
        {"out": np.zeros(3)},
        {"out": np.zeros((5, 1))},
        {"out": np.zeros(500)},
        {"out": [0.0]},
        {"mode": "RAISE"},
        {"mode": 1},
        {"axis": np.int8(-1)},
        {"axis": True},
    ],
)
def test_arguments_are_judged_like_numpy(kwargs, n):
    a, indices = np.arange(9.0), np.arange(n) % 9
    expected = outcome(lambda: np.take(a, indices, **kwargs))
    pool = Untouched() if expected[0] == "raised" else UnorderedPool(2)
    result = outcome(lambda: take(a, indices, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if expected[0] == "raised":
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


def test_a_read_only_out():
    out = np.zeros(500)
    out.flags.writeable = False
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own
        take(np.arange(9.0), np.zeros(500, int), out=out)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_nothing_to_take_of(shape):
    for axis in (None, 0, -1):
        for indices in ([], [0], np.zeros(500, int)):
            a = np.empty(shape)
            expected = outcome(
                lambda a=a, i=indices, axis=axis: np.take(a, np.asarray(i, int), axis)
            )
            result = outcome(lambda a=a, i=indices, axis=axis: take(a, np.asarray(i, int), axis))
            assert result[0] == expected[0]
            if expected[0] == "returned":
                assert result[1].shape == expected[1].shape


def test_masked_arrays_and_other_pools_are_refused():
    with pytest.raises(TypeError, match="mask"):
        take(np.ma.masked_equal(np.arange(500), 3), [0])
    with pytest.raises(TypeError):
        take(np.arange(500), [0], pool=3)


# by NumPy


def test_numpy_is_led_here():
    assert DISPATCH[np.take] is take
    a = sharedarray.array(np.arange(500.0)[::-1])
    indices = np.arange(500)
    for result in (np.take(a, indices), a.take(indices), a.take(indices, mode="clip")):
        assert type(result) is SharedArray
        assert_same_bits(result, np.asarray(a))
    assert a.take(3) == 496
    assert_same_bits(np.take(np.arange(500), sharedarray.array(indices)), indices)


@pytest.mark.parametrize("delta", [-1, 0])
def test_around_the_real_threshold(monkeypatch, delta):
    monkeypatch.undo()
    n = taking.MIN_TAKE + delta
    pool = RecordingPool(2)
    check(np.arange(1000.0), indices_for(1000, n), pool)
    assert bool(pool.maps) is (delta >= 0)


def test_processes():
    a = np.random.default_rng(0).random((30, 40))
    for axis in (None, 0, 1):
        check(a, indices_for(30, 200), MapReduce(np=3), axis=axis)
    check(a[:, ::2], indices_for(20, 200), MapReduce(np=3), axis=1)
