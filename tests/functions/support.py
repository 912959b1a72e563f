"""Small thresholds, and inputs in every layout, for the tests of the functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from sharedarray.files import fromfile
from sharedarray.functions import sorting, sums
from sharedarray_ops.sort import sorting as ways
from tests.ops.support import small_sizes, strided, unaligned

SMALL_THRESHOLDS = {
    sorting: {"MIN_ARGSORT": 40, "MIN_LINES": 40},
    ways: {
        "LONG_ARGSORT": 40,
        "LONG_SORT": 40,
        "LONG_SORT_HALF": 40,
        "LONG_SORT_SLOW": 40,
        "LONG_WIDE": 40,
    },
    sums: {"_SUM": sums._SUM._replace(least=340, least_nbytes=340)},
    fromfile: {"MIN_FROMFILE": 64},
}
MIN_SORT = 40
MIN_SUM = 340
MIN_FROMFILE = 64


@contextmanager
def small_arrays() -> Iterator[pytest.MonkeyPatch]:
    """Let a few hundred elements take the parallel way, through all levels of the algorithms."""
    with small_sizes() as patch:
        for module, thresholds in SMALL_THRESHOLDS.items():
            for name, threshold in thresholds.items():
                assert hasattr(module, name)
                patch.setattr(module, name, threshold)
        yield patch


def layouts(a: np.ndarray, folder: object = None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays of the values of `a`, each in another layout."""
    read_only = a.copy()
    read_only.flags.writeable = False
    yield "contiguous", a.copy()
    yield "read-only", read_only
    yield "strided", strided(a, 3)
    yield "negative stride", strided(a, -1)
    yield "every second from behind", strided(a, -2)
    yield "unaligned", unaligned(a)
    if folder is not None:
        mapped = np.memmap(folder / "mapped.bin", a.dtype, "w+", shape=a.shape)
        mapped[:] = a
        yield "memmap", mapped


class Untouched:
    """A pool for calls that must not work."""

    np = 2

    def map(self, func, sequence):
        pytest.fail("there was work")
