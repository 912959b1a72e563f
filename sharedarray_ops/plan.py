"""Plan the chunks of an operation: pure functions of integers, which touch no array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapreplace
from itertools import pairwise, product
from typing import NamedTuple

__all__ = [
    "Chunk",
    "Exchange",
    "balanced_parts",
    "blocks",
    "chunks",
    "exchanges",
    "tiles",
    "tree_leaves",
]


class Chunk(NamedTuple):
    """The half-open range of elements `start <= i < stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """Return the slice that selects the elements."""
        return slice(self.start, self.stop)


class Exchange(NamedTuple):
    """Two ranges of `size` elements whose contents change places."""

    left: int
    right: int
    size: int


def chunks(start: int, stop: int, n_chunks: int, *, align: int = 1) -> list[Chunk]:
    """Cut a range into at most `n_chunks` non-empty chunks of nearly the same size.

    Inner boundaries lie at multiples of `align` elements from `start`.
    """
    n_units = -(-(stop - start) // align)
    n_chunks = min(n_chunks, n_units)
    cuts = [start + n_units * i // n_chunks * align for i in range(n_chunks)]
    return [Chunk(a, b) for a, b in pairwise([*cuts, stop])]


def balanced_parts(sizes: Sequence[int], n_workers: int) -> list[int]:
    """Return into how many parts of the same size to cut each of several tasks.

    As few as keep every worker within 5 % of its share, if a free worker takes the largest part
    that is left; at most 8 times as many parts as workers and tasks.
    """
    share = sum(sizes) / n_workers
    counts = [1] * len(sizes)
    for fineness in (1, 2, 4, 8):
        counts = [max(1, round(fineness * size / share)) for size in sizes]
        parts = [size / n for size, n in zip(sizes, counts, strict=True) for _ in range(n)]
        loads = [0.0] * n_workers
        for part in sorted(parts, reverse=True):
            heapreplace(loads, loads[0] + part)
        if max(loads) <= 1.05 * share:
            break
    return counts


def blocks(start: int, stop: int, size: int) -> Iterator[Chunk]:
    """Cut a range into blocks of `size` elements, the last one shorter, in order."""
    for i in range(start, stop, size):
        yield Chunk(i, min(i + size, stop))


def tiles(shape: Sequence[int], max_size: int) -> list[tuple[slice, ...]]:
    """Cut a box into tiles of one to `max_size` elements, in C order.

    A tile spans the last axes, a part of one axis, and one index of each axis before.
    """
    axis, size = len(shape), 1  # of what a tile spans as a whole
    while axis and shape[axis - 1] * size <= max_size:
        axis -= 1
        size *= shape[axis]
    if 0 in shape:
        return []
    whole = tuple(slice(0, n) for n in shape[axis:])
    if not axis:
        return [whole]
    parts = [part.slice for part in blocks(0, shape[axis - 1], max(1, max_size // size))]
    outer = product(*map(range, shape[: axis - 1]))
    return [(*(slice(i, i + 1) for i in index), part, *whole) for index in outer for part in parts]


def tree_leaves(n: int, unit: int, depth: int) -> list[Chunk]:
    """Cut `n` elements where NumPy's pairwise summation cuts them, `depth` levels deep.

    NumPy halves a range of more than 128 elements at `n // 2`, rounded down to a multiple of
    `unit` (8 real accumulators, or 4 complex ones). The 2**depth leaves therefore are subtrees of
    NumPy's own tree: adding neighbours pair by pair, level by level, gives NumPy's bits. The
    caller keeps leaves above 128 elements.
    """
    cuts = [0, n]
    for _ in range(depth):
        halves = []
        for a, b in pairwise(cuts):
            half = (b - a) // 2
            halves += [a, a + half - half % unit]
        cuts = [*halves, n]
    return [Chunk(a, b) for a, b in pairwise(cuts)]


def exchanges(parts: Sequence[Chunk], n_low: Sequence[int], n_pieces: int) -> list[Exchange]:
    """Plan the exchange that brings all low elements of partitioned chunks to the front.

    Parameters
    ----------
    parts : sequence of Chunk
        Adjacent chunks, each one partitioned: its low elements come first.
    n_low : sequence of int
        How many low elements each chunk has.
    n_pieces : int
        Into about how many exchanges of the same size the work is cut.

    Returns
    -------
    list of Exchange
        Disjoint pairs of ranges. After all of them, in any order, the first ``sum(n_low)``
        elements are the low ones.
    """
    border = parts[0].start + sum(n_low)
    # Misplaced are high elements before the border and low ones behind it, equally many.
    high = [Chunk(p.start + k, min(p.stop, border)) for p, k in zip(parts, n_low, strict=True)]
    low = [Chunk(max(p.start, border), p.start + k) for p, k in zip(parts, n_low, strict=True)]
    high = [c for c in high if c.size > 0]
    low = [c for c in low if c.size > 0]
    piece = max(1, -(-sum(c.size for c in high) // n_pieces))
    plan = []
    while high:
        a, b = high.pop(), low.pop()
        size = min(a.size, b.size, piece)
        plan.append(Exchange(a.start, b.start, size))
        if a.size > size:
            high.append(Chunk(a.start + size, a.stop))
        if b.size > size:
            low.append(Chunk(b.start + size, b.stop))
    return plan
