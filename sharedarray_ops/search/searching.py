"""Search a sorted table for many needles, each block of needles in the order of their values.

A binary search for a random needle mispredicts half of its branches, and in a table larger than the
caches it waits for memory at each of its last steps. NumPy's search starts from the needle before,
so that needles in order cost a fifth to a twentieth. Sorting a block of them costs far less than
that: each needle becomes one word, its leading bits above its position, and NumPy sorts the words
as integers. The order need not be exact: in a sorted table, which `is_sorted` tells, a position
depends on its own needle alone. In any other, what NumPy finds depends on the needles before.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, Touch, n_workers

__all__ = ["is_sorted", "searchsorted"]

# Needles that are sorted together: as many as the table has elements, so that neighbours share
# cache lines, within these limits. More cost a longer sort and 32 bytes each.
MIN_BLOCK = 1 << 14
MAX_BLOCK = 1 << 20
# Elements between the needles of a block; a search in fewer takes no longer than to sort a needle.
MIN_TABLE = 1 << 5
# Elements; up to this size of the table, runs of needles are found as fast as needles in order.
CACHED_TABLE = 1 << 12
# One pair of neighbours in so many needles shows whether they are in order. A prime, so that the
# ends of runs of a round length are met.
SAMPLED = 17
# Elements that are compared while they are in the cache.
COMPARED = 1 << 16


def searchsorted(
    a: NDArray[Any],
    v: NDArray[Any],
    out: NDArray[np.intp],
    side: Literal["left", "right"],
    pool: Pool,
    touch: Touch = None,
    *,
    descending: bool = False,
) -> None:
    """Write ``a.searchsorted(v, side)`` to `out`.

    Parameters
    ----------
    a : ndarray, shape (m,)
        Sorted as `is_sorted` says, contiguous, in native byte order.
    v : ndarray, shape (n,)
        Any layout and any dtype that casts to that of `a`.
    out : ndarray of intp, shape (n,)
        Contiguous, in memory that the workers share.
    side : {'left', 'right'}
        As for `numpy.searchsorted`.
    pool : Pool
        Who works.
    touch : callable, optional
        Called on each part of `out` before it is written to.
    descending : bool, default False
        Whether to count the positions from the end of `a`: write ``m`` less each of them.

    Notes
    -----
    Extra memory: about 32 bytes for each needle of a block of at most 1,048,576, for every worker.
    """
    a, out = a.view(np.ndarray), out.view(np.ndarray)
    size = min(max(a.size, MIN_BLOCK), MAX_BLOCK)
    k = n_workers(pool)

    def kernel(chunk: Chunk) -> None:
        for i, j in blocks(*chunk, size):
            if touch is not None:
                touch(out[i:j])
            _search(a, v[i:j].astype(a.dtype, copy=False), out[i:j], side)
            if descending:
                np.subtract(a.size, out[i:j], out=out[i:j])

    pool.map(kernel, chunks(0, v.size, max(k, min(4 * k, v.size // size))))


def is_sorted(a: NDArray[Any], pool: Pool) -> bool:
    """Return whether `a`, of shape (n,), is in NumPy's sort order: NaN and NaT last.

    False for complex numbers with NaN, whatever their order.
    """
    n_numbers = a.size
    if a.size and a.dtype.kind in "fmM" and np.isnan(a[-1]):
        n_numbers = int(a.searchsorted(a[-1]))
    parts = chunks(0, a.size, 4 * n_workers(pool), align=COMPARED)
    return all(pool.map(lambda part: _is_sorted(a, part, n_numbers), parts))


def _is_sorted(a: NDArray[Any], chunk: Chunk, n_numbers: int) -> bool:
    """Return whether a chunk is in order, from the element before it on."""
    for i, j in blocks(*chunk, COMPARED):
        numbers, missing = a[max(i - 1, 0) : min(j, n_numbers)], a[max(i, n_numbers) : j]
        if not np.all(numbers[:-1] <= numbers[1:]):
            return False
        if missing.size and not np.all(np.isnan(missing)):
            return False
    return True


def _search(
    a: NDArray[Any], v: NDArray[Any], out: NDArray[np.intp], side: Literal["left", "right"]
) -> None:
    """Search for one block of needles."""
    if not _has_words(v.dtype) or _is_in_order(v, a.size) or _n_between(a, v) < MIN_TABLE:
        out[:] = a.searchsorted(v, side)
    else:
        order = _order(_words(v))
        out[order] = a.searchsorted(v[order], side)


def _n_between(a: NDArray[Any], v: NDArray[Any]) -> int:
    """Return how many elements of the table lie between the least and the greatest needle."""
    low, high = a.searchsorted(np.array([v.min(), v.max()]))
    return int(high - low)


def _is_in_order(v: NDArray[Any], table_size: int) -> bool:
    """Return whether needles rise or fall all the way, or mostly in a table that is in a cache.

    Judged by some of them: all would cost as much as a quarter of a search in order.
    """
    n_pairs = v.size // SAMPLED
    left, right = v[: n_pairs * SAMPLED : SAMPLED], v[1::SAMPLED][:n_pairs]
    with np.errstate(invalid="ignore"):  # NaN
        n_turns = min(np.count_nonzero(left > right), np.count_nonzero(left < right))
    return bool(n_turns <= (n_pairs // 8 if table_size <= CACHED_TABLE else 0))


def _order(words: NDArray[Any]) -> NDArray[np.intp]:
    """Return an order in which the leading bits of integers rise."""
    low, high = int(words.min()), int(words.max())
    n_bits, index_bits = (high - low).bit_length(), (words.size - 1).bit_length()
    # Signed values sign-extend, so that the wrapped distance is right for any width.
    keys = words.astype(np.uint64)
    keys -= np.uint64(low % 2**64)
    keys >>= np.uint64(max(0, n_bits + index_bits - 64))
    keys <<= np.uint64(index_bits)
    keys |= np.arange(words.size, dtype=np.uint64)
    keys.sort()
    keys &= np.uint64((1 << index_bits) - 1)
    return keys.astype(np.intp, copy=False)


def _has_words(dtype: np.dtype[Any]) -> bool:
    """Return whether values can be sorted as integers: neither text nor long doubles."""
    return dtype.kind in "biumM" or dtype.itemsize <= {"f": 8, "c": 16}.get(dtype.kind, 0)


def _words(v: NDArray[Any]) -> NDArray[Any]:
    """Return integers in the order of numbers, those of NaN anywhere."""
    kind, nbytes = v.dtype.kind, v.dtype.itemsize
    if kind in "iu":
        return v
    if kind == "b":
        return v.view(np.uint8)
    if kind in "mM":
        return v.view(np.int64)
    if kind == "c":  # by their real parts
        return _words(np.ascontiguousarray(v.real))
    if nbytes == 2:
        with np.errstate(invalid="ignore"):  # a signalling NaN
            v, nbytes = v.astype(np.float32), 4
    bits = np.ascontiguousarray(v).view(f"i{nbytes}")
    # Of negative numbers, the bits beside the sign fall where the numbers rise.
    mask = bits >> (8 * nbytes - 1)
    mask &= np.iinfo(bits.dtype).max
    mask ^= bits
    return mask
