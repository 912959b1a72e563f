"""Find where to cut sorted blocks so that their first parts make the first output, and so on.

::

    block 0   |------|---------|----|      each one sorted on its own
    block 1   |---|------|----------|
    block 2   |--------|-----|------|
                 0        1      2         all first parts, together, are the first output, ...

The outputs have the sizes that are asked for, to the element: all elements have one order, by key,
then by block, then by position, so that equal ones are split as well as any others. No process sees
all elements. A cut has a *bracket* in every block, at first the whole block; a round looks at every
d-th element of the brackets:

    brackets -> positions -> values (from the owner of the block) -> merged, counted -> brackets

In the merged order, the elements before a sample are known but for fewer than d in each block. With
a cut of rank R and m blocks, the brackets of a round have ``(2 m + 1) (d - 1)`` elements together,
at the most. So the rounds that it takes are known from the number of elements alone, and with d = 1
the cut is exact.

Everything here is integers and small samples, for one process and for a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharedarray_ops.plan import Chunk, chunks
from sharedarray_ops.pool import Caller, Pool
from sharedarray_ops.sort import sorting
from sharedarray_ops.sort.columns import Direction

__all__ = [
    "BALANCE",
    "SAMPLES",
    "Brackets",
    "exact_cuts",
    "exact_rounds",
    "narrowed",
    "output_sizes",
    "parts_of",
    "positions",
    "stable_order",
    "targets_of",
    "whole_blocks",
]

# Samples of a round, for all cuts together: 2 MiB of numbers, sorted in 5 ms.
SAMPLES = 1 << 18
# With many blocks a cut takes more: by so much at least a round divides the brackets.
SHRINK = 64
# The largest output may have so many times as many elements as the mean.
BALANCE = 1.2

Integers = NDArray[np.int64]
Indices = NDArray[np.intp]


class Brackets(NamedTuple):
    """In which part of each block each cut lies: ``low <= cut <= high``.

    Positions, shape (n_cuts, n_blocks). One row stands for all cuts where nothing is known yet.
    """

    low: Integers
    high: Integers

    @property
    def widths(self) -> Integers:
        """Return how many elements the brackets of each cut have together."""
        width: Integers = (self.high - self.low).sum(axis=1)
        return width


def output_sizes(sizes: Sequence[int]) -> list[int]:
    """Return the sizes of as many outputs: those of the blocks, where these are balanced."""
    n, n_blocks = sum(sizes), len(sizes)
    if max(sizes) * n_blocks <= BALANCE * n:
        return list(sizes)
    even = [part.size for part in chunks(0, n, n_blocks)] if n else []
    return even + [0] * (n_blocks - len(even))


def targets_of(sizes: Sequence[int]) -> list[int]:
    """Return the ranks at which outputs of these sizes are cut."""
    return list(accumulate(sizes))[:-1]


def whole_blocks(sizes: Sequence[int]) -> Brackets:
    """Return the brackets before the first round: all of each block."""
    high = np.array([sizes], np.int64)
    return Brackets(np.zeros_like(high), high)


def _steps(brackets: Brackets, n_samples: int) -> Integers:
    """Return the distance of the samples of a round, for each cut; 1 in the last round."""
    n_cuts, n_blocks = brackets.low.shape
    steps: Integers = np.maximum(1, -(-brackets.widths // _budget(n_cuts, n_blocks, n_samples)))
    return steps


def _budget(n_cuts: int, n_blocks: int, n_samples: int) -> int:
    return max(n_samples // n_cuts, SHRINK * (2 * n_blocks + 1))


def exact_rounds(n: int, n_cuts: int, n_blocks: int, n_samples: int = SAMPLES) -> int:
    """Return how many rounds make cuts of `n` elements in `n_blocks` blocks exact, at the most.

    At least 1; the first one looks at the same elements for all cuts.
    """
    n_rounds, width, n_rows = 1, n, 1
    while (step := -(-width // _budget(n_rows, n_blocks, n_samples))) > 1:
        width = min(width, (2 * n_blocks + 1) * (step - 1))
        n_rounds, n_rows = n_rounds + 1, n_cuts
    return n_rounds


def positions(brackets: Brackets, block: int, n_samples: int = SAMPLES) -> Integers:
    """Return the positions of the samples of the next round in a block, cut by cut.

    In a bracket, the last one of every d elements.
    """
    steps = _steps(brackets, n_samples)
    rows = zip(brackets.low[:, block], brackets.high[:, block], steps, strict=True)
    found = [np.arange(low + step - 1, high, step, dtype=np.int64) for low, high, step in rows]
    return np.concatenate(found)


def narrowed(
    brackets: Brackets,
    samples: Sequence[NDArray[Any]],
    targets: Sequence[int],
    direction: Direction,
    n_samples: int = SAMPLES,
) -> Brackets:
    """Return the brackets after a round, with a row for each target.

    `samples` are the elements at the `positions` in each block; `targets` say how many elements lie
    before each cut, in ascending order. `direction` is that of the sorted blocks.
    """
    steps = _steps(brackets, n_samples)
    counts = (brackets.high - brackets.low) // steps[:, np.newaxis]
    ends = np.cumsum(counts, axis=0)
    low = np.empty((len(targets), len(samples)), np.int64)
    high = np.empty_like(low)
    for row, step in enumerate(steps.tolist()):
        values = np.concatenate(
            [s[end - n : end] for s, end, n in zip(samples, ends[row], counts[row], strict=True)]
        )
        mine = slice(row, row + 1) if len(steps) > 1 else slice(None)
        merged = _Merged.of(
            values, counts[row], brackets.low[row], brackets.high[row], step, direction
        )
        low[mine], high[mine] = merged.brackets(np.array(targets[mine], np.int64))
    return Brackets(low, high)


class _Merged(NamedTuple):
    """The samples of one row, at a distance of `step`, in their order.

    `block` says of which block each one is, `at_most` how many elements of all blocks, at the most,
    go before it. Each block has a bracket (`low`, `high`) with `counts` samples.
    """

    block: NDArray[np.intp]
    at_most: Integers
    counts: Integers
    low: Integers
    high: Integers
    step: int

    @classmethod
    def of(
        cls,
        values: NDArray[Any],
        counts: Integers,
        low: Integers,
        high: Integers,
        step: int,
        direction: Direction,
    ) -> _Merged:
        # Concatenated in the order of the blocks: of equal elements, a stable argsort puts the one
        # of the earlier block first.
        order = stable_order(values, direction)
        block = np.repeat(np.arange(counts.size), counts)
        # What a block has before its next sample: on passing one it grows by a step, but behind the
        # last sample is what is left.
        growth = np.full(values.size, step, np.int64)
        last = np.cumsum(counts)[counts > 0] - 1
        growth[last] = (high - low - counts * step + 1)[counts > 0]
        first = np.where(counts > 0, low + step - 1, high).sum()
        at_most = np.cumsum(growth[order]) - growth[order] + first
        return cls(block[order], at_most, counts, low, high, step)

    def brackets(self, targets: Integers) -> tuple[Integers, Integers]:
        """Return the brackets of cuts, in the order of their ranks."""
        # A sample that has fewer than R elements before it is before the cut; one that has R or
        # more is behind it. Before the t-th sample are at least `step` elements for each one of t.
        n_before = np.searchsorted(self.at_most, targets)
        n_unsure = -(-(targets - int(self.low.sum())) // self.step)
        before = self._by_block(n_before)
        low = self.low + before * self.step
        reached = self._by_block(np.clip(n_unsure, 0, self.block.size))
        inside = self.low + (reached + 1) * self.step - 1
        high = np.where(reached < self.counts, inside, self.high)
        return low, high

    def _by_block(self, n_samples: Integers | NDArray[np.intp]) -> Integers:
        """Return how many of the first samples each block has; `n_samples` do not decrease."""
        steps = [
            np.bincount(self.block[i:j], minlength=self.counts.size)
            for i, j in pairwise([0, *n_samples.tolist()])
        ]
        found: Integers = np.cumsum(steps, axis=0, dtype=np.int64)
        return found


def exact_cuts(
    blocks: Sequence[NDArray[Any]],
    targets: Sequence[int],
    direction: Direction,
    n_samples: int = SAMPLES,
) -> Integers:
    """Return where to cut sorted blocks in memory, shape (n_targets, n_blocks).

    The positions in a row add up to its target.
    """
    brackets = whole_blocks([block.size for block in blocks])
    while brackets.widths.any():
        samples = [block[positions(brackets, k, n_samples)] for k, block in enumerate(blocks)]
        brackets = narrowed(brackets, samples, targets, direction, n_samples)
    return brackets.low


def parts_of(cuts: Integers, block: int, size: int) -> list[Chunk]:
    """Return the parts into which a block of `size` elements is cut."""
    return [Chunk(i, j) for i, j in pairwise([0, *cuts[:, block].tolist(), size])]


def stable_order(a: NDArray[Any], direction: Direction, pool: Pool | None = None) -> Indices:
    """Return the stable argsort of an array."""
    order = np.empty(a.shape, np.intp)
    sorting.argsort(a, order, pool or Caller(), direction=direction)
    return order
