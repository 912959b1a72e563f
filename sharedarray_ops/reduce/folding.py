"""Reductions chunk by chunk, by NumPy's own reduction of each chunk.

along kept axes
    An array is cut along an axis that the result keeps; each chunk gives its part of the result,
    with NumPy's bits, as long as no chunk has length 1 there: NumPy's iterator would drop the axis
    and might add in another order.
along reduced axes
    Where the result does not depend on the order of the elements (integers, extremes, truth
    values), an array is cut along any axis; the results of the chunks are combined by the same
    reduction.
searches
    `any`, `all`, `argmin` and `argmax` stop at the first element that decides. Chunks are taken
    from the front, and a shared cell has the number of the first one that has decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.reduce.summation import unless_flagged

__all__ = [
    "Cut",
    "Fold",
    "by_ufunc",
    "cut",
    "extremes",
    "find",
    "find_extreme",
    "fold",
    "is_last_word",
]

Axes = tuple[int, ...]
# Reduces along axes that stay with length 1, to None where NumPy has something to warn of.
Reduce = Callable[[NDArray[Any], Axes], NDArray[Any] | None]

# Bytes of a chunk: enough to hide the hand-over between workers. What is combined is cut without
# regard to the number of workers: the same zeros and NaNs are compared for any number.
CHUNK_NBYTES = 16 << 20
MIN_CHUNKS = 16
# Bytes of a chunk whose reduction makes a copy: the copy stays in the caches.
CACHED_NBYTES = 1 << 20
# Elements of a result that travels from a worker.
MAX_TRAVELLING = 1 << 13
# Bytes of adjacent elements in a chunk: NumPy's inner loop is called for each such run, and the
# memory is slow in short ones. Sums of 4,000 columns in chunks of 4 KiB took twice NumPy's time.
RUN_NBYTES = 1 << 18
COPIED_RUN_NBYTES = 1 << 12


class Fold(NamedTuple):
    """How to reduce chunks, and by which ufunc to combine them along a reduced axis, if at all."""

    reduce: Reduce
    combine: np.ufunc | None = None
    makes_copies: bool = False


def by_ufunc(ufunc: np.ufunc, dtype: Any = None, *, is_combined: bool = False) -> Fold:
    """Return how to reduce by a ufunc, with its default dtype or another one."""
    return Fold(
        lambda a, axes: ufunc.reduce(a, axis=axes, dtype=dtype, keepdims=True),
        ufunc if is_combined else None,
    )


class Cut(NamedTuple):
    """Chunks along one axis."""

    axis: int
    chunks: list[Chunk]
    is_kept: bool


def cut(a: NDArray[Any], axes: Axes, how: Fold, pool: Pool) -> Cut | None:
    """Return where to cut an array that is not empty, or None where no cut gains.

    `axes` are those to reduce along, none of them negative.
    """
    result_size = a.size
    for axis in axes:
        result_size //= a.shape[axis]
    may_be_reduced = how.combine is not None and result_size <= MAX_TRAVELLING
    # From the outermost in memory, where a chunk is a run of adjacent elements.
    for axis in sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis])):
        is_kept = axis not in axes
        if is_kept or may_be_reduced:
            n_chunks = _n_chunks(a, axis, how, n_workers(pool), least=2 if is_kept else 1)
            if n_chunks > 1:
                return Cut(axis, chunks(0, a.shape[axis], n_chunks), is_kept)
    return None


def _n_chunks(a: NDArray[Any], axis: int, how: Fold, workers: int, least: int) -> int:
    """Return into how many chunks to cut along an axis, each of `least` elements or more."""
    length = a.shape[axis]
    n_chunks = MIN_CHUNKS if how.combine is not None else 4 * workers
    n_chunks = max(n_chunks, a.nbytes // (CACHED_NBYTES if how.makes_copies else CHUNK_NBYTES))
    if any(abs(a.strides[i]) > abs(a.strides[axis]) and a.shape[i] > 1 for i in range(a.ndim)):
        run = length * abs(a.strides[axis])
        n_chunks = min(n_chunks, run // (COPIED_RUN_NBYTES if how.makes_copies else RUN_NBYTES))
    return int(min(n_chunks, length // least))


def fold(how: Fold, a: NDArray[Any], axes: Axes, plan: Cut, out: NDArray[Any], pool: Pool) -> bool:
    """Reduce an array of any layout; return False where NumPy has to do it, to warn.

    `out` has the shape of `a`, with length 1 along `axes`, and is in memory that the workers share.
    """

    def kernel(chunk: Chunk) -> Any:
        place = (*(slice(None),) * plan.axis, chunk.slice)
        result = unless_flagged(lambda: how.reduce(a[place], axes))
        if result is None or not plan.is_kept:
            return result
        out[place] = result
        return True

    results = pool.map(kernel, plan.chunks)
    if any(result is None for result in results):
        return False
    if not plan.is_kept and how.combine is not None:
        how.combine.reduce(np.stack(results), axis=0, out=out)
    return True


def find(
    reduce: Callable[[NDArray[Any]], Any],
    decisive: bool,
    a: NDArray[Any],
    cell: NDArray[np.intp],
    pool: Pool,
) -> bool:
    """Return what `any` (decided by True) or `all` (by False) return for a whole array.

    The array is not empty; `cell`, of shape (1,), is in memory that the workers share.
    """
    cell[0] = a.size

    def kernel(item: tuple[int, Chunk]) -> bool:
        number, chunk = item
        if cell[0] < a.size:  # another chunk has decided
            return decisive
        result = bool(reduce(a[chunk.slice]))
        if result is decisive:
            cell[0] = number
        return result

    results = pool.map(kernel, list(enumerate(_rows(a, CHUNK_NBYTES))))
    return decisive if decisive in results else not decisive


def find_extreme(
    reduce: Callable[[NDArray[Any]], Any], a: NDArray[Any], cell: NDArray[np.intp], pool: Pool
) -> int:
    """Return what `argmin` or `argmax` return for a whole array: the first place, in C order.

    The array is not empty; `cell`, of shape (1,), is in memory that the workers share.
    """
    n_each = a.size // len(a)
    cell[0] = a.size

    def kernel(item: tuple[int, Chunk]) -> int | None:
        number, chunk = item
        # Two workers may write at once: either number is that of a chunk that decides.
        if cell[0] < number:
            return None
        part = a[chunk.slice]
        place = int(reduce(part))
        if is_last_word(part[np.unravel_index(place, part.shape)], reduce):
            cell[0] = min(number, int(cell[0]))
        return chunk.start * n_each + place

    found = pool.map(kernel, list(enumerate(_rows(a, CHUNK_NBYTES))))
    places = np.array([place for place in found if place is not None], np.intp)
    values = a[np.unravel_index(places, a.shape)]
    return int(places[int(reduce(values))])


def is_last_word(value: Any, reduce: Callable[..., Any]) -> bool:
    """Return whether no element behind this one can be what `argmin` or `argmax` look for."""
    if value.dtype.kind == "b":
        return bool(value) is (reduce is np.argmax)
    return value.dtype.kind in "fcmM" and bool(value != value)


def extremes(a: NDArray[Any], pool: Pool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return minimum and maximum of `a`, of shape (n,) and not empty, each of shape (1,)."""

    def kernel(chunk: Chunk) -> tuple[NDArray[Any], NDArray[Any]]:
        part = a[chunk.slice]
        return np.minimum.reduce(part, keepdims=True), np.maximum.reduce(part, keepdims=True)

    low, high = zip(*pool.map(kernel, _rows(a, CACHED_NBYTES)), strict=True)
    return (
        np.minimum.reduce(np.concatenate(low), keepdims=True),
        np.maximum.reduce(np.concatenate(high), keepdims=True),
    )


def _rows(a: NDArray[Any], nbytes: int) -> list[Chunk]:
    """Return chunks of about so many bytes along the first axis."""
    n_chunks = max(MIN_CHUNKS, a.nbytes // nbytes)
    return list(blocks(0, len(a), -(-len(a) // n_chunks)))
