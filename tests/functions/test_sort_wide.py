"""Elements wider than a number: argsort as NumPy's stable one, sort of the same bits."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.functions import sorting
from tests.functions.support import MIN_SORT, Untouched, small_arrays
from tests.functions.wide_support import (
    RECORDS,
    WIDE,
    WIDE_DISTRIBUTIONS,
    assert_same_elements,
    wide_sample,
)
from tests.ops.support import (
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    each_pool,
    outcome,
    strided,
)

SIZES = [0, 1, 2, MIN_SORT - 1, MIN_SORT, MIN_SORT + 1, 127, 509]


def check(a, pool, order=None):
    before = a.copy()
    with np.errstate(all="raise"):
        indices = sharedarray.argsort(a, order=order, pool=pool)
        result = sharedarray.sort(a, order=order, pool=pool, stable=True)
    assert_same_elements(a, before)
    assert type(indices) is SharedArray
    assert type(result) is SharedArray
    assert_same_bits(indices, np.argsort(a, order=order, kind="stable"))
    assert_same_elements(result, np.sort(a, order=order, kind="stable"))


def anywhere(a):
    """Return the elements of `a` at an odd address."""
    view = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype)
    view[:] = a
    return view


@pytest.mark.parametrize("distribution", WIDE_DISTRIBUTIONS)
@pytest.mark.parametrize("name", WIDE)
def test_equals_numpy(small, name, distribution):
    for n in SIZES:
        check(wide_sample(distribution, n, name), UnorderedPool(3, seed=n))


@each_pool
@pytest.mark.parametrize("name", ["c16", "g", "S16", ">U3", "V9", "nested", "aligned"])
def test_pools(small, name, pool):
    for distribution in ("few", "bits", "low_end"):
        check(wide_sample(distribution, 600, name), pool())


@given(
    n=st.integers(0, 1200),
    name=st.sampled_from(list(WIDE)),
    distribution=st.sampled_from(list(WIDE_DISTRIBUTIONS)),
    n_workers=st.integers(1, 17),
    seed=st.integers(0, 1 << 20),
    data=st.data(),
)
def test_any_array(n, name, distribution, n_workers, seed, data):
    a = wide_sample(distribution, n, name, seed)
    order = None
    if a.dtype.names:
        fields = st.lists(st.sampled_from(a.dtype.names), unique=True)
        order = data.draw(st.none() | fields | st.sampled_from(a.dtype.names))
    with small_arrays():
        check(a, UnorderedPool(n_workers, seed), order)


@pytest.mark.parametrize("name", ["S3", "c16", "padded"])
def test_every_length(small, name):
    whole = wide_sample("few", 1100, name, seed=3)
    whole[::3] = wide_sample("bits", 1100, name)[::3]
    pool = UnorderedPool(3)
    for n in range(1101):
        a = whole[:n]
        indices = sharedarray.argsort(a, pool=pool)
        assert_same_bits(indices, np.argsort(a, kind="stable"))
        if n % 11 == 0 or n < 100:
            assert_same_elements(
                sharedarray.sort(a, stable=True, pool=pool), np.sort(a, kind="stable")
            )


@pytest.mark.parametrize("name", WIDE)
def test_layouts(small, name, tmp_path):
    a = wide_sample("few", 300, name)
    mapped = np.memmap(tmp_path / "mapped.bin", a.dtype, "w+", shape=a.shape)
    mapped[:] = a
    read_only = a.copy()
    read_only.flags.writeable = False
    for same in (strided(a, 3), strided(a, -1), strided(a, -2), anywhere(a), mapped, read_only):
        check(same, UnorderedPool(3))
    once = np.broadcast_to(a[:1], 300)
    check(once, UnorderedPool(3))


@pytest.mark.parametrize("name", RECORDS)
def test_order_of_fields(small, name):
    a = wide_sample("few", 400, name)
    names = list(a.dtype.names)
    for order in ([], names[-1], names[::-1], names[-1:], tuple(names)):
        check(a, UnorderedPool(3), order)


@pytest.mark.parametrize("order", ["long b", ["long b", "a"], np.array(["b"]), {"b"}, b"b", [0]])
@pytest.mark.parametrize("n", [3, 300])
def test_what_is_no_order_for_numpy(small, order, n):
    """Titles, sets, bytes: whatever NumPy makes of them, and before any work."""
    a = wide_sample("few", n, "titled")
    expected = outcome(lambda: np.argsort(a, order=order, kind="stable"))
    pool = Untouched() if expected[0] == "raised" else UnorderedPool(3)
    for function in (sharedarray.argsort, sharedarray.sort):
        result = outcome(lambda f=function: f(a, order=order, pool=pool))
        assert result[0] == expected[0]
        assert expected[0] == "returned" or result[1] is expected[1]


@pytest.mark.parametrize(
    "dtype",
    [
        [],
        "V0",
        [("a", "S0"), ("b", "i4")],
        [("a", "V0"), ("b", "i4")],
        [("a", []), ("b", "i4")],
        [("a", "i4", (0,)), ("b", "i4")],
        [(f"f{i}", "i8") for i in range(70)],
        "S1000",
        "V70000",
    ],
    ids=lambda dtype: str(dtype)[:30],
)
def test_odd_dtypes(small, dtype):
    a = np.zeros(100, dtype)
    rng = np.random.default_rng(0)
    if a.itemsize and a.dtype.names is None:
        a = np.frombuffer(rng.bytes(a.nbytes), dtype)
    for name in a.dtype.names or ():
        if a.dtype[name].kind == "i":
            a[name] = rng.integers(0, 2, 100) << (8 * a.dtype[name].itemsize - 2)
    check(a, UnorderedPool(3))


def test_bool_fields_of_any_byte(small):
    raw = np.random.default_rng(0).integers(0, 256, 600, "u1")
    check(raw.view([("a", "?"), ("b", "?")]), UnorderedPool(3))


def test_code_points_that_are_none(small):
    points = np.random.default_rng(0).integers(0, 1 << 32, 600, "u4")
    for dtype in ("U2", ">U2"):
        check(points.view(dtype), UnorderedPool(3))


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_longdoubles_next_to_each_other(small, byteorder):
    """Every step of the mantissa counts, its last 16 bits, and the denormals."""
    step = np.finfo(np.longdouble).eps
    lowest = np.finfo(np.longdouble).smallest_subnormal
    ranks = np.random.default_rng(0).integers(-300, 300, 500)
    near_one = 1 + ranks * step
    denormal = ranks * lowest
    assert np.unique(near_one).size == np.unique(denormal).size == np.unique(ranks).size
    expected = np.argsort(ranks, kind="stable")
    for values in (near_one, denormal, -near_one[::-1][::-1] * -1):
        result = sharedarray.argsort(values.astype(f"{byteorder}g"), pool=UnorderedPool(3))
        assert_same_bits(result, expected)


@pytest.mark.parametrize("code", ["f2", ">f2"])
def test_float16_nan_in_a_field(small, code):
    """NumPy's comparison of fields puts the NaN of float16 first, and only there."""
    a = np.zeros(100, [("a", code), ("b", "i2")])
    a["a"] = np.random.default_rng(0).integers(0, 4, 100)
    a["a"][::9] = np.nan
    check(a, UnorderedPool(3))


