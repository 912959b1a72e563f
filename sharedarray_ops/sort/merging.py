"""Sort one block, cut it, and merge the pieces of many: what each task of a sample sort does.

::

    block --sort--> values, or positions --cut--> pieces, values (, positions)     here
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
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.elementwise import gather
from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.sort.columns import Direction
from sharedarray_ops.sort.keys import is_rankable
from sharedarray_ops.sort.numbers import sort_numbers
from sharedarray_ops.sort.samplesort import Integers, exact_cuts, parts_of, stable_order

__all__ = ["Indexed", "Ordered", "merge", "merge_index", "sort_block", "sort_block_index"]

# Of an output for each worker: a part takes up to 32 bytes for each of its elements. Of fewer
# elements than the least, calls of Python take longer than the work.
PARTS = 16
MIN_PART = 1 << 14
# Elements that are gathered together.
BLOCK = 1 << 16
# To cut an output into its parts.
SAMPLES = 1 << 14
# Elements of a part that is sorted in the cache, and of how many of them its bounds are chosen.
QUICK_PART = 1 << 16
SAMPLE = 1 << 3


class Ordered(NamedTuple):
    """A sorted block, or a piece of one, and optionally where in the block each element was.

    Positions are uint32 or int64.
    """

    values: NDArray[Any]
    positions: NDArray[Any] | None = None

    def write(self, part: Chunk, room: Ordered, pool: Pool) -> None:
        """Copy a part of the elements, and of their positions, to arrays of its length."""
        np.copyto(room.values, self.values[part.slice])
        if room.positions is not None and self.positions is not None:
            np.copyto(room.positions, self.positions[part.slice])


class Indexed(NamedTuple):
    """An unsorted block, and the positions of its elements in their order."""

    values: NDArray[Any]
    positions: NDArray[Any]

    def ordered(self, pool: Pool) -> Ordered:
        """Return the elements in their order."""
        room = Ordered(np.empty(self.values.shape, self.values.dtype))
        self.write(Chunk(0, self.values.size), room, pool)
        return Ordered(room.values, self.positions)

    def write(self, part: Chunk, room: Ordered, pool: Pool) -> None:
        """Write a part of the elements in their order to arrays of its length, as `Ordered`'s."""
        positions = self.positions[part.slice]

        def kernel(chunk: Chunk) -> None:
            out = room.values[chunk.slice]
            np.take(self.values, positions[chunk.slice], out=out, mode="clip")

        pool.map(kernel, list(blocks(0, part.size, BLOCK)))
        if room.positions is not None:
            np.copyto(room.positions, positions)


def sort_block(a: NDArray[Any], direction: Direction, pool: Pool) -> Ordered:
    """Return the elements of a block in a stable order."""
    if is_rankable(a.dtype):
        out = a.copy()
        sort_numbers(out, pool, descending=direction.descending)
        if not _mixes_zeros_or_has_nan([out]):
            return Ordered(out)
        del out  # before the indices are there: so less memory is taken at a time
    order = stable_order(a, direction, pool)
    out = np.empty(a.shape, a.dtype)
    gather(a, order, out, pool)
    return Ordered(out)


def sort_block_index(a: NDArray[Any], direction: Direction, pool: Pool) -> Indexed:
    """Return a block with the positions of its elements in a stable order."""
    order = stable_order(a, direction, pool)
    return Indexed(a, order.astype(np.uint32) if a.size <= 1 << 32 else order)


def merge(pieces: Sequence[Ordered], direction: Direction, pool: Pool) -> NDArray[Any]:
    """Return the elements of sorted pieces, at least one, in their order.

    Equal elements are in the order of the pieces. The workers are threads, or the caller.
    """
    values = [piece.values for piece in pieces]
    out = np.empty(sum(v.size for v in values), values[0].dtype)
    if not is_rankable(out.dtype) or _mixes_zeros_or_has_nan(values):
        _merge_stable(values, out, direction, pool)
    elif _is_quick(out.dtype) and not direction.descending:
        _merge_by_value(values, out, pool)
    else:
        np.concatenate(values, out=out)
        sort_numbers(out, pool, descending=direction.descending)
    return out


