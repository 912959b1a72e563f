"""Count values, or how many lie in each bin, chunk by chunk; the counts of chunks are added.

Values are counted by `np.add.at` on one-dimensional positions. It takes less time than
`np.bincount` but, like most of that, keeps the GIL: threads convert and compare side by side, and
count in turns.

Bins are counted by `np.histogram` of every chunk. Given edges, it sorts 65,536 elements at a time
and looks the edges up in them: two long calls without the GIL, where computing bins from their
width takes twenty short ones. `decided_by_edges` tells when both find the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers

__all__ = [
    "MAX_COUNTS",
    "bincount",
    "decided_by_edges",
    "histogram",
    "histogram_narrow",
]

# Counts of a chunk at most. In the next level of cache, two workers count no faster than one.
MAX_COUNTS = 1 << 17
# Elements of a chunk of `bincount`, so that adding up the counts takes less time than counting.
MIN_CHUNK = 1 << 18
# Elements counted at a time, in a cache with their positions; threads take turns after each.
BLOCK = 1 << 17
# Integers below it are exact as float64.
_EXACT = 2**53


def bincount(x: NDArray[Any], pool: Pool, max_counts: int | None = None) -> NDArray[np.intp] | None:
    """Count the occurrences of each value.

    Parameters
    ----------
    x : ndarray, shape (n,)
        bool or integers, any layout.
    pool : Pool
        Who works.
    max_counts : int, default `MAX_COUNTS`
        How many counts there are at most.

    Returns
    -------
    ndarray of intp or None
        As many counts as the largest value needs; None where a value is negative, or needs more
        than there may be.

    Notes
    -----
    Each chunk is read once. 8-bit values are counted in pairs, 65,536 counts for half as many
    elements. Extra memory: at most 1.5 MiB a chunk; there are at most 4 chunks a worker.
    """
    if x.dtype.kind == "b":
        x = x.view(np.uint8)
    n_chunks = max(1, min(4 * n_workers(pool), x.size // MIN_CHUNK))
    limit = MAX_COUNTS if max_counts is None else max_counts

    def kernel(part: Chunk) -> NDArray[np.intp] | None:
        chunk = x[part.slice]
        return _count_bytes(chunk) if chunk.itemsize == 1 else _count(chunk, limit)

    found = pool.map(kernel, chunks(0, x.size, n_chunks))
    tables = [table for table in found if table is not None]
    if len(tables) < len(found):
        return None
    counts = np.zeros(max((table.size for table in tables), default=0), np.intp)
    for table in tables:
        counts[: table.size] += table
    return counts


def _count(x: NDArray[Any], limit: int) -> NDArray[np.intp] | None:
    """Count the values of a chunk, or return None where one is negative or too large."""
    counts = np.zeros(1 << 8, np.intp)
    n_values = 0
    scratch = np.empty(min(BLOCK, x.size), np.intp)
    for i, j in blocks(0, x.size, BLOCK):
        if x.dtype == np.intp and x.flags.aligned and x.flags.c_contiguous:
            position = x[i:j]
        else:
            position = scratch[: j - i]
            np.copyto(position, x[i:j], casting="unsafe")
        n_values = max(n_values, 1 + int(position.view(np.uintp).max()))  # or negative
        if n_values > limit:
            return None
        if n_values > counts.size:
            counts = _grown(counts, min(2 * n_values, limit))
        np.add.at(counts, position, 1)
    return counts[:n_values]


def _grown(counts: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Return a larger table with these counts in it."""
    table = np.zeros(size, np.intp)
    table[: counts.size] = counts
    return table