@pytest.mark.parametrize("code", ["f2", ">f2"])
def test_float16_numbers_in_a_field(small, code):
    a = np.zeros(300, [("a", code), ("b", "i2")])
    a["a"] = np.random.default_rng(0).integers(-4, 4, 300) / 2
    a["a"][::9] = -0.0
    a["a"][::13] = np.inf
    for order in (None, "b"):
        check(a, UnorderedPool(3), order)


# pools of processes, real sizes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.parametrize("name", ["c8", "g", "S16", "U4", "V9", "numbers", "nested"])
def test_processes(small, name):
    pool = MapReduce(np=3)
    for distribution in ("few", "low_end"):
        check(wide_sample(distribution, 300, name), pool)


@pytest.mark.parametrize("name", ["c16", "g", "S16", "U4", "V9", "numbers"])
def test_real_sizes(name):
    a = wide_sample("zipf", 600_011, name)
    a[::2] = wide_sample("bits", 300_006, name)
    pool = RecordingPool(2)
    check(a, pool)
    assert sum(pool.n_items) > 20


@pytest.mark.parametrize("name", ["c16", "S16"])
def test_around_the_real_threshold(name):
    for function in (sharedarray.sort, sharedarray.argsort):
        for delta in (-1, 0):
            pool = RecordingPool(2)
            a = wide_sample("bits", sorting.MIN_ARGSORT + delta, name)
            function(a, pool=pool)
            assert bool(pool.maps) is (delta == 0)


