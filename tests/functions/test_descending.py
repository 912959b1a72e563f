"""``descending=`` as in NumPy 2.5, with any NumPy: stable, and what is missing comes last."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from tests.functions.support import MIN_SORT, Untouched, layouts, small_arrays
from tests.functions.wide_support import (
    ALL,
    WIDE,
    WIDE_DISTRIBUTIONS,
    assert_same_elements,
    descending_order,
    missing_parts,
    wide_sample,
)
from tests.ops.support import (
    DISTRIBUTIONS,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    unchanged,
)

HAS_DESCENDING = np.lib.NumpyVersion(np.__version__) >= "2.5.0"
ORDERED = [name for name, dtype in ALL.items() if dtype.kind != "V"]
SIZES = [0, 1, 2, MIN_SORT - 1, MIN_SORT, MIN_SORT + 1, 127, 509]


def assert_same_values(result, expected):
    """Compare values where bits are not defined: zeros of both signs, and NaN."""
    if expected.dtype.kind in "fc":
        with np.errstate(invalid="ignore"):
            assert np.array_equal(result, expected, equal_nan=True)
        assert result.dtype == expected.dtype
    else:
        assert_same_elements(result, expected)


def check(a, pool):
    order = descending_order(a)
    expected = a.view(f"V{a.itemsize}")[order].view(a.dtype)
    with unchanged(a), np.errstate(all="raise"):
        indices = sharedarray.argsort(a, descending=True, pool=pool)
        stable = sharedarray.sort(a, descending=True, stable=True, pool=pool)
        result = sharedarray.sort(a, descending=True, pool=pool)
    assert type(indices) is type(stable) is type(result) is SharedArray
    assert_same_bits(indices, order)
    assert_same_elements(stable, expected)
    assert_same_values(result, expected)


def samples(name, sizes):
    is_number = name not in WIDE
    for distribution in DISTRIBUTIONS if is_number else WIDE_DISTRIBUTIONS:
        for n in sizes:
            yield wide_sample(distribution, n, name)


@pytest.mark.parametrize("name", ORDERED)
def test_by_an_oracle_of_ranks(small, name):
    for a in samples(name, SIZES):
        check(a, UnorderedPool(3))


@pytest.mark.skipif(not HAS_DESCENDING, reason="NumPy has no descending= yet")
@pytest.mark.parametrize("name", ORDERED)
def test_by_numpy(small, name):
    for a in samples(name, SIZES):
        with np.errstate(all="ignore"):
            order = np.argsort(a, descending=True, stable=True)
            expected = np.sort(a, descending=True, stable=True)
        assert_same_bits(descending_order(a), order)
        assert_same_bits(sharedarray.argsort(a, descending=True), order)
        assert_same_elements(sharedarray.sort(a, descending=True, stable=True), expected)


@each_pool
@pytest.mark.parametrize("name", ["?", "i8", "f8", ">f4", "f2", "m8[s]", "c16", "S3", "g"])
def test_pools(small, name, pool):
    for distribution in ("few", "specials", "bits"):
        check(wide_sample(distribution, 500, name), pool())


@given(
    n=st.integers(0, 1200),
    name=st.sampled_from(ORDERED),
    distribution=st.sampled_from(["few", "specials", "bits", "sorted", "reversed", "zipf"]),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, name, distribution, n_workers, seed):
    with small_arrays():
        check(wide_sample(distribution, n, name, seed), UnorderedPool(n_workers, seed))


@pytest.mark.parametrize("name", ["f8", "u1", ">i4"])
def test_layouts(small, name, tmp_path):
    a = wide_sample("specials", 500, name)
    order = descending_order(a)
    for _, same in layouts(a, tmp_path):
        with unchanged(same):
            assert_same_bits(sharedarray.argsort(same, descending=True), order)
            assert_same_bits(sharedarray.sort(same, descending=True, stable=True), a[order])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, None])
@pytest.mark.parametrize("name", ["f8", "i2", "c8", "S3", "M8[s]"])
def test_axes(small, name, axis):
    shape = (5, 60, 4)
    c = wide_sample("few", 1200, name).reshape(shape)
    for a in (c, np.asfortranarray(c), c.transpose(1, 0, 2), c[:, ::-1]):
        flat = a.reshape(-1) if axis is None else a
        moved = np.moveaxis(flat, axis or 0, -1)
        order = np.empty(moved.shape, np.intp)
        for index in np.ndindex(moved.shape[:-1]):
            order[index] = descending_order(moved[index])
        order = np.moveaxis(order, -1, axis or 0)
        pool = UnorderedPool(3)
        assert_same_bits(sharedarray.argsort(a, axis, descending=True, pool=pool), order)
        expected = np.take_along_axis(flat, order, axis or 0)
        result = sharedarray.sort(a, axis, descending=True, pool=pool)
        assert_same_values(np.asarray(result), expected)
        result = sharedarray.sort(a, axis, descending=True, stable=True, pool=pool)
        assert_same_elements(result, expected)


def test_the_groups_of_complex_nan_are_in_the_order_of_ascending():
    nan = np.nan
    a = np.array([complex(nan, nan), complex(nan, 1), complex(1, nan), 1, complex(nan, 2), 2j])
    a = np.append(a, [complex(2, nan), 2])
    expected = [7, 3, 5, 6, 2, 4, 1, 0]
    for n in (1, 20_000):
        result = np.asarray(sharedarray.argsort(np.tile(a, n), descending=True))
        assert (result.reshape(-1, n) % a.size == np.array(expected)[:, None]).all()
        assert (np.diff(result.reshape(-1, n)) > 0).all()


@pytest.mark.parametrize("name", ["f8", "i8", "u1", "f2", "M8[s]", ">f8", "c16"])
def test_real_sizes(name):
    a = wide_sample("specials", 1_100_003, name)
    a[::2] = wide_sample("bits", 550_002, name)
    check(a, RecordingPool(2))


def test_missing_values_are_last_in_both_directions(small):
    for name in ("f2", "f4", "f8", "g", "M8[s]", "m8[s]", "c16"):
        a = wide_sample("specials", 500, name)
        for descending in (True, False):
            result = np.asarray(sharedarray.sort(a, descending=descending))
            parts = missing_parts(result)
            assert parts.any()
            assert (np.diff(parts) >= 0).all()


@pytest.mark.parametrize("name", ["i8", "f8", "S3", "c16"])
def test_method_in_place_and_through_numpy(small, name):
    a = wide_sample("few", 500, name)
    order = descending_order(a)
    shared = sharedarray.array(a)
    assert_same_bits(shared.argsort(descending=True), order)
    expected = a.view(f"V{a.itemsize}")[order].view(a.dtype)
    if HAS_DESCENDING:
        assert_same_bits(np.argsort(shared, descending=True), order)
        assert_same_elements(np.sort(shared, descending=True, stable=True), expected)
    assert shared.sort(descending=True, stable=True) is None
    assert_same_elements(shared, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_processes(small):
    for name in ("f8", "i4", "c8", "S3"):
        check(wide_sample("few", 300, name), MapReduce(np=3))


# arguments


@pytest.mark.parametrize("n", [0, 3, 500])
@pytest.mark.parametrize("function", [sharedarray.sort, sharedarray.argsort])
def test_not_together_with_kind(small, function, n):
    a = np.zeros(n)
    for kind in ("stable", "quicksort", "heapsort", b"s"):
        for descending in (True, False):
            with pytest.raises(ValueError, match="kind"):
                function(a, kind=kind, descending=descending, pool=Untouched())
        function(a, kind=kind, descending=None)
    with pytest.raises(ValueError, match="kind"):
        sharedarray.array(a).sort(kind="stable", descending=True)


@pytest.mark.parametrize("n", [0, 3, 500])
@pytest.mark.parametrize("dtype", ["V3", "i4,f8", [("a", "S2")], object])
def test_not_for_every_dtype(small, dtype, n):
    a = np.zeros(n, dtype)
    for stable in (None, True, False):
        for function in (sharedarray.sort, sharedarray.argsort):
            with pytest.raises(TypeError):
                function(a, descending=True, stable=stable, pool=Untouched())
    assert_same_bits(sharedarray.argsort(a, descending=False), np.arange(n))
    if a.dtype.kind != "O":
        assert sharedarray.sort(a, descending=False).shape == (n,)
        with pytest.raises(TypeError):
            sharedarray.array(a).sort(descending=True)


@pytest.mark.parametrize("value", [True, 1, np.True_, "yes", False, 0, None, []])
@pytest.mark.parametrize("n", [3, 500])
def test_truth(small, value, n):
    a = np.arange(n) % 3
    expected = descending_order(a) if value else np.argsort(a, kind="stable")
    for stable in (None, True, False):
        indices = sharedarray.argsort(a, descending=value, stable=stable)
        assert_same_bits(indices, expected)
        assert_same_bits(sharedarray.sort(a, descending=value, stable=stable), a[expected])


def test_order_and_axes_are_judged_as_ever():
    for kwargs in ({"order": "f0"}, {"axis": 3}, {"axis": 0.5}, {"axis": "x"}):
        for function, by_numpy in ((sharedarray.sort, np.sort), (sharedarray.argsort, np.argsort)):
            with pytest.raises((ValueError, TypeError)) as expected:
                by_numpy(np.zeros(5), **kwargs)
            with pytest.raises(expected.type, match=str(expected.value)[:20].replace("'", ".")):
                function(np.zeros(5), descending=True, **kwargs)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0)])
def test_nothing_to_sort(shape):
    a = np.zeros(shape)
    assert_same_bits(sharedarray.argsort(a, descending=True), np.argsort(a))
    if shape:
        assert_same_bits(sharedarray.sort(a, descending=True), a)
    assert sharedarray.sort(a, axis=None, descending=True).size == a.size
