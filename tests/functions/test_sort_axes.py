"""sort and argsort along any axis: lines that are shared out, and lines that all workers sort."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions.thresholds import MIN_LINES
from sharedarray_ops.sort import sorting
from tests.functions.support import small_arrays
from tests.functions.wide_support import (
    ALL,
    WIDE_DISTRIBUTIONS,
    assert_same_elements,
    wide_sample,
)
from tests.ops.support import (
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
)

# Of 50 elements in a tile: lines that are shorter and longer.
SHAPES = [(3, 7), (60, 3), (2, 60, 5), (1, 200), (200, 1), (0, 5), (5, 0), (3, 4, 5, 6)]
TYPICAL = ["?", "i2", "u8", "f2", "f4", "f8", ">f8", "M8[s]", "c16", "g", "S3", "U4", "V9"]
TYPICAL += ["nested", "subarrays"]
LONG_LINES = [40, 10_000]  # from which length on all workers sort a line


@pytest.fixture(params=LONG_LINES, ids=["lines by all workers", "lines shared out"])
def long_lines(request, small):
    set_long_lines(small, request.param)


def set_long_lines(patch, length):
    for name in ("LONG_ARGSORT", "LONG_SORT", "LONG_SORT_HALF", "LONG_SORT_SLOW"):
        patch.setattr(sorting, name, length)


def layouts_of(c):
    yield c
    yield np.asfortranarray(c)
    yield c.transpose(np.roll(range(c.ndim), 1))
    yield c[(slice(None, None, -1),) * c.ndim]
    yield c[:, ::2]


def check(a, axis, pool, order=None):
    before = a.copy()
    expected = np.argsort(a, axis, order=order, kind="stable")
    in_order = np.sort(a, axis, order=order, kind="stable")
    with np.errstate(all="raise"):
        indices = sharedarray.argsort(a, axis, order=order, pool=pool)
        stable = sharedarray.sort(a, axis, order=order, stable=True, pool=pool)
        result = sharedarray.sort(a, axis, order=order, pool=pool)
    assert_same_elements(a, before)
    assert type(indices) is type(stable) is type(result) is SharedArray
    assert_same_bits(indices, expected)
    assert_same_elements(stable, in_order)
    if a.dtype.names is None:
        with np.errstate(invalid="ignore"):
            equal_nan = a.dtype.kind in "fcmM"
            assert np.array_equal(result, in_order, equal_nan=equal_nan)
    if a.size and axis is not None:
        assert result.strides == stable.strides == in_order.strides


@pytest.mark.parametrize("name", TYPICAL)
def test_equals_numpy(long_lines, name):
    for seed, shape in enumerate(SHAPES):
        for distribution in ("few", "bits", "specials"):
            c = wide_sample(distribution, int(np.prod(shape)), name, seed).reshape(shape)
            for axis in (*range(c.ndim), -1, -2, None):
                check(c, axis, UnorderedPool(3))


@pytest.mark.parametrize("name", ["i4", "f8", "S3", "c8", "numbers"])
def test_layouts(long_lines, name):
    c = wide_sample("few", 960, name).reshape(8, 40, 3)
    for a in layouts_of(c):
        for axis in (0, 1, 2, -1, None):
            check(a, axis, UnorderedPool(3))


@given(
    shape=st.lists(st.integers(0, 12) | st.integers(0, 70), min_size=1, max_size=3),
    name=st.sampled_from(list(ALL)),
    distribution=st.sampled_from(["few", "bits", "specials", "sorted", "zipf", "blocks"]),
    n_workers=st.integers(1, 9),
    long=st.sampled_from(LONG_LINES),
    seed=st.integers(0, 1 << 20),
    data=st.data(),
)
def test_any_array(shape, name, distribution, n_workers, long, seed, data):
    if np.prod(shape) > 5000:
        shape = shape[:2]
    c = wide_sample(distribution, int(np.prod(shape)), name, seed).reshape(shape)
    a = data.draw(st.sampled_from(list(layouts_of(c)) if c.ndim > 1 else [c, c[::-1]]))
    axis = data.draw(st.none() | st.integers(-a.ndim, a.ndim - 1))
    order = data.draw(st.none() | st.sampled_from(a.dtype.names)) if a.dtype.names else None
    with small_arrays() as patch:
        set_long_lines(patch, long)
        check(a, axis, UnorderedPool(n_workers, seed), order)


@each_pool
@pytest.mark.parametrize("name", ["f8", "S3", "c16", "numbers"])
def test_pools(long_lines, name, pool):
    c = wide_sample("few", 1200, name).reshape(4, 60, 5)
    for axis in (0, 1, None):
        check(c, axis, pool())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.parametrize("name", ["f8", "S3", "numbers"])
def test_processes(long_lines, name):
    c = wide_sample("few", 360, name).reshape(2, 45, 4)
    for axis in (1, None):
        check(c, axis, MapReduce(np=3))


def test_lines_of_each_length(small):
    set_long_lines(small, 10_000)
    rng = np.random.default_rng(0)
    for length in [*range(1, 70), 127, 128, 300]:
        a = rng.integers(0, 4, (5, length))
        for dtype in ("i8", "c8", "S2"):
            check(a.astype(dtype), -1, UnorderedPool(2))
            check(a.astype(dtype).T, 0, UnorderedPool(2))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["f8", "i2", "S3", "c8", "numbers"])
def test_in_place(long_lines, name, axis):
    """A view along any axis, and nothing beside it."""
    room = sharedarray.empty((6, 50, 8), ALL[name])
    plain = room.view(np.ndarray)
    plain[...] = wide_sample("few", room.size, name).reshape(room.shape)
    before = plain.copy()
    for index in (np.s_[1:5, 3:47, 2:6], np.s_[::-1, ::-2, ::3], np.s_[:, :, :]):
        plain[...] = before
        view = room[index]
        expected = before.copy()
        expected[index] = np.sort(before[index], axis, kind="stable")
        assert view.sort(axis, stable=True, pool=UnorderedPool(3)) is None
        assert_same_elements(room, expected)


@pytest.mark.parametrize("name", ["f8", "S3", "numbers"])
def test_through_numpy(small, name):
    a = wide_sample("few", 600, name).reshape(6, 50, 2)
    shared = sharedarray.array(a)
    for axis in (0, 1, -1, None):
        expected = np.argsort(a, axis, kind="stable")
        for result in (np.argsort(shared, axis), shared.argsort(axis)):
            assert type(result) is SharedArray
            assert_same_bits(result, expected)
        result = np.sort(shared, axis, stable=True)
        assert type(result) is SharedArray
        assert_same_elements(result, np.sort(a, axis, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["f8", "f4", "c16", "u1", "S8"])
def test_real_sizes(name, axis):
    """Lines are shared out from 131,072 elements in all."""
    for shape in ((300, 500), (3, 50_000), (70_000, 2)):
        n = shape[0] * shape[1]
        a = wide_sample("specials", n, name)
        a[::2] = wide_sample("bits", n, name)[::2]
        for c in (a.reshape(shape), a.reshape(shape[::-1]).T):
            pool = RecordingPool(2)
            check(c, axis, pool)
            assert sum(pool.n_items) > 2


@pytest.mark.parametrize("delta", [-1, 0])
@pytest.mark.parametrize("name", ["f8", "S8"])
def test_around_the_real_threshold(name, delta):
    n_lines = MIN_LINES // 256 + delta
    a = wide_sample("bits", n_lines * 256, name).reshape(n_lines, 256)
    for function in (sharedarray.sort, sharedarray.argsort):
        pool = RecordingPool(2)
        function(a, pool=pool)
        assert bool(pool.maps) is (delta == 0)


@pytest.mark.parametrize("n_workers", [2, 4, 8])
@pytest.mark.parametrize("shape", [(4096, 256), (64, 16_384), (8, 16_384), (8, 65_536)])
def test_lines_are_shared_out_evenly(shape, n_workers):
    """No worker has a tenth more than its part of the lines."""
    a = np.zeros(shape)
    a[0] = np.random.default_rng(0).standard_normal(shape[1])
    pool = RecordingPool(n_workers)

    sharedarray.argsort(a, pool=pool)

    loads = [0] * n_workers
    n_tiles = max(item.stop for item in pool.maps[-1])
    for item in sorted(pool.maps[-1], key=lambda item: item.start - item.stop):
        loads[loads.index(min(loads))] += item.stop - item.start
    assert max(loads) <= 1.1 * n_tiles / n_workers


# errors


@pytest.mark.parametrize("axis", [3, -4, 1.0, (0,), "0", 2**70, [1]])
@pytest.mark.parametrize("n", [2, 40])
def test_bad_axes(small, axis, n):
    a = np.zeros((n, n, 2))
    for ours, numpys in ((sharedarray.sort, np.sort), (sharedarray.argsort, np.argsort)):
        expected = outcome(lambda f=numpys: f(a, axis))
        assert expected[0] == "raised"
        assert outcome(lambda f=ours: f(a, axis)) == expected
    shared = sharedarray.array(a)
    assert outcome(lambda: shared.sort(axis)) == outcome(lambda: a.copy().sort(axis))


def test_method_needs_an_axis():
    with pytest.raises(TypeError):
        sharedarray.zeros((3, 4)).sort(None)
    assert sharedarray.zeros((3, 4)).argsort(None).tolist() == list(range(12))


@pytest.mark.parametrize("distribution", WIDE_DISTRIBUTIONS)
def test_broadcast_lines(small, distribution):
    line = wide_sample(distribution, 60, "c8")
    for a in (np.broadcast_to(line, (7, 60)), np.broadcast_to(line[:, None], (60, 7))):
        for axis in (0, 1):
            assert_same_bits(sharedarray.argsort(a, axis), np.argsort(a, axis, kind="stable"))
            result = sharedarray.sort(a, axis, stable=True)
            assert_same_elements(result, np.sort(a, axis, kind="stable"))
