import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import MapReduce, empty
from sharedarray_ops.sort import selecting
from tests.ops.support import (
    DISTRIBUTIONS,
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    around,
    cases,
    each_pool,
    sample,
    strided,
    unaligned,
    unchanged,
)

BLOCK = 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(selecting, "BLOCK", BLOCK)


def ascending(a):
    with np.errstate(all="ignore"):
        return np.sort(a, kind="stable")


def scratch_for(a, pool=None):
    make = empty if isinstance(pool, MapReduce) else np.empty
    return make(a.size, selecting.key_dtype(a.dtype)).view(np.ndarray)


def check_select(a, ranks, pool, *, may_miss=False):
    with unchanged(a):
        found = selecting.select(a, ranks, scratch_for(a, pool), pool)
    if found is None:
        assert may_miss
    else:
        # Zeros are equal whatever their sign, and NaN whatever their bits.
        np.testing.assert_array_equal(found, ascending(a)[ranks], strict=True)
    return found


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_select_finds_what_a_sort_has_there(dtype, pool):
    for distribution, n in cases(pool, [n for n in around(BLOCK) if n]):
        if n:
            ranks = sorted({0, (n - 1) // 2, n // 2, n - 1})
            check_select(sample(distribution, n, dtype), ranks, pool())


@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", "u1", "M8[s]", ">f4", "?"])
def test_every_rank_of_its_own(dtype):
    for distribution in DISTRIBUTIONS:
        a = sample(distribution, 83, dtype)
        for rank in range(83):
            check_select(a, [rank], UnorderedPool(2))


@given(
    n=st.integers(1, 3000),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    n_workers=st.integers(1, 5),
)
def test_any_ranks(n, dtype, distribution, shares, n_workers):
    ranks = sorted({int(share * (n - 1)) for share in shares})
    a = sample(distribution, n, dtype)
    check_select(a, ranks, UnorderedPool(n_workers, seed=0), may_miss=len(shares) > 1)


def test_layouts():
    a = sample("specials", 500, "f4")
    for layout in (strided(a, 3), strided(a, -1), unaligned(a)):
        check_select(layout, [0, 250, 499], UnorderedPool(3))


def test_selection_extracts_little():
    a = sample("random", 200_003, "i8")
    pool = RecordingPool(2)
    scratch = np.zeros(a.size, "i8")

    found = selecting.select(a, [100_001], scratch, pool)

    assert found is not None
    assert len(pool.maps) == 1
    assert np.count_nonzero(scratch) < a.size / 10


def test_a_frequent_value_is_counted():
    a = sample("random", 100_003, "i8")
    a[: a.size * 3 // 4] = 5
    np.random.default_rng(0).shuffle(a)
    scratch = np.zeros(a.size, "i8")

    assert selecting.select(a, [a.size // 2], scratch, UnorderedPool(2)).tolist() == [5]
    assert np.count_nonzero(scratch) < a.size / 10


def test_a_misleading_sample_is_noticed():
    a = np.arange(100_000)
    a[selecting.sample_positions(a.size, -(-a.size // 16))] = -1
    assert selecting.select(a, [50_000], scratch_for(a), UnorderedPool(2)) is None


def test_too_many_brackets():
    a = np.arange(100_000)
    few = list(range(0, 100_000, 100_000 // selecting.MAX_BRACKETS))
    assert selecting.select(a, few, scratch_for(a), UnorderedPool(2)).tolist() == few
    assert (
        selecting.select(a, list(range(0, a.size, 6000)), scratch_for(a), RecordingPool(2)) is None
    )


def test_select_on_processes():
    for dtype in ("f8", "M8[s]", "f2"):
        check_select(sample("bits", 5003, dtype), [0, 2501, 5002], MapReduce(np=3))


def test_around_the_real_block(monkeypatch):
    monkeypatch.undo()
    for delta in (-1, 0, 1):
        check_select(sample("bits", 2 * selecting.BLOCK + delta, "f8"), [777], UnorderedPool(1))
