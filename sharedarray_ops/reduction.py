"""Sum along NumPy's own summation tree, so that the bits do not depend on the workers.

chunk
    The array is cut where NumPy's pairwise summation cuts it; each leaf is one `np.add.reduce`.
combine
    Leaves are added pair by pair, level by level, as NumPy adds the halves of its tree.

Pairwise summation: N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput.
14 (1993); the cuts are those of NumPy's inner loop (halves rounded down to 8 accumulators).

Values that are not in native byte order pass through NumPy's ufunc buffer instead: it sums each
buffer pairwise and adds the buffers one after the other, and so does `sum_buffered`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks, tree_leaves
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["sum_buffered", "sum_tree"]

# Elements; one call on a leaf takes long enough to hide the hand-over between workers.
LEAF = 1 << 18


def sum_tree(a: NDArray[Any], pool: Pool) -> NDArray[Any]:
    """Return the sum of `a` as NumPy's tree gives it.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Native byte order, aligned, any stride; bool, integer, float or timedelta64.
    pool : Pool
        Who works.

    Returns
    -------
    ndarray, shape (1,)
        In the dtype in which NumPy accumulates: float32 for float16, ``int_`` for narrow integers.
    """
    depth = 0
    while a.size >> (depth + 1) >= LEAF and 1 << depth < 4 * n_workers(pool):
        depth += 1
    sums = np.concatenate(pool.map(lambda leaf: _sum(a[leaf.slice]), tree_leaves(a.size, 8, depth)))
    while sums.size > 1:
        sums = np.add.reduce(sums.reshape(-1, 2), axis=1)
    return sums


def sum_buffered(a: NDArray[Any], pool: Pool, buffer_size: int) -> NDArray[Any]:
    """Return the sum of `a`, floats in foreign byte order, as NumPy's buffered loop gives it.

    Parameters
    ----------
    a : ndarray, shape (n,)
        float32 or float64 in any layout.
    pool : Pool
        Who works.
    buffer_size : int
        Elements of the ufunc buffer, `np.getbufsize()` of the caller.

    Returns
    -------
    ndarray, shape (1,)
        In native byte order. Extra memory: a 8192nd of the input, and 4 MiB a worker.
    """
    parts = chunks(0, a.size, 4 * n_workers(pool), align=buffer_size)
    sums = np.concatenate(pool.map(lambda part: _sum_buffers(a, part, buffer_size), parts))
    return np.add.accumulate(sums)[-1:]


def _sum(leaf: NDArray[Any]) -> NDArray[Any]:
    # float16 accumulates in float32; a float16 result would round every leaf.
    if leaf.dtype == np.float16:
        leaf = leaf.astype(np.float32)
    return np.add.reduce(leaf, keepdims=True)


def _sum_buffers(a: NDArray[Any], part: Chunk, buffer_size: int) -> NDArray[Any]:
    sums = []
    step = max(1, LEAF // buffer_size) * buffer_size
    for i in range(part.start, part.stop, step):
        native = a[i : min(i + step, part.stop)].astype(a.dtype.newbyteorder("="))
        whole = native.size - native.size % buffer_size
        sums.append(np.add.reduce(native[:whole].reshape(-1, buffer_size), axis=1))
        if whole < native.size:
            sums.append(np.add.reduce(native[whole:], keepdims=True))
    return np.concatenate(sums)
