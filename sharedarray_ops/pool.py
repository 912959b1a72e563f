"""What an algorithm needs of a pool of workers, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

__all__ = ["Pool", "n_workers"]


class Pool(Protocol):
    """Workers that run one function over the items of a sequence.

    `np` is the worker count, 0 for a pool that runs in the caller. `map` returns the results in
    the order of the items. A function may write to its own part of an output in shared memory;
    everything else that it produces has to be in its result, since workers may be processes.
    """

    @property
    def np(self) -> int:
        """Return the worker count."""
        ...

    def map(self, func: Callable[[Item], Result], sequence: Sequence[Item], /) -> list[Result]:
        """Return ``[func(item) for item in sequence]``."""
        ...


def n_workers(pool: Pool) -> int:
    """Return how many chunks of `pool` run at a time: at least 1, also for a serial pool."""
    return max(1, pool.np)
