from contextlib import nullcontext
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import MapReduce
from sharedarray_ops.reduce import summation
from tests.ops.support import (
    DISTRIBUTIONS,
    POOLS,
    BarePool,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    sample,
    small_sizes,
    strided,
    unchanged,
)

SUMMABLE = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
SIZES = [0, 1, 2, 7, 127, 128, 129, 159, 160, 161, 319, 320, 321, 647, 1009, 2560, 4999, 10007]
SWAPPED_FLOATS = [">f4", ">f8"]


@pytest.fixture(autouse=True)
def no_warnings():
    with np.errstate(all="ignore"):
        yield


def check_tree(a, pool):
    with unchanged(a):
        total = summation.sum_tree(a, pool)
    if total is None:
        check_flagged(a)
        return
    assert total.shape == (1,)
    accumulates_in = np.dtype("f4") if a.dtype == np.float16 else np.add.reduce(a[:0]).dtype
    assert total.dtype == accumulates_in
    check_sum(total.astype(np.sum(a).dtype)[0], np.sum(a))


def check_flagged(a):
    """Check that NumPy has something to warn of, which is left to it."""
    wide = a.astype("f4") if a.dtype == np.float16 else a
    with (
        np.errstate(over="raise", invalid="raise"),
        pytest.raises(FloatingPointError, match=r"overflow|invalid"),
    ):
        np.sum(wide)


def check_sum(total, expected):
    if expected != expected:  # which NaN comes of NaN + NaN is the processor's choice
        assert total != total
        assert total.dtype == expected.dtype
    else:
        assert_same_bits(total, expected)


@each_pool
@pytest.mark.parametrize("dtype", SUMMABLE)
def test_same_bits_as_numpy(dtype, pool):
    with small_sizes():
        for distribution in ("random", "specials", "few", "sorted", "zeros"):
            for n in SIZES:
                check_tree(sample(distribution, n, dtype), pool())


@each_pool
@pytest.mark.parametrize("step", [1, 2, 3, -1, -2])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_strides_do_not_matter(dtype, step, pool):
    rng = np.random.default_rng(step + 2)
    with small_sizes():
        for n in SIZES:
            values = (rng.standard_normal(n) * 100).astype(dtype)
            check_tree(strided(values, step), pool())


@given(
    n=st.integers(0, 20_000),
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    n_workers=st.integers(1, 20),
    leaf=st.sampled_from([160, 200, 256, 1000, 5000]),
    step=st.sampled_from([1, 1, 3, -1]),
    seed=st.integers(0, 1 << 20),
)
def test_any_size_and_number_of_workers(n, dtype, n_workers, leaf, step, seed):
    a = strided(np.random.default_rng(seed).lognormal(0, 3, n).astype(dtype), step)
    with small_sizes() as patch:
        patch.setattr(summation, "LEAF", leaf)
        check_tree(a, UnorderedPool(n_workers, seed))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "u1", "?"])
def test_with_the_real_sizes(dtype):
    a = sample("random" if dtype != "f2" else "few", 3_000_017, dtype)
    for pool in (POOLS["thread-2"], POOLS["thread-7"], POOLS["bare"]):
        check_tree(a, pool())


