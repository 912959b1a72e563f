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
    assert_same_bits,
    canaries,
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


# select


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
    a[selecting._sample_positions(a.size)] = -1
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


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f8"])
def test_zeros_of_both_signs(dtype):
    pool = UnorderedPool(3)
    a = np.ones(100, dtype)
    assert not selecting.has_both_zeros(a, pool)
    a[7] = 0
    assert not selecting.has_both_zeros(a, pool)
    a[90] = np.nan
    a[91] = -0.0
    assert selecting.has_both_zeros(a, pool)
    a[7] = -0.0
    assert not selecting.has_both_zeros(a, pool)


# argpartition


def check_argpartition(a, ranks, pool):
    pivots = ascending(a)[ranks]
    out = empty(a.size, np.intp).view(np.ndarray)
    with unchanged(a):
        selecting.argpartition(a, pivots, out, pool)
    assert np.array_equal(np.sort(out), np.arange(a.size))
    with np.errstate(all="ignore"):
        result = a[out]
        np.testing.assert_array_equal(result[ranks], pivots)
        for rank, start in zip([*ranks, a.size], [0, *ranks], strict=True):
            np.testing.assert_array_equal(
                ascending(result[start:rank]), ascending(a)[start:rank], strict=True
            )
    return out


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_argpartition(dtype, pool):
    for distribution, n in cases(pool, (1, 2, 127)):
        if n:
            check_argpartition(sample(distribution, n, dtype), sorted({n // 3, n - 1}), pool())


def test_argpartition_is_the_same_for_any_number_of_workers():
    a = sample("few", 1009, "f4")
    expected = check_argpartition(a, [300, 500, 700], UnorderedPool(1))
    for n_workers in (2, 3, 7):
        assert_same_bits(check_argpartition(a, [300, 500, 700], UnorderedPool(n_workers)), expected)


def test_argpartition_on_processes():
    check_argpartition(sample("nan_heavy", 1009, "f8"), [10, 50, 1000], MapReduce(np=3))


def test_argpartition_touches_its_output():
    out = np.empty(1009, np.intp)
    touched = []
    selecting.argpartition(
        np.arange(1009),
        np.array([5]),
        out,
        UnorderedPool(3),
        lambda part: touched.append(part.size),
    )
    assert sum(touched) == 1009


# take


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5)),
    n_indices=st.integers(0, 100),
    dtype=st.sampled_from(["f8", ">i2", "S3", "i4,f8"]),
    mode=st.sampled_from(["clip", "wrap"]),
    n_workers=st.integers(1, 7),
)
def test_take(shape, n_indices, dtype, mode, n_workers):
    values = np.arange(np.prod(shape)).reshape(shape)
    a = np.zeros(shape, dtype)
    a[...] = values.astype(a.dtype if a.dtype.names is None else "i4")
    indices = np.random.default_rng(0).integers(-20, 20, n_indices).astype("i2")
    with unchanged(a, indices), canaries(shape[0] * n_indices * shape[2], a.dtype) as room:
        out = room.reshape(shape[0], n_indices, shape[2])
        selecting.take(a, indices, out, mode, UnorderedPool(n_workers, seed=1))
        assert_same_bits(out, np.take(a, indices, 1, mode=mode))
        bounded = indices % (2 * shape[1]) - shape[1]
        assert selecting.take(a, bounded, out, "raise", UnorderedPool(n_workers))
        assert_same_bits(out, np.take(a, bounded, 1))
        for bad in (shape[1], -shape[1] - 1):
            if n_indices:
                bounded[-1] = bad
                assert not selecting.take(a, bounded, out, "raise", UnorderedPool(n_workers))


# lanes


@each_pool
def test_apply_along(pool):
    a = np.random.default_rng(0).random((5, 23, 3))
    for axis in (0, 1, 2):
        for cut in {0, 1, 2} - {axis}:
            out_axis = cut - (axis < cut)
            out = empty((5, 23, 3)[:axis] + (5, 23, 3)[axis + 1 :])
            selecting.apply_along(lambda x, axis=axis: x.max(axis), a, cut, out, out_axis, pool())
            assert_same_bits(out, a.max(axis))


def test_apply_along_on_processes():
    a = np.random.default_rng(0).random((5, 23))
    out = empty((5, 23))
    selecting.apply_along(lambda x: np.sort(x, 0), a, 1, out, 1, MapReduce(np=3))
    assert_same_bits(out, np.sort(a, 0))
