import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort import quicksort as module
from sharedarray_ops.sort.quicksort import quicksort
from tests.ops.support import (
    DISTRIBUTIONS,
    POOLS,
    RecordingPool,
    UnorderedPool,
    around,
    canaries,
    cases,
    each_pool,
    sample,
    small_sizes,
)

NUMBERS = ["i2", "i4", "i8", "u2", "u4", "u8", "f4", "f8"]


def check(values, pool):
    """Sort inside a larger buffer, compare values: the bits of zeros and NaN are not defined."""
    with canaries(values.size, values.dtype) as a:
        a[:] = values
        quicksort(a, pool)
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(a, np.sort(values))


@each_pool
@pytest.mark.parametrize("dtype", NUMBERS)
def test_equals_numpy(dtype, pool):
    with small_sizes():
        for distribution, n in cases(pool, around(16, 32, 64, 7 * 32)):
            check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 3000),
    dtype=st.sampled_from(NUMBERS),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(1, 33),
    seed=st.integers(0, 1 << 20),
)
def test_any_number_of_workers_in_any_order(n, dtype, distribution, n_workers, seed):
    with small_sizes():
        check(sample(distribution, n, dtype, seed), UnorderedPool(n_workers, seed))


@pytest.mark.parametrize("pool", ["thread-2", "thread-7"])
@pytest.mark.parametrize("distribution", ["random", "few", "organ_pipe", "zipf", "nan_heavy"])
def test_with_the_real_sizes(distribution, pool):
    for dtype in ("f8", "i4"):
        check(sample(distribution, 700_001, dtype), POOLS[pool]())


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_thresholds(delta):
    for n in (module.SMALL + delta, 2 * module.SMALL + delta, module.BLOCK + delta):
        check(sample("bits", n, "f4"), UnorderedPool(4))


@pytest.mark.parametrize("share_of_smallest", [0, 0.3, 0.6])
@pytest.mark.parametrize("dtype", ["i8", "f4"])
def test_work_is_cut_for_all_workers(dtype, share_of_smallest):
    """Where the smallest value is so frequent that it is the splitter, it goes to the low side."""
    rng = np.random.default_rng(0)
    a = rng.integers(1, 1 << 20, 1 << 18).astype(dtype)
    a[rng.random(a.size) < share_of_smallest] = 0
    pool = RecordingPool(4)

    quicksort(a, pool)

    sorted_by_one = [share.stop - share.start for share in pool.maps[-1]]
    assert sum(sorted_by_one) == a.size
    assert pool.n_items[0] == 4
    assert max(sorted_by_one) < max(0.4, share_of_smallest + 0.1) * a.size


def test_a_small_array_is_one_task():
    pool = RecordingPool(4)

    quicksort(sample("random", module.LEAST, "f8"), pool)

    assert pool.n_items == [1]


def test_a_splitter_among_nan_does_not_degenerate():
    """All but a few values are NaN: every level still ends, and everything is in place."""
    for n_numbers in (0, 1, 5, 600):
        a = np.full(3000, np.nan)
        a[:: 3000 // max(1, n_numbers)][:n_numbers] = np.arange(n_numbers)[::-1]
        with small_sizes():
            check(a, UnorderedPool(8, seed=2))