def test_the_order_of_additions_shows_in_this_data():
    """Otherwise, no test here could fail for another tree."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(4999).astype("f4") for _ in range(20)]

    assert any(np.sum(a) != np.sum(a[:2500]) + np.sum(a[2500:]) for a in arrays)
    assert any(np.sum(a) != np.add.accumulate(a)[-1] for a in arrays)
    assert any(np.sum(a) != np.sum(a[::-1]) for a in arrays)


@pytest.mark.parametrize("n_workers", [1, 2, 3, 7])
def test_work_is_cut_for_all_workers(n_workers):
    pool = RecordingPool(n_workers)

    summation.sum_tree(np.ones(64 * summation.LEAF, "i1"), pool)

    assert pool.n_items[0] >= n_workers


def test_leaves_are_larger_than_a_block_of_numpy():
    with small_sizes():
        for n in range(2000, 2200):
            pool = RecordingPool(50)
            summation.sum_tree(np.ones(n), pool)
            sizes = [leaf.size for leaf in pool.maps[0]]
            assert min(sizes) > 128
            assert sum(sizes) == n


# the buffered way


@each_pool
@pytest.mark.parametrize("dtype", SWAPPED_FLOATS)
@pytest.mark.parametrize("buffer_size", [16, 64, 8192])
def test_foreign_byte_order_has_the_bits_of_the_buffered_loop(dtype, buffer_size, pool):
    rng = np.random.default_rng(buffer_size)
    before = np.setbufsize(buffer_size)
    try:
        with small_sizes() as patch:
            for leaf in (160, 1):
                patch.setattr(summation, "LEAF", leaf)
                for n in (1, 2, buffer_size - 1, buffer_size, buffer_size + 1, 5 * buffer_size + 7):
                    a = (rng.standard_normal(n) * 1000).astype(dtype)
                    for same in (a, strided(a, 3), strided(a, -1)):
                        with unchanged(same):
                            total = summation.sum_buffered(same, pool(), buffer_size)
                        assert total.shape == (1,)
                        assert_same_bits(total[0], np.sum(same))
    finally:
        np.setbufsize(before)


@given(
    n=st.integers(1, 5000),
    n_buffers=st.integers(1, 100),
    n_workers=st.integers(1, 20),
    dtype=st.sampled_from(SWAPPED_FLOATS),
    seed=st.integers(0, 1 << 20),
)
def test_any_buffer_size(n, n_buffers, n_workers, dtype, seed):
    a = np.random.default_rng(seed).lognormal(0, 3, n).astype(dtype)
    before = np.setbufsize(16 * n_buffers)
    try:
        with small_sizes():
            total = summation.sum_buffered(a, UnorderedPool(n_workers, seed), 16 * n_buffers)
        assert_same_bits(total[0], np.sum(a))
    finally:
        np.setbufsize(before)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("dtype", SWAPPED_FLOATS)
def test_buffered_sums_of_each_distribution(dtype, distribution):
    a = sample(distribution, 50_021, dtype)

    total = summation.sum_buffered(a, UnorderedPool(3), np.getbufsize())
    if total is None:
        check_flagged(a)
    else:
        check_sum(total[0], np.sum(a))


def test_buffered_with_the_real_sizes():
    a = np.random.default_rng(0).standard_normal(3_000_017).astype(">f8")

    for pool in (POOLS["thread-2"], POOLS["thread-7"]):
        assert_same_bits(summation.sum_buffered(a, pool(), np.getbufsize())[0], np.sum(a))


@pytest.mark.parametrize("pool", ["bare", "thread-2"])
def test_nothing_sums_to_zero(pool):
    pool = POOLS[pool]()
    assert_same_bits(summation.sum_tree(np.empty(0), pool), np.zeros(1))
    assert_same_bits(summation.sum_buffered(np.empty(0, ">f8"), pool, 8192), np.zeros(1))
    assert_same_bits(summation.sum_times(np.empty(0, "m8[s]"), pool), np.zeros(1, "m8[s]"))


# times


@each_pool
@pytest.mark.parametrize("dtype", ["m8[s]", "m8[D]", ">m8[ns]"])
def test_times_have_the_sum_of_numpy_or_none(dtype, pool):
    with small_sizes():
        for distribution, n in product(("few", "sorted", "specials", "random"), SIZES[1:]):
            a = sample(distribution, n, dtype)
            for same in (a, strided(a, 3), strided(a, -1)):
                with unchanged(same):
                    total = summation.sum_times(same, pool())
                if total is None:
                    integers = same.astype("i8").astype(object)  # as wide as it takes
                    assert np.isnat(same).any() or np.abs(integers).max() * n > 2**63 - 1
                else:
                    assert total.shape == (1,)
                    assert_same_bits(total[0], np.sum(same))


@pytest.mark.parametrize("n", [300, 4999])
def test_a_sum_of_times_near_the_limit(n):
    """What may pass -2**63 on the way is not for a tree; what cannot is."""
    largest = np.iinfo("i8").max // n
    for sign in (1, -1):
        with small_sizes():
            within = np.full(n, sign * largest).view("m8[s]")
            assert_same_bits(summation.sum_times(within, UnorderedPool(3))[0], np.sum(within))
            beyond = np.full(n, sign * (largest + 1)).view("m8[s]")
            assert summation.sum_times(beyond, UnorderedPool(3)) is None


def test_one_time_that_is_none_leaves_the_sum_to_numpy():
    for place in (0, 160, 2500, 4998):
        a = np.ones(4999, "i8").view("m8[s]")
        a[place] = "NaT"
        with small_sizes():
            assert summation.sum_times(a, UnorderedPool(3)) is None


# zeros, infinities, warnings


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_negative_zeros_sum_to_the_zero_of_numpy(dtype):
    with small_sizes():
        check_tree(np.full(1000, -0.0, dtype), UnorderedPool(3))
        check_tree(np.full(1000, 0.0, dtype), UnorderedPool(3))


@pytest.mark.parametrize("pool", ["bare", "thread-2", "serial-3"])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8"])
@pytest.mark.parametrize(
    ("low", "high", "kind", "text"),
    [
        ("max", "max", "over", "overflow"),
        ("inf", "-inf", "invalid", "invalid value"),
        ("-inf", "inf", "invalid", "invalid value"),
    ],
)
def test_floating_point_errors_are_left_to_numpy(low, high, kind, text, dtype, pool):
    """Within a leaf, and where leaves are added; without a warning or an error of their own."""
    limits = {"max": float(np.finfo(dtype).max), "inf": np.inf, "-inf": -np.inf}
    how = summation.sum_tree
    if dtype[0] == ">":
        how = lambda a, pool: summation.sum_buffered(a, pool, np.getbufsize())  # noqa: E731
    pool = POOLS[pool]()
    for first, second in ((0, 1), (3, 49_990)):
        a = np.zeros(50_000, dtype)
        a[first], a[second] = limits[low], limits[high]
        for way in ("warn", "ignore", "raise"):
            with small_sizes(), np.errstate(**{kind: way}):
                assert how(a, pool) is None
                with (
                    pytest.warns(RuntimeWarning, match=text)
                    if way == "warn"
                    else pytest.raises(FloatingPointError, match=text)
                    if way == "raise"
                    else nullcontext()
                ):
                    np.sum(a)


def test_bare_pool_and_mapreduce_agree():
    a = np.random.default_rng(3).standard_normal(100_003)
    with small_sizes():
        totals = {float(summation.sum_tree(a, p)[0]) for p in (BarePool(), MapReduce(np=2))}
    assert totals == {float(np.sum(a))}
