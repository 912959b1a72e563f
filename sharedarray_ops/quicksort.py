"""Sort numbers in place, with NumPy's own SIMD kernels on every worker.

A range that belongs to several workers is cut in two at a splitter, and each half goes to half of
the workers, until every range belongs to one worker, who sorts it:

    sample -> splitter -> partition each chunk at it -> exchange what lies on the wrong side ->
    halves

The plan for k workers: every element is partitioned log2(k) times and sorted once, all of it in
parallel; the serial part is one sample per range and level (below 1 ms) and 2 * log2(k) + 1 passes
of the pool. NumPy partitions with one SIMD pass and no extra memory when it is asked for one
position only, so the workers count the elements below the splitter first and partition there.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, Exchange, blocks, chunks, exchanges
from sharedarray_ops.pool import Pool, n_workers

__all__ = ["quicksort"]

# Elements; a block of 8-byte elements and its boolean mask stay in the second-level cache.
BLOCK = 65536
# Below this a range is sorted by one worker: two passes of the pool cost more than they win.
SMALL = 1 << 16
# The splitter's rank is off by about 1 / sqrt(SAMPLE): 0.8 % of the range.
SAMPLE = 1 << 12


class _Share(NamedTuple):
    """A range of the array and how many workers it is for."""

    start: int
    stop: int
    n_workers: int


class _Splitter(NamedTuple):
    """Where to cut a range in two.

    `inclusive`: elements equal to `value` go to the low side. `crowded`: one value is so frequent
    that NumPy's partition degenerates (25 ns an element), while its sort is at its quickest (1-2
    ns).
    """

    value: Any
    inclusive: bool
    crowded: bool


def quicksort(a: NDArray[Any], pool: Pool) -> None:
    """Sort `a`, a contiguous 1-d array of native numbers, in place.

    NaN goes last, as in NumPy. The order of -0.0 and +0.0 and the bits of NaN are not defined here.
    """
    a = a.view(np.ndarray)
    shares = [_Share(0, a.size, n_workers(pool))]
    ready: list[_Share] = []
    while shares:
        wide = [s for s in shares if s.n_workers > 1 and s.stop - s.start > SMALL]
        ready += [s for s in shares if s not in wide]
        shares = _halve(a, wide, pool) if wide else []
    ready.sort(key=lambda share: share.start - share.stop)
    pool.map(lambda share: a[share.start : share.stop].sort(), ready)


def _halve(a: NDArray[Any], shares: list[_Share], pool: Pool) -> list[_Share]:
    """Cut every share in two at a splitter, all of them in the same passes of the pool."""
    groups: list[list[Chunk]] = []
    tasks: list[tuple[Chunk, _Splitter]] = []
    for share in shares:
        splitter = _splitter(a[share.start : share.stop], share.n_workers)
        groups.append(chunks(share.start, share.stop, share.n_workers))
        tasks += [(chunk, splitter) for chunk in groups[-1]]
    n_low = iter(pool.map(lambda task: _partition(a[task[0].slice], task[1]), tasks))
    plan: list[Exchange] = []
    halves: list[_Share] = []
    for share, group in zip(shares, groups, strict=True):
        lows = [next(n_low) for _ in group]
        plan += exchanges(group, lows, 2 * share.n_workers)
        border = share.start + sum(lows)
        half = share.n_workers // 2
        halves.append(_Share(share.start, border, half))
        halves.append(_Share(border, share.stop, share.n_workers - half))
    pool.map(lambda exchange: _exchange(a, exchange), plan)
    return halves


def _splitter(a: NDArray[Any], n_workers: int) -> _Splitter:
    """Choose where to cut `a` for its workers from a sample."""
    sample = np.sort(a[_sample_positions(a.size)])
    value = sample[sample.size * (n_workers // 2) // n_workers]
    # "Not less" rather than "equal", so that NaN, which sorts as one value, counts as one.
    crowded = not np.all(sample[: -SAMPLE // 8] < sample[SAMPLE // 8 :])
    return _Splitter(value, inclusive=bool(value == sample[0]), crowded=crowded)


def _sample_positions(n: int) -> NDArray[np.intp]:
    """Return SAMPLE positions below `n`, evenly spread and without a period (a Weyl sequence)."""
    weyl = np.arange(SAMPLE, dtype=np.uint32) * np.uint32(0x9E3779B9)
    return (weyl * (n / 2**32)).astype(np.intp)


def _partition(chunk: NDArray[Any], splitter: _Splitter) -> int:
    """Bring the low elements of a chunk to its front; return their number."""
    if splitter.crowded:
        chunk.sort()
        side: Literal["left", "right"] = "right" if splitter.inclusive else "left"
        return int(np.searchsorted(chunk, splitter.value, side))
    n_low = sum(
        int(np.count_nonzero(chunk[i:j] < splitter.value)) for i, j in blocks(0, chunk.size, BLOCK)
    )
    if 0 < n_low < chunk.size:
        # At the last low element rather than the first high one: the splitter may be frequent,
        # and searching for one of many equal elements is slow.
        chunk.partition(n_low - 1)
    return n_low


def _exchange(a: NDArray[Any], exchange: Exchange) -> None:
    """Exchange two ranges, block by block."""
    shift = exchange.right - exchange.left
    for i, j in blocks(exchange.left, exchange.left + exchange.size, BLOCK):
        left = a[i:j].copy()
        a[i:j] = a[i + shift : j + shift]
        a[i + shift : j + shift] = left
