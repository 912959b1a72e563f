"""What the call of any function begins with: inputs, pools, NumPy's exceptions from workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharedarray import config
from sharedarray.errors import WorkerDied, WorkerException
from sharedarray.memory import creation, pages
from sharedarray.workers.backend import SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Memory, Pool

__all__ = [
    "SHARED",
    "by_dask",
    "check_pool",
    "is_dask",
    "numpy_errors",
    "plain",
    "pool_for",
    "refuse_dask",
]

# The functions for dask arrays. They stand above in the column, so they are imported by name.
_BY_DASK = {
    "argsort": "sharedarray.cluster.dask_sort:argsort",
    "fromfile": "sharedarray.cluster.dask_files:fromfile",
    "sort": "sharedarray.cluster.dask_sort:sort",
    "tofile": "sharedarray.cluster.dask_files:tofile",
}
SHARED = Memory(creation.empty, pages.populator)


def plain(a: ArrayLike) -> NDArray[Any]:
    """Return an array_like as an ndarray, without a copy where it is one.

    Raises
    ------
    TypeError
        For masked arrays, whose masks would be lost, and for dask arrays, which may be larger than
        the memory.
    """
    # numpy.ma takes a while to import; until then there are no masked arrays.
    if isinstance(a, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        raise TypeError(
            "masked arrays are not supported: use a.compressed(), a.filled() or numpy.ma"
        )
    refuse_dask(a)
    return np.asarray(a)


def is_dask(a: Any) -> bool:
    """Return whether an object is a dask array; until dask.array is imported there is none."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(a, getattr(module, "Array", ()))


def refuse_dask(a: Any) -> None:
    """Raise TypeError for a dask array, which would be computed here and now."""
    if is_dask(a):
        raise TypeError(
            "dask arrays are not supported by this function: use that of dask.array, such as "
            "dask.array.cumsum, or a.compute() where the array fits into memory"
        )


def by_dask(name: str) -> Any:
    """Return the function of this name for dask arrays."""
    module, _, function = _BY_DASK[name].partition(":")
    return getattr(import_module(module), function)


def check_pool(pool: Pool | None) -> None:
    """Raise TypeError for what is no pool, before any work."""
    if pool is not None and not (hasattr(pool, "map") and hasattr(pool, "np")):
        raise TypeError(f"pool must be a pool such as MapReduce, not {type(pool).__name__}")


def pool_for(pool: Pool | None, *, parallel: bool = True) -> Pool:
    """Return the caller's pool, or threads: kernels release the GIL, and a fork costs more.

    With ``parallel=False``, where waking threads would not pay, the default runs in the caller.
    """
    if pool is not None:
        return pool
    n_workers = config.get_num_workers() if parallel else 0
    return MapReduce(ThreadBackend if n_workers > 1 else SerialBackend, n_workers)


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
