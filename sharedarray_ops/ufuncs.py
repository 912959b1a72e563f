"""Run an elementwise function of NumPy tile by tile, with the bits of one call.

An element has the same bits in any tile, but for rare ones (the NaN that `fmin` chooses among
signalling ones, sines of huge numbers on some processors), which depend on their neighbours in the
vector registers. So tiles are cut only where one call would begin a new vector, too:

iteration order
    `in_one_order` orders, flips and joins axes as NumPy's iterator does.
tiles
    Whole inner loops, or parts of one that begin at multiples of `ALIGN` elements and of NumPy's
    buffer. No part has one element, which NumPy would take for a scalar.

Workers do not warn: `Flags` collects NumPy's messages, for one warning at the caller's line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["Flags", "allocated", "apply", "assign_where", "in_one_order", "tiles_of"]

# Elements: a multiple of every vector, and of a page.
ALIGN = 1 << 12

# Elements that NumPy converts at a time, where an operand is of another dtype.
buffer_size = np.getbufsize

Kernel = Callable[..., object]
Place = tuple[slice | int, ...]


class Flags(list[str]):
    """What NumPy would have warned of: a list that ``np.errstate(call=...)`` can log to."""

    __slots__ = ()
    write = list.append


def apply(kernel: Kernel, operands: Sequence[NDArray[Any]], order: str, pool: Pool) -> list[str]:
    """Call a function for each tile of its operands.

    Parameters
    ----------
    kernel : callable
        Called with the same part of each operand; writes elementwise to one or several of them.
    operands : sequence of ndarray
        All of one shape. Outputs are in memory that the workers share, do not overlap themselves,
        and overlap inputs only as the same elements.
    order : {'K', 'A', 'C', 'F'}
        In which one call of NumPy would iterate.
    pool : Pool
        Who works.

    Returns
    -------
    list of str
        The messages to warn of, each once, in NumPy's order.
    """
    views = in_one_order(operands, order)

    def run(place: Place) -> list[str]:
        flags = Flags()
        with np.errstate(all="log", call=flags):
            kernel(*[view[(*place, ...)] for view in views])  # an array, also of one element
        return list(flags)

    size = buffer_size()
    places = tiles_of(views[0].shape, 4 * n_workers(pool), -(-ALIGN // size) * size)
    found = {line for lines in pool.map(run, places) for line in lines}
    return sorted(found, key=_turn)


def _turn(line: str) -> int:
    """Return the position of a flag among those of one call."""
    kinds = ("divide", "overflow", "underflow", "invalid")
    return next(i for i, kind in enumerate(kinds) if f": {kind}" in line)


def allocated(
    operands: Sequence[NDArray[Any] | None], dtypes: Sequence[np.dtype[Any] | None], order: str
) -> list[NDArray[Any]]:
    """Return operands of one shape, with new arrays for None, in the layout of NumPy's results.

    No element of a new array is touched.
    """
    iterator = np.nditer(  # type: ignore[call-overload]  # `order` is one of the four
        list(operands),
        flags=["external_loop", "buffered", "delay_bufalloc", "zerosize_ok", "refs_ok"],
        op_flags=[
            ["writeonly", "allocate", "no_subtype"] if operand is None else ["readonly"]
            for operand in operands
        ],
        op_dtypes=list(dtypes),
        order=order,
    )
    return [
        new if old is None else old for old, new in zip(operands, iterator.operands, strict=True)
    ]


def in_one_order(operands: Sequence[NDArray[Any]], order: str) -> list[NDArray[Any]]:
    """Return views of operands of one shape in the order and shape of NumPy's iteration.

    Axes of one element are left out, those with negative strides in all operands are flipped (in
    order 'K' only), and neighbours are joined if all operands allow it.
    """
    model = allocated([*operands, None], [None] * len(operands) + [np.dtype(np.bool_)], order)[-1]
    axes = sorted(range(model.ndim), key=lambda axis: -abs(model.strides[axis]))
    axes = [axis for axis in axes if model.shape[axis] != 1]
    ones = [axis for axis in range(model.ndim) if model.shape[axis] == 1]
    views = [a.transpose([*ones, *axes]).reshape([model.shape[i] for i in axes]) for a in operands]
    for axis in range(len(axes) if order == "K" else 0):
        if all(v.strides[axis] <= 0 for v in views) and any(v.strides[axis] for v in views):
            views = [np.flip(v, axis) for v in views]
    shape: list[int] = []
    for axis, n in enumerate(views[0].shape):
        if axis and all(v.strides[axis - 1] == n * v.strides[axis] for v in views):
            shape[-1] *= n
        else:
            shape.append(n)
    return [v.reshape(shape) for v in views]  # views: joined axes are one run of strides


def tiles_of(shape: Sequence[int], n_tiles: int, align: int) -> list[Place]:
    """Cut a box into about `n_tiles` tiles, in C order.

    A tile is a range of the first axis or, if that is short, one index of it and a tile of the
    rest. On the last axis, ranges begin at multiples of `align` and have two elements or more.
    """
    if 0 in shape:
        return []
    if not shape:
        return [()]
    n, *rest = shape
    if not rest:
        units = max(1, n // align)  # the last chunk has what is left over
        cuts = chunks(0, units, n_tiles)
        ends = [*(c.stop * align for c in cuts[:-1]), n]
        return [(slice(c.start * align, end),) for c, end in zip(cuts, ends, strict=True)]
    if n >= n_tiles:
        return [(c.slice,) for c in chunks(0, n, n_tiles)]
    return [
        (slice(i, i + 1), *tile)
        for i, tile in product(range(n), tiles_of(rest, -(-n_tiles // n), align))
    ]


def assign_where(
    out: NDArray[Any], mask: NDArray[np.bool_], values: NDArray[Any], pool: Pool
) -> bool:
    """Do ``out[mask] = values``, unless there are more or fewer values than places.

    Parameters
    ----------
    out, mask : ndarray, shape (n,)
        `out` in memory that the workers share.
    values : ndarray, shape (m,)
        One for each place, of a dtype that `out` takes without a flag.
    pool : Pool
        Who works.

    Returns
    -------
    bool
        Whether the numbers are the same. If not, nothing is written.
    """
    parts = chunks(0, len(out), 4 * n_workers(pool), align=ALIGN)
    counts = pool.map(lambda part: int(np.count_nonzero(mask[part.slice])), parts)
    if sum(counts) != len(values):
        return False
    ends = np.cumsum(counts).tolist()
    work = [(part, Chunk(e - k, e)) for part, k, e in zip(parts, counts, ends, strict=True)]

    def kernel(item: tuple[Chunk, Chunk]) -> None:
        part, source = item
        out[part.slice][mask[part.slice]] = values[source.slice]

    pool.map(kernel, work)
    return True
