"""The pool of an operation, the memory for its results, and NumPy's exceptions from workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sharedarray import config
from sharedarray.errors import WorkerDied, WorkerException
from sharedarray.memory import creation, pages
from sharedarray.workers.backend import SerialBackend, ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Memory, Pool

__all__ = ["SHARED", "check_pool", "numpy_errors", "pool_for"]

SHARED = Memory(creation.empty, pages.populator)


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