def _merge_stable(
    values: Sequence[NDArray[Any]], out: NDArray[Any], direction: Direction, pool: Pool
) -> None:
    """Merge in parts that are cut exactly, each of them by a stable sort."""

    def kernel(part: _Part) -> None:
        target = out[part.where.slice]
        mixed = np.empty_like(target)
        np.concatenate([v[c.slice] for v, c in zip(values, part.pieces, strict=True)], out=mixed)
        np.take(mixed, stable_order(mixed, direction), out=target, mode="clip")

    pool.map(kernel, _parts(values, direction, pool))


def _merge_by_value(values: Sequence[NDArray[Any]], out: NDArray[Any], pool: Pool) -> None:
    """Merge in parts that are cut at values, each of them by a sort in the cache.

    A part with many equal elements may be as large as all, and takes less time for each of them.
    """
    if not out.size:
        return
    n_parts = -(-out.size // QUICK_PART)
    sample = np.sort(np.concatenate([v[:: max(1, QUICK_PART // SAMPLE)] for v in values]))
    splitters = sample[sample.size * np.arange(1, n_parts) // n_parts]
    cuts = np.stack([np.searchsorted(v, splitters) for v in values], axis=1).astype(np.int64)

    def kernel(part: _Part) -> None:
        mixed = [v[c.slice] for v, c in zip(values, part.pieces, strict=True) if c.size]
        if not mixed:
            return
        target = out[part.where.slice]
        np.concatenate(mixed, out=target)
        # NumPy sorts the bits of floats faster than floats, and without signs they are in order.
        has_no_sign = out.dtype.kind == "f" and all(m[0] >= 0 for m in mixed)
        (target.view(f"i{out.itemsize}") if has_no_sign else target).sort()

    pool.map(kernel, _parts_at(cuts, [v.size for v in values]))


def _is_quick(dtype: np.dtype[Any]) -> bool:
    """Return whether NumPy has SIMD to sort this dtype by its values."""
    return dtype.kind in "iuf" and dtype.itemsize in (4, 8) and dtype.isnative


def _mixes_zeros_or_has_nan(values: Sequence[NDArray[Any]]) -> bool:
    """Return whether equal elements of sorted pieces differ in their bits, see `needs_order`."""
    if values[0].dtype.kind != "f":
        return False
    if any(v.size and np.isnan(v[-1]) for v in values):
        return True
    minus = np.concatenate([np.signbit(_zeros(v)) for v in values])
    return bool(minus.any() and not minus.all())


def _zeros(v: NDArray[Any]) -> NDArray[Any]:
    """Return the zeros of sorted numbers."""
    if v.size and v[0] > v[-1]:
        v = v[::-1]
    start, stop = np.searchsorted(v, v.dtype.type(0)), np.searchsorted(v, v.dtype.type(0), "right")
    return v[start:stop]


def merge_index(
    pieces: Sequence[Ordered], starts: Sequence[int], direction: Direction, pool: Pool
) -> NDArray[np.intp]:
    """Return where the elements of sorted pieces were in the whole array, in their order.

    Each piece has positions; its block starts at one of `starts` in the whole array. Equal elements
    are in the order of the pieces.
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
    return _parts_at(exact_cuts(values, [c.stop for c in where[:-1]], direction, SAMPLES), sizes)


def _parts_at(cuts: Integers, sizes: Sequence[int]) -> list[_Part]:
    """Return the parts of an output whose pieces are cut at these positions, a row for each cut."""
    columns = [parts_of(cuts, k, size) for k, size in enumerate(sizes)]
    rows = [list(row) for row in zip(*columns, strict=True)]
    stops = accumulate(sum(c.size for c in row) for row in rows)
    return [
        _Part(Chunk(stop - sum(c.size for c in row), stop), row)
        for row, stop in zip(rows, stops, strict=True)
    ]
