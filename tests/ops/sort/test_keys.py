import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort.keys import extent, is_rankable, ranking
from tests.ops.support import DISTRIBUTIONS, RANKABLE, sample, strided, unaligned, unchanged


def ranks_of(a, n_parts=1):
    """Return the ranks of `a` and its ranking, found in several parts."""
    parts = [part for part in np.array_split(a, n_parts) if part.size]
    rank = ranking([extent(part) for part in parts])
    out = np.full(a.size, 0xDEAD, np.uint64)
    rank.encode(a, out)
    return out, rank


def dense_ranks(a):
    """Number the values in NumPy's order, equal ones alike, by NumPy's own sort and search."""
    in_order = np.sort(a, kind="stable")
    return np.searchsorted(in_order, a, "left")


@pytest.mark.parametrize("dtype", RANKABLE)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_comparing_ranks_is_comparing_values(dtype, distribution):
    for n in (1, 2, 3, 500):
        a = sample(distribution, n, dtype)
        with unchanged(a):
            ranks, rank = ranks_of(a, n_parts=3)

        order = np.argsort(ranks, kind="stable")
        assert np.array_equal(order, np.argsort(a, kind="stable"))
        # Not only the order: equal values have equal ranks, and others do not.
        assert np.array_equal(np.unique(ranks, return_inverse=True)[1], dense(dense_ranks(a)))
        assert int(ranks.max()).bit_length() <= rank.n_bits <= 64


def dense(numbers):
    return np.unique(numbers, return_inverse=True)[1]


@pytest.mark.parametrize("dtype", RANKABLE)
def test_layout_does_not_matter(dtype):
    a = sample("specials", 301, dtype)
    expected, _ = ranks_of(a)

    for same in (strided(a, 3), strided(a, -2), unaligned(a)):
        assert np.array_equal(same.view(f"V{a.itemsize}"), a.view(f"V{a.itemsize}"))
        assert np.array_equal(ranks_of(same, n_parts=4)[0], expected)


@pytest.mark.parametrize("dtype", RANKABLE)
def test_the_smallest_value_has_rank_zero_and_no_bit_is_wasted(dtype):
    for distribution in ("few", "cluster", "specials"):
        ranks, rank = ranks_of(sample(distribution, 200, dtype))
        assert ranks.min() == 0
        assert int(ranks.max()).bit_length() == rank.n_bits


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "M8[s]", "m8[ns]", ">M8[D]"])
def test_missing_values_alone(dtype):
    a = np.array([np.nan] * 5, "f8") if dtype[-1] in "248" else np.array(["NaT"] * 5, dtype)
    a = a.astype(dtype)

    found = extent(a)
    assert (found.low, found.high, found.has_nan) == (None, None, True)
    ranks, rank = ranks_of(a)
    assert (ranks == ranks[0]).all()
    assert rank.n_bits <= 1


def test_one_part_of_missing_values_only():
    a = np.array([np.nan, np.nan, 1.0, -1.0, -np.inf, np.nan])

    ranks, _ = ranks_of(a, n_parts=3)

    assert dense(ranks).tolist() == [3, 3, 2, 1, 0, 3]


@pytest.mark.parametrize("dtype", ["i8", "u8", "M8[ns]", ">i8", ">u8"])
def test_the_whole_range_of_64_bits(dtype):
    integer = "u8" if "u8" in dtype else "i8"
    limits = np.iinfo(integer)
    values = [limits.max, limits.min, limits.min + 1, 0, limits.max - 1]
    a = np.array(values, integer).view(dtype.lstrip(">")).astype(dtype)

    ranks, rank = ranks_of(a)

    assert np.array_equal(np.argsort(ranks), np.argsort(a, kind="stable"))
    assert rank.n_bits == 64


@given(st.lists(st.floats(width=64), min_size=1, max_size=30))
def test_any_floats(values):
    a = np.array(values)

    ranks, _ = ranks_of(a, n_parts=2)

    assert np.array_equal(dense(ranks), dense(dense_ranks(a)))


def test_signalling_nan_is_data_and_no_error():
    a = np.array([0x7FF0000000000001, 0xFFF0000000000001, 0x3FF0000000000000], np.uint64)

    with np.errstate(all="raise"):
        for floats in (a.view("f8"), np.array([0x7C01, 0xFC01, 0x3C00], "u2").view("f2")):
            assert dense(ranks_of(floats)[0]).tolist() == [1, 1, 0]


@pytest.mark.parametrize("dtype", RANKABLE)
def test_numbers_up_to_64_bits_are_rankable(dtype):
    assert is_rankable(np.dtype(dtype))


@pytest.mark.parametrize("dtype", ["g", "c8", "c16", "S4", "U2", "V8", "O", "i4,f8"])
def test_other_dtypes_are_not_rankable(dtype):
    if np.dtype(dtype).itemsize == 8 and dtype == "g":
        pytest.skip("long double is double here")
    assert not is_rankable(np.dtype(dtype))
