from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import cumulative
from sharedarray.functions.cumulative import cumprod, cumsum
from tests.functions.reductions_support import (
    DTYPES,
    OURS,
    SHAPES,
    SIZES,
    arranged,
    check_call,
    numbers,
    result_of,
    small_reductions,
    with_specials,
)
from tests.functions.support import Untouched, layouts
from tests.ops.support import POOLS, RecordingPool, UnorderedPool

NAMES = ["cumsum", "cumprod"]


@pytest.fixture
def small():
    with small_reductions() as patch:
        yield patch


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", NAMES)
def test_one_line(small, name, pool):
    pool = POOLS[pool]()
    for dtype in DTYPES:
        for n in SIZES if not isinstance(pool, MapReduce) else SIZES[-2:]:
            check_call(name, numbers((n,), dtype), pool=pool)


@given(data=st.data())
def test_any_array_and_axis(data):
    draw = data.draw
    a = numbers(draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES)))
    kind = draw(st.sampled_from(["", "nan", "few", "infinity"]))
    a = with_specials(a, kind, np.random.default_rng(0))
    a = arranged(a, draw(st.integers(0, 99)), draw(st.sampled_from([[1], [-1], [2, 1]])))
    if draw(st.booleans()):
        a = sharedarray.array(a, order="K")
    axis = draw(st.one_of(st.none(), st.integers(-a.ndim, a.ndim - 1)))
    pool = UnorderedPool(draw(st.integers(1, 9)), seed=1)
    with small_reductions():
        for name in NAMES:
            check_call(name, a, axis=axis, pool=pool)
            check_call(name, a, axis=axis, pool=pool, dtype=draw(st.sampled_from(["f8", "i2"])))


@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 33, 300, 4799, 4800, 4801])
def test_around_the_blocks(small, n):
    small.setattr(cumulative, "MIN_CUMULATIVE", 1)
    rng = np.random.default_rng(n)
    for n_workers in (1, 2, 3, 7):
        for a in (rng.integers(-9, 9, n), rng.integers(0, 255, n, "u1"), rng.random(n) < 0.5):
            for name in NAMES:
                check_call(name, a, pool=UnorderedPool(n_workers))


@pytest.mark.parametrize("name", NAMES)
def test_processes(small, name):
    for a in (numbers((3001,), "i8"), numbers((60, 50), "f8"), numbers((60, 50), "i4")):
        for axis in (None, -1):
            check_call(name, a, axis=axis, pool=MapReduce(np=3))


@pytest.mark.parametrize("name", NAMES)
def test_layouts(small, name, tmp_path):
    for dtype in ("i8", "u2", "f8", ">i4"):
        for _, a in layouts(numbers((3001,), dtype), tmp_path):
            check_call(name, a, pool=UnorderedPool(3))


def test_with_the_real_sizes():
    for a in (np.arange(cumulative.MIN_CUMULATIVE + 7), np.ones((1500, 1499))):
        for axis in (None, 0, -1):
            check_call("cumsum", a, axis=axis)


@pytest.mark.parametrize("n", [5, 3000])
def test_results_are_shared(small, n):
    for a in (np.arange(n), np.ones(n), sharedarray.ones(n), np.ones((n, 2)), [1, 2, 3], 5):
        for function in (cumsum, cumprod):
            assert type(function(a)) is SharedArray
            assert type(function(a, dtype="f4")) is SharedArray
    assert type(sharedarray.ones(n).cumsum()) is SharedArray
    assert type(np.cumsum(sharedarray.ones(n))) is SharedArray
    assert type(cumsum(np.array([1, 2], object))) is np.ndarray


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of overflow
@pytest.mark.parametrize("n", [5, 3000])
def test_outputs(small, n):
    a = numbers((n, 3), "i4")
    for out in (np.zeros((n, 3), "i8"), sharedarray.zeros((n, 3), "i8"), np.zeros((n, 3), "f4")):
        for name in NAMES:
            assert OURS[name](a, 0, out=out) is out
            assert np.array_equal(
                out, getattr(np, name)(a, 0, out=np.zeros(out.shape, out.dtype)), equal_nan=True
            )
    b = np.arange(n)
    assert cumsum(b, out=b) is b
    assert b.tolist() == np.cumsum(np.arange(n)).tolist()


@pytest.mark.parametrize(
    "kwargs",
    [
        *({"axis": axis} for axis in (2, -3, 0.0, (0,), "0", [0], True, np.int64(1), np.array(0))),
        *({"dtype": dtype} for dtype in ("nonsense", "M8[s]", "?", "f2", object)),
        *({"out": out} for out in (3, [0], np.zeros(1), np.zeros((60, 50), "S8"))),
        {"keepdims": True},
    ],
    ids=str,
)
def test_arguments_are_judged_like_numpy(small, kwargs):
    for a in (numbers((60, 50), "i4"), numbers((2, 2), "f8")):
        for name in NAMES:
            expected = result_of(lambda a=a, n=name: getattr(np, n)(a, **kwargs))
            pool = Untouched() if expected[0] == "raised" else UnorderedPool(2)
            result = result_of(lambda a=a, n=name, p=pool: OURS[n](a, pool=p, **kwargs))
            assert result[0] == expected[0]
            if result[0] == "raised":
                assert result[1] is expected[1]
            else:
                assert np.array_equal(result[1], expected[1], equal_nan=result[1].dtype.kind == "f")
                assert result[1].dtype == expected[1].dtype


def test_no_array():
    for args in ((), ("a",), (np.zeros(2, "M8[s]"),), (np.zeros(2, "i4,i4"),)):
        for name in NAMES:
            ours, expected = (result_of(partial(f, *args)) for f in (OURS[name], getattr(np, name)))
            assert ours[0] == expected[0] == "raised"
            assert ours[1] is expected[1]
    with pytest.raises(TypeError, match="masked"):
        cumsum(np.ma.masked_equal([1, 2], 1))


@pytest.mark.parametrize("name", NAMES)
def test_floating_point_errors_come_as_the_caller_says(small, name):
    a = np.ones((60, 50))
    a[7, 3] = a[8, 3] = np.finfo("f8").max
    for how in ("warn", "ignore", "raise"):
        with np.errstate(over=how):
            check_call(name, a, axis=0, pool=UnorderedPool(2))


def test_what_is_promised_to_be_parallel_is(small):
    for a, axis in (
        *((numbers((60, 50), "i4"), axis) for axis in (None, 0, 1)),
        *((numbers((60, 50), "f8"), axis) for axis in (0, 1)),
        (numbers((3001,), "u1"), 0),
    ):
        for function in (cumsum, cumprod):
            pool = RecordingPool(3)
            function(a, axis, pool=pool)
            assert max(pool.n_items) > 1
    pool = RecordingPool(3)
    cumsum(np.ones(3001), pool=pool)
    assert pool.maps == []