def _count_bytes(x: NDArray[Any]) -> NDArray[np.intp] | None:
    """Count 8-bit values, two at a time, or return None where one is negative."""
    if x.dtype.kind == "i" and x.min() < 0:
        return None
    pairs = np.zeros((1 << 8, 1 << 8), np.intp)
    scratch = np.empty(min(BLOCK, x.size // 2), np.intp)
    for i, j in blocks(0, x.size // 2, BLOCK):
        position = scratch[: j - i]
        pair = np.ascontiguousarray(x[2 * i : 2 * j]).view(np.uint16)
        np.copyto(position, pair, casting="unsafe")
        np.add.at(pairs.reshape(-1), position, 1)
    counts: NDArray[np.intp] = pairs.sum(axis=0) + pairs.sum(axis=1)
    if x.size % 2:
        counts[x[-1]] += 1
    return counts[: int(counts.nonzero()[0][-1]) + 1]


def decided_by_edges(first: Any, last: Any, edges: NDArray[Any]) -> bool:
    """Return whether a uniform bin has just the elements between its edges.

    `numpy.histogram` computes the bin of an element from the width, in rounded steps, and corrects
    it by one if the rounded edges say otherwise. The result lies between the edges if bins are wide
    beside the rounding: an edge and the end that the width is measured from are off by a few units
    in the last place of the larger end, the quotient by a few units of its own. Subnormal numbers
    have no such bound.

    Parameters
    ----------
    first, last : number
        The outer edges before they were rounded.
    edges : ndarray, shape (n_bins + 1,)
        The edges, rounded to the dtype that `numpy.histogram` chose.
    """
    is_integer = isinstance(first, int | np.integer), isinstance(last, int | np.integer)
    if any(is_integer) and max(abs(int(first)), abs(int(last))) >= _EXACT:
        return False
    if edges.dtype.char not in "efd":
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(edges[-1] - edges[0]):
            return False
        unit = np.spacing(np.abs(edges[[0, -1]]).max())
        narrowest = np.diff(edges).min()
    limits = np.finfo(edges.dtype)
    is_wide = narrowest >= 16 * unit and narrowest >= 16 * limits.smallest_normal
    return bool(is_wide and 16 * edges.size * limits.eps <= 1)


def histogram(a: NDArray[Any], bins: Any, range: Any, pool: Pool) -> NDArray[np.intp]:
    """Return how many elements lie in each bin, by `numpy.histogram` of every chunk.

    Parameters
    ----------
    a : ndarray, shape (n,)
        Not empty; any layout and dtype.
    bins, range
        As for `numpy.histogram`; `range` is needed where `bins` is a number.
    pool : Pool
        Who works.
    """
    parts = chunks(0, a.size, 4 * n_workers(pool), align=BLOCK)
    found = pool.map(lambda part: np.histogram(a[part.slice], bins, range)[0], parts)
    counts: NDArray[np.intp] = np.sum(found, axis=0, dtype=np.intp)
    return counts


def histogram_narrow(a: NDArray[Any], edges: NDArray[Any], pool: Pool) -> NDArray[np.intp]:
    """Return how many elements lie in each bin, by counting bit patterns.

    Parameters
    ----------
    a : ndarray, shape (n,)
        8-bit or 16-bit numbers, any layout.
    edges : ndarray, shape (m,)
        As for `numpy.histogram`.
    pool : Pool
        Who works.
    """
    dtype = a.dtype.newbyteorder("=")
    words = a.view(f"{a.dtype.byteorder}u{dtype.itemsize}")
    counts: Any = bincount(words, pool, 1 << 16)  # never None
    patterns = np.arange(counts.size).astype(f"u{dtype.itemsize}").view(dtype)
    with np.errstate(invalid="ignore"):  # a signalling NaN is a pattern here
        order = np.argsort(patterns, kind="stable")
        values = patterns[order]
        below = np.concatenate(
            [values.searchsorted(edges[:-1]), values.searchsorted(edges[-1:], "right")]
        )
    n_below = np.concatenate([np.zeros(1, np.intp), np.cumsum(counts[order])])
    n_between: NDArray[np.intp] = np.diff(n_below[below])
    return n_between
