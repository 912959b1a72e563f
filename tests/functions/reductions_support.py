"""Calls of reductions beside NumPy's own, and sizes that make small arrays go the parallel way."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from sharedarray.functions import averages, cumulative, extremes, reductions, sums, truth
from sharedarray_ops.reduce import folding, scan, summation
from tests.ops.support import assert_same_bits

OURS = {
    name: getattr(module, name)
    for module, names in (
        (sums, "sum prod nansum"),
        (extremes, "min max ptp argmin argmax nanmin nanmax"),
        (truth, "any all count_nonzero"),
        (averages, "mean var std nanmean"),
        (cumulative, "cumsum cumprod"),
    )
    for name in names.split()
}
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", "F", "D"]
DTYPES += [">f2", ">f4", ">f8", ">i4", ">u8", ">c8", ">c16", "m8[s]", "M8[ns]", ">m8[D]"]
REDUCTIONS = [name for name in OURS if not name.startswith("cum")]
SIZES = [0, 1, 2, 299, 300, 301, 647, 3001, 10_007]
SHAPES = [(647,), (10_007,), (20, 50), (1000, 3), (3, 1000), (7, 8, 30), (1, 900), (900, 1)]
SHAPES += [(4, 5, 6, 8), (2, 2, 400), (8200, 4), (4, 8200), (17, 31), (5, 8191)]
EXTREMES = ["min", "max", "nanmin", "nanmax"]
SMALL = {
    **{
        module: {
            name: reducer._replace(least=300, least_nbytes=300)
            for name, reducer in vars(module).items()
            if isinstance(reducer, reductions.Reducer)
        }
        for module in (sums, extremes, truth, averages)
    },
    cumulative: {"MIN_CUMULATIVE": 300},
    reductions: {"_FRONT": 8},
    summation: {"LEAF": 160, "TERMS_LEAF": 150},
    folding: {"CHUNK_NBYTES": 400, "CACHED_NBYTES": 200, "RUN_NBYTES": 16, "COPIED_RUN_NBYTES": 16},
    scan: {"BLOCK": 16, "TOUCHED_NBYTES": 400, "RUN_NBYTES": 32},
}


@contextmanager
def small_reductions() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        for module, sizes in SMALL.items():
            for name, size in sizes.items():
                assert hasattr(module, name)
                patch.setattr(module, name, size)
        yield patch


def result_of(call: Any) -> tuple[str, Any, list[tuple[type, str]]]:
    """Return what a call did, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            what, value = "returned", call()
        except Exception as error:
            what, value = "raised", type(error)
    return what, value, sorted({(w.category, str(w.message)) for w in caught}, key=str)


def check_call(name: str, a: Any, *args: Any, pool: Any = None, **kwargs: Any) -> None:
    """Compare value, bits, class, layout, error and warnings with NumPy's."""
    plain = a.view(np.ndarray) if isinstance(a, np.ndarray) and type(a) is not np.memmap else a
    before = np.asarray(a).tobytes()
    expected = result_of(lambda: getattr(np, name)(plain, *args, **kwargs))
    result = result_of(lambda: OURS[name](a, *args, pool=pool, **kwargs))
    assert np.asarray(a).tobytes() == before
    assert result[0] == expected[0], (result, expected)
    if name in ("sum", "prod", "cumsum", "cumprod"):  # says what NumPy's own call of it says
        assert result[2] == expected[2]
    else:
        assert {w for w, _ in result[2]} == {w for w, _ in expected[2]}, (result[2], expected[2])
    if result[0] == "raised":
        assert result[1] is expected[1]
        return
    compare(name, result[1], expected[1])


def compare(name: str, result: Any, expected: Any) -> None:
    if not name.startswith("cum"):
        assert type(result) is type(expected)
    if isinstance(expected, np.ndarray):
        steps = zip(result.shape, result.strides, expected.strides, strict=True)
        assert all(n == 1 or one == other for n, one, other in steps)
    x, y = np.array(result), np.array(expected)
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    if y.dtype.kind in "fcmM":
        missing = np.isnan(y)
        assert (np.isnan(x) == missing).all()
        if y.dtype.kind == "c" and missing.any():  # one part may be a number
            np.testing.assert_array_equal(x[missing], y[missing])
        x[missing] = y[missing] = 0  # which NaN comes of two is the processor's choice
    if name in EXTREMES and y.dtype.kind in "fc":  # which zero comes of two, too
        x, y = x + 0.0, y + 0.0
    if y.dtype.char in "gG":  # the padding has no meaning
        np.testing.assert_array_equal(x, y)
    else:
        assert_same_bits(x, y)


def numbers(shape, dtype, seed=0):
    """Return values in whose sums the order of the elements shows."""
    rng = np.random.default_rng([seed, *shape])
    dtype = np.dtype(dtype)
    with np.errstate(all="ignore"):
        if dtype.kind in "mM":
            return rng.integers(-1000, 1000, shape).view(f"{dtype.kind}8[s]").astype(dtype)
        if dtype.kind in "biu":
            return rng.integers(-(1 << 62), 1 << 62, shape).astype(dtype)
        a = (rng.lognormal(0, 2, shape) * rng.choice([-1, 1], shape)).astype(dtype)
        if dtype.kind == "c":
            a = (a + 1j * a.real[::-1]).astype(dtype)
        return a


def with_specials(a, kind, rng):
    """Put NaN, infinities, NaT or many equal elements into an array."""
    if a.dtype.kind in "fc" and kind in ("nan", "many nan", "infinity"):
        share = {"nan": 0.01, "many nan": 0.5, "infinity": 0.005}[kind]
        a[rng.random(a.shape) < share] = np.inf if kind == "infinity" else np.nan
    elif a.dtype.kind in "mM" and kind == "nan":
        a[rng.random(a.shape) < 0.01] = "NaT"
    elif kind == "few":
        with np.errstate(all="ignore"):
            a[...] = rng.integers(0, 2, a.shape).astype(a.dtype)
    elif kind == "zeros":
        a[...] = np.zeros(1, a.dtype)
        if a.dtype.kind == "f":
            a[rng.random(a.shape) < 0.5] *= -1
    return a


def arranged(a, order, steps):
    """Return another layout of the axes of an array."""
    a = a.transpose(np.argsort([hash((order, i)) % 97 for i in range(a.ndim)], kind="stable"))
    if order % 4 == 1:
        a = np.asfortranarray(a)
    elif order % 4 == 2:
        a = np.ascontiguousarray(a)
    return a[tuple(slice(None, None, steps[i % len(steps)]) for i in range(a.ndim))]
