import warnings
from functools import partial

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce
from tests.functions.reductions_support import (
    OURS,
    REDUCTIONS,
    check_call,
    numbers,
    result_of,
    small_reductions,
)
from tests.ops.support import POOLS, UnorderedPool


@pytest.fixture
def small():
    with small_reductions() as patch:
        yield patch


# outputs and arguments


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of overflow
@pytest.mark.parametrize("name", [name for name in REDUCTIONS if name != "count_nonzero"])
def test_outputs(small, name):
    for dtype in ("f8", "f2", "i4", "D", ">f4"):
        a = numbers((60, 50), dtype)
        for kwargs in ({}, {"axis": 0}, {"axis": 1, "keepdims": True}):
            expected = np.asarray(getattr(np, name)(a, **kwargs))
            for out in (
                np.zeros_like(expected),
                np.zeros(expected.shape, "f4"),
                np.zeros(expected.shape, "i4"),
                np.zeros((*expected.shape, 2), expected.dtype)[..., 0],
                sharedarray.zeros(expected.shape, expected.dtype),
                np.zeros(7),
            ):
                of_numpy = np.array(out)
                first = result_of(partial(getattr(np, name), a, out=of_numpy, **kwargs))
                pool = UnorderedPool(3)
                second = result_of(partial(OURS[name], a, out=out, pool=pool, **kwargs))
                assert first[0] == second[0]
                if first[0] == "raised":
                    assert first[1] is second[1]
                else:
                    assert second[1] is out
                    assert np.array(out).tobytes() == of_numpy.tobytes()


def test_an_output_within_the_array(small):
    for name in ("sum", "max", "mean", "std", "nansum", "prod"):
        a = numbers((60, 50), "f8")
        expected = getattr(np, name)(a, axis=0)
        assert np.shares_memory(OURS[name](a, axis=0, out=a[7]), a)
        assert a[7].tobytes() == expected.tobytes()


ARGUMENTS = [
    *({"axis": axis} for axis in (3, -3, 0.0, True, [0], "0", (0, 0), (0, -2), (5,), ())),
    *({"axis": axis} for axis in (np.int64(1), np.array(0), (np.int64(0),), (1, 0))),
    *({"keepdims": keepdims} for keepdims in (None, 1, "yes", np.True_)),
    *({"dtype": dtype} for dtype in ("nonsense", 7, "M8[s]", "S3", object, "f2", "?", ">f8", "i2")),
    *({"out": out} for out in (3, [0], np.zeros(1), (np.zeros(()),), np.zeros((), "S8"))),
    *({"initial": initial} for initial in (None, 3, "x", 1.5, -0.0)),
    *({"where": where} for where in (None, "x", True, [[True]], np.ones((60, 50), np.bool_))),
    *({"ddof": ddof} for ddof in (1, 0.5, 3000, 5000, -1, None, "x", np.float64(2), True)),
    *({"correction": n} for n in (1, 0.5, 5000, None)),
    {"ddof": 1, "correction": 1},
    {"mean": np.zeros((1, 1))},
    {"order": "C"},
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kwargs", ARGUMENTS, ids=str)
def test_arguments_are_judged_like_numpy(small, kwargs):
    for name in REDUCTIONS:
        for a in (numbers((60, 50), "f8"), numbers((60, 50), "i4"), numbers((2, 2), "f8")):
            expected = result_of(lambda a=a, n=name: getattr(np, n)(a, **kwargs))
            result = result_of(lambda a=a, n=name: OURS[n](a, pool=UnorderedPool(2), **kwargs))
            assert result[0] == expected[0], (name, result, expected)
            if result[0] == "raised":
                assert result[1] is expected[1]
            else:
                x, y = np.asarray(result[1]), np.asarray(expected[1])
                assert x.dtype == y.dtype
                assert x.tolist() == y.tolist() if y.dtype == object else x.tobytes() == y.tobytes()


@pytest.mark.parametrize("name", REDUCTIONS)
def test_array_likes_and_other_dtypes(name):
    calls = [5, 2.5, [1, 2, 3], [[1.5, 2], [3, 4]], True, np.float32(2), range(5), []]
    calls += [np.array([1, 2], object), np.array(["a", "b"]), np.zeros(3, "i4,f8"), None]
    for a in calls:
        expected = result_of(lambda a=a: getattr(np, name)(a))
        result = result_of(lambda a=a: OURS[name](a))
        assert result[0] == expected[0]
        assert repr(result[1]) == repr(expected[1])
    assert result_of(lambda: OURS[name]())[1] is TypeError


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
@pytest.mark.parametrize("name", ["sum", "max", "mean", "std", "any", "argmin"])
def test_masked_arrays_and_matrices_keep_their_meaning(small, name):
    masked = np.ma.masked_equal(np.arange(5000), 3)
    assert OURS[name](masked) == getattr(np, name)(masked)
    matrix = np.matrix(np.ones((100, 50)))
    assert type(OURS[name](matrix, axis=0)) is type(getattr(np, name)(matrix, axis=0))


@pytest.mark.parametrize("name", OURS)
def test_a_pool_has_to_be_one(small, name):
    for n in (10, 5000):
        with pytest.raises(TypeError, match="pool must be"):
            OURS[name](np.arange(n), pool="thread")


# floating point errors


@pytest.mark.parametrize("pool", ["bare", "thread-2"])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "prod", "nansum", "nanmean", "ptp"])
def test_floating_point_errors_come_as_the_caller_says(small, name, pool):
    pool = POOLS[pool]()
    for dtype in ("f4", "f8", "D"):
        for first, second in (("max", "max"), ("inf", "-inf"), ("tiny", "tiny")):
            a = np.ones((60, 50), dtype)
            limits = np.finfo(dtype)
            value = {"max": limits.max, "inf": np.inf, "-inf": -np.inf, "tiny": limits.tiny}
            a[7, 3], a[51, 3] = value[first], value[second]
            for axis in (None, 0):
                for how in ("warn", "ignore", "raise"):
                    with np.errstate(all=how):
                        check_call(name, a, axis=axis, pool=pool)


def test_a_warning_comes_once():
    a = np.full(1 << 21, np.finfo("f8").max)
    for name in ("sum", "mean", "var"):
        said = []
        for call in (getattr(np, name), lambda a, f=OURS[name]: f(a, pool=MapReduce(np=2))):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call(a)
            said.append([str(warning.message) for warning in caught])
        assert said[0] == said[1] != []


@pytest.mark.parametrize("name", ["nanmin", "nanmax", "nanmean"])
def test_nothing_but_nan(small, name):
    for shape in ((3001,), (40, 60)):
        a = np.full(shape, np.nan)
        for axis in (None, 0):
            check_call(name, a, axis=axis, pool=UnorderedPool(2))
        b = numbers(shape, "f8").reshape(-1, 1).repeat(4, 1)
        b[:, 2] = np.nan
        check_call(name, b, axis=0, pool=UnorderedPool(2))
