import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import searching
from sharedarray.functions.searching import searchsorted
from sharedarray.memory.array import DISPATCH
from tests.functions.support import Untouched, layouts
from tests.ops.support import (
    DISTRIBUTIONS,
    POOLS,
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    cases,
    each_pool,
    outcome,
    sample,
    unchanged,
)

MIN = 40
SIZES = [0, 1, 2, MIN - 1, MIN, MIN + 1, 127, 1009]
SIDES = ("left", "right")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(searching, "MIN_SEARCHSORTED", MIN)


def check(a, v, pool, **kwargs):
    for side in SIDES:
        with unchanged(a, v):
            result = searchsorted(a, v, side, pool=pool, **kwargs)
        assert type(result) is SharedArray
        assert_same_bits(result, np.searchsorted(a, v, side, **kwargs))


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(small, dtype, pool):
    for distribution, n in cases(pool, SIZES):
        a = np.sort(sample(distribution, 300, dtype, 1))
        check(a, sample(distribution, n, dtype), pool())


@given(
    n=st.integers(0, 1200),
    m=st.integers(0, 300),
    dtypes=st.tuples(st.sampled_from(RANKABLE), st.sampled_from(RANKABLE)),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    with_sorter=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_any_arrays(n, m, dtypes, distribution, with_sorter, seed):
    a = sample(distribution, m, dtypes[0], seed)
    v = sample(distribution, n, dtypes[1], seed + 1)
    sorter = np.argsort(a) if with_sorter else None
    a = a if with_sorter else np.sort(a)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(searching, "MIN_SEARCHSORTED", MIN)
        for side in SIDES:
            kind, expected = outcome(lambda: np.searchsorted(a, v, side, sorter))  # noqa: B023
            result = outcome(
                lambda: searchsorted(a, v, side, sorter, pool=UnorderedPool(3))  # noqa: B023
            )
            assert result[0] == kind
            if kind == "returned":
                assert_same_bits(result[1], expected)
            else:
                assert result[1] is expected


def test_large_arrays():
    rng = np.random.default_rng(0)
    v = rng.standard_normal(300_007)
    for m in (100, 100_003):
        u = rng.standard_normal(m)
        check(np.sort(u), v, POOLS["thread-2"]())
        check(np.sort(u).astype("f4"), v, POOLS["thread-2"]())
        check(u, v, POOLS["thread-2"](), sorter=np.argsort(u))


@pytest.mark.parametrize("dtype", ["f8", "f4", ">i4"])
def test_processes(small, dtype):
    pool = MapReduce(np=3)
    a = sample("random", 300, dtype)
    for v in (sample("random", 500, dtype), sharedarray.array(sample("random", 500, "f8"))):
        check(np.sort(a), v, pool)
        check(np.sort(a)[::-1][::-1], v, pool)
        check(a, v, pool, sorter=np.argsort(a))


@pytest.mark.parametrize("dtype", ["f8", "i2", ">f4", "M8[s]", "?"])
def test_layouts(small, dtype, tmp_path):
    table, needles = np.sort(sample("few", 100, dtype)), sample("random", 200, dtype)
    for _, a in layouts(table, tmp_path):
        check(a, needles, UnorderedPool(2))
    for _, v in layouts(needles, tmp_path):
        check(table, v, UnorderedPool(2))
    for _, sorter in layouts(np.argsort(needles), tmp_path):
        check(needles, needles[::-1], UnorderedPool(2), sorter=sorter)


def test_shapes_of_the_needles(small):
    a = np.arange(100.0)
    v = np.random.default_rng(0).random((4, 5, 6)) * 110
    for needles in (v, np.asfortranarray(v), v.transpose(1, 0, 2), v[::2, ::-1], v[:0], v[:, :, 3]):
        check(a, needles, UnorderedPool(2))


def test_one_needle_gives_a_scalar():
    for v in (3, 3.5, np.float32(2), np.array(7)):
        result = searchsorted(sharedarray.arange(10), v)
        assert type(result) is np.intp
        assert result == np.searchsorted(np.arange(10), v)


def test_array_likes():
    for a, v in (([1, 2, 3], [2, 2.5]), ((1, 5), range(7)), ([], [1]), (["a", "c"], ["b"])):
        result = searchsorted(a, v)
        assert type(result) is SharedArray
        assert_same_bits(result, np.searchsorted(a, v))
    days = np.arange("2020-01-01", "2020-02-01", dtype="M8[D]")
    v = [datetime.date(2020, 1, 5)] * 3
    assert_same_bits(searchsorted(days, v), np.searchsorted(days, v))


OTHERS = {
    "complex": np.sort(np.arange(60) % 7 + 1j * (np.arange(60) % 5)),
    "longdouble": np.arange(60, dtype="g"),
    "bytes": np.sort(np.array([b"a", b"bc", b"", b"zz"] * 15)),
    "str": np.sort(np.array(["a", "bc", "", "zz"] * 15)),
    "object": np.array([1, 2, 3] * 1 + [4] * 57, object),
    "string": np.sort(np.array(["a", "b", "c"] * 20, np.dtypes.StringDType())),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_dtypes(small, name):
    a = OTHERS[name]
    for v in (a[::-1], np.concatenate([a, a])):
        for side in SIDES:
            result = searchsorted(a, v, side, pool=UnorderedPool(3))
            assert type(result) is SharedArray
            assert_same_bits(result, np.searchsorted(a, v, side))


def test_what_is_not_sorted_is_as_numpy_has_it(small):
    rng = np.random.default_rng(0)
    a, v = rng.random(300), rng.random(500)
    for table in (a, np.sort(a)[::-1], np.r_[np.sort(a), np.nan, 0.5], np.r_[np.nan, np.sort(a)]):
        check(table, v, UnorderedPool(3))
        check(table, v, UnorderedPool(3), sorter=rng.permutation(table.size))


def test_the_pool_is_used(small, monkeypatch):
    monkeypatch.setattr(searching, "MAX_TABLE", 3)
    monkeypatch.setattr(searching, "MAX_TABLE_WITH_SORTER", 2)
    rng = np.random.default_rng(0)
    for n, m, with_sorter, is_parallel in (
        (MIN - 1, 10, False, False),
        (MIN, 10, False, True),
        (MIN, 3 * MIN, False, True),
        (MIN, 3 * MIN + 1, False, False),
        (MIN, 2 * MIN, True, True),
        (MIN, 2 * MIN + 1, True, False),
        (MIN, 0, False, False),
    ):
        a = rng.random(m)
        pool = RecordingPool(2)
        sorter = np.argsort(a) if with_sorter else None
        check(a if with_sorter else np.sort(a), rng.random(n), pool, sorter=sorter)
        assert bool(pool.maps) is is_parallel, (n, m, with_sorter)


def test_numpy_is_led_here(small):
    assert DISPATCH[np.searchsorted] is DISPATCH[np.ndarray.searchsorted] is searchsorted
    a, v = np.arange(50.0), np.random.default_rng(0).random(99) * 50
    shared = sharedarray.array(a)
    expected = np.searchsorted(a, v, "right")
    for result in (
        np.searchsorted(shared, v, side="right"),
        np.searchsorted(a, sharedarray.array(v), "right"),
        DISPATCH[np.ndarray.searchsorted](shared, v, "right"),
        DISPATCH[np.ndarray.searchsorted](shared, v=v, side="right", sorter=np.arange(50)),
    ):
        assert type(result) is SharedArray
        assert_same_bits(result, expected)
    assert_same_bits(shared.searchsorted(sharedarray.array(v), "right"), expected)


# errors


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"side": "middle"},
        {"side": "l"},
        {"side": ""},
        {"side": 3},
        {"side": None},
        {"side": b"left"},
        {"sorter": [0.5]},
        {"sorter": [0]},
        {"sorter": np.arange(20.0)},
        {"sorter": np.arange(19)},
        {"sorter": np.arange(20).reshape(4, 5)},
        {"sorter": np.zeros(20, bool)},
        {"sorter": np.full(20, -1)},
        {"sorter": np.full(20, 20)},
        {"sorter": np.arange(20, dtype="u8")},
        {"sorter": np.arange(20, dtype="u1")},
        {"kind": "x"},
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arguments_are_judged_like_numpy(small, kwargs, n):
    a, v = np.arange(20), np.random.default_rng(0).integers(0, 25, n)
    expected = outcome(lambda: np.searchsorted(a, v, **kwargs))
    is_error = expected[0] == "raised"
    pool = Untouched() if is_error else UnorderedPool(2)
    result = outcome(lambda: searchsorted(a, v, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if is_error:
        assert result[1] is expected[1]
    else:
        assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("n", [10, 500])
def test_arrays_are_judged_like_numpy(small, n):
    v = np.arange(n)
    for a, needles in (
        (np.zeros((3, 3)), v),
        (np.float64(3), v),
        (np.arange(9), v.astype("M8[s]")),
        (np.arange(9), v.astype("U3")),
        (np.array([1, "a"], object), v),
        (np.arange(9).astype("M8[s]"), v.astype("m8[s]")),
        (np.zeros(9, "i4,f8"), v),
    ):
        expected = outcome(lambda: np.searchsorted(a, needles))  # noqa: B023
        result = outcome(lambda: searchsorted(a, needles, pool=UnorderedPool(2)))  # noqa: B023
        assert result[0] == expected[0]
        if result[0] == "raised":
            assert result[1] is expected[1]
        else:
            assert_same_bits(result[1], expected[1])


@pytest.mark.parametrize("n", [10, 500])
def test_masked_arrays_and_bad_pools_are_refused(small, n):
    a = np.arange(n)
    for args in ((np.ma.masked_equal(a, 3), a), (a, np.ma.masked_equal(a, 3))):
        with pytest.raises(TypeError, match="mask"):
            searchsorted(*args)
    for pool in (3, "thread", object()):
        with pytest.raises(TypeError, match="pool"):
            searchsorted(a, a, pool=pool)