# in place


@pytest.mark.parametrize("step", [1, 2, -1, -3])
@pytest.mark.parametrize("name", ["c16", "g", "S3", "U4", "V9", "nested", "padded"])
def test_in_place(small, name, step):
    room = sharedarray.empty(1000, WIDE[name])
    room.view(np.ndarray)[:] = wide_sample("few", 1000, name)
    view = room[10:-10][::step]
    values, before = np.array(view), np.array(room)
    assert view.sort(stable=True, pool=UnorderedPool(3)) is None
    assert_same_elements(view, np.sort(values, kind="stable"))
    beside = np.ones(1000, bool)
    beside[10:-10][::step] = False
    assert_same_elements(np.asarray(room)[beside], before[beside])


@pytest.mark.parametrize("name", ["S8", "c8", "numbers"])
def test_through_numpy_and_by_method(small, name):
    a = wide_sample("few", 500, name)
    shared = sharedarray.array(a)
    order = a.dtype.names[-1] if a.dtype.names else None
    indices = np.argsort(a, order=order, kind="stable")
    expected = np.sort(a, order=order, kind="stable")
    for result in (np.argsort(shared, order=order), shared.argsort(order=order)):
        assert type(result) is SharedArray
        assert_same_bits(result, indices)
    result = np.sort(shared, order=order, stable=True)
    assert type(result) is SharedArray
    assert_same_elements(result, expected)
    shared.sort(order=order, stable=True)
    assert_same_elements(shared, expected)


# what only NumPy can do


@pytest.mark.parametrize("n", [20, 1000])
def test_objects_and_strings_of_any_length(small, n):
    numbers = np.random.default_rng(0).integers(0, 5, n)
    strings = numbers.astype(np.dtypes.StringDType())
    for a in (numbers.astype(object), strings):
        pool = RecordingPool(3)
        indices = sharedarray.argsort(a, pool=pool)
        assert type(indices) is SharedArray
        assert_same_bits(indices, np.argsort(numbers, kind="stable"))
        assert not pool.maps
        with pytest.raises(TypeError):
            sharedarray.sort(a, pool=pool)


def test_missing_strings(small):
    nan_strings = np.dtypes.StringDType(na_object=np.nan)
    a = np.array(["b", np.nan, "a", "b"] * 50, nan_strings)
    assert_same_bits(sharedarray.argsort(a), np.argsort(a, kind="stable"))
    nones = np.array(["b", None] * 50, np.dtypes.StringDType(na_object=None))
    with pytest.raises(ValueError, match="null"):
        sharedarray.argsort(nones)


def test_records_with_objects(small):
    a = np.zeros(100, [("a", "i4"), ("b", object)])
    a["a"] = np.arange(100)[::-1] % 7
    a["b"] = list(range(100))
    assert_same_bits(sharedarray.argsort(a), np.argsort(a, kind="stable"))
    assert_same_bits(sharedarray.argsort(a, order="b"), np.arange(100))
    with pytest.raises(TypeError):
        sharedarray.sort(a)
