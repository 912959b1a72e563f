"""Sum along NumPy's own summation tree, so that the bits do not depend on the workers.

chunk
    The array is cut where NumPy's pairwise summation cuts it; each leaf is one `np.add.reduce`.
combine
    Leaves are added pair by pair, level by level, as NumPy adds the halves of its tree.

Pairwise summation: N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput.
14 (1993); the cuts are those of NumPy's inner loop (halves rounded down to 8 accumulators, which
for complex numbers are 4 elements).

Values that are not in native byte order, or that have to be converted, pass through NumPy's ufunc
buffer instead: it sums each buffer pairwise and adds the buffers one after the other, and so does
`sum_buffered`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks, tree_leaves
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["deviations", "sum_buffered", "sum_times", "sum_tree", "unless_flagged"]

Kernel = Callable[[Chunk], NDArray[Any]]
# Computes from some elements, one by one, what is to be added.
Terms = Callable[[NDArray[Any]], NDArray[Any]]

# Elements; one call on a leaf takes long enough to hide the hand-over between workers.
LEAF = 1 << 18
# Leaves for a worker, so that one that is held up takes fewer; with 4, a tenth slower.
LEAVES = 8
# Elements of a leaf whose terms are computed: with 1 << 16, a fifth slower, as the hand-over shows.
TERMS_LEAF = 1 << 18


def sum_tree(
    a: NDArray[Any], pool: Pool, terms: Terms | None = None, *, leaf: int | None = None
) -> NDArray[Any] | None:
    """Return the sum of `a` as NumPy's tree gives it, or None where there is something to warn of.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Native byte order, aligned, any stride; bool, integer, float or complex.
    pool : Pool
        The workers.
    terms : callable, optional
        Gives for a part of `a` as many values, which are added in place of the elements.
    leaf : int, optional
        Elements of a leaf; above 128, or it is none of NumPy's subtrees.

    Returns
    -------
    ndarray, shape (1,), or None
        In the dtype in which NumPy accumulates: float32 for float16, ``int_`` for narrow integers.
        Extra memory: with `terms`, what it takes for 524,288 elements a worker.
    """
    unit = 4 if (a if terms is None else terms(a[:0])).dtype.kind == "c" else 8
    depth, least = 0, LEAF if leaf is None else leaf
    computed = TERMS_LEAF if leaf is None else leaf
    while a.size >> (depth + 1) >= least and 1 << depth < LEAVES * n_workers(pool):
        depth += 1

    def kernel(part: Chunk) -> NDArray[Any]:
        if terms is None:
            return _sum(a[part.slice])
        return _subtree(a[part.slice], terms, unit, computed)

    sums = _parts(kernel, tree_leaves(a.size, unit, depth), pool)
    return None if sums is None else unless_flagged(lambda: _join(sums))


def sum_buffered(
    a: NDArray[Any], pool: Pool, buffer_size: int, dtype: np.dtype[Any] | None = None
) -> NDArray[Any] | None:
    """Return the sum of `a`, converted to another dtype, as NumPy's buffered loop gives it.

    None where there is something to warn of.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Any layout; of another dtype or byte order than `dtype`.
    pool : Pool
        The workers.
    buffer_size : int
        Elements of the ufunc buffer, `np.getbufsize()` of the caller.
    dtype : dtype, optional
        Native float or complex, except for float16. Default: that of `a` in native byte order.

    Returns
    -------
    ndarray, shape (1,), or None
        Of `dtype`. Extra memory: one sum for each buffer, and 262,144 elements a worker.
    """
    dtype = a.dtype.newbyteorder("=") if dtype is None else dtype
    parts = chunks(0, a.size, 4 * n_workers(pool), align=buffer_size)
    if not parts:
        return np.zeros(1, dtype)
    sums = _parts(lambda part: _sum_buffers(a, part, buffer_size, dtype), parts, pool)
    return None if sums is None else unless_flagged(lambda: np.add.accumulate(sums)[-1:])


def sum_times(a: NDArray[Any], pool: Pool) -> NDArray[Any] | None:
    """Return the sum of timedelta64, shape (1,), or None where it depends on the order.

    It does where there is NaT, the smallest integer, or where a partial sum may be beyond the range
    of 64 bits: it wraps before NumPy 2.5, and may become NaT; from 2.5 on it raises.
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


def deviations(mean: NDArray[Any]) -> Terms:
    """Return what squares the distances from a mean, of shape (1,), as NumPy's `var` does."""

    def terms(a: NDArray[Any]) -> NDArray[Any]:
        x: NDArray[Any] = np.subtract(a, mean)
        if x.dtype.kind != "c":
            np.square(x, out=x)
            return x
        parts = x.view(x.real.dtype).reshape(-1, 2)
        np.square(parts, out=parts)
        squares: NDArray[Any] = np.add(parts[:, 0], parts[:, 1])
        return squares

    return terms


def unless_flagged(compute: Callable[[], NDArray[Any] | None]) -> NDArray[Any] | None:
    """Return a result, or None where the processor noted an overflow or an invalid operation.

    NumPy warns once, from the caller's line; a worker cannot: NumPy has to do it again in the
    caller. Underflow is common where it is of no interest, and counts unless the caller ignores it.
    """
    flags: list[str] = []
    under: Any = "ignore" if np.geterr()["under"] == "ignore" else "call"
    with np.errstate(
        over="call", invalid="call", divide="call", under=under, call=lambda *flag: flags.append("")
    ):
        result = compute()
    return None if flags else result


def _sum_and_range(integers: NDArray[Any]) -> tuple[int, int, int]:
    return int(integers.sum()), int(integers.min()), int(integers.max())


def _parts(kernel: Kernel, parts: list[Chunk], pool: Pool) -> NDArray[Any] | None:
    """Return the sums of all parts, or None where one of them has to be warned of."""
    sums = pool.map(lambda part: unless_flagged(lambda: kernel(part)), parts)
    whole = [s for s in sums if s is not None]
    return np.concatenate(whole) if len(whole) == len(sums) else None


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


def _subtree(a: NDArray[Any], terms: Terms, unit: int, leaf: int) -> NDArray[Any]:
    """Return the sum of the terms of a subtree, which are computed leaf by leaf."""
    if a.size < 2 * leaf:
        return _sum(terms(a))
    half = a.size // 2
    half -= half % unit
    total = _subtree(a[:half], terms, unit, leaf)
    total += _subtree(a[half:], terms, unit, leaf)
    return total


def _sum_buffers(
    a: NDArray[Any], part: Chunk, buffer_size: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    sums = []
    step = max(1, LEAF // buffer_size) * buffer_size
    for i in range(part.start, part.stop, step):
        native = a[i : min(i + step, part.stop)].astype(dtype)
        whole = native.size - native.size % buffer_size
        sums.append(np.add.reduce(native[:whole].reshape(-1, buffer_size), axis=1))
        if whole < native.size:
            sums.append(np.add.reduce(native[whole:], keepdims=True))
    return np.concatenate(sums)
