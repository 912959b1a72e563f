import numpy as np
import pytest

import sharedarray
from tests.functions.sort_support import OTHERS
from tests.functions.support import MIN_SORT
from tests.ops.support import (
    RANKABLE,
    assert_same_bits,
    outcome,
    sample,
    sorted_by_default,
    unchanged,
)


@pytest.mark.parametrize("dtype", RANKABLE)
def test_method_sorts_in_place(small, dtype):
    for n in (0, 1, 2, MIN_SORT - 1, MIN_SORT, MIN_SORT + 1, 500):
        for n_workers in (0, 2, 3):
            values = sample("specials", n, dtype)
            for kwargs in ({}, {"kind": "stable"}, {"axis": 0}, {"stable": True}):
                a = sharedarray.empty(n, dtype)
                a.view(np.uint8)[:] = values.view(np.uint8)
                with sharedarray.num_workers(n_workers):
                    assert a.sort(**kwargs) is None
                if kwargs.get("kind") or kwargs.get("stable"):
                    assert_same_bits(a, np.sort(values, kind="stable"))
                elif n >= MIN_SORT or values.dtype.kind != "f":
                    assert_same_bits(a, sorted_by_default(values))
                else:
                    np.testing.assert_array_equal(np.asarray(a), np.sort(values))


@pytest.mark.parametrize("step", [2, 3, -1, -2])
@pytest.mark.parametrize("dtype", ["f8", ">f8", "u1", "f2", "M8[s]", "?"])
def test_method_sorts_a_view_and_nothing_beside_it(small, dtype, step):
    room = sharedarray.empty(1500, dtype)
    room[:] = sample("zeros", 1500, dtype)
    before = room.copy()
    view = room[10:-10][::step]
    values = np.array(view)

    for kwargs in ({}, {"kind": "stable"}):
        room[:] = before
        view.sort(**kwargs)
        expected = np.sort(values, kind="stable") if kwargs else sorted_by_default(values)
        assert_same_bits(view, expected)
        beside = np.ones(1500, bool)
        beside[10:-10][::step] = False
        assert_same_bits(np.asarray(room)[beside], before[beside])


def test_method_on_a_contiguous_part(small):
    room = sharedarray.array(sample("random", 600, "f8"))
    before = room.copy()

    room[50:550].sort()

    assert_same_bits(room[50:550], np.sort(before[50:550]))
    assert_same_bits(room[:50], before[:50])
    assert_same_bits(room[550:], before[550:])


def test_method_on_unaligned_memory(small):
    for dtype in ("f8", ">i4", "M8[s]", "f2"):
        values = sample("few", 300, dtype)
        a = sharedarray.zeros(values.nbytes + 1, np.uint8)[1:].view(dtype)
        a[:] = values
        a.sort()
        assert_same_bits(a, sorted_by_default(values))


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize("dtype", ["f8", ">i8", "f2", "S3"])
def test_method_leaves_a_read_only_array_alone(small, n, dtype):
    a = sharedarray.array((np.arange(n) % 7).astype(dtype))
    a.flags.writeable = False
    for view in (a, a[::2], a[::-1]):
        with unchanged(a), pytest.raises(ValueError, match="read-only"):
            view.sort()
        with unchanged(a), pytest.raises(ValueError, match="read-only"):
            view.sort(kind="stable")


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("dtype", ["i4", ">f8", "f8", "S3"])
def test_method_along_axes(small, dtype, axis):
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 7)).astype(dtype)
    for index in (np.s_[:], np.s_[::-1, ::2], np.s_[:, :, ::-2]):
        a = sharedarray.array(values)
        a[index].sort(axis)
        expected = values.copy()
        expected[index].sort(axis)
        assert_same_bits(a, expected)


def test_method_with_fields():
    a = sharedarray.array(OTHERS["record"])
    a.sort(order="b")
    assert_same_bits(a, np.sort(OTHERS["record"], order="b"))


@pytest.mark.parametrize("n", [10, 500])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {}),
        ((None,), {}),
        ((0.0,), {}),
        (("0",), {}),
        ((-1, "x"), {}),
        ((-1, "stable"), {}),
        ((-1, None, "f0"), {}),
        ((-1, None, None), {}),
        ((-1, None, None, True), {}),
        ((), {"kind": "stable", "stable": True}),
        ((), {"kind": 3}),
        ((), {"stable": 1}),
        ((), {"order": ["f0"]}),
        ((), {"out": None}),
        ((), {"nothing": 1}),
        ((-1,), {"axis": 0}),
    ],
)
def test_arguments_of_the_method_are_judged_like_numpy(small, n, args, kwargs):
    values = sample("random", n, "i8")
    plain, a = values.copy(), sharedarray.array(values)

    expected = outcome(lambda: plain.sort(*args, **kwargs))
    result = outcome(lambda: a.sort(*args, **kwargs))

    assert result == expected
    assert_same_bits(a, plain)
