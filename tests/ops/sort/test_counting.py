import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort.counting import BLOCK, counting_sort
from tests.ops.support import (
    UnorderedPool,
    around,
    assert_same_bits,
    canaries,
    cases,
    each_pool,
    sample,
    small_sizes,
)

BYTES = ["?", "i1", "u1"]
HALVES = ["f2", ">f2"]


def expected_order(values):
    """Sort by value, equal values and NaN by their bits."""
    with np.errstate(invalid="ignore"):
        if values.dtype.kind != "f":
            return np.sort(values)
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        bits = values.view(f"{values.dtype.byteorder}u2").astype(np.int64)
        missing = np.isnan(native)
        rank = np.where(missing, np.inf, native.astype(np.float64))
        first = np.where(missing, bits, ~np.signbit(native))  # -0.0 before +0.0
        return values[np.lexsort((first, rank))]


def check(values, pool):
    with canaries(values.size, values.dtype) as a:
        a[:] = values
        counting_sort(a, pool)
        assert_same_bits(a, expected_order(values))


@each_pool
@pytest.mark.parametrize("dtype", BYTES)
def test_bytes_equal_numpy(dtype, pool):
    with small_sizes():
        for distribution, n in cases(pool, around(48, 256)):
            check(sample(distribution, n, dtype), pool())


@each_pool
@pytest.mark.parametrize("dtype", HALVES)
def test_halves_are_in_order_down_to_their_bits(dtype, pool):
    for distribution, n in cases(pool, (0, 1, 2, 1009)):
        check(sample(distribution, n, dtype), pool())


def test_every_value_of_a_dtype():
    for dtype in (*BYTES[1:], *HALVES):
        a = np.arange(1 << 8 * np.dtype(dtype).itemsize)
        values = a.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
        check(np.random.default_rng(0).permutation(values), UnorderedPool(3))


def test_halves_across_blocks():
    with small_sizes():
        for n in (47, 48, 49, 97):
            check(sample("bits", n, "f2"), UnorderedPool(1))


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_block(delta):
    check(sample("bits", 2 * BLOCK + delta, "i1"), UnorderedPool(1))
    check(sample("few", BLOCK + delta, "f2"), UnorderedPool(2))


@given(values=st.lists(st.integers(-128, 127), max_size=200), n_workers=st.integers(1, 9))
def test_any_bytes(values, n_workers):
    with small_sizes():
        check(np.array(values, "i1"), UnorderedPool(n_workers, seed=0))
