"""Sort and argsort along the last axis of many lines, which are shared out among the workers.

NumPy's sort of numbers is quick for each line. An argsort, and any sort of wider elements, takes a
tile of lines at once: keys and indices are packed into words as in `packsort`, one call of NumPy
sorts the words of each line, and ties are refined for all lines together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks, tiles
from sharedarray_ops.pool import Pool, n_workers
from sharedarray_ops.sort.columns import ASCENDING, Direction, Key, columns_of, survey
from sharedarray_ops.sort.packing import Field, pack, refine

__all__ = ["TILE", "apply_along", "argsort_lines", "order_lines", "sort_lines"]

# Elements; words, keys and what they are made of stay in the second-level cache.
TILE = 1 << 16
# Elements of a line. Shorter ones NumPy sorts stably as fast, by insertion.
MIN_PACKED = 8


def sort_lines(a: NDArray[Any], pool: Pool, *, kind: Literal["stable"] | None = None) -> None:
    """Sort numbers in any layout in place along the last axis, with NumPy's own sort."""
    _map_tiles(lambda place: a[place].sort(axis=-1, kind=kind), a, pool)


def order_lines(a: NDArray[Any], pool: Pool, direction: Direction = ASCENDING) -> None:
    """Sort elements of any kind in place along the last axis, stably; see `argsort_lines`."""

    def kernel(place: tuple[slice, ...]) -> None:
        if a.shape[-1] < 2 * MIN_PACKED and direction == ASCENDING:
            a[place].sort(axis=-1, kind="stable")
            return
        block = _dense(a[place])
        index = _argsort_block(block, direction)
        a[place] = np.take_along_axis(block, index, axis=1).reshape(a[place].shape)

    _map_tiles(kernel, a, pool)


def argsort_lines(
    a: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    direction: Direction = ASCENDING,
) -> None:
    """Write the stable argsort along the last axis of `a`, of at most `TILE` elements, to `out`.

    Both in any layout. Extra memory: about 4 MiB a worker.
    """

    def kernel(place: tuple[slice, ...]) -> None:
        index = _argsort_block(_dense(a[place]), direction)
        out[place] = index.reshape(out[place].shape)

    _map_tiles(kernel, a, pool)


def apply_along(
    function: Callable[[NDArray[Any]], Any],
    a: NDArray[Any],
    axis: int,
    out: NDArray[Any],
    out_axis: int,
    pool: Pool,
) -> None:
    """Write ``function(a)`` to `out`, cut along an axis that the function leaves alone.

    `out_axis` is that axis in `out`.
    """
    target = np.moveaxis(out, out_axis, 0)

    def kernel(chunk: Chunk) -> None:
        part = a[(slice(None),) * axis + (chunk.slice,)]
        target[chunk.slice] = np.moveaxis(np.asarray(function(part)), out_axis, 0)

    pool.map(kernel, chunks(0, a.shape[axis], 4 * n_workers(pool)))


def _map_tiles(kernel: Callable[[tuple[slice, ...]], Any], a: NDArray[Any], pool: Pool) -> None:
    """Call a function with the place of each tile of lines."""
    if not a.size:
        return
    n_tiles = 4 * n_workers(pool)
    size = max(1, min(TILE // a.shape[-1], a.size // a.shape[-1] // n_tiles))
    places = tiles(a.shape[:-1], size)

    def each(chunk: Chunk) -> None:
        for place in places[chunk.slice]:
            kernel(place)

    pool.map(each, chunks(0, len(places), n_tiles))


def _dense(lines: NDArray[Any]) -> NDArray[Any]:
    """Return lines as the rows of a contiguous array."""
    return np.ascontiguousarray(lines).reshape(-1, lines.shape[-1])


def _argsort_block(lines: NDArray[Any], direction: Direction) -> NDArray[np.intp]:
    """Return the argsort of each row."""
    n, length = lines.size, lines.shape[1]
    if length < MIN_PACKED and direction == ASCENDING:
        return np.argsort(lines, axis=1, kind="stable")
    elements = lines.reshape(-1)
    index: NDArray[np.intp] = np.empty(n, np.intp)
    columns = columns_of(elements, direction)
    key = Key.of(columns, survey(columns, Chunk(0, n)))
    field = Field.below(key.n_bits, index_bits=(n - 1).bit_length())
    words = index.view(np.uint64)
    pack(key, words, Chunk(0, n), field)
    words.reshape(lines.shape).sort(axis=1)
    refine(key, words, field, np.empty(n, np.uint64), length)
    index = index.reshape(lines.shape)
    index -= np.arange(0, n, length)[:, np.newaxis]
    return index
