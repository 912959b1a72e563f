"""Copy, assign and gather, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers

__all__ = ["assign", "copy", "gather"]

# Chunks are multiples of so many elements, in fresh memory of so many bytes: each page is first
# touched by one worker.
CHUNK = 1 << 12
HUGE_PAGE_NBYTES = 2 << 20
# Bytes to touch at a time, which are still in the caches when they are written to.
TOUCHED_NBYTES = 4 << 20


def copy(a: NDArray[Any], out: NDArray[Any], pool: Pool, touch: Touch = None) -> None:
    """Copy `a` to `out`, both of one shape, cut along their first axis.

    `out` is in memory that the workers share; its pages are first touched by the worker that copies
    the chunk.
    """
    step = max(1, TOUCHED_NBYTES * len(out) // max(1, out.nbytes))

    def kernel(chunk: Chunk) -> None:
        for i, j in blocks(*chunk, chunk.size if touch is None else step):
            if touch is not None:
                touch(out[i:j])
            np.copyto(out[i:j], a[i:j], casting="unsafe")

    align = _align(out, CHUNK if touch is None else HUGE_PAGE_NBYTES // max(1, out.itemsize))
    pool.map(kernel, chunks(0, len(out), 4 * n_workers(pool), align=align))


def _align(out: NDArray[Any], n: int) -> int:
    """Return how many items of the first axis have `n` elements."""
    return max(1, min(n, n * len(out) // max(1, out.size)))


def assign(out: NDArray[Any], values: NDArray[Any], pool: Pool, touch: Touch = None) -> None:
    """Do ``np.copyto(out, values, casting="unsafe")``.

    Parameters
    ----------
    out : ndarray
        Any shape and layout, in memory that the workers share.
    values : ndarray
        Broadcast to the shape of `out`.
    pool : Pool
        Who works.
    touch : callable, optional
        Called on each part of `out` before it is written to.
    """
    values = np.broadcast_to(values, out.shape)
    if out.flags.c_contiguous and (values.flags.c_contiguous or not any(values.strides)):
        _copy_flat(values, out, pool, touch)
    elif out.flags.f_contiguous and (values.flags.f_contiguous or not any(values.strides)):
        _copy_flat(values.T, out.T, pool, touch)
    else:
        axis = int(np.argmax(out.shape))
        copy(np.moveaxis(values, axis, 0), np.moveaxis(out, axis, 0), pool, touch)


def _copy_flat(values: NDArray[Any], out: NDArray[Any], pool: Pool, touch: Touch) -> None:
    if values.flags.c_contiguous:
        values = values.reshape(-1)
    else:  # one value, broadcast
        values = np.broadcast_to(values[(0,) * values.ndim], out.size)
    copy(values, out.reshape(-1), pool, touch)


def gather(a: NDArray[Any], order: NDArray[np.intp], out: NDArray[Any], pool: Pool) -> None:
    """Write ``a[order]`` to `out`; all of shape (n,), and every position in `order` is valid."""

    def kernel(chunk: Chunk) -> None:
        # "clip" lets NumPy write to `out` without a buffer; nothing is clipped.
        np.take(a, order[chunk.slice], out=out[chunk.slice], mode="clip")

    pool.map(kernel, chunks(0, out.size, 4 * n_workers(pool), align=CHUNK))
