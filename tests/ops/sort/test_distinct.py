"""Few distinct values: counted and written anew, or left to others, untouched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.plan import Chunk
from sharedarray_ops.sort import distinct
from sharedarray_ops.sort.columns import Key, columns_of, survey
from sharedarray_ops.sort.distinct import argsort_by_masks, sort_by_counts
from tests.functions.wide_support import WIDE, descending_order, wide_sample
from tests.ops.support import (
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    canaries,
    each_pool,
    sample,
    small_sizes,
    specials,
)


def of_values(values, n, seed=0):
    """Return `n` elements, each of the values among them."""
    rng = np.random.default_rng(seed)
    index = np.concatenate([np.arange(len(values)), rng.integers(0, len(values), n)])[:n]
    return values[rng.permutation(index)]


def argsort_by_codes(key, words, pool, touch):
    return distinct.argsort_by_codes(key, words, pool, touch, distinct.BLOCK)


def comparable(a):
    return a.view(np.uint8) if a.dtype.kind == "b" else a


def key_of(a):
    columns = columns_of(a)
    return Key.of(columns, survey(columns, Chunk(0, a.size)))


def n_different(key, where):
    keys = np.empty(where.stop if isinstance(where, slice) else where.size, np.uint64)
    key.write(where, key.n_bits, 0, keys)
    return np.unique(keys).size


# argsort by masks


@pytest.mark.parametrize("dtype", RANKABLE)
@pytest.mark.parametrize("descending", [False, True])
def test_masks(dtype, descending):
    for n in (40, 41, 300):
        for k in range(1, 6):
            a = of_values(np.unique(specials(dtype))[:k].astype(dtype), n)
            expected = descending_order(a) if descending else np.argsort(a, kind="stable")
            with small_sizes(), canaries(n, np.uint64) as words:
                found = argsort_by_masks(
                    comparable(a), words, UnorderedPool(3), None, descending=descending
                )
                if found:
                    assert_same_bits(words.view(np.intp), expected)
                assert found is (np.unique(a).size <= distinct.MAX_MASKS)


def test_masks_of_nan_and_zeros():
    """All NaN are one value, and zeros of both signs another."""
    values = np.array([np.nan, -np.nan, 0.0, -0.0, 1.0])
    for code in ("f2", "f4", "f8", ">f8"):
        a = of_values(values.astype(code), 400)
        for descending in (False, True):
            words = np.empty(400, np.uint64)
            with small_sizes():
                assert argsort_by_masks(a, words, UnorderedPool(3), None, descending=descending)
            expected = descending_order(a) if descending else np.argsort(a, kind="stable")
            assert_same_bits(words.view(np.intp), expected)


# argsort by codes


@given(
    n=st.integers(40, 900),
    n_values=st.integers(1, 14),
    name=st.sampled_from(["i8", "f8", "u1", "c8", "S3", "numbers", "V4", "U1"]),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
)
def test_codes(n, n_values, name, n_workers, seed):
    a = of_values(wide_sample("bits", n_values, name, seed), n, seed)
    key = key_of(a)
    with small_sizes(), canaries(n, np.uint64) as words:
        found = argsort_by_codes(key, words, UnorderedPool(n_workers, seed), None)
        if found:
            assert_same_bits(words.view(np.intp), np.argsort(a, kind="stable"))
        if key.n_bits <= 64:
            sampled = distinct.sample_positions(n)
            n_sampled, n_all = n_different(key, sampled), n_different(key, slice(0, n))
            is_known = n_sampled == n_all or key.n_bits <= 8
            assert found is (n_sampled <= distinct.MAX_CODES and is_known)
        else:
            assert not found


@pytest.mark.parametrize("n_values", [1, 2, 8, 9, 200, 255, 256, 257])
def test_codes_with_the_real_sizes(n_values):
    for values in (np.arange(n_values), np.arange(n_values) * 12345678901234567):
        a = of_values(values, distinct.MIN_SIZE + 12345)
        words = np.empty(a.size, np.uint64)
        found = argsort_by_codes(key_of(a), words, RecordingPool(2), None)
        assert found is (n_values <= distinct.MAX_CODES)
        if found:
            assert_same_bits(words.view(np.intp), np.argsort(a, kind="stable"))


@pytest.mark.parametrize("dtype", ["S8", "U2", "c8", "i4,i4"])
def test_codes_of_wide_elements_with_the_real_sizes(dtype):
    values = np.zeros(100, WIDE.get(dtype, np.dtype(dtype)))
    values.view(np.uint8)[:] = np.random.default_rng(0).integers(65, 70, values.nbytes)
    if dtype == "U2":
        values.view("u4")[:] &= 0x7F
    a = of_values(values, distinct.MIN_SIZE)
    words = np.empty(a.size, np.uint64)
    assert argsort_by_codes(key_of(a), words, UnorderedPool(3), None) is (key_of(a).n_bits <= 64)
    if key_of(a).n_bits <= 64:
        assert_same_bits(words.view(np.intp), np.argsort(a, kind="stable"))


# a value that the sample has not seen


@pytest.mark.parametrize("where", [0, 1, 65_535, 65_536, 131_071, 131_072, -1])
def test_one_value_that_no_sample_sees(where):
    """It is found in the count, wherever it is, and everything is left to others."""
    n = 200_000
    a = np.arange(n) % 3
    sampled = set(distinct.sample_positions(n).tolist())
    i = where % n
    while i in sampled:
        i = (i + 1) % n
    a[i] = 77
    before, words = a.copy(), np.full(n, 99, np.uint64)
    for n_workers in (1, 2, 4, 7):
        pool = UnorderedPool(n_workers)
        assert not argsort_by_masks(a, words, pool, None, descending=False)
        assert not argsort_by_codes(key_of(a), words, pool, None) or key_of(a).n_bits <= 8
    assert not sort_by_counts(a, UnorderedPool(distinct.MIN_WORKERS))
    assert np.array_equal(a, before)


# sort by counts


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "u2", "u4", "u8"])
def test_counts(dtype):
    for n in (40, 300):
        for k in (1, 2, 5, 6, 7):
            values = np.unique(specials(dtype))[:k]
            for n_workers in (1, 2, 3, 4, 9):
                with small_sizes(), canaries(n, dtype) as a:
                    a[:] = of_values(values, n)
                    before = a.copy()
                    if sort_by_counts(a, UnorderedPool(n_workers)):
                        assert_same_bits(a, np.sort(before))
                    else:
                        assert np.array_equal(a, before)
                        assert values.size > distinct.MAX_COUNTS or n_workers < distinct.MIN_WORKERS


@each_pool
def test_counts_of_each_pool(pool):
    for n in (0, 1, 39, 40, 500):
        a = sample("few", n, "i8")
        expected = np.sort(a)
        with small_sizes():
            found = sort_by_counts(a, pool())
        assert found or n < 40
        if found:
            assert_same_bits(a, expected)


def test_many_values_are_left_alone():
    a = sample("random", 500, "i8")
    before, words = a.copy(), np.full(500, 99, np.uint64)
    with small_sizes():
        for n_workers in (1, 4):
            pool = UnorderedPool(n_workers)
            assert not sort_by_counts(a, pool)
            assert not argsort_by_masks(a, words, pool, None, descending=False)
            assert not argsort_by_codes(key_of(a), words, pool, None)
    assert np.array_equal(a, before)
    assert (words == 99).all()


def test_what_is_written_is_touched_before():
    a = of_values(np.array([1, 5, 7]), 400)
    for by in ("masks", "codes"):
        words = np.full(400, 99, np.uint64)
        touched = []

        def touch(part, touched=touched):
            assert (part == 99).all()
            touched.append(part.size)

        with small_sizes():
            if by == "masks":
                assert argsort_by_masks(a, words, UnorderedPool(3), touch, descending=False)
            else:
                assert argsort_by_codes(key_of(a), words, UnorderedPool(3), touch)
        assert sum(touched) == 400
