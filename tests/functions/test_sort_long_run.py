"""Many random arrays of any kind, against NumPy: set SHAREDARRAY_TEST_LONG=1.

SHAREDARRAY_TEST_SEED chooses another run, SHAREDARRAY_TEST_CASES how many arrays there are. What
fails is reported with the seed of its array, which is all that it takes to make it again.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce
from sharedarray_ops.sort import sorting
from tests.functions.support import small_arrays
from tests.functions.wide_support import (
    ALL,
    WIDE_DISTRIBUTIONS,
    assert_same_elements,
    descending_order,
    wide_sample,
)
from tests.ops.support import DISTRIBUTIONS, UnorderedPool, assert_same_bits

SEED = int(os.environ.get("SHAREDARRAY_TEST_SEED", "0"))
IS_LONG = os.environ.get("SHAREDARRAY_TEST_LONG") == "1"
CASES = int(os.environ.get("SHAREDARRAY_TEST_CASES", "2000"))
FEW = 60  # in the quick suite, so that the long run itself is run

# Processes are dear: one array in 40.
BACKENDS = [*["unordered"] * 33, *["serial"] * 3, *["thread"] * 3, "process"]


def pool_of(backend, n_workers, seed):
    if backend == "process" and hasattr(os, "fork"):
        return MapReduce(np=3)
    if backend in ("serial", "thread"):
        return MapReduce(backend, np=n_workers)
    return UnorderedPool(n_workers, seed)


def array_of(rng, name, max_size):
    known = DISTRIBUTIONS if is_number(name) else WIDE_DISTRIBUTIONS
    distribution = str(rng.choice(list(known)))
    n_axes = int(rng.choice([1, 1, 1, 2, 3]))
    shape = rng.integers(0 if rng.random() < 0.05 else 1, max_size ** (1 / n_axes) + 2, n_axes)
    n = int(np.prod(shape))
    a = wide_sample(distribution, n, name, int(rng.integers(1 << 30))).reshape(shape)
    layout = rng.integers(5)
    if layout == 1:
        a = np.asfortranarray(a)
    elif layout == 2:
        a = a[(slice(None, None, -1),) * a.ndim]
    elif layout == 3:
        a = a[..., ::2]
    elif layout == 4:
        a = a.transpose(rng.permutation(a.ndim))
    return a


def is_number(name):
    dtype = ALL[name]
    return dtype.names is None and dtype.kind in "biufmM" and dtype.itemsize <= 8


def order_along(a, axis, order, *, descending):
    if not descending:
        with np.errstate(all="ignore"):
            return np.argsort(a, axis, order=order, kind="stable")
    moved = np.moveaxis(a, axis, -1)
    found = np.empty(moved.shape, np.intp)
    for index in np.ndindex(moved.shape[:-1]):
        found[index] = descending_order(moved[index])
    return np.moveaxis(found, -1, axis)


def check_one(seed, max_size):
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(ALL)))
    a = array_of(rng, name, max_size)
    axis = int(rng.integers(-a.ndim, a.ndim))
    names = a.dtype.names
    order = [str(n) for n in rng.permutation(names)[: rng.integers(0, 3)]] if names else None
    descending = bool(a.dtype.kind != "V" and rng.random() < 0.3)
    kwargs = {"order": order, **({"descending": True} if descending else {})}
    backend = str(rng.choice(BACKENDS))
    pool = pool_of(backend, int(rng.integers(1, 18)), seed)
    before = a.copy()
    expected = order_along(a, axis, order, descending=descending)
    with np.errstate(all="raise"):
        indices = sharedarray.argsort(a, axis, pool=pool, **kwargs)
        values = sharedarray.sort(a, axis, stable=True, pool=pool, **kwargs)
        in_place = sharedarray.empty(a.shape, a.dtype)
        in_place.view(np.ndarray)[...] = a
        in_place.sort(axis, stable=True, pool=pool, **kwargs)
    assert_same_elements(a, before)
    assert_same_bits(indices, expected)
    in_order = np.take_along_axis(a, expected, axis)
    assert_same_elements(values, in_order)
    assert_same_elements(in_place, in_order)
    dtype = rng.choice(["i4", "u4", "i8", "u8"])
    out = sharedarray.zeros(a.shape, dtype)
    sharedarray.argsort(a, axis, out=out, pool=pool, **kwargs)
    assert_same_bits(out, expected.astype(dtype))


def check_many(n_cases, max_size, patch=None):
    for i in range(n_cases):
        if patch is not None:  # all workers sort a line, or the lines are shared out
            length = 40 if i % 2 else 1 << 30
            for threshold in ("LONG_ARGSORT", "LONG_SORT", "LONG_SORT_HALF", "LONG_SORT_SLOW"):
                patch.setattr(sorting, threshold, length)
        try:
            check_one(SEED + i, max_size)
        except BaseException as error:
            error.add_note(f"array of seed {SEED + i}, size {max_size}")
            raise


def test_a_few():
    with small_arrays() as patch:
        check_many(FEW, 900, patch)


@pytest.mark.skipif(not IS_LONG, reason="takes minutes: set SHAREDARRAY_TEST_LONG=1")
@pytest.mark.parametrize("max_size", [60, 900, 6000])
def test_small_sizes(max_size):
    with small_arrays() as patch:
        check_many(CASES, max_size, patch)


@pytest.mark.skipif(not IS_LONG, reason="takes minutes: set SHAREDARRAY_TEST_LONG=1")
@pytest.mark.parametrize("max_size", [20_000, 300_000, 1_500_000])
def test_real_sizes(max_size):
    check_many(max(10, CASES * 1000 // max_size), max_size)
