import numpy as np

import sharedarray
from sharedarray import SharedArray
from tests.functions.support import MIN_SORT
from tests.ops.support import (
    assert_same_bits,
    sorted_by_default,
    unchanged,
)

SIZES = [0, 1, 2, MIN_SORT - 1, MIN_SORT, MIN_SORT + 1, 127, 1009]
STABLE = [{"kind": "stable"}, {"kind": "mergesort"}, {"stable": True}, {"kind": b"S"}]
UNSTABLE = [{}, {"kind": None}, {"kind": "quicksort"}, {"kind": "heapsort"}, {"stable": False}]


def check(a, pool, **kwargs):
    """Sort by default: the values of NumPy, and from the threshold on one defined order of bits."""
    with unchanged(a), np.errstate(all="raise"):
        result = sharedarray.sort(a, pool=pool, **kwargs)
    assert type(result) is SharedArray
    assert result.flags.c_contiguous
    if a.size >= MIN_SORT or a.dtype.kind != "f":
        assert_same_bits(result, sorted_by_default(a))
    else:
        np.testing.assert_array_equal(result, np.sort(a), strict=True)


def check_stable(a, pool, **kwargs):
    with unchanged(a), np.errstate(all="raise"):
        result = sharedarray.sort(a, pool=pool, **kwargs)
    assert type(result) is SharedArray
    with np.errstate(all="ignore"):
        assert_same_bits(result, np.sort(a, kind="stable"))


# Elements that are not single numbers of 64 bits: sorted by their argsort.
OTHERS = {
    "S": np.array([b"b", b"a\0", b"", b"a", b"zz"] * 20),
    "U": np.array(["b", "\U0001f600", "", "a", "é"] * 20),
    "V": np.frombuffer(np.random.default_rng(0).bytes(400), "V4"),
    "c8": np.tile(np.array([1 + 1j, 1 - 1j, np.nan, complex(0, np.nan), -0.0, 0], "c8"), 20),
    "c16": np.tile(np.array([1 + 1j, 1 - 1j, complex(np.nan, 1), complex(1, np.nan), 5]), 20),
    "g": np.tile(np.array([3, np.nan, -0.0, 0.0, -np.inf, 1], "g"), 20),
    "record": np.array(
        [(2, 1.0), (1, np.nan), (1, 0.5), (2, 0.0)] * 20, [("a", "i4"), ("b", "f8")]
    ),
}
