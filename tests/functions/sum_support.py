import numpy as np

import sharedarray
from tests.functions.support import MIN_SUM
from tests.ops.support import (
    INTEGERS,
    assert_same_bits,
    outcome,
    unchanged,
)

NATIVE = ["?", *INTEGERS, "f2", "f4", "f8", "m8[s]"]
SUMMABLE = [*NATIVE, *(f">{code}" for code in NATIVE if np.dtype(code).itemsize > 1)]
FLOATS = ["f2", "f4", "f8", ">f2", ">f4", ">f8"]
SIZES = [0, 1, 2, MIN_SUM - 1, MIN_SUM, MIN_SUM + 1, 647, 2999, 10_007]


def assert_same(result, expected):
    """Compare type and bits; NaN is NaN, whichever the processor makes of two."""
    assert type(result) is type(expected)
    with np.errstate(all="ignore"):
        missing = np.isnan(expected) if np.asarray(expected).dtype.kind in "fm" else np.False_
    if missing.any():
        np.testing.assert_array_equal(result, expected, strict=True)
    else:
        assert_same_bits(result, expected)


def check(a, pool=None, **kwargs):
    with np.errstate(all="ignore"):
        expected = outcome(lambda: np.sum(a, **kwargs))
        with unchanged(np.asarray(a)):
            result = outcome(lambda: sharedarray.sum(a, pool=pool, **kwargs))
    assert result[0] == expected[0]
    if result[0] == "raised":  # a sum of times that overflows, from NumPy 2.5 on
        assert result[1] is expected[1]
    else:
        assert_same(result[1], expected[1])


def floats(n, dtype, seed=0):
    with np.errstate(over="ignore"):
        return np.random.default_rng([n, seed]).lognormal(0, 2, n).astype(dtype)
