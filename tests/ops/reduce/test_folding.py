import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.reduce import folding
from sharedarray_ops.reduce.folding import Fold, cut, extremes, find, find_extreme, fold
from tests.ops.support import (
    BarePool,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    sample,
)

SUM = Fold(lambda a, axes: np.add.reduce(a, axis=axes, keepdims=True))
MAX = Fold(lambda a, axes: np.maximum.reduce(a, axis=axes, keepdims=True), np.maximum)
KINDS = {"f8": None, "f4": None, "f2": None, "D": None, ">f8": None, "i4": "f8", "f2 ": "f4"}


SMALL = {"CHUNK_NBYTES": 400, "CACHED_NBYTES": 200, "RUN_NBYTES": 1, "COPIED_RUN_NBYTES": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, size in SMALL.items():
        monkeypatch.setattr(folding, name, size)


def values(shape, dtype="f8"):
    return np.random.default_rng(0).lognormal(0, 2, shape).astype(dtype)


@given(
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    data=st.data(),
    n_workers=st.integers(0, 9),
)
def test_cuts_cover_an_axis_once(shape, data, n_workers):
    a = np.zeros(shape).transpose(data.draw(st.permutations(range(len(shape)))))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, a.ndim - 1), min_size=1))))
    for how in (SUM, MAX, SUM._replace(makes_copies=True)):
        plan = cut(a, axes, how, UnorderedPool(n_workers))
        if plan is None:
            continue
        ends = [0, *(chunk.stop for chunk in plan.chunks)]
        assert [chunk.start for chunk in plan.chunks] == ends[:-1]
        assert ends[-1] == a.shape[plan.axis]
        assert len(plan.chunks) > 1
        assert plan.is_kept is (plan.axis not in axes)
        if plan.is_kept:  # a chunk of length 1 would be added up in another order
            assert min(chunk.size for chunk in plan.chunks) >= 2
        else:
            assert how.combine is not None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        *(((40, 50, 13), axes) for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))),
        *(((9000, 5), axes) for axes in ((0,), (1,))),
        *(((5, 20_000), axes) for axes in ((0,), (1,))),
        ((3, 4, 5, 60), (1, 3)),
    ],
)
def test_sums_along_kept_axes_have_numpys_bits(shape, axes, kind):
    dtype = KINDS[kind]
    how = Fold(lambda a, axes: np.add.reduce(a, axis=axes, dtype=dtype, keepdims=True))
    with np.errstate(all="ignore"):
        c = values(shape, kind.strip())
        for a in (c, np.asfortranarray(c), c[::-1], c[..., ::-1]):
            expected = how.reduce(a, axes)
            for n_workers in (1, 2, 3, 7):
                out = np.empty_like(expected)
                plan = cut(a, axes, how, UnorderedPool(n_workers))
                if plan is None:
                    continue
                if fold(how, a, axes, plan, out, UnorderedPool(n_workers, seed=1)):
                    assert_same_bits(out, expected)


def test_chunks_of_length_one_would_show():
    """Otherwise, nothing here would fail without the rule that no chunk has length 1."""
    a = values((40, 3000), "f4")
    whole = np.add.reduce(a, axis=0, keepdims=True)
    alone = np.concatenate(
        [np.add.reduce(a[:, i : i + 1], axis=0, keepdims=True) for i in range(3000)], axis=1
    )
    assert whole.tobytes() != alone.tobytes()


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("shape", [(2000, 3), (3, 2000), (50, 50), (1, 3000)])
def test_extremes_may_be_cut_along_any_axis(shape, axes):
    for dtype in ("f8", "i4", ">u2", "D"):
        a = values(shape, dtype)
        a[-1, -1] = 0
        expected = MAX.reduce(a, axes)
        pool = UnorderedPool(3, seed=1)
        plan = cut(a, axes, MAX, pool)
        if plan is not None:
            out = np.empty_like(expected)
            assert fold(MAX, a, axes, plan, out, pool)
            assert_same_bits(out, expected)
        elif shape[0] > 1:
            pytest.fail("there is no cut")


def test_results_of_workers_are_small():
    for n_columns, is_kept in ((100, False), (8192, False), (8193, True), (20_000, True)):
        assert cut(np.ones((40, n_columns)), (0,), MAX, BarePool()).is_kept is is_kept


def test_flags_are_reported():
    a = np.full((40, 50), np.finfo("f8").max)
    out = np.empty((1, 50))
    plan = cut(a, (0,), SUM, UnorderedPool(2))
    with np.errstate(over="raise"):
        assert not fold(SUM, a, (0,), plan, out, UnorderedPool(2))
    nothing = Fold(lambda a, axes: None)
    assert not fold(nothing, values((40, 50)), (0,), plan, out, UnorderedPool(2))


@pytest.mark.parametrize("shape", [(1,), (2,), (3001,), (40, 60), (1, 3000), (3000, 1)])
def test_searches(shape):
    cell = np.zeros(1, np.intp)
    rng = np.random.default_rng(0)
    size = int(np.prod(shape))
    for where in ([], [0], [size - 1], list(rng.integers(0, size, 3))):
        a = np.zeros(shape)
        a.reshape(-1)[where] = 1
        for same in (a, a.T, a[::-1], a != 0, a.astype("i1"), np.where(a == 1, np.nan, a)):
            for pool in (BarePool(), UnorderedPool(3), UnorderedPool(7, seed=3)):
                assert find(np.any, True, same, cell, pool) is bool(np.any(same))
                assert find(np.all, False, same == 0, cell, pool) is bool(np.all(same == 0))
                for function in (np.argmin, np.argmax):
                    assert find_extreme(function, same, cell, pool) == function(same)


def test_both_extremes():
    for dtype in ("f8", "i1", "M8[s]", "F"):
        for n in (1, 2, 49, 50, 51, 3001):
            a = np.random.default_rng(n).integers(-100, 100, n).astype("i8").astype(dtype)
            pool = RecordingPool(2)
            low, high = extremes(a, pool)
            assert_same_bits(low, np.min(a, keepdims=True))
            assert_same_bits(high, np.max(a, keepdims=True))
            assert pool.n_items[0] >= min(n, 16) // 2


@each_pool
@pytest.mark.parametrize("dtype", ["i1", "u8", "f2", "f4", "f8", ">f8", ">i4"])
def test_extremes(dtype, pool):
    for n in (1, 2, 47, 49, 509):
        for distribution in ("random", "sorted", "reversed", "equal"):
            a = sample(distribution, n, dtype)
            for result, expected in zip(extremes(a, pool()), (a.min(), a.max()), strict=True):
                assert_same_bits(result[0], expected)
                assert type(result[0]) is type(expected)


@pytest.mark.parametrize("place", [0, 50, 499])
def test_extremes_of_nan(place):
    a = np.arange(500.0)
    a[place] = np.nan
    assert np.isnan(extremes(a, UnorderedPool(3))).all()
