"""What every operation needs: its pool, plain inputs, NumPy's exceptions, sizes that pay."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray import config
from sharedarray.errors import WorkerDied, WorkerException
from sharedarray.functions.dask import is_dask
from sharedarray.functions.switch import Threshold
from sharedarray.workers.backend import SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Pool

__all__ = [
    "MIN_ARGPARTITION",
    "MIN_ARGSORT",
    "MIN_ARGSORT_WORKERS",
    "MIN_ASSIGN",
    "MIN_ASSIGN_MASK",
    "MIN_BINCOUNT",
    "MIN_CHEAP",
    "MIN_CHEAP_GIVEN",
    "MIN_CUMULATIVE",
    "MIN_DEAR",
    "MIN_FASTEST_NBYTES",
    "MIN_FAST_NBYTES",
    "MIN_FILE",
    "MIN_FROMFILE",
    "MIN_HISTOGRAM",
    "MIN_LINES",
    "MIN_MIDDLE",
    "MIN_PARTITION",
    "MIN_QUANTILE",
    "MIN_QUANTILE_WORKERS",
    "MIN_SEARCHSORTED",
    "MIN_SLOW",
    "MIN_SORT",
    "MIN_SORT_HALF",
    "MIN_SORT_SLOW",
    "MIN_SUM",
    "MIN_TAKE",
    "MIN_TOFILE",
    "MIN_TOFILE_COPIED",
    "MIN_UNIQUE",
    "MIN_UNIQUE_INTEGERS",
    "MIN_UNIQUE_SORTED",
    "MIN_UNIQUE_WORKERS",
    "check_pool",
    "numpy_errors",
    "plain",
    "pool_for",
    "refuse_dask",
]

# From these sizes on our way wins against one call of NumPy: medians on two cores, NumPy 2.4 with
# AVX-512. Elements, except for files and assignment: bytes. While the parallel ways are switched
# off, no size reaches them.
MIN_SORT = Threshold(1 << 20)
MIN_SORT_SLOW = Threshold(1 << 16)  # dtypes that NumPy sorts without SIMD: 8-bit, times
MIN_SORT_HALF = Threshold(1 << 18)  # float16: there are 65,536 values to count
MIN_ARGSORT = Threshold(1 << 12)  # in the caller: packing alone makes it 2 to 10 times as fast
MIN_ARGSORT_WORKERS = Threshold(1 << 19)
MIN_LINES = Threshold(
    1 << 17
)  # of all lines together, where each of them is shorter than it has to be
# Elementwise functions by their cost, for elements of 8 bytes: up to half a nanosecond, about one,
# more. The workers are awake in 50 us where the machine is quiet, in 300 us where it is not. The
# first ones take what the memory takes: into a large new result, for whose pages NumPy waits, they
# gain early; into memory that is given, or a narrow result, late and little.
MIN_CHEAP = Threshold(1 << 22)
MIN_CHEAP_GIVEN = Threshold(1 << 25)
MIN_MIDDLE = Threshold(1 << 21)
MIN_DEAR = Threshold(1 << 18)
MIN_ASSIGN = Threshold(1 << 27)
MIN_ASSIGN_MASK = Threshold(1 << 19)
MIN_BINCOUNT = Threshold(1 << 20)
MIN_HISTOGRAM = Threshold(1 << 18)
MIN_PARTITION = Threshold(1 << 20)
MIN_ARGPARTITION = Threshold(1 << 23)  # at one place, where NumPy has SIMD for it
MIN_QUANTILE = Threshold(1 << 16)  # in the caller: selecting alone makes it 2 to 5 times as fast
MIN_QUANTILE_WORKERS = Threshold(1 << 19)
MIN_SEARCHSORTED = Threshold(1 << 16)
# Other reductions: what NumPy does at the speed of the memory, in bytes; what takes it a nanosecond
# and more for an element, in elements.
MIN_FAST_NBYTES = Threshold(1 << 26)
MIN_FASTEST_NBYTES = Threshold(1 << 27)  # in one pass of SIMD: extremes, counts, sums of integers
MIN_SLOW = Threshold(1 << 20)
MIN_CUMULATIVE = Threshold(1 << 21)
MIN_SUM = Threshold(1 << 21)
MIN_TAKE = Threshold(1 << 19)
MIN_UNIQUE = Threshold(1 << 20)  # with indices
MIN_UNIQUE_SORTED = Threshold(
    1 << 22
)  # where NumPy sorts as well, and only finds the first ones more slowly
MIN_UNIQUE_INTEGERS = Threshold(
    1 << 14
)  # in the caller: NumPy looks integers up in a hash table from 2.3 on
MIN_UNIQUE_WORKERS = Threshold(1 << 18)
MIN_FROMFILE = Threshold(1 << 24)
# Of each of several files, in the mean: opening a file holds the GIL.
MIN_FILE = 1 << 16
# To write, where the elements lie in C order and where they have to be brought into it.
MIN_TOFILE = Threshold(1 << 26)
MIN_TOFILE_COPIED = Threshold(1 << 20)


def pool_for(pool: Pool | None, *, parallel: bool = True) -> Pool:
    """Return the caller's pool, or threads: kernels release the GIL, and a fork costs more.

    Where it would not pay to wake the threads, the pool for ``parallel=False`` runs in the caller.
    """
    if pool is not None:
        return pool
    n_workers = config.get_num_workers() if parallel else 0
    return MapReduce(ThreadBackend if n_workers > 1 else SerialBackend, n_workers)


def check_pool(pool: Pool | None) -> None:
    """Raise TypeError for what is no pool, before any work."""
    if pool is not None and not (hasattr(pool, "map") and hasattr(pool, "np")):
        raise TypeError(f"pool must be a pool such as MapReduce, not {type(pool).__name__}")


def plain(a: ArrayLike) -> NDArray[Any]:
    """Return an array_like as an ndarray, without a copy where it is one.

    Raises
    ------
    TypeError
        For masked arrays, whose masks would be lost, and for dask arrays, which may be larger than
        the memory.
    """
    # Where nobody has imported numpy.ma, which takes a while, there is none.
    if isinstance(a, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        raise TypeError(
            "masked arrays are not supported: use a.compressed(), a.filled() or numpy.ma"
        )
    refuse_dask(a)
    return np.asarray(a)


def refuse_dask(a: Any) -> None:
    """Raise TypeError for a dask array, which would be computed here and now."""
    if is_dask(a):
        raise TypeError(
            "dask arrays are not supported by this function: use that of dask.array, such as "
            "dask.array.cumsum, or a.compute() where the array fits into memory"
        )


@contextmanager
def numpy_errors() -> Iterator[None]:
    """Let exceptions that NumPy raised in a worker out as NumPy's own."""
    reason: BaseException | None = None
    try:
        yield
    except WorkerDied:
        raise
    except WorkerException as error:
        reason = error.reason
    if reason is not None:
        try:
            raise reason
        finally:
            del reason  # the traceback has this frame, which would keep the traceback
