import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort import numbers
from tests.ops.support import (
    DISTRIBUTIONS,
    NATIVE,
    POOLS,
    RANKABLE,
    SWAPPED,
    UnorderedPool,
    around,
    assert_same_bits,
    canaries,
    cases,
    each_pool,
    sample,
    small_sizes,
    sorted_by_default,
    strided,
    unchanged,
)


def check(values, pool):
    with canaries(values.size, values.dtype) as a:
        a[:] = values
        a.view(np.uint8)[:] = values.view(np.uint8)  # an assignment may quiet a signalling NaN
        numbers.sort_numbers(a, pool)
        assert_same_bits(a, sorted_by_default(values))


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_same_bits_as_numpy_for_any_workers(dtype, pool):
    # Counting float16 costs 65,536 counts a block, so it gets the sizes that it cares for.
    sizes = (0, 1, 2, 49, 1009) if dtype.endswith("f2") else around(16, 32, 64)
    with small_sizes():
        for distribution, n in cases(pool, sizes):
            check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 2000),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(1, 20),
    seed=st.integers(0, 1 << 20),
)
def test_any_size_and_number_of_workers(n, dtype, distribution, n_workers, seed):
    with small_sizes():
        check(sample(distribution, n, dtype, seed), UnorderedPool(n_workers, seed))


@pytest.mark.parametrize("dtype", [*NATIVE, *SWAPPED[-3:]])
def test_with_the_real_sizes(dtype):
    check(sample("specials", 300_007, dtype), POOLS["thread-3"]())
    check(sample("bits", 300_007, dtype), POOLS["thread-2"]())


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_block(delta):
    for dtype in ("f8", "M8[s]", ">i4"):
        check(sample("zeros", numbers.BLOCK + delta, dtype), POOLS["thread-2"]())


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
def test_zeros_and_nan_have_one_order(dtype):
    a = np.array([0.0, -0.0, np.nan, -np.nan, 0.0, -0.0, -1.0, np.inf, -np.inf, 1.0], dtype)

    check(a, UnorderedPool(2))
    check(np.array([0.0, -0.0] * 50, dtype), UnorderedPool(3))
    check(np.array([0.0] * 50, dtype), UnorderedPool(3))
    check(np.array([-0.0] * 50, dtype), UnorderedPool(3))
    check(np.array([np.nan] * 50, dtype), UnorderedPool(3))


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]", ">M8[D]"])
def test_nat_last_beside_the_limits(dtype):
    limits = np.iinfo(np.int64)
    integers = [limits.min, limits.max, limits.min + 1, 0, limits.min, limits.max, -1, 1]
    for values in (integers, integers[1:4], [limits.min] * 9):
        check(np.array(values, f"{np.dtype(dtype).byteorder}i8").view(dtype), UnorderedPool(3))


class BreakingPool(UnorderedPool):
    """Fail in one of its maps."""

    def __init__(self, fails_at):
        super().__init__(2)
        self.fails_at = fails_at

    def map(self, func, sequence):
        self.fails_at -= 1
        if self.fails_at == 0:
            raise KeyboardInterrupt
        return super().map(func, sequence)


@pytest.mark.parametrize(
    ("dtype", "n_before"), [("i8", 0), (">i8", 1), (">f8", 1), ("M8[s]", 2), (">M8[s]", 3)]
)
def test_an_interrupted_sort_leaves_a_permutation(dtype, n_before):
    """In between, values are stored in another form: it is undone."""
    values = sample("random", 500, dtype)
    if "M" in dtype:
        values[::100] = np.datetime64("NaT")
    with small_sizes():
        for fails_at in (1, 2, 3):  # the passes of quicksort: partition, exchange, sort
            a = values.copy()
            with pytest.raises(KeyboardInterrupt):
                numbers.sort_numbers(a, BreakingPool(n_before + fails_at))
            assert_same_bits(np.sort(a, kind="stable"), np.sort(values, kind="stable"))


# needs_order


@each_pool
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f2", ">f8"])
def test_order_is_needed_where_equal_values_differ_in_bits(dtype, pool):
    plain = sample("sorted", 100, dtype)
    plain = plain[plain != 0]
    cases = [  # no dict: 0.0 and -0.0 would be one key
        ((), False),
        ((0.0,), False),
        ((-0.0,), False),
        ((0.0, 0.0), False),
        ((-0.0, -0.0), False),
        ((0.0, -0.0), True),
        ((-0.0, 0.0), True),
        ((np.nan,), True),
        ((np.inf, -np.inf), False),
    ]
    with small_sizes():
        for extra, needed in cases:
            for place in (0, 15, 16, 60, plain.size):
                a = np.insert(plain, place, np.array(extra, dtype))
                # The second zero far away from the first, in another block and another part.
                a = np.concatenate([a[place:], a[:place]]) if place % 2 else a
                with unchanged(a):
                    assert numbers.needs_order(a, pool()) is needed


def test_zeros_of_two_signs_in_different_parts():
    a = np.ones(100)
    a[3], a[97] = 0.0, -0.0

    with small_sizes():
        assert numbers.needs_order(a, UnorderedPool(4))
        assert numbers.needs_order(strided(a, -2), UnorderedPool(4))


def test_no_order_is_needed_for_integers_and_times():
    for dtype in ("?", "i8", "u2", "M8[s]", ">m8[s]"):
        assert not numbers.needs_order(sample("specials", 50, dtype), UnorderedPool(2))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
def test_zeros_of_both_signs(dtype):
    pool = UnorderedPool(3)
    a = np.ones(100, dtype)
    assert not numbers.has_both_zeros(a, pool)
    a[7] = 0
    assert not numbers.has_both_zeros(a, pool)
    a[90] = np.nan
    a[91] = -0.0
    assert numbers.has_both_zeros(a, pool)
    a[7] = -0.0
    assert not numbers.has_both_zeros(a, pool)
