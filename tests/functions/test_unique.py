import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import uniqueness
from sharedarray.memory.array import DISPATCH
from tests.functions.sort_support import OTHERS
from tests.functions.support import Untouched, layouts, small_arrays
from tests.ops.support import (
    DISTRIBUTIONS,
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

unique = uniqueness.unique
MIN_UNIQUE = 40
SIZES = [0, 1, MIN_UNIQUE - 1, MIN_UNIQUE, MIN_UNIQUE + 1, 127, 1009]
WANTED = [
    (),
    ("return_index",),
    ("return_inverse",),
    ("return_counts",),
    ("return_index", "return_inverse", "return_counts"),
]
HAS_SORTED = np.lib.NumpyVersion(np.__version__) >= "2.3.0"


@pytest.fixture(autouse=True)
def small_uniques(monkeypatch):
    for name in ("MIN_UNIQUE", "MIN_UNIQUE_SORTED", "MIN_UNIQUE_INTEGERS"):
        monkeypatch.setattr(uniqueness, name, MIN_UNIQUE)
    monkeypatch.setattr(uniqueness.uniqueness, "BLOCK", 16)
    with small_arrays():
        yield


def check(a, pool=None, wanted=(), **kwargs):
    kwargs |= dict.fromkeys(wanted, True)
    with np.errstate(all="ignore"):
        expected = np.unique(a, **kwargs)
        with unchanged(a):
            result = unique(a, pool=pool, **kwargs)
    assert isinstance(result, tuple) is isinstance(expected, tuple)
    if not wanted:
        result, expected = (result,), (expected,)
    assert all(type(item) is SharedArray for item in result)
    # Zeros are equal whatever their sign, and NaN whatever their bits.
    np.testing.assert_array_equal(result[0], expected[0], strict=True)
    for ours, theirs in zip(result[1:], expected[1:], strict=True):
        assert_same_bits(ours, theirs)


@each_pool
@pytest.mark.parametrize("dtype", ["?", "i1", "i8", "f2", "f8", ">f4", "M8[s]"])
def test_equals_numpy(dtype, pool):
    for distribution, n in cases(pool, SIZES):
        for wanted in (WANTED[0], WANTED[-1]):
            check(sample(distribution, n, dtype), pool(), wanted)


@given(
    n=st.integers(0, 1200),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    wanted=st.sampled_from(WANTED),
    equal_nan=st.booleans(),
    n_workers=st.integers(1, 5),
)
def test_any_array(n, dtype, distribution, wanted, equal_nan, n_workers):
    a = sample(distribution, n, dtype)
    check(a, UnorderedPool(n_workers, 0), wanted, equal_nan=equal_nan)


@pytest.mark.parametrize("wanted", WANTED)
def test_shapes(wanted):
    c = sample("few", 120, "f8").reshape(4, 5, 6)
    for a in (c, np.asfortranarray(c), c[::-1, ::2], c.reshape(-1)):
        check(a, UnorderedPool(3), wanted)
    for axis in (0, 1, 2, -1):
        check(c % 2, Untouched(), wanted, axis=axis)
    for axis in (0, -1):
        check(c.reshape(-1), UnorderedPool(3), wanted, axis=axis)


def test_layouts(tmp_path):
    for _, a in layouts(sample("specials", 500, "f8"), tmp_path):
        for wanted in WANTED:
            check(np.asarray(a), UnorderedPool(3), wanted)
        assert type(unique(a)) is SharedArray


@pytest.mark.parametrize("n", [20, 500])
def test_nan(n):
    a = np.arange(float(n)) % 7
    a[3:15] = np.nan
    times = a.astype("M8[s]")
    for values in (a, a.astype("f2"), times, np.full(n, np.nan), a + 1j * a):
        for wanted in WANTED:
            for equal_nan in (True, False):
                check(values, None, wanted, equal_nan=equal_nan)


def test_the_first_occurrence():
    a = sample("few", 1009, "i4")
    _, index = unique(a, return_index=True, pool=UnorderedPool(3))
    for i in index:
        assert a[i] not in a[:i]


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes(name):
    a = OTHERS[name]
    expected, result = np.unique(a, return_counts=True), unique(a, return_counts=True)
    for ours, theirs in zip(result, expected, strict=True):
        assert type(ours) is SharedArray
        assert_same_bits(ours, theirs)


def test_objects_stay_with_numpy():
    a = np.array([3, 1, 3, 2] * 30, object)
    result = unique(a, return_counts=True)
    assert type(result[0]) is np.ndarray
    assert result[0].tolist() == [1, 2, 3]
    assert type(result[1]) is SharedArray


def test_array_likes():
    assert unique([3, 1, 3]).tolist() == [1, 3]
    assert unique(5).tolist() == [5]
    assert unique(range(50)).size == 50
    assert [x.tolist() for x in unique([[2, 1], [2, 2]], False, True)] == [[1, 2], [[1, 0], [1, 1]]]


@pytest.mark.skipif(not HAS_SORTED, reason="NumPy has no `sorted` yet")
def test_unsorted():
    for dtype in ("i8", "f8"):
        for n in (30, 500):
            a = sample("few", n, dtype)
            assert np.array_equal(np.sort(unique(a, sorted=False)), np.unique(a))


@pytest.mark.skipif(HAS_SORTED, reason="NumPy has `sorted`")
def test_sorted_is_as_new_as_in_numpy():
    for n in (10, 500):
        with pytest.raises(TypeError):
            unique(np.arange(n), sorted=True)


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {"axis": 1}),
        ((), {"axis": -2}),
        ((), {"axis": "0"}),
        ((), {"axis": 0.0}),
        ((), {"axis": (0,)}),
        ((), {"axis": True}),
        ((False, False, False, 3), {}),
        ((False, False, False, None, True), {}),
        ((), {"kind": "stable"}),
        ((1, 0, np.True_), {}),
        (("yes",), {}),
    ],
)
def test_arguments_are_judged_like_numpy(args, kwargs, n):
    a = np.arange(n) % 7
    expected = outcome(lambda: np.unique(a, *args, **kwargs))
    pool = Untouched() if expected[0] == "raised" else UnorderedPool(2)
    result = outcome(lambda: unique(a, *args, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if expected[0] == "raised":
        assert result[1] is expected[1]
    else:
        for ours, theirs in zip(result[1], expected[1], strict=True):
            assert_same_bits(ours, theirs)


def test_masked_arrays_and_other_pools_are_refused():
    with pytest.raises(TypeError, match="mask"):
        unique(np.ma.masked_equal(np.arange(500), 3))
    with pytest.raises(TypeError):
        unique(np.arange(500), pool=3)


def test_processes():
    for dtype in ("f8", "u1", "M8[s]"):
        for wanted in WANTED:
            check(sample("few", 1009, dtype), MapReduce(np=3), wanted)


def test_numpy_is_led_here():
    assert DISPATCH[np.unique] is unique
    a = sample("few", 500, "f8")
    b = sharedarray.array(a)
    assert type(np.unique(b)) is SharedArray
    assert_same_bits(np.unique(b), np.unique(a))
    assert_same_bits(np.unique_counts(b).counts, np.unique_counts(a).counts)
    assert_same_bits(np.unique(b, return_inverse=True)[1], np.unique(a, return_inverse=True)[1])


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_thresholds(monkeypatch, delta):
    monkeypatch.undo()
    for n in (uniqueness.MIN_UNIQUE, uniqueness.MIN_UNIQUE_WORKERS):
        check(sample("few", n + delta, "i4"), None, WANTED[-1])
    pool = RecordingPool(2)
    unique(np.arange(uniqueness.MIN_UNIQUE + delta), return_inverse=True, pool=pool)
    assert bool(pool.maps) is (delta >= 0)
