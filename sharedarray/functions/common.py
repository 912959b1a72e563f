"""What every operation needs: its pool, plain inputs, NumPy's exceptions."""

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
from sharedarray.workers.backend import SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Pool

__all__ = [
    "check_pool",
    "numpy_errors",
    "plain",
    "pool_for",
    "refuse_dask",
]


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
