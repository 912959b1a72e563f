"""Sort one block, cut it, and merge the pieces of many: what each task of a sample sort does.

::

    block --sort--> values (, positions) --cut--> pieces     here
    pieces of all blocks --merge--> output                   there, in parts that are cut exactly

Pieces are merged by a sort of what is nearly sorted: NumPy's SIMD kernels sort four times as fast
as its stable sort merges. Where that would not be stable, and for indices, the output is cut into
parts, each of them sorted with its positions: so little more than the pieces and the output is in
memory at a time.

Memory of each task, its inputs included: three blocks at the most, and below 13 MiB a worker. A
block is that of the output: its elements count 8 bytes where they are narrower, but go by argsort.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops import sorting
from sharedarray_ops.elementwise import gather
from sharedarray_ops.keys import is_rankable
from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.samplesort import (
    Direction,
    Integers,
    exact_cuts,
    parts_of,
    stable_order,
)

__all__ = ["Ordered", "cut", "merge", "merge_index", "sort_block", "sort_block_index"]

# Of an output for each worker: a part takes up to 32 bytes for each of its elements. Of fewer
# elements than the least, calls of Python take longer than the work.
PARTS = 16
MIN_PART = 1 << 14
# Elements that are gathered together.
BLOCK = 1 << 16
# To cut an output into its parts.
SAMPLES = 1 << 14


class Ordered(NamedTuple):
    """A sorted block, or a piece of one.

    Attributes
    ----------
    values : ndarray, shape (n,)
        The elements in their order.
    positions : ndarray of uint32 or int64, shape (n,), optional
        Where in the block each one was.
    """

    values: NDArray[Any]
    positions: NDArray[Any] | None = None


def sort_block(a: NDArray[Any], direction: Direction, pool: Pool) -> Ordered:
    """Return the elements of a block in a stable order."""
    if is_rankable(a.dtype) and not _needs_order(a, pool):
        out = a.copy()
        sorting.sort(out, pool, descending=direction.descending)
    else:
        order = stable_order(a, direction, pool)
        out = np.empty(a.shape, a.dtype)
        gather(a, order, out, pool)
    return Ordered(out)


def sort_block_index(a: NDArray[Any], direction: Direction, pool: Pool) -> Ordered:
    """Return the elements of a block in a stable order, and where they were."""
    order = stable_order(a, direction, pool)
    index = order.astype(np.uint32) if a.size <= 1 << 32 else order
    del order  # before the values are there: so less memory is taken at a time
    values = np.empty(a.shape, a.dtype)

    def kernel(part: Chunk) -> None:
        np.take(a, index[part.slice], out=values[part.slice], mode="clip")

    pool.map(kernel, list(blocks(0, a.size, BLOCK)))
    return Ordered(values, index)


def _needs_order(a: NDArray[Any], pool: Pool) -> bool:
    """Return whether equal elements differ in their bits, so that not any sort is a stable one."""
    return bool(a.size) and sorting.needs_order(a, pool)


def cut(block: Ordered, cuts: Integers, number: int) -> list[Ordered]:
    """Return copies of the pieces of a block, that of each output.

    Copies, so that the memory of a piece is free when its output is there.
    """
    values, positions = block
    return [
        Ordered(
            values[part.slice].copy(), None if positions is None else positions[part.slice].copy()
        )
        for part in parts_of(cuts, number, values.size)
    ]


def merge(pieces: Sequence[Ordered], direction: Direction, pool: Pool) -> NDArray[Any]:
    """Return the elements of sorted pieces in their order.

    Parameters
    ----------
    pieces : sequence of Ordered
        At least one.
    direction : Direction
        As the pieces are sorted.
    pool : Pool
        Who works: threads, or the caller.

    Returns
    -------
    ndarray
        Equal elements are in the order of the pieces.
    """
    values = [piece.values for piece in pieces]
    out = np.empty(sum(v.size for v in values), values[0].dtype)
    if is_rankable(out.dtype):
        np.concatenate(values, out=out)
        if not _needs_order(out, pool):
            sorting.sort(out, pool, descending=direction.descending)
            return out

    def kernel(part: _Part) -> None:
        target = out[part.where.slice]
        mixed = np.empty_like(target)
        np.concatenate([v[c.slice] for v, c in zip(values, part.pieces, strict=True)], out=mixed)
        np.take(mixed, stable_order(mixed, direction), out=target, mode="clip")

    pool.map(kernel, _parts(values, direction, pool))
    return out


def merge_index(
    pieces: Sequence[Ordered], starts: Sequence[int], direction: Direction, pool: Pool
) -> NDArray[np.intp]:
    """Return where the elements of sorted pieces were in the whole array, in their order.

    Parameters
    ----------
    pieces : sequence of Ordered
        With positions each; at least one.
    starts : sequence of int
        Where the block of each piece starts in the whole array.
    direction, pool
        As for `merge`.

    Returns
    -------
    ndarray of intp
        Equal elements are in the order of the pieces.
    """
    values = [piece.values for piece in pieces]
    indices = [np.empty(0, np.intp) if p.positions is None else p.positions for p in pieces]
    out = np.empty(sum(v.size for v in values), np.intp)

    def kernel(part: _Part) -> None:
        mixed = np.concatenate([v[c.slice] for v, c in zip(values, part.pieces, strict=True)])
        order = stable_order(mixed, direction)
        del mixed
        index = np.empty(order.size, np.intp)
        filled = 0
        for found, piece, start in zip(indices, part.pieces, starts, strict=True):
            np.add(found[piece.slice], start, out=index[filled : filled + piece.size])
            filled += piece.size
        np.take(index, order, out=out[part.where.slice], mode="clip")

    pool.map(kernel, _parts(values, direction, pool))
    return out


class _Part(NamedTuple):
    """A part of an output, and the parts of the pieces that it is made of."""

    where: Chunk
    pieces: list[Chunk]


def _parts(values: Sequence[NDArray[Any]], direction: Direction, pool: Pool) -> list[_Part]:
    """Cut the output of sorted pieces into parts."""
    sizes = [v.size for v in values]
    n = sum(sizes)
    n_parts = min(PARTS * n_workers(pool), -(-n // MIN_PART))
    where = chunks(0, n, n_parts) if n else []
    if len(where) < 2:
        return [_Part(part, [Chunk(0, size) for size in sizes]) for part in where]
    cuts = exact_cuts(values, [part.stop for part in where[:-1]], direction, SAMPLES)
    columns = [parts_of(cuts, k, size) for k, size in enumerate(sizes)]
    return [
        _Part(part, list(row)) for part, row in zip(where, zip(*columns, strict=True), strict=True)
    ]
