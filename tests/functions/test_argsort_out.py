"""``out=`` and ``dtype=`` of argsort."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sharedarray
from sharedarray import MapReduce, SharedArray
from tests.functions.support import Untouched, small_arrays
from tests.functions.wide_support import ALL, wide_sample
from tests.ops.support import GUARD, UnorderedPool, assert_same_bits, outcome, strided, unchanged

INDEX_DTYPES = ["int64", "int32", "uint64", "uint32"]
SIZES = [0, 1, 39, 40, 41, 500]


def outputs(n, dtype):
    """Yield outputs of shape (n,), and the whole of which each is a part."""
    whole = np.full(n, 77, dtype)
    yield whole, whole
    guarded = np.full(n * whole.itemsize + 2 * GUARD, 77, np.uint8)
    yield guarded[GUARD : GUARD + n * whole.itemsize].view(dtype), guarded
    odd = np.full(n * whole.itemsize + 2 * GUARD, 77, np.uint8)
    yield odd[1 : 1 + n * whole.itemsize].view(dtype), odd
    wide = np.full(3 * n, 77, dtype)
    yield wide[::3], wide
    yield wide[::-3][:n], wide
    shared = sharedarray.full(n, 77, dtype)
    yield shared, shared
    part = sharedarray.full(n + 20, 77, dtype)
    yield part[7 : n + 7], part
    strided_part = sharedarray.full(2 * n, 77, dtype)
    yield strided_part[::2], strided_part


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_out_of_any_kind(small, dtype, n):
    a = wide_sample("few", n, "f8")
    expected = np.argsort(a, kind="stable").astype(dtype)
    for pool in (None, UnorderedPool(3), MapReduce("thread", np=2)):
        for out, whole in outputs(n, dtype):
            old, before = np.array(out), np.array(whole)
            with unchanged(a):
                assert sharedarray.argsort(a, out=out, pool=pool) is out
            assert_same_bits(out, expected)
            out[...] = old  # nothing beside it has changed
            assert_same_bits(whole, before)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", [*INDEX_DTYPES, "i4", np.uint64, np.intp, int, "q"])
def test_dtype(small, dtype, n):
    a = wide_sample("few", n, "f4")
    result = sharedarray.argsort(a, dtype=dtype)
    assert type(result) is SharedArray
    assert_same_bits(result, np.argsort(a, kind="stable").astype(dtype))
    shared = sharedarray.array(a)
    assert_same_bits(shared.argsort(dtype=dtype), result)


@given(
    n=st.integers(0, 1200),
    name=st.sampled_from(list(ALL)),
    dtype=st.sampled_from(INDEX_DTYPES),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
    descending=st.booleans(),
    choice=st.integers(0, 7),
)
def test_any_array(n, name, dtype, n_workers, seed, descending, choice):
    a = wide_sample("few", n, name, seed)
    descending = descending and a.dtype.kind != "V"
    with small_arrays():
        out, _ = list(outputs(n, dtype))[choice]
        sharedarray.argsort(a, descending=descending, out=out, pool=UnorderedPool(n_workers, seed))
        expected = sharedarray.argsort(a, descending=descending)
    assert np.array_equal(out, expected)
    if not descending:
        assert np.array_equal(out, np.argsort(a, kind="stable"))


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["f8", "S3", "numbers"])
def test_axes(small, name, axis):
    a = wide_sample("few", 1200, name).reshape(4, 60, 5)
    expected = np.argsort(a, axis, kind="stable")
    for dtype in INDEX_DTYPES:
        for out in (
            np.zeros(a.shape, dtype),
            np.zeros(a.shape, dtype, "F"),
            sharedarray.zeros(a.shape, dtype),
            np.zeros((5, 4, 60), dtype).transpose(1, 2, 0),
            strided(np.zeros(1200, dtype), 2).reshape(a.shape),
        ):
            for pool in (None, UnorderedPool(3)):
                assert sharedarray.argsort(a, axis, out=out, pool=pool) is out
                assert_same_bits(out, expected.astype(dtype))


def test_axis_none_and_no_axis(small):
    for shape in ((), (1,), (20, 30)):
        a = np.zeros(shape)
        for dtype in INDEX_DTYPES:
            out = np.full(a.size, 77, dtype)
            assert sharedarray.argsort(a, None, out=out) is out
            assert_same_bits(out, np.arange(a.size, dtype=dtype))
            assert_same_bits(sharedarray.argsort(a, None, dtype=dtype), out)
    out = np.full(1, 77)
    assert sharedarray.argsort(5, out=out) is out
    assert out.tolist() == [0]


@pytest.mark.parametrize("n", [30, 500])
@pytest.mark.parametrize("dtype", ["i8", "u4"])
def test_out_is_the_input(small, dtype, n):
    """The elements are read to the end before the first index is written over them."""
    values = wide_sample("random", n, dtype)
    expected = np.argsort(values, kind="stable").astype(dtype)
    for pool in (None, UnorderedPool(3)):
        for make in (np.array, sharedarray.array):
            a = make(values)
            assert sharedarray.argsort(a, out=a, pool=pool) is a
            assert_same_bits(a, expected)
            room = make(np.append(values, [3] * 5).astype(dtype))
            a, out = room[:n], room[5:]
            sharedarray.argsort(a, out=out, pool=pool)
            assert_same_bits(out, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.parametrize("choice", range(8))
@pytest.mark.parametrize("dtype", INDEX_DTYPES)
def test_processes(small, dtype, choice):
    """What a worker process writes to private memory is lost: it must not be asked to."""
    for name in ("f8", "S3"):
        a = wide_sample("few", 500, name)
        out, _ = list(outputs(500, dtype))[choice]
        assert sharedarray.argsort(a, out=out, pool=MapReduce(np=3)) is out
        assert np.array_equal(out, np.argsort(a, kind="stable"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
@pytest.mark.parametrize("axis", [0, 1])
def test_processes_along_an_axis(small, axis):
    a = wide_sample("few", 600, "f8").reshape(10, 60)
    for dtype in INDEX_DTYPES:
        for out in (sharedarray.zeros(a.shape, dtype), np.zeros(a.shape, dtype)):
            sharedarray.argsort(a, axis, out=out, pool=MapReduce(np=3))
            assert np.array_equal(out, np.argsort(a, axis, kind="stable"))


def test_real_sizes():
    a = wide_sample("bits", 600_001, "f8")
    expected = np.argsort(a, kind="stable")
    for dtype in INDEX_DTYPES:
        out = np.empty(a.size, dtype)
        assert sharedarray.argsort(a, out=out) is out
        assert_same_bits(out, expected.astype(dtype))


# errors


@pytest.mark.parametrize("n", [30, 500])
@pytest.mark.parametrize(
    ("out", "dtype", "error"),
    [
        (lambda n: np.zeros(n + 1, np.intp), None, ValueError),
        (lambda n: np.zeros(n - 1, np.intp), None, ValueError),
        (lambda n: np.zeros((n, 1), np.intp), None, ValueError),
        (lambda n: np.zeros((), np.intp), None, ValueError),
        (lambda n: np.broadcast_to(np.intp(0), n), None, ValueError),
        (lambda n: np.zeros(n), None, TypeError),
        (lambda n: np.zeros(n, bool), None, TypeError),
        (lambda n: np.zeros(n, "i2"), None, TypeError),
        (lambda n: np.zeros(n, object), None, TypeError),
        (lambda n: np.zeros(n, "M8[s]"), None, TypeError),
        (lambda n: np.zeros(n, "i4"), "i8", TypeError),
        (lambda n: np.zeros(n, "i8"), "u8", TypeError),
        (lambda n: [0] * n, None, TypeError),
        (lambda n: (np.zeros(n, np.intp),), None, TypeError),
        (lambda n: None, "f8", TypeError),
        (lambda n: None, "i2", TypeError),
        (lambda n: None, "u1", TypeError),
        (lambda n: None, "?", TypeError),
        (lambda n: None, object, TypeError),
        (lambda n: None, "m8[s]", TypeError),
        (lambda n: None, "not a dtype", TypeError),
        (lambda n: None, "V8", TypeError),
    ],
)
def test_what_is_refused(small, out, dtype, error, n):
    out = out(n)
    before = np.array(out, copy=True)
    with pytest.raises(error):
        sharedarray.argsort(np.arange(n)[::-1], out=out, dtype=dtype, pool=Untouched())
    assert np.array_equal(before, out)


def test_read_only_output(small):
    out = np.zeros(500, np.intp)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        sharedarray.argsort(np.arange(500)[::-1], out=out, pool=Untouched())
    assert not out.any()


@pytest.mark.parametrize(
    ("dtype", "limit"), [("int32", 1 << 31), ("uint32", 1 << 32)], ids=["int32", "uint32"]
)
def test_more_elements_than_the_dtype_counts(dtype, limit):
    """One zero, seen 2**31 times and more: refused before any work."""
    a = np.broadcast_to(np.int8(0), limit + 1)
    with pytest.raises(ValueError, match=str(limit + 1)):
        sharedarray.argsort(a, dtype=dtype, pool=Untouched())
    with pytest.raises(ValueError, match=str(limit + 1)):
        sharedarray.argsort(a.reshape(1, -1), axis=1, dtype=dtype, pool=Untouched())


def test_arguments_are_judged_before_the_output(small):
    out = np.zeros(3)
    for kwargs in ({"axis": 5}, {"kind": "x"}, {"order": "f0"}):
        expected = outcome(lambda k=kwargs: np.argsort(np.zeros(500), **k))
        result = outcome(lambda k=kwargs: sharedarray.argsort(np.zeros(500), out=out, **k))
        assert result == expected


def test_only_by_name():
    for args in ((-1, None, None, np.zeros(3, int)), (-1, None, None, None)):
        with pytest.raises(TypeError):
            sharedarray.argsort(np.zeros(3), *args)
