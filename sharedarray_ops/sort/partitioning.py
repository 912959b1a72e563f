"""Partition and argpartition: which way serves when.

One line, or lanes: the lines along the axis of an array of more dimensions. *Numbers* are what
`keys.is_rankable` accepts; NumPy has SIMD to partition them at one place, where they have 16 bits
and more and native byte order.

==================================  ==========================  ====================================
elements and places                 partition                   argpartition
==================================  ==========================  ====================================
numbers at several places, or       `sorting.sort`              one line: `select` the pivots, then
without SIMD                                                    write the indices group by group
numbers at one place, with SIMD     all workers copy, then one  the same; it gains later
                                    call of NumPy partitions
lanes of anything else              NumPy, each worker lanes    lanes: NumPy, each worker lanes of
                                    of its own                  its own
where `select` finds no pivots                                  `sorting.argsort`
==================================  ==========================  ====================================

No way gains upon one SIMD pass of NumPy; at several places, and without SIMD, NumPy takes more time
than a parallel sort, which has every element in its place.

Argpartition numbers the elements in the order that a partition promises, once the elements at the
wanted ranks, its *pivots*, are known. It is stable: the same for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops import elementwise
from sharedarray_ops.plan import Chunk, blocks, chunks
from sharedarray_ops.pool import PRIVATE, Memory, Pool, Touch, n_workers
from sharedarray_ops.sort import lines, sorting
from sharedarray_ops.sort.keys import is_rankable
from sharedarray_ops.sort.selecting import key_dtype, keys_of, select

__all__ = ["argpartition", "partition", "sorts", "write_partition"]

# Elements; a block, its keys and their masks stay in the second-level cache.
BLOCK = 1 << 16


def sorts(dtype: np.dtype[Any], n_places: int) -> bool:
    """Return whether a sort is quicker than NumPy's partition, which has no SIMD then."""
    is_simd = dtype.kind in "iuf" and dtype.itemsize in (2, 4, 8) and dtype.isnative
    return is_rankable(dtype) and (n_places > 1 or not is_simd)


def partition(
    a: NDArray[Any],
    kth: NDArray[np.intp],
    axis: int,
    out: NDArray[Any],
    pool: Pool,
    memory: Memory = PRIVATE,
) -> None:
    """Write `a`, partitioned along an axis at the ranks `kth`, to `out`, of any layout."""
    if sorts(a.dtype, kth.size):
        target = np.moveaxis(out, axis, -1)
        sorting.sort(np.moveaxis(a, axis, -1), pool, memory, out=target)
    elif a.ndim == 1:
        elementwise.copy(a, out, pool, memory.populator(out))
        out.partition(kth, axis)
    else:
        _along_lanes(lambda part: np.partition(part, kth, axis), a, axis, out, pool)


def argpartition(
    a: NDArray[Any],
    kth: NDArray[np.intp],
    axis: int,
    out: NDArray[np.intp],
    pool: Pool,
    memory: Memory = PRIVATE,
) -> None:
    """Write the indices that partition `a` to `out`; a single line has to have numbers."""
    if a.ndim > 1:
        _along_lanes(lambda part: np.argpartition(part, kth, axis), a, axis, out, pool)
        return
    ranks = np.unique(kth % a.size).tolist()
    scratch = memory.empty(a.size, key_dtype(a.dtype)).view(np.ndarray)
    pivots = select(a, ranks, scratch, pool)
    if pivots is None:
        sorting.argsort(a, out, pool, memory)
    else:
        write_partition(a, pivots, out, pool, memory.populator(out))


def _along_lanes(
    function: Callable[[NDArray[Any]], Any],
    a: NDArray[Any],
    axis: int,
    out: NDArray[Any],
    pool: Pool,
) -> None:
    """Let each worker call a function of NumPy on lanes of its own."""
    axis %= a.ndim
    cut = max((i for i in range(a.ndim) if i != axis), key=a.shape.__getitem__)
    lines.apply_along(function, a, cut, out, cut, pool)


def write_partition(
    a: NDArray[Any],
    pivots: NDArray[Any],
    out: NDArray[np.intp],
    pool: Pool,
    touch: Touch = None,
) -> None:
    """Write the indices of the elements of `a` to `out`, in the order of a partition at `pivots`.

    First come the elements below the first pivot, then those equal to it, those between it and the
    next, and so on; NaN come last. Indices of one such group ascend. `pivots` are the elements at
    the wanted ranks, as `select` returns them; `out` is contiguous.
    """
    a, out, keys = a.view(np.ndarray), out.view(np.ndarray), keys_of(pivots)
    keys = np.unique(keys[keys == keys])  # NaN have a group anyway
    parts = chunks(0, a.size, 4 * n_workers(pool), align=BLOCK)
    if touch is not None:
        pool.map(lambda part: touch(out[part.slice]), parts)
    counts = np.array(pool.map(lambda part: _count(a, part, keys), parts), np.intp)
    # Group by group, and within each one chunk by chunk.
    ends = np.cumsum(counts.T).reshape(counts.shape[::-1]).T
    tasks = list(zip(parts, (ends - counts).tolist(), strict=True))
    pool.map(lambda task: _write(a, *task, keys, out), tasks)


def _heads(keys: NDArray[Any], pivots: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """Return masks, each one within the next: of the first group, the first two, ..., all."""
    heads = [compare(keys, pivot) for pivot in pivots for compare in (np.less, np.less_equal)]
    if keys.dtype.kind == "f":
        heads.append(~np.isnan(keys))
    heads.append(np.ones(keys.size, np.bool_))
    return heads


def _count(a: NDArray[Any], chunk: Chunk, pivots: NDArray[Any]) -> list[int]:
    """Return how many elements of a chunk each group gets."""
    totals: Any = 0
    for i, j in blocks(*chunk, BLOCK):
        heads = _heads(keys_of(a[i:j]), pivots)
        totals = totals + np.array([np.count_nonzero(head) for head in heads])
    return list(np.diff(totals, prepend=0).tolist())


def _write(
    a: NDArray[Any], chunk: Chunk, starts: list[int], pivots: NDArray[Any], out: NDArray[np.intp]
) -> None:
    """Write the indices of a chunk's elements to their groups."""
    starts = list(starts)
    for i, j in blocks(*chunk, BLOCK):
        heads = _heads(keys_of(a[i:j]), pivots)
        for k, head in enumerate(heads):
            group = np.flatnonzero(head ^ heads[k - 1] if k else head)
            np.add(group, i, out=out[starts[k] : starts[k] + group.size])
            starts[k] += group.size
