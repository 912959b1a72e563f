import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.search import searching
from sharedarray_ops.search.searching import is_sorted, searchsorted
from tests.ops.support import (
    DISTRIBUTIONS,
    NATIVE,
    BarePool,
    RecordingPool,
    UnorderedPool,
    around,
    assert_same_bits,
    canaries,
    cases,
    each_pool,
    sample,
    strided,
    unaligned,
    unchanged,
)

BLOCK = 32
COMPLEX = ["c8", "c16"]


def small_blocks(patch):
    sizes = {
        "MIN_BLOCK": BLOCK,
        "MAX_BLOCK": 2 * BLOCK,
        "MIN_TABLE": 4,
        "COMPARED": 16,
        "SAMPLED": 3,
    }
    for name, size in sizes.items():
        patch.setattr(searching, name, size)


@pytest.fixture
def small(monkeypatch):
    small_blocks(monkeypatch)


def check(a, v, pool):
    for side in ("left", "right"):
        with unchanged(a, v), canaries(v.size, np.intp) as out:
            searchsorted(a, v, out, side, pool)
            assert_same_bits(out, np.searchsorted(a, v, side))
            searchsorted(a, v, out, side, pool, descending=True)
            assert_same_bits(out, a.size - np.searchsorted(a, v, side))


@each_pool
@pytest.mark.parametrize("dtype", NATIVE)
def test_equals_numpy(small, dtype, pool):
    for distribution, n in cases(pool, around(BLOCK, 2 * BLOCK)):
        v = sample(distribution, n, dtype)
        for a in (np.sort(sample(distribution, 300, dtype, 1)), np.sort(v[: n // 2]), v[:0]):
            check(a, v, pool())


@pytest.mark.parametrize("dtype", [*COMPLEX, "g", "S3", "U2"])
def test_dtypes_without_words(small, dtype):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 40, (2, 500))
    a, v = values.astype(dtype)
    if np.dtype(dtype).kind == "c":
        a, v = a + 1j * a[::-1], v - 1j * v[::-1]
        v[::7] = np.nan
    check(np.sort(a), v, UnorderedPool(3))


@given(
    n=st.integers(0, 900),
    m=st.integers(0, 300),
    dtype=st.sampled_from(NATIVE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    n_workers=st.integers(0, 7),
    seed=st.integers(0, 1 << 20),
)
def test_any_array(n, m, dtype, distribution, n_workers, seed):
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        a = np.sort(sample(distribution, m, dtype, seed))
        check(a, sample(distribution, n, dtype, seed + 1), UnorderedPool(n_workers, seed))


def test_layouts_and_dtypes_of_the_needles(small):
    a = np.sort(sample("random", 300, "f8"))
    for dtype in ("f8", ">f8", "f4", "i2", "?", ">i4"):
        v = sample("random", 400, dtype)
        for needles in (v, strided(v, 3), strided(v, -1), unaligned(v)):
            with canaries(v.size, np.intp) as out:
                searchsorted(a, needles, out, "left", UnorderedPool(2))
                assert_same_bits(out, np.searchsorted(a, v))


def test_real_sizes():
    rng = np.random.default_rng(0)
    v = rng.standard_normal(1_100_003)
    for m in (1, 31, 32, 1000, 200_003):
        check(np.sort(rng.standard_normal(m)), v, BarePool())


def test_needles_that_are_not_in_order_are_sorted(small, monkeypatch):
    sorted_blocks = []
    order = searching._order

    def noted(words):
        sorted_blocks.append(words.size)
        return order(words)

    monkeypatch.setattr(searching, "_order", noted)
    a, v = np.arange(100.0), np.random.default_rng(0).random(2 * BLOCK) * 100
    for needles, is_sorted_first in (
        (v, True),
        (np.sort(v), False),
        (np.sort(v)[::-1].copy(), False),
        (np.zeros_like(v), False),
        (3 + v / 100, False),  # all in one place
    ):
        check(a, needles, BarePool())
        assert bool(sorted_blocks) is is_sorted_first
        sorted_blocks.clear()
    runs = np.sort(v.reshape(-1, 8), axis=1).reshape(-1)
    for limit in (100, 99):
        monkeypatch.setattr(searching, "CACHED_TABLE", limit)
        check(a, runs, BarePool())
        assert bool(sorted_blocks) is (limit == 99)


@pytest.mark.parametrize("dtype", [code for code in NATIVE if code != "?"])
def test_the_order_is_one_of_the_leading_bits(dtype):
    for distribution in ("random", "cluster", "specials", "few", "sorted"):
        v = sample(distribution, 1009, dtype)
        order = searching._order(searching._words(v))
        assert np.array_equal(np.sort(order), np.arange(v.size))
        if distribution == "random" and v.dtype.kind != "f":
            assert (np.diff(v[order].astype("f8")) >= 0).all()


def test_outputs_are_touched_before_they_are_written(small):
    out = np.full(500, -1)
    seen = []

    def touch(part):
        assert (part == -1).all()
        seen.append(part.size)

    searchsorted(
        np.arange(9.0), np.random.default_rng(0).random(500), out, "left", BarePool(), touch
    )
    assert sum(seen) == 500


def test_large_tables_get_large_chunks(small):
    for m, n_chunks in ((4, 12), (10**4, 7)):
        pool = RecordingPool(3)
        v = np.zeros(7 * 2 * BLOCK)
        searchsorted(np.arange(float(m)), v, np.empty(v.size, np.intp), "left", pool)
        assert pool.n_items == [n_chunks]


# is_sorted


@each_pool
@pytest.mark.parametrize("dtype", [*NATIVE, *COMPLEX, ">f8", ">i4", "S3"])
def test_sorted_is_seen(small, dtype, pool):
    for n in (0, 1, 2, 15, 16, 17, 127):
        if np.dtype(dtype).kind in "cS":
            a = np.sort(np.random.default_rng(n).integers(0, 30, n).astype(dtype))
        else:
            a = np.sort(sample("specials", n, dtype))
        assert is_sorted(a, pool())


@pytest.mark.parametrize("dtype", [code for code in NATIVE if code != "?"])
def test_a_pair_that_is_not_in_order_is_seen(small, dtype):
    n = 80
    kind = np.dtype(dtype).kind
    a = np.arange(n).astype("i8" if kind in "mM" else dtype).view(dtype)
    missing = np.array("NaT" if kind in "mM" else np.nan if kind == "f" else 0).astype(dtype)
    assert is_sorted(a, UnorderedPool(2))
    for i in range(n - 1):
        b = a.copy()
        b[i], b[i + 1] = a[i + 1], a[i]
        assert not is_sorted(b, UnorderedPool(2)), i
        if 0 < i < n - 2 and kind in "fmM":
            b = a.copy()
            b[i:] = missing
            assert is_sorted(b, UnorderedPool(2)), i
            b[-1] = a[-1]
            assert not is_sorted(b, UnorderedPool(2)), i
            b = a.copy()
            b[[i, -1]] = missing
            assert not is_sorted(b, UnorderedPool(2)), i


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, np.inf, np.nan]), max_size=9))
def test_is_sorted_agrees_with_sorting(values):
    a = np.array(values)
    expected = np.array_equal(np.sort(a), a, equal_nan=True)
    assert is_sorted(a, BarePool()) is expected
