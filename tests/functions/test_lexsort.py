"""lexsort: the indices of numpy.lexsort, for any worker count."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import sorting
from tests.functions.support import Untouched, small_arrays
from tests.functions.wide_support import ALL, wide_sample
from tests.ops.support import (
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    strided,
    unaligned,
    unchanged,
)

# NumPy swaps the bytes of these as if each element were one number: its order is another one.
SWAPPED_WIDE = [name for name, dtype in ALL.items() if dtype.kind in "cU" and not dtype.isnative]
KEYS = [name for name, dtype in ALL.items() if not dtype.names and name not in SWAPPED_WIDE]


def keys_of(names, n, seed=0, distribution="few"):
    return [wide_sample(distribution, n, name, seed + i) for i, name in enumerate(names)]


def check(keys, pool, axis=-1):
    arrays = [np.asarray(key) for key in keys]
    with unchanged(*arrays), np.errstate(all="raise"):
        result = sharedarray.lexsort(keys, axis, pool=pool)
    with np.errstate(all="ignore"):
        expected = np.lexsort(keys, axis)
    assert type(result) is SharedArray
    assert_same_bits(result, expected)


@pytest.mark.parametrize("name", KEYS)
def test_one_key(small, name):
    for distribution in ("few", "bits", "specials"):
        for n in (0, 1, 2, 39, 40, 41, 600):
            check(keys_of([name], n, distribution=distribution), UnorderedPool(3))


@pytest.mark.parametrize("name", KEYS)
def test_three_keys(small, name):
    for n in (39, 40, 500):
        check(keys_of([name, "i1", "f8"], n), UnorderedPool(3))
        check(keys_of(["i1", name, "?"], n), UnorderedPool(3))
        check(keys_of(["S3", "c8", name], n), UnorderedPool(3))


@given(
    n=st.integers(0, 900),
    names=st.lists(st.sampled_from(KEYS), min_size=1, max_size=6),
    distribution=st.sampled_from(["few", "bits", "specials", "sorted", "reversed", "zipf"]),
    n_workers=st.integers(1, 17),
    seed=st.integers(0, 1 << 20),
)
def test_any_keys(n, names, distribution, n_workers, seed):
    keys = keys_of(names, n, seed, distribution)
    with small_arrays():
        check(keys, UnorderedPool(n_workers, seed))


@each_pool
def test_pools(small, pool):
    for names in (["f8", "i4"], ["S3", "?", "c16"], [">f4", "M8[s]", "g"], ["u1"] * 12):
        check(keys_of(names, 600), pool())
        check(keys_of(names, 600, distribution="bits"), pool())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_processes(small):
    for names in (["f8", "i4"], ["S3", "?", "c16"], ["V4", "g"]):
        check(keys_of(names, 400), MapReduce(np=3))


@pytest.mark.parametrize("name", SWAPPED_WIDE)
def test_swapped_complex_and_strings(small, name):
    """Whatever the order is, it must not change where our own way begins."""
    for n in (20, 200):
        check(keys_of([name], n, distribution="bits"), UnorderedPool(3))


@pytest.mark.parametrize("name", ["numbers", "strings"])
def test_records_are_compared_as_numpy_does_there(small, name):
    for n in (20, 500):
        check(keys_of([name, "i1"], n), UnorderedPool(3))


def test_the_last_key_counts_most(small):
    first = np.tile([3, 1, 2], 100)
    last = np.repeat([1, 0], 150)
    result = np.asarray(sharedarray.lexsort((first, last)))
    assert (np.diff(last[result]) >= 0).all()
    for value in (0, 1):
        assert (np.diff(first[result][last[result] == value]) >= 0).all()
    twin = sharedarray.lexsort((last, first))
    assert (np.diff(first[np.asarray(twin)]) >= 0).all()


def test_ties_stay_in_input_order(small):
    same = [np.full(500, 7), np.zeros(500), np.full(500, b"ab")]
    assert_same_bits(sharedarray.lexsort(same), np.arange(500))
    signs = np.where(np.arange(500) % 2, 0.0, -0.0)
    assert_same_bits(sharedarray.lexsort([signs, signs]), np.arange(500))


def test_as_argsort_of_records(small):
    a = wide_sample("few", 700, "numbers")
    expected = np.argsort(a, kind="stable")
    assert_same_bits(sharedarray.lexsort([a["c"], a["b"], a["a"]]), expected)


def test_layouts(small):
    for name in ("f8", ">i4", "c16"):
        key = wide_sample("few", 500, name)
        if name == "c16":
            key = key.real.copy()
        for same in (strided(key, 3), strided(key, -1), unaligned(key), sharedarray.array(key)):
            check([same, np.arange(500) % 5], UnorderedPool(3))
        check([np.broadcast_to(key[:1], 500), key], UnorderedPool(3))


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_more_dimensions(small, axis):
    a = wide_sample("few", 1200, "f8").reshape(20, 60)
    b = wide_sample("few", 1200, "i2").reshape(20, 60)
    check([a, b], UnorderedPool(3), axis)
    check([a.T, b.T], UnorderedPool(3), axis)


def test_an_array_of_keys(small):
    rows = np.random.default_rng(0).integers(0, 3, (4, 500))
    check(rows, UnorderedPool(3))
    check(rows[:, :20], UnorderedPool(3))
    check(rows.tolist(), UnorderedPool(3))
    check(rows.reshape(4, 20, 25), UnorderedPool(3), 0)


def test_lists_and_objects(small):
    check([[3, 1, 2], ["b", "b", "a"]], None)
    check([np.array([2, 1] * 50, object), np.arange(100) // 10], UnorderedPool(3))
    strings = np.array(["b", "a"] * 50, np.dtypes.StringDType())
    assert sharedarray.lexsort([strings]).tolist() == [*range(1, 100, 2), *range(0, 100, 2)]


def test_through_numpy(small):
    a, b = wide_sample("few", 500, "f8"), wide_sample("few", 500, "S3")
    result = np.lexsort((sharedarray.array(a), sharedarray.array(b)))
    assert type(result) is SharedArray
    assert_same_bits(result, np.lexsort((a, b)))
    result = np.lexsort((a, sharedarray.array(b)), axis=0)
    assert type(result) is SharedArray
    assert_same_bits(result, np.lexsort((a, b)))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_threshold(delta):
    for names in (["f8"], ["i4", "S3"]):
        pool = RecordingPool(2)
        check(keys_of(names, sorting.MIN_ARGSORT + delta), pool)
        assert bool(pool.maps) is (delta >= 0)


@pytest.mark.parametrize("names", [["f8", "i1"], ["i8", "i8", "i8"], ["c16", "S8"]])
def test_real_sizes(names):
    for distribution in ("few", "bits"):
        keys = keys_of(names, 530_000, distribution=distribution)
        for pool in (None, RecordingPool(4)):
            check(keys, pool)


# errors


@pytest.mark.parametrize("n", [20, 500])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: (((),), {}),
        lambda n: (([],), {}),
        lambda n: ((5,), {}),
        lambda n: ((None,), {}),
        lambda n: (([np.zeros(n), np.zeros(n - 1)],), {}),
        lambda n: (([np.zeros(n), np.zeros((n, 1))],), {}),
        lambda n: (([np.zeros(n), 5],), {}),
        lambda n: (([np.zeros(n)], 1), {}),
        lambda n: (([np.zeros(n)], -2), {}),
        lambda n: (([np.zeros(n)], None), {}),
        lambda n: (([np.zeros(n)], 0.0), {}),
        lambda n: (([np.zeros(n)], "0"), {}),
        lambda n: (([np.zeros(n)], (0,)), {}),
        lambda n: (([np.zeros(n)], True), {}),
        lambda n: (([np.zeros(n)],), {"axis": 2**70}),
        lambda n: (([np.zeros(n)],), {"kind": "stable"}),
        lambda n: ((), {}),
    ],
)
def test_bad_arguments(small, make, n):
    args, kwargs = make(n)
    expected = outcome(lambda: np.lexsort(*args, **kwargs))
    assert expected[0] == "raised"
    assert outcome(lambda: sharedarray.lexsort(*args, pool=Untouched(), **kwargs)) == expected


def test_masked_keys_and_bad_pools_are_refused(small):
    with pytest.raises(TypeError, match="mask"):
        sharedarray.lexsort([np.ma.masked_equal(np.arange(500), 3)])
    for pool in (3, "thread"):
        with pytest.raises(TypeError):
            sharedarray.lexsort([np.arange(500)], pool=pool)


def test_no_dimensions():
    for keys in ((5,), (5, 6), np.arange(3)):
        assert_same_bits(sharedarray.lexsort(keys), np.lexsort(keys))
