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

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks, tree_leaves
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["sum_buffered", "sum_times", "sum_tree"]

Kernel = Callable[[Chunk], NDArray[Any]]

# Elements; one call on a leaf takes long enough to hide the hand-over between workers.
LEAF = 1 << 18


def sum_tree(a: NDArray[Any], pool: Pool) -> NDArray[Any] | None:
    """Return the sum of `a` as NumPy's tree gives it, or None where there is something to warn of.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Native byte order, aligned, any stride; bool, integer or float.
    pool : Pool
        Who works.

    Returns
    -------
    ndarray, shape (1,), or None
        In the dtype in which NumPy accumulates: float32 for float16, ``int_`` for narrow integers.
    """
    depth = 0
    while a.size >> (depth + 1) >= LEAF and 1 << depth < 4 * n_workers(pool):
        depth += 1
    sums = _parts(lambda leaf: _sum(a[leaf.slice]), tree_leaves(a.size, 8, depth), pool)
    return None if sums is None else _unless_flagged(lambda: _join(sums))


def sum_buffered(a: NDArray[Any], pool: Pool, buffer_size: int) -> NDArray[Any] | None:
    """Return the sum of `a`, floats in foreign byte order, as NumPy's buffered loop gives it.

    None where there is something to warn of.

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
    ndarray, shape (1,), or None
        In native byte order. Extra memory: a 8192nd of the input, and 4 MiB a worker.
    """
    parts = chunks(0, a.size, 4 * n_workers(pool), align=buffer_size)
    if not parts:
        return np.zeros(1, a.dtype.newbyteorder("="))
    sums = _parts(lambda part: _sum_buffers(a, part, buffer_size), parts, pool)
    return None if sums is None else _unless_flagged(lambda: np.add.accumulate(sums)[-1:])


def sum_times(a: NDArray[Any], pool: Pool) -> NDArray[Any] | None:
    """Return the sum of timedelta64, shape (1,), or None where it depends on the order.

    That is where there is NaT, the smallest integer, or a sum on the way may be beyond the range of
    64 bits: before NumPy 2.5 it wraps, and becomes NaT if it meets that integer; then it raises.
    """
    if not a.size:
        return np.zeros(1, a.dtype.newbyteorder("="))
    integers = a.view(f"{a.dtype.byteorder}i8")
    parts = chunks(0, a.size, max(n_workers(pool), a.size // LEAF))
    found = pool.map(lambda part: _sum_and_range(integers[part.slice]), parts)
    total, low, high = sum(f[0] for f in found), min(f[1] for f in found), max(f[2] for f in found)
    if max(-low, high) * a.size > np.iinfo(np.int64).max:
        return None
    return np.array([total], np.int64).view(a.dtype.newbyteorder("="))


def _sum_and_range(integers: NDArray[Any]) -> tuple[int, int, int]:
    return int(integers.sum()), int(integers.min()), int(integers.max())


def _parts(kernel: Kernel, parts: list[Chunk], pool: Pool) -> NDArray[Any] | None:
    """Return the sums of all parts, or None where one of them has to be warned of."""
    sums = pool.map(lambda part: _unless_flagged(lambda: kernel(part)), parts)
    whole = [s for s in sums if s is not None]
    return np.concatenate(whole) if len(whole) == len(sums) else None


def _unless_flagged(compute: Callable[[], NDArray[Any]]) -> NDArray[Any] | None:
    """Return a result, or None where the processor noted an overflow or an invalid operation.

    What NumPy warns of, once and from the caller's line, a worker cannot: the caller's NumPy has to
    do it again.
    """
    flags: list[str] = []
    with np.errstate(over="call", invalid="call", call=lambda kind, flag: flags.append(kind)):
        result = compute()
    return None if flags else result


def _join(sums: NDArray[Any]) -> NDArray[Any]:
    """Add neighbours pair by pair, level by level."""
    while sums.size > 1:
        sums = np.add.reduce(sums.reshape(-1, 2), axis=1)
    return sums


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
