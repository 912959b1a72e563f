import warnings

import numpy as np
import pytest

import sharedarray
from sharedarray import MapReduce
from sharedarray.functions import thresholds
from tests.functions.sum_support import assert_same, check, floats
from tests.functions.support import Untouched
from tests.ops.support import (
    UnorderedPool,
    outcome,
    unchanged,
)


def test_array_likes_and_other_dtypes():
    for a in (
        *([1, 2, 3], [], 5, (1.5, 2), range(10), [[1, 2], [3, 4]], True, np.float32(2)),
        *(np.array([1, 2.5, 3], object), np.ones(5, "c8"), np.ones(5, "g"), np.array(3.0)),
    ):
        check(a)
    assert sharedarray.sum(np.array(["a", "b"], object)) == "ab"


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
def test_masked_arrays_and_matrices_keep_their_meaning(small):
    masked = np.ma.masked_equal(np.arange(5000), 3)
    assert sharedarray.sum(masked) == np.sum(masked)
    matrix = np.matrix(np.ones((100, 50)))
    assert type(sharedarray.sum(matrix, axis=0)) is np.matrix


def test_read_only_and_mapped_inputs(tmp_path):
    a = floats(600_000, "f8")
    mapped = np.memmap(tmp_path / "a.bin", "f8", "w+", shape=a.shape)
    mapped[:] = a
    a.flags.writeable = False
    check(a)
    check(mapped)


# errors


@pytest.mark.parametrize("n", [10, 5003])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"axis": 1},
        {"axis": -2},
        {"axis": 0.0},
        {"axis": False},
        {"axis": True},
        {"axis": [0]},
        {"axis": "0"},
        {"axis": (0, 0)},
        {"axis": (0, -1)},
        {"axis": (1,)},
        {"axis": (0.0,)},
        {"axis": np.array([0])},
        {"axis": np.array([0, 1])},
        {"axis": np.array(0)},
        {"axis": np.array(0.0)},
        {"dtype": "nonsense"},
        {"dtype": 7},
        {"dtype": "M8[s]"},
        {"dtype": "S3"},
        {"dtype": "i4,i4"},
        {"dtype": object},
        {"out": 3},
        {"out": [0]},
        {"out": np.zeros(1)},
        {"out": np.zeros((1, 1))},
        {"out": (np.zeros(()),)},
        {"out": np.zeros((), "i4")},
        {"out": np.zeros((), "S8")},
        {"out": np.broadcast_to(0.0, ())},  # read-only
        {"out": np.zeros(()), "keepdims": True},
        {"keepdims": "yes"},
        {"keepdims": None},
        {"keepdims": 2},
        {"initial": None},
        {"initial": "1"},
        {"initial": [1]},
        {"initial": [1, 2]},
        {"initial": 1j},
        {"where": None},
        {"where": "x"},
        {"where": [True, False, True]},
        {"where": 1.5},
        {"order": None},
        {"nothing": 1},
        {"axis": 1, "out": np.zeros(1)},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["f8", "f2", ">f8", "i4", "?"])
def test_arguments_are_judged_like_numpy(small, kwargs, n, dtype):
    a = np.ones(n, dtype)
    with unchanged(a):
        expected = outcome(lambda: np.sum(a, **kwargs))
        is_error = expected[0] == "raised"
        pool = Untouched() if is_error else UnorderedPool(2)
        result = outcome(lambda: sharedarray.sum(a, pool=pool, **kwargs))
    assert result[0] == expected[0], (result, expected)
    if is_error:
        assert result[1] is expected[1]
    else:
        assert_same(result[1], expected[1])


@pytest.mark.parametrize("dtype", ["M8[s]", "S3", "U3", "i4,f8", "V4"])
def test_dtypes_without_a_sum(small, dtype):
    for n in (3, 5003):
        a = np.zeros(n, dtype)
        expected = outcome(lambda a=a: np.sum(a))
        assert expected[0] == "raised"
        assert outcome(lambda a=a: sharedarray.sum(a)) == expected


def test_no_array():
    for call in (lambda f: f(), lambda f: f(out=np.zeros(())), lambda f: f(x for x in [1, 2])):
        assert outcome(lambda c=call: c(sharedarray.sum)) == outcome(lambda c=call: c(np.sum))


@pytest.mark.parametrize("n", [10, 5003])
def test_a_pool_has_to_be_one(small, n):
    for pool in (3, "thread", object()):
        with pytest.raises(TypeError):
            sharedarray.sum(np.arange(n), pool=pool)


def test_an_error_has_itself_not_as_its_cause():
    a = np.full(thresholds.MIN_SUM, np.finfo("f8").max)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError) as caught:
        sharedarray.sum(a, pool=MapReduce(np=2))
    assert caught.value.__cause__ is None


def test_a_warning_comes_once_and_says_what_numpy_says():
    a = np.full(thresholds.MIN_SUM, np.finfo("f8").max)
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        np.sum(a)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sharedarray.sum(a, pool=MapReduce(np=2))
    assert [str(w.message) for w in caught] == [str(w.message) for w in expected]
