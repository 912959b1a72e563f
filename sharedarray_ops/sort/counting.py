"""Sort 8-bit values and float16 by counting them.

Each worker counts the values of its chunks, the coordinator adds the counts, and each worker fills
its part of the array with the values whose turn it is there. Two passes over the array, whatever
the values are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["counting_sort"]

# Elements; `bincount` turns a block into 64-bit integers, so larger blocks leave the cache, and
# smaller ones spend their time on adding up 65,536 counts.
BLOCK = 1 << 18


def counting_sort(a: NDArray[Any], pool: Pool) -> None:
    """Sort `a` in place: contiguous, 1-d, bool, 8-bit values or float16 in any byte order.

    Equal bits are equal: -0.0 goes before +0.0, and NaN of all kinds last, in the order of their
    bits.
    """
    a = a.view(np.ndarray)
    bits = a.view(np.uint8 if a.dtype.itemsize == 1 else f"{a.dtype.byteorder}u2")
    parts = chunks(0, a.size, 4 * n_workers(pool))
    if not parts:
        return
    counts = np.sum(pool.map(lambda part: _count(bits[part.slice]), parts), axis=0)
    order = _value_order(a.dtype)
    values = order.astype(bits.dtype)
    ends = np.cumsum(counts[order])
    pool.map(lambda part: _fill(bits, part, values, ends), parts)


def _count(bits: NDArray[Any]) -> NDArray[np.intp]:
    """Return how often each of the possible bit patterns occurs."""
    n_values = 1 << (8 * bits.dtype.itemsize)
    counts = np.zeros(n_values, np.intp)
    for i, j in blocks(0, bits.size, BLOCK):
        counts += np.bincount(bits[i:j], minlength=n_values)
    return counts


def _value_order(dtype: np.dtype[Any]) -> NDArray[np.intp]:
    """Return all bit patterns of `dtype` in the order of the values that they stand for."""
    n_values = 1 << (8 * dtype.itemsize)
    patterns = np.arange(n_values)
    if dtype.kind == "i":
        return np.roll(patterns, n_values // 2)
    if dtype.kind == "f":
        negative, positive = patterns[n_values // 2 :], patterns[: n_values // 2]
        values = negative.astype(np.uint16).view(np.float16)
        numbers = ~np.isnan(values)
        return np.concatenate([negative[numbers][::-1], positive, negative[~numbers]])
    return patterns


def _fill(bits: NDArray[Any], part: Chunk, values: NDArray[Any], ends: NDArray[np.intp]) -> None:
    """Write to one part of the array the values that belong there."""
    for i, j in blocks(*part, BLOCK):
        first = int(np.searchsorted(ends, i, "right"))
        last = int(np.searchsorted(ends, j, "left"))
        repeats = np.diff(np.minimum(ends[first : last + 1], j), prepend=i)
        bits[i:j] = np.repeat(values[first : last + 1], repeats)
