"""Sort numbers in place, with NumPy's own SIMD kernels on every worker.

A range that belongs to several workers is cut in two at a splitter, and each half goes to half of
the workers, until every range belongs to one worker, which sorts it:

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

__all__ = [
    "SMALL",
    "Halves",
    "Share",
    "Splitter",
    "choose_splitter",
    "is_crowded",
    "partition",
    "quicksort",
    "sample_positions",
]

# Elements; a block of 8-byte elements and its boolean mask stay in the caches.
BLOCK = 1 << 17
# Below this a range is sorted by one worker: two passes of the pool cost more than they win. Less
# where it is more than an eighth of a worker's part of all, down to `LEAST`.
SMALL = 1 << 16
LEAST = 1 << 13
# The splitter's rank is off by about 1 / sqrt(SAMPLE): 0.8 % of the range.
SAMPLE = 1 << 12


class Share(NamedTuple):
    """A range of the array and how many workers sort it."""

    start: int
    stop: int
    n_workers: int


class Splitter(NamedTuple):
    """Where to cut a range in two.

    `inclusive`: elements equal to `value` go to the low side. `crowded`: one value is so frequent
    that NumPy's partition degenerates (25 ns an element), while its sort is at its quickest (1-2
    ns).
    """

    value: Any
    inclusive: bool
    crowded: bool


class Halves(NamedTuple):
    """A share in adjacent chunks, each one partitioned at the same splitter.

    `n_low` tells how many elements of each chunk, its first ones, go to the low half.
    """

    share: Share
    chunks: list[Chunk]
    n_low: list[int]


def quicksort(a: NDArray[Any], pool: Pool, work: Halves | list[Share] | None = None) -> None:
    """Sort `a`, a contiguous 1-d array of native numbers, in place.

    NaN goes last, as in NumPy. The order of -0.0 and +0.0 and the bits of NaN are not defined here.
    `work` are ranges to be sorted, each on its own, instead of all of `a`; or the first cut, where
    the writer of `a` has made it already, while the words were in cache.
    """
    a = a.view(np.ndarray)
    if isinstance(work, Halves):
        shares = _join(a, [work], pool)
    else:
        shares = [Share(0, a.size, n_workers(pool))] if work is None else work
    n_elements = sum(share.stop - share.start for share in shares)
    small = min(SMALL, max(LEAST, n_elements // (8 * n_workers(pool))))
    ready: list[Share] = []
    while shares:
        wide = [s for s in shares if s.n_workers > 1 and s.stop - s.start > small]
        ready += [s for s in shares if s not in wide]
        shares = _halve(a, wide, pool) if wide else []
    ready.sort(key=lambda share: share.start - share.stop)
    pool.map(lambda share: a[share.start : share.stop].sort(), ready)


def _halve(a: NDArray[Any], shares: list[Share], pool: Pool) -> list[Share]:
    """Cut every share in two at a splitter, all of them in the same passes of the pool."""
    groups: list[list[Chunk]] = []
    tasks: list[tuple[Chunk, Splitter]] = []
    for share in shares:
        part = a[share.start : share.stop]
        splitter = choose_splitter(part[sample_positions(part.size)], share.n_workers)
        groups.append(chunks(share.start, share.stop, share.n_workers))
        tasks += [(chunk, splitter) for chunk in groups[-1]]
    n_low = iter(pool.map(lambda task: partition(a[task[0].slice], task[1]), tasks))
    halves = [
        Halves(share, group, [next(n_low) for _ in group])
        for share, group in zip(shares, groups, strict=True)
    ]
    return _join(a, halves, pool)


def _join(a: NDArray[Any], halves: list[Halves], pool: Pool) -> list[Share]:
    """Bring the low elements of each share to its front; return the shares of the halves."""
    plan: list[Exchange] = []
    shares: list[Share] = []
    for share, group, n_low in halves:
        plan += exchanges(group, n_low, 2 * share.n_workers)
        border = share.start + sum(n_low)
        n_left = share.n_workers // 2
        shares.append(Share(share.start, border, n_left))
        shares.append(Share(border, share.stop, share.n_workers - n_left))
    pool.map(lambda exchange: _exchange(a, exchange), plan)
    return shares


def choose_splitter(sample: NDArray[Any], n_workers: int) -> Splitter:
    """Choose where to cut an array in two for its workers from SAMPLE of its elements."""
    sample = np.sort(sample)
    value = sample[sample.size * (n_workers // 2) // n_workers]
    return Splitter(value, inclusive=bool(value == sample[0]), crowded=is_crowded(sample))


def is_crowded(sample: NDArray[Any]) -> bool:
    """Return whether one value makes up an eighth of a sorted sample of SAMPLE elements."""
    # "Not less" rather than "equal", so that NaN, which sorts as one value, counts as one.
    return not np.all(sample[: -SAMPLE // 8] < sample[SAMPLE // 8 :])


def sample_positions(n: int, size: int | None = None) -> NDArray[np.intp]:
    """Return SAMPLE (or `size`) positions below `n`, spread evenly and without a period.

    They are a Weyl sequence.
    """
    weyl = np.arange(size or SAMPLE, dtype=np.uint32) * np.uint32(0x9E3779B9)
    return (weyl * (n / 2**32)).astype(np.intp)


def partition(chunk: NDArray[Any], splitter: Splitter) -> int:
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
    for i, j in blocks(exchange.left, exchange.left + exchange.size, BLOCK // 2):
        left = a[i:j].copy()
        a[i:j] = a[i + shift : j + shift]
        a[i + shift : j + shift] = left
