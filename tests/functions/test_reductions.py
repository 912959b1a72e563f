import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce
from sharedarray.functions import averages, extremes, sums, thresholds, truth
from sharedarray.memory.array import DISPATCH
from sharedarray_ops.reduce import folding
from tests.functions.reductions_support import (
    DTYPES,
    OURS,
    REDUCTIONS,
    SHAPES,
    SIZES,
    arranged,
    check_call,
    numbers,
    small_reductions,
    with_specials,
)
from tests.functions.support import layouts
from tests.ops.support import POOLS, RecordingPool, UnorderedPool, sample


@pytest.fixture
def small():
    with small_reductions() as patch:
        yield patch


# values


@pytest.mark.parametrize("pool", ["bare", "backwards-3", "shuffled-7", "thread-2"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_all_elements(small, name, pool):
    pool = POOLS[pool]()
    for dtype in DTYPES:
        for n in SIZES if not isinstance(pool, MapReduce) else SIZES[-2:]:
            check_call(name, numbers((n,), dtype), pool=pool)


@given(data=st.data())
def test_any_array_and_axis(data):
    draw = data.draw
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    a = numbers(shape, draw(st.sampled_from(DTYPES)), int(rng.integers(100)))
    a = with_specials(a, draw(st.sampled_from(["", "nan", "many nan", "few", "zeros"])), rng)
    a = arranged(a, draw(st.integers(0, 99)), draw(st.sampled_from([[1], [1], [-1], [2, 1]])))
    if draw(st.booleans()):
        a = sharedarray.array(a, order="K")
    name = draw(st.sampled_from(REDUCTIONS))
    axis = draw(st.one_of(st.none(), st.integers(-a.ndim, a.ndim - 1)))
    if name not in ("argmin", "argmax") and draw(st.integers(0, 3)) == 0:
        axis = tuple(draw(st.lists(st.integers(0, a.ndim - 1), min_size=1, unique=True)))
    kwargs = {"keepdims": True} if draw(st.booleans()) else {}
    if name in ("sum", "mean", "var", "std") and draw(st.integers(0, 3)) == 0:
        kwargs["dtype"] = draw(st.sampled_from(["f8", "f4", "i8", "f2", "D", "g"]))
    pool = UnorderedPool(draw(st.integers(1, 9)), seed=1)
    with small_reductions():
        check_call(name, a, pool=pool, axis=axis, **kwargs)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_layouts(small, name, tmp_path):
    for dtype in ("f8", "f2", "i4", ">f4", "D", "M8[s]"):
        for _, a in layouts(numbers((3001,), dtype), tmp_path):
            check_call(name, a, pool=UnorderedPool(3))


@pytest.mark.parametrize("kind", ["nan", "many nan", "infinity", "few", "zeros"])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_special_values(small, name, kind):
    rng = np.random.default_rng(0)
    for dtype in ("f8", "f2", "g", "F", "i4", "?", "m8[s]", ">f8"):
        for shape in ((3001,), (40, 60)):
            a = with_specials(numbers(shape, dtype), kind, rng)
            for axis in (None, *range(a.ndim)):
                check_call(name, a, pool=UnorderedPool(3), axis=axis)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_processes(small, name):
    """Workers that share nothing but what is meant to be shared."""
    pool = MapReduce(np=3)
    for dtype in ("f8", "i4", "D"):
        a = numbers((60, 50), dtype)
        for axis in (None, 0, 1):
            check_call(name, a, axis=axis, pool=pool)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_with_the_real_sizes(name):
    for dtype, shape in (("f8", (8_400_001,)), ("i4", (16_800_011,)), ("f4", (2100, 8000))):
        a = numbers((1 << 16,), dtype)
        a = np.resize(a, shape)
        for axis in (None, 0, -1) if a.ndim > 1 else (None,):
            check_call(name, a, axis=axis)


@pytest.mark.parametrize("n_workers", [1, 2, 3, 4, 5, 6, 7])
def test_the_number_of_workers_does_not_show(small, n_workers):
    rng = np.random.default_rng(0)
    for name in REDUCTIONS:
        for kind in ("nan", "zeros"):
            a = with_specials(numbers((3001,), "f8"), kind, rng)
            one, several = (OURS[name](a, pool=UnorderedPool(n)) for n in (1, n_workers))
            assert np.asarray(one).tobytes() == np.asarray(several).tobytes()


def test_extreme_searches_take_the_first_of_equal_ones(small):
    a = np.zeros((50, 40))
    for where in ([5, 1000, 1999], [1500, 1501], [0]):
        b = a.copy()
        b.reshape(-1)[where] = -1
        for same in (b, b.T, b[::-1], np.asfortranarray(b)):
            for pool in (UnorderedPool(3), UnorderedPool(7, seed=2), POOLS["thread-3"]()):
                check_call("argmin", same, pool=pool)
                check_call("argmax", -same, pool=pool)
                check_call("argmin", same != 0, pool=pool)
                check_call("argmax", same != 0, pool=pool)


def test_searches_do_not_go_on_behind_what_decides(small):
    class CountingPool:
        np = 2

        def map(self, func, sequence):
            self.items = list(sequence)
            return [func(item) for item in self.items]

    a = np.zeros(50_000, np.bool_)
    a[20_000] = True
    looked_at = []

    def spy(function):
        def call(part, *args, **kwargs):
            looked_at.append(part.size)
            return function(part, *args, **kwargs)

        return call

    cell = np.zeros(1, np.intp)
    assert folding.find(spy(np.any), True, a, cell, CountingPool())
    assert 20_000 < sum(looked_at) < 21_000
    looked_at.clear()
    b = np.zeros(50_000)
    b[20_000] = np.nan
    assert folding.find_extreme(spy(np.argmax), b, cell, CountingPool()) == 20_000
    assert sum(looked_at) < 21_000


# through NumPy, and which calls are parallel


METHODS = [name for name in OURS if hasattr(np.ndarray, name)]


@pytest.mark.parametrize("name", OURS)
def test_numpy_leads_shared_arrays_here(name):
    assert DISPATCH[getattr(np, name)] is OURS[name]
    if name in METHODS:
        assert DISPATCH[getattr(np.ndarray, name)] is OURS[name]


def test_numpys_older_names_lead_here():
    a = sharedarray.array([3, 1, 2])
    assert np.amax(a) == 3
    assert np.amin(a) == 1


@pytest.mark.parametrize("name", METHODS)
def test_methods(small, name):
    a = sharedarray.array(numbers((60, 50), "f8"))
    b = np.asarray(a)
    for args in ((), (0,), (1,)):
        result, expected = getattr(a, name)(*args), getattr(b, name)(*args)
        assert np.asarray(result).tobytes() == np.asarray(expected).tobytes()
        if not name.startswith("cum"):
            assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("name", "dtype", "axes"),
    [
        *((name, "f8", [None, 0, 1]) for name in REDUCTIONS if name not in ("prod",)),
        ("prod", "f8", [0, 1]),
        ("prod", "i4", [None, 0, 1]),
        ("sum", "D", [None, 0, 1]),
        ("sum", "g", [None]),
        ("mean", "i4", [None, 0]),
        ("mean", "f2", [None, 0]),
        ("var", "u1", [None, 0]),
        ("std", "D", [None, 0]),
        ("min", "M8[s]", [None, 0]),
        ("nansum", "f2", [None, 0]),
    ],
)
def test_what_is_promised_to_be_parallel_is(small, name, dtype, axes):
    a = numbers((300, 100), dtype)
    if name == "any":
        a[...] = 0
    if name == "all":
        a[...] = 1
    for same in (a, np.asfortranarray(a)):
        for axis in axes:
            pool = RecordingPool(2)
            OURS[name](same, axis=axis, pool=pool)
            assert pool.n_items[0] > 1


def test_small_arrays_wake_no_worker():
    pool = RecordingPool(2)
    for name in OURS:
        OURS[name](np.ones(1000), pool=pool)
    assert pool.maps == []


@pytest.mark.parametrize("delta", [-1, 0])
def test_around_the_real_thresholds(delta):
    cases = [("sum", "f8", thresholds.MIN_SUM), ("std", "f8", thresholds.MIN_SLOW)]
    cases += [("min", "f8", thresholds.MIN_FASTEST_NBYTES // 8), ("min", "f2", thresholds.MIN_SLOW)]
    for name, dtype, n in cases:
        pool = RecordingPool(2)
        check_call(name, np.ones(n + delta, dtype), pool=pool)
        assert bool(pool.maps) is (delta == 0)


def test_the_modules_are_those_that_are_tested():
    modules = (averages, extremes, sums, truth)
    assert all(name in OURS for m in modules for name in m.__all__ if hasattr(np, name))


def test_order_shows_in_the_data():
    """Otherwise no test here could fail for another order."""
    a = numbers((40, 60), "f8")
    assert any(np.sum(a[:, i]) != np.add.accumulate(a[::-1, i])[-1] for i in range(60))
    assert np.sum(sample("random", 10_007, "f4")) != np.sum(sample("random", 10_007, "f4")[::-1])
