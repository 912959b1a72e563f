import numpy as np

import sharedarray
from sharedarray import SharedArray
from tests.ops.support import (
    assert_same_bits,
    outcome,
)

DATA = np.random.default_rng(0).integers(0, 256, 4099, np.uint8).tobytes()
DTYPES = [
    *("u1", "i2", ">i4", "f8", ">f8", "?", "c16", "M8[s]", "S5", "U3", "V7", "g", "f2"),
    *("(3,)i2", "(2,2)>u4", [("a", "u1"), ("b", ">f8")], [("x", "(2,)i2"), ("y", "S3")]),
]


def check(read, *, expect_error=False):
    """Compare NumPy and us in one call; `read` gets the function and opens its own file."""
    expected = outcome(lambda: read(np.fromfile))
    result = outcome(lambda: read(sharedarray.fromfile))
    assert result[0] == expected[0], (result, expected)
    assert (expected[0] == "raised") is expect_error
    if expect_error:
        assert result[1] is expected[1]
        return
    assert type(result[1]) is SharedArray
    assert result[1].flags.c_contiguous
    assert result[1].flags.writeable
    assert result[1].flags.aligned
    assert_same_bits(result[1], expected[1])
