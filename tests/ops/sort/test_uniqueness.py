import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import MapReduce, empty
from sharedarray_ops.sort import uniqueness
from tests.ops.support import (
    RANKABLE,
    UnorderedPool,
    around,
    assert_same_bits,
    cases,
    each_pool,
    sample,
    unchanged,
)

BLOCK = 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(uniqueness, "BLOCK", BLOCK)


def found(a, pool, *, equal_nan=True):
    """Return what the functions find in `a`: values, index, inverse, counts."""
    order = np.argsort(a, kind="stable")
    ascending = a[order]
    with unchanged(ascending, order):
        firsts = uniqueness.find_firsts(ascending, pool, equal_nan=equal_nan)
        values = empty(firsts.n_unique, a.dtype).view(np.ndarray)
        index, counts = (empty(firsts.n_unique, np.intp).view(np.ndarray) for _ in range(2))
        inverse = empty(a.size, np.intp).view(np.ndarray)
        uniqueness.write_firsts(ascending, ascending, firsts, values, pool)
        uniqueness.write_firsts(ascending, order, firsts, index, pool)
        uniqueness.write_inverse(ascending, order, firsts, inverse, pool)
        uniqueness.write_counts(ascending, firsts, counts, pool)
    return values, index, inverse, counts


def check(a, pool):
    with np.errstate(all="ignore"):
        for equal_nan in (True, False):
            expected = np.unique(a, True, True, True, equal_nan=equal_nan)
            result = found(a, pool, equal_nan=equal_nan)
            assert_same_bits(result[0], expected[0])
            for ours, theirs in zip(result[1:], expected[1:], strict=True):
                assert_same_bits(ours, theirs)


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(dtype, pool):
    for distribution, n in cases(pool, [1, *around(BLOCK)]):
        if n:
            check(sample(distribution, n, dtype), pool())


@given(
    n=st.integers(1, 600),
    dtype=st.sampled_from([*RANKABLE, "c8", "c16", "S2", "g"]),
    n_values=st.integers(1, 300),
    n_workers=st.integers(1, 9),
)
def test_any_array(n, dtype, n_values, n_workers):
    a = np.random.default_rng(n).integers(0, n_values, n)
    dtype = np.dtype(dtype)
    check(
        a.view(dtype) if dtype.kind in "mM" and dtype.isnative else a.astype(dtype),
        UnorderedPool(n_workers, seed=0),
    )


def test_complex_numbers_with_nan_count_as_one():
    parts = [1, np.nan, 0]
    a = np.array([complex(x, y) for x in parts for y in parts] * 9)
    check(a, UnorderedPool(3))
    assert found(a, UnorderedPool(2))[0].size == 5


@pytest.mark.parametrize("n_nan", [1, 15, 16, 17, 99, 100])
def test_nan_anywhere_about_the_borders(n_nan):
    a = np.arange(100.0)
    a[-n_nan:] = np.nan
    for n_workers in (1, 2, 7):
        check(a, UnorderedPool(n_workers))


def test_real_blocks(monkeypatch):
    monkeypatch.undo()
    for delta in (-1, 0, 1):
        for distribution in ("few", "equal", "sorted"):
            check(sample(distribution, 2 * uniqueness.BLOCK + delta, "i4"), UnorderedPool(1))


def test_processes():
    for distribution in ("bits", "few", "nan_heavy"):
        check(sample(distribution, 1009, "f8"), MapReduce(np=3))
