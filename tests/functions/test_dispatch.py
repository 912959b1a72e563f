import numpy as np
import pytest

import sharedarray
from sharedarray import SharedArray
from sharedarray.functions import sorting, sums
from sharedarray.memory.array import DISPATCH
from tests.ops.support import assert_same_bits, outcome, sample, sorted_by_default, unchanged


@pytest.fixture
def asked(monkeypatch):
    """Count the calls that got as far as asking for a pool: those that took the parallel way."""
    calls = []
    for module in (sorting, sums):

        def pool_for(*args, pool_for=module.pool_for, module=module, **kwargs):
            calls.append(module)
            return pool_for(*args, **kwargs)

        monkeypatch.setattr(module, "pool_for", pool_for)
    return calls


@pytest.mark.parametrize(
    "function",
    [np.sort, np.argsort, np.sum, np.ndarray.sort, np.ndarray.argsort, np.ndarray.sum],
)
def test_numpy_is_led_here(function):
    assert function in DISPATCH


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("dtype", ["f8", "i4", ">f8", "M8[s]", "f2"])
def test_sort_of_a_shared_array(small, asked, n, dtype):
    a = sharedarray.array(sample("few", n, dtype))
    for call in (np.sort, sharedarray.sort, lambda a: np.sort(a, axis=0), lambda a: np.sort(a=a)):
        with unchanged(a):
            result = call(a)
        assert type(result) is SharedArray
        assert not np.shares_memory(result, a)
        assert_same_bits(result, sorted_by_default(np.asarray(a)))
    assert len(asked) == (4 if n == 500 else 0)


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("dtype", ["f8", "i4", ">f8", "M8[s]", "f2"])
def test_argsort_of_a_shared_array(small, asked, n, dtype):
    a = sharedarray.array(sample("few", n, dtype))
    calls = (
        np.argsort,
        sharedarray.argsort,
        lambda a: a.argsort(),
        lambda a: np.argsort(a, kind="stable"),
        lambda a: a.argsort(axis=0),
        lambda a: a.argsort(axis=None),
        lambda a: a.argsort(stable=True),
    )
    for call in calls:
        with unchanged(a):
            result = call(a)
        assert type(result) is SharedArray
        assert_same_bits(result, np.argsort(np.asarray(a), kind="stable"))
    assert len(asked) == (len(calls) if n == 500 else 0)


@pytest.mark.parametrize("n", [10, 5000])
@pytest.mark.parametrize("dtype", ["f8", "i4", ">f8", "f2", "m8[s]"])
def test_sum_of_a_shared_array(small, asked, n, dtype):
    a = sharedarray.array(sample("few", n, dtype))
    expected = np.sum(np.asarray(a))
    for call in (np.sum, sharedarray.sum, SharedArray.sum, lambda a: a.sum(axis=0)):
        result = call(a)
        assert type(result) is type(expected)
        assert_same_bits(result, expected)
    is_parallel = n == 5000
    assert len(asked) == (4 if is_parallel else 0)


def test_sort_method_is_parallel(small, asked):
    a = sharedarray.array(sample("random", 500, "f8"))
    a.sort()
    a[::-1].sort()
    assert len(asked) == 2


def test_arguments_go_through(small):
    values = np.random.default_rng(0).integers(0, 5, (30, 40)).astype("f8")
    a = sharedarray.array(values)
    for axis in (0, 1, -1, None):
        assert type(np.sort(a, axis, "stable")) is SharedArray
        assert_same_bits(np.sort(a, axis, "stable"), np.sort(values, axis))
        assert_same_bits(np.argsort(a, axis), np.argsort(values, axis, kind="stable"))
        assert_same_bits(a.argsort(axis), np.argsort(values, axis, kind="stable"))
        assert_same_bits(np.sum(a, axis), np.sum(values, axis))
        assert_same_bits(a.sum(axis, "f4"), values.sum(axis, "f4"))
        assert_same_bits(
            np.sum(a, axis, keepdims=True, initial=3),
            np.sum(values, axis, keepdims=True, initial=3),
        )
    record = np.array([(2, 1.0), (1, 2.0), (1, 1.0)], [("a", "i4"), ("b", "f8")])
    shared = sharedarray.array(record)
    assert_same_bits(np.sort(shared, order="b"), np.sort(record, order="b"))
    assert_same_bits(shared.argsort(order=["b", "a"]), np.argsort(record, order=["b", "a"]))


@pytest.mark.parametrize("n", [10, 5000])
def test_sum_into_a_shared_output(small, n):
    values = np.random.default_rng(0).standard_normal((n, 2))
    out, total = sharedarray.empty(2), sharedarray.empty(())
    for a in (values, sharedarray.array(values)):
        assert np.sum(a, axis=0, out=out) is out
        assert_same_bits(out, np.sum(values, axis=0))
        assert sharedarray.sum(a, out=total) is total
        assert_same_bits(total, np.sum(values))
        total[()] = 0
        assert np.sum(a, out=total) is total
        assert_same_bits(total, np.sum(values))
        total[()] = 0
        assert a.sum(out=total) is total
        assert_same_bits(total, np.sum(values))
    assert np.sum(values, out=total, initial=1.0, where=sharedarray.array(values > 0)) is total
    assert_same_bits(total, np.sum(values, initial=1.0, where=values > 0))


def test_views_and_small_arrays(small):
    a = sharedarray.array(np.arange(3000.0)[::-1])
    assert type(np.sort(a[::2])) is SharedArray
    assert_same_bits(np.sort(a[::2]), np.sort(np.asarray(a)[::2]))
    assert_same_bits(a[10:2000:3].sum(), np.asarray(a)[10:2000:3].sum())
    assert np.sum(sharedarray.array(5.0)) == 5
    assert np.argsort(sharedarray.array(5.0)).tolist() == [0]
    assert type(np.sort(sharedarray.empty(0))) is SharedArray


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((-1, "x"), {}),
        ((-1, None, "f0"), {}),
        ((), {"kind": "stable", "stable": True}),
        ((), {"reverse": None}),
        ((), {"pool": None}),
        ((-1, None, None, True), {}),
    ],
)
def test_errors_are_those_of_numpy(small, n, args, kwargs):
    values = np.arange(float(n))
    a = sharedarray.array(values)
    for function in (np.sort, np.argsort):
        expected = outcome(lambda f=function: f(values, *args, **kwargs))
        assert expected[0] == "raised"
        assert outcome(lambda f=function: f(a, *args, **kwargs)) == expected
    expected = outcome(lambda: values.argsort(*args, **kwargs))
    if "pool" not in kwargs:
        assert outcome(lambda: a.argsort(*args, **kwargs)) == expected


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
def test_other_kinds_of_arrays_keep_their_own_behaviour():
    masked = np.ma.masked_equal(np.arange(5)[::-1], 3)
    assert np.sort(masked).count() == 4
    assert np.sum(masked) == 7
    assert type(np.sort(np.arange(3))) is np.ndarray
    assert type(np.sort(np.matrix([[2, 1]]))) is np.matrix
