"""sort and argsort of `dask.array`: a sample sort whose output chunks have known sizes.

::

    x[i] --sort--> ordered[i] --samples--> brackets --...--> cuts         once for each block
                       '---------cut at cuts-----------> pieces[i, j]     that of each output
    pieces[0, j], pieces[1, j], ... --merge--> result[j]                  once for each output

`sharedarray_ops.sort.samplesort` compares and counts, `sharedarray_ops.sort.merging` does the work
of the tasks, `dask_pieces` sends the pieces.

Guarantees
----------
* The result is that of ``kind="stable"`` of the whole array, bit for bit, for all chunks,
  schedulers and numbers of workers. A task that is run again, because a worker was lost, gives the
  same.
* Nothing is computed before the result is asked for, and the sizes of its chunks are known: those
  of the input where these are balanced, else even. No chunk is 20 % larger than the mean.
* A task has at most three blocks in memory, its inputs included, see
  `sharedarray_ops.sort.merging`; but where files cannot be opened after all on one machine, it gets
  the pieces of 8 outputs at once.

Assumptions
-----------
* This package is installed on all nodes.
* A Dask worker has as many cores as threads. A task takes the threads that no other task uses when
  it starts.

Scale
-----
On paper, with m blocks: ``m ** 2`` pieces, two tasks for each block, and one more for each block in
every round of samples. All elements move once, except those that are where they belong: 8 bytes
each, and 4 of a position for `argsort`. The argsort of 1 TB, 125e9 float64, on 100 workers of one
thread each:

=================================================  ===============  ===============
blocks                                             200 of 5 GB      500 of 2 GB
=================================================  ===============  ===============
tasks                                              41,405           253,505
one piece                                          37.5 MB          6 MB
rounds, and what one task gets in each of them     5, 41 MB         5, 256 MB
moved between workers                              1.485 TB         1.485 TB
a task, inputs included                            15 GB            6 GB
a worker, if it gets all pieces at once            37.4 GB          32.9 GB
=================================================  ===============  ===============

With more blocks, Dask's scheduler takes most of the time. On a cluster of one machine, where
nothing is moved, the pieces of 8 outputs are one task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray.cluster.dask_pieces import (
    Bundle,
    can_share,
    cut,
    dask_worker,
    held,
    introduce,
    sampled,
)
from sharedarray.functions.sorting import requested
from sharedarray.workers.backend import ThreadBackend
from sharedarray.workers.mapreduce import MapReduce
from sharedarray_ops.pool import Caller, Pool
from sharedarray_ops.sort import merging, samplesort
from sharedarray_ops.sort.columns import Direction, is_sortable
from sharedarray_ops.sort.merging import Indexed, Ordered
from sharedarray_ops.sort.samplesort import Brackets

__all__ = ["argsort", "node_pool", "sort"]

# The pieces of a block for so many outputs are one task where nothing is moved.
GROUP = 8


def sort(
    x: Any,
    axis: int | None,
    kind: Any,
    order: str | list[str] | None,
    *,
    stable: bool | None,
    descending: bool | None,
    pool: Pool | None,
) -> Any:
    """Return a sorted copy of a dask array of one dimension; always stable.

    Otherwise as `sharedarray.sort`. Nothing is computed yet.

    Raises
    ------
    AxisError, TypeError, ValueError
        Where `numpy.sort` raises them.
    TypeError
        For chunks of other classes than ndarray, dtypes without keys, and if `pool` is given: Dask
        has the workers.
    ValueError
        If chunk sizes are unknown.
    NotImplementedError
        For more than one dimension.

    Examples
    --------
    >>> import dask.array, sharedarray
    >>> x = dask.array.from_array([3.0, 1.0, 2.0, 1.0], chunks=2)
    >>> sharedarray.sort(x).compute(scheduler="sync")
    array([1., 1., 2., 3.])
    """
    direction = _checked(np.sort, x, axis, kind, order, stable, descending, pool)
    return _sorted(x, direction, _Tasks("sort", merging.sort_block, _merged, x.dtype))


def argsort(
    x: Any,
    axis: int | None,
    kind: Any,
    order: str | list[str] | None,
    *,
    stable: bool | None,
    descending: bool | None,
    out: Any,
    dtype: Any,
    pool: Pool | None,
) -> Any:
    """Return a dask array of the indices that sort another; always stable.

    Raises what `sort` does, and TypeError for `out` and any `dtype` but intp. Elements are sent
    with their positions, of 4 bytes.

    Examples
    --------
    >>> import dask.array, sharedarray
    >>> x = dask.array.from_array([3.0, 1.0, 2.0, 1.0], chunks=2)
    >>> sharedarray.argsort(x).compute(scheduler="sync")
    array([1, 3, 2, 0])
    """
    if out is not None or (dtype is not None and np.dtype(dtype) != np.intp):
        raise TypeError(f"of a dask array, there are only new indices of {np.dtype(np.intp)}")
    direction = _checked(np.argsort, x, axis, kind, order, stable, descending, pool)
    return _sorted(
        x, direction, _Tasks("argsort", merging.sort_block_index, merging.merge_index, np.intp)
    )


def check_no_pool(pool: Pool | None) -> None:
    """Raise TypeError for a pool beside a dask array."""
    if pool is not None:
        raise TypeError("pool is for arrays in memory; chunks of dask arrays go to Dask's workers")


def _checked(
    function: Callable[..., Any],
    x: Any,
    axis: int | None,
    kind: Any,
    order: Any,
    stable: bool | None,
    descending: bool | None,
    pool: Pool | None,
) -> Direction:
    """Check the arguments; return what is compared."""
    check_no_pool(pool)
    if axis is None and x.ndim == 1:
        axis = -1
    if axis is not None:
        like = np.empty((0,) * x.ndim, x.dtype)
        request = requested(function, like, axis, kind, order, stable, descending)
    if x.ndim != 1 or axis is None:
        raise NotImplementedError(
            f"of dask arrays, those of one dimension are sorted, not of {x.ndim}: use x.ravel(), "
            "or x.map_blocks along an axis that is not cut"
        )
    if type(x._meta) is not np.ndarray:
        raise TypeError(f"chunks have to be numpy.ndarray, not {type(x._meta).__name__}")
    if not is_sortable(x.dtype):
        raise TypeError(
            f"dask arrays of the dtype {x.dtype} are not sorted: its width is not fixed"
        )
    if np.isnan(x.size):
        raise ValueError("chunk sizes are unknown: call x.compute_chunk_sizes() first")
    return request.direction


_Known = Brackets | Callable[[], Brackets]
_Sort = Callable[[NDArray[Any], Direction, Pool], Ordered | Indexed]
_Merge = Callable[[Sequence[Ordered], Sequence[int], Direction, Pool], NDArray[Any]]


class _Tasks(NamedTuple):
    """What `sort` and `argsort` differ in: how blocks are sorted, and merged to outputs."""

    name: str
    order: _Sort
    merge: _Merge
    dtype: Any


def _sorted(x: Any, direction: Direction, tasks: _Tasks) -> Any:
    """Return the dask array of the result."""
    group = GROUP if can_share(len(x.chunks[0])) else 1
    # Imported here, since Dask is an extra, and without its types, which parts of it lack.
    token = import_module("dask.base").tokenize(x.name, tasks.name, direction, group)
    name = f"sharedarray-{tasks.name}-{token}"
    graph = _graph(x.name, x.chunks[0], direction, tasks, group, token)
    layered = import_module("dask.highlevelgraph").HighLevelGraph
    layers = layered.from_collections(name, graph, dependencies=[x])
    chunks = (tuple(samplesort.output_sizes(x.chunks[0])),)
    return import_module("dask.array").Array(layers, name, chunks, meta=np.empty(0, tasks.dtype))


def _graph(
    source: str, sizes: Sequence[int], direction: Direction, tasks: _Tasks, group: int, token: str
) -> dict[Any, Any]:
    """Return all tasks; the blocks are ``(source, i)``."""
    ordered, brackets, samples, piece, result = (
        f"sharedarray-{part}-{token}"
        for part in ("ordered", "brackets", "samples", "piece", tasks.name)
    )
    outputs = samplesort.output_sizes(sizes)
    targets = samplesort.targets_of(outputs)
    numbers = [i for i, size in enumerate(sizes) if size]
    kept, starts = [sizes[i] for i in numbers], [sum(sizes[:i]) for i in numbers]
    merge = partial(_merge_pieces, tasks.merge, starts, direction)
    if not kept:
        return {(result, j): (partial(np.empty, 0, tasks.dtype),) for j in range(len(outputs))}
    n_blocks = len(kept)
    graph: dict[Any, Any] = {}
    order = partial(_sort_block, tasks.order, direction)
    if not targets:
        graph[ordered, 0] = (partial(order, None), (source, numbers[0]))
        return graph | {(result, 0): (merge, 0, [(ordered, 0)])}
    for k, i in enumerate(numbers):
        graph[ordered, k] = (partial(order, partial(_first_positions, kept, k)), (source, i))
        # Without brackets among its inputs, so that Dask runs it where the block is.
        graph[samples, 0, k] = (_first_sample, (ordered, k))
    narrow = partial(_narrowed, targets, direction)
    known: Any = partial(samplesort.whole_blocks, kept)
    for r in range(samplesort.exact_rounds(sum(kept), len(targets), n_blocks)):
        if r:
            for k in range(n_blocks):
                graph[samples, r, k] = (partial(_sample, k), (ordered, k), known)
        graph[brackets, r] = (narrow, known, [(samples, r, k) for k in range(n_blocks)])
        known = (brackets, r)
    for k, g in product(range(n_blocks), range(-(-len(outputs) // group))):
        part = partial(_cut, k, kept[k], slice(g * group, (g + 1) * group))
        graph[piece, k, g] = (part, (ordered, k), known)
    for j in range(len(outputs)):
        graph[result, j] = (merge, j % group, [(piece, k, j // group) for k in range(n_blocks)])
    return graph


def _sort_block(
    order: _Sort, direction: Direction, positions: Callable[[], NDArray[np.int64]] | None, a: Any
) -> Bundle:
    introduce()
    pool = node_pool()
    ordered = order(np.asarray(a), direction, pool)
    return held(ordered, None if positions is None else positions(), pool)


def _first_positions(sizes: Sequence[int], number: int) -> NDArray[np.int64]:
    return samplesort.positions(samplesort.whole_blocks(sizes), number)


def _first_sample(block: Bundle) -> Any:
    return block.samples


def _sample(number: int, block: Bundle, known: Brackets) -> NDArray[Any]:
    return sampled(block, samplesort.positions(known, number))


def _narrowed(
    targets: Sequence[int], direction: Direction, known: _Known, samples: Sequence[NDArray[Any]]
) -> Brackets:
    brackets = known() if callable(known) else known
    return samplesort.narrowed(brackets, samples, targets, direction)


def _cut(number: int, size: int, which: slice, block: Bundle, brackets: Brackets) -> Bundle:
    return cut(block, samplesort.parts_of(brackets.low, number, size)[which])


def _merge_pieces(
    merge: _Merge, starts: Sequence[int], direction: Direction, number: int, bundles: list[Bundle]
) -> NDArray[Any]:
    """Merge the pieces of that number; the blocks that the bundles are of start at `starts`."""
    introduce()
    pieces = [bundle.piece(number) for bundle in bundles]
    each = [start for start, parts in zip(starts, pieces, strict=True) for _ in parts]
    return merge([part for parts in pieces for part in parts], each, direction, node_pool())


def _merged(
    pieces: Sequence[Ordered], starts: Sequence[int], direction: Direction, pool: Pool
) -> NDArray[Any]:
    return merging.merge(pieces, direction, pool)


def node_pool() -> Pool:
    """Return the pool of a task: the threads of this Dask worker that no other task uses."""
    worker = dask_worker()
    if worker is None:
        return Caller()  # a scheduler in this process, which has a thread for each core
    state = worker.state
    n_workers = state.nthreads // max(1, state.executing_count)
    return MapReduce(ThreadBackend, n_workers) if n_workers > 1 else Caller()
