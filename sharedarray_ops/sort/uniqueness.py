"""The unique elements of an array, how often and where they occur: by sorting it.

=================================  =================================================================
wanted                             way
=================================  =================================================================
the values, how often they occur   `sorting.sort` a copy
which elements they are, as well   `sorting.argsort`, then gather the elements in their order
=================================  =================================================================

Then, in two passes over the sorted elements, both parallel, and with no more memory than the
outputs:

    count the first ones of each chunk -> where each chunk's part of the outputs starts -> write

An element is a *first one* if it differs from the one before it; then it is the next unique
element.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops import elementwise
from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Memory, Pool, n_workers
from sharedarray_ops.sort import sorting
from sharedarray_ops.sort.keys import n_before_nan

__all__ = ["Firsts", "find_firsts", "unique", "write_counts", "write_firsts", "write_inverse"]

# Elements; a block and the positions of its first ones stay in the second-level cache.
BLOCK = 1 << 16


class _Part(NamedTuple):
    """A chunk of a sorted array and what its first ones are: numbers `start` to `stop`."""

    chunk: Chunk
    start: int
    stop: int
    next_first: int
    """The position of the first one that comes after the chunk; the size where there is none."""


class Firsts(NamedTuple):
    """Where the first ones of an array are.

    `n_distinct` elements come before those that count as one value, the NaN.
    """

    n_unique: int
    n_distinct: int
    parts: list[_Part]


def unique(
    a: NDArray[Any],
    pool: Pool,
    memory: Memory,
    *,
    index: bool = False,
    inverse: bool = False,
    counts: bool = False,
    equal_nan: bool = True,
) -> list[NDArray[Any]] | None:
    """Return the unique elements of an array of numbers, and what else is wanted, in this order.

    None where NumPy has an answer of its own: unequal NaN are numbered in the order of its default
    sort; whether NaT are equal depends on whether it sorts or hashes.
    """
    order = np.empty(0, np.intp)
    ascending = memory.empty(a.shape, a.dtype).view(np.ndarray)
    if index or inverse:
        order = memory.empty(a.shape, np.intp).view(np.ndarray)
        sorting.argsort(a, order, pool, memory)
        elementwise.gather(a, order, ascending, pool)
    else:
        sorting.sort(a, pool, memory, out=ascending)
    has_unequal_nan = not equal_nan and a.dtype.kind in "fmM" and np.isnan(ascending[-1])
    if has_unequal_nan and (a.dtype.kind != "f" or (inverse and not index)):
        return None
    firsts = find_firsts(ascending, pool, equal_nan=equal_nan)
    results = [memory.empty(firsts.n_unique, a.dtype)]
    write_firsts(ascending, ascending, firsts, results[0].view(np.ndarray), pool)
    if index:
        results.append(memory.empty(firsts.n_unique, np.intp))
        write_firsts(ascending, order, firsts, results[-1].view(np.ndarray), pool)
    if inverse:
        results.append(memory.empty(a.shape, np.intp))
        write_inverse(ascending, order, firsts, results[-1].view(np.ndarray), pool)
    if counts:
        results.append(memory.empty(firsts.n_unique, np.intp))
        write_counts(ascending, firsts, results[-1].view(np.ndarray), pool)
    return results


def find_firsts(a: NDArray[Any], pool: Pool, *, equal_nan: bool = True) -> Firsts:
    """Find the first ones of a sorted array that is not empty, NaN and NaT last.

    If `equal_nan`, all NaN (of complex numbers: all with NaN in a part) count as one value.
    """
    a = a.view(np.ndarray)
    n_distinct = n_before_nan(a) if equal_nan else a.size
    found = pool.map(
        lambda chunk: _count(a, chunk, n_distinct), chunks(0, a.size, 4 * n_workers(pool))
    )
    next_first, stop = a.size, sum(count for _, count, _ in found)
    n_unique = stop
    parts = []
    for chunk, count, first in reversed(found):
        parts.append(_Part(chunk, stop - count, stop, next_first))
        stop -= count
        next_first = first if count else next_first
    return Firsts(n_unique, n_distinct, parts[::-1])


def _positions(a: NDArray[Any], chunk: Chunk, n_distinct: int) -> NDArray[np.intp]:
    """Return the positions of the first ones of a chunk."""
    i, j = chunk
    stop = min(j, n_distinct + 1)
    if i >= stop:
        return np.empty(0, np.intp)
    is_first = np.empty(stop - i, np.bool_)
    is_first[0] = i == 0 or a[i] != a[i - 1]  # NaN differs from everything
    np.not_equal(a[i + 1 : stop], a[i : stop - 1], out=is_first[1:])
    positions = np.flatnonzero(is_first)
    positions += i
    return positions


def _count(a: NDArray[Any], chunk: Chunk, n_distinct: int) -> tuple[Chunk, int, int]:
    """Return a chunk, how many first ones it has, and the position of its first one."""
    count, first = 0, -1
    for block in blocks(*chunk, BLOCK):
        positions = _positions(a, block, n_distinct)
        if not count and positions.size:
            first = int(positions[0])
        count += positions.size
    return chunk, count, first


def _first_ones(
    a: NDArray[Any], part: _Part, firsts: Firsts
) -> Iterator[tuple[Chunk, int, NDArray[np.intp]]]:
    """Yield each block of a part, the number of its first first one, and where they are."""
    start = part.start
    for block in blocks(*part.chunk, BLOCK):
        positions = _positions(a, block, firsts.n_distinct)
        yield block, start, positions
        start += positions.size


def write_firsts(
    a: NDArray[Any], values: NDArray[Any], firsts: Firsts, out: NDArray[Any], pool: Pool
) -> None:
    """Write to `out`, shape (n_unique,), those of the `values` that are where first ones are.

    Of the sorted array `a` itself they are the unique elements; of the order that sorts an array,
    if it is stable, where each of them occurs first.
    """

    def kernel(part: _Part) -> None:
        for block, start, positions in _first_ones(a, part, firsts):
            target = out[start : start + positions.size]
            if positions.size == block.size:
                target[:] = values[block.slice]
            else:
                # "clip" lets NumPy write to `out` without a buffer; nothing is clipped.
                np.take(values, positions, out=target, mode="clip")

    pool.map(kernel, firsts.parts)


def write_inverse(
    a: NDArray[Any], order: NDArray[np.intp], firsts: Firsts, out: NDArray[np.intp], pool: Pool
) -> None:
    """Write to `out`, shape (n,), which unique element each one is in the array `order` sorts."""

    def kernel(part: _Part) -> None:
        for block, start, positions in _first_ones(a, part, firsts):
            number = np.zeros(block.size, np.intp)
            number[positions - block.start] = 1
            np.cumsum(number, out=number)
            number += start - 1
            out[order[block.slice]] = number

    pool.map(kernel, firsts.parts)


def write_counts(a: NDArray[Any], firsts: Firsts, out: NDArray[np.intp], pool: Pool) -> None:
    """Write to `out`, shape (n_unique,), how often each unique element occurs."""

    def kernel(part: _Part) -> None:
        last = -1
        for _, start, positions in _first_ones(a, part, firsts):
            if not positions.size:
                continue
            if last >= 0:
                out[start - 1] = positions[0] - last
            last = int(positions[-1])
            np.subtract(positions[1:], positions[:-1], out=out[start : start + positions.size - 1])
        if last >= 0:
            out[part.stop - 1] = part.next_first - last

    pool.map(kernel, firsts.parts)
