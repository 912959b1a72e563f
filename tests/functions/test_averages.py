import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray.functions.averages import quotient
from tests.functions.reductions_support import (
    OURS,
    SHAPES,
    arranged,
    check_call,
    numbers,
    small_reductions,
)
from tests.ops.support import RecordingPool, UnorderedPool

NUMBERS = ["?", "i1", "i8", "u4", "f2", "f4", "f8", "g", "F", "D", ">f4", ">f8", ">c16", ">i4"]


@given(data=st.data())
def test_spread_with_any_degrees_of_freedom(data):
    draw = data.draw
    a = numbers(draw(st.sampled_from(SHAPES)), draw(st.sampled_from(NUMBERS)))
    a = arranged(a, draw(st.integers(0, 99)), draw(st.sampled_from([[1], [-1], [2, 1]])))
    degrees = draw(st.sampled_from([0, 1, 2, 0.5, -3, 100, 10_000]))
    kwargs = {draw(st.sampled_from(["ddof", "correction"])): degrees}
    if draw(st.booleans()):
        kwargs["dtype"] = draw(st.sampled_from(["f8", "f4", "g", "i4", "f2", "D", "F"]))
    axis = draw(st.one_of(st.none(), st.integers(0, a.ndim - 1)))
    keepdims = draw(st.booleans())
    pool = UnorderedPool(draw(st.integers(1, 9)), seed=1)
    with small_reductions():
        for name in ("var", "std"):
            check_call(name, a, axis=axis, pool=pool, keepdims=keepdims, **kwargs)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_large_values_close_together(dtype):
    """Where one rounding of the mean shows in all digits of the variance."""
    a = (numbers((20_011,), "f8") % 3 + 1000).astype(dtype)
    with small_reductions():
        for name in ("mean", "var", "std"):
            check_call(name, a, pool=UnorderedPool(3))
            check_call(name, a, pool=UnorderedPool(3), keepdims=True)


@pytest.mark.parametrize("buffer_size", [16, 4096, 65_536])
def test_buffer_size_of_the_caller(buffer_size):
    before = np.setbufsize(buffer_size)
    try:
        with small_reductions():
            for dtype in ("i4", ">f8", "f2", ">c8"):
                a = numbers((200_003,), dtype) if dtype != "i4" else np.arange(200_003, dtype="i4")
                for name in ("mean", "var", "sum"):
                    check_call(name, a, pool=UnorderedPool(3))
                check_call("sum", a, pool=UnorderedPool(3), dtype="D")
    finally:
        np.setbufsize(before)


@pytest.mark.parametrize("dtype", ["f2", "f4", "F", "D", "g", "f8"])
def test_scalars_are_divided_as_numpy_divides_scalars(dtype):
    """For float16 and complex numbers NumPy's two ways to divide give different bits."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 5000))
        a = rng.standard_normal(n).astype(dtype)
        if a.dtype.kind == "c":
            a = a + a.dtype.type(1j) * a[::-1]
        total = np.add.reduce(a, dtype=np.float32 if dtype == "f2" else None, keepdims=True)
        for is_scalar in (True, False):
            result = quotient(total, np.intp(n), a.dtype, is_scalar=is_scalar)
            expected = np.asarray(np.mean(a, keepdims=not is_scalar))
            assert result.dtype == expected.dtype
            assert result[0] == expected.reshape(-1)[0]


def test_no_copy_of_the_array_is_made():
    a = np.ones((1 << 21, 2))
    for name in ("var", "nansum", "nanmean"):
        for axis in (None, 1):
            pool = RecordingPool(1)
            OURS[name](a, axis=axis, pool=pool)
            assert pool.maps
            if axis == 1:
                assert max(chunk.size for chunk in pool.maps[0]) * 16 <= 2 << 20
