"""Copy and gather, chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["copy", "gather"]

# Elements; chunks are multiples of it, so that no two workers touch the same page first.
CHUNK = 1 << 12


def copy(a: NDArray[Any], out: NDArray[Any], pool: Pool) -> None:
    """Copy `a` to `out`, both of shape (n,), `out` in memory that the workers share.

    The worker that copies a chunk is the first to touch its pages.
    """
    pool.map(
        lambda chunk: np.copyto(out[chunk.slice], a[chunk.slice]),
        chunks(0, a.size, 4 * n_workers(pool), align=CHUNK),
    )


def gather(a: NDArray[Any], order: NDArray[np.intp], out: NDArray[Any], pool: Pool) -> None:
    """Write ``a[order]`` to `out`; all of shape (n,), and every position in `order` is valid."""

    def kernel(chunk: Chunk) -> None:
        # "clip" lets NumPy write to `out` without a buffer; nothing is clipped.
        np.take(a, order[chunk.slice], out=out[chunk.slice], mode="clip")

    pool.map(kernel, chunks(0, out.size, 4 * n_workers(pool), align=CHUNK))
