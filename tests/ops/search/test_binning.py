import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.search import binning
from sharedarray_ops.search.binning import (
    bincount,
    decided_by_edges,
    histogram,
    histogram_narrow,
)
from tests.ops.support import (
    INTEGERS,
    BarePool,
    RecordingPool,
    UnorderedPool,
    around,
    assert_same_bits,
    each_pool,
    outcome,
    sample,
    strided,
    unaligned,
    unchanged,
)

BLOCK = 32
CHUNK = 64


def small_sizes(patch):
    for name, size in {"BLOCK": BLOCK, "MIN_CHUNK": CHUNK, "MAX_COUNTS": 1 << 10}.items():
        patch.setattr(binning, name, size)


@pytest.fixture
def small(monkeypatch):
    small_sizes(monkeypatch)


def some_counts(n, dtype, seed=0):
    """Return numbers from 0, few of them large, that the dtype and 1,023 allow."""
    most = 2 if dtype == "?" else min(1 << 10, np.iinfo(dtype).max + 1)
    rng = np.random.default_rng([seed, n])
    return np.minimum(rng.zipf(1.3, n) - 1, rng.integers(0, most, n)).astype(dtype)


# bincount


@each_pool
@pytest.mark.parametrize("dtype", ["?", *INTEGERS])
def test_bincount_equals_numpy(small, dtype, pool):
    for n in around(BLOCK, CHUNK, 8 * CHUNK):
        x = some_counts(n, dtype)
        with unchanged(x):
            assert_same_bits(bincount(x, pool()), np.bincount(x.astype("i8")))


@given(
    n=st.integers(0, 700),
    dtype=st.sampled_from(["?", *INTEGERS, ">i4", ">u2", ">i8"]),
    n_workers=st.integers(0, 7),
    seed=st.integers(0, 1 << 20),
)
def test_bincount_of_any_array(n, dtype, n_workers, seed):
    with pytest.MonkeyPatch.context() as patch:
        small_sizes(patch)
        x = some_counts(n, dtype, seed)
        for same in (x, strided(x, 3), strided(x, -1), unaligned(x)):
            result = bincount(same, UnorderedPool(n_workers, seed))
            assert_same_bits(result, np.bincount(x.astype("i8")))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_8_bit_value_and_every_place(small, dtype):
    limit = min(np.iinfo(dtype).max, 1023)
    for n in (2, 3, 64, 65):
        for place in range(n):
            x = np.zeros(n, dtype)
            x[place] = limit
            assert_same_bits(bincount(x, BarePool()), np.bincount(x.astype("i8")))
    x = np.arange(limit + 1).astype(dtype)
    assert_same_bits(bincount(x, BarePool()), np.ones(limit + 1, np.intp))


@pytest.mark.parametrize("place", [0, 100, 499])
def test_bincount_leaves_what_it_cannot_count(small, place):
    for dtype in INTEGERS:
        for bad in (-1, 1024, np.iinfo(dtype).min, np.iinfo(dtype).max):
            if not np.iinfo(dtype).min <= bad <= np.iinfo(dtype).max or 0 <= bad < 1024:
                continue
            x = np.ones(500, dtype)
            x[place] = bad
            assert bincount(x, UnorderedPool(3)) is None, (dtype, bad)
    x = np.full(500, 1023)
    assert_same_bits(bincount(x, UnorderedPool(3)), np.bincount(x))


def test_few_elements_are_not_worth_many_counts(small):
    for n, n_chunks in ((CHUNK, 1), (3 * CHUNK, 3), (100 * CHUNK, 12)):
        pool = RecordingPool(3)
        bincount(np.zeros(n, np.int64), pool)
        assert pool.n_items == [n_chunks]


# histograms


@each_pool
def test_histogram_equals_numpy(small, pool):
    rng = np.random.default_rng(0)
    for n in (1, BLOCK - 1, BLOCK, BLOCK + 1, 1009):
        a = rng.standard_normal(n)
        a[::5] = np.round(a[::5])
        for bins, bounds in (
            (7, (-1.0, 1.0)),
            (np.linspace(-2, 2, 9), None),
            (np.array([0.0, 0.0, 1.0, 1.0]), None),
            (np.array([]), None),
            (np.array([1.0]), None),
        ):
            with unchanged(a):
                result = histogram(a, bins, bounds, pool())
            assert_same_bits(result, np.histogram(a, bins, bounds)[0])


