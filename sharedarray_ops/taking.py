"""Take elements by their indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["take"]

# Elements; a block of indices and what is taken stay in the second-level cache.
BLOCK = 1 << 16


def take(a: NDArray[Any], indices: NDArray[Any], out: NDArray[Any], mode: Any, pool: Pool) -> bool:
    """Write ``np.take(a, indices, axis=1, mode=mode)`` to `out`.

    `a` of shape (l, m, n) and `out` of shape (l, k, n) are C-contiguous and of one dtype. Returns
    whether all is written: with ``mode='raise'`` not where an index is out of bounds.
    """
    n_chunks, length = 4 * n_workers(pool), a.shape[1]
    by_rows = len(a) >= n_chunks
    rows = chunks(0, len(a), n_chunks if by_rows else len(a))
    parts = chunks(0, indices.size, 1 if by_rows else n_chunks)

    def elements(task: tuple[Chunk, Chunk]) -> bool:
        row, part = task
        try:  # NumPy's check and a copy cost less than another look at the indices
            for i, j in blocks(*part, BLOCK):
                out[row.slice, i:j] = np.take(a[row.slice], indices[i:j], 1)
        except IndexError:
            return False
        return True

    def kernel(task: tuple[Chunk, Chunk]) -> bool:
        row, part = task
        for i, j in blocks(*part, part.size if by_rows else BLOCK):
            index = indices[i:j].astype(np.intp, copy=False)
            how = mode
            if mode == "raise":  # with which NumPy would write to a buffer first
                low, high = index.min(), index.max()
                if low < -length or high >= length:
                    return False
                how = "wrap" if low < 0 else "clip"
            np.take(a[row.slice], index, 1, out[row.slice, i:j], how)
        return True

    tasks = [(row, part) for row in rows for part in parts]
    may_copy = mode == "raise" and not by_rows and a.shape[2] == 1
    return all(pool.map(elements if may_copy else kernel, tasks))
