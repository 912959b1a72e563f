"""Cumulative sums and products.

along one line, of integers
    Two passes. Sums: every chunk is summed; then each worker accumulates a chunk and adds what is
    before it, part by part while the part is in the caches. Products: each worker accumulates a
    chunk, and then multiplies it with what is before it. Integers wrap: any order gives the same
    bits. (Blelloch, "Prefix sums and their applications", 1990.)
of many lines
    Each worker has NumPy accumulate lines of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers
from sharedarray_ops.reduce.summation import unless_flagged

__all__ = ["accumulate_line", "accumulate_lines"]

# Elements that are accumulated at once, and then combined with what is before them.
BLOCK = 1 << 16
# Bytes that are touched at once, before they are written to.
TOUCHED_NBYTES = 4 << 20
# Bytes of adjacent elements in a chunk, where lines are not adjacent ones.
RUN_NBYTES = 1 << 16


def accumulate_line(
    ufunc: np.ufunc, a: NDArray[Any], out: NDArray[Any], pool: Pool, touch: Touch = None
) -> None:
    """Accumulate bool or integers along one line, by `numpy.add` or `numpy.multiply`.

    `out` is in memory that the workers share, none of it in common with `a`; `touch` is called on
    each part of it before that is written to.
    """
    parts = chunks(0, a.size, n_workers(pool), align=BLOCK)

    def total(part: Chunk) -> NDArray[Any]:
        result: NDArray[Any] = ufunc.reduce(a[part.slice], dtype=out.dtype, keepdims=True)
        return result

    def accumulate(item: tuple[Chunk, NDArray[Any]]) -> NDArray[Any]:
        part, last = item
        for big in blocks(*part, max(BLOCK, TOUCHED_NBYTES // out.itemsize)):
            if touch is not None:
                touch(out[big.slice])
            for block in blocks(*big, BLOCK):
                here = out[block.slice]
                ufunc.accumulate(a[block.slice], dtype=out.dtype, out=here)
                ufunc(here, last, out=here)
                last = here[-1:]
        return last.copy()

    def apply(item: tuple[Chunk, NDArray[Any]]) -> None:
        part, last = item
        ufunc(out[part.slice], last, out=out[part.slice])

    identity = np.full(1, ufunc.identity, out.dtype)
    if ufunc is np.add:  # there are SIMD loops for sums, none for products
        before = _before(ufunc, identity, pool.map(total, parts[:-1]))
        pool.map(accumulate, list(zip(parts, before, strict=True)))
    else:
        ends = pool.map(accumulate, [(part, identity) for part in parts])
        before = _before(ufunc, identity, ends[:-1])
        pool.map(apply, list(zip(parts[1:], before[1:], strict=True)))


def _before(
    ufunc: np.ufunc, identity: NDArray[Any], totals: list[NDArray[Any]]
) -> list[NDArray[Any]]:
    """Return what is before each chunk, one more than there are totals."""
    before = [identity]
    for total in totals:
        before.append(ufunc(before[-1], total))
    return before


def accumulate_lines(
    ufunc: np.ufunc,
    a: NDArray[Any],
    axis: int,
    out: NDArray[Any],
    pool: Pool,
    touch: Touch = None,
) -> bool:
    """Accumulate along an axis of two or more, by `numpy.add` or `numpy.multiply`.

    `out` has the shape of `a`, which is not empty, and is in memory that the workers share, none of
    it in common with `a`; `touch` is called on each part of it before that is written to. Return
    False for what is left to NumPy: warnings, and chunks that would be columns of short rows.
    """
    kept = max((i for i in range(a.ndim) if i != axis % a.ndim), key=lambda i: abs(out.strides[i]))
    n_parts = max(4 * n_workers(pool), out.nbytes // TOUCHED_NBYTES)
    if abs(out.strides[axis]) > abs(out.strides[kept]):
        n_parts = min(n_parts, a.shape[kept] * out.strides[kept] // RUN_NBYTES)
    if n_parts < 2:
        return False

    def kernel(part: Chunk) -> bool:
        place = (*(slice(None),) * kept, part.slice)
        if touch is not None:
            touch(out[place])
        done = unless_flagged(
            lambda: ufunc.accumulate(a[place], axis=axis, dtype=out.dtype, out=out[place])
        )
        return done is not None

    return all(pool.map(kernel, chunks(0, a.shape[kept], n_parts)))