NARROW = ["i1", "u1", "i2", "u2", "f2", ">i2", ">u2", ">f2"]


@each_pool
@pytest.mark.parametrize("dtype", NARROW)
def test_histogram_narrow_equals_numpy(dtype, pool):
    for distribution in ("bits", "specials", "few"):
        for n in (1, 2, 127, 1009):
            a = sample(distribution, n, dtype)
            for edges in (
                np.array([-40000.0, -3.5, -1, 0, 0.25, 7, 100, 70000]),
                np.array([-5, 0, 5, 5, 120]),
                np.array([0, 3], "f2"),
                np.array([3.0, np.nan]),
                np.array([0.0, np.nan, 1.0]),
                np.array([], int),
            ):
                with unchanged(a), np.errstate(invalid="ignore"):
                    result = histogram_narrow(a, edges, pool())
                    assert_same_bits(result, np.histogram(a, edges)[0])


def test_every_pattern_of_a_narrow_dtype():
    for dtype in NARROW:
        patterns = np.arange(1 << 8 * np.dtype(dtype).itemsize).astype(f"u{dtype[-1]}")
        a = patterns.view(np.dtype(dtype).newbyteorder("=")).astype(dtype)
        numbers = a[np.isfinite(a)].astype("f8")
        edges = np.linspace(numbers.min(), numbers.max(), 50)
        with np.errstate(invalid="ignore"):
            assert_same_bits(histogram_narrow(a, edges, BarePool()), np.histogram(a, edges)[0])


@given(
    dtype=st.sampled_from(["f2", "f4", "f8"]),
    low=st.floats(-1e4, 1e4, width=32),
    n_units=st.integers(1, 3000),
    n_bins=st.integers(1, 400),
    of_dtype=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_edges_decide_where_they_are_said_to(dtype, low, n_units, n_bins, of_dtype, seed):
    """Bins of a few units in the last place, where rounding moves elements the most."""
    first = float(np.asarray(low, dtype)) if of_dtype else low
    last = first + n_units * float(np.spacing(np.asarray(first, dtype)).astype("f8"))
    rng = np.random.default_rng(seed)
    kind, edges = outcome(lambda: np.histogram(np.zeros(0, dtype), n_bins, (first, last))[1])
    if kind == "returned" and decided_by_edges(first, last, edges):
        a = rng.uniform(first, last, 300).astype(dtype)
        a[:100] = rng.choice(edges, 100)
        a[100:130] = np.nextafter(a[:30], np.asarray(np.inf, dtype))
        a[130:160] = np.nextafter(a[:30], np.asarray(-np.inf, dtype))
        assert_same_bits(np.histogram(a, edges)[0], np.histogram(a, n_bins, (first, last))[0])


def test_decided_by_edges():
    def edges(first, last, n_bins, dtype="f8"):
        return np.linspace(first, last, n_bins + 1, dtype=dtype)

    assert decided_by_edges(0.0, 1.0, edges(0, 1, 10))
    assert decided_by_edges(0, 1000, edges(0, 1000, 100_000))
    assert decided_by_edges(np.float32(0), np.float32(1), edges(0, 1, 1000, "f4"))
    assert decided_by_edges(np.float16(0), np.float16(1), edges(0, 1, 10, "f2"))
    for first, last, dtype in (
        (0, 2**53, "f8"),  # integers that float64 rounds
        (-(2**53), 0, "f8"),
        (np.int64(2**60), np.int64(2**60 + 2**20), "f8"),
        (0.0, 1.0, "g"),
        (1e15, 1e15 + 3, "f8"),  # a few units a bin
        (1e6, 1e6 + 1, "f4"),
    ):
        assert not decided_by_edges(first, last, edges(first, last, 10, dtype)), (first, last)
    assert not decided_by_edges(0.0, 1.0, edges(0, 1, 200, "f2"))  # too few digits
    assert not decided_by_edges(-6e4, 6e4, edges(-6e4, 6e4, 10, "f2"))  # a width that overflows
